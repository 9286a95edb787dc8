//! A budget is what a run may spend: attempts, tokens, dollars, wall time. This module adds up and compares;
//! it reads no clock and buys nothing.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The limits of a run. `None` means no limit of that kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Candidates that may be proposed.
    pub attempts: Option<u32>,
    /// Tokens sent and received, together.
    pub tokens: Option<u64>,
    /// US dollars.
    pub usd: Option<f64>,
    /// Wall time of the whole run, in seconds.
    pub seconds: Option<u64>,
}

/// What was spent so far, or what a call may cost at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Spent {
    /// Tokens sent to a model.
    pub prompt_tokens: u64,
    /// Tokens received from a model.
    pub completion_tokens: u64,
    /// US dollars.
    pub usd: f64,
    /// Whether some of it is an estimate, because a server did not say what it counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl Spent {
    /// Tokens in both directions.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.usd += other.usd;
        self.estimated |= other.estimated;
    }
}

/// The limit that would be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// No attempt is left.
    Attempts,
    /// The call could use more tokens than are left.
    Tokens,
    /// The call could cost more than is left.
    Usd,
    /// The time is up.
    Time,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Limit::Attempts => "attempts (--attempts)",
            Limit::Tokens => "tokens (--tokens)",
            Limit::Usd => "dollars (--usd)",
            Limit::Time => "time (--time)",
        })
    }
}

impl Budget {
    /// The first limit that is used up already, after `attempts` proposals, `spent` and `elapsed`.
    pub fn exhausted(&self, attempts: u32, spent: &Spent, elapsed: Duration) -> Option<Limit> {
        if self.attempts.is_some_and(|most| attempts >= most) {
            return Some(Limit::Attempts);
        }
        if self.seconds.is_some_and(|most| elapsed >= Duration::from_secs(most)) {
            return Some(Limit::Time);
        }
        if self.tokens.is_some_and(|most| spent.tokens() >= most) {
            return Some(Limit::Tokens);
        }
        self.usd.is_some_and(|most| spent.usd >= most && spent.usd > 0.0).then_some(Limit::Usd)
    }

    /// The limit that a call costing at most `most` could break, if any.
    pub fn refuses(&self, spent: &Spent, most: &Spent) -> Option<Limit> {
        if self.tokens.is_some_and(|limit| spent.tokens() + most.tokens() > limit) {
            return Some(Limit::Tokens);
        }
        self.usd.is_some_and(|limit| spent.usd + most.usd > limit).then_some(Limit::Usd)
    }

    /// The wall time that is left, if it is limited.
    pub fn time_left(&self, elapsed: Duration) -> Option<Duration> {
        self.seconds.map(|most| Duration::from_secs(most).saturating_sub(elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_could_break_a_limit_is_refused_before_it_is_made() {
        let budget = Budget { tokens: Some(1000), usd: Some(0.5), ..Budget::default() };
        let spent = Spent { prompt_tokens: 600, completion_tokens: 100, usd: 0.4, ..Spent::default() };
        let call = |prompt_tokens, usd| Spent { prompt_tokens, usd, ..Spent::default() };
        assert_eq!(budget.refuses(&spent, &call(300, 0.1)), None);
        assert_eq!(budget.refuses(&spent, &call(301, 0.0)), Some(Limit::Tokens));
        assert_eq!(budget.refuses(&spent, &call(1, 0.2)), Some(Limit::Usd));
    }

    #[test]
    fn a_budget_of_nothing_is_exhausted_at_once_except_for_free_proposers() {
        let none = Spent::default();
        let budget = Budget { attempts: Some(0), ..Budget::default() };
        assert_eq!(budget.exhausted(0, &none, Duration::ZERO), Some(Limit::Attempts));
        let free = Budget { usd: Some(0.0), ..Budget::default() };
        assert_eq!(free.exhausted(3, &none, Duration::ZERO), None);
        let timed = Budget { seconds: Some(2), ..Budget::default() };
        assert_eq!(timed.exhausted(0, &none, Duration::from_secs(2)), Some(Limit::Time));
        assert_eq!(timed.time_left(Duration::from_secs(5)), Some(Duration::ZERO));
    }
}
