//! Mining makes a task set out of a repository's own history. The base of a task is a commit with its product part
//! taken back, so that its tests are there and red; what was taken back is the right answer. What is product and what
//! is test is decided by the same code that composes candidates, and a commit becomes a task only when it is proved
//! like any other. Every commit that was tried stands in a journal beside the set, with why it is no task, so that a
//! killed run goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::history::{self, Change, Kinds};
use super::validate::{self, Proof};
use super::{Door, hex, set, side_by_side};
use crate::patch::{Patch, RepoPath};
use crate::task::{self, Source, Task};
use crate::text::{clip, list, one_line};
use crate::workspace;

/// Bytes that a tree has at most: each task has one of its own.
const TREE: usize = 128 << 20;

/// Files and lines that an answer changes at most: what is larger is no fix of one bug.
const FILES: usize = 10;
const LINES: usize = 400;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The repository, an absolute path.
    pub repository: PathBuf,
    /// The set's folder.
    pub out: PathBuf,
    /// Tasks that are made at most.
    pub limit: usize,
    /// Only commits at or after this moment, in seconds since 1970.
    pub since: Option<i64>,
    /// Only commits before this moment.
    pub until: Option<i64>,
    /// Commits that are tried side by side.
    pub workers: usize,
    /// How long one commit may take.
    pub time: Duration,
    /// How often the right answer must be green.
    pub times: u32,
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mined {
    /// Its id.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
    /// The task that was made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Why it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether this machine is at fault rather than the commit, which is then tried again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub environment: bool,
    /// What its answer changes, as SHA-256: the same change is no second task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

/// What mining came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commits that change source and tests together.
    pub commits: usize,
    /// Of these, those whose fate is known now.
    pub tried: usize,
    /// Tasks in the set.
    pub tasks: usize,
}

/// Fails when there is no repository with commits.
pub fn check(repository: &Path) -> Result<()> {
    let repository = history::open(repository)?;
    repository.head().and_then(|head| head.peel_to_commit()).context("the repository has no commit")?;
    Ok(())
}

/// Mines a repository, and goes on with a set that was begun.
pub fn mine(asked: &Asked, door: &Door, tell: &(dyn Fn(&Mined) + Sync)) -> Result<Tally> {
    let kinds = Kinds::load(door.harness.as_deref())?;
    let commits = history::commits(&history::open(&asked.repository)?, &kinds, asked.since, asked.until)?;
    let _ = std::fs::remove_dir_all(asked.out.join(WORK));
    std::fs::create_dir_all(asked.out.join(WORK))
        .with_context(|| format!("failed to make {}", asked.out.display()))?;
    let mining = Mining { asked, door, journal: Mutex::new(Journal::open(&asked.out)?) };
    let open: Vec<&String> = commits.iter().filter(|id| !mining.journal().known.contains_key(*id)).collect();
    side_by_side(open.len(), asked.workers, &|at| {
        if mining.journal().tasks() >= asked.limit {
            return Ok(false);
        }
        if let Some(mined) = mining.conclude(mining.try_one(open[at])?)? {
            tell(&mined);
        }
        Ok(true)
    })?;
    let _ = std::fs::remove_dir_all(asked.out.join(WORK));
    let journal = mining.journal();
    let tried = commits.iter().filter(|id| journal.known.contains_key(*id)).count();
    Ok(Tally { commits: commits.len(), tried, tasks: journal.tasks() })
}

/// Where tasks are made, within the set's folder: they move out of it when they are proved.
const WORK: &str = ".mining";

struct Mining<'a> {
    asked: &'a Asked,
    door: &'a Door,
    journal: Mutex<Journal>,
}

/// Why a commit is no task.
struct No {
    reason: String,
    environment: bool,
}

fn no<T>(reason: impl Into<String>) -> Result<T, No> {
    Err(No { reason: reason.into(), environment: false })
}

impl From<anyhow::Error> for No {
    /// What goes wrong here may go right the next time.
    fn from(error: anyhow::Error) -> No {
        No { reason: format!("{error:#}"), environment: true }
    }
}

/// A task in two parts.
struct Parts {
    /// The whole tree.
    base: Patch,
    /// The right answer.
    gold: Patch,
    /// What its commit says of the problem.
    statement: String,
}

impl Mining<'_> {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries a commit, for as long as one may take.
    fn try_one(&self, id: &str) -> Result<Mined> {
        let mut mined = Mined {
            commit: id.to_owned(),
            subject: String::new(),
            task: None,
            reason: None,
            environment: false,
            change: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tried = runtime.block_on(async {
            let work = self.attempt(id, &mut mined);
            tokio::time::timeout(self.asked.time, work).await
        });
        match tried {
            Ok(Ok(task)) => mined.task = Some(task),
            Ok(Err(No { reason, environment })) => {
                mined.reason = Some(clip(&one_line(&reason), 600).into_owned());
                mined.environment = environment;
            }
            Err(_) => {
                mined.reason = Some(format!("it took longer than {} s", self.asked.time.as_secs()));
                mined.environment = true;
            }
        }
        Ok(mined)
    }

    /// Makes a task and proves it; its name.
    async fn attempt(&self, id: &str, mined: &mut Mined) -> Result<String, No> {
        let repository = history::open(&self.asked.repository)?;
        let change = match history::change(&repository, id) {
            Ok(change) => change,
            Err(error) => return no(format!("{error:#}")),
        };
        drop(repository);
        mined.subject = history::subject(&change.message);
        let parts = self.parts(&change)?;
        let same = fingerprint(&parts);
        if let Some(other) = self.journal().claim(&same, id) {
            return no(format!("its change is that of {other}"));
        }
        mined.change = Some(same);
        let name = format!("{}-{}", name_of(&self.asked.repository), &id[..id.len().min(10)]);
        let folder = self.asked.out.join(WORK).join(&name);
        write(&folder, &name, &parts, BTreeSet::new())?;
        let mut proof = self.prove(&folder).await?;
        if proof.refused
            && let Some(fixed) = validate::fixed(&set::folder(folder.clone())?, self.door).await?
        {
            // Tests fail here that no change of this commit can mend: they are nobody's task.
            write(&folder, &name, &parts, fixed)?;
            proof = self.prove(&folder).await?;
        }
        if proof.holds() {
            return Ok(name);
        }
        Err(No { reason: proof.faults.join("; "), environment: proof.environment })
    }

    async fn prove(&self, folder: &Path) -> Result<Proof> {
        validate::prove(&set::folder(folder.to_owned())?, self.door, self.asked.times).await
    }

    /// Takes a commit's product part back.
    fn parts(&self, change: &Change) -> Result<Parts, No> {
        let path = self.asked.repository.to_str().context("the repository's path is not UTF-8")?;
        let source = Source { path: path.to_owned(), rev: Some(change.id.clone()) };
        let task = Task { regreen: task::FORMAT, source, ..Task::default() };
        let verifier = match (self.door.open)(task, &self.asked.repository, &|_| {}) {
            Ok(verifier) => verifier,
            Err(error) => return no(format!("{error:#}")),
        };
        if verifier.suites.is_empty() {
            return no("no test suite of a known toolchain was found");
        }
        let snapshot = &verifier.workshop.snapshot;
        let composed = verifier.compose(&change.before)?;
        if !composed.problems.is_empty() {
            return no(format!("its tests cannot be told from its code: {}", list(&composed.problems, 2)));
        }
        if !composed.replayed.is_empty() {
            return no("it gives other names to what its tests call");
        }
        if composed.left_out.is_empty() {
            return no("it changes no test");
        }
        let mut gold = Patch::default();
        for path in composed.product.paths().filter(|path| !WORDS.is_match(path.as_str())) {
            gold.0.insert(path.clone(), snapshot.file(path)?);
        }
        let sources = verifier.sources()?;
        if !gold.paths().any(|path| sources.is_match(path.as_str())) {
            return no("it changes no source file besides its tests");
        }
        let (mut base, mut bytes) = (Patch::default(), 0);
        for path in snapshot.paths()? {
            let Some(file) = snapshot.file(&path)? else {
                return no(format!("{path} cannot be read as a file"));
            };
            bytes += file.content.len();
            if bytes > TREE {
                return no(format!("its tree is larger than {} MiB", TREE >> 20));
            }
            base.0.insert(path, Some(file));
        }
        base.0.extend(composed.product.0);
        base.0.retain(|_, file| file.is_some());
        fits(&base, &gold)?;
        let telling = validate::telling(&gold, |path| base.0.get(path).cloned().flatten());
        match history::statement(&change.message, &telling) {
            Some(statement) => Ok(Parts { base, gold, statement }),
            None => no("its message says nothing but the answer"),
        }
    }

    /// Puts a task into the set and notes what became of its commit; `None` when the set was full meanwhile.
    fn conclude(&self, mined: Mined) -> Result<Option<Mined>> {
        let mut journal = self.journal();
        if let Some(task) = &mined.task {
            let (made, place) = (self.asked.out.join(WORK).join(task), self.asked.out.join(task));
            if journal.tasks() >= self.asked.limit {
                return Ok(None);
            }
            if place.exists() {
                // A kill came between the move and the note.
                std::fs::remove_dir_all(&place)?;
            }
            std::fs::rename(&made, &place).with_context(|| format!("failed to store {}", place.display()))?;
        }
        journal.write(&mined)?;
        Ok(Some(mined))
    }
}

/// Files in which people tell what they have done: they are taken back too, and are no part of the answer.
static WORDS: LazyLock<globset::GlobSet> = LazyLock::new(|| {
    history::globs([
        "**/*.{md,rst,adoc}",
        "{doc,docs,.github,changes,changelog.d,news,newsfragments,releasenotes}/**",
        "**/{CHANGE,HISTORY,NEWS,AUTHORS,README,RELEASE}*",
    ])
    .expect("a test reads them")
});

/// Whether an answer is small enough, and a diff can carry it.
fn fits(base: &Patch, gold: &Patch) -> Result<(), No> {
    if gold.0.len() > FILES {
        return no(format!("it changes {} files, more than {FILES}", gold.0.len()));
    }
    let both = |path: &RepoPath| [base.0.get(path).cloned().flatten(), gold.0.get(path).cloned().flatten()];
    if gold.paths().flat_map(both).flatten().any(|file| std::str::from_utf8(&file.content).is_err()) {
        return no("it changes a file that is no text");
    }
    let lines = changed(base, gold).len();
    if lines > LINES {
        return no(format!("it changes {lines} lines, more than {LINES}"));
    }
    Ok(())
}

/// The lines that an answer takes away and adds.
fn changed(base: &Patch, gold: &Patch) -> Vec<String> {
    let diff = gold.unified(|path| base.0.get(path).cloned().flatten());
    let header = |line: &&str| line.starts_with("+++ ") || line.starts_with("--- ");
    diff.lines().filter(|line| line.starts_with(['+', '-']) && !header(line)).map(str::to_owned).collect()
}

/// What two commits share that make the same change at other places: SHA-256 of their lines.
fn fingerprint(parts: &Parts) -> String {
    hex(&Sha256::digest(changed(&parts.base, &parts.gold).join("\n")))
}

/// Writes a task's folder anew.
fn write(folder: &Path, name: &str, parts: &Parts, fail_to_pass: BTreeSet<String>) -> Result<()> {
    let _ = std::fs::remove_dir_all(folder);
    let root = folder.join("repo");
    std::fs::create_dir_all(&root).with_context(|| format!("failed to make {}", root.display()))?;
    workspace::apply_beneath(&root, &parts.base)?;
    // One commit, so that no ignore file around it or in it has a say in what belongs to it.
    workspace::commit(&root)?;
    let gold = parts.gold.unified(|path| parts.base.0.get(path).cloned().flatten());
    std::fs::write(folder.join("gold.patch"), gold)?;
    let source = Source { path: "repo".to_owned(), rev: None };
    let task = Task {
        regreen: task::FORMAT,
        id: name.to_owned(),
        statement: Some(parts.statement.clone()),
        source,
        fail_to_pass,
        ..Task::default()
    };
    std::fs::write(folder.join("task.toml"), toml::to_string(&task)?)?;
    Ok(())
}

/// The name of a repository by its path: that of a bare one in a folder of its own is the folder's.
pub fn name_of(repository: &Path) -> String {
    let plain = |name: &str| name.trim_end_matches(".git").trim_matches('.').to_owned();
    let names = repository.iter().rev().filter_map(|name| Some(plain(name.to_str()?)));
    let name = names.into_iter().find(|name| !["", "repo", "git", "/"].contains(&name.as_str()));
    let name = name.unwrap_or_else(|| "repository".to_owned());
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect()
}

/// The commits whose fate is known: one line each in a file beside the set.
struct Journal {
    file: File,
    known: BTreeMap<String, Mined>,
    /// The commit that a change was first met in.
    changes: BTreeMap<String, String>,
}

/// Where the journal of a set is.
pub fn journal_of(out: &Path) -> PathBuf {
    let mut name = out.components().as_path().as_os_str().to_owned();
    name.push(".mined.jsonl");
    name.into()
}

impl Journal {
    fn open(out: &Path) -> Result<Journal> {
        let path = journal_of(out);
        let file = OpenOptions::new().create(true).append(true).read(true).open(&path);
        let mut file = file.with_context(|| format!("failed to open {}", path.display()))?;
        let (mut known, mut changes) = (BTreeMap::new(), BTreeMap::new());
        let mut whole = true;
        for line in BufReader::new(&file).lines() {
            // A line that a kill cut off says nothing.
            let Ok(mined) = serde_json::from_str::<Mined>(&line?) else {
                whole = false;
                continue;
            };
            whole = true;
            let there = mined.task.as_ref().is_none_or(|task| out.join(task).is_dir());
            if !mined.environment && there {
                changes.extend(mined.change.clone().map(|change| (change, mined.commit.clone())));
                known.insert(mined.commit.clone(), mined);
            }
        }
        if !whole {
            file.write_all(b"\n")?;
        }
        Ok(Journal { file, known, changes })
    }

    fn tasks(&self) -> usize {
        self.known.values().filter(|mined| mined.task.is_some()).count()
    }

    /// Says that a commit makes a change; the commit that was first, if it was another.
    fn claim(&mut self, change: &str, commit: &str) -> Option<String> {
        let first = self.changes.entry(change.to_owned()).or_insert_with(|| commit.to_owned());
        (first != commit).then(|| first.clone())
    }

    fn write(&mut self, mined: &Mined) -> Result<()> {
        let mut line = serde_json::to_vec(mined)?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .context("failed to write the journal")?;
        self.known.insert(mined.commit.clone(), mined.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch;

    fn patch(files: &[(&str, &str)]) -> Patch {
        Patch(
            files
                .iter()
                .map(|(path, text)| (RepoPath::new(path).unwrap(), Some(patch::File::plain(*text))))
                .collect(),
        )
    }

    fn parts(before: &str, after: &str) -> Parts {
        Parts { base: patch(&[("a.py", before)]), gold: patch(&[("a.py", after)]), statement: String::new() }
    }

    #[test]
    fn the_same_change_is_known_again_at_another_place() {
        let one = fingerprint(&parts("x\ny\nold\n", "x\ny\nnew\n"));
        assert_eq!(one, fingerprint(&parts("other\n\n\nold\n", "other\n\n\nnew\n")));
        assert_ne!(one, fingerprint(&parts("x\ny\nold\n", "x\ny\nnewer\n")));
    }

    #[test]
    fn an_answer_that_is_too_large_or_no_text_is_refused() {
        let reason =
            |base: &Patch, gold: &Patch| fits(base, gold).err().map(|no| no.reason).unwrap_or_default();
        let many = "line\n".repeat(LINES + 1);
        assert_eq!(reason(&patch(&[("a", "x\n")]), &patch(&[("a", "y\n")])), "");
        assert!(reason(&patch(&[]), &patch(&[("a", &many)])).contains("lines, more than"));
        let names: Vec<String> = (0..=FILES).map(|n| format!("f{n}")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x\n")).collect();
        assert!(reason(&patch(&[]), &patch(&files)).contains("files, more than"));
        let binary =
            Patch([(RepoPath::new("a").unwrap(), Some(patch::File::plain(vec![0xff, 0xfe])))].into());
        assert!(reason(&patch(&[]), &binary).contains("no text"));
    }

    #[test]
    fn words_about_a_change_are_no_part_of_it() {
        for (path, words) in [
            ("CHANGES.rst", true),
            ("docs/conf.py", true),
            ("sub/README", true),
            ("src/newsfragments.py", false),
            ("data/words.txt", false),
            ("CHANGES.txt", true),
            ("requirements.txt", false),
            ("src/a.py", false),
        ] {
            assert_eq!(WORDS.is_match(path), words, "{path}");
        }
    }

    #[test]
    fn a_repository_is_called_by_the_folder_that_tells_most() {
        for (path, name) in [
            ("/a/shop", "shop"),
            ("/a/shop.git", "shop"),
            ("/m/o+shop/repo", "o-shop"),
            ("/a/shop/.git", "shop"),
        ] {
            assert_eq!(name_of(Path::new(path)), name, "{path}");
        }
    }

    #[test]
    fn a_journal_knows_what_was_tried_and_forgets_faults_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("set");
        let mined = |commit: &str, task: Option<&str>, environment: bool| Mined {
            commit: commit.to_owned(),
            subject: "s".to_owned(),
            task: task.map(str::to_owned),
            reason: task.is_none().then(|| "no".to_owned()),
            environment,
            change: Some(format!("of {commit}")),
        };
        std::fs::create_dir_all(out.join("t")).unwrap();
        let mut journal = Journal::open(&out).unwrap();
        for line in [
            mined("a", Some("t"), false),
            mined("b", None, false),
            mined("c", None, true),
            mined("d", Some("lost"), false),
        ] {
            journal.write(&line).unwrap();
        }
        journal.file.write_all(b"{\"commit\":\"e").unwrap();
        let mut again = Journal::open(&out).unwrap();
        assert_eq!(again.known.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(again.tasks(), 1);
        assert_eq!(again.claim("of a", "x"), Some("a".to_owned()));
        assert_eq!((again.claim("of c", "x"), again.claim("of c", "x")), (None, None));
        again.write(&mined("f", None, false)).unwrap();
        assert!(
            Journal::open(&out).unwrap().known.contains_key("f"),
            "a line that was cut off swallowed the next"
        );
    }
}
