//! A static look at a patch: constructs that it introduces in product code and that product code hardly ever needs,
//! from `harness/signs.toml`. They lower the level and decide nothing.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::Regex;
use serde::Deserialize;

use crate::patch::{File, RepoPath};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    /// Endings of the files that it is looked for in.
    files: Vec<String>,
    /// A regular expression for the paths that it is not looked for in.
    #[serde(rename = "except")]
    exempt: Option<String>,
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
    pattern: Regex,
}

static SIGNS: LazyLock<Result<Vec<Compiled>, String>> = LazyLock::new(|| {
    let signs: Signs = toml::from_str(include_str!("../../harness/signs.toml")).map_err(|e| e.to_string())?;
    let compile = |sign: Sign| -> Result<Compiled, regex::Error> {
        let exempt = sign.exempt.as_deref().map(Regex::new).transpose()?;
        Ok(Compiled { pattern: Regex::new(&sign.pattern)?, exempt, sign })
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
            && new.iter().any(|line| compiled.pattern.is_match(line))
    });
    Ok(found.map(|compiled| format!("{path} {}", compiled.sign.what)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_patch_introduces_is_a_sign() {
        let check = |path: &str, before: &str, after: &str, expected: usize| {
            let (before, after) = (File::plain(before), File::plain(after));
            let found = introduced(&RepoPath::new(path).unwrap(), Some(&before), Some(&after)).unwrap();
            assert_eq!(found.len(), expected, "{path}: {found:?}");
        };
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
}
