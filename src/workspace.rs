//! A workspace is a writable tree to build and test one candidate in. Commands see every workspace of a run at
//! the same path, so that build outputs stay valid; none sees what another wrote.
//!
//! A run has one [`Workshop`]: the snapshot of the base and the [`Layer`]s above it, which set-up and the base's
//! own build left. A [`Workspace`] lies on top. Where the kernel allows it that is an overlay, made in a
//! millisecond whatever the tree's size; elsewhere it is a copy. Everything lies in a [`Scratch`] folder. Where a
//! repository comes from is `source`'s work.

mod files;
mod layer;
mod scratch;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::mounts::{self, make_folder};
use crate::patch::{File, Patch, RepoPath};
use crate::sys;

pub use files::{apply_beneath, open_beneath, read_beneath, read_file, relative, walk};
use files::{copy, overwrite, remove, times};
pub use layer::Layer;
pub use scratch::Scratch;
pub use source::{commit, index_entry, take};

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

impl Snapshot {
    /// A file of the base, `None` when there is none or it is a folder.
    pub fn file(&self, path: &RepoPath) -> Result<Option<File>> {
        read_file(&self.root, path)
    }

    /// The files of the base whose names are UTF-8, in order.
    pub fn paths(&self) -> Result<Vec<RepoPath>> {
        let mut paths = Vec::new();
        walk(&self.root, &mut |path, data| {
            if path.file_name().is_some_and(|name| name == ".git") {
                return Ok(false);
            }
            if !data.is_dir() {
                paths.extend(relative(&self.root, path));
            }
            Ok(true)
        })?;
        paths.sort();
        Ok(paths)
    }
}

/// A tree as regreen reads it and as commands see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Where regreen reads it.
    pub here: PathBuf,
    /// The path that commands know it by.
    pub seen: PathBuf,
}

impl From<&Path> for Tree {
    fn from(path: &Path) -> Tree {
        Tree { here: path.to_owned(), seen: path.to_owned() }
    }
}

impl From<&Tree> for Tree {
    fn from(tree: &Tree) -> Tree {
        tree.clone()
    }
}

/// Makes the workspaces of one run.
#[derive(Debug)]
pub struct Workshop {
    /// Where everything lies.
    pub scratch: Scratch,
    /// The base.
    pub snapshot: Snapshot,
    overlaid: bool,
    /// What lies between the base and a workspace, the lowest first. Copies have one at most, and it holds the
    /// base too.
    layers: Vec<Arc<Layer>>,
    /// What every home begins with, where workspaces are overlays.
    home: Option<PathBuf>,
    taken: Arc<Mutex<BTreeSet<usize>>>,
}

impl Workshop {
    /// A workshop for a base that lies in `scratch`, whose workspaces are copies.
    pub fn new(scratch: Scratch, snapshot: Snapshot) -> Workshop {
        Workshop { scratch, snapshot, overlaid: false, layers: Vec::new(), home: None, taken: Arc::default() }
    }

    /// Likewise, with overlays where they work: for a box that shows folders at other paths.
    pub fn overlaid(scratch: Scratch, snapshot: Snapshot) -> Result<Workshop> {
        let mut workshop = Workshop::new(scratch, snapshot);
        let folder = &workshop.scratch.folder;
        for part in ["layers", "empty"] {
            fs::create_dir(folder.join(part))?;
        }
        if mounts::entered() && layer::try_overlay(folder).is_ok() {
            if mounts::owner().is_some() {
                sys::open_repositories_of_others()?;
                mounts::give(&workshop.snapshot.root)?;
                mounts::give(&folder.join("workspaces"))?;
            }
            workshop.overlaid = true;
        }
        Ok(workshop)
    }

    /// Whether workspaces are overlays.
    pub fn overlays(&self) -> bool {
        self.overlaid
    }

    /// Lets every home begin with what is in a folder, which is never written and outlives the run.
    pub fn furnish(&mut self, home: PathBuf) {
        self.home = Some(home);
    }

    /// A pristine workspace: the base under what [`Workshop::keep`] kept.
    pub fn workspace(&self) -> Result<Workspace> {
        self.lay(self.layers.clone())
    }

    /// A workspace whose tree and home begin as those of `workspace` are now. Neither sees what is written in the other from now on.
    pub fn fork(&self, workspace: &mut Workspace) -> Result<Workspace> {
        if self.overlaid {
            workspace.settle(&self.scratch)?;
            return self.lay(workspace.layers.clone());
        }
        let mut fork = self.empty()?;
        for part in ["tree", "home"] {
            copy(&workspace.root.join(part), &fork.root.join(part))?;
        }
        fork.prepared.clone_from(&workspace.prepared);
        Ok(fork)
    }

    /// Keeps what set-up and the base's build left in `workspace` for all later workspaces. Files of the base
    /// that they changed are as they were, with their old times.
    pub fn keep(&mut self, mut workspace: Workspace) -> Result<()> {
        if self.overlaid {
            workspace.settle(&self.scratch)?;
            self.layers = std::mem::take(&mut workspace.layers);
            for layer in &self.layers {
                layer.restore(&self.snapshot.root)?;
            }
            return Ok(());
        }
        let _ = remove(&workspace.tree().join(".git"));
        overwrite(&self.snapshot.root, &workspace.tree())?;
        remove(&workspace.tmp())?;
        // What the kernel keeps there cannot be copied, and is for mounts that are gone.
        if let Ok(shares) = fs::read_dir(workspace.root.join("layer/shares")) {
            for share in shares {
                remove(&share?.path().join(WORK))?;
            }
        }
        self.layers = vec![Arc::new(Layer::of(&workspace.root, &self.scratch)?)];
        Ok(())
    }

    fn lay(&self, layers: Vec<Arc<Layer>>) -> Result<Workspace> {
        let mut workspace = self.empty()?;
        if self.overlaid {
            workspace.layers = layers;
            workspace.given = workspace.layers.len();
            let home = self.home.clone().unwrap_or_else(|| self.scratch.folder.join("empty"));
            workspace.lowest = Some((self.snapshot.root.clone(), home));
            workspace.mount()?;
        } else if let Some(prepared) = layers.last() {
            copy(&prepared.folder, &workspace.root)?;
            workspace.prepared = Some(prepared.clone());
        } else {
            copy(&self.snapshot.root, &workspace.tree())?;
        }
        Ok(workspace)
    }

    /// A workspace with nothing in it, under the first number that is free.
    fn empty(&self) -> Result<Workspace> {
        let number = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            // Among one more numbers than are taken one is free.
            let number = (0..=taken.len()).find(|number| !taken.contains(number)).unwrap_or_default();
            taken.insert(number);
            number
        };
        let folder = self.scratch.folder.join("workspaces");
        let mut workspace = Workspace::new(folder.join(number.to_string()));
        workspace.number = Some((number, self.taken.clone()));
        if self.overlaid {
            workspace.seen = folder.join("0");
        }
        remove(&workspace.root)?;
        workspace.make()?;
        if self.overlaid {
            for part in ["layer", "layer/shares", "work"] {
                make_folder(&workspace.root.join(part))?;
            }
        }
        Ok(workspace)
    }
}

/// A writable tree: `tree` (the repository), `home` and `tmp`. It is removed when this is dropped.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    /// Where commands see it.
    seen: PathBuf,
    /// What lies below it, the lowest first; the first `given` of them were there when it was made.
    layers: Vec<Arc<Layer>>,
    given: usize,
    /// What lies below those of an overlay: under the tree, and under the home.
    lowest: Option<(PathBuf, PathBuf)>,
    /// What a copy began with.
    prepared: Option<Arc<Layer>>,
    /// The number that is free again when it is gone.
    number: Option<(usize, Arc<Mutex<BTreeSet<usize>>>)>,
}

impl Workspace {
    fn new(root: PathBuf) -> Workspace {
        let seen = root.clone();
        let layers = Vec::new();
        Workspace { root, seen, layers, given: 0, lowest: None, prepared: None, number: None }
    }

    /// A workspace with nothing in it.
    pub fn empty(root: PathBuf) -> Result<Workspace> {
        let workspace = Workspace::new(root);
        workspace.make()?;
        Ok(workspace)
    }

    fn make(&self) -> Result<()> {
        make_folder(&self.root)?;
        for part in ["tree", "home", "tmp"] {
            make_folder(&self.root.join(part))?;
        }
        Ok(())
    }

    /// The folder that holds everything of it.
    pub fn root(&self) -> &Path {
        &self.root
    }

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

    /// The folders in which everything lies that is written in it, and for a copy what it began with.
    pub fn written(&self) -> Vec<PathBuf> {
        let copied = self.lowest.is_none().then(|| [self.tree(), self.home()]);
        copied.into_iter().flatten().chain([self.tmp(), self.root.join("layer")]).collect()
    }

    /// The repository, as regreen reads it and as commands see it.
    pub fn places(&self) -> Tree {
        Tree { here: self.tree(), seen: self.seen(&self.tree()) }
    }

    /// The path by which commands know a path of this workspace; others stay as they are.
    pub fn seen(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).map_or_else(|_| path.to_owned(), |inside| self.seen.join(inside))
    }

    /// Keeps what was written in an overlay's home as the folder `place`, which does not exist yet.
    pub fn keep_home(self, place: &Path) -> Result<()> {
        self.unmount();
        fs::rename(self.root.join("layer/home"), place)
            .with_context(|| format!("failed to keep {}", place.display()))
    }

    /// Applies a patch. What it touches gets the present time, always: build tools judge freshness by it.
    ///
    /// Fails when a parent of a changed path is a link or a file.
    pub fn apply(&self, patch: &Patch) -> Result<()> {
        apply_beneath(&self.tree(), patch)
    }

    /// Where what commands add to a folder that is shared with others is kept.
    pub fn share(&self, name: &str) -> Result<Shared> {
        let part = Path::new("shares").join(name.replace('/', "--"));
        let below = self.layers.iter().rev().map(|layer| layer.folder.join(&part).join(UPPER));
        let shared = Shared {
            below: below.filter(|folder| folder.exists()).collect(),
            own: self.root.join("layer").join(part),
        };
        let layer = self.root.join("layer");
        let own = [shared.own.clone(), shared.own.join(UPPER), shared.own.join(WORK)];
        for folder in [layer.clone(), layer.join("shares")].iter().chain(&own) {
            if !folder.exists() {
                make_folder(folder)?;
            }
        }
        Ok(shared)
    }

    /// What differs from the snapshot in files that git would not ignore.
    pub fn changes(&self, base: &Snapshot) -> Result<Patch> {
        let mut changes = Changes {
            workspace: self,
            base,
            rules: git2::Repository::open(&base.root)?,
            found: Patch::default(),
        };
        let mut written = vec![self.tree()];
        if self.lowest.is_some() {
            let own = self.layers[self.given..].iter().map(|layer| layer.folder.join("tree"));
            written = own.chain([self.root.join("layer/tree")]).collect();
        }
        for upper in written {
            changes.look(&upper)?;
        }
        Ok(changes.found)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.unmount();
        // What cannot be removed now is swept by the next run, and its number stays taken.
        if let (Ok(()), Some((number, taken))) = (remove(&self.root), &self.number) {
            taken.lock().unwrap_or_else(PoisonError::into_inner).remove(number);
        }
    }
}

/// What a workspace adds to a folder that it shares with others.
#[derive(Debug)]
pub struct Shared {
    /// What earlier commands added, the latest first.
    pub below: Vec<PathBuf>,
    /// A folder with an [`UPPER`] for what the next command adds and a [`WORK`] for the kernel.
    pub own: PathBuf,
}

/// The two folders that an overlay writes in.
pub const UPPER: &str = "upper";
/// See [`UPPER`].
pub const WORK: &str = "work";

/// Finds what was changed in a workspace.
struct Changes<'a> {
    workspace: &'a Workspace,
    base: &'a Snapshot,
    rules: git2::Repository,
    found: Patch,
}

impl Changes<'_> {
    /// By looking at everything below `upper`: the tree itself, or what was written above the base.
    fn look(&mut self, upper: &Path) -> Result<()> {
        let tree = self.workspace.tree();
        self.removed(Path::new(""))?;
        walk(upper, &mut |path, _| {
            let inside = path.strip_prefix(upper).unwrap_or(path);
            if !self.counts(inside) {
                return Ok(false);
            }
            // What stands there now; a mark that something was removed shows nothing.
            let Ok(data) = tree.join(inside).symlink_metadata() else { return Ok(false) };
            if data.is_dir() {
                self.removed(inside)?;
            } else {
                self.compare(inside, &data)?;
            }
            Ok(data.is_dir())
        })
    }

    /// Notes the files of the base that are gone from a folder.
    fn removed(&mut self, folder: &Path) -> Result<()> {
        let Ok(entries) = fs::read_dir(self.base.root.join(folder)) else { return Ok(()) };
        for entry in entries {
            let entry = entry?;
            let inside = folder.join(entry.file_name());
            let there = self.workspace.tree().join(&inside).symlink_metadata();
            let was_folder = entry.file_type()?.is_dir();
            if entry.file_name() == ".git" || there.is_ok_and(|data| data.is_dir() == was_folder) {
                continue;
            }
            if was_folder {
                self.removed(&inside)?;
            } else {
                self.found.0.extend(relative(Path::new(""), &inside).map(|path| (path, None)));
            }
        }
        Ok(())
    }

    /// Whether a path can be part of a patch: not git's, and not what git would ignore.
    fn counts(&self, inside: &Path) -> bool {
        let known = || self.base.root.join(inside).symlink_metadata().is_ok();
        inside.file_name().is_none_or(|name| name != ".git")
            && (known() || !self.rules.is_path_ignored(inside).unwrap_or(false))
    }

    /// Notes a file that is not as in the base, unless set-up or the base's build made it.
    fn compare(&mut self, inside: &Path, data: &fs::Metadata) -> Result<()> {
        let Some(path) = relative(Path::new(""), inside) else { return Ok(()) };
        let same = |known: &fs::Metadata| {
            known.len() == data.len()
                && times(known) == times(data)
                && known.mode() & 0o100 == data.mode() & 0o100
        };
        match self.base.root.join(inside).symlink_metadata() {
            Ok(known) if same(&known) => return Ok(()),
            Err(_) if self.prepared(inside).is_some_and(|made| same(&made)) => return Ok(()),
            Ok(_) | Err(_) => {}
        }
        let after = read_file(&self.workspace.tree(), &path)?;
        if after.is_some() && after != self.base.file(&path)? {
            self.found.0.insert(path, after);
        }
        Ok(())
    }

    fn prepared(&self, inside: &Path) -> Option<fs::Metadata> {
        let workspace = self.workspace;
        let layers = workspace.layers[..workspace.given].iter().rev().chain(&workspace.prepared);
        let mut made = layers.map(|layer| layer.folder.join("tree").join(inside).symlink_metadata());
        made.find_map(Result::ok)
    }
}
