//! Manifests hold a product's metadata beside the configuration of its tests. They are merged key by key: what
//! describes the product comes from the patch, what says which tests run and how comes from the base. Where the
//! merge changes nothing, the text stays as it was written.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use toml::{Table, Value};

/// A manifest put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The patch's text, as it is.
    Patched,
    /// The base's text: the patch changes no key of the product's.
    Base,
    /// A text of both.
    Both(String),
}

/// Merges a manifest, if the file of this name is one. `None`: it is none. A manifest that cannot be read is the
/// base's, or, where the base has none, the patch's: tools refuse it too.
pub fn merge(name: &str, base: Option<&str>, patched: &str) -> Option<Merged> {
    let merge = match name {
        "Cargo.toml" => |base: &str, patched: &str| toml_text(base, patched, cargo),
        "pyproject.toml" => |base: &str, patched: &str| toml_text(base, patched, pyproject),
        "package.json" => package_json,
        "go.mod" => |base: &str, patched: &str| Some(go_mod(base, patched)),
        "go.sum" => |base: &str, patched: &str| Some(go_sum(base, patched)),
        _ => return None,
    };
    let empty = if name == "package.json" { "{}" } else { "" };
    let Some(text) = merge(base.unwrap_or(empty), patched) else {
        return Some(if base.is_some() { Merged::Base } else { Merged::Patched });
    };
    Some(if same(name, &text, patched) {
        Merged::Patched
    } else if base.is_some_and(|base| same(name, &text, base)) {
        Merged::Base
    } else {
        Merged::Both(text)
    })
}

/// Whether two manifests say the same.
fn same(name: &str, one: &str, other: &str) -> bool {
    if name == "package.json" {
        let read = |text: &str| serde_json::from_str::<Json>(text).ok();
        return read(one).is_some_and(|value| Some(value) == read(other));
    }
    if std::path::Path::new(name).extension().is_some_and(|ending| ending == "toml") {
        let read = |text: &str| text.parse::<Table>().ok();
        return read(one).is_some_and(|value| Some(value) == read(other));
    }
    one == other
}

fn toml_text(base: &str, patched: &str, merge: fn(&Table, Table) -> Table) -> Option<String> {
    let (base, patched) = (base.parse::<Table>().ok()?, patched.parse::<Table>().ok()?);
    toml::to_string(&merge(&base, patched)).ok()
}

/// Gives these keys of `to` the values that `from` has for them, or none.
fn take(from: &Table, to: &mut Table, keys: &[&str]) {
    for key in keys {
        match from.get(*key) {
            Some(value) => drop(to.insert((*key).to_owned(), value.clone())),
            None => drop(to.remove(*key)),
        }
    }
}

fn table<'a>(of: &'a Table, key: &str) -> Option<&'a Table> {
    of.get(key).and_then(Value::as_table)
}

/// Cargo: targets and how they are tested, profiles of tests, replaced sources and members come from the base; a
/// patch may add members.
fn cargo(base: &Table, mut patched: Table) -> Table {
    let none = Table::new();
    take(base, &mut patched, &["test", "bench", "dev-dependencies", "dev_dependencies", "patch", "replace"]);
    take(base, &mut patched, &["cargo-features"]);
    merge_table(base, &mut patched, "package", |base, package| {
        take(base, package, &["autotests", "autobenches", "autoexamples", "workspace"]);
    });
    merge_table(base, &mut patched, "lib", |base, lib| {
        take(base, lib, &["test", "doctest", "harness", "path", "bench", "name"]);
    });
    merge_table(base, &mut patched, "profile", |base, profiles| {
        let kept = profiles.remove("release");
        profiles.clone_from(base);
        profiles.remove("release");
        profiles.extend(kept.map(|kept| ("release".to_owned(), kept)));
    });
    merge_table(base, &mut patched, "workspace", |base, workspace| {
        let members = union(base.get("members"), workspace.get("members"));
        take(base, workspace, &["exclude", "default-members", "resolver"]);
        workspace.insert("members".to_owned(), members);
    });
    if let Some(targets) = patched.get_mut("target").and_then(Value::as_table_mut) {
        let before = table(base, "target").unwrap_or(&none);
        for (name, target) in targets {
            if let Some(target) = target.as_table_mut() {
                take(table(before, name).unwrap_or(&none), target, &["dev-dependencies", "dev_dependencies"]);
            }
        }
    }
    merge_bins(base, &mut patched);
    patched
}

/// How programs are tested is the base's to say.
fn merge_bins(base: &Table, patched: &mut Table) {
    let none = Table::new();
    let before: Vec<&Table> =
        base.get("bin").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table).collect();
    for bin in patched.get_mut("bin").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(bin) = bin.as_table_mut() else { continue };
        let known = before.iter().find(|known| known.get("name") == bin.get("name"));
        take(known.copied().unwrap_or(&none), bin, &["test", "harness", "bench", "doctest"]);
    }
}

/// Merges a table that either side may lack.
fn merge_table(base: &Table, patched: &mut Table, key: &str, merge: impl Fn(&Table, &mut Table)) {
    let none = Table::new();
    let before = table(base, key);
    let mut own = table(patched, key).cloned().unwrap_or_default();
    if before.is_none() && own.is_empty() {
        return;
    }
    merge(before.unwrap_or(&none), &mut own);
    if own.is_empty()
        || (before.is_none() && own.values().all(|value| value.as_array().is_some_and(Vec::is_empty)))
    {
        patched.remove(key);
    } else {
        patched.insert(key.to_owned(), Value::Table(own));
    }
}

fn union(base: Option<&Value>, patched: Option<&Value>) -> Value {
    let items = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = items(base);
    for item in items(patched) {
        if !all.contains(&item) {
            all.push(item);
        }
    }
    Value::Array(all)
}

/// Tables of `tool` that say how a Python package is built, and nothing of tests.
const BUILDERS: [&str; 9] =
    ["setuptools", "poetry", "hatch", "flit", "pdm", "maturin", "scikit-build", "setuptools_scm", "uv"];

/// pyproject: metadata and the build from the patch, every tool and every plug-in of runners from the base.
fn pyproject(base: &Table, mut patched: Table) -> Table {
    take(base, &mut patched, &["dependency-groups"]);
    merge_table(base, &mut patched, "tool", |base, tools| {
        tools.retain(|name, _| BUILDERS.contains(&name));
        for (name, table) in base.iter().filter(|(name, _)| !BUILDERS.contains(&name.as_str())) {
            tools.insert(name.clone(), table.clone());
        }
    });
    merge_table(base, &mut patched, "project", |base, project| {
        // Plug-ins of pytest announce themselves here.
        take(base, project, &["entry-points"]);
    });
    patched
}

/// Keys of `package.json` that configure runners, or what stands in for other packages.
const RUNNERS: [&str; 23] = [
    "jest",
    "mocha",
    "vitest",
    "ava",
    "tap",
    "nyc",
    "c8",
    "babel",
    "postcss",
    "xo",
    "karma",
    "wtr",
    "uvu",
    "devDependencies",
    "overrides",
    "resolutions",
    "pnpm",
    "workspaces",
    "packageManager",
    "engines",
    "optionalDependencies",
    "peerDependencies",
    "volta",
];

/// package.json: what tests are run with, and how, from the base; so are scripts, except new ones.
fn package_json(base: &str, patched: &str) -> Option<String> {
    let base: serde_json::Map<String, Json> = serde_json::from_str(base).ok()?;
    let mut patched: serde_json::Map<String, Json> = serde_json::from_str(patched).ok()?;
    for key in RUNNERS {
        match base.get(key) {
            Some(value) => drop(patched.insert(key.to_owned(), value.clone())),
            None => drop(patched.remove(key)),
        }
    }
    let map = |value: Option<&Json>| value.and_then(Json::as_object).cloned().unwrap_or_default();
    let mut scripts = map(base.get("scripts"));
    for (name, script) in map(patched.get("scripts")) {
        let hook = ["pre", "post"].iter().any(|start| name.starts_with(start));
        let test = name.contains("test");
        if !scripts.contains_key(&name) && !hook && !test {
            scripts.insert(name, script);
        }
    }
    if scripts.is_empty() {
        patched.remove("scripts");
    } else {
        patched.insert("scripts".to_owned(), Json::Object(scripts));
    }
    // What the base installs for its tests is not replaced by a dependency of the product's.
    let tools: BTreeSet<String> =
        map(base.get("devDependencies")).into_iter().map(|(name, _)| name).collect();
    let before = map(base.get("dependencies"));
    if let Some(dependencies) = patched.get_mut("dependencies").and_then(Json::as_object_mut) {
        dependencies.retain(|name, _| !tools.contains(name) || before.contains_key(name));
    }
    serde_json::to_string_pretty(&patched).ok().map(|text| text + "\n")
}

/// Directives of `go.mod` that come from the patch; all others are the base's.
const GO: [&str; 3] = ["go", "require", "exclude"];

/// go.mod: language version and requirements from the patch; replacements, tools and settings from the base.
fn go_mod(base: &str, patched: &str) -> String {
    let mut lines: Vec<String> = directives(base)
        .into_iter()
        .filter(|(word, _)| !GO.contains(&word.as_str()))
        .map(|(word, rest)| format!("{word} {rest}"))
        .collect();
    let product = directives(patched).into_iter().filter(|(word, _)| GO.contains(&word.as_str()));
    lines.extend(product.map(|(word, rest)| format!("{word} {rest}")));
    let text = lines.join("\n") + "\n";
    // The same directives in another order and layout say the same.
    let sorted = |text: &str| directives(text).into_iter().collect::<BTreeSet<_>>();
    let whole = sorted(&text);
    if whole == sorted(patched) {
        patched.to_owned()
    } else if whole == sorted(base) {
        base.to_owned()
    } else {
        text
    }
}

/// The directives of a `go.mod`, blocks taken apart.
fn directives(text: &str) -> Vec<(String, String)> {
    let (mut found, mut block) = (Vec::new(), None::<String>);
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        if line == ")" {
            block = None;
        } else if let Some(word) = &block {
            found.push((word.clone(), line.to_owned()));
        } else {
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            if rest.trim() == "(" {
                block = Some(word.to_owned());
            } else {
                found.push((word.to_owned(), rest.trim().to_owned()));
            }
        }
    }
    found
}

/// go.sum: checksums of the base, and those of modules that the base does not know.
fn go_sum(base: &str, patched: &str) -> String {
    let module = |line: &str| line.rsplit_once(' ').map(|(module, _)| module.to_owned());
    let known: BTreeSet<String> = base.lines().filter_map(module).collect();
    let new = patched.lines().filter(|line| module(line).is_some_and(|module| !known.contains(&module)));
    let mut lines: Vec<&str> = base.lines().chain(new).collect();
    lines.sort_unstable();
    lines.dedup();
    if lines.is_empty() { String::new() } else { lines.join("\n") + "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, base: &str, patched: &str, expected: &Merged) {
        let merged = merge(name, Some(base), patched).unwrap();
        if let (Merged::Both(merged), Merged::Both(expected)) = (&merged, expected) {
            assert!(same(name, merged, expected), "{merged}");
        } else {
            assert_eq!(&merged, expected);
        }
    }

    #[test]
    fn cargo_takes_the_product_from_the_patch_and_the_tests_from_the_base() {
        let base =
            "[package]\nname = \"a\"\nversion = \"1.0.0\"\n[lib]\nname = \"a\"\n[[test]]\nname = \"t\"\n";
        let bumped = base.replace("1.0.0", "1.1.0").replace("[lib]", "build = \"build.rs\"\n[lib]");
        check("Cargo.toml", base, &bumped, &Merged::Patched);
        let silenced = "[package]\nname = \"a\"\nversion = \"1.0.0\"\nautotests = false\n[lib]\nname = \"a\"\ntest = false\n\
                        [profile.test]\npanic = \"abort\"\n[patch.crates-io]\nserde = { path = \"fake\" }\n";
        check("Cargo.toml", base, silenced, &Merged::Base);
        let both = silenced.replace("1.0.0", "2.0.0");
        check("Cargo.toml", base, &both, &Merged::Both(base.replace("1.0.0", "2.0.0")));
        let workspace = "[workspace]\nmembers = [\"a\", \"b\"]\n";
        check(
            "Cargo.toml",
            workspace,
            "[workspace]\nmembers = [\"a\", \"c\"]\n",
            &Merged::Both("[workspace]\nmembers = [\"a\", \"b\", \"c\"]\n".into()),
        );
    }

    #[test]
    fn package_json_keeps_runners_and_scripts_of_the_base() {
        let base = r#"{"version":"1.0.0","scripts":{"test":"node --test"},"devDependencies":{"jest":"29"}}"#;
        check("package.json", base, &base.replace("1.0.0", "1.0.1"), &Merged::Patched);
        let patched = r#"{"version":"1.0.1","scripts":{"test":"true","pretest":"x","docs":"d"},"jest":{"bail":1},
                          "devDependencies":{"jest":"file:./fake"},"dependencies":{"jest":"file:./fake","left":"1"}}"#;
        let both = r#"{"version":"1.0.1","scripts":{"test":"node --test","docs":"d"},
                       "devDependencies":{"jest":"29"},"dependencies":{"left":"1"}}"#;
        check("package.json", base, patched, &Merged::Both(both.into()));
    }

    #[test]
    fn pyproject_keeps_tools_of_the_base_and_go_mod_its_replacements() {
        let base =
            "[project]\nname = \"a\"\nversion = \"1\"\n[tool.pytest.ini_options]\ntestpaths = [\"tests\"]\n";
        let patched = "[project]\nname = \"a\"\nversion = \"2\"\n[project.entry-points.pytest11]\nx = \"a.x\"\n\
                       [tool.pytest.ini_options]\naddopts = \"-p a.x\"\n[tool.setuptools]\nzip-safe = true\n";
        let both = "[project]\nname = \"a\"\nversion = \"2\"\n[tool.pytest.ini_options]\ntestpaths = [\"tests\"]\n\
                    [tool.setuptools]\nzip-safe = true\n";
        check("pyproject.toml", base, patched, &Merged::Both(both.into()));
        let base = "module a\n\ngo 1.21\n\nrequire b v1.0.0\n";
        check("go.mod", base, "module a\n\ngo 1.22\n\nrequire (\n\tb v1.1.0\n)\n", &Merged::Patched);
        check("go.mod", base, "module a\ngo 1.21\nrequire b v1.0.0\nreplace b => ./fake\n", &Merged::Base);
        check(
            "go.sum",
            "b v1 h1:x\n",
            "b v1 h1:forged\nc v1 h1:y\n",
            &Merged::Both("b v1 h1:x\nc v1 h1:y\n".into()),
        );
    }

    #[test]
    fn what_is_no_manifest_or_does_not_parse_is_told_apart() {
        assert_eq!(merge("setup.py", None, ""), None);
        check("Cargo.toml", "[package]\n", "[package", &Merged::Base);
        assert_eq!(merge("package.json", None, "{"), Some(Merged::Patched));
    }
}
