//! A layer is what commands wrote in one workspace, apart from what lay below it. It is never written again, and
//! removed when nothing needs it any more.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use super::files::remove;
use super::{Scratch, UPPER, Workspace};
use crate::mounts::{make_folder, overlay, unmount};
use crate::sys;

/// The folders `tree`, `home` and `shares` of one layer.
#[derive(Debug)]
pub struct Layer {
    /// The folder that holds the three.
    pub folder: PathBuf,
}

/// Layers made so far by this process, for names that nothing else has.
static MADE: AtomicU64 = AtomicU64::new(0);

impl Layer {
    /// Makes a layer out of a folder, which is moved.
    pub(super) fn of(folder: &Path, scratch: &Scratch) -> Result<Layer> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let layers = scratch.folder.join("layers");
        fs::create_dir_all(&layers)?;
        let layer = Layer { folder: layers.join(number.to_string()) };
        fs::rename(folder, &layer.folder).with_context(|| format!("failed to keep {}", folder.display()))?;
        Ok(layer)
    }

    /// Lets the files of the base show again: whatever stands in their place here is removed.
    pub(super) fn restore(&self, base: &Path) -> Result<()> {
        restore(&self.folder.join("tree"), base)
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        let _ = remove(&self.folder);
    }
}

/// The attribute of a folder that hides what lies below it.
const OPAQUE: &std::ffi::CStr = c"user.overlay.opaque";

fn restore(upper: &Path, base: &Path) -> Result<()> {
    let _ = sys::remove_attribute(upper, OPAQUE);
    for entry in fs::read_dir(upper)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        let below = base.join(name);
        let Ok(known) = below.symlink_metadata() else { continue };
        let kept = path.symlink_metadata()?.is_dir() && known.is_dir() && name != ".git";
        if kept {
            restore(&path, &below)?;
        } else if path.symlink_metadata()?.is_dir() {
            remove(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Whether overlays work in a scratch folder, whose file system decides.
pub(super) fn try_overlay(scratch: &Path) -> Result<()> {
    fs::create_dir_all(scratch.join("workspaces"))?;
    let trial = tempfile::tempdir_in(scratch)?;
    let [upper, work, place] = ["upper", "work", "place"].map(|name| trial.path().join(name));
    for folder in [&upper, &work, &place] {
        fs::create_dir(folder)?;
    }
    overlay(&[&scratch.join("empty")], &upper, &work, &place)?;
    let written = fs::write(place.join("written"), "");
    unmount(&place)?;
    let _ = remove(&work);
    written.context("failed to write in an overlay")
}

impl Workspace {
    /// Lays an empty layer over those below.
    pub(super) fn mount(&self) -> Result<()> {
        let Some((base, empty)) = &self.lowest else { return Ok(()) };
        for (part, lowest) in [("tree", base), ("home", empty)] {
            let below: Vec<PathBuf> = self.layers.iter().rev().map(|layer| layer.folder.join(part)).collect();
            let lowers: Vec<&Path> = below.iter().chain([lowest]).map(PathBuf::as_path).collect();
            let [upper, work] = ["layer", "work"].map(|folder| self.root.join(folder).join(part));
            make_folder(&upper)?;
            make_folder(&work)?;
            overlay(&lowers, &upper, &work, &self.root.join(part))?;
        }
        Ok(())
    }

    pub(super) fn unmount(&self) {
        if self.lowest.is_some() {
            for part in ["tree", "home"] {
                let _ = unmount(&self.root.join(part));
            }
        }
    }

    /// Turns what was written so far into a layer, and goes on above it.
    pub(super) fn settle(&mut self, scratch: &Scratch) -> Result<()> {
        if self.is_unwritten()? {
            return Ok(());
        }
        self.unmount();
        self.layers.push(Arc::new(Layer::of(&self.root.join("layer"), scratch)?));
        remove(&self.root.join("work"))?;
        for part in ["layer", "layer/shares", "work"] {
            make_folder(&self.root.join(part))?;
        }
        self.mount()
    }

    /// Whether nothing was written since the last layer.
    fn is_unwritten(&self) -> Result<bool> {
        let layer = self.root.join("layer");
        let shares = fs::read_dir(layer.join("shares"))?.map(|share| Ok(share?.path().join(UPPER)));
        let own = ["tree", "home"].map(|part| Ok(layer.join(part)));
        for folder in shares.chain(own) {
            let folder: Result<PathBuf> = folder;
            if fs::read_dir(folder?)?.next().is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
