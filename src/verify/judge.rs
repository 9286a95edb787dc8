//! Judging sends a composed candidate through the layers of the verifier, cheapest first, until one stops it. What
//! is left is green, at the level that the layers reached: [`LayerName`] and [`Level`] say what they are. Layers
//! that a suite does not allow lower the level and refuse nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::Result;

use super::assess::{assess, assess_targets, broken_guards, caveats, is_synthetic, plain};
use super::attest::Variant;
use super::controls::Attested;
use super::sitting::Sitting;
use super::{Composed, Say, Verifier, count, nothing_left, signs};
use crate::patch::{File, Patch, RepoPath};
use crate::verdict::{
    Baseline, Evidence, Failure, FailureKind, Layer, LayerName, LayerResult, Level, Outcome, TestId, TestRun,
    Verdict,
};
use crate::workspace::Workspace;

/// Below this many seconds a full run of the base's tests is not preceded by a run of the targets alone.
const QUICK: f64 = 2.0;

/// What is to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What the base says.
    pub baseline: &'a Baseline,
    /// The candidate's product part, as [`Verifier::compose`] made it.
    pub product: &'a Patch,
    /// The whole candidate, where it holds more than that.
    pub delivered: Option<&'a Patch>,
}

/// A verdict, and what each layer said on the way to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The layers that ran, in order; the last one may have stopped the candidate.
    pub layers: Vec<Layer>,
}

impl Judgement {
    /// The verdict, or one bit of it where a layer decided whose questions nobody who proposes may learn.
    fn told(self) -> Verdict {
        let stop = self.layers.last().filter(|layer| layer.result == LayerResult::Stopped);
        match stop.map(|layer| layer.name) {
            Some(LayerName::HeldOut | LayerName::Oracle) => {
                Verdict::Red(plain(FailureKind::HeldOutFails, "held-out tests fail".to_owned()))
            }
            _ => self.verdict,
        }
    }
}

/// What one layer found.
pub(super) enum Finding {
    /// Nothing against the candidate; in words, what was tried.
    Passed(String),
    /// Something that is no proof.
    Flagged(String),
    /// It cannot run here, and why.
    NotRun(String),
    /// The verdict.
    Stop(Verdict),
}

impl Finding {
    pub(super) fn red(failure: Failure) -> Finding {
        Finding::Stop(Verdict::Red(failure))
    }

    pub(super) fn suspect(violations: Vec<String>) -> Finding {
        Finding::Stop(Verdict::Rejected { violations })
    }

    pub(super) fn inconclusive(reason: String) -> Finding {
        Finding::Stop(Verdict::Inconclusive { reasons: vec![reason] })
    }
}

/// A candidate on its way through the layers.
pub(super) struct Judging<'a> {
    pub(super) verifier: &'a Verifier,
    pub(super) case: Case<'a>,
    pub(super) say: Say<'a>,
    pub(super) evidence: Evidence,
    /// The first full run by the ordinary runner; once the suite is attested, only what the attested run knows too.
    pub(super) visible: TestRun,
    /// The level that the layers so far reached.
    pub(super) level: Level,
    /// Targets and guards that passed attested.
    pub(super) confirmed: BTreeSet<TestId>,
    /// Targets that failed as they must when their bodies were changed.
    pub(super) controlled: BTreeSet<TestId>,
    /// What composing the candidate once more says of its tests.
    pub(super) composed: Composed,
    /// The tests that controls take.
    pub(super) chosen: BTreeSet<TestId>,
    /// What was built for attested runs, for those that may follow.
    pub(super) sitting: Option<Sitting>,
    /// Attested runs that wait for their layer.
    pub(super) runs: BTreeMap<Variant, Attested>,
    /// Seeds of the present layer.
    pub(super) seeds: Vec<u64>,
}

impl Verifier {
    /// Judges a candidate that [`Verifier::compose`] has composed, for whoever may make another one: of hidden
    /// layers no more is told than that they stopped it.
    pub async fn judge(&self, baseline: &Baseline, product: &Patch, say: Say<'_>) -> Result<Verdict> {
        Ok(self.examine(Case { baseline, product, delivered: None }, say).await?.told())
    }

    /// Judges a patch as somebody delivered it, of which `composed` was made, and tells what each layer said.
    pub async fn examine_delivered(
        &self,
        baseline: &Baseline,
        composed: &Composed,
        patch: &Patch,
        say: Say<'_>,
    ) -> Result<Judgement> {
        if let Some(failure) = nothing_left(composed) {
            return Ok(Judgement { verdict: Verdict::Red(failure), layers: Vec::new() });
        }
        let delivered = (!composed.left_out.is_empty()).then_some(patch);
        self.examine(Case { baseline, product: &composed.product, delivered }, say).await
    }

    /// Judges a candidate, and tells what each layer said.
    pub async fn examine(&self, case: Case<'_>, say: Say<'_>) -> Result<Judgement> {
        let evidence = Evidence { sandbox: self.sandbox.level.to_string(), ..Evidence::default() };
        let composed = self.compose(case.product)?;
        let baseline = composed.moved.follow(case.baseline);
        let case = Case { baseline: &baseline, ..case };
        let mut judging = Judging {
            verifier: self,
            case,
            say,
            evidence,
            visible: TestRun::default(),
            level: Level::Composed,
            confirmed: BTreeSet::new(),
            controlled: BTreeSet::new(),
            composed: composed.clone(),
            chosen: BTreeSet::new(),
            sitting: None,
            runs: BTreeMap::new(),
            seeds: Vec::new(),
        };
        for name in LayerName::ALL {
            let start = Instant::now();
            let finding = judging.layer(name).await?;
            if let Some(verdict) = judging.note(name, finding, start) {
                return Ok(Judgement { verdict, layers: judging.evidence.layers });
            }
        }
        Ok(judging.green())
    }

    /// Whether a candidate passes one full run; for minimising, where the result is judged once more.
    pub async fn passes(&self, baseline: &Baseline, product: &Patch, say: Say<'_>) -> Result<bool> {
        let mut workspace = self.workshop.workspace()?;
        if workspace.apply(product).is_err() {
            return Ok(false);
        }
        let moved = self.compose(product)?.moved;
        let case = Case { baseline: &moved.follow(baseline), product, delivered: None };
        let mut evidence = Evidence::default();
        Ok(self.run_round(case, &mut workspace, 1, &mut evidence, say).await?.is_ok())
    }

    /// Builds a candidate, and runs no test unless the toolchain builds as it tests: how far a proposer that
    /// searches has come.
    pub async fn build_only(&self, candidate: &Patch) -> Result<TestRun> {
        let mut workspace = self.workshop.workspace()?;
        workspace.apply(candidate)?;
        self.observe_build(&mut workspace).await
    }

    /// Runs little more than the tests `only` on a candidate, or all: how near a proposer that searches has come.
    pub async fn try_tests(&self, candidate: &Patch, only: Option<&BTreeSet<TestId>>) -> Result<TestRun> {
        let mut workspace = self.workshop.workspace()?;
        workspace.apply(candidate)?;
        self.observe(&mut workspace, only).await
    }

    /// One round of the ordinary runner in one workspace: the run when it is green.
    async fn run_round(
        &self,
        case: Case<'_>,
        workspace: &mut Workspace,
        round: u32,
        evidence: &mut Evidence,
        say: Say<'_>,
    ) -> Result<Result<TestRun, Failure>> {
        let baseline = case.baseline;
        let named: BTreeSet<TestId> =
            baseline.targets.iter().filter(|id| !is_synthetic(id)).cloned().collect();
        if round == 1
            && baseline.run.seconds > QUICK
            && !named.is_empty()
            && named.len() < baseline.guards.len()
        {
            say("running the failing tests");
            let run = self.observe(workspace, Some(&named)).await?;
            if let Some(failure) = assess_targets(baseline, &run) {
                return Ok(Err(failure));
            }
        }
        say(if round == 1 { "running all tests" } else { "confirming in a fresh checkout" });
        let mut run = self.observe(workspace, None).await?;
        let broken = broken_guards(baseline, &run);
        if !broken.is_empty() && run.built && broken.len() <= 20 {
            say("running broken tests again, alone");
            self.rerun_alone(case.product, &broken, &mut run, evidence).await?;
        }
        Ok(assess(baseline, &run).map_or(Ok(run), Err))
    }

    /// Tests with time limits of their own flip under load: a guard that turned red counts only if it is red
    /// again when it runs alone.
    async fn rerun_alone(
        &self,
        product: &Patch,
        broken: &BTreeSet<TestId>,
        run: &mut TestRun,
        evidence: &mut Evidence,
    ) -> Result<()> {
        // In a fresh workspace: what the first run left there must not help.
        let mut workspace = self.workshop.workspace()?;
        workspace.apply(product)?;
        let again = self.observe(&mut workspace, Some(broken)).await?;
        for id in broken {
            // A guard that breaks in both rounds is broken by the candidate, however it does alone.
            let before = evidence.rerun_alone.contains(id);
            if let Some(passed) =
                again.tests.get(id).filter(|test| test.outcome == Outcome::Passed && !before)
            {
                run.tests.insert(id.clone(), passed.clone());
                evidence.rerun_alone.insert(id.clone());
                evidence.load = run.load;
            }
        }
        Ok(())
    }
}

impl Judging<'_> {
    async fn layer(&mut self, name: LayerName) -> Result<Finding> {
        match name {
            LayerName::Visible => self.visible().await,
            LayerName::Static => self.looked_at(),
            LayerName::Attested => self.attested().await,
            LayerName::Poison => self.poisoned().await,
            LayerName::Perturb => self.perturbed().await,
            LayerName::Alias => self.aliased().await,
            LayerName::HeldOut => self.held_out().await,
            LayerName::Oracle => self.oracles().await,
            LayerName::Delivered => self.delivered().await,
        }
    }

    /// Writes down what a layer found; the verdict, if it stops the candidate.
    fn note(&mut self, name: LayerName, finding: Finding, start: Instant) -> Option<Verdict> {
        let (result, detail, stop) = match finding {
            Finding::Passed(detail) => (LayerResult::Passed, detail, None),
            Finding::Flagged(detail) => (LayerResult::Flagged, detail, None),
            Finding::NotRun(detail) => (LayerResult::NotRun, detail, None),
            Finding::Stop(verdict) => (LayerResult::Stopped, verdict.reasons().join("; "), Some(verdict)),
        };
        let seconds = (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        let seeds = std::mem::take(&mut self.seeds);
        self.evidence.layers.push(Layer { name, result, detail, seconds, seeds });
        stop
    }

    /// A fresh checkout with the candidate; or why there is none.
    pub(super) fn workspace(&self) -> Result<Result<Workspace, Failure>> {
        let workspace = self.verifier.workshop.workspace()?;
        Ok(match workspace.apply(self.case.product) {
            Ok(()) => Ok(workspace),
            Err(error) => {
                Err(plain(FailureKind::DoesNotApply, format!("the patch does not apply: {error:#}")))
            }
        })
    }

    /// The visible tests by the ordinary runner, whose messages make the best feedback.
    async fn visible(&mut self) -> Result<Finding> {
        self.round(1).await
    }

    /// One round of the ordinary runner.
    pub(super) async fn round(&mut self, round: u32) -> Result<Finding> {
        let mut workspace = match self.workspace()? {
            Ok(workspace) => workspace,
            Err(failure) => return Ok(Finding::red(failure)),
        };
        let ran =
            self.verifier.run_round(self.case, &mut workspace, round, &mut self.evidence, self.say).await?;
        Ok(match ran {
            Ok(run) => {
                let passed = run.with(Outcome::Passed).len();
                self.evidence.runs = round;
                self.visible = run;
                Finding::Passed(format!("{} passed in a fresh checkout", count(passed, "test")))
            }
            Err(failure) if round == 1 => Finding::red(failure),
            Err(failure) => Finding::red(unstable(failure)),
        })
    }

    /// What can be seen without running anything: tests that could not be put back as they were, and constructs that
    /// the patch introduces.
    fn looked_at(&self) -> Result<Finding> {
        let mut found = self.composed.problems.clone();
        for (path, after) in &self.case.product.0 {
            let from = self.composed.moved.from(path)?;
            if from.is_none() && self.composed.replayed.0.contains_key(path) {
                continue;
            }
            let before = self.verifier.workshop.snapshot.file(from.as_ref().unwrap_or(path))?;
            found.extend(signs::introduced(path, before.as_ref(), after.as_ref())?);
            if ["package.json", "pyproject.toml"]
                .contains(&path.as_str().rsplit('/').next().unwrap_or_default())
            {
                found.extend(self.redirected(path, before.as_ref(), after.as_ref())?);
            }
        }
        Ok(if found.is_empty() {
            Finding::Passed("every test is the base's, and no odd construct is new".to_owned())
        } else {
            Finding::Flagged(crate::text::list(&found, 5))
        })
    }

    /// Whether a manifest leads users of the package to other code than the tests see.
    fn redirected(
        &self,
        manifest: &RepoPath,
        before: Option<&File>,
        after: Option<&File>,
    ) -> Result<Option<String>> {
        let base: BTreeSet<RepoPath> = self.verifier.workshop.snapshot.paths()?.into_iter().collect();
        let product = &self.case.product.0;
        let added: Vec<&RepoPath> = product
            .iter()
            .filter(|(path, file)| file.is_some() && !base.contains(path))
            .map(|(path, _)| path)
            .collect();
        let gone = |path: &RepoPath| product.get(path).is_some_and(Option::is_none);
        let kept: Vec<RepoPath> = base.iter().filter(|path| !gone(path)).cloned().collect();
        let text = |file: Option<&File>| {
            file.map_or(String::new(), |file| String::from_utf8_lossy(&file.content).into_owned())
        };
        Ok(signs::redirected(manifest, (&text(before), &text(after)), &added, &kept))
    }

    /// The patch as it was delivered, its own tests included, must not fail either; that it passes proves nothing.
    async fn delivered(&mut self) -> Result<Finding> {
        let Some(delivered) = self.case.delivered else {
            return Ok(Finding::NotRun("nothing was left out".to_owned()));
        };
        let mut workspace = self.verifier.workshop.workspace()?;
        if let Err(error) = workspace.apply(delivered) {
            return Ok(Finding::Flagged(format!("as delivered the patch does not apply: {error:#}")));
        }
        (self.say)("running the patch as it was delivered");
        let run = self.verifier.observe(&mut workspace, None).await?;
        let failing: Vec<TestId> = run
            .with(Outcome::Failed)
            .into_iter()
            .filter(|id| !self.case.baseline.flaky.contains(id) && !self.case.baseline.unrelated.contains(id))
            .collect();
        if failing.is_empty() && run.broken.is_empty() {
            // What was left out may be what the rest of the patch waits for.
            let hidden = self.failing_as_delivered(delivered).await?;
            if hidden > 0 {
                self.level = self.level.min(Level::Attested);
                let tests = count(hidden, "held-out test");
                return Ok(Finding::Flagged(format!(
                    "as delivered, with all that was left out, it fails {tests}"
                )));
            }
            let passed = count(run.with(Outcome::Passed).len(), "test");
            return Ok(Finding::Passed(format!("{passed} passed, the patch's own included")));
        }
        let names = crate::text::list(&failing, 3);
        Ok(Finding::Flagged(format!("as delivered, with its own edits of tests, it fails: {names}")))
    }

    /// What no layer stopped.
    fn green(mut self) -> Judgement {
        let baseline = self.case.baseline;
        let flagged = self
            .evidence
            .layers
            .iter()
            .any(|layer| layer.name == LayerName::Static && layer.result == LayerResult::Flagged);
        self.evidence.level = if flagged { self.level.min(Level::Attested) } else { self.level };
        self.evidence.fixed = baseline.targets.clone();
        self.evidence.guards_kept = baseline.guards.len();
        self.evidence.caveats = caveats(baseline, &self.evidence, self.case.product);
        let layers = self.evidence.layers.clone();
        Judgement { verdict: Verdict::Green(self.evidence), layers }
    }
}

/// Green once, then red.
pub(super) fn unstable(mut failure: Failure) -> Failure {
    failure.kind = FailureKind::Unstable;
    failure.summary = format!("green once, then red on repetition: {}", failure.summary);
    failure
}
