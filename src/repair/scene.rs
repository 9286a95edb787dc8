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
        known.map(|trace| trace.seconds).filter(|seconds| *seconds < CUT).fold(0.0, f64::max)
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
