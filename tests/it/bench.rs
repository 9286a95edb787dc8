//! Benches from the outside, with tasks that are tested by a shell script, so that a unit takes a second: what is
//! solved, what a fault of the environment is, what a kill costs, what a report says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::models::{Server, whole};
use crate::regreen_command;

const TEST: &str = "echo 1..2
check() { if [ \"$2\" = \"$3\" ]; then echo \"ok $1\"; else echo \"not ok $1\"; fi; }
check '1 - adds' \"$(sh add.sh 2 3)\" 5
check '2 - takes zero' \"$(sh add.sh 7 0)\" 7
";

const WRONG: &str = "# Adds two numbers.\necho $(($1 - $2))\n";
const RIGHT: &str = "# Adds two numbers.\necho $(($1 + $2))\n";
const GOLD: &str = "diff --git a/add.sh b/add.sh
--- a/add.sh
+++ b/add.sh
@@ -1,2 +1,2 @@
 # Adds two numbers.
-echo $(($1 - $2))
+echo $(($1 + $2))
";
const CHEAT: &str = "diff --git a/add.sh b/add.sh
--- a/add.sh
+++ b/add.sh
@@ -1,2 +1,3 @@
 # Adds two numbers.
-echo $(($1 - $2))
+echo 'ok 1 - adds' >&2
+echo $(($1 - $2 + 1))
";

/// A place with a set of tasks, and folders for runs and scratch.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new(tasks: &[&str]) -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        for task in tasks {
            place.task(task, "Sums are wrong.", "");
        }
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds a task.
    pub fn task(&self, name: &str, statement: &str, more: &str) {
        let folder = self.path("set").join(name);
        fs::create_dir_all(folder.join("repo")).unwrap();
        fs::create_dir_all(folder.join("cheats")).unwrap();
        let task = format!(
            "regreen = 1\nid = \"{name}\"\nstatement = \"{statement}\"\nsource = {{ path = \"repo\" }}\n\
             protected = [\"test.sh\"]\ntest_cmd = [\"sh\", \"test.sh\"]\ntest_format = \"tap\"\n{more}\n"
        );
        for (file, text) in [
            ("task.toml", task.as_str()),
            ("gold.patch", GOLD),
            ("cheats/words.patch", CHEAT),
            ("repo/add.sh", WRONG),
            ("repo/test.sh", TEST),
        ] {
            fs::write(folder.join(file), text).unwrap();
        }
    }

    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = regreen_command();
        command.arg("bench").args(arguments).current_dir(self.folder.path());
        command
    }

    pub fn bench(&self, arguments: &[&str]) -> Output {
        self.command(arguments).args(["--cache", "cache"]).output().unwrap()
    }

    /// The report of a run.
    pub fn report(&self, run: &str) -> Value {
        let done = regreen_command().args(["report", run, "--json"]).current_dir(self.folder.path()).output();
        serde_json::from_slice(&done.unwrap().stdout).unwrap()
    }
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub fn assert_status(output: &Output, expected: i32) {
    assert_eq!(output.status.code(), Some(expected), "{}", said(output));
}

#[test]
fn gold_solves_everything_and_empty_nothing() {
    let place = Place::new(&["a", "b"]);
    let done = place.bench(&["set", "--model", "gold", "--model", "empty", "-j", "2", "--run", "run"]);
    assert_status(&done, 0);
    let report = place.report("run");
    let found: Vec<(&str, u64, u64)> = report["contestants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let number = |name: &str| one[name].as_u64().unwrap();
            (one["model"].as_str().unwrap(), number("solved"), number("conclusive"))
        })
        .collect();
    assert_eq!(found, [("gold", 2, 2), ("empty", 0, 2)]);
    assert_eq!(report["comparisons"][0]["says"], "the data cannot carry a difference");
    let table = String::from_utf8(done.stdout).unwrap();
    assert!(table.contains("100.0 %") && table.contains("cannot carry"), "{table}");
    // Finished units are not done again, and the report stays the same.
    let again = place.bench(&["--resume", "run"]);
    assert_status(&again, 0);
    assert!(said(&again).contains("0 of 4 units to do"), "{}", said(&again));
    assert_eq!(place.report("run"), report);
    // What has changed since matters to a unit that is still to be done, and to no other.
    fs::write(place.path("set/b/repo/add.sh"), RIGHT).unwrap();
    assert_status(&place.bench(&["--resume", "run"]), 0);
    assert_eq!(place.report("run"), report);
    fs::remove_dir_all(fs::read_dir(place.path("run/results")).unwrap().next().unwrap().unwrap().path())
        .unwrap();
    let refused = place.bench(&["--resume", "run"]);
    assert!(said(&refused).contains("the set") && refused.status.code() != Some(0), "{}", said(&refused));
}

#[test]
fn a_killed_bench_goes_on_and_reports_the_same() {
    let place = Place::new(&["a", "b", "c"]);
    let arguments =
        ["set", "--model", "oracle-noise", "-k", "2", "-j", "2", "--attempts", "4", "--seed", "7", "--run"];
    let undisturbed = place.bench(&[arguments.as_slice(), &["one"]].concat());
    assert_status(&undisturbed, 0);
    let mut command = place.command(&[arguments.as_slice(), &["two", "--cache", "cache"]].concat());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Somewhere in the middle of it: when the first result stands.
    let results = place.path("two/results");
    while fs::read_dir(&results).map_or(0, Iterator::count) == 0 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let standing: Vec<PathBuf> =
        fs::read_dir(&results).unwrap().map(|entry| entry.unwrap().path().join("ledger.jsonl")).collect();
    assert!(!standing.is_empty() && standing.len() < 6, "{standing:?}");
    let before: Vec<Vec<u8>> = standing.iter().map(|file| fs::read(file).unwrap()).collect();
    assert_status(&place.bench(&["--resume", "two"]), 0);
    assert_eq!(place.report("one"), place.report("two"));
    let after: Vec<Vec<u8>> = standing.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(before == after, "a finished unit was done again");
    let noise = &place.report("two")["contestants"][0]["noise"];
    let answers = noise.as_object().unwrap();
    assert!(answers.len() > 1, "{noise}");
    for kind in ["wrong", "malformed", "cheat"] {
        assert!(answers.get(kind).is_none_or(|counts| counts[1] == 0), "{kind} was accepted: {noise}");
    }
}

#[test]
fn a_scheduler_of_ones_own_does_a_plan_line_by_line() {
    let place = Place::new(&["a"]);
    place.task("b", "Sums are wrong.", "setup = [{ argv = [\"false\"] }]");
    let planned = place.command(&["plan", "set", "--model", "gold", "--run", "run"]).output().unwrap();
    assert_status(&planned, 0);
    let exec = |index: &str| place.bench(&["exec", "--run", "run", "--index", index]);
    assert_status(&exec("0"), 0);
    let result = |of: &str| fs::read_dir(place.path(of)).unwrap().count();
    assert_eq!((result("run/results"), result("run/faults")), (1, 0));
    assert_status(&exec("0"), 0);
    // Set-up fails: another machine, or another day, may do it.
    assert_status(&exec("1"), 75);
    assert_eq!((result("run/results"), result("run/faults"), result("run/work")), (1, 1, 0));
    assert_status(&exec("2"), 78);
    let report = place.report("run");
    let standings: Vec<&Value> =
        report["runs"][0]["units"].as_array().unwrap().iter().map(|unit| &unit["standing"]).collect();
    assert_eq!(standings, ["solved", "inconclusive"]);
    assert_eq!(report["contestants"][0]["proves"], false);
    // What results depend on has changed.
    fs::write(place.path("set/b/repo/add.sh"), RIGHT).unwrap();
    let changed = exec("1");
    assert_status(&changed, 78);
    assert!(said(&changed).contains("the set"), "{}", said(&changed));
}

#[test]
fn two_that_do_the_same_unit_at_once_leave_one_result() {
    let place = Place::new(&["a"]);
    let planned = place
        .command(&["plan", "set", "--model", "gold", "--model", "empty", "--run", "run"])
        .output()
        .unwrap();
    assert_status(&planned, 0);
    for index in ["0", "1"] {
        let start = || {
            let mut command = place.command(&["exec", "--run", "run", "--index", index, "--cache", "cache"]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let both = [start(), start(), start()].map(|child| child.wait_with_output().unwrap());
        let mut statuses = both.each_ref().map(|done| done.status.code());
        statuses.sort_unstable();
        // Whoever comes while another is at it may try again; whoever comes later finds the result.
        assert!(statuses.contains(&Some(0)), "{statuses:?}");
        assert!(statuses.iter().all(|status| [Some(0), Some(75)].contains(status)), "{statuses:?}");
        assert_status(&place.bench(&["exec", "--run", "run", "--index", index]), 0);
    }
    let names = |of: &str| fs::read_dir(place.path(of)).unwrap().count();
    assert_eq!((names("run/results"), names("run/work"), names("run/faults")), (2, 0, 0));
    let report = place.report("run");
    assert_eq!([&report["contestants"][0]["solved"], &report["contestants"][1]["solved"]], [1, 0]);
}

#[test]
fn faults_of_the_environment_are_no_failures() {
    let place = Place::new(&["a"]);
    place.task("b", "Sums are wrong.", "setup = [{ argv = [\"false\"] }]");
    let done = place.bench(&["set", "--model", "gold", "--run", "run"]);
    assert_status(&done, 6);
    let table = String::from_utf8(done.stdout).unwrap();
    assert!(table.contains("this run proves nothing"), "{table}");
    let tries = || fs::read_dir(place.path("run/faults")).unwrap().next().unwrap().unwrap().path();
    let count = || fs::read_dir(tries()).unwrap().count();
    assert_eq!(count(), 3);
    assert_status(&place.bench(&["--resume", "run"]), 6);
    assert_eq!(count(), 3);
    assert_status(&place.bench(&["--resume", "run", "--retry-infra"]), 6);
    assert_eq!(count(), 6);
}

#[test]
fn validation_tells_good_tasks_from_bad_ones() {
    let place = Place::new(&["good"]);
    place.task("quoted", "It must be `echo $(($1 + $2))`.", "");
    place.task("green", "Sums are wrong.", "");
    fs::write(place.path("set/green/repo/add.sh"), RIGHT).unwrap();
    fs::write(place.path("set/green/gold.patch"), GOLD.replace("-echo $(($1 - $2))", "-echo $(($1 + $2))"))
        .unwrap();
    place.task("left", "Sums are wrong.", "");
    fs::write(place.path("set/left/repo/add.sh.orig"), RIGHT).unwrap();
    place.task("unsolved", "Sums are wrong.", "");
    fs::write(place.path("set/unsolved/gold.patch"), CHEAT).unwrap();
    place.task("copied", "Sums are wrong.", "");
    fs::write(place.path("set/copied/repo/add.sh.bak"), format!("# Old.\n{RIGHT}")).unwrap();
    place.task("packed", "Sums are wrong.", "");
    fs::write(place.path("set/packed/repo/old.bundle"), "# v2 git bundle\n").unwrap();
    place.task("weak", "The word is wrong.", "");
    for (file, text) in [
        ("repo/test.sh", "echo 1..1\ngrep -q good word.txt && echo ok 1 - word || echo not ok 1 - word\n"),
        ("repo/word.txt", "bad\n"),
        ("repo/sum.py", "def add(a, b):\n    return a - b\n"),
        (
            "gold.patch",
            "diff --git a/sum.py b/sum.py\n--- a/sum.py\n+++ b/sum.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a - b\n+    return a + b\n\
             diff --git a/word.txt b/word.txt\n--- a/word.txt\n+++ b/word.txt\n@@ -1 +1 @@\n-bad\n+good\n",
        ),
    ] {
        fs::write(place.path("set/weak").join(file), text).unwrap();
    }
    let done = place.bench(&["validate", "set", "--times", "2", "-j", "2", "--out", "proofs.jsonl"]);
    assert_status(&done, 1);
    let proofs = fs::read_to_string(place.path("proofs.jsonl")).unwrap();
    for (task, fault) in [
        ("good", None),
        ("quoted", Some("quotes the right answer")),
        ("green", Some("nothing fails on the base")),
        ("left", Some("add.sh.orig of the base holds the right answer")),
        ("unsolved", Some("the right answer is not-solved")),
        ("copied", Some("add.sh.bak of the base holds the right answer")),
        ("packed", Some("old.bundle of the base is git's history")),
        ("weak", Some("put into the right answer")),
    ] {
        let lines = proofs.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let proof = lines.into_iter().find(|proof| proof["task"] == task).unwrap();
        match fault {
            None => assert_eq!(proof["faults"], Value::Array(Vec::new()), "{proof}"),
            Some(fault) => assert!(proof["faults"].to_string().contains(fault), "{proof}"),
        }
    }
}

#[test]
fn a_line_of_humanevalfix_becomes_a_task() {
    let line = serde_json::json!({
        "task_id": "Python/0", "declaration": "def double(n: int) -> int:\n", "entry_point": "double",
        "buggy_solution": "    return n * 3\n", "canonical_solution": "    return n * 2\n",
        "docstring": "Twice the number.",
        "test": "def check(double):\n    assert double(0) == 0\n    assert double(2) == 4\n\ncheck(double)\n",
    });
    let place = Place::new(&[]);
    fs::write(place.path("set.jsonl"), line.to_string() + "\n").unwrap();
    let rates = ["--rates", "cheat=1", "--attempts", "3", "--seed", "3"];
    let models = ["set.jsonl", "--model", "gold", "--model", "oracle-noise", "--run", "run"];
    let done = place.bench(&[models.as_slice(), rates.as_slice()].concat());
    if said(&done).contains("which is not installed") && std::env::var_os("CI").is_none() {
        eprintln!("SKIPPED: pytest is not installed");
        return;
    }
    assert_status(&done, 0);
    let report = place.report("run");
    let (gold, noise) = (&report["contestants"][0], &report["contestants"][1]);
    assert_eq!((&gold["solved"], &noise["solved"]), (&Value::from(1), &Value::from(0)), "{report}");
    assert_eq!(noise["noise"]["cheat"][1], 0, "{report}");
}

#[test]
fn an_instance_of_swe_bench_becomes_a_task() {
    let place = Place::new(&[]);
    let mirror = place.path("mirrors/owner__name");
    let old = "import unittest\nfrom program import add\n\n\nclass Old(unittest.TestCase):\n    def test_zero(self):\n        self.assertEqual(add(7, 0), 7)\n";
    let program = "def add(a, b):\n    return a - b\n";
    let commit = committed(&mirror, &[("program.py", program), ("test_old.py", old)]);
    let patch = "diff --git a/program.py b/program.py\n--- a/program.py\n+++ b/program.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a - b\n+    return a + b\n";
    let new = "import unittest\nfrom program import add\n\n\nclass New(unittest.TestCase):\n    def test_adds(self):\n        self.assertEqual(add(2, 3), 5)\n";
    let lines: String = new.lines().flat_map(|line| ["+", line, "\n"]).collect();
    let tests = format!(
        "diff --git a/test_new.py b/test_new.py\nnew file mode 100644\n--- /dev/null\n+++ b/test_new.py\n@@ -0,0 +1,{} @@\n{lines}",
        new.lines().count()
    );
    let instance = serde_json::json!({
        "instance_id": "owner__name-1", "repo": "owner/name", "base_commit": commit, "patch": patch,
        "test_patch": tests, "problem_statement": "Sums are wrong.", "version": "1",
        "FAIL_TO_PASS": "[\"test_new.New.test_adds\"]", "PASS_TO_PASS": ["test_old.Old.test_zero"],
    });
    fs::write(place.path("set.jsonl"), instance.to_string() + "\n").unwrap();
    let models = ["set.jsonl", "--mirrors", "mirrors", "--model", "gold", "--model", "empty"];
    let how = ["--run", "run", "--setup-network", "off"];
    assert_status(&place.bench(&[models.as_slice(), how.as_slice()].concat()), 0);
    let report = place.report("run");
    let solved: Vec<&Value> = (0..2).map(|at| &report["contestants"][at]["solved"]).collect();
    assert_eq!(solved, [1, 0], "{report}");
}

/// A repository with one commit; its id.
fn committed(folder: &Path, files: &[(&str, &str)]) -> String {
    let repository = git2::Repository::init(folder).unwrap();
    let mut index = repository.index().unwrap();
    for (path, text) in files {
        let place = folder.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
        index.add_path(Path::new(path)).unwrap();
    }
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let author = git2::Signature::now("a", "a@localhost").unwrap();
    repository.commit(Some("HEAD"), &author, &author, "one", &tree, &[]).unwrap().to_string()
}

#[test]
fn the_page_opens_in_a_browser_and_runs_nothing_that_others_wrote() {
    let hostile = "<img src=x onerror=document.title=1>";
    let place = Place::new(&["a", hostile]);
    assert_status(&place.bench(&["set", "--model", "empty", "--model", "gold", "--run", "run"]), 0);
    let mut report = regreen_command();
    report.args(["report", "run", "--html", "page.html"]).current_dir(place.folder.path());
    assert!(report.status().unwrap().success());
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("&lt;img") && !page.contains("<img"), "the name of a task is not escaped");
    assert!(!page.contains("src=\"http") && !page.contains("url("), "the page fetches something");
    // The story of a unit holds its patch.
    assert!(page.contains("+echo $(($1 + $2))"), "{page}");
    let chromium = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        std::process::Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok()
    });
    let Some(chromium) = chromium else {
        assert!(std::env::var_os("CI").is_none(), "no browser is installed: scripts/install-toolchains");
        eprintln!("SKIPPED: no browser is installed");
        return;
    };
    let shown = std::process::Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("--user-data-dir={}", place.path("browser").display()))
        .arg(format!("file://{}", place.path("page.html").display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&shown.stdout);
    // Neither dollars nor tokens were spent.
    assert_eq!((dom.matches("<svg").count(), dom.matches("Nothing was spent").count()), (2, 2), "{dom}");
    assert_eq!(dom.matches("<details").count(), 4, "{dom}");
    assert!(dom.contains("<title>regreen bench</title>"), "{dom}");
}

#[test]
fn what_all_units_may_spend_is_never_exceeded() {
    let place = Place::new(&["a", "b", "c"]);
    // An answer costs 1.20 dollars here, and no task is solved by it.
    let server = Server::start(vec![whole(); 40]);
    let model = ["--model", "openai/test", "--base-url", &server.url, "--price", "1000,1000"];
    let most = [
        "--max-output",
        "300",
        "--attempts",
        "3",
        "--usd",
        "50",
        "--total-usd",
        "6",
        "-j",
        "2",
        "--run",
        "run",
    ];
    let done = place.bench(&[["set"].as_slice(), &model, &most].concat());
    assert_status(&done, 3);
    let calls = server.count();
    let money = fs::read_to_string(place.path("run/money.jsonl")).unwrap();
    let lines = || money.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let sum = |name: &str| lines().filter_map(|line| line[name].as_f64()).sum::<f64>();
    assert!(calls > 0 && sum("settle") > 0.0 && sum("settle") <= 6.0, "{calls} calls: {money}");
    assert_eq!(lines().filter(|line| line["reserve"].is_f64()).count(), calls, "{money}");
    // Going on spends nothing more, and says so.
    assert_status(&place.bench(&["--resume", "run"]), 3);
    assert_eq!(server.count(), calls);
}

#[test]
fn workers_share_the_processors() {
    let place = Place::new(&["a", "b"]);
    for task in ["a", "b"] {
        let test = TEST.replace("\"$(sh add.sh 2 3)\" 5", "\"$(sh add.sh 2 3) on $(nproc)\" '5 on 1'");
        assert!(test.contains("nproc"));
        fs::write(place.path("set").join(task).join("repo/test.sh"), test).unwrap();
    }
    // As many workers as there are processors, and never less than two.
    let cores = std::thread::available_parallelism().unwrap().get().max(2);
    for task in 0..cores.saturating_sub(2) {
        place.task(&format!("more-{task}"), "Sums are wrong.", "");
    }
    assert_status(&place.bench(&["set", "--model", "gold", "-j", &cores.to_string(), "--run", "run"]), 0);
    let report = place.report("run");
    assert_eq!(report["contestants"][0]["solved"], cores, "{report}");
}
