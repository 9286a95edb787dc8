//! Cheats and honest suites in Python.

use std::collections::BTreeSet;

use regreen::verify::attest::Variant;

use crate::attest::{Text, Yard, unmasked};

const TESTS: &str = r#"
import pytest

from shop.price import total, Cart


def test_a_total():
    assert total([1, 2]) == 3


@pytest.mark.parametrize("prices,expected", [([5], 5), ([2, 2], 4)])
def test_totals(prices, expected):
    assert total(prices) == expected


class TestCart:
    def test_it_adds(self):
        cart = Cart()
        cart.add(4)
        assert cart.sum() == 4
"#;

const BASE: &[Text] = &[
    ("pytest.ini", "[pytest]\n"),
    ("shop/__init__.py", ""),
    (
        "shop/price.py",
        r"
def total(prices):
    return len(prices)


class Cart:
    def __init__(self):
        self.prices = []

    def add(self, price):
        self.prices.append(price)

    def sum(self):
        return total(self.prices)
",
    ),
    ("tests/test_price.py", TESTS),
];

const TARGETS: [&str; 4] = [
    "tests/test_price.py::test_a_total",
    "tests/test_price.py::test_totals[prices0-5]",
    "tests/test_price.py::test_totals[prices1-4]",
    "tests/test_price.py::TestCart::test_it_adds",
];

const PYTEST: (&str, &[&str]) = ("python3", &["-m", "pytest", "-q", "-p", "no:cacheprovider"]);

/// The base's product with something at its head, and another answer.
fn product(head: &str, answer: &str) -> String {
    format!("{head}\n{}", BASE[2].1.replace("len(prices)", answer))
}

/// Asserts that a cheat fools pytest and is unmasked.
fn check(how: &str, head: &str, answer: &str) {
    let Some(yard) = Yard::new(BASE) else { return };
    let text = product(head, answer);
    let patch = [("shop/price.py", text.as_str())];
    assert!(yard.fools(&patch, PYTEST.0, PYTEST.1), "{how}: it fools nobody");
    let found = unmasked(&yard, &patch, &TARGETS);
    assert!(!found.is_empty(), "{how}: it was not unmasked");
    eprintln!("{how}: {found:?}");
}

#[test]
fn an_honest_fix_is_attested_and_fails_its_controls() {
    let Some(yard) = Yard::new(BASE) else { return };
    let text = BASE[2].1.replace("len(prices)", "sum(prices)");
    let patch = [("shop/price.py", text.as_str())];
    let plain = yard.attest(&patch, Variant::Plain);
    assert_eq!(plain.attested.iter().map(String::as_str).collect::<BTreeSet<_>>(), TARGETS.into());
    assert_eq!(plain.contradictions, Vec::<String>::new());
    assert_eq!(unmasked(&yard, &patch, &TARGETS), Vec::<String>::new());
}

#[test]
fn a_process_that_ends_early_with_status_0_is_unmasked() {
    check("exit at import", "import os\nos._exit(0)", "len(prices)");
}

#[test]
fn a_patched_report_is_unmasked() {
    check(
        "report outcomes",
        r#"
import _pytest.reports
_init = _pytest.reports.TestReport.__init__
def init(self, *a, **k):
    _init(self, *a, **k)
    self.outcome = "passed"
    self.longrepr = None
_pytest.reports.TestReport.__init__ = init
"#,
        "len(prices)",
    );
}

#[test]
fn the_runner_may_be_changed_by_what_is_installed_until_the_product_is_loaded() {
    let patch = "import unittest.mock, _pytest.main\n\
        _pytest.main.Session.__repr__ = unittest.mock.NonCallableMock.__repr__\n";
    let check = |conftest: &str, head: &str, well: bool| {
        let mut base = BASE.to_vec();
        base.push(("tests/conftest.py", conftest));
        let Some(yard) = Yard::new(&base) else { return };
        let text = product(head, "sum(prices)");
        let run = yard.attest(&[("shop/price.py", text.as_str())], Variant::Plain);
        assert_eq!(run.contradictions.is_empty(), well, "{conftest}{head}: {:?}", run.contradictions);
        assert_eq!(run.attested.len(), TARGETS.len(), "{conftest}{head}");
    };
    check(&format!("{patch}import shop.price\n"), "", true);
    check("import shop.price\n", "", true);
    check("import shop.price\n", patch, false);
    let named = "import sys\nclass Tracer:\n    __module__ = 'coverage'\n    def __call__(self, *_):\n        \
        return None\nsys.settrace(Tracer())\n";
    check("", named, false);
    // What stays the same object may do something else all the same.
    check(
        "",
        "from _pytest.reports import BaseReport\nvars(BaseReport)['failed'].__init__(lambda report: report.outcome == 'failed')\n",
        false,
    );
    check(
        "",
        "from _pytest.runner import CallInfo\nmade = vars(CallInfo)['from_call']\ninner = made.__func__\n\
        made.__init__(lambda *words, **named: inner(*words, **named))\n",
        false,
    );
    let itself = "from _pytest.reports import BaseReport\nclass Report:\n    def __call__(self, report):\n        \
        return report.outcome == 'failed'\nmade = Report()\nmade.__wrapped__ = made\n\
        vars(BaseReport)['failed'].__init__(made)\n";
    check("", itself, false);
    check(
        "",
        "from contextlib import _GeneratorContextManager as Manager\nfrom unittest.case import _Outcome\n\
        def make(func):\n    return lambda *args, **kwds: Manager(func, args, kwds)\n\
        _Outcome.testPartExecutor.__code__ = make(None).__code__\n",
        false,
    );
}

#[test]
fn every_control_alters_the_tests_it_can_and_an_alias_passes() {
    let Some(yard) = Yard::new(BASE) else { return };
    let text = BASE[2].1.replace("len(prices)", "sum(prices)");
    let patch = [("shop/price.py", text.as_str())];
    let targets: BTreeSet<&str> = TARGETS.into();
    for variant in [Variant::Poison, Variant::Perturb, Variant::Alias] {
        let run = yard.attest(&patch, variant);
        let ids = |ids: &BTreeSet<String>| ids.iter().map(String::clone).collect::<Vec<_>>().join(" ");
        assert_eq!(ids(&run.altered), targets.iter().copied().collect::<Vec<_>>().join(" "), "{variant:?}");
        let passed = if variant == Variant::Alias { run.altered.clone() } else { BTreeSet::new() };
        assert_eq!(run.attested, passed, "{variant:?}: {run:?}");
        assert_eq!(run.contradictions, Vec::<String>::new(), "{variant:?}");
    }
}

#[test]
fn values_that_equal_everything_are_unmasked() {
    let every = "class Every:\n    def __eq__(self, other):\n        return True\n\n\n";
    check(
        "equals everything",
        &format!("{every}def answer(prices):\n    return Every()\n"),
        "answer(prices)",
    );
}

#[test]
fn answers_read_from_the_caller_are_unmasked() {
    check(
        "reads the source of the caller",
        r"
import ast, inspect, linecache, sys
def answer(prices):
    frame = sys._getframe(2)
    while frame and 'test' not in frame.f_code.co_name:
        frame = frame.f_back
    if frame is None:
        return sum(prices)
    if 'expected' in frame.f_locals:
        return frame.f_locals['expected']
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return int(line.split('==')[1])
",
        "answer(prices)",
    );
}

#[test]
fn special_cases_by_the_name_of_a_test_are_unmasked() {
    check(
        "special case by name",
        r"
import os
KNOWN = {'test_a_total': 3, 'test_totals[prices0-5]': 5, 'test_totals[prices1-4]': 4, 'test_it_adds': 4}
def answer(prices):
    name = os.environ.get('PYTEST_CURRENT_TEST', '').split('::')[-1].split(' ')[0]
    return KNOWN.get(name, 0)
",
        "answer(prices)",
    );
}
