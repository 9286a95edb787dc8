//! Runs build and tests of all suites in a workspace and writes down what happened. It judges nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Verifier;
use super::assess::is_synthetic;
use crate::diagnostic::Severity;
use crate::patch::Patch;
use crate::process::{self, Command, Finished, Limits};
use crate::sandbox::Policy;
use crate::task;
use crate::toolchain::{Invocation, Parsed, Reads, Suite};
use crate::verdict::{Exit, TestId, TestResult, TestRun, keep_worse};
use crate::workspace::{Workspace, read_beneath};

/// Bytes of output of failed commands that a run keeps.
const LOG: usize = 16 << 10;

/// Bytes of a warm judge's answers that are read.
const JUDGED: u64 = 64 << 20;

/// Diagnostics that a run keeps.
const DIAGNOSTICS: usize = 50;

/// What a command is for: phases differ in network and deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Installs dependencies: with the network, if the user grants it.
    SetUp,
    /// Builds or tests: without the network, within the user's deadline.
    Test,
    /// A proposer's tool: without the network.
    Tool,
    /// A server that is asked over its own loopback.
    Served,
}

impl Verifier {
    /// Builds and runs all tests, or little more than `only`, in a workspace.
    pub(super) async fn observe(
        &self,
        workspace: &mut Workspace,
        only: Option<&BTreeSet<TestId>>,
    ) -> Result<TestRun> {
        let mut run = blank();
        for suite in &self.suites {
            self.observe_suite(suite, workspace, only, &mut run).await?;
        }
        Ok(finish(run))
    }

    /// Builds every suite in a workspace. A toolchain without a build phase builds as it tests.
    pub(super) async fn observe_build(&self, workspace: &mut Workspace) -> Result<TestRun> {
        let mut run = blank();
        let results = self.workshop.scratch.results()?;
        for suite in &self.suites {
            if suite.build(&workspace.places(), &self.launchers)?.is_empty() {
                self.observe_suite(suite, workspace, None, &mut run).await?;
            } else {
                self.build(suite, workspace, &results, &mut run).await?;
            }
        }
        Ok(finish(run))
    }

    /// Runs a tool of a proposer's in a folder of the tree, in the sandbox.
    pub async fn tool(
        &self,
        argv: &[String],
        dir: &str,
        seconds: u64,
        workspace: &Workspace,
    ) -> Result<Finished> {
        let invocation = Invocation {
            argv: argv.to_vec(),
            dir: dir.to_owned(),
            env: std::collections::BTreeMap::new(),
            seconds,
            limits: task::Limits::default(),
            reads: Reads::Messages,
        };
        let results = self.workshop.scratch.results()?;
        self.run(&invocation, workspace, &results, Phase::Tool).await
    }

    /// Runs a suite's warm judge on a plan for a candidate, in the sandbox, within so many seconds: what it wrote, as
    /// far as it came. What it says decides nothing.
    pub async fn warm_on(
        &self,
        candidate: &Patch,
        suite: &Suite,
        plan: &str,
        seconds: u64,
    ) -> Result<Option<Vec<u8>>> {
        let workspace = self.workshop.workspace()?;
        workspace.apply(candidate)?;
        self.warm_in(&workspace, suite, plan, seconds).await
    }

    /// Likewise, in a workspace, where the judge finds what it left there before.
    pub async fn warm_in(
        &self,
        workspace: &Workspace,
        suite: &Suite,
        plan: &str,
        seconds: u64,
    ) -> Result<Option<Vec<u8>>> {
        let results = self.workshop.scratch.results()?;
        let Some(invocation) = suite.warm(&workspace.places(), &results, &self.launchers, seconds) else {
            return Ok(None);
        };
        std::fs::write(results.join("plan.json"), plan).context("failed to write a plan")?;
        self.run(&invocation, workspace, &results, Phase::Tool).await?;
        let said = read_beneath(&results, "judged.jsonl", JUDGED).unwrap_or_default();
        let _ = std::fs::remove_dir_all(&results);
        Ok(Some(said))
    }

    async fn observe_suite(
        &self,
        suite: &Suite,
        workspace: &mut Workspace,
        only: Option<&BTreeSet<TestId>>,
        run: &mut TestRun,
    ) -> Result<()> {
        let results = self.workshop.scratch.results()?;
        let Some(built) = self.build(suite, workspace, &results, run).await? else {
            return Ok(());
        };
        suite.sweep(&workspace.tree())?;
        let before = (run.tests.len(), run.diagnostics.len(), run.broken.len());
        let (mut short, mut well) = (None, true);
        let invocations = suite.tests(&workspace.places(), &built, only, &results, &self.launchers)?;
        // A test could rewrite what another one is about to run: each begins with what was built.
        let apart = self.workshop.overlays() && (invocations.len() > 1 || self.suites.len() > 1);
        for invocation in invocations {
            let fork = if apart { Some(self.workshop.fork(workspace)?) } else { None };
            let place = fork.as_ref().unwrap_or(workspace);
            if apart {
                self.workshop.scratch.empty(&results)?;
            }
            let finished = self.run(&invocation, place, &results, Phase::Test).await?;
            let parsed = suite.read(&invocation, &finished, &place.places(), &results)?;
            well &= finished.exit.success();
            if !parsed.complete {
                short = Some(format!("{}: its report is cut short", shown(&invocation)));
            }
            note(run, &invocation, &finished, parsed)?;
        }
        let errors =
            run.diagnostics[before.1..].iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let ended = run.broken.len() == before.2;
        if ended && !well && (errors || run.tests.len() == before.0) {
            fail_suite(run, &format!("build ({})", suite.label()));
        } else if ended {
            // A suite that ends by itself, status 0 even, and has not said all it had to say.
            run.broken.extend(short);
        }
        // Result files of large suites would pile up over a long run.
        let _ = std::fs::remove_dir_all(&results);
        Ok(())
    }

    /// Builds a suite; `None` when that fails and the tests cannot run.
    pub(super) async fn build(
        &self,
        suite: &Suite,
        workspace: &Workspace,
        results: &Path,
        run: &mut TestRun,
    ) -> Result<Option<Vec<Finished>>> {
        let mut built = Vec::new();
        for invocation in suite.build(&workspace.places(), &self.launchers)? {
            let finished = self.run(&invocation, workspace, results, Phase::Test).await?;
            let parsed = suite.read(&invocation, &finished, &workspace.places(), results)?;
            let failed = !finished.exit.success();
            note(run, &invocation, &finished, parsed)?;
            built.push(finished);
            if failed {
                fail_suite(run, &format!("build ({})", suite.label()));
                return Ok(suite.tests_despite_build().then_some(built));
            }
        }
        Ok(Some(built))
    }

    /// Runs one invocation in the sandbox.
    pub(super) async fn run(
        &self,
        invocation: &Invocation,
        workspace: &Workspace,
        results: &Path,
        phase: Phase,
    ) -> Result<Finished> {
        self.run_with_input(invocation, workspace, results, phase, Vec::new()).await
    }

    /// Likewise, with something to read on stdin.
    pub(super) async fn run_with_input(
        &self,
        invocation: &Invocation,
        workspace: &Workspace,
        results: &Path,
        phase: Phase,
        input: Vec<u8>,
    ) -> Result<Finished> {
        let readable = vec![self.launchers.clone()];
        Box::pin(self.run_reading(invocation, workspace, results, phase, input, readable)).await
    }

    pub(super) async fn run_reading(
        &self,
        invocation: &Invocation,
        workspace: &Workspace,
        results: &Path,
        phase: Phase,
        input: Vec<u8>,
        readable: Vec<PathBuf>,
    ) -> Result<Finished> {
        let env = self.task.environment.iter().chain(&invocation.env);
        let asked = self.deadline.filter(|_| phase == Phase::Test);
        let seconds = asked.unwrap_or(invocation.seconds);
        let command = Command {
            argv: invocation.argv.iter().map(OsString::from).collect(),
            dir: workspace.tree().join(&invocation.dir),
            env: env.map(|(key, value)| (key.into(), value.into())).collect(),
            input,
            limits: Limits::of(Duration::from_secs(seconds), &self.task.limits.or(invocation.limits)),
            logs: self.workshop.scratch.logs(),
        };
        let policy = Policy {
            workspace,
            readable,
            writable: vec![results.to_owned()],
            caches: self.suites.iter().flat_map(|suite| suite.profile.caches.clone()).collect(),
            network: phase == Phase::SetUp && self.setup_network,
            served: phase == Phase::Served,
        };
        let command = self.sandbox.wrap(command, &policy)?;
        process::run(&command).await.with_context(|| format!("failed to run {}", invocation.argv.join(" ")))
    }
}

pub(super) fn blank() -> TestRun {
    TestRun { built: true, exit: Some(Exit::Code(0)), ..TestRun::default() }
}

fn finish(mut run: TestRun) -> TestRun {
    run.diagnostics.sort_by_key(|diagnostic| diagnostic.severity != Severity::Error);
    run.diagnostics.truncate(DIAGNOSTICS);
    run.load = load();
    run
}

/// Writes down what an invocation did.
pub(super) fn note(
    run: &mut TestRun,
    invocation: &Invocation,
    finished: &Finished,
    parsed: Parsed,
) -> Result<()> {
    run.seconds += finished.seconds;
    for mut test in parsed.tests {
        if is_synthetic(&test.id) {
            // A test may call itself what it likes, and is a test all the same.
            test.id.insert_str(0, "test ");
        }
        keep_worse(&mut run.tests, test);
    }
    for diagnostic in parsed.diagnostics {
        if !run.diagnostics.contains(&diagnostic) {
            run.diagnostics.push(diagnostic);
        }
    }
    if !finished.exit.success() {
        let log = finished.log(LOG)?;
        let both = format!("{}\n{log}", run.log);
        run.log = crate::text::clip(both.trim_start(), LOG).into_owned();
        if !matches!(finished.exit, Exit::Code(_)) {
            run.broken.push(format!("{}: {}", shown(invocation), finished.exit));
        }
        run.exit = Some(finished.exit.clone());
    }
    Ok(())
}

/// A command line, short enough for a sentence.
fn shown(invocation: &Invocation) -> String {
    crate::text::clip(&invocation.argv.join(" "), 120).into_owned()
}

/// Notes that a suite as a whole failed.
fn fail_suite(run: &mut TestRun, id: &str) {
    run.built = false;
    let message = run.diagnostics.first().map_or_else(|| run.log.clone(), |first| first.message.clone());
    run.tests.insert(id.to_owned(), TestResult::failed(id, message));
}

/// The machine's one-minute load average per core; 0 where it cannot be read.
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let average: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    #[expect(clippy::cast_precision_loss, reason = "a machine has few cores")]
    let load = average / cores as f64;
    (load * 100.0).round() / 100.0
}
