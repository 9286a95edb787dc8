//! Variations of Python test files.

use std::collections::BTreeSet;

use tree_sitter::Node;

use super::literals::{change, is_literal};
use super::tables::{Column, columns, element, literal, resolved};
use super::{
    Edits, Naming, Order, Source, Varied, alias, children, head_of, parse, source, word_count, words,
};
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

/// Methods that do so only when they are given nothing else.
const ALMOST: [&str; 1] = ["assertAlmostEqual"];

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
            if order.variant != Variant::Poison {
                test.perturb(text, draw, &mut edits, &head, order, &mut varied);
            } else if order.takes_all_of(&head) && test.poison(text, draw, &mut edits).is_some() {
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
            let statement = self.own_failing(draw);
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

    /// A statement that fails at the end of the body: an assertion that stands there with another value, or one of
    /// its own.
    fn failing(&self, text: &str, draw: &mut Draw) -> String {
        let mut copies = self.claims(text);
        copies.retain(|claim| claim.is_repeatable(text));
        // What else is done since an assertion may have made the other value true.
        let is_copied = |id: &usize| copies.iter().any(|claim| claim.statement.id() == *id);
        let last: Vec<usize> = children(self.body).iter().rev().map(Node::id).take_while(is_copied).collect();
        copies.retain(|claim| last.contains(&claim.statement.id()));
        if let Some(claim) = draw.choose(&copies)
            && let Some((range, new)) = change(claim.expected, text, draw)
        {
            let statement = claim.statement;
            let mut edits = Edits::default();
            edits.0.push((range.start - statement.start_byte()..range.end - statement.start_byte(), new));
            return edits.apply(source(statement, text));
        }
        self.own_failing(draw)
    }

    /// A statement that fails wherever it stands.
    fn own_failing(&self, draw: &mut Draw) -> String {
        let (left, right) = own_claim(draw);
        if self.is_case {
            format!("self.assertEqual({left}, {right})")
        } else {
            format!("assert {left} == {right}")
        }
    }

    /// Changes an expected value so that the test must fail: where the base fails, if it is known.
    fn perturb(
        &self,
        text: &str,
        draw: &mut Draw,
        edits: &mut Edits,
        head: &str,
        order: &Order<'_>,
        varied: &mut Varied,
    ) {
        if order.takes_all_of(head) {
            let claims = self.claims(text);
            for at in aimed(&claims, &order.lines(head), draw) {
                if let Some(edit) = change(claims[at].expected, text, draw) {
                    edits.0.push(edit);
                    varied.altered.insert(head.to_owned());
                    return;
                }
            }
        }
        self.perturb_rows(text, draw, edits, head, order, varied);
    }

    /// Changes the expected values of a table: of the rows that may be altered, since every row is a test of its own.
    fn perturb_rows(
        &self,
        text: &str,
        draw: &mut Draw,
        edits: &mut Edits,
        head: &str,
        order: &Order<'_>,
        varied: &mut Varied,
    ) {
        let (only, whole) = (order.cases(order.only, head), order.takes_all_of(head));
        for column in self.tables(text) {
            let Some(changed) = column.change(text, draw) else { continue };
            let old: BTreeSet<String> =
                changed.iter().filter_map(|cell| Some(format!("{head}{}", cell.ids.as_ref()?.0))).collect();
            let known = !old.is_empty() && only.iter().all(|id| old.contains(*id));
            if !known && !whole {
                continue;
            }
            for cell in changed {
                let ids = cell.ids.filter(|_| known);
                let ids = ids.map(|(old, new)| (format!("{head}{old}"), format!("{head}{new}")));
                let Some((old, new)) = ids else {
                    edits.0.push(cell.edit);
                    varied.altered.insert(head.to_owned());
                    continue;
                };
                if order.alter.is_none_or(|alter| alter.contains(&old)) {
                    edits.0.push(cell.edit);
                    varied.altered.insert(old.clone());
                    varied.cases.insert(new, old);
                }
            }
            return;
        }
    }

    /// The columns of parametrised tables that the body compares with.
    fn tables(&self, text: &'t str) -> Vec<Column<'t>> {
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
            if is_literal(subject) || source(subject, text).contains("ANY") {
                return;
            }
            if let Some(expected) = literal(expected, text) {
                claims.push(Claim { statement, subject, expected });
            }
        });
        for statement in children(self.body) {
            if !ends(statement).is_empty() {
                break;
            }
            if statement.kind() == "for_statement" {
                claims.extend(looped(statement, text).into_iter().flatten());
            }
        }
        claims
    }
}

/// The claims of a loop over a table that stands in the text, one for each row.
fn looped<'t>(statement: Node<'t>, text: &'t str) -> Option<Vec<Claim<'t>>> {
    let (left, right) = (statement.child_by_field_name("left")?, statement.child_by_field_name("right")?);
    let body = statement.child_by_field_name("body")?;
    let names: Vec<&str> = match left.kind() {
        "pattern_list" | "tuple_pattern" => children(left).iter().map(|name| source(*name, text)).collect(),
        _ => return None,
    };
    let rows = resolved(right, statement, text).filter(|rows| matches!(rows.kind(), "list" | "tuple"))?;
    let mut found = Vec::new();
    compare(body, text, &mut |statement, subject, expected| {
        let name = source(expected, text);
        let place =
            names.iter().position(|known| *known == name && word_count(source(body, text), name) == 1);
        let cells: Option<Vec<_>> =
            place.and_then(|at| children(rows).into_iter().map(|row| element(row, at)).collect());
        for expected in cells.into_iter().flatten().filter(|cell| is_literal(*cell)) {
            found.push(Claim { statement, subject, expected });
        }
    });
    Some(found)
}

/// What leaves a statement early.
fn ends(statement: Node<'_>) -> Vec<Node<'_>> {
    let mut ends = Vec::new();
    if matches!(statement.kind(), "return_statement" | "raise_statement") {
        ends.push(statement);
    }
    own(
        statement,
        &["return_statement", "raise_statement", "break_statement", "continue_statement"],
        &mut ends,
    );
    ends
}

/// An order to try claims in: those on the lines where the base fails first, each else as good as any other.
fn aimed(claims: &[Claim<'_>], lines: &BTreeSet<u32>, draw: &mut Draw) -> Vec<usize> {
    let first = draw.below(claims.len());
    let mut order: Vec<usize> = (0..claims.len()).map(|step| (first + step) % claims.len()).collect();
    let rows = |node: Node<'_>| node.start_position().row + 1..=node.end_position().row + 1;
    order.sort_by_key(|at| {
        let claim = &claims[*at];
        !lines.iter().any(|line| rows(claim.statement).contains(&(*line as usize)))
    });
    order
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
            _ => {}
        }
        if !ends(statement).is_empty() {
            return false;
        }
    }
    true
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
        // A cell of a table stands elsewhere.
        let here = self.statement.byte_range();
        here.contains(&self.expected.start_byte())
            && source(self.subject, text).chars().all(|c| c.is_alphanumeric() || "_.".contains(c))
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
        match &arguments[..] {
            [left, right] if ALMOST.contains(&method) => (*left, *right),
            [left, right, ..] if EQUALS.contains(&method) => (*left, *right),
            _ => return None,
        }
    };
    let (left_is, right_is) = (literal(left, text).is_some(), literal(right, text).is_some());
    if left_is && !right_is { Some((right, left)) } else { Some((left, right)) }
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
    use std::collections::{BTreeMap, BTreeSet as Set};

    fn varied(variant: Variant, text: &str, seed: u64) -> Varied {
        let lines = &BTreeMap::new();
        let order = Order { variant, naming: Naming::Pytest, alter: None, only: None, elsewhere: "", lines };
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
    fn poison_says_again_only_what_still_holds() {
        let text = "class TestA(TestCase):\n    def test_b(self):\n        self.assertEqual(a.n, 2)\n        a.go()\n        \
                    self.assertEqual(a.m, 5)\n        self.assertEqual(a.k, 7)\n";
        let copied = |name: &str| {
            let twice = |seed| {
                varied(Variant::Poison, text, seed).files["t.py"]
                    .as_deref()
                    .map(|new| new.matches(name).count())
            };
            (0..40).any(|seed| twice(seed) == Some(2))
        };
        assert!(!copied("a.n") && copied("a.m") && copied("a.k"));
        let early = "def test_a():\n    assert a.n == 2\n    if b:\n        return\n    a.go()\n";
        for seed in 0..40 {
            let varied = varied(Variant::Poison, early, seed);
            assert_eq!(varied.files["t.py"].as_deref().unwrap().matches("a.n").count(), 1, "{varied:?}");
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
    fn named_values_and_loops_over_tables_are_perturbed_where_nothing_else_uses_them() {
        let perturb = |text: &str, altered: &[&str]| check(Variant::Perturb, text, altered);
        perturb("WANT = [1, 2]\n\n\ndef test_a():\n    assert f() == WANT\n", &["test_a"]);
        perturb("def test_a():\n    want = {'a': 1}\n    assert f() == want\n", &["test_a"]);
        perturb("def test_a():\n    want = dedent('x y')\n    assert f() == want\n", &["test_a"]);
        perturb("def test_a():\n    assert f() == pytest.approx(0.5)\n", &["test_a"]);
        perturb("def test_a():\n    assert f() == Decimal('1.50')\n", &["test_a"]);
        let loops = "def test_a():\n    for a, want in [('x', 1), ('y', 2)]:\n        assert f(a) == want\n";
        perturb(loops, &["test_a"]);
        for text in [
            "WANT = 1\n\n\ndef test_a():\n    assert f(WANT) == WANT\n",
            "def test_a():\n    want = 1\n    go(want)\n    assert f() == want\n",
            "def test_a():\n    assert f() == pytest.approx(0.5, abs=9)\n",
            "def test_a():\n    assert f() == Point(1, 2)\n",
            &loops.replace("[('x', 1), ('y', 2)]", "rows()"),
            &loops.replace("== want", "== g(want)"),
            &loops.replace("assert f", "if a == 'x': continue\n        assert f"),
        ] {
            perturb(text, &[]);
        }
    }

    #[test]
    fn a_wrong_value_is_expected_where_the_base_fails() {
        let text = "def test_a():\n    assert f(1) == 1\n    assert f(2) == 2\n    assert f(3) == 3\n";
        let lines = BTreeMap::from([("t.py::test_a".to_owned(), Set::from([3]))]);
        let (variant, naming) = (Variant::Perturb, Naming::Pytest);
        let order = Order { variant, naming, alter: None, only: None, elsewhere: "", lines: &lines };
        for seed in 0..20 {
            let varied = vary(&[("t.py", text)], &order, &mut Draw(seed));
            let new = varied.files["t.py"].as_deref().unwrap();
            assert!(new.contains("f(1) == 1\n") && !new.contains("f(2) == 2\n"), "{new}");
        }
    }

    #[test]
    fn a_table_is_perturbed_in_the_rows_that_are_chosen() {
        let text = "@pytest.mark.parametrize('a,want', [([1], 5), ([2], 7)])\ndef test_a(a, want):\n    assert f(a) == want\n";
        let id = |row: &str| format!("t.py::test_a[{row}]");
        let both = Set::from([id("a0-5"), id("a1-7")]);
        let chosen = |text: &str, alter: Option<&Set<String>>, only: &Set<String>| {
            let (variant, naming, lines) = (Variant::Perturb, Naming::Pytest, &BTreeMap::new());
            let order = Order { variant, naming, alter, only: Some(only), elsewhere: "", lines };
            vary(&[("t.py", text)], &order, &mut Draw(1))
        };
        let all = chosen(text, None, &both);
        assert_eq!(all.altered, both);
        assert_eq!(all.cases.values().cloned().collect::<Set<_>>(), both);
        let one = Set::from([id("a1-7")]);
        let some = chosen(text, Some(&one), &both);
        assert_eq!(some.altered, one);
        let new = some.files["t.py"].as_deref().unwrap();
        assert!(new.contains("([1], 5)") && !new.contains("7)"), "{new}");
        // Rows that cannot be told apart are changed together or not at all.
        let named = text.replace("5), ([2], 7", "5), ([2], g()");
        assert_eq!(chosen(&named, Some(&one), &both).altered, Set::new());
        let other = Set::from([id("x"), id("y")]);
        assert_eq!(chosen(text, Some(&Set::from([id("x")])), &other).altered, Set::new());
        assert_eq!(chosen(text, Some(&other), &other).altered, ["t.py::test_a".to_owned()].into());
        check(Variant::Perturb, &text.replace("7)", "g())"), &[]);
        check(Variant::Perturb, &text.replace("== want", "== 3 + want"), &[]);
        let apart = text.replace("[([1], 5), ([2], 7)]", "ROWS");
        let apart = format!("ROWS = [([1], 5), ([2], 7)]\n\n\n{apart}");
        assert_eq!(chosen(&apart, None, &both).altered, both);
    }
}
