//! `regreen check`: measures a repository before anybody lets a loop run on it. The report goes to stdout.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::settings::{self, usage};
use super::watch::Watch;
use super::{Common, Exit, TaskArgs, Usage, print};
use crate::check::{self, Effort};
use crate::repair::grammar::Grammars;
use crate::text;
use crate::verdict::Level;
use crate::verify::Trouble;

/// The arguments of `regreen check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    on: TaskArgs,

    /// Runs of the tests: a flaky test is found only if it changes its mind in one of them
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "How far")]
    runs: usize,
    /// Small wrong changes of a sample of the product that the tests are tried with; 0 for none
    #[arg(long, value_name = "N", default_value_t = 40, help_heading = "How far")]
    mutants: usize,
    /// Time for them, as in 90s, 10m, 2h
    #[arg(long, value_parser = settings::duration, default_value = "5m", help_heading = "How far")]
    time: u64,
    /// The level that the suite must be able to reach, L1 to L5
    #[arg(long, value_enum, value_name = "LEVEL", help_heading = "Result", ignore_case = true)]
    level: Option<Level>,
    /// Print the report as JSON
    #[arg(long, help_heading = "Result")]
    json: bool,

    #[command(flatten)]
    pub(super) common: Common,
}

/// Measures the repository and prints the report.
pub async fn check(args: &CheckArgs, watch: &Watch) -> Result<Exit> {
    let here = std::env::current_dir().context("failed to find the current folder")?;
    ensure!((1..=100).contains(&args.runs), Usage("--runs takes 1 to 100".to_owned()));
    let say = |text: &str| watch.say(text);
    let (mut task, beside, plain) = settings::read_task(&args.on, &here)?;
    settings::merge(&mut task, &args.on)?;
    let mut verifier = settings::verifier(task, &beside, plain, &args.on, &args.common, &say)?;
    let grammars = Grammars::load(args.common.harness.as_deref()).map_err(usage)?;
    let effort = Effort { runs: args.runs, mutants: args.mutants, time: Duration::from_secs(args.time) };
    let report = match check::check(&mut verifier, &grammars, effort, &say).await? {
        Ok(report) => report,
        Err(Trouble { detail, remedy, .. }) => {
            watch.line(&format!("It cannot be measured: {detail}\nNext: {remedy}."));
            return Ok(Exit::NotFixable);
        }
    };
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&report)?));
    } else {
        watch.clear();
        print(&text::printable(&report.told()));
    }
    let below = args.level.is_some_and(|asked| report.level.is_none_or(|level| level < asked));
    Ok(if below { Exit::BelowLevel } else { Exit::Green })
}
