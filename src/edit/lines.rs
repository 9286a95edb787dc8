//! A file as lines that can be found and replaced. What is not replaced keeps its bytes: line endings, byte
//! order mark, bytes that are no UTF-8, and whether the last line has an end.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::Fault;
use super::blocks::Change;

const MARK: &[u8] = b"\xef\xbb\xbf";

/// Places that are looked at one by one; where more fit, they count as too many to tell apart.
const CANDIDATES: usize = 64;

/// Lines of a block that are compared one with another to see which of them stay.
const ALIGNED: usize = 500;

/// Lines shown as the nearest, bytes of each, and lines that are searched for them.
const SHOWN: usize = 16;
const WIDE: usize = 160;
const SEARCHED: usize = 20_000;

/// A file's lines.
pub(super) struct Text<'a> {
    mark: bool,
    lines: Vec<Line<'a>>,
    /// Whether most lines end as on Windows; new lines do as most do.
    crlf: bool,
    /// Whether the last line has an end.
    newline: bool,
}

struct Line<'a> {
    /// The words; where the bytes are no UTF-8, as a model sees them.
    words: Cow<'a, str>,
    /// The bytes, if they are no UTF-8.
    bytes: Option<&'a [u8]>,
    crlf: bool,
    /// The number on the base, from 1; 0 for a line that an earlier block wrote.
    base: usize,
}

/// Where a block fits.
pub(super) struct Place {
    at: usize,
    edges: Edges,
    shift: Shift,
}

/// Blank lines before and after the others of a block, which the file does not have.
#[derive(Clone, Copy, Default, PartialEq)]
struct Edges {
    before: usize,
    after: usize,
}

/// How a file is indented in comparison with a block.
enum Shift {
    Equal,
    Deeper(String),
    Flatter(String),
}

impl<'a> Text<'a> {
    /// The lines of `content`.
    pub fn of(content: &'a [u8]) -> Text<'a> {
        let (mark, content) = match content.strip_prefix(MARK) {
            Some(rest) => (true, rest),
            None => (false, content),
        };
        let newline = content.last().is_none_or(|byte| *byte == b'\n');
        let pieces = content.split_inclusive(|byte| *byte == b'\n').enumerate();
        let mut lines: Vec<Line> = pieces.map(|(index, piece)| Line::of(piece, index + 1)).collect();
        let ended = lines.len() - usize::from(!newline);
        let crlf = lines.iter().filter(|line| line.crlf).count() * 2 > ended;
        if let Some(last) = lines.last_mut().filter(|_| !newline) {
            // It has no end of its own; when others come after it, it gets one like theirs.
            last.crlf = crlf;
        }
        Text { mark, lines, crlf, newline }
    }

    /// The text of a new file.
    pub fn new(lines: &[&'a str], newline: bool) -> Text<'a> {
        Text {
            mark: false,
            lines: lines.iter().map(|line| Line::new((*line).into(), false)).collect(),
            crlf: false,
            newline,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// About how many bytes there are.
    pub fn size(&self) -> usize {
        self.lines.iter().map(|line| line.words.len() + 1).sum()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size() + MARK.len());
        if self.mark {
            bytes.extend_from_slice(MARK);
        }
        for (index, line) in self.lines.iter().enumerate() {
            bytes.extend_from_slice(line.bytes.unwrap_or(line.words.as_bytes()));
            if index + 1 < self.lines.len() || self.newline {
                bytes.extend_from_slice(if line.crlf { b"\r\n" } else { b"\n" });
            }
        }
        bytes
    }

    /// The one place where the old lines stand: to the letter, or else but for blanks at line ends, or else
    /// but for one shift of the indentation; and if nowhere, then all that without blank lines at the edges.
    pub fn find(&self, change: &Change) -> Result<Place, Fault> {
        let blank = |line: &&&str| line.trim().is_empty();
        let blanks = Edges {
            before: change.old.iter().take_while(blank).count(),
            after: change.old.iter().rev().take_while(blank).count(),
        };
        let tries = [Edges::default(), blanks];
        for edges in &tries[..if blanks == Edges::default() { 1 } else { 2 }] {
            if let Some((at, shift)) = self.find_lines(edges.inner(&change.old), change)? {
                return Ok(Place { at, edges: *edges, shift });
            }
        }
        Err(Fault::NotFound)
    }

    fn find_lines(&self, old: &[&str], change: &Change) -> Result<Option<(usize, Shift)>, Fault> {
        let exact = self.places(old, |line| line);
        if !exact.is_empty() {
            return Ok(Some((self.only(&exact, old.len(), change.line)?, Shift::Equal)));
        }
        let loose = self.places(old, str::trim_end);
        if !loose.is_empty() {
            return Ok(Some((self.only(&loose, old.len(), None)?, Shift::Equal)));
        }
        let mut shifted = self.places(old, str::trim);
        if shifted.len() <= CANDIDATES {
            shifted.retain(|at| self.shift(*at, old, &change.new).is_some());
        }
        if shifted.is_empty() {
            return Ok(None);
        }
        let at = self.only(&shifted, old.len(), None)?;
        Ok(self.shift(at, old, &change.new).map(|shift| (at, shift)))
    }

    /// Where `old` stands when both are seen through `key`.
    fn places<'s>(&'s self, old: &[&'s str], key: fn(&str) -> &str) -> Vec<usize> {
        let lines: Vec<&str> = self.lines.iter().map(|line| key(&line.words)).collect();
        let old: Vec<&str> = old.iter().map(|line| key(line)).collect();
        occurrences(&lines, &old)
    }

    /// The only one of `places`; else the only one at the base's `line`; else, since blocks speak of the base,
    /// the only one that no earlier block wrote.
    fn only(&self, places: &[usize], length: usize, line: Option<usize>) -> Result<usize, Fault> {
        let single = |mut places: Vec<usize>| (places.len() == 1).then(|| places.remove(0));
        let chosen =
            |test: &dyn Fn(usize) -> bool| single(places.iter().copied().filter(|at| test(*at)).collect());
        let at_line = || line.and_then(|line| chosen(&|at| self.lines[at].base == line));
        let of_base = || chosen(&|at| self.lines[at..at + length].iter().all(|line| line.base > 0));
        let found = match places {
            [at] => Some(*at),
            _ if places.len() > CANDIDATES => at_line(),
            _ => at_line().or_else(of_base),
        };
        found.ok_or_else(|| {
            let lines = places.iter().map(|at| self.lines[*at].base);
            Fault::Ambiguous(lines.filter(|line| *line > 0).take(CANDIDATES).collect())
        })
    }

    /// How the lines at `at` are indented in comparison with `old`, if that is one shift, and `new` allows it.
    fn shift(&self, at: usize, old: &[&str], new: &[&str]) -> Option<Shift> {
        let pairs = self.lines[at..].iter().zip(old).filter(|(_, old)| !old.trim().is_empty());
        let mut indents = pairs.map(|(line, old)| (indent(&line.words), indent(old)));
        let (file, block) = indents.next()?;
        if let Some(more) = file.strip_suffix(block) {
            let fits = |(file, block): (&str, &str)| file.strip_prefix(more) == Some(block);
            return (fits((file, block)) && indents.all(fits)).then(|| Shift::Deeper(more.to_owned()));
        }
        let more = block.strip_suffix(file)?;
        let fits = |(file, block): (&str, &str)| block.strip_prefix(more) == Some(file);
        let new = new.iter().all(|line| line.trim().is_empty() || line.starts_with(more));
        (new && fits((file, block)) && indents.all(fits)).then(|| Shift::Flatter(more.to_owned()))
    }

    /// Writes the new lines in place of the old. Lines that are in both stay as the file has them.
    pub fn replace(&mut self, place: &Place, change: &Change<'a>) -> Result<(), Fault> {
        let (old, new) = (place.edges.inner(&change.old), place.edges.inner_blanks(&change.new));
        let end = place.at + old.len();
        let steps = align(old, new);
        let newline = change.newline.filter(|_| end == self.lines.len());
        let kept = steps.iter().all(|step| matches!(step, Step::Keep(_)));
        if kept && steps.len() == old.len() && newline.is_none_or(|newline| newline == self.newline) {
            return Err(Fault::NoChange);
        }
        let lossy = self.lines[place.at..end].iter().any(|line| line.bytes.is_some());
        let written = |step: &Step| matches!(step, Step::Write(line) if new[*line].contains(char::REPLACEMENT_CHARACTER));
        if lossy && steps.iter().any(written) {
            return Err(Fault::NotText);
        }
        let mut region: Vec<Option<Line>> = self.lines.splice(place.at..end, []).map(Some).collect();
        let lines = steps.iter().filter_map(|step| match step {
            Step::Keep(line) => region[*line].take(),
            Step::Write(line) => Some(Line::new(place.shift.apply(new[*line]), self.crlf)),
        });
        let lines: Vec<Line> = lines.collect();
        self.lines.splice(place.at..place.at, lines);
        self.newline = newline.unwrap_or(self.newline);
        Ok(())
    }

    /// The lines that come nearest to `old`, with their numbers on the base: where most of them stand in
    /// order, or else where a line shares most words with their longest.
    pub fn nearest(&self, old: &[&str]) -> Vec<(usize, String)> {
        let Some(at) = self.most_in_order(old).or_else(|| self.most_words(old)) else {
            return Vec::new();
        };
        let begin = at.saturating_sub(1);
        let shown = self.lines.iter().skip(begin).take((old.len() + 2).min(SHOWN));
        shown.map(|line| (line.base, crate::text::clip(&line.words, WIDE).into_owned())).collect()
    }

    fn most_in_order(&self, old: &[&str]) -> Option<usize> {
        let mut offsets = HashMap::new();
        for (offset, line) in old.iter().take(ALIGNED).enumerate().rev() {
            offsets.insert(line.trim(), offset);
        }
        let mut weights: HashMap<usize, usize> = HashMap::new();
        for (at, line) in self.lines.iter().enumerate() {
            let words = line.words.trim();
            if let Some(offset) = offsets.get(words).filter(|offset| at >= **offset) {
                *weights.entry(at - offset).or_default() +=
                    words.chars().filter(|c| c.is_alphanumeric()).count();
            }
        }
        let best = weights.into_iter().max_by_key(|(at, weight)| (*weight, usize::MAX - at));
        best.filter(|(_, weight)| *weight > 0).map(|(at, _)| at)
    }

    fn most_words(&self, old: &[&str]) -> Option<usize> {
        let (offset, longest) =
            old.iter().take(ALIGNED).enumerate().max_by_key(|(_, line)| line.trim().len())?;
        let wanted: HashSet<&str> = words(longest).collect();
        let shared = |line: &Line| words(&line.words).filter(|word| wanted.contains(word)).count();
        let scored = self.lines.iter().take(SEARCHED).map(shared).enumerate();
        let (at, score) = scored.max_by_key(|(at, score)| (*score, usize::MAX - at))?;
        (score * 2 >= wanted.len() && score > 0).then(|| at.saturating_sub(offset))
    }
}

impl<'a> Line<'a> {
    /// A line of a file, with its end unless it is the last and has none.
    fn of(piece: &'a [u8], base: usize) -> Line<'a> {
        let (bytes, crlf) = match piece.strip_suffix(b"\n") {
            Some(line) => (line.strip_suffix(b"\r").unwrap_or(line), line.ends_with(b"\r")),
            None => (piece, false),
        };
        let words = String::from_utf8_lossy(bytes);
        let lossy = matches!(words, Cow::Owned(_));
        Line { words, bytes: lossy.then_some(bytes), crlf, base }
    }

    fn new(words: Cow<'a, str>, crlf: bool) -> Line<'a> {
        Line { words, bytes: None, crlf, base: 0 }
    }
}

impl Edges {
    fn inner<'l, 'r>(self, lines: &'l [&'r str]) -> &'l [&'r str] {
        lines.get(self.before..lines.len().saturating_sub(self.after)).unwrap_or_default()
    }

    /// [`Edges::inner`] of lines that may have fewer blank ones at their edges.
    fn inner_blanks<'l, 'r>(self, lines: &'l [&'r str]) -> &'l [&'r str] {
        let blank = |line: &&&str| line.trim().is_empty();
        let before = lines.iter().take(self.before).take_while(blank).count();
        let after = lines[before..].iter().rev().take(self.after).take_while(blank).count();
        Edges { before, after }.inner(lines)
    }
}

impl Shift {
    fn apply<'a>(&self, line: &'a str) -> Cow<'a, str> {
        match self {
            _ if line.trim().is_empty() => line.into(),
            Shift::Equal => line.into(),
            Shift::Deeper(more) => format!("{more}{line}").into(),
            Shift::Flatter(more) => line.strip_prefix(more.as_str()).unwrap_or(line).into(),
        }
    }
}

/// Where a new line comes from: an old line or the block's own.
#[derive(Clone, Copy)]
enum Step {
    Keep(usize),
    Write(usize),
}

/// How `old` becomes `new`.
fn align(old: &[&str], new: &[&str]) -> Vec<Step> {
    let before = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (&old[before..], &new[before..]);
    let after = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (&old_rest[..old_rest.len() - after], &new_rest[..new_rest.len() - after]);
    let mut steps: Vec<Step> = (0..before).map(Step::Keep).collect();
    let write = |range: std::ops::Range<usize>| range.map(|line| Step::Write(before + line));
    if old_rest.len() + new_rest.len() > ALIGNED {
        steps.extend(write(0..new_rest.len()));
    } else {
        for op in capture_diff_slices(Algorithm::Myers, old_rest, new_rest) {
            match op {
                DiffOp::Equal { old_index, len, .. } => {
                    steps.extend((old_index..old_index + len).map(|line| Step::Keep(before + line)));
                }
                DiffOp::Delete { .. } => {}
                DiffOp::Insert { .. } | DiffOp::Replace { .. } => steps.extend(write(op.new_range())),
            }
        }
    }
    steps.extend((old.len() - after..old.len()).map(Step::Keep));
    steps
}

/// Every index at which `pattern` occurs in `text`, overlaps included, in time linear in both
/// (Knuth, Morris & Pratt 1977, "Fast pattern matching in strings").
fn occurrences(text: &[&str], pattern: &[&str]) -> Vec<usize> {
    if pattern.is_empty() {
        return Vec::new();
    }
    let mut borders = vec![0; pattern.len()];
    let mut matched = 0;
    for at in 1..pattern.len() {
        while matched > 0 && pattern[at] != pattern[matched] {
            matched = borders[matched - 1];
        }
        matched += usize::from(pattern[at] == pattern[matched]);
        borders[at] = matched;
    }
    let mut found = Vec::new();
    matched = 0;
    for (at, line) in text.iter().enumerate() {
        while matched > 0 && (matched == pattern.len() || *line != pattern[matched]) {
            matched = borders[matched - 1];
        }
        matched += usize::from(*line == pattern[matched]);
        if matched == pattern.len() {
            found.push(at + 1 - matched);
        }
    }
    found
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}
