//! A proposer makes candidates: the embedded repair engine, an LLM, a command (any agent CLI), a replay.
//! This is the one trait of regreen, because money, network and chance enter here.

pub mod prices;
pub mod llm;
pub mod command;
pub mod replay;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Result;

use crate::budget::Spent;
use crate::patch::Patch;
pub use crate::prompt::Prompt;
use crate::verdict::{Baseline, Failure};
use crate::verify::Verifier;

/// What a proposer may know when it is asked.
pub struct Ask<'a> {
    /// The attempt, from 1.
    pub attempt: u32,
    /// The prompt, for proposers that read one.
    pub prompt: &'a Prompt,
    /// What the base says.
    pub baseline: &'a Baseline,
    /// What the last candidate failed with, for proposers that search.
    pub failure: &'a Failure,
    /// The verifier, whose workshop gives workspaces on the base to proposers that edit files themselves, and
    /// which proposers that search may ask whether a candidate builds.
    pub verifier: &'a Verifier,
    /// Wall time that the proposer may take.
    pub time: Duration,
}

/// What a proposer answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Proposal {
    /// Words in which edits may stand.
    Reply {
        /// The words.
        text: String,
        /// What the call cost.
        spent: Spent,
    },
    /// Edits made in the workspace.
    Edits {
        /// The edits.
        patch: Patch,
        /// What the proposer said while it worked.
        transcript: String,
        /// What the work cost.
        spent: Spent,
    },
    /// No candidate.
    Nothing {
        /// Why, and what to do about it.
        reason: String,
        /// What finding out cost.
        spent: Spent,
        /// Whether asking again in this run is pointless.
        permanent: bool,
    },
}

/// An answer that is on its way.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Proposal>> + 'a>>;

/// Whoever makes candidates.
pub trait Proposer {
    /// The name in ledgers and reports: `repair`, `anthropic/claude-…`, `command:claude`, `replay:…`.
    fn name(&self) -> &str;

    /// Tokens that a prompt may have; `None` for proposers that read no prompt.
    fn context(&self) -> Option<u64> {
        None
    }

    /// The most that answering `prompt` can cost. Fails if that cannot be known (no price), since an unknown
    /// cost may not be risked.
    fn most(&self, prompt: &Prompt) -> Result<Spent>;

    /// Asks for a candidate. `Err` means that regreen failed, not the proposer.
    fn propose<'a>(&'a mut self, ask: &'a Ask<'a>) -> Answer<'a>;
}
