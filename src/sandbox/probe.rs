//! Which boxes work on this machine: each is tried with a real command, since a kernel that says yes to one call
//! may say no to the next.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{Container, Host, Level, Policy, Sandbox};
use crate::process::{self, Command, Finished, Limits};
use crate::workspace::Workspace;

/// What was found out about one level.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The level.
    pub level: Level,
    /// Whether a command ran in it.
    pub works: bool,
    /// Why not, and what to do about it; empty if it works.
    pub why: String,
}

/// Tries every level with this very program as launcher, the strongest first.
pub fn probe(host: &Host) -> Vec<Probe> {
    let Sandbox { launcher, .. } = Sandbox::new(Level::None, Host::default());
    probe_with(host, &launcher)
}

/// Tries every level with a launcher, the strongest first.
pub fn probe_with(host: &Host, launcher: &Path) -> Vec<Probe> {
    [Level::Namespaces, Level::Landlock, Level::Container, Level::None]
        .map(|level| probe_level(level, host, launcher))
        .to_vec()
}

/// The strongest box that works; never none at all, which only a person may choose.
pub fn strongest(probes: &[Probe]) -> Option<Level> {
    let mut boxes = probes.iter().filter(|probe| !matches!(probe.level, Level::Container | Level::None));
    boxes.find(|probe| probe.works).map(|probe| probe.level)
}

impl Sandbox {
    /// The strongest level that works here; never none at all, which only a person may choose.
    pub fn strongest(host: &Host, launcher: &Path) -> Option<Level> {
        [Level::Namespaces, Level::Landlock]
            .into_iter()
            .find(|level| probe_level(*level, host, launcher).works)
    }
}

fn probe_level(level: Level, host: &Host, launcher: &Path) -> Probe {
    // A thread of its own, since this may be called from within a runtime, where none other can wait.
    let tried = std::thread::scope(|scope| scope.spawn(|| wait_for(canary(level, host, launcher))).join());
    let why = match tried {
        Ok(Ok(())) => String::new(),
        Ok(Err(error)) => explained(level, &format!("{error:#}")),
        Err(_) => "the probe failed".to_owned(),
    };
    Probe { level, works: why.is_empty(), why }
}

fn wait_for(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Writes a file in the box. Of a container, whose image is not known here, the engine is asked.
async fn canary(level: Level, host: &Host, launcher: &Path) -> Result<()> {
    if level == Level::Container {
        return Container::new("any", None, &host.path)?.answer(host).await;
    }
    let sandbox = Sandbox { launcher: launcher.to_owned(), ..Sandbox::new(level, host.clone()) };
    let argv = ["/bin/sh", "-c", ": > written"].map(OsString::from);
    let trial = sandbox.try_out(&argv, false).await?;
    let Finished { exit, .. } = &trial.finished;
    anyhow::ensure!(exit.success(), "{exit}: {}", trial.finished.log(500)?);
    Ok(())
}

impl Container {
    /// Fails with what the engine says when it does not work.
    async fn answer(&self, host: &Host) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let env = [("HOME", host.home.clone().into_os_string()), ("PATH", std::env::join_paths(&host.path)?)];
        let command = Command {
            argv: self.info(),
            dir: folder.path().to_owned(),
            env: env.map(|(key, value)| (key.into(), value)).to_vec(),
            input: Vec::new(),
            limits: Limits { wall: Duration::from_secs(20), ..Limits::default() },
            logs: folder.path().to_owned(),
        };
        let finished = process::run(&command).await?;
        anyhow::ensure!(finished.exit.success(), "{}: {}", finished.exit, finished.log(500)?);
        Ok(())
    }
}

/// A command that was tried out.
#[derive(Debug)]
pub struct Trial {
    /// How it ended; what it wrote is kept as long as this lives.
    pub finished: Finished,
    _folder: tempfile::TempDir,
}

impl Sandbox {
    /// Runs a command in an empty workspace: for people who want to see what a box shows or costs.
    pub async fn try_out(&self, argv: &[OsString], network: bool) -> Result<Trial> {
        let folder = tempfile::tempdir()?;
        let workspace = Workspace::empty(folder.path().join("work"))?;
        let command = Command {
            argv: argv.to_vec(),
            dir: workspace.tree(),
            env: Vec::new(),
            input: Vec::new(),
            limits: Limits { wall: Duration::from_mins(1), ..Limits::default() },
            logs: folder.path().to_owned(),
        };
        let policy = Policy {
            workspace: &workspace,
            readable: Vec::new(),
            writable: Vec::new(),
            caches: Vec::new(),
            network,
            served: false,
        };
        let finished = process::run(&self.wrap(command, &policy)?).await?;
        Ok(Trial { finished, _folder: folder })
    }
}

/// A failure with what a person can do about it.
fn explained(level: Level, error: &str) -> String {
    let remedy = match level {
        Level::Namespaces => namespaces_remedy(),
        Level::Landlock => Some("Landlock needs Linux 6.2 or later, started with `landlock` in `lsm=`"),
        Level::Container => {
            Some("a task that names an image needs podman, or docker with its service running")
        }
        Level::None => None,
    };
    match remedy {
        Some(remedy) => format!("{error}; {remedy}"),
        None => error.to_owned(),
    }
}

fn namespaces_remedy() -> Option<&'static str> {
    let is = |path: &str, value: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        Some(
            "AppArmor forbids user namespaces to programs without a profile: \
             `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` allows them",
        )
    } else if is("/proc/sys/user/max_user_namespaces", "0") {
        Some("`sudo sysctl user.max_user_namespaces=10000` allows user namespaces")
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        Some("`sudo sysctl kernel.unprivileged_userns_clone=1` allows user namespaces")
    } else if Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists() {
        Some(
            "inside a container, its own rules forbid namespaces: \
             `--security-opt seccomp=unconfined --security-opt systempaths=unconfined` allows them",
        )
    } else {
        None
    }
}
