//! Folding: in the product part of a patch, `test` in a condition reads as "never" wherever the base did not have
//! the same condition at the same place. An item of the base that has the same condition keeps it; within items,
//! the whole statement, field or arm must be as it was.

use std::collections::HashSet;
use std::ops::Range;

use super::Edit;
use super::source::{Piece, Source, Token, Tokens, lex, shown};

/// Attributes that a test build may add without changing what code does.
const HARMLESS: [&str; 9] =
    ["allow", "warn", "deny", "forbid", "expect", "no_std", "no_main", "doc", "automatically_derived"];

/// Traits of the standard library that can be derived, and whose derived form says what they say.
const DERIVED: [&str; 9] =
    ["Debug", "PartialEq", "Eq", "Clone", "Copy", "Hash", "PartialOrd", "Ord", "Default"];

/// What must change in the patched text so that its product part does not know of tests.
pub(super) fn edits(patched: &Source, base: &Source) -> Vec<Edit> {
    let mut known = Known::default();
    known.learn_rest(&base.text, &base.pieces);
    known.learn(&base.pieces, "");
    let mut scan = Scan { known: &known, aliases: aliases(patched), places: Vec::new() };
    scan.walk(&rest(&lex(&patched.text).unwrap_or_default(), &patched.pieces));
    scan.pieces(&patched.pieces, "");
    let mut places = scan.places;
    places.sort_by_key(|place| place.start);
    places.dedup();
    places.into_iter().map(|place| (place, "any()".to_owned())).collect()
}

/// What stands among items and is none: attributes of the file or module itself.
fn rest(tokens: &[Token], pieces: &[Piece]) -> Tokens {
    let inside = |token: &Token| pieces.iter().any(|piece| piece.range.contains(&token.range().start));
    tokens.iter().filter(|token| !inside(token)).cloned().collect()
}

/// What stands in a container and is no item of it.
fn rest_of(piece: &Piece) -> Tokens {
    let inner = piece.inside.last().and_then(|token| token.group('{')).map_or(&[][..], Vec::as_slice);
    rest(inner, &piece.pieces)
}

/// What the base already makes depend on tests.
#[derive(Default)]
struct Known {
    /// Conditions of items, by the item's place.
    items: HashSet<(String, String)>,
    /// Statements, fields and arms that hold a condition on tests.
    segments: HashSet<String>,
}

impl Known {
    fn learn_rest(&mut self, text: &str, pieces: &[Piece]) {
        self.learn_tokens(&rest(&lex(text).unwrap_or_default(), pieces));
    }

    fn learn(&mut self, pieces: &[Piece], path: &str) {
        for piece in pieces {
            let own = super::join(path, &piece.key);
            self.items.insert((own.clone(), piece.condition.clone()));
            if piece.close.is_some() {
                self.learn_tokens(&rest_of(piece));
                self.learn(&piece.pieces, &own);
            } else {
                self.learn_tokens(&piece.inside);
            }
        }
    }

    fn learn_tokens(&mut self, tokens: &[Token]) {
        let aliases = HashSet::from(["cfg".to_owned()]);
        for segment in split(tokens) {
            if !occurrences(segment, &aliases).is_empty() {
                self.segments.insert(shown(segment));
            }
            blocks(segment, &mut |inner| self.learn_tokens(inner));
        }
    }
}

/// Other names that the file gives to `cfg!`, and that one.
fn aliases(source: &Source) -> HashSet<String> {
    let mut found: HashSet<String> = HashSet::from(["cfg".to_owned()]);
    visit(&lex(&source.text).unwrap_or_default(), &mut |tokens| {
        for three in tokens.windows(3) {
            if let [cfg, word, Token::Word(name, _)] = three
                && cfg.is_word("cfg")
                && word.is_word("as")
            {
                found.insert(name.clone());
            }
        }
    });
    found
}

fn visit(tokens: &[Token], each: &mut impl FnMut(&[Token])) {
    each(tokens);
    for token in tokens {
        if let Token::Group(_, inner, _) = token {
            visit(inner, each);
        }
    }
}

struct Scan<'a> {
    known: &'a Known,
    aliases: HashSet<String>,
    /// Places of `test` that must read as never.
    places: Vec<Range<usize>>,
}

impl Scan<'_> {
    fn pieces(&mut self, pieces: &[Piece], path: &str) {
        for piece in pieces.iter().filter(|piece| !piece.test) {
            let own = super::join(path, &piece.key);
            if !self.known.items.contains(&(own.clone(), piece.condition.clone())) {
                self.places.extend(occurrences(&piece.outer, &self.aliases));
            }
            if piece.close.is_some() {
                self.walk(&rest_of(piece));
                self.pieces(&piece.pieces, &own);
            } else {
                self.walk(&piece.inside);
            }
        }
    }

    /// Notes the places in statements that the base does not have.
    fn walk(&mut self, tokens: &[Token]) {
        for segment in split(tokens) {
            let here = occurrences(segment, &self.aliases);
            if !here.is_empty() {
                if self.known.segments.contains(&shown(segment)) {
                    continue;
                }
                self.places.extend(here);
            }
            blocks(segment, &mut |inner| self.walk(inner));
        }
    }
}

/// Calls `each` with the content of every outermost block among these tokens.
fn blocks(tokens: &[Token], each: &mut dyn FnMut(&[Token])) {
    for token in tokens {
        match token {
            Token::Group('{', inner, _) => each(inner),
            Token::Group(_, inner, _) => blocks(inner, each),
            _ => {}
        }
    }
}

/// Tokens as statements, fields or arms: up to `;` or `,`, or a block that nothing continues.
fn split(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut start) = (Vec::new(), 0);
    for (at, token) in tokens.iter().enumerate() {
        let continued = tokens.get(at + 1).is_some_and(|next| {
            next.is_word("else") || matches!(next, Token::Mark(mark, _, _) if ".?;,".contains(*mark))
        });
        let ends = match token {
            Token::Mark(mark, _, _) => *mark == ';' || *mark == ',',
            Token::Group('{', _, _) => !continued,
            _ => false,
        };
        if ends {
            parts.push(&tokens[start..=at]);
            start = at + 1;
        }
    }
    if start < tokens.len() {
        parts.push(&tokens[start..]);
    }
    parts
}

/// The places of the word `test` in the conditions among these tokens, blocks apart.
fn occurrences(tokens: &[Token], aliases: &HashSet<String>) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.is_mark('#') {
            let skip = usize::from(tokens.get(at + 1).is_some_and(|next| next.is_mark('!')));
            if let Some(inner) = tokens.get(at + 1 + skip).and_then(|next| next.group('[')) {
                attribute(inner, &mut places);
            }
        } else if let Token::Word(word, _) = token
            && aliases.contains(word)
            && tokens.get(at + 1).is_some_and(|next| next.is_mark('!'))
            && let Some(Token::Group(_, inner, _)) = tokens.get(at + 2)
        {
            words(inner, &mut places);
        } else if let Token::Group(open, inner, _) = token
            && *open != '{'
        {
            places.extend(occurrences(inner, aliases));
        }
    }
    places
}

/// The places in one attribute.
fn attribute(inner: &[Token], places: &mut Vec<Range<usize>>) {
    let Some(group) = inner.get(1).and_then(|next| next.group('(')) else { return };
    if inner[0].is_word("cfg") {
        words(group, places);
    } else if inner[0].is_word("cfg_attr") {
        let end = group.iter().position(|token| token.is_mark(',')).unwrap_or(group.len());
        if !group[end..].split(|token| token.is_mark(',')).all(is_harmless) {
            words(&group[..end], places);
        }
    }
}

/// Whether an attribute changes nothing that a test could tell.
fn is_harmless(attribute: &[Token]) -> bool {
    let names_derived = |token: &Token| match token {
        Token::Word(word, _) => DERIVED.contains(&word.as_str()),
        Token::Mark(mark, _, _) => *mark == ',',
        _ => false,
    };
    match attribute {
        [] => true,
        [derive, group] if derive.is_word("derive") => {
            group.group('(').is_some_and(|inner| inner.iter().all(names_derived))
        }
        [Token::Word(word, _), ..] => HARMLESS.contains(&word.as_str()),
        _ => false,
    }
}

/// The places of the word `test` that is no key with a value.
fn words(tokens: &[Token], places: &mut Vec<Range<usize>>) {
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Word(word, range)
                if (word == "test" || word == "doctest")
                    && !tokens.get(at + 1).is_some_and(|next| next.is_mark('=')) =>
            {
                places.push(range.clone());
            }
            Token::Group(_, inner, _) => words(inner, places),
            _ => {}
        }
    }
}
