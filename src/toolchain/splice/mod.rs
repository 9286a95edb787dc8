//! A splice puts one Rust file together from two: product items from the patch, test items from the base. Test
//! items are what exists only in a build of tests (`cfg(test)` modules, functions and imports, `#[test]` and its
//! kin, item macros that make tests) and doctests, which belong to the item they stand at. What the patch makes
//! depend on `cfg(test)` in its product part, and the base did not, is folded to "no test".
//!
//! Edits are made by bytes, so that what is not exchanged keeps its formatting. Nothing here knows whether the
//! result compiles; that the product part is the patch's and the test part the base's is checked on the result.

mod docs;
mod files;
mod fold;
mod predicate;
mod rename;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub use files::{Module, modules, test_files};
pub use rename::{Renames, rename_all};
use source::Body;
pub(crate) use source::{Piece, Source, Token, Tokens, in_syntax};

/// One file of the composed tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spliced {
    /// Its text; `None` when there is no such file.
    pub text: Option<String>,
    /// What was left out, restored or folded, in sentences.
    pub notes: Vec<String>,
    /// Why the tests in this file cannot be replayed faithfully.
    pub problem: Option<String>,
}

/// Splices a file that may be new or deleted. Renames are looked for in this file alone.
pub fn rust(base: Option<&str>, patched: Option<&str>) -> Spliced {
    let renames = match (base, patched) {
        (Some(base), Some(patched)) => Renames::between(&[(base, patched)]),
        _ => Renames::default(),
    };
    rust_with(base, patched, &renames)
}

/// Splices a file; `renames` are those of the whole patch, applied to the tests of the base.
pub fn rust_with(base: Option<&str>, patched: Option<&str>, renames: &Renames) -> Spliced {
    match (base, patched) {
        (None, None) => Spliced::default(),
        (None, Some(patched)) => splice("", patched, renames),
        (Some(base), None) => without_product(base),
        (Some(base), Some(patched)) if base == patched => {
            Spliced { text: Some(base.to_owned()), ..Spliced::default() }
        }
        (Some(base), Some(patched)) => splice(base, patched, renames),
    }
}

/// Whether a file holds tests.
pub fn has_tests(text: &str) -> bool {
    Source::read(text).is_some_and(|source| !source.tests().is_empty())
}

/// A deleted file: what is left of it are its tests.
fn without_product(base: &str) -> Spliced {
    let Some(source) = Source::read(base) else {
        return Spliced::default();
    };
    let tests = source.tests();
    if tests.is_empty() {
        return Spliced::default();
    }
    let mut text = String::new();
    let attributes = &source.text[..source.inner_attributes];
    text.push_str(attributes);
    let mut adds = Vec::new();
    skeleton(&source.text, &source.pieces, &mut text, &mut adds);
    Spliced {
        text: Some(text),
        notes: vec!["deleted by the patch; its tests are kept".to_owned()],
        problem: None,
    }
}

/// The text of a spliced file from two that are there.
fn splice(base: &str, patched: &str, renames: &Renames) -> Spliced {
    let unread = |whose: &str| Spliced {
        text: Some(patched.to_owned()),
        notes: Vec::new(),
        problem: Some(format!(
            "the {whose} does not parse as Rust, so its tests were not told from its code"
        )),
    };
    let Some(base) = Source::read(base) else {
        return unread("base's file");
    };
    let Some(before_fold) = Source::read(patched) else {
        // What rustc cannot read either needs no tests.
        return unread("patched file");
    };
    let mut notes = Vec::new();
    let folds = fold::edits(&before_fold, &base);
    if !folds.is_empty() {
        notes.push(format!("{} new uses of cfg(test) in product code read as false", folds.len()));
    }
    let folded = apply(&before_fold.text, folds);
    let Some(patched) = Source::read(&folded) else {
        return unread("patched file");
    };
    let base_tests = rename::apply(&base, &patched, renames, &mut notes);
    let Some(wanted) = Source::read(&base_tests) else {
        return unread("base's file");
    };
    let mut work = Work::default();
    work.container(&wanted.body(), &patched.body(), "");
    work.imports(&base, &wanted, &patched);
    let docs = docs::edits(&wanted, &patched, &mut work.notes);
    work.edits.extend(docs);
    notes.extend(work.notes);
    let text = apply(&patched.text, work.edits);
    let problem = work.problem.or_else(|| check(&wanted, &patched, &text, &work.adds, &work.displaced));
    Spliced { text: Some(format!("{}{text}", patched.prefix)), notes, problem }
}

/// The two invariants: the product part is the patch's, the test part the base's.
fn check(
    base: &Source,
    patched: &Source,
    text: &str,
    adds: &[String],
    displaced: &[String],
) -> Option<String> {
    let Some(composed) = Source::read(text) else {
        return Some("the composed file does not parse".to_owned());
    };
    let without = |mut tests: Vec<String>, these: &[String]| {
        for this in these {
            if let Some(at) = tests.iter().position(|test| test == this) {
                tests.remove(at);
            }
        }
        tests
    };
    let found = without(composed.tests(), adds);
    if found != without(base.tests(), displaced) {
        return Some("the tests of the composed file are not those of the base".to_owned());
    }
    if composed.product() != patched.product() {
        return Some("the code of the composed file is not that of the patch".to_owned());
    }
    None
}

/// Replaces ranges of a text.
pub(crate) type Edit = (Range<usize>, String);

/// The text with its edits; insertions at one place keep their order, edits inside a replaced range are dropped.
pub(crate) fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (range, new) in edits {
        if range.start < at {
            continue;
        }
        out.push_str(&text[at..range.start]);
        out.push_str(&new);
        at = range.end;
    }
    out.push_str(&text[at..]);
    out
}

/// Edits of the patched text, and what they mean.
#[derive(Default)]
struct Work {
    edits: Vec<Edit>,
    notes: Vec<String>,
    problem: Option<String>,
    /// Test items that the composed file has and the base has not, in their normal form.
    adds: Vec<String>,
    /// Test items of the base that stand in one of those.
    displaced: Vec<String>,
}

impl Work {
    /// Exchanges the test items of one module, implementation or trait.
    fn container(&mut self, base: &Body, patched: &Body, path: &str) {
        let mut wanted: Vec<&Piece> = base.pieces.iter().filter(|piece| piece.test).collect();
        let mut unknown = Vec::new();
        for piece in patched.pieces.iter().filter(|piece| piece.test) {
            match wanted.iter().position(|known| known.tokens == piece.tokens) {
                Some(at) => drop(wanted.remove(at)),
                None => unknown.push(piece),
            }
        }
        for piece in unknown {
            let known = wanted.iter().position(|known| known.key == piece.key);
            if let Some(at) = known {
                let known = wanted.remove(at);
                self.notes.push(format!("{} is the base's", piece.shown(path)));
                self.edits.push((piece.range.clone(), known.text(base.text).to_owned()));
            } else {
                self.notes.push(format!("{} is new and was left out", piece.shown(path)));
                self.edits.push((whole_lines(patched.text, &piece.range), String::new()));
            }
        }
        for known in wanted {
            self.notes.push(format!("{} is kept from the base", known.shown(path)));
            let text = format!("\n{}\n", known.text(base.text));
            self.edits.push((patched.end..patched.end, text));
        }
        self.inner(base, patched, path);
    }

    /// Goes into the containers that are product items in both, and restores those with tests that are gone.
    fn inner(&mut self, base: &Body, patched: &Body, path: &str) {
        let mut there: BTreeMap<&str, Vec<&Piece>> = BTreeMap::new();
        for piece in patched.pieces.iter().rev().filter(|piece| !piece.test) {
            there.entry(piece.key.as_str()).or_default().push(piece);
        }
        let empty = Vec::new();
        for piece in base.pieces.iter().filter(|piece| !piece.test) {
            let Some(body) = piece.body(base.text) else { continue };
            let other = there.get_mut(piece.key.as_str()).and_then(Vec::pop);
            let inside = join(path, &piece.key);
            match other.and_then(|other| Some((other, other.body(patched.text)?))) {
                Some((_, other)) => self.container(&body, &other, &inside),
                None if Source::tests_of(&piece.pieces, &inside).is_empty() => {}
                None if other.is_some() => {
                    let name = piece.shown(path);
                    self.problem = Some(format!("{name} has moved to another file, and its tests with it"));
                }
                None => self.restore(piece, base, patched, path),
            }
        }
        // Containers that only the patch has hold no test of the base.
        for piece in there.into_values().flatten() {
            let Some(body) = piece.body(patched.text) else { continue };
            let none = Body { text: base.text, pieces: &empty, end: 0 };
            self.container(&none, &body, &join(path, &piece.key));
        }
    }

    /// A container that is gone comes back with its tests alone.
    fn restore(&mut self, piece: &Piece, base: &Body, patched: &Body, path: &str) {
        let mut text = String::from("\n");
        let mut adds = Vec::new();
        skeleton(base.text, std::slice::from_ref(piece), &mut text, &mut adds);
        self.notes.push(format!("the tests of {} are kept from the base", piece.shown(path)));
        self.displaced.extend(Source::tests_of(std::slice::from_ref(piece), path));
        if let Some(source) = Source::read(&text) {
            self.adds.extend(source.tests().into_iter().map(|test| join(path, &test)));
        }
        self.edits.push((patched.end..patched.end, text));
    }

    /// Imports of the base that its tests may have used through `use super::*`, and that the patch removed.
    fn imports(&mut self, original: &Source, base: &Source, patched: &Source) {
        let lost = rename::lost_imports(original, patched);
        let tests = base.tests().join(" ");
        let words: BTreeSet<&str> =
            tests.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty()).collect();
        let mut text = String::new();
        for (name, path) in lost.iter().filter(|(name, _)| words.contains(name.as_str())) {
            text.push_str("\n#[cfg(test)]\n#[allow(unused_imports)]\nuse ");
            text.push_str(path);
            text.push_str(";\n");
            self.notes.push(format!("the import of {name} is kept for the tests of the base"));
        }
        if let Some(source) = Source::read(&text).filter(|_| !text.is_empty()) {
            self.adds.extend(source.tests());
            let end = patched.body().end;
            self.edits.push((end..end, text));
        }
    }
}

/// `name` below the module `path`.
fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path} / {name}") }
}

/// The test items of pieces, in their containers, as text. The containers are test items then.
fn skeleton(text: &str, pieces: &[Piece], out: &mut String, adds: &mut Vec<String>) {
    for piece in pieces {
        if piece.test {
            out.push_str(piece.text(text));
            out.push('\n');
            adds.push(piece.tokens.clone());
        } else if let Some(body) = piece.body(text)
            && !Source::tests_of(&piece.pieces, "").is_empty()
        {
            out.push_str("#[cfg(test)]\n");
            out.push_str(&text[piece.header.clone()]);
            out.push_str(" {\n");
            skeleton(text, body.pieces, out, adds);
            out.push_str("}\n");
        }
    }
}

/// A range with the blanks before it and the line break after it, where it stands alone on its lines.
fn whole_lines(text: &str, range: &Range<usize>) -> Range<usize> {
    let before = text[..range.start].trim_end_matches([' ', '\t']).len();
    let rest = &text[range.end..];
    let after = rest.len() - rest.trim_start_matches([' ', '\t', '\r']).len();
    let alone = before == 0 || text[..before].ends_with('\n');
    if alone && rest[after..].starts_with('\n') { before..range.end + after + 1 } else { range.clone() }
}

#[cfg(test)]
mod tests;
