//! Attested runs of JavaScript and TypeScript suites. Node's own runner: one process a test file, its secret on its
//! stdin. Mocha and jest: one process for all; vitest: one that sees to its workers. The beacons stand in the test
//! files, which are rewritten in the workspace. Scripts without a runner are not attested.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use super::vary::{self, Naming, Order, Varied, javascript, words};
use super::{Assignment, Attestation, Secret, account};
use crate::patch::{File, Patch, RepoPath};
use crate::process::Finished;
use crate::toolchain::place::Place;
use crate::toolchain::{Invocation, Parsed, Reads};
use crate::verdict::TestId;
use crate::verify::observe::{self, Phase};
use crate::workspace::read_beneath;

/// Records of one process are read up to this many bytes.
const RECORDS: u64 = 256 << 20;

/// What `regreen-attest-files.mjs` says.
#[derive(Debug, Default, Deserialize)]
struct Plan {
    options: Vec<String>,
    files: Vec<String>,
}

/// The base's test files and what else may speak of tests.
#[derive(Debug, Default)]
struct Files {
    /// Paths relative to the suite's folder, and texts.
    tests: Vec<(String, String)>,
    configuration: String,
}

/// What one process is told.
struct Orders<'a> {
    beacon: &'a str,
    /// The beacons.
    varied: &'a Varied,
    freeze: bool,
}

/// Does an assignment for a suite of this language.
pub(super) async fn attest(assignment: &Assignment<'_>) -> Result<Option<Attestation>> {
    let Assignment { verifier, suite, workspace, .. } = assignment;
    let runner = suite.profile.name.as_str();
    if !matches!(runner, "node-test" | "mocha" | "jest" | "vitest") {
        return Ok(None);
    }
    let only = assignment.only.map(|only| suite.own_tests(only)).transpose()?;
    if only.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Some(Attestation::default()));
    }
    let files = base_files(assignment)?;
    let mut draw = assignment.secret.draw();
    let beacon = format!("note{}", words::camel(&mut draw, &mut BTreeSet::new()));
    let mut varied = varied(assignment, &files, &beacon)?;
    let mut attestation = Attestation::default();
    attestation.run.built = true;
    let results = verifier.workshop.scratch.results()?;
    let built = verifier.build(suite, workspace, &results, &mut attestation.run).await?;
    if built.is_some() && runner == "node-test" {
        let plan = plan(assignment, &mut attestation).await?;
        move_heads(&mut varied, &files, &plan.files);
        let only =
            only.map(|only| only.iter().map(|id| varied.forth(id, Naming::Script)).collect::<Vec<_>>());
        for (number, file) in plan.files.iter().enumerate() {
            let chosen =
                |id: &String| id == file || id.strip_prefix(file).is_some_and(|rest| rest.starts_with(" > "));
            if only.as_ref().is_none_or(|only| only.iter().any(chosen)) {
                let own =
                    Secret { key: derived(&assignment.secret, number as u64), ..assignment.secret.clone() };
                let orders = Orders { beacon: &beacon, varied: &varied, freeze: files.may_freeze() };
                let one = Process { assignment, own: &own, file: Some((file, &plan.options)) };
                one.run(&orders, &files, &mut attestation).await?;
            }
        }
    } else if built.is_some() {
        let orders = Orders { beacon: &beacon, varied: &varied, freeze: files.may_freeze() };
        let one = Process { assignment, own: &assignment.secret, file: None };
        one.run(&orders, &files, &mut attestation).await?;
    }
    let _ = std::fs::remove_dir_all(&results);
    let prefix = suite.prefix();
    let altered = |id: &&TestId| varied.has_altered(id.strip_prefix(&prefix).unwrap_or(id), Naming::Script);
    attestation.altered = attestation.run.tests.keys().filter(altered).cloned().collect();
    attestation.run.load = observe::load();
    Ok(Some(attestation))
}

/// A key of a process's own, so that records of one are none of another.
fn derived(secret: &Secret, number: u64) -> [u8; 32] {
    let code = secret.code(number, "key", "");
    let mut key = [0; 32];
    key.copy_from_slice(&code.as_bytes()[..32]);
    key
}

/// A process that runs tests.
struct Process<'a> {
    assignment: &'a Assignment<'a>,
    own: &'a Secret,
    /// The file that it runs, with node's options; `None`: the runner finds the files.
    file: Option<(&'a String, &'a [String])>,
}

impl Process<'_> {
    async fn run(&self, orders: &Orders<'_>, files: &Files, attestation: &mut Attestation) -> Result<()> {
        let Assignment { verifier, suite, workspace, .. } = self.assignment;
        let results = verifier.workshop.scratch.results()?;
        let input = json!({
            "runner": suite.profile.name,
            "key": self.own.key_text(),
            "records": results.join("records"),
            "beacon": orders.beacon,
            "tests": orders.varied.beacons,
            "patterns": orders.varied.patterns.iter().map(|one| [one.text(), one.token.clone()]).collect::<Vec<_>>(),
            "freeze": orders.freeze,
            "file": self.file.map(|(file, _)| file),
            "empty": self.file.is_some_and(|(file, _)| files.holds_no_test(file)),
        });
        let launchers = verifier.launchers.display();
        let mut argv = vec!["node".to_owned()];
        if let Some((file, options)) = self.file {
            argv.push(format!("--import=file://{launchers}/regreen-attest.mjs"));
            argv.extend(["--require".to_owned(), format!("{launchers}/regreen-assert.cjs")]);
            argv.push(format!("--test-reporter=file://{launchers}/regreen-attest-node.mjs"));
            argv.push("--test-reporter-destination=stdout".to_owned());
            argv.extend(options.iter().cloned());
            argv.push(file.clone());
        } else {
            let seen = workspace.places().seen.display().to_string();
            let shown = results.display().to_string();
            let phase =
                ["test", &suite.profile.name, "--tree", &seen, "--results", &shown, "--attested", "--"];
            argv.push(format!("{launchers}/regreen-js.mjs"));
            argv.extend(phase.map(str::to_owned));
            argv.extend(self.chosen_files(orders.varied)?);
        }
        let invocation = suite.invocation(argv, suite.dir.clone(), Reads::Messages);
        let finished = execute(self.assignment, &invocation, &results, &input).await?;
        observe::note(&mut attestation.run, &invocation, &finished, Parsed::default())?;
        let bytes = read_beneath(&results, "records", RECORDS).unwrap_or_default();
        let place = Place::new(workspace.places(), &suite.dir);
        let account = account::read(&bytes, self.own, &place, &finished.exit);
        let (prefix, back) = (suite.prefix(), orders.varied.back(Naming::Script));
        account.add_to(attestation, |id| format!("{prefix}{}", back(id)));
        let _ = std::fs::remove_dir_all(&results);
        Ok(())
    }
}

impl Process<'_> {
    /// The files of the tests that are to run, for runners that take files.
    fn chosen_files(&self, varied: &Varied) -> Result<BTreeSet<String>> {
        let Assignment { suite, only, .. } = self.assignment;
        let takes_files = matches!(suite.profile.name.as_str(), "jest" | "vitest");
        let Some(only) = only.filter(|_| takes_files) else { return Ok(BTreeSet::new()) };
        let file = |id: String| {
            let id = varied.forth(&id, Naming::Script);
            id.split(" > ").next().unwrap_or_default().to_owned()
        };
        Ok(suite.own_tests(only)?.into_iter().map(file).collect())
    }
}

async fn execute(
    assignment: &Assignment<'_>,
    invocation: &Invocation,
    results: &std::path::Path,
    input: &Value,
) -> Result<Finished> {
    let input = serde_json::to_vec(input)?;
    let Assignment { verifier, workspace, .. } = assignment;
    verifier.run_with_input(invocation, workspace, results, Phase::Test, input).await
}

/// Asks which files node's runner would run, and how.
async fn plan(assignment: &Assignment<'_>, attestation: &mut Attestation) -> Result<Plan> {
    let Assignment { verifier, suite, .. } = assignment;
    let results = verifier.workshop.scratch.results()?;
    let launcher = verifier.launchers.join("regreen-attest-files.mjs").display().to_string();
    let invocation = suite.invocation(vec!["node".to_owned(), launcher], suite.dir.clone(), Reads::Messages);
    let finished = execute(assignment, &invocation, &results, &Value::Null).await?;
    let _ = std::fs::remove_dir_all(&results);
    let said = finished.stdout.excerpt(1 << 20)?;
    Ok(serde_json::from_str(&said).unwrap_or_else(|_| {
        attestation.contradictions.push("the test files could not be listed".to_owned());
        Plan::default()
    }))
}

/// Tests that are compiled before they run have the ids of the compiled files.
fn move_heads(varied: &mut Varied, files: &Files, run: &[String]) {
    let stem = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
    };
    for (path, _) in &files.tests {
        if run.contains(path) || varied.files.get(path).is_some_and(Option::is_none) {
            continue;
        }
        let compiled: Vec<&String> = run.iter().filter(|file| stem(file) == stem(path)).collect();
        let ([compiled], start) = (&compiled[..], format!("{path} > ")) else {
            continue;
        };
        let moved = |head: &String| {
            head.strip_prefix(&start).map_or_else(|| head.clone(), |rest| format!("{compiled} > {rest}"))
        };
        varied.altered = varied.altered.iter().map(moved).collect();
        varied.renamed = varied.renamed.iter().map(|(old, new)| (moved(old), moved(new))).collect();
        varied.beacons = varied.beacons.iter().map(|(head, token)| (moved(head), token.clone())).collect();
        varied.cases = varied.cases.iter().map(|(new, old)| (moved(new), moved(old))).collect();
        for pattern in varied.patterns.iter_mut().filter(|pattern| pattern.path == *path) {
            (pattern.path, pattern.head) = ((*compiled).clone(), moved(&pattern.head));
        }
    }
}

impl Files {
    /// Whether no test changes what tests are written with.
    fn may_freeze(&self) -> bool {
        let changes = |text: &str| {
            text.contains("method(assert")
                || text.lines().any(|line| {
                    let line = line.trim_start();
                    line.starts_with("assert.")
                        && line.split_once('=').is_some_and(|(left, _)| !left.contains('('))
                })
        };
        !self.tests.iter().any(|(_, text)| changes(text))
    }

    fn holds_no_test(&self, file: &str) -> bool {
        let text = self.tests.iter().find(|(path, _)| path == file).map(|(_, text)| text);
        text.is_some_and(|text| {
            !["test(", "it(", "describe(", "suite(", "test."].iter().any(|call| text.contains(call))
        })
    }
}

fn base_files(assignment: &Assignment<'_>) -> Result<Files> {
    let Assignment { verifier, suite, .. } = assignment;
    let protected = verifier.protected()?;
    let mut files = Files::default();
    for path in assignment.base_paths()? {
        let start = suite.folder();
        let Some(inside) = path.as_str().strip_prefix(&start) else {
            continue;
        };
        let is_test = protected.is_match(path.as_str()) && javascript::language(inside).is_some();
        let name = inside.rsplit('/').next().unwrap_or(inside);
        let configures = name == "package.json" || name.starts_with("tsconfig") || name.contains("rc");
        if inside.contains("node_modules/") || inside.ends_with(".d.ts") || !(is_test || configures) {
            continue;
        }
        let file = assignment.base_file(&path)?;
        let text = file.and_then(|file| String::from_utf8(file.content).ok()).unwrap_or_default();
        if is_test {
            files.tests.push((inside.to_owned(), text));
        } else {
            files.configuration.push_str(&text);
        }
    }
    Ok(files)
}

/// Puts beacons into the test files of the base, varies them, and writes them into the workspace.
fn varied(assignment: &Assignment<'_>, files: &Files, beacon: &str) -> Result<Varied> {
    let Assignment { suite, workspace, .. } = assignment;
    let sources: Vec<vary::Source<'_>> =
        files.tests.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let alter = assignment.alter.map(|alter| suite.own_tests(alter)).transpose()?;
    let alter = alter.map(|alter| alter.into_iter().collect::<BTreeSet<_>>());
    let only = assignment.only.map(|only| suite.own_tests(only)).transpose()?;
    let only = only.map(|only| only.into_iter().collect::<BTreeSet<_>>());
    let order = Order {
        variant: assignment.variant,
        naming: Naming::Script,
        alter: alter.as_ref(),
        only: only.as_ref(),
        elsewhere: &files.configuration,
        lines: &assignment.lines(),
    };
    let done = javascript::vary(&sources, &order, beacon, &mut assignment.secret.draw());
    let mut changes = Patch::default();
    for (place, new) in &done.files {
        let path = format!("{}{place}", suite.folder());
        changes.0.insert(RepoPath::new(&path)?, new.clone().map(File::plain));
    }
    workspace.apply(&changes)?;
    Ok(done)
}
