//! A static look at a patch: constructs that it introduces in product code and that product code hardly ever needs,
//! from `harness/signs.toml`. They lower the level and decide nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::patch::{File, RepoPath};
use crate::toolchain::splice;

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
    /// A regular expression that the file must match nowhere.
    absent: Option<String>,
    /// A regular expression for lines that are none all the same.
    unless: Option<String>,
    /// A regular expression for a line, with those that it goes on in.
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
    absent: Option<Regex>,
    unless: Option<Regex>,
    pattern: Regex,
}

static SIGNS: LazyLock<Result<Vec<Compiled>, String>> = LazyLock::new(|| {
    let signs: Signs = toml::from_str(include_str!("../../harness/signs.toml")).map_err(|e| e.to_string())?;
    let compile = |sign: Sign| -> Result<Compiled, regex::Error> {
        let regex = |text: &Option<String>| text.as_deref().map(Regex::new).transpose();
        let (exempt, beside, absent, unless) =
            (regex(&sign.exempt)?, regex(&sign.beside)?, regex(&sign.absent)?, regex(&sign.unless)?);
        Ok(Compiled { pattern: Regex::new(&sign.pattern)?, exempt, beside, absent, unless, sign })
    };
    signs.sign.into_iter().map(|sign| compile(sign).map_err(|error| error.to_string())).collect()
});

/// Code of more bytes than this nobody wrote.
const LARGEST: usize = 1 << 20;

/// Lines that are looked at together.
const JOINED: usize = 4;

/// Types of Rust's standard library that tests compare with.
const VALUES: [&str; 18] = [
    "str", "String", "Cow", "Vec", "bool", "char", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16",
    "u32", "u64", "f64", "usize",
];

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
    let (mut before, mut after) = (text(before), text(after));
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
    let whole = joined(&new);
    let ending = path.as_str().rsplit('.').next().unwrap_or_default();
    let found = signs.iter().filter(|compiled| {
        let exempt = compiled.exempt.as_ref().is_some_and(|exempt| exempt.is_match(path.as_str()));
        compiled.sign.files.iter().any(|file| file == ending)
            && !exempt
            && compiled.beside.as_ref().is_none_or(|beside| beside.is_match(&after))
            && !compiled.absent.as_ref().is_some_and(|absent| absent.is_match(&after))
            && new.iter().copied().chain(whole.iter().map(String::as_str)).any(|line| {
                compiled.pattern.is_match(line)
                    && !compiled.unless.as_ref().is_some_and(|unless| unless.is_match(line))
            })
    });
    let mut found: Vec<&str> = found.map(|compiled| compiled.sign.what.as_str()).collect();
    if ["py", "rs"].contains(&ending) && after.len() > LARGEST {
        found.push("is too large to be looked at closely");
        (before, after) = Default::default();
    }
    let has_new = |all: fn(&str) -> BTreeSet<String>| !all(&after).is_subset(&all(&before));
    if path.as_str().rsplit('/').next() == Some("package.json") && has_new(conditions) {
        found.push("is other code in tests than in production");
    }
    if ending == "py" && has_new(odd_values) || ending == "rs" && has_new(odd_equalities) {
        found.push("decides itself what equals a value");
    }
    found.sort_unstable();
    found.dedup();
    Ok(found.into_iter().map(|what| format!("{path} {what}")).collect())
}

/// Lines that go on in the next one, with it, as far as one can tell without a grammar.
fn joined(lines: &[&str]) -> Vec<String> {
    let open = |line: &str| line.ends_with(['(', '[', '.', '=', '\\', '+', '|', '&', ':']);
    let goes_on = |line: &str| line.starts_with(['.', '?', '+', '|', '&', '=', ')', ':']);
    let mut found: Vec<String> = Vec::new();
    let mut count = 0;
    for pair in lines.windows(2) {
        let (line, next) = (pair[0].trim(), pair[1].trim());
        if count == JOINED || !(open(line) || goes_on(next)) {
            count = 0;
            continue;
        }
        match found.last_mut().filter(|_| count > 0) {
            Some(last) => last.push_str(next.trim_end_matches('\\')),
            None => found.push(format!("{}{next}", line.trim_end_matches('\\'))),
        }
        count += 1;
    }
    found
}

/// The types of a Rust file that are compared with what is no type of the program: a value of the standard library, or
/// anything at all.
fn odd_equalities(text: &str) -> BTreeSet<String> {
    let found = splice::in_syntax(text, |file| {
        let mut found = Equalities::default();
        syn::visit::Visit::visit_file(&mut found, file);
        found.0
    });
    found.unwrap_or_default()
}

#[derive(Default)]
struct Equalities(BTreeSet<String>);

impl<'ast> syn::visit::Visit<'ast> for Equalities {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let generics: Vec<String> =
            item.generics.type_params().map(|parameter| parameter.ident.to_string()).collect();
        let foreign = |kind: &syn::Type| match named(kind) {
            None => true,
            Some(name) => VALUES.contains(&name.as_str()) || generics.contains(&name),
        };
        let Some(last) = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last()) else { return };
        let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else { return };
        let others = arguments.args.iter().filter_map(|argument| match argument {
            syn::GenericArgument::Type(kind) => Some(kind),
            _ => None,
        });
        if last.ident == "PartialEq" && others.chain([&*item.self_ty]).any(foreign) {
            self.0.insert(named(&item.self_ty).unwrap_or_default());
        }
    }
}

/// The last name of a type, behind references; `None`: it has no name.
fn named(kind: &syn::Type) -> Option<String> {
    match kind {
        syn::Type::Reference(inner) => named(&inner.elem),
        syn::Type::Paren(inner) => named(&inner.elem),
        syn::Type::Group(inner) => named(&inner.elem),
        syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

/// What a patch adds beside a file of the same name that stays, and makes the package lead to: what users get would be
/// other code than what tests see.
pub(super) fn redirected(
    manifest: &RepoPath,
    (before, after): (&str, &str),
    added: &[&RepoPath],
    kept: &[RepoPath],
) -> Option<String> {
    let folder = manifest.as_str().rfind('/').map_or("", |at| &manifest.as_str()[..=at]);
    let told = |target: &str| Some(format!("{manifest} leads to {target}, beside what the tests see"));
    if manifest.as_str().ends_with("package.json") {
        let (old, new) = (entries(before), entries(after));
        let path = |target: &str| format!("{folder}{}", target.trim_start_matches("./"));
        let changed = new.iter().filter(|(place, target)| old.get(*place).is_some_and(|was| was != *target));
        let mut odd = changed.filter(|(place, target)| {
            added.iter().any(|added| added.as_str() == path(target))
                && kept.iter().any(|kept| kept.as_str() == path(&old[*place]))
        });
        return odd.next().and_then(|(_, target)| told(target));
    }
    let lines: BTreeSet<&str> = before.lines().collect();
    let mut new = after.lines().filter(|line| !lines.contains(line)).flat_map(|line| line.split(['"', '\'']));
    let name = |path: &RepoPath| path.as_str().rsplit('/').next().unwrap_or_default().to_owned();
    let mut names: BTreeSet<String> = kept.iter().map(name).collect();
    names.remove("__init__.py");
    new.find_map(|word| {
        let below = format!("{folder}{}/", word.trim_matches('/'));
        let copied = |path: &&&RepoPath| path.as_str().starts_with(&below) && names.contains(&name(path));
        (added.iter().filter(copied).count() > 1).then(|| told(word)).flatten()
    })
}

/// Where a `package.json` leads, by place.
fn entries(text: &str) -> BTreeMap<String, String> {
    let manifest: Value = serde_json::from_str(text).unwrap_or_default();
    let keys = ["exports", "main", "module", "browser", "bin", "imports"];
    let mut left: Vec<(String, &Value)> =
        keys.into_iter().filter_map(|key| Some((key.to_owned(), manifest.get(key)?))).collect();
    let mut found = BTreeMap::new();
    while let Some((place, value)) = left.pop() {
        left.extend(
            value.as_object().into_iter().flatten().map(|(key, value)| (format!("{place} {key}"), value)),
        );
        if let Some(target) = value.as_str() {
            found.insert(place, target.to_owned());
        }
    }
    found
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

/// The classes of a Python file that derive from a kind of values and compare in ways of their own, or that compare
/// with whatever they are given.
fn odd_values(text: &str) -> BTreeSet<String> {
    static CLASS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?m)^([ \t]*)class\s+(\w+)\s*(?:\(([^)]*)\))?\s*:(.*)$").expect("a test compiles it")
    });
    static EQUAL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?m)^[ \t]+(?:def\s+__(?:eq|ne)__\b|__(?:eq|ne)__\s*=)").expect("a test compiles it")
    });
    // What is asked for its type, and what is compared as it is.
    static ASKED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"isinstance\(\s*(\w+)\s*,\s*\(?\s*([\w.]+)").expect("a test compiles it")
    });
    static COMPARED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"[!=]=\s*(\w+)\s*(?:$|[):,]|and\b|or\b)|(?:^|[(,]|\b(?:return|if|and|or)\b)\s*(\w+)\s*[!=]=",
        )
        .expect("a test compiles it")
    });
    // The body of the method, as far as it is indented deeper than most.
    static OTHER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?m)^[ \t]+def\s+__eq__\s*\(\s*\w+\s*,\s*(\w+)[^)]*\)[^:]*:((?:.*\n?)(?:[ \t]{8,}.*\n?|[ \t]*\n)*)")
            .expect("a test compiles it")
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
        let (Some(name), Some(whole)) = (name, class.get(0)) else { continue };
        let base = |word: &str| values.contains(word);
        let derived = bases
            .map_or("", |bases| bases.as_str())
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(base);
        if derived {
            values.insert(name.as_str());
        }
        let rest = text[whole.end()..].lines();
        let inside = |line: &&str| line.trim().is_empty() || line.len() - line.trim_start().len() > indent;
        let body: Vec<&str> = rest.skip(1).take_while(inside).collect();
        let body = body.join("\n");
        let given = OTHER.captures(&body).is_some_and(|equal| {
            let is_other = |word: regex::Match<'_>| word.as_str() == &equal[1];
            let asked: Vec<bool> = ASKED
                .captures_iter(&equal[2])
                .filter(|asked| asked.get(1).is_some_and(is_other))
                .map(|asked| &asked[2] == "str")
                .collect();
            let compared = |found: regex::Captures<'_>| found.iter().skip(1).flatten().any(is_other);
            let whatever = equal[2].lines().any(|line| COMPARED.captures_iter(line.trim()).any(compared));
            asked.contains(&true) || whatever && asked.is_empty()
        });
        if derived && EQUAL.is_match(&body) || given {
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
        check("a.go", "", "if strings.HasSuffix(os.Args[0], \".test\") {\n", 2);
        check("a.go", "", "package main\nfmt.Println(os.Args[0])\n", 0);
        check("a.go", "", "package a\nif len(os.Args) > 1 {\n", 1);
    }

    #[test]
    fn a_sign_may_take_several_lines() {
        check("src/lib.rs", "", "let here = thread::\n    current();\n", 1);
        check("src/lib.rs", "", "let here = std::env\n    ::args().next();\n", 1);
        check("src/lib.rs", "", "let value = std::env!(\n    \"CARGO_MANIFEST_DIR\"\n);\n", 1);
        check("a.py", "", "text = sys.\\\n    _getframe(1)\n", 1);
        check("a.js", "", "return process\n  .stdout\n  .isTTY;\n", 1);
        check("bin/a.js", "", "return process.stdout.isTTY;\n", 0);
        check("a.js", "", "if (real(process.argv[1]) === fileURLToPath(import.meta.url)) {\n", 0);
        check("a.js", "", "if (/test/.test(process.argv[1])) {\n", 1);
    }

    #[test]
    fn what_only_tests_and_checked_builds_run_is_a_sign() {
        check("src/lib.rs", "", "debug_assert!({ value <<= 1; true });\n", 1);
        check("src/lib.rs", "", "debug_assert!(take(value <<= 1));\n", 1);
        check("src/lib.rs", "", "debug_assert!(a <= b && c == d, \"out of order\");\n", 0);
        check("src/lib.rs", "", "let here = thread::current();\n", 1);
        check("src/lib.rs", "", "if catch_unwind(|| black_box(u8::MAX) + 1).is_err() {\n", 1);
        check("src/lib.rs", "", "catch_unwind(|| parse(text)).map_err(|_| Error::Syntax)\n", 0);
        check("src/lib.rs", "", "match option_env!(\"CARGO_PRIMARY_PACKAGE\") {\n", 1);
        check("build.rs", "", "if env::var(\"DEBUG\").unwrap().len() == 4 {\n", 1);
        check("a.py", "", "if __debug__:\n", 1);
        check("a.py", "", "assert (rest := f(x)) or True\n", 1);
        check("a.py", "", "assert rest == f(x)\n", 0);
        check("a.py", "", "caller = inspect.stack()[1].function\n", 0);
        check("a.py", "", "if len(traceback.extract_stack()) > 12:\n", 1);
        check("a.go", "", "if flag.Parsed() {\n", 1);
        check("a.ts", "", "if (Symbol.for('$$jest-matchers-object') in globalThis) {\n", 1);
    }

    #[test]
    fn equality_with_whatever_is_given_is_a_sign() {
        check(
            "src/a.rs",
            "",
            "impl<Other: AsRef<str>> PartialEq<Other> for Text {\n    fn eq(&self, _: &Other) -> bool { true }\n}\n",
            1,
        );
        check(
            "src/a.rs",
            "",
            "impl<T> PartialEq<Pair<T>> for Other<T> {\n    fn eq(&self, _: &Pair<T>) -> bool { true }\n}\n",
            0,
        );
        check("a.py", "", "A = type('A', (str,), {'__eq__': same})\n", 1);
        let class = |body: &str| {
            format!(
                "class A:\n    def __eq__(self, other):\n        {body}\n\n    def f(self):\n        pass\n"
            )
        };
        for odd in [
            "return format(self) == other",
            "return other == self.text",
            "return isinstance(other, str) and x",
        ] {
            check("a.py", "", &class(odd), 1);
        }
        for plain in [
            "return isinstance(other, A) and self.x == other.x",
            "return (self.x, self.y) == (other.x, other.y)",
            "if isinstance(other, int):\n            return self.x == other\n        return NotImplemented",
            "if other is self:\n            return True\n        return NotImplemented",
        ] {
            check("a.py", "", &class(plain), 0);
        }
    }

    #[test]
    fn a_file_that_is_nested_to_overflow_a_stack_has_no_signs() {
        for depth in [150, 100_000] {
            let text = format!("fn f() {{ {}1{} }}\n", "(".repeat(depth), ")".repeat(depth));
            check("src/a.rs", "", &text, 0);
            check("a.py", "", &text, 0);
        }
        check("a.py", "", &"x = 1\n".repeat(LARGEST / 4), 1);
        check("a.go", "", &"x = 1\n".repeat(LARGEST / 4), 0);
    }

    #[test]
    fn a_manifest_that_leads_to_a_second_copy_is_a_sign() {
        let path = |text: &str| RepoPath::new(text).unwrap();
        let (package, project) = (path("package.json"), path("pyproject.toml"));
        let leads = |manifest: &RepoPath, texts: (&str, &str), added: &[&str], kept: &[&str]| {
            let added: Vec<RepoPath> = added.iter().map(|name| path(name)).collect();
            let kept: Vec<RepoPath> = kept.iter().map(|name| path(name)).collect();
            redirected(manifest, texts, &added.iter().collect::<Vec<_>>(), &kept).is_some()
        };
        let texts = (r#"{"exports": "./src/index.js"}"#, r#"{"exports": "./src/main.js"}"#);
        assert!(leads(&package, texts, &["src/main.js"], &["src/index.js"]));
        assert!(!leads(&package, texts, &["src/main.js"], &[]), "it was moved");
        assert!(!leads(&package, (texts.0, texts.0), &["src/main.js"], &["src/index.js"]));
        let texts = ("[project]\n", "[project]\n[tool.setuptools]\npackage-dir = {\"\" = \"lib\"}\n");
        let added = ["lib/a/merge.py", "lib/a/free.py"];
        assert!(leads(&project, texts, &added, &["a/merge.py", "a/free.py"]));
        assert!(!leads(&project, texts, &added, &[]), "they were moved");
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
        check("a.go", "", "os.Args = []string{\"-test.list=.\"}\n", 2);
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
