//! The words that people read on GitHub, from templates in `harness/action/`. Every value that is put into a template
//! is escaped unless a filter has made it safe, so that forgetting is harmless.

use std::collections::BTreeSet;

use anyhow::Result;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Serialize;

use super::{Failing, MARK, Secrets, TRAILER, Told, escape};
use crate::patch::Patch;
use crate::text::clip;
use crate::verdict::{Evidence, LayerResult, TestId, Verdict};
use crate::verify::{Receipt, count};

const FAILING: &str = include_str!("../../harness/action/failing.md");
const EVIDENCE: &str = include_str!("../../harness/action/evidence.md");
const PULL: &str = include_str!("../../harness/action/pull-request.md");
const COMMENT: &str = include_str!("../../harness/action/comment.md");

/// Failing tests that are shown, and bytes of each one's message.
const SHOWN: usize = 5;
const MESSAGE: usize = 800;
/// Changed files that are listed.
const FILES: usize = 50;
/// Bytes of the patch and of the story in a comment; a summary has room for more.
const DIFF: usize = 20_000;
const STORY: usize = 16_000;

/// What there is to tell.
#[derive(Debug)]
pub struct Tale<'a> {
    /// What the solving step told.
    pub told: &'a Told,
    /// What the verifier said of the patch, if there is one.
    pub receipt: Option<&'a Receipt>,
    /// The patch as a diff, where it is to be shown.
    pub diff: &'a str,
    /// The pull request that holds it.
    pub pull: Option<u64>,
    /// The commit that holds it, where there is no pull request.
    pub committed: Option<&'a str>,
    /// What else is to be said.
    pub notes: &'a [String],
    /// The label that forbids fixes.
    pub opt_out: &'a str,
    /// Values that must stand nowhere.
    pub secrets: &'a Secrets,
}

#[derive(Serialize)]
struct One<'a> {
    test: &'a str,
    file: &'a str,
    place: String,
    message: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    failing: Vec<One<'a>>,
    more: usize,
}

#[derive(Serialize)]
struct Layered {
    mark: &'static str,
    name: String,
    detail: String,
}

#[derive(Serialize)]
struct Proof<'a> {
    word: &'a str,
    model: &'a str,
    attempts: u32,
    cost: String,
    head: &'a str,
    base_tree: &'a str,
    composed_tree: &'a str,
    fixed_count: String,
    fixed: Vec<&'a String>,
    fixed_more: usize,
    kept: Option<String>,
    runs: String,
    sandbox: &'a str,
    layers: Vec<Layered>,
    strength: Vec<String>,
    caveats: &'a [String],
    issue: Option<u64>,
}

#[derive(Serialize)]
struct Changed {
    path: String,
    added: usize,
    removed: usize,
}

#[derive(Serialize)]
struct Page<'a> {
    outcome: &'static str,
    reason: &'a str,
    branch: &'a str,
    head: &'a str,
    model: &'a str,
    attempts: u32,
    cost: String,
    run_url: Option<Value>,
    pull: Option<u64>,
    committed: Option<&'a str>,
    notes: &'a [String],
    opt_out: &'a str,
    files: Vec<Changed>,
    more_files: usize,
    diff: String,
    story: String,
    failing_part: Value,
    evidence_part: Value,
}

/// The sticky comment, with the mark that it is found by.
pub fn comment(tale: &Tale<'_>) -> Result<String> {
    let text = format!("{MARK} sticky -->\n{}", page(COMMENT, tale, DIFF, STORY)?);
    Ok(escape::cap(&text, escape::COMMENT))
}

/// The same as a check run's summary.
pub fn check(tale: &Tale<'_>) -> Result<String> {
    // GitHub allows one byte less than for a comment.
    Ok(escape::cap(&page(COMMENT, tale, DIFF, STORY)?, escape::COMMENT - 1))
}

/// The job summary.
pub fn summary(tale: &Tale<'_>) -> Result<String> {
    Ok(escape::cap(&page(COMMENT, tale, 200_000, 200_000)?, escape::SUMMARY / 2))
}

/// The text of the pull request, marked with the commit that its branch is to hold and the one before it.
pub fn pull_request(tale: &Tale<'_>, commit: &str, before: &str) -> Result<String> {
    let mark = format!("{MARK} signature={} commit={commit} was={before} -->", tale.told.signature);
    Ok(escape::cap(&format!("{mark}\n{}", page(PULL, tale, 0, 0)?), escape::COMMENT))
}

/// The message of the commit. Of anybody else's words it has a test's name, in letters and digits.
pub fn commit_message(tale: &Tale<'_>) -> String {
    let word = tale.receipt.map_or("", |receipt| receipt.word.as_str());
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "{}\n\nVerified by regreen {version}: {word}.\n\n{TRAILER} {}\n",
        title(tale),
        tale.told.signature
    )
}

/// The title of pull request and commit: `Make test_wrap and 2 more tests pass`. Its first and its last word are what
/// [`super::event::own`] looks for.
pub fn title(tale: &Tale<'_>) -> String {
    match tale.receipt.map(|receipt| &receipt.verdict) {
        Some(Verdict::Green(evidence)) => title_of(&evidence.fixed, tale.secrets),
        _ => "Make the tests pass".to_owned(),
    }
}

/// Of a name only letters, digits and underscores.
fn title_of(fixed: &BTreeSet<TestId>, secrets: &Secrets) -> String {
    let plain = |text: &str| {
        let text = secrets.hide(text);
        let words =
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(" ").chars().take(60).collect::<String>()
    };
    let first = fixed.first().map(String::as_str).unwrap_or_default();
    let build = first.strip_prefix("build (").and_then(|rest| rest.strip_suffix(')'));
    let last = first.rsplit(['.', ':', '#', '/', '>']).next().unwrap_or(first);
    let name = match (build, plain(last)) {
        (Some(suite), _) => format!("the {} build", plain(suite)),
        (None, name) if name.is_empty() => "the tests".to_owned(),
        (None, name) if name.contains(' ') => format!("\"{name}\""),
        (None, name) => name,
    };
    match fixed.len() {
        0 | 1 => format!("Make {name} pass"),
        n => format!("Make {name} and {} pass", count(n - 1, "more test")),
    }
}

fn page(template: &str, tale: &Tale<'_>, diff: usize, story: usize) -> Result<String> {
    let told = tale.told;
    let hide = |text: &str| tale.secrets.hide(text);
    let patch = tale.receipt.map(|receipt| &receipt.patch);
    let page = Page {
        outcome: told.outcome.name(),
        reason: &told.reason,
        branch: &told.base_branch,
        head: &told.head_sha,
        model: &told.model,
        attempts: told.attempts,
        cost: format!("{:.4}", told.cost_usd),
        run_url: link(&told.run_url),
        pull: tale.pull,
        committed: tale.committed,
        notes: tale.notes,
        opt_out: tale.opt_out,
        files: patch.map(|patch| changed(patch, tale.diff)).unwrap_or_default(),
        more_files: patch.map_or(0, |patch| patch.0.len().saturating_sub(FILES)),
        diff: clip(&hide(tale.diff), diff).into_owned(),
        story: clip(&hide(&told.story), story).trim_end().to_owned(),
        failing_part: Value::from_safe_string(failing(&told.failing, tale.secrets)?),
        evidence_part: Value::from_safe_string(proof(tale)?),
    };
    let page = if diff == 0 { Page { diff: String::new(), story: String::new(), ..page } } else { page };
    // What a template took from a value without passing it through `hide` is caught here.
    Ok(hide(&render(template, &page)?))
}

/// An address of our own that may stand in a link.
fn link(url: &str) -> Option<Value> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":/.-_".contains(c);
    let fits = (url.starts_with("https://") || url.starts_with("http://")) && url.chars().all(plain);
    fits.then(|| Value::from_safe_string(url.to_owned()))
}

fn failing<'a>(failing: &'a [Failing], secrets: &Secrets) -> Result<String> {
    if failing.is_empty() {
        return Ok(String::new());
    }
    let one = |one: &'a Failing| One {
        test: &one.test,
        file: &one.file,
        place: if one.line == 0 { one.file.clone() } else { format!("{}:{}", one.file, one.line) },
        message: clip(&secrets.hide(one.message.trim()), MESSAGE).into_owned(),
    };
    let shown = failing.iter().take(SHOWN).map(one).collect();
    render(FAILING, &Shown { failing: shown, more: failing.len().saturating_sub(SHOWN) })
}

/// How the patch was verified and what is not proven; empty without a pass.
fn proof(tale: &Tale<'_>) -> Result<String> {
    let Some(receipt) = tale.receipt else { return Ok(String::new()) };
    let Verdict::Green(evidence) = &receipt.verdict else { return Ok(String::new()) };
    let proof = Proof {
        word: &receipt.word,
        model: &tale.told.model,
        attempts: tale.told.attempts,
        cost: format!("{:.4}", tale.told.cost_usd),
        head: &tale.told.head_sha,
        base_tree: &receipt.base_tree,
        composed_tree: &receipt.composed_tree,
        fixed_count: count(evidence.fixed.len(), "target"),
        fixed: evidence.fixed.iter().take(SHOWN).collect(),
        fixed_more: evidence.fixed.len().saturating_sub(SHOWN),
        kept: (evidence.guards_kept > 0).then(|| count(evidence.guards_kept, "test")),
        runs: count(evidence.runs as usize, "full run"),
        sandbox: &evidence.sandbox,
        layers: layers(evidence),
        strength: evidence.strength_in_words(),
        caveats: &evidence.caveats,
        issue: tale.told.issue,
    };
    render(EVIDENCE, &proof)
}

fn layers(evidence: &Evidence) -> Vec<Layered> {
    let ran = evidence.layers.iter().filter(|layer| layer.result != LayerResult::NotRun);
    let mark = |result| match result {
        LayerResult::Passed => "✓",
        LayerResult::Flagged => "⚠",
        LayerResult::Stopped | LayerResult::NotRun => "✗",
    };
    ran.map(|layer| Layered {
        mark: mark(layer.result),
        name: layer.name.to_string(),
        detail: layer.detail.clone(),
    })
    .collect()
}

/// The changed files, with lines added and removed as the diff has them.
fn changed(patch: &Patch, diff: &str) -> Vec<Changed> {
    let diff = format!("\n{diff}");
    let lines = |path: &str| {
        // At the start of a line: an added line may hold anything.
        let start = format!("\ndiff --git a/{path} b/{path}\n");
        let part = diff.split_once(&start).map_or("", |(_, rest)| rest);
        let part = part.split("\ndiff --git ").next().unwrap_or_default();
        let body = part.lines().skip_while(|line| !line.starts_with("@@"));
        body.fold((0, 0), |(added, removed), line| match line.as_bytes().first() {
            Some(b'+') => (added + 1, removed),
            Some(b'-') => (added, removed + 1),
            _ => (added, removed),
        })
    };
    let one = |path: &crate::patch::RepoPath| {
        let (added, removed) = lines(path.as_str());
        Changed { path: path.to_string(), added, removed }
    };
    patch.paths().take(FILES).map(one).collect()
}

fn render(template: &str, page: &impl Serialize) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_formatter(|out, _, value| {
        match value.kind() {
            ValueKind::Number => write!(out, "{value}")?,
            _ if value.is_safe() => write!(out, "{value}")?,
            _ => write!(out, "{}", escape::plain(&value.to_string()))?,
        }
        Ok(())
    });
    environment.add_filter("code", |text: String| Value::from_safe_string(escape::code(&text)));
    environment.add_filter("fenced", |text: String, language: Option<String>| {
        Value::from_safe_string(escape::fenced(&text, &language.unwrap_or_default()))
    });
    environment.add_filter("indented", |text: String| {
        let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
        Value::from_safe_string(lines.join("\n"))
    });
    Ok(environment.render_str(template, Value::from(Serde(page)))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_a_sentence_and_nothing_but_words() {
        let check = |fixed: &[&str], expected: &str| {
            let fixed = fixed.iter().map(|id| (*id).to_owned()).collect();
            assert_eq!(title_of(&fixed, &Secrets::new(["hunter2hunter2".to_owned()])), expected);
        };
        check(&["tests.test_wrap.Wrap::test_wraps"], "Make test_wraps pass");
        check(
            &["a.js > LRU > a read entry stays", "b", "c"],
            "Make \"a read entry stays\" and 2 more tests pass",
        );
        check(&["build (cargo)"], "Make the cargo build pass");
        check(&["a::fixes GH-12 @octocat <b `x`"], "Make \"fixes GH 12 octocat b x\" pass");
        check(&["a::x_hunter2hunter2"], "Make x_ pass");
        check(&["***"], "Make the tests pass");
    }
}
