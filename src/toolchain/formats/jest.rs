//! The JSON file of jest (`--json --outputFile`) and of vitest (`--reporter=json`). Both write it at the end
//! of a run, so a file that can be read is whole, unless the run says that it was interrupted.

use std::collections::BTreeMap;

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
#[serde(rename_all = "camelCase")]
struct Report {
    test_results: Vec<File>,
    #[serde(default)]
    was_interrupted: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    name: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    assertion_results: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    #[serde(default)]
    ancestor_titles: Vec<String>,
    title: String,
    status: String,
    #[serde(default)]
    failure_messages: Option<Vec<String>>,
    #[serde(default)]
    location: Option<Position>,
    /// Milliseconds.
    #[serde(default)]
    duration: Option<f64>,
}

#[derive(Deserialize)]
struct Position {
    line: u32,
    #[serde(default)]
    column: u32,
}

/// Reads one result file.
pub fn parse(bytes: &[u8], place: &Place) -> Result<Parsed> {
    let report: Report = serde_json::from_slice(bytes).context("failed to read a JSON test report")?;
    let mut tests: BTreeMap<TestId, TestResult> = BTreeMap::new();
    for file in &report.test_results {
        for test in &file.assertion_results {
            keep_worse(&mut tests, result(file, test, place));
        }
        let failing = |test: &Test| test.status == "failed";
        if file.status == "failed" && !file.assertion_results.iter().any(failing) {
            keep_worse(&mut tests, whole_file(file, place));
        }
    }
    Ok(Parsed {
        tests: tests.into_values().collect(),
        complete: !report.was_interrupted,
        ..Parsed::default()
    })
}

fn result(file: &File, test: &Test, place: &Place) -> TestResult {
    let name = place.relative(&file.name);
    let titles = test.ancestor_titles.iter().chain([&test.title]);
    let id = titles.fold(name, |id, title| format!("{id} > {title}"));
    let outcome = match test.status.as_str() {
        "passed" => Outcome::Passed,
        "failed" => Outcome::Failed,
        // pending, skipped, todo, disabled: also those that `.only` leaves out.
        _ => Outcome::Skipped,
    };
    let mut result = TestResult::new(crate::text::clip(&id, 4096), outcome);
    if outcome == Outcome::Failed {
        let said = node::plain(&test.failure_messages.clone().unwrap_or_default().join("\n"));
        result.message = bounded(&node::own_frames(&said, place));
        result.frames = node::frames(&said, place);
    }
    result.location = test.location.as_ref().and_then(|position| {
        Some(Location { file: place.locate(&file.name)?, line: position.line, column: position.column })
    });
    result.seconds = test.duration.unwrap_or(0.0).max(0.0) / 1000.0;
    result
}

/// A file that fails outside of its tests, mostly because it does not load: a test of its name.
fn whole_file(file: &File, place: &Place) -> TestResult {
    let said = node::plain(&file.message);
    // Jest puts a page of advice before what is wrong.
    let said = said.split_once("Details:\n").map_or(said.as_str(), |(_, details)| details);
    let mut result = TestResult::failed(
        place.relative(&file.name),
        bounded(&node::own_frames(said.trim_matches('\n'), place)),
    );
    result.frames = node::frames(said, place);
    result.location = place.locate(&file.name).map(|file| Location { file, ..Location::default() });
    result
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::outcomes;
    use super::*;

    fn parsed(text: &str) -> Parsed {
        parse(text.as_bytes(), &Place::new(Path::new("/w/tree"), "")).unwrap()
    }

    // Jest 30.2.0, shortened by fields that are not read.
    const JEST: &str = r#"{"numFailedTests":2,"success":false,"testResults":[
{"assertionResults":[
 {"ancestorTitles":["Cache","recency"],"duration":6,"failureMessages":["Error: expect(received).toEqual(expected) // deep equality\n\n- Expected  - 1\n+ Received  + 0\n    at Object.toEqual (/w/tree/test/cache.test.js:45:28)\n    at Promise.finally.completed (/w/tree/node_modules/jest-circus/build/jestAdapterInit.js:1557:28)\n    at new Promise (<anonymous>)"],"location":{"column":5,"line":41},"status":"failed","title":"a read entry stays"},
 {"ancestorTitles":[],"duration":1,"failureMessages":[],"location":{"column":3,"line":20},"status":"passed","title":"ok"},
 {"ancestorTitles":[],"duration":null,"failureMessages":[],"location":null,"status":"pending","title":"x"},
 {"ancestorTitles":[],"duration":null,"failureMessages":[],"location":null,"status":"todo","title":"td"}],
 "message":"  ● Cache › recency › a read entry stays","name":"/w/tree/test/cache.test.js","status":"failed","summary":""},
{"assertionResults":[],"message":"  ● Test suite failed to run\n\n    Jest encountered an unexpected token\n\n    Details:\n\n    SyntaxError: /w/tree/test/syn.test.js: Unexpected token (1:10)\n\n    > 1 | const x = ;\n        |           ^\n","name":"/w/tree/test/syn.test.js","status":"failed","summary":""}],"wasInterrupted":false}"#;

    // Vitest 4.1.12, likewise.
    const VITEST: &str = r#"{"numTotalTestSuites":8,"success":false,"testResults":[
{"assertionResults":[
 {"ancestorTitles":["allocate"],"fullName":"allocate takes little","status":"failed","title":"takes little","duration":0.5,"failureMessages":["AssertionError: expected 0.92 to be less than 0.5\n    at /w/tree/test/allocate.test.js:25:31\n    at file:///w/tree/node_modules/@vitest/runner/dist/chunk-artifact.js:302:11"],"location":{"line":21,"column":3},"meta":{},"tags":[]},
 {"ancestorTitles":[],"fullName":"n","status":"skipped","title":"n","failureMessages":[],"meta":{}}],
 "status":"failed","message":"","name":"/w/tree/test/allocate.test.js"},
{"assertionResults":[{"ancestorTitles":["h"],"status":"skipped","title":"a","failureMessages":[]}],"status":"failed","message":"","name":"/w/tree/test/hook.test.js"},
{"assertionResults":[],"status":"failed","message":"Parse failure: Parse failed with 1 error:\nUnexpected token","name":"/w/tree/test/syn.test.js"}]}"#;

    #[test]
    fn reports_of_both_runners_are_read() {
        assert_eq!(
            outcomes(&parsed(JEST)),
            "test/cache.test.js > Cache > recency > a read entry stays failed, \
             test/cache.test.js > ok passed, test/cache.test.js > td skipped, test/cache.test.js > x skipped, \
             test/syn.test.js failed"
        );
        assert_eq!(
            outcomes(&parsed(VITEST)),
            "test/allocate.test.js > allocate > takes little failed, test/allocate.test.js > n skipped, \
             test/hook.test.js failed, test/hook.test.js > h > a skipped, test/syn.test.js failed"
        );
    }

    #[test]
    fn messages_keep_what_the_repository_can_change() {
        let parsed = parsed(JEST);
        let failed = &parsed.tests[0];
        assert!(failed.message.contains("+ Received  + 0") && !failed.message.contains("jest-circus"));
        assert_eq!(failed.frames.len(), 1);
        assert_eq!(failed.frames[0].to_string(), "test/cache.test.js:45:28");
        assert_eq!(failed.location.as_ref().unwrap().to_string(), "test/cache.test.js:41:5");
        let broken = parsed.tests.last().unwrap();
        assert!(broken.message.contains("SyntaxError") && !broken.message.contains("Jest encountered"));
    }

    #[test]
    fn a_report_that_is_cut_or_no_report_is_an_error_and_no_panic() {
        let place = Place::new(Path::new("/w/tree"), "");
        for at in [0, 1, 100, JEST.len() - 1] {
            assert!(parse(&JEST.as_bytes()[..at], &place).is_err());
        }
        assert!(parse(b"[]", &place).is_err());
    }
}
