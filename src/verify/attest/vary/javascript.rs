//! Variations of JavaScript and TypeScript test files, and beacons in them: a call at the end of every test body
//! and around the value of every early return. Known are tests whose body stands in the text.

use std::collections::{BTreeMap, BTreeSet};

use tree_sitter::{Language, Node};

use super::literals::{change, is_literal};
use super::scripts::{self, Test, resolved};
use super::{
    Edits, Order, Pattern, Source, Varied, children, head_of, holds_word, parse, source, word_count, words,
};
use crate::verify::attest::{Draw, Variant};

/// Files in which something may look at the names of tests.
const NAMED: [&str; 7] =
    ["napshot", ".name", "currentTestName", "getState", "fullTitle", "this.test", "__filename"];

/// What compares its first two arguments.
const EQUALS: [&str; 4] = ["strictEqual", "deepStrictEqual", "equal", "deepEqual"];

/// What compares what was expected of with its argument.
const MATCHERS: [&str; 10] = [
    "toBe",
    "toEqual",
    "toStrictEqual",
    "toHaveLength",
    "toMatchObject",
    // Chai's.
    "equal",
    "equals",
    "eq",
    "eql",
    "eqls",
];

/// What may stand between `expect(…)` and a matcher.
const CHAIN: [&str; 6] = ["to", "be", "deep", "is", "that", "resolves"];

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
        let (mut tests, sure) = scripts::tests(tree.root_node(), text);
        // Where something else may announce tests, their names could be any.
        tests.retain(|test| sure || test.is_exact());
        let mut edits = Edits::default();
        let alias = order.variant == Variant::Alias;
        let titles = if alias && !picky { titles(&tests, text, draw) } else { BTreeMap::new() };
        for (node, title) in titles.values() {
            edits.0.push((node.start_byte() + 1..node.end_byte() - 1, title.clone()));
        }
        let new = if alias { moved(path, text, files, order, draw) } else { None };
        let place = new.as_deref().unwrap_or(path);
        let heads: Vec<String> =
            tests.iter().map(|test| head_of(order.naming, path, &test.names(text))).collect();
        for (test, head) in tests.iter().zip(&heads) {
            if heads.iter().filter(|other| *other == head).count() > 1 {
                continue;
            }
            let old = test.names(text);
            let names: Vec<&str> = test
                .titles
                .iter()
                .zip(&old)
                .map(|(title, name)| {
                    titles.get(&title.node.start_byte()).map_or(*name, |(_, title)| title.as_str())
                })
                .collect();
            let now = head_of(order.naming, place, &names);
            if now != *head {
                varied.altered.insert(head.clone());
                varied.renamed.insert(head.clone(), now.clone());
            }
            let token = (varied.beacons.len() + varied.patterns.len()).to_string();
            let mut one = Altering { test, path, head, text, order, draw: &mut *draw, varied: &mut varied };
            let wrap = one.alter(&mut edits);
            plant(test, path, text, &format!("{beacon}({token}"), wrap, &mut edits);
            if test.is_exact() {
                varied.beacons.insert(now, token);
            } else {
                varied.patterns.push(Pattern::new(place, test, head.clone(), token));
            }
        }
        if new.is_some() {
            varied.files.insert((*path).to_owned(), None);
            varied.renamed.insert((*path).to_owned(), place.to_owned());
        }
        let changed = edits.apply(text);
        if changed != *text || new.is_some() {
            varied.files.insert(place.to_owned(), Some(changed));
        }
    }
    // The most telling come first.
    varied.patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.rest.replace(".*", "").len()));
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

/// New titles, by where the old ones stand.
fn titles<'t>(tests: &[Test<'t>], text: &str, draw: &mut Draw) -> BTreeMap<usize, (Node<'t>, String)> {
    let mut new = BTreeMap::new();
    if NAMED.iter().any(|word| text.contains(word)) {
        return new;
    }
    let mut taken = BTreeSet::new();
    // A suite around a test whose name is not known keeps its own.
    let (exact, others): (Vec<&Test<'t>>, Vec<_>) = tests.iter().partition(|test| test.is_exact());
    let kept: BTreeSet<usize> =
        others.iter().flat_map(|test| &test.titles).map(|title| title.node.start_byte()).collect();
    let known = exact.iter().flat_map(|test| &test.titles).map(|title| title.node);
    for node in known.filter(|node| !kept.contains(&node.start_byte())) {
        new.entry(node.start_byte())
            .or_insert_with(|| (node, words::snake(draw, &mut taken).replace('_', " ")));
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

/// A test that is altered.
struct Altering<'a, 't> {
    test: &'a Test<'t>,
    path: &'a str,
    head: &'a str,
    text: &'t str,
    order: &'a Order<'a>,
    draw: &'a mut Draw,
    varied: &'a mut Varied,
}

/// What is put around a body that is an expression.
type Wrap = Option<(String, String)>;

impl<'t> Altering<'_, 't> {
    /// Alters the body as ordered.
    fn alter(&mut self, edits: &mut Edits) -> Wrap {
        match self.order.variant {
            Variant::Plain | Variant::Alias => None,
            Variant::Poison if !self.takes_all() => None,
            Variant::Poison if is_expression(self.test.body) => Some(self.poison_expression()),
            Variant::Poison => {
                if self.poison(edits).is_some() {
                    self.varied.altered.insert(self.head.to_owned());
                }
                None
            }
            Variant::Perturb => {
                if !(self.takes_all() && self.perturb(edits)) {
                    self.perturb_rows(edits);
                }
                None
            }
        }
    }

    /// The ids of this test that run: its head, or what its pattern matches.
    fn cases<'i>(&self, ids: Option<&'i BTreeSet<String>>) -> Vec<&'i String> {
        let pattern = Pattern::new(self.path, self.test, String::new(), String::new()).regex();
        let own = |id: &&String| {
            if self.test.is_exact() {
                **id == self.head
            } else {
                pattern.as_ref().is_some_and(|p| p.is_match(id))
            }
        };
        ids.into_iter().flatten().filter(own).collect()
    }

    /// Whether all of it that runs may be altered.
    fn takes_all(&self) -> bool {
        let only = self.cases(self.order.only);
        self.order.alter.is_none_or(|alter| !only.is_empty() && only.iter().all(|id| alter.contains(*id)))
    }

    fn poison_expression(&mut self) -> (String, String) {
        self.varied.altered.insert(self.head.to_owned());
        let wait = if source(self.test.function, self.text).starts_with("async") { "await " } else { "" };
        let name = words::value(self.draw);
        (format!("{{ const {name} = {wait}"), format!("; {} return {name}; }}", self.failing()))
    }

    fn poison(&mut self, edits: &mut Edits) -> Option<()> {
        let last = *children(self.test.body).last()?;
        let returns = returns(self.test.body);
        if matches!(last.kind(), "throw_statement" | "while_statement")
            || returns.iter().any(|node| is_bare(*node, self.test.body))
        {
            return None;
        }
        for node in &returns {
            edits.insert(node.start_byte(), format!("{} ", self.own_failing()));
        }
        if last.kind() != "return_statement" {
            edits.insert(last.end_byte(), format!("{}{}", gap(last, self.text), self.failing()));
        }
        Some(())
    }

    /// Expects another value: where the base fails, if that is known.
    fn perturb(&mut self, edits: &mut Edits) -> bool {
        let claims = self.claims();
        let lines: BTreeSet<u32> = self
            .cases(Some(&self.order.lines.keys().cloned().collect()))
            .into_iter()
            .flat_map(|id| &self.order.lines[id])
            .copied()
            .collect();
        let first = self.draw.below(claims.len());
        let mut order: Vec<usize> = (0..claims.len()).map(|step| (first + step) % claims.len()).collect();
        order.sort_by_key(|at| {
            let statement = claims[*at].statement;
            let rows = statement.start_position().row + 1..=statement.end_position().row + 1;
            !lines.iter().any(|line| rows.contains(&(*line as usize)))
        });
        let Some(edit) = order.into_iter().find_map(|at| change(claims[at].expected, self.text, self.draw))
        else {
            return false;
        };
        edits.0.push(edit);
        self.varied.altered.insert(self.head.to_owned());
        true
    }

    /// Expects other values in the rows that the test is made from, of those that may be altered.
    fn perturb_rows(&mut self, edits: &mut Edits) -> Option<()> {
        let (made, text) = (self.test, self.text);
        let table = made.table.as_ref()?;
        let body = source(made.body, text);
        let column = statements(made.body).into_iter().filter_map(|statement| compared(statement, text));
        let column = column.filter(|claim| !is_literal(claim.subject)).find_map(|claim| {
            let name = source(claim.expected, text);
            let cells: Option<Vec<_>> = table.rows.iter().map(|row| table.cell(*row, name, text)).collect();
            // A value that the test uses twice may be what it asks for too.
            cells.filter(|_| word_count(body, name) == 1)
        })?;
        let mut changed = Vec::new();
        for (row, cell) in table.rows.iter().zip(column) {
            let (range, new) = change(cell, text, self.draw)?;
            let mut one = Edits::default();
            one.0.push((range.start - cell.start_byte()..range.end - cell.start_byte(), new.clone()));
            let other = one.apply(source(cell, text));
            let id = |said: &str| Some(format!("{} > {}", self.path, made.of_row(*row, (cell, said), text)?));
            changed.push(((range, new), id(source(cell, text)), id(&other)));
        }
        let ids: BTreeSet<&String> = changed.iter().filter_map(|(_, old, _)| old.as_ref()).collect();
        let news: BTreeSet<&String> = changed.iter().filter_map(|(_, _, new)| new.as_ref()).collect();
        let known = ids.len() == changed.len()
            && news.len() == changed.len()
            && self.cases(self.order.only).iter().all(|id| ids.contains(id));
        if !known && !self.takes_all() {
            return None;
        }
        for (edit, old, new) in changed {
            let (Some(old), Some(new), true) = (old, new, known) else {
                edits.0.push(edit);
                self.varied.altered.insert(self.head.to_owned());
                continue;
            };
            if self.order.alter.is_none_or(|alter| alter.contains(&old)) {
                edits.0.push(edit);
                self.varied.altered.insert(old.clone());
                if old != new {
                    self.varied.cases.insert(new, old);
                }
            }
        }
        Some(())
    }

    /// A statement that fails: an assertion of the body with another value, or one of its own.
    fn failing(&mut self) -> String {
        let (text, mut copies) = (self.text, self.claims());
        copies.retain(|claim| claim.is_repeatable(text));
        // What else is done since an assertion may have made the other value true.
        let is_copied = |id: &usize| copies.iter().any(|claim| claim.statement.id() == *id);
        let last: Vec<usize> =
            statements(self.test.body).iter().rev().map(Node::id).take_while(is_copied).collect();
        copies.retain(|claim| last.contains(&claim.statement.id()));
        if let Some(claim) = self.draw.choose(&copies)
            && let Some((range, new)) = change(claim.expected, text, self.draw)
        {
            let start = claim.statement.start_byte();
            let mut edits = Edits::default();
            edits.0.push((range.start - start..range.end - start, new));
            return edits.apply(source(claim.statement, text));
        }
        self.own_failing()
    }

    /// A statement that fails wherever it stands.
    fn own_failing(&mut self) -> String {
        let (text, claims) = (self.text, self.claims());
        let (left, right) = own_claim(self.draw);
        let mark = if text.contains(";\n") { ";" } else { "" };
        match claims.first().map(|claim| source(claim.callee, text)).or_else(|| style(text)) {
            // Chai's and jest's differ.
            Some("expect") if text.contains(".toBe") => format!("expect({left}).toBe({right}){mark}"),
            Some(callee) if EQUALS.iter().any(|equals| callee.ends_with(equals)) => {
                format!("{callee}({left}, {right}){mark}")
            }
            _ => format!("if ({left} !== {right}) throw new Error('unexpected value');"),
        }
    }

    /// The comparisons with a literal that surely run.
    fn claims(&self) -> Vec<Claim<'t>> {
        let mut claims = Vec::new();
        for statement in statements(self.test.body) {
            let mut ends = Vec::new();
            own(statement, &["return_statement", "throw_statement"], &mut ends);
            let leaves = matches!(statement.kind(), "return_statement" | "throw_statement");
            if leaves || !ends.is_empty() || source(statement, self.text).contains("skip(") {
                break;
            }
            claims.extend(claim(statement, self.text));
        }
        claims
    }
}

fn is_expression(body: Node<'_>) -> bool {
    body.kind() != "statement_block"
}

/// The statements of a body, or the expression that it is.
fn statements(body: Node<'_>) -> Vec<Node<'_>> {
    if is_expression(body) { vec![body] } else { children(body) }
}

fn returns(body: Node<'_>) -> Vec<Node<'_>> {
    let mut found = Vec::new();
    own(body, &["return_statement"], &mut found);
    found
}

/// Whether a statement before this one would stand alone in a branch, or be caught.
fn is_bare(node: Node<'_>, body: Node<'_>) -> bool {
    let mut above = node.parent();
    if above.is_none_or(|parent| parent.kind() != "statement_block") {
        return true;
    }
    while let Some(node) = above.filter(|node| node.id() != body.id()) {
        if node.kind() == "try_statement" {
            return true;
        }
        above = node.parent();
    }
    false
}

/// Puts the beacon at the end of the body and around what is returned early.
fn plant(planted: &Test<'_>, path: &str, text: &str, call: &str, wrap: Wrap, edits: &mut Edits) {
    let body = planted.body;
    let typed = path.ends_with("ts") || path.ends_with("tsx");
    let call = if typed { format!("(globalThis as any).process.{call}") } else { format!("process.{call}") };
    if is_expression(body) {
        let (open, close) = wrap.unwrap_or_default();
        edits.insert(body.start_byte(), format!("{open}{call}, "));
        edits.insert(body.end_byte(), format!("){close}"));
        return;
    }
    for node in returns(body) {
        match children(node).first() {
            Some(value) => {
                edits.insert(value.start_byte(), format!("{call}, "));
                edits.insert(value.end_byte(), ")");
            }
            None => edits.insert(node.start_byte() + "return".len(), format!(" {call})")),
        }
    }
    // A comment must not swallow it.
    let open = text[..body.end_byte() - 1].rsplit('\n').next().is_some_and(|line| line.contains("//"));
    edits.insert(body.end_byte() - 1, format!("{};{call}); ", if open { "\n" } else { "" }));
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

/// A comparison with a literal, or with a name for one.
fn claim<'t>(statement: Node<'t>, text: &'t str) -> Option<Claim<'t>> {
    let claim = compared(statement, text)?;
    let expected = resolved(claim.expected, statement, text)?;
    (is_literal(expected) && !is_literal(claim.subject)).then_some(Claim { expected, ..claim })
}

/// A comparison.
fn compared<'t>(statement: Node<'t>, text: &'t str) -> Option<Claim<'t>> {
    let mut call = match statement.kind() {
        "expression_statement" => *children(statement).first()?,
        "call_expression" | "await_expression" => statement,
        _ => return None,
    };
    if call.kind() == "await_expression" {
        call = *children(call).first()?;
    }
    let callee = call.child_by_field_name("function")?;
    let arguments = children(call.child_by_field_name("arguments")?);
    let name = source(callee, text);
    if matches!(name, "assert" | "assert.ok" | "ok") {
        let equation = *arguments.first()?;
        let operator = equation.child_by_field_name("operator").map(|operator| source(operator, text));
        let (subject, expected) =
            (equation.child_by_field_name("left")?, equation.child_by_field_name("right")?);
        let equal = matches!(operator, Some("===" | "=="));
        return equal.then_some(Claim { statement, callee, subject, expected });
    }
    let Some(mut object) = callee.child_by_field_name("object") else {
        return (EQUALS.contains(&name)).then_some(()).and_then(|()| {
            Some(Claim { statement, callee, subject: *arguments.first()?, expected: *arguments.get(1)? })
        });
    };
    let method = source(callee.child_by_field_name("property")?, text);
    if EQUALS.contains(&method) && source(object, text).ends_with("assert") {
        return Some(Claim { statement, callee, subject: *arguments.first()?, expected: *arguments.get(1)? });
    }
    while object.kind() == "member_expression" {
        let property = source(object.child_by_field_name("property")?, text);
        if !CHAIN.contains(&property) {
            return None;
        }
        object = object.child_by_field_name("object")?;
    }
    let callee = object.child_by_field_name("function").filter(|callee| source(*callee, text) == "expect")?;
    let [expected] = arguments[..] else { return None };
    let subject = *children(object.child_by_field_name("arguments")?).first()?;
    MATCHERS.contains(&method).then_some(Claim { statement, callee, subject, expected })
}

impl Claim<'_> {
    /// Whether it can be said again without waiting for anything or using anything up.
    fn is_repeatable(&self, text: &str) -> bool {
        // A call may use something up: asked again, an honest one gives another answer, and that may be the wrong one.
        // A value that has a name stands elsewhere.
        let here = self.statement.byte_range();
        self.statement.kind() == "expression_statement"
            && here.contains(&self.expected.start_byte())
            && source(self.subject, text).chars().all(|c| c.is_alphanumeric() || "_.$".contains(c))
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
        let (naming, lines) = (Naming::Script, &BTreeMap::new());
        let order = Order { variant, naming, alter: None, only: None, elsewhere: "", lines };
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
    fn poison_says_again_only_what_still_holds() {
        let text = "it('a', () => {\n  expect(a.n).toBe(2);\n  a.go();\n  expect(a.m).toBe(5);\n  expect(a.k).toBe(7);\n});\n";
        let copied = |name: &str| {
            let holds = |seed| {
                let varied = varied(Variant::Poison, "t.test.js", text, seed);
                varied.files.values().flatten().any(|new| new.matches(name).count() == 2)
            };
            (0..40).any(holds)
        };
        assert!(!copied("a.n") && copied("a.m") && copied("a.k"));
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
        both("it('a', () => expect(f()).toBe(3));\n", &["a"]);
        both("it('a', async () => expect(await f()).toEqual([3]));\n", &["a"]);
        both("const want = ['b'];\nit('a', () => {\n  expect(f()).toEqual(want);\n});\n", &["a"]);
        both("it('a', async () => {\n  await expect(f()).resolves.toBe('x');\n});\n", &["a"]);
        both("it('a', () => {\n  expect(f()).to.deep.equal([1]);\n});\n", &["a"]);
        both("it('a', () => {\n  assert(f() === 'x');\n});\n", &["a"]);
        both("if (linux) {\n  it('a', () => {\n    expect(f()).toBe(1);\n  });\n}\n", &["a"]);
        check(Variant::Perturb, "it('a', () => {\n  expect(f()).toBeCloseTo(3);\n});\n", &["a"], &[]);
        check(Variant::Perturb, "const w = 1;\nit('a', () => {\n  expect(f(w)).toBe(w);\n});\n", &["a"], &[]);
        check(Variant::Perturb, "it('a', () => {\n  expect(f()).not.toBe(3);\n});\n", &["a"], &[]);
        check(Variant::Poison, "it('a', { skip: true }, () => {\n  go();\n});\n", &[], &[]);
        check(Variant::Poison, "for (const x of y) { it('a', () => { go(x); }); }\n", &[], &[]);
        check(Variant::Poison, "it.skip('a', () => { go(); });\n", &[], &[]);
        check(Variant::Poison, "it('a', () => { go(1); });\nit('a', () => { go(2); });\n", &[], &[]);
    }

    /// Asserts which ids a table's rows have, and which of them a variant alters when these may be altered.
    fn check_table(text: &str, ids: &[&str], alter: Option<&[&str]>, altered: &[&str]) {
        let full = |ids: &[&str]| ids.iter().map(|id| format!("t.test.js > {id}")).collect::<BTreeSet<_>>();
        let (only, alter) = (full(ids), alter.map(full));
        let (variant, naming, lines) = (Variant::Perturb, Naming::Script, &BTreeMap::new());
        let order = Order { variant, naming, alter: alter.as_ref(), only: Some(&only), elsewhere: "", lines };
        let varied = vary(&[("t.test.js", text)], &order, "noteStep", &mut Draw(3));
        assert!(ids.is_empty() || !varied.patterns.is_empty(), "{text}");
        for id in &only {
            assert!(varied.patterns[0].regex().unwrap().is_match(id), "{id}: {varied:?}");
        }
        let judged: BTreeSet<String> =
            only.iter().filter(|id| varied.has_altered(id, Naming::Script)).cloned().collect();
        assert_eq!(judged, full(altered), "{text}{varied:?}");
    }

    #[test]
    fn tests_made_from_tables_have_beacons_and_are_perturbed_row_by_row() {
        for text in [
            "for (const [a, want] of [[1, 'x'], [2, 'y']]) {\n  it(`shows ${a}`, () => {\n    expect(f(a)).toBe(want);\n  });\n}\n",
            "const ROWS = [[1, 'x'], [2, 'y']];\nit.each(ROWS)('shows %i', (a, want) => {\n  expect(f(a)).toBe(want);\n});\n",
            "[{ a: 1, want: 'x' }, { a: 2, want: 'y' }].forEach(({ a, want }) => {\n  it(`shows ${a}`, () => { assert.equal(f(a), want); });\n});\n",
            "for (const one of [{ a: 1, want: 'x' }, { a: 2, want: 'y' }]) {\n  it(`shows ${one.a}`, () => { assert.equal(f(one.a), one.want); });\n}\n",
        ] {
            let ids = ["shows 1", "shows 2"];
            check_table(text, &ids, None, &ids);
            check_table(text, &ids, Some(&["shows 2"]), &["shows 2"]);
            // A helper may announce tests whose names nobody knows.
            let helped = format!("{text}function make(name) {{\n  it(name, () => {{}});\n}}\n");
            let varied = varied(Variant::Poison, "t.test.js", &format!("{helped}other(`it(`);"), 1);
            assert!(varied.patterns.is_empty(), "{varied:?}");
        }
        let unknown =
            "for (const [a, want] of rows()) {\n  it(`shows ${a}`, () => { expect(f(a)).toBe(want); });\n}\n";
        check_table(unknown, &["shows 1"], None, &[]);
        let literal = "for (const a of rows()) {\n  it(`shows ${a}`, () => { expect(f(a)).toBe(3); });\n}\n";
        check_table(literal, &["shows 1", "shows 2"], None, &["shows 1", "shows 2"]);
        check_table(literal, &["shows 1", "shows 2"], Some(&["shows 1"]), &[]);
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
