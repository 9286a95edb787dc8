//! The logic tier: the base builds and tests fail. It finds the suspicious lines, mutates them, lets the tests
//! choose, and gives what passes in the order in which it is likely to be right. It only proposes: the verifier
//! judges what it gives like anybody's patch.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Suspect;
use super::grammar::Grammars;
use super::mutate::{Edit, Mutant, Source, difference, splice};
use super::scene::{Scene, scene, suspects};
use super::warm::{self, How, Judged, Plan, Round};
use crate::patch::{File, Patch, RepoPath};
use crate::propose::Ask;
use crate::text;
use crate::toolchain::Suite;
use crate::verdict::TestId;
use crate::verify::count;
use crate::workspace::Workspace;

/// CPU seconds of one target of a candidate beyond what it takes on the base; candidates that need more come again.
const LIMITS: [f64; 3] = [0.12, 0.96, 7.7];

/// CPU seconds of the whole search, and of one that somebody else goes on from.
const CPU: f64 = 240.0;
const QUICK_CPU: f64 = 5.0;

/// Wall time of a search that somebody else goes on from.
const QUICK_WALL: Duration = Duration::from_mins(2);

/// Candidates of the first round, and how much longer each further one is.
const ROUND: usize = 300;
const GROWTH: usize = 4;

/// Likewise where a round is a build, which is as slow as it is large.
const SLOW_ROUND: usize = 60;
const SLOW_GROWTH: usize = 2;
const SLOW_LARGEST: usize = 8 * ROUND;

/// Seconds of builds of a round, below which the next one is larger.
const QUICK_BUILD: f64 = 6.0;

/// Candidates of all rounds.
const MOST: usize = 30_000;

/// Plausible candidates after which a search ends, and candidates that it tries after the first.
pub const ENOUGH: usize = 8;
const AFTER: usize = 60;

/// Plausible candidates of one round that are kept, whatever a judge says.
const KEPT: usize = 4 * ENOUGH;

/// Candidates of each round that pass some targets and are edited once more, and edits of each.
const BEAM: usize = 4;
const SLOW_BEAM: usize = 2;
const SECOND: usize = 300;

/// Quarters of the known behaviour that a plausible candidate is taken to change, where nothing is known.
const UNKNOWN: usize = 1;

/// The kind of what was edited twice.
const PAIR: &str = "pair";

/// A candidate that passed all tests that the engine ran.
#[derive(Clone, Debug)]
pub struct Plausible {
    /// The candidate.
    pub patch: Patch,
    /// What was done, on one line.
    pub what: String,
    order: Order,
}

/// What a plausible candidate is worth, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    /// Quarters of what passing tests ask of the edited functions that it does otherwise than the base.
    changed: usize,
    /// How many plausible ones behave alike.
    agree: Reverse<usize>,
    /// Whether it deletes.
    deletes: bool,
    /// Its rank in its round.
    n: usize,
}

/// A candidate that is tried: a text for one file.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The file.
    pub path: RepoPath,
    /// The edits of the base, in order.
    pub edits: Vec<Edit>,
    /// Its kind.
    pub kind: &'static str,
    /// The line that it is about.
    pub line: u32,
    /// Bytes that it touches.
    pub size: usize,
    /// How many of the warm judge's limits were too short for it.
    pub level: usize,
    /// Whether the time of a variant was too short for it.
    pub late: bool,
    /// Targets that passed.
    pub passed: usize,
}

/// What a round leaves for the next ones.
#[derive(Debug, Default)]
pub struct Left {
    /// Candidates that passed some targets.
    pub near: Vec<Trial>,
    /// Candidates that took too long.
    pub late: Vec<Trial>,
    /// Candidates that only whole runs can try.
    pub whole: VecDeque<Trial>,
}

/// The state of a search.
#[derive(Debug, Default)]
pub struct Logic {
    /// What passed and was not given yet, best last.
    pub plausible: Vec<Plausible>,
    /// What passed, though an example in a docstring says otherwise, in the order in which it was found: it comes after all
    /// that is plausible.
    aside: Vec<Plausible>,
    /// Whether all is searched.
    pub done: bool,
    /// Whether somebody else goes on when little effort finds nothing.
    pub quick: bool,
    /// The most suspicious lines, for people and models.
    pub suspicious: Vec<Suspect>,
    /// Whether the warm judge had nothing to say.
    cold: bool,
    /// Where the warm judge has looked at the base.
    workspace: Option<Workspace>,
    /// Candidates that passed some of the targets.
    pub near: Vec<String>,
    /// What the search came to, for the transcript.
    pub statistics: Statistics,
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// Candidates tried.
    pub tried: usize,
    /// CPU seconds of their tests; where candidates are tried by builds and whole runs, wall time.
    pub cpu: f64,
    /// Wall time of judging them.
    pub judging: f64,
    /// Candidates that were tried as variants of one build, wall time of that, and of the builds.
    pub variants: usize,
    pub running: f64,
    pub building: f64,
    /// Wall time of those that were tried by whole runs.
    pub whole: f64,
    /// Wall time of the whole search.
    pub wall: f64,
    /// Candidates until the first plausible one.
    pub first: Option<usize>,
    /// Wall time until then.
    pub first_at: f64,
    /// Plausible ones.
    pub plausible: usize,
}

impl std::fmt::Display for Statistics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 candidates")]
        let rate = self.tried as f64 / self.judging.max(0.001);
        write!(
            f,
            "search: {} tried in {:.2} s ({rate:.0}/s, {:.2} CPU s, {:.2} s in all), {} plausible",
            count(self.tried, "candidate"),
            self.judging,
            self.cpu,
            self.wall,
            self.plausible
        )?;
        if let Some(first) = self.first {
            write!(f, ", the first after {} and {:.2} s", count(first, "candidate"), self.first_at)?;
        }
        if self.building > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 candidates")]
            let rate = self.variants as f64 / self.running.max(0.001);
            let variants = count(self.variants, "variant");
            write!(
                f,
                "; builds took {:.2} s, {variants} {:.2} s ({rate:.0}/s)",
                self.building, self.running
            )?;
        }
        Ok(())
    }
}

impl Logic {
    /// Searches until something is plausible or all is tried; what was found before comes first.
    pub async fn next(
        &mut self,
        grammars: &Grammars,
        ask: &Ask<'_>,
        end: Instant,
    ) -> Result<Option<Plausible>> {
        if self.plausible.is_empty() && !self.done {
            self.done = true;
            let begin = Instant::now();
            let end = if self.quick { end.min(begin + QUICK_WALL) } else { end };
            for suite in &ask.verifier.suites {
                let targets: BTreeSet<&TestId> =
                    ask.baseline.targets.iter().filter(|id| suite.own_id(id).is_some()).collect();
                if targets.is_empty() || !self.plausible.is_empty() {
                    continue;
                }
                let workspace = self.workspace.insert(ask.verifier.workshop.workspace()?);
                let probing = end.saturating_duration_since(Instant::now()) / 4;
                let scene = scene(grammars, ask, suite, workspace, probing).await?;
                self.suspicious = suspects(&scene);
                self.search(grammars, ask, suite, &scene, begin, end).await?;
            }
            self.workspace = None;
            self.statistics.wall = begin.elapsed().as_secs_f64();
            self.statistics.plausible = self.plausible.len();
            self.plausible.sort_by_key(|plausible| Reverse(plausible.order));
        }
        if self.plausible.is_empty() {
            self.plausible = std::mem::take(&mut self.aside);
            self.plausible.reverse();
        }
        Ok(self.plausible.pop())
    }

    async fn search(
        &mut self,
        grammars: &Grammars,
        ask: &Ask<'_>,
        suite: &Suite,
        scene: &Scene<'_>,
        begin: Instant,
        end: Instant,
    ) -> Result<()> {
        let mut known = HashSet::new();
        let mutants = mutants(grammars, scene);
        let mut waiting = mutants.iter();
        let mut left = Left::default();
        // Without targets everything would pass.
        self.cold |= scene.targets.is_empty();
        let warm = !suite.profile.warm.is_empty() && !self.cold;
        let (mut size, growth, largest) =
            if warm { (ROUND, GROWTH, usize::MAX) } else { (SLOW_ROUND, SLOW_GROWTH, SLOW_LARGEST) };
        let (most, cpu) = self.limits();
        while self.statistics.tried < most && Instant::now() < end && self.statistics.cpu < cpu {
            let room = size.min(most - self.statistics.tried);
            let mut round: Vec<Trial> = Vec::new();
            for mutant in waiting.by_ref() {
                round.extend(trial(scene, mutant, &mut known));
                if round.len() == room {
                    break;
                }
            }
            let (last, built) = (round.is_empty(), self.statistics.building);
            round.append(&mut left.late);
            self.judge(ask, suite, scene, round, (begin, end), &mut left).await?;
            if !self.plausible.is_empty() {
                return Ok(());
            }
            if self.statistics.tried > ROUND || last {
                self.judge_pairs(grammars, ask, suite, scene, (begin, end), &mut known, &mut left).await?;
            }
            if last && self.plausible.is_empty() {
                self.judge_whole(ask, scene, &mut left, Duration::MAX, (begin, end)).await?;
            }
            if !self.plausible.is_empty() || last {
                return Ok(());
            }
            // A quick build may as well be larger.
            let building = self.statistics.building - built;
            size = if warm || size < ROUND || building < QUICK_BUILD { size * growth } else { size };
            size = size.min(largest);
        }
        Ok(())
    }

    /// Edits once more what passed the most targets so far.
    #[expect(clippy::too_many_arguments, reason = "they are the state of one search")]
    async fn judge_pairs(
        &mut self,
        grammars: &Grammars,
        ask: &Ask<'_>,
        suite: &Suite,
        scene: &Scene<'_>,
        clock: (Instant, Instant),
        known: &mut HashSet<u64>,
        left: &mut Left,
    ) -> Result<()> {
        left.near.sort_by_key(|trial| (Reverse(trial.passed), trial.size));
        let most = if suite.profile.warm.is_empty() || self.cold { SLOW_BEAM } else { BEAM };
        let beam: Vec<Trial> = left.near.drain(..left.near.len().min(most)).collect();
        self.near.extend(beam.iter().map(|trial| told(scene, trial)));
        for first in beam {
            if !self.plausible.is_empty() || Instant::now() >= clock.1 {
                break;
            }
            let mut late = std::mem::take(&mut left.late);
            let round = second(grammars, scene, &first, known);
            self.judge(ask, suite, scene, round, clock, left).await?;
            left.late.append(&mut late);
        }
        // Pairs are not edited again.
        left.near.retain(|trial| trial.kind != PAIR);
        Ok(())
    }

    /// Candidates and CPU seconds of the whole search.
    pub fn limits(&self) -> (usize, f64) {
        if self.quick { (ROUND, QUICK_CPU) } else { (MOST, CPU) }
    }

    /// What a search that found nothing has learned, for whoever tries next.
    pub fn learned(&self) -> String {
        let mut text = String::new();
        let lines: Vec<String> = self
            .suspicious
            .iter()
            .take(10)
            .map(|line| format!("{}:{} `{}`", line.file, line.line, line.text))
            .collect();
        if !lines.is_empty() {
            let _ = write!(text, "\nMost suspicious lines: {}", lines.join("; "));
        }
        if self.statistics.tried > 0 {
            let tried = count(self.statistics.tried, "small edit");
            let _ = write!(text, "\n{tried} of such lines were tried, and none makes all failing tests pass");
        }
        for near in self.near.iter().take(4) {
            let _ = write!(text, "\nSome of the failing tests pass with {near}");
        }
        text
    }

    /// Tries candidates, and notes what is left of them.
    async fn judge(
        &mut self,
        ask: &Ask<'_>,
        suite: &Suite,
        scene: &Scene<'_>,
        round: Vec<Trial>,
        clock: (Instant, Instant),
        left: &mut Left,
    ) -> Result<()> {
        let before = Instant::now();
        let seconds = clock.1.saturating_duration_since(before);
        if suite.profile.warm.is_empty() || self.cold {
            self.judge_slowly(ask, suite, scene, round, clock, left).await?;
            self.statistics.judging += before.elapsed().as_secs_f64();
            return Ok(());
        }
        let plan = Plan::Judge(self.round(suite, scene, &round, seconds));
        let allowed = seconds.as_secs().saturating_add(5).min(3600);
        let plan = serde_json::to_string(&plan)?;
        // What candidates do to the tree is gone with the round.
        let place = self.workspace.as_mut().map(|workspace| ask.verifier.workshop.fork(workspace));
        let place = place.context("a search has a workspace")??;
        let said = ask.verifier.warm_in(&place, suite, &plan, allowed).await?;
        let answers = warm::answers(&said.unwrap_or_default());
        if answers.judged.is_empty() && !round.is_empty() && allowed > 6 {
            // The warm judge cannot load these tests.
            self.cold = true;
            return Box::pin(self.judge(ask, suite, scene, round, clock, left)).await;
        }
        self.statistics.cpu += answers.cpu;
        self.learn(scene, round, &answers.judged, before.duration_since(clock.0).as_secs_f64(), left);
        self.statistics.judging += before.elapsed().as_secs_f64();
        Ok(())
    }

    /// A round for the warm judge.
    fn round<'a>(
        &self,
        suite: &Suite,
        scene: &'a Scene<'_>,
        round: &'a [Trial],
        left: Duration,
    ) -> Round<'a> {
        let prefix = suite.folder();
        let candidates = round.iter().enumerate().filter_map(|(n, trial)| {
            let file = trial.path.as_str().strip_prefix(&prefix)?;
            let edits = trial.edits.iter().map(|edit| (edit.start, edit.end, edit.text.as_str())).collect();
            Some((n, file, edits, trial.level))
        });
        Round {
            targets: &scene.targets,
            guards: &scene.guards,
            candidates: candidates.collect(),
            limits: &LIMITS,
            seconds: scene.seconds.0 * 3.0,
            guard_seconds: scene.seconds.1 * 3.0,
            cpu: self.limits().1 - self.statistics.cpu,
            wall: left.as_secs_f64(),
            enough: ENOUGH,
            after: AFTER,
            workers: workers(),
        }
    }

    /// Takes in what became of a round that began `offset` seconds after the search.
    fn learn(&mut self, scene: &Scene, round: Vec<Trial>, judged: &[Judged], offset: f64, left: &mut Left) {
        let mut last: BTreeMap<usize, &Judged> = BTreeMap::new();
        for judged in judged {
            let Some(trial) = round.get(judged.n) else { continue };
            if judged.agree > 0 {
                self.agree(judged);
                continue;
            }
            if last.insert(judged.n, judged).is_none() && trial.level == 0 {
                self.statistics.tried += 1;
            }
            // Tests may write what they like where the judge writes.
            let known = self.plausible.iter().any(|plausible| plausible.order.n == judged.n);
            if judged.how == How::Passed && judged.against {
                let aside = plausible(scene, trial, judged.n, " (an example says otherwise)")
                    .filter(|one| self.aside.iter().all(|known| known.what != one.what));
                self.aside.extend(aside.filter(|_| self.aside.len() < ENOUGH));
                continue;
            }
            if judged.how == How::Passed && !known && self.plausible.len() < KEPT {
                self.first_at(offset + judged.at);
                self.keep(scene, trial, judged.n);
                self.weigh(judged);
            }
        }
        for (n, mut trial) in round.into_iter().enumerate() {
            let Some(judged) = last.get(&n) else {
                // It waits for its turn.
                left.late.extend((trial.level > 0).then_some(trial));
                continue;
            };
            trial.passed = judged.passed;
            trial.level = judged.level;
            if judged.how == How::Timeout && judged.level < LIMITS.len() {
                left.late.push(trial);
            } else if judged.passed > 0 && judged.how != How::Passed {
                left.near.push(trial);
            }
        }
    }

    /// Notes how many plausible candidates behave like one of them: those that most agree with come first.
    fn agree(&mut self, judged: &Judged) {
        let all = self.plausible.len();
        let known = self.plausible.iter_mut().find(|known| known.order.n == judged.n);
        let Some(plausible) = known.filter(|known| known.order.agree.0 == 0) else { return };
        plausible.order.agree = Reverse(judged.agree);
        let _ = write!(plausible.what, " ({} of {all} plausible edits behave alike", judged.agree);
        if let Some(input) = &judged.parts {
            let _ = write!(plausible.what, ", others not on {}", text::one_line(&text::clip(input, 160)));
        }
        plausible.what.push(')');
    }

    /// Notes for how much of what passing tests ask a plausible candidate does what the base does: a fix changes little of
    /// that (Xiong et al., 2018).
    fn weigh(&mut self, judged: &Judged) {
        let plausible = self.plausible.iter_mut().find(|known| known.order.n == judged.n);
        if let (Some(plausible), Some((all @ 1.., same))) = (plausible, judged.steady) {
            plausible.order.changed = all.saturating_sub(same).saturating_mul(4).div_ceil(all);
            let _ = write!(
                plausible.what,
                " (does as before for {same} of {} of passing tests)",
                count(all, "input")
            );
        }
    }

    /// Notes when the first plausible candidate was found.
    pub fn first_at(&mut self, seconds: f64) {
        if self.statistics.first.is_none() {
            self.statistics.first = Some(self.statistics.tried);
            self.statistics.first_at = seconds;
        }
    }

    /// Keeps a plausible candidate.
    pub fn keep(&mut self, scene: &Scene, trial: &Trial, n: usize) {
        self.plausible.extend(plausible(scene, trial, n, ""));
    }
}

/// A candidate as a plausible one, with a remark.
fn plausible(scene: &Scene, trial: &Trial, n: usize, remark: &str) -> Option<Plausible> {
    let source = scene.sources.iter().find(|source| source.path == trial.path)?;
    let file = File { kind: source.kind, content: splice(&source.text, &trial.edits)?.into_bytes() };
    let patch = Patch([(trial.path.clone(), Some(file))].into());
    let deletes = matches!(trial.kind, "delete" | "wrap-in-if" | "jump" | "guard");
    let what = told(scene, trial) + remark;
    let order = Order { changed: UNKNOWN, agree: Reverse(0), deletes, n };
    Some(Plausible { patch, what, order })
}

/// All mutants of all files, best first.
fn mutants(grammars: &Grammars, scene: &Scene) -> Vec<Mutant> {
    let mut all: Vec<Mutant> = Vec::new();
    for source in &scene.sources {
        let suspicion = |line| scene.suspicions.of(&source.path, line);
        all.extend(source.mutants(&suspicion, &grammars.priors, &scene.hints));
    }
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    all.truncate(MOST * 2);
    all
}

fn trial(scene: &Scene, mutant: &Mutant, known: &mut HashSet<u64>) -> Option<Trial> {
    let source = scene.sources.iter().find(|source| source.path == mutant.path)?;
    let text = source.apply(&mutant.edits, known)?;
    let edit = difference(&source.text, &text)?;
    Some(Trial::new(mutant.path.clone(), vec![edit], mutant.kind, mutant.line))
}

impl Trial {
    fn new(path: RepoPath, edits: Vec<Edit>, kind: &'static str, line: u32) -> Trial {
        let size = edits.iter().map(|edit| edit.text.len() + edit.end - edit.start).sum();
        Trial { path, edits, kind, line, size, level: 0, late: false, passed: 0 }
    }
}

/// Edits of a candidate that passed some targets.
fn second(grammars: &Grammars, scene: &Scene, first: &Trial, known: &mut HashSet<u64>) -> Vec<Trial> {
    let Some(base) = scene.sources.iter().find(|source| source.path == first.path) else { return Vec::new() };
    let Some(text) = splice(&base.text, &first.edits) else { return Vec::new() };
    let Some(once) = difference(&base.text, &text) else { return Vec::new() };
    let Some(source) = Source::new(first.path.clone(), text, base.grammar) else { return Vec::new() };
    let lines = |text: &str| text.matches('\n').count();
    let grown = lines(&once.text).saturating_sub(base.text.get(once.start..once.end).map_or(0, lines));
    let grown = u32::try_from(grown).unwrap_or(0);
    let suspicion = |line: u32| {
        let shifted = if line > first.line { line.saturating_sub(grown) } else { line };
        scene.suspicions.of(&first.path, shifted)
    };
    let mut found = Vec::new();
    // A function that was tried alone is not known beside the first edit.
    let mut beside = HashSet::new();
    for mutant in source.mutants(&suspicion, &grammars.priors, &scene.hints) {
        if let Some(text) = source.apply(&mutant.edits, &mut beside)
            && known.insert(source.key_of_file(&text))
            && let Some(twice) = difference(&source.text, &text)
            && let Some(edits) = both(&once, twice).or_else(|| Some(vec![difference(&base.text, &text)?]))
        {
            found.push(Trial::new(first.path.clone(), edits, PAIR, mutant.line));
        }
        if found.len() == SECOND {
            break;
        }
    }
    found
}

/// An edit of the base and one of what the first makes of it, as edits of the base; `None` where they touch.
fn both(first: &Edit, mut second: Edit) -> Option<Vec<Edit>> {
    let end = first.start + first.text.len();
    if second.end < first.start {
        return Some(vec![second, first.clone()]);
    }
    let moved = |at: usize| Some(at.checked_sub(end)? + first.end);
    (second.start, second.end) = (moved(second.start).filter(|at| *at > first.end)?, moved(second.end)?);
    Some(vec![first.clone(), second])
}

/// Candidates that are tried side by side.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A candidate on one line: kind, place, the line before and after.
fn told(scene: &Scene, trial: &Trial) -> String {
    let source = scene.sources.iter().find(|source| source.path == trial.path);
    let edit = source.and_then(|source| difference(&source.text, &splice(&source.text, &trial.edits)?));
    let (before, after) = source.zip(edit).map_or((String::new(), String::new()), |(source, edit)| {
        let start = source.text.get(..edit.start).and_then(|head| head.rfind('\n')).map_or(0, |at| at + 1);
        let tail = source.text.get(edit.end..).and_then(|tail| tail.find('\n'));
        let stop = tail.map_or(source.text.len(), |at| edit.end + at);
        let part = |from: usize, to: usize| source.text.get(from..to).unwrap_or_default();
        let after = format!("{}{}{}", part(start, edit.start), edit.text, part(edit.end, stop));
        (part(start, stop).trim().to_owned(), after.trim().to_owned())
    });
    let line = |text: &str| text::one_line(&text::clip(text, 160));
    format!("{} at {}:{}: `{}` → `{}`", trial.kind, trial.path, trial.line, line(&before), line(&after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repair::locate::Suspicions;
    use crate::repair::mutate::Hints;

    #[test]
    fn an_edit_of_what_an_edit_made_becomes_one_of_the_base() {
        let edit = |start, end, text: &str| Edit { start, end, text: text.to_owned() };
        let base = "abcdefgh";
        let first = edit(2, 3, "CCC");
        let once = splice(base, std::slice::from_ref(&first)).unwrap();
        for second in [edit(0, 1, "A"), edit(7, 8, "F"), edit(9, 10, "H"), edit(6, 6, "+")] {
            let twice = splice(&once, std::slice::from_ref(&second)).unwrap();
            let edits = both(&first, second).unwrap();
            assert_eq!(splice(base, &edits).unwrap(), twice);
        }
        for touching in [edit(1, 2, "B"), edit(3, 4, "X"), edit(1, 6, "X"), edit(5, 6, "D")] {
            assert!(both(&first, touching).is_none());
        }
    }

    #[test]
    fn what_tests_write_where_the_judge_writes_is_taken_once_and_up_to_a_bound() {
        let grammars = Grammars::load(None).unwrap();
        let text = "def f(a):\n    return a\n".to_owned();
        let path = RepoPath::new("a.py").unwrap();
        let source = Source::new(path.clone(), text, grammars.of("a.py").unwrap()).unwrap();
        let scene = Scene {
            sources: vec![source],
            suspicions: Suspicions::default(),
            targets: Vec::new(),
            guards: Vec::new(),
            seconds: (0.0, 0.0),
            hints: Hints::default(),
        };
        let edit = Edit { start: 21, end: 22, text: "a + 1".to_owned() };
        let round: Vec<Trial> =
            (0..100).map(|line| Trial::new(path.clone(), vec![edit.clone()], "extend", line)).collect();
        let line = |n: usize, agree: usize| Judged {
            n,
            how: How::Passed,
            passed: 1,
            level: 1,
            at: 0.0,
            agree,
            against: false,
            steady: Some((1, usize::MAX)),
            parts: None,
        };
        let first: Vec<Judged> = (0..3).map(|_| line(0, 0)).collect();
        let again = (0..3).map(|_| line(0, 2));
        let judged: Vec<Judged> =
            first.into_iter().chain(again).chain((1..100).map(|n| line(n, 0))).collect();
        let mut logic = Logic::default();
        logic.learn(&scene, round, &judged, 0.0, &mut Left::default());
        assert_eq!(logic.plausible.len(), KEPT);
        assert_eq!(logic.plausible.iter().filter(|plausible| plausible.order.n == 0).count(), 1);
        assert_eq!(logic.plausible[0].what.matches("behave alike").count(), 1);
        assert_eq!(logic.plausible[0].order.changed, 0);
    }
}
