//! Mining from the outside: a small repository with a history of its own becomes a set.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::regreen;

/// A repository whose history is told commit by commit.
struct History {
    folder: tempfile::TempDir,
    commits: i64,
}

impl History {
    fn new() -> History {
        let folder = tempfile::tempdir().unwrap();
        git2::Repository::init(folder.path().join("shop")).unwrap();
        History { folder, commits: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Commits these files, an hour after the last commit; the commit's id.
    fn commit(&mut self, message: &str, files: &[(&str, &str)]) -> String {
        let root = self.path("shop");
        let repository = git2::Repository::open(&root).unwrap();
        let mut index = repository.index().unwrap();
        for (path, text) in files {
            let place = root.join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
            index.add_path(Path::new(path)).unwrap();
        }
        index.write().unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        self.commits += 1;
        let time = git2::Time::new(1_700_000_000 + self.commits * 3600, 0);
        let author = git2::Signature::new("a", "a@localhost", &time).unwrap();
        let parent = repository.head().ok().map(|head| head.peel_to_commit().unwrap());
        let parents: Vec<_> = parent.iter().collect();
        repository.commit(Some("HEAD"), &author, &author, message, &tree, &parents).unwrap().to_string()
    }

    fn mine(&self, more: &[&str]) -> Output {
        let words =
            ["mine", "shop", "--out", "set", "--times", "1", "--cache", "cache", "--setup-network", "off"];
        regreen(&[words.as_slice(), more].concat(), self.folder.path())
    }

    fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("set.mined.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const OLD_TEST: &str = "import unittest
from shop import total


class Old(unittest.TestCase):
    def test_of_nothing(self):
        self.assertEqual(total([]), 0)
";

const NEW_TEST: &str = "import unittest
from shop import total


class New(unittest.TestCase):
    def test_adds_prices(self):
        self.assertEqual(total([2, 3]), 5)
";

#[test]
fn bug_fixes_become_tasks_and_other_commits_are_told_with_their_reasons() {
    let mut history = History::new();
    let wrong = "def total(prices):\n    result = 0\n    for price in prices:\n        result -= price\n    return result\n";
    let right = wrong.replace("result -= price", "result += price");
    let renamed = right.replace("result", "amount");
    history.commit("First", &[("shop.py", wrong), ("test_old.py", OLD_TEST), ("CHANGES.md", "# Changes\n")]);
    let fix = history.commit(
        "Totals are negative (#7)\n\nEvery price was taken away; now `result += price`.\n\nSigned-off-by: A <a@localhost>\n",
        &[("shop.py", &right), ("test_new.py", NEW_TEST), ("CHANGES.md", "# Changes\n- result += price\n")],
    );
    let refactor = history.commit(
        "Better names",
        &[("shop.py", &renamed), ("test_old.py", &OLD_TEST.replace("of_nothing", "of_no_price"))],
    );
    history.commit("Only words", &[("README.md", "A shop.\n")]);
    history.commit("Only tests", &[("test_more.py", NEW_TEST)]);

    let done = history.mine(&["-j", "2"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let journal = history.journal();
    assert_eq!(journal.len(), 2, "{journal:?}");
    let of = |commit: &str| journal.iter().find(|mined| mined["commit"] == commit).unwrap();
    let name = format!("shop-{}", &fix[..10]);
    assert_eq!(of(&fix)["task"], *name, "{journal:?}");
    assert!(of(&refactor)["reason"].to_string().contains("nothing fails on the base"), "{journal:?}");

    let task = history.path("set").join(&name);
    let read = |file: &str| fs::read_to_string(task.join(file)).unwrap();
    assert_eq!((read("repo/shop.py").as_str(), read("repo/test_new.py").as_str()), (wrong, NEW_TEST));
    assert_eq!(read("repo/CHANGES.md"), "# Changes\n");
    assert!(
        read("gold.patch").contains("+        result += price") && !read("gold.patch").contains("CHANGES")
    );
    let toml: toml::Table = read("task.toml").parse().unwrap();
    assert_eq!(toml["statement"].as_str(), Some("Totals are negative"));
    let repository = git2::Repository::open(task.join("repo")).unwrap();
    assert_eq!(repository.head().unwrap().peel_to_commit().unwrap().parent_count(), 0);

    // Nothing is tried twice.
    let again = history.mine(&[]);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert!(said(&again).contains("1 tasks; 2 of 2 commits"), "{}", said(&again));
    assert_eq!(history.journal(), journal);

    let models = ["bench", "set", "--model", "gold", "--model", "empty", "--run", "run", "--cache", "cache"];
    let run = regreen(&models, history.folder.path());
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let report = regreen(&["report", "run", "--json"], history.folder.path());
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let solved: Vec<&Value> = (0..2).map(|at| &report["contestants"][at]["solved"]).collect();
    assert_eq!(solved, [1, 0], "{report}");
}

#[test]
fn mining_keeps_to_its_time_and_to_the_days_that_were_asked_for() {
    let mut history = History::new();
    let files = |program: &'static str| [("shop.py", program), ("test_new.py", NEW_TEST)];
    history.commit("First", &files("def total(prices):\n    return 0\n"));
    let later = NEW_TEST.replace("adds", "sums");
    history.commit(
        "Totals are zero",
        &[("shop.py", "def total(prices):\n    return sum(prices)\n"), ("test_new.py", &later)],
    );
    // What is no repository is the caller's mistake.
    let nowhere = regreen(&["mine", ".", "--out", "set"], history.folder.path());
    assert_eq!(nowhere.status.code(), Some(2), "{}", said(&nowhere));
    // All of it was made in November 2023.
    let none = history.mine(&["--since", "2024-01-01"]);
    assert_eq!(none.status.code(), Some(1), "{}", said(&none));
    assert!(said(&none).contains("0 of 0 commits"), "{}", said(&none));
    let late = history.mine(&["--until", "2024-01-01", "--time", "0s"]);
    assert_eq!(late.status.code(), Some(1), "{}", said(&late));
    let journal = history.journal();
    assert!(journal[0]["reason"].to_string().contains("longer than 0 s"), "{journal:?}");
    // That says nothing of the commit, which is tried again.
    let done = history.mine(&[]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
}
