//! The policy decides the next action from the attempts so far. It is a pure function: a ladder of proposers,
//! cheapest first; on each rung a fresh candidate and at most two repairs with feedback, since most repairs
//! that ever succeed do so in the first or second round; a branch that repeats itself is left at once. Where it is
//! said what a success is worth and what an unnoticed mistake costs, an attempt must be worth it.

use std::time::Duration;

use crate::budget::{Budget, Limit, Spent};
use crate::leak::percent;
use crate::patch::Patch;
use crate::record::{Event, Record};
use crate::verdict::{Failure, FailureKind, Verdict};

/// Rounds on one branch: a fresh candidate and two repairs.
const ROUNDS: usize = 3;

/// Candidates that were suspect, or could not be judged, before the run stops.
const CHEATS: usize = 2;

/// The chance that a proposer which reads prompts ever succeeds, before anything is known of the task: nothing is
/// known, so one half; and half of that for each such rung that failed before.
const EVER: f64 = 0.5;

/// Of the tasks that a proposer ever solves, the share that it has solved after its first and its second round: the
/// middle of what public data say, 90 to 93 % and 98 to 99 %. Each later round finds half of what is left.
const SOLVED_BY: [f64; 2] = [0.915, 0.985];

/// Candidates that held-out tests may stop before the run stops: each tells one bit about them, and is a chance to
/// pass by luck.
const HELD_OUT: usize = 3;

/// A rung of the ladder.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// The proposer's name.
    pub name: String,
    /// Whether it reads a prompt: then feedback can help it. A search or a replay is asked until it has no
    /// more.
    pub reads_prompt: bool,
    /// Dollars that a call costs at most besides its prompt: what is assumed until a call was made.
    pub usd: f64,
}

/// What is at stake, in dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stakes {
    /// What a right patch is worth.
    pub worth: f64,
    /// What a wrong patch costs that passes all the same.
    pub harm: f64,
}

/// One turn of the loop, as the ledger tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// The rung.
    pub tier: usize,
    /// The proposer.
    pub model: String,
    /// The candidate, if one was found.
    pub patch: Option<Patch>,
    /// The candidate as a unified diff.
    pub diff: String,
    /// What the verifier said.
    pub verdict: Option<Verdict>,
    /// Why there was no candidate, if the proposer declined.
    pub declined: Option<String>,
    /// What it cost, or what it may have cost if the answer was lost.
    pub spent: Spent,
}

impl Attempt {
    /// What it failed with, if it was judged red.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.verdict {
            Some(Verdict::Red(failure)) => Some(failure),
            Some(Verdict::Green(_) | Verdict::Rejected { .. } | Verdict::Inconclusive { .. }) | None => None,
        }
    }
}

impl Attempt {
    /// Whether the verifier found it suspect or could not judge it: neither a pass nor something to mend.
    fn is_doubtful(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Rejected { .. } | Verdict::Inconclusive { .. }))
    }

    /// Whether held-out tests stopped it.
    fn is_held_out(&self) -> bool {
        self.failure().is_some_and(|failure| failure.kind == FailureKind::HeldOutFails)
    }
}

/// The attempts that a ledger tells of.
pub fn attempts(records: &[Record]) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    for record in records {
        match &record.event {
            Event::Asked { attempt, tier, model, most, .. } => {
                let attempt = Attempt {
                    number: *attempt,
                    tier: *tier,
                    model: model.clone(),
                    spent: *most,
                    ..Attempt::default()
                };
                attempts.push(attempt);
            }
            Event::Replied { spent, .. } => with_last(&mut attempts, |last| last.spent = *spent),
            Event::Declined { reason, spent, .. } => with_last(&mut attempts, |last| {
                last.spent = *spent;
                last.declined = Some(reason.clone());
            }),
            Event::Proposed { patch, diff, .. } => with_last(&mut attempts, |last| {
                last.patch = Some(patch.clone());
                last.diff.clone_from(diff);
            }),
            Event::Judged { verdict, .. } => {
                with_last(&mut attempts, |last| last.verdict = Some(verdict.clone()));
            }
            Event::Started { .. }
            | Event::Resumed { .. }
            | Event::Based { .. }
            | Event::SetUp { .. }
            | Event::Measured { .. }
            | Event::Estimated { .. }
            | Event::Decided { .. }
            | Event::Minimised { .. }
            | Event::Ended { .. } => {}
        }
    }
    attempts
}

fn with_last(attempts: &mut [Attempt], change: impl FnOnce(&mut Attempt)) {
    if let Some(last) = attempts.last_mut() {
        change(last);
    }
}

/// What was spent over all attempts.
pub fn spent(attempts: &[Attempt]) -> Spent {
    attempts.iter().fold(Spent::default(), |mut sum, attempt| {
        sum += attempt.spent;
        sum
    })
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask the proposer on this rung for a candidate, knowing only one line per earlier attempt.
    Fresh(usize),
    /// Ask the proposer on this rung to mend its last candidate.
    Repair(usize),
    /// The ladder is climbed.
    GiveUp,
    /// A limit is reached.
    OutOfBudget(Limit),
}

/// An action with its reason and what else could have been done.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// What else could have been done.
    pub alternatives: Vec<String>,
}

/// Decides the next action. With `stakes`, and the chance `leak` that a wrong candidate passes, an attempt is made only
/// if it is worth it.
pub fn next(
    attempts: &[Attempt],
    tiers: &[Tier],
    budget: &Budget,
    elapsed: Duration,
    stakes: Option<(Stakes, f64)>,
) -> Decision {
    let decision = climbing(attempts, tiers, budget, elapsed);
    match stakes {
        Some((stakes, leak)) => worthwhile(decision, attempts, tiers, stakes, leak),
        None => decision,
    }
}

/// Keeps a decision to ask if that is worth it; else the lowest rung above that is, else the end.
fn worthwhile(
    decision: Decision,
    attempts: &[Attempt],
    tiers: &[Tier],
    stakes: Stakes,
    leak: f64,
) -> Decision {
    let (tier, otherwise) = match decision.action {
        Action::Fresh(tier) => (tier, "ask afresh all the same"),
        Action::Repair(tier) => (tier, "mend all the same"),
        Action::GiveUp | Action::OutOfBudget(_) => return decision,
    };
    let bet = Bet::on(tier, attempts, tiers, stakes, leak);
    if bet.is_worth_it() {
        return Decision { reason: format!("{}; {}", decision.reason, bet.told()), ..decision };
    }
    let above = (tier + 1..tiers.len()).map(|tier| (tier, Bet::on(tier, attempts, tiers, stakes, leak)));
    if let Some((next, better)) = above.into_iter().find(|(_, bet)| bet.is_worth_it()) {
        let reason = format!(
            "{} is not worth it: {}; {} is: {}",
            name(tier, tiers),
            bet.told(),
            name(next, tiers),
            better.told()
        );
        return decide(Action::Fresh(next), reason, &["stop", otherwise]);
    }
    let reason = format!("another attempt of {} is not worth it: {}", name(tier, tiers), bet.told());
    decide(Action::GiveUp, reason, &[otherwise])
}

fn name(tier: usize, tiers: &[Tier]) -> &str {
    tiers.get(tier).map_or("nobody", |tier| tier.name.as_str())
}

/// An attempt as a bet: it costs something, may be right, and may be wrong and pass all the same.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bet {
    stakes: Stakes,
    /// The chance that it is right.
    right: f64,
    /// The chance that it passes if it is wrong.
    leak: f64,
    /// What it costs in dollars.
    cost: f64,
}

impl Bet {
    /// An attempt of the proposer on a rung, after these attempts.
    fn on(tier: usize, attempts: &[Attempt], tiers: &[Tier], stakes: Stakes, leak: f64) -> Bet {
        let judged = |attempt: &&Attempt| attempt.verdict.is_some();
        let rounds = attempts.iter().filter(judged).filter(|attempt| attempt.tier == tier).count();
        let reads = |rung: &usize| tiers.get(*rung).is_some_and(|tier| tier.reads_prompt);
        let failed = |rung: &usize| attempts.iter().filter(judged).any(|attempt| attempt.tier == *rung);
        let below = (0..tier).filter(reads).filter(failed).count();
        let costs: Vec<f64> =
            attempts.iter().filter(|attempt| attempt.tier == tier).map(|attempt| attempt.spent.usd).collect();
        #[expect(clippy::cast_precision_loss, reason = "a run has few attempts")]
        let mean = costs.iter().sum::<f64>() / costs.len().max(1) as f64;
        let cost = if costs.is_empty() { tiers.get(tier).map_or(0.0, |tier| tier.usd) } else { mean };
        Bet { stakes, right: chance(rounds, below), leak, cost }
    }

    fn loss(&self) -> f64 {
        self.cost + (1.0 - self.right) * self.leak * self.stakes.harm
    }

    fn is_worth_it(&self) -> bool {
        self.right * self.stakes.worth > self.loss()
    }

    /// The sum, for people.
    fn told(&self) -> String {
        let Bet { stakes, right, leak, cost } = self;
        format!(
            "p·V = {} × ${} = ${:.2} against c + (1−p)·φ·F = ${cost:.4} + {} × {} × ${} = ${:.2}",
            percent(*right),
            stakes.worth,
            right * stakes.worth,
            percent(1.0 - right),
            percent(*leak),
            stakes.harm,
            self.loss()
        )
    }
}

/// The chance that the next round of a proposer succeeds after so many of its rounds and so many rungs below it that
/// failed: by Bayes from [`EVER`] and [`SOLVED_BY`].
fn chance(rounds: usize, rungs: usize) -> f64 {
    let ever = EVER.powi(i32::try_from(rungs + 1).unwrap_or(i32::MAX));
    let before = solved_by(rounds);
    ever * (solved_by(rounds + 1) - before) / (1.0 - ever * before)
}

fn solved_by(rounds: usize) -> f64 {
    match rounds {
        0 => 0.0,
        1 | 2 => SOLVED_BY[rounds - 1],
        more => 1.0 - (1.0 - SOLVED_BY[1]) * 0.5_f64.powi(i32::try_from(more - 2).unwrap_or(i32::MAX)),
    }
}

/// The next action on the ladder.
fn climbing(attempts: &[Attempt], tiers: &[Tier], budget: &Budget, elapsed: Duration) -> Decision {
    let made = u32::try_from(counted(attempts, tiers)).unwrap_or(u32::MAX);
    if let Some(limit) = budget.exhausted(made, &spent(attempts), elapsed) {
        return decide(Action::OutOfBudget(limit), format!("the budget of {limit} is spent"), &[]);
    }
    let Some(last) = attempts.last() else {
        return match tiers.first() {
            Some(tier) => decide(Action::Fresh(0), format!("{} is the cheapest proposer", tier.name), &[]),
            None => decide(Action::GiveUp, "there is no proposer".to_owned(), &[]),
        };
    };
    if let Some(reason) = &last.declined {
        let reason = reason.lines().next().unwrap_or_default();
        return climb(last.tier, tiers, &format!("{} has no candidate: {reason}", last.model));
    }
    if last.is_doubtful() {
        let doubtful = attempts.iter().filter(|attempt| attempt.is_doubtful()).count();
        return if doubtful < CHEATS {
            decide(
                Action::Fresh(last.tier),
                "the candidate is suspect or could not be judged: its context is discarded".into(),
                &["stop"],
            )
        } else {
            let reason = format!("{doubtful} candidates were suspect or could not be judged");
            decide(Action::GiveUp, reason, &["ask afresh"])
        };
    }
    let reads_prompt = tiers.get(last.tier).is_some_and(|tier| tier.reads_prompt);
    if last.is_held_out() {
        let stopped = attempts.iter().filter(|attempt| attempt.is_held_out()).count();
        if stopped >= HELD_OUT {
            let reason =
                format!("held-out tests stopped {stopped} candidates, and more would give them away");
            return decide(Action::GiveUp, reason, &["ask again"]);
        }
        if !reads_prompt && tiers.len() > last.tier + 1 {
            // A search would use up the bits that help a model.
            return climb(last.tier, tiers, "held-out tests fail");
        }
    }
    if !reads_prompt {
        return decide(
            Action::Fresh(last.tier),
            format!("{} may have another candidate", last.model),
            &["climb"],
        );
    }
    if last.verdict.is_none() {
        return decide(
            Action::Fresh(last.tier),
            format!("the answer of {} was lost", last.model),
            &["climb"],
        );
    }
    let branch = branch(attempts);
    if let Some(reason) = stuck(attempts, branch) {
        return leave(last.tier, tiers, &reason);
    }
    if branch.len() < ROUNDS {
        let reason = format!("round {} of {ROUNDS} on this branch, with what failed", branch.len() + 1);
        return decide(Action::Repair(last.tier), reason, &["ask afresh", "climb"]);
    }
    leave(last.tier, tiers, &format!("{ROUNDS} rounds on this branch did not help"))
}

/// The attempts that the budget counts: those of models, where there is one; a free search before them must not
/// use up their tries.
fn counted(attempts: &[Attempt], tiers: &[Tier]) -> usize {
    let paid = tiers.iter().any(|tier| tier.reads_prompt);
    let counts = |tier: usize| !paid || tiers.get(tier).is_some_and(|tier| tier.reads_prompt);
    attempts.iter().filter(|attempt| attempt.declined.is_none() && counts(attempt.tier)).count()
}

/// The attempts since the last fresh one on the present rung: blocks of at most [`ROUNDS`].
fn branch(attempts: &[Attempt]) -> &[Attempt] {
    let tier = attempts.last().map_or(0, |last| last.tier);
    let same = attempts.iter().rev().take_while(|attempt| attempt.tier == tier && attempt.declined.is_none());
    let rung = &attempts[attempts.len() - same.count()..];
    let mut start = 0;
    for at in 1..rung.len() {
        if at - start == ROUNDS
            || stuck(&attempts[..attempts.len() - rung.len() + at], &rung[start..at]).is_some()
        {
            start = at;
        }
    }
    &rung[start..]
}

/// Why the branch leads nowhere: a candidate that was tried before, or the same failure twice in a row.
fn stuck(attempts: &[Attempt], branch: &[Attempt]) -> Option<String> {
    let (last, earlier) = attempts.split_last()?;
    if last.patch.is_some() && earlier.iter().any(|attempt| attempt.patch == last.patch) {
        return Some("the same candidate was tried before".to_owned());
    }
    let [.., before, last] = branch else { return None };
    let (before, last) = (before.failure()?.signature(), last.failure()?.signature());
    (before == last).then(|| "two candidates failed in the same way".to_owned())
}

/// Leaves the branch: up the ladder, or afresh on its last rung while attempts are left.
fn leave(tier: usize, tiers: &[Tier], reason: &str) -> Decision {
    match tiers.get(tier + 1) {
        Some(_) => climb(tier, tiers, reason),
        None => decide(Action::Fresh(tier), format!("{reason}; the context is discarded"), &["stop"]),
    }
}

fn climb(tier: usize, tiers: &[Tier], reason: &str) -> Decision {
    match tiers.get(tier + 1) {
        Some(next) => decide(Action::Fresh(tier + 1), format!("{reason}; {} is next", next.name), &["stop"]),
        None => decide(Action::GiveUp, reason.to_owned(), &[]),
    }
}

fn decide(action: Action, reason: String, alternatives: &[&str]) -> Decision {
    Decision { action, reason, alternatives: alternatives.iter().map(|text| (*text).to_owned()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::{File, RepoPath};
    use crate::verdict::{FailureKind, TestResult};

    fn tiers() -> Vec<Tier> {
        [("repair", false), ("small", true), ("large", true)]
            .map(|(name, reads_prompt)| Tier {
                name: name.to_owned(),
                reads_prompt,
                usd: if reads_prompt { 0.25 } else { 0.0 },
            })
            .to_vec()
    }

    fn failure(test: &str) -> Failure {
        Failure {
            kind: FailureKind::TargetsFail,
            summary: String::new(),
            tests: vec![TestResult::failed(test, "")],
            diagnostics: Vec::new(),
            log: String::new(),
        }
    }

    /// An attempt written as `tier:patch:failing test`, `tier:held:patch` for one that held-out tests stopped, or
    /// `tier:-` for a declined one.
    fn attempt(word: &str) -> Attempt {
        let parts: Vec<&str> = word.split(':').collect();
        let tier: usize = parts[0].parse().unwrap();
        let spent = Spent { usd: if tier == 0 { 0.0 } else { 0.25 }, ..Spent::default() };
        let base = Attempt { tier, spent, ..Attempt::default() };
        match parts[1..] {
            ["-"] => Attempt { declined: Some("no more".into()), ..base },
            ["held", patch] => {
                let failure = Failure { kind: FailureKind::HeldOutFails, tests: Vec::new(), ..failure("") };
                let patch = Patch([(RepoPath::new("a").unwrap(), Some(File::plain(patch)))].into());
                Attempt { patch: Some(patch), verdict: Some(Verdict::Red(failure)), ..base }
            }
            ["cheat"] => Attempt { verdict: Some(Verdict::Rejected { violations: Vec::new() }), ..base },
            [patch, test] => {
                let failure = failure(test);
                let patch = Patch([(RepoPath::new("a").unwrap(), Some(File::plain(patch)))].into());
                Attempt { patch: Some(patch), verdict: Some(Verdict::Red(failure)), ..base }
            }
            _ => panic!("{word} is not an attempt"),
        }
    }

    fn check(attempts: &str, expected: &Action) {
        let attempts: Vec<Attempt> = attempts.split_whitespace().map(attempt).collect();
        let budget = Budget { attempts: Some(8), ..Budget::default() };
        assert_eq!(
            &next(&attempts, &tiers(), &budget, Duration::ZERO, None).action,
            expected,
            "{attempts:?}"
        );
    }

    #[test]
    fn the_ladder_is_climbed_from_the_cheapest_rung() {
        check("", &Action::Fresh(0));
        check("0:a:t", &Action::Fresh(0));
        check("0:a:t 0:-", &Action::Fresh(1));
        check("0:- 1:a:t", &Action::Repair(1));
        check("0:- 1:a:t 1:b:u", &Action::Repair(1));
        check("0:- 1:a:t 1:b:u 1:c:v", &Action::Fresh(2));
        check("0:- 1:- 2:-", &Action::GiveUp);
    }

    #[test]
    fn a_branch_that_repeats_itself_is_left() {
        check("0:- 1:a:t 1:b:t", &Action::Fresh(2));
        check("0:- 1:a:t 1:a:t", &Action::Fresh(2));
        check("0:- 1:a:t 1:b:u 1:a:t", &Action::Fresh(2));
        check("0:- 1:- 2:a:t 2:b:u 2:c:v", &Action::Fresh(2));
        check("0:- 1:- 2:a:t 2:b:u 2:c:v 2:d:w", &Action::Repair(2));
        check("0:- 1:- 2:a:t 2:b:t 2:c:t", &Action::Repair(2));
    }

    #[test]
    fn a_cheat_gets_one_fresh_try() {
        check("0:- 1:cheat", &Action::Fresh(1));
        check("0:- 1:cheat 1:cheat", &Action::GiveUp);
    }

    #[test]
    fn held_out_tests_tell_three_bits_in_a_run_and_no_more() {
        check("0:- 1:held:a", &Action::Repair(1));
        check("0:- 1:held:a 1:held:b", &Action::Fresh(2));
        check("0:- 1:held:a 1:b:t 1:held:c", &Action::Fresh(2));
        check("0:- 1:held:a 1:held:b 2:held:c", &Action::GiveUp);
        // A search leaves the other two to the models above it.
        check("0:held:a", &Action::Fresh(1));
    }

    #[test]
    fn the_budget_ends_the_run_whatever_else_holds() {
        check("1:a:1 1:b:2 1:c:3 2:d:4 2:e:5 2:f:6 2:g:7 2:h:8", &Action::OutOfBudget(Limit::Attempts));
        // What the free search tried is not counted against the models.
        check("0:a:1 0:b:2 0:c:3 0:d:4 0:e:5 0:f:6 0:g:7 0:h:8 0:i:9", &Action::Fresh(0));
    }

    /// Asserts what is done when a right patch is worth `worth` and an unnoticed wrong one costs `harm`.
    fn bet(attempts: &str, worth: f64, harm: f64, leak: f64, expected: &Action) {
        let attempts: Vec<Attempt> = attempts.split_whitespace().map(attempt).collect();
        let stakes = Some((Stakes { worth, harm }, leak));
        let decision = next(&attempts, &tiers(), &Budget::default(), Duration::ZERO, stakes);
        assert_eq!(&decision.action, expected, "{attempts:?}: {}", decision.reason);
        assert!(decision.reason.contains("p·V = "), "{}", decision.reason);
        assert!(*expected != Action::GiveUp || !decision.alternatives.is_empty());
    }

    #[test]
    fn the_chance_of_a_round_falls_as_public_data_say() {
        let check = |rounds, rungs, expected: f64| {
            let found = chance(rounds, rungs);
            assert!((found - expected).abs() < 0.0005, "{rounds} rounds, {rungs} rungs: {found}");
        };
        check(0, 0, 0.4575);
        check(1, 0, 0.0645);
        check(2, 0, 0.0148 / 2.0);
        check(0, 1, 0.2288);
        assert!(chance(9, 0) > 0.0 && chance(9, 0) < 0.0001);
    }

    #[test]
    fn an_attempt_is_made_while_it_is_worth_it() {
        // The free search costs nothing, and with tight tests it harms nobody.
        bet("", 1.0, 1.0, 0.02, &Action::Fresh(0));
        // 46 % × $1 is less than 54 % × 50 % × $5.
        bet("", 1.0, 5.0, 0.5, &Action::GiveUp);
        bet("", 1.0, 5.0, 0.1, &Action::Fresh(0));
        // A first call is worth its price, a second one after a red one is not, nor is a third.
        bet("0:- 1:a:t", 10.0, 1.0, 0.02, &Action::Repair(1));
        bet("0:- 1:a:t", 2.0, 1.0, 0.02, &Action::Fresh(2));
        bet("0:- 1:a:t 1:b:u 1:c:v 2:d:w", 2.0, 1.0, 0.5, &Action::GiveUp);
    }
}
