//! regreen makes a red repository green: it proposes a patch, measures it with the compiler and the test
//! suite in a pristine sandboxed checkout, and goes round until the tests pass or a budget is spent.
//!
//! The module list below is the architecture, bottom floor first: a module uses only modules above it in
//! this list (`tests/it/tidy.rs` fails on a use that runs the other way).

// Words: plain data and pure functions; no I/O, no clock, no async.
pub mod text;
pub mod budget;
pub mod patch;
pub mod edit;
pub mod diagnostic;
pub mod leak;
pub mod verdict;
pub mod task;
pub mod record;

// Hands: each touches one part of the outside world, and nobody else does.
pub mod harness;
pub mod sys;
pub mod process;
pub mod mounts;
pub mod workspace;
pub mod sandbox;
pub mod ledger;

// Senses: turn a tree into a verdict.
pub mod toolchain;
pub mod verify;

// Makers: turn a failure into a candidate.
pub mod prompt;
pub mod propose;
pub mod repair;

// The loop: propose, apply, verify, until green or out of budget.
pub mod strength;
pub mod policy;
pub mod fix;

// Many at once.
pub mod selftest;
pub mod bench;

// One repository, before anybody lets the loop run on it.
pub mod check;

// Everything that is shown, computed from the records alone.
pub mod story;
pub mod report;
pub mod export;

// What is read and written on GitHub.
pub mod github;

// The door: the only reader of arguments and environment.
pub mod cli;
