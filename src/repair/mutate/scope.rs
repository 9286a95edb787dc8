//! A scope is what stands at hand where an edit is made: names, conditions, expressions and statements of a
//! function, fields and functions of its file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use regex::Regex;
use tree_sitter::Node;

use super::{Source, last_child, line_of, name_of, visit};
use crate::repair::grammar::Role;

/// Names of a scope that edits use.
const NAMES: usize = 16;

/// Functions that may be called with what stands there.
const WRAPPING: usize = 12;

/// Longest expression that is used elsewhere.
const LONGEST: usize = 80;

/// Words before a name that is used; after others, which are types as a rule, it is declared.
const USING: [&str; 18] = [
    "return", "else", "in", "case", "throw", "as", "if", "while", "match", "switch", "go", "defer", "range",
    "new", "await", "move", "sizeof", "delete",
];

/// A name, as far as one character after the other tells.
static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{Alphabetic}\p{N}_]+").expect("the pattern is a literal"));

/// Texts and characters.
static QUOTED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"\w*"(?:\\.|[^"\\])*"|\w*'(?:\\.|[^'\\])'|`[^`]*`"#).expect("the pattern is a literal")
});

/// What a text declares: in loops and conditions, as parameters, in the patterns of a `match`, by `:=`.
static DECLARED: LazyLock<[Regex; 4]> = LazyLock::new(|| {
    [r"\b(?:for|let|case)\b([^;{}=]*?)(?:\bin\b|:?=)", r"\|([^|]*)\|", r"([^,{};]*)=>", r"([\w, ]+):="]
        .map(|pattern| Regex::new(pattern).expect("the pattern is a literal"))
});

/// What a function has at hand.
#[derive(Debug, Default)]
pub struct Scope {
    /// Names of variables, those used most often first.
    pub names: Vec<String>,
    /// Fields of objects, as in `self.size`.
    pub members: Vec<String>,
    /// Conditions that stand in it.
    pub conditions: Vec<String>,
    /// Expressions that stand in it, longer than a name.
    pub expressions: Vec<String>,
}

impl Scope {
    /// What stands at hand in a function, or at the top of a file.
    pub fn of(source: &Source, function: Node) -> Scope {
        let grammar = source.grammar;
        let mut names: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let mut scope = Scope::default();
        visit(function, &mut |node| {
            if grammar.is(node, Role::Opaque) || node != function && grammar.is(node, Role::Class) {
                return false;
            }
            let text = source.of(node);
            if grammar.is(node, Role::Identifier) && is_variable(source, node) {
                let (count, _) = names.entry(text.to_owned()).or_insert((0, node.start_byte()));
                *count += 1;
            }
            if text.len() <= LONGEST && !text.contains('\n') {
                if is_condition(source, node) {
                    keep(&mut scope.conditions, text);
                } else if grammar.is(node, Role::Attribute) && is_value(source, node) {
                    keep(&mut scope.members, text);
                } else if [Role::Call, Role::Binary, Role::Subscript]
                    .iter()
                    .any(|role| grammar.is(node, *role))
                    && !grammar.is(node, Role::Assignment)
                {
                    keep(&mut scope.expressions, text);
                }
            }
            true
        });
        let mut names: Vec<(String, (usize, usize))> = names.into_iter().collect();
        names.sort_by_key(|(_, (count, first))| (std::cmp::Reverse(*count), *first));
        scope.names = names.into_iter().map(|(name, _)| name).take(NAMES).collect();
        scope.members.truncate(NAMES);
        scope
    }

    /// Those statements that need no variable but what stands at hand.
    pub fn usable<'s>(&self, statements: &'s [Copyable]) -> impl Iterator<Item = &'s Copyable> {
        let known = |name: &String| self.names.contains(name) || ["self", "this"].contains(&name.as_str());
        statements.iter().filter(move |statement| statement.needs.iter().all(known))
    }
}

/// Where the variables that functions declare are known, in a language whose blocks are scopes.
#[derive(Debug, Default)]
pub struct Locals {
    /// Of each variable of the function.
    ranges: HashMap<String, Vec<Range<usize>>>,
    /// Names that stand in it.
    own: HashSet<String>,
    /// Variables of all functions that stand nowhere else.
    others: Arc<HashSet<String>>,
}

impl Locals {
    /// The variables of a function; `others` as [`Locals::others`] gives them.
    pub fn of(source: &Source, function: Node, others: &Arc<HashSet<String>>) -> Locals {
        let mut locals = Locals { others: Arc::clone(others), ..Locals::default() };
        if source.grammar.schemata.is_some() {
            declarations(source, function, &mut |name, range| {
                locals.ranges.entry(name.to_owned()).or_default().push(range);
            });
            visit(function, &mut |node| {
                if node.named_child_count() == 0 {
                    locals.own.insert(source.of(node).to_owned());
                }
                true
            });
        }
        locals
    }

    /// The variables of all functions of a file, without what stands outside of functions too.
    pub fn others(source: &Source) -> Arc<HashSet<String>> {
        let mut found = HashSet::new();
        if source.grammar.schemata.is_none() {
            return Arc::default();
        }
        let mut outside = HashSet::new();
        visit(source.tree.root_node(), &mut |node| {
            let function = source.grammar.is(node, Role::Function);
            if function {
                declarations(source, node, &mut |name, _| {
                    found.insert(name.to_owned());
                });
                outside.extend(name_of(node).map(|name| source.of(name)));
            } else if node.named_child_count() == 0 {
                outside.insert(source.of(node));
            }
            !function
        });
        found.retain(|name| !outside.contains(name.as_str()));
        Arc::new(found)
    }

    fn knows(&self, name: &str, at: usize) -> bool {
        let ranges = self.ranges.get(name);
        ranges.map_or_else(
            || self.own.contains(name) || !self.others.contains(name),
            |ranges| ranges.iter().any(|range| (range.start..=range.end).contains(&at)),
        )
    }

    /// Whether a text names a variable that is not known at this place, and that it does not declare itself.
    pub fn hide(&self, text: &str, at: usize) -> bool {
        // Nearly all edits name what is known, and hundreds of thousands are looked at.
        if (self.ranges.is_empty() && self.others.is_empty())
            || words(text).all(|(_, word)| self.knows(word, at))
        {
            return false;
        }
        let text = QUOTED.replace_all(text, "0");
        let declared: HashSet<&str> = DECLARED
            .iter()
            .flat_map(|declared| declared.captures_iter(&text))
            .filter_map(|found| found.get(1))
            .flat_map(|names| words(names.as_str()).map(|(_, word)| word))
            .collect();
        let hides = |(start, word): (usize, &str)| {
            let before = text.get(..start).unwrap_or_default();
            let after = text.get(start + word.len()..).unwrap_or_default().trim_start();
            let part = [".", "->", "::"].iter().any(|sign| before.ends_with(sign));
            // A function, a macro, a module or the name of a field: none of the variables.
            let other = ["(", "!(", "![", "::"].iter().any(|sign| after.starts_with(sign))
                || after.starts_with(':') && !after.starts_with(":=");
            let typed = words(before).last().is_some_and(|(at, last)| {
                !USING.contains(&last)
                    && before.get(at + last.len()..).is_some_and(|gap| gap.trim().is_empty())
            });
            !part && !other && !typed && !declared.contains(word) && !self.knows(word, at)
        };
        words(&text).any(hides)
    }
}

/// The declarations of variables in a function, with where they are known.
fn declarations<'s>(source: &'s Source, function: Node, each: &mut dyn FnMut(&'s str, Range<usize>)) {
    visit(function, &mut |node| {
        // What begins with a capital in a pattern is a constant or a type.
        if source.grammar.is(node, Role::Identifier)
            && !source.of(node).starts_with(char::is_uppercase)
            && let Some(scope) = declares(source, node)
        {
            each(source.of(node), node.end_byte()..scope.end_byte());
        }
        true
    });
}

/// The words of a text that may be names, with their places.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    WORD.find_iter(text).map(|word| (word.start(), word.as_str()))
}

/// What a variable is known in, where this is its declaration.
fn declares<'t>(source: &Source, name: Node<'t>) -> Option<Node<'t>> {
    let (mut node, mut declared) = (name, false);
    loop {
        let parent = node.parent()?;
        let is = |role| source.grammar.is(parent, role);
        let field = |name: &str| parent.child_by_field_name(name) == Some(node);
        let kind = parent.kind();
        declared |= field("declarator") && !is(Role::Function)
            || field("pattern")
            || field("left") && ["short_var_declaration", "range_clause", "for_range_loop"].contains(&kind)
            || field("name") && ["var_spec", "const_spec"].contains(&kind);
        let scopes = [Role::Block, Role::Loop, Role::If, Role::Function].iter().any(|role| is(*role));
        if scopes || ["match_arm", "catch_clause"].contains(&kind) {
            return declared.then_some(parent);
        }
        // What a declaration is given is no declaration.
        if field("value") || field("right") || field("arguments") || field("condition") {
            return None;
        }
        node = parent;
    }
}

/// Whether the value of an expression is that of a condition, as far as its syntax tells.
pub fn is_condition(source: &Source, node: Node) -> bool {
    let is = |role| source.grammar.is(node, role);
    is(Role::Comparison)
        || is(Role::Boolean)
        || is(Role::Not)
        || is_comparison(source, node)
        || is_logic(source, node)
        || is(Role::Unary) && has_token(node, &["!"])
}

/// Whether an expression compares.
pub fn is_comparison(source: &Source, node: Node) -> bool {
    source.grammar.is(node, Role::Comparison)
        || source.grammar.is(node, Role::Binary)
            && has_token(node, &["<", "<=", ">", ">=", "==", "!=", "===", "!=="])
}

/// Whether an expression joins conditions.
pub fn is_logic(source: &Source, node: Node) -> bool {
    source.grammar.is(node, Role::Boolean)
        || source.grammar.is(node, Role::Binary) && has_token(node, &["&&", "||"])
}

/// Whether a node has one of these tokens for a sign.
pub fn has_token(node: Node, tokens: &[&str]) -> bool {
    let mut cursor = node.walk();
    node.children(&mut cursor).any(|child| !child.is_named() && tokens.contains(&child.kind()))
}

/// The condition of a statement or an expression, without brackets around it.
pub fn condition<'t>(source: &Source, node: Node<'t>) -> Option<Node<'t>> {
    if !source.grammar.is(node, Role::If) && !source.grammar.is(node, Role::Loop) {
        return None;
    }
    let third = || (node.kind() == "conditional_expression").then(|| node.named_child(1)).flatten();
    let only = || (node.named_child_count() == 1).then(|| node.named_child(0)).flatten();
    let mut condition = node.child_by_field_name("condition").or_else(third).or_else(only)?;
    while source.grammar.is(condition, Role::Wrapper) {
        condition = condition.named_child(0)?;
    }
    Some(condition)
}

/// The two values between which a conditional expression chooses.
pub fn arms<'t>(source: &Source, node: Node<'t>) -> (Option<Node<'t>>, Option<Node<'t>>) {
    let named = |field: &str, at: u32| {
        let mut arm = node.child_by_field_name(field).or_else(|| node.named_child(at))?;
        // Blocks that are nothing but a value.
        while arm.named_child_count() == 1
            && (source.grammar.is(arm, Role::Block) || arm.kind() == "else_clause")
        {
            arm = arm.named_child(0)?;
        }
        let short = source.of(arm).len() <= LONGEST && !source.of(arm).contains('\n');
        (short && source.grammar.is(arm, Role::Expression)).then_some(arm)
    };
    // Python's have no fields: the value, the condition, the other value.
    (named("consequence", 0), named("alternative", 2))
}

/// Conditions that stand in a file, without those that are constants.
pub fn conditions(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    visit(source.tree.root_node(), &mut |node| {
        let asks = condition(source, node).filter(|condition| !source.grammar.is(*condition, Role::Constant));
        if let Some(text) = asks.map(|condition| source.of(condition))
            && text.len() <= LONGEST
            && !text.contains('\n')
        {
            keep(&mut found, text);
        }
        true
    });
    found
}

/// A statement that may be copied.
#[derive(Clone, Debug)]
pub struct Copyable {
    /// Its text; further lines are indented as if the first were not.
    pub text: String,
    /// The variables that it needs.
    pub needs: Vec<String>,
    /// Where it stands.
    pub line: u32,
}

/// Statements of a function or a file that may be copied: simple ones of one line, and short loops.
pub fn copyable(source: &Source, within: Node) -> Vec<Copyable> {
    let mut found: Vec<Copyable> = Vec::new();
    visit(within, &mut |node| {
        let text = source.of(node);
        let (simple, lines) = (source.grammar.is(node, Role::Simple), text.lines().count());
        let looping = source.grammar.is(node, Role::Loop) && source.grammar.is(node, Role::Statement);
        let short = text.len() <= 120 && (simple && lines == 1 || looping && lines <= 4);
        if short && !documents(source, node) && found.len() < 200 {
            let column = node.start_position().column;
            let dedented = |line: &str| line.get(column..).unwrap_or_else(|| line.trim_start()).to_owned();
            let mut text = text.lines();
            let first = text.next().unwrap_or_default().to_owned();
            let text = std::iter::once(first).chain(text.map(dedented)).collect::<Vec<_>>().join("\n");
            if !found.iter().any(|known| known.text == text) {
                found.push(Copyable { text, needs: needs(source, node), line: line_of(node) });
            }
        }
        true
    });
    found
}

/// Short statements of a file that follow each other.
pub fn neighbours(source: &Source) -> HashSet<(String, String)> {
    let mut found = HashSet::new();
    visit(source.tree.root_node(), &mut |node| {
        if source.grammar.is(node, Role::Statement)
            && let Some(next) = node.next_named_sibling()
        {
            let pair = (source.of(node), source.of(next));
            if pair.0.len() + pair.1.len() <= 240 {
                found.insert((pair.0.to_owned(), pair.1.to_owned()));
            }
        }
        true
    });
    found
}

/// The variables of a statement that it does not declare itself.
fn needs(source: &Source, statement: Node) -> Vec<String> {
    let (mut used, mut declared) = (Vec::new(), Vec::new());
    visit(statement, &mut |node| {
        if source.grammar.is(node, Role::Identifier) && is_variable(source, node) {
            let parent = node.parent();
            let is = |field: &str| parent.and_then(|parent| parent.child_by_field_name(field)) == Some(node);
            let iterates = parent.is_some_and(|parent| source.grammar.is(parent, Role::Loop)) && is("left");
            let list = if iterates || is("declarator") || is("name") { &mut declared } else { &mut used };
            list.push(source.of(node).to_owned());
        }
        true
    });
    used.retain(|name| !declared.contains(name));
    used
}

/// Whether a statement is a text that nobody uses.
pub fn documents(source: &Source, statement: Node) -> bool {
    statement.named_child_count() == 1
        && statement.named_child(0).is_some_and(|child| source.grammar.is(child, Role::String))
}

/// Ends of functions that stand in a file, with their values or errors.
pub fn exits(source: &Source, role: Role) -> Vec<String> {
    let mut found = Vec::new();
    visit(source.tree.root_node(), &mut |node| {
        let text = source.of(node).trim_end_matches(';');
        if source.grammar.is(node, role) && text.len() <= LONGEST && !text.contains('\n') {
            keep(&mut found, text);
        }
        true
    });
    found
}

fn keep(list: &mut Vec<String>, text: &str) {
    if list.len() < 40 && !list.iter().any(|known| known == text) {
        list.push(text.to_owned());
    }
}

/// The outermost functions of a file; the file itself comes last, for what stands outside of them.
pub fn scopes<'t>(source: &'t Source) -> Vec<Node<'t>> {
    let mut found = Vec::new();
    visit(source.tree.root_node(), &mut |node| {
        let function = source.grammar.is(node, Role::Function);
        if function {
            found.push(node);
        }
        !function
    });
    found.push(source.tree.root_node());
    found
}

/// Whether an identifier names a variable: no field, no function that is called, no name of an argument.
pub fn is_variable(source: &Source, node: Node) -> bool {
    let Some(parent) = node.parent() else { return false };
    let is = |role| source.grammar.is(parent, role);
    let last = last_child(parent);
    let named = |field: &str| parent.child_by_field_name(field) == Some(node);
    !(is(Role::Attribute) && last == Some(node) && parent.named_child_count() > 1
        || is(Role::Call) && (named("function") || named("macro"))
        || is(Role::Keyword) && parent.named_child(0) == Some(node)
        || (is(Role::Function) || is(Role::Class)) && named("name")
        || source.grammar.is(parent, Role::Opaque))
}

/// Whether a node is an expression whose value is used, and not a place that is written or called.
pub fn is_value(source: &Source, node: Node) -> bool {
    let grammar = source.grammar;
    let Some(parent) = node.parent() else { return false };
    let named = |field: &str| parent.child_by_field_name(field) == Some(node);
    let is = |role| grammar.is(parent, role);
    if !grammar.is(node, Role::Expression) || is(Role::Parameters) || is(Role::Opaque) {
        return false;
    }
    let target = (is(Role::Assignment) || is(Role::Loop) || parent.kind() == "for_in_clause")
        && named("left")
        || parent.kind() == "let_declaration" && named("pattern")
        || parent.kind() == "variable_declarator" && named("name");
    let callee = is(Role::Call) && (named("function") || named("macro"));
    !target && !callee && (!grammar.is(node, Role::Identifier) || is_variable(source, node))
}

/// Names of fields and methods in a file, and whether they are called.
pub fn fields(source: &Source) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = Vec::new();
    visit(source.tree.root_node(), &mut |node| {
        if source.grammar.is(node, Role::Attribute)
            && let Some(last) = last_child(node)
        {
            let called = node.parent().is_some_and(|parent| {
                source.grammar.is(parent, Role::Call) && parent.child_by_field_name("function") == Some(node)
            });
            let field = (source.of(last).to_owned(), called);
            if !found.contains(&field) && found.len() < 60 {
                found.push(field);
            }
        }
        true
    });
    found
}

/// Functions that a file defines or calls by name, and how many arguments they take.
pub fn functions(source: &Source) -> Vec<(String, usize)> {
    let mut found: Vec<(String, usize)> = Vec::new();
    visit(source.tree.root_node(), &mut |node| {
        let function = if source.grammar.is(node, Role::Call) {
            let callee = node.child_by_field_name("function");
            let arguments = node.child_by_field_name("arguments");
            callee.filter(|callee| source.grammar.is(*callee, Role::Identifier)).zip(arguments)
        } else if source.grammar.is(node, Role::Function) {
            node.child_by_field_name("name").zip(node.child_by_field_name("parameters"))
        } else {
            None
        };
        if let Some((name, arguments)) = function {
            let function = (source.of(name).to_owned(), arguments.named_child_count());
            if !found.contains(&function) && found.len() < 60 {
                found.push(function);
            }
        }
        true
    });
    found
}

/// Functions and own methods that a file calls with one argument, the most used ones.
pub fn wrapping(source: &Source) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    visit(source.tree.root_node(), &mut |node| {
        let called = || {
            let arguments = node.child_by_field_name("arguments")?;
            let callee = node.child_by_field_name("function")?;
            (arguments.named_child_count() == 1).then(|| source.of(callee))
        };
        // A name, or a method of one's own.
        let named = |text: &&str| {
            let name = text.strip_prefix("self.").or_else(|| text.strip_prefix("this.")).unwrap_or(text);
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        };
        if source.grammar.is(node, Role::Call)
            && let Some(name) = called().filter(named)
        {
            *counts.entry(name).or_default() += 1;
        }
        true
    });
    let mut found: Vec<(&str, usize)> = counts.into_iter().collect();
    found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    found.into_iter().take(WRAPPING).map(|(name, _)| name.to_owned()).collect()
}

/// String literals of a file.
pub fn strings(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    visit(source.tree.root_node(), &mut |node| {
        let text = source.of(node);
        if source.grammar.is(node, Role::String) && text.len() <= 40 && !text.contains('\n') {
            keep(&mut found, text);
        }
        !source.grammar.is(node, Role::String)
    });
    found
}

/// Ranges of tests in a file of the product: modules and functions that an attribute keeps for tests.
pub fn tests(source: &Source) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    visit(source.tree.root_node(), &mut |node| {
        let attribute = node.prev_named_sibling().filter(|before| source.grammar.is(*before, Role::Opaque));
        let marked = attribute.is_some_and(|attribute| {
            let text = source.of(attribute);
            text.starts_with("#[") && (text.contains("cfg(test)") || text.contains("test]"))
        });
        if marked {
            found.push(node.byte_range());
        }
        !marked
    });
    found
}
