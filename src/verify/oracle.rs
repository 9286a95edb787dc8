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

/// Bytes of a program's answer that are compared.
const ANSWER: usize = 1 << 20;

/// Bytes of a line with a server's answer.
const LINE: usize = 32 << 20;

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
        if !served && oracles.iter().any(|oracle| oracle.port.is_some()) {
            let why = "a server can be asked in the namespaces sandbox only";
            return Ok(Finding::NotRun(why.to_owned()));
        }
        (self.say)("asking black-box oracles");
        let workspace = match self.workspace()? {
            Ok(workspace) => workspace,
            Err(failure) => return Ok(Finding::red(failure)),
        };
        let mut tally = Tally::default();
        for oracle in oracles {
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
        if tally.expected > 0 {
            self.level = Level::BlackBox;
        }
        let same = if tally.same > 0 {
            format!(", {} of them as the base answers", tally.same)
        } else {
            String::new()
        };
        Ok(Finding::Passed(format!("{asked} answered rightly{same}")))
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

    /// Asks the base the same. What it answers differently the second time decides nothing.
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
        let unlike: Vec<usize> = (0..said.len()).filter(|at| !same(&said[*at], &base[*at])).collect();
        tally.same += said.len();
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
            let status = if let Exit::Code(code) = said.exit { Some(code) } else { None };
            answers.push(Answer { status, headers: Vec::new(), text: said.stdout.excerpt(ANSWER)? });
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
        let mut answers = Vec::new();
        finished.stdout.lines(LINE, |line| {
            let said = serde_json::from_slice::<Said>(line).ok().and_then(Result::ok);
            let response = said.and_then(|said| http::response(&said));
            answers.push(response.map_or_else(Answer::default, |response| Answer {
                status: Some(response.status),
                headers: response.headers,
                text: String::from_utf8_lossy(&response.body).into_owned(),
            }));
        })?;
        answers.resize(cases.len(), Answer::default());
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

/// Whether two JSON values are equal; 1 and 1.0 are the same number.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
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
}
