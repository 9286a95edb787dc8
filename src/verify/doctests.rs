//! Doctests that moved: a patch gave a function, a class or a whole module of Python, its examples with it, to another
//! file. The examples say what they said, under the same name, so that the tests of the base are still there; only
//! the file and the module in their ids change. A name that the old module has all the same must be the new one's:
//! the examples would tell nothing of another.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::LazyLock;

use regex::Regex;

use super::code::{Code, WORD};
use super::inline;

/// Files that examples are in now, by the file of the base and the name of their owner, `.Class.method`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Doctests(BTreeMap<(String, String), String>);

/// A Python file before and after, without text where it is not there.
pub(super) struct Change {
    pub path: String,
    pub old: String,
    pub new: String,
}

impl Doctests {
    /// The examples that moved between changed files, each to one other file.
    pub(super) fn between(changes: &[Change]) -> Doctests {
        let mut found = BTreeMap::new();
        for from in changes.iter().filter(|change| change.old.contains(">>>")) {
            let gone = inline::gone(&from.old, &from.new);
            if gone.is_empty() {
                continue;
            }
            let mut places: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for to in changes.iter().filter(|to| to.path != from.path && to.new.contains(">>>")) {
                for owner in inline::came(&gone, &to.old, &to.new) {
                    places.entry(owner).or_default().push(&to.path);
                }
            }
            for (owner, places) in places {
                if let [place] = places.as_slice()
                    && !is_left(changes, &from.path, &owner, place)
                {
                    found.insert((from.path.clone(), owner), (*place).to_owned());
                }
            }
        }
        Doctests(found)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The owners of a file's examples that are in another file.
    pub(super) fn of(&self, path: &str) -> BTreeSet<String> {
        self.0.keys().filter(|(file, _)| file == path).map(|(_, owner)| owner.clone()).collect()
    }

    /// A test's id, `suite:file.py::module.owner` or without a suite, in the new place.
    pub(super) fn id(&self, id: &str) -> String {
        self.0
            .iter()
            .find_map(|((old, owner), new)| followed(id, old, owner, new))
            .unwrap_or_else(|| id.to_owned())
    }
}

/// Whether the module of a file goes on having something of the owner's name that is not what `place` has.
fn is_left(changes: &[Change], path: &str, owner: &str, place: &str) -> bool {
    let name = owner.split('.').nth(1).unwrap_or_default();
    let same = |change: &&Change| change.path != place && dotted(&change.path) == dotted(path);
    changes.iter().filter(same).any(|change| binds(change, name, place))
}

/// Whether a file binds a name, or may, other than by an import from `place`.
fn binds(change: &Change, name: &str, place: &str) -> bool {
    static IMPORT: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?m)^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)")
            .expect("a test compiles it")
    });
    static MAY: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"\bimport[ \t]*\(?[ \t]*\*|\b(__getattr__|globals|vars|locals|setattr|exec|eval|__dict__|sys)\b",
        )
        .expect("a test compiles it")
    });
    let masked = |text: &str| Code::read(&change.path, text).masked();
    let (old, new) = (masked(&change.old), masked(&change.new));
    let rest = IMPORT.replace_all(&new, |found: &regex::Captures<'_>| {
        let other = !imports(&change.path, &found[1], &found[2], place) || found[3].contains(" as ");
        if other { found[0].to_owned() } else { String::new() }
    });
    let bound = WORD.find_iter(&rest).filter(|word| word.as_str() == name).any(|word| {
        let before = rest[..word.start()].trim_end_matches([' ', '\t']);
        !rest[word.end()..].starts_with('(') || before.ends_with("def") || before.ends_with("class")
    });
    bound || MAY.find_iter(&rest).count() > MAY.find_iter(&old).count()
}

/// Whether `from {dots}{module}` in a file means the module of `place`.
fn imports(path: &str, dots: &str, module: &str, place: &str) -> bool {
    let place = dotted(place);
    if dots.is_empty() {
        return module.contains('.') && format!(".{place}").ends_with(&format!(".{module}"));
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.truncate(parts.len().saturating_sub(dots.len()));
    parts.extend(module.split('.').filter(|part| !part.is_empty()));
    parts.join(".") == place
}

/// The id of the examples of `owner` in `old` as they are called in `new`, if it is theirs.
fn followed(id: &str, old: &str, owner: &str, new: &str) -> Option<String> {
    let (file, name) = id.split_once("::")?;
    let (suite, below) = match file.split_once(':') {
        Some((suite, _)) => (format!("{suite}:"), format!("{suite}/")),
        None => (String::new(), String::new()),
    };
    let (old, new) = (old.strip_prefix(&below)?, new.strip_prefix(&below)?);
    if file.strip_prefix(&suite) != Some(old) {
        return None;
    }
    let module = name.strip_suffix(owner)?;
    // The folder that modules are imported from may be any above.
    let (from, to) = (dotted(old), dotted(new));
    let above = from.strip_suffix(module)?;
    let imported = to.strip_prefix(above).filter(|_| above.is_empty() || above.ends_with('.'))?;
    Some(format!("{suite}{new}::{imported}{owner}"))
}

/// The dotted name of a file's module, from the root.
fn dotted(path: &str) -> String {
    let stem = path.strip_suffix(".py").unwrap_or(path);
    stem.strip_suffix("/__init__").unwrap_or(stem).replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIP: &str =
        "def clip(x):\n    \"\"\"Cuts.\n\n    >>> clip(1)\n    2\n    \"\"\"\n    return x + 1\n";

    fn between(changes: &[(&str, &str, &str)]) -> Doctests {
        let change = |(path, old, new): &(&str, &str, &str)| Change {
            path: (*path).to_owned(),
            old: (*old).to_owned(),
            new: (*new).to_owned(),
        };
        Doctests::between(&changes.iter().map(change).collect::<Vec<_>>())
    }

    #[test]
    fn examples_that_stand_in_one_other_file_under_their_name_moved() {
        let moved = |changes: &[(&str, &str, &str)], expected: bool| {
            let found = between(changes);
            assert_eq!(found.of("src/a/merge.py").contains(".clip"), expected, "{changes:?}");
        };
        let gone = ("src/a/merge.py", CLIP, "x = 1\n");
        moved(&[gone, ("src/a/clip.py", "", CLIP)], true);
        moved(&[("src/a/merge.py", CLIP, ""), ("src/a/merge/__init__.py", "", CLIP)], true);
        // They say something else, or are hidden, called otherwise, in two places, or were there before.
        moved(&[gone, ("src/a/clip.py", "", &CLIP.replace("    2\n", "    3\n"))], false);
        moved(
            &[gone, ("src/a/clip.py", "", &CLIP.replace(">>> clip", ">>> clip = int\n    >>> clip"))],
            false,
        );
        moved(&[gone, ("src/a/clip.py", "", &CLIP.replace("def clip", "def cut"))], false);
        moved(&[gone, ("src/a/clip.py", "", &format!("{CLIP}\ndef clip(x): pass\n"))], false);
        moved(&[gone, ("src/a/clip.py", "", CLIP), ("src/a/b.py", "", CLIP)], false);
        moved(&[gone, ("src/a/clip.py", CLIP, CLIP)], false);
        // They need not follow anything that is still defined there.
        let there = ("src/a/merge.py", CLIP, "def clip(x): return 1\n");
        moved(&[there, ("src/a/clip.py", "", CLIP)], false);
    }

    #[test]
    fn a_name_that_the_old_module_has_all_the_same_is_the_new_ones() {
        let moved = |path: &str, left: &str, expected: bool| {
            let gone = ("src/a/merge.py", CLIP, if path == "src/a/merge.py" { left } else { "" });
            let mut changes = vec![gone, ("src/a/clip.py", "", CLIP)];
            if path != gone.0 {
                changes.push((path, "", left));
            }
            assert_eq!(!between(&changes).is_empty(), expected, "{left}");
        };
        let here = |left: &str, expected: bool| moved("src/a/merge.py", left, expected);
        here("from .clip import clip\n\ndef merge(x):\n    return clip(x)\n", true);
        here("from a.clip import (\n    clip,\n)\n", true);
        here("from .clip import clip  # as ever\n__all__ = ['clip']\n", true);
        here("from .other import clip\n", false);
        here("from ..clip import clip\n", false);
        here("from .clip import wrong as clip\n", false);
        here("from .clip import clip\nclip = int\n", false);
        here("from .other import *\n", false);
        here("globals()['clip'] = int\n", false);
        moved("src/a/merge/__init__.py", "from ..clip import clip\n", true);
        moved("src/a/merge/__init__.py", "from .clip import clip\n", false);
        moved("src/a/merge/__init__.py", "clip = int\n", false);
        moved("src/a/merge/__init__.py", "x = 1\n", true);
    }

    #[test]
    fn ids_of_moved_examples_follow_them() {
        let found = between(&[("src/a/merge.py", CLIP, ""), ("src/a/b/__init__.py", "", CLIP)]);
        let check = |id: &str, expected: &str| assert_eq!(found.id(id), expected);
        check("src/a/merge.py::a.merge.clip", "src/a/b/__init__.py::a.b.clip");
        check("src/a/merge.py::src.a.merge.clip", "src/a/b/__init__.py::src.a.b.clip");
        check("src:a/merge.py::a.merge.clip", "src:a/b/__init__.py::a.b.clip");
        for other in
            ["src/a/merge.py::a.merge.clip.inner", "src/a/merge.py::xa.merge.clip", "tests/t.py::clip"]
        {
            check(other, other);
        }
    }
}
