//! The records of a ledger, one JSON object a line. Everything that is shown or exported is computed from
//! them. A changed field means a new [`FORMAT`] and a new golden file (`tests/golden/`).

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::{Limit, Spent};
use crate::leak::Strength;
use crate::patch::{Patch, RepoPath};
use crate::task::Task;
use crate::verdict::{Baseline, Evidence, Failure, TestId, Verdict};

/// The format number that [`Event::Started`] carries.
pub const FORMAT: u32 = 1;

/// One line of a ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Number of the line, from 0.
    pub seq: u64,
    /// Seconds since the run began, over all its resumptions.
    pub at: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What can happen in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "events are few and short-lived")]
pub enum Event {
    /// The run began.
    Started {
        /// [`FORMAT`].
        format: u32,
        /// regreen's version.
        version: String,
        /// The run's id.
        run: String,
        /// UTC, RFC 3339.
        time: String,
        /// What must become true.
        task: Task,
        /// The arguments of `regreen fix`, so that a resumed run is the same run.
        #[serde(default)]
        arguments: Vec<String>,
        /// The folder that they were given in.
        #[serde(default)]
        folder: String,
        /// The proposers, cheapest first.
        models: Vec<String>,
        /// The sandbox level in force.
        sandbox: String,
    },
    /// The run went on after it was stopped or killed.
    Resumed {
        /// UTC, RFC 3339.
        time: String,
    },
    /// The repository was taken.
    Based {
        /// Git tree id of the snapshot.
        tree: String,
        /// Number of files.
        files: usize,
        /// The test suites found: profile and folder.
        suites: Vec<String>,
        /// Git tree id of the held-out files, if there are any; they themselves are not told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held_out: Option<String>,
    },
    /// Dependencies were installed.
    SetUp {
        /// Wall time.
        seconds: f64,
    },
    /// The base was measured.
    Measured {
        /// Targets, guards, flaky.
        baseline: Baseline,
    },
    /// How strong the base's tests are on the lines that may be to blame, because something is at stake.
    Estimated {
        /// What was found.
        strength: Strength,
    },
    /// The policy decided.
    Decided {
        /// What to do next, in words.
        action: String,
        /// Why.
        reason: String,
        /// What else could have been done.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        alternatives: Vec<String>,
    },
    /// A proposer is about to be asked; its possible cost is reserved.
    Asked {
        /// The attempt, from 1.
        attempt: u32,
        /// The rung of the ladder, from 0.
        tier: usize,
        /// The proposer.
        model: String,
        /// What it is told; empty for proposers that take no prompt.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prompt: String,
        /// Targets that a proposer which searches was not told of.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        withheld: BTreeSet<TestId>,
        /// The most that the call can cost.
        most: Spent,
    },
    /// A proposer answered.
    Replied {
        /// The attempt, from 1.
        attempt: u32,
        /// Its words, or its transcript.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
        /// Its edits, when it edits files itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        edits: Option<Patch>,
        /// What the call cost.
        spent: Spent,
        /// Wall time.
        seconds: f64,
    },
    /// A proposer has no (further) candidate, or could not be asked.
    Declined {
        /// The attempt, from 1.
        attempt: u32,
        /// Why.
        reason: String,
        /// What the call cost all the same.
        #[serde(default)]
        spent: Spent,
        /// Whether asking it again in this run is pointless.
        permanent: bool,
    },
    /// A candidate was found in the reply.
    Proposed {
        /// The attempt, from 1.
        attempt: u32,
        /// The candidate, without what was left out.
        patch: Patch,
        /// The candidate as a unified diff.
        diff: String,
        /// Edits of protected files that were left out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left_out: Vec<String>,
    },
    /// A candidate was judged.
    Judged {
        /// The attempt, from 1.
        attempt: u32,
        /// The verdict.
        verdict: Verdict,
        /// Wall time.
        seconds: f64,
    },
    /// Hunks that were not needed were dropped from a green candidate.
    Minimised {
        /// The attempt, from 1.
        attempt: u32,
        /// What is left.
        patch: Patch,
        /// What is left, as a unified diff.
        diff: String,
        /// Hunks before.
        from: usize,
        /// Hunks after.
        to: usize,
    },
    /// The run ended.
    Ended {
        /// How.
        outcome: Outcome,
        /// What was spent.
        spent: Spent,
        /// Wall time of this process, in seconds.
        seconds: f64,
        /// The part of it that was spent waiting for git, set-up, build, test and agent processes; the rest is
        /// regreen's own and the models'.
        waited: f64,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Outcome {
    /// A verified patch.
    Green {
        /// The patch.
        patch: Patch,
        /// The patch as a unified diff.
        diff: String,
        /// The git blob ids of the changed paths on the base, `None` for new ones: what the patch applies to.
        base: BTreeMap<RepoPath, Option<String>>,
        /// Why it may be believed.
        evidence: Evidence,
    },
    /// Nothing was failing.
    AlreadyGreen {
        /// Tests that pass.
        passing: usize,
        /// Tests that are disabled and so prove nothing.
        disabled: usize,
        /// What is odd about that green all the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        complaint: Option<String>,
    },
    /// Every proposer gave up.
    Unsolved {
        /// Why the loop stopped.
        reason: String,
        /// What the last candidate, or else the base, failed with.
        failure: Option<Failure>,
    },
    /// The budget is spent.
    OutOfBudget {
        /// The limit.
        limit: Limit,
    },
    /// No patch can help here.
    NotFixable {
        /// The kind.
        cause: Cause,
        /// What happened, and why.
        detail: String,
        /// What to do next.
        remedy: String,
    },
}

/// Why no patch can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Only flaky tests fail.
    Flaky,
    /// No suite was found, or it has no test.
    NoTests,
    /// A program that the suite needs is not installed.
    ToolchainMissing,
    /// Set-up failed: dependencies cannot be installed.
    SetupFailed,
    /// The disk is full.
    DiskFull,
    /// The tests or the build need a network that they do not have.
    NetworkNeeded,
    /// A test needs a secret that it is not given.
    SecretMissing,
    /// A named target does not exist, or does not fail on the base.
    TargetsUnknown,
}
