//! `regreen verify`: judges a patch that anybody made, with the very code that `fix` uses to say green, and leaves
//! a receipt. stdout is the receipt if asked for; what it means is told on stderr.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::settings::{self, usage};
use super::watch::Watch;
use super::{Common, Exit, Hidden, TaskArgs, Usage, reports};
use crate::patch::Patch;
use crate::repair::grammar::Grammars;
use crate::story;
use crate::strength::{self, Bounds};
use crate::task::Task;
use crate::verdict::{Baseline, Level, Verdict};
use crate::verify::{self, Judgement, Receipt, Trouble, Verifier, given};

/// The arguments of `regreen verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    on: TaskArgs,

    /// The patch, a unified diff in git's format; - for stdin
    #[arg(long, value_name = "FILE", help_heading = "What is judged", group = "what")]
    patch: Option<String>,
    /// A branch of the repository: its changes since it left --rev or HEAD
    #[arg(long, value_name = "NAME", help_heading = "What is judged", group = "what")]
    branch: Option<String>,
    /// A commit of the repository: its changes against its parent
    #[arg(long, value_name = "REV", help_heading = "What is judged", group = "what")]
    commit: Option<String>,
    /// A receipt: its patch is judged again, and the receipt compared
    #[arg(long, value_name = "FILE", help_heading = "What is judged", group = "what")]
    receipt: Option<PathBuf>,

    #[command(flatten)]
    hidden: Hidden,
    /// The level that a pass must reach, L1 to L5 [default: whatever the suite allows]
    #[arg(long, value_enum, value_name = "LEVEL", help_heading = "How strictly", ignore_case = true)]
    level: Option<Level>,

    /// Small wrong changes of the changed lines that the tests are tried with after a pass; 0 for none
    #[arg(long, value_name = "N", default_value_t = strength::MUTANTS, help_heading = "How strictly")]
    mutants: usize,

    /// Print the receipt as JSON
    #[arg(long, help_heading = "Result")]
    json: bool,
    /// Write the layers as `JUnit` XML
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    junit: Option<PathBuf>,
    /// Write the findings as SARIF
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    sarif: Option<PathBuf>,
    /// Write a receipt that anybody can check again
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    write_receipt: Option<PathBuf>,

    #[command(flatten)]
    pub(super) common: Common,
}

/// Judges the patch, and says so in every form that was asked for.
pub async fn verify(args: &VerifyArgs, watch: &Watch) -> Result<Exit> {
    let here = std::env::current_dir().context("failed to find the current folder")?;
    let earlier = args.receipt.as_deref().map(|file| read_receipt(&here.join(file))).transpose()?;
    let say = |text: &str| watch.say(text);
    let mut verifier = opened(args, &here, earlier.as_ref(), &say)?;
    let patch = match &earlier {
        Some(receipt) => receipt.patch.clone(),
        None => read_patch(args, &here, &verifier)?,
    };
    let receipt = judged(&mut verifier, &patch, args, &say).await?;
    if args.json {
        super::print(&format!("{}\n", serde_json::to_string_pretty(&receipt)?));
    }
    let written = [
        (&args.write_receipt, serde_json::to_string_pretty(&receipt)? + "\n"),
        (&args.junit, reports::junit(&receipt)?),
        (&args.sarif, serde_json::to_string_pretty(&reports::sarif(&receipt))? + "\n"),
    ];
    for (file, text) in written {
        if let Some(file) = file {
            std::fs::write(here.join(file), text)
                .with_context(|| format!("failed to write {}", file.display()))?;
        }
    }
    watch.line(&story::judgement(&receipt));
    if let Some(earlier) = &earlier {
        let differences = earlier.differences(&receipt);
        if !differences.is_empty() {
            watch.line(&format!("The receipt does not hold: {}.", differences.join("; ")));
            return Ok(Exit::Inconclusive);
        }
        watch.line("The receipt holds.");
    }
    Ok(exit(&receipt.verdict, args.level))
}

/// Judges the patch of `--patch`; relative paths are relative to `here`.
pub async fn receipt(args: &VerifyArgs, here: &Path, say: verify::Say<'_>) -> Result<Receipt> {
    let mut verifier = opened(args, here, None, say)?;
    let patch = read_patch(args, here, &verifier)?;
    judged(&mut verifier, &patch, args, say).await
}

/// What a verdict means to a shell.
fn exit(verdict: &Verdict, asked: Option<Level>) -> Exit {
    match verdict {
        Verdict::Green(evidence) if asked.is_some_and(|asked| evidence.level < asked) => Exit::BelowLevel,
        Verdict::Green(_) => Exit::Green,
        Verdict::Red(_) => Exit::Unsolved,
        Verdict::Rejected { .. } => Exit::Suspect,
        Verdict::Inconclusive { .. } => Exit::Inconclusive,
    }
}

/// Takes the base and finds its suites.
fn opened(
    args: &VerifyArgs,
    here: &Path,
    earlier: Option<&Receipt>,
    say: verify::Say<'_>,
) -> Result<Verifier> {
    let (mut task, beside, plain) = settings::read_task(&args.on, here)?;
    if let Some(earlier) = earlier {
        // Where the source is, and what the oracles ask, is not in a receipt.
        task = Task { source: task.source, oracle: task.oracle, ..earlier.task.clone() };
    }
    task.oracle.extend(args.hidden.oracles(here)?);
    settings::merge(&mut task, &args.on)?;
    let mut verifier = settings::verifier(task, &beside, plain, &args.on, &args.common, say)?;
    let source = beside.join(&verifier.task.source.path);
    args.hidden.check(here, &source, plain, &verifier.workshop.snapshot)?;
    verifier.held_out = args.hidden.held_out(here)?;
    Ok(verifier)
}

fn read_receipt(file: &Path) -> Result<Receipt> {
    let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()));
    Receipt::parse(&text.map_err(usage)?).map_err(usage)
}

/// The patch that the arguments name.
fn read_patch(args: &VerifyArgs, here: &Path, verifier: &Verifier) -> Result<Patch> {
    let diff = match (&args.patch, &args.branch, &args.commit) {
        (Some(file), ..) => read_diff(file, here).map_err(usage)?,
        (_, Some(branch), _) => diff_of(args, here, branch, Some(args.on.rev.as_deref().unwrap_or("HEAD")))?,
        (_, _, Some(commit)) => diff_of(args, here, commit, None)?,
        (None, None, None) => {
            let advice =
                "say what is to be judged: --patch FILE, --branch NAME, --commit REV or --receipt FILE";
            return Err(Usage(advice.to_owned()).into());
        }
    };
    given::from_diff(&diff, &verifier.workshop.snapshot).map_err(usage)
}

fn read_diff(file: &str, here: &Path) -> Result<Vec<u8>> {
    let most = given::LARGEST as u64 + 1;
    let mut bytes = Vec::new();
    if file == "-" {
        std::io::stdin().take(most).read_to_end(&mut bytes)?;
    } else {
        let opened =
            std::fs::File::open(here.join(file)).with_context(|| format!("failed to open {file}"))?;
        opened.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn diff_of(args: &VerifyArgs, here: &Path, rev: &str, onto: Option<&str>) -> Result<Vec<u8>> {
    let repository = git2::Repository::discover(here.join(&args.on.path));
    let repository = repository.context("--branch and --commit need a git repository").map_err(usage)?;
    given::diff_of(&repository, rev, onto).map_err(usage)
}

/// Measures the base and judges a patch against it.
async fn judged(
    verifier: &mut Verifier,
    patch: &Patch,
    args: &VerifyArgs,
    say: verify::Say<'_>,
) -> Result<Receipt> {
    let now = settings::now();
    let composed = verifier.compose(patch)?;
    let baseline = match measured(verifier, say).await? {
        Ok(baseline) => baseline,
        Err(trouble) => {
            let reasons = vec![trouble.detail, trouble.remedy];
            let judgement = Judgement { verdict: Verdict::Inconclusive { reasons }, layers: Vec::new() };
            return Receipt::new(verifier, &Baseline::default(), patch, &composed, &judgement, now);
        }
    };
    let judgement = verifier.examine_delivered(&baseline, &composed, patch, say).await?;
    let mut judgement = with_left_out(judgement, &composed.left_out);
    if let Verdict::Green(evidence) = &mut judgement.verdict {
        let grammars = Grammars::load(args.common.harness.as_deref()).map_err(usage)?;
        let bounds = Bounds::of(args.mutants, &baseline, None);
        strength::of_patch(verifier, &grammars, &baseline, &composed.product, bounds, evidence, say).await?;
    }
    Receipt::new(verifier, &baseline, patch, &composed, &judgement, now)
}

fn with_left_out(mut judgement: Judgement, left_out: &[String]) -> Judgement {
    if let Verdict::Green(evidence) = &mut judgement.verdict {
        left_out.clone_into(&mut evidence.left_out);
    }
    judgement
}

/// Sets the base up, measures it, and lets it name the held-out tests.
pub async fn measured(verifier: &mut Verifier, say: verify::Say<'_>) -> Result<Result<Baseline, Trouble>> {
    if let Some(trouble) = verify::prepare(verifier, say).await? {
        return Ok(Err(trouble));
    }
    let baseline = match verify::measure(verifier, say).await? {
        Ok(baseline) => baseline,
        Err(trouble) => return Ok(Err(trouble)),
    };
    Ok(verify::survey_held_out(verifier, &baseline, say).await?.map_or(Ok(baseline), Err))
}
