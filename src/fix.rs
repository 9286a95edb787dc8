//! The loop: measure the base, ask for a candidate, judge it, go round until it is green or the budget is
//! spent. Every step is in the ledger before the next one begins, so that a killed run goes on where it was.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::budget::{Budget, Limit, Spent};
use crate::edit::{self, Hunks};
use crate::leak::Leak;
use crate::ledger::Ledger;
use crate::patch::{File, Patch, RepoPath};
use crate::policy::{self, Action, Attempt, Stakes, Tier};
use crate::process;
use crate::prompt::{self, Material, Mode, Prompt, Repository, Templates};
use crate::propose::{Ask, Proposal, Proposer};
use crate::record::{Event, Outcome, Record};
use crate::repair::grammar::Grammars;
use crate::strength::{self, Bounds};
use crate::verdict::{Baseline, Evidence, Failure, FailureKind, Verdict};
use crate::verify::{self, Composed, Trouble, Verifier};

/// The longest that one proposer may take for one answer, if the budget allows it.
const ANSWER: Duration = Duration::from_mins(30);

/// Full test runs that minimising a green patch may take, and the least time that it has; it may take as long as
/// the base's tests took six times, which is about what judging takes.
const MINIMISING: usize = 12;
const LEAST: Duration = Duration::from_secs(10);

/// A run: everything that the loop needs.
pub struct Run<'a> {
    /// Who judges.
    pub verifier: Verifier,
    /// Who makes candidates, cheapest first.
    pub proposers: Vec<Box<dyn Proposer>>,
    /// What models are told.
    pub templates: Templates,
    /// What may be spent.
    pub budget: Budget,
    /// What is known of languages, to measure how strong the tests are.
    pub grammars: Grammars,
    /// Small wrong changes of the changed lines that the tests are tried with at the end; 0 for none.
    pub mutants: usize,
    /// What is at stake, if that was said.
    pub stakes: Option<Stakes>,
    /// The share of the targets that a proposer which searches is not told of, from 0 to 0.5.
    pub withhold: f64,
    /// What happened so far.
    pub ledger: Ledger,
    /// Told of every record as soon as it is on the disk.
    pub watch: &'a dyn Fn(&Record),
    /// Told what is being done right now.
    pub say: verify::Say<'a>,
}

/// A candidate, judged or about to be.
struct Candidate {
    attempt: u32,
    patch: Patch,
    left_out: Vec<String>,
}

/// Makes the repository green, or says honestly why not.
pub async fn fix(run: &mut Run<'_>) -> Result<Outcome> {
    let limit = run.budget.time_left(run.ledger.elapsed());
    let outcome = match limit {
        None => turn(run).await?,
        Some(left) => match tokio::time::timeout(left, turn(run)).await {
            Ok(outcome) => outcome?,
            // A green that was not minimised in time is green.
            Err(_) => match run.accepted() {
                Some((candidate, evidence)) => run.green(candidate.patch, evidence),
                None => Outcome::OutOfBudget { limit: Limit::Time },
            },
        },
    };
    run.end(outcome)
}

/// The circle.
async fn turn(run: &mut Run<'_>) -> Result<Outcome> {
    let baseline = match run.baseline().await? {
        Ok(baseline) => baseline,
        Err(Trouble { cause, detail, remedy }) => return Ok(Outcome::NotFixable { cause, detail, remedy }),
    };
    if baseline.targets.is_empty() {
        return Ok(already_green(&baseline));
    }
    let trouble = verify::survey_held_out(&mut run.verifier, &baseline, run.say).await?;
    if let Some(Trouble { cause, detail, remedy }) = trouble {
        return Ok(Outcome::NotFixable { cause, detail, remedy });
    }
    loop {
        if let Some((candidate, evidence)) = run.accepted() {
            return run.minimise(&baseline, candidate, evidence).await;
        }
        let candidate = match run.unjudged() {
            Some(candidate) => candidate,
            None => match run.decide(&baseline).await? {
                Step::Candidate(candidate) => candidate,
                Step::Again => continue,
                Step::Stop(outcome) => return Ok(outcome),
            },
        };
        run.judge(&baseline, &candidate).await?;
    }
}

fn already_green(baseline: &Baseline) -> Outcome {
    let complaint = baseline.run.exit.as_ref().filter(|exit| !exit.success());
    Outcome::AlreadyGreen {
        passing: baseline.guards.len(),
        disabled: baseline.disabled.len(),
        complaint: complaint.map(|exit| format!("no test fails, and yet the test command ends with {exit}")),
    }
}

/// What a decision led to.
enum Step {
    Candidate(Candidate),
    Again,
    Stop(Outcome),
}

impl Run<'_> {
    /// Writes an event to the ledger and shows it.
    fn note(&mut self, event: Event) -> Result<()> {
        self.ledger.write(event)?;
        if let Some(record) = self.ledger.records.last() {
            (self.watch)(record);
        }
        Ok(())
    }

    /// Prepares the base, and measures it unless the ledger knows it already.
    async fn baseline(&mut self) -> Result<Result<Baseline, Trouble>> {
        let start = Instant::now();
        if let Some(trouble) = verify::prepare(&mut self.verifier, self.say).await? {
            return Ok(Err(trouble));
        }
        let known = self.ledger.records.iter().find_map(|record| match &record.event {
            Event::Measured { baseline } => Some(baseline.clone()),
            _ => None,
        });
        if let Some(baseline) = known {
            return Ok(Ok(baseline));
        }
        self.note(Event::SetUp { seconds: start.elapsed().as_secs_f64() })?;
        let measured = verify::measure(&self.verifier, self.say).await?;
        if let Ok(baseline) = &measured {
            self.note(Event::Measured { baseline: baseline.clone() })?;
        }
        Ok(measured)
    }

    /// Lets the policy decide, and does it.
    async fn decide(&mut self, baseline: &Baseline) -> Result<Step> {
        let attempts = policy::attempts(&self.ledger.records);
        if let Some((attempt, proposal)) = self.unread(&attempts) {
            return self.read(attempt, proposal);
        }
        let stakes = match self.stakes {
            Some(stakes) => Some((stakes, self.leak(baseline).await?)),
            None => None,
        };
        let elapsed = self.ledger.elapsed();
        let decision = policy::next(&attempts, &self.tiers(), &self.budget, elapsed, stakes);
        let (reason, alternatives) = (decision.reason, decision.alternatives);
        let action = match decision.action {
            Action::Fresh(tier) => format!("ask {} afresh", self.proposers[tier].name()),
            Action::Repair(tier) => format!("ask {} to mend its candidate", self.proposers[tier].name()),
            Action::GiveUp => "give up".to_owned(),
            Action::OutOfBudget(_) => "stop".to_owned(),
        };
        self.note(Event::Decided { action, reason: reason.clone(), alternatives })?;
        match decision.action {
            Action::Fresh(tier) => self.ask(baseline, &attempts, tier, None).await,
            Action::Repair(tier) => self.ask(baseline, &attempts, tier, attempts.last()).await,
            Action::GiveUp => {
                let failure = attempts.iter().rev().find_map(|attempt| attempt.failure().cloned());
                let failure = failure.unwrap_or_else(|| verify::failure_of_base(baseline));
                Ok(Step::Stop(Outcome::Unsolved { reason, failure: Some(failure) }))
            }
            Action::OutOfBudget(limit) => Ok(Step::Stop(Outcome::OutOfBudget { limit })),
        }
    }

    /// The chance that a wrong candidate passes, from how strong the base's tests are; measured once a run.
    async fn leak(&mut self, baseline: &Baseline) -> Result<f64> {
        let known = self.ledger.records.iter().find_map(|record| match &record.event {
            Event::Estimated { strength } => Some(Leak::of(strength).mistake),
            _ => None,
        });
        if let Some(leak) = known {
            return Ok(leak);
        }
        let left = self.budget.time_left(self.ledger.elapsed()).map(|left| left.mul_f64(0.2));
        let bounds = Bounds::of(self.mutants, baseline, left);
        let strength = strength::of_base(&self.verifier, &self.grammars, baseline, bounds, self.say).await?;
        let leak = Leak::of(&strength).mistake;
        self.note(Event::Estimated { strength })?;
        Ok(leak)
    }

    fn tiers(&self) -> Vec<Tier> {
        let tier = |proposer: &dyn Proposer| Tier {
            name: proposer.name().to_owned(),
            reads_prompt: proposer.context().is_some(),
            usd: proposer.most(&Prompt::default()).map_or(0.0, |most| most.usd),
        };
        self.proposers.iter().map(|proposer| tier(proposer.as_ref())).collect()
    }

    /// Asks a proposer, to mend the candidate of `mend` or afresh, if the budget allows the call.
    async fn ask(
        &mut self,
        baseline: &Baseline,
        attempts: &[Attempt],
        tier: usize,
        mend: Option<&Attempt>,
    ) -> Result<Step> {
        let attempt = attempts.last().map_or(0, |last| last.number) + 1;
        let searches = self.proposers[tier].context().is_none();
        let share = if searches { self.withhold } else { 0.0 };
        let (seen, withheld) = verify::withhold(baseline, share, self.seed());
        let baseline = &seen;
        let failure = mend.and_then(|mend| mend.failure().cloned());
        let failure = failure.unwrap_or_else(|| verify::failure_of_base(baseline));
        let prompt = match self.proposers[tier].context() {
            Some(context) => self.prompt(baseline, attempts, mend, &failure, context)?,
            None => Prompt::default(),
        };
        let model = self.proposers[tier].name().to_owned();
        let most = match self.proposers[tier].most(&prompt) {
            Ok(most) => most,
            Err(error) => {
                let reason = format!("{error:#}");
                self.note(Event::Asked {
                    attempt,
                    tier,
                    model,
                    prompt: String::new(),
                    withheld,
                    most: Spent::default(),
                })?;
                return self.declined(attempt, reason, Spent::default(), true);
            }
        };
        if let Some(limit) = self.budget.refuses(&policy::spent(attempts), &most) {
            return Ok(Step::Stop(Outcome::OutOfBudget { limit }));
        }
        let text = [prompt.system.as_str(), prompt.user.as_str()].join("\n").trim().to_owned();
        self.note(Event::Asked { attempt, tier, model: model.clone(), prompt: text, withheld, most })?;
        (self.say)(&format!("attempt {attempt}: {model}"));
        let start = Instant::now();
        let elapsed = self.ledger.elapsed();
        let time = self.budget.time_left(elapsed).unwrap_or(ANSWER).min(ANSWER);
        let ask =
            Ask { attempt, prompt: &prompt, baseline, failure: &failure, verifier: &self.verifier, time };
        let proposal = self.proposers[tier].propose(&ask).await?;
        let seconds = start.elapsed().as_secs_f64();
        match &proposal {
            Proposal::Reply { text, spent } => {
                self.note(Event::Replied {
                    attempt,
                    text: text.clone(),
                    edits: None,
                    spent: *spent,
                    seconds,
                })?;
            }
            Proposal::Edits { patch, transcript, spent } => {
                let edits = Some(patch.clone());
                self.note(Event::Replied {
                    attempt,
                    text: transcript.clone(),
                    edits,
                    spent: *spent,
                    seconds,
                })?;
            }
            Proposal::Nothing { reason, spent, permanent } => {
                return self.declined(attempt, reason.clone(), *spent, *permanent);
            }
        }
        self.read(attempt, proposal)
    }

    fn declined(&mut self, attempt: u32, reason: String, spent: Spent, permanent: bool) -> Result<Step> {
        self.note(Event::Declined { attempt, reason, spent, permanent })?;
        Ok(Step::Again)
    }

    /// The prompt of an attempt, fitted to the model's context.
    fn prompt(
        &self,
        baseline: &Baseline,
        attempts: &[Attempt],
        mend: Option<&Attempt>,
        failure: &Failure,
        context: u64,
    ) -> Result<Prompt> {
        let paths = self.verifier.workshop.snapshot.paths()?;
        let (protected, sources) = (self.verifier.protected()?, self.verifier.sources()?);
        let repository = Repository {
            paths: &paths,
            is_source: &|path| sources.is_match(path.as_str()),
            is_protected: &|path| protected.is_match(path.as_str()),
            read: &|path| self.base(path),
        };
        let statement = self.verifier.task.statement.as_deref();
        // Held-out tests name no place: what the base fails with does.
        let held_out = failure.kind == FailureKind::HeldOutFails;
        let about = if held_out { &verify::failure_of_base(baseline) } else { failure };
        let earlier: Vec<String> =
            attempts.iter().flat_map(|attempt| [Some(digest(attempt)), learned(attempt)]).flatten().collect();
        let material = Material {
            mode: if mend.is_some() { Mode::Repair } else { Mode::Fresh },
            statement,
            failure,
            baseline,
            relevant: &prompt::relevant(about, statement, &repository),
            tried: mend.map(|mend| mend.diff.as_str()),
            problems: &[],
            earlier: &earlier,
            protected: &self.verifier.task.protected,
        };
        prompt::build(&self.templates, &material, context)
    }

    /// What the same base gives in every run, so that a search that goes on sees the same targets.
    fn seed(&self) -> u64 {
        let tree = self.verifier.workshop.snapshot.tree.get(..16).unwrap_or_default();
        u64::from_str_radix(tree, 16).unwrap_or(0)
    }

    /// A file of the base.
    fn base(&self, path: &RepoPath) -> Option<File> {
        self.verifier.workshop.snapshot.file(path).ok().flatten()
    }

    /// An answer that was paid for and not read yet, because the run was killed in between.
    fn unread(&self, attempts: &[Attempt]) -> Option<(u32, Proposal)> {
        let last = attempts.last().filter(|last| last.verdict.is_none() && last.declined.is_none())?;
        let reply = self.ledger.records.iter().rev().find_map(|record| match &record.event {
            Event::Replied { attempt, text, edits, spent, .. } if *attempt == last.number => {
                Some(match edits {
                    None => Proposal::Reply { text: text.clone(), spent: *spent },
                    Some(patch) => {
                        Proposal::Edits { patch: patch.clone(), transcript: text.clone(), spent: *spent }
                    }
                })
            }
            _ => None,
        });
        Some((last.number, reply?))
    }

    /// Finds the candidate in an answer; an answer without one is a verdict of its own.
    fn read(&mut self, attempt: u32, proposal: Proposal) -> Result<Step> {
        let (patch, problem) = match proposal {
            Proposal::Reply { text, .. } => read_reply(&text, &|path| self.base(path)),
            Proposal::Edits { patch, .. } => (patch, None),
            Proposal::Nothing { reason, .. } => {
                bail!("an answer without a candidate was to be read: {reason}")
            }
        };
        let composed = self.verifier.compose(&patch)?;
        let nothing_left = verify::nothing_left(&composed);
        let Composed { product, left_out, .. } = composed;
        if let Some(failure) = problem.or(nothing_left) {
            // What fits of an answer that does not fit as a whole is no candidate: it must not look tried.
            self.note(Event::Judged { attempt, verdict: Verdict::Red(failure), seconds: 0.0 })?;
            return Ok(Step::Again);
        }
        let diff = product.unified(|path| self.base(path));
        self.note(Event::Proposed { attempt, patch: product.clone(), diff, left_out: left_out.clone() })?;
        Ok(Step::Candidate(Candidate { attempt, patch: product, left_out }))
    }

    /// A candidate that was judged green.
    fn accepted(&self) -> Option<(Candidate, Evidence)> {
        let attempts = policy::attempts(&self.ledger.records);
        let green = attempts.into_iter().find_map(|attempt| match (attempt.verdict, attempt.patch) {
            (Some(Verdict::Green(evidence)), Some(patch)) => Some((attempt.number, patch, evidence)),
            _ => None,
        });
        let (attempt, patch, evidence) = green?;
        Some((Candidate { attempt, patch, left_out: evidence.left_out.clone() }, evidence))
    }

    /// A candidate that was found and not judged yet, because the run was killed in between.
    fn unjudged(&self) -> Option<Candidate> {
        self.ledger.records.iter().rev().find_map(|record| match &record.event {
            Event::Proposed { attempt, patch, left_out, .. } => {
                Some(Some(Candidate { attempt: *attempt, patch: patch.clone(), left_out: left_out.clone() }))
            }
            Event::Judged { .. } | Event::Asked { .. } => Some(None),
            _ => None,
        })?
    }

    /// Judges a candidate; the same candidate is not judged twice.
    async fn judge(&mut self, baseline: &Baseline, candidate: &Candidate) -> Result<()> {
        let start = Instant::now();
        let attempts = policy::attempts(&self.ledger.records);
        let known = attempts
            .iter()
            .find(|earlier| earlier.verdict.is_some() && earlier.patch.as_ref() == Some(&candidate.patch));
        let mut verdict = match known.and_then(|earlier| earlier.verdict.clone()) {
            Some(verdict) => verdict,
            None => self.verifier.judge(baseline, &candidate.patch, self.say).await?,
        };
        if let Verdict::Green(evidence) = &mut verdict {
            evidence.left_out.clone_from(&candidate.left_out);
        }
        let seconds = start.elapsed().as_secs_f64();
        self.note(Event::Judged { attempt: candidate.attempt, verdict, seconds })
    }

    /// Drops the hunks that green does not need; what is left is judged once more as a whole.
    async fn minimise(
        &mut self,
        baseline: &Baseline,
        candidate: Candidate,
        evidence: Evidence,
    ) -> Result<Outcome> {
        let hunks = Hunks::of(&candidate.patch, |path| self.base(path));
        let mut dropped = std::collections::BTreeSet::new();
        let until =
            Instant::now() + Duration::from_secs_f64(baseline.run.seconds.clamp(0.0, 600.0) * 6.0).max(LEAST);
        if hunks.len() > 1 {
            for hunk in (0..hunks.len()).take(MINIMISING).take_while(|_| Instant::now() < until) {
                (self.say)(&format!("minimising: is hunk {} of {} needed?", hunk + 1, hunks.len()));
                dropped.insert(hunk);
                let smaller = hunks.without(&dropped);
                if smaller.is_empty() || !self.verifier.passes(baseline, &smaller, self.say).await? {
                    dropped.remove(&hunk);
                }
            }
        }
        let smaller = hunks.without(&dropped);
        if !dropped.is_empty()
            && let Verdict::Green(mut evidence) = self.verifier.judge(baseline, &smaller, self.say).await?
        {
            evidence.left_out = candidate.left_out;
            let diff = smaller.unified(|path| self.base(path));
            let (from, to) = (hunks.len(), hunks.len() - dropped.len());
            self.note(Event::Minimised {
                attempt: candidate.attempt,
                patch: smaller.clone(),
                diff: diff.clone(),
                from,
                to,
            })?;
            return self.weighed(baseline, smaller, evidence).await;
        }
        self.weighed(baseline, candidate.patch, evidence).await
    }

    /// Measures how strong the tests are on what changed, which takes nothing from green.
    async fn weighed(
        &mut self,
        baseline: &Baseline,
        patch: Patch,
        mut evidence: Evidence,
    ) -> Result<Outcome> {
        // The rest of the time is for delivering.
        let left = self.budget.time_left(self.ledger.elapsed()).map(|left| left.mul_f64(0.8));
        let bounds = Bounds::of(self.mutants, baseline, left);
        let (verifier, grammars) = (&self.verifier, &self.grammars);
        strength::of_patch(verifier, grammars, baseline, &patch, bounds, &mut evidence, self.say).await?;
        Ok(self.green(patch, evidence))
    }

    fn green(&self, patch: Patch, evidence: Evidence) -> Outcome {
        let diff = patch.unified(|path| self.base(path));
        let base =
            patch.paths().map(|path| (path.clone(), self.base(path).and_then(|file| file.blob()))).collect();
        Outcome::Green { patch, diff, base, evidence }
    }

    /// Writes how the run ended.
    fn end(&mut self, outcome: Outcome) -> Result<Outcome> {
        let spent = policy::spent(&policy::attempts(&self.ledger.records));
        let (seconds, waited) = (self.ledger.here(), process::waited().as_secs_f64());
        self.note(Event::Ended { outcome: outcome.clone(), spent, seconds, waited })?;
        Ok(outcome)
    }
}

/// The edits in a reply, and what is wrong with it as a whole.
fn read_reply(text: &str, base: &dyn Fn(&RepoPath) -> Option<File>) -> (Patch, Option<Failure>) {
    let edits = edit::read(text, base);
    let problem = if edits.blocks == 0 {
        Some(verify::plain(FailureKind::NoEdit, "the reply holds no edit".to_owned()))
    } else if edits.problems.is_empty() {
        None
    } else {
        let first = edits
            .problems
            .first()
            .map_or(String::new(), |problem| crate::text::one_line(&problem.to_string()));
        let (count, first) = (verify::count(edits.problems.len(), "edit"), crate::text::clip(&first, 200));
        let summary = format!("{count} cannot be applied: {first}");
        Some(Failure { log: edits.complaint(), ..verify::plain(FailureKind::DoesNotApply, summary) })
    };
    (edits.patch, problem)
}

/// Bytes, about 600 tokens, of what a search that found nothing has learned.
const LEARNED: usize = 2_000;

/// What a search that found nothing has learned: the lines after the first of why it gave up.
fn learned(attempt: &Attempt) -> Option<String> {
    let (_, more) = attempt.declined.as_ref()?.split_once('\n')?;
    Some(crate::text::clip(&crate::text::printable(more), LEARNED).into_owned())
}

/// One line on an earlier attempt.
fn digest(attempt: &Attempt) -> String {
    let end = match (&attempt.verdict, &attempt.declined) {
        (Some(Verdict::Red(failure)), _) => failure.summary.clone(),
        (Some(verdict @ (Verdict::Rejected { .. } | Verdict::Inconclusive { .. })), _) => verdict.word(),
        (Some(Verdict::Green(_)), _) => "green".to_owned(),
        (None, Some(reason)) => reason.lines().next().unwrap_or_default().to_owned(),
        (None, None) => "no answer".to_owned(),
    };
    prompt::digest(&attempt.model, &attempt.diff, &end)
}
