//! The search for fixes that together let a tree build, with the compiler as judge: best first, from the base
//! outwards. Pure: [`Search::next`] says what to build, [`Search::learn`] is told what the compiler said.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::rules::Rules;
use super::suggest::{self, Fix};
use crate::diagnostic::{Diagnostic, Severity};
use crate::patch::{File, Patch, RepoPath};
use crate::verdict::TestRun;

/// Ways to go on from one tree.
const STEPS: usize = 32;

/// What a stage of the compiler that is not reached weighs, in errors.
const STAGE: usize = 4;

/// A file of the base that may be edited.
pub type Read<'a> = &'a dyn Fn(&RepoPath) -> Option<File>;

/// The state of the search.
#[derive(Debug)]
pub struct Search {
    trees: Vec<Tree>,
    open: Vec<Step>,
    /// Hashes of the patches that were tried.
    seen: HashSet<u64>,
}

/// What to build next.
#[derive(Debug)]
pub struct Trial {
    /// The tree, as a patch against the base.
    pub patch: Patch,
    /// What was applied, one line each.
    pub applied: Vec<String>,
    /// The tree that it was made from.
    from: usize,
}

/// A tree that the compiler has judged.
#[derive(Debug)]
struct Tree {
    patch: Patch,
    applied: Vec<String>,
    /// What the compiler says, without places: they move with every edit.
    errors: BTreeSet<String>,
    /// The fixes for each error that has any.
    offers: Vec<Vec<Fix>>,
}

/// Fixes to apply to a tree: the error's and the fix's place in [`Tree::offers`].
#[derive(Debug)]
struct Step {
    tree: usize,
    choice: Vec<(usize, usize)>,
    /// How far the tree is from building, and how unlikely the choice is.
    cost: usize,
}

impl Search {
    /// A search that begins at the base, of which the compiler says `diagnostics`.
    pub fn new(diagnostics: &[Diagnostic], rules: &Rules, read: Read) -> Search {
        let mut search = Search { trees: Vec::new(), open: Vec::new(), seen: HashSet::new() };
        search.seen.insert(hash(&Patch::default()));
        search.add(Patch::default(), Vec::new(), diagnostics, rules, read);
        search
    }

    /// The most promising tree that was not tried; `None` when there is none.
    pub fn next(&mut self, read: Read) -> Option<Trial> {
        loop {
            let best = (0..self.open.len()).min_by_key(|at| self.open[*at].cost)?;
            let step = self.open.remove(best);
            let tree = &self.trees[step.tree];
            let fixes: Vec<&Fix> =
                step.choice.iter().map(|(error, fix)| &tree.offers[*error][*fix]).collect();
            let applied = suggest::apply(&fixes, &|path| current(&tree.patch, path, read));
            let mut patch = tree.patch.clone();
            patch.0.extend(applied.files.into_iter().map(|(path, file)| (path, Some(file))));
            if self.seen.insert(hash(&patch)) {
                let lines = applied.fixes.iter().map(|at| fixes[*at].why.clone());
                let applied = tree.applied.iter().cloned().chain(lines).collect();
                return Some(Trial { patch, applied, from: step.tree });
            }
        }
    }

    /// Whether everything was tried.
    pub fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in what the compiler said of a trial that does not build. It is gone on from, unless nothing that
    /// was wrong before is right now.
    pub fn learn(&mut self, trial: Trial, run: &TestRun, rules: &Rules, read: Read) {
        let errors = words(&run.diagnostics);
        let further = self.trees[trial.from].errors.iter().any(|error| !errors.contains(error));
        if further {
            self.add(trial.patch, trial.applied, &run.diagnostics, rules, read);
        }
    }

    fn add(
        &mut self,
        patch: Patch,
        applied: Vec<String>,
        diagnostics: &[Diagnostic],
        rules: &Rules,
        read: Read,
    ) {
        let errors = suggest::errors(diagnostics);
        let stages = errors.iter().map(|error| rules.stages_left(error)).max().unwrap_or(0);
        let far = errors.len() + STAGE * stages;
        let offers: Vec<Vec<Fix>> = errors
            .into_iter()
            .map(|error| offers(error, rules, &|path| current(&patch, path, read)))
            .filter(|fixes| !fixes.is_empty())
            .collect();
        let tree = self.trees.len();
        let choices = choices(&offers).into_iter().enumerate();
        self.open.extend(choices.map(|(at, choice)| Step { tree, choice, cost: far + at }));
        self.trees.push(Tree { patch, applied, errors: words(diagnostics), offers });
    }
}

/// The fixes for one error, the compiler's own and those that rules know, of which each can be applied alone.
pub fn offers(error: &Diagnostic, rules: &Rules, read: Read) -> Vec<Fix> {
    let mut error = error.clone();
    let file = error.location.as_ref().and_then(|at| read(&RepoPath::new(&at.file).ok()?));
    if let Some(text) = file.as_ref().and_then(|file| std::str::from_utf8(&file.content).ok()) {
        let known = rules.suggest(&error, text);
        error.suggestions.extend(known);
    }
    let mut fixes = suggest::fixes(&error, &rules.prefer);
    fixes.retain(|fix| !suggest::apply(&[fix], read).files.is_empty());
    fixes
}

/// What to apply together, likeliest first: all fixes that the compiler is sure of; the likeliest for every
/// error; the same with one error fixed otherwise; one fix alone.
pub fn choices(offers: &[Vec<Fix>]) -> Vec<Vec<(usize, usize)>> {
    let first = || offers.iter().enumerate().map(|(error, _)| (error, 0));
    let sure: Vec<_> = first().filter(|(error, _)| offers[*error][0].sure).collect();
    let all: Vec<_> = first().collect();
    let each = || {
        let depth = offers.iter().map(Vec::len).max().unwrap_or(0);
        let of = move |fix| (0..offers.len()).map(move |error| (error, fix));
        (0..depth).flat_map(of).filter(|(error, fix)| *fix < offers[*error].len())
    };
    let otherwise = each().filter(|(_, fix)| *fix > 0).map(|(error, fix)| {
        let mut choice = all.clone();
        choice[error] = (error, fix);
        choice
    });
    let alone = each().map(|one| vec![one]);
    let mut choices: Vec<Vec<(usize, usize)>> = Vec::new();
    for choice in [sure, all.clone()].into_iter().chain(otherwise).chain(alone) {
        if !choice.is_empty() && choices.len() < STEPS && !choices.contains(&choice) {
            choices.push(choice);
        }
    }
    choices
}

/// A file as `patch` leaves it, if it may be edited.
fn current(changed: &Patch, path: &RepoPath, read: Read) -> Option<File> {
    changed.0.get(path).cloned().unwrap_or_else(|| read(path))
}

fn words(diagnostics: &[Diagnostic]) -> BTreeSet<String> {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let word = |error: &Diagnostic| {
        let file = error.location.as_ref().map_or("", |at| at.file.as_str());
        format!("{file} {} {}", error.code, error.message)
    };
    errors.map(word).collect()
}

fn hash(patch: &Patch) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (path, file) in &patch.0 {
        (path, file.as_ref().map(|file| &file.content)).hash(&mut hasher);
    }
    hasher.finish()
}
