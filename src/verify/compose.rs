//! Composing takes of a candidate what may be judged: its product part. Edits of tests, of configuration and of
//! files that runners pick up by themselves are left out and reported; that is no accusation, since honest patches
//! edit tests too.

use anyhow::{Context, Result};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::Verifier;
use crate::patch::Patch;
use crate::toolchain::Suite;

/// A candidate in two parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Composed {
    /// What may be judged.
    pub product: Patch,
    /// Paths whose edits are left out, with the reason where it is not the path.
    pub left_out: Vec<String>,
}

impl Verifier {
    /// Splits a candidate into what may be judged and the paths of protected files, whose edits are left out.
    ///
    /// Leaving them out is no accusation: honest patches edit tests too.
    pub fn compose(&self, candidate: &Patch) -> Result<Composed> {
        let (protected, root) = (self.protected()?, &self.workshop.snapshot.root);
        let mut product = Patch::default();
        let mut left_out = Vec::new();
        for (path, after) in &candidate.0 {
            // What is there and cannot be read as a file (a folder, a device, gigabytes) cannot be edited either.
            let odd =
                path.under(root).symlink_metadata().is_ok() && self.workshop.snapshot.file(path)?.is_none();
            if odd || protected.is_match(path.as_str()) {
                left_out.push(path.to_string());
            } else {
                product.0.insert(path.clone(), after.clone());
            }
        }
        Ok(Composed { product, left_out })
    }

    /// The globs of protected files: the task's, and those of every suite below its folder.
    pub fn protected(&self) -> Result<GlobSet> {
        let own = self.suites.iter().flat_map(Suite::protected);
        globs(self.task.protected.iter().cloned().chain(own))
    }

    /// The globs of product source files.
    pub fn sources(&self) -> Result<GlobSet> {
        globs(self.suites.iter().flat_map(Suite::sources))
    }
}

fn globs(globs: impl Iterator<Item = String>) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        // `*` stays within a folder: `test*.py` must not protect `testing/core.py`.
        let built = GlobBuilder::new(&glob).literal_separator(true).build();
        set.add(built.with_context(|| format!("{glob:?} is not a glob"))?);
    }
    Ok(set.build()?)
}
