//! What javac prints, bare and as Maven and Gradle pass it on.

use crate::diagnostic::Diagnostic;
use crate::toolchain::place::Place;

/// The diagnostics in what the tool printed.
pub fn parse(text: &str, place: &Place) -> Vec<Diagnostic> {
    let _ = (text, place);
    todo!()
}
