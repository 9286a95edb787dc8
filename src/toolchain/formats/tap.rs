//! Test Anything Protocol, versions 12 to 14, on stdout. An id is a test's description, below its parent's
//! for subtests (`parent / child`); a description that comes again gets ` #2`, a test without one its number.

use std::collections::HashMap;
use std::sync::LazyLock;

use anyhow::Result;
use regex::Regex;

use super::{LINE, MESSAGE, bounded};
use crate::diagnostic::Location;
use crate::process::Finished;
use crate::toolchain::Parsed;
use crate::toolchain::place::Place;
use crate::verdict::{Outcome, TestResult};

/// Subtests below this depth are left out.
const DEPTH: usize = 16;

/// Reads what a command printed. A report is whole when every plan is kept and nobody bailed out.
pub fn read(finished: &Finished, place: &Place) -> Result<Parsed> {
    Ok(feed(finished)?.finish(place))
}

/// Likewise, where the output may be something else: without a plan, it is no TAP and holds no test.
pub fn read_if_planned(finished: &Finished, place: &Place) -> Result<Parsed> {
    let report = feed(finished)?;
    if report.levels.first().is_none_or(|level| level.plan.is_none()) {
        return Ok(Parsed::default());
    }
    Ok(report.finish(place))
}

fn feed(finished: &Finished) -> Result<Report> {
    let mut report = Report::default();
    finished.stdout.lines(LINE, |line| report.feed(&super::line_text(line)))?;
    Ok(report)
}

static TEST: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?P<not>not )?ok\b(?: +(?P<number>\d+))?(?: +-)? *(?P<rest>.*)$").expect("it is a constant")
});

static PLAN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^1\.\.(\d+)(?:\s*#.*)?$").expect("it is a constant"));

static DIRECTIVE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:^|\s)#\s*(?:(?P<todo>todo)|(?P<skip>skip\S*))\b.*$").expect("it is a constant")
});

static PLACE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:\bat (?P<file>\S+) line (?P<line>\d+)|(?P<path>[^\s:()]+\.\w+):(?P<number>\d+))")
        .expect("it is a constant")
});

#[derive(Debug, Default)]
struct Report {
    /// The tests of each depth that have no parent yet; the first level has none at all.
    levels: Vec<Level>,
    bailed: Option<String>,
    broken: bool,
}

#[derive(Debug, Default)]
struct Level {
    plan: Option<usize>,
    count: usize,
    tests: Vec<TestResult>,
    /// Whether notes belong to the last test, which failed.
    noting: bool,
    /// What `# Subtest:` announced.
    name: Option<String>,
}

impl Report {
    fn feed(&mut self, line: &str) {
        let text = line.trim_start_matches(' ');
        let depth = (line.len() - text.len()) / 4;
        if text.starts_with("Bail out!") {
            self.bailed.get_or_insert_with(|| text.to_owned());
        } else if let Some(parts) = TEST.captures(text).filter(|_| self.is_level(line, text, depth)) {
            self.take(depth, &parts);
        } else if let Some(parts) = PLAN.captures(text).filter(|_| self.is_level(line, text, depth)) {
            self.level(depth).plan = Some(parts[1].parse().unwrap_or(usize::MAX));
        } else if let Some(name) = text.strip_prefix("# Subtest: ") {
            // Announced either at the parent's depth or at the subtest's own.
            let depth = depth.max(1);
            if depth < DEPTH {
                self.level(depth).name = Some(name.to_owned());
            }
        } else {
            self.note(line);
        }
    }

    /// Whether a line with this indentation is protocol and not part of a note.
    fn is_level(&self, line: &str, text: &str, depth: usize) -> bool {
        (line.len() - text.len()).is_multiple_of(4) && depth < DEPTH && depth <= self.levels.len()
    }

    fn level(&mut self, depth: usize) -> &mut Level {
        while self.levels.len() <= depth {
            self.levels.push(Level::default());
        }
        &mut self.levels[depth]
    }

    fn take(&mut self, depth: usize, parts: &regex::Captures) {
        self.level(depth);
        let deeper = self.levels.split_off(depth + 1);
        let level = &mut self.levels[depth];
        level.count += 1;
        let (description, directive) = split(&parts["rest"]);
        let name = if description.is_empty() {
            let number =
                parts.name("number").map_or_else(|| level.count.to_string(), |n| n.as_str().to_owned());
            format!("test {number}")
        } else {
            description.to_owned()
        };
        let failed = parts.name("not").is_some();
        let outcome = match (directive, failed) {
            (Directive::Skip, _) | (Directive::Todo, true) => Outcome::Skipped,
            (_, true) => Outcome::Failed,
            (_, false) => Outcome::Passed,
        };
        level.noting = outcome == Outcome::Failed;
        for mut below in deeper {
            self.broken |= !below.is_kept();
            for test in &mut below.tests {
                test.id = format!("{name} / {}", test.id);
            }
            level.tests.append(&mut below.tests);
        }
        level.tests.push(TestResult::new(name, outcome));
    }

    /// Adds a line to the message of the test that has just failed.
    fn note(&mut self, line: &str) {
        let Some(level) = self.levels.iter_mut().rev().find(|level| level.count > 0) else {
            return;
        };
        let Some(test) = level.tests.last_mut().filter(|_| level.noting) else {
            return;
        };
        if test.message.len() < MESSAGE {
            test.message.push_str(line.strip_prefix("# ").unwrap_or(line));
            test.message.push('\n');
        }
    }

    fn finish(mut self, place: &Place) -> Parsed {
        let whole = self.bailed.is_none() && !self.broken && self.levels.len() == 1;
        let complete = whole && self.levels[0].is_kept();
        let mut tests = Vec::new();
        let mut parents = String::new();
        for level in &mut self.levels {
            // A parent that never came: the run was cut short in a subtest.
            if let Some(name) = &level.name {
                parents = format!("{parents}{name} / ");
            }
            for mut test in std::mem::take(&mut level.tests) {
                test.id = format!("{parents}{}", test.id);
                tests.push(test);
            }
        }
        let mut numbers: HashMap<String, usize> = HashMap::new();
        for test in &mut tests {
            let number = numbers.entry(test.id.clone()).or_default();
            *number += 1;
            if *number > 1 {
                test.id = format!("{} #{number}", test.id);
            }
            test.frames = place_of(&test.message, place).into_iter().collect();
            test.message = bounded(&test.message);
        }
        Parsed { tests, diagnostics: Vec::new(), complete }
    }
}

impl Level {
    fn is_kept(&self) -> bool {
        self.plan == Some(self.count)
    }
}

enum Directive {
    None,
    Todo,
    Skip,
}

/// A test line's description and its directive. A `\#` is a plain character.
fn split(rest: &str) -> (&str, Directive) {
    let Some(parts) = DIRECTIVE.captures(rest) else {
        return (rest.trim(), Directive::None);
    };
    let directive = if parts.name("todo").is_some() { Directive::Todo } else { Directive::Skip };
    let start = parts.get(0).map_or(rest.len(), |whole| whole.start());
    (rest[..start].trim(), directive)
}

/// The first place in a repository file that a message names.
fn place_of(message: &str, place: &Place) -> Option<Location> {
    PLACE.captures_iter(message).find_map(|parts| {
        let file = parts.name("file").or(parts.name("path"))?.as_str();
        let line = parts.name("line").or(parts.name("number"))?.as_str();
        Some(Location { file: place.locate_file(file)?, line: line.parse().ok()?, column: 0 })
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::outcomes;
    use super::*;

    fn check(text: &str, expected: &str, complete: bool) -> Parsed {
        let mut report = Report::default();
        text.lines().for_each(|line| report.feed(line));
        let parsed = report.finish(&Place::new(Path::new("/nowhere"), ""));
        assert_eq!((outcomes(&parsed).as_str(), parsed.complete), (expected, complete), "{text}");
        parsed
    }

    #[test]
    fn plans_directives_and_descriptions_are_read() {
        let cases = [
            ("1..2\nok 1 - a\nnot ok 2 - b\n", "a passed, b failed", true),
            (
                "TAP version 14\nok 1 - a # SKIP no network\nnot ok 2 - b # TODO later\nok 3 c # todo\n1..3\n",
                "a skipped, b skipped, c passed",
                true,
            ),
            ("1..2\nok\nnot ok\n", "test 1 passed, test 2 failed", true),
            ("1..2\nok 1 - a\nok 2 - a\n", "a passed, a #2 passed", true),
            ("1..3\nok 1 - a\n", "a passed", false),
            ("1..1\nok 1 - a\nok 2 - b\n", "a passed, b passed", false),
            ("ok 1 - a\n", "a passed", false),
            ("1..2\nok 1 - a\nBail out! no database\n", "a passed", false),
            ("1..0 # SKIP nothing to do here\n", "", true),
            ("hello\nokay then\n1..1\nok 1 - x # of 3\n", "x # of 3 passed", true),
            ("", "", false),
        ];
        for (text, expected, complete) in cases {
            check(text, expected, complete);
        }
    }

    #[test]
    fn subtests_stand_below_their_parents() {
        check(
            "TAP version 14\n# Subtest: outer\n    ok 1 - a\n    # Subtest: inner\n        not ok 1 - b\n        1..1\n    not ok 2 - inner\n    1..2\nnot ok 1 - outer\n1..1\n",
            "outer / a passed, outer / inner / b failed, outer / inner failed, outer failed",
            true,
        );
        check("1..1\n    # Subtest: outer\n    1..2\n    ok 1 - a\n", "outer / a passed", false);
        check("1..1\n    1..2\n    ok 1 - a\nok 1 - outer\n", "outer / a passed, outer passed", false);
    }

    #[test]
    fn notes_after_a_failure_are_its_message() {
        let parsed = check(
            "1..2\nnot ok 1 - sum\n  ---\n  message: expected 4\n  got: 5\n  ...\n# Failed test 'sum'\nok 2 - b\n# fine\n",
            "sum failed, b passed",
            true,
        );
        assert_eq!(
            parsed.tests[0].message,
            "  ---\n  message: expected 4\n  got: 5\n  ...\nFailed test 'sum'"
        );
        assert_eq!(parsed.tests[1].message, "");
    }
}
