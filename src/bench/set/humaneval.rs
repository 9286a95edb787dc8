//! `HumanEvalFix` (Muennighoff et al., `OctoPack`, 2023): functions with one bug each, in several languages. Each
//! becomes a small repository whose tests are the visible ones of the line, one test an assertion where they can be
//! told apart.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Opened, SOURCE, made, split};
use crate::patch::{File, Patch, RepoPath};
use crate::task::Task;
use crate::workspace::{self, Scratch};

/// A line of `humanevalpack.jsonl`.
#[derive(Debug, Deserialize)]
pub struct Bug {
    /// `Python/0`.
    pub task_id: String,
    declaration: String,
    canonical_solution: String,
    buggy_solution: String,
    test: String,
    entry_point: String,
    #[serde(default)]
    docstring: String,
    /// All that comes before the function's body: also helpers that the declaration lacks.
    #[serde(default)]
    prompt: String,
    #[serde(default)]
    import: String,
    #[serde(default)]
    test_setup: String,
}

/// A repository: the path of the product file, its text with a bug and without, and the other files.
struct Repository {
    product: &'static str,
    buggy: String,
    right: String,
    others: Vec<(&'static str, String)>,
    protected: Vec<String>,
}

impl Bug {
    /// Reads a line. Fails when its language is not known.
    pub fn read(value: Value) -> Result<Bug> {
        let bug: Bug = serde_json::from_value(value).context("not a line of humanevalpack.jsonl")?;
        bug.repository()?;
        Ok(bug)
    }

    fn repository(&self) -> Result<Repository> {
        match self.task_id.split('/').next().unwrap_or_default() {
            "Python" => Ok(self.python()),
            "JavaScript" => Ok(self.javascript()),
            "Rust" => Ok(self.rust()),
            "Go" => Ok(self.go()),
            other => bail!(
                "{other:?} is no language that a repository can be made for; Python, JavaScript, Rust and Go are"
            ),
        }
    }

    /// Writes the repository.
    pub fn open(&self, cache: &Path) -> Result<Opened> {
        let folder = Scratch::new(cache)?;
        let repository = self.repository()?;
        let root = folder.folder.join(SOURCE);
        std::fs::create_dir(&root)?;
        let product = RepoPath::new(repository.product)?;
        let mut files = Patch::default();
        files.0.insert(product.clone(), Some(File::plain(repository.buggy)));
        for (path, text) in repository.others {
            files.0.insert(RepoPath::new(path)?, Some(File::plain(text)));
        }
        workspace::apply_beneath(&root, &files)?;
        let right = Patch([(product, Some(File::plain(repository.right)))].into());
        let statement =
            format!("Fix the bug in `{}`. What it is to do:\n\n{}\n", self.entry_point, self.docstring);
        let task = Task { statement: Some(statement), protected: repository.protected, ..Task::default() };
        made(task, folder, Some(Answer::Files(right)))
    }

    fn python(&self) -> Repository {
        let program = |body: &str| format!("{}{body}", self.declaration);
        let entry = &self.entry_point;
        let mut tests = format!("from program import *\nfrom program import {entry}\n\n");
        if let Some(split) = split::python(&self.test, "check") {
            tests.push_str(&split.before);
            if split.parameter != *entry {
                let _ = writeln!(tests, "{} = {entry}", split.parameter);
            }
            for (at, case) in split.cases.iter().enumerate() {
                let _ = write!(tests, "\n\ndef test_{at}():\n    {case}\n");
            }
        } else {
            // The last line of the tests calls `check`, which pytest is to do.
            let call = format!("check({entry})");
            let body: Vec<&str> = self.test.lines().filter(|line| line.trim_end() != call).collect();
            let _ = write!(tests, "{}\n\n\ndef test_all():\n    {call}\n", body.join("\n").trim());
        }
        Repository {
            product: "program.py",
            buggy: program(&self.buggy_solution),
            right: program(&self.canonical_solution),
            others: vec![("test_program.py", tests), ("pytest.ini", "[pytest]\n".to_owned())],
            protected: Vec::new(),
        }
    }

    fn javascript(&self) -> Repository {
        let names = self.javascript_names();
        let program = |body: &str| format!("{}{body}\nmodule.exports = {{ {names} }};\n", self.declaration);
        let mut tests = format!(
            "const test = require('node:test');\nconst assert = require('node:assert');\nconst {{ {names} }} = require('./program.js');\n"
        );
        if let Some(cases) = split::javascript(&self.test) {
            for (at, case) in cases.iter().enumerate() {
                let _ = write!(tests, "\ntest('case {at}', () => {{\n  assert.ok({case});\n}});\n");
            }
        } else {
            let _ = write!(
                tests,
                "\ntest('all', () => {{\n  const console = {{ ...globalThis.console, assert: (value) => assert.ok(value) }};\n{}\n}});\n",
                self.test
            );
        }
        let package = "{\n  \"name\": \"program\",\n  \"version\": \"1.0.0\",\n  \"private\": true,\n  \"scripts\": { \"test\": \"node --test\" }\n}\n";
        Repository {
            product: "program.js",
            buggy: program(&self.buggy_solution),
            right: program(&self.canonical_solution),
            others: vec![("program.test.js", tests), ("package.json", package.to_owned())],
            protected: Vec::new(),
        }
    }

    /// What tests may call: the function and its helpers.
    fn javascript_names(&self) -> String {
        static DECLARED: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"(?m)^(?:const|let|var|function|class)\s+(\w+)").expect("a test reads it")
        });
        let names: Vec<&str> = DECLARED
            .captures_iter(&self.declaration)
            .filter_map(|found| Some(found.get(1)?.as_str()))
            .collect();
        if names.is_empty() { self.entry_point.clone() } else { names.join(", ") }
    }

    fn rust(&self) -> Repository {
        // Imports of crates that next to no line needs; those lines do not build, and validation says so.
        let foreign = ["use rand", "use regex", "use md5"];
        let declaration: Vec<&str> = self
            .declaration
            .lines()
            .filter(|line| !foreign.iter().any(|name| line.starts_with(name)))
            .collect();
        let program =
            |body: &str| format!("#![allow(warnings)]\n{}\n{body}\n{}\n", declaration.join("\n"), self.test);
        let manifest = "[package]\nname = \"program\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
        let lock = "version = 3\n\n[[package]]\nname = \"program\"\nversion = \"0.1.0\"\n";
        Repository {
            product: "src/lib.rs",
            buggy: program(&self.buggy_solution),
            right: program(&self.canonical_solution),
            others: vec![("Cargo.toml", manifest.to_owned()), ("Cargo.lock", lock.to_owned())],
            protected: Vec::new(),
        }
    }

    fn go(&self) -> Repository {
        let whole = self.prompt.contains(self.declaration.trim());
        let head = if whole { self.prompt.clone() } else { format!("{}{}", self.import, self.declaration) };
        let program = |body: &str| {
            let code = format!("{head}{body}");
            format!("package program\n\n{}{code}", missing_imports(&code))
        };
        // The tests want testify, of which these few calls need a few lines.
        let module = "module example.com/program\n\ngo 1.21\n";
        let setup = self
            .test_setup
            .replace("github.com/stretchr/testify/assert", "example.com/program/assert")
            .replace("package main", "package program");
        Repository {
            product: "program.go",
            buggy: program(&self.buggy_solution),
            right: program(&self.canonical_solution),
            others: vec![
                ("go.mod", module.to_owned()),
                ("program_test.go", format!("{setup}\n{}", self.test)),
                ("assert/assert.go", include_str!("../../../harness/bench/assert.go").to_owned()),
            ],
            protected: vec!["assert/**".to_owned()],
        }
    }
}

/// Packages that Go functions of the set use without importing them.
fn missing_imports(code: &str) -> String {
    let packages =
        ["bytes", "fmt", "math", "regexp", "sort", "strconv", "strings", "time", "math/rand", "crypto/md5"];
    let missing = packages.iter().filter(|package| {
        let name = package.rsplit('/').next().unwrap_or(package);
        let word = format!("{name}.");
        let used = code.match_indices(&word).any(|(at, _)| {
            // `math.Abs`, and not the end of a sentence.
            let (before, after) = (&code[..at], &code[at + word.len()..]);
            !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.')
                && after.starts_with(|c: char| c.is_ascii_uppercase())
        });
        used && !code.contains(&format!("\"{package}\""))
    });
    missing.flat_map(|package| ["import \"", *package, "\"\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_and_imports_that_a_line_forgot_are_there() {
        let bug = |task: &str, declaration: &str, prompt: &str, right: &str| {
            let line = serde_json::json!({
                "task_id": task, "declaration": declaration, "prompt": prompt, "entry_point": "f",
                "canonical_solution": right, "buggy_solution": "", "test": "",
            });
            Bug::read(line).unwrap().repository().unwrap()
        };
        let go = bug(
            "Go/0",
            "\nfunc F(x float64) float64 {\n",
            "// Halves what is to sort.\nfunc half(x float64) float64 { return x / 2 }\n// F.\nfunc F(x float64) float64 {\n",
            "    return math.Abs(half(x))\n}\n",
        );
        assert!(go.right.contains("import \"math\"\n") && go.right.contains("func half"), "{}", go.right);
        assert!(!go.buggy.contains("import"), "{}", go.buggy);
        let script = bug(
            "JavaScript/0",
            "const half = (x) => x / 2\nconst f = (x) => {\n",
            "",
            "  return half(x)\n}\n",
        );
        assert!(script.right.ends_with("module.exports = { half, f };\n"), "{}", script.right);
    }
}
