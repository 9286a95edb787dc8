//! The library of a toolchain: what it compiles of its own sources before it can compile a repository's. That is done
//! once a machine, in a box with no repository in sight, and the homes of later runs lie on top of what it left.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::attest::hexadecimal;
use super::{Say, Verifier};
use crate::process::{self, Finished, Limits};
use crate::sandbox::{Policy, Sandbox};

use crate::toolchain::{Library, Profile};
use crate::workspace::{Scratch, Snapshot, Workshop, Workspace};

/// Lets the run's homes begin with the libraries of its toolchains. Where workspaces are copies, or when a library
/// cannot be compiled by itself, every run goes without.
pub(super) async fn lay(verifier: &mut Verifier, say: Say<'_>) -> Result<()> {
    let mut profiles: Vec<Arc<Profile>> = verifier.suites.iter().map(|suite| suite.profile.clone()).collect();
    profiles.retain(|profile| profile.library.is_some());
    profiles.sort_by(|one, other| one.name.cmp(&other.name));
    profiles.dedup_by(|later, earlier| later.name == earlier.name);
    let Some(cache) = verifier.workshop.scratch.folder.parent().filter(|_| verifier.workshop.overlays())
    else {
        return Ok(());
    };
    if profiles.is_empty() {
        return Ok(());
    }
    let scratch = Scratch::new(cache)?;
    let root = scratch.folder.join("repo");
    fs::create_dir(&root)?;
    let nothing = Snapshot { root, tree: String::new(), files: 0, focus: String::new() };
    let workshop = Workshop::overlaid(scratch, nothing)?;
    let bench = Bench {
        workspace: workshop.workspace()?,
        workshop: &workshop,
        sandbox: &verifier.sandbox,
        launchers: &verifier.launchers,
    };
    let Some(key) = bench.key(&profiles).await? else { return Ok(()) };
    let homes = cache.join("homes");
    fs::create_dir_all(&homes)?;
    let home = homes.join(key);
    // One makes it, and who needs it as well waits.
    let door = fs::File::create(homes.join("lock"))?;
    if !home.exists() {
        say("compiling the toolchain's own library, once for this machine");
        door.lock()?;
    }
    if home.exists() || bench.compile(&profiles).await? && bench.workspace.keep_home(&home).is_ok() {
        verifier.workshop.furnish(home);
    }
    Ok(())
}

/// Where libraries are compiled: a workspace with nothing in it.
struct Bench<'a> {
    workspace: Workspace,
    workshop: &'a Workshop,
    sandbox: &'a Sandbox,
    launchers: &'a Path,
}

impl Bench<'_> {
    /// A name for all that the libraries depend on; `None` when a toolchain does not say what it is.
    async fn key(&self, profiles: &[Arc<Profile>]) -> Result<Option<String>> {
        let mut hash = Sha256::new();
        hash.update(format!("{:?}", self.sandbox.host));
        for (profile, library) in each(profiles) {
            let version = self.run(profile, &library.version).await?;
            if !version.exit.success() {
                return Ok(None);
            }
            hash.update(format!("{library:?}{:?}{}", profile.environment, version.log(4000)?));
            for word in library.commands.iter().flatten() {
                if let Some(name) = word.strip_prefix("{launchers}/") {
                    hash.update(fs::read(self.launchers.join(name))?);
                }
            }
        }
        Ok(Some(hexadecimal(&hash.finalize())))
    }

    async fn compile(&self, profiles: &[Arc<Profile>]) -> Result<bool> {
        for (profile, library) in each(profiles) {
            for command in &library.commands {
                if !self.run(profile, command).await?.exit.success() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn run(&self, profile: &Profile, argv: &[String]) -> Result<Finished> {
        let launchers = self.launchers.display().to_string();
        let command = process::Command {
            argv: argv.iter().map(|word| OsString::from(word.replace("{launchers}", &launchers))).collect(),
            dir: self.workspace.home(),
            env: profile.environment.iter().map(|(key, value)| (key.into(), value.into())).collect(),
            input: Vec::new(),
            limits: Limits::default(),
            logs: self.workshop.scratch.logs(),
        };
        let policy = Policy {
            workspace: &self.workspace,
            readable: vec![self.launchers.to_owned()],
            writable: Vec::new(),
            caches: Vec::new(),
            network: false,
            served: false,
        };
        process::run(&self.sandbox.wrap(command, &policy)?).await
    }
}

fn each(profiles: &[Arc<Profile>]) -> impl Iterator<Item = (&Profile, &Library)> {
    profiles.iter().filter_map(|profile| Some((profile.as_ref(), profile.library.as_ref()?)))
}
