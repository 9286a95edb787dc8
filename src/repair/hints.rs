//! Hints are what failing tests and the statement say in words: places, names, constants.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::mutate::Hints;
use crate::diagnostic::Location;
use crate::patch::RepoPath;
use crate::propose::Ask;
use crate::verdict::TestId;

/// Constants of each kind that are tried.
const CONSTANTS: usize = 12;

/// Lines of what was said and expected.
const SAID: usize = 60;

/// Lines of a failing test that are read for names.
const LINES: usize = 60;

static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|[^\w.])(-?\d{1,12}(?:\.\d{1,8})?)\b").expect("the pattern is a literal")
});

static STRING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"'([^'\\\n]{1,24})'|"([^"\\\n]{1,24})""#).expect("the pattern is a literal")
});

/// A text, which may hold the other kind of quote.
static TEXT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"'((?:[^'\\]|\\.){0,200})'|"((?:[^"\\]|\\.){0,200})"|`([^`]{0,200})`"#)
        .expect("the pattern is a literal")
});

/// A line of a comparison line by line, or what an error says.
static COMPARED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:E\s+)?(?:[-+]\s+|\w+(?:Error|Exception): )(.{4,200})$")
        .expect("the pattern is a literal")
});

static ABSENT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        "NoneType|of (undefined|null)|is (undefined|null)|nil pointer|`None` value|NullPointerException",
    )
    .expect("the pattern is a literal")
});

static OVERFLOW: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("(?i)with overflow|integer overflow|(int|long) overflow|out of range integral")
        .expect("the pattern is a literal")
});

static NOT_RAISED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        "(?i)did not raise|not raised|did not throw|missing expected (exception|rejection)|to be thrown",
    )
    .expect("the pattern is a literal")
});

static LACKING: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"has no attribute '(\w{1,60})'").expect("the pattern is a literal"));

static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[A-Za-z_]\w{1,60}").expect("the pattern is a literal"));

/// Frames of failing tests, innermost first, and the names that stand in those tests and their messages.
pub fn places(ask: &Ask<'_>, failing: &[&TestId]) -> (Vec<Location>, BTreeSet<String>) {
    let (mut frames, mut names) = (Vec::new(), BTreeSet::new());
    for test in failing.iter().filter_map(|id| ask.baseline.run.tests.get(*id)).take(20) {
        for frame in &test.frames {
            if !frames.contains(frame) && frames.len() < 100 {
                frames.push(frame.clone());
            }
        }
        names.extend(words(&test.message));
        names.extend(words(&test.id));
        for place in test.location.iter().chain(test.frames.last()) {
            names.extend(around(ask, place).iter().flat_map(|line| words(line)));
        }
    }
    (frames, names)
}

/// The names in a text.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    WORD.find_iter(text).map(|word| word.as_str().to_owned())
}

/// The lines of a test from where it stands.
fn around(ask: &Ask<'_>, place: &Location) -> Vec<String> {
    let file =
        RepoPath::new(&place.file).ok().and_then(|path| ask.verifier.workshop.snapshot.file(&path).ok()?);
    let Some(file) = file else { return Vec::new() };
    let text = String::from_utf8_lossy(&file.content);
    let first = usize::try_from(place.line).unwrap_or(0).saturating_sub(10);
    text.lines().skip(first).take(LINES).map(str::to_owned).collect()
}

/// Constants that stand in the messages of failing tests and in the statement.
pub fn constants(ask: &Ask<'_>, failing: &[&TestId]) -> Hints {
    let messages = failing.iter().filter_map(|id| ask.baseline.run.tests.get(*id)).take(10);
    let mut texts: Vec<&str> = messages.map(|test| test.message.as_str()).collect();
    texts.extend(ask.verifier.task.statement.as_deref());
    let absent = texts.iter().any(|text| ABSENT.is_match(text));
    let overflow = texts.iter().any(|text| OVERFLOW.is_match(text));
    let mut hints = Hints { absent, overflow, ..Hints::default() };
    for line in texts.iter().flat_map(|text| text.lines()).filter(|line| line.len() < 400) {
        if NOT_RAISED.is_match(line) {
            let types = words(line).filter(|word| word.ends_with("Error") || word.ends_with("Exception"));
            hints.missing.extend(types.filter(|word| word != "AssertionError"));
        }
        for found in LACKING.captures_iter(line).filter_map(|found| found.get(1)).take(CONSTANTS) {
            hints.lacking.insert(found.as_str().to_owned());
        }
        for text in said(line) {
            keep(&mut hints.said, text, SAID);
        }
        for number in NUMBER.captures_iter(line).filter_map(|found| found.get(1)) {
            keep(&mut hints.numbers, number.as_str(), CONSTANTS);
        }
        for found in STRING.captures_iter(line) {
            if let Some(text) = found.get(1).or_else(|| found.get(2)) {
                keep(&mut hints.strings, text.as_str(), CONSTANTS);
            }
        }
    }
    hints
}

/// The texts of some length in a line of a message: what is quoted, what is compared line by line, what an error says.
fn said(line: &str) -> Vec<&str> {
    let texts = TEXT.captures_iter(line).chain(COMPARED.captures(line.trim()));
    let texts = texts.filter_map(|found| found.iter().flatten().nth(1)).map(|found| found.as_str());
    // Line breaks may be written out.
    texts.flat_map(|text| text.split("\\n")).filter(|text| text.len() >= 4).collect()
}

fn keep(list: &mut Vec<String>, text: &str, most: usize) {
    if list.len() < most && !list.iter().any(|known| known == text) {
        list.push(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_and_expected_is_read_from_messages() {
        for (line, texts) in [
            ("assert 'no' == 'none given'", &["none given"][..]),
            (
                r#"E       assert "Key 'a' error:\nMore" == 'Key a error:'"#,
                &["Key 'a' error:", "More", "Key a error:"],
            ),
            (r#"expected: "it's", actual: `ten of it`"#, &["it's", "ten of it"]),
            ("E         - one more", &["one more"]),
            ("+ one less", &["one less"]),
            ("E   ValueError: a is too small", &["a is too small"]),
            ("expected 3, found 4", &[]),
        ] {
            assert_eq!(said(line), texts, "{line}");
        }
    }
}
