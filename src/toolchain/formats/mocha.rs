//! The JSON file of mocha (`--reporter json`), for commands of the user's own. It has no chain of suites, so
//! ids are `file > full title`; regreen's own profile writes records instead.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::bounded;
use super::records::keep_worse;
use crate::diagnostic::Location;
use crate::toolchain::Parsed;
use crate::toolchain::compilers::node;
use crate::toolchain::place::Place;
use crate::verdict::{Outcome, TestId, TestResult};

#[derive(Deserialize)]
struct Report {
    tests: Vec<Test>,
    #[serde(default)]
    pending: Vec<Test>,
    /// Tests and hooks that failed; a hook is in no other list.
    #[serde(default)]
    failures: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    full_title: String,
    #[serde(default)]
    file: Option<String>,
    /// Milliseconds.
    #[serde(default)]
    duration: Option<f64>,
    #[serde(default)]
    err: Error,
}

#[derive(Default, Deserialize)]
struct Error {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    stack: Option<String>,
}

/// Reads one result file.
pub fn parse(bytes: &[u8], place: &Place) -> Result<Parsed> {
    let report: Report = serde_json::from_slice(bytes).context("failed to read a JSON test report")?;
    let pending: BTreeSet<TestId> = report.pending.iter().map(|test| id(test, place)).collect();
    let mut tests: BTreeMap<TestId, TestResult> = BTreeMap::new();
    for test in report.tests.iter().filter(|test| test.err.is_none()) {
        let outcome = if pending.contains(&id(test, place)) { Outcome::Skipped } else { Outcome::Passed };
        keep_worse(&mut tests, result(test, outcome, place));
    }
    for test in &report.failures {
        keep_worse(&mut tests, result(test, Outcome::Failed, place));
    }
    Ok(Parsed { tests: tests.into_values().collect(), complete: true, ..Parsed::default() })
}

impl Error {
    fn is_none(&self) -> bool {
        self.message.is_none() && self.stack.is_none()
    }
}

fn id(test: &Test, place: &Place) -> TestId {
    let file = test.file.as_deref().map(|file| place.relative(file));
    let id = [file.as_deref().unwrap_or(""), &test.full_title].join(" > ");
    crate::text::clip(&id, 4096).into_owned()
}

fn result(test: &Test, outcome: Outcome, place: &Place) -> TestResult {
    let mut result = TestResult::new(id(test, place), outcome);
    let said = test.err.stack.as_ref().or(test.err.message.as_ref());
    if let Some(said) = said.filter(|_| outcome == Outcome::Failed) {
        let said = node::plain(said);
        result.message = bounded(&node::own_frames(&said, place));
        result.frames = node::frames(&said, place);
    }
    let file = test.file.as_deref().and_then(|file| place.locate(file));
    result.location = file.map(|file| Location { file, ..Location::default() });
    result.seconds = test.duration.unwrap_or(0.0).max(0.0) / 1000.0;
    result
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::outcomes;
    use super::*;

    #[test]
    fn passes_failures_hooks_and_pending_tests_are_told_apart() {
        // Mocha 11.7.5, shortened by fields and lists that are not read.
        let report = r#"{"stats":{"tests":3},
"tests":[
 {"title":"ok","fullTitle":"s ok","file":"/w/tree/test/a.js","duration":2,"currentRetry":0,"speed":"fast","err":{}},
 {"title":"pend","fullTitle":"s pend","file":"/w/tree/test/a.js","currentRetry":0,"err":{}},
 {"title":"ca","fullTitle":"s ca","file":"/w/tree/test/a.js","duration":1,"currentRetry":0,"err":{"message":"Assertion failed","stack":"AssertionError [ERR_ASSERTION]: Assertion failed\n    at Context.<anonymous> (test/a.js:2:92)\n    at process.processImmediate (node:internal/timers:476:21)"}}],
"pending":[{"title":"pend","fullTitle":"s pend","file":"/w/tree/test/a.js","currentRetry":0,"err":{}}],
"failures":[
 {"title":"ca","fullTitle":"s ca","file":"/w/tree/test/a.js","duration":1,"currentRetry":0,"err":{"message":"Assertion failed","stack":"AssertionError [ERR_ASSERTION]: Assertion failed\n    at Context.<anonymous> (test/a.js:2:92)\n    at process.processImmediate (node:internal/timers:476:21)"}},
 {"title":"\"before all\" hook for \"a\"","fullTitle":"s h \"before all\" hook for \"a\"","file":"/w/tree/test/a.js","duration":0,"currentRetry":0,"err":{"message":"nodb","stack":"Error: nodb\n    at Context.<anonymous> (test/a.js:3:39)"}}],
"passes":[]}"#;
        let place = Place::new(Path::new("/w/tree"), "");
        let parsed = parse(report.as_bytes(), &place).unwrap();
        assert_eq!(
            outcomes(&parsed),
            "test/a.js > s ca failed, test/a.js > s h \"before all\" hook for \"a\" failed, \
             test/a.js > s ok passed, test/a.js > s pend skipped"
        );
        assert_eq!(
            parsed.tests[0].message,
            "AssertionError [ERR_ASSERTION]: Assertion failed\n    at Context.<anonymous> (test/a.js:2:92)"
        );
        assert_eq!(parsed.tests[0].frames[0].to_string(), "test/a.js:2:92");
        assert!(parse(b"{", &place).is_err());
    }
}
