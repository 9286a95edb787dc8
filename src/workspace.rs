//! A workspace is a writable tree to build and test one candidate in. Every workspace of a run appears at the
//! same path, so that build outputs stay valid; none sees what another wrote.
//!
//! A run has one [`Workshop`]: the snapshot of the base, what set-up and the base's own build left (the
//! *prepared* layer), and a [`Workspace`] at a time on top. Everything lies in a scratch folder that is locked
//! while the run lives; folders whose owner is gone are swept by the next run.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::patch::{File, Patch, RepoPath};

/// The untouched base.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The folder that holds it: the files and a `.git` with one commit.
    pub root: PathBuf,
    /// Its git tree id.
    pub tree: String,
    /// How many files it has.
    pub files: usize,
    /// The folder, relative to the root, that the user pointed at; empty for the root.
    pub focus: String,
}

/// A writable tree: `tree` (the repository), `home` and `tmp`.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The repository.
    pub fn tree(&self) -> PathBuf {
        self.root.join("tree")
    }

    /// The private home folder.
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The private folder for temporary files.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Applies a patch. What it touches gets the present time, always: build tools judge freshness by it.
    pub fn apply(&self, patch: &Patch) -> Result<()> {
        let _ = patch;
        todo!()
    }

    /// What differs from the snapshot, ignored files left out.
    pub fn changes(&self, base: &Snapshot) -> Result<Patch> {
        let _ = base;
        todo!()
    }
}

impl Snapshot {
    /// A file of the base, `None` when there is none or it is a folder.
    pub fn file(&self, path: &RepoPath) -> Result<Option<File>> {
        let _ = path;
        todo!()
    }

    /// The files of the base, in order.
    pub fn paths(&self) -> Result<Vec<RepoPath>> {
        todo!()
    }
}

/// Reads a file beneath `root`, following no link on the way.
pub fn read_beneath(root: &Path, path: &str, most: u64) -> Result<Vec<u8>> {
    let _ = (root, path, most);
    todo!()
}
