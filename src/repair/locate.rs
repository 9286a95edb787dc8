//! Fault localisation says how suspicious each line of the product is, from 0 to 1: by the tests that run it
//! (a spectrum) where that is known, by stack frames and by the names in failing tests.

use std::collections::{BTreeMap, BTreeSet};

use super::mutate::Source;
use super::probes::Span;
use super::warm::Traced;
use crate::diagnostic::Location;
use crate::patch::RepoPath;

/// Suspicion of lines that no test ran, as a part of that of the lines before them.
const UNSEEN: f64 = 0.2;

/// Suspicion of a function of which nothing is known but that a frame or a failing test names it.
const NAMED: f64 = 0.5;

/// Suspicion of lines of which nothing is known but that a failing run has them.
const RAN: f64 = 0.25;

/// Suspicion of what stands in a file with suspicious lines outside of functions.
const OUTSIDE: f64 = 0.1;

/// Suspicion of a value that stands outside of functions, as a part of that of the lines that name it.
const VALUE: f64 = 0.4;

/// How suspicious lines are.
#[derive(Clone, Debug, Default)]
pub struct Suspicions {
    /// By file and line, from 1.
    pub lines: BTreeMap<RepoPath, BTreeMap<u32, f64>>,
    /// What it rests on, for people.
    pub basis: &'static str,
}

impl Suspicions {
    /// The suspicion of a line.
    pub fn of(&self, path: &RepoPath, line: u32) -> f64 {
        self.lines.get(path).and_then(|lines| lines.get(&line)).copied().unwrap_or(0.0)
    }

    /// The most suspicious lines, most first.
    pub fn ranked(&self) -> Vec<(&RepoPath, u32, f64)> {
        let mut all: Vec<(&RepoPath, u32, f64)> = self
            .lines
            .iter()
            .flat_map(|(path, lines)| lines.iter().map(move |(line, score)| (path, *line, *score)))
            .collect();
        all.sort_by(|a, b| b.2.total_cmp(&a.2).then_with(|| (a.0, a.1).cmp(&(b.0, b.1))));
        all
    }

    /// Files, most suspicious first.
    pub fn files(&self) -> Vec<&RepoPath> {
        let mut files: Vec<(&RepoPath, f64)> = self
            .lines
            .iter()
            .map(|(path, lines)| (path, lines.values().copied().fold(0.0, f64::max)))
            .collect();
        files.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        files.into_iter().map(|(path, _)| path).collect()
    }

    /// Makes functions that no failing test runs less suspicious, and all that one runs a little. Of those that are
    /// `blind` nothing is known.
    pub fn meet(&mut self, ran: &Suspicions, sources: &[Source], blind: &[Span]) {
        for source in sources {
            let Some(lines) = ran.lines.get(&source.path) else { continue };
            for (_, first, last) in source.functions() {
                if lines.range(first..=last).next().is_none() && !is_blind(blind, source, first) {
                    let known = self.lines.entry(source.path.clone()).or_default();
                    known.range_mut(first..=last).for_each(|(_, score)| *score *= UNSEEN);
                }
            }
            for line in lines.keys() {
                self.raise(&source.path, *line, RAN);
            }
        }
        self.basis = "what the tests run, and names in failing tests";
    }

    fn raise(&mut self, path: &RepoPath, line: u32, score: f64) {
        let known = self.lines.entry(path.clone()).or_default().entry(line).or_insert(0.0);
        *known = known.max(score);
    }
}

/// Ochiai's coefficient (Abreu et al., 2006): how well "runs this line" predicts "fails". `failed` of the
/// `failing` tests and `passed` others run it.
pub fn ochiai(failed: f64, passed: f64, failing: f64) -> f64 {
    if failed == 0.0 { 0.0 } else { failed / (failing * (failed + passed)).sqrt() }
}

/// The suspicion of lines by the tests that run them. `path_of` gives the product file that a test's file is.
pub fn by_spectrum(traces: &[Traced], path_of: &dyn Fn(&str) -> Option<RepoPath>) -> Suspicions {
    let mut counts: BTreeMap<(&str, u32), (f64, f64)> = BTreeMap::new();
    let failing = traces.iter().filter(|test| test.passed == Some(false)).count();
    for test in traces.iter().filter(|test| test.passed.is_some()) {
        for (file, lines) in &test.lines {
            for line in lines {
                let (failed, passed) = counts.entry((file, *line)).or_insert((0.0, 0.0));
                if test.passed == Some(false) { *failed += 1.0 } else { *passed += 1.0 }
            }
        }
    }
    let mut found = Suspicions { basis: "coverage of each test", ..Suspicions::default() };
    #[expect(clippy::cast_precision_loss, reason = "no suite has 2^52 tests")]
    let failing = failing as f64;
    let paths: BTreeSet<&str> = counts.keys().map(|(file, _)| *file).collect();
    let paths: BTreeMap<&str, RepoPath> =
        paths.into_iter().filter_map(|file| Some((file, path_of(file)?))).collect();
    for ((file, line), (failed, passed)) in counts {
        let score = ochiai(failed, passed, failing);
        if let Some(path) = paths.get(file).filter(|_| score > 0.0) {
            found.raise(path, line, score);
        }
    }
    found
}

/// Adds what stack frames and names say, and gives lines that no test ran a part of their neighbours' suspicion.
/// `frames` are those of failing tests, innermost first; `names` stand in failing tests; whether tests run what is
/// `blind` is not known.
pub fn refine(
    found: &mut Suspicions,
    sources: &[Source],
    frames: &[Location],
    names: &BTreeSet<String>,
    blind: &[Span],
) {
    let seen = !found.lines.is_empty();
    if !seen {
        found.basis = "stack frames and names in failing tests";
    }
    for source in sources {
        let path = source.path.clone();
        for (name, first, last) in source.functions() {
            let inside =
                |frame: &&Location| frame.file == path.as_str() && (first..=last).contains(&frame.line);
            let depth = frames.iter().position(|frame| inside(&frame));
            if !seen {
                if let Some(depth) = depth {
                    let score = if depth == 0 { 1.0 } else { 0.8 };
                    (first..=last).for_each(|line| found.raise(&path, line, score * 0.7));
                } else if names.contains(&name) {
                    (first..=last).for_each(|line| found.raise(&path, line, NAMED));
                }
            }
        }
    }
    if seen {
        let words = words(found, sources);
        for source in sources {
            for (name, first, last) in source.functions() {
                let least = if names.contains(&name) { NAMED } else { 0.0 };
                let score = words.get(name.as_str()).copied().unwrap_or(0.0).max(least);
                if score > 0.0 && is_blind(blind, source, first) {
                    (first..=last).for_each(|line| found.raise(&source.path, line, score));
                }
            }
        }
    } else {
        called(found, sources);
        called(found, sources);
    }
    if found.lines.is_empty() {
        found.basis = "nothing but what stands in functions";
        for source in sources {
            for (_, first, last) in source.functions() {
                (first..=last).for_each(|line| found.raise(&source.path, line, UNSEEN));
            }
        }
    }
    let words = words(found, sources);
    for source in sources {
        for (name, first, last) in source.globals() {
            if let Some(score) = words.get(name) {
                (first..=last).for_each(|line| found.raise(&source.path, line, score * VALUE));
            }
        }
    }
    for source in sources {
        let path = source.path.clone();
        for (_, first, last) in source.functions() {
            spread(found, &path, first, last);
        }
        for (depth, frame) in frames.iter().filter(|frame| frame.file == path.as_str()).enumerate() {
            let known = found.of(&path, frame.line);
            let bonus = if depth == 0 { 1.25 } else { 1.1 };
            if known > 0.0 {
                found.raise(&path, frame.line, (known * bonus).min(1.0));
            } else if !seen {
                found.raise(&path, frame.line, 0.6);
            }
        }
        if found.lines.contains_key(&path) {
            let best =
                found.lines.get(&path).map_or(0.0, |lines| lines.values().copied().fold(0.0, f64::max));
            let lines = u32::try_from(source.text.lines().count()).unwrap_or(0);
            (1..=lines).for_each(|line| found.raise(&path, line, best * OUTSIDE));
        }
    }
}

fn is_blind(blind: &[Span], source: &Source, line: u32) -> bool {
    blind.iter().any(|(path, first, last)| *path == source.path && (first..=last).contains(&&line))
}

/// Gives functions that suspicious functions name half of their suspicion.
fn called(found: &mut Suspicions, sources: &[Source]) {
    let words = words(found, sources);
    for source in sources {
        for (name, first, last) in source.functions() {
            if let Some(score) = words.get(name.as_str()) {
                (first..=last).for_each(|line| found.raise(&source.path, line, score * 0.5));
            }
        }
    }
}

/// The words of suspicious lines, with the suspicion of the most suspicious one.
fn words<'s>(found: &Suspicions, sources: &'s [Source]) -> BTreeMap<&'s str, f64> {
    let mut words: BTreeMap<&str, f64> = BTreeMap::new();
    for source in sources {
        for (line, text) in (1..).zip(source.text.lines()) {
            let score = found.of(&source.path, line);
            if score > 0.05 {
                for word in text.split(|c: char| !c.is_alphanumeric() && c != '_') {
                    let known = words.entry(word).or_insert(0.0);
                    *known = known.max(score);
                }
            }
        }
    }
    words
}

/// Lines of a function that no test ran have a part of the suspicion of the line before them.
fn spread(found: &mut Suspicions, path: &RepoPath, first: u32, last: u32) {
    let Some(lines) = found.lines.get(path) else { return };
    let seen: Vec<(u32, f64)> = lines.range(first..=last).map(|(line, score)| (*line, *score)).collect();
    let Some((start, score)) = seen.first().copied() else { return };
    (first..start).for_each(|line| found.raise(path, line, score * UNSEEN));
    for (at, (line, score)) in seen.iter().enumerate() {
        let next = seen.get(at + 1).map_or(last + 1, |(next, _)| *next);
        (line + 1..next).for_each(|line| found.raise(path, line, score * UNSEEN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repair::grammar::Grammars;

    #[test]
    fn lines_that_only_failing_tests_run_are_the_most_suspicious() {
        let trace = |id: &str, passed, lines: &[u32]| Traced {
            id: id.to_owned(),
            passed: Some(passed),
            lines: [("a.py".to_owned(), lines.iter().copied().collect())].into(),
            seconds: 0.0,
        };
        let traces = [trace("a", true, &[1, 2]), trace("b", false, &[1, 3]), trace("c", false, &[1, 3, 4])];
        let found = by_spectrum(&traces, &|file| RepoPath::new(file).ok());
        let ranked: Vec<u32> = found.ranked().into_iter().map(|(_, line, _)| line).collect();
        assert_eq!(ranked, [3, 1, 4]);
    }

    #[test]
    fn values_that_suspicious_lines_name_are_suspicious_too() {
        let grammars = Grammars::load(None).unwrap();
        let text = "KNOWN = {\n    1: 2,\n}\nOTHER = 3\n\n\ndef f(a):\n    return KNOWN[a]\n";
        let path = RepoPath::new("a.py").unwrap();
        let source = Source::new(path.clone(), text.to_owned(), grammars.of("a.py").unwrap()).unwrap();
        let mut found = Suspicions::default();
        found.raise(&path, 8, 0.8);
        refine(&mut found, &[source], &[], &BTreeSet::new(), &[]);
        assert!((found.of(&path, 2) - 0.8 * VALUE).abs() < 1e-9, "{found:?}");
        assert!((found.of(&path, 4) - 0.8 * OUTSIDE).abs() < 1e-9, "{found:?}");
    }
}
