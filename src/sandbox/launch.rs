//! The order of events in a launcher. Up to three processes stand between regreen and a command:
//!
//! - the *launcher*, outside of the box, watches regreen: when that is gone, however it ended, or asks with a
//!   signal, the box ends;
//! - the *keeper*, process 1 of the box's own pid namespace, builds the root, reaps, watches the limits; when it
//!   ends, the kernel ends everything in the box. Where there are no namespaces the launcher keeps the command
//!   itself, as subreaper of everything that comes of it;
//! - the *command*, which puts up the last fences around itself and then executes the program.
//!
//! The launcher ends as the command ended. What else it has to say lies in files in the command's log folder,
//! which no command can reach: see [`crate::process::TROUBLE`] and [`crate::process::LIMIT`].

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, getpid, getppid, pipe2};

use super::crowd::{descendants, exceed, threads_of_user};
use super::disk::Disk;
use super::filter::Sockets;
use super::{Level, Spec, container, fence, filter, relay, root};
use crate::process::{LIMIT, TROUBLE};
use crate::{mounts, sys};

/// The first argument that makes this program a launcher.
pub const WORD: &str = "__box";

/// What the names of the command's variables begin with in the launcher's environment.
pub const PREFIX: &str = "BOX_";

/// Exit statuses of a program that cannot be executed, as shells have them.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// Becomes a launcher, and never returns, when the arguments ask for it. `main` calls this before anything else,
/// since forking needs a process of one thread.
pub fn launch_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|word| word != WORD) {
        return;
    }
    // What regreen has open is not for the box. Fails only before Linux 5.9, where nothing is left to close:
    // all that regreen opens closes by itself when a program is executed.
    let _ = sys::close_from(3);
    let spec = arguments.next().unwrap_or_default();
    let ending = serde_json::from_slice::<Spec>(spec.as_bytes())
        .context("failed to read what to launch")
        .map(|spec| launch(&spec, &arguments.collect::<Vec<_>>()));
    match ending {
        Ok(ending) => end_as(&ending),
        Err(error) => {
            eprintln!("regreen: {error:#}");
            std::process::exit(1);
        }
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Ending {
    Code(i32),
    Signal(i32),
    /// It broke this limit.
    Limit(String),
    /// It was never started.
    Trouble(String),
}

/// Leaves word where regreen looks for it, and ends this process in the same way.
fn end_as(ending: &Ending) -> ! {
    match ending {
        Ending::Code(code) => std::process::exit(*code),
        Ending::Limit(_) | Ending::Trouble(_) => std::process::exit(1),
        Ending::Signal(number) => {
            let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
            if let Ok(signal) = Signal::try_from(*number) {
                // The two that cannot be reset need no resetting.
                let _ = sys::reset_signal(signal);
                let _ = kill(getpid(), signal);
                let mut unblocked = SigSet::empty();
                unblocked.add(signal);
                let _ = unblocked.thread_unblock();
            }
            std::process::exit(128 + number)
        }
    }
}

/// Runs the command to its end.
fn launch(spec: &Spec, argv: &[OsString]) -> Ending {
    let ending = match spec.level {
        Level::Namespaces => launch_in_namespaces(spec, argv),
        Level::Container => launch_in_container(spec, argv),
        Level::Landlock | Level::None => launch_here(spec, argv),
    };
    let ending = ending.unwrap_or_else(|error| Ending::Trouble(format!("{error:#}")));
    let told = match &ending {
        Ending::Code(_) | Ending::Signal(_) => Ok(()),
        Ending::Limit(which) => fs::write(spec.logs.join(LIMIT), which),
        Ending::Trouble(why) => fs::write(spec.logs.join(TROUBLE), why),
    };
    if let Err(error) = told {
        eprintln!("regreen: failed to write to {}: {error}", spec.logs.display());
    }
    ending
}

fn launch_in_namespaces(spec: &Spec, argv: &[OsString]) -> Result<Ending> {
    let (mut watch, ends) = Watch::over_command(spec)?;
    let owners = spec.owner.map(map_owners).transpose()?;
    if spec.owner.is_none() {
        enter_user_namespace()?;
    }
    unshare(CloneFlags::CLONE_NEWPID).context("failed to make a pid namespace")?;
    let (mut reader, writer) = pipe()?;
    let Some(keeper) = sys::fork()? else {
        drop(reader);
        ends.take_place()?;
        let ending = keep_in_namespaces(spec, argv, owners.as_ref(), &writer);
        let ending = ending.unwrap_or_else(|error| Ending::Trouble(format!("{error:#}")));
        tell(writer, &ending);
        std::process::exit(0);
    };
    drop((writer, ends));
    let gone = watch.until_end(keeper, Bounds::of_disk(spec))?;
    watch.drain();
    let mut told = String::new();
    reader.read_to_string(&mut told)?;
    // The first line counts: a command that could not be executed says so before its keeper says how it ended.
    match told.lines().next() {
        Some(line) => Ok(serde_json::from_str(line)?),
        None => Ok(gone),
    }
}

/// Process 1 of the box. Only returns an ending; the kernel ends what is left when this process does.
fn keep_in_namespaces(
    spec: &Spec,
    argv: &[OsString],
    owners: Option<&File>,
    report: &File,
) -> Result<Ending> {
    let mut spaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if !spec.network {
        spaces |= CloneFlags::CLONE_NEWNET;
    }
    unshare(spaces).context("failed to make namespaces")?;
    root::enter(spec, owners)?;
    nix::unistd::sethostname("regreen")?;
    if !spec.network {
        sys::raise_loopback().context("failed to bring the loopback up")?;
    }
    if let Some(owner) = spec.owner {
        become_user(owner)?;
    }
    end_with_parent(report)?;
    // Nobody in the box may look into this process or change it.
    prctl::set_dumpable(false)?;
    let mut watch = Watch::over_nothing()?;
    let Some(command) = sys::fork()? else { never_returns(run(spec, argv), report) };
    watch.until_end(command, Bounds::of_processes(spec))
}

/// Where there are no namespaces: the launcher keeps the command itself.
fn launch_here(spec: &Spec, argv: &[OsString]) -> Result<Ending> {
    prctl::set_child_subreaper(true)?;
    let (mut watch, ends) = Watch::over_command(spec)?;
    root::link_shares(spec)?;
    if spec.owner.is_some() {
        for bind in &spec.writable {
            mounts::give(&bind.from)?;
        }
    }
    let (mut reader, writer) = pipe()?;
    let Some(command) = sys::fork()? else {
        drop(reader);
        let ready = ends.take_place().and_then(|()| {
            spec.owner.map_or(Ok(()), become_user)?;
            end_with_parent(&writer)
        });
        never_returns(ready.and_then(|()| run(spec, argv)), &writer)
    };
    drop((writer, ends));
    // Where this user may, the launcher goes first: it must be able to outrun a fork bomb.
    let _ = sys::go_first();
    let bounds = Bounds { disk: Bounds::of_disk(spec).disk, ..Bounds::of_processes(spec) };
    let ending = watch.until_end(command, bounds)?;
    end_all()?;
    watch.drain();
    let mut told = String::new();
    reader.read_to_string(&mut told)?;
    match told.lines().next() {
        Some(line) => Ok(serde_json::from_str(line)?),
        None => Ok(ending),
    }
}

/// The engine's client is the child; what runs in the container is not, and is ended by name.
fn launch_in_container(spec: &Spec, argv: &[OsString]) -> Result<Ending> {
    let container = spec.container.as_ref().context("no image was named")?;
    let (mut watch, ends) = Watch::over_command(spec)?;
    if spec.owner.is_some() {
        for bind in &spec.writable {
            mounts::give(&bind.from)?;
        }
    }
    let name = format!("regreen-{}-{}", spec.parent, getpid());
    let env = environment();
    container::write_variables(spec, &env).context("failed to write the variables of the container")?;
    let words = container.run(spec, &name, argv, &env);
    let (mut reader, writer) = pipe()?;
    let Some(client) = sys::fork()? else {
        drop(reader);
        let ready = ends.take_place().and_then(|()| Ok(SigSet::all().thread_unblock()?));
        let failed = ready.and_then(|()| Err(execute(&words, &container::environment(spec)).into()));
        never_returns(failed, &writer)
    };
    drop((writer, ends));
    let ending = watch.until_end(client, Bounds::of_disk(spec));
    container::end(spec, container, &name)?;
    watch.drain();
    let mut told = String::new();
    reader.read_to_string(&mut told)?;
    if let Some(line) = told.lines().next() {
        return Ok(serde_json::from_str(line)?);
    }
    Ok(match ending? {
        // What the engine itself says when it could not even begin.
        Ending::Code(125) if !container::was_made(spec) => {
            Ending::Trouble("the container engine failed; its message is in the log".to_owned())
        }
        // As shells have it.
        Ending::Code(code @ 129..=192) => Ending::Signal(code - 128),
        other => other,
    })
}

/// What the command's process does when it could not become the command.
fn never_returns(result: Result<Infallible>, report: &File) -> ! {
    let Err(error) = result;
    if let Some(Unstartable { program, errno }) = error.downcast_ref() {
        eprintln!("regreen: failed to start {program}: {}", errno.desc());
        std::process::exit(if *errno == Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTABLE });
    }
    tell(report, &Ending::Trouble(format!("{error:#}")));
    std::process::exit(1);
}

fn pipe() -> Result<(File, File)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((reader.into(), writer.into()))
}

fn tell(mut report: impl Write, ending: &Ending) {
    if let Ok(line) = serde_json::to_string(ending) {
        // Nobody reads when the launcher is gone, and then nobody needs to know.
        let _ = writeln!(report, "{line}");
    }
}

/// Lets this process end when the one that made it does, whose reading end of `report` tells whether it still
/// lives.
fn end_with_parent(report: &File) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut polled = [PollFd::new(report.as_fd(), PollFlags::empty())];
    poll(&mut polled, PollTimeout::ZERO)?;
    let alone = polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR));
    ensure!(!alone, "the launcher is gone");
    Ok(())
}

/// A user namespace in which this user is nobody else, but may mount.
fn enter_user_namespace() -> Result<()> {
    let (user, group) = (Uid::effective(), Gid::effective());
    unshare(CloneFlags::CLONE_NEWUSER).context("failed to make a user namespace")?;
    // Root of an outer user namespace is a plain user here.
    let inner = |id: u32| if id == 0 { 1000 } else { id };
    let write = |name: &str, text: String| {
        fs::write(format!("/proc/self/{name}"), text).with_context(|| format!("failed to write {name}"))
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{} {user} 1", inner(user.as_raw())))?;
    write("gid_map", format!("{} {group} 1", inner(group.as_raw())))
}

/// A user namespace that says: what belongs to root on disk belongs to `owner` in the box.
fn map_owners(owner: u32) -> Result<File> {
    let (told, teller) = pipe()?;
    let (held, holder) = pipe()?;
    let Some(child) = sys::fork()? else {
        drop((told, holder));
        let made = unshare(CloneFlags::CLONE_NEWUSER).is_ok();
        let _ = (&teller).write_all(&[u8::from(made)]);
        let _ = (&held).read(&mut [0]);
        std::process::exit(0);
    };
    drop((teller, held));
    let mut made = [0];
    let answered = (&told).read(&mut made);
    let namespace = write_owner_map(child, owner);
    drop(holder);
    waitpid(child, None)?;
    ensure!(answered? == 1 && made == [1], "failed to make a user namespace");
    namespace
}

fn write_owner_map(child: Pid, owner: u32) -> Result<File> {
    for name in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{child}/{name}"), format!("0 {owner} 1"))
            .with_context(|| format!("failed to write {name}"))?;
    }
    Ok(File::open(format!("/proc/{child}/ns/user"))?)
}

/// Stops being root.
fn become_user(id: u32) -> Result<()> {
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    nix::unistd::setgroups(&[])?;
    nix::unistd::setresgid(group, group, group)?;
    nix::unistd::setresuid(user, user, user).context("failed to stop being root")
}

/// A program that cannot be executed: the repository's fault, not ours.
#[derive(Debug, thiserror::Error)]
#[error("failed to start {program}: {errno}")]
pub(super) struct Unstartable {
    program: String,
    errno: Errno,
}

/// Becomes the command.
fn run(spec: &Spec, argv: &[OsString]) -> Result<Infallible> {
    nix::unistd::setsid()?;
    if spec.level == Level::Namespaces {
        // A namespace more, in which processes are counted for this box alone and which owns none of its
        // mounts. Where the machine allows no more of them the box holds without.
        prctl::set_dumpable(true)?;
        let _ = enter_user_namespace();
    }
    limits(spec)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    if let Err(errno) = nix::unistd::chdir(&spec.dir) {
        let program = format!("in {}", spec.dir.display());
        return Err(Unstartable { program, errno }.into());
    }
    if spec.level != Level::None {
        sys::drop_capabilities().context("failed to drop the capabilities")?;
        prctl::set_no_new_privs()?;
        fence::install(spec)?;
        filter::install(match (spec.level, spec.network) {
            (Level::Namespaces | Level::Container | Level::None, _) => Sockets::Any,
            (Level::Landlock, true) => Sockets::Internet,
            (Level::Landlock, false) => Sockets::None,
        })?;
    }
    sys::close_from_on_exec(3)?;
    sys::reset_signal(Signal::SIGPIPE)?;
    SigSet::all().thread_unblock()?;
    if spec.served {
        return relay::relay(argv, &environment());
    }
    Err(execute(argv, &environment()).into())
}

fn limits(spec: &Spec) -> Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // When memory runs out all the same, the kernel ends what is in the box first.
    let _ = fs::write("/proc/self/oom_score_adj", "900");
    // Without a user namespace of its own the kernel counts everything that this user runs.
    let counted = spec.level != Level::Namespaces && !is_root_of_all();
    let others = if counted { threads_of_user() } else { 0 };
    for (resource, value) in [
        (Resource::RLIMIT_CPU, spec.cpu),
        (Resource::RLIMIT_NPROC, spec.processes.map(|most| most.saturating_add(others))),
        (Resource::RLIMIT_FSIZE, spec.file_size),
    ] {
        if let Some(value) = value {
            let (_, hard) = getrlimit(resource)?;
            let value = value.min(hard);
            // One second between the signal that can be caught and the one that cannot.
            let hard =
                if resource == Resource::RLIMIT_CPU { hard.min(value.saturating_add(1)) } else { value };
            setrlimit(resource, value, hard)?;
        }
    }
    Ok(())
}

/// Whether this is the machine's own root, whose processes the kernel does not count.
fn is_root_of_all() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    Uid::current().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[expect(clippy::disallowed_methods, reason = "the launcher's environment is the command's, disguised")]
fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os()
        .filter_map(|(key, value)| {
            let key = key.as_bytes().strip_prefix(PREFIX.as_bytes())?;
            Some((OsString::from_vec(key.to_vec()), value))
        })
        .collect()
}

/// Executes the program as a shell finds it; only returns when that fails.
pub(super) fn execute(argv: &[OsString], env: &[(OsString, OsString)]) -> Unstartable {
    let program = argv.first().cloned().unwrap_or_default();
    let failed = |errno| Unstartable { program: program.to_string_lossy().into_owned(), errno };
    let words = argv.iter().map(|word| CString::new(word.as_bytes()));
    let pairs =
        env.iter().map(|(key, value)| CString::new([key.as_bytes(), b"=", value.as_bytes()].concat()));
    let (Ok(words), Ok(pairs)) = (words.collect::<Result<Vec<_>, _>>(), pairs.collect::<Result<Vec<_>, _>>())
    else {
        return failed(Errno::EINVAL);
    };
    let path = env.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone()).unwrap_or_default();
    let folders = if program.as_bytes().contains(&b'/') {
        vec![Path::new("").to_owned()]
    } else {
        std::env::split_paths(&path).collect()
    };
    let mut worst = Errno::ENOENT;
    for folder in folders {
        let Ok(file) = CString::new(folder.join(&program).into_os_string().into_vec()) else {
            continue;
        };
        let Err(mut errno) = nix::unistd::execve(&file, &words, &pairs);
        if errno == Errno::ENOEXEC {
            // A script without a first line that names its interpreter.
            let mut shell = vec![c"/bin/sh".to_owned(), file];
            shell.extend(words.iter().skip(1).cloned());
            Err(errno) = nix::unistd::execve(c"/bin/sh", &shell, &pairs);
        }
        if !matches!(errno, Errno::ENOENT | Errno::ENOTDIR) {
            worst = errno;
        }
    }
    failed(worst)
}

/// What a launcher or a keeper waits for.
struct Watch {
    signals: SignalFd,
    parent: Option<OwnedFd>,
    pumps: Vec<Pump>,
}

/// What the processes of a box may use together.
#[derive(Default)]
struct Bounds {
    memory: Option<u64>,
    processes: Option<u64>,
    disk: Option<Disk>,
}

impl Bounds {
    /// What is counted where all processes of the box can be seen.
    fn of_processes(spec: &Spec) -> Bounds {
        Bounds { memory: spec.memory, processes: spec.processes, disk: None }
    }

    /// What is counted where the disk can be seen as it is.
    fn of_disk(spec: &Spec) -> Bounds {
        Bounds { disk: Some(Disk::new(spec.disk, &spec.written)), ..Bounds::default() }
    }

    /// The bound that is broken now.
    fn broken(&mut self) -> Option<&'static str> {
        if self.disk.as_mut().is_some_and(Disk::is_full) {
            return Some("disk");
        }
        if self.memory.is_none() && self.processes.is_none() {
            return None;
        }
        let members = descendants();
        let crowd = u64::try_from(members.len()).unwrap_or(u64::MAX);
        if self.processes.is_some_and(|most| crowd > most) {
            return Some("processes");
        }
        self.memory.filter(|most| exceed(&members, *most)).map(|_| "memory")
    }
}

/// How often the bounds of a box are looked at, in milliseconds.
const TICK: u16 = 100;

impl Watch {
    /// Watches for signals only.
    fn over_nothing() -> Result<Watch> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block()?;
        Ok(Watch {
            signals: SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
            parent: None,
            pumps: Vec::new(),
        })
    }

    /// Watches for signals too, and for the end of regreen, and passes on what the command writes into the
    /// ends that come with it.
    ///
    /// The command gets pipes, not the log files: a script that opens `/dev/stderr` would cut a file short.
    fn over_command(spec: &Spec) -> Result<(Watch, Ends)> {
        let mut watch = Watch::over_nothing()?;
        let parent = getppid();
        let same = i64::from(parent.as_raw()) == i64::from(spec.parent);
        ensure!(same, "regreen is gone");
        watch.parent = Some(sys::watch_process(parent).context("failed to watch regreen")?);
        let mut ends = Vec::new();
        for log in [std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
            let (from, end) = pipe2(OFlag::O_CLOEXEC)?;
            let owner = spec.owner.map(Uid::from_raw);
            nix::unistd::fchown(&end, owner, None)?;
            nix::fcntl::fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            let to = log.try_clone_to_owned()?.into();
            watch.pumps.push(Pump { from: from.into(), to });
            ends.push(end);
        }
        Ok((watch, Ends(ends)))
    }

    /// Waits until `child` ends, reaping whatever else does. When it is time to stop, or the bounds are broken,
    /// the child is ended.
    fn until_end(&mut self, child: Pid, mut bounds: Bounds) -> Result<Ending> {
        let tick = Duration::from_millis(TICK.into());
        let mut last = Instant::now();
        loop {
            if let Some(ending) = reap(child)? {
                return Ok(ending);
            }
            if last.elapsed() >= tick {
                last = Instant::now();
                if let Some(broken) = bounds.broken() {
                    end_child(child)?;
                    return Ok(Ending::Limit(broken.to_owned()));
                }
            }
            if self.stop_after(TICK.into())? {
                return end_child(child);
            }
        }
    }

    /// Waits for something to happen; says whether it is time to stop.
    fn stop_after(&mut self, time: PollTimeout) -> Result<bool> {
        let parent: Option<BorrowedFd> = self.parent.as_ref().map(AsFd::as_fd);
        let mut polled = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let pumps = self.pumps.iter().map(|pump| pump.from.as_fd());
        polled.extend(parent.into_iter().chain(pumps).map(|end| PollFd::new(end, PollFlags::POLLIN)));
        match poll(&mut polled, time) {
            Err(Errno::EINTR) => return Ok(false),
            other => other?,
        };
        let ready: Vec<bool> = polled.iter().map(|one| one.any().unwrap_or(false)).collect();
        let (gone, pumps) = ready[1..].split_at(usize::from(parent.is_some()));
        if gone.contains(&true) {
            return Ok(true);
        }
        let mut pumps = pumps.iter();
        self.pumps.retain_mut(|pump| !pumps.next().is_some_and(|ready| *ready) || pump.pass());
        while let Some(signal) = self.signals.read_signal()? {
            if signal.ssi_signo.cast_signed() != libc::SIGCHLD {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Passes on what is left in the pipes once nobody is there to write more.
    fn drain(&mut self) {
        for pump in &mut self.pumps {
            while pump.pass_some().is_ok_and(|bytes| bytes > 0) {}
        }
    }
}

/// The command's ends of the pipes for its stdout and stderr.
struct Ends(Vec<OwnedFd>);

impl Ends {
    /// Makes them this process's stdout and stderr.
    fn take_place(self) -> Result<()> {
        let mut ends = self.0.iter();
        if let (Some(out), Some(err)) = (ends.next(), ends.next()) {
            nix::unistd::dup2_stdout(out)?;
            nix::unistd::dup2_stderr(err)?;
        }
        Ok(())
    }
}

/// Passes on what comes out of a pipe to a log file.
struct Pump {
    from: File,
    to: File,
}

impl Pump {
    /// Passes on what is there; whether more may come.
    fn pass(&mut self) -> bool {
        match self.pass_some() {
            Ok(bytes) => bytes > 0,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    fn pass_some(&mut self) -> std::io::Result<usize> {
        let mut bytes = vec![0; 1 << 16];
        let count = self.from.read(&mut bytes)?;
        // What a full disk does not take is lost; the command goes on.
        let _ = self.to.write_all(&bytes[..count]);
        Ok(count)
    }
}

/// Collects whatever has ended, and says how `child` did if it was among it.
fn reap(child: Pid) -> Result<Option<Ending>> {
    let mut ending = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(id, code)) if id == child => ending = Some(Ending::Code(code)),
            Ok(WaitStatus::Signaled(id, signal, _)) if id == child => {
                ending = Some(Ending::Signal(signal as i32));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(ending),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => bail!("failed to wait for the command: {error}"),
        }
    }
}

/// Ends `child` and waits for it: for a keeper that means everything in its box.
fn end_child(child: Pid) -> Result<Ending> {
    let _ = kill(child, Signal::SIGKILL);
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            Err(error) => bail!("failed to wait for the command: {error}"),
            Ok(_) => return Ok(Ending::Signal(libc::SIGKILL)),
        }
    }
}

/// Ends everything that came of this process, whatever group or session it moved to: orphans become children of
/// their subreaper, so that one pass after the other finds them until none is left.
fn end_all() -> Result<()> {
    /// Passes after which even a crowd that grows meanwhile has stood still.
    const PASSES: usize = 100;
    // Every orphan would be a child of this process: mostly there is none, and nothing to look for.
    if waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD) {
        return Ok(());
    }
    // What is stopped can fork no more and still takes up its place, so that a fork bomb runs out of both.
    let mut before = 0;
    for _ in 0..PASSES {
        let members = descendants();
        for id in &members {
            let _ = kill(*id, Signal::SIGSTOP);
        }
        if members.len() == before {
            break;
        }
        before = members.len();
    }
    loop {
        for id in descendants() {
            let _ = kill(id, Signal::SIGKILL);
        }
        match waitpid(None, None) {
            Err(Errno::ECHILD) => return Ok(()),
            Err(Errno::EINTR) | Ok(_) => {}
            Err(error) => bail!("failed to wait for what the command left: {error}"),
        }
    }
}
