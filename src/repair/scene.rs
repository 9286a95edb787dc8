//! A scene is what is known of the base before candidates are made: the files that may be edited, how suspicious
//! their lines are, which tests count and how long they take, what failing ones say.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::grammar::{Grammar, Grammars};
use super::locate::{self, Suspicions};
use super::mutate::{Hints, Source};
use super::warm::{self, Plan, Traced};
use super::{Editable, Suspect, hints};
use crate::patch::RepoPath;
use crate::propose::Ask;
use crate::text;
use crate::toolchain::Suite;
use crate::verdict::TestId;
use crate::workspace::Workspace;

/// Seconds that tracing the base may take.
const TRACING: f64 = 30.0;

/// CPU seconds after which a traced test is about to be cut short.
const CUT: f64 = 0.5;

/// Tests whose lines are looked at.
const TRACED: usize = 400;

/// Guards whose profiles are taken, and seconds for building and running them.
const PROFILED: usize = 40;
const PROFILING: u64 = 60;

/// Test files that are read for the functions that tests call.
const TEST_FILES: usize = 10;

/// Files that are mutated, most suspicious first.
const FILES: usize = 25;

/// What is known of the base before candidates are made.
pub struct Scene<'a> {
    /// Files that may be mutated, most suspicious first.
    pub sources: Vec<Source<'a>>,
    /// How suspicious their lines are.
    pub suspicions: Suspicions,
    /// Targets as the suite knows them, cheapest first.
    pub targets: Vec<String>,
    /// Those that must go on passing.
    pub guards: Vec<String>,
    /// CPU seconds of the longest of them, apart from those that were cut short.
    pub seconds: (f64, f64),
    /// Constants that failing tests speak of.
    pub hints: Hints,
}

/// Looks at the base: which lines its tests run, which tests count, what failing ones say.
///
/// The warm judge leaves in `workspace` what it will need again.
pub async fn scene<'a>(
    grammars: &'a Grammars,
    ask: &Ask<'_>,
    suite: &Suite,
    workspace: &Workspace,
) -> Result<Scene<'a>> {
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
    let said = ask.verifier.warm_in(workspace, suite, &plan, 120).await?.unwrap_or_default();
    let mut traces = warm::traces(&said);
    if traces.is_empty() && !synthetic {
        traces = profiles(ask, suite).await?;
    }
    let path_of = |file: &str| {
        let path = if prefix.is_empty() { file.to_owned() } else { format!("{prefix}/{file}") };
        RepoPath::new(&path).ok().filter(|path| editable.read(path).is_some())
    };
    // Go names files by the module, which may be called anything.
    let path_of = |file: &str| {
        let tails = file.match_indices('/').filter_map(|(at, _)| path_of(file.get(at + 1..)?));
        path_of(file).or_else(|| tails.into_iter().next())
    };
    let mut suspicions = locate::by_spectrum(&traces, &path_of);
    let sources = sources(grammars, ask, &editable, &suspicions)?;
    let failing: Vec<&TestId> = baseline.targets.iter().collect();
    let (frames, mut names) = hints::places(ask, &failing);
    helpers(grammars, ask, &editable, &failing, &mut names);
    locate::refine(&mut suspicions, &sources, &frames, &names);
    let (targets, guards) = sorted(synthetic, targets, guards, &traces);
    let seconds = |ids: &[String]| {
        let known = traces.iter().filter(|trace| ids.contains(&trace.id));
        // A test that was cut short is the fault's own time.
        known.map(|trace| trace.seconds).filter(|seconds| *seconds < CUT).fold(0.0, f64::max)
    };
    let seconds = (seconds(&targets), seconds(&guards));
    Ok(Scene { sources, suspicions, targets, guards, seconds, hints: hints::constants(ask, &failing) })
}

/// What tests run, by the profiles of a toolchain: the targets and some guards, without those whose parts are there too.
async fn profiles(ask: &Ask<'_>, suite: &Suite) -> Result<Vec<Traced>> {
    let baseline = ask.baseline;
    let guards = baseline.guards.iter().take(PROFILED);
    let all: Vec<&TestId> =
        baseline.targets.iter().chain(guards).filter(|id| suite.own_id(id).is_some()).collect();
    let whole = |id: &&TestId| !all.iter().any(|other| other.starts_with(&format!("{id}/")));
    let tests: Vec<TestId> = all.iter().copied().filter(whole).take(2 * PROFILED).cloned().collect();
    let said = ask.verifier.profiles(suite, &tests, PROFILING).await?;
    let traced = |(id, said): (&TestId, String)| {
        let passed = Some(!baseline.targets.contains(id));
        Traced {
            id: suite.own_id(id).unwrap_or_default().to_owned(),
            passed,
            lines: warm::profile(&said),
            seconds: 0.0,
        }
    };
    Ok(tests.iter().zip(said).map(traced).filter(|test| !test.lines.is_empty()).collect())
}

/// Adds the names that stand in those functions of test files that failing tests call.
fn helpers(
    grammars: &Grammars,
    ask: &Ask<'_>,
    editable: &Editable,
    failing: &[&TestId],
    names: &mut BTreeSet<String>,
) {
    let tests = failing.iter().filter_map(|id| ask.baseline.run.tests.get(*id));
    let places = tests.flat_map(|test| test.location.iter().chain(&test.frames));
    let files: BTreeSet<RepoPath> = places.filter_map(|place| RepoPath::new(&place.file).ok()).collect();
    for path in files.into_iter().filter(|path| editable.read(path).is_none()).take(TEST_FILES) {
        let file = ask.verifier.workshop.snapshot.file(&path).ok().flatten();
        let Some(text) = file.and_then(|file| String::from_utf8(file.content).ok()) else { continue };
        let Some(grammar) = grammars.of_text(path.as_str(), &text) else { continue };
        let Some(source) = Source::new(path, text, grammar) else { continue };
        let lines: Vec<&str> = source.text.lines().collect();
        for (name, first, last) in source.functions() {
            if names.contains(&name) {
                let inside = lines.iter().take(last as usize).skip(first.saturating_sub(1) as usize);
                names.extend(inside.flat_map(|line| hints::words(line)));
            }
        }
    }
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
        let file = editable.read(&path)?;
        let text = String::from_utf8(file.content).ok()?;
        let grammar: &Grammar = grammars.of_text(path.as_str(), &text)?;
        let mut source = Source::new(path, text, grammar)?;
        source.kind = file.kind;
        Some(source)
    };
    Ok(paths.into_iter().filter_map(parsed).take(FILES).collect())
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
