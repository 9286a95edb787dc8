//! A receipt in the formats that build servers show: `JUnit` XML, a test case a layer, and SARIF 2.1.0, a result a
//! finding.

use anyhow::Result;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use crate::leak::Survivor;
use crate::text::printable;
use crate::verdict::{LayerResult, Verdict};
use crate::verify::Receipt;

/// A test suite whose cases are the layers, and the verdict.
pub fn junit(receipt: &Receipt) -> Result<String> {
    let mut suite = TestSuite::new("regreen verify");
    for layer in &receipt.layers {
        let mut status = match layer.result {
            LayerResult::Passed => TestCaseStatus::success(),
            LayerResult::Stopped => TestCaseStatus::non_success(NonSuccessKind::Failure),
            // What a layer has flagged it has not confirmed, and a pass may still stand.
            LayerResult::NotRun | LayerResult::Flagged => TestCaseStatus::skipped(),
        };
        status.set_message(printable(&layer.detail).as_ref());
        let mut case = TestCase::new(layer.name.to_string(), status);
        case.set_classname("regreen.layer")
            .set_time(std::time::Duration::from_secs_f64(layer.seconds.max(0.0)));
        suite.add_test_case(case);
    }
    let mut status = match receipt.verdict {
        Verdict::Green(_) => TestCaseStatus::success(),
        Verdict::Red(_) | Verdict::Rejected { .. } => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Inconclusive { .. } => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    status.set_message(printable(&findings(receipt)).as_ref());
    let mut case = TestCase::new(format!("verdict: {}", receipt.word), status);
    case.set_classname("regreen.verdict");
    suite.add_test_case(case);
    let mut report = Report::new("regreen");
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

fn findings(receipt: &Receipt) -> String {
    receipt.verdict.reasons().join("; ")
}

/// A run whose results are why the patch is no pass, or else what its pass does not prove.
pub fn sarif(receipt: &Receipt) -> Value {
    let (rule, level, texts) = match &receipt.verdict {
        Verdict::Green(evidence) => ("caveat", "note", evidence.caveats.clone()),
        verdict @ Verdict::Red(_) => ("not-solved", "error", verdict.reasons()),
        verdict @ Verdict::Rejected { .. } => ("suspect", "error", verdict.reasons()),
        verdict @ Verdict::Inconclusive { .. } => ("inconclusive", "warning", verdict.reasons()),
    };
    let place = receipt.patch.paths().next().map(ToString::to_string);
    let at = |path: &str| json!([{ "physicalLocation": { "artifactLocation": { "uri": path } } }]);
    let result = |rule: &str, level: &str, text: &str, path: Option<&str>| {
        let text = printable(text);
        let mut result = json!({ "ruleId": rule, "level": level, "message": { "text": text } });
        if let Some(path) = path {
            result["locations"] = at(path);
        }
        result
    };
    let mut results: Vec<Value> =
        texts.iter().map(|text| result(rule, level, text, place.as_deref())).collect();
    results.extend(receipt.left_out.iter().map(|path| {
        let file = path.split(' ').next().unwrap_or(path);
        result("left-out", "note", &format!("left out, because it is the base's to say: {path}"), Some(file))
    }));
    results.extend(survivors(receipt));
    let rules: Vec<Value> = [
        ("not-solved", "The patch does not make the tests pass"),
        ("suspect", "The patch passes where no honest one can, or reached for the verifier"),
        ("inconclusive", "Evidence is missing or contradicts itself"),
        ("caveat", "What the verdict does not prove"),
        ("untested", "No test notices a small wrong change of this line"),
        ("left-out", "An edit of tests or configuration was left out of what was judged"),
    ]
    .map(|(id, text)| json!({ "id": id, "shortDescription": { "text": text } }))
    .to_vec();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "regreen",
                "version": receipt.version,
                "rules": rules,
            } },
            "properties": { "verdict": receipt.word, "composedTree": receipt.composed_tree },
            "results": results,
        }],
    })
}

/// Changed lines that want a test.
fn survivors(receipt: &Receipt) -> Vec<Value> {
    let Verdict::Green(evidence) = &receipt.verdict else { return Vec::new() };
    let result = |survivor: &Survivor| {
        json!({
            "ruleId": "untested",
            "level": "note",
            "message": { "text": printable(&format!("no test notices {}", survivor.told())) },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": survivor.at.file },
                "region": { "startLine": survivor.at.line },
            } }],
        })
    };
    evidence.strength.iter().flat_map(|strength| &strength.survivors).map(result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_only_flags_something_is_no_success() {
        let layer = |name: &str, result: &str| json!({ "name": name, "result": result, "detail": "why", "seconds": 1.0 });
        let receipt = json!({
            "format": 1, "version": "1", "time": "now", "word": "not-solved", "base_tree": "a", "composed_tree": "b",
            "verdict": { "is": "inconclusive", "reasons": [] }, "left_out": [], "patch": {}, "suites": [],
            "layers": [layer("visible", "passed"), layer("oracle", "flagged")],
            "sandbox": "none", "signature": "c", "targets": [], "guards": [], "flaky": [], "task": { "regreen": 1 },
        });
        let told = junit(&serde_json::from_value(receipt).unwrap()).unwrap();
        let cases: Vec<&str> = told.split("<testcase ").skip(1).collect();
        assert!(!cases[0].contains("<skipped"), "{told}");
        assert!(cases[1].contains("<skipped") && cases[1].contains("why"), "{told}");
    }
}
