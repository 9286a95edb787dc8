//! The door: arguments and environment are read here and nowhere else. Arguments win over `task.toml`, which
//! wins over defaults. stdout is data (a patch, JSON); everything said to people goes to stderr.

mod settings;
mod hidden;
mod watch;
mod bench;
mod mine;
mod report;
mod export;
mod reports;
mod verify;
mod check;
mod selftest;
mod deliver;
mod doctor;
mod localise;
mod action;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::fix::{self, Run};
use crate::ledger::Ledger;
use crate::record::{Event, Outcome};
use crate::sandbox::Level;
use crate::story;
use crate::task::TestFormat;

use hidden::Hidden;
use settings::Settings;
use watch::Watch;

/// Makes a red repository green: proposes a patch, measures it with compiler and tests in a sandbox, goes round.
#[derive(Debug, Parser)]
#[command(name = "regreen", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Turn a failing repository green, or say honestly why not
    #[command(after_help = FIX_EXAMPLES)]
    Fix(Box<FixArgs>),
    /// Judge a patch that anybody made
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(Box<verify::VerifyArgs>),
    /// Measure a repository before a loop runs on it: are its tests steady, fast and strong enough?
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Box<check::CheckArgs>),
    /// Test regreen itself
    Selftest {
        #[command(subcommand)]
        what: selftest::Selftest,
    },
    /// Run a set of tasks with several models, or plan, do a part of, or validate that
    #[command(after_help = bench::EXAMPLES)]
    Bench(Box<bench::BenchArgs>),
    /// Judge the answers of a bench again without asking a model, in a new run
    #[command(after_help = bench::REGRADE_EXAMPLES)]
    Regrade(bench::RegradeArgs),
    /// Make a task set out of a repository's own bug fixes, each of them proved
    #[command(after_help = mine::EXAMPLES)]
    Mine(Box<mine::MineArgs>),
    /// Say what benches found: rates with intervals, paired comparisons
    #[command(after_help = report::EXAMPLES)]
    Report(report::ReportArgs),
    /// Write what runs left in the formats of other programs: SWE-bench, ATIF, training pairs, event streams
    #[command(after_help = export::EXAMPLES)]
    Export(export::ExportArgs),
    /// The steps of the GitHub Action, configured by variables
    Action(Box<action::ActionArgs>),
    /// Tell a run as a story
    #[command(
        after_help = "Examples:\n  regreen show                 the latest run\n  regreen show 20260102-…      one run\n  regreen show --json | jq .   its records"
    )]
    Show {
        /// The run's id or folder; the latest by default
        run: Option<String>,
        /// Where runs are kept
        #[arg(long, default_value = ".regreen/runs", value_name = "FOLDER")]
        out: PathBuf,
        /// Print the records, one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Say which lines are to blame for failing tests, as far as can be told without a model
    #[command(
        after_help = "Examples:\n  regreen localise              the repository here\n  regreen localise ../shop --json"
    )]
    Localise {
        /// A folder in a git repository, a task folder, or a URL (file, https, ssh)
        #[arg(default_value = ".")]
        path: String,
        /// A failing test to explain; may be repeated [default: every test that fails]
        #[arg(long, value_name = "ID")]
        target: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Say which toolchains, sandbox levels and models are ready, and the remedy for each that is not
    Doctor {
        #[command(flatten)]
        common: Common,
    },
    /// Print the completion script of a shell
    #[command(
        after_help = "Example:\n  regreen completions bash > ~/.local/share/bash-completion/completions/regreen"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the JSON Schema of a format
    Schema {
        /// The format
        format: Schema,
    },
}

const FIX_EXAMPLES: &str = "\
Examples:
  regreen fix                                      the repository here, with the embedded engine
  regreen fix ../shop --apply                      and write the verified patch into its tree
  regreen fix https://example.org/shop.git --rev v1.2 --patch fix.diff
  regreen fix --model repair --model anthropic/claude-haiku-4-5 --usd 0.50
  regreen fix --model command:claude               any agent CLI proposes, regreen judges
  regreen fix --worth 20 --harm 100                no attempt that is not worth it
  regreen fix --held-out ../secret-tests           and these, which no proposer sees, must pass too
  regreen fix --test-cmd './check.sh' --test-format tap
  regreen fix --resume 20260102-030405-x7f3        go on where a run was stopped

Exit status: 0 green, 1 unsolved, 2 bad usage, 3 budget spent, 4 not fixable by a patch, 70 our own fault,
130 interrupted.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  regreen verify --patch fix.diff                  against the working copy here
  regreen verify --branch fix --rev main           what a branch changed since it left main
  regreen verify --patch fix.diff --held-out ../secret-tests --level L4
  git diff | regreen verify --patch - --json       the receipt on stdout
  regreen verify --patch fix.diff --write-receipt receipt.json
  regreen verify --receipt receipt.json            check it again

Exit status: 0 solved or passes-visible, 1 not solved, 2 bad usage, 5 suspect, 6 inconclusive,
7 it passes below the --level asked for, 70 our own fault, 130 interrupted.";

const CHECK_EXAMPLES: &str = "\
Examples:
  regreen check                                    the repository here
  regreen check ../shop --runs 10 --mutants 100 --time 20m
  regreen check --level L3                         status 7 if its tests cannot carry such a verdict
  regreen check --json | jq .strength

Exit status: 0 measured, whatever was found, 2 bad usage, 4 it cannot be measured, 7 below the --level asked for,
70 our own fault, 130 interrupted.";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Schema {
    /// `ledger.jsonl`, one record a line
    Ledger,
    /// `task.toml`
    Task,
    /// What `regreen verify --json` prints
    Receipt,
    /// What `regreen check --json` prints
    Check,
}

/// What all commands that touch toolchains have in common.
#[derive(Clone, Debug, Args)]
struct Common {
    /// A folder whose files replace the embedded ones of the same name (prompts, toolchains, prices)
    #[arg(long, value_name = "FOLDER")]
    harness: Option<PathBuf>,
    /// Where scratch folders are made [default: the user's cache folder]
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// How strong the sandbox is [default: the strongest that works here, never none]
    #[arg(long, value_enum, value_name = "LEVEL")]
    sandbox: Option<Level>,
    /// The container image to build and test in; it must be on this machine
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// The container engine with its options [default: podman, else docker]
    #[arg(long, value_name = "COMMAND")]
    engine: Option<String>,
}

impl Common {
    /// Takes a mount namespace for cheap workspaces, before any thread starts. Container engines cannot work in one.
    fn enter_namespace(&self) {
        if self.image.is_none() && matches!(self.sandbox, None | Some(Level::Namespaces)) {
            crate::mounts::enter();
        }
    }
}

/// What is worked on, and how it is built and tested.
#[derive(Clone, Debug, Args)]
struct TaskArgs {
    /// A folder in a git repository, a task folder, or a URL (file, https, ssh)
    #[arg(default_value = ".")]
    path: String,

    /// The revision to take, instead of the working copy or the default branch
    #[arg(long, help_heading = "Task")]
    rev: Option<String>,
    /// A task.toml to read
    #[arg(long, value_name = "FILE", help_heading = "Task")]
    task: Option<PathBuf>,
    /// What is wrong, in words
    #[arg(long, value_name = "TEXT", help_heading = "Task")]
    statement: Option<String>,
    /// A test that must pass; may be repeated [default: every test that fails]
    #[arg(long, value_name = "ID", help_heading = "Task")]
    target: Vec<String>,
    /// Files that candidates must leave alone; may be repeated
    #[arg(long, value_name = "GLOB", help_heading = "Task")]
    protect: Vec<String>,

    /// Run only this toolchain
    #[arg(long, value_name = "NAME", help_heading = "Build and test")]
    toolchain: Option<String>,
    /// Build with this command (run by `sh -c` in the sandbox)
    #[arg(long, value_name = "COMMAND", help_heading = "Build and test")]
    build_cmd: Option<String>,
    /// Test with this command (run by `sh -c` in the sandbox)
    #[arg(long, value_name = "COMMAND", help_heading = "Build and test")]
    test_cmd: Option<String>,
    /// What the test command reports
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Build and test")]
    test_format: Option<TestFormat>,
    /// Where the test command leaves its `JUnit` XML files
    #[arg(long, value_name = "GLOB", help_heading = "Build and test")]
    test_results: Option<String>,
    /// Deadline of every build and test command, in seconds
    #[arg(long, value_name = "SECONDS", help_heading = "Build and test")]
    deadline: Option<u64>,
    /// What one command may use: cpu (seconds), memory, processes, file, disk, output (sizes as in 512M, 4G); may
    /// be repeated
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Build and test")]
    limit: Vec<String>,
    /// Whether set-up steps (dependencies) have the network
    #[arg(long, value_enum, default_value = "on", value_name = "WHEN", help_heading = "Build and test")]
    setup_network: Switch,
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
struct FixArgs {
    #[command(flatten)]
    on: TaskArgs,
    #[command(flatten)]
    hidden: Hidden,

    /// Who proposes, cheapest first; may be repeated: repair, PROVIDER/NAME, command:ARGV, replay:FOLDER
    /// [default: repair, then the model whose key is in the environment]
    #[arg(long, value_name = "MODEL", help_heading = "Proposers")]
    model: Vec<String>,
    #[command(flatten)]
    by: ProposerArgs,
    /// The share of the failing tests, 0 to 0.5, that the embedded engine does not search with
    #[arg(long, value_parser = settings::share, default_value = "0", value_name = "SHARE", help_heading = "Proposers")]
    withhold: f64,

    /// Candidates that may be proposed [default: 8]
    #[arg(long, help_heading = "Budget")]
    attempts: Option<u32>,
    /// Tokens that may be used
    #[arg(long, help_heading = "Budget")]
    tokens: Option<u64>,
    /// Dollars that may be spent [default: 1.00]
    #[arg(long, help_heading = "Budget")]
    usd: Option<f64>,
    /// Time that may pass, as in 90s, 10m, 2h [default: 1h]
    #[arg(long, value_parser = settings::duration, help_heading = "Budget")]
    time: Option<u64>,

    /// What a right patch is worth in dollars: an attempt is made only while it is likely to be worth it
    #[arg(long, value_name = "USD", requires = "harm", help_heading = "Budget")]
    worth: Option<f64>,
    /// What a wrong patch costs in dollars if it passes all the same
    #[arg(long, value_name = "USD", requires = "worth", help_heading = "Budget")]
    harm: Option<f64>,

    /// Small wrong changes of the changed lines that the tests are tried with after green; 0 for none
    #[arg(long, value_name = "N", default_value_t = crate::strength::MUTANTS, help_heading = "Result")]
    mutants: usize,
    /// Write the verified patch into your working copy
    #[arg(long, help_heading = "Result", conflicts_with = "rev")]
    apply: bool,
    /// Commit the verified patch to a new branch of your repository
    #[arg(long, value_name = "NAME", help_heading = "Result")]
    branch: Option<String>,
    /// Write the verified patch to a file, or to stdout with -
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    patch: Option<String>,
    /// Print the event stream, one JSON object a line
    #[arg(long, help_heading = "Result")]
    json: bool,
    /// Where runs are kept
    #[arg(long, default_value = ".regreen/runs", value_name = "FOLDER", help_heading = "Result")]
    out: PathBuf,
    /// Go on with a run that was stopped or killed
    #[arg(long, value_name = "ID", help_heading = "Result")]
    resume: Option<String>,

    #[command(flatten)]
    common: Common,

    /// The arguments as given, and the folder that they are relative to.
    #[arg(skip)]
    given: Vec<String>,
    #[arg(skip)]
    here: PathBuf,
}

/// What proposers depend on besides their names.
#[derive(Clone, Debug, Default, Args)]
struct ProposerArgs {
    /// The address of a server that speaks a provider's wire format
    #[arg(long, value_name = "URL", help_heading = "Proposers")]
    base_url: Option<String>,
    /// The model's price in dollars per million tokens, when it is not in the table
    #[arg(long, value_name = "IN,OUT", help_heading = "Proposers")]
    price: Option<String>,
    /// Tokens that the model's prompt may have, when the model is not in the table
    #[arg(long, value_name = "TOKENS", help_heading = "Proposers")]
    context: Option<u64>,
    /// Tokens that one reply may have
    #[arg(long, value_name = "TOKENS", help_heading = "Proposers")]
    max_output: Option<u32>,
    /// The most that one call of an agent CLI may cost [default: a quarter of --usd]
    #[arg(long, value_name = "USD", help_heading = "Proposers")]
    agent_usd: Option<f64>,
    /// A variable of your environment that an agent CLI may see; may be repeated
    #[arg(long, value_name = "NAME", help_heading = "Proposers")]
    agent_env: Vec<String>,
    /// Whether agent CLIs have the network: without it they reach no model
    #[arg(long, value_enum, default_value = "on", value_name = "WHEN", help_heading = "Proposers")]
    agent_network: Switch,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Switch {
    #[default]
    On,
    Off,
}

/// The exit statuses of regreen; they stand in the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The repository is green, by a verified patch or already.
    Green = 0,
    /// Every proposer gave up.
    Unsolved = 1,
    /// The arguments or the task make no sense.
    Usage = 2,
    /// The budget is spent.
    Budget = 3,
    /// No patch can help here: flaky tests, a missing toolchain, a broken environment.
    NotFixable = 4,
    /// `verify`: the patch passes where no honest one can, or reached for the verifier.
    Suspect = 5,
    /// `verify`: evidence is missing or contradicts itself.
    Inconclusive = 6,
    /// `verify`: the patch passes, below the level that was asked for; `check`: no verdict can reach it.
    BelowLevel = 7,
    /// regreen itself failed.
    Fault = 70,
    /// `bench exec`: the environment was at fault; try again.
    TryAgain = 75,
    /// `bench exec`: no try will help.
    DoNot = 78,
    /// It was interrupted; `--resume` goes on.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A mistake in the arguments or the task, told apart from our own faults by its exit status.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Runs regreen with these arguments.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Green.into() };
        }
    };
    match run(cli.command, &arguments) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = if error.downcast_ref::<Usage>().is_some() { Exit::Usage } else { Exit::Fault };
            complain(&error);
            exit.into()
        }
    }
}

/// Prints an error and its causes, safe for a terminal.
fn complain(error: &anyhow::Error) {
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    let _ = writeln!(std::io::stderr(), "regreen: {}", crate::text::printable(&chain.join(": ")));
}

fn run(command: Command, arguments: &[OsString]) -> Result<Exit> {
    match &command {
        Command::Fix(args) => args.common.enter_namespace(),
        Command::Verify(args) => args.common.enter_namespace(),
        Command::Check(args) => args.common.enter_namespace(),
        Command::Selftest { what: selftest::Selftest::Integrity(args) } => args.common.enter_namespace(),
        Command::Localise { common, .. } => common.enter_namespace(),
        Command::Bench(args) => args.enter_namespace(),
        Command::Regrade(args) => args.enter_namespace(),
        Command::Mine(args) => args.how.common.enter_namespace(),
        Command::Action(args) => args.enter_namespace(),
        Command::Show { .. }
        | Command::Report(_)
        | Command::Export(_)
        | Command::Doctor { .. }
        | Command::Completions { .. }
        | Command::Schema { .. } => {}
    }
    match command {
        Command::Fix(args) => fix(resumed(*args, arguments)?),
        Command::Verify(args) => {
            let watch = Watch::new(false);
            let stopped = || watch.line("Stopped.");
            supervised(stopped, verify::verify(&args, &watch))
        }
        Command::Check(args) => {
            let watch = Watch::new(false);
            let stopped = || watch.line("Stopped.");
            supervised(stopped, check::check(&args, &watch))
        }
        Command::Selftest { what } => {
            let watch = Watch::new(false);
            let stopped = || watch.line("Stopped.");
            supervised(stopped, selftest::selftest(&what, &watch))
        }
        Command::Bench(args) => bench::bench(*args),
        Command::Regrade(args) => bench::regrade(&args),
        Command::Mine(args) => mine::mine(*args),
        Command::Report(args) => report::report(&args),
        Command::Export(args) => export::export(&args),
        Command::Action(args) => Ok(action::action(&args)),
        Command::Show { run, out, json } => show(run.as_deref(), &out, json),
        Command::Localise { path, target, json, common } => {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            runtime.block_on(localise::localise(&path, &target, &common, json))
        }
        Command::Doctor { common } => doctor::doctor(&common),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "regreen", &mut std::io::stdout());
            Ok(Exit::Green)
        }
        Command::Schema { format } => {
            let schema = match format {
                Schema::Ledger => schemars::schema_for!(crate::record::Record),
                Schema::Task => schemars::schema_for!(crate::task::Task),
                Schema::Receipt => schemars::schema_for!(crate::verify::Receipt),
                Schema::Check => schemars::schema_for!(crate::check::Report),
            };
            print(&format!("{}\n", serde_json::to_string_pretty(&schema)?));
            Ok(Exit::Green)
        }
    }
}

/// Writes data to stdout; a reader that went away is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn show(run: Option<&str>, out: &std::path::Path, json: bool) -> Result<Exit> {
    let records = Ledger::read(&settings::run_folder(run, out)?)?;
    if json {
        for record in &records {
            print(&format!("{}\n", serde_json::to_string(record)?));
        }
    } else {
        print(&story::story(&records));
    }
    Ok(Exit::Green)
}

/// A resumed run has the arguments that it began with; what is given anew wins.
fn resumed(mut args: FixArgs, arguments: &[OsString]) -> Result<FixArgs> {
    let here = std::env::current_dir().context("failed to find the current folder")?;
    let given = arguments.iter().skip(2).map(|word| word.to_string_lossy().into_owned());
    args.given = given.collect();
    args.here.clone_from(&here);
    let Some(id) = args.resume.clone() else { return Ok(args) };
    let run = settings::run_folder(Some(&id), &here.join(&args.out))?;
    let records = Ledger::read(&run)?;
    let Some(Event::Started { arguments: before, folder, .. }) = records.first().map(|record| &record.event)
    else {
        return Ok(args);
    };
    let words =
        ["regreen", "fix"].map(str::to_owned).into_iter().chain(before.clone()).chain(args.given.clone());
    let Ok(Cli { command: Command::Fix(whole) }) = Cli::try_parse_from(words) else { return Ok(args) };
    let mut whole = *whole;
    if !args.model.is_empty() {
        whole.model = args.model;
    }
    whole.given.clone_from(before);
    whole.here = PathBuf::from(folder);
    whole.resume = Some(run.to_string_lossy().into_owned());
    Ok(whole)
}

fn fix(args: FixArgs) -> Result<Exit> {
    let watch = Watch::new(args.json);
    let settings = Settings::resolve(args)?;
    let stopped = || {
        let id = &settings.run;
        watch.line(&format!("Stopped. Nothing is lost: `regreen fix --resume {id}` goes on."));
    };
    supervised(stopped, fix_with(&settings, &watch))
}

/// Does the work until it is done or somebody stops it.
fn supervised(stopped: impl Fn(), work: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    // A second thread looks out for signals, also while this one takes a large repository.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stop = tokio::sync::Notify::new();
    let stop = std::sync::Arc::new(stop);
    runtime.spawn(stop_on_signal(stop.clone()));
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = work => exit,
            () = stop.notified() => {
                stopped();
                Ok(Exit::Interrupted)
            }
        }
    });
    // A blocking task that still runs must not hold up the end.
    runtime.shutdown_background();
    exit
}

/// How long a stopped run may tidy up.
const GRACE: std::time::Duration = std::time::Duration::from_millis(1500);

/// Stops the run when the user or the system asks for it; boxes end with regreen, whatever holds it up.
async fn stop_on_signal(stop: std::sync::Arc<tokio::sync::Notify>) {
    signalled().await;
    stop.notify_one();
    tokio::time::sleep(GRACE).await;
    std::process::exit(Exit::Interrupted as i32);
}

/// Waits until the user or the system asks for an end.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

async fn fix_with(settings: &Settings, watch: &Watch) -> Result<Exit> {
    let ledger = settings.ledger()?;
    let ended = ledger.records.last().and_then(|record| match &record.event {
        // With more budget it can go on.
        Event::Ended { outcome, .. } if !matches!(outcome, Outcome::OutOfBudget { .. }) => {
            Some(outcome.clone())
        }
        _ => None,
    });
    if let Some(outcome) = ended {
        watch.line("This run has ended before; nothing is repeated.");
        return finish(settings, watch, &outcome, &ledger.records);
    }
    deliver::check(settings)?;
    let (record, say) = (|record: &_| watch.record(record), |text: &str| watch.say(text));
    let mut run: Run = settings.run(ledger, &record, &say)?;
    if run.verifier.sandbox.level == Level::None {
        watch.line("Warning: no sandbox. Code of the repository and of proposers runs with your rights.");
    }
    let outcome = fix::fix(&mut run).await?;
    finish(settings, watch, &outcome, &run.ledger.records)
}

/// Delivers the patch and says how the run ended.
fn finish(
    settings: &Settings,
    watch: &Watch,
    outcome: &Outcome,
    records: &[crate::record::Record],
) -> Result<Exit> {
    watch.line(&story::ending(records));
    if let Outcome::Green { patch, diff, base, .. } = outcome {
        let tree = records.iter().find_map(|record| match &record.event {
            Event::Based { tree, .. } => Some(tree.as_str()),
            _ => None,
        });
        let done = deliver::deliver(settings, patch, diff, base, tree.unwrap_or_default());
        for line in done.context("failed to deliver the verified patch")? {
            watch.line(&line);
        }
    }
    Ok(match outcome {
        Outcome::Green { .. } | Outcome::AlreadyGreen { .. } => Exit::Green,
        Outcome::Unsolved { .. } => Exit::Unsolved,
        Outcome::OutOfBudget { .. } => Exit::Budget,
        Outcome::NotFixable { .. } => Exit::NotFixable,
    })
}
