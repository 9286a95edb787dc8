//! SWE-bench's own formats: predictions, which its harness evaluates, and the report that it makes of an evaluation
//! (schema version 2), here of regreen's verdicts. A task is submitted once: one model and one sample of it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Sink, Unit};
use crate::text::one_line;

/// What became of a task.
#[derive(Debug)]
pub(super) struct Submitted {
    task: String,
    model: String,
    /// `None` without a result.
    patch: Option<String>,
    solved: bool,
    faulty: bool,
}

impl Submitted {
    pub(super) fn of(unit: &Unit) -> Submitted {
        Submitted {
            task: unit.task.clone(),
            model: unit.model.clone(),
            patch: unit.records.is_some().then(|| unit.diff().to_owned()),
            solved: unit.solved(),
            faulty: unit.faulty,
        }
    }
}

/// One line a task that has a result: the verified patch, or else the last candidate.
pub(super) fn predictions(all: &[Submitted], sink: &mut Sink) -> Result<()> {
    once(all)?;
    for one in all {
        let Some(patch) = &one.patch else { continue };
        sink.put(json!({
            "instance_id": one.task, "model_name_or_path": one.model, "model_patch": patch,
        }))?;
    }
    Ok(())
}

/// The report; its errors are tasks whose environment was at fault.
pub(super) fn report(all: &[Submitted], sink: &mut Sink) -> Result<()> {
    once(all)?;
    let ids = |fits: &dyn Fn(&Submitted) -> bool| -> BTreeSet<&str> {
        all.iter().filter(|one| fits(one)).map(|one| one.task.as_str()).collect()
    };
    let empty = |one: &Submitted| one.patch.as_ref().is_some_and(String::is_empty);
    let resolved = ids(&|one| one.solved);
    let unresolved = ids(&|one| one.patch.is_some() && !empty(one) && !one.solved);
    let completed: BTreeSet<&str> = resolved.union(&unresolved).copied().collect();
    let error = ids(&|one| one.faulty);
    let incomplete = ids(&|one| one.patch.is_none() && !one.faulty);
    let submitted = ids(&|one| one.patch.is_some() || one.faulty);
    let empty = ids(&empty);
    let report: Value = json!({
        "total_instances": all.len(),
        "submitted_instances": submitted.len(),
        "completed_instances": completed.len(),
        "resolved_instances": resolved.len(),
        "unresolved_instances": unresolved.len(),
        "empty_patch_instances": empty.len(),
        "error_instances": error.len(),
        "completed_ids": completed,
        "incomplete_ids": incomplete,
        "empty_patch_ids": empty,
        "submitted_ids": submitted,
        "resolved_ids": resolved,
        "unresolved_ids": unresolved,
        "error_ids": error,
        "schema_version": 2,
    });
    sink.put(report)
}

/// Both formats know a task by its name alone.
fn once(all: &[Submitted]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for one in all {
        ensure!(
            seen.insert(one.task.as_str()),
            "{} was done by {} and by another: SWE-bench's formats hold each task once, so name one run and one --model",
            one_line(&one.task),
            one_line(&one.model)
        );
    }
    Ok(())
}
