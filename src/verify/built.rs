//! Builds a candidate once and runs its tests many times, for searches: nothing that is seen here is a verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use regex::Regex;

use super::Verifier;
use super::observe::{Phase, blank, note};
use crate::diagnostic::Severity;
use crate::patch::Patch;
use crate::process::Finished;
use crate::toolchain::{Invocation, Reads, Suite};
use crate::verdict::{TestId, TestRun};
use crate::workspace::{Workspace, read_beneath};

/// Bytes of what one test notes that are read.
const NOTED: u64 = 1 << 20;

/// Bytes of what the tests of one variant print that are read, and of a list of variants, which are few.
const SAID: u64 = 64 << 10;

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

impl Verifier {
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
    /// command and side by side. Exit statuses and what tests print decide, so it is no verdict.
    pub async fn run_variants(
        &self,
        built: &Built,
        suite: &Suite,
        only: &BTreeSet<TestId>,
        env: &BTreeMap<String, String>,
        (variable, values): (&str, &[usize]),
        patience: Patience,
    ) -> Result<Ran> {
        let results = self.workshop.scratch.results()?;
        let lines = self.lines(built, suite, only, env, &results)?;
        let passed = suite.profile.test.passed.as_deref().filter(|_| only.len() > 1);
        let passed = passed.map(Regex::new).transpose()?;
        let script = variants_script(&lines, passed.is_some(), variable, values, patience);
        self.run_script(built, suite, &results, &script, patience.all).await?;
        let listed = |name: &str| -> BTreeSet<usize> {
            let said = read_beneath(&results, name, SAID).unwrap_or_default();
            String::from_utf8_lossy(&said).lines().filter_map(|line| line.trim().parse().ok()).collect()
        };
        let (whole, late) = (listed("passed"), listed("late"));
        let mut counts: BTreeMap<usize, usize> = whole.into_iter().map(|value| (value, only.len())).collect();
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
        Ok(Ran { passed: counts, late })
    }

    /// What each test of a suite that was built writes to the file that `variable` names, one after the other, within
    /// so many seconds.
    pub async fn notes(
        &self,
        built: &Built,
        suite: &Suite,
        tests: &[TestId],
        env: &BTreeMap<String, String>,
        variable: &str,
        seconds: u64,
    ) -> Result<Vec<String>> {
        let results = self.workshop.scratch.results()?;
        let name = |at: usize| format!("note-{at}");
        let mut script = String::new();
        for (at, id) in tests.iter().enumerate() {
            let mut lines = self.lines(built, suite, &[id.clone()].into(), env, &results)?;
            if suite.profile.kept.is_some() {
                let words = quoted(suite.alone(id)?.iter().map(String::as_str));
                lines = lines.iter().map(|line| format!("{line} {words}")).collect();
            }
            let note = results.join(name(at)).display().to_string();
            let _ = writeln!(script, "export {variable}={}", quoted([note.as_str()]));
            for line in lines {
                let line = limited(&line, "-t 10", 20.0);
                let _ = writeln!(script, "{line} >/dev/null 2>&1 </dev/null");
            }
        }
        self.run_script(built, suite, &results, &script, seconds).await?;
        let noted = |at: usize| read_beneath(&results, &name(at), NOTED).unwrap_or_default();
        let found = (0..tests.len()).map(|at| String::from_utf8_lossy(&noted(at)).into_owned()).collect();
        let _ = std::fs::remove_dir_all(&results);
        Ok(found)
    }

    /// The command lines that run some of the tests of a suite that was built.
    fn lines(
        &self,
        built: &Built,
        suite: &Suite,
        only: &BTreeSet<TestId>,
        env: &BTreeMap<String, String>,
        results: &Path,
    ) -> Result<Vec<String>> {
        if suite.profile.kept.is_some() {
            return built.programs();
        }
        let tree = built.workspace.places();
        let tests = suite.tests(&tree, &built.announced, Some(only), results, &self.launchers)?;
        let line = |mut test: Invocation| {
            test.env.extend(env.clone());
            let env: Vec<String> = test.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let dir = tree.seen.join(&test.dir).display().to_string();
            let words = env.iter().chain(&test.argv).map(String::as_str);
            format!("cd {} && exec env {}", quoted([dir.as_str()]), quoted(words))
        };
        Ok(tests.into_iter().map(line).collect())
    }

    /// Runs a script in a workspace that was built. It stands in `results`, which nothing of the repository has seen.
    async fn run_script(
        &self,
        built: &Built,
        suite: &Suite,
        results: &Path,
        script: &str,
        seconds: u64,
    ) -> Result<Finished> {
        let path = results.join("run.sh");
        std::fs::write(&path, script).context("failed to write a script")?;
        let argv = vec!["sh".to_owned(), path.display().to_string()];
        let mut invocation = Invocation { seconds, ..suite.invocation(argv, String::new(), Reads::Messages) };
        invocation.env.insert("REGREEN_SAID".to_owned(), results.display().to_string());
        let readable = vec![self.launchers.clone(), built.kept.clone()];
        self.run_reading(&invocation, &built.workspace, results, Phase::Tool, Vec::new(), readable).await
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

/// A command line in a subshell under a limit as `ulimit` takes it, and killed after so many seconds.
fn limited(line: &str, limit: &str, wall: f64) -> String {
    format!("(ulimit {limit} && exec timeout -s KILL {wall:.2} sh -c {})", quoted([line]))
}

/// How long variants may run, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Wall time of one.
    pub wall: f64,
    /// CPU time of each process of one.
    pub cpu: u64,
    /// Wall time of all.
    pub all: u64,
}

/// What came of variants.
#[derive(Debug)]
pub struct Ran {
    /// With how many of the tests each passes, as far as it passes some.
    pub passed: BTreeMap<usize, usize>,
    /// Those whose wall time was up.
    pub late: BTreeSet<usize>,
}

/// A shell script that runs command lines for each value of a variable, in two processes, and notes the values with
/// which all of them end well, and those whose wall time was up; `said` asks for what they print.
fn variants_script(
    lines: &[String],
    said: bool,
    variable: &str,
    values: &[usize],
    Patience { wall, cpu, .. }: Patience,
) -> String {
    let otherwise = if said { "{ now=$?; [ $status != 0 ] || status=$now; }" } else { "return $?" };
    let mut script = "one() {\nstatus=0\n".to_owned();
    for line in lines {
        let line = limited(line, &format!("-S -t {cpu}"), wall);
        let _ = writeln!(script, "{line} 2>/dev/null </dev/null || {otherwise}");
    }
    let _ =
        writeln!(script, "return $status\n}}\neach() {{\nfor {variable} in \"$@\"; do\nexport {variable}");
    // What a test leaves behind may hold the pipe.
    let told = format!(
        "timeout {:.2} sh -c 'head -c {SAID}; cat >/dev/null' >\"$REGREEN_SAID/said-${variable}\"",
        2.0 * wall
    );
    let status = if said {
        format!("$({{ {{ one 3>&-; echo $? >&3; }} | {told} 3>&-; }} 3>&1)")
    } else {
        "$(one >/dev/null; echo $?)".to_owned()
    };
    // 137: killed, by `timeout` most likely. The limit of CPU time gives 152.
    let _ = writeln!(
        script,
        "case {status} in 0) file=passed ;; 137) file=late ;; *) continue ;; esac\n\
         echo \"${variable}\" >>\"$REGREEN_SAID/$file\"\ndone\n}}"
    );
    for part in 0..2 {
        let words: Vec<String> = values.iter().skip(part).step_by(2).map(usize::to_string).collect();
        let _ = writeln!(script, "each {} &", words.join(" "));
    }
    script.push_str("wait\n");
    script
}
