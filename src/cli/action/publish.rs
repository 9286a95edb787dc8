//! The publishing step: what passes from the steps before is weighed again, and only what was verified is written on
//! GitHub. It runs no code of the repository and needs no checkout.

use anyhow::{Context, Result, ensure};

use super::super::Exit;
use super::Job;
use super::passing::{LARGEST, PATCH, RECEIPT, sha256};
use super::verify::Judged;
use crate::github::client::Client;
use crate::github::event::{self, Issue, Pull};
use crate::github::publish::{self, Proof, Publication, Published};
use crate::github::{Ending, Mode, Told};
use crate::verify::{Receipt, given};

impl Job<'_> {
    /// Publishes what the steps before left, if it is what the verifying one gave out hashes of.
    pub(super) fn publish_alone(&mut self) -> Result<Exit> {
        let told = self.handed_over()?;
        if let Some(why) = self.refused()? {
            self.output_told(&self.skipped(why))?;
            return Ok(Exit::Green);
        }
        let mut told = self.merged(told);
        let judged = match &self.with.hashes {
            Some((patch, receipt)) if told.outcome.passes() => Some(self.trusted(patch, receipt)),
            _ => None,
        };
        let (judged, wrong) = match judged.transpose() {
            Ok(judged) => (judged, None),
            Err(error) => (None, Some(error)),
        };
        if let Some(judged) = &judged {
            self.take_in(&mut told, judged);
        } else if let Some(wrong) = &wrong {
            (told.outcome, told.reason) = (Ending::Inconclusive, format!("{wrong:#}"));
        } else if told.outcome.passes() {
            (told.outcome, told.reason) = self.unverified();
        }
        let published = self.publish(&told, judged.as_ref())?;
        // The summaries of the steps before stand above this one: only what is new is told.
        let brief =
            Told { outcome: told.outcome, reason: told.reason.clone(), ..self.untold(&told.head_sha) };
        self.summary(&brief, None, "", &published)?;
        // People were told of it, and as an attempt it counts.
        wrong.map_or_else(|| Ok(self.exit(&told)), Err)
    }

    /// Takes in what was judged: how it ended, and which failure it is. What the solving step said of that is not believed.
    pub(super) fn take_in(&self, told: &mut Told, judged: &Judged) {
        (told.outcome, told.reason) = self.weighed(&judged.receipt);
        told.signature = self.signature(&judged.receipt.signature);
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
    fn merged(&self, told: Told) -> Told {
        let own = self.untold(self.occasion.head.as_deref().unwrap_or_default());
        Told {
            repository: own.repository,
            head_sha: own.head_sha,
            base_branch: own.base_branch,
            event: own.event,
            run_url: own.run_url,
            issue: own.issue.or(told.issue),
            ..told
        }
    }

    /// The patch and its receipt, if they are those that the verifying job gave out.
    fn trusted(&self, patch: &str, receipt: &str) -> Result<Judged> {
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
            patch_sha256: patch.to_owned(),
            receipt_sha256: receipt.to_owned(),
        })
    }

    /// Writes on GitHub what the mode allows, and says what was written.
    pub(super) fn publish(&mut self, told: &Told, judged: Option<&Judged>) -> Result<Published> {
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
                job.labels_anew(client).await?;
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
            })?
        };
        let pull = published.pull.clone().unwrap_or_default();
        let number = if pull.0 == 0 { String::new() } else { pull.0.to_string() };
        self.outputs(&[
            ("pull-request-number", &number),
            ("pull-request-url", &pull.1),
            ("comment-url", published.comment.as_deref().unwrap_or_default()),
        ])?;
        self.output_told(told)?;
        for note in &published.notes {
            self.console.line(note);
        }
        if let Some((_, url)) = &published.pull {
            self.console.line(&format!("Pull request: {url}"));
        }
        Ok(published)
    }

    /// Takes in labels that may have been set since the occasion was looked at.
    async fn labels_anew(&mut self, client: &Client) -> Result<()> {
        let mut labels = Vec::new();
        if let Some(number) = self.occasion.pull {
            let pull = client.find::<Pull>(&format!("/pulls/{number}")).await?;
            labels.extend(pull.map(|pull| pull.labels));
        }
        for number in self.occasion.issue.into_iter().chain(self.with.issue) {
            let issue = client.find::<Issue>(&format!("/issues/{number}")).await?;
            labels.extend(issue.map(|issue| issue.labels));
        }
        self.occasion.labels.extend(labels.into_iter().flatten().map(|label| label.name));
        Ok(())
    }

    /// What is told, without secrets.
    fn masked(&self, told: &Told) -> Result<Told> {
        let text = self.secrets.hide(&serde_json::to_string(told)?);
        Ok(Told { story: self.secrets.hide(&told.story), ..serde_json::from_str(&text)? })
    }

    /// Whether nothing is written on GitHub.
    pub(super) fn silent(&self) -> bool {
        self.with.mode == Mode::Report || self.occasion.fork
    }
}
