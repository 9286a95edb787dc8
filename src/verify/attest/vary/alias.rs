//! Other names for Python test files, classes and functions. Renamed is only what nobody else names, and what runs
//! in the order of its names keeps its order.

use std::collections::{BTreeMap, BTreeSet};

use super::python::{self, NAMED, Test, runs_by_name};
use super::{Edits, Order, Source, Varied, head_of, holds_word, parse, word_count, words};
use crate::verify::attest::Draw;

/// Renames what can be renamed.
pub(super) fn vary(files: &[Source<'_>], order: &Order<'_>, draw: &mut Draw) -> Varied {
    let mut varied = Varied::default();
    let moved = moved(files, order, draw);
    for (path, text) in files {
        let new = moved.get(path).map_or(*path, String::as_str);
        let Some(tree) = parse(text, &tree_sitter_python::LANGUAGE.into()) else {
            continue;
        };
        let tests = python::tests(tree.root_node(), text);
        let quiet = !NAMED.iter().any(|word| text.contains(word)) && !imported(path, files);
        let names = if quiet { names(&tests, text, order, draw) } else { BTreeMap::new() };
        let mut edits = Edits::default();
        for test in &tests {
            let renamed: Vec<&str> =
                test.names.iter().map(|name| names.get(name).map_or(*name, String::as_str)).collect();
            for (node, name) in test.nodes.iter().zip(&renamed) {
                if !edits.0.iter().any(|(range, _)| *range == node.byte_range()) {
                    edits.replace(*node, *name);
                }
            }
            let (old, now) = (head_of(order.naming, path, &test.names), head_of(order.naming, new, &renamed));
            if old != now {
                varied.altered.insert(old.clone());
                varied.renamed.insert(old, now);
            }
        }
        if new != *path {
            varied.renamed.insert(head_of(order.naming, path, &[]), head_of(order.naming, new, &[]));
            varied.files.insert((*path).to_owned(), None);
        }
        let text = edits.apply(text);
        varied.files.insert(new.to_owned(), Some(text));
    }
    varied
}

/// Whether another test file speaks of this one.
fn imported(path: &str, files: &[Source<'_>]) -> bool {
    let stem = stem(path);
    files.iter().any(|(other, text)| *other != path && holds_word(text, stem))
}

fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".py").unwrap_or(name)
}

/// New paths of files, where all test files of a folder can be renamed; they keep their order.
fn moved<'a>(files: &[Source<'a>], order: &Order<'_>, draw: &mut Draw) -> BTreeMap<&'a str, String> {
    let mut folders: BTreeMap<&str, Vec<Source<'a>>> = BTreeMap::new();
    for file in files.iter().filter(|(path, _)| stem(path).starts_with("test_")) {
        let folder = file.0.rsplit_once('/').map_or("", |(folder, _)| folder);
        folders.entry(folder).or_default().push(*file);
    }
    let mut moved = BTreeMap::new();
    for (folder, mut files_here) in folders {
        let free = |(path, text): &Source<'_>| {
            let stem = stem(path);
            let told = ["__file__", "snapshot", "__name__"].iter().any(|word| text.contains(word));
            !told && !imported(path, files) && !order.elsewhere.contains(stem) && !holds_word(text, stem)
        };
        if !files_here.iter().all(free) {
            continue;
        }
        files_here.sort_unstable();
        let mut taken =
            files.iter().map(|(path, _)| stem(path).trim_start_matches("test_").to_owned()).collect();
        let mut names: Vec<String> = files_here.iter().map(|_| words::snake(draw, &mut taken)).collect();
        names.sort();
        for ((path, _), name) in files_here.iter().zip(names) {
            let slash = if folder.is_empty() { "" } else { "/" };
            moved.insert(*path, format!("{folder}{slash}test_{name}.py"));
        }
    }
    moved
}

/// New names of a file's test functions and classes.
fn names<'t>(
    tests: &[Test<'t>],
    text: &str,
    order: &Order<'_>,
    draw: &mut Draw,
) -> BTreeMap<&'t str, String> {
    let all: BTreeSet<&str> = tests.iter().flat_map(|test| test.names.iter().copied()).collect();
    let free = |name: &&str| word_count(text, name) == 1 && !holds_word(order.elsewhere, name);
    let mut taken = BTreeSet::new();
    let mut names = BTreeMap::new();
    // What runs in the order of its names is renamed as a whole or not at all.
    let by_name: BTreeSet<&str> = tests
        .iter()
        .filter(|test| runs_by_name(test, order.naming))
        .filter_map(|test| test.names.last().copied())
        .collect();
    if by_name.iter().all(free) {
        let mut new: Vec<String> = by_name.iter().map(|_| words::snake(draw, &mut taken)).collect();
        new.sort();
        names.extend(by_name.iter().zip(new).map(|(old, new)| (*old, format!("test_{new}"))));
    }
    for name in all.iter().filter(|name| free(name) && !by_name.contains(**name)) {
        if name.starts_with("test") {
            names.insert(*name, format!("test_{}", words::snake(draw, &mut taken)));
        } else if name.starts_with("Test") && by_name.is_empty() {
            names.insert(*name, format!("Test{}", words::camel(draw, &mut taken)));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::Naming;
    use super::*;
    use crate::verify::attest::Variant;

    fn renamed(files: &[Source<'_>], elsewhere: &str, naming: Naming) -> Varied {
        let lines = &BTreeMap::new();
        let order = Order { variant: Variant::Alias, naming, alter: None, only: None, elsewhere, lines };
        vary(files, &order, &mut Draw(5))
    }

    #[test]
    fn files_classes_and_functions_get_other_names() {
        let text = "class TestA:\n    def test_b(self):\n        f()\n\n\ndef test_c():\n    g()\n";
        let varied = renamed(&[("t/test_x.py", text)], "", Naming::Pytest);
        assert_eq!(
            varied.altered,
            ["t/test_x.py::TestA::test_b".to_owned(), "t/test_x.py::test_c".to_owned()].into()
        );
        assert_eq!(varied.files["t/test_x.py"], None);
        let (path, new) = varied.files.iter().find(|(_, text)| text.is_some()).unwrap();
        let new = new.as_deref().unwrap();
        for word in ["TestA", "test_b", "test_c", "test_x"] {
            assert!(!new.contains(word) && !path.contains(word), "{path}: {new}");
        }
        let forth = varied.forth("t/test_x.py::test_c[a[1]-2]", Naming::Pytest);
        assert!(forth.starts_with(path.as_str()) && forth.ends_with("[a[1]-2]"), "{forth}");
        assert_eq!(varied.back(Naming::Pytest)(&forth), "t/test_x.py::test_c[a[1]-2]");
        assert!(new.contains("        f()\n\n\ndef test_"));
    }

    #[test]
    fn what_somebody_names_keeps_its_name() {
        let cases = [
            ("def test_c():\n    g()\n\n\ntest_c.slow = True\n", ""),
            ("def test_c():\n    g()\n", "--deselect test_x.py::test_c"),
            ("def test_c(request):\n    g(request.node.name)\n__name__", ""),
        ];
        for (text, elsewhere) in cases {
            let varied = renamed(&[("test_x.py", text)], elsewhere, Naming::Pytest);
            let same = varied.files.values().flatten().all(|new| new == text);
            assert!(same, "{varied:?}");
        }
        let files = [("test_x.py", "def test_c():\n    g()\n"), ("test_y.py", "from test_x import test_c\n")];
        assert_eq!(renamed(&files, "", Naming::Pytest).altered.len(), 0);
    }

    #[test]
    fn methods_and_files_that_run_by_name_keep_their_order() {
        let methods = ["test_1", "test_2", "test_3", "test_4", "test_5"];
        let body: String = methods.map(|name| format!("    def {name}(self):\n        f()\n\n")).concat();
        let text = format!("class A(TestCase):\n{body}");
        let files = [("test_a.py", text.as_str()), ("test_b.py", &text), ("test_c.py", &text)];
        let varied = renamed(&files, "", Naming::Unittest);
        let old: Vec<&String> = varied.renamed.keys().filter(|id| id.contains(".A.")).collect();
        let new: Vec<&String> = old.iter().map(|id| &varied.renamed[*id]).collect();
        assert_eq!(old.len(), 15);
        assert!(new.is_sorted(), "{new:?}");
    }
}
