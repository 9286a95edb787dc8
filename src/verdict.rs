//! What tests said and what follows from it: outcomes, runs, failures, evidence, verdicts. All of it is
//! data; running tests is `toolchain`'s work and judging them `verify`'s.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, Location};
use crate::leak::Strength;

/// A test's stable name within a repository, as the toolchain's profile forms it
/// (`pkg::bin module::test`, `tests/test_x.py::test_y[param]`, `com.example.FooTest#method` …).
pub type TestId = String;

/// How one test ended. Only `Passed` is a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ran to its end and nothing failed.
    Passed,
    /// An assertion or the code under test failed.
    Failed,
    /// It did not run, or its failure was expected: skipped, ignored, todo, xfail, disabled.
    Skipped,
    /// It was expected and no result arrived: the run aborted, hung or did not build before it.
    Missing,
}

impl Outcome {
    /// Of two results for one test the worse one counts: a failure above all.
    pub fn badness(self) -> u8 {
        match self {
            Outcome::Passed => 0,
            Outcome::Skipped => 1,
            Outcome::Missing => 2,
            Outcome::Failed => 3,
        }
    }
}

/// What one test said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestResult {
    /// The test.
    pub id: TestId,
    /// How it ended.
    pub outcome: Outcome,
    /// The assertion and its values, the panic or the traceback; bounded; empty for a pass.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where the test itself stands, if the runner says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Frames of the failure that lie in repository files, innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<Location>,
    /// Duration in seconds, 0 where the runner gives none.
    #[serde(default)]
    pub seconds: f64,
}

impl TestResult {
    /// A result with no more than a name and an outcome.
    pub fn new(id: impl Into<TestId>, outcome: Outcome) -> Self {
        TestResult {
            id: id.into(),
            outcome,
            message: String::new(),
            location: None,
            frames: Vec::new(),
            seconds: 0.0,
        }
    }

    /// A failure with its message.
    pub fn failed(id: impl Into<TestId>, message: impl Into<String>) -> Self {
        TestResult { message: message.into(), ..TestResult::new(id, Outcome::Failed) }
    }
}

/// Notes a result. Two results for one test (a retry, a clash of names, a forger): the worse one counts.
pub fn keep_worse(tests: &mut BTreeMap<TestId, TestResult>, test: TestResult) {
    let known = tests.get(&test.id);
    if known.is_none_or(|known| known.outcome.badness() < test.outcome.badness()) {
        tests.insert(test.id.clone(), test);
    }
}

/// How a command ended, told apart because the remedies differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It ended by itself with this status.
    Code(i32),
    /// A signal ended it: an abort, a segmentation fault, an out-of-memory kill.
    Signal(i32),
    /// regreen ended it at its deadline of this many seconds.
    TimedOut(u64),
    /// regreen ended it because it broke this limit ("memory", "output", "disk", "cpu").
    LimitBroken(String),
}

impl Exit {
    /// Whether the command ended by itself with status 0.
    pub fn success(&self) -> bool {
        *self == Exit::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit status {code}"),
            Exit::Signal(signal) => write!(f, "killed by signal {signal}"),
            Exit::TimedOut(seconds) => write!(f, "no end within {seconds} s"),
            Exit::LimitBroken(limit) => write!(f, "{limit} limit broken"),
        }
    }
}

/// One build and one execution of tests, as observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestRun {
    /// Whether everything that had to be built was built.
    pub built: bool,
    /// What compilers said, errors first.
    pub diagnostics: Vec<Diagnostic>,
    /// Head and tail of the output of what failed; bounded.
    pub log: String,
    /// Results by test.
    pub tests: BTreeMap<TestId, TestResult>,
    /// Test commands that did not end by themselves, in words: which, and how they ended.
    pub broken: Vec<String>,
    /// How the worst command ended.
    pub exit: Option<Exit>,
    /// Wall time in seconds.
    pub seconds: f64,
    /// The machine's one-minute load average when the run ended, per core.
    pub load: f64,
}

impl TestRun {
    /// The outcome of a test in this run. An id without a result of its own may name what holds tests, a file
    /// that did not load on the base and now does: it passes when some test in it passes and none fails.
    pub fn outcome(&self, id: &str) -> Outcome {
        self.tests.get(id).map_or_else(|| self.outcome_within(id), |test| test.outcome)
    }

    /// The tests that an id stands for: itself, or else those within it.
    pub fn named_by<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a TestResult> {
        let whole = self.tests.contains_key(id);
        let inside = move |other: &str| {
            let rest = other.strip_prefix(id).unwrap_or_default();
            // pytest and folders, unittest, the JavaScript runners.
            ["::", "/", ".", " > "].iter().any(|mark| rest.starts_with(mark))
        };
        self.tests
            .range(id.to_owned()..)
            .take_while(move |(other, _)| other.starts_with(id))
            .filter(move |(other, _)| if whole { *other == id } else { inside(other) })
            .map(|(_, test)| test)
    }

    fn outcome_within(&self, id: &str) -> Outcome {
        let outcomes: BTreeSet<Outcome> = self.named_by(id).map(|test| test.outcome).collect();
        [Outcome::Failed, Outcome::Passed, Outcome::Skipped]
            .into_iter()
            .find(|outcome| outcomes.contains(outcome))
            .unwrap_or(Outcome::Missing)
    }

    /// The tests with this outcome.
    pub fn with(&self, outcome: Outcome) -> BTreeSet<TestId> {
        self.tests.values().filter(|test| test.outcome == outcome).map(|test| test.id.clone()).collect()
    }
}

/// What the untouched base says, over repeated runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// Fail in every run, and must pass.
    pub targets: BTreeSet<TestId>,
    /// Pass in every run, and must go on passing.
    pub guards: BTreeSet<TestId>,
    /// Sometimes pass and sometimes fail; they decide nothing.
    pub flaky: BTreeSet<TestId>,
    /// Fail and are nobody's task: with targets named by the task, the other failing tests.
    pub unrelated: BTreeSet<TestId>,
    /// Skipped, ignored or otherwise disabled.
    pub disabled: BTreeSet<TestId>,
    /// The last full run, with its messages and diagnostics.
    pub run: TestRun,
    /// How many runs this rests on.
    pub runs: u32,
}

/// Why a candidate is not green.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The kind, which the policy and the prompt branch on.
    pub kind: FailureKind,
    /// One sentence for people and for the model.
    pub summary: String,
    /// Failing targets and broken guards, with their messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestResult>,
    /// What compilers said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// Output of the command that failed; bounded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The reply holds no edit.
    NoEdit,
    /// An edit does not apply to the base.
    DoesNotApply,
    /// Nothing is left of the candidate after protected files were restored.
    OnlyProtected,
    /// The build fails.
    DoesNotBuild,
    /// A target still fails.
    TargetsFail,
    /// A guard fails that passed on the base.
    GuardsFail,
    /// The tests did not end by themselves.
    DoesNotEnd,
    /// Green once and red on repetition.
    Unstable,
    /// A held-out test or a black-box oracle fails. Nothing more is said: feedback would give the oracle away.
    HeldOutFails,
}

impl Failure {
    /// What makes two failures the same for the policy: the kind, the failing tests, the compiler's codes and
    /// places. Messages are left out, since they carry addresses and times.
    pub fn signature(&self) -> String {
        let tests = self.tests.iter().map(|test| test.id.as_str());
        let errors = self.diagnostics.iter().map(|d| d.message.as_str());
        let parts: BTreeSet<&str> = tests.chain(errors).collect();
        format!("{:?} {}", self.kind, parts.into_iter().collect::<Vec<_>>().join("\n"))
    }
}

/// How strong the evidence is; each level includes those before it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
pub enum Level {
    /// The patch's product part on a pristine base, in a sandbox.
    #[default]
    #[serde(rename = "L1")]
    #[value(name = "L1", alias = "l1", alias = "1")]
    Composed,
    /// And an attested run: results over a channel that the tests' own process can hardly forge.
    #[serde(rename = "L2")]
    #[value(name = "L2", alias = "l2", alias = "2")]
    Attested,
    /// And controls: tests changed so that they must fail do, and tests under other names pass.
    #[serde(rename = "L3")]
    #[value(name = "L3", alias = "l3", alias = "3")]
    Controlled,
    /// And held-out tests with secret decoys.
    #[serde(rename = "L4")]
    #[value(name = "L4", alias = "l4", alias = "4")]
    HeldOut,
    /// And black-box oracles, whose driver and expected values are outside the sandbox.
    #[serde(rename = "L5")]
    #[value(name = "L5", alias = "l5", alias = "5")]
    BlackBox,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "L{}", *self as u8 + 1)
    }
}

/// Why a green may be believed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Targets that pass now.
    pub fixed: BTreeSet<TestId>,
    /// How many guards still pass.
    pub guards_kept: usize,
    /// Guards that failed once and passed when rerun alone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rerun_alone: BTreeSet<TestId>,
    /// The load per core when one of them failed.
    #[serde(default, skip_serializing_if = "no_load")]
    pub load: f64,
    /// Full runs in a fresh checkout, all green.
    pub runs: u32,
    /// The sandbox level that the runs had.
    pub sandbox: String,
    /// How strong all this is.
    #[serde(default)]
    pub level: Level,
    /// What each layer of the verifier found, in the order in which they ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    /// Edits of protected files that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// What this does not prove, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caveats: Vec<String>,
    /// Held-out tests that were told apart from their decoys.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decoys: usize,
    /// What the tests say to small changes of the changed lines; `None` when nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<Box<Strength>>,
}

impl Evidence {
    /// Takes in how strong the tests are on the changed lines; what bounds a forgery is known here.
    pub fn weigh(&mut self, mut strength: Strength) {
        if let Some(leak) = &mut strength.leak {
            leak.forgery = match self.level {
                Level::BlackBox => Some(0.0),
                Level::HeldOut => Some(0.5_f64.powi(i32::try_from(self.decoys).unwrap_or(i32::MAX))),
                Level::Composed | Level::Attested | Level::Controlled => None,
            };
        }
        self.strength = Some(Box::new(strength));
    }

    /// How strong the tests are on the changed lines, and what follows from it, in sentences.
    pub fn strength_in_words(&self) -> Vec<String> {
        let mut said: Vec<String> =
            self.strength.iter().flat_map(|strength| strength.sentences("the changed lines")).collect();
        let leak =
            self.strength.iter().filter(|strength| strength.tried > 0).find_map(|strength| strength.leak);
        said.extend(leak.map(|leak| leak.sentence(self.decoys)));
        said
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn no_load(load: &f64) -> bool {
    *load == 0.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// A layer of the verifier: each can stop what those before it let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LayerName {
    /// The visible tests on the composed tree, by the ordinary runner.
    Visible,
    /// A static look at constructs that the patch introduces.
    Static,
    /// The visible tests again in a fresh checkout, attested where the suite allows it.
    Attested,
    /// Test bodies that end in a statement that must fail.
    Poison,
    /// Test bodies that expect a wrong value.
    Perturb,
    /// Tests under random names.
    Alias,
    /// Held-out tests, with secret decoys where they can be had.
    HeldOut,
    /// Black-box oracles.
    Oracle,
    /// The patch exactly as it was delivered: consistency, no evidence.
    Delivered,
}

impl LayerName {
    /// All, in the order in which they run.
    pub const ALL: [LayerName; 9] = [
        LayerName::Visible,
        LayerName::Static,
        LayerName::Attested,
        LayerName::Poison,
        LayerName::Perturb,
        LayerName::Alias,
        LayerName::HeldOut,
        LayerName::Oracle,
        LayerName::Delivered,
    ];
}

impl std::fmt::Display for LayerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LayerName::Visible => "composed, visible tests",
            LayerName::Static => "static look",
            LayerName::Attested => "attested run",
            LayerName::Poison => "poisoned controls",
            LayerName::Perturb => "perturbed controls",
            LayerName::Alias => "alias run",
            LayerName::HeldOut => "held-out tests and decoys",
            LayerName::Oracle => "black-box oracles",
            LayerName::Delivered => "as delivered",
        })
    }
}

/// What a layer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LayerResult {
    /// Nothing against the patch.
    Passed,
    /// Something that lowers the level and decides nothing alone.
    Flagged,
    /// It stopped the patch.
    Stopped,
    /// It could not run, or was not asked for.
    NotRun,
}

impl LayerResult {
    /// What stands before a layer in a list for people.
    pub fn mark(self) -> char {
        match self {
            LayerResult::Passed => '+',
            LayerResult::Flagged => '!',
            LayerResult::Stopped => 'x',
            LayerResult::NotRun => ' ',
        }
    }
}

/// One layer's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Layer {
    /// Which.
    pub name: LayerName,
    /// What came out.
    pub result: LayerResult,
    /// In words: how much was tried, or why not.
    pub detail: String,
    /// Wall time.
    pub seconds: f64,
    /// The seeds of its random choices, told after the fact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
}

/// The verifier's word on a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Verdict {
    /// All targets pass and no guard fails.
    Green(Evidence),
    /// It does not.
    Red(Failure),
    /// Suspect: the candidate reached for the verifier, or passes where no honest one can.
    Rejected {
        /// What speaks against it, in sentences.
        violations: Vec<String>,
    },
    /// Evidence is missing or contradicts itself: never a pass and never a fail.
    Inconclusive {
        /// What is missing, in sentences.
        reasons: Vec<String>,
    },
}

impl Verdict {
    /// The verdict in one word, with its level where it has one. `solved` needs an oracle beyond the visible tests.
    pub fn word(&self) -> String {
        match self {
            Verdict::Green(evidence) if evidence.level >= Level::HeldOut => {
                format!("solved ({})", evidence.level)
            }
            Verdict::Green(evidence) => format!("passes-visible ({})", evidence.level),
            Verdict::Red(_) => "not-solved".to_owned(),
            Verdict::Rejected { .. } => "suspect".to_owned(),
            Verdict::Inconclusive { .. } => "inconclusive".to_owned(),
        }
    }

    /// The level of a pass.
    pub fn level(&self) -> Option<Level> {
        match self {
            Verdict::Green(evidence) => Some(evidence.level),
            Verdict::Red(_) | Verdict::Rejected { .. } | Verdict::Inconclusive { .. } => None,
        }
    }

    /// Why it is no pass, in sentences.
    pub fn reasons(&self) -> Vec<String> {
        match self {
            Verdict::Green(_) => Vec::new(),
            Verdict::Red(failure) => vec![failure.summary.clone()],
            Verdict::Rejected { violations: reasons } | Verdict::Inconclusive { reasons } => reasons.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_name_a_file_of_tests() {
        let results = [
            ("t/a.py::one", Outcome::Passed),
            ("t/a.py::two", Outcome::Skipped),
            ("t/b.py::one", Outcome::Passed),
            ("t/b.py::two", Outcome::Failed),
            ("t/c.js", Outcome::Failed),
            ("t/c.js > d > e", Outcome::Passed),
        ];
        let tests =
            results.into_iter().map(|(id, outcome)| (id.to_owned(), TestResult::new(id, outcome))).collect();
        let run = TestRun { tests, ..TestRun::default() };
        let cases = [
            ("t/a.py::one", Outcome::Passed),
            ("t/a.py", Outcome::Passed),
            ("t/b.py", Outcome::Failed),
            ("t/c.js > d", Outcome::Passed),
            ("t/c.js", Outcome::Failed),
            ("t/a.py::o", Outcome::Missing),
            ("t/a.p", Outcome::Missing),
            ("", Outcome::Missing),
        ];
        for (id, outcome) in cases {
            assert_eq!(run.outcome(id), outcome, "{id}");
        }
    }
}
