//! nextest's `libtest-json-plus`: libtest's JSON with the binary's id in every name.
