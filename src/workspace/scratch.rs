//! A scratch folder holds everything that one run leaves on the disk while it lives. It is locked as long; folders
//! whose owner is gone are swept by the next run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files::remove;

/// The scratch folder of one run, removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    /// The folder.
    pub folder: PathBuf,
    _lock: fs::File,
}

impl Scratch {
    /// Makes a scratch folder in `cache`, and removes those whose owner is gone.
    pub fn new(cache: &Path) -> Result<Scratch> {
        fs::create_dir_all(cache).with_context(|| format!("failed to make {}", cache.display()))?;
        // Boxes show folders at their own paths, so these have no `..` and no link in them.
        let cache = &cache.canonicalize()?;
        // Nobody sweeps between the making of a folder and its locking.
        let door = fs::File::create(cache.join("lock"))?;
        door.lock()?;
        sweep(cache);
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(cache)?.keep();
        let lock = fs::File::create(folder.join("lock"))?;
        lock.lock()?;
        for part in ["logs", "results", "workspaces"] {
            fs::create_dir(folder.join(part))?;
        }
        Ok(Scratch { folder, _lock: lock })
    }

    /// The folder for the output files of commands.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// A fresh folder for result files, writable by commands.
    pub fn results(&self) -> Result<PathBuf> {
        let folder = tempfile::Builder::new().prefix("r").tempdir_in(self.folder.join("results"))?.keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
        Ok(folder)
    }
}

impl Scratch {
    /// Empties a folder for result files.
    pub fn empty(&self, results: &Path) -> Result<()> {
        remove(results)?;
        fs::create_dir(results)?;
        Ok(fs::set_permissions(results, fs::Permissions::from_mode(0o777))?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next run.
        let _ = remove(&self.folder);
    }
}

/// Removes the scratch folders in `cache` that nobody holds the lock of.
fn sweep(cache: &Path) {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("run-")) {
        // One without a lock was left before it had one: nobody makes another meanwhile.
        let abandoned = match fs::File::open(entry.path().join("lock")) {
            Ok(lock) => lock.try_lock().is_ok(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if abandoned {
            let _ = remove(&entry.path());
        }
    }
}
