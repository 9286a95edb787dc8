//! `HumanEvalFix` (Muennighoff et al., `OctoPack`, 2023): functions with one bug each, in several languages. Each
//! becomes a small repository whose tests are the visible ones of the line, one test an assertion where they can be
//! told apart.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
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
        let entry = &self.entry_point;
        let program = |body: &str| format!("{}{body}\nmodule.exports = {{ {entry} }};\n", self.declaration);
        let mut tests = format!(
            "const test = require('node:test');\nconst assert = require('node:assert');\nconst {{ {entry} }} = require('./program.js');\n"
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
        let program = |body: &str| format!("package program\n\n{}{}{body}", self.import, self.declaration);
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
