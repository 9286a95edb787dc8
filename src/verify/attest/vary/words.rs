//! Names that people give to tests, made of words drawn at random.

use std::collections::BTreeSet;

use super::Draw;

const SUBJECTS: [&str; 40] = [
    "account", "answer", "batch", "border", "bucket", "cache", "case", "chain", "column", "entry", "field",
    "frame", "group", "header", "index", "input", "item", "key", "label", "level", "limit", "line", "list",
    "message", "node", "number", "offset", "order", "path", "query", "range", "record", "reply", "result",
    "row", "scope", "step", "table", "token", "value",
];

const CLAIMS: [&str; 32] = [
    "agrees",
    "applies",
    "arrives",
    "balances",
    "changes",
    "comes_back",
    "counts",
    "differs",
    "ends",
    "fits",
    "follows",
    "goes_first",
    "grows",
    "holds",
    "is_empty",
    "is_found",
    "is_kept",
    "is_known",
    "is_read",
    "is_right",
    "is_shown",
    "is_taken",
    "is_used",
    "joins",
    "matches",
    "moves",
    "repeats",
    "returns",
    "settles",
    "stays",
    "turns",
    "works",
];

const DETAILS: [&str; 20] = [
    "again",
    "alone",
    "as_before",
    "at_once",
    "by_default",
    "early",
    "for_all",
    "for_one",
    "in_full",
    "in_order",
    "inside",
    "last",
    "later",
    "once",
    "outside",
    "together",
    "twice",
    "when_asked",
    "when_empty",
    "when_full",
];

/// A snake-case name that is not taken, without the prefix of tests.
pub fn snake(draw: &mut Draw, taken: &mut BTreeSet<String>) -> String {
    loop {
        let mut name = part(draw, &SUBJECTS);
        name.push('_');
        name.push_str(&part(draw, &CLAIMS));
        if draw.coin() || taken.len() > 500 {
            name.push('_');
            name.push_str(&part(draw, &DETAILS));
        }
        if taken.len() > 10_000 {
            name.push_str(&draw.below(1 << 30).to_string());
        }
        if taken.insert(name.clone()) {
            return name;
        }
    }
}

/// A name in capitals, `OrderStays`.
pub fn camel(draw: &mut Draw, taken: &mut BTreeSet<String>) -> String {
    let name = snake(draw, taken);
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').map(capital).collect::<Vec<_>>().concat()
}

/// A word that stands in a test as a value.
pub fn value(draw: &mut Draw) -> String {
    part(draw, &SUBJECTS)
}

fn part(draw: &mut Draw, words: &[&str]) -> String {
    draw.choose(words).map(ToString::to_string).unwrap_or_default()
}
