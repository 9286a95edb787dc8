//! A profile is a toolchain as data: how it is recognised, set up, built and tested, and which files of a
//! repository are its tests and configuration. Read from `harness/toolchains/*.toml`, embedded at build
//! time, each overridable by a file of the same name in a folder given with `--harness`.
//!
//! Placeholders in command lines: `{tree}` the repository, `{dir}` the suite's folder, `{results}` a fresh
//! folder for result files, `{launchers}` the folder of regreen's own launchers and reporters. Standing alone:
//! `{workspace}` becomes `--workspace` where the suite's `Cargo.toml` has a `[workspace]`, and nothing
//! elsewhere; `{package}` in `doctests` is the package; in `select`, `{ids}`, `{files}` and `{names}` expand to
//! as many arguments as there are. Anywhere in a word of `select`, `{regex}` is one anchored alternation of
//! names and `{filterset}` the same as an expression of nextest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use globset::{Glob, GlobBuilder, GlobMatcher};
use regex::Regex;
use serde::Deserialize;

use crate::harness;
use crate::task::Limits;

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
    /// Profiles that do not count in a folder where this one is recognised (nextest replaces cargo). Profiles
    /// that replace one another are kin: below a folder of the one, the other is not looked for.
    #[serde(default)]
    pub replaces: Vec<String>,
    /// Whether it counts only where no other toolchain is found at all (a Makefile that calls cargo).
    #[serde(default)]
    pub fallback: bool,
    /// Programs that must be installed.
    pub programs: Vec<String>,
    /// What to do when one of them is missing, for people.
    pub remedy: String,
    /// Environment of every phase; the task's wins.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What a command may use besides its deadline; the task's limits win.
    #[serde(default)]
    pub limits: Limits,
    /// What it compiles of its own library, for all repositories alike.
    pub library: Option<Library>,
    /// Set-up steps (dependencies); every step whose condition holds runs, in order, with network.
    #[serde(default)]
    pub setup: Vec<Setup>,
    /// The build, for toolchains that have one before the tests.
    pub build: Option<Build>,
    /// The tests.
    pub test: Test,
    /// The command that judges many edits in warm processes, for the repair engine: it reads `{results}/plan.json`
    /// and writes `{results}/judged.jsonl` (`harness/launchers/README.md`).
    #[serde(default)]
    pub warm: Vec<String>,
    /// Whether that builds the repository first, which is worth while for a search only.
    #[serde(default)]
    pub warm_builds: bool,
    /// How test programs are built that are run many times, where `build` and `test` do not tell.
    pub kept: Option<Kept>,
    /// Globs, relative to the suite's folder, of files that belong to tests and configuration: a candidate's
    /// edits of them are left out.
    pub protected: Vec<String>,
    /// Globs of product source files, for fault localisation.
    pub sources: Vec<String>,
    /// Download caches in the user's home that are shared read-only, relative to it (`.cargo/registry`).
    #[serde(default)]
    pub caches: Vec<String>,
}

impl Profile {
    /// All profiles, by name: the embedded ones, and those of the folder `overrides`, which win. Fails with
    /// file and line when one does not parse.
    pub fn load(overrides: Option<&Path>) -> Result<Vec<Arc<Profile>>> {
        // A bench asks for the embedded ones once a unit, and their regular expressions take a while.
        static EMBEDDED: OnceLock<Vec<Arc<Profile>>> = OnceLock::new();
        harness::once(&EMBEDDED, overrides, Profile::read)
    }

    fn read(overrides: Option<&Path>) -> Result<Vec<Arc<Profile>>> {
        harness::files(overrides, "toolchains", "toml")?
            .into_iter()
            .map(|file| {
                let profile = Profile::parse(&file.stem, &file.text);
                Ok(Arc::new(
                    profile
                        .with_context(|| format!("failed to read the toolchain profile {}", file.shown))?,
                ))
            })
            .collect()
    }

    /// One profile. Its globs and regular expressions are checked, so that a mistake shows before a run.
    pub fn parse(name: &str, text: &str) -> Result<Profile> {
        let mut profile: Profile = toml::from_str(text)?;
        name.clone_into(&mut profile.name);
        ensure!(!profile.detect.is_empty(), "`detect` is empty");
        profile.check()?;
        Ok(profile)
    }

    /// Whether it is that of a task's own test command, which knows nothing of regreen's launchers.
    pub fn is_own(&self) -> bool {
        self.detect.is_empty()
    }

    /// The profile of a task's own test command.
    pub fn own(argv: &[String], format: Format, results: Option<&str>) -> Profile {
        Profile {
            name: "command".to_owned(),
            about: "a test command of the task's own".to_owned(),
            detect: Vec::new(),
            replaces: Vec::new(),
            fallback: false,
            programs: Vec::new(),
            remedy: String::new(),
            environment: BTreeMap::new(),
            limits: Limits::default(),
            library: None,
            setup: Vec::new(),
            build: None,
            test: Test {
                argv: argv.to_vec(),
                all: Vec::new(),
                doctests: Vec::new(),
                environment: BTreeMap::new(),
                format,
                results: results.map(str::to_owned),
                in_tree: true,
                split: None,
                select: Vec::new(),
                passed: None,
                compiler: Compiler::Any,
                seconds: ten_minutes(),
            },
            warm: Vec::new(),
            warm_builds: false,
            kept: None,
            protected: protected_by(argv),
            sources: vec!["**/*".to_owned()],
            caches: Vec::new(),
        }
    }

    fn check(&self) -> Result<()> {
        let whens = self.setup.iter().map(|step| &step.when);
        let whens = whens.chain(self.build.iter().map(|build| &build.when)).flatten();
        for condition in self.detect.iter().chain(whens) {
            glob(&condition.file)?;
            condition.without.as_deref().map(glob).transpose()?;
            condition.contains.as_deref().map(Regex::new).transpose()?;
        }
        for pattern in self.protected.iter().chain(&self.sources).chain(&self.test.results) {
            glob(pattern)?;
        }
        self.test.passed.as_deref().map(Regex::new).transpose()?;
        if let Some(split) = self.test.split.as_deref() {
            let names = Regex::new(split)?;
            let has = |group| names.capture_names().flatten().any(|name| name == group);
            ensure!(has("name") && has("file"), "`split` needs groups `file` and `name`");
        }
        Ok(())
    }
}

/// What a test command of the task's own runs: the usual places of tests, and every file that it names, also in
/// the script of a shell.
fn protected_by(argv: &[String]) -> Vec<String> {
    let mut globs = ["test/**", "tests/**", "t/**"].map(str::to_owned).to_vec();
    let apart = |c: char| c.is_whitespace() || "'\"`;&|()<>=".contains(c);
    let words: Vec<&str> =
        argv.iter().flat_map(|word| word.split(apart)).filter(|word| !word.is_empty()).collect();
    if words.contains(&"make") {
        globs.push("{GNUmakefile,makefile,Makefile}".to_owned());
    }
    for word in words {
        let word = globset::escape(word.strip_prefix("./").unwrap_or(word).trim_end_matches('/'));
        globs.push(format!("{word}/**"));
        globs.push(word);
    }
    globs
}

/// A glob whose `*` stays within a folder.
pub fn glob(pattern: &str) -> Result<GlobMatcher> {
    let glob: Glob = GlobBuilder::new(pattern).literal_separator(true).build()?;
    Ok(glob.compile_matcher())
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

/// What a toolchain compiles of its own library before anything else. It is done once a machine, in an empty home with
/// no repository in sight, and later homes lie on top of that one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    /// Prints which toolchain it is; with another one it is done again.
    pub version: Vec<String>,
    /// Compile it.
    pub commands: Vec<Vec<String>>,
}

/// A set-up step.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// When the step is needed; always, if absent.
    pub when: Option<Condition>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Whether it may fail: it only spares later commands some work.
    #[serde(default)]
    pub optional: bool,
    /// Deadline in seconds.
    #[serde(default = "ten_minutes")]
    pub seconds: u64,
    /// The folder it runs in, relative to the repository, where that is not the suite's.
    #[serde(skip)]
    pub at: Option<String>,
}

impl Setup {
    /// A step of the task's own, which runs in the folder `at`.
    pub fn own(argv: &[String], at: &str) -> Setup {
        Setup {
            when: None,
            argv: argv.to_vec(),
            optional: false,
            seconds: ten_minutes(),
            at: Some(at.to_owned()),
        }
    }
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
    /// The folder that the first command runs in, relative to the repository, where that is not the suite's.
    #[serde(skip)]
    pub at: Option<String>,
}

impl Build {
    /// A build command of the task's own, which runs in the folder `at`, and what must follow it.
    pub fn own(own: Option<Vec<String>>, then: Vec<Vec<String>>, compiler: Compiler, at: &str) -> Build {
        Build {
            when: None,
            at: own.is_some().then(|| at.to_owned()),
            commands: own.into_iter().chain(then).collect(),
            compiler,
            tests_despite_failure: false,
            seconds: ten_minutes(),
        }
    }
}

/// How test programs are built that are run many times: for tools that build anew whenever they test.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Compiles the product, with all that is wrong in it.
    pub build: Vec<Vec<String>>,
    /// Takes the place of the tests' `argv`: leaves in the folder `$REGREEN_KEPT` for each test program that it would
    /// run a script `*.sh` that does so.
    pub argv: Vec<String>,
    /// Arguments of such a program that runs one test, `{name}`.
    pub alone: Vec<String>,
}

/// The tests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// Program and arguments. For [`Format::Libtest`] the arguments that follow each test binary.
    pub argv: Vec<String>,
    /// Arguments appended when everything runs, where `select` would take their place (`./...`).
    #[serde(default)]
    pub all: Vec<String>,
    /// The command for the doctests of one package, `{package}`; for Rust only.
    #[serde(default)]
    pub doctests: Vec<String>,
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
    /// A regular expression with the group `name` of tests that pass, in what is printed; for the repair engine only.
    pub passed: Option<String>,
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
    /// `JUnit` XML files, ids `classname::name`.
    Junit,
    /// `JUnit` XML files of Surefire and Gradle, ids `package.Class#method`.
    JunitJava,
    /// The `JUnit` XML file of `CTest`, whose own words on stdout say how a test crashed.
    JunitCtest,
    /// Test Anything Protocol on stdout.
    Tap,
    /// regreen's own launchers: a JSON object a line in a file (`harness/launchers/README.md`).
    Records,
    /// One test named `command`, passed when the exit status is 0.
    ExitCode,
    /// The exit status as with `exit-code`, and besides it whatever tests stdout reports in TAP. The test
    /// `command` is always there: a target must not vanish when a build is mended and TAP begins to appear.
    ExitCodeAndTap,
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
    /// Whoever it is: the tool of a command that the task brings along.
    Any,
    /// Nobody whose words are understood.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_profile_loads_and_names_only_profiles_that_exist() {
        let profiles = Profile::load(None).unwrap();
        let names: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
        assert!(names.contains(&"cargo") && names.contains(&"go"), "{names:?}");
        assert!(!profiles.iter().any(|profile| profile.is_own()));
        assert!(Profile::own(&["make".to_owned()], Format::Tap, None).is_own());
        for profile in &profiles {
            for replaced in &profile.replaces {
                assert!(
                    names.contains(&replaced.as_str()),
                    "{} replaces {replaced}, which does not exist",
                    profile.name
                );
            }
        }
    }

    #[test]
    fn an_override_wins_and_a_broken_one_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let toolchains = folder.path().join("toolchains");
        std::fs::create_dir(&toolchains).unwrap();
        let own = "about = 'own'\ndetect = [{ file = 'x' }]\nprograms = []\nremedy = ''\nprotected = []\n\
                   sources = []\n[test]\nargv = ['x']\nformat = 'tap'\ncompiler = 'none'\n";
        std::fs::write(toolchains.join("go.toml"), own).unwrap();
        std::fs::write(toolchains.join("zig.toml"), own).unwrap();
        let profiles = Profile::load(Some(folder.path())).unwrap();
        let about = |name| &profiles.iter().find(|profile| profile.name == name).unwrap().about;
        assert_eq!((about("go").as_str(), about("zig").as_str()), ("own", "own"));
        std::fs::write(toolchains.join("go.toml"), "about = 'own'\nabuot = 'own'\n").unwrap();
        let error = format!("{:#}", Profile::load(Some(folder.path())).unwrap_err());
        assert!(
            error.contains("toolchains/go.toml") && error.contains("line 2") && error.contains("abuot"),
            "{error}"
        );
    }
}
