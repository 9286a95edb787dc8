//! A listing is what a folder of the repository holds, walked once: enough to recognise toolchains by. Links
//! are not followed, and folders that hold downloads or build outputs are not entered, so that a large tree
//! costs little.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use anyhow::Result;
use regex::bytes::Regex;

use super::profile::{Condition, glob};
use crate::workspace::read_beneath;

/// Of a file at most this many bytes are searched.
const CONTENT: u64 = 1 << 20;

/// At most this many files are searched for one condition.
const SEARCHED: usize = 500;

/// At most this many files are listed: whatever is recognised is found long before.
const FILES: usize = 200_000;

/// Folders below this depth are not entered.
const DEPTH: usize = 12;

/// Suites are looked for down to this depth below the folder that is listed.
const SUITES: usize = 3;

/// The files below a folder.
#[derive(Debug)]
pub struct Listing {
    /// The repository.
    tree: PathBuf,
    /// The files, relative to the repository, in order.
    files: Vec<String>,
    /// The folders that suites are looked for in, relative to the repository, those nearest the root first.
    pub folders: Vec<String>,
    /// What was found out before, since every folder is asked the same.
    globs: RefCell<HashMap<String, Matches>>,
    searches: RefCell<HashMap<String, Search>>,
}

/// The files that match a glob, by the folder that the glob starts at.
type Matches = HashMap<String, Vec<String>>;

/// A regular expression, and the files that are known to contain it or not.
#[derive(Debug)]
struct Search {
    regex: Regex,
    known: HashMap<String, bool>,
}

impl Listing {
    /// Lists the folder `dir` of the repository.
    pub fn of(tree: &Path, dir: &str) -> Listing {
        let mut listing = Listing {
            tree: tree.to_owned(),
            files: Vec::new(),
            folders: Vec::new(),
            globs: RefCell::default(),
            searches: RefCell::default(),
        };
        let mut level = vec![dir.to_owned()];
        for depth in 0..DEPTH {
            let mut next = Vec::new();
            for folder in &level {
                listing.enter(folder, &mut next);
            }
            if depth <= SUITES {
                listing.folders.append(&mut level);
            }
            next.sort();
            level = next;
        }
        listing.files.sort();
        listing
    }

    fn enter(&mut self, folder: &str, folders: &mut Vec<String>) {
        let Ok(entries) = std::fs::read_dir(self.tree.join(folder)) else {
            return;
        };
        for entry in entries.flatten() {
            // A name that is no UTF-8 is nobody's configuration.
            let (Ok(kind), Some(name)) = (entry.file_type(), entry.file_name().to_str().map(str::to_owned))
            else {
                continue;
            };
            let path = join(folder, &name);
            if kind.is_dir() && !is_skipped(&name) {
                folders.push(path);
            } else if kind.is_file() && self.files.len() < FILES {
                self.files.push(path);
            }
        }
    }

    /// Whether the condition is true of one of the folders.
    pub fn holds(&self, folder: &str, condition: &Condition) -> Result<bool> {
        if let Some(without) = &condition.without
            && !self.matching(folder, without)?.is_empty()
        {
            return Ok(false);
        }
        let files = self.matching(folder, &condition.file)?;
        let Some(contains) = &condition.contains else {
            return Ok(!files.is_empty());
        };
        for file in files.iter().take(SEARCHED) {
            if self.contains(file, contains)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The files that match a glob relative to the folder; of those that stand in folders which are not
    /// listed, only what is named without a wildcard.
    fn matching(&self, folder: &str, pattern: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for pattern in alternatives(pattern) {
            if !pattern.contains(['*', '?', '[']) {
                let path = join(folder, &pattern);
                let there = if pattern.contains('/') {
                    read_beneath(&self.tree, &path, 0).is_ok()
                } else {
                    self.files.binary_search(&path).is_ok()
                };
                found.extend(there.then_some(path));
                continue;
            }
            if !self.globs.borrow().contains_key(&pattern) {
                let matches = self.match_all(&pattern)?;
                self.globs.borrow_mut().insert(pattern.clone(), matches);
            }
            let globs = self.globs.borrow();
            found.extend(
                globs.get(&pattern).and_then(|matches| matches.get(folder)).into_iter().flatten().cloned(),
            );
        }
        Ok(found)
    }

    /// Matches a glob once for all folders: each file, relative to each of the folders above it.
    fn match_all(&self, pattern: &str) -> Result<Matches> {
        let glob = glob(pattern)?;
        let head = pattern.split(['*', '?', '[']).next().unwrap_or_default();
        let tail = pattern.rsplit(['*', '?', ']']).next().unwrap_or_default();
        let top = self.folders.first().map_or("", String::as_str);
        let deep = pattern.contains("**");
        let slashes = pattern.matches('/').count();
        let mut matches = Matches::new();
        for file in self.files.iter().filter(|file| file.ends_with(tail)) {
            let mut folder = top;
            for _ in 0..=SUITES {
                let rest = if folder.is_empty() { file } else { &file[folder.len() + 1..] };
                let here = rest.matches('/').count();
                if rest.starts_with(head) && (deep || here == slashes) && glob.is_match(rest) {
                    matches.entry(folder.to_owned()).or_default().push(file.clone());
                }
                let Some(next) = rest.find('/') else {
                    break;
                };
                folder = &file[..file.len() - rest.len() + next];
            }
        }
        Ok(matches)
    }

    fn contains(&self, file: &str, pattern: &str) -> Result<bool> {
        let mut searches = self.searches.borrow_mut();
        let search = match searches.entry(pattern.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Search { regex: Regex::new(pattern)?, known: HashMap::new() }),
        };
        if let Some(known) = search.known.get(file) {
            return Ok(*known);
        }
        let text = read_beneath(&self.tree, file, CONTENT).unwrap_or_default();
        let found = search.regex.is_match(&text);
        search.known.insert(file.to_owned(), found);
        Ok(found)
    }
}

/// A glob without its braces: `{a,b/}c` is `ac` and `b/c`. What has no counterpart is left as it stands.
fn alternatives(pattern: &str) -> Vec<String> {
    let Some((open, close, commas)) = first_braces(pattern) else {
        return vec![pattern.to_owned()];
    };
    let (head, rest) = (&pattern[..open], &pattern[close + 1..]);
    let mut starts = vec![open + 1];
    starts.extend(commas.iter().map(|comma| comma + 1));
    let ends = commas.into_iter().chain([close]);
    let choices = starts.into_iter().zip(ends).map(|(start, end)| &pattern[start..end]);
    choices.flat_map(|choice| alternatives(&format!("{head}{choice}{rest}"))).collect()
}

/// Where the first braces open and close, and their commas.
fn first_braces(pattern: &str) -> Option<(usize, usize, Vec<usize>)> {
    let open = pattern.find('{')?;
    let (mut depth, mut commas) = (0, Vec::new());
    for (at, c) in pattern[open..].char_indices() {
        match c {
            '{' => depth += 1,
            ',' if depth == 1 => commas.push(open + at),
            '}' if depth == 1 => return Some((open, open + at, commas)),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Folders in which no suite of the repository's own stands.
fn is_skipped(name: &str) -> bool {
    name.starts_with('.')
        || matches!(
            name,
            "node_modules" | "target" | "vendor" | "build" | "dist" | "venv" | "__pycache__" | "testdata"
        )
}

/// `name` in `folder`; an empty folder is the root.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_alternatives() {
        let cases: [(&str, &[&str]); 5] = [
            ("a", &["a"]),
            ("{a,b/}c", &["ac", "b/c"]),
            ("{,x/{y,z}/}*.{h,c}", &["*.h", "*.c", "x/y/*.h", "x/y/*.c", "x/z/*.h", "x/z/*.c"]),
            ("{a", &["{a"]),
            ("", &[""]),
        ];
        for (pattern, expected) in cases {
            assert_eq!(alternatives(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn globs_start_at_the_folder_that_is_asked() {
        let tree = tempfile::tempdir().unwrap();
        for file in
            ["a.py", "x/test_b.py", "x/y/test_c.py", "x/tests/d/test_d.py", "node_modules/m/test_e.py"]
        {
            let path = tree.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "import unittest").unwrap();
        }
        let listing = Listing::of(tree.path(), "");
        let cases: [(&str, &str, &[&str]); 7] = [
            ("", "*.py", &["a.py"]),
            ("x", "*.py", &["x/test_b.py"]),
            ("x/y", "test_*.py", &["x/y/test_c.py"]),
            ("x", "tests/**/test_*.py", &["x/tests/d/test_d.py"]),
            ("", "*/test_*.py", &["x/test_b.py"]),
            ("", "**/test_*.py", &["x/test_b.py", "x/tests/d/test_d.py", "x/y/test_c.py"]),
            ("", "node_modules/m/test_e.py", &["node_modules/m/test_e.py"]),
        ];
        for (folder, pattern, expected) in cases {
            assert_eq!(listing.matching(folder, pattern).unwrap(), expected, "{pattern} in {folder:?}");
        }
        let contains = |contains: &str| Condition {
            file: "*/*.py".to_owned(),
            contains: Some(contains.to_owned()),
            without: None,
        };
        assert!(listing.holds("", &contains("unit")).unwrap());
        assert!(!listing.holds("", &contains("pytest")).unwrap());
    }
}
