//! The ledger is the append-only file of a run, one record a line, synced before the next step. This module
//! writes and reads it; what the records mean is `record`'s word.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::record::{Event, FORMAT, Record};

/// The name of the ledger file in a run's folder.
pub const FILE: &str = "ledger.jsonl";

/// An open ledger, locked against a second writer.
pub struct Ledger {
    file: File,
    path: PathBuf,
    /// All records so far, the earlier ones of a resumed run included.
    pub records: Vec<Record>,
    start: Instant,
    before: f64,
    synced: bool,
}

impl Ledger {
    /// Makes the ledger of a new run in `folder`, which is made if need be.
    pub fn create(folder: &Path) -> Result<Ledger> {
        std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        let path = folder.join(FILE);
        let file = OpenOptions::new().create_new(true).append(true).read(true).open(&path);
        Ledger::lock(file.with_context(|| format!("failed to create {}", path.display()))?, path, Vec::new())
    }

    /// Opens the ledger of an earlier run to go on with it. A last line that was cut off by a crash is dropped.
    pub fn resume(folder: &Path) -> Result<Ledger> {
        let path = folder.join(FILE);
        let file = OpenOptions::new().append(true).read(true).open(&path);
        let file = file.with_context(|| format!("failed to open {}", path.display()))?;
        // Locked before anything is cut off: the run may still be going.
        let mut ledger = Ledger::lock(file, path, Vec::new())?;
        let (records, whole) = parse(&ledger.file, &ledger.path)?;
        ledger.file.set_len(whole)?;
        ledger.before = records.last().map_or(0.0, |record| record.at);
        ledger.records = records;
        Ok(ledger)
    }

    /// Reads a ledger for showing.
    pub fn read(folder: &Path) -> Result<Vec<Record>> {
        let path = folder.join(FILE);
        // Not blocking: a pipe in its place has no writer.
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path);
        let file = file.with_context(|| format!("failed to open {}", path.display()))?;
        Ok(parse(&file, &path)?.0)
    }

    fn lock(file: File, path: PathBuf, records: Vec<Record>) -> Result<Ledger> {
        file.try_lock()
            .with_context(|| format!("failed to lock {}: is the run still going?", path.display()))?;
        Ok(Ledger { file, path, records, start: Instant::now(), before: 0.0, synced: true })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Seconds since the run began, over all its resumptions.
    pub fn seconds(&self) -> f64 {
        self.before + self.start.elapsed().as_secs_f64()
    }

    /// Seconds since this process took the run up.
    pub fn here(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// [`Ledger::seconds`] as a duration, whatever a ledger from elsewhere says.
    pub fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::try_from_secs_f64(self.seconds()).unwrap_or_default()
    }

    /// From now on records are written and not synced: a killed run loses nothing, a machine without power the last
    /// ones. For runs in which nobody is paid, whose ledger is synced when it is stored.
    pub fn leave_unsynced(&mut self) {
        self.synced = false;
    }

    /// Appends a record and syncs it to the disk.
    pub fn write(&mut self, event: Event) -> Result<()> {
        let record = Record { seq: self.records.len() as u64, at: self.seconds(), event };
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        let sync = || if self.synced { self.file.sync_data() } else { Ok(()) };
        let written = (&self.file).write_all(&line).and_then(|()| sync());
        written.with_context(|| format!("failed to write {}: is the disk full?", self.path.display()))?;
        self.records.push(record);
        Ok(())
    }
}

/// The records of a ledger file and the length of its whole lines.
fn parse(mut file: &File, path: &Path) -> Result<(Vec<Record>, u64)> {
    ensure!(file.metadata()?.is_file(), "{} is not a plain file", path.display());
    file.seek(SeekFrom::Start(0))?;
    let (mut records, mut whole) = (Vec::new(), 0);
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if line.last() != Some(&b'\n') {
            break;
        }
        let record = serde_json::from_slice(&line);
        let number = records.len() + 1;
        records.push(record.with_context(|| format!("{}:{number} is not a ledger record", path.display()))?);
        whole += line.len() as u64;
        line.clear();
    }
    if let Some(Record { event: Event::Started { format, .. }, .. }) = records.first() {
        ensure!(*format == FORMAT, "{} has format {format}; this regreen reads {FORMAT}", path.display());
    }
    Ok((records, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event::SetUp { seconds: 1.5 }
    }

    #[test]
    fn a_ledger_cut_off_by_a_crash_goes_on_after_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::create(folder.path()).unwrap();
        ledger.write(event()).unwrap();
        drop(ledger);
        let path = folder.path().join(FILE);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"seq\":1,\"at\":").unwrap();
        let mut ledger = Ledger::resume(folder.path()).unwrap();
        assert_eq!(ledger.records.len(), 1);
        ledger.write(event()).unwrap();
        assert_eq!(Ledger::read(folder.path()).unwrap().len(), 2);
    }

    #[test]
    fn a_ledger_that_is_left_unsynced_can_be_read_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::create(folder.path()).unwrap();
        ledger.leave_unsynced();
        ledger.write(event()).unwrap();
        assert_eq!(Ledger::read(folder.path()).unwrap(), ledger.records);
    }

    #[test]
    fn a_ledger_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Ledger::create(folder.path()).unwrap();
        assert!(Ledger::resume(folder.path()).is_err());
    }
}
