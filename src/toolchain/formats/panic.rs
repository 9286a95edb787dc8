//! What a failing Rust test wrote: panics with their places, perhaps backtraces. The message keeps the words
//! and leaves out the backtrace, of which the frames in repository files are kept apart.

use std::sync::LazyLock;

use regex::Regex;

use crate::diagnostic::Location;

/// Frames kept of one test.
const FRAMES: usize = 32;

static PANICKED: LazyLock<Regex> = LazyLock::new(|| {
    // Since Rust 1.73 the message has lines of its own; before, the place came after it.
    Regex::new(r"^(?P<thread>thread '.*') (?:\(\d+\) )?panicked at (?P<rest>.*)$").expect("it is a constant")
});

static PLACE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|', )([^\s:'][^:']*\.rs):(\d+):(\d+):?$").expect("it is a constant"));

static FRAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^ {6,}at (.+\.rs):(\d+):(\d+)$").expect("it is a constant"));

/// Message and frames, innermost first; `find` turns a path as printed into a repository path.
pub fn read(text: &str, find: impl Fn(&str) -> Option<String>) -> (String, Vec<Location>) {
    let mut message: Vec<String> = Vec::new();
    let mut frames: Vec<Location> = Vec::new();
    let mut keep = |pattern: &Regex, line: &str| {
        let located = pattern.captures(line).and_then(|parts| {
            Some(Location {
                file: find(&parts[1])?,
                line: parts[2].parse().ok()?,
                column: parts[3].parse().ok()?,
            })
        });
        if let Some(location) = located
            && frames.len() < FRAMES
            && !frames.contains(&location)
        {
            frames.push(location);
        }
    };
    let mut in_backtrace = false;
    for line in text.lines() {
        if line == "stack backtrace:" {
            in_backtrace = true;
        } else if in_backtrace && line.starts_with("  ") {
            keep(&FRAME, line);
        } else if !line.starts_with("note: Some details are omitted")
            && !line.starts_with("note: run with `RUST_BACKTRACE")
        {
            in_backtrace = false;
            // The number of the thread differs from run to run.
            let panicked = PANICKED.captures(line);
            keep(
                &PLACE,
                panicked.as_ref().map_or(line, |parts| parts.name("rest").map_or(line, |rest| rest.as_str())),
            );
            message.push(panicked.map_or_else(
                || line.to_owned(),
                |parts| format!("{} panicked at {}", &parts["thread"], &parts["rest"]),
            ));
        }
    }
    (message.join("\n").trim_matches('\n').to_owned(), frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, message: &str, frames: &[&str]) {
        let (read, found) = read(text, |path| {
            path.strip_prefix("./").or(Some(path)).map(str::to_owned).filter(|path| path.starts_with("src"))
        });
        assert_eq!(read, message);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), frames);
    }

    #[test]
    fn panics_keep_their_words_and_their_frames_in_the_repository() {
        check(
            "said\n\nthread 'tests::fails' (27601) panicked at src/lib.rs:40:44:\nassertion `left == right` failed: two and two\n  left: 4\n right: 5\nstack backtrace:\n   0: __rustc::rust_begin_unwind\n             at /rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/std/src/panicking.rs:689:5\n   4: tally_up::tests::fails\n             at ./src/lib.rs:40:44\n   5: tally_up::tests::fails::{{closure}}\n             at ./src/lib.rs:40:23\nnote: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.\n",
            "said\n\nthread 'tests::fails' panicked at src/lib.rs:40:44:\nassertion `left == right` failed: two and two\n  left: 4\n right: 5",
            &["src/lib.rs:40:44", "src/lib.rs:40:23"],
        );
        check(
            "thread 'old' panicked at 'no: 1', src/a.rs:3:9\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
            "thread 'old' panicked at 'no: 1', src/a.rs:3:9",
            &["src/a.rs:3:9"],
        );
        check("Error: \"no\"\n", "Error: \"no\"", &[]);
    }
}
