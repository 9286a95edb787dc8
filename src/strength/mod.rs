//! The strength of a suite on some lines is how many small wrong changes of them (mutants) its tests notice. Lines
//! that a patch changed are asked about after it is green, lines of the base before anybody relies on its tests.
//! It is bounded in number and time, convicts nobody, and what it finds is for people: where a test is missing.

mod choose;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use similar::{ChangeTag, TextDiff};

use crate::leak::{Leak, Place, Strength, Survivor};
use crate::patch::{File, FileKind, Patch, RepoPath};
use crate::repair::mutate::Source;
use crate::repair::warm::{self, Plan};
use crate::repair::{self, grammar::Grammars};
use crate::toolchain::Suite;
use crate::verdict::{Baseline, Evidence, Outcome, TestId, TestRun};
use crate::verify::{Say, Verifier};
use choose::Mutation;
pub use choose::spread;
use run::Fate;

/// Mutants that are tried unless told otherwise.
pub const MUTANTS: usize = 20;

/// Measuring takes as long as the base's tests took so many times, and at least and at most so many seconds.
const BASE_RUNS: f64 = 6.0;
const SECONDS: std::ops::RangeInclusive<f64> = 10.0..=120.0;

/// Seconds that tracing tests may take, and tests that are traced.
const TRACING: f64 = 20.0;
const TRACED: usize = 400;

/// Lines by file, from 1.
pub type Lines = BTreeMap<RepoPath, BTreeSet<u32>>;

/// How far measuring goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Mutants that are tried; 0 means that nothing is measured.
    pub mutants: usize,
    /// Wall time after which nothing is run; what runs then is ended and says nothing.
    pub time: Duration,
}

impl Bounds {
    /// So many mutants, and a time that fits the suite; `left` is what the budget allows.
    pub fn of(mutants: usize, baseline: &Baseline, left: Option<Duration>) -> Bounds {
        let seconds = (baseline.run.seconds * BASE_RUNS).clamp(*SECONDS.start(), *SECONDS.end());
        let time = Duration::from_secs_f64(seconds);
        Bounds { mutants, time: left.map_or(time, |left| time.min(left)) }
    }
}

/// What is measured: a tree, some of its lines, and who measures.
pub struct Question<'a> {
    /// Who runs tests.
    pub verifier: &'a Verifier,
    /// What is known of languages.
    pub grammars: &'a Grammars,
    /// The base's tests: those that are flaky decide nothing here either.
    pub baseline: &'a Baseline,
    /// The tree, as a patch of the base; empty for the base itself.
    pub tree: &'a Patch,
    /// The lines.
    pub lines: &'a Lines,
    /// How far to go.
    pub bounds: Bounds,
}

/// Measures how strong the visible and the held-out tests are on the lines that a green patch changed, and writes it
/// into the evidence; nothing when no mutants were asked for.
pub async fn of_patch(
    verifier: &Verifier,
    grammars: &Grammars,
    baseline: &Baseline,
    product: &Patch,
    bounds: Bounds,
    evidence: &mut Evidence,
    say: Say<'_>,
) -> Result<()> {
    if bounds.mutants == 0 {
        return Ok(());
    }
    let mut tree = product.clone();
    tree.0.extend(verifier.held_out.iter().flat_map(|held_out| held_out.files.0.clone()));
    let lines = changed_lines(verifier, product)?;
    let question = Question { verifier, grammars, baseline, tree: &tree, lines: &lines, bounds };
    evidence.weigh(measure(&question, say).await?);
    Ok(())
}

/// How strong the tests that pass on the base are on the lines that may be to blame for those that fail: what is known
/// of a fix's lines before there is one. Lines that only failing tests run count as let live, so it is pessimistic.
pub async fn of_base(
    verifier: &Verifier,
    grammars: &Grammars,
    baseline: &Baseline,
    bounds: Bounds,
    say: Say<'_>,
) -> Result<Strength> {
    let unknown = |note: &str| {
        let leak = Some(Leak::of(&Strength::default()));
        Strength { note: note.to_owned(), leak, ..Strength::default() }
    };
    if bounds.mutants == 0 {
        return Ok(unknown("it was not to be measured"));
    }
    if !baseline.run.built {
        return Ok(unknown("the base does not build"));
    }
    say("looking for the lines that may be to blame");
    let mut lines = Lines::new();
    for suspect in repair::localise(verifier, baseline, grammars).await?.into_iter().flat_map(|one| one.lines)
    {
        lines.entry(RepoPath::new(&suspect.file)?).or_default().insert(suspect.line);
    }
    let tree = Patch::default();
    measure(&Question { verifier, grammars, baseline, tree: &tree, lines: &lines, bounds }, say).await
}

/// Asks the question.
pub async fn measure(question: &Question<'_>, say: Say<'_>) -> Result<Strength> {
    let start = Instant::now();
    let mut strength = asked(question, start, say).await?;
    strength.survivors.sort();
    strength.leak = Some(Leak::of(&strength));
    strength.seconds = (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    Ok(strength)
}

async fn asked(question: &Question<'_>, start: Instant, say: Say<'_>) -> Result<Strength> {
    let sources = sources(question)?;
    let code: Lines = sources
        .iter()
        .map(|source| (source.path.clone(), within(&source.code_lines(), question.lines.get(&source.path))))
        .collect();
    let mut strength = Strength { lines: code.values().map(BTreeSet::len).sum(), ..Strength::default() };
    let mutations = choose::mutations(question, &sources);
    if mutations.is_empty() {
        "nothing on these lines can be changed a little and wrongly here".clone_into(&mut strength.note);
        return Ok(strength);
    }
    let end = start + question.bounds.time;
    let slow = question.baseline.run.seconds > question.bounds.time.as_secs_f64();
    say("measuring the tests: without a change");
    let before = Instant::now();
    // Dropping a run ends its box.
    let reference = run::within(end, question.verifier.try_tests(question.tree, None));
    let Some(reference) = (if slow { None } else { reference.await }) else {
        "a run of the tests takes longer than measuring may".clone_into(&mut strength.note);
        return Ok(strength);
    };
    let (reference, once) = (reference?, before.elapsed());
    let required = passing(question.baseline, &reference);
    if required.is_empty() {
        "no test passes that a mutant could break".clone_into(&mut strength.note);
        return Ok(strength);
    }
    let covered = run::within(end, coverage(question, &required)).await.transpose()?.flatten();
    strength.uncovered = covered.as_ref().map(|covered| uncovered(&code, covered));
    let trial = run::Trial { question, sources: &sources, required: &required, once, end };
    let fates = trial.run(&mutations, say).await?;
    tally(&mut strength, &mutations, &fates, &sources);
    Ok(strength)
}

/// Counts what became of the mutants.
fn tally(
    strength: &mut Strength,
    mutations: &[Mutation],
    fates: &BTreeMap<usize, Fate>,
    sources: &[Source<'_>],
) {
    for (number, fate) in fates {
        match fate {
            Fate::Killed => (strength.tried, strength.killed) = (strength.tried + 1, strength.killed + 1),
            Fate::Unbuilt => strength.unbuilt += 1,
            Fate::Lived => {
                strength.tried += 1;
                strength.survivors.extend(mutations.get(*number).and_then(|one| survivor(one, sources)));
            }
        }
    }
    let left = mutations.len() - fates.len();
    if left > 0 {
        strength.note = format!("the time was up before {left} more mutants were tried");
    } else if strength.tried == 0 {
        "no mutant of these lines builds".clone_into(&mut strength.note);
    }
}

fn survivor(mutation: &Mutation, sources: &[Source<'_>]) -> Option<Survivor> {
    let source = sources.iter().find(|source| source.path == mutation.path)?;
    let (before, after) = choose::around(&source.text, &mutation.edit);
    let clip = |text: &str| crate::text::clip(text.trim(), 160).into_owned();
    Some(Survivor {
        at: Place { file: mutation.path.to_string(), line: mutation.line },
        kind: mutation.kind.to_owned(),
        before: clip(&before),
        after: clip(&after),
    })
}

/// The files that hold the lines, parsed.
fn sources<'a>(question: &Question<'a>) -> Result<Vec<Source<'a>>> {
    let mut found = Vec::new();
    for path in question.lines.keys() {
        let Some(grammar) = question.grammars.of(path.as_str()) else { continue };
        let file = match question.tree.0.get(path) {
            Some(file) => file.clone(),
            None => question.verifier.workshop.snapshot.file(path)?,
        };
        let Some(file) = file.filter(|file| file.kind != FileKind::Link) else { continue };
        let Ok(text) = String::from_utf8(file.content) else { continue };
        if let Some(mut source) = Source::new(path.clone(), text, grammar) {
            source.kind = file.kind;
            found.push(source);
        }
    }
    Ok(found)
}

/// The lines of product files that a patch made or changed. Where lines were only taken away, those beside them.
pub fn changed_lines(verifier: &Verifier, product: &Patch) -> Result<Lines> {
    let mut lines = Lines::new();
    for (path, after) in &product.0 {
        let Some(after) = after else { continue };
        let before = verifier.workshop.snapshot.file(path)?;
        let before = before.map_or(Vec::new(), |file| file.content);
        if let (Ok(before), Ok(after)) = (std::str::from_utf8(&before), std::str::from_utf8(&after.content)) {
            lines.insert(path.clone(), changed(before, after));
        }
    }
    Ok(lines)
}

fn changed(before: &str, after: &str) -> BTreeSet<u32> {
    let (mut made, mut beside, mut number) = (BTreeSet::new(), BTreeSet::new(), 0);
    for change in TextDiff::from_lines(before, after).iter_all_changes() {
        match change.tag() {
            ChangeTag::Equal => number += 1,
            ChangeTag::Insert => {
                number += 1;
                made.insert(number);
            }
            ChangeTag::Delete => beside.extend([number, number + 1]),
        }
    }
    beside.remove(&0);
    if made.is_empty() { beside } else { made }
}

fn within(code: &BTreeSet<u32>, lines: Option<&BTreeSet<u32>>) -> BTreeSet<u32> {
    lines.map_or(BTreeSet::new(), |lines| code.intersection(lines).copied().collect())
}

/// Tests that pass, and do so always as far as is known.
fn passing(baseline: &Baseline, run: &TestRun) -> BTreeSet<TestId> {
    run.with(Outcome::Passed).difference(&baseline.flaky).cloned().collect()
}

/// Which lines tests run, where the toolchain has a way to tell.
pub async fn coverage(question: &Question<'_>, tests: &BTreeSet<TestId>) -> Result<Option<Lines>> {
    let mut covered: Option<Lines> = None;
    for suite in &question.verifier.suites {
        if !suite.is_warm() {
            // What its tests run nobody knows.
            return Ok(None);
        }
        let own: Vec<&str> = tests.iter().filter_map(|id| suite.own_id(id)).take(TRACED).collect();
        let plan = serde_json::to_string(&Plan::Trace { tests: own, wall: TRACING })?;
        let said = question.verifier.warm_on(question.tree, suite, &plan, 120).await?.unwrap_or_default();
        let traces = warm::traces(&said);
        if traces.iter().all(|trace| trace.lines.is_empty()) {
            return Ok(None);
        }
        let all = covered.get_or_insert_default();
        for (file, lines) in traces.iter().flat_map(|trace| &trace.lines) {
            if let Ok(path) = RepoPath::new(&in_tree(suite, file)) {
                all.entry(path).or_default().extend(lines);
            }
        }
    }
    Ok(covered)
}

/// A path relative to a suite's folder as one of the repository.
fn in_tree(suite: &Suite, file: &str) -> String {
    format!("{}{file}", suite.folder())
}

fn uncovered(code: &Lines, covered: &Lines) -> Vec<Place> {
    let not_run = |path: &RepoPath, line: &u32| !covered.get(path).is_some_and(|lines| lines.contains(line));
    let of = |(path, lines): (&RepoPath, &BTreeSet<u32>)| -> Vec<Place> {
        let lines = lines.iter().filter(|line| not_run(path, line));
        lines.map(|line| Place { file: path.to_string(), line: *line }).collect()
    };
    code.iter().flat_map(of).collect()
}

/// The tree with a mutation.
fn mutated(tree: &Patch, source: &Source<'_>, text: String) -> Patch {
    let mut patch = tree.clone();
    patch.0.insert(source.path.clone(), Some(File { kind: source.kind, content: text.into_bytes() }));
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_are_those_that_are_new_or_else_beside_what_is_gone() {
        let check = |before: &str, after: &str, lines: &[u32]| {
            assert_eq!(changed(before, after), lines.iter().copied().collect(), "{before:?} to {after:?}");
        };
        check("a\nb\nc\n", "a\nx\nc\n", &[2]);
        check("a\nb\n", "a\nb\nc\nd\n", &[3, 4]);
        check("a\nb\nc\n", "a\nc\n", &[1, 2]);
        check("a\nb\nc\nd\n", "b\nc\nx\n", &[3]);
        check("", "a\nb\n", &[1, 2]);
        check("a\n", "", &[1]);
    }
}
