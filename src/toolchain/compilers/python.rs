//! Python's tracebacks and syntax errors, from a run that did not even load.

use crate::diagnostic::Diagnostic;
use crate::toolchain::place::Place;

/// The diagnostics in what the tool printed.
pub fn parse(text: &str, place: &Place) -> Vec<Diagnostic> {
    let _ = (text, place);
    todo!()
}
