//! The `regreen` binary.

fn main() {
    regreen::sandbox::launch_if_asked();
}
