//! `scripts/run-action`, the local stand-in for GitHub's runner: workflows made of odd cases, each with what must
//! come of it beside it as JSON. A member that is not named there may be anything.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::root;

fn workflows() -> PathBuf {
    root().join("tests/it/workflows")
}

/// Whether Python and its YAML are there; where they are not, CI fails and others are told.
pub fn runs_here() -> bool {
    let asked = Command::new("python3").args(["-c", "import yaml"]).stderr(Stdio::null()).status();
    let there = asked.is_ok_and(|status| status.success());
    if !there {
        eprintln!("SKIPPED: python3 with PyYAML is missing");
        assert!(
            std::env::var_os("CI").is_none(),
            "python3 with PyYAML is missing: scripts/install-toolchains"
        );
    }
    there
}

/// The runner on a workflow; what comes of it is left in `folder/work`.
fn runner(workflow: &Path, event: &str, payload: &Value, folder: &Path) -> Command {
    let file = folder.join("payload.json");
    fs::write(&file, payload.to_string()).unwrap();
    let mut command = Command::new(root().join("scripts/run-action"));
    command.arg(workflow).args(["--event", event, "--payload"]).arg(file);
    command.arg("--work").arg(folder.join("work"));
    command
}

fn results(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("work/results.json")).unwrap()).unwrap()
}

/// Where `found` is not what `wanted` asks for; only what `wanted` names is compared.
fn differences(found: &Value, wanted: &Value, at: &str, told: &mut Vec<String>) {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            for (name, value) in wanted {
                differences(found.get(name).unwrap_or(&Value::Null), value, &format!("{at}/{name}"), told);
            }
        }
        (Value::Array(found), Value::Array(wanted)) if found.len() == wanted.len() => {
            for (number, (found, wanted)) in found.iter().zip(wanted).enumerate() {
                differences(found, wanted, &format!("{at}/{number}"), told);
            }
        }
        _ if found == wanted => {}
        _ => told.push(format!("{at}\n  found  {found}\n  wanted {wanted}")),
    }
}

/// Runs `NAME.yml` and compares with `NAME.json`.
fn check(
    name: &str,
    event: &str,
    payload: &Value,
    more: impl FnOnce(&mut Command),
) -> (tempfile::TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = runner(&workflows().join(format!("{name}.yml")), event, payload, folder.path());
    more(&mut command);
    let done = command.output().unwrap();
    let log = String::from_utf8_lossy(&done.stdout);
    assert!(
        folder.path().join("work/results.json").exists(),
        "{log}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    compare(name, folder.path(), &log);
    (folder, done)
}

fn compare(name: &str, folder: &Path, log: &str) {
    let wanted = fs::read(workflows().join(format!("{name}.json"))).unwrap();
    let mut told = Vec::new();
    differences(&results(folder), &serde_json::from_slice(&wanted).unwrap(), "", &mut told);
    assert!(told.is_empty(), "{}\n{log}", told.join("\n"));
}

#[test]
fn expressions_are_worth_what_github_says() {
    if !runs_here() {
        return;
    }
    let payload = json!({
        "inputs": { "mode": "patch" },
        "list": [{ "name": "one" }, { "name": "two" }],
        "labels": [{ "name": "bug" }, { "name": "regreen" }],
    });
    let (_, done) = check("expressions", "workflow_dispatch", &payload, |_| ());
    assert_eq!(done.status.code(), Some(0));
}

#[test]
fn steps_see_and_leave_what_they_do_on_github() {
    if !runs_here() {
        return;
    }
    let (folder, done) = check("steps", "push", &json!({}), |command| {
        let action = |name: &str| format!("octo/{name}={}", workflows().join(name).display());
        command.args(["--secret", "MODEL_KEY=key-4711-abcd"]);
        command.args(["--action", &action("compose"), "--action", &action("node")]);
    });
    assert_eq!(done.status.code(), Some(1));
    let log = fs::read_to_string(folder.path().join("work/jobs/files/log.txt")).unwrap();
    assert!(log.contains("the key is ***, in base64 ***"), "{log}");
    assert!(!log.contains("4711") && !log.contains("spoken-word"), "{log}");
    let summary = fs::read_to_string(folder.path().join("work/jobs/files/summary.md")).unwrap();
    assert_eq!(summary, "job now\n\nsecond\n\nnow ***\n");
}

#[test]
fn jobs_wait_for_each_other_and_have_no_more_permissions_than_they_ask_for() {
    if !runs_here() {
        return;
    }
    let run = json!({ "name": "ci", "head_branch": "release/1/x", "conclusion": "failure" });
    let payload = json!({ "action": "completed", "workflow_run": run });
    check("jobs", "workflow_run", &payload, |_| ());
}

#[test]
fn artifacts_and_checkouts_go_from_job_to_job_and_forks_are_refused() {
    if !runs_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let git = |words: &str| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=T", "-c", "user.email=t@example.com"]).args(words.split(' '));
        let done = command.current_dir(folder.path()).output().unwrap();
        assert!(done.status.success(), "git {words}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    git("init -q -b main");
    for branch in ["main", "topic"] {
        git(&format!("checkout -q -B {branch}"));
        fs::write(folder.path().join("word"), branch).unwrap();
        git("add word");
        git(&format!("commit -q -m {branch}"));
    }
    let run = json!({
        "name": "ci",
        "event": "pull_request",
        "head_sha": git("rev-parse topic"),
        "head_repository": { "id": 2, "full_name": "stranger/shop" },
    });
    let payload = json!({ "repository": { "id": 1 }, "workflow_run": run });
    check("artifacts", "workflow_run", &payload, |command| {
        command.args(["--sha", &git("rev-parse main"), "--clone-url"]).arg(folder.path());
    });
}

#[test]
fn a_cancel_reaches_the_step_and_leaves_only_what_is_meant_for_it() {
    if !runs_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = runner(&workflows().join("cancel.yml"), "push", &json!({}), folder.path());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("ready")));
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let log: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    compare("cancel", folder.path(), &log.join("\n"));
    assert!(log.iter().any(|line| line.contains("Terminated 1 orphan")), "{log:?}");
}

#[test]
fn a_pull_request_of_a_fork_gets_no_secret_and_a_token_that_only_reads() {
    if !runs_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let workflow = folder.path().join("fork.yml");
    let text = "on: pull_request\npermissions: { contents: write }\njobs:\n  a:\n    runs-on: x\n    steps:\n      \
                - env: { KEY: '${{ secrets.KEY }}' }\n        run: test -z \"$KEY\"\n";
    fs::write(&workflow, text).unwrap();
    for (owner, result, permission) in [("octo", "failure", "write"), ("stranger", "success", "read")] {
        let repo = json!({ "full_name": format!("{owner}/shop") });
        let payload = json!({ "action": "opened", "pull_request": { "head": { "repo": repo } } });
        let mut command = runner(&workflow, "pull_request", &payload, folder.path());
        command.args(["--secret", "KEY=abcdef"]).output().unwrap();
        let job = &results(folder.path())["jobs"]["a"];
        assert_eq!((&job["result"], &job["permissions"]["contents"]), (&json!(result), &json!(permission)));
    }
}

#[test]
fn what_the_runner_cannot_do_is_refused_before_anything_runs() {
    if !runs_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let workflow = folder.path().join("w.yml");
    let job = "jobs:\n  a:\n    runs-on: x\n    steps: [{ run: 'touch ran' }]\n";
    let cases = [
        (format!("on: push\n{job}    strategy: {{ matrix: {{ os: [a] }} }}\n"), 2, "does not know strategy"),
        (format!("on: push\n{job}    container: x\n"), 2, "does not know container"),
        (format!("on: push\npermissions: {{ secrets: write }}\n{job}"), 2, "permissions"),
        (format!("on: push\n{job}    needs: b\n"), 2, "needs b"),
        (format!("on: [schedule]\n{job}"), 4, "push does not start"),
        (format!("on: {{ pull_request: {{ types: [labeled] }} }}\n{job}"), 4, "push does not start"),
        (format!("on: push\n{job}    if: unknown.thing\n"), 2, "unrecognized named-value: 'unknown'"),
        (format!("on: push\n{job}    if: github.ref ==\n"), 2, "lacks a value"),
    ];
    for (text, status, reason) in cases {
        fs::write(&workflow, &text).unwrap();
        let done = runner(&workflow, "push", &json!({}), folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(status), "{text}{said}");
        assert!(said.contains(reason), "{text}{said}");
        assert!(!folder.path().join("work/jobs/a/workspace/ran").exists(), "{text}");
    }
}
