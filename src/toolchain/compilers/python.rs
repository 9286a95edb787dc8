//! Python's tracebacks and syntax errors, from a run that did not even load. Other errors are no diagnostics:
//! they are what tests are for.

use std::sync::LazyLock;

use regex::Regex;

use crate::diagnostic::{Diagnostic, Location};
use crate::toolchain::place::Place;

/// Matched line by line: a frame of a traceback (also as pytest shortens it), or what went wrong.
static LINE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"^(?:E\s*)?\s*File "(?<file>[^"]+)", line (?<line>\d+)"#,
        r"|^(?<short>[^\s:][^:]*):(?<number>\d+): in ",
        r"|^(?:E\s+)?(?<kind>[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt))(?:: (?<message>.*))?$",
    ))
    .expect("the expression is constant")
});

/// What keeps a file from loading.
const OF_LOADING: [&str; 5] =
    ["SyntaxError", "IndentationError", "TabError", "ImportError", "ModuleNotFoundError"];

/// The diagnostics in what the tool printed.
pub fn parse(text: &str, place: &Place) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut last: Option<Location> = None;
    for line in text.lines() {
        if line.starts_with("Traceback ") {
            last = None;
        }
        let Some(captures) = LINE.captures(line) else {
            continue;
        };
        let group = |name| captures.name(name).map(|group| group.as_str());
        if let Some(kind) = group("kind") {
            // Without a place it may be a word in a test's output.
            let location = last.take().filter(|_| OF_LOADING.contains(&kind));
            if let Some(location) = location {
                let mut diagnostic = Diagnostic::error(Some(location), group("message").unwrap_or_default());
                kind.clone_into(&mut diagnostic.code);
                found.push(diagnostic);
            }
        } else {
            let file = group("file").or(group("short")).unwrap_or_default();
            let number = group("line").or(group("number")).and_then(|line| line.parse().ok());
            if let Some(location) = location(file, number.unwrap_or(0), place) {
                last = Some(location);
            }
        }
    }
    found
}

fn location(file: &str, line: u32, place: &Place) -> Option<Location> {
    if file.starts_with('<') || file.contains("site-packages/") || file.contains(".venv/") {
        return None;
    }
    Some(Location { file: place.locate(file)?, line, column: 0 })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = parse(text, &Place::new(Path::new("/w/tree"), ""))
            .iter()
            .map(|found| {
                let place = found.location.as_ref().map_or(String::new(), ToString::to_string);
                format!("{place} {}: {}", found.code, found.message)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn errors_of_loading_become_diagnostics_and_others_do_not() {
        // Python 3.11 and pytest 9.
        check(
            "Traceback (most recent call last):\n  File \"/w/tree/app.py\", line 3, in <module>\n    import lib\n  File \"/usr/lib/python3.11/x.py\", line 9, in f\n  File \"/w/tree/lib.py\", line 1\n    def f(:\n          ^\nSyntaxError: invalid syntax\n",
            &["lib.py:1 SyntaxError: invalid syntax"],
        );
        check(
            "ImportError while loading conftest '/w/tree/tests/conftest.py'.\ntests/conftest.py:1: in <module>\n    import nope\nE   ModuleNotFoundError: No module named 'nope'\n",
            &["tests/conftest.py:1 ModuleNotFoundError: No module named 'nope'"],
        );
        check(
            "E     File \"/w/tree/tests/test_syn.py\", line 1\nE       def f(:\nE             ^\nE   SyntaxError: invalid syntax\n",
            &["tests/test_syn.py:1 SyntaxError: invalid syntax"],
        );
        check(
            "Traceback (most recent call last):\n  File \"/w/tree/a.py\", line 1, in <module>\nValueError: no\nSyntaxError: in a log\n",
            &[],
        );
        check("SyntaxError: said without a place\nImportError: likewise", &[]);
        check("  File \"/etc/passwd\", line 1\nSyntaxError: elsewhere", &[]);
        check("  File \"/w/tree/a.py\", line 99999999999999\nSyntaxError: x", &["a.py SyntaxError: x"]);
    }
}
