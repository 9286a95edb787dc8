//! The rules of the house that a machine can check.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&root().join(folder), &mut found);
    found
}

/// The modules of `lib.rs`, bottom floor first.
fn floors() -> Vec<String> {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    modules.map(str::to_owned).collect()
}

/// The module of `lib.rs` that a file belongs to.
fn floor_of(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// Names of modules that `text` uses through `crate::`.
fn uses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("crate::").skip(1) {
        let part = part.strip_prefix('{').unwrap_or(part);
        found.push(part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
    }
    found
}

#[test]
fn a_module_uses_only_modules_below_it() {
    let floors: BTreeMap<String, usize> =
        floors().into_iter().enumerate().map(|(n, name)| (name, n)).collect();
    assert!(floors.len() > 10, "lib.rs was not understood: {floors:?}");
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let floor = floor_of(&file);
        let Some(here) = floors.get(&floor) else { continue };
        let text = fs::read_to_string(&file).unwrap();
        for used in uses(&text) {
            if floors.get(&used).is_some_and(|there| there > here) {
                wrong.push(format!("{} uses {used}, which stands above it", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_a_header() {
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} has no header", file.display());
    }
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    // `todo` and `unimplemented` are lints in Cargo.toml.
    let signs = [
        concat!("#[ign", "ore"),
        concat!("#[should_", "panic"),
        concat!("#[all", "ow("),
        concat!("// FIX", "ME"),
    ];
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for (line, sign) in code.flat_map(|line| signs.map(|sign| (line, sign))) {
            // An attribute counts where it stands for itself, not in a text that a test writes.
            let found =
                if sign.starts_with('#') { line.trim_start().starts_with(sign) } else { line.contains(sign) };
            assert!(!found, "{} holds {sign}", file.display());
        }
    }
}

#[test]
fn text_that_models_read_and_commands_that_run_stand_in_the_harness() {
    // A profile or prompt in src would be a second place to look for them.
    for name in ["prompts", "toolchains", "launchers"] {
        assert!(root().join("harness").join(name).is_dir(), "harness/{name} is gone");
    }
}

#[test]
fn the_schemas_in_the_harness_are_those_of_the_code() {
    for format in ["ledger", "task", "receipt", "check"] {
        let printed = crate::regreen(&["schema", format], root());
        assert!(printed.status.success());
        let file = root().join(format!("harness/schema/{format}.json"));
        if std::env::var_os("REGREEN_UPDATE").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &printed.stdout).unwrap();
        }
        let kept = fs::read(&file).unwrap_or_default();
        assert!(kept == printed.stdout, "{} is old: run the tests with REGREEN_UPDATE=1", file.display());
    }
}
