use std::collections::HashSet;

use super::*;
use crate::repair::grammar::Grammars;

/// All texts that a file may become, best first.
fn texts(path: &str, text: &str) -> Vec<String> {
    let grammars = Grammars::load(None).unwrap();
    let grammar = grammars.of(path).unwrap();
    let source = Source::new(RepoPath::new(path).unwrap(), text.to_owned(), grammar).unwrap();
    let mutants = source.mutants(&|_| 1.0, &grammars.priors, &Hints::default());
    for mutant in &mutants {
        assert!(grammars.priors.contains_key(mutant.kind), "{}", mutant.kind);
    }
    let mut known = HashSet::new();
    mutants.iter().filter_map(|mutant| source.apply(&mutant.edits, &mut known)).collect()
}

/// Asserts that a line of a file may become another text.
fn check(path: &str, text: &str, from: &str, to: &str) {
    let wanted = text.replacen(from, to, 1);
    let found = texts(path, text);
    let rank = found.iter().position(|text| *text == wanted);
    assert!(rank.is_some(), "{wanted} is not among {} texts", found.len());
}

const PYTHON: &str = "\
def search(items, wanted, low):
    \"\"\"Finds.\"\"\"
    best = 0
    last = None
    for item in items[low:]:
        if item.size < wanted and item.name is not None:
            best = item.size + 1
            items.append(best)
    while True:
        if wanted == 1:
            break
        wanted = max(wanted, low)
    return best
";

#[test]
fn python_is_mutated_by_its_grammar() {
    for (from, to) in [
        ("item.size < wanted", "item.size <= wanted"),
        ("wanted and item", "wanted or item"),
        ("item.size < wanted and", "item is None or item.size < wanted and"),
        ("item.size < wanted and item.name is not None", "item.size < wanted"),
        ("best = item.size + 1", "best = item.size"),
        ("best = item.size + 1", "best = max(best, item.size + 1)"),
        ("items[low:]", "items[low + 1:]"),
        ("max(wanted, low)", "min(wanted, low)"),
        ("max(wanted, low)", "max(low, wanted)"),
        ("while True", "while items"),
        ("wanted == 1", "wanted == 0"),
        ("return best", "return last"),
        ("return best", "return [best]"),
        ("    best = 0\n", "    if not items:\n        return 0\n    best = 0\n"),
        ("            items.append(best)\n", "            items.append(best)\n            last = best\n"),
        ("    best = 0\n    last = None\n", "    last = None\n    best = 0\n"),
        ("    last = None\n", ""),
        ("item.size + 1", "item.name + 1"),
    ] {
        check("a.py", PYTHON, from, to);
    }
}

#[test]
fn mutants_parse_and_differ_and_come_in_the_same_order() {
    let (first, second) = (texts("a.py", PYTHON), texts("a.py", PYTHON));
    assert_eq!(first, second);
    let distinct: HashSet<&String> = first.iter().collect();
    assert_eq!(distinct.len(), first.len());
    assert!(first.len() > 300, "{}", first.len());
}
