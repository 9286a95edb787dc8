//! The system calls that no well-kept crate wraps, each in the smallest function that is safe to call.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::{ForkResult, Pid};

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Forks. `None` in the child.
#[expect(unsafe_code, reason = "fork; safe because the launcher has one thread only")]
pub(crate) fn fork() -> nix::Result<Option<Pid>> {
    // SAFETY: the launcher runs before anything has started a thread, so no lock can be held by another.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// Closes every descriptor from `first` on.
#[expect(unsafe_code, reason = "close_range has no wrapper")]
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: the caller owns no descriptor from `first` on.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Lets every descriptor from `first` on close when a program is executed.
#[expect(unsafe_code, reason = "close_range has no wrapper")]
pub(crate) fn close_from_on_exec(first: u32) -> io::Result<()> {
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: sets a flag only.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flag) }).map(drop)
}

/// A descriptor that becomes readable when the process ends.
#[expect(unsafe_code, reason = "pidfd_open has no wrapper")]
pub(crate) fn watch_process(id: Pid) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only; what it returns is a new descriptor that nobody else owns.
    unsafe {
        let descriptor = checked(libc::syscall(libc::SYS_pidfd_open, id.as_raw(), 0))?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(descriptor).expect("a descriptor is small")))
    }
}

/// Gives this process the highest priority of the plain kind.
#[expect(unsafe_code, reason = "setpriority has no wrapper")]
pub(crate) fn go_first() -> io::Result<()> {
    // SAFETY: takes numbers only.
    checked(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) }.into()).map(drop)
}

/// What `mount_setattr` takes; see its manual page.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    namespace: u64,
}

/// Sets `MOUNT_ATTR_*` flags on the mount at `place` and on all mounts below it. With a `namespace`, the owners
/// of files are mapped as that user namespace maps them.
#[expect(unsafe_code, reason = "mount_setattr has no wrapper")]
pub(crate) fn set_mount(place: BorrowedFd, flags: u64, namespace: Option<&File>) -> io::Result<()> {
    let mut attributes = MountAttributes { set: flags, clear: 0, propagation: 0, namespace: 0 };
    if let Some(namespace) = namespace {
        attributes.set |= libc::MOUNT_ATTR_IDMAP;
        attributes.namespace = u64::try_from(namespace.as_raw_fd()).expect("a descriptor is not negative");
    }
    // SAFETY: the path is a valid empty string and the structure lives through the call.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            place.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    })
    .map(drop)
}

/// A detached copy of the mounts at `place`, attached nowhere yet.
#[expect(unsafe_code, reason = "open_tree has no wrapper")]
pub(crate) fn clone_tree(place: BorrowedFd) -> io::Result<OwnedFd> {
    let flags =
        libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | (libc::AT_EMPTY_PATH | libc::AT_RECURSIVE) as u32;
    // SAFETY: the path is a valid empty string; what it returns is a new descriptor that nobody else owns.
    unsafe {
        let descriptor = checked(libc::syscall(libc::SYS_open_tree, place.as_raw_fd(), c"".as_ptr(), flags))?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(descriptor).expect("a descriptor is small")))
    }
}

/// Attaches a detached tree of mounts at `place`.
#[expect(unsafe_code, reason = "move_mount has no wrapper")]
pub(crate) fn attach_tree(tree: BorrowedFd, place: BorrowedFd) -> io::Result<()> {
    // SAFETY: the paths are valid empty strings.
    checked(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            place.as_raw_fd(),
            c"".as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// Version 3 of the interface to capabilities, for this process; see capget(2).
const CAPABILITIES: [u32; 2] = [0x2008_0522, 0];

/// Makes effective every capability that this process may have: acting on files as another user takes some away.
#[expect(unsafe_code, reason = "capget and capset have no wrapper")]
pub(crate) fn raise_capabilities() -> io::Result<()> {
    // Effective, permitted, inheritable; the lower half of each, then the upper.
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: both structures have the size that version 3 asks for and live through the calls.
    unsafe {
        checked(libc::syscall(libc::SYS_capget, CAPABILITIES.as_ptr(), sets.as_mut_ptr()))?;
        for half in &mut sets {
            half[0] = half[1];
        }
        checked(libc::syscall(libc::SYS_capset, CAPABILITIES.as_ptr(), sets.as_ptr())).map(drop)
    }
}

/// Gives up every capability for good.
#[expect(unsafe_code, reason = "capset and the bounding set have no wrapper")]
pub(crate) fn drop_capabilities() -> io::Result<()> {
    let none = [0u32; 6];
    for capability in 0..64 {
        // Fails past the last capability that the kernel knows, and without the right to drop any.
        // SAFETY: takes numbers only.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    // SAFETY: both structures have the size that version 3 asks for and live through the call.
    unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        checked(libc::syscall(libc::SYS_capset, CAPABILITIES.as_ptr(), none.as_ptr())).map(drop)
    }
}

/// Gives a signal its default meaning.
#[expect(unsafe_code, reason = "nix rightly marks the setting of handlers as unsafe")]
pub(crate) fn reset_signal(signal: Signal) -> nix::Result<()> {
    // SAFETY: the default action runs no code of ours.
    unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.map(drop)
}

/// Brings the loopback interface up.
#[expect(unsafe_code, reason = "the ioctl has no wrapper")]
pub(crate) fn raise_loopback() -> io::Result<()> {
    // Any internet socket will do to name an interface by.
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: the structure is plain data, for which zeroes are valid; the call only reads it.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (place, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
            *place = byte.cast_signed();
        }
        request.ifr_ifru.ifru_flags =
            i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).expect("both flags are small");
        checked(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request).into()).map(drop)
    }
}

/// Ends this process without running anything that was registered for its end: for a forked child.
#[expect(unsafe_code, reason = "_exit has no safe wrapper")]
pub(crate) fn exit_at_once() -> ! {
    // SAFETY: takes a number only.
    unsafe { libc::_exit(0) }
}

/// Removes an extended attribute of a file, which may be a link; one that is not there is no error.
#[expect(unsafe_code, reason = "lremovexattr has no wrapper")]
pub(crate) fn remove_attribute(path: &std::path::Path, name: &std::ffi::CStr) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: both are valid strings that live through the call.
    match checked(unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) }.into()) {
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(()),
        other => other.map(drop),
    }
}

/// Lets libgit2 open repositories of other users. It runs nothing that a repository configures, which is what the
/// check is there for.
#[expect(unsafe_code, reason = "a setting of libgit2 that is not synchronised")]
pub(crate) fn open_repositories_of_others() -> Result<(), git2::Error> {
    // SAFETY: sets a flag that is read when a repository is opened, to the one value that this program sets it to.
    unsafe { git2::opts::set_verify_owner_validation(false) }
}
