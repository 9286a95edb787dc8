//! Wrong expected values: of equality assertions that a test runs unconditionally, and one of whose sides is a plain
//! literal, the literal is changed to another of its kind; likewise a column of a table whose rows a loop compares one
//! by one. Where nothing of that sort can be found, the test is left as it is.

use std::ops::Range;

use super::super::Draw;
use crate::toolchain::splice::{Edit, Token};

/// So many values of one test may be wrong.
const MOST: usize = 6;

/// Words in an expected value that compare as what they hold.
const PLAIN: [&str; 22] = [
    "Some",
    "Ok",
    "None",
    "vec",
    "to_string",
    "to_owned",
    "into",
    "String",
    "Vec",
    "u8",
    "u16",
    "u32",
    "u64",
    "usize",
    "i8",
    "i16",
    "i32",
    "i64",
    "isize",
    "f32",
    "f64",
    "as",
];

/// Some expected values in a test's body: where they stand, what stands there, and what would be wrong.
pub(super) fn edits(body: &[Token], draw: &mut Draw) -> Vec<(Range<usize>, String, String)> {
    if ["return", "continue", "break"].iter().any(|word| holds_word(body, word)) {
        // Whether the assertion is reached cannot be told.
        return Vec::new();
    }
    let mut found = Vec::new();
    for (at, token) in body.iter().enumerate() {
        if let Some(arguments) = macro_at(body, at) {
            found.extend(asserted(token, arguments));
        } else if token.is_word("for") {
            found.extend(table(body, at).unwrap_or_default());
        }
    }
    let mut edits = Vec::new();
    while edits.len() < MOST && !found.is_empty() {
        let (range, text) = found.swap_remove(draw.below(found.len()));
        if let Some(other) = changed(&text, draw) {
            edits.push((range, text, other));
        }
    }
    edits
}

/// The literals that an assertion expects.
fn asserted(name: &Token, arguments: &[Token]) -> Vec<Edit> {
    if name.is_word("assert") {
        return compared(arguments);
    }
    if !name.is_word("assert_eq") {
        return Vec::new();
    }
    let mut sides = arguments.split(|token| token.is_mark(','));
    let (Some(left), Some(right)) = (sides.next(), sides.next()) else { return Vec::new() };
    let mut found = candidates(left, right);
    found.extend(candidates(right, left));
    found
}

/// `for (…, name, …) in rows { … assert_eq!(f(…), name); … }`: the literals of that column.
fn table(body: &[Token], at: usize) -> Option<Vec<Edit>> {
    let at = at + 1 + usize::from(body.get(at + 1)?.is_mark('&'));
    let names = body.get(at)?.group('(')?;
    let columns: Vec<&[Token]> = names.split(|token| token.is_mark(',')).collect();
    body.get(at + 1)?.is_word("in").then_some(())?;
    let end = at + 2 + body[at + 2..].iter().position(|token| token.group('{').is_some())?;
    let inside = body[end].group('{')?;
    let expected = (0..inside.len()).find_map(|at| {
        let arguments = macro_at(inside, at).filter(|_| inside[at].is_word("assert_eq"))?;
        let mut sides = arguments.split(|token| token.is_mark(','));
        let (left, right) = (sides.next()?, sides.next()?);
        let other = |one: &[Token], other: &[Token]| {
            let name = variable(one).filter(|name| !holds_word(other, name) && !is_plain(other))?;
            columns.iter().position(|column| matches!(column, [Token::Word(word, _)] if word == name))
        };
        other(left, right).or_else(|| other(right, left))
    })?;
    let Token::Word(name, _) = &columns[expected][0] else { return None };
    // Another variable of that name, or a condition on it, makes of it who knows what.
    let uses = |word: &str| inside.windows(2).any(|two| two[0].is_word("let") && two[1].is_word(word));
    if uses(name) {
        return None;
    }
    let mut found = Vec::new();
    for row in rows(&body[at + 2..end], &body[..at])?.split(|token| token.is_mark(',')) {
        let [row] = row else { continue };
        let cells: Vec<&[Token]> = row.group('(')?.split(|token| token.is_mark(',')).collect();
        let cell = cells.get(expected).filter(|cell| is_plain(cell))?;
        if cell.iter().any(|token| token.is_mark('&') || matches!(token, Token::Word(..)) && !is_truth(token))
        {
            // What a call or a constant lends does not live long enough when it is chosen at run time.
            continue;
        }
        collect(cell, &mut found);
    }
    Some(found)
}

/// `name`, `*name` or `&name`.
fn variable(side: &[Token]) -> Option<&str> {
    let side = match side {
        [first, rest @ ..] if first.is_mark('*') || first.is_mark('&') => rest,
        side => side,
    };
    match side {
        [Token::Word(name, _)] => Some(name),
        _ => None,
    }
}

/// The rows that a loop goes through: written there, or in a variable before it.
fn rows<'a>(source: &'a [Token], before: &'a [Token]) -> Option<&'a [Token]> {
    let source = match source {
        [first, rest @ ..] if first.is_mark('&') => rest,
        source => source,
    };
    match source {
        [list] => list.group('[').map(Vec::as_slice).or_else(|| named_rows(list, before)),
        [vec, mark, list] if vec.is_word("vec") && mark.is_mark('!') => list.group('[').map(Vec::as_slice),
        [name, dot, call, arguments]
            if dot.is_mark('.')
                && (call.is_word("iter") || call.is_word("into_iter"))
                && arguments.group('(').is_some_and(Vec::is_empty) =>
        {
            name.group('[').map(Vec::as_slice).or_else(|| named_rows(name, before))
        }
        _ => None,
    }
}

/// `let name = [rows];`
fn named_rows<'a>(name: &Token, before: &'a [Token]) -> Option<&'a [Token]> {
    let Token::Word(name, _) = name else { return None };
    let at = before.windows(2).position(|two| two[0].is_word("let") && two[1].is_word(name))?;
    let equals = at + before[at..].iter().position(|token| token.is_mark('='))?;
    let end = equals + before[equals..].iter().position(|token| token.is_mark(';'))?;
    match &before[equals + 1..end] {
        [list] => list.group('[').map(Vec::as_slice),
        [and, list] if and.is_mark('&') => list.group('[').map(Vec::as_slice),
        [vec, mark, list] if vec.is_word("vec") && mark.is_mark('!') => list.group('[').map(Vec::as_slice),
        _ => None,
    }
}

fn is_truth(token: &Token) -> bool {
    token.is_word("true") || token.is_word("false")
}

/// The arguments of a macro that is called as a statement here.
fn macro_at(body: &[Token], at: usize) -> Option<&[Token]> {
    let starts = at == 0
        || body[at - 1].is_mark(';')
        || body[at - 1].group('{').is_some()
        || (at > 2
            && body[at - 1].is_mark(':')
            && ["std", "core"].iter().any(|name| body[at - 3].is_word(name)));
    // A block before it may be an expression's, as in `match x {} assert!()`, which is a statement all the same.
    if !starts || !body.get(at + 1)?.is_mark('!') {
        return None;
    }
    match body.get(at + 2)? {
        Token::Group(_, inner, _) => Some(inner),
        _ => None,
    }
}

/// `assert!(a == literal)`.
fn compared(arguments: &[Token]) -> Vec<Edit> {
    let end = arguments.iter().position(|token| token.is_mark(',')).unwrap_or(arguments.len());
    let condition = &arguments[..end];
    let joined = condition.iter().any(|token| token.is_mark('&') || token.is_mark('|') || token.is_mark('!'));
    let at = condition.windows(2).position(|two| two[0].is_mark('=') && two[1].is_mark('='));
    match at {
        Some(at) if !joined => candidates(&condition[at + 2..], &condition[..at]),
        _ => Vec::new(),
    }
}

/// The literals of a side that is plain, where the other side is not.
fn candidates(side: &[Token], other: &[Token]) -> Vec<Edit> {
    let mut literals = Vec::new();
    if is_plain(side) && !is_plain(other) {
        collect(side, &mut literals);
    }
    literals
}

fn collect(tokens: &[Token], literals: &mut Vec<Edit>) {
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Literal(text, range) => {
                // A number without its sign may be out of range.
                let minus = at.checked_sub(1).filter(|minus| tokens[*minus].is_mark('-'));
                literals.push(match minus {
                    Some(minus) => (tokens[minus].range().start..range.end, format!("-{text}")),
                    None => (range.clone(), text.clone()),
                });
            }
            Token::Word(word, range) if word == "true" || word == "false" => {
                literals.push((range.clone(), word.clone()));
            }
            // `[0; 4]`: the length is no value.
            Token::Group('[', inner, _) if inner.iter().any(|token| token.is_mark(';')) => {
                let end = inner.iter().position(|token| token.is_mark(';')).unwrap_or(0);
                collect(&inner[..end], literals);
            }
            Token::Group(_, inner, _) => {
                let called = at > 0 && matches!(&tokens[at - 1], Token::Word(..));
                if !called || !inner.is_empty() {
                    collect(inner, literals);
                }
            }
            _ => {}
        }
    }
}

fn is_plain(tokens: &[Token]) -> bool {
    tokens.iter().all(|token| match token {
        Token::Literal(..) => true,
        Token::Word(word, _) => PLAIN.contains(&word.as_str()) || word == "true" || word == "false",
        Token::Mark(mark, _, _) => "&-,.!;".contains(*mark),
        Token::Group(open, inner, _) => *open != '{' && is_plain(inner),
    })
}

fn holds_word(tokens: &[Token], word: &str) -> bool {
    tokens.iter().any(|token| match token {
        Token::Group(_, inner, _) => holds_word(inner, word),
        other => other.is_word(word),
    })
}

/// Another literal of the same kind.
pub(in crate::verify::attest) fn changed(text: &str, draw: &mut Draw) -> Option<String> {
    match text {
        "true" => return Some("false".to_owned()),
        "false" => return Some("true".to_owned()),
        _ => {}
    }
    if let Some(positive) = text.strip_prefix('-') {
        return changed(positive, draw).map(|text| format!("-{text}"));
    }
    if text.starts_with(['"', '\'']) || text.starts_with("b\"") {
        return changed_text(text, draw);
    }
    if text.starts_with("r\"") || text.starts_with("r#") {
        return changed_text(text, draw);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_' && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    if suffix.starts_with(['x', 'o', 'b', 'e', 'E']) {
        return None;
    }
    if let Ok(float) = number.replace('_', "").parse::<f64>()
        && (number.contains('.') || suffix.starts_with('f'))
    {
        let dot = if number.contains('.') { "" } else { ".0" };
        let added = format!("{}", float + 1.0 + f64::from(u8::try_from(draw.below(4)).unwrap_or(0)));
        let missing = if added.contains('.') || !dot.is_empty() { "" } else { ".0" };
        return Some(format!("{added}{missing}{suffix}"));
    }
    let number: u128 = number.replace('_', "").parse().ok()?;
    let edge = [127, 255, 32_767, 65_535, 2_147_483_647, 4_294_967_295].contains(&number) || number > 1 << 62;
    let other = if edge || (number > 1 && draw.coin()) { number - 1 } else { number + 1 };
    Some(format!("{other}{suffix}"))
}

/// A text with one letter or digit exchanged.
fn changed_text(text: &str, draw: &mut Draw) -> Option<String> {
    let open = text.find(['"', '\''])?;
    let close = text.rfind(['"', '\''])?;
    if text.contains("\\x") || text.contains("\\u") || close <= open {
        return None;
    }
    let inner = &text[open + 1..close];
    let bytes = inner.as_bytes();
    let fits = |at: &usize| bytes[*at].is_ascii_alphanumeric() && (*at == 0 || bytes[*at - 1] != b'\\');
    let places: Vec<usize> = (0..bytes.len()).filter(fits).collect();
    let Some(at) = draw.choose(&places).copied() else {
        // Nothing to exchange: something more, where that is one text still.
        let plain = text.starts_with('"');
        return plain.then(|| format!("{}a{}", &text[..close], &text[close..]));
    };
    let other = match bytes[at] {
        b'9' => '0',
        b'z' => 'b',
        b'Z' => 'B',
        byte => char::from(byte + 1),
    };
    Some(format!("{}{other}{}", &text[..open + 1 + at], &text[open + 2 + at..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::splice::Source;

    fn perturbed(body: &str) -> Vec<String> {
        let source = Source::read(&format!("fn t() {{ {body} }}")).unwrap();
        let tokens = source.pieces[0].inside.last().unwrap().group('{').unwrap().clone();
        let mut found = edits(&tokens, &mut Draw(7));
        found.sort_by_key(|(range, ..)| range.start);
        for (range, truth, other) in &found {
            assert!(source.text[range.clone()].replace(' ', "") == *truth && truth != other, "{truth}");
        }
        found.into_iter().map(|(_, truth, _)| truth).collect()
    }

    #[test]
    fn expected_literals_are_found_and_nothing_else() {
        let table = "assert_eq!(f(a), b);";
        let cases: &[(&str, &[&str])] = &[
            ("let x = 3; assert_eq!(f(x, 9), 1);", &["1"]),
            ("assert_eq!(255u8, f(\"a\"), \"message {}\", 3);", &["255u8"]),
            ("assert_eq!(f(), \"9\");", &["\"9\""]),
            ("assert_eq!(f(), Some(vec![false, true]));", &["false", "true"]),
            ("assert_eq!(f(), [0; 4]);", &["0"]),
            ("assert_eq!(f(), \"\");", &["\"\""]),
            ("assert_eq!(f(), - 3);", &["-3"]),
            ("assert!(f(2) == '9');", &["'9'"]),
            ("std::assert_eq!(f(), 1)", &["1"]),
            ("assert_eq!(f(), 1.0); ", &["1.0"]),
            // Tables.
            (&format!("for (a, b) in [(\"x\", 1), (\"y\", -2)] {{ {table} }}"), &["1", "-2"]),
            (&format!("let t = [(1, true)]; for (a, b) in t {{ {table} }}"), &["true"]),
            (
                &format!("let t: &[(u8, &str)] = &[(1, \"a\")]; for &(a, b) in t.iter() {{ {table} }}"),
                &["\"a\""],
            ),
            (&format!("for (a, b) in [(1, 2)] {{ if a > 1 {{ continue; }} {table} }}"), &[]),
            (&format!("for (a, b) in [(1, 2)] {{ let b = b + a; {table} }}"), &[]),
            (&format!("for (a, b) in [(1, 2)] {{ if a > 1 {{ {table} }} }}"), &[]),
            ("for (a, b) in [(1, 2)] { assert_eq!(f(a, b), b); }", &[]),
            ("for (a, b) in [(1, N)] { assert_eq!(f(a), b); }", &[]),
            ("for (a, b) in TABLE { assert_eq!(f(a), b); }", &[]),
            // What compares in its own way, is not always reached, or is no equality, is left alone.
            ("assert_eq!(f(), Name(\"a\"));", &[]),
            ("assert_eq!(f(\"1\"), f(\"2\"));", &[]),
            ("for i in 0..3 { assert_eq!(f(), 1); }", &[]),
            ("if x { return; } assert_eq!(f(), 1);", &[]),
            ("assert!(f() == 1 || g());", &[]),
            ("assert_ne!(f(), 1);", &[]),
            ("assert_eq!(f(), 0xff);", &[]),
        ];
        for (body, expected) in cases {
            assert_eq!(perturbed(body), *expected, "{body}");
        }
    }

    #[test]
    fn a_literal_becomes_another_of_its_kind() {
        for (text, expected) in
            [("1", "2"), ("255u8", "254u8"), ("\"9\"", "\"0\""), ("-1", "-2"), ("\"\"", "\"a\"")]
        {
            assert_eq!(changed(text, &mut Draw(7)).as_deref(), Some(expected), "{text}");
        }
        let float = changed("1.0", &mut Draw(7)).unwrap();
        assert!(float.ends_with(".0") && float != "1.0", "{float}");
        assert_eq!(changed("b\"\"", &mut Draw(7)), None);
    }
}
