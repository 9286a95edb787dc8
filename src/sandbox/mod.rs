//! The sandbox decides what a command can reach. [`Sandbox::wrap`] turns a command into the same command in
//! a box; nothing that comes from a repository or a model runs without passing through it.
//!
//! A box is this very program, started once more as a *launcher* ([`launch_if_asked`]), which fences itself
//! in and then becomes the command. Paths are the same inside and outside. `launch` is the order of events,
//! `root` the file system of a box, `fence` Landlock, `filter` seccomp, `probe` finds out what works here.

mod fence;
mod container;
mod crowd;
mod disk;
mod filter;
mod image;
mod launch;
mod probe;
mod relay;
mod root;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mounts;
use crate::process::Command;
use crate::workspace::Workspace;

pub use container::Container;
pub use launch::launch_if_asked;
pub use probe::{Probe, Trial, probe, probe_with, strongest};
pub use relay::{Questions, Said};

/// How strong the box is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Linux namespaces, a root of read-only binds, seccomp and Landlock.
    Namespaces,
    /// Landlock, seccomp and limits, where user namespaces are forbidden.
    Landlock,
    /// A container with the task's image, made by podman or docker.
    Container,
    /// No box at all.
    None,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Level::Namespaces => "namespaces",
            Level::Landlock => "landlock",
            Level::Container => "container",
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
    /// The program whose `main` calls [`launch_if_asked`] first.
    pub launcher: PathBuf,
    /// What [`Level::Container`] runs.
    pub container: Option<Container>,
}

/// What one command may reach.
#[derive(Clone, Debug)]
pub struct Policy<'a> {
    /// The tree it works in, writable. A command's folder may be given as a path in it.
    pub workspace: &'a Workspace,
    /// Other folders that it may read.
    pub readable: Vec<PathBuf>,
    /// Other folders that it may write: where its result files go.
    pub writable: Vec<PathBuf>,
    /// Download caches in the user's home, relative to it, that appear read-only in the private home.
    pub caches: Vec<String>,
    /// Whether it has the network.
    pub network: bool,
    /// Whether it is a server, which is asked the [`Questions`] on the command's stdin. What it answers goes to
    /// stdout, a [`Said`] a line.
    pub served: bool,
}

impl Sandbox {
    /// A box of this strength, launched by this very program.
    pub fn new(level: Level, host: Host) -> Sandbox {
        Sandbox {
            level,
            host,
            // The link leads to this program also when its file has been replaced meanwhile.
            launcher: "/proc/self/exe".into(),
            container: None,
        }
    }

    /// Whether a server can be asked in it: one needs a loopback, and the other end of it needs regreen.
    pub fn serves(&self) -> bool {
        matches!(self.level, Level::Namespaces | Level::None)
    }

    /// The same command, in the box. `HOME`, `TMPDIR` and `PATH` are set here.
    pub fn wrap(&self, command: Command, policy: &Policy) -> Result<Command> {
        let env = self.environment(&command, policy)?;
        // A folder of its own for every command: what the launcher has to say is then about this command.
        let logs = tempfile::Builder::new()
            .prefix("box-")
            .tempdir_in(&command.logs)
            .with_context(|| format!("failed to make a folder in {}", command.logs.display()))?
            .keep();
        let spec = self.spec(&command, policy, &logs)?;
        let mut argv = vec![
            self.launcher.clone().into_os_string(),
            launch::WORD.into(),
            serde_json::to_string(&spec)?.into(),
        ];
        argv.extend(command.argv);
        Ok(Command {
            argv,
            // The command's folder may exist in the box only.
            dir: PathBuf::from("/"),
            env,
            // The launcher reads nothing of it and hands it on.
            input: command.input,
            limits: command.limits,
            logs,
        })
    }

    /// The command's environment under names that mean nothing to the launcher, which is outside of the box:
    /// `LD_PRELOAD` of a hostile repository must not reach it.
    fn environment(&self, command: &Command, policy: &Policy) -> Result<Vec<(OsString, OsString)>> {
        let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
        env.extend(self.host.env.iter().map(|(key, value)| (key.into(), value.into())));
        env.insert("PATH".into(), std::env::join_paths(&self.host.path)?);
        let seen = |path: PathBuf| policy.workspace.seen(&path).into_os_string();
        env.insert("HOME".into(), seen(policy.workspace.home()));
        env.insert("TMPDIR".into(), seen(policy.workspace.tmp()));
        env.insert("LANG".into(), "C.UTF-8".into());
        // Every login has a name: where there is none, a program could tell that it is in a box.
        for name in ["USER", "LOGNAME"] {
            env.insert(name.into(), "user".into());
        }
        // It may name credential helpers, and is not shown.
        env.insert("GIT_CONFIG_NOSYSTEM".into(), "1".into());
        env.extend(command.env.iter().cloned());
        let disguised = env.into_iter().map(|(key, value)| {
            let mut name = OsString::from(launch::PREFIX);
            name.push(key);
            (name, value)
        });
        Ok(disguised.collect())
    }

    fn spec(&self, command: &Command, policy: &Policy, logs: &Path) -> Result<Spec> {
        let workspace = policy.workspace;
        let (roots, limits) = (self.roots(), &command.limits);
        let owner = match self.level {
            Level::Namespaces | Level::Container => mounts::owner(),
            // Nothing is bound elsewhere here, and another user may not even reach the home of root.
            Level::Landlock => {
                let reached = |path: &Path| root::open_to_all(path);
                mounts::owner()
                    .filter(|_| reached(workspace.root()) && roots.iter().all(|path| reached(path)))
            }
            Level::None => None,
        };
        let caches = policy.caches.iter().filter(|cache| self.host.home.join(cache).exists());
        let shared = caches.map(|cache| -> Result<Share> {
            let added = workspace.share(cache)?;
            Ok(Share {
                from: self.host.home.join(cache),
                to: workspace.seen(&workspace.home().join(cache)),
                below: added.below,
                own: added.own,
            })
        });
        let own = [workspace.tree(), workspace.home(), workspace.tmp()];
        let own = own.map(|from| Bind { to: workspace.seen(&from), from });
        let others = policy.writable.iter().map(|path| Bind { from: path.clone(), to: path.clone() });
        let container = self.container.clone().filter(|_| self.level == Level::Container);
        let shown =
            container.as_ref().map(|container| container.shown_in(&workspace.tree())).unwrap_or_default();
        ensure!(!policy.served || self.serves(), "a server cannot be asked in this box");
        ensure!(
            container.is_some() || self.level != Level::Container,
            "a container needs an image: name it with --image, or `image` in task.toml"
        );
        // The image has its own toolchains.
        let roots = if container.is_some() { Vec::new() } else { roots };
        Ok(Spec {
            level: self.level,
            container,
            user_home: self.host.home.clone(),
            parent: std::process::id(),
            owner,
            dir: workspace.seen(&command.dir),
            home: workspace.seen(&workspace.home()),
            tmp: workspace.tmp(),
            readable: roots.into_iter().chain(policy.readable.iter().cloned()).collect(),
            writable: own.into_iter().chain(others).chain(shown).collect(),
            shared: shared.collect::<Result<_>>()?,
            network: policy.network,
            served: policy.served,
            logs: logs.to_owned(),
            cpu: limits.cpu.map(|time| time.as_secs().max(1)),
            memory: limits.memory.or_else(most_memory),
            processes: limits.processes.or(Some(PROCESSES)),
            file_size: limits.file_size.or(Some(FILE_SIZE)),
            disk: limits.disk.unwrap_or(DISK),
            written: workspace.written().into_iter().chain(policy.writable.iter().cloned()).collect(),
        })
    }

    /// Where the toolchains stand: nothing of the home but what is known to hold one.
    fn roots(&self) -> Vec<PathBuf> {
        let home = &self.host.home;
        let named = self.host.env.values().map(PathBuf::from).filter(|path| path.is_absolute());
        let known = TOOLCHAINS.iter().map(|folder| home.join(folder));
        let mut roots: Vec<PathBuf> = self
            .host
            .path
            .iter()
            .cloned()
            .chain(named)
            .chain(known)
            .filter(|path| !home.starts_with(path) && path.is_absolute() && path.exists())
            .collect();
        roots.sort();
        // A folder's contents come with it.
        roots.dedup_by(|later, earlier| later.starts_with(&*earlier));
        roots
    }
}

/// Processes and threads that no build needs more of.
const PROCESSES: u64 = 8192;

/// Bytes that no build writes into one file.
const FILE_SIZE: u64 = 16 << 30;

/// Bytes that no build leaves on the disk.
const DISK: u64 = 32 << 30;

/// Most of the memory that is to be had now: what breaks this bound would make the kernel end something, and
/// that may be anything on the machine.
pub fn most_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    // Inside of a container there may be less.
    let own = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let own =
        own.iter().filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()).min();
    Some((kibibytes << 10).min(own.unwrap_or(u64::MAX)) / 10 * 9)
}

/// Folders in the user's home that hold toolchains and nothing private.
const TOOLCHAINS: &[&str] = &[
    ".asdf",
    ".bun/bin",
    ".deno/bin",
    ".fnm",
    ".goenv",
    ".jabba",
    ".jdks",
    ".jenv",
    ".local/bin",
    ".local/lib",
    ".local/share/fnm",
    ".local/share/mise",
    ".local/share/pnpm",
    ".local/share/uv",
    ".nodenv",
    ".nvm",
    ".plenv",
    ".pyenv",
    ".rbenv",
    ".rustup",
    ".rye",
    ".sdkman/candidates",
    ".volta",
    "miniconda3",
    "sdk",
];

/// What the launcher is told, as JSON in its arguments; no secrets.
#[derive(Debug, Serialize, Deserialize)]
struct Spec {
    level: Level,
    container: Option<Container>,
    /// The home of whoever started regreen, where the container engine keeps its images.
    user_home: PathBuf,
    /// The process whose end ends the box.
    parent: u32,
    /// Whom the command runs as, if not as the user who started regreen.
    owner: Option<u32>,
    dir: PathBuf,
    /// The private home, where the command sees it.
    home: PathBuf,
    /// What the command sees as `/tmp` too.
    tmp: PathBuf,
    readable: Vec<PathBuf>,
    writable: Vec<Bind>,
    shared: Vec<Share>,
    network: bool,
    served: bool,
    logs: PathBuf,
    cpu: Option<u64>,
    memory: Option<u64>,
    processes: Option<u64>,
    file_size: Option<u64>,
    disk: u64,
    /// Where what it writes lies.
    written: Vec<PathBuf>,
}

/// A folder, and where the command sees it.
#[derive(Debug, Serialize, Deserialize)]
struct Bind {
    from: PathBuf,
    to: PathBuf,
}

/// A folder of the user's that the command sees at another place. What it adds there stays in the workspace.
#[derive(Debug, Serialize, Deserialize)]
struct Share {
    from: PathBuf,
    to: PathBuf,
    /// What earlier commands added, the latest first.
    below: Vec<PathBuf>,
    /// The folder for what it adds now.
    own: PathBuf,
}
