//! The one integration-test binary: behaviour through the real binary and real toolchains.
#![expect(clippy::unwrap_used, reason = "a test may fail on anything unexpected")]
#![expect(clippy::disallowed_methods, reason = "tests start the binary and read their environment")]

mod action;
mod action_yml;
mod agents;
mod attacks;
mod attest;
mod attest_go;
mod attest_javascript;
mod attest_python;
mod attest_rust;
mod bench;
mod check;
mod export;
mod fix;
mod fixtures;
mod github;
mod golden;
mod held_out;
mod mine;
mod models;
mod oracles;
mod regrade;
mod repair;
mod run_action;
mod sets;
mod tidy;
mod verify;
mod workspaces;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program; another user may need a copy of it.
fn binary() -> PathBuf {
    std::env::var_os("REGREEN_TEST_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_regreen").into(), PathBuf::from)
}

/// A cache that tests share, where what a toolchain's library compiles to is worth keeping.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// The binary, with an environment that holds what toolchains need and nothing else.
fn regreen_command() -> Command {
    let mut command = Command::new(binary());
    command.env_clear();
    for name in [
        "PATH",
        "HOME",
        "RUSTUP_HOME",
        "PYENV_ROOT",
        "JAVA_HOME",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NODE_EXTRA_CA_CERTS",
        "PIP_CERT",
        "REQUESTS_CA_BUNDLE",
    ] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("LANG", "C.UTF-8");
    command
}

/// Runs the binary in a folder.
fn regreen(arguments: &[&str], folder: &Path) -> Output {
    regreen_command().args(arguments).current_dir(folder).output().unwrap()
}
