//! Tests that run the fixtures through real toolchains, outside the sandbox: what their `task.toml` says must
//! fail does fail, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::{Invocation, Parsed, Profile, Suite, detect};
use crate::diagnostic::{Applicability, Diagnostic, Location};
use crate::harness::write_launchers;
use crate::process::{self, Command, Finished, Limits};
use crate::task::Task;
use crate::verdict::Outcome;
use crate::workspace::Tree;

/// A copy of a fixture, and what it takes to run it.
pub(super) struct Trial {
    folder: TempDir,
    pub task: Task,
    pub suites: Vec<Suite>,
}

/// What a run of all suites said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub outcomes: BTreeMap<String, Outcome>,
    pub diagnostics: Vec<Diagnostic>,
    pub messages: String,
    pub frames: Vec<Location>,
    pub complete: bool,
}

impl Trial {
    /// A fixture of the repository's own.
    pub fn fixture(name: &str) -> Trial {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        let task = toml::from_str(&std::fs::read_to_string(fixture.join("task.toml")).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        copy(&fixture.join("repo"), &folder.path().join("tree"));
        Trial::new(folder, task, "")
    }

    /// A repository made of these files.
    pub fn files(files: &[(&str, &str)], focus: &str) -> Trial {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join("tree").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Trial::new(folder, Task::default(), focus)
    }

    fn new(folder: TempDir, task: Task, focus: &str) -> Trial {
        for name in ["home", "logs", "results", "launchers"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        write_launchers(&folder.path().join("launchers")).unwrap();
        let profiles = Profile::load(None).unwrap();
        let suites = detect(&folder.path().join("tree"), focus, &profiles, &task).unwrap();
        Trial { folder, task, suites }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sets up, builds and tests; `None` when a program is missing and that is no mistake.
    pub async fn run(&self, only: Option<&[&str]>) -> Option<Said> {
        let (tree, launchers) = (Tree::from(self.path("tree").as_path()), self.path("launchers"));
        let only = only.map(|only| only.iter().map(ToString::to_string).collect::<BTreeSet<_>>());
        let mut said = Said { complete: true, ..Said::default() };
        for suite in &self.suites {
            if lacks_program(&suite.profile) {
                return None;
            }
            for (command, must) in suite.setup(&tree, &launchers).unwrap() {
                let finished = self.execute(&command).await;
                assert!(!must || finished.exit.success(), "{command:?}: {}", finished.log(2000).unwrap());
            }
            let mut built = Vec::new();
            for command in suite.build(&tree, &launchers).unwrap() {
                let finished = self.execute(&command).await;
                said.take(suite.read(&command, &finished, &tree, &self.path("results")).unwrap());
                let failed = !finished.exit.success();
                built.push(finished);
                if failed && !suite.tests_despite_build() {
                    return Some(said);
                }
                if failed {
                    break;
                }
            }
            let results = self.path("results");
            for command in suite.tests(&tree, &built, only.as_ref(), &results, &launchers).unwrap() {
                let finished = self.execute(&command).await;
                said.take(suite.read(&command, &finished, &tree, &results).unwrap());
            }
        }
        Some(said)
    }

    async fn execute(&self, command: &Invocation) -> Finished {
        let mut env = environment();
        env.extend(command.env.iter().map(|(key, value)| (key.into(), value.into())));
        let command = Command {
            argv: command.argv.iter().map(OsString::from).collect(),
            dir: self.path("tree").join(&command.dir),
            env,
            input: Vec::new(),
            limits: Limits { wall: Duration::from_secs(command.seconds), ..Limits::default() },
            logs: self.path("logs"),
        };
        process::run(&command).await.unwrap()
    }
}

impl Said {
    fn take(&mut self, parsed: Parsed) {
        for test in parsed.tests {
            self.messages.push_str(&test.message);
            self.frames.extend(test.frames);
            let known = self.outcomes.insert(test.id.clone(), test.outcome);
            assert_eq!(known, None, "{} came twice", test.id);
        }
        self.diagnostics.extend(parsed.diagnostics);
        self.complete &= parsed.complete;
    }

    pub fn with(&self, outcome: Outcome) -> BTreeSet<String> {
        let with = self.outcomes.iter().filter(|(_, own)| **own == outcome);
        with.map(|(id, _)| id.clone()).collect()
    }
}

/// Whether a program is missing, which is a mistake where `CI` is set.
fn lacks_program(profile: &Profile) -> bool {
    let path = environment().into_iter().find(|(key, _)| key == "PATH").unwrap().1;
    let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let missing = profile.programs.iter().find(|program| process::find(program, &path).is_none());
    let Some(missing) = missing else {
        return false;
    };
    let strict = environment().iter().any(|(key, _)| key == "CI");
    assert!(!strict, "{missing} is not installed");
    eprintln!("SKIPPED: {missing} is not installed");
    true
}

/// The environment without what cargo adds for the test that is running now.
#[expect(clippy::disallowed_methods, reason = "the toolchains of this machine are what is tested")]
fn environment() -> Vec<(OsString, OsString)> {
    let inherited = |key: &OsString| {
        let key = key.to_string_lossy();
        let kept = ["CARGO_HOME", "RUSTUP_HOME"].contains(&key.as_ref());
        kept || !(key.starts_with("CARGO") || key.starts_with("RUST") || key.starts_with("NEXTEST"))
    };
    std::env::vars_os().filter(|(key, _)| inherited(key)).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs a fixture and compares what fails with what its task says.
async fn check(name: &str, suites: &[&str]) {
    let trial = Trial::fixture(name);
    let names: Vec<&str> = trial.suites.iter().map(|suite| suite.profile.name.as_str()).collect();
    assert_eq!(names, suites, "{name}");
    let Some(said) = trial.run(None).await else {
        return;
    };
    assert_eq!(said.with(Outcome::Failed), trial.task.fail_to_pass, "{name}: {said:#?}");
    assert!(said.complete, "{name}: {said:#?}");
    let Some(first) = trial.task.fail_to_pass.first() else {
        return;
    };
    let said = trial.run(Some(&[first])).await.unwrap();
    assert_eq!(said.outcomes.get(first), Some(&Outcome::Failed), "{name}, only {first}: {said:#?}");
}

#[tokio::test]
async fn rust_fixtures_fail_where_their_tasks_say() {
    check("rust-cargo-interval", &["cargo"]).await;
    check("rust-cargo-money", &["cargo"]).await;
}

#[tokio::test]
async fn nextest_fixtures_fail_where_their_tasks_say() {
    check("rust-nextest-cron", &["nextest"]).await;
    check("rust-nextest-ring", &["nextest"]).await;
}

#[tokio::test]
async fn go_fixtures_fail_where_their_tasks_say() {
    check("go-lru", &["go"]).await;
    check("go-semver", &["go"]).await;
}

#[tokio::test]
async fn commands_of_the_tasks_own_fail_where_their_tasks_say() {
    for name in ["make-b64", "make-wc", "generic-exit-perl", "generic-tap-sh", "generic-junit-perl"] {
        check(name, &["command"]).await;
    }
}

#[tokio::test]
async fn makefiles_are_recognised_and_their_exit_status_is_a_test() {
    for name in ["make-b64", "make-wc"] {
        let mut trial = Trial::fixture(name);
        let mut expected = trial.task.fail_to_pass.clone();
        expected.insert("command".to_owned());
        trial.suites =
            detect(&trial.path("tree"), "", &Profile::load(None).unwrap(), &Task::default()).unwrap();
        let names: Vec<&str> = trial.suites.iter().map(|suite| suite.profile.name.as_str()).collect();
        assert_eq!(names, ["make"], "{name}");
        let said = trial.run(None).await.unwrap();
        assert_eq!(said.with(Outcome::Failed), expected, "{said:#?}");
    }
}

#[tokio::test]
async fn rust_builds_that_fail_offer_the_compilers_own_edits() {
    let trial = Trial::fixture("rust-compile-mutability");
    let said = trial.run(None).await.unwrap();
    assert!(said.outcomes.is_empty(), "{said:#?}");
    let sure =
        |d: &&Diagnostic| d.suggestions.iter().any(|s| s.applicability == Applicability::MachineApplicable);
    let files: BTreeSet<_> = said
        .diagnostics
        .iter()
        .filter(sure)
        .flat_map(|d| &d.suggestions)
        .flat_map(|s| &s.parts)
        .map(|p| p.file.clone())
        .collect();
    assert!(files.len() >= 3 && files.iter().all(|file| file.starts_with("src/")), "{said:#?}");

    let trial = Trial::fixture("rust-compile-import");
    let said = trial.run(None).await.unwrap();
    let found = said
        .diagnostics
        .iter()
        .find(|d| d.code == "E0432" || d.code == "E0433" || d.code == "E0412")
        .unwrap();
    assert!(found.location.as_ref().unwrap().file.starts_with("src/"), "{found:#?}");
    assert!(
        said.diagnostics
            .iter()
            .all(|d| { d.suggestions.iter().all(|s| s.applicability != Applicability::MachineApplicable) })
    );
}

/// What Rust can come with: every kind of binary, doctests, a build script, a procedural macro, an abort.
const CRATE: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        "[workspace]\nmembers = ['derive']\n[package]\nname = 'tally-up'\nversion = '1.2.3-rc.1'\nedition = '2021'\n[dependencies]\nderive = { path = 'derive' }\n[[test]]\nname = 'plain'\nharness = false\n",
    ),
    (
        "build.rs",
        "fn main() { println!(\"cargo:rustc-env=BUILT=yes\"); std::fs::write(std::env::var(\"OUT_DIR\").unwrap() + \"/made\", \"1\").unwrap(); }",
    ),
    (
        "src/lib.rs",
        "//! ```\n//! assert_eq!(tally_up::add(1, 2), 3);\n//! ```\n\n/// ```\n/// assert_eq!(tally_up::add(1, 2), 4);\n/// ```\n/// ```ignore\n/// nothing\n/// ```\npub fn add(a: i32, b: i32) -> i32 { a + b }\n#[test] #[ignore] fn slow() {}\n#[test] fn told_its_folder() { assert!(std::path::Path::new(&std::env::var(\"CARGO_MANIFEST_DIR\").unwrap()).join(\"build.rs\").exists()); assert!(std::path::Path::new(&std::env::var(\"OUT_DIR\").unwrap()).join(\"made\").exists()); assert_eq!(std::env::var(\"CARGO_PKG_VERSION_PRE\").unwrap(), \"rc.1\"); assert!(std::env::var_os(\"BUILT\").is_some()); }\n",
    ),
    ("src/main.rs", "fn main() {}\n#[test] fn in_bin() {}\n"),
    ("tests/abort.rs", "#[test] fn b_aborts() { eprintln!(\"bye\"); std::process::abort(); }\n"),
    ("tests/plain.rs", "fn main() { assert_eq!(std::env::args().count(), 1); std::process::exit(3); }"),
    ("examples/show.rs", "fn main() {}"),
    (
        "derive/Cargo.toml",
        "[package]\nname = 'derive'\nversion = '0.1.0'\nedition = '2021'\n[lib]\nproc-macro = true\n",
    ),
    (
        "derive/src/lib.rs",
        "#[proc_macro]\npub fn nothing(t: proc_macro::TokenStream) -> proc_macro::TokenStream { t }\n#[test] fn runs() {}\n#[test] fn fails() { assert_eq!(1, 2); }\n",
    ),
];

#[tokio::test]
async fn every_kind_of_rust_binary_runs_as_cargo_would_run_it() {
    let trial = Trial::files(CRATE, "");
    let said = trial.run(None).await.unwrap();
    let shown: Vec<String> = said.outcomes.iter().map(|(id, outcome)| format!("{id}: {outcome:?}")).collect();
    assert_eq!(
        shown,
        [
            "derive fails: Failed",
            "derive runs: Passed",
            "tally-up slow: Skipped",
            "tally-up told_its_folder: Passed",
            "tally-up::abort b_aborts: Failed",
            "tally-up::bin/tally-up in_bin: Passed",
            "tally-up::doc src/lib.rs: Passed",
            "tally-up::doc src/lib.rs - add: Failed",
            "tally-up::doc src/lib.rs - add #2: Skipped",
            "tally-up::plain command: Failed",
        ],
        "{said:#?}"
    );
    assert!(said.messages.contains("SIGABRT") && !said.complete, "{said:#?}");
    let only = ["tally-up::doc src/lib.rs - add", "tally-up::plain command", "derive runs"];
    let said = trial.run(Some(&only)).await.unwrap();
    assert!(only.iter().all(|id| said.outcomes.contains_key(*id)) && said.outcomes.len() <= 4, "{said:#?}");
}

#[tokio::test]
async fn one_go_package_that_does_not_build_leaves_the_others_their_tests() {
    let trial = Trial::files(
        &[
            ("go.mod", "module example.com/m\n\ngo 1.21\n"),
            (
                "good/a_test.go",
                "package good\nimport \"testing\"\nfunc TestA(t *testing.T) {}\nfunc TestB(t *testing.T) { t.Run(\"x y\", func(t *testing.T) { t.Error(\"no\") }) }\n",
            ),
            ("bad/b.go", "package bad\nfunc F() int { return \"a\" }\n"),
        ],
        "",
    );
    let Some(said) = trial.run(None).await else {
        return;
    };
    assert_eq!(said.with(Outcome::Passed).into_iter().collect::<Vec<_>>(), ["example.com/m/good.TestA"]);
    assert_eq!(said.diagnostics[0].location.as_ref().unwrap().to_string(), "bad/b.go:2:23");
    let said = trial.run(Some(&["example.com/m/good.TestB/x_y"])).await.unwrap();
    assert_eq!(said.outcomes.len(), 2, "{said:#?}");
}

/// Which suites are found, as `folder:profile`.
fn found(files: &[&str], focus: &str) -> Vec<String> {
    let cargo = "[package]\nname = 'a'\nversion = '0.1.0'";
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|path| match path.rsplit('/').next().unwrap() {
            "Cargo.toml" => (*path, cargo),
            "Makefile" => (*path, "all:\n\ntest: all\n\ttrue\n"),
            _ => (*path, ""),
        })
        .collect();
    let suites = Trial::files(&files, focus).suites;
    suites.iter().map(|suite| format!("{}:{}", suite.dir, suite.profile.name)).collect()
}

#[test]
fn toolchains_are_found_at_the_focus_above_it_and_below() {
    let cases: [(&[&str], &str, &[&str]); 12] = [
        (&["Cargo.toml", "a/Cargo.toml"], "", &[":cargo"]),
        (&["Cargo.toml", "a/Cargo.toml"], "a", &["a:cargo"]),
        (&["Cargo.toml", "docs/x.md"], "docs", &[":cargo"]),
        (&["Cargo.toml", ".config/nextest.toml"], "", &[":nextest"]),
        (&["backend/go.mod", "native/core/Cargo.toml", "x.md"], "", &["backend:go", "native/core:cargo"]),
        (&["Cargo.toml", "tools/go.mod", "Makefile"], "", &[":cargo", "tools:go"]),
        (&["Makefile", "src/a.c"], "", &[":make"]),
        (&["Makefile", "server/go.mod"], "", &["server:go"]),
        (&["a/b/c/d/go.mod"], "", &[]),
        (&["node_modules/x/go.mod", "target/y/go.mod", ".hidden/go.mod", "vendor/z/go.mod"], "", &[]),
        (&["go.mod", "testdata/Cargo.toml", "internal/testdata/x/package.json"], "", &[":go"]),
        (&["x.md"], "", &[]),
    ];
    for (files, focus, expected) in cases {
        assert_eq!(found(files, focus), expected, "{files:?} at {focus:?}");
    }
}

#[test]
fn a_link_out_of_the_tree_recognises_nothing() {
    let trial = Trial::files(&[("README.md", "")], "");
    let outside = trial.path("home");
    std::fs::write(outside.join("go.mod"), "").unwrap();
    std::os::unix::fs::symlink(&outside, trial.path("tree").join("linked")).unwrap();
    std::os::unix::fs::symlink(outside.join("go.mod"), trial.path("tree").join("go.mod")).unwrap();
    let profiles = Profile::load(None).unwrap();
    assert!(detect(&trial.path("tree"), "", &profiles, &Task::default()).unwrap().is_empty());
}

#[test]
fn what_the_task_says_overrides_the_profile() {
    let trial =
        Trial::files(&[("a/go.mod", "module m\nrequire example.com/x v1.0.0\n"), ("b/Cargo.toml", "")], "");
    let task: Task = toml::from_str(
        "regreen = 1\nenvironment = { GOFLAGS = '-mod=mod' }\nsetup = [{ argv = ['./prepare', '{tree}'] }]\n",
    )
    .unwrap();
    let (tree, profiles) = (trial.path("tree"), Profile::load(None).unwrap());
    let suites = detect(&tree, "", &profiles, &task).unwrap();
    let setup: Vec<_> = suites
        .iter()
        .flat_map(|suite| suite.setup(&Tree::from(tree.as_path()), Path::new("/l")).unwrap())
        .collect();
    assert_eq!(setup.len(), 1, "{setup:?}");
    let (command, must) = &setup[0];
    assert_eq!((command.argv[1].as_str(), command.dir.as_str(), *must), (tree.to_str().unwrap(), "", true));
    assert_eq!(command.env["GOFLAGS"], "-mod=mod");

    let go: Vec<Arc<Profile>> =
        detect(&tree, "", &profiles, &Task { toolchain: Some("go".to_owned()), ..Task::default() })
            .unwrap()
            .into_iter()
            .map(|suite| suite.profile)
            .collect();
    assert_eq!(go.len(), 1);
    let error =
        detect(&tree, "", &profiles, &Task { toolchain: Some("cobol".to_owned()), ..Task::default() });
    assert!(error.unwrap_err().to_string().contains("no toolchain \"cobol\""));
}

#[tokio::test]
async fn a_member_of_a_workspace_is_tested_alone_and_its_files_are_found() {
    let mut trial = Trial::fixture("rust-cargo-money");
    let (tree, profiles) = (trial.path("tree"), Profile::load(None).unwrap());
    trial.suites = detect(&tree, "money", &profiles, &Task::default()).unwrap();
    let said = trial.run(None).await.unwrap();
    let failed: Vec<String> = said.with(Outcome::Failed).into_iter().collect();
    assert_eq!(
        failed,
        [
            "money:money rate::tests::a_hundred_percent_of_a_large_amount",
            "money:money::arithmetic percentages_that_do_not_fit_are_errors",
        ]
    );
    assert!(said.outcomes.keys().all(|id| id.starts_with("money:")), "{said:#?}");
    assert!(said.frames.iter().any(|at| at.file == "money/src/rate.rs"), "{said:#?}");
    let said = trial.run(Some(&[&failed[1]])).await.unwrap();
    assert_eq!(said.outcomes.len(), 1, "{said:#?}");
}

#[tokio::test]
async fn alternatives_of_the_compiler_are_edits_of_their_own_and_macros_offer_none() {
    let trial = Trial::files(
        &[
            ("Cargo.toml", "[package]\nname = 'a'\nversion = '0.1.0'\nedition = '2021'\n"),
            (
                "src/lib.rs",
                "macro_rules! m { ($x:expr) => { { let y = $x; y = 1; y } } }\n\
                 pub fn f() -> i32 { m!(0) }\npub fn g() -> Result { todo!() }\n",
            ),
        ],
        "",
    );
    let said = trial.run(None).await.unwrap();
    let imports = said
        .diagnostics
        .iter()
        .find(|d| d.message.contains("`Result`"))
        .unwrap_or_else(|| panic!("{said:#?}"));
    assert!(imports.suggestions.iter().all(|s| s.parts.len() == 1), "{imports:#?}");
    for diagnostic in &said.diagnostics {
        let line = diagnostic.location.as_ref().map(|at| (at.file.as_str(), at.line));
        assert!(matches!(line, Some(("src/lib.rs", 1..=3))), "{diagnostic:#?}");
    }
}

#[tokio::test]
async fn what_cargo_itself_refuses_is_a_diagnostic() {
    let trial = Trial::files(
        &[
            // A lock file without dependencies: there is nothing to set up.
            ("Cargo.lock", "version = 4\n"),
            ("Cargo.toml", "[package]\nname = 'a'\nversion = 1\n"),
            ("src/lib.rs", ""),
        ],
        "",
    );
    let said = trial.run(None).await.unwrap();
    assert!(
        said.diagnostics[0].message.contains("Cargo.toml")
            || said.diagnostics[0].message.contains("manifest"),
        "{said:#?}"
    );
}

#[test]
fn every_fixture_has_one_suite_of_the_toolchain_it_is_named_after() {
    let profiles = Profile::load(None).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for entry in std::fs::read_dir(fixtures).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let expected = match name.splitn(3, '-').collect::<Vec<_>>()[..] {
            ["rust", "nextest", _] => "nextest",
            ["rust", ..] => "cargo",
            ["js" | "ts", "node", _] => "node-test",
            [
                "java" | "js" | "ts" | "py",
                toolchain @ ("maven" | "gradle" | "jest" | "mocha" | "vitest" | "pytest" | "unittest"),
                _,
            ] => toolchain,
            ["go" | "make" | "cmake", ..] => name.split('-').next().unwrap(),
            // Their tasks bring commands of their own, or are about a compiler.
            _ => continue,
        };
        let suites = detect(&folder.join("repo"), "", &profiles, &Task::default()).unwrap();
        let found: Vec<&str> = suites.iter().map(|suite| suite.profile.name.as_str()).collect();
        assert_eq!(found, [expected], "{name}");
    }
}
