//! What `tsc --pretty false` prints: `file(line,column): error TS2322: message`.

use crate::diagnostic::Diagnostic;
use crate::toolchain::place::Place;

/// The diagnostics in what the tool printed.
pub fn parse(text: &str, place: &Place) -> Vec<Diagnostic> {
    let _ = (text, place);
    todo!()
}
