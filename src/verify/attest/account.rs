//! An account is what the records of one launcher process amount to. A line is `CODE NUMBER KIND DATA`, the code
//! over the rest made from the run's key. What is forged, missing or does not agree is a contradiction.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Attestation, Secret};
use crate::text;
use crate::toolchain::formats::records;
use crate::toolchain::place::Place;
use crate::verdict::{Exit, Outcome, TestId, TestResult, keep_worse};

/// As many contradictions are kept.
const MOST: usize = 50;

/// What the records of one process say, ids relative to the suite's folder.
#[derive(Debug, Default)]
pub struct Account {
    /// The results.
    pub tests: BTreeMap<TestId, TestResult>,
    /// Tests that passed, with a beacon.
    pub attested: BTreeSet<TestId>,
    /// Tests that passed and cannot carry a beacon, and why.
    pub unattestable: BTreeMap<TestId, String>,
    /// What does not agree.
    pub contradictions: Vec<String>,
    /// Why the launcher cannot attest this suite, if so.
    pub declined: Option<String>,
    /// Whether the records reach to the end.
    pub whole: bool,
}

/// What the launcher saw of a test, besides its result.
#[derive(Deserialize)]
struct Seen {
    /// No phase raised anything, and every report of a phase says so too.
    #[serde(default)]
    raw: bool,
    /// The beacon in its body.
    #[serde(default)]
    token: Option<String>,
    /// The beacons of those that it may be, where its name is made while it runs.
    #[serde(default)]
    tokens: Vec<String>,
    /// It is wrapped in what may leave the body out.
    #[serde(default)]
    loose: bool,
    /// Why it has no beacon.
    #[serde(default)]
    why: Option<String>,
    /// It should have a beacon, and was not loaded by the launcher.
    #[serde(default)]
    lost: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Token { token: String },
    Started { id: String },
    Status { status: i32 },
    What { what: String },
    Why { why: String },
    Nothing {},
}

/// Reads what a launcher wrote and how it ended.
pub fn read(bytes: &[u8], secret: &Secret, place: &Place, exit: &Exit) -> Account {
    let mut reader = Reader::default();
    for (number, line) in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
        let line = String::from_utf8_lossy(line);
        let Some((kind, data)) = opened(&line, number as u64, secret) else {
            reader.account.contradict("a record is forged, or one is missing before it".to_owned());
            break;
        };
        reader.hear(kind, data, place);
    }
    reader.end(exit)
}

/// The kind and the data of a line whose code and number are right.
fn opened<'a>(line: &'a str, number: u64, secret: &Secret) -> Option<(&'a str, &'a str)> {
    let mut parts = line.splitn(4, ' ');
    let (code, said, kind, data) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let right = said == number.to_string() && secret.code(number, kind, data) == code;
    right.then_some((kind, data))
}

#[derive(Default)]
struct Reader {
    account: Account,
    begun: bool,
    /// The status that the session ended with, then the one that the runner returned.
    finish: Option<i32>,
    end: Option<i32>,
    running: Option<TestId>,
    /// How often each body was run to its end, for a test that has not been told of yet.
    bodies: BTreeMap<String, usize>,
}

impl Reader {
    fn hear(&mut self, kind: &str, data: &str, place: &Place) {
        if self.end.is_some() {
            self.account.contradict("there are records after the end".to_owned());
        }
        let word = serde_json::from_str(data).unwrap_or(Word::Nothing {});
        match (kind, word) {
            ("begin", _) => self.begun = true,
            ("start", Word::Started { id }) => {
                self.running = Some(id);
                self.bodies.clear();
            }
            ("body", Word::Token { token }) => {
                *self.bodies.entry(token).or_default() += 1;
            }
            ("test", _) => self.test(data, place),
            ("contradiction", Word::What { what }) => self.account.contradict(what),
            ("declined", Word::Why { why }) => self.account.declined = Some(why),
            ("finish", Word::Status { status }) => self.finish = Some(status),
            ("end", Word::Status { status }) => self.end = Some(status),
            _ => self.account.contradict(format!("a record of an unknown kind: {}", text::one_line(kind))),
        }
    }

    fn test(&mut self, data: &str, place: &Place) {
        let (Some(mut test), Ok(seen)) = (records::test(data, place), serde_json::from_str::<Seen>(data))
        else {
            self.account.contradict("a record of a test cannot be read".to_owned());
            return;
        };
        let id = test.id.clone();
        if self.running.as_ref() == Some(&id) {
            self.running = None;
        }
        if test.outcome == Outcome::Passed {
            match self.judge(&seen) {
                Ok(None) => {
                    self.account.attested.insert(id);
                }
                Ok(Some(why)) => {
                    self.account.unattestable.insert(id, why);
                }
                Err(what) => {
                    self.account.contradict(format!("{id} is said to have passed, {what}"));
                    test = TestResult::failed(id, format!("it is said to have passed, {what}"));
                }
            }
        }
        keep_worse(&mut self.account.tests, test);
    }

    /// Whether a test that passed is attested, or why it cannot be; an error says what speaks against it.
    fn judge(&mut self, seen: &Seen) -> Result<Option<String>, String> {
        if let Some(lost) = &seen.lost {
            return Err(format!("and {lost}"));
        }
        if !seen.raw {
            return Err("and something was raised in it or around it".to_owned());
        }
        if !seen.tokens.is_empty() {
            let ran = seen.tokens.iter().any(|token| self.take(token));
            return Ok((!ran).then(|| "which body it has cannot be told".to_owned()));
        }
        match (&seen.token, &seen.why) {
            (Some(token), _) if self.take(token) => Ok(None),
            (Some(_), _) if seen.loose => Ok(Some("what it is wrapped in may not run its body".to_owned())),
            (Some(_), _) => Err("and its body was not run to its end".to_owned()),
            (None, Some(why)) => Ok(Some(why.clone())),
            (None, None) => Err("and nothing tells what ran".to_owned()),
        }
    }

    /// Takes one run of a body to its end.
    fn take(&mut self, token: &str) -> bool {
        let left = self.bodies.get_mut(token).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }

    fn end(mut self, exit: &Exit) -> Account {
        if let Some(id) = self.running.take() {
            let message = "the process ended, or was ended, while this test ran";
            keep_worse(&mut self.account.tests, TestResult::failed(id, message));
        }
        let agreed = self.end.is_some_and(|end| *exit == Exit::Code(end));
        self.account.whole = self.begun && self.finish.is_some() && self.finish == self.end && agreed;
        if self.account.declined.is_none() && !self.account.whole {
            let say = |status: Option<i32>| status.map_or("nothing".to_owned(), |status| status.to_string());
            self.account.contradict(format!(
                "the records are not whole: the session ended with {}, the runner with {}, the process with: {exit}",
                say(self.finish),
                say(self.end)
            ));
        }
        // A test that has a second, worse result has not passed.
        let Account { tests, attested, unattestable, .. } = &mut self.account;
        let passed = |id: &TestId| tests.get(id).is_some_and(|test| test.outcome == Outcome::Passed);
        attested.retain(passed);
        unattestable.retain(|id, _| passed(id));
        self.account
    }
}

impl Account {
    /// Adds what this account says to an attestation. `known` gives the baseline's id of a test of the suite.
    pub fn add_to(self, attestation: &mut Attestation, known: impl Fn(&str) -> TestId) {
        for (id, mut test) in self.tests {
            test.id = known(&id);
            keep_worse(&mut attestation.run.tests, test);
        }
        attestation.attested.extend(self.attested.iter().map(|id| known(id)));
        attestation.unattestable.extend(self.unattestable.into_iter().map(|(id, why)| (known(&id), why)));
        attestation.contradictions.extend(self.contradictions);
    }

    fn contradict(&mut self, what: String) {
        if self.contradictions.len() < MOST && !self.contradictions.contains(&what) {
            self.contradictions.push(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn secret() -> Secret {
        Secret { key: [3; 32], seed: 0 }
    }

    fn line(number: u64, kind: &str, data: &str) -> String {
        format!("{} {number} {kind} {data}\n", secret().code(number, kind, data))
    }

    fn lines(records: &[(&str, &str)]) -> String {
        let numbered = records.iter().zip(0..);
        numbered.map(|((kind, data), number)| line(number, kind, data)).collect::<Vec<_>>().concat()
    }

    fn account(text: &str, exit: &Exit) -> Account {
        read(text.as_bytes(), &secret(), &Place::new(Path::new("/w/tree"), ""), exit)
    }

    const START: (&str, &str) = ("start", r#"{"id":"t"}"#);
    const BODY: (&str, &str) = ("body", r#"{"token":"b"}"#);
    const PASS: (&str, &str) = ("test", r#"{"id":"t","outcome":"passed","raw":true,"token":"b"}"#);
    const ENDS: [(&str, &str); 2] = [("finish", r#"{"status":0}"#), ("end", r#"{"status":0}"#)];

    /// Asserts whether `t` is attested, and a part of the first contradiction.
    fn check(middle: &[(&str, &str)], attested: bool, contradiction: Option<&str>) {
        let text = lines(&[&[("begin", "{}")], middle, &ENDS].concat());
        let account = account(&text, &Exit::Code(0));
        assert_eq!(account.attested.contains("t"), attested, "{text}");
        let first = account.contradictions.first().map(String::as_str);
        match contradiction {
            None => assert_eq!(first, None, "{text}"),
            Some(part) => assert!(first.is_some_and(|first| first.contains(part)), "{text}{first:?}"),
        }
    }

    #[test]
    fn a_pass_needs_raw_outcome_and_the_beacon_of_its_own_body() {
        check(&[START, BODY, PASS], true, None);
        check(&[START, PASS], false, Some("not run to its end"));
        check(&[BODY, START, PASS], false, Some("not run to its end"));
        check(&[START, ("body", r#"{"token":"c"}"#), PASS], false, Some("not run to its end"));
        check(
            &[START, BODY, ("test", r#"{"id":"t","outcome":"passed","token":"b"}"#)],
            false,
            Some("raised"),
        );
        check(
            &[START, BODY, ("test", r#"{"id":"t","outcome":"passed","raw":true,"lost":"x"}"#)],
            false,
            Some("x"),
        );
        check(
            &[START, BODY, ("test", r#"{"id":"t","outcome":"passed","raw":true}"#)],
            false,
            Some("nothing"),
        );
        check(&[START, BODY, PASS, ("test", r#"{"id":"t","outcome":"failed"}"#)], false, None);
        let twice = r#"{"id":"u","outcome":"passed","raw":true,"token":"b"}"#;
        check(&[BODY, PASS, ("test", twice)], true, Some("not run to its end"));
        check(&[BODY, BODY, PASS, ("test", twice)], true, None);
        let one_of = r#"{"id":"t","outcome":"passed","raw":true,"tokens":["a","b"]}"#;
        check(&[BODY, ("test", one_of)], true, None);
        check(&[("test", one_of)], false, None);
        check(&[START, ("test", r#"{"id":"t","outcome":"skipped"}"#)], false, None);
        check(&[START, BODY, PASS, ("contradiction", r#"{"what":"patched"}"#)], true, Some("patched"));
    }

    #[test]
    fn a_test_that_cannot_carry_a_beacon_is_unattestable_and_not_refused() {
        for record in [
            r#"{"id":"t","outcome":"passed","raw":true,"why":"a doctest"}"#,
            r#"{"id":"t","outcome":"passed","raw":true,"token":"b","loose":true}"#,
        ] {
            let text = lines(&[&[("begin", "{}"), START, ("test", record)][..], &ENDS].concat());
            let account = account(&text, &Exit::Code(0));
            assert!(account.unattestable.contains_key("t") && account.contradictions.is_empty(), "{record}");
        }
    }

    #[test]
    fn forged_cut_and_contradicting_records_are_no_pass() {
        let whole = lines(&[&[("begin", "{}"), START, BODY, PASS][..], &ENDS].concat());
        assert!(account(&whole, &Exit::Code(0)).whole);
        let forged = whole.replacen("passed", "skipped", 1);
        let swapped: Vec<&str> = whole.lines().collect();
        let swapped = [swapped[0], swapped[2], swapped[1]].join("\n");
        let cut = whole.lines().take(4).collect::<Vec<_>>().join("\n");
        let appended = format!("{whole}{{\"id\":\"t\",\"outcome\":\"passed\"}}\n");
        for text in [String::new(), forged, swapped, cut, appended] {
            assert!(!account(&text, &Exit::Code(0)).contradictions.is_empty(), "{text}");
        }
        for exit in [Exit::Code(1), Exit::Signal(9), Exit::TimedOut(5)] {
            assert!(!account(&whole, &exit).contradictions.is_empty(), "{exit}");
        }
        let aborted = account(&lines(&[("begin", "{}"), START]), &Exit::Code(0));
        assert_eq!(aborted.tests["t"].outcome, Outcome::Failed);
    }
}
