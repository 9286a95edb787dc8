//! Sets that others made, in small: each layout becomes tasks that gold solves and empty does not.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::regreen;

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let place = root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }
}

/// Runs gold and empty on a set; what each solved, by task.
fn solved(folder: &Path, set: &str) -> Value {
    let models = ["--model", "gold", "--model", "empty", "--run", "run", "--cache", "cache"];
    let how = ["--setup-network", "off"];
    let done = regreen(&[["bench", set].as_slice(), &models, &how].concat(), folder);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let report = regreen(&["report", "run", "--json"], folder);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let contestants = report["contestants"].as_array().unwrap();
    contestants.iter().map(|one| one["solved"].clone()).collect()
}

#[test]
fn an_exercism_track_becomes_tasks() {
    let place = tempfile::tempdir().unwrap();
    let track = place.path().join("python");
    let config = r#"{"authors": [], "files": {"solution": ["leap.py"], "test": ["leap_test.py"], "example": [".meta/example.py"]}}"#;
    let test = "import unittest\nfrom leap import leap_year\n\n\nclass LeapTest(unittest.TestCase):\n    def test_divisible_by_four(self):\n        self.assertIs(leap_year(1996), True)\n\n    def test_odd(self):\n        self.assertIs(leap_year(2015), False)\n";
    write(
        &track.join("exercises/practice/leap"),
        &[
            (".meta/config.json", config),
            (
                ".meta/example.py",
                "def leap_year(year):\n    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)\n",
            ),
            (".docs/instructions.md", "Say whether a year is a leap year.\n"),
            ("leap.py", "def leap_year(year):\n    pass\n"),
            ("leap_test.py", test),
        ],
    );
    // What is no exercise is left alone.
    write(&track, &[("config.json", "{}"), ("exercises/practice/notes/README.md", "none\n")]);
    assert_eq!(solved(place.path(), "python"), Value::from(vec![1, 0]));
    let plan = fs::read_to_string(place.path().join("run/plan.jsonl")).unwrap();
    assert!(plan.contains("\"task\":\"python/leap\""), "{plan}");
    let results = place.path().join("run/results");
    for result in fs::read_dir(results).unwrap() {
        let ledger = fs::read_to_string(result.unwrap().path().join("ledger.jsonl")).unwrap();
        let started = ledger.lines().next().unwrap();
        assert!(started.contains("Say whether a year is a leap year."), "{started}");
        // Stub, test and pytest's or unittest's own files, and no example.
        assert!(ledger.contains("\"files\":2"), "{ledger}");
    }
}
