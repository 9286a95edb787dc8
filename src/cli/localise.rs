//! `regreen localise`: which lines are to blame for failing tests, as far as can be told without a model.

use anyhow::{Context, Result};
use clap::Parser as _;

use super::settings::Settings;
use super::{Cli, Command, Common, Exit, Usage, print};
use crate::ledger::Ledger;
use crate::verify::{self, Trouble};
use crate::{repair, text};

/// Prints the most suspicious lines, for people or as JSON.
pub async fn localise(path: &str, targets: &[String], common: &Common, json: bool) -> Result<Exit> {
    let mut words = vec!["regreen".to_owned(), "fix".to_owned(), "--model=repair".to_owned()];
    words.extend(targets.iter().map(|target| format!("--target={target}")));
    words.extend(["--".to_owned(), path.to_owned()]);
    let Command::Fix(args) = Cli::try_parse_from(words)?.command else {
        return Err(Usage("the path makes no sense".to_owned()).into());
    };
    let mut args = *args;
    args.common = common.clone();
    args.here = std::env::current_dir().context("failed to find the current folder")?;
    let folder = tempfile::tempdir()?;
    let (record, say) = (|_: &_| {}, |_: &str| {});
    let ledger = Ledger::create(&folder.path().join("run"))?;
    let mut run = Settings::resolve(args)?.run(ledger, &record, &say)?;
    let trouble = |Trouble { detail, remedy, .. }: Trouble| {
        print(&text::printable(&format!("{detail}\n{remedy}\n")));
        Ok(Exit::NotFixable)
    };
    if let Some(found) = verify::prepare(&mut run.verifier, &say).await? {
        return trouble(found);
    }
    let baseline = match verify::measure(&run.verifier, &say).await? {
        Ok(baseline) => baseline,
        Err(found) => return trouble(found),
    };
    let found = repair::localise(&run.verifier, &baseline, &run.grammars).await?;
    if json {
        print(&format!("{}\n", serde_json::to_string_pretty(&found)?));
        return Ok(Exit::Green);
    }
    for suite in &found {
        print(&format!("by {}:\n", suite.basis));
        for line in suite.lines.iter().take(25) {
            let told = format!("{:5.2}  {}:{}  {}\n", line.suspicion, line.file, line.line, line.text);
            print(&text::printable(&told));
        }
    }
    if found.is_empty() {
        print("Nothing fails, or nothing is known of what fails.\n");
    }
    Ok(Exit::Green)
}
