//! A mutant is a file with one small edit, made by the grammar of its language. This module makes all mutants of
//! the suspicious lines of a file and orders them; which of them are any good is for the tests to say.

mod expressions;
mod literals;
mod scope;
mod statements;
#[cfg(test)]
mod tests;

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};

use tree_sitter::{InputEdit, Node, Point, Tree};

use super::grammar::{Grammar, Priors, Role};
use crate::patch::{FileKind, RepoPath};
use scope::{Copyable, Locals, Scope};

/// Mutants of one file that are kept, best first.
const MOST: usize = 40_000;

/// Sites that an edit of all sites may have.
const SITES: std::ops::RangeInclusive<usize> = 2..=6;

/// Lines of a value outside of functions that are still looked at closely.
const TABLE: u32 = 40;

/// Kinds of nodes that give a name a value and are no assignments.
const GIVEN: [&str; 5] = ["variable_declarator", "var_spec", "const_spec", "const_item", "static_item"];

/// Levels that a tree may have. What is deeper was made to be, and is not looked at: much here is recursive.
const DEEPEST: usize = 1000;

/// A range of bytes and what comes in its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edit {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
    /// What comes there.
    pub text: String,
}

/// An edit of a file that may be a fix.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// The file.
    pub path: RepoPath,
    /// Its edits, which do not overlap, in order.
    pub edits: Vec<Edit>,
    /// The kind of edit, as `priors.toml` names it.
    pub kind: &'static str,
    /// The line that it is about, from 1.
    pub line: u32,
    /// How promising it is; comparable between files.
    pub score: f64,
}

/// A file that is to be mutated.
pub struct Source<'a> {
    /// Where it stands.
    pub path: RepoPath,
    /// Its text.
    pub text: String,
    /// What kind of file it is.
    pub kind: FileKind,
    /// Its language.
    pub grammar: &'a Grammar,
    tree: Tree,
    /// Ranges of bytes that hold tests.
    tests: Vec<std::ops::Range<usize>>,
}

/// What the engine knows of a failure that may help to make edits.
#[derive(Debug, Default)]
pub struct Hints {
    /// Numbers that stand in failing assertions and in the statement.
    pub numbers: Vec<String>,
    /// Texts that stand there.
    pub strings: Vec<String>,
    /// Lines of what was said and of what was expected, there too: quoted texts and what is compared line by line.
    pub said: Vec<String>,
    /// Types of errors that were expected and did not come.
    pub missing: BTreeSet<String>,
    /// Names of fields that an object was asked for and does not have.
    pub lacking: BTreeSet<String>,
    /// Whether a failure says that something was not there.
    pub absent: bool,
    /// Whether a failure says that a number was too large for its type.
    pub overflow: bool,
}

impl<'a> Source<'a> {
    /// Parses a file; `None` when it cannot be, or is nested too deeply.
    pub fn new(path: RepoPath, text: String, grammar: &'a Grammar) -> Option<Source<'a>> {
        let tree = grammar.tree(&text, None).filter(|tree| !is_too_deep(tree))?;
        let mut source = Source { path, text, kind: FileKind::Plain, grammar, tree, tests: Vec::new() };
        source.tests = scope::tests(&source);
        Some(source)
    }

    /// The text of a node.
    pub fn of(&self, node: Node) -> &str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    /// The functions that stand in no other one, without tests.
    pub fn outermost_functions(&self) -> Vec<Node<'_>> {
        let mut found = scope::scopes(self);
        // The last scope is the file.
        found.pop();
        found.retain(|function| !self.tests.iter().any(|test| test.contains(&function.start_byte())));
        found
    }

    /// The outermost functions that hold the lines, as ranges of lines; for showing.
    pub fn functions(&self) -> Vec<(String, u32, u32)> {
        let mut found = Vec::new();
        visit(self.tree.root_node(), &mut |node| {
            if self.grammar.is(node, Role::Function)
                && let Some(name) = name_of(node)
            {
                found.push((self.of(name).to_owned(), line_of(node), end_line_of(node)));
            }
            true
        });
        found
    }

    /// Variables that the file gives a value of a few lines outside of functions, as ranges of lines.
    pub fn globals(&self) -> Vec<(&str, u32, u32)> {
        let mut found = Vec::new();
        visit(self.tree.root_node(), &mut |node| {
            let given = self.grammar.is(node, Role::Assignment) || GIVEN.contains(&node.kind());
            let name = node.child_by_field_name("left").or_else(|| node.child_by_field_name("name"));
            let value = node.child_by_field_name("right").or_else(|| node.child_by_field_name("value"));
            let value = value.filter(|value| !self.grammar.is(*value, Role::Function));
            let (first, last) = (line_of(node), end_line_of(node));
            if let Some(name) = name.filter(|name| value.is_some() && name.named_child_count() == 0)
                && given
                && last - first < TABLE
            {
                found.push((self.of(name), first, last));
            }
            !self.grammar.is(node, Role::Function)
        });
        found
    }

    /// Lines of functions on which a statement begins, tests and texts that stand alone left out.
    pub fn code_lines(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        for function in scope::scopes(self) {
            visit(function, &mut |node| {
                let test = self.tests.iter().any(|test| test.contains(&node.start_byte()));
                let documents = node.named_child_count() == 1
                    && node.named_child(0).is_some_and(|child| self.grammar.is(child, Role::String));
                let statement = self.grammar.is(node, Role::Statement) || self.grammar.is(node, Role::Simple);
                if statement && !documents && !test && self.grammar.is(function, Role::Function) {
                    found.insert(line_of(node));
                }
                !test
            });
        }
        found
    }

    /// All mutants of lines that `suspicion` finds suspicious, best first; deterministic.
    pub fn mutants(&self, suspicion: &dyn Fn(u32) -> f64, priors: &Priors, hints: &Hints) -> Vec<Mutant> {
        let mut maker = Maker {
            source: self,
            grammar: self.grammar,
            suspicion,
            priors,
            hints,
            fields: scope::fields(self),
            functions: scope::functions(self),
            wrapping: scope::wrapping(self),
            strings: scope::strings(self),
            conditions: scope::conditions(self),
            exits: scope::exits(self, Role::Return),
            throws: scope::exits(self, Role::Throw),
            statements: scope::copyable(self, self.tree.root_node()),
            neighbours: scope::neighbours(self),
            locals: Locals::default(),
            ranks: HashMap::new(),
            made: Vec::new(),
            least: 0.0,
        };
        let others = Locals::others(self);
        for function in scope::scopes(self) {
            let lines = line_of(function)..=end_line_of(function);
            if lines.clone().any(|line| suspicion(line) > 0.0) {
                let scope = Scope::of(self, function);
                maker.locals = Locals::of(self, function, &others);
                maker.expressions(&scope, function);
                maker.statements(&scope, function);
                maker.exchanges(&scope, function);
            }
        }
        visit(self.tree.root_node(), &mut |node| {
            if self.grammar.is(node, Role::Class) {
                maker.accessors(node);
            }
            true
        });
        let mut made = maker.made;
        made.extend(everywhere(&made, priors));
        keep_best(&mut made);
        made
    }

    /// The text with edits; `None` when it does not parse or is what `known` holds already, normalised.
    pub fn apply(&self, edits: &[Edit], known: &mut HashSet<u64>) -> Option<String> {
        let text = splice(&self.text, edits)?;
        let mut tree = self.tree.clone();
        let (first, last) = (edits.first()?, edits.last()?);
        // One edit that spans all: the parser looks at what lies between again.
        let grown = (text.len() + last.end).checked_sub(self.text.len())?;
        tree.edit(&InputEdit {
            start_byte: first.start,
            old_end_byte: last.end,
            new_end_byte: grown,
            start_position: point(&self.text, first.start),
            old_end_position: point(&self.text, last.end),
            new_end_position: point(&text, grown),
        });
        let tree = self.grammar.tree(&text, Some(&tree))?;
        let around = around(self.grammar, tree.root_node(), first.start, grown);
        let before = around_before(self, first.start, last.end);
        if around.has_error() && !before.has_error() {
            return None;
        }
        let (key, was) = (self.key(around, &text), self.key(before, &self.text));
        (key != was && known.insert(key) && known.insert(self.key_of_file(&text))).then_some(text)
    }

    /// What makes two versions of the whole file the same.
    pub fn key_of_file(&self, text: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.path.as_str(), text).hash(&mut hasher);
        hasher.finish()
    }

    /// The outermost function around a range: where it begins, and its body.
    pub fn body_around(&self, start: usize, end: usize) -> Option<(usize, std::ops::Range<usize>)> {
        let function = around(self.grammar, self.tree.root_node(), start, end);
        let body = function.child_by_field_name("body")?;
        Some((function.start_byte(), body.byte_range()))
    }

    /// What the outermost function around a range says of its result; nothing where it has none.
    pub fn result_around(&self, start: usize, end: usize) -> &str {
        let function = around(self.grammar, self.tree.root_node(), start, end);
        function.child_by_field_name("result").map_or("", |result| self.of(result))
    }

    /// What makes two versions of a function the same: its syntax without comments and brackets that only group.
    fn key(&self, node: Node, text: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.path.as_str().hash(&mut hasher);
        node.start_byte().hash(&mut hasher);
        self.digest(node, text, &mut hasher);
        hasher.finish()
    }

    fn digest(&self, node: Node, text: &str, hasher: &mut DefaultHasher) {
        if self.grammar.is(node, Role::Comment) {
            return;
        }
        let grouping = self.grammar.is(node, Role::Wrapper);
        let mut cursor = node.walk();
        if node.child_count() == 0 {
            (node.kind_id(), text.get(node.byte_range())).hash(hasher);
        } else if grouping {
            for child in node.named_children(&mut cursor) {
                self.digest(child, text, hasher);
            }
        } else {
            node.kind_id().hash(hasher);
            for child in node.children(&mut cursor) {
                self.digest(child, text, hasher);
            }
            hasher.write_u8(0xff);
        }
    }
}

/// The outermost function around a range, or the whole file.
fn around<'t>(grammar: &Grammar, root: Node<'t>, start: usize, end: usize) -> Node<'t> {
    let mut node = root.descendant_for_byte_range(start, end).unwrap_or(root);
    let mut found = None;
    loop {
        if grammar.is(node, Role::Function) {
            found = Some(node);
        }
        match node.parent() {
            Some(parent) => node = parent,
            None => return found.unwrap_or(root),
        }
    }
}

fn around_before<'t>(source: &'t Source, start: usize, end: usize) -> Node<'t> {
    around(source.grammar, source.tree.root_node(), start, end)
}

fn point(text: &str, at: usize) -> Point {
    let before = &text.as_bytes()[..at.min(text.len())];
    let row = before.split(|byte| *byte == b'\n').count() - 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
    Point::new(row, column)
}

/// Applies edits that are in order and do not overlap.
pub fn splice(text: &str, edits: &[Edit]) -> Option<String> {
    let mut spliced = String::with_capacity(text.len() + 64);
    let mut done = 0;
    for edit in edits {
        spliced.push_str(text.get(done..edit.start)?);
        spliced.push_str(&edit.text);
        done = edit.end;
    }
    spliced.push_str(text.get(done..)?);
    Some(spliced)
}

/// One edit that makes `after` of `before`, which differ.
pub fn difference(before: &str, after: &str) -> Option<Edit> {
    let common = |a: &mut dyn Iterator<Item = (char, char)>| {
        a.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum::<usize>()
    };
    let head = common(&mut before.chars().zip(after.chars()));
    let (old, new) = (before.get(head..)?, after.get(head..)?);
    let tail = common(&mut old.chars().rev().zip(new.chars().rev()));
    let text = new.get(..new.len() - tail)?.to_owned();
    let edit = Edit { start: head, end: before.len() - tail, text };
    (before != after).then_some(edit)
}

/// The name of a function, which may stand in its declarator or in the variable that it is assigned to.
fn name_of(function: Node) -> Option<Node> {
    let assigned = || {
        let parent = function.parent()?;
        parent.child_by_field_name("name").filter(|_| parent.kind() == "variable_declarator")
    };
    let mut name = function
        .child_by_field_name("name")
        .or_else(|| function.child_by_field_name("declarator"))
        .or_else(assigned)?;
    // `Class::name` is a declarator with a name of its own.
    while let Some(inner) =
        name.child_by_field_name("declarator").or_else(|| name.child_by_field_name("name"))
    {
        name = inner;
    }
    Some(name)
}

/// The last of the nodes of which a node consists.
fn last_child(node: Node) -> Option<Node> {
    node.named_child(u32::try_from(node.named_child_count().checked_sub(1)?).ok()?)
}

/// Visits a node and what is below it, as far as `each` says.
pub fn visit<'t>(node: Node<'t>, each: &mut dyn FnMut(Node<'t>) -> bool) {
    if !each(node) {
        return;
    }
    let mut cursor = node.walk();
    for child in node.named_children(&mut cursor) {
        visit(child, each);
    }
}

fn is_too_deep(tree: &Tree) -> bool {
    let (mut cursor, mut depth) = (tree.walk(), 0);
    while depth <= DEEPEST {
        if cursor.goto_first_child() {
            depth += 1;
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return false;
            }
            depth -= 1;
        }
    }
    true
}

/// The first line of a node, from 1.
pub fn line_of(node: Node) -> u32 {
    u32::try_from(node.start_position().row + 1).unwrap_or(u32::MAX)
}

/// The last line of a node, from 1.
pub fn end_line_of(node: Node) -> u32 {
    u32::try_from(node.end_position().row + 1).unwrap_or(u32::MAX)
}

/// Edits of one kind that replace the same by the same at several places of the file, all at once.
fn everywhere(made: &[Mutant], priors: &Priors) -> Vec<Mutant> {
    let kinds = [
        "comparison",
        "arithmetic",
        "integer",
        "variable",
        "field",
        "sibling",
        "string",
        "off-by-one",
        "negate",
        "asserted",
        "logic",
        "boolean",
    ];
    let mut groups: BTreeMap<(&'static str, &str, String), Vec<&Mutant>> = BTreeMap::new();
    for mutant in made.iter().filter(|mutant| kinds.contains(&mutant.kind)) {
        if let [edit] = mutant.edits.as_slice() {
            let key = (mutant.kind, edit.text.as_str(), format!("{}", edit.end - edit.start));
            groups.entry(key).or_default().push(mutant);
        }
    }
    let prior = priors.get("everywhere").copied().unwrap_or(0.0);
    let mut combined = Vec::new();
    for group in groups.into_values().filter(|group| SITES.contains(&group.len())) {
        let mut edits: Vec<Edit> = group.iter().flat_map(|mutant| mutant.edits.clone()).collect();
        edits.sort();
        edits.dedup();
        let apart = edits.windows(2).all(|pair| pair[0].end <= pair[1].start);
        let best = group.iter().map(|mutant| mutant.score).fold(0.0, f64::max);
        if apart && edits.len() > 1 {
            combined.push(Mutant {
                path: group[0].path.clone(),
                edits,
                kind: "everywhere",
                line: group[0].line,
                score: best * prior / 10.0,
            });
        }
    }
    combined
}

/// Keeps the best of mutants, best first.
fn keep_best(made: &mut Vec<Mutant>) {
    let order = |a: &Mutant, b: &Mutant| {
        b.score.total_cmp(&a.score).then_with(|| a.kind.cmp(b.kind)).then_with(|| a.edits.cmp(&b.edits))
    };
    made.sort_by(order);
    made.truncate(MOST);
}

/// Makes the mutants of one file.
struct Maker<'a> {
    source: &'a Source<'a>,
    grammar: &'a Grammar,
    suspicion: &'a dyn Fn(u32) -> f64,
    priors: &'a Priors,
    hints: &'a Hints,
    /// Names of fields and methods in the file: whether they are called.
    fields: Vec<(String, bool)>,
    /// Functions that the file defines or calls, with how many arguments they take.
    functions: Vec<(String, usize)>,
    /// What the file calls with one argument.
    wrapping: Vec<String>,
    /// Texts in the file.
    strings: Vec<String>,
    /// Conditions in the file.
    conditions: Vec<String>,
    /// Ends of functions in the file, and errors with which some end.
    exits: Vec<String>,
    throws: Vec<String>,
    /// Statements in the file that may be copied.
    statements: Vec<Copyable>,
    /// Statements in the file that follow each other.
    neighbours: HashSet<(String, String)>,
    /// The variables of the function.
    locals: Locals,
    /// How many edits of a kind a place has so far: the later ones are less likely.
    ranks: HashMap<(&'static str, usize, usize), f64>,
    made: Vec<Mutant>,
    /// A score below which there are enough others.
    least: f64,
}

impl Maker<'_> {
    fn suspicious(&self, node: Node) -> bool {
        (self.suspicion)(line_of(node)) > 0.0
    }

    /// Notes a mutant that is about `node`.
    fn push(&mut self, kind: &'static str, node: Node, mut edits: Vec<Edit>, weight: f64) {
        let (line, prior) = (line_of(node), self.priors.get(kind).copied().unwrap_or(1.0));
        let suspicion = (self.suspicion)(line);
        let tests = &self.source.tests;
        let touches =
            edits.iter().any(|edit| tests.iter().any(|test| edit.start < test.end && test.start < edit.end));
        if touches || suspicion <= 0.0 || weight <= 0.0 {
            return;
        }
        if edits.iter().any(|edit| self.locals.hide(&edit.text, edit.start)) {
            return;
        }
        let rank = self.ranks.entry((kind, node.start_byte(), node.end_byte())).or_insert(0.0);
        let score = suspicion * prior * weight / (1.0 + 0.25 * *rank);
        *rank += 1.0;
        if score < self.least {
            return;
        }
        edits.sort();
        self.made.push(Mutant { path: self.source.path.clone(), edits, kind, line, score });
        if self.made.len() >= 4 * MOST {
            keep_best(&mut self.made);
            self.least = self.made.last().map_or(0.0, |last| last.score);
        }
    }

    /// Replaces a node.
    fn replace(&mut self, kind: &'static str, node: Node, text: String, weight: f64) {
        if text != self.source.of(node) {
            self.push(
                kind,
                node,
                vec![Edit { start: node.start_byte(), end: node.end_byte(), text }],
                weight,
            );
        }
    }

    /// Replaces a node by an expression, in brackets where the place asks for them.
    fn express(&mut self, kind: &'static str, node: Node, text: &str, weight: f64) {
        let text = if self.binds(node) && !is_atom(text) { format!("({text})") } else { text.to_owned() };
        self.replace(kind, node, text, weight);
    }

    /// Whether what stands around an expression binds tighter than what may be put there.
    fn binds(&self, node: Node) -> bool {
        let Some(parent) = node.parent() else { return false };
        let is = |role| self.grammar.is(parent, role);
        let object = parent.named_child(0) == Some(node);
        is(Role::Binary) && !is(Role::Assignment)
            || is(Role::Unary)
            || is(Role::Not)
            || object && (is(Role::Attribute) || is(Role::Subscript) || is(Role::Call))
    }

    /// Exchanges all that are true and false in a function, and the names that it uses most.
    fn exchanges(&mut self, scope: &Scope, function: Node) {
        let names: Vec<&str> = scope.names.iter().take(5).map(String::as_str).collect();
        let mut pairs = vec![("boolean", self.grammar.texts.yes.as_str(), self.grammar.texts.no.as_str())];
        for (at, first) in names.iter().enumerate() {
            pairs.extend(names[at + 1..].iter().map(|second| ("exchange-names", *first, *second)));
        }
        for (kind, first, second) in pairs {
            let mut edits = Vec::new();
            visit(function, &mut |node| {
                let text = self.source.of(node);
                let other = if text == first { second } else { first };
                let one = (text == first || text == second) && node.named_child_count() == 0;
                if one
                    && (kind == "boolean" || scope::is_variable(self.source, node))
                    && self.suspicious(node)
                {
                    edits.push(Edit {
                        start: node.start_byte(),
                        end: node.end_byte(),
                        text: other.to_owned(),
                    });
                }
                true
            });
            if (2..=12).contains(&edits.len()) {
                self.push(kind, function, edits, 0.8);
            }
        }
    }

    /// Exchanges two nodes.
    fn exchange(&mut self, kind: &'static str, a: Node, b: Node, weight: f64) {
        let (first, second) = (self.source.of(a).to_owned(), self.source.of(b).to_owned());
        if first != second {
            let edit = |node: Node, text| Edit { start: node.start_byte(), end: node.end_byte(), text };
            self.push(kind, a, vec![edit(a, second), edit(b, first)], weight);
        }
    }
}

/// Whether a text is one name, literal, call or bracket, which needs no brackets around it.
fn is_atom(text: &str) -> bool {
    let mut depth = 0;
    for char in text.chars() {
        match char {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            c if depth == 0 && !(c.is_alphanumeric() || c == '_' || c == '.') => return false,
            _ => {}
        }
    }
    true
}
