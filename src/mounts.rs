//! Mounts are how trees are laid over each other without copying. regreen takes a mount namespace of its own
//! ([`enter`]): what it mounts there nobody else sees, and the kernel unmounts it when regreen ends, however
//! that happens. It also knows to whom the files of a box belong. It mounts nothing that a box is made of: that
//! is `sandbox`'s work.

use std::fs;
use std::io::Read as _;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};

use crate::sys;

/// Whether this process has a mount namespace of its own.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Takes a mount namespace of its own for this process, where the kernel allows it. Must be called before the
/// first thread starts.
pub fn enter() {
    // Tried in a child first: a user namespace that cannot be filled would leave this process as nobody.
    if !ENTERED.load(Ordering::Relaxed) && works() && enter_namespace().is_ok() {
        ENTERED.store(true, Ordering::Relaxed);
    }
}

/// For tests, which run in threads: whoever started this process has made the namespace.
#[cfg(test)]
pub fn have_entered() {
    ENTERED.store(true, Ordering::Relaxed);
}

/// Whether overlays may be tried in this process.
pub fn entered() -> bool {
    ENTERED.load(Ordering::Relaxed)
}

fn works() -> bool {
    let Ok((mut told, teller)) = std::io::pipe() else { return false };
    match sys::fork() {
        Ok(None) => {
            let ending = enter_namespace();
            drop(told);
            let _ = std::io::Write::write_all(&mut &teller, &[u8::from(ending.is_ok())]);
            sys::exit_at_once();
        }
        Ok(Some(child)) => {
            drop(teller);
            let mut answer = [0];
            let answered = told.read(&mut answer).is_ok_and(|bytes| bytes == 1);
            let _ = nix::sys::wait::waitpid(child, None);
            answered && answer == [1]
        }
        Err(_) => false,
    }
}

fn enter_namespace() -> Result<()> {
    let (user, group) = (Uid::effective(), Gid::effective());
    if user.is_root() {
        unshare(CloneFlags::CLONE_NEWNS)?;
    } else {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    // What is mounted outside later is seen here; what is mounted here is not seen outside.
    let everything = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    Ok(mount(None::<&str>, "/", None::<&str>, everything, None::<&str>)?)
}

/// Lays `upper` over `lowers`, the topmost first, and shows the result at `place`. `work` is an empty folder on the
/// file system of `upper`. Both are for one mount only.
///
/// What is written is not flushed to the disk when a program asks for it: after a crash of the machine nobody
/// needs it.
pub fn overlay(lowers: &[&Path], upper: &Path, work: &Path, place: &Path) -> Result<()> {
    let lowers = lowers.iter().map(|path| open_folder(path)).collect::<Result<Vec<_>>>()?;
    mount_overlay(&lowers, &open_folder(upper)?, &open_folder(work)?, place, ",volatile")
}

/// Likewise, with the folders already open, and with more options of the kernel's; without any, `upper` and `work`
/// may be used again later.
pub fn mount_overlay(
    lowers: &[OwnedFd],
    upper: &OwnedFd,
    work: &OwnedFd,
    place: &Path,
    more: &str,
) -> Result<()> {
    // Links to descriptors: no path can hold a colon or be changed meanwhile.
    let link = |end: &OwnedFd| format!("/proc/self/fd/{}", end.as_raw_fd());
    let lowers: Vec<String> = lowers.iter().map(link).collect();
    let (lowers, upper, work) = (lowers.join(":"), link(upper), link(work));
    let layers = format!("lowerdir={lowers},upperdir={upper},workdir={work}");
    let options = format!("{layers},userxattr,index=off,metacopy=off{more}");
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("overlay"), place, Some("overlay"), plain, Some(options.as_str()))
        .with_context(|| format!("failed to lay folders over each other at {}", place.display()))
}

/// Takes away what is mounted at `place`.
pub fn unmount(place: &Path) -> Result<()> {
    umount2(place, MntFlags::MNT_DETACH).with_context(|| format!("failed to unmount {}", place.display()))
}

/// Whom commands run as when regreen runs as root: a user that owns nothing else. Root itself must not be in a
/// box, since the kernel lets it write `/proc/sys` whatever its capabilities are. The number lies in none of
/// the ranges that distributions and systemd hand out.
pub const NOBODY: u32 = 61_000;

/// Whom commands are to run as, `None` for the user who runs regreen.
pub fn owner() -> Option<u32> {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    (Uid::effective().is_root() && covers(&map, NOBODY)).then_some(NOBODY)
}

/// Whether a `uid_map` knows `id`.
fn covers(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().map(|field| field.parse::<u32>().unwrap_or(0));
        let (first, _, count) = (fields.next().unwrap_or(0), fields.next(), fields.next().unwrap_or(0));
        id.checked_sub(first).is_some_and(|offset| offset < count)
    })
}

/// Whether a file belongs to the user whom commands run as when regreen runs as root.
pub fn is_given(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.uid() == NOBODY)
}

/// Makes everything in a folder belong to the user whom commands run as.
pub fn give(folder: &Path) -> Result<()> {
    let top = open_folder(folder)?;
    give_open(&top, 0)
}

fn give_open(folder: &OwnedFd, depth: usize) -> Result<()> {
    use nix::dir::Dir;
    /// Deeper than any path that programs can name.
    const DEEPEST: usize = 2048;
    let (user, group) = (Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY)));
    nix::unistd::fchown(folder, user, group)?;
    if depth > DEEPEST {
        return Ok(());
    }
    let mut entries = Dir::from_fd(folder.try_clone()?)?;
    for entry in entries.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(folder, name, flags, Mode::empty()) {
            Ok(below) => give_open(&below, depth + 1)?,
            Err(_) => nix::unistd::fchownat(folder, name, user, group, AtFlags::AT_SYMLINK_NOFOLLOW)?,
        }
    }
    Ok(())
}

/// Opens a folder, which must not be a link.
pub fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(nix::fcntl::AT_FDCWD, path, flags, Mode::empty())
        .with_context(|| format!("failed to open {}", path.display()))
}

/// Makes a folder whose owner is the one of the folder that it lies in.
pub fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    Ok(give_like_parent(folder)?)
}

/// Gives what was just made the owner of the folder that it lies in, when that is the user whom commands run as.
pub fn give_like_parent(path: &Path) -> std::io::Result<()> {
    if Uid::effective().is_root() && path.parent().is_some_and(is_given) {
        std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY))?;
    }
    Ok(())
}
