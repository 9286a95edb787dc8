//! Rewrites the tests of a Rust file: each body runs inside a closure, and only when it has come to its end is the
//! test's token written, which whoever ends the process early, swallows a panic or prints a report does not have.
//! The same text holds the controls, as [choices](super::choice): a statement at the end that may fail, and expected
//! values that may be wrong. The alias gives other names, another file, and expected texts that stand nowhere.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Draw;
use super::choice::{Choices, Place, Token as Beacon};
use super::{names, perturb};
use crate::toolchain::splice::{Edit, Piece, Source, Token, Tokens, apply};

/// Macros of the standard library that assert or fail; a product macro of that name would change what a test means.
const ASSERTIONS: [&str; 10] = [
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "panic",
    "unreachable",
    "matches",
    "todo",
];

/// A test function of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// Modules within the file, and the function as the base has it.
    pub path: Vec<String>,
    /// What it is called now.
    pub name: String,
    /// What it writes when its body has ended; `Err`: why it cannot write anything.
    pub token: Result<Beacon, String>,
    /// The statement at its end that may fail.
    pub poison: Option<Place>,
    /// Its expected values that may be wrong.
    pub perturb: Vec<Place>,
}

/// A file as it is to be built.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub text: String,
    pub tests: Vec<Known>,
    /// Modules that now stand in a file of their own beside it: name and text.
    pub moved: Vec<(String, String)>,
}

/// How a file's tests are to be changed.
pub(super) struct Pass<'a> {
    pub draw: &'a mut Draw,
    pub choices: &'a mut Choices,
    /// Whether tests get other names.
    pub alias: bool,
    /// Whether every item of the file is a test's.
    pub all_tests: bool,
    /// Whether the alias moves modules and hides texts too, and expected values may be wrong.
    pub full: bool,
    /// The base's file: macros that it names itself are left alone.
    pub base: &'a Source,
}

impl Pass<'_> {
    /// The file with its tests changed; `None` when there is none in it.
    pub fn file(&mut self, source: &Source) -> Option<Changed> {
        let own = own_macros(self.base);
        let mut work = Work {
            source,
            attribute: (!imports_test(&self.base.pieces))
                // Where no tests are built, there is no such path.
                .then(|| format!("cfg(test)] #[{}::prelude::v1::test", self.choices.library())),
            macros: ASSERTIONS.into_iter().filter(|name| !own.contains(*name)).collect(),
            counts: counts(source),
            taken: BTreeSet::new(),
            edits: Vec::new(),
            tests: Vec::new(),
        };
        self.pieces(&source.pieces, &mut Vec::new(), self.all_tests, &mut work);
        if work.tests.is_empty() && work.edits.is_empty() {
            return None;
        }
        let alias = self.alias;
        if alias && let Some(first) = source.pieces.iter().find(|piece| piece.test || self.all_tests) {
            // Whoever knows tests by their lines does not know these.
            let lines = "\n".repeat(1 + self.draw.below(40));
            work.edits.push((first.range.start..first.range.start, lines));
        }
        let moved =
            if alias && self.full && !self.all_tests { self.move_modules(&mut work) } else { Vec::new() };
        let text = format!("{}{}", source.prefix, apply(&source.text, work.edits));
        Some(Changed { text, tests: work.tests, moved })
    }

    /// Puts the test modules of a file into files of their own.
    fn move_modules(&mut self, work: &mut Work) -> Vec<(String, String)> {
        let mut moved = Vec::new();
        for piece in work.source.pieces.iter().filter(|piece| piece.test && piece.key.starts_with("mod ")) {
            let Some(close) = piece.close else { continue };
            if piece.pieces.iter().any(|inner| inner.key.starts_with("mod ")) {
                // Files of modules in it would be looked for elsewhere.
                continue;
            }
            let inside = piece.header.end + 1..close;
            let (own, rest): (Vec<Edit>, Vec<Edit>) = std::mem::take(&mut work.edits)
                .into_iter()
                .partition(|(range, _)| inside.start <= range.start && range.end <= inside.end);
            let shifted = own
                .into_iter()
                .map(|(range, text)| (range.start - inside.start..range.end - inside.start, text));
            let text = apply(&work.source.text[inside.clone()], shifted.collect());
            let name = format!("{}_{}.rs", names::word(self.draw), self.draw.below(100_000));
            work.edits = rest;
            let start = piece.header.start;
            work.edits.push((start..start, format!("#[path = \"{name}\"] ")));
            work.edits.push((piece.header.end..close + 1, ";".to_owned()));
            moved.push((name, text));
        }
        moved
    }

    fn pieces(&mut self, pieces: &[Piece], path: &mut Vec<String>, test: bool, work: &mut Work) {
        for piece in pieces {
            let test = test || piece.test;
            if let Some(name) = piece.key.strip_prefix("mod ").filter(|_| piece.close.is_some()) {
                path.push(name.to_owned());
                self.pieces(&piece.pieces, path, test, work);
                path.pop();
            } else if let Some(kind) = Kind::of(piece) {
                self.test(piece, kind, path, work);
            } else if test {
                work.absolute(&piece.inside, &self.choices.library());
            }
        }
    }

    fn test(&mut self, piece: &Piece, kind: Kind, path: &[String], work: &mut Work) {
        let Some(shape) = Shape::of(piece, work.source) else { return };
        if let Some(full) = &work.attribute {
            let alone = |token: &Token| match token.group('[')?.as_slice() {
                [name] if name.is_word("test") => Some(name.range()),
                _ => None,
            };
            work.edits.extend(piece.outer.iter().filter_map(alone).map(|range| (range, full.clone())));
        }
        let mut path = path.to_vec();
        path.push(shape.name.clone());
        let mut known = Known {
            path,
            name: shape.name.clone(),
            token: Err("it is asynchronous and has parameters".to_owned()),
            poison: None,
            perturb: Vec::new(),
        };
        if shape.tokens.first().is_some_and(|token| token.is_mark('#'))
            && shape.tokens.get(1).is_some_and(|token| token.is_mark('!'))
        {
            known.token = Err("its body has attributes of its own".to_owned());
        } else if !(shape.asynchronous && (shape.parameters || kind == Kind::Panics)) {
            let token = self.choices.token(self.draw);
            known.token = Ok(token);
            (known.poison, known.perturb) = self.body(&shape, kind, token, work);
        }
        if self.alias && work.counts.get(shape.name.as_str()) == Some(&1) {
            known.name = names::fresh(self.draw, &mut work.taken, &work.counts);
            work.edits.push((shape.name_range.clone(), known.name.clone()));
        }
        work.tests.push(known);
    }

    /// Wraps the body; says where its end may fail, and which expected values may be wrong.
    fn body(
        &mut self,
        shape: &Shape,
        kind: Kind,
        token: Beacon,
        work: &mut Work,
    ) -> (Option<Place>, Vec<Place>) {
        let library = self.choices.library();
        let outcome = format!("{}_{}", names::word(self.draw), self.draw.below(1000));
        let open = shape.body.start;
        let close = shape.body.end - 1;
        let returns = &shape.returns;
        let arrow = if returns.contains("impl ") { String::new() } else { format!(" -> {returns}") };
        let (beacon, first) = (self.choices.beacon(token), self.choices.first());
        let beacon = if returns.contains("Result") && kind == Kind::Plain {
            format!("if {outcome}.is_ok() {beacon}")
        } else {
            beacon
        };
        let (tail, poison) = match kind {
            Kind::Plain => {
                let place = self.choices.place(self.draw);
                (self.poison(place), Some(place))
            }
            Kind::Panics => (String::new(), None),
        };
        let (head, foot) = match kind {
            Kind::Panics => (
                format!(
                    "{{ {first} match {library}::panic::catch_unwind({library}::panic::AssertUnwindSafe(move ||{arrow} {{"
                ),
                format!(
                    "}})) {{ {library}::result::Result::Ok({outcome}) => {outcome}, \
                     {library}::result::Result::Err({outcome}) => {{ {beacon} \
                     {library}::panic::resume_unwind({outcome}) }} }} }}"
                ),
            ),
            Kind::Plain if shape.asynchronous => (
                format!("{{ {first} async fn body_of_{outcome}() -> {returns} {{"),
                format!("}} let {outcome} = body_of_{outcome}().await; {tail} {beacon} {outcome} }}"),
            ),
            Kind::Plain => (
                format!("{{ {first} let {outcome} = (move ||{arrow} {{"),
                format!("}})(); {tail} {beacon} {outcome} }}"),
            ),
        };
        work.edits.push((shape.header..shape.header, format!("{} ", self.choices.attribute())));
        work.edits.push((open..open + 1, head));
        work.edits.push((close..close + 1, foot));
        let perturb = if kind == Kind::Plain && self.full { self.perturb(shape, work) } else { Vec::new() };
        if self.alias && self.full {
            hide(&shape.tokens, self.draw, &library, &mut work.edits);
        }
        work.absolute(&shape.tokens, &library);
        (poison, perturb)
    }

    /// Makes choices of some expected values.
    fn perturb(&mut self, shape: &Shape, work: &mut Work) -> Vec<Place> {
        let mut places = Vec::new();
        for (range, truth, other) in perturb::edits(&shape.tokens, self.draw) {
            let place = self.choices.place(self.draw);
            let library = self.choices.library();
            let hides = self.alias && self.full;
            let [truth, other] = [truth, other].map(|text| {
                let hidden = hides.then(|| hidden(&text, self.draw, &library)).flatten();
                hidden.unwrap_or(text)
            });
            work.edits.push((range, self.choices.expression(place, &truth, &other)));
            places.push(place);
        }
        places
    }

    /// A statement that looks like any other, and fails where the choice is against the truth.
    fn poison(&mut self, place: Place) -> String {
        let library = self.choices.library();
        let draw = &mut *self.draw;
        let (one, other, off) = (2 + draw.below(40), 3 + draw.below(40), 1 + draw.below(5));
        let (word, second) = (names::word(draw), names::word(draw));
        let choose = |truth: String, other: String| self.choices.expression(place, &truth, &other);
        match draw.below(4) {
            0 => {
                let sum = choose((one + other).to_string(), (one + other + off).to_string());
                format!("{library}::assert_eq!({one} + {other}, {sum});")
            }
            1 => {
                let sum = choose((one + other + off).to_string(), (one + other + 2 * off).to_string());
                format!(
                    "let total: usize = [{one}usize, {other}, {off}].iter().sum(); {library}::assert_eq!(total, {sum});"
                )
            }
            2 => {
                let text = choose(format!("\"{word}-{one}\""), format!("\"{second}-{other}{off}\""));
                format!("{library}::assert_eq!({library}::format!(\"{word}-{{}}\", {one}), {text});")
            }
            _ => {
                let item = choose(other.to_string(), (one + other).to_string());
                format!("{library}::assert!({library}::vec![{one}, {other}].contains(&{item}));")
            }
        }
    }
}

/// Texts in assertions, as expressions that make them: whoever looks for the expected value of an input in source or
/// program finds none.
fn hide(tokens: &[Token], draw: &mut Draw, library: &str, edits: &mut Vec<Edit>) {
    for (at, token) in tokens.iter().enumerate() {
        let assertion = ["assert", "assert_eq", "assert_ne"].iter().any(|name| token.is_word(name));
        let called = tokens.get(at + 1).is_some_and(|next| next.is_mark('!'));
        match (token, tokens.get(at + 2)) {
            (_, Some(Token::Group(_, inner, _))) if assertion && called => {
                let sides = if token.is_word("assert") { 1 } else { 2 };
                for side in inner.split(|token| token.is_mark(',')).take(sides) {
                    hide_side(side, draw, library, edits);
                }
            }
            (Token::Group('{', inner, _), _) => hide(inner, draw, library, edits),
            _ => {}
        }
    }
}

fn hide_side(side: &[Token], draw: &mut Draw, library: &str, edits: &mut Vec<Edit>) {
    if side.iter().any(|token| token.is_word("let") || token.is_word("match") || token.is_mark('|')) {
        return;
    }
    for (at, token) in side.iter().enumerate() {
        match token {
            Token::Literal(text, range) => {
                edits.extend(hidden(text, draw, library).map(|made| (range.clone(), made)));
            }
            Token::Group(open, inner, _) if *open != '{' => {
                let of_macro =
                    at > 0 && side[at - 1].is_mark('!') && !(at > 1 && side[at - 2].is_word("vec"));
                if !of_macro {
                    hide_side(inner, draw, library, edits);
                }
            }
            _ => {}
        }
    }
}

/// A text as an expression that makes it; `None` for what is no text or empty.
fn hidden(literal: &str, draw: &mut Draw, library: &str) -> Option<String> {
    if !literal.starts_with(['"', 'r']) {
        return None;
    }
    let text = syn::parse_str::<syn::LitStr>(literal).ok()?.value();
    if text.is_empty() {
        return None;
    }
    let key = u8::try_from(1 + draw.below(250)).unwrap_or(1);
    let bytes: Vec<String> = text.bytes().map(|byte| format!("{}u8", byte ^ key)).collect();
    Some(format!(
        "(&*{library}::boxed::Box::leak({library}::string::String::from_utf8({library}::iter::Iterator::\
         collect({library}::iter::Iterator::map({library}::iter::IntoIterator::into_iter({library}::\
         vec![{}]), |byte: u8| byte ^ {key}))).unwrap().into_boxed_str()))",
        bytes.join(", ")
    ))
}

/// How a test may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// It passes when it panics.
    Panics,
}

impl Kind {
    /// What kind of test a function is; `None` when it is none.
    fn of(piece: &Piece) -> Option<Kind> {
        if !piece.key.starts_with("fn ") {
            return None;
        }
        let names: Vec<&str> = piece.outer.iter().filter_map(attribute_name).collect();
        let made = ["test", "rstest", "test_case", "test_matrix", "wasm_bindgen_test"];
        if !names.iter().any(|name| made.contains(name)) {
            return None;
        }
        Some(if names.contains(&"should_panic") { Kind::Panics } else { Kind::Plain })
    }
}

/// The last name in an attribute's path.
fn attribute_name(token: &Token) -> Option<&str> {
    let inner = token.group('[')?;
    let path = inner.iter().take_while(|token| matches!(token, Token::Word(..)) || token.is_mark(':'));
    path.filter_map(|token| match token {
        Token::Word(word, _) => Some(word.as_str()),
        _ => None,
    })
    .last()
}

/// The parts of a function.
struct Shape {
    name: String,
    name_range: std::ops::Range<usize>,
    asynchronous: bool,
    parameters: bool,
    /// The return type as it is written.
    returns: String,
    /// Where the function begins behind its attributes.
    header: usize,
    /// The body with its braces.
    body: std::ops::Range<usize>,
    tokens: Tokens,
}

impl Shape {
    fn of(piece: &Piece, source: &Source) -> Option<Shape> {
        let (last, signature) = piece.inside.split_last()?;
        let tokens = last.group('{')?.clone();
        let at = signature.iter().position(|token| token.is_word("fn"))?;
        let Token::Word(name, name_range) = signature.get(at + 1)? else { return None };
        let parameters = signature[at..].iter().find_map(|token| token.group('('))?;
        let arrow = signature.windows(2).position(|two| two[0].is_mark('-') && two[1].is_mark('>'));
        let end = signature.iter().position(|token| token.is_word("where")).unwrap_or(signature.len());
        let returns = match arrow {
            Some(arrow) => {
                let first = signature.get(arrow + 2)?.range().start;
                source.text[first..signature.get(end - 1)?.range().end].to_owned()
            }
            None => "()".to_owned(),
        };
        Some(Shape {
            name: name.clone(),
            name_range: name_range.clone(),
            asynchronous: signature[..at].iter().any(|token| token.is_word("async")),
            parameters: !parameters.is_empty(),
            returns,
            header: signature.first()?.range().start,
            body: last.range(),
            tokens,
        })
    }
}

/// What is being done to one file.
struct Work<'a> {
    source: &'a Source,
    /// What the attribute `test` is called in full, where it is the standard library's.
    attribute: Option<String>,
    /// Macros whose names mean the standard library's.
    macros: BTreeSet<&'static str>,
    /// How often each word stands in the file.
    counts: BTreeMap<String, usize>,
    taken: BTreeSet<String>,
    edits: Vec<Edit>,
    tests: Vec<Known>,
}

impl Work<'_> {
    /// Takes assertions by their full path.
    fn absolute(&mut self, tokens: &[Token], library: &str) {
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::Word(word, range) if self.macros.contains(word.as_str()) => {
                    let called = tokens.get(at + 1).is_some_and(|next| next.is_mark('!'))
                        && matches!(tokens.get(at + 2), Some(Token::Group(..)));
                    let plain = at == 0 || !(tokens[at - 1].is_mark(':') || tokens[at - 1].is_mark('.'));
                    if called && plain {
                        self.edits.push((range.start..range.start, format!("{library}::")));
                    }
                }
                Token::Group(_, inner, _) => self.absolute(inner, library),
                _ => {}
            }
        }
    }
}

/// Whether something else is called `test` in these items.
fn imports_test(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| {
        let words = || piece.key.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        (piece.key.starts_with("use ") && words().any(|word| word == "test")) || imports_test(&piece.pieces)
    })
}

/// Whether a file calls another crate by the name of the standard library.
pub(super) fn renames_library(source: &Source) -> bool {
    let mut found = false;
    each(&source.tokens(), &mut |tokens| {
        found |= tokens.windows(5).any(|five| {
            let library = |token: &Token| ["std", "core", "alloc"].iter().any(|name| token.is_word(name));
            five[0].is_word("extern")
                && five[1].is_word("crate")
                && five[3].is_word("as")
                && library(&five[4])
                && !library(&five[2])
        });
    });
    found
}

/// Names of assertions that a file defines or imports itself.
fn own_macros(source: &Source) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    each(&source.tokens(), &mut |tokens| {
        for (at, token) in tokens.iter().enumerate() {
            if let Token::Word(word, _) = token
                && ASSERTIONS.contains(&word.as_str())
                && !tokens.get(at + 1).is_some_and(|next| next.is_mark('!'))
            {
                found.insert(word.clone());
            }
        }
    });
    found
}

fn counts(source: &Source) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    each(&source.tokens(), &mut |tokens| {
        for token in tokens {
            if let Token::Word(word, _) = token {
                *counts.entry(word.clone()).or_default() += 1;
            }
        }
    });
    counts
}

fn each(tokens: &[Token], visit: &mut impl FnMut(&[Token])) {
    visit(tokens);
    for token in tokens {
        if let Token::Group(_, inner, _) = token {
            each(inner, visit);
        }
    }
}
