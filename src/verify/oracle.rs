//! Black-box oracles run the product alone in the sandbox, as a program that is told something on its command line
//! and its stdin, and compare what it says outside of the box. Neither the driver nor an expected value ever enters
//! the box, so there is nothing in it to forge.

use anyhow::Result;

use super::attest::Secret;
use super::judge::{Finding, Judging};
use super::observe::Phase;
use super::{count, plain};
use crate::process::Finished;
use crate::task::{Oracle, OracleCase};
use crate::toolchain::{Invocation, Reads};
use crate::verdict::{Exit, FailureKind, Level};
use crate::workspace::Workspace;

/// Bytes of a program's answer that are compared.
const ANSWER: usize = 1 << 20;

impl Judging<'_> {
    /// The task's oracles, if it has any.
    pub(super) async fn oracles(&mut self) -> Result<Finding> {
        let oracles = &self.verifier.task.oracle;
        if oracles.is_empty() {
            return Ok(Finding::NotRun("the task has none".to_owned()));
        }
        (self.say)("asking black-box oracles");
        let workspace = match self.workspace()? {
            Ok(workspace) => workspace,
            Err(failure) => return Ok(Finding::red(failure)),
        };
        let (mut asked, mut wrong) = (0, 0);
        for oracle in oracles {
            if !oracle.build.is_empty() {
                let built = self.execute(&workspace, oracle, &oracle.build, Vec::new()).await?;
                if !built.exit.success() {
                    return Ok(does_not_build(oracle));
                }
            }
            for case in self.shuffled(&oracle.case)? {
                let argv = [oracle.argv.clone(), case.args.clone()].concat();
                let said = self.execute(&workspace, oracle, &argv, case.stdin.clone().into_bytes()).await?;
                asked += 1;
                wrong += usize::from(!agrees(case, &said)?);
            }
        }
        if wrong > 0 {
            let summary = format!("{} of {} answered wrongly", wrong, count(asked, "black-box question"));
            return Ok(Finding::red(plain(FailureKind::HeldOutFails, summary)));
        }
        self.level = Level::BlackBox;
        Ok(Finding::Passed(format!("{} answered rightly", count(asked, "question"))))
    }

    /// The cases in an order that nobody knows before.
    fn shuffled<'c>(&mut self, cases: &'c [OracleCase]) -> Result<Vec<&'c OracleCase>> {
        let secret = Secret::fresh()?;
        self.seeds.push(secret.seed);
        let (mut draw, mut left) = (secret.draw(), cases.iter().collect::<Vec<_>>());
        let mut order = Vec::new();
        while !left.is_empty() {
            order.push(left.swap_remove(draw.below(left.len())));
        }
        Ok(order)
    }

    async fn execute(
        &self,
        workspace: &Workspace,
        oracle: &Oracle,
        argv: &[String],
        input: Vec<u8>,
    ) -> Result<Finished> {
        let invocation = Invocation {
            argv: argv.to_vec(),
            dir: oracle.dir.clone(),
            env: std::collections::BTreeMap::new(),
            seconds: oracle.seconds,
            limits: crate::task::Limits::default(),
            reads: Reads::Messages,
        };
        let results = self.verifier.workshop.scratch.results()?;
        self.verifier.run_with_input(&invocation, workspace, &results, Phase::Test, input).await
    }
}

/// Whether a program's answer is the expected one.
fn agrees(case: &OracleCase, said: &Finished) -> Result<bool> {
    let answer = said.stdout.excerpt(ANSWER)?;
    let output = case.stdout.as_ref().is_none_or(|expected| expected.trim_end() == answer.trim_end());
    Ok(output && said.exit == Exit::Code(case.status))
}

fn does_not_build(oracle: &Oracle) -> Finding {
    let summary = format!("{} fails, so there is no program to ask", oracle.build.join(" "));
    Finding::red(plain(FailureKind::DoesNotBuild, summary))
}
