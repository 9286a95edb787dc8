//! The prompt of an attempt, fitted to the model's context: the least useful is dropped first, and the same
//! material always gives the same prompt. The words are templates, `harness/prompts/*.md`; what they may say is
//! [`View`]. Finding the material is [`relevant()`]'s work.
//!
//! Everything here comes from a repository, a test or a model. It stands in fences that are longer than any
//! run of backticks in it, so that it cannot end them.

mod excerpt;
mod relevant;

use std::borrow::Cow;

use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Serialize;

use crate::diagnostic::{Diagnostic, Severity};
use crate::edit::{self, Problem};
use crate::patch::RepoPath;
use crate::text;
use crate::verdict::{Baseline, Failure};

pub use relevant::{Relevant, Repository, SourceFile, TestSource, relevant};

/// Bytes of a prompt, however large the context is: more costs money and makes answers worse.
const MOST: usize = 30_000;

/// Bytes to a token. Models differ; code comes to between 3 and 4, and too many tokens are worse than too few.
const BYTES_PER_TOKEN: u64 = 3;

/// What a model is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    /// The rules of the game.
    pub system: String,
    /// The task and what failed.
    pub user: String,
}

impl Prompt {
    /// About how many tokens the prompt has, rather too many than too few.
    pub fn tokens(&self) -> u64 {
        ((self.system.len() + self.user.len()) as u64).div_ceil(BYTES_PER_TOKEN)
    }
}

/// The templates, in minijinja's language.
#[derive(Clone, Debug, PartialEq)]
pub struct Templates {
    /// The system prompt; it is given no data.
    pub system: Cow<'static, str>,
    /// The user prompt; it is given a [`View`].
    pub user: Cow<'static, str>,
}

impl Default for Templates {
    /// Those of `harness/prompts`.
    fn default() -> Self {
        Templates {
            system: include_str!("../../harness/prompts/system.md").into(),
            user: include_str!("../../harness/prompts/user.md").into(),
        }
    }
}

/// Whether a prompt goes on from the last candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A new start: earlier attempts are one line each.
    Fresh,
    /// The diff just tried is shown with what it failed with.
    Repair,
}

/// All that a prompt can say.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// New start or next step.
    pub mode: Mode,
    /// What is wrong, in the words of whoever reports it.
    pub statement: Option<&'a str>,
    /// What failed: the base, or in [`Mode::Repair`] the last candidate.
    pub failure: &'a Failure,
    /// What the base says.
    pub baseline: &'a Baseline,
    /// Source files and the failing tests' source.
    pub relevant: &'a Relevant,
    /// The diff just tried; only [`Mode::Repair`] shows it.
    pub tried: Option<&'a str>,
    /// The edits of the last answer that did not fit; only [`Mode::Repair`] shows them.
    pub problems: &'a [Problem],
    /// A line per attempt so far ([`digest`]), the oldest first; [`Mode::Repair`] shows the last one in full
    /// instead. The more there are, the more files are shown.
    pub earlier: &'a [String],
    /// Globs of files whose edits are left out, besides the toolchain's own.
    pub protected: &'a [String],
}

/// What the user template is given; any of it may be empty.
#[derive(Debug, Default, Serialize)]
pub struct View {
    /// The task's statement.
    pub statement: String,
    /// The diff just tried.
    pub tried: String,
    /// The edits of the last answer that did not fit.
    pub complaint: String,
    /// One sentence about the failure.
    pub summary: String,
    /// What compilers say.
    pub diagnostics: Vec<String>,
    /// Failing tests with their messages.
    pub failing: Vec<Failing>,
    /// How many tests pass on the base and must go on passing.
    pub guards: usize,
    /// Further failing tests, in a line.
    pub also: String,
    /// Output of the command that failed.
    pub log: String,
    /// The failing tests' source.
    pub tests: Vec<Shown>,
    /// Source files.
    pub files: Vec<Shown>,
    /// Further files, in a line.
    pub others: String,
    /// A line per earlier attempt.
    pub earlier: Vec<String>,
    /// Globs of read-only files, in a line.
    pub protected: String,
}

/// A failing test.
#[derive(Debug, Serialize)]
pub struct Failing {
    /// Its id.
    pub id: String,
    /// Its assertion and values.
    pub message: String,
}

/// Source text.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Where it lies.
    pub path: String,
    /// Why it is shown.
    pub why: String,
    /// The text.
    pub text: String,
}

/// Renders the prompt, of at most `context` tokens. Fails only if a template is broken.
pub fn build(templates: &Templates, material: &Material, context: u64) -> Result<Prompt> {
    let most = usize::try_from(context.saturating_mul(BYTES_PER_TOKEN)).map_or(MOST, |bytes| bytes.min(MOST));
    let mut system =
        render(&templates.system, &View::default()).context("failed to render the system prompt")?;
    cut(&mut system, most);
    let most = most - system.len();
    // The words of the template itself and the fences come on top of what is shown: give less until all fits.
    let mut room = most;
    loop {
        let view = view(material, room);
        let mut user = render(&templates.user, &view).context("failed to render the user prompt")?;
        if user.len() <= most || room == 0 {
            cut(&mut user, most);
            return Ok(Prompt { system, user });
        }
        room = room.saturating_sub((user.len() - most).max(room / 8 + 16));
    }
}

/// One line about an attempt: who made it, what it changed, how it failed.
pub fn digest(model: &str, diff: &str, failure: &str) -> String {
    let mut files: Vec<(&str, u32, u32)> = Vec::new();
    for line in diff.lines() {
        if let Some(paths) = line.strip_prefix("diff --git a/") {
            files.push((paths.split(" b/").next().unwrap_or(paths), 0, 0));
        } else if let Some((_, more, less)) = files.last_mut().filter(|_| !is_header(line)) {
            *more += u32::from(line.starts_with('+'));
            *less += u32::from(line.starts_with('-'));
        }
    }
    let files: Vec<String> =
        files.iter().map(|(path, more, less)| format!("{path} (+{more} -{less})")).collect();
    let changed = match &files[..] {
        [] => "no edit".to_owned(),
        files => text::clip(&text::list(files, 4), 200).into_owned(),
    };
    let model = text::clip(model, 80);
    text::one_line(&format!("{model}: {changed}: {}", text::clip(failure, 240)))
}

/// Whether a diff's line is one of the two above its hunks.
fn is_header(line: &str) -> bool {
    line.starts_with("--- ") || line.starts_with("+++ ")
}

/// Bytes that are left to be shown.
struct Room(usize);

/// What a heading, a fence and blank lines take around a text.
const AROUND: usize = 40;

/// A text of which no more than this many bytes fit is not worth showing.
const LEAST: usize = 160;

impl Room {
    /// As much of `text` as fits, and no more than `most` bytes; empty if that is too little to be of use.
    fn take(&mut self, text: &str, most: usize) -> String {
        let text = text.trim_end();
        let most = most.min(self.0.saturating_sub(AROUND));
        if text.is_empty() || most < LEAST.min(text.len()) {
            return String::new();
        }
        // The note that tells what was left out comes on top.
        let taken = text::clip(text, if text.len() > most { most.saturating_sub(60) } else { most });
        self.0 = self.0.saturating_sub(taken.len() + AROUND);
        taken.into_owned()
    }

    /// [`Room::take`] of a text that is shown to `len` of its bytes or not at all.
    fn take_most_of(&mut self, text: &str, most: usize) -> String {
        let fits = self.0.saturating_sub(AROUND);
        if text.len() / 2 > fits { String::new() } else { self.take(text, most) }
    }
}

/// Fills `room` bytes, the most useful first: why the last answer did not apply, the statement, the first
/// compiler message and failing test, the likeliest file, the diff just tried, the first test's source; then
/// the rest of each kind in the same order, earlier attempts, output.
fn view(material: &Material, room: usize) -> View {
    let failure = material.failure;
    let mut room = Room(room);
    let mut view = View {
        summary: room.take(&text::one_line(&text::clip(&failure.summary, 1000)), 600),
        guards: material.baseline.guards.len(),
        ..View::default()
    };
    let repair = material.mode == Mode::Repair;
    if repair {
        let complaint = edit::complaint(material.problems);
        view.complaint = room.take(&complaint, 4000);
    }
    let share = room.0 / 4;
    view.statement = room
        .take(&text::printable(&text::clip(material.statement.unwrap_or_default(), MOST)), share.max(1500));
    let mut errors = failure.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let mut tests = failure.tests.iter();
    diagnostics(&mut view, &mut room, errors.by_ref().take(3));
    failing(&mut view, &mut room, tests.by_ref().take(1), 3000);
    if failure.diagnostics.is_empty() && failure.tests.is_empty() {
        view.log = room.take(&text::printable(&text::clip(&failure.log, 4000)), 4000);
    }
    let order = ordered(material);
    let reach = reach(material.earlier.len());
    files(&mut view, &mut room, &order[..order.len().min(1)], reach);
    if repair {
        view.tried = room.take(material.tried.unwrap_or_default(), 6000);
    }
    sources(&mut view, &mut room, &material.relevant.tests[..material.relevant.tests.len().min(1)]);
    failing(&mut view, &mut room, tests.by_ref().take(3), if repair { 240 } else { 320 });
    files(&mut view, &mut room, order.get(1..).unwrap_or_default(), reach);
    diagnostics(&mut view, &mut room, errors.take(7));
    let shown_in_full = usize::from(repair && material.tried.is_some());
    let before = material.earlier.len().saturating_sub(shown_in_full);
    earlier(&mut view, &mut room, &material.earlier[..before]);
    sources(&mut view, &mut room, material.relevant.tests.get(1..).unwrap_or_default());
    let also: Vec<&str> = tests.map(|test| test.id.as_str()).collect();
    view.also = room.take(&text::list(&also, 8), 800);
    let ranked = order.iter().map(|file| &file.path);
    let shown = |path: &&RepoPath| view.files.iter().any(|shown| shown.path == path.as_str());
    let others: Vec<&str> =
        ranked.chain(&material.relevant.others).filter(|path| !shown(path)).map(RepoPath::as_str).collect();
    view.others = room.take(&text::list(&others, 30), 600);
    view.protected = room.take(&text::list(material.protected, 8), 400);
    view
}

/// Shows compiler messages, each once, as the compiler renders them.
fn diagnostics<'a>(view: &mut View, room: &mut Room, errors: impl Iterator<Item = &'a Diagnostic>) {
    for error in errors {
        let said = if error.rendered.is_empty() {
            let place = error.location.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
            let code = if error.code.is_empty() { String::new() } else { format!("{}: ", error.code) };
            format!("{place}{code}{}", text::clip(&error.message, 1500))
        } else {
            text::clip(&error.rendered, 1500).into_owned()
        };
        let said = room.take(&text::printable(&said), 1500);
        view.diagnostics.extend((!said.is_empty() && !view.diagnostics.contains(&said)).then_some(said));
    }
}

/// Shows failing tests with their messages.
fn failing<'a>(
    view: &mut View,
    room: &mut Room,
    tests: impl Iterator<Item = &'a crate::verdict::TestResult>,
    most: usize,
) {
    for test in tests {
        let id = text::one_line(&text::clip(&test.id, 300)).replace('`', "'");
        let message = match telling(&text::clip(&test.message, 4 * most)) {
            said if said.is_empty() => "It gave no message.".to_owned(),
            said => said,
        };
        let message = room.take(&text::printable(&message), most);
        if !message.is_empty() {
            room.0 = room.0.saturating_sub(id.len());
            view.failing.push(Failing { id, message });
        }
    }
}

/// A message without the lines that only underline the line above.
fn telling(message: &str) -> String {
    let says = |line: &&str| line.trim().is_empty() || line.contains(|c: char| !" ^~".contains(c));
    let lines: Vec<&str> = message.lines().filter(says).collect();
    lines.join("\n").trim().to_owned()
}

/// Bytes of files that no compiler, frame or definition points at: few at first, since most failures need one
/// file, and more with each attempt that has failed.
fn reach(attempts: usize) -> usize {
    match attempts {
        0 => 4500,
        1 => 2600,
        2 | 3 => 9000,
        _ => 20_000,
    }
}

/// Bytes of files that something points at.
const STRONG: usize = 14_000;

/// Shows the files of a range: the first always, the others within their reach.
fn files(view: &mut View, room: &mut Room, files: &[&SourceFile], reach: usize) {
    for file in files {
        let shown: usize = view.files.iter().map(|file| file.text.len()).sum();
        let limit = if file.strong { STRONG.max(reach) } else { reach };
        if shown > 0 && shown + file.text.len() > limit {
            continue;
        }
        let text = room.take_most_of(&file.text, 12_000);
        if !text.is_empty() {
            let (path, why) = (file.path.to_string(), text::one_line(&file.why));
            room.0 = room.0.saturating_sub(path.len() + why.len());
            view.files.push(Shown { path, why, text });
        }
    }
}

/// The source files in the order of their use: what the last answer edits comes first.
fn ordered<'a>(material: &Material<'a>) -> Vec<&'a SourceFile> {
    let tried = material.tried.filter(|_| material.mode == Mode::Repair).unwrap_or_default();
    let edited: Vec<&str> = tried.lines().filter_map(|line| line.strip_prefix("diff --git a/")).collect();
    let edits = |file: &SourceFile| {
        let problem = |problem: &Problem| problem.path == file.path.as_str();
        let named = |paths: &&str| paths.split(" b/").next() == Some(file.path.as_str());
        edited.iter().any(named) || (material.mode == Mode::Repair && material.problems.iter().any(problem))
    };
    let mut files: Vec<&SourceFile> = material.relevant.files.iter().collect();
    files.sort_by_key(|file| !edits(file));
    files
}

/// Shows the failing tests' source, that of one file together.
fn sources(view: &mut View, room: &mut Room, tests: &[TestSource]) {
    for test in tests {
        let text = room.take_most_of(&test.text, 2500);
        let path = test.path.to_string();
        if text.is_empty() {
            continue;
        }
        if let Some(shown) = view.tests.iter_mut().find(|shown| shown.path == path) {
            shown.text = [
                &shown.text,
                "

",
                &text,
            ]
            .concat();
        } else {
            room.0 = room.0.saturating_sub(path.len());
            view.tests.push(Shown { path, why: String::new(), text });
        }
    }
}

/// Shows earlier attempts; when there are too many, the last ones.
fn earlier(view: &mut View, room: &mut Room, lines: &[String]) {
    for line in lines.iter().rev().take(12) {
        let line = room.take(&text::one_line(&text::clip(line, 600)), 600);
        if !line.is_empty() {
            view.earlier.insert(0, line);
        }
    }
}

fn render(template: &str, view: &View) -> Result<String> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("fenced", fenced);
    Ok(environment.render_str(template, Value::from(Serde(view)))?.trim().to_owned())
}

/// The filter that puts text into a fence which it cannot end.
#[expect(clippy::needless_pass_by_value, reason = "filters of minijinja own their arguments")]
fn fenced(text: String, language: Option<String>) -> String {
    let runs = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((runs + 1).max(3));
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{}\n{text}{end}{fence}", language.unwrap_or_default())
}

/// Cuts a text to `most` bytes, the last resort when not even the template's own words fit.
fn cut(text: &mut String, most: usize) {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests;
