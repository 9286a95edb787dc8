//! Composing takes of a candidate what may be judged: its product part. Edits of tests, of configuration and of
//! files that runners pick up by themselves are left out and reported; manifests are merged key by key; Rust files
//! that hold tests beside code are put together from both. Leaving something out is no accusation, since honest
//! patches edit tests too.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::Regex;

use super::attest::CONFIGURATION;
use super::doctests::{self, Doctests};
use super::inline::{self, Inline};
use super::manifest::{self, Merged};
use super::packages::Packages;
use super::renames::{self, Change, Renames};
use super::{Verifier, plain};
use crate::patch::{File, FileKind, Patch, RepoPath};
use crate::toolchain::{Suite, splice};
use crate::verdict::{Baseline, Failure, FailureKind, TestId, TestResult};

/// A candidate in two parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Composed {
    /// What may be judged.
    pub product: Patch,
    /// Paths whose edits are left out, with the part in brackets where it is not the whole file.
    pub left_out: Vec<String>,
    /// Tests of the base that could not be put back as they were, in sentences: the level says so.
    pub problems: Vec<String>,
    /// Test files of the base that are replayed under other names, among the product part; of files that moved, what
    /// the base has.
    pub replayed: Patch,
    /// The names, for tests that the patch does not know.
    pub renames: Names,
    /// What moved to another file or folder, its tests with it.
    pub moved: Moved,
}

/// What moved with the tests of the base.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moved {
    /// Files of Rust modules that the patch deleted, by the new files that stand in their places.
    modules: BTreeMap<String, String>,
    /// Go packages.
    packages: Packages,
    /// Python's examples.
    doctests: Doctests,
}

impl Moved {
    /// The file that a new one stands for.
    pub(super) fn from(&self, new: &RepoPath) -> Result<Option<RepoPath>> {
        let old = self.modules.get(new.as_str()).cloned().or_else(|| self.packages.from(new.as_str()));
        old.map(|old| RepoPath::new(&old)).transpose()
    }

    /// A file of tests where it belongs now, and as it imports what moved.
    pub(super) fn file(&self, path: &RepoPath, file: Option<&File>) -> Result<(RepoPath, Option<File>)> {
        let place = match self.packages.place(path.as_str()) {
            Some(place) => RepoPath::new(&place)?,
            None => path.clone(),
        };
        let file = file.map(|file| match text(file.clone()) {
            Ok(text) if ends_with(path, "go") => {
                File { kind: file.kind, content: self.packages.imports(&text).into_bytes() }
            }
            _ => file.clone(),
        });
        Ok((place, file))
    }

    /// What the base says, under the names that the tests in these files have now.
    pub(super) fn follow<'a>(&self, baseline: &'a Baseline) -> Cow<'a, Baseline> {
        if self.modules.is_empty() && self.packages.is_empty() && self.doctests.is_empty() {
            return Cow::Borrowed(baseline);
        }
        let all = |ids: &BTreeSet<TestId>| ids.iter().map(|id| self.id(id)).collect();
        let mut run = baseline.run.clone();
        run.tests = std::mem::take(&mut run.tests)
            .into_values()
            .map(|test| {
                let id = self.id(&test.id);
                (id.clone(), TestResult { id, ..test })
            })
            .collect();
        Cow::Owned(Baseline {
            targets: all(&baseline.targets),
            guards: all(&baseline.guards),
            flaky: all(&baseline.flaky),
            unrelated: all(&baseline.unrelated),
            disabled: all(&baseline.disabled),
            run,
            runs: baseline.runs,
        })
    }

    /// `crate old::tests::name` and `crate src/old.rs - old::item` with the new module and file, and
    /// `import/path.TestName` and `file.py::module.owner` with the new path.
    pub(super) fn id(&self, id: &str) -> TestId {
        self.modules.iter().fold(self.doctests.id(&self.packages.id(id)), |id, (new, old)| {
            let modules = |path: &str| format!(" {}::", module_of(path));
            id.replace(&format!(" {old} "), &format!(" {new} ")).replace(&modules(old), &modules(new))
        })
    }
}

/// The path of a module in its crate, by its file.
fn module_of(path: &str) -> String {
    let inside = path.rsplit_once("src/").map_or(path, |(_, inside)| inside);
    let inside = folder_of(inside).or(inside.strip_suffix(".rs")).unwrap_or(inside);
    inside.replace('/', "::")
}

/// The folder of a module whose file is the `mod.rs` in it.
fn folder_of(path: &str) -> Option<&str> {
    path.strip_suffix("/mod.rs")
}

/// The other file that the same module may be.
fn sibling(path: &str) -> Option<String> {
    match folder_of(path) {
        Some(folder) => Some(format!("{folder}.rs")),
        None => path.strip_suffix(".rs").map(|stem| format!("{stem}/mod.rs")),
    }
}

/// What a patch gave other names, in all languages and in Rust's inline tests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    general: Renames,
    rust: splice::Renames,
}

impl Names {
    /// A file of tests under the new names.
    pub fn apply(&self, path: &RepoPath, file: &File) -> File {
        let Ok(before) = text(file.clone()) else { return file.clone() };
        let mut after = self.general.apply(path.as_str(), &before);
        if ends_with(path, "rs") {
            after = splice::rename_all(&after, &self.rust);
        }
        File { kind: file.kind, content: after.into_bytes() }
    }

    /// Whether a test is called the same under the new names.
    pub fn keep(&self, id: &str) -> bool {
        self.general.keep(id)
    }
}

impl Verifier {
    /// Splits a candidate into what may be judged and what is left out.
    pub fn compose(&self, candidate: &Patch) -> Result<Composed> {
        let mut composed = Composed::default();
        let rust = self.rust_tests(candidate)?;
        let (protected, root) = (self.protected()?, &self.workshop.snapshot.root);
        let renames = self.renames(candidate, &protected)?;
        let packages = self.packages(candidate)?;
        let doctests = self.doctests(candidate, &protected)?;
        let moved = Moved { modules: rust.modules, packages, doctests };
        let followed = self.followed(candidate, &moved, &renames)?;
        for (path, after) in &candidate.0 {
            let before = self.workshop.snapshot.file(path)?;
            // What is there and cannot be read as a file (a folder, a device, gigabytes) cannot be edited either.
            let odd = path.under(root).symlink_metadata().is_ok() && before.is_none();
            let name = path.as_str().rsplit('/').next().unwrap_or_default();
            if odd {
                composed.left_out.push(path.to_string());
            } else if let Some(file) = followed.0.get(path) {
                if file != after {
                    composed.left_out.push(path.to_string());
                }
            } else if LOCKS.contains(&name) {
                composed.left_out.push(format!("{path} (made anew from the manifests)"));
            } else if let Some(merged) = merged(name, before.as_ref(), after.as_ref()) {
                composed.add_manifest(path, before.as_ref(), after.as_ref(), merged);
            } else if protected.is_match(path.as_str()) && !is_product(path, before.as_ref(), after.as_ref())
                || rust.files.contains(path.as_str())
            {
                composed.add_test(path, before.as_ref(), after.as_ref(), &renames);
            } else if moved.modules.values().any(|old| old == path.as_str()) {
                composed.product.0.insert(path.clone(), None);
            } else if ends_with(path, "rs") {
                let old = moved.from(path)?;
                let old = old.map(|old| self.workshop.snapshot.file(&old)).transpose()?.flatten();
                composed.replayed.0.extend(old.clone().map(|old| (path.clone(), Some(old))));
                composed.add_rust(path, before.as_ref(), old.as_ref(), after.as_ref(), &rust.renames);
            } else {
                let put_back = self.inline(path, before.as_ref(), after.as_ref(), &moved)?;
                composed.add_inline(path, after.as_ref(), put_back);
            }
        }
        let public = self.public(candidate, &protected, rust.renames)?;
        composed.renames = Names { general: renames, rust: public };
        composed.moved = moved;
        composed.replayed.0.extend(followed.0.clone().into_iter().filter(|(_, file)| file.is_some()));
        composed.product.0.extend(followed.0);
        Ok(composed)
    }

    /// A product file of a language whose tests may stand in it, with those of the base.
    fn inline(
        &self,
        path: &RepoPath,
        before: Option<&File>,
        after: Option<&File>,
        moved: &Moved,
    ) -> Result<Inline> {
        let read = |file: Option<&File>| file.and_then(|file| text(file.clone()).ok());
        let Some(old) = read(before) else { return Ok(Inline::Same) };
        let doctests = ends_with(path, "py") && old.contains(">>>") && self.runs_doctests()?;
        let Some(new) = read(after) else {
            let lost = after.is_some() && (doctests || old.contains(inline::VITEST));
            let why = || Inline::Lost("its tests cannot be read".to_owned());
            return Ok(if lost { why() } else { Inline::Same });
        };
        if doctests {
            return Ok(inline::python(&old, &new, &moved.doctests.of(path.as_str())));
        }
        if !(old.contains(inline::VITEST) || new.contains(inline::VITEST)) {
            return Ok(Inline::Same);
        }
        Ok(inline::script(path.as_str(), &old, &new))
    }

    /// The doctests that a candidate moved to other files.
    fn doctests(&self, candidate: &Patch, protected: &GlobSet) -> Result<Doctests> {
        let mut changes = Vec::new();
        for (path, after) in &candidate.0 {
            if ends_with(path, "py") && !protected.is_match(path.as_str()) {
                let read = |file: Option<File>| file.and_then(|file| text(file).ok()).unwrap_or_default();
                let (old, new) = (read(self.workshop.snapshot.file(path)?), read(after.clone()));
                changes.push(doctests::Change { path: path.to_string(), old, new });
            }
        }
        let any = changes.iter().any(|change| change.old.contains(">>>")) && self.runs_doctests()?;
        Ok(if any { Doctests::between(&changes) } else { Doctests::default() })
    }

    /// Whether anything of the base's tests or their configuration speaks of doctests.
    fn runs_doctests(&self) -> Result<bool> {
        let (protected, snapshot) = (self.protected()?, &self.workshop.snapshot);
        for path in snapshot.paths()? {
            let tests = protected.is_match(path.as_str()) && ends_with(&path, "py");
            let name = path.as_str().rsplit('/').next().unwrap_or_default();
            if (tests || CONFIGURATION.contains(&name))
                && let Some(file) = snapshot.file(&path)?
                && text(file).is_ok_and(|text| text.contains("doctest"))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Names that a candidate changed in its product and in the tests that call it.
    fn renames(&self, candidate: &Patch, protected: &GlobSet) -> Result<Renames> {
        if !candidate.paths().any(|path| protected.is_match(path.as_str())) {
            return Ok(Renames::default());
        }
        let (mut product, mut tests): (Vec<Change>, Vec<Change>) = (Vec::new(), Vec::new());
        for (path, after) in &candidate.0 {
            let read = |file: Option<File>| file.and_then(|file| text(file).ok()).unwrap_or_default();
            let (old, new) = (read(self.workshop.snapshot.file(path)?), read(after.clone()));
            let change = Change::new(path.as_str(), &old, &new);
            if !protected.is_match(path.as_str()) {
                product.push(change);
            } else if !old.is_empty() && !new.is_empty() {
                tests.push(change);
            }
        }
        let mut renames = Renames::between(&product, &tests);
        if !renames.is_empty() {
            self.product(candidate, protected, &mut |path, text| renames.forget_what_stands(path, text))?;
        }
        Ok(renames)
    }

    /// Shows the texts of all source files that a tree with the candidate has beside its tests.
    fn product(&self, candidate: &Patch, protected: &GlobSet, see: &mut dyn FnMut(&str, &str)) -> Result<()> {
        let sources = self.sources()?;
        let mut paths: BTreeSet<RepoPath> = self.workshop.snapshot.paths()?.into_iter().collect();
        paths.extend(candidate.paths().cloned());
        for path in paths.iter().filter(|path| sources.is_match(path.as_str())) {
            let before = self.workshop.snapshot.file(path)?;
            let after = candidate.0.get(path).unwrap_or(&before);
            if protected.is_match(path.as_str()) && !is_product(path, before.as_ref(), after.as_ref()) {
                continue;
            }
            if let Some(text) = after.clone().and_then(|file| text(file).ok()) {
                see(path.as_str(), &text);
            }
        }
        Ok(())
    }

    /// Rust's renames for tests outside of the product: of names that nothing in the product has any more.
    fn public(
        &self,
        candidate: &Patch,
        protected: &GlobSet,
        names: splice::Renames,
    ) -> Result<splice::Renames> {
        let mut left = names;
        if !left.is_empty() {
            self.product(candidate, protected, &mut |path, text| {
                left.forget(&renames::standing(path, text));
            })?;
        }
        Ok(left)
    }

    /// A file of the base as text.
    fn text_before(&self, path: &str) -> Option<String> {
        text(self.workshop.snapshot.file(&RepoPath::new(path).ok()?).ok()??).ok()
    }

    /// A file as text, as a candidate leaves it.
    fn text_after(&self, candidate: &Patch, path: &str) -> Option<String> {
        match candidate.0.get(&RepoPath::new(path).ok()?) {
            Some(file) => text(file.clone()?).ok(),
            None => self.text_before(path),
        }
    }

    /// What must be known of a candidate's Rust files together: those that only tests lead to, and renames.
    fn rust_tests(&self, candidate: &Patch) -> Result<RustTests> {
        if !candidate.paths().any(|path| ends_with(path, "rs")) {
            return Ok(RustTests::default());
        }
        let base = |path: &str| self.text_before(path);
        let after = |path: &str| self.text_after(candidate, path);
        let old: BTreeSet<String> = self
            .workshop
            .snapshot
            .paths()?
            .iter()
            .filter(|path| ends_with(path, "rs"))
            .map(ToString::to_string)
            .collect();
        let new: BTreeSet<String> =
            old.iter().cloned().chain(candidate.paths().map(ToString::to_string)).collect();
        let names = |paths: &'_ BTreeSet<String>| paths.iter().cloned().collect::<Vec<_>>();
        let (old_names, new_names) = (names(&old), names(&new));
        let slices = |names: &'_ [String]| names.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let (old_text, new_text) = (slices(&old_names), slices(&new_names));
        let mut files = splice::test_files(&old_text.lines().collect::<Vec<_>>(), &base);
        let later = splice::test_files(&new_text.lines().collect::<Vec<_>>(), &after);
        files.extend(later.into_iter().filter(|path| !old.contains(path)));
        let changed: Vec<(String, String)> = candidate
            .paths()
            .filter(|path| ends_with(path, "rs"))
            .map(|path| (base(path.as_str()).unwrap_or_default(), after(path.as_str()).unwrap_or_default()))
            .collect();
        let pairs: Vec<(&str, &str)> =
            changed.iter().map(|(old, new)| (old.as_str(), new.as_str())).collect();
        let modules = moved(candidate, &files, &base);
        Ok(RustTests { files, renames: splice::Renames::between(&pairs), modules })
    }

    /// The Go packages that a candidate moved.
    fn packages(&self, candidate: &Patch) -> Result<Packages> {
        if !candidate.paths().any(|path| ends_with(path, "go")) {
            return Ok(Packages::default());
        }
        let base = |path: &str| self.text_before(path);
        let after = |path: &str| self.text_after(candidate, path);
        Ok(Packages::between(candidate, &self.workshop.snapshot.paths()?, &base, &after))
    }

    /// The base's tests of Go packages that moved, in their new places and gone from the old ones, and its other tests
    /// that import these. Data of tests moves where the patch moves it.
    fn followed(&self, candidate: &Patch, moved: &Moved, renames: &Renames) -> Result<Patch> {
        let mut followed = Patch::default();
        if moved.packages.is_empty() {
            return Ok(followed);
        }
        for path in self.workshop.snapshot.paths()? {
            let test = path.as_str().ends_with("_test.go");
            let data = format!("/{path}").contains("/testdata/") && candidate.0.get(&path) == Some(&None);
            let Some(before) = self.workshop.snapshot.file(&path)?.filter(|_| test || data) else { continue };
            let (place, file) = moved.file(&path, Some(&before))?;
            if place == path && file.as_ref() == Some(&before) {
                continue;
            }
            let patched = candidate.0.get(&place).cloned().flatten().and_then(|file| text(file).ok());
            let file = match (file.clone().map(text), patched) {
                (Some(Ok(own)), Some(patched)) if test => {
                    let content = renames.replay(path.as_str(), &own, &patched).into_bytes();
                    Some(File { kind: before.kind, content })
                }
                _ => file,
            };
            if place != path {
                followed.0.insert(path, None);
            }
            followed.0.insert(place, file);
        }
        Ok(followed)
    }

    /// The globs of protected files: the task's, and those of every suite below its folder.
    pub fn protected(&self) -> Result<GlobSet> {
        let own = self.suites.iter().flat_map(Suite::protected);
        globs(self.task.protected.iter().cloned().chain(own))
    }

    /// The globs of product source files.
    pub fn sources(&self) -> Result<GlobSet> {
        globs(self.suites.iter().flat_map(Suite::sources))
    }
}

/// Lock files are made anew, offline, from the base's and the merged manifests.
const LOCKS: [&str; 7] = [
    "Cargo.lock",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "poetry.lock",
    "uv.lock",
];

/// What is known of a candidate's Rust files together.
#[derive(Default)]
struct RustTests {
    /// Files that only test modules lead to.
    files: BTreeSet<String>,
    renames: splice::Renames,
    /// See [`Moved`].
    modules: BTreeMap<String, String>,
}

/// Files of modules that are in another place: `x.rs` is `x/mod.rs` now, or the other way round; or they got another
/// name in the same folder, where one with tests is gone, and one, or one with tests, is new. The code is the patch's,
/// and the tests are those of the file that is gone.
fn moved(
    candidate: &Patch,
    tests: &BTreeSet<String>,
    base: &dyn Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    #[derive(Default)]
    struct Folder<'a> {
        gone: Vec<&'a str>,
        new: Vec<(&'a str, bool)>,
    }
    let same = same_module(candidate, base);
    let mut folders: BTreeMap<&str, Folder<'_>> = BTreeMap::new();
    for (path, after) in &candidate.0 {
        let (folder, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
        let root = ["lib.rs", "main.rs", "mod.rs", "build.rs"].contains(&name);
        let known = same.iter().any(|(new, old)| [new, old].contains(&&path.to_string()));
        if !ends_with(path, "rs") || root || known || tests.contains(path.as_str()) {
            continue;
        }
        let folder = folders.entry(folder).or_default();
        match (base(path.as_str()), after.clone().and_then(|file| text(file).ok())) {
            (Some(old), None) if splice::has_tests(&old) => folder.gone.push(path.as_str()),
            (None, Some(text)) => folder.new.push((path.as_str(), splice::has_tests(&text))),
            _ => {}
        }
    }
    let pairs = folders.into_values().filter_map(|Folder { gone, mut new }| {
        if new.len() > 1 {
            new.retain(|(_, tested)| *tested);
        }
        match (gone.as_slice(), new.as_slice()) {
            ([old], [(new, _)]) => Some(((*new).to_owned(), (*old).to_owned())),
            _ => None,
        }
    });
    pairs.chain(same.iter().cloned()).collect()
}

/// Files with tests that are gone, behind the new ones that are the same module: `x.rs` and `x/mod.rs`.
fn same_module(candidate: &Patch, base: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let pair = |(path, after): (&RepoPath, &Option<File>)| {
        let old = sibling(path.as_str())?;
        let gone = candidate.0.get(&RepoPath::new(&old).ok()?).is_some_and(Option::is_none);
        let new = after.is_some() && base(path.as_str()).is_none();
        (new && gone && splice::has_tests(&base(&old)?)).then(|| (path.to_string(), old))
    };
    candidate.0.iter().filter_map(pair).collect()
}

impl Composed {
    /// A test's edit is left out, but for names of the product's that it follows.
    fn add_test(&mut self, path: &RepoPath, before: Option<&File>, after: Option<&File>, renames: &Renames) {
        let both = before.zip(after).filter(|_| !renames.is_empty());
        let texts = both.and_then(|(old, new)| Some((text(old.clone()).ok()?, text(new.clone()).ok()?)));
        let replayed = texts.map(|(old, new)| {
            let replayed = renames.replay(path.as_str(), &old, &new);
            (replayed != old, replayed)
        });
        let Some((true, replayed)) = replayed else {
            self.left_out.push(path.to_string());
            return;
        };
        let kind = before.map_or(FileKind::Plain, |file| file.kind);
        let file = File { kind, content: replayed.into_bytes() };
        if Some(&file) != after {
            self.left_out.push(format!("{path} (all but names: {})", renames.shown()));
        }
        self.product.0.insert(path.clone(), Some(file.clone()));
        self.replayed.0.insert(path.clone(), Some(file));
    }

    fn add_manifest(&mut self, path: &RepoPath, before: Option<&File>, after: Option<&File>, merged: Merged) {
        match merged {
            Merged::Patched => drop(self.product.0.insert(path.clone(), after.cloned())),
            Merged::Base => {
                if before != after {
                    self.left_out.push(format!("{path} (keys of tests and runners)"));
                }
            }
            Merged::Both(text) => {
                self.left_out.push(format!("{path} (keys of tests and runners)"));
                self.product.0.insert(path.clone(), Some(File::plain(text)));
            }
        }
    }

    fn add_inline(&mut self, path: &RepoPath, after: Option<&File>, found: Inline) {
        let mut after = after.cloned();
        match found {
            Inline::Same => {}
            Inline::PutBack(text) => {
                self.left_out.push(format!("{path} (tests beside the code)"));
                let kind = after.map_or(FileKind::Plain, |file| file.kind);
                after = Some(File { kind, content: text.into_bytes() });
            }
            Inline::Lost(why) => self.problems.push(format!("{path}: {why}")),
        }
        self.product.0.insert(path.clone(), after);
    }

    fn add_rust(
        &mut self,
        path: &RepoPath,
        before: Option<&File>,
        moved: Option<&File>,
        after: Option<&File>,
        renames: &splice::Renames,
    ) {
        let readable = |file: Option<&File>| file.map(|file| text(file.clone())).transpose();
        let (old, new) = (readable(before.or(moved)), readable(after));
        let (Ok(old), Ok(new)) = (&old, new) else {
            if matches!(old, Ok(Some(_))) {
                self.problems.push(format!("{path}: its tests cannot be read"));
            }
            self.product.0.insert(path.clone(), after.cloned());
            return;
        };
        let spliced = splice::rust_with(old.as_deref(), new.as_deref(), renames);
        if !spliced.notes.is_empty() {
            let notes = crate::text::list(&spliced.notes, 3);
            self.left_out.push(format!("{path} ({notes})"));
        }
        self.problems.extend(spliced.problem.map(|problem| format!("{path}: {problem}")));
        if moved.is_some()
            || spliced.text != *old
            || before.map(|file| file.kind) != after.map(|file| file.kind)
        {
            let kind = after.map_or(FileKind::Plain, |file| file.kind);
            let file = spliced.text.map(|text| File { kind, content: text.into_bytes() });
            self.product.0.insert(path.clone(), file);
        }
    }
}

/// The failure of a candidate of which nothing is left to judge.
pub fn nothing_left(composed: &Composed) -> Option<Failure> {
    if !composed.product.is_empty() {
        return None;
    }
    Some(if composed.left_out.is_empty() {
        plain(FailureKind::NoEdit, "the candidate changes nothing".to_owned())
    } else {
        let names = crate::text::list(&composed.left_out, 3);
        let summary = format!(
            "only files of tests and configuration were edited ({names}), and those are left as they are"
        );
        plain(FailureKind::OnlyProtected, summary)
    })
}

/// The text of a plain file.
fn text(file: File) -> Result<String> {
    anyhow::ensure!(file.kind != FileKind::Link, "a link has no text");
    Ok(String::from_utf8(file.content)?)
}

fn ends_with(path: &RepoPath, ending: &str) -> bool {
    std::path::Path::new(path.as_str()).extension().is_some_and(|own| own == ending)
}

/// A manifest put together, if the file is one and stays one.
fn merged(name: &str, before: Option<&File>, after: Option<&File>) -> Option<Merged> {
    let Some(after) = after else {
        // A manifest that is deleted takes the configuration of its tests along.
        return manifest::merge(name, None, "").map(|_| Merged::Base);
    };
    let (Ok(before), Ok(after)) = (before.map(|file| text(file.clone())).transpose(), text(after.clone()))
    else {
        return manifest::merge(name, None, "").map(|_| Merged::Base);
    };
    manifest::merge(name, before.as_deref(), &after)
}

/// Whether a file that is named like a test is product code all the same: it stands among product code and holds no
/// test, neither on the base nor in the candidate.
fn is_product(path: &RepoPath, before: Option<&File>, after: Option<&File>) -> bool {
    static NAMED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(test_.*|.*_test|tests|test.*)\.(py|rs)$").expect("a test compiles it")
    });
    static FOLDER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(^|/)(tests?|specs?|testdata|__\w+__|node_modules|\.[^/]+)/")
            .expect("a test compiles it")
    });
    static TEST: LazyLock<Regex> = LazyLock::new(|| {
        let python = r"\bdef\s+test|\bclass\s+\w*Test|\bunittest\b|\bpytest\b|\bdoctest\b|__test__";
        let rust = r"#\s*\[\s*(\w+\s*::\s*)*(test|rstest|test_case|bench|cfg\s*\(\s*test)\b";
        Regex::new(&format!("{python}|{rust}")).expect("a test compiles it")
    });
    let path = path.as_str();
    let (_, name) = path.rsplit_once('/').unwrap_or(("", path));
    let product = |file: Option<&File>| {
        file.is_none_or(|file| text(file.clone()).is_ok_and(|text| !TEST.is_match(&text)))
    };
    // Deleting a file of tests leaves nothing that could hold one.
    after.is_some() && NAMED.is_match(name) && !FOLDER.is_match(path) && product(before) && product(after)
}

fn globs(globs: impl Iterator<Item = String>) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        // `*` stays within a folder: `test*.py` must not protect `testing/core.py`.
        let built = GlobBuilder::new(&glob).literal_separator(true).build();
        set.add(built.with_context(|| format!("{glob:?} is not a glob"))?);
    }
    Ok(set.build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_named_like_a_test_is_product_only_where_it_holds_none() {
        let check = |path: &str, before: Option<&str>, after: &str, expected: bool| {
            let (before, after) = (before.map(File::plain), File::plain(after));
            let path = RepoPath::new(path).unwrap();
            assert_eq!(is_product(&path, before.as_ref(), Some(&after)), expected, "{path}");
        };
        check("shop/test_utils.py", None, "def sample():\n    return 1\n", true);
        check("shop/test_utils.py", None, "def test_it():\n    pass\n", false);
        check("shop/test_utils.py", Some("def test_it():\n    pass\n"), "x = 1\n", false);
        check("tests/test_utils.py", None, "x = 1\n", false);
        check("conftest.py", None, "x = 1\n", false);
        check("src/test_support.rs", None, "pub fn sample() {}\n", true);
        check("src/test_support.rs", None, "#[test]\nfn a() {}\n", false);
        check(".hidden/test_a.py", None, "x = 1\n", false);
    }

    #[test]
    fn the_ids_of_a_moved_module_follow_it_and_others_do_not() {
        let moved = Moved {
            modules: [("src/a/lines.rs".to_owned(), "src/a/wrap.rs".to_owned())].into(),
            ..Moved::default()
        };
        let check = |before: &str, after: &str| assert_eq!(moved.id(before), after);
        check("shop a::wrap::tests::one", "shop a::lines::tests::one");
        check("shop a::wrapped::tests::one", "shop a::wrapped::tests::one");
        check("shop b::a::wrap::tests::one", "shop b::a::wrap::tests::one");
        check("shop::doc src/a/wrap.rs - a::wrap::cut", "shop::doc src/a/lines.rs - a::lines::cut");
        let folder = Moved {
            modules: [("src/a/wrap/mod.rs".to_owned(), "src/a/wrap.rs".to_owned())].into(),
            ..Moved::default()
        };
        let same = "shop a::wrap::tests::one";
        assert_eq!(folder.id(same), same);
        let doc = "shop::doc src/a/wrap.rs - a::wrap::cut";
        assert_eq!(folder.id(doc), "shop::doc src/a/wrap/mod.rs - a::wrap::cut");
        let baseline = Baseline { targets: ["shop a::wrap::one".to_owned()].into(), ..Baseline::default() };
        assert_eq!(moved.follow(&baseline).targets, ["shop a::lines::one".to_owned()].into());
    }

    #[test]
    fn a_module_moved_where_one_file_with_tests_is_gone_and_one_is_new() {
        let tested = "fn a() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn t() {}\n}\n";
        let check = |gone: &[&str], new: &[(&str, &str)], expected: &[(&str, &str)]| {
            let mut patch = Patch::default();
            patch.0.extend(gone.iter().map(|path| (RepoPath::new(path).unwrap(), None)));
            let new = new.iter().map(|(path, text)| (RepoPath::new(path).unwrap(), Some(File::plain(*text))));
            patch.0.extend(new);
            let base = |path: &str| gone.contains(&path).then(|| tested.to_owned());
            let expected = expected.iter().map(|(new, old)| ((*new).to_owned(), (*old).to_owned()));
            assert_eq!(moved(&patch, &BTreeSet::new(), &base), expected.collect());
        };
        check(&["src/a.rs"], &[("src/b.rs", tested)], &[("src/b.rs", "src/a.rs")]);
        check(&["src/a.rs"], &[("src/b.rs", "fn a() {}\n")], &[("src/b.rs", "src/a.rs")]);
        check(&["src/a.rs"], &[("src/b.rs", tested), ("src/c.rs", "")], &[("src/b.rs", "src/a.rs")]);
        check(&["src/a.rs"], &[("src/b.rs", ""), ("src/c.rs", "")], &[]);
        check(&["src/a.rs", "src/d.rs"], &[("src/b.rs", tested)], &[]);
        check(&["src/a.rs"], &[("src/x/b.rs", tested)], &[]);
        check(&["src/lib.rs"], &[("src/b.rs", tested)], &[]);
        // The same module in the other file that it may be.
        check(&["src/a.rs"], &[("src/a/mod.rs", "mod tests;")], &[("src/a/mod.rs", "src/a.rs")]);
        check(&["src/a/mod.rs"], &[("src/a.rs", tested)], &[("src/a.rs", "src/a/mod.rs")]);
        check(&["src/a.rs"], &[("src/a/mod.rs", ""), ("src/b.rs", tested)], &[("src/a/mod.rs", "src/a.rs")]);
        check(&["src/a.rs"], &[("src/b/mod.rs", tested)], &[]);
    }

    #[test]
    fn a_rust_file_that_cannot_be_read_any_more_is_a_problem() {
        let link = File { kind: FileKind::Link, content: b"a.txt".to_vec() };
        let odd = File::plain(b"fn a() {} // \xff".to_vec());
        let check = |before: Option<&File>, after: &File, expected: usize| {
            let (mut composed, path) = (Composed::default(), RepoPath::new("src/a.rs").unwrap());
            composed.add_rust(&path, before, None, Some(after), &splice::Renames::default());
            assert_eq!(composed.problems.len(), expected, "{composed:?}");
        };
        let tested = File::plain("fn a() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn t() {}\n}\n");
        check(Some(&tested), &link, 1);
        check(Some(&tested), &odd, 1);
        check(None, &link, 0);
        check(Some(&tested), &tested, 0);
    }
}
