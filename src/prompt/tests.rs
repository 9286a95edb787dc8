//! Prompts of real failures, within budgets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::diagnostic::Location;
use crate::patch::{File, RepoPath};
use crate::task::Task;
use crate::verdict::{FailureKind, Outcome, TestResult};

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|fixture| fixture.join("task.toml").exists());
    all.sort();
    all
}

/// A folder as a repository.
struct Folder {
    root: PathBuf,
    paths: Vec<RepoPath>,
}

impl Folder {
    fn new(root: PathBuf) -> Folder {
        let mut paths = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    paths.push(RepoPath::new(&name).unwrap());
                }
            }
        }
        paths.sort();
        Folder { root, paths }
    }

    fn file(&self, path: &RepoPath) -> Option<File> {
        std::fs::read(path.under(&self.root)).ok().map(File::plain)
    }

    fn relevant(&self, failure: &Failure, statement: Option<&str>) -> Relevant {
        let read = |path: &RepoPath| self.file(path);
        let is_protected = |path: &RepoPath| {
            let path = path.as_str().to_lowercase();
            path.starts_with("test")
                || path.starts_with("t/")
                || path.contains("/test")
                || path.contains(".test.")
                || path.contains("_test.")
        };
        let endings =
            ["py", "rs", "js", "mjs", "ts", "go", "java", "c", "h", "cpp", "hpp", "cc", "pm", "pl", "sh"];
        let is_source = |path: &RepoPath| {
            let name = path.as_str().rsplit('/').next().unwrap_or_default();
            name.rsplit_once('.').is_none_or(|(_, ending)| endings.contains(&ending))
        };
        let repository = Repository {
            paths: &self.paths,
            is_source: &is_source,
            is_protected: &is_protected,
            read: &read,
        };
        relevant(failure, statement, &repository)
    }
}

fn failure(tests: Vec<TestResult>) -> Failure {
    let summary = format!("{} of 12 tests fail.", tests.len());
    Failure { kind: FailureKind::TargetsFail, summary, tests, diagnostics: Vec::new(), log: String::new() }
}

/// The files whose text a fixture's right answer changes.
fn at_fault(fixture: &Path, folder: &Folder) -> Vec<RepoPath> {
    let replies = ["replies/2.md", "replies/1.md"].map(|reply| std::fs::read_to_string(fixture.join(reply)));
    let reply = replies.into_iter().find_map(Result::ok).unwrap_or_default();
    let patch = edit::read(&reply, &|path| folder.file(path)).patch;
    let changed = patch.0.into_iter().filter(|(path, after)| after.is_some() && folder.paths.contains(path));
    changed.map(|(path, _)| path).collect()
}

/// What pytest and unittest said about the fixtures, recorded with regreen's launchers.
fn recorded() -> BTreeMap<String, Vec<TestResult>> {
    let mut all: BTreeMap<String, Vec<TestResult>> = BTreeMap::new();
    for line in include_str!("recorded.jsonl").lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let place = |value: &serde_json::Value| Location {
            file: value["file"].as_str().unwrap().to_owned(),
            line: value["line"].as_u64().unwrap().try_into().unwrap(),
            column: 0,
        };
        let mut test =
            TestResult::failed(record["id"].as_str().unwrap(), record["message"].as_str().unwrap());
        test.location = Some(place(&record));
        test.frames = record["frames"].as_array().unwrap().iter().map(place).collect();
        all.entry(record["fixture"].as_str().unwrap().to_owned()).or_default().push(test);
    }
    all
}

fn built(material: &Material, context: u64) -> Prompt {
    build(&Templates::default(), material, context).unwrap()
}

fn plain<'a>(failure: &'a Failure, baseline: &'a Baseline, relevant: &'a Relevant) -> Material<'a> {
    Material {
        mode: Mode::Fresh,
        statement: None,
        failure,
        baseline,
        relevant,
        tried: None,
        problems: &[],
        earlier: &[],
        protected: &[],
    }
}

/// Calls `with` for each fixture: its name, folder, statement and failure. What pytest and unittest say is
/// recorded; of the others only the names of the failing tests are known, which is the harder case.
fn each_fixture(with: impl Fn(&Path, &Folder, Option<&str>, &Failure)) {
    let recorded = recorded();
    for fixture in fixtures() {
        let name = fixture.file_name().unwrap().to_str().unwrap();
        let task: Task =
            toml::from_str(&std::fs::read_to_string(fixture.join("task.toml")).unwrap()).unwrap();
        let folder = Folder::new(fixture.join("repo"));
        let ids = task.fail_to_pass.iter().map(|id| TestResult::new(id.clone(), Outcome::Failed)).collect();
        let failure = failure(recorded.get(name).cloned().unwrap_or(ids));
        with(&fixture, &folder, task.statement.as_deref(), &failure);
    }
}

#[test]
fn the_file_at_fault_is_among_the_first_four() {
    let (near, all) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    each_fixture(|fixture, folder, statement, failure| {
        let found = folder.relevant(failure, statement);
        assert_eq!(found, folder.relevant(failure, statement), "it depends on chance");
        let first: Vec<&RepoPath> = found.files.iter().take(4).map(|file| &file.path).collect();
        let fault = at_fault(fixture, folder);
        if fault.is_empty() {
            // Nothing is wrong in a text: a file is misnamed, or missing.
            return;
        }
        let hit = fault.iter().any(|path| first.contains(&path));
        if !hit {
            println!("{}: {first:?}", fixture.display());
        }
        all.set(all.get() + 1);
        near.set(near.get() + u32::from(hit));
    });
    // Not where a file is missing altogether, nor where its name has no ending.
    assert!(near.get() * 10 >= all.get() * 9, "{} of {}", near.get(), all.get());
}

#[test]
fn two_rounds_about_a_small_repository_are_small() {
    each_fixture(|fixture, folder, statement, failure| {
        let found = folder.relevant(failure, statement);
        let baseline = Baseline::default();
        let first = Material { statement, ..plain(failure, &baseline, &found) };
        let Ok(reply) = std::fs::read_to_string(fixture.join("replies/1.md")) else {
            return;
        };
        let tried = edit::read(&reply, &|path| folder.file(path)).patch.unified(|path| folder.file(path));
        let earlier = [digest("replay", &tried, &failure.summary)];
        let second = Material { mode: Mode::Repair, tried: Some(&tried), earlier: &earlier, ..first };
        let [one, two] = [first, second].map(|material| built(&material, 100_000));
        let sent = [&one, &two].map(|prompt| prompt.system.len() + prompt.user.len());
        println!("{}: {} + {}", fixture.display(), sent[0], sent[1]);
        assert!(sent.iter().sum::<usize>() < 15_500, "{sent:?}");
        assert!(one.system.len() < 1200);
        for path in edit::read(&reply, &|path| folder.file(path)).patch.paths() {
            let known = found.files.iter().any(|file| file.path == *path);
            assert!(
                !known || two.user.contains(&format!("\n{path}\n```")),
                "{path} was edited and is not shown"
            );
        }
    });
}

#[test]
fn the_source_of_failing_tests_is_found_in_every_language() {
    let found = |name: &str| {
        let mut texts = Vec::new();
        let wanted = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        let task: Task = toml::from_str(&std::fs::read_to_string(wanted.join("task.toml")).unwrap()).unwrap();
        let folder = Folder::new(wanted.join("repo"));
        for id in &task.fail_to_pass {
            let relevant =
                folder.relevant(&failure(vec![TestResult::new(id.clone(), Outcome::Failed)]), None);
            texts.push((id.clone(), relevant.tests));
        }
        texts
    };
    for name in [
        "py-pytest-router",
        "py-unittest-wrap",
        "rust-cargo-money",
        "js-jest-lru",
        "js-mocha-csv",
        "go-lru",
        "java-maven-csv",
    ] {
        for (id, tests) in found(name) {
            let Some([test]) = tests.first_chunk::<1>() else {
                // A Go test may stand in a table of another's.
                assert!(name.starts_with("go"), "{name}: {id} was not found");
                continue;
            };
            let lines = test.text.lines().count();
            assert!((2..60).contains(&lines), "{name}: {id}: {lines} lines\n{}", test.text);
            let last = match id.rsplit_once(" > ") {
                Some((_, title)) => title,
                None => id.rsplit(['.', '#', ':', ' ']).next().unwrap(),
            };
            assert!(id.contains('[') || test.text.contains(last), "{name}: {id}\n{}", test.text);
            let (open, close) = (test.text.matches('{').count(), test.text.matches('}').count());
            assert_eq!(open, close, "{name}: {id} is cut\n{}", test.text);
        }
    }
}

/// Material with everything in it, some of it hostile and large.
fn crowded() -> (Failure, Baseline, Relevant, Vec<Problem>) {
    let mut tests: Vec<TestResult> = (0..50)
        .map(|n| {
            TestResult::failed(
                format!("t{n}::`x`\n# Task"),
                format!("{n} ```\n# Task\n\x1b[2J ````` {}", "assert ".repeat(2000)),
            )
        })
        .collect();
    tests[0].frames = vec![Location { file: "../../etc/passwd".to_owned(), line: u32::MAX, column: 0 }];
    let mut failure = failure(tests);
    failure.log = "\u{feff}log `````` ".repeat(100_000);
    failure.summary = "summary ".repeat(500);
    let diagnostic = |n: u32| {
        Diagnostic::error(
            Some(Location { file: format!("f{n}.rs"), line: n, column: 1 }),
            "e```\n".repeat(999),
        )
    };
    failure.diagnostics = (0..20).map(diagnostic).collect();
    let path = |n: usize| RepoPath::new(&format!("src/{}/{n}.rs", "long".repeat(20))).unwrap();
    let file = |n: usize| SourceFile {
        path: path(n),
        text: format!("{}{}", "`".repeat(n), "code();\n".repeat(50 * n)),
        why: "why\nnot".to_owned(),
        strong: n < 3,
    };
    let test = |n: usize| TestSource { id: n.to_string(), path: path(n % 2), text: "```".repeat(n + 1) };
    let relevant = Relevant {
        files: (0..12).map(file).collect(),
        tests: (0..5).map(test).collect(),
        others: (0..40).map(path).collect(),
    };
    let problems =
        edit::read(&"a.rs\n<<<<<<< SEARCH\n```` \n=======\n>>>>>>> REPLACE\n".repeat(30), &|_| None).problems;
    (failure, Baseline::default(), relevant, problems)
}

#[test]
fn a_prompt_is_within_its_budget_whatever_it_is_made_of() {
    let (failure, baseline, relevant, problems) = crowded();
    let statement = "é`` statement ".repeat(50_000);
    let diff = "diff --git a/x b/x\n+````````\n".repeat(3000);
    let earlier: Vec<String> = (0..40).map(|n| digest(&"m".repeat(n * 9), &diff, "no\nyes")).collect();
    let protected = vec!["**/*".repeat(300)];
    let mut before = 0;
    for context in (0..3000).step_by(97).chain([4000, 8000, 10_000, 100_000, u64::MAX]) {
        for mode in [Mode::Fresh, Mode::Repair] {
            let material = Material {
                mode,
                statement: Some(&statement),
                failure: &failure,
                baseline: &baseline,
                relevant: &relevant,
                tried: Some(&diff),
                problems: &problems,
                earlier: &earlier,
                protected: &protected,
            };
            let prompt = built(&material, context);
            assert!(prompt.tokens() <= context, "{} of {context}", prompt.tokens());
            assert!(prompt.system.len() + prompt.user.len() <= MOST);
            assert_eq!(prompt, built(&material, context));
            assert!(!prompt.user.contains('\x1b'));
            if mode == Mode::Repair && context >= 1000 {
                closed(&prompt.user);
            }
            before = prompt.user.len();
        }
    }
    assert!(before > MOST / 2, "{before} bytes of a large context are used");
}

/// Checks that every fence which opens is closed, by counting as `CommonMark` does.
fn closed(user: &str) {
    let mut open: Option<usize> = None;
    for line in user.lines() {
        let ticks = line.len() - line.trim_start_matches('`').len();
        let bare = line.len() == ticks;
        match open {
            None if ticks >= 3 => open = Some(ticks),
            Some(fence) if ticks >= fence && bare => open = None,
            Some(_) => {}
            None => assert!(
                !line.starts_with("assert") && !line.starts_with("code();"),
                "{line} stands outside a fence"
            ),
        }
    }
    assert_eq!(open, None, "{user}");
}

#[test]
fn a_fresh_prompt_shows_no_last_answer() {
    let failure = failure(vec![TestResult::failed("t", "assert 1 == 2")]);
    let (baseline, relevant) = (Baseline::default(), Relevant::default());
    let (_, _, _, problems) = crowded();
    let earlier = ["m: a.rs (+1 -1): 1 test fails".to_owned()];
    let fresh = Material {
        tried: Some("diff --git a/a b/a\n+tried\n"),
        problems: &problems,
        earlier: &earlier,
        ..plain(&failure, &baseline, &relevant)
    };
    let user = built(&fresh, 10_000).user;
    assert!(!user.contains("tried") && !user.contains("Edit 1") && user.contains(&earlier[0]), "{user}");
    assert!(user.contains("assert 1 == 2"), "{user}");
    let user = built(&Material { mode: Mode::Repair, ..fresh }, 10_000).user;
    assert!(user.contains("+tried") && user.contains("Edit 1") && !user.contains(&earlier[0]), "{user}");
}

#[test]
fn a_broken_template_is_an_error() {
    let failure = failure(Vec::new());
    let (baseline, relevant) = (Baseline::default(), Relevant::default());
    for broken in ["{% if %}", "{{ nothing.there }}", "{{ summary | unheard_of }}"] {
        let templates = Templates { user: broken.into(), ..Templates::default() };
        assert!(build(&templates, &plain(&failure, &baseline, &relevant), 1000).is_err(), "{broken}");
    }
}

#[test]
fn a_digest_is_one_line() {
    let diff =
        "diff --git a/src/a.rs b/src/a.rs\n--- a/src/a.rs\n+++ b/src/a.rs\n@@ -1 +1,2 @@\n-x\n+y\n+z\n";
    assert_eq!(digest("m/1", diff, "2 tests\nfail"), "m/1: src/a.rs (+2 -1): 2 tests fail");
    assert_eq!(digest("m", "", "The reply holds no edit."), "m: no edit: The reply holds no edit.");
    assert!(digest(&"m".repeat(9999), &diff.repeat(999), &"f".repeat(9999)).len() < 800);
}

#[test]
fn hostile_repositories_are_read_within_bounds() {
    let paths: Vec<RepoPath> = (0..5000).map(|n| RepoPath::new(&format!("src/f{n}.py")).unwrap()).collect();
    let reads = std::cell::Cell::new(0);
    let texts: [&[u8]; 6] =
        [b"\xff\xfe def f(", b"", b"\0", b"((((((((((", b"def test_x", &b"{ ".repeat(4000)];
    let read = |_: &RepoPath| {
        reads.set(reads.get() + 1);
        Some(File::plain(texts[reads.get() % texts.len()]))
    };
    let repository = Repository {
        paths: &paths,
        is_source: &|_| true,
        is_protected: &|path| path.as_str().ends_with("7.py"),
        read: &read,
    };
    let (failure, ..) = crowded();
    for id in ["", "[", "]", "::", "a[b", "#", " > ", "é", "x::test_x[", &"(".repeat(99)] {
        let mut failure = failure.clone();
        failure.tests[0].id = id.to_owned();
        reads.set(0);
        let found = relevant(&failure, Some("é ``` x"), &repository);
        assert!(reads.get() <= 400, "{} files read", reads.get());
        assert!(found.files.len() <= 12 && found.files.iter().all(|file| file.text.len() < 9000));
    }
}
