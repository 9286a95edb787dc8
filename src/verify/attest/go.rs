//! Attested runs of Go suites: there are none yet, and verdicts over such suites say so.

use anyhow::Result;

use super::{Assignment, Attestation};

/// Does an assignment for a suite of this language.
#[expect(clippy::unused_async, reason = "the other languages wait for children here")]
pub(super) async fn attest(_assignment: &Assignment<'_>) -> Result<Option<Attestation>> {
    Ok(None)
}
