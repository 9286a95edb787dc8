//! Text from a repository, a model or a test is hostile: this module makes it safe to show and bounds it.
//! It does not decide what is worth showing.

use std::borrow::Cow;

/// Makes text safe for a terminal: control characters (escape sequences, carriage returns, bidirectional
/// overrides) become visible escapes; newlines and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hostile(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// [`printable`], on one line.
pub fn one_line(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_hostile(c: char) -> bool {
    let bidirectional =
        matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    (c.is_control() && c != '\n' && c != '\t') || bidirectional
}

/// Keeps the head and the tail of `text` within about `limit` bytes and says how much was left out.
pub fn clip(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let head = floor(text, limit / 2);
    let tail = ceil(text, text.len() - (limit - limit / 2));
    Cow::Owned(format!("{}\n[… {} bytes left out …]\n{}", &text[..head], tail - head, &text[tail..]))
}

/// The last character boundary at or before `at`.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The first character boundary at or after `at`.
fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// Joins words for people: `a, b and 3 more`.
pub fn list<S: AsRef<str>>(words: &[S], most: usize) -> String {
    let shown = words.iter().take(most).map(|word| one_line(word.as_ref())).collect::<Vec<_>>().join(", ");
    match words.len().saturating_sub(most) {
        0 => shown,
        rest => format!("{shown} and {rest} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_become_visible() {
        assert_eq!(printable("a\x1b[2Jb\r\nc\u{202e}"), "a\\u{1b}[2Jb\\u{d}\nc\\u{202e}");
        assert_eq!(one_line("a\n\tb"), "a b");
    }

    #[test]
    fn clipping_keeps_head_and_tail_on_character_boundaries() {
        let text = "é".repeat(100);
        let clipped = clip(&text, 21);
        assert!(clipped.starts_with("éé") && clipped.ends_with("éé"), "{clipped}");
        assert!(clipped.contains("bytes left out"));
        assert_eq!(clip("short", 10), "short");
    }

    #[test]
    fn lists_say_what_they_leave_out() {
        assert_eq!(list(&["a", "b", "c"], 2), "a, b and 1 more");
        assert_eq!(list(&["a"], 2), "a");
    }
}
