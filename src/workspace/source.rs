//! Takes a repository as it stands, or at a revision, into a [`Snapshot`] of one commit and no history. The
//! user's tree, index, stash and refs are only read; nothing that a repository configures is run.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use git2::build::{CheckoutBuilder, RepoBuilder};
use git2::{IndexEntry, IndexTime, ObjectType, Repository, Signature, Time, TreeWalkMode, TreeWalkResult};

use super::files::{copy_file, remove, walk};
use super::{Scratch, Snapshot};
use crate::task::Source;

/// Takes `source` into `scratch`. A relative path is relative to `beside`. With `plain`, the folder need not
/// be a repository's: it is taken as a tree of its own.
pub fn take(source: &Source, beside: &Path, plain: bool, scratch: &Scratch) -> Result<Snapshot> {
    let root = scratch.folder.join("base");
    fs::create_dir(&root)?;
    let focus = if is_url(&source.path) {
        let clone = clone(source, scratch)?;
        copy_worktree(&Repository::open(&clone)?, &clone, &root)?;
        fs::remove_dir_all(&clone)?;
        String::new()
    } else {
        take_folder(&beside.join(&source.path), source.rev.as_deref(), plain, &root)?
    };
    let (tree, files) = commit(&root)?;
    ensure!(files > 0, "{} holds no files: there is nothing to make green", source.path);
    Ok(Snapshot { root, tree, files, focus })
}

/// Whether a source is a URL rather than a path; `git@host:path` counts.
fn is_url(path: &str) -> bool {
    path.contains("://") || (path.contains('@') && path.contains(':') && !Path::new(path).exists())
}

/// Takes a folder; returns the focus, the folder within its repository that the user pointed at.
fn take_folder(folder: &Path, rev: Option<&str>, plain: bool, root: &Path) -> Result<String> {
    let folder = folder.canonicalize().with_context(|| format!("failed to open {}", folder.display()))?;
    ensure!(folder.is_dir(), "{} is a file, not a folder; name the repository's folder", folder.display());
    let repository = Repository::discover(&folder);
    let Ok(repository) = repository else {
        let advice =
            "regreen needs git to know which files belong to the project; run `git init` there first";
        ensure!(plain, "{} is not in a git repository: {advice}", folder.display());
        copy_plain(&folder, root)?;
        return Ok(String::new());
    };
    let top = repository.workdir().map(Path::to_owned);
    let Some(rev) = rev else {
        let top = top.with_context(|| {
            format!("{} is a bare repository; name a revision with --rev", folder.display())
        })?;
        let top = top.canonicalize()?;
        // `core.worktree` may point anywhere; the tree is where the `.git` is.
        let marked = folder.ancestors().find(|place| place.join(".git").exists());
        ensure!(
            marked == Some(&top),
            "{} belongs to a repository whose tree lies elsewhere",
            folder.display()
        );
        // A folder that is a task's source is a tree of its own, also inside a larger repository.
        let from = if plain { &folder } else { &top };
        copy_worktree(&repository, from, root)?;
        return Ok(if plain { String::new() } else { focus(&top, &folder)? });
    };
    let object = repository.revparse_single(rev);
    let object = object.with_context(|| format!("{rev:?} names no revision of {}", folder.display()))?;
    checkout(&repository, &object.peel_to_tree()?, root)?;
    top.map_or(Ok(String::new()), |top| focus(&top.canonicalize()?, &folder))
}

fn focus(top: &Path, folder: &Path) -> Result<String> {
    let inside = folder.strip_prefix(top).context("the folder lies outside its repository")?;
    Ok(inside.to_str().context("the folder's name is not UTF-8")?.to_owned())
}

/// Clones a URL with its submodules into scratch.
fn clone(source: &Source, scratch: &Scratch) -> Result<PathBuf> {
    let folder = scratch.folder.join("clone");
    let mut fetch = git2::FetchOptions::new();
    fetch.remote_callbacks(credentials());
    if source.rev.is_none() && !source.path.starts_with("file:") {
        fetch.depth(1);
    }
    let repository = RepoBuilder::new().fetch_options(fetch).clone(&source.path, &folder);
    let repository = repository.with_context(|| {
        format!("failed to clone {}; check the address, the network and your access", source.path)
    })?;
    if let Some(rev) = &source.rev {
        let remote = format!("origin/{rev}");
        let object = repository.revparse_single(rev).or_else(|_| repository.revparse_single(&remote));
        let object = object.with_context(|| format!("{rev:?} names no revision of {}", source.path))?;
        repository.checkout_tree(&object, Some(CheckoutBuilder::new().force()))?;
        repository.set_head_detached(object.peel_to_commit()?.id())?;
    }
    update_submodules(&repository, source.path.starts_with("file:"))?;
    Ok(folder)
}

/// An ssh agent for `ssh` addresses; nothing else, so that no credential helper runs.
fn credentials() -> git2::RemoteCallbacks<'static> {
    let mut tried = false;
    let mut callbacks = git2::RemoteCallbacks::new();
    callbacks.credentials(move |_, user, _| {
        if std::mem::replace(&mut tried, true) {
            return Err(git2::Error::from_str(
                "the server accepts neither the ssh agent's keys nor an anonymous user",
            ));
        }
        git2::Cred::ssh_key_from_agent(user.unwrap_or("git"))
    });
    callbacks
}

/// Fetches submodules. A hostile repository may not point them at folders of this machine.
fn update_submodules(repository: &Repository, local: bool) -> Result<()> {
    for mut submodule in repository.submodules()? {
        let path = submodule.path().to_owned();
        let address = submodule.url().ok().flatten().unwrap_or_default().to_owned();
        let remote = ["https://", "ssh://", "git@"].iter().any(|start| address.starts_with(start));
        ensure!(
            remote || local || address.starts_with("../"),
            "submodule {} points at {address:?}",
            path.display()
        );
        let mut fetch = git2::FetchOptions::new();
        fetch.remote_callbacks(credentials());
        let mut options = git2::SubmoduleUpdateOptions::new();
        options.fetch(fetch);
        let updated = submodule.update(true, Some(&mut options));
        updated.with_context(|| format!("failed to fetch submodule {} from {address}", path.display()))?;
        update_submodules(&submodule.open()?, local)?;
    }
    Ok(())
}

/// Writes a tree's blobs as they are (no filter, no line-ending conversion) below `root`, submodules included.
fn checkout(repository: &Repository, tree: &git2::Tree, root: &Path) -> Result<()> {
    let mut options = CheckoutBuilder::new();
    options.force().target_dir(root).update_index(false).disable_filters(true);
    repository.checkout_tree(tree.as_object(), Some(&mut options))?;
    let mut links = Vec::new();
    tree.walk(TreeWalkMode::PreOrder, |folder, entry| {
        if entry.kind() == Some(ObjectType::Commit) {
            links.push((format!("{folder}{}", entry.name().unwrap_or_default()), entry.id()));
        }
        TreeWalkResult::Ok
    })?;
    for (path, id) in links {
        let inner = repository.find_submodule(&path).and_then(|submodule| submodule.open());
        let Ok(inner) = inner else {
            bail!("submodule {path} is not checked out; run `git submodule update --init --recursive` first");
        };
        let commit =
            inner.find_commit(id).with_context(|| format!("submodule {path} lacks commit {id}; fetch it"))?;
        let place = root.join(&path);
        fs::create_dir_all(&place)?;
        checkout(&inner, &commit.tree()?, &place)?;
    }
    Ok(())
}

/// Copies what belongs to a working copy: tracked files, and untracked ones that are not ignored; empty folders
/// and checked-out submodules too.
fn copy_worktree(repository: &Repository, from: &Path, to: &Path) -> Result<()> {
    let top = repository.workdir().context("a bare repository has no files")?.canonicalize()?;
    let index = repository.index()?;
    walk(from, &mut |path, data| {
        let inside = path.strip_prefix(&top).unwrap_or(path);
        if path.file_name().is_some_and(|name| name == ".git" || name == ".regreen") {
            return Ok(false);
        }
        let place = to.join(path.strip_prefix(from).expect("the walk stays below its root"));
        if data.is_dir() {
            if path.join(".git").exists() {
                fs::create_dir_all(&place)?;
                match Repository::open(path) {
                    Ok(inner) if inner.workdir().is_some() => copy_worktree(&inner, path, &place)?,
                    _ => copy_plain(path, &place)?,
                }
                return Ok(false);
            }
            if ignored(repository, inside, true) && !tracked_below(&index, inside) {
                return Ok(false);
            }
            fs::create_dir_all(&place)?;
            return Ok(true);
        }
        if index.get_path(inside, 0).is_some() || !ignored(repository, inside, false) {
            copy_file(path, data, &place).with_context(|| format!("failed to copy {}", path.display()))?;
        }
        Ok(true)
    })
}

fn ignored(repository: &Repository, path: &Path, folder: bool) -> bool {
    let path = if folder { path.join("") } else { path.to_owned() };
    repository.is_path_ignored(path).unwrap_or(false)
}

/// Whether git tracks a file below `folder` although the folder is ignored.
fn tracked_below(index: &git2::Index, folder: &Path) -> bool {
    let mut prefix = folder.as_os_str().as_bytes().to_vec();
    prefix.push(b'/');
    index.iter().any(|entry| entry.path.starts_with(&prefix))
}

/// Copies a folder that no repository describes.
fn copy_plain(from: &Path, to: &Path) -> Result<()> {
    walk(from, &mut |path, data| {
        if path.file_name().is_some_and(|name| name == ".git" || name == ".regreen") {
            return Ok(false);
        }
        let place = to.join(path.strip_prefix(from).expect("the walk stays below its root"));
        if data.is_dir() {
            fs::create_dir_all(&place)?;
        } else {
            copy_file(path, data, &place)?;
        }
        Ok(true)
    })
}

/// Makes the folder a repository of one commit; returns the tree id and the number of files. Bytes are stored
/// as they are. The commit's date is fixed, so that equal trees give equal commits.
pub fn commit(root: &Path) -> Result<(String, usize)> {
    let mut options = git2::RepositoryInitOptions::new();
    options.external_template(false).initial_head("main");
    let repository = Repository::init_opts(root, &options)?;
    let mut index = repository.index()?;
    let mut files = 0;
    walk(root, &mut |path, data| {
        if path.file_name().is_some_and(|name| name == ".git") {
            return Ok(false);
        }
        if data.is_dir() {
            return Ok(true);
        }
        let (mode, id) = if data.is_symlink() {
            (0o120_000, repository.blob(fs::read_link(path)?.as_os_str().as_bytes())?)
        } else {
            let mut writer = repository.blob_writer(None)?;
            std::io::copy(&mut fs::File::open(path)?, &mut writer)?;
            (if data.permissions().mode() & 0o100 == 0 { 0o100_644 } else { 0o100_755 }, writer.commit()?)
        };
        let inside = path.strip_prefix(root)?;
        index.add(&index_entry(inside, mode, id, data.len()))?;
        files += 1;
        Ok(true)
    })?;
    let tree = index.write_tree()?;
    index.write()?;
    let author = Signature::new("regreen", "regreen@localhost", &Time::new(0, 0))?;
    repository.commit(Some("HEAD"), &author, &author, "The base\n", &repository.find_tree(tree)?, &[])?;
    // Every workspace gets a copy: what the one commit does not need is copied for nothing.
    for idle in ["hooks", "logs", "info", "description", "objects/info", "objects/pack", "refs/tags"] {
        let idle = root.join(".git").join(idle);
        let _ = if idle.is_dir() { remove(&idle) } else { fs::remove_file(&idle).map_err(Into::into) };
    }
    Ok((tree.to_string(), files))
}

/// An entry of git's index that no file on the disk stands behind.
pub fn index_entry(path: &Path, mode: u32, id: git2::Oid, size: u64) -> IndexEntry {
    let never = IndexTime::new(0, 0);
    IndexEntry {
        ctime: never,
        mtime: never,
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: u32::try_from(size).unwrap_or(0),
        id,
        flags: 0,
        flags_extended: 0,
        path: path.as_os_str().as_bytes().to_vec(),
    }
}
