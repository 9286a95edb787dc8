//! Runs build and tests of all suites in a workspace and writes down what happened. It judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use regex::Regex;

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

/// Bytes of one test's profile that are read.
const PROFILE: u64 = 1 << 20;

/// Bytes of what the tests of one variant print that are read.
const SAID: u64 = 64 << 10;

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

    /// Builds a suite of a candidate in a workspace that is kept for [`Verifier::run_built`], and for
    /// [`Verifier::run_variants`] of the tests `only`. A toolchain without a build phase builds as it tests. Nothing that
    /// is seen there is a verdict.
    pub async fn build_kept(
        &self,
        suite: &Suite,
        candidate: &Patch,
        only: Option<&BTreeSet<TestId>>,
        env: &BTreeMap<String, String>,
        most: u64,
    ) -> Result<Built> {
        let workspace = self.workshop.workspace()?;
        workspace.apply(candidate)?;
        let results = self.workshop.scratch.results()?;
        let mut run = blank();
        let mut announced = Vec::new();
        for mut invocation in suite.build_kept(&workspace.places(), only, &results, &self.launchers)? {
            invocation.env.extend(env.clone());
            invocation.seconds = invocation.seconds.min(most);
            let finished = self.run(&invocation, &workspace, &results, Phase::Test).await?;
            let parsed = suite.read(&invocation, &finished, &workspace.places(), &results)?;
            run.built &= finished.exit.success();
            note(&mut run, &invocation, &finished, parsed)?;
            announced.push(finished);
            if !run.built {
                break;
            }
        }
        let mut built = Built { workspace, announced, run, kept: results };
        if built.announced.is_empty() {
            let pairs: Vec<(&str, String)> =
                env.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            let run = self.run_built(&built, suite, None, &pairs, most.min(120)).await?;
            let errors = run.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
            built.run = TestRun { built: !errors && !run.tests.is_empty(), ..run };
        }
        Ok(built)
    }

    /// Runs tests of a suite in a workspace that was built, all or little more than `only`.
    pub async fn run_built(
        &self,
        built: &Built,
        suite: &Suite,
        only: Option<&BTreeSet<TestId>>,
        env: &[(&str, String)],
        seconds: u64,
    ) -> Result<TestRun> {
        let (tree, results) = (built.workspace.places(), self.workshop.scratch.results()?);
        suite.sweep(&built.workspace.tree())?;
        let mut run = blank();
        for mut invocation in suite.tests(&tree, &built.announced, only, &results, &self.launchers)? {
            invocation.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            invocation.seconds = seconds;
            let finished = self.run(&invocation, &built.workspace, &results, Phase::Tool).await?;
            let parsed = suite.read(&invocation, &finished, &tree, &results)?;
            note(&mut run, &invocation, &finished, parsed)?;
        }
        let _ = std::fs::remove_dir_all(&results);
        Ok(run)
    }

    /// Runs tests of a suite in a workspace that was built, once for each value of an environment variable, in one
    /// command and side by side: with how many of the tests each value passes, as far as it passes some. Exit statuses
    /// and what tests print decide, so it is no verdict. `seconds` are for one value, `most` for all.
    pub async fn run_variants(
        &self,
        built: &Built,
        suite: &Suite,
        only: &BTreeSet<TestId>,
        env: &BTreeMap<String, String>,
        (variable, values): (&str, &[usize]),
        (seconds, most): (u64, u64),
    ) -> Result<BTreeMap<usize, usize>> {
        let (tree, results) = (built.workspace.places(), self.workshop.scratch.results()?);
        let lines = if suite.profile.kept.is_some() {
            built.programs()?
        } else {
            let tests = suite.tests(&tree, &built.announced, Some(only), &results, &self.launchers)?;
            let line = |mut test: Invocation| {
                test.env.extend(env.clone());
                let env: Vec<String> =
                    test.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let dir = tree.seen.join(&test.dir).display().to_string();
                let words = env.iter().chain(&test.argv).map(String::as_str);
                format!("cd {} && exec env {}", quoted([dir.as_str()]), quoted(words))
            };
            tests.into_iter().map(line).collect()
        };
        let passed = suite.profile.test.passed.as_deref().filter(|_| only.len() > 1);
        let passed = passed.map(Regex::new).transpose()?;
        let script = variants_script(&lines, passed.is_some(), variable, values, seconds);
        std::fs::write(results.join("variants.sh"), script).context("failed to write a script")?;
        let argv = vec!["sh".to_owned(), results.join("variants.sh").display().to_string()];
        let mut invocation = suite.invocation(argv, String::new(), Reads::Messages);
        invocation.env.insert("REGREEN_SAID".to_owned(), results.display().to_string());
        invocation.seconds = most;
        self.run_kept(&invocation, built, &results).await?;
        let said = read_beneath(&results, "passed", JUDGED).unwrap_or_default();
        let whole = String::from_utf8_lossy(&said);
        let whole = whole.lines().filter_map(|line| Some((line.trim().parse().ok()?, only.len())));
        let mut counts: BTreeMap<usize, usize> = whole.collect();
        for value in values.iter().filter(|_| passed.is_some()) {
            let said = read_beneath(&results, &format!("said-{value}"), SAID).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            let names = passed.iter().flat_map(|passed| passed.captures_iter(&said));
            let names: BTreeSet<&str> =
                names.filter_map(|found| found.name("name")).map(|name| name.as_str()).collect();
            let count = only.iter().filter(|id| names.iter().any(|name| ends_in(id, name))).count();
            if count > 0 {
                counts.entry(*value).or_insert(count.min(only.len() - 1));
            }
        }
        let _ = std::fs::remove_dir_all(&results);
        Ok(counts)
    }

    /// Which blocks of the base each test runs, one after the other, within so many seconds: the profiles, as the
    /// toolchain writes them; none where it knows of no such thing.
    pub async fn profiles(&self, suite: &Suite, tests: &[TestId], seconds: u64) -> Result<Vec<String>> {
        if suite.profile.kept.as_ref().is_none_or(|kept| kept.cover.is_empty()) {
            return Ok(Vec::new());
        }
        let workspace = self.workshop.workspace()?;
        let (kept, only) = (self.workshop.scratch.results()?, tests.iter().cloned().collect());
        let Some(covering) = suite.build_covering(&workspace.places(), &only, &kept, &self.launchers)? else {
            return Ok(Vec::new());
        };
        self.run(&Invocation { seconds, ..covering }, &workspace, &kept, Phase::Tool).await?;
        let built = Built { workspace, announced: Vec::new(), run: blank(), kept };
        // A folder that nothing of the repository has seen: the script is written from outside.
        let (programs, results) = (built.programs()?, self.workshop.scratch.results()?);
        let name = |at: usize, program: usize| format!("profile-{at}-{program}");
        let mut script = String::new();
        for (program, line) in programs.iter().enumerate() {
            for (at, id) in tests.iter().enumerate() {
                let words = suite.alone(id, &results.join(name(at, program)).display().to_string())?;
                let _ = writeln!(
                    script,
                    "(ulimit -t 10 && exec timeout -s KILL 20 sh -c {}) >/dev/null 2>&1 </dev/null",
                    quoted([format!("{line} {}", quoted(words.iter().map(String::as_str))).as_str()])
                );
            }
        }
        std::fs::write(results.join("profiles.sh"), script).context("failed to write a script")?;
        let argv = vec!["sh".to_owned(), results.join("profiles.sh").display().to_string()];
        let invocation = suite.invocation(argv, String::new(), Reads::Messages);
        self.run_kept(&Invocation { seconds, ..invocation }, &built, &results).await?;
        let profile = |at, program| read_beneath(&results, &name(at, program), PROFILE).unwrap_or_default();
        let of =
            |at| (0..programs.len()).map(move |program| profile(at, program)).collect::<Vec<_>>().concat();
        let found = (0..tests.len()).map(|at| String::from_utf8_lossy(&of(at)).into_owned()).collect();
        let _ = std::fs::remove_dir_all(&results);
        Ok(found)
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

    /// Runs what was built and the test programs that were kept of it.
    async fn run_kept(&self, invocation: &Invocation, built: &Built, results: &Path) -> Result<Finished> {
        let readable = vec![self.launchers.clone(), built.kept.clone()];
        self.run_reading(invocation, &built.workspace, results, Phase::Tool, Vec::new(), readable).await
    }

    async fn run_reading(
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

/// Whether an id is that of a test that its runner calls so.
fn ends_in(id: &str, name: &str) -> bool {
    id.strip_suffix(name).is_some_and(|rest| !rest.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Words as a shell reads them.
fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let word = |word: &str| format!("'{}'", word.replace('\'', "'\\''"));
    words.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A shell script that runs command lines for each value of a variable, in two processes, and notes the values with
/// which all of them end well; `said` asks for what they print.
fn variants_script(lines: &[String], said: bool, variable: &str, values: &[usize], seconds: u64) -> String {
    // CPU time ends loops; wall time is for what waits, and a busy machine makes everything wait.
    let wall = seconds * 4;
    let otherwise = if said { "status=1" } else { "return 1" };
    let mut script = "one() {\nstatus=0\n".to_owned();
    for line in lines {
        let _ = writeln!(
            script,
            "(ulimit -t {seconds} && exec timeout -s KILL {wall} sh -c {}) 2>/dev/null </dev/null || {otherwise}",
            quoted([line.as_str()])
        );
    }
    let _ =
        writeln!(script, "return $status\n}}\neach() {{\nfor {variable} in \"$@\"; do\nexport {variable}");
    // What a test leaves behind may hold the pipe.
    let told = format!(
        "timeout {} sh -c 'head -c {SAID}; cat >/dev/null' >\"$REGREEN_SAID/said-${variable}\"",
        2 * wall
    );
    let status = if said {
        format!("$({{ {{ one 3>&-; echo $? >&3; }} | {told} 3>&-; }} 3>&1)")
    } else {
        "$(one >/dev/null; echo $?)".to_owned()
    };
    let _ = writeln!(
        script,
        "if [ {status} = 0 ]; then echo \"${variable}\" >> \"$REGREEN_SAID/passed\"; fi\ndone\n}}"
    );
    for part in 0..2 {
        let words: Vec<String> = values.iter().skip(part).step_by(2).map(usize::to_string).collect();
        let _ = writeln!(script, "each {} &", words.join(" "));
    }
    script.push_str("wait\n");
    script
}

/// A workspace in which a candidate was built.
#[derive(Debug)]
pub struct Built {
    workspace: Workspace,
    announced: Vec<Finished>,
    /// What the build said, all of it.
    pub run: TestRun,
    /// Where a suite keeps its test programs.
    kept: PathBuf,
}

impl Built {
    /// The command lines of the test programs that are kept.
    fn programs(&self) -> Result<Vec<String>> {
        let files = std::fs::read_dir(&self.kept).context("failed to read the folder of test programs")?;
        let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "sh"));
        paths.sort();
        let line = |path: &PathBuf| format!("exec sh {}", quoted([path.display().to_string().as_str()]));
        Ok(paths.iter().map(line).collect())
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        // Test programs are large.
        let _ = std::fs::remove_dir_all(&self.kept);
    }
}

fn blank() -> TestRun {
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
