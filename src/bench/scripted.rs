//! Scripted proposers for honest dry runs of a bench: `gold` gives the right answer, `empty` gives none, and
//! `oracle-noise` gives right, partial, wrong, malformed and cheating answers at given rates, from a seed. They know
//! the answer, and so only a bench makes them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::mutants::mutants;
use super::set::Opened;
use crate::budget::Spent;
use crate::edit::Hunks;
use crate::patch::{File, Patch, RepoPath};
use crate::propose::{Answer, Ask, Prompt, Proposal, Proposer};
use crate::verify::{Verifier, given};
use crate::workspace::Snapshot;

const GOLD: &str = "gold";
const EMPTY: &str = "empty";
const NOISE: &str = "oracle-noise";

/// Whether a name is that of a scripted proposer.
pub fn is_scripted(name: &str) -> bool {
    [GOLD, EMPTY, NOISE].contains(&name)
}

/// The seed of a unit's answers.
pub fn seed(seed: u64, task: &str, sample: u32) -> u64 {
    let digest = Sha256::digest(format!("{seed}\0{task}\0{sample}"));
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What an answer of `oracle-noise` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The right answer.
    Correct,
    /// A part of it.
    Partial,
    /// A small edit of the files that it changes.
    Wrong,
    /// Words that ask for an edit that does not fit.
    Malformed,
    /// A patch that reaches for the verifier.
    Cheat,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::Correct, Kind::Partial, Kind::Wrong, Kind::Malformed, Kind::Cheat];

    fn word(self) -> &'static str {
        match self {
            Kind::Correct => "correct",
            Kind::Partial => "partial",
            Kind::Wrong => "wrong",
            Kind::Malformed => "malformed",
            Kind::Cheat => "cheat",
        }
    }

    /// The kind of an answer, by its transcript.
    pub fn of(transcript: &str) -> Option<Kind> {
        let word = transcript.strip_prefix(NOISE)?.strip_prefix(": ")?;
        let word = word.split(|c: char| !c.is_ascii_lowercase()).next()?;
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// How often `oracle-noise` answers what; only the proportions count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    correct: f64,
    partial: f64,
    wrong: f64,
    malformed: f64,
    cheat: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Rates { correct: 0.2, partial: 0.2, wrong: 0.2, malformed: 0.2, cheat: 0.2 }
    }
}

impl Rates {
    /// Reads `correct=0.5,cheat=0.5`; what is not named does not occur.
    pub fn parse(text: &str) -> Result<Rates, String> {
        let mut rates = Rates { correct: 0.0, partial: 0.0, wrong: 0.0, malformed: 0.0, cheat: 0.0 };
        for part in text.split(',') {
            let (name, value) = part.split_once('=').ok_or("rates look like correct=0.5,cheat=0.5")?;
            let kind = Kind::ALL.into_iter().find(|kind| kind.word() == name.trim());
            let kind =
                kind.ok_or_else(|| format!("{name:?} is none of correct, partial, wrong, malformed, cheat"))?;
            let value = value.trim().parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0);
            *rates.place(kind) = value.ok_or_else(|| format!("{part:?} has no rate"))?;
        }
        if Kind::ALL.into_iter().all(|kind| *rates.place(kind) <= 0.0) {
            return Err("all rates are 0".to_owned());
        }
        Ok(rates)
    }

    fn place(&mut self, kind: Kind) -> &mut f64 {
        match kind {
            Kind::Correct => &mut self.correct,
            Kind::Partial => &mut self.partial,
            Kind::Wrong => &mut self.wrong,
            Kind::Malformed => &mut self.malformed,
            Kind::Cheat => &mut self.cheat,
        }
    }

    fn draw(&self, rng: &mut fastrand::Rng) -> Kind {
        let mut rates = self.clone();
        let total: f64 = Kind::ALL.into_iter().map(|kind| *rates.place(kind)).sum();
        let mut left = rng.f64() * total;
        for kind in Kind::ALL {
            left -= *rates.place(kind);
            if left < 0.0 {
                return kind;
            }
        }
        Kind::Correct
    }
}

/// A scripted proposer.
pub struct Scripted {
    name: String,
    gold: Patch,
    cheats: Vec<Patch>,
    rates: Rates,
    seed: u64,
    /// Answers given so far.
    given: usize,
    harness: Option<std::path::PathBuf>,
}

impl Scripted {
    /// A proposer for a task; the first `answers` are left out, which a killed unit had already.
    pub async fn new(
        name: &str,
        opened: &Opened,
        verifier: &Verifier,
        rates: &Rates,
        seed: u64,
        answers: usize,
        harness: Option<&Path>,
    ) -> Result<Scripted> {
        let base = &verifier.workshop.snapshot;
        let gold = match (&opened.answer, name) {
            (_, EMPTY) => Patch::default(),
            (Some(answer), _) => answer.patch(verifier).await?,
            (None, _) => anyhow::bail!("the set does not tell the right answer to {}", opened.task.id),
        };
        let mut cheats = Vec::new();
        if name == NOISE {
            for diff in &opened.cheats {
                cheats.push(given::from_diff(diff, base)?);
            }
        }
        let harness = harness.map(Path::to_owned);
        Ok(Scripted {
            name: name.to_owned(),
            gold,
            cheats,
            rates: rates.clone(),
            seed,
            given: answers,
            harness,
        })
    }

    /// The next answer; `gold` and `empty` have one.
    fn next(&mut self, base: &Snapshot) -> Result<Proposal> {
        let number = self.given;
        self.given += 1;
        if self.name != NOISE {
            if number > 0 {
                return Ok(Proposal::Nothing {
                    reason: format!("{} has given its answer", self.name),
                    spent: Spent::default(),
                    permanent: true,
                });
            }
            return Ok(edits(self.gold.clone(), self.name.clone()));
        }
        let mut rng =
            fastrand::Rng::with_seed(self.seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let kind = self.rates.draw(&mut rng);
        self.noise(kind, base, &mut rng)
    }

    fn noise(&self, kind: Kind, base: &Snapshot, rng: &mut fastrand::Rng) -> Result<Proposal> {
        let (patch, detail) = match kind {
            Kind::Correct => (self.gold.clone(), String::new()),
            Kind::Partial => match self.partial(base, rng) {
                Some(patch) => (patch, String::new()),
                // The right answer has one hunk, of which there is no part.
                None => return self.noise(Kind::Wrong, base, rng),
            },
            Kind::Wrong => (self.wrong(base, rng)?, String::new()),
            Kind::Malformed => return Ok(self.malformed()),
            Kind::Cheat => self.cheat(base, rng)?,
        };
        Ok(edits(patch, format!("{NOISE}: {}{detail}", kind.word())))
    }

    /// The right answer without some of its hunks.
    fn partial(&self, base: &Snapshot, rng: &mut fastrand::Rng) -> Option<Patch> {
        let hunks = Hunks::of(&self.gold, |path| base.file(path).ok().flatten());
        if hunks.len() < 2 {
            return None;
        }
        let mut dropped: BTreeSet<usize> = (0..hunks.len()).filter(|_| rng.bool()).collect();
        if dropped.is_empty() || dropped.len() == hunks.len() {
            dropped = [rng.usize(..hunks.len())].into();
        }
        Some(hunks.without(&dropped)).filter(|patch| !patch.is_empty())
    }

    /// A small edit of a file that the right answer changes.
    fn wrong(&self, base: &Snapshot, rng: &mut fastrand::Rng) -> Result<Patch> {
        for (path, after) in &self.gold.0 {
            let Some(before) = base.file(path)? else { continue };
            let Ok(text) = String::from_utf8(before.content.clone()) else { continue };
            let mut made = mutants(path, &text, &|_| true, self.harness.as_deref())?;
            made.retain(|mutant| after.as_ref().is_none_or(|after| after.content != mutant.as_bytes()));
            if !made.is_empty() {
                let mutant = made.swap_remove(rng.usize(..made.len()));
                let file = File { kind: before.kind, content: mutant.into_bytes() };
                return Ok(Patch([(path.clone(), Some(file))].into()));
            }
        }
        // Of a language without mutants: blank lines at the end of a file, which mend nothing; and where the right answer
        // only makes new files, an empty one in the place of the first.
        for path in self.gold.paths() {
            if let Some(mut file) = base.file(path)? {
                file.content.extend_from_slice(b"\n\n");
                return Ok(Patch([(path.clone(), Some(file))].into()));
            }
        }
        let path = self.gold.paths().next().context("the right answer changes nothing")?;
        Ok(Patch([(path.clone(), Some(File::plain("")))].into()))
    }

    fn malformed(&self) -> Proposal {
        let path = self.gold.paths().next().map_or("nowhere", RepoPath::as_str);
        let text = format!(
            "{NOISE}: malformed\n\n{path}\n<<<<<<< SEARCH\nthis line stands in no file of the base, {}\n=======\nnor does this\n>>>>>>> REPLACE\n",
            self.given
        );
        Proposal::Reply { text, spent: Spent::default() }
    }

    /// A cheat of the task's own, or one of those that fit a file which the right answer changes; where there is none,
    /// failing tests are emptied.
    fn cheat(&self, base: &Snapshot, rng: &mut fastrand::Rng) -> Result<(Patch, String)> {
        if !self.cheats.is_empty() {
            let at = rng.usize(..self.cheats.len());
            return Ok((self.cheats[at].clone(), format!(" (the task's own, {at})")));
        }
        let mut fitting: Vec<(&Cheat, &RepoPath, File)> = Vec::new();
        for path in self.gold.paths() {
            for cheat in CHEATS.iter().filter(|cheat| path.as_str().ends_with(&cheat.ends)) {
                if let Some(file) = base.file(path)? {
                    fitting.push((cheat, path, file));
                }
            }
        }
        let emptied = || -> Result<Patch> {
            let mut patch = Patch::default();
            for path in base.paths()?.into_iter().filter(|path| path.as_str().contains("test")).take(3) {
                patch.0.insert(path, Some(File::plain("")));
            }
            Ok(patch)
        };
        let chosen = rng.usize(..=fitting.len());
        let Some((cheat, path, file)) = fitting.into_iter().nth(chosen) else {
            return Ok((emptied()?, " (tests emptied)".to_owned()));
        };
        Ok((cheat.applied(path, &file)?, format!(" ({})", cheat.name)))
    }
}

fn edits(patch: Patch, transcript: String) -> Proposal {
    Proposal::Edits { patch, transcript, spent: Spent::default() }
}

impl Proposer for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    fn most(&self, _: &Prompt) -> Result<Spent> {
        Ok(Spent::default())
    }

    fn propose<'a>(&'a mut self, ask: &'a Ask<'a>) -> Answer<'a> {
        Box::pin(std::future::ready(self.next(&ask.verifier.workshop.snapshot)))
    }
}

/// A cheat of `harness/bench/cheats.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cheat {
    /// How names of files end that it fits.
    ends: String,
    name: String,
    /// What comes before everything in the file.
    #[serde(default)]
    first: String,
    /// What comes after it.
    #[serde(default)]
    last: String,
    /// A file beside it; `{package}` stands for the file's own line of that name.
    #[serde(default)]
    beside: Option<Beside>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    name: String,
    text: String,
}

impl Cheat {
    fn applied(&self, path: &RepoPath, file: &File) -> Result<Patch> {
        let text = String::from_utf8_lossy(&file.content);
        let mut made = Patch::default();
        if !self.first.is_empty() || !self.last.is_empty() {
            let content = [self.first.trim_start(), &text, &self.last].concat();
            let changed = File { kind: file.kind, content: content.into_bytes() };
            made.0.insert(path.clone(), Some(changed));
        }
        if let Some(beside) = &self.beside {
            let package = text.lines().find(|line| line.starts_with("package ")).unwrap_or_default();
            let folder =
                path.as_str().rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
            let place = RepoPath::new(&format!("{folder}{}", beside.name))?;
            made.0.insert(place, Some(File::plain(beside.text.replace("{package}", package))));
        }
        Ok(made)
    }
}

#[derive(Deserialize)]
struct Cheats {
    cheat: Vec<Cheat>,
}

static CHEATS: LazyLock<Vec<Cheat>> = LazyLock::new(|| {
    let cheats: Cheats = toml::from_str(include_str!("../../harness/bench/cheats.toml"))
        .expect("a test reads the embedded file");
    cheats.cheat
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cheat_that_ships_changes_something() {
        for cheat in CHEATS.iter() {
            let path = RepoPath::new(&format!("a/b{}", cheat.ends)).unwrap();
            let made = cheat.applied(&path, &File::plain("package b\n")).unwrap();
            assert!(!made.is_empty(), "{}", cheat.name);
        }
    }

    #[test]
    fn kinds_are_drawn_at_their_rates_and_read_back_from_the_transcript() {
        let rates = Rates::parse("correct=1,cheat=3").unwrap();
        let mut rng = fastrand::Rng::with_seed(7);
        let cheats = (0..1000).filter(|_| rates.draw(&mut rng) == Kind::Cheat).count();
        assert!((700..800).contains(&cheats), "{cheats}");
        for kind in Kind::ALL {
            assert_eq!(Kind::of(&format!("oracle-noise: {} (x)", kind.word())), Some(kind));
        }
        assert_eq!(Kind::of("gold"), None);
        assert!(Rates::parse("correct=0").is_err() && Rates::parse("nonsense=1").is_err());
    }
}
