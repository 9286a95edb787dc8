//! What gcc, clang and the linker print, and what make and `CMake` add when they cannot even begin.
//!
//! A header line (`file:line:column: error: message [-Wcode]`) opens a diagnostic; notes, source excerpts and
//! the lines of the include chain before it become its rendering, fix-its (`-fdiagnostics-parseable-fixits`)
//! its suggestion. Linkers name an object or a source file, rarely a line.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::diagnostic::{Applicability, Diagnostic, Location, Replacement, Severity, Suggestion};
use crate::text;
use crate::toolchain::place::Place;

/// A rendering holds at most about this many bytes: one template error can run over pages.
const RENDERED: usize = 8 << 10;

/// The diagnostics in what the tool printed.
pub fn parse(text: &str, place: &Place) -> Vec<Diagnostic> {
    let mut reader = Reader {
        place,
        entered: entered(text, place),
        found: Vec::new(),
        context: String::new(),
        after: After::Nothing,
    };
    for line in text.lines() {
        reader.feed(line.trim_end());
    }
    reader.finish()
}

struct Reader<'a> {
    place: &'a Place,
    /// Folders that recursive make entered; relative paths may start there.
    entered: Vec<String>,
    found: Vec<Diagnostic>,
    /// Lines that belong to the diagnostic that comes next.
    context: String,
    after: After,
}

/// What the line before was, which decides whom a line belongs to.
#[derive(Clone, Copy, PartialEq)]
enum After {
    /// Nothing that goes on.
    Nothing,
    /// A header or a note: clang's excerpt may follow without indentation.
    Header,
    /// Something indented below a header.
    Excerpt,
    /// A message of `CMake`'s, whose text is indented and has empty lines.
    Cmake,
}

static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?<file>[^:\s][^:]*):(?:(?<line>\d+):)?(?:(?<column>\d+):)? (?<kind>fatal error|error|warning|note): (?<message>.*)$",
    )
});
static CODE: LazyLock<Regex> = LazyLock::new(|| regex(r"^(?<message>.*?) \[(?<code>-W[^\]\s]*)\]$"));
static FIX: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"^fix-it:"(.*)":\{(\d+):(\d+)-(\d+):(\d+)\}:"(.*)"$"#));
static LINKER: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?:(?:\S*/)?\S*\bld(?:\.\w+)?: )?(?:(?<file>[^:]+):(?:(?<line>\d+)|\([^)]*\)): )?(?<message>(?:undefined reference to|multiple definition of|cannot find) .*)$",
    )
});
static UNDEFINED_BY_LLD: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(?:\S*/)?ld(?:64)?\.lld: error: (?<message>.*)$"));
static MAKE: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^(?:g?make(?:\[\d+\])?|(?<file>[^:\s]+):(?<line>\d+)): \*\*\* (?<message>[^\[].*?)(?:  Stop\.)?$")
});
static CMAKE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^CMake (?<kind>Error|Warning)(?: \(dev\))?(?: (?:at|in) (?<file>[^:]+?)(?::(?<line>\d+))?(?: \(.*\))?)?:(?<message>.*)$",
    )
});
static ENTERING: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^g?make(?:\[\d+\])?: Entering directory ['`](.*)'$"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a literal")
}

/// The folders that make said it entered. Its words come on stdout and the compiler's on stderr, so that only
/// the set is known, not which message was printed where.
fn entered(text: &str, place: &Place) -> Vec<String> {
    let mut folders: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| line.contains("Entering directory")) {
        let folder = ENTERING.captures(line).and_then(|found| place.locate(&found[1]));
        folders.extend(folder.filter(|folder| !folders.contains(folder)));
        if folders.len() == 64 {
            break;
        }
    }
    folders
}

impl Reader<'_> {
    fn feed(&mut self, line: &str) {
        if self.continues(line) {
            self.render(line);
        } else if let Some(found) = FIX.captures(line) {
            self.fix(&found);
        } else if let Some(found) = CMAKE.captures(line) {
            self.cmake(&found, line);
        } else if let Some(found) = LINKER.captures(line) {
            self.open(place_of(&found), Severity::Error, &found["message"], line);
        } else if let Some(found) = UNDEFINED_BY_LLD.captures(line) {
            self.open(None, Severity::Error, &found["message"], line);
        } else if let Some(found) = HEADER.captures(line) {
            self.header(&found, line);
        } else if let Some(found) = MAKE.captures(line) {
            self.open(place_of(&found), Severity::Error, &found["message"], line);
        } else if leads_in(line) {
            self.after = After::Nothing;
            push_line(&mut self.context, line);
        } else {
            self.after = After::Nothing;
            self.context.clear();
        }
    }

    /// Whether the line is the text below a header and no header itself.
    fn continues(&self, line: &str) -> bool {
        let indented = line.starts_with([' ', '\t']);
        match self.after {
            After::Nothing => false,
            After::Cmake => indented || line.is_empty(),
            After::Excerpt => indented && !leads_in(line),
            After::Header => {
                let noise = line.is_empty() || line.starts_with(['[', '/']) || line.contains(": ");
                !leads_in(line) && (indented || !noise)
            }
        }
    }

    /// Adds a line to the diagnostic it belongs to; of `CMake`'s the text is the message.
    fn render(&mut self, line: &str) {
        let cmake = self.after == After::Cmake;
        let Some(last) = self.found.last_mut() else { return };
        push_line(&mut last.rendered, line);
        if cmake && last.message.len() < RENDERED {
            let gap = if last.message.is_empty() { "" } else { "\n" };
            last.message.push_str(gap);
            last.message.push_str(line.trim());
        } else if !cmake {
            self.after = After::Excerpt;
        }
    }

    fn header(&mut self, found: &Captures, line: &str) {
        let severity = match &found["kind"] {
            "note" => {
                // A note says more about the message before it.
                if let Some(last) = self.found.last_mut() {
                    push_line(&mut last.rendered, &std::mem::take(&mut self.context));
                    push_line(&mut last.rendered, line);
                    self.after = After::Header;
                }
                return;
            }
            "warning" => Severity::Warning,
            _ => Severity::Error,
        };
        self.open(place_of(found), severity, &found["message"], line);
    }

    fn cmake(&mut self, found: &Captures, line: &str) {
        let severity = if &found["kind"] == "Error" { Severity::Error } else { Severity::Warning };
        self.open(place_of(found), severity, found["message"].trim(), line);
        self.after = After::Cmake;
    }

    fn open(&mut self, place: Option<Printed>, severity: Severity, message: &str, line: &str) {
        let (message, code) = match CODE.captures(message) {
            Some(found) => (found["message"].to_owned(), found["code"].to_owned()),
            None => (message.to_owned(), String::new()),
        };
        let mut rendered = std::mem::take(&mut self.context);
        push_line(&mut rendered, line);
        self.found.push(Diagnostic {
            location: place.and_then(|place| self.location(&place)),
            severity,
            code,
            message,
            rendered,
            suggestions: Vec::new(),
        });
        self.after = After::Header;
    }

    /// The repository file that was meant. A relative path starts where the tool ran, or in a folder that make
    /// entered; the file that exists decides.
    fn location(&self, printed: &Printed) -> Option<Location> {
        let here = self.place.locate(&printed.file);
        let below = |folder: &String| self.place.locate_in(folder, &printed.file);
        let there = self.entered.iter().filter_map(below);
        let mut candidates = here.into_iter().chain(there);
        let first = candidates.next()?;
        let file = if self.place.holds(&first) {
            first
        } else {
            // A tool such as `cc1:` or a file that a linker knows by its bare name alone.
            let exist: Vec<String> = candidates.filter(|path| self.place.holds(path)).collect();
            let [only] = <[String; 1]>::try_from(exist).ok()?;
            only
        };
        Some(Location { file, line: printed.line, column: printed.column })
    }

    /// A fix-it, with lines and byte columns from 1, belongs to the message before it.
    fn fix(&mut self, found: &Captures) {
        self.after = After::Nothing;
        let number = |index: usize| found[index].parse::<usize>().ok();
        let part = || {
            let file = self.location(&Printed { file: unescape(&found[1]), line: 0, column: 0 })?;
            let bytes = self.place.read(&file.file)?;
            let (start, end) =
                (offset(&bytes, number(2)?, number(3)?)?, offset(&bytes, number(4)?, number(5)?)?);
            (start <= end).then_some(Replacement { file: file.file, start, end, text: unescape(&found[6]) })
        };
        let (Some(part), Some(last)) = (part(), self.found.last_mut()) else {
            return;
        };
        match last.suggestions.last_mut() {
            Some(suggestion) => suggestion.parts.push(part),
            None => last.suggestions.push(Suggestion {
                message: last.message.clone(),
                applicability: Applicability::MaybeIncorrect,
                parts: vec![part],
            }),
        }
    }

    /// `collect2: error: ld returned 1 exit status` adds nothing to what the linker itself said.
    fn finish(mut self) -> Vec<Diagnostic> {
        let echo = |d: &Diagnostic| {
            d.location.is_none()
                && (d.message.starts_with("ld returned") || d.message.starts_with("linker command failed"))
        };
        if self.found.iter().any(|d| d.severity == Severity::Error && !echo(d)) {
            self.found.retain(|d| !echo(d));
        }
        for diagnostic in &mut self.found {
            diagnostic.message = text::clip(diagnostic.message.trim_end(), RENDERED).into_owned();
            diagnostic.rendered.truncate(diagnostic.rendered.trim_end().len());
        }
        self.found
    }
}

/// A place as the tool printed it.
struct Printed {
    file: String,
    line: u32,
    column: u32,
}

fn place_of(found: &Captures) -> Option<Printed> {
    let number = |name| found.name(name).and_then(|digits| digits.as_str().parse().ok()).unwrap_or(0);
    Some(Printed {
        file: found.name("file")?.as_str().to_owned(),
        line: number("line"),
        column: number("column"),
    })
}

/// Whether the line introduces the message after it.
fn leads_in(line: &str) -> bool {
    line.starts_with("In file included from")
        || line.starts_with("                 from ")
        || line.ends_with(": At global scope:")
        || line.ends_with(": At top level:")
        || line.contains(": In function ")
        || line.contains(": in function ")
        || line.contains(": In member function ")
        || line.contains(": In instantiation of ")
}

/// Adds a line while there is room.
fn push_line(rendered: &mut String, line: &str) {
    if line.is_empty() || rendered.len() + line.len() > RENDERED {
        return;
    }
    if !rendered.is_empty() && !rendered.ends_with('\n') {
        rendered.push('\n');
    }
    rendered.push_str(line);
}

/// The byte at a line and a byte column, both from 1; the column may lie just behind the line.
fn offset(bytes: &[u8], line: usize, column: usize) -> Option<usize> {
    let mut start = 0;
    for _ in 1..line {
        start += bytes.get(start..)?.iter().position(|byte| *byte == b'\n')? + 1;
    }
    let rest = bytes.get(start..)?;
    let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let column = column.checked_sub(1)?;
    (column <= length).then_some(start + column)
}

/// Undoes the escapes of a C string.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'\\', [b'n', tail @ ..]) => {
                bytes.push(b'\n');
                rest = tail;
            }
            (b'\\', [b't', tail @ ..]) => {
                bytes.push(b'\t');
                rest = tail;
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = tail;
            }
            (b'\\', [escaped, tail @ ..]) => {
                bytes.push(*escaped);
                rest = tail;
            }
            (plain, _) => bytes.push(*plain),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with the files that the recorded output talks about.
    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let place = Place::new(folder.path(), "");
        (folder, place)
    }

    /// Each diagnostic as `file:line:column error|warning [code] first line of the message`.
    fn check(files: &[(&str, &str)], text: &str, expected: &[&str]) -> Vec<Diagnostic> {
        let (_folder, place) = tree(files);
        let found = parse(text, &place);
        let shown: Vec<String> = found.iter().map(show).collect();
        assert_eq!(shown, expected, "{text}");
        found
    }

    fn show(d: &Diagnostic) -> String {
        let place = d.location.as_ref().map_or("-".to_owned(), ToString::to_string);
        let severity = format!("{:?}", d.severity).to_lowercase();
        let message = d.message.replace('\n', " / ");
        format!("{place} {severity} [{}] {message}", d.code)
    }

    #[test]
    fn gcc_says_where_what_and_how_to_mend_it() {
        let source = "\n\n\n\n\n\n\n\n    printf(\"%s\\n\", p.xx);\n    retrun 0;\n";
        let text = "\
In file included from a.c:2:
a.h: In function ‘broken’:
a.h:2:34: error: ‘undefined_thing’ undeclared (first use in this function)
    2 | inline int broken(void) { return undefined_thing; }
      |                                  ^~~~~~~~~~~~~~~
a.h:2:34: note: each undeclared identifier is reported only once for each function it appears in
a.c: In function ‘main’:
a.c:8:14: warning: initialization of ‘int *’ from ‘int’ makes pointer from integer without a cast [-Wint-conversion]
    8 |     int *q = p.x;
      |              ^
a.c:9:22: error: ‘struct point’ has no member named ‘xx’; did you mean ‘x’?
    9 |     printf(\"%s\\n\", p.xx);
      |                      ^~
      |                      x
fix-it:\"a.c\":{9:22-9:24}:\"x\"
a.c:10:11: error: expected ‘;’ before numeric constant
   10 |     retrun 0;
      |           ^~
      |           ;
fix-it:\"a.c\":{10:11-10:11}:\";\"
d.c:1:10: fatal error: nohdr.h: No such file or directory
    1 | #include \"nohdr.h\"
      |          ^~~~~~~~~
compilation terminated.
cc1: fatal error: nofile.c: No such file or directory
compilation terminated.
";
        let files = [("a.c", source), ("a.h", ""), ("d.c", "")];
        let found = check(
            &files,
            text,
            &[
                "a.h:2:34 error [] ‘undefined_thing’ undeclared (first use in this function)",
                "a.c:8:14 warning [-Wint-conversion] initialization of ‘int *’ from ‘int’ makes pointer from integer without a cast",
                "a.c:9:22 error [] ‘struct point’ has no member named ‘xx’; did you mean ‘x’?",
                "a.c:10:11 error [] expected ‘;’ before numeric constant",
                "d.c:1:10 error [] nohdr.h: No such file or directory",
                "- error [] nofile.c: No such file or directory",
            ],
        );
        assert!(found[0].rendered.starts_with("In file included from a.c:2:\na.h: In function"));
        assert!(found[0].rendered.ends_with("for each function it appears in"));
        let part = &found[2].suggestions[0].parts[0];
        assert_eq!((&source[part.start..part.end], part.text.as_str()), ("xx", "x"));
        let part = &found[3].suggestions[0].parts[0];
        assert_eq!(&source[..part.start].lines().last(), &Some("    retrun"));
    }

    #[test]
    fn what_the_libraries_say_belongs_to_the_error_before_it() {
        let text = "\
t.cpp: In function ‘int main()’:
t.cpp:5:45: error: no matching function for call to ‘push_back(const char [2])’
    5 | int main() { std::vector<int> v; v.push_back(\"x\"); size(v); }
      |                                  ~~~~~~~~~~~^~~~~
In file included from /usr/include/c++/12/vector:64,
                 from t.cpp:1:
/usr/include/c++/12/bits/stl_vector.h:1276:7: note: candidate: ‘void push_back(const value_type&)’ (near match)
 1276 |       push_back(const value_type& __x)
      |       ^~~~~~~~~
t.cpp:5:56: error: call of overloaded ‘size(std::vector<int>&)’ is ambiguous
";
        let expected = [
            "t.cpp:5:45 error [] no matching function for call to ‘push_back(const char [2])’",
            "t.cpp:5:56 error [] call of overloaded ‘size(std::vector<int>&)’ is ambiguous",
        ];
        let found = check(&[("t.cpp", "")], text, &expected);
        assert!(found[0].rendered.contains("candidate: ‘void push_back"));
        assert!(!found[1].rendered.contains("candidate"));
    }

    #[test]
    fn linkers_name_symbols_and_sometimes_lines() {
        let text = "\
/usr/bin/ld: c.o:(.data+0x0): multiple definition of `shared'; b.o:(.data+0x0): first defined here
/usr/bin/ld: b.o: in function `main':
b.c:(.text+0xa): undefined reference to `twice'
/usr/bin/ld: c.o: in function `other':
c.c:7: undefined reference to `missing'
/usr/bin/ld: cannot find -lnosuch: No such file or directory
collect2: error: ld returned 1 exit status
";
        let expected = [
            "- error [] multiple definition of `shared'; b.o:(.data+0x0): first defined here",
            "b.c error [] undefined reference to `twice'",
            "c.c:7 error [] undefined reference to `missing'",
            "- error [] cannot find -lnosuch: No such file or directory",
        ];
        let found = check(&[("b.c", ""), ("c.c", "")], text, &expected);
        assert!(found[1].rendered.starts_with("/usr/bin/ld: b.o: in function `main':"));
        check(&[], "collect2: error: ld returned 1 exit status\n", &["- error [] ld returned 1 exit status"]);
    }

    #[test]
    fn make_and_cmake_have_errors_of_their_own() {
        let text = "\
make: *** No rule to make target 'nothere.c', needed by 'all'.  Stop.
rules.mk:2: *** missing separator.  Stop.
make[1]: *** [<builtin>: s] Error 1
CMake Error at CMakeLists.txt:3 (find_package):
  By not providing \"FindNope.cmake\" in CMAKE_MODULE_PATH this project has
  asked CMake to find a package configuration file provided by \"Nope\".

  Could not find it.
";
        check(
            &[("CMakeLists.txt", ""), ("rules.mk", "")],
            text,
            &[
                "- error [] No rule to make target 'nothere.c', needed by 'all'.",
                "rules.mk:2 error [] missing separator.",
                "CMakeLists.txt:3 error [] By not providing \"FindNope.cmake\" in CMAKE_MODULE_PATH this project has / asked CMake to find a package configuration file provided by \"Nope\". /  / Could not find it.",
            ],
        );
    }

    #[test]
    fn a_path_may_start_where_recursive_make_went() {
        let (folder, place) = tree(&[("sub/s.c", ""), ("other/x.c", "")]);
        let root = folder.path().display();
        let text = format!(
            "s.c:1:25: error: ‘y’ undeclared\nmake[1]: Entering directory '{root}/other'\nmake[1]: Entering directory '{root}/sub'\n"
        );
        let shown: Vec<String> = parse(&text, &place).iter().map(show).collect();
        assert_eq!(shown, ["sub/s.c:1:25 error [] ‘y’ undeclared"]);
    }

    #[test]
    fn hostile_output_costs_little_and_breaks_nothing() {
        let long = format!("a.c:1:1: error: {}\n", "x".repeat(1 << 20));
        let notes = format!("a.c:1:1: error: e\n{}", "a.c:1:1: note: n\n".repeat(100_000));
        let texts = [
            long.as_str(),
            &notes,
            "fix-it:\"a.c\":{9:22-9:24}:\"x\"\n",
            "a.c:99999999999999999999:1: error: e\nfix-it:\"a.c\":{0:0-0:0}:\"\\\"\n",
            "../../etc/passwd:1:1: error: e\n",
            ":::: error: \n: error: \nfix-it:\n",
        ];
        let (_folder, place) = tree(&[("a.c", "x")]);
        for text in texts {
            for diagnostic in parse(text, &place) {
                assert!(diagnostic.rendered.len() <= RENDERED && diagnostic.message.len() <= 2 * RENDERED);
                assert!(diagnostic.suggestions.is_empty());
                assert!(diagnostic.location.is_none_or(|place| place.file == "a.c"));
            }
        }
    }
}
