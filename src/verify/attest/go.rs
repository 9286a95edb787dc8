//! Attested runs of Go suites: the tests of the base are rewritten ([`change`]) so that each writes its own random
//! token when it has come to its end, test binaries are built with `go test -c` and an environment of our own, and
//! regreen runs each test in its package's folder, one process a test where there are few enough. A test is attested
//! when the package `testing` says that it passed, the process ended with status 0, and its token, and no other, was
//! written. Subtests stand and fall with the test that they belong to.

mod change;
mod lex;
mod perturb;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use anyhow::Result;
use regex::Regex;

use self::change::{Known, Pass};
use super::rust::names;
use super::{Assignment, Attestation, Draw, Variant};
use crate::patch::{File, FileKind, Patch, RepoPath};
use crate::process::Finished;
use crate::toolchain::place::Place;
use crate::toolchain::{Invocation, Parsed, Reads};
use crate::verdict::{Exit, Outcome, TestId, TestResult, keep_worse};
use crate::verify::observe::{self, Phase};
use crate::workspace::read_beneath;

/// Source files are read up to this many bytes.
const SOURCE: u64 = 4 << 20;

/// Up to this many tests of a package run in a process each; more run together.
const APART: usize = 48;

/// A test's message is kept up to this many bytes.
const MESSAGE: usize = 8 << 10;

/// What a test binary prints when a test has ended.
static ENDED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s*--- (?P<how>PASS|FAIL|SKIP): (?P<name>\S+) \(").expect("it is a constant")
});

/// Does an assignment for a suite of this language.
pub(super) async fn attest(assignment: &Assignment<'_>) -> Result<Option<Attestation>> {
    let ids = assignment.only.map(|only| assignment.suite.own_tests(only)).transpose()?;
    if ids.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Some(Attestation::default()));
    }
    let results = assignment.verifier.workshop.scratch.results()?;
    let mut run = Run {
        assignment,
        only: ids.map(|ids| ids.into_iter().collect()),
        draw: assignment.secret.draw(),
        files: BTreeMap::new(),
        written: Patch::default(),
        hidden: BTreeSet::new(),
        said: Attestation::default(),
    };
    let texts = run.texts()?;
    let packages = run.packages(&results).await?;
    run.rewrite(&texts, &packages, true)?;
    let mut built = run.build(&packages, &results).await?;
    if built.is_none() && assignment.variant == Variant::Alias {
        // A text that is not hidden still stands in a test of another name.
        run.restore(&texts)?;
        run.rewrite(&texts, &packages, false)?;
        built = run.build(&packages, &results).await?;
    }
    let Some(built) = built else {
        let _ = std::fs::remove_dir_all(&results);
        return Ok(None);
    };
    run.look_again();
    run.hide_sources(&texts)?;
    for (package, program) in &built {
        run.run_package(package, program, &results).await?;
    }
    // Suites may share a tree; what a test has put in the sources' place may stand in the way.
    if run.restore(&texts).is_err() {
        run.said.contradictions.push("the sources of the tests could not be put back".to_owned());
    }
    let _ = std::fs::remove_dir_all(&results);
    run.said.run.built = true;
    run.said.run.load = observe::load();
    Ok(Some(run.said))
}

/// A package with tests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    /// How it is imported, which its test ids begin with.
    path: String,
    /// Its folder, relative to the repository.
    dir: String,
}

struct Run<'a> {
    assignment: &'a Assignment<'a>,
    /// The tests to run, without the suite's prefix.
    only: Option<BTreeSet<TestId>>,
    draw: Draw,
    /// The test functions by folder.
    files: BTreeMap<String, Vec<Known>>,
    /// What was written into the tree.
    written: Patch,
    /// What was taken out of it for the time of the run.
    hidden: BTreeSet<RepoPath>,
    said: Attestation,
}

impl Run<'_> {
    /// The test files that the base has.
    fn texts(&self) -> Result<BTreeMap<String, String>> {
        let Assignment { suite, workspace, .. } = *self.assignment;
        let below = |path: &str| {
            suite.dir.is_empty() || path.strip_prefix(&suite.dir).is_some_and(|rest| rest.starts_with('/'))
        };
        let test = |path: &str| {
            path.ends_with("_test.go") && !path.split('/').any(|part| part == "testdata" || part == "vendor")
        };
        let tree = workspace.tree();
        let read = |path: &str| {
            String::from_utf8(read_beneath(&tree, path, SOURCE).unwrap_or_default()).unwrap_or_default()
        };
        let paths = self.assignment.base_paths()?;
        let chosen = paths.iter().map(RepoPath::as_str).filter(|path| below(path) && test(path));
        Ok(chosen.map(|path| (path.to_owned(), read(path))).collect())
    }

    /// The packages that have tests.
    async fn packages(&mut self, results: &Path) -> Result<Vec<Package>> {
        let Assignment { suite, workspace, .. } = *self.assignment;
        let format = "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}\t{{.Dir}}{{end}}";
        let listed = self.go(&["list", "-e", "-f", format, "./..."], results).await?;
        let place = Place::new(workspace.places(), &suite.dir);
        let mut packages = BTreeSet::new();
        listed.stdout.lines(1 << 16, |line| {
            let line = String::from_utf8_lossy(line);
            if let Some((path, dir)) = line.split_once('\t') {
                // The root itself has no name.
                let dir = place.locate(&format!("{dir}/x")).unwrap_or_default();
                let dir = dir.strip_suffix('x').unwrap_or_default().trim_end_matches('/').to_owned();
                packages.insert(Package { path: path.to_owned(), dir });
            }
        })?;
        Ok(packages.into_iter().filter(|package| self.concerns(package)).collect())
    }

    /// Whether tests of the package are to run.
    fn concerns(&self, package: &Package) -> bool {
        let own = |id: &TestId| id.strip_prefix(&package.path).is_some_and(|rest| rest.starts_with('.'));
        self.only.as_ref().is_none_or(|only| only.iter().any(own))
    }

    /// Runs a command of go's in the suite's folder.
    async fn go(&mut self, arguments: &[&str], results: &Path) -> Result<Finished> {
        let Assignment { verifier, suite, workspace, .. } = *self.assignment;
        let argv = std::iter::once("go").chain(arguments.iter().copied()).map(str::to_owned).collect();
        let mut invocation = suite.invocation(argv, suite.dir.clone(), Reads::Messages);
        invocation.env.extend(self.environment());
        let finished = verifier.run(&invocation, workspace, results, Phase::Test).await?;
        self.said.run.seconds += finished.seconds;
        Ok(finished)
    }

    /// No flags but these, and no workspace that the base does not have.
    fn environment(&self) -> BTreeMap<String, String> {
        let Assignment { verifier, suite, .. } = *self.assignment;
        let root = &verifier.workshop.snapshot.root;
        let vendored = root.join(&suite.dir).join("vendor/modules.txt").is_file();
        let mode = if vendored { "-mod=vendor" } else { "-mod=readonly" };
        let mut env = BTreeMap::from([
            ("GOFLAGS".to_owned(), format!("-buildvcs=false {mode}")),
            ("GOENV".to_owned(), "off".to_owned()),
        ]);
        let above =
            Path::new(&suite.dir).ancestors().any(|folder| root.join(folder).join("go.work").is_file());
        if above {
            env.insert("GOFLAGS".to_owned(), "-buildvcs=false".to_owned());
        } else {
            env.insert("GOWORK".to_owned(), "off".to_owned());
        }
        env
    }

    /// Rewrites the tests of the tree.
    fn rewrite(&mut self, texts: &BTreeMap<String, String>, packages: &[Package], hides: bool) -> Result<()> {
        let alter = self.assignment.alter.map(|alter| self.assignment.suite.own_tests(alter)).transpose()?;
        let all: String = texts.values().map(String::as_str).collect::<Vec<_>>().join("\n");
        let mut taken = BTreeSet::new();
        let mut patch = Patch::default();
        self.files.clear();
        for (path, text) in texts {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let package = packages.iter().find(|package| package.dir == folder);
            let id = |name: &str| package.map(|package| format!("{}.{name}", package.path));
            let alters =
                |name: &str| alter.as_ref().is_none_or(|ids| id(name).is_some_and(|id| ids.contains(&id)));
            let mut pass = Pass {
                variant: self.assignment.variant,
                draw: &mut self.draw,
                hides,
                all: &all,
                taken: &mut taken,
                alters: &alters,
            };
            let Some(changed) = pass.file(text) else { continue };
            let mut place = RepoPath::new(path)?;
            if self.assignment.variant == Variant::Alias
                && let Some(other) = other_name(name, &mut self.draw)
            {
                patch.0.insert(place, None);
                let other = if folder.is_empty() { other } else { format!("{folder}/{other}") };
                place = RepoPath::new(&other)?;
            }
            let file = File { kind: FileKind::Plain, content: changed.text.into_bytes() };
            patch.0.insert(place, Some(file));
            self.files.entry(folder.to_owned()).or_default().extend(changed.tests);
        }
        self.assignment.workspace.apply(&patch)?;
        self.written = patch;
        Ok(())
    }

    /// Undoes a rewriting.
    fn restore(&mut self, texts: &BTreeMap<String, String>) -> Result<()> {
        let mut patch = Patch::default();
        for path in self.written.0.keys().chain(&self.hidden) {
            let text = texts.get(path.as_str()).map(|text| File::plain(text.clone()));
            patch.0.insert(path.clone(), text);
        }
        self.assignment.workspace.apply(&patch)
    }

    /// The test binaries, by package; `None` when one of them does not build.
    async fn build(
        &mut self,
        packages: &[Package],
        results: &Path,
    ) -> Result<Option<Vec<(Package, String)>>> {
        let whole = self.build_together(packages, results).await?;
        if let Some(built) = whole {
            return Ok(Some(built));
        }
        let mut built = Vec::new();
        for package in packages {
            let name = format!("{}{:08x}.test", names::word(&mut self.draw), self.draw.below(1 << 31));
            let program = results.join(name).display().to_string();
            let argv = ["test", "-c", "-vet=off", "-o", &program, &package.path];
            if !self.go(&argv, results).await?.exit.success() {
                return Ok(None);
            }
            built.push((package.clone(), program));
        }
        Ok(Some(built))
    }

    /// All test binaries by one command, which names them by the last part of the package's path.
    async fn build_together(
        &mut self,
        packages: &[Package],
        results: &Path,
    ) -> Result<Option<Vec<(Package, String)>>> {
        let folder = format!("{}/", results.display());
        let program = |package: &Package| {
            format!("{folder}{}.test", package.path.rsplit('/').next().unwrap_or(&package.path))
        };
        let names: BTreeSet<String> = packages.iter().map(program).collect();
        if self.assignment.variant == Variant::Alias || names.len() < packages.len() || names.len() < 2 {
            return Ok(None);
        }
        let mut argv = vec!["test", "-c", "-vet=off", "-o", &folder];
        argv.extend(packages.iter().map(|package| package.path.as_str()));
        let finished = self.go(&argv, results).await?;
        let there = names.iter().all(|name| Path::new(name).is_file());
        let built = packages.iter().map(|package| (package.clone(), program(package)));
        Ok((finished.exit.success() && there).then(|| built.collect()))
    }

    /// Tests that are not what was written when all has been built were exchanged in between.
    fn look_again(&mut self) {
        let tree = self.assignment.workspace.tree();
        for (path, file) in &self.written.0 {
            let Some(file) = file else { continue };
            let now = read_beneath(&tree, path.as_str(), file.content.len() as u64 + 1).unwrap_or_default();
            if now != file.content {
                self.said.contradictions.push(format!("{path} was changed while the tests were built"));
            }
        }
    }

    /// The tests' own sources are not there to be read while they run; under their own names they are where tests of
    /// the folder speak of sources.
    fn hide_sources(&mut self, texts: &BTreeMap<String, String>) -> Result<()> {
        let folder =
            |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
        let read: BTreeSet<String> =
            texts.iter().filter(|(_, text)| reads_sources(text)).map(|(path, _)| folder(path)).collect();
        let there = self.written.0.iter().filter(|(_, file)| file.is_some()).map(|(path, _)| path.clone());
        let mut hidden: BTreeSet<RepoPath> = there.collect();
        for (path, _) in texts.iter().filter(|(_, text)| !text.is_empty()) {
            let path = RepoPath::new(path)?;
            if !self.written.0.contains_key(&path) {
                hidden.insert(path);
            }
        }
        if self.assignment.variant != Variant::Alias {
            hidden.retain(|path| !read.contains(&folder(path.as_str())));
        }
        self.assignment.workspace.apply(&Patch(hidden.iter().map(|path| (path.clone(), None)).collect()))?;
        self.hidden = hidden;
        Ok(())
    }

    async fn run_package(&mut self, package: &Package, program: &str, results: &Path) -> Result<()> {
        let argv = [program, "-test.list", "."];
        let listed = self.run_program(package, &argv, results).await?.1;
        let mut tests = Vec::new();
        let known = self.files.get(&package.dir).cloned().unwrap_or_default();
        listed.stdout.lines(1 << 12, |line| {
            let name = String::from_utf8_lossy(line).into_owned();
            if ["Test", "Example", "Fuzz"].iter().any(|kind| name.starts_with(kind)) {
                tests.push(Test::new(&name, &known));
            }
        })?;
        let only = self.only.clone();
        tests.retain(|test| {
            only.as_ref().is_none_or(|only| only.iter().any(|id| test.is_named_by(id, package)))
        });
        if tests.len() <= APART || only.is_some() {
            for test in &tests {
                self.run_some(package, program, std::slice::from_ref(test), results).await?;
            }
        } else {
            self.run_some(package, program, &tests, results).await?;
        }
        Ok(())
    }

    async fn run_program(
        &mut self,
        package: &Package,
        argv: &[&str],
        results: &Path,
    ) -> Result<(Invocation, Finished)> {
        let Assignment { verifier, suite, workspace, .. } = *self.assignment;
        let argv = argv.iter().map(ToString::to_string).collect();
        let invocation = suite.invocation(argv, package.dir.clone(), Reads::Messages);
        let finished = verifier.run(&invocation, workspace, results, Phase::Test).await?;
        Ok((invocation, finished))
    }

    /// Runs tests of a package in one process, and weighs what it said.
    async fn run_some(
        &mut self,
        package: &Package,
        program: &str,
        tests: &[Test],
        results: &Path,
    ) -> Result<()> {
        let names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
        let chosen = format!("^({})$", names.join("|"));
        let argv =
            [program, "-test.run", &chosen, "-test.v=test2json", "-test.count=1", "-test.paniconexit0"];
        let (invocation, finished) = self.run_program(package, &argv, results).await?;
        let report = Report::read(&finished)?;
        for test in tests {
            self.weigh(test, package, &report, &finished.exit);
        }
        observe::note(&mut self.said.run, &invocation, &finished, Parsed::default())
    }

    /// What a process says of one test and its subtests.
    fn weigh(&mut self, test: &Test, package: &Package, report: &Report, exit: &Exit) {
        let id = |name: &str| {
            let rest = &name[test.name.len()..];
            format!("{}{}.{}{rest}", self.assignment.suite.prefix(), package.path, test.old)
        };
        let own = id(&test.name);
        let Some(outcome) = report.outcomes.get(&test.name).copied() else {
            let message = format!("its process has no word of it: {exit}\n{}", report.words);
            let result = TestResult { message, ..TestResult::new(own, Outcome::Missing) };
            keep_worse(&mut self.said.run.tests, result);
            return;
        };
        if test.altered && outcome != Outcome::Skipped {
            self.said.altered.insert(own.clone());
        }
        let told = test.token.as_ref().map(|token| report.tokens.get(token).copied().unwrap_or(0));
        let ended = report.whole && exit.success();
        let wrong = match told {
            Some(_) | None if outcome == Outcome::Passed && !ended => {
                Some(format!("reported as passed by a process that did not end well: {exit}"))
            }
            Some(0) if outcome == Outcome::Passed => {
                Some("reported as passed, and its body did not come to its end".to_owned())
            }
            Some(count) if count > 1 => Some("its end was told more than once".to_owned()),
            _ => None,
        };
        if let (Some(what), true) = (&wrong, ended) {
            self.said.contradictions.push(format!("{own}: {what}"));
        }
        let subtests = report.outcomes.range(format!("{}/", test.name)..);
        let subtests = subtests.take_while(|(name, _)| name.starts_with(&format!("{}/", test.name)));
        for (name, outcome) in std::iter::once((&test.name, &outcome)).chain(subtests) {
            let mut result = TestResult::new(id(name), *outcome);
            if *outcome == Outcome::Passed {
                match (&wrong, told) {
                    (Some(what), _) => {
                        result.outcome = Outcome::Failed;
                        result.message.clone_from(what);
                    }
                    (None, Some(_)) => drop(self.said.attested.insert(result.id.clone())),
                    (None, None) => {
                        let why = "examples and fuzz tests carry no beacon".to_owned();
                        self.said.unattestable.insert(result.id.clone(), why);
                    }
                }
            } else if *outcome == Outcome::Failed {
                result.message.clone_from(&report.words);
            }
            keep_worse(&mut self.said.run.tests, result);
        }
    }
}

/// A test of a package.
struct Test {
    name: String,
    /// What the base calls it.
    old: String,
    token: Option<String>,
    altered: bool,
}

impl Test {
    fn new(name: &str, known: &[Known]) -> Test {
        let known = known.iter().find(|known| known.name == name);
        Test {
            name: name.to_owned(),
            old: known.map_or(name, |known| &known.old).to_owned(),
            token: known.map(|known| known.token.clone()),
            altered: known.is_some_and(|known| known.altered),
        }
    }

    /// Whether an id, without the suite's prefix, is this test's or one of its subtests'.
    fn is_named_by(&self, id: &str, package: &Package) -> bool {
        let rest = id.strip_prefix(&package.path).and_then(|rest| rest.strip_prefix('.'));
        let rest = rest.and_then(|rest| rest.strip_prefix(&self.old));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// What a test binary printed.
#[derive(Debug, Default)]
struct Report {
    outcomes: BTreeMap<String, Outcome>,
    tokens: BTreeMap<String, usize>,
    /// Whether it said at its end that all passed.
    whole: bool,
    /// Head and tail of it.
    words: String,
}

impl Report {
    fn read(finished: &Finished) -> Result<Report> {
        let mut report = Report { words: finished.log(MESSAGE)?, ..Report::default() };
        finished.stdout.lines(1 << 16, |line| report.feed(&String::from_utf8_lossy(line)))?;
        Ok(report)
    }

    fn feed(&mut self, line: &str) {
        // The mark stands where a test's own output did not end its line.
        let line = line.rsplit('\u{16}').next().unwrap_or(line);
        if line.len() == 32 && line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            *self.tokens.entry(line.to_owned()).or_default() += 1;
        } else if line == "PASS" {
            self.whole = true;
        } else if let Some(parts) = ENDED.captures(line) {
            let outcome = match &parts["how"] {
                "PASS" => Outcome::Passed,
                "FAIL" => Outcome::Failed,
                _ => Outcome::Skipped,
            };
            let known = self.outcomes.entry(parts["name"].to_owned()).or_insert(outcome);
            if known.badness() < outcome.badness() {
                *known = outcome;
            }
        }
    }
}

/// Whether a test's text speaks of Go's sources, and so may read them.
fn reads_sources(text: &str) -> bool {
    let words =
        [".go\"", ".go`", "\"go/parser\"", "\"go/build\"", "/go/packages\"", "/analysistest\"", "./..."];
    words.iter().any(|word| text.contains(word))
}

/// Another name for a test file; `None` where a system or an architecture stands in it.
fn other_name(name: &str, draw: &mut Draw) -> Option<String> {
    let stem = name.strip_suffix("_test.go")?;
    // Whatever it is, a name of one word is none.
    let last = stem.rsplit('_').next()?;
    let systems =
        ["linux", "unix", "darwin", "windows", "amd64", "arm64", "386", "arm", "wasm", "js", "freebsd"];
    if stem.contains('_') && systems.contains(&last) {
        return None;
    }
    Some(format!("{}_{}_test.go", names::word(draw), draw.below(100_000)))
}
