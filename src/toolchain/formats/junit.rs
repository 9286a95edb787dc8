//! `JUnit` XML files, as Maven Surefire, Gradle, `CTest` and many others write them, in three dialects.
//!
//! A report is hostile and may be cut short or huge (Surefire puts all of stdout into it). So it is read as a
//! stream through [`Slim`], which drops the middle of long texts, and what came before a defect still counts:
//! this is why `quick-xml` is used and not a crate that reads a report as a whole or not at all. Entities are
//! never expanded but for the five that XML has, and characters by number.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::LazyLock;

use anyhow::Result;
use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};
use regex::Regex;

use super::bounded;
use crate::diagnostic::Location;
use crate::toolchain::Parsed;
use crate::toolchain::place::Place;
use crate::verdict::{Outcome, TestResult};

/// Who wrote the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Anybody: ids are `classname::name`.
    Generic,
    /// Surefire and Gradle: ids are `package.Class#method`, messages hold stack traces of Java.
    Java,
    /// `CTest`: ids are names, a message is the test's output, and a test that did not run says why.
    Ctest,
}

/// Elements nest at most this deep.
const DEPTH: usize = 64;

/// At most this many tests are read from one report.
const TESTS: usize = 200_000;

/// A name holds at most this many bytes.
const NAME: usize = 1 << 10;

/// At most this many frames are kept of a failure.
const FRAMES: usize = 20;

/// Reads one report. It is whole when its root element is closed.
pub fn read(report: impl Read, dialect: Dialect, sources: &Sources) -> Result<Parsed> {
    let mut reader = Reader::from_reader(BufReader::new(Slim::new(report)));
    reader.config_mut().allow_dangling_amp = true;
    let mut report = Report {
        dialect,
        sources,
        suites: Vec::new(),
        case: None,
        section: Section::Elsewhere,
        depth: 0,
        tests: Vec::new(),
        known: HashMap::new(),
        closed: false,
    };
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        // A defect ends the report, and what it said before counts.
        let Ok(event) = reader.read_event_into(&mut buffer) else {
            report.closed = false;
            break;
        };
        match event {
            Event::Start(element) => report.open(&element),
            Event::Empty(element) => {
                report.open(&element);
                report.close(element.local_name().as_ref());
            }
            Event::End(element) => report.close(element.local_name().as_ref()),
            Event::Text(text) => report.text(&text.xml10_content()),
            Event::CData(text) => report.text(&text.xml10_content()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(c)) => report.text(c.encode_utf8(&mut [0; 4])),
                _ => report.text(resolve_xml_entity(&reference).unwrap_or("\u{fffd}")),
            },
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            Event::Eof => break,
        }
        if report.depth > DEPTH || report.tests.len() >= TESTS {
            report.closed = false;
            break;
        }
    }
    Ok(Parsed { tests: report.tests, diagnostics: Vec::new(), complete: report.closed })
}

/// A report as far as it was read.
struct Report<'a> {
    dialect: Dialect,
    sources: &'a Sources,
    /// Names of the open suites.
    suites: Vec<String>,
    case: Option<Case>,
    section: Section,
    depth: usize,
    tests: Vec<TestResult>,
    /// Where a test stands in `tests`.
    known: HashMap<String, usize>,
    closed: bool,
}

/// Where text belongs.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    Elsewhere,
    Problem,
    Skip,
    Output,
    /// Below an earlier try of a test that was repeated; the element at this depth.
    Earlier(usize),
}

/// An open `testcase`.
#[derive(Default)]
struct Case {
    class: String,
    name: String,
    file: String,
    line: u32,
    seconds: f64,
    status: String,
    failed: bool,
    skipped: bool,
    /// What each failure says: its `message` attribute, and its text.
    problems: Vec<(String, String)>,
    /// Why it was skipped: the `message` attribute, and the text.
    reason: String,
    details: String,
    output: String,
}

impl Report<'_> {
    fn open(&mut self, element: &BytesStart) {
        self.depth += 1;
        let earlier = matches!(self.section, Section::Earlier(_));
        match (element.local_name().as_ref(), &mut self.case) {
            ("testsuite", None) => self.suites.push(attribute(element, "name", NAME)),
            ("testcase", None) => self.case = Some(Case::of(element)),
            ("failure" | "error", Some(case)) if !earlier => {
                case.failed = true;
                if case.problems.len() < FRAMES {
                    let summary = attribute(element, "message", super::MESSAGE);
                    case.problems.push((summary, String::new()));
                }
                self.section = Section::Problem;
            }
            ("skipped" | "disabled" | "ignored", Some(case)) if !earlier => {
                case.skipped = true;
                push(&mut case.reason, &attribute(element, "message", super::MESSAGE));
                self.section = Section::Skip;
            }
            ("system-out" | "system-err", Some(_)) if !earlier => self.section = Section::Output,
            ("flakyFailure" | "flakyError" | "rerunFailure" | "rerunError", Some(_)) if !earlier => {
                self.section = Section::Earlier(self.depth);
            }
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match (name, self.section) {
            (_, Section::Earlier(depth)) if depth != self.depth => {}
            (_, Section::Earlier(_)) => self.section = Section::Elsewhere,
            ("failure" | "error" | "skipped" | "disabled" | "ignored" | "system-out" | "system-err", _) => {
                self.section = Section::Elsewhere;
            }
            ("testcase", _) => {
                self.section = Section::Elsewhere;
                let case = self.case.take();
                let suite = self.suites.last().map_or("", String::as_str);
                let result = case.and_then(|case| case.result(self.dialect, suite, self.sources));
                if let Some(result) = result {
                    self.add(result);
                }
            }
            ("testsuite", _) => {
                self.suites.pop();
            }
            _ => {}
        }
        self.depth = self.depth.saturating_sub(1);
        self.closed |= self.depth == 0 && matches!(name, "testsuite" | "testsuites");
    }

    fn text(&mut self, text: &str) {
        let Some(case) = &mut self.case else { return };
        match self.section {
            Section::Problem => {
                if let Some((_, body)) = case.problems.last_mut() {
                    push(body, text);
                }
            }
            Section::Skip => push(&mut case.details, text),
            Section::Output => push(&mut case.output, text),
            Section::Elsewhere | Section::Earlier(_) => {}
        }
    }

    /// Adds a test; of two with one name the worse counts, and a run counts more than a skip.
    fn add(&mut self, result: TestResult) {
        let rank = |outcome| match outcome {
            Outcome::Failed => 3,
            Outcome::Missing => 2,
            Outcome::Passed => 1,
            Outcome::Skipped => 0,
        };
        match self.known.get(&result.id) {
            Some(&at) if rank(self.tests[at].outcome) < rank(result.outcome) => self.tests[at] = result,
            Some(_) => {}
            None => {
                self.known.insert(result.id.clone(), self.tests.len());
                self.tests.push(result);
            }
        }
    }
}

impl Case {
    fn of(element: &BytesStart) -> Case {
        let text = |name| attribute(element, name, NAME);
        let seconds = text("time").replace(',', "").parse::<f64>();
        let result = text("result");
        Case {
            class: text("classname"),
            name: text("name"),
            file: text("file"),
            line: text("line").parse().unwrap_or(0),
            seconds: seconds.ok().filter(|s| s.is_finite() && *s >= 0.0).unwrap_or(0.0),
            // GoogleTest says both `status="run"` and `result="skipped"`.
            status: if result.is_empty() { text("status") } else { result },
            ..Case::default()
        }
    }

    /// The result; none for what is no test.
    fn result(self, dialect: Dialect, suite: &str, sources: &Sources) -> Option<TestResult> {
        let class = if self.class.is_empty() { suite } else { &self.class };
        let outcome = self.outcome(dialect);
        let id = match dialect {
            Dialect::Generic if self.class.is_empty() => self.name.clone(),
            Dialect::Generic => format!("{}::{}", self.class, self.name),
            // A failure of the whole class, before or after its tests, has no name.
            Dialect::Java if self.name.is_empty() => class.to_owned(),
            // Gradle shows the method with parentheses, Surefire without: one name for both.
            Dialect::Java => format!("{class}#{}", self.name.strip_suffix("()").unwrap_or(&self.name)),
            Dialect::Ctest => self.name.clone(),
        };
        // What gtest_discover_tests puts in the place of tests that it could not discover: when the program
        // can be built again, no test of this name will ever pass.
        let stand_in = dialect == Dialect::Ctest && outcome == Outcome::Missing && id.ends_with("_NOT_BUILT");
        if id.is_empty() || stand_in {
            return None;
        }
        let full = match outcome {
            Outcome::Passed => String::new(),
            Outcome::Skipped | Outcome::Missing => match whole(&self.reason, &self.details) {
                empty if empty.is_empty() => self.output.clone(),
                reason if dialect == Dialect::Ctest => whole(&reason, &self.output),
                reason => reason,
            },
            Outcome::Failed => match self.problems() {
                empty if empty.trim().is_empty() => self.output.clone(),
                message => message,
            },
        };
        let (message, frames) = match dialect {
            Dialect::Java => java_trace(&full, sources),
            Dialect::Generic | Dialect::Ctest => (full.clone(), frames_in(&full, sources)),
        };
        let location = match dialect {
            Dialect::Java => sources.class(class).map(|file| Location {
                line: frames.iter().rfind(|frame| frame.file == file).map_or(0, |frame| frame.line),
                file,
                column: 0,
            }),
            Dialect::Generic | Dialect::Ctest => sources.file(&self.file, self.line),
        };
        Some(TestResult { id, outcome, message: bounded(&message), location, frames, seconds: self.seconds })
    }

    fn problems(&self) -> String {
        let each = self.problems.iter().map(|(summary, body)| whole(summary, body));
        each.collect::<Vec<_>>().join("\n\n")
    }

    fn outcome(&self, dialect: Dialect) -> Outcome {
        // A test that asks to be skipped says so; any other that did not run could not: its program was not
        // built, a file or a fixture is missing.
        let asked = self.reason.starts_with("SKIP_");
        match self.status.to_ascii_lowercase().as_str() {
            _ if self.failed => Outcome::Failed,
            "fail" | "failed" if dialect == Dialect::Ctest => Outcome::Failed,
            "notrun" if dialect == Dialect::Ctest && !asked => Outcome::Missing,
            "notrun" | "disabled" | "skipped" | "suppressed" | "ignored" => Outcome::Skipped,
            _ if self.skipped => Outcome::Skipped,
            _ => Outcome::Passed,
        }
    }
}

/// The summary, unless the text repeats it, and the text.
fn whole(summary: &str, text: &str) -> String {
    let (summary, text) = (summary.trim(), text.trim_end().trim_start_matches(['\n', '\r']));
    if summary.is_empty() || text.contains(summary) {
        text.to_owned()
    } else if text.trim().is_empty() {
        summary.to_owned()
    } else {
        format!("{summary}\n{text}")
    }
}

/// Adds text while there is room.
fn push(to: &mut String, text: &str) {
    if to.len() < 2 * super::MESSAGE {
        to.push_str(text);
    }
}

/// An attribute's value, unescaped, at most about `most` bytes; empty when it is absent.
fn attribute(element: &BytesStart, name: &str, most: usize) -> String {
    let mut attributes = element.attributes();
    let found =
        attributes.with_checks(false).flatten().find(|attribute| attribute.key.local_name().as_ref() == name);
    let Some(found) = found else {
        return String::new();
    };
    let value = found.normalized_value(XmlVersion::Implicit1_0).unwrap_or_else(|_| found.value.clone());
    crate::text::clip(&value, most).into_owned()
}

static JAVA_FRAME: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^\s+at (?:[^\s(/]*/)*(?<class>[^\s(/]+)\.[^\s(.]+\((?<file>[^\s():]+):(?<line>\d+)\)$")
});
static FILE_AND_LINE: LazyLock<Regex> = LazyLock::new(|| {
    regex(r#"(?<file>[^\s:()'"<>=,\[\]]+\.[A-Za-z][A-Za-z0-9]{0,5})(?:", line |:|\()(?<line>\d+)"#)
});

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a literal")
}

/// The message with those lines of its stack traces that lie in the repository; the others, mostly the test
/// framework's, are counted. And the places of the frames, innermost first.
fn java_trace(message: &str, sources: &Sources) -> (String, Vec<Location>) {
    let mut kept = String::new();
    let mut frames = Vec::new();
    let mut left_out = 0;
    for line in message.lines() {
        let at = line.trim_start();
        let frame = at.starts_with("at ") && line.starts_with(char::is_whitespace);
        let known = JAVA_FRAME
            .captures(line)
            .filter(|_| frame)
            .and_then(|found| sources.frame(&found["class"], &found["file"], found["line"].parse().ok()?));
        if frame && known.is_none() {
            left_out += 1;
            continue;
        }
        note_left_out(&mut kept, &mut left_out);
        kept.push_str(line);
        kept.push('\n');
        add_frame(&mut frames, known);
    }
    note_left_out(&mut kept, &mut left_out);
    (kept, frames)
}

fn note_left_out(kept: &mut String, left_out: &mut usize) {
    let many = std::mem::take(left_out).to_string();
    let words = match many.as_str() {
        "0" => return,
        "1" => ["\t… ", &many, " frame outside the repository\n"],
        _ => ["\t… ", &many, " frames outside the repository\n"],
    };
    kept.extend(words);
}

/// Places that a message names, if the repository has the file: `file:line`, `file(line)`, `File "f", line n`.
fn frames_in(message: &str, sources: &Sources) -> Vec<Location> {
    let mut frames = Vec::new();
    for found in FILE_AND_LINE.captures_iter(message).take(20 * FRAMES) {
        let line = found["line"].parse().unwrap_or(0);
        add_frame(&mut frames, sources.file(&found["file"], line));
    }
    frames
}

fn add_frame(frames: &mut Vec<Location>, frame: Option<Location>) {
    frames.extend(frame.filter(|frame| !frames.contains(frame) && frames.len() < FRAMES));
}

/// `CTest`'s own words on stdout say what its report leaves out: why a test failed that printed nothing.
pub fn add_reasons(tests: &mut [TestResult], stdout: &str) {
    let mut reasons: HashMap<&str, &str> = HashMap::new();
    let summary = stdout.rsplit_once("The following tests FAILED:").map_or("", |(_, tail)| tail);
    for line in summary.lines() {
        // `	  1 - segv (SEGFAULT)`
        let reason =
            line.split_once(" - ").and_then(|(_, rest)| rest.trim_end().strip_suffix(')')?.rsplit_once(" ("));
        if let Some((name, reason)) = reason {
            reasons.insert(name, reason);
        }
    }
    for test in tests.iter_mut().filter(|test| test.outcome == Outcome::Failed) {
        match reasons.get(test.id.as_str()) {
            None | Some(&"Failed") if !test.message.trim().is_empty() => {}
            None | Some(&"Failed") => "it failed and printed nothing".clone_into(&mut test.message),
            Some(reason) => {
                let told = [*reason, test.message.as_str()].join("\n");
                told.trim_end().clone_into(&mut test.message);
            }
        }
    }
}

/// The sources of a repository, to find the file that a class name or a bare file name means. Looked for when
/// they are first needed.
pub struct Sources {
    place: Place,
    /// Paths by file name.
    by_name: OnceCell<HashMap<String, Vec<String>>>,
}

/// At most this many folders are looked into for sources.
const FOLDERS: usize = 50_000;

impl Sources {
    /// The sources of the repository around `place`.
    pub fn new(place: &Place) -> Sources {
        Sources { place: place.clone(), by_name: OnceCell::new() }
    }

    /// A file that a tool named by its path.
    fn file(&self, path: &str, line: u32) -> Option<Location> {
        let file = self.place.locate(path).filter(|file| self.place.holds(file))?;
        Some(Location { file, line, column: 0 })
    }

    /// The file of a frame: its name, in folders named like the package. Two that fit are as good as none.
    fn frame(&self, class: &str, file: &str, line: u32) -> Option<Location> {
        let package = class.split('$').next()?.rsplit_once('.').map_or("", |(package, _)| package);
        let suffix = if package.is_empty() {
            format!("/{file}")
        } else {
            format!("/{}/{file}", package.replace('.', "/"))
        };
        let named = self.by_name.get_or_init(|| index(self.place.tree())).get(file)?;
        let fits = |path: &&String| format!("/{path}").ends_with(&suffix);
        let found = only(named.iter().filter(fits))
            // Kotlin does not ask for folders that repeat the package.
            .or_else(|| only(named.iter()).filter(|_| is_kotlin(file)))?;
        Some(Location { file: found.clone(), line, column: 0 })
    }

    /// The file of a class.
    fn class(&self, class: &str) -> Option<String> {
        let outer = class.split('$').next()?;
        let simple = outer.rsplit('.').next()?;
        ["java", "kt", "groovy", "scala"]
            .into_iter()
            .find_map(|extension| self.frame(outer, &format!("{simple}.{extension}"), 0))
            .map(|location| location.file)
    }
}

fn is_kotlin(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == "kt")
}

/// The one thing, if it is one.
fn only<T>(mut things: impl Iterator<Item = T>) -> Option<T> {
    let first = things.next()?;
    things.next().is_none().then_some(first)
}

/// The sources below `tree` for the Java machine, by file name. No link is followed.
fn index(tree: &Path) -> HashMap<String, Vec<String>> {
    let mut by_name: HashMap<String, Vec<String>> = HashMap::new();
    let mut folders = vec![String::new()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(tree.join(&folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
                continue;
            };
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let skipped =
                name.starts_with('.') || matches!(name.as_str(), "target" | "build" | "node_modules");
            if kind.is_dir() && !skipped && seen < FOLDERS {
                seen += 1;
                folders.push(path);
            } else if kind.is_file() && is_source(&name) {
                by_name.entry(name).or_default().push(path);
            }
        }
    }
    by_name
}

fn is_source(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("java" | "kt" | "groovy" | "scala"))
}

/// An XML document with the middle of every long text, attribute and comment left out, and without bytes that
/// are no UTF-8: however large a report is, each event that the XML reader makes of it is small.
struct Slim<R> {
    inner: BufReader<R>,
    state: State,
    /// What was read since the state last changed.
    run: Run,
    /// How the tag began, to tell comments and CDATA.
    opening: Vec<u8>,
    ready: Vec<u8>,
    given: usize,
}

/// Where in the document the next byte stands.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Text,
    Tag,
    Quoted(u8),
    Cdata,
    Comment,
}

/// Of a longer run this many bytes of its head are kept, and three times as many of its tail: what failed
/// stands at the end of an output.
const HEAD: usize = 4 << 10;

#[derive(Default)]
struct Run {
    head: Vec<u8>,
    tail: Vec<u8>,
    dropped: usize,
}

impl Run {
    fn push(&mut self, byte: u8) {
        if self.head.len() < HEAD {
            self.head.push(byte);
            return;
        }
        if self.tail.len() == 6 * HEAD {
            self.tail.drain(..3 * HEAD);
            self.dropped += 3 * HEAD;
        }
        self.tail.push(byte);
    }

    fn flush(&mut self, into: &mut Vec<u8>) {
        into.extend_from_slice(String::from_utf8_lossy(&self.head).as_bytes());
        if self.dropped > 0 {
            into.extend_from_slice(format!("\n[… {} bytes left out …]\n", self.dropped).as_bytes());
        }
        into.extend_from_slice(String::from_utf8_lossy(&self.tail).as_bytes());
        self.head.clear();
        self.tail.clear();
        self.dropped = 0;
    }

    fn ends_with(&self, what: &[u8]) -> bool {
        // The tail's own start is no boundary that matters: what is looked for is three bytes long.
        let end = if self.tail.len() >= what.len() || self.head.len() < HEAD {
            if self.tail.is_empty() { &self.head } else { &self.tail }
        } else {
            return [&self.head[..], &self.tail[..]].concat().ends_with(what);
        };
        end.ends_with(what)
    }
}

impl<R: Read> Slim<R> {
    fn new(report: R) -> Slim<R> {
        Slim {
            inner: BufReader::new(report),
            state: State::Text,
            run: Run::default(),
            opening: Vec::new(),
            ready: Vec::new(),
            given: 0,
        }
    }

    /// Takes one byte. Runs end where the state changes, so that a cut never falls into markup.
    fn feed(&mut self, byte: u8) {
        match self.state {
            State::Text if byte == b'<' => {
                self.switch(State::Tag);
                self.opening.clear();
            }
            State::Tag if matches!(byte, b'"' | b'\'') => {
                self.run.push(byte);
                self.switch(State::Quoted(byte));
                return;
            }
            State::Quoted(quote) if byte == quote => self.switch(State::Tag),
            _ => {}
        }
        self.run.push(byte);
        match self.state {
            State::Tag => {
                if self.opening.len() < 9 {
                    self.opening.push(byte);
                }
                match self.opening.as_slice() {
                    b"<![CDATA[" if byte == b'[' => self.switch(State::Cdata),
                    b"<!--" => self.switch(State::Comment),
                    _ if byte == b'>' => self.switch(State::Text),
                    _ => {}
                }
            }
            State::Cdata if byte == b'>' && self.run.ends_with(b"]]>") => self.switch(State::Text),
            State::Comment if byte == b'>' && self.run.ends_with(b"-->") => self.switch(State::Text),
            State::Text | State::Quoted(_) | State::Cdata | State::Comment => {}
        }
    }

    fn switch(&mut self, state: State) {
        self.run.flush(&mut self.ready);
        self.state = state;
    }
}

impl<R: Read> Read for Slim<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.given == self.ready.len() {
            self.ready.clear();
            self.given = 0;
            let chunk = self.inner.fill_buf()?.to_vec();
            if chunk.is_empty() {
                self.run.flush(&mut self.ready);
                if self.ready.is_empty() {
                    return Ok(0);
                }
            }
            self.inner.consume(chunk.len());
            for byte in chunk {
                self.feed(byte);
            }
        }
        let some = (self.ready.len() - self.given).min(into.len());
        into[..some].copy_from_slice(&self.ready[self.given..self.given + some]);
        self.given += some;
        Ok(some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let sources = Sources::new(&Place::new(folder.path(), ""));
        (folder, sources)
    }

    /// Each test as `outcome id | message | location | frames`; `ROOT` in the report is the tree.
    fn check(dialect: Dialect, files: &[&str], report: &str, complete: bool, expected: &[&str]) {
        let files: Vec<(&str, &str)> = files.iter().map(|path| (*path, "")).collect();
        let (folder, sources) = tree(&files);
        let report = report.replace("ROOT", &folder.path().display().to_string());
        let parsed = super::read(report.as_bytes(), dialect, &sources).unwrap();
        let show = |test: &TestResult| {
            let outcome = format!("{:?}", test.outcome).to_lowercase();
            let message =
                test.message.replace(&folder.path().display().to_string(), "ROOT").replace('\n', "/");
            let places = test.location.iter().map(|place| format!(" | at {place}"));
            let frames = test.frames.iter().map(|frame| format!(" | {frame}"));
            let more: String = places.chain(frames).collect();
            format!("{outcome} {} | {message}{more}", test.id)
        };
        assert_eq!(parsed.tests.iter().map(show).collect::<Vec<_>>(), expected);
        assert_eq!(parsed.complete, complete);
    }

    /// Surefire 3.2.5 with `JUnit` 5.10.2, most foreign frames cut.
    const SUREFIRE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="3.0" name="com.example.csv.ShapesTest$Inner" time="0.007" tests="11" errors="2" skipped="2" failures="2">
  <properties><property name="java.version" value="17"/></properties>
  <testcase name="assumed" classname="com.example.csv.ShapesTest" time="0.0">
    <skipped type="org.opentest4j.TestAbortedException"><![CDATA[org.opentest4j.TestAbortedException: Assumption failed: no network
	at com.example.csv.ShapesTest.assumed(ShapesTest.java:8)
]]></skipped>
  </testcase>
  <testcase name="off" classname="com.example.csv.ShapesTest" time="0.0">
    <skipped message="not now"/>
  </testcase>
  <testcase name="cause" classname="com.example.csv.ShapesTest" time="0.002">
    <error message="outer" type="java.lang.IllegalStateException"><![CDATA[java.lang.IllegalStateException: outer
	at com.example.csv.ShapesTest.cause(ShapesTest.java:12)
	at java.base/java.lang.reflect.Method.invoke(Method.java:569)
Caused by: java.lang.RuntimeException: inner
	at com.example.csv.ShapesTest.helper(ShapesTest.java:13)
	... 4 more
]]></error>
  </testcase>
  <testcase name="given(String)[1]" classname="com.example.csv.ShapesTest" time="0.099"/>
  <testcase name="given(String)[2]" classname="com.example.csv.ShapesTest" time="0.017">
    <failure message="expected: &lt;[[a]]&gt; but was: &lt;b&gt;" type="org.opentest4j.AssertionFailedError"><![CDATA[org.opentest4j.AssertionFailedError: expected: <[[a]]]]><![CDATA[> but was: <b>
	at org.junit.jupiter.api.AssertEquals.failNotEqual(AssertEquals.java:197)
	at org.junit.jupiter.api.AssertEquals.assertEquals(AssertEquals.java:182)
	at com.example.csv.ShapesTest.given(ShapesTest.java:9)
]]></failure>
  </testcase>
  <testcase name="twice" classname="com.example.csv.ShapesTest" time="0.002"/>
  <testcase name="twice" classname="com.example.csv.ShapesTest" time="0.006"><failure message="second"/></testcase>
  <testcase name="deepBad" classname="com.example.csv.ShapesTest$Inner" time="0.005">
    <failure message="no" type="org.opentest4j.AssertionFailedError"><![CDATA[org.opentest4j.AssertionFailedError: no
	at com.example.csv.ShapesTest$Inner.deepBad(ShapesTest.java:14)
]]></failure>
    <system-out><![CDATA[printed
]]></system-out>
  </testcase>
  <testcase name="" classname="com.example.csv.BrokenClassTest" time="0.032">
    <error message="no set-up" type="java.lang.IllegalStateException">java.lang.IllegalStateException: no set-up</error>
  </testcase>
</testsuite>
"#;

    #[test]
    fn surefire_reports_classes_and_methods_with_frames_of_the_repository() {
        const AT: &str = "src/test/java/com/example/csv/ShapesTest.java";
        check(
            Dialect::Java,
            &[AT, "src/main/java/com/other/AssertEquals.java"],
            SUREFIRE,
            true,
            &[
                &format!(
                    "skipped com.example.csv.ShapesTest#assumed | org.opentest4j.TestAbortedException: Assumption failed: no network/\tat com.example.csv.ShapesTest.assumed(ShapesTest.java:8) | at {AT}:8 | {AT}:8"
                ),
                &format!("skipped com.example.csv.ShapesTest#off | not now | at {AT}"),
                &format!(
                    "failed com.example.csv.ShapesTest#cause | java.lang.IllegalStateException: outer/\tat com.example.csv.ShapesTest.cause(ShapesTest.java:12)/\t… 1 frame outside the repository/Caused by: java.lang.RuntimeException: inner/\tat com.example.csv.ShapesTest.helper(ShapesTest.java:13)/\t... 4 more | at {AT}:13 | {AT}:12 | {AT}:13"
                ),
                &format!("passed com.example.csv.ShapesTest#given(String)[1] |  | at {AT}"),
                &format!(
                    "failed com.example.csv.ShapesTest#given(String)[2] | org.opentest4j.AssertionFailedError: expected: <[[a]]> but was: <b>/\t… 2 frames outside the repository/\tat com.example.csv.ShapesTest.given(ShapesTest.java:9) | at {AT}:9 | {AT}:9"
                ),
                &format!("failed com.example.csv.ShapesTest#twice | second | at {AT}"),
                &format!(
                    "failed com.example.csv.ShapesTest$Inner#deepBad | org.opentest4j.AssertionFailedError: no/\tat com.example.csv.ShapesTest$Inner.deepBad(ShapesTest.java:14) | at {AT}:14 | {AT}:14"
                ),
                "failed com.example.csv.BrokenClassTest | java.lang.IllegalStateException: no set-up",
            ],
        );
    }

    #[test]
    fn a_class_in_two_modules_has_no_place_and_gradle_loses_its_parentheses() {
        let report = r#"<testsuite name="a.BTest" tests="1"><testcase name="adds()" classname="a.BTest" time="1,000.5">
            <failure message="java.lang.AssertionError: x">java.lang.AssertionError: x
	at app//a.BTest.adds(BTest.java:3)
	at a.Only.f(Only.kt:7)</failure></testcase></testsuite>"#;
        check(
            Dialect::Java,
            &["m/src/test/java/a/BTest.java", "n/src/test/java/a/BTest.java", "m/src/main/kotlin/Only.kt"],
            report,
            true,
            &[
                "failed a.BTest#adds | java.lang.AssertionError: x/\t… 1 frame outside the repository/\tat a.Only.f(Only.kt:7) | m/src/main/kotlin/Only.kt:7",
            ],
        );
    }

    /// `CTest` 3.25.1.
    const CTEST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="Linux-cc"
	tests="14"
	failures="5"
	time="3"
	>
	<testcase name="segv" classname="segv" time="0.00205134" status="fail">
		<failure message=""/>
		<system-out></system-out>
	</testcase>
	<testcase name="asrt" classname="asrt" time="0.00272479" status="fail">
		<failure message=""/>
		<system-out>asrt: ROOT/tests/asrt.c:2: main: Assertion `1==2' failed.
</system-out>
	</testcase>
	<testcase name="ok" classname="ok" time="0.00386161" status="run">
		<system-out></system-out>
	</testcase>
	<testcase name="bad" classname="bad" time="0" status="notrun">
		<skipped message="Unable to find executable"/>
		<system-out>Unable to find executable: /b/bad</system-out>
	</testcase>
	<testcase name="calc_NOT_BUILT" classname="calc_NOT_BUILT" time="0" status="notrun">
		<skipped message="Unable to find executable"/>
		<system-out>Unable to find executable: calc_NOT_BUILT</system-out>
	</testcase>
	<testcase name="off" classname="off" time="0" status="disabled">
		<system-out>Disabled</system-out>
	</testcase>
	<testcase name="skip" classname="skip" time="0.00201797" status="notrun">
		<skipped message="SKIP_RETURN_CODE=77"/>
		<system-out></system-out>
	</testcase>
	<testcase name="needs" classname="needs" time="0" status="notrun">
		<skipped message="Fixture dependency failed"/>
		<system-out>Failed test dependencies: setup</system-out>
	</testcase>
</testsuite>
"#;

    #[test]
    fn ctest_tells_what_could_not_run_from_what_did_not_want_to() {
        check(
            Dialect::Ctest,
            &["tests/asrt.c"],
            CTEST,
            true,
            &[
                "failed segv | ",
                "failed asrt | asrt: ROOT/tests/asrt.c:2: main: Assertion `1==2' failed. | tests/asrt.c:2",
                "passed ok | ",
                "missing bad | Unable to find executable: /b/bad",
                "skipped off | Disabled",
                "skipped skip | SKIP_RETURN_CODE=77",
                "missing needs | Fixture dependency failed/Failed test dependencies: setup",
            ],
        );
    }

    #[test]
    fn ctest_names_the_signal_on_stdout() {
        let stdout = "\
50% tests passed, 3 tests failed out of 6

The following tests FAILED:
\t  1 - segv (SEGFAULT)
\t  5 - slow one (really) (Timeout)
\t 12 - willfail (Failed)
Errors while running CTest
";
        let mut tests = vec![
            TestResult::failed("segv", ""),
            TestResult::failed("slow one (really)", "so far"),
            TestResult::failed("willfail", ""),
            TestResult::new("ok", Outcome::Passed),
        ];
        add_reasons(&mut tests, stdout);
        let messages: Vec<&str> = tests.iter().map(|test| test.message.as_str()).collect();
        assert_eq!(messages, ["SEGFAULT", "Timeout\nso far", "it failed and printed nothing", ""]);
    }

    /// pytest and `GoogleTest`.
    #[test]
    fn others_have_classes_and_names() {
        let pytest = r#"<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="0" failures="2" skipped="1" tests="4"><testcase classname="test_x.TestA" name="test_z" time="0.000"><failure message="ZeroDivisionError: division by zero">    def f(x):
&gt;       return 1/x
E       ZeroDivisionError: division by zero

test_x.py:3: ZeroDivisionError</failure></testcase><testcase classname="test_x.TestA" name="test_s" time="0.000"><skipped type="pytest.skip" message="why">ROOT/test_x.py:7: why</skipped></testcase><testcase classname="test_x" name="test_p[&lt;&amp;&gt;]" time="0.000" /></testsuite></testsuites>"#;
        check(
            Dialect::Generic,
            &["test_x.py"],
            pytest,
            true,
            &[
                "failed test_x.TestA::test_z |     def f(x):/>       return 1/x/E       ZeroDivisionError: division by zero//test_x.py:3: ZeroDivisionError | test_x.py:3",
                "skipped test_x.TestA::test_s | ROOT/test_x.py:7: why | test_x.py:7",
                "passed test_x::test_p[<&>] | ",
            ],
        );
        let googletest = r#"<testsuites><testsuite name="Parse">
    <testcase name="Sums" file="ROOT/tests/parse.cpp" line="23" status="run" result="completed" time="0" classname="Parse" />
    <testcase name="Off" file="ROOT/tests/parse.cpp" line="25" status="notrun" result="suppressed" time="0" classname="Parse" />
    <testcase name="Signs" file="ROOT/tests/parse.cpp" line="27" status="run" result="completed" time="0" classname="Parse">
      <failure message="ROOT/tests/parse.cpp:30&#x0A;Expected &quot;1&quot;" type=""><![CDATA[ROOT/tests/parse.cpp:30
Expected "1"]]></failure>
      <failure message="ROOT/tests/parse.cpp:31&#x0A;Expected 2" type=""><![CDATA[ROOT/tests/parse.cpp:31
Expected 2]]></failure>
    </testcase></testsuite></testsuites>"#;
        check(
            Dialect::Generic,
            &["tests/parse.cpp"],
            googletest,
            true,
            &[
                "passed Parse::Sums |  | at tests/parse.cpp:23",
                "skipped Parse::Off |  | at tests/parse.cpp:25",
                "failed Parse::Signs | ROOT/tests/parse.cpp:30/Expected \"1\"//ROOT/tests/parse.cpp:31/Expected 2 | at tests/parse.cpp:27 | tests/parse.cpp:30 | tests/parse.cpp:31",
            ],
        );
    }

    #[test]
    fn a_test_that_passed_at_last_has_passed_and_a_cut_report_is_not_whole() {
        let report = r#"<testsuite name="s"><testcase name="a" classname="C">
            <flakyFailure message="once"><stackTrace>x</stackTrace><system-out>o</system-out></flakyFailure></testcase>
            <testcase name="b"><skipped/></testcase><testcase name="c"><failure>bro"#;
        check(Dialect::Generic, &[], report, false, &["passed C::a | ", "skipped b | "]);
        for empty in ["", "no XML", "<html><body/></html>", "<testsuite>"] {
            check(Dialect::Generic, &[], empty, false, &[]);
        }
    }

    #[test]
    fn hostile_reports_cost_little_and_break_nothing() {
        let (_folder, sources) = tree(&[]);
        let read = |report: &[u8]| super::read(report, Dialect::Java, &sources).unwrap();
        let bomb = br#"<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;"> ]><testsuite><testcase name="t&b;" classname="c"><failure>&b; &#x41; &#0; & x</failure></testcase></testsuite>"#;
        let parsed = read(bomb);
        assert_eq!(parsed.tests.len(), 1);
        assert_eq!(parsed.tests[0].message, "\u{fffd} A \u{fffd} & x");

        let deep = "<testsuite>".repeat(100_000);
        assert!(!read(deep.as_bytes()).complete);

        let mut invalid = b"<testsuite><testcase name='\xff' classname='c'><failure>\xc3(".to_vec();
        invalid.extend(b"</failure></testcase></testsuite>");
        assert_eq!(read(&invalid).tests[0].id, "c#\u{fffd}");

        let mut huge =
            b"<testsuite><testcase name='a' classname='c'><failure message='m'><![CDATA[first ".to_vec();
        huge.extend(std::iter::repeat_n(b"]]", 4 << 20).flatten());
        huge.extend(b" last]]></failure><system-out>");
        huge.extend(std::iter::repeat_n(b'x', 8 << 20));
        huge.extend(b"</system-out></testcase><testcase name='b' classname='c'/></testsuite>");
        let parsed = read(&huge);
        let message = &parsed.tests[0].message;
        assert!(message.len() <= 20 << 10, "{}", message.len());
        assert!(message.contains("first ]]") && message.ends_with("]] last"));
        assert_eq!((parsed.tests.len(), parsed.complete), (2, true));
    }
}
