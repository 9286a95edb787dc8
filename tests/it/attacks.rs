//! Attacks on the sandbox, each run by a real command in a real box. A test fails when the attack works.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regreen::process::{self, Command, Finished, Limits};
use regreen::sandbox::{self, Host, Level, Policy, Sandbox};
use regreen::verdict::Exit;
use regreen::workspace::Workspace;

/// The levels that claim to keep files apart.
const FENCED: [Level; 2] = [Level::Namespaces, Level::Landlock];

/// A box with a workspace, and outside of it a secret.
struct Trial {
    folder: tempfile::TempDir,
    workspace: Workspace,
    sandbox: Sandbox,
    network: bool,
    limits: Limits,
}

impl Trial {
    fn new(level: Level) -> Trial {
        // Not `/tmp`, of which every box has its own.
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let workspace = Workspace::empty(folder.path().join("work")).unwrap();
        fs::write(folder.path().join("secret"), "hidden").unwrap();
        let host = Host {
            home: folder.path().join("user"),
            path: vec!["/usr/local/bin".into(), "/usr/bin".into(), "/bin".into()],
            ..Host::default()
        };
        let sandbox = Sandbox {
            launcher: env!("CARGO_BIN_EXE_regreen").into(),
            ..Sandbox::new(level, host)
        };
        Trial {
            folder,
            workspace,
            sandbox,
            network: false,
            limits: Limits {
                wall: Duration::from_secs(30),
                ..Limits::default()
            },
        }
    }

    fn secret(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    async fn run(&self, argv: &[&str]) -> Finished {
        process::run(&self.wrapped(argv)).await.unwrap()
    }

    async fn sh(&self, script: &str) -> Finished {
        self.run(&["sh", "-c", script]).await
    }

    fn wrapped(&self, argv: &[&str]) -> Command {
        let command = Command {
            argv: argv.iter().map(OsString::from).collect(),
            dir: self.workspace.tree(),
            env: vec![("SECRET_FOLDER".into(), self.folder.path().into())],
            limits: self.limits.clone(),
            logs: self.folder.path().to_owned(),
        };
        let policy = Policy {
            workspace: &self.workspace,
            readable: Vec::new(),
            writable: Vec::new(),
            caches: Vec::new(),
            network: self.network,
        };
        self.sandbox.wrap(command, &policy).unwrap()
    }
}

fn said(finished: &Finished) -> String {
    finished.log(4000).unwrap()
}

/// Whether this machine can do the level; says so when it cannot, and fails when `CI` is set.
fn can(level: Level) -> bool {
    let host = Trial::new(level).sandbox.host;
    let probes = sandbox::probe_with(&host, Path::new(env!("CARGO_BIN_EXE_regreen")));
    let probe = probes.iter().find(|probe| probe.level == level).unwrap();
    if !probe.works {
        eprintln!("SKIPPED: {level} does not work here: {}", probe.why);
        assert!(std::env::var_os("CI").is_none(), "{}", probe.why);
    }
    probe.works
}

#[tokio::test]
async fn a_command_works_in_its_workspace_at_every_level() {
    for level in [Level::Namespaces, Level::Landlock, Level::None] {
        if !can(level) {
            continue;
        }
        let trial = Trial::new(level);
        let script = "set -e; pwd; echo text > new; mv new moved; mkdir -p a/b; ln -s moved link; \
                      echo x > $HOME/x; echo x > $TMPDIR/x; cat link; test -c /dev/null; echo gone > /dev/null; exit 7";
        let finished = trial.sh(script).await;
        assert_eq!(finished.exit, Exit::Code(7), "{level:?}: {}", said(&finished));
        let tree = trial.workspace.tree();
        assert!(said(&finished).ends_with("text"), "{}", said(&finished));
        assert!(
            said(&finished).contains(tree.to_str().unwrap()),
            "{}",
            said(&finished)
        );
        assert_eq!(fs::read_to_string(tree.join("moved")).unwrap(), "text\n");
        let finished = trial.sh("kill -ABRT $$").await;
        assert_eq!(finished.exit, Exit::Signal(6), "{level:?}");
        assert_eq!(
            trial.run(&["no-such-program"]).await.exit,
            Exit::Code(127),
            "{level:?}"
        );
    }
}

#[tokio::test]
async fn nothing_outside_is_read_or_written() {
    for level in FENCED {
        if !can(level) {
            continue;
        }
        let trial = Trial::new(level);
        for attack in [
            "cat $SECRET_FOLDER/secret",
            "echo x > $SECRET_FOLDER/secret",
            "echo x > $SECRET_FOLDER/new",
            "ln $SECRET_FOLDER/secret hard && cat hard",
            "ln -s $SECRET_FOLDER/secret soft && cat soft",
            "cat ../../secret",
            "rm -rf $SECRET_FOLDER/secret; test ! -e $SECRET_FOLDER/secret && exit 1",
            "mv ../tree ../elsewhere",
            "echo x > /etc/passwd",
            "cat /etc/shadow",
            "echo x > /usr/bin/planted",
            "ls /root/.ssh /root/.bashrc",
            "echo x > /proc/sys/kernel/core_pattern",
            "cat /proc/1/environ | grep .",
            "mount -t tmpfs none .",
            "unshare -Ur true",
            "unshare -m true",
        ] {
            let finished = trial.sh(attack).await;
            assert_ne!(
                finished.exit,
                Exit::Code(0),
                "{level:?}: {attack}: {}",
                said(&finished)
            );
        }
        assert_eq!(fs::read_to_string(trial.secret()).unwrap(), "hidden");
        assert!(!trial.folder.path().join("new").exists());
    }
}

#[tokio::test]
async fn nothing_survives_the_command() {
    for level in [Level::Namespaces, Level::Landlock, Level::None] {
        if !can(level) {
            continue;
        }
        let mut trial = Trial::new(level);
        // A marker in the arguments finds the daemon in the host's process list.
        let daemon = |mark: &str| {
            format!("(setsid sh -c 'trap \"\" TERM HUP; sleep 98{mark}' >/dev/null 2>&1 &) ; sleep 0.2")
        };
        trial.sh(&daemon("01")).await;
        assert!(!running("98\u{30}1"), "{level:?}: a daemon survived the end");
        trial.limits.wall = Duration::from_secs(1);
        let finished = trial.sh(&format!("{}; sleep 60", daemon("02"))).await;
        assert_eq!(finished.exit, Exit::TimedOut(1));
        assert!(!running("9802"), "{level:?}: a daemon survived the deadline");
    }
}

/// Whether a process `sleep {mark}` runs on this machine.
fn running(mark: &str) -> bool {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| {
            line.split(|byte| *byte == 0).any(|word| word == mark.as_bytes()) && line.starts_with(b"sleep\0")
        })
}
