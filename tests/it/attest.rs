//! Attested runs and controls against suites that cheat and suites that are honest: real runners in the real
//! sandbox. Every cheat fools its own runner, and is unmasked by the attested run or by a control.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use regreen::patch::{File, Patch, RepoPath};
use regreen::sandbox::{Host, Level, Sandbox};
use regreen::task::{Source, Task};
use regreen::toolchain::{Profile, detect};
use regreen::verify::attest::{Attestation, Variant, attest};
use regreen::verify::{self, Verifier};
use regreen::workspace::{self, Scratch, Workshop};
use regreen::{harness, process};

/// A file's path and text.
pub type Text<'a> = (&'a str, &'a str);

/// A repository, its verifier, and what keeps both alive.
pub struct Yard {
    folder: tempfile::TempDir,
    verifier: Verifier,
}

impl Yard {
    /// A repository of these files, in the strongest box; `None` when a program is missing.
    pub fn new(files: &[Text<'_>]) -> Option<Yard> {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        write(&base, files);
        let scratch = Scratch::new(&folder.path().join("scratch")).unwrap();
        let source = Source { path: base.to_str().unwrap().to_owned(), rev: None };
        let snapshot = workspace::take(&source, folder.path(), true, &scratch).unwrap();
        let task = Task::default();
        let suites = detect(&snapshot.root, "", &Profile::load(None).unwrap(), &task).unwrap();
        assert_eq!(suites.len(), 1, "{suites:?}");
        let host = host();
        for program in &suites[0].profile.programs {
            if process::find(program, &host.path).is_none() {
                assert!(std::env::var_os("CI").is_none(), "{program} is missing");
                eprintln!("SKIPPED: {program} is missing");
                return None;
            }
        }
        let launchers = folder.path().join("launchers");
        std::fs::create_dir(&launchers).unwrap();
        harness::write_launchers(&launchers).unwrap();
        let sandbox = Sandbox {
            launcher: env!("CARGO_BIN_EXE_regreen").into(),
            ..Sandbox::new(Level::Namespaces, host)
        };
        let verifier = Verifier {
            task,
            workshop: Workshop::new(scratch, snapshot),
            sandbox,
            suites,
            launchers,
            setup_network: false,
            deadline: Some(60),
            held_out: None,
        };
        Some(Yard { folder, verifier })
    }

    /// Likewise, with what set-up and the base's own build leave kept for all workspaces.
    pub fn prepared(files: &[Text<'_>]) -> Option<Yard> {
        let mut yard = Yard::new(files)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let trouble = runtime.block_on(verify::prepare(&mut yard.verifier, &|_| {})).unwrap();
        assert_eq!(trouble, None);
        Some(yard)
    }

    /// An attested run of the base with these files in it.
    pub fn attest(&self, patch: &[Text<'_>], variant: Variant) -> Attestation {
        let files = patch.iter().map(|(path, text)| (RepoPath::new(path).unwrap(), Some(File::plain(*text))));
        let workspace = self.verifier.workshop.workspace().unwrap();
        workspace.apply(&Patch(files.collect())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let run = attest(&self.verifier, &self.verifier.suites[0], &workspace, variant, None);
        runtime.block_on(run).unwrap().expect("such a suite can be attested")
    }

    /// Whether a runner that is asked as everybody asks it ends well.
    pub fn fools(&self, patch: &[Text<'_>], program: &str, arguments: &[&str]) -> bool {
        let tree = self.folder.path().join("naive");
        let _ = std::fs::remove_dir_all(&tree);
        copy(&self.folder.path().join("base"), &tree);
        write(&tree, patch);
        let output = Command::new(program).args(arguments).current_dir(&tree).output().unwrap();
        output.status.success()
    }
}

/// What unmasks a patch: the attested run, controls that passed, or an alias that did not.
pub fn unmasked(yard: &Yard, patch: &[Text<'_>], targets: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let targets: BTreeSet<String> = targets.iter().map(ToString::to_string).collect();
    let plain = yard.attest(patch, Variant::Plain);
    let good =
        |run: &Attestation, id: &String| run.attested.contains(id) || run.unattestable.contains_key(id);
    found.extend(plain.contradictions.iter().map(|what| format!("plain: {what}")));
    found.extend(targets.iter().filter(|id| !good(&plain, id)).map(|id| format!("plain: {id} did not pass")));
    if !found.is_empty() {
        return found;
    }
    for variant in [Variant::Perturb, Variant::Poison] {
        let control = yard.attest(patch, variant);
        let liars = control.altered.iter().filter(|id| good(&control, id));
        found.extend(liars.map(|id| format!("{variant:?}: {id} passed")));
        if !found.is_empty() {
            return found;
        }
    }
    let alias = yard.attest(patch, Variant::Alias);
    found.extend(targets.iter().filter(|id| !good(&alias, id)).map(|id| format!("alias: {id} did not pass")));
    found
}

fn write(root: &Path, files: &[Text<'_>]) {
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            drop(std::fs::copy(entry.path(), target));
        }
    }
}

fn host() -> Host {
    let home = PathBuf::from(std::env::var("HOME").unwrap());
    let rustup = std::env::var("RUSTUP_HOME").unwrap_or_else(|_| home.join(".rustup").display().to_string());
    let env = [("RUSTUP_HOME".to_owned(), rustup)].into();
    Host { path: std::env::split_paths(&std::env::var("PATH").unwrap()).collect(), env, home }
}
