//! ATIF 1.8, the agent trajectory interchange format: what was asked, answered, tried and judged, step by step. A
//! verdict is an observation at the answer it is about, and the candidate stands beside it in `extra`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{Turn, Unit, described, told, turns};
use crate::bench;
use crate::budget::Spent;
use crate::policy;
use crate::record::{Event, Record};

/// A unit as a trajectory.
pub(super) fn trajectory(unit: &Unit) -> Value {
    let records = unit.records();
    let clock = Clock::of(records);
    let mut steps = Vec::new();
    let turns = turns(records);
    if turns.first().is_none_or(|turn| turn.prompt.is_empty()) {
        steps.push(step(&clock, "user", described(records), 0.0));
    }
    for turn in &turns {
        if !turn.prompt.is_empty() {
            steps.push(step(&clock, "user", turn.prompt.to_owned(), turn.asked));
        }
        steps.extend(answer(turn, &clock));
    }
    for record in records {
        if let Event::Minimised { diff, from, to, .. } = &record.event {
            let message =
                format!("regreen dropped hunks that the tests do not need: {to} of {from} are left.");
            let mut step = step(&clock, "system", message, record.at);
            step.insert("extra".to_owned(), json!({ "patch": diff }));
            steps.push(step);
        }
    }
    for (at, step) in (1..).zip(&mut steps) {
        step.insert("step_id".to_owned(), json!(at));
    }
    let version = records.iter().find_map(|record| match &record.event {
        Event::Started { version, .. } => Some(version.as_str()),
        _ => None,
    });
    let spent = policy::spent(&policy::attempts(records));
    json!({
        "schema_version": "ATIF-v1.8",
        "session_id": unit.id,
        "trajectory_id": unit.id,
        "agent": { "name": "regreen", "version": version.unwrap_or_default(), "model_name": unit.model },
        "final_metrics": {
            "total_prompt_tokens": spent.prompt_tokens,
            "total_completion_tokens": spent.completion_tokens,
            "total_cost_usd": spent.usd,
            "total_steps": steps.len(),
            "extra": { "solved": unit.solved(), "outcome": unit.ending(), "seconds": unit.seconds() },
        },
        "steps": steps,
        "extra": { "task": unit.task, "task_sha256": unit.hash, "sample": unit.sample },
    })
}

fn step(clock: &Clock, source: &str, message: String, at: f64) -> Map<String, Value> {
    let mut step = Map::new();
    // The place that its number is put into, so that it comes first.
    step.insert("step_id".to_owned(), Value::Null);
    if let Some(time) = clock.at(at) {
        step.insert("timestamp".to_owned(), time.into());
    }
    step.insert("source".to_owned(), source.into());
    step.insert("message".to_owned(), message.into());
    step
}

/// What was answered, with what the verifier said to it.
fn answer(turn: &Turn, clock: &Clock) -> Option<Map<String, Value>> {
    if let Some(reason) = turn.declined {
        let message = format!("{} has no candidate: {reason}", turn.model);
        return Some(step(clock, "system", message, turn.answered));
    }
    let mut step = step(clock, "agent", turn.text?.to_owned(), turn.answered);
    step.insert("model_name".to_owned(), turn.model.into());
    match calls(turn) {
        // Without a model behind it a step must not have metrics.
        Some(0) => _ = step.insert("llm_call_count".to_owned(), 0.into()),
        calls => {
            step.insert("llm_call_count".to_owned(), calls.into());
            step.insert("metrics".to_owned(), metrics(&turn.spent));
        }
    }
    step.insert("extra".to_owned(), json!({ "patch": turn.diff, "left_out": turn.left_out }));
    if let Some(verdict) = turn.verdict {
        let extra = json!({ "verdict": verdict.word(), "seconds": turn.seconds });
        let result = json!({ "content": told(verdict), "extra": extra });
        step.insert("observation".to_owned(), json!({ "results": [result] }));
    }
    Some(step)
}

/// How often a model was asked: once by regreen, and an unknown number of times by an agent.
fn calls(turn: &Turn) -> Option<u32> {
    let own = turn.model == "repair" || turn.model.starts_with("replay:") || bench::is_scripted(turn.model);
    match (own, turn.edited) {
        (true, _) => Some(0),
        (false, true) => None,
        (false, false) => Some(1),
    }
}

fn metrics(spent: &Spent) -> Value {
    json!({
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "cost_usd": spent.usd,
        "extra": { "estimated": spent.estimated },
    })
}

/// What time it was: runs count seconds, and only their beginnings have dates.
struct Clock {
    /// Seconds of the run, and the time that it was then.
    known: Vec<(f64, Timestamp)>,
}

impl Clock {
    fn of(records: &[Record]) -> Clock {
        let time = |record: &Record| match &record.event {
            Event::Started { time, .. } | Event::Resumed { time } => Some((record.at, time.parse().ok()?)),
            _ => None,
        };
        Clock { known: records.iter().filter_map(time).collect() }
    }

    /// The time so many seconds into the run; `None` where no date is known.
    fn at(&self, seconds: f64) -> Option<String> {
        let (from, time) =
            self.known.iter().rev().find(|(from, _)| *from <= seconds).or(self.known.first())?;
        let passed = SignedDuration::try_from_secs_f64((seconds - from).max(0.0)).ok()?;
        let then = time.checked_add(passed).ok()?;
        Some(then.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
    }
}
