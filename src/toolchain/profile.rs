//! A profile is a toolchain as data: how it is recognised, set up, built and tested, and which files of a
//! repository are its tests and configuration. Read from `harness/toolchains/*.toml`, embedded at build
//! time, each overridable by a file of the same name in a folder given with `--harness`.
//!
//! Placeholders in `argv`: `{tree}` the repository, `{dir}` the suite's folder, `{results}` a fresh folder for result files,
//! `{launchers}` the folder of regreen's own launchers and reporters; in `select` also `{ids}`, `{files}`,
//! `{names}` (each expands to as many arguments as there are) and `{regex}` (one anchored alternation of names).

use std::collections::BTreeMap;

use serde::Deserialize;

/// One toolchain.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name, also the file's: `cargo`, `pytest`, `jest` …
    #[serde(default)]
    pub name: String,
    /// One sentence for `regreen doctor`.
    pub about: String,
    /// Any of these recognises the toolchain in a folder.
    pub detect: Vec<Condition>,
    /// Profiles that do not count in a folder where this one is recognised (nextest replaces cargo).
    #[serde(default)]
    pub replaces: Vec<String>,
    /// Programs that must be installed.
    pub programs: Vec<String>,
    /// What to do when one of them is missing, for people.
    pub remedy: String,
    /// Environment of every phase.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Set-up steps (dependencies); every step whose condition holds runs, in order, with network.
    #[serde(default)]
    pub setup: Vec<Setup>,
    /// The build, for toolchains that have one before the tests.
    pub build: Option<Build>,
    /// The tests.
    pub test: Test,
    /// Globs, relative to the suite's folder, of files that belong to tests and configuration: a candidate's
    /// edits of them are left out.
    pub protected: Vec<String>,
    /// Globs of product source files, for fault localisation.
    pub sources: Vec<String>,
    /// Download caches in the user's home that are shared read-only, relative to it (`.cargo/registry`).
    #[serde(default)]
    pub caches: Vec<String>,
}

/// Something that is true of a folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// A glob, relative to the folder, that must match a file.
    pub file: String,
    /// A regular expression that a matched file must contain.
    pub contains: Option<String>,
    /// A glob that must match nothing.
    pub without: Option<String>,
}

/// A set-up step.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// When the step is needed; always, if absent.
    pub when: Option<Condition>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Deadline in seconds.
    #[serde(default = "ten_minutes")]
    pub seconds: u64,
}

/// A build.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// When the build is needed; always, if absent.
    pub when: Option<Condition>,
    /// Commands, run in order while they succeed.
    pub commands: Vec<Vec<String>>,
    /// Who speaks.
    pub compiler: Compiler,
    /// Whether the tests run although the build failed: a type check beside a runner that strips types.
    #[serde(default)]
    pub tests_despite_failure: bool,
    /// Deadline in seconds.
    #[serde(default = "ten_minutes")]
    pub seconds: u64,
}

/// The tests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// Program and arguments. For [`Format::Libtest`] the arguments that follow each test binary.
    pub argv: Vec<String>,
    /// Environment of the test commands only.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// How results are read.
    pub format: Format,
    /// A glob of result files: below `{results}`, or below the suite's folder if `in_tree`.
    pub results: Option<String>,
    /// Whether `results` lie in the tree (Maven, Gradle).
    #[serde(default)]
    pub in_tree: bool,
    /// A regular expression with groups `file` and `name` that splits a test id for `select`.
    pub split: Option<String>,
    /// Arguments appended to run little more than the chosen tests. Empty: everything runs.
    #[serde(default)]
    pub select: Vec<String>,
    /// Who speaks when the tests do not even load.
    pub compiler: Compiler,
    /// Deadline in seconds.
    #[serde(default = "ten_minutes")]
    pub seconds: u64,
}

fn ten_minutes() -> u64 {
    600
}

/// How results are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// libtest's JSON on stdout of every test binary that the build announced.
    Libtest,
    /// The text of `cargo test --doc`; no profile names it, [`Format::Libtest`] brings it along.
    Doctest,
    /// nextest's `libtest-json-plus` on stdout.
    Nextest,
    /// `go test -json` on stdout.
    GoTest,
    /// The JSON file of jest and vitest.
    Jest,
    /// The JSON file of mocha.
    Mocha,
    /// `JUnit` XML files.
    Junit,
    /// Test Anything Protocol on stdout.
    Tap,
    /// regreen's own launchers: a JSON object a line in a file (`harness/launchers/README.md`).
    Records,
    /// One test named `command`, passed when the exit status is 0.
    ExitCode,
}

/// Whose messages become diagnostics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compiler {
    /// rustc's JSON messages, as cargo wraps them.
    Rustc,
    /// `tsc --pretty false`.
    Tsc,
    /// javac, also as Maven and Gradle print it.
    Javac,
    /// gcc and clang.
    Gcc,
    /// `go build`, `go vet`.
    Go,
    /// Python tracebacks and syntax errors.
    Python,
    /// `SyntaxError` and module errors of Node.
    Node,
    /// Nobody whose words are understood.
    None,
}
