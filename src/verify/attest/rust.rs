//! Attested runs of Rust suites: the test bodies of the composed tree are rewritten ([`change`]) so that each tells
//! its own random token when it has come to its end, everything is built once more, and every test binary is run
//! by regreen itself, one process a test where there are few enough. A test is attested when libtest says that it
//! passed and nothing else did, the process ended with status 0, and its token, and no other, was written.

mod change;
pub(super) mod names;
pub(super) mod perturb;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use self::change::{Known, Pass};
use super::{Assignment, Attestation, Draw, Variant};
use crate::patch::{File, FileKind, Patch, RepoPath};
use crate::process::Finished;
use crate::toolchain::splice::{self, Module, Source};
use crate::toolchain::{Format, Invocation, Profile, Reads, Suite, rust_roots};
use crate::verdict::{Exit, Outcome, TestId, TestResult, keep_worse};
use crate::verify::observe::{self, Phase};
use crate::workspace::read_beneath;

/// Source files are read up to this many bytes.
const SOURCE: u64 = 1 << 20;

/// Up to this many tests of a binary run in a process each; more run together.
const APART: usize = 48;

/// Does an assignment for a suite of this language.
pub(super) async fn attest(assignment: &Assignment<'_>) -> Result<Option<Attestation>> {
    let Some(suite) = with_cargo(assignment.suite)? else {
        return Ok(None);
    };
    let ids = assignment.only.map(|only| suite.own_tests(only)).transpose()?;
    if ids.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Some(Attestation::default()));
    }
    let mut run = Run {
        assignment,
        written: BTreeMap::new(),
        suite,
        only: ids.map(|ids| ids.into_iter().collect()),
        draw: assignment.secret.draw(),
        files: BTreeMap::new(),
        modules: BTreeMap::new(),
        said: Attestation::default(),
    };
    let texts = run.texts()?;
    run.look_at_manifests()?;
    let results = assignment.verifier.workshop.scratch.results()?;
    run.rewrite(&texts, true)?;
    let mut done = run.build_and_run(&results).await?;
    if !done && assignment.variant == Variant::Alias {
        // A test whose texts or place the compiler must know still has another name.
        run.rewrite(&texts, false)?;
        done = run.build_and_run(&results).await?;
    }
    run.look_again();
    let _ = std::fs::remove_dir_all(&results);
    run.said.run.load = observe::load();
    Ok(done.then_some(run.said))
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

struct Run<'a> {
    assignment: &'a Assignment<'a>,
    suite: Suite,
    /// The tests to run, without the suite's prefix.
    only: Option<BTreeSet<TestId>>,
    draw: Draw,
    /// What was written into the tree.
    written: BTreeMap<RepoPath, Vec<u8>>,
    /// The test functions of each file.
    files: BTreeMap<String, Vec<Known>>,
    /// The modules that each file declares.
    modules: BTreeMap<String, Vec<Module>>,
    said: Attestation,
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

impl Run<'_> {
    /// The Rust files that the base has, as they are in the tree.
    fn texts(&self) -> Result<BTreeMap<String, String>> {
        let Assignment { verifier, workspace, .. } = *self.assignment;
        let paths = verifier.workshop.snapshot.paths()?;
        let below = paths.iter().map(RepoPath::as_str).filter(|path| self.is_below(path));
        let rust = below.filter(|path| path.rsplit_once('.').is_some_and(|(_, ending)| ending == "rs"));
        Ok(rust.map(|path| (path.to_owned(), read(&workspace.tree(), path))).collect())
    }

    fn is_below(&self, path: &str) -> bool {
        self.suite.dir.is_empty()
            || path.strip_prefix(&self.suite.dir).is_some_and(|rest| rest.starts_with('/'))
    }

    /// A dependency that is called like the standard library would be taken for it.
    fn look_at_manifests(&mut self) -> Result<()> {
        let Assignment { verifier, workspace, .. } = *self.assignment;
        let snapshot = &verifier.workshop.snapshot;
        for path in snapshot.paths()?.iter().map(RepoPath::as_str).filter(|path| path.ends_with("Cargo.toml"))
        {
            let (base, now) = (read(&snapshot.root, path), read(&workspace.tree(), path));
            if false_libraries(&now) > false_libraries(&base) {
                self.said.contradictions.push(format!("{path} calls a dependency like the standard library"));
            }
        }
        Ok(())
    }

    /// Rewrites the tests of the tree.
    fn rewrite(&mut self, texts: &BTreeMap<String, String>, hides: bool) -> Result<()> {
        let root = &self.assignment.verifier.workshop.snapshot.root;
        let names: Vec<&str> = texts.keys().map(String::as_str).collect();
        let test_files = splice::test_files(&names, &|path| texts.get(path).cloned());
        let library = if texts.values().any(|text| text.contains("no_std")) { "core" } else { "std" };
        let mut patch = Patch::default();
        for (path, text) in texts {
            self.modules.insert(path.clone(), splice::modules(path, text));
            let (Some(source), Some(base)) = (Source::read(text), Source::read(&read(root, path))) else {
                continue;
            };
            if change::renames_library(&source) && !change::renames_library(&base) {
                let what = format!("{path} gives the standard library's name to another crate");
                self.said.contradictions.push(what);
            }
            let mut pass = Pass {
                variant: self.assignment.variant,
                draw: &mut self.draw,
                all_tests: test_files.contains(path) || is_integration(path),
                hides,
                library,
                base: &base,
            };
            if let Some(changed) = pass.file(&source) {
                let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
                for (name, text) in changed.moved {
                    patch.0.insert(RepoPath::new(&format!("{folder}{name}"))?, Some(File::plain(text)));
                }
                let kind = FileKind::Plain;
                let file = File { kind, content: changed.text.into_bytes() };
                patch.0.insert(RepoPath::new(path)?, Some(file));
                self.files.insert(path.clone(), changed.tests);
            }
        }
        self.assignment.workspace.apply(&patch)?;
        let written = patch.0.into_iter().filter_map(|(path, file)| Some((path, file?.content)));
        self.written = written.collect();
        Ok(())
    }

    /// Tests that are not what was written when all has been built and run were exchanged in between.
    fn look_again(&mut self) {
        let tree = self.assignment.workspace.tree();
        for (path, written) in &self.written {
            let now = read_beneath(&tree, path.as_str(), written.len() as u64 + 1).unwrap_or_default();
            if now != *written {
                self.said
                    .contradictions
                    .push(format!("{path} was changed while the tests were built or ran"));
            }
        }
    }

    /// `false`: the rewritten tests do not build, so nothing can be attested.
    async fn build_and_run(&mut self, results: &Path) -> Result<bool> {
        let Assignment { verifier, workspace, .. } = *self.assignment;
        let mut built = Vec::new();
        for invocation in self.suite.build(&workspace.places(), &verifier.launchers)? {
            let finished = verifier.run(&invocation, workspace, results, Phase::Test).await?;
            self.said.run.seconds += finished.seconds;
            if !finished.exit.success() {
                return Ok(false);
            }
            built.push(finished);
        }
        self.said.run.built = true;
        let roots = rust_roots(&built, &workspace.places(), &self.suite.dir)?;
        let commands = self.suite.tests(&workspace.places(), &built, None, results, &verifier.launchers)?;
        for command in commands {
            match &command.reads {
                Reads::Tests(Format::Libtest, prefix) => {
                    let root = command.argv.first().and_then(|program| roots.get(program));
                    let table = root.map(|root| self.table(root)).unwrap_or_default();
                    self.run_binary(&command, prefix, &table, results).await?;
                }
                Reads::Tests(format, prefix) if self.assignment.variant == Variant::Plain => {
                    let why = match format {
                        Format::Doctest => "it is an example in the docs",
                        _ => "its binary has a harness of its own",
                    };
                    self.run_plain(&command, prefix, why, results).await?;
                }
                Reads::Tests(..) | Reads::Messages => {}
            }
        }
        Ok(true)
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
                let there = module.files.iter().find(|file| self.modules.contains_key(*file));
                if let Some(there) = there {
                    let inside = path.iter().chain(&module.path).cloned().collect();
                    next.push((there.clone(), inside));
                }
            }
        }
        table
    }

    /// Runs what has no beacon as it always runs.
    async fn run_plain(
        &mut self,
        command: &Invocation,
        prefix: &str,
        why: &str,
        results: &Path,
    ) -> Result<()> {
        let Assignment { verifier, workspace, .. } = *self.assignment;
        if self.only.as_ref().is_some_and(|only| !only.iter().any(|id| id.starts_with(prefix))) {
            return Ok(());
        }
        let finished = verifier.run(command, workspace, results, Phase::Test).await?;
        let parsed = self.suite.read(command, &finished, &workspace.places(), results)?;
        for test in &parsed.tests {
            if test.outcome == Outcome::Passed {
                self.said.unattestable.insert(test.id.clone(), why.to_owned());
            }
        }
        observe::note(&mut self.said.run, command, &finished, parsed)
    }

    /// Runs the tests of one binary.
    async fn run_binary(
        &mut self,
        command: &Invocation,
        prefix: &str,
        table: &BTreeMap<String, Entry>,
        results: &Path,
    ) -> Result<()> {
        let Assignment { verifier, workspace, variant, .. } = *self.assignment;
        let only = self.only.clone();
        let chosen = |old: &str| only.as_ref().is_none_or(|only| only.contains(&format!("{prefix}{old}")));
        if only.as_ref().is_some_and(|only| !only.iter().any(|id| id.starts_with(prefix))) {
            return Ok(());
        }
        let mut command = command.clone();
        if variant == Variant::Alias {
            command.argv[0] = self.copy_program(&command, results).await?;
        }
        let list = Invocation {
            argv: [&command.argv[0], "--list", "--format", "terse"].map(str::to_owned).to_vec(),
            reads: Reads::Messages,
            ..command.clone()
        };
        let listed = verifier.run(&list, workspace, results, Phase::Test).await?;
        self.said.run.seconds += listed.seconds;
        let mut tests = Vec::new();
        listed.stdout.lines(1 << 16, |line| {
            let line = String::from_utf8_lossy(line);
            if let Some(name) = line.strip_suffix(": test") {
                tests.push(Test::new(name, table));
            }
        })?;
        tests.retain(|test| chosen(&test.old));
        if tests.len() <= APART || only.is_some() {
            for test in &tests {
                self.run_some(&command, std::slice::from_ref(test), results).await?;
            }
        } else if !tests.is_empty() {
            self.run_some(&command, &tests, results).await?;
        }
        Ok(())
    }

    /// The binary under a name that tells nothing.
    async fn copy_program(&mut self, command: &Invocation, results: &Path) -> Result<String> {
        let Assignment { verifier, workspace, .. } = *self.assignment;
        let (folder, _) = command.argv[0].rsplit_once('/').unwrap_or((".", ""));
        let copy = format!("{folder}/{}-{:016x}", names::word(&mut self.draw), self.draw.word());
        let argv = ["cp", &command.argv[0], &copy].map(str::to_owned).to_vec();
        let copying = Invocation { argv, reads: Reads::Messages, ..command.clone() };
        verifier.run(&copying, workspace, results, Phase::Test).await?;
        Ok(copy)
    }

    /// Runs tests of one binary in one process, and weighs what it said.
    async fn run_some(&mut self, command: &Invocation, tests: &[Test], results: &Path) -> Result<()> {
        let Assignment { verifier, workspace, .. } = *self.assignment;
        let mut command = command.clone();
        command.argv.push("--exact".to_owned());
        command.argv.extend(tests.iter().map(|test| test.name.clone()));
        if tests.len() == 1 {
            command.argv.push("--test-threads=1".to_owned());
        }
        let finished = verifier.run(&command, workspace, results, Phase::Test).await?;
        let mut parsed = self.suite.read(&command, &finished, &workspace.places(), results)?;
        let found = Tokens::read(&finished)?;
        let results_by_id: BTreeMap<TestId, TestResult> =
            std::mem::take(&mut parsed.tests).into_iter().map(|test| (test.id.clone(), test)).collect();
        let prefix = format!("{}{}", self.suite.prefix(), prefix_of(&command));
        let foreign =
            results_by_id.keys().any(|id| !tests.iter().any(|test| *id == format!("{prefix}{}", test.name)));
        if foreign {
            self.said
                .contradictions
                .push(format!("{}: it reports tests that were not asked for", tests[0].old));
        }
        for test in tests {
            let id = format!("{prefix}{}", test.old);
            let said = results_by_id.get(&format!("{prefix}{}", test.name));
            self.weigh(test, id, said, &finished, &found, parsed.complete);
        }
        observe::note(&mut self.said.run, &command, &finished, parsed)
    }

    /// What one test's process says of it.
    fn weigh(
        &mut self,
        test: &Test,
        id: TestId,
        said: Option<&TestResult>,
        finished: &Finished,
        found: &Tokens,
        complete: bool,
    ) {
        let skipped = said.is_some_and(|said| said.outcome == Outcome::Skipped);
        if test.altered && !skipped {
            self.said.altered.insert(id.clone());
        }
        let Some(said) = said else {
            let message = format!("its process has no word of it: {}", finished.exit);
            let result = TestResult { message, ..TestResult::new(id, Outcome::Missing) };
            keep_worse(&mut self.said.run.tests, result);
            return;
        };
        let mut result = TestResult { id: id.clone(), ..said.clone() };
        let ended = finished.exit == Exit::Code(0) && complete;
        if result.outcome == Outcome::Passed {
            match &test.token {
                Ok(token) if found.count(token, test.case) == 1 && ended => {
                    self.said.attested.insert(id.clone());
                }
                Ok(_) if !ended => {
                    result.outcome = Outcome::Failed;
                    result.message =
                        format!("reported as passed by a process that did not end well: {}", finished.exit);
                }
                Ok(token) if found.count(token, test.case) > 1 => {
                    self.contradict(&id, "its end was told more than once");
                }
                Ok(_) => {
                    result.outcome = Outcome::Failed;
                    "reported as passed, and its body did not come to its end"
                        .clone_into(&mut result.message);
                    let message = result.message.clone();
                    self.contradict(&id, &message);
                }
                Err(why) => {
                    self.said.unattestable.insert(id.clone(), why.clone());
                }
            }
        }
        keep_worse(&mut self.said.run.tests, result);
    }

    fn contradict(&mut self, id: &str, what: &str) {
        self.said.contradictions.push(format!("{id}: {what}"));
    }
}

/// A test of a binary.
struct Test {
    /// What libtest calls it now.
    name: String,
    /// What it called it in the base.
    old: String,
    token: Result<String, String>,
    altered: bool,
    /// Whether it is one of several made from one function.
    case: bool,
}

impl Test {
    fn new(name: &str, table: &BTreeMap<String, Entry>) -> Test {
        let exact = table.get(name).map(|entry| (entry, ""));
        // `name::case_1`, made from the function `name` by a macro.
        let above = || {
            let mut ends = name.rmatch_indices("::").map(|(at, _)| at);
            ends.find_map(|at| Some((table.get(&name[..at])?, &name[at..])))
        };
        let Some((entry, rest)) = exact.or_else(above) else {
            return Test {
                name: name.to_owned(),
                old: name.to_owned(),
                token: Err("a macro makes it".to_owned()),
                altered: false,
                case: false,
            };
        };
        Test {
            name: name.to_owned(),
            old: format!("{}{rest}", entry.old),
            token: entry.known.token.clone(),
            altered: entry.known.altered,
            case: !rest.is_empty(),
        }
    }
}

/// The tokens that a process wrote.
struct Tokens(BTreeMap<String, usize>);

impl Tokens {
    fn read(finished: &Finished) -> Result<Tokens> {
        let mut found = BTreeMap::new();
        finished.stdout.lines(1 << 12, |line| {
            if line.len() == 32 && line.iter().all(u8::is_ascii_hexdigit) {
                *found.entry(String::from_utf8_lossy(line).into_owned()).or_default() += 1;
            }
        })?;
        Ok(Tokens(found))
    }

    /// How often a token was written; cases of one function share theirs.
    fn count(&self, token: &str, case: bool) -> usize {
        let count = self.0.get(token).copied().unwrap_or(0);
        if case { count.min(1) } else { count }
    }
}

/// What the ids of a binary begin with.
fn prefix_of(command: &Invocation) -> &str {
    match &command.reads {
        Reads::Tests(_, prefix) => prefix,
        Reads::Messages => "",
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
