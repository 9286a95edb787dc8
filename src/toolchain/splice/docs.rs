//! Doctests: the examples in an item's docs belong to the item and come from the base. Where the patch changes
//! them, the docs of that item are the base's; where it adds some to an item that has none, they stay.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Edit;
use super::source::{Piece, Source};

/// Words behind the opening of a block that rustdoc still takes for Rust.
const RUST: [&str; 9] = [
    "rust",
    "should_panic",
    "no_run",
    "ignore",
    "compile_fail",
    "test_harness",
    "standalone_crate",
    "edition",
    "allow_fail",
];

/// The docs of one owner.
struct Docs<'a> {
    /// Their bytes; an empty range where docs could be put.
    range: Range<usize>,
    text: &'a str,
    /// The source text that they stand in.
    source: &'a str,
}

/// The edits that bring back examples of the base.
pub(super) fn edits(base: &Source, patched: &Source, notes: &mut Vec<String>) -> Vec<Edit> {
    let (known, there) = (owners(base), owners(patched));
    let mut edits = Vec::new();
    for (owner, docs) in known {
        let wanted = examples(docs.text);
        if wanted.is_empty() {
            continue;
        }
        let shown = crate::text::clip(if owner.is_empty() { "the file" } else { &owner }, 120).into_owned();
        let Some(found) = there.get(&owner) else {
            notes.push(format!("the examples in the docs of {shown} went with it"));
            continue;
        };
        if examples(found.text) == wanted {
            continue;
        }
        let mut text = docs.source[docs.range].to_owned();
        if found.range.is_empty() {
            text.push('\n');
        }
        notes.push(format!("the docs of {shown} are the base's, since its examples were changed"));
        edits.push((found.range.clone(), text));
    }
    edits
}

fn owners(source: &Source) -> BTreeMap<String, Docs<'_>> {
    let mut found = BTreeMap::new();
    let (range, text) = source.docs.as_ref().map_or((0..0, ""), |(range, text)| (range.clone(), text));
    found.insert(String::new(), Docs { range, text, source: &source.text });
    collect(&source.pieces, "", &source.text, &mut found);
    found
}

fn collect<'a>(pieces: &'a [Piece], path: &str, source: &'a str, found: &mut BTreeMap<String, Docs<'a>>) {
    for piece in pieces.iter().filter(|piece| !piece.test) {
        let mut own = super::join(path, &piece.key);
        // Items of one name, under conditions of their own.
        while found.contains_key(&own) {
            own.push('\'');
        }
        let start = piece.range.start;
        let docs = piece.docs.as_ref().map_or((start..start, ""), |(range, text)| (range.clone(), text));
        found.insert(own.clone(), Docs { range: docs.0, text: docs.1, source });
        if let Some((range, text)) = &piece.inner_docs {
            found.insert(format!("{own} (inside)"), Docs { range: range.clone(), text, source });
        }
        collect(&piece.pieces, &own, source, found);
    }
}

/// The lines of code that rustdoc would run.
fn examples(docs: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut fence, mut runs, mut blank): (Option<String>, bool, bool) = (None, false, true);
    for line in docs.lines() {
        let plain = line.trim();
        if let Some(open) = &fence {
            if plain.starts_with(open.as_str())
                && plain.trim_matches(open.chars().next().unwrap_or('`')).is_empty()
            {
                fence = None;
            } else if runs {
                found.push(line.trim_end().to_owned());
            }
        } else if let Some(mark) = ["```", "~~~"].into_iter().find(|mark| plain.starts_with(mark)) {
            let c = mark.chars().next().unwrap_or('`');
            let words = plain.trim_start_matches(c);
            fence = Some(plain[..plain.len() - words.len()].to_owned());
            runs = is_rust(words);
            if runs {
                found.push(format!("{mark}{words}"));
            }
        } else if blank && line.starts_with("     ") {
            // An indented block, which is code as well.
            found.push(line.trim_end().to_owned());
            continue;
        }
        blank = plain.is_empty();
    }
    found
}

fn is_rust(words: &str) -> bool {
    let mut words = words.split([',', ' ', '\t', '{', '}']).filter(|word| !word.is_empty());
    words.all(|word| RUST.iter().any(|known| word.starts_with(known)) || word.starts_with('E'))
}
