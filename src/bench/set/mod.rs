//! A set is the tasks that a bench runs over, read from where people keep them: folders with a `task.toml`, Harbor's
//! task folders, exercism tracks, `HumanEvalFix` as JSONL, SWE-bench instances as JSONL. A set is only read; what a task needs on the disk
//! is made when it is opened.

mod exercism;
mod harbor;
mod humaneval;
mod split;
mod swe;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Door, feed, hex};
use crate::edit;
use crate::patch::Patch;
use crate::task::{self, Task};
use crate::text::{clip, one_line};
use crate::verify::{self, HeldOut, Verifier, given};
use crate::workspace::{self, Scratch};

/// Bytes of one file of a set that are read.
const LARGEST: u64 = 1 << 30;

/// Tasks, in the order of the set.
#[derive(Debug)]
pub struct Set {
    /// The tasks; no two have the same id.
    pub tasks: Vec<Entry>,
    /// Those that cannot be run here, with why.
    pub left_out: Vec<(Entry, String)>,
}

/// A task of a set, not yet on the disk.
#[derive(Debug)]
pub struct Entry {
    /// Its name in plans and reports.
    pub id: String,
    /// SHA-256 of all that it consists of.
    pub hash: String,
    origin: Origin,
}

/// Where a task comes from.
#[derive(Debug)]
enum Origin {
    Folder(PathBuf),
    Exercise(Box<exercism::Exercise>),
    Harbor(Box<harbor::Harbor>),
    HumanEvalFix(Box<humaneval::Bug>),
    SweBench(Box<swe::Instance>),
}

/// A task that can be worked on.
#[derive(Debug)]
pub struct Opened {
    /// What must become true.
    pub task: Task,
    /// The folder that its source is relative to.
    pub beside: PathBuf,
    /// Tests that nobody who proposes has seen.
    pub held_out: Option<HeldOut>,
    /// The right answer.
    pub answer: Option<Answer>,
    /// Patches that are known to be no answer.
    pub cheats: Vec<Vec<u8>>,
    /// The folder that was made for it, gone when this is dropped.
    _made: Option<Scratch>,
}

/// The right answer to a task, as its set tells it.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A unified diff.
    Diff(Vec<u8>),
    /// Words with edits in them.
    Reply(String),
    /// Whole files.
    Files(Patch),
    /// Files of a script that makes it, run in a workspace.
    Script(Patch),
}

impl Answer {
    /// The answer as a patch of the base.
    pub async fn patch(&self, verifier: &Verifier) -> Result<Patch> {
        let base = &verifier.workshop.snapshot;
        match self {
            Answer::Diff(diff) => given::from_diff(diff, base),
            Answer::Files(patch) => Ok(patch.clone()),
            Answer::Script(files) => harbor::solve(files, verifier).await,
            Answer::Reply(text) => {
                let edits = edit::read(text, &|path| base.file(path).ok().flatten());
                ensure!(edits.problems.is_empty(), "the answer does not fit: {}", edits.complaint());
                ensure!(!edits.patch.is_empty(), "the answer holds no edit");
                Ok(edits.patch)
            }
        }
    }
}

/// Reads a set: a task's folder, a folder of such folders (Harbor's are such, too), a JSONL file, a folder of JSONL
/// files, or exercism tracks. What cannot be run, whatever is installed, is left out.
/// Repositories of SWE-bench instances are looked for in `mirrors`, and else fetched from where they live.
pub fn read(place: &Path, mirrors: Option<&Path>) -> Result<Set> {
    let place = place.canonicalize().with_context(|| format!("failed to open {}", place.display()))?;
    let (mut tasks, mut left_out) = (Vec::new(), Vec::new());
    if place.is_file() {
        read_lines(&place, mirrors, &mut tasks)?;
    } else if is_task(&place) {
        tasks.push(folder(place.clone())?);
    } else if harbor::is_task(&place) {
        harbor(place.clone(), &mut tasks, &mut left_out)?;
    } else {
        for inside in listed(&place)? {
            if inside.is_dir() && is_task(&inside) {
                tasks.push(folder(inside)?);
            } else if inside.is_dir() && harbor::is_task(&inside) {
                harbor(inside, &mut tasks, &mut left_out)?;
            } else if inside.is_file() && inside.extension().is_some_and(|end| end == "jsonl") {
                read_lines(&inside, mirrors, &mut tasks)?;
            }
        }
        for exercise in exercism::found(&place)? {
            tasks.push(self::exercise(exercise)?);
        }
    }
    ensure!(
        !(tasks.is_empty() && left_out.is_empty()),
        "{} holds no task: neither task.toml folders nor *.jsonl nor exercises of a track",
        place.display()
    );
    let mut seen = BTreeSet::new();
    for task in tasks.iter().chain(left_out.iter().map(|(task, _)| task)) {
        ensure!(seen.insert(&task.id), "two tasks of {} are called {}", place.display(), one_line(&task.id));
    }
    Ok(Set { tasks, left_out })
}

fn harbor(place: PathBuf, tasks: &mut Vec<Entry>, left_out: &mut Vec<(Entry, String)>) -> Result<()> {
    let id = place.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let mut hasher = Sha256::new();
    digest(&place, &place, &mut hasher)?;
    let harbor = harbor::Harbor::read(place)?;
    let why = harbor.why_not();
    let entry = Entry { id, hash: hex(&hasher.finalize()), origin: Origin::Harbor(harbor.into()) };
    match why {
        None => tasks.push(entry),
        Some(why) => left_out.push((entry, why)),
    }
    Ok(())
}

impl Set {
    /// SHA-256 over all tasks, those that are left out as well: what can be run may differ by machine.
    pub fn hash(&self) -> String {
        let out = self.left_out.iter().map(|(task, _)| task);
        let mut all: Vec<&Entry> = self.tasks.iter().chain(out).collect();
        all.sort_by(|one, other| one.id.cmp(&other.id));
        let mut hasher = Sha256::new();
        for task in all {
            hasher.update(format!("{}\0{}\n", task.id, task.hash));
        }
        hex(&hasher.finalize())
    }

    /// Whether a task needs an image.
    pub fn wants_images(&self) -> bool {
        self.tasks.iter().any(|task| matches!(task.origin, Origin::Harbor(_)))
    }

    /// Leaves out the tasks that this machine cannot run: those whose image it does not have.
    pub async fn leave_out(&mut self, door: &Door) {
        let mut kept = Vec::new();
        for task in std::mem::take(&mut self.tasks) {
            let image = match &task.origin {
                Origin::Harbor(harbor) => harbor.image(),
                _ => None,
            };
            let why = match image.map(|image| (door.contain)(image)) {
                None => None,
                Some(Err(error)) => Some(format!("{error:#}")),
                Some(Ok(sandbox)) => sandbox.lacks_image().await,
            };
            match why {
                None => kept.push(task),
                Some(why) => self.left_out.push((task, why)),
            }
        }
        self.tasks = kept;
    }

    /// The task of this name.
    pub fn task(&self, id: &str) -> Option<&Entry> {
        self.tasks.iter().find(|task| task.id == id)
    }
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut entries: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    Ok(entries)
}

/// Whether a folder has a `task.toml` of ours: other tools use the name too.
fn is_task(folder: &Path) -> bool {
    text_of(folder).is_some()
}

fn text_of(folder: &Path) -> Option<String> {
    let bytes = workspace::read_beneath(folder, "task.toml", 1 << 20).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.lines().any(|line| line.trim_start().starts_with("regreen =")).then_some(text)
}

/// A task's folder.
pub(super) fn folder(place: PathBuf) -> Result<Entry> {
    let task = folder_task(&place)?;
    let name = place.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let id = if task.id.is_empty() { name } else { task.id };
    let mut hasher = Sha256::new();
    digest(&place, &place, &mut hasher)?;
    Ok(Entry { id, hash: hex(&hasher.finalize()), origin: Origin::Folder(place) })
}

fn exercise(place: PathBuf) -> Result<Entry> {
    let mut hasher = Sha256::new();
    digest(&place, &place, &mut hasher)?;
    let exercise = exercism::Exercise::read(place)?;
    Ok(Entry { id: exercise.id(), hash: hex(&hasher.finalize()), origin: Origin::Exercise(exercise.into()) })
}

fn folder_task(place: &Path) -> Result<Task> {
    let text = text_of(place).with_context(|| format!("{} has no task.toml", place.display()))?;
    let task: Task = toml::from_str(&text)
        .with_context(|| format!("{} is not a task", place.join("task.toml").display()))?;
    ensure!(
        task.regreen == task::FORMAT,
        "{} has format {}; this regreen reads {}",
        place.join("task.toml").display(),
        task.regreen,
        task::FORMAT
    );
    ensure!(
        !task.shows_oracles(&place.join("task.toml"), place),
        "{} is part of the source and its [[oracle]] tables with it, where everybody sees them",
        place.join("task.toml").display()
    );
    Ok(task)
}

/// Adds names, kinds and bytes of everything below a folder, in order; what builds leave is not told apart.
fn digest(root: &Path, folder: &Path, hasher: &mut Sha256) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    for path in listed(folder)? {
        let data = path.symlink_metadata()?;
        let inside = path.strip_prefix(root).unwrap_or(&path);
        let kind = if data.is_symlink() {
            "link"
        } else if data.is_dir() {
            "folder"
        } else if data.permissions().mode() & 0o100 != 0 {
            "program"
        } else {
            "file"
        };
        hasher.update(inside.as_os_str().as_bytes());
        hasher.update(format!("\0{kind} {}\0", if data.is_file() { data.len() } else { 0 }));
        if data.is_symlink() {
            hasher.update(std::fs::read_link(&path)?.as_os_str().as_bytes());
        } else if data.is_dir() && path.file_name().is_none_or(|name| name != ".git") {
            digest(root, &path, hasher)?;
        } else if data.is_file() {
            feed(&path, hasher)?;
        }
    }
    Ok(())
}

/// Reads a JSONL file, whose format its first line tells.
fn read_lines(file: &Path, mirrors: Option<&Path>, tasks: &mut Vec<Entry>) -> Result<()> {
    let data = std::fs::metadata(file)?;
    ensure!(data.len() <= LARGEST, "{} is larger than {} MiB", file.display(), LARGEST >> 20);
    let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let entry = entry(line, mirrors).with_context(|| format!("{}:{}", file.display(), at + 1))?;
        tasks.push(entry);
    }
    Ok(())
}

fn entry(line: &str, mirrors: Option<&Path>) -> Result<Entry> {
    let value: Value = serde_json::from_str(line).context("not JSON")?;
    let hash = hex(&Sha256::digest(line.as_bytes()));
    if value.get("instance_id").is_some() {
        let instance = swe::Instance::read(value, mirrors)?;
        return Ok(Entry { id: instance.id.clone(), hash, origin: Origin::SweBench(instance.into()) });
    }
    if value.get("buggy_solution").is_some() {
        let bug = humaneval::Bug::read(value)?;
        return Ok(Entry { id: bug.task_id.clone(), hash, origin: Origin::HumanEvalFix(bug.into()) });
    }
    bail!(
        "neither a SWE-bench instance (instance_id) nor a HumanEvalFix bug (buggy_solution): {}",
        clip(line, 80)
    )
}

impl Entry {
    /// Makes what the task needs on the disk, in the door's cache.
    pub async fn open(&self, door: &Door) -> Result<Opened> {
        let cache = &door.cache;
        let mut opened = match &self.origin {
            Origin::Folder(place) => open_folder(place)?,
            Origin::Exercise(exercise) => exercise.open(cache)?,
            Origin::Harbor(harbor) => harbor.open(door).await?,
            Origin::HumanEvalFix(bug) => bug.open(cache)?,
            Origin::SweBench(instance) => instance.open(cache)?,
        };
        opened.task.id.clone_from(&self.id);
        Ok(opened)
    }
}

fn open_folder(place: &Path) -> Result<Opened> {
    let task = folder_task(place)?;
    let held_out = place.join("held-out");
    let held_out = held_out.is_dir().then(|| verify::read_held_out(&held_out)).transpose()?;
    let gold = workspace::read_beneath(place, "gold.patch", given::LARGEST as u64);
    let answer = match gold {
        Ok(diff) => Some(Answer::Diff(diff)),
        // The last of a fixture's scripted replies is the right one.
        Err(_) => last_reply(&place.join("replies"))?.map(Answer::Reply),
    };
    let mut cheats = Vec::new();
    if place.join("cheats").is_dir() {
        for file in listed(&place.join("cheats"))? {
            if file.extension().is_some_and(|end| end == "patch") {
                cheats.push(std::fs::read(&file)?);
            }
        }
    }
    Ok(Opened { task, beside: place.to_owned(), held_out, answer, cheats, _made: None })
}

fn last_reply(folder: &Path) -> Result<Option<String>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u32>().ok();
    let last = listed(folder)?.into_iter().filter(|path| number(path).is_some()).max_by_key(number);
    last.map(|file| {
        std::fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))
    })
    .transpose()
}

/// A repository made for a task.
fn made(task: Task, folder: Scratch, answer: Option<Answer>) -> Result<Opened> {
    let beside = folder.folder.clone();
    let repository = beside.join(SOURCE);
    // A repository of its own: what lies around the cache folder has no say in which files belong to it.
    let mut options = git2::RepositoryInitOptions::new();
    options.external_template(false);
    git2::Repository::init_opts(&repository, &options)?;
    let source = task::Source { path: SOURCE.to_owned(), rev: None };
    let task = Task { regreen: task::FORMAT, source, ..task };
    Ok(Opened { task, beside, held_out: None, answer, cheats: Vec::new(), _made: Some(folder) })
}

/// The folder of a made repository, within its scratch folder.
const SOURCE: &str = "task";
