//! Runs tests on mutants: in warm processes where the toolchain has them, as variants of one build where the language
//! allows it, else one by one by whole runs. Only the last way decides nothing wrong, so that what a warm process lets
//! live is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::choose::Mutation;
use super::{Question, mutated};
use crate::repair::mutate::Source;
use crate::repair::variants;
use crate::repair::warm::{self, How, Plan, Round};
use crate::toolchain::Suite;
use crate::verdict::{Outcome, TestId, TestRun};
use crate::verify::{Built, Say, count};

/// CPU seconds of one mutant in a warm process, beyond three times what the tests take.
const LIMIT: f64 = 2.0;

/// Builds after which variants that do not compile are tried one by one.
const BUILDS: usize = 8;

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A test noticed it.
    Killed,
    /// No test did.
    Lived,
    /// It does not build.
    Unbuilt,
}

/// Mutants and what is needed to run tests on them.
pub struct Trial<'a> {
    /// What is asked.
    pub question: &'a Question<'a>,
    /// The files.
    pub sources: &'a [Source<'a>],
    /// The tests that pass without a change.
    pub required: &'a BTreeSet<TestId>,
    /// How long they took.
    pub once: Duration,
    /// When nothing runs any more.
    pub end: Instant,
}

/// What comes of something before `end`, if anything does; what is dropped ends its box.
pub async fn within<T>(end: Instant, what: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(end.into(), what).await.ok()
}

impl Trial<'_> {
    /// Tries mutants until the time is up; what became of them, by number.
    pub async fn run(&self, mutations: &[Mutation], say: Say<'_>) -> Result<BTreeMap<usize, Fate>> {
        let mut fates = BTreeMap::new();
        // With several suites the one that a mutant breaks is not known beforehand.
        if let [suite] = self.question.verifier.suites.as_slice() {
            say(&format!("measuring the tests: {}", count(mutations.len(), "small change")));
            if suite.is_warm() {
                fates = self.warm(suite, mutations).await?;
            } else {
                self.as_variants(suite, mutations, &mut fates, say).await?;
            }
        }
        for (number, mutation) in mutations.iter().enumerate() {
            if fates.contains_key(&number) {
                continue;
            }
            if Instant::now() >= self.end {
                break;
            }
            say(&format!("measuring the tests: change {} of {}", number + 1, mutations.len()));
            let Some(fate) = within(self.end, self.alone(mutation)).await else { break };
            fates.insert(number, fate?);
        }
        Ok(fates)
    }

    /// Tries a mutant by a whole run.
    async fn alone(&self, mutation: &Mutation) -> Result<Fate> {
        let Some(source) = self.sources.iter().find(|source| source.path == mutation.path) else {
            return Ok(Fate::Unbuilt);
        };
        let patch = mutated(self.question.tree, source, mutation.text.clone());
        let longest = self.once * 5 + Duration::from_secs(10);
        match tokio::time::timeout(longest, self.question.verifier.try_tests(&patch, None)).await {
            Err(_) => Ok(Fate::Killed),
            Ok(run) => Ok(self.fate(&run?, None)),
        }
    }

    fn fate(&self, run: &TestRun, suite: Option<&Suite>) -> Fate {
        let own = |id: &&TestId| suite.is_none_or(|suite| suite.own_id(id).is_some());
        match self.required.iter().filter(own).all(|id| run.outcome(id) == Outcome::Passed) {
            _ if !run.built => Fate::Unbuilt,
            true => Fate::Lived,
            false => Fate::Killed,
        }
    }

    /// Tries all in warm processes. Those that live are left to be tried again.
    async fn warm(&self, suite: &Suite, mutations: &[Mutation]) -> Result<BTreeMap<usize, Fate>> {
        let prefix = suite.folder();
        let targets: Vec<String> =
            self.required.iter().filter_map(|id| suite.own_id(id)).map(str::to_owned).collect();
        let own = |mutation: &'_ Mutation| mutation.path.as_str().strip_prefix(&prefix).map(str::to_owned);
        let files: Vec<Option<String>> = mutations.iter().map(own).collect();
        // The last one changes nothing: it must live, or the tests do not run here as they do elsewhere.
        let unchanged = mutations.len();
        let mut candidates: Vec<warm::Candidate<'_>> = Vec::new();
        candidates
            .extend(files.iter().flatten().next().map(|file| (unchanged, file.as_str(), Vec::new(), 0)));
        for (number, (mutation, file)) in mutations.iter().zip(&files).enumerate() {
            if let Some(file) = file {
                let edit = (mutation.edit.start, mutation.edit.end, mutation.edit.text.as_str());
                candidates.push((number, file, vec![edit], 0));
            }
        }
        let left = self.end.saturating_duration_since(Instant::now());
        let (all, once) = (candidates.len(), self.once.as_secs_f64());
        let plan = Plan::Judge(Round {
            targets: &targets,
            guards: &[],
            candidates,
            limits: &[LIMIT],
            seconds: once * 3.0,
            guard_seconds: 0.0,
            cpu: left.as_secs_f64() * 2.0,
            wall: left.as_secs_f64(),
            enough: all + 1,
            after: all + 1,
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        });
        let plan = serde_json::to_string(&plan)?;
        let said =
            self.question.verifier.warm_on(self.question.tree, suite, &plan, left.as_secs() + 5).await?;
        let answers = warm::answers(&said.unwrap_or_default());
        let how = |number: usize| {
            answers.judged.iter().rev().find(|judged| judged.n == number).map(|judged| judged.how)
        };
        if how(unchanged) != Some(How::Passed) {
            return Ok(BTreeMap::new());
        }
        let fate = |number| match how(number)? {
            How::Failed | How::Timeout => Some((number, Fate::Killed)),
            How::Broken => Some((number, Fate::Unbuilt)),
            How::Passed | How::Cold => None,
        };
        Ok((0..mutations.len()).filter_map(fate).collect())
    }

    /// Tries those that can be as variants of one build; the others are left.
    async fn as_variants(
        &self,
        suite: &Suite,
        mutations: &[Mutation],
        fates: &mut BTreeMap<usize, Fate>,
        say: Say<'_>,
    ) -> Result<()> {
        let fits = |mutation: &Mutation| {
            self.sources.iter().any(|source| {
                source.path == mutation.path && variants::fits(source, std::slice::from_ref(&mutation.edit))
            })
        };
        let mut alive: BTreeSet<usize> = (0..mutations.len()).filter(|at| fits(&mutations[*at])).collect();
        let mut unbuilt = BTreeMap::new();
        let making = self.build_variants(suite, mutations, &mut alive, &mut unbuilt);
        let Some(built) = within(self.end, making).await.transpose()?.flatten() else { return Ok(()) };
        let seconds = self.once.as_secs() * 5 + 10;
        let environment = variants::environment(self.sources);
        let run = async |number: usize| {
            let env = variants::choosing(&environment, number);
            let run = self.question.verifier.run_built(&built, suite, None, &env, seconds);
            within(self.end, run).await.transpose()
        };
        if !run(0).await?.is_some_and(|run| self.fate(&run, Some(suite)) == Fate::Lived) {
            return Ok(());
        }
        fates.extend(unbuilt);
        for (tried, number) in alive.iter().enumerate() {
            say(&format!("measuring the tests: change {} of {}", tried + 1, alive.len()));
            let Some(run) = run(number + 1).await? else { break };
            // What is built is built: a run without a result was ended by the mutant.
            let run = TestRun { built: true, ..run };
            fates.insert(*number, self.fate(&run, Some(suite)));
        }
        Ok(())
    }

    /// Builds variants, without those that do not compile.
    async fn build_variants(
        &self,
        suite: &Suite,
        mutations: &[Mutation],
        alive: &mut BTreeSet<usize>,
        fates: &mut BTreeMap<usize, Fate>,
    ) -> Result<Option<Built>> {
        let env = variants::environment(self.sources);
        for _ in 0..BUILDS {
            if alive.is_empty() {
                return Ok(None);
            }
            let edits: Vec<variants::Numbered<'_>> = alive
                .iter()
                .map(|at| (at + 1, &mutations[*at].path, std::slice::from_ref(&mutations[*at].edit)))
                .collect();
            let made = variants::compose(self.sources, &edits);
            let mut tree = self.question.tree.clone();
            tree.0.extend(made.patch.0.clone());
            let built = self.question.verifier.build_kept(suite, &tree, None, &env, u64::MAX).await?;
            if built.run.built {
                return Ok(Some(built));
            }
            let blamed = made.to_blame(&built.run.diagnostics);
            let faulty: BTreeSet<usize> =
                alive.iter().copied().filter(|at| blamed.contains(&(at + 1))).collect();
            if faulty.is_empty() {
                return Ok(None);
            }
            alive.retain(|at| !faulty.contains(at));
            fates.extend(faulty.into_iter().map(|at| (at, Fate::Unbuilt)));
        }
        Ok(None)
    }
}
