//! The console is what a step of the action prints: one stream, in which nothing but its own commands is taken for a
//! command by the runner. Secrets are masked in it and in whatever else a step writes.

use std::io::Write as _;

use anyhow::Result;

use crate::github::Secrets;
use crate::github::escape;
use crate::record::Record;
use crate::story;
use crate::verify::attest::hexadecimal;

/// What a step prints to.
pub struct Console {
    /// What ends the time without commands; nobody can guess it. None outside of a runner.
    token: Option<String>,
    secrets: Secrets,
}

impl Console {
    /// Begins: masks the secrets and lets the runner take no commands from here on.
    pub fn begin(runner: bool, secrets: &Secrets) -> Result<Console> {
        let token = if runner { Some(random()?) } else { None };
        let console = Console { token, secrets: secrets.clone() };
        if let Some(token) = &console.token {
            for line in secrets.lines() {
                write(&escape::command("add-mask", &[], line));
            }
            write(&format!("::stop-commands::{token}"));
        }
        Ok(console)
    }

    /// Prints lines that may hold anything.
    pub fn line(&self, text: &str) {
        write(&escape::log(&self.secrets.hide(text)));
    }

    /// Prints what a record is worth.
    pub fn record(&self, record: &Record) {
        if let Some(line) = story::line(record) {
            self.line(&line);
        }
    }

    /// Lets the runner take one command; elsewhere it is a line.
    pub fn command(&self, name: &str, properties: &[(&str, &str)], message: &str) {
        let message = self.secrets.hide(message);
        match &self.token {
            Some(token) => {
                let command = escape::command(name, properties, &message);
                write(&format!("::{token}::\n{command}\n::stop-commands::{token}"));
            }
            None => self.line(&format!("{name}: {message}")),
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            write(&format!("::{token}::"));
        }
    }
}

/// 128 bits as digits.
pub fn random() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("failed to get random bytes: {error}"))?;
    Ok(hexadecimal(&bytes))
}

/// One write a call, so that lines stay whole.
fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{}\n", text.trim_end_matches('\n')).as_bytes());
    let _ = out.flush();
}
