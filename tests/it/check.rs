//! How strong tests are: `regreen check` of a repository, and what a green says of the lines that it changed. The
//! repository is a Python program with one function that is tested well and one that is hardly tested.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::{regreen_command, root};

const PRODUCT: &str = "def clamp(value, low, high):
    if value < low:
        return low
    if value > high:
        return high
    return value


def fee(amount):
    if amount >= 100:
        return amount * 2
    return 0


def never(x):
    return x + 1
";

const TESTS: &str = "import unittest

from shop import clamp, fee


class Shop(unittest.TestCase):
    def test_clamp(self):
        self.assertEqual([clamp(n, 2, 4) for n in range(1, 6)], [2, 2, 3, 4, 4])

    def test_fee(self):
        self.assertEqual(fee(0), 0)
";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(product: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("repository");
        fs::create_dir(&repository).unwrap();
        git2::Repository::init(&repository).unwrap();
        fs::write(repository.join("shop.py"), product).unwrap();
        fs::write(repository.join("test_shop.py"), TESTS).unwrap();
        Place { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The exit status, stdout and stderr of `regreen COMMAND repository …`.
    fn regreen(&self, command: &str, more: &[&str]) -> (i32, String, String) {
        let finished = regreen_command()
            .args([command, "repository", "--cache"])
            .arg(self.path("cache"))
            .args(["--toolchain", "unittest"])
            .args(more)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (finished.status.code().unwrap(), text(&finished.stdout), text(&finished.stderr))
    }
}

/// The lines of survivors.
fn survivors(strength: &Value) -> Vec<u64> {
    strength["survivors"].as_array().unwrap().iter().map(|one| one["line"].as_u64().unwrap()).collect()
}

#[test]
fn a_check_finds_what_the_tests_let_through() {
    let place = Place::new(PRODUCT);
    let (status, json, said) = place.regreen("check", &["--json", "--runs", "2"]);
    assert_eq!(status, 0, "{said}");
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((report["passing"].as_u64(), report["level"].as_str()), (Some(2), Some("L3")), "{json}");
    assert_eq!(report["seconds"].as_array().unwrap().len(), 2);
    assert_eq!(report["coverage"]["uncovered"]["shop.py"], serde_json::json!([11, 16]), "{json}");
    let strength = &report["strength"];
    let (tried, killed) = (strength["tried"].as_u64().unwrap(), strength["killed"].as_u64().unwrap());
    let lived = survivors(strength);
    assert_eq!(tried - killed, lived.len() as u64);
    assert!(killed >= 5 && lived.contains(&10) && !lived.contains(&3), "{json}");
    let advice = report["advice"].to_string();
    assert!(advice.contains("test shop.py harder") && advice.contains("shop.py:11, 16"), "{advice}");
}

#[test]
fn a_check_of_a_red_repository_says_so_and_a_level_out_of_reach_is_a_status() {
    let place = Place::new(&PRODUCT.replace("value < low", "value > low"));
    let (status, told, said) = place.regreen("check", &["--runs", "1", "--mutants", "0", "--level", "L5"]);
    assert_eq!(status, 7, "{said}");
    assert!(told.contains("it is red already") && told.contains("--held-out"), "{told}");
    fs::remove_file(place.path("repository/test_shop.py")).unwrap();
    let (status, _, said) = place.regreen("check", &[]);
    assert!(status == 4 && said.contains("cannot be measured"), "{said}");
}

#[test]
fn a_pass_says_which_changes_of_the_changed_lines_no_test_notices() {
    let place = Place::new(&PRODUCT.replace("return 0", "return 1"));
    let diff = "diff --git a/shop.py b/shop.py\n--- a/shop.py\n+++ b/shop.py\n@@ -9,4 +9,4 @@\n def fee(amount):\n     if \
                amount >= 100:\n-        return amount * 2\n-    return 1\n+        return amount * 3\n+    return 0\n";
    fs::write(place.path("fix.diff"), diff).unwrap();
    let (status, json, said) =
        place.regreen("verify", &["--patch", "fix.diff", "--json", "--sarif", "found.sarif"]);
    assert_eq!(status, 0, "{said}");
    let receipt: Value = serde_json::from_str(&json).unwrap();
    let strength = &receipt["verdict"]["strength"];
    assert!(strength["killed"].as_u64().unwrap() > 0, "{json}");
    let lived = survivors(strength);
    assert!(!lived.is_empty() && lived.iter().all(|line| *line == 11), "{json}");
    assert_eq!(strength["uncovered"], serde_json::json!([{ "file": "shop.py", "line": 11 }]));
    for part in ["add tests at shop.py:11", "no test runs shop.py:11", "estimated leak", "return amount * 3"]
    {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    assert!(strength["leak"]["mistake"].as_f64().is_some_and(|leak| leak > 0.0 && leak < 1.0), "{json}");
    let sarif: Value = serde_json::from_slice(&fs::read(place.path("found.sarif")).unwrap()).unwrap();
    let untested =
        sarif["runs"][0]["results"].as_array().unwrap().iter().find(|one| one["ruleId"] == "untested");
    let region = &untested.unwrap()["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"].as_u64(), Some(11));
    let (status, json, _) = place.regreen("verify", &["--patch", "fix.diff", "--json", "--mutants", "0"]);
    assert!(status == 0 && !json.contains("\"strength\""), "{json}");
}

/// What a compiled language and one with modules say: variants of one build, and no coverage.
fn measured(fixture: &str, patch: &str, killed: u64) {
    let finished = regreen_command()
        .args(["verify", &format!("fixtures/{fixture}"), "--patch", "-", "--json", "--mutants", "6"])
        .args(["--cache".as_ref(), crate::cache().as_path()])
        .current_dir(root())
        .stdin(fs::File::open(root().join(patch)).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&finished.stderr);
    if said.contains("which is not installed") && std::env::var_os("CI").is_none() {
        eprintln!("SKIPPED {fixture}: its toolchain is not installed");
        return;
    }
    assert_eq!(finished.status.code(), Some(0), "{said}");
    let receipt: Value = serde_json::from_slice(&finished.stdout).unwrap();
    let strength = &receipt["verdict"]["strength"];
    assert!(strength["killed"].as_u64().unwrap() >= killed, "{strength}\n{said}");
}

#[test]
fn compiled_languages_are_measured_too() {
    measured("integrity/rust-ratio", "fixtures/integrity/rust-ratio/gold.patch", 2);
    measured("integrity/go-units", "fixtures/integrity/go-units/gold.patch", 2);
}

#[test]
fn javascript_is_measured_too() {
    measured("integrity/js-semver", "fixtures/integrity/js-semver/gold.patch", 2);
}
