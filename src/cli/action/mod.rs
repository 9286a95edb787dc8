//! `regreen action`: the steps of the GitHub Action. *solve* finds out whether something is to be done and looks for a
//! patch, *verify* judges its bytes elsewhere, *publish* tells people and writes on GitHub; *all* does the three one
//! after the other. Fixing and judging are those of `regreen fix` and `regreen verify`.

mod console;
mod inputs;
mod passing;
mod publish;
mod solve;
mod verify;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use tokio::sync::watch;

use super::settings::{self, usage};
use super::{Exit, Usage};
use crate::github::client::Client;
use crate::github::event::Occasion;
use crate::github::publish::Published;
use crate::github::{Ending, Secrets, Told};

use console::Console;
use inputs::{Inputs, Settled};

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
    let token = args.inputs.token().map(str::to_owned);
    let secrets = Secrets::new(settings::secrets().into_iter().chain(token));
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
                self.summary(&told, None, &self.diff(), &Published::default())?;
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

    /// Solves, judges and publishes in one job.
    fn all(&mut self) -> Result<Exit> {
        let mut told = self.solve()?;
        self.hand_over(&told)?;
        if told.guarded {
            self.summary(&told, None, "", &Published::default())?;
            return Ok(self.exit(&told));
        }
        let judged = if told.outcome.passes() { Some(self.judge(&told.head_sha)?) } else { None };
        if let Some(judged) = &judged {
            self.take_in(&mut told, judged);
            self.output_receipt()?;
            self.output_judged(judged)?;
            self.outputs(&[("evidence", &verify::evidence(&judged.receipt))])?;
        }
        // The commit in question is the one that was checked out.
        self.occasion.head = Some(told.head_sha.clone());
        let published = self.publish(&told, judged.as_ref())?;
        let (receipt, diff) = (judged.as_ref().map(|judged| &judged.receipt), self.diff());
        let diff = if told.outcome.passes() { diff.as_str() } else { "" };
        self.summary(&told, receipt, diff, &published)?;
        Ok(self.exit(&told))
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

    /// Talks with GitHub; once the job is cancelled nothing further is begun.
    fn block_on<T>(&mut self, work: impl AsyncFnOnce(&mut Job<'a>, &Client) -> Result<T>) -> Result<T> {
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
            work(self, &client).await
        });
        runtime.shutdown_background();
        done
    }
}

fn as_usage(error: &clap::Error) -> anyhow::Error {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Usage(first).into()
}
