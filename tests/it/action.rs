//! The GitHub Action from the outside: the real binary with a runner's variables, against a GitHub on this machine
//! over a real repository. The repository under test is a shell program, so that a run takes moments; the model is
//! scripted, all else is real.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fix::{ADD, RIGHT, TEST, WRONG};
use crate::github::{Fault, Server};
use crate::regreen_command;

/// The token that must stand nowhere.
const TOKEN: &str = "ghs_0123456789abcdefghijklmnopqrstuvwxyz";
/// The key of a model that must stand nowhere.
const KEY: &str = "sk-ant-0123456789abcdefghij";

/// A repository on a GitHub, a checkout of it, and a runner's folders.
struct Place {
    folder: tempfile::TempDir,
    server: Server,
}

/// What a step left.
struct Done {
    status: i32,
    said: String,
    outputs: BTreeMap<String, String>,
    summary: String,
}

impl Place {
    /// A repository with these files on `main`, and a model with these replies.
    fn new(files: &[(&str, &str)], replies: &[&str]) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let bare = folder.path().join("origin.git");
        git2::Repository::init_bare(&bare).unwrap();
        let server = Server::start(&bare, 0);
        let place = Place { folder, server };
        place.commit("main", files, "Begin\n");
        fs::create_dir(place.path("replies")).unwrap();
        for (n, reply) in replies.iter().enumerate() {
            fs::write(place.path("replies").join(format!("{}.md", n + 1)), reply).unwrap();
        }
        fs::create_dir(place.path("temp")).unwrap();
        place
    }

    fn red(replies: &[&str]) -> Place {
        Place::new(&[("add.sh", ADD), ("test.sh", TEST)], replies)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn git(&self) -> git2::Repository {
        git2::Repository::open_bare(self.path("origin.git")).unwrap()
    }

    /// Adds a commit to a branch, which is made from `main` if need be.
    fn commit(&self, branch: &str, files: &[(&str, &str)], message: &str) -> String {
        let git = self.git();
        let tip = |name: &str| {
            git.find_reference(&format!("refs/heads/{name}")).ok().and_then(|one| one.peel_to_commit().ok())
        };
        let parent = tip(branch).or_else(|| tip("main"));
        let mut index = git2::Index::new().unwrap();
        if let Some(parent) = &parent {
            index.read_tree(&parent.tree().unwrap()).unwrap();
        }
        for (path, text) in files {
            let time = git2::IndexTime::new(0, 0);
            let id = git.blob(text.as_bytes()).unwrap();
            let entry = git2::IndexEntry {
                ctime: time,
                mtime: time,
                dev: 0,
                ino: 0,
                mode: 0o100_644,
                uid: 0,
                gid: 0,
                file_size: 0,
                id,
                flags: 0,
                flags_extended: 0,
                path: path.as_bytes().to_vec(),
            };
            index.add(&entry).unwrap();
        }
        let tree = git.find_tree(index.write_tree_to(&git).unwrap()).unwrap();
        let author = git2::Signature::now("Ann", "ann@example.org").unwrap();
        let parents: Vec<&git2::Commit> = parent.iter().collect();
        let id = git.commit(None, &author, &author, message, &tree, &parents).unwrap();
        git.reference(&format!("refs/heads/{branch}"), id, true, "push").unwrap();
        id.to_string()
    }

    fn tip(&self, branch: &str) -> Option<String> {
        let git = self.git();
        let reference = git.find_reference(&format!("refs/heads/{branch}")).ok()?;
        Some(reference.target()?.to_string())
    }

    /// A file on a commit.
    fn file(&self, commit: &str, path: &str) -> String {
        let git = self.git();
        let commit = git.find_commit(git2::Oid::from_str(commit).unwrap()).unwrap();
        let entry = commit.tree().unwrap().get_path(Path::new(path)).unwrap();
        String::from_utf8(git.find_blob(entry.id()).unwrap().content().to_vec()).unwrap()
    }

    fn message(&self, commit: &str) -> String {
        let git = self.git();
        let commit = git.find_commit(git2::Oid::from_str(commit).unwrap()).unwrap();
        commit.message().unwrap().to_owned()
    }

    /// Checks a commit out, as actions/checkout does.
    fn check_out(&self, sha: &str) {
        let place = self.path("checkout");
        let _ = fs::remove_dir_all(&place);
        let repository = git2::Repository::clone(self.path("origin.git").to_str().unwrap(), &place).unwrap();
        repository.set_head_detached(git2::Oid::from_str(sha).unwrap()).unwrap();
        repository.checkout_head(Some(git2::build::CheckoutBuilder::new().force())).unwrap();
    }

    /// A step on an event, with the commit `sha` checked out before.
    fn command(&self, step: &str, (event, payload): (&str, &Value), sha: &str) -> Command {
        for name in ["output", "summary"] {
            let _ = fs::remove_file(self.path(name));
        }
        fs::write(self.path("event.json"), payload.to_string()).unwrap();
        let mut command = regreen_command();
        command.args(["action", step]).current_dir(self.folder.path()).stdin(Stdio::null());
        let text = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let replies = format!("replay:{}", text("replies"));
        command.envs([
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", event),
            ("GITHUB_EVENT_PATH", &text("event.json")),
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_SHA", sha),
            ("GITHUB_REF_NAME", "main"),
            ("GITHUB_REF_TYPE", "branch"),
            ("GITHUB_ACTOR", "ann"),
            ("GITHUB_WORKSPACE", &text("checkout")),
            ("GITHUB_API_URL", &self.server.url),
            ("GITHUB_RUN_ID", &format!("77{}", u16::from_str_radix(&sha[..4], 16).unwrap())),
            ("GITHUB_OUTPUT", &text("output")),
            ("GITHUB_STEP_SUMMARY", &text("summary")),
            ("RUNNER_TEMP", &text("temp")),
            ("REGREEN_INPUT_GITHUB_TOKEN", TOKEN),
            ("REGREEN_INPUT_TEST_COMMAND", "sh test.sh"),
            ("REGREEN_INPUT_TEST_FORMAT", "tap"),
            ("REGREEN_INPUT_MODELS", &replies),
            ("REGREEN_INPUT_TOOLCHAIN", ""),
            ("REGREEN_INPUT_API_PATIENCE", "4"),
            ("ANTHROPIC_API_KEY", KEY),
        ]);
        command
    }

    fn finish(&self, mut command: Command) -> Done {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let faults = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(faults.is_empty(), "{faults}\n{said}");
        let read = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        let done = Done {
            status: output.status.code().unwrap(),
            outputs: outputs(&read("output")),
            summary: read("summary"),
            said,
        };
        for text in [&done.summary, &read("output"), &without_masks(&done.said)] {
            assert!(!text.contains(TOKEN) && !text.contains(KEY), "{text}");
        }
        done
    }

    /// Runs a step that must do its job.
    fn run(&self, step: &str, event: (&str, &Value), sha: &str, more: &[(&str, &str)]) -> Done {
        let mut command = self.command(step, event, sha);
        command.envs(more.iter().copied());
        let done = self.finish(command);
        assert_eq!(done.status, 0, "{}", done.said);
        done
    }

    /// Runs a step that must fail with this status and words.
    fn fails(
        &self,
        step: &str,
        event: (&str, &Value),
        sha: &str,
        more: &[(&str, &str)],
        status: i32,
        words: &str,
    ) {
        let mut command = self.command(step, event, sha);
        command.envs(more.iter().copied());
        let done = self.finish(command);
        assert_eq!(done.status, status, "{}", done.said);
        assert!(done.said.contains(words), "{words:?} is not in:\n{}", done.said);
    }

    /// A patch, found and verified in jobs of their own; the variables that the publishing job gets.
    fn judged(&self, event: (&str, &Value), sha: &str) -> Vec<(&'static str, String)> {
        self.check_out(sha);
        let solved = self.run("solve", event, sha, &[]);
        assert!(!solved.outputs["patch-path"].is_empty(), "{}", solved.said);
        let verified = self.run("verify", event, sha, &[("REGREEN_INPUT_GITHUB_TOKEN", "")]);
        assert_eq!(verified.outputs["outcome"], "passes-visible", "{}", verified.said);
        fs::remove_dir_all(self.path("checkout")).unwrap();
        vec![
            ("REGREEN_INPUT_PATCH_SHA256", verified.outputs["patch-sha256"].clone()),
            ("REGREEN_INPUT_RECEIPT_SHA256", verified.outputs["receipt-sha256"].clone()),
        ]
    }

    fn state(&self) -> Value {
        self.server.control("GET", "/_state", &Value::Null)
    }

    fn comments(&self) -> Vec<String> {
        self.state()["comments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["body"].as_str().unwrap().to_owned())
            .collect()
    }

    fn pulls(&self) -> Vec<Value> {
        let state = self.state();
        let made = |pull: &&Value| pull["head"]["ref"].as_str().unwrap().starts_with("regreen/");
        state["pulls"].as_array().unwrap().iter().filter(made).cloned().collect()
    }

    fn branches(&self) -> Vec<String> {
        let state = self.state();
        let all = state["refs"]
            .as_object()
            .unwrap()
            .keys()
            .filter_map(|name| name.strip_prefix("refs/heads/regreen/"));
        all.map(str::to_owned).collect()
    }
}

fn borrowed<'a>(pairs: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    pairs.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// The entries of `$GITHUB_OUTPUT`, read as the runner does.
fn outputs(text: &str) -> BTreeMap<String, String> {
    let (mut found, mut lines) = (BTreeMap::new(), text.lines());
    while let Some(line) = lines.next() {
        let (name, delimiter) = line.split_once("<<").unwrap_or_else(|| panic!("{line:?} begins no entry"));
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
        found.insert(name.to_owned(), value.join("\n"));
    }
    found
}

/// What was said without the commands that mask: they hold what they hide.
fn without_masks(said: &str) -> String {
    said.lines().filter(|line| !line.starts_with("::add-mask::")).collect::<Vec<_>>().join("\n")
}

fn push(sha: &str) -> Value {
    json!({"ref": "refs/heads/main", "after": sha, "head_commit": {"id": sha, "message": "Change"}, "sender": {"login": "ann"}})
}

fn pull(number: u64, sha: &str, branch: &str, repository: &str) -> Value {
    json!({"action": "synchronize", "sender": {"login": "ann"}, "pull_request": {"number": number, "title": "T",
        "head": {"sha": sha, "ref": branch, "repo": {"full_name": repository}}, "base": {"ref": "main"}, "labels": []}})
}

#[test]
fn a_red_push_gets_a_pull_request_and_the_next_one_updates_it() {
    let place = Place::red(&[WRONG, RIGHT]);
    let first = place.tip("main").unwrap();
    place.check_out(&first);
    let done = place.run("all", ("push", &push(&first)), &first, &[]);
    assert_eq!(
        (done.outputs["outcome"].as_str(), done.outputs["attempts"].as_str()),
        ("passes-visible", "2"),
        "{}",
        done.said
    );
    let [made] = &place.pulls()[..] else { panic!("{:?}", place.pulls()) };
    assert_eq!(done.outputs["pull-request-url"], made["html_url"].as_str().unwrap());
    let body = made["body"].as_str().unwrap();
    for words in [
        "What was wrong",
        "adds",
        "What changed",
        "`add.sh` (+1 −1)",
        "How it was verified",
        "Verdict: **passes",
        "1 target fixed",
        "What is not proven",
        &first,
    ] {
        assert!(body.contains(words), "{words:?} is not in:\n{body}");
    }
    assert!(
        done.summary.contains("a verified fix is in #") && done.summary.contains("The story of the run"),
        "{}",
        done.summary
    );
    let branch = format!("regreen/{}", done.outputs["signature"]);
    let fixed = place.tip(&branch).unwrap();
    assert_eq!(place.file(&fixed, "add.sh"), ADD.replace('-', "+"));
    assert_eq!(place.tip("main").unwrap(), first, "the branch that went red is not touched");

    place.check_out(&fixed);
    let own = place.run("solve", ("push", &push(&fixed)), &fixed, &[]);
    assert!(own.outputs["reason"].contains("own"), "{:?}", own.outputs);

    let second = place.commit("main", &[("README", "words\n")], "Words\n");
    place.check_out(&second);
    // Where a rule forbids the branch to move, the text stays that of the patch which is there.
    let rule = Fault { on: "PATCH /git/refs".to_owned(), status: Some(422), ..Fault::default() };
    place.server.fault(rule);
    place.fails("all", ("push", &push(&second)), &second, &[], 70, "422");
    place.server.mend();
    assert_eq!(
        (place.tip(&branch).unwrap(), place.pulls()[0]["body"].as_str().unwrap()),
        (fixed.clone(), body)
    );
    let again = place.run("all", ("push", &push(&second)), &second, &[]);
    assert_eq!(again.outputs["pull-request-number"], done.outputs["pull-request-number"]);
    assert_eq!((place.pulls().len(), place.branches().len()), (1, 1));
    let moved = place.tip(&branch).unwrap();
    assert_ne!(moved, fixed);
    assert_eq!(place.file(&moved, "README"), "words\n");
    assert!(place.pulls()[0]["body"].as_str().unwrap().contains(&second));
    assert_eq!(place.state()["checks"].as_array().unwrap().len(), 2);

    // Somebody amends the commit, with its message: the branch is theirs from then on.
    let theirs = place.commit(&branch, &[("add.sh", "echo 5\n")], &place.message(&moved));
    let third = place.commit("main", &[("README", "more\n")], "More\n");
    place.check_out(&third);
    let left = place.run("all", ("push", &push(&third)), &third, &[]);
    assert_eq!(place.tip(&branch).unwrap(), theirs);
    assert!(left.said.contains("Somebody has worked on the branch"), "{}", left.said);
}

#[test]
fn flaky_tests_get_a_comment_and_no_model_is_asked() {
    // Of two thousand tests another one fails each time.
    let flaky = "awk -v bad=$(($(od -An -N4 -tu4 /dev/urandom) % 2000 + 1)) 'BEGIN { print \"1..2000\"; for (n = 1; n <= 2000; n++) print (n == bad ? \"not ok \" : \"ok \") n \" - t\" n }'\n";
    let place = Place::new(&[("test.sh", flaky)], &[RIGHT]);
    let head = place.commit("feature", &[("a", "b")], "A\n");
    place.check_out(&head);
    let done = place.run("all", ("pull_request", &pull(5, &head, "feature", "o/r")), &head, &[]);
    assert_eq!(
        (done.outputs["outcome"].as_str(), done.outputs["attempts"].as_str()),
        ("flaky", "0"),
        "{}",
        done.said
    );
    let [comment] = &place.comments()[..] else { panic!("{:?}", place.comments()) };
    assert!(comment.contains("no fix was tried: what failed is flaky"), "{comment}");
    assert!(place.pulls().is_empty() && place.branches().is_empty());
    let mut strict = place.command("solve", ("pull_request", &pull(5, &head, "feature", "o/r")), &head);
    strict.env("REGREEN_INPUT_FAIL_ON", "unsolved");
    assert_eq!(place.finish(strict).status, 1);
}

#[test]
fn a_missing_secret_is_told_apart_and_no_model_is_asked() {
    let test = "echo 1..1; echo 'not ok 1 - pays'; echo \"  # KeyError: 'STRIPE_API_KEY'\"\n";
    let place = Place::new(&[("test.sh", test)], &[RIGHT]);
    let head = place.commit("feature", &[("a", "b")], "A\n");
    place.check_out(&head);
    let done = place.run("all", ("pull_request", &pull(5, &head, "feature", "o/r")), &head, &[]);
    assert_eq!(
        (done.outputs["outcome"].as_str(), done.outputs["attempts"].as_str()),
        ("missing-secret", "0"),
        "{}",
        done.said
    );
    assert!(place.comments()[0].contains("tests lack a secret"));
}

#[test]
fn a_spent_budget_gets_a_comment_with_the_story_which_stays_one() {
    let place = Place::red(&[WRONG, RIGHT]);
    let head = place.commit("feature", &[("a", "b")], "A\n");
    place.check_out(&head);
    // Somebody who has nothing to do with the repository writes the mark that ours is found by.
    place.server.control(
        "POST",
        "/_comments",
        &json!({"id": 1, "issue": 5, "body": "<!-- regreen sticky -->\nmine", "html_url": "",
        "author_association": "NONE", "user": {"login": "mallory", "type": "User"}}),
    );
    let event = pull(5, &head, "feature", "o/r");
    let more = [("REGREEN_INPUT_ATTEMPTS", "1")];
    let done = place.run("all", ("pull_request", &event), &head, &more);
    assert_eq!(done.outputs["outcome"], "not-solved", "{}", done.said);
    let [theirs, comment] = &place.comments()[..] else { panic!("{:?}", place.comments()) };
    assert!(theirs.ends_with("mine"));
    assert!(
        comment.contains("budget")
            && comment.contains("The story of the run")
            && comment.contains("Attempt 1"),
        "{comment}"
    );
    place.run("all", ("pull_request", &event), &head, &more);
    assert_eq!(place.comments().len(), 2, "it is updated");
    assert!(place.pulls().is_empty() && place.branches().is_empty());
}

#[test]
fn a_fork_gets_a_report_and_nothing_is_written() {
    let place = Place::red(&[RIGHT]);
    let head = place.commit("feature", &[("a", "b")], "A\n");
    place.check_out(&head);
    let done = place.run("all", ("pull_request", &pull(5, &head, "feature", "mallory/r")), &head, &[]);
    assert!(place.server.asked().is_empty(), "{:?}", place.server.asked());
    // The model that was named is not asked: the embedded engine is alone.
    assert!(done.said.contains("proposers: repair"), "{}", done.said);
    assert!(!done.summary.is_empty());
    let run = json!({"workflow_run": {"conclusion": "failure", "head_sha": head, "head_branch": "feature",
        "head_repository": {"full_name": "mallory/r"}, "pull_requests": []}});
    let done = place.run("all", ("workflow_run", &run), &head, &[]);
    assert_eq!(done.outputs["outcome"], "not-solved", "{}", done.said);
    assert!(done.said.contains("proposers: repair"), "{}", done.said);
    assert!(place.server.asked().is_empty(), "{:?}", place.server.asked());
}

#[test]
fn guards_forbid_what_must_not_be_done() {
    let place = Place::red(&[RIGHT]);
    let head = place.tip("main").unwrap();
    place.check_out(&head);
    let skipped = |event: (&str, &Value), sha: &str, more: &[(&str, &str)], why: &str| {
        for step in ["solve", "all"] {
            let done = place.run(step, event, sha, more);
            assert_eq!(done.outputs["outcome"], "skipped", "{}", done.said);
            assert!(done.outputs["reason"].contains(why), "{:?}", done.outputs);
        }
        assert!(place.server.written().is_empty(), "{:?}", place.server.written());
    };
    skipped(("push", &push(&head)), &head, &[("REGREEN_DISABLED", "true")], "REGREEN_DISABLED");
    skipped(("pull_request", &pull(5, &head, "regreen/abc", "o/r")), &head, &[], "own");
    skipped(("push", &push(&head)), &head, &[("REGREEN_INPUT_ALLOWED_ACTORS", "bob, cy")], "allowed actors");
    let mut labelled = pull(5, &head, "feature", "o/r");
    labelled["pull_request"]["labels"] = json!([{"name": "no-regreen"}]);
    skipped(("pull_request", &labelled), &head, &[], "no-regreen");
    let comment = json!({"action": "created", "sender": {"login": "mallory"}, "issue": {"number": 5, "title": "T", "pull_request": {}},
        "comment": {"body": "/regreen", "author_association": "NONE"}});
    skipped(("issue_comment", &comment), &head, &[], "may not ask");
    // Who may only read asks, and a member on a fork's pull request.
    let theirs = json!({"number": 5, "head": "main", "base": "main", "fork": true, "labels": [], "title": "", "body": ""});
    place.server.control("POST", "/_pulls", &theirs);
    let mut reader = comment.clone();
    reader["sender"]["login"] = json!("reader");
    reader["comment"]["author_association"] = json!("MEMBER");
    skipped(("issue_comment", &reader), &head, &[], "may not write");
    let mut member = comment.clone();
    member["comment"]["author_association"] = json!("MEMBER");
    skipped(("issue_comment", &member), &head, &[], "fork");
    // A workflow does not say the labels of its pull request.
    place.server.control("POST", "/_pulls", &json!({"number": 9, "head": "main", "base": "main", "labels": ["no-regreen"], "title": "", "body": ""}));
    let run = json!({"workflow_run": {"conclusion": "failure", "head_sha": head, "head_branch": "main",
        "head_repository": {"full_name": "o/r"}, "pull_requests": [{"number": 9}]}});
    skipped(("workflow_run", &run), &head, &[], "no-regreen");
    // A fork's pull request has the same number, or there is none.
    for (pulls, branch) in
        [(json!([{"number": 9}]), "v1.0"), (json!([{"number": 404}]), "gh-readonly-queue/main/pr-1")]
    {
        let mut run = run.clone();
        run["workflow_run"]["head_branch"] = json!(branch);
        run["workflow_run"]["pull_requests"] = pulls;
        skipped(("workflow_run", &run), &head, &[], "is no branch (any more)");
    }
    // Three attempts were made.
    for n in 0..3 {
        place.server.control(
            "POST",
            "/_checks",
            &json!({"id": n, "head_sha": head, "name": "regreen", "external_id": format!("{n}.1")}),
        );
    }
    skipped(("push", &push(&head)), &head, &[], "3 attempts");
    // A commit of its own, whatever the event says.
    let own = place.commit("main", &[("a", "b")], "Make a pass\n\nRegreen-Signature: abc\n");
    place.check_out(&own);
    skipped(("push", &push(&own)), &own, &[], "own");
    // Another commit than the event's is checked out.
    place.fails("solve", ("push", &push(&head)), &head, &[], 2, "actions/checkout");
    place.fails("solve", ("push", &push(&own)), &own, &[("REGREEN_INPUT_MODE", "everything")], 2, "mode");
    place.fails("solve", ("release", &json!({})), &own, &[], 2, "release");
}

#[test]
fn a_member_asks_by_comment_and_the_commit_is_looked_up() {
    let place = Place::red(&[RIGHT]);
    let head = place.commit("feature", &[("a", "b")], "A\n");
    place.server.control(
        "POST",
        "/_pulls",
        &json!({"number": 5, "head": "feature", "base": "main", "labels": [], "title": "", "body": ""}),
    );
    place.check_out(&head);
    let comment = json!({"action": "created", "sender": {"login": "bob"}, "issue": {"number": 5, "title": "T", "pull_request": {}},
        "comment": {"body": "/regreen please", "author_association": "MEMBER"}});
    let main = place.tip("main").unwrap();
    let done = place.run("all", ("issue_comment", &comment), &main, &[]);
    let [made] = &place.pulls()[..] else { panic!("{}", done.said) };
    assert_eq!(made["base"]["ref"], "feature");
    assert!(place.comments()[0].contains("a verified fix is in #"), "{:?}", place.comments());
}

#[test]
fn who_asks_hears_that_nothing_is_red_and_a_label_that_came_later_counts() {
    let place = Place::new(&[("add.sh", &ADD.replace('-', "+")), ("test.sh", TEST)], &[RIGHT]);
    let head = place.tip("main").unwrap();
    let issue = json!({"number": 3, "title": "T", "body": "B", "labels": []});
    place.server.control("POST", "/_issues", &issue);
    let event = json!({"action": "labeled", "label": {"name": "Regreen"}, "sender": {"login": "bob"}, "issue": issue});
    let event = ("issues", &event);
    place.check_out(&head);
    let done = place.run("solve", event, &head, &[]);
    assert_eq!(done.outputs["outcome"], "skipped", "{}", done.said);
    let labels = |labels: &[&str]| {
        let issue = json!({"number": 3, "title": "T", "body": "B", "labels": labels});
        place.server.control("POST", "/_issues", &issue);
    };
    labels(&["No-Regreen"]);
    let done = place.run("publish", event, &head, &[]);
    assert!(done.said.contains("Nothing is published: the label no-regreen"), "{}", done.said);
    assert!(place.server.written().is_empty());
    labels(&[]);
    place.run("publish", event, &head, &[]);
    let [comment] = &place.comments()[..] else { panic!("{:?}", place.comments()) };
    assert!(comment.contains("nothing was to be done"), "{comment}");
}

#[test]
fn the_patch_goes_where_the_mode_says() {
    let place = Place::red(&[RIGHT]);
    let head = place.commit("feature", &[("a", "b")], "A\n");
    let event = pull(5, &head, "feature", "o/r");
    let event = ("pull_request", &event);
    let hashes = place.judged(event, &head);
    let with = |mode: &'static str| [borrowed(&hashes), vec![("REGREEN_INPUT_MODE", mode)]].concat();
    place.run("publish", event, &head, &with("report"));
    assert!(place.server.written().is_empty());
    place.run("publish", event, &head, &with("patch"));
    assert!(place.comments()[0].contains("+echo $(($1 + $2))") && place.branches().is_empty());
    // The head moves before the commit is made.
    let moved = place.commit("feature", &[("a", "c")], "B\n");
    let done = place.run("publish", event, &head, &with("commit"));
    assert!(done.said.contains("has moved"), "{}", done.said);
    assert_eq!(place.tip("feature").unwrap(), moved);
    place.git().reference("refs/heads/feature", git2::Oid::from_str(&head).unwrap(), true, "back").unwrap();
    place.run("publish", event, &head, &with("commit"));
    let commit = place.tip("feature").unwrap();
    assert_eq!(place.file(&commit, "add.sh"), ADD.replace('-', "+"));
    assert!(place.comments()[0].contains(&commit), "{:?}", place.comments());
    assert!(place.pulls().is_empty());
}

#[test]
fn only_what_was_verified_is_published() {
    let place = Place::red(&[RIGHT]);
    let head = place.tip("main").unwrap();
    let event = push(&head);
    let event = ("push", &event);
    let hashes = place.judged(event, &head);
    let folder = place.path("temp/regreen");
    let kept = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let (patch, receipt) = (kept("fix.patch"), kept("receipt.json"));
    let done = place.run("publish", event, &head, &[]);
    assert!(done.outputs["reason"].contains("patch-sha256"), "{:?}", done.outputs);
    // As an attempt it counts all the same.
    assert_eq!(place.state()["checks"][0]["output"]["title"], "Nothing could be proven");
    fs::write(folder.join("fix.patch"), patch.replace('+', "-")).unwrap();
    place.fails("publish", event, &head, &borrowed(&hashes), 70, "not what was verified");
    fs::write(folder.join("fix.patch"), &patch).unwrap();
    fs::write(folder.join("receipt.json"), receipt.replace("$1 + $2", "$1 * $2")).unwrap();
    place.fails("publish", event, &head, &borrowed(&hashes), 70, "not what was verified");
    // What no honest verifier gives out is refused all the same.
    let forged = |change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&receipt).unwrap();
        change(&mut value);
        let text = value.to_string();
        fs::write(folder.join("receipt.json"), &text).unwrap();
        vec![hashes[0].clone(), ("REGREEN_INPUT_RECEIPT_SHA256", sha256(text.as_bytes()))]
    };
    let file = json!({"kind": "plain", "content": "on: push\n"});
    let workflow = forged(&|receipt| receipt["patch"][".github/workflows/ci.yml"] = file.clone());
    place.fails("publish", event, &head, &borrowed(&workflow), 70, ".github/");
    let protected = [borrowed(&hashes), vec![("REGREEN_INPUT_PROTECTED_PATHS", "*.sh")]].concat();
    fs::write(folder.join("receipt.json"), &receipt).unwrap();
    place.fails("publish", event, &head, &protected, 70, "protected");
    let allowed = [borrowed(&hashes), vec![("REGREEN_INPUT_ALLOWED_PATHS", "src, lib")]].concat();
    place.fails("publish", event, &head, &allowed, 70, "allowed paths");
    let other = forged(&|receipt| receipt["patch"]["add.sh"]["content"] = json!("echo 5\n"));
    place.fails("publish", event, &head, &borrowed(&other), 70, "not the one that was judged");
    let base = forged(&|receipt| receipt["base_tree"] = json!("0".repeat(40)));
    place.fails("publish", event, &head, &borrowed(&base), 70, "has moved");
    assert!(place.branches().is_empty() && place.pulls().is_empty());
    // Each of these is an attempt, of which a job has one.
    let checks = |place: &Place| place.state()["checks"].clone();
    assert_eq!(checks(&place).as_array().unwrap().len(), 1);
    for (n, refused) in [&base, &other].into_iter().enumerate() {
        fs::write(folder.join("receipt.json"), &receipt).unwrap();
        let run = (n + 1).to_string();
        let job = [borrowed(refused), vec![("GITHUB_RUN_ID", run.as_str())]].concat();
        place.fails("publish", event, &head, &job, 70, "not what was verified");
        let last = checks(&place)[n + 1].take();
        assert_eq!(last["output"]["title"], "Nothing could be proven", "{last}");
    }
    // A level that is not reached is said, and nothing is published.
    fs::write(folder.join("receipt.json"), &receipt).unwrap();
    let level = [borrowed(&hashes), vec![("REGREEN_INPUT_LEVEL", "L4")]].concat();
    let done = place.run("publish", event, &head, &level);
    assert!(done.outputs["reason"].contains("below the level"), "{:?}", done.outputs);
    assert!(place.branches().is_empty());
    // Which failure it is follows from what was verified, whatever the solving job says.
    let mut context: Value = serde_json::from_str(&kept("context.json")).unwrap();
    let signature = context["signature"].take();
    context["signature"] = json!("../../heads/main");
    fs::write(folder.join("context.json"), context.to_string()).unwrap();
    place.run("publish", event, &head, &borrowed(&hashes));
    assert_eq!(json!(place.branches()), json!([signature]));
}

#[test]
fn what_people_did_to_the_pull_request_of_a_fix_stays() {
    let place = Place::red(&[RIGHT]);
    let old = place.commit("old", &[("README", "words\n")], "Words\n");
    let head = place.commit("main", &[("a", "b")], "A\n");
    let event = push(&head);
    let event = ("push", &event);
    let hashes = place.judged(event, &head);
    let hashes = borrowed(&hashes);
    // A branch that lacks the commit that went red would get it along with the fix.
    let elsewhere = [hashes.clone(), vec![("REGREEN_INPUT_BASE_BRANCH", "old")]].concat();
    let done = place.run("publish", event, &head, &elsewhere);
    assert!(done.said.contains("would come with it: none is made"), "{}", done.said);
    assert!(place.branches().is_empty() && place.pulls().is_empty());
    assert_eq!(place.tip("old").unwrap(), old);
    place.run("publish", event, &head, &hashes);
    let made = place.pulls().remove(0);
    let branch = made["head"]["ref"].as_str().unwrap();
    // A better title stays, while the text is made anew.
    let body = made["body"].as_str().unwrap();
    let theirs = |labels: &[&str]| {
        let body = format!("{}\nold", body.lines().next().unwrap());
        let pull = json!({"number": made["number"], "title": "Add, not subtract", "body": body, "head": branch, "base": "main",
            "labels": labels});
        place.server.control("POST", "/_pulls", &pull);
    };
    theirs(&[]);
    place.run("publish", event, &head, &hashes);
    assert_eq!(place.pulls()[0]["title"], "Add, not subtract");
    assert!(place.pulls()[0]["body"].as_str().unwrap().contains("How it was verified"));
    // The label that keeps regreen away does so there, too.
    theirs(&["no-regreen"]);
    let tip = place.tip(branch);
    let done = place.run("publish", event, &head, &hashes);
    assert!(done.said.contains("keeps regreen away"), "{}", done.said);
    assert!(place.pulls()[0]["body"].as_str().unwrap().ends_with("\nold"));
    assert_eq!(place.tip(branch), tip);
    // Somebody pushes while the commit is made.
    theirs(&[]);
    let slow = Fault { on: "POST /git/commits".to_owned(), delay_ms: 1000, after: true, ..Fault::default() };
    place.server.fault(slow);
    let seen = place.server.asked().len();
    let (pushed, done) = std::thread::scope(|scope| {
        let job = scope.spawn(|| place.run("publish", event, &head, &hashes));
        let met = |one: &String| one.starts_with("POST ") && one.ends_with("/git/commits");
        while !place.server.asked()[seen..].iter().any(met) {
            assert!(!job.is_finished(), "no commit was made");
            std::thread::sleep(Duration::from_millis(5));
        }
        (place.commit(branch, &[("add.sh", "echo 5\n")], "Mine\n"), job.join().unwrap())
    });
    assert!(done.said.contains("Somebody has worked on the branch"), "{}", done.said);
    assert_eq!(place.tip(branch), Some(pushed));
    assert!(place.pulls()[0]["body"].as_str().unwrap().ends_with("\nold"));
    place.server.mend();
    // Somebody amends the commit, with its message, and closes the pull request: no other one is made, and who asks for
    // one all the same gets it when the branch is gone.
    let amended = place.commit(branch, &[("add.sh", "echo 5\n")], &place.message(&tip.unwrap()));
    let closed = json!({"number": made["number"], "title": "T", "body": made["body"], "head": branch, "base": "main",
        "labels": [], "state": "closed"});
    place.server.control("POST", "/_pulls", &closed);
    let done = place.run("publish", event, &head, &hashes);
    assert!(done.said.contains("was closed by somebody"), "{}", done.said);
    let asked = json!({"action": "labeled", "label": {"name": "regreen"}, "sender": {"login": "bob"},
        "issue": {"number": 3, "title": "T", "body": "B", "labels": []}});
    let done = place.run("publish", ("issues", &asked), &head, &hashes);
    assert!(done.said.contains("Somebody has worked on the branch"), "{}", done.said);
    assert_eq!(place.tip(branch), Some(amended));
    place.git().find_reference(&format!("refs/heads/{branch}")).unwrap().delete().unwrap();
    place.run("publish", ("issues", &asked), &head, &hashes);
    assert_eq!(place.pulls().len(), 2);
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    regreen::verify::attest::hexadecimal(&sha2::Sha256::digest(bytes))
}

#[test]
fn faults_of_github_are_waited_out_or_told() {
    let place = Place::red(&[RIGHT]);
    let head = place.tip("main").unwrap();
    let event = push(&head);
    let event = ("push", &event);
    let hashes = place.judged(event, &head);
    let hashes = borrowed(&hashes);
    let fault = |on: &str, status: u16, times: u32| Fault {
        on: on.to_owned(),
        status: Some(status),
        times,
        ..Fault::default()
    };
    // Down for good.
    place.server.fault(fault("GET /", 502, 0));
    place.fails("publish", event, &head, &hashes, 70, "502");
    place.server.mend();
    place.server.fault(fault("POST /git/blobs", 0, 0));
    place.fails("publish", event, &head, &hashes, 70, "cannot be reached");
    place.server.mend();
    // The limit is used up for an hour, which is longer than may be waited.
    let reset = (jiff::Timestamp::now().as_second() + 3600).to_string();
    let headers =
        [("x-ratelimit-remaining".to_owned(), "0".to_owned()), ("x-ratelimit-reset".to_owned(), reset)];
    place.server.fault(Fault { headers: headers.into(), ..fault("POST /git/trees", 403, 0) });
    place.fails("publish", event, &head, &hashes, 70, "rate limit is used up until");
    place.server.mend();
    // No permission, or the setting is off: no branch is left.
    let refusal = |words: &str| json!({"message": words}).to_string();
    place.server.fault(Fault {
        body: refusal("Resource not accessible by integration"),
        ..fault("POST /pulls", 403, 0)
    });
    place.fails("publish", event, &head, &hashes, 70, "`pull-requests: write`");
    place.server.mend();
    let off = "GitHub Actions is not permitted to create or approve pull requests.";
    place.server.fault(Fault { body: refusal(off), ..fault("POST /pulls", 403, 0) });
    place.fails("publish", event, &head, &hashes, 70, "Allow GitHub Actions");
    place.server.mend();
    assert!(place.branches().is_empty() && place.pulls().is_empty());
    // What passes is waited out; what may have been carried out is not done twice.
    place.server.fault(fault("POST /git/blobs", 503, 1));
    place.server.fault(Fault {
        headers: [("retry-after".to_owned(), "1".to_owned())].into(),
        ..fault("POST /git/trees", 429, 1)
    });
    place.server.fault(Fault { after: true, ..fault("POST /git/refs", 0, 1) });
    place.server.fault(Fault { after: true, ..fault("POST /pulls", 0, 1) });
    let done = place.run(
        "publish",
        event,
        &head,
        &[hashes.clone(), vec![("REGREEN_INPUT_API_PATIENCE", "60")]].concat(),
    );
    assert_eq!((place.branches().len(), place.pulls().len()), (1, 1), "{}", done.said);
    assert_eq!(place.state()["checks"].as_array().unwrap().len(), 1, "one job has one check run");
}

#[test]
fn an_enterprise_server_is_asked_below_its_own_address() {
    let place = Place::red(&[RIGHT]);
    let head = place.tip("main").unwrap();
    let event = push(&head);
    let hashes = place.judged(("push", &event), &head);
    let url = format!("{}/api/v3", place.server.url);
    let before = place.server.asked().len();
    place.run(
        "publish",
        ("push", &event),
        &head,
        &[borrowed(&hashes), vec![("GITHUB_API_URL", url.as_str())]].concat(),
    );
    assert_eq!(place.pulls().len(), 1);
    assert!(place.server.asked()[before..].iter().all(|one| one.contains(" /api/v3/repos/o/r/")));
}

#[test]
fn a_cancelled_job_leaves_no_half_made_branch() {
    use nix::sys::signal::Signal::{SIGINT, SIGKILL};
    let place = Place::red(&[RIGHT]);
    let head = place.tip("main").unwrap();
    let event = push(&head);
    let event = ("push", &event);
    let hashes = place.judged(event, &head);
    let moments = [
        (SIGKILL, "POST /check-runs", false),
        (SIGKILL, "POST /git/blobs", true),
        (SIGKILL, "POST /git/commits", true),
        (SIGKILL, "POST /git/refs", false),
        (SIGKILL, "POST /git/refs", true),
        (SIGKILL, "POST /pulls", true),
        (SIGKILL, "POST /issues", true),
        (SIGINT, "POST /git/commits", true),
        (SIGINT, "POST /git/refs", true),
        (SIGINT, "POST /pulls", false),
    ];
    for (signal, on, after) in moments {
        place.server.fault(Fault { on: on.to_owned(), delay_ms: 200, after, times: 1, ..Fault::default() });
        let seen = place.server.asked().len();
        let mut command = place.command("publish", event, &head);
        command.envs(borrowed(&hashes)).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (method, part) = on.split_once(' ').unwrap();
        let met = |one: &String| one.starts_with(method) && one.contains(part);
        while !place.server.asked()[seen..].iter().any(met) {
            assert!(child.try_wait().unwrap().is_none(), "{on} was never asked");
            std::thread::sleep(Duration::from_millis(5));
        }
        let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(id, signal).unwrap();
        child.wait().unwrap();
        // What the server is still about.
        std::thread::sleep(Duration::from_millis(250));
        place.server.mend();
        // A branch that is there is whole.
        for branch in place.branches() {
            let tip = place.tip(&format!("regreen/{branch}")).unwrap();
            assert_eq!(place.file(&tip, "add.sh"), ADD.replace('-', "+"), "{on}");
        }
        if signal == SIGINT {
            assert_eq!(
                place.branches().len(),
                place.pulls().len(),
                "after SIGINT at {on}: a branch has its pull request"
            );
        }
        // The next job brings it to its end.
        place.run("publish", event, &head, &borrowed(&hashes));
        assert_eq!((place.branches().len(), place.pulls().len()), (1, 1), "{on}");
        place.server.control("POST", "/_forget", &Value::Null);
    }
}

#[test]
fn hostile_names_titles_and_logs_stay_text() {
    let name = "@octocat <img src=x onerror=alert(1)> ![i](http://evil.example/i) [l](http://evil.example) `c <!-- regreen sticky --> | *b*";
    let log = "::set-output name=outcome::solved\n::add-mask::regreen\n##[error]forged\n::stop-commands::x\n```\n@octocat\n~~~\n<!-- regreen sticky -->\noutcome<<EOF\nsolved\nEOF";
    let test = format!(
        "echo 1..1\ncat <<'END'\n{log}\nEND\nif [ \"$(sh add.sh 2 3)\" = 5 ]; then cat <<'END'\nok 1 - {name}\nEND\nelse cat <<'END'\nnot ok 1 - {name}\n  # {}\nEND\nfi\n",
        log.replace('\n', "\n  # ")
    );
    let branch = "f`$(touch$IFS.pwned)`@octocat\"';<b>";
    let place = Place::new(&[("add.sh", ADD), ("test.sh", &test)], &[RIGHT]);
    let head = place.commit(branch, &[("a", "b")], "::error::A\n@octocat\n");
    place.check_out(&head);
    let mut event = pull(5, &head, branch, "o/r");
    event["pull_request"]["title"] = json!(format!("{name}\n{log}"));
    let words = json!({"number": 3, "title": name, "body": log, "labels": []});
    place.server.control("POST", "/_issues", &words);
    let issue = [("REGREEN_INPUT_ISSUE_NUMBER", "3")];
    let done = place.run("all", ("pull_request", &event), &head, &issue);
    assert_eq!(done.outputs["outcome"], "passes-visible", "{}", done.said);
    let state = place.state();
    let [made] = &place.pulls()[..] else { panic!("{}", done.said) };
    assert_eq!(made["base"]["ref"], branch);
    let body = made["body"].as_str().unwrap();
    let title = made["title"].as_str().unwrap();
    assert!(!title.contains(['@', '<', '[', '`']), "{title}");
    let check = state["checks"][0]["output"]["summary"].as_str().unwrap();
    for text in [body, &place.comments()[0], check, &done.summary] {
        only_text(text);
    }
    assert!(body.contains("was given the text of #3"), "{body}");
    let runs = fs::read_dir(place.path("temp/regreen/run")).unwrap().next().unwrap().unwrap().path();
    assert!(fs::read_to_string(runs.join("ledger.jsonl")).unwrap().contains("forged"), "the issue was read");
    // A forged command would be one that the runner takes: the console lets it take its own only.
    let mut open = true;
    for line in done.said.lines() {
        assert!(!line.contains("##["), "{line}");
        if let Some(command) = line.trim_start().strip_prefix("::") {
            let ours = command.starts_with("add-mask::")
                || command.starts_with("stop-commands::")
                || command.trim_end_matches(':').len() == 32;
            assert!(ours && !command.contains("regreen"), "{line}");
            open = !command.starts_with("stop-commands");
        } else {
            assert!(!open, "{line} is printed while commands are taken");
        }
    }
    let known = [
        "outcome",
        "reason",
        "signature",
        "attempts",
        "cost-usd",
        "output-folder",
        "patch-path",
        "evidence",
        "level",
        "receipt-path",
        "patch-sha256",
        "receipt-sha256",
        "pull-request-number",
        "pull-request-url",
        "comment-url",
    ];
    assert!(done.outputs.keys().all(|name| known.contains(&name.as_str())), "{:?}", done.outputs.keys());
    assert!(!place.path("checkout/.pwned").exists() && !place.path(".pwned").exists());
}

/// Reads Markdown as GitHub's browsers do: outside of code nothing hostile is anything but text.
fn only_text(text: &str) {
    use pulldown_cmark::{Event, Options, Parser, Tag};
    let (mut code, mut shown) = (false, String::new());
    for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => code = true,
            Event::End(pulldown_cmark::TagEnd::CodeBlock) => code = false,
            Event::Text(words) if !code => shown.push_str(&words),
            Event::Start(Tag::Link { dest_url, .. }) => {
                assert!(dest_url.contains("/actions/runs/"), "{dest_url}\n{text}");
            }
            Event::Start(Tag::Image { dest_url, .. }) => panic!("a picture of {dest_url}\n{text}"),
            Event::Html(html) | Event::InlineHtml(html) => {
                let ours =
                    ["<!-- regreen", "<details>", "</details>", "<sub>", "</sub>", "<summary>", "</summary>"];
                let html = html.trim();
                assert!(html.is_empty() || ours.iter().any(|own| html.starts_with(own)), "{html}\n{text}");
            }
            _ => {}
        }
    }
    for mention in ["@octocat", "http://", "www.", "<img"] {
        assert!(!shown.contains(mention), "{mention} in {shown}");
    }
    assert!(text.match_indices("<!--").all(|(at, _)| at == 0), "{text}");
}

#[test]
fn keys_and_tokens_reach_no_code_of_the_repository() {
    let spy = "echo \"in $1\"; env\nfor place in /proc/[0-9]*/environ; do tr '\\0' '\\n' < $place 2>/dev/null; done\n";
    let test = "echo 1..1\necho 'not ok 1 - spies'\n(cat spied; sh spy.sh tests) | sed 's/^/  # /'\n";
    let place = Place::new(&[("spy.sh", spy), ("test.sh", test), ("add.sh", ADD)], &[RIGHT]);
    let head = place.tip("main").unwrap();
    place.check_out(&head);
    // Set-up has the network.
    let more = [("REGREEN_INPUT_ATTEMPTS", "1"), ("REGREEN_INPUT_SETUP_COMMAND", "sh spy.sh set-up > spied")];
    place.run("solve", ("push", &push(&head)), &head, &more);
    let runs = fs::read_dir(place.path("temp/regreen/run")).unwrap().next().unwrap().unwrap().path();
    let ledger = fs::read_to_string(runs.join("ledger.jsonl")).unwrap();
    for words in ["in set-up", "in tests", "PATH="] {
        assert!(ledger.contains(words), "the spy has seen no environment {words}");
    }
    assert!(!ledger.contains(TOKEN) && !ledger.contains(KEY));
}
