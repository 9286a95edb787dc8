//! How much a command has written. Looking at every file costs time, so the disk is asked first, which answers at
//! once for everybody on the machine; only when it fills are the command's own files counted.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The disk that one command may fill.
#[derive(Debug)]
pub struct Disk {
    most: u64,
    /// Bytes in its folders when it started.
    before: u64,
    folders: Vec<PathBuf>,
    /// Bytes that were free when it started, and when its files were last counted.
    free: [u64; 2],
}

/// Files that are counted at most, and folders in one another: what has more of them is taken for full.
const FILES: usize = 4_000_000;
const DEEPEST: usize = 128;

impl Disk {
    /// Allows `most` bytes more in `folders` than there are now, and never the last tenth of what is free.
    pub fn new(most: u64, folders: &[PathBuf]) -> Disk {
        let free = free(folders);
        let before = bytes_in(folders).unwrap_or(0);
        Disk { most: most.min(free / 10 * 9), before, folders: folders.to_vec(), free: [free, free] }
    }

    /// Whether the command has written more than it may; or somebody has, and the disk is about to be full: files
    /// that have no name any more cannot be counted.
    pub fn is_full(&mut self) -> bool {
        let (now, [start, counted]) = (free(&self.folders), self.free);
        if now < start / 10 {
            return true;
        }
        if counted.saturating_sub(now) < self.most / 8 {
            return false;
        }
        self.free[1] = now;
        bytes_in(&self.folders).is_none_or(|bytes| bytes.saturating_sub(self.before) > self.most)
    }
}

/// Bytes that are free where the first folder lies.
fn free(folders: &[PathBuf]) -> u64 {
    let Some(folder) = folders.first() else { return u64::MAX };
    nix::sys::statvfs::statvfs(folder)
        .map_or(u64::MAX, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()))
}

/// Bytes in folders; `None` when they cannot be counted.
fn bytes_in(folders: &[PathBuf]) -> Option<u64> {
    let mut left = FILES;
    let mut sum = 0u64;
    let mut open: Vec<(PathBuf, usize)> = folders.iter().map(|folder| (folder.clone(), 0)).collect();
    while let Some((folder, depth)) = open.pop() {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            // Its name is too long, or the command has just removed it, or closed it to everybody.
            Err(error) if error.kind() == ErrorKind::InvalidFilename => return None,
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            left = left.checked_sub(1)?;
            let Ok(data) = entry.metadata() else { continue };
            // In blocks of 512 bytes, whatever the disk's own are.
            sum = sum.saturating_add(data.blocks().saturating_mul(512));
            if data.is_dir() {
                if depth == DEEPEST {
                    return None;
                }
                open.push((entry.path(), depth + 1));
            }
        }
    }
    Some(sum)
}
