//! The `regreen` binary.

fn main() {}
