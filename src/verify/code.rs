//! The code of a source text: what is neither comment nor literal text, by the language's grammar. Names are read and
//! followed there and nowhere else, for a word in a text is data, and what a test expects or gives may be spelt alike.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use tree_sitter::{Language, Node, Parser};

/// A word that may be a name.
pub(super) static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[A-Za-z_$][\w$]*").expect("a test compiles it"));

/// Longer texts are not read: they have no code.
const LONGEST: usize = 512 << 10;

/// What a byte of a text belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Code,
    Text,
    Comment,
}

/// A source text with the parts of its bytes.
#[derive(Debug)]
pub(super) struct Code<'a> {
    text: &'a str,
    parts: Vec<Part>,
}

impl<'a> Code<'a> {
    /// Reads a file; where its language is not known it has no code, and in what does not parse there is none.
    pub fn read(path: &str, text: &'a str) -> Code<'a> {
        let mut code = Code { text, parts: vec![Part::Text; text.len()] };
        let mut parser = Parser::new();
        let known = text.len() <= LONGEST
            && language(path).is_some_and(|language| parser.set_language(&language).is_ok());
        if let Some(tree) = known.then(|| parser.parse(text, None)).flatten() {
            code.parts.fill(Part::Code);
            code.visit(tree.root_node());
        }
        code
    }

    /// Parents come before their children, whose word is the last. Nothing here is as deep as the text may be.
    fn visit(&mut self, root: Node<'_>) {
        let broken = root.has_error();
        let mut cursor = root.walk();
        loop {
            let node = cursor.node();
            let part = part(node.kind(), broken);
            if let Some(part) = part {
                self.parts[node.byte_range()].fill(part);
            }
            if !self.dotted(node, part) && cursor.goto_first_child() {
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return;
                }
            }
        }
    }

    /// A literal that as a whole is the path of something, as mocks are given them, names it like code.
    fn dotted(&mut self, node: Node<'_>, part: Option<Part>) -> bool {
        static PATH: LazyLock<Regex> = LazyLock::new(|| {
            let word = r"[A-Za-z_$][\w$]*";
            Regex::new(&format!(r#"^\w{{0,2}}["'`]({word}(?:(?:\.|::){word})+)["'`]$"#))
                .expect("a test compiles it")
        });
        let literal = part == Some(Part::Text) && node.kind() != "ERROR";
        let found = literal.then(|| PATH.captures(&self.text[node.byte_range()])).flatten();
        let Some(path) = found.and_then(|found| found.get(1)) else { return false };
        let start = node.start_byte();
        self.parts[start + path.start()..start + path.end()].fill(Part::Code);
        true
    }

    /// The text with other words for some that stand in its code.
    pub fn replaced<'b>(&self, new: impl Fn(&'b str) -> &'b str) -> String
    where
        'a: 'b,
    {
        let (mut done, mut at) = (String::with_capacity(self.text.len()), 0);
        for word in WORD.find_iter(self.text) {
            if self.parts[word.range()].iter().all(|part| *part == Part::Code) {
                done.push_str(&self.text[at..word.start()]);
                done.push_str(new(word.as_str()));
                at = word.end();
            }
        }
        done.push_str(&self.text[at..]);
        done
    }

    /// The text with a sign that is part of no word, and no blank, for each of what is not code; lines stay lines.
    pub fn masked(&self) -> String {
        let sign = |(at, c): (usize, char)| match self.parts[at] {
            Part::Text | Part::Comment if c != '\n' => {
                // The first plane of private use has as many signs as the plane of almost all that is written.
                u16::try_from(u32::from(c))
                    .ok()
                    .and_then(|c| char::from_u32(0xF_0000 | u32::from(c)))
                    .unwrap_or(c)
            }
            _ => c,
        };
        self.text.char_indices().map(sign).collect()
    }

    /// The words outside of comments, each with the character before it.
    pub fn words(&self) -> impl Iterator<Item = (Option<char>, &'a str)> {
        let outside = |at: usize| self.parts[at] != Part::Comment;
        let found = WORD.find_iter(self.text).filter(move |word| outside(word.start()));
        found.map(|word| (self.text[..word.start()].chars().next_back(), word.as_str()))
    }
}

/// What the bytes of a kind of node are, if they are not what their parent's are. In a text that does not parse,
/// what seems to be a comment may be none.
fn part(kind: &str, broken: bool) -> Option<Part> {
    match kind {
        "interpolation" | "template_substitution" | "template_type" => Some(Part::Code),
        "ERROR" | "char_literal" | "character_literal" | "rune_literal" | "regex" | "jsx_text"
        | "format_specifier" | "text_block" => Some(Part::Text),
        "hash_bang_line" | "html_comment" => Some(if broken { Part::Text } else { Part::Comment }),
        _ if kind.ends_with("comment") => Some(if broken { Part::Text } else { Part::Comment }),
        _ if kind.contains("string") && kind != "string_interpolation" || kind == "template_literal_type" => {
            Some(Part::Text)
        }
        _ => None,
    }
}

/// The grammar of a file.
fn language(path: &str) -> Option<Language> {
    Some(match Path::new(path).extension()?.to_str()? {
        "py" | "pyi" => tree_sitter_python::LANGUAGE.into(),
        "js" | "mjs" | "cjs" | "jsx" => tree_sitter_javascript::LANGUAGE.into(),
        "ts" | "mts" | "cts" => tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
        "tsx" => tree_sitter_typescript::LANGUAGE_TSX.into(),
        "rs" => tree_sitter_rust::LANGUAGE.into(),
        "go" => tree_sitter_go::LANGUAGE.into(),
        "java" => tree_sitter_java::LANGUAGE.into(),
        "c" | "h" => tree_sitter_c::LANGUAGE.into(),
        "cc" | "cpp" | "cxx" | "hh" | "hpp" => tree_sitter_cpp::LANGUAGE.into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_in_code_and_in_paths_and_never_in_texts_or_comments() {
        let cases = [
            (
                "a.py",
                "# total\ntotal('total', \"the total\", f'total {total(1)} {{total}}')\n",
                "# total\nsum('total', \"the total\", f'total {sum(1)} {{total}}')\n",
            ),
            (
                "a.py",
                "mock.patch('shop.total'); open('total.txt x')\n",
                "mock.patch('shop.sum'); open('total.txt x')\n",
            ),
            (
                "a.py",
                "'''total\ntotal()'''\nx = r'total' + total\n",
                "'''total\ntotal()'''\nx = r'total' + sum\n",
            ),
            (
                "a.js",
                "x = `total ${total(`total`)}`; /total/.test(total) // total\n",
                "x = `total ${sum(`total`)}`; /total/.test(sum) // total\n",
            ),
            (
                "a.ts",
                "it('total', () => { const a: string = total('total') })\n",
                "it('total', () => { const a: string = sum('total') })\n",
            ),
            (
                "a.rs",
                "fn f<'a>() { g('\"', total, r#\"total \" total\"#, \"{% total %}\"); m!(\"total\", total) } // total\n",
                "fn f<'a>() { g('\"', sum, r#\"total \" total\"#, \"{% total %}\"); m!(\"total\", sum) } // total\n",
            ),
            (
                "a.go",
                "package a\n\nvar x = total(`total`, \"total\", '\"') /* total */\n",
                "package a\n\nvar x = sum(`total`, \"total\", '\"') /* total */\n",
            ),
            (
                "a.java",
                "class A { String s = total(\"total\"); }\n",
                "class A { String s = sum(\"total\"); }\n",
            ),
            ("a.cpp", "auto s = total(\"total\", 't');\n", "auto s = sum(\"total\", 't');\n"),
            ("a.rb", "total('x')\n", "total('x')\n"),
        ];
        for (path, text, expected) in cases {
            let new = |word| if word == "total" { "sum" } else { word };
            assert_eq!(Code::read(path, text).replaced(new), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_code_is_masked_sign_by_sign() {
        let masked = |text: &str| Code::read("a.py", text).masked();
        assert_ne!(masked("f('a b')\n"), masked("f('a  b')\n"));
        assert_eq!(masked("f('''a\nb''')\n").lines().count(), 2);
        assert!(!WORD.is_match(&masked("'name'\n")));
    }

    #[test]
    fn comments_of_a_text_that_does_not_parse_count_as_words() {
        let words = |text: &str| {
            Code::read("a.py", text).words().map(|(_, word)| word.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(words("a = 'b' # c\n"), ["a", "b"]);
        assert!(words("a = ) 'b' # c\n").contains(&"c".to_owned()));
    }
}
