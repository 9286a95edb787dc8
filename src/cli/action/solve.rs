//! The solving step: guards, what GitHub has to say to the event, and the loop. It writes nothing on GitHub.

use anyhow::{Context, Result};
use clap::Parser;

use super::super::settings::Settings;
use super::super::{Cli, Command, Exit, Usage, supervised};
use super::passing::{CONTEXT, EVIDENCE, PATCH, RECEIPT, STORY};
use super::{Job, as_usage};
use crate::fix;
use crate::github::client::{Client, segment};
use crate::github::event::{self, Pull, Trigger};
use crate::github::{Ending, Mode, Told, publish, triage};
use crate::policy;
use crate::record::{Outcome, Record};
use crate::story;
use crate::verdict::Verdict;
use crate::verify;

impl Job<'_> {
    /// Guards, triage, and the loop.
    pub(super) fn solve(&mut self) -> Result<Told> {
        for name in [PATCH, STORY, EVIDENCE, CONTEXT, RECEIPT] {
            // What an earlier step left must not be taken for this one's.
            let _ = std::fs::remove_file(self.with.out.join(name));
        }
        if let Some(why) = self.refused()? {
            return Ok(self.skipped(why));
        }
        let (head, message) = self.checked_out()?;
        if event::own(&message) {
            return Ok(self.skipped("the commit is one of regreen's own".to_owned()));
        }
        if !self.occasion.fork && self.with.mode > Mode::Report {
            let why = self.block_on(async |job, client| job.in_vain(client, &head).await)?;
            if let Some(why) = why {
                return Ok(self.skipped(why));
            }
        }
        let statement = self.with.statement.clone().or(self.occasion.statement.clone());
        self.fix(&head, statement)
    }

    /// Why a patch would be of no use, if so: nothing is to be spent on it then.
    async fn in_vain(&self, client: &Client, head: &str) -> Result<Option<String>> {
        let needs_branch = match self.with.mode {
            Mode::Report | Mode::Patch => false,
            Mode::Commit => true,
            Mode::PullRequest => self.with.base_branch.is_none(),
        };
        // A workflow's run tells a tag as it tells a branch, and a merge queue's branch is gone when it ends.
        if needs_branch && matches!(self.occasion.trigger, Trigger::Workflow(_)) {
            let branch = self.occasion.branch.as_deref().unwrap_or_default();
            if !publish::is_branch(client, branch).await? {
                return Ok(Some(format!(
                    "{branch:?} is no branch (any more), and so a fix could go nowhere"
                )));
            }
        }
        Ok(event::exhausted(publish::attempts(client, head).await?))
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
            signature: baseline.map(|one| self.signature(&verify::signature(one))).unwrap_or_default(),
            outcome: ending,
            reason,
            model: by.map(|attempt| attempt.model.clone()).unwrap_or_default(),
            attempts: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
            cost_usd: spent.usd,
            failing: baseline.map(triage::failing).unwrap_or_default(),
            story: story::story(records),
            ..self.untold(head)
        };
        self.console.line(&story::ending(records));
        Ok(told)
    }

    /// What a failure is called on GitHub.
    pub(super) fn signature(&self, failure: &str) -> String {
        let branch = self.with.base_branch.as_deref().or(self.occasion.branch.as_deref());
        triage::signature(branch.unwrap_or_default(), failure)
    }

    /// What is known of a commit before anything is done.
    pub(super) fn untold(&self, head: &str) -> Told {
        Told {
            repository: self.with.around.repository.clone(),
            head_sha: head.to_owned(),
            base_branch: self.occasion.branch.clone().unwrap_or_default(),
            event: self.occasion.event.clone(),
            run_url: self.with.run_url.clone(),
            issue: if self.with.statement.is_none() { self.with.issue.or(self.occasion.issue) } else { None },
            ..Told::default()
        }
    }

    /// What is told where nothing is done.
    pub(super) fn skipped(&self, why: String) -> Told {
        let head = self.occasion.head.clone().unwrap_or_default();
        self.console.line(&format!("Nothing is done: {why}."));
        Told { reason: why, guarded: true, ..self.untold(&head) }
    }

    /// Why nothing is to be done, if so; GitHub is asked only where the event alone does not say it.
    pub(super) fn refused(&mut self) -> Result<Option<String>> {
        if let Some(why) = event::refused(&self.occasion, &self.with.rules) {
            return Ok(Some(why));
        }
        self.block_on(async |job, client| job.look_up(client).await)?;
        Ok(event::refused(&self.occasion, &self.with.rules))
    }

    /// Asks GitHub what the event does not say.
    async fn look_up(&mut self, client: &Client) -> Result<()> {
        let unknown = self.occasion.head.is_none() || matches!(self.occasion.trigger, Trigger::Workflow(_));
        if let (Some(number), true, false) = (self.occasion.pull, unknown, self.occasion.fork) {
            let path = format!("/pulls/{number}");
            if matches!(self.occasion.trigger, Trigger::Workflow(_)) {
                let pull = client.find::<Pull>(&path).await?;
                self.occasion.about_run(pull.as_ref(), &client.repository);
            } else {
                self.occasion.about(&client.get(&path).await?, &client.repository);
            }
        }
        let human = matches!(self.occasion.trigger, Trigger::Label(_) | Trigger::Comment { .. });
        if human && !self.with.rules.lists(&self.occasion.actor) {
            let path = format!("/collaborators/{}/permission", segment(&self.occasion.actor));
            let may: event::Permission = client.find(&path).await?.unwrap_or_default();
            if !["admin", "maintain", "write"].contains(&may.permission.as_str()) {
                self.occasion.barred = Some(format!("{} may not write here", self.occasion.actor));
            }
        }
        // The event's own issue stays as it was when it was looked at: its author could rewrite it since.
        if let Some(number) = self.with.issue.filter(|number| self.occasion.issue != Some(*number)) {
            let issue: event::Issue = client.get(&format!("/issues/{number}")).await?;
            self.occasion.labels.extend(issue.labels.iter().map(|label| label.name.clone()));
            self.occasion.statement = Some(issue.statement());
        }
        Ok(())
    }
}
