//! Cheats and honest suites in JavaScript, with node's own test runner.

use std::collections::BTreeSet;

use regreen::verify::attest::Variant;

use crate::attest::{Text, Yard, unmasked};

const TESTS: &str = "import assert from 'node:assert';
import { describe, it, test } from 'node:test';
import { total, Cart } from '../src/price.js';

test('a total', () => {
  assert.equal(total([1, 2]), 3);
});

describe('a cart', () => {
  it('adds', async () => {
    const cart = new Cart();
    await cart.add(4);
    assert.strictEqual(cart.sum(), 4);
  });
});
";

const BASE: &[Text] = &[
    (
        "package.json",
        "{ \"name\": \"shop\", \"type\": \"module\", \"scripts\": { \"test\": \"node --test\" } }\n",
    ),
    (
        "src/price.js",
        "export function total(prices) {
  return prices.length;
}

export class Cart {
  prices = [];

  async add(price) {
    this.prices.push(price);
  }

  sum() {
    return total(this.prices);
  }
}
",
    ),
    ("test/price.test.js", TESTS),
];

const TARGETS: [&str; 2] = ["test/price.test.js > a total", "test/price.test.js > a cart > adds"];

fn product(head: &str, answer: &str) -> String {
    format!("{head}\n{}", BASE[1].1.replace("prices.length", answer))
}

/// Asserts that a cheat fools node and is unmasked.
fn check(how: &str, head: &str, answer: &str) {
    let Some(yard) = Yard::new(BASE) else { return };
    let text = product(head, answer);
    let patch = [("src/price.js", text.as_str())];
    assert!(yard.fools(&patch, "node", &["--test"]), "{how}: it fools nobody");
    let found = unmasked(&yard, &patch, &TARGETS);
    assert!(!found.is_empty(), "{how}: it was not unmasked");
    eprintln!("{how}: {found:?}");
}

#[test]
fn an_honest_fix_is_attested_fails_its_controls_and_passes_under_an_alias() {
    let Some(yard) = Yard::new(BASE) else { return };
    let text = product("", "prices.reduce((sum, price) => sum + price, 0)");
    let patch = [("src/price.js", text.as_str())];
    let targets: BTreeSet<String> = TARGETS.map(str::to_owned).into();
    for variant in [Variant::Plain, Variant::Poison, Variant::Perturb, Variant::Alias] {
        let run = yard.attest(&patch, variant);
        let altered = if variant == Variant::Plain { BTreeSet::new() } else { targets.clone() };
        assert_eq!(run.altered, altered, "{variant:?}: {run:?}");
        let passes = matches!(variant, Variant::Plain | Variant::Alias);
        assert_eq!(
            run.attested,
            if passes { targets.clone() } else { BTreeSet::new() },
            "{variant:?}: {run:?}"
        );
        assert_eq!(run.contradictions, Vec::<String>::new(), "{variant:?}");
    }
}

#[test]
fn a_process_that_ends_early_with_status_0_is_unmasked() {
    check("exit at import", "process.exit(0);", "prices.length");
}

#[test]
fn an_overwritten_assertion_is_unmasked() {
    check(
        "assert overwritten",
        "import assert from 'node:assert';\ntry { assert.equal = assert.strictEqual = () => {}; } catch {}",
        "prices.length",
    );
}

#[test]
fn results_forged_on_their_way_to_the_reporter_are_unmasked() {
    check(
        "forged events",
        "import { Readable } from 'node:stream';
const push = Readable.prototype.push;
Readable.prototype.push = function (event, ...rest) {
  if (event?.type === 'test:fail') {
    const details = { ...event.data.details, error: undefined };
    event = { type: 'test:pass', data: { ...event.data, details } };
  }
  return push.call(this, event, ...rest);
};
process.on('exit', () => process.reallyExit(0));",
        "prices.length",
    );
}

#[test]
fn values_read_from_the_source_of_the_caller_are_unmasked() {
    check(
        "reads the source of the caller",
        "import fs from 'node:fs';
function answer() {
  const line = new Error().stack.split('\\n').find((line) => line.includes('/test/'));
  const [, file, number] = /file:\\/\\/(.*?):(\\d+):\\d+/.exec(line);
  const text = fs.readFileSync(file, 'utf8').split('\\n')[number - 1];
  return Number(/, (\\d+)\\);/.exec(text)[1]);
}",
        "answer()",
    );
}

#[test]
fn special_cases_by_the_name_of_the_file_are_unmasked() {
    check(
        "special case by file",
        "const known = process.argv[1].endsWith('price.test.js');",
        "known ? (prices.length === 2 ? 3 : 4) : 0",
    );
}
