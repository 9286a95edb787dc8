//! A toolchain turns a tree into test results: which suites a repository has, what to run for each, and how
//! to read what came back. What is run stands in `harness/toolchains/*.toml`; this module holds the
//! mechanism. It runs nothing itself: `verify` does, in the sandbox.

pub mod profile;
pub mod place;
pub mod compilers;
pub mod formats;
mod listing;
mod rust;
pub mod splice;
pub mod suite;
#[cfg(test)]
mod trial;

pub use profile::{Format, Library, Profile};
pub use rust::roots as rust_roots;
pub use suite::{Invocation, Reads, Suite, detect};

use crate::diagnostic::Diagnostic;
use crate::verdict::TestResult;

/// What could be read out of one command's output and result files.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Test results, ids relative to the suite's folder.
    pub tests: Vec<TestResult>,
    /// Compiler messages.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the report itself says that it is whole: a report cut short by an abort is not.
    pub complete: bool,
}
