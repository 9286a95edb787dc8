//! A report as one page that needs nothing else: no script, no font, no picture from elsewhere, and a policy that
//! would not let a browser fetch any. Everything in it that somebody else wrote is escaped by the template engine.

use std::path::Path;

use anyhow::{Context, Result};
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;

use super::plots::{Series, lines, shares, steps};
use super::{Comparison, Contestant, Report, Run, Standing, Unit, formats, stats};
use crate::bench;
use crate::story;
use crate::text::{clip, printable};

const PAGE: &str = include_str!("../../harness/report/page.html");

/// Bytes of one unit's story.
const STORY: usize = 12_000;

/// Tasks that fit on a screen or two, a line each.
const LONG: usize = 60;

/// Units whose stories are told; of the others only the table speaks.
const STORIES: usize = 2_000;

/// A plot with its title; without one where there is nothing to see.
#[derive(Serialize)]
struct Plot {
    title: &'static str,
    svg: Option<String>,
}

/// A model's row in the table of results.
#[derive(Serialize)]
struct Row<'a> {
    name: String,
    one: &'a Contestant,
    rate: String,
    interval: String,
    usd: String,
    classes: Vec<(&'a String, usize, usize)>,
}

/// A task's row in the matrix: for each model its units.
#[derive(Serialize)]
struct Task<'a> {
    name: &'a str,
    cells: Vec<Vec<(&'static str, &'a str, usize)>>,
}

/// What became of a unit, told at length.
#[derive(Serialize)]
struct Told<'a> {
    number: usize,
    unit: &'a Unit,
    standing: String,
    story: String,
}

/// Two models in the table of comparisons.
#[derive(Serialize)]
struct Compared<'a> {
    two: &'a Comparison,
    p: String,
    difference: String,
    interval: String,
}

/// What the page is made of.
#[derive(Serialize)]
struct View<'a> {
    version: &'static str,
    rows: Vec<Row<'a>>,
    comparisons: Vec<Compared<'a>>,
    plots: Vec<Plot>,
    matrix: Vec<Task<'a>>,
    /// Whether the matrix is so long that each model's units are shown side by side first.
    long: bool,
    told: Vec<Told<'a>>,
    enough: String,
}

/// The page of a report of these runs, which was read with their times.
pub fn page(report: &Report, folders: &[&Path]) -> Result<String> {
    let mut environment = Environment::new();
    environment.add_template("page.html", PAGE).context("the page's template is broken")?;
    let several = report.runs.len() > 1;
    let name =
        |one: &Contestant| if several { format!("{}: {}", one.run, one.model) } else { one.model.clone() };
    let matrix = matrix(report);
    let view = View {
        version: env!("CARGO_PKG_VERSION"),
        rows: report.contestants.iter().map(|one| row(one, name(one))).collect(),
        comparisons: report.comparisons.iter().map(compared).collect(),
        plots: plots(report, &name)?,
        long: matrix.len() > LONG,
        matrix,
        told: told(report, folders)?,
        enough: formats::percent(super::ENOUGH),
    };
    let page = environment.get_template("page.html")?.render(Serde(&view));
    page.context("failed to fill the page's template")
}

fn compared(two: &Comparison) -> Compared<'_> {
    Compared {
        two,
        p: format!("{:.4}", two.p),
        difference: formats::percent(two.difference),
        interval: formats::interval(two.interval),
    }
}

fn row(one: &Contestant, name: String) -> Row<'_> {
    let most = one.classes.values().copied().max().unwrap_or(1).max(1);
    Row {
        name,
        one,
        rate: formats::percent(one.rate),
        interval: formats::interval(one.interval),
        usd: format!("{:.4}", one.spent.usd),
        classes: one.classes.iter().map(|(class, n)| (class, *n, n * 100 / most)).collect(),
    }
}

fn plots(report: &Report, name: &dyn Fn(&Contestant) -> String) -> Result<Vec<Plot>> {
    let series = |points: &dyn Fn(&Contestant) -> Vec<(f64, f64)>| -> Vec<Series> {
        report.contestants.iter().map(|one| Series { name: name(one), points: points(one) }).collect()
    };
    let by_samples =
        |one: &Contestant| (1..).zip(&one.pass_at).map(|(k, rate)| (f64::from(k), *rate)).collect();
    let by_dollars = |one: &Contestant| {
        let units = conclusive(report, one);
        let total = stats::float(units.len().max(1));
        let mut solved: Vec<f64> = units
            .iter()
            .filter(|unit| unit.standing == Standing::Solved)
            .map(|unit| unit.spent.usd)
            .collect();
        solved.sort_by(f64::total_cmp);
        let mut points = vec![(0.0, 0.0)];
        for (at, usd) in solved.into_iter().enumerate() {
            points.extend([(usd, stats::float(at) / total), (usd, stats::float(at + 1) / total)]);
        }
        points
    };
    let of = |value: &dyn Fn(&Unit) -> f64, one: &Contestant| {
        shares(conclusive(report, one).into_iter().map(value).collect())
    };
    let seconds = |one: &Contestant| of(&|unit| unit.seconds.unwrap_or_default(), one);
    #[expect(clippy::cast_precision_loss, reason = "tokens of a unit are far below 2^52")]
    let tokens = |one: &Contestant| of(&|unit| unit.spent.tokens() as f64, one);
    // A plot of nothing but zeros says nothing.
    let spent = |across: &str, series: Vec<Series>| {
        let any = series.iter().flat_map(|one| &one.points).any(|point| point.0 > 0.0);
        any.then(|| lines(across, &series)).transpose()
    };
    let mut plots = vec![
        Plot {
            title: "Tasks solved by one of k samples",
            svg: Some(steps("samples (k)", &series(&by_samples))?),
        },
        Plot {
            title: "Units solved for at most so many dollars each",
            svg: spent("dollars", series(&by_dollars))?,
        },
        Plot { title: "Units that took at most so long", svg: Some(lines("seconds", &series(&seconds))?) },
        Plot { title: "Units that took at most so many tokens", svg: spent("tokens", series(&tokens))? },
    ];
    // Those of nothing take a line at the end and no place among the others.
    plots.sort_by_key(|plot| plot.svg.is_none());
    Ok(plots)
}

fn conclusive<'a>(report: &'a Report, one: &Contestant) -> Vec<&'a Unit> {
    let run = report.runs.iter().filter(|run| run.name == one.run);
    run.flat_map(|run| &run.units)
        .filter(|unit| unit.model == one.model)
        .filter(|unit| matches!(unit.standing, Standing::Solved | Standing::NotSolved))
        .collect()
}

/// Units by number, over all runs.
fn numbered(report: &Report) -> impl Iterator<Item = (usize, &Run, &Unit)> {
    report
        .runs
        .iter()
        .flat_map(|run| run.units.iter().map(move |unit| (run, unit)))
        .enumerate()
        .map(|(number, (run, unit))| (number, run, unit))
}

fn matrix(report: &Report) -> Vec<Task<'_>> {
    let mut tasks: Vec<Task> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for (number, run, unit) in numbered(report) {
        let place = *places.entry(unit.task.as_str()).or_insert_with(|| {
            tasks.push(Task { name: &unit.task, cells: vec![Vec::new(); report.contestants.len()] });
            tasks.len() - 1
        });
        let column = report.contestants.iter().position(|one| one.run == run.name && one.model == unit.model);
        if let (Some(task), Some(column)) = (tasks.get_mut(place), column) {
            task.cells[column].push((word(unit.standing), &unit.class, number));
        }
    }
    tasks
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Solved => "solved",
        Standing::NotSolved => "not",
        Standing::Inconclusive => "fault",
        Standing::Missing => "missing",
    }
}

fn told<'a>(report: &'a Report, folders: &[&Path]) -> Result<Vec<Told<'a>>> {
    let mut told = Vec::new();
    for (run, folder) in report.runs.iter().zip(folders) {
        let (_, lines) = bench::read(folder)?;
        for (unit, line) in run.units.iter().zip(&lines) {
            let records = if told.len() < STORIES { bench::records(folder, line)? } else { None };
            let story = records.map_or(String::new(), |records| {
                printable(&clip(&story::story(&records), STORY)).into_owned()
            });
            told.push(Told { number: told.len(), unit, standing: unit.standing.to_string(), story });
        }
    }
    Ok(told)
}
