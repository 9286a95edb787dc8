//! A task says what must become true: a source, an optional statement, optional targets and guards, protected
//! paths, a budget, and how to set up, build and test where detection is not enough. Read from `task.toml`
//! outside the candidate's reach, or made from the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::verdict::TestId;

/// The format number of `task.toml`, its key `regreen`.
pub const FORMAT: u32 = 1;

/// What must become true.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The format number, [`FORMAT`].
    pub regreen: u32,
    /// A name for ledgers and reports.
    #[serde(default)]
    pub id: String,
    /// What is wrong, in the words of whoever reports it.
    #[serde(default)]
    pub statement: Option<String>,
    /// Where the failing repository is.
    #[serde(default)]
    pub source: Source,
    /// Tests that must fail on the base and pass afterwards. Empty: whatever fails on the base.
    #[serde(default)]
    pub fail_to_pass: BTreeSet<TestId>,
    /// Tests that must go on passing. Empty: whatever passes on the base.
    #[serde(default)]
    pub pass_to_pass: BTreeSet<TestId>,
    /// Globs of files that a candidate must leave as they are, besides the toolchain's own.
    #[serde(default)]
    pub protected: Vec<String>,
    /// Run only this toolchain (a profile's name) instead of all that are detected.
    #[serde(default)]
    pub toolchain: Option<String>,
    /// The container image to build and test in, when the sandbox is a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Where in the container folders of the repository appear too: the absolute path, and the folder, empty for all of
    /// it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shown: BTreeMap<String, String>,
    /// Environment of set-up, build and test.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Set-up steps, instead of the profile's.
    #[serde(default)]
    pub setup: Option<Vec<Step>>,
    /// Build command, instead of the profile's.
    #[serde(default)]
    pub build_cmd: Option<Vec<String>>,
    /// Test command, instead of a profile.
    #[serde(default)]
    pub test_cmd: Option<Vec<String>>,
    /// What `test_cmd` reports.
    #[serde(default)]
    pub test_format: Option<TestFormat>,
    /// Where `test_cmd` leaves its `JUnit` XML files: a glob relative to the repository.
    #[serde(default)]
    pub test_results: Option<String>,
    /// What one command may use, where the toolchain's own limits do not fit.
    #[serde(default, skip_serializing_if = "Limits::are_unsaid")]
    pub limits: Limits,
    /// Black-box oracles: questions to the product as a program, whose answers are compared outside of the sandbox.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub oracle: Vec<Oracle>,
    /// What may be spent.
    #[serde(default)]
    pub budget: Budget,
}

impl Task {
    /// The task as anybody may read it: whoever may propose must not learn what oracles ask.
    #[must_use]
    pub fn open(&self) -> Task {
        Task { oracle: Vec::new(), ..self.clone() }
    }

    /// Whether the file that this was read from is part of its source and holds oracles: every checkout would show
    /// them to whoever proposes and to the product. `folder` is what the source is relative to.
    pub fn shows_oracles(&self, file: &Path, folder: &Path) -> bool {
        let source = folder.join(self.source.path.strip_prefix("file://").unwrap_or(&self.source.path));
        let below = file
            .canonicalize()
            .is_ok_and(|file| source.canonicalize().is_ok_and(|source| file.starts_with(source)));
        below && !self.oracle.is_empty()
    }
}

/// What one command may use. Where nothing is said, the next to be asked decides: the command line, the task, the
/// toolchain's profile, the sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// CPU time of any one process, in seconds.
    pub cpu_seconds: Option<u64>,
    /// Memory of all processes together, in MiB.
    pub memory_mib: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Any one file, in MiB.
    pub file_mib: Option<u64>,
    /// Everything that is written, in MiB.
    pub disk_mib: Option<u64>,
    /// What is kept of stdout and of stderr, each, in MiB; the middle of what is longer is left out.
    pub output_mib: Option<u64>,
}

impl Limits {
    /// These, and where they say nothing, `others`.
    #[must_use]
    pub fn or(self, others: Limits) -> Limits {
        Limits {
            cpu_seconds: self.cpu_seconds.or(others.cpu_seconds),
            memory_mib: self.memory_mib.or(others.memory_mib),
            processes: self.processes.or(others.processes),
            file_mib: self.file_mib.or(others.file_mib),
            disk_mib: self.disk_mib.or(others.disk_mib),
            output_mib: self.output_mib.or(others.output_mib),
        }
    }

    fn are_unsaid(&self) -> bool {
        *self == Limits::default()
    }

    /// Sets one limit from `NAME=VALUE`, as in `memory=4G`, `cpu=90`, `processes=500`. Sizes are in MiB unless they
    /// end in K, M, G or T.
    pub fn set(&mut self, words: &str) -> Result<(), String> {
        let (name, value) = words.split_once('=').ok_or("a limit looks like memory=4G")?;
        let place = match name {
            "cpu" => &mut self.cpu_seconds,
            "memory" => &mut self.memory_mib,
            "processes" => &mut self.processes,
            "file" => &mut self.file_mib,
            "disk" => &mut self.disk_mib,
            "output" => &mut self.output_mib,
            _ => return Err(format!("{name:?} is no limit: cpu, memory, processes, file, disk, output are")),
        };
        let plain = matches!(name, "cpu" | "processes");
        let number = if plain { value.parse().ok() } else { mebibytes(value) };
        *place =
            Some(number.filter(|number| *number > 0).ok_or(format!("{value:?} is no value for {name}"))?);
        Ok(())
    }
}

/// A size in MiB, rounded up.
fn mebibytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match &text[digits.len()..] {
        "K" => Some(number.div_ceil(1 << 10)),
        "" | "M" => Some(number),
        "G" => number.checked_mul(1 << 10),
        "T" => number.checked_mul(1 << 20),
        _ => None,
    }
}

/// Questions to the product as a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oracle {
    /// Program and arguments that every case begins with, or the server; relative to `dir`.
    pub argv: Vec<String>,
    /// The port, 1024 or above, on which the program serves HTTP. Its cases are requests, asked of one process in
    /// their order. It must not put itself into the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether the untouched base gives the expected answers, to questions about what must not change.
    #[serde(default)]
    pub same_as_base: bool,
    /// What makes the program, once.
    #[serde(default)]
    pub build: Vec<String>,
    /// The folder that it runs in, relative to the repository.
    #[serde(default)]
    pub dir: String,
    /// Deadline of every command in seconds; of a server, until it listens, and then for all its answers together.
    #[serde(default = "one_minute")]
    pub seconds: u64,
    /// The questions.
    pub case: Vec<OracleCase>,
}

/// One question and its answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OracleCase {
    /// Arguments after those of the oracle.
    #[serde(default)]
    pub args: Vec<String>,
    /// What it reads from stdin.
    #[serde(default)]
    pub stdin: String,
    /// What a server is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// What it must print, blanks at the end apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// The body that a server must answer with, blanks at the end apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The JSON value that stdout or the body must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
    /// A regular expression that must match somewhere in stdout or the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// Headers that a server must answer with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The status that it must end or answer with; 0 for a command and 200 for a server, unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers besides `Host`, `Connection` and `Content-Length`.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            headers: BTreeMap::new(),
            body: String::new(),
        }
    }
}

impl Oracle {
    /// Says what makes no sense in it.
    pub fn check(&self) -> Result<(), String> {
        if self.argv.is_empty() || self.case.is_empty() {
            return Err("it needs a program, `argv`, and at least one `case`".to_owned());
        }
        if self.port.is_some_and(|port| port < 1024) {
            return Err("a server in the box cannot have a port below 1024".to_owned());
        }
        for (number, case) in self.case.iter().enumerate() {
            case.check(self).map_err(|why| format!("case {}: {why}", number + 1))?;
        }
        Ok(())
    }
}

impl OracleCase {
    fn check(&self, oracle: &Oracle) -> Result<(), String> {
        let command = !self.args.is_empty() || !self.stdin.is_empty() || self.stdout.is_some();
        let served = self.request.is_some() || self.body.is_some() || !self.headers.is_empty();
        match oracle.port {
            Some(_) if command => return Err("args, stdin and stdout are for commands".to_owned()),
            Some(_) if self.request.is_none() => return Err("a server needs a `request`".to_owned()),
            None if served => {
                return Err("request, body and headers need an oracle with a `port`".to_owned());
            }
            Some(_) | None => {}
        }
        if self.expects() && oracle.same_as_base {
            return Err("with same_as_base the base says what is expected".to_owned());
        }
        if !self.expects() && !oracle.same_as_base {
            return Err("it expects nothing: stdout, body, json, matches, headers or status".to_owned());
        }
        if let Some(pattern) = &self.matches {
            regex::Regex::new(pattern).map_err(|error| error.to_string())?;
        }
        self.request.as_ref().map_or(Ok(()), Request::check)
    }

    fn expects(&self) -> bool {
        let told = [self.stdout.is_some(), self.body.is_some(), self.json.is_some(), self.matches.is_some()];
        told.contains(&true) || !self.headers.is_empty() || self.status.is_some()
    }
}

impl Request {
    /// One request must not smuggle in another.
    fn check(&self) -> Result<(), String> {
        let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let line = |text: &str| !text.contains(['\r', '\n', '\0']);
        let name = |text: &str| word(text) && !text.contains(':');
        if !word(&self.method) || !word(&self.path) || !self.path.starts_with('/') {
            return Err(format!("{:?} {:?} is no method and path", self.method, self.path));
        }
        match self.headers.iter().find(|(key, value)| !name(key) || !line(value)) {
            Some((key, _)) => Err(format!("{key:?} is no header")),
            None => Ok(()),
        }
    }
}

fn one_minute() -> u64 {
    60
}

/// Where a repository comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// A folder, relative to the task's own; or a URL (`file`, `https`, `ssh`).
    pub path: String,
    /// A revision; without it a folder is taken as it stands, a URL at its default branch.
    pub rev: Option<String>,
}

impl Default for Source {
    fn default() -> Self {
        Source { path: ".".to_owned(), rev: None }
    }
}

/// One command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Program and arguments; no shell.
    pub argv: Vec<String>,
}

/// What a test command of the user's own reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TestFormat {
    /// One test named `command`, passed when the exit status is 0.
    #[default]
    ExitCode,
    /// Test Anything Protocol on stdout.
    Tap,
    /// `JUnit` XML files.
    Junit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_with_their_units_and_nonsense_is_refused() {
        let check = |words: &str, expected: Result<Limits, &str>| {
            let mut limits = Limits::default();
            let done = limits.set(words).map(|()| limits);
            match (done, expected) {
                (Ok(limits), Ok(expected)) => assert_eq!(limits, expected, "{words}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{words}: {why}"),
                (done, _) => panic!("{words}: {done:?}"),
            }
        };
        check("memory=4G", Ok(Limits { memory_mib: Some(4096), ..Limits::default() }));
        check("disk=100", Ok(Limits { disk_mib: Some(100), ..Limits::default() }));
        check("file=10K", Ok(Limits { file_mib: Some(1), ..Limits::default() }));
        check("cpu=90", Ok(Limits { cpu_seconds: Some(90), ..Limits::default() }));
        check("cpu=4G", Err("no value"));
        check("memory=0", Err("no value"));
        check("memory=99999999999999T", Err("no value"));
        check("speed=9", Err("no limit"));
        check("memory", Err("looks like"));
    }
}
