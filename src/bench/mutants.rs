//! Mutants of a file as whole texts: the edits that the repair engine's search makes, in its order.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;

use crate::patch::RepoPath;
use crate::repair::grammar::Grammars;
use crate::repair::mutate::{Hints, Source};

/// Mutants made of one file.
const MOST: usize = 400;

/// Texts that differ from `text` by a small edit of a line that `on` names, no two alike; none in a language that has
/// no grammar here.
pub fn mutants(
    path: &RepoPath,
    text: &str,
    on: &dyn Fn(u32) -> bool,
    overrides: Option<&Path>,
) -> Result<Vec<String>> {
    let grammars = Grammars::load(overrides)?;
    let Some(grammar) = grammars.of(path.as_str()) else { return Ok(Vec::new()) };
    let Some(source) = Source::new(path.clone(), text.to_owned(), grammar) else { return Ok(Vec::new()) };
    let suspicion = |line| if on(line) { 1.0 } else { 0.0 };
    let made = source.mutants(&suspicion, &grammars.priors, &Hints::default());
    let mut known = HashSet::new();
    Ok(made.iter().filter_map(|mutant| source.apply(&mutant.edits, &mut known)).take(MOST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_differ_on_the_lines_that_were_named() {
        let path = RepoPath::new("a.py").unwrap();
        let text = "def f(a, b):\n    c = a + b\n    return c < 3\n";
        let made = mutants(&path, text, &|line| line == 3, None).unwrap();
        assert!(made.len() > 3, "{made:?}");
        let first = |text: &str| text.lines().nth(1).unwrap().to_owned();
        assert!(made.iter().all(|mutant| mutant != text));
        assert!(made.iter().filter(|mutant| first(mutant) == first(text)).count() > 3, "{made:?}");
        assert!(mutants(&RepoPath::new("a.txt").unwrap(), text, &|_| true, None).unwrap().is_empty());
    }
}
