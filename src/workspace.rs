//! A workspace is a writable tree to build and test one candidate in. Every workspace of a run appears at the
//! same path, so that build outputs stay valid; none sees what another wrote.
//!
//! A run has one [`Workshop`]: the snapshot of the base, what set-up and the base's own build left (the
//! *prepared* layer), and one [`Workspace`] at a time on top. Everything lies in a [`Scratch`] folder that is
//! locked while the run lives; folders whose owner is gone are swept by the next run. Where a repository comes
//! from is `source`'s work.

mod source;

use std::fs::{self, FileTimes, Metadata, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::patch::{File, FileKind, Patch, RepoPath};

pub use source::{index_entry, take};

/// A file of a candidate larger than this is not read back.
const LARGEST: u64 = 16 << 20;

/// The scratch folder of one run, removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    /// The folder.
    pub folder: PathBuf,
    _lock: fs::File,
}

impl Scratch {
    /// Makes a scratch folder in `cache`, and removes those whose owner is gone.
    pub fn new(cache: &Path) -> Result<Scratch> {
        fs::create_dir_all(cache).with_context(|| format!("failed to make {}", cache.display()))?;
        // Boxes show folders at their own paths, so these have no `..` and no link in them.
        let cache = &cache.canonicalize()?;
        // Nobody sweeps between the making of a folder and its locking.
        let door = fs::File::create(cache.join("lock"))?;
        door.lock()?;
        sweep(cache);
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(cache)?.keep();
        let lock = fs::File::create(folder.join("lock"))?;
        lock.lock()?;
        for part in ["logs", "results"] {
            fs::create_dir(folder.join(part))?;
        }
        Ok(Scratch { folder, _lock: lock })
    }

    /// The folder for the output files of commands.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// A fresh folder for result files, writable by commands.
    pub fn results(&self) -> Result<PathBuf> {
        let folder = tempfile::Builder::new().prefix("r").tempdir_in(self.folder.join("results"))?.keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next run.
        let _ = remove(&self.folder);
    }
}

/// Removes the scratch folders in `cache` that nobody holds the lock of.
fn sweep(cache: &Path) {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("run-")) {
        let abandoned = fs::File::open(entry.path().join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
        if abandoned {
            let _ = remove(&entry.path());
        }
    }
}

/// Removes a folder and everything in it, folders without write permission included.
fn remove(folder: &Path) -> Result<()> {
    if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
        return Ok(());
    }
    let _ = walk(folder, &mut |path, data| {
        if data.is_dir() {
            let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        }
        Ok(true)
    });
    fs::remove_dir_all(folder).with_context(|| format!("failed to remove {}", folder.display()))
}

/// The untouched base.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The folder that holds it: the files and a `.git` with one commit.
    pub root: PathBuf,
    /// Its git tree id.
    pub tree: String,
    /// How many files it has.
    pub files: usize,
    /// The folder, relative to the root, that the user pointed at; empty for the root.
    pub focus: String,
}

impl Snapshot {
    /// A file of the base, `None` when there is none or it is a folder.
    pub fn file(&self, path: &RepoPath) -> Result<Option<File>> {
        read_file(&self.root, path)
    }

    /// The files of the base whose names are UTF-8, in order.
    pub fn paths(&self) -> Result<Vec<RepoPath>> {
        let mut paths = Vec::new();
        walk(&self.root, &mut |path, data| {
            if path.file_name().is_some_and(|name| name == ".git") {
                return Ok(false);
            }
            if !data.is_dir() {
                paths.extend(relative(&self.root, path));
            }
            Ok(true)
        })?;
        paths.sort();
        Ok(paths)
    }
}

/// Makes the workspaces of one run.
#[derive(Debug)]
pub struct Workshop {
    /// Where everything lies.
    pub scratch: Scratch,
    /// The base.
    pub snapshot: Snapshot,
    prepared: Option<PathBuf>,
}

impl Workshop {
    /// A workshop for a base that lies in `scratch`.
    pub fn new(scratch: Scratch, snapshot: Snapshot) -> Workshop {
        Workshop { scratch, snapshot, prepared: None }
    }

    /// A pristine workspace: the base on top of what [`Workshop::keep`] kept. The one before it is discarded.
    pub fn workspace(&self) -> Result<Workspace> {
        let workspace = Workspace { root: self.scratch.folder.join("work"), prepared: self.prepared.clone() };
        remove(&workspace.root)?;
        if let Some(prepared) = &self.prepared {
            copy(prepared, &workspace.root)?;
        } else {
            fs::create_dir(&workspace.root)?;
            fs::create_dir(workspace.home())?;
            copy(&self.snapshot.root, &workspace.tree())?;
        }
        let _ = remove(&workspace.tmp());
        fs::create_dir(workspace.tmp())?;
        Ok(workspace)
    }

    /// Keeps what set-up and the base's build left in `workspace` for all later workspaces. Files of the base
    /// that they changed are restored, with their old times.
    pub fn keep(&mut self, workspace: &Workspace) -> Result<()> {
        let _ = remove(&workspace.tree().join(".git"));
        copy(&self.snapshot.root, &workspace.tree())?;
        let prepared = self.scratch.folder.join("prepared");
        remove(&prepared)?;
        fs::rename(&workspace.root, &prepared)?;
        self.prepared = Some(prepared);
        Ok(())
    }
}

/// A writable tree: `tree` (the repository), `home` and `tmp`.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    /// What it began with, besides the base.
    prepared: Option<PathBuf>,
}

impl Workspace {
    /// A workspace with nothing in it.
    pub fn empty(root: PathBuf) -> Result<Workspace> {
        let workspace = Workspace { root, prepared: None };
        for folder in [workspace.tree(), workspace.home(), workspace.tmp()] {
            fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
        }
        Ok(workspace)
    }

    /// The folder that holds the three.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The repository.
    pub fn tree(&self) -> PathBuf {
        self.root.join("tree")
    }

    /// The private home folder.
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The private folder for temporary files.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Applies a patch. What it touches gets the present time, always: build tools judge freshness by it.
    ///
    /// Fails when a parent of a changed path is a link or a file.
    pub fn apply(&self, patch: &Patch) -> Result<()> {
        apply_beneath(&self.tree(), patch)
    }

    /// What differs from the snapshot in files that git would not ignore.
    pub fn changes(&self, base: &Snapshot) -> Result<Patch> {
        let (tree, mut changes) = (self.tree(), Patch::default());
        let rules = git2::Repository::open(&base.root)?;
        walk(&tree, &mut |path, data| {
            let inside = path.strip_prefix(&tree).unwrap_or(path);
            if path.file_name().is_some_and(|name| name == ".git") {
                return Ok(false);
            }
            let known = base.root.join(inside).symlink_metadata();
            if known.is_err() && rules.is_path_ignored(inside).unwrap_or(false) {
                return Ok(false);
            }
            let Some(path) = relative(&tree, path).filter(|_| !data.is_dir()) else {
                return Ok(true);
            };
            let prepared =
                self.prepared.as_ref().map(|prepared| prepared.join("tree").join(inside).symlink_metadata());
            if let Some(Ok(prepared)) = prepared
                && known.is_err()
                && prepared.len() == data.len()
                && times(&prepared) == times(data)
            {
                // Set-up or the base's build made it.
                return Ok(true);
            }
            let same = known.is_ok_and(|known| known.len() == data.len() && times(&known) == times(data));
            if !same {
                let after = read_file(&tree, &path)?;
                if after.is_some() && after != base.file(&path)? {
                    changes.0.insert(path, after);
                }
            }
            Ok(true)
        })?;
        for path in base.paths()? {
            if path.under(&tree).symlink_metadata().is_err() {
                changes.0.insert(path, None);
            }
        }
        Ok(changes)
    }
}

/// Applies a patch to the tree at `root`.
///
/// Fails when a parent of a changed path is a link or a file, or a changed path is a folder.
pub fn apply_beneath(root: &Path, patch: &Patch) -> Result<()> {
    for (path, after) in &patch.0 {
        let place = parents(root, path)?;
        match fs::symlink_metadata(&place) {
            Ok(data) if data.is_dir() => bail!("{path} is a folder"),
            Ok(_) => fs::remove_file(&place)?,
            Err(_) => {}
        }
        if let Some(file) = after {
            write(&place, file).with_context(|| format!("failed to write {path}"))?;
        }
    }
    Ok(())
}

fn times(data: &Metadata) -> Option<std::time::SystemTime> {
    data.modified().ok()
}

/// The place of `path` under `root`, its parent folders made; no parent may be a link.
fn parents(root: &Path, path: &RepoPath) -> Result<PathBuf> {
    let mut place = root.to_owned();
    let (folders, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
    for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
        place.push(folder);
        match fs::symlink_metadata(&place) {
            Ok(data) => ensure!(data.is_dir(), "{path} lies beyond a link or a file"),
            Err(_) => fs::create_dir(&place)?,
        }
    }
    Ok(place.join(name))
}

fn write(place: &Path, file: &File) -> Result<()> {
    use std::io::Write;
    use std::os::unix::ffi::OsStrExt;
    let mode = match file.kind {
        FileKind::Link => return Ok(symlink(std::ffi::OsStr::from_bytes(&file.content), place)?),
        FileKind::Executable => 0o755,
        FileKind::Plain => 0o644,
    };
    let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(place)?;
    Ok(new.write_all(&file.content)?)
}

/// Reads the file or link at `path` beneath `root`; `None` when there is none, it is a folder, a device or
/// larger than 16 MiB, or a link leads there.
pub fn read_file(root: &Path, path: &RepoPath) -> Result<Option<File>> {
    use std::os::unix::ffi::OsStringExt;
    let place = path.under(root);
    let path = path.as_str();
    let mut parents = Path::new(path).ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
    let beyond_a_link = parents.any(|parent| root.join(parent).is_symlink());
    let Ok(data) = fs::symlink_metadata(&place) else {
        return Ok(None);
    };
    if beyond_a_link || !(data.is_file() || data.is_symlink()) || data.len() > LARGEST {
        return Ok(None);
    }
    if data.is_symlink() {
        return Ok(Some(File {
            kind: FileKind::Link,
            content: fs::read_link(&place)?.into_os_string().into_vec(),
        }));
    }
    let kind = if data.permissions().mode() & 0o100 == 0 { FileKind::Plain } else { FileKind::Executable };
    Ok(Some(File { kind, content: read_beneath(root, path, LARGEST)? }))
}

/// Reads at most `most` bytes of a plain file beneath `root`, following no link on the way.
pub fn read_beneath(root: &Path, path: &str, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_beneath(root, path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a plain file beneath `root` for reading, following no link on the way.
pub fn open_beneath(root: &Path, path: &str) -> Result<fs::File> {
    use nix::fcntl::{OpenHow, ResolveFlag, openat2};
    if path.starts_with('/') {
        bail!("{path} is absolute");
    }
    let folder = fs::File::open(root).with_context(|| format!("failed to open {}", root.display()))?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let file = match openat2(&folder, path, how) {
        // Before Linux 5.6, and in containers whose filter does not know the call.
        Err(Errno::ENOSYS | Errno::EPERM) => open_stepwise(&folder, path),
        other => other,
    };
    let file = fs::File::from(file.with_context(|| format!("failed to open {path}"))?);
    ensure!(file.metadata()?.is_file(), "{path} is not a plain file");
    Ok(file)
}

/// Opens a file beneath `folder`, one name after the other, so that no link is followed and none can be put in
/// the way meanwhile.
fn open_stepwise(folder: &fs::File, path: &str) -> nix::Result<OwnedFd> {
    let plain = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let mut names = path.split('/').filter(|name| !name.is_empty() && *name != ".").peekable();
    let mut at = openat(folder, ".", plain | OFlag::O_DIRECTORY, Mode::empty())?;
    while let Some(name) = names.next() {
        if name == ".." {
            return Err(Errno::EXDEV);
        }
        let kind = if names.peek().is_some() { OFlag::O_DIRECTORY } else { OFlag::empty() };
        at = openat(&at, name, plain | kind, Mode::empty())?;
    }
    Ok(at)
}

/// A path as the repository knows it; `None` when it is not UTF-8 or otherwise nothing a patch could name.
fn relative(root: &Path, path: &Path) -> Option<RepoPath> {
    RepoPath::new(path.strip_prefix(root).ok()?.to_str()?).ok()
}

/// Visits everything below `root`, in order of names, following no link; `visit` says whether to descend.
fn walk(root: &Path, visit: &mut dyn FnMut(&Path, &Metadata) -> Result<bool>) -> Result<()> {
    let entries = fs::read_dir(root).with_context(|| format!("failed to list {}", root.display()))?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, data) = (entry.path(), entry.metadata()?);
        if visit(&path, &data)? && data.is_dir() {
            walk(&path, visit)?;
        }
    }
    Ok(())
}

/// Copies a folder over another one: content, kind, permissions and times.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    walk(from, &mut |path, data| {
        let place = to.join(path.strip_prefix(from).expect("the walk stays below its root"));
        if data.is_dir() {
            fs::create_dir_all(&place)?;
            fs::set_permissions(&place, fs::Permissions::from_mode(data.permissions().mode() | 0o700))?;
        } else {
            copy_file(path, data, &place).with_context(|| format!("failed to copy {}", path.display()))?;
        }
        Ok(true)
    })
}

/// Copies one file or link; sockets, pipes and devices are left out. A copy that is there and has the same
/// size and time is kept.
fn copy_file(path: &Path, data: &Metadata, place: &Path) -> Result<()> {
    if let Ok(there) = fs::symlink_metadata(place) {
        let same = there.file_type() == data.file_type()
            && there.len() == data.len()
            && times(&there) == times(data);
        if same && data.is_file() && there.permissions() == data.permissions() {
            return Ok(());
        }
        if there.is_dir() {
            remove(place)?;
        } else {
            fs::remove_file(place)?;
        }
    }
    if data.is_symlink() {
        symlink(fs::read_link(path)?, place)?;
    } else if data.is_file() {
        fs::copy(path, place)?;
        let mode = data.permissions().mode();
        let copied = OpenOptions::new().read(true).open(place)?;
        copied.set_times(FileTimes::new().set_modified(data.modified()?))?;
        fs::set_permissions(place, fs::Permissions::from_mode(mode & 0o777 | 0o600))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Source;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    /// A repository with everything that is easily lost on the way.
    fn odd_repository(root: &Path) {
        let repository = git2::Repository::init(root).unwrap();
        fs::write(root.join(".gitignore"), "ignored/\n*.log\n").unwrap();
        fs::create_dir_all(root.join("ignored/deep")).unwrap();
        fs::write(root.join("ignored/deep/tracked"), "tracked although ignored").unwrap();
        fs::write(root.join("ignored/junk"), "junk").unwrap();
        fs::write(root.join("crlf.txt"), "one\r\ntwo\r\n").unwrap();
        fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("crlf.txt", root.join("link")).unwrap();
        fs::write(root.join(OsStr::from_bytes(b"caf\xe9.txt")), "latin").unwrap();
        fs::create_dir_all(root.join("empty/inner")).unwrap();
        let mut index = repository.index().unwrap();
        for path in [Path::new("ignored/deep/tracked"), Path::new("crlf.txt"), Path::new("link")] {
            index.add_path(path).unwrap();
        }
        index.write().unwrap();
        fs::write(root.join("untracked.txt"), "new").unwrap();
        fs::write(root.join("noise.log"), "noise").unwrap();
    }

    fn workshop(root: &Path, cache: &Path) -> Workshop {
        let scratch = Scratch::new(cache).unwrap();
        let source = Source { path: root.to_str().unwrap().to_owned(), rev: None };
        let snapshot = take(&source, Path::new("/"), false, &scratch).unwrap();
        Workshop::new(scratch, snapshot)
    }

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).unwrap()
    }

    #[test]
    fn a_file_is_read_beneath_its_root_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("secret"));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "inside").unwrap();
        fs::write(&outside, "hidden").unwrap();
        symlink(&outside, root.join("link")).unwrap();
        symlink("a", root.join("short")).unwrap();
        symlink("..", root.join("up")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), Mode::from_bits_truncate(0o600)).unwrap();
        let stepwise = |path: &str| open_stepwise(&fs::File::open(&root).unwrap(), path).is_ok();
        for (path, readable) in [
            ("a/b/file", true),
            ("./a//b/file", true),
            ("link", false),
            ("short/b/file", false),
            ("up/secret", false),
            ("../secret", false),
            ("a/../../secret", false),
            ("missing", false),
        ] {
            assert_eq!(read_beneath(&root, path, 100).is_ok(), readable, "{path}");
            assert_eq!(stepwise(path), readable, "{path}");
        }
        for path in [outside.to_str().unwrap(), "pipe", "a", ""] {
            assert!(read_beneath(&root, path, 100).is_err(), "{path}");
        }
    }

    #[test]
    fn a_working_copy_survives_the_trip_and_stays_untouched() {
        let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = repository.path();
        odd_repository(root);
        let index = fs::read(root.join(".git/index")).unwrap();
        let workshop = workshop(root, cache.path());
        let tree = workshop.workspace().unwrap().tree();
        assert_eq!(fs::read(tree.join("crlf.txt")).unwrap(), b"one\r\ntwo\r\n");
        assert_eq!(fs::metadata(tree.join("run.sh")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_link(tree.join("link")).unwrap(), Path::new("crlf.txt"));
        assert_eq!(fs::read(tree.join(OsStr::from_bytes(b"caf\xe9.txt"))).unwrap(), b"latin");
        assert!(tree.join("empty/inner").is_dir() && tree.join("untracked.txt").exists());
        assert!(tree.join("ignored/deep/tracked").exists());
        assert!(!tree.join("ignored/junk").exists() && !tree.join("noise.log").exists());
        let history = git2::Repository::open(&tree).unwrap();
        let head = history.head().unwrap().peel_to_commit().unwrap();
        assert_eq!((head.parent_count(), history.references().unwrap().count()), (0, 1));
        assert_eq!(fs::read(root.join(".git/index")).unwrap(), index);
    }

    #[test]
    fn a_workspace_shows_what_was_changed_in_it_and_the_next_one_does_not() {
        let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        odd_repository(repository.path());
        let workshop = workshop(repository.path(), cache.path());
        let workspace = workshop.workspace().unwrap();
        assert_eq!(workspace.changes(&workshop.snapshot).unwrap(), Patch::default());
        let patch = Patch(
            [
                (path("crlf.txt"), Some(File::plain("one\r\n2\r\n"))),
                (path("link"), None),
                (path("new/deep.rs"), Some(File { kind: FileKind::Executable, content: b"x".to_vec() })),
            ]
            .into(),
        );
        workspace.apply(&patch).unwrap();
        fs::write(workspace.tree().join("junk.log"), "ignored").unwrap();
        assert_eq!(workspace.changes(&workshop.snapshot).unwrap(), patch);
        let next = workshop.workspace().unwrap();
        assert_eq!(next.changes(&workshop.snapshot).unwrap(), Patch::default());
    }

    #[test]
    fn a_patch_never_writes_through_a_link() {
        let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        git2::Repository::init(repository.path()).unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "before").unwrap();
        symlink(outside.path(), repository.path().join("folder")).unwrap();
        symlink(outside.path().join("file"), repository.path().join("file")).unwrap();
        let workshop = workshop(repository.path(), cache.path());
        let workspace = workshop.workspace().unwrap();
        let through = Patch([(path("folder/file"), Some(File::plain("after")))].into());
        assert!(workspace.apply(&through).is_err());
        let replaced = Patch([(path("file"), Some(File::plain("after")))].into());
        workspace.apply(&replaced).unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "before");
        assert!(read_beneath(&workspace.tree(), "folder/file", 10).is_err());
        assert_eq!(workshop.snapshot.file(&path("folder/file")).unwrap(), None);
    }

    #[test]
    fn what_set_up_left_is_kept_and_what_it_changed_of_the_base_is_not() {
        let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        odd_repository(repository.path());
        let mut workshop = workshop(repository.path(), cache.path());
        let first = workshop.workspace().unwrap();
        fs::write(first.home().join("cached"), "dependency").unwrap();
        fs::write(first.tree().join("crlf.txt"), "spoiled").unwrap();
        fs::create_dir(first.tree().join("target")).unwrap();
        workshop.keep(&first).unwrap();
        let second = workshop.workspace().unwrap();
        assert_eq!(second.root(), first.root());
        assert!(second.home().join("cached").exists() && second.tree().join("target").is_dir());
        assert_eq!(fs::read(second.tree().join("crlf.txt")).unwrap(), b"one\r\ntwo\r\n");
    }

    #[test]
    fn the_scratch_folder_of_a_killed_run_is_swept_and_that_of_a_live_one_is_not() {
        let cache = tempfile::tempdir().unwrap();
        let live = Scratch::new(cache.path()).unwrap();
        let dead = cache.path().join("run-dead");
        fs::create_dir_all(dead.join("base")).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        let other = Scratch::new(cache.path()).unwrap();
        assert!(live.folder.exists() && other.folder.exists() && !dead.exists());
        let gone = live.folder.clone();
        drop(live);
        assert!(!gone.exists());
    }

    #[test]
    fn a_revision_is_taken_without_touching_the_working_copy() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let repository = git2::Repository::init(folder.path()).unwrap();
        fs::write(folder.path().join("a"), "old").unwrap();
        let mut index = repository.index().unwrap();
        index.add_path(Path::new("a")).unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        let author = git2::Signature::now("a", "a@b").unwrap();
        repository.commit(Some("HEAD"), &author, &author, "m", &tree, &[]).unwrap();
        fs::write(folder.path().join("a"), "new").unwrap();
        for address in
            [folder.path().to_str().unwrap().to_owned(), format!("file://{}", folder.path().display())]
        {
            let scratch = Scratch::new(cache.path()).unwrap();
            let source = Source { path: address, rev: Some("HEAD".into()) };
            let snapshot = take(&source, Path::new("/"), false, &scratch).unwrap();
            assert_eq!(snapshot.file(&path("a")).unwrap(), Some(File::plain("old")));
        }
        assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "new");
    }
}
