//! Honest renames of a public interface: a patch that gives a function, a method or a class another name changes the
//! tests that call it, in nothing but that name. The tests of the base are then replayed under the new name. A name
//! counts only if its definition vanished from the product, of which no file has a word of it any more, and the new
//! one's appeared there, so that this adds no power that the patch does not have anyway: what the function does under
//! its new name is the product's own. Texts and comments are nobody's names: they stay as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use similar::{DiffOp, TextDiff};

use super::code::{Code, WORD};

/// New names of product items by their old ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames {
    names: BTreeMap<String, String>,
    /// Old names that the patch's tests still use for something else.
    ambiguous: BTreeSet<String>,
}

/// The code of a file before and after, all texts and comments masked.
pub(super) struct Change {
    old: String,
    new: String,
}

/// Names that are made while a program runs: an old one may go on answering, and no word of it is left.
static COMPUTED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"\b__getattr(ibute)?__\b|\b(globals|vars|setattr)\(|\bexports\[|\bnew\s+Proxy\b|\bdefineProperty\b",
    )
    .expect("it is a constant")
});

impl Change {
    pub(super) fn new(path: &str, old: &str, new: &str) -> Change {
        Change { old: Code::read(path, old).masked(), new: Code::read(path, new).masked() }
    }
}

impl Renames {
    /// What a patch renamed, given its changes of product files and of test files.
    pub(super) fn between(product: &[Change], tests: &[Change]) -> Renames {
        let answers = |text: &str| COMPUTED.find_iter(text).count();
        if product.iter().any(|change| answers(&change.new) > answers(&change.old)) {
            return Renames::default();
        }
        let defined = |which: fn(&Change) -> &String| -> BTreeSet<String> {
            product.iter().flat_map(|change| definitions(which(change))).collect()
        };
        let (before, after) = (defined(|change| &change.old), defined(|change| &change.new));
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for Change { old, new } in tests {
            for (from, to) in alike(old, new).into_iter().flat_map(|(.., pairs)| pairs) {
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
                if tests.iter().any(|change| WORD.find_iter(&change.new).any(|word| word.as_str() == old)) {
                    renames.ambiguous.insert(old.clone());
                }
                renames.names.insert(old, name);
            }
        }
        renames
    }

    /// Forgets names that a file of the product still has a word of: they may go on meaning something.
    pub(super) fn forget_what_stands(&mut self, path: &str, text: &str) {
        for word in standing(path, text) {
            self.names.remove(word);
        }
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
    pub(super) fn replay(&self, path: &str, base: &str, patched: &str) -> String {
        let mut lines: Vec<String> = base.split_inclusive('\n').map(str::to_owned).collect();
        let new: Vec<&str> = patched.split_inclusive('\n').collect();
        let change = Change::new(path, base, patched);
        for (at, there, pairs) in alike(&change.old, &change.new) {
            if pairs.iter().all(|(from, to)| self.names.get(from) == Some(to)) {
                new[there].clone_into(&mut lines[at]);
            }
        }
        self.apply(path, &lines.concat())
    }

    /// The code of a file under the new names, where these are not ambiguous.
    pub fn apply(&self, path: &str, text: &str) -> String {
        Code::read(path, text).replaced(|word| {
            let new = self.names.get(word).filter(|_| !self.ambiguous.contains(word));
            new.map_or(word, String::as_str)
        })
    }

    /// Whether no name that may be followed stands in a test's id, before its parameters.
    pub fn keep(&self, id: &str) -> bool {
        let known = |word: &str| self.names.contains_key(word) && !self.ambiguous.contains(word);
        let name = id.split('[').next().unwrap_or(id);
        !WORD.find_iter(name).any(|word| known(word.as_str()))
    }
}

/// The words of a product file by which something may still be known. In Rust and Go, what comes behind a point is
/// used and not defined, and is often somebody else's.
pub(super) fn standing<'a>(path: &str, text: &'a str) -> Vec<&'a str> {
    let used = matches!(path.rsplit_once('.'), Some((_, "rs" | "go")));
    let code = Code::read(path, text);
    let words = code.words().filter(|(before, _)| !(used && *before == Some('.')));
    words.map(|(_, word)| word).collect()
}

/// The names that masked code defines, in the languages that have profiles.
fn definitions(text: &str) -> BTreeSet<String> {
    static DEFINED: LazyLock<[Regex; 3]> = LazyLock::new(|| {
        [
            r"\b(?:def|class|func|function|fn|const|let|var|static|struct|enum|trait|type|interface)\s+(?:mut\s+)?(?:\([^)\n]*\)\s*)?([A-Za-z_$][\w$]*)",
            r"(?m)^\s+(?:(?:async|static|get|set|public|private|readonly)\s+)*([A-Za-z_$][\w$]*)\s*\([^)\n]*\)[^;{}\n]*\{",
            r"(?m)^([A-Za-z_$][\w$]*)\s*(?::[^=\n]+)?=[^=]",
        ]
        .map(|pattern| Regex::new(pattern).expect("a test compiles it"))
    });
    let names = DEFINED.iter().flat_map(|defined| defined.captures_iter(text));
    let names = names.map(|found| found[1].to_owned());
    names.filter(|name| !NO_NAMES.contains(&name.as_str())).collect()
}

/// Words of the languages' own that stand where names of definitions may.
const NO_NAMES: [&str; 15] = [
    "if", "for", "while", "switch", "catch", "match", "with", "return", "else", "do", "mut", "Some", "None",
    "Ok", "Err",
];

/// Words that stand for one another, the old one first.
type Pairs = Vec<(String, String)>;

/// Lines of two masked texts that stand for one another and differ in words alone: their numbers, and the words.
fn alike(old: &str, new: &str) -> Vec<(usize, usize, Pairs)> {
    let (before, after): (Vec<&str>, Vec<&str>) =
        (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let mut found = Vec::new();
    for op in TextDiff::from_slices(&before, &after).ops() {
        if let DiffOp::Replace { old_index, old_len, new_index, new_len } = *op
            && old_len == new_len
        {
            let both = (old_index..old_index + old_len).zip(new_index..);
            found.extend(both.filter_map(|(at, there)| Some((at, there, pairs(before[at], after[there])?))));
        }
    }
    found
}

/// The words in which two lines differ, if they differ in nothing else.
fn pairs(old: &str, new: &str) -> Option<Pairs> {
    static TOKEN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"[A-Za-z_$][\w$]*|\S").expect("a test compiles it"));
    let tokens =
        |line: &str| TOKEN.find_iter(line).map(|token| token.as_str().to_owned()).collect::<Vec<_>>();
    // What a line stands in is told by its indentation.
    let indented = |line: &str| line.len() - line.trim_start().len();
    if indented(old) != indented(new) {
        return None;
    }
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
        Change::new("a.py", old, new)
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
            renames.replay("a.py", base, patched),
            "def test_a():\n    assert a.listing() == [1]\n    assert b == 2\n"
        );
        assert_eq!(renames.apply("a.py", "x.lines()"), "x.listing()");
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
        let product =
            change("def total(x): pass\n", "def fake(x): pass\ndef __getattr__(name): return wrong\n");
        assert!(Renames::between(&[product], &tests).is_empty(), "the old name goes on answering");
        let weaker = [change("assert total(x) == 5\n", "assert total(x) == 6\n")];
        let product = [change("def total(x): pass\n", "def fake(x): pass\n")];
        assert!(Renames::between(&product, &weaker).is_empty());
    }

    #[test]
    fn an_old_name_that_goes_on_meaning_something_is_renamed_only_where_the_patch_does_it() {
        let change = |old: &str, new: &str| Change::new("a.go", old, new);
        let product = [change("func (a *A) Lines() {}\n", "func (a *A) Listing() {}\n")];
        let base = "func f() {\n\ta.Lines()\n\tother.Lines()\n}\n";
        let patched = "func f() {\n\ta.Listing()\n\tother.Lines()\n}\n";
        let renames = Renames::between(&product, &[change(base, patched)]);
        assert_eq!(renames.replay("a.go", base, patched), patched);
        assert_eq!(renames.apply("a.go", "c.Lines()"), "c.Lines()");
    }

    #[test]
    fn a_word_of_a_text_is_no_name_though_a_function_of_that_name_is_renamed() {
        let product = [change("def each(x): pass\n", "def repeat(x): pass\n")];
        let base = "def test_a():\n    assert f('{% each %}', 1) == 2\n    assert each(1) == 'a  b'\n";
        let in_texts = base.replace("{% each", "{% repeat");
        assert!(Renames::between(&product, &[change(base, &in_texts)]).is_empty());
        let patched = in_texts.replace("each(1) == 'a  b'", "repeat(1) == 'a b'");
        let renames = Renames::between(&product, &[change(base, &base.replace("each(1)", "repeat(1)"))]);
        assert_eq!(renames.replay("a.py", base, &patched), base.replace("each(1)", "repeat(1)"));
        let held_out = "def test_b():\n    # each\n    assert f('{% each %}') == each(1)\n";
        assert_eq!(renames.apply("a.py", held_out), held_out.replace("each(1)", "repeat(1)"));
    }

    #[test]
    fn a_name_of_which_the_product_has_a_word_left_is_not_followed() {
        let product = [change("def total(x): pass\n", "def amount(x): pass\n")];
        let tests = [change("assert total(x) == 5\n", "assert amount(x) == 5\n")];
        let check = |path: &str, text: &str, forgotten: bool| {
            let mut renames = Renames::between(&product, &tests);
            assert!(!renames.is_empty());
            renames.forget_what_stands(path, text);
            assert_eq!(renames.is_empty(), forgotten, "{text}");
        };
        check("b.py", "from .plain import plain as total\n", true);
        check("b.py", "globals()['total'] = plain\n", true);
        check("b.py", "x = amount(1)  # it was total\n", false);
        check("b.rs", "fn f() { x.total() }\n", false);
        check("b.rs", "pub use plain::plain as total;\n", true);
    }

    #[test]
    fn keywords_and_prose_define_nothing() {
        let text = "// a class of shapes\nfn one() {\n    let mut sum = 0;\n    if (a) {\n    }\n    let Ok(x) = f();\n}\n";
        let found = definitions(&Code::read("a.rs", text).masked());
        assert_eq!(found, ["one", "sum"].map(str::to_owned).into());
    }
}
