//! Go source as tokens with their places, nested by brackets. Semicolons that Go puts at the ends of lines are
//! there as tokens of no length.

use std::ops::Range;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String, Range<usize>),
    /// A number, a text or a rune, as it is written.
    Literal(String, Range<usize>),
    /// An operator.
    Mark(&'static str, Range<usize>),
    /// What stands between brackets, and the brackets' place.
    Group(char, Vec<Token>, Range<usize>),
}

/// Operators, longest first.
const MARKS: [&str; 47] = [
    "<<=", ">>=", "&^=", "...", "&&", "||", "<-", "++", "--", "==", "!=", "<=", ">=", ":=", "+=", "-=", "*=",
    "/=", "%=", "&=", "|=", "^=", "<<", ">>", "&^", "+", "-", "*", "/", "%", "&", "|", "^", "<", ">", "=",
    "!", ",", ";", ".", ":", "~", "(", "[", "{", "@", "$",
];

/// Nested deeper than this it is nobody's hand-written source.
const DEEPEST: usize = 200;

impl Token {
    /// Whether it is this word.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(own, _) if own == word)
    }

    /// The word that it is.
    pub fn word(&self) -> Option<&str> {
        match self {
            Token::Word(word, _) => Some(word),
            _ => None,
        }
    }

    /// Whether it is this operator.
    pub fn is_mark(&self, mark: &str) -> bool {
        matches!(self, Token::Mark(own, _) if *own == mark)
    }

    /// What is between brackets of this kind.
    pub fn group(&self, open: char) -> Option<&[Token]> {
        match self {
            Token::Group(own, tokens, _) if *own == open => Some(tokens),
            _ => None,
        }
    }

    /// Its bytes.
    pub fn range(&self) -> Range<usize> {
        match self {
            Token::Word(_, range)
            | Token::Literal(_, range)
            | Token::Mark(_, range)
            | Token::Group(_, _, range) => range.clone(),
        }
    }
}

/// The tokens of a text; `None` when it is no Go.
pub(super) fn lex(text: &str) -> Option<Vec<Token>> {
    let mut lexer = Lexer { text, at: 0 };
    let tokens = lexer.tokens(None, 0)?;
    (lexer.at == text.len()).then_some(tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// Tokens up to the bracket that closes.
    fn tokens(&mut self, close: Option<char>, depth: usize) -> Option<Vec<Token>> {
        let mut tokens: Vec<Token> = Vec::new();
        if depth > DEEPEST {
            return None;
        }
        loop {
            if self.blank()? && ends_line(tokens.last()) {
                tokens.push(Token::Mark(";", self.at..self.at));
            }
            let Some(first) = self.rest().chars().next() else {
                return close.is_none().then_some(tokens);
            };
            let start = self.at;
            match first {
                ')' | ']' | '}' => {
                    if Some(first) != close {
                        return None;
                    }
                    self.at += 1;
                    return Some(tokens);
                }
                '(' | '[' | '{' => {
                    self.at += 1;
                    let closing = match first {
                        '(' => ')',
                        '[' => ']',
                        _ => '}',
                    };
                    let inner = self.tokens(Some(closing), depth + 1)?;
                    tokens.push(Token::Group(first, inner, start..self.at));
                }
                '"' | '\'' => {
                    self.quoted(first)?;
                    tokens.push(self.literal(start));
                }
                '`' => {
                    self.at += 2 + self.rest()[1..].find('`')?;
                    tokens.push(self.literal(start));
                }
                first if first.is_ascii_digit() || (first == '.' && self.digit_follows()) => {
                    self.number();
                    tokens.push(self.literal(start));
                }
                first if first.is_alphabetic() || first == '_' => {
                    let own = |c: char| c.is_alphanumeric() || c == '_';
                    let length = self.rest().find(|c: char| !own(c)).unwrap_or(self.rest().len());
                    self.at += length;
                    tokens.push(Token::Word(self.text[start..self.at].to_owned(), start..self.at));
                }
                _ => {
                    let mark = MARKS.into_iter().find(|mark| self.rest().starts_with(mark))?;
                    self.at += mark.len();
                    tokens.push(Token::Mark(mark, start..self.at));
                }
            }
        }
    }

    fn literal(&self, start: usize) -> Token {
        Token::Literal(self.text[start..self.at].to_owned(), start..self.at)
    }

    /// Skips blanks and comments; says whether a line ended.
    fn blank(&mut self) -> Option<bool> {
        let mut ended = false;
        loop {
            let rest = self.rest();
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let length = rest.find("*/")? + 2;
                ended |= rest[..length].contains('\n');
                self.at += length;
            } else {
                let length = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{feff}']).len();
                if length == 0 {
                    // The end of the file ends its last line.
                    return Some(ended || rest.is_empty());
                }
                ended |= rest[..length].contains('\n');
                self.at += length;
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Option<()> {
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            if c == '\n' {
                return None;
            }
            if c == quote && !escaped {
                self.at += at + 1;
                return Some(());
            }
            escaped = c == '\\' && !escaped;
        }
        None
    }

    fn digit_follows(&self) -> bool {
        self.rest()[1..].starts_with(|c: char| c.is_ascii_digit())
    }

    fn number(&mut self) {
        let bytes = self.rest().as_bytes();
        let hexadecimal = bytes.get(1).is_some_and(|byte| byte.eq_ignore_ascii_case(&b'x'));
        let mut length = 0;
        while let Some(byte) = bytes.get(length) {
            let exponent = if hexadecimal { b"pP" } else { b"eE" };
            let signed = matches!(byte, b'+' | b'-') && length > 0 && exponent.contains(&bytes[length - 1]);
            if !(byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'.' || signed) {
                break;
            }
            length += 1;
        }
        self.at += length;
    }
}

/// Whether a line that ends behind this token ends a statement.
fn ends_line(last: Option<&Token>) -> bool {
    match last {
        None => false,
        Some(Token::Mark(mark, _)) => ["++", "--"].contains(mark),
        Some(Token::Word(word, _)) => ![
            "if",
            "for",
            "func",
            "package",
            "import",
            "var",
            "const",
            "type",
            "struct",
            "interface",
            "map",
            "chan",
            "go",
            "defer",
            "switch",
            "case",
            "select",
            "else",
            "range",
            "default",
            "goto",
        ]
        .contains(&word.as_str()),
        Some(Token::Literal(..) | Token::Group(..)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tokens: &[Token]) -> String {
        let each = tokens.iter().map(|token| match token {
            Token::Word(word, _) => word.clone(),
            Token::Literal(text, _) => format!("<{text}>"),
            Token::Mark(mark, _) => (*mark).to_owned(),
            Token::Group(open, inner, _) => format!("{open}{}", shown(inner)),
        });
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn go_is_read_as_go_reads_it() {
        let cases = [
            ("x := a.b(1, \"}\\\"\") // {\n", Some("x := a . b (<1> , <\"}\\\"\"> ;")),
            ("if x {\n\ty()\n} else {\n}\n", Some("if x {y ( ; else { ;")),
            ("a := `raw \" {`\nb := '\\''", Some("a := <`raw \" {`> ; b := <'\\''> ;")),
            ("f(1.5e-3, 0x1p-2, .5)", Some("f (<1.5e-3> , <0x1p-2> , <.5> ;")),
            ("x /* a\n b */ y", Some("x ; y ;")),
            ("f(", None),
            ("f)", None),
            ("\"open\n\"", None),
        ];
        for (text, expected) in cases {
            assert_eq!(lex(text).map(|tokens| shown(&tokens)).as_deref(), expected, "{text}");
        }
    }
}
