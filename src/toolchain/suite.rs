//! A suite is a profile recognised in a folder: what to run there, and how to read the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::{Format, Parsed, Profile};
use crate::process::Finished;
use crate::task::Task;
use crate::verdict::TestId;

/// A toolchain recognised in a folder of the repository.
#[derive(Clone, Debug)]
pub struct Suite {
    /// What to do there.
    pub profile: Arc<Profile>,
    /// The folder, relative to the repository, with forward slashes; empty for the root.
    pub dir: String,
}

/// A command that belongs to a suite, before the sandbox has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// Program and arguments, placeholders filled in.
    pub argv: Vec<String>,
    /// Working directory, relative to the repository.
    pub dir: String,
    /// Environment besides what every command gets.
    pub env: BTreeMap<String, String>,
    /// Deadline in seconds.
    pub seconds: u64,
    /// How its results are read.
    pub reads: Reads,
}

/// How an invocation's results are read.
#[derive(Clone, Debug, PartialEq)]
pub enum Reads {
    /// Compiler messages only.
    Messages,
    /// Test results in this format; ids begin with the text (a Rust binary id with its space; else empty).
    Tests(Format, String),
}

/// The suites of a repository, folders nearest the root first; below a recognised folder only other
/// toolchains are looked for.
pub fn detect(tree: &Path, focus: &str, profiles: &[Arc<Profile>], task: &Task) -> Result<Vec<Suite>> {
    let _ = (tree, focus, profiles, task, Format::Tap);
    todo!()
}

impl Suite {
    /// The set-up commands that apply to the tree.
    pub fn setup(&self, tree: &Path, launchers: &Path) -> Result<Vec<Invocation>> {
        let _ = (tree, launchers);
        todo!()
    }

    /// The build commands, in order; none for toolchains that build as they test.
    pub fn build(&self, tree: &Path, launchers: &Path) -> Result<Vec<Invocation>> {
        let _ = (tree, launchers);
        todo!()
    }

    /// The test commands: all tests, or little more than those of `only`. `built` is what the build commands
    /// printed (Rust's binaries are named there). `results` is a fresh folder.
    pub fn tests(
        &self,
        tree: &Path,
        built: &[Finished],
        only: Option<&BTreeSet<TestId>>,
        results: &Path,
        launchers: &Path,
    ) -> Result<Vec<Invocation>> {
        let _ = (tree, built, only, results, launchers);
        todo!()
    }

    /// Whether the tests can still tell something when the build failed (a type check beside a runner that
    /// strips types).
    pub fn tests_despite_build(&self) -> bool {
        self.profile
            .build
            .as_ref()
            .is_some_and(|build| build.tests_despite_failure)
    }

    /// Reads what an invocation left. Test ids get the suite's folder as prefix, unless it is the root.
    pub fn read(
        &self,
        invocation: &Invocation,
        finished: &Finished,
        tree: &Path,
        results: &Path,
    ) -> Result<Parsed> {
        let _ = (invocation, finished, tree, results);
        todo!()
    }
}
