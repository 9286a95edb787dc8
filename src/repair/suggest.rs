//! A fix is an edit that a tool offers for one error, and this module turns offers into changed files. Which
//! fixes to try together, and what the compiler thinks of the result, is `search`'s work.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use crate::diagnostic::{Applicability, Diagnostic, Replacement, Severity, Suggestion};
use crate::patch::{File, RepoPath};
use crate::text;

/// Replacements that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Fix {
    /// All of them or none.
    pub parts: Vec<Replacement>,
    /// Whether the tool says that it is what was meant, and offers nothing else.
    pub sure: bool,
    /// What it is for, on one line.
    pub why: String,
}

/// The fixes for one error, of which at most one is meant, likeliest first: as sure as the tool is, then as
/// `prefer` has it, then the smallest. What holds a gap for people to fill in is left out.
pub fn fixes(diagnostic: &Diagnostic, prefer: &RegexSet) -> Vec<Fix> {
    let mut found: Vec<((Applicability, usize, usize), Fix)> = Vec::new();
    for suggestion in &diagnostic.suggestions {
        let known = found.iter().any(|(_, fix)| fix.parts == suggestion.parts);
        if !known && !has_gap(&suggestion.parts) {
            let fix = Fix {
                parts: suggestion.parts.clone(),
                sure: suggestion.applicability == Applicability::MachineApplicable,
                why: why(diagnostic, suggestion),
            };
            found.push(((suggestion.applicability, favour(&fix, prefer), size(&fix)), fix));
        }
    }
    found.sort_by_key(|(key, _)| *key);
    let mut fixes: Vec<Fix> = found.into_iter().map(|(_, fix)| fix).collect();
    if fixes.iter().filter(|fix| fix.sure).count() > 1 {
        for fix in &mut fixes {
            fix.sure = false;
        }
    }
    fixes
}

/// The errors among `diagnostics`, each place and code once: rustc reports the same error for a library and for
/// its tests, in words that differ.
pub fn errors(diagnostics: &[Diagnostic]) -> Vec<&Diagnostic> {
    let mut kept: Vec<&Diagnostic> = Vec::new();
    for diagnostic in diagnostics {
        let same = |known: &&Diagnostic| {
            known.code == diagnostic.code
                && known.location == diagnostic.location
                && (known.message == diagnostic.message || !known.code.is_empty() && known.location.is_some())
        };
        if diagnostic.severity == Severity::Error && !kept.iter().any(same) {
            kept.push(diagnostic);
        }
    }
    kept
}

/// What came of applying fixes.
#[derive(Debug, Default, PartialEq)]
pub struct Applied {
    /// The changed files.
    pub files: BTreeMap<RepoPath, File>,
    /// Which of the fixes changed something; the others clash with one before them or repeat it.
    pub fixes: Vec<usize>,
}

/// Applies the fixes that can be applied together, in order. `read` gives a file that may be edited.
pub fn apply(fixes: &[&Fix], read: &dyn Fn(&RepoPath) -> Option<File>) -> Applied {
    let mut touched: BTreeMap<RepoPath, (File, Vec<&Replacement>)> = BTreeMap::new();
    let mut used = Vec::new();
    for (index, fix) in fixes.iter().enumerate() {
        if let Some(parts) = fits(fix, &mut touched, read)
            && !parts.is_empty()
        {
            for (path, part) in parts {
                if let Some((_, accepted)) = touched.get_mut(&path) {
                    accepted.push(part);
                }
            }
            used.push(index);
        }
    }
    let changed = touched.into_iter().filter_map(|(path, (file, parts))| {
        let content = splice(&file.content, parts);
        (content != file.content).then_some((path, File { content, ..file }))
    });
    Applied { files: changed.collect(), fixes: used }
}

/// The parts of a fix that are not applied already; `None` when it clashes or lies outside what may be edited.
fn fits<'a>(
    fix: &'a Fix,
    touched: &mut BTreeMap<RepoPath, (File, Vec<&'a Replacement>)>,
    read: &dyn Fn(&RepoPath) -> Option<File>,
) -> Option<Vec<(RepoPath, &'a Replacement)>> {
    let mut fresh: Vec<(RepoPath, &Replacement)> = Vec::new();
    for part in &fix.parts {
        let path = RepoPath::new(&part.file).ok()?;
        if !touched.contains_key(&path) {
            touched.insert(path.clone(), (read(&path)?, Vec::new()));
        }
        let (file, accepted) = &touched[&path];
        let own = fresh.iter().filter(|(known, _)| *known == path).map(|(_, part)| *part);
        let mut others = accepted.iter().copied().chain(own);
        if !stands(part, &file.content) || others.clone().any(|other| clash(part, other)) {
            return None;
        }
        if !others.any(|other| other == part) {
            fresh.push((path, part));
        }
    }
    Some(fresh)
}

/// Whether the range lies in the file and cuts no character.
fn stands(part: &Replacement, content: &[u8]) -> bool {
    let boundary = |at: usize| content.get(at).is_none_or(|byte| byte & 0xC0 != 0x80);
    part.start <= part.end && part.end <= content.len() && boundary(part.start) && boundary(part.end)
}

/// Whether two replacements in one file cannot both be meant. Whole lines at one place can: imports.
fn clash(a: &Replacement, b: &Replacement) -> bool {
    let lines = a.text.ends_with('\n') && b.text.ends_with('\n');
    let inserts = a.start == a.end && b.start == b.end;
    if a == b || inserts && lines {
        return false;
    }
    let same_place = a.start == b.start && a.end == b.end;
    same_place || a.start < b.end && b.start < a.end
}

/// Replaces the parts, which do not overlap, in `content`.
fn splice(content: &[u8], mut parts: Vec<&Replacement>) -> Vec<u8> {
    let crlf = content.windows(2).any(|pair| pair == b"\r\n");
    // What is inserted where a replacement begins comes before it.
    parts.sort_by_key(|part| (part.start, part.end));
    let mut spliced = Vec::with_capacity(content.len() + 256);
    let mut done = 0;
    for group in parts.chunk_by(|a, b| (a.start, a.end) == (b.start, b.end)) {
        let Some(Replacement { start, end, .. }) = group.first() else {
            continue;
        };
        spliced.extend_from_slice(&content[done..*start]);
        done = *end;
        let mut text = text_of(group);
        if start == end && text.ends_with('\n') {
            text.push_str(indentation(&content[..*start]));
        }
        if crlf {
            text = text.replace("\r\n", "\n").replace('\n', "\r\n");
        }
        spliced.extend_from_slice(text.as_bytes());
    }
    spliced.extend_from_slice(&content[done..]);
    spliced
}

/// The text of parts at one place. Of lines that are each followed by an empty one, only the last is.
fn text_of(group: &[&Replacement]) -> String {
    let mut text = String::new();
    let mut gap = "";
    for part in group {
        match part.text.strip_suffix("\n\n").filter(|_| group.len() > 1) {
            Some(line) => {
                gap = "\n";
                text.push_str(line);
                text.push('\n');
            }
            None => text.push_str(&part.text),
        }
    }
    text + gap
}

/// The blanks of the line that `before` ends in, if there is nothing else in it: a line that is inserted after
/// them takes them from its successor.
fn indentation(before: &[u8]) -> &str {
    let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = std::str::from_utf8(&before[begin..]).unwrap_or_default();
    if line.trim().is_empty() { line } else { "" }
}

/// Whether the text holds a place for people to fill in: `/* value */`, `todo!()`, `Vec<_>`.
fn has_gap(parts: &[Replacement]) -> bool {
    static GAP: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"/\*|\b(todo|unimplemented)!|\.\.\.|(^|[<,:(&]\s*)_([>,);\s]|$)")
            .expect("the pattern is a literal")
    });
    parts.iter().any(|part| GAP.is_match(&part.text))
}

/// How early a fix comes in the order of preference.
fn favour(fix: &Fix, prefer: &RegexSet) -> usize {
    let best = |part: &Replacement| prefer.matches(&part.text).iter().next().unwrap_or(prefer.len());
    fix.parts.iter().map(best).min().unwrap_or(prefer.len())
}

fn size(fix: &Fix) -> usize {
    fix.parts
        .iter()
        .map(|part| part.text.len() + part.end.saturating_sub(part.start))
        .fold(0, usize::saturating_add)
}

fn why(diagnostic: &Diagnostic, suggestion: &Suggestion) -> String {
    let place = diagnostic.location.as_ref().map_or(String::new(), |at| format!("{at}: "));
    let texts: Vec<String> = suggestion.parts.iter().map(|part| text::one_line(&part.text)).collect();
    let line = format!(
        "{place}{}: {}: `{}`",
        diagnostic.message.lines().next().unwrap_or_default(),
        suggestion.message,
        texts.join("` … `")
    );
    text::one_line(&text::clip(&line, 400))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(parts: &[(usize, usize, &str)]) -> Fix {
        let part = |(start, end, text): &(usize, usize, &str)| Replacement {
            file: "a.rs".into(),
            start: *start,
            end: *end,
            text: (*text).into(),
        };
        Fix { parts: parts.iter().map(part).collect(), sure: true, why: String::new() }
    }

    /// Asserts what becomes of `text` when `fixes` are applied, and which of them counted.
    fn check(text: &str, fixes: &[&[(usize, usize, &str)]], expected: &str, counted: &[usize]) {
        let fixes: Vec<Fix> = fixes.iter().map(|parts| fix(parts)).collect();
        let fixes: Vec<&Fix> = fixes.iter().collect();
        let applied = apply(&fixes, &|_| Some(File::plain(text)));
        let after = applied.files.values().next().map_or(text.as_bytes(), |file| &file.content);
        assert_eq!(String::from_utf8_lossy(after), expected);
        assert_eq!(applied.fixes, counted, "{text:?}");
    }

    #[test]
    fn fixes_are_applied_together_where_they_can_be() {
        check("let a = b;", &[&[(4, 4, "mut ")], &[(8, 9, "&b")]], "let mut a = &b;", &[0, 1]);
        // The library and its tests: the same words twice.
        check("let a = b;", &[&[(4, 4, "mut ")], &[(4, 4, "mut ")]], "let mut a = b;", &[0]);
        // One fix has a part that another one brought, and a part of its own.
        check("f(a)", &[&[(2, 2, "&")], &[(2, 2, "&"), (3, 3, ".b")]], "f(&a.b)", &[0, 1]);
        check("f(abc)", &[&[(2, 4, "x")], &[(3, 5, "y")]], "f(xc)", &[0]);
        check("f(abc)", &[&[(2, 5, "x")], &[(2, 5, "y")]], "f(x)", &[0]);
        check("f(abc)", &[&[(2, 5, "x")], &[(2, 2, "&")], &[(5, 5, "?")]], "f(&x?)", &[0, 1, 2]);
        check("f(abc)", &[&[(2, 5, "x")], &[(3, 3, "&")]], "f(x)", &[0]);
        check("f(a)", &[&[(2, 2, "&")], &[(2, 2, "*")]], "f(&a)", &[0]);
        // All or none of a fix's parts.
        check("f(a, b)", &[&[(2, 3, "x")], &[(5, 6, "y"), (2, 3, "z")]], "f(x, b)", &[0]);
    }

    #[test]
    fn lines_inserted_at_one_place_follow_each_other_and_keep_the_indentation() {
        check("m\n", &[&[(0, 0, "use a;\n")], &[(0, 0, "use b;\n")]], "use a;\nuse b;\nm\n", &[0, 1]);
        check("{\n    x\n", &[&[(6, 6, "use a;\n")]], "{\n    use a;\n    x\n", &[0]);
        check("{\n    x\n", &[&[(2, 2, "use a;\n")]], "{\nuse a;\n    x\n", &[0]);
    }

    #[test]
    fn line_breaks_stay_as_the_file_has_them() {
        check("a\r\nb\r\n", &[&[(3, 3, "x\n\n")]], "a\r\nx\r\n\r\nb\r\n", &[0]);
        check("a\nb\n", &[&[(2, 2, "x\n")]], "a\nx\nb\n", &[0]);
    }

    #[test]
    fn what_cuts_a_character_or_leaves_the_file_is_not_applied() {
        check("é", &[&[(1, 1, "x")]], "é", &[]);
        check("é", &[&[(2, 2, "x")]], "éx", &[0]);
        check("é", &[&[(2, 3, "x")]], "é", &[]);
        check("ab", &[&[(1, 0, "x")]], "ab", &[]);
        check("ab", &[&[(usize::MAX, usize::MAX, "x")]], "ab", &[]);
        let outside = Fix {
            parts: vec![Replacement { file: "../a".into(), start: 0, end: 0, text: "x".into() }],
            ..fix(&[])
        };
        assert_eq!(apply(&[&outside], &|_| Some(File::plain("a"))), Applied::default());
        assert_eq!(apply(&[&fix(&[(0, 0, "x")])], &|_| None), Applied::default());
    }

    fn offer(applicability: Applicability, parts: &[(usize, usize, &str)]) -> Suggestion {
        Suggestion { message: String::new(), applicability, parts: fix(parts).parts }
    }

    #[test]
    fn alternatives_are_told_apart_and_the_likeliest_comes_first() {
        use Applicability::{MachineApplicable, MaybeIncorrect};
        let mut error = Diagnostic::error(None, "error");
        error.suggestions = vec![
            offer(MaybeIncorrect, &[(0, 0, "use core::A;\n")]),
            offer(MaybeIncorrect, &[(0, 0, "use std::long::A;\n")]),
            offer(MaybeIncorrect, &[(0, 0, "use b::A;\n")]),
            offer(MaybeIncorrect, &[(3, 3, "["), (9, 9, "]")]),
            offer(MachineApplicable, &[(3, 3, "&"), (9, 9, "*")]),
            offer(MachineApplicable, &[(5, 5, "/* value */")]),
            offer(MachineApplicable, &[(5, 5, "Vec<_>")]),
            offer(MaybeIncorrect, &[(5, 5, "A<'_>")]),
        ];
        let prefer = RegexSet::new(["^use std::"]).unwrap();
        let fixes = fixes(&error, &prefer);
        let texts: Vec<Vec<&str>> =
            fixes.iter().map(|fix| fix.parts.iter().map(|part| part.text.as_str()).collect()).collect();
        let expected: [&[&str]; 6] = [
            &["&", "*"],
            &["use std::long::A;\n"],
            &["[", "]"],
            &["A<'_>"],
            &["use b::A;\n"],
            &["use core::A;\n"],
        ];
        assert_eq!(texts, expected);
        assert!(fixes[0].sure && !fixes[1].sure);
    }
}
