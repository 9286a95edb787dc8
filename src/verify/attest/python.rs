//! Attested runs of pytest and unittest: `regreen_attest.py` in one interpreter, with the tests of the base.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::account;
use super::vary::{self, Naming, Order, Varied};
use super::{Assignment, Attestation, Variant};
use crate::patch::{File, FileKind, Patch, RepoPath};
use crate::toolchain::place::Place;
use crate::toolchain::{Invocation, Parsed, Reads};
use crate::verdict::TestId;
use crate::verify::observe::{self, Phase};
use crate::workspace::read_beneath;

/// Records of one process are read up to this many bytes.
const RECORDS: u64 = 256 << 20;

/// Files that configure pytest.
pub(in crate::verify) const CONFIGURATION: [&str; 7] =
    ["pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "pyproject.toml", "setup.cfg", "tox.ini"];

/// Variables of Python's that the profiles set, and that `-I` and `-B` make up for.
const HARMLESS: [&str; 2] = ["PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"];

/// Does an assignment for a suite of this language.
pub(super) async fn attest(assignment: &Assignment<'_>) -> Result<Option<Attestation>> {
    let Assignment { verifier, suite, workspace, .. } = assignment;
    let ids = assignment.only.map(|only| suite.own_tests(only)).transpose()?;
    if ids.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Some(Attestation::default()));
    }
    let ids = ids.map(|ids| ids.into_iter().collect::<BTreeSet<_>>());
    let files = base_files(assignment)?;
    let naming = if suite.profile.name == "pytest" { Naming::Pytest } else { Naming::Unittest };
    let varied = varied(assignment, &files, ids.as_ref(), naming)?;
    // Rows are chosen by the head that they share: their own ids would tell which of them were changed.
    let chosen = |id: &String| vary::head(&varied.forth(id, naming), naming).to_owned();
    let results = verifier.workshop.scratch.results()?;
    let tree = workspace.places();
    let input = json!({
        "key": assignment.secret.key_text(),
        "runner": suite.profile.name,
        "ids": ids.map(|ids| ids.iter().map(chosen).collect::<BTreeSet<_>>()),
        "tree": tree.seen,
        "tests": digests(assignment, &files, &varied)?,
        "own": files.names,
    });
    let invocation = command(assignment, &results.join("records"));
    let input = serde_json::to_vec(&input)?;
    let finished = verifier.run_with_input(&invocation, workspace, &results, Phase::Test, input).await?;
    let bytes = read_beneath(&results, "records", RECORDS).unwrap_or_default();
    let account = account::read(&bytes, &assignment.secret, &Place::new(&tree, &suite.dir), &finished.exit);
    let _ = std::fs::remove_dir_all(&results);
    if account.declined.is_some() {
        return Ok(None);
    }
    let mut attestation = Attestation::default();
    attestation.run.built = true;
    observe::note(&mut attestation.run, &invocation, &finished, Parsed::default())?;
    let (prefix, back) = (suite.prefix(), varied.back(naming));
    account.add_to(&mut attestation, |id| format!("{prefix}{}", back(id)));
    let altered = |id: &&TestId| varied.has_altered(id.strip_prefix(&prefix).unwrap_or(id), naming);
    attestation.altered = attestation.run.tests.keys().filter(altered).cloned().collect();
    attestation.run.load = observe::load();
    Ok(Some(attestation))
}

/// The digests of the files that tests come from, as they lie in the workspace.
fn digests(assignment: &Assignment<'_>, files: &Files, varied: &Varied) -> Result<BTreeMap<String, String>> {
    let mut digests = BTreeMap::new();
    let own = |path: &String| path.strip_suffix(".py").is_some();
    for path in files.tests.iter().chain(files.configuration.iter().filter(|path| own(path))) {
        if let Some(file) =
            assignment.base_file(&RepoPath::new(path)?)?.filter(|file| file.kind != FileKind::Link)
        {
            digests.insert(path.clone(), digest(&file.content));
        }
    }
    for (path, text) in &varied.files {
        let path = join(&assignment.suite.dir, path);
        match text {
            Some(text) => digests.insert(path, digest(text.as_bytes())),
            None => digests.remove(&path),
        };
    }
    Ok(digests)
}

fn digest(content: &[u8]) -> String {
    super::hexadecimal(&Sha256::digest(content))
}

/// Varies the test files of the base and writes them into the workspace.
fn varied(
    assignment: &Assignment<'_>,
    files: &Files,
    only: Option<&BTreeSet<String>>,
    naming: Naming,
) -> Result<Varied> {
    let Assignment { suite, workspace, .. } = assignment;
    if assignment.variant == Variant::Plain {
        return Ok(Varied::default());
    }
    let base = |path: &str| -> Result<String> {
        let file = assignment.base_file(&RepoPath::new(path)?)?;
        Ok(file.map(|file| String::from_utf8(file.content).unwrap_or_default()).unwrap_or_default())
    };
    let inside = |path: &str| path[join(&suite.dir, "").len()..].to_owned();
    let texts = files.tests.iter().map(|path| Ok((inside(path), base(path)?)));
    let texts: Vec<(String, String)> = texts.collect::<Result<_>>()?;
    let sources: Vec<vary::Source<'_>> =
        texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let elsewhere = files.configuration.iter().map(|path| base(path)).collect::<Result<Vec<_>>>()?.concat();
    let alter = assignment.alter.map(|alter| suite.own_tests(alter)).transpose()?;
    let alter = alter.map(|alter| alter.into_iter().collect::<BTreeSet<_>>());
    let (variant, lines) = (assignment.variant, &assignment.lines());
    let order = Order { variant, naming, alter: alter.as_ref(), only, elsewhere: &elsewhere, lines };
    let done = vary::vary(&sources, &order, &mut assignment.secret.draw());
    let mut patch = Patch::default();
    for (place, new) in &done.files {
        let file = RepoPath::new(&join(&suite.dir, place))?;
        patch.0.insert(file, new.clone().map(File::plain));
    }
    workspace.apply(&patch)?;
    Ok(done)
}

/// The launcher's command line. Its interpreter sees no variable of Python's and no folder of the user's.
fn command(assignment: &Assignment<'_>, records: &Path) -> Invocation {
    let Assignment { verifier, suite, workspace, .. } = assignment;
    let own = |name: &String| name.starts_with("PYTHON") && !HARMLESS.contains(&name.as_str());
    let set = verifier.task.environment.keys().chain(suite.profile.environment.keys()).any(own);
    let launcher = verifier.launchers.join("regreen_attest.py");
    // A hash seed or an import path that the task sets must hold here too.
    let mut argv = vec!["python3".to_owned(), if set { "-s" } else { "-I" }.to_owned(), "-B".to_owned()];
    argv.push(launcher.display().to_string());
    argv.extend(["--records".to_owned(), records.display().to_string()]);
    argv.extend(["--tree".to_owned(), workspace.places().seen.display().to_string()]);
    suite.invocation(argv, suite.dir.clone(), Reads::Messages)
}

/// What the base has, as the launcher needs to know it.
#[derive(Debug, Default, PartialEq)]
struct Files {
    /// Protected Python files that may hold tests, relative to the repository.
    tests: Vec<String>,
    /// Files that may speak of tests by name.
    configuration: Vec<String>,
    /// Names of modules and packages at the places that are importable.
    names: BTreeSet<String>,
}

fn base_files(assignment: &Assignment<'_>) -> Result<Files> {
    let protected = assignment.verifier.protected()?;
    let paths = assignment.base_paths()?;
    let paths: Vec<&str> = paths.iter().map(RepoPath::as_str).collect();
    Ok(sorted(&paths, &assignment.suite.dir, |path| protected.is_match(path)))
}

/// `name` in `folder`.
fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn sorted(paths: &[&str], dir: &str, protected: impl Fn(&str) -> bool) -> Files {
    let mut files = Files::default();
    let inside =
        |path: &&&str| dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
    let mut roots = BTreeSet::from([dir.to_owned(), join(dir, "src")]);
    for path in paths.iter().filter(inside).filter(|path| path.strip_suffix(".py").is_some()) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if protected(path) && name != "conftest.py" {
            files.tests.push((*path).to_owned());
        }
        if protected(path) {
            roots.insert(folder.to_owned());
        }
    }
    for path in paths.iter().filter(inside) {
        let name = path.rsplit('/').next().unwrap_or(path);
        if name == "conftest.py" || CONFIGURATION.contains(&name) {
            files.configuration.push((*path).to_owned());
        }
        for root in &roots {
            let rest = if root.is_empty() { Some(*path) } else { path.strip_prefix(&format!("{root}/")) };
            if let Some(first) = rest.and_then(|rest| rest.split('/').next()) {
                files.names.insert(first.strip_suffix(".py").unwrap_or(first).to_owned());
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bases_tests_and_importable_names_are_found() {
        let paths = [
            "a/pyproject.toml",
            "a/src/pkg/core.py",
            "a/src/json.py",
            "a/tests/conftest.py",
            "b/tests/test_y.py",
        ];
        let paths = [&paths[..], &["a/tests/test_x.py", "a/tests/help/deep.py", "a/tool.py"]].concat();
        let files = sorted(&paths, "a", |path| path.contains("tests/"));
        assert_eq!(files.configuration, ["a/pyproject.toml", "a/tests/conftest.py"]);
        assert_eq!(files.tests, ["a/tests/test_x.py", "a/tests/help/deep.py"]);
        let names = "conftest deep help json pkg pyproject.toml src test_x tests tool";
        assert_eq!(files.names.into_iter().collect::<Vec<_>>().join(" "), names);
    }
}
