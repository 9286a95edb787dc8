//! Runs the programs of a session: one process a test where there are few enough, each with an input of its own that
//! makes its choices. A test is attested when libtest says that it passed and nothing else did, the process ended with
//! status 0, and its token, and no other of its own, was written.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::change::Known;
use super::choice::Input;
use super::{Entry, Session, names};
use crate::process::Finished;
use crate::toolchain::{Format, Invocation, Reads};
use crate::verdict::{Exit, Outcome, TestId, TestResult, keep_worse};
use crate::verify::Verifier;
use crate::verify::attest::{Attestation, Draw, Play, Secret, Variant};
use crate::verify::observe::{self, Phase};
use crate::workspace::Workspace;

/// Up to this many tests of a binary run in a process each; more run together.
const APART: usize = 48;

impl Session {
    /// Runs tests in a workspace that holds what was built.
    pub(in super::super) async fn play(
        &self,
        verifier: &Verifier,
        workspace: &Workspace,
        play: &Play<'_>,
    ) -> Result<Attestation> {
        let own = |ids: &BTreeSet<TestId>| -> Result<BTreeSet<TestId>> {
            Ok(self.suite.own_tests(ids)?.into_iter().collect())
        };
        let (only, alter, but) = (
            play.only.map(own).transpose()?,
            play.alter.map(own).transpose()?,
            play.but.map(own).transpose()?,
        );
        if only.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(Attestation::default());
        }
        let secret = Secret::fresh()?;
        let results = verifier.workshop.scratch.results()?;
        let said = Attestation { contradictions: self.contradictions.clone(), ..Attestation::default() };
        let draw = secret.draw();
        let (variant, whole) = (play.variant, play.whole.unwrap_or(workspace));
        let mut playing = Playing {
            session: self,
            verifier,
            workspace,
            whole,
            variant,
            only,
            alter,
            but,
            results,
            draw,
            said,
        };
        playing.said.run.built = true;
        playing.said.run.seconds = self.seconds;
        playing.all().await?;
        let _ = std::fs::remove_dir_all(&playing.results);
        playing.said.run.load = observe::load();
        Ok(playing.said)
    }
}

struct Playing<'a> {
    session: &'a Session,
    verifier: &'a Verifier,
    workspace: &'a Workspace,
    whole: &'a Workspace,
    variant: Variant,
    /// The tests to run, and those whose bodies are changed, without the suite's prefix.
    only: Option<BTreeSet<TestId>>,
    alter: Option<BTreeSet<TestId>>,
    /// Tests that do not run.
    but: Option<BTreeSet<TestId>>,
    results: std::path::PathBuf,
    draw: Draw,
    said: Attestation,
}

impl Playing<'_> {
    async fn all(&mut self) -> Result<()> {
        let Playing { session, verifier, workspace, .. } = *self;
        let tables = session.tables(workspace)?;
        let places = workspace.places();
        let suite = &session.suite;
        let commands = suite.tests(&places, &session.built, None, &self.results, &verifier.launchers)?;
        for command in commands {
            match &command.reads {
                Reads::Tests(_, prefix) if !self.concerns(prefix) => {}
                Reads::Tests(Format::Libtest, prefix) => {
                    let table = command.argv.first().and_then(|program| tables.get(program));
                    self.run_binary(&command, prefix, table.unwrap_or(&BTreeMap::new())).await?;
                }
                Reads::Tests(format, prefix) if self.variant == Variant::Plain && !self.is_spared(prefix) => {
                    let why = match format {
                        Format::Doctest => "it is an example in the docs",
                        _ => "its binary has a harness of its own",
                    };
                    self.run_plain(&command, why).await?;
                }
                Reads::Tests(..) | Reads::Messages => {}
            }
        }
        Ok(())
    }

    /// Whether any test of a binary is to run.
    fn concerns(&self, prefix: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|id| id.starts_with(prefix)))
    }

    /// Whether a test of a binary is among those that do not run.
    fn is_spared(&self, prefix: &str) -> bool {
        self.but.as_ref().is_some_and(|but| but.iter().any(|id| id.starts_with(prefix)))
    }

    /// Whether a test is to run.
    fn chosen(&self, id: &TestId) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(id))
            && !self.but.as_ref().is_some_and(|but| but.contains(id))
    }

    /// Runs what has no beacon as it always runs.
    async fn run_plain(&mut self, command: &Invocation, why: &str) -> Result<()> {
        let Playing { session, verifier, whole: workspace, .. } = *self;
        let finished = verifier.run(command, workspace, &self.results, Phase::Test).await?;
        let parsed = session.suite.read(command, &finished, &workspace.places(), &self.results)?;
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
    ) -> Result<()> {
        let Playing { session, verifier, workspace, .. } = *self;
        let mut command = command.clone();
        if session.alias {
            command.argv[0] = self.copy_program(&command).await?;
        }
        let before = self.mark(&command.argv[0]);
        let list = Invocation {
            argv: [&command.argv[0], "--list", "--format", "terse"].map(str::to_owned).to_vec(),
            reads: Reads::Messages,
            ..command.clone()
        };
        let listed = verifier.run(&list, workspace, &self.results, Phase::Test).await?;
        self.said.run.seconds += listed.seconds;
        let mut tests = Vec::new();
        listed.stdout.lines(1 << 16, |line| {
            let line = String::from_utf8_lossy(line);
            if let Some(name) = line.strip_suffix(": test") {
                tests.push(Test::new(name, table));
            }
        })?;
        tests.retain(|test| self.chosen(&format!("{prefix}{}", test.old)));
        let apart = tests.len() <= APART || self.only.is_some();
        let groups: Vec<&[Test]> = if apart { tests.chunks(1).collect() } else { vec![&tests[..]] };
        let inputs: Vec<Input> = groups.iter().map(|group| self.input(prefix, group)).collect();
        let abreast = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(8);
        let running = groups.iter().zip(&inputs).map(|(group, input)| self.run_some(&command, group, input));
        let running: Vec<_> = running.collect();
        let finished: Vec<Finished> = stream::iter(running).buffered(abreast).try_collect().await?;
        for ((group, input), finished) in groups.into_iter().zip(&inputs).zip(finished) {
            self.weigh_some(&command, group, input, &finished)?;
        }
        if before != self.mark(&command.argv[0]) {
            self.said.contradictions.push(format!("{prefix}: its program was exchanged while its tests ran"));
        }
        Ok(())
    }

    /// What changes when a program is written again.
    fn mark(&self, program: &str) -> Option<(u64, u64, i64, i64)> {
        let places = self.workspace.places();
        let inside = Path::new(program).strip_prefix(&places.seen).ok()?;
        let data = places.here.join(inside).symlink_metadata().ok()?;
        Some((data.ino(), data.size(), data.ctime(), data.ctime_nsec()))
    }

    /// What a process that runs these tests reads.
    fn input(&mut self, prefix: &str, tests: &[Test]) -> Input {
        let mut input = self.session.choices.input(&mut self.draw);
        for test in tests {
            let id = format!("{prefix}{}", test.old);
            let Some(known) = test.known.as_ref() else { continue };
            if self.alter.as_ref().is_some_and(|alter| !alter.contains(&id)) {
                continue;
            }
            let place = match self.variant {
                Variant::Poison => known.poison,
                Variant::Perturb => self.draw.choose(&known.perturb).copied(),
                Variant::Plain | Variant::Alias => None,
            };
            if let Some(place) = place {
                input.send(place, false);
            }
        }
        input
    }

    /// Whether this run changes what a test means.
    fn alters(&self, id: &TestId, known: &Known) -> bool {
        match self.variant {
            // A session that was built under other names has them in every run.
            Variant::Plain | Variant::Alias => self.session.alias && known.path.last() != Some(&known.name),
            Variant::Poison | Variant::Perturb
                if self.alter.as_ref().is_some_and(|alter| !alter.contains(id)) =>
            {
                false
            }
            Variant::Poison => known.poison.is_some(),
            Variant::Perturb => !known.perturb.is_empty(),
        }
    }

    /// The binary under a name that tells nothing.
    async fn copy_program(&mut self, command: &Invocation) -> Result<String> {
        let Playing { verifier, workspace, .. } = *self;
        let (folder, _) = command.argv[0].rsplit_once('/').unwrap_or((".", ""));
        let copy = format!("{folder}/{}-{:016x}", names::word(&mut self.draw), self.draw.word());
        let argv = ["cp", &command.argv[0], &copy].map(str::to_owned).to_vec();
        let copying = Invocation { argv, reads: Reads::Messages, ..command.clone() };
        verifier.run(&copying, workspace, &self.results, Phase::Test).await?;
        Ok(copy)
    }

    /// Runs tests of one binary in one process.
    async fn run_some(&self, command: &Invocation, tests: &[Test], input: &Input) -> Result<Finished> {
        let command = naming(command, tests);
        // A test that reads no choice must find its stdin empty, as ever.
        let reads = tests.iter().any(|test| test.known.as_ref().is_some_and(|known| known.token.is_ok()));
        let bytes = if reads { input.bytes() } else { Vec::new() };
        self.verifier.run_with_input(&command, self.workspace, &self.results, Phase::Test, bytes).await
    }

    /// Weighs what a process said.
    fn weigh_some(
        &mut self,
        command: &Invocation,
        tests: &[Test],
        input: &Input,
        finished: &Finished,
    ) -> Result<()> {
        let Playing { session, workspace, .. } = *self;
        let command = naming(command, tests);
        let mut parsed = session.suite.read(&command, finished, &workspace.places(), &self.results)?;
        let found = Tokens::read(finished)?;
        let results_by_id: BTreeMap<TestId, TestResult> =
            std::mem::take(&mut parsed.tests).into_iter().map(|test| (test.id.clone(), test)).collect();
        let (own, prefix) = (session.suite.prefix(), prefix_of(&command));
        let is_known = |id: &TestId| tests.iter().any(|test| *id == format!("{own}{prefix}{}", test.name));
        if !results_by_id.keys().all(is_known) {
            self.contradict(&tests[0].old, "its process reports tests that were not asked for");
        }
        for test in tests {
            let id = format!("{own}{prefix}{}", test.old);
            let said = results_by_id.get(&format!("{own}{prefix}{}", test.name));
            let skipped = said.is_some_and(|said| said.outcome == Outcome::Skipped);
            let altered = |known: &Known| self.alters(&format!("{prefix}{}", test.old), known);
            if !skipped && test.known.as_ref().is_some_and(altered) {
                self.said.altered.insert(id.clone());
            }
            let token = match &test.known {
                None => Err("a macro makes it".to_owned()),
                Some(known) => known.token.clone().map(|token| input.written(token)),
            };
            let told = token.map(|token| found.count(&token, test.case));
            self.weigh(id, told, said, finished, parsed.complete);
        }
        observe::note(&mut self.said.run, &command, finished, parsed)
    }

    /// What one test's process says of it; `told` is how often its token was written, or why it has none.
    fn weigh(
        &mut self,
        id: TestId,
        told: Result<usize, String>,
        said: Option<&TestResult>,
        finished: &Finished,
        complete: bool,
    ) {
        let Some(said) = said else {
            let message = format!("its process has no word of it: {}", finished.exit);
            let result = TestResult { message, ..TestResult::new(id, Outcome::Missing) };
            keep_worse(&mut self.said.run.tests, result);
            return;
        };
        let mut result = TestResult { id: id.clone(), ..said.clone() };
        let ended = finished.exit == Exit::Code(0) && complete;
        if result.outcome == Outcome::Passed {
            match told {
                Ok(1) if ended => drop(self.said.attested.insert(id.clone())),
                Ok(_) if !ended => {
                    result.outcome = Outcome::Failed;
                    result.message =
                        format!("reported as passed by a process that did not end well: {}", finished.exit);
                }
                Ok(0) => {
                    result.outcome = Outcome::Failed;
                    "reported as passed, and its body did not come to its end"
                        .clone_into(&mut result.message);
                    let message = result.message.clone();
                    self.contradict(&id, &message);
                }
                Ok(_) => self.contradict(&id, "its end was told more than once"),
                Err(why) => drop(self.said.unattestable.insert(id.clone(), why)),
            }
        }
        keep_worse(&mut self.said.run.tests, result);
    }

    fn contradict(&mut self, id: &str, what: &str) {
        self.said.contradictions.push(format!("{id}: {what}"));
    }
}

/// The command line for some tests of a binary.
fn naming(command: &Invocation, tests: &[Test]) -> Invocation {
    let mut command = command.clone();
    command.argv.push("--exact".to_owned());
    command.argv.extend(tests.iter().map(|test| test.name.clone()));
    if tests.len() == 1 {
        command.argv.push("--test-threads=1".to_owned());
    }
    command
}

/// A test of a binary.
struct Test {
    /// What libtest calls it now.
    name: String,
    /// What it called it in the base.
    old: String,
    /// What was made of it; `None`: it stands in no file as a function.
    known: Option<Known>,
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
            return Test { name: name.to_owned(), old: name.to_owned(), known: None, case: false };
        };
        Test {
            name: name.to_owned(),
            old: format!("{}{rest}", entry.old),
            known: Some(entry.known.clone()),
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
