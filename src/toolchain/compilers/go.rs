//! What `go build` and `go vet` print: `file:line:column: message`, under a line `# package`.

use std::sync::LazyLock;

use regex::Regex;

use crate::diagnostic::{Diagnostic, Location};
use crate::toolchain::place::Place;

static MESSAGE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:vet: )?(?P<file>[^\s:{][^:]*\.(?:go|mod|s)):(?P<line>\d+)(?::(?P<column>\d+))?: (?P<message>.+)$")
        .expect("it is a constant")
});

/// The diagnostics in what the tool printed. Lines that begin with a tab belong to the message above.
pub fn parse(text: &str, place: &Place) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        if let Some(parts) = MESSAGE.captures(line) {
            let number = |group| parts.name(group).and_then(|part| part.as_str().parse().ok());
            let location = place.locate(&parts["file"]).map(|file| Location {
                file,
                line: number("line").unwrap_or(0),
                column: number("column").unwrap_or(0),
            });
            found.push(Diagnostic::error(location, &parts["message"]));
            goes_on = true;
        } else if let Some(message) =
            line.strip_prefix("go: ").filter(|line| !line.starts_with("downloading"))
        {
            found.push(Diagnostic::error(None, message));
            goes_on = true;
        } else if let (true, Some(last)) = (goes_on && line.starts_with('\t'), found.last_mut()) {
            last.message.push('\n');
            last.message.push_str(line);
        } else {
            goes_on = false;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn places_and_continued_messages_are_read() {
        let text = "# example.com/m/nobuild
nobuild/n.go:3:23: undefined: undefinedThing
./a.go:4:12: not enough arguments in call to f
\thave ()
\twant (int)
# [example.com/m/badtest]
vet: badtest/b_test.go:3:28: declared and not used: x
a.go:5: syntax without column
go: downloading example.com/x v1.0.0
go: example.com/x@v1.0.0: module lookup disabled by GOPROXY=off
/usr/local/go/src/fmt/print.go:1:2: not in the tree
{\"Action\":\"output\",\"Output\":\"x.go:1:2: no\"}
";
        let found = parse(text, &Place::new(Path::new("/w"), ""));
        let shown: Vec<String> = found
            .iter()
            .map(|d| {
                let at = d.location.as_ref().map(ToString::to_string).unwrap_or_default();
                format!("{at}|{}", d.message)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "nobuild/n.go:3:23|undefined: undefinedThing",
                "a.go:4:12|not enough arguments in call to f\n\thave ()\n\twant (int)",
                "badtest/b_test.go:3:28|declared and not used: x",
                "a.go:5|syntax without column",
                "|example.com/x@v1.0.0: module lookup disabled by GOPROXY=off",
                "|not in the tree",
            ]
        );
    }
}
