//! Other values for literals, of the same kind and as natural, and never equal to the old ones: a letter for a
//! letter, a number nearby, one element of a list.

use std::ops::Range;

use tree_sitter::Node;

use super::{Draw, children, source};

/// A replacement of a part of the text by another value, or `None` where the node is no literal that can be changed.
pub fn change(node: Node<'_>, text: &str, draw: &mut Draw) -> Option<(Range<usize>, String)> {
    match node.kind() {
        "integer" | "float" | "number" => {
            number(source(node, text), draw).map(|changed| (node.byte_range(), changed))
        }
        "true" | "false" => Some((node.byte_range(), flipped(source(node, text))?.to_owned())),
        "string" => string(node, text, draw),
        "unary_operator" | "unary_expression" => {
            let operand = node.child_by_field_name("argument")?;
            let sign = source(node, text).starts_with(['-', '+']);
            (sign && matches!(operand.kind(), "integer" | "float" | "number"))
                .then(|| change(operand, text, draw))
                .flatten()
        }
        "parenthesized_expression" => change(*children(node).first()?, text, draw),
        "list" | "tuple" | "array" | "dictionary" | "object" | "set" => collection(node, text, draw),
        _ => None,
    }
}

/// Whether a node is a literal through and through.
pub fn is_literal(node: Node<'_>) -> bool {
    match node.kind() {
        "integer" | "float" | "number" | "true" | "false" | "none" | "null" => true,
        "string" => children(node).iter().all(|part| part.kind() != "interpolation"),
        "unary_operator" | "unary_expression" => node.child_by_field_name("argument").is_some_and(is_literal),
        "list" | "tuple" | "array" | "dictionary" | "object" | "set" | "parenthesized_expression" => {
            children(node).into_iter().all(is_literal)
        }
        "pair" => {
            let key = node.child_by_field_name("key");
            let plain = key.is_some_and(|key| key.kind() == "property_identifier" || is_literal(key));
            plain && node.child_by_field_name("value").is_some_and(is_literal)
        }
        _ => false,
    }
}

/// A whole or decimal number near the old one.
fn number(old: &str, draw: &mut Draw) -> Option<String> {
    // JavaScript's whole numbers without bounds.
    let (old, unit) = old.strip_suffix('n').map_or((old, ""), |digits| (digits, "n"));
    let (whole, rest) = old.split_at(old.find('.').unwrap_or(old.len()));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let leading = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty()
        || whole.len() > 15
        || leading
        || !plain(whole)
        || !plain(rest.strip_prefix('.').unwrap_or(""))
    {
        return None;
    }
    let value: u64 = whole.parse().ok()?;
    let step = 1 + draw.below(if value < 20 { 3 } else { 9 }) as u64;
    let new = if draw.coin() && value > step { value - step } else { value + step };
    Some(format!("{new}{rest}{unit}"))
}

fn flipped(word: &str) -> Option<&'static str> {
    Some(match word {
        "True" => "False",
        "False" => "True",
        "true" => "false",
        "false" => "true",
        _ => return None,
    })
}

/// A string with one letter or digit changed; an empty one gets a letter.
fn string(node: Node<'_>, text: &str, draw: &mut Draw) -> Option<(Range<usize>, String)> {
    let old = source(node, text);
    let open = old.find(['"', '\''])?;
    // f-strings and patterns are computed or read in ways of their own.
    if old[..open].contains(['f', 'F', 'r', 'R', 'u', 'U']) {
        return None;
    }
    let quote = if old[open..].starts_with("\"\"\"") || old[open..].starts_with("'''") { 3 } else { 1 };
    let range = node.start_byte() + open + quote..node.end_byte() - quote;
    let inner = &text[range.clone()];
    if inner.is_empty() {
        return (quote == 1).then(|| (range, letter(b'a', draw).to_string()));
    }
    let upto = inner.find('\\').unwrap_or(inner.len());
    let places: Vec<usize> = inner[..upto]
        .bytes()
        .enumerate()
        .filter(|(_, byte)| byte.is_ascii_alphanumeric())
        .map(|(at, _)| at)
        .collect();
    let at = *draw.choose(&places)?;
    let new = letter(inner.as_bytes()[at], draw);
    Some((range.start + at..range.start + at + 1, new.to_string()))
}

/// Another letter of the same case, or another digit.
fn letter(old: u8, draw: &mut Draw) -> char {
    let (first, many) = match old {
        b'a'..=b'z' => (b'a', 26),
        b'A'..=b'Z' => (b'A', 26),
        _ => (b'0', 10),
    };
    let step = 1 + draw.below(many - 1);
    let new = (usize::from(old - first) + step) % many;
    char::from(first + u8::try_from(new).unwrap_or(0))
}

/// One element of a collection changed.
fn collection(node: Node<'_>, text: &str, draw: &mut Draw) -> Option<(Range<usize>, String)> {
    let elements: Vec<Node<'_>> = children(node)
        .into_iter()
        .filter_map(
            |child| if child.kind() == "pair" { child.child_by_field_name("value") } else { Some(child) },
        )
        .collect();
    if elements.is_empty() {
        let old = source(node, text);
        let list = old.starts_with('[') && old.trim_end().ends_with(']');
        return list.then(|| (node.start_byte() + 1..node.start_byte() + 1, (1 + draw.below(9)).to_string()));
    }
    let first = draw.below(elements.len());
    (0..elements.len()).find_map(|step| change(elements[(first + step) % elements.len()], text, draw))
}
