//! A warm judge is a process of the toolchain's own language that has loaded the tests and tries many edits one
//! after the other (`harness/launchers/README.md`). This is its wire format; what it says is a proposal.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What the judge is asked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "mode")]
pub enum Plan<'a> {
    /// Which lines each test runs.
    Trace {
        /// Ids as the suite knows them; none means all that are collected.
        tests: Vec<&'a str>,
        /// Seconds after which no further test is begun.
        wall: f64,
    },
    /// Which candidates pass.
    Judge(Round<'a>),
}

/// Number, file, edits (from, to, text), and the first of the limits that it is given.
pub type Candidate<'a> = (usize, &'a str, Vec<(usize, usize, &'a str)>, usize);

/// A round of candidates.
#[derive(Debug, Serialize)]
pub struct Round<'a> {
    /// Tests that must pass, as the suite knows them, cheapest first.
    pub targets: &'a [String],
    /// Tests that must go on passing.
    pub guards: &'a [String],
    /// What is tried, in this order.
    pub candidates: Vec<Candidate<'a>>,
    /// CPU seconds of one candidate's target, and of those that needed more. Candidates that are given the first
    /// one come first; the others share what is left of the round's CPU time.
    pub limits: &'a [f64],
    /// CPU seconds that targets take on the base, and guards.
    pub seconds: f64,
    /// CPU seconds that guards take on the base.
    pub guard_seconds: f64,
    /// CPU seconds for all.
    pub cpu: f64,
    /// Wall time for all.
    pub wall: f64,
    /// Plausible candidates after which it ends.
    pub enough: usize,
    /// Candidates that are tried after the first plausible one.
    pub after: usize,
    /// Processes side by side.
    pub workers: usize,
}

/// What one test runs on the base.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Traced {
    /// The test, as the suite knows it.
    pub id: String,
    /// Whether it passed; `None` when there is no such test, or when that says nothing.
    pub passed: Option<bool>,
    /// Lines by file, relative to the suite's folder.
    pub lines: BTreeMap<String, BTreeSet<u32>>,
    /// CPU seconds without tracing, about.
    pub seconds: f64,
}

/// How a candidate did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// All tests passed.
    Passed,
    /// A test failed.
    Failed,
    /// It took too long.
    Timeout,
    /// It does not compile.
    Broken,
    /// It could not be tried.
    Cold,
}

/// What became of a candidate.
#[derive(Clone, Debug, Deserialize)]
pub struct Judged {
    /// Its number.
    pub n: usize,
    /// How it did.
    pub how: How,
    /// Targets that passed before the judge had seen enough.
    #[serde(default)]
    pub passed: usize,
    /// How many of the limits it was given.
    #[serde(default)]
    pub level: usize,
    /// Seconds since the judge began.
    #[serde(default)]
    pub at: f64,
    /// Of a plausible one: how many of them behave alike, itself included; 0 when that is not known.
    #[serde(default)]
    pub agree: usize,
    /// Of a plausible one: inputs that passing tests give the edited functions, and those of them for which it does what
    /// the base does.
    #[serde(default)]
    pub steady: Option<(usize, usize)>,
    /// Of a plausible one: whether an example in a docstring says otherwise.
    #[serde(default)]
    pub against: bool,
    /// An input on which others do something else.
    #[serde(default)]
    pub parts: Option<String>,
}

/// What a round came to.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// By candidate, in the order in which they ended.
    pub judged: Vec<Judged>,
    /// CPU seconds.
    pub cpu: f64,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    cpu: f64,
    #[serde(default)]
    end: bool,
}

/// Reads what tests run.
pub fn traces(said: &[u8]) -> Vec<Traced> {
    lines(said).filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Reads what became of candidates.
pub fn answers(said: &[u8]) -> Answers {
    let mut answers = Answers::default();
    for line in lines(said) {
        if let Ok(judged) = serde_json::from_str::<Judged>(line) {
            answers.judged.push(judged);
        }
        match serde_json::from_str::<Line>(line) {
            Ok(Line { cpu, end: true }) => answers.cpu = cpu,
            Ok(Line { cpu, end: false }) => answers.cpu += cpu,
            Err(_) => {}
        }
    }
    answers
}

fn lines(said: &[u8]) -> impl Iterator<Item = &str> {
    said.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
}
