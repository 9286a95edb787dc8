//! A patch that somebody else made: read strictly from a unified diff or from revisions of the repository. What is
//! not a plain change of files, links and modes is refused as a whole.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use git2::{Delta, Diff, DiffFormat, DiffOptions, FileMode, Repository};

use crate::patch::{File, FileKind, Patch, RepoPath};
use crate::workspace::Snapshot;

/// A patch larger than this is refused.
pub const LARGEST: usize = 64 << 20;

/// Binary differences may unpack to many times what they hold; more of them than this are refused.
const DIFFERENCES: usize = 1 << 20;

/// Reads a unified diff in git's format against a base. Words before the first `diff --git` are skipped.
///
/// Fails when it does not parse, does not apply exactly, or touches what no patch may touch.
pub fn from_diff(text: &[u8], base: &Snapshot) -> Result<Patch> {
    ensure!(text.len() <= LARGEST, "the patch is larger than {} MiB", LARGEST >> 20);
    let start = if text.starts_with(MARK) {
        0
    } else {
        let mark = [b"\n".as_slice(), MARK].concat();
        let at = text.windows(mark.len()).position(|window| window == mark);
        at.context("the patch holds no `diff --git` line: make it with `git diff`")? + 1
    };
    look(&text[start..])?;
    let diff = Diff::from_buffer(&text[start..]).context("the patch does not parse")?;
    ensure!(diff.deltas().len() > 0, "the patch changes nothing");
    for delta in diff.deltas() {
        for file in [delta.old_file(), delta.new_file()] {
            check(file.path_bytes(), file.mode())?;
        }
    }
    let repository = Repository::open(&base.root)?;
    let tree = repository.find_tree(git2::Oid::from_str(&base.tree)?)?;
    let index = repository.apply_to_tree(&tree, &diff, None).with_context(|| {
        let ends = ": it has lines that end in CR LF; perhaps the base's do not";
        format!("the patch does not apply to the base{}", if text.contains(&b'\r') { ends } else { "" })
    })?;
    let changed = repository.diff_tree_to_index(Some(&tree), Some(&index), None)?;
    let patch = read(&repository, &changed)?;
    // Git's index takes a file away where a folder is to be.
    let named: BTreeSet<&[u8]> = diff.deltas().filter_map(|delta| delta.old_file().path_bytes()).collect();
    for path in patch.0.iter().filter(|(_, file)| file.is_none()).map(|(path, _)| path) {
        ensure!(
            named.contains(path.as_str().as_bytes()),
            "the patch puts a file into {path}, which is a file itself"
        );
    }
    Ok(patch)
}

/// Refuses what the parser would not: binary parts that unpack to more than a patch may hold, and names that it would
/// cut off.
fn look(text: &[u8]) -> Result<()> {
    let (mut whole, mut differences) = (0_usize, 0_usize);
    for line in text.split(|byte| *byte == b'\n') {
        let size = |mark: &str| -> Option<usize> {
            std::str::from_utf8(line.strip_prefix(mark.as_bytes())?).ok()?.trim_end().parse().ok()
        };
        whole = whole.saturating_add(size("literal ").unwrap_or(0));
        differences = differences.saturating_add(size("delta ").unwrap_or(0));
        let names = [&b"diff --git "[..], b"--- \"", b"+++ \"", b"rename ", b"copy "]
            .iter()
            .any(|mark| line.starts_with(mark));
        ensure!(
            !names || !line.windows(4).any(|part| part == b"\\000"),
            "the patch names a path with a zero byte"
        );
    }
    ensure!(whole <= LARGEST, "binary files of the patch are larger than {} MiB", LARGEST >> 20);
    ensure!(
        differences <= DIFFERENCES,
        "the patch has binary differences of more than {} MiB",
        DIFFERENCES >> 20
    );
    Ok(())
}

/// What makes a line the first of a file's part.
const MARK: &[u8] = b"diff --git ";

/// The changes of a commit, or of a branch since it left `onto`, as a diff.
pub fn diff_of(repository: &Repository, rev: &str, onto: Option<&str>) -> Result<Vec<u8>> {
    let commit = |rev: &str| -> Result<git2::Oid> {
        let object = repository.revparse_single(rev).with_context(|| format!("{rev:?} names no revision"))?;
        Ok(object.peel_to_commit().with_context(|| format!("{rev:?} is no commit"))?.id())
    };
    let after = repository.find_commit(commit(rev)?)?;
    let before = match onto {
        Some(onto) => {
            let shared = repository.merge_base(commit(onto)?, after.id());
            let shared = shared.with_context(|| format!("{rev} and {onto} share no history"))?;
            Some(repository.find_commit(shared)?.tree()?)
        }
        None => after.parents().next().map(|parent| parent.tree()).transpose()?,
    };
    let mut options = DiffOptions::new();
    options.show_binary(true).id_abbrev(40);
    let diff = repository.diff_tree_to_tree(before.as_ref(), Some(&after.tree()?), Some(&mut options))?;
    let mut text = Vec::new();
    diff.print(DiffFormat::Patch, |_, _, line| {
        if matches!(line.origin(), '+' | '-' | ' ') {
            text.extend(line.origin().to_string().into_bytes());
        }
        text.extend_from_slice(line.content());
        text.len() <= LARGEST
    })?;
    Ok(text)
}

/// Refuses paths that lead out of the repository or into git's own folder, and submodules.
fn check(path: Option<&[u8]>, mode: FileMode) -> Result<()> {
    ensure!(
        !matches!(mode, FileMode::Commit | FileMode::Tree),
        "the patch changes a submodule or a folder, and only files can be judged"
    );
    if let Some(path) = path {
        let path = std::str::from_utf8(path).context("the patch names a path that is not UTF-8")?;
        RepoPath::new(path).context("the patch names a path that no patch may touch")?;
    }
    Ok(())
}

/// A diff of trees as whole files.
fn read(repository: &Repository, diff: &Diff) -> Result<Patch> {
    let mut patch = Patch::default();
    for delta in diff.deltas() {
        let named = |file: git2::DiffFile| -> Result<RepoPath> {
            RepoPath::new(std::str::from_utf8(file.path_bytes().context("a change without a path")?)?)
        };
        if delta.status() == Delta::Deleted {
            patch.0.insert(named(delta.old_file())?, None);
            continue;
        }
        let file = delta.new_file();
        check(file.path_bytes(), file.mode())?;
        let kind = match file.mode() {
            FileMode::Blob | FileMode::BlobGroupWritable => FileKind::Plain,
            FileMode::BlobExecutable => FileKind::Executable,
            FileMode::Link => FileKind::Link,
            FileMode::Unreadable | FileMode::Tree | FileMode::Commit => bail!("a file of an unknown kind"),
        };
        let content = repository.find_blob(file.id())?.content().to_vec();
        patch.0.insert(named(file)?, Some(File { kind, content }));
    }
    Ok(patch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Source;
    use crate::workspace::{Scratch, take};

    fn base(folder: &std::path::Path) -> (Scratch, Snapshot) {
        let root = folder.join("repository");
        std::fs::create_dir(&root).unwrap();
        git2::Repository::init(&root).unwrap();
        std::fs::write(root.join("a"), "one\ntwo\n").unwrap();
        std::fs::write(root.join("b"), "x\n").unwrap();
        let scratch = Scratch::new(&folder.join("cache")).unwrap();
        let source = Source { path: root.to_str().unwrap().to_owned(), rev: None };
        let snapshot = take(&source, std::path::Path::new("/"), false, &scratch).unwrap();
        (scratch, snapshot)
    }

    #[test]
    fn a_diff_becomes_whole_files_and_words_before_it_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let (_scratch, base) = base(folder.path());
        let diff = "How: words\n\ndiff --git a/a b/a\nindex 814f4a4..0000000 100644\n--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n\
                    diff --git a/b b/c\nsimilarity index 100%\nrename from b\nrename to c\n\
                    diff --git a/d b/d\nnew file mode 100755\n--- /dev/null\n+++ b/d\n@@ -0,0 +1 @@\n+new\n";
        let patch = from_diff(diff.as_bytes(), &base).unwrap();
        let at = |text| RepoPath::new(text).unwrap();
        assert_eq!(patch.0[&at("a")], Some(File::plain("one\n2\n")));
        assert_eq!((&patch.0[&at("b")], &patch.0[&at("c")]), (&None, &Some(File::plain("x\n"))));
        assert_eq!(patch.0[&at("d")].as_ref().unwrap().kind, FileKind::Executable);
    }

    #[test]
    fn what_no_patch_may_touch_is_refused_and_so_is_what_does_not_apply() {
        let folder = tempfile::tempdir().unwrap();
        let (_scratch, base) = base(folder.path());
        let new = |path: &str, mode: &str| {
            format!(
                "diff --git a/{path} b/{path}\nnew file mode {mode}\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
            )
        };
        for refused in [
            new("../out", "100644"),
            new(".git/hooks/post-checkout", "100644"),
            new("sub/.GIT/config", "100644"),
            new("module", "160000"),
            "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n zero\n-two\n+2\n".to_owned(),
            new("a/below", "100644"),
            new("cut", "100644").replace("b/cut", "\"b/cut\\000off\""),
            format!("{}GIT binary patch\nliteral {}\n", &new("bomb", "100644")[..70], 1_u64 << 40),
            format!("diff --git a/a b/a\nGIT binary patch\ndelta {}\n", 2 << 20),
            "no diff at all\n".to_owned(),
            String::new(),
        ] {
            assert!(from_diff(refused.as_bytes(), &base).is_err(), "{refused}");
        }
        for (size, refused) in [(LARGEST, false), (LARGEST + 1, true)] {
            assert_eq!(look(format!("literal {size}\n").as_bytes()).is_err(), refused);
        }
        let crlf = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n one\r\n-two\r\n+2\r\n";
        assert!(from_diff(crlf.as_bytes(), &base).unwrap_err().to_string().contains("CR LF"));
    }
}
