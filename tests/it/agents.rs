//! Agent command lines as proposers, in a real box: real shells as agents, and what real agents printed
//! (`recorded/`, see its README).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regreen::budget::Spent;
use regreen::patch::RepoPath;
use regreen::propose::command::{Command, Settings, presets, variables};
use regreen::propose::llm::Key;
use regreen::propose::{Prompt, Proposal, Proposer};
use regreen::sandbox::{self, Host, Level, Sandbox};

use crate::models::{about, ask_in, nothing};

const SECRET: &str = "sk-agent-0123456789";

fn settings(model: &str) -> Settings {
    Settings { model: model.to_owned(), granted: BTreeMap::new(), usd: None, network: false, harness: None }
}

/// The strongest box that this machine can make.
fn sandbox() -> Sandbox {
    let host =
        Host { path: vec!["/usr/local/bin".into(), "/usr/bin".into(), "/bin".into()], ..Host::default() };
    let launcher = Path::new(env!("CARGO_BIN_EXE_regreen"));
    let level = sandbox::strongest(&sandbox::probe_with(&host, launcher)).unwrap_or(Level::None);
    Sandbox { launcher: launcher.to_owned(), ..Sandbox::new(level, host) }
}

async fn ask(settings: Settings, prompt: &str, time: Duration) -> Proposal {
    let prompt = Prompt { user: prompt.to_owned(), ..Prompt::default() };
    ask_in(&mut Command::new(settings).unwrap(), sandbox(), &prompt, time).await
}

async fn run(script: &str) -> Proposal {
    let quoted = script.replace('\'', r"'\''");
    ask(settings(&format!("command:sh -c '{quoted}'")), "mend it", Duration::from_mins(1)).await
}

/// The file that the repository has, after the edits, what the agent said, and what it cost.
#[track_caller]
fn edits(proposal: &Proposal) -> (String, &str, Spent) {
    let Proposal::Edits { patch, transcript, spent } = proposal else {
        panic!("no edits: {proposal:?}");
    };
    assert_eq!(patch.0.len(), 1, "{patch:?}");
    let file = patch.0[&RepoPath::new("file").unwrap()].as_ref().unwrap();
    (String::from_utf8_lossy(&file.content).into_owned(), transcript, *spent)
}

#[tokio::test]
async fn what_an_agent_changes_is_the_candidate_whatever_its_exit_status() {
    let proposal = run("echo mended > file; echo told; echo warned >&2; exit 3").await;
    let (file, said, spent) = edits(&proposal);
    assert_eq!(file, "mended\n");
    assert!(said.contains("told") && said.contains("warned"), "{said}");
    assert_eq!(spent, Spent::default());
}

#[tokio::test]
async fn the_prompt_is_a_file_and_may_be_an_argument() {
    let proposal = run("cat \"$REGREEN_PROMPT_FILE\" > file").await;
    assert!(edits(&proposal).0.contains("\nmend it"), "{proposal:?}");
    let script = settings("command:sh -c 'printf %s \"$1\" > file' name {prompt}");
    let hostile = "$(touch x) `touch y` {prompt_file} \"'";
    let proposal = ask(script.clone(), hostile, Duration::from_mins(1)).await;
    assert!(edits(&proposal).0.contains(hostile), "{proposal:?}");
    let proposal = ask(script, &"long ".repeat(100_000), Duration::from_mins(1)).await;
    let (file, ..) = edits(&proposal);
    assert!(file.len() < 1000 && file.contains("task-"), "{file:.1000}");
}

#[tokio::test]
async fn an_agent_that_changes_nothing_is_told_from_one_that_is_missing() {
    nothing(&run("echo I give up; exit 2").await, false, &["exit status 2", "I give up"]);
    nothing(&run("printf 'content\n' > file").await, false, &["changed nothing"]);
    let absent = settings("command:no-such-agent-anywhere {prompt}");
    let proposal = ask(absent, "", Duration::from_mins(1)).await;
    nothing(&proposal, true, &["no-such-agent-anywhere", "not installed"]);
}

#[tokio::test]
async fn an_agent_that_hangs_is_ended_and_its_edits_count() {
    let hang = settings("command:sh -c 'echo mended > file; sleep 1000 & sleep 1000'");
    let proposal = ask(hang, "", Duration::from_secs(2)).await;
    assert_eq!(edits(&proposal).0, "mended\n");
}

#[tokio::test]
async fn an_agent_sees_what_it_is_granted_and_nothing_else() {
    let granted = |script: &str| Settings {
        granted: [("AGENT_KEY".to_owned(), Key::new(SECRET).unwrap())].into(),
        usd: Some(0.5),
        ..settings(&format!("command:sh -c '{script}'"))
    };
    let time = Duration::from_mins(1);
    let shows = granted("echo ${#AGENT_KEY} > file; echo my key is $AGENT_KEY");
    assert!(!format!("{shows:?}").contains(SECRET));
    let proposal = ask(shows, "", time).await;
    let (file, said, spent) = edits(&proposal);
    assert_eq!(file, format!("{}\n", SECRET.len()));
    assert!(said.contains("my key is ***"), "{said}");
    // It may have spent what it was allowed, since it does not say.
    about(spent.usd, 0.5);
    assert!(spent.estimated);
    let proposal = ask(granted("echo \"$AGENT_KEY\" > file"), "", time).await;
    nothing(&proposal, false, &["key"]);
    assert!(!format!("{proposal:?}").contains(SECRET), "{proposal:?}");
    let proposal = run("env > file; test -z \"$AGENT_KEY$CARGO\"").await;
    let (environment, ..) = edits(&proposal);
    assert!(!environment.contains("CARGO"), "{environment}");
}

#[tokio::test]
async fn what_an_agent_may_cost_is_said_or_refused() {
    let most = |settings| Command::new(settings).unwrap().most(&Prompt::default());
    assert_eq!(most(settings("command:true")).unwrap(), Spent::default());
    for name in presets() {
        let error = most(settings(name)).unwrap_err().to_string();
        assert!(error.contains("--agent-usd"), "{error}");
        let bounded = Settings { usd: Some(1.5), ..settings(name) };
        about(most(bounded).unwrap().usd, 1.5);
        assert!(!variables(name, None).unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_real_agents_print_is_read_for_its_cost() {
    let cases = [
        ("claude", 1500, 20, Some(0.00414)),
        ("codex", 1500, 20, None),
        ("pi", 1500, 20, Some(0.00143)),
        ("opencode", 1500, 20, Some(0.0014)),
    ];
    for (name, sent, received, usd) in cases {
        let (proposal, _) = replayed(name, &format!("{name}.jsonl"), "echo mended > file").await;
        let (file, _, spent) = edits(&proposal);
        assert_eq!(file, "mended\n", "{name}");
        assert_eq!((spent.prompt_tokens, spent.completion_tokens), (sent, received), "{name}");
        about(spent.usd, usd.unwrap_or(2.0));
        assert_eq!(spent.estimated, usd.is_none(), "{name}");
    }
}

#[tokio::test]
async fn agents_with_a_wrong_key_are_not_asked_again() {
    for name in ["claude", "codex", "pi", "opencode", "aider"] {
        let (proposal, _) = replayed(name, &format!("{name}-401.jsonl"), "exit 1").await;
        nothing(&proposal, true, &[name, "changed nothing"]);
    }
}

#[tokio::test]
async fn what_an_agent_leaves_behind_is_no_edit() {
    let script = "mkdir .aider.tags.cache.v4; echo x > .aider.tags.cache.v4/cache.db; echo mended > file";
    let (proposal, _) = replayed("aider", "aider-401.jsonl", script).await;
    edits(&proposal);
}

/// Asks a preset whose program is a shell that prints what the real agent printed and then runs `script`.
async fn replayed(name: &str, recording: &str, script: &str) -> (Proposal, tempfile::TempDir) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let recorded = std::fs::read_to_string(root.join("tests/it/recorded").join(recording)).unwrap();
    let shipped = std::fs::read_to_string(root.join(format!("harness/agents/{name}.toml"))).unwrap();
    let mut preset: toml::Table = shipped.parse().unwrap();
    let script = format!("cat <<'END'\n{recorded}\nEND\n{script}");
    preset.insert("argv".to_owned(), vec!["sh".to_owned(), "-c".to_owned(), script].into());
    let harness = tempfile::tempdir().unwrap();
    let folder: PathBuf = harness.path().join("agents");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.toml")), preset.to_string()).unwrap();
    let settings = Settings { harness: Some(harness.path().to_owned()), usd: Some(2.0), ..settings(name) };
    (ask(settings, "mend it", Duration::from_mins(1)).await, harness)
}
