//! The statistics of reports: intervals, pass@k, paired comparisons. Pure functions; what is drawn at random is drawn
//! from a fixed seed, so that a report of the same results is the same report.

use serde::Serialize;
use statrs::distribution::{Binomial, ContinuousCDF as _, DiscreteCDF as _, Normal};

/// Resamplings of a bootstrap.
const RESAMPLINGS: usize = 10_000;

/// The seed of every bootstrap.
const SEED: u64 = 0x7265_6772_6565_6e31;

/// A 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// A number as a float; counts of reports are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "counts of reports are far below 2^52")]
pub fn float(n: usize) -> f64 {
    n as f64
}

/// The interval of a rate of which `hits` of `n` were seen (Wilson, JASA 1927).
pub fn wilson(hits: usize, n: usize) -> Interval {
    if n == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let z = Normal::standard().inverse_cdf(0.975);
    let (n, rate) = (float(n), float(hits) / float(n));
    let middle = rate + z * z / (2.0 * n);
    let half = z * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    Interval { low: ((middle - half) / scale).max(0.0), high: ((middle + half) / scale).min(1.0) }
}

/// The chance that one of `k` samples solves a task, estimated without bias from `n` of which `solved` did (Chen et
/// al., 2021). `None` when there are fewer than `k`.
pub fn pass_at(k: usize, n: usize, solved: usize) -> Option<f64> {
    if k == 0 || k > n || solved > n {
        return None;
    }
    if n - solved < k {
        return Some(1.0);
    }
    Some(1.0 - (n - solved + 1..=n).map(|i| 1.0 - float(k) / float(i)).product::<f64>())
}

/// The two-sided p-value that two solve the same tasks as often, where one alone solved `one` and the other alone
/// `other` (`McNemar`'s test, exact).
pub fn mcnemar(one: usize, other: usize) -> f64 {
    let n = one + other;
    let Ok(fair) = Binomial::new(0.5, n as u64) else { return 1.0 };
    if n == 0 {
        return 1.0;
    }
    (2.0 * fair.cdf(one.min(other) as u64)).min(1.0)
}

/// The interval of a mean, by resampling (percentile bootstrap).
pub fn bootstrap(values: &[f64]) -> Interval {
    if values.is_empty() {
        return Interval::default();
    }
    let mut rng = fastrand::Rng::with_seed(SEED);
    let n = values.len();
    let mut means: Vec<f64> =
        (0..RESAMPLINGS).map(|_| (0..n).map(|_| values[rng.usize(..n)]).sum::<f64>() / float(n)).collect();
    means.sort_by(f64::total_cmp);
    Interval { low: means[RESAMPLINGS / 40], high: means[RESAMPLINGS - 1 - RESAMPLINGS / 40] }
}

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / float(values.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 5e-4
    }

    #[test]
    fn intervals_are_those_of_wilson() {
        // Newcombe, Statistics in Medicine 1998, table I.
        for (hits, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let found = wilson(hits, n);
            assert!(near(found.low, low) && near(found.high, high), "{hits} of {n}: {found:?}");
        }
        assert_eq!(wilson(0, 0), Interval { low: 0.0, high: 1.0 });
    }

    #[test]
    fn pass_at_k_counts_the_draws_that_hold_a_solution() {
        // Of the 10 pairs out of 5, 3 hold none of 2 solutions.
        assert!(near(pass_at(2, 5, 2).unwrap(), 0.7));
        assert!(near(pass_at(1, 5, 2).unwrap(), 0.4));
        assert_eq!(pass_at(4, 5, 2), Some(1.0));
        assert_eq!(pass_at(3, 3, 0), Some(0.0));
        assert_eq!(pass_at(3, 2, 1), None);
    }

    #[test]
    fn the_paired_test_is_exact() {
        // 2 * (1 + 10 + 45) / 2^10.
        assert!(near(mcnemar(2, 8), 0.1094));
        assert!(near(mcnemar(0, 6), 0.03125));
        assert!(near(mcnemar(3, 3), 1.0) && near(mcnemar(0, 0), 1.0));
    }

    #[test]
    fn a_bootstrap_is_the_same_every_time() {
        let values: Vec<f64> = (0..40).map(|n| f64::from(n % 4 == 0)).collect();
        let found = bootstrap(&values);
        assert_eq!(found, bootstrap(&values));
        assert!(found.low > 0.05 && found.low < 0.2 && found.high > 0.3 && found.high < 0.45, "{found:?}");
    }
}
