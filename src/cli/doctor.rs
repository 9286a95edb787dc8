//! `regreen doctor`: which toolchains, sandbox levels and models are ready on this machine, and the remedy for
//! each that is not.

use std::fmt::Write as _;

use anyhow::Result;

use super::{Common, Exit, settings};
use crate::process;
use crate::propose::command;
use crate::sandbox;
use crate::toolchain::Profile;

/// Prints the report. Something that is not ready is no failure: nobody needs everything.
pub fn doctor(common: &Common) -> Result<Exit> {
    let host = settings::host();
    let mut text = format!("regreen {}\n\nSandbox\n", env!("CARGO_PKG_VERSION"));
    let probes = sandbox::probe(&host);
    let best = sandbox::strongest(&probes);
    for probe in &probes {
        let used = if Some(probe.level) == best { " (used unless --sandbox says otherwise)" } else { "" };
        row(&mut text, probe.works, &probe.level.to_string(), &format!("{}{used}", probe.why));
    }
    text.push_str("\nToolchains\n");
    for profile in Profile::load(common.harness.as_deref())? {
        let missing: Vec<&str> = profile
            .programs
            .iter()
            .map(String::as_str)
            .filter(|program| process::find(program, &host.path).is_none())
            .collect();
        let detail = if missing.is_empty() {
            profile.about.clone()
        } else {
            format!("{} not found: {}", missing.join(", "), profile.remedy)
        };
        row(&mut text, missing.is_empty(), &profile.name, &detail);
    }
    text.push_str("\nProposers\n");
    row(&mut text, true, "repair", "the embedded engine; needs no key and no network");
    for rung in settings::ladder(common.harness.as_deref())? {
        let (there, key, model) = (rung.has_key(), &rung.key, &rung.model);
        let detail = if there {
            format!("{key} is set; takes over where the engine gives up")
        } else {
            format!("set {key} to use it")
        };
        row(&mut text, there, model, &detail);
    }
    for name in command::presets() {
        let agent = command::preset(name, common.harness.as_deref())?;
        let program = agent.argv.first().map_or("", String::as_str);
        let there = process::find(program, &host.path).is_some();
        let detail = if there { agent.about } else { format!("{program} not found: {}", agent.remedy) };
        row(&mut text, there, name, &detail);
    }
    let cache = settings::cache(common)?;
    let _ = writeln!(text, "\nScratch folders are made in {}", cache.display());
    super::print(&crate::text::printable(&text));
    Ok(Exit::Green)
}

fn row(text: &mut String, ready: bool, name: &str, detail: &str) {
    let _ = writeln!(text, "  {} {name:<28} {detail}", if ready { "ok " } else { "-- " });
}
