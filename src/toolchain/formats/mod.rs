//! Parsers of test results, one file a format. Formats that come as lines have a struct with `feed`, called
//! with every line, and `finish`; memory stays bounded. Formats that come as files have a function `parse`
//! from bytes. Ids are relative to the suite's folder ([`Place::relative`]), locations to the repository
//! ([`Place::locate`]). What a parser does not understand it leaves out, and never panics.

mod panic;
pub mod libtest;
pub mod nextest;
pub mod doctest;
pub mod gotest;
pub mod jest;
pub mod mocha;
pub mod junit;
pub mod tap;
pub mod records;
pub mod exit_code;

use std::borrow::Cow;

use crate::text;
use crate::verdict::Exit;

/// A test's message holds at most about this many bytes.
pub const MESSAGE: usize = 16 << 10;

/// A line of output is read up to this many bytes.
pub const LINE: usize = 1 << 20;

/// A result file is read up to this many bytes.
pub const FILE: u64 = 64 << 20;

/// A message within [`MESSAGE`].
pub fn bounded(message: &str) -> String {
    text::clip(message.trim_end(), MESSAGE).into_owned()
}

/// A line as text, without its carriage return.
pub fn line_text(line: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line))
}

/// How a command ended, with the signal's name.
pub fn ended(exit: &Exit) -> String {
    let Exit::Signal(number) = exit else {
        return exit.to_string();
    };
    nix::sys::signal::Signal::try_from(*number)
        .map_or_else(|_| exit.to_string(), |signal| format!("{exit} ({})", signal.as_str()))
}

/// The outcomes of a report on one line, for tests.
#[cfg(test)]
pub(super) fn outcomes(parsed: &super::Parsed) -> String {
    let shown = |test: &crate::verdict::TestResult| format!("{} {:?}", test.id, test.outcome);
    let shown: Vec<String> = parsed.tests.iter().map(shown).collect();
    ["Passed", "Failed", "Skipped", "Missing"].iter().fold(shown.join(", "), |line, word| {
        line.replace(&format!(" {word}"), &format!(" {}", word.to_lowercase()))
    })
}
