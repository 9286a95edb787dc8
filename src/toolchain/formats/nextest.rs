//! nextest's `libtest-json-plus`: libtest's JSON, where a test's name is `package::binary$test`. Whether the
//! binary is a library, a program or an integration test stands in the suite's own event. Two binaries of one
//! package and name are never in one report: `toolchain::rust` runs them apart.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::libtest::{Binary, Event};
use super::{LINE, bounded, ended};
use crate::process::Finished;
use crate::toolchain::Parsed;
use crate::toolchain::place::Place;
use crate::verdict::{Exit, TestResult};

/// nextest's exit status when tests failed and nothing else went wrong.
const TESTS_FAILED: i32 = 100;

/// Reads what nextest printed.
pub fn read(finished: &Finished, place: &Place) -> Result<Parsed> {
    let mut report = Report::default();
    let find = |path: &str| place.find(path.strip_prefix("./").unwrap_or(path));
    finished.stdout.lines(LINE, |line| report.feed(&super::line_text(line), find))?;
    Ok(report.finish(&finished.exit))
}

#[derive(Debug, Default)]
struct Report {
    /// Binary ids by `package::binary`.
    binaries: BTreeMap<String, String>,
    tests: BTreeMap<String, TestResult>,
    running: BTreeSet<String>,
}

impl Report {
    fn feed(&mut self, line: &str, find: impl Fn(&str) -> Option<String>) {
        let Some(event) = Event::parse(line) else {
            return;
        };
        if let Some(binary) = &event.nextest {
            self.binaries.insert(format!("{}::{}", binary.package, binary.target), binary.id());
        }
        if event.kind != "test" {
            return;
        }
        let id = self.id(&event.name);
        if event.what == "started" {
            self.running.insert(id);
        } else if let Some(test) = event.result(id, find) {
            self.running.remove(&test.id);
            // A retry comes after the try that failed, and counts: the repository asks for retries.
            self.tests.insert(test.id.clone(), test);
        }
    }

    fn id(&self, name: &str) -> String {
        let Some((binary, test)) = name.split_once('$') else {
            return name.to_owned();
        };
        // The second try of a test is `test#2`.
        let test = match test.rsplit_once('#') {
            Some((first, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => first,
            Some(_) | None => test,
        };
        format!("{} {test}", self.binaries.get(binary).map_or(binary, String::as_str))
    }

    fn finish(self, exit: &Exit) -> Parsed {
        let complete = self.running.is_empty() && matches!(exit, Exit::Code(0 | TESTS_FAILED));
        let mut tests: Vec<TestResult> = self.tests.into_values().collect();
        for name in self.running {
            let message = format!("the run ended before this test did: {}", ended(exit));
            tests.push(TestResult::failed(name, bounded(&message)));
        }
        Parsed { tests, diagnostics: Vec::new(), complete }
    }
}

impl Binary {
    fn id(&self) -> String {
        match self.kind.as_str() {
            "lib" | "proc-macro" => self.package.clone(),
            "test" => format!("{}::{}", self.package, self.target),
            kind => format!("{}::{kind}/{}", self.package, self.target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcomes;
    use super::*;

    #[test]
    fn ids_name_the_kind_of_binary() {
        let mut report = Report::default();
        let lines = r#"{"type":"suite","event":"started","test_count":2,"nextest":{"crate":"tally-up","test_binary":"tally_up","kind":"lib"}}
{"type":"test","event":"started","name":"tally-up::tally_up$tests::errs"}
{"type":"test","event":"started","name":"tally-up::tally_up$tests::slow"}
{"type":"test","event":"ignored","name":"tally-up::tally_up$tests::slow"}
{"type":"suite","event":"started","test_count":4,"nextest":{"crate":"tally-up","test_binary":"abort","kind":"test"}}
{"type":"test","event":"started","name":"tally-up::abort$b_aborts"}
{"type":"test","event":"failed","name":"tally-up::tally_up$tests::errs","exec_time":0.009759456,"stdout":"Error: \"no\"\n"}
{"type":"suite","event":"failed","passed":0,"failed":1,"ignored":1,"measured":0,"filtered_out":0,"exec_time":0.170456614,"nextest":{"crate":"tally-up","test_binary":"tally_up","kind":"lib"}}
{"type":"test","event":"failed","name":"tally-up::abort$b_aborts","exec_time":0.40553755,"stdout":"bye\n"}
{"type":"suite","event":"started","test_count":1,"nextest":{"crate":"tally-up","test_binary":"tally-up","kind":"bin"}}
{"type":"test","event":"started","name":"tally-up::tally-up$in_bin"}
{"type":"test","event":"ok","name":"tally-up::tally-up$in_bin","exec_time":0.007024036}
{"type":"test","event":"started","name":"tally-up::abort$d_sleeps"}"#;
        for line in lines.lines() {
            report.feed(line, |_| None);
        }
        let parsed = report.finish(&Exit::TimedOut(5));
        assert_eq!(
            outcomes(&parsed),
            "tally-up tests::errs failed, tally-up tests::slow skipped, tally-up::abort b_aborts failed, \
             tally-up::bin/tally-up in_bin passed, tally-up::abort d_sleeps failed"
        );
        assert!(!parsed.complete);
        assert_eq!(parsed.tests[0].message, "Error: \"no\"");
    }
}
