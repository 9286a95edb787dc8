//! `SyntaxError` and module errors of Node, from a run that did not even load. Other errors are no
//! diagnostics: they are what tests are for.

use std::sync::LazyLock;

use regex::Regex;

use crate::diagnostic::{Diagnostic, Location};
use crate::toolchain::place::Place;

static ERROR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?m)^(?:SyntaxError|Error|TypeError)(?: \[(?<code>ERR_\w+)\])?: (?<message>(?:Cannot find (?:module|package)|.*does not provide an export|.*Unexpected|.*is not defined by \x22exports\x22|.*[Ii]nvalid|.*has already been declared|.*Missing|.*outside a module|.*is only valid).*)$",
    )
    .expect("the expression is constant")
});

static FRAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s+at (?:async )?(?:.*? \()?(?<file>.+?):(?<line>\d+):(?<column>\d+)\)?$")
        .expect("the expression is constant")
});

static HEAD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?<file>(?:file://)?/.+?):(?<line>\d+)$").expect("the expression is constant")
});

static COLOUR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("\x1b\\[[0-9;:]*[A-Za-z]").expect("the expression is constant"));

/// The diagnostics in what the tool printed.
pub fn parse(text: &str, place: &Place) -> Vec<Diagnostic> {
    let text = plain(text);
    ERROR
        .captures_iter(&text)
        .filter_map(|found| {
            let whole = found.get(0)?;
            // The place of a syntax error stands some lines above it; that of a missing module, below.
            let above = text[..whole.start()].lines().rev().take(6).find_map(|line| head(line, place));
            let below = || text[whole.end()..].lines().take(20).find_map(|line| frame(line, place));
            let mut diagnostic = Diagnostic::error(above.or_else(below), &found["message"]);
            found.name("code").map_or("", |code| code.as_str()).clone_into(&mut diagnostic.code);
            Some(diagnostic)
        })
        .collect()
}

/// Text without colours.
pub(in crate::toolchain) fn plain(text: &str) -> String {
    COLOUR.replace_all(text, "").into_owned()
}

/// The frames of a stack that lie in repository files, innermost first.
pub(in crate::toolchain) fn frames(stack: &str, place: &Place) -> Vec<Location> {
    stack.lines().filter_map(|line| frame(line, place)).take(50).collect()
}

/// The stack without frames of foreign code, which would crowd out the others.
pub(in crate::toolchain) fn own_frames(stack: &str, place: &Place) -> String {
    let foreign = |line: &str| line.trim_start().starts_with("at ") && frame(line, place).is_none();
    let kept: Vec<&str> = stack.lines().filter(|line| !foreign(line)).collect();
    kept.join("\n")
}

fn frame(line: &str, place: &Place) -> Option<Location> {
    let found = FRAME.captures(line)?;
    location(&found["file"], &found["line"], &found["column"], place)
}

fn head(line: &str, place: &Place) -> Option<Location> {
    let found = HEAD.captures(line)?;
    location(&found["file"], &found["line"], "0", place)
}

fn location(file: &str, line: &str, column: &str, place: &Place) -> Option<Location> {
    if file.starts_with("node:") || file.starts_with('<') || file.contains("node_modules") {
        return None;
    }
    Some(Location { file: place.locate(file)?, line: line.parse().ok()?, column: column.parse().ok()? })
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
                format!("{place} {} {}", found.code, found.message)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn errors_of_loading_become_diagnostics_and_others_do_not() {
        // Node 20.
        check(
            "/w/tree/test/syntax.test.js:1\nconst x = ;\n          ^\n\nSyntaxError: Unexpected token ';'\n    at wrapSafe (node:internal/modules/cjs/loader:1464:18)\n",
            &["test/syntax.test.js:1  Unexpected token ';'"],
        );
        check(
            "node:internal/modules/cjs/loader:1210\n  throw err;\n  ^\n\nError: Cannot find module './nope'\nRequire stack:\n- /w/tree/req.js\n    at Module._load (node:internal/modules/cjs/loader:1038:27)\n    at Object.<anonymous> (/w/tree/req.js:1:8)\n",
            &["req.js:1:8  Cannot find module './nope'"],
        );
        check(
            "node:internal/modules/esm/resolve:257\n    throw new ERR_MODULE_NOT_FOUND(\n          ^\n\nError [ERR_MODULE_NOT_FOUND]: Cannot find module '/w/tree/b.mjs' imported from /w/tree/a.mjs\n    at finalizeResolution (node:internal/modules/esm/resolve:257:11)\n",
            &[" ERR_MODULE_NOT_FOUND Cannot find module '/w/tree/b.mjs' imported from /w/tree/a.mjs"],
        );
        check(
            "file:///w/tree/a.mjs:1\nimport { nope } from './c.mjs';\n         ^^^^\nSyntaxError: The requested module './c.mjs' does not provide an export named 'nope'\n",
            &["a.mjs:1  The requested module './c.mjs' does not provide an export named 'nope'"],
        );
        check("Error: it broke\n    at f (/w/tree/a.js:1:1)\n", &[]);
        check("", &[]);
    }

    #[test]
    fn frames_are_those_of_the_repository() {
        let place = Place::new(Path::new("/w/tree"), "api");
        let stack = "Error: x\n    at Parser.operand (/w/tree/src/a(b).ts:7:11)\n    at async file:///w/tree/b.mjs:2:3\n    at f (test/c.js:1:2)\n    at g (/w/tree/node_modules/x.js:1:1)\n    at h (node:internal/x:1:1)\n    at new Promise (<anonymous>)\n    at /etc/passwd:1:1";
        let shown: Vec<String> = frames(stack, &place).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["src/a(b).ts:7:11", "b.mjs:2:3", "api/test/c.js:1:2"]);
        assert_eq!(own_frames(stack, &place).lines().count(), 4);
    }
}
