//! What regreen's own launchers write: a JSON object a line in a file (`harness/launchers/README.md`). The
//! process that writes it also runs the code under test, so nothing in it is trusted to be well-formed, and
//! of two records for one test the worse one counts.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use super::bounded;
use crate::diagnostic::Location;
use crate::toolchain::Parsed;
use crate::toolchain::place::Place;
use crate::verdict::{Outcome, TestId, TestResult};

/// A longer name is cut, so that a hostile report cannot fill the ledger.
const LONGEST_ID: usize = 4096;

/// Frames kept for one test.
const MOST_FRAMES: usize = 50;

/// A line of the file; unknown fields are left out.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Test(Record),
    Start {
        start: String,
    },
    End {
        #[expect(dead_code, reason = "its presence is what tells an end from other lines")]
        end: bool,
    },
}

#[derive(Deserialize)]
struct Record {
    id: String,
    outcome: Outcome,
    #[serde(default)]
    message: String,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    line: u32,
    #[serde(default)]
    frames: Vec<Frame>,
    #[serde(default)]
    seconds: f64,
}

#[derive(Deserialize)]
struct Frame {
    file: String,
    #[serde(default)]
    line: u32,
}

/// Reads one result file. A test that began and has no result was running when the process ended: it failed.
pub fn parse(bytes: &[u8], place: &Place) -> Result<Parsed> {
    let mut parsed = Parsed::default();
    let mut tests: BTreeMap<TestId, TestResult> = BTreeMap::new();
    let mut running: Option<String> = None;
    for line in bytes.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Test(record)) => {
                let test = result(record, place);
                if running.as_ref() == Some(&test.id) {
                    running = None;
                }
                keep_worse(&mut tests, test);
            }
            Ok(Line::Start { start }) => running = Some(short(&start)),
            Ok(Line::End { .. }) => parsed.complete = true,
            // A line that was cut off by an abort, or that the code under test wrote.
            Err(_) => {}
        }
    }
    if let Some(id) = running.filter(|_| !parsed.complete) {
        let message = "the process ended, or was ended, while this test ran";
        keep_worse(&mut tests, TestResult::failed(id, message));
    }
    parsed.tests = tests.into_values().collect();
    Ok(parsed)
}

/// Keeps the worse of two results for one test: failed, then passed, then skipped.
pub(super) fn keep_worse(tests: &mut BTreeMap<TestId, TestResult>, test: TestResult) {
    let rank = |outcome| match outcome {
        Outcome::Failed => 0,
        Outcome::Missing => 1,
        Outcome::Passed => 2,
        Outcome::Skipped => 3,
    };
    let known = tests.get(&test.id);
    if known.is_none_or(|known| rank(test.outcome) < rank(known.outcome)) {
        tests.insert(test.id.clone(), test);
    }
}

/// The result that one record tells of; `None` where it is no such record.
pub fn test(record: &str, place: &Place) -> Option<TestResult> {
    serde_json::from_str(record).ok().map(|record| result(record, place))
}

fn result(record: Record, place: &Place) -> TestResult {
    let locate = |file: &str, line| place.locate(file).map(|file| Location { file, line, column: 0 });
    let mut test = TestResult::new(short(&record.id), record.outcome);
    if record.outcome != Outcome::Passed {
        test.message = bounded(&record.message);
        test.frames = record
            .frames
            .iter()
            .filter_map(|frame| locate(&frame.file, frame.line))
            .take(MOST_FRAMES)
            .collect();
    }
    test.location = record.file.and_then(|file| locate(&file, record.line));
    test.seconds = if record.seconds.is_finite() { record.seconds.max(0.0) } else { 0.0 };
    test
}

fn short(id: &str) -> String {
    crate::text::clip(id, LONGEST_ID).into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parsed(text: &str) -> Parsed {
        parse(text.as_bytes(), &Place::new(Path::new("/w/tree"), "api")).unwrap()
    }

    /// Outcomes by test, and whether the report is whole.
    fn check(text: &str, expected: &[(&str, Outcome)], complete: bool) {
        let parsed = parsed(text);
        let found: Vec<_> = parsed.tests.iter().map(|test| (test.id.as_str(), test.outcome)).collect();
        assert_eq!(found, expected, "{text}");
        assert_eq!(parsed.complete, complete, "{text}");
    }

    #[test]
    fn a_report_holds_outcomes_messages_and_places() {
        // Written by regreen_pytest.py on fixtures/py-pytest-ini, shortened by all but two tests.
        let text = r#"{"start": "tests/test_document.py::test_a_value"}
{"id": "tests/test_document.py::test_a_value", "outcome": "passed", "file": "tests/test_document.py", "line": 6, "seconds": 0.000121}
{"start": "tests/test_interpolate.py::test_a_reference_into_another_section"}
{"id": "tests/test_interpolate.py::test_a_reference_into_another_section", "outcome": "failed", "message": "tests/test_interpolate.py:13: in test_a_reference_into_another_section\n    assert doc.get(\"b\", \"dsn\") == \"pg@db1\"\nE   KeyError: 'dsn'", "file": "tests/test_interpolate.py", "line": 11, "frames": [{"file": "src/inikit/document.py", "line": 24}, {"file": "tests/test_interpolate.py", "line": 13}], "seconds": 0.000154}
{"end": true, "status": 1}
"#;
        let parsed = parsed(text);
        assert!(parsed.complete);
        assert_eq!(parsed.tests[0].outcome, Outcome::Passed);
        let failed = &parsed.tests[1];
        assert_eq!(failed.outcome, Outcome::Failed);
        assert!(failed.message.ends_with("KeyError: 'dsn'"));
        assert_eq!(failed.location.as_ref().unwrap().to_string(), "api/tests/test_interpolate.py:11");
        assert_eq!(failed.frames[0].to_string(), "api/src/inikit/document.py:24");
    }

    #[test]
    fn reports_that_are_cut_short_forged_or_broken_are_read_as_far_as_they_go() {
        use Outcome::{Failed, Passed, Skipped};
        let (passed, failed, skipped) = (
            r#"{"id":"t","outcome":"passed"}"#,
            r#"{"id":"t","outcome":"failed"}"#,
            r#"{"id":"t","outcome":"skipped"}"#,
        );
        let end = r#"{"end":true,"status":0}"#;
        check("", &[], false);
        check(end, &[], true);
        check(passed, &[("t", Passed)], false);
        check(&format!("{passed}\n{failed}\n{passed}\n{end}"), &[("t", Failed)], true);
        check(&format!("{skipped}\n{passed}\n{end}"), &[("t", Passed)], true);
        check(&format!("{skipped}\r\n{end}\r\n"), &[("t", Skipped)], true);
        check(
            &format!("{{\"start\":\"t\"}}\n{passed}\n{{\"start\":\"u\"}}\n{{\"id\":\"u\",\"outc"),
            &[("t", Passed), ("u", Failed)],
            false,
        );
        check(
            "{\"id\":7,\"outcome\":\"passed\"}\n[]\nnull\n\u{0}\n{\"id\":\"t\",\"outcome\":\"great\"}",
            &[],
            false,
        );
    }

    #[test]
    fn nothing_in_a_record_leads_out_of_the_tree_or_grows_without_bound() {
        let long = "x".repeat(1 << 20);
        let parsed = parsed(&format!(
            r#"{{"id":"{long}","outcome":"failed","message":"{long}","file":"../../etc/passwd","line":1,"seconds":-1,
"frames":[]}}"#
        )
        .replace('\n', ""));
        let test = &parsed.tests[0];
        assert!(test.id.len() < 5000 && test.message.len() < 20_000);
        assert_eq!((test.location.as_ref(), test.seconds), (None, 0.0));
    }
}
