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
fn solved(folder: &Path, set: &str, more: &[&str]) -> Value {
    let models = ["--model", "gold", "--model", "empty", "--run", "run", "--cache", "cache"];
    let how = ["--setup-network", "off"];
    let done = regreen(&[["bench", set].as_slice(), &models, &how, more].concat(), folder);
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
    assert_eq!(solved(place.path(), "python", &[]), Value::from(vec![1, 0]));
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

#[test]
fn a_task_of_harbors_is_run_in_its_image_and_what_cannot_be_run_is_left_out_with_its_reason() {
    // Not `/tmp`, of which every box has its own.
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let image = "regreen-test-harbor";
    let Some(engine) = crate::attacks::import(image, place.path(), &[("app/add.sh", "echo $(($1 - $2))\n")])
    else {
        return;
    };
    let task = |name: &str, environment: &str| {
        let toml = format!(
            "schema_version = \"1.4\"\n[task]\nname = \"test/{name}\"\n[environment]\n{environment}\n"
        );
        write(
            &place.path().join("set").join(name),
            &[
                ("task.toml", toml.as_str()),
                ("instruction.md", "Sums are wrong.\n"),
                ("environment/Dockerfile", "FROM scratch\nCOPY app /app\n"),
                ("tests/expected", "5\n"),
                (
                    "tests/test.sh",
                    "#!/bin/sh\ncd /app\nif [ \"$(sh add.sh 2 3)\" = \"$(cat /tests/expected)\" ]; then\n  echo 1 > /logs/verifier/reward.txt\nelse\n  echo 0 > /logs/verifier/reward.txt\nfi\n",
                ),
                ("solution/right.sh", "echo $(($1 + $2))\n"),
                ("solution/solve.sh", "#!/bin/sh\ncat /solution/right.sh > /app/add.sh\n"),
            ],
        );
    };
    task("sums", &format!("docker_image = \"{image}\"\nworkdir = \"/app\""));
    task("built", "cpus = 1");
    task("elsewhere", "docker_image = \"regreen-test-not-there\"\nworkdir = \"/app\"");
    let engine = ["--engine", engine];
    assert_eq!(solved(place.path(), "set", &engine), Value::from(vec![1, 0]));
    let checked = ["bench", "validate", "set", "--times", "1", "--cache", "cache"];
    let checked = regreen(&[checked.as_slice(), &engine].concat(), place.path());
    assert_eq!(checked.status.code(), Some(6), "{}", String::from_utf8_lossy(&checked.stderr));
    let proofs = fs::read_to_string(place.path().join("set.proofs.jsonl")).unwrap();
    for (task, fault) in [
        ("sums", "[]"),
        ("built", "left out: it names no docker_image"),
        ("elsewhere", "left out: its image regreen-test-not-there is not on this machine"),
    ] {
        let proof = proofs.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let proof = proof.into_iter().find(|proof| proof["task"] == task).unwrap();
        assert!(proof["faults"].to_string().contains(fault), "{proof}");
    }
}
