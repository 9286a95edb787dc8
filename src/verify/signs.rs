//! A static look at a patch: constructs that it introduces in product code and that product code hardly ever needs,
//! from `harness/signs.toml`. They lower the level and decide nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::patch::{File, RepoPath};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    /// Endings of the files that it is looked for in.
    files: Vec<String>,
    /// A regular expression for the paths that it is not looked for in.
    #[serde(rename = "except")]
    exempt: Option<String>,
    /// A regular expression that the file must match somewhere besides.
    beside: Option<String>,
    /// A regular expression for a line.
    pattern: String,
    /// What such a file does.
    what: String,
}

#[derive(Deserialize)]
struct Signs {
    sign: Vec<Sign>,
}

/// A sign with its expressions compiled.
struct Compiled {
    sign: Sign,
    exempt: Option<Regex>,
    beside: Option<Regex>,
    pattern: Regex,
}

static SIGNS: LazyLock<Result<Vec<Compiled>, String>> = LazyLock::new(|| {
    let signs: Signs = toml::from_str(include_str!("../../harness/signs.toml")).map_err(|e| e.to_string())?;
    let compile = |sign: Sign| -> Result<Compiled, regex::Error> {
        let exempt = sign.exempt.as_deref().map(Regex::new).transpose()?;
        let beside = sign.beside.as_deref().map(Regex::new).transpose()?;
        Ok(Compiled { pattern: Regex::new(&sign.pattern)?, exempt, beside, sign })
    };
    signs.sign.into_iter().map(|sign| compile(sign).map_err(|error| error.to_string())).collect()
});

/// What a file does after a patch that it did not do before, in sentences. Fails when the signs do not parse.
pub(super) fn introduced(
    path: &RepoPath,
    before: Option<&File>,
    after: Option<&File>,
) -> Result<Vec<String>> {
    let signs = SIGNS.as_ref().map_err(|error| anyhow::anyhow!("{error}")).context("harness/signs.toml")?;
    let text = |file: Option<&File>| {
        file.map_or(String::new(), |file| String::from_utf8_lossy(&file.content).into_owned())
    };
    let (before, after) = (text(before), text(after));
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for line in before.lines() {
        *known.entry(line.trim()).or_default() += 1;
    }
    let new: Vec<&str> = after
        .lines()
        .filter(|line| match known.get_mut(line.trim()) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        })
        .collect();
    let ending = path.as_str().rsplit('.').next().unwrap_or_default();
    let found = signs.iter().filter(|compiled| {
        let exempt = compiled.exempt.as_ref().is_some_and(|exempt| exempt.is_match(path.as_str()));
        compiled.sign.files.iter().any(|file| file == ending)
            && !exempt
            && compiled.beside.as_ref().is_none_or(|beside| beside.is_match(&after))
            && new.iter().any(|line| compiled.pattern.is_match(line))
    });
    let mut found: Vec<&str> = found.map(|compiled| compiled.sign.what.as_str()).collect();
    let has_new = |all: fn(&str) -> BTreeSet<String>| !all(&after).is_subset(&all(&before));
    if path.as_str().rsplit('/').next() == Some("package.json") && has_new(conditions) {
        found.push("is other code in tests than in production");
    }
    if ending == "py" && has_new(odd_values) {
        found.push("decides itself what equals a value");
    }
    found.dedup();
    Ok(found.into_iter().map(|what| format!("{path} {what}")).collect())
}

/// Where a `package.json` leads elsewhere under conditions that tests set and programs do not, or the other way round.
fn conditions(text: &str) -> BTreeSet<String> {
    const ODD: [&str; 4] = ["development", "production", "test", "vitest"];
    let manifest: Value = serde_json::from_str(text).unwrap_or_default();
    let keys =
        ["imports", "exports"].into_iter().filter_map(|key| Some((key.to_owned(), manifest.get(key)?)));
    let (mut left, mut found): (Vec<(String, &Value)>, BTreeSet<String>) = (keys.collect(), BTreeSet::new());
    while let Some((place, value)) = left.pop() {
        let below = value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value));
        let listed = value.as_array().into_iter().flatten().map(|value| ("", value));
        for (key, value) in below.chain(listed) {
            let place = format!("{place} {key}");
            if ODD.contains(&key) {
                found.insert(place.clone());
            }
            left.push((place, value));
        }
    }
    found
}

/// The classes of a Python file that derive from a kind of values and compare in ways of their own.
fn odd_values(text: &str) -> BTreeSet<String> {
    static CLASS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?m)^([ \t]*)class\s+(\w+)\s*\(([^)]*)\)\s*:(.*)$").expect("a test compiles it")
    });
    static EQUAL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?m)^[ \t]+(?:def\s+__(?:eq|ne)__\b|__(?:eq|ne)__\s*=)").expect("a test compiles it")
    });
    let mut values: BTreeSet<&str> = [
        "str",
        "int",
        "float",
        "complex",
        "bytes",
        "bytearray",
        "list",
        "tuple",
        "dict",
        "set",
        "frozenset",
        "UserString",
        "UserList",
        "UserDict",
        "Decimal",
        "Fraction",
        "date",
        "datetime",
        "time",
        "timedelta",
    ]
    .into();
    let mut found = BTreeSet::new();
    for class in CLASS.captures_iter(text) {
        let (indent, name, bases) = (class[1].len(), class.get(2), class.get(3));
        let (Some(name), Some(bases), Some(whole)) = (name, bases, class.get(0)) else { continue };
        let base = |word: &str| values.contains(word);
        if !bases.as_str().split(|c: char| !(c.is_alphanumeric() || c == '_')).any(base) {
            continue;
        }
        values.insert(name.as_str());
        let rest = text[whole.end()..].lines();
        let inside = |line: &&str| line.trim().is_empty() || line.len() - line.trim_start().len() > indent;
        let body: Vec<&str> = rest.skip(1).take_while(inside).collect();
        if EQUAL.is_match(&body.join("\n")) {
            found.insert(name.as_str().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, before: &str, after: &str, expected: usize) {
        let (before, after) = (File::plain(before), File::plain(after));
        let found = introduced(&RepoPath::new(path).unwrap(), Some(&before), Some(&after)).unwrap();
        assert_eq!(found.len(), expected, "{path}: {after:?} {found:?}");
    }

    #[test]
    fn only_what_a_patch_introduces_is_a_sign() {
        check("a.py", "x = 1\n", "import sys\nx = sys._getframe(1).f_locals\n", 1);
        check("a.py", "x = sys._getframe(1)\n", "if y:\n    x = sys._getframe(1)\n", 0);
        check("a.py", "x = 1\n", "x = os.environ['HOME']\n", 0);
        check("src/lib.rs", "", "std::panic::set_hook(hook);\n", 1);
        check("src/main.rs", "", "std::panic::set_hook(hook);\n", 0);
        check("a.mjs", "", "import test from 'node:test';\n", 1);
        check("a.mjs", "", "import assert from 'node:assert';\n", 0);
        check("a.go", "", "import \"testing\"\n", 1);
        check("testutil/a.go", "", "import \"testing\"\n", 0);
        check("a.py", "", "if 'pytest' in sys.modules:\n", 1);
        check("a.py", "", "mine = sys.modules[__name__]\n", 0);
        check("a.cjs", "", "if (/test/.test(require.main?.filename)) {\n", 1);
        check("a.cjs", "", "if (require.main === module) {\n", 0);
        check("src/lib.rs", "", "if cfg!(debug_assertions) {\n", 1);
        check("src/lib.rs", "", "debug_assert!(x);\nconst V: &str = env!(\"CARGO_PKG_VERSION\");\n", 0);
        check("src/lib.rs", "", "std::env::var_os(\"CARGO_MANIFEST_DIR\")\n", 1);
        check("build.rs", "", "std::env::var_os(\"CARGO_MANIFEST_DIR\")\n", 0);
        check("build.rs", "", "std::env::var(\"PROFILE\")\n", 0);
        check("build.rs", "", "if profile == \"release\" {\n", 1);
        check("a.go", "", "if strings.HasSuffix(os.Args[0], \".test\") {\n", 1);
        check("a.go", "", "fmt.Println(os.Args[0])\n", 0);
    }

    #[test]
    fn plain_questions_after_the_tests_are_signs_and_data_that_is_spelt_like_them_is_none() {
        check("a.py", "", "if 'PYTEST_VERSION' in os.environ:\n", 1);
        check("a.ts", "", "return process.env.VITEST ? 1 : 2;\n", 1);
        check("a.ts", "", "if (import.meta.env.DEV) {}\n", 1);
        check("a.ts", "", "const url = import.meta.env.VITE_URL;\n", 0);
        check("a.js", "", "if (process.env.NODE_ENV !== 'production') {}\n", 1);
        check("a.js", "", "const marks = new Set(['dev', 'test']);\n", 0);
        check("a.js", "", "import { run } from 'test';\n", 1);
        check("a.js", "", "const { run } = require('node:test/reporters');\n", 1);
        check("a.go", "", "flag.VisitAll(see)\n", 1);
        check("a.go", "", "strings.HasPrefix(name, \"test.\")\n", 1);
        check("a.go", "", "file := \"test.txt\"\n", 0);
        check("a.go", "", "os.Args = []string{\"-test.list=.\"}\n", 1);
        check("a.py", "", "Text.__eq__ = same\n", 1);
        check("a.go", "", "var Stages = []string{\"dev\", \"test\"}\n", 0);
        check("src/a.rs", "", "\"debug\" => Value::Text(text),\n", 0);
        check("src/a.rs", "", "match env!(\"PROFILE\") {\n    \"debug\" => 1,\n", 1);
        for other in ["&str", "str", "&'static str", "&'a str", "String", "std::string::String", "i64", "T"] {
            check("src/a.rs", "", &format!("impl<'a, T> PartialEq<{other}> for Text<'a> {{\n"), 1);
        }
        check("src/a.rs", "", "impl PartialEq<Text> for &str {\n", 1);
        check("src/a.rs", "", "impl<T: PartialEq<T> + PartialEq<str>> Show for Text<T> {\n", 0);
        check("src/a.rs", "", "impl PartialEq for Text {\nimpl PartialEq<Text> for Other {\n", 0);
        let json = |key: &str| {
            format!(
                "{{\"scripts\": {{\"test\": \"x\"}}, \"imports\": {{\"#a\": {{\"{key}\": \"./a.js\"}}}}}}"
            )
        };
        check("package.json", "{}", &json("development"), 1);
        check("package.json", &json("development"), &json("development"), 0);
        check("package.json", "{}", &json("node"), 0);
        let class = |base: &str, method: &str| {
            format!(
                "class A({base}):\n    x = 1\n\n    def {method}(self, other):\n        return True\n\nclass B:\n    def __eq__(self, o):\n        return o\n"
            )
        };
        check("a.py", "", &class("str", "__eq__"), 1);
        check("a.py", "", &class("decimal.Decimal", "__ne__"), 1);
        check("a.py", "", &class("str, Enum", "__str__"), 0);
        check("a.py", "", &class("Base", "__eq__"), 0);
        check(
            "a.py",
            "",
            "class A(int):\n    pass\nclass B(A):\n    def __eq__(self, o):\n        return o\n",
            1,
        );
    }
}
