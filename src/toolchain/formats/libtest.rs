//! libtest's JSON (`-Z unstable-options --format json`), one object a line on stdout of a test binary. Tests
//! that had begun when the binary ended without a summary have failed: one of them ended it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Deserialize;

use super::{LINE, bounded, ended, panic};
use crate::process::Finished;
use crate::toolchain::Parsed;
use crate::toolchain::place::Place;
use crate::verdict::{Exit, Outcome, TestResult};

/// One line, of libtest and of nextest.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(rename = "type")]
    pub kind: Cow<'a, str>,
    #[serde(rename = "event")]
    pub what: Cow<'a, str>,
    #[serde(default)]
    pub name: Cow<'a, str>,
    #[serde(default)]
    pub exec_time: f64,
    #[serde(default)]
    pub stdout: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub nextest: Option<Binary>,
}

/// The binary that nextest is speaking of.
#[derive(Debug, Deserialize)]
pub(super) struct Binary {
    #[serde(rename = "crate")]
    pub package: String,
    #[serde(rename = "test_binary")]
    pub target: String,
    pub kind: String,
}

impl Event<'_> {
    /// The event in a line. What a test wrote past libtest's capture may stand before it.
    pub fn parse(line: &str) -> Option<Event<'_>> {
        let start = line.find("{ \"type\": \"").or_else(|| line.find("{\"type\":\""))?;
        serde_json::from_str(&line[start..]).ok()
    }

    /// The result that a test's last event tells; `find` makes repository paths.
    pub fn result(&self, id: String, find: impl Fn(&str) -> Option<String>) -> Option<TestResult> {
        let outcome = match self.what.as_ref() {
            "ok" => Outcome::Passed,
            "failed" => Outcome::Failed,
            "ignored" => Outcome::Skipped,
            _ => return None,
        };
        let mut test = TestResult::new(id, outcome);
        test.seconds = self.exec_time;
        if outcome == Outcome::Failed {
            let said = [self.message.as_str(), self.stdout.as_str()];
            let said: Vec<&str> = said.into_iter().filter(|part| !part.is_empty()).collect();
            let (message, frames) = panic::read(&said.join("\n"), find);
            test.message = bounded(&message);
            test.frames = frames;
        }
        Some(test)
    }
}

/// Reads what a test binary printed that ran in the folder `package` of the repository.
pub fn read(finished: &Finished, place: &Place, package: &str) -> Result<Parsed> {
    let mut report = Report::default();
    // rustc names files from the workspace's root, a backtrace from where the binary runs.
    let find = |path: &str| match path.strip_prefix("./") {
        Some(path) => place.locate_in(package, path),
        None => place.find(path),
    };
    finished.stdout.lines(LINE, |line| report.feed(&super::line_text(line), find))?;
    let last_words = finished.stderr.excerpt(4096)?;
    Ok(report.finish(&finished.exit, &last_words, find))
}

#[derive(Debug, Default)]
struct Report {
    tests: BTreeMap<String, TestResult>,
    running: BTreeSet<String>,
    summary: bool,
}

impl Report {
    fn feed(&mut self, line: &str, find: impl Fn(&str) -> Option<String>) {
        let Some(event) = Event::parse(line) else {
            return;
        };
        let name = event.name.clone().into_owned();
        match (event.kind.as_ref(), event.what.as_ref()) {
            ("suite", "ok" | "failed") => self.summary = true,
            ("test", "started") => {
                self.running.insert(name);
            }
            ("test", _) => {
                if let Some(test) = event.result(name, find) {
                    self.running.remove(&test.id);
                    crate::verdict::keep_worse(&mut self.tests, test);
                }
            }
            _ => {}
        }
    }

    fn finish(self, exit: &Exit, last_words: &str, find: impl Fn(&str) -> Option<String>) -> Parsed {
        let complete = self.summary && self.running.is_empty();
        let (said, frames) = panic::read(last_words, find);
        let mut tests: Vec<TestResult> = self.tests.into_values().collect();
        for name in self.running {
            let message = format!("the test binary ended before this test did: {}\n{said}", ended(exit));
            let mut test = TestResult::failed(name, bounded(&message));
            test.frames.clone_from(&frames);
            tests.push(test);
        }
        Parsed { tests, diagnostics: Vec::new(), complete }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcomes;
    use super::*;

    fn check(lines: &str, exit: &Exit, expected: &str, complete: bool) -> Parsed {
        let mut report = Report::default();
        for line in lines.lines() {
            report.feed(line, |path| Some(path.to_owned()));
        }
        let parsed = report.finish(exit, "bye\n", |path| Some(path.to_owned()));
        assert_eq!((outcomes(&parsed).as_str(), parsed.complete), (expected, complete));
        parsed
    }

    #[test]
    fn every_outcome_is_read() {
        let parsed = check(
            r#"{ "type": "suite", "event": "started", "test_count": 4 }
{ "type": "test", "event": "started", "name": "tests::adds" }
{ "type": "test", "name": "tests::adds", "event": "ok", "exec_time": 0.000000952 }
{ "type": "test", "event": "started", "name": "tests::does_not_panic" }
{ "type": "test", "name": "tests::does_not_panic", "event": "failed", "exec_time": 0.000000851, "message": "test did not panic as expected at src/lib.rs:43:32" }
{ "type": "test", "event": "started", "name": "tests::slow" }
{ "type": "test", "name": "tests::slow", "event": "ignored", "message": "slow" }
{ "type": "test", "event": "started", "name": "tests::panics_wrongly" }
{ "type": "test", "name": "tests::panics_wrongly", "event": "failed", "exec_time": 0.06945368, "stdout": "\nthread 'tests::panics_wrongly' (27602) panicked at src/lib.rs:42:69:\neven\n", "message": "panic did not contain expected string\n      panic message: \"even\"\n expected substring: \"odd\"" }
{ "type": "suite", "event": "failed", "passed": 1, "failed": 2, "ignored": 1, "measured": 0, "filtered_out": 0, "exec_time": 0.070445507 }"#,
            &Exit::Code(101),
            "tests::adds passed, tests::does_not_panic failed, tests::panics_wrongly failed, tests::slow skipped",
            true,
        );
        assert!(parsed.tests[2].message.contains("expected substring: \"odd\""));
        assert_eq!(parsed.tests[2].frames[0].to_string(), "src/lib.rs:42:69");
    }

    #[test]
    fn tests_that_were_running_when_the_binary_aborted_have_failed() {
        let parsed = check(
            r#"{ "type": "suite", "event": "started", "test_count": 4 }
{ "type": "test", "event": "started", "name": "a_good" }
{ "type": "test", "event": "started", "name": "b_aborts" }
{ "type": "test", "name": "a_good", "event": "ok", "exec_time": 0.200133928 }
{ "type": "test", "event": "started", "name": "c_sleeps" }"#,
            &Exit::Signal(6),
            "a_good passed, b_aborts failed, c_sleeps failed",
            false,
        );
        assert_eq!(
            parsed.tests[1].message,
            "the test binary ended before this test did: killed by signal 6 (SIGABRT)\nbye"
        );
    }

    #[test]
    fn output_that_was_not_captured_hides_no_result_and_a_second_result_cannot_better_the_first() {
        check(
            r#"{ "type": "suite", "event": "started", "test_count": 1 }
{ "type": "test", "event": "started", "name": "a" }
progress ... { "type": "test", "name": "a", "event": "failed", "exec_time": 0.1 }
{ "type": "test", "name": "a", "event": "ok", "exec_time": 0.1 }
{ "type": "test", "name":
{ "type": "suite", "event": "failed", "passed": 0, "failed": 1, "ignored": 0, "measured": 0, "filtered_out": 0, "exec_time": 0.1 }"#,
            &Exit::Code(101),
            "a failed",
            true,
        );
    }
}
