//! `regreen action`: the steps of the GitHub Action. *solve* finds out whether something is to be done and looks for a
//! patch, *verify* judges its bytes elsewhere, *publish* tells people and writes on GitHub; *all* does the three one
//! after the other. Fixing and judging are those of `regreen fix` and `regreen verify`.

mod console;
mod inputs;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, ValueEnum};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::settings::{self, Settings, usage};
use super::{Cli, Command, Exit, Usage, supervised, verify};
use crate::fix;
use crate::github::client::{Client, segment};
use crate::github::event::{self, Occasion, Pull, Trigger};
use crate::github::publish::{self, Proof, Publication, Published};
use crate::github::words::{self, Tale};
use crate::github::{Ending, Mode, Secrets, Told, escape, triage};
use crate::policy;
use crate::record::{Outcome, Record};
use crate::story;
use crate::verdict::Verdict;
use crate::verify::attest::hexadecimal;
use crate::verify::{Receipt, given};
use crate::workspace;

use console::Console;
use inputs::{Inputs, Settled};

/// The files that steps pass on.
const PATCH: &str = "fix.patch";
const STORY: &str = "story.md";
const EVIDENCE: &str = "evidence.json";
const CONTEXT: &str = "context.json";
const RECEIPT: &str = "receipt.json";

/// The longest of these files that is read again.
const LARGEST: u64 = 256 << 20;
/// The longest payload and context.
const SMALL: u64 = 32 << 20;

/// The arguments of `regreen action`.
#[derive(Debug, Args)]
pub struct ActionArgs {
    /// The step
    #[arg(value_enum, default_value = "all")]
    step: Step,
    #[command(flatten)]
    inputs: Inputs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Find out whether something is to be done, and look for a patch; a token that reads is enough
    Solve,
    /// Judge the patch on a clean machine; needs no token
    Verify,
    /// Tell people and write on GitHub; runs no code of the repository
    Publish,
    /// All three, one after the other
    All,
}

impl ActionArgs {
    /// Takes a mount namespace for cheap workspaces where code is run.
    pub fn enter_namespace(&self) {
        if self.step != Step::Publish && self.inputs.overlays() {
            crate::mounts::enter();
        }
    }
}

/// Runs a step. All that is said is said on stdout.
pub fn action(args: &ActionArgs) -> Exit {
    // Short values are flags and numbers; to hide them would garble every text.
    let mut secrets = Secrets(settings::secrets().into_iter().filter(|value| value.len() >= 8).collect());
    secrets.0.extend(args.inputs.token().map(str::to_owned));
    let console = match Console::begin(args.inputs.in_runner(), &secrets) {
        Ok(console) => console,
        Err(error) => {
            super::complain(&error);
            return Exit::Fault;
        }
    };
    match Job::new(args, &secrets, &console).and_then(|job| job.step(args.step)) {
        Ok(exit) => exit,
        Err(error) => {
            console.command("error", &[("title", "regreen")], &format!("{error:#}"));
            if error.downcast_ref::<Usage>().is_some() { Exit::Usage } else { Exit::Fault }
        }
    }
}

/// One job on its way.
struct Job<'a> {
    with: Settled,
    occasion: Occasion,
    secrets: &'a Secrets,
    console: &'a Console,
}

/// A patch that was judged.
struct Judged {
    receipt: Receipt,
    patch_sha256: String,
    receipt_sha256: String,
}

impl<'a> Job<'a> {
    fn new(args: &ActionArgs, secrets: &'a Secrets, console: &'a Console) -> Result<Job<'a>> {
        let here = std::env::current_dir().context("failed to find the current folder")?;
        let with = args.inputs.settle(&here)?;
        std::fs::create_dir_all(&with.out)
            .with_context(|| format!("failed to make {}", with.out.display()))?;
        let payload = std::fs::read_to_string(&with.payload)
            .with_context(|| format!("failed to read the event's payload {}", with.payload.display()));
        let payload = payload.map_err(usage)?;
        ensure!(payload.len() as u64 <= SMALL, Usage("the event's payload is too large".to_owned()));
        let occasion = Occasion::read(&payload, &with.around).map_err(usage)?;
        Ok(Job { with, occasion, secrets, console })
    }

    fn step(mut self, step: Step) -> Result<Exit> {
        match step {
            Step::Solve => {
                let told = self.solve()?;
                self.hand_over(&told)?;
                let (receipt, published) = (None, Published::default());
                self.summary(&told, receipt, &published)?;
                Ok(self.exit(&told))
            }
            Step::Verify => self.verify_alone(),
            Step::Publish => self.publish_alone(),
            Step::All => self.all(),
        }
    }

    fn exit(&self, told: &Told) -> Exit {
        let fine = told.outcome.passes() || told.outcome == Ending::Skipped;
        if self.with.strict && !fine { Exit::Unsolved } else { Exit::Green }
    }

    // ---- solve -----------------------------------------------------------------------------------------------

    /// Guards, triage, and the loop.
    fn solve(&mut self) -> Result<Told> {
        for name in [PATCH, STORY, EVIDENCE, CONTEXT, RECEIPT] {
            // What an earlier step left must not be taken for this one's.
            let _ = std::fs::remove_file(self.with.out.join(name));
        }
        if let Some(why) = event::refused(&self.occasion, &self.with.rules) {
            return Ok(self.skipped(why));
        }
        let statement = self.with.statement.clone();
        let statement = statement.or(self.block_on(async |job, client| job.look_up(client).await)??);
        if let Some(why) = event::refused(&self.occasion, &self.with.rules) {
            return Ok(self.skipped(why));
        }
        let (head, message) = self.checked_out()?;
        if event::own(&message) {
            return Ok(self.skipped("the commit is one of regreen's own".to_owned()));
        }
        if !self.occasion.fork && self.with.mode > Mode::Report {
            let attempts = self.block_on(async |_, client| publish::attempts(client, &head).await)??;
            if let Some(why) = event::exhausted(attempts) {
                return Ok(self.skipped(why));
            }
        }
        self.fix(&head, statement)
    }

    /// Runs the loop on a commit.
    fn fix(&self, head: &str, statement: Option<String>) -> Result<Told> {
        let (_kept, file) = self.task_file(head, statement)?;
        let mut words = vec!["regreen".to_owned(), "fix".to_owned()];
        words.extend(self.with.common(&file)?);
        words.extend(self.with.fixing(self.occasion.fork)?);
        let Command::Fix(mut args) = Cli::try_parse_from(&words).map_err(|error| as_usage(&error))?.command
        else {
            return Err(Usage("the inputs make no sense".to_owned()).into());
        };
        args.here.clone_from(&self.with.workspace);
        let settings = Settings::resolve(*args)?;
        let mut ended = None;
        let stopped = || self.console.line("Stopped.");
        let exit = supervised(stopped, async {
            let (record, say) = (|record: &Record| self.console.record(record), |_: &str| ());
            let mut run = settings.run(settings.ledger()?, &record, &say)?;
            let outcome = fix::fix(&mut run).await?;
            ended = Some((outcome, run.ledger.records));
            Ok(Exit::Green)
        })?;
        let (outcome, records) = ended.filter(|_| exit == Exit::Green).context("the job was cancelled")?;
        self.told(head, &outcome, &records)
    }

    /// What is told of a run, with the patch if there is one.
    fn told(&self, head: &str, outcome: &Outcome, records: &[Record]) -> Result<Told> {
        let after_failure = matches!(self.occasion.trigger, Trigger::Workflow(_));
        let (mut ending, mut reason) = triage::ending(outcome, after_failure);
        let attempts = policy::attempts(records);
        let by = attempts.iter().rev().find(|attempt| matches!(attempt.verdict, Some(Verdict::Green(_))));
        let baseline = triage::baseline(records);
        let branch = self.with.base_branch.as_deref().or(self.occasion.branch.as_deref()).unwrap_or_default();
        if let Outcome::Green { patch, diff, evidence, .. } = outcome {
            if let Some(why) = self.with.paths.refuse(patch) {
                (ending, reason) =
                    (Ending::NotSolved, format!("the patch that was found is of no use: {why}"));
            } else {
                self.write(PATCH, diff)?;
                self.write(EVIDENCE, &serde_json::to_string_pretty(evidence)?)?;
            }
        }
        let spent = policy::spent(&attempts);
        let told = Told {
            signature: baseline.map(|baseline| triage::signature(branch, baseline)).unwrap_or_default(),
            outcome: ending,
            reason,
            model: by.map(|attempt| attempt.model.clone()).unwrap_or_default(),
            attempts: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
            cost_usd: spent.usd,
            issue: if self.with.statement.is_none() { self.with.issue.or(self.occasion.issue) } else { None },
            failing: baseline.map(triage::failing).unwrap_or_default(),
            story: story::story(records),
            ..self.untold(head)
        };
        self.console.line(&story::ending(records));
        Ok(told)
    }

    fn untold(&self, head: &str) -> Told {
        Told {
            repository: self.with.around.repository.clone(),
            head_sha: head.to_owned(),
            base_branch: self.occasion.branch.clone().unwrap_or_default(),
            event: self.occasion.event.clone(),
            run_url: self.with.run_url.clone(),
            ..Told::default()
        }
    }

    fn skipped(&self, why: String) -> Told {
        let head = self.occasion.head.clone().unwrap_or_default();
        self.console.line(&format!("Nothing is done: {why}."));
        Told { reason: why, guarded: true, ..self.untold(&head) }
    }

    /// Asks GitHub what the event does not say; returns what is wrong in an issue's words.
    async fn look_up(&mut self, client: &Client) -> Result<Option<String>> {
        let unknown = self.occasion.head.is_none() || matches!(self.occasion.trigger, Trigger::Workflow(_));
        if let (Some(number), true, false) = (self.occasion.pull, unknown, self.occasion.fork) {
            let pull: Pull = client.get(&format!("/pulls/{number}")).await?;
            let (head, branch) = (self.occasion.head.take(), self.occasion.branch.take());
            self.occasion.about(&pull, &client.repository);
            // A workflow was about a commit that may be the last one no more.
            self.occasion.head = head.or(self.occasion.head.take());
            self.occasion.branch = branch.or(self.occasion.branch.take());
        }
        let human = matches!(self.occasion.trigger, Trigger::Label(_) | Trigger::Comment { .. });
        if human && !self.with.rules.actors.contains(&self.occasion.actor) {
            let path = format!("/collaborators/{}/permission", segment(&self.occasion.actor));
            let may: event::Permission = client.find(&path).await?.unwrap_or_default();
            if !["admin", "maintain", "write"].contains(&may.permission.as_str()) {
                self.occasion.barred = Some(format!("{} may not write here", self.occasion.actor));
            }
        }
        match self.with.issue {
            // As it was when it was looked at.
            Some(number) if self.occasion.issue == Some(number) => Ok(self.occasion.statement.clone()),
            Some(number) => {
                let issue: event::Issue = client.get(&format!("/issues/{number}")).await?;
                self.occasion.labels.extend(issue.labels.iter().map(|label| label.name.clone()));
                Ok(Some(issue.statement()))
            }
            None => Ok(self.occasion.statement.clone()),
        }
    }

    /// The commit that is checked out, and its message. Fails when it is not the one in question.
    fn checked_out(&self) -> Result<(String, String)> {
        let place = &self.with.workspace;
        let repository = git2::Repository::open(place)
            .with_context(|| {
                format!("{} is no checkout: a step with actions/checkout has to come first", place.display())
            })
            .map_err(usage)?;
        let commit =
            repository.head().and_then(|head| head.peel_to_commit()).context("the checkout has no commit");
        let commit = commit.map_err(usage)?;
        let id = commit.id().to_string();
        if let Some(head) = self.occasion.head.as_deref().filter(|head| *head != id) {
            let advice =
                "give actions/checkout `ref:` with the head of the event, as the documentation shows";
            return Err(
                Usage(format!("the checkout is at {id}, and the event is about {head}: {advice}")).into()
            );
        }
        Ok((id, String::from_utf8_lossy(commit.message_bytes()).into_owned()))
    }

    /// A file with the task, outside of the checkout.
    fn task_file(&self, head: &str, statement: Option<String>) -> Result<(tempfile::TempDir, PathBuf)> {
        let folder = tempfile::tempdir().context("failed to make a folder")?;
        let file = folder.path().join("task.toml");
        std::fs::write(&file, toml::to_string(&self.with.task(head, statement)?)?)?;
        Ok((folder, file))
    }

    // ---- verify ----------------------------------------------------------------------------------------------

    fn verify_alone(&self) -> Result<Exit> {
        if !self.with.out.join(PATCH).exists() {
            self.outputs(&[("outcome", "skipped"), ("reason", "there is no patch to be judged")])?;
            self.console.line("There is no patch to be judged.");
            return Ok(Exit::Green);
        }
        let (head, _) = self.checked_out()?;
        let judged = self.judge(&head)?;
        let (ending, reason) = self.weighed(&judged.receipt);
        let told = Told { outcome: ending, reason: reason.clone(), ..self.untold(&head) };
        // Without the hashes nothing can be published.
        let refused = self.with.paths.refuse(&judged.receipt.patch);
        if ending.passes() && self.reaches(&judged.receipt) && refused.is_none() {
            self.output_judged(&judged)?;
        }
        let reason = refused.map_or(reason.clone(), |why| format!("{reason}; but {why}"));
        let told = Told { reason, ..told };
        self.outputs(&[
            ("outcome", ending.name()),
            ("reason", &told.reason),
            ("evidence", &evidence(&judged.receipt)),
        ])?;
        self.summary(&told, Some(&judged), &Published::default())?;
        Ok(self.exit(&told))
    }

    /// Judges the bytes of the patch.
    fn judge(&self, head: &str) -> Result<Judged> {
        let bytes = self.read(PATCH, given::LARGEST as u64 + 1)?;
        let patch = self.with.out.join(PATCH);
        let (_kept, file) = self.task_file(head, None)?;
        let mut words = vec!["regreen".to_owned(), "verify".to_owned()];
        words.extend(self.with.common(&file)?);
        words.push(format!("--patch={}", patch.display()));
        let Command::Verify(args) = Cli::try_parse_from(&words).map_err(|error| as_usage(&error))?.command
        else {
            return Err(Usage("the inputs make no sense".to_owned()).into());
        };
        let mut found = None;
        let exit = supervised(|| self.console.line("Stopped."), async {
            found = Some(verify::receipt(&args, &self.with.workspace, &|_| ()).await?);
            Ok(Exit::Green)
        })?;
        let receipt = found.filter(|_| exit == Exit::Green).context("the job was cancelled")?;
        self.console.line(&story::judgement(&receipt));
        let text = serde_json::to_string_pretty(&receipt)? + "\n";
        self.write(RECEIPT, &text)?;
        Ok(Judged {
            receipt,
            patch_sha256: sha256(&bytes),
            receipt_sha256: sha256(self.secrets.hide(&text).as_bytes()),
        })
    }

    /// What a receipt means here.
    fn weighed(&self, receipt: &Receipt) -> (Ending, String) {
        let ending = triage::of_verdict(&receipt.verdict);
        let mut reason = receipt.word.clone();
        if !ending.passes() {
            reason = format!("{reason}: {}", crate::text::list(&receipt.verdict.reasons(), 3));
        } else if !self.reaches(receipt) {
            reason = format!("{reason}, which is below the level that was asked for: it is not published");
        }
        (ending, reason)
    }

    fn reaches(&self, receipt: &Receipt) -> bool {
        self.with.level.is_none_or(|asked| receipt.verdict.level().is_some_and(|level| level >= asked))
    }

    fn output_judged(&self, judged: &Judged) -> Result<()> {
        let level = judged.receipt.verdict.level().map(|level| level.to_string()).unwrap_or_default();
        let receipt = self.with.out.join(RECEIPT);
        self.outputs(&[
            ("level", &level),
            ("receipt-path", &receipt.to_string_lossy()),
            ("patch-sha256", &judged.patch_sha256),
            ("receipt-sha256", &judged.receipt_sha256),
        ])
    }

    // ---- publish ---------------------------------------------------------------------------------------------

    fn publish_alone(&mut self) -> Result<Exit> {
        let mut told = self.handed_over()?;
        if let Some(why) = event::refused(&self.occasion, &self.with.rules) {
            let told = self.skipped(why);
            self.output_told(&told)?;
            return Ok(Exit::Green);
        }
        self.block_on(async |job, client| job.look_up(client).await)??;
        if let Some(why) = event::refused(&self.occasion, &self.with.rules) {
            let told = self.skipped(why);
            self.output_told(&told)?;
            return Ok(Exit::Green);
        }
        let judged = match &self.with.hashes {
            Some(_) if told.outcome.passes() => Some(self.trusted()?),
            _ => None,
        };
        if let Some(judged) = &judged {
            (told.outcome, told.reason) = self.weighed(&judged.receipt);
        } else if told.outcome.passes() {
            (told.outcome, told.reason) = self.unverified();
        }
        let head = self.occasion.head.clone().unwrap_or_default();
        let told = self.merged(told, &head);
        self.publish(&told, judged.as_ref())?;
        Ok(self.exit(&told))
    }

    /// What is said where the verifying job gave out no hashes: nothing is published, whatever a receipt says.
    fn unverified(&self) -> (Ending, String) {
        let receipt = self.read(RECEIPT, LARGEST).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let told = receipt.and_then(|text| Receipt::parse(&text).ok()).map(|receipt| self.weighed(&receipt));
        match told {
            Some((ending, reason)) if !ending.passes() => (ending, reason),
            Some((_, reason)) => (
                Ending::Inconclusive,
                format!(
                    "{reason}; the verifying job gave out no patch-sha256 and receipt-sha256, so that it is not published"
                ),
            ),
            None => (
                Ending::Inconclusive,
                "there is a patch, which was not verified: it is not published".to_owned(),
            ),
        }
    }

    /// What the solving step told, with what this step knows itself.
    fn merged(&self, told: Told, head: &str) -> Told {
        let own = self.untold(head);
        Told {
            repository: own.repository,
            head_sha: own.head_sha,
            base_branch: own.base_branch,
            event: own.event,
            run_url: own.run_url,
            ..told
        }
    }

    /// The patch and its receipt, if they are those that the verifying job gave out.
    fn trusted(&self) -> Result<Judged> {
        let (patch, receipt) = self.with.hashes.as_ref().with_context(|| {
            Usage(
                "there is a patch: publish needs patch-sha256 and receipt-sha256 from the verifying job"
                    .to_owned(),
            )
        })?;
        let found = [(PATCH, patch, given::LARGEST as u64), (RECEIPT, receipt, LARGEST)];
        let mut texts = Vec::new();
        for (name, expected, most) in found {
            let bytes = self.read(name, most)?;
            let hash = sha256(&bytes);
            ensure!(
                hash == *expected,
                "{name} is not what was verified: its SHA-256 is {hash}, and must be {expected}"
            );
            texts.push(String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))?);
        }
        let receipt_text = texts.pop().unwrap_or_default();
        Ok(Judged {
            receipt: Receipt::parse(&receipt_text)?,
            patch_sha256: patch.clone(),
            receipt_sha256: receipt.clone(),
        })
    }

    /// Writes on GitHub what the mode allows, and says what was written.
    fn publish(&mut self, told: &Told, judged: Option<&Judged>) -> Result<()> {
        let told = &self.masked(told)?;
        let proof = match judged.filter(|judged| told.outcome.passes() && self.reaches(&judged.receipt)) {
            Some(judged) => {
                let diff = String::from_utf8_lossy(&self.read(PATCH, LARGEST)?).into_owned();
                Some(Proof { receipt: judged.receipt.clone(), diff })
            }
            None => None,
        };
        let published = if self.silent() {
            Published::default()
        } else {
            self.block_on(async |job, client| {
                // Labels may have been set since.
                if let Some(number) = job.occasion.pull
                    && let Some(pull) = client.find::<Pull>(&format!("/pulls/{number}")).await?
                {
                    job.occasion.labels.extend(pull.labels.into_iter().map(|label| label.name));
                }
                if let Some(why) = event::refused(&job.occasion, &job.with.rules) {
                    job.console.line(&format!("Nothing is published: {why}."));
                    return Ok(Published::default());
                }
                let of = Publication {
                    occasion: &job.occasion,
                    told,
                    proof: proof.as_ref(),
                    mode: job.with.mode,
                    prefix: &job.with.rules.prefix,
                    base_branch: job.with.base_branch.as_deref(),
                    comment_on: job.with.issue,
                    paths: &job.with.paths,
                    opt_out: &job.with.rules.opt_out,
                    job: &job.with.job,
                    secrets: job.secrets,
                };
                publish::publish(client, &of).await
            })??
        };
        let pull = published.pull.clone().unwrap_or_default();
        let number = if pull.0 == 0 { String::new() } else { pull.0.to_string() };
        self.outputs(&[
            ("pull-request-number", &number),
            ("pull-request-url", &pull.1),
            ("comment-url", published.comment.as_deref().unwrap_or_default()),
        ])?;
        self.output_told(told)?;
        for line in published
            .notes
            .iter()
            .cloned()
            .chain(published.pull.iter().map(|(_, url)| format!("Pull request: {url}")))
        {
            self.console.line(&line);
        }
        self.summary(told, judged, &published)
    }

    /// What is told, without secrets.
    fn masked(&self, told: &Told) -> Result<Told> {
        let text = self.secrets.hide(&serde_json::to_string(told)?);
        Ok(Told { story: self.secrets.hide(&told.story), ..serde_json::from_str(&text)? })
    }

    /// Whether nothing is written on GitHub.
    fn silent(&self) -> bool {
        self.with.mode == Mode::Report || self.occasion.fork
    }

    // ---- all -------------------------------------------------------------------------------------------------

    fn all(&mut self) -> Result<Exit> {
        let mut told = self.solve()?;
        self.hand_over(&told)?;
        if told.guarded {
            self.summary(&told, None, &Published::default())?;
            return Ok(self.exit(&told));
        }
        let judged = if told.outcome.passes() { Some(self.judge(&told.head_sha)?) } else { None };
        if let Some(judged) = &judged {
            (told.outcome, told.reason) = self.weighed(&judged.receipt);
            self.output_judged(judged)?;
            self.outputs(&[("evidence", &evidence(&judged.receipt))])?;
        }
        // The commit in question is the one that was checked out.
        self.occasion.head = Some(told.head_sha.clone());
        self.publish(&told, judged.as_ref())?;
        Ok(self.exit(&told))
    }

    // ---- what passes between steps ---------------------------------------------------------------------------

    fn hand_over(&self, told: &Told) -> Result<()> {
        self.write(CONTEXT, &serde_json::to_string_pretty(told)?)?;
        self.write(STORY, &format!("{}\n", escape::fenced(&told.story, "text")))?;
        let patch = self.with.out.join(PATCH);
        let patch = if patch.exists() { patch.to_string_lossy().into_owned() } else { String::new() };
        self.outputs(&[("patch-path", &patch)])?;
        if !self.with.out.join(EVIDENCE).exists() {
            self.write(EVIDENCE, "{}")?;
        }
        let found = self.read(EVIDENCE, SMALL)?;
        let found: serde_json::Value = serde_json::from_slice(&found).unwrap_or_default();
        self.outputs(&[("evidence", &found.to_string())])?;
        if self.silent() {
            self.annotate(told);
        }
        self.output_told(told)
    }

    fn handed_over(&self) -> Result<Told> {
        let text = self.read(CONTEXT, SMALL)?;
        let told: Told = serde_json::from_slice(&text).context("context.json does not parse")?;
        let story = self.read(STORY, SMALL).unwrap_or_default();
        let story = String::from_utf8_lossy(&story).into_owned();
        let story = story.trim().trim_matches('`').trim_start_matches("text\n").trim_end().to_owned();
        Ok(Told { story, ..told })
    }

    /// Annotations where tests fail, for a job that may write nothing else. The runner shows ten.
    fn annotate(&self, told: &Told) {
        for one in told.failing.iter().filter(|one| !one.file.is_empty()).take(10) {
            let line = one.line.max(1).to_string();
            let title = crate::text::one_line(&one.test);
            let properties =
                [("file", one.file.as_str()), ("line", line.as_str()), ("title", title.as_str())];
            self.console.command("error", &properties, &crate::text::printable(&one.message));
        }
    }

    fn output_told(&self, told: &Told) -> Result<()> {
        self.outputs(&[
            ("outcome", told.outcome.name()),
            ("reason", &told.reason),
            ("signature", &told.signature),
            ("attempts", &told.attempts.to_string()),
            ("cost-usd", &format!("{:.4}", told.cost_usd)),
            ("output-folder", &self.with.out.to_string_lossy()),
        ])
    }

    fn outputs(&self, outputs: &[(&str, &str)]) -> Result<()> {
        let mut text = String::new();
        for (name, value) in outputs {
            let delimiter = format!("regreen_{}", console::random()?);
            text.push_str(&escape::output(name, &self.secrets.hide(value), &delimiter)?);
        }
        match &self.with.output {
            Some(file) => append(file, &text),
            None => Ok(()),
        }
    }

    fn summary(&self, told: &Told, judged: Option<&Judged>, published: &Published) -> Result<()> {
        let Some(file) = &self.with.summary else { return Ok(()) };
        let diff =
            if told.outcome.passes() { self.read(PATCH, SMALL).unwrap_or_default() } else { Vec::new() };
        let tale = Tale {
            told,
            receipt: judged.map(|judged| &judged.receipt),
            diff: &String::from_utf8_lossy(&diff),
            pull: published.pull.as_ref().map(|(number, _)| *number),
            committed: published.committed.as_deref(),
            notes: &published.notes,
            opt_out: if self.silent() { "" } else { &self.with.rules.opt_out },
            secrets: self.secrets,
        };
        append(file, &format!("{}\n", words::summary(&tale)?))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let place = self.with.out.join(name);
        // A new file in place of whatever stands there: a link is replaced, not followed.
        let mut new = tempfile::NamedTempFile::new_in(&self.with.out)?;
        new.write_all(self.secrets.hide(text).as_bytes())?;
        new.persist(&place).with_context(|| format!("failed to write {}", place.display()))?;
        Ok(())
    }

    fn read(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        let bytes = workspace::read_beneath(&self.with.out, name, most + 1);
        let bytes = bytes.with_context(|| format!("failed to read {name} in the output folder"))?;
        ensure!(bytes.len() as u64 <= most, "{name} in the output folder is too large");
        Ok(bytes)
    }

    /// Talks with GitHub; once the job is cancelled nothing further is begun.
    fn block_on<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Job<'a>, &Client) -> Result<T>,
    ) -> Result<Result<T>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (cancel, cancelled) = watch::channel(false);
        runtime.spawn(async move {
            super::signalled().await;
            let _ = cancel.send(true);
        });
        let done = runtime.block_on(async {
            let with = &self.with;
            let client = Client::new(
                &with.api,
                with.token.as_deref(),
                &with.around.repository,
                with.patience,
                cancelled,
            )?;
            Ok(work(self, &client).await)
        });
        runtime.shutdown_background();
        done
    }
}

/// What a receipt proves, on one line.
fn evidence(receipt: &Receipt) -> String {
    let Verdict::Green(evidence) = &receipt.verdict else {
        return json!({"verdict": receipt.word}).to_string();
    };
    let leak = evidence.strength.iter().find_map(|strength| strength.leak).map(|leak| leak.mistake);
    json!({"verdict": receipt.word, "fixed": evidence.fixed, "guards_kept": evidence.guards_kept, "runs": evidence.runs,
        "sandbox": evidence.sandbox, "leak": leak, "caveats": evidence.caveats})
    .to_string()
}

fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn append(file: &Path, text: &str) -> Result<()> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(file);
    let mut opened = opened.with_context(|| format!("failed to open {}", file.display()))?;
    opened.write_all(text.as_bytes()).with_context(|| format!("failed to write {}", file.display()))
}

fn as_usage(error: &clap::Error) -> anyhow::Error {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Usage(first).into()
}
