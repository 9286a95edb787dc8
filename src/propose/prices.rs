//! What a model costs and how much it can read and write, out of `harness/prices.toml` or the user's own words.
//! A price that is not known is an error with a remedy: nothing is guessed where money is concerned.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use globset::Glob;
use serde::Deserialize;

use crate::budget::Spent;

/// The table that ships, `harness/prices.toml`.
const BUILT_IN: &str = include_str!("../../harness/prices.toml");

/// The name of the table in a folder given with `--harness`.
const FILE: &str = "prices.toml";

/// Prices of models at a date.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// The day they were read, `YYYY-MM-DD`.
    pub dated: String,
    /// The rows.
    #[serde(default, rename = "model")]
    models: Vec<Row>,
}

/// One family of models.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    input: f64,
    cached: Option<f64>,
    output: f64,
    context: u64,
    max_output: u64,
}

/// What a model costs, in US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Tokens sent.
    pub input: f64,
    /// Tokens sent that the provider had in its cache.
    pub cached: f64,
    /// Tokens received.
    pub output: f64,
}

/// How much a model can read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Tokens that prompt and reply may have together.
    pub context: u64,
    /// Tokens that one reply may have.
    pub max_output: u64,
}

impl Price {
    /// Of a server that costs nothing: one on this machine.
    pub const FREE: Price = Price { input: 0.0, cached: 0.0, output: 0.0 };

    /// The dollars for these tokens, `cached` of the prompt's having come out of the provider's cache.
    pub fn spent(&self, prompt_tokens: u64, cached: u64, completion_tokens: u64) -> Spent {
        let cached = cached.min(prompt_tokens);
        let usd = (tokens(prompt_tokens - cached) * self.input
            + tokens(cached) * self.cached
            + tokens(completion_tokens) * self.output)
            / 1e6;
        Spent { prompt_tokens, completion_tokens, usd, estimated: false }
    }
}

#[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52, where f64 is exact")]
fn tokens(count: u64) -> f64 {
    count as f64
}

impl FromStr for Price {
    type Err = anyhow::Error;

    /// Reads `IN,OUT`, the dollars per million tokens sent and received.
    fn from_str(text: &str) -> Result<Price> {
        let remedy = "write dollars per million tokens sent and received, as in --price 0.25,2";
        let (input, output) =
            text.split_once(',').with_context(|| format!("{text:?} is no price: {remedy}"))?;
        let number = |word: &str| -> Result<f64> {
            let number: f64 =
                word.trim().parse().with_context(|| format!("{word:?} is no number: {remedy}"))?;
            ensure!(number.is_finite() && number >= 0.0, "{word:?} is no price: {remedy}");
            Ok(number)
        };
        let (input, output) = (number(input)?, number(output)?);
        Ok(Price { input, cached: input, output })
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.input, self.output)
    }
}

impl Prices {
    /// The table in the folder `harness`, or else the one that ships.
    pub fn load(harness: Option<&Path>) -> Result<Prices> {
        let own = harness.map(|folder| folder.join(FILE)).filter(|path| path.exists());
        match own {
            None => Prices::parse(BUILT_IN).context("the built-in prices.toml is broken"),
            Some(path) => {
                let text = std::fs::read_to_string(&path);
                let text = text.with_context(|| format!("failed to read {}", path.display()))?;
                Prices::parse(&text).with_context(|| format!("failed to read {}", path.display()))
            }
        }
    }

    fn parse(text: &str) -> Result<Prices> {
        let prices: Prices = toml::from_str(text)?;
        for row in &prices.models {
            Glob::new(&row.name)?;
            let cheapest = row.input.min(row.output).min(row.cached.unwrap_or(0.0));
            if !cheapest.is_finite() || cheapest < 0.0 {
                bail!("the price of {} is negative or no number", row.name);
            }
        }
        Ok(prices)
    }

    /// The price and size of `model`, a name as `--model` has it.
    pub fn of(&self, model: &str) -> Option<(Price, Size)> {
        let name = model.strip_prefix("openrouter/").map_or_else(|| model.to_owned(), routed);
        let fits = |row: &&Row| Glob::new(&row.name).is_ok_and(|glob| glob.compile_matcher().is_match(&name));
        let row = self.models.iter().filter(fits).max_by_key(|row| row.name.len())?;
        let price = Price { input: row.input, cached: row.cached.unwrap_or(row.input), output: row.output };
        let size = Size { context: row.context, max_output: row.max_output };
        Some((price, size))
    }
}

/// A model's name at its own provider, out of its name at `OpenRouter`, which passes prices through.
fn routed(name: &str) -> String {
    match name.split_once('/') {
        Some(("anthropic", name)) => format!("anthropic/{}", name.replace('.', "-")),
        Some(("google", name)) => format!("gemini/{name}"),
        Some(("x-ai", name)) => format!("xai/{name}"),
        Some(("mistralai", name)) => format!("mistral/{name}"),
        Some(("moonshotai", name)) => format!("moonshot/{name}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_glob_wins() {
        let prices = Prices::load(None).unwrap();
        let output = |model: &str| prices.of(model).map(|(price, _)| price.output);
        let cases = [
            ("openai/gpt-5-mini", Some(2.0)),
            ("openai/gpt-5", Some(10.0)),
            ("openai/gpt-5-pro", None),
            ("openai/gpt-4.1-mini-2025-04-14", Some(1.6)),
            ("anthropic/claude-sonnet-4-5", Some(15.0)),
            ("anthropic/claude-opus-5-5", Some(20.0)),
            ("anthropic/claude-opus-4-8", Some(25.0)),
            ("openrouter/anthropic/claude-haiku-4.5", Some(5.0)),
            ("openrouter/x-ai/grok-4.6", Some(6.0)),
            ("openai/unheard-of", None),
            ("", None),
        ];
        for (model, expected) in cases {
            assert_eq!(output(model), expected, "{model}");
        }
    }

    #[test]
    fn a_price_is_two_numbers() {
        let price: Price = "0.25, 2".parse().unwrap();
        assert_eq!((price.input, price.cached, price.output), (0.25, 0.25, 2.0));
        for wrong in ["", "1", "a,b", "-1,2", "NaN,1", "1,inf", "1,2,3"] {
            let error = wrong.parse::<Price>().unwrap_err();
            assert!(format!("{error:#}").contains("--price"), "{wrong}: {error:#}");
        }
    }

    #[test]
    fn cached_tokens_are_cheaper_and_never_more_than_were_sent() {
        let price = Price { input: 1.0, cached: 0.1, output: 10.0 };
        let usd = |cached| price.spent(1_000_000, cached, 100_000).usd;
        assert!((usd(0) - 2.0).abs() < 1e-9);
        assert!((usd(500_000) - 1.55).abs() < 1e-9);
        assert!((usd(9_000_000) - 1.1).abs() < 1e-9);
    }

    #[test]
    fn every_row_that_ships_is_sound() {
        for row in &Prices::load(None).unwrap().models {
            assert!(row.context > row.max_output || row.name.contains("haiku-5-5"), "{}", row.name);
            assert!(row.cached.unwrap_or(0.0) <= row.input, "{}", row.name);
        }
    }
}
