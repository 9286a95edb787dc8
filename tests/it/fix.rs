//! `regreen fix` from the outside: what users give it, good and bad, and what they get. The repository is a
//! shell program tested by TAP, so that a run takes milliseconds; the model is scripted, all else is real.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use regreen::ledger::{FILE, Ledger};
use regreen::record::{Event, Outcome, Record};
use regreen::verdict::{FailureKind, Verdict};

use crate::regreen_command;

/// `add.sh` adds wrongly; `test.sh` has one target and one guard.
pub const ADD: &str = "echo $(($1 - $2))\n";
pub const TEST: &str = "echo 1..2
check() { if [ \"$2\" = \"$3\" ]; then echo \"ok $1\"; else echo \"not ok $1\"; echo \"  # $2 is not $3\"; fi; }
check '1 - adds' \"$(sh add.sh 2 3)\" 5
check '2 - takes zero' \"$(sh add.sh 7 0)\" 7
";

pub const RIGHT: &str = "The sign is wrong.\n```\nadd.sh\n<<<<<<< SEARCH\necho $(($1 - $2))\n=======\necho $(($1 + $2))\n>>>>>>> REPLACE\n```\n";
pub const WRONG: &str =
    "```\nadd.sh\n<<<<<<< SEARCH\necho $(($1 - $2))\n=======\necho $(($1 * $2))\n>>>>>>> REPLACE\n```\n";

/// A place with a repository, scripted replies, and folders for runs and scratch.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(files: &[(&str, &str)], replies: &[&str]) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { folder };
        fs::create_dir_all(place.repository()).unwrap();
        git2::Repository::init(place.repository()).unwrap();
        for (name, text) in files {
            fs::write(place.repository().join(name), text).unwrap();
        }
        fs::create_dir(place.path("replies")).unwrap();
        // A replay must hold something; most tests of bad input never come to ask it.
        let replies = if replies.is_empty() { &["Only prose."] } else { replies };
        for (n, reply) in replies.iter().enumerate() {
            fs::write(place.path("replies").join(format!("{}.md", n + 1)), reply).unwrap();
        }
        place
    }

    /// The usual one: red, with these replies.
    fn red(replies: &[&str]) -> Place {
        Place::new(&[("add.sh", ADD), ("test.sh", TEST)], replies)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    fn command(&self, more: &[&str]) -> std::process::Command {
        let mut command = regreen_command();
        command.arg("fix").current_dir(self.repository());
        command.args([Path::new("--out"), &self.path("runs"), Path::new("--cache"), &self.path("cache")]);
        if !more.contains(&"--resume") {
            command.args(["--test-cmd", "sh test.sh", "--test-format", "tap"]);
            command.args(["--model", &format!("replay:{}", self.path("replies").display())]);
        }
        command.args(more).stdin(Stdio::null());
        command
    }

    fn fix(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    fn run(&self) -> PathBuf {
        fs::read_dir(self.path("runs")).unwrap().next().unwrap().unwrap().path()
    }

    fn records(&self) -> Vec<Record> {
        Ledger::read(&self.run()).unwrap()
    }

    fn failures(&self) -> Vec<FailureKind> {
        let kind = |record: &Record| match &record.event {
            Event::Judged { verdict: Verdict::Red(failure), .. } => Some(failure.kind),
            _ => None,
        };
        self.records().iter().filter_map(kind).collect()
    }
}

/// Asserts the exit status and that a message tells what was expected.
fn expect(output: &Output, status: i32, message: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.contains(message), "{message:?} is not in:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_red_repository_becomes_green_and_stays_untouched() {
    let place = Place::red(&[WRONG, RIGHT]);
    let output = place.fix(&["--patch", "-"]);
    expect(&output, 0, "Green");
    assert!(String::from_utf8_lossy(&output.stdout).contains("+echo $(($1 + $2))"));
    assert_eq!(fs::read_to_string(place.repository().join("add.sh")).unwrap(), ADD);
    assert!(!place.repository().join(".regreen").exists());
    assert_eq!(place.failures(), [FailureKind::TargetsFail]);
}

#[test]
fn an_attempt_that_is_not_worth_it_is_not_made_and_the_story_says_why() {
    let place = Place::red(&[WRONG, RIGHT]);
    // Nothing can be measured of a shell script: a wrong patch passes with one half. The first attempt is worth it,
    // 46 % × $10 against 54 % × 50 % × $5, the second is not, 6 % × $10 against 94 % × 50 % × $5.
    expect(&place.fix(&["--worth", "10", "--harm", "5"]), 1, "is not worth it");
    let judged = place.failures().len();
    let records = place.records();
    assert!(records.iter().any(|record| matches!(record.event, Event::Estimated { .. })));
    let last = records.iter().rev().find_map(|record| match &record.event {
        Event::Decided { action, reason, alternatives } => Some((action, reason, alternatives)),
        _ => None,
    });
    let (action, reason, alternatives) = last.unwrap();
    assert_eq!((judged, action.as_str()), (1, "give up"));
    assert!(reason.contains("p·V = 6 % × $10") && !alternatives.is_empty(), "{reason}");
    let told =
        regreen_command().arg("show").arg(place.run()).current_dir(place.repository()).output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout);
    assert!(told.contains("Decided to give up") && told.contains("is not worth it"), "{told}");
    // The same where a mistake harms nobody.
    let careless = Place::red(&[WRONG, RIGHT]);
    expect(&careless.fix(&["--worth", "10", "--harm", "0"]), 0, "Green");
    expect(&careless.fix(&["--worth", "10"]), 2, "--harm");
    expect(&careless.fix(&["--worth", "nan", "--harm", "0"]), 2, "--worth");
}

#[test]
fn apply_writes_the_patch_into_the_working_copy() {
    let place = Place::red(&[RIGHT]);
    expect(&place.fix(&["--apply"]), 0, "applied");
    assert_eq!(fs::read_to_string(place.repository().join("add.sh")).unwrap(), ADD.replace('-', "+"));
    expect(&place.fix(&[]), 0, "Already green");
}

#[test]
fn a_branch_holds_the_patch_and_nothing_else_moves() {
    let place = Place::red(&[RIGHT]);
    let repository = git2::Repository::open(place.repository()).unwrap();
    let mut index = repository.index().unwrap();
    for file in ["add.sh", "test.sh"] {
        index.add_path(Path::new(file)).unwrap();
    }
    index.write().unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let author = git2::Signature::now("a", "a@b").unwrap();
    let head = repository.commit(Some("HEAD"), &author, &author, "m", &tree, &[]).unwrap();
    expect(&place.fix(&["--branch", "green"]), 0, "Branch green");
    let branch =
        repository.find_branch("green", git2::BranchType::Local).unwrap().get().peel_to_commit().unwrap();
    assert_eq!(branch.parent_id(0).unwrap(), head);
    let entry = branch.tree().unwrap().get_name("add.sh").unwrap().id();
    assert_eq!(repository.find_blob(entry).unwrap().content(), ADD.replace('-', "+").as_bytes());
    assert_eq!(repository.head().unwrap().target().unwrap(), head);
    assert!(repository.statuses(None).unwrap().is_empty());
    expect(&place.fix(&["--branch", "green"]), 2, "exists already");
}

#[test]
fn a_green_repository_is_left_alone_and_disabled_tests_are_counted() {
    let place = Place::new(&[("test.sh", "echo 1..2; echo 'ok 1 - a'; echo 'ok 2 - b # SKIP later'\n")], &[]);
    expect(&place.fix(&[]), 0, "1 test is disabled");
}

#[test]
fn flaky_tests_alone_are_no_task() {
    let flip = "echo 1..1\nif [ $(od -An -N1 -tu1 /dev/urandom) -lt 128 ]; then echo 'ok 1 - a'; else echo 'not ok 1 - a'; fi\n";
    // The outcome is a coin: over five runs it changes in 15 of 16 cases, so a few tries suffice.
    for _ in 0..12 {
        let place = Place::new(&[("test.sh", flip)], &[]);
        let output = place.fix(&[]);
        if output.status.code() == Some(4) {
            return expect(&output, 4, "only flaky tests fail");
        }
    }
    panic!("a test that flips a coin never looked flaky");
}

#[test]
fn replies_that_are_no_candidate_are_red_and_nothing_panics() {
    let huge = format!("{}\n{RIGHT}", "x".repeat(5_000_000));
    let half = &RIGHT[..RIGHT.len() / 2];
    let outside = RIGHT.replace("\nadd.sh\n", "\n../../add.sh\n");
    let git = RIGHT.replace("\nadd.sh\n", "\n.git/hooks/pre-commit\n");
    let elsewhere = RIGHT.replace("echo $(($1 - $2))", "echo nothing like it");
    let place = Place::red(&["", "Only prose.", half, &outside, &git, &elsewhere, &huge]);
    expect(&place.fix(&["--attempts", "20"]), 0, "in attempt 7");
    let kinds = place.failures();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    assert_eq!(kinds[..2], [FailureKind::NoEdit; 2]);
    assert_eq!(kinds[3..], [FailureKind::DoesNotApply; 3]);
    assert!(!place.path("add.sh").exists() && !place.repository().join(".git/hooks/pre-commit").exists());
}

#[test]
fn edits_of_protected_files_are_left_out_and_said() {
    let cheat = "```\ntest.sh\n<<<<<<< SEARCH\necho 1..2\n=======\necho 1..2; echo ok 1 - adds; echo ok 2 - takes zero; exit\n>>>>>>> REPLACE\n```\n";
    let place = Place::red(&[cheat, &format!("{cheat}{RIGHT}")]);
    let output = place.fix(&["--patch", "-"]);
    expect(&output, 0, "edits left out");
    assert_eq!(place.failures(), [FailureKind::OnlyProtected]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("test.sh"));
}

#[test]
fn a_candidate_that_breaks_a_guard_is_red() {
    let five = RIGHT.replace("$(($1 + $2))", "5");
    let place = Place::red(&[&five]);
    expect(&place.fix(&[]), 1, "Not solved");
    assert_eq!(place.failures(), [FailureKind::GuardsFail]);
}

#[test]
fn a_candidate_that_hangs_or_aborts_is_told_apart() {
    let hang = RIGHT.replace("echo $(($1 + $2))", "sleep 600");
    let abort = RIGHT.replace("echo $(($1 + $2))", "kill -ABRT $PPID $$");
    let place = Place::red(&[&hang, &abort, RIGHT]);
    expect(&place.fix(&["--deadline", "2"]), 0, "in attempt 3");
    assert_eq!(place.failures()[0], FailureKind::DoesNotEnd);
}

#[test]
fn a_base_that_hangs_is_not_green_as_long_as_it_hangs() {
    let add = "sleep 600\n";
    let nothing = "```\nnotes.txt\n<<<<<<< SEARCH\n=======\nnothing\n>>>>>>> REPLACE\n```\n";
    let right = "```\nadd.sh\n<<<<<<< SEARCH\nsleep 600\n=======\necho 5\n>>>>>>> REPLACE\n```\n";
    let test =
        "echo 1..2; echo ok 1 - first; [ \"$(sh add.sh)\" = 5 ] || printf 'not '; echo ok 2 - second\n";
    let place = Place::new(&[("add.sh", add), ("test.sh", test)], &[nothing, right]);
    expect(&place.fix(&["--deadline", "1"]), 0, "in attempt 2");
    assert_eq!(place.failures(), [FailureKind::DoesNotEnd]);
}

#[test]
fn hunks_that_green_does_not_need_are_dropped() {
    let file = "#\n#\n#\n#\n#\n#\n#\n#\n#\necho $(($1 - $2))\n";
    let reply = "```\nadd.sh\n<<<<<<< SEARCH\necho $(($1 - $2))\n=======\necho $(($1 + $2))\n>>>>>>> REPLACE\n```\n```\nnotes.txt\n<<<<<<< SEARCH\n=======\nnoise\n>>>>>>> REPLACE\n```\n";
    let place = Place::new(&[("add.sh", file), ("test.sh", TEST)], &[reply]);
    let output = place.fix(&["--patch", "-"]);
    expect(&output, 0, "minimised from 2 hunks to 1");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("noise"));
}

#[test]
fn bad_input_gets_one_clear_message_with_a_remedy() {
    let place = Place::red(&[]);
    let nowhere = place.path("plain");
    fs::create_dir(&nowhere).unwrap();
    let plain = regreen_command().arg("fix").current_dir(&nowhere).output().unwrap();
    expect(&plain, 2, "git init");
    let empty = Place::new(&[], &[]);
    expect(&empty.fix(&[]), 2, "holds no files");
    let untested = Place::new(&[("README", "hello")], &[]);
    let output = regreen_command()
        .arg("fix")
        .current_dir(untested.repository())
        .arg("--out")
        .arg(untested.path("runs"))
        .output()
        .unwrap();
    expect(&output, 4, "--test-cmd");
    expect(&place.fix(&["--target", "ads"]), 4, "did you mean");
    expect(&place.fix(&["--target", "takes zero"]), 4, "passes on the base");
    expect(&place.fix(&["--rev", "nowhere"]), 2, "names no revision");
    expect(&place.fix(&["--time", "soon"]), 2, "10m");
    expect(&place.fix(&["--resume", "none"]), 2, "there is no run");
    expect(&place.fix(&["--branch", "x", "--attempts", "0"]), 3, "--attempts");
    let absent = Place::new(&[("test.sh", TEST)], &[]);
    fs::write(absent.path("task.toml"), "regreen = 1\nwhat = 2\n").unwrap();
    expect(&absent.fix(&["--task", "../task.toml"]), 2, "is not a task");
}

#[test]
fn a_killed_run_goes_on_and_asks_nothing_twice() {
    let slow = format!("sleep 0.2\n{TEST}");
    for after in [150, 400, 900, 1500] {
        let place = Place::new(&[("add.sh", ADD), ("test.sh", &slow)], &[WRONG, RIGHT]);
        let mut child = place.command(&[]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(after));
        child.kill().unwrap();
        child.wait().unwrap();
        if !place.path("runs").exists() {
            continue;
        }
        let id = place.run().file_name().unwrap().to_str().unwrap().to_owned();
        if !place.run().join(FILE).metadata().is_ok_and(|data| data.len() > 0) {
            continue;
        }
        expect(&place.fix(&["--resume", &id]), 0, "");
        let records = place.records();
        let replies = records.iter().filter(|record| matches!(record.event, Event::Replied { .. })).count();
        assert_eq!(replies, 2, "killed after {after} ms: {records:#?}");
        assert!(matches!(records.last().unwrap().event, Event::Ended { outcome: Outcome::Green { .. }, .. }));
        let left = fs::read_dir(place.path("cache")).unwrap().count();
        assert_eq!(left, 1, "killed after {after} ms: a scratch folder is left beside the lock");
    }
}

#[test]
fn an_interrupted_run_says_how_to_go_on() {
    let place = Place::new(&[("add.sh", ADD), ("test.sh", "sleep 60\n")], &[RIGHT]);
    let child = place.command(&[]).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    expect(&child.wait_with_output().unwrap(), 130, "--resume");
}

#[test]
fn escape_sequences_from_tests_never_reach_the_terminal() {
    let hostile = "echo 1..1\nprintf 'not ok 1 - \\033[2Jevil\\n'\n";
    let place = Place::new(&[("test.sh", hostile)], &["prose"]);
    let output = place.fix(&[]);
    expect(&output, 1, "evil");
    assert!(!output.stderr.contains(&0x1b), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = regreen_command().args(["show", "--out"]).arg(place.path("runs")).output().unwrap();
    assert!(shown.status.success() && !shown.stdout.contains(&0x1b));
}

#[test]
fn a_flood_of_output_does_not_matter() {
    let flood = format!("yes flood | head -n 34000000\n{TEST}");
    let place = Place::new(&[("add.sh", ADD), ("test.sh", &flood)], &[WRONG, RIGHT]);
    expect(&place.fix(&[]), 0, "Green");
    assert!(place.run().join(FILE).metadata().unwrap().len() < 1_000_000);
}

#[test]
fn the_event_stream_is_the_ledger() {
    let place = Place::red(&[RIGHT]);
    let output = place.fix(&["--json"]);
    expect(&output, 0, "Green");
    assert_eq!(output.stdout, fs::read(place.run().join(FILE)).unwrap());
}
