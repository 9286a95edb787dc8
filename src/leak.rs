//! A leak is what gets through a verification although it is wrong. How likely that is, is estimated from small
//! wrong changes (mutants) of the lines in question: those that no test notices *live*. The numbers say how far
//! a pass can be relied on; they convict and acquit nobody.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::{list, one_line};

/// What the tests said to small changes of some lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Strength {
    /// Lines with code that were in question.
    pub lines: usize,
    /// Of these, those that no test runs; `None` where it cannot be told which lines tests run.
    pub uncovered: Option<Vec<Place>>,
    /// Mutants that could be built, and that the tests were run on.
    pub tried: usize,
    /// Of these, those that a test noticed.
    pub killed: usize,
    /// Those that no test noticed.
    pub survivors: Vec<Survivor>,
    /// Mutants that do not build; they say nothing.
    pub unbuilt: usize,
    /// Wall time.
    pub seconds: f64,
    /// What follows from it for something wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leak: Option<Leak>,
    /// Why not more was tried, in words; empty when all was tried that was to be.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The file.
    pub file: String,
    /// From 1.
    pub line: u32,
}

/// A mutant that no test noticed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Survivor {
    /// Where.
    #[serde(flatten)]
    pub at: Place,
    /// The kind of change.
    pub kind: String,
    /// The line as it is.
    pub before: String,
    /// The line as it was in the mutant.
    pub after: String,
}

/// The chance that something wrong passes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Leak {
    /// φ for an honest mistake in the lines: the mean of the rate of mutants that live under Jeffreys' prior,
    /// (lived + ½) / (tried + 1). Where nothing was tried that is one half.
    pub mistake: f64,
    /// Lower and upper end of Wilson's 95 % interval of that rate.
    pub interval: (f64, f64),
    /// The bound on the chance of one who forges results without computing them: 2⁻ⁿ with n decoys, 0 where a
    /// black-box oracle agreed, `None` where nothing bounds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgery: Option<f64>,
}

impl Leak {
    /// The leak of a suite of such strength.
    pub fn of(strength: &Strength) -> Leak {
        let (lived, tried) = (strength.tried.saturating_sub(strength.killed), strength.tried);
        Leak { mistake: jeffreys(lived, tried), interval: wilson(lived, tried), forgery: None }
    }

    /// The estimate in a sentence; the bound on forgery rests on so many decoys.
    pub fn sentence(&self, decoys: usize) -> String {
        let forgery = match self.forgery {
            Some(bound) if bound > 0.0 => {
                format!(
                    "one who forges results has to guess {decoys} decoys, a chance of at most {bound:.1e}"
                )
            }
            Some(_) => "a black-box oracle leaves nothing to forge".to_owned(),
            None => "no decoys bound the chance of one who forges results".to_owned(),
        };
        format!(
            "estimated leak: an honest mistake in these lines passes with a chance of about {}; {forgery}",
            percent(self.mistake)
        )
    }
}

/// The mean of a rate of which `hits` of `n` were seen, under Jeffreys' prior Beta(½, ½): never 0 and never 1.
pub fn jeffreys(hits: usize, n: usize) -> f64 {
    (real(hits) + 0.5) / (real(n) + 1.0)
}

/// Wilson's 95 % interval of a rate of which `hits` of `n` were seen (Wilson, JASA 1927).
pub fn wilson(hits: usize, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    // The 97.5 % quantile of the normal distribution.
    let z = 1.959_963_985_f64;
    let (n, rate) = (real(n), real(hits) / real(n));
    let middle = (rate + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 mutants are tried")]
fn real(n: usize) -> f64 {
    n as f64
}

/// A share in per cent, for people.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent > 0.0 && percent < 1.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

impl Strength {
    /// What was found, in sentences; `whose` are the lines: "the changed lines".
    pub fn sentences(&self, whose: &str) -> Vec<String> {
        let mut said = Vec::new();
        if self.tried > 0 {
            let lived = self.tried.saturating_sub(self.killed);
            let (low, high) = wilson(lived, self.tried);
            let interval = format!("95 %: {} to {}", percent(low), percent(high));
            said.push(if lived == 0 {
                format!("the tests notice each of {} small changes to {whose} ({interval} may live)", self.tried)
            } else {
                format!(
                    "the tests let {lived} of {} small changes to {whose} live: {} ({interval}); add tests at {}",
                    self.tried,
                    percent(real(lived) / real(self.tried)),
                    places(self.survivors.iter().map(|survivor| &survivor.at))
                )
            });
        }
        if let Some(uncovered) = self.uncovered.as_ref().filter(|uncovered| !uncovered.is_empty()) {
            said.push(format!("no test runs {}", places(uncovered)));
        }
        if !self.note.is_empty() {
            said.push(format!("strength of the tests: {}", self.note));
        }
        said
    }
}

impl Survivor {
    /// The change on one line.
    pub fn told(&self) -> String {
        let text = |text: &str| one_line(text);
        format!("{}:{} `{}` → `{}`", self.at.file, self.at.line, text(&self.before), text(&self.after))
    }
}

/// Lines by file: `a.rs:41, 57 and b.rs:3`.
pub fn places<'a>(all: impl IntoIterator<Item = &'a Place>) -> String {
    let mut files: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for place in all {
        files.entry(&place.file).or_default().insert(place.line);
    }
    let told: Vec<String> = files.iter().map(|(file, lines)| format!("{file}:{}", ranges(lines))).collect();
    list(&told, 5)
}

/// Numbers with neighbours drawn together: `3-5, 9`.
fn ranges(lines: &BTreeSet<u32>) -> String {
    let mut found: Vec<(u32, u32)> = Vec::new();
    for line in lines {
        match found.last_mut() {
            Some((_, last)) if *last + 1 == *line => *last = *line,
            _ => found.push((*line, *line)),
        }
    }
    let told = |(first, last): &(u32, u32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}-{last}"),
    };
    list(&found.iter().map(told).collect::<Vec<_>>(), 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_seen_is_not_impossible() {
        let check = |hits, n, mean: f64, low: f64, high: f64| {
            let found = (jeffreys(hits, n), wilson(hits, n));
            let near = |a: f64, b: f64| (a - b).abs() < 0.0006;
            let same = near(found.0, mean) && near(found.1.0, low) && near(found.1.1, high);
            assert!(same, "{hits} of {n}: {found:?}");
        };
        check(0, 0, 0.5, 0.0, 1.0);
        check(0, 3, 0.125, 0.0, 0.5615);
        check(0, 20, 0.0238, 0.0, 0.1611);
        check(3, 20, 0.1667, 0.0524, 0.3604);
        check(20, 20, 0.976, 0.8389, 1.0);
    }

    #[test]
    fn strength_is_said_in_words_with_the_lines_that_need_tests() {
        let at = |line| Place { file: "a.rs".to_owned(), line };
        let survivor = |line| Survivor {
            at: at(line),
            kind: "comparison".to_owned(),
            before: "a < b".to_owned(),
            after: "a <= b".to_owned(),
        };
        let strength = Strength {
            lines: 6,
            uncovered: Some(vec![at(3), at(4), at(5), at(9)]),
            tried: 16,
            killed: 14,
            survivors: vec![survivor(41), survivor(57)],
            ..Strength::default()
        };
        assert_eq!(
            strength.sentences("the changed lines"),
            [
                "the tests let 2 of 16 small changes to the changed lines live: 12 % (95 %: 3 % to 36 %); add tests at \
                 a.rs:41, 57",
                "no test runs a.rs:3-5, 9",
            ]
        );
        let none = Strength { tried: 20, killed: 20, ..Strength::default() };
        assert_eq!(
            none.sentences("it"),
            ["the tests notice each of 20 small changes to it (95 %: 0 % to 16 % may live)"]
        );
    }
}
