//! The verifier turns a candidate into a verdict, and is the only one who may say green. A candidate is
//! applied to a pristine base, without its edits of tests and configuration; what must pass and what must go
//! on passing was measured on the base before ([`baseline`]); what a run says is data ([`TestRun`]).

pub mod attest;
mod baseline;
mod observe;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::patch::{File, Patch};
use crate::sandbox::Sandbox;
use crate::task::Task;
use crate::toolchain::Suite;
use crate::verdict::{
    Baseline, Evidence, Failure, FailureKind, Outcome, TestId, TestResult, TestRun, Verdict,
};
use crate::workspace::{Workshop, Workspace};

pub use baseline::{Trouble, failure_of_base, measure, prepare};
pub use observe::load;

/// Tells whoever watches what is being done right now.
pub type Say<'a> = &'a dyn Fn(&str);

/// Below this many seconds a full run of the base's tests is not preceded by a run of the targets alone.
const QUICK: f64 = 2.0;

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
}

impl Verifier {
    /// Splits a candidate into what may be judged and the paths of protected files, whose edits are left out.
    ///
    /// Leaving them out is no accusation: honest patches edit tests too.
    pub fn compose(&self, candidate: &Patch) -> Result<(Patch, Vec<String>)> {
        let (protected, root) = (self.protected()?, &self.workshop.snapshot.root);
        let mut product = Patch::default();
        let mut left_out = Vec::new();
        for (path, after) in &candidate.0 {
            // What is there and cannot be read as a file (a folder, a device, gigabytes) cannot be edited either.
            let odd =
                path.under(root).symlink_metadata().is_ok() && self.workshop.snapshot.file(path)?.is_none();
            if odd || protected.is_match(path.as_str()) {
                left_out.push(path.to_string());
            } else {
                product.0.insert(path.clone(), after.clone());
            }
        }
        Ok((product, left_out))
    }

    /// The globs of protected files: the task's, and those of every suite below its folder.
    pub fn protected(&self) -> Result<GlobSet> {
        let own = self.suites.iter().flat_map(Suite::protected);
        globs(self.task.protected.iter().cloned().chain(own))
    }

    /// The globs of product source files.
    pub fn sources(&self) -> Result<GlobSet> {
        globs(self.suites.iter().flat_map(Suite::sources))
    }

    /// Judges a candidate that [`Verifier::compose`] has composed: targets first, then everything, then
    /// everything again in another pristine workspace.
    pub async fn judge(&self, baseline: &Baseline, candidate: &Patch, say: Say<'_>) -> Result<Verdict> {
        let mut evidence = Evidence { sandbox: self.sandbox.level.to_string(), ..Evidence::default() };
        for round in 1..=2 {
            let workspace = self.workshop.workspace()?;
            if let Err(error) = workspace.apply(candidate) {
                return Ok(Verdict::Red(plain(
                    FailureKind::DoesNotApply,
                    format!("the patch does not apply: {error:#}"),
                )));
            }
            let failure = self.run_round(baseline, candidate, &workspace, round, &mut evidence, say).await?;
            match failure {
                None => evidence.runs = round,
                Some(failure) if round == 1 => return Ok(Verdict::Red(failure)),
                Some(mut failure) => {
                    failure.kind = FailureKind::Unstable;
                    failure.summary = format!("green once, then red on repetition: {}", failure.summary);
                    return Ok(Verdict::Red(failure));
                }
            }
        }
        evidence.fixed = baseline.targets.clone();
        evidence.guards_kept = baseline.guards.len();
        evidence.caveats = caveats(baseline, &evidence, candidate);
        Ok(Verdict::Green(evidence))
    }

    /// Whether a candidate passes one full run; for minimising, where the result is judged once more.
    pub async fn passes(&self, baseline: &Baseline, candidate: &Patch, say: Say<'_>) -> Result<bool> {
        let workspace = self.workshop.workspace()?;
        if workspace.apply(candidate).is_err() {
            return Ok(false);
        }
        Ok(self.run_round(baseline, candidate, &workspace, 1, &mut Evidence::default(), say).await?.is_none())
    }

    /// Builds a candidate, and runs no test unless the toolchain builds as it tests: how far a proposer that searches has come.
    pub async fn build_only(&self, candidate: &Patch) -> Result<TestRun> {
        let workspace = self.workshop.workspace()?;
        workspace.apply(candidate)?;
        self.observe_build(&workspace).await
    }

    /// One round in one workspace: `None` when it is green.
    async fn run_round(
        &self,
        baseline: &Baseline,
        candidate: &Patch,
        workspace: &Workspace,
        round: u32,
        evidence: &mut Evidence,
        say: Say<'_>,
    ) -> Result<Option<Failure>> {
        let named: BTreeSet<TestId> =
            baseline.targets.iter().filter(|id| !is_synthetic(id)).cloned().collect();
        if round == 1
            && baseline.run.seconds > QUICK
            && !named.is_empty()
            && named.len() < baseline.guards.len()
        {
            say("running the failing tests");
            let run = self.observe(workspace, Some(&named)).await?;
            if let Some(failure) = assess_targets(baseline, &run) {
                return Ok(Some(failure));
            }
        }
        say(if round == 1 { "running all tests" } else { "confirming in a fresh checkout" });
        let mut run = self.observe(workspace, None).await?;
        let broken = broken_guards(baseline, &run);
        if !broken.is_empty() && run.built && broken.len() <= 20 {
            say("running broken tests again, alone");
            self.rerun_alone(candidate, &broken, &mut run, evidence).await?;
        }
        Ok(assess(baseline, &run))
    }

    /// Tests with time limits of their own flip under load: a guard that turned red counts only if it is red
    /// again when it runs alone.
    async fn rerun_alone(
        &self,
        candidate: &Patch,
        broken: &BTreeSet<TestId>,
        run: &mut TestRun,
        evidence: &mut Evidence,
    ) -> Result<()> {
        // In a fresh workspace: what the first run left there must not help.
        let workspace = self.workshop.workspace()?;
        workspace.apply(candidate)?;
        let again = self.observe(&workspace, Some(broken)).await?;
        for id in broken {
            // A guard that breaks in both rounds is broken by the candidate, however it does alone.
            let before = evidence.rerun_alone.contains(id);
            if let Some(passed) =
                again.tests.get(id).filter(|test| test.outcome == Outcome::Passed && !before)
            {
                run.tests.insert(id.clone(), passed.clone());
                evidence.rerun_alone.insert(id.clone());
                evidence.load = run.load;
            }
        }
        Ok(())
    }
}

fn globs(globs: impl Iterator<Item = String>) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        // `*` stays within a folder: `test*.py` must not protect `testing/core.py`.
        let built = GlobBuilder::new(&glob).literal_separator(true).build();
        set.add(built.with_context(|| format!("{glob:?} is not a glob"))?);
    }
    Ok(set.build()?)
}

/// The synthetic target of a base whose tests do not end by themselves.
const RUN: &str = "run (tests)";

/// Ids that regreen makes for a suite as a whole, `build (cargo)` and `run (cargo)`, so that a base that does
/// not build or does not end has something that must become true.
fn is_synthetic(id: &str) -> bool {
    (id.starts_with("build (") || id.starts_with("run (")) && id.ends_with(')')
}

/// A failure with no more than a kind and a sentence.
pub fn plain(kind: FailureKind, summary: String) -> Failure {
    Failure { kind, summary, tests: Vec::new(), diagnostics: Vec::new(), log: String::new() }
}

/// Guards that did not pass.
fn broken_guards(baseline: &Baseline, run: &TestRun) -> BTreeSet<TestId> {
    baseline.guards.iter().filter(|id| run.outcome(id) != Outcome::Passed).cloned().collect()
}

/// Whether a suite failed to build that is not known to fail for reasons that are nobody's task.
fn does_not_build(baseline: &Baseline, run: &TestRun) -> bool {
    let failed = |test: &&TestResult| test.outcome == Outcome::Failed && test.id.starts_with("build (");
    let mut failed = run.tests.values().filter(failed).peekable();
    !run.built && (failed.peek().is_none() || failed.any(|test| !settled(baseline, &test.id)))
}

/// Whether a test's failing is known and nobody's task.
fn settled(baseline: &Baseline, id: &str) -> bool {
    baseline.unrelated.contains(id) || baseline.flaky.contains(id)
}

/// Judges a run of the targets alone.
fn assess_targets(baseline: &Baseline, run: &TestRun) -> Option<Failure> {
    if does_not_build(baseline, run) {
        return Some(failure(FailureKind::DoesNotBuild, Vec::new(), run));
    }
    let still = |id: &&TestId| !is_synthetic(id) && run.outcome(id) != Outcome::Passed;
    let failing: Vec<&TestId> = baseline.targets.iter().filter(still).collect();
    (!failing.is_empty()).then(|| failure(FailureKind::TargetsFail, failing, run))
}

/// Judges a full run: every target passes, no guard fails; and where the base told of no tests because it does
/// not build or run, every test that now appears passes, and at least one does.
pub fn assess(baseline: &Baseline, run: &TestRun) -> Option<Failure> {
    if does_not_build(baseline, run) {
        return Some(failure(FailureKind::DoesNotBuild, Vec::new(), run));
    }
    let not_passed = |id: &&TestId| run.outcome(id) != Outcome::Passed;
    let named = |id: &&TestId| !is_synthetic(id);
    let failing: Vec<&TestId> = baseline.targets.iter().filter(named).filter(not_passed).collect();
    let broken = broken_guards(baseline, run);
    let hopeless =
        !run.broken.is_empty() && settled(baseline, RUN) && failing.is_empty() && broken.is_empty();
    if !run.broken.is_empty() && !hopeless {
        let ids = failing.into_iter().chain(&broken).collect();
        return Some(failure(FailureKind::DoesNotEnd, ids, run));
    }
    if !failing.is_empty() {
        return Some(failure(FailureKind::TargetsFail, failing, run));
    }
    if !broken.is_empty() {
        return Some(failure(FailureKind::GuardsFail, broken.iter().collect(), run));
    }
    if baseline.targets.iter().any(|id| is_synthetic(id)) {
        let red = run.with(Outcome::Failed);
        let red: Vec<&TestId> = red.iter().filter(|id| !settled(baseline, id)).collect();
        if !red.is_empty() {
            return Some(failure(FailureKind::TargetsFail, red, run));
        }
        if run.with(Outcome::Passed).is_empty() {
            return Some(plain(
                FailureKind::TargetsFail,
                "it builds, but no test passes: nothing shows that it works".into(),
            ));
        }
    }
    None
}

/// Makes the failure of a run whose tests `ids` are not as they should be.
fn failure(kind: FailureKind, ids: Vec<&TestId>, run: &TestRun) -> Failure {
    let tests: Vec<TestResult> = ids.into_iter().map(|id| result_of(id, run)).collect();
    let names: Vec<&str> = tests.iter().map(|test| test.id.as_str()).collect();
    let names = crate::text::list(&names, 3);
    let summary = match kind {
        FailureKind::DoesNotBuild => match run.diagnostics.first() {
            Some(first) => format!("the build fails: {}", crate::text::one_line(&first.message)),
            None => "the build fails".to_owned(),
        },
        FailureKind::GuardsFail => {
            format!("{} broken that passed before: {names}", count(tests.len(), "test"))
        }
        FailureKind::DoesNotEnd => format!("the tests do not end by themselves: {}", run.broken.join("; ")),
        _ => format!("{} still failing: {names}", count(tests.len(), "test")),
    };
    Failure { kind, summary, tests, diagnostics: run.diagnostics.clone(), log: run.log.clone() }
}

fn result_of(id: &TestId, run: &TestRun) -> TestResult {
    let missing = || {
        let reason = run.broken.first().map_or("the run has no result for it", String::as_str);
        TestResult { message: reason.to_owned(), ..TestResult::new(id.clone(), Outcome::Missing) }
    };
    run.tests.get(id).cloned().unwrap_or_else(missing)
}

/// `1 test`, `2 tests`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// What a green does not prove.
fn caveats(baseline: &Baseline, evidence: &Evidence, candidate: &Patch) -> Vec<String> {
    let mut caveats = vec![
        "no held-out test was run: a patch made to pass exactly the visible tests would look the same"
            .to_owned(),
    ];
    caveats.extend(candidate.0.iter().filter_map(|(path, after)| mixed(path.as_str(), after.as_ref())));
    if baseline.guards.is_empty() {
        caveats.push("no test passed on the base, so nothing guards what worked before".to_owned());
    }
    if !baseline.flaky.is_empty() {
        caveats.push(format!("{} flaky and decided nothing", count(baseline.flaky.len(), "test")));
    }
    if !baseline.unrelated.is_empty() {
        caveats.push(format!(
            "{} failed before and were not part of the task",
            count(baseline.unrelated.len(), "test")
        ));
    }
    if !evidence.rerun_alone.is_empty() {
        caveats.push(format!("{} passed only when run alone", count(evidence.rerun_alone.len(), "guard")));
    }
    if evidence.sandbox == "none" {
        caveats.push("the tests ran without a sandbox".to_owned());
    }
    caveats
}

/// Manifests that hold test configuration beside dependencies.
const MANIFESTS: [&str; 8] = [
    "package.json",
    "pyproject.toml",
    "Cargo.toml",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "CMakeLists.txt",
    "go.mod",
];

/// What a changed file leaves unproven because tests or their configuration stand in it beside product code.
fn mixed(path: &str, after: Option<&File>) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if MANIFESTS.contains(&name) {
        return Some(format!(
            "{path} also configures tests, and was taken from the candidate: read that change"
        ));
    }
    let text = after.map(|file| String::from_utf8_lossy(&file.content).into_owned()).unwrap_or_default();
    let inline =
        ["#[cfg(test)]", "#[test]", "import.meta.vitest", ">>> "].iter().any(|mark| text.contains(mark));
    inline.then(|| {
        format!("{path} holds tests beside product code, and was taken from the candidate as a whole")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(tests: &[(&str, Outcome)]) -> TestRun {
        let tests = tests.iter().map(|(id, outcome)| ((*id).to_owned(), TestResult::new(*id, *outcome)));
        TestRun { built: true, tests: tests.collect(), ..TestRun::default() }
    }

    fn set(ids: &[&str]) -> BTreeSet<TestId> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    /// Asserts what a run means against a base with target `t`, guard `g`, flaky `f`, unrelated `u`.
    fn check(run: &TestRun, expected: Option<FailureKind>) {
        let baseline = Baseline {
            targets: set(&["t"]),
            guards: set(&["g"]),
            flaky: set(&["f"]),
            unrelated: set(&["u"]),
            ..Baseline::default()
        };
        assert_eq!(assess(&baseline, run).map(|failure| failure.kind), expected, "{run:?}");
    }

    #[test]
    fn green_means_that_all_targets_pass_and_no_guard_fails() {
        use Outcome::{Failed, Passed};
        check(&run(&[("t", Passed), ("g", Passed)]), None);
        check(&run(&[("t", Passed), ("g", Passed), ("f", Failed), ("u", Failed)]), None);
        check(&run(&[("t", Failed), ("g", Passed)]), Some(FailureKind::TargetsFail));
        check(&run(&[("t", Passed), ("g", Failed)]), Some(FailureKind::GuardsFail));
    }

    #[test]
    fn a_test_that_is_skipped_or_missing_has_not_passed() {
        use Outcome::{Passed, Skipped};
        check(&run(&[("t", Skipped), ("g", Passed)]), Some(FailureKind::TargetsFail));
        check(&run(&[("t", Passed), ("g", Skipped)]), Some(FailureKind::GuardsFail));
        check(&run(&[("t", Passed)]), Some(FailureKind::GuardsFail));
        check(&run(&[]), Some(FailureKind::TargetsFail));
    }

    #[test]
    fn a_run_that_does_not_end_is_not_green_even_with_all_results() {
        use Outcome::Passed;
        let mut aborted = run(&[("t", Passed), ("g", Passed)]);
        aborted.broken.push("cargo test: killed by signal 6".into());
        check(&aborted, Some(FailureKind::DoesNotEnd));
    }

    #[test]
    fn where_the_base_does_not_build_every_test_that_appears_must_pass() {
        use Outcome::{Failed, Passed};
        let baseline = Baseline { targets: set(&["build (cargo)"]), ..Baseline::default() };
        let kind = |run: &TestRun| assess(&baseline, run).map(|failure| failure.kind);
        assert_eq!(kind(&run(&[("a", Passed), ("b", Passed)])), None);
        assert_eq!(kind(&run(&[("a", Passed), ("b", Failed)])), Some(FailureKind::TargetsFail));
        assert_eq!(kind(&run(&[])), Some(FailureKind::TargetsFail));
        assert_eq!(kind(&TestRun::default()), Some(FailureKind::DoesNotBuild));
    }
}
