//! The `regreen` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    regreen::sandbox::launch_if_asked();
    regreen::cli::main(std::env::args_os())
}
