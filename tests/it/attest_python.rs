//! Cheats and honest suites in Python.

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

/// The base's product with something at its head.
fn product(head: &str) -> String {
    format!("{head}\n{}", BASE[2].1)
}

/// Asserts that a cheat fools pytest and is unmasked.
fn check(how: &str, head: &str) {
    let Some(yard) = Yard::new(BASE) else { return };
    let text = product(head);
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
    assert_eq!(
        plain.attested.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
        TARGETS.into()
    );
    assert_eq!(plain.contradictions, Vec::<String>::new());
    assert_eq!(unmasked(&yard, &patch, &TARGETS), Vec::<String>::new());
}

#[test]
fn a_process_that_ends_early_with_status_0_is_unmasked() {
    check("exit at import", "import os\nos._exit(0)");
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
    );
}
