//! Held-out tests are laid over the composed tree and run apart. Where test bodies can be perturbed, each held-out
//! test is a *decoy* with even odds: a secret fair coin says whether it expects the true or a wrong value, in one
//! process with all the others, and a second process has the coins the other way round. Whoever forges results
//! without computing them must guess every coin. Where the
//! base names the tests they run behind coins first and as they are afterwards, so that nothing that outlives a box
//! has seen the true values when the coins are tossed. What failed is not told, since feedback gives an oracle away.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

use super::assess::is_synthetic;
use super::attest::{Secret, Variant};
use super::baseline::Trouble;
use super::controls::{Attested, Choice};
use super::judge::{Finding, Judging};
use super::sitting::Sat;
use super::{Say, Verifier, count, plain};
use crate::patch::{File, Patch, RepoPath};
use crate::record::Cause;
use crate::verdict::{Baseline, FailureKind, Level, Outcome, TestId, TestRun};
use crate::workspace::{Workspace, read_file};

/// Held-out tests.
#[derive(Clone, Debug, Default)]
pub struct HeldOut {
    /// Files that are laid over the composed tree for a run of their own: nobody who proposes has seen them.
    pub files: Patch,
    /// All tests that run with them, as far as the base can name them: see [`survey_held_out`].
    pub known: BTreeSet<TestId>,
}

/// Lets the base name the held-out tests, so that coins can be tossed before they run; or says why
/// they could never judge anything.
pub async fn survey_held_out(
    verifier: &mut Verifier,
    baseline: &Baseline,
    say: Say<'_>,
) -> Result<Option<Trouble>> {
    let Some(files) = verifier.held_out.as_ref().map(|held_out| held_out.files.clone()) else {
        return Ok(None);
    };
    say("running held-out tests on the base");
    let mut workspace = verifier.workshop.workspace()?;
    workspace.apply(&files).context("the held-out files cannot be laid over the base")?;
    let run = verifier.observe(&mut workspace, None).await?;
    let known: BTreeSet<TestId> = run.tests.keys().filter(|id| !is_synthetic(id)).cloned().collect();
    let replaced = replaced(verifier, &files)?;
    // A base on which they do not build may still be mended so that they do.
    if !replaced
        && known.iter().all(|id| baseline.run.tests.contains_key(id))
        && run.built
        && run.broken.is_empty()
    {
        return Ok(Some(Trouble {
            cause: Cause::NoTests,
            detail: "the base's test runner finds no test in the held-out files".to_owned(),
            remedy: "lay the folder out like the repository, with the tests where its runner looks for them"
                .to_owned(),
        }));
    }
    if let Some(held_out) = &mut verifier.held_out {
        held_out.known = known;
    }
    Ok(None)
}

impl Judging<'_> {
    /// The held-out tests, if there are any.
    pub(super) async fn held_out(&mut self) -> Result<Finding> {
        let Some(held_out) = &self.verifier.held_out else {
            return Ok(Finding::NotRun("none were given".to_owned()));
        };
        let files = &self.renamed(&held_out.files)?;
        (self.say)("running held-out tests");
        if self.level < Level::Attested {
            return Ok(match self.observed(files, None).await? {
                Ok(0) => nothing_ran(),
                Ok(n) => by_word(n),
                Err(finding) => finding,
            });
        }
        // What a sitting runs are new tests alone.
        let replaced = replaced(self.verifier, &held_out.files)?;
        let sat = if replaced { Sat::Apart } else { Box::pin(self.sit_on(files)).await? };
        if let Sat::Found(finding) = sat {
            return Ok(finding);
        }
        let spent = matches!(sat, Sat::Spent);
        // Coins come first: what a test truly expects may not have been seen by whatever outlives a box.
        let brought = if spent { BTreeSet::new() } else { self.brought() };
        let tossed = self.tossed(files, &brought).await?;
        if let Some(finding) = tossed.as_ref().and_then(Tossed::stops) {
            return Ok(finding);
        }
        let workspace = match self.laid_over(files)? {
            Ok(workspace) => workspace,
            Err(finding) => return Ok(finding),
        };
        let choice = Choice { held_out: Some(files), ..Choice::default() };
        let said = self.attest(&workspace, Variant::Plain, choice).await?;
        let told = match self.observed(files, Some(&said.blind)).await? {
            Ok(told) => told,
            Err(finding) => return Ok(finding),
        };
        if told > 0 {
            // The suite's visible tests are attested, and these are not: whoever can bring that about may lie, too.
            self.level = self.level.min(Level::Attested);
        }
        let vectors = self.fresh(&said.all.run);
        if replaced && let Some(finding) = self.judge_replaced(files, &said).await? {
            return Ok(finding);
        }
        if let Some(finding) = self.judge_vanished(files, &said).await? {
            return Ok(finding);
        }
        if vectors.is_empty() && told > 0 {
            return Ok(by_word(told));
        }
        if vectors.is_empty() && replaced {
            return Ok(Finding::Passed(
                "visible tests that were replaced passed; none became a decoy".to_owned(),
            ));
        }
        if let Some(finding) = judge_true(&said, &vectors, &BTreeSet::new()) {
            return Ok(finding);
        }
        if spent {
            let tests = count(vectors.len(), "held-out test");
            return Ok(Finding::Passed(format!("{tests} passed, apart only: they have no decoys left")));
        }
        let tossed = match tossed {
            Some(tossed) => tossed,
            // The base cannot name them, so that they had to run once before.
            None => match self.tossed(files, &vectors).await? {
                Some(tossed) => tossed,
                None => return Ok(nothing_ran()),
            },
        };
        let before = self.level;
        let finding = self.weigh_held_out(&said, &vectors, &tossed);
        Ok(match finding {
            Finding::Passed(detail) if told > 0 => {
                self.level = before;
                Finding::Passed(format!("{detail}; {told} more by the word of the ordinary runner alone"))
            }
            finding => finding,
        })
    }

    /// Visible tests that the held-out files may have replaced have to pass as they now are, at least alone.
    async fn judge_replaced(&mut self, files: &Patch, said: &Attested) -> Result<Option<Finding>> {
        let known = self.known();
        let here = |id: &&TestId| known.contains(*id) || said.all.run.outcome(id) != Outcome::Missing;
        let not_passed: BTreeSet<TestId> =
            self.confirmed.iter().filter(here).filter(|id| !said.covers(id)).cloned().collect();
        if not_passed.is_empty() {
            return Ok(None);
        }
        let workspace = match self.laid_over(files)? {
            Ok(workspace) => workspace,
            Err(finding) => return Ok(Some(finding)),
        };
        let choice = Choice { only: Some(&not_passed), held_out: Some(files), ..Choice::default() };
        let again = self.attest(&workspace, Variant::Plain, choice).await?;
        self.seeds.extend(&again.seeds);
        let failed = not_passed.iter().filter(|id| !again.covers(id)).count();
        Ok((failed > 0).then(|| fails(failed)))
    }

    /// Tests that the base names and an attested run does not know count, unless an attested run of the base does not
    /// know them either.
    async fn judge_vanished(&mut self, files: &Patch, said: &Attested) -> Result<Option<Finding>> {
        let vanished = self.vanished(said)?;
        if vanished.is_empty() {
            return Ok(None);
        }
        let workspace = self.verifier.workshop.workspace()?;
        workspace.apply(files)?;
        let choice = Choice { held_out: Some(files), base: true, ..Choice::default() };
        let base = self.attest(&workspace, Variant::Plain, choice).await?;
        self.seeds.extend(&base.seeds);
        // A base of which nothing at all is known excuses nothing.
        let speaks = !base.all.run.tests.is_empty();
        let missed = vanished.iter().filter(|id| !speaks || is_there(&base.all.run, id)).count();
        Ok((missed > 0).then(|| fails(missed)))
    }

    /// The tests that the base names and an attested run does not know.
    fn vanished(&self, said: &Attested) -> Result<BTreeSet<TestId>> {
        let brought = self.brought();
        let unseen = self.of_blind(&brought, &said.blind)?;
        let gone = |id: &&TestId| self.composed.renames.keep(id) && !is_there(&said.all.run, id);
        Ok(brought.difference(&unseen).filter(gone).cloned().collect())
    }

    /// Whether nothing at all speaks against an attested run of the held-out tests as they are.
    pub(super) fn is_in_order(&self, said: &Attested, vectors: &BTreeSet<TestId>) -> Result<bool> {
        let stopped = judge_true(said, vectors, &BTreeSet::new()).is_some();
        Ok(!stopped && self.vanished(said)?.is_empty())
    }

    /// The tests that the base says the held-out files bring.
    pub(super) fn brought(&self) -> BTreeSet<TestId> {
        let known = self.known();
        known.into_iter().filter(|id| !self.case.baseline.run.tests.contains_key(id)).collect()
    }

    /// The tests that the base runs with the held-out files, as they are called now.
    fn known(&self) -> BTreeSet<TestId> {
        let known = self.verifier.held_out.iter().flat_map(|held_out| &held_out.known);
        known.map(|id| self.composed.moved.id(id)).collect()
    }

    /// What held-out tests said as they are, and behind a coin and its other side.
    pub(super) fn weigh_held_out(
        &mut self,
        said: &Attested,
        vectors: &BTreeSet<TestId>,
        tossed: &Tossed,
    ) -> Finding {
        self.seeds.extend(&said.seeds);
        let tests = count(vectors.len(), "held-out test");
        if tossed.sides.iter().any(|(side, _)| side.suites < said.suites) {
            return Finding::Passed(format!("{tests} passed; they do not build as decoys"));
        }
        let asked: BTreeSet<TestId> = vectors.intersection(&tossed.asked).cloned().collect();
        let mut decoys = BTreeSet::new();
        for (side, alter) in &tossed.sides {
            self.seeds.extend(&side.seeds);
            let altered: BTreeSet<TestId> = side.all.altered.intersection(alter).cloned().collect();
            let finding = judge_decoys(side, &altered).or_else(|| judge_true(side, &asked, alter));
            if let Some(finding) = finding {
                return finding;
            }
            decoys.extend(altered);
        }
        if decoys.is_empty() {
            return Finding::Passed(format!("{tests} passed; none could be made a decoy"));
        }
        self.level = Level::HeldOut;
        let n = decoys.len();
        self.evidence.decoys = n;
        Finding::Passed(format!("{tests} passed, n = {n} decoys told apart (2^-{n} = {:.1e})", odds(n)))
    }

    /// The held-out files under the names, and in the places, that the patch gave its product.
    fn renamed(&self, files: &Patch) -> Result<Patch> {
        let names = &self.composed.renames;
        let renamed = |(path, file): (&RepoPath, &Option<File>)| {
            self.composed.moved.file(path, file.as_ref().map(|file| names.apply(path, file)).as_ref())
        };
        Ok(Patch(files.0.iter().map(renamed).collect::<Result<_>>()?))
    }

    /// Held-out tests in one process, those of one side of a coin expecting a wrong value, and the others in another
    /// one; `None` where there are none.
    async fn tossed(&mut self, files: &Patch, asked: &BTreeSet<TestId>) -> Result<Option<Tossed>> {
        if asked.is_empty() {
            return Ok(None);
        }
        let (heads, tails) = toss(asked)?;
        let (one, other) = if self.verifier.workshop.overlays() {
            tokio::join!(self.decoys(files, asked, &heads), self.decoys(files, asked, &tails))
        } else {
            (self.decoys(files, asked, &heads).await, self.decoys(files, asked, &tails).await)
        };
        Ok(Some(Tossed { asked: asked.clone(), sides: [(one?, heads), (other?, tails)] }))
    }

    /// One side of the coin; nothing is known of it where the files cannot be laid over the tree.
    async fn decoys(
        &self,
        files: &Patch,
        asked: &BTreeSet<TestId>,
        alter: &BTreeSet<TestId>,
    ) -> Result<Attested> {
        let Ok(workspace) = self.laid_over(files)? else { return Ok(Attested::default()) };
        let choice = Choice { only: Some(asked), alter: Some(alter), held_out: Some(files), base: false };
        self.attest(&workspace, Variant::Perturb, choice).await
    }

    /// The candidate with the held-out files on top.
    fn laid_over(&self, files: &Patch) -> Result<Result<Workspace, Finding>> {
        let workspace = match self.workspace()? {
            Ok(workspace) => workspace,
            Err(failure) => return Ok(Err(Finding::red(failure))),
        };
        Ok(match workspace.apply(files) {
            Ok(()) => Ok(workspace),
            Err(error) => Err(Finding::inconclusive(format!(
                "the held-out files cannot be laid over the tree: {error:#}"
            ))),
        })
    }

    /// Where suites cannot be attested, these or all, the ordinary runner tells, and may be deceived: how many passed.
    async fn observed(&self, files: &Patch, blind: Option<&[String]>) -> Result<Result<usize, Finding>> {
        if blind.is_some_and(<[String]>::is_empty) {
            return Ok(Ok(0));
        }
        let mut workspace = match self.laid_over(files)? {
            Ok(workspace) => workspace,
            Err(finding) => return Ok(Err(finding)),
        };
        let run = self.verifier.observe(&mut workspace, None).await?;
        let ours = |ids: BTreeSet<TestId>| match blind {
            Some(blind) => self.of_blind(&ids, blind),
            None => Ok(ids),
        };
        let names = &self.composed.renames;
        let vanished = |id: &&TestId| names.keep(id) && !is_there(&run, id);
        let vanished = ours(self.brought())?.iter().filter(vanished).count();
        let vectors = ours(self.fresh(&run))?;
        let mut asked = vectors.clone();
        if self
            .verifier
            .held_out
            .iter()
            .any(|held_out| replaced(self.verifier, &held_out.files).unwrap_or(true))
        {
            asked.extend(ours(self.required())?.into_iter().filter(|id| run.outcome(id) != Outcome::Missing));
        }
        let failed = asked.iter().filter(|id| run.outcome(id) != Outcome::Passed).count() + vanished;
        if failed > 0 || !run.broken.is_empty() {
            return Ok(Err(fails(failed.max(1))));
        }
        Ok(Ok(vectors.len()))
    }

    /// How many held-out tests fail on the patch as it was delivered, by the word of the ordinary runner.
    pub(super) async fn failing_as_delivered(&self, delivered: &Patch) -> Result<usize> {
        let Some(held_out) = &self.verifier.held_out else { return Ok(0) };
        let mut workspace = self.verifier.workshop.workspace()?;
        workspace.apply(delivered)?;
        workspace.apply(&self.renamed(&held_out.files)?)?;
        let run = self.verifier.observe(&mut workspace, None).await?;
        let gone = |id: &&TestId| self.composed.renames.keep(id) && !is_there(&run, id);
        let brought = self.brought();
        let failed = brought.iter().filter(|id| run.outcome(id) == Outcome::Failed || gone(id)).count();
        Ok(failed.max(usize::from(!run.built || !run.broken.is_empty())))
    }

    /// The tests that the held-out files brought: those that the base names, and others that no visible run knows.
    pub(super) fn fresh(&self, run: &TestRun) -> BTreeSet<TestId> {
        let (brought, base) = (self.brought(), &self.case.baseline.run);
        let visible = |id: &TestId| base.tests.contains_key(id) || self.visible.tests.contains_key(id);
        run.tests.keys().filter(|id| brought.contains(*id) || !visible(id)).cloned().collect()
    }
}

/// The held-out tests in a folder, whose files lie in it as they would in the repository.
pub fn read(folder: &Path) -> Result<HeldOut> {
    let (mut files, mut folders) = (Patch::default(), vec![String::new()]);
    while let Some(inside) = folders.pop() {
        let place = folder.join(&inside);
        let entries =
            std::fs::read_dir(&place).with_context(|| format!("failed to list {}", place.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().context("a name is not UTF-8")?;
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else {
                let path = RepoPath::new(&path)?;
                let file = read_file(folder, &path)?;
                files.0.insert(path.clone(), Some(file.with_context(|| format!("failed to read {path}"))?));
            }
        }
    }
    Ok(HeldOut { files, known: BTreeSet::new() })
}

/// Whether held-out files stand in the place of others of the base: tests of the same name are then other ones.
fn replaced(verifier: &Verifier, files: &Patch) -> Result<bool> {
    for (path, file) in &files.0 {
        if verifier.workshop.snapshot.file(path)?.is_some_and(|base| Some(&base) != file.as_ref()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a run has a test that the base named, or what now stands in its place: the tests of a file that did not
/// load there, or those with other parameters.
fn is_there(run: &TestRun, id: &str) -> bool {
    let same = |head: &str| run.tests.keys().any(|other| other.starts_with(head));
    run.named_by(id).next().is_some() || id.split_once('[').is_some_and(|(head, _)| same(&format!("{head}[")))
}

/// Held-out tests behind a coin and its other side: what they said, and which of them expected a wrong value.
pub(super) struct Tossed {
    pub(super) asked: BTreeSet<TestId>,
    pub(super) sides: [(Attested, BTreeSet<TestId>); 2],
}

impl Tossed {
    /// What speaks against the candidate already, before any test has run as it is.
    fn stops(&self) -> Option<Finding> {
        self.decoy_passed().or_else(|| Some(self.true_failed()).filter(|failed| *failed > 0).map(fails))
    }

    /// Decoys that passed.
    pub(super) fn decoy_passed(&self) -> Option<Finding> {
        self.sides.iter().find_map(|(side, alter)| {
            let altered = side.all.altered.intersection(alter).cloned().collect();
            judge_decoys(side, &altered)
        })
    }

    /// How many tests failed that expected the true value.
    pub(super) fn true_failed(&self) -> usize {
        let failed = |(side, alter): &(Attested, BTreeSet<TestId>)| {
            self.asked.difference(alter).filter(|id| side.all.run.outcome(id) == Outcome::Failed).count()
        };
        self.sides.iter().map(failed).sum()
    }
}

/// Whether every held-out test that was not made a decoy passed.
fn judge_true(said: &Attested, vectors: &BTreeSet<TestId>, altered: &BTreeSet<TestId>) -> Option<Finding> {
    if !said.all.contradictions.is_empty() {
        return Some(Finding::suspect(vec!["results of held-out tests contradict themselves".to_owned()]));
    }
    if vectors.is_empty() {
        return Some(nothing_ran());
    }
    let failed = vectors.difference(altered).filter(|id| !said.covers(id)).count();
    (failed > 0).then(|| fails(failed))
}

/// Whether every decoy failed.
fn judge_decoys(said: &Attested, altered: &BTreeSet<TestId>) -> Option<Finding> {
    let passed = altered.iter().filter(|id| said.all.run.outcome(id) == Outcome::Passed).count();
    let tests = count(passed, "held-out test");
    (passed > 0).then(|| {
        Finding::suspect(vec![format!("{tests} passed with a wrong value in place of the right one")])
    })
}

/// Tests that no attested run has seen.
fn by_word(passed: usize) -> Finding {
    let tests = count(passed, "held-out test");
    Finding::Passed(format!("{tests} passed, by the word of the ordinary runner alone"))
}

fn nothing_ran() -> Finding {
    Finding::inconclusive("no held-out test came to run".to_owned())
}

fn fails(failed: usize) -> Finding {
    let verb = if failed == 1 { "does" } else { "do" };
    let summary = format!("{} {verb} not pass", count(failed, "held-out test"));
    Finding::red(plain(FailureKind::HeldOutFails, summary))
}

/// A fair coin for every test; subtests (`name/…`) stand and fall with the test that they belong to.
pub(super) fn toss(vectors: &BTreeSet<TestId>) -> Result<(BTreeSet<TestId>, BTreeSet<TestId>)> {
    let mut draw = Secret::fresh()?.draw();
    let (mut heads, mut tails) = (BTreeSet::new(), BTreeSet::new());
    for id in vectors {
        let above = |set: &BTreeSet<TestId>| id.match_indices('/').any(|(at, _)| set.contains(&id[..at]));
        let head = above(&heads) || !above(&tails) && draw.coin();
        if head { &mut heads } else { &mut tails }.insert(id.clone());
    }
    Ok((heads, tails))
}

/// The chance to guess so many fair coins.
fn odds(n: usize) -> f64 {
    0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::TestResult;

    #[test]
    fn a_test_that_the_base_named_is_there_by_itself_by_its_file_or_with_other_parameters() {
        let mut run = TestRun::default();
        for id in ["t.py::test_a", "t.py::test_b[2]", "t.js > sum > adds"] {
            run.tests.insert(id.to_owned(), TestResult::new(id, Outcome::Passed));
        }
        for id in ["t.py::test_a", "t.py", "t.py::test_b[1]", "t.js > sum"] {
            assert!(is_there(&run, id), "{id}");
        }
        for id in ["t.py::test_c", "t.py::test_a[1]", "t.js > sum > subtracts", "u.py"] {
            assert!(!is_there(&run, id), "{id}");
        }
    }
}
