//! The event streams that agent CLIs print: what reads those of Claude Code (`--output-format stream-json`) or of Codex
//! (`exec --json`) reads a run of regreen. In both the verifier is a tool that each candidate is shown to.

use serde_json::{Value, json};

use super::{Turn, Unit, described, told, turns};
use crate::budget::Spent;
use crate::policy;
use crate::verdict::Verdict;

/// The stream of Claude Code.
pub(super) fn claude(unit: &Unit) -> Vec<Value> {
    let (records, session) = (unit.records(), unit.id.as_str());
    let turns = turns(records);
    let message = |kind: &str, message: Value| json!({ "type": kind, "message": message, "session_id": session, "parent_tool_use_id": null });
    let user = |content: Value| message("user", json!({ "role": "user", "content": [content] }));
    let mut events = vec![json!({
        "type": "system", "subtype": "init", "session_id": session, "model": unit.model, "tools": ["verify"],
        "task": unit.task, "sample": unit.sample,
    })];
    if turns.first().is_none_or(|turn| turn.prompt.is_empty()) {
        events.push(user(json!({ "type": "text", "text": described(records) })));
    }
    for turn in &turns {
        if !turn.prompt.is_empty() {
            events.push(user(json!({ "type": "text", "text": turn.prompt })));
        }
        let call = format!("verify-{}", turn.attempt);
        let mut content = vec![json!({ "type": "text", "text": said(turn) })];
        if turn.verdict.is_some() {
            content.push(json!({
                "type": "tool_use", "id": call, "name": "verify", "input": { "patch": turn.diff },
            }));
        }
        events.push(message(
            "assistant",
            json!({
                "id": format!("msg-{}", turn.attempt), "type": "message", "role": "assistant", "model": turn.model,
                "content": content, "usage": usage(&turn.spent),
            }),
        ));
        if let Some(verdict) = turn.verdict {
            events.push(user(json!({
                "type": "tool_result", "tool_use_id": call, "content": told(verdict),
                "is_error": !matches!(verdict, Verdict::Green(_)),
            })));
        }
    }
    let spent = policy::spent(&policy::attempts(records));
    let subtype = if unit.solved() { "success" } else { "error_during_execution" };
    events.push(json!({
        "type": "result", "subtype": subtype, "is_error": !unit.solved(), "session_id": session,
        "duration_ms": milliseconds(unit.seconds()), "num_turns": turns.len(), "result": unit.ending(),
        "total_cost_usd": spent.usd, "usage": usage(&spent),
    }));
    events
}

/// What a proposer said, or why it said nothing.
fn said(turn: &Turn) -> String {
    match (turn.text, turn.declined) {
        (Some(text), _) => text.to_owned(),
        (None, Some(reason)) => format!("no candidate: {reason}"),
        (None, None) => "the answer was lost".to_owned(),
    }
}

fn usage(spent: &Spent) -> Value {
    json!({ "input_tokens": spent.prompt_tokens, "output_tokens": spent.completion_tokens })
}

/// Whole milliseconds, whatever a ledger says.
fn milliseconds(seconds: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(seconds)
        .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The stream of Codex: a thread a unit, a turn an attempt.
pub(super) fn codex(unit: &Unit) -> Vec<Value> {
    let mut events = vec![json!({
        "type": "thread.started", "thread_id": unit.id, "task": unit.task, "model": unit.model, "sample": unit.sample,
    })];
    let mut number = 0;
    let mut item = |mut item: Value| {
        item["id"] = json!(format!("item_{number}"));
        number += 1;
        json!({ "type": "item.completed", "item": item })
    };
    for turn in turns(unit.records()) {
        events.push(json!({ "type": "turn.started" }));
        if turn.text.is_none() {
            events.push(json!({ "type": "turn.failed", "error": { "message": said(&turn) } }));
            continue;
        }
        events.push(item(json!({ "id": null, "type": "agent_message", "text": said(&turn) })));
        let changes = changes(turn.diff);
        if !changes.is_empty() {
            let change =
                json!({ "id": null, "type": "file_change", "changes": changes, "status": "completed" });
            events.push(item(change));
        }
        if let Some(verdict) = turn.verdict {
            let green = matches!(verdict, Verdict::Green(_));
            events.push(item(json!({
                "id": null, "type": "command_execution", "command": "regreen verify",
                "aggregated_output": told(verdict), "exit_code": exit(verdict),
                "status": if green { "completed" } else { "failed" },
            })));
        }
        events.push(json!({ "type": "turn.completed", "usage": {
            "input_tokens": turn.spent.prompt_tokens, "cached_input_tokens": 0,
            "output_tokens": turn.spent.completion_tokens,
        } }));
    }
    events
}

/// The exit status of `regreen verify` for a verdict.
fn exit(verdict: &Verdict) -> i32 {
    match verdict {
        Verdict::Green(_) => 0,
        Verdict::Red(_) => 1,
        Verdict::Rejected { .. } => 5,
        Verdict::Inconclusive { .. } => 6,
    }
}

/// The files that a unified diff of ours changes, and how.
fn changes(diff: &str) -> Vec<Value> {
    let mut lines = diff.lines().peekable();
    let mut changes = Vec::new();
    while let Some(line) = lines.next() {
        let Some(names) = line.strip_prefix("diff --git a/") else { continue };
        // Both names are the same.
        let path = names.get(..(names.len().saturating_sub(3)) / 2).unwrap_or(names);
        let kind = match lines.peek() {
            Some(next) if next.starts_with("new file mode ") => "add",
            Some(next) if next.starts_with("deleted file mode ") => "delete",
            _ => "update",
        };
        changes.push(json!({ "path": path, "kind": kind }));
    }
    changes
}
