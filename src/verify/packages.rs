//! Go packages that moved: a patch gave all product files of a folder, under their names, to one new folder. The tests
//! of the base in the old folder are then the new one's, and say what they said: only the import path of the package
//! changes, in them and in other tests. What the package does in its new place is the product's own, as before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use crate::patch::{Patch, RepoPath};

/// Packages of the base that moved.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Packages(Vec<Package>);

/// A package in its old and its new place.
#[derive(Clone, Debug, PartialEq)]
struct Package {
    /// The folders, relative to the repository.
    old: String,
    new: String,
    /// How it is imported, which its test ids begin with.
    old_import: String,
    new_import: String,
}

impl Packages {
    /// The packages that a patch moved. `paths` are the files of the base, and `base` and `after` read one of the
    /// base's and one of the patched tree's.
    pub(super) fn between(
        candidate: &Patch,
        paths: &[RepoPath],
        base: &dyn Fn(&str) -> Option<String>,
        after: &dyn Fn(&str) -> Option<String>,
    ) -> Packages {
        // Names of product files by folder, before, and those that are new.
        let before = sources(paths.iter());
        let new = sources(candidate.0.iter().filter(|(_, file)| file.is_some()).map(|(path, _)| path));
        let gone = |path: &str| RepoPath::new(path).is_ok_and(|path| candidate.0.get(&path) == Some(&None));
        let left = before.iter().filter(|(folder, names)| {
            names.iter().all(|name| gone(&join(folder, name))) && !new.contains_key(*folder)
        });
        let mut found: Vec<Package> = left
            .filter_map(|(old, names)| {
                let same = |folder: &str| {
                    names.iter().all(|name| {
                        let clause = clause(&base(&join(old, name)).unwrap_or_default());
                        clause.is_some()
                            && clause == self::clause(&after(&join(folder, name)).unwrap_or_default())
                    })
                };
                let mut places = new.keys().filter(|place| !before.contains_key(*place) && same(place));
                let (place, None) = (places.next()?, places.next()) else { return None };
                Some(Package {
                    old: (*old).to_owned(),
                    new: (*place).to_owned(),
                    old_import: import(old, base)?,
                    new_import: import(place, after)?,
                })
            })
            .collect();
        let all = found.clone();
        found.retain(|one| all.iter().filter(|other| other.new == one.new).count() == 1);
        Packages(found)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where a package's tests are now: files that stand in its folder or in the `testdata` there.
    pub(super) fn place(&self, path: &str) -> Option<String> {
        let tests = |rest: &&str| rest.ends_with("_test.go") || rest.starts_with("testdata/");
        self.0.iter().find_map(|one| Some(join(&one.new, own(path, &one.old).filter(tests)?)))
    }

    /// Where a Go file of a package was.
    pub(super) fn from(&self, path: &str) -> Option<String> {
        let go = |rest: &&str| is_go(rest);
        self.0.iter().find_map(|one| Some(join(&one.old, own(path, &one.new).filter(go)?)))
    }

    /// A Go file that imports the packages from where they are now. Imports come before all else in a file.
    pub(super) fn imports(&self, text: &str) -> String {
        static BODY: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"(?m)^(func|type|var|const)\b").expect("a test compiles it"));
        let (head, body) = text.split_at(BODY.find(text).map_or(text.len(), |found| found.start()));
        let moved = |line: &str| {
            let one = self.0.iter().find(|one| line.contains(&format!("\"{}\"", one.old_import)));
            one.map_or(line.to_owned(), |one| {
                line.replace(&format!("\"{}\"", one.old_import), &format!("\"{}\"", one.new_import))
            })
        };
        let head: String = head.split_inclusive('\n').map(moved).collect();
        head + body
    }

    /// A test's id, `suite:import/path.TestName` or without a suite, in the new place.
    pub(super) fn id(&self, id: &str) -> String {
        let own = |id: &str| {
            self.0.iter().find_map(|one| {
                let rest = id.strip_prefix(&one.old_import)?.strip_prefix('.')?;
                Some(format!("{}.{rest}", one.new_import))
            })
        };
        let behind = || id.split_once(':').and_then(|(suite, id)| Some(format!("{suite}:{}", own(id)?)));
        own(id).or_else(behind).unwrap_or_else(|| id.to_owned())
    }
}

/// The names of Go's product files by their folders.
fn sources<'a>(paths: impl Iterator<Item = &'a RepoPath>) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut folders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for path in paths.map(RepoPath::as_str) {
        let aside = path.split('/').any(|part| part == "testdata" || part == "vendor");
        if is_go(path) && !path.ends_with("_test.go") && !aside {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            folders.entry(folder).or_default().insert(name);
        }
    }
    folders
}

fn is_go(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|own| own == "go")
}

/// The rest of the path of a file that stands in a folder or in the `testdata` there.
fn own<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    let rest = if folder.is_empty() { path } else { path.strip_prefix(folder)?.strip_prefix('/')? };
    (!rest.contains('/') || rest.starts_with("testdata/")).then_some(rest)
}

/// The name that a Go file gives its package.
fn clause(text: &str) -> Option<String> {
    static CLAUSE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?m)^package\s+(\w+)").expect("a test compiles it"));
    Some(CLAUSE.captures(text)?[1].to_owned())
}

/// How the package in a folder is imported, by the nearest `go.mod` above.
fn import(folder: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    static MODULE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"(?m)^module\s+"?([^\s"]+)"#).expect("a test compiles it"));
    let (mut above, mut inside) = (folder, "");
    loop {
        if let Some(text) = read(&join(above, "go.mod")) {
            return Some(join(&MODULE.captures(&text)?[1], inside));
        }
        if above.is_empty() {
            return None;
        }
        above = above.rsplit_once('/').map_or("", |(above, _)| above);
        inside = if above.is_empty() { folder } else { &folder[above.len() + 1..] };
    }
}

fn join(folder: &str, rest: &str) -> String {
    match (folder, rest) {
        ("", path) | (path, "") => path.to_owned(),
        (folder, rest) => format!("{folder}/{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::File;

    const LEXER: &str = "package lexer\n";

    /// What was found, as old and new import paths, where these files were there and these are changed.
    fn found(old: &[(&str, &str)], changes: &[(&str, Option<&str>)]) -> Packages {
        let old: BTreeMap<&str, &str> = [("go.mod", "module a.b/c\n")].iter().chain(old).copied().collect();
        let paths: Vec<RepoPath> = old.keys().map(|path| RepoPath::new(path).unwrap()).collect();
        let change =
            |(path, text): &(&str, Option<&str>)| (RepoPath::new(path).unwrap(), text.map(File::plain));
        let patch = Patch(changes.iter().map(change).collect());
        let base = |path: &str| old.get(path).map(|text| (*text).to_owned());
        let after = |path: &str| match changes.iter().find(|(name, _)| *name == path) {
            Some((_, text)) => text.map(str::to_owned),
            None => base(path),
        };
        Packages::between(&patch, &paths, &base, &after)
    }

    #[test]
    fn a_package_moved_where_all_its_files_are_gone_and_stand_in_one_new_folder() {
        let check = |old: &[(&str, &str)], changes: &[(&str, Option<&str>)], expected: &[(&str, &str)]| {
            let Packages(found) = found(old, changes);
            let found: Vec<_> =
                found.iter().map(|one| (one.old_import.as_str(), one.new_import.as_str())).collect();
            assert_eq!(found, expected, "{changes:?}");
        };
        let old = [("lexer/a.go", LEXER), ("lexer/b.go", LEXER), ("x/x.go", "package x\n")];
        let gone = [("lexer/a.go", None), ("lexer/b.go", None)];
        let with = |more: &[(&'static str, Option<&'static str>)]| [&gone[..], more].concat();
        let moved = [("a.b/c/lexer", "a.b/c/internal/lexer")];
        let both = [("internal/lexer/a.go", Some(LEXER)), ("internal/lexer/b.go", Some(LEXER))];
        check(&old, &with(&both), &moved);
        // One is missing, is of another package, is left, is in a folder that there was, or might be in two.
        check(&old, &with(&both[..1]), &[]);
        check(&old, &with(&[both[0], ("internal/lexer/b.go", Some("package y\n"))]), &[]);
        check(&old, &[&gone[..1], &both[..]].concat(), &[]);
        check(&old, &with(&[("x/a.go", Some(LEXER)), ("x/b.go", Some(LEXER))]), &[]);
        let more = [("y/a.go", Some(LEXER)), ("y/b.go", Some(LEXER))];
        check(&old, &with(&[&both[..], &more[..]].concat()), &[]);
        // Two that became one are none.
        let two = [("p/a.go", LEXER), ("q/b.go", LEXER)];
        check(&two, &[("p/a.go", None), ("q/b.go", None), both[0], both[1]], &[]);
        check(&[("c.go", LEXER)], &[("c.go", None), ("d/c.go", Some(LEXER))], &[("a.b/c", "a.b/c/d")]);
    }

    #[test]
    fn tests_of_a_moved_package_follow_it_and_others_import_it_from_there() {
        let moved =
            found(&[("lexer/a.go", LEXER)], &[("lexer/a.go", None), ("internal/lexer/a.go", Some(LEXER))]);
        assert_eq!(moved.place("lexer/a_test.go").as_deref(), Some("internal/lexer/a_test.go"));
        assert_eq!(moved.place("lexer/testdata/x/y").as_deref(), Some("internal/lexer/testdata/x/y"));
        assert_eq!(moved.place("lexer/sub/a_test.go"), None);
        assert_eq!(moved.place("lexer/README.md"), None);
        assert_eq!(moved.from("internal/lexer/a.go").as_deref(), Some("lexer/a.go"));
        let id = |id: &str, expected: &str| assert_eq!(moved.id(id), expected);
        id("a.b/c/lexer.TestA/x:y", "a.b/c/internal/lexer.TestA/x:y");
        id("sub:a.b/c/lexer.TestA", "sub:a.b/c/internal/lexer.TestA");
        id("a.b/c/lexer/sub.TestA", "a.b/c/lexer/sub.TestA");
        id("a.b/c.TestA/a.b/c/lexer.TestA", "a.b/c.TestA/a.b/c/lexer.TestA");
        let text = "package c\n\nimport (\n\tl \"a.b/c/lexer\"\n\t\"a.b/c/lexer/sub\"\n)\n";
        let body = "\nfunc TestA(t *testing.T) {\n\tif x != \"a.b/c/lexer\" {\n";
        let expected = text.replace("c/lexer\"", "c/internal/lexer\"");
        assert_eq!(moved.imports(&format!("{text}{body}")), format!("{expected}{body}"));
    }
}
