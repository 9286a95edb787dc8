//! The processes of a box, as `/proc` shows them: who came of whom, and what memory they have.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Pid, Uid, getpid};

/// Everything that came of this process and still lives.
pub fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for id in processes() {
        let stat = fs::read(format!("/proc/{id}/stat")).unwrap_or_default();
        if let Some(parent) = field(&stat, PARENT) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut found = Vec::new();
    let mut next = children.remove(&getpid().as_raw()).unwrap_or_default();
    while let Some(id) = next.pop() {
        found.push(Pid::from_raw(id));
        next.extend(children.remove(&id).unwrap_or_default());
    }
    found
}

/// Every process that can be seen.
fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Where `/proc/PID/stat` has the parent and the number of threads, counted from the state on.
const PARENT: usize = 1;
const THREADS: usize = 17;

/// A field of a line of `/proc/PID/stat`, counted from behind the name in parentheses, which may hold anything.
fn field(stat: &[u8], number: usize) -> Option<i32> {
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(after + 1..)?).ok()?;
    rest.split_whitespace().nth(number)?.parse().ok()
}

/// Threads of this user, wherever they run.
pub fn threads_of_user() -> u64 {
    let user = Uid::current().as_raw();
    let own =
        processes().filter(|id| fs::metadata(format!("/proc/{id}")).is_ok_and(|data| data.uid() == user));
    let threads = own.filter_map(|id| field(&fs::read(format!("/proc/{id}/stat")).ok()?, THREADS));
    threads.filter_map(|count| u64::try_from(count).ok()).sum()
}

/// Whether these processes have more bytes of memory together than `most`. What they share is counted once, and
/// files in memory that have no name are counted too.
pub fn exceed(members: &[Pid], most: u64) -> bool {
    let files = files_in_memory(members);
    let plain: u64 = members.iter().map(|id| memory_of(*id)).fold(files, u64::saturating_add);
    // Only when that is too much is it worth asking the kernel for fair shares, which takes it longer.
    plain > most && members.iter().map(|id| share_of(*id)).fold(files, u64::saturating_add) > most
}

/// Bytes that a process has mapped, but for files on the disk.
fn memory_of(id: Pid) -> u64 {
    sum_of(id, "status", &["RssAnon:", "RssShmem:"])
}

/// Likewise, with what it shares divided among those who do; without memory files, which are counted apart.
fn share_of(id: Pid) -> u64 {
    sum_of(id, "smaps_rollup", &["Pss_Anon:", "Pss_Shmem:"])
}

fn sum_of(id: Pid, file: &str, names: &[&str]) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
    let line = |line: &str| {
        let rest = names.iter().find_map(|name| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    text.lines().filter_map(line).fold(0, u64::saturating_add) << 10
}

/// Bytes of memory files (`memfd_create`) that these processes hold open.
fn files_in_memory(members: &[Pid]) -> u64 {
    let mut seen = HashMap::new();
    for id in members {
        for entry in fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten() {
            let path = entry.path();
            if fs::read_link(&path).is_ok_and(|link| link.as_os_str().as_bytes().starts_with(b"/memfd:"))
                && let Ok(data) = fs::metadata(&path)
            {
                seen.insert((data.dev(), data.ino()), data.blocks().saturating_mul(512));
            }
        }
    }
    seen.into_values().fold(0, u64::saturating_add)
}
