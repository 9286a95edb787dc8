//! What `cargo test --doc` prints: rustdoc has no stable JSON, so this reads libtest's text. Ids leave out
//! the line number, which every edit above would change: `src/lib.rs - path::item`, the item's second example
//! `src/lib.rs - path::item #2`.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use anyhow::Result;
use regex::Regex;

use super::{LINE, MESSAGE, bounded};
use crate::diagnostic::Location;
use crate::process::Finished;
use crate::toolchain::Parsed;
use crate::toolchain::place::Place;
use crate::verdict::{Outcome, TestResult};

static TEST: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^test (?P<file>.+?) - (?P<item>.*?) ?\(line (?P<line>\d+)\)(?: - [a-z ]+)? \.\.\. (?P<outcome>ok|FAILED|ignored)")
        .expect("it is a constant")
});

static SECTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^---- (?P<file>.+?) - (?P<item>.*?) ?\(line (?P<line>\d+)\).* stdout ----$")
        .expect("it is a constant")
});

/// The words that make rustdoc run the example of this id and few others; rustdoc splits them at blanks, so
/// there is only one.
pub fn filter(name: &str) -> String {
    let name = name.rsplit_once(" #").map_or(name, |(name, _)| name);
    let item = name.split_once(" - ").map_or(name, |(_, item)| item);
    item.split_whitespace().next_back().unwrap_or(name).to_owned()
}

/// Reads what rustdoc printed.
pub fn read(finished: &Finished, place: &Place) -> Result<Parsed> {
    let mut report = Report::default();
    finished.stdout.lines(LINE, |line| report.feed(&super::line_text(line)))?;
    Ok(report.finish(|path| place.find(path)))
}

/// An example by file, item and line.
type Key = (String, String, u32);

#[derive(Debug, Default)]
struct Report {
    outcomes: BTreeMap<Key, Outcome>,
    messages: HashMap<Key, String>,
    /// Whether failures are being told, where an example may print anything; and which.
    telling: bool,
    section: Option<Key>,
    announced: usize,
    summaries: usize,
    groups: usize,
}

impl Report {
    fn feed(&mut self, line: &str) {
        if line.starts_with("test result: ") {
            self.telling = false;
            self.summaries += 1;
        } else if line == "failures:" {
            self.telling = true;
            self.section = None;
        } else if self.telling {
            if let Some(parts) = SECTION.captures(line) {
                self.section = key(&parts);
            } else if let Some(key) = &self.section {
                let message = self.messages.entry(key.clone()).or_default();
                if message.len() < MESSAGE {
                    message.push_str(line);
                    message.push('\n');
                }
            }
        } else if let Some(parts) = TEST.captures(line) {
            let outcome = match &parts["outcome"] {
                "ok" => Outcome::Passed,
                "FAILED" => Outcome::Failed,
                _ => Outcome::Skipped,
            };
            if let Some(key) = key(&parts) {
                let worst = self.outcomes.get(&key).map_or(outcome, |known| outcome.max(*known));
                self.outcomes.insert(key, worst);
            }
        } else if let Some(count) = line.strip_prefix("running ") {
            let count = count.split(' ').next().and_then(|count| count.parse::<usize>().ok());
            self.announced += count.unwrap_or(0);
            self.groups += 1;
        }
    }

    fn finish(mut self, find: impl Fn(&str) -> Option<String>) -> Parsed {
        let complete =
            self.groups > 0 && self.groups == self.summaries && self.announced == self.outcomes.len();
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut tests = Vec::new();
        // In the order of their lines, which numbers an item's examples.
        for (key, outcome) in self.outcomes {
            let message = self.messages.remove(&key).unwrap_or_default();
            let (file, item, line) = key;
            let name = if item.is_empty() { file.clone() } else { format!("{file} - {item}") };
            let number = numbers.entry(name.clone()).or_default();
            *number += 1;
            let id = if *number == 1 { name } else { format!("{name} #{number}") };
            let mut test = TestResult::new(id, outcome);
            let (message, _) = super::panic::read(&message, |_| None);
            test.message = bounded(&message);
            test.location = find(&file).map(|file| Location { file, line, column: 0 });
            tests.push(test);
        }
        Parsed { tests, diagnostics: Vec::new(), complete }
    }
}

fn key(parts: &regex::Captures) -> Option<Key> {
    Some((parts["file"].to_owned(), parts["item"].to_owned(), parts["line"].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::outcomes;
    use super::*;

    const TEXT: &str = "
running 8 tests
test src/lib.rs - (line 3) ... ok
test src/lib.rs - (line 6) ... FAILED
test src/lib.rs - add (line 16) - compile fail ... ok
test src/lib.rs - add (line 20) - compile ... ok
test src/lib.rs - add (line 24) ... ignored
test src/lib.rs - add (line 12) ... FAILED
test src/lib.rs - add (line 28) ... FAILED
test src/lib.rs - add (line 32) ... FAILED

failures:

---- src/lib.rs - (line 6) stdout ----
Test executable failed (exit status: 101).

stderr:

thread 'main' (27646) panicked at src/lib.rs:5:1:
assertion `left == right` failed
  left: 2
 right: 3


---- src/lib.rs - add (line 28) stdout ----
Test executable succeeded, but it's marked `should_panic`.
---- src/lib.rs - add (line 32) stdout ----
error[E0425]: cannot find function `missing` in crate `tally_up`
test src/lib.rs - add (line 12) ... ok

failures:
    src/lib.rs - (line 6)

test result: FAILED. 3 passed; 4 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.28s
";

    #[test]
    fn examples_are_named_by_item_and_numbered_by_line() {
        let mut report = Report::default();
        TEXT.lines().for_each(|line| report.feed(line));
        let parsed = report.finish(|path| Some(path.to_owned()));
        assert_eq!(
            outcomes(&parsed),
            "src/lib.rs passed, src/lib.rs #2 failed, src/lib.rs - add failed, src/lib.rs - add #2 passed, \
             src/lib.rs - add #3 passed, src/lib.rs - add #4 skipped, src/lib.rs - add #5 failed, \
             src/lib.rs - add #6 failed"
        );
        assert!(parsed.complete);
        assert!(parsed.tests[1].message.contains("thread 'main' panicked"), "{}", parsed.tests[1].message);
        assert_eq!(parsed.tests[5].location.as_ref().unwrap().to_string(), "src/lib.rs:24");
    }

    #[test]
    fn filters_have_no_blanks() {
        for (name, expected) in [
            ("src/lib.rs - a::b #2", "a::b"),
            ("src/lib.rs", "src/lib.rs"),
            ("src/lib.rs - <A as B>::c", "B>::c"),
        ] {
            assert_eq!(filter(name), expected);
        }
    }
}
