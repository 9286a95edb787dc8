//! The signature of a failure is what it is called: a hash over the failing tests and the first error without its
//! numbers, addresses and paths, so that the same failure of a later commit has the same name.

use std::sync::LazyLock;

use regex::Regex;
use sha2::{Digest, Sha256};

use super::attest::hexadecimal;
use crate::diagnostic::Severity;
use crate::text::clip;
use crate::verdict::Baseline;

/// What a failure is called: a SHA-256 in hexadecimal digits.
pub fn signature(baseline: &Baseline) -> String {
    let mut hash = Sha256::new();
    for part in
        [first_error(baseline).as_str()].into_iter().chain(baseline.targets.iter().map(String::as_str))
    {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    hexadecimal(&hash.finalize())
}

/// The first error of the compiler, else of the failing tests, normalised.
fn first_error(baseline: &Baseline) -> String {
    let said =
        baseline.targets.iter().filter_map(|id| baseline.run.tests.get(id)).map(|test| test.message.as_str());
    let errors = baseline.run.diagnostics.iter().filter(|one| one.severity == Severity::Error);
    let compiler = errors.map(|error| error.message.as_str());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{TestResult, TestRun};

    fn of(test: &str, message: &str) -> String {
        let run = TestRun {
            tests: [(test.to_owned(), TestResult::failed(test, message))].into(),
            ..TestRun::default()
        };
        signature(&Baseline { targets: [test.to_owned()].into(), run, ..Baseline::default() })
    }

    #[test]
    fn the_same_failure_has_the_same_name_and_another_has_not() {
        let first =
            of("a", "Traceback\n  File \"/tmp/x1/a.py\", line 3\nAssertionError: 7 is not 9 at 0x7f01");
        let again = of("a", "Traceback\n  File \"/tmp/y/a.py\", line 4\nAssertionError: 8 is not 10 at 0x7e");
        assert_eq!(first, again);
        assert_ne!(first, of("b", "AssertionError: 7 is not 9 at 0x7f01"));
        assert_ne!(first, of("a", "TypeError: no"));
    }
}
