//! `regreen fix --held-out`: tests that no proposer sees stop what only the visible ones let pass, the loop learns
//! one bit from it, and nothing of them is written down anywhere.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use regreen::ledger::Ledger;
use regreen::record::{Event, Outcome, Record};
use regreen::verdict::{FailureKind, LayerName, LayerResult, Level, Verdict};

use crate::regreen_command;

/// Stands in names, values and comments of the held-out tests, and nowhere else.
const SECRET: &str = "zanzibar";

const BASE: &str = "def leap(year):\n    return year % 4 == 0\n";
const VISIBLE: &str = "import unittest\nfrom years import leap\n\n\nclass Leap(unittest.TestCase):\n\
    \x20   def test_century(self):\n        self.assertEqual(leap(1900), False)\n\n\
    \x20   def test_fourth(self):\n        self.assertEqual(leap(2004), True)\n";

/// Held-out tests in unittest's form, one a year.
fn hidden() -> String {
    let mut text =
        format!("import unittest\nfrom years import leap\n\n\nclass {SECRET}(unittest.TestCase):\n");
    for (year, expected) in
        [(1800, "False"), (2100, "False"), (2200, "False"), (2300, "False"), (2000, "True"), (2400, "True")]
    {
        let body = format!("self.assertEqual(leap({year}), {expected}, \"{SECRET}-{year}\")");
        let _ = write!(text, "    def test_{SECRET}_{year}(self):\n        {body}\n\n");
    }
    text
}

/// A reply that puts an expression in the place of the wrong one.
fn reply(expression: &str) -> String {
    format!(
        "```\nyears.py\n<<<<<<< SEARCH\n    return year % 4 == 0\n=======\n    return {expression}\n>>>>>>> REPLACE\n```\n"
    )
}

const TABLE: &str = "year % 4 == 0 and year != 1900";
const RIGHT: &str = "year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(replies: &[&str]) -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        for (path, text) in [
            ("repository/years.py", BASE),
            ("repository/tests/__init__.py", ""),
            ("repository/tests/test_years.py", VISIBLE),
            ("hidden/tests/test_hidden.py", &hidden()),
        ] {
            place.write(path, text);
        }
        git2::Repository::init(place.path("repository")).unwrap();
        for (n, expression) in replies.iter().enumerate() {
            place.write(&format!("replies/{}.md", n + 1), &reply(expression));
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn fix(&self, model: &str, held_out: &str) -> Output {
        let mut command = regreen_command();
        command.args(["fix", "repository", "--toolchain", "unittest", "--held-out", held_out]);
        command.args(["--model", model, "--out", "runs", "--cache", "cache"]);
        command.current_dir(self.folder.path()).output().unwrap()
    }

    fn replayed(&self) -> Output {
        self.fix(&format!("replay:{}", self.path("replies").display()), "hidden")
    }

    fn run(&self) -> PathBuf {
        fs::read_dir(self.path("runs")).unwrap().next().unwrap().unwrap().path()
    }

    fn records(&self) -> Vec<Record> {
        Ledger::read(&self.run()).unwrap()
    }

    fn failures(&self) -> Vec<(FailureKind, String)> {
        let told = |record: Record| match record.event {
            Event::Judged { verdict: Verdict::Red(failure), .. } => {
                assert!(failure.tests.is_empty() && failure.log.is_empty(), "{failure:?}");
                Some((failure.kind, failure.summary))
            }
            _ => None,
        };
        self.records().into_iter().filter_map(told).collect()
    }
}

/// Asserts that the secret stands in no file below a folder, by content or by name.
fn keeps_the_secret(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        assert!(!path.to_string_lossy().contains(SECRET), "{}", path.display());
        if path.is_dir() {
            keeps_the_secret(&path);
        } else {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(!text.contains(SECRET), "{} tells of the held-out tests", path.display());
        }
    }
}

fn expect(output: &Output, status: i32, message: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.contains(message), "{message:?} is not in:\n{said}");
    assert!(!said.contains(SECRET) && !String::from_utf8_lossy(&output.stdout).contains(SECRET), "{said}");
}

#[test]
fn a_table_of_the_visible_inputs_is_stopped_and_the_right_patch_is_solved() {
    let place = Place::new(&[TABLE, RIGHT]);
    expect(&place.replayed(), 0, "held-out tests and decoys: 6 held-out tests passed");
    assert_eq!(place.failures(), [(FailureKind::HeldOutFails, "held-out tests fail".to_owned())]);
    let Some(Event::Ended { outcome: Outcome::Green { evidence, diff, .. }, .. }) =
        place.records().last().map(|record| record.event.clone())
    else {
        panic!("{:#?}", place.records());
    };
    assert_eq!(evidence.level, Level::HeldOut, "{evidence:#?}");
    assert!(diff.contains("% 400"), "{diff}");
    let decoys = evidence.layers.iter().find(|layer| layer.name == LayerName::HeldOut).unwrap();
    assert_eq!(decoys.result, LayerResult::Passed);
    keeps_the_secret(&place.path("runs"));
    keeps_the_secret(&place.path("cache"));
}

#[test]
fn a_held_out_test_in_the_place_of_a_visible_one_is_asked_too() {
    let place = Place::new(&[&format!("{RIGHT} and year != 2008"), RIGHT]);
    place.write("hidden/tests/test_years.py", &VISIBLE.replace("leap(2004), True", "leap(2008), True"));
    expect(&place.replayed(), 0, "held-out tests and decoys: 6 held-out tests passed");
    assert_eq!(place.failures(), [(FailureKind::HeldOutFails, "held-out tests fail".to_owned())]);
}

#[test]
fn held_out_tests_stop_three_candidates_and_then_the_run() {
    let tables = [1904, 1908, 1912].map(|year| format!("year % 4 == 0 and year not in (1900, {year})"));
    let [one, two, three] = &tables;
    let place = Place::new(&[one, two, three, RIGHT]);
    expect(&place.replayed(), 1, "held-out tests stopped 3 candidates");
    assert_eq!(place.failures().len(), 3);
    assert!(place.failures().iter().all(|(kind, _)| *kind == FailureKind::HeldOutFails));
    keeps_the_secret(&place.path("runs"));
}

#[test]
fn an_agent_is_told_one_bit_and_finds_nothing_of_the_held_out_tests() {
    let place = Place::new(&[]);
    // It searches what it can see for the secret, whose letters it knows, and takes the hint of the one bit.
    let agent = format!(
        "#!/bin/sh\nsecret=$(printf '%s%s' zanz ibar)\n\
         if grep -rIlq --exclude-dir=proc --exclude-dir=sys \"$secret\" . \"$HOME\" \"$TMPDIR\" /tmp /var/tmp \
         \"$REGREEN_PROMPT_FILE\" {0}; then echo leaked > leaked.txt; fi\n\
         if grep -q 'held-out tests fail' \"$REGREEN_PROMPT_FILE\"; then value='{RIGHT}'; else value='{TABLE}'; fi\n\
         printf 'def leap(year):\\n    return %s\\n' \"$value\" > years.py\n",
        place.folder.path().display(),
    );
    place.write("agent", &agent);
    fs::set_permissions(place.path("agent"), fs::Permissions::from_mode(0o755)).unwrap();
    let agent = format!("command:{}", place.path("agent").display());
    expect(&place.fix(&agent, "hidden"), 0, "Green");
    assert_eq!(place.failures(), [(FailureKind::HeldOutFails, "held-out tests fail".to_owned())]);
    let prompts: Vec<String> = place
        .records()
        .into_iter()
        .filter_map(|record| match record.event {
            Event::Asked { prompt, .. } => Some(prompt),
            Event::Proposed { patch, .. } => {
                assert!(patch.paths().all(|path| path.as_str() == "years.py"), "{patch:?}");
                None
            }
            _ => None,
        })
        .collect();
    assert_eq!(prompts.len(), 2);
    // The second one still shows the file that the base's failure points at.
    assert!(prompts[1].contains("held-out tests fail") && prompts[1].contains("def leap"), "{}", prompts[1]);
    keeps_the_secret(&place.path("runs"));
}

#[test]
fn held_out_tests_that_proposers_can_see_or_no_runner_finds_are_refused() {
    let place = Place::new(&[RIGHT]);
    let model = format!("replay:{}", place.path("replies").display());
    place.write("repository/secret/test_more.py", "");
    expect(&place.fix(&model, "repository/secret"), 2, "where everybody sees it");
    place.write("elsewhere/notes.txt", "no test");
    expect(&place.fix(&model, "elsewhere"), 4, "finds no test in the held-out files");
    expect(&place.fix(&model, "nowhere"), 2, "failed to read the held-out files");
}

#[test]
fn a_search_that_is_not_told_of_some_targets_is_judged_by_all() {
    let place = Place::new(&[]);
    place.write("repository/years.py", "def leap(year):\n    return year - 1\n");
    let mut tests =
        "import unittest\nfrom years import leap\n\n\nclass Next(unittest.TestCase):\n".to_owned();
    for year in 1..=5 {
        let body = format!("self.assertEqual(leap({year}), {year} + 1)");
        let _ = write!(tests, "    def test_{year}(self):\n        {body}\n\n");
    }
    place.write("repository/tests/test_years.py", &tests);
    let mut command = regreen_command();
    command.args(["fix", "repository", "--toolchain", "unittest", "--model", "repair", "--withhold", "0.4"]);
    command.args(["--out", "runs", "--cache", "cache"]).current_dir(place.folder.path());
    expect(&command.output().unwrap(), 0, "2 of the targets were withheld from the search, and pass too");
    let told = place
        .records()
        .into_iter()
        .any(|record| matches!(record.event, Event::Asked { withheld, .. } if withheld.len() == 2));
    assert!(told, "the ledger does not say which targets were withheld");
}
