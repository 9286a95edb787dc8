//! Turns arguments, environment and `task.toml` into what a run needs, once.

#![expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Common, FixArgs, ProposerArgs, Switch, TaskArgs, Usage};
use crate::budget::Budget;
use crate::fix::Run;
use crate::harness;
use crate::ledger::Ledger;
use crate::mounts;
use crate::policy::Stakes;
use crate::prompt::Templates;
use crate::propose::Proposer;
use crate::propose::command;
use crate::propose::llm::{self, Key, Llm};
use crate::propose::prices::{Price, Prices};
use crate::propose::replay::Replay;
use crate::record::{self, Event, Record};
use crate::repair::Repair;
use crate::repair::grammar::Grammars;
use crate::sandbox::{Container, Host, Level, Sandbox};
use crate::task::{self, Source, Task};
use crate::toolchain::{self, Profile};
use crate::verify::{HeldOut, Say, Verifier};
use crate::workspace::{self, Scratch, Snapshot, Workshop};

/// Attempts, dollars and seconds that a run may use unless told otherwise.
const ATTEMPTS: u32 = 8;
const USD: f64 = 1.0;
const SECONDS: u64 = 3600;

/// Variables that say where toolchains and certificates are and hold no secret.
const SHARED: [&str; 24] = [
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "GOROOT",
    "GOTOOLCHAIN",
    "JAVA_HOME",
    "NVM_DIR",
    "VOLTA_HOME",
    "FNM_DIR",
    "ASDF_DATA_DIR",
    "MISE_DATA_DIR",
    "SDKMAN_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "TZ",
    "LC_ALL",
];

/// Folders in the home that toolchain managers use when no variable names them.
const MANAGERS: [(&str, &str); 3] =
    [("RUSTUP_HOME", ".rustup"), ("PYENV_ROOT", ".pyenv"), ("NVM_DIR", ".nvm")];

/// What `regreen fix` was asked to do.
pub struct Settings {
    /// The run's id.
    pub run: String,
    /// The run's folder.
    pub folder: PathBuf,
    /// Where the verified patch goes.
    pub patch: Option<String>,
    /// The branch to make.
    pub branch: Option<String>,
    /// Whether the working copy is written.
    pub apply: bool,
    /// Whether the source is a task's folder, which is a tree of its own also inside a larger repository.
    pub plain: bool,
    task: Task,
    beside: PathBuf,
    models: Vec<String>,
    budget: Budget,
    resume: bool,
    args: FixArgs,
}

impl Settings {
    /// Resolves the arguments. A resumed run brings its task, models and budget from its ledger; limits given
    /// anew win.
    pub fn resolve(mut args: FixArgs) -> Result<Settings> {
        let here = args.here.clone();
        let (mut task, beside, plain) = read_task(&args.on, &here)?;
        let mut models = std::mem::take(&mut args.model);
        let (folder, resume) = match &args.resume {
            Some(folder) => (here.join(folder), true),
            None => (here.join(&args.out).join(new_id()), false),
        };
        let run = name_of(&folder);
        task.oracle.extend(args.hidden.oracles(&here)?);
        merge(&mut task, &args.on)?;
        limit(&mut task, &args);
        let budget = task.budget.clone();
        if args.json && args.patch.as_deref() == Some("-") {
            return Err(Usage(
                "--json and --patch - both write to stdout; name a file for the patch".to_owned(),
            )
            .into());
        }
        if models.is_empty() {
            models = default_models(args.common.harness.as_deref())?;
        }
        Ok(Settings {
            run,
            folder,
            patch: args.patch.take(),
            branch: args.branch.take(),
            apply: args.apply,
            plain,
            task,
            beside,
            models,
            budget,
            resume,
            args,
        })
    }

    /// The folder of a local source.
    pub fn source_folder(&self) -> Option<PathBuf> {
        let folder = self.beside.join(&self.task.source.path);
        folder.is_dir().then_some(folder)
    }

    /// Creates the run's ledger, or opens the one to go on with.
    pub fn ledger(&self) -> Result<Ledger> {
        if self.resume {
            return Ledger::resume(&self.folder);
        }
        hide(&self.folder)?;
        Ledger::create(&self.folder)
    }

    /// Takes the source, finds its suites, makes the proposers and writes how the run began.
    pub fn run<'a>(&self, mut ledger: Ledger, watch: &'a dyn Fn(&Record), say: Say<'a>) -> Result<Run<'a>> {
        let overrides = self.args.common.harness.as_deref();
        let common = &self.args.common;
        let sandbox = sandbox(common, common.image.as_deref().or(self.task.image.as_deref()))?;
        let event = if self.resume {
            Event::Resumed { time: now() }
        } else {
            Event::Started {
                format: record::FORMAT,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                run: self.run.clone(),
                time: now(),
                task: self.task.open(),
                arguments: self.args.given.clone(),
                folder: self.args.here.to_string_lossy().into_owned(),
                models: self.models.clone(),
                sandbox: sandbox.level.to_string(),
            }
        };
        write(&mut ledger, watch, event)?;
        let mut verifier = with_sandbox(
            self.task.clone(),
            &self.beside,
            self.plain,
            &self.args.on,
            &self.args.common,
            sandbox,
            say,
        )?;
        let hidden = &self.args.hidden;
        let source = self.beside.join(&self.task.source.path);
        hidden.check(&self.args.here, &source, self.plain, &verifier.workshop.snapshot)?;
        verifier.held_out = hidden.held_out(&self.args.here)?;
        let names = verifier.suites.iter().map(toolchain::Suite::label).collect();
        let snapshot = &verifier.workshop.snapshot;
        let held_out = verifier.held_out.as_ref().map(HeldOut::tree).transpose()?;
        let (tree, files) = (snapshot.tree.clone(), snapshot.files);
        let based = Event::Based { tree, files, suites: names, held_out };
        let known = ledger.records.iter().find(|record| matches!(record.event, Event::Based { .. }));
        match known.map(|record| &record.event) {
            Some(known) => ensure!(
                *known == based,
                Usage(
                    "the repository or the held-out tests have changed since the run began; start a new one"
                        .to_owned()
                )
            ),
            None => write(&mut ledger, watch, based)?,
        }
        let tiers = 0..self.models.len();
        let proposers = tiers.map(|tier| self.proposer(tier, &ledger.records)).collect::<Result<_>>()?;
        Ok(Run {
            verifier,
            proposers,
            templates: templates(overrides)?,
            budget: self.budget.clone(),
            grammars: Grammars::load(overrides).map_err(usage)?,
            mutants: self.args.mutants,
            stakes: stakes(self.args.worth, self.args.harm)?,
            withhold: self.args.withhold,
            ledger,
            watch,
            say,
        })
    }

    fn proposer(&self, tier: usize, records: &[Record]) -> Result<Box<dyn Proposer>> {
        let of = Proposing {
            by: &self.args.by,
            harness: self.args.common.harness.as_deref(),
            usd: self.budget.usd,
        };
        proposer(&self.models[tier], tier + 1 == self.models.len(), answers(tier, records), &of)
    }
}

/// Keeps a folder below `.regreen` out of the user's git, and refuses one that leads elsewhere.
pub fn hide(folder: &Path) -> Result<()> {
    if let Some(top) = folder.ancestors().find(|folder| folder.ends_with(".regreen")) {
        // A repository may bring a `.regreen` of its own, and links in it that lead anywhere.
        for folder in folder.ancestors().take_while(|place| place.starts_with(top)) {
            let real = folder.symlink_metadata().map_or(true, |data| data.is_dir());
            ensure!(
                real,
                Usage(format!("{} is not a plain folder; name another place with --out", folder.display()))
            );
        }
        std::fs::create_dir_all(top)?;
        // The user's git must not see the runs. A file that is there already stays as it is.
        let new = std::fs::File::create_new(top.join(".gitignore"));
        let _ = new.and_then(|mut file| std::io::Write::write_all(&mut file, b"*\n"));
    }
    Ok(())
}

/// What proposers are made from besides their names.
pub struct Proposing<'a> {
    /// The arguments.
    pub by: &'a ProposerArgs,
    /// The harness folder.
    pub harness: Option<&'a Path>,
    /// Dollars that the run may spend.
    pub usd: Option<f64>,
}

/// Makes a proposer; `last` says whether nobody comes after it, `answered` how many answers it gave before the run
/// was resumed.
pub fn proposer(model: &str, last: bool, answered: usize, of: &Proposing) -> Result<Box<dyn Proposer>> {
    let (by, harness) = (of.by, of.harness);
    if model == "repair" {
        let repair = Repair::new(harness).map_err(usage)?;
        return Ok(Box::new(if last { repair } else { repair.quick() }));
    }
    if let Some(folder) = model.strip_prefix("replay:") {
        let mut replay = Replay::open(Path::new(folder)).map_err(usage)?;
        replay.skip(answered);
        return Ok(Box::new(replay));
    }
    if command::is_command(model) {
        let mut names = command::variables(model, harness).map_err(usage)?;
        names.extend(by.agent_env.iter().cloned());
        let granted = names.into_iter().filter_map(|name| Some((name.clone(), env::var(&name).ok()?)));
        let granted = granted.map(|(name, value)| Ok((name, Key::new(&value)?))).collect::<Result<_>>()?;
        let settings = command::Settings {
            model: model.to_owned(),
            granted,
            // An agent cannot be priced beforehand: each call reserves this much.
            usd: by.agent_usd.or(of.usd.map(|usd| usd / 4.0)),
            network: by.agent_network == Switch::On,
            harness: harness.map(Path::to_owned),
        };
        return Ok(Box::new(command::Command::new(settings).map_err(usage)?));
    }
    let mut settings = llm::Settings::new(model);
    settings.base_url.clone_from(&by.base_url);
    let variable = llm::key_variable(model, by.base_url.as_deref());
    let key = variable.and_then(|name| env::var(name).ok());
    if let (None, Some(name)) = (&key, variable.filter(|name| *name != "REGREEN_API_KEY")) {
        return Err(Usage(format!("{model} needs a key: set {name} in the environment")).into());
    }
    settings.key = key.map(|key| Key::new(&key)).transpose()?;
    settings.context = by.context;
    settings.max_output = by.max_output;
    settings.price = by.price.as_deref().map(price).transpose()?;
    Ok(Box::new(Llm::new(settings, &Prices::load(harness)?).map_err(usage)?))
}

/// Takes a task's source, finds its suites, and is ready to judge.
pub fn verifier(
    task: Task,
    beside: &Path,
    plain: bool,
    on: &TaskArgs,
    common: &Common,
    say: Say<'_>,
) -> Result<Verifier> {
    let sandbox = sandbox(common, common.image.as_deref().or(task.image.as_deref()))?;
    with_sandbox(task, beside, plain, on, common, sandbox, say)
}

/// Likewise, in this sandbox.
pub fn with_sandbox(
    task: Task,
    beside: &Path,
    plain: bool,
    on: &TaskArgs,
    common: &Common,
    mut sandbox: Sandbox,
    say: Say<'_>,
) -> Result<Verifier> {
    if let Some(container) = &mut sandbox.container {
        container.show(&task.shown).map_err(usage)?;
    }
    let scratch = Scratch::new(&cache(common)?)?;
    say("taking the repository");
    let snapshot = workspace::take(&task.source, beside, plain, &scratch).map_err(usage)?;
    let launchers = scratch.folder.join("launchers");
    std::fs::create_dir(&launchers)?;
    let profiles = Profile::load(common.harness.as_deref())?;
    let suites = toolchain::detect(&snapshot.root, &snapshot.focus, &profiles, &task).map_err(usage)?;
    if suites.iter().any(|suite| !suite.profile.is_own()) {
        harness::write_launchers(&launchers)?;
    }
    Ok(Verifier {
        task,
        workshop: workshop(&sandbox, scratch, snapshot)?,
        sandbox,
        suites,
        launchers,
        setup_network: on.setup_network == Switch::On,
        deadline: on.deadline,
        held_out: None,
    })
}

/// The prompts, with what a harness folder overrides.
pub fn templates(overrides: Option<&Path>) -> Result<Templates> {
    let mut templates = Templates::default();
    for file in harness::files(overrides, "prompts", "md")? {
        match file.stem.as_str() {
            "system" => templates.system = file.text.into(),
            "user" => templates.user = file.text.into(),
            _ => {}
        }
    }
    Ok(templates)
}

/// How many answers a rung gave before the run was resumed.
fn answers(tier: usize, records: &[Record]) -> usize {
    let mut asked = None;
    let answered = |record: &&Record| {
        if let Event::Asked { tier, .. } = &record.event {
            asked = Some(*tier);
        }
        matches!(record.event, Event::Replied { .. }) && asked == Some(tier)
    };
    records.iter().filter(answered).count()
}

fn write(ledger: &mut Ledger, watch: &dyn Fn(&Record), event: Event) -> Result<()> {
    ledger.write(event)?;
    ledger.records.last().into_iter().for_each(watch);
    Ok(())
}

/// A fault of what the user gave, not of regreen.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
pub fn usage(error: anyhow::Error) -> anyhow::Error {
    Usage(format!("{error:#}")).into()
}

/// The task: from `--task`, from a `task.toml` with the key `regreen` in the folder named, or a new one.
/// Returns it with the folder that its source is relative to, and whether that source is a tree of its own.
pub fn read_task(args: &TaskArgs, here: &Path) -> Result<(Task, PathBuf, bool)> {
    let (folder, found) = match &args.task {
        Some(file) => (here.join(file).parent().unwrap_or(here).to_owned(), None),
        None => (here.join(&args.path), Some(found_task(&here.join(&args.path)))),
    };
    let file = args.task.as_ref().map_or_else(|| folder.join("task.toml"), |file| here.join(file));
    let text = match found {
        Some(Some(text)) => text,
        Some(None) => {
            let source = Source { path: args.path.clone(), rev: args.rev.clone() };
            return Ok((Task { regreen: task::FORMAT, source, ..Task::default() }, here.to_owned(), false));
        }
        None => std::fs::read_to_string(&file)
            .with_context(|| format!("failed to read {}", file.display()))
            .map_err(usage)?,
    };
    let mut task: Task =
        toml::from_str(&text).with_context(|| format!("{} is not a task", file.display())).map_err(usage)?;
    ensure!(
        task.regreen == task::FORMAT,
        Usage(format!("{} has format {}; this regreen reads {}", file.display(), task.regreen, task::FORMAT))
    );
    ensure!(
        !task.shows_oracles(&file, &folder),
        Usage(format!(
            "{} is part of the source and its [[oracle]] tables with it, where everybody sees them; keep them in a \
             file elsewhere and name it with --oracle",
            file.display()
        ))
    );
    if args.task.is_none() {
        // A task.toml that was found in a repository, not named by the user, may lower limits and not raise them.
        let budget = &mut task.budget;
        budget.attempts = budget.attempts.map(|n| n.min(ATTEMPTS));
        budget.usd = budget.usd.map(|usd| usd.min(USD));
        budget.seconds = budget.seconds.map(|n| n.min(SECONDS));
        check_below(&folder, &task.source.path)?;
    } else {
        let named = Usage("--task names its source itself; leave the folder out".to_owned());
        ensure!(args.path == ".", named);
    }
    if args.rev.is_some() {
        task.source.rev.clone_from(&args.rev);
    }
    let plain = task.source.path != ".";
    Ok((task, folder, plain))
}

/// A task that was found in a repository may name a folder below its own as the source, and nothing else.
fn check_below(folder: &Path, source: &str) -> Result<()> {
    let below = folder
        .join(source)
        .canonicalize()
        .is_ok_and(|place| folder.canonicalize().is_ok_and(|folder| place.starts_with(folder)));
    let advice = "if you trust it, name it with --task";
    ensure!(
        below,
        Usage(format!(
            "{}/task.toml names a source outside of its folder, {source:?}; {advice}",
            folder.display()
        ))
    );
    Ok(())
}

/// The `task.toml` of a folder, if there is one of ours: other tools use the name too.
fn found_task(folder: &Path) -> Option<String> {
    let bytes = workspace::read_beneath(folder, "task.toml", 1 << 20).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.lines().any(|line| line.trim_start().starts_with("regreen =")).then_some(text)
}

/// A password in an address would stand in ledger and messages for ever.
fn check_source(path: &str) -> Result<()> {
    let user = path.split_once("://").and_then(|(_, rest)| rest.split('/').next()?.rsplit_once('@'));
    let secret = user.is_some_and(|(user, _)| user.contains(':'));
    ensure!(
        !secret,
        Usage("the address holds a password, which the ledger would keep; clone the repository and name its folder".to_owned())
    );
    Ok(())
}

/// Lets arguments win over the task. Fails when they make no sense.
pub fn merge(task: &mut Task, args: &TaskArgs) -> Result<()> {
    let shell = |command: &String| vec!["sh".to_owned(), "-c".to_owned(), command.clone()];
    if !args.target.is_empty() {
        task.fail_to_pass = args.target.iter().cloned().collect();
    }
    task.protected.extend(args.protect.iter().cloned());
    for words in &args.limit {
        task.limits.set(words).map_err(Usage)?;
    }
    task.statement = args.statement.clone().or(task.statement.take());
    task.toolchain = args.toolchain.clone().or(task.toolchain.take());
    task.build_cmd = args.build_cmd.as_ref().map(shell).or(task.build_cmd.take());
    task.test_cmd = args.test_cmd.as_ref().map(shell).or(task.test_cmd.take());
    task.test_format = args.test_format.or(task.test_format);
    task.test_results = args.test_results.clone().or(task.test_results.take());
    for (number, oracle) in task.oracle.iter().enumerate() {
        oracle.check().map_err(|why| Usage(format!("oracle {}: {why}", number + 1)))?;
    }
    check_source(&task.source.path)?;
    for (option, command) in [("--test-cmd", &args.test_cmd), ("--build-cmd", &args.build_cmd)] {
        let empty = command.as_ref().is_some_and(|command| command.trim().is_empty());
        ensure!(!empty, Usage(format!("{option} is empty")));
    }
    Ok(())
}

/// Lets limits given as arguments win over the task's, and defaults fill in.
fn limit(task: &mut Task, args: &FixArgs) {
    let budget = &mut task.budget;
    budget.attempts = args.attempts.or(budget.attempts).or(Some(ATTEMPTS));
    budget.tokens = args.tokens.or(budget.tokens);
    budget.usd = args.usd.or(budget.usd).or(Some(USD));
    budget.seconds = args.time.or(budget.seconds).or(Some(SECONDS));
}

/// What is at stake, if both are said.
fn stakes(worth: Option<f64>, harm: Option<f64>) -> Result<Option<Stakes>> {
    let Some((worth, harm)) = worth.zip(harm) else { return Ok(None) };
    let sane = |usd: f64| usd.is_finite() && usd >= 0.0;
    ensure!(sane(worth) && sane(harm), Usage("--worth and --harm are dollars, 0 or more".to_owned()));
    Ok(Some(Stakes { worth, harm }))
}

/// The embedded engine, and the model whose key is in the environment.
fn default_models(overrides: Option<&Path>) -> Result<Vec<String>> {
    let keyed = ladder(overrides)?.into_iter().find(Rung::has_key);
    Ok(["repair".to_owned()].into_iter().chain(keyed.map(|rung| rung.model)).collect())
}

/// A model that takes over where the embedded engine gives up, from `harness/ladder.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// The variable that holds its key.
    pub key: String,
    /// Its name.
    pub model: String,
}

impl Rung {
    /// Whether its key is in the environment.
    pub fn has_key(&self) -> bool {
        env::var(&self.key).is_ok_and(|key| !key.is_empty())
    }
}

/// The models that take over, in the order of preference.
pub fn ladder(overrides: Option<&Path>) -> Result<Vec<Rung>> {
    #[derive(Deserialize)]
    struct Ladder {
        default: Vec<Rung>,
    }
    let mut rungs = Vec::new();
    for file in harness::files(overrides, "", "toml")?.into_iter().filter(|file| file.stem == "ladder") {
        let ladder: Ladder =
            toml::from_str(&file.text).with_context(|| Usage(format!("{} is not a ladder", file.shown)))?;
        rungs.extend(ladder.default);
    }
    Ok(rungs)
}

/// `IN,OUT` in dollars per million tokens.
fn price(text: &str) -> Result<Price> {
    let bad = || Usage(format!("--price {text:?} is not IN,OUT in dollars per million tokens, as in 0.25,2"));
    let (input, output) = text.split_once(',').ok_or_else(bad)?;
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let (input, output) = number(input).zip(number(output)).ok_or_else(bad)?;
    Ok(Price { input, cached: input, output })
}

/// A share of the targets.
pub fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=0.5).contains(share));
    share.ok_or_else(|| "a share is a number from 0 to 0.5".to_owned())
}

/// `90s`, `10m`, `2h`, or seconds.
pub fn duration(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(['s', 'm', 'h']);
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write it as 90s, 10m or 2h".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "write it as 90s, 10m or 2h".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "that is too long".to_owned())
}

/// The folder of a run: by id, by path, or the latest.
pub fn run_folder(run: Option<&str>, out: &Path) -> Result<PathBuf> {
    if let Some(run) = run {
        let folder = [out.join(run), PathBuf::from(run)]
            .into_iter()
            .find(|folder| folder.join(crate::ledger::FILE).exists());
        return folder.with_context(|| Usage(format!("there is no run {run} in {}", out.display())));
    }
    let entries = std::fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.path());
    let latest = entries.filter(|folder| folder.join(crate::ledger::FILE).exists()).max();
    latest
        .with_context(|| Usage(format!("there is no run in {} yet; `regreen fix` makes one", out.display())))
}

fn name_of(folder: &Path) -> String {
    folder.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned())
}

/// An id that sorts by time: `20260102-030405-x7f3a1`.
pub fn new_id() -> String {
    let salt = tempfile::Builder::new().rand_bytes(4).prefix("").make(|path| Ok(path.to_owned()));
    let salt = salt.map_or(String::new(), |salt| name_of(salt.path()).to_lowercase());
    format!("{}-{salt}", jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S"))
}

pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Where scratch folders are made: `--cache`, or `regreen` in the user's cache folder.
pub fn cache(common: &Common) -> Result<PathBuf> {
    if let Some(folder) = &common.cache {
        return std::path::absolute(folder).context("failed to resolve --cache");
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let cache = cache.or_else(|| Some(home()?.join(".cache"))).unwrap_or_else(env::temp_dir);
    Ok(cache.join("regreen"))
}

fn home() -> Option<PathBuf> {
    env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

/// The part of the user's environment that commands may see.
pub fn host() -> Host {
    let home = home().unwrap_or_else(|| PathBuf::from("/nonexistent"));
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let path = env::split_paths(&path).filter(|folder| folder.is_absolute());
    let mut shared: BTreeMap<String, String> =
        SHARED.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?))).collect();
    for (name, folder) in MANAGERS {
        let place = home.join(folder);
        if let Some(place) = place.to_str().filter(|_| place.is_dir()) {
            shared.entry(name.to_owned()).or_insert_with(|| place.to_owned());
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    let path = path.filter(|folder| seen.insert(folder.clone())).collect();
    Host { home, path, env: shared }
}

/// Makes workspaces as cheap as the box lets them be.
pub fn workshop(sandbox: &Sandbox, scratch: Scratch, snapshot: Snapshot) -> Result<Workshop> {
    match sandbox.level {
        // Only a box with a root of its own can show an overlay where the command expects its tree.
        Level::Namespaces => Workshop::overlaid(scratch, snapshot),
        Level::Landlock | Level::Container | Level::None => Ok(Workshop::new(scratch, snapshot)),
    }
}

/// The sandbox that was asked for, or the strongest that works. A task with an image is run in a container.
pub fn sandbox(common: &Common, image: Option<&str>) -> Result<Sandbox> {
    let host = host();
    let level = match (common.sandbox, image) {
        (Some(level), _) => level,
        (None, Some(_)) => Level::Container,
        (None, None) => Sandbox::strongest(&host, Path::new("/proc/self/exe")).context(Usage(
            "no sandbox works here; `regreen doctor` says why and what helps. --sandbox none runs without one".to_owned(),
        ))?,
    };
    let container = match (level, image) {
        (Level::Container, None) => {
            let advice =
                "a container needs an image: name it with --image, or `image` in task.toml".to_owned();
            return Err(Usage(advice).into());
        }
        (Level::Container, Some(_)) if mounts::entered() && !nix::unistd::Uid::effective().is_root() => {
            return Err(Usage(
                "name the image with --image: a container cannot be made from here".to_owned(),
            )
            .into());
        }
        (Level::Container, Some(image)) => {
            Some(Container::new(image, common.engine.as_deref(), &host.path).map_err(usage)?)
        }
        (Level::Namespaces | Level::Landlock | Level::None, _) => None,
    };
    Ok(Sandbox { container, ..Sandbox::new(level, host) })
}

/// What the environment holds and no export may: values of variables that are named like keys.
pub fn secrets() -> Vec<String> {
    let ends = ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIALS"];
    let named = |name: &str| ends.iter().any(|end| name.to_ascii_uppercase().ends_with(end));
    // What is not UTF-8 stands in no ledger.
    let texts = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.filter(|(name, _)| named(name)).map(|(_, value)| value).collect()
}
