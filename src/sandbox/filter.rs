//! The seccomp filter: the kernel's odd doors, shut at every level that has a filter. What is not named here
//! is allowed, since a build may need anything; what is named has been a way out of a sandbox or has no use in
//! a build. `ptrace` stays: sanitizers need it, and a box holds no process but its own.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Which sockets a command may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// Any local or internet socket: the network namespace decides what they reach.
    Any,
    /// Internet sockets, where nothing else keeps a command from the sockets of the host's daemons.
    Internet,
    /// None but pairs, where no network namespace stands between the command and the host.
    None,
}

/// Installs the filter for this process and everything that it will start.
pub fn install(sockets: Sockets) -> Result<()> {
    for program in [refused(sockets)?, absent()?] {
        seccompiler::apply_filter(&program).context("failed to install the seccomp filter")?;
    }
    Ok(())
}

/// Calls that programs try and then do without: they are told that this kernel does not have them. `clone3`
/// takes its flags in memory, which a filter cannot see; every libc falls back to `clone`.
fn absent() -> Result<BpfProgram> {
    let mut rules = BTreeMap::new();
    for call in [
        libc::SYS_clone3,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_memfd_secret,
    ] {
        forbid(&mut rules, call, Vec::new());
    }
    // x32 has numbers of its own for calls that pass pointers, which no rule below would match.
    #[cfg(target_arch = "x86_64")]
    for call in 512..=547 {
        forbid(&mut rules, call, Vec::new());
    }
    compile(rules, libc::ENOSYS)
}

fn refused(sockets: Sockets) -> Result<BpfProgram> {
    let mut rules = BTreeMap::new();
    for call in FORBIDDEN {
        forbid(&mut rules, *call, Vec::new());
    }
    for flag in NAMESPACES {
        for call in [libc::SYS_clone, libc::SYS_unshare] {
            let asked = compare(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)?;
            forbid(&mut rules, call, vec![SeccompRule::new(vec![asked])?]);
        }
    }
    // What is typed into a terminal by an ioctl is run by the shell that waits there.
    for request in [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD, libc::TIOCCONS] {
        let asked = compare(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, request)?;
        forbid(&mut rules, libc::SYS_ioctl, vec![SeccompRule::new(vec![asked])?]);
    }
    // Debuggers and sanitizers ask for a fixed layout; the other personalities have no use.
    let personalities = [0, 0xffff_ffff, 0x0004_0000].map(|known| different(0, known));
    let unknown = personalities.into_iter().collect::<Result<Vec<_>>>()?;
    forbid(&mut rules, libc::SYS_personality, vec![SeccompRule::new(unknown)?]);
    socket_rules(&mut rules, sockets)?;
    compile(rules, libc::EPERM)
}

/// Families of sockets come with a kernel module each, most of them little used; route netlink is what
/// resolvers and Go's `net.Interfaces` need.
fn socket_rules(rules: &mut Rules, sockets: Sockets) -> Result<()> {
    let families: &[i32] = match sockets {
        Sockets::Any => &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
        Sockets::Internet => &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
        Sockets::None => &[libc::AF_NETLINK],
    };
    let others = families.iter().map(|family| different(0, family.unsigned_abs().into()));
    let others = SeccompRule::new(others.collect::<Result<Vec<_>>>()?)?;
    let netlink =
        compare(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, libc::AF_NETLINK.unsigned_abs().into())?;
    let not_route =
        SeccompRule::new(vec![netlink, different(2, libc::NETLINK_ROUTE.unsigned_abs().into())?])?;
    forbid(rules, libc::SYS_socket, vec![others, not_route]);
    let pairs = SeccompRule::new(vec![different(0, libc::AF_UNIX.unsigned_abs().into())?])?;
    forbid(rules, libc::SYS_socketpair, vec![pairs]);
    Ok(())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Forbids a call, always if there are no `cases`.
fn forbid(rules: &mut Rules, call: i64, cases: Vec<SeccompRule>) {
    // This bit asks a 64-bit kernel for the x32 variant of the same call.
    #[cfg(target_arch = "x86_64")]
    rules.entry(call | 0x4000_0000).or_default().extend(cases.clone());
    rules.entry(call).or_default().extend(cases);
}

fn compare(argument: u8, width: SeccompCmpArgLen, how: SeccompCmpOp, value: u64) -> Result<SeccompCondition> {
    Ok(SeccompCondition::new(argument, width, how, value)?)
}

fn different(argument: u8, value: u64) -> Result<SeccompCondition> {
    compare(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
}

fn compile(rules: Rules, errno: i32) -> Result<BpfProgram> {
    let architecture =
        std::env::consts::ARCH.try_into().context("failed to make a seccomp filter for this architecture")?;
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?.try_into()?)
}

/// The flags that ask for a new namespace, as in `linux/sched.h`: mount, cgroup, uts, ipc, user, pid, network.
const NAMESPACES: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];

/// Calls that change mounts, keys, modules, clocks or other processes' secrets, or that are large and little
/// tested parts of the kernel.
const FORBIDDEN: &[i64] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_open_by_handle_at,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_fanotify_init,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    libc::SYS_lookup_dcookie,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];
