//! The money ledger of a bench: one append-only file over all of its units and processes. What a call can cost at
//! most is reserved before it, and settled after it; a reservation that was never settled counts in full, because
//! nobody knows what the call has cost.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

const FILE: &str = "money.jsonl";

/// The money ledger.
#[derive(Debug)]
pub struct Money {
    path: PathBuf,
    most: f64,
    book: Mutex<Book>,
}

/// What was read of the file so far.
#[derive(Debug)]
struct Book {
    file: File,
    /// Where the lines that are not read yet begin.
    read: u64,
    settled: f64,
    /// Reservations that are not settled.
    reserved: BTreeMap<String, f64>,
}

/// Dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    /// Settled.
    pub spent: f64,
    /// Reserved by calls that are under way or were lost.
    pub reserved: f64,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// Which call.
    call: String,
    /// Whose: the unit's key.
    unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reserve: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settle: Option<f64>,
}

/// A reservation.
#[derive(Debug)]
pub struct Call {
    id: String,
    unit: String,
}

impl Money {
    /// Opens the ledger in a run's folder, of which at most `most` dollars may be spent.
    pub fn open(folder: &Path, most: f64) -> Result<Money> {
        let path = folder.join(FILE);
        let file = OpenOptions::new().create(true).append(true).read(true).open(&path);
        let file = file.with_context(|| format!("failed to open {}", path.display()))?;
        let book = Book { file, read: 0, settled: 0.0, reserved: BTreeMap::new() };
        let money = Money { path, most, book: Mutex::new(book) };
        money.book().catch_up().with_context(|| format!("failed to read {}", money.path.display()))?;
        Ok(money)
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was spent so far, as far as this process knows.
    pub fn total(&self) -> Total {
        let book = self.book();
        Total { spent: book.settled, reserved: book.reserved.values().sum() }
    }

    /// Reserves what a call of a unit can cost at most; `None` when that is not to be had any more.
    pub fn reserve(&self, unit: &str, usd: f64) -> Result<Option<Call>> {
        let mut book = self.book();
        // Whoever else writes here waits, so that two cannot both take the last dollar.
        book.file.lock()?;
        let taken = book.reserve(unit, usd, self.most);
        book.file.unlock()?;
        taken.with_context(|| format!("failed to write {}", self.path.display()))
    }

    /// Says what something has cost that nothing was reserved for.
    pub fn note(&self, unit: &str, usd: f64) -> Result<()> {
        let call = Call { id: "unreserved".to_owned(), unit: unit.to_owned() };
        self.settle(&call, usd)
    }

    /// Says what a call has cost.
    pub fn settle(&self, call: &Call, usd: f64) -> Result<()> {
        let mut book = self.book();
        let line = Line { call: call.id.clone(), unit: call.unit.clone(), reserve: None, settle: Some(usd) };
        book.file.lock()?;
        let written = book.catch_up().and_then(|()| book.write(&line)).and_then(|()| book.catch_up());
        book.file.unlock()?;
        written.with_context(|| format!("failed to write {}", self.path.display()))
    }
}

impl Book {
    fn reserve(&mut self, unit: &str, usd: f64, most: f64) -> Result<Option<Call>> {
        self.catch_up()?;
        if self.settled + self.reserved.values().sum::<f64>() + usd > most {
            return Ok(None);
        }
        let mut salt = [0; 12];
        getrandom::fill(&mut salt).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let call = Call { id: super::hex(&salt), unit: unit.to_owned() };
        self.write(&Line { call: call.id.clone(), unit: unit.to_owned(), reserve: Some(usd), settle: None })?;
        self.catch_up()?;
        Ok(Some(call))
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        // What a crash cut off must not swallow this line.
        let end = self.file.seek(SeekFrom::End(0))?;
        if end > self.read {
            text.insert(0, b'\n');
        }
        self.file.write_all(&text)?;
        Ok(self.file.sync_data()?)
    }

    /// Reads what was written since.
    fn catch_up(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(self.read))?;
        let mut reader = BufReader::new(&self.file);
        let (mut line, mut read, mut lines) = (Vec::new(), self.read, Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 && line.last() == Some(&b'\n') {
            read += line.len() as u64;
            // A line that a crash cut off says nothing: its call was not made before it was whole.
            lines.extend(serde_json::from_slice::<Line>(&line).ok());
            line.clear();
        }
        self.read = read;
        for line in lines {
            if let Some(usd) = line.reserve {
                self.reserved.insert(line.call.clone(), usd);
            }
            if let Some(usd) = line.settle {
                self.reserved.remove(&line.call);
                self.settled += usd;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_cannot_both_take_the_last_dollar() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) =
            (Money::open(folder.path(), 1.0).unwrap(), Money::open(folder.path(), 1.0).unwrap());
        let call = one.reserve("a", 0.7).unwrap().unwrap();
        assert!(other.reserve("b", 0.7).unwrap().is_none());
        one.settle(&call, 0.1).unwrap();
        assert!(other.reserve("b", 0.7).unwrap().is_some());
        // The second call is never settled, and counts in full.
        let again = Money::open(folder.path(), 1.0).unwrap();
        let total = again.total();
        assert!((total.spent - 0.1).abs() < 1e-9 && (total.reserved - 0.7).abs() < 1e-9, "{total:?}");
        assert!(again.reserve("c", 0.3).unwrap().is_none());
    }

    #[test]
    fn a_line_that_a_crash_cut_off_swallows_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), b"{\"call\":\"x\",\"un").unwrap();
        let money = Money::open(folder.path(), 1.0).unwrap();
        let call = money.reserve("a", 0.5).unwrap().unwrap();
        money.settle(&call, 0.25).unwrap();
        let total = Money::open(folder.path(), 1.0).unwrap().total();
        assert_eq!(total, Total { spent: 0.25, reserved: 0.0 });
    }
}
