//! A scene is what is known of the base before candidates are made: the files that may be edited, how suspicious
//! their lines are, which tests count and how long they take, what failing ones say.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::grammar::{Grammar, Grammars};
use super::locate::{self, Suspicions};
use super::mutate::{Hints, Source};
use super::probes::{self, Probes, Span};
use super::warm::{self, Plan, Traced};
use super::{Editable, Suspect, hints, variants};
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

/// Tests whose lines are looked at, and targets among them.
const TRACED: usize = 400;
const TRACED_TARGETS: usize = 100;

/// Guards that candidates are tried with, the closest to the targets by name.
const GUARDED: usize = 500;

/// Files that get probes, guards that run with them, builds and seconds for that, and statements below which names say
/// enough.
const PROBED: usize = 400;
const GUARDS: usize = 40;
const PROBES: usize = 3;
const PROBING: Duration = Duration::from_mins(1);
const FEW: usize = 40;

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
    /// Those that must go on passing: the closest by name, without those that are known to share no line with a target.
    /// The verifier runs them all.
    pub guards: Vec<String>,
    /// CPU seconds of the longest of them, apart from those that were cut short.
    pub seconds: (f64, f64),
    /// Constants that failing tests speak of.
    pub hints: Hints,
}

/// Looks at the base: which lines its tests run, which tests count, what failing ones say.
///
/// The warm judge leaves in `workspace` what it will need again. A build with probes has the time `probing`.
pub async fn scene<'a>(
    grammars: &'a Grammars,
    ask: &Ask<'_>,
    suite: &Suite,
    workspace: &Workspace,
    probing: Duration,
) -> Result<Scene<'a>> {
    let editable = Editable::new(ask.verifier)?;
    let (baseline, folder) = (ask.baseline, suite.folder());
    let synthetic = baseline.targets.iter().any(|id| id.starts_with("run (") || id.starts_with("build ("));
    let own = |ids: &BTreeSet<TestId>| -> Vec<String> {
        ids.iter().filter_map(|id| suite.own_id(id)).map(str::to_owned).collect()
    };
    let (targets, mut guards) = (own(&baseline.targets), own(&baseline.guards));
    closest_first(&mut guards, &targets);
    let some = targets.iter().take(TRACED_TARGETS).chain(&guards).map(String::as_str).take(TRACED);
    let tests = if synthetic { Vec::new() } else { some.collect() };
    let plan = serde_json::to_string(&Plan::Trace { tests, wall: TRACING })?;
    let said = ask.verifier.warm_in(workspace, suite, &plan, 120).await?.unwrap_or_default();
    let mut traces = warm::traces(&said);
    for trace in traces.iter_mut().filter(|_| !folder.is_empty()) {
        let lines = std::mem::take(&mut trace.lines).into_iter();
        trace.lines = lines.map(|(file, lines)| (format!("{folder}{file}"), lines)).collect();
    }
    // A guard that fails here was cut short, or fails for want of something: that says nothing of the fault.
    let red: BTreeSet<&str> = targets.iter().map(String::as_str).collect();
    for trace in traces.iter_mut().filter(|trace| !synthetic && trace.passed == Some(false)) {
        trace.passed = red.contains(trace.id.as_str()).then_some(false);
    }
    let mut blind = Vec::new();
    if traces.is_empty() && !synthetic {
        (traces, blind) = probed(grammars, ask, suite, &editable, probing.min(PROBING)).await?;
    }
    let path_of = |file: &str| RepoPath::new(file).ok().filter(|path| editable.read(path).is_some());
    let mut suspicions = locate::by_spectrum(&traces, &path_of);
    if !suite.profile.warm.is_empty() && !suspicions.lines.is_empty() {
        let others = sharing_nothing(&suspicions, &traces);
        guards.retain(|guard| !others.contains(guard.as_str()));
    }
    guards.truncate(GUARDED);
    let sources = sources(grammars, ask, &editable, &suspicions, &blind)?;
    // Where one run of everything is all that can be had, names tell its parts apart.
    let one = suite.profile.warm.is_empty() && suite.profile.test.select.is_empty();
    let ran = (one && !traces.is_empty()).then(|| std::mem::take(&mut suspicions));
    let failing: Vec<&TestId> = baseline.targets.iter().collect();
    let (frames, mut names) = hints::places(ask, &failing);
    helpers(grammars, ask, &editable, &failing, &mut names);
    locate::refine(&mut suspicions, &sources, &frames, &names, &blind);
    if let Some(ran) = ran {
        suspicions.meet(&ran, &sources, &blind);
    }
    let (targets, guards) = sorted(synthetic, targets, guards, &traces);
    let seconds = |ids: &[String]| {
        let known = traces.iter().filter(|trace| ids.contains(&trace.id));
        // A test that was cut short is the fault's own time.
        known.map(|trace| trace.seconds).filter(|seconds| *seconds < CUT).fold(0.0, f64::max)
    };
    let seconds = (seconds(&targets), seconds(&guards));
    Ok(Scene { sources, suspicions, targets, guards, seconds, hints: hints::constants(ask, &failing) })
}

/// The lines that the targets and some guards run, by a build with probes, and functions of which it says nothing;
/// nothing at all where that cannot be had, or where little is to be learned from it.
async fn probed(
    grammars: &Grammars,
    ask: &Ask<'_>,
    suite: &Suite,
    editable: &Editable<'_>,
    time: Duration,
) -> Result<(Vec<Traced>, Vec<Span>)> {
    let sources = parsed(grammars, editable, products(ask)?, PROBED);
    let (tests, environment) = (apart(ask, suite), variants::environment(&sources));
    let (end, mut without, mut before) = (Instant::now() + time, BTreeSet::new(), usize::MAX);
    for _ in 0..PROBES {
        let probes = Probes::compose(&sources, &without);
        let most = end.saturating_duration_since(Instant::now()).as_secs();
        if probes.count() < FEW || probes.count() >= before || most == 0 {
            break;
        }
        before = probes.count();
        let only = tests.iter().cloned().collect();
        let built = ask.verifier.build_kept(suite, &probes.patch, Some(&only), &environment, most).await?;
        if built.run.built {
            let most = end.saturating_duration_since(Instant::now()).as_secs().max(1);
            let noted =
                ask.verifier.notes(&built, suite, &tests, &environment, probes::VARIABLE, most).await?;
            let traced = |(id, noted): (&TestId, String)| Traced {
                id: suite.own_id(id).unwrap_or_default().to_owned(),
                passed: Some(!ask.baseline.targets.contains(id)),
                lines: probes.lines(&noted),
                seconds: 0.0,
            };
            let traced = tests.iter().zip(noted).map(traced).filter(|test| !test.lines.is_empty());
            return Ok((traced.collect(), probes.blind));
        }
        without.extend(probes.blamed(&built.run.diagnostics));
    }
    Ok((Vec::new(), Vec::new()))
}

/// Sorts tests by how much of its name each has in common with a target.
fn closest_first<Id: AsRef<str>>(tests: &mut [Id], targets: &[Id]) {
    let common = |a: &str, b: &str| a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    tests.sort_by_cached_key(|test| {
        let shared = |target: &Id| common(test.as_ref(), target.as_ref());
        Reverse(targets.iter().take(GUARDS).map(shared).max())
    });
}

/// The passing tests that run no line of the product which a failing one runs.
fn sharing_nothing<'t>(ran: &Suspicions, traces: &'t [Traced]) -> BTreeSet<&'t str> {
    let shares = |test: &Traced| {
        test.lines.iter().any(|(file, lines)| {
            let ran = RepoPath::new(file).ok().and_then(|path| ran.lines.get(&path));
            ran.is_some_and(|ran| lines.iter().any(|line| ran.contains_key(line)))
        })
    };
    let passing = traces.iter().filter(|test| test.passed == Some(true));
    passing.filter(|test| !shares(test)).map(|test| test.id.as_str()).collect()
}

/// The targets and the guards closest to them by name that can run apart, without those whose parts are there too.
fn apart(ask: &Ask<'_>, suite: &Suite) -> Vec<TestId> {
    let own = |ids: &'_ BTreeSet<TestId>| -> Vec<TestId> {
        ids.iter().filter(|id| suite.own_id(id).is_some()).cloned().collect()
    };
    let (mut all, mut guards) = (own(&ask.baseline.targets), own(&ask.baseline.guards));
    closest_first(&mut guards, &all);
    let some = if suite.profile.test.select.is_empty() { 1 } else { GUARDS };
    all.truncate(some);
    all.extend(guards.into_iter().take(some - 1));
    let whole = |id: &&TestId| !all.iter().any(|other| other.starts_with(&format!("{id}/")));
    all.iter().filter(whole).cloned().collect()
}

/// Adds the names that stand in those functions of test files that failing tests call.
fn helpers(
    grammars: &Grammars,
    ask: &Ask<'_>,
    editable: &Editable<'_>,
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

/// The tests that must pass and those that must go on passing, cheapest first, those of which that is not known as they
/// are. Where the base's own run did not end, tracing has seen more.
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
        let of = |id: &String| cost.get(id.as_str()).copied().unwrap_or(f64::MAX);
        of(a).total_cmp(&of(b))
    };
    targets.sort_by(by_cost);
    guards.sort_by(by_cost);
    (targets, guards)
}

/// The files that may be mutated: those with suspicious lines or, when nothing is known, all product files.
fn sources<'a>(
    grammars: &'a Grammars,
    ask: &Ask<'_>,
    editable: &Editable<'_>,
    suspicions: &Suspicions,
    blind: &[Span],
) -> Result<Vec<Source<'a>>> {
    let mut paths: Vec<RepoPath> = suspicions.files().into_iter().cloned().collect();
    for (path, ..) in blind.iter().filter(|_| !suspicions.lines.is_empty()) {
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    if paths.is_empty() {
        paths = products(ask)?;
    }
    Ok(parsed(grammars, editable, paths, FILES))
}

/// The files of the product.
fn products(ask: &Ask<'_>) -> Result<Vec<RepoPath>> {
    let globs = ask.verifier.sources()?;
    let paths = ask.verifier.workshop.snapshot.paths()?;
    Ok(paths.into_iter().filter(|path| globs.is_match(path.as_str())).collect())
}

/// The first files that may be edited and have a grammar.
fn parsed<'a>(
    grammars: &'a Grammars,
    editable: &Editable<'_>,
    paths: Vec<RepoPath>,
    most: usize,
) -> Vec<Source<'a>> {
    let parsed = |path: RepoPath| -> Option<Source<'a>> {
        let file = editable.read(&path)?;
        let text = String::from_utf8(file.content).ok()?;
        let grammar: &Grammar = grammars.of_text(path.as_str(), &text)?;
        let mut source = Source::new(path, text, grammar)?;
        source.kind = file.kind;
        Some(source)
    };
    paths.into_iter().filter_map(parsed).take(most).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_run_nothing_of_what_failing_ones_run_are_apart_and_close_ones_come_first() {
        let trace = |id: &str, passed, file: &str, lines: &[u32]| Traced {
            id: id.to_owned(),
            passed,
            lines: [(file.to_owned(), lines.iter().copied().collect())].into(),
            seconds: 0.0,
        };
        let traces = [
            trace("red", Some(false), "a.py", &[1, 2]),
            trace("near", Some(true), "a.py", &[2, 3]),
            trace("far", Some(true), "a.py", &[3]),
            trace("other file", Some(true), "b.py", &[1]),
            trace("cut", None, "a.py", &[3]),
            trace("helper", Some(true), "test_a.py", &[1]),
            trace("red too", Some(false), "test_a.py", &[1]),
        ];
        let product = |file: &str| RepoPath::new(file).ok().filter(|_| !file.starts_with("test"));
        let found = locate::by_spectrum(&traces, &product);
        assert_eq!(sharing_nothing(&found, &traces), ["far", "helper", "other file"].into());
        let mut tests = ["a::x", "b::y", "b::red_1", "c"];
        closest_first(&mut tests, &["b::red_2"]);
        assert_eq!(tests, ["b::red_1", "b::y", "a::x", "c"]);
    }
}
