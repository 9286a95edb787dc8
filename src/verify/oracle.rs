//! Black-box oracles run the product alone in the sandbox, as a program that is told something on its command line
//! and its stdin, or as an HTTP server, and compare what it says outside of the box. Neither the driver nor an
//! expected value ever enters the box, so there is nothing in it to forge. Where no value is expected the untouched
//! base is asked the same.

use anyhow::Result;
use regex::Regex;
use serde_json::Value;

use super::attest::Secret;
use super::http;
use super::judge::{Finding, Judging};
use super::observe::Phase;
use super::{count, plain};
use crate::process::Finished;
use crate::sandbox::{Questions, Said};
use crate::task::{Oracle, OracleCase, Request};
use crate::toolchain::{Invocation, Reads};
use crate::verdict::{Exit, FailureKind, Level};
use crate::workspace::Workspace;

/// Bytes that a program's answer may have.
const ANSWER: u64 = 1 << 20;

/// Bytes of a line with a server's answer.
const LINE: usize = 16 << 20;

/// Seconds between the last deadline of a server and that of its box.
const GRACE: u64 = 10;

/// What a program said to one question.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    /// How it ended, or the status of its response; `None` where there is none.
    status: Option<i32>,
    headers: Vec<(String, String)>,
    text: String,
}

/// How many questions had which end.
#[derive(Default)]
struct Tally {
    expected: usize,
    same: usize,
    wrong: usize,
}

impl Judging<'_> {
    /// The task's oracles, if it has any.
    pub(super) async fn oracles(&mut self) -> Result<Finding> {
        let oracles = &self.verifier.task.oracle;
        if oracles.is_empty() {
            return Ok(Finding::NotRun("the task has none".to_owned()));
        }
        let served = self.verifier.sandbox.serves();
        let (askable, left): (Vec<&Oracle>, Vec<&Oracle>) =
            oracles.iter().partition(|oracle| served || oracle.port.is_none());
        let left = (!left.is_empty()).then(|| {
            format!(
                "{} not asked: a server can be asked in the namespaces sandbox only",
                oracles_are(left.len())
            )
        });
        if let (true, Some(left)) = (askable.is_empty(), &left) {
            return Ok(Finding::Flagged(left.clone()));
        }
        (self.say)("asking black-box oracles");
        let workspace = match self.workspace()? {
            Ok(workspace) => workspace,
            Err(failure) => return Ok(Finding::red(failure)),
        };
        let mut tally = Tally::default();
        for oracle in askable {
            let cases = self.ordered(oracle)?;
            let Some(said) = self.ask(&workspace, oracle, &cases).await? else {
                return Ok(does_not_build(oracle));
            };
            if oracle.same_as_base {
                self.compare_with_base(oracle, &cases, &said, &mut tally).await?;
            } else {
                let wrong = cases.iter().zip(&said).filter(|(case, answer)| !agrees(case, answer));
                tally.wrong += wrong.count();
                tally.expected += cases.len();
            }
        }
        let asked = count(tally.expected + tally.same, "black-box question");
        if tally.wrong > 0 {
            let summary = format!("{} of {asked} answered wrongly", tally.wrong);
            return Ok(Finding::red(plain(FailureKind::HeldOutFails, summary)));
        }
        if tally.expected + tally.same == 0 {
            let nothing = "no question was decided: the base has no steady answer".to_owned();
            let said: Vec<String> = std::iter::once(nothing).chain(left).collect();
            return Ok(Finding::Flagged(said.join("; ")));
        }
        if tally.expected > 0 && left.is_none() {
            self.level = Level::BlackBox;
        }
        let same = if tally.same > 0 {
            format!(", {} of them as the base answers", tally.same)
        } else {
            String::new()
        };
        let passed = format!("{asked} answered rightly{same}");
        Ok(match left {
            Some(left) => Finding::Flagged(format!("{passed}; {left}")),
            None => Finding::Passed(passed),
        })
    }

    /// The cases of commands in an order that nobody knows before; those of a server, which may remember, as they are.
    fn ordered<'c>(&mut self, oracle: &'c Oracle) -> Result<Vec<&'c OracleCase>> {
        let mut left: Vec<&OracleCase> = oracle.case.iter().collect();
        if oracle.port.is_some() {
            return Ok(left);
        }
        let secret = Secret::fresh()?;
        self.seeds.push(secret.seed);
        let mut draw = secret.draw();
        let mut order = Vec::new();
        while !left.is_empty() {
            order.push(left.swap_remove(draw.below(left.len())));
        }
        Ok(order)
    }

    /// Asks the base the same. What it does not answer, or differently the second time, decides nothing.
    async fn compare_with_base(
        &self,
        oracle: &Oracle,
        cases: &[&OracleCase],
        said: &[Answer],
        tally: &mut Tally,
    ) -> Result<()> {
        let Some(base) = self.ask_base(oracle, cases).await? else { return Ok(()) };
        let same =
            |other: &Answer, answer: &Answer| (other.status, &other.text) == (answer.status, &answer.text);
        let answered: Vec<usize> = (0..said.len()).filter(|at| base[*at].status.is_some()).collect();
        let unlike: Vec<usize> =
            answered.iter().copied().filter(|at| !same(&said[*at], &base[*at])).collect();
        tally.same += answered.len();
        if unlike.is_empty() {
            return Ok(());
        }
        let again = self.ask_base(oracle, cases).await?.unwrap_or_default();
        let settled = |at: &&usize| again.get(**at).is_some_and(|answer| same(answer, &base[**at]));
        let wrong = unlike.iter().filter(settled).count();
        tally.wrong += wrong;
        tally.same -= unlike.len() - wrong;
        Ok(())
    }

    async fn ask_base(&self, oracle: &Oracle, cases: &[&OracleCase]) -> Result<Option<Vec<Answer>>> {
        let workspace = self.verifier.workshop.workspace()?;
        self.ask(&workspace, oracle, cases).await
    }

    /// What the program in a workspace says to each question; `None` when it does not build.
    async fn ask(
        &self,
        workspace: &Workspace,
        oracle: &Oracle,
        cases: &[&OracleCase],
    ) -> Result<Option<Vec<Answer>>> {
        if !oracle.build.is_empty() {
            let built = self.execute(workspace, oracle, &oracle.build, Phase::Test, Vec::new()).await?;
            if !built.exit.success() {
                return Ok(None);
            }
        }
        if let Some(port) = oracle.port {
            return self.ask_server(workspace, oracle, port, cases).await.map(Some);
        }
        let mut answers = Vec::new();
        for case in cases {
            let argv = [oracle.argv.clone(), case.args.clone()].concat();
            let input = case.stdin.clone().into_bytes();
            let said = self.execute(workspace, oracle, &argv, Phase::Test, input).await?;
            answers.push(match said.exit {
                Exit::Code(code) if said.stdout.bytes <= ANSWER => {
                    Answer { status: Some(code), headers: Vec::new(), text: said.stdout.excerpt(usize::MAX)? }
                }
                _ => Answer::default(),
            });
        }
        Ok(Some(answers))
    }

    /// What a server answers, which runs in the box as long as it is asked.
    async fn ask_server(
        &self,
        workspace: &Workspace,
        oracle: &Oracle,
        port: u16,
        cases: &[&OracleCase],
    ) -> Result<Vec<Answer>> {
        let plain = Request::default();
        let requests = cases.iter().map(|case| http::request(case.request.as_ref().unwrap_or(&plain), port));
        let questions = Questions { port, seconds: oracle.seconds, requests: requests.collect() };
        let input = serde_json::to_vec(&questions)?;
        let finished = self.execute(workspace, oracle, &oracle.argv, Phase::Served, input).await?;
        let mut answers = vec![Answer::default(); cases.len()];
        finished.stdout.lines(LINE, |line| {
            // A line that is not there, because all answers together are too long, is no answer.
            let Ok(said) = serde_json::from_slice::<Said>(line) else { return };
            let Some((answer, case)) = answers.get_mut(said.question).zip(cases.get(said.question)) else {
                return;
            };
            let method = case.request.as_ref().map_or("GET", |request| request.method.as_str());
            if let Some(response) = said.bytes().and_then(|bytes| http::response(method, &bytes)) {
                *answer = Answer {
                    status: Some(response.status),
                    headers: response.headers,
                    text: String::from_utf8_lossy(&response.body).into_owned(),
                };
            }
        })?;
        Ok(answers)
    }

    async fn execute(
        &self,
        workspace: &Workspace,
        oracle: &Oracle,
        argv: &[String],
        phase: Phase,
        input: Vec<u8>,
    ) -> Result<Finished> {
        let seconds = match phase {
            Phase::Served => oracle.seconds.saturating_mul(2).saturating_add(GRACE),
            Phase::SetUp | Phase::Test | Phase::Tool => oracle.seconds,
        };
        let invocation = Invocation {
            argv: argv.to_vec(),
            dir: oracle.dir.clone(),
            env: std::collections::BTreeMap::new(),
            seconds,
            limits: crate::task::Limits::default(),
            reads: Reads::Messages,
        };
        let results = self.verifier.workshop.scratch.results()?;
        self.verifier.run_with_input(&invocation, workspace, &results, phase, input).await
    }
}

/// Whether a program's answer is the expected one.
fn agrees(case: &OracleCase, answer: &Answer) -> bool {
    let usual = if case.request.is_some() { 200 } else { 0 };
    let texts = case.stdout.iter().chain(&case.body);
    let has = |name: &str, value: &str| {
        answer.headers.iter().any(|(known, said)| known.eq_ignore_ascii_case(name) && said == value)
    };
    let json =
        |expected: &Value| serde_json::from_str(&answer.text).is_ok_and(|said: Value| equal(expected, &said));
    let matches = |pattern: &String| Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(&answer.text));
    answer.status == Some(case.status.unwrap_or(usual))
        && texts.map(|text| text.trim_end()).all(|text| text == answer.text.trim_end())
        && case.json.as_ref().is_none_or(json)
        && case.matches.as_ref().is_none_or(matches)
        && case.headers.iter().all(|(name, value)| has(name, value))
}

/// Whether two JSON values are equal; 1 and 1.0 are the same number, two whole ones only if they are alike to the
/// last digit.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || (one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same =
                |(key, value): (&String, &Value)| other.get(key).is_some_and(|other| equal(value, other));
            one.len() == other.len() && one.iter().all(same)
        }
        (one, other) => one == other,
    }
}

/// `1 oracle was`, `2 oracles were`.
fn oracles_are(n: usize) -> String {
    format!("{} {}", count(n, "oracle"), if n == 1 { "was" } else { "were" })
}

fn does_not_build(oracle: &Oracle) -> Finding {
    let summary = format!("{} fails, so there is no program to ask", oracle.build.join(" "));
    Finding::red(plain(FailureKind::DoesNotBuild, summary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_agrees_when_all_that_is_expected_is_there() {
        let answer = Answer {
            status: Some(200),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            text: "{\"b\": [1.0, \"x\"], \"a\": null}\n".to_owned(),
        };
        let asked = || OracleCase { request: Some(Request::default()), ..OracleCase::default() };
        let header = |value: &str| [("Content-Type".to_owned(), value.to_owned())].into();
        let text = |text: &str| Some(text.to_owned());
        for (case, expected) in [
            (asked(), true),
            (OracleCase { json: Some(json!({ "a": null, "b": [1, "x"] })), ..asked() }, true),
            (OracleCase { json: Some(json!({ "a": null, "b": [1, "y"] })), ..asked() }, false),
            (OracleCase { json: Some(json!({ "b": [1, "x"] })), ..asked() }, false),
            (OracleCase { body: text("{\"b\": [1.0, \"x\"], \"a\": null}"), ..asked() }, true),
            (OracleCase { body: text("{}"), ..asked() }, false),
            (OracleCase { matches: text(r#""b": \[1"#), ..asked() }, true),
            (OracleCase { matches: text("^b"), ..asked() }, false),
            (OracleCase { headers: header("application/json"), ..asked() }, true),
            (OracleCase { headers: header("text/html"), ..asked() }, false),
            (OracleCase { status: Some(201), ..asked() }, false),
            (OracleCase::default(), false),
        ] {
            assert_eq!(agrees(&case, &answer), expected, "{case:?}");
        }
        assert!(!agrees(&OracleCase::default(), &Answer::default()), "no status is no status 0");
    }

    #[test]
    fn whole_numbers_are_compared_to_the_last_digit_and_others_by_value() {
        let check = |one: &str, other: &str, expected: bool| {
            let value = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
            assert_eq!(equal(&value(one), &value(other)), expected, "{one} {other}");
        };
        check("9007199254740993", "9007199254740992", false);
        check("9007199254740993", "9007199254740993", true);
        check("1", "1.0", true);
        check("0.5", "5e-1", true);
        check("-1", "1", false);
    }
}
