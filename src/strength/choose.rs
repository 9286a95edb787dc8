//! Which mutants are tried: few, spread over the lines, and of kinds that seldom mean the same as before.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::Question;
use crate::patch::RepoPath;
use crate::repair::mutate::{Edit, Hints, Mutant, Source, difference};

/// The kinds of edits that are tried, the most telling first. Edits that add something are not among them: what they
/// add often changes nothing.
const KINDS: [&str; 13] = [
    "comparison",
    "negate",
    "arithmetic",
    "logic",
    "off-by-one",
    "integer",
    "boolean",
    "delete",
    "drop-condition",
    "drop-operand",
    "swap-arguments",
    "sibling",
    "string",
];

/// A wrong change of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation {
    /// The file.
    pub path: RepoPath,
    /// The change.
    pub edit: Edit,
    /// The file's text with it.
    pub text: String,
    /// Its kind.
    pub kind: &'static str,
    /// The line that it is about.
    pub line: u32,
}

/// The mutants to try, at most as many as the question allows; the same ones every time.
pub fn mutations(question: &Question<'_>, sources: &[Source<'_>]) -> Vec<Mutation> {
    let mut by_line: BTreeMap<(usize, u32), Vec<Mutant>> = BTreeMap::new();
    for (at, source) in sources.iter().enumerate() {
        let Some(lines) = question.lines.get(&source.path) else { continue };
        let suspicion = |line| if lines.contains(&line) { 1.0 } else { 0.0 };
        for mutant in source.mutants(&suspicion, &question.grammars.priors, &Hints::default()) {
            if KINDS.contains(&mutant.kind) {
                by_line.entry((at, mutant.line)).or_default().push(mutant);
            }
        }
    }
    let mut queues: Vec<(usize, Vec<Mutant>)> = spread(
        by_line.into_iter().map(|((at, _), mutants)| (at, varied(mutants))).collect(),
        question.bounds.mutants,
    );
    let (mut known, mut chosen) = (HashSet::new(), Vec::new());
    while chosen.len() < question.bounds.mutants && queues.iter().any(|(_, queue)| !queue.is_empty()) {
        for (at, queue) in &mut queues {
            let next = loop {
                let Some(mutant) = queue.pop() else { break None };
                if let Some(mutation) = mutation(question, &sources[*at], &mutant, &mut known) {
                    break Some(mutation);
                }
            };
            chosen.extend(next.filter(|_| chosen.len() < question.bounds.mutants));
        }
    }
    chosen
}

/// At most `most` of many, evenly spread.
pub fn spread<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let n = all.len();
    let keep: BTreeSet<usize> = (0..most).map(|at| at * n / most.max(1)).collect();
    let few = n <= most;
    all.into_iter().enumerate().filter(|(at, _)| few || keep.contains(at)).map(|(_, one)| one).collect()
}

/// A line's mutants, the last to be tried first: one of each kind, then a second one.
fn varied(mutants: Vec<Mutant>) -> Vec<Mutant> {
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut ranked: Vec<((usize, usize), Mutant)> = Vec::new();
    for mutant in mutants {
        let times = seen.entry(mutant.kind).or_insert(0);
        let kind = KINDS.iter().position(|kind| *kind == mutant.kind).unwrap_or(KINDS.len());
        ranked.push(((*times, kind), mutant));
        *times += 1;
    }
    ranked.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    ranked.into_iter().map(|(_, mutant)| mutant).collect()
}

/// The file with a mutant, unless that does not parse, is known, or is what the base says.
fn mutation(
    question: &Question<'_>,
    source: &Source<'_>,
    mutant: &Mutant,
    known: &mut HashSet<u64>,
) -> Option<Mutation> {
    let text = source.apply(&mutant.edits, known)?;
    let base = question.verifier.workshop.snapshot.file(&source.path).ok().flatten();
    if base.is_some_and(|base| base.content == text.as_bytes()) {
        return None;
    }
    let edit = difference(&source.text, &text)?;
    let (path, kind, line) = (source.path.clone(), mutant.kind, mutant.line);
    (!alone(&source.text, mutant)).then_some(Mutation { path, edit, text, kind, line })
}

/// Whether a statement that would be deleted is a text that stands alone: documentation.
fn alone(text: &str, mutant: &Mutant) -> bool {
    let gone = mutant.edits.first().and_then(|edit| text.get(edit.start..edit.end)).unwrap_or_default();
    let gone = gone.trim_start().trim_start_matches(['r', 'b', 'u', 'f']);
    mutant.kind == "delete" && gone.starts_with(['"', '\'', '`'])
}

/// The lines that an edit touches, before and after.
pub fn around(text: &str, edit: &Edit) -> (String, String) {
    let start = text.get(..edit.start).and_then(|head| head.rfind('\n')).map_or(0, |at| at + 1);
    let tail = text.get(edit.end..).and_then(|tail| tail.find('\n'));
    let end = tail.map_or(text.len(), |at| edit.end + at);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let after = format!("{}{}{}", part(start, edit.start), edit.text, part(edit.end, end));
    (part(start, end).to_owned(), after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_spread_over_many() {
        assert_eq!(spread((0..10).collect(), 4), [0, 2, 5, 7]);
        assert_eq!(spread((0..3).collect(), 4), [0, 1, 2]);
        assert!(spread(vec![1, 2], 0).is_empty());
    }

    #[test]
    fn a_line_is_tried_with_different_kinds_first() {
        let mutant =
            |kind| Mutant { path: RepoPath::new("a").unwrap(), edits: Vec::new(), kind, line: 1, score: 1.0 };
        let kinds = |mutants: Vec<Mutant>| -> Vec<&str> {
            varied(mutants).into_iter().rev().map(|mutant| mutant.kind).collect()
        };
        let made = ["string", "comparison", "comparison", "delete"].map(mutant).to_vec();
        assert_eq!(kinds(made), ["comparison", "delete", "string", "comparison"]);
    }

    #[test]
    fn an_edit_is_shown_with_the_lines_that_it_touches() {
        let text = "one\nif a < b:\n    c()\n";
        let at = text.find('<').unwrap();
        let edit = Edit { start: at, end: at + 1, text: "<=".to_owned() };
        assert_eq!(around(text, &edit), ("if a < b:".to_owned(), "if a <= b:".to_owned()));
    }
}
