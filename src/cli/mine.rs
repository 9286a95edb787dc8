//! `regreen mine`: a task set out of a repository's own history. stdout names the set; what becomes of each commit is
//! told on stderr.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::bench::{HowArgs, crew, door};
use super::watch::Watch;
use super::{Exit, ProposerArgs, Usage, settings, supervised};
use crate::bench::{self, Asked, Mined};

pub const EXAMPLES: &str = "\
Examples:
  regreen mine ../shop                             into .regreen/mined/shop
  regreen mine ../shop --out shop-tasks --limit 20 --since 2024-01-01
  regreen bench shop-tasks --model repair --model gold

A commit becomes a task if it changes source and tests together, its parent with its tests is red, the commit is green
--times times, and nothing gives the answer away. The others stand with their reasons in OUT.mined.jsonl. A run that
was stopped goes on when it is started again.

Exit status: 0 the set has tasks, 1 no commit is one.";

/// The arguments of `regreen mine`.
#[derive(Debug, Args)]
pub struct MineArgs {
    /// A git repository on this machine, a bare one too; its history is only read
    repository: PathBuf,
    /// The set's folder [default: .regreen/mined and the repository's name]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Tasks to make at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Only commits made since this day or moment, as in 2024-01-31 or 2024-01-31T12:00:00Z
    #[arg(long, value_name = "DAY", value_parser = moment)]
    since: Option<i64>,
    /// Only commits made before it
    #[arg(long, value_name = "DAY", value_parser = moment)]
    until: Option<i64>,
    /// Commits to try at a time [default: one a core]
    #[arg(short = 'j', long = "jobs", value_name = "N")]
    workers: Option<usize>,
    /// Time that one commit may take, as in 90s, 10m
    #[arg(long, value_parser = settings::duration, default_value = "15m", value_name = "TIME")]
    time: u64,
    /// How often the right answer must be green
    #[arg(long, value_name = "N", default_value_t = 5)]
    times: u32,
    #[command(flatten)]
    pub(super) how: HowArgs,
}

/// A day, from its beginning in UTC, or a moment: seconds since 1970.
fn moment(text: &str) -> Result<i64, String> {
    let day = format!("{text}T00:00:00Z");
    let moment = text.parse::<jiff::Timestamp>().or_else(|_| day.parse());
    moment.map(jiff::Timestamp::as_second).map_err(|_| "write it as 2024-01-31".to_owned())
}

/// Mines the repository.
pub fn mine(args: MineArgs) -> Result<Exit> {
    ensure!(args.limit > 0 && args.times > 0, Usage("--limit 0 and --times 0 make nothing".to_owned()));
    let stopped = || Watch::new(false).line("regreen: stopped; the same command goes on");
    supervised(stopped, async move { tokio::task::spawn_blocking(move || mined(&args)).await? })
}

fn mined(args: &MineArgs) -> Result<Exit> {
    let watch = Watch::new(false);
    let repository = args
        .repository
        .canonicalize()
        .with_context(|| format!("failed to open {}", args.repository.display()))
        .map_err(settings::usage)?;
    bench::can_mine(&repository).map_err(settings::usage)?;
    let out = match &args.out {
        Some(out) => std::path::absolute(out)?,
        None => std::path::absolute(Path::new(".regreen/mined").join(bench::name_of(&repository)))?,
    };
    settings::hide(&out)?;
    let workers = crew(args.workers)?;
    let door = door(&ProposerArgs::default(), &args.how, None, None, workers)?;
    let asked = Asked {
        repository,
        out,
        limit: args.limit,
        since: args.since,
        until: args.until,
        workers,
        time: Duration::from_secs(args.time),
        times: args.times,
    };
    let tally = bench::mine(&asked, &door, &|mined| watch.line(&line(mined)))?;
    watch.line(&format!(
        "regreen: {} tasks; {} of {} commits that change source and tests together were tried; the journal is {}",
        tally.tasks,
        tally.tried,
        tally.commits,
        bench::journal_of(&asked.out).display()
    ));
    super::print(&format!("{}\n", asked.out.display()));
    Ok(if tally.tasks > 0 { Exit::Green } else { Exit::Unsolved })
}

fn line(mined: &Mined) -> String {
    let commit = mined.commit.get(..10).unwrap_or(&mined.commit);
    match (&mined.task, &mined.reason) {
        (Some(_), _) => format!("task     {commit} {}", mined.subject),
        (None, Some(reason)) if mined.environment => format!("no word  {commit} {}: {reason}", mined.subject),
        (None, reason) => {
            format!("no task  {commit} {}: {}", mined.subject, reason.as_deref().unwrap_or("?"))
        }
    }
}
