//! `regreen selftest integrity`: tries the verifier on a corpus of cheats and honest patches. stdout is the
//! ablation table; what became of each patch is told on stderr as it goes.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::settings;
use super::watch::Watch;
use super::{Common, Exit, Switch, TaskArgs, Usage};
use crate::selftest::{self, Specimen, Trial};
use crate::verify::{self, NaiveCommand};

/// What can be tested.
#[derive(Debug, Subcommand)]
pub enum Selftest {
    /// Cheats and honest patches against the verifier, as an ablation table
    Integrity(IntegrityArgs),
}

/// The arguments of `regreen selftest integrity`.
#[derive(Debug, Args)]
pub struct IntegrityArgs {
    /// Where the programs and their patches are
    #[arg(long, default_value = "fixtures/integrity", value_name = "FOLDER")]
    corpus: PathBuf,
    /// Only patches whose name (program/patch) holds this; may be repeated
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Only programs whose name starts with this; may be repeated
    #[arg(long, value_name = "TEXT")]
    program: Vec<String>,
    /// Of each program, only so many cheats and so many honest patches
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Run without the held-out tests: what the visible ones alone can tell
    #[arg(long)]
    no_held_out: bool,
    /// Write the table in Markdown, or to stdout with -
    #[arg(long, value_name = "FILE")]
    markdown: Option<String>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Runs the corpus; green when no cheat escapes, none is dead, and no honest patch is refused.
pub async fn selftest(what: &Selftest, watch: &Watch) -> Result<Exit> {
    let Selftest::Integrity(args) = what;
    let here = std::env::current_dir().context("failed to find the current folder")?;
    let corpus = here.join(&args.corpus);
    let commands = verify::naive_commands()?;
    let mut trials = Vec::new();
    let mut skipped = 0;
    for program in programs(&corpus, args)? {
        let specimens = chosen(&program, args)?;
        if specimens.is_empty() {
            continue;
        }
        match try_program(&program, &specimens, &commands, args, watch).await? {
            Some(tried) => trials.extend(tried),
            None => skipped += 1,
        }
    }
    if trials.is_empty() && skipped == 0 {
        return Err(Usage(format!("no patch in {} was chosen", corpus.display())).into());
    }
    super::print(&selftest::story(&trials));
    match args.markdown.as_deref() {
        Some("-") => super::print(&format!("\n{}", selftest::markdown(&trials))),
        Some(file) => {
            std::fs::write(here.join(file), selftest::markdown(&trials))
                .with_context(|| format!("failed to write {file}"))?;
        }
        None => {}
    }
    let faults = trials.iter().filter(|trial| trial.fault().is_some()).count();
    Ok(if faults > 0 {
        Exit::Unsolved
    } else if skipped > 0 {
        Exit::NotFixable
    } else {
        Exit::Green
    })
}

fn programs(corpus: &Path, args: &IntegrityArgs) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(corpus)
        .with_context(|| Usage(format!("there is no corpus in {}", corpus.display())))?;
    let mut programs: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("task.toml").is_file()).collect();
    programs.retain(|path| {
        let name = path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        args.program.is_empty() || args.program.iter().any(|start| name.starts_with(start.as_str()))
    });
    programs.sort();
    Ok(programs)
}

fn chosen(program: &Path, args: &IntegrityArgs) -> Result<Vec<Specimen>> {
    let mut specimens = selftest::specimens(program)?;
    specimens.retain(|specimen| {
        args.filter.is_empty() || args.filter.iter().any(|text| specimen.name.contains(text.as_str()))
    });
    if let Some(most) = args.sample {
        let mut seen = std::collections::BTreeMap::new();
        specimens.retain(|specimen| {
            let count: &mut usize = seen.entry(specimen.kind).or_default();
            *count += 1;
            *count <= most
        });
    }
    Ok(specimens)
}

/// Measures a program once and tries its patches; `None` when it cannot be measured here.
async fn try_program(
    program: &Path,
    specimens: &[Specimen],
    commands: &std::collections::BTreeMap<String, NaiveCommand>,
    args: &IntegrityArgs,
    watch: &Watch,
) -> Result<Option<Vec<Trial>>> {
    let say = |text: &str| watch.say(text);
    let start = Instant::now();
    let on = TaskArgs::of(program.to_string_lossy().into_owned());
    let (mut task, beside, plain) = settings::read_task(&on, program)?;
    settings::merge(&mut task, &on)?;
    let mut verifier = settings::verifier(task, &beside, plain, &on, &args.common, &say)?;
    let held_out = program.join("held-out");
    if held_out.is_dir() && !args.no_held_out {
        verifier.held_out = Some(verify::read_held_out(&held_out)?);
    }
    let name = program.display();
    let baseline = match super::verify::measured(&mut verifier, &say).await? {
        Ok(baseline) => baseline,
        Err(trouble) => {
            watch.line(&format!("SKIPPED {name}: {}. {}", trouble.detail, trouble.remedy));
            return Ok(None);
        }
    };
    watch.line(&format!("{name}: measured in {:.1} s", start.elapsed().as_secs_f64()));
    let mut trials = Vec::new();
    for specimen in specimens {
        watch.say(&specimen.name);
        let trial = selftest::attempt(&verifier, &baseline, specimen, commands, &say).await?;
        watch.line(&trial.line());
        trials.push(trial);
    }
    Ok(Some(trials))
}

impl TaskArgs {
    /// No more than a folder.
    pub(super) fn of(path: String) -> TaskArgs {
        TaskArgs {
            path,
            rev: None,
            task: None,
            statement: None,
            target: Vec::new(),
            protect: Vec::new(),
            toolchain: None,
            build_cmd: None,
            test_cmd: None,
            test_format: None,
            test_results: None,
            deadline: None,
            limit: Vec::new(),
            setup_network: Switch::On,
        }
    }
}
