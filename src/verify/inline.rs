//! Tests that stand in product files: doctests of Python, and vitest's in-source tests. They are tests of the base like
//! any other: a patch's edits of them are left out, in the file that it delivers. Rust's are seen to by
//! [`crate::toolchain::splice`], by syntax.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tree_sitter::{Language, Node, Parser, Tree};

use super::attest::language;

/// What stands in every file with in-source tests.
pub(super) const VITEST: &str = "import.meta.vitest";

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

/// A Python file: each docstring with examples is the base's, unless it only adds examples at its end. Those of the
/// owners in `moved` are in another file.
pub(super) fn python(base: &str, patched: &str, moved: &BTreeSet<String>) -> Inline {
    let (Some(old), Some(new)) = (docstrings(base), docstrings(patched)) else {
        let same = examples(base) == examples(patched);
        return if same { Inline::Same } else { Inline::Lost("its doctests cannot be read".to_owned()) };
    };
    let mut edits = Vec::new();
    for (owner, before) in old.iter().filter(|(owner, _)| !moved.contains(*owner)) {
        let now = new.get(owner).map(Vec::as_slice).unwrap_or_default();
        let mut kept = BTreeSet::new();
        for (at, one) in before.iter().enumerate().filter(|(_, one)| !one.examples.is_empty()) {
            let free = |other: &usize| !kept.contains(other);
            if let Some(found) = (0..now.len()).filter(free).find(|other| now[*other].keeps(one)) {
                kept.insert(found);
                continue;
            }
            let place = if now.len() == before.len() { Some(at) } else { now.len().checked_sub(1) };
            if let Some(place) = place.filter(free) {
                kept.insert(place);
                edits.push(now[place].put(one));
                continue;
            }
            let renamed = |(name, all): (&String, &Vec<Docstring<'_>>)| {
                !old.contains_key(name) && all.iter().any(|other| other.keeps(one))
            };
            if !new.iter().any(renamed) {
                return Inline::Lost(format!("the examples of {} are gone", shown(owner)));
            }
        }
        // What is defined last is what its name means.
        let last = before.last().is_some_and(|one| !one.examples.is_empty());
        if last && now.len() > before.len() && !kept.contains(&(now.len() - 1)) {
            return Inline::Lost(format!("{} is defined again, without its examples", shown(owner)));
        }
    }
    if edits.is_empty() { Inline::Same } else { Inline::PutBack(apply(patched, edits)) }
}

/// The docstrings with examples, by their owners, that a Python file had and whose owners are not in it any more.
pub(super) fn gone<'t>(base: &'t str, patched: &str) -> BTreeMap<String, Docstring<'t>> {
    let (Some(old), Some(new)) = (docstrings(base), docstrings(patched)) else { return BTreeMap::new() };
    let one = |all: Vec<Docstring<'t>>| <[_; 1]>::try_from(all).ok().map(|[one]| one);
    old.into_iter()
        .filter(|(owner, _)| new.get(owner).is_none_or(Vec::is_empty))
        .filter_map(|(owner, all)| Some((owner, one(all).filter(|one| !one.examples.is_empty())?)))
        .collect()
}

/// The owners whose docstrings another Python file has now, and had not before.
pub(super) fn came(gone: &BTreeMap<String, Docstring<'_>>, before: &str, after: &str) -> BTreeSet<String> {
    let (Some(old), Some(new)) = (docstrings(before), docstrings(after)) else { return BTreeSet::new() };
    let here = |owner: &&String| {
        old.get(*owner).is_none_or(Vec::is_empty)
            && matches!(new.get(*owner).map(Vec::as_slice), Some([one]) if one.keeps(&gone[*owner]))
    };
    gone.keys().filter(here).cloned().collect()
}

fn shown(owner: &str) -> &str {
    if owner.is_empty() { "the module" } else { owner.trim_start_matches('.') }
}

/// A JavaScript or TypeScript file: its blocks of tests are the base's.
pub(super) fn script(path: &str, base: &str, patched: &str) -> Inline {
    let Some(language) = language(path) else { return Inline::Same };
    let (Some(old), Some(new)) = (blocks(&language, base), blocks(&language, patched)) else {
        let tests = |text: &str| text.find(VITEST).map(|at| text[at..].to_owned());
        let same = tests(base) == tests(patched);
        return if same { Inline::Same } else { Inline::Lost("its tests cannot be read".to_owned()) };
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
pub(super) struct Docstring<'t> {
    /// The docstring, if there is one.
    text: Option<&'t str>,
    /// Its examples.
    examples: Vec<(String, String)>,
    /// Where it stands, or where it would.
    range: Range<usize>,
    /// What stands before it in its line.
    indent: &'t str,
}

impl Docstring<'_> {
    /// Whether it holds the examples of the base's, first of all and in clear.
    fn keeps(&self, base: &Docstring<'_>) -> bool {
        let escapes = |one: &Docstring<'_>| one.text.map_or(0, |text| text.matches('\\').count());
        self.examples.starts_with(&base.examples) && escapes(self) <= escapes(base)
    }

    /// The edit that puts the base's in its place.
    fn put(&self, base: &Docstring<'_>) -> (Range<usize>, String) {
        let docstring = base.text.unwrap_or_default();
        let text = match self.text {
            Some(_) => docstring.to_owned(),
            None if self.indent.trim().is_empty() => format!("{docstring}\n{}", self.indent),
            // A body in the line of its head.
            None => format!("{docstring}; "),
        };
        (self.range.clone(), text)
    }
}

/// The docstrings of a module, by the names of their owners, in order; `None` where the text cannot be read.
fn docstrings(text: &str) -> Option<BTreeMap<String, Vec<Docstring<'_>>>> {
    let tree = parse(text, &tree_sitter_python::LANGUAGE.into())?;
    let mut found: BTreeMap<String, Vec<Docstring<'_>>> = BTreeMap::new();
    found.entry(String::new()).or_default().extend(docstring(tree.root_node(), text));
    // No recursion: the text may be hostile.
    let mut left = vec![(tree.root_node(), String::new())];
    while let Some((node, owner)) = left.pop() {
        let mut inner = Vec::new();
        for child in named(node) {
            let definition = child.child_by_field_name("definition").unwrap_or(child);
            if matches!(definition.kind(), "class_definition" | "function_definition") {
                let parts =
                    definition.child_by_field_name("name").zip(definition.child_by_field_name("body"));
                if let Some((name, body)) = parts.filter(|_| !is_aside(child, text)) {
                    let name = format!("{owner}.{}", &text[name.byte_range()]);
                    found.entry(name.clone()).or_default().extend(docstring(body, text));
                    inner.push((body, name));
                }
            } else if ["_statement", "_clause", "block"].iter().any(|end| child.kind().ends_with(end)) {
                inner.push((child, owner.clone()));
            }
        }
        left.extend(inner.into_iter().rev());
    }
    Some(found)
}

/// Whether a definition is only a signature or an accessor, whose docstring is nobody's.
fn is_aside(definition: Node<'_>, text: &str) -> bool {
    let asides = ["overload", ".setter", ".deleter"];
    named(definition)
        .into_iter()
        .filter(|part| part.kind() == "decorator")
        .any(|decorator| asides.iter().any(|aside| text[decorator.byte_range()].trim_end().ends_with(aside)))
}

/// The docstring of a body, or the place for one.
fn docstring<'t>(body: Node<'_>, text: &'t str) -> Option<Docstring<'t>> {
    let first = named(body).into_iter().next()?;
    let string = named(first).into_iter().next().filter(|_| first.kind() == "expression_statement");
    let string = string.filter(|string| {
        let prefix = text[string.byte_range()].split(['"', '\'']).next().unwrap_or_default();
        string.kind() == "string" && prefix.chars().all(|c| "rRuU".contains(c))
    });
    let start = first.start_byte();
    let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let own = string.map(|string| &text[string.byte_range()]);
    Some(Docstring {
        text: own,
        examples: own.map(examples).unwrap_or_default(),
        range: string.map_or(start..start, |string| string.byte_range()),
        indent: &text[line..start],
    })
}

/// The examples of a docstring: each its source and what it is to print.
fn examples(docstring: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut open = false;
    // Other space than this is none to doctest.
    for whole in docstring.lines().map(|line| line.trim_matches([' ', '\t'])) {
        let line = whole.trim_end_matches("\"\"\"").trim_end_matches("'''").trim_end();
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
        open &= line.len() == whole.trim_end().len();
    }
    found
}

/// The blocks of in-source tests; `None` where the text cannot be read.
fn blocks(language: &Language, text: &str) -> Option<Vec<Range<usize>>> {
    let tree = parse(text, language)?;
    let tests = |node: &Node<'_>| {
        let condition = node.child_by_field_name("condition").filter(|_| node.kind() == "if_statement");
        condition.is_some_and(|condition| text[condition.byte_range()].contains(VITEST))
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

    fn unmoved(patched: &str) -> Inline {
        python(BASE, patched, &BTreeSet::new())
    }

    fn put_back(patched: &str, expected: Option<&str>) {
        let found = unmoved(patched);
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
        put_back("def f(x): return x + 1\n", Some(&format!("def f(x): {}; return x + 1\n", doc())));
        put_back(&fixed.replace("f(x):", "f(x): # adds"), None);
    }

    fn doc() -> &'static str {
        &BASE[BASE.find('"').unwrap()..=BASE.rfind('"').unwrap()]
    }

    #[test]
    fn doctests_are_the_bases_wherever_their_owner_went() {
        let weak = BASE.replace("    2\n", "    1\n");
        let inside = |text: &str| {
            format!(
                "if True:\n{}",
                text.replace("    ", "\0").replace("def", "    def").replace('\0', "        ")
            )
        };
        assert_eq!(unmoved(&inside(BASE)), Inline::Same);
        let Inline::PutBack(text) = unmoved(&inside(&weak)) else { panic!("no example was put back") };
        assert!(text.contains(doc()), "{text}");
        let lost = |patched: &str| assert!(matches!(unmoved(patched), Inline::Lost(_)), "{patched}");
        lost("def g(x):\n    return x\n");
        lost(&format!("{weak}def (\n"));
        lost(&format!("{BASE}\n{weak}"));
        // The same examples under another name, and more definitions that are none.
        put_back(&BASE.replace("def f", "def g"), None);
        put_back(&format!("@overload\ndef f(x: int) -> int: ...\n{BASE}"), None);
        // What doctest does not see, or sees and does not stand there.
        put_back(&BASE.replace("    >>> f", "    \u{a0}>>> f"), Some(BASE));
        let Inline::PutBack(text) = unmoved(&BASE.replacen('"', "f\"", 1)) else {
            panic!("a text that is no docstring was taken for one")
        };
        assert!(text.contains(&format!("{}\n    f\"", doc())), "{text}");
        put_back(&BASE.replace("Adds.\n", "Adds.\n    \\x3e>> f = int\n"), Some(BASE));
    }

    #[test]
    fn many_definitions_of_one_name_are_read_in_time() {
        let many = "def f():\n    pass\n".repeat(20_000);
        let start = std::time::Instant::now();
        assert!(matches!(unmoved(&many), Inline::PutBack(_)));
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
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
        assert!(matches!(check(&format!("{}<", fixed.replace("toBe(2)", "toBe(1)"))), Inline::Lost(_)));
        assert_eq!(check(&fixed.replace("=> x", "=> < x")), Inline::Same);
        let Inline::PutBack(again) = check(without) else { panic!("no test was put back") };
        assert!(again.starts_with(without) && again.contains(tests.trim_end()));
        assert!(matches!(check("export const g = 1;\n"), Inline::Lost(_)));
    }
}
