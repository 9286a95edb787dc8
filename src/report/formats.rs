//! A report as terminal table, Markdown, CSV and `JUnit` XML. Names and reasons come from repositories and models: they
//! are made safe where they are written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, TableStyle, presets};
use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::stats::Interval;
use super::{Contestant, ENOUGH, Report, Standing};
use crate::text::{clip, one_line, printable};

/// For a terminal.
pub fn table(report: &Report) -> String {
    text(report, presets::NOTHING, &|title| title.to_owned(), &one_line)
}

/// In Markdown.
pub fn markdown(report: &Report) -> String {
    let escaped = |text: &str| {
        let text = one_line(text);
        let mut safe = String::with_capacity(text.len());
        for c in text.chars() {
            if matches!(c, '|' | '*' | '_' | '`' | '[' | ']' | '<' | '>' | '\\' | '#') {
                safe.push('\\');
            }
            safe.push(c);
        }
        safe
    };
    text(report, presets::ASCII_MARKDOWN, &|title| format!("## {title}"), &escaped)
}

/// Sections of tables, with what must be said between them.
fn text(
    report: &Report,
    style: TableStyle,
    heading: &dyn Fn(&str) -> String,
    safe: &dyn Fn(&str) -> String,
) -> String {
    let mut text = String::new();
    let mut section = |title: &str, table: &Table, notes: &[String]| {
        let _ = writeln!(text, "{}\n\n{}\n", heading(title), table.trim_fmt());
        for note in notes {
            let _ = writeln!(text, "{note}\n");
        }
    };
    let several = report.runs.len() > 1;
    let name = |one: &Contestant| {
        if several { format!("{}: {}", safe(&one.run), safe(&one.model)) } else { safe(&one.model) }
    };
    section("Results", &results(report, style, &name), &warnings(report, &name));
    if report.contestants.iter().any(|one| one.pass_at.len() > 1) {
        section("pass@k", &pass_at(report, style, &name), &[]);
    }
    if !report.comparisons.is_empty() {
        let note = "p: McNemar's exact test on the first samples, two-sided, not corrected for the number of comparisons. \
                    difference: of the rates over all samples, with a bootstrap over tasks.";
        section("Compared, task by task", &compared(report, style, safe), &[note.to_owned()]);
    }
    if report.contestants.iter().any(|one| !one.noise.is_empty()) {
        section("What oracle-noise answered", &noise(report, style, &name), &[]);
    }
    section("Where it ended", &classes(report, style, &name, safe), &[]);
    let faults = faults(report, style, safe);
    if let Some(faults) = faults {
        section("Inconclusive", &faults, &[]);
    }
    text
}

fn new(style: TableStyle, head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(style).set_header(head.to_vec());
    table
}

/// Columns of numbers, from the second on.
fn numbers(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

pub(super) fn percent(rate: f64) -> String {
    format!("{:.1} %", rate * 100.0)
}

pub(super) fn interval(interval: Interval) -> String {
    format!("{:.1} to {:.1} %", interval.low * 100.0, interval.high * 100.0)
}

fn results(report: &Report, style: TableStyle, name: &dyn Fn(&Contestant) -> String) -> Table {
    let times = report.contestants.iter().any(|one| one.seconds.is_some());
    let mut head = vec![
        "model",
        "tasks",
        "units",
        "solved",
        "rate",
        "95 % interval",
        "inconclusive",
        "not run",
        "answers",
        "tokens",
        "dollars",
        "$ a solved",
    ];
    if times {
        head.push("seconds");
    }
    let mut table = new(style, &head);
    for one in &report.contestants {
        let each = if one.solved > 0 && one.spent.usd > 0.0 {
            format!("{:.4}", one.spent.usd / super::stats::float(one.solved))
        } else {
            String::new()
        };
        let mut row = vec![
            name(one),
            one.tasks.to_string(),
            one.units.to_string(),
            one.solved.to_string(),
            if one.conclusive > 0 { percent(one.rate) } else { String::new() },
            if one.conclusive > 0 { interval(one.interval) } else { String::new() },
            one.inconclusive.to_string(),
            one.missing.to_string(),
            one.answers.to_string(),
            one.spent.tokens().to_string(),
            format!("{:.4}{}", one.spent.usd, if one.spent.estimated { " (estimated)" } else { "" }),
            each,
        ];
        if times {
            row.push(format!("{:.1}", one.seconds.unwrap_or_default()));
        }
        table.add_row(row);
    }
    numbers(&mut table, 1..head.len());
    table
}

/// What must not be overlooked.
fn warnings(report: &Report, name: &dyn Fn(&Contestant) -> String) -> Vec<String> {
    let mut warnings = Vec::new();
    for one in report.contestants.iter().filter(|one| !one.proves) {
        warnings.push(format!(
            "{}: only {} of {} units are conclusive, less than {}: this run proves nothing.",
            name(one),
            one.conclusive,
            one.units,
            percent(ENOUGH)
        ));
    }
    warnings
}

fn pass_at(report: &Report, style: TableStyle, name: &dyn Fn(&Contestant) -> String) -> Table {
    let most = report.contestants.iter().map(|one| one.pass_at.len()).max().unwrap_or(0);
    let columns: Vec<String> = (1..=most).map(|k| format!("pass@{k}")).collect();
    let head: Vec<&str> = ["model"].into_iter().chain(columns.iter().map(String::as_str)).collect();
    let mut table = new(style, &head);
    for one in &report.contestants {
        let mut row = vec![name(one)];
        row.extend((0..most).map(|at| one.pass_at.get(at).map_or(String::new(), |rate| percent(*rate))));
        table.add_row(row);
    }
    numbers(&mut table, 1..head.len());
    table
}

fn compared(report: &Report, style: TableStyle, safe: &dyn Fn(&str) -> String) -> Table {
    let head =
        ["one", "other", "tasks", "only one", "only other", "p", "difference", "95 % interval", "says"];
    let mut table = new(style, &head);
    for two in &report.comparisons {
        table.add_row(vec![
            safe(&two.one),
            safe(&two.other),
            two.tasks.to_string(),
            two.only_one.to_string(),
            two.only_other.to_string(),
            format!("{:.4}", two.p),
            percent(two.difference),
            interval(two.interval),
            safe(&two.says),
        ]);
    }
    numbers(&mut table, 2..8);
    table
}

fn noise(report: &Report, style: TableStyle, name: &dyn Fn(&Contestant) -> String) -> Table {
    let mut table = new(style, &["model", "answer", "given", "accepted"]);
    for one in &report.contestants {
        for (kind, (given, accepted)) in &one.noise {
            table.add_row(vec![name(one), kind.to_string(), given.to_string(), accepted.to_string()]);
        }
    }
    numbers(&mut table, 2..4);
    table
}

fn classes(
    report: &Report,
    style: TableStyle,
    name: &dyn Fn(&Contestant) -> String,
    safe: &dyn Fn(&str) -> String,
) -> Table {
    let mut table = new(style, &["model", "end", "units"]);
    for one in &report.contestants {
        for (class, units) in &one.classes {
            table.add_row(vec![name(one), safe(class), units.to_string()]);
        }
    }
    numbers(&mut table, 2..3);
    table
}

/// Reasons of inconclusive units, the most frequent first.
fn faults(report: &Report, style: TableStyle, safe: &dyn Fn(&str) -> String) -> Option<Table> {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let units = report.runs.iter().flat_map(|run| &run.units);
    for unit in units.filter(|unit| unit.standing == Standing::Inconclusive) {
        reasons.entry(&unit.why).or_default().push(&unit.task);
    }
    let mut reasons: Vec<(&str, Vec<&str>)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(why, tasks)| (std::cmp::Reverse(tasks.len()), *why));
    let mut table = new(style, &["units", "tasks", "what happened"]);
    for (why, tasks) in reasons.iter().take(20) {
        let mut names = tasks.clone();
        names.dedup();
        let names = safe(&crate::text::list(&names, 3));
        table.add_row(vec![tasks.len().to_string(), names, safe(&clip(why, 200))]);
    }
    (!reasons.is_empty()).then_some(table)
}

/// One line a unit.
pub fn csv(report: &Report) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let times = report.contestants.iter().any(|one| one.seconds.is_some());
    let mut head = vec![
        "run",
        "task",
        "model",
        "sample",
        "standing",
        "class",
        "level",
        "answers",
        "prompt_tokens",
        "completion_tokens",
        "usd",
        "why",
    ];
    if times {
        head.push("seconds");
    }
    writer.write_record(&head)?;
    for run in &report.runs {
        for unit in &run.units {
            let mut row = vec![
                cell(&run.name),
                cell(&unit.task),
                cell(&unit.model),
                unit.sample.to_string(),
                unit.standing.to_string(),
                cell(&unit.class),
                unit.level.map_or(String::new(), |level| level.to_string()),
                unit.answers.to_string(),
                unit.spent.prompt_tokens.to_string(),
                unit.spent.completion_tokens.to_string(),
                unit.spent.usd.to_string(),
                cell(&unit.why),
            ];
            if times {
                row.push(unit.seconds.map_or(String::new(), |seconds| format!("{seconds:.3}")));
            }
            writer.write_record(&row)?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// A text that no spreadsheet takes for a formula.
fn cell(text: &str) -> String {
    let text = one_line(text);
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

/// A suite a model, a test case a unit.
pub fn junit(report: &Report) -> Result<String> {
    let mut junit = Junit::new("regreen bench");
    for one in &report.contestants {
        let mut suite = TestSuite::new(printable(&format!("{}: {}", one.run, one.model)).as_ref());
        let units = report.runs.iter().filter(|run| run.name == one.run).flat_map(|run| &run.units);
        for unit in units.filter(|unit| unit.model == one.model) {
            let mut status = match unit.standing {
                Standing::Solved => TestCaseStatus::success(),
                Standing::NotSolved => TestCaseStatus::non_success(NonSuccessKind::Failure),
                Standing::Inconclusive => TestCaseStatus::non_success(NonSuccessKind::Error),
                Standing::Missing => TestCaseStatus::skipped(),
            };
            status.set_message(printable(&format!("{} {}", unit.class, unit.why)).trim());
            let mut case =
                TestCase::new(printable(&format!("{} #{}", unit.task, unit.sample)).as_ref(), status);
            case.set_classname(printable(&unit.model).as_ref());
            if let Some(seconds) = unit.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            {
                case.set_time(seconds);
            }
            suite.add_test_case(case);
        }
        junit.add_test_suite(suite);
    }
    Ok(junit.to_string()?)
}
