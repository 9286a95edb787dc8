//! Exports from the outside: what other programs read, and what must never be in it.

use std::fs;
use std::path::Path;

use regreen::budget::Spent;
use regreen::ledger::Ledger;
use regreen::patch::{File, Patch, RepoPath};
use regreen::record::{Event, FORMAT, Record};
use regreen::task::Task;
use regreen::verdict::{Evidence, Failure, FailureKind, Level, Verdict};
use serde_json::{Value, json};

use crate::bench::{Place, assert_status, said};
use crate::{regreen_command, root};

const FORMATS: [&str; 7] = ["swe-bench", "swe-bench-report", "atif", "sft", "preference", "claude", "codex"];

/// The lines of an export.
#[track_caller]
fn exported(folder: &Path, runs: &[&str], arguments: &[&str]) -> Vec<Value> {
    let mut command = regreen_command();
    command.arg("export").args(runs).args(arguments).current_dir(folder);
    let done = command.env("SOME_API_KEY", "a value that nobody may see").output().unwrap();
    assert_status(&done, 0);
    let text = String::from_utf8(done.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Rules of ATIF 1.8, in our own words: the fields that each part may have, with their types, and what its prose asks
/// for beyond them. An upper-case type must be there.
#[track_caller]
fn assert_is_atif(trajectory: &Value) {
    let fields: [(&str, &[(&str, &str)]); 8] = [
        (
            "",
            &[
                ("schema_version", "String"),
                ("session_id", "string"),
                ("trajectory_id", "string"),
                ("agent", "Object"),
                ("steps", "Array"),
                ("final_metrics", "object"),
                ("extra", "object"),
                ("notes", "string"),
            ],
        ),
        (
            "/agent",
            &[("name", "String"), ("version", "String"), ("model_name", "string"), ("extra", "object")],
        ),
        (
            "/final_metrics",
            &[
                ("total_prompt_tokens", "integer"),
                ("total_completion_tokens", "integer"),
                ("total_cached_tokens", "integer"),
                ("total_cost_usd", "number"),
                ("total_steps", "integer"),
                ("extra", "object"),
            ],
        ),
        (
            "/steps/*",
            &[
                ("step_id", "Integer"),
                ("timestamp", "string"),
                ("source", "String"),
                ("message", "String"),
                ("model_name", "string"),
                ("observation", "object"),
                ("metrics", "object"),
                ("llm_call_count", "integer"),
                ("extra", "object"),
            ],
        ),
        (
            "/steps/*/metrics",
            &[
                ("prompt_tokens", "integer"),
                ("completion_tokens", "integer"),
                ("cached_tokens", "integer"),
                ("cost_usd", "number"),
                ("extra", "object"),
            ],
        ),
        ("/steps/*/observation", &[("results", "Array")]),
        ("/steps/*/observation/results/*", &[("content", "string"), ("extra", "object")]),
        ("/steps/*/tool_calls/*", &[]),
    ];
    for (place, allowed) in fields {
        for part in parts(trajectory, place) {
            let part = part.as_object().unwrap();
            for (name, value) in part {
                let known = allowed.iter().find(|(known, _)| known == name);
                let kind = known.unwrap_or_else(|| panic!("{place} has no {name}")).1;
                let fits = match kind.to_lowercase().as_str() {
                    "string" => value.is_string(),
                    "integer" => value.is_u64(),
                    "number" => value.is_number(),
                    "array" => value.is_array(),
                    _ => value.is_object(),
                };
                assert!(
                    fits || value.is_null() && kind.starts_with(char::is_lowercase),
                    "{place}/{name}: {value}"
                );
            }
            for (name, _) in allowed.iter().filter(|(_, kind)| kind.starts_with(char::is_uppercase)) {
                assert!(part.contains_key(*name), "{place} lacks {name}");
            }
        }
    }
    assert_eq!(trajectory["schema_version"], "ATIF-v1.8");
    let steps = trajectory["steps"].as_array().unwrap();
    assert!(!steps.is_empty());
    for (number, step) in (1..).zip(steps) {
        assert_eq!(step["step_id"], number);
        let agent = step["source"] == "agent";
        assert!(agent || step["source"] == "user" || step["source"] == "system", "{step}");
        for only in ["model_name", "metrics", "llm_call_count"] {
            assert!(agent || step.get(only).is_none(), "{step}");
        }
        assert!(step["llm_call_count"] != 0 || step.get("metrics").is_none(), "{step}");
        if let Some(time) = step["timestamp"].as_str() {
            time.parse::<jiff::Timestamp>().unwrap();
        }
    }
    assert_eq!(trajectory["final_metrics"]["total_steps"], steps.len());
}

/// The values at a path, in which `*` is every element.
fn parts<'a>(value: &'a Value, place: &str) -> Vec<&'a Value> {
    let mut found = vec![value];
    for name in place.split('/').skip(1) {
        found = found
            .into_iter()
            .flat_map(|value| match value.as_array() {
                Some(values) if name == "*" => values.iter().collect::<Vec<_>>(),
                _ => value.get(name).into_iter().collect(),
            })
            .collect();
    }
    found
}

#[test]
fn a_single_run_becomes_every_format() {
    let golden = root().join("tests");
    for format in FORMATS {
        let lines = exported(&golden, &["golden"], &["--as", format]);
        // Its green answer touched a test, and so is nothing to learn from.
        assert_eq!(lines.is_empty(), format == "sft" || format == "preference", "{format}: {lines:?}");
    }
    let trajectories = exported(&golden, &["golden"], &["--as", "atif"]);
    assert_eq!(trajectories.len(), 1);
    assert_is_atif(&trajectories[0]);
    let report = &exported(&golden, &["golden"], &["--as", "swe-bench-report"])[0];
    assert_eq!((&report["schema_version"], &report["resolved_instances"]), (&json!(2), &json!(1)));
}

#[test]
fn a_bench_becomes_predictions_that_apply_and_trajectories() {
    let place = Place::new(&["a", "b"]);
    place.task("c", "Sums are wrong.", "setup = [{ argv = [\"false\"] }]");
    let models = ["set", "--model", "gold", "--model", "empty", "--model", "oracle-noise", "--run", "run"];
    assert_status(&place.bench(&[models.as_slice(), &["--attempts", "3", "--seed", "3"]].concat()), 6);
    let folder = &place.path("");
    let of = |model: &str, format: &str| exported(folder, &["run"], &["--as", format, "--model", model]);
    let predictions = of("gold", "swe-bench");
    assert_eq!(predictions.len(), 2);
    for line in &predictions {
        let diff = git2::Diff::from_buffer(line["model_patch"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!((diff.deltas().len(), &line["model_name_or_path"]), (1, &json!("gold")));
    }
    let report = &of("gold", "swe-bench-report")[0];
    assert_eq!(report["resolved_ids"], json!(["a", "b"]));
    assert_eq!((&report["error_ids"], &report["total_instances"]), (&json!(["c"]), &json!(3)));
    let report = &of("empty", "swe-bench-report")[0];
    assert_eq!((&report["empty_patch_ids"], &report["completed_ids"]), (&json!(["a", "b"]), &json!([])));
    // A task can be submitted once.
    let mut both = regreen_command();
    both.args(["export", "run", "--as", "swe-bench"]).current_dir(folder);
    assert_status(&both.output().unwrap(), 2);
    let trajectories = exported(folder, &["run"], &["--as", "atif", "--out", "-"]);
    assert_eq!(trajectories.len(), 6);
    trajectories.iter().for_each(assert_is_atif);
    // Who knows the answer is nobody to learn from.
    for format in ["sft", "preference"] {
        assert!(exported(folder, &["run"], &["--as", format]).is_empty());
    }
    let claude = of("gold", "claude");
    let kinds: Vec<&str> = claude.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..5], ["system", "user", "assistant", "user", "result"]);
    assert_eq!(claude[4]["subtype"], "success");
    let codex = of("gold", "codex");
    assert_eq!(codex[3]["item"]["changes"], json!([{ "path": "add.sh", "kind": "update" }]));
    assert_eq!(codex[4]["item"]["exit_code"], 0);
    // A file appears as a whole.
    let mut file = regreen_command();
    file.args(["export", "run", "--as", "atif", "--out", "trajectories.jsonl"]).current_dir(folder);
    let done = file.output().unwrap();
    assert!(said(&done).contains("6 lines"), "{}", said(&done));
    let text = fs::read_to_string(place.path("trajectories.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 6);
}

/// Writes a run of a model that answers these texts, each judged so.
fn answered(folder: &Path, prompt: &str, answers: &[(&str, Verdict)]) {
    let mut ledger = Ledger::create(folder).unwrap();
    let task =
        Task { id: "sums".to_owned(), statement: Some("Sums are wrong.".to_owned()), ..Task::default() };
    ledger
        .write(Event::Started {
            format: FORMAT,
            version: "0".to_owned(),
            run: folder.file_name().unwrap().to_string_lossy().into_owned(),
            time: "2026-01-02T03:04:05Z".to_owned(),
            task,
            arguments: vec!["--base-url".to_owned(), "http://me:password@host/".to_owned()],
            folder: "/home/me".to_owned(),
            models: vec!["openai/x".to_owned()],
            sandbox: "none".to_owned(),
        })
        .unwrap();
    for (attempt, (text, verdict)) in (1..).zip(answers) {
        let prompt = if attempt == 1 { prompt.to_owned() } else { format!("{prompt} Attempt {attempt}.") };
        let (model, spent) =
            ("openai/x".to_owned(), Spent { prompt_tokens: 3, usd: 0.5, ..Spent::default() });
        let asked = Event::Asked {
            attempt,
            tier: 0,
            model,
            prompt,
            withheld: std::collections::BTreeSet::new(),
            most: spent,
        };
        let patch = Patch([(RepoPath::new("a.py").unwrap(), Some(File::plain(*text)))].into());
        let (left_out, diff) = (Vec::new(), format!("diff --git a/a.py b/a.py\n+{text}\n"));
        for event in [
            asked,
            Event::Replied { attempt, text: (*text).to_owned(), edits: None, spent, seconds: 1.0 },
            Event::Proposed { attempt, patch, diff, left_out },
            Event::Judged { attempt, verdict: verdict.clone(), seconds: 1.0 },
        ] {
            ledger.write(event).unwrap();
        }
    }
}

fn green(level: Level) -> Verdict {
    Verdict::Green(Evidence { level, ..Evidence::default() })
}

fn red(kind: FailureKind, summary: &str) -> Verdict {
    let failure = json!({ "kind": kind, "summary": summary });
    Verdict::Red(serde_json::from_value::<Failure>(failure).unwrap())
}

#[test]
fn training_pairs_hold_verified_answers_over_wrong_ones_and_no_cheats() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let wrong = || red(FailureKind::TargetsFail, "it fails");
    answered(&at("one"), "Mend it.", &[("wrong", wrong()), ("right", green(Level::Controlled))]);
    answered(&at("two"), "Mend it.", &[("worse", wrong()), ("weak", green(Level::Composed))]);
    answered(&at("other"), "Mend that.", &[("elsewhere", wrong())]);
    let suspect = Verdict::Rejected { violations: vec!["it reached for the verifier".to_owned()] };
    answered(&at("cheat"), "Mend it.", &[("cheat", suspect), ("after all", green(Level::HeldOut))]);
    let tests_only = red(FailureKind::OnlyProtected, "nothing is left");
    answered(&at("tests"), "Mend it.", &[("edit the tests", tests_only)]);
    let runs = ["one", "two", "other", "cheat", "tests"];
    let of = |more: &[&str]| exported(folder.path(), &runs, more);
    let chats = of(&["--as", "sft"]);
    let words = |chat: &Value| [0, 1].map(|at| chat["messages"][at]["content"].as_str().unwrap().to_owned());
    let said: Vec<_> = chats.iter().map(words).collect();
    assert_eq!(said, [["Mend it. Attempt 2.", "right"], ["Mend it. Attempt 2.", "weak"]]);
    let pairs = of(&["--as", "preference", "--level", "L3"]);
    let said: Vec<_> =
        pairs.iter().map(|pair| ["prompt", "chosen", "rejected"].map(|name| &pair[name])).collect();
    assert_eq!(said, [["Mend it.", "right", "wrong"], ["Mend it.", "right", "worse"]]);
}

#[test]
fn no_export_holds_keys_arguments_or_what_held_out_tests_said() {
    let folder = tempfile::tempdir().unwrap();
    // Put together here, so that no scanner takes this file for a leak.
    let key = ["sk-", "ant-0123456789abcdefghijkl"].concat();
    let text = format!("use {key} or a value that nobody may see \u{0} \u{1b}[2J \u{2028} \"\\ é");
    let held_out = red(FailureKind::HeldOutFails, "test_hidden_sums fails");
    answered(
        &folder.path().join("run"),
        &format!("Mend it with {key}."),
        &[(&text, held_out), (&text, red(FailureKind::DoesNotBuild, &text)), (&text, green(Level::HeldOut))],
    );
    for format in FORMATS {
        let lines = exported(folder.path(), &["run"], &["--as", format]);
        assert_eq!(lines.is_empty(), format == "preference", "{format}: {lines:?}");
        let text = serde_json::to_string(&lines).unwrap();
        for hidden in [&key, "nobody may see", "test_hidden_sums", "password", "/home/me"] {
            assert!(!text.contains(hidden), "{format} holds {hidden}: {text}");
        }
        if format == "atif" {
            assert_is_atif(&lines[0]);
            assert!(text.contains("held-out tests fail") && text.contains("2026-01-02T03:04:0"), "{text}");
        }
    }
}

#[test]
fn a_ledger_that_says_nonsense_still_becomes_valid_trajectories() {
    let folder = tempfile::tempdir().unwrap();
    let golden = fs::read_to_string(root().join("tests/golden/ledger.jsonl")).unwrap();
    let nonsense = golden.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record["at"] = json!(1e300);
        if record.get("time").is_some() {
            record["time"] = json!("the day before yesterday");
        }
        // It is still a ledger.
        serde_json::from_value::<Record>(record.clone()).unwrap();
        record.to_string() + "\n"
    });
    fs::write(folder.path().join("ledger.jsonl"), nonsense.collect::<String>()).unwrap();
    assert_is_atif(&exported(folder.path(), &["."], &["--as", "atif"])[0]);
    assert_eq!(exported(folder.path(), &["."], &["--as", "claude"]).last().unwrap()["duration_ms"], 0);
    // Cut off anywhere, it is told as far as it goes.
    let lines = golden.lines().count();
    for kept in 1..lines {
        let text: String = golden.lines().take(kept).flat_map(|line| [line, "\n"]).collect();
        fs::write(folder.path().join("ledger.jsonl"), text).unwrap();
        assert_is_atif(&exported(folder.path(), &["."], &["--as", "atif"])[0]);
    }
}
