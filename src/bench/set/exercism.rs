//! Exercism-style tracks, in the layout that Aider's polyglot benchmark uses too: an exercise is a folder with
//! `.meta/config.json`, which names the files of the solution, of the tests and of an example. The stub is the base,
//! the example the right answer, and tests that learners have to switch on are switched on.

use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use regex::Regex;
use serde::Deserialize;

use super::{Answer, Opened, SOURCE, listed, made};
use crate::patch::{Patch, RepoPath};
use crate::task::Task;
use crate::workspace::{self, Scratch};

/// Where an exercise says what its files are.
const CONFIG: &str = ".meta/config.json";

/// Folders of an exercise that are not part of what a learner works on.
const ASIDE: [&str; 5] = [".meta", ".docs", ".approaches", ".articles", ".git"];

/// Bytes of one text that are read.
const LARGEST: u64 = 4 << 20;

/// An exercise.
#[derive(Debug)]
pub struct Exercise {
    folder: PathBuf,
    files: Files,
}

#[derive(Debug, Deserialize)]
struct Config {
    files: Files,
}

/// The files of an exercise, relative to it.
#[derive(Debug, Deserialize)]
struct Files {
    solution: Vec<RepoPath>,
    test: Vec<RepoPath>,
    example: Vec<RepoPath>,
}

/// The exercises of a folder: a track, a folder of tracks, a folder of exercises, or one exercise.
pub fn found(place: &Path) -> Result<Vec<PathBuf>> {
    if is_exercise(place) {
        return Ok(vec![place.to_owned()]);
    }
    let mut found = Vec::new();
    for folder in [place.to_owned()].into_iter().chain(folders(place)?) {
        let practice = folder.join("exercises/practice");
        if practice.is_dir() {
            found.extend(folders(&practice)?.into_iter().filter(|inside| is_exercise(inside)));
        } else if folder != place && is_exercise(&folder) {
            found.push(folder);
        }
    }
    Ok(found)
}

fn folders(place: &Path) -> Result<Vec<PathBuf>> {
    Ok(listed(place)?
        .into_iter()
        .filter(|path| path.symlink_metadata().is_ok_and(|data| data.is_dir()))
        .collect())
}

fn is_exercise(folder: &Path) -> bool {
    config(folder).is_ok()
}

fn config(folder: &Path) -> Result<Config> {
    let bytes = workspace::read_beneath(folder, CONFIG, LARGEST)?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not an exercise's", folder.join(CONFIG).display()))
}

impl Exercise {
    /// Reads an exercise.
    pub fn read(folder: PathBuf) -> Result<Exercise> {
        let files = config(&folder)?.files;
        let named = [("solution", &files.solution), ("test", &files.test), ("example", &files.example)];
        for (what, paths) in named {
            ensure!(!paths.is_empty(), "{} names no {what} files", folder.join(CONFIG).display());
        }
        Ok(Exercise { folder, files })
    }

    /// `python/leap`: the track, as far as the folders tell it, and the exercise.
    pub fn id(&self) -> String {
        let names: Vec<&str> = self
            .folder
            .components()
            .filter_map(|part| if let Component::Normal(name) = part { name.to_str() } else { None })
            .collect();
        match names.as_slice() {
            [.., track, "exercises", "practice", name] => format!("{track}/{name}"),
            [.., name] => (*name).to_owned(),
            [] => String::new(),
        }
    }

    /// Writes the stub with its tests.
    pub fn open(&self, cache: &Path) -> Result<Opened> {
        let base = self.base()?;
        let answer = self.answer(&base)?;
        let folder = Scratch::new(cache)?;
        let root = folder.folder.join(SOURCE);
        std::fs::create_dir(&root)?;
        workspace::apply_beneath(&root, &base)?;
        let task = Task {
            statement: Some(self.statement()?),
            protected: self.files.test.iter().map(|path| globset::escape(path.as_str())).collect(),
            ..Task::default()
        };
        made(task, folder, Some(Answer::Files(answer)))
    }

    /// What a learner gets, with every test switched on.
    fn base(&self) -> Result<Patch> {
        let mut base = Patch::default();
        workspace::walk(&self.folder, &mut |path, data| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.parent() == Some(&self.folder) && ASIDE.contains(&name) {
                return Ok(false);
            }
            if !data.is_dir() {
                let path = workspace::relative(&self.folder, path).context("a file's name is not UTF-8")?;
                let file = workspace::read_file(&self.folder, &path)?;
                let mut file = file.with_context(|| format!("failed to read {path}"))?;
                if name == "CMakeLists.txt" {
                    file.content = self.called(&String::from_utf8_lossy(&file.content)).into_bytes();
                }
                base.0.insert(path, Some(file));
            }
            Ok(true)
        })?;
        for path in &self.files.test {
            let file = base.0.get_mut(path).and_then(Option::as_mut);
            let file = file.with_context(|| format!("the exercise has no {path}"))?;
            if let Ok(text) = std::str::from_utf8(&file.content) {
                file.content = switched_on(path.as_str(), text).into_bytes();
            }
        }
        Ok(base)
    }

    /// A `CMake` file that takes the exercise's name from that of its folder, with the name.
    fn called(&self, text: &str) -> String {
        let name = self.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        text.replace(
            "get_filename_component(exercise ${CMAKE_CURRENT_SOURCE_DIR} NAME)",
            &format!("set(exercise {name})"),
        )
    }

    /// The example in the place of the stub.
    fn answer(&self, base: &Patch) -> Result<Patch> {
        let mut examples = self.files.example.clone();
        // Rust tracks keep the manifest that an example needs beside it, and do not name it.
        let manifest = RepoPath::new(".meta/Cargo-example.toml")?;
        if !examples.contains(&manifest) && workspace::read_file(&self.folder, &manifest)?.is_some() {
            examples.push(manifest);
        }
        let mut answer = Patch::default();
        for example in &examples {
            let file = workspace::read_file(&self.folder, example)?;
            let file = file.with_context(|| format!("the exercise has no {example}"))?;
            let taken = |path: &RepoPath| answer.0.contains_key(path);
            let place = self.place(example, taken).with_context(|| {
                format!("which file of the solution {example} is the example of cannot be told")
            })?;
            // What is the same as in the stub is no part of the answer.
            let kept = base.0.get(&place).and_then(Option::as_ref).is_some_and(|before| *before == file);
            answer.0.insert(place, (!kept).then_some(file));
        }
        answer.0.retain(|_, file| file.is_some());
        ensure!(!answer.is_empty(), "the example is the stub");
        Ok(answer)
    }

    /// The file of the solution that an example stands for: the one of its name, else the first of its kind that is
    /// not `taken`; a further file of an example lies beside the solution.
    fn place(&self, example: &RepoPath, taken: impl Fn(&RepoPath) -> bool) -> Option<RepoPath> {
        let name = |path: &RepoPath| Path::new(path.as_str()).file_name().map(std::ffi::OsStr::to_owned);
        let end = |path: &RepoPath| Path::new(path.as_str()).extension().map(std::ffi::OsStr::to_owned);
        let solution = &self.files.solution;
        let named = solution.iter().find(|path| name(path) == name(example));
        let alike = || solution.iter().find(|path| end(path) == end(example) && !taken(path));
        if let Some(path) = named.or_else(alike) {
            return Some(path.clone());
        }
        let beside = Path::new(solution.first()?.as_str()).parent()?.join(name(example)?);
        RepoPath::new(beside.to_str()?).ok().filter(|path| !taken(path))
    }

    fn statement(&self) -> Result<String> {
        let mut statement = String::new();
        for part in ["introduction.md", "instructions.md", "instructions.append.md"] {
            let Ok(bytes) = workspace::read_beneath(&self.folder, &format!(".docs/{part}"), LARGEST) else {
                continue;
            };
            statement.push_str(String::from_utf8_lossy(&bytes).trim());
            statement.push_str("\n\n");
        }
        ensure!(!statement.is_empty(), "{} has no instructions", self.folder.display());
        let files: Vec<&str> = self.files.solution.iter().map(RepoPath::as_str).collect();
        Ok(format!("{statement}Write it in {}.\n", files.join(", ")))
    }
}

/// Tests that a track leaves for learners to switch on one by one.
fn switched_on(path: &str, text: &str) -> String {
    static SKIPPED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\bx(test|it|describe)(\s*\(|\.)").expect("a test reads it"));
    static SWITCH: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?m)^[ \t]*(#\[ignore[^\]\n]*\]|@Disabled(\([^\n]*\))?)[ \t]*\r?\n")
            .expect("a test reads it")
    });
    match path.rsplit('.').next().unwrap_or_default() {
        "js" | "mjs" | "cjs" | "ts" | "jsx" | "tsx" => SKIPPED.replace_all(text, "$1$2").into_owned(),
        "rs" | "java" | "kt" => SWITCH.replace_all(text, "").into_owned(),
        "c" | "cc" | "cpp" | "cxx" if text.contains("EXERCISM_RUN_ALL_TESTS") => {
            format!("#define EXERCISM_RUN_ALL_TESTS\n{text}")
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_learners_switch_on_are_switched_on() {
        let check =
            |path: &str, text: &str, expected: &str| assert_eq!(switched_on(path, text), expected, "{path}");
        check(
            "a.spec.js",
            "xtest('b', f); xit ('c'); index('d'); xtest.each(",
            "test('b', f); it ('c'); index('d'); test.each(",
        );
        check("tests/a.rs", "#[test]\n#[ignore]\nfn b() {}\n", "#[test]\nfn b() {}\n");
        check("tests/a.rs", "#[ignore = \"later\"]\nfn b() {}\n", "fn b() {}\n");
        check("A.java", "    @Disabled(\"Remove (it)\")\n    @Test\n", "    @Test\n");
        check(
            "a_test.cpp",
            "#if defined(EXERCISM_RUN_ALL_TESTS)\n",
            "#define EXERCISM_RUN_ALL_TESTS\n#if defined(EXERCISM_RUN_ALL_TESTS)\n",
        );
        check("a_test.py", "xtest(1)", "xtest(1)");
    }

    #[test]
    fn an_example_takes_the_place_of_the_solution_that_it_stands_for() {
        let check = |solution: &[&str], examples: &[&str], expected: &[&str]| {
            let paths =
                |all: &[&str]| all.iter().map(|path| RepoPath::new(path).unwrap()).collect::<Vec<_>>();
            let files = Files { solution: paths(solution), test: Vec::new(), example: paths(examples) };
            let exercise = Exercise { folder: "/track/exercises/practice/leap".into(), files };
            assert_eq!(exercise.id(), "track/leap");
            let cmake =
                "get_filename_component(exercise ${CMAKE_CURRENT_SOURCE_DIR} NAME)\nproject(${exercise})";
            assert_eq!(exercise.called(cmake), "set(exercise leap)\nproject(${exercise})");
            let mut taken = Vec::new();
            for example in &exercise.files.example {
                let place = exercise.place(example, |path| taken.contains(path)).unwrap();
                taken.push(place);
            }
            assert_eq!(taken.iter().map(RepoPath::as_str).collect::<Vec<_>>(), expected);
        };
        check(&["leap.py"], &[".meta/example.py"], &["leap.py"]);
        check(
            &["src/lib.rs", "Cargo.toml"],
            &[".meta/example.rs", ".meta/Cargo-example.toml"],
            &["src/lib.rs", "Cargo.toml"],
        );
        check(&["a.cpp", "a.h"], &[".meta/example.h", ".meta/example.cpp"], &["a.h", "a.cpp"]);
        check(
            &["src/main/java/B.java"],
            &[".meta/src/reference/java/B.java", ".meta/src/reference/java/C.java"],
            &["src/main/java/B.java", "src/main/java/C.java"],
        );
    }
}
