//! The processes of a box, as `/proc` shows them: who came of whom, and what memory they have.

use std::collections::HashMap;
use std::fs;

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
    use std::os::unix::fs::MetadataExt;
    let user = Uid::current().as_raw();
    let own =
        processes().filter(|id| fs::metadata(format!("/proc/{id}")).is_ok_and(|data| data.uid() == user));
    let threads = own.filter_map(|id| field(&fs::read(format!("/proc/{id}/stat")).ok()?, THREADS));
    threads.filter_map(|count| u64::try_from(count).ok()).sum()
}

/// Bytes of memory that these processes have together. What they share is counted once, as far as one can tell.
pub fn memory_of(members: &[Pid]) -> u64 {
    let parts = members.iter().map(|id| memory_of_one(*id));
    let (own, shared) = parts.fold((0u64, 0u64), |sum, one| (sum.0.saturating_add(one.0), sum.1.max(one.1)));
    own.saturating_add(shared)
}

/// Bytes that a process has for itself, and bytes in shared memory.
fn memory_of_one(id: Pid) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.unwrap_or(0) << 10
    };
    (bytes("RssAnon:"), bytes("RssShmem:"))
}
