//! A receipt tells a third party everything that a verdict rests on, so that it can be checked again: what the base
//! was, what the patch was, what was left out of it, the tree that was judged, and what each layer said.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use git2::{ObjectType, Oid, Repository, TreeWalkMode, TreeWalkResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::attest::hexadecimal;
use super::{Composed, HeldOut, Judgement, Verifier};
use crate::patch::{File, FileKind, Patch};
use crate::task::{Oracle, Task};
use crate::verdict::{Baseline, Layer, TestId, Verdict};
use crate::workspace::Snapshot;

/// The format number of a receipt.
pub const FORMAT: u32 = 1;

/// What a verdict rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`FORMAT`].
    pub format: u32,
    /// regreen's version.
    pub version: String,
    /// When it was judged: UTC, RFC 3339.
    pub time: String,
    /// The verdict in one word, with its level.
    pub word: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What each layer said, in order.
    pub layers: Vec<Layer>,
    /// Git tree id of the base.
    pub base_tree: String,
    /// Git tree id of what was judged: the base with the patch's product part.
    pub composed_tree: String,
    /// What was left out of the patch.
    pub left_out: Vec<String>,
    /// The patch as it was delivered.
    pub patch: Patch,
    /// The suites of the base.
    pub suites: Vec<String>,
    /// How strong the sandbox was.
    pub sandbox: String,
    /// What the failure of the base is called: a SHA-256 over its tests and its first error.
    pub signature: String,
    /// Tests that had to turn.
    pub targets: BTreeSet<TestId>,
    /// Tests that had to go on passing.
    pub guards: BTreeSet<TestId>,
    /// Tests that decided nothing.
    pub flaky: BTreeSet<TestId>,
    /// Git tree id of the held-out files, if there were any; they themselves are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<String>,
    /// SHA-256 of the oracles, if there were any; they themselves are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oracles: Option<String>,
    /// The task, without its oracles.
    pub task: Task,
}

impl Receipt {
    /// The receipt of a judgement.
    pub fn new(
        verifier: &Verifier,
        baseline: &Baseline,
        patch: &Patch,
        composed: &Composed,
        judgement: &Judgement,
        time: String,
    ) -> Result<Receipt> {
        let held_out = verifier.held_out.as_ref().map(HeldOut::tree).transpose()?;
        Ok(Receipt {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time,
            word: judgement.verdict.word(),
            verdict: judgement.verdict.clone(),
            layers: judgement.layers.clone(),
            base_tree: verifier.workshop.snapshot.tree.clone(),
            composed_tree: composed_tree(&verifier.workshop.snapshot, &composed.product)?,
            left_out: composed.left_out.clone(),
            patch: patch.clone(),
            suites: verifier.suites.iter().map(crate::toolchain::Suite::label).collect(),
            sandbox: verifier.sandbox.level.to_string(),
            signature: super::signature(baseline),
            targets: baseline.targets.clone(),
            guards: baseline.guards.clone(),
            flaky: baseline.flaky.clone(),
            held_out,
            oracles: digest(&verifier.task.oracle)?,
            task: verifier.task.open(),
        })
    }

    /// Reads a receipt. Fails when it is none, or of another format.
    pub fn parse(text: &str) -> Result<Receipt> {
        let receipt: Receipt = serde_json::from_str(text).context("this is not a receipt")?;
        ensure!(
            receipt.format == FORMAT,
            "the receipt has format {}; this regreen reads {FORMAT}",
            receipt.format
        );
        Ok(receipt)
    }

    /// Where a second judgement differs from this one, in sentences: none when the receipt holds.
    pub fn differences(&self, again: &Receipt) -> Vec<String> {
        let pairs = [
            ("base tree", &self.base_tree, &again.base_tree),
            ("composed tree", &self.composed_tree, &again.composed_tree),
            ("verdict", &self.word, &again.word),
            ("tree of held-out tests", &told(self.held_out.as_ref()), &told(again.held_out.as_ref())),
            ("digest of the oracles", &told(self.oracles.as_ref()), &told(again.oracles.as_ref())),
        ];
        let mut differences: Vec<String> = pairs
            .into_iter()
            .filter(|(_, before, after)| before != after)
            .map(|(what, before, after)| format!("the {what} was {before} and is {after}"))
            .collect();
        for (what, before, after) in [
            ("left out", set(&self.left_out), set(&again.left_out)),
            ("targets", self.targets.clone(), again.targets.clone()),
        ] {
            if before != after {
                differences.push(format!("what is {what} differs"));
            }
        }
        differences
    }
}

fn digest(oracles: &[Oracle]) -> Result<Option<String>> {
    let text = serde_json::to_vec(oracles)?;
    Ok((!oracles.is_empty()).then(|| hexadecimal(&Sha256::digest(&text))))
}

fn told(id: Option<&String>) -> String {
    id.cloned().unwrap_or_else(|| "none".to_owned())
}

fn set(texts: &[String]) -> BTreeSet<String> {
    texts.iter().cloned().collect()
}

impl HeldOut {
    /// The git tree id of the files; they themselves are not told.
    pub fn tree(&self) -> Result<String> {
        tree_with(BTreeMap::new(), &self.files)
    }
}

/// Mode and blob id by path.
type Entries = BTreeMap<String, (u32, Oid)>;

/// The git tree id of a snapshot with a patch on top; nothing is written.
pub fn composed_tree(base: &Snapshot, patch: &Patch) -> Result<String> {
    let repository = Repository::open(&base.root)?;
    let tree = repository.find_tree(Oid::from_str(&base.tree)?)?;
    let mut entries = Entries::new();
    tree.walk(TreeWalkMode::PreOrder, |folder, entry| {
        if entry.kind() == Some(ObjectType::Blob) {
            let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
            let mode = u32::try_from(entry.filemode()).unwrap_or(0);
            entries.insert(format!("{folder}{name}"), (mode, entry.id()));
        }
        TreeWalkResult::Ok
    })?;
    tree_with(entries, patch)
}

fn tree_with(mut entries: Entries, patch: &Patch) -> Result<String> {
    for (path, after) in &patch.0 {
        match after {
            None => drop(entries.remove(path.as_str())),
            Some(file) => drop(entries.insert(path.to_string(), entry(file)?)),
        }
    }
    Ok(tree_id(&entries)?.to_string())
}

fn entry(file: &File) -> Result<(u32, Oid)> {
    let mode = match file.kind {
        FileKind::Plain => 0o100_644,
        FileKind::Executable => 0o100_755,
        FileKind::Link => 0o120_000,
    };
    Ok((mode, Oid::hash_object(ObjectType::Blob, &file.content)?))
}

/// The id that git gives a tree with these files.
fn tree_id(entries: &Entries) -> Result<Oid> {
    let mut here: BTreeMap<Vec<u8>, (u32, Oid)> = BTreeMap::new();
    let mut below: BTreeMap<&str, Entries> = BTreeMap::new();
    for (path, file) in entries {
        match path.split_once('/') {
            Some((folder, rest)) => drop(below.entry(folder).or_default().insert(rest.to_owned(), *file)),
            None => drop(here.insert(path.clone().into_bytes(), *file)),
        }
    }
    for (folder, entries) in &below {
        // Git sorts a folder as if its name ended in a slash.
        here.insert(format!("{folder}/").into_bytes(), (0o40_000, tree_id(entries)?));
    }
    let mut bytes = Vec::new();
    for (name, (mode, id)) in &here {
        bytes.extend(format!("{mode:o} ").into_bytes());
        bytes.extend(name.strip_suffix(b"/").unwrap_or(name));
        bytes.push(0);
        bytes.extend(id.as_bytes());
    }
    Ok(Oid::hash_object(ObjectType::Tree, &bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::RepoPath;
    use crate::task::Source;
    use crate::workspace::{Scratch, take};

    #[test]
    fn the_composed_tree_has_the_id_that_git_gives_it() {
        let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = repository.path();
        git2::Repository::init(root).unwrap();
        for (path, text) in [("a.txt", "a"), ("a/b.txt", "b"), ("a/c/d.txt", "d"), ("a-b", "e")] {
            let place = root.join(if path == "a.txt" { "z/a.txt" } else { path });
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, text).unwrap();
        }
        let taken = |root: &std::path::Path| {
            let scratch = Scratch::new(cache.path()).unwrap();
            let source = Source { path: root.to_str().unwrap().to_owned(), rev: None };
            let snapshot = take(&source, std::path::Path::new("/"), false, &scratch).unwrap();
            (scratch, snapshot)
        };
        let (_kept, base) = taken(root);
        assert_eq!(composed_tree(&base, &Patch::default()).unwrap(), base.tree);
        let at = |text| RepoPath::new(text).unwrap();
        let patch = Patch(
            [
                (at("a/b.txt"), None),
                (at("a/c/d.txt"), Some(File::plain("changed"))),
                (at("new/link"), Some(File { kind: FileKind::Link, content: b"../a-b".to_vec() })),
            ]
            .into(),
        );
        crate::workspace::apply_beneath(root, &patch).unwrap();
        let (_kept, after) = taken(root);
        assert_eq!(composed_tree(&base, &patch).unwrap(), after.tree);
    }
}
