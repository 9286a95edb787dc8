//! A run as people read it, computed from its records alone: a line while it goes on, an ending, the whole
//! story. The text is plain; whoever prints it makes it safe for a terminal.

use std::fmt::Write as _;

use crate::leak::{Leak, Strength, percent};
use crate::policy;
use crate::record::{Event, Outcome, Record};
use crate::text::{clip, list, one_line, printable};
use crate::verdict::{Baseline, Evidence, Failure, LayerName, LayerResult, Verdict};
use crate::verify::{Receipt, count};

/// The line that a record is worth while the run goes on, if any.
pub fn line(record: &Record) -> Option<String> {
    let text = match &record.event {
        Event::Started { run, sandbox, models, .. } => {
            format!("Run {run} (sandbox: {sandbox}; proposers: {})", list(models, 5))
        }
        Event::Resumed { .. } => "Going on with the run".to_owned(),
        Event::Based { files, suites, .. } if suites.is_empty() => {
            format!("{}, no test suite found", count(*files, "file"))
        }
        Event::Based { files, suites, .. } => {
            format!("{}, tested by {}", count(*files, "file"), list(suites, 5))
        }
        Event::Measured { baseline } => measured(baseline),
        Event::Estimated { strength } => estimated(strength),
        Event::Asked { attempt, model, .. } => format!("Attempt {attempt}: {model}"),
        Event::Declined { reason, .. } => {
            format!("  no candidate: {}", one_line(reason.lines().next().unwrap_or_default()))
        }
        Event::Judged { verdict, seconds, .. } => format!("  {} ({seconds:.1} s)", judged(verdict)),
        Event::Minimised { from, to, .. } => format!("  minimised from {} to {to}", count(*from, "hunk")),
        Event::SetUp { .. }
        | Event::Decided { .. }
        | Event::Replied { .. }
        | Event::Proposed { .. }
        | Event::Ended { .. } => {
            return None;
        }
    };
    Some(text)
}

fn measured(baseline: &Baseline) -> String {
    let mut parts = vec![count(baseline.targets.len(), "target"), count(baseline.guards.len(), "guard")];
    let optional = [
        (&baseline.flaky, "flaky"),
        (&baseline.unrelated, "unrelated and failing"),
        (&baseline.disabled, "disabled"),
    ];
    parts.extend(
        optional
            .iter()
            .filter(|(tests, _)| !tests.is_empty())
            .map(|(tests, what)| format!("{} {what}", tests.len())),
    );
    let targets: Vec<&String> = baseline.targets.iter().collect();
    let failing =
        if targets.is_empty() { String::new() } else { format!("\n  failing: {}", list(&targets, 5)) };
    format!("Base measured {} times: {}{failing}", baseline.runs, parts.join(", "))
}

fn estimated(strength: &Strength) -> String {
    let leak = Leak::of(strength);
    let (low, high) = leak.interval;
    let said = strength.sentences("the lines that may be to blame");
    format!(
        "A wrong candidate passes with a chance of about {} ({} to {}): {}",
        percent(leak.mistake),
        percent(low),
        percent(high),
        said.join("; ")
    )
}

fn judged(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Green(evidence) => format!(
            "green, {}: {} fixed, {} kept",
            verdict.word(),
            count(evidence.fixed.len(), "target"),
            count(evidence.guards_kept, "guard")
        ),
        Verdict::Red(failure) => format!("red: {}", one_line(&failure.summary)),
        Verdict::Rejected { violations } => format!("suspect: {}", list(violations, 3)),
        Verdict::Inconclusive { reasons } => format!("inconclusive: {}", list(reasons, 3)),
    }
}

/// How the run ended: what was wrong, what changed, why it may be believed; or why not, and what to do.
pub fn ending(records: &[Record]) -> String {
    let ended = records.iter().rev().find_map(|record| match &record.event {
        Event::Ended { outcome, spent, .. } => Some((outcome, spent)),
        _ => None,
    });
    let Some((outcome, spent)) = ended else {
        return "\nThe run has not ended: `regreen fix --resume ID` goes on.\n".to_owned();
    };
    let mut text = String::from("\n");
    match outcome {
        Outcome::Green { diff, evidence, .. } => green(&mut text, records, diff, evidence),
        Outcome::AlreadyGreen { passing, disabled, complaint } => {
            let _ = writeln!(
                text,
                "Already green: {} passing. Nothing was asked, nothing was changed.",
                count(*passing, "test")
            );
            if let Some(complaint) = complaint {
                let _ = writeln!(text, "But {complaint}: look at its output.");
            }
            if *disabled > 0 {
                let _ = writeln!(
                    text,
                    "But {} disabled (ignored, skipped, .only) and prove nothing.",
                    are(*disabled)
                );
            }
        }
        Outcome::Unsolved { reason, failure } => {
            let _ = writeln!(text, "Not solved: {}.", one_line(reason).trim_end_matches('.'));
            if let Some(failure) = failure {
                text.push_str(&wrong(failure));
            }
            text.push_str("Next: name a stronger proposer with --model, describe the fault with --statement, or look at `regreen show`.\n");
        }
        Outcome::OutOfBudget { limit } => {
            let _ = writeln!(
                text,
                "Not solved: the budget of {limit} is spent. Raise it, or look at `regreen show`."
            );
        }
        Outcome::NotFixable { detail, remedy, .. } => {
            let _ = writeln!(text, "No patch can help here: {detail}\nNext: {remedy}.");
        }
    }
    if spent.tokens() > 0 {
        let _ = writeln!(
            text,
            "Spent: {} tokens sent, {} received, ${:.4}.",
            spent.prompt_tokens, spent.completion_tokens, spent.usd
        );
    }
    text
}

fn green(text: &mut String, records: &[Record], diff: &str, evidence: &Evidence) {
    let attempts = policy::attempts(records);
    let by = attempts.iter().rev().find(|attempt| matches!(attempt.verdict, Some(Verdict::Green(_))));
    let author =
        by.map_or(String::new(), |attempt| format!(", by {} in attempt {}", attempt.model, attempt.number));
    let _ = writeln!(text, "Green{author}.");
    let fixed: Vec<&String> = evidence.fixed.iter().collect();
    let _ =
        writeln!(text, "\nWhat was wrong:\n  {} failing: {}", count(fixed.len(), "test"), list(&fixed, 5));
    let _ = writeln!(text, "\nWhat changed:\n{}", indent(&clip(diff, 6000)));
    let _ = writeln!(text, "Why it may be believed:");
    let runs = format!(
        "{} in fresh checkouts, outside the patch's reach (sandbox: {})",
        count(evidence.runs as usize, "full run"),
        evidence.sandbox
    );
    let kept =
        format!("{} fixed, {} kept", count(fixed.len(), "target"), count(evidence.guards_kept, "guard"));
    let left_out = (!evidence.left_out.is_empty()).then(|| {
        format!(
            "edits left out, because tests and configuration are the base's: {}",
            list(&evidence.left_out, 5)
        )
    });
    let asked = records.iter().rev().find_map(|record| match &record.event {
        Event::Asked { attempt, withheld, .. } if by.is_some_and(|by| by.number == *attempt) => {
            Some(withheld)
        }
        _ => None,
    });
    let withheld = asked.filter(|withheld| !withheld.is_empty()).map(|withheld| {
        format!("{} of the targets were withheld from the search, and pass too", withheld.len())
    });
    let hidden = evidence.layers.iter().filter(|layer| {
        matches!(layer.name, LayerName::HeldOut | LayerName::Oracle) && layer.result == LayerResult::Passed
    });
    let hidden = hidden.map(|layer| format!("{}: {}", layer.name, layer.detail));
    for line in [Some(runs), Some(kept), withheld, left_out].into_iter().flatten().chain(hidden) {
        let _ = writeln!(text, "  + {line}");
    }
    for caveat in &evidence.caveats {
        let _ = writeln!(text, "  - {caveat}");
    }
    tests_on_it(text, evidence);
}

/// How strong the tests are on what changed.
fn tests_on_it(text: &mut String, evidence: &Evidence) {
    let said = evidence.strength_in_words();
    if said.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nHow far the tests can be relied on here:");
    for sentence in said {
        let _ = writeln!(text, "  ~ {sentence}");
    }
    let survivors = evidence.strength.iter().flat_map(|strength| &strength.survivors);
    for survivor in survivors.take(5) {
        let _ = writeln!(text, "      no test fails with {}", survivor.told());
    }
}

fn are(n: usize) -> String {
    if n == 1 { "1 test is".to_owned() } else { format!("{n} tests are") }
}

/// What a failure was, in a few lines.
fn wrong(failure: &Failure) -> String {
    let mut text = format!("Last failure: {}\n", one_line(&failure.summary));
    for test in failure.tests.iter().take(3) {
        let message = clip(test.message.trim(), 600);
        let _ = writeln!(text, "  {}\n{}", one_line(&test.id), indent(&indent(&message)));
    }
    for diagnostic in failure.diagnostics.iter().take(3) {
        let place = diagnostic.location.as_ref().map_or(String::new(), |place| format!("{place}: "));
        let _ = writeln!(text, "  {place}{}", one_line(&diagnostic.message));
    }
    text
}

fn indent(text: &str) -> String {
    text.lines().fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "  {line}");
        all
    })
}

/// What `regreen verify` found, layer by layer.
pub fn judgement(receipt: &Receipt) -> String {
    let mut text = String::from("\n");
    for layer in &receipt.layers {
        let (mark, name) = (layer.result.mark(), layer.name.to_string());
        let _ = writeln!(text, "  {mark} {name:<26} {:>6.1} s  {}", layer.seconds, one_line(&layer.detail));
    }
    if !receipt.left_out.is_empty() {
        let _ = writeln!(
            text,
            "  left out, because tests and configuration are the base's: {}",
            list(&receipt.left_out, 5)
        );
    }
    let _ = writeln!(text, "\nVerdict: {}.", receipt.word);
    match &receipt.verdict {
        Verdict::Green(evidence) => {
            let _ = writeln!(text, "  {}", judged(&receipt.verdict));
            for caveat in &evidence.caveats {
                let _ = writeln!(text, "  - {caveat}");
            }
            tests_on_it(&mut text, evidence);
        }
        Verdict::Red(failure) => text.push_str(&wrong(failure)),
        verdict @ (Verdict::Rejected { .. } | Verdict::Inconclusive { .. }) => {
            for reason in verdict.reasons() {
                let _ = writeln!(text, "  - {}", one_line(&reason));
            }
        }
    }
    text
}

/// The whole run, from beginning to end.
pub fn story(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        let minutes = format!("{:>7.1} s  ", record.at);
        let detail = match &record.event {
            Event::Decided { action, reason, .. } => Some(format!("Decided to {action}: {reason}")),
            Event::Replied { text, seconds, .. } => {
                Some(format!("  answered in {seconds:.1} s, {} bytes", text.len()))
            }
            Event::Proposed { diff, left_out, .. } => {
                let left_out = if left_out.is_empty() {
                    String::new()
                } else {
                    format!("\n  left out: {}", list(left_out, 5))
                };
                Some(format!("  candidate:{left_out}\n{}", indent(&clip(diff, 4000))))
            }
            _ => line(record),
        };
        if let Some(detail) = detail {
            let _ =
                writeln!(text, "{minutes}{}", printable(&detail).trim_end().replace('\n', "\n           "));
        }
        if let Event::Judged { verdict: Verdict::Red(failure), .. } = &record.event {
            text.push_str(&printable(&indent(&indent(&wrong(failure)))));
        }
    }
    text.push_str(&printable(&ending(records)));
    text
}
