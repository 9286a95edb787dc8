//! A listing is what a folder of the repository holds, walked once: enough to recognise toolchains by. Links
//! are not followed, and folders that hold downloads or build outputs are not entered, so that a large tree
//! costs little.

use std::path::{Path, PathBuf};

use anyhow::Result;
use regex::bytes::Regex;

use super::profile::{Condition, glob};
use crate::workspace::read_beneath;

/// Of a file at most this many bytes are searched.
const CONTENT: u64 = 1 << 20;

/// At most this many files are listed: whatever is recognised is found long before.
const FILES: usize = 200_000;

/// Folders below this depth are not entered.
const DEPTH: usize = 12;

/// The files below a folder.
#[derive(Debug)]
pub struct Listing {
    /// The repository.
    tree: PathBuf,
    /// The files, relative to the repository, in order.
    files: Vec<String>,
    /// The folders that were entered, relative to the repository, those nearest the root first.
    pub folders: Vec<String>,
}

impl Listing {
    /// Lists the folder `dir` of the repository.
    pub fn of(tree: &Path, dir: &str) -> Listing {
        let mut listing = Listing {
            tree: tree.to_owned(),
            files: Vec::new(),
            folders: Vec::new(),
        };
        let mut level = vec![dir.to_owned()];
        for _ in 0..DEPTH {
            let mut next = Vec::new();
            for folder in std::mem::take(&mut level) {
                listing.enter(&folder, &mut next);
                listing.folders.push(folder);
            }
            next.sort();
            level = next;
        }
        listing.files.sort();
        listing
    }

    fn enter(&mut self, folder: &str, folders: &mut Vec<String>) {
        let Ok(entries) = std::fs::read_dir(self.tree.join(folder)) else {
            return;
        };
        for entry in entries.flatten() {
            // A name that is no UTF-8 is nobody's configuration.
            let (Ok(kind), Some(name)) = (entry.file_type(), entry.file_name().to_str().map(str::to_owned))
            else {
                continue;
            };
            let path = join(folder, &name);
            if kind.is_dir() && !is_skipped(&name) {
                folders.push(path);
            } else if kind.is_file() && self.files.len() < FILES {
                self.files.push(path);
            }
        }
    }

    /// Whether the condition is true of a folder.
    pub fn holds(&self, folder: &str, condition: &Condition) -> Result<bool> {
        if let Some(without) = &condition.without
            && !self.matching(folder, without)?.is_empty()
        {
            return Ok(false);
        }
        let files = self.matching(folder, &condition.file)?;
        let Some(contains) = &condition.contains else {
            return Ok(!files.is_empty());
        };
        let contains = Regex::new(contains)?;
        Ok(files
            .iter()
            .any(|file| contains.is_match(&read_beneath(&self.tree, file, CONTENT).unwrap_or_default())))
    }

    /// The files that match a glob relative to the folder; of those that stand in folders which are not
    /// listed, only one that is named without a wildcard.
    fn matching(&self, folder: &str, pattern: &str) -> Result<Vec<String>> {
        let path = join(folder, pattern);
        if !pattern.contains(['*', '?', '[', '{']) {
            let there = if pattern.contains('/') {
                read_beneath(&self.tree, &path, 0).is_ok()
            } else {
                self.files.binary_search(&path).is_ok()
            };
            return Ok(there.then_some(path).into_iter().collect());
        }
        let glob = glob(pattern)?;
        let below = join(folder, "");
        let start = self.files.partition_point(|file| *file < below);
        Ok(self.files[start..]
            .iter()
            .take_while(|file| file.starts_with(&below))
            .filter(|file| glob.is_match(&file[below.len()..]))
            .cloned()
            .collect())
    }
}

/// Folders in which no suite of the repository's own stands.
fn is_skipped(name: &str) -> bool {
    name.starts_with('.')
        || matches!(
            name,
            "node_modules" | "target" | "vendor" | "build" | "dist" | "venv" | "__pycache__"
        )
}

/// `name` in `folder`; an empty folder is the root.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}
