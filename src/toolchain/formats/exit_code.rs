//! One test that stands for a whole command: passed when the exit status is 0.

use crate::toolchain::Parsed;
use crate::verdict::{Exit, Outcome, TestResult};

/// The test's id.
pub const ID: &str = "command";

/// The result of a command that ended like this; `log` becomes the message of a failure.
pub fn parse(exit: &Exit, log: &str) -> Parsed {
    let test = if exit.success() {
        TestResult::new(ID, Outcome::Passed)
    } else {
        TestResult::failed(ID, super::bounded(&format!("{exit}\n{log}")))
    };
    Parsed { tests: vec![test], diagnostics: Vec::new(), complete: matches!(exit, Exit::Code(_)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_status_zero_passes() {
        let cases = [
            (Exit::Code(0), Outcome::Passed, true),
            (Exit::Code(2), Outcome::Failed, true),
            (Exit::Signal(6), Outcome::Failed, false),
            (Exit::TimedOut(9), Outcome::Failed, false),
        ];
        for (exit, outcome, complete) in cases {
            let parsed = parse(&exit, "it broke");
            assert_eq!((parsed.tests[0].outcome, parsed.complete), (outcome, complete), "{exit}");
        }
    }
}
