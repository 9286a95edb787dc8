//! The embedded proposer: it needs no key, no model and no network. It knows no answers, it searches: among the
//! edits that compilers and linters offer, with the compiler as judge, and what it offers is judged by the
//! tests like anybody's. Which edits messages without one hint at stands in `harness/repairs`. Where the base
//! builds, it searches among small edits of suspicious lines (`logic`), with the tests as judge; what is known of
//! languages for that stands in `harness/repair-operators`.

mod files;
pub mod grammar;
mod hints;
mod lint;
mod locate;
mod logic;
pub mod mutate;
mod probes;
mod rules;
mod scene;
mod search;
mod suggest;
mod trying;
pub mod variants;
pub mod warm;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::budget::Spent;
use crate::diagnostic::{Diagnostic, Location};
use crate::patch::{File, FileKind, Patch, RepoPath};
use crate::propose::{Answer, Ask, Prompt, Proposal, Proposer};
use crate::text;
use crate::verdict::{Baseline, TestResult};
use crate::verify::{Verifier, count, failure_of_base};
use grammar::Grammars;
use lint::Advice;
use logic::{Logic, Plausible};
use rules::Rules;
use search::Search;

/// Builds in a run: over this, a search that found nothing is not likely to.
const BUILDS: u32 = 60;

/// Hints in failing tests that are tried, each by running the tests.
const HINTS: usize = 8;

/// Files larger than this are not edited: nobody wrote them.
const LARGEST: usize = 1 << 20;

/// The embedded proposer.
#[derive(Debug)]
pub struct Repair {
    rules: Rules,
    /// The search among fixes that let the base build, which goes on when its last candidate was red.
    search: Option<Search>,
    builds: u32,
    /// Whether failing tests and linters were asked; they have one answer.
    hinted: bool,
    linted: bool,
    grammars: Grammars,
    /// The search among small edits, when the base builds.
    logic: Logic,
}

/// What localisation says of a repository.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Localised {
    /// What it rests on.
    pub basis: &'static str,
    /// The most suspicious lines, most first.
    pub lines: Vec<Suspect>,
}

/// A line that may be to blame.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Suspect {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// From 0 to 1.
    pub suspicion: f64,
    /// What stands there.
    pub text: String,
}

/// Says which lines of a repository are to blame for its failing tests, as far as can be told, by suite.
pub async fn localise(
    verifier: &Verifier,
    baseline: &Baseline,
    grammars: &Grammars,
) -> Result<Vec<Localised>> {
    let (prompt, failure) = (Prompt::default(), failure_of_base(baseline));
    let ask = Ask {
        attempt: 1,
        prompt: &prompt,
        baseline,
        failure: &failure,
        verifier,
        time: Duration::from_mins(5),
    };
    let mut found = Vec::new();
    for suite in &verifier.suites {
        let workspace = verifier.workshop.workspace()?;
        let scene = scene::scene(grammars, &ask, suite, &workspace, ask.time).await?;
        let lines = scene::suspects(&scene);
        if !lines.is_empty() {
            found.push(Localised { basis: scene.suspicions.basis, lines });
        }
    }
    Ok(found)
}

/// A candidate and what was applied to get it, one line each.
#[derive(Debug)]
struct Candidate {
    patch: Patch,
    applied: Vec<String>,
}

impl Repair {
    /// A proposer with the embedded rules, or those in the harness folder `overrides`.
    pub fn new(overrides: Option<&Path>) -> Result<Repair> {
        Ok(Repair {
            rules: Rules::load(overrides)?,
            search: None,
            builds: 0,
            hinted: false,
            linted: false,
            grammars: Grammars::load(overrides)?,
            logic: Logic::default(),
        })
    }

    /// The same with little effort, for a ladder on which somebody else comes next.
    #[must_use]
    pub fn quick(mut self) -> Repair {
        self.logic.quick = true;
        self
    }

    async fn answer(&mut self, ask: &Ask<'_>) -> Result<Proposal> {
        // The rest of the time is the verifier's.
        let end = Instant::now() + ask.time.mul_f64(0.8);
        let found = if ask.baseline.run.built {
            match self.hints(ask, end).await? {
                None => match self.lint(ask, end).await? {
                    None => self.mutate(ask, end).await?,
                    found => found,
                },
                hint => hint,
            }
        } else {
            self.build(ask, end).await?
        };
        Ok(match found {
            Some(candidate) => Proposal::Edits {
                patch: candidate.patch,
                transcript: candidate.applied.join("\n"),
                spent: Spent::default(),
            },
            None => Proposal::Nothing { reason: self.reason(ask), spent: Spent::default(), permanent: true },
        })
    }

    /// The next tree that builds.
    async fn build(&mut self, ask: &Ask<'_>, end: Instant) -> Result<Option<Candidate>> {
        let editable = Editable::new(ask.verifier)?;
        let read = |path: &RepoPath| editable.read(path);
        let rules = &self.rules;
        let search =
            self.search.get_or_insert_with(|| Search::new(&ask.baseline.run.diagnostics, rules, &read));
        let mut longest = Duration::ZERO;
        while self.builds < BUILDS
            && Instant::now() + longest < end
            && let Some(trial) = search.next(&read)
        {
            self.builds += 1;
            let begin = Instant::now();
            let run = ask.verifier.build_only(&trial.patch).await?;
            longest = longest.max(begin.elapsed());
            if run.built {
                return Ok(Some(Candidate { patch: trial.patch, applied: trial.applied }));
            }
            search.learn(trial, &run, rules, &read);
        }
        Ok(None)
    }

    /// What the messages of failing tests hint at (a misspelt name in a traceback, a file that is looked for), if the
    /// tests pass with it.
    async fn hints(&mut self, ask: &Ask<'_>, end: Instant) -> Result<Option<Candidate>> {
        if std::mem::replace(&mut self.hinted, true) {
            return Ok(None);
        }
        let editable = Editable::new(ask.verifier)?;
        let tests = &ask.baseline.run.tests;
        let targets = ask.baseline.targets.iter().filter_map(|id| tests.get(id));
        let errors: Vec<Diagnostic> = targets.flat_map(|test| errors_of(test, &editable)).collect();
        let found = self.first_that_passes(ask, &errors, end).await?;
        if found.is_some() {
            return Ok(found);
        }
        for candidate in files::candidates(ask, &editable)? {
            if Instant::now() < end && passes(ask, &candidate.patch).await? {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }

    /// What linters offer for the base, if the tests pass with it.
    async fn lint(&mut self, ask: &Ask<'_>, end: Instant) -> Result<Option<Candidate>> {
        if std::mem::replace(&mut self.linted, true) {
            return Ok(None);
        }
        for advice in lint::run(&self.rules, ask.verifier).await? {
            let found = match advice {
                Advice::Offers(errors) => self.first_that_passes(ask, &errors, end).await?,
                Advice::Changes(command, patch) => {
                    passes(ask, &patch).await?.then(|| Candidate { patch, applied: vec![command] })
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A small edit with which the tests pass.
    async fn mutate(&mut self, ask: &Ask<'_>, end: Instant) -> Result<Option<Candidate>> {
        let found = self.logic.next(&self.grammars, ask, end).await?;
        let others: Vec<&Plausible> = self.logic.plausible.iter().rev().collect();
        Ok(found.map(|plausible| {
            let mut applied = vec![
                format!("{}: plausible, for it passes the tests that there are", plausible.what),
                self.logic.statistics.to_string(),
            ];
            applied.extend(others.iter().map(|other| format!("also plausible: {}", other.what)));
            Candidate { patch: plausible.patch, applied }
        }))
    }

    /// The first tree with fixes for `errors` in which the tests pass.
    async fn first_that_passes(
        &self,
        ask: &Ask<'_>,
        errors: &[Diagnostic],
        end: Instant,
    ) -> Result<Option<Candidate>> {
        let editable = Editable::new(ask.verifier)?;
        let read = |path: &RepoPath| editable.read(path);
        let mut search = Search::new(errors, &self.rules, &read);
        for _ in 0..HINTS {
            let Some(trial) = search.next(&read).filter(|_| Instant::now() < end) else {
                break;
            };
            if passes(ask, &trial.patch).await? {
                return Ok(Some(Candidate { patch: trial.patch, applied: trial.applied }));
            }
        }
        Ok(None)
    }

    /// Why there is no candidate, and what to do about it.
    fn reason(&self, ask: &Ask<'_>) -> String {
        let remedy = "an LLM may know more: --model PROVIDER/NAME";
        if ask.baseline.run.built {
            let (tried, learned) = (&self.logic.statistics, self.logic.learned());
            return format!(
                "no hint of a tool and no small edit makes the failing tests pass; {tried}; {remedy}{learned}"
            );
        }
        let tried = count(self.builds as usize, "build");
        match (self.builds, &self.search) {
            (0, _) => format!("no message of the compiler offers an edit of a product file; {remedy}"),
            (BUILDS.., _) => format!("no further edit that the compiler offers helped in {tried}; {remedy}"),
            (_, Some(search)) if search.is_over() => {
                format!("all edits that the compiler offers were tried in {tried}; {remedy}")
            }
            _ => format!(
                "the time was up after {tried}; more --time may help, or an LLM: --model PROVIDER/NAME"
            ),
        }
    }
}

impl Proposer for Repair {
    fn name(&self) -> &'static str {
        "repair"
    }

    fn most(&self, _: &Prompt) -> Result<Spent> {
        Ok(Spent::default())
    }

    fn propose<'a>(&'a mut self, ask: &'a Ask<'a>) -> Answer<'a> {
        Box::pin(self.answer(ask))
    }
}

/// The files of the base that may be edited.
struct Editable<'a> {
    verifier: &'a Verifier,
    protected: globset::GlobSet,
}

impl<'a> Editable<'a> {
    fn new(verifier: &'a Verifier) -> Result<Editable<'a>> {
        Ok(Editable { verifier, protected: verifier.protected()? })
    }

    /// A file that belongs to the repository, is no test or configuration, no link and not huge.
    fn read(&self, path: &RepoPath) -> Option<File> {
        if self.protected.is_match(path.as_str()) {
            return None;
        }
        let file = self.verifier.workshop.snapshot.file(path).ok()??;
        (file.kind != FileKind::Link && file.content.len() <= LARGEST).then_some(file)
    }
}

/// Whether the tests pass with a patch.
async fn passes(ask: &Ask<'_>, patch: &Patch) -> Result<bool> {
    ask.verifier.passes(ask.baseline, patch, &|_| {}).await
}

/// A failing test as errors that rules may know: each line of its message that names an error, at the innermost
/// frame that may be edited.
fn errors_of(test: &TestResult, editable: &Editable) -> Vec<Diagnostic> {
    let may_be_edited =
        |at: &&Location| RepoPath::new(&at.file).is_ok_and(|path| editable.read(&path).is_some());
    let Some(place) = test.frames.iter().find(may_be_edited) else {
        return Vec::new();
    };
    let lines = test.message.lines().map(|line| line.trim_start_matches("E ").trim());
    let lines: BTreeSet<&str> = lines.filter(|line| line.contains("Error: ")).collect();
    let error = |line| Diagnostic::error(Some(place.clone()), text::clip(line, 500));
    lines.into_iter().take(3).map(error).collect()
}
