//! Variations of JavaScript and TypeScript test files, and beacons in them: a call at the end of every test body
//! and around the value of every early return. Known are tests whose name and body stand in the text.

use std::collections::{BTreeMap, BTreeSet};

use tree_sitter::{Language, Node};

use super::literals::{change, is_literal};
use super::{Edits, Order, Source, Varied, children, head_of, holds_word, parse, source, words};
use crate::verify::attest::{Draw, Variant};

/// A test, its name and those of the suites around it.
struct Test<'t> {
    names: Vec<&'t str>,
    titles: Vec<Node<'t>>,
    body: Node<'t>,
}

/// Files in which something may look at the names of tests.
const NAMED: [&str; 7] =
    ["napshot", ".name", "currentTestName", "getState", "fullTitle", "this.test", "__filename"];

/// What compares its first two arguments.
const EQUALS: [&str; 4] = ["strictEqual", "deepStrictEqual", "equal", "deepEqual"];

/// What compares what was expected of with its argument.
const MATCHERS: [&str; 3] = ["toBe", "toEqual", "toStrictEqual"];

const FUNCTIONS: [&str; 5] = [
    "arrow_function",
    "function_expression",
    "function_declaration",
    "method_definition",
    "class_declaration",
];

/// Test files with beacons, varied as ordered. `beacon` is the name of the global function that beacons call.
pub fn vary(files: &[Source<'_>], order: &Order<'_>, beacon: &str, draw: &mut Draw) -> Varied {
    let mut varied = Varied::default();
    let picky = ["name-pattern", "--grep", " -g ", " -t ", "testNamePattern"]
        .iter()
        .any(|word| order.elsewhere.contains(word));
    for (path, text) in files {
        let Some(tree) = language(path).and_then(|language| parse(text, &language)) else {
            continue;
        };
        let mut tests = Vec::new();
        collect(tree.root_node(), text, &mut (Vec::new(), Vec::new()), &mut tests);
        let mut edits = Edits::default();
        let alias = order.variant == Variant::Alias;
        let titles = if alias && !picky { titles(&tests, text, draw) } else { BTreeMap::new() };
        for (node, title) in titles.values() {
            edits.0.push((node.start_byte() + 1..node.end_byte() - 1, title.clone()));
        }
        let new = if alias { moved(path, text, files, order, draw) } else { None };
        let place = new.as_deref().unwrap_or(path);
        let many = |head: &str| {
            tests.iter().filter(|test| head_of(order.naming, path, &test.names) == head).count() > 1
        };
        for test in &tests {
            let head = head_of(order.naming, path, &test.names);
            if many(&head) {
                continue;
            }
            let names: Vec<&str> = test
                .titles
                .iter()
                .zip(&test.names)
                .map(|(node, name)| titles.get(&node.start_byte()).map_or(*name, |(_, title)| title.as_str()))
                .collect();
            let now = head_of(order.naming, place, &names);
            if now != head {
                varied.altered.insert(head.clone());
                varied.renamed.insert(head.clone(), now.clone());
            }
            if order.may_alter(&head) && test.alter(order.variant, text, draw, &mut edits) {
                varied.altered.insert(head.clone());
            }
            let token = varied.beacons.len().to_string();
            test.plant(path, text, &format!("{beacon}({token}"), &mut edits);
            varied.beacons.insert(now, token);
        }
        if new.is_some() {
            varied.files.insert((*path).to_owned(), None);
        }
        let changed = edits.apply(text);
        if changed != *text || new.is_some() {
            varied.files.insert(place.to_owned(), Some(changed));
        }
    }
    varied
}

/// The grammar of a file, by its name.
pub fn language(path: &str) -> Option<Language> {
    Some(match path.rsplit('.').next()? {
        "js" | "mjs" | "cjs" | "jsx" => tree_sitter_javascript::LANGUAGE.into(),
        "ts" | "mts" | "cts" => tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
        "tsx" => tree_sitter_typescript::LANGUAGE_TSX.into(),
        _ => return None,
    })
}

/// The tests that stand directly in a program, a suite or another test.
fn collect<'t>(
    block: Node<'t>,
    text: &'t str,
    above: &mut (Vec<&'t str>, Vec<Node<'t>>),
    found: &mut Vec<Test<'t>>,
) {
    for statement in children(block).into_iter().filter(|node| node.kind() == "expression_statement") {
        let Some((kind, title, body)) = said(statement, text) else {
            continue;
        };
        let name = source(title, text);
        let name = &name[1..name.len() - 1];
        if name.contains(['\\', '$']) {
            continue;
        }
        above.0.push(name);
        above.1.push(title);
        if body.kind() == "statement_block" {
            let before = found.len();
            collect(body, text, above, found);
            // One that holds tests of its own is a suite, whatever it is called.
            if kind == Kind::Test && found.len() == before {
                found.push(Test { names: above.0.clone(), titles: above.1.clone(), body });
            }
        } else if kind == Kind::Test {
            found.push(Test { names: above.0.clone(), titles: above.1.clone(), body });
        }
        above.0.pop();
        above.1.pop();
    }
}

#[derive(PartialEq)]
enum Kind {
    Suite,
    Test,
}

/// Title and body of a statement that announces a suite or a test.
fn said<'t>(statement: Node<'t>, text: &str) -> Option<(Kind, Node<'t>, Node<'t>)> {
    let mut call = *children(statement).first()?;
    if call.kind() == "await_expression" {
        call = *children(call).first()?;
    }
    let callee = source(call.child_by_field_name("function")?, text);
    let kind = match callee.strip_suffix(".only").unwrap_or(callee) {
        "test" | "it" | "specify" | "t.test" | "ctx.test" | "context.test" | "test.test" | "test.it" => {
            Kind::Test
        }
        "describe" | "suite" | "context" | "test.describe" | "test.suite" => Kind::Suite,
        _ => return None,
    };
    let arguments = children(call.child_by_field_name("arguments")?);
    let (title, function) = (*arguments.first()?, *arguments.last()?);
    let known =
        matches!(function.kind(), "arrow_function" | "function_expression") && title.kind() == "string";
    // Options may leave a test out.
    let plain = arguments[1..].iter().all(|argument| {
        !["skip", "todo"]
            .iter()
            .any(|word| argument.kind() == "object" && source(*argument, text).contains(word))
    });
    (known && plain).then_some((kind, title, function.child_by_field_name("body")?))
}

/// New titles, by where the old ones stand.
fn titles<'t>(tests: &[Test<'t>], text: &str, draw: &mut Draw) -> BTreeMap<usize, (Node<'t>, String)> {
    let mut new = BTreeMap::new();
    if NAMED.iter().any(|word| text.contains(word)) {
        return new;
    }
    let mut taken = BTreeSet::new();
    for node in tests.iter().flat_map(|test| &test.titles) {
        new.entry(node.start_byte())
            .or_insert_with(|| (*node, words::snake(draw, &mut taken).replace('_', " ")));
    }
    new
}

/// A new path, where nobody speaks of the old one.
fn moved(path: &str, text: &str, files: &[Source<'_>], order: &Order<'_>, draw: &mut Draw) -> Option<String> {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let dot = name.find(".test.").or_else(|| name.find(".spec."))?;
    let (stem, rest) = name.split_at(dot);
    let script = matches!(rest.rsplit('.').next(), Some("js" | "mjs" | "cjs"));
    let told = NAMED.iter().any(|word| text.contains(word)) || text.contains("import.meta.url");
    let elsewhere = order.elsewhere.contains(name)
        || files.iter().any(|(_, text)| text.contains(name) || text.contains(&name[..name.len() - 3]));
    if !script || told || elsewhere || holds_word(stem, "index") {
        return None;
    }
    let mut taken = files.iter().map(|(path, _)| (*path).to_owned()).collect();
    let slash = if folder.is_empty() { "" } else { "/" };
    Some(format!("{folder}{slash}{}{rest}", words::snake(draw, &mut taken).replace('_', "-")))
}

/// The nodes of these kinds in a function, without those of functions in it.
fn own<'t>(node: Node<'t>, kinds: &[&str], found: &mut Vec<Node<'t>>) {
    for child in children(node) {
        if kinds.contains(&child.kind()) {
            found.push(child);
        }
        if !FUNCTIONS.contains(&child.kind()) {
            own(child, kinds, found);
        }
    }
}

impl<'t> Test<'t> {
    fn returns(&self) -> Vec<Node<'t>> {
        let mut found = Vec::new();
        own(self.body, &["return_statement"], &mut found);
        found
    }

    /// Alters the body; whether it did.
    fn alter(&self, variant: Variant, text: &str, draw: &mut Draw, edits: &mut Edits) -> bool {
        if self.body.kind() != "statement_block" || children(self.body).is_empty() {
            return false;
        }
        match variant {
            Variant::Poison => self.poison(text, draw, edits).is_some(),
            Variant::Perturb => self.perturb(text, draw, edits).is_some(),
            Variant::Plain | Variant::Alias => false,
        }
    }

    fn poison(&self, text: &str, draw: &mut Draw, edits: &mut Edits) -> Option<()> {
        let last = *children(self.body).last()?;
        let returns = self.returns();
        if matches!(last.kind(), "throw_statement" | "while_statement")
            || returns.iter().any(|node| self.is_bare(*node))
        {
            return None;
        }
        for node in &returns {
            edits.insert(node.start_byte(), format!("{} ", self.failing(text, draw)));
        }
        if last.kind() != "return_statement" {
            edits.insert(last.end_byte(), format!("{}{}", gap(last, text), self.failing(text, draw)));
        }
        Some(())
    }

    /// Whether a statement before this one would stand alone in a branch, or be caught.
    fn is_bare(&self, node: Node<'_>) -> bool {
        let mut above = node.parent();
        if above.is_none_or(|parent| parent.kind() != "statement_block") {
            return true;
        }
        while let Some(node) = above.filter(|node| node.id() != self.body.id()) {
            if node.kind() == "try_statement" {
                return true;
            }
            above = node.parent();
        }
        false
    }

    fn perturb(&self, text: &str, draw: &mut Draw, edits: &mut Edits) -> Option<()> {
        let claims = self.claims(text);
        let first = draw.below(claims.len());
        let edit = (0..claims.len())
            .find_map(|step| change(claims[(first + step) % claims.len()].expected, text, draw))?;
        edits.0.push(edit);
        Some(())
    }

    /// A statement that fails: an assertion of the body with another value, or one of its own.
    fn failing(&self, text: &str, draw: &mut Draw) -> String {
        let claims = self.claims(text);
        let copies: Vec<_> = claims.iter().filter(|claim| claim.is_repeatable(text)).collect();
        if let Some(claim) = draw.choose(&copies)
            && let Some((range, new)) = change(claim.expected, text, draw)
        {
            let start = claim.statement.start_byte();
            let mut edits = Edits::default();
            edits.0.push((range.start - start..range.end - start, new));
            return edits.apply(source(claim.statement, text));
        }
        let (left, right) = own_claim(draw);
        let mark = if text.contains(";\n") { ";" } else { "" };
        match claims.first().map(|claim| source(claim.callee, text)).or_else(|| style(text)) {
            Some("expect") => format!("expect({left}).toBe({right}){mark}"),
            Some(callee) => format!("{callee}({left}, {right}){mark}"),
            None => format!("if ({left} !== {right}) throw new Error('unexpected value');"),
        }
    }

    /// The comparisons with a literal that surely run.
    fn claims(&self, text: &'t str) -> Vec<Claim<'t>> {
        let mut claims = Vec::new();
        for statement in children(self.body) {
            let mut ends = Vec::new();
            own(statement, &["return_statement", "throw_statement"], &mut ends);
            let leaves = matches!(statement.kind(), "return_statement" | "throw_statement");
            if leaves || !ends.is_empty() || source(statement, text).contains("skip(") {
                break;
            }
            claims.extend(claim(statement, text));
        }
        claims
    }

    /// Puts the beacon at the end of the body and around what is returned early.
    fn plant(&self, path: &str, text: &str, call: &str, edits: &mut Edits) {
        let typed = path.ends_with("ts") || path.ends_with("tsx");
        let call = if typed { format!("(process as any).{call}") } else { format!("process.{call}") };
        if self.body.kind() != "statement_block" {
            edits.insert(self.body.start_byte(), format!("{call}, "));
            edits.insert(self.body.end_byte(), ")");
            return;
        }
        for node in self.returns() {
            match children(node).first() {
                Some(value) => {
                    edits.insert(value.start_byte(), format!("{call}, "));
                    edits.insert(value.end_byte(), ")");
                }
                None => edits.insert(node.start_byte() + "return".len(), format!(" {call})")),
            }
        }
        // A comment must not swallow it.
        let open =
            text[..self.body.end_byte() - 1].rsplit('\n').next().is_some_and(|line| line.contains("//"));
        edits.insert(self.body.end_byte() - 1, format!("{};{call}); ", if open { "\n" } else { "" }));
    }
}

/// What stands between statements: a new line with its indent.
fn gap<'t>(statement: Node<'_>, text: &'t str) -> &'t str {
    let before = text[..statement.start_byte()].trim_end_matches([' ', '\t']);
    if before.ends_with('\n') { &text[before.len() - 1..statement.start_byte()] } else { " " }
}

/// A comparison with a literal.
struct Claim<'t> {
    statement: Node<'t>,
    callee: Node<'t>,
    subject: Node<'t>,
    expected: Node<'t>,
}

fn claim<'t>(statement: Node<'t>, text: &str) -> Option<Claim<'t>> {
    let call = *children(statement).first()?;
    let callee =
        call.child_by_field_name("function").filter(|_| statement.kind() == "expression_statement")?;
    let arguments = children(call.child_by_field_name("arguments")?);
    let (subject, expected, callee) = if let Some(object) = callee.child_by_field_name("object") {
        let method = source(callee.child_by_field_name("property")?, text);
        let expected = source(object, text).starts_with("expect(");
        let inner = object.child_by_field_name("function").filter(|_| expected);
        match inner {
            Some(inner) if MATCHERS.contains(&method) => {
                let subject = *children(object.child_by_field_name("arguments")?).first()?;
                (subject, *arguments.first()?, inner)
            }
            _ if EQUALS.contains(&method) && source(object, text).ends_with("assert") => {
                (*arguments.first()?, *arguments.get(1)?, callee)
            }
            _ => return None,
        }
    } else if EQUALS.contains(&source(callee, text)) {
        (*arguments.first()?, *arguments.get(1)?, callee)
    } else {
        return None;
    };
    (is_literal(expected) && !is_literal(subject)).then_some(Claim { statement, callee, subject, expected })
}

impl Claim<'_> {
    /// Whether it can be said again without waiting for anything or using anything up.
    fn is_repeatable(&self, text: &str) -> bool {
        // A call may use something up: asked again, an honest one gives another answer, and that may be the wrong one.
        source(self.subject, text).chars().all(|c| c.is_alphanumeric() || "_.$".contains(c))
    }
}

/// How a file says that two things are equal.
fn style(text: &str) -> Option<&'static str> {
    if holds_word(text, "assert.strictEqual")
        || text.contains("import assert")
        || text.contains("assert = require")
    {
        return Some("assert.strictEqual");
    }
    text.contains("expect(").then_some("expect")
}

/// Two things that are not equal, though they could be meant to.
fn own_claim(draw: &mut Draw) -> (String, String) {
    let (word, other) = (words::value(draw), 1 + draw.below(3));
    let (low, step) = (1 + draw.below(30), 1 + draw.below(8));
    match draw.below(3) {
        0 => (format!("'{word}'.length"), (word.len() + other).to_string()),
        1 => (format!("Math.max({low}, {})", low + step), (low + step + other).to_string()),
        _ => (format!("'{word}'.toUpperCase()"), format!("'{}'", word[..word.len() - 1].to_uppercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Naming;
    use super::*;

    fn varied(variant: Variant, path: &str, text: &str, seed: u64) -> Varied {
        let order = Order { variant, naming: Naming::Script, alter: None, elsewhere: "" };
        vary(&[(path, text)], &order, "noteStep", &mut Draw(seed))
    }

    /// Asserts which tests get a beacon, and which a variant alters.
    fn check(variant: Variant, text: &str, known: &[&str], altered: &[&str]) {
        for path in ["t.test.js", "t.test.ts"] {
            for seed in 0..10 {
                let varied = varied(variant, path, text, seed);
                let ids = |names: &[&str]| {
                    names.iter().map(|name| format!("{path} > {name}")).collect::<BTreeSet<_>>()
                };
                assert_eq!(varied.beacons.keys().cloned().collect::<BTreeSet<_>>(), ids(known), "{text}");
                assert_eq!(varied.altered, ids(altered), "{variant:?} {path} {text} {varied:?}");
                for new in varied.files.values().flatten() {
                    assert!(parse(new, &language(path).unwrap()).is_some(), "{new}");
                }
            }
        }
    }

    #[test]
    fn tests_get_beacons_and_fail_by_poison_and_wrong_values() {
        let both = |text: &str, names: &[&str]| {
            check(Variant::Poison, text, names, names);
            check(Variant::Perturb, text, names, names);
        };
        both("it('a', () => {\n  assert.equal(f(1n), 12n);\n});\n", &["a"]);
        both("import assert from 'node:assert';\ntest('a', () => {\n  assert.equal(f(2), 3);\n});\n", &["a"]);
        both(
            "describe('s', () => {\n  it('a', async function () {\n    expect(f()).toEqual({ a: [1] })\n  })\n})\n",
            &["s > a"],
        );
        both(
            "test('p', async (t) => {\n  await t.test('q', () => { strictEqual(x, 'b'); });\n});\n",
            &["p > q"],
        );
        check(
            Variant::Poison,
            "it('a', () => {\n  if (x) {\n    return;\n  }\n  go();\n});\n",
            &["a"],
            &["a"],
        );
        check(
            Variant::Perturb,
            "it('a', () => {\n  if (x) { return; }\n  expect(f()).toBe(3);\n});\n",
            &["a"],
            &[],
        );
        check(Variant::Poison, "it('a', () => {\n  if (x) return;\n  go();\n});\n", &["a"], &[]);
        check(Variant::Poison, "it('a', () => expect(f()).toBe(3));\n", &["a"], &[]);
        check(Variant::Perturb, "it('a', () => {\n  expect(f()).not.toBe(3);\n});\n", &["a"], &[]);
        check(Variant::Poison, "it('a', { skip: true }, () => {\n  go();\n});\n", &[], &[]);
        check(Variant::Poison, "for (const x of y) { it('a', () => { go(x); }); }\n", &[], &[]);
        check(Variant::Poison, "it('a', () => { go(1); });\nit('a', () => { go(2); });\n", &[], &[]);
        check(Variant::Poison, "it(`a ${x}`, () => { go(1); });\n", &[], &[]);
    }

    #[test]
    fn an_alias_renames_file_suites_and_tests() {
        let text = "describe('s', () => {\n  it('a', () => {\n    go(); // why\n  });\n});\n";
        let varied = varied(Variant::Alias, "d/x.test.js", text, 3);
        assert_eq!(varied.files["d/x.test.js"], None);
        let (path, new) = varied.files.iter().find(|(_, text)| text.is_some()).unwrap();
        let new = new.as_deref().unwrap();
        assert!(path.ends_with(".test.js") && !new.contains("'s'") && !new.contains("'a'"), "{path}: {new}");
        assert!(varied.renamed["d/x.test.js > s > a"].starts_with(path.as_str()), "{varied:?}");
        assert!(new.contains("// why\n  ;process.noteStep(0); }"), "{new}");
    }
}
