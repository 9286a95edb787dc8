//! `regreen report`: what benches found, as a table for people on stdout, or in a format for programs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::{Exit, settings::usage};
use crate::report::{self, Report};

pub const EXAMPLES: &str = "\
Examples:
  regreen report .regreen/bench/20260102-…          one run
  regreen report before after                       two runs, compared task by task
  regreen report RUN --json | jq .contestants
  regreen report RUN --markdown - --times
  regreen report RUN --html page.html

A unit is one task, one model, one sample. Without --times a report holds nothing that differs between two runs of the
same plan for no reason of the plan's.";

/// The arguments of `regreen report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folders of benches
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write it in Markdown, or to stdout with -
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write one line a unit as CSV, or to stdout with -
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a test case a unit as `JUnit` XML, or to stdout with -
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write one self-contained page as HTML, times and stories included
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Tell wall times too
    #[arg(long)]
    times: bool,
}

/// Computes the report and writes it in every form that was asked for.
pub fn report(args: &ReportArgs) -> Result<Exit> {
    let folders: Vec<&Path> = args.runs.iter().map(PathBuf::as_path).collect();
    let report = report::read(&folders, args.times).map_err(usage)?;
    let mut written = false;
    if args.json {
        super::print(&format!("{}\n", serde_json::to_string_pretty(&report)?));
        written = true;
    }
    let forms: [(&Option<PathBuf>, Form); 3] = [
        (&args.markdown, |report| Ok(report::markdown(report))),
        (&args.csv, report::csv),
        (&args.junit, report::junit),
    ];
    for (file, form) in forms {
        if let Some(file) = file {
            write(file, &form(&report)?)?;
            written = true;
        }
    }
    if let Some(file) = &args.html {
        write(file, &report::page(&report::read(&folders, true)?, &folders)?)?;
        written = true;
    }
    if !written {
        super::print(&report::table(&report));
    }
    Ok(Exit::Green)
}

/// A report as text.
type Form = fn(&Report) -> Result<String>;

fn write(file: &Path, text: &str) -> Result<()> {
    if file == Path::new("-") {
        super::print(text);
        return Ok(());
    }
    std::fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
}
