//! A box made by a container engine, for tasks that come with an image: the toolchain is the image's, the tree is
//! shown in it. The launcher outlives regreen for as long as it takes to remove the container by its name.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::sys::wait::{WaitStatus, waitpid};
use serde::{Deserialize, Serialize};

use super::Spec;
use crate::{process, sys};

/// Which engine runs which image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The engine's program with its own options, as in `podman --runtime runc`.
    pub engine: Vec<String>,
    /// The image, which must be on this machine.
    pub image: String,
}

/// Engines that are looked for when none is named.
const ENGINES: [&str; 2] = ["podman", "docker"];

impl Container {
    /// An image and the engine to run it: the one that is named, or the first that is installed.
    pub fn new(image: &str, engine: Option<&str>, path: &[PathBuf]) -> Result<Container> {
        let words = match engine {
            Some(engine) => engine.split_whitespace().map(str::to_owned).collect(),
            None => ENGINES
                .iter()
                .find(|name| process::find(name, path).is_some())
                .into_iter()
                .map(|name| (*name).to_owned())
                .collect(),
        };
        Container::with(words, image, path)
    }

    fn with(mut engine: Vec<String>, image: &str, path: &[PathBuf]) -> Result<Container> {
        let program = engine.first().context("no container engine is installed: podman or docker")?;
        let found = process::find(program, path).with_context(|| format!("{program} is not installed"))?;
        engine[0] = found.display().to_string();
        ensure!(!image.is_empty() && !image.starts_with('-'), "{image:?} is no name of an image");
        Ok(Container { engine, image: image.to_owned() })
    }

    fn words(&self, more: &[&str]) -> Vec<OsString> {
        self.engine.iter().map(String::as_str).chain(more.iter().copied()).map(OsString::from).collect()
    }

    /// The command line that asks the engine whether it works.
    pub fn info(&self) -> Vec<OsString> {
        self.words(&["info"])
    }

    /// The command line that removes a container, whatever it is doing.
    pub(super) fn remove(&self, name: &str) -> Vec<OsString> {
        self.words(&["rm", "-f", name])
    }

    /// The command line that runs `argv` in a container. The values of `env` are the engine's own environment.
    pub(super) fn run(
        &self,
        spec: &Spec,
        name: &str,
        argv: &[OsString],
        env: &[(OsString, OsString)],
    ) -> Vec<OsString> {
        let mut words =
            self.words(&["run", "--interactive", "--pull=never", "--read-only", "--cap-drop=ALL"]);
        let mut add = |word: String| words.push(word.into());
        add(format!("--name={name}"));
        add("--security-opt=no-new-privileges".to_owned());
        if !spec.network {
            add("--network=none".to_owned());
        }
        match spec.owner {
            Some(owner) => add(format!("--user={owner}:{owner}")),
            // Without root the engine maps this user to root, unless it is told to keep who they are.
            None => add("--userns=keep-id".to_owned()),
        }
        let processes = spec.processes.unwrap_or(super::PROCESSES);
        add(format!("--pids-limit={processes}"));
        // The engines' own defaults may be more than this machine allows.
        for (name, most) in [("nofile", 4096), ("nproc", processes)] {
            add(format!("--ulimit={name}={most}:{most}"));
        }
        if let Some(bytes) = spec.memory {
            add(format!("--memory={bytes}"));
            add(format!("--memory-swap={bytes}"));
        }
        for (name, value) in [("cpu", spec.cpu), ("fsize", spec.file_size), ("core", Some(0))] {
            if let Some(most) = value {
                add(format!("--ulimit={name}={most}:{most}"));
            }
        }
        let mount = |from: &Path, to: &Path, how: &str| {
            let mut word = OsString::from("--mount=type=bind,source=");
            word.extend([from.as_os_str(), ",target=".as_ref(), to.as_os_str(), how.as_ref()]);
            word
        };
        words.extend(spec.readable.iter().map(|path| mount(path, path, ",readonly")));
        words.extend(spec.writable.iter().map(|bind| mount(&bind.from, &bind.to, "")));
        words.push(mount(&spec.tmp, Path::new("/tmp"), ""));
        let mut option = OsString::from("--workdir=");
        option.push(&spec.dir);
        words.push(option);
        for (key, value) in env {
            let mut word = OsString::from("--env=");
            word.push(key);
            // What the engine needs itself cannot be handed through its environment.
            if own(key) {
                word.push("=");
                word.push(value);
            }
            words.push(word);
        }
        words.push((&self.image).into());
        words.extend(argv.iter().cloned());
        words
    }
}

/// Variables that the engine has values of its own for.
fn own(name: &OsString) -> bool {
    [&b"HOME"[..], b"PATH", b"XDG_RUNTIME_DIR", b"TMPDIR"].contains(&name.as_bytes())
}

/// The engine's environment: the command's variables, and its own home and path.
pub(super) fn environment(spec: &Spec, env: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let user = nix::unistd::Uid::current();
    let mut all: Vec<_> = env.iter().filter(|(key, _)| !own(key)).cloned().collect();
    all.push(("HOME".into(), spec.user_home.clone().into()));
    all.push(("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()));
    all.push(("XDG_RUNTIME_DIR".into(), format!("/run/user/{user}").into()));
    all
}

/// Removes a container and waits until it is gone.
pub(super) fn end(spec: &Spec, container: &Container, name: &str) -> Result<()> {
    let words = container.remove(name);
    let Some(child) = sys::fork()? else {
        let nothing = std::fs::File::options().read(true).write(true).open("/dev/null");
        if let Ok(nothing) = nothing {
            let _ = nix::unistd::dup2_stdout(&nothing);
            let _ = nix::unistd::dup2_stderr(&nothing);
        }
        let _ = super::launch::execute(&words, &environment(spec, &[]));
        sys::exit_at_once();
    };
    while let Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::EINTR) = waitpid(child, None) {}
    Ok(())
}
