//! A plan says which units a run consists of, and pins what their results depend on. It is frozen once, in two
//! files: `lock.json` and `plan.jsonl`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hex;
use super::scripted::Rates;
use super::set::Set;
use crate::budget::Budget;
use crate::harness;

/// The format number of plans.
pub const FORMAT: u32 = 1;

const LOCK: &str = "lock.json";
const PLAN: &str = "plan.jsonl";

/// What a run was asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the set is.
    pub set: String,
    /// Where mirrors of repositories are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirrors: Option<String>,
    /// The proposers that are compared.
    pub models: Vec<String>,
    /// Units of one task and one model.
    pub samples: u32,
    /// Decides what the scripted proposers do.
    pub seed: u64,
    /// What one unit may spend.
    pub budget: Budget,
    /// What all units together may spend.
    pub total_usd: f64,
    /// What `oracle-noise` answers how often.
    pub rates: Rates,
    /// The run whose answers are judged again, if this is no run of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regrades: Option<String>,
    /// Further arguments that proposers, sandbox and verifier depend on, as they were given.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// What results depend on, as SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// regreen's version.
    pub version: String,
    /// The program.
    pub binary: String,
    /// The tasks.
    pub set: String,
    /// The prompts.
    pub prompts: String,
    /// The toolchains' profiles.
    pub profiles: String,
    /// The prices.
    pub prices: String,
}

impl Pins {
    /// What they are now, given the program's hash.
    pub fn now(set: &Set, binary: String, harness: Option<&Path>) -> Result<Pins> {
        Ok(Pins {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            binary,
            set: set.hash(),
            prompts: folder(harness, "prompts", "md")?,
            profiles: folder(harness, "toolchains", "toml")?,
            prices: folder(harness, "", "toml")?,
        })
    }

    /// What is not the same.
    pub fn differences(&self, other: &Pins) -> Vec<&'static str> {
        let pairs = [
            ("the program's version", &self.version, &other.version),
            ("the program", &self.binary, &other.binary),
            ("the set", &self.set, &other.set),
            ("the prompts", &self.prompts, &other.prompts),
            ("the toolchains", &self.profiles, &other.profiles),
            ("prices and ladder", &self.prices, &other.prices),
        ];
        pairs.iter().filter(|(_, one, other)| one != other).map(|(what, ..)| *what).collect()
    }
}

/// The program's own SHA-256.
pub fn binary() -> Result<String> {
    // While it runs it stays what it is, and it is large.
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known.clone());
    }
    let mut hasher = Sha256::new();
    super::feed(Path::new("/proc/self/exe"), &mut hasher).context("failed to read the program itself")?;
    Ok(KNOWN.get_or_init(|| hex(&hasher.finalize())).clone())
}

fn folder(overrides: Option<&Path>, name: &str, extension: &str) -> Result<String> {
    let mut hasher = Sha256::new();
    for file in harness::files(overrides, name, extension)? {
        hasher.update(format!("{}\0{}\0{}", file.stem, file.text.len(), file.text));
    }
    Ok(hex(&hasher.finalize()))
}

/// What a run is frozen to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`FORMAT`].
    pub format: u32,
    /// What was asked.
    pub settings: Settings,
    /// What results depend on.
    pub pins: Pins,
    /// How many units there are.
    pub units: usize,
}

/// What names a unit: SHA-256 over all that its result depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Key(String);

impl Key {
    /// As text: hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = String;
    fn try_from(text: String) -> Result<Key, String> {
        // It names a folder.
        let fits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then_some(Key(text)).ok_or_else(|| "a unit's key has 64 hexadecimal digits".to_owned())
    }
}

/// A unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Its place in the plan, from 0.
    pub index: usize,
    /// What its result depends on.
    pub key: Key,
    /// The task.
    pub task: String,
    /// The task's content, as SHA-256.
    pub hash: String,
    /// The proposer.
    pub model: String,
    /// Which of the units of this task and model, from 1.
    pub sample: u32,
}

/// The run whose answers are judged again, and what its units are called there.
#[derive(Debug)]
pub struct Earlier {
    /// Its folder.
    pub run: PathBuf,
    keys: HashMap<(String, String, u32), Key>,
}

impl Earlier {
    /// Reads its plan.
    pub fn read(run: &Path) -> Result<Earlier> {
        Ok(Earlier::of(run, read(run)?.1))
    }

    fn of(run: &Path, lines: impl IntoIterator<Item = Line>) -> Earlier {
        let keys = lines.into_iter().map(|line| ((line.task, line.model, line.sample), line.key)).collect();
        Earlier { run: run.to_owned(), keys }
    }

    /// The unit of the same task, model and sample.
    pub fn key(&self, line: &Line) -> Option<&Key> {
        self.keys.get(&(line.task.clone(), line.model.clone(), line.sample))
    }
}

/// The units of a set, breadth first: every task once before any task twice.
fn lines(set: &Set, settings: &Settings, pins: &Pins) -> Result<Vec<Line>> {
    let earlier = settings.regrades.as_deref().map(|run| Earlier::read(Path::new(run))).transpose()?;
    let mut lines = Vec::new();
    for sample in 1..=settings.samples {
        for task in &set.tasks {
            for model in &settings.models {
                let mut depends = serde_json::json!({
                    "format": FORMAT, "task": task.id, "hash": task.hash, "model": model, "sample": sample,
                    "seed": settings.seed, "budget": settings.budget, "rates": settings.rates,
                    "arguments": settings.arguments, "binary": pins.binary, "prompts": pins.prompts,
                    "profiles": pins.profiles, "prices": pins.prices,
                });
                let (task, hash) = (task.id.clone(), task.hash.clone());
                let key = Key(String::new());
                let mut line = Line { index: lines.len(), key, task, hash, model: model.clone(), sample };
                if let Some(earlier) = &earlier {
                    depends["regrades"] = serde_json::to_value(earlier.key(&line))?;
                }
                line.key = Key(hex(&Sha256::digest(serde_json::to_vec(&depends)?)));
                lines.push(line);
            }
        }
    }
    Ok(lines)
}

/// Freezes a plan in `folder`, which must not hold one yet.
pub fn freeze(folder: &Path, set: &Set, settings: Settings, harness: Option<&Path>) -> Result<Lock> {
    std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let pins = Pins::now(set, binary()?, harness)?;
    let lines = lines(set, &settings, &pins)?;
    let lock = Lock { format: FORMAT, settings, pins, units: lines.len() };
    let mut text = Vec::new();
    for line in &lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    write(folder, PLAN, &text)?;
    // Last, because it says that the plan is whole.
    write(folder, LOCK, format!("{}\n", serde_json::to_string_pretty(&lock)?).as_bytes())?;
    Ok(lock)
}

/// Writes a file that appears at once and is never replaced.
fn write(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(folder.join(name)).with_context(|| {
        format!("{} is there already; plan in another folder", folder.join(name).display())
    })?;
    super::unit::sync(folder)
}

/// Reads what a plan was frozen to.
pub fn lock(folder: &Path) -> Result<Lock> {
    let place = folder.join(LOCK);
    let text = std::fs::read_to_string(&place)
        .with_context(|| format!("failed to read {}: `regreen bench plan` makes one", place.display()))?;
    let lock: Lock =
        serde_json::from_str(&text).with_context(|| format!("{} is no lock file", place.display()))?;
    ensure!(
        lock.format == FORMAT,
        "{} has format {}; this regreen reads {FORMAT}",
        place.display(),
        lock.format
    );
    Ok(lock)
}

/// Reads a plan.
pub fn read(folder: &Path) -> Result<(Lock, Vec<Line>)> {
    let lock = lock(folder)?;
    let place = folder.join(PLAN);
    let file = File::open(&place).with_context(|| format!("failed to read {}", place.display()))?;
    let mut lines = Vec::with_capacity(lock.units.min(1 << 20));
    for (at, text) in BufReader::new(file).lines().enumerate() {
        let line: Line = serde_json::from_str(&text?)
            .with_context(|| format!("{}:{} is no unit", place.display(), at + 1))?;
        ensure!(line.index == at, "{}:{} is out of place", place.display(), at + 1);
        lines.push(line);
    }
    ensure!(lines.len() == lock.units, "{} is not the plan that the lock was made for", place.display());
    Ok((lock, lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_run_knows_its_units_by_task_model_and_sample() {
        let key = |digit: &str| Key::try_from(digit.repeat(64)).unwrap();
        let line = |digit: &str, task: &str, sample: u32| Line {
            index: 0,
            key: key(digit),
            task: task.to_owned(),
            hash: String::new(),
            model: "gold".to_owned(),
            sample,
        };
        let units = [line("a", "one", 1), line("b", "one", 2), line("c", "two", 1)];
        let earlier = Earlier::of(Path::new("run"), units);
        assert_eq!(earlier.key(&line("0", "one", 2)), Some(&key("b")));
        assert_eq!(earlier.key(&line("0", "two", 2)), None);
        assert_eq!(earlier.key(&Line { model: "empty".to_owned(), ..line("a", "one", 1) }), None);
    }
}
