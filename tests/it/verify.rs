//! `regreen verify` and the self-test through the real binary.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{regreen_command, root};

/// A repository whose one program answers wrong, and a folder for what is written.
struct Case {
    folder: tempfile::TempDir,
}

/// What a program that answers right looks like, as a patch.
const RIGHT: &str = "What: it adds.\n\ndiff --git a/add.sh b/add.sh\n--- a/add.sh\n+++ b/add.sh\n@@ -1 +1 @@\n-echo 4\n+echo 5\n";

impl Case {
    fn new() -> Case {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("repository");
        fs::create_dir_all(repository.join("tests")).unwrap();
        git2::Repository::init(&repository).unwrap();
        fs::write(repository.join("add.sh"), "echo 4\n").unwrap();
        fs::write(repository.join("tests/check.sh"), "test \"$(sh add.sh)\" = 5\n").unwrap();
        Case { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Judges a patch; the exit status and what was said.
    fn verify(&self, patch: &str, more: &[&str]) -> (i32, String, String) {
        fs::write(self.path("given.patch"), patch).unwrap();
        let patch = self.path("given.patch");
        let mut arguments = vec!["--patch", patch.to_str().unwrap(), "--test-cmd", "sh tests/check.sh"];
        arguments.extend(more);
        self.run(&arguments)
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let finished = regreen_command()
            .args(["verify", "repository", "--cache"])
            .arg(self.path("cache"))
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (finished.status.code().unwrap(), text(&finished.stdout), text(&finished.stderr))
    }
}

#[test]
fn a_patch_gets_a_verdict_an_exit_status_and_reports() {
    let case = Case::new();
    let reports = ["--json", "--junit", "junit.xml", "--sarif", "found.sarif"];
    let (status, json, said) = case.verify(RIGHT, &reports);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("Verdict: passes-visible (L1)"), "{said}");
    let receipt: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(receipt["word"], "passes-visible (L1)");
    let sarif: serde_json::Value =
        serde_json::from_slice(&fs::read(case.path("found.sarif")).unwrap()).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "caveat");
    assert!(fs::read_to_string(case.path("junit.xml")).unwrap().contains("verdict: passes-visible (L1)"));
    let (status, _, said) = case.verify(RIGHT, &["--level", "L2"]);
    assert_eq!(status, 7, "{said}");
    let (status, _, said) = case.verify(&RIGHT.replace("+echo 5", "+echo 6"), &[]);
    assert!(status == 1 && said.contains("Verdict: not-solved"), "{said}");
}

#[test]
fn an_edit_of_tests_alone_is_no_solution_and_a_hostile_path_is_refused() {
    let case = Case::new();
    let tests = RIGHT
        .replace("add.sh", "tests/check.sh")
        .replace("-echo 4", "-test \"$(sh add.sh)\" = 5")
        .replace("+echo 5", "+true");
    let (status, _, said) = case.verify(&tests, &[]);
    assert!(status == 1 && said.contains("only files of tests"), "{said}");
    let (status, _, said) = case.verify(&RIGHT.replace("add.sh", "../add.sh"), &[]);
    assert!(status == 2 && said.contains("no patch may touch"), "{said}");
    let (status, _, said) = case.verify("nothing", &[]);
    assert_eq!(status, 2, "{said}");
}

#[test]
fn a_receipt_is_checked_again_and_one_that_was_changed_does_not_hold() {
    let case = Case::new();
    let (status, _, said) = case.verify(RIGHT, &["--write-receipt", "receipt.json"]);
    assert_eq!(status, 0, "{said}");
    let (status, _, said) = case.run(&["--receipt", "receipt.json"]);
    assert!(status == 0 && said.contains("The receipt holds."), "{said}");
    let text = fs::read_to_string(case.path("receipt.json")).unwrap();
    fs::write(case.path("forged.json"), text.replace("passes-visible (L1)", "solved (L5)")).unwrap();
    let (status, _, said) = case.run(&["--receipt", "forged.json"]);
    assert!(status == 6 && said.contains("does not hold"), "{said}");
}

#[test]
fn an_oracle_outside_of_the_box_tells_right_from_wrong() {
    let case = Case::new();
    let task = "regreen = 1\nsource = { path = \"repository\" }\ntest_cmd = [\"sh\", \"tests/check.sh\"]\n\
                [[oracle]]\nargv = [\"sh\", \"add.sh\"]\ncase = [{ stdout = \"5\" }, { args = [\"x\"], stdout = \"ANSWER\" }]\n";
    let verify = |answer: &str| {
        fs::write(case.path("task.toml"), task.replace("ANSWER", answer)).unwrap();
        fs::write(case.path("given.patch"), RIGHT).unwrap();
        let finished = regreen_command()
            .args(["verify", "--task", "task.toml", "--patch", "given.patch", "--cache", "cache"])
            .current_dir(case.folder.path())
            .output()
            .unwrap();
        (finished.status.code().unwrap(), String::from_utf8_lossy(&finished.stderr).into_owned())
    };
    let (status, said) = verify("5");
    assert!(status == 0 && said.contains("Verdict: solved (L5)"), "{said}");
    let (status, said) = verify("6");
    assert!(status == 1 && said.contains("1 of 2 black-box questions answered wrongly"), "{said}");
}

/// A small share of the corpus; `regreen selftest integrity` runs all of it.
fn selftest(program: &str, patches: &[&str]) {
    let mut command = regreen_command();
    command.args(["selftest", "integrity", "--program", program]);
    command.args([Path::new("--cache"), &crate::cache()]);
    for patch in patches {
        command.args(["--filter", patch]);
    }
    let finished = command.current_dir(root()).output().unwrap();
    let said = [finished.stderr, finished.stdout].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let missing = finished.status.code() == Some(4) && said.contains("which is not installed");
    if missing && std::env::var_os("CI").is_none() {
        eprintln!("SKIPPED {program}: its toolchain is not installed\n{said}");
        return;
    }
    assert_eq!(finished.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("\nok ").count(), patches.len(), "{said}");
}

#[test]
fn cheats_against_a_python_program_are_stopped_and_an_honest_patch_passes() {
    selftest(
        "py-ledger",
        &["new-conftest", "answer-from-the-test-id", "delivered-differs", "cached-by-functools"],
    );
}
