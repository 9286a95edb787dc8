//! A bench runs many tasks with many models, and forgets nothing. Its *unit* of work is one task, one model, one
//! *sample*: idempotent, keyed by what it depends on, its result one folder that appears at once. A *plan* is frozen
//! before the first unit runs. Faults of the environment are no results: they are noted apart and tried again.

mod history;
mod mine;
mod money;
mod mutants;
mod plan;
mod scripted;
pub mod set;
mod unit;
mod validate;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::ledger::{self, Ledger};
use crate::process;
use crate::prompt::Templates;
use crate::propose::Proposer;
use crate::record::Record;
use crate::sandbox::Sandbox;
use crate::task::Task;
use crate::verify::{Say, Verifier};

pub use mine::{Asked, Mined, Tally, check as can_mine, journal_of, mine, name_of};
pub use money::{Money, Total};
pub use plan::{Key, Line, Lock, Settings, freeze, lock};
pub use scripted::{Kind as Noise, Rates, is_scripted};
use set::Set;
pub use unit::End;
pub use validate::{Proof, prove};

/// Where results appear, one folder a unit.
const RESULTS: &str = "results";
/// Where units are worked on.
const WORK: &str = "work";
/// Where faults of the environment are noted, one folder a unit.
const FAULTS: &str = "faults";

/// Takes a task's source into a scratch folder, and is ready to judge.
pub type Open = dyn Fn(Task, &Path, Say<'_>) -> Result<Verifier> + Send + Sync;

/// Makes a proposer of this name, which leaves out the answers that a unit had already.
pub type Make = dyn Fn(&str, usize) -> Result<Box<dyn Proposer>> + Send + Sync;

/// The box that runs this image.
pub type Contain = dyn Fn(&str) -> Result<Sandbox> + Send + Sync;

/// What a bench needs of whoever read arguments and environment.
pub struct Door {
    /// How tasks are opened.
    pub open: Box<Open>,
    /// How proposers are made, the scripted ones excepted.
    pub make: Box<Make>,
    /// How containers are made, of tasks that come as images.
    pub contain: Box<Contain>,
    /// What models are told.
    pub templates: Templates,
    /// Where scratch folders are made.
    pub cache: PathBuf,
    /// The harness folder, if one was named.
    pub harness: Option<PathBuf>,
}

/// A frozen plan, and what is needed to run it.
pub struct Bench {
    /// The run's folder.
    pub folder: PathBuf,
    /// What was frozen.
    pub lock: Lock,
    /// The units, breadth first.
    pub lines: Vec<Line>,
    /// The tasks.
    pub set: Set,
    /// What is needed of the outside.
    pub door: Door,
    /// What all units together have spent.
    pub money: Arc<Money>,
    /// The run whose answers are judged again, if this is no run of its own.
    earlier: Option<plan::Earlier>,
}

impl Bench {
    /// Opens a planned run. Fails when anything that its results depend on has changed since it was planned.
    pub fn open(folder: &Path, door: Door) -> Result<Bench> {
        let (lock, lines) = plan::read(folder)?;
        // The program is large, and reading many tasks takes a while too.
        let binary = std::thread::spawn(plan::binary);
        let set = set::read(Path::new(&lock.settings.set), lock.settings.mirrors.as_deref().map(Path::new))?;
        let binary = binary.join().map_err(|_| anyhow::anyhow!("failed to hash the program"))??;
        let now = plan::Pins::now(&set, binary, door.harness.as_deref())?;
        let differences = lock.pins.differences(&now);
        ensure!(
            differences.is_empty(),
            "changed since {} was planned: {}; plan a new run",
            folder.display(),
            differences.join(", ")
        );
        for part in [RESULTS, WORK, FAULTS] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        let money = Arc::new(Money::open(folder, lock.settings.total_usd)?);
        let earlier = lock.settings.regrades.as_deref();
        let earlier = earlier.map(|run| plan::Earlier::read(Path::new(run))).transpose()?;
        Ok(Bench { folder: folder.to_owned(), lock, lines, set, door, money, earlier })
    }

    /// Whether the result of a unit stands.
    pub fn stands(&self, line: &Line) -> bool {
        stands(&self.folder, line)
    }
}

/// The lines of a run that have no result yet. Those that met faults of the environment count as done, unless `retry`.
pub fn open_lines(folder: &Path, lines: &[Line], retry: bool) -> Result<Vec<usize>> {
    let standing = names(&folder.join(RESULTS))?;
    let faulty = names(&folder.join(FAULTS))?;
    let open = |line: &&Line| {
        let key = line.key.as_str();
        // A folder of faults without one was left by a kill.
        let tried = faulty.contains(key) && fault(folder, line).is_some();
        !standing.contains(key) && (retry || !tried)
    };
    Ok(lines.iter().filter(open).map(|line| line.index).collect())
}

/// Whether the result of a unit stands.
pub fn stands(folder: &Path, line: &Line) -> bool {
    folder.join(RESULTS).join(line.key.as_str()).join(ledger::FILE).is_file()
}

/// The lock and the lines of a run.
pub fn read(folder: &Path) -> Result<(Lock, Vec<Line>)> {
    plan::read(folder)
}

/// The records of a unit that has a result.
pub fn records(folder: &Path, line: &Line) -> Result<Option<Vec<Record>>> {
    if !stands(folder, line) {
        return Ok(None);
    }
    Ledger::read(&folder.join(RESULTS).join(line.key.as_str())).map(Some)
}

/// Why the last try of a unit met a fault of the environment.
pub fn fault(folder: &Path, line: &Line) -> Option<String> {
    unit::last_fault(&folder.join(FAULTS).join(line.key.as_str()))
}

/// What is in a folder, which need not be there yet.
fn names(folder: &Path) -> Result<std::collections::BTreeSet<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(std::collections::BTreeSet::new());
        }
        other => other.with_context(|| format!("failed to list {}", folder.display()))?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// How often a unit that met a fault of the environment is tried in one go.
const TRIES: usize = 3;

/// What is told while a bench goes on.
pub struct Told<'a> {
    /// The unit.
    pub line: &'a Line,
    /// How it ended.
    pub end: &'a End,
    /// What all units together have spent.
    pub money: Total,
    /// Whether it will be tried again in this go.
    pub again: bool,
}

/// Runs the lines with `workers` at a time, in order, and those that met faults again at the end. Stops handing out
/// units when the money is spent.
pub fn run(bench: &Bench, lines: &[usize], workers: usize, tell: &(dyn Fn(&Told) + Sync)) -> Result<()> {
    let mut open = lines.to_vec();
    for round in 1..=TRIES {
        open = pass(bench, &open, workers, round < TRIES, tell)?;
        if open.is_empty() {
            break;
        }
    }
    Ok(())
}

/// One go over the lines; those that are to be tried again. Workers go on while the disk takes what they have done.
fn pass(
    bench: &Bench,
    lines: &[usize],
    workers: usize,
    again: bool,
    tell: &(dyn Fn(&Told) + Sync),
) -> Result<Vec<usize>> {
    let (mut faulty, mut broke) = (Vec::new(), false);
    let (done, storing) = sync_channel::<unit::Done>(workers.max(1));
    std::thread::scope(|scope| {
        let keeper = scope.spawn(|| -> Result<()> {
            // Ends when every worker has; one that finds this ended ends, too.
            let storing = storing;
            while let Ok(first) = storing.recv() {
                let units: Vec<unit::Done> = std::iter::once(first).chain(storing.try_iter()).collect();
                unit::store(bench, &units)?;
                for unit in units {
                    let fault = matches!(unit.end, End::Fault { .. });
                    faulty.extend(fault.then_some(unit.line.index));
                    broke |= unit.end == End::NoMoney;
                    let money = bench.money.total();
                    tell(&Told { line: unit.line, end: &unit.end, money, again: again && fault });
                }
            }
            Ok(())
        });
        let worked = side_by_side(lines.len(), workers, &|at| {
            let Some(line) = bench.lines.get(lines[at]) else { return Ok(true) };
            let unit = unit::work(bench, line)?;
            let go_on = unit.end != End::NoMoney;
            Ok(done.send(unit).is_ok() && go_on)
        });
        drop(done);
        let stored = keeper.join().unwrap_or_else(|_| bail!("storing a result panicked"));
        worked.and(stored)
    })?;
    if broke {
        return Ok(Vec::new());
    }
    faulty.sort_unstable();
    Ok(faulty)
}

/// Does `work` for the numbers below `count` with so many workers at a time, in order, each with its share of the
/// processors. Hands out nothing more when one says no or fails; fails as the first that did.
pub fn side_by_side(
    count: usize,
    workers: usize,
    work: &(dyn Fn(usize) -> Result<bool> + Sync),
) -> Result<()> {
    let workers = workers.max(1).min(count);
    let (next, stopped, failed) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(None));
    let one = |worker: usize| {
        // Where the kernel refuses, workers share all of them.
        let _ = process::keep_to_share(worker, workers);
        while !stopped.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            match work(at) {
                Ok(true) => {}
                Ok(false) => stopped.store(true, Ordering::Relaxed),
                Err(error) => {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    stopped.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let one = &one;
            scope.spawn(move || one(worker));
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Runs one line.
pub fn exec(bench: &Bench, line: &Line) -> Result<End> {
    unit::run(bench, line)
}

/// Adds what a file holds to a hash.
fn feed(file: &Path, hasher: &mut Sha256) -> Result<()> {
    use std::io::Read as _;
    let mut opened =
        std::fs::File::open(file).with_context(|| format!("failed to read {}", file.display()))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match opened.read(&mut buffer)? {
            0 => return Ok(()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
