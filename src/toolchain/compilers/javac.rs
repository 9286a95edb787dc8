//! What javac prints, bare and as Maven and Gradle pass it on; and kotlinc, which stands beside it in many
//! builds. When neither speaks, the build tool's own reason is the diagnostic: a dependency that is missing, a
//! build file that cannot be read.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::text;
use crate::toolchain::place::Place;

/// A message or rendering holds at most about this many bytes.
const RENDERED: usize = 4 << 10;

/// At most this many lines below a header belong to it.
const LINES: usize = 24;

/// The diagnostics in what the tool printed. Maven says everything twice; the second time is left out.
pub fn parse(text: &str, place: &Place) -> Vec<Diagnostic> {
    // Maven's start script resets colours even when it is told to use none.
    let text = &*COLOUR.replace_all(text, "");
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut lines = text.lines().map(str::trim_end).peekable();
    while let Some(line) = lines.next() {
        let Some(mut diagnostic) = header(line, place) else {
            continue;
        };
        let mut below = Vec::new();
        while below.len() < LINES
            && let Some(next) = lines.next_if(|next| !ends(next, place))
        {
            below.push(next);
        }
        describe(&mut diagnostic, line, &below);
        let again = |d: &Diagnostic| d.location == diagnostic.location && d.message == diagnostic.message;
        if found.len() < super::MOST && !found.iter().any(again) {
            found.push(diagnostic);
        }
    }
    if !found.iter().any(|d| d.severity == Severity::Error) {
        found.extend(reason_of_maven(text, place).or_else(|| reason_of_gradle(text, place)));
    }
    found
}

static COLOUR: LazyLock<Regex> = LazyLock::new(|| regex(r"\x1b\[[0-9;]*m"));
static PLAIN: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?<file>\S.*?\.(?:java|groovy)):(?<line>\d+): (?<kind>error|warning): (?:\[(?<code>[\w-]+)\] )?(?<message>.*)$",
    )
});
static BARE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(?<kind>error): (?:\[(?<code>[\w-]+)\] )?(?<message>.*)$"));
static MAVEN: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^\[(?<kind>ERROR|WARNING)\] (?<file>\S.*?\.(?:java|kt|groovy)):\[(?<line>\d+),(?<column>\d+)\] (?:\[(?<code>[\w-]+)\] )?(?<message>.*)$",
    )
});
static KOTLIN: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?<kind>e|w): (?<file>\S.*?\.kts?):(?: \((?<line>\d+), (?<column>\d+)\):|(?<line2>\d+):(?<column2>\d+)) (?<message>.*)$",
    )
});

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a literal")
}

fn header(line: &str, place: &Place) -> Option<Diagnostic> {
    let found = MAVEN
        .captures(line)
        .or_else(|| PLAIN.captures(line))
        .or_else(|| KOTLIN.captures(line))
        .or_else(|| BARE.captures(line))?;
    let text = |name| found.name(name).map(|part| part.as_str());
    Some(Diagnostic {
        location: location(&found, place),
        severity: match text("kind") {
            Some("warning" | "WARNING" | "w") => Severity::Warning,
            _ => Severity::Error,
        },
        code: text("code").unwrap_or_default().to_owned(),
        message: text("message").unwrap_or_default().to_owned(),
        rendered: String::new(),
        suggestions: Vec::new(),
    })
}

fn location(found: &Captures, place: &Place) -> Option<Location> {
    let number = |name, other| {
        let digits = found.name(name).or_else(|| found.name(other))?;
        digits.as_str().parse().ok()
    };
    Some(Location {
        file: place.locate(found.name("file")?.as_str())?,
        line: number("line", "line2").unwrap_or(0),
        column: number("column", "column2").unwrap_or(0),
    })
}

/// Whether the line is not part of the message above it: another header, javac's count, or the build tool.
fn ends(line: &str, place: &Place) -> bool {
    let count = |word: &str| {
        line.split_once(' ').is_some_and(|(number, rest)| {
            number.bytes().all(|byte| byte.is_ascii_digit())
                && (rest == word || rest.strip_suffix('s') == Some(word))
        })
    };
    let maven = line.starts_with("[INFO]")
        || line.starts_with("[WARNING]")
        || line.strip_prefix("[ERROR]").is_some_and(|rest| !rest.starts_with("   "));
    line.is_empty()
        || maven
        || count("error")
        || count("warning")
        || line.starts_with("Note: ")
        || line.starts_with("> Task ")
        || header(line, place).is_some()
}

/// Fills in what stands below the header: javac's excerpt gives the column, and details such as `symbol:`
/// belong to the message, which says little without them.
fn describe(diagnostic: &mut Diagnostic, header: &str, below: &[&str]) {
    let strip = |line: &'_ str| line.strip_prefix("[ERROR] ").unwrap_or(line).to_owned();
    let mut below: Vec<String> = below.iter().map(|line| strip(line)).collect();
    diagnostic.rendered =
        std::iter::once(strip(header)).chain(below.iter().cloned()).collect::<Vec<_>>().join("\n");
    if let Some(caret) = below.iter().position(|line| line.trim() == "^") {
        if let Some(place) = &mut diagnostic.location
            && place.column == 0
        {
            place.column = below[caret].find('^').map_or(0, |at| u32::try_from(at + 1).unwrap_or(0));
        }
        // What stands between the header and the source line goes on with the message.
        below.remove(caret);
        if caret > 0 {
            below.remove(caret - 1);
        }
    }
    for line in below.iter().filter(|line| line.starts_with(' ')) {
        diagnostic.message.push('\n');
        diagnostic.message.push_str(line);
    }
    diagnostic.message = text::clip(&diagnostic.message, RENDERED).into_owned();
    diagnostic.rendered = text::clip(&diagnostic.rendered, RENDERED).into_owned();
}

static MAVEN_REASON: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?m)^\[ERROR\] (?:\[ERROR\] )?(?<message>(?:Failed to execute goal|Could not|Plugin |Unresolveable build extension|Non-parseable POM|Non-readable POM|Malformed POM|Some problems were encountered|The build could not read).*)$",
    )
});
static POM_PLACE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?m)@ (?:line (?<line>\d+), column (?<column>\d+)|(?<file>[^,\s]+), line (?<line2>\d+), column (?<column2>\d+))",
    )
});

/// Why Maven stopped, if it says so.
fn reason_of_maven(text: &str, place: &Place) -> Option<Diagnostic> {
    let found = MAVEN_REASON.captures(text)?;
    let begin = found.get(0)?.start();
    let lines = text[begin..].lines().take(LINES);
    let said = lines
        .map(|line| line.strip_prefix("[ERROR]").map(str::trim_end))
        .take_while(|line| line.is_some_and(|line| !line.is_empty()))
        .flatten()
        .map(|line| line.trim_start().trim_end_matches("-> [Help 1]"))
        .collect::<Vec<_>>()
        .join("\n");
    let at = POM_PLACE.captures(&said).and_then(|at| location(&at, place));
    Some(Diagnostic::error(at, text::clip(said.trim(), RENDERED).into_owned()))
}

static GRADLE_REASON: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?s)\* What went wrong:\n(?<message>.*?)\n(?:\n\* |\* Try:|$)"));
static GRADLE_PLACE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\* Where:\n\w+ file '(?<file>[^'\n]+)' line: (?<line>\d+)"));

/// Why Gradle stopped, if it says so. Tests that fail are no reason.
fn reason_of_gradle(text: &str, place: &Place) -> Option<Diagnostic> {
    let found = GRADLE_REASON.captures(text)?;
    let message = found["message"].trim();
    if message.contains("There were failing tests") {
        return None;
    }
    let at = GRADLE_PLACE.captures(text).and_then(|at| {
        Some(Location { file: place.locate(&at["file"])?, line: at["line"].parse().ok()?, column: 0 })
    });
    Some(Diagnostic::error(at, text::clip(message, RENDERED).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Each diagnostic as `file:line:column error|warning [code] message`.
    fn check(text: &str, expected: &[&str]) {
        let found = parse(text, &Place::new(Path::new("/w/tree"), ""));
        let show = |d: &Diagnostic| {
            let place = d.location.as_ref().map_or("-".to_owned(), ToString::to_string);
            let severity = format!("{:?}", d.severity).to_lowercase();
            format!("{place} {severity} [{}] {}", d.code, d.message.replace('\n', " /"))
        };
        assert_eq!(found.iter().map(show).collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn plain_javac_gives_columns_by_a_caret() {
        let text = "\
com/x/Foo.java:3: error: package nosuch does not exist
import nosuch.Thing;
             ^
com/x/Foo.java:6: warning: [rawtypes] found raw type: List
    List b() { List l = new java.util.ArrayList(); l.add(missing); return l; }
    ^
  missing type arguments for generic class List<E>
  where E is a type-variable:
    E extends Object declared in interface List
/w/tree/com/x/Foo.java:6: error: cannot find symbol
    List b() { List l = new java.util.ArrayList(); l.add(missing); return l; }
                                                         ^
  symbol:   variable missing
  location: class Foo
2 errors
1 warning
";
        check(
            text,
            &[
                "com/x/Foo.java:3:14 error [] package nosuch does not exist",
                "com/x/Foo.java:6:5 warning [rawtypes] found raw type: List /  missing type arguments for generic class List<E> /  where E is a type-variable: /    E extends Object declared in interface List",
                "com/x/Foo.java:6:58 error [] cannot find symbol /  symbol:   variable missing /  location: class Foo",
            ],
        );
        check(
            "error: file not found: Nope.java\nUsage: javac <options> <source files>\n",
            &["- error [] file not found: Nope.java"],
        );
    }

    #[test]
    fn maven_says_it_twice_and_it_is_kept_once() {
        let text = "\
\u{1b}[0m[INFO] -------------------------------------------------------------
[ERROR] COMPILATION ERROR : 
[INFO] -------------------------------------------------------------
[ERROR] /w/tree/src/main/java/com/example/polyline/Decoder.java:[15,32] cannot find symbol
  symbol:   class ArrayList
  location: class com.example.polyline.Decoder
[ERROR] /w/tree/src/main/java/com/example/polyline/Precision.java:[16,33] incompatible types: possible lossy conversion from long to int
[INFO] 2 errors 
\u{1b}[0m\u{1b}[0m[ERROR] Failed to execute goal org.apache.maven.plugins:maven-compiler-plugin:3.13.0:compile (default-compile) on project polyline: Compilation failure: Compilation failure: 
[ERROR] /w/tree/src/main/java/com/example/polyline/Decoder.java:[15,32] cannot find symbol
[ERROR]   symbol:   class ArrayList
[ERROR]   location: class com.example.polyline.Decoder
[ERROR] /w/tree/src/main/java/com/example/polyline/Precision.java:[16,33] incompatible types: possible lossy conversion from long to int
[ERROR] -> [Help 1]
[ERROR] 
";
        check(
            text,
            &[
                "src/main/java/com/example/polyline/Decoder.java:15:32 error [] cannot find symbol /  symbol:   class ArrayList /  location: class com.example.polyline.Decoder",
                "src/main/java/com/example/polyline/Precision.java:16:33 error [] incompatible types: possible lossy conversion from long to int",
            ],
        );
    }

    #[test]
    fn a_build_tool_that_stops_says_why() {
        check(
            "[ERROR] Failed to execute goal on project csv: Could not resolve dependencies for project com.example:csv:jar:1.0.0: Cannot access central in offline mode -> [Help 1]\n[ERROR] \n[ERROR] To see the full stack trace\n",
            &[
                "- error [] Failed to execute goal on project csv: Could not resolve dependencies for project com.example:csv:jar:1.0.0: Cannot access central in offline mode",
            ],
        );
        check(
            "
FAILURE: Build failed with an exception.

* Where:
Build file '/w/tree/build.gradle' line: 18

* What went wrong:
Could not compile build file '/w/tree/build.gradle'.
> startup failed:
  build file '/w/tree/build.gradle': 18: unexpected token:  @ line 18, column 1.
  1 error


* Try:
Run with --stacktrace option to get the stack trace.
",
            &[
                "build.gradle:18 error [] Could not compile build file '/w/tree/build.gradle'. /> startup failed: /  build file '/w/tree/build.gradle': 18: unexpected token:  @ line 18, column 1. /  1 error",
            ],
        );
        check(
            "* What went wrong:\nExecution failed for task ':test'.\n> There were failing tests. See the report\n\n* Try:\n",
            &[],
        );
    }

    #[test]
    fn gradle_passes_javac_and_kotlinc_through() {
        check(
            "\
/w/tree/src/main/java/com/example/wrap/Wrapper.java:56: error: ';' expected
        retrun line == 0 ? first : rest;
                   ^
1 error

FAILURE: Build failed with an exception.

* What went wrong:
Execution failed for task ':compileJava'.
> Compilation failed; see the compiler error output for details.

* Try:
",
            &["src/main/java/com/example/wrap/Wrapper.java:56:20 error [] ';' expected"],
        );
        check(
            "e: file:///w/tree/src/main/kotlin/A.kt:3:9 Unresolved reference: x\nw: /w/tree/src/B.kt: (4, 5): Variable 'y' is never used\n",
            &[
                "src/main/kotlin/A.kt:3:9 error [] Unresolved reference: x",
                "src/B.kt:4:5 warning [] Variable 'y' is never used",
            ],
        );
    }

    #[test]
    fn hostile_output_breaks_nothing() {
        let long = format!("A.java:1: error: {}\n  {}\n ^\n", "x".repeat(1 << 20), "ä".repeat(1 << 20));
        for text in [
            long.as_str(),
            "A.java:99999999999: error: \n^\n",
            "[ERROR] A.java:[,] x\n",
            "* What went wrong:\n",
        ] {
            for found in parse(text, &Place::new(Path::new("/w/tree"), "")) {
                assert!(found.rendered.len() < 2 * RENDERED && found.message.len() < 2 * RENDERED);
            }
        }
    }
}
