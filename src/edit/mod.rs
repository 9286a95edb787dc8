//! An edit is a change that a model's reply asks for. This module finds the edits in a reply ([`blocks`]), fits
//! them into the files of the base ([`lines`]) and gives a [`Patch`] of what fits and a [`Problem`] for what
//! does not; [`Hunks`] takes a patch apart again. Nothing is ever guessed between two places.
//!
//! A reply says, in any order and with any words around it:
//! - `path`, then `<<<<<<< SEARCH`, lines, `=======`, lines, `>>>>>>> REPLACE`; the markers may have 5 to 9
//!   characters, and an empty SEARCH makes a new file;
//! - `*** Delete: path` and `*** Rename: old -> new`;
//! - a unified diff, whose line numbers only decide between places that are equal to the letter.

mod blocks;
mod hunks;
mod lines;

use std::collections::{BTreeMap, BTreeSet};

use crate::patch::{File, FileKind, Patch, RepoPath};
use crate::text;
use blocks::{Ask, Block, Change};
use lines::Text;

pub use hunks::Hunks;

/// Bytes of files that the blocks of one reply may be compared with, together. A reply of ten thousand blocks
/// for a large file ends here instead of taking minutes.
const WORK: usize = 1 << 30;

/// Problems of one reply that name the nearest lines; finding those costs more than the search itself.
const EXPLAINED: usize = 8;

/// What a reply asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edits {
    /// What fits.
    pub patch: Patch,
    /// What does not fit, in the order of the reply.
    pub problems: Vec<Problem>,
    /// How many edits the reply asks for, those that do not fit included; none means that it holds only words.
    pub blocks: usize,
}

impl Edits {
    /// All problems as one text for the model; empty when there is none.
    pub fn complaint(&self) -> String {
        complaint(&self.problems)
    }
}

/// Problems of one reply as one text for the model.
pub fn complaint(problems: &[Problem]) -> String {
    let mut lines: Vec<String> = problems.iter().take(EXPLAINED).map(ToString::to_string).collect();
    match problems.len().saturating_sub(EXPLAINED) {
        0 => {}
        more => lines.push(format!("{more} more edits do not fit either.")),
    }
    match problems.first().map_or(0, |problem| problem.others) {
        0 => {}
        1 => lines.push("The other edit fits.".to_owned()),
        others => lines.push(format!("The other {others} edits fit.")),
    }
    lines.join("\n")
}

/// An edit that does not fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Which edit of the reply, from 1.
    pub block: usize,
    /// The path as the reply gives it; empty when it gives none.
    pub path: String,
    /// What is wrong.
    pub fault: Fault,
    /// Lines of the file that come nearest, with their numbers on the base (0 for a line of an earlier edit).
    pub nearest: Vec<(usize, String)>,
    /// How many other edits of the reply fit.
    pub others: usize,
}

/// Why an edit does not fit.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// No path stands before the block.
    NoPath,
    /// The path leads out of the repository or is no path.
    BadPath(String),
    /// There is no such file.
    NoFile,
    /// An empty SEARCH would overwrite a file.
    Exists,
    /// Something stands where the new file or one of its folders would be.
    Occupied(String),
    /// The path is a symbolic link.
    Link,
    /// The lines are not in the file.
    NotFound,
    /// The lines are in the file several times, beginning at these lines of the base.
    Ambiguous(Vec<usize>),
    /// A line stands for others that are left out.
    Elided(String),
    /// Nothing would change.
    NoChange,
    /// The block has no end: the reply was cut off, or a marker is missing.
    Unfinished,
    /// Several lines could be the divider.
    Dividers,
    /// A hunk inserts lines and has no context that says where.
    NoContext,
    /// The new lines would have to repeat bytes that are not UTF-8.
    NotText,
    /// Binary patches, links and submodules.
    Unsupported(&'static str),
    /// The reply asks for more than can be compared in reasonable time.
    TooMuch,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = text::one_line(&text::clip(&self.path, 300));
        write!(f, "Edit {}", self.block)?;
        if !path.is_empty() {
            write!(f, " ({path})")?;
        }
        write!(f, ": {}", self.fault)?;
        if let (Some((first, _)), Some((last, _))) = (self.nearest.first(), self.nearest.last()) {
            write!(f, " The nearest lines are {first} to {last}:")?;
            for (_, line) in &self.nearest {
                write!(f, "\n{}", text::printable(line))?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fault::NoPath => "no path stands on the line before it.",
            Fault::BadPath(why) => return write!(f, "{}.", text::one_line(&text::clip(why, 400))),
            Fault::NoFile => "there is no such file. To make it, leave SEARCH empty.",
            Fault::Exists => "the file exists, so an empty SEARCH is no edit of it. Quote the lines to replace.",
            Fault::Occupied(by) => return write!(f, "{} stands in the way.", text::one_line(&text::clip(by, 300))),
            Fault::Link => "it is a symbolic link. Edit the file that it points to.",
            Fault::NotFound => "the SEARCH lines are not in the file.",
            Fault::Ambiguous(lines) => {
                let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
                let lines = text::list(&lines, 5);
                return write!(f, "the SEARCH lines are in the file several times, at lines {lines}. Quote more lines around the place that is meant.");
            }
            Fault::Elided(line) => {
                let line = text::one_line(&text::clip(line, 120));
                return write!(f, "the line `{line}` stands for lines that are left out. Write out every line.");
            }
            Fault::NoChange => "it changes nothing.",
            Fault::Unfinished => "it has no end. Close it with `>>>>>>> REPLACE`, and answer in fewer words if the reply was cut off.",
            Fault::Dividers => "it has several lines that could divide SEARCH from REPLACE. Use markers of 9 characters.",
            Fault::NoContext => "the hunk has no context lines, so its place is unknown.",
            Fault::NotText => "its new lines repeat bytes of the file that are not UTF-8. Leave those lines as they are.",
            Fault::Unsupported(what) => return write!(f, "{what} cannot be edited here."),
            Fault::TooMuch => "the reply asks for too many edits. Send fewer, and smaller ones.",
        })
    }
}

/// Finds the edits of `reply` and fits them into the base, of which `base` gives a file by its path. Edits of
/// one file follow each other; each may rest on what the ones before it wrote.
pub fn read(reply: &str, base: &dyn Fn(&RepoPath) -> Option<File>) -> Edits {
    let blocks = blocks::blocks(reply, &|path| RepoPath::new(path).is_ok_and(|path| base(&path).is_some()));
    let files = load(&blocks, base);
    let mut tree = Tree { files: &files, now: BTreeMap::new(), work: WORK };
    let mut problems = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        if let Err(fault) = tree.edit(block) {
            let explain = problems.len() < EXPLAINED;
            let nearest = if explain { tree.nearest(block, &fault) } else { Vec::new() };
            let path = block.path.clone().into_owned();
            problems.push(Problem { block: index + 1, path, fault, nearest, others: 0 });
        }
    }
    let others = blocks.len() - problems.len();
    for problem in &mut problems {
        problem.others = others;
    }
    Edits { patch: tree.patch(), problems, blocks: blocks.len() }
}

/// The files of the base that `blocks` name, with everything that could stand where their folders would be.
fn load(blocks: &[Block], base: &dyn Fn(&RepoPath) -> Option<File>) -> BTreeMap<RepoPath, File> {
    let mut wanted = BTreeSet::new();
    for block in blocks {
        let to = match &block.ask {
            Ask::Rename(to) => Some(to.as_ref()),
            _ => None,
        };
        for path in std::iter::once(block.path.as_ref()).chain(to) {
            if let Ok(path) = repo_path(path) {
                wanted.extend(folders(&path));
                wanted.insert(path);
            }
        }
    }
    wanted.into_iter().filter_map(|path| base(&path).map(|file| (path, file))).collect()
}

/// The folders that `path` lies in.
fn folders(path: &RepoPath) -> impl Iterator<Item = RepoPath> {
    let ends = path.as_str().match_indices('/').map(|(at, _)| at);
    ends.filter_map(|at| RepoPath::new(&path.as_str()[..at]).ok())
}

/// The base with the edits so far.
struct Tree<'a> {
    files: &'a BTreeMap<RepoPath, File>,
    /// What was looked at; `None` is gone.
    now: BTreeMap<RepoPath, Option<Draft<'a>>>,
    work: usize,
}

/// A file that may be edited.
struct Draft<'a> {
    kind: FileKind,
    text: Text<'a>,
}

impl<'a> Tree<'a> {
    fn edit(&mut self, block: &'a Block<'a>) -> Result<(), Fault> {
        if let Ask::Broken(fault) = &block.ask {
            return Err(fault.clone());
        }
        if block.path.is_empty() {
            return Err(Fault::NoPath);
        }
        let path = repo_path(&block.path)?;
        match &block.ask {
            Ask::Broken(fault) => Err(fault.clone()),
            Ask::Create { lines, kind, newline } => self.create(path, lines, *kind, *newline),
            Ask::Change(change) if change.old.iter().all(|line| line.trim().is_empty()) => {
                self.insert(path, change)
            }
            Ask::Change(change) => self.change(&path, change),
            Ask::Kind(kind) => {
                self.plain(&path)?.kind = *kind;
                Ok(())
            }
            Ask::Delete => self.open(&path).take().map(drop).ok_or(Fault::NoFile),
            Ask::Rename(to) => {
                let to = repo_path(to)?;
                if self.open(&path).is_none() {
                    return Err(Fault::NoFile);
                }
                self.free(&to)?;
                let draft = self.open(&path).take();
                self.now.insert(to, draft);
                Ok(())
            }
        }
    }

    /// The file as it is now.
    fn open(&mut self, path: &RepoPath) -> &mut Option<Draft<'a>> {
        let files = self.files;
        self.now.entry(path.clone()).or_insert_with(|| {
            files.get(path).map(|file| Draft { kind: file.kind, text: Text::of(&file.content) })
        })
    }

    /// The file as it is now, unless it is a link: a link's target is never edited through it.
    fn plain(&mut self, path: &RepoPath) -> Result<&mut Draft<'a>, Fault> {
        match self.open(path) {
            None => Err(Fault::NoFile),
            Some(Draft { kind: FileKind::Link, .. }) => Err(Fault::Link),
            Some(draft) => Ok(draft),
        }
    }

    /// Fails if something stands where `path` or one of its folders would be.
    fn free(&mut self, path: &RepoPath) -> Result<(), Fault> {
        let above = folders(path).chain([path.clone()]);
        if let Some(taken) = above.into_iter().find(|taken| self.open(taken).is_some()) {
            return Err(Fault::Occupied(taken.to_string()));
        }
        let inside = RepoPath::new(&format!("{path}/0"))
            .map_err(|_| Fault::BadPath("the path is too long".to_owned()))?;
        let prefix = format!("{path}/");
        let mut beneath =
            self.now.range(inside..).take_while(|(other, _)| other.as_str().starts_with(&prefix));
        match beneath.find(|(_, draft)| draft.is_some()) {
            Some((other, _)) => Err(Fault::Occupied(other.to_string())),
            None => Ok(()),
        }
    }

    fn create(
        &mut self,
        path: RepoPath,
        new: &[&'a str],
        kind: Option<FileKind>,
        newline: bool,
    ) -> Result<(), Fault> {
        let before = match self.open(&path) {
            Some(Draft { kind: FileKind::Link, .. }) => return Err(Fault::Link),
            Some(draft) if !draft.text.is_empty() => return Err(Fault::Exists),
            Some(_) if new.is_empty() => return Err(Fault::NoChange),
            Some(draft) => Some(draft.kind),
            None => None,
        };
        if before.is_none() {
            self.free(&path)?;
        }
        // A file that is deleted and written anew in one reply stays executable.
        let base = self.files.get(&path).map(|file| file.kind).filter(|kind| *kind != FileKind::Link);
        let kind = kind.or(before).or(base).unwrap_or(FileKind::Plain);
        self.now.insert(path, Some(Draft { kind, text: Text::new(new, newline) }));
        Ok(())
    }

    /// An edit that quotes nothing makes a new file.
    fn insert(&mut self, path: RepoPath, change: &Change<'a>) -> Result<(), Fault> {
        elision(&path, change)?;
        match self.create(path, &change.new, None, change.newline.unwrap_or(true)) {
            Err(Fault::Exists) if change.line.is_some() => Err(Fault::NoContext),
            done => done,
        }
    }

    fn change(&mut self, path: &RepoPath, change: &Change<'a>) -> Result<(), Fault> {
        let left = self.work;
        let text = &mut self.plain(path)?.text;
        if change.old == change.new && change.newline.is_none() {
            return Err(Fault::NoChange);
        }
        let left = left.checked_sub(text.size() + 1).ok_or(Fault::TooMuch)?;
        let place = text.find(change).map_err(|fault| match (fault, elided(path, &change.old)) {
            (Fault::NotFound, Some(line)) => Fault::Elided(line.to_owned()),
            (fault, _) => fault,
        });
        let done = place.and_then(|place| {
            elision(path, change)?;
            text.replace(&place, change)
        });
        self.work = left;
        done
    }

    /// The lines that come nearest to what a block quotes, if quoting was its fault.
    fn nearest(&mut self, block: &Block, fault: &Fault) -> Vec<(usize, String)> {
        match (fault, &block.ask, RepoPath::new(&block.path)) {
            (Fault::NotFound, Ask::Change(change), Ok(path)) => {
                self.plain(&path).map(|draft| draft.text.nearest(&change.old)).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// What differs from the base.
    fn patch(self) -> Patch {
        let files = self.files;
        let after = self.now.into_iter().map(|(path, draft)| {
            let file = draft.map(|draft| File { kind: draft.kind, content: draft.text.bytes() });
            (path, file)
        });
        Patch(after.filter(|(path, file)| files.get(path) != file.as_ref()).collect())
    }
}

/// Folders that a path may lie in; every one of them is looked up.
const DEEPEST: usize = 32;

fn repo_path(path: &str) -> Result<RepoPath, Fault> {
    if path.matches('/').count() > DEEPEST {
        return Err(Fault::BadPath(format!("the path is more than {DEEPEST} folders deep")));
    }
    RepoPath::new(path).map_err(|error| Fault::BadPath(error.to_string()))
}

/// Fails if a new line stands for others that are left out.
fn elision(path: &RepoPath, change: &Change) -> Result<(), Fault> {
    let kept: BTreeSet<&str> = change.old.iter().map(|line| line.trim()).collect();
    let new = change.new.iter().copied().filter(|line| !kept.contains(line.trim()));
    match elided(path, &new.collect::<Vec<_>>()) {
        Some(line) => Err(Fault::Elided(line.to_owned())),
        None => Ok(()),
    }
}

/// The first line that stands for others: `...` alone or in a comment. Alone it is a
/// statement in Python and ends a document in YAML.
fn elided<'l>(path: &RepoPath, lines: &[&'l str]) -> Option<&'l str> {
    let statement = [".py", ".pyi", ".yml", ".yaml"].iter().any(|end| path.as_str().ends_with(end));
    lines.iter().copied().find(|line| {
        let line = line.trim();
        let words = line.trim_start_matches(['/', '#', '-', '*', ';', '%', '<', '!']).trim_start();
        let comment = words.len() < line.len();
        let dots = |text: &str| text.starts_with("...") || text.starts_with('…');
        if comment {
            dots(words) || names_the_rest(words)
        } else {
            matches!(line, "..." | "…") && !(statement && line == "...")
        }
    })
}

/// Whether a comment such as `rest of the code unchanged ...` speaks of code that is not there.
fn names_the_rest(comment: &str) -> bool {
    let ends = comment.trim_end_matches(['*', '/', '-', '>', ' ']);
    let words = ["existing", "rest of", "unchanged", "same as", "remaining"];
    (ends.ends_with("...") || ends.ends_with('…')) && words.iter().any(|word| comment.contains(word))
}

#[cfg(test)]
mod tests;
