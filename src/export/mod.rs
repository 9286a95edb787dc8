//! An export is what runs left, in the formats of other programs: predictions, trajectories, training pairs, event
//! streams. It is computed from plans and ledgers alone. What was held out is in no ledger and so in no export;
//! reasons of held-out tests and texts that look like keys are left out besides.

mod atif;
mod pairs;
mod secrets;
mod streams;
mod swebench;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::bench;
use crate::budget::Spent;
use crate::ledger::{self, Ledger};
use crate::record::{Event, Outcome, Record};
use crate::verdict::{FailureKind, Level, Verdict};

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// SWE-bench's predictions: a line a task with the patch
    SweBench,
    /// SWE-bench's report, schema version 2
    SweBenchReport,
    /// ATIF 1.8 trajectories, one a line
    Atif,
    /// Prompts with verified answers, as chats
    Sft,
    /// Prompts with a verified and a wrong answer
    Preference,
    /// The event stream of Claude Code
    Claude,
    /// The event stream of Codex
    Codex,
}

/// What is wanted of the runs.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The format.
    pub format: Format,
    /// Only units of these models; all, if empty.
    pub models: &'a [String],
    /// Only this sample.
    pub sample: Option<u32>,
    /// The least level of a verified answer in training pairs.
    pub level: Level,
    /// Texts that must not get out, whatever they look like.
    pub secrets: &'a [String],
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Lines.
    pub lines: usize,
    /// Texts in them that looked like keys, and were hidden.
    pub hidden: usize,
}

/// Writes an export of runs, benches or single ones.
pub fn write(folders: &[&Path], wanted: &Wanted, out: &mut dyn Write) -> Result<Done> {
    let mut sink = Sink { out, secrets: secrets::Secrets::new(wanted.secrets), done: Done::default() };
    match wanted.format {
        Format::SweBench => swebench::predictions(&units(folders, wanted)?, &mut sink)?,
        Format::SweBenchReport => swebench::report(&units(folders, wanted)?, &mut sink)?,
        Format::Atif => each(folders, wanted, &mut |unit| sink.put(atif::trajectory(unit)))?,
        Format::Sft => each(folders, wanted, &mut |unit| sink.all(pairs::chats(unit, wanted.level)))?,
        Format::Preference => {
            let mut answers = pairs::Answers::default();
            each(folders, wanted, &mut |unit| {
                answers.add(unit, wanted.level);
                Ok(())
            })?;
            sink.all(answers.pairs())?;
        }
        Format::Claude => each(folders, wanted, &mut |unit| sink.all(streams::claude(unit)))?,
        Format::Codex => each(folders, wanted, &mut |unit| sink.all(streams::codex(unit)))?,
    }
    sink.out.flush()?;
    Ok(sink.done)
}

/// Where lines go.
struct Sink<'a> {
    out: &'a mut dyn Write,
    secrets: secrets::Secrets,
    done: Done,
}

impl Sink<'_> {
    fn put(&mut self, mut value: Value) -> Result<()> {
        self.done.hidden += self.secrets.hide(&mut value);
        self.done.lines += 1;
        serde_json::to_writer(&mut self.out, &value)?;
        Ok(self.out.write_all(b"\n")?)
    }

    fn all(&mut self, values: Vec<Value>) -> Result<()> {
        values.into_iter().try_for_each(|value| self.put(value))
    }
}

/// One task, one model, one sample, and what became of it.
#[derive(Debug)]
struct Unit {
    /// The task.
    task: String,
    /// Its content, as SHA-256; empty for a single run.
    hash: String,
    /// The model; of a single run all of them.
    model: String,
    /// From 1.
    sample: u32,
    /// What names it: the key, or the run's id.
    id: String,
    /// Its ledger; `None` without a result.
    records: Option<Vec<Record>>,
    /// Whether it met a fault of the environment.
    faulty: bool,
}

/// Hands every wanted unit that has a result to `take`, one after the other, so that no more than one ledger is held.
fn each(folders: &[&Path], wanted: &Wanted, take: &mut dyn FnMut(&Unit) -> Result<()>) -> Result<()> {
    walk(folders, wanted, &mut |unit| if unit.records.is_some() { take(&unit) } else { Ok(()) })
}

/// What a prediction needs of a unit; ledgers are read and dropped.
fn units(folders: &[&Path], wanted: &Wanted) -> Result<Vec<swebench::Submitted>> {
    let mut found = Vec::new();
    // One task is submitted once.
    let first = Wanted { sample: wanted.sample.or(Some(1)), ..*wanted };
    walk(folders, &first, &mut |unit| {
        found.push(swebench::Submitted::of(&unit));
        Ok(())
    })?;
    Ok(found)
}

fn walk(folders: &[&Path], wanted: &Wanted, take: &mut dyn FnMut(Unit) -> Result<()>) -> Result<()> {
    let fits = |model: &str, sample: u32| {
        (wanted.models.is_empty() || wanted.models.iter().any(|name| name == model))
            && wanted.sample.is_none_or(|only| only == sample)
    };
    let mut any = false;
    for folder in folders {
        if folder.join(ledger::FILE).exists() {
            let unit = single(folder)?;
            if fits(&unit.model, unit.sample) {
                any = true;
                take(unit)?;
            }
            continue;
        }
        let (_, lines) = bench::read(folder)?;
        for line in lines.iter().filter(|line| fits(&line.model, line.sample)) {
            any = true;
            let records = bench::records(folder, line)?;
            take(Unit {
                task: line.task.clone(),
                hash: line.hash.clone(),
                model: line.model.clone(),
                sample: line.sample,
                id: line.key.as_str().to_owned(),
                faulty: records.is_none() && bench::fault(folder, line).is_some(),
                records,
            })?;
        }
    }
    ensure!(any, "no unit fits: is the name of the model, or the sample, another one?");
    Ok(())
}

/// A run of `regreen fix`.
fn single(folder: &Path) -> Result<Unit> {
    let records = Ledger::read(folder)?;
    let started = records.iter().find_map(|record| match &record.event {
        Event::Started { run, task, models, .. } => Some((run.clone(), task.id.clone(), models.join(", "))),
        _ => None,
    });
    let (id, task, model) =
        started.with_context(|| format!("the ledger in {} does not begin", folder.display()))?;
    let task = if task.is_empty() { id.clone() } else { task };
    Ok(Unit { task, hash: String::new(), model, sample: 1, id, records: Some(records), faulty: false })
}

impl Unit {
    fn records(&self) -> &[Record] {
        self.records.as_deref().unwrap_or_default()
    }

    fn outcome(&self) -> Option<&Outcome> {
        self.records().iter().rev().find_map(|record| match &record.event {
            Event::Ended { outcome, .. } => Some(outcome),
            _ => None,
        })
    }

    /// The verified patch, or else the last candidate, as a unified diff.
    fn diff(&self) -> &str {
        if let Some(Outcome::Green { diff, .. }) = self.outcome() {
            return diff;
        }
        let last = self.records().iter().rev().find_map(|record| match &record.event {
            Event::Proposed { diff, .. } => Some(diff.as_str()),
            _ => None,
        });
        last.unwrap_or_default()
    }

    /// How it ended, in words that give nothing away.
    fn ending(&self) -> String {
        match self.outcome() {
            Some(Outcome::Green { evidence, .. }) => format!("green ({})", evidence.level),
            Some(Outcome::AlreadyGreen { .. }) => "nothing was failing".to_owned(),
            Some(Outcome::Unsolved { .. }) => "not solved".to_owned(),
            Some(Outcome::OutOfBudget { limit }) => format!("the budget of {limit} is spent"),
            // In detail it may name held-out tests.
            Some(Outcome::NotFixable { remedy, .. }) => format!("no patch can help; {remedy}"),
            None => "it did not end".to_owned(),
        }
    }

    fn solved(&self) -> bool {
        matches!(self.outcome(), Some(Outcome::Green { .. }))
    }

    /// Seconds from beginning to end.
    fn seconds(&self) -> f64 {
        self.records().last().map_or(0.0, |record| record.at)
    }
}

/// One question to a proposer and what came of it.
#[derive(Debug)]
struct Turn<'a> {
    /// From 1.
    attempt: u32,
    /// Who was asked.
    model: &'a str,
    /// What it was told; empty where it reads no prompt.
    prompt: &'a str,
    /// Seconds since the run began, when it was asked and when it had answered.
    asked: f64,
    /// See `asked`.
    answered: f64,
    /// What it said; `None` when the answer was lost or there was none.
    text: Option<&'a str>,
    /// Whether it edited files itself, and so said nothing that edits are read from.
    edited: bool,
    /// Why it had no candidate.
    declined: Option<&'a str>,
    /// What the call cost.
    spent: Spent,
    /// The candidate, as a unified diff.
    diff: &'a str,
    /// Edits of protected files that were left out of it.
    left_out: &'a [String],
    /// What the verifier said.
    verdict: Option<&'a Verdict>,
    /// How long it took to say so.
    seconds: f64,
}

/// The questions of a ledger, in order.
fn turns(records: &[Record]) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn> = Vec::new();
    for record in records {
        if let Event::Asked { attempt, model, prompt, .. } = &record.event {
            turns.push(Turn {
                attempt: *attempt,
                model,
                prompt,
                asked: record.at,
                answered: record.at,
                text: None,
                edited: false,
                declined: None,
                spent: Spent::default(),
                diff: "",
                left_out: &[],
                verdict: None,
                seconds: 0.0,
            });
        }
        let Some(turn) = turns.last_mut() else { continue };
        match &record.event {
            Event::Replied { text, edits, spent, .. } => {
                (turn.text, turn.edited, turn.spent) = (Some(text.as_str()), edits.is_some(), *spent);
                turn.answered = record.at;
            }
            Event::Declined { reason, spent, .. } => {
                (turn.declined, turn.spent, turn.answered) = (Some(reason.as_str()), *spent, record.at);
            }
            Event::Proposed { diff, left_out, .. } => (turn.diff, turn.left_out) = (diff, left_out),
            Event::Judged { verdict, seconds, .. } => {
                (turn.verdict, turn.seconds) = (Some(verdict), *seconds);
            }
            _ => {}
        }
    }
    turns
}

/// A verdict in words that give nothing away: of held-out tests no more than that they fail.
fn told(verdict: &Verdict) -> String {
    let reasons = match verdict {
        Verdict::Red(failure) if failure.kind == FailureKind::HeldOutFails => {
            "held-out tests fail".to_owned()
        }
        // It may be a held-out file that cannot be used.
        Verdict::Inconclusive { .. } => String::new(),
        Verdict::Green(_) | Verdict::Red(_) | Verdict::Rejected { .. } => verdict.reasons().join("; "),
    };
    if reasons.is_empty() { verdict.word() } else { format!("{}: {reasons}", verdict.word()) }
}

/// The task in words, for whoever was told none.
fn described(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        match &record.event {
            Event::Started { task, .. } => text.extend(task.statement.as_deref()),
            Event::Measured { baseline } => {
                let failing: Vec<&str> = baseline.targets.iter().map(String::as_str).collect();
                let gap = if text.is_empty() { "" } else { "\n\n" };
                return format!("{text}{gap}These tests fail and must pass:\n{}", failing.join("\n"));
            }
            _ => {}
        }
    }
    text
}
