//! `go test -json`, one object a line on stdout. Ids are `import/path.TestName/sub`. What the compiler says
//! comes as `build-output`; a package that fails although no test of it did (a panic in `init`, an exit in
//! `TestMain`) becomes a diagnostic.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use anyhow::Result;
use regex::Regex;
use serde::Deserialize;

use super::{LINE, MESSAGE, bounded, ended};
use crate::diagnostic::{Diagnostic, Location};
use crate::process::Finished;
use crate::text;
use crate::toolchain::Parsed;
use crate::toolchain::compilers::go;
use crate::toolchain::place::Place;
use crate::verdict::{Exit, Outcome, TestResult};

/// What the compiler said is kept up to this many bytes.
const BUILD: usize = 1 << 20;

/// Frames kept of one test.
const FRAMES: usize = 32;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    action: String,
    #[serde(default)]
    package: String,
    #[serde(default)]
    test: String,
    #[serde(default)]
    output: String,
    #[serde(default)]
    elapsed: f64,
    #[serde(default)]
    failed_build: Option<String>,
}

/// Reads what `go test -json` printed.
pub fn read(finished: &Finished, place: &Place) -> Result<Parsed> {
    let mut report = Report::default();
    finished.stdout.lines(LINE, |line| report.feed(line, place))?;
    Ok(report.finish(&finished.exit, place))
}

#[derive(Debug, Default)]
struct Report {
    /// Tests that have begun, by package and name, with what they wrote.
    running: BTreeMap<(String, String), String>,
    /// What packages wrote outside their tests.
    packages: BTreeMap<String, String>,
    tests: BTreeMap<String, TestResult>,
    build: String,
    diagnostics: Vec<Diagnostic>,
    /// Packages that began and did not end.
    open: usize,
}

impl Report {
    fn feed(&mut self, line: &[u8], place: &Place) {
        let Ok(event) = serde_json::from_slice::<Event>(line) else {
            return;
        };
        let key = (event.package.clone(), event.test.clone());
        match (event.action.as_str(), event.test.is_empty()) {
            ("build-output", _) if self.build.len() < BUILD => self.build.push_str(&event.output),
            ("start", _) => self.open += 1,
            ("run", false) => {
                self.running.entry(key).or_default();
            }
            ("output", false) => keep(self.running.entry(key).or_default(), &event.output),
            ("output", true) => keep(self.packages.entry(event.package).or_default(), &event.output),
            ("pass" | "fail" | "skip", false) => {
                let output = self.running.remove(&key).unwrap_or_default();
                let outcome = match event.action.as_str() {
                    "pass" => Outcome::Passed,
                    "fail" => Outcome::Failed,
                    _ => Outcome::Skipped,
                };
                self.take(&key, outcome, &output, event.elapsed, place);
            }
            ("pass" | "fail" | "skip", true) => self.end_package(&event, place),
            _ => {}
        }
    }

    fn take(&mut self, key: &(String, String), outcome: Outcome, output: &str, seconds: f64, place: &Place) {
        let mut test = TestResult::new(format!("{}.{}", key.0, key.1), outcome);
        test.seconds = seconds;
        if outcome == Outcome::Failed {
            test.frames = frames(output, &key.0, place);
            test.message = bounded(&words(output));
        }
        crate::verdict::keep_worse(&mut self.tests, test);
    }

    /// A package that ends takes the tests with it that have not ended: one of them ended it.
    fn end_package(&mut self, event: &Event, place: &Place) {
        self.open = self.open.saturating_sub(1);
        let said = self.packages.remove(&event.package).unwrap_or_default();
        let unfinished: Vec<_> = self.running.keys().filter(|key| key.0 == event.package).cloned().collect();
        for key in unfinished {
            let output = self.running.remove(&key).unwrap_or_default();
            let output = format!("{output}the package's tests ended before this test did\n{said}");
            self.take(&key, Outcome::Failed, &output, 0.0, place);
        }
        let prefix = format!("{}.", event.package);
        let has_failure = || {
            let own = self.tests.iter().filter(|(id, _)| id.starts_with(&prefix));
            own.into_iter().any(|(_, test)| test.outcome == Outcome::Failed)
        };
        if event.action == "fail" && event.failed_build.is_none() && !has_failure() {
            let message = format!("{} failed outside its tests\n{}", event.package, words(&said));
            let location = frames(&said, &event.package, place).into_iter().next();
            self.diagnostics.push(Diagnostic::error(location, bounded(&message)));
        }
    }

    fn finish(mut self, exit: &Exit, place: &Place) -> Parsed {
        let complete = self.open == 0 && self.running.is_empty() && matches!(exit, Exit::Code(_));
        for (key, output) in std::mem::take(&mut self.running) {
            let output = format!("{output}the run ended before this test did: {}\n", ended(exit));
            self.take(&key, Outcome::Failed, &output, 0.0, place);
        }
        let mut diagnostics = go::parse(&self.build, place);
        diagnostics.extend(self.diagnostics);
        Parsed { tests: self.tests.into_values().collect(), diagnostics, complete }
    }
}

/// Appends output; the middle of a long one is dropped.
fn keep(output: &mut String, more: &str) {
    output.push_str(more);
    if output.len() > 4 * MESSAGE {
        *output = text::clip(output, 2 * MESSAGE).into_owned();
    }
}

/// What a test wrote, without the lines that tell its course.
fn words(output: &str) -> String {
    let course = ["=== RUN", "=== PAUSE", "=== CONT", "=== NAME", "--- PASS", "--- SKIP", "FAIL\t", "ok  \t"];
    let kept = output.lines().filter(|line| !course.iter().any(|word| line.trim_start().starts_with(word)));
    kept.collect::<Vec<_>>().join("\n")
}

static LOGGED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s+([^\s:/]+\.go):(\d+):").expect("it is a constant"));

static STACK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\t(\S.*\.go):(\d+)(?: \+0x[0-9a-f]+)?$").expect("it is a constant"));

/// The places in repository files that an output names: those of a panic's stack by their path, those of
/// `t.Errorf` by their name in the package's folder.
fn frames(output: &str, package: &str, place: &Place) -> Vec<Location> {
    let mut frames: Vec<Location> = Vec::new();
    for line in output.lines() {
        let (parts, file) = if let Some(parts) = STACK.captures(line) {
            let file = place.locate(&parts[1]);
            (parts, file)
        } else if let Some(parts) = LOGGED.captures(line) {
            let file = place.find_in_package(package, &parts[1]);
            (parts, file)
        } else {
            continue;
        };
        let (Some(file), Ok(line)) = (file, parts[2].parse()) else {
            continue;
        };
        let location = Location { file, line, column: 0 };
        if frames.len() < FRAMES && !frames.contains(&location) {
            frames.push(location);
        }
    }
    frames
}

impl Place {
    /// A file of a Go package: the longest ending of the import path that is a folder which holds it.
    fn find_in_package(&self, package: &str, file: &str) -> Option<String> {
        let mut rest = package;
        loop {
            if let Some(found) = self.locate_file(&format!("{rest}/{file}")) {
                return Some(found);
            }
            let Some((_, ending)) = rest.split_once('/') else {
                return self.locate_file(file);
            };
            rest = ending;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcomes;
    use super::*;

    fn check(lines: &str, expected: &str, diagnostics: &[&str]) -> Parsed {
        let tree = tempfile::tempdir().unwrap();
        for folder in ["good", "panics"] {
            std::fs::create_dir(tree.path().join(folder)).unwrap();
        }
        std::fs::write(tree.path().join("good/good_test.go"), "").unwrap();
        std::fs::write(tree.path().join("panics/p_test.go"), "").unwrap();
        let place = Place::new(tree.path(), "");
        let lines = lines.replace("/tmp/t1/go", &tree.path().display().to_string());
        let mut report = Report::default();
        lines.lines().for_each(|line| report.feed(line.as_bytes(), &place));
        let parsed = report.finish(&Exit::Code(1), &place);
        assert_eq!(outcomes(&parsed), expected);
        let said = parsed.diagnostics.iter().map(|found| {
            let at = found.location.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{at} {}", found.message.lines().next().unwrap_or_default())
        });
        assert_eq!(said.collect::<Vec<_>>(), diagnostics);
        parsed
    }

    #[test]
    fn subtests_skips_and_failures_are_read() {
        let parsed = check(
            r#"{"Time":"2026-11-23T14:12:49.734211067Z","Action":"start","Package":"example.com/m/good"}
{"Action":"run","Package":"example.com/m/good","Test":"TestAdd"}
{"Action":"output","Package":"example.com/m/good","Test":"TestAdd","Output":"=== RUN   TestAdd\n"}
{"Action":"run","Package":"example.com/m/good","Test":"TestAdd/two/three"}
{"Action":"output","Package":"example.com/m/good","Test":"TestAdd/two/three","Output":"=== RUN   TestAdd/two/three\n"}
{"Action":"output","Package":"example.com/m/good","Test":"TestAdd/two/three","Output":"    good_test.go:5: Add(2, 3) = 5, want 6\n"}
{"Action":"output","Package":"example.com/m/good","Test":"TestAdd/two/three","Output":"--- FAIL: TestAdd/two/three (0.00s)\n"}
{"Action":"fail","Package":"example.com/m/good","Test":"TestAdd/two/three","Elapsed":0}
{"Action":"output","Package":"example.com/m/good","Test":"TestAdd","Output":"--- FAIL: TestAdd (0.00s)\n"}
{"Action":"fail","Package":"example.com/m/good","Test":"TestAdd","Elapsed":0}
{"Action":"run","Package":"example.com/m/good","Test":"TestSkipped"}
{"Action":"skip","Package":"example.com/m/good","Test":"TestSkipped","Elapsed":0}
{"Action":"run","Package":"example.com/m/good","Test":"FuzzAdd/seed#0"}
{"Action":"pass","Package":"example.com/m/good","Test":"FuzzAdd/seed#0","Elapsed":0}
{"Action":"output","Package":"example.com/m/good","Output":"FAIL\texample.com/m/good\t0.004s\n"}
{"Action":"fail","Package":"example.com/m/good","Elapsed":0.004}"#,
            "example.com/m/good.FuzzAdd/seed#0 passed, example.com/m/good.TestAdd failed, \
             example.com/m/good.TestAdd/two/three failed, example.com/m/good.TestSkipped skipped",
            &[],
        );
        let failed = &parsed.tests[2];
        assert!(
            failed.message.starts_with("    good_test.go:5: Add(2, 3) = 5, want 6"),
            "{}",
            failed.message
        );
        assert_eq!(failed.frames[0].to_string(), "good/good_test.go:5");
        assert!(parsed.complete);
    }

    #[test]
    fn a_panic_or_an_exit_fails_the_tests_that_had_not_ended() {
        let parsed = check(
            r#"{"Action":"start","Package":"example.com/m/exits"}
{"Action":"run","Package":"example.com/m/exits","Test":"TestExit"}
{"Action":"output","Package":"example.com/m/exits","Test":"TestExit","Output":"=== RUN   TestExit\n"}
{"Action":"output","Package":"example.com/m/exits","Output":"FAIL\texample.com/m/exits\t0.004s\n"}
{"Action":"fail","Package":"example.com/m/exits","Elapsed":0.004}
{"Action":"start","Package":"example.com/m/panics"}
{"Action":"run","Package":"example.com/m/panics","Test":"TestBoom"}
{"Action":"output","Package":"example.com/m/panics","Test":"TestBoom","Output":"panic: assignment to entry in nil map [recovered, repanicked]\n"}
{"Action":"output","Package":"example.com/m/panics","Test":"TestBoom","Output":"\t/usr/local/go/src/testing/testing.go:1974 +0x232\n"}
{"Action":"output","Package":"example.com/m/panics","Test":"TestBoom","Output":"\t/tmp/t1/go/panics/p_test.go:4 +0x28\n"}
{"Action":"fail","Package":"example.com/m/panics","Test":"TestBoom","Elapsed":0}
{"Action":"fail","Package":"example.com/m/panics","Elapsed":0.005}"#,
            "example.com/m/exits.TestExit failed, example.com/m/panics.TestBoom failed",
            &[],
        );
        assert!(parsed.tests[0].message.contains("ended before"));
        assert_eq!(parsed.tests[1].frames[0].to_string(), "panics/p_test.go:4");
    }

    #[test]
    fn builds_that_fail_and_packages_that_fail_outside_tests_become_diagnostics() {
        check(
            r##"{"ImportPath":"example.com/m/nobuild","Action":"build-output","Output":"# example.com/m/nobuild\n"}
{"ImportPath":"example.com/m/nobuild","Action":"build-output","Output":"nobuild/n.go:2:23: cannot use \"a\" (untyped string constant) as int value in return statement\n"}
{"ImportPath":"example.com/m/nobuild","Action":"build-fail"}
{"Action":"start","Package":"example.com/m/nobuild"}
{"Action":"output","Package":"example.com/m/nobuild","Output":"FAIL\texample.com/m/nobuild [build failed]\n"}
{"Action":"fail","Package":"example.com/m/nobuild","Elapsed":0,"FailedBuild":"example.com/m/nobuild"}
{"Action":"start","Package":"example.com/m/init"}
{"Action":"output","Package":"example.com/m/init","Output":"panic: no\n"}
{"Action":"fail","Package":"example.com/m/init","Elapsed":0.1}
not json"##,
            "",
            &[
                "nobuild/n.go:2:23 cannot use \"a\" (untyped string constant) as int value in return statement",
                " example.com/m/init failed outside its tests",
            ],
        );
    }
}
