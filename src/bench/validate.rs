//! Validating proves a task before anybody is measured with it: its base is red, its right answer is green every
//! time, no answer is none, the answer with a fault in it is noticed, and neither the statement nor the tree tells it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::Door;
use super::history::squeezed;
use super::mutants::mutants;
use super::set::{Entry, Opened};
use crate::patch::{File, Patch, RepoPath};
use crate::text::{clip, list, one_line};
use crate::verdict::{Baseline, Outcome, TestId, Verdict};
use crate::verify::{self, Case, Verifier};
use crate::workspace::Snapshot;

/// Mutants of the right answer that are tried until one is noticed.
const MUTANTS: usize = 6;

/// Characters that a line has at least which can give an answer away.
const TELLING: usize = 12;

/// What was found of a task.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Proof {
    /// The task.
    pub task: String,
    /// Its content, as SHA-256.
    pub hash: String,
    /// Why it is not fit to measure anybody with; empty if it is.
    pub faults: Vec<String>,
    /// Whether this machine is at fault rather than the task.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub environment: bool,
    /// What could not be shown either way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Whether it was the right answer that was not green.
    #[serde(skip)]
    pub(super) refused: bool,
}

impl Proof {
    fn of(entry: &Entry) -> Proof {
        Proof {
            task: entry.id.clone(),
            hash: entry.hash.clone(),
            faults: Vec::new(),
            environment: false,
            remarks: Vec::new(),
            refused: false,
        }
    }

    /// Of a task that cannot be run here.
    pub fn left_out(entry: &Entry, why: &str) -> Proof {
        Proof { faults: vec![format!("left out: {why}")], environment: true, ..Proof::of(entry) }
    }

    /// Whether the task may be used.
    pub fn holds(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Proves a task; the right answer must be green `times` times.
pub async fn prove(entry: &Entry, door: &Door, times: u32) -> Result<Proof> {
    let mut proof = Proof::of(entry);
    let opened = match entry.open(door).await {
        Ok(opened) => opened,
        Err(error) => {
            proof.faults.push(format!("it cannot be opened: {error:#}"));
            return Ok(proof);
        }
    };
    let say = |_: &str| {};
    let mut verifier = match (door.open)(opened.task.clone(), &opened.beside, &say) {
        Ok(verifier) => verifier,
        Err(error) => {
            proof.faults.push(format!("it cannot be opened: {error:#}"));
            return Ok(proof);
        }
    };
    verifier.held_out.clone_from(&opened.held_out);
    let base = &verifier.workshop.snapshot;
    let Some(answer) = &opened.answer else {
        proof.faults.push("the set does not tell the right answer".to_owned());
        return Ok(proof);
    };
    let gold = match answer.patch(&verifier).await {
        Ok(gold) => gold,
        Err(error) => {
            proof.faults.push(format!("the right answer cannot be read: {error:#}"));
            return Ok(proof);
        }
    };
    proof.faults.extend(quoted(&opened, &gold, base));
    proof.faults.extend(left_behind(&gold, base)?);
    let baseline = match red(&mut verifier).await? {
        Ok(baseline) => baseline,
        Err((environment, fault)) => {
            proof.environment = environment;
            proof.faults.push(fault);
            return Ok(proof);
        }
    };
    if let Some(fault) = not_green(&verifier, &baseline, &gold, times).await? {
        proof.faults.push(fault);
        proof.refused = true;
        return Ok(proof);
    }
    unnoticed(&verifier, &baseline, &gold, door.harness.as_deref(), &mut proof).await?;
    Ok(proof)
}

/// Measures the base, which must be red in every run: that is also what the empty patch leads to. Else why not, and
/// whether this machine is to blame.
async fn red(verifier: &mut Verifier) -> Result<Result<Baseline, (bool, String)>> {
    use crate::record::Cause;
    let say = |_: &str| {};
    let trouble = match verify::prepare(verifier, &say).await? {
        Some(trouble) => trouble,
        None => match verify::measure(verifier, &say).await? {
            Ok(baseline) if baseline.targets.is_empty() => {
                return Ok(Err((false, "nothing fails on the base".to_owned())));
            }
            Ok(baseline) => return Ok(Ok(baseline)),
            Err(trouble) => trouble,
        },
    };
    let environment = match trouble.cause {
        Cause::ToolchainMissing | Cause::DiskFull | Cause::NetworkNeeded => true,
        Cause::SetupFailed | Cause::Flaky | Cause::NoTests | Cause::SecretMissing | Cause::TargetsUnknown => {
            false
        }
    };
    Ok(Err((environment, clip(&one_line(&trouble.detail), 400).into_owned())))
}

/// Why the right answer is not green every time.
async fn not_green(
    verifier: &Verifier,
    baseline: &Baseline,
    gold: &Patch,
    times: u32,
) -> Result<Option<String>> {
    let composed = verifier.compose(gold)?;
    if verify::nothing_left(&composed).is_some() {
        let why = "nothing is left of the right answer without its edits of tests and configuration";
        return Ok(Some(format!("{why}: {}", list(&composed.left_out, 3))));
    }
    for time in 1..=times {
        let case = Case { baseline, product: &composed.product, delivered: None };
        let verdict = verifier.examine(case, &|_| {}).await?.verdict;
        if !matches!(verdict, Verdict::Green(_)) {
            let why = clip(&one_line(&verdict.reasons().join("; ")), 400).into_owned();
            return Ok(Some(format!(
                "the right answer is {} (time {time} of {times}): {why}",
                verdict.word()
            )));
        }
    }
    Ok(None)
}

/// Puts faults into the lines that the right answer changes: the tests must notice one of them.
async fn unnoticed(
    verifier: &Verifier,
    baseline: &Baseline,
    gold: &Patch,
    harness: Option<&Path>,
    proof: &mut Proof,
) -> Result<()> {
    let base = &verifier.workshop.snapshot;
    let mut tried = 0;
    for (path, after) in &gold.0 {
        let Some(after) = after else { continue };
        let Ok(text) = std::str::from_utf8(&after.content) else { continue };
        let before = base
            .file(path)?
            .map_or(String::new(), |file| String::from_utf8_lossy(&file.content).into_owned());
        let changed = changed_lines(&before, text);
        let made = mutants(path, text, &|line| changed.contains(&line), harness)?;
        for mutant in spread(made, MUTANTS) {
            let mut patch = gold.clone();
            patch.0.insert(path.clone(), Some(File { kind: after.kind, content: mutant.into_bytes() }));
            let product = verifier.compose(&patch)?.product;
            tried += 1;
            if !verifier.passes(baseline, &product, &|_| {}).await? {
                return Ok(());
            }
        }
    }
    if tried == 0 {
        proof.remarks.push(
            "no mutant of the right answer could be made: whether tests notice faults is not known"
                .to_owned(),
        );
    } else {
        proof.faults.push(format!("the tests pass with each of {tried} faults put into the right answer"));
    }
    Ok(())
}

/// A few of many, from all over.
fn spread(all: Vec<String>, most: usize) -> Vec<String> {
    let step = all.len().div_ceil(most).max(1);
    all.into_iter().step_by(step).collect()
}

/// The lines of `after` that `before` does not have, from 1.
fn changed_lines(before: &str, after: &str) -> BTreeSet<u32> {
    let diff = similar::TextDiff::from_lines(before, after);
    let new = diff.iter_all_changes().filter(|change| change.tag() == similar::ChangeTag::Insert);
    new.filter_map(|change| u32::try_from(change.new_index()? + 1).ok()).collect()
}

/// Lines of the right answer that are new and long enough to be told from others.
pub(super) fn telling(gold: &Patch, before: impl Fn(&RepoPath) -> Option<File>) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (path, after) in &gold.0 {
        let text = |file: &File| String::from_utf8_lossy(&file.content).into_owned();
        let before = before(path).as_ref().map(text).unwrap_or_default();
        let old: BTreeSet<&str> = before.lines().map(str::trim).collect();
        let after = after.as_ref().map(text).unwrap_or_default();
        let new = after.lines().map(str::trim).filter(|line| line.len() >= TELLING && !old.contains(line));
        lines.extend(new.map(str::to_owned));
    }
    lines
}

fn telling_on(gold: &Patch, base: &Snapshot) -> BTreeSet<String> {
    telling(gold, |path| base.file(path).ok().flatten())
}

/// Whether the statement quotes the right answer.
fn quoted(opened: &Opened, gold: &Patch, base: &Snapshot) -> Option<String> {
    let statement = squeezed(opened.task.statement.as_deref()?);
    let lines = telling_on(gold, base);
    let quoted = lines.iter().find(|line| statement.contains(&squeezed(line)))?;
    Some(format!("the statement quotes the right answer: {}", clip(&one_line(quoted), 120)))
}

/// Whether a file of the base holds the right answer, or may hold it where nobody can read it.
fn left_behind(gold: &Patch, base: &Snapshot) -> Result<Option<String>> {
    let lines = telling_on(gold, base);
    for path in base.paths()? {
        let Some(file) = base.file(&path)? else { continue };
        let whole =
            gold.0.values().flatten().any(|after| after.content == file.content && !file.content.is_empty());
        let text = String::from_utf8_lossy(&file.content);
        let there = || lines.iter().all(|line| text.contains(line.as_str()));
        // A few lines may stand in any file; in a copy of a file that is changed they are the answer.
        let few = if is_copy(&path, gold) { 1 } else { 3 };
        if whole || lines.len() >= few && there() {
            return Ok(Some(format!("{path} of the base holds the right answer")));
        }
        if is_compiled(&path, gold) {
            return Ok(Some(format!(
                "{path} of the base is compiled from a file that the right answer changes"
            )));
        }
        if is_history(&path) {
            return Ok(Some(format!("{path} of the base is git's history, which may hold the right answer")));
        }
    }
    Ok(None)
}

/// Whether a file is named like a copy of one that the right answer changes: `a.py.orig`, `a.py~`, `#a.py#`, but not
/// `data.py`, `test_a.py` or `a.pyi`.
fn is_copy(path: &RepoPath, gold: &Patch) -> bool {
    let name = name_of(path);
    gold.paths().any(|changed| {
        let Some((before, after)) = name.split_once(name_of(changed)) else { return false };
        let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
        let same = before.is_empty() && after.is_empty();
        let longer = before.ends_with(part_of_a_word) || after.starts_with(part_of_a_word);
        !same && !longer
    })
}

/// Whether a file is named like what a compiler makes of one that the right answer changes.
fn is_compiled(path: &RepoPath, gold: &Patch) -> bool {
    let Some((stem, end)) = name_of(path).rsplit_once('.') else { return false };
    let made = ["pyc", "pyo", "class", "o", "obj"].contains(&end);
    // `shop.cpython-312.pyc` and `Shop$Item.class` come from `shop.py` and `Shop.java`.
    let stem = stem.split(['.', '$']).next().unwrap_or(stem);
    made && gold.paths().any(|changed| name_of(changed).split('.').next() == Some(stem))
}

/// Whether a file is one that git keeps commits in.
fn is_history(path: &RepoPath) -> bool {
    let path = path.as_str();
    let loose = || {
        let mut parts = path.rsplit('/');
        let names = (parts.next(), parts.next(), parts.next());
        let digits =
            |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        matches!(names, (Some(name), Some(folder), Some("objects")) if digits(name, 38) && digits(folder, 2))
    };
    match path.rsplit_once('.') {
        Some((_, "bundle")) => true,
        Some((before, "pack")) => before.contains("objects/"),
        _ => loose(),
    }
}

fn name_of(path: &RepoPath) -> &str {
    path.as_str().rsplit('/').next().unwrap_or_default()
}

/// The failing tests that the right answer mends, where there are others that it does not: those are nobody's task.
pub(super) async fn fixed(entry: &Entry, door: &Door) -> Result<Option<BTreeSet<TestId>>> {
    let opened = entry.open(door).await?;
    let mut verifier = (door.open)(opened.task.clone(), &opened.beside, &|_| {})?;
    let Some(answer) = &opened.answer else { return Ok(None) };
    let gold = answer.patch(&verifier).await?;
    let Ok(baseline) = red(&mut verifier).await? else { return Ok(None) };
    let run = verifier.try_tests(&verifier.compose(&gold)?.product, None).await?;
    let passes = |id: &&TestId| run.outcome(id) == Outcome::Passed;
    let fixed: BTreeSet<TestId> = baseline.targets.iter().filter(passes).cloned().collect();
    Ok((!fixed.is_empty() && fixed.len() < baseline.targets.len()).then_some(fixed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).unwrap()
    }

    #[test]
    fn files_that_may_hold_the_answer_are_known_by_name() {
        let gold = Patch([(path("src/shop.py"), Some(File::plain("x")))].into());
        for (file, copy, compiled, history) in [
            ("src/shop.py.orig", true, false, false),
            ("old/shop.py~", true, false, false),
            ("src/shop.py", false, false, false),
            ("other/shop.py", false, false, false),
            ("src/.shop.py.swp", true, false, false),
            ("tests/test_shop.py", false, false, false),
            ("src/workshop.py", false, false, false),
            ("src/shop.pyi", false, false, false),
            ("src/__pycache__/shop.cpython-312.pyc", false, true, false),
            ("src/__pycache__/shopper.cpython-312.pyc", false, false, false),
            ("build/shop.o", false, true, false),
            ("fixture.git/objects/ab/0123456789abcdef0123456789abcdef012345", false, false, true),
            ("fixture.git/objects/pack/pack-1.pack", false, false, true),
            ("old.bundle", false, false, true),
            ("src/objects/ab/shop", false, false, false),
        ] {
            let found =
                (is_copy(&path(file), &gold), is_compiled(&path(file), &gold), is_history(&path(file)));
            assert_eq!(found, (copy, compiled, history), "{file}");
        }
    }
}
