//! The logic tier: the base builds and tests fail. It finds the suspicious lines, mutates them, lets the tests
//! choose, and gives what passes in the order in which it is likely to be right. It only proposes: the verifier
//! judges what it gives like anybody's patch.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::grammar::{Grammar, Grammars};
use super::locate::{self, Suspicions};
use super::mutate::{Edit, Hints, Mutant, Source, difference, splice};
use super::warm::{self, How, Plan, Round, Traced};
use super::{Editable, Suspect, hints};
use crate::patch::{File, Patch, RepoPath};
use crate::propose::Ask;
use crate::text;
use crate::toolchain::Suite;
use crate::verdict::TestId;
use crate::verify::count;

/// CPU seconds of one candidate's targets beyond what they take on the base; those that need more come again.
const LIMITS: [f64; 3] = [0.12, 0.96, 7.7];

/// CPU seconds of the whole search, and of one that somebody else goes on from.
const CPU: f64 = 240.0;
const QUICK_CPU: f64 = 5.0;

/// Wall time of a search that somebody else goes on from.
const QUICK_WALL: Duration = Duration::from_mins(2);

/// Candidates of the first round, and how much longer each further one is.
const ROUND: usize = 300;
const GROWTH: usize = 4;

/// Candidates of all rounds.
const MOST: usize = 30_000;

/// Plausible candidates after which a search ends, and candidates that it tries after the first.
pub const ENOUGH: usize = 8;
const AFTER: usize = 60;

/// Candidates that pass some targets and are edited once more, and edits of each.
const BEAM: usize = 6;
const SECOND: usize = 400;

/// Seconds that tracing the base may take.
const TRACING: f64 = 30.0;

/// CPU seconds after which a traced test is about to be cut short.
const CUT: f64 = 0.5;

/// Tests whose lines are looked at.
const TRACED: usize = 400;

/// Files that are mutated, most suspicious first.
const FILES: usize = 25;

/// Candidates of a round that are tried by whole test runs, where nothing faster can try them.
const COLD: usize = 150;

/// A candidate that passed all tests that the engine ran.
#[derive(Clone, Debug)]
pub struct Plausible {
    /// The candidate.
    pub patch: Patch,
    /// What was done, on one line.
    pub what: String,
    /// What it is worth, best first.
    order: (bool, usize, usize),
}

/// A candidate that is tried: a text for one file.
#[derive(Debug)]
pub struct Trial {
    /// The file.
    pub path: RepoPath,
    /// The edit.
    pub edit: Edit,
    /// Its kind.
    pub kind: &'static str,
    /// The line that it is about.
    pub line: u32,
    /// Bytes that it touches.
    pub size: usize,
}

/// The state of a search.
#[derive(Debug, Default)]
pub struct Logic {
    /// What passed and was not given yet, best last.
    pub plausible: Vec<Plausible>,
    /// Whether all is searched.
    pub done: bool,
    /// Whether somebody else goes on when little effort finds nothing.
    pub quick: bool,
    /// The most suspicious lines, for people and models.
    pub suspicious: Vec<Suspect>,
    /// Whether the warm judge had nothing to say.
    cold: bool,
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
    /// CPU seconds of their tests.
    pub cpu: f64,
    /// Wall time of judging them.
    pub judging: f64,
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
        match self.first {
            Some(first) => {
                write!(f, ", the first after {} and {:.2} s", count(first, "candidate"), self.first_at)
            }
            None => Ok(()),
        }
    }
}

/// What is known of the base before candidates are made.
pub struct Scene<'a> {
    /// Files that may be mutated, most suspicious first.
    pub sources: Vec<Source<'a>>,
    /// How suspicious their lines are.
    pub suspicions: Suspicions,
    /// Targets and guards as the suite knows them, with the CPU seconds that they take.
    targets: Vec<String>,
    guards: Vec<String>,
    seconds: (f64, f64),
    hints: Hints,
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
                let scene = scene(grammars, ask, suite).await?;
                self.suspicious = suspects(&scene);
                self.search(grammars, ask, suite, &scene, begin, end).await?;
            }
            self.statistics.wall = begin.elapsed().as_secs_f64();
            self.statistics.plausible = self.plausible.len();
            self.plausible.sort_by_key(|plausible| std::cmp::Reverse(plausible.order));
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
        let mut near: Vec<(usize, Trial)> = Vec::new();
        let warm = !suite.profile.warm.is_empty();
        let mut size = ROUND;
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
            if round.is_empty() {
                break;
            }
            near.extend(self.judge(ask, suite, scene, round, begin, end).await?);
            if !self.plausible.is_empty() {
                return Ok(());
            }
            // A build of variants is as slow as it is large.
            size *= if warm { GROWTH } else { 1 };
        }
        near.sort_by_key(|(passed, trial)| (std::cmp::Reverse(*passed), trial.size));
        near.truncate(BEAM);
        self.near = near.iter().map(|(_, trial)| told(scene, trial)).collect();
        for (_, first) in near {
            if Instant::now() >= end || self.statistics.cpu >= cpu {
                break;
            }
            let round = second(grammars, scene, &first, &mut known);
            self.judge(ask, suite, scene, round, begin, end).await?;
            if !self.plausible.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Candidates and CPU seconds of the whole search.
    fn limits(&self) -> (usize, f64) {
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

    /// Tries candidates; returns those that passed some targets, and how many.
    async fn judge(
        &mut self,
        ask: &Ask<'_>,
        suite: &Suite,
        scene: &Scene<'_>,
        round: Vec<Trial>,
        begin: Instant,
        end: Instant,
    ) -> Result<Vec<(usize, Trial)>> {
        let before = Instant::now();
        let left = end.saturating_duration_since(before);
        if suite.profile.warm.is_empty() || self.cold {
            let left = self.judge_variants(ask, suite, scene, &round, (begin, end)).await?;
            let one_by_one = if self.plausible.is_empty() {
                left.into_iter().take(COLD)
            } else {
                Vec::new().into_iter().take(0)
            };
            let round: Vec<&Trial> = one_by_one.map(|at| &round[at]).collect();
            self.judge_cold(ask, scene, &round, (begin, end)).await?;
            self.statistics.judging += before.elapsed().as_secs_f64();
            return Ok(Vec::new());
        }
        let prefix = if suite.dir.is_empty() { String::new() } else { format!("{}/", suite.dir) };
        let candidates = round.iter().enumerate().filter_map(|(n, trial)| {
            let file = trial.path.as_str().strip_prefix(&prefix)?;
            Some((n, file, vec![(trial.edit.start, trial.edit.end, trial.edit.text.as_str())]))
        });
        let plan = Plan::Judge(Round {
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
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        });
        let seconds = left.as_secs().saturating_add(5).min(3600);
        let said = ask.verifier.warm(suite, &serde_json::to_string(&plan)?, seconds).await?;
        let answers = warm::answers(&said.unwrap_or_default());
        if answers.judged.is_empty() && !round.is_empty() && left.as_secs() > 1 {
            // The warm judge cannot load these tests.
            self.cold = true;
            return Box::pin(self.judge(ask, suite, scene, round, begin, end)).await;
        }
        let offset = before.duration_since(begin).as_secs_f64();
        let mut best: BTreeMap<usize, usize> = BTreeMap::new();
        let mut numbers: HashSet<usize> = HashSet::new();
        for judged in &answers.judged {
            let Some(trial) = round.get(judged.n) else { continue };
            numbers.insert(judged.n);
            if judged.how == How::Passed {
                if self.statistics.first.is_none() {
                    self.statistics.first = Some(self.statistics.tried + numbers.len());
                    self.statistics.first_at = offset + judged.at;
                }
                self.keep(scene, trial, judged.n);
            } else if judged.passed > 0 {
                best.insert(judged.n, judged.passed);
            }
        }
        self.statistics.tried += numbers.len();
        self.statistics.cpu += answers.cpu;
        self.statistics.judging += before.elapsed().as_secs_f64();
        let mut near = Vec::new();
        for (n, trial) in round.into_iter().enumerate() {
            if let Some(passed) = best.get(&n) {
                near.push((*passed, trial));
            }
        }
        Ok(near)
    }

    /// Keeps a plausible candidate.
    pub fn keep(&mut self, scene: &Scene, trial: &Trial, n: usize) {
        let Some(source) = scene.sources.iter().find(|source| source.path == trial.path) else { return };
        let Some(content) = splice(&source.text, std::slice::from_ref(&trial.edit)) else { return };
        let file = File { kind: source.kind, content: content.into_bytes() };
        let patch = Patch([(trial.path.clone(), Some(file))].into());
        let deletes = matches!(trial.kind, "delete" | "wrap-in-if" | "jump" | "guard");
        let what = told(scene, trial);
        self.plausible.push(Plausible { patch, what, order: (deletes, 0, n) });
    }
}

/// Looks at the base: which lines its tests run, which tests count, what failing ones say.
pub async fn scene<'a>(grammars: &'a Grammars, ask: &Ask<'_>, suite: &Suite) -> Result<Scene<'a>> {
    let editable = Editable::new(ask.verifier)?;
    let (baseline, prefix) = (ask.baseline, suite.dir.clone());
    let synthetic = baseline.targets.iter().any(|id| id.starts_with("run (") || id.starts_with("build ("));
    let own = |ids: &BTreeSet<TestId>| -> Vec<String> {
        ids.iter().filter_map(|id| suite.own_id(id)).map(str::to_owned).collect()
    };
    let (targets, guards) = (own(&baseline.targets), own(&baseline.guards));
    let some = targets.iter().chain(&guards).map(String::as_str).take(TRACED);
    let tests = if synthetic { Vec::new() } else { some.collect() };
    let plan = serde_json::to_string(&Plan::Trace { tests, wall: TRACING })?;
    let said = ask.verifier.warm(suite, &plan, 120).await?.unwrap_or_default();
    let traces = warm::traces(&said);
    let path_of = |file: &str| {
        let path = if prefix.is_empty() { file.to_owned() } else { format!("{prefix}/{file}") };
        RepoPath::new(&path).ok().filter(|path| editable.read(path).is_some())
    };
    let mut suspicions = locate::by_spectrum(&traces, &path_of);
    let sources = sources(grammars, ask, &editable, &suspicions)?;
    let failing: Vec<&TestId> = baseline.targets.iter().collect();
    let (frames, names) = hints::places(ask, &failing);
    locate::refine(&mut suspicions, &sources, &frames, &names);
    let (targets, guards) = sorted(synthetic, targets, guards, &traces);
    let seconds = |ids: &[String]| {
        let known = traces.iter().filter(|trace| ids.contains(&trace.id));
        // A test that was cut short is the fault's own time.
        known.map(|trace| trace.seconds).filter(|seconds| *seconds < CUT).sum::<f64>()
    };
    let seconds = (seconds(&targets), seconds(&guards));
    Ok(Scene { sources, suspicions, targets, guards, seconds, hints: hints::constants(ask, &failing) })
}

/// The tests that must pass and those that must go on passing, cheapest first. Where the base's own run did not
/// end, tracing has seen more.
fn sorted(
    synthetic: bool,
    targets: Vec<String>,
    guards: Vec<String>,
    traces: &[Traced],
) -> (Vec<String>, Vec<String>) {
    let (mut targets, mut guards) = if synthetic && !traces.is_empty() {
        let with = |passed| {
            traces
                .iter()
                .filter(move |trace| trace.passed == Some(passed))
                .map(|trace| trace.id.clone())
                .collect()
        };
        (with(false), with(true))
    } else {
        (targets, guards)
    };
    let cost: BTreeMap<&str, f64> = traces.iter().map(|trace| (trace.id.as_str(), trace.seconds)).collect();
    let by_cost = |a: &String, b: &String| {
        let of = |id: &String| cost.get(id.as_str()).copied().unwrap_or(0.0);
        of(a).total_cmp(&of(b)).then_with(|| a.cmp(b))
    };
    targets.sort_by(by_cost);
    guards.sort_by(by_cost);
    (targets, guards)
}

/// The files that may be mutated: those with suspicious lines or, when nothing is known, all product files.
fn sources<'a>(
    grammars: &'a Grammars,
    ask: &Ask<'_>,
    editable: &Editable,
    suspicions: &Suspicions,
) -> Result<Vec<Source<'a>>> {
    let globs = ask.verifier.sources()?;
    let mut paths: Vec<RepoPath> = suspicions.files().into_iter().cloned().collect();
    if paths.is_empty() {
        paths = ask
            .verifier
            .workshop
            .snapshot
            .paths()?
            .into_iter()
            .filter(|path| globs.is_match(path.as_str()))
            .collect();
    }
    let parsed = |path: RepoPath| -> Option<Source<'a>> {
        let grammar: &Grammar = grammars.of(path.as_str())?;
        let file = editable.read(&path)?;
        let mut source = Source::new(path, String::from_utf8(file.content).ok()?, grammar)?;
        source.kind = file.kind;
        Some(source)
    };
    Ok(paths.into_iter().filter_map(parsed).take(FILES).collect())
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
    let size = edit.text.len() + edit.end - edit.start;
    Some(Trial { path: mutant.path.clone(), edit, kind: mutant.kind, line: mutant.line, size })
}

/// Edits of a candidate that passed some targets.
fn second(grammars: &Grammars, scene: &Scene, first: &Trial, known: &mut HashSet<u64>) -> Vec<Trial> {
    let Some(base) = scene.sources.iter().find(|source| source.path == first.path) else { return Vec::new() };
    let Some(text) = splice(&base.text, std::slice::from_ref(&first.edit)) else { return Vec::new() };
    let Some(source) = Source::new(first.path.clone(), text, base.grammar) else { return Vec::new() };
    let lines = |text: &str| text.matches('\n').count();
    let grown = lines(&first.edit.text)
        .saturating_sub(base.text.get(first.edit.start..first.edit.end).map_or(0, lines));
    let grown = u32::try_from(grown).unwrap_or(0);
    let suspicion = |line: u32| {
        let shifted = if line > first.line { line.saturating_sub(grown) } else { line };
        scene.suspicions.of(&first.path, shifted)
    };
    let mut found = Vec::new();
    for mutant in source.mutants(&suspicion, &grammars.priors, &scene.hints) {
        if let Some(text) = source.apply(&mutant.edits, known)
            && let Some(edit) = difference(&base.text, &text)
        {
            let size = edit.text.len() + edit.end - edit.start;
            found.push(Trial { path: first.path.clone(), edit, kind: "pair", line: mutant.line, size });
        }
        if found.len() == SECOND {
            break;
        }
    }
    found
}

/// A candidate on one line: kind, place, the line before and after.
fn told(scene: &Scene, trial: &Trial) -> String {
    let source = scene.sources.iter().find(|source| source.path == trial.path);
    let (before, after) = source.map_or((String::new(), String::new()), |source| {
        let start =
            source.text.get(..trial.edit.start).and_then(|head| head.rfind('\n')).map_or(0, |at| at + 1);
        let stop = source
            .text
            .get(trial.edit.end..)
            .and_then(|tail| tail.find('\n'))
            .map_or(source.text.len(), |at| trial.edit.end + at);
        let part = |from: usize, to: usize| source.text.get(from..to).unwrap_or_default();
        let after =
            format!("{}{}{}", part(start, trial.edit.start), trial.edit.text, part(trial.edit.end, stop));
        (part(start, stop).trim().to_owned(), after.trim().to_owned())
    });
    let line = |text: &str| text::one_line(&text::clip(text, 160));
    format!("{} at {}:{}: `{}` → `{}`", trial.kind, trial.path, trial.line, line(&before), line(&after))
}

/// The most suspicious lines, with their text.
pub fn suspects(scene: &Scene) -> Vec<Suspect> {
    let texts: BTreeMap<&RepoPath, Vec<&str>> =
        scene.sources.iter().map(|source| (&source.path, source.text.lines().collect())).collect();
    let suspect = |(path, line, suspicion): (&RepoPath, u32, f64)| {
        let text = texts.get(path)?.get(usize::try_from(line).ok()?.checked_sub(1)?)?.trim();
        let suspicion = (suspicion * 1000.0).round() / 1000.0;
        (!text.is_empty()).then(|| Suspect {
            file: path.to_string(),
            line,
            suspicion,
            text: text::clip(text, 100).into_owned(),
        })
    };
    scene.suspicions.ranked().into_iter().filter_map(suspect).take(60).collect()
}
