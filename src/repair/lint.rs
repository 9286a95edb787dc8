//! Linters know how to fix some of what they find. This runs those that are installed, in the sandbox, and reads
//! what they offer or what they changed.

use anyhow::Result;

use super::rules::{Linter, Rules};
use crate::diagnostic::{Diagnostic, Severity};
use crate::patch::Patch;
use crate::process;
use crate::toolchain::place::Place;
use crate::toolchain::{Suite, compilers};
use crate::verify::Verifier;

/// Seconds that a linter may take.
const SECONDS: u64 = 120;

/// What a linter has to say.
#[derive(Debug)]
pub enum Advice {
    /// What it finds, each as an error, with edits.
    Offers(Vec<Diagnostic>),
    /// Its command line, and what it made of the base.
    Changes(String, Patch),
}

/// What each linter says of the base. A linter that fails says nothing, and one that is not installed is not
/// missed.
pub async fn run(rules: &Rules, verifier: &Verifier) -> Result<Vec<Advice>> {
    let mut found = Vec::new();
    for suite in &verifier.suites {
        for linter in rules.linters(&suite.profile.name) {
            found.extend(ask(linter, suite, verifier).await?);
        }
    }
    Ok(found)
}

async fn ask(linter: &Linter, suite: &Suite, verifier: &Verifier) -> Result<Option<Advice>> {
    let workspace = verifier.workshop.workspace()?;
    let folder = workspace.tree().join(&suite.dir);
    let configured = linter.configured.iter().all(|file| folder.join(file).is_file());
    let installed = linter.argv.first().is_some_and(|program| {
        process::find(program, &verifier.sandbox.host.path).is_some() || folder.join(program).is_file()
    });
    if !configured || !installed {
        return Ok(None);
    }
    let finished = verifier.tool(&linter.argv, &suite.dir, SECONDS, &workspace).await?;
    if let Some(speaker) = linter.speaks {
        let mut found = compilers::read(speaker, &finished, &Place::new(workspace.places(), &suite.dir))?;
        for diagnostic in &mut found {
            diagnostic.severity = Severity::Error;
        }
        return Ok(Some(Advice::Offers(found)));
    }
    let patch = workspace.changes(&verifier.workshop.snapshot)?;
    let patch = verifier.compose(&patch)?.product;
    Ok((!patch.is_empty()).then(|| Advice::Changes(linter.argv.join(" "), patch)))
}
