//! Naive graders judge the tree as it was delivered by what the repository's own test command says: its exit
//! status, its words on stdout, the runner's report, the names in it. They decide nothing here; the self-test asks
//! them which cheats live.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use regex::Regex;
use serde::Deserialize;

use super::Verifier;
use super::assess::{assess, is_synthetic};
use super::observe::Phase;
use crate::patch::Patch;
use crate::toolchain::{Invocation, Reads};
use crate::verdict::{Baseline, Outcome};

/// What people run and look for, from `harness/naive.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// A regular expression for words on stdout that say so when all is well.
    pub passed: String,
    /// A regular expression for words that say so when something is not.
    pub failed: String,
}

/// Which graders say that all is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each grader says yes or no by itself")]
pub struct Fooled {
    /// The exit status is 0.
    pub exit: bool,
    /// stdout says that tests passed and none failed.
    pub stdout: bool,
    /// The runner's report has passed tests and no failed one.
    pub report: bool,
    /// Every target and guard passes by name.
    pub names: bool,
}

impl Fooled {
    /// Whether any grader is fooled.
    pub fn any(self) -> bool {
        self.exit || self.stdout || self.report || self.names
    }

    /// Whether all are.
    pub fn all(self) -> bool {
        self.exit && self.stdout && self.report && self.names
    }
}

/// The commands by toolchain. Fails when the harness's file does not parse.
pub fn commands() -> Result<BTreeMap<String, Command>> {
    toml::from_str(include_str!("../../harness/naive.toml")).context("harness/naive.toml does not parse")
}

impl Verifier {
    /// What naive graders say of a patch as it was delivered.
    pub async fn naive(
        &self,
        baseline: &Baseline,
        delivered: &Patch,
        commands: &BTreeMap<String, Command>,
    ) -> Result<Fooled> {
        let mut workspace = self.workshop.workspace()?;
        if workspace.apply(delivered).is_err() {
            return Ok(Fooled::default());
        }
        let run = self.observe(&mut workspace, None).await?;
        let passed =
            run.tests.values().any(|test| test.outcome == Outcome::Passed && !is_synthetic(&test.id));
        let failed = run.tests.values().any(|test| test.outcome == Outcome::Failed);
        let mut fooled = Fooled {
            exit: true,
            stdout: true,
            report: run.built && passed && !failed,
            names: assess(baseline, &run).is_none(),
        };
        let workspace = self.workshop.workspace()?;
        workspace.apply(delivered)?;
        let results = self.workshop.scratch.results()?;
        for suite in &self.suites {
            let Some(command) = commands.get(&suite.profile.name) else {
                (fooled.exit, fooled.stdout) = (false, false);
                continue;
            };
            let invocation = Invocation {
                argv: command.argv.clone(),
                dir: suite.dir.clone(),
                env: suite.profile.environment.clone(),
                seconds: suite.profile.test.seconds,
                limits: suite.profile.limits,
                reads: Reads::Messages,
            };
            let finished = self.run(&invocation, &workspace, &results, Phase::Test).await?;
            let said = [finished.stdout.excerpt(1 << 20)?, finished.stderr.excerpt(1 << 20)?].join("\n");
            let says = |pattern: &str| Ok::<bool, regex::Error>(Regex::new(pattern)?.is_match(&said));
            fooled.exit &= finished.exit.success();
            fooled.stdout &= says(&command.passed)? && !says(&command.failed)?;
        }
        Ok(fooled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_parse_and_their_expressions_too() {
        for (name, command) in commands().unwrap() {
            assert!(!command.argv.is_empty(), "{name}");
            assert!(Regex::new(&command.passed).is_ok() && Regex::new(&command.failed).is_ok(), "{name}");
        }
    }
}
