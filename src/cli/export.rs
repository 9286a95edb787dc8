//! `regreen export`: what runs left, in the formats of other programs, on stdout or in a file.

use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::{Exit, Watch, settings, settings::usage};
use crate::export::{self, Format, Wanted};
use crate::verdict::Level;

pub const EXAMPLES: &str = "\
Examples:
  regreen export RUN --as swe-bench --model repair --out predictions.jsonl
  regreen export RUN --as swe-bench-report --model repair --out report.json
  regreen export RUN BEFORE --as preference --level L3 --out pairs.jsonl
  regreen export .regreen/runs/20260102-… --as atif --out trajectory.json

A run is the folder of a bench or of one `regreen fix`. Texts that look like keys are hidden, and so are the values of
variables whose names end in KEY, TOKEN, SECRET or PASSWORD.";

/// The arguments of `regreen export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Folders of benches or runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The format
    #[arg(long = "as", value_enum)]
    format: Format,
    /// Where to, or - for stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// Only units of this model; may be repeated
    #[arg(long, value_name = "MODEL")]
    model: Vec<String>,
    /// Only this sample [default: all; the first for SWE-bench's formats]
    #[arg(long, value_name = "N")]
    sample: Option<u32>,
    /// The least level of verified answers in training pairs
    #[arg(long, value_enum, default_value = "L1")]
    level: Level,
}

/// Writes the export.
pub fn export(args: &ExportArgs) -> Result<Exit> {
    let folders: Vec<&Path> = args.runs.iter().map(PathBuf::as_path).collect();
    let secrets = settings::secrets();
    let wanted = Wanted {
        format: args.format,
        models: &args.model,
        sample: args.sample,
        level: args.level,
        secrets: &secrets,
    };
    let done = if args.out == Path::new("-") {
        let mut out = BufWriter::new(std::io::stdout().lock());
        export::write(&folders, &wanted, &mut out).map_err(usage)?
    } else {
        let failed = || format!("failed to write {}", args.out.display());
        let folder = args.out.parent().filter(|folder| !folder.as_os_str().is_empty());
        // All of it or nothing: half an export looks whole.
        let mut file = tempfile::Builder::new();
        file.permissions(std::fs::Permissions::from_mode(0o666));
        let mut file = file.tempfile_in(folder.unwrap_or(Path::new("."))).with_context(failed)?;
        let mut out = BufWriter::new(file.as_file_mut());
        let done = export::write(&folders, &wanted, &mut out).map_err(usage)?;
        out.flush().with_context(failed)?;
        drop(out);
        file.persist(&args.out).with_context(failed)?;
        done
    };
    let hidden = match done.hidden {
        0 => String::new(),
        n => format!("; {n} texts in them had something that looks like a key, which is hidden"),
    };
    Watch::new(false).line(&format!("regreen: {} lines{hidden}", done.lines));
    Ok(Exit::Green)
}
