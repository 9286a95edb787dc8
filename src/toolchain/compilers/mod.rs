//! Parsers of compiler messages, one file a compiler: text as the tool printed it becomes diagnostics, with
//! locations relative to the repository ([`Place::locate`]). A message about a file outside the tree keeps
//! its text and has no location. What a parser does not understand it leaves out, and never panics.

pub mod rustc;
pub mod tsc;
pub mod javac;
pub mod gcc;
pub mod go;
pub mod python;
pub mod node;

use anyhow::Result;

use super::place::Place;
use super::profile::Compiler;
use crate::diagnostic::Diagnostic;
use crate::process::Finished;

/// Of a compiler's output at most this many bytes are looked at.
const TEXT: usize = 4 << 20;

/// At most this many diagnostics are kept: nobody reads more.
const MOST: usize = 1000;

/// What the compiler said in the output of a command. The same message said twice is kept once (cargo
/// compiles a library and its tests, and both complain).
pub fn read(compiler: Compiler, finished: &Finished, place: &Place) -> Result<Vec<Diagnostic>> {
    let text = || finished.log(TEXT);
    let found = match compiler {
        Compiler::Rustc => rustc::read(finished, place)?,
        Compiler::Tsc => tsc::parse(&text()?, place),
        Compiler::Javac => javac::parse(&text()?, place),
        Compiler::Gcc => gcc::parse(&text()?, place),
        Compiler::Go => go::parse(&text()?, place),
        Compiler::Python => python::parse(&text()?, place),
        Compiler::Node => node::parse(&text()?, place),
        Compiler::Any => any(&text()?, place),
        Compiler::None => Vec::new(),
    };
    Ok(distinct(found))
}

/// The messages of the first compiler that is understood, those with the most telling form first.
fn any(text: &str, place: &Place) -> Vec<Diagnostic> {
    let parsers: [fn(&str, &Place) -> Vec<Diagnostic>; 6] =
        [tsc::parse, javac::parse, gcc::parse, go::parse, python::parse, node::parse];
    let mut found = parsers.iter().map(|parse| parse(text, place));
    found.find(|found| !found.is_empty()).unwrap_or_default()
}

fn distinct(found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut kept: Vec<Diagnostic> = Vec::new();
    for diagnostic in found {
        if kept.len() < MOST && !kept.contains(&diagnostic) {
            kept.push(diagnostic);
        }
    }
    kept
}
