//! What `go build` and `go vet` print: `file:line:column: message`, under a line `# package`.

use crate::diagnostic::Diagnostic;
use crate::toolchain::place::Place;

/// The diagnostics in what the tool printed.
pub fn parse(text: &str, place: &Place) -> Vec<Diagnostic> {
    let _ = (text, place);
    todo!()
}
