//! A sitting is one build for all that an attested run asks: the tests as they are, their controls, and held-out tests
//! with their decoys. Every question is put in a copy of the checkout that was built, from which the sources of the
//! tests are gone, so that no process finds there what another one left. Only what is in order in every respect counts
//! here; anything else is asked again one by one ([`super::controls`]), and judged there. Coins are not tossed twice.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Verifier;
use super::attest::{Assignment, Play, Secret, Session, Variant};
use super::controls::Attested;
use super::heldout::{self, Tossed};
use super::judge::{Finding, Judging};
use crate::patch::Patch;
use crate::toolchain::Suite;
use crate::verdict::TestId;
use crate::workspace::Workspace;

/// A checkout in which the suite was built.
#[derive(Debug)]
pub(super) struct Sitting {
    workspace: Workspace,
    session: Session,
}

/// What came of held-out tests in a sitting.
pub(super) enum Sat {
    /// They are to be asked apart.
    Apart,
    /// They are to be asked apart, and no coins are tossed again: another pair of values would tell which one is true.
    Spent,
    /// This is what it came to.
    Found(Finding),
}

impl Sitting {
    /// So many copies of the checkout, to run in.
    fn copies<const N: usize>(&mut self, verifier: &Verifier) -> Result<[Workspace; N]> {
        let mut copies = Vec::new();
        for _ in 0..N {
            let copy = verifier.workshop.fork(&mut self.workspace)?;
            copy.apply(&self.session.sources())?;
            copies.push(copy);
        }
        Ok(copies.try_into().expect("there are so many"))
    }

    async fn ask(&self, verifier: &Verifier, place: &Workspace, play: Play<'_>) -> Result<Attested> {
        Ok(Attested::of(self.session.play(verifier, place, &play).await?))
    }
}

impl Judging<'_> {
    /// The attested run and all controls out of one build, where suite and workspaces allow that.
    pub(super) async fn sit(&mut self) -> Result<()> {
        let verifier = self.verifier;
        let [suite] = verifier.suites.as_slice() else { return Ok(()) };
        if !verifier.workshop.overlays() {
            return Ok(());
        }
        let Ok(workspace) = self.workspace()? else { return Ok(()) };
        let over = &self.composed.replayed;
        let Some(session) = Session::build(&assignment(verifier, suite, &workspace, over)?).await? else {
            return Ok(());
        };
        let mut sitting = Sitting { workspace, session };
        let whole = verifier.workshop.fork(&mut sitting.workspace)?;
        let [one, two, three] = sitting.copies(verifier)?;
        let chosen = Some(&self.chosen);
        let plain = Play { variant: Variant::Plain, only: None, alter: None, but: None, whole: Some(&whole) };
        let control = |variant| Play { variant, only: chosen, ..plain };
        let (plain, poison, perturb) = tokio::try_join!(
            sitting.ask(verifier, &one, plain),
            sitting.ask(verifier, &two, control(Variant::Poison)),
            sitting.ask(verifier, &three, control(Variant::Perturb)),
        )?;
        let in_order =
            plain.all.contradictions.is_empty() && self.required().iter().all(|id| plain.covers(id));
        if in_order {
            // All of it ran under random names.
            self.runs.insert(Variant::Alias, plain.clone());
            self.runs.extend([
                (Variant::Plain, plain),
                (Variant::Poison, poison),
                (Variant::Perturb, perturb),
            ]);
            self.sitting = Some(sitting);
        }
        Ok(())
    }

    /// Held-out tests and their decoys by the same build, with these files added.
    pub(super) async fn sit_on(&mut self, files: &Patch) -> Result<Sat> {
        let (verifier, Some(mut sitting)) = (self.verifier, self.sitting.take()) else {
            return Ok(Sat::Apart);
        };
        let [suite] = verifier.suites.as_slice() else { return Ok(Sat::Apart) };
        let workspace = verifier.workshop.fork(&mut sitting.workspace)?;
        if workspace.apply(files).is_err() {
            return Ok(Sat::Apart);
        }
        let mut over = self.composed.replayed.clone();
        over.0.extend(files.0.clone());
        let extended = sitting.session.extended(&assignment(verifier, suite, &workspace, &over)?).await?;
        let Some(session) = extended else { return Ok(Sat::Apart) };
        let mut sitting = Sitting { workspace, session };
        let whole = verifier.workshop.fork(&mut sitting.workspace)?;
        let [one, two, three] = sitting.copies(verifier)?;
        let asked = self.brought();
        if asked.is_empty() {
            return Ok(Sat::Apart);
        }
        // Coins come first, as everywhere.
        let (heads, tails) = heldout::toss(&asked)?;
        let decoys = |alter| Play {
            variant: Variant::Perturb,
            only: Some(&asked),
            alter: Some(alter),
            but: None,
            whole: None,
        };
        let (first, second) = tokio::try_join!(
            sitting.ask(verifier, &one, decoys(&heads)),
            sitting.ask(verifier, &two, decoys(&tails)),
        )?;
        let tossed = Tossed { asked, sides: [(first, heads), (second, tails)] };
        if let Some(finding) = tossed.decoy_passed() {
            return Ok(Sat::Found(finding));
        }
        let visible: BTreeSet<TestId> = self.visible.tests.keys().cloned().collect();
        let plain = Play {
            variant: Variant::Plain,
            only: None,
            alter: None,
            but: Some(&visible),
            whole: Some(&whole),
        };
        let said = sitting.ask(verifier, &three, plain).await?;
        let vectors = self.fresh(&said.all.run);
        if tossed.true_failed() > 0 || !self.is_in_order(&said, &vectors)? {
            // That may be a limit of the renaming.
            return Ok(Sat::Spent);
        }
        Ok(Sat::Found(self.weigh_held_out(&said, &vectors, &tossed)))
    }
}

fn assignment<'a>(
    verifier: &'a Verifier,
    suite: &'a Suite,
    workspace: &'a Workspace,
    over: &'a Patch,
) -> Result<Assignment<'a>> {
    Ok(Assignment {
        verifier,
        suite,
        workspace,
        variant: Variant::Alias,
        only: None,
        alter: None,
        held_out: Some(over),
        base: None,
        secret: Secret::fresh()?,
    })
}
