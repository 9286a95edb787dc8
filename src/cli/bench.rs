//! `regreen bench`: many tasks, many models. stdout is the report; what is going on is told on stderr.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use super::settings::{self, Proposing, usage};
use super::watch::Watch;
use super::{Common, Exit, ProposerArgs, Switch, TaskArgs, Usage, supervised};
use crate::bench::set::Set;
use crate::bench::{self, Bench, Door, End, Lock, Proof, Rates, Settings, Told, set};
use crate::budget::Budget;
use crate::report::{self, Standing};
use crate::sandbox::{self, Level, Sandbox};
use crate::task::Limits;

pub const REGRADE_EXAMPLES: &str = "\
Examples:
  regreen regrade .regreen/bench/20260102-…         with today's verifier, in a new run beside it
  regreen report RUN RUN-regraded --html page.html  what changed

Nobody is asked and nothing is spent: the answers stand in the ledgers. A unit without a result stays inconclusive.";

pub const EXAMPLES: &str = "\
Examples:
  regreen bench fixtures --model repair --model gold -j 2
  regreen bench humanevalpack.jsonl -k 5 --model openai/gpt-5 --model repair --total-usd 20
  regreen bench --resume .regreen/bench/20260102-… --retry-infra
  regreen bench validate swe-bench.jsonl --mirrors ../mirrors
  regreen bench plan fixtures --model repair --run work
  regreen bench exec --run work --index 17         one unit, for schedulers of your own

Sets: a task's folder, a folder of them (Harbor's, too), exercism tracks, JSONL of HumanEvalFix or SWE-bench. Models are
those of `regreen fix`, and the scripted gold, empty and oracle-noise, which know the answer and try out the machine.

Exit status: 0 every unit has a result, 3 the money is spent, 6 some are inconclusive; `exec`: 0 stored, 75 try again,
78 do not.";

/// The arguments of `regreen bench`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    go: GoArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Freeze a plan: which units, and what their results depend on
    Plan(Box<PlanArgs>),
    /// Do one unit of a plan, unless its result stands
    Exec(ExecArgs),
    /// Prove every task of a set: red base, green answer, tests that notice faults, nothing given away
    Validate(Box<ValidateArgs>),
}

#[derive(Debug, Args)]
struct GoArgs {
    #[command(flatten)]
    plan: PlanArgs,
    /// Units at a time [default: one a core]
    #[arg(short = 'j', value_name = "N")]
    workers: Option<usize>,
    /// Go on with a run that was stopped or killed
    #[arg(long, value_name = "RUN", conflicts_with_all = ["set", "run", "model"])]
    resume: Option<PathBuf>,
    /// Try units again that met a fault of the environment
    #[arg(long)]
    retry_infra: bool,
}

/// What a plan is made from.
#[derive(Clone, Debug, Args)]
struct PlanArgs {
    /// A task's folder, a folder of them, exercism tracks, or JSONL of `HumanEvalFix` or SWE-bench
    set: Option<PathBuf>,
    /// Who is measured; may be repeated
    #[arg(long, value_name = "MODEL", help_heading = "Units")]
    model: Vec<String>,
    /// Samples of every task and model
    #[arg(short = 'k', value_name = "K", default_value_t = 1, help_heading = "Units")]
    samples: u32,
    /// Decides what the scripted proposers do
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Units")]
    seed: u64,
    /// What oracle-noise answers how often, as in correct=0.5,cheat=0.5 [default: all alike]
    #[arg(long, value_name = "RATES", value_parser = Rates::parse, help_heading = "Units")]
    rates: Option<Rates>,
    /// Where repositories of SWE-bench instances lie, as `owner__name`
    #[arg(long, value_name = "FOLDER", help_heading = "Units")]
    mirrors: Option<PathBuf>,
    /// The run's folder [default: a new one in .regreen/bench]
    #[arg(long, value_name = "FOLDER", help_heading = "Units")]
    run: Option<PathBuf>,
    #[command(flatten)]
    by: ProposerArgs,

    /// Candidates that a unit may propose
    #[arg(long, default_value_t = 8, help_heading = "Budget")]
    attempts: u32,
    /// Tokens that a unit may use
    #[arg(long, help_heading = "Budget")]
    tokens: Option<u64>,
    /// Dollars that a unit may spend
    #[arg(long, default_value_t = 1.0, help_heading = "Budget")]
    usd: f64,
    /// Time that a unit may take, as in 90s, 10m, 2h
    #[arg(long, value_parser = settings::duration, default_value = "1h", help_heading = "Budget")]
    time: u64,
    /// Dollars that all units together may spend
    #[arg(long, default_value_t = 10.0, help_heading = "Budget")]
    total_usd: f64,

    #[command(flatten)]
    how: HowArgs,
}

/// How tasks are built and tested.
#[derive(Clone, Debug, Args)]
pub(super) struct HowArgs {
    /// Deadline of every build and test command, in seconds
    #[arg(long, value_name = "SECONDS", help_heading = "Build and test")]
    deadline: Option<u64>,
    /// Whether set-up steps (dependencies) have the network
    #[arg(long, value_enum, default_value = "on", value_name = "WHEN", help_heading = "Build and test")]
    setup_network: Switch,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
struct ExecArgs {
    /// The run's folder
    #[arg(long, value_name = "FOLDER")]
    run: PathBuf,
    /// The line of the plan, from 0
    #[arg(long, value_name = "N")]
    index: usize,
    /// Where scratch folders are made [default: the user's cache folder]
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ValidateArgs {
    /// The set
    set: PathBuf,
    /// Where repositories of SWE-bench instances lie, as `owner__name`
    #[arg(long, value_name = "FOLDER")]
    mirrors: Option<PathBuf>,
    /// How often the right answer must be green
    #[arg(long, value_name = "N", default_value_t = 5)]
    times: u32,
    /// Tasks at a time [default: one a core]
    #[arg(short = 'j', value_name = "N")]
    workers: Option<usize>,
    /// Where the proofs are written, one line a task [default: SET with .proofs.jsonl after it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    how: HowArgs,
}

impl BenchArgs {
    /// Takes a mount namespace for cheap workspaces, before any thread starts.
    pub fn enter_namespace(&self) {
        match &self.what {
            Some(What::Plan(_)) => {}
            Some(What::Validate(args)) => args.how.common.enter_namespace(),
            Some(What::Exec(args)) => enter_as_planned(&args.run),
            None => match &self.go.resume {
                Some(run) => enter_as_planned(run),
                None => self.go.plan.how.common.enter_namespace(),
            },
        }
    }
}

/// Takes the namespace that a plan asks for. A plan that cannot be read is complained of later.
fn enter_as_planned(run: &Path) {
    if let Some(plan) = bench::lock(run).ok().and_then(|lock| replan(&lock).ok()) {
        plan.how.common.enter_namespace();
    }
}

/// Does what was asked.
pub fn bench(args: BenchArgs) -> Result<Exit> {
    match args.what {
        Some(What::Plan(plan)) => {
            let folder = planned(&plan)?;
            super::print(&format!("{}\n", folder.display()));
            Ok(Exit::Green)
        }
        Some(What::Exec(args)) => {
            supervised(|| {}, async move { tokio::task::spawn_blocking(move || exec(&args)).await? })
        }
        Some(What::Validate(args)) => {
            supervised(|| {}, async move { tokio::task::spawn_blocking(move || validate(&args)).await? })
        }
        None => go(&args.go),
    }
}

/// Freezes the plan; the run's folder.
fn planned(plan: &PlanArgs) -> Result<PathBuf> {
    let set_at = plan.set.as_ref().context(Usage("name a set of tasks".to_owned()))?;
    ensure!(!plan.model.is_empty(), Usage("name who is measured: --model".to_owned()));
    ensure!(plan.samples > 0, Usage("-k 0 measures nothing".to_owned()));
    let mut models = plan.model.clone();
    models.sort();
    models.dedup();
    ensure!(
        models.len() == plan.model.len(),
        Usage("a model is named twice; -k says how many samples".to_owned())
    );
    let harness = plan.how.common.harness.as_deref();
    // Complained of before anything is written.
    for model in plan.model.iter().filter(|model| !bench::is_scripted(model)) {
        settings::proposer(model, true, 0, &Proposing { by: &plan.by, harness, usd: Some(plan.usd) })?;
    }
    let mirrors = plan.mirrors.as_deref().map(absolute).transpose()?;
    let mut set = set::read(set_at, mirrors.as_deref().map(Path::new)).map_err(usage)?;
    fit(&mut set, || door(&plan.by, &plan.how, None, None, 1))?;
    ensure!(!set.tasks.is_empty(), Usage("no task of the set can be run here".to_owned()));
    let budget = Budget {
        attempts: Some(plan.attempts),
        tokens: plan.tokens,
        usd: Some(plan.usd),
        seconds: Some(plan.time),
    };
    let asked = Settings {
        set: absolute(set_at)?,
        mirrors,
        models: plan.model.clone(),
        samples: plan.samples,
        seed: plan.seed,
        budget,
        total_usd: plan.total_usd,
        rates: plan.rates.clone().unwrap_or_default(),
        regrades: None,
        arguments: words(plan)?,
    };
    let folder = match &plan.run {
        Some(folder) => std::path::absolute(folder)?,
        None => std::path::absolute(Path::new(".regreen/bench").join(settings::new_id()))?,
    };
    settings::hide(&folder)?;
    bench::freeze(&folder, &set, asked, harness).map_err(usage)?;
    Ok(folder)
}

fn absolute(path: &Path) -> Result<String> {
    let path =
        path.canonicalize().with_context(|| format!("failed to open {}", path.display())).map_err(usage)?;
    path.to_str().map(str::to_owned).context("a path is not UTF-8")
}

/// The arguments that results depend on and that have no place of their own in the lock.
fn words(plan: &PlanArgs) -> Result<Vec<String>> {
    let (by, how, common) = (&plan.by, &plan.how, &plan.how.common);
    let mut words = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.push(format!("{name}={value}"));
        }
    };
    let switch = |switch: Switch| (switch == Switch::Off).then(|| "off".to_owned());
    add("--base-url", by.base_url.clone());
    add("--price", by.price.clone());
    add("--context", by.context.map(|n| n.to_string()));
    add("--max-output", by.max_output.map(|n| n.to_string()));
    add("--agent-usd", by.agent_usd.map(|n| n.to_string()));
    by.agent_env.iter().for_each(|name| add("--agent-env", Some(name.clone())));
    add("--agent-network", switch(by.agent_network));
    add("--deadline", how.deadline.map(|n| n.to_string()));
    add("--setup-network", switch(how.setup_network));
    add("--sandbox", common.sandbox.map(|level| level.to_string()));
    add("--image", common.image.clone());
    add("--engine", common.engine.clone());
    add("--harness", common.harness.as_deref().map(absolute).transpose()?);
    Ok(words)
}

/// The arguments of a plan that was frozen.
fn replan(lock: &Lock) -> Result<PlanArgs> {
    use clap::Parser as _;
    let words = ["regreen", "bench", "plan"].map(str::to_owned).into_iter();
    let cli = super::Cli::try_parse_from(words.chain(lock.settings.arguments.iter().cloned()));
    let args = match cli.context("the lock's arguments make no sense to this regreen")?.command {
        super::Command::Bench(args) => *args,
        _ => anyhow::bail!("the lock's arguments are not those of a plan"),
    };
    match args.what {
        Some(What::Plan(plan)) => Ok(*plan),
        _ => anyhow::bail!("the lock's arguments are not those of a plan"),
    }
}

/// What a bench needs of arguments and environment.
pub(super) fn door(
    by: &ProposerArgs,
    how: &HowArgs,
    cache: Option<&PathBuf>,
    usd: Option<f64>,
    workers: usize,
) -> Result<Door> {
    let mut common = how.common.clone();
    if let Some(cache) = cache {
        common.cache = Some(cache.clone());
    }
    let usual = match (common.sandbox, &common.image) {
        // Each task names its image.
        (Some(Level::Container), None) => None,
        _ => Some(settings::sandbox(&common, common.image.as_deref())?),
    };
    let mut on = TaskArgs::of(".".to_owned());
    (on.deadline, on.setup_network) = (how.deadline, how.setup_network);
    // Units that run side by side share the machine's memory, whatever each would take alone.
    let share = sandbox::most_memory().map(|bytes| (bytes >> 20) / workers.max(1) as u64);
    let share = Limits { memory_mib: share.filter(|_| workers > 1), ..Limits::default() };
    let (by, harness) = (by.clone(), common.harness.clone());
    let made = (harness.clone(), by);
    let in_image = common.clone();
    Ok(Door {
        cache: settings::cache(&common)?,
        templates: settings::templates(harness.as_deref())?,
        harness,
        open: Box::new(move |mut task, beside, say| {
            task.limits = task.limits.or(share);
            let sandbox = boxed(usual.as_ref(), &common, task.image.as_deref())?;
            let plain = task.source.path != ".";
            settings::with_sandbox(task, beside, plain, &on, &common, sandbox, say)
        }),
        make: Box::new(move |model, answered| {
            let (harness, by) = &made;
            settings::proposer(model, true, answered, &Proposing { by, harness: harness.as_deref(), usd })
        }),
        contain: Box::new(move |image| settings::sandbox(&in_image, Some(image))),
    })
}

/// The sandbox of a task, which may name an image of its own.
fn boxed(usual: Option<&Sandbox>, common: &Common, image: Option<&str>) -> Result<Sandbox> {
    match (usual, image) {
        (Some(usual), _) if common.image.is_some() || image.is_none() => Ok(usual.clone()),
        _ => settings::sandbox(common, image),
    }
}

/// Leaves out what cannot be run here, and says so.
fn fit(set: &mut Set, door: impl FnOnce() -> Result<Door>) -> Result<()> {
    if set.wants_images() {
        let door = door()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(set.leave_out(&door));
    }
    for (task, why) in &set.left_out {
        say(&format!("{} is left out: {}", task.id, crate::text::one_line(why)));
    }
    Ok(())
}

/// Opens a planned run.
fn opened(folder: &Path, cache: Option<&PathBuf>, workers: usize) -> Result<Bench> {
    let lock = bench::lock(folder).map_err(usage)?;
    let plan = replan(&lock)?;
    Bench::open(folder, door(&plan.by, &plan.how, cache, lock.settings.budget.usd, workers)?)
}

/// Does one unit.
fn exec(args: &ExecArgs) -> Result<Exit> {
    let (_, lines) = match bench::read(&args.run) {
        Ok(planned) => planned,
        Err(error) => return Ok(refuse(&format!("{error:#}"))),
    };
    let Some(line) = lines.get(args.index) else {
        return Ok(refuse(&format!("the plan has no line {}; it has {}", args.index, lines.len())));
    };
    if bench::stands(&args.run, line) {
        return Ok(Exit::Green);
    }
    let bench = match opened(&args.run, args.cache.as_ref(), 1) {
        Ok(bench) => bench,
        Err(error) => return Ok(refuse(&format!("{error:#}"))),
    };
    Ok(match bench::exec(&bench, line)? {
        End::Stood | End::Stored { .. } => Exit::Green,
        End::Fault { reason } => {
            say(&format!("try again: {reason}"));
            Exit::TryAgain
        }
        End::Refused { reason } => refuse(&reason),
        End::NoMoney => refuse("the money of the whole bench is spent (--total-usd)"),
    })
}

fn refuse(reason: &str) -> Exit {
    say(&format!("do not try again: {reason}"));
    Exit::DoNot
}

fn say(text: &str) {
    Watch::new(false).line(&format!("regreen: {text}"));
}

/// The arguments of `regreen regrade`.
#[derive(Debug, Args)]
pub struct RegradeArgs {
    /// The run whose answers are judged again
    run: PathBuf,
    /// The folder of the new run [default: a new one beside the old]
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Units at a time [default: one a core]
    #[arg(short = 'j', value_name = "N")]
    workers: Option<usize>,
    /// Where scratch folders are made [default: the user's cache folder]
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
}

impl RegradeArgs {
    /// Takes a mount namespace for cheap workspaces, before any thread starts.
    pub fn enter_namespace(&self) {
        enter_as_planned(&self.run);
    }
}

/// Judges the answers of a run again, in a new run, and compares both.
pub fn regrade(args: &RegradeArgs) -> Result<Exit> {
    let lock = bench::lock(&args.run).map_err(usage)?;
    let old = PathBuf::from(absolute(&args.run)?);
    let folder = match &args.to {
        Some(folder) => std::path::absolute(folder)?,
        None => beside(&old)?,
    };
    let set = set::read(Path::new(&lock.settings.set), lock.settings.mirrors.as_deref().map(Path::new));
    let set = set.map_err(usage)?;
    let harness = replan(&lock)?.how.common.harness;
    let asked = Settings { regrades: Some(absolute(&old)?), ..lock.settings };
    bench::freeze(&folder, &set, asked, harness.as_deref()).map_err(usage)?;
    work(vec![old, folder], args.cache.clone(), args.workers, false)
}

/// A folder beside a run's that is not there yet.
fn beside(run: &Path) -> Result<PathBuf> {
    let named = |number: u32| {
        let mut name = run.as_os_str().to_owned();
        name.push(if number == 1 { "-regraded".to_owned() } else { format!("-regraded-{number}") });
        PathBuf::from(name)
    };
    let free = (1..1000).map(named).find(|folder| !folder.exists());
    free.with_context(|| {
        Usage(format!("{} was judged again too often: name a folder with --to", run.display()))
    })
}

/// Plans unless a run is resumed, runs what has no result yet, and reports.
fn go(args: &GoArgs) -> Result<Exit> {
    let (folder, cache) = match &args.resume {
        Some(folder) => (std::path::absolute(folder)?, args.plan.how.common.cache.clone()),
        None => (planned(&args.plan)?, args.plan.how.common.cache.clone()),
    };
    work(vec![folder], cache, args.workers, args.retry_infra)
}

/// Runs what has no result yet of the last of these runs, and reports on them all.
fn work(runs: Vec<PathBuf>, cache: Option<PathBuf>, workers: Option<usize>, retry: bool) -> Result<Exit> {
    let workers = crew(workers)?;
    let shown = runs.last().map_or(String::new(), |folder| folder.display().to_string());
    let stopped = || say(&format!("stopped; nothing is lost: `regreen bench --resume {shown}` goes on"));
    supervised(stopped, async move {
        tokio::task::spawn_blocking(move || run(&runs, cache.as_ref(), workers, retry)).await?
    })
}

/// How many work at a time.
pub(super) fn crew(asked: Option<usize>) -> Result<usize> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ensure!(asked != Some(0), Usage("-j 0 does nothing".to_owned()));
    Ok(asked.unwrap_or_else(cores))
}

fn run(runs: &[PathBuf], cache: Option<&PathBuf>, workers: usize, retry: bool) -> Result<Exit> {
    let folders: Vec<&Path> = runs.iter().map(PathBuf::as_path).collect();
    let folder = folders.last().context("there is no run")?;
    let (_, lines) = bench::read(folder).map_err(usage)?;
    let open = bench::open_lines(folder, &lines, retry)?;
    say(&format!("{} of {} units to do, {workers} at a time", open.len(), lines.len()));
    // Where there is nothing to do, nothing can come of what has changed since: not even the set is read.
    let broke = if open.is_empty() {
        false
    } else {
        let bench = opened(folder, cache, workers)?;
        let progress = Progress::new(open.len());
        bench::run(&bench, &open, workers, &|told| progress.tell(told))?;
        progress.finish()
    };
    let report = report::read(&folders, false)?;
    super::print(&report::table(&report));
    say(&format!("the run is in {}; `regreen report` tells it in other formats", folder.display()));
    let open = |unit: &report::Unit| matches!(unit.standing, Standing::Missing | Standing::Inconclusive);
    Ok(match report.runs.last().is_some_and(|run| run.units.iter().any(open)) {
        _ if broke => Exit::Budget,
        true => Exit::Inconclusive,
        false => Exit::Green,
    })
}

/// What a watcher sees: done, solved, money, rate, time left.
struct Progress {
    bar: ProgressBar,
    live: bool,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    solved: usize,
    faults: usize,
    broke: bool,
}

impl Progress {
    fn new(lines: usize) -> Progress {
        let live = std::io::stderr().is_terminal();
        let bar = ProgressBar::new(lines as u64);
        if live {
            let style = ProgressStyle::with_template("{bar:20} {pos}/{len} {msg}{pace}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style.with_key("pace", pace));
            bar.set_message("0 solved, 0 faults, $0.00");
            bar.enable_steady_tick(Duration::from_millis(200));
        } else {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        Progress { bar, live, counts: Mutex::default() }
    }

    fn tell(&self, told: &Told) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let line = told.line;
        let name = format!("{} {} #{}", line.model, line.task, line.sample);
        let word = match told.end {
            End::Stood => "its result stood".to_owned(),
            End::Stored { solved: true } => {
                counts.solved += 1;
                "solved".to_owned()
            }
            End::Stored { solved: false } => "not solved".to_owned(),
            End::Fault { reason } if told.again => format!("fault, to be tried again: {reason}"),
            End::Fault { reason } => {
                counts.faults += 1;
                format!("inconclusive: {reason}")
            }
            End::Refused { reason } => {
                counts.faults += 1;
                format!("not fit to be measured with: {reason}")
            }
            End::NoMoney => {
                counts.broke = true;
                "no money is left for it".to_owned()
            }
        };
        if !told.again {
            self.bar.inc(1);
        }
        let money = told.money.spent + told.money.reserved;
        self.bar.set_message(format!("{} solved, {} faults, ${money:.2}", counts.solved, counts.faults));
        if !self.live {
            let done = self.bar.position();
            let word = crate::text::clip(&crate::text::one_line(&word), 300).into_owned();
            Watch::new(false).line(&format!("{done}/{} {name}: {word}", self.bar.length().unwrap_or(0)));
        }
    }

    /// Whether the money was spent.
    fn finish(&self) -> bool {
        self.bar.finish_and_clear();
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).broke
    }
}

/// Rate and time left, as soon as there is anything to tell them from.
fn pace(state: &ProgressState, text: &mut dyn std::fmt::Write) {
    if state.pos() > 0 {
        let (rate, left) = (state.per_sec() * 60.0, HumanDuration(state.eta()));
        let _ = write!(text, ", {rate:.1} a minute, {left} left");
    }
}

/// Proves every task, and writes what was found beside the set.
fn validate(args: &ValidateArgs) -> Result<Exit> {
    let watch = Watch::new(false);
    let mirrors = args.mirrors.as_deref().map(absolute).transpose()?;
    let mut set = set::read(&args.set, mirrors.as_deref().map(Path::new)).map_err(usage)?;
    let workers = crew(args.workers)?;
    let open = || door(&ProposerArgs::default(), &args.how, None, None, workers);
    fit(&mut set, open)?;
    let door = open()?;
    let out = args.out.clone().unwrap_or_else(|| {
        let mut name = args.set.components().as_path().as_os_str().to_owned();
        name.push(".proofs.jsonl");
        PathBuf::from(name)
    });
    let proofs = Mutex::new(std::collections::BTreeMap::new());
    bench::side_by_side(set.tasks.len(), workers, &|at| {
        let task = &set.tasks[at];
        watch.say(&format!("{} of {}: {}", at + 1, set.tasks.len(), task.id));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let proof = runtime.block_on(bench::prove(task, &door, args.times))?;
        watch.line(&line(&proof));
        proofs.lock().unwrap_or_else(PoisonError::into_inner).insert(at, proof);
        Ok(true)
    })?;
    let proofs = proofs.into_inner().unwrap_or_else(PoisonError::into_inner);
    let left_out = set.left_out.iter().map(|(task, why)| Proof::left_out(task, why));
    let proofs: Vec<Proof> = proofs.into_values().chain(left_out).collect();
    let mut text = String::new();
    for proof in &proofs {
        text.push_str(&serde_json::to_string(proof)?);
        text.push('\n');
    }
    std::fs::write(&out, text).with_context(|| format!("failed to write {}", out.display()))?;
    let sound = proofs.iter().filter(|proof| proof.holds()).count();
    let here = proofs.iter().filter(|proof| proof.environment).count();
    watch.line(&format!(
        "{sound} of {} tasks hold, {here} could not be tried on this machine; the proofs are in {}",
        proofs.len(),
        out.display()
    ));
    Ok(if sound == proofs.len() {
        Exit::Green
    } else if sound + here == proofs.len() {
        Exit::Inconclusive
    } else {
        Exit::Unsolved
    })
}

fn line(proof: &Proof) -> String {
    let remarks = proof.remarks.iter().flat_map(|remark| ["; ", remark]).collect::<String>();
    if proof.holds() {
        format!("holds   {}{remarks}", proof.task)
    } else if proof.environment {
        format!("no word {}: {}", proof.task, proof.faults.join("; "))
    } else {
        format!("FAILS   {}: {}", proof.task, proof.faults.join("; "))
    }
}
