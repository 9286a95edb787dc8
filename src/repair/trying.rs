//! Tries candidates without a warm judge: compiled ones as variants in one build, the rest one by one by whole
//! test runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::logic::{ENOUGH, Logic, Trial};
use super::scene::Scene;
use super::variants::{self, VARIABLE, Variants};
use super::{Editable, passes};
use crate::patch::{File, Patch};
use crate::propose::Ask;
use crate::toolchain::Suite;
use crate::verdict::{Outcome, TestId};
use crate::verify::Built;

/// Builds after which variants that do not compile are given up.
const BUILDS: usize = 40;

/// Variants that are tried in one command.
const CHUNK: usize = 60;

/// Candidates of a round that are tried by whole test runs, where nothing faster can try them, and where variants can
/// try most of them.
const COLD: usize = 150;
const FEW: usize = 8;

impl Logic {
    /// Tries candidates without a warm judge.
    pub async fn judge_slowly(
        &mut self,
        ask: &Ask<'_>,
        suite: &Suite,
        scene: &Scene<'_>,
        round: &[Trial],
        clock: (Instant, Instant),
    ) -> Result<()> {
        let left = self.judge_variants(ask, suite, scene, round, clock).await?;
        if self.plausible.is_empty() {
            let most = if left.len() < round.len() { FEW } else { COLD };
            let round: Vec<&Trial> = left.into_iter().take(most).map(|at| &round[at]).collect();
            self.judge_cold(ask, scene, &round, clock).await?;
        }
        Ok(())
    }

    /// Tries candidates as variants of one build; returns those that cannot be tried so.
    async fn judge_variants(
        &mut self,
        ask: &Ask<'_>,
        suite: &Suite,
        scene: &Scene<'_>,
        round: &[Trial],
        clock: (Instant, Instant),
    ) -> Result<Vec<usize>> {
        let (begin, end) = clock;
        let fits = |trial: &Trial| {
            scene
                .sources
                .iter()
                .any(|source| source.path == trial.path && variants::fits(source, &trial.edit))
        };
        let named = named(ask);
        let fits = |at: &usize| !named.is_empty() && fits(&round[*at]);
        let mut alive: BTreeSet<usize> = (0..round.len()).filter(fits).collect();
        let left: Vec<usize> = (0..round.len()).filter(|at| !alive.contains(at)).collect();
        let start = Instant::now();
        let Some(built) = self.build_variants(ask, suite, scene, round, &mut alive, end).await? else {
            // One by one, then.
            return Ok((0..round.len()).collect());
        };
        self.statistics.cpu += start.elapsed().as_secs_f64();
        let seconds = (2 + seconds_of(ask.baseline.run.seconds * 5.0)).min(10);
        let environment = variants::environment(&scene.sources);
        let alive: Vec<usize> = alive.into_iter().collect();
        for part in alive.chunks(CHUNK) {
            if Instant::now() >= end || !self.plausible.is_empty() {
                break;
            }
            let numbers: Vec<usize> = part.iter().map(|at| at + 1).collect();
            let values = (VARIABLE, numbers.as_slice());
            let passed =
                ask.verifier.run_variants(&built, suite, &named, &environment, values, seconds).await?;
            let before = self.statistics.tried;
            for (tried, at) in (1..).zip(part) {
                self.statistics.tried = before + tried;
                if !passed.contains(&(at + 1)) || self.plausible.len() >= ENOUGH || Instant::now() >= end {
                    continue;
                }
                let env = [(VARIABLE, (at + 1).to_string())];
                let whole = ask.verifier.run_built(&built, suite, None, &env, seconds.max(20)).await?;
                let kept = ask.baseline.guards.iter().filter(|id| suite.own_id(id).is_some());
                if named.iter().chain(kept).all(|id| whole.outcome(id) == Outcome::Passed) {
                    self.found(begin, scene, &round[*at], *at);
                }
            }
        }
        Ok(left)
    }

    /// Builds variants, without those that do not compile.
    async fn build_variants(
        &mut self,
        ask: &Ask<'_>,
        suite: &Suite,
        scene: &Scene<'_>,
        round: &[Trial],
        alive: &mut BTreeSet<usize>,
        end: Instant,
    ) -> Result<Option<Built>> {
        let mut longest = Duration::ZERO;
        for _ in 0..BUILDS {
            if alive.is_empty() || Instant::now() + longest >= end {
                return Ok(None);
            }
            let edits: Vec<variants::Numbered> =
                alive.iter().map(|at| (at + 1, &round[*at].path, &round[*at].edit)).collect();
            let made: Variants = variants::compose(&scene.sources, &edits);
            let start = Instant::now();
            let built =
                ask.verifier.build_kept(suite, &made.patch, &variants::environment(&scene.sources)).await?;
            longest = longest.max(start.elapsed());
            if built.run.built {
                return Ok(Some(built));
            }
            let blamed = made.to_blame(&built.run.diagnostics);
            let before = alive.len();
            alive.retain(|at| !blamed.contains(&(at + 1)));
            if alive.len() == before {
                // Nobody knows whose fault it is: perhaps of the less promising half.
                let half: BTreeSet<usize> = alive.iter().copied().take(before / 2).collect();
                *alive = half;
            }
        }
        Ok(None)
    }

    /// Tries candidates one by one, each by whole test runs: the targets, then everything.
    async fn judge_cold(
        &mut self,
        ask: &Ask<'_>,
        scene: &Scene<'_>,
        round: &[&Trial],
        clock: (Instant, Instant),
    ) -> Result<()> {
        let (begin, end) = clock;
        let (editable, named) = (Editable::new(ask.verifier)?, named(ask));
        let mut longest = Duration::ZERO;
        let numbered: Vec<(usize, &&Trial)> = round.iter().enumerate().collect();
        for side_by_side in numbered.chunks(super::logic::workers()) {
            if Instant::now() + longest >= end || self.statistics.cpu >= self.limits().1 {
                break;
            }
            let start = Instant::now();
            let patches: Vec<_> =
                side_by_side.iter().map(|(n, trial)| (*n, *trial, patch_of(&editable, trial))).collect();
            let tries = patches.iter().map(async |(_, _, patch)| match patch {
                Some(patch) => ask.verifier.try_tests(patch, Some(&named)).await.map(Some),
                None => Ok(None),
            });
            let runs = futures_util::future::join_all(tries).await;
            longest = longest.max(start.elapsed());
            self.statistics.cpu += start.elapsed().as_secs_f64();
            for ((n, trial, patch), run) in patches.iter().zip(runs) {
                let (Some(patch), Some(run)) = (patch, run?) else { continue };
                self.statistics.tried += 1;
                let green = run.built && named.iter().all(|id| run.outcome(id) == Outcome::Passed);
                if green && passes(ask, patch).await? {
                    self.found(begin, scene, trial, *n);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Notes a plausible candidate.
    fn found(&mut self, begin: Instant, scene: &Scene, trial: &Trial, n: usize) {
        self.first_at(begin.elapsed().as_secs_f64());
        self.keep(scene, trial, n);
    }
}

/// The targets that are tests.
fn named(ask: &Ask<'_>) -> BTreeSet<TestId> {
    let tests = &ask.baseline.run.tests;
    let real =
        |id: &&TestId| tests.contains_key(*id) && !id.starts_with("run (") && !id.starts_with("build (");
    ask.baseline.targets.iter().filter(real).cloned().collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a run takes far less than 2^64 s"
)]
fn seconds_of(seconds: f64) -> u64 {
    seconds.clamp(0.0, 3600.0) as u64
}

fn patch_of(editable: &Editable, trial: &Trial) -> Option<Patch> {
    let file = editable.read(&trial.path)?;
    let text = String::from_utf8(file.content).ok()?;
    let content = super::mutate::splice(&text, std::slice::from_ref(&trial.edit))?.into_bytes();
    Some(Patch([(trial.path.clone(), Some(File { kind: file.kind, content }))].into()))
}
