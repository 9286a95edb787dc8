//! Formats that last: a ledger written once must be read by every later regreen of the same format number, and
//! written back byte for byte.

use std::collections::BTreeSet;

use regreen::record::{FORMAT, Record};
use regreen::story;

use crate::root;

#[test]
fn the_golden_ledger_is_read_and_written_back_byte_for_byte() {
    let golden = std::fs::read_to_string(root().join("tests/golden/ledger.jsonl")).unwrap();
    assert_eq!(FORMAT, 1, "a new format needs a new golden file; the old one must still be told apart");
    let mut kinds = BTreeSet::new();
    for line in golden.lines() {
        let record: Record = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), line);
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        kinds.insert(value["event"].as_str().unwrap().to_owned());
    }
    let schema = std::fs::read_to_string(root().join("harness/schema/ledger.json")).unwrap();
    let missing: Vec<&str> = [
        "started",
        "resumed",
        "based",
        "set-up",
        "measured",
        "estimated",
        "decided",
        "asked",
        "replied",
        "declined",
        "proposed",
        "judged",
        "minimised",
        "ended",
    ]
    .into_iter()
    .filter(|kind| !kinds.contains(*kind) || !schema.contains(&format!("\"{kind}\"")))
    .collect();
    assert!(missing.is_empty(), "these events are not in the golden file and the schema: {missing:?}");
}

#[test]
fn the_story_of_the_golden_ledger_tells_what_happened() {
    let golden = std::fs::read_to_string(root().join("tests/golden/ledger.jsonl")).unwrap();
    let records: Vec<Record> = golden.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let story = story::story(&records);
    for part in
        ["1 target, 1 guard", "the reply holds no edit", "minimised from 2 hunks to 1", "+echo $(($1 + $2))"]
    {
        assert!(story.contains(part), "{part:?} is not in:\n{story}");
    }
}
