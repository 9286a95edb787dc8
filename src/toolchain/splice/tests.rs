//! What a splice keeps, restores, leaves out and folds.

use super::*;

/// Asserts the composed text, blanks apart, and that nothing stood in the way.
fn check(base: &str, patched: &str, expected: &str) -> Spliced {
    let spliced = rust(Some(base), Some(patched));
    let plain = |text: &str| source::lex(text).map(|tokens| source::shown(&tokens));
    assert_eq!(spliced.problem, None, "{spliced:#?}");
    let text = spliced.text.clone().unwrap();
    assert_eq!(plain(&text), plain(expected), "{text}\n{:#?}", spliced.notes);
    spliced
}

const BASE: &str = r"
pub fn double(n: u32) -> u32 { n + 1 }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles() { assert_eq!(double(2), 4); }
}
";

#[test]
fn a_fix_beside_its_tests_is_taken_byte_for_byte() {
    let fixed = BASE.replace("n + 1", "/* odd   */ n  *  2");
    assert_eq!(rust(Some(BASE), Some(&fixed)).text.as_deref(), Some(fixed.as_str()));
}

#[test]
fn weakened_skipped_and_removed_tests_are_the_bases() {
    let fixed = BASE.replace("n + 1", "n * 2");
    let weakened = [
        fixed.replace('4', "double(2)"),
        fixed.replace("    fn doubles", "    #[ignore]\n    fn doubles"),
        fixed.replace("#[test]", ""),
        fixed.replace(
            "    use super::*;",
            "    use super::*;\n    macro_rules! assert_eq { ($($t:tt)*) => {} }",
        ),
    ];
    for patched in weakened {
        check(BASE, &patched, &fixed);
    }
    let gone = fixed.split("#[cfg(test)]").next().unwrap();
    check(BASE, gone, &fixed);
}

#[test]
fn tests_that_the_patch_adds_are_left_out() {
    let added = BASE.replace("n + 1", "n * 2")
        + "#[cfg(test)]\nmod more {\n #[test]\n fn x() {}\n}\n#[test]\nfn loose() {}\n";
    let spliced = check(BASE, &added, &BASE.replace("n + 1", "n * 2"));
    assert!(
        spliced.notes.iter().any(|note| note == "mod more is new and was left out"),
        "{:?}",
        spliced.notes
    );
}

#[test]
fn test_items_inside_implementations_and_modules_come_from_the_base() {
    let base = "struct A; impl A { fn get(&self) -> u8 { 1 } #[cfg(test)] fn peek(&self) -> u8 { 7 } }
        mod inner { pub fn f() {} #[cfg(test)] mod tests { #[test] fn t() { super::f(); } } }";
    let patched = "struct A; impl A { fn get(&self) -> u8 { 2 } #[cfg(test)] fn peek(&self) -> u8 { 2 } }
        mod inner { pub fn f() { g() } fn g() {} #[cfg(test)] mod tests { #[test] fn t() { } } }";
    let expected = "struct A; impl A { fn get(&self) -> u8 { 2 } #[cfg(test)] fn peek(&self) -> u8 { 7 } }
        mod inner { pub fn f() { g() } fn g() {} #[cfg(test)] mod tests { #[test] fn t() { super::f(); } } }";
    check(base, patched, expected);
}

#[test]
fn containers_that_are_gone_come_back_with_their_tests() {
    let base = "fn f() {} mod inner { pub fn g() {} #[cfg(test)] mod tests { #[test] fn t() { } } }";
    let expected = "fn f() { 1; } #[cfg(test)] mod inner { #[cfg(test)] mod tests { #[test] fn t() { } } }";
    check(base, "fn f() { 1; }", expected);
    let deleted = rust(Some(base), None).text.unwrap();
    assert!(deleted.contains("fn t()") && !deleted.contains("fn f"), "{deleted}");
    assert_eq!(rust(Some("fn f() {}"), None).text, None);
}

#[test]
fn new_conditions_on_tests_are_folded_in_product_code_only() {
    let cases = [
        (
            "fn f() -> u8 { if cfg!(test) { 4 } else { 1 } }",
            "fn f() -> u8 { if cfg!(any()) { 4 } else { 1 } }",
        ),
        (
            "fn f() -> u8 { #[cfg(test)] return 4; #[cfg(not(test))] { 1 } }",
            "fn f() -> u8 { #[cfg(any())] return 4; #[cfg(not(any()))] { 1 } }",
        ),
        (
            "#[cfg(not(test))] fn f() -> u8 { 1 } #[cfg(test)] fn f() -> u8 { 4 }",
            "#[cfg(not(any()))] fn f() -> u8 { 1 }",
        ),
        (
            "use std::cfg as is; fn f() -> bool { g(|| is!(all(test, unix))) }",
            "use std::cfg as is; fn f() -> bool { g(|| is!(all(any(), unix))) }",
        ),
        ("#[cfg_attr(test, path = \"evil.rs\")] mod f;", "#[cfg_attr(any(), path = \"evil.rs\")] mod f;"),
        ("#[cfg_attr(test, derive(Evil))] struct F;", "#[cfg_attr(any(), derive(Evil))] struct F;"),
        (
            "#[cfg_attr(test, derive(Debug, PartialEq), allow(dead_code))] struct F;",
            "#[cfg_attr(test, derive(Debug, PartialEq), allow(dead_code))] struct F;",
        ),
        ("#[cfg(feature = \"test\")] fn f() { h!(test) }", "#[cfg(feature = \"test\")] fn f() { h!(test) }"),
        ("mod m { #![cfg(not(test))] fn f() {} }", "mod m { #![cfg(not(any()))] fn f() {} }"),
        ("macro_rules! m { () => { cfg!(test) } }", "macro_rules! m { () => { cfg!(any()) } }"),
        ("struct S { #[cfg(test)] n: u8, m: u8 }", "struct S { #[cfg(any())] n: u8, m: u8 }"),
    ];
    for (patched, expected) in cases {
        check("fn f() -> u8 { 0 }", patched, expected);
    }
}

#[test]
fn conditions_that_the_base_has_stay_as_they_are() {
    let base = "#![cfg_attr(not(test), no_std)]
        #[cfg(not(test))] fn now() -> u64 { 1 } #[cfg(test)] fn now() -> u64 { 0 }
        #[cfg(any(test, feature = \"util\"))] pub fn helper() -> u8 { 1 }
        fn f() -> u8 { let wait = if cfg!(test) { 1 } else { 100 }; sleep(wait); 3 }";
    let patched = base.replace("3 }", "4 }").replace("{ 1 } #[cfg(test)]", "{ 2 } #[cfg(test)]");
    check(base, &patched, &patched);
    // The same words elsewhere are new.
    let cheat = base.replace("3 }", "if (cfg!(test)) { 4 } else { 3 } }");
    check(base, &cheat, &cheat.replace("if (cfg!(test))", "if (cfg!(any()))"));
}

#[test]
fn examples_in_docs_are_tests_of_their_item() {
    let base = "/// Doubles.\n///\n/// ```\n/// assert_eq!(x::double(2), 4);\n/// ```\npub fn double(n: u32) -> u32 { n }\n";
    let fixed = base.replace("{ n }", "{ n * 2 }");
    check(base, &fixed, &fixed);
    check(base, &fixed.replace("assert_eq!(x::double(2), 4);", ""), &fixed);
    check(base, &fixed.replace("```\n/// a", "```ignore\n/// a"), &fixed);
    check(base, "pub fn double(n: u32) -> u32 { n * 2 }", &fixed);
    // Words and examples elsewhere are the patch's own.
    let words = fixed.replace("Doubles", "Makes twice as much")
        + "/// ```\n/// x::more();\n/// ```\npub fn more() {}";
    check(base, &words, &words);
}

#[test]
fn a_renamed_helper_takes_its_tests_with_it() {
    let base = "fn old(n: u8) -> u8 { n } #[cfg(test)] mod tests { use super::old;
        #[test] fn one() { assert_eq!(old(1), 2); } #[test] fn two() { assert_eq!(old(2), 3); } }";
    let patched = "fn new_name(n: u8) -> u8 { n + 1 } #[cfg(test)] mod tests { use super::new_name;
        #[test] fn one() { assert_eq!(new_name(1), 2); } #[test] fn two() { new_name(2); } #[test] fn three() {} }";
    let expected = "fn new_name(n: u8) -> u8 { n + 1 } #[cfg(test)] mod tests { use super::new_name;
        #[test] fn one() { assert_eq!(new_name(1), 2); } #[test] fn two() { assert_eq!(new_name(2), 3); } }";
    let spliced = check(base, patched, expected);
    assert!(spliced.notes.iter().any(|note| note.contains("new name new_name")), "{:?}", spliced.notes);
    // An assertion is not renamed, and neither is what the product still has.
    let cheat = patched.replace(
        "fn new_name",
        "macro_rules! check { ($($t:tt)*) => {} } fn old(n: u8) -> u8 { n } fn new_name",
    );
    let text = rust(Some(base), Some(&cheat.replace("assert_eq!", "check!"))).text.unwrap();
    assert!(text.contains("assert_eq!(old(1), 2)"), "{text}");
}

#[test]
fn a_name_that_the_standard_library_has_too_is_renamed_where_the_patch_does() {
    let base = "fn parse(s: &str) -> u8 { 0 } #[cfg(test)] mod tests { use super::*;
        #[test] fn t() { assert_eq!(parse(\"1\"), \"1\".parse::<u8>().unwrap()); } }";
    let patched = base.replace("fn parse(s", "fn read(s").replace("assert_eq!(parse", "assert_eq!(read");
    check(base, &patched, &patched);
}

#[test]
fn imports_that_only_the_tests_still_need_are_kept() {
    let base = "use std::collections::{HashMap, HashSet}; fn f() -> HashMap<u8, u8> { HashMap::new() }
        #[cfg(test)] mod tests { use super::*; #[test] fn t() { let _: HashMap<u8, u8> = f(); } }";
    let patched =
        base.replace("use std::collections::{HashMap, HashSet};", "").replace("HashMap<u8, u8> {", "Map {");
    let patched = patched.replace("{ HashMap::new() }", "{ Map::new() }");
    let expected = patched.clone() + "#[cfg(test)] #[allow(unused_imports)] use std::collections::HashMap;";
    check(base, &patched, &expected);
}

#[test]
fn what_does_not_parse_is_said_and_what_has_moved_too() {
    let broken = rust(Some(BASE), Some("fn f( {"));
    assert_eq!(broken.text.as_deref(), Some("fn f( {"));
    assert!(broken.problem.unwrap().contains("does not parse"));
    let base = "mod inner { fn f() {} #[cfg(test)] mod tests { #[test] fn t() {} } }";
    let moved = rust(Some(base), Some("mod inner;"));
    assert_eq!(moved.problem.as_deref(), Some("mod inner has moved to another file, and its tests with it"));
}

#[test]
fn hostile_nesting_ends_no_process() {
    for text in [
        "(".repeat(5000) + &")".repeat(5000),
        format!("fn f() {{ {} }}", "-".repeat(500_000) + "1"),
        format!("fn f() {{ {} }}", "if a {} else ".repeat(50_000) + "{}"),
    ] {
        assert!(Source::read(&text).is_none());
    }
    assert!(Source::read(&format!("fn f() {{ {} }}", "if a {} else ".repeat(2000) + "{}")).is_some());
    assert!(Source::read(&"fn f() {} ".repeat(20_000)).is_some());
}

#[test]
fn files_that_only_tests_reach_are_told_from_the_rest() {
    let files = [
        ("src/lib.rs", "pub mod a; #[cfg(test)] mod tests; #[cfg(test)] #[path = \"odd/x.rs\"] mod x;"),
        ("src/a.rs", "#[cfg(test)] mod checks; mod b { #[cfg(test)] mod c; }"),
        ("src/a/checks.rs", "mod deep;"),
        ("src/a/checks/deep.rs", ""),
        ("src/a/b/c/mod.rs", ""),
        ("src/tests.rs", ""),
        ("src/odd/x.rs", ""),
        ("src/main.rs", "mod a; fn main() {}"),
    ];
    let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
    let read = |path: &str| files.iter().find(|file| file.0 == path).map(|file| file.1.to_owned());
    let found: Vec<String> = test_files(&paths, &read).into_iter().collect();
    let expected =
        ["src/a/b/c/mod.rs", "src/a/checks.rs", "src/a/checks/deep.rs", "src/odd/x.rs", "src/tests.rs"];
    assert_eq!(found, expected);
}
