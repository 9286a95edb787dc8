//! Hidden questions are held-out tests and oracles that a patch is asked. They lie where neither who proposes nor the
//! product can read them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use super::Usage;
use super::settings::usage;
use crate::task::Oracle;
use crate::verify::{self, HeldOut};
use crate::workspace::Snapshot;

/// What a patch is asked, and no proposer sees.
#[derive(Clone, Debug, Args)]
pub struct Hidden {
    /// Held-out tests, laid out like the repository: a patch must pass them too
    #[arg(long, value_name = "FOLDER", help_heading = "Hidden questions")]
    held_out: Option<PathBuf>,
    /// A file with [[oracle]] tables as in task.toml; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "Hidden questions")]
    oracle: Vec<PathBuf>,
}

impl Hidden {
    /// The oracles.
    pub fn oracles(&self, here: &Path) -> Result<Vec<Oracle>> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Oracles {
            oracle: Vec<Oracle>,
        }
        let mut oracles = Vec::new();
        for file in &self.oracle {
            let text = std::fs::read_to_string(here.join(file));
            let text = text.with_context(|| format!("failed to read {}", file.display())).map_err(usage)?;
            let read: Result<Oracles, _> = toml::from_str(&text);
            oracles.extend(
                read.with_context(|| format!("{} holds no oracles", file.display())).map_err(usage)?.oracle,
            );
        }
        Ok(oracles)
    }

    /// The held-out tests, if there are any.
    pub fn held_out(&self, here: &Path) -> Result<Option<HeldOut>> {
        let Some(folder) = self.held_out.as_ref().map(|folder| here.join(folder)) else { return Ok(None) };
        let held_out = verify::read_held_out(&folder)
            .with_context(|| format!("failed to read the held-out files in {}", folder.display()))
            .map_err(usage)?;
        ensure!(!held_out.files.is_empty(), Usage(format!("{} holds no files", folder.display())));
        Ok(Some(held_out))
    }

    /// Fails when any of it is part of what was taken from a source; `plain` says whether that is a tree of its own
    /// also inside a larger repository.
    pub fn check(&self, here: &Path, source: &Path, plain: bool, base: &Snapshot) -> Result<()> {
        let Ok(source) = source.canonicalize() else { return Ok(()) };
        let found = git2::Repository::discover(&source).ok().filter(|_| !plain);
        let top = found.and_then(|found| found.workdir()?.canonicalize().ok()).unwrap_or(source);
        for place in self.oracle.iter().chain(&self.held_out) {
            let Ok(real) = here.join(place).canonicalize() else { continue };
            let Ok(inside) = real.strip_prefix(&top) else { continue };
            let seen = base.paths()?.iter().any(|path| Path::new(path.as_str()).starts_with(inside));
            let advice = "is part of the repository, where everybody sees it; keep it elsewhere";
            ensure!(!seen, Usage(format!("{} {advice}", place.display())));
        }
        Ok(())
    }
}
