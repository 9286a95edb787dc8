//! Tests that stand in product files: doctests of Python, and vitest's in-source tests. They are tests of the base like
//! any other: a patch's edits of them are left out, in the file that it delivers. Rust's are seen to by
//! [`crate::toolchain::splice`], by syntax.

use std::collections::BTreeMap;
use std::ops::Range;

use tree_sitter::{Language, Node, Parser, Tree};

use super::attest::language;

/// A patched file with the tests of the base.
#[derive(Debug, PartialEq)]
pub(super) enum Inline {
    /// It has them already, or there are none.
    Same,
    /// The text with them.
    PutBack(String),
    /// They cannot be put back, and why.
    Lost(String),
}

/// A Python file: each docstring with examples is the base's, unless it only adds examples at its end.
pub(super) fn python(base: &str, patched: &str) -> Inline {
    let (old, new) = (docstrings(base), docstrings(patched));
    let mut edits = Vec::new();
    for (owner, before) in &old {
        let wanted = before.text.map(examples).unwrap_or_default();
        // What is gone is missing from the results, and no pass.
        let Some(after) = new.get(owner).filter(|_| !wanted.is_empty()) else { continue };
        if after.text.map(examples).unwrap_or_default().starts_with(&wanted) {
            continue;
        }
        let docstring = before.text.unwrap_or_default();
        edits.push((
            after.range.clone(),
            match after.text {
                Some(_) => docstring.to_owned(),
                None => format!("{docstring}\n{}", after.indent),
            },
        ));
    }
    if edits.is_empty() { Inline::Same } else { Inline::PutBack(apply(patched, edits)) }
}

/// A JavaScript or TypeScript file: its blocks of tests are the base's.
pub(super) fn script(path: &str, base: &str, patched: &str) -> Inline {
    let (Some(old), Some(new)) = (blocks(path, base), blocks(path, patched)) else {
        return Inline::Same;
    };
    let texts = |text: &str, blocks: &[Range<usize>]| -> Vec<String> {
        blocks.iter().map(|range| text[range.clone()].to_owned()).collect()
    };
    let (before, after) = (texts(base, &old), texts(patched, &new));
    if before == after {
        return Inline::Same;
    }
    let mut edits: Vec<(Range<usize>, String)> =
        new.into_iter().map(|range| (range, String::new())).collect();
    let product: String = apply(patched, edits.clone());
    let gone = before.iter().flat_map(|block| words(block)).find(|word| {
        let known = |text: &str| words(text).any(|other| other == *word);
        known(&apply(base, old.iter().map(|range| (range.clone(), String::new())).collect()))
            && !known(&product)
    });
    if let Some(gone) = gone {
        return Inline::Lost(format!("its tests speak of {gone}, which is not in it any more"));
    }
    for (at, block) in before.into_iter().enumerate() {
        match edits.get_mut(at) {
            Some(edit) => edit.1 = block,
            None => edits.push((patched.len()..patched.len(), format!("\n{block}\n"))),
        }
    }
    Inline::PutBack(apply(patched, edits))
}

/// A place for a docstring.
struct Docstring<'t> {
    /// The docstring, if there is one.
    text: Option<&'t str>,
    /// Where it stands, or where it would.
    range: Range<usize>,
    /// What stands before it in its line.
    indent: String,
}

/// The docstrings of a module, by the names of their owners; the second of one name is another owner.
fn docstrings(text: &str) -> BTreeMap<String, Docstring<'_>> {
    let mut found = BTreeMap::new();
    if let Some(tree) = parse(text, &tree_sitter_python::LANGUAGE.into()) {
        collect(tree.root_node(), text, "", &mut found);
    }
    found
}

fn collect<'t>(body: Node<'_>, text: &'t str, owner: &str, found: &mut BTreeMap<String, Docstring<'t>>) {
    if let Some(first) = named(body).first() {
        let string = named(*first).first().copied().filter(|_| first.kind() == "expression_statement");
        let string = string.filter(|string| string.kind() == "string");
        let start = first.start_byte();
        let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let mut name = owner.to_owned();
        while found.contains_key(&name) {
            name.push('\'');
        }
        found.insert(
            name,
            Docstring {
                text: string.map(|string| &text[string.byte_range()]),
                range: string.map_or(start..start, |string| string.byte_range()),
                indent: text[line..start].to_owned(),
            },
        );
    }
    for child in named(body) {
        let definition = child.child_by_field_name("definition").unwrap_or(child);
        let parts = definition.child_by_field_name("name").zip(definition.child_by_field_name("body"));
        let defines = matches!(definition.kind(), "class_definition" | "function_definition");
        if let Some((name, body)) = parts.filter(|_| defines) {
            collect(body, text, &format!("{owner}.{}", &text[name.byte_range()]), found);
        }
    }
}

/// The examples of a docstring: each its source and what it is to print.
fn examples(docstring: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in docstring.lines().map(str::trim) {
        let line = line.trim_end_matches("\"\"\"").trim_end_matches("'''").trim_end();
        if let Some(source) = line.strip_prefix(">>>") {
            found.push((source.trim().to_owned(), String::new()));
            open = true;
        } else if let Some((source, _)) =
            found.last_mut().filter(|(_, want)| open && want.is_empty() && line.starts_with("..."))
        {
            source.push('\n');
            source.push_str(line);
        } else if line.is_empty() {
            open = false;
        } else if let Some((_, want)) = found.last_mut().filter(|_| open) {
            want.push_str(line);
            want.push('\n');
        }
    }
    found
}

/// The blocks of in-source tests; `None` where the text cannot be read.
fn blocks(path: &str, text: &str) -> Option<Vec<Range<usize>>> {
    let tree = parse(text, &language(path)?)?;
    let tests = |node: &Node<'_>| {
        let condition = node.child_by_field_name("condition").filter(|_| node.kind() == "if_statement");
        condition.is_some_and(|condition| text[condition.byte_range()].contains("import.meta.vitest"))
    };
    Some(named(tree.root_node()).into_iter().filter(tests).map(|node| node.byte_range()).collect())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).filter(|word| !word.is_empty())
}

fn parse(text: &str, language: &Language) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(language).ok()?;
    parser.parse(text, None).filter(|tree| !tree.root_node().has_error())
}

fn named(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|child| child.kind() != "comment").collect()
}

fn apply(text: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let (mut done, mut at) = (String::with_capacity(text.len()), 0);
    for (range, new) in edits {
        done.push_str(&text[at..range.start]);
        done.push_str(&new);
        at = range.end;
    }
    done.push_str(&text[at..]);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "def f(x):\n    \"\"\"Adds.\n\n    >>> f(1)\n    2\n    \"\"\"\n    return x\n";

    fn put_back(patched: &str, expected: Option<&str>) {
        let found = python(BASE, patched);
        match expected {
            None => assert_eq!(found, Inline::Same, "{patched}"),
            Some(text) => assert_eq!(found, Inline::PutBack(text.to_owned()), "{patched}"),
        }
    }

    #[test]
    fn doctests_are_the_bases_and_the_code_is_the_patchs() {
        let fixed = BASE.replace("return x", "return x + 1");
        put_back(&fixed, None);
        // Other words, and examples at the end, are welcome.
        put_back(&fixed.replace("Adds.", "Adds one."), None);
        put_back(&fixed.replace("    2\n", "    2\n    >>> f(2)\n    3\n"), None);
        put_back(&fixed.replace("    2\n", "    1\n"), Some(&fixed));
        put_back(&fixed.replace("f(1)\n", "f(1)  # doctest: +SKIP\n"), Some(&fixed));
        put_back(&fixed.replace(">>> f(1)", ">>> f = int\n    >>> f(1)"), Some(&fixed));
        let bare = "def f(x):\n    return x + 1\n";
        put_back(bare, Some(&fixed));
        put_back("def g(x):\n    return x\n", None);
    }

    #[test]
    fn in_source_tests_are_the_bases() {
        let tests = "if (import.meta.vitest) {\n  it('a', () => {\n    expect(f(1)).toBe(2);\n  });\n}\n";
        let base = format!("export const f = (x: number) => x;\n{tests}");
        let fixed = base.replace("=> x;", "=> x + 1;");
        let check = |patched: &str| script("a.ts", &base, patched);
        assert_eq!(check(&fixed), Inline::Same);
        assert_eq!(check(&fixed.replace("toBe(2)", "toBe(1)")), Inline::PutBack(fixed.clone()));
        let without = "export const f = (x: number) => x + 1;\n";
        let Inline::PutBack(again) = check(without) else { panic!("no test was put back") };
        assert!(again.starts_with(without) && again.contains(tests.trim_end()));
        assert!(matches!(check("export const g = 1;\n"), Inline::Lost(_)));
    }
}
