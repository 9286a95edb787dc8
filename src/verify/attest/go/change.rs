//! Rewrites the tests of a Go file: each body runs inside a function literal, and a clean-up that is registered
//! first, and so runs last, writes the test's token when the body has come to its end and the test has neither
//! failed nor been skipped. From the same pass come the controls and the alias.

use std::collections::BTreeSet;
use std::ops::Range;

use super::super::rust::names;
use super::super::{Draw, Variant};
use super::lex::{Token, lex};
use super::perturb;
use crate::toolchain::splice::{Edit, apply};

/// A test function of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// Its name in the base.
    pub old: String,
    /// Its name now.
    pub name: String,
    /// What it writes at its end.
    pub token: String,
    /// Whether the variant changed what it means.
    pub altered: bool,
}

/// A file as it is to be built.
#[derive(Debug)]
pub(super) struct Changed {
    pub text: String,
    pub tests: Vec<Known>,
}

/// How a file's tests are to be changed.
pub(super) struct Pass<'a> {
    pub variant: Variant,
    pub draw: &'a mut Draw,
    /// Whether the alias hides expected texts, besides giving other names.
    pub hides: bool,
    /// The text of all test files: a name that occurs more than once in it is kept.
    pub all: &'a str,
    /// Names that are given already.
    pub taken: &'a mut BTreeSet<String>,
    /// Whether the body of a test of this name is changed.
    pub alters: &'a dyn Fn(&str) -> bool,
}

/// A test function.
struct Shape<'a> {
    name: &'a str,
    name_range: Range<usize>,
    /// The parameter's name, and where it stands or would stand.
    parameter: Option<&'a str>,
    parameter_range: Range<usize>,
    /// The body with its braces.
    body: Range<usize>,
    tokens: &'a [Token],
}

impl Pass<'_> {
    /// The file with its tests changed; `None` when there is none in it or it is no Go.
    pub fn file(&mut self, text: &str) -> Option<Changed> {
        let tokens = lex(text)?;
        let package = tokens.windows(2).find(|two| two[0].is_word("package"))?[1].range();
        let library = format!("{}{}", names::word(self.draw), self.draw.below(1000));
        let mut edits = vec![(package.end..package.end, format!("; import {library} \"syscall\""))];
        let mut tests = Vec::new();
        for at in 0..tokens.len() {
            if let Some(shape) = shape(&tokens, at) {
                tests.push(self.test(&shape, &library, &mut edits));
            }
        }
        if tests.is_empty() {
            return None;
        }
        Some(Changed { text: apply(text, edits), tests })
    }

    fn test(&mut self, shape: &Shape, library: &str, edits: &mut Vec<Edit>) -> Known {
        let token = format!("{:016x}{:016x}", self.draw.word(), self.draw.word());
        let mut known =
            Known { old: shape.name.to_owned(), name: shape.name.to_owned(), token, altered: false };
        let given = format!("{}{}", names::word(self.draw), self.draw.below(1000));
        let t = match shape.parameter {
            Some(name) if name != "_" => name.to_owned(),
            Some(_) => {
                edits.push((shape.parameter_range.clone(), given.clone()));
                given
            }
            None => {
                edits.push((shape.parameter_range.clone(), format!("{given} ")));
                given
            }
        };
        let done = format!("{}{}", names::word(self.draw), 1000 + self.draw.below(1000));
        let head = format!(
            "{{ {done} := false; {t}.Cleanup(func() {{ if {done} && !{t}.Failed() && !{t}.Skipped() {{ \
             {library}.Write(1, []byte(\"\\n{}\\n\")) }} }}); func() {{",
            known.token
        );
        let mut tail = String::new();
        let alters = (self.alters)(shape.name);
        match self.variant {
            Variant::Poison | Variant::Perturb if !alters => {}
            Variant::Plain => {}
            Variant::Poison => {
                tail = poison(self.draw, &t);
                known.altered = true;
            }
            Variant::Perturb => {
                if let Some(edit) = perturb::edit(shape.tokens, &t, self.draw) {
                    edits.push(edit);
                    known.altered = true;
                }
            }
            Variant::Alias => {
                if self.all.matches(shape.name).count() == 1 {
                    known.name = self.fresh();
                    edits.push((shape.name_range.clone(), known.name.clone()));
                    known.altered = true;
                }
                if self.hides {
                    edits.extend(perturb::hidden(shape.tokens, &t, self.draw));
                }
            }
        }
        edits.push((shape.body.start..shape.body.start + 1, head));
        edits.push((shape.body.end - 1..shape.body.end, format!("}}(); {tail}{done} = true }}")));
        known
    }

    /// `TestKeepsEmptyInput`.
    fn fresh(&mut self) -> String {
        let snake = names::fresh(self.draw, self.taken, &std::collections::BTreeMap::new());
        let capital = |word: &str| {
            let mut letters = word.chars();
            letters
                .next()
                .map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
        };
        format!("Test{}", snake.split('_').map(capital).collect::<String>())
    }
}

/// The test function that begins at this token of the file.
fn shape(tokens: &[Token], at: usize) -> Option<Shape<'_>> {
    let [func, Token::Word(name, name_range), parameters, body, ..] = &tokens[at..] else { return None };
    let rest = name.strip_prefix("Test")?;
    if !func.is_word("func") || rest.starts_with(char::is_lowercase) || name == "TestMain" {
        return None;
    }
    let (inner, tokens) = (parameters.group('(')?, body.group('{')?);
    let of_testing = |tokens: &[Token]| {
        matches!(tokens, [star, package, dot, kind, ..]
            if star.is_mark("*") && package.word().is_some() && dot.is_mark(".") && kind.is_word("T"))
    };
    let start = parameters.range().start + 1;
    let (parameter, parameter_range) = match inner {
        [Token::Word(name, range), rest @ ..] if of_testing(rest) && rest.len() == 4 => {
            (Some(name.as_str()), range.clone())
        }
        rest if of_testing(rest) && rest.len() == 4 => (None, start..start),
        _ => return None,
    };
    Some(Shape {
        name,
        name_range: name_range.clone(),
        parameter,
        parameter_range,
        body: body.range(),
        tokens,
    })
}

/// A statement that must fail and looks like any other.
fn poison(draw: &mut Draw, t: &str) -> String {
    let (one, other, off) = (2 + draw.below(40), 3 + draw.below(40), 1 + draw.below(5));
    let (word, second) = (names::word(draw), names::word(draw));
    match draw.below(3) {
        0 => format!(
            "if got, want := {one} + {other}, {}; got != want {{ {t}.Errorf(\"got %d, want %d\", got, want) }}; ",
            one + other + off
        ),
        1 => format!(
            "if got := \"{word}{one}\"; got != \"{second}-{other}\" {{ {t}.Fatalf(\"got %q\", got) }}; "
        ),
        _ => format!(
            "if got := len([]int{{{one}, {other}, {off}}}); got != {} {{ {t}.Errorf(\"len %d\", got) }}; ",
            3 + off
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str, variant: Variant) -> Changed {
        let mut taken = BTreeSet::new();
        let mut draw = Draw(5);
        Pass { variant, draw: &mut draw, hides: true, all: text, taken: &mut taken, alters: &|_| true }
            .file(text)
            .unwrap()
    }

    #[test]
    fn only_tests_are_rewritten() {
        let text = "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {\n\tt.Log()\n}\n\
            func TestB(*testing.T) {}\nfunc TestC(_ *testing.T) {}\nfunc TestMain(m *testing.M) {}\n\
            func Testable(t *testing.T) {}\nfunc (s S) TestD(t *testing.T) {}\nfunc BenchmarkE(b *testing.B) {}\n\
            func TestF(t *testing.T, n int) {}\n";
        let changed = change(text, Variant::Plain);
        let names: Vec<&str> = changed.tests.iter().map(|test| test.old.as_str()).collect();
        assert_eq!(names, ["TestA", "TestB", "TestC"]);
        assert!(lex(&changed.text).is_some(), "{}", changed.text);
        assert_eq!(changed.text.lines().count(), text.lines().count());
        assert!(!changed.text.contains("func TestC(_ "));
        let alias = change(text, Variant::Alias);
        assert!(alias.tests.iter().all(|test| test.name != test.old && alias.text.contains(&test.name)));
    }
}
