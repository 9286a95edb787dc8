//! The baseline says what the untouched base does, before a cent is spent: set-up, build, tests until the
//! picture is stable, and whether a patch can help at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use anyhow::Result;
use regex::Regex;
use serde::Deserialize;

use super::assess::{RUN, assess, failure, is_synthetic};
use super::observe::Phase;
use super::{Say, Verifier, count, library};
use crate::process;
use crate::record::Cause;
use crate::sandbox::Level;
use crate::text;
use crate::toolchain::Suite;
use crate::verdict::{Baseline, Failure, FailureKind, Outcome, TestId, TestResult, TestRun};

/// The base is run until nothing new turns out flaky, at least and at most this often.
const RUNS: std::ops::RangeInclusive<usize> = 2..=5;

/// Why no patch can help, with the remedy.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// The kind.
    pub cause: Cause,
    /// What happened, and why.
    pub detail: String,
    /// What to do next.
    pub remedy: String,
}

/// Checks that every suite's programs are there, installs dependencies and builds the base, and keeps what that
/// leaves for all later workspaces.
pub async fn prepare(verifier: &mut Verifier, say: Say<'_>) -> Result<Option<Trouble>> {
    if let Some(trouble) = missing_suite(verifier).or_else(|| missing_program(verifier)) {
        return Ok(Some(trouble));
    }
    library::lay(verifier, say).await?;
    let plain = |suite: &Suite| suite.profile.setup.is_empty() && suite.profile.build.is_none();
    if verifier.suites.iter().all(plain) {
        // Nothing to keep: workspaces begin with the base itself.
        return Ok(None);
    }
    let workspace = verifier.workshop.workspace()?;
    let results = verifier.workshop.scratch.results()?;
    for suite in &verifier.suites {
        for (invocation, must) in suite.setup(&workspace.places(), &verifier.launchers)? {
            say(&format!("setting up: {}", text::clip(&invocation.argv.join(" "), 60)));
            let finished = verifier.run(&invocation, &workspace, &results, Phase::SetUp).await?;
            if must && !finished.exit.success() {
                let log = finished.log(4000)?;
                return Ok(Some(setup_trouble(&invocation.argv.join(" "), &finished.exit.to_string(), &log)));
            }
        }
    }
    for suite in &verifier.suites {
        for invocation in suite.build(&workspace.places(), &verifier.launchers)? {
            say("building the base");
            if !verifier.run(&invocation, &workspace, &results, Phase::Test).await?.exit.success() {
                break;
            }
        }
    }
    verifier.workshop.keep(workspace)?;
    Ok(None)
}

fn missing_suite(verifier: &Verifier) -> Option<Trouble> {
    verifier.suites.is_empty().then(|| Trouble {
        cause: Cause::NoTests,
        detail: "no test suite of a known toolchain was found".to_owned(),
        remedy: "say how to test it, for example --test-cmd 'make check'; `regreen doctor` lists what is recognised".to_owned(),
    })
}

fn missing_program(verifier: &Verifier) -> Option<Trouble> {
    if verifier.sandbox.level == Level::Container {
        // The image has its own.
        return None;
    }
    let path = &verifier.sandbox.host.path;
    verifier.suites.iter().find_map(|suite| {
        let missing = |program: &&String| process::find(program, path).is_none();
        let program = suite.profile.programs.iter().find(missing)?;
        Some(Trouble {
            cause: Cause::ToolchainMissing,
            detail: format!("the {} suite needs {program}, which is not installed", suite.profile.name),
            remedy: suite.profile.remedy.clone(),
        })
    })
}

fn setup_trouble(command: &str, exit: &str, log: &str) -> Trouble {
    let (cause, remedy) = match sign(log) {
        // The remedies in the table speak of tests; set-up has the network.
        Some(sign) if sign.cause == Cause::NetworkNeeded => (
            sign.cause,
            "set-up could not reach a server: check network and proxy, or keep install scripts from running, \
             as `npm ci --ignore-scripts` does"
                .to_owned(),
        ),
        Some(sign) => (sign.cause, sign.remedy),
        None => (
            Cause::SetupFailed,
            "run it by hand in the repository to see why, or say how it is set up".to_owned(),
        ),
    };
    let tail = text::clip(log, 1000);
    Trouble {
        cause,
        detail: format!("set-up failed ({exit}): {command}\n{}", text::printable(&tail)),
        remedy,
    }
}

/// Runs the base until the picture is stable and sorts its tests; or says why no patch can help.
pub async fn measure(verifier: &Verifier, say: Say<'_>) -> Result<Result<Baseline, Trouble>> {
    let mut runs: Vec<TestRun> = Vec::new();
    while runs.len() < *RUNS.end() {
        say(&format!("testing the base, run {}", runs.len() + 1));
        let mut workspace = verifier.workshop.workspace()?;
        let known = flaky(&runs);
        runs.push(verifier.observe(&mut workspace, None).await?);
        if runs.len() >= *RUNS.start() && flaky(&runs) == known {
            break;
        }
    }
    Ok(sort(&verifier.task.fail_to_pass, &verifier.task.pass_to_pass, runs).and_then(triage))
}

/// Sorts the tests of repeated runs of a base of which nothing in particular has to become true.
pub fn sorted(runs: Vec<TestRun>) -> Baseline {
    // Only targets that a task names can be trouble.
    sort(&BTreeSet::new(), &BTreeSet::new(), runs).unwrap_or_default()
}

/// Tests whose outcome is not the same in all runs.
fn flaky(runs: &[TestRun]) -> BTreeSet<TestId> {
    let mut seen: BTreeMap<&TestId, BTreeSet<Outcome>> = BTreeMap::new();
    let ids: BTreeSet<&TestId> = runs.iter().flat_map(|run| run.tests.keys()).collect();
    for run in runs {
        for id in &ids {
            seen.entry(id).or_default().insert(run.outcome(id));
        }
    }
    seen.into_iter().filter(|(_, outcomes)| outcomes.len() > 1).map(|(id, _)| id.clone()).collect()
}

/// Sorts the tests of repeated runs into targets, guards, flaky, unrelated and disabled.
fn sort(
    fail_to_pass: &BTreeSet<TestId>,
    pass_to_pass: &BTreeSet<TestId>,
    mut runs: Vec<TestRun>,
) -> Result<Baseline, Trouble> {
    if runs.iter().any(|run| !run.broken.is_empty()) {
        for run in &mut runs {
            let ended = run.broken.is_empty();
            let outcome = if ended { Outcome::Passed } else { Outcome::Failed };
            let message = run.broken.join("; ");
            run.tests.insert(RUN.to_owned(), TestResult { message, ..TestResult::new(RUN, outcome) });
        }
    }
    let flaky = flaky(&runs);
    let count = u32::try_from(runs.len()).unwrap_or(u32::MAX);
    let Some(run) = runs.pop() else {
        return Ok(Baseline::default());
    };
    let stable = |outcome| run.with(outcome).difference(&flaky).cloned().collect::<BTreeSet<_>>();
    let (passing, failing, disabled) =
        (stable(Outcome::Passed), stable(Outcome::Failed), stable(Outcome::Skipped));
    let (targets, unrelated) = if fail_to_pass.is_empty() {
        (failing, BTreeSet::new())
    } else {
        check_named(fail_to_pass, &passing, &flaky, &run)?;
        // A suite that does not build or end stands in the way of targets that it has no results for.
        let hidden = fail_to_pass.iter().any(|id| run.outcome(id) == Outcome::Missing);
        let synthetic = failing.iter().filter(|id| hidden && is_synthetic(id));
        let targets: BTreeSet<TestId> = fail_to_pass.iter().chain(synthetic).cloned().collect();
        (targets.clone(), failing.difference(&targets).cloned().collect())
    };
    let guards =
        if pass_to_pass.is_empty() { passing } else { passing.intersection(pass_to_pass).cloned().collect() };
    let guards = guards.difference(&targets).cloned().collect();
    Ok(Baseline { targets, guards, flaky, unrelated, disabled, run, runs: count })
}

/// Named targets must be able to tell a fix from the base.
fn check_named(
    targets: &BTreeSet<TestId>,
    passing: &BTreeSet<TestId>,
    flaky: &BTreeSet<TestId>,
    run: &TestRun,
) -> Result<(), Trouble> {
    let unknown = |detail: String, remedy: &str| Trouble {
        cause: Cause::TargetsUnknown,
        detail,
        remedy: remedy.to_owned(),
    };
    for id in targets {
        if passing.contains(id) {
            return Err(unknown(format!("the target {id} passes on the base"), "name a test that fails"));
        }
        if flaky.contains(id) {
            return Err(unknown(
                format!("the target {id} sometimes passes on the base"),
                "name a test that always fails",
            ));
        }
        if run.outcome(id) == Outcome::Skipped {
            return Err(unknown(format!("the target {id} is disabled"), "enable it in the repository first"));
        }
        if run.outcome(id) == Outcome::Missing && run.built && run.broken.is_empty() {
            let near = nearest(id, run.tests.keys());
            let detail = format!(
                "no test is named {id}{}",
                near.map_or(String::new(), |near| format!("; did you mean {near}?"))
            );
            return Err(unknown(detail, "`regreen fix` without --target lists the failing tests"));
        }
    }
    Ok(())
}

fn nearest<'a>(id: &str, ids: impl Iterator<Item = &'a TestId>) -> Option<&'a TestId> {
    let likeness = |other: &str| similar::TextDiff::from_chars(id, other).ratio();
    let near = ids.map(|other| (likeness(other), other)).filter(|(ratio, _)| *ratio > 0.6);
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}

/// Whether a patch can help: not when only flaky tests fail, nothing was run, or the environment is at fault.
fn triage(mut baseline: Baseline) -> Result<Baseline, Trouble> {
    if baseline.run.tests.is_empty() {
        return Err(Trouble {
            cause: Cause::NoTests,
            detail: "the suite ran, and reported no test".to_owned(),
            remedy: "add a test that fails, or say how to test with --test-cmd".to_owned(),
        });
    }
    let mut environment = None;
    let of_environment = |id: &TestId| {
        let message = baseline.run.tests.get(id).map_or("", |test| test.message.as_str());
        let log = if is_synthetic(id) { baseline.run.log.as_str() } else { "" };
        sign(message).or_else(|| sign(log)).inspect(|sign| environment = Some(sign.clone())).is_some()
    };
    let (faulty, targets): (BTreeSet<_>, BTreeSet<_>) =
        std::mem::take(&mut baseline.targets).into_iter().partition(of_environment);
    baseline.targets = targets;
    if let Some(sign) = environment.filter(|_| baseline.targets.is_empty()) {
        let names: Vec<&TestId> = faulty.iter().collect();
        let detail =
            format!("{} because of this machine, not of the code: {}", sign.what, text::list(&names, 3));
        return Err(Trouble { cause: sign.cause, detail, remedy: sign.remedy });
    }
    baseline.unrelated.extend(faulty);
    if baseline.targets.is_empty() && !baseline.flaky.is_empty() {
        let names: Vec<&TestId> = baseline.flaky.iter().collect();
        let runs = count(baseline.runs as usize, "run");
        return Err(Trouble {
            cause: Cause::Flaky,
            detail: format!(
                "only flaky tests fail: over {runs} the outcome changed of {}",
                text::list(&names, 5)
            ),
            remedy: "make these tests deterministic; a patch cannot be judged by them".to_owned(),
        });
    }
    Ok(baseline)
}

/// What the base fails with, as the first prompt and the repair engine see it.
pub fn failure_of_base(baseline: &Baseline) -> Failure {
    let mut base = assess(baseline, &baseline.run).unwrap_or_else(|| {
        failure(FailureKind::TargetsFail, baseline.targets.iter().collect(), &baseline.run)
    });
    base.summary = base.summary.replace(" still failing", " failing");
    base
}

/// A sign that the environment is at fault, from `harness/triage.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    cause: Cause,
    what: String,
    pattern: String,
    remedy: String,
}

#[derive(Deserialize)]
struct Signs {
    sign: Vec<Sign>,
}

/// The first sign of an environment fault in a text.
fn sign(log: &str) -> Option<Sign> {
    SIGNS.iter().find(|(_, pattern)| pattern.is_match(log)).map(|(sign, _)| sign.clone())
}

static SIGNS: LazyLock<Vec<(Sign, Regex)>> = LazyLock::new(|| {
    let signs: Signs =
        toml::from_str(include_str!("../../harness/triage.toml")).expect("a test reads the embedded file");
    let compiled = |sign: Sign| Regex::new(&sign.pattern).ok().map(|pattern| (sign, pattern));
    signs.sign.into_iter().filter_map(compiled).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    fn run(tests: &str) -> TestRun {
        let tests = tests.split_whitespace().map(|word| {
            let (id, outcome) = word.split_once('=').unwrap();
            let outcome = match outcome {
                "p" => Outcome::Passed,
                "f" => Outcome::Failed,
                _ => Outcome::Skipped,
            };
            (id.to_owned(), TestResult::new(id, outcome))
        });
        TestRun { built: true, tests: tests.collect(), ..TestRun::default() }
    }

    fn set(ids: &str) -> BTreeSet<TestId> {
        ids.split_whitespace().map(str::to_owned).collect()
    }

    /// Asserts the baseline of runs, or the cause of trouble.
    fn check(named: &str, runs: &[&str], expected: Result<(&str, &str, &str), Cause>) {
        let runs: Vec<TestRun> = runs.iter().map(|tests| run(tests)).collect();
        let found = sort(&set(named), &BTreeSet::new(), runs).and_then(triage);
        let found = found.map(|b| (b.targets, b.guards, b.flaky)).map_err(|trouble| trouble.cause);
        let expected = expected.map(|(targets, guards, flaky)| (set(targets), set(guards), set(flaky)));
        assert_eq!(found, expected);
    }

    #[test]
    fn tests_are_sorted_by_what_they_do_in_every_run() {
        check("", &["a=p b=f c=s", "a=p b=f c=s"], Ok(("b", "a", "")));
        check("", &["a=p b=f c=p", "a=p b=f c=f"], Ok(("b", "a", "c")));
        check("", &["a=p b=f c=p", "a=p b=f"], Ok(("b", "a", "c")));
        check("b", &["a=p b=f d=f", "a=p b=f d=f"], Ok(("b", "a", "")));
        check("", &["a=p", "a=p"], Ok(("", "a", "")));
    }

    #[test]
    fn what_no_patch_can_help_is_told_apart() {
        check("", &["a=p b=f", "a=p b=p"], Err(Cause::Flaky));
        check("", &["", ""], Err(Cause::NoTests));
        check("a", &["a=p b=f", "a=p b=f"], Err(Cause::TargetsUnknown));
        check("x", &["a=p b=f", "a=p b=f"], Err(Cause::TargetsUnknown));
        check("b", &["a=p b=f", "a=p b=p"], Err(Cause::TargetsUnknown));
    }

    #[test]
    fn faults_of_the_environment_are_recognised() {
        let check =
            |log: &str, cause: Option<Cause>| assert_eq!(sign(log).map(|sign| sign.cause), cause, "{log}");
        check("OSError: [Errno 28] No space left on device: '/tmp/x'", Some(Cause::DiskFull));
        check("getaddrinfo EAI_AGAIN example.org", Some(Cause::NetworkNeeded));
        check("socket.gaierror: [Errno -3] Temporary failure in name resolution", Some(Cause::NetworkNeeded));
        check("dial tcp: lookup example.org: no such host", Some(Cause::NetworkNeeded));
        check("Could not resolve host: github.com", Some(Cause::NetworkNeeded));
        check("KeyError: 'STRIPE_API_KEY'", Some(Cause::SecretMissing));
        check("Error: the environment variable DB_PASSWORD is not set", Some(Cause::SecretMissing));
        check("panicked: missing GITHUB_TOKEN in the environment", Some(Cause::SecretMissing));
        check("AssertionError: 1 != 2", None);
        check("ParseError: missing token at line 3", None);
        check("KeyError: 'PRIMARY'", None);
        check("expected a KEY, found nothing", None);
    }
}
