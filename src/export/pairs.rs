//! Training pairs: prompts with verified answers, and prompts with a verified and a wrong one. Only answers to a prompt
//! that stands in the ledger count, so that scripted models, which know the answer, never do. A unit of which any
//! answer was suspect is left out as a whole, and so are answers that touched tests: what was verified is not all that
//! they said.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Turn, Unit, turns};
use crate::verdict::{FailureKind, Level, Verdict};

/// An answer that is worth something.
#[derive(Clone, Debug)]
struct Answer {
    /// The words, or, of an agent that edited files itself, the unified diff.
    text: String,
    model: String,
    unit: String,
    attempt: u32,
    /// Of a verified one.
    level: Option<Level>,
}

/// A chat for each verified answer of a unit.
pub(super) fn chats(unit: &Unit, least: Level) -> Vec<Value> {
    let mut chats = Vec::new();
    for (answer, turn) in answers(unit, least) {
        let Some(level) = answer.level else { continue };
        chats.push(json!({
            "messages": [
                { "role": "user", "content": turn.prompt },
                { "role": "assistant", "content": answer.text },
            ],
            "task": unit.task, "task_sha256": unit.hash, "model": turn.model, "sample": unit.sample,
            "attempt": turn.attempt, "level": level.to_string(), "form": form(&turn),
        }));
    }
    chats
}

/// Verified and wrong answers of a unit.
fn answers(unit: &Unit, least: Level) -> Vec<(Answer, Turn<'_>)> {
    let turns = turns(unit.records());
    if turns.iter().any(|turn| matches!(turn.verdict, Some(Verdict::Rejected { .. }))) {
        return Vec::new();
    }
    turns.into_iter().filter_map(|turn| Some((answer(unit, &turn, least)?, turn))).collect()
}

fn answer(unit: &Unit, turn: &Turn, least: Level) -> Option<Answer> {
    if turn.prompt.is_empty() || !turn.left_out.is_empty() {
        return None;
    }
    let level = match turn.verdict? {
        Verdict::Green(evidence) if evidence.level < least => return None,
        Verdict::Green(evidence) => Some(evidence.level),
        // It touched nothing but tests.
        Verdict::Red(failure) if failure.kind == FailureKind::OnlyProtected => return None,
        Verdict::Red(_) => None,
        Verdict::Rejected { .. } | Verdict::Inconclusive { .. } => return None,
    };
    // What an agent says on its way is no patch.
    let text = if turn.edited { turn.diff } else { turn.text? }.to_owned();
    let (model, unit, attempt) = (turn.model.to_owned(), unit.id.clone(), turn.attempt);
    (!text.is_empty()).then_some(Answer { text, model, unit, attempt, level })
}

/// In what form an answer is given.
fn form(turn: &Turn) -> &'static str {
    if turn.edited { "diff" } else { "reply" }
}

/// What two answers must have in common to be compared: the task, the first prompt of their units, the form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    task: String,
    hash: String,
    prompt: String,
    form: &'static str,
}

/// Answers by question.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<Question, (Vec<Answer>, Vec<Answer>)>);

impl Answers {
    pub(super) fn add(&mut self, unit: &Unit, least: Level) {
        // Every candidate is made against the base, so that a later one answers the first question too.
        let Some(prompt) =
            turns(unit.records()).into_iter().map(|turn| turn.prompt).find(|it| !it.is_empty())
        else {
            return;
        };
        for (answer, turn) in answers(unit, least) {
            let question = Question {
                task: unit.task.clone(),
                hash: unit.hash.clone(),
                prompt: prompt.to_owned(),
                form: form(&turn),
            };
            let (green, red) = self.0.entry(question).or_default();
            let same = |known: &Answer| known.text == answer.text;
            let side = if answer.level.is_some() { green } else { red };
            if !side.iter().any(same) {
                side.push(answer);
            }
        }
    }

    /// Every wrong answer once, with the verified ones in turn.
    pub(super) fn pairs(self) -> Vec<Value> {
        let mut pairs = Vec::new();
        for (question, (green, mut red)) in self.0 {
            // A verdict that was not steady teaches nothing.
            red.retain(|bad| green.iter().all(|good| good.text != bad.text));
            for (good, bad) in green.iter().cycle().zip(&red) {
                pairs.push(json!({
                    "prompt": question.prompt, "chosen": good.text, "rejected": bad.text,
                    "task": question.task, "task_sha256": question.hash, "form": question.form,
                    "level": good.level.unwrap_or_default().to_string(),
                    "chosen_from": from(good), "rejected_from": from(bad),
                }));
            }
        }
        pairs
    }
}

fn from(answer: &Answer) -> Value {
    json!({ "model": answer.model, "unit": answer.unit, "attempt": answer.attempt })
}
