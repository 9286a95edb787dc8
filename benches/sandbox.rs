//! What a box and a workspace cost, beside `bwrap` and `git clone --local`, which take turns with them. Run by
//! `scripts/bench-sandbox`, which makes the tree and prints the table.
//!
//!     cargo bench --bench sandbox -- TREE ROUNDS FOLDER
//!
//! Prints one JSON object: per figure its samples in seconds. `TREE` is a git repository; `FOLDER` is on the disk that
//! is to be measured.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use regreen::patch::{File, Patch};
use regreen::process::{self, Command, Limits};
use regreen::sandbox::{Host, Level, Policy, Sandbox};
use regreen::task::Source;
use regreen::workspace::{self, Scratch, Workshop, Workspace};
use regreen::{mounts, sandbox};

/// Samples in seconds, by figure.
type Samples = BTreeMap<&'static str, Vec<f64>>;

fn main() -> Result<()> {
    sandbox::launch_if_asked();
    mounts::enter();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [tree, rounds, folder] = arguments.as_slice() else {
        eprintln!("usage: TREE ROUNDS FOLDER; scripts/bench-sandbox calls this");
        return Ok(());
    };
    let mut samples = Samples::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(measure(Path::new(tree), rounds.parse()?, Path::new(folder), &mut samples))?;
    println!("{}", serde_json::to_string(&samples)?);
    Ok(())
}

async fn measure(tree: &Path, rounds: u32, folder: &Path, samples: &mut Samples) -> Result<()> {
    let mut measured = |figure, start: Instant| {
        samples.entry(figure).or_default().push(start.elapsed().as_secs_f64());
    };
    let scratch = Scratch::new(&folder.join("cache"))?;
    let source = Source { path: tree.display().to_string(), rev: None };
    let start = Instant::now();
    let snapshot = workspace::take(&source, folder, false, &scratch)?;
    let workshop = Workshop::overlaid(scratch, snapshot)?;
    measured("snapshot", start);
    ensure!(workshop.overlays(), "overlays do not work in {}", folder.display());
    let last = workshop.snapshot.paths()?.into_iter().next_back().context("the tree is empty")?;
    let patch = Patch(BTreeMap::from([(last, Some(File::plain("changed\n")))]));
    let bare = bare(&folder.join("bare"))?;
    for round in 0..rounds {
        let start = Instant::now();
        process::run(&boxed(&bare, folder)?).await?;
        measured("box", start);
        let start = Instant::now();
        process::run(&plain(&["/bin/true"], folder)).await?;
        measured("no box", start);
        if process::find("bwrap", &host().path).is_some() {
            let start = Instant::now();
            let finished = process::run(&bwrap(&bare, folder)).await?;
            ensure!(finished.exit.success(), "bwrap failed: {}", finished.log(500)?);
            measured("bwrap", start);
        }
        let start = Instant::now();
        let workspace = workshop.workspace()?;
        measured("workspace", start);
        workspace.apply(&patch)?;
        ensure!(workspace.changes(&workshop.snapshot)?.0.len() == 1, "the patch is not seen");
        let start = Instant::now();
        drop(workspace);
        let workspace = workshop.workspace()?;
        measured("reset", start);
        drop(workspace);
        let start = Instant::now();
        let eight = (0..8).map(|_| workshop.workspace()).collect::<Result<Vec<Workspace>>>()?;
        measured("eight", start);
        drop(eight);
        // A clone takes seconds: a few are enough.
        if round < 3 {
            let clone = folder.join("clone");
            let words =
                ["git", "clone", "-q", "--local", &tree.display().to_string(), &clone.display().to_string()];
            let start = Instant::now();
            let finished = process::run(&plain(&words, folder)).await?;
            measured("clone", start);
            ensure!(finished.exit.success(), "git failed: {}", finished.log(500)?);
            std::fs::remove_dir_all(&clone)?;
        }
    }
    Ok(())
}

fn host() -> Host {
    Host {
        home: PathBuf::from("/nonexistent"),
        path: ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from).to_vec(),
        ..Host::default()
    }
}

fn bare(root: &Path) -> Result<Workspace> {
    Workspace::empty(root.to_owned())
}

fn plain(words: &[&str], folder: &Path) -> Command {
    Command {
        argv: words.iter().map(OsString::from).collect(),
        dir: folder.to_owned(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("HOME".into(), folder.into())],
        input: Vec::new(),
        limits: Limits { wall: Duration::from_mins(5), ..Limits::default() },
        logs: folder.to_owned(),
    }
}

/// The smallest command in the strongest box.
fn boxed(workspace: &Workspace, folder: &Path) -> Result<Command> {
    let policy = Policy {
        workspace,
        readable: Vec::new(),
        writable: Vec::new(),
        caches: Vec::new(),
        network: false,
        served: false,
    };
    let command = Command { dir: workspace.tree(), ..plain(&["/bin/true"], folder) };
    Sandbox::new(Level::Namespaces, host()).wrap(command, &policy)
}

/// The same with `bwrap`, as tight as its options go; it has no Landlock, and is given no seccomp filter.
fn bwrap(workspace: &Workspace, folder: &Path) -> Command {
    let (tree, home, tmp) = (workspace.tree(), workspace.home(), workspace.tmp());
    let [tree, home, tmp] = [tree, home, tmp].map(|path| path.display().to_string());
    let mut words = vec!["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"];
    words.extend(["--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev", "--bind", &tmp, "/tmp"]);
    for system in
        ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/etc/ssl", "/etc/alternatives"]
    {
        words.extend(["--ro-bind-try", system, system]);
    }
    words.extend(["--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"]);
    for own in [&tree, &home, &tmp] {
        words.extend(["--bind", own, own]);
    }
    words.extend(["--chdir", &tree, "/bin/true"]);
    plain(&words, folder)
}
