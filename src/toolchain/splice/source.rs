//! A Rust file as a splice sees it: its items with their places, and which of them are tests.

use std::ops::Range;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, ImplItem, Item, TraitItem};

use super::predicate::{self, Value};

/// Files larger than this are nobody's hand-written source.
const LARGEST: usize = 1 << 20;

/// A parser of recursive descent needs stack by nesting; more tokens than this on one path are refused.
const DEEPEST: usize = 20_000;

/// The parser's stack.
const STACK: usize = 512 << 20;

/// A parsed file.
#[derive(Debug)]
pub(crate) struct Source {
    /// A byte order mark or a line with `#!`, which the tokens do not have.
    pub prefix: String,
    /// The rest; all places count from its start.
    pub text: String,
    /// The items.
    pub pieces: Vec<Piece>,
    /// Where the attributes of the file itself end.
    pub inner_attributes: usize,
    /// The docs of the file itself.
    pub docs: Option<(Range<usize>, String)>,
}

/// The items of a file, module, implementation or trait.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a> {
    pub text: &'a str,
    pub pieces: &'a [Piece],
    /// Where another item can be added.
    pub end: usize,
}

/// One item.
#[derive(Debug)]
pub(crate) struct Piece {
    /// What kind it is and how it is called: `fn parse`, `impl Display for X`.
    pub key: String,
    /// Its bytes, attributes and docs included.
    pub range: Range<usize>,
    /// The bytes from the first token behind its attributes to the opening brace of its body.
    pub header: Range<usize>,
    /// Its normal form.
    pub tokens: String,
    /// Whether it exists only in a build of tests.
    pub test: bool,
    /// The condition that it exists under, in its normal form.
    pub condition: String,
    /// Its docs: their bytes and their text.
    pub docs: Option<(Range<usize>, String)>,
    /// The items in it, for modules with content, implementations and traits.
    pub pieces: Vec<Piece>,
    /// The place of its closing brace, where it has items.
    pub close: Option<usize>,
    /// The docs that a module has inside.
    pub inner_docs: Option<(Range<usize>, String)>,
    /// Its own attributes.
    pub outer: Tokens,
    /// The tokens behind its attributes.
    pub inside: Tokens,
}

/// Tokens that may move between threads: as text and places.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Word(String, Range<usize>),
    Mark(char, bool, Range<usize>),
    Literal(String, Range<usize>),
    Group(char, Tokens, Range<usize>),
}

/// A sequence of tokens.
pub(crate) type Tokens = Vec<Token>;

impl Token {
    /// Whether it is this word.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(own, _) if own == word)
    }

    /// Whether it is this mark.
    pub fn is_mark(&self, mark: char) -> bool {
        matches!(self, Token::Mark(own, _, _) if *own == mark)
    }

    /// The tokens in a group of this kind.
    pub fn group(&self, open: char) -> Option<&Tokens> {
        match self {
            Token::Group(own, tokens, _) if *own == open => Some(tokens),
            _ => None,
        }
    }

    /// Its bytes.
    pub fn range(&self) -> Range<usize> {
        match self {
            Token::Word(_, range)
            | Token::Mark(_, _, range)
            | Token::Literal(_, range)
            | Token::Group(_, _, range) => range.clone(),
        }
    }
}

/// The normal form of tokens, which does not depend on formatting.
pub(crate) fn shown(tokens: &[Token]) -> String {
    let mut out = String::new();
    show(tokens, &mut out);
    out
}

fn show(tokens: &[Token], out: &mut String) {
    for token in tokens {
        match token {
            Token::Word(word, _) | Token::Literal(word, _) => {
                out.push_str(word);
                out.push(' ');
            }
            Token::Mark(mark, joint, _) => {
                out.push(*mark);
                if !joint {
                    out.push(' ');
                }
            }
            Token::Group(open, inner, _) => {
                out.push(*open);
                out.push(' ');
                show(inner, out);
                out.push(match open {
                    '(' => ')',
                    '[' => ']',
                    '{' => '}',
                    _ => '\u{2009}',
                });
                out.push(' ');
            }
        }
    }
}

/// Tokens without `#[doc …]`.
pub(crate) fn without_docs(tokens: &[Token]) -> Tokens {
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if let Some(after) = doc_at(tokens, at) {
            at = after;
            continue;
        }
        out.push(match &tokens[at] {
            Token::Group(open, inner, range) => Token::Group(*open, without_docs(inner), range.clone()),
            other => other.clone(),
        });
        at += 1;
    }
    out
}

/// Where the doc attribute that begins here ends.
fn doc_at(tokens: &[Token], at: usize) -> Option<usize> {
    if !tokens[at].is_mark('#') {
        return None;
    }
    let group = at + 1 + usize::from(tokens.get(at + 1)?.is_mark('!'));
    let inner = tokens.get(group)?.group('[')?;
    inner.first()?.is_word("doc").then_some(group + 1)
}

/// The tokens of a text; `None` when it has none that Rust knows, or nests too deep.
pub(crate) fn lex(text: &str) -> Option<Tokens> {
    Some(tokens(&stream(text)?))
}

fn stream(text: &str) -> Option<TokenStream> {
    let stream: TokenStream = text.parse().ok()?;
    (weight(&stream, 0) <= DEEPEST).then_some(stream)
}

/// How many tokens the longest expression has, with those that it nests in.
fn weight(stream: &TokenStream, depth: usize) -> usize {
    if depth > 200 {
        return usize::MAX;
    }
    let (mut most, mut here, mut inner, mut block) = (0, 0usize, 0usize, false);
    for token in stream.clone() {
        if block && !matches!(&token, TokenTree::Ident(word) if word == "else") {
            most = most.max(inner.saturating_add(here));
            (here, inner) = (0, 0);
        }
        block = false;
        here += 1;
        match &token {
            TokenTree::Group(group) => {
                inner = inner.max(weight(&group.stream(), depth + 1));
                block = group.delimiter() == Delimiter::Brace;
            }
            TokenTree::Punct(mark) if mark.as_char() == ';' || mark.as_char() == ',' => {
                most = most.max(inner.saturating_add(here));
                (here, inner) = (0, 0);
            }
            _ => {}
        }
    }
    most.max(inner.saturating_add(here))
}

fn tokens(stream: &TokenStream) -> Tokens {
    let token = |token: TokenTree| match token {
        TokenTree::Ident(word) => Token::Word(word.to_string(), word.span().byte_range()),
        TokenTree::Punct(mark) => {
            Token::Mark(mark.as_char(), mark.spacing() == Spacing::Joint, mark.span().byte_range())
        }
        TokenTree::Literal(literal) => Token::Literal(literal.to_string(), literal.span().byte_range()),
        TokenTree::Group(group) => {
            let open = match group.delimiter() {
                Delimiter::Parenthesis => '(',
                Delimiter::Bracket => '[',
                Delimiter::Brace => '{',
                Delimiter::None => ' ',
            };
            let range = group.span_open().byte_range().start..group.span_close().byte_range().end;
            Token::Group(open, tokens(&group.stream()), range)
        }
    };
    stream.clone().into_iter().map(token).collect()
}

impl Source {
    /// Parses a file; `None` when it is no Rust that this parser knows.
    pub fn read(text: &str) -> Option<Source> {
        apart(text, || parse(text))
    }

    /// All tokens of the file.
    pub fn tokens(&self) -> Tokens {
        lex(&self.text).unwrap_or_default()
    }

    /// The items of the file.
    pub fn body(&self) -> Body<'_> {
        Body { text: &self.text, pieces: &self.pieces, end: self.text.len() }
    }

    /// The normal forms of all test items with the containers they stand in, in alphabetical order.
    pub fn tests(&self) -> Vec<String> {
        Source::tests_of(&self.pieces, "")
    }

    /// Likewise, of pieces in the container `path`.
    pub fn tests_of(pieces: &[Piece], path: &str) -> Vec<String> {
        let mut found = Vec::new();
        collect_tests(pieces, path, &mut found);
        found.sort();
        found
    }

    /// The normal form of everything that is no test, docs apart.
    pub fn product(&self) -> String {
        let mut cuts = Vec::new();
        collect_ranges(&self.pieces, &mut cuts);
        let text = super::apply(&self.text, cuts.into_iter().map(|range| (range, String::new())).collect());
        lex(&text).map(|tokens| shown(&without_docs(&tokens))).unwrap_or_default()
    }
}

fn collect_tests(pieces: &[Piece], path: &str, found: &mut Vec<String>) {
    for piece in pieces {
        if piece.test {
            found.push(super::join(path, &piece.tokens));
        } else {
            collect_tests(&piece.pieces, &super::join(path, &piece.key), found);
        }
    }
}

fn collect_ranges(pieces: &[Piece], found: &mut Vec<Range<usize>>) {
    for piece in pieces {
        if piece.test {
            found.push(piece.range.clone());
        } else {
            collect_ranges(&piece.pieces, found);
        }
    }
}

impl Piece {
    /// Its text.
    pub fn text<'a>(&self, text: &'a str) -> &'a str {
        &text[self.range.clone()]
    }

    /// Its items, where it can have any.
    pub fn body<'a>(&'a self, text: &'a str) -> Option<Body<'a>> {
        Some(Body { text, pieces: &self.pieces, end: self.close? })
    }

    /// What people call it.
    pub fn shown(&self, path: &str) -> String {
        crate::text::clip(&super::join(path, &self.key), 120).into_owned()
    }
}

/// What there is to see in the syntax of a file; `None` when it is no Rust that this parser knows.
pub(crate) fn in_syntax<T: Send>(text: &str, look: impl FnOnce(&syn::File) -> T + Send) -> Option<T> {
    apart(text, || Some(look(&syn::parse2(stream(text)?).ok()?)))
}

/// Parsing is recursive, and the text may be hostile.
fn apart<T: Send>(text: &str, work: impl FnOnce() -> Option<T> + Send) -> Option<T> {
    if text.len() > LARGEST {
        return None;
    }
    let parser = std::thread::Builder::new().stack_size(STACK);
    std::thread::scope(|scope| parser.spawn_scoped(scope, work).ok()?.join().ok()?)
}

fn parse(text: &str) -> Option<Source> {
    let mut start = text.strip_prefix('\u{feff}').map_or(0, |rest| text.len() - rest.len());
    if text[start..].starts_with("#!") && !text[start + 2..].trim_start().starts_with('[') {
        start += text[start..].find('\n').unwrap_or(text.len() - start);
    }
    let (prefix, text) = text.split_at(start);
    let stream = stream(text)?;
    let file: syn::File = syn::parse2(stream).ok()?;
    let inner = file.attrs.iter().map(|attribute| span(attribute).end).max().unwrap_or(0);
    let found = Source {
        prefix: prefix.to_owned(),
        text: text.to_owned(),
        pieces: file.items.iter().map(piece_of_item).collect(),
        inner_attributes: inner,
        docs: docs(file.attrs.iter()),
    };
    drop(file);
    // Positions of parsed texts pile up otherwise; nothing in this thread holds one any more.
    proc_macro2::extra::invalidate_current_thread_spans();
    Some(found)
}

fn span(node: &impl ToTokens) -> Range<usize> {
    let stream = node.to_token_stream();
    let mut tokens = stream.into_iter();
    let Some(first) = tokens.next() else { return 0..0 };
    let start = match &first {
        TokenTree::Group(group) => group.span_open().byte_range().start,
        other => other.span().byte_range().start,
    };
    let end = match tokens.last().unwrap_or(first) {
        TokenTree::Group(group) => group.span_close().byte_range().end,
        other => other.span().byte_range().end,
    };
    start..end
}

fn piece_of_item(item: &Item) -> Piece {
    let (attributes, key): (&[Attribute], String) = match item {
        Item::Const(item) => (&item.attrs, format!("const {}", item.ident)),
        Item::Enum(item) => (&item.attrs, format!("enum {}", item.ident)),
        Item::ExternCrate(item) => (&item.attrs, format!("extern crate {}", item.ident)),
        Item::Fn(item) => (&item.attrs, format!("fn {}", item.sig.ident)),
        Item::ForeignMod(item) => (&item.attrs, "extern block".to_owned()),
        Item::Impl(item) => (&item.attrs, header_of_impl(item)),
        Item::Macro(item) => (&item.attrs, key_of_macro(item.ident.as_ref(), &item.mac)),
        Item::Mod(item) => (&item.attrs, format!("mod {}", item.ident)),
        Item::Static(item) => (&item.attrs, format!("static {}", item.ident)),
        Item::Struct(item) => (&item.attrs, format!("struct {}", item.ident)),
        Item::Trait(item) => (&item.attrs, format!("trait {}", item.ident)),
        Item::TraitAlias(item) => (&item.attrs, format!("trait {}", item.ident)),
        Item::Type(item) => (&item.attrs, format!("type {}", item.ident)),
        Item::Union(item) => (&item.attrs, format!("union {}", item.ident)),
        Item::Use(item) => (&item.attrs, format!("use {}", item.tree.to_token_stream())),
        other => (&[], other.to_token_stream().to_string()),
    };
    let mut piece = piece(item, attributes, key);
    match item {
        Item::Mod(module) => {
            if let Some((brace, items)) = &module.content {
                piece.pieces = items.iter().map(piece_of_item).collect();
                piece.enclose(brace.span.open().byte_range().start, brace.span.close().byte_range().start);
            }
        }
        Item::Impl(item) => {
            piece.pieces = item.items.iter().map(piece_of_impl_item).collect();
            let brace = item.brace_token.span;
            piece.enclose(brace.open().byte_range().start, brace.close().byte_range().start);
        }
        Item::Trait(item) => {
            piece.pieces = item.items.iter().map(piece_of_trait_item).collect();
            let brace = item.brace_token.span;
            piece.enclose(brace.open().byte_range().start, brace.close().byte_range().start);
        }
        Item::Macro(item) if predicate::makes_tests(&item.mac.path) => piece.test = true,
        _ => {}
    }
    piece
}

fn piece_of_impl_item(item: &ImplItem) -> Piece {
    let (attributes, key): (&[Attribute], String) = match item {
        ImplItem::Const(item) => (&item.attrs, format!("const {}", item.ident)),
        ImplItem::Fn(item) => (&item.attrs, format!("fn {}", item.sig.ident)),
        ImplItem::Type(item) => (&item.attrs, format!("type {}", item.ident)),
        ImplItem::Macro(item) => (&item.attrs, key_of_macro(None, &item.mac)),
        other => (&[], other.to_token_stream().to_string()),
    };
    piece(item, attributes, key)
}

fn piece_of_trait_item(item: &TraitItem) -> Piece {
    let (attributes, key): (&[Attribute], String) = match item {
        TraitItem::Const(item) => (&item.attrs, format!("const {}", item.ident)),
        TraitItem::Fn(item) => (&item.attrs, format!("fn {}", item.sig.ident)),
        TraitItem::Type(item) => (&item.attrs, format!("type {}", item.ident)),
        TraitItem::Macro(item) => (&item.attrs, key_of_macro(None, &item.mac)),
        other => (&[], other.to_token_stream().to_string()),
    };
    piece(item, attributes, key)
}

fn header_of_impl(item: &syn::ItemImpl) -> String {
    let of = item.trait_.as_ref().map(|(not, path, _)| {
        format!("{}{} for ", if not.is_some() { "!" } else { "" }, path.to_token_stream())
    });
    let generics = item.generics.params.to_token_stream();
    let own = item.self_ty.to_token_stream();
    format!("impl <{generics}> {}{own}", of.unwrap_or_default())
}

fn key_of_macro(ident: Option<&syn::Ident>, mac: &syn::Macro) -> String {
    let path = mac.path.to_token_stream();
    match ident {
        Some(ident) => format!("{path}! {ident}"),
        None => format!("{path}! {}", crate::text::clip(&mac.tokens.to_string(), 200)),
    }
}

fn piece(node: &impl ToTokens, attributes: &[Attribute], key: String) -> Piece {
    let range = span(node);
    let end =
        attributes.iter().filter(|attribute| is_outer(attribute)).map(|attribute| span(attribute).end).max();
    let all = tokens(&node.to_token_stream());
    let end_of_attributes = end.unwrap_or(range.start);
    let (outer, inside): (Tokens, Tokens) =
        all.iter().cloned().partition(|token| token.range().start < end_of_attributes);
    let start = inside.first().map_or(range.start, |token| token.range().start);
    let conditions: Vec<String> = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr"))
        .map(|attribute| attribute.meta.to_token_stream().to_string())
        .collect();
    let gone = attributes.iter().any(|attribute| predicate::of_attribute(attribute) == Some(Value::False));
    let made = attributes.iter().any(|attribute| predicate::is_test_attribute(attribute.path()));
    Piece {
        key,
        header: start..range.end,
        tokens: shown(&all),
        test: gone || made,
        condition: conditions.join(" "),
        docs: docs(attributes.iter().filter(|attribute| is_outer(attribute))),
        inner_docs: docs(attributes.iter().filter(|attribute| !is_outer(attribute))),
        pieces: Vec::new(),
        close: None,
        outer,
        inside,
        range,
    }
}

fn is_outer(attribute: &Attribute) -> bool {
    matches!(attribute.style, syn::AttrStyle::Outer)
}

/// The docs among attributes: from the first to the last, and what they say.
fn docs<'a>(attributes: impl Iterator<Item = &'a Attribute>) -> Option<(Range<usize>, String)> {
    let mut found: Option<(Range<usize>, String)> = None;
    for attribute in attributes.filter(|attribute| attribute.path().is_ident("doc")) {
        let syn::Meta::NameValue(pair) = &attribute.meta else { continue };
        let said = match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => text.value(),
            other => other.to_token_stream().to_string(),
        };
        let here = span(attribute);
        found = Some(match found {
            None => (here, said),
            Some((range, text)) => (range.start..here.end, format!("{text}\n{said}")),
        });
    }
    found
}

impl Piece {
    fn enclose(&mut self, open: usize, close: usize) {
        self.header.end = open;
        self.close = Some(close);
    }
}
