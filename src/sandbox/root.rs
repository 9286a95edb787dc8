//! The root of a box: an empty file system in memory with read-only binds of what toolchains need and
//! writable binds of the workspace, all at the paths they have outside.
//!
//! What a command may write may be hostile when the next command starts, so every path in it is walked
//! component by component, through descriptors, and never through a link.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, setfsgid, setfsuid, symlinkat, unlinkat};

use super::{Share, Spec};
use crate::mounts::{NOBODY, give, mount_overlay, open_folder};
use crate::sys;
use crate::workspace::{UPPER, WORK};

/// Whether any user may reach `path` and look into it.
pub fn open_to_all(path: &Path) -> bool {
    let passable = |path: &Path| fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o001 != 0);
    path.ancestors().all(|folder| passable(folder) || folder == path && folder.is_file())
}

/// Folders of the system that hold programs and libraries.
pub const SYSTEM: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store"];

/// What of `/etc` programs need to start, to check certificates and to tell the time.
pub const ETC: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gradle",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "lsb-release",
    "magic",
    "maven",
    "mime.types",
    "openssl",
    "os-release",
    "perl",
    "pki",
    "protocols",
    "rpc",
    "services",
    "ssl",
    "terminfo",
    "timezone",
    "xml",
];

/// The names in `/etc` that belong to Java and Python, whose folders carry their version.
pub fn etc() -> Vec<PathBuf> {
    let versioned = fs::read_dir("/etc").into_iter().flatten().flatten().map(|entry| entry.path());
    let versioned = versioned.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("java") || name.starts_with("python")
    });
    let known = ETC.iter().map(|name| Path::new("/etc").join(name));
    known.filter(|path| path.exists()).chain(versioned).collect()
}

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const WRITABLE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const DEVICE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;

/// Builds the root and moves into it. `owners` maps the owners of writable files, when they are not to be seen
/// as they are on disk.
pub fn enter(spec: &Spec, owners: Option<&File>) -> Result<()> {
    mount_at("", Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE, "")?;
    // Where the launcher says what went wrong is a folder that nothing else needs to see.
    let stage = &spec.logs;
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount_at("tmpfs", stage, plain, "size=32m,mode=0755")?;
    let root = Root { top: open_folder(stage)? };
    system(&root, stage)?;
    etc_files(spec, stage)?;
    devices(&root, stage)?;
    root.bind_own(&spec.tmp, Path::new("/tmp"), owners)?;
    for path in &spec.readable {
        root.bind(path, path, READ_ONLY, None)?;
    }
    for bind in &spec.writable {
        root.bind_own(&bind.from, &bind.to, owners)?;
    }
    for share in &spec.shared {
        // Where overlays cannot be had the command sees what is there and adds nothing.
        if root.overlay(spec, share, owners).is_err() {
            root.bind(&share.from, &share.to, READ_ONLY, None)?;
        }
    }
    fs::create_dir(stage.join("proc"))?;
    mount_at("proc", &stage.join("proc"), plain | MsFlags::MS_NOEXEC, "")?;
    pivot(stage)
}

fn mount_at(kind: &str, place: &Path, flags: MsFlags, options: &str) -> Result<()> {
    mount(Some(kind), place, Some(kind), flags, Some(options))
        .with_context(|| format!("failed to mount {kind} on {}", place.display()))
}

/// Makes `stage` the root and lets go of the old one.
fn pivot(stage: &Path) -> Result<()> {
    nix::unistd::chdir(stage)?;
    nix::unistd::pivot_root(".", ".").context("failed to change the root")?;
    // The old root now lies on top of the new one.
    umount2(".", MntFlags::MNT_DETACH).context("failed to leave the old root")?;
    nix::unistd::chdir("/")?;
    let sealed = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount_at("", Path::new("/"), sealed | MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "")
}

fn system(root: &Root, stage: &Path) -> Result<()> {
    for path in SYSTEM.iter().map(Path::new) {
        let Ok(data) = fs::symlink_metadata(path) else {
            continue;
        };
        if data.is_symlink() {
            // `/bin` leads to `usr/bin` nearly everywhere.
            symlink(fs::read_link(path)?, within(stage, path))?;
        } else {
            root.bind(path, path, READ_ONLY, None)?;
        }
    }
    let processors = Path::new("/sys/devices/system/cpu");
    if processors.exists() {
        root.bind(processors, processors, READ_ONLY, None)?;
    }
    Ok(())
}

/// Where there is no root of its own: links in the private home to what is shared. What the command left at such
/// a place stays.
pub fn link_shares(spec: &Spec) -> Result<()> {
    if spec.network {
        // What is downloaded needs a place in the private home.
        return Ok(());
    }
    for share in &spec.shared {
        let Ok(inner) = share.to.strip_prefix(&spec.home) else {
            bail!("{} is not in the home of the box", share.to.display())
        };
        let home = Root { top: open_folder(&spec.home)? };
        let parent = home.place(&Path::new("/").join(inner.parent().unwrap_or(inner)), true)?;
        match symlinkat(&share.from, &parent, inner.file_name().unwrap_or_default()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => bail!("failed to show {} in the box: {error}", share.from.display()),
        }
    }
    Ok(())
}

/// The place of an absolute path below `stage`.
fn within(stage: &Path, path: &Path) -> PathBuf {
    stage.join(path.strip_prefix("/").unwrap_or(path))
}

/// `/etc`: small files are copied, which is cheaper than a mount; folders are bound; who is who is made up.
fn etc_files(spec: &Spec, stage: &Path) -> Result<()> {
    let folder = stage.join("etc");
    fs::create_dir_all(&folder)?;
    let root = Root { top: open_folder(stage)? };
    for path in etc() {
        if path.is_dir() {
            root.bind(&path, &path, READ_ONLY, None)?;
        } else if path.is_file() {
            // What this user cannot read, the command could not read either.
            let _ = fs::copy(&path, within(stage, &path));
        }
    }
    let user = spec.owner.unwrap_or(Uid::current().as_raw());
    let group = spec.owner.unwrap_or(Gid::current().as_raw());
    let home = spec.home.display();
    for (name, text) in [
        (
            "passwd",
            format!(
                "root:x:0:0:root:/root:/bin/sh\nregreen:x:{user}:{group}::{home}:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
            ),
        ),
        ("group", format!("root:x:0:\nregreen:x:{group}:\nnogroup:x:65534:\n")),
        ("hosts", "127.0.0.1 localhost regreen\n::1 localhost\n".to_owned()),
        ("hostname", "regreen\n".to_owned()),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n".to_owned(),
        ),
    ] {
        fs::write(folder.join(name), text)?;
    }
    if spec.network {
        for name in ["resolv.conf", "hosts"] {
            let _ = fs::copy(Path::new("/etc").join(name), folder.join(name));
        }
    }
    Ok(())
}

fn devices(root: &Root, stage: &Path) -> Result<()> {
    for name in ["null", "zero", "full", "random", "urandom"] {
        let path = Path::new("/dev").join(name);
        root.bind(&path, &path, DEVICE, None)?;
    }
    let folder = stage.join("dev");
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, folder.join(name))?;
    }
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    for (name, kind, options) in
        [("shm", "tmpfs", "size=1g,mode=1777"), ("pts", "devpts", "newinstance,ptmxmode=0666,mode=0620")]
    {
        let place = folder.join(name);
        fs::create_dir(&place)?;
        let flags = if kind == "tmpfs" { plain } else { MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC };
        mount_at(kind, &place, flags, options)?;
    }
    Ok(())
}

/// The root while it is being built.
struct Root {
    top: OwnedFd,
}

impl Root {
    /// Shows `from`, which may be a folder or a file, at `to`.
    fn bind(&self, from: &Path, to: &Path, flags: u64, owners: Option<&File>) -> Result<()> {
        self.try_bind(from, to, flags, owners)
            .with_context(|| format!("failed to show {} in the box", from.display()))
    }

    fn try_bind(&self, from: &Path, to: &Path, flags: u64, owners: Option<&File>) -> Result<()> {
        let source =
            File::from(openat(nix::fcntl::AT_FDCWD, from, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?);
        let place = self.place(to, source.metadata()?.is_dir())?;
        let tree = sys::clone_tree(source.as_fd())?;
        // What belongs to them on the disk needs no map.
        let owners = owners.filter(|_| source.metadata().is_ok_and(|data| data.uid() != NOBODY));
        sys::set_mount(tree.as_fd(), flags, owners)?;
        Ok(sys::attach_tree(tree.as_fd(), place.as_fd())?)
    }

    /// Shows a folder of the workspace's, writable.
    fn bind_own(&self, from: &Path, to: &Path, owners: Option<&File>) -> Result<()> {
        if owners.is_some() {
            if self.try_bind(from, to, WRITABLE, owners).is_ok() {
                return Ok(());
            }
            // This file system cannot map owners: change them for good.
            give(from)?;
        }
        self.bind(from, to, WRITABLE, None)
    }

    /// Shows a share at its place with what the command adds to it on top, which stays in the workspace.
    fn overlay(&self, spec: &Spec, share: &Share, owners: Option<&File>) -> Result<()> {
        let own = PathBuf::from("/.own");
        self.try_bind(&share.own, &own, WRITABLE, owners)?;
        // The kernel wants these two on one mount.
        let [upper, work] = [UPPER, WORK].map(|part| self.place(&own.join(part), true));
        let (mut lowers, mut places) = (Vec::new(), vec![own]);
        for (number, from) in share.below.iter().chain([&share.from]).enumerate() {
            let place = PathBuf::from(format!("/.below{number}"));
            self.try_bind(from, &place, WRITABLE, owners)?;
            lowers.push(self.place(&place, true)?);
            places.push(place);
        }
        let (upper, work) = (upper?, work?);
        let shown = self.place(&share.to, true)?;
        let link = format!("/proc/self/fd/{}", shown.as_raw_fd());
        // An overlay works on its layers as whoever mounted it, and root has no number on a mount that maps owners.
        let mounted = as_owner(spec.owner, || mount_overlay(&lowers, &upper, &work, Path::new(&link), ""));
        // The overlay keeps what it needs of these.
        for place in places {
            umount2(&within(&spec.logs, &place), MntFlags::MNT_DETACH)?;
        }
        mounted
    }

    /// The place of `path` in the new root, made where it is missing. A link on the way, which only a command
    /// can have put into its own writable folders, gives way to a folder.
    fn place(&self, path: &Path, folder: bool) -> Result<OwnedFd> {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::RootDir => {}
                Component::Normal(name) => names.push(name),
                Component::Prefix(_) | Component::CurDir | Component::ParentDir => {
                    bail!("{} is not a plain absolute path", path.display())
                }
            }
        }
        let last = names.len().saturating_sub(1);
        let mut at = self.top.try_clone()?;
        for (number, name) in names.into_iter().enumerate() {
            at = step(&at, Path::new(name), folder || number < last)?;
        }
        Ok(at)
    }
}

/// Opens `name` in the folder `at`, making it when it is missing.
fn step(at: &OwnedFd, name: &Path, folder: bool) -> Result<OwnedFd> {
    let kind = if folder { OFlag::O_DIRECTORY } else { OFlag::empty() };
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | kind;
    match openat(at, name, flags, Mode::empty()) {
        Ok(found) => return Ok(found),
        Err(Errno::ENOENT) => {}
        Err(Errno::ELOOP | Errno::ENOTDIR) => unlinkat(at, name, UnlinkatFlags::NoRemoveDir)?,
        Err(error) => return Err(error.into()),
    }
    match make(at, name, folder) {
        // Root has no number on a mount that maps owners; whom the command runs as has.
        Err(Errno::EOVERFLOW) => as_owner(Some(NOBODY), || make(at, name, folder))?,
        other => other?,
    }
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Does something to files as another user.
fn as_owner<T>(owner: Option<u32>, work: impl FnOnce() -> T) -> T {
    let Some(owner) = owner else { return work() };
    let old = (setfsuid(Uid::from_raw(owner)), setfsgid(Gid::from_raw(owner)));
    // Without them only what needs none succeeds, and says so.
    let _ = sys::raise_capabilities();
    let done = work();
    setfsuid(old.0);
    setfsgid(old.1);
    done
}

fn make(at: &OwnedFd, name: &Path, folder: bool) -> nix::Result<()> {
    if folder {
        return mkdirat(at, name, Mode::from_bits_truncate(0o755));
    }
    let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    openat(at, name, new, Mode::from_bits_truncate(0o644)).map(drop)
}
