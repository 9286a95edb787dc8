//! A task says what must become true: a source, an optional statement, optional targets and guards, protected
//! paths, a budget, and how to set up, build and test where detection is not enough. Read from `task.toml`
//! outside the candidate's reach, or made from the command line.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::verdict::TestId;

/// The format number of `task.toml`, its key `regreen`.
pub const FORMAT: u32 = 1;

/// What must become true.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The format number, [`FORMAT`].
    pub regreen: u32,
    /// A name for ledgers and reports.
    #[serde(default)]
    pub id: String,
    /// What is wrong, in the words of whoever reports it.
    #[serde(default)]
    pub statement: Option<String>,
    /// Where the failing repository is.
    #[serde(default)]
    pub source: Source,
    /// Tests that must fail on the base and pass afterwards. Empty: whatever fails on the base.
    #[serde(default)]
    pub fail_to_pass: BTreeSet<TestId>,
    /// Tests that must go on passing. Empty: whatever passes on the base.
    #[serde(default)]
    pub pass_to_pass: BTreeSet<TestId>,
    /// Globs of files that a candidate must leave as they are, besides the toolchain's own.
    #[serde(default)]
    pub protected: Vec<String>,
    /// Run only this toolchain (a profile's name) instead of all that are detected.
    #[serde(default)]
    pub toolchain: Option<String>,
    /// Environment of set-up, build and test.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Set-up steps, instead of the profile's.
    #[serde(default)]
    pub setup: Option<Vec<Step>>,
    /// Build command, instead of the profile's.
    #[serde(default)]
    pub build_cmd: Option<Vec<String>>,
    /// Test command, instead of a profile.
    #[serde(default)]
    pub test_cmd: Option<Vec<String>>,
    /// What `test_cmd` reports.
    #[serde(default)]
    pub test_format: Option<TestFormat>,
    /// Where `test_cmd` leaves its `JUnit` XML files: a glob relative to the repository.
    #[serde(default)]
    pub test_results: Option<String>,
    /// What may be spent.
    #[serde(default)]
    pub budget: Budget,
}

/// Where a repository comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// A folder, relative to the task's own; or a URL (`file`, `https`, `ssh`).
    pub path: String,
    /// A revision; without it a folder is taken as it stands, a URL at its default branch.
    pub rev: Option<String>,
}

impl Default for Source {
    fn default() -> Self {
        Source { path: ".".to_owned(), rev: None }
    }
}

/// One command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Program and arguments; no shell.
    pub argv: Vec<String>,
}

/// What a test command of the user's own reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TestFormat {
    /// One test named `command`, passed when the exit status is 0.
    #[default]
    ExitCode,
    /// Test Anything Protocol on stdout.
    Tap,
    /// `JUnit` XML files.
    Junit,
}
