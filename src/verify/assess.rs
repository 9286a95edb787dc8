//! What a run of tests means against the baseline: pure functions from results to a failure or none, and what a
//! green leaves unproven.

use std::collections::BTreeSet;

use super::attest::language;
use super::inline::VITEST;
use crate::patch::{File, Patch};
use crate::verdict::{
    Baseline, Evidence, Failure, FailureKind, Layer, LayerName, LayerResult, Level, Outcome, TestId,
    TestResult, TestRun,
};

/// The synthetic target of a base whose tests do not end by themselves.
pub(super) const RUN: &str = "run (tests)";

/// Ids that regreen makes for a suite as a whole, `build (cargo)` and `run (cargo)`, so that a base that does
/// not build or does not end has something that must become true.
pub(super) fn is_synthetic(id: &str) -> bool {
    (id.starts_with("build (") || id.starts_with("run (")) && id.ends_with(')')
}

/// A failure with no more than a kind and a sentence.
pub fn plain(kind: FailureKind, summary: String) -> Failure {
    Failure { kind, summary, tests: Vec::new(), diagnostics: Vec::new(), log: String::new() }
}

/// Guards that did not pass.
pub(super) fn broken_guards(baseline: &Baseline, run: &TestRun) -> BTreeSet<TestId> {
    baseline.guards.iter().filter(|id| run.outcome(id) != Outcome::Passed).cloned().collect()
}

/// Whether a suite failed to build that is not known to fail for reasons that are nobody's task.
pub(super) fn does_not_build(baseline: &Baseline, run: &TestRun) -> bool {
    let failed = |test: &&TestResult| test.outcome == Outcome::Failed && test.id.starts_with("build (");
    let mut failed = run.tests.values().filter(failed).peekable();
    !run.built && (failed.peek().is_none() || failed.any(|test| !settled(baseline, &test.id)))
}

/// Whether a test's failing is known and nobody's task.
pub(super) fn settled(baseline: &Baseline, id: &str) -> bool {
    baseline.unrelated.contains(id) || baseline.flaky.contains(id)
}

/// Judges a run of the targets alone.
pub(super) fn assess_targets(baseline: &Baseline, run: &TestRun) -> Option<Failure> {
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
pub(super) fn failure(kind: FailureKind, ids: Vec<&TestId>, run: &TestRun) -> Failure {
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
pub(super) fn caveats(baseline: &Baseline, evidence: &Evidence, candidate: &Patch) -> Vec<String> {
    let mut caveats = Vec::new();
    if evidence.level < Level::HeldOut {
        let asked = |layer: &&Layer| layer.name == LayerName::HeldOut && layer.result == LayerResult::Passed;
        caveats.push(match evidence.layers.iter().find(asked) {
            Some(held_out) => format!("{}: {}", held_out.name, held_out.detail),
            None => {
                "no held-out test was run: a patch made to pass exactly the visible tests would look the same"
                    .to_owned()
            }
        });
    }
    // What a layer could not do lowers the level, and is said; what nobody asked for is not.
    let blind = |layer: &Layer| layer.name == LayerName::Attested && layer.result == LayerResult::NotRun;
    let unattested = evidence.layers.iter().any(blind);
    let lowered = evidence.layers.iter().filter(|layer| match layer.name {
        // One reason is enough: no control can run without an attested run.
        LayerName::Poison | LayerName::Perturb | LayerName::Alias if unattested => false,
        LayerName::HeldOut => false,
        // It is flagged where one was given and not all of it was asked.
        LayerName::Oracle | LayerName::Static | LayerName::Delivered => layer.result == LayerResult::Flagged,
        _ => layer.result == LayerResult::NotRun,
    });
    caveats.extend(lowered.map(|layer| format!("{}: {}", layer.name, layer.detail)));
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

/// Manifests that hold test configuration beside dependencies and are not merged key by key.
const MANIFESTS: [&str; 4] = ["pom.xml", "build.gradle", "build.gradle.kts", "CMakeLists.txt"];

/// What a changed file leaves unproven because tests or their configuration stand in it beside product code.
fn mixed(path: &str, after: Option<&File>) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if MANIFESTS.contains(&name) {
        return Some(format!(
            "{path} also configures tests, and was taken from the candidate: read that change"
        ));
    }
    let text = after.map(|file| String::from_utf8_lossy(&file.content)).unwrap_or_default();
    let ending = name.rsplit('.').next().unwrap_or_default();
    let examples = text.contains(">>>");
    if ending == "py" && examples && ["__doc__", "__test__"].iter().any(|word| text.contains(word)) {
        return Some(format!("{path} may change its doctests when it is loaded: read that change"));
    }
    // Tests in files that can be read by syntax are the base's: those are put together from both.
    let unread = examples && !["py", "rs"].contains(&ending) && language(path).is_none()
        || text.contains(VITEST) && language(path).is_none();
    unread.then(|| {
        format!("{path} may hold tests beside product code, and was taken from the candidate as a whole")
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
    fn a_file_whose_tests_are_the_patchs_is_told_of() {
        let told = |path: &str, text: &str| mixed(path, Some(&File::plain(text.to_owned()))).is_some();
        let vitest = "if (import.meta.vitest) {}";
        for (path, text) in [("README.md", ">>> f(1)\n2\n"), ("a.vue", vitest), ("pom.xml", "")] {
            assert!(told(path, text), "{path}");
        }
        assert!(told("a.py", "\"\"\"\n>>> 1\n\"\"\"\nf.__doc__ = ''\n"));
        for (path, text) in [("a.py", ">>> 1"), ("a.ts", vitest), ("a.rs", ">>> 1"), ("a.md", "text")] {
            assert!(!told(path, text), "{path}");
        }
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
