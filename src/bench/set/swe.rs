//! SWE-bench instances (Jimenez et al., 2024): a repository at a commit, a patch, and the tests that tell. The base
//! is the commit with the instance's tests laid over it, so that it is red; its repository comes from a folder of
//! mirrors, or from where it lives.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use git2::Repository;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Answer, Opened, SOURCE, made};
use crate::task::Task;
use crate::verdict::TestId;
use crate::workspace::Scratch;

/// A line of a SWE-bench file.
#[derive(Debug, Deserialize)]
pub struct Instance {
    /// `owner__name-123`.
    #[serde(rename = "instance_id")]
    pub id: String,
    repo: String,
    base_commit: String,
    patch: String,
    test_patch: String,
    #[serde(default)]
    problem_statement: String,
    #[serde(rename = "FAIL_TO_PASS", deserialize_with = "ids")]
    fail_to_pass: Vec<TestId>,
    #[serde(rename = "PASS_TO_PASS", deserialize_with = "ids", default)]
    pass_to_pass: Vec<TestId>,
    #[serde(skip)]
    mirrors: Option<PathBuf>,
}

/// Test ids as a list, or as a text that holds one.
fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TestId>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let parsed = match value {
        Value::String(text) => serde_json::from_str(&text),
        other => serde_json::from_value(other),
    };
    parsed.map_err(serde::de::Error::custom)
}

impl Instance {
    /// Reads a line.
    pub fn read(value: Value, mirrors: Option<&Path>) -> Result<Instance> {
        let instance: Instance = serde_json::from_value(value).context("not a SWE-bench instance")?;
        ensure!(!instance.fail_to_pass.is_empty(), "{} has no FAIL_TO_PASS", instance.id);
        let hexadecimal = instance.base_commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        ensure!(hexadecimal && !instance.base_commit.is_empty(), "base_commit is no commit id");
        ensure!(!instance.repo.split('/').any(|part| part == ".."), "{:?} is no repository", instance.repo);
        Ok(Instance { mirrors: mirrors.map(Path::to_owned), ..instance })
    }

    /// Writes the base: the commit, and the instance's tests over it.
    pub fn open(&self, cache: &Path) -> Result<Opened> {
        let folder = Scratch::new(cache)?;
        let root = folder.folder.join(SOURCE);
        std::fs::create_dir(&root)?;
        let repository = self.repository(&folder.folder.join("clone"))?;
        let commit = repository
            .revparse_single(&self.base_commit)
            .and_then(|object| object.peel_to_commit())
            .with_context(|| format!("{} lacks commit {}", self.repo, self.base_commit))?;
        let diff = git2::Diff::from_buffer(self.test_patch.as_bytes())
            .with_context(|| format!("the test patch of {} does not parse", self.id))?;
        let mut index = repository
            .apply_to_tree(&commit.tree()?, &diff, None)
            .with_context(|| format!("the test patch of {} does not apply", self.id))?;
        let mut options = git2::build::CheckoutBuilder::new();
        options.force().target_dir(&root).update_index(false).disable_filters(true);
        repository.checkout_index(Some(&mut index), Some(&mut options))?;
        drop(diff);
        drop(commit);
        drop(repository);
        let _ = std::fs::remove_dir_all(folder.folder.join("clone"));
        let task = Task {
            statement: Some(self.problem_statement.clone()),
            fail_to_pass: self.fail_to_pass.iter().cloned().collect(),
            pass_to_pass: self.pass_to_pass.iter().cloned().collect(),
            ..Task::default()
        };
        made(task, folder, Some(Answer::Diff(self.patch.clone().into_bytes())))
    }

    /// The repository: a mirror of it, or a clone at `place`.
    fn repository(&self, place: &Path) -> Result<Repository> {
        if let Some(mirrors) = &self.mirrors {
            for name in [self.repo.replace('/', "__"), self.repo.replace('/', "+"), self.repo.clone()] {
                for inside in ["", "repo", "repo/.git"] {
                    let options = git2::RepositoryOpenFlags::NO_SEARCH;
                    let none: [&str; 0] = [];
                    let folder = mirrors.join(&name).join(inside);
                    if let Ok(repository) = Repository::open_ext(&folder, options, none) {
                        return Ok(repository);
                    }
                }
            }
        }
        let address = if self.repo.contains("://") {
            self.repo.clone()
        } else {
            format!("https://github.com/{}.git", self.repo)
        };
        let cloned = git2::build::RepoBuilder::new().bare(true).clone(&address, place);
        cloned.with_context(|| format!("failed to clone {address}; name a folder of mirrors with --mirrors"))
    }
}
