//! A block is one edit as a reply words it. This file finds the blocks; whether they fit a file is not asked.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Fault;
use crate::patch::FileKind;

/// Blocks that a reply may have.
const MOST: usize = 10_000;

/// Lines of prose that are looked up as paths of the base.
const LOOKUPS: usize = 1000;

/// One edit.
#[derive(Debug, PartialEq)]
pub(super) struct Block<'r> {
    /// The path, as the reply gives it; empty when it gives none.
    pub path: Cow<'r, str>,
    /// What is asked for.
    pub ask: Ask<'r>,
}

/// What a block asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Ask<'r> {
    Change(Change<'r>),
    Create { lines: Vec<&'r str>, kind: Option<FileKind>, newline: bool },
    Kind(FileKind),
    Delete,
    Rename(Cow<'r, str>),
    Broken(Fault),
}

/// Lines that are to become others.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Change<'r> {
    pub old: Vec<&'r str>,
    pub new: Vec<&'r str>,
    /// The line of the base at which a diff says that `old` begins.
    pub line: Option<usize>,
    /// Whether the file ends with a newline afterwards, where a diff says so.
    pub newline: Option<bool>,
}

/// The blocks of a reply, in order. `exists` says whether the base has a file.
pub(super) fn blocks<'r>(reply: &'r str, exists: &dyn Fn(&str) -> bool) -> Vec<Block<'r>> {
    let lines: Vec<&str> = reply.lines().collect();
    let mut reader =
        Reader { lines, at: 0, after: 0, path: None, blocks: Vec::new(), exists, known: HashMap::new() };
    while reader.at < reader.lines.len() {
        if reader.blocks.len() >= MOST {
            reader.push("", Ask::Broken(Fault::TooMuch));
            break;
        }
        reader.step();
    }
    reader.blocks
}

struct Reader<'r, 'e> {
    lines: Vec<&'r str>,
    at: usize,
    /// The line after the last block.
    after: usize,
    /// The path that was named last.
    path: Option<&'r str>,
    blocks: Vec<Block<'r>>,
    exists: &'e dyn Fn(&str) -> bool,
    known: HashMap<&'r str, bool>,
}

impl<'r> Reader<'r, '_> {
    fn step(&mut self) {
        let line = self.lines[self.at];
        if let Some(marker) = Marker::opening(line) {
            self.search_replace(marker);
        } else if self.diff_begins() {
            self.diff();
        } else if let Some(path) = directive(line, &["*** Delete:", "*** Delete File:"]) {
            self.at += 1;
            self.path = None;
            self.push(undecorated(path), Ask::Delete);
        } else if let Some(paths) = directive(line, &["*** Rename:", "*** Rename File:"]) {
            self.at += 1;
            self.rename(paths);
        } else {
            let path = undecorated(line);
            if looks_like_a_path(path) && self.exists(path) {
                self.path = Some(path);
            }
            self.at += 1;
            return;
        }
        self.after = self.at;
    }

    fn push(&mut self, path: impl Into<Cow<'r, str>>, ask: Ask<'r>) {
        self.blocks.push(Block { path: path.into(), ask });
    }

    fn line(&self, at: usize) -> Option<&'r str> {
        self.lines.get(at).copied()
    }

    fn exists(&mut self, path: &'r str) -> bool {
        let room = self.known.len() < LOOKUPS;
        let exists = self.exists;
        match self.known.get(path) {
            Some(known) => *known,
            None if room => *self.known.entry(path).or_insert_with(|| exists(path)),
            None => false,
        }
    }

    fn rename(&mut self, paths: &'r str) {
        match paths.split_once(" -> ").map(|(old, new)| (undecorated(old), undecorated(new))) {
            Some((old, new)) if !old.is_empty() && !new.is_empty() => {
                self.path = Some(new);
                self.push(old, Ask::Rename(new.into()));
            }
            _ => {
                self.push("", Ask::Broken(Fault::BadPath("a rename is `*** Rename: old -> new`".to_owned())));
            }
        }
    }

    /// Reads the block whose opening marker is at hand.
    fn search_replace(&mut self, marker: Marker) {
        let begin = self.at + 1;
        self.path = self.heading().or(self.path);
        let path = self.path.unwrap_or_default();
        let Some(end) = self.end(marker, begin) else {
            // What follows may be a whole block: a reply that forgot one marker does not lose the others.
            self.at = (begin..self.lines.len())
                .find(|at| Marker::opening(self.lines[*at]).is_some())
                .unwrap_or(self.lines.len());
            self.push(path, Ask::Broken(Fault::Unfinished));
            return;
        };
        self.at = end + 1;
        let ask = match self.divider(marker, begin, end) {
            Ok(divider) => Ask::Change(Change {
                old: self.unindented(marker, begin, divider),
                new: self.unindented(marker, divider + 1, end),
                ..Change::default()
            }),
            Err(fault) => Ask::Broken(fault),
        };
        self.push(path, ask);
    }

    /// The closing marker: of the opening's length, or else of any, but not beyond the next opening marker.
    fn end(&self, marker: Marker, begin: usize) -> Option<usize> {
        let search = |fits: &dyn Fn(Marker) -> bool| {
            for (at, line) in self.lines.iter().enumerate().skip(begin) {
                if Marker::closing(line).is_some_and(fits) {
                    return Some(at);
                }
                if Marker::opening(line).is_some_and(fits) {
                    return None;
                }
            }
            None
        };
        search(&|other| other == marker).or_else(|| search(&|_| true))
    }

    /// The divider: the only one of the marker's length, or else the only one.
    fn divider(&self, marker: Marker, begin: usize, end: usize) -> Result<usize, Fault> {
        let only = |fits: &dyn Fn(Marker) -> bool| {
            let mut found = (begin..end).filter(|at| Marker::divider(self.lines[*at]).is_some_and(fits));
            (found.next(), found.next())
        };
        match only(&|other| other == marker) {
            (Some(divider), None) => Ok(divider),
            (Some(_), Some(_)) => Err(Fault::Dividers),
            (None, _) => match only(&|_| true) {
                (Some(divider), None) => Ok(divider),
                (Some(_), Some(_)) => Err(Fault::Dividers),
                (None, _) => Err(Fault::Unfinished),
            },
        }
    }

    /// Lines without the indentation that the markers have, as in a list item.
    fn unindented(&self, marker: Marker, begin: usize, end: usize) -> Vec<&'r str> {
        let indent =
            |line: &&str| line.trim().is_empty() || line.len() - line.trim_start().len() >= marker.indent;
        let lines = &self.lines[begin..end];
        if !lines.iter().all(indent) {
            return lines.to_vec();
        }
        lines.iter().map(|line| line.get(marker.indent..).unwrap_or_default()).collect()
    }

    /// The path that the lines just before the block name; fences and blank lines do not separate them.
    fn heading(&mut self) -> Option<&'r str> {
        for at in (self.after..self.at).rev().take(6) {
            let line = self.lines[at].trim();
            let label = line.trim_start_matches(['`', '~']);
            let fence = line.len() - label.len() >= 3;
            if line.is_empty() || (fence && label.trim().is_empty()) {
                continue;
            }
            if fence {
                // A fence may name the path after the language: ```python:src/a.py.
                let word = label.rsplit([' ', ':', '=']).next().unwrap_or_default();
                if looks_like_a_path(word) && (word.contains('/') || self.exists(word)) {
                    return Some(word);
                }
                continue;
            }
            let path = undecorated(line);
            if looks_like_a_path(path) && (path.contains(['/', '.']) || self.exists(path)) {
                return Some(path);
            }
            // A path with spaces is one if the base has it.
            if path.len() < 300 && self.exists(path) {
                return Some(path);
            }
            return self.quoted(line);
        }
        None
    }

    /// The only path of the base that a sentence puts between backticks.
    fn quoted(&mut self, line: &'r str) -> Option<&'r str> {
        let mut paths: Vec<&str> = line.split('`').skip(1).step_by(2).take(8).collect();
        paths.retain(|path| looks_like_a_path(path) && self.exists(path));
        paths.dedup();
        match paths[..] {
            [path] => Some(path),
            _ => None,
        }
    }

    fn diff_begins(&self) -> bool {
        let line = self.lines[self.at];
        line.starts_with("diff --git ") || self.header(self.at)
    }

    /// Whether a `---` line and a `+++` line begin a file's part of a diff.
    fn header(&self, at: usize) -> bool {
        self.lines[at].starts_with("--- ") && self.line(at + 1).is_some_and(|line| line.starts_with("+++ "))
    }

    /// Reads one file's part of a unified diff.
    fn diff(&mut self) {
        let mut file = DiffFile::default();
        if let Some(paths) = self.lines[self.at].strip_prefix("diff --git ") {
            file.both = same_path(paths);
            self.at += 1;
            while self.line(self.at).is_some_and(|line| file.extended(line)) {
                self.at += 1;
            }
        }
        if self.at < self.lines.len() && self.header(self.at) {
            file.old = Some(diff_path(&self.lines[self.at][4..]));
            file.new = Some(diff_path(&self.lines[self.at + 1][4..]));
            self.at += 2;
        }
        let mut hunks = Vec::new();
        while self.line(self.at).is_some_and(|line| line.starts_with("@@")) && hunks.len() < MOST {
            hunks.push(self.hunk());
        }
        self.blocks.extend(file.blocks(hunks));
        self.path = None;
    }

    /// Reads one hunk. Its counts are believed while the lines look like a hunk's, since models miscount.
    fn hunk(&mut self) -> Change<'r> {
        let (line, mut old_left, mut new_left) = counts(self.lines[self.at]);
        let mut change = Change { line, ..Change::default() };
        let (mut last, mut cut) = (' ', [false, false]);
        self.at += 1;
        while let Some(line) = self.line(self.at) {
            let both = old_left == Some(1) && new_left == Some(1);
            if self.header(self.at)
                && self.line(self.at + 2).is_some_and(|line| line.starts_with("@@"))
                && !both
            {
                break;
            }
            let wanted = old_left != Some(0) || new_left != Some(0);
            match line.chars().next() {
                // The signature of a mail that `git format-patch` wrote.
                Some('-') if !wanted && line == "-- " => break,
                Some('+') => change.new.push(&line[1..]),
                Some('-') => change.old.push(&line[1..]),
                Some(' ') => change.push_context(&line[1..]),
                // Editors and models strip the blank of an empty context line.
                None if wanted && self.goes_on(self.at + 1) => change.push_context(line),
                Some('\\') => {
                    cut[0] |= last != '+';
                    cut[1] |= last != '-';
                }
                _ => break,
            }
            last = line.chars().next().unwrap_or(' ');
            let less = |left: &mut Option<usize>| *left = left.map(|left| left.saturating_sub(1));
            if matches!(last, ' ' | '-') {
                less(&mut old_left);
            }
            if matches!(last, ' ' | '+') {
                less(&mut new_left);
            }
            self.at += 1;
        }
        change.newline = (cut[0] != cut[1]).then_some(cut[0]);
        change
    }

    /// Whether a hunk goes on after an empty line.
    fn goes_on(&self, at: usize) -> bool {
        let next = (at..self.lines.len()).take(20).find(|at| !self.lines[*at].is_empty());
        next.is_some_and(|at| self.lines[at].starts_with(['+', '-', ' ']) && !self.header(at))
    }
}

impl<'r> Change<'r> {
    fn push_context(&mut self, line: &'r str) {
        self.old.push(line);
        self.new.push(line);
    }
}

/// A marker of a SEARCH/REPLACE block.
#[derive(Clone, Copy, PartialEq)]
struct Marker {
    indent: usize,
    length: usize,
}

impl Marker {
    fn opening(line: &str) -> Option<Marker> {
        Marker::read(line, '<', "SEARCH")
    }

    fn divider(line: &str) -> Option<Marker> {
        Marker::read(line, '=', "")
    }

    fn closing(line: &str) -> Option<Marker> {
        Marker::read(line, '>', "REPLACE")
    }

    fn read(line: &str, sign: char, word: &str) -> Option<Marker> {
        let signs = line.trim_start();
        let rest = signs.trim_start_matches(sign);
        let (indent, length) = (line.len() - signs.len(), signs.len() - rest.len());
        ((5..=9).contains(&length) && rest.trim() == word).then_some(Marker { indent, length })
    }
}

/// What a line says after one of `words`.
fn directive<'r>(line: &'r str, words: &[&str]) -> Option<&'r str> {
    words.iter().find_map(|word| line.strip_prefix(word)).map(str::trim)
}

/// A path without what people put around it: backticks, bold, a heading's or comment's sign, `File:`.
fn undecorated(line: &str) -> &str {
    let mut path = line.trim();
    let decoration = ['`', '*', '"', '\'', ':'];
    for prefix in ["#", "//", "<!--", ">", "- "] {
        if path.starts_with(prefix) {
            path = path.trim_start_matches(prefix).trim_start();
        }
    }
    path = path.trim_end_matches("-->").trim().trim_matches(decoration).trim();
    for label in ["File:", "Path:", "Filename:", "file:", "path:", "filename:", "FILE:"] {
        path = path.strip_prefix(label).unwrap_or(path);
    }
    path = path.trim().trim_start_matches(decoration);
    path = ["(new file)", "(new)"].iter().fold(path, |path, note| path.strip_suffix(note).unwrap_or(path));
    path.trim().trim_matches(decoration).trim()
}

/// Whether words could be a path: no blank, no sign of prose or code, and more than a word with a full stop.
fn looks_like_a_path(words: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "<>\"'|;=,*?`:".contains(c);
    let code = words.contains("()") || words.ends_with(['(', ')', '{', '}', '.']);
    !words.is_empty()
        && words.len() <= 300
        && !words.contains(odd)
        && !code
        && words.contains(char::is_alphanumeric)
}

/// What the head of a file's part of a diff says.
#[derive(Default)]
struct DiffFile<'r> {
    /// The path of `diff --git`, if both sides have the same.
    both: Option<Cow<'r, str>>,
    /// The paths of `---` and `+++`.
    old: Option<Cow<'r, str>>,
    new: Option<Cow<'r, str>>,
    from: Option<Cow<'r, str>>,
    to: Option<Cow<'r, str>>,
    mode: Option<&'r str>,
    created: bool,
    deleted: bool,
    binary: bool,
}

impl<'r> DiffFile<'r> {
    /// Reads an extended header line of git; false if it is none.
    fn extended(&mut self, line: &'r str) -> bool {
        if let Some(mode) = line.strip_prefix("new file mode ") {
            (self.created, self.mode) = (true, Some(mode.trim()));
        } else if line.starts_with("deleted file mode ") {
            self.deleted = true;
        } else if let Some(mode) = line.strip_prefix("new mode ") {
            self.mode = Some(mode.trim());
        } else if let Some(path) = line.strip_prefix("rename from ") {
            self.from = Some(unquoted(path));
        } else if let Some(path) = line.strip_prefix("rename to ") {
            self.to = Some(unquoted(path));
        } else if line.starts_with("Binary files ") || line.starts_with("GIT binary patch") {
            self.binary = true;
        } else {
            let silent = ["old mode ", "index ", "similarity index ", "dissimilarity index "];
            return silent.iter().any(|word| line.starts_with(word));
        }
        true
    }

    fn blocks(self, hunks: Vec<Change<'r>>) -> Vec<Block<'r>> {
        let absent = |path: &Option<Cow<str>>| path.as_deref() == Some("/dev/null");
        let created = self.created || absent(&self.old);
        let deleted = self.deleted || absent(&self.new);
        let (old, new) = if let (Some(old), Some(new)) = (self.old, self.new) {
            stripped(old, new)
        } else {
            let both = self.both.unwrap_or_default();
            (self.from.clone().unwrap_or_else(|| both.clone()), self.to.clone().unwrap_or(both))
        };
        let block = |path: &Cow<'r, str>, ask| Block { path: path.clone(), ask };
        if self.binary {
            return vec![block(&new, Ask::Broken(Fault::Unsupported("a binary file")))];
        }
        let kind = match self.mode {
            None => None,
            Some("100644") => Some(FileKind::Plain),
            Some("100755") => Some(FileKind::Executable),
            Some(_) => {
                return vec![block(&new, Ask::Broken(Fault::Unsupported("a link or submodule")))];
            }
        };
        if deleted {
            return vec![block(&old, Ask::Delete)];
        }
        if created {
            let newline = hunks.last().and_then(|hunk| hunk.newline).unwrap_or(true);
            let lines = hunks.into_iter().flat_map(|hunk| hunk.new).collect();
            return vec![block(&new, Ask::Create { lines, kind, newline })];
        }
        let mut blocks = Vec::new();
        if let (Some(from), Some(to)) = (self.from, self.to) {
            blocks.push(block(&from, Ask::Rename(to)));
        }
        blocks.extend(kind.map(|kind| block(&new, Ask::Kind(kind))));
        blocks.extend(hunks.into_iter().map(|hunk| block(&new, Ask::Change(hunk))));
        if blocks.is_empty() {
            blocks.push(block(&new, Ask::Broken(Fault::NoChange)));
        }
        blocks
    }
}

/// The start of the old lines and both counts of `@@ -3,4 +3,5 @@`, as far as the line gives them.
fn counts(line: &str) -> (Option<usize>, Option<usize>, Option<usize>) {
    let mut words = line.split_whitespace().skip(1);
    let mut range = |sign: char| -> Option<(usize, usize)> {
        let word = words.next()?.strip_prefix(sign)?;
        match word.split_once(',') {
            Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
            None => Some((word.parse().ok()?, 1)),
        }
    };
    let (old, new) = (range('-'), range('+'));
    (old.map(|(start, _)| start), old.map(|(_, count)| count), new.map(|(_, count)| count))
}

/// The path of a `---` or `+++` line, without its date.
fn diff_path(words: &str) -> Cow<'_, str> {
    unquoted(words.split('\t').next().unwrap_or_default().trim_end())
}

/// Both paths without git's prefixes, which are there or not on both sides.
fn stripped<'r>(old: Cow<'r, str>, new: Cow<'r, str>) -> (Cow<'r, str>, Cow<'r, str>) {
    let fits = |path: &str, prefix: &str| path == "/dev/null" || path.starts_with(prefix);
    if !fits(&old, "a/") || !fits(&new, "b/") {
        return (old, new);
    }
    let strip = |path: Cow<'r, str>| match path {
        Cow::Borrowed("/dev/null") => path,
        Cow::Borrowed(path) => Cow::Borrowed(&path[2..]),
        Cow::Owned(path) => Cow::Owned(path[2..].to_owned()),
    };
    (strip(old), strip(new))
}

/// The path of `a/x b/x`, when both sides have the same.
fn same_path(words: &str) -> Option<Cow<'_, str>> {
    if words.starts_with('"') {
        let (old, new) = words.split_once("\" \"")?;
        let (old, new) = stripped(unquoted(old), unquoted(new));
        return (old == new).then_some(old);
    }
    let middle = words.len() / 2;
    let (old, new) = (words.get(..middle)?, words.get(middle..)?.strip_prefix(' ')?);
    let (old, new) = stripped(old.into(), new.into());
    (old == new).then_some(old)
}

/// A path out of git's quotes, with its octal escapes read. Quotes that hold no UTF-8 stay.
fn unquoted(words: &str) -> Cow<'_, str> {
    let words = words.trim();
    if !words.contains('"') {
        return Cow::Borrowed(words);
    }
    let mut bytes = Vec::new();
    let mut rest = words.trim_matches('"').bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b't') => bytes.push(b'\t'),
            Some(b'n') => bytes.push(b'\n'),
            Some(digit @ b'0'..=b'3') => {
                let mut value = digit - b'0';
                for _ in 0..2 {
                    if let Some(digit) = rest.next_if(|byte| (b'0'..=b'7').contains(byte)) {
                        value = value << 3 | (digit - b'0');
                    }
                }
                bytes.push(value);
            }
            Some(other) => bytes.push(other),
            None => {}
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(words), Cow::Owned)
}
