//! A suite is a profile recognised in a folder: what to run there, and how to read the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use regex::Regex;

use super::formats::junit::{Dialect, Sources};
use super::formats::{self, doctest, exit_code, gotest, jest, junit, libtest, mocha, nextest, records, tap};
use super::listing::{Listing, join};
use super::place::Place;
use super::profile::{Build, Compiler, Setup, glob};
use super::{Format, Parsed, Profile, compilers, rust};
use crate::process::Finished;
use crate::task::{Limits, Task, TestFormat};
use crate::text;
use crate::verdict::{Exit, TestId};
use crate::workspace::{Tree, open_beneath, read_beneath};

/// A toolchain recognised in a folder of the repository.
#[derive(Clone, Debug)]
pub struct Suite {
    /// What to do there.
    pub profile: Arc<Profile>,
    /// The folder, relative to the repository, with forward slashes; empty for the root.
    pub dir: String,
}

/// A command that belongs to a suite, before the sandbox has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// Program and arguments, placeholders filled in.
    pub argv: Vec<String>,
    /// Working directory, relative to the repository.
    pub dir: String,
    /// Environment besides what every command gets.
    pub env: BTreeMap<String, String>,
    /// Deadline in seconds.
    pub seconds: u64,
    /// What else it may use.
    pub limits: Limits,
    /// How its results are read.
    pub reads: Reads,
}

/// How an invocation's results are read.
#[derive(Clone, Debug, PartialEq)]
pub enum Reads {
    /// Compiler messages only.
    Messages,
    /// Test results in this format; ids begin with the text (a Rust binary id with its space; else empty).
    Tests(Format, String),
}

/// Arguments that name tests take at most this many bytes; with more, everything runs.
const SELECTION: usize = 100_000;

/// At most this many result files of one command are read.
const RESULT_FILES: usize = 10_000;

/// The suites of a repository, folders nearest the root first; below a recognised folder only other
/// toolchains are looked for.
///
/// Looks at `focus` and then at the folders above it until one is recognised, and at the sub-folders of that
/// one; where none is, at all folders below the focus or the root. Fails when the task names a toolchain that
/// no profile has.
pub fn detect(tree: &Path, focus: &str, profiles: &[Arc<Profile>], task: &Task) -> Result<Vec<Suite>> {
    if let Some(argv) = &task.test_cmd {
        return Ok(vec![own_suite(focus, argv, task)]);
    }
    let profiles = chosen(profiles, task)?;
    let mut top = Some(focus);
    while let Some(folder) = top {
        let found = below(&Listing::of(tree, folder), &profiles)?;
        if found.iter().any(|suite| suite.dir == folder) {
            return Ok(with_task(found, focus, task));
        }
        top = parent(folder);
    }
    let mut found = below(&Listing::of(tree, focus), &profiles)?;
    if found.is_empty() {
        found = below(&Listing::of(tree, ""), &profiles)?;
    }
    Ok(with_task(found, focus, task))
}

/// The folder above; the root has none.
fn parent(folder: &str) -> Option<&str> {
    (!folder.is_empty()).then(|| folder.rsplit_once('/').map_or("", |(parent, _)| parent))
}

/// The profiles that the task allows.
fn chosen(profiles: &[Arc<Profile>], task: &Task) -> Result<Vec<Arc<Profile>>> {
    let Some(name) = &task.toolchain else {
        return Ok(profiles.to_vec());
    };
    let chosen: Vec<_> = profiles.iter().filter(|p| p.name == *name).cloned().collect();
    if chosen.is_empty() {
        let names: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
        bail!("there is no toolchain {name:?}; there are {}", text::list(&names, 100));
    }
    Ok(chosen)
}

/// The suites in a folder that was listed, and in its sub-folders.
fn below(listing: &Listing, profiles: &[Arc<Profile>]) -> Result<Vec<Suite>> {
    let mut found: Vec<Suite> = Vec::new();
    for folder in &listing.folders {
        let mut here = Vec::new();
        for profile in profiles {
            let above = |suite: &Suite| is_below(folder, &suite.dir) && are_kin(&suite.profile, profile);
            if !found.iter().any(above) && recognised(listing, folder, profile)? {
                here.push(profile.clone());
            }
        }
        let replaced: Vec<String> = here.iter().flat_map(|profile| profile.replaces.clone()).collect();
        here.retain(|profile| !replaced.contains(&profile.name));
        found.extend(here.into_iter().map(|profile| Suite { profile, dir: folder.clone() }));
    }
    if found.iter().any(|suite| !suite.profile.fallback) {
        found.retain(|suite| !suite.profile.fallback);
    }
    Ok(found)
}

fn recognised(listing: &Listing, folder: &str, profile: &Profile) -> Result<bool> {
    for condition in &profile.detect {
        if listing.holds(folder, condition)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn depth(folder: &str) -> usize {
    if folder.is_empty() { 0 } else { folder.split('/').count() }
}

fn is_below(folder: &str, above: &str) -> bool {
    above.is_empty() || folder.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

fn are_kin(one: &Profile, other: &Profile) -> bool {
    one.name == other.name || one.replaces.contains(&other.name) || other.replaces.contains(&one.name)
}

/// The suite of a task that has a test command of its own.
fn own_suite(focus: &str, argv: &[String], task: &Task) -> Suite {
    let format = match task.test_format.unwrap_or_default() {
        TestFormat::ExitCode => Format::ExitCode,
        TestFormat::Tap => Format::Tap,
        TestFormat::Junit => Format::Junit,
    };
    let profile = Profile::own(argv, format, task.test_results.as_deref());
    let suite = Suite { profile: Arc::new(profile), dir: focus.to_owned() };
    with_task(vec![suite], focus, task).remove(0)
}

/// The suites with what the task says of environment, set-up and build. Its set-up and build commands run
/// once, in the focus; a build that announces test binaries still follows the task's own.
fn with_task(mut suites: Vec<Suite>, focus: &str, task: &Task) -> Vec<Suite> {
    for (index, suite) in suites.iter_mut().enumerate() {
        let profile = Arc::make_mut(&mut suite.profile);
        let own = task.environment.iter().map(|(key, value)| (key.clone(), value.clone()));
        profile.environment.extend(own);
        if let Some(steps) = &task.setup {
            let steps = steps.iter().take(if index == 0 { usize::MAX } else { 0 });
            profile.setup = steps.map(|step| Setup::own(&step.argv, focus)).collect();
        }
        if let Some(argv) = &task.build_cmd {
            let own = (index == 0).then(|| argv.clone());
            let announced = match (&profile.build, profile.test.format) {
                (Some(build), Format::Libtest | Format::Nextest) => build.commands.clone(),
                _ => Vec::new(),
            };
            let compiler = profile.build.as_ref().map_or(Compiler::Any, |build| build.compiler);
            profile.build = Some(Build::own(own, announced, compiler, focus));
        }
    }
    suites
}

impl Suite {
    /// The profile's name and the folder, for people.
    pub fn label(&self) -> String {
        let name = &self.profile.name;
        if self.dir.is_empty() { name.clone() } else { format!("{name} in {}", self.dir) }
    }

    /// The globs of product source files, relative to the repository.
    pub fn sources(&self) -> Vec<String> {
        self.below(&self.profile.sources)
    }

    /// The globs of files that belong to tests and configuration, relative to the repository.
    pub fn protected(&self) -> Vec<String> {
        self.below(&self.profile.protected)
    }

    fn below(&self, globs: &[String]) -> Vec<String> {
        let here = |glob: &String| {
            if self.dir.is_empty() { glob.clone() } else { format!("{}/{glob}", globset::escape(&self.dir)) }
        };
        globs.iter().map(here).collect()
    }

    /// The set-up commands that apply to the tree, and whether each has to succeed.
    pub fn setup(&self, tree: &Tree, launchers: &Path) -> Result<Vec<(Invocation, bool)>> {
        let fill = self.fill(tree, launchers);
        let listing = Listing::of(&tree.here, &self.dir);
        let mut commands = Vec::new();
        for step in &self.profile.setup {
            if let Some(when) = &step.when
                && !listing.holds(&self.dir, when)?
            {
                continue;
            }
            let command = Invocation {
                argv: fill.all(&step.argv),
                dir: step.at.clone().unwrap_or_else(|| self.dir.clone()),
                env: self.profile.environment.clone(),
                seconds: step.seconds,
                limits: self.profile.limits,
                reads: Reads::Messages,
            };
            commands.push((command, !step.optional));
        }
        Ok(commands)
    }

    /// The build commands, in order; none for toolchains that build as they test.
    pub fn build(&self, tree: &Tree, launchers: &Path) -> Result<Vec<Invocation>> {
        let Some(build) = &self.profile.build else {
            return Ok(Vec::new());
        };
        if let Some(when) = &build.when
            && !Listing::of(&tree.here, &self.dir).holds(&self.dir, when)?
        {
            return Ok(Vec::new());
        }
        let fill = self.fill(tree, launchers);
        let command = |(index, argv): (usize, &Vec<String>)| Invocation {
            argv: fill.all(argv),
            dir: match &build.at {
                Some(at) if index == 0 => at.clone(),
                _ => self.dir.clone(),
            },
            env: self.profile.environment.clone(),
            seconds: build.seconds,
            limits: self.profile.limits,
            reads: Reads::Messages,
        };
        Ok(build.commands.iter().enumerate().map(command).collect())
    }

    /// The commands that build what is run many times, the programs of the tests `only` in the folder `kept`.
    pub fn build_kept(
        &self,
        tree: &Tree,
        only: Option<&BTreeSet<TestId>>,
        kept: &Path,
        launchers: &Path,
    ) -> Result<Vec<Invocation>> {
        let Some(profile) = &self.profile.kept else { return self.build(tree, launchers) };
        let fill = self.fill(tree, launchers);
        let commands = profile.build.iter().map(|argv| fill.all(argv));
        let invocation = |argv| self.invocation(argv, self.dir.clone(), Reads::Messages);
        let mut commands: Vec<Invocation> = commands.map(invocation).collect();
        if let Some(only) = only {
            let mut argv = fill.all(&profile.argv);
            let selection = Some(self.select(only)?).filter(|selection| selection.bytes() <= SELECTION);
            argv.extend(
                selection.map_or_else(Vec::new, |selection| selection.fill(&self.profile.test.select)),
            );
            let mut programs = invocation(argv);
            programs.env.insert("REGREEN_KEPT".to_owned(), kept.display().to_string());
            commands.push(programs);
        }
        Ok(commands)
    }

    /// The arguments with which such a program runs one test; none for what is no test of this suite.
    pub fn alone(&self, id: &TestId) -> Result<Vec<String>> {
        let selection = self.select(&[id.clone()].into())?;
        let (Some(kept), [id], [file]) =
            (&self.profile.kept, selection.ids.as_slice(), selection.files.as_slice())
        else {
            return Ok(Vec::new());
        };
        // A name and those of its subtests are a regular expression each.
        let names = id.get(file.len() + 1..).unwrap_or_default().split('/');
        let name = names.map(|name| alternation(&[name.to_owned()])).collect::<Vec<_>>().join("/");
        Ok(kept.alone.iter().map(|word| word.replace("{name}", &name)).collect())
    }

    /// The test commands: all tests, or little more than those of `only`; none when no test of `only` is this
    /// suite's. `built` is what the build commands printed (Rust's binaries are named there). `results` is a
    /// fresh folder.
    pub fn tests(
        &self,
        tree: &Tree,
        built: &[Finished],
        only: Option<&BTreeSet<TestId>>,
        results: &Path,
        launchers: &Path,
    ) -> Result<Vec<Invocation>> {
        let selection = only.map(|only| self.select(only)).transpose()?;
        if selection.as_ref().is_some_and(|selection| selection.ids.is_empty()) {
            return Ok(Vec::new());
        }
        let selection = selection.filter(|selection| selection.bytes() <= SELECTION);
        let mut fill = self.fill(tree, launchers);
        fill.words.push(("{results}", results.display().to_string()));
        match self.profile.test.format {
            Format::Libtest => rust::binaries(self, &fill, built, selection.as_ref()),
            Format::Nextest => rust::nextest(self, &fill, built, selection.as_ref()),
            Format::GoTest
            | Format::Jest
            | Format::Mocha
            | Format::Junit
            | Format::JunitJava
            | Format::JunitCtest
            | Format::Tap
            | Format::Records
            | Format::ExitCode
            | Format::Doctest
            | Format::ExitCodeAndTap => Ok(vec![self.command(&fill, selection.as_ref())]),
        }
    }

    /// Whether there is a warm judge that is ready at once.
    pub fn is_warm(&self) -> bool {
        !self.profile.warm.is_empty() && !self.profile.warm_builds
    }

    /// The command that judges many edits in warm processes, if the toolchain has one; `results` holds its plan.
    pub fn warm(&self, tree: &Tree, results: &Path, launchers: &Path, seconds: u64) -> Option<Invocation> {
        let mut fill = self.fill(tree, launchers);
        fill.words.push(("{results}", results.display().to_string()));
        let argv = fill.all(&self.profile.warm);
        let invocation = self.invocation(argv, self.dir.clone(), Reads::Messages);
        (!self.profile.warm.is_empty()).then_some(Invocation { seconds, ..invocation })
    }

    /// A test id as the suite's own runner knows it; `None` when it is not this suite's.
    pub fn own_id<'a>(&self, id: &'a str) -> Option<&'a str> {
        id.strip_prefix(&self.prefix())
    }

    /// Whether the tests can still tell something when the build failed (a type check beside a runner that
    /// strips types).
    pub fn tests_despite_build(&self) -> bool {
        self.profile.build.as_ref().is_some_and(|build| build.tests_despite_failure)
    }

    /// Reads what an invocation left. Test ids get the suite's folder as prefix, unless it is the root.
    pub fn read(
        &self,
        invocation: &Invocation,
        finished: &Finished,
        tree: &Tree,
        results: &Path,
    ) -> Result<Parsed> {
        let place = Place::new(tree, &self.dir);
        let Reads::Tests(format, prefix) = &invocation.reads else {
            let compiler =
                self.profile.build.as_ref().map_or(self.profile.test.compiler, |build| build.compiler);
            return Ok(Parsed {
                diagnostics: compilers::read(compiler, finished, &place)?,
                complete: true,
                ..Parsed::default()
            });
        };
        let mut parsed = self.read_tests(*format, invocation, finished, &place, &tree.here, results)?;
        parsed.complete &= matches!(finished.exit, Exit::Code(_));
        if !finished.exit.success() && (parsed.tests.is_empty() || !parsed.complete) {
            let said = compilers::read(self.profile.test.compiler, finished, &place)?;
            parsed.diagnostics.extend(said);
        }
        let folder = self.prefix();
        for test in &mut parsed.tests {
            test.id = format!("{folder}{prefix}{}", test.id);
        }
        Ok(parsed)
    }

    fn read_tests(
        &self,
        format: Format,
        invocation: &Invocation,
        finished: &Finished,
        place: &Place,
        tree: &Path,
        results: &Path,
    ) -> Result<Parsed> {
        let exit = &finished.exit;
        match format {
            Format::Libtest => libtest::read(finished, place, &invocation.dir),
            Format::Doctest => doctest::read(finished, place),
            Format::Nextest => nextest::read(finished, place),
            Format::GoTest => gotest::read(finished, place),
            Format::Tap => tap::read(finished, place),
            Format::ExitCode => Ok(exit_code::parse(exit, &finished.log(formats::MESSAGE)?)),
            Format::ExitCodeAndTap => {
                let mut parsed = tap::read_if_planned(finished, place)?;
                let command = exit_code::parse(exit, &finished.log(formats::MESSAGE)?);
                parsed.complete = command.complete && (parsed.complete || parsed.tests.is_empty());
                parsed.tests.extend(command.tests);
                Ok(parsed)
            }
            Format::Jest => self.read_files(tree, results, |bytes| jest::parse(bytes, place)),
            Format::Mocha => self.read_files(tree, results, |bytes| mocha::parse(bytes, place)),
            Format::Junit => self.read_junit(Dialect::Generic, place, tree, results),
            Format::JunitJava => self.read_junit(Dialect::Java, place, tree, results),
            Format::JunitCtest => {
                let mut parsed = self.read_junit(Dialect::Ctest, place, tree, results)?;
                junit::add_reasons(&mut parsed.tests, &finished.stdout.excerpt(formats::LINE)?);
                Ok(parsed)
            }
            Format::Records => self.read_files(tree, results, |bytes| records::parse(bytes, place)),
        }
    }

    /// Reads result files of formats that are read at once.
    fn read_files(
        &self,
        tree: &Path,
        results: &Path,
        parse: impl Fn(&[u8]) -> Result<Parsed>,
    ) -> Result<Parsed> {
        self.read_each(tree, results, |root, file| parse(&read_beneath(root, file, formats::FILE)?))
    }

    /// Reads `JUnit` files, which may be far larger than what they say.
    fn read_junit(&self, dialect: Dialect, place: &Place, tree: &Path, results: &Path) -> Result<Parsed> {
        let sources = Sources::new(place);
        let read = |root: &Path, file: &str| junit::read(open_beneath(root, file)?, dialect, &sources);
        self.read_each(tree, results, read)
    }

    /// Reads all result files; a report that is missing or cannot be read is not whole.
    fn read_each(
        &self,
        tree: &Path,
        results: &Path,
        read: impl Fn(&Path, &str) -> Result<Parsed>,
    ) -> Result<Parsed> {
        let (root, files) = self.result_files(tree, results)?;
        let mut all = Parsed { complete: !files.is_empty(), ..Parsed::default() };
        for file in files {
            let parsed = read(&root, &file).unwrap_or_default();
            all.tests.extend(parsed.tests);
            all.diagnostics.extend(parsed.diagnostics);
            all.complete &= parsed.complete;
        }
        Ok(all)
    }

    /// The result files, in order, and the folder that their paths start at. In the tree, that is the suite's
    /// folder or, for a task's own `test_results`, the repository.
    fn result_files(&self, tree: &Path, results: &Path) -> Result<(PathBuf, Vec<String>)> {
        let Some(pattern) = &self.profile.test.results else {
            return Ok((results.to_owned(), Vec::new()));
        };
        if !self.profile.test.in_tree {
            return Ok((results.to_owned(), matching(results, pattern)?));
        }
        let dir = tree.join(&self.dir);
        let files = matching(&dir, pattern)?;
        if files.is_empty() {
            return Ok((tree.to_owned(), matching(tree, pattern)?));
        }
        Ok((dir, files))
    }

    /// Removes result files of an earlier run from the tree, which would be taken for this one's.
    pub fn sweep(&self, tree: &Path) -> Result<()> {
        if self.profile.test.in_tree {
            let (root, files) = self.result_files(tree, tree)?;
            for file in files {
                std::fs::remove_file(root.join(&file)).with_context(|| format!("failed to remove {file}"))?;
            }
        }
        Ok(())
    }

    /// The one test command of most toolchains.
    fn command(&self, fill: &Fill, selection: Option<&Selection>) -> Invocation {
        let test = &self.profile.test;
        let mut argv = fill.all(&test.argv);
        match selection.filter(|_| !test.select.is_empty()) {
            Some(selection) => argv.extend(selection.fill(&fill.all(&test.select))),
            None => argv.extend(fill.all(&test.all)),
        }
        self.invocation(argv, self.dir.clone(), Reads::Tests(test.format, String::new()))
    }

    /// A test command with the environment and the deadline that the profile gives it.
    pub fn invocation(&self, argv: Vec<String>, dir: String, reads: Reads) -> Invocation {
        let mut env = self.profile.test.environment.clone();
        env.extend(self.profile.environment.clone());
        Invocation { argv, dir, env, seconds: self.profile.test.seconds, limits: self.profile.limits, reads }
    }

    /// What the paths of files in its folder begin with.
    pub fn folder(&self) -> String {
        if self.dir.is_empty() { String::new() } else { format!("{}/", self.dir) }
    }

    /// What ids of this suite begin with.
    pub fn prefix(&self) -> String {
        if self.dir.is_empty() { String::new() } else { format!("{}:", self.dir) }
    }

    /// The tests of `only` that are this suite's, without its prefix.
    pub fn own_tests(&self, only: &BTreeSet<TestId>) -> Result<Vec<TestId>> {
        Ok(self.select(only)?.ids)
    }

    /// The tests of `only` that are this suite's: those with its prefix, and with the form that `split` gives
    /// them, since two toolchains may share a folder.
    fn select(&self, only: &BTreeSet<TestId>) -> Result<Selection> {
        let split = self.profile.test.split.as_deref().map(Regex::new).transpose()?;
        let mut selection = Selection::default();
        let prefix = self.prefix();
        for id in only.iter().filter_map(|id| id.strip_prefix(&prefix)) {
            let Some(split) = &split else {
                selection.ids.push(id.to_owned());
                continue;
            };
            if let Some(parts) = split.captures(id) {
                selection.ids.push(id.to_owned());
                selection.files.push(parts.name("file").map_or("", |part| part.as_str()).to_owned());
                selection.names.push(parts.name("name").map_or("", |part| part.as_str()).to_owned());
            }
        }
        Ok(selection)
    }

    fn fill(&self, tree: &Tree, launchers: &Path) -> Fill {
        Fill {
            workspace: rust::is_workspace(&tree.here.join(&self.dir)),
            words: vec![
                ("{tree}", tree.seen.display().to_string()),
                ("{dir}", tree.seen.join(&self.dir).display().to_string()),
                ("{launchers}", launchers.display().to_string()),
            ],
            tree: tree.clone(),
        }
    }
}

/// What placeholders stand for.
#[derive(Debug)]
pub(super) struct Fill {
    words: Vec<(&'static str, String)>,
    workspace: bool,
    /// The repository.
    pub(super) tree: Tree,
}

impl Fill {
    /// The words of a command line with their placeholders filled in.
    pub(super) fn all(&self, argv: &[String]) -> Vec<String> {
        let kept = argv.iter().filter(|word| *word != "{workspace}" || self.workspace);
        kept.map(|word| self.one(word)).collect()
    }

    fn one(&self, word: &str) -> String {
        if word == "{workspace}" {
            return "--workspace".to_owned();
        }
        let mut filled = word.to_owned();
        for (name, value) in &self.words {
            filled = filled.replace(name, value);
        }
        filled
    }
}

/// The tests to run, side by side: where there is a `split`, the file and the name of every id.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// Ids without the suite's prefix.
    pub(super) ids: Vec<TestId>,
    /// Their files (a Rust binary, a Go package).
    pub(super) files: Vec<String>,
    /// Their names in the file.
    pub(super) names: Vec<String>,
}

impl Selection {
    fn bytes(&self) -> usize {
        self.ids.iter().map(String::len).sum()
    }

    /// The arguments of `select` that name these tests.
    pub(super) fn fill(&self, select: &[String]) -> Vec<String> {
        let mut argv = Vec::new();
        for word in select {
            match word.as_str() {
                "{ids}" => argv.extend(distinct(&self.ids)),
                "{files}" => argv.extend(distinct(&self.files)),
                "{names}" => argv.extend(distinct(&self.names)),
                word => argv.push(word.replace("{regex}", &alternation(&self.names))),
            }
        }
        argv
    }
}

fn distinct(words: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    words.iter().filter(|word| seen.insert(*word)).cloned().collect()
}

/// A regular expression, in the dialect that all runners share, that matches these names and no others.
fn alternation(names: &[String]) -> String {
    let escaped = |name: String| {
        let mut escaped = String::with_capacity(name.len());
        for c in name.chars() {
            if r"\.+*?()|[]{}^$".contains(c) {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    };
    let names: Vec<String> = distinct(names).into_iter().map(escaped).collect();
    format!("^({})$", names.join("|"))
}

/// The files below `root` that match a glob, in order; links are not followed.
fn matching(root: &Path, pattern: &str) -> Result<Vec<String>> {
    let glob = glob(pattern)?;
    let fixed = pattern.split('/').take_while(|part| !part.contains(['*', '?', '[', '{']));
    let fixed: Vec<&str> = fixed.collect();
    let whole = fixed.len() == pattern.split('/').count();
    let start = fixed[..fixed.len() - usize::from(whole)].join("/");
    if start.split('/').any(|part| part == "..") || is_link_on_the_way(root, &start) {
        return Ok(Vec::new());
    }
    let mut folders = vec![start];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(root.join(&folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
                continue;
            };
            let path = join(&folder, &name);
            if kind.is_dir() && depth(&path) < 24 && !matches!(name.as_str(), ".git" | "node_modules") {
                folders.push(path);
            } else if kind.is_file() && files.len() < RESULT_FILES && glob.is_match(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn is_link_on_the_way(root: &Path, path: &str) -> bool {
    let mut at = root.to_owned();
    path.split('/').any(|part| {
        at.push(part);
        at.is_symlink()
    })
}
