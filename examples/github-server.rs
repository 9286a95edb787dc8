//! A GitHub on this machine, alone: `cargo run --example github-server -- --repository BARE.git [--port N]`. Prints
//! its address and serves until it is stopped.
#![expect(clippy::unwrap_used, reason = "it is a tool of the tests")]

#[path = "../tests/it/github.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod github;

use std::path::PathBuf;

use clap::Parser;

/// Serves the part of GitHub's REST API that the action uses.
#[derive(Parser)]
struct Arguments {
    /// The bare repository behind it
    #[arg(long)]
    repository: PathBuf,
    /// The port; any by default
    #[arg(long, default_value_t = 0)]
    port: u16,
}

fn main() {
    let arguments = Arguments::parse();
    let server = github::Server::start(&arguments.repository, arguments.port);
    println!("{}", server.url);
    loop {
        std::thread::park();
    }
}
