//! Tries candidates without a warm judge: compiled ones as variants in one build, the rest one by one by whole
//! test runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::logic::{ENOUGH, Logic, Scene, Trial};
use super::variants::{self, VARIABLE, Variants};
use super::{Editable, passes};
use crate::patch::{File, Patch};
use crate::propose::Ask;
use crate::toolchain::Suite;
use crate::verdict::{Outcome, TestId};
use crate::verify::Built;

/// Builds after which variants that do not compile are given up.
const BUILDS: usize = 40;

/// Variants that are tried after the first plausible one.
const AFTER: usize = 30;

impl Logic {
    /// Tries candidates as variants of one build; returns those that cannot be tried so.
    pub async fn judge_variants(
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
        let mut alive: BTreeSet<usize> = (0..round.len()).filter(|at| fits(&round[*at])).collect();
        let left: Vec<usize> = (0..round.len()).filter(|at| !alive.contains(at)).collect();
        let Some(built) = self.build_variants(ask, suite, scene, round, &mut alive, end).await? else {
            // One by one, then.
            return Ok((0..round.len()).collect());
        };
        let named = named(ask);
        let seconds = 2 + seconds_of(ask.baseline.run.seconds * 5.0);
        let mut until = usize::MAX;
        for (tried, at) in alive.iter().enumerate() {
            if Instant::now() >= end || tried > until || self.plausible.len() >= ENOUGH {
                break;
            }
            let env = [(VARIABLE, (at + 1).to_string())];
            let run = ask.verifier.run_built(&built, suite, Some(&named), &env, seconds.min(10)).await?;
            self.statistics.tried += 1;
            if !named.iter().all(|id| run.outcome(id) == Outcome::Passed) {
                continue;
            }
            let whole = ask.verifier.run_built(&built, suite, None, &env, seconds.max(20)).await?;
            let kept = ask.baseline.guards.iter().filter(|id| suite.own_id(id).is_some());
            if kept.into_iter().all(|id| whole.outcome(id) == Outcome::Passed) {
                self.found(begin, scene, &round[*at], *at);
                until = until.min(tried + AFTER);
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
    pub async fn judge_cold(
        &mut self,
        ask: &Ask<'_>,
        scene: &Scene<'_>,
        round: &[&Trial],
        clock: (Instant, Instant),
    ) -> Result<()> {
        let (begin, end) = clock;
        let (editable, named) = (Editable::new(ask.verifier)?, named(ask));
        let mut longest = Duration::ZERO;
        for (n, trial) in round.iter().enumerate() {
            if Instant::now() + longest >= end {
                break;
            }
            let Some(patch) = patch_of(&editable, trial) else { continue };
            let start = Instant::now();
            let run = ask.verifier.try_tests(&patch, Some(&named)).await?;
            self.statistics.tried += 1;
            longest = longest.max(start.elapsed());
            let green = run.built && named.iter().all(|id| run.outcome(id) == Outcome::Passed);
            if green && passes(ask, &patch).await? {
                self.found(begin, scene, trial, n);
                break;
            }
        }
        Ok(())
    }

    /// Notes a plausible candidate.
    fn found(&mut self, begin: Instant, scene: &Scene, trial: &Trial, n: usize) {
        if self.statistics.first.is_none() {
            self.statistics.first = Some(self.statistics.tried);
            self.statistics.first_at = begin.elapsed().as_secs_f64();
        }
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
