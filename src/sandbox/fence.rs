//! The Landlock rules: which files a command may read and which it may write, whatever else goes wrong. The
//! only fence around files where there are no namespaces.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::{Level, Spec, root};

/// The newest interface whose rights were looked at; an older kernel enforces what it knows.
const NEWEST: ABI = ABI::V6;

/// The oldest that keeps files apart: before it files outside could be cut short. Linux 6.2 has it.
const OLDEST: ABI = ABI::V3;

/// Puts this process and everything that it will start behind the fence.
///
/// Fails where the kernel has no Landlock, unless a root of its own stands in for it.
pub fn install(spec: &Spec) -> Result<()> {
    let status = enforce(spec).context("failed to put up the Landlock rules")?;
    let needed = spec.level == Level::Landlock;
    ensure!(!needed || status != RulesetStatus::NotEnforced, "this kernel's Landlock is missing or too old");
    Ok(())
}

fn enforce(spec: &Spec) -> Result<RulesetStatus> {
    let everything = AccessFs::from_all(NEWEST);
    let read = AccessFs::from_read(NEWEST);
    let device = AccessFs::from_file(NEWEST) & !AccessFs::Execute;
    // Where it is the only fence, a kernel that knows too little of it must say so.
    let needed = spec.level == Level::Landlock;
    let mut rules = Ruleset::default()
        .set_compatibility(if needed { CompatLevel::HardRequirement } else { CompatLevel::BestEffort })
        .handle_access(AccessFs::from_all(OLDEST))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(everything)?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for path in readable(spec) {
        rules = allow(rules, &path, read)?;
    }
    for bind in &spec.writable {
        rules = allow(rules, &bind.to, everything)?;
    }
    for path in devices(spec) {
        rules = allow(rules, &path, device | read)?;
    }
    if spec.level == Level::Namespaces {
        rules = allow(rules, Path::new("/tmp"), everything)?;
        rules = allow(rules, Path::new("/dev/shm"), everything)?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// In a root of its own everything that is there may be read; elsewhere only what would be there.
fn readable(spec: &Spec) -> Vec<PathBuf> {
    if spec.level == Level::Namespaces {
        return vec![PathBuf::from("/")];
    }
    let system = root::SYSTEM.iter().map(PathBuf::from);
    let names = ["passwd", "group", "hosts", "nsswitch.conf", "resolv.conf"];
    let who = names.iter().map(|name| Path::new("/etc").join(name));
    let shared = spec.shared.iter().map(|share| share.from.clone());
    let kernel = ["/proc", "/sys/devices/system/cpu"].map(PathBuf::from);
    let own = spec.readable.iter().cloned();
    system.chain(root::etc()).chain(who).chain(shared).chain(kernel).chain(own).collect()
}

fn devices(spec: &Spec) -> Vec<PathBuf> {
    if spec.level == Level::Namespaces {
        return vec![PathBuf::from("/dev")];
    }
    ["null", "zero", "full", "random", "urandom"].map(|name| Path::new("/dev").join(name)).to_vec()
}

/// Allows `access` below `path`, or to `path` itself where it is a file; a path that is not there needs no rule.
fn allow(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated> {
    let Ok(place) = PathFd::new(path) else {
        return Ok(rules);
    };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    Ok(rules.add_rule(PathBeneath::new(place, access))?)
}
