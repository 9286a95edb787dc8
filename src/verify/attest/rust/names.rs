//! Names that could stand in any test.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Draw;

const VERBS: [&str; 16] = [
    "keeps", "returns", "handles", "rejects", "accepts", "merges", "finds", "splits", "counts", "reads",
    "writes", "orders", "covers", "holds", "joins", "skips",
];

const KINDS: [&str; 16] = [
    "empty", "single", "nested", "long", "mixed", "plain", "wide", "small", "large", "first", "last",
    "equal", "known", "other", "narrow", "simple",
];

const THINGS: [&str; 16] = [
    "input", "value", "range", "entry", "case", "list", "pair", "item", "text", "number", "record", "line",
    "word", "total", "group", "result",
];

/// A word for a variable.
pub(in crate::verify::attest) fn word(draw: &mut Draw) -> &'static str {
    draw.choose(&THINGS).copied().unwrap_or("value")
}

/// A name for a function that is neither taken nor one of the words of the file.
pub(in crate::verify::attest) fn fresh(
    draw: &mut Draw,
    taken: &mut BTreeSet<String>,
    words: &BTreeMap<String, usize>,
) -> String {
    loop {
        let mut pick = |among: &[&'static str]| draw.choose(among).copied().unwrap_or("some");
        let mut name = format!("{}_{}_{}", pick(&VERBS), pick(&KINDS), pick(&THINGS));
        if taken.len() > 500 {
            name = format!("{name}_{}", draw.below(100_000));
        }
        if !words.contains_key(&name) && taken.insert(name.clone()) {
            return name;
        }
    }
}
