//! Honest renames: a patch that gives a product item another name changes the tests that call it, and nothing
//! else in them. The tests of the base are replayed under the new name.

use std::collections::{BTreeMap, BTreeSet};

use super::Edit;
use super::source::{Piece, Source, Token, lex};

/// Names of product items that a patch exchanged, and its tests with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Renames {
    /// New names by old ones.
    pub names: BTreeMap<String, String>,
    /// Old names that also mean something else in the tests (a method of the standard library's).
    pub ambiguous: BTreeSet<String>,
}

impl Renames {
    /// What the files of a patch renamed, given as base and patched text; an absent file is empty.
    pub fn between(files: &[(&str, &str)]) -> Renames {
        let read = |text: &str| Source::read(text);
        let sources: Vec<(Source, Source)> =
            files.iter().filter_map(|(base, patched)| Some((read(base)?, read(patched)?))).collect();
        let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
        for (base, patched) in &sources {
            declared(&base.pieces, &mut before);
            declared(&patched.pieces, &mut after);
        }
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (base, patched) in &sources {
            let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
            leaves(&base.pieces, "", false, &mut old);
            leaves(&patched.pieces, "", false, &mut new);
            for (key, leaf) in &old {
                let Some(other) = new.get(key) else { continue };
                let mut pairs = Vec::new();
                if aligned(&leaf.inside, &other.inside, &mut pairs) {
                    for (one, two) in pairs {
                        found.entry(one).or_default().insert(two);
                    }
                }
            }
        }
        let (mut names, mut ambiguous) = (BTreeMap::new(), BTreeSet::new());
        for (old, new) in found {
            let renamed: Vec<&String> = new.iter().filter(|new| **new != old).collect();
            let [new_name] = renamed[..] else { continue };
            let vanished = before.contains(&old) && !after.contains(&old);
            let appeared = after.contains(new_name) && !before.contains(new_name);
            if vanished && appeared && !names.values().any(|known| known == new_name) {
                if new.contains(&old) {
                    ambiguous.insert(old.clone());
                }
                names.insert(old.clone(), new_name.clone());
            }
        }
        Renames { names, ambiguous }
    }

    /// Whether nothing was renamed.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Forgets those whose old name is one of these words.
    pub fn forget(&mut self, words: &[&str]) {
        for word in words {
            self.names.remove(*word);
        }
    }
}

/// Words that cannot be renamed: the assertion itself must stay what it is.
fn is_fixed(tokens: &[Token], at: usize) -> bool {
    tokens.get(at + 1).is_some_and(|next| next.is_mark('!'))
        && !tokens.get(at + 2).is_some_and(|next| next.is_mark('='))
}

/// Whether two tests are the same but for words; notes the pairs of all words.
fn aligned(one: &[Token], two: &[Token], pairs: &mut Vec<(String, String)>) -> bool {
    one.len() == two.len()
        && one.iter().zip(two).enumerate().all(|(at, (left, right))| match (left, right) {
            (Token::Word(left, _), Token::Word(right, _)) => {
                pairs.push((left.clone(), right.clone()));
                left == right || !is_fixed(one, at)
            }
            (Token::Mark(left, joint, _), Token::Mark(right, other, _)) => left == right && joint == other,
            (Token::Literal(left, _), Token::Literal(right, _)) => left == right,
            (Token::Group(left, inner, _), Token::Group(right, other, _)) => {
                left == right && aligned(inner, other, pairs)
            }
            _ => false,
        })
}

/// The test items that hold no others, by their place.
fn leaves<'a>(pieces: &'a [Piece], path: &str, test: bool, found: &mut BTreeMap<String, &'a Piece>) {
    for piece in pieces {
        let own = super::join(path, &piece.key);
        let test = test || piece.test;
        if piece.close.is_some() {
            leaves(&piece.pieces, &own, test, found);
        } else if test {
            found.insert(own, piece);
        }
    }
}

/// Names that product items declare: of items, fields and variants; macros apart.
fn declared(pieces: &[Piece], names: &mut BTreeSet<String>) {
    for piece in pieces.iter().filter(|piece| !piece.test) {
        if let Some((kind, name)) = piece.key.split_once(' ')
            && ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "mod"].contains(&kind)
        {
            names.insert(name.to_owned());
        }
        if piece.key.starts_with("struct ") || piece.key.starts_with("enum ") {
            for token in &piece.inside {
                members(token, names);
            }
        }
        declared(&piece.pieces, names);
    }
}

/// Fields and variants.
fn members(token: &Token, names: &mut BTreeSet<String>) {
    let Some(inner) = token.group('{') else { return };
    for (at, token) in inner.iter().enumerate() {
        let first = at == 0 || inner[at - 1].is_mark(',') || inner[at - 1].group('[').is_some();
        let public = at > 0 && (inner[at - 1].is_word("pub") || inner[at - 1].group('(').is_some());
        if let Token::Word(word, _) = token
            && (first || public)
            && word != "pub"
        {
            names.insert(word.clone());
        }
        members(token, names);
    }
}

/// The text of the base with its tests under the new names. Where the patch has the same test but for names, each
/// word is as it is there.
pub(super) fn apply(base: &Source, patched: &Source, renames: &Renames, notes: &mut Vec<String>) -> String {
    if renames.is_empty() {
        return base.text.clone();
    }
    let mut work = Work { renames, leaves: BTreeMap::new(), edits: Vec::new(), used: BTreeSet::new() };
    leaves(&patched.pieces, "", false, &mut work.leaves);
    work.pieces(&base.pieces, "", false);
    let told = |old: &String| format!("the tests call {old} by its new name {}", renames.names[old]);
    notes.extend(work.used.iter().map(told));
    super::apply(&base.text, work.edits)
}

/// A file of nothing but tests under the new names.
pub fn rename_all(text: &str, renames: &Renames) -> String {
    let mut work = Work { renames, leaves: BTreeMap::new(), edits: Vec::new(), used: BTreeSet::new() };
    work.words(&lex(text).unwrap_or_default());
    super::apply(text, work.edits)
}

struct Work<'a> {
    renames: &'a Renames,
    /// The patch's tests.
    leaves: BTreeMap<String, &'a Piece>,
    edits: Vec<Edit>,
    used: BTreeSet<String>,
}

impl Work<'_> {
    fn pieces(&mut self, pieces: &[Piece], path: &str, test: bool) {
        for piece in pieces {
            let own = super::join(path, &piece.key);
            let test = test || piece.test;
            if piece.close.is_some() {
                self.pieces(&piece.pieces, &own, test);
            } else if test && !self.follow(piece, &own) {
                self.words(&piece.inside);
            }
        }
    }

    /// Names as the patch's own version of a test has them, if nothing else differs.
    fn follow(&mut self, piece: &Piece, own: &str) -> bool {
        let Some(other) = self.leaves.get(own) else { return false };
        let mut pairs = Vec::new();
        let known = |(old, new): &(String, String)| old == new || self.renames.names.get(old) == Some(new);
        if !aligned(&piece.inside, &other.inside, &mut pairs) || !pairs.iter().all(known) {
            return false;
        }
        let mut places = Vec::new();
        places_of_words(&piece.inside, &mut places);
        for (place, (old, new)) in places.into_iter().zip(pairs).filter(|(_, (old, new))| old != new) {
            self.edits.push((place, new));
            self.used.insert(old);
        }
        true
    }

    fn words(&mut self, tokens: &[Token]) {
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::Word(word, range) if !is_fixed(tokens, at) => {
                    // A test keeps its own name, by which it is known.
                    let declares = at > 0 && ["fn", "mod"].iter().any(|kind| tokens[at - 1].is_word(kind));
                    let plain = !declares && !self.renames.ambiguous.contains(word);
                    if let Some(new) = self.renames.names.get(word).filter(|_| plain) {
                        self.edits.push((range.clone(), new.clone()));
                        self.used.insert(word.clone());
                    }
                }
                Token::Group(_, inner, _) => self.words(inner),
                _ => {}
            }
        }
    }
}

fn places_of_words(tokens: &[Token], places: &mut Vec<std::ops::Range<usize>>) {
    for token in tokens {
        match token {
            Token::Word(_, range) => places.push(range.clone()),
            Token::Group(_, inner, _) => places_of_words(inner, places),
            _ => {}
        }
    }
}

/// Imports at the root of the base's file that the patched one does not have: the name, and the path.
pub(super) fn lost_imports(base: &Source, patched: &Source) -> Vec<(String, String)> {
    let kept: BTreeSet<String> = bound(patched).into_iter().map(|(name, _)| name).collect();
    let mut there = BTreeSet::new();
    declared(&patched.pieces, &mut there);
    let lost = bound(base).into_iter().filter(|(name, _)| !kept.contains(name) && !there.contains(name));
    lost.collect()
}

/// The names that the imports at a file's root bind.
fn bound(source: &Source) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for piece in source.pieces.iter().filter(|piece| !piece.test) {
        if let Some(tree) = piece.key.strip_prefix("use ")
            && let Ok(tree) = syn::parse_str::<syn::UseTree>(tree)
        {
            flatten(&tree, "", &mut found);
        }
    }
    found
}

fn flatten(tree: &syn::UseTree, path: &str, found: &mut Vec<(String, String)>) {
    let below = |name: &dyn std::fmt::Display| {
        if path.is_empty() { name.to_string() } else { format!("{path}::{name}") }
    };
    match tree {
        syn::UseTree::Path(inner) => flatten(&inner.tree, &below(&inner.ident), found),
        syn::UseTree::Name(name) if name.ident == "self" => {
            found.push((path.rsplit("::").next().unwrap_or(path).to_owned(), format!("{path}::{{self}}")));
        }
        syn::UseTree::Name(name) => found.push((name.ident.to_string(), below(&name.ident))),
        syn::UseTree::Rename(rename) if rename.rename != "_" => {
            let path = if rename.ident == "self" { path.to_owned() } else { below(&rename.ident) };
            found.push((rename.rename.to_string(), format!("{path} as {}", rename.rename)));
        }
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, path, found)),
        syn::UseTree::Rename(_) | syn::UseTree::Glob(_) => {}
    }
}
