//! rustc's JSON messages, as cargo wraps them (`--message-format=json`), one object a line on stdout. What
//! cargo itself has to say (a manifest that does not parse) comes as text on stderr.

use anyhow::Result;
use cargo_metadata::Message;
use cargo_metadata::diagnostic::{
    Applicability as Certainty, Diagnostic as RustcDiagnostic, DiagnosticLevel, DiagnosticSpan,
};

use crate::diagnostic::{Applicability, Diagnostic, Location, Replacement, Severity, Suggestion};
use crate::process::Finished;
use crate::text;
use crate::toolchain::formats::LINE;
use crate::toolchain::place::Place;

/// A message's own rendering is kept up to this many bytes.
const RENDERED: usize = 4096;

/// The diagnostics in cargo's output.
pub fn read(finished: &Finished, place: &Place) -> Result<Vec<Diagnostic>> {
    let mut found = Vec::new();
    finished.stdout.lines(LINE, |line| {
        // A hostile build may print without end; its repetitions are dropped by the caller.
        if found.len() < 10 * super::MOST {
            found.extend(parse(line, place));
        }
    })?;
    let silent = found.iter().all(|diagnostic: &Diagnostic| diagnostic.severity != Severity::Error);
    if silent && !finished.exit.success() {
        found.extend(cargo_error(&finished.stderr.excerpt(super::TEXT)?));
    }
    Ok(found)
}

/// The diagnostic in one line of cargo's JSON.
fn parse(line: &[u8], place: &Place) -> Option<Diagnostic> {
    let Ok(Message::CompilerMessage(message)) = serde_json::from_slice(line) else {
        return None;
    };
    let message = message.message;
    let severity = match message.level {
        DiagnosticLevel::Error | DiagnosticLevel::Ice => Severity::Error,
        DiagnosticLevel::Warning if !message.spans.is_empty() => Severity::Warning,
        // "2 warnings emitted", and notes that stand alone.
        _ => return None,
    };
    if message.spans.is_empty() && message.message.starts_with("aborting due to") {
        return None;
    }
    let primary = message.spans.iter().find(|span| span.is_primary).or(message.spans.first());
    Some(Diagnostic {
        location: primary.and_then(|span| location(span, place)),
        severity,
        code: message.code.as_ref().map(|code| code.code.clone()).unwrap_or_default(),
        suggestions: suggestions(&message, place),
        rendered: text::clip(message.rendered.as_deref().unwrap_or_default(), RENDERED).into_owned(),
        message: message.message,
    })
}

/// Where a span stands in the repository; of a macro's expansion, where the macro is called.
fn location(span: &DiagnosticSpan, place: &Place) -> Option<Location> {
    let number = |number: usize| u32::try_from(number).unwrap_or(0);
    let here = place.find(&span.file_name).map(|file| Location {
        file,
        line: number(span.line_start),
        column: number(span.column_start),
    });
    here.or_else(|| location(&span.expansion.as_ref()?.span, place))
}

/// The edits on offer: those in the message's own spans, and those of each of its children.
fn suggestions(message: &RustcDiagnostic, place: &Place) -> Vec<Suggestion> {
    std::iter::once(message).chain(&message.children).flat_map(|offer| offers(offer, place)).collect()
}

/// The edits of one message. rustc writes alternatives (several modules that a name could be imported from),
/// each of one or more parts, one after the other: a span at the place of an earlier one begins the next.
fn offers(offer: &RustcDiagnostic, place: &Place) -> Vec<Suggestion> {
    let mut ways: Vec<Vec<&DiagnosticSpan>> = Vec::new();
    for span in &offer.spans {
        if span.suggested_replacement.is_none() {
            continue;
        }
        match ways.last_mut() {
            Some(way) if !way.iter().any(|other| collide(span, other)) => way.push(span),
            _ => ways.push(vec![span]),
        }
    }
    ways.iter().filter_map(|spans| suggestion(&offer.message, spans, place)).collect()
}

/// Whether two spans cannot be parts of one edit.
fn collide(a: &DiagnosticSpan, b: &DiagnosticSpan) -> bool {
    let same = (a.byte_start, a.byte_end) == (b.byte_start, b.byte_end);
    a.file_name == b.file_name && (same || a.byte_start < b.byte_end && b.byte_start < a.byte_end)
}

/// One edit; `None` when a part of it lies outside the repository or in what a macro made.
fn suggestion(message: &str, spans: &[&DiagnosticSpan], place: &Place) -> Option<Suggestion> {
    let mut parts = Vec::new();
    for span in spans {
        if span.expansion.is_some() {
            return None;
        }
        parts.push(Replacement {
            file: place.find(&span.file_name)?,
            start: usize::try_from(span.byte_start).ok()?,
            end: usize::try_from(span.byte_end).ok()?,
            text: span.suggested_replacement.clone()?,
        });
    }
    let certainty = |span: &&DiagnosticSpan| match span.suggestion_applicability {
        Some(Certainty::MachineApplicable) => Applicability::MachineApplicable,
        Some(Certainty::MaybeIncorrect) => Applicability::MaybeIncorrect,
        _ => Applicability::Unspecified,
    };
    let all = |wanted| spans.iter().all(|span| certainty(span) == wanted);
    let applicability = if all(Applicability::MachineApplicable) {
        Applicability::MachineApplicable
    } else if spans.iter().any(|span| certainty(span) == Applicability::Unspecified) {
        Applicability::Unspecified
    } else {
        Applicability::MaybeIncorrect
    };
    Some(Suggestion { message: message.to_owned(), applicability, parts })
}

/// What cargo gave up over, from its first `error` on.
fn cargo_error(stderr: &str) -> Option<Diagnostic> {
    let start = stderr
        .lines()
        .scan(0, |at, line| {
            let here = *at;
            *at += line.len() + 1;
            Some((here, line))
        })
        .find(|(_, line)| line.starts_with("error"))?
        .0;
    let said = stderr.get(start..)?.trim_end();
    let message = said.strip_prefix("error: ").unwrap_or(said);
    Some(Diagnostic::error(None, text::clip(message, RENDERED)))
}
