//! A diagnostic is what a compiler or linter says about one place: file, line, code, message, and the edit
//! it offers. Reading them out of a tool's output is the toolchain's work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A place in a repository file; `line` and `column` count from 1, 0 where the tool gave none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// Path relative to the repository root, with forward slashes.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub column: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

/// How bad it is. Only errors stop a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The build fails because of it.
    Error,
    /// It is worth a look.
    Warning,
}

/// How sure the tool is of its suggestion, in rustc's own terms; surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Applicability {
    /// The edit is what was meant, and can be applied by a machine.
    MachineApplicable,
    /// The edit may be what was meant.
    MaybeIncorrect,
    /// Anything weaker, placeholders included.
    Unspecified,
}

/// One replacement of bytes `start..end` of `file` (on the tree that the tool saw).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replacement {
    /// Path relative to the repository root.
    pub file: String,
    /// First byte replaced.
    pub start: usize,
    /// The byte after the last one replaced.
    pub end: usize,
    /// What stands there afterwards.
    pub text: String,
}

/// An edit that the tool offers; its parts belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suggestion {
    /// What the tool says about the edit.
    pub message: String,
    /// How sure it is.
    pub applicability: Applicability,
    /// The replacements, all or none.
    pub parts: Vec<Replacement>,
}

/// What a compiler or linter says about one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// Where; `None` when the tool names no place (a linker, a manifest).
    pub location: Option<Location>,
    /// Error or warning.
    pub severity: Severity,
    /// The tool's code, `E0425` or `TS2322`; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// The message, first line first.
    pub message: String,
    /// The tool's own rendering with source excerpt, where it makes one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rendered: String,
    /// Edits on offer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggestions: Vec<Suggestion>,
}

impl Diagnostic {
    /// An error without code, rendering or suggestion.
    pub fn error(location: Option<Location>, message: impl Into<String>) -> Self {
        Diagnostic {
            location,
            severity: Severity::Error,
            code: String::new(),
            message: message.into(),
            rendered: String::new(),
            suggestions: Vec::new(),
        }
    }
}
