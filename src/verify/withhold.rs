//! A share of the targets can be withheld from a proposer that searches with the tests as judge: what it finds was
//! then not chosen for passing these, and that they pass too is evidence that it does more than satisfy the others.
//! It is no secret. Withheld tests stand in the tree, and the verdict asks for all targets as ever.

use std::collections::BTreeSet;

use super::assess::is_synthetic;
use super::attest::Draw;
use crate::verdict::{Baseline, TestId};

/// With fewer targets nothing is withheld: too little would be left to search with.
pub const FEWEST: usize = 4;

/// A baseline as a search may see it, and the targets that are missing from it: `share` of them (from 0 to 0.5), at
/// least one if it is not 0, drawn by `seed`, the same for the same seed.
pub fn withhold(baseline: &Baseline, share: f64, seed: u64) -> (Baseline, BTreeSet<TestId>) {
    let mut named: Vec<&TestId> = baseline.targets.iter().filter(|id| !is_synthetic(id)).collect();
    if named.len() < FEWEST || share <= 0.0 {
        return (baseline.clone(), BTreeSet::new());
    }
    #[expect(clippy::cast_precision_loss, reason = "a suite has fewer tests than a float has integers")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 1 and half")]
    let many = (named.len() as f64 * share.min(0.5)).round().max(1.0) as usize;
    let mut draw = Draw(seed);
    let withheld: BTreeSet<TestId> =
        (0..many).map(|_| named.swap_remove(draw.below(named.len())).clone()).collect();
    let mut search = baseline.clone();
    search.targets.retain(|id| !withheld.contains(id));
    // They fail and are nobody's task, as far as the search can tell, and their messages are not for it.
    search.unrelated.extend(withheld.iter().cloned());
    search.run.tests.retain(|id, _| !withheld.contains(id));
    (search, withheld)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::TestResult;

    fn baseline(targets: &[&str]) -> Baseline {
        let mut baseline = Baseline::default();
        for id in targets {
            baseline.targets.insert((*id).to_owned());
            baseline.run.tests.insert((*id).to_owned(), TestResult::failed(*id, "why"));
        }
        baseline
    }

    #[test]
    fn a_share_of_the_targets_is_withheld_and_the_rest_is_seen() {
        let all = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        for (targets, share, expected) in [
            (&all[..], 0.3, 3),
            (&all, 0.01, 1),
            (&all, 0.9, 5),
            (&all, 0.0, 0),
            (&all[..4], 0.3, 1),
            (&all[..3], 0.3, 0),
        ] {
            let base = baseline(targets);
            let (seen, withheld) = withhold(&base, share, 7);
            assert_eq!(withheld.len(), expected, "{share} of {}", targets.len());
            assert!(withheld.is_disjoint(&seen.targets) && withheld.is_subset(&seen.unrelated));
            assert!(withheld.iter().all(|id| !seen.run.tests.contains_key(id)));
            assert_eq!(seen.targets.union(&withheld).cloned().collect::<BTreeSet<_>>(), base.targets);
        }
    }

    #[test]
    fn the_seed_decides_which() {
        let base = baseline(&["a", "b", "c", "d", "e", "f", "g", "h"]);
        let draws: BTreeSet<_> = (0..20).map(|seed| withhold(&base, 0.3, seed).1).collect();
        assert!(draws.len() > 3, "{draws:?}");
        assert_eq!(withhold(&base, 0.3, 5), withhold(&base, 0.3, 5));
    }

    #[test]
    fn a_build_that_fails_is_never_withheld() {
        let base = baseline(&["build (cargo)", "a", "b", "c"]);
        assert!(withhold(&base, 0.5, 1).1.is_empty());
        let base = baseline(&["build (cargo)", "a", "b", "c", "d"]);
        for seed in 0..20 {
            assert!(withhold(&base, 0.5, seed).0.targets.contains("build (cargo)"));
        }
    }
}
