//! The verifying step: the bytes of the patch are judged on a machine of their own, and hashes say what was judged.

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;

use super::super::{Cli, Command, Exit, Usage, supervised, verify};
use super::passing::{PATCH, RECEIPT, sha256};
use super::{Job, as_usage};
use crate::github::publish::Published;
use crate::github::{Ending, Told, triage};
use crate::story;
use crate::verdict::Verdict;
use crate::verify::{Receipt, given};

/// A patch that was judged.
pub struct Judged {
    /// What the verifier said.
    pub receipt: Receipt,
    /// SHA-256 of the patch.
    pub patch_sha256: String,
    /// SHA-256 of the receipt.
    pub receipt_sha256: String,
}

impl Job<'_> {
    /// Judges the patch that the solving step left.
    pub(super) fn verify_alone(&self) -> Result<Exit> {
        if !self.with.out.join(PATCH).exists() {
            self.outputs(&[("outcome", "skipped"), ("reason", "there is no patch to be judged")])?;
            self.console.line("There is no patch to be judged.");
            return Ok(Exit::Green);
        }
        let (head, _) = self.checked_out()?;
        let judged = self.judge(&head)?;
        self.output_receipt()?;
        let (outcome, mut reason) = self.weighed(&judged.receipt);
        match self.with.paths.refuse(&judged.receipt.patch) {
            Some(why) => reason = format!("{reason}; but {why}"),
            None if outcome.passes() && self.reaches(&judged.receipt) => self.output_judged(&judged)?,
            None => {}
        }
        self.outputs(&[
            ("outcome", outcome.name()),
            ("reason", &reason),
            ("evidence", &evidence(&judged.receipt)),
        ])?;
        let told = Told { outcome, reason, ..self.untold(&head) };
        self.summary(&told, Some(&judged.receipt), "", &Published::default())?;
        Ok(self.exit(&told))
    }

    /// Judges the bytes of the patch.
    pub(super) fn judge(&self, head: &str) -> Result<Judged> {
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
    pub(super) fn weighed(&self, receipt: &Receipt) -> (Ending, String) {
        let ending = triage::of_verdict(&receipt.verdict);
        let mut reason = receipt.word.clone();
        if !ending.passes() {
            reason = format!("{reason}: {}", crate::text::list(&receipt.verdict.reasons(), 3));
        } else if !self.reaches(receipt) {
            reason = format!("{reason}, which is below the level that was asked for: it is not published");
        }
        (ending, reason)
    }

    /// Whether a pass has the level that was asked for.
    pub(super) fn reaches(&self, receipt: &Receipt) -> bool {
        self.with.level.is_none_or(|asked| receipt.verdict.level().is_some_and(|level| level >= asked))
    }

    /// Gives out where the receipt lies, whatever it says: who publishes tells people of a red one, too.
    pub(super) fn output_receipt(&self) -> Result<()> {
        self.outputs(&[("receipt-path", &self.with.out.join(RECEIPT).to_string_lossy())])
    }

    /// Gives out the hashes without which nothing can be published.
    pub(super) fn output_judged(&self, judged: &Judged) -> Result<()> {
        let level = judged.receipt.verdict.level().map(|level| level.to_string()).unwrap_or_default();
        self.outputs(&[
            ("level", &level),
            ("patch-sha256", &judged.patch_sha256),
            ("receipt-sha256", &judged.receipt_sha256),
        ])
    }
}

/// What a receipt proves, on one line.
pub fn evidence(receipt: &Receipt) -> String {
    let Verdict::Green(evidence) = &receipt.verdict else {
        return json!({"verdict": receipt.word}).to_string();
    };
    let leak = evidence.strength.iter().find_map(|strength| strength.leak).map(|leak| leak.mistake);
    json!({"verdict": receipt.word, "fixed": evidence.fixed, "guards_kept": evidence.guards_kept, "runs": evidence.runs,
        "sandbox": evidence.sandbox, "leak": leak, "caveats": evidence.caveats})
    .to_string()
}
