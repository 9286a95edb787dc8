//! Triage on GitHub is what the loop's own measuring of the base said, in the action's words: red in every run, flaky,
//! or the machine's fault. The base is run afresh at least twice before anything is asked of a proposer
//! (`verify::measure`). A *signature* is what a failure is called, so that it has one pull
//! request.

use std::sync::LazyLock;

use regex::Regex;
use sha2::{Digest, Sha256};

use super::{Ending, Failing};
use crate::diagnostic::Severity;
use crate::patch::RepoPath;
use crate::record::{Cause, Event, Outcome, Record};
use crate::text::clip;
use crate::verdict::{Baseline, Level, Verdict};
use crate::verify::attest::hexadecimal;

/// Digits of a signature.
const DIGITS: usize = 12;
/// Failing tests that are told, and bytes of what one said.
const TOLD: usize = 20;
const MESSAGE: usize = 2_000;

/// How a run ended, and why; `after_failure` says whether something was red elsewhere.
pub fn ending(outcome: &Outcome, after_failure: bool) -> (Ending, String) {
    match outcome {
        Outcome::Green { evidence, .. } => {
            (of_level(evidence.level), Verdict::Green(evidence.clone()).word())
        }
        Outcome::AlreadyGreen { passing, .. } if after_failure => (
            Ending::Flaky,
            format!(
                "all {passing} tests pass here, each time: what went red is flaky, or is not among these tests"
            ),
        ),
        Outcome::AlreadyGreen { passing, .. } => {
            (Ending::Skipped, format!("nothing is failing: {passing} tests pass"))
        }
        Outcome::Unsolved { reason, .. } => (Ending::NotSolved, reason.clone()),
        Outcome::OutOfBudget { limit } => (Ending::NotSolved, format!("the budget of {limit} is spent")),
        Outcome::NotFixable { cause, detail, remedy } => {
            let ending = match cause {
                Cause::Flaky => Ending::Flaky,
                Cause::SecretMissing => Ending::MissingSecret,
                Cause::NoTests
                | Cause::ToolchainMissing
                | Cause::SetupFailed
                | Cause::DiskFull
                | Cause::NetworkNeeded
                | Cause::TargetsUnknown => Ending::Infrastructure,
            };
            (ending, format!("{detail}. Next: {remedy}"))
        }
    }
}

/// What a pass of this level is called.
pub fn of_level(level: Level) -> Ending {
    if level >= Level::HeldOut { Ending::Solved } else { Ending::PassesVisible }
}

/// How a verdict ends an occasion.
pub fn of_verdict(verdict: &Verdict) -> Ending {
    match verdict {
        Verdict::Green(evidence) => of_level(evidence.level),
        Verdict::Red(_) => Ending::NotSolved,
        Verdict::Rejected { .. } => Ending::Suspect,
        Verdict::Inconclusive { .. } => Ending::Inconclusive,
    }
}

/// The baseline of a run.
pub fn baseline(records: &[Record]) -> Option<&Baseline> {
    records.iter().find_map(|record| match &record.event {
        Event::Measured { baseline } => Some(baseline),
        _ => None,
    })
}

/// What a failure on a branch is called on GitHub; `failure` is its name as [`crate::verify::signature`] makes it.
pub fn signature(branch: &str, failure: &str) -> String {
    let hash = Sha256::digest(format!("{failure} {branch}"));
    hexadecimal(&hash)[..DIGITS].to_owned()
}

static PLACE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"/[^\s"':]*/workspaces/[0-9]+/tree/"#).expect("a test compiles it"));

/// What failed, for people.
pub fn failing(baseline: &Baseline) -> Vec<Failing> {
    let errors = baseline.run.diagnostics.iter().filter(|one| one.severity == Severity::Error);
    let mut told: Vec<Failing> = errors
        .map(|error| {
            let place = error.location.as_ref().map(|place| (place.file.as_str(), place.line));
            one("build", &error.message, place)
        })
        .collect();
    let explained = !told.is_empty();
    for id in &baseline.targets {
        let Some(test) = baseline.run.tests.get(id) else { continue };
        // The compiler's own words are told already, each with its place.
        if explained && id.starts_with("build (") {
            continue;
        }
        let place = test.frames.first().or(test.location.as_ref());
        told.push(one(id, &test.message, place.map(|place| (place.file.as_str(), place.line))));
    }
    told.truncate(TOLD);
    told
}

fn one(test: &str, message: &str, place: Option<(&str, u32)>) -> Failing {
    let (file, line) = place.filter(|(file, _)| RepoPath::new(file).is_ok()).unwrap_or_default();
    // Where a workspace lies on the machine says nothing to people.
    let message = PLACE.replace_all(message.trim(), "");
    let message = clip(&message, MESSAGE).into_owned();
    Failing { test: clip(test, 300).into_owned(), message, file: file.to_owned(), line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostic;
    use crate::verdict::TestResult;

    #[test]
    fn a_failure_is_called_otherwise_on_another_branch() {
        assert_ne!(signature("main", "5f"), signature("release", "5f"));
        assert_eq!(signature("main", "5f").len(), DIGITS);
    }

    #[test]
    fn a_build_that_fails_is_told_once() {
        let mut baseline = Baseline { targets: ["build (cargo)".to_owned()].into(), ..Baseline::default() };
        let test = TestResult::failed("build (cargo)", "mismatched types");
        baseline.run.tests.insert(test.id.clone(), test);
        assert_eq!(failing(&baseline)[0].test, "build (cargo)");
        baseline.run.diagnostics.push(Diagnostic::error(None, "mismatched types"));
        let warning = Diagnostic { severity: Severity::Warning, ..Diagnostic::error(None, "unused") };
        baseline.run.diagnostics.push(warning);
        let told: Vec<String> = failing(&baseline).into_iter().map(|one| one.test).collect();
        assert_eq!(told, ["build"]);
    }

    #[test]
    fn a_place_outside_of_the_repository_is_not_told() {
        assert_eq!(one("t", "m", Some(("../../etc/passwd", 3))).file, "");
        assert_eq!(one("t", "m", Some(("a.py", 3))).line, 3);
        assert_eq!(
            one("t", "File \"/tmp/x/workspaces/0/tree/a.py\", line 3", None).message,
            "File \"a.py\", line 3"
        );
    }
}
