//! Starts children, and nobody else does. A child leads its own process group, has no stdin but what it is
//! given through a pipe, an environment built from nothing, a deadline, and writes to files instead of pipes, so that a grandchild that keeps the
//! descriptor open makes nobody wait. It knows nothing of sandboxes: those rewrite a [`Command`] first.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;

use crate::task;
use crate::verdict::Exit;

/// What a command may use. `None` means no limit of that kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Wall time.
    pub wall: Duration,
    /// CPU time of any one process.
    pub cpu: Option<Duration>,
    /// Bytes of memory of any one process, or of all of them where a cgroup can be had.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Bytes of any one file.
    pub file_size: Option<u64>,
    /// Bytes written to the disk and still there.
    pub disk: Option<u64>,
    /// Bytes kept of stdout and of stderr, each: half from the head, half from the tail.
    pub output: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            wall: Duration::from_mins(10),
            cpu: None,
            memory: None,
            processes: None,
            file_size: None,
            disk: None,
            output: 64 << 20,
        }
    }
}

impl Limits {
    /// A deadline, and the limits that a task, a profile or the command line names.
    pub fn of(wall: Duration, named: &task::Limits) -> Limits {
        let bytes = |mebibytes: Option<u64>| mebibytes.map(|number| number.saturating_mul(1 << 20));
        let usual = Limits::default();
        Limits {
            wall,
            cpu: named.cpu_seconds.map(Duration::from_secs),
            memory: bytes(named.memory_mib),
            processes: named.processes,
            file_size: bytes(named.file_mib),
            disk: bytes(named.disk_mib),
            output: bytes(named.output_mib).unwrap_or(usual.output),
        }
    }
}

/// A command that is ready to run.
#[derive(Clone, Debug)]
pub struct Command {
    /// Program and arguments; no shell.
    pub argv: Vec<OsString>,
    /// Working directory.
    pub dir: PathBuf,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// What it can read from its stdin, which ends there; empty: stdin is `/dev/null`. A secret goes this way,
    /// since arguments, environment and files can be read by everybody in the box.
    pub input: Vec<u8>,
    /// What it may use.
    pub limits: Limits,
    /// An existing folder for its `stdout` and `stderr` files, out of the command's reach.
    pub logs: PathBuf,
}

impl Command {
    /// The command line for people, quoted where needed.
    pub fn shown(&self) -> String {
        self.argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// A word as a shell would need it, for showing only.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// How a command ended and what it wrote.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// Its stdout.
    pub stdout: Captured,
    /// Its stderr.
    pub stderr: Captured,
    /// Wall time.
    pub seconds: f64,
}

impl Finished {
    /// Head and tail of stderr and stdout, within `limit` bytes.
    pub fn log(&self, limit: usize) -> Result<String> {
        let (errors, output) = (self.stderr.excerpt(limit)?, self.stdout.excerpt(limit)?);
        let both = [errors.trim_end(), output.trim_end()].into_iter().filter(|part| !part.is_empty());
        Ok(crate::text::clip(&both.collect::<Vec<_>>().join("\n"), limit).into_owned())
    }
}

/// What a command wrote to one descriptor. The middle of a very long output is not kept.
#[derive(Debug)]
pub struct Captured {
    path: PathBuf,
    /// Bytes written.
    pub bytes: u64,
}

impl Captured {
    /// Head and tail as text, within about `limit` bytes.
    pub fn excerpt(&self, limit: usize) -> Result<String> {
        let mut file = self.open()?;
        let limit = limit as u64;
        if self.bytes <= limit {
            return read_lossy(&mut file, limit);
        }
        let head = read_lossy(&mut file, limit / 2)?;
        file.seek(SeekFrom::Start(self.bytes - limit / 2))?;
        let tail = read_lossy(&mut file, limit / 2)?;
        Ok(format!("{head}\n[… {} bytes left out …]\n{tail}", self.bytes - limit))
    }

    /// Calls `each` with every line, without its newline; a line longer than `longest` bytes is cut there.
    /// Memory stays bounded by `longest`.
    pub fn lines(&self, longest: usize, mut each: impl FnMut(&[u8])) -> Result<()> {
        let mut reader = BufReader::with_capacity(1 << 16, self.open()?);
        let mut line = Vec::new();
        loop {
            let chunk = reader.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let (part, ended) = match chunk.iter().position(|byte| *byte == b'\n') {
                Some(at) => (&chunk[..at], true),
                None => (chunk, false),
            };
            line.extend_from_slice(&part[..part.len().min(longest - line.len())]);
            let used = part.len() + usize::from(ended);
            reader.consume(used);
            if ended {
                each(&line);
                line.clear();
            }
        }
        if !line.is_empty() {
            each(&line);
        }
        Ok(())
    }

    fn open(&self) -> Result<File> {
        File::open(&self.path).with_context(|| format!("failed to read {}", self.path.display()))
    }
}

fn read_lossy(file: &mut File, limit: u64) -> Result<String> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Time in which any child ran, over the life of the process.
static WAITED: Mutex<Waited> = Mutex::new(Waited { children: 0, since: None, total: Duration::ZERO });

/// Children that run side by side are waited for once.
struct Waited {
    children: usize,
    since: Option<Instant>,
    total: Duration,
}

/// A child that is being waited for, until this is dropped.
struct Waiting;

impl Waiting {
    fn begin() -> Waiting {
        let mut waited = WAITED.lock().unwrap_or_else(PoisonError::into_inner);
        waited.children += 1;
        waited.since.get_or_insert_with(Instant::now);
        Waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waited = WAITED.lock().unwrap_or_else(PoisonError::into_inner);
        waited.children = waited.children.saturating_sub(1);
        if waited.children == 0 {
            let time = waited.since.take().map_or(Duration::ZERO, |since| since.elapsed());
            waited.total += time;
        }
    }
}

/// Time spent waiting for children so far; what is left of the wall clock is regreen's own.
pub fn waited() -> Duration {
    let waited = WAITED.lock().unwrap_or_else(PoisonError::into_inner);
    waited.total + waited.since.map_or(Duration::ZERO, |since| since.elapsed())
}

/// A program that starts another one, as a sandbox does, and cannot, writes why into a file of this name in the
/// log folder: [`run`] fails with it.
pub const TROUBLE: &str = "trouble";

/// Such a program that ends the other one because it broke a limit writes the limit's name into this file.
pub const LIMIT: &str = "limit";

/// How often a running child's output files are looked at.
const WATCH: Duration = Duration::from_millis(100);

/// A child that writes more than this many times its output limit is ended.
const FLOOD: u64 = 1024;

/// Runs `command` to its end, its deadline or a broken limit. Dropping the future ends the child and its
/// process group.
///
/// Fails only when the command cannot be started at all.
pub async fn run(command: &Command) -> Result<Finished> {
    let [out, err] =
        ["stdout", "stderr"].map(|name| tempfile::Builder::new().prefix(name).tempfile_in(&command.logs));
    let (out, err) = (out?.keep()?, err?.keep()?);
    let (start, waiting) = (Instant::now(), Waiting::begin());
    let mut group = start_child(command, &out.0, &err.0)?;
    let feeder = group.child.stdin.take().map(|stdin| tokio::spawn(feed(stdin, command.input.clone())));
    let mut watch = tokio::time::interval(WATCH);
    let deadline = tokio::time::sleep(command.limits.wall);
    tokio::pin!(deadline);
    let exit = loop {
        tokio::select! {
            status = group.child.wait() => {
                let status = status.context("failed to wait for a child")?;
                break status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or(0)), Exit::Code);
            }
            () = &mut deadline => break Exit::TimedOut(command.limits.wall.as_secs()),
            _ = watch.tick() => {
                if [&out.0, &err.0].into_iter().any(|file| flooded(file, command.limits.output)) {
                    break Exit::LimitBroken("output".to_owned());
                }
            }
        }
    };
    group.end().await;
    if let Some(feeder) = feeder {
        // Whoever did not read its input will not read it any more.
        feeder.abort();
    }
    let seconds = start.elapsed();
    drop(waiting);
    let captured = |(file, path): (File, PathBuf)| -> Result<Captured> {
        Ok(Captured { path, bytes: file.metadata()?.len() })
    };
    if let Ok(trouble) = std::fs::read_to_string(command.logs.join(TROUBLE)) {
        let said = captured(err)?.excerpt(1000)?;
        let program = command.argv.last().map_or_else(String::new, |word| quoted(word));
        bail!("failed to start a command that ends in {program}: {trouble} {}", said.trim_end());
    }
    let exit = match std::fs::read_to_string(command.logs.join(LIMIT)) {
        Ok(limit) => Exit::LimitBroken(limit),
        Err(_) => exit,
    };
    Ok(Finished { exit, stdout: captured(out)?, stderr: captured(err)?, seconds: seconds.as_secs_f64() })
}

/// Gives a child its input. One that ends or closes its stdin before it has read everything is no error.
async fn feed(mut stdin: tokio::process::ChildStdin, input: Vec<u8>) {
    let _ = stdin.write_all(&input).await;
}

/// How long a child that was asked to end may take: a sandbox's launcher needs a moment to end what is in the box,
/// and more than that on a machine that a fork bomb has brought to its knees.
const GRACE: Duration = Duration::from_secs(30);

/// A child with its process group, which ends when this is dropped.
struct Group {
    child: tokio::process::Child,
    id: Option<Pid>,
}

impl Group {
    /// Asks the child to end, waits until it has, and ends what is left of its group.
    async fn end(mut self) {
        if let Some(id) = self.id.filter(|_| self.child.id().is_some()) {
            let _ = kill(id, Signal::SIGTERM);
            let _ = tokio::time::timeout(GRACE, self.child.wait()).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        // When the future was dropped nobody has asked yet.
        if self.child.id().is_some() && kill(id, Signal::SIGTERM).is_ok() {
            let asked = Instant::now();
            while asked.elapsed() < GRACE && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        // The group may be gone already, which is as good.
        let _ = killpg(id, Signal::SIGKILL);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place where children start")]
fn start_child(command: &Command, out: &File, err: &File) -> Result<Group> {
    let (program, arguments) = command.argv.split_first().context("the command is empty")?;
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .current_dir(&command.dir)
        .env_clear()
        .envs(command.env.iter().map(|(key, value)| (key, value)))
        .stdin(if command.input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(out.try_clone()?)
        .stderr(err.try_clone()?)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("failed to start {} in {}", quoted(program), command.dir.display()))?;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    Ok(Group { child, id })
}

/// Gives the middle of a long output back to the disk; says whether the child floods it all the same.
fn flooded(file: &File, keep: u64) -> bool {
    let Ok(length) = file.metadata().map(|data| data.len()) else {
        return false;
    };
    if length > keep {
        let block = |bytes: u64| i64::try_from(bytes / 4096 * 4096).unwrap_or(i64::MAX);
        let (from, to) = (block(keep / 2), block(length - keep / 2));
        if from < to {
            let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            // A file system without holes keeps the middle; the flood limit still holds.
            let _ = fallocate(file.as_fd(), hole, from, to - from);
        }
    }
    length > keep.saturating_mul(FLOOD)
}

/// Keeps this thread, and every child that it starts, to one of so many shares of the processors that it may use:
/// builds look at what they have to decide how many jobs they run. Where there are more shares than processors, these
/// are dealt out in turn.
pub fn keep_to_share(number: usize, shares: usize) -> Result<()> {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    let all = sched_getaffinity(Pid::from_raw(0))?;
    let all: Vec<usize> = (0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap_or(false)).collect();
    let mut own = CpuSet::new();
    for core in share(&all, number, shares) {
        own.set(*core)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &own)?)
}

fn share<T>(all: &[T], number: usize, shares: usize) -> &[T] {
    if shares > all.len() {
        let at = number % all.len().max(1);
        return all.get(at..=at).unwrap_or(all);
    }
    let border = |number: usize| number * all.len() / shares.max(1);
    all.get(border(number)..border(number + 1)).unwrap_or(all)
}

/// Whether `program` can be found in the folders of `path`, and where.
pub fn find(program: &str, path: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::join_paths(path).ok()?;
    which::which_in(program, Some(path), Path::new("/")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_processors_cover_all_and_overlap_only_where_there_are_too_few() {
        let check = |all: &[usize], shares: usize, expected: &[&[usize]]| {
            let dealt: Vec<&[usize]> = (0..shares).map(|number| share(all, number, shares)).collect();
            assert_eq!(dealt, expected);
        };
        check(&[0, 1], 1, &[&[0, 1]]);
        check(&[0, 1], 2, &[&[0], &[1]]);
        check(&[0, 1, 4, 5, 6], 2, &[&[0, 1], &[4, 5, 6]]);
        check(&[3, 7], 3, &[&[3], &[7], &[3]]);
        check(&[], 2, &[&[], &[]]);
    }

    fn command(script: &str, folder: &Path) -> Command {
        Command {
            argv: ["/bin/sh", "-c", script].map(OsString::from).to_vec(),
            dir: folder.to_owned(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            input: Vec::new(),
            limits: Limits { wall: Duration::from_secs(20), output: 8192, ..Limits::default() },
            logs: folder.to_owned(),
        }
    }

    async fn finish(command: Command) -> Finished {
        run(&command).await.unwrap()
    }

    #[tokio::test]
    async fn a_grandchild_that_keeps_stdout_open_makes_nobody_wait() {
        let folder = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let finished = finish(command("sleep 15 & echo done", folder.path())).await;
        assert_eq!(finished.exit, Exit::Code(0));
        assert_eq!(finished.stdout.excerpt(100).unwrap(), "done\n");
        assert!(start.elapsed() < Duration::from_secs(14), "it waited for the grandchild");
    }

    #[tokio::test]
    async fn a_deadline_ends_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        let mut slow = command("sleep 300 & echo $! > child; wait", folder.path());
        slow.limits.wall = Duration::from_secs(1);
        assert_eq!(finish(slow).await.exit, Exit::TimedOut(1));
        let child: i32 =
            std::fs::read_to_string(folder.path().join("child")).unwrap().trim().parse().unwrap();
        let gone = |_| {
            std::thread::sleep(Duration::from_millis(20));
            nix::sys::signal::kill(Pid::from_raw(child), None).is_err()
                || std::fs::read_to_string(format!("/proc/{child}/stat"))
                    .is_ok_and(|stat| stat.contains(") Z "))
        };
        assert!((0..200).any(gone), "the grandchild lives on");
    }

    #[tokio::test]
    async fn input_reaches_the_child_and_one_that_does_not_read_it_hinders_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let given = |script: &str, input: Vec<u8>| Command { input, ..command(script, folder.path()) };
        let finished = finish(given("read key; echo $key; cat", b"secret\nrest".to_vec())).await;
        assert_eq!(finished.stdout.excerpt(100).unwrap(), "secret\nrest");
        let finished = finish(given("echo ended", vec![b'x'; 1 << 20])).await;
        assert_eq!((finished.exit, finished.stdout.excerpt(100).unwrap()), (Exit::Code(0), "ended\n".into()));
        let finished = finish(given("cat", Vec::new())).await;
        assert_eq!(finished.stdout.bytes, 0);
    }

    #[tokio::test]
    async fn a_long_output_keeps_head_and_tail_and_lines_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let finished =
            finish(command("echo first; yes | head -c 300000; echo; echo last", folder.path())).await;
        let text = finished.stdout.excerpt(200).unwrap();
        assert!(
            text.starts_with("first\n") && text.ends_with("last\n") && text.contains("bytes left out"),
            "{text}"
        );
        let finished = finish(command("head -c 5000 /dev/zero; echo; echo end", folder.path())).await;
        let mut lengths = Vec::new();
        finished.stdout.lines(100, |line| lengths.push(line.len())).unwrap();
        assert_eq!(lengths, [100, 3]);
    }

    #[tokio::test]
    async fn the_environment_is_what_was_given_and_signals_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let finished =
            finish(command("env | grep -v -e ^PWD -e ^_ -e ^SHLVL; kill -ABRT $$", folder.path())).await;
        assert_eq!(finished.exit, Exit::Signal(6));
        assert_eq!(finished.stdout.excerpt(1000).unwrap(), "PATH=/usr/bin:/bin\n");
    }
}
