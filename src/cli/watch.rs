//! What a watcher sees while a run goes on: one live line on a terminal, plain lines elsewhere, or the event
//! stream as JSON.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::record::Record;
use crate::{story, text};

/// The watcher.
pub struct Watch {
    json: bool,
    live: Option<ProgressBar>,
}

impl Watch {
    /// A watcher for stderr, and for stdout if the event stream was asked for.
    pub fn new(json: bool) -> Watch {
        let live = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner:.green} {wide_msg} {elapsed:.dim}");
            let bar = ProgressBar::new_spinner()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Watch { json, live }
    }

    /// A record reached the disk.
    pub fn record(&self, record: &Record) {
        if self.json {
            super::print(&format!("{}\n", serde_json::to_string(record).unwrap_or_default()));
        }
        if let Some(line) = story::line(record) {
            self.line(&line);
        }
    }

    /// Something is being done right now.
    pub fn say(&self, what: &str) {
        if let Some(bar) = &self.live {
            bar.set_message(text::one_line(what));
        }
    }

    /// Nothing more is being done.
    pub fn clear(&self) {
        if let Some(bar) = &self.live {
            bar.finish_and_clear();
        }
    }

    /// A line, or several, that stay.
    pub fn line(&self, line: &str) {
        let line = text::printable(line);
        match &self.live {
            Some(bar) => bar.suspend(|| write_line(&line)),
            None => write_line(&line),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.clear();
    }
}

fn write_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", line.trim_end());
}
