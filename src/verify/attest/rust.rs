//! Attested runs of Rust suites: the test bodies of the composed tree are rewritten ([`change`]) so that each tells a
//! token of its own when it has come to its end, and everything is built once more. The one build holds the controls
//! too, as choices that are made when a test runs ([`choice`]); [`play`] runs its programs.

mod change;
mod choice;
pub(super) mod names;
pub(super) mod perturb;
mod play;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use self::change::{Known, Pass};
use self::choice::Choices;
use super::{Assignment, Attestation, Draw, Play, Variant};
use crate::patch::{File, FileKind, Patch, RepoPath};
use crate::process::Finished;
use crate::toolchain::splice::{self, Module, Source};
use crate::toolchain::{Profile, Suite, rust_roots};
use crate::verify::observe::Phase;
use crate::workspace::{Workspace, read_beneath};

/// Source files are read up to this many bytes.
const SOURCE: u64 = 1 << 20;

/// Does an assignment for a suite of this language.
pub(super) async fn attest(assignment: &Assignment<'_>) -> Result<Option<Attestation>> {
    let alias = assignment.variant == Variant::Alias;
    let Some(session) = Session::build(assignment, alias).await? else { return Ok(None) };
    let Assignment { variant, only, alter, .. } = *assignment;
    let play = Play { variant, only, alter, but: None, whole: None };
    session.play(assignment.verifier, assignment.workspace, &play).await.map(Some)
}

/// A suite that was built once, with its controls in it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    suite: Suite,
    alias: bool,
    draw: Draw,
    choices: Choices,
    /// What was written into the tree.
    written: BTreeMap<RepoPath, Vec<u8>>,
    /// The test functions of each file.
    files: BTreeMap<String, Vec<Known>>,
    /// The modules that each file declares.
    modules: BTreeMap<String, Vec<Module>>,
    /// What the compiler and cargo announced.
    built: Arc<Vec<Finished>>,
    /// What speaks against the tree before anything ran.
    contradictions: Vec<String>,
    seconds: f64,
}

/// The suite as cargo and libtest run it; nextest is a wrapper of the repository's choice.
fn with_cargo(suite: &Suite) -> Result<Option<Suite>> {
    if suite.profile.name == "cargo" {
        return Ok(Some(suite.clone()));
    }
    let cargo = Profile::load(None)?.into_iter().find(|profile| profile.name == "cargo");
    Ok(cargo.map(|mut profile| {
        let own = Arc::make_mut(&mut profile);
        own.environment.extend(suite.profile.environment.clone());
        own.build.clone_from(&suite.profile.build);
        if let Some((build, ours)) = own.build.as_mut().zip(suite.profile.build.as_ref()) {
            build.commands.clone_from(&ours.commands);
            build.commands.push(["rustc", "--print", "target-libdir"].map(str::to_owned).to_vec());
        }
        Suite { profile, dir: suite.dir.clone() }
    }))
}

/// A file as text; empty when there is none.
fn read(root: &Path, path: &str) -> String {
    String::from_utf8(read_beneath(root, path, SOURCE).unwrap_or_default()).unwrap_or_default()
}

/// A test as its binary knows it.
#[derive(Clone, Debug)]
struct Entry {
    /// Its name in the base.
    old: String,
    known: Known,
}

impl Session {
    /// Rewrites the tests of a tree and builds them; `None`: they do not build.
    pub(super) async fn build(assignment: &Assignment<'_>, alias: bool) -> Result<Option<Session>> {
        let Some(suite) = with_cargo(assignment.suite)? else { return Ok(None) };
        let mut draw = assignment.secret.draw();
        let mut session = Session {
            suite,
            alias,
            choices: Choices::new(&mut draw),
            draw,
            written: BTreeMap::new(),
            files: BTreeMap::new(),
            modules: BTreeMap::new(),
            built: Arc::default(),
            contradictions: Vec::new(),
            seconds: 0.0,
        };
        session.look_at_manifests(assignment)?;
        let built = session.rewrite_and_build(assignment).await?;
        Ok(built.then_some(session))
    }

    /// The same with more test files, in a tree that holds it and them.
    pub(super) async fn extended(&self, assignment: &Assignment<'_>) -> Result<Option<Session>> {
        let mut session = self.clone();
        let built = session.rewrite_and_build(assignment).await?;
        Ok(built.then_some(session))
    }

    /// A patch that takes the sources of the tests away.
    pub(super) fn sources(&self) -> Patch {
        Patch(self.written.keys().map(|path| (path.clone(), None)).collect())
    }

    /// A test whose texts or expected values the compiler must know is built with what it allows; a crate that
    /// forbids lints is asked to allow none.
    async fn rewrite_and_build(&mut self, assignment: &Assignment<'_>) -> Result<bool> {
        let texts = self.texts(assignment)?;
        let lenient = self.choices.lenient;
        let ways = [(true, lenient), (false, lenient), (true, false), (false, false)];
        let forbids = lenient && Self::forbids(assignment, &texts)?;
        for (full, lenient) in ways.into_iter().take(if forbids { 4 } else { 2 }) {
            self.choices.lenient = lenient;
            self.rewrite(assignment, &texts, full)?;
            if self.run_build(assignment).await? {
                self.look_again(assignment.workspace);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether anything here forbids lints.
    fn forbids(assignment: &Assignment<'_>, texts: &BTreeMap<String, String>) -> Result<bool> {
        let tree = assignment.workspace.tree();
        let paths = assignment.verifier.workshop.snapshot.paths()?;
        let mut manifests = paths.iter().map(RepoPath::as_str).filter(|path| path.ends_with("Cargo.toml"));
        Ok(texts.values().any(|text| text.contains("forbid"))
            || manifests.any(|path| read(&tree, path).contains("forbid")))
    }

    /// The Rust files that the base has, as they are in the tree, but for those that are gone there (a module may stand
    /// in another file now) and those that were rewritten before.
    fn texts(&self, assignment: &Assignment<'_>) -> Result<BTreeMap<String, String>> {
        let paths = assignment.base_paths()?;
        let below =
            paths.iter().filter(|path| self.is_below(path.as_str()) && !self.written.contains_key(*path));
        let names = below.map(RepoPath::as_str);
        let rust = names.filter(|path| path.rsplit_once('.').is_some_and(|(_, ending)| ending == "rs"));
        let tree = assignment.workspace.tree();
        let there = rust.filter(|path| tree.join(path).symlink_metadata().is_ok());
        Ok(there.map(|path| (path.to_owned(), read(&tree, path))).collect())
    }

    fn is_below(&self, path: &str) -> bool {
        self.suite.dir.is_empty()
            || path.strip_prefix(&self.suite.dir).is_some_and(|rest| rest.starts_with('/'))
    }

    /// A dependency that is called like the standard library would be taken for it.
    fn look_at_manifests(&mut self, assignment: &Assignment<'_>) -> Result<()> {
        let Assignment { verifier, workspace, .. } = *assignment;
        let snapshot = &verifier.workshop.snapshot;
        for path in snapshot.paths()?.iter().map(RepoPath::as_str).filter(|path| path.ends_with("Cargo.toml"))
        {
            let (base, now) = (read(&snapshot.root, path), read(&workspace.tree(), path));
            if false_libraries(&now) > false_libraries(&base) {
                self.contradictions.push(format!("{path} calls a dependency like the standard library"));
            }
        }
        Ok(())
    }

    /// Rewrites the tests of the tree.
    fn rewrite(
        &mut self,
        assignment: &Assignment<'_>,
        texts: &BTreeMap<String, String>,
        full: bool,
    ) -> Result<()> {
        let names: Vec<&str> = texts.keys().map(String::as_str).collect();
        let test_files = splice::test_files(&names, &|path| texts.get(path).cloned());
        let mut new: BTreeMap<String, String> = BTreeMap::new();
        self.modules.extend(texts.iter().map(|(path, text)| (path.clone(), splice::modules(path, text))));
        for (path, text) in texts {
            let base = assignment.base_file(&RepoPath::new(path)?)?.map(|file| file.content);
            let base = String::from_utf8(base.unwrap_or_default()).unwrap_or_default();
            let (Some(source), Some(base)) = (Source::read(text), Source::read(&base)) else { continue };
            if change::renames_library(&source) && !change::renames_library(&base) {
                let what = format!("{path} gives the standard library's name to another crate");
                self.contradictions.push(what);
            }
            let mut pass = Pass {
                draw: &mut self.draw,
                choices: &mut self.choices,
                alias: self.alias,
                all_tests: test_files.contains(path) || is_integration(path),
                full,
                base: &base,
            };
            if let Some(changed) = pass.file(&source) {
                let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
                for (name, text) in changed.moved {
                    new.insert(format!("{folder}{name}"), text);
                }
                new.insert(path.clone(), changed.text);
                self.files.insert(path.clone(), changed.tests);
            }
        }
        for root in self.roots(texts) {
            let text = new.entry(root.clone()).or_insert_with(|| texts[&root].clone());
            text.push_str(&self.choices.reader());
        }
        let mut changes = Patch::default();
        for (path, text) in new {
            let (path, content) = (RepoPath::new(&path)?, text.into_bytes());
            self.written.insert(path.clone(), content.clone());
            changes.0.insert(path, Some(File { kind: FileKind::Plain, content }));
        }
        assignment.workspace.apply(&changes)
    }

    /// Files that crates begin with: those that no other declares.
    fn roots(&self, texts: &BTreeMap<String, String>) -> Vec<String> {
        let declared: BTreeSet<&String> =
            self.modules.values().flatten().filter_map(|module| self.file_of(module)).collect();
        let is_root = |path: &&String| {
            let name = path.rsplit('/').next().unwrap_or(path);
            name != "build.rs" && (!declared.contains(path) || ["lib.rs", "main.rs"].contains(&name))
        };
        texts.keys().filter(is_root).filter(|path| Source::read(&texts[*path]).is_some()).cloned().collect()
    }

    /// The file that a module stands in.
    fn file_of<'a>(&self, module: &'a Module) -> Option<&'a String> {
        module.files.iter().find(|file| self.modules.contains_key(*file))
    }

    /// Tests that are not what was written when all has been built were exchanged in between.
    fn look_again(&mut self, workspace: &Workspace) {
        let tree = workspace.tree();
        for (path, written) in &self.written {
            let now = read_beneath(&tree, path.as_str(), written.len() as u64 + 1).unwrap_or_default();
            if now != *written {
                self.contradictions.push(format!("{path} was changed while the tests were built"));
            }
        }
    }

    /// `false`: the rewritten tests do not build, so nothing can be attested.
    async fn run_build(&mut self, assignment: &Assignment<'_>) -> Result<bool> {
        let Assignment { verifier, workspace, .. } = *assignment;
        let results = verifier.workshop.scratch.results()?;
        let mut built = Vec::new();
        for invocation in self.suite.build(&workspace.places(), &verifier.launchers)? {
            let finished = verifier.run(&invocation, workspace, &results, Phase::Test).await?;
            self.seconds += finished.seconds;
            if !finished.exit.success() {
                return Ok(false);
            }
            built.push(finished);
        }
        let _ = std::fs::remove_dir_all(&results);
        self.built = Arc::new(built);
        Ok(true)
    }

    /// What libtest calls the test functions of each program.
    fn tables(&self, workspace: &Workspace) -> Result<BTreeMap<String, BTreeMap<String, Entry>>> {
        let roots = rust_roots(&self.built, &workspace.places(), &self.suite.dir)?;
        Ok(roots.into_iter().map(|(program, root)| (program, self.table(&root))).collect())
    }

    /// What libtest calls the test functions of the crate with this root.
    fn table(&self, root: &str) -> BTreeMap<String, Entry> {
        let mut table = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut next = vec![(root.to_owned(), Vec::new())];
        while let Some((file, path)) = next.pop() {
            if !seen.insert((file.clone(), path.clone())) || path.len() > 32 {
                continue;
            }
            for known in self.files.get(&file).into_iter().flatten() {
                let (_, modules) = known.path.split_last().unwrap_or((&known.name, &[]));
                let place: Vec<&str> = path.iter().chain(modules).map(String::as_str).collect();
                let named = |name: &str| [&place[..], &[name]].concat().join("::");
                let old = named(known.path.last().unwrap_or(&known.name));
                table.insert(named(&known.name), Entry { old, known: known.clone() });
            }
            for module in self.modules.get(&file).into_iter().flatten() {
                if let Some(there) = self.file_of(module) {
                    let inside = path.iter().chain(&module.path).cloned().collect();
                    next.push((there.clone(), inside));
                }
            }
        }
        table
    }
}

/// Whether a file is an integration test or belongs to one.
fn is_integration(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/")
}

/// Dependencies of a manifest that are called like the standard library.
fn false_libraries(text: &str) -> usize {
    let false_name = |line: &&str| {
        let line = line.trim().trim_start_matches('[').trim_end_matches(']');
        let key = line.split('=').next().unwrap_or_default().trim().rsplit('.').next().unwrap_or_default();
        ["std", "core", "alloc", "test"].contains(&key.trim_matches(['"', '\'']))
    };
    text.lines().filter(false_name).count()
}
