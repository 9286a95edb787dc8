//! Hostile text on GitHub stays text: in Markdown, in workflow commands and in the files by which a step tells its
//! outputs. Text comes from repositories, logs, models, titles and branch names; nothing here trusts any of it.

use anyhow::{Result, ensure};

use crate::text::{one_line, printable};

/// Bytes that a job summary may have: 1 MiB a step.
pub const SUMMARY: usize = 1 << 20;
/// Characters that a comment or the text of a pull request may have; counted in bytes here.
pub const COMMENT: usize = 65_536;
/// An invisible space that keeps what it stands in from being recognised as a mention, a link or a command.
const BREAK: char = '\u{200b}';

/// Text on one line of Markdown: shown as it is, without mentions, links, references, images, HTML or emphasis.
pub fn plain(text: &str) -> String {
    let text = one_line(text);
    let mut safe = String::with_capacity(text.len() + 16);
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let tight = rest.peek().is_some_and(|next| !next.is_whitespace());
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            // A mention or an address of mail, a reference to an issue, an address: `@a`, `#1`, `GH-1`, `x://`, `www.`.
            '@' | '#' => safe.extend(['\\', c, BREAK]),
            ':' if tight => safe.extend(['\\', c, BREAK]),
            '-' if matches!(before, 'h' | 'H') => safe.extend(['\\', c, BREAK]),
            '.' if matches!(before, 'w' | 'W') => safe.extend(['\\', c, BREAK]),
            '.' if before.is_ascii_digit() => safe.extend(['\\', c]),
            _ if c.is_ascii_punctuation() && !".,:'/%;?\"".contains(c) => safe.extend(['\\', c]),
            _ => safe.push(c),
        }
        before = c;
    }
    safe
}

/// Text as a code span, which nothing in it can end.
pub fn code(text: &str) -> String {
    let text = one_line(text).replace("<!--", &format!("<!{BREAK}--"));
    if text.is_empty() {
        return "` `".to_owned();
    }
    let ticks = "`".repeat(longest_run(&text) + 1);
    // A table would end its cell at a bar even within code; there is none, and a backslash would be shown.
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

/// Text as a block of code, which nothing in it can end.
pub fn fenced(text: &str, language: &str) -> String {
    let text = printable(text).replace("<!--", &format!("<!{BREAK}--"));
    let fence = "`".repeat((longest_run(&text) + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}", text.trim_end_matches('\n'))
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Cuts Markdown to so many bytes at the end of a line, and says so.
pub fn cap(text: &str, most: usize) -> String {
    let end = "\n\n… the rest is left out: it is too long for GitHub.\n";
    if text.len() <= most {
        return text.to_owned();
    }
    let mut at = most.saturating_sub(end.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let at = text[..at].rfind('\n').unwrap_or(at);
    format!("{}{end}", &text[..at])
}

/// A line of the log that the runner takes for no command, in the present form (`::`) or the old one (`##[`).
pub fn log(text: &str) -> String {
    let safe = |line: &str| {
        let line = line.replace("##[", &format!("##{BREAK}["));
        let inner = line.trim_start();
        let blank = &line[..line.len() - inner.len()];
        match inner.strip_prefix("::") {
            Some(rest) => format!("{blank}:{BREAK}:{rest}"),
            None => line,
        }
    };
    printable(text).lines().map(safe).collect::<Vec<_>>().join("\n")
}

/// A workflow command: `::error file=…,line=…::message`.
pub fn command(name: &str, properties: &[(&str, &str)], message: &str) -> String {
    let value = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let properties: Vec<String> =
        properties.iter().map(|(name, text)| format!("{name}={}", value(text))).collect();
    let space = if properties.is_empty() { "" } else { " " };
    format!("::{name}{space}{}::{}", properties.join(","), data(message))
}

/// The message of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// An entry of `$GITHUB_OUTPUT`. Fails when the value holds the delimiter, which nobody can guess.
pub fn output(name: &str, value: &str, delimiter: &str) -> Result<String> {
    ensure!(!value.contains(delimiter), "the value of the output {name} holds the delimiter");
    Ok(format!("{name}<<{delimiter}\n{value}\n{delimiter}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_stays_text() {
        let cases = [
            ("@octocat", "\\@\u{200b}octocat"),
            ("#12 GH-12", "\\#\u{200b}12 GH\\-\u{200b}12"),
            ("<img src=x>", "&lt;img src\\=x&gt;"),
            ("<!-- regreen -->", "&lt;\\!\\-\\- regreen \\-\\-&gt;"),
            ("[a](b)", "\\[a\\]\\(b\\)"),
            ("![a](b)", "\\!\\[a\\]\\(b\\)"),
            ("a\n# b", "a \\#\u{200b} b"),
            ("**b** `c` ~d~ |", "\\*\\*b\\*\\* \\`c\\` \\~d\\~ \\|"),
            ("&lt;script", "&amp;lt;script"),
            ("1. a", "1\\. a"),
        ];
        for (hostile, expected) in cases {
            assert_eq!(plain(hostile), expected);
        }
        for address in ["http://evil.example", "www.evil.example", "a@evil.example", "ftp://e.example"] {
            let safe = plain(address);
            assert!(!safe.contains("://") && !safe.contains("www.e") && !safe.contains("a@"), "{safe}");
        }
    }

    #[test]
    fn code_cannot_be_left() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a`b``c"), "```a`b``c```");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(code("a\nb"), "`a b`");
        assert_eq!(code(""), "` `");
        let block = fenced("x\n````\n@all\n", "diff");
        assert!(block.starts_with("`````diff\n") && block.ends_with("\n`````"), "{block}");
        assert!(!fenced("<!-- regreen -->", "").contains("<!--"));
    }

    #[test]
    fn the_log_and_its_commands_cannot_be_forged() {
        assert_eq!(log("a\n  ::set-output name=x::y"), "a\n  :\u{200b}:set-output name=x::y");
        assert_eq!(log("x ##[error]y"), "x ##\u{200b}[error]y");
        assert_eq!(log("a\r::b"), "a\\u{d}::b");
        assert_eq!(
            command("error", &[("file", "a,b:c"), ("line", "3")], "50 %\n::stop"),
            "::error file=a%2Cb%3Ac,line=3::50 %25%0A::stop"
        );
        assert_eq!(output("a", "b\nc=d", "EOF").unwrap(), "a<<EOF\nb\nc=d\nEOF\n");
        assert!(output("a", "b\nEOF\nc=d", "EOF").is_err());
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = "é line\n".repeat(1000);
        let cut = cap(&long, 500);
        assert!(cut.len() <= 500 && cut.contains("left out") && cut.starts_with("é line\n"), "{}", cut.len());
        assert_eq!(cap("short", 500), "short");
    }
}
