//! What regreen does on GitHub: why it was started ([`event`]), what a failure is called ([`triage`]), what people
//! read ([`words`]) and how hostile text is kept from becoming more than text ([`escape`]), the API ([`client`]) and
//! what is written through it ([`publish`]). Fixing and judging are the loop's and the verifier's; nothing of a
//! repository is run here.

pub mod client;
pub mod escape;
pub mod event;
pub mod publish;
pub mod triage;
pub mod words;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What the sticky comment, commits and pull requests are recognised by.
pub const MARK: &str = "<!-- regreen";
/// The trailer of every commit that regreen makes.
pub const TRAILER: &str = "Regreen-Signature:";
/// The name of the check run, of which a head has one an attempt.
pub const CHECK: &str = "regreen";
/// The label of a pull request that regreen made.
pub const LABEL: &str = "regreen-fix";
/// Attempts that a head may have.
pub const ATTEMPTS: usize = 3;

/// How an occasion ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// A patch passes, held-out tests or oracles included.
    Solved,
    /// A patch passes the visible tests.
    PassesVisible,
    /// A patch passes where no honest one can.
    Suspect,
    /// There is no patch that passes.
    NotSolved,
    /// Evidence is missing or contradicts itself.
    Inconclusive,
    /// What failed does not fail each time.
    Flaky,
    /// The machine was at fault and not the code.
    Infrastructure,
    /// A test needs a secret that it does not have.
    MissingSecret,
    /// Nothing was to be done, or a guard forbade it.
    #[default]
    Skipped,
}

impl Ending {
    /// Whether it comes with a patch that may be published.
    pub fn passes(self) -> bool {
        matches!(self, Ending::Solved | Ending::PassesVisible)
    }

    /// As it stands in outputs.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Solved => "solved",
            Ending::PassesVisible => "passes-visible",
            Ending::Suspect => "suspect",
            Ending::NotSolved => "not-solved",
            Ending::Inconclusive => "inconclusive",
            Ending::Flaky => "flaky",
            Ending::Infrastructure => "infrastructure",
            Ending::MissingSecret => "missing-secret",
            Ending::Skipped => "skipped",
        }
    }
}

/// What may be written on GitHub; each includes those before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing: job summary, outputs and annotations only.
    Report,
    /// A check run, and a comment with the patch.
    Patch,
    /// A commit on the branch that went red.
    Commit,
    /// A branch and a pull request.
    #[default]
    PullRequest,
}

/// A test that failed, for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failing {
    /// The test, or the build.
    pub test: String,
    /// What it said; bounded.
    pub message: String,
    /// The file where it failed, within the repository; empty when unknown.
    pub file: String,
    /// The line, from 1; 0 when unknown.
    pub line: u32,
}

/// What the solving step tells the publishing one (`context.json`). Words and numbers for people: they can keep a patch
/// from being published and change what is said of it, and no more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// `owner/name`.
    pub repository: String,
    /// The commit that went red.
    pub head_sha: String,
    /// The branch that went red.
    pub base_branch: String,
    /// The event's name.
    pub event: String,
    /// What the failure is called.
    pub signature: String,
    /// How it ended.
    pub outcome: Ending,
    /// Why.
    pub reason: String,
    /// Who made the patch.
    pub model: String,
    /// Candidates that were proposed.
    pub attempts: u32,
    /// What that cost in dollars.
    pub cost_usd: f64,
    /// Whether nothing was done because a guard forbade it.
    pub guarded: bool,
    /// What failed.
    pub failing: Vec<Failing>,
    /// The issue whose words whoever made the patch was given.
    pub issue: Option<u64>,
    /// Where the job is to be seen.
    pub run_url: String,
    /// The run as a story.
    #[serde(skip)]
    pub story: String,
}

/// Values that must stand nowhere.
#[derive(Clone, Default)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Takes values that are long enough to be secrets: short ones are flags and numbers, and to hide them would garble
    /// every text.
    pub fn new(values: impl IntoIterator<Item = String>) -> Secrets {
        Secrets(values.into_iter().filter(|value| value.len() >= 8).collect())
    }

    /// Their lines, which the runner masks one by one.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|value| value.lines()).filter(|line| line.len() >= 8)
    }

    /// A text without them.
    pub fn hide(&self, text: &str) -> String {
        // Longer ones first: one may be part of another.
        let mut values: Vec<&String> = self.0.iter().collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.into_iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), "***"))
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}
