//! The verifier turns a candidate into a verdict, and is the only one who may say green. A candidate is *composed*
//! onto a pristine base, without its edits of tests and configuration ([`compose`]); what must pass and what must
//! go on passing was measured on the base before ([`baseline`]); what a run says is data ([`observe`],
//! [`attest`]), what it means is decided by pure functions ([`assess`]); and a verdict is what is left when every
//! layer has had its say ([`judge`]).

mod assess;
pub mod attest;
mod baseline;
mod built;
mod code;
mod compose;
mod controls;
mod doctests;
pub mod given;
mod heldout;
mod inline;
mod http;
mod judge;
mod library;
mod manifest;
mod naive;
mod observe;
mod oracle;
mod packages;
mod receipt;
mod renames;
mod signature;
mod signs;
mod withhold;
mod sitting;

use std::path::PathBuf;

use crate::sandbox::Sandbox;
use crate::task::Task;
use crate::toolchain::Suite;
use crate::workspace::Workshop;

pub use assess::{assess, count, plain};
pub use baseline::{Trouble, failure_of_base, measure, prepare, sorted};
pub use built::{Built, Patience, Ran};
pub use compose::{Composed, nothing_left};
pub use heldout::{HeldOut, read as read_held_out, survey_held_out};
pub use judge::{Case, Judgement};
pub use naive::{Command as NaiveCommand, Fooled, commands as naive_commands};
pub use observe::load;
pub use receipt::Receipt;
pub use signature::signature;
pub use withhold::withhold;

/// Tells whoever watches what is being done right now.
pub type Say<'a> = &'a dyn Fn(&str);

/// Everything that a verdict depends on, read from the base or from outside the tree, never from a candidate.
#[derive(Debug)]
pub struct Verifier {
    /// What must become true.
    pub task: Task,
    /// Where candidates are tried.
    pub workshop: Workshop,
    /// The box that everything runs in.
    pub sandbox: Sandbox,
    /// The test suites of the base.
    pub suites: Vec<Suite>,
    /// The folder with regreen's own launchers and reporters.
    pub launchers: PathBuf,
    /// Whether set-up has the network.
    pub setup_network: bool,
    /// Deadline in seconds of every build and test command, instead of the profiles' own.
    pub deadline: Option<u64>,
    /// Tests that nobody who proposes has seen.
    pub held_out: Option<HeldOut>,
}
