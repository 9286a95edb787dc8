//! A report says what a bench found, computed from plan and ledgers alone. What differs between two runs of the same
//! plan for no reason of the plan's, times above all, is left out unless it is asked for, so that a run that was killed
//! and resumed and one that was not give the same report, byte for byte.

mod compare;
mod formats;
mod html;
mod plots;
pub mod stats;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::bench::{self, Line, Noise};
use crate::budget::Spent;
use crate::policy::{self, Attempt};
use crate::record::{Event, Outcome, Record};
use crate::text::{clip, one_line};
use crate::verdict::{Level, Verdict};
use stats::Interval;

pub use compare::Comparison;
pub use formats::{csv, junit, markdown, table};
pub use html::page;

/// Below this share of conclusive units a run proves nothing.
pub const ENOUGH: f64 = 0.95;

/// What one or several runs found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The runs.
    pub runs: Vec<Run>,
    /// The models, by run.
    pub contestants: Vec<Contestant>,
    /// Every two of them, paired by task.
    pub comparisons: Vec<Comparison>,
}

/// A run.
#[derive(Debug, Serialize)]
pub struct Run {
    /// What it is called here.
    pub name: String,
    /// The set, as SHA-256.
    pub set: String,
    /// regreen's version.
    pub version: String,
    /// The seed of the scripted proposers.
    pub seed: u64,
    /// Its units, in the order of the plan.
    pub units: Vec<Unit>,
}

/// What became of a unit.
#[derive(Debug, Serialize)]
pub struct Unit {
    /// The task.
    pub task: String,
    /// The task's content, as SHA-256.
    pub hash: String,
    /// The model.
    pub model: String,
    /// Which sample.
    pub sample: u32,
    /// Whether it says anything, and what.
    pub standing: Standing,
    /// The verdict's word, or the kind of the last failure, or what is at fault.
    pub class: String,
    /// Why, in a sentence; empty for a solved one.
    pub why: String,
    /// How strong the evidence of a solved one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Answers of the model.
    pub answers: usize,
    /// What they cost.
    pub spent: Spent,
    /// What `oracle-noise` answered, and whether it was accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub noise: Vec<(Noise, bool)>,
    /// Wall time, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// Whether a unit says anything about its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Green by the verifier.
    Solved,
    /// Not green.
    NotSolved,
    /// The environment or the task was at fault.
    Inconclusive,
    /// It was not run.
    Missing,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Standing::Solved => "solved",
            Standing::NotSolved => "not-solved",
            Standing::Inconclusive => "inconclusive",
            Standing::Missing => "missing",
        })
    }
}

/// A model in a run.
#[derive(Debug, Serialize)]
pub struct Contestant {
    /// The run.
    pub run: String,
    /// The model.
    pub model: String,
    /// Tasks.
    pub tasks: usize,
    /// Units.
    pub units: usize,
    /// Units that say something.
    pub conclusive: usize,
    /// Solved units.
    pub solved: usize,
    /// Units with a fault of environment or task.
    pub inconclusive: usize,
    /// Units that were not run.
    pub missing: usize,
    /// Whether enough units are conclusive for the run to prove anything.
    pub proves: bool,
    /// The chance to solve a task in one sample: the mean over tasks.
    pub rate: f64,
    /// Its 95 % interval: Wilson's with one sample a task, else a bootstrap over tasks.
    pub interval: Interval,
    /// The chance that one of k samples solves a task, for each k.
    pub pass_at: Vec<f64>,
    /// Solved units by level.
    pub levels: BTreeMap<String, usize>,
    /// Units by class.
    pub classes: BTreeMap<String, usize>,
    /// Answers.
    pub answers: usize,
    /// What was spent.
    pub spent: Spent,
    /// Of `oracle-noise`: answers given and accepted, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub noise: BTreeMap<Noise, (usize, usize)>,
    /// Wall time of all units together, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// Reads runs and computes the report; with wall times, if `times`.
pub fn read(folders: &[&Path], times: bool) -> Result<Report> {
    let mut runs = Vec::new();
    for folder in folders {
        // A report of one run must not depend on where the run lies.
        let name = match folders {
            [_] => "run".to_owned(),
            _ => unused(folder, &runs),
        };
        runs.push(run(folder, name, times)?);
    }
    let contestants: Vec<Contestant> = runs.iter().flat_map(contestants).collect();
    let comparisons = compare::all(&runs);
    Ok(Report { runs, contestants, comparisons })
}

fn unused(folder: &Path, runs: &[Run]) -> String {
    let name = folder.file_name().map_or_else(|| "run".to_owned(), |name| one_line(&name.to_string_lossy()));
    let used = |name: &str| runs.iter().any(|run| run.name == name);
    let mut free = name.clone();
    let mut number = 2;
    while used(&free) {
        free = format!("{name} ({number})");
        number += 1;
    }
    free
}

fn run(folder: &Path, name: String, times: bool) -> Result<Run> {
    let (lock, lines) = bench::read(folder)?;
    let mut units = Vec::with_capacity(lines.len());
    for line in &lines {
        units.push(match bench::records(folder, line)? {
            Some(records) => unit(line, &records, times),
            None => absent(line, bench::fault(folder, line)),
        });
    }
    Ok(Run { name, set: lock.pins.set, version: lock.pins.version, seed: lock.settings.seed, units })
}

/// A unit without a result.
fn absent(line: &Line, fault: Option<String>) -> Unit {
    let (standing, class) = match fault {
        Some(_) => (Standing::Inconclusive, "fault"),
        None => (Standing::Missing, "not run"),
    };
    Unit {
        standing,
        class: class.to_owned(),
        why: clip(&one_line(&fault.unwrap_or_default()), 300).into_owned(),
        ..empty(line)
    }
}

fn empty(line: &Line) -> Unit {
    Unit {
        task: line.task.clone(),
        hash: line.hash.clone(),
        model: line.model.clone(),
        sample: line.sample,
        standing: Standing::Missing,
        class: String::new(),
        why: String::new(),
        level: None,
        answers: 0,
        spent: Spent::default(),
        noise: Vec::new(),
        seconds: None,
    }
}

/// A unit with a result.
fn unit(line: &Line, records: &[Record], times: bool) -> Unit {
    let attempts = policy::attempts(records);
    let outcome = records.iter().rev().find_map(|record| match &record.event {
        Event::Ended { outcome, .. } => Some(outcome),
        _ => None,
    });
    let (standing, level) = match outcome {
        Some(Outcome::Green { evidence, .. }) => (Standing::Solved, Some(evidence.level)),
        Some(_) => (Standing::NotSolved, None),
        None => (Standing::Inconclusive, None),
    };
    let (class, why) = match level {
        Some(level) => (format!("solved at {level}"), String::new()),
        None => class(outcome, &attempts),
    };
    Unit {
        standing,
        class,
        why: clip(&one_line(&why), 300).into_owned(),
        level,
        answers: attempts.iter().filter(|attempt| answered(attempt)).count(),
        spent: policy::spent(&attempts),
        noise: noise(records),
        seconds: times.then(|| records.last().map_or(0.0, |record| record.at)),
        ..empty(line)
    }
}

/// An attempt whose answer a kill has swallowed is asked again, and no answer.
fn answered(attempt: &Attempt) -> bool {
    attempt.verdict.is_some()
}

/// What an unsolved unit failed with last.
fn class(outcome: Option<&Outcome>, attempts: &[Attempt]) -> (String, String) {
    let last = attempts.iter().rev().find_map(|attempt| attempt.verdict.as_ref());
    let ended = match outcome {
        Some(Outcome::OutOfBudget { limit }) => format!("the budget of {limit} is spent; "),
        _ => String::new(),
    };
    match last {
        Some(verdict @ Verdict::Red(failure)) => {
            let kind = serde_json::to_value(failure.kind).ok();
            let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or("red").to_owned();
            (kind, format!("{ended}{}", verdict.reasons().join("; ")))
        }
        Some(verdict) => (verdict.word(), format!("{ended}{}", verdict.reasons().join("; "))),
        None => ("no candidate".to_owned(), ended),
    }
}

/// What `oracle-noise` answered, and whether it was accepted.
fn noise(records: &[Record]) -> Vec<(Noise, bool)> {
    let mut answers: BTreeMap<u32, (Noise, bool)> = BTreeMap::new();
    for record in records {
        match &record.event {
            Event::Replied { attempt, text, .. } => {
                if let Some(kind) = Noise::of(text) {
                    answers.insert(*attempt, (kind, false));
                }
            }
            Event::Judged { attempt, verdict: Verdict::Green(_), .. } => {
                if let Some(answer) = answers.get_mut(attempt) {
                    answer.1 = true;
                }
            }
            _ => {}
        }
    }
    answers.into_values().collect()
}

/// The models of a run.
fn contestants(run: &Run) -> Vec<Contestant> {
    let mut models: Vec<&str> = Vec::new();
    for unit in &run.units {
        if !models.contains(&unit.model.as_str()) {
            models.push(&unit.model);
        }
    }
    models.into_iter().map(|model| contestant(run, model)).collect()
}

fn contestant(run: &Run, model: &str) -> Contestant {
    let units: Vec<&Unit> = run.units.iter().filter(|unit| unit.model == model).collect();
    let with = |standing| units.iter().filter(|unit| unit.standing == standing).count();
    let tally = tally(&units);
    let conclusive = with(Standing::Solved) + with(Standing::NotSolved);
    let rates: Vec<f64> = tally.values().filter_map(|(n, solved)| stats::pass_at(1, *n, *solved)).collect();
    let once = tally.values().all(|(n, _)| *n <= 1);
    let most = tally.values().map(|(n, _)| *n).max().unwrap_or(0);
    let pass_at = |k| {
        let each: Vec<f64> =
            tally.values().filter_map(|(n, solved)| stats::pass_at(k, *n, *solved)).collect();
        stats::mean(&each)
    };
    let mut spent = Spent::default();
    for unit in &units {
        spent += unit.spent;
    }
    let count = |of: &dyn Fn(&Unit) -> Option<String>| {
        units.iter().filter_map(|unit| of(unit)).fold(BTreeMap::new(), |mut counts, key| {
            *counts.entry(key).or_insert(0) += 1;
            counts
        })
    };
    let mut noise = BTreeMap::new();
    for (kind, accepted) in units.iter().flat_map(|unit| &unit.noise) {
        let (given, taken): &mut (usize, usize) = noise.entry(*kind).or_default();
        *given += 1;
        *taken += usize::from(*accepted);
    }
    Contestant {
        run: run.name.clone(),
        model: model.to_owned(),
        tasks: units.iter().map(|unit| &unit.task).collect::<BTreeSet<_>>().len(),
        units: units.len(),
        conclusive,
        solved: with(Standing::Solved),
        inconclusive: with(Standing::Inconclusive),
        missing: with(Standing::Missing),
        proves: !units.is_empty() && stats::float(conclusive) >= ENOUGH * stats::float(units.len()),
        rate: stats::mean(&rates),
        interval: if once {
            stats::wilson(with(Standing::Solved), conclusive)
        } else {
            stats::bootstrap(&rates)
        },
        pass_at: (1..=most).map(pass_at).collect(),
        levels: count(&|unit| unit.level.map(|level| level.to_string())),
        classes: count(&|unit| Some(unit.class.clone())),
        answers: units.iter().map(|unit| unit.answers).sum(),
        spent,
        noise,
        seconds: units.iter().map(|unit| unit.seconds).sum(),
    }
}

/// By task: conclusive units, and solved ones.
fn tally<'a>(units: &[&'a Unit]) -> BTreeMap<&'a str, (usize, usize)> {
    let mut tally = BTreeMap::new();
    for unit in units {
        let (n, solved): &mut (usize, usize) = tally.entry(unit.task.as_str()).or_default();
        *n += usize::from(matches!(unit.standing, Standing::Solved | Standing::NotSolved));
        *solved += usize::from(unit.standing == Standing::Solved);
    }
    tally
}
