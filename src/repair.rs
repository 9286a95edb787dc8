//! The embedded LLM-free proposer.
