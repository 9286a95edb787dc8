//! Triage on GitHub is what the loop's own measuring of the base said, in the action's words: red in every run, flaky,
//! or the machine's fault. The base is run afresh at least twice before anything is asked of a proposer
//! (`verify::measure`). A *signature* is what the failure is called, so that it has one pull request.

use std::sync::LazyLock;

use regex::Regex;
use sha2::{Digest, Sha256};

use super::{Ending, Failing};
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

/// What a failure on a branch is called: a hash over the branch, the failing tests and the first error without its
/// numbers, addresses and paths, so that the same failure of a later commit has the same name.
pub fn signature(branch: &str, baseline: &Baseline) -> String {
    let mut hash = Sha256::new();
    let error = first_error(baseline);
    for part in [branch, &error].into_iter().chain(baseline.targets.iter().map(String::as_str)) {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    hexadecimal(&hash.finalize())[..DIGITS].to_owned()
}

/// Whether a text may be a signature.
pub fn is_signature(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The first error of the failing tests, else of the compiler, normalised.
fn first_error(baseline: &Baseline) -> String {
    let said =
        baseline.targets.iter().filter_map(|id| baseline.run.tests.get(id)).map(|test| test.message.as_str());
    let compiler = baseline.run.diagnostics.iter().map(|diagnostic| diagnostic.message.as_str());
    let message = compiler.chain(said).find(|message| !message.trim().is_empty()).unwrap_or_default();
    let telling = |line: &&str| ERROR.is_match(line);
    let line = message.lines().find(telling).or_else(|| message.lines().find(|line| !line.trim().is_empty()));
    let line = clip(line.unwrap_or_default().trim(), 300);
    VARIABLE.replace_all(&line, "_").into_owned()
}

static ERROR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)error|exception|assert|panicked|expected|fail").expect("a test compiles it")
});
static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:/[^\s:'()]+)+|0x[0-9a-fA-F]+|[0-9]+").expect("a test compiles it"));

static PLACE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"/[^\s"':]*/workspaces/[0-9]+/tree/"#).expect("a test compiles it"));

/// What failed, for people.
pub fn failing(baseline: &Baseline) -> Vec<Failing> {
    let mut told: Vec<Failing> = Vec::new();
    for diagnostic in baseline.run.diagnostics.iter().take(TOLD) {
        let place = diagnostic.location.as_ref().map(|place| (place.file.as_str(), place.line));
        told.push(one("build", &diagnostic.message, place));
    }
    for id in &baseline.targets {
        let Some(test) = baseline.run.tests.get(id) else { continue };
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
    use crate::verdict::{TestResult, TestRun};

    fn failing_with(tests: &[(&str, &str)]) -> Baseline {
        let results = tests.iter().map(|(id, message)| ((*id).to_owned(), TestResult::failed(*id, *message)));
        let targets = tests.iter().map(|(id, _)| (*id).to_owned()).collect();
        Baseline {
            targets,
            run: TestRun { tests: results.collect(), ..TestRun::default() },
            ..Baseline::default()
        }
    }

    #[test]
    fn the_same_failure_has_the_same_name_and_another_has_not() {
        let first = signature(
            "main",
            &failing_with(&[(
                "a",
                "Traceback\n  File \"/tmp/x1/a.py\", line 3\nAssertionError: 7 is not 9 at 0x7f01",
            )]),
        );
        let again = signature(
            "main",
            &failing_with(&[(
                "a",
                "Traceback\n  File \"/tmp/y/a.py\", line 4\nAssertionError: 8 is not 10 at 0x7e",
            )]),
        );
        assert_eq!(first, again);
        assert!(is_signature(&first) && !is_signature("../../heads") && !is_signature("ABCDEF123456"));
        for other in [
            signature("release", &failing_with(&[("a", "AssertionError: 7 is not 9 at 0x7f01")])),
            signature("main", &failing_with(&[("b", "AssertionError: 7 is not 9 at 0x7f01")])),
            signature("main", &failing_with(&[("a", "TypeError: no")])),
        ] {
            assert_ne!(first, other);
        }
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
