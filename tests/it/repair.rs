//! The embedded proposer on real repositories: no key, no network, the real toolchain.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regreen::propose::{Ask, Prompt, Proposal, Proposer};
use regreen::repair::Repair;
use regreen::sandbox::{Host, Level, Sandbox};
use regreen::task::{Source, Task};
use regreen::toolchain::{Profile, detect};
use regreen::verdict::Verdict;
use regreen::verify::{self, Verifier};
use regreen::workspace::{self, Scratch, Workshop};
use regreen::{harness, process};

/// A verifier of a repository, without a box: what is tested is the proposer.
fn verifier(task: Task, repository: &Path, folder: &Path) -> Verifier {
    let scratch = Scratch::new(&folder.join("scratch")).unwrap();
    let source = Source { path: repository.to_str().unwrap().to_owned(), rev: None };
    let base = workspace::take(&source, folder, true, &scratch).unwrap();
    let suites = detect(&base.root, "", &Profile::load(None).unwrap(), &task).unwrap();
    let launchers = folder.join("launchers");
    std::fs::create_dir(&launchers).unwrap();
    harness::write_launchers(&launchers).unwrap();
    Verifier {
        task,
        workshop: Workshop::new(scratch, base),
        sandbox: Sandbox {
            launcher: env!("CARGO_BIN_EXE_regreen").into(),
            ..Sandbox::new(Level::None, host())
        },
        suites,
        launchers,
        setup_network: false,
        deadline: None,
        held_out: None,
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is its own door")]
fn host() -> Host {
    let variable = |name: &str| std::env::var(name).ok();
    let home = PathBuf::from(variable("HOME").unwrap());
    let folder = |name: &str, default: &str| {
        let folder = variable(name).unwrap_or_else(|| home.join(default).display().to_string());
        (name.to_owned(), folder)
    };
    Host {
        path: std::env::split_paths(&variable("PATH").unwrap()).collect(),
        env: [folder("RUSTUP_HOME", ".rustup"), folder("CARGO_HOME", ".cargo")].into(),
        home,
    }
}

/// Asks the proposer, as often as it has something to say, about a repository; returns how often it was asked,
/// what it said of its last candidate, and the verdict on that or the words with which it gave up.
async fn repair(task: Task, repository: &Path) -> (u32, String, Result<Verdict, String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut verifier = verifier(task, repository, folder.path());
    let say = |_: &str| {};
    if let Some(trouble) = verify::prepare(&mut verifier, &say).await.unwrap() {
        panic!("{trouble:?}");
    }
    let baseline = verify::measure(&verifier, &say).await.unwrap().unwrap();
    let (mut proposer, prompt) = (Repair::new(None).unwrap(), Prompt::default());
    let mut failure = verify::failure_of_base(&baseline);
    for attempt in 1..10 {
        let ask = Ask {
            attempt,
            prompt: &prompt,
            baseline: &baseline,
            failure: &failure,
            verifier: &verifier,
            time: Duration::from_mins(10),
        };
        match proposer.propose(&ask).await.unwrap() {
            Proposal::Edits { patch, transcript, .. } => {
                let diff = patch.unified(|path| verifier.workshop.snapshot.file(path).unwrap());
                println!("{transcript}\n{diff}");
                let verdict = verifier.judge(&baseline, &patch, &say).await.unwrap();
                match verdict {
                    Verdict::Red(red) => failure = red,
                    Verdict::Green(_) | Verdict::Rejected { .. } | Verdict::Inconclusive { .. } => {
                        return (attempt, transcript, Ok(verdict));
                    }
                }
            }
            Proposal::Nothing { reason, permanent, .. } => {
                assert!(permanent);
                return (attempt, String::new(), Err(reason));
            }
            Proposal::Reply { text, .. } => panic!("{text}"),
        }
    }
    panic!("it never stops")
}

fn fixture(name: &str) -> (Task, PathBuf) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let task = toml::from_str(&std::fs::read_to_string(folder.join("task.toml")).unwrap()).unwrap();
    (task, folder.join("repo"))
}

/// Whether these programs are installed. Where none may be missing (`CI` is set), fails instead.
#[expect(clippy::disallowed_methods, reason = "a test is its own door")]
fn installed(programs: &[&str]) -> bool {
    let path = host().path;
    let missing: Vec<_> = programs.iter().filter(|program| process::find(program, &path).is_none()).collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED: {missing:?} not installed");
        assert!(std::env::var_os("CI").is_none(), "{missing:?}");
    }
    missing.is_empty()
}

/// Asserts that a fixture turns green.
async fn check(name: &str) {
    let (task, repository) = fixture(name);
    let targets = task.fail_to_pass.clone();
    match repair(task, &repository).await.2 {
        Ok(Verdict::Green(evidence)) => {
            let fixed: BTreeSet<_> = evidence.fixed;
            assert!(targets.is_subset(&fixed), "{fixed:?}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn what_rustc_is_sure_of_is_applied() {
    check("rust-compile-mutability").await;
}

#[tokio::test]
async fn what_rustc_supposes_is_tried() {
    check("rust-compile-import").await;
}

#[tokio::test]
async fn words_of_javac_are_understood() {
    if installed(&["mvn", "javac"]) {
        check("java-maven-compile").await;
    }
}

/// Writes files into a folder.
fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// Repairs a repository of these files; `Ok` holds how many candidates it took.
async fn repair_files(files: &[(&str, &str)]) -> Result<u32, String> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    let task = Task { regreen: 1, ..Task::default() };
    let (attempts, _, outcome) = repair(task, folder.path()).await;
    outcome.map(|verdict| {
        assert!(matches!(verdict, Verdict::Green(_)), "{verdict:?}");
        attempts
    })
}

/// Repairs a crate with this library and a test.
async fn repair_crate(lib: &str, test: &str) -> Result<u32, String> {
    let test = format!("#[test]\nfn it_holds() {{\n    {test}\n}}\n");
    repair_files(&[
        ("Cargo.toml", "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
        ("Cargo.lock", "version = 4\n\n[[package]]\nname = \"small\"\nversion = \"0.1.0\"\n"),
        ("src/lib.rs", lib),
        ("tests/it.rs", &test),
    ])
    .await
}

#[tokio::test]
async fn a_guess_that_builds_and_fails_the_tests_is_followed_by_the_next() {
    // One letter from two names: only the tests know which is meant.
    let lib = "const TWA: u32 = 3;\nconst TWO: u32 = 2;\n\npub fn two() -> u32 {\n    TWX\n}\n";
    assert_eq!(repair_crate(lib, "assert_eq!(small::two(), 2);").await, Ok(2));
}

#[tokio::test]
async fn where_the_compiler_offers_nothing_the_proposer_says_so() {
    let lib = "pub fn two() -> u32 {\n    frobnicate_the_widget()\n}\n";
    let reason = repair_crate(lib, "assert_eq!(small::two(), 2);").await.unwrap_err();
    assert!(reason.contains("no message of the compiler offers an edit"), "{reason}");
    assert!(reason.contains("--model"), "{reason}");
}

#[tokio::test]
async fn what_clippy_suspects_is_tried() {
    if !installed(&["cargo-clippy"]) {
        return;
    }
    let lib = "pub fn is_small(c: char) -> bool {\n    ('a'..'z').contains(&c)\n}\n";
    assert_eq!(repair_crate(lib, "assert!(small::is_small('z'));").await, Ok(1));
}

#[tokio::test]
async fn messages_of_go_in_words_are_understood() {
    if !installed(&["go"]) {
        return;
    }
    let test = "package small\n\nimport \"testing\"\n\nfunc TestShout(t *testing.T) {\n\tif Shout(\"a\") != \"A\" {\n\t\tt.Fail()\n\t}\n}\n";
    let code = "package small\n\nimport (\n\t\"fmt\"\n)\n\nfunc Shout(text string) string {\n\tlength := len(text)\n\treturn strings.ToUpper(txt)\n}\n";
    let files = [("go.mod", "module small\n\ngo 1.20\n"), ("small.go", code), ("small_test.go", test)];
    assert_eq!(repair_files(&files).await, Ok(1));
}

#[tokio::test]
async fn two_mistakes_of_one_go_file_are_mended_as_variants_of_one_build() {
    if !installed(&["go"]) {
        return;
    }
    let code = "package small\n\nfunc Less(a, b int) bool {\n\treturn a > b\n}\n\nfunc Twice(n int) int {\n\treturn n + 2\n}\n";
    let test = "package small\n\nimport \"testing\"\n\nfunc TestLess(t *testing.T) {\n\tif !Less(1, 3) || Less(3, 3) {\n\t\tt.Fail()\n\t}\n}\n\nfunc TestTwice(t *testing.T) {\n\tif Twice(5) != 10 {\n\t\tt.Fail()\n\t}\n}\n";
    let files = [("go.mod", "module small\n\ngo 1.20\n"), ("small.go", code), ("small_test.go", test)];
    assert_eq!(repair_files(&files).await, Ok(1));
}

#[tokio::test]
async fn hints_in_python_tracebacks_are_taken() {
    if !installed(&["python3", "pytest"]) {
        return;
    }
    let test = "from small import shout\n\n\ndef test_shout():\n    assert shout('a') == 'A'\n";
    let code = "def shout(text):\n    return txt.upper()\n";
    let files =
        [("small.py", code), ("tests/test_small.py", test), ("pytest.ini", "[pytest]\npythonpath = .\n")];
    assert_eq!(repair_files(&files).await, Ok(1));
}

#[tokio::test]
async fn a_comparison_that_is_off_by_one_is_mended_in_warm_unittest_processes() {
    if installed(&["python3"]) {
        check("py-unittest-wrap").await;
    }
}

#[tokio::test]
async fn a_function_that_is_mistaken_for_its_sibling_is_mended_in_warm_pytest_processes() {
    if installed(&["python3", "pytest"]) {
        check("py-pytest-ini").await;
    }
}

#[tokio::test]
async fn an_edit_that_keeps_what_is_known_comes_first_and_one_that_errs_is_none() {
    if !installed(&["python3", "pytest"]) {
        return;
    }
    let code = "import math\n\n\ndef sort(code):\n    if code == 3:\n        return 'bad'.strip()\n    return 'good'\n\n\n\
        def area(side):\n    return math.pow(side, 3)\n";
    let test = "from small import area, sort\n\n\ndef test_bad():\n    assert sort(4) == sort(5) == 'bad'\n\n\n\
        def test_some():\n    assert sort(1) in ('good', 'bad')\n\n\n\
        def test_area():\n    try:\n        assert area(3) == 9\n    except AttributeError:\n        pass\n";
    let folder = tempfile::tempdir().unwrap();
    let files =
        [("small.py", code), ("tests/test_small.py", test), ("pytest.ini", "[pytest]\npythonpath = .\n")];
    for (target, known, mended, wanted, unwanted) in [
        ("test_bad", "pow(side, 3)", "pow(side, 2)", "code >= 3", None),
        ("test_area", "code == 3", "code >= 3", "pow(side, 2)", Some("math.strip")),
    ] {
        let code = code.replace(known, mended);
        let folder = folder.path().join(target);
        std::fs::create_dir(&folder).unwrap();
        write(&folder, &[("small.py", &code), files[1], files[2]]);
        let task = Task { regreen: 1, ..Task::default() };
        let (_, transcript, outcome) = repair(task, &folder).await;
        assert!(matches!(outcome, Ok(Verdict::Green(_))), "{outcome:?}");
        let first = transcript.lines().next().unwrap();
        assert!(first.contains(wanted), "{transcript}");
        assert_eq!(first.contains("does as before for 1 of 1 input"), unwanted.is_none(), "{transcript}");
        assert!(unwanted.is_none_or(|unwanted| !transcript.contains(unwanted)), "{transcript}");
    }
}

#[tokio::test]
async fn what_examples_in_docstrings_contradict_comes_last() {
    if !installed(&["python3", "pytest"]) {
        return;
    }
    let code = "def fee(age):\n    \"\"\"\n    >>> fee(9)\n    20\n    >>> fee(5)\n    20\n    \"\"\"\n    if age == 3:\n        return 10\n    return 20\n";
    let test = "from small import fee\n\n\ndef test_fee():\n    assert fee(1) == 10\n\n\ndef test_some():\n    assert fee(3)\n";
    // Every fix contradicts the last one.
    for (example, refused, aside) in
        [("fee(5)\n    20", true, false), ("fee(5)\n    10", false, false), ("fee(1)\n    20", false, true)]
    {
        let code = code.replace("fee(5)\n    20", example);
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            &[
                ("small.py", &code),
                ("tests/test_small.py", test),
                ("pytest.ini", "[pytest]\npythonpath = .\n"),
            ],
        );
        let (_, transcript, outcome) = repair(Task { regreen: 1, ..Task::default() }, folder.path()).await;
        assert!(matches!(outcome, Ok(Verdict::Green(_))), "{outcome:?}");
        assert_eq!(transcript.contains("age != 3"), !refused, "{transcript}");
        let first = transcript.lines().next().unwrap();
        assert_eq!(first.contains("(an example says otherwise)"), aside, "{transcript}");
    }
}

#[tokio::test]
async fn a_guard_that_takes_long_or_fails_in_the_warm_judge_refuses_no_fix() {
    if !installed(&["python3", "pytest"]) {
        return;
    }
    let code = "def big(a):\n    return a > 3\n";
    let test = "import os\nimport sys\nimport time\n\nfrom small import big\n\n\n\
        def test_big():\n    assert big(3)\n\n\n\
        def test_long():\n    until = time.process_time() + 1.5\n    while time.process_time() < until:\n        assert big(9)\n\n\n\
        def test_of_one_process():\n    assert big(9) and os.getpid() == int(os.environ['OWN'])\n\n\n\
        def test_small():\n    assert not big(2)\n";
    let own = "import os\n\n\nos.environ['OWN'] = str(os.getpid())\n";
    let files = [
        ("small.py", code),
        ("tests/test_small.py", test),
        ("tests/conftest.py", own),
        ("pytest.ini", "[pytest]\npythonpath = .\n"),
    ];
    assert_eq!(repair_files(&files).await, Ok(1));
}

#[tokio::test]
async fn an_example_that_kills_the_warm_judge_ends_no_search() {
    if !installed(&["python3", "pytest"]) {
        return;
    }
    let code = "def fee(age):\n    \"\"\"\n    >>> import os; os.kill(os.getppid(), 9)\n    \"\"\"\n    return 10 if age < 3 else 20\n";
    let test = "from small import fee\n\n\ndef test_fee():\n    assert fee(3) == 10\n\n\n\
        def test_some():\n    assert fee(9) == 20\n";
    let ini = "[pytest]\npythonpath = .\n";
    let files = [("small.py", code), ("tests/test_small.py", test), ("pytest.ini", ini)];
    assert_eq!(repair_files(&files).await, Ok(1));
}

#[tokio::test]
async fn guards_that_need_their_order_refuse_no_fix() {
    if !installed(&["python3", "pytest"]) {
        return;
    }
    let code = "def is_free(age, member):\n    return age < 6\n";
    let test = "from small import is_free\n\nSEEN = []\n\n\n\
        def test_member():\n    assert is_free(9, True)\n\n\n\
        def test_child():\n    assert is_free(5, False) and not SEEN\n\n\n\
        def test_guest():\n    SEEN.append(1)\n    assert not is_free(30, False)\n";
    let ini = "[pytest]\npythonpath = .\n";
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("small.py", code), ("tests/test_small.py", test), ("pytest.ini", ini)]);
    let (_, transcript, outcome) = repair(Task { regreen: 1, ..Task::default() }, folder.path()).await;
    assert!(matches!(outcome, Ok(Verdict::Green(_))), "{outcome:?}");
    // The first that passes comes after some that the last guard refuses.
    assert!(transcript.contains("age < 10") && transcript.contains("age < 12"), "{transcript}");
}

#[tokio::test]
async fn exchanged_arguments_are_mended_in_warm_jest_processes() {
    if installed(&["node", "npm"]) {
        check("js-jest-lru").await;
    }
}

#[tokio::test]
async fn exchanged_operands_are_mended_in_warm_vitest_processes() {
    if installed(&["node", "npm"]) {
        check("js-vitest-allocate").await;
    }
}

#[tokio::test]
async fn sources_are_judged_where_tests_run_what_was_compiled_from_them() {
    if installed(&["node", "npm"]) {
        check("ts-node-money").await;
    }
}

#[tokio::test]
async fn a_file_that_is_looked_for_under_another_name_is_renamed() {
    if installed(&["sh", "awk"]) {
        check("generic-tap-sh").await;
    }
}

#[tokio::test]
async fn modules_of_the_new_kind_are_mended_in_warm_node_processes() {
    if !installed(&["node"]) {
        return;
    }
    let package = r#"{ "name": "small", "type": "module", "scripts": { "test": "node --test" } }"#;
    let test = "import assert from 'node:assert/strict';\nimport { test } from 'node:test';\nimport { largest } from '../src/index.js';\n\ntest('the largest', () => assert.equal(largest([1, 3, 2]), 3));\ntest('none', () => assert.equal(largest([]), undefined));\n";
    let code = "export function largest(items) {\n  let best;\n  for (const item of items) {\n    if (best === undefined || item < best) best = item;\n  }\n  return best;\n}\n";
    let index = "export * from './largest.js';\n";
    let files = [
        ("package.json", package),
        ("src/index.js", index),
        ("src/largest.js", code),
        ("test/largest.test.js", test),
    ];
    assert_eq!(repair_files(&files).await, Ok(1));
}

#[tokio::test]
async fn a_statement_that_is_missing_beside_its_neighbours_is_copied_in_warm_java_processes() {
    if installed(&["mvn", "javac"]) {
        check("java-maven-csv").await;
    }
}

/// Asserts that the line of a mistake is among the first that are suspicious by what each test runs.
fn check_localised(fixture: &str, line: &str) {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().to_str().unwrap();
    let fixture = format!("fixtures/{fixture}");
    let said = crate::regreen(&["localise", &fixture, "--json", "--cache", cache], crate::root());
    let found: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(found[0]["basis"], "coverage of each test");
    let lines = found[0]["lines"].as_array().unwrap();
    let rank = lines.iter().position(|found| found["text"] == line).unwrap();
    let best = lines[0]["suspicion"].as_f64().unwrap();
    assert!(rank < 20 && lines[rank]["suspicion"].as_f64().unwrap() > best / 2.0, "{found:#}");
}

#[test]
fn localise_names_the_line_of_the_mistake() {
    if installed(&["python3"]) {
        check_localised("py-unittest-wrap", "if used + needed < room:");
    }
}

#[test]
fn localise_knows_which_lines_java_tests_run() {
    if installed(&["gradle", "javac"]) {
        check_localised("java-gradle-wrap", "if (!line.isEmpty() && used + 1 + word.length() >= width) {");
    }
}

#[test]
fn localise_knows_which_statements_rust_and_c_tests_run() {
    if installed(&["cargo"]) {
        check_localised("rust-cargo-interval", "merged.end = if last == first { new.end } else { old.end };");
    }
    if installed(&["cmake", "cc"]) {
        check_localised("cmake-ringlog", "memcpy(to + head, ring->bytes + head, length - head);");
    }
}
