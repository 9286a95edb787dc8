//! What `tsc --pretty false` prints: `file(line,column): error TS2322: message`; also the form with colours
//! that a `tsconfig.json` can ask for, `file:line:column - error TS2322: message`.

use std::sync::LazyLock;

use regex::Regex;

use super::node::plain;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::toolchain::place::Place;

static LINE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^(?:(?<file>\S.*?)(?:\((?<line>\d+),(?<column>\d+)\):|:(?<line2>\d+):(?<column2>\d+) -) )?",
        r"(?<severity>error|warning) (?<code>TS\d+): (?<message>.*)$",
    ))
    .expect("the expression is constant")
});

/// The diagnostics in what the tool printed. Indented lines that follow one belong to its message.
pub fn parse(text: &str, place: &Place) -> Vec<Diagnostic> {
    let text = plain(text);
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut open = false;
    for line in text.lines().map(str::trim_end) {
        if let Some(diagnostic) = first_line(line, place) {
            found.push(diagnostic);
            open = true;
        } else if let Some(diagnostic) = found.last_mut().filter(|_| open && line.starts_with("  ")) {
            diagnostic.message.push('\n');
            diagnostic.message.push_str(line);
        } else {
            // An empty line; with colours, an excerpt of the source follows it.
            open = false;
        }
    }
    found
}

fn first_line(line: &str, place: &Place) -> Option<Diagnostic> {
    let captures = LINE.captures(line)?;
    let group = |name| captures.name(name).map(|group| group.as_str());
    let number = |one, other| group(one).or(group(other)).and_then(|number| number.parse().ok());
    let location = group("file").and_then(|file| {
        Some(Location {
            file: place.locate(file)?,
            line: number("line", "line2")?,
            column: number("column", "column2")?,
        })
    });
    let mut diagnostic = Diagnostic::error(location, group("message")?);
    group("code")?.clone_into(&mut diagnostic.code);
    if group("severity") == Some("warning") {
        diagnostic.severity = Severity::Warning;
    }
    Some(diagnostic)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = parse(text, &Place::new(Path::new("/w/tree"), "web"))
            .iter()
            .map(|found| {
                let place = found.location.as_ref().map_or(String::new(), ToString::to_string);
                format!("{place} {} {}", found.code, found.message)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn errors_are_read_in_both_forms() {
        // tsc 5.9.3 on fixtures/ts-compile-router, shortened.
        check(
            "+ tsc --project tsconfig.json\nsrc/router.ts(43,18): error TS2741: Property 'query' is missing in type '{ path: string; }' but required in type 'Match'.\n",
            &[
                "web/src/router.ts:43:18 TS2741 Property 'query' is missing in type '{ path: string; }' but required in type 'Match'.",
            ],
        );
        check(
            "a.ts(1,7): error TS2322: Type '{ a: string; }' is not assignable to type 'T'.\n  Types of property 'a' are incompatible.\n    Type 'string' is not assignable to type 'number'.\nb.ts(2,1): error TS2304: Cannot find name 'x'.\n",
            &[
                "web/a.ts:1:7 TS2322 Type '{ a: string; }' is not assignable to type 'T'.\n  Types of property 'a' are incompatible.\n    Type 'string' is not assignable to type 'number'.",
                "web/b.ts:2:1 TS2304 Cannot find name 'x'.",
            ],
        );
        check(
            "\u{1b}[96msrc/a.ts\u{1b}[0m:\u{1b}[93m3\u{1b}[0m:\u{1b}[93m7\u{1b}[0m - \u{1b}[91merror\u{1b}[0m\u{1b}[90m TS2322: \u{1b}[0mType 'string' is not assignable to type 'number'.\n\n\u{1b}[7m3\u{1b}[0m const x: number = 'a';\n\u{1b}[7m \u{1b}[0m \u{1b}[91m      ~\u{1b}[0m\n\n\nFound 1 error in src/a.ts\u{1b}[90m:3\u{1b}[0m\n",
            &["web/src/a.ts:3:7 TS2322 Type 'string' is not assignable to type 'number'."],
        );
        check(
            "error TS5083: Cannot read file '/w/tree/base.json'.\n",
            &[" TS5083 Cannot read file '/w/tree/base.json'."],
        );
        check("../../x.ts(1,1): error TS1: m", &[" TS1 m"]);
        check("nothing\n  indented\n", &[]);
    }
}
