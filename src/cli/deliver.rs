//! Brings a verified patch to where the user wants it: a file, stdout, a new branch, or the working copy. The
//! user's tree is written only when asked, and only where it still is what was verified.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use git2::Repository;

use super::Usage;
use super::settings::Settings;
use crate::patch::{File, FileKind, Patch, RepoPath};

/// The blob ids of the changed paths on the base.
type Base = BTreeMap<RepoPath, Option<String>>;

/// Delivers; returns what was done, a line each.
pub fn deliver(
    settings: &Settings,
    patch: &Patch,
    diff: &str,
    base: &Base,
    tree: &str,
) -> Result<Vec<String>> {
    let kept = settings.folder.join("fix.patch");
    // A new file in place of whatever stands there: a link is replaced, not followed.
    let mut new = tempfile::NamedTempFile::new_in(&settings.folder)?;
    std::io::Write::write_all(&mut new, diff.as_bytes())?;
    new.persist(&kept).with_context(|| format!("failed to write {}", kept.display()))?;
    let mut done = Vec::new();
    match settings.patch.as_deref() {
        Some("-") => super::print(diff),
        Some(file) => {
            std::fs::write(file, diff).with_context(|| format!("failed to write {file}"))?;
            done.push(format!("The patch is in {file}."));
        }
        None => done.push(format!("The patch is in {}.", kept.display())),
    }
    if let Some(name) = &settings.branch {
        branch(&local(settings, "--branch")?, name, patch, tree)?;
        done.push(format!("Branch {name} holds the patch on top of HEAD."));
    }
    if settings.apply {
        let root = local(settings, "--apply")?;
        apply(settings, &root, patch, base)?;
        done.push(format!("The patch is applied to {}.", root.display()));
    } else if settings.branch.is_none() && settings.patch.is_none() {
        let root = settings.source_folder().and_then(|_| local(settings, "--apply").ok());
        let place = root.map_or(".".to_owned(), |root| root.display().to_string());
        done.push(format!("Apply it with: patch -p1 -d {place} -i {}", kept.display()));
    }
    Ok(done)
}

/// The root of the user's tree, for sources that are one.
fn local(settings: &Settings, option: &str) -> Result<PathBuf> {
    let folder = settings
        .source_folder()
        .with_context(|| Usage(format!("{option} needs a local folder; use --patch for a URL")))?;
    let repository = (!settings.plain).then(|| Repository::discover(&folder).ok()).flatten();
    let root = repository.and_then(|repository| repository.workdir().map(Path::to_owned));
    Ok(root.unwrap_or(folder))
}

/// Writes the patch into the working copy, if every file it touches still is what the verifier saw.
fn apply(settings: &Settings, root: &Path, patch: &Patch, base: &Base) -> Result<()> {
    for path in patch.paths() {
        let now = crate::workspace::read_file(root, path)?.and_then(|file| file.blob());
        let absent = path.under(root).symlink_metadata().is_err();
        ensure!(
            base.get(path) == Some(&now) && (now.is_some() || absent),
            "{path} has changed since the run began; nothing was applied, the patch is in {}",
            settings.folder.join("fix.patch").display()
        );
    }
    crate::workspace::apply_beneath(root, patch)
}

/// Commits the patch on top of HEAD to a new branch, touching neither the index nor the working copy.
fn branch(root: &Path, name: &str, patch: &Patch, verified: &str) -> Result<()> {
    let repository = Repository::open(root)?;
    let head = repository
        .head()
        .and_then(|head| head.peel_to_commit())
        .context("the repository has no commit to build a branch on")?;
    free(&repository, name)?;
    ensure!(
        head.tree_id().to_string() == verified,
        "HEAD is not what was verified (uncommitted or untracked files, another revision): commit them first, or use --apply or --patch"
    );
    let mut index = git2::Index::new()?;
    index.read_tree(&head.tree()?)?;
    for (path, after) in &patch.0 {
        match after {
            None => index.remove(Path::new(path.as_str()), 0)?,
            Some(file) => index.add(&entry(&repository, path.as_str(), file)?)?,
        }
    }
    let tree = repository.find_tree(index.write_tree_to(&repository)?)?;
    let author = repository.signature().or_else(|_| git2::Signature::now("regreen", "regreen@localhost"))?;
    let commit = repository.commit(None, &author, &author, "Make the tests pass\n", &tree, &[&head])?;
    repository.branch(name, &repository.find_commit(commit)?, false)?;
    Ok(())
}

/// Fails when the branch exists already.
fn free(repository: &Repository, name: &str) -> Result<()> {
    let exists = repository.find_branch(name, git2::BranchType::Local).is_ok();
    ensure!(!exists, Usage(format!("the branch {name} exists already; name another one")));
    Ok(())
}

/// Fails, before anything is spent, when the patch could not be delivered as asked.
pub fn check(settings: &Settings) -> Result<()> {
    if settings.apply {
        local(settings, "--apply")?;
    }
    if let Some(name) = &settings.branch {
        let repository = Repository::open(local(settings, "--branch")?);
        let repository =
            repository.with_context(|| Usage("--branch needs a git repository; use --patch".to_owned()))?;
        free(&repository, name)?;
    }
    Ok(())
}

fn entry(repository: &Repository, path: &str, file: &File) -> Result<git2::IndexEntry> {
    let mode = match file.kind {
        FileKind::Plain => 0o100_644,
        FileKind::Executable => 0o100_755,
        FileKind::Link => 0o120_000,
    };
    Ok(crate::workspace::index_entry(Path::new(path), mode, repository.blob(&file.content)?, 0))
}
