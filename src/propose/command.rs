//! Any agent command line as a proposer: it runs in the sandboxed workspace, edits files there, and what differs from
//! the base afterwards is the candidate. How the known agents are called, and how their cost is read, stands in
//! `harness/agents/*.toml`.
//!
//! An agent needs the key of its own model. That key is the one exception to the rule that no secret enters the
//! sandbox, and the user grants it by choosing the agent; other variables are granted one by one (`--agent-env`).
//! Granted values are taken out of transcripts, and edits that contain one are no candidate.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bstr::ByteSlice;
use globset::{Glob, GlobSet, GlobSetBuilder};
use include_dir::{Dir, include_dir};
use serde::Deserialize;
use serde_json::Value;

use crate::budget::Spent;
use crate::patch::Patch;
use crate::process::{self, Captured, Finished, Limits};
use crate::sandbox::{Policy, Sandbox};
use crate::verdict::Exit;
use crate::workspace::Workspace;

use super::llm::{Key, brief};
use super::{Answer, Ask, Prompt, Proposal, Proposer};

/// The presets and the words around a task that ship.
static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/harness/agents");

/// The words around a task.
const TASK: &str = "task.md";

/// Bytes kept of what an agent said.
const TRANSCRIPT: usize = 16 << 10;

/// Bytes of one line of an agent's output that is read for its cost.
const LONGEST_LINE: usize = 8 << 20;

/// The largest prompt that is passed as an argument: Linux takes 128 KiB a word.
const LONGEST_WORD: usize = 100 << 10;

/// How an agent is called.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What it is, for `regreen doctor`.
    pub about: String,
    /// What to do when it is not installed.
    pub remedy: String,
    /// Program and arguments. Placeholders: `{prompt}`, `{prompt_file}`, `{tmp}`, and `{options}` for the two lists
    /// below.
    pub argv: Vec<String>,
    /// Arguments that choose a model, with `{model}`.
    #[serde(default)]
    pub model: Vec<String>,
    /// Arguments that bound the cost, with `{usd}`.
    #[serde(default)]
    pub budget: Vec<String>,
    /// Variables of the user's environment that it is granted: its own keys.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Further environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Globs of files that it leaves behind and that belong to no candidate.
    #[serde(default)]
    pub leavings: Vec<String>,
    /// What its output holds when asking again is pointless: the key is wrong, the model unknown.
    #[serde(default)]
    pub hopeless: Vec<String>,
    /// How its cost is read.
    #[serde(default)]
    pub usage: Option<Usage>,
}

/// How an agent's cost is read out of JSON on its stdout. Every list of JSON pointers is added up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Where the JSON stands.
    pub format: Format,
    /// Only objects count that hold these strings at these pointers.
    #[serde(default)]
    pub when: BTreeMap<String, String>,
    /// US dollars.
    #[serde(default)]
    pub usd: Vec<String>,
    /// Tokens sent, cached ones included.
    #[serde(default)]
    pub prompt_tokens: Vec<String>,
    /// Tokens received, thinking included.
    #[serde(default)]
    pub completion_tokens: Vec<String>,
}

/// Where an agent's JSON stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// All of stdout is one document.
    Whole,
    /// The last line that counts.
    LastLine,
    /// Every line that counts, added up.
    EveryLine,
}

/// What to run and how, as `cli` resolved it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `command:ARGV`, `PRESET` or `PRESET:MODEL`.
    pub model: String,
    /// The variables granted, by name: those of [`variables`] that are set, and the user's `--agent-env`.
    pub granted: BTreeMap<String, Key>,
    /// The most that one call may cost in dollars, by the user's own word.
    pub usd: Option<f64>,
    /// Whether it has the network.
    pub network: bool,
    /// A folder whose `agents/` overrides presets.
    pub harness: Option<PathBuf>,
}

/// An agent that can be asked.
pub struct Command {
    preset: Preset,
    task: String,
    leavings: GlobSet,
    settings: Settings,
}

/// Whether `model` names a command or a preset.
pub fn is_command(model: &str) -> bool {
    let name = model.split(':').next().unwrap_or_default();
    name == "command" || presets().any(|preset| preset == name)
}

/// The names of the presets that ship.
pub fn presets() -> impl Iterator<Item = &'static str> {
    BUILT_IN
        .files()
        .filter(|file| file.path().extension().is_some_and(|end| end == "toml"))
        .filter_map(|file| file.path().file_stem()?.to_str())
}

/// The variables that `model` is granted by being chosen.
pub fn variables(model: &str, harness: Option<&Path>) -> Result<Vec<String>> {
    Ok(preset(model, harness)?.keys)
}

impl Command {
    /// Makes a proposer. Nothing is run yet.
    pub fn new(settings: Settings) -> Result<Command> {
        let harness = settings.harness.as_deref();
        let mut preset = preset(&settings.model, harness)?;
        let usd = settings.usd.map(|usd| usd.to_string()).filter(|_| !preset.budget.is_empty());
        let bounds = usd.map(|usd| preset.budget.iter().map(|word| word.replace("{usd}", &usd)).collect());
        replace_options(&mut preset.argv, bounds.unwrap_or_default());
        let mut leavings = GlobSetBuilder::new();
        for glob in &preset.leavings {
            leavings.add(Glob::new(glob)?);
        }
        Ok(Command { task: shipped(TASK, harness)?, leavings: leavings.build()?, preset, settings })
    }

    async fn run(&self, ask: &Ask<'_>) -> Result<Proposal> {
        let (workshop, sandbox) = (&ask.verifier.workshop, &ask.verifier.sandbox);
        let workspace = workshop.workspace()?;
        let Some(program) = self.program(&workspace, sandbox) else {
            return Ok(Proposal::Nothing {
                reason: self.missing(),
                spent: Spent::default(),
                permanent: true,
            });
        };
        let logs = tempfile::tempdir().context("failed to make a folder for an agent's output")?;
        let command = self.command(ask, &workspace, &program, logs.path())?;
        let policy = Policy {
            workspace: &workspace,
            readable: homes(&program),
            writable: Vec::new(),
            caches: Vec::new(),
            network: self.settings.network,
            served: false,
        };
        let command = sandbox.wrap(command, &policy)?;
        let finished = process::run(&command).await?;
        let mut patch = workspace.changes(&workshop.snapshot)?;
        patch.0.retain(|path, _| !self.leavings.is_match(path.as_str()));
        self.judge(&finished, patch)
    }

    fn command(
        &self,
        ask: &Ask<'_>,
        workspace: &Workspace,
        program: &Path,
        logs: &Path,
    ) -> Result<process::Command> {
        let prompt = self.task.replace("{task}", &ask.prompt.user);
        let file = workspace.seen(&write_prompt(workspace, &prompt)?);
        let granted = self.settings.granted.iter();
        let environment = self.preset.environment.iter();
        Ok(process::Command {
            argv: self.argv(program, &prompt, &file, &workspace.seen(&workspace.tmp())),
            dir: workspace.tree(),
            env: environment
                .map(|(name, value)| (name.into(), value.into()))
                .chain(granted.map(|(name, key)| (name.into(), key.reveal().into())))
                .chain([("REGREEN_PROMPT_FILE".into(), file.into())])
                .collect(),
            input: Vec::new(),
            limits: Limits { wall: ask.time, ..Limits::default() },
            logs: logs.to_owned(),
        })
    }

    fn argv(&self, program: &Path, prompt: &str, file: &Path, tmp: &Path) -> Vec<OsString> {
        let file = file.to_string_lossy();
        let prompt = if prompt.len() > LONGEST_WORD || prompt.contains('\0') {
            format!("Do what the file {file} says.")
        } else {
            prompt.to_owned()
        };
        let filled = |word: &String| {
            OsString::from(match word.as_str() {
                // Alone in its word, so that no placeholder in a prompt is filled in turn.
                "{prompt}" => prompt.clone(),
                word => word.replace("{prompt_file}", &file).replace("{tmp}", &tmp.to_string_lossy()),
            })
        };
        let words = self.preset.argv.iter().skip(1).map(filled);
        std::iter::once(program.into()).chain(words).collect()
    }

    /// Where the program stands, in the folders that the sandbox will look in.
    fn program(&self, workspace: &Workspace, sandbox: &Sandbox) -> Option<PathBuf> {
        let paths = std::env::join_paths(&sandbox.host.path).ok()?;
        which::which_in(self.preset.argv.first()?, Some(paths), workspace.tree()).ok()
    }

    fn missing(&self) -> String {
        let program = self.preset.argv.first().map_or("", String::as_str);
        if self.preset.remedy.is_empty() {
            format!("the program {program} is not installed or not in PATH")
        } else {
            format!("{program} is not installed: {}", self.preset.remedy)
        }
    }

    /// What a finished run amounts to.
    fn judge(&self, finished: &Finished, patch: Patch) -> Result<Proposal> {
        let spent = self.spent(&finished.stdout)?;
        let said = self.safe(&finished.log(TRANSCRIPT)?);
        if self.settings.granted.values().any(|key| leaks(&patch, key)) {
            return Ok(Proposal::Nothing {
                reason: "the agent wrote a key that it was granted into a file of the repository; its edits are dropped"
                    .to_owned(),
                spent,
                permanent: false,
            });
        }
        if patch.is_empty() {
            return Ok(Proposal::Nothing {
                reason: self.idle(&finished.exit, &said),
                spent,
                permanent: self.preset.hopeless.iter().any(|sign| said.contains(sign)),
            });
        }
        Ok(Proposal::Edits { patch, transcript: said, spent })
    }

    /// Why there are no edits.
    fn idle(&self, exit: &Exit, said: &str) -> String {
        let keys = &self.preset.keys;
        let hint = if !exit.success() && !keys.is_empty() && self.settings.granted.is_empty() {
            format!(" (none of {} is set)", keys.join(", "))
        } else {
            String::new()
        };
        let tail: String = said.chars().rev().take(400).collect::<Vec<_>>().into_iter().rev().collect();
        format!("{} changed nothing ({exit}){hint}: {}", self.name(), brief(&tail))
    }

    /// What it cost: by its own word where it gives one, or else what was reserved for it.
    fn spent(&self, stdout: &Captured) -> Result<Spent> {
        let found = match &self.preset.usage {
            Some(usage) => usage.read(stdout)?,
            None => None,
        };
        let mut spent = found.unwrap_or_default();
        let says_dollars = self.preset.usage.as_ref().is_some_and(|usage| !usage.usd.is_empty());
        if found.is_none() || !says_dollars {
            spent.usd = self.settings.usd.unwrap_or(0.0);
            spent.estimated = self.costs();
        }
        Ok(spent)
    }

    /// Whether it can spend money at all: without a key it has nothing to pay with.
    fn costs(&self) -> bool {
        !self.preset.keys.is_empty() || !self.settings.granted.is_empty()
    }

    fn safe(&self, said: &str) -> String {
        let secrets = self.settings.granted.values().filter(|key| is_secret(key));
        secrets.fold(said.to_owned(), |said, key| key.hide(&said))
    }
}

impl Proposer for Command {
    fn name(&self) -> &str {
        &self.settings.model
    }

    fn context(&self) -> Option<u64> {
        // Agents cut their context themselves; the prompt is a hint to them and stays short.
        Some(32_000)
    }

    fn most(&self, _: &Prompt) -> Result<Spent> {
        if !self.costs() {
            return Ok(Spent::default());
        }
        let usd = self.settings.usd.with_context(|| {
            format!(
                "what one call of {} costs cannot be known beforehand, so no budget can hold: say the most that it \
                 may cost with --agent-usd DOLLARS",
                self.name()
            )
        })?;
        Ok(Spent { usd, ..Spent::default() })
    }

    fn propose<'a>(&'a mut self, ask: &'a Ask<'a>) -> Answer<'a> {
        Box::pin(self.run(ask))
    }
}

impl Usage {
    /// What stdout says was spent; `None` if it says nothing.
    fn read(&self, stdout: &Captured) -> Result<Option<Spent>> {
        let mut sum: Option<Spent> = None;
        let mut add = |bytes: &[u8]| {
            let Some(spent) = self.one(bytes) else {
                return;
            };
            if self.format == Format::EveryLine {
                *sum.get_or_insert_default() += spent;
            } else {
                sum = Some(spent);
            }
        };
        if self.format == Format::Whole {
            add(stdout.excerpt(LONGEST_LINE)?.as_bytes());
        } else {
            stdout.lines(LONGEST_LINE, &mut add)?;
        }
        Ok(sum)
    }

    fn one(&self, bytes: &[u8]) -> Option<Spent> {
        let json: Value = serde_json::from_slice(bytes).ok()?;
        let counts =
            |(pointer, text): (&String, &String)| json.pointer(pointer).and_then(Value::as_str) == Some(text);
        if !self.when.iter().all(counts) {
            return None;
        }
        let found = |pointers: &[String]| pointers.iter().any(|pointer| json.pointer(pointer).is_some());
        if ![&self.usd, &self.prompt_tokens, &self.completion_tokens].into_iter().any(|list| found(list)) {
            return None;
        }
        let tokens = |pointers: &[String]| {
            let counts = pointers.iter().filter_map(|pointer| json.pointer(pointer)?.as_u64());
            counts.fold(0, u64::saturating_add)
        };
        let usd: f64 = self.usd.iter().filter_map(|pointer| json.pointer(pointer)?.as_f64()).sum();
        Some(Spent {
            prompt_tokens: tokens(&self.prompt_tokens),
            completion_tokens: tokens(&self.completion_tokens),
            // What an agent says of itself may raise the bill, never lower it.
            usd: usd.max(0.0),
            estimated: false,
        })
    }
}

/// The preset that `model` names, its model and budget arguments filled in later.
pub fn preset(model: &str, harness: Option<&Path>) -> Result<Preset> {
    let (name, rest) = model.split_once(':').unwrap_or((model, ""));
    if name == "command" {
        let mut argv = words(rest)?;
        let program =
            argv.first_mut().context("command: names no program: write command:PROGRAM ARGUMENTS")?;
        if program.contains('/') {
            // The tree that it will run in is not the folder that the user stands in.
            *program = std::path::absolute(&*program)?.to_string_lossy().into_owned();
        }
        return Ok(Preset { argv, ..Preset::default() });
    }
    ensure!(
        presets().any(|preset| preset == name),
        "no agent is called {name:?}; there are {}, and command:PROGRAM ARGUMENTS for any other",
        presets().collect::<Vec<_>>().join(", ")
    );
    let file = format!("{name}.toml");
    let mut preset: Preset =
        toml::from_str(&shipped(&file, harness)?).with_context(|| format!("failed to read {file}"))?;
    ensure!(!preset.argv.is_empty(), "{file} names no program");
    if !rest.is_empty() {
        ensure!(!preset.model.is_empty(), "{name} takes no model");
        let mut chosen: Vec<String> = preset.model.iter().map(|word| word.replace("{model}", rest)).collect();
        chosen.push(OPTIONS.to_owned());
        replace_options(&mut preset.argv, chosen);
    }
    Ok(preset)
}

/// Where options go in a preset's arguments.
const OPTIONS: &str = "{options}";

fn replace_options(argv: &mut Vec<String>, words: Vec<String>) {
    if let Some(at) = argv.iter().position(|word| word == OPTIONS) {
        argv.splice(at..=at, words);
    }
}

/// A file of `harness/agents`, the user's own or the one that ships.
fn shipped(name: &str, harness: Option<&Path>) -> Result<String> {
    let own = harness.map(|folder| folder.join("agents").join(name)).filter(|path| path.exists());
    if let Some(path) = own {
        return std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()));
    }
    let file = BUILT_IN.get_file(name).and_then(|file| file.contents_utf8());
    Ok(file.with_context(|| format!("agents/{name} is missing"))?.to_owned())
}

/// The words of a command line: spaces part them, quotes and backslashes keep them together, as in a shell.
fn words(line: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => {
                let next = chars.next().context("the command ends in a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        bail!("the command has a quote that is not closed");
    }
    words.extend(word);
    Ok(words)
}

/// Writes the prompt where the agent can read it, under a name that nothing else can have taken.
fn write_prompt(workspace: &Workspace, prompt: &str) -> Result<PathBuf> {
    let file = tempfile::Builder::new().prefix("task-").suffix(".md").tempfile_in(workspace.tmp());
    let mut file = file.context("failed to write the prompt")?;
    file.write_all(prompt.as_bytes())?;
    // The agent may be another user than the one who started regreen.
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    Ok(file.keep()?.1)
}

/// Where a program lives: itself, what it links to, and the package around that, so that the sandbox shows them.
fn homes(program: &Path) -> Vec<PathBuf> {
    let mut homes = vec![program.to_owned()];
    let Ok(real) = program.canonicalize() else {
        return homes;
    };
    let modules = real.ancestors().filter(|path| path.file_name().is_some_and(|name| name == "node_modules"));
    let venv = real.ancestors().take(4).find(|path| path.join("pyvenv.cfg").exists());
    homes.extend(modules.last().or(venv).map(Path::to_owned));
    homes.push(real);
    homes
}

/// Whether a granted value is a secret: switches and addresses are not, and stand in files by chance.
fn is_secret(key: &Key) -> bool {
    key.reveal().len() >= 8 && !key.reveal().starts_with("http")
}

/// Whether a file of `patch` holds `key`.
fn leaks(patch: &Patch, key: &Key) -> bool {
    is_secret(key) && patch.0.values().flatten().any(|file| file.content.contains_str(key.reveal()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_parted_as_in_a_shell() {
        let check = |line: &str, expected: &[&str]| assert_eq!(words(line).unwrap(), expected, "{line}");
        check("", &[]);
        check("  a  b ", &["a", "b"]);
        check(r#"a 'b c' "d \" e" f\ g ''"#, &["a", "b c", "d \" e", "f g", ""]);
        check(r"'\'x", &["\\x"]);
        for wrong in ["'a", "a\\", "\"b"] {
            assert!(words(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_preset_that_ships_is_sound() {
        for name in presets() {
            assert!(is_command(name));
            let plain = preset(name, None).unwrap();
            assert!(!plain.remedy.is_empty() && !plain.about.is_empty() && !plain.keys.is_empty(), "{name}");
            assert!(plain.argv.iter().any(|word| word == "{prompt}" || word == "{prompt_file}"), "{name}");
            assert!(plain.argv.iter().any(|word| word == OPTIONS), "{name}");
            let chosen = preset(&format!("{name}:some/model:1"), None).unwrap();
            assert!(chosen.argv.iter().any(|word| word == "some/model:1"), "{name}");
        }
        assert!(!is_command("openai/gpt-5") && is_command("command:x") && !is_command("task"));
    }

    #[test]
    fn a_key_in_a_file_is_a_leak() {
        let key = Key::new("sk-0123456789").unwrap();
        let patch = |content: &str| {
            let path = crate::patch::RepoPath::new("a").unwrap();
            Patch([(path, Some(crate::patch::File::plain(content)))].into())
        };
        assert!(leaks(&patch("x = 'sk-0123456789'"), &key));
        assert!(!leaks(&patch("x = 1"), &key));
        assert!(!leaks(&patch("http://localhost"), &Key::new("http://localhost").unwrap()));
    }
}
