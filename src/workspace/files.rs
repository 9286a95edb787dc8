//! Files of a tree that a hostile command may have written: read, written, copied and removed beneath a root,
//! following no link on the way.

use std::fs::{self, FileTimes, Metadata, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::mounts::{give_like_parent, make_folder, open_folder};
use crate::patch::{File, FileKind, Patch, RepoPath};

/// A file of a candidate larger than this is not read back.
const LARGEST: u64 = 16 << 20;

/// Applies a patch to the tree at `root`.
///
/// Fails when a parent of a changed path is a link or a file, or a changed path is a folder.
pub fn apply_beneath(root: &Path, patch: &Patch) -> Result<()> {
    let (removed, written): (Vec<_>, Vec<_>) = patch.0.iter().partition(|(_, after)| after.is_none());
    // First what goes: a file may take the place of a folder.
    for (path, after) in removed.into_iter().chain(written) {
        let place = parents(root, path)?;
        match fs::symlink_metadata(&place) {
            Ok(data) if data.is_dir() => bail!("{path} is a folder"),
            Ok(_) => fs::remove_file(&place)?,
            Err(_) => {}
        }
        match after {
            Some(file) => write(&place, file).with_context(|| format!("failed to write {path}"))?,
            None => make_way(root, path, patch),
        }
    }
    Ok(())
}

/// Removes the folders that held `path` where the new files hold one of a folder's name, if they are empty now.
fn make_way(root: &Path, path: &RepoPath, new: &Patch) {
    let written = |folder: &Path| {
        let folder = RepoPath::new(&folder.to_string_lossy()).ok();
        folder.is_some_and(|folder| matches!(new.0.get(&folder), Some(Some(_))))
    };
    let folders = || Path::new(path.as_str()).ancestors().skip(1);
    if let Some(last) = folders().position(written) {
        for folder in folders().take(last + 1) {
            let _ = fs::remove_dir(root.join(folder));
        }
    }
}

pub fn times(data: &Metadata) -> Option<std::time::SystemTime> {
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
            Err(_) => make_folder(&place)?,
        }
    }
    Ok(place.join(name))
}

fn write(place: &Path, file: &File) -> Result<()> {
    use std::io::Write;
    use std::os::unix::ffi::OsStrExt;
    let mode = match file.kind {
        FileKind::Link => {
            symlink(std::ffi::OsStr::from_bytes(&file.content), place)?;
            return Ok(give_like_parent(place)?);
        }
        FileKind::Executable => 0o755,
        FileKind::Plain => 0o644,
    };
    let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(place)?;
    new.write_all(&file.content)?;
    Ok(give_like_parent(place)?)
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
pub fn relative(root: &Path, path: &Path) -> Option<RepoPath> {
    RepoPath::new(path.strip_prefix(root).ok()?.to_str()?).ok()
}

/// Visits everything below `root`, in order of names, following no link; `visit` says whether to descend.
pub fn walk(root: &Path, visit: &mut dyn FnMut(&Path, &Metadata) -> Result<bool>) -> Result<()> {
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
pub fn copy(from: &Path, to: &Path) -> Result<()> {
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
pub fn copy_file(path: &Path, data: &Metadata, place: &Path) -> Result<()> {
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
        let mode = data.permissions().mode() & 0o777 | 0o600;
        let no_link = OFlag::O_NOFOLLOW.bits();
        let mut original = OpenOptions::new().read(true).custom_flags(no_link).open(path)?;
        let mut copied = OpenOptions::new().write(true).create_new(true).mode(mode).open(place)?;
        std::io::copy(&mut original, &mut copied)?;
        copied.set_times(FileTimes::new().set_modified(data.modified()?))?;
        if copied.metadata()?.permissions().mode() & 0o777 != mode {
            copied.set_permissions(fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

/// Removes a folder and everything in it: folders without permissions, and folders in one another to any depth.
pub fn remove(folder: &Path) -> Result<()> {
    if fs::remove_dir_all(folder).is_ok() || folder.symlink_metadata().is_err() {
        return Ok(());
    }
    let top = open_folder(folder)?;
    let mut lifted = 0;
    while remove_below(&top, &top, 0, &mut lifted)? {}
    fs::remove_dir(folder).with_context(|| format!("failed to remove {}", folder.display()))
}

/// Folders are opened in one another down to here; what lies deeper is lifted to the top first.
const DEEPEST: usize = 64;

/// Empties a folder; says whether something was lifted to the top, and is still there.
fn remove_below(at: &OwnedFd, top: &OwnedFd, depth: usize, lifted: &mut u64) -> Result<bool> {
    use nix::unistd::{UnlinkatFlags, unlinkat};
    let _ = nix::sys::stat::fchmod(at, Mode::S_IRWXU);
    let mut more = false;
    let mut entries = nix::dir::Dir::from_fd(at.try_clone()?)?;
    let names: Vec<_> = entries.iter().flatten().map(|entry| entry.file_name().to_owned()).collect();
    for name in names.iter().map(std::ffi::CString::as_c_str).filter(|name| ![c".", c".."].contains(name)) {
        if unlinkat(at, name, UnlinkatFlags::NoRemoveDir).is_ok()
            || unlinkat(at, name, UnlinkatFlags::RemoveDir).is_ok()
        {
            continue;
        }
        if depth == DEEPEST {
            *lifted += 1;
            nix::fcntl::renameat(at, name, top, format!(".lifted-{lifted}").as_str())?;
            more = true;
            continue;
        }
        // Nobody is left who could put a link in the way.
        let _ =
            nix::sys::stat::fchmodat(at, name, Mode::S_IRWXU, nix::sys::stat::FchmodatFlags::FollowSymlink);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let below = openat(at, name, flags, Mode::empty())?;
        more |= remove_below(&below, top, depth + 1, lifted)?;
        unlinkat(at, name, UnlinkatFlags::RemoveDir)?;
    }
    Ok(more)
}

/// Copies a folder over another one, also over files of the same size and time.
pub fn overwrite(from: &Path, to: &Path) -> Result<()> {
    walk(from, &mut |path, data| {
        let place = to.join(path.strip_prefix(from).expect("the walk stays below its root"));
        if !data.is_dir() && place.symlink_metadata().is_ok_and(|there| !there.is_dir()) {
            fs::remove_file(place)?;
        }
        Ok(true)
    })?;
    copy(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_however_deep_and_closed_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let mut at = open_folder(&root).unwrap();
        for level in 0..3000 {
            nix::sys::stat::mkdirat(&at, "deep", Mode::S_IRWXU).unwrap();
            let below = openat(&at, "deep", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
            if level % 1000 == 0 {
                nix::sys::stat::fchmod(&at, Mode::empty()).unwrap();
            }
            at = below;
        }
        drop(at);
        remove(&root).unwrap();
        assert!(!root.exists());
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
}
