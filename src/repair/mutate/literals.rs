//! Edits of literals: numbers, truth values, texts and the patterns in them.

use std::sync::LazyLock;

use regex::Regex;
use tree_sitter::Node;

use super::scope::is_value;
use super::{Maker, difference};
use crate::repair::grammar::Role;

/// Edits of the pattern in a text, and other words for it.
const PATTERNS: usize = 24;

/// Letters of a text that must be known before it is put in other words, and values in it.
const LEAST_FIXED: usize = 4;
const MOST_PLACES: usize = 6;

/// What says in a regular expression how often something comes, with what it comes after.
static QUANTIFIER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(\\?\w|[\w\])]|\.)(\{(\d+)\}|\{(\d*),(\d*)\}|[*+?])").expect("the pattern is a literal")
});

/// What stands in a text for a value: `{}`, `{name}`, `${name}`, `%s`.
static PLACE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\$?\{[^{}\n]*\}|%[-+ #0]*\d*(?:\.\d+)?[a-zA-Z]").expect("the pattern is a literal")
});

/// What stands in regular expressions and hardly in other texts.
static EXPRESSION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\[[^\]]+\][*+?{]|\\[dDwWsSb]|\(\?|^r|^/|[.\w][*+]\)").expect("the pattern is a literal")
});

impl Maker<'_> {
    /// Another constant.
    pub fn constant(&mut self, node: Node) {
        let own = self.source.of(node).to_owned();
        if self.grammar.is(node, Role::Integer) {
            if let Ok(value) = own.parse::<i64>() {
                for other in [
                    value.saturating_add(1),
                    value.saturating_sub(1),
                    0,
                    1,
                    value.saturating_neg(),
                    2,
                    10,
                    value.saturating_mul(2),
                ] {
                    self.replace("integer", node, other.to_string(), 1.0);
                }
            }
        } else if own == self.grammar.texts.yes || own == self.grammar.texts.no {
            let other =
                if own == self.grammar.texts.yes { &self.grammar.texts.no } else { &self.grammar.texts.yes };
            self.replace("boolean", node, other.clone(), 1.0);
        }
        if self.grammar.is(node, Role::Integer) || self.grammar.is(node, Role::Float) {
            for number in &self.hints.numbers {
                self.express("asserted", node, number, 1.0);
            }
        }
        if self.grammar.is(node, Role::String) {
            self.string(node, &own);
        }
        if is_value(self.source, node) {
            for value in self.grammar.texts.values.iter().filter(|value| !value.contains("{x}")) {
                self.express("return", node, value, 0.5);
            }
        }
    }

    /// Another text.
    fn string(&mut self, node: Node, own: &str) {
        let quote = own.chars().last().filter(|quote| "\"'`".contains(*quote)).unwrap_or('"');
        if let Some(open) = own.strip_suffix(quote).filter(|open| !open.is_empty()) {
            self.replace("string", node, format!("{open} {quote}"), 0.4);
        }
        let others: Vec<String> = self.strings.clone();
        for other in others {
            self.replace("string", node, other, 1.0);
        }
        self.replace("string", node, format!("{quote}{quote}"), 0.7);
        self.replace("string", node, format!("{quote} {quote}"), 0.5);
        for shorter in shortened(own) {
            self.replace("string", node, shorter, 0.4);
        }
        for text in &self.hints.strings {
            self.replace("asserted", node, format!("{quote}{text}{quote}"), 0.6);
        }
        self.reword(node);
        self.pattern(node);
    }

    /// What a failing assertion expects.
    pub fn reword(&mut self, node: Node) {
        for other in reworded(self.source.of(node), &self.hints.said) {
            self.replace("reworded", node, other, 1.0);
        }
    }

    /// A regular expression in which something comes more or less often.
    pub fn pattern(&mut self, node: Node) {
        for pattern in quantified(self.source.of(node)) {
            self.replace("pattern", node, pattern, 1.0);
        }
    }
}

/// A short literal without one of its characters.
fn shortened(literal: &str) -> Vec<String> {
    let chars: Vec<char> = literal.chars().collect();
    let inside = 1..chars.len().saturating_sub(1);
    if chars.len() > 16 || !chars.last().is_some_and(|quote| "\"'`".contains(*quote)) {
        return Vec::new();
    }
    let mut found: Vec<String> = Vec::new();
    for at in inside {
        let text: String = chars.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, c)| c).collect();
        if found.last() != Some(&text) {
            found.push(text);
        }
    }
    found
}

/// A literal in other words: where it made one of the texts that were said (`{name}` and `%s` stand for anything), what makes
/// of the same values another one that is much like it.
fn reworded(literal: &str, said: &[String]) -> Vec<String> {
    let Some(quote) = literal.chars().last() else { return Vec::new() };
    let parts = literal.split_once(quote).and_then(|(kind, body)| Some((kind, body.strip_suffix(quote)?)));
    let Some((kind, body)) = parts.filter(|_| !said.is_empty()) else { return Vec::new() };
    let places: Vec<&str> = PLACE.find_iter(body).map(|place| place.as_str()).collect();
    let fixed: Vec<&str> = PLACE.split(body).collect();
    let whole = |text: &&String| fixed.iter().all(|part| text.contains(part));
    if fixed.iter().map(|part| part.len()).sum::<usize>() < LEAST_FIXED || places.len() > MOST_PLACES {
        return Vec::new();
    }
    let mut texts = said.iter().filter(whole).peekable();
    let escaped: Vec<String> = fixed.iter().map(|part| regex::escape(part)).collect();
    let template = texts.peek().and_then(|_| Regex::new(&format!("^{}$", escaped.join("(.+?)"))).ok());
    let mut found = Vec::new();
    for (text, values) in texts.filter_map(|text| Some((text, template.as_ref()?.captures(text)?))) {
        let reword = |other: &String| {
            let (mut new, mut rest) = (kind.to_owned() + &quote.to_string(), other.as_str());
            for (place, value) in places.iter().zip(values.iter().skip(1).flatten()) {
                let (before, after) = rest.split_once(value.as_str())?;
                new.extend([before, place]);
                rest = after;
            }
            new.extend([rest, &quote.to_string()]);
            // A bracket would be a value of its own.
            let plain = !other.contains([quote, '\\', '{', '}', '%']);
            (plain && other != text && is_like(text, other)).then_some(new)
        };
        found.extend(said.iter().filter_map(reword));
    }
    found.truncate(PATTERNS);
    found
}

/// Whether two texts begin and end alike, for half of the longer one.
fn is_like(one: &str, other: &str) -> bool {
    difference(one, other).is_some_and(|edit| {
        let longest = one.len().max(other.len());
        2 * (edit.end - edit.start).max(edit.text.len()) <= longest
    })
}

/// A text with another quantifier, where it may be a regular expression.
fn quantified(literal: &str) -> Vec<String> {
    if literal.len() > 400 || !EXPRESSION.is_match(literal) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for place in QUANTIFIER.captures_iter(literal) {
        let Some(whole) = place.get(2) else { continue };
        let part = |at| place.get(at).map_or("", |part| part.as_str());
        let others = if let Some(times) = place.get(3).map(|times| times.as_str()) {
            vec![format!("{{1,{times}}}"), format!("{{0,{times}}}"), format!("{{{times},}}"), "+".to_owned()]
        } else if whole.as_str().starts_with('{') {
            let (least, most) = (part(4), part(5));
            vec![format!("{{{least},}}"), format!("{{0,{most}}}"), format!("{{1,{most}}}")]
        } else {
            ["*", "+", "?", ""].map(str::to_owned).to_vec()
        };
        for other in others.iter().filter(|other| *other != whole.as_str()) {
            let (head, tail) = (literal.get(..whole.start()), literal.get(whole.end()..));
            found.extend(head.zip(tail).map(|(head, tail)| format!("{head}{other}{tail}")));
        }
    }
    found.truncate(PATTERNS);
    found
}
