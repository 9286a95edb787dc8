//! Cheats and honest suites in Rust.

use std::collections::BTreeSet;

use regreen::verify::attest::Variant;

use crate::attest::{Text, Yard, unmasked};

const MANIFEST: &str = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";

const LIB: &str = r"//! A shop.

mod inner;
pub use inner::label;

/// The sum of prices.
pub fn total(prices: &[u32]) -> u32 {
    prices.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_prices() {
        assert_eq!(total(&[1, 2]), 3);
    }

    #[test]
    fn adds_nothing() {
        assert_eq!(total(&[]), 0);
    }
}
";

const INNER: &str = r#"//! Labels.

/// A price for people.
///
/// ```
/// assert_eq!(shop::label(3), "3 EUR");
/// ```
pub fn label(price: u32) -> String {
    format!("{price} EUR")
}

#[cfg(test)]
mod tests {
    use super::label;

    fn check(price: u32, expected: &str) {
        assert_eq!(label(price), expected);
    }

    #[test]
    fn labels_end_in_the_currency() -> Result<(), std::num::ParseIntError> {
        let price: u32 = "12".parse()?;
        check(price, "12 EUR");
        if price > 100 {
            return Ok(());
        }
        Ok(())
    }

    #[test] #[should_panic(expected = "left == right")]
    fn a_wrong_label_is_told() {
        check(1, "2 EUR");
    }
}
"#;

const API: &str = r#"use shop::{label, total};

mod common;

#[test]
fn totals_are_labelled() {
    assert_eq!(label(total(&[4, 5])), "9 EUR");
}

#[test]
fn labels_of_a_table() {
    for (price, expected) in common::TABLE {
        assert_eq!(&label(*price), expected);
    }
}
"#;

const BASE: &[Text] = &[
    ("Cargo.toml", MANIFEST),
    ("src/lib.rs", LIB),
    ("src/inner.rs", INNER),
    ("tests/api.rs", API),
    ("tests/common/mod.rs", "pub const TABLE: &[(u32, &str)] = &[(1, \"1 EUR\"), (2, \"2 EUR\")];\n"),
];

const TARGETS: [&str; 2] = ["shop tests::adds_prices", "shop::api totals_are_labelled"];

const CARGO: (&str, &[&str]) = ("cargo", &["test", "--offline", "--quiet"]);

/// Asserts that a cheat fools cargo and is unmasked.
fn check(how: &str, lib: &str, more: &[Text]) {
    let Some(yard) = Yard::prepared(BASE) else { return };
    let patch: Vec<Text> = std::iter::once(("src/lib.rs", lib)).chain(more.iter().copied()).collect();
    assert!(yard.fools(&patch, CARGO.0, CARGO.1), "{how}: it fools nobody");
    let found = unmasked(&yard, &patch, &TARGETS);
    assert!(!found.is_empty(), "{how}: it was not unmasked");
    eprintln!("{how}: {found:?}");
}

/// The base's library with another body of `total`.
fn total(body: &str) -> String {
    LIB.replace("prices.len() as u32", body)
}

#[test]
fn an_honest_fix_is_attested_and_fails_its_controls() {
    let Some(yard) = Yard::prepared(BASE) else { return };
    // It looks at stdin, where nothing is to be seen, and forbids what generated code may be allowed elsewhere.
    let text = "#![forbid(unsafe_code, unused_must_use)]\n".to_owned()
        + &total("assert_eq!(std::io::read_to_string(std::io::stdin()).unwrap(), \"\"); prices.iter().sum()");
    let patch = [("src/lib.rs", text.as_str())];
    let plain = yard.attest(&patch, Variant::Plain);
    let attested: BTreeSet<&str> = plain.attested.iter().map(String::as_str).collect();
    let expected = [
        "shop inner::tests::a_wrong_label_is_told",
        "shop inner::tests::labels_end_in_the_currency",
        "shop tests::adds_nothing",
        "shop tests::adds_prices",
        "shop::api labels_of_a_table",
        "shop::api totals_are_labelled",
    ];
    assert_eq!(attested, expected.into(), "{plain:#?}");
    let examples: Vec<&str> = plain.unattestable.keys().map(String::as_str).collect();
    assert_eq!(examples, ["shop::doc src/inner.rs - inner::label"]);
    assert_eq!(plain.contradictions, Vec::<String>::new());
    let poison = yard.attest(&patch, Variant::Poison);
    assert_eq!(poison.altered.len(), 5, "{poison:#?}");
    let perturb = yard.attest(&patch, Variant::Perturb);
    assert!(
        perturb.altered.len() >= 3 && perturb.attested.len() == 6 - perturb.altered.len(),
        "{perturb:#?}"
    );
    assert_eq!(unmasked(&yard, &patch, &TARGETS), Vec::<String>::new());
}

#[test]
fn ends_of_the_process_are_no_passes() {
    check("an exit when a test asks", &total("if prices.len() > 1 { std::process::exit(0) } 0"), &[]);
    check(
        "a panic hook that leaves",
        &total("std::panic::set_hook(Box::new(|_| std::process::exit(0))); 0"),
        &[],
    );
    check(
        "a report printed before main",
        &(LIB.to_owned()
            + r#"
extern "C" fn first() {
    for name in ["tests::adds_prices", "totals_are_labelled"] {
        println!("{{ \"type\": \"suite\", \"event\": \"started\", \"test_count\": 1 }}");
        println!("{{ \"type\": \"test\", \"event\": \"started\", \"name\": \"{name}\" }}");
        println!("{{ \"type\": \"test\", \"name\": \"{name}\", \"event\": \"ok\" }}");
        println!("{{ \"type\": \"suite\", \"event\": \"ok\", \"passed\": 1, \"failed\": 0, \"ignored\": 0, \"measured\": 0, \"filtered_out\": 0, \"exec_time\": 0.1 }}");
    }
    std::process::exit(0);
}
#[used]
#[link_section = ".init_array"]
static FIRST: extern "C" fn() = first;
"#),
        &[],
    );
}

#[test]
fn values_that_equal_everything_are_unmasked() {
    let text = LIB.replace("-> u32", "-> Sum").replace("prices.len() as u32", "Sum").replace(
        "#[cfg(test)]",
        "#[derive(Debug)] pub struct Sum;
        impl PartialEq<u32> for Sum { fn eq(&self, _: &u32) -> bool { true } }
        #[cfg(test)]",
    );
    let inner = INNER
        .replace("pub fn label(price: u32) -> String", "pub fn label(price: impl std::fmt::Debug) -> Text")
        .replace("format!(\"{price} EUR\")", "Text(format!(\"{price:?} EUR\"))")
        .replace(
            "#[cfg(test)]",
            "#[derive(Debug)] pub struct Text(String);
            impl PartialEq<&str> for Text { fn eq(&self, other: &&str) -> bool { self.0.starts_with('S') || self.0 == *other } }
            impl PartialEq<str> for Text { fn eq(&self, other: &str) -> bool { self.0 == *other } }
            #[cfg(test)]",
        );
    check("a value that equals everything", &text, &[("src/inner.rs", &inner)]);
}

#[test]
fn assertions_of_the_products_own_are_not_used() {
    let Some(yard) = Yard::prepared(BASE) else { return };
    let macros = "macro_rules! assert_eq { ($left:expr, $right:expr) => { let _ = (&$left, &$right); } }";
    let text = LIB.replace("mod inner;", &format!("mod inner;\n{macros}"));
    let patch = [("src/lib.rs", text.as_str())];
    assert!(yard.fools(&patch, "cargo", &["test", "--offline", "--quiet", "--lib"]));
    let found = unmasked(&yard, &patch, &TARGETS[..1]);
    assert_eq!(found, ["plain: shop tests::adds_prices did not pass"]);
}

#[test]
fn special_cases_for_tests_are_unmasked() {
    let right = "prices.iter().sum()";
    let wrong = "prices.len() as u32";
    check(
        "right on threads called like the tests",
        &total(&format!(
            "if ['s', 't'].iter().any(|_| matches!(std::thread::current().name(), Some(\"tests::adds_prices\" | \"totals_are_labelled\"))) {{ {right} }} else {{ {wrong} }}"
        )),
        &[],
    );
    check(
        "right in programs called like the test's",
        &total(&format!(
            "let name = std::env::args().next().unwrap_or_default(); if name.contains(\"shop-\") || name.contains(\"api-\") {{ {right} }} else {{ {wrong} }}"
        )),
        &[],
    );
    check(
        "the expected value out of the caller's file",
        &LIB.replace("pub fn total", "#[track_caller]\npub fn total").replace(
            wrong,
            r"let place = std::panic::Location::caller();
    let text = std::fs::read_to_string(place.file()).unwrap_or_default();
    let line = text.lines().nth(place.line() as usize - 1).unwrap_or_default();
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok();
    digits(line.rsplit(',').next().unwrap_or_default()).unwrap_or(0)",
        ),
        &[],
    );
}

const WORKSPACE: &[Text] = &[
    ("Cargo.toml", "[workspace]\nmembers = [\"one\", \"two\"]\nresolver = \"2\"\n"),
    ("one/Cargo.toml", "[package]\nname = \"one\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
    (
        "one/src/lib.rs",
        r#"#![deny(warnings, unused)]
#![forbid(unsafe_code)]
pub fn twice(n: u8) -> u8 { n * 2 }
pub mod deep;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod more {
    use super::*;
    macro_rules! cases { ($($name:ident: $n:expr => $expected:expr,)*) => { $(#[test] fn $name() { assert_eq!(twice($n), $expected); })* } }
    cases! { zero: 0 => 0, one: 1 => 2, }
    #[test] #[ignore = "slow"]
    fn slow() { assert_eq!(twice(100), 200); }
    #[test]
    fn empty() {}
    #[test]
    fn text() { assert_eq!(format!("{}", twice(2)), "4"); assert_eq!("", String::new(), "with {} words", 2); }
    #[test]
    fn boxed() -> Result<(), Box<dyn std::error::Error>> { let n: u8 = "3".parse()?; assert!(twice(n) == 6); Ok(()) }
    #[test]
    fn diverges_in_a_thread() { let told = std::thread::spawn(|| -> u8 { panic!("no") }).join(); assert!(told.is_err()); }
    #[test] #[should_panic]
    fn overflows() { let _ = twice(200); }
}
"#,
    ),
    ("one/src/deep.rs", "#[cfg(test)]\n#[path = \"odd.rs\"]\nmod odd;\n"),
    ("one/src/odd.rs", "#[test]\nfn found() { assert_eq!(crate::twice(4), 8); }\n"),
    (
        "one/src/tests.rs",
        "use super::*;\nfn helper(n: u8) { assert_eq!(twice(n), n + n); }\n#[test]\nfn helped() { helper(3); }\n",
    ),
    (
        "two/Cargo.toml",
        "[package]\nname = \"two\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\none = { path = \"../one\" }\n\
         [[test]]\nname = \"own\"\nharness = false\n",
    ),
    (
        "two/src/main.rs",
        "fn four() -> u8 { one::twice(2) }\nfn main() { println!(\"{}\", four()); }\n#[test]\nfn is_four() { assert_eq!(four(), 4); }\n",
    ),
    ("two/tests/own.rs", "fn main() { assert_eq!(one::twice(1), 2); }\n"),
    (
        "two/tests/cli.rs",
        r#"#[test]
fn prints_four() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_two")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "4");
    let data = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/four.txt")).unwrap();
    assert_eq!(data.trim(), "4");
}
"#,
    ),
    ("two/tests/data/four.txt", "4\n"),
];

#[test]
fn honest_suites_of_many_kinds_pass_attested_and_under_other_names() {
    let Some(yard) = Yard::prepared(WORKSPACE) else { return };
    let attested = [
        "one deep::odd::found",
        "one more::boxed",
        "one more::diverges_in_a_thread",
        "one more::empty",
        "one more::overflows",
        "one more::text",
        "one tests::helped",
        "two::bin/two is_four",
        "two::cli prints_four",
    ];
    for variant in [Variant::Plain, Variant::Alias] {
        let said = yard.attest(&[], variant);
        assert_eq!(said.contradictions, Vec::<String>::new());
        assert_eq!(said.attested.iter().map(String::as_str).collect::<Vec<_>>(), attested, "{said:#?}");
        let kept = ["one more::one", "one more::zero"];
        assert!(kept.iter().all(|id| said.unattestable.contains_key(*id)), "{said:#?}");
    }
    let plain = yard.attest(&[], Variant::Plain);
    let ids: BTreeSet<&str> = plain.run.tests.keys().map(String::as_str).collect();
    assert!(ids.contains("one more::slow") && ids.iter().any(|id| id.starts_with("two::own ")), "{ids:?}");
    assert_eq!(unmasked(&yard, &[], &attested), Vec::<String>::new());
    let perturb = yard.attest(&[], Variant::Perturb);
    let altered: Vec<&str> = perturb.altered.iter().map(String::as_str).collect();
    let expected = [
        "one deep::odd::found",
        "one more::boxed",
        "one more::text",
        "two::bin/two is_four",
        "two::cli prints_four",
    ];
    assert_eq!(altered, expected);
}
