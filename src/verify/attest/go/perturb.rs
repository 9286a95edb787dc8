//! Expected values in Go tests, where one can tell them: a literal that a condition right in the test's body compares
//! with `!=` before it fails the test, the argument of an assertion, the wanted field of a table whose rows are all
//! compared. They are changed to other literals of their kind, or written so that the text stands nowhere.

use std::ops::Range;

use super::super::Draw;
use super::super::rust::perturb as rust;
use super::lex::Token;
use crate::toolchain::splice::Edit;

/// Names of variables and fields that hold what is expected.
const WANTED: [&str; 6] = ["want", "wanted", "expected", "expect", "exp", "wants"];

/// The change of one expected value in a test's body, where it must make the test fail.
pub(super) fn edit(body: &[Token], t: &str, draw: &mut Draw) -> Option<Edit> {
    let found = candidates(body, t);
    let (range, text) = draw.choose(&found)?.clone();
    Some((range, changed(&text, draw)?))
}

/// The expected texts of a body as expressions that make them.
pub(super) fn hidden(body: &[Token], t: &str, draw: &mut Draw) -> Vec<Edit> {
    let texts = candidates(body, t).into_iter().filter(|(_, text)| text.starts_with('"'));
    let plain = texts.filter(|(_, text)| text.len() > 2 && text.is_ascii() && !text.contains('\\'));
    let mut edits: Vec<Edit> = plain
        .map(|(range, text)| {
            let key = u8::try_from(1 + draw.below(250)).unwrap_or(1);
            let bytes: Vec<String> =
                text[1..text.len() - 1].bytes().map(|byte| (byte ^ key).to_string()).collect();
            let made = format!(
                "func() string {{ b := []byte{{{}}}; for i := range b {{ b[i] ^= {key} }}; return string(b) }}()",
                bytes.join(", ")
            );
            (range, made)
        })
        .collect();
    edits.sort_by_key(|(range, _)| range.start);
    edits.dedup_by_key(|(range, _)| range.start);
    edits
}

/// Literals that are expected, with their places.
fn candidates(body: &[Token], t: &str) -> Vec<(Range<usize>, String)> {
    let mut found = Vec::new();
    if leaves_early(body) {
        return found;
    }
    for (at, token) in body.iter().enumerate() {
        let starts = at == 0 || body[at - 1].is_mark(";");
        if starts && token.is_word("if") {
            found.extend(condition(&body[at + 1..], t));
        } else if starts {
            found.extend(assertion(&body[at..], t));
        }
    }
    found.extend(table(body, t));
    found
}

/// Whether a body may end before its end.
fn leaves_early(body: &[Token]) -> bool {
    body.iter().enumerate().any(|(at, token)| match token {
        // What returns in a function literal leaves that alone.
        Token::Group('{', inner, _) => !is_literal_function(body, at) && leaves_early(inner),
        other => other.is_word("return") || other.is_word("goto"),
    })
}

/// Whether the block at `at` is the body of a function literal.
fn is_literal_function(tokens: &[Token], at: usize) -> bool {
    let start = tokens[..at].iter().rposition(|token| token.is_mark(";")).map_or(0, |at| at + 1);
    let Some(func) = tokens[start..at].iter().rposition(|token| token.is_word("func")) else { return false };
    !tokens[start + func..at].iter().any(|token| token.group('{').is_some())
}

/// `if got := f(); got != 3 { t.Errorf(…) }`.
fn condition(rest: &[Token], t: &str) -> Option<(Range<usize>, String)> {
    let block = rest.iter().position(|token| token.group('{').is_some())?;
    let head = &rest[..block];
    let start = head.iter().rposition(|token| token.is_mark(";")).map_or(0, |at| at + 1);
    let compared = &head[start..];
    if compared.iter().any(|token| token.is_mark("&&") || token.is_mark("!"))
        || !fails(rest[block].group('{')?, t)
    {
        return None;
    }
    // Every part of `a != 1 || b != "x"` fails the test by itself.
    for part in compared.split(|token| token.is_mark("||")) {
        let Some(at) = part.iter().position(|token| token.is_mark("!=")) else { continue };
        if let (Some(literal), false) = (plain(&part[at + 1..]), part[..at].is_empty()) {
            return Some(literal);
        }
        if let Some(literal) = plain(&part[..at]) {
            return Some(literal);
        }
    }
    None
}

/// A side that is one literal, maybe with a sign.
fn plain(side: &[Token]) -> Option<(Range<usize>, String)> {
    match side {
        [Token::Literal(text, range)] => Some((range.clone(), text.clone())),
        [minus, Token::Literal(text, range)] if minus.is_mark("-") => Some((range.clone(), text.clone())),
        [Token::Word(word, range)] if word == "true" || word == "false" => {
            Some((range.clone(), word.clone()))
        }
        _ => None,
    }
}

/// Whether a block fails the test, whatever else it does.
fn fails(block: &[Token], t: &str) -> bool {
    block.windows(3).any(|three| {
        three[0].is_word(t)
            && three[1].is_mark(".")
            && ["Error", "Errorf", "Fatal", "Fatalf", "Fail", "FailNow"]
                .iter()
                .any(|name| three[2].is_word(name))
    })
}

/// `assert.Equal(t, 3, f())`, `equalText(t, f(), "x")`: the first argument is the test's own handle, and one of the
/// two that follow is a literal.
fn assertion(rest: &[Token], t: &str) -> Option<(Range<usize>, String)> {
    let (name, arguments) = match rest {
        [_, dot, Token::Word(name, _), arguments, ..] if dot.is_mark(".") => (name, arguments),
        [Token::Word(name, _), arguments, ..] => (name, arguments),
        _ => return None,
    };
    let name = name.to_lowercase();
    if !name.contains("equal") || ["not", "un", "less", "greater"].iter().any(|word| name.contains(word)) {
        return None;
    }
    let mut sides = arguments.group('(')?.split(|token| token.is_mark(","));
    if !matches!(sides.next()?, [own] if own.is_word(t)) {
        return None;
    }
    let (one, other) = (sides.next()?, sides.next()?);
    match (plain(one), plain(other)) {
        (Some(literal), None) | (None, Some(literal)) => Some(literal),
        _ => None,
    }
}

/// Rows of a table: `for _, tt := range []struct{…}{…}`, or of a variable that holds such a table, where the loop
/// fails the test whenever the wanted field is not what came out.
fn table(body: &[Token], t: &str) -> Vec<(Range<usize>, String)> {
    let mut found = Vec::new();
    for (at, token) in body.iter().enumerate() {
        let Some(kind) = token.group('{').filter(|_| at > 0 && body[at - 1].is_word("struct")) else {
            continue;
        };
        let Some(rows) = body.get(at + 1).and_then(|next| next.group('{')) else { continue };
        let fields = fields(kind);
        // A row that expects an error, a panic or nothing may not be compared.
        let odd = |name: &&String| {
            let name = name.to_lowercase();
            ["err", "panic", "skip", "fail", "ok", "valid"].iter().any(|part| name.contains(part))
        };
        let Some(wanted) = fields.iter().position(|name| WANTED.contains(&name.as_str())) else { continue };
        if fields.iter().any(|name| odd(&name)) || !is_compared(&body[at + 2..], &fields[wanted], t) {
            continue;
        }
        let values = rows.iter().enumerate().filter_map(|(at, row)| row_at(rows, at, row));
        let values: Vec<_> = values.map(|row| value(row, wanted, &fields[wanted])).collect();
        // Before Go 1.22 subtests that run in parallel share the loop's variable, and all see the last row.
        let seen = if holds(&body[at + 2..], &["Parallel"]) { values.len().saturating_sub(1) } else { 0 };
        found.extend(values.into_iter().skip(seen).flatten());
    }
    found
}

/// The content of a row, which is `{…}` by itself or behind a key.
fn row_at<'a>(rows: &[Token], at: usize, row: &'a Token) -> Option<&'a [Token]> {
    let inner = row.group('{')?;
    let alone =
        at == 0 || rows[at - 1].is_mark(",") || rows[at - 1].is_mark(":") || rows[at - 1].is_mark(";");
    alone.then_some(inner)
}

/// The wanted value of a row, where it is a literal.
fn value(row: &[Token], wanted: usize, name: &str) -> Option<(Range<usize>, String)> {
    let parts: Vec<&[Token]> =
        row.split(|token| token.is_mark(",") || token.is_mark(";")).filter(|part| !part.is_empty()).collect();
    let keyed = parts.iter().any(|part| part.get(1).is_some_and(|token| token.is_mark(":")));
    if keyed {
        let part = parts.iter().find(|part| part[0].is_word(name))?;
        return plain(part.get(2..)?);
    }
    plain(parts.get(wanted)?)
}

/// The names of a struct's fields, in order.
fn fields(kind: &[Token]) -> Vec<String> {
    let mut names = Vec::new();
    for line in kind.split(|token| token.is_mark(";")) {
        let mut pending = Vec::new();
        for (at, token) in line.iter().enumerate() {
            let Some(word) = token.word() else { break };
            pending.push(word.to_owned());
            if !line.get(at + 1).is_some_and(|next| next.is_mark(",")) {
                break;
            }
        }
        // `a, b int`: commas stand between the names, and the type is no name.
        if line.iter().any(|token| token.is_mark(",")) {
            let end = line.iter().rposition(|token| token.is_mark(",")).unwrap_or(0);
            pending = line[..=end + 1].iter().filter_map(Token::word).map(str::to_owned).collect();
        }
        names.extend(pending);
    }
    names
}

/// Whether the wanted field is used in nothing but comparisons that fail the test and in messages.
fn is_compared(rest: &[Token], name: &str, t: &str) -> bool {
    let mut uses = Uses::default();
    uses.count(rest, name, t, false);
    uses.compared > 0 && uses.other == 0 && !holds(rest, &["return", "continue", "break", "goto", "Skip"])
}

fn holds(tokens: &[Token], words: &[&str]) -> bool {
    tokens.iter().any(|token| match token {
        Token::Group(_, inner, _) => holds(inner, words),
        other => words.iter().any(|word| other.is_word(word)),
    })
}

#[derive(Default)]
struct Uses {
    compared: usize,
    other: usize,
}

impl Uses {
    fn count(&mut self, tokens: &[Token], name: &str, t: &str, message: bool) {
        for (at, token) in tokens.iter().enumerate() {
            if token.is_word(name) && at > 1 && tokens[at - 1].is_mark(".") {
                let near = |at: Option<&Token>| at.is_some_and(|token| token.is_mark("!="));
                let condition = near(tokens.get(at + 1)) || (at > 2 && near(tokens.get(at - 3)));
                if condition && fails_next(&tokens[at..], t) && !joined(tokens) {
                    self.compared += 1;
                } else if !message {
                    self.other += 1;
                }
            }
            if let Token::Group(_, inner, _) = token {
                let of_message = at > 1
                    && tokens[at - 1].word().is_some_and(|word| {
                        ["Errorf", "Fatalf", "Error", "Fatal", "Logf", "Log"].contains(&word)
                    });
                self.count(inner, name, t, message || of_message);
            }
        }
    }
}

/// Whether the block that follows fails the test.
fn fails_next(tokens: &[Token], t: &str) -> bool {
    let block = tokens.iter().find_map(|token| token.group('{'));
    block.is_some_and(|block| fails(block, t))
}

/// Whether a condition has more than one part.
fn joined(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| token.is_mark("&&"))
}

/// Another literal of the same kind.
fn changed(text: &str, draw: &mut Draw) -> Option<String> {
    if text.starts_with('`') {
        return None;
    }
    if text.starts_with("0x")
        || text.starts_with("0X")
        || text.contains(['i', 'e', 'E'])
            && !text.starts_with(['"', '\''])
            && text != "true"
            && text != "false"
    {
        return None;
    }
    rust::changed(text, draw)
}

#[cfg(test)]
mod tests {
    use super::super::lex::lex;
    use super::*;

    fn found(body: &str) -> Vec<String> {
        let tokens = lex(body).unwrap();
        candidates(&tokens, "t").into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn expected_values_are_found_where_they_must_matter() {
        let cases: [(&str, &[&str]); 18] = [
            ("if f(2) != 4 { t.Errorf(\"no\") }", &["4"]),
            ("if got := f(2); got != \"x\" { t.Fatal(got) }", &["\"x\""]),
            ("if got, err := f(2); err != nil || got != -3 { t.Fatal(got) }", &["3"]),
            ("if !ok(1) { t.Fatal() }", &[]),
            ("if f(2) != 4 { log(1) }", &[]),
            ("if a && f(2) != 4 { t.Fatal() }", &[]),
            ("if x { return }\nif f(2) != 4 { t.Fatal() }", &[]),
            ("g(func() int { return 1 })\nif f(2) != 4 { t.Fatal() }", &["4"]),
            ("assert.Equal(t, 3, f())", &["3"]),
            ("require.Equal(t, f(1), f(2))", &[]),
            (
                "for _, tt := range []struct{ in, want int }{ {1, 2}, {3, 4} } { t.Run(\"\", func(t *testing.T) { t.Parallel(); if f(tt.in) != tt.want { t.Error() } }) }",
                &["4"],
            ),
            ("equalText(t, f(1), \"x\")", &["\"x\""]),
            ("require.NotEqual(t, f(1), 3)", &[]),
            (
                "for _, tt := range []struct{ in, x string\n want int }{ {\"a\", \"b\", 1}, {\"c\", \"d\", 2} } { if got := f(tt.in); got != tt.want { t.Errorf(\"%d\", tt.want) } }",
                &["1", "2"],
            ),
            (
                "for _, tt := range []struct{ in string; want Size }{ {\"a\", 1} } { if got := f(tt.in); got != tt.want { t.Errorf(\"%d\", int64(tt.want)) } }",
                &["1"],
            ),
            (
                "tests := []struct{\n name string\n want string\n}{\n {name: \"a\", want: \"x\"},\n}\nfor _, tt := range tests { t.Run(tt.name, func(t *testing.T) { if got := f(tt.name); got != tt.want { t.Fatal(tt.want) } }) }",
                &["\"x\""],
            ),
            (
                "tests := []struct{ in string; want int; wantErr bool }{ {\"a\", 1, false} }\nfor _, tt := range tests { if f(tt.in) != tt.want { t.Fatal() } }",
                &[],
            ),
            (
                "tests := []struct{ in string; want int }{ {\"a\", 1} }\nfor _, tt := range tests { put(tt.want); if f(tt.in) != tt.want { t.Fatal() } }",
                &[],
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(found(body), expected, "{body}");
        }
    }
}
