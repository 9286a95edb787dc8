//! The harness is what the loop says and runs, as data: prompts, toolchain profiles, launchers, schemas. The
//! folder `harness/` is embedded at build time; a folder given with `--harness` overrides it file by file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use include_dir::{Dir, include_dir};

static HARNESS: Dir = include_dir!("$CARGO_MANIFEST_DIR/harness");

/// A text file of the harness.
#[derive(Clone, Debug)]
pub struct Text {
    /// The file's name without its extension.
    pub stem: String,
    /// Where it stands, for messages.
    pub shown: String,
    /// Its content.
    pub text: String,
}

/// The files directly in `folder` with this extension, by name. Fails when an override cannot be read.
pub fn files(overrides: Option<&Path>, folder: &str, extension: &str) -> Result<Vec<Text>> {
    let mut files = BTreeMap::new();
    let embedded = if folder.is_empty() { Some(&HARNESS) } else { HARNESS.get_dir(folder) };
    for file in embedded.iter().flat_map(|dir| dir.files()) {
        if let (Some(stem), Some(text)) = (stem(file.path(), extension), file.contents_utf8()) {
            let shown = format!("harness/{}", file.path().display());
            files.insert(stem.clone(), Text { stem, shown, text: text.to_owned() });
        }
    }
    let own = overrides.map(|root| root.join(folder)).filter(|own| own.is_dir());
    for entry in own.iter().map(std::fs::read_dir).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        let path = entry?.path();
        if let Some(stem) = stem(&path, extension) {
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read {shown}"))?;
            files.insert(stem.clone(), Text { stem, shown, text });
        }
    }
    Ok(files.into_values().collect())
}

/// What is made of the embedded files, made once a process; what `overrides` changes is made each time.
pub fn once<T: Clone>(
    embedded: &OnceLock<T>,
    overrides: Option<&Path>,
    read: impl Fn(Option<&Path>) -> Result<T>,
) -> Result<T> {
    match embedded.get().filter(|_| overrides.is_none()) {
        Some(known) => Ok(known.clone()),
        None if overrides.is_some() => read(overrides),
        None => {
            let made = read(None)?;
            Ok(embedded.get_or_init(|| made).clone())
        }
    }
}

/// Writes regreen's own launchers and reporters into `folder`, which exists.
pub fn write_launchers(folder: &Path) -> Result<()> {
    for file in HARNESS.get_dir("launchers").iter().flat_map(|dir| dir.files()) {
        let name = file.path().file_name().context("a file has a name")?;
        let path = folder.join(name);
        std::fs::write(&path, file.contents())
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

fn stem(path: &Path, extension: &str) -> Option<String> {
    let fits = path.extension().is_some_and(|own| own == extension);
    fits.then(|| path.file_stem()?.to_str().map(str::to_owned)).flatten()
}
