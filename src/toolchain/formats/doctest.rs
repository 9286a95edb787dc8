//! What `cargo test --doc` prints: rustdoc has no stable JSON, so this reads libtest's text.
