//! An attested run tells what tests did over a channel that the code under test cannot forge unless it reads a
//! secret out of its own process: regreen's launcher instead of the repository's, records with a code made from
//! a key that only the parent and the launcher know, a beacon at the end of every test body. The same machinery
//! runs *controls*, tests changed so that they must fail, and *aliases*, tests under other names. It judges
//! nothing.

mod account;
mod go;
mod javascript;
mod python;
mod rust;
mod vary;

pub(super) use python::CONFIGURATION;
pub(super) use vary::javascript::language;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Verifier;
use crate::patch::{File, Patch, RepoPath};
use crate::toolchain::Suite;
use crate::verdict::{TestId, TestRun};
use crate::workspace::Workspace;

/// What is done to the tests before they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// Nothing that changes what they mean.
    Plain,
    /// Files and functions get natural random names; all must pass.
    Alias,
    /// A natural-looking statement that must fail ends each body; all that were altered must fail.
    Poison,
    /// A literal expected value is changed naturally; all that were altered must fail.
    Perturb,
}

/// What only the parent and its launcher know of a run.
#[derive(Clone)]
pub struct Secret {
    /// The key of the record codes.
    pub key: [u8; 32],
    /// Where random choices begin; it may be told after the run.
    pub seed: u64,
}

/// What one attested run of a suite is to do.
pub struct Assignment<'a> {
    /// Runs things in the sandbox.
    pub verifier: &'a Verifier,
    /// The suite.
    pub suite: &'a Suite,
    /// The composed tree.
    pub workspace: &'a Workspace,
    /// What is done to the tests.
    pub variant: Variant,
    /// The tests to run, little more than these; `None`: all.
    pub only: Option<&'a BTreeSet<TestId>>,
    /// Of the tests that run, those whose bodies [`Variant::Poison`] and [`Variant::Perturb`] change; `None`: all.
    /// The others run as they are, in the same process: then nobody in it can tell which are which.
    pub alter: Option<&'a BTreeSet<TestId>>,
    /// Files that were laid over the tree besides: held-out tests, which are tests of the base like any other.
    pub held_out: Option<&'a Patch>,
    /// What the base says, if that is known: a wrong value is best expected where the base fails.
    pub base: Option<&'a TestRun>,
    /// Fresh for this run.
    pub secret: Secret,
}

/// A run of a [`Session`].
#[derive(Clone, Copy, Debug)]
pub struct Play<'a> {
    /// What is done to the tests. [`Variant::Alias`] makes no difference to [`Variant::Plain`] here.
    pub variant: Variant,
    /// The tests to run; `None`: all.
    pub only: Option<&'a BTreeSet<TestId>>,
    /// See [`Assignment::alter`].
    pub alter: Option<&'a BTreeSet<TestId>>,
    /// Tests that do not run.
    pub but: Option<&'a BTreeSet<TestId>>,
    /// A workspace that has the sources too, for what is compiled when it runs.
    pub whole: Option<&'a Workspace>,
}

/// A suite that was built once, under random names and with all its controls in it: what a process does is chosen
/// when it starts. Only Rust has that.
#[derive(Debug)]
pub struct Session(rust::Session);

impl Session {
    /// Builds a suite in a workspace, whatever the assignment's variant; `None`: where there is no such thing.
    pub async fn build(assignment: &Assignment<'_>) -> Result<Option<Session>> {
        match assignment.suite.profile.name.as_str() {
            "cargo" | "nextest" => Ok(Box::pin(rust::Session::build(assignment, true)).await?.map(Session)),
            _ => Ok(None),
        }
    }

    /// The same with the assignment's held-out files, in a workspace that holds this session and them.
    pub async fn extended(&self, assignment: &Assignment<'_>) -> Result<Option<Session>> {
        Ok(Box::pin(self.0.extended(assignment)).await?.map(Session))
    }

    /// A patch that takes the sources of the tests away.
    pub fn sources(&self) -> Patch {
        self.0.sources()
    }

    /// Runs tests in a workspace that holds what was built.
    pub async fn play(
        &self,
        verifier: &Verifier,
        workspace: &Workspace,
        play: &Play<'_>,
    ) -> Result<Attestation> {
        Box::pin(self.0.play(verifier, workspace, play)).await
    }
}

/// What an attested run said.
#[derive(Clone, Debug, Default)]
pub struct Attestation {
    /// The results, read from the authenticated channel, ids as in the baseline.
    pub run: TestRun,
    /// Tests that passed: raw outcome, body completed, and process, exit status and records agree.
    pub attested: BTreeSet<TestId>,
    /// Tests that passed and cannot carry a beacon, and why.
    pub unattestable: BTreeMap<TestId, String>,
    /// Where exit status, records and beacons disagree, a record is forged, the runner was patched: never a pass.
    pub contradictions: Vec<String>,
    /// Tests whose body the variant really changed; only these must fail.
    pub altered: BTreeSet<TestId>,
    /// The seed, told after the fact.
    pub seed: u64,
}

impl Assignment<'_> {
    /// The files that tests may come from: those of the base, and held-out ones.
    pub fn base_paths(&self) -> Result<Vec<RepoPath>> {
        let mut paths = self.verifier.workshop.snapshot.paths()?;
        paths.extend(self.held_out.iter().flat_map(|files| files.paths().cloned()));
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// The lines where tests of the suite fail on the base, by their ids in the suite.
    pub fn lines(&self) -> BTreeMap<String, BTreeSet<u32>> {
        let prefix = self.suite.prefix();
        let failing =
            self.base.iter().flat_map(|run| run.tests.values()).filter(|test| !test.frames.is_empty());
        failing
            .filter_map(|test| {
                let id = test.id.strip_prefix(&prefix)?.to_owned();
                Some((id, test.frames.iter().map(|frame| frame.line).collect()))
            })
            .collect()
    }

    /// One of them, held-out files first.
    pub fn base_file(&self, path: &RepoPath) -> Result<Option<File>> {
        match self.held_out.and_then(|files| files.0.get(path)) {
            Some(file) => Ok(file.clone()),
            None => self.verifier.workshop.snapshot.file(path),
        }
    }
}

/// Runs a suite in a workspace and attests what it says. `None`: this kind of suite cannot be attested.
///
/// Fails only when regreen itself cannot do its job.
pub async fn attest(
    verifier: &Verifier,
    suite: &Suite,
    workspace: &Workspace,
    variant: Variant,
    only: Option<&BTreeSet<TestId>>,
) -> Result<Option<Attestation>> {
    let secret = Secret::fresh()?;
    let (alter, held_out, base) = (None, None, None);
    assigned(&Assignment { verifier, suite, workspace, variant, only, alter, held_out, base, secret }).await
}

/// Does an assignment.
pub async fn assigned(assignment: &Assignment<'_>) -> Result<Option<Attestation>> {
    let attested = match assignment.suite.profile.name.as_str() {
        "pytest" | "unittest" => python::attest(assignment).await?,
        "node-test" | "jest" | "vitest" | "mocha" | "node-script" => javascript::attest(assignment).await?,
        "cargo" | "nextest" => Box::pin(rust::attest(assignment)).await?,
        "go" => go::attest(assignment).await?,
        _ => None,
    };
    Ok(attested.map(|attested| Attestation { seed: assignment.secret.seed, ..attested }))
}

impl Secret {
    /// A new secret. Fails when the system has no randomness.
    pub fn fresh() -> Result<Secret> {
        let (mut key, mut seed) = ([0; 32], [0; 8]);
        getrandom::fill(&mut key).ok().context("the system gives no random bytes")?;
        getrandom::fill(&mut seed).ok().context("the system gives no random bytes")?;
        Ok(Secret { key, seed: u64::from_le_bytes(seed) })
    }

    /// The code of a record, HMAC-SHA-256 in lower-case hexadecimal over number, kind and data, one a line.
    pub fn code(&self, number: u64, kind: &str, data: &str) -> String {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&self.block());
        for part in [&number.to_string(), "\n", kind, "\n", data] {
            mac.update(part.as_bytes());
        }
        hexadecimal(&mac.finalize().into_bytes())
    }

    /// The key as HMAC pads it: with zeros to one block of SHA-256.
    fn block(&self) -> hmac::digest::Key<Hmac<Sha256>> {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block[..self.key.len()].copy_from_slice(&self.key);
        block
    }

    /// The key in hexadecimal, as launchers read it.
    pub fn key_text(&self) -> String {
        hexadecimal(&self.key)
    }

    /// Random choices that begin at the seed.
    pub fn draw(&self) -> Draw {
        Draw(self.seed)
    }
}

/// Bytes in lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Random choices from a seed, the same for the same seed (Steele, Lea and Flood's `SplitMix64`, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Draw(pub u64);

impl Draw {
    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        if bound == 0 { 0 } else { usize::try_from(self.word() % bound).unwrap_or(0) }
    }

    /// A fair coin.
    pub fn coin(&mut self) -> bool {
        self.word() >> 63 == 1
    }

    /// One of these, if there are any.
    pub fn choose<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        among.get(self.below(among.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_code_depends_on_key_number_kind_and_data() {
        let secret = Secret { key: [7; 32], seed: 1 };
        let code = secret.code(1, "start", "{}");
        // python3 -c 'import hmac; print(hmac.new(b"\x07"*32, b"1\nstart\n{}", "sha256").hexdigest())'
        assert_eq!(code, "7eed7493ca693ac3af36726f0f0b3be5ddd173e77eb7a2cf9a1f8ccd9607e543");
        let other = Secret { key: [8; 32], seed: 1 };
        for different in [
            secret.code(2, "start", "{}"),
            secret.code(1, "end", "{}"),
            secret.code(1, "start", "[]"),
            other.code(1, "start", "{}"),
        ] {
            assert_ne!(code, different);
        }
    }

    #[test]
    fn secrets_differ_and_a_seed_repeats_its_choices() {
        let (one, other) = (Secret::fresh().unwrap(), Secret::fresh().unwrap());
        assert!(one.key != other.key && one.seed != other.seed);
        let (mut first, mut again) = (one.draw(), one.draw());
        assert!((0..100).all(|_| first.word() == again.word()));
        let heads = (0..1000).filter(|_| first.coin()).count();
        assert!((400..600).contains(&heads), "{heads} heads of 1000");
    }
}
