//! Every fixture goes from red to green through the real binary, the real toolchain and a scripted model that
//! answers wrong once and right the second time; where rustc's own suggestions suffice, through the embedded
//! engine.

use std::collections::BTreeSet;
use std::path::Path;

use regreen::ledger::Ledger;
use regreen::policy;
use regreen::record::{Event, Outcome, Record};
use regreen::task::Task;
use regreen::verdict::Verdict;

use crate::{regreen_command, root};

/// One test a fixture, so that they run side by side and fail apart.
macro_rules! fixtures {
    ($($test:ident: $folder:literal),+ $(,)?) => {
        const FIXTURES: &[&str] = &[$($folder),+];
        $(#[test]
        fn $test() {
            check($folder);
        })+
    };
}

fixtures! {
    cmake_calc: "cmake-calc",
    cmake_ringlog: "cmake-ringlog",
    generic_exit_perl: "generic-exit-perl",
    generic_junit_perl: "generic-junit-perl",
    generic_tap_sh: "generic-tap-sh",
    go_lru: "go-lru",
    go_semver: "go-semver",
    java_gradle_matrix: "java-gradle-matrix",
    java_gradle_wrap: "java-gradle-wrap",
    java_maven_compile: "java-maven-compile",
    java_maven_csv: "java-maven-csv",
    java_maven_ledger: "java-maven-ledger",
    js_jest_lru: "js-jest-lru",
    js_jest_template: "js-jest-template",
    js_mocha_csv: "js-mocha-csv",
    js_mocha_router: "js-mocha-router",
    js_node_emitter: "js-node-emitter",
    js_node_query: "js-node-query",
    js_vitest_allocate: "js-vitest-allocate",
    make_b64: "make-b64",
    make_wc: "make-wc",
    py_pytest_ini: "py-pytest-ini",
    py_pytest_ratelimit: "py-pytest-ratelimit",
    py_pytest_router: "py-pytest-router",
    py_unittest_graph: "py-unittest-graph",
    py_unittest_wrap: "py-unittest-wrap",
    rust_cargo_interval: "rust-cargo-interval",
    rust_cargo_money: "rust-cargo-money",
    rust_compile_import: "rust-compile-import",
    rust_compile_mutability: "rust-compile-mutability",
    rust_nextest_cron: "rust-nextest-cron",
    rust_nextest_ring: "rust-nextest-ring",
    ts_compile_router: "ts-compile-router",
    ts_node_money: "ts-node-money",
    ts_vitest_tokenizer: "ts-vitest-tokenizer",
}

#[test]
fn every_fixture_has_its_test() {
    let folders = std::fs::read_dir(root().join("fixtures")).unwrap().map(Result::unwrap);
    let folders: BTreeSet<String> = folders
        .filter(|entry| entry.path().join("task.toml").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(folders, FIXTURES.iter().map(|name| (*name).to_owned()).collect());
}

/// Runs a fixture and asserts that it ends green, with exactly the targets that its task names.
fn check(name: &str) {
    let folder = root().join("fixtures").join(name);
    let replies = folder.join("replies");
    let model = if replies.is_dir() { format!("replay:{}", replies.display()) } else { "repair".to_owned() };
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("runs");
    // Go's library is compiled once for all.
    let cache = if name.starts_with("go-") { crate::cache() } else { scratch.path().join("cache") };
    // A mutant of Java costs a whole run of its build tool.
    let mutants = if name.starts_with("java-") && name != "java-maven-csv" { "0" } else { "2" };
    let finished = regreen_command()
        .args(["fix", &format!("fixtures/{name}"), "--model", &model, "--patch", "-", "--mutants", mutants])
        .args([Path::new("--out"), &out, Path::new("--cache"), &cache])
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&finished.stderr);
    if missing_tool(name, finished.status.code(), &said) {
        return;
    }
    assert_eq!(finished.status.code(), Some(0), "{name}:\n{said}");
    let run = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    let records = Ledger::read(&run).unwrap();
    let text = std::fs::read_to_string(folder.join("task.toml")).unwrap();
    let task: Task = toml::from_str(&text).unwrap();
    check_story(name, &task, &records, replies.is_dir(), &said);
    assert!(finished.stdout.starts_with(b"diff --git "), "{name}: no patch on stdout");
    if cache.starts_with(scratch.path()) {
        let left = std::fs::read_dir(cache).unwrap().count();
        assert_eq!(left, 1, "{name}: a scratch folder is left beside the lock");
    }
}

fn check_story(name: &str, task: &Task, records: &[Record], scripted: bool, said: &str) {
    let attempts = policy::attempts(records);
    if scripted {
        let verdicts: Vec<bool> =
            attempts.iter().map(|attempt| matches!(attempt.verdict, Some(Verdict::Green(_)))).collect();
        assert_eq!(
            verdicts,
            [false, true],
            "{name}: the wrong reply must be red and the right one green\n{said}"
        );
    }
    let Some(Event::Ended { outcome: Outcome::Green { evidence, .. }, .. }) =
        records.last().map(|r| &r.event)
    else {
        panic!("{name}: the ledger does not end green\n{said}");
    };
    let fixed: BTreeSet<&String> = evidence.fixed.iter().filter(|id| !id.starts_with("build (")).collect();
    assert_eq!(fixed, task.fail_to_pass.iter().collect(), "{name}");
    assert_eq!(evidence.runs, 2, "{name}: green was not confirmed");
}

/// A toolchain that is not installed skips its fixtures loudly, and fails them where `CI` is set.
fn missing_tool(name: &str, status: Option<i32>, said: &str) -> bool {
    let missing = status == Some(4) && said.contains("which is not installed");
    if missing && std::env::var_os("CI").is_none() {
        eprintln!("SKIPPED {name}: its toolchain is not installed\n{said}");
        return true;
    }
    false
}
