//! Comparing is done in pairs: what two models did with the same task, so that easy and hard tasks cancel out. A
//! difference that the data cannot carry is called so.

use std::collections::BTreeMap;

use serde::Serialize;

use super::stats::{self, Interval};
use super::{Run, Standing, Unit};

/// A p-value below this, with an interval that leaves out 0, is a difference.
const SIGNIFICANT: f64 = 0.05;

/// Two models on the tasks that both have conclusive units of.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The first, as `run: model`.
    pub one: String,
    /// The second.
    pub other: String,
    /// Tasks that are compared.
    pub tasks: usize,
    /// Tasks that only one of them has a conclusive unit of, or whose content is not the same.
    pub left_out: usize,
    /// Tasks whose first sample only the first solved.
    pub only_one: usize,
    /// Tasks whose first sample only the second solved.
    pub only_other: usize,
    /// `McNemar`'s exact test on those, two-sided.
    pub p: f64,
    /// The difference of the rates, over all samples.
    pub difference: f64,
    /// Its 95 % interval, by a bootstrap over tasks.
    pub interval: Interval,
    /// What that means, in a sentence.
    pub says: String,
}

/// What a model did with a task.
struct Done<'a> {
    hash: &'a str,
    /// Conclusive units and solved ones.
    n: usize,
    solved: usize,
    /// Whether the first conclusive sample solved it.
    first: bool,
}

/// Compares every two models.
pub fn all(runs: &[Run]) -> Vec<Comparison> {
    let mut contestants: Vec<(String, BTreeMap<&str, Done>)> = Vec::new();
    for run in runs {
        let mut models: Vec<&str> = Vec::new();
        for unit in &run.units {
            if !models.contains(&unit.model.as_str()) {
                models.push(&unit.model);
            }
        }
        for model in models {
            let name = if runs.len() == 1 { model.to_owned() } else { format!("{}: {model}", run.name) };
            contestants.push((name, done(run.units.iter().filter(|unit| unit.model == model))));
        }
    }
    let mut comparisons = Vec::new();
    for (at, (one, first)) in contestants.iter().enumerate() {
        for (other, second) in contestants.iter().skip(at + 1) {
            comparisons.push(compare(one, first, other, second));
        }
    }
    comparisons
}

fn done<'a>(units: impl Iterator<Item = &'a Unit>) -> BTreeMap<&'a str, Done<'a>> {
    let mut all: BTreeMap<&str, Done> = BTreeMap::new();
    for unit in units.filter(|unit| matches!(unit.standing, Standing::Solved | Standing::NotSolved)) {
        let solved = unit.standing == Standing::Solved;
        let done = all.entry(&unit.task).or_insert(Done { hash: &unit.hash, n: 0, solved: 0, first: solved });
        done.n += 1;
        done.solved += usize::from(solved);
    }
    all
}

fn compare(
    one: &str,
    first: &BTreeMap<&str, Done>,
    other: &str,
    second: &BTreeMap<&str, Done>,
) -> Comparison {
    let pairs: Vec<(&Done, &Done)> = first
        .iter()
        .filter_map(|(task, done)| Some((done, second.get(task)?)))
        .filter(|(a, b)| a.hash == b.hash)
        .collect();
    let union = first.len() + second.keys().filter(|task| !first.contains_key(*task)).count();
    let rate = |done: &Done| stats::float(done.solved) / stats::float(done.n.max(1));
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| rate(a) - rate(b)).collect();
    let only_one = pairs.iter().filter(|(a, b)| a.first && !b.first).count();
    let only_other = pairs.iter().filter(|(a, b)| !a.first && b.first).count();
    let (p, difference) = (stats::mcnemar(only_one, only_other), stats::mean(&differences));
    let interval = stats::bootstrap(&differences);
    let carried = p < SIGNIFICANT && (interval.low > 0.0 || interval.high < 0.0);
    let says = if pairs.is_empty() {
        "there is no task that both were conclusively tried on".to_owned()
    } else if !carried {
        "the data cannot carry a difference".to_owned()
    } else {
        let (better, worse) = if difference > 0.0 { (one, other) } else { (other, one) };
        format!("{better} solves more than {worse}")
    };
    Comparison {
        one: one.to_owned(),
        other: other.to_owned(),
        tasks: pairs.len(),
        left_out: union - pairs.len(),
        only_one,
        only_other,
        p,
        difference,
        interval,
        says,
    }
}
