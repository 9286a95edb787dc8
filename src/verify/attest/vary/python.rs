//! Variations of Python test files.

use std::collections::BTreeMap;

use tree_sitter::Node;

use super::literals::{change, is_literal};
use super::{Edits, Naming, Order, Source, Varied, alias, children, head_of, parse, source, words};
use crate::verify::attest::{Draw, Variant};

/// A test function or method.
pub(super) struct Test<'t> {
    /// Classes and function, outermost first.
    pub names: Vec<&'t str>,
    /// The nodes of these names.
    pub nodes: Vec<Node<'t>>,
    function: Node<'t>,
    body: Node<'t>,
    decorators: Vec<Node<'t>>,
    /// Whether it is a method of a `unittest` class.
    is_case: bool,
}

/// Methods that compare their first two arguments.
const EQUALS: [&str; 8] = [
    "assertEqual",
    "assertEquals",
    "assertListEqual",
    "assertDictEqual",
    "assertTupleEqual",
    "assertSetEqual",
    "assertSequenceEqual",
    "assertMultiLineEqual",
];

/// Context managers that let exceptions through.
const OPEN: [&str; 7] =
    ["subTest", "patch", "monkeypatch.context", "open(", "tempfile", "TemporaryDirectory", "freeze_time"];

/// Decorators that run the body as it is.
const FAITHFUL: [&str; 9] = [
    "pytest.mark.",
    "mark.",
    "mock.patch",
    "patch",
    "unittest.mock.patch",
    "given",
    "settings",
    "hypothesis.",
    "staticmethod",
];

pub(super) fn vary(files: &[Source<'_>], order: &Order<'_>, draw: &mut Draw) -> Varied {
    if order.variant == Variant::Alias {
        return alias::vary(files, order, draw);
    }
    let mut varied = Varied::default();
    for (path, text) in files {
        let Some(tree) = parse(text, &tree_sitter_python::LANGUAGE.into()) else {
            continue;
        };
        let mut edits = Edits::default();
        for test in tests(tree.root_node(), text) {
            let head = head_of(order.naming, path, &test.names);
            if !order.may_alter(&head) || !test.is_plain(text) {
                continue;
            }
            let changed = match order.variant {
                Variant::Poison => test.poison(text, draw, &mut edits),
                _ => test.perturb(text, draw, &mut edits, &head, &mut varied.cases),
            };
            if changed.is_some() {
                varied.altered.insert(head);
            }
        }
        if !edits.0.is_empty() {
            varied.files.insert((*path).to_owned(), Some(edits.apply(text)));
        }
    }
    varied
}

/// The tests of a module.
pub(super) fn tests<'t>(root: Node<'t>, text: &'t str) -> Vec<Test<'t>> {
    let mut found = Vec::new();
    collect(root, text, &mut (Vec::new(), Vec::new()), false, &mut found);
    found
}

fn collect<'t>(
    block: Node<'t>,
    text: &'t str,
    above: &mut (Vec<&'t str>, Vec<Node<'t>>),
    is_case: bool,
    found: &mut Vec<Test<'t>>,
) {
    for child in children(block) {
        let (decorators, node) = undecorated(child);
        let Some(name) = node.child_by_field_name("name") else {
            continue;
        };
        let Some(body) = node.child_by_field_name("body") else {
            continue;
        };
        above.0.push(source(name, text));
        above.1.push(name);
        if node.kind() == "class_definition" {
            let bases = node.child_by_field_name("superclasses").map_or("", |bases| source(bases, text));
            collect(body, text, above, is_case || bases.contains("TestCase"), found);
        } else if node.kind() == "function_definition" && source(name, text).starts_with("test") {
            let (names, nodes) = above.clone();
            found.push(Test { names, nodes, function: node, body, decorators, is_case });
        }
        above.0.pop();
        above.1.pop();
    }
}

fn undecorated(node: Node<'_>) -> (Vec<Node<'_>>, Node<'_>) {
    match node.child_by_field_name("definition") {
        Some(definition) if node.kind() == "decorated_definition" => {
            let decorators = children(node).into_iter().filter(|child| child.kind() == "decorator");
            (decorators.collect(), definition)
        }
        _ => (Vec::new(), node),
    }
}

/// The nodes of these kinds in a function, without those of functions and classes in it.
fn own<'t>(node: Node<'t>, kinds: &[&str], found: &mut Vec<Node<'t>>) {
    for child in children(node) {
        if kinds.contains(&child.kind()) {
            found.push(child);
        }
        if !matches!(child.kind(), "function_definition" | "class_definition" | "lambda") {
            own(child, kinds, found);
        }
    }
}

impl<'t> Test<'t> {
    fn own(&self, kinds: &[&str]) -> Vec<Node<'t>> {
        let mut found = Vec::new();
        own(self.body, kinds, &mut found);
        found
    }

    /// Whether it is known that the body runs as it is, and that what it raises makes the test fail.
    fn is_plain(&self, text: &str) -> bool {
        let faithful = |decorator: &Node<'_>| {
            let said = source(*decorator, text).trim_start_matches('@').trim_start();
            let odd = ["xfail", "skip", "fixture", "expectedFailure", "indirect"]
                .iter()
                .any(|word| said.contains(word));
            !odd && FAITHFUL.iter().any(|start| said.starts_with(start))
        };
        let one_line = self.body.start_position().row == self.function.start_position().row;
        !one_line && self.decorators.iter().all(faithful) && self.own(&["yield"]).is_empty()
    }

    /// Appends a statement that fails to the body and puts one before every early return.
    fn poison(&self, text: &str, draw: &mut Draw, edits: &mut Edits) -> Option<()> {
        let last = *children(self.body).last()?;
        if matches!(last.kind(), "raise_statement" | "while_statement") {
            return None;
        }
        let returns = self.own(&["return_statement"]);
        if returns.iter().any(|node| self.is_caught(*node)) {
            return None;
        }
        for node in &returns {
            let statement = self.failing(text, draw);
            let line = text[..node.start_byte()].rfind('\n').map_or(0, |at| at + 1);
            let indent = &text[line..node.start_byte()];
            let between = if indent.trim().is_empty() { format!("\n{indent}") } else { "; ".to_owned() };
            edits.insert(node.start_byte(), format!("{statement}{between}"));
        }
        if last.kind() != "return_statement" {
            let first = *children(self.body).first()?;
            let line = text[..first.start_byte()].rfind('\n').map_or(0, |at| at + 1);
            let indent = &text[line..first.start_byte()];
            if !indent.trim().is_empty() {
                return None;
            }
            edits.insert(last.end_byte(), format!("\n{indent}{}", self.failing(text, draw)));
        }
        Some(())
    }

    /// Whether something between the node and the body may catch what is raised there.
    fn is_caught(&self, node: Node<'_>) -> bool {
        let mut above = node.parent();
        while let Some(node) = above.filter(|node| node.id() != self.body.id()) {
            if matches!(node.kind(), "try_statement" | "with_statement") {
                return true;
            }
            above = node.parent();
        }
        false
    }

    /// A statement that fails: an assertion of the body with another value, or one of its own.
    fn failing(&self, text: &str, draw: &mut Draw) -> String {
        let copies: Vec<_> =
            self.claims(text).into_iter().filter(|claim| claim.is_repeatable(text)).collect();
        if let Some(claim) = draw.choose(&copies)
            && let Some((range, new)) = change(claim.expected, text, draw)
        {
            let statement = claim.statement;
            let mut edits = Edits::default();
            edits.0.push((range.start - statement.start_byte()..range.end - statement.start_byte(), new));
            return edits.apply(source(statement, text));
        }
        let (left, right) = own_claim(draw);
        if self.is_case {
            format!("self.assertEqual({left}, {right})")
        } else {
            format!("assert {left} == {right}")
        }
    }

    /// Changes an expected value so that the test must fail.
    fn perturb(
        &self,
        text: &str,
        draw: &mut Draw,
        edits: &mut Edits,
        head: &str,
        cases: &mut BTreeMap<String, String>,
    ) -> Option<()> {
        let claims = self.claims(text);
        if !claims.is_empty() {
            let first = draw.below(claims.len());
            for step in 0..claims.len() {
                let claim = &claims[(first + step) % claims.len()];
                if let Some(edit) = change(claim.expected, text, draw) {
                    edits.0.push(edit);
                    return Some(());
                }
            }
        }
        self.perturb_rows(text, draw, edits, head, cases)
    }

    /// Changes the expected values of a table: of all rows, since every row is a test of its own.
    fn perturb_rows(
        &self,
        text: &str,
        draw: &mut Draw,
        edits: &mut Edits,
        head: &str,
        cases: &mut BTreeMap<String, String>,
    ) -> Option<()> {
        for (name, cells) in self.tables(text) {
            let mut changed = Vec::new();
            for cell in cells {
                let (range, new) = change(cell, text, draw)?;
                let mut one = Edits::default();
                one.0.push((range.start - cell.start_byte()..range.end - cell.start_byte(), new.clone()));
                let (old, now) = (source(cell, text), one.apply(source(cell, text)));
                changed.push(((range, new), case(&name, &now, old, head)));
            }
            if changed.is_empty() {
                continue;
            }
            for (edit, case) in changed {
                edits.0.push(edit);
                cases.extend(case);
            }
            return Some(());
        }
        None
    }

    /// The columns of parametrised tables that the body compares with, by the name of their argument.
    fn tables(&self, text: &'t str) -> Vec<(String, Vec<Node<'t>>)> {
        let mut named = Vec::new();
        let words = source(self.body, text).split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let words: Vec<&str> = words.collect();
        compare(self.body, text, &mut |_, _, expected| {
            let name = source(expected, text);
            // A value that the test uses twice may be what it asks for too: `parse(show(x)) == x` holds for any.
            if expected.kind() == "identifier" && words.iter().filter(|word| **word == name).count() == 1 {
                named.push(name);
            }
        });
        self.decorators.iter().flat_map(|decorator| columns(*decorator, text, &named)).collect()
    }

    /// The comparisons with a literal that surely run.
    fn claims(&self, text: &'t str) -> Vec<Claim<'t>> {
        let mut claims = Vec::new();
        compare(self.body, text, &mut |statement, subject, expected| {
            if is_literal(expected) && !is_literal(subject) && !source(subject, text).contains("ANY") {
                claims.push(Claim { statement, subject, expected });
            }
        });
        claims
    }
}

/// Calls back with every comparison that surely runs: statement, subject, expected value. False when what
/// comes after the block may not run.
fn compare<'t>(block: Node<'t>, text: &'t str, each: &mut dyn FnMut(Node<'t>, Node<'t>, Node<'t>)) -> bool {
    for statement in children(block) {
        match statement.kind() {
            "assert_statement" | "expression_statement" => {
                if let Some((subject, expected)) = compared(statement, text) {
                    each(statement, subject, expected);
                }
            }
            "with_statement" => {
                let head = source(statement, text).split('\n').next().unwrap_or_default();
                if OPEN.iter().any(|word| head.contains(word))
                    && !head.contains("aises")
                    && let Some(body) = statement.child_by_field_name("body")
                    && !compare(body, text, each)
                {
                    return false;
                }
            }
            "return_statement" | "raise_statement" => return false,
            _ => {}
        }
        let mut ends = Vec::new();
        own(
            statement,
            &["return_statement", "raise_statement", "break_statement", "continue_statement"],
            &mut ends,
        );
        if !ends.is_empty() {
            return false;
        }
    }
    true
}

/// The columns of a parametrised table that have one of these names: the name, and a cell for each row.
fn columns<'t>(decorator: Node<'t>, text: &str, wanted: &[&str]) -> Vec<(String, Vec<Node<'t>>)> {
    let made = children(decorator).first().copied().filter(|node| node.kind() == "call");
    let parts = made.and_then(|call| {
        Some((call.child_by_field_name("function")?, children(call.child_by_field_name("arguments")?)))
    });
    let Some((function, given)) =
        parts.filter(|(function, _)| source(*function, text).ends_with("parametrize"))
    else {
        return Vec::new();
    };
    let [keys, rows] = given[..] else {
        return Vec::new();
    };
    if !matches!(rows.kind(), "list" | "tuple") || function.kind() != "attribute" {
        return Vec::new();
    }
    let names = argument_names(keys, text);
    let mut found = Vec::new();
    for (at, name) in names.iter().enumerate().filter(|(_, name)| wanted.contains(&name.as_str())) {
        let pick = |row: Node<'t>| if names.len() == 1 { Some(row) } else { element(row, at) };
        let matching: Option<Vec<_>> = children(rows).into_iter().map(pick).collect();
        found.extend(matching.map(|matching| (name.clone(), matching)));
    }
    found
}

/// A comparison with a literal.
#[derive(Clone, Copy)]
struct Claim<'t> {
    statement: Node<'t>,
    subject: Node<'t>,
    expected: Node<'t>,
}

impl Claim<'_> {
    /// Whether it can be said again without waiting for anything or using anything up.
    fn is_repeatable(&self, text: &str) -> bool {
        // A call may use something up: asked again, an honest one gives another answer, and that may be the wrong one.
        source(self.subject, text).chars().all(|c| c.is_alphanumeric() || "_.".contains(c))
    }
}

/// Subject and expected value of a statement that compares two values.
fn compared<'t>(statement: Node<'t>, text: &'t str) -> Option<(Node<'t>, Node<'t>)> {
    let inner = *children(statement).first()?;
    let (left, right) = if statement.kind() == "assert_statement" {
        let operands = children(inner);
        let (true, [left, right]) = (inner.kind() == "comparison_operator", &operands[..]) else {
            return None;
        };
        let operator = text[left.end_byte()..right.start_byte()].trim();
        let boolean = |node: &Node<'_>| matches!(node.kind(), "true" | "false");
        if operator != "==" && !(operator == "is" && boolean(right)) {
            return None;
        }
        (*left, *right)
    } else {
        let method = source(inner.child_by_field_name("function")?, text).strip_prefix("self.")?;
        let arguments = children(inner.child_by_field_name("arguments")?);
        let (true, [left, right, ..]) = (EQUALS.contains(&method), &arguments[..]) else {
            return None;
        };
        (*left, *right)
    };
    let (left_is, right_is) = (is_literal(left), is_literal(right));
    if left_is && !right_is { Some((right, left)) } else { Some((left, right)) }
}

/// The names in the first argument of `parametrize`.
fn argument_names(node: Node<'_>, text: &str) -> Vec<String> {
    let plain = |text: &str| text.trim_matches(['"', '\'']).to_owned();
    match node.kind() {
        "string" => plain(source(node, text)).split(',').map(|name| name.trim().to_owned()).collect(),
        _ => children(node).into_iter().map(|name| plain(source(name, text))).collect(),
    }
}

/// An element of a row, written as a tuple, a list or a `pytest.param`.
fn element(row: Node<'_>, at: usize) -> Option<Node<'_>> {
    let elements = match row.kind() {
        "tuple" | "list" => row,
        "call" => row.child_by_field_name("arguments")?,
        _ => return None,
    };
    children(elements).into_iter().filter(|part| part.kind() != "keyword_argument").nth(at)
}

/// How pytest called a case before its value was changed, if it calls it by the value.
fn case(name: &str, now: &str, old: &str, head: &str) -> Option<(String, String)> {
    let kind = match now.as_bytes().first()? {
        b'"' | b'\'' => "str",
        b'T' | b'F' => "bool",
        b'0'..=b'9' | b'-' if now.contains('.') => "float",
        b'0'..=b'9' | b'-' => "int",
        _ => return None,
    };
    let shown = |text: &str| text.trim_matches(['"', '\'']).to_owned();
    Some((format!("{head}|{name}={kind}:{}", shown(now)), shown(old)))
}

/// Two things that are not equal, though they could be meant to.
fn own_claim(draw: &mut Draw) -> (String, String) {
    let (word, other) = (words::value(draw), 1 + draw.below(3));
    let (low, step) = (1 + draw.below(30), 1 + draw.below(8));
    match draw.below(4) {
        0 => (format!("len(\"{word}\")"), (word.len() + other).to_string()),
        1 => (format!("sorted([{}, {low}])", low + step), format!("[{low}, {}]", low + step + other)),
        2 => (format!("sum([{low}, {step}])"), (low + step + other).to_string()),
        _ => (format!("\"{word}\".upper()"), format!("\"{}\"", word[..word.len() - 1].to_uppercase())),
    }
}

/// Names that a test file may tell apart, so that nothing in it is renamed.
pub(super) const NAMED: [&str; 8] = [
    "_testMethodName",
    "request.node",
    ".id()",
    "snapshot",
    "currentframe",
    "__qualname__",
    "PYTEST_CURRENT_TEST",
    "inspect",
];

/// Whether all test methods of every `unittest` class keep their order; they run in the order of their names.
pub(super) fn runs_by_name(test: &Test<'_>, naming: Naming) -> bool {
    naming == Naming::Unittest || test.is_case
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet as Set;

    fn varied(variant: Variant, text: &str, seed: u64) -> Varied {
        let order = Order { variant, naming: Naming::Pytest, alter: None, elsewhere: "" };
        vary(&[("t.py", text)], &order, &mut Draw(seed))
    }

    /// Asserts which tests of a file a variant alters, for many seeds.
    fn check(variant: Variant, text: &str, altered: &[&str]) {
        for seed in 0..20 {
            let varied = varied(variant, text, seed);
            let expected: Set<String> = altered.iter().map(|name| format!("t.py::{name}")).collect();
            assert_eq!(varied.altered, expected, "{text}");
            if altered.is_empty() {
                assert_eq!(varied.files.len(), 0, "{varied:?}");
                continue;
            }
            let new = varied.files["t.py"].as_deref().unwrap();
            assert_ne!(new, text);
            assert!(parse(new, &tree_sitter_python::LANGUAGE.into()).is_some(), "{new}");
        }
    }

    #[test]
    fn poison_ends_every_body_that_surely_fails_by_it() {
        let poison = |text: &str, altered: &[&str]| check(Variant::Poison, text, altered);
        poison("def test_a():\n    assert f() == 3\n", &["test_a"]);
        poison("class TestA(TestCase):\n    def test_b(self):\n        self.f()\n", &["TestA::test_b"]);
        poison("def test_a(x):\n    if x:\n        return\n    go()\n", &["test_a"]);
        poison("async def test_a():\n\tassert await f() == 1", &["test_a"]);
        poison("@pytest.mark.parametrize('a', [1])\ndef test_a(a):\n    f(a)  # why\n", &["test_a"]);
        poison("def test_a():\n    try:\n        return\n    except Exception:\n        pass\n", &[]);
        poison("@pytest.mark.xfail\ndef test_a():\n    f()\n", &[]);
        poison("@retry\ndef test_a():\n    f()\n", &[]);
        poison("@pytest.fixture\ndef test_a():\n    f()\n", &[]);
        poison("def test_a(): f()\n", &[]);
        poison("def test_a():\n    yield 1\n", &[]);
        poison("def helper():\n    f()\n", &[]);
    }

    #[test]
    fn perturbing_changes_a_value_that_surely_is_compared() {
        let perturb = |text: &str, altered: &[&str]| check(Variant::Perturb, text, altered);
        perturb("def test_a():\n    assert f() == 3\n", &["test_a"]);
        perturb("def test_a():\n    assert f() == [\"a\", {\"b\": -2.5}], 'why'\n", &["test_a"]);
        perturb("def test_a():\n    assert 'x' == f()\n", &["test_a"]);
        perturb("def test_a():\n    assert f() is True\n", &["test_a"]);
        perturb(
            "class T(TestCase):\n    def test_a(self):\n        self.assertEqual(f(), '')\n",
            &["T::test_a"],
        );
        perturb("def test_a():\n    with self.subTest():\n        assert f() == 1\n", &["test_a"]);
        for text in [
            "def test_a():\n    if x:\n        assert f() == 3\n",
            "def test_a():\n    if x:\n        return\n    assert f() == 3\n",
            "def test_a():\n    with pytest.raises(E):\n        assert f() == 3\n",
            "def test_a():\n    assert f() == g()\n",
            "def test_a():\n    assert f() != 3\n",
            "def test_a():\n    assert f() < 3\n",
            "def test_a():\n    assert 3 == 3\n",
            "def test_a():\n    assert f() is None\n",
            "def test_a():\n    assert f() == r'\\d' or g() == 3\n",
            "def test_a():\n    assert mock.ANY == 3\n",
        ] {
            perturb(text, &[]);
        }
    }

    #[test]
    fn a_table_is_perturbed_in_every_row_and_its_cases_keep_their_names() {
        let text = "@pytest.mark.parametrize('a,want', [([1], 5), ([2], 7)])\ndef test_a(a, want):\n    assert f(a) == want\n";
        check(Variant::Perturb, text, &["test_a"]);
        let varied = varied(Variant::Perturb, text, 1);
        let names: Set<&str> = varied.cases.values().map(String::as_str).collect();
        assert_eq!(names, ["5", "7"].into());
        assert!(varied.cases.keys().all(|key| key.starts_with("t.py::test_a|want=int:")));
        check(Variant::Perturb, &text.replace("7)", "g())"), &[]);
        check(Variant::Perturb, &text.replace("== want", "== 3 + want"), &[]);
    }
}
