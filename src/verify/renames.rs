//! Honest renames of a public interface: a patch that gives a function, a method or a class another name changes the
//! tests that call it, in nothing but that name. The tests of the base are then replayed under the new name. A name
//! counts only if its definition vanished from the product and the new one's appeared there, so that this adds no
//! power that the patch does not have anyway: what the function does under its new name is the product's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use similar::{DiffOp, TextDiff};

/// New names of product items by their old ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames {
    names: BTreeMap<String, String>,
    /// Old names that the patch's tests still use for something else.
    ambiguous: BTreeSet<String>,
}

/// A file before and after.
pub(super) type Change = (String, String);

impl Renames {
    /// What a patch renamed, given its changes of product files and of test files.
    pub(super) fn between(product: &[Change], tests: &[Change]) -> Renames {
        let defined = |which: fn(&Change) -> &String| -> BTreeSet<String> {
            product.iter().flat_map(|change| definitions(which(change))).collect()
        };
        let (before, after) = (defined(|change| &change.0), defined(|change| &change.1));
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (old, new) in tests {
            for (from, to) in
                lines_of(old, new).iter().filter_map(|(_, one, other)| pairs(one, other)).flatten()
            {
                found.entry(from).or_default().insert(to);
            }
        }
        let mut renames = Renames::default();
        for (old, new) in found {
            let mut new = new.into_iter();
            let (Some(name), None) = (new.next(), new.next()) else { continue };
            let vanished = before.contains(&old) && !after.contains(&old);
            let appeared = after.contains(&name) && !before.contains(&name);
            if vanished && appeared && !renames.names.values().any(|known| *known == name) {
                if tests.iter().any(|(_, patched)| words(patched).any(|word| word == old)) {
                    renames.ambiguous.insert(old.clone());
                }
                renames.names.insert(old, name);
            }
        }
        renames
    }

    /// Whether nothing was renamed.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names, for people.
    pub fn shown(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|(old, new)| format!("{old} is {new}")).collect();
        crate::text::list(&names, 3)
    }

    /// A test file of the base under the new names; `patched` is what the patch made of it.
    pub(super) fn replay(&self, base: &str, patched: &str) -> String {
        let mut lines: Vec<String> = base.split_inclusive('\n').map(str::to_owned).collect();
        for (at, old, new) in lines_of(base, patched) {
            let known = |(from, to): &(String, String)| self.names.get(from) == Some(to);
            if pairs(old, new).is_some_and(|pairs| pairs.iter().all(known)) {
                new.clone_into(&mut lines[at]);
            }
        }
        self.apply(&lines.concat())
    }

    /// A text under the new names, where these are not ambiguous.
    pub fn apply(&self, text: &str) -> String {
        let new = |word: &regex::Captures<'_>| {
            let word = &word[0];
            let new = self.names.get(word).filter(|_| !self.ambiguous.contains(word));
            new.map_or(word, String::as_str).to_owned()
        };
        WORD.replace_all(text, new).into_owned()
    }
}

static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[A-Za-z_$][\w$]*").expect("a test compiles it"));

fn words(text: &str) -> impl Iterator<Item = &str> {
    WORD.find_iter(text).map(|word| word.as_str())
}

/// The names that a text defines, in the languages that have profiles.
fn definitions(text: &str) -> BTreeSet<String> {
    static DEFINED: LazyLock<[Regex; 3]> = LazyLock::new(|| {
        [
            r"\b(?:def|class|func|function|fn|const|let|var|static|struct|enum|trait|type|interface)\s+(?:\([^)\n]*\)\s*)?([A-Za-z_$][\w$]*)",
            r"(?m)^\s+(?:(?:async|static|get|set|public|private|readonly)\s+)*([A-Za-z_$][\w$]*)\s*\([^)\n]*\)[^;{}\n]*\{",
            r"(?m)^([A-Za-z_$][\w$]*)\s*(?::[^=\n]+)?=[^=]",
        ]
        .map(|pattern| Regex::new(pattern).expect("a test compiles it"))
    });
    let names = DEFINED.iter().flat_map(|defined| defined.captures_iter(text));
    names.map(|found| found[1].to_owned()).collect()
}

/// Lines that stand for one another in two texts, with the number of the first.
fn lines_of<'a>(old: &'a str, new: &'a str) -> Vec<(usize, &'a str, &'a str)> {
    let (before, after): (Vec<&str>, Vec<&str>) =
        (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let mut found = Vec::new();
    for op in TextDiff::from_slices(&before, &after).ops() {
        if let DiffOp::Replace { old_index, old_len, new_index, new_len } = *op
            && old_len == new_len
        {
            found.extend(
                (0..old_len).map(|at| (old_index + at, before[old_index + at], after[new_index + at])),
            );
        }
    }
    found
}

/// The words in which two lines differ, if they differ in nothing else.
fn pairs(old: &str, new: &str) -> Option<Vec<(String, String)>> {
    static TOKEN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"[A-Za-z_$][\w$]*|\S").expect("a test compiles it"));
    let tokens =
        |line: &str| TOKEN.find_iter(line).map(|token| token.as_str().to_owned()).collect::<Vec<_>>();
    let (old, new) = (tokens(old), tokens(new));
    if old.len() != new.len() {
        return None;
    }
    let mut found = Vec::new();
    for (one, other) in old.into_iter().zip(new) {
        if one == other {
            continue;
        }
        if !(WORD.is_match(&one) && WORD.is_match(&other)) {
            return None;
        }
        found.push((one, other));
    }
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(old: &str, new: &str) -> Change {
        (old.to_owned(), new.to_owned())
    }

    #[test]
    fn a_renamed_method_is_followed_and_nothing_else_of_the_tests_is_taken() {
        let product = [change(
            "class A:\n    def lines(self):\n        pass\n",
            "class A:\n    def listing(self):\n        pass\n",
        )];
        let base = "def test_a():\n    assert a.lines() == [1]\n    assert b == 2\n";
        let patched = "def test_a():\n    assert a.listing() == [1]\n    assert True\n";
        let tests = [change(base, patched)];
        let renames = Renames::between(&product, &tests);
        assert_eq!(
            renames.replay(base, patched),
            "def test_a():\n    assert a.listing() == [1]\n    assert b == 2\n"
        );
        assert_eq!(renames.apply("x.lines()"), "x.listing()");
    }

    #[test]
    fn a_name_that_the_product_does_not_give_up_or_does_not_define_is_not_followed() {
        let tests = [change("assert total(x) == 5\n", "assert fake(x) == 5\n")];
        for product in [
            change("def total(x): pass\n", "def total(x): pass\ndef fake(x): pass\n"),
            change("def total(x): pass\n", "y = 1\n"),
            change("", "def fake(x): pass\n"),
        ] {
            assert!(Renames::between(&[product], &tests).is_empty());
        }
        let weaker = [change("assert total(x) == 5\n", "assert total(x) == 6\n")];
        let product = [change("def total(x): pass\n", "def fake(x): pass\n")];
        assert!(Renames::between(&product, &weaker).is_empty());
    }

    #[test]
    fn an_old_name_that_goes_on_meaning_something_is_renamed_only_where_the_patch_does_it() {
        let product = [change("func (a *A) Lines() {}\n", "func (a *A) Listing() {}\n")];
        let base = "a.Lines()\nother.Lines()\n";
        let patched = "a.Listing()\nother.Lines()\n";
        let renames = Renames::between(&product, &[change(base, patched)]);
        assert_eq!(renames.replay(base, patched), patched);
        assert_eq!(renames.apply("c.Lines()"), "c.Lines()");
    }
}
