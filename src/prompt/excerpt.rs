//! Excerpts of source in any language. Nothing is parsed: a block is what its indentation says, which holds for
//! all code that was formatted by people or tools, and a definition is a line that names its subject after a
//! word such as `def` or before a parenthesis.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

/// Words after which the next word is being defined.
const DEFINING: [&str; 22] = [
    "def",
    "class",
    "fn",
    "func",
    "function",
    "struct",
    "enum",
    "trait",
    "interface",
    "type",
    "const",
    "static",
    "let",
    "var",
    "sub",
    "module",
    "macro_rules",
    "record",
    "union",
    "impl",
    "object",
    "namespace",
];

/// Words that stand before a parenthesis and define nothing.
const CONTROL: [&str; 12] =
    ["if", "for", "while", "switch", "return", "catch", "match", "elif", "else", "assert", "new", "in"];

/// Lines that a block may have before it counts as too long to show.
const LONGEST: usize = 120;

/// The words of a text that could be names.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter(|word| word.len() > 1 && !word.starts_with(|c: char| c.is_ascii_digit()))
}

/// The words that names are made of, in lower case and without a plural's s: `routesOf_X` says route and of.
pub(super) fn subwords(text: &str) -> impl Iterator<Item = String> {
    names(text).flat_map(|name| name.split('_')).flat_map(humps).filter(|word| word.len() > 2).map(|word| {
        let word = word.to_lowercase();
        match word.strip_suffix('s') {
            Some(single) if single.len() > 2 && !single.ends_with('s') => single.to_owned(),
            _ => word,
        }
    })
}

/// The parts of a name in camel case.
fn humps(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let mut chars = rest.char_indices();
        let mut lower = chars.next()?.1.is_lowercase();
        let next = chars.find(|(_, c)| std::mem::replace(&mut lower, c.is_lowercase()) && c.is_uppercase());
        let (hump, left) = rest.split_at(next.map_or(rest.len(), |(at, _)| at));
        rest = left;
        Some(hump)
    })
}

/// The names that a line defines.
pub(super) fn defined(line: &str) -> Vec<&str> {
    let code = line.trim_start();
    if code.starts_with(['#', '*', '/']) && !code.starts_with("#define") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut words = names(code).take(12).peekable();
    while let Some(word) = words.next() {
        if DEFINING.contains(&word) || word == "define" {
            found.extend(words.peek().copied());
        }
    }
    let call = code.split('(').next().unwrap_or_default();
    let opens = code.ends_with('{') || code.ends_with(')') || code.ends_with(',') || code.ends_with('(');
    if call.len() < code.len() && opens && !code.ends_with(");") {
        // `int parse(const char *text)`: a word before the name tells a definition from a call.
        let mut head = names(call);
        let last = head.by_ref().last();
        let typed = call.trim_end().contains([' ', '*']) || code.ends_with('{');
        found.extend(last.filter(|name| typed && call.ends_with(name) && !CONTROL.contains(name)));
    }
    if found.is_empty() && indent(line) == 0 {
        // A constant of Python, a function that is assigned in JavaScript.
        let (name, value) = code.split_once('=').unwrap_or_default();
        let name = name.trim().rsplit('.').next().unwrap_or_default();
        found.extend(names(name).next().filter(|first| *first == name && !value.starts_with('=')));
    }
    found
}

/// The line that defines `name`, or else the first that holds it as a whole word.
pub(super) fn line_of(lines: &[&str], name: &str) -> Option<usize> {
    let defines = |line: &&str| defined(line).contains(&name);
    lines.iter().position(defines).or_else(|| lines.iter().position(|line| holds(line, name)))
}

/// Whether `name` stands in `line`, not as a part of a longer word.
pub(super) fn holds(line: &str, name: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    let whole = |(at, _): (usize, &str)| {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        !before.ends_with(inner) && !after.starts_with(inner)
    };
    line.match_indices(name).any(whole)
}

/// The block that begins at a line, with the attributes, decorators and comments that stand directly above.
/// It goes on while lines are indented more deeply, blank, closing brackets, or the rest of a long head.
pub(super) fn block(lines: &[&str], at: usize) -> Range<usize> {
    let depth = indent(lines[at]);
    let above = lines[..at].iter().rev().take(30);
    let attached = above.take_while(|line| !line.trim().is_empty() && belongs(line, depth)).count();
    let mut end = at + 1;
    for (index, line) in lines.iter().enumerate().skip(at + 1).take(LONGEST) {
        let code = line.trim();
        if code.is_empty() {
            continue;
        }
        if indent(line) > depth {
            end = index + 1;
            continue;
        }
        let closes = code.starts_with(['}', ')', ']', '{']) || code == "end";
        if indent(line) < depth || !closes {
            break;
        }
        end = index + 1;
        if !code.ends_with(['{', ':', '(', '[']) {
            break;
        }
    }
    at - attached..end
}

/// Whether a line above a head belongs to it.
fn belongs(line: &str, depth: usize) -> bool {
    let code = line.trim();
    let marks =
        code.starts_with(['@', '#', '*', ')', ']']) || code.starts_with("//") || code.starts_with("/*");
    indent(line) > depth || (indent(line) == depth && marks)
}

/// The block around a line: that of the nearest line above that defines something and is indented less.
pub(super) fn around(lines: &[&str], at: usize) -> Range<usize> {
    if !defined(lines[at]).is_empty() && !lines[at].trim_end().ends_with(';') {
        let own = block(lines, at);
        if own.len() > 2 {
            return own;
        }
    }
    let mut depth = indent(lines[at]);
    for above in (at.saturating_sub(LONGEST)..at).rev() {
        let line = lines[above];
        if line.trim().is_empty() || indent(line) >= depth {
            continue;
        }
        depth = indent(line);
        let block = block(lines, above);
        if !defined(line).is_empty() && block.contains(&at) {
            return block;
        }
    }
    near(lines, at, 10)
}

/// The lines around a line.
pub(super) fn near(lines: &[&str], at: usize, reach: usize) -> Range<usize> {
    at.saturating_sub(reach)..(at + reach + 1).min(lines.len())
}

/// The lines of all `ranges`, and a note wherever lines are left out.
pub(super) fn pieces(lines: &[&str], mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_by_key(|range| range.start);
    let mut text = String::new();
    let mut next = 0;
    let skip = |text: &mut String, from: usize, to: usize| {
        // A note about a line or two would be longer than they are.
        if to - from > 2 {
            let _ = writeln!(text, "[lines {} to {to} are not shown]", from + 1);
        } else {
            lines[from..to].iter().for_each(|line| push(text, line));
        }
    };
    for range in ranges {
        let start = range.start.max(next);
        if range.end <= start {
            continue;
        }
        skip(&mut text, next, start);
        lines[start..range.end].iter().for_each(|line| push(&mut text, line));
        next = range.end;
    }
    skip(&mut text, next, lines.len());
    text
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// The lines before the first definition of a function or type that import something.
pub(super) fn imports(lines: &[&str]) -> Range<usize> {
    let words =
        ["import", "from", "use", "#include", "require", "const", "package", "mod", "pub use", "using"];
    let import = |line: &str| words.iter().any(|word| line.starts_with(word));
    let head = &lines[..lines.len().min(40)];
    match (head.iter().position(|line| import(line)), head.iter().rposition(|line| import(line))) {
        (Some(first), Some(last)) => first..last + 1,
        _ => 0..0,
    }
}

/// The names of a text, once each.
pub(super) fn names_once(text: &str, most: usize) -> BTreeSet<&str> {
    let mut once = BTreeSet::new();
    for name in names(text) {
        if once.len() == most {
            break;
        }
        once.insert(name);
    }
    once
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|c| c.is_whitespace()).map(|c| if c == '\t' { 4 } else { 1 }).sum()
}
