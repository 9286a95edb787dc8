//! libtest's JSON (`-Z unstable-options --format json`), one object a line on stdout of a test binary.
