//! Tries candidates without a warm judge: compiled ones as variants in one build, the rest one by one by whole
//! test runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::logic::{ENOUGH, Left, Logic, Trial};
use super::mutate::Source;
use super::scene::Scene;
use super::variants::{self, VARIABLE, Variants};
use super::{Editable, passes};
use crate::patch::{File, Patch};
use crate::propose::Ask;
use crate::toolchain::Suite;
use crate::verdict::{Outcome, TestId};
use crate::verify::{Built, Patience, Ran};

/// Builds after which variants that do not compile are given up.
const BUILDS: usize = 40;

/// Variants that are tried in one command.
const CHUNK: usize = 60;

/// Candidates of a round that are tried by whole test runs.
const COLD: usize = 150;

/// How often the time that the base takes a variant has at first.
const SHORT: f64 = 4.0;

/// The share of the time of a round that what took longer gets afterwards.
const AGAIN: f64 = 0.25;

/// The share of the time of variants that what fits none gets besides.
const WHOLE: f64 = 0.5;

/// A build of variants, ready to run.
struct Bed<'a> {
    ask: &'a Ask<'a>,
    suite: &'a Suite,
    scene: &'a Scene<'a>,
    built: Built,
    /// The targets.
    named: BTreeSet<TestId>,
    environment: BTreeMap<String, String>,
}

impl Bed<'_> {
    /// Runs the targets with some variants.
    async fn run(&self, numbers: &[usize], patience: Patience) -> Result<Ran> {
        let (verifier, values) = (self.ask.verifier, (VARIABLE, numbers));
        verifier.run_variants(&self.built, self.suite, &self.named, &self.environment, values, patience).await
    }

    /// Whether all tests that should pass do with one of them.
    async fn passes(&self, number: usize) -> Result<bool> {
        let env = variants::choosing(&self.environment, number);
        let (suite, baseline) = (self.suite, self.ask.baseline);
        let seconds = u64::from(seconds_of(baseline.run.seconds * 3.0)) + 20;
        let whole = self.ask.verifier.run_built(&self.built, suite, None, &env, seconds).await?;
        let guards = baseline.guards.iter().filter(|id| suite.own_id(id).is_some());
        Ok(self.named.iter().chain(guards).all(|id| whole.outcome(id) == Outcome::Passed))
    }
}

impl Logic {
    /// Tries candidates without a warm judge.
    pub async fn judge_slowly(
        &mut self,
        ask: &Ask<'_>,
        suite: &Suite,
        scene: &Scene<'_>,
        round: Vec<Trial>,
        clock: (Instant, Instant),
        left: &mut Left,
    ) -> Result<()> {
        let all = round.len();
        let waiting = left.whole.len();
        self.judge_variants(ask, suite, scene, round, clock, left).await?;
        let some = left.whole.len() - waiting < all;
        if !self.plausible.is_empty() {
            return Ok(());
        }
        // Beside variants, what fits none gets its share.
        let due = (self.statistics.running + self.statistics.building) * WHOLE - self.statistics.whole;
        let share = if some { Duration::try_from_secs_f64(due).unwrap_or_default() } else { Duration::MAX };
        self.judge_whole(ask, scene, left, share, clock).await
    }

    /// Tries candidates as variants of one build.
    async fn judge_variants(
        &mut self,
        ask: &Ask<'_>,
        suite: &Suite,
        scene: &Scene<'_>,
        mut round: Vec<Trial>,
        clock: (Instant, Instant),
        left: &mut Left,
    ) -> Result<()> {
        let end = clock.1;
        let named = named(ask);
        let fits = |trial: &Trial| {
            let of = |source: &&Source| source.path == trial.path;
            let source = scene.sources.iter().find(of).filter(|_| !named.is_empty());
            source.is_some_and(|source| variants::fits(source, &trial.edits))
        };
        let mut alive: BTreeSet<usize> = (0..round.len()).filter(|at| fits(&round[*at])).collect();
        let unfit = (0..round.len()).filter(|at| !alive.contains(at)).map(|at| round[at].clone());
        left.whole.extend(unfit);
        let start = Instant::now();
        let built = self.build_variants(ask, suite, scene, &round, &named, &mut alive, end).await?;
        self.statistics.building += start.elapsed().as_secs_f64();
        self.statistics.cpu += start.elapsed().as_secs_f64();
        let Some(built) = built else {
            // One by one, then.
            left.whole.extend(alive.into_iter().map(|at| round[at].clone()));
            return Ok(());
        };
        let environment = variants::environment(&scene.sources);
        let bed = Bed { ask, suite, scene, built, named, environment };
        let start = Instant::now();
        // What the base takes, which is variant 0.
        let hangs = !bed.run(&[0], Patience { wall: 10.0, cpu: 10, all: 60 }).await?.late.is_empty();
        let base = start.elapsed().as_secs_f64();
        let (late, new): (Vec<usize>, Vec<usize>) = alive.into_iter().partition(|at| round[*at].late);
        // When nothing else is left to try, there is time for what takes long.
        let last = new.is_empty();
        let cpu = if last { 10 } else { (1 + seconds_of(base * 2.0)).min(10) };
        let wall = if hangs { 10.0 } else { f64::from(cpu) * 4.0 };
        let long = Patience { wall, cpu: cpu.into(), all: 0 };
        let short = Patience { wall: base.mul_add(SHORT, 0.2).min(wall), ..long };
        let mut waiting: VecDeque<usize> = late.into();
        for part in new.chunks(CHUNK) {
            waiting.extend(self.run_variants(&bed, &mut round, part, short, clock, left).await?);
        }
        // Most of what took longer does not end.
        let until = if last { end } else { Instant::now() + start.elapsed().mul_f64(AGAIN) };
        while !waiting.is_empty() && Instant::now() < until.min(end) && self.plausible.is_empty() {
            let part: Vec<usize> = waiting.drain(..waiting.len().min(super::logic::workers())).collect();
            self.run_variants(&bed, &mut round, &part, long, clock, left).await?;
        }
        left.late.extend(waiting.into_iter().map(|at| round[at].clone()));
        self.statistics.running += start.elapsed().as_secs_f64();
        self.statistics.cpu += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Runs variants of a build, and gives those whose time was up.
    async fn run_variants(
        &mut self,
        bed: &Bed<'_>,
        round: &mut [Trial],
        which: &[usize],
        patience: Patience,
        (begin, end): (Instant, Instant),
        left: &mut Left,
    ) -> Result<Vec<usize>> {
        let all = end.saturating_duration_since(Instant::now()).as_secs();
        if all == 0 || !self.plausible.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: Vec<usize> = which.iter().map(|at| at + 1).collect();
        let ran = bed.run(&numbers, Patience { all, ..patience }).await?;
        for at in which {
            if !round[*at].late {
                self.statistics.tried += 1;
                self.statistics.variants += 1;
            }
            let count = ran.passed.get(&(at + 1)).copied().unwrap_or(0);
            if (1..bed.named.len()).contains(&count) {
                round[*at].passed = count;
                left.near.push(round[*at].clone());
            }
            let enough = self.plausible.len() >= ENOUGH || Instant::now() >= end;
            if count == bed.named.len() && !enough && bed.passes(at + 1).await? {
                self.found(begin, bed.scene, &round[*at], *at);
            }
        }
        let late: Vec<usize> = which.iter().copied().filter(|at| ran.late.contains(&(at + 1))).collect();
        for at in &late {
            round[*at].late = true;
        }
        Ok(late)
    }

    /// Builds variants, without those that do not compile.
    #[expect(clippy::too_many_arguments, reason = "they are the state of one search")]
    async fn build_variants(
        &mut self,
        ask: &Ask<'_>,
        suite: &Suite,
        scene: &Scene<'_>,
        round: &[Trial],
        named: &BTreeSet<TestId>,
        alive: &mut BTreeSet<usize>,
        end: Instant,
    ) -> Result<Option<Built>> {
        let mut longest = Duration::ZERO;
        let environment = variants::environment(&scene.sources);
        for _ in 0..BUILDS {
            if alive.is_empty() || Instant::now() + longest >= end {
                return Ok(None);
            }
            let edits: Vec<variants::Numbered> =
                alive.iter().map(|at| (at + 1, &round[*at].path, round[*at].edits.as_slice())).collect();
            let made: Variants = variants::compose(&scene.sources, &edits);
            let start = Instant::now();
            let most = end.saturating_duration_since(start).as_secs().max(1);
            let built = ask.verifier.build_kept(suite, &made.patch, Some(named), &environment, most).await?;
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

    /// Tries candidates that wait for it one by one, each by whole test runs: the targets, then everything.
    pub async fn judge_whole(
        &mut self,
        ask: &Ask<'_>,
        scene: &Scene<'_>,
        left: &mut Left,
        share: Duration,
        clock: (Instant, Instant),
    ) -> Result<()> {
        let (begin, end) = clock;
        let (editable, named) = (Editable::new(ask.verifier)?, named(ask));
        let (all, mut longest, mut n) = (Instant::now(), Duration::ZERO, 0);
        while all.elapsed() < share && n < COLD && !left.whole.is_empty() {
            if Instant::now() + longest >= end || self.statistics.cpu >= self.limits().1 {
                break;
            }
            let start = Instant::now();
            let side_by_side = left.whole.drain(..left.whole.len().min(super::logic::workers()));
            let patches: Vec<_> = side_by_side.map(|trial| (patch_of(&editable, &trial), trial)).collect();
            let tries = patches.iter().map(async |(patch, _)| match patch {
                Some(patch) => ask.verifier.try_tests(patch, Some(&named)).await.map(Some),
                None => Ok(None),
            });
            // A loop that does not end would take the time of all others.
            let most = Duration::from_secs(u64::from(seconds_of(ask.baseline.run.seconds * 5.0)) + 20);
            let most = most.min(end.saturating_duration_since(start));
            let runs = tokio::time::timeout(most, futures_util::future::join_all(tries)).await;
            longest = longest.max(start.elapsed());
            self.statistics.whole += start.elapsed().as_secs_f64();
            self.statistics.cpu += start.elapsed().as_secs_f64();
            let Ok(runs) = runs else {
                self.statistics.tried += patches.len();
                n += patches.len();
                continue;
            };
            for ((patch, trial), run) in patches.iter().zip(runs) {
                n += 1;
                let (Some(patch), Some(run)) = (patch, run?) else { continue };
                self.statistics.tried += 1;
                let green = run.built && named.iter().all(|id| run.outcome(id) == Outcome::Passed);
                if green && passes(ask, patch).await? {
                    self.found(begin, scene, trial, n);
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
    reason = "a run takes far less than 2^32 s"
)]
fn seconds_of(seconds: f64) -> u32 {
    seconds.clamp(0.0, 3600.0) as u32
}

fn patch_of(editable: &Editable, trial: &Trial) -> Option<Patch> {
    let file = editable.read(&trial.path)?;
    let text = String::from_utf8(file.content).ok()?;
    let content = super::mutate::splice(&text, &trial.edits)?.into_bytes();
    Some(Patch([(trial.path.clone(), Some(File { kind: file.kind, content }))].into()))
}
