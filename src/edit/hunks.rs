//! Hunks are the parts of a patch that can be left out one by one, so that a green patch can be made smaller.

use std::collections::BTreeSet;
use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::patch::{File, FileKind, Patch, RepoPath};

/// Old lines times new lines between the first and the last difference of a file, above which the file is
/// one hunk: a diff takes time quadratic in the differences.
const LARGEST: usize = 20_000_000;

/// A patch in parts, numbered from 0.
#[derive(Clone, Debug)]
pub struct Hunks {
    files: Vec<Parts>,
}

/// A file's part of a patch.
#[derive(Clone, Debug)]
struct Parts {
    path: RepoPath,
    before: Option<File>,
    after: Option<File>,
    /// Bytes of `before` and the bytes of `after` that replace them, in order; one hunk each. Empty when the
    /// file is one hunk: made, deleted, a link, or too large.
    changes: Vec<(Range<usize>, Range<usize>)>,
    /// Whether the file's kind changes too, which is a hunk more.
    kind: bool,
}

impl Hunks {
    /// Takes `patch` apart; `base` gives a path's file on the base. Each run of changed lines is a hunk, so is
    /// each file made or deleted, and each change of a file's kind.
    pub fn of(patch: &Patch, base: impl Fn(&RepoPath) -> Option<File>) -> Hunks {
        let parts = patch.0.iter().map(|(path, after)| Parts::of(path.clone(), base(path), after.clone()));
        Hunks { files: parts.filter(|parts| parts.before != parts.after).collect() }
    }

    /// How many hunks there are.
    pub fn len(&self) -> usize {
        self.files.iter().map(Parts::len).sum()
    }

    /// Whether the patch changes nothing.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The patch without the hunks of these numbers.
    pub fn without(&self, dropped: &BTreeSet<usize>) -> Patch {
        let mut first = 0;
        let mut patch = Patch::default();
        for file in &self.files {
            let keep: Vec<bool> = (first..first + file.len()).map(|hunk| !dropped.contains(&hunk)).collect();
            first += file.len();
            if keep.contains(&true) {
                patch.0.insert(file.path.clone(), file.with(&keep));
            }
        }
        patch
    }
}

impl Parts {
    fn of(path: RepoPath, before: Option<File>, after: Option<File>) -> Parts {
        let (changes, kind) = match (&before, &after) {
            (Some(old), Some(new)) if old.kind != FileKind::Link && new.kind != FileKind::Link => {
                (changes(&old.content, &new.content), old.kind != new.kind)
            }
            _ => (Vec::new(), false),
        };
        Parts { path, before, after, changes, kind }
    }

    fn len(&self) -> usize {
        (self.changes.len() + usize::from(self.kind)).max(1)
    }

    /// The file with these of its hunks, at least one.
    fn with(&self, keep: &[bool]) -> Option<File> {
        let (Some(before), Some(after)) = (&self.before, &self.after) else {
            return self.after.clone();
        };
        if keep.iter().all(|keep| *keep) {
            return Some(after.clone());
        }
        let (mut content, mut at) = (Vec::new(), 0);
        for ((old, new), _) in self.changes.iter().zip(keep).filter(|(_, keep)| **keep) {
            content.extend_from_slice(&before.content[at..old.start]);
            content.extend_from_slice(&after.content[new.clone()]);
            at = old.end;
        }
        content.extend_from_slice(&before.content[at..]);
        let kind = if self.kind && keep.last() == Some(&true) { after.kind } else { before.kind };
        Some(File { kind, content })
    }
}

/// The runs of changed lines between two contents, as byte ranges.
fn changes(old: &[u8], new: &[u8]) -> Vec<(Range<usize>, Range<usize>)> {
    let old_lines: Vec<&[u8]> = old.split_inclusive(|byte| *byte == b'\n').collect();
    let new_lines: Vec<&[u8]> = new.split_inclusive(|byte| *byte == b'\n').collect();
    let before = old_lines.iter().zip(&new_lines).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (&old_lines[before..], &new_lines[before..]);
    let after = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (&old_rest[..old_rest.len() - after], &new_rest[..new_rest.len() - after]);
    let (old_ends, new_ends) = (ends(&old_lines), ends(&new_lines));
    let bytes = |old: Range<usize>, new: Range<usize>| {
        let range =
            |ends: &[usize], lines: Range<usize>| ends[before + lines.start]..ends[before + lines.end];
        (range(&old_ends, old), range(&new_ends, new))
    };
    if old_rest.is_empty() && new_rest.is_empty() {
        return Vec::new();
    }
    if old_rest.len().saturating_mul(new_rest.len()) > LARGEST {
        return vec![bytes(0..old_rest.len(), 0..new_rest.len())];
    }
    let ops = capture_diff_slices(Algorithm::Myers, old_rest, new_rest);
    let changed = ops.iter().filter(|op| !matches!(op, DiffOp::Equal { .. }));
    changed.map(|op| bytes(op.old_range(), op.new_range())).collect()
}

/// Where each line begins, and where the last one ends.
fn ends(lines: &[&[u8]]) -> Vec<usize> {
    let mut ends = vec![0];
    ends.extend(lines.iter().scan(0, |end, line| {
        *end += line.len();
        Some(*end)
    }));
    ends
}
