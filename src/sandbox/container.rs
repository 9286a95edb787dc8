//! A box made by a container engine, for tasks that come with an image: the toolchain is the image's, the tree is
//! shown in it. The launcher outlives regreen for as long as it takes to remove the container by its name.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::sys::wait::{WaitStatus, waitpid};
use serde::{Deserialize, Serialize};

use super::{Bind, Spec};
use crate::patch::RepoPath;
use crate::{process, sys};

/// Which engine runs which image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The engine's program with its own options, as in `podman --runtime runc`.
    pub engine: Vec<String>,
    /// The image, which must be on this machine.
    pub image: String,
    /// Where folders of the tree appear too: the absolute path, and the folder.
    #[serde(default)]
    pub shown: BTreeMap<PathBuf, String>,
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
        Ok(Container { engine, image: image.to_owned(), shown: BTreeMap::new() })
    }

    fn is_podman(&self) -> bool {
        self.engine.first().is_some_and(|program| program.ends_with("podman"))
    }

    /// Says where folders of the tree appear too: absolute paths, and folders in the tree, empty for all of it.
    pub fn show(&mut self, shown: &BTreeMap<String, String>) -> Result<()> {
        for (place, folder) in shown {
            let fits = place.starts_with('/') && place.len() > 1 && !place.contains([',', '\n', '\0']);
            ensure!(fits, "{place:?} is no place where a folder can appear");
            ensure!(
                folder.is_empty() || RepoPath::new(folder).is_ok(),
                "{folder:?} is no folder of the repository"
            );
        }
        self.shown = shown.iter().map(|(place, folder)| (place.into(), folder.clone())).collect();
        Ok(())
    }

    /// What appears elsewhere of a tree. A folder that something has replaced by a link, which could lead anywhere, does
    /// not.
    pub(super) fn shown_in(&self, tree: &Path) -> Vec<Bind> {
        let real = |place: &Path| place.symlink_metadata().is_ok_and(|data| data.is_dir());
        let plain = |from: &Path| from.ancestors().take_while(|place| *place != tree).all(real) && real(tree);
        let binds = self.shown.iter().map(|(to, folder)| Bind {
            // Joining nothing would add a slash.
            from: if folder.is_empty() { tree.to_owned() } else { tree.join(folder) },
            to: to.clone(),
        });
        binds.filter(|bind| plain(&bind.from)).collect()
    }

    pub(super) fn words(&self, more: &[&str]) -> Vec<OsString> {
        self.engine.iter().map(String::as_str).chain(more.iter().copied()).map(OsString::from).collect()
    }

    /// The command line that asks the engine whether it works.
    pub fn info(&self) -> Vec<OsString> {
        self.words(&["info"])
    }

    /// The command lines that end a container at once, and remove it.
    pub(super) fn removal(&self, name: &str) -> [Vec<OsString>; 2] {
        [self.words(&["kill", name]), self.words(&["rm", "-f", name])]
    }

    /// The command line that runs `argv` in a container.
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
            // Without root podman maps this user to root, unless it is told to keep who they are.
            None if self.is_podman() => add("--userns=keep-id".to_owned()),
            None => add(format!("--user={}:{}", nix::unistd::Uid::current(), nix::unistd::Gid::current())),
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
        for (option, file) in [("--env-file=", VARIABLES), ("--cidfile=", MADE)] {
            let mut word = OsString::from(option);
            word.push(spec.logs.join(file));
            words.push(word);
        }
        // A file of variables has one a line.
        for (key, value) in env.iter().filter(|pair| !fits_a_line(pair)) {
            let mut word = OsString::from("--env=");
            word.extend([key.as_os_str(), "=".as_ref(), value]);
            words.push(word);
        }
        words.push((&self.image).into());
        words.extend(argv.iter().cloned());
        words
    }
}

/// In the folder for logs, which the command cannot reach: its variables, and the id of the container once it is made.
const VARIABLES: &str = "variables";
const MADE: &str = "container";

fn fits_a_line((key, value): &(OsString, OsString)) -> bool {
    !key.as_bytes().contains(&b'\n') && !value.as_bytes().contains(&b'\n')
}

/// Writes the command's variables where the engine reads them: in its arguments all users would see them, and in
/// its own environment they would change what it does, outside of any box.
pub(super) fn write_variables(spec: &Spec, env: &[(OsString, OsString)]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        std::fs::File::options().write(true).create_new(true).mode(0o600).open(spec.logs.join(VARIABLES))?;
    for (key, value) in env.iter().filter(|pair| fits_a_line(pair)) {
        file.write_all(&[key.as_bytes(), b"=", value.as_bytes(), b"\n"].concat())?;
    }
    Ok(())
}

/// Whether the engine came as far as making the container: what it says afterwards is the command's word.
pub(super) fn was_made(spec: &Spec) -> bool {
    std::fs::metadata(spec.logs.join(MADE)).is_ok_and(|data| data.len() > 0)
}

/// The engine's environment: nothing of the command's.
pub(super) fn environment(spec: &Spec) -> Vec<(OsString, OsString)> {
    let user = nix::unistd::Uid::current();
    vec![
        ("HOME".into(), spec.user_home.clone().into()),
        ("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        ("XDG_RUNTIME_DIR".into(), format!("/run/user/{user}").into()),
    ]
}

/// Ends and removes a container, and waits until it is gone.
pub(super) fn end(spec: &Spec, container: &Container, name: &str) -> Result<()> {
    let _ = std::fs::remove_file(spec.logs.join(VARIABLES));
    for words in container.removal(name) {
        let Some(child) = sys::fork()? else {
            let nothing = std::fs::File::options().read(true).write(true).open("/dev/null");
            if let Ok(nothing) = nothing {
                let _ = nix::unistd::dup2_stdout(&nothing);
                let _ = nix::unistd::dup2_stderr(&nothing);
            }
            let _ = super::launch::execute(&words, &environment(spec));
            sys::exit_at_once();
        };
        while let Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::EINTR) = waitpid(child, None) {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(engine: &str) -> String {
        let spec: Spec = serde_json::from_value(serde_json::json!({
            "level": "container", "container": null, "user_home": "/home/u", "parent": 1, "owner": null, "dir": "/w/tree",
            "home": "/w/home", "tmp": "/w/tmp", "readable": [], "writable": [], "shared": [], "network": false,
            "logs": "/logs", "cpu": null, "memory": 1024, "processes": 9, "file_size": null, "disk": 1, "written": [], "served": false
        }))
        .unwrap();
        let engine = vec![engine.to_owned()];
        let container = Container { engine, image: "image".to_owned(), shown: BTreeMap::new() };
        let env = [("LD_PRELOAD".into(), "evil".into()), ("TEXT".into(), "two\nlines".into())];
        let words = container.run(&spec, "name", &["prog".into()], &env);
        words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn podman_and_docker_get_the_user_in_their_own_words() {
        let (podman, docker) = (words("/usr/bin/podman"), words("/usr/bin/docker"));
        assert!(podman.contains("--userns=keep-id") && !docker.contains("--userns"));
        assert!(docker.contains(" --user=") && !podman.contains(" --user="));
        for words in [podman, docker] {
            assert!(words.contains("--network=none") && words.contains("--memory=1024"), "{words}");
            assert!(
                words.ends_with("--env=TEXT=two\nlines image prog") && !words.contains("evil"),
                "{words}"
            );
        }
    }

    #[test]
    fn a_folder_that_was_replaced_by_a_link_appears_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir_all(tree.join("aside/logs")).unwrap();
        std::fs::create_dir_all(folder.path().join("secret/logs")).unwrap();
        let mut container =
            Container { engine: Vec::new(), image: "image".to_owned(), shown: BTreeMap::new() };
        let shown =
            [("/app", ""), ("/logs", "aside/logs")].map(|(to, from)| (to.to_owned(), from.to_owned()));
        container.show(&shown.into()).unwrap();
        let places = |container: &Container| -> Vec<PathBuf> {
            container.shown_in(&tree).into_iter().map(|bind| bind.to).collect()
        };
        assert_eq!(places(&container), [Path::new("/app"), Path::new("/logs")]);
        std::fs::remove_dir_all(tree.join("aside")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), tree.join("aside")).unwrap();
        assert_eq!(places(&container), [Path::new("/app")]);
        for (to, from) in [("app", ""), ("/", ""), ("/a,readonly", ""), ("/a", "../b"), ("/a", "/b")] {
            assert!(container.show(&[(to.to_owned(), from.to_owned())].into()).is_err(), "{to} {from}");
        }
    }

    #[test]
    fn nothing_that_a_command_sets_reaches_the_engine() {
        let names: Vec<OsString> = {
            let spec: Spec = serde_json::from_value(serde_json::json!({
                "level": "container", "container": null, "user_home": "/home/u", "parent": 1, "owner": null, "dir": "/",
                "home": "/", "tmp": "/", "readable": [], "writable": [], "shared": [], "network": false, "logs": "/",
                "cpu": null, "memory": null, "processes": null, "file_size": null, "disk": 1, "written": [], "served": false
            }))
            .unwrap();
            environment(&spec).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names, ["HOME", "PATH", "XDG_RUNTIME_DIR"]);
    }
}
