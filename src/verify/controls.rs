//! The attested run and its controls. A control is a run that an honest patch cannot pass or cannot fail: test
//! bodies that end in a statement that must fail, or expect a wrong value, must fail; the same tests under other
//! names must pass. Where something speaks against a candidate, the base is asked whether it does the same: what
//! the base does too is a limit of the control, and no fault of the candidate.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use futures_util::future::join_all;

use super::assess::{failure, is_synthetic};
use super::attest::{Assignment, Attestation, Secret, Variant, assigned};
use super::count;
use super::judge::{Finding, Judging, unstable};
use crate::patch::Patch;
use crate::text;
use crate::verdict::{Failure, FailureKind, Level, Outcome, TestId, keep_worse};
use crate::workspace::Workspace;

/// Guards that controls take besides the targets, drawn anew for every candidate.
const SAMPLE: usize = 10;

/// Attested runs of all suites that allow one.
#[derive(Clone, Debug, Default)]
pub(super) struct Attested {
    /// What they said together.
    pub(super) all: Attestation,
    /// Suites that cannot be attested.
    pub(super) blind: Vec<String>,
    /// How many can.
    pub(super) suites: usize,
    /// The seeds of the runs.
    pub(super) seeds: Vec<u64>,
}

/// Which tests an attested run takes, and of these which it changes.
#[derive(Clone, Copy, Default)]
pub(super) struct Choice<'a> {
    pub(super) only: Option<&'a BTreeSet<TestId>>,
    pub(super) alter: Option<&'a BTreeSet<TestId>>,
    pub(super) held_out: Option<&'a Patch>,
    /// Whether the tree is the untouched base.
    pub(super) base: bool,
}

impl<'a> Choice<'a> {
    /// These tests, all of them changed if any is.
    fn of(only: &'a BTreeSet<TestId>) -> Choice<'a> {
        Choice { only: Some(only), ..Choice::default() }
    }
}

impl Judging<'_> {
    /// The visible tests once more in a fresh checkout, attested where that can be.
    pub(super) async fn attested(&mut self) -> Result<Finding> {
        (self.say)("confirming in a fresh checkout");
        self.chosen = self.chosen()?;
        let said = match self.runs(&[Variant::Alias, Variant::Poison, Variant::Perturb]).await? {
            Ok(said) => said,
            Err(failure) => return Ok(Finding::red(failure)),
        };
        self.runs.insert(Variant::Alias, said.clone());
        let said = if self.is_whole(&said) {
            said
        } else {
            // That may be a limit of the renaming: under their own names tests have to do as well.
            match self.runs(&[Variant::Plain]).await? {
                Ok(said) => said,
                Err(failure) => return Ok(Finding::red(failure)),
            }
        };
        if said.suites == 0 || !said.blind.is_empty() {
            // What cannot be attested is at least repeated.
            let again = self.round(2).await?;
            if matches!(again, Finding::Stop(_)) || said.suites == 0 {
                let why = format!("{} cannot be attested", text::list(&said.blind, 3));
                return Ok(if matches!(again, Finding::Stop(_)) { again } else { Finding::NotRun(why) });
            }
        }
        self.evidence.runs = 2;
        self.weigh(said).await
    }

    /// Whether nothing at all speaks against an attested run.
    fn is_whole(&self, said: &Attested) -> bool {
        let whole = said.all.contradictions.is_empty() && said.blind.is_empty();
        whole && self.required().iter().all(|id| said.covers(id))
    }

    /// What an attested run means: every target and guard has to be in it, and passed.
    async fn weigh(&mut self, said: Attested) -> Result<Finding> {
        if !said.all.contradictions.is_empty() {
            return self.contradicted(&said.all.contradictions, Variant::Plain).await;
        }
        let required = self.required();
        let outcome = |id: &TestId| said.all.run.outcome(id);
        let failed: BTreeSet<TestId> = required
            .iter()
            .filter(|id| matches!(outcome(id), Outcome::Failed | Outcome::Skipped))
            .cloned()
            .collect();
        if !failed.is_empty()
            && let Some(stop) = self.failed_attested(&failed, &said).await?
        {
            return Ok(stop);
        }
        let lost: BTreeSet<TestId> =
            required.iter().filter(|id| !failed.contains(*id) && !said.covers(id)).cloned().collect();
        let mut excused = self.of_blind(&lost, &said.blind)?;
        excused.extend(self.lost_on_base(&lost.difference(&excused).cloned().collect()).await?);
        let unexplained: Vec<&TestId> = lost.difference(&excused).collect();
        if !unexplained.is_empty() {
            let names = text::list(&unexplained, 3);
            return Ok(Finding::inconclusive(format!(
                "{} passed by the ordinary runner, and the attested run has no word of it: {names}",
                count(unexplained.len(), "test")
            )));
        }
        let targets_lost = excused.intersection(&self.case.baseline.targets).count();
        if targets_lost > 0 {
            return Ok(Finding::NotRun(format!("{} cannot be attested", count(targets_lost, "target"))));
        }
        self.level = Level::Attested;
        self.confirmed = required.into_iter().filter(|id| said.covers(id)).collect();
        let unseen = self.of_blind(&self.visible.tests.keys().cloned().collect(), &said.blind)?;
        self.visible.tests.retain(|id, _| said.all.run.tests.contains_key(id) || unseen.contains(id));
        let (attested, others) = (said.all.attested.len(), said.all.unattestable.len() + excused.len());
        let others = if others == 0 { String::new() } else { format!(", {others} cannot carry a beacon") };
        Ok(Finding::Passed(format!("{} attested{others}", count(attested, "test"))))
    }

    /// Tests that passed by the ordinary runner and fail attested: guards get a second try, alone, since tests with
    /// time limits flip under load.
    async fn failed_attested(
        &mut self,
        failed: &BTreeSet<TestId>,
        said: &Attested,
    ) -> Result<Option<Finding>> {
        let targets: Vec<&TestId> = failed.intersection(&self.case.baseline.targets).collect();
        if !targets.is_empty() || failed.len() > 20 {
            let ids = if targets.is_empty() { failed.iter().collect() } else { targets };
            let fault = failure(FailureKind::TargetsFail, ids, &said.all.run);
            return Ok(Some(Finding::red(unstable(fault))));
        }
        let workspace = self.verifier.workshop.workspace()?;
        workspace.apply(self.case.product)?;
        let again = self.attest(&workspace, Variant::Plain, Choice::of(failed)).await?;
        let still: BTreeSet<TestId> = failed.iter().filter(|id| !again.covers(id)).cloned().collect();
        let base = self.on_base(Variant::Plain, &still).await?;
        let worse: Vec<&TestId> = still.iter().filter(|id| base.covers(id)).collect();
        if worse.is_empty() {
            self.evidence.rerun_alone.extend(failed.difference(&still).cloned());
            return Ok(None);
        }
        Ok(Some(Finding::red(unstable(failure(FailureKind::GuardsFail, worse, &said.all.run)))))
    }

    /// Contradictions count unless the base contradicts itself in the same way.
    async fn contradicted(&mut self, contradictions: &[String], variant: Variant) -> Result<Finding> {
        let base = self.on_base(variant, &self.case.baseline.guards.clone()).await?;
        if !base.all.contradictions.is_empty() {
            let first = text::one_line(&base.all.contradictions[0]);
            return Ok(Finding::NotRun(format!("the base contradicts itself too: {first}")));
        }
        Ok(Finding::suspect(contradictions.iter().take(5).map(|text| text::one_line(text)).collect()))
    }

    /// Of tests that an attested run lost, those that it loses on the base too.
    async fn lost_on_base(&mut self, lost: &BTreeSet<TestId>) -> Result<BTreeSet<TestId>> {
        if lost.is_empty() {
            return Ok(BTreeSet::new());
        }
        let base = self.on_base(Variant::Plain, &self.case.baseline.guards.clone()).await?;
        // A base of which nothing at all is known excuses nothing.
        let speaks = !base.all.attested.is_empty();
        let absent = |id: &&TestId| speaks && base.all.run.outcome(id) == Outcome::Missing;
        Ok(lost.iter().filter(absent).cloned().collect())
    }

    /// Of these tests, those that are or may be of suites that cannot be attested.
    pub(super) fn of_blind(&self, ids: &BTreeSet<TestId>, blind: &[String]) -> Result<BTreeSet<TestId>> {
        // Folders lie in one another: the innermost suite that knows an id has it.
        let mut owners: BTreeMap<TestId, (usize, bool)> = BTreeMap::new();
        for suite in self.verifier.suites.iter().filter(|_| !blind.is_empty()) {
            let (prefix, is_blind) = (suite.prefix(), blind.contains(&suite.label()));
            for id in suite.own_tests(ids)? {
                let owner = owners.entry(format!("{prefix}{id}")).or_default();
                let may = owner.1 && owner.0 == prefix.len();
                if owner.0 <= prefix.len() {
                    *owner = (prefix.len(), is_blind || may);
                }
            }
        }
        Ok(owners.into_iter().filter(|(_, (_, blind))| *blind).map(|(id, _)| id).collect())
    }

    /// Test bodies that end in a statement that must fail.
    pub(super) async fn poisoned(&mut self) -> Result<Finding> {
        (self.say)("control: tests that must fail");
        self.must_fail(Variant::Poison, "made to fail at the end").await
    }

    /// Test bodies that expect a wrong value.
    pub(super) async fn perturbed(&mut self) -> Result<Finding> {
        (self.say)("control: tests that expect wrong values");
        self.must_fail(Variant::Perturb, "made to expect a wrong value").await
    }

    /// Runs the targets and some guards in a variant that must fail.
    async fn must_fail(&mut self, variant: Variant, what: &str) -> Result<Finding> {
        if self.level < Level::Attested {
            return Ok(Finding::NotRun("without an attested run a control proves nothing".to_owned()));
        }
        let said = match self.runs(&[variant]).await? {
            Ok(said) => said,
            Err(failure) => return Ok(Finding::red(failure)),
        };
        let altered: BTreeSet<TestId> = said.all.altered.intersection(&self.chosen).cloned().collect();
        let with = |outcome| -> BTreeSet<TestId> {
            altered.iter().filter(|id| said.all.run.outcome(id) == outcome).cloned().collect()
        };
        let (passed, failed) = (with(Outcome::Passed), with(Outcome::Failed));
        if !passed.is_empty() {
            let base = self.on_base(variant, &passed).await?;
            let immune = |id: &&TestId| base.all.run.outcome(id) == Outcome::Passed;
            let guilty: Vec<&TestId> = passed.iter().filter(|id| !immune(id)).collect();
            if !guilty.is_empty() {
                let names = text::list(&guilty, 3);
                let tests = count(guilty.len(), "test");
                return Ok(Finding::suspect(vec![format!("{tests} {what} passed all the same: {names}")]));
            }
        }
        if !said.all.contradictions.is_empty() {
            return self.contradicted(&said.all.contradictions, variant).await;
        }
        if failed.is_empty() {
            return Ok(Finding::NotRun(format!("no test {what} came to run")));
        }
        self.controlled.extend(failed.intersection(&self.case.baseline.targets).cloned());
        Ok(Finding::Passed(format!("{} {what} failed as they must", count(failed.len(), "test"))))
    }

    /// Tests under other names must pass.
    pub(super) async fn aliased(&mut self) -> Result<Finding> {
        if self.level < Level::Attested {
            return Ok(Finding::NotRun("without an attested run a control proves nothing".to_owned()));
        }
        (self.say)("control: tests under other names");
        let chosen = self.chosen.clone();
        let said = match self.runs(&[Variant::Alias]).await? {
            Ok(said) => said,
            Err(failure) => return Ok(Finding::red(failure)),
        };
        // What has no word here is a limit of the renaming; what fails under another name is not.
        let failed: BTreeSet<TestId> =
            chosen.iter().filter(|id| said.all.run.outcome(id) == Outcome::Failed).cloned().collect();
        let renamed = chosen.iter().filter(|id| said.all.altered.contains(*id) && said.covers(id)).count();
        if !failed.is_empty()
            && let Some(finding) = self.failed_aliased(&failed).await?
        {
            return Ok(finding);
        }
        if !said.all.contradictions.is_empty() {
            return self.contradicted(&said.all.contradictions, Variant::Alias).await;
        }
        self.reach_controlled();
        if renamed == 0 {
            return Ok(Finding::NotRun("no test could be renamed".to_owned()));
        }
        Ok(Finding::Passed(format!("{} passed under random names", count(renamed, "test"))))
    }

    /// Tests that fail under other names get a second try, alone; what fails again counts, unless guards show that
    /// the base's tests depend on their names.
    async fn failed_aliased(&mut self, failed: &BTreeSet<TestId>) -> Result<Option<Finding>> {
        let workspace = self.verifier.workshop.workspace()?;
        workspace.apply(self.case.product)?;
        let again = self.attest(&workspace, Variant::Alias, Choice::of(failed)).await?;
        self.seeds.extend(&again.seeds);
        let broken: BTreeSet<TestId> = failed.iter().filter(|id| !again.covers(id)).cloned().collect();
        if broken.is_empty() {
            return Ok(None);
        }
        // Targets fail on the base under every name: only guards can speak for it.
        let sample: BTreeSet<TestId> =
            self.chosen.intersection(&self.case.baseline.guards).cloned().collect();
        let base = self.on_base(Variant::Alias, &sample).await?;
        let fails: BTreeSet<TestId> = sample.into_iter().filter(|id| base.fails(id)).collect();
        if fails.is_empty() {
            let names = text::list(&broken.iter().collect::<Vec<_>>(), 3);
            let tests = count(broken.len(), "test");
            let violation = format!("{tests} passed only under the name it has: {names}");
            return Ok(Some(Finding::suspect(vec![violation])));
        }
        if broken.is_subset(&fails) {
            self.reach_controlled();
        }
        Ok(Some(Finding::NotRun("the base's tests depend on their names".to_owned())))
    }

    /// The controls are through: that is a level, if a target was among the tests that failed as they must.
    fn reach_controlled(&mut self) {
        if self.level == Level::Attested && !self.controlled.is_empty() {
            self.level = Level::Controlled;
        }
    }

    /// What has to pass: targets and guards by name; where the base told of no tests, whatever now passes.
    pub(super) fn required(&self) -> BTreeSet<TestId> {
        let baseline = self.case.baseline;
        let named = baseline.targets.iter().chain(&baseline.guards).filter(|id| !is_synthetic(id));
        let mut required: BTreeSet<TestId> = named.cloned().collect();
        if baseline.targets.iter().any(|id| is_synthetic(id)) {
            let appeared = self.visible.with(Outcome::Passed);
            required.extend(appeared.difference(&baseline.flaky).filter(|id| !is_synthetic(id)).cloned());
        }
        required
    }

    /// The tests that controls take: the targets, and guards drawn anew.
    fn chosen(&self) -> Result<BTreeSet<TestId>> {
        let guards = &self.case.baseline.guards;
        let targets: BTreeSet<TestId> = self.required().difference(guards).cloned().collect();
        // A file that did not load on the base stands for the tests that it holds now.
        let mut chosen: BTreeSet<TestId> =
            targets.iter().flat_map(|id| self.visible.named_by(id).map(|test| test.id.clone())).collect();
        chosen.extend(self.some_guards()?);
        Ok(chosen)
    }

    fn some_guards(&self) -> Result<BTreeSet<TestId>> {
        let mut guards: Vec<&TestId> =
            self.case.baseline.guards.iter().filter(|id| !is_synthetic(id)).collect();
        let mut draw = Secret::fresh()?.draw();
        let mut some = BTreeSet::new();
        while some.len() < SAMPLE && !guards.is_empty() {
            some.insert(guards.swap_remove(draw.below(guards.len())).clone());
        }
        Ok(some)
    }

    /// The attested run of the first of these variants. Where workspaces are cheap, all of them run side by side, and
    /// the others wait for their layer.
    async fn runs(&mut self, variants: &[Variant]) -> Result<Result<Attested, Failure>> {
        let Some(first) = variants.first() else { return Ok(Ok(Attested::default())) };
        if variants.len() > 1 {
            Box::pin(self.sit()).await?;
        }
        if !self.runs.contains_key(first) {
            let side_by_side = self.verifier.workshop.overlays();
            let now = if side_by_side { variants } else { &variants[..1] };
            let said = join_all(now.iter().map(|variant| self.fresh_run(*variant))).await;
            for (variant, said) in now.iter().zip(said) {
                match said? {
                    Ok(said) => drop(self.runs.insert(*variant, said)),
                    Err(failure) => return Ok(Err(failure)),
                }
            }
        }
        let said = self.runs.remove(first).unwrap_or_default();
        self.seeds.extend(&said.seeds);
        Ok(Ok(said))
    }

    /// An attested run in a fresh checkout: of everything as it is, or of the chosen tests in a variant.
    async fn fresh_run(&self, variant: Variant) -> Result<Result<Attested, Failure>> {
        let workspace = match self.workspace()? {
            Ok(workspace) => workspace,
            Err(failure) => return Ok(Err(failure)),
        };
        // Tests that pass under other names have passed.
        let whole = matches!(variant, Variant::Plain | Variant::Alias);
        let choice = if whole { Choice::default() } else { Choice::of(&self.chosen) };
        Ok(Ok(self.attest(&workspace, variant, choice).await?))
    }

    /// An attested run of every suite in a workspace.
    pub(super) async fn attest(
        &self,
        workspace: &Workspace,
        variant: Variant,
        choice: Choice<'_>,
    ) -> Result<Attested> {
        let mut said = Attested::default();
        // Tests of the base as they stand in this tree.
        let mut over = if choice.base { Patch::default() } else { self.composed.replayed.clone() };
        over.0.extend(choice.held_out.iter().flat_map(|files| files.0.clone()));
        for suite in &self.verifier.suites {
            let assignment = Assignment {
                verifier: self.verifier,
                suite,
                workspace,
                variant,
                only: choice.only,
                alter: choice.alter,
                held_out: Some(&over),
                base: Some(&self.case.baseline.run),
                secret: Secret::fresh()?,
            };
            match assigned(&assignment).await? {
                Some(one) => {
                    said.seeds.push(one.seed);
                    said.add(one);
                }
                None => said.blind.push(suite.label()),
            }
        }
        Ok(said)
    }

    /// What the untouched base says of these tests in a variant.
    async fn on_base(&mut self, variant: Variant, only: &BTreeSet<TestId>) -> Result<Attested> {
        if only.is_empty() {
            return Ok(Attested::default());
        }
        (self.say)("asking the base whether it does the same");
        let workspace = self.verifier.workshop.workspace()?;
        let choice = Choice { base: true, ..Choice::of(only) };
        let said = self.attest(&workspace, variant, choice).await?;
        self.seeds.extend(&said.seeds);
        Ok(said)
    }
}

impl Attested {
    /// What one suite said.
    pub(super) fn of(one: Attestation) -> Attested {
        let mut said = Attested { seeds: vec![one.seed], ..Attested::default() };
        said.add(one);
        said
    }

    fn add(&mut self, one: Attestation) {
        self.suites += 1;
        for test in one.run.tests.into_values() {
            keep_worse(&mut self.all.run.tests, test);
        }
        let run = &mut self.all.run;
        run.built |= one.run.built;
        run.broken.extend(one.run.broken);
        run.diagnostics.extend(one.run.diagnostics);
        run.log.push_str(&one.run.log);
        run.seconds += one.run.seconds;
        self.all.attested.extend(one.attested);
        self.all.unattestable.extend(one.unattestable);
        self.all.contradictions.extend(one.contradictions);
        self.all.altered.extend(one.altered);
    }

    fn fails(&self, id: &str) -> bool {
        self.all.run.outcome(id) == Outcome::Failed
    }

    /// Whether a test, or everything that an id stands for, passed and is attested or cannot be.
    pub(super) fn covers(&self, id: &str) -> bool {
        let known = |id: &TestId| self.all.attested.contains(id) || self.all.unattestable.contains_key(id);
        let mut tests = self.all.run.named_by(id).peekable();
        tests.peek().is_some() && tests.all(|test| test.outcome == Outcome::Passed && known(&test.id))
    }
}
