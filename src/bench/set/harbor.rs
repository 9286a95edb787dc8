//! Harbor's task folders (`task.toml` 1.4; terminal-bench's are the same): an image, an instruction, tests and a
//! solution. The base is what the image holds in its work folder; tests and solution lie in a folder of their own
//! beside it, and appear where Harbor puts them. All of it runs in containers of the image alone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Answer, Opened, SOURCE, made};
use crate::bench::Door;
use crate::patch::{File, FileKind, Patch, RepoPath};
use crate::process;
use crate::sandbox::Policy;
use crate::task::{Limits, Task};
use crate::verify::Verifier;
use crate::workspace::{self, Scratch};

/// The folder of tests, logs and solution within the tree.
const ASIDE: &str = ".harbor";

/// Bytes of one text that are read.
const LARGEST: u64 = 4 << 20;

/// A task folder.
#[derive(Debug)]
pub struct Harbor {
    folder: PathBuf,
    config: Config,
}

/// The part of `task.toml` that is understood here; Harbor has the whole schema.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    environment: Environment,
    verifier: Verification,
    steps: Option<Vec<toml::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Environment {
    docker_image: Option<String>,
    os: Option<String>,
    gpus: Option<u64>,
    tpu: Option<toml::Value>,
    memory_mb: Option<u64>,
    storage_mb: Option<u64>,
    mcp_servers: Vec<toml::Value>,
    env: BTreeMap<String, String>,
    healthcheck: Option<toml::Value>,
    workdir: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Verification {
    environment_mode: Option<String>,
    environment: Option<toml::Value>,
    env: BTreeMap<String, String>,
    collect: Vec<toml::Value>,
}

/// Whether a folder is a task of Harbor's.
pub fn is_task(folder: &Path) -> bool {
    ["task.toml", "instruction.md"].iter().all(|file| workspace::open_beneath(folder, file).is_ok())
        && folder.join("environment").is_dir()
}

impl Harbor {
    /// Reads a task folder. Fails when its `task.toml` does not parse.
    pub fn read(folder: PathBuf) -> Result<Harbor> {
        let text = String::from_utf8(workspace::read_beneath(&folder, "task.toml", LARGEST)?)?;
        let config = toml::from_str(&text)
            .with_context(|| format!("{} is no task of Harbor's", folder.join("task.toml").display()))?;
        Ok(Harbor { folder, config })
    }

    /// The image.
    pub fn image(&self) -> Option<&str> {
        self.config.environment.docker_image.as_deref().filter(|image| !image.is_empty())
    }

    /// Why it cannot be run, whatever is installed.
    pub fn why_not(&self) -> Option<String> {
        let (environment, verifier) = (&self.config.environment, &self.config.verifier);
        let foreign =
            environment.env.values().chain(verifier.env.values()).find(|value| value.contains("${"));
        let composed = ["docker-compose.yaml", "docker-compose.yml"]
            .iter()
            .any(|name| self.folder.join("environment").join(name).exists());
        let why = if self.config.steps.as_ref().is_some_and(|steps| !steps.is_empty()) {
            "it has several steps, and here one answer is judged"
        } else if environment.os.as_deref().is_some_and(|os| os != "linux") {
            "it is not for Linux"
        } else if environment.gpus.is_some_and(|gpus| gpus > 0) || environment.tpu.is_some() {
            "it wants graphics or tensor processors"
        } else if composed {
            "it consists of several containers"
        } else if !environment.mcp_servers.is_empty() || environment.healthcheck.is_some() {
            "it wants servers beside it"
        } else if verifier.environment.is_some()
            || verifier.environment_mode.as_deref().is_some_and(|mode| mode != "shared")
            || !verifier.collect.is_empty()
        {
            "its tests want a container of their own"
        } else if foreign.is_some() {
            "it takes variables of the host"
        } else if workspace::open_beneath(&self.folder, "tests/test.sh").is_err() {
            "it has no tests/test.sh"
        } else if self.image().is_none() {
            "it names no docker_image: build its environment folder with a container engine, and name that image in its task.toml"
        } else {
            return None;
        };
        Some(why.to_owned())
    }

    /// Takes the work folder out of the image, and puts tests beside it.
    pub async fn open(&self, door: &Door) -> Result<Opened> {
        let image = self.image().context("it names no docker_image")?;
        let sandbox = (door.contain)(image)?;
        let work = match &self.config.environment.workdir {
            Some(work) => work.clone(),
            None => sandbox.image_work_folder().await?,
        };
        ensure!(
            work.starts_with('/') && !work.trim_matches('/').is_empty() && !work.contains(','),
            "its work folder, {work:?}, cannot be a repository"
        );
        let folder = Scratch::new(&door.cache)?;
        let root = folder.folder.join(SOURCE);
        std::fs::create_dir(&root)?;
        sandbox.copy_out_of_image(&work, &root).await?;
        ensure!(root.join(ASIDE).symlink_metadata().is_err(), "its work folder has a {ASIDE} of its own");
        for empty in ["logs/verifier", "logs/agent", "solution", "tests"] {
            std::fs::create_dir_all(root.join(ASIDE).join(empty))?;
        }
        let mut files = self.files("tests")?;
        files.0.insert(at("logs/verifier/README")?, Some(File::plain("What tests write.\n")));
        workspace::apply_beneath(&root, &files)?;
        let appears = |name: &str| (format!("/{name}"), format!("{ASIDE}/{name}"));
        let mut shown: BTreeMap<String, String> = ["tests", "logs", "solution"].map(appears).into();
        shown.insert(work, String::new());
        let instruction = workspace::read_beneath(&self.folder, "instruction.md", LARGEST)?;
        let environment = &self.config.environment;
        let mut variables = environment.env.clone();
        variables.extend(self.config.verifier.env.clone());
        let task = Task {
            statement: Some(String::from_utf8_lossy(&instruction).into_owned()),
            protected: vec![format!("{ASIDE}/**")],
            image: Some(image.to_owned()),
            environment: variables,
            test_cmd: Some(vec!["sh".to_owned(), "-c".to_owned(), TEST.to_owned()]),
            limits: Limits {
                memory_mib: environment.memory_mb,
                disk_mib: environment.storage_mb,
                ..Limits::default()
            },
            shown,
            ..Task::default()
        };
        let solution = self.files("solution")?;
        let answer = solution.0.contains_key(&at("solution/solve.sh")?).then_some(Answer::Script(solution));
        made(task, folder, answer)
    }

    /// The files of a part of the task, where they stand in the tree; scripts are executable.
    fn files(&self, part: &str) -> Result<Patch> {
        let mut files = Patch::default();
        let root = self.folder.join(part);
        if !root.is_dir() {
            return Ok(files);
        }
        workspace::walk(&root, &mut |path, data| {
            if !data.is_dir() {
                let path = workspace::relative(&self.folder, path).context("a file's name is not UTF-8")?;
                let file = workspace::read_file(&self.folder, &path)?;
                let mut file = file.with_context(|| format!("failed to read {path}"))?;
                if Path::new(path.as_str()).extension().is_some_and(|end| end == "sh")
                    && file.kind == FileKind::Plain
                {
                    file.kind = FileKind::Executable;
                }
                files.0.insert(at(path.as_str())?, Some(file));
            }
            Ok(true)
        })?;
        Ok(files)
    }
}

/// A file of the task in the tree.
fn at(path: &str) -> Result<RepoPath> {
    RepoPath::new(&format!("{ASIDE}/{path}"))
}

const TEST: &str = include_str!("../../../harness/bench/harbor.sh");

/// Runs a solution in a workspace; what it changed is the right answer.
pub async fn solve(solution: &Patch, verifier: &Verifier) -> Result<Patch> {
    let workshop = &verifier.workshop;
    let workspace = workshop.workspace()?;
    workspace.apply(solution)?;
    let logs = tempfile::tempdir().context("failed to make a folder for a solution's output")?;
    let command = process::Command {
        argv: vec![OsString::from("/solution/solve.sh")],
        dir: workspace.tree(),
        env: verifier.task.environment.iter().map(|(key, value)| (key.into(), value.into())).collect(),
        input: Vec::new(),
        limits: process::Limits::of(process::Limits::default().wall, &verifier.task.limits),
        logs: logs.path().to_owned(),
    };
    let policy = Policy {
        workspace: &workspace,
        readable: Vec::new(),
        writable: Vec::new(),
        caches: Vec::new(),
        network: false,
        served: false,
    };
    let finished = process::run(&verifier.sandbox.wrap(command, &policy)?).await?;
    ensure!(finished.exit.success(), "its solution failed: {}: {}", finished.exit, finished.log(400)?);
    let mut patch = workspace.changes(&workshop.snapshot)?;
    patch.0.retain(|path, _| !path.as_str().starts_with(&format!("{ASIDE}/")));
    ensure!(!patch.is_empty(), "its solution changes nothing in the work folder");
    Ok(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_run_is_said_in_words() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["instruction.md", "tests/test.sh", "environment/Dockerfile"] {
            let place = folder.path().join(file);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, "x\n").unwrap();
        }
        let check = |text: &str, expected: Option<&str>| {
            std::fs::write(folder.path().join("task.toml"), text).unwrap();
            assert!(is_task(folder.path()));
            let why = Harbor::read(folder.path().to_owned()).unwrap().why_not();
            match (why, expected) {
                (None, None) => {}
                (Some(why), Some(part)) => assert!(why.contains(part), "{why}"),
                (why, _) => panic!("{text}: {why:?}"),
            }
        };
        let image =
            "schema_version = \"1.4\"\n[task]\nname = \"a/b\"\n[environment]\ndocker_image = \"shop\"\n";
        check(image, None);
        check("schema_version = \"1.4\"\n[environment]\ncpus = 1\n", Some("names no docker_image"));
        for (more, why) in [
            ("os = \"windows\"\n", "not for Linux"),
            ("gpus = 1\n", "graphics"),
            ("[[environment.mcp_servers]]\nname = \"x\"\n", "servers beside it"),
            ("[environment.env]\nKEY = \"${KEY}\"\n", "variables of the host"),
            ("[verifier]\nenvironment_mode = \"separate\"\n", "container of their own"),
            ("[[steps]]\nname = \"one\"\n", "several steps"),
        ] {
            check(&format!("{image}{more}"), Some(why));
        }
        std::fs::write(folder.path().join("environment/docker-compose.yaml"), "services: {}\n").unwrap();
        check(image, Some("several containers"));
    }
}
