//! A file that is looked up by its name at run time is not found when it is misspelt, and no compiler says so. Such a
//! file is named nowhere else, and a failing test speaks of a name that is almost its own. Likewise a file that somebody
//! left behind is found where it should not be.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Candidate, Editable, LARGEST, hints};
use crate::patch::{Patch, RepoPath};
use crate::propose::Ask;
use crate::verdict::TestId;

/// Names that are tried, each by running the tests.
const TRIED: usize = 4;

/// What stands in the names of files that editors, tools and people leave behind.
const LEFT: [&str; 6] = [".orig", ".rej", ".bak", ".old", ".swp", ".local."];

/// Files of a repository that are read; one with more is not looked at.
const FILES: usize = 2_000;

/// The files that may be misnamed, under the names that failing tests speak of, likeliest first; then without those that
/// may be left behind.
pub(super) fn candidates(ask: &Ask<'_>, editable: &Editable) -> Result<Vec<Candidate>> {
    let paths = ask.verifier.workshop.snapshot.paths()?;
    if paths.len() > FILES {
        return Ok(Vec::new());
    }
    let left = |path: &&RepoPath| {
        LEFT.iter().any(|mark| path.as_str().contains(mark)) || path.as_str().ends_with('~')
    };
    let deleted = |path: &RepoPath| {
        editable.read(path)?;
        let applied = vec![format!("{path} was left behind, by its name; deleted")];
        Some(Candidate { patch: Patch([(path.clone(), None)].into()), applied })
    };
    let leftovers = paths.iter().filter(left).filter_map(deleted).take(TRIED);
    let failing: Vec<&TestId> = ask.baseline.targets.iter().collect();
    let (_, mut spoken) = hints::places(ask, &failing);
    spoken.extend(hints::words(ask.verifier.task.statement.as_deref().unwrap_or_default()));
    let stems: BTreeSet<&str> = paths.iter().map(|path| split(path).1).collect();
    spoken.retain(|word| !stems.contains(word.as_str()));
    let mut near: Vec<(usize, &RepoPath, RepoPath)> = Vec::new();
    for path in &paths {
        let (folder, stem, ending) = split(path);
        for word in &spoken {
            if let (Some(distance), Ok(renamed)) =
                (distance(stem, word), RepoPath::new(&format!("{folder}{word}{ending}")))
            {
                near.push((distance, path, renamed));
            }
        }
    }
    near.sort();
    let mut unnamed: BTreeSet<&str> = near.iter().map(|(_, path, _)| split(path).1).collect();
    for path in &paths {
        if unnamed.is_empty() {
            break;
        }
        let file = ask.verifier.workshop.snapshot.file(path)?;
        if let Some(file) = file.filter(|file| file.content.len() <= LARGEST) {
            for word in hints::words(&String::from_utf8_lossy(&file.content)) {
                unnamed.remove(word.as_str());
            }
        }
    }
    near.retain(|(_, path, _)| unnamed.contains(split(path).1));
    let renamed = |(_, path, renamed): (usize, &RepoPath, RepoPath)| {
        let file = editable.read(path)?;
        let applied = vec![format!("{path} is named nowhere; renamed to {renamed}, which is looked for")];
        Some(Candidate { patch: Patch([(path.clone(), None), (renamed, Some(file))].into()), applied })
    };
    Ok(near.into_iter().filter_map(renamed).take(TRIED).chain(leftovers).collect())
}

/// A path's folder with its slash, and the name of the file without and its ending with the dot.
fn split(path: &RepoPath) -> (&str, &str, &str) {
    let path = path.as_str();
    let name = path.rfind('/').map_or(0, |at| at + 1);
    let end = path[name..].rfind('.').filter(|at| *at > 0).map_or(path.len(), |at| name + at);
    (&path[..name], &path[name..end], &path[end..])
}

/// How far apart two names are that may be meant to be one.
fn distance(stem: &str, word: &str) -> Option<usize> {
    let folded = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let most = 1 + stem.len() / 8;
    if stem == word || stem.len() < 4 || stem.len().abs_diff(word.len()) > most + 2 {
        return None;
    }
    Some(strsim::osa_distance(&folded(stem), &folded(word))).filter(|far| *far <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_near_when_a_letter_or_their_case_differs() {
        assert_eq!(distance("pluralise", "pluralize"), Some(1));
        assert_eq!(distance("Weeks", "weeks"), Some(0));
        assert_eq!(distance("read_all", "readAll"), Some(0));
        assert_eq!(distance("weeks", "weeks"), None);
        assert_eq!(distance("table", "label"), None);
        assert_eq!(distance("csv", "tsv"), None);
    }

    #[test]
    fn a_path_is_taken_apart() {
        let parts = |path| {
            let path = RepoPath::new(path).unwrap();
            let (folder, stem, ending) = split(&path);
            [folder, stem, ending].map(str::to_owned)
        };
        assert_eq!(parts("lib/a.b.js"), ["lib/", "a.b", ".js"]);
        assert_eq!(parts("Makefile"), ["", "Makefile", ""]);
        assert_eq!(parts("x/.env"), ["x/", ".env", ""]);
    }
}
