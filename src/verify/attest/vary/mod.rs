//! Varies test files: other names (*alias*), a statement that must fail at the end of each body (*poison*), or a
//! wrong expected value (*perturb*). Texts go in and texts come out; a test that cannot be changed safely stays as
//! it is. The files are changed where they lie, so that whoever reads a test's source to cheat reads the change.

mod alias;
pub mod javascript;
mod literals;
mod python;
mod scripts;
mod tables;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use regex::Regex;
use tree_sitter::{Language, Node, Parser, Tree};

use super::{Draw, Variant};

/// A test file: its path relative to the suite's folder, and its text.
pub type Source<'a> = (&'a str, &'a str);

/// How a runner makes ids of a path and the names of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `path::Class::function[case]`.
    Pytest,
    /// `dotted.path.Class.method`.
    Unittest,
    /// `path > suites > test`.
    Script,
}

/// What is to be varied, and how.
pub struct Order<'a> {
    /// The variant.
    pub variant: Variant,
    /// How ids are made.
    pub naming: Naming,
    /// The tests that may be altered, by their ids; `None`: all.
    pub alter: Option<&'a BTreeSet<String>>,
    /// The tests that run, by their ids; `None`: all.
    pub only: Option<&'a BTreeSet<String>>,
    /// Other texts that may speak of tests by name: configuration, shared set-up.
    pub elsewhere: &'a str,
    /// The lines where the base fails, by the ids of tests.
    pub lines: &'a BTreeMap<String, BTreeSet<u32>>,
}

impl Order<'_> {
    /// The lines where tests with this head fail on the base.
    fn lines(&self, head: &str) -> BTreeSet<u32> {
        let own = self.lines.iter().filter(|(id, _)| self::head(id, self.naming) == head);
        own.flat_map(|(_, lines)| lines).copied().collect()
    }

    /// Of these ids, those with this head.
    fn cases<'i>(&self, ids: Option<&'i BTreeSet<String>>, head: &str) -> BTreeSet<&'i String> {
        ids.into_iter().flatten().filter(|id| self::head(id, self.naming) == head).collect()
    }

    /// Whether everything with this head that runs may be altered.
    fn takes_all_of(&self, head: &str) -> bool {
        let only = self.cases(self.only, head);
        self.alter.is_none_or(|alter| !only.is_empty() && only.iter().all(|id| alter.contains(*id)))
    }

    /// Whether tests with this head may be altered.
    fn may_alter(&self, head: &str) -> bool {
        let own = |id: &String| self::head(id, self.naming) == head;
        self.alter.is_none_or(|alter| alter.iter().any(own))
    }
}

/// Varied test files.
#[derive(Debug, Default, PartialEq)]
pub struct Varied {
    /// New texts by path; `None`: the file is gone.
    pub files: BTreeMap<String, Option<String>>,
    /// Tests whose body was changed, by the heads of their ids.
    pub altered: BTreeSet<String>,
    /// New heads of ids by old ones.
    pub renamed: BTreeMap<String, String>,
    /// Ids that rows of tables have in the base, by those that they get from their changed values.
    pub cases: BTreeMap<String, String>,
    /// The beacons that stand in the text, by the new heads of their tests' ids.
    pub beacons: BTreeMap<String, String>,
    /// Beacons of tests whose names are made while they run, the most telling first.
    pub patterns: Vec<Pattern>,
}

/// What is known of the ids of a test whose name is made while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// The file.
    pub path: String,
    /// A regular expression for what comes after it.
    pub rest: String,
    /// What stands for its name.
    pub head: String,
    /// Its beacon.
    pub token: String,
}

impl Pattern {
    fn new(path: &str, test: &scripts::Test<'_>, head: String, token: String) -> Pattern {
        let rest = test.titles.iter().map(scripts::Title::pattern).collect::<Vec<_>>().join(" > ");
        Pattern { path: path.to_owned(), rest, head, token }
    }

    /// A regular expression for ids, in Rust's and in JavaScript's syntax.
    pub fn text(&self) -> String {
        format!("^{} > {}$", regex::escape(&self.path), self.rest)
    }

    fn regex(&self) -> Option<Regex> {
        Regex::new(&format!("(?s){}", self.text())).ok()
    }
}

/// Varies the files.
pub fn vary(files: &[Source<'_>], order: &Order<'_>, draw: &mut Draw) -> Varied {
    match order.variant {
        Variant::Plain => Varied::default(),
        Variant::Poison | Variant::Perturb | Variant::Alias => python::vary(files, order, draw),
    }
}

impl Varied {
    /// The id that a test has in the varied files.
    pub fn forth(&self, id: &str, naming: Naming) -> String {
        renamed(id, naming, |head| self.renamed.get(head).map(String::as_str))
    }

    /// The ids that tests have in the base, from those that they have in the varied files.
    pub fn back(&self, naming: Naming) -> impl Fn(&str) -> String {
        let heads: BTreeMap<&str, &str> =
            self.renamed.iter().map(|(old, new)| (new.as_str(), old.as_str())).collect();
        move |id| match self.cases.get(id) {
            Some(old) => old.clone(),
            None => renamed(id, naming, |head| heads.get(head).copied()),
        }
    }

    /// Whether the test with this id of the base was altered.
    pub fn has_altered(&self, id: &str, naming: Naming) -> bool {
        if self.altered.contains(head(id, naming)) || self.altered.contains(id) {
            return true;
        }
        // One that may be either of two tests was altered if both were.
        let may_be = |pattern: &&Pattern| pattern.regex().is_some_and(|regex| regex.is_match(id));
        let mut heads = self.patterns.iter().filter(may_be).map(|pattern| &pattern.head).peekable();
        !self.beacons.contains_key(id)
            && heads.peek().is_some()
            && heads.all(|head| self.altered.contains(head))
    }
}

/// An id without what tells cases of one test apart.
pub fn head(id: &str, naming: Naming) -> &str {
    match naming {
        Naming::Pytest => id.split('[').next().unwrap_or(id),
        Naming::Unittest | Naming::Script => id,
    }
}

/// An id under another head. One that names a whole file or class is found by its own name.
pub fn renamed<'a>(id: &str, naming: Naming, new: impl Fn(&str) -> Option<&'a str>) -> String {
    let head = head(id, naming);
    if let Some(new) = new(head) {
        return format!("{new}{}", &id[head.len()..]);
    }
    // A test that nobody knows moves with its file.
    let file = id.split(" > ").next().filter(|_| naming == Naming::Script);
    let moved = file.and_then(|file| Some(format!("{}{}", new(file)?, &id[file.len()..])));
    moved.unwrap_or_else(|| id.to_owned())
}

/// The head of a test's id, from the path of its file and the names that lead to it.
fn head_of(naming: Naming, path: &str, names: &[&str]) -> String {
    match naming {
        Naming::Pytest => [&[path], names].concat().join("::"),
        Naming::Script => [&[path], names].concat().join(" > "),
        Naming::Unittest => {
            let dotted = path.strip_suffix(".py").unwrap_or(path).replace('/', ".");
            [&[dotted.as_str()], names].concat().join(".")
        }
    }
}

/// Replacements of parts of a text.
#[derive(Debug, Default)]
struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.0.push((at..at, text.into()));
    }

    fn replace(&mut self, node: Node<'_>, text: impl Into<String>) {
        self.0.push((node.byte_range(), text.into()));
    }

    /// The text with the replacements; those that overlap an earlier one are left out.
    fn apply(mut self, text: &str) -> String {
        self.0.sort_by_key(|(range, _)| (range.start, range.end));
        let (mut done, mut at) = (String::with_capacity(text.len() + 64), 0);
        for (range, new) in self.0 {
            if range.start < at {
                continue;
            }
            done.push_str(&text[at..range.start]);
            done.push_str(&new);
            at = range.end;
        }
        done.push_str(&text[at..]);
        done
    }
}

/// A text's tree; `None` when it has an error in it.
fn parse(text: &str, language: &Language) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(language).ok()?;
    parser.parse(text, None).filter(|tree| !tree.root_node().has_error())
}

/// The named children of a node, comments left out.
fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|child| child.kind() != "comment").collect()
}

/// The source of a node.
fn source<'a>(node: Node<'_>, text: &'a str) -> &'a str {
    &text[node.byte_range()]
}

/// Whether the text holds the word, with nothing of a word beside it.
fn holds_word(text: &str, word: &str) -> bool {
    word_count(text, word) > 0
}

fn word_count(text: &str, word: &str) -> usize {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let whole = |(at, _): &(usize, &str)| {
        !inside(text[..*at].chars().next_back()) && !inside(text[at + word.len()..].chars().next())
    };
    text.match_indices(word).filter(whole).count()
}
