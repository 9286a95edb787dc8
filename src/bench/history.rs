//! A repository's history as a source of tasks: which commits change source and tests together, what the files were
//! before, and what a message says besides the change itself. Nothing of the repository is run.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail, ensure};
use git2::{Commit, Delta, Diff, FileMode, Oid, Repository, RepositoryOpenFlags, Sort};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::Regex;

use crate::patch::{File, FileKind, Patch, RepoPath};
use crate::toolchain::Profile;

/// A file larger than this is in no task.
const LARGEST: usize = 4 << 20;

/// What tells tests from sources, by the names of all toolchains.
pub struct Kinds {
    tests: GlobSet,
    sources: GlobSet,
}

impl Kinds {
    /// Those of the toolchains, with what a harness folder overrides.
    pub fn load(harness: Option<&Path>) -> Result<Kinds> {
        let profiles = Profile::load(harness)?;
        let tests = profiles.iter().flat_map(|profile| &profile.protected);
        let sources = profiles.iter().flat_map(|profile| &profile.sources);
        Ok(Kinds { tests: globs(tests)?, sources: globs(sources)? })
    }

    fn is_source(&self, path: &str) -> bool {
        self.sources.is_match(path) && !self.tests.is_match(path)
    }
}

/// One set of globs, in which `*` stays within a folder.
pub fn globs<S: AsRef<str>>(globs: impl IntoIterator<Item = S>) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let built = GlobBuilder::new(glob.as_ref()).literal_separator(true).build();
        set.add(built.with_context(|| format!("{:?} is not a glob", glob.as_ref()))?);
    }
    Ok(set.build()?)
}

/// A commit that may become a task.
#[derive(Debug)]
pub struct Change {
    /// Its id.
    pub id: String,
    /// What it says, as a whole.
    pub message: String,
    /// Its files as its parent has them.
    pub before: Patch,
}

/// Opens a repository, a bare one too, and nothing that lies around it.
pub fn open(place: &Path) -> Result<Repository> {
    let none: [&str; 0] = [];
    Repository::open_ext(place, RepositoryOpenFlags::NO_SEARCH, none)
        .with_context(|| format!("{} is no git repository", place.display()))
}

/// Commits that change source and tests together and have one parent, the latest first; only those made at or after
/// `since` and before `until`, in seconds since 1970.
pub fn commits(
    repository: &Repository,
    kinds: &Kinds,
    since: Option<i64>,
    until: Option<i64>,
) -> Result<Vec<String>> {
    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TIME | Sort::TOPOLOGICAL)?;
    walk.push_head().context("the repository has no commit")?;
    let mut found = Vec::new();
    for id in walk {
        let commit = repository.find_commit(id?)?;
        let time = commit.time().seconds();
        let asked = since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until);
        if asked && commit.parent_count() == 1 && is_mixed(repository, &commit, kinds)? {
            found.push(commit.id().to_string());
        }
    }
    Ok(found)
}

/// Whether a commit changes a source file and a test, as far as names and Rust's own marks tell.
fn is_mixed(repository: &Repository, commit: &Commit, kinds: &Kinds) -> Result<bool> {
    let diff = diff(repository, commit)?;
    let (mut source, mut tests) = (false, false);
    for delta in diff.deltas() {
        let path = delta.new_file().path().or(delta.old_file().path()).and_then(Path::to_str);
        let Some(path) = path else { continue };
        let own = kinds.is_source(path);
        source |= own;
        // What a toolchain protects may be no more than its configuration.
        tests |= kinds.tests.is_match(path) && kinds.sources.is_match(path);
        let rust = Path::new(path).extension().is_some_and(|end| end == "rs");
        tests |= own && rust && holds_rust_tests(repository, delta.new_file().id());
    }
    Ok(source && tests)
}

fn holds_rust_tests(repository: &Repository, id: Oid) -> bool {
    let mark = b"#[test]";
    repository.find_blob(id).is_ok_and(|blob| blob.content().windows(mark.len()).any(|window| window == mark))
}

fn diff<'a>(repository: &'a Repository, commit: &Commit) -> Result<Diff<'a>> {
    let before = commit.parent(0)?.tree()?;
    Ok(repository.diff_tree_to_tree(Some(&before), Some(&commit.tree()?), None)?)
}

/// Reads what a commit changed.
///
/// Fails when it touches submodules or what no patch may touch.
pub fn change(repository: &Repository, id: &str) -> Result<Change> {
    let commit = repository.find_commit(Oid::from_str(id)?)?;
    let mut before = Patch::default();
    for delta in diff(repository, &commit)?.deltas() {
        let (old, new) = (delta.old_file(), delta.new_file());
        let path =
            new.path().or(old.path()).and_then(Path::to_str).context("it names a path that is not UTF-8")?;
        let path = RepoPath::new(path).context("it changes what no patch may")?;
        ensure!(new.mode() != FileMode::Commit, "it changes a submodule");
        let file = if delta.status() == Delta::Added { None } else { Some(blob(repository, &old)?) };
        before.0.insert(path, file);
    }
    let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
    Ok(Change { id: id.to_owned(), message, before })
}

fn blob(repository: &Repository, file: &git2::DiffFile) -> Result<File> {
    let kind = match file.mode() {
        FileMode::Blob | FileMode::BlobGroupWritable => FileKind::Plain,
        FileMode::BlobExecutable => FileKind::Executable,
        FileMode::Link => FileKind::Link,
        FileMode::Unreadable | FileMode::Tree | FileMode::Commit => bail!("it changes a submodule"),
    };
    let blob = repository.find_blob(file.id())?;
    ensure!(blob.size() <= LARGEST, "it changes a file that is larger than {} MiB", LARGEST >> 20);
    Ok(File { kind, content: blob.content().to_vec() })
}

/// The first line of a message.
pub fn subject(message: &str) -> String {
    crate::text::one_line(crate::text::clip(message.lines().next().unwrap_or_default(), 120).as_ref())
}

/// What a message says of the problem: without trailers, addresses and references, and without lines that quote one
/// of `telling`, lines of the answer. `None` when nothing is left.
pub fn statement(message: &str, telling: &BTreeSet<String>) -> Option<String> {
    static NOISE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)^\s*([a-z]+(-[a-z]+)+:\s|\(cherry picked from|change-id:|piperorigin-|git-svn-id:)|://|^\s*(diff --git|@@ |\+\+\+ |--- )")
            .expect("a test reads it")
    });
    static REFERENCE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\s*\((PR |GH-|gh-)?#\d+\)").expect("a test reads it"));
    let quotes = |line: &str| {
        let line = squeezed(line);
        telling.iter().any(|telling| line.contains(&squeezed(telling)))
    };
    let kept: Vec<String> = message
        .lines()
        .filter(|line| !NOISE.is_match(line) && !quotes(line))
        .map(|line| REFERENCE.replace_all(line.trim_end(), "").into_owned())
        .collect();
    // A quotation may run over the end of a line.
    let whole = kept.join("\n").trim().to_owned();
    (whole.chars().any(char::is_alphanumeric) && !quotes(&whole)).then_some(whole)
}

/// Words with single blanks between them.
pub fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_keeps_the_problem_and_loses_the_answer() {
        let telling: BTreeSet<String> = ["return total / count".to_owned()].into();
        let check = |message: &str, expected: Option<&str>| {
            assert_eq!(statement(message, &telling).as_deref(), expected, "{message}");
        };
        check("Mean of integers is cut off (#12)\n", Some("Mean of integers is cut off"));
        check(
            "Fix the mean\n\nIt was cut off.\nNow: `return  total / count`.\n\nSigned-off-by: A <a@b>\nSee https://example.org/1\n",
            Some("Fix the mean\n\nIt was cut off."),
        );
        check("return total / count\n\nReviewed-by: B", None);
        check("Use return total\n/ count", None);
        check("...\n", None);
        // A colon alone makes no trailer.
        check("mean: wrong for integers", Some("mean: wrong for integers"));
    }

    #[test]
    fn tests_and_sources_are_told_apart_by_name() {
        let kinds = Kinds::load(None).unwrap();
        for (path, source) in [
            ("src/shop.py", true),
            ("tests/test_shop.py", false),
            ("lib/shop.js", true),
            ("lib/shop.test.js", false),
            ("shop.go", true),
            ("shop_test.go", false),
            ("src/lib.rs", true),
            ("tests/it.rs", false),
            ("README.md", false),
        ] {
            assert_eq!(kinds.is_source(path), source, "{path}");
        }
    }
}
