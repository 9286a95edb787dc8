//! A wrong expected value: of one equality assertion that a test runs unconditionally, and one of whose sides is
//! a plain literal, the literal is changed to another of its kind. Where nothing of that sort can be found, the
//! test is left as it is.

use super::super::Draw;
use crate::toolchain::splice::{Edit, Token};

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

/// The change of one expected value in a test's body.
pub(super) fn edit(body: &[Token], draw: &mut Draw) -> Option<Edit> {
    if holds_word(body, "return") {
        // Whether the assertion is reached cannot be told.
        return None;
    }
    let mut found = Vec::new();
    for (at, token) in body.iter().enumerate() {
        let Some(arguments) = macro_at(body, at) else { continue };
        if token.is_word("assert_eq") {
            let mut sides = arguments.split(|token| token.is_mark(','));
            let (Some(left), Some(right)) = (sides.next(), sides.next()) else { continue };
            found.extend(candidate(left, right));
            found.extend(candidate(right, left));
        } else if token.is_word("assert") {
            found.extend(compared(arguments));
        }
    }
    let (range, text) = draw.choose(&found)?.clone();
    Some((range, changed(&text, draw)?))
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
fn compared(arguments: &[Token]) -> Option<Edit> {
    let end = arguments.iter().position(|token| token.is_mark(',')).unwrap_or(arguments.len());
    let condition = &arguments[..end];
    let joined = condition.iter().any(|token| token.is_mark('&') || token.is_mark('|') || token.is_mark('!'));
    let at = condition.windows(2).position(|two| two[0].is_mark('=') && two[1].is_mark('='))?;
    if joined { None } else { candidate(&condition[at + 2..], &condition[..at]) }
}

/// The literal of a side that is plain, where the other side is not.
fn candidate(side: &[Token], other: &[Token]) -> Option<Edit> {
    (is_plain(side) && !is_plain(other)).then_some(())?;
    let mut literals = Vec::new();
    collect(side, &mut literals);
    literals.pop()
}

fn collect(tokens: &[Token], literals: &mut Vec<Edit>) {
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Literal(text, range) => literals.push((range.clone(), text.clone())),
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
        let plain = text.starts_with('"') || text.starts_with("b\"");
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

    fn perturbed(body: &str) -> Option<String> {
        let source = Source::read(&format!("fn t() {{ {body} }}")).unwrap();
        let tokens = source.pieces[0].inside.last().unwrap().group('{').unwrap().clone();
        let (range, text) = edit(&tokens, &mut Draw(7))?;
        Some(format!("{} => {text}", &source.text[range]))
    }

    #[test]
    fn an_expected_literal_is_changed_and_nothing_else() {
        let cases = [
            ("let x = 3; assert_eq!(f(x, 9), 1);", Some("1 => 2")),
            ("assert_eq!(255u8, f(\"a\"), \"message {}\", 3);", Some("255u8 => 254u8")),
            ("assert_eq!(f(), \"9\");", Some("\"9\" => \"0\"")),
            ("assert_eq!(f(), Some(vec![false]));", Some("false => true")),
            ("assert_eq!(f(), [0; 4]);", Some("0 => 1")),
            ("assert_eq!(f(), \"\");", Some("\"\" => \"a\"")),
            ("assert!(f(2) == '9');", Some("'9' => '0'")),
            ("std::assert_eq!(f(), 1)", Some("1 => 2")),
            ("assert_eq!(f(), 1.0); ", Some("1.0 => 5.0")),
            // What compares in its own way, is not always reached, or is no equality, is left alone.
            ("assert_eq!(f(), Name(\"a\"));", None),
            ("assert_eq!(f(\"1\"), f(\"2\"));", None),
            ("for i in 0..3 { assert_eq!(f(), 1); }", None),
            ("if x { return; } assert_eq!(f(), 1);", None),
            ("assert!(f() == 1 || g());", None),
            ("assert_ne!(f(), 1);", None),
            ("assert_eq!(f(), 0xff);", None),
        ];
        for (body, expected) in cases {
            let found = perturbed(body);
            let expected = expected.map(str::to_owned);
            if expected.as_deref() == Some("1.0 => 5.0") {
                assert!(found.is_some_and(|text| text.starts_with("1.0 => ") && text.ends_with(".0")));
            } else {
                assert_eq!(found, expected, "{body}");
            }
        }
    }
}
