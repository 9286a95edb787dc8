//! Parsers of compiler messages, one file a compiler.
