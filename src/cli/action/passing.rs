//! What passes from step to step and to the runner: files in the output folder, outputs, the job summary. The files are
//! hostile when they are read again: a machine that ran the repository's code wrote them.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::{Job, SMALL, console};
use crate::github::publish::Published;
use crate::github::words::{self, Tale};
use crate::github::{Told, escape};
use crate::verify::Receipt;
use crate::verify::attest::hexadecimal;
use crate::workspace;

/// The files that steps pass on.
pub const PATCH: &str = "fix.patch";
pub const STORY: &str = "story.md";
pub const EVIDENCE: &str = "evidence.json";
pub const CONTEXT: &str = "context.json";
pub const RECEIPT: &str = "receipt.json";

/// The longest of these files that is read again.
pub const LARGEST: u64 = 256 << 20;

impl Job<'_> {
    pub(super) fn hand_over(&self, told: &Told) -> Result<()> {
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

    pub(super) fn handed_over(&self) -> Result<Told> {
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

    pub(super) fn output_told(&self, told: &Told) -> Result<()> {
        self.outputs(&[
            ("outcome", told.outcome.name()),
            ("reason", &told.reason),
            ("signature", &told.signature),
            ("attempts", &told.attempts.to_string()),
            ("cost-usd", &format!("{:.4}", told.cost_usd)),
            ("output-folder", &self.with.out.to_string_lossy()),
        ])
    }

    pub(super) fn outputs(&self, outputs: &[(&str, &str)]) -> Result<()> {
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

    /// The patch as it was found, for people.
    pub(super) fn diff(&self) -> String {
        String::from_utf8_lossy(&self.read(PATCH, SMALL).unwrap_or_default()).into_owned()
    }

    /// Adds a page to the job summary.
    pub(super) fn summary(
        &self,
        told: &Told,
        receipt: Option<&Receipt>,
        diff: &str,
        published: &Published,
    ) -> Result<()> {
        let Some(file) = &self.with.summary else { return Ok(()) };
        let tale = Tale {
            told,
            receipt,
            diff,
            pull: published.pull.as_ref().map(|(number, _)| *number),
            committed: published.committed.as_deref(),
            notes: &published.notes,
            opt_out: if self.silent() { "" } else { &self.with.rules.opt_out },
            secrets: self.secrets,
        };
        append(file, &format!("{}\n", words::summary(&tale)?))
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let place = self.with.out.join(name);
        // A new file in place of whatever stands there: a link is replaced, not followed.
        let mut new = tempfile::NamedTempFile::new_in(&self.with.out)?;
        new.write_all(self.secrets.hide(text).as_bytes())?;
        new.persist(&place).with_context(|| format!("failed to write {}", place.display()))?;
        Ok(())
    }

    pub(super) fn read(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        let bytes = workspace::read_beneath(&self.with.out, name, most + 1);
        let bytes = bytes.with_context(|| format!("failed to read {name} in the output folder"))?;
        ensure!(bytes.len() as u64 <= most, "{name} in the output folder is too large");
        Ok(bytes)
    }
}

/// As hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn append(file: &Path, text: &str) -> Result<()> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(file);
    let mut opened = opened.with_context(|| format!("failed to open {}", file.display()))?;
    opened.write_all(text.as_bytes()).with_context(|| format!("failed to write {}", file.display()))
}
