//! A unit is done in a folder of its own, whose ledger lets a killed one go on where it was, so that no answer is paid
//! for twice; when it has ended the folder is moved to the results, and the first one there stands.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::money::{Call, Money};
use super::plan::Earlier;
use super::scripted::{self, Scripted};
use super::set::Opened;
use super::{Bench, FAULTS, Line, RESULTS, WORK};
use crate::budget::Spent;
use crate::fix::{self, Run};
use crate::ledger::{self, Ledger};
use crate::policy;
use crate::propose::replay::Replay;
use crate::propose::{Answer, Ask, Prompt, Proposal, Proposer};
use crate::record::{self, Cause, Event, Outcome, Record};
use crate::repair::grammar::Grammars;
use crate::toolchain::Suite;
use crate::verify::{HeldOut, Verifier};
use crate::workspace::Scratch;

/// How a unit ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// Its result stood already.
    Stood,
    /// Its result stands now.
    Stored {
        /// Whether the task was solved.
        solved: bool,
    },
    /// A fault of the environment; another try may help.
    Fault {
        /// What happened.
        reason: String,
    },
    /// No try will help: the task is not what it must be.
    Refused {
        /// Why.
        reason: String,
    },
    /// What the unit may cost is not to be had any more.
    NoMoney,
}

/// A unit that was done, and is still to be stored.
pub struct Done<'a> {
    /// Which.
    pub line: &'a Line,
    /// How it ended.
    pub end: End,
    /// Nothing is to be stored without it.
    hold: Option<Hold>,
    /// What goes away with this.
    _scratch: Vec<Scratch>,
}

/// Does a unit, unless its result stands, and stores its result. `Err` means that the run's folder cannot be used.
pub fn run(bench: &Bench, line: &Line) -> Result<End> {
    let done = work(bench, line)?;
    store(bench, std::slice::from_ref(&done))?;
    Ok(done.end)
}

/// Does a unit, unless its result stands.
pub fn work<'a>(bench: &Bench, line: &'a Line) -> Result<Done<'a>> {
    let without = |end: End| Done { line, end, hold: None, _scratch: Vec::new() };
    if bench.stands(line) {
        return Ok(without(End::Stood));
    }
    let work = bench.folder.join(WORK).join(line.key.as_str());
    let hold = Hold::take(work.with_extension("lock"));
    if bench.stands(line) {
        // Whoever was at it has finished it meanwhile.
        return Ok(without(End::Stood));
    }
    let (hold, mut ledger) = match hold.and_then(|hold| Ok((hold, begin(&work)?))) {
        Ok(begun) => begun,
        Err(error) => return Ok(without(End::Fault { reason: format!("{error:#}") })),
    };
    let mut scratch = Vec::new();
    let settings = &bench.lock.settings;
    let asks = settings.regrades.is_none() && asks(&line.model);
    if !asks {
        ledger.leave_unsynced();
    }
    let worked = if outcome_of(&ledger.records).is_some() {
        // It was killed before its result was moved.
        Ok(ledger.records)
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work_on(bench, line, ledger, &mut scratch))
    };
    let end = match worked {
        Ok(records) => judged(&records, &line.model, asks),
        Err(Stop::Money) => End::NoMoney,
        Err(Stop::Fault(error)) => End::Fault { reason: format!("{error:#}") },
    };
    Ok(Done { line, end, hold: Some(hold), _scratch: scratch })
}

/// Stores results and notes faults of units. The disk is waited for once for all of them.
pub fn store(bench: &Bench, units: &[Done]) -> Result<()> {
    let results = bench.folder.join(RESULTS);
    let mut published = false;
    for unit in units.iter().filter(|unit| unit.hold.is_some()) {
        let key = unit.line.key.as_str();
        let work = bench.folder.join(WORK).join(key);
        match &unit.end {
            End::Stood => {}
            // With more money it can go on.
            End::NoMoney => forget_last(&work.join(ledger::FILE))?,
            End::Stored { .. } => {
                publish(&work, &results, key)?;
                published = true;
            }
            End::Fault { reason } | End::Refused { reason } => {
                note_fault(&bench.folder.join(FAULTS).join(key), &work, reason)?;
            }
        }
    }
    if published { sync(&results) } else { Ok(()) }
}

/// The right to do a unit, which one process at a time has, until its result stands or its fault is noted.
struct Hold {
    place: PathBuf,
    _file: File,
}

impl Hold {
    fn take(place: PathBuf) -> Result<Hold> {
        let file = File::options().create(true).truncate(false).write(true).open(&place);
        let file = file.with_context(|| format!("failed to open {}", place.display()))?;
        file.try_lock().context("another process is at it")?;
        // Whoever had it before has removed the file: what was locked may be another one than all others will lock.
        let (ours, named) = (file.metadata()?.ino(), place.metadata().map(|named| named.ino()));
        ensure!(named.is_ok_and(|named| named == ours), "another process has just been at it");
        Ok(Hold { place, _file: file })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.place);
    }
}

/// Why a unit stopped without an outcome.
enum Stop {
    /// The bench has no money for its next call.
    Money,
    /// Anything else.
    Fault(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Stop {
        Stop::Fault(error)
    }
}

/// The unit's ledger, new or to go on with.
fn begin(work: &Path) -> Result<Ledger> {
    let file = work.join(ledger::FILE);
    if !file.exists() {
        return Ledger::create(work);
    }
    let ledger = Ledger::resume(work)?;
    match ledger.records.last().map(|record| &record.event) {
        // A free call whose answer a kill has swallowed is made again, and must not count as an attempt.
        Some(Event::Asked { most, .. }) if *most == Spent::default() => {
            forget_last(&file)?;
            drop(ledger);
            Ledger::resume(work)
        }
        _ => Ok(ledger),
    }
}

fn outcome_of(records: &[Record]) -> Option<&Outcome> {
    match &records.last()?.event {
        Event::Ended { outcome, .. } => Some(outcome),
        _ => None,
    }
}

/// `scratch` gets what is still to be removed: that need not be waited for.
async fn work_on(
    bench: &Bench,
    line: &Line,
    mut ledger: Ledger,
    scratch: &mut Vec<Scratch>,
) -> Result<Vec<Record>, Stop> {
    let say = |_: &str| {};
    let settings = &bench.lock.settings;
    let entry = bench.set.task(&line.task).with_context(|| format!("the set has no task {}", line.task));
    let mut opened = entry?.open(&bench.door).await?;
    opened.task.budget = settings.budget.clone();
    let mut verifier = (bench.door.open)(opened.task.clone(), &opened.beside, &say)?;
    verifier.held_out.clone_from(&opened.held_out);
    head(line, &verifier, &mut ledger)?;
    let inner = proposer(bench, line, &opened, &verifier, answers(&ledger.records)).await?;
    let broke = Rc::new(Cell::new(false));
    let unit = line.key.as_str().to_owned();
    let metered = Metered { inner, money: bench.money.clone(), unit, broke: broke.clone() };
    let mut run = Run {
        verifier,
        proposers: vec![Box::new(metered)],
        templates: bench.door.templates.clone(),
        budget: settings.budget.clone(),
        withhold: 0.0,
        grammars: Grammars::load(bench.door.harness.as_deref())?,
        // How strong the tests are is for `validate` to ask, once a task and not once a unit.
        mutants: 0,
        stakes: None,
        ledger,
        watch: &|_| {},
        say: &say,
    };
    let fixed = fix::fix(&mut run).await;
    let Run { verifier, ledger, .. } = run;
    scratch.push(verifier.workshop.scratch);
    match fixed {
        Ok(_) => Ok(ledger.records),
        Err(_) if broke.get() => Err(Stop::Money),
        Err(error) => Err(Stop::Fault(error)),
    }
}

/// Writes how the unit began, or that it goes on.
fn head(line: &Line, verifier: &Verifier, ledger: &mut Ledger) -> Result<()> {
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let snapshot = &verifier.workshop.snapshot;
    let suites = verifier.suites.iter().map(Suite::label).collect();
    let held_out = verifier.held_out.as_ref().map(HeldOut::tree).transpose()?;
    let based = Event::Based { tree: snapshot.tree.clone(), files: snapshot.files, suites, held_out };
    let known = ledger.records.iter().find(|record| matches!(record.event, Event::Based { .. }));
    if let Some(known) = known {
        if known.event != based {
            bail!("the task's repository has changed since the unit began");
        }
        return ledger.write(Event::Resumed { time });
    }
    if ledger.records.is_empty() {
        ledger.write(Event::Started {
            format: record::FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: line.key.as_str().to_owned(),
            time,
            task: verifier.task.open(),
            arguments: Vec::new(),
            folder: String::new(),
            models: vec![line.model.clone()],
            sandbox: verifier.sandbox.level.to_string(),
        })?;
    }
    ledger.write(based)
}

/// How many answers a unit had before it was killed.
fn answers(records: &[Record]) -> usize {
    records.iter().filter(|record| matches!(record.event, Event::Replied { .. })).count()
}

async fn proposer(
    bench: &Bench,
    line: &Line,
    opened: &Opened,
    verifier: &Verifier,
    answers: usize,
) -> Result<Box<dyn Proposer>> {
    let settings = &bench.lock.settings;
    if let Some(earlier) = &bench.earlier {
        return Ok(Box::new(recorded(earlier, line, answers)?));
    }
    if !scripted::is_scripted(&line.model) {
        return (bench.door.make)(&line.model, answers);
    }
    let seed = scripted::seed(settings.seed, &line.task, line.sample);
    let harness = bench.door.harness.as_deref();
    Ok(Box::new(Scripted::new(&line.model, opened, verifier, &settings.rates, seed, answers, harness).await?))
}

/// The answers that a unit of an earlier run had, under the name of who gave them.
fn recorded(earlier: &Earlier, line: &Line, answers: usize) -> Result<Replay> {
    let place = earlier.key(line).map(|key| earlier.run.join(RESULTS).join(key.as_str()));
    let place = place.filter(|place| place.join(ledger::FILE).is_file());
    let place =
        place.with_context(|| format!("{} has no result of it to judge again", earlier.run.display()))?;
    let mut replay = Replay::named(&line.model, &place)?;
    replay.skip(answers);
    Ok(replay)
}

/// What an outcome is to a bench.
fn judged(records: &[Record], model: &str, asks: bool) -> End {
    let fault = |reason: String| End::Fault { reason };
    match outcome_of(records) {
        None => fault("the unit did not end".to_owned()),
        Some(Outcome::Green { .. }) => End::Stored { solved: true },
        Some(Outcome::OutOfBudget { .. }) => End::Stored { solved: false },
        Some(Outcome::AlreadyGreen { .. }) => {
            End::Refused { reason: "nothing fails on the base: there is no task".to_owned() }
        }
        Some(Outcome::Unsolved { reason, .. }) => match silent(records, model).filter(|_| asks) {
            Some(why) => fault(format!("{reason}: {why}")),
            None => End::Stored { solved: false },
        },
        Some(Outcome::NotFixable { cause, detail, .. }) => match cause {
            Cause::ToolchainMissing | Cause::SetupFailed | Cause::DiskFull | Cause::NetworkNeeded => {
                fault(detail.clone())
            }
            Cause::Flaky | Cause::NoTests | Cause::SecretMissing | Cause::TargetsUnknown => {
                End::Refused { reason: detail.clone() }
            }
        },
    }
}

/// Whether anybody outside is asked: what answers here cannot fail to.
fn asks(model: &str) -> bool {
    model != "repair" && !model.starts_with("replay:") && !scripted::is_scripted(model)
}

/// Why a model did not answer at all, or ceased to: that is no failure to solve the task.
fn silent(records: &[Record], model: &str) -> Option<String> {
    let attempts = policy::attempts(records);
    let answered = attempts.iter().any(|attempt| attempt.declined.is_none() || attempt.spent.tokens() > 0);
    let last = records.iter().rev().find_map(|record| match &record.event {
        Event::Declined { permanent, reason, .. } => Some((*permanent, reason.clone())),
        Event::Replied { .. } => Some((false, String::new())),
        _ => None,
    });
    let (permanent, reason) = last?;
    (permanent || !answered && !model.starts_with("command:")).then_some(reason)
}

/// Moves a finished unit to the results, which are still to be synced. The first one there stands.
fn publish(work: &Path, results: &Path, name: &str) -> Result<()> {
    sync(&work.join(ledger::FILE))?;
    sync(work)?;
    match std::fs::rename(work, results.join(name)) {
        Ok(()) => Ok(()),
        // A folder that holds something is not replaced.
        Err(_) if results.join(name).join(ledger::FILE).is_file() => Ok(std::fs::remove_dir_all(work)?),
        Err(error) => Err(error).with_context(|| format!("failed to store {}", results.join(name).display())),
    }
}

/// Makes what was written in a file, or made, renamed or removed in a folder, last.
pub(super) fn sync(place: &Path) -> Result<()> {
    let synced = File::open(place).and_then(|opened| opened.sync_all());
    synced.with_context(|| format!("failed to sync {}", place.display()))
}

/// A fault, as it is noted.
#[derive(Serialize, Deserialize)]
struct Noted {
    reason: String,
}

const NOTE: &str = "fault.json";

/// Notes a fault and keeps what the unit has left, out of the way of the next try.
fn note_fault(folder: &Path, work: &Path, reason: &str) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let tries = std::fs::read_dir(folder)?.flatten().filter(|entry| entry.path().is_dir()).count();
    std::fs::create_dir_all(work)?;
    let note = Noted { reason: crate::text::clip(reason, 4000).into_owned() };
    std::fs::write(work.join(NOTE), serde_json::to_string(&note)? + "\n")?;
    let kept = folder.join(format!("{:04}", tries + 1));
    std::fs::rename(work, &kept).with_context(|| format!("failed to note a fault in {}", kept.display()))?;
    sync(folder)
}

/// Why the last try met a fault.
pub(super) fn last_fault(folder: &Path) -> Option<String> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let text = std::fs::read_to_string(entries.max()?.join(NOTE)).ok()?;
    Some(serde_json::from_str::<Noted>(&text).ok()?.reason)
}

/// Forgets the last line of a ledger, which says that a call was about to be made: it was not.
fn forget_last(file: &Path) -> Result<()> {
    let content = std::fs::read(file)?;
    let whole = content
        .strip_suffix(
            b"
",
        )
        .unwrap_or(&content);
    let end = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let file = std::fs::OpenOptions::new().write(true).open(file)?;
    file.set_len(end as u64)?;
    Ok(file.sync_all()?)
}

/// A proposer whose calls are reserved and settled in the bench's money ledger.
struct Metered {
    inner: Box<dyn Proposer>,
    money: Arc<Money>,
    unit: String,
    broke: Rc<Cell<bool>>,
}

impl Metered {
    /// Reserves the most that a call can cost; a free call needs no money. Fails when there is not so much left.
    fn reserve(&self, prompt: &Prompt) -> Result<Option<Call>> {
        let most = self.inner.most(prompt)?.usd;
        if most <= 0.0 {
            return Ok(None);
        }
        let call = self.money.reserve(&self.unit, most)?;
        self.broke.set(call.is_none());
        call.map(Some).context("the money of the whole bench is spent (--total-usd)")
    }
}

impl Proposer for Metered {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn context(&self) -> Option<u64> {
        self.inner.context()
    }

    fn most(&self, prompt: &Prompt) -> Result<Spent> {
        self.inner.most(prompt)
    }

    fn propose<'a>(&'a mut self, ask: &'a Ask<'a>) -> Answer<'a> {
        Box::pin(async move {
            let call = self.reserve(ask.prompt)?;
            let proposal = self.inner.propose(ask).await?;
            let spent = match &proposal {
                Proposal::Reply { spent, .. }
                | Proposal::Edits { spent, .. }
                | Proposal::Nothing { spent, .. } => spent.usd,
            };
            if let Some(call) = &call {
                self.money.settle(call, spent)?;
            } else if spent > 0.0 {
                // An agent that was thought to be free.
                self.money.note(&self.unit, spent)?;
            }
            Ok(proposal)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_result_stands() {
        let folder = tempfile::tempdir().unwrap();
        let (results, work) = (folder.path().join("results"), folder.path().join("work"));
        std::fs::create_dir(&results).unwrap();
        for text in ["first", "second"] {
            std::fs::create_dir(&work).unwrap();
            std::fs::write(work.join(ledger::FILE), text).unwrap();
            publish(&work, &results, "unit").unwrap();
            assert!(!work.exists());
            assert_eq!(std::fs::read_to_string(results.join("unit").join(ledger::FILE)).unwrap(), "first");
        }
    }

    #[test]
    fn a_unit_is_held_by_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("unit.lock");
        let hold = Hold::take(place.clone()).unwrap();
        assert!(Hold::take(place.clone()).is_err());
        drop(hold);
        assert!(!place.exists());
        let _hold = Hold::take(place).unwrap();
    }
}
