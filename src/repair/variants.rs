//! Variants are many edits of functions in one build: each edited body stands beside the original one, and an
//! environment variable says which of them runs (mutant schemata, Untch et al., 1993). What does not compile is
//! left out, each error in its own variant. Only the search uses them: what passes is judged as the real patch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::grammar::Schemata;
use super::mutate::{Edit, Source, splice};
use crate::diagnostic::{Diagnostic, Severity};
use crate::patch::{File, Patch, RepoPath};

/// The variable that chooses the variant by its number, from 1.
pub const VARIABLE: &str = "REGREEN_VARIANT";

/// A place in what a compiler says: file and line.
static PLACE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"([^\s:()]+):(\d+):\d+").expect("the pattern is a literal"));

/// A build of variants.
#[derive(Debug, Default)]
pub struct Variants {
    /// The files.
    pub patch: Patch,
    /// Which lines of which file belong to which variant.
    spans: Vec<(RepoPath, u32, u32, usize)>,
}

impl Variants {
    /// The variants that errors of the compiler lie in, or else those that it speaks of below them: an error in a
    /// template or a macro is where that was used.
    pub fn to_blame(&self, diagnostics: &[Diagnostic]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for error in diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error) {
            let at = error.location.as_ref().and_then(|at| self.at(&|path| path == at.file, at.line));
            let below = || {
                let mut places = PLACE.captures_iter(&error.rendered);
                let line = |place: &Captures| place[2].parse().ok();
                places.find_map(|place| self.at(&|path| place[1].ends_with(path), line(&place)?))
            };
            found.extend(at.or_else(below));
        }
        found
    }

    fn at(&self, is: &dyn Fn(&str) -> bool, line: u32) -> Option<usize> {
        let here = |(path, first, last, _): &&(RepoPath, u32, u32, usize)| {
            is(path.as_str()) && (*first..=*last).contains(&line)
        };
        self.spans.iter().find(here).map(|(_, _, _, number)| *number)
    }
}

/// The environment in which variants are built.
pub fn environment(sources: &[Source]) -> BTreeMap<String, String> {
    let all = sources.iter().filter_map(|source| source.grammar.schemata.as_ref());
    all.flat_map(|schemata| schemata.environment.clone()).collect()
}

/// The environment in which one of them runs.
pub fn choosing(environment: &BTreeMap<String, String>, number: usize) -> Vec<(&str, String)> {
    let all = environment.iter().map(|(name, value)| (name.as_str(), value.clone()));
    all.chain([(VARIABLE, number.to_string())]).collect()
}

/// Edits of one file, made together, with their number.
pub type Numbered<'a> = (usize, &'a RepoPath, &'a [Edit]);

/// Whether all edits lie in bodies that may have variants.
pub fn fits(source: &Source, edits: &[Edit]) -> bool {
    let schemata = source.grammar.schemata.as_ref();
    schemata.is_some_and(|schemata| edits.iter().all(|edit| body_of(source, edit, schemata).is_some()))
}

fn body_of(source: &Source, edit: &Edit, schemata: &Schemata) -> Option<std::ops::Range<usize>> {
    let (start, body) = source.body_around(edit.start, edit.end)?;
    let head = source.text.get(start..body.start)?;
    let excluded = schemata.not.iter().any(|word| head.contains(word.as_str()));
    (!excluded && body.start < edit.start && edit.end < body.end).then_some(body)
}

/// Puts edits side by side.
pub fn compose(sources: &[Source], edits: &[Numbered<'_>]) -> Variants {
    let mut variants = Variants::default();
    for source in sources {
        let Some(schemata) = &source.grammar.schemata else { continue };
        let mut bodies: BTreeMap<(usize, usize), BTreeMap<usize, Vec<&Edit>>> = BTreeMap::new();
        for (number, _, edits) in edits.iter().filter(|(_, path, _)| **path == source.path) {
            for edit in *edits {
                if let Some(body) = body_of(source, edit, schemata) {
                    let variants = bodies.entry((body.start, body.end)).or_default();
                    variants.entry(*number).or_default().push(edit);
                }
            }
        }
        if bodies.is_empty() {
            continue;
        }
        let mut text = schemata.head.clone();
        let mut done = 0;
        for ((start, end), edits) in bodies {
            text.push_str(source.text.get(done..start).unwrap_or_default());
            done = end;
            text.push_str(&schemata.open);
            let result = source.result_around(start, end);
            let template = schemata.procedure.as_ref().filter(|_| result.is_empty());
            let template = template.unwrap_or(&schemata.variant).replace("{result}", result);
            for (number, edits) in edits {
                let Some(body) = edited(source, &edits, start, end) else { continue };
                let first = line_at(&text) + 1;
                text.push('\n');
                text.push_str(&template.replace("{number}", &number.to_string()).replace("{body}", &body));
                variants.spans.push((source.path.clone(), first, line_at(&text), number));
            }
            text.push('\n');
            let original = source.text.get(start..end).unwrap_or_default();
            text.push_str(&schemata.original.replace("{body}", original));
            text.push_str(&schemata.close);
        }
        text.push_str(source.text.get(done..).unwrap_or_default());
        variants.patch.0.insert(source.path.clone(), Some(File::plain(text)));
        support(source, schemata, &mut variants.patch);
    }
    variants
}

/// A file that the package needs besides.
pub fn support(source: &Source, schemata: &Schemata, patch: &mut Patch) {
    let [name, text] = schemata.beside.as_slice() else { return };
    let package = source.text.lines().find_map(|line| line.strip_prefix("package ")).unwrap_or("main").trim();
    let folder =
        source.path.as_str().rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    if let Ok(path) = RepoPath::new(&format!("{folder}{name}")) {
        patch.0.insert(path, Some(File::plain(text.replace("{package}", package))));
    }
}

/// A body with edits that lie in it.
fn edited(source: &Source, edits: &[&Edit], start: usize, end: usize) -> Option<String> {
    let inner =
        |edit: &&Edit| Edit { start: edit.start - start, end: edit.end - start, text: edit.text.clone() };
    splice(source.text.get(start..end)?, &edits.iter().map(inner).collect::<Vec<_>>())
}

/// The number of the line that a text ends in.
fn line_at(text: &str) -> u32 {
    u32::try_from(text.matches('\n').count() + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Location;
    use crate::repair::grammar::Grammars;

    #[test]
    fn edits_stand_side_by_side_and_errors_are_told_apart() {
        let grammars = Grammars::load(None).unwrap();
        let text =
            "pub fn one(a: u32) -> u32 {\n    a + 1\n}\n\nconst fn two() -> u32 {\n    2\n}\n".to_owned();
        let path = RepoPath::new("src/lib.rs").unwrap();
        let source = Source::new(path.clone(), text.clone(), grammars.of("src/lib.rs").unwrap()).unwrap();
        let edit = |old: &str, new: &str| {
            let start = text.find(old).unwrap();
            Edit { start, end: start + old.len(), text: new.to_owned() }
        };
        let (first, second, constant) = (edit("a + 1", "a - 1"), edit("a + 1", "b"), edit("2\n", "3\n"));
        assert!(
            fits(&source, std::slice::from_ref(&first))
                && !fits(&source, &[first.clone(), constant])
                && !fits(&source, &[edit("a: u32", "b: u32")])
        );
        let (first, second) = ([first], [second]);
        let variants = compose(std::slice::from_ref(&source), &[(1, &path, &first), (2, &path, &second)]);
        let made = String::from_utf8(variants.patch.0[&path].clone().unwrap().content).unwrap();
        let line = u32::try_from(made.lines().position(|line| line.trim() == "b").unwrap() + 1).unwrap();
        let error =
            Diagnostic::error(Some(Location { file: "src/lib.rs".into(), line, ..location() }), "no b");
        assert_eq!(variants.to_blame(&[error]), [2].into(), "{made}");
        assert!(source.grammar.tree(&made, None).is_some_and(|tree| !tree.root_node().has_error()), "{made}");
    }

    fn location() -> Location {
        Location { file: String::new(), line: 0, column: 0 }
    }
}
