//! Rules are what `harness/repairs/*.toml` knows of a language's tools: edits for errors that name the remedy in
//! words only, how far a build has come, which fixes to prefer, and linters that fix what they find.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use globset::{Glob, GlobSet, GlobSetBuilder};
use regex::{Captures, Regex, RegexBuilder, RegexSet};
use serde::Deserialize;

use crate::diagnostic::{Applicability, Diagnostic, Replacement, Suggestion};
use crate::harness;
use crate::toolchain::profile::Compiler;

/// Words of a file that are looked at when a misspelt one is to be replaced.
const WORDS: usize = 20_000;

/// How many of the words that look like a misspelt one are offered.
const LIKE: usize = 3;

/// What is known of all languages.
#[derive(Debug)]
pub struct Rules {
    languages: Vec<Language>,
    /// Texts of fixes to prefer, best first.
    pub prefer: RegexSet,
}

/// What is known of the tools of one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Language {
    /// Globs of the files that it is about.
    files: Vec<String>,
    #[serde(skip)]
    matcher: GlobSet,
    /// Regular expressions of fixes to prefer, best first.
    #[serde(default)]
    prefer: Vec<String>,
    /// `CODE message` of errors behind which the compiler hides others.
    early: Option<Pattern>,
    /// `CODE message` of errors that the compiler reports only when there is no other.
    late: Option<Pattern>,
    /// Where well-known names come from; see [`Rule::lookup`].
    #[serde(default)]
    imports: BTreeMap<String, String>,
    #[serde(default)]
    rule: Vec<Rule>,
    #[serde(default)]
    linter: Vec<Linter>,
}

/// What to do about an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// Matches the message or the tool's rendering; its named groups are `{placeholders}` of the changes.
    message: Pattern,
    /// A group to look up in `imports`: what is found is `{import}`, and without a find the rule does not hold.
    lookup: Option<String>,
    /// Alternatives.
    changes: Vec<Change>,
}

/// An edit of the file that the error names. In regular expressions a placeholder stands for its text.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Change {
    /// Replaces what `find` matches at the error's place, or else first in its line; `$1` is a group of `find`.
    Replace { find: String, with: String },
    /// Replaces what `declared` matches last above the error.
    Above { declared: String, with: String },
    /// Deletes the error's line if the expression matches it.
    Delete { delete: String },
    /// Inserts a line before or after the first match, or as the first line.
    Insert { insert: String, before: Option<String>, after: Option<String> },
    /// Replaces the word by those of the file that look like it.
    Nearest { nearest: String },
}

/// A linter that edits files, or offers edits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linter {
    /// Toolchain profiles whose suites it understands.
    pub profiles: Vec<String>,
    /// A file of the suite's folder without which it is not run.
    pub configured: Option<String>,
    /// Program and arguments; the program is looked for on the path, then in the suite's folder.
    pub argv: Vec<String>,
    /// Whose messages it prints; without, it edits the files itself.
    pub speaks: Option<Compiler>,
}

/// A regular expression in TOML.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Pattern(Regex);

impl TryFrom<String> for Pattern {
    type Error = regex::Error;
    fn try_from(pattern: String) -> Result<Self, regex::Error> {
        Ok(Pattern(Regex::new(&pattern)?))
    }
}

impl Rules {
    /// The embedded rules, or those in `overrides`. Fails when a file does not parse.
    pub fn load(overrides: Option<&Path>) -> Result<Rules> {
        let mut languages = Vec::new();
        for file in harness::files(overrides, "repairs", "toml")? {
            let language = Language::parse(&file.text);
            languages.push(language.with_context(|| format!("failed to read {}", file.shown))?);
        }
        let prefer = languages.iter().flat_map(|language| &language.prefer);
        let prefer = RegexSet::new(prefer).context("failed to read `prefer`")?;
        Ok(Rules { languages, prefer })
    }

    /// Edits of the file that the error names, whose content is `text`.
    pub fn suggest(&self, error: &Diagnostic, text: &str) -> Vec<Suggestion> {
        let mut found = Vec::new();
        for language in self.about(error) {
            for rule in &language.rule {
                language.follow(rule, error, text, &mut found);
            }
        }
        found
    }

    /// How many of the compiler's stages an error keeps from being reached.
    pub fn stages_left(&self, error: &Diagnostic) -> usize {
        let line = format!("{} {}", error.code, error.message);
        let is = |pattern: &Option<Pattern>| pattern.as_ref().is_some_and(|p| p.0.is_match(&line));
        let stages = self.about(error).map(|language| match language {
            Language { late: None, early: None, .. } => 0,
            language if is(&language.late) => 0,
            language if is(&language.early) => 2,
            _ => 1,
        });
        stages.max().unwrap_or(0)
    }

    /// The linters for a toolchain profile.
    pub fn linters<'a>(&'a self, profile: &'a str) -> impl Iterator<Item = &'a Linter> {
        let linters = self.languages.iter().flat_map(|language| &language.linter);
        linters.filter(move |linter| linter.profiles.iter().any(|name| name == profile))
    }

    fn about<'a>(&'a self, error: &'a Diagnostic) -> impl Iterator<Item = &'a Language> {
        let file = error.location.as_ref().map(|at| at.file.as_str());
        let is = move |language: &&Language| file.is_some_and(|file| language.matcher.is_match(file));
        self.languages.iter().filter(is)
    }
}

impl Language {
    fn parse(text: &str) -> Result<Language> {
        let mut language: Language = toml::from_str(text)?;
        let mut matcher = GlobSetBuilder::new();
        for glob in &language.files {
            matcher.add(Glob::new(glob)?);
        }
        language.matcher = matcher.build()?;
        Ok(language)
    }

    /// Adds what a rule says about an error, once for each match.
    fn follow(&self, rule: &Rule, error: &Diagnostic, text: &str, found: &mut Vec<Suggestion>) {
        let Some(location) = &error.location else { return };
        let words = format!("{}\n{}", error.message, error.rendered);
        let Some(captures) = rule.message.0.captures(&words) else {
            return;
        };
        let mut fill = Fill::new(&rule.message.0, &captures);
        if let Some(name) = &rule.lookup {
            let Some(import) = fill.0.get(name.as_str()).and_then(|name| self.imports.get(*name)) else {
                return;
            };
            fill.0.insert("import", import);
        }
        let spot = Spot::new(text, location.line, location.column);
        for change in &rule.changes {
            for (start, end, text) in change.edits(&fill, &spot) {
                let part = Replacement { file: location.file.clone(), start, end, text };
                found.push(Suggestion {
                    message: change.says().to_owned(),
                    applicability: change.applicability(),
                    parts: vec![part],
                });
            }
        }
    }
}

impl Change {
    fn says(&self) -> &'static str {
        match self {
            Change::Nearest { .. } => "a word like it stands in the file",
            Change::Replace { .. } | Change::Above { .. } | Change::Delete { .. } | Change::Insert { .. } => {
                "as the message says"
            }
        }
    }

    /// How sure it is, compared with what the tool itself offers.
    fn applicability(&self) -> Applicability {
        match self {
            Change::Nearest { .. } => Applicability::Unspecified,
            Change::Replace { .. } | Change::Above { .. } | Change::Delete { .. } | Change::Insert { .. } => {
                Applicability::MaybeIncorrect
            }
        }
    }

    /// The ranges to replace, with what stands there afterwards.
    fn edits(&self, fill: &Fill, spot: &Spot) -> Vec<(usize, usize, String)> {
        match self {
            Change::Nearest { nearest } => nearest_words(&fill.text(nearest), spot),
            Change::Replace { find, with } => replace(find, with, fill, spot).into_iter().collect(),
            Change::Above { declared, with } => above(declared, with, fill, spot).into_iter().collect(),
            Change::Delete { delete } => {
                let matches = fill.regex(delete).is_some_and(|find| find.is_match(spot.line()));
                let end = spot.text.len().min(spot.line_end + 1);
                matches.then(|| (spot.line_start, end, String::new())).into_iter().collect()
            }
            Change::Insert { insert, before, after } => {
                let line = format!("{}\n", fill.text(insert));
                let at = insertion(before.as_deref(), after.as_deref(), fill, spot.text);
                at.filter(|_| !spot.text.contains(&line)).map(|at| (at, at, line)).into_iter().collect()
            }
        }
    }
}

fn replace(find: &str, with: &str, fill: &Fill, spot: &Spot) -> Option<(usize, usize, String)> {
    let find = fill.regex(find)?;
    Some(expand(&spot.in_line(&find)?, spot.line_start, &fill.replacement(with)))
}

fn above(declared: &str, with: &str, fill: &Fill, spot: &Spot) -> Option<(usize, usize, String)> {
    let find = fill.regex(declared)?;
    let last = find.captures_iter(&spot.text[..spot.line_end]).last()?;
    Some(expand(&last, 0, &fill.replacement(with)))
}

fn insertion(before: Option<&str>, after: Option<&str>, fill: &Fill, text: &str) -> Option<usize> {
    match (before, after) {
        (Some(before), _) => Some(fill.regex(before)?.find(text)?.start()),
        (None, Some(after)) => {
            let end = fill.regex(after)?.find(text)?.end();
            Some(end + text[end..].find('\n')? + 1)
        }
        (None, None) => Some(0),
    }
}

fn nearest_words(word: &str, spot: &Spot) -> Vec<(usize, usize, String)> {
    let find = Regex::new(&format!(r"\b{}\b", regex::escape(word))).ok();
    let Some(range) = find.and_then(|find| Some(spot.in_line(&find)?.get(0)?.range())) else {
        return Vec::new();
    };
    let (start, end) = (spot.line_start + range.start, spot.line_start + range.end);
    like(word, spot.text).into_iter().map(|like| (start, end, like)).collect()
}

/// The texts of placeholders.
struct Fill<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Fill<'a> {
    fn new(regex: &'a Regex, captures: &Captures<'a>) -> Fill<'a> {
        let names = regex.capture_names().flatten();
        Fill(names.filter_map(|name| Some((name, captures.name(name)?.as_str()))).collect())
    }

    /// The template with the texts as they are.
    fn text(&self, template: &str) -> String {
        self.fill(template, str::to_owned)
    }

    /// What [`Captures::expand`] reads: a dollar in a placeholder's text is no group.
    fn replacement(&self, template: &str) -> String {
        self.fill(template, |text| text.replace('$', "$$"))
    }

    fn regex(&self, template: &str) -> Option<Regex> {
        let pattern = self.fill(template, regex::escape);
        RegexBuilder::new(&pattern).multi_line(true).size_limit(1 << 20).build().ok()
    }

    fn fill(&self, template: &str, show: impl Fn(&str) -> String) -> String {
        let fill =
            |text: String, (name, value): (&&str, &&str)| text.replace(&format!("{{{name}}}"), &show(value));
        self.0.iter().fold(template.to_owned(), fill)
    }
}

/// The place of an error in its file.
struct Spot<'a> {
    text: &'a str,
    line_start: usize,
    /// Where the line ends, its line break not counted.
    line_end: usize,
    /// Where in the line the error is, in bytes.
    column: usize,
}

impl<'a> Spot<'a> {
    fn new(text: &'a str, line: u32, column: u32) -> Spot<'a> {
        let before = (line as usize).saturating_sub(1);
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
        let line_start = starts.take(before + 1).last().unwrap_or(0);
        let rest = &text[line_start..];
        let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
        let column = line.char_indices().nth((column as usize).saturating_sub(1));
        Spot {
            text,
            line_start,
            line_end: line_start + line.len(),
            column: column.map_or(line.len(), |(at, _)| at),
        }
    }

    fn line(&self) -> &'a str {
        &self.text[self.line_start..self.line_end]
    }

    /// The match that reaches the error's column, else the first one in the line; places count from the line's
    /// start.
    fn in_line(&self, find: &Regex) -> Option<Captures<'a>> {
        let line = self.line().trim_end_matches('\r');
        let mut all = find.captures_iter(line);
        let reaches = |at: &Captures| at.get(0).is_some_and(|whole| whole.end() > self.column);
        all.find(reaches).or_else(|| find.captures(line))
    }
}

/// The range that a match takes in a file, where what was searched begins at `offset`, and what `with` makes
/// of it.
fn expand(at: &Captures, offset: usize, with: &str) -> (usize, usize, String) {
    let mut text = String::new();
    at.expand(with, &mut text);
    let whole = at.get(0).map_or(0..0, |whole| whole.range());
    (offset + whole.start, offset + whole.end, text)
}

/// Words longer than this are not compared.
const LONGEST: usize = 128;

/// The words of `text` that are spelt nearly like `word`, most alike first.
fn like(word: &str, text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').take(WORDS);
    let most = (word.chars().count() / 3).clamp(1, 3);
    let mut found: Vec<(usize, &str)> = Vec::new();
    let comparable = |other: &&str| {
        other.starts_with(|c: char| !c.is_numeric())
            && *other != word
            && other.len().abs_diff(word.len()) <= 4 * most
    };
    for other in words.filter(comparable).filter(|_| word.len() <= LONGEST) {
        let far = strsim::osa_distance(word, other);
        if far <= most && !found.iter().any(|(_, known)| *known == other) {
            found.push((far, other));
        }
    }
    found.sort_by_key(|(far, _)| *far);
    found.into_iter().take(LIKE).map(|(_, other)| other.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Location;

    /// Asserts what rules make of `text` when a tool says `message` about a place in it.
    fn check(file: &str, (line, column): (u32, u32), message: &str, text: &str, expected: &[&str]) {
        let rules = Rules::load(None).unwrap();
        let place = Location { file: file.into(), line, column };
        let error = Diagnostic::error(Some(place), message);
        let after = |suggestion: Suggestion| {
            let part = &suggestion.parts[0];
            format!("{}{}{}", &text[..part.start], part.text, &text[part.end..])
        };
        let found: Vec<String> = rules.suggest(&error, text).into_iter().map(after).collect();
        assert_eq!(found, expected, "{message}");
    }

    #[test]
    fn messages_in_words_become_edits() {
        check(
            "a.go",
            (3, 5),
            "declared and not used: b",
            "package a\nfunc f() {\n\ta, b := g()\n}\n",
            &["package a\nfunc f() {\n\ta, _ := g()\n}\n"],
        );
        check(
            "a.go",
            (3, 2),
            "declared and not used: b",
            "package a\nfunc f() {\n\tb := g()\n}\n",
            &["package a\nfunc f() {\n\t_ := g()\n}\n", "package a\nfunc f() {\n\t_ = g()\n}\n"],
        );
        check(
            "a.go",
            (4, 2),
            "\"os\" imported and not used",
            "package a\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n",
            &["package a\nimport (\n\t\"fmt\"\n)\n"],
        );
        check(
            "a.go",
            (3, 10),
            "undefined: strings",
            "package a\n\nvar b = strings.ToUpper(\"a\")\n",
            &["package a\nimport \"strings\"\n\nvar b = strings.ToUpper(\"a\")\n"],
        );
        check(
            "A.java",
            (3, 1),
            "cannot find symbol\n  symbol:   class ArrayList\n  location: class A",
            "import java.util.List;\n\nclass A { List<A> a = new ArrayList<>(); }\n",
            &[
                "import java.util.ArrayList;\nimport java.util.List;\n\nclass A { List<A> a = new ArrayList<>(); }\n",
            ],
        );
        check(
            "A.java",
            (1, 20),
            "incompatible types: possible lossy conversion from long to int",
            "int a = Math.round(b * c);\n",
            &["int a = (int) Math.round(b * c);\n", "int a = (int) (Math.round(b * c));\n"],
        );
        check(
            "a.ts",
            (2, 1),
            "Cannot assign to 'a' because it is a constant.",
            "const a = 1;\na = 2;\n",
            &["let a = 1;\na = 2;\n"],
        );
        check(
            "a.ts",
            (1, 14),
            "Property 'lenght' does not exist on type 'string'. Did you mean 'length'?",
            "lenght(); a?.lenght\n",
            &["lenght(); a?.length\n"],
        );
        check(
            "a.py",
            (3, 0),
            "NameError: name 'json' is not defined. Did you forget to import 'json'?",
            "\"\"\"Doc.\"\"\"\nimport re\njson.loads('')\n",
            &[
                "\"\"\"Doc.\"\"\"\nimport json\nimport re\njson.loads('')\n",
                "import json\n\"\"\"Doc.\"\"\"\nimport re\njson.loads('')\n",
            ],
        );
        check("a.c", (1, 1), "‘cuont’ undeclared; did you mean ‘count’?", "cuont\n", &["count\n"]);
    }

    #[test]
    fn places_that_do_not_exist_and_hostile_names_are_harmless() {
        check("a.go", (0, 0), "undefined: strings", "", &[]);
        check("a.go", (9, 9), "undefined: $1", "a", &[]);
        check("a.ts", (u32::MAX, u32::MAX), "Cannot find name 'ab'. Did you mean '$0'?", "ab", &[]);
        check("a.ts", (1, 2), "Cannot find name 'é'. Did you mean 'ö'?", "é", &["ö"]);
        check("a.txt", (1, 1), "undefined: a", "a b", &[]);
    }

    #[test]
    fn words_that_are_spelt_nearly_alike_are_found() {
        assert_eq!(like("cuont", "a count of counts 7 cuont"), ["count"]);
        assert_eq!(like("a", "abcdef"), Vec::<String>::new());
    }

    #[test]
    fn stages_tell_how_far_rustc_came() {
        let rules = Rules::load(None).unwrap();
        let left = |code: &str, message: &str| {
            let place = Location { file: "a.rs".into(), line: 1, column: 1 };
            let mut error = Diagnostic::error(Some(place), message);
            error.code = code.into();
            rules.stages_left(&error)
        };
        assert_eq!(left("E0425", "cannot find value `a` in this scope"), 2);
        assert_eq!(left("", "expected one of `;` or `}`, found `a`"), 2);
        assert_eq!(left("E0308", "mismatched types"), 1);
        assert_eq!(left("E0382", "borrow of moved value"), 0);
        assert_eq!(left("", "lifetime may not live long enough"), 0);
    }
}
