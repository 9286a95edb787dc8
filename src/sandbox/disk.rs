//! How much a command has written. Looking at every file costs time, so the disk is asked first, which answers at
//! once for everybody on the machine; only when it fills are the command's own files counted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The disk that one command may fill.
#[derive(Debug)]
pub struct Disk {
    most: u64,
    /// Bytes that were in its folders before, as estimated when they were first counted.
    before: Option<u64>,
    folders: Vec<PathBuf>,
    /// Bytes that were free when its files were last counted.
    free: u64,
}

/// Files that are counted at most: what has more of them is stopped by its other limits.
const FILES: usize = 2_000_000;

impl Disk {
    /// Allows `most` bytes more in `folders` than there are now, and never the last tenth of what is free.
    pub fn new(most: u64, folders: &[PathBuf]) -> Disk {
        let free = free(folders);
        Disk { most: most.min(free / 10 * 9), before: None, folders: folders.to_vec(), free }
    }

    /// Whether the command has written more than it may.
    pub fn is_full(&mut self) -> bool {
        let free = free(&self.folders);
        let taken = self.free.saturating_sub(free);
        if taken < self.most / 8 {
            return false;
        }
        self.free = free;
        let mut left = FILES;
        let bytes: u64 = self.folders.iter().map(|folder| bytes_below(folder, &mut left)).sum();
        let before = *self.before.get_or_insert(bytes.saturating_sub(taken));
        bytes.saturating_sub(before) > self.most
    }
}

/// Bytes that are free where the first folder lies.
fn free(folders: &[PathBuf]) -> u64 {
    let Some(folder) = folders.first() else { return u64::MAX };
    nix::sys::statvfs::statvfs(folder)
        .map_or(u64::MAX, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()))
}

fn bytes_below(folder: &Path, left: &mut usize) -> u64 {
    let mut sum = 0u64;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Some(rest) = left.checked_sub(1) else { return sum };
            *left = rest;
            let Ok(data) = entry.metadata() else { continue };
            // In blocks of 512 bytes, whatever the disk's own are.
            sum = sum.saturating_add(data.blocks().saturating_mul(512));
            if data.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    sum
}
