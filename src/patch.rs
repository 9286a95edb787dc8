//! A patch is a set of whole-file changes against the base. This module holds the change itself, safe
//! repository paths, and the unified diff that people read; finding edits in a model's reply is `edit`'s work.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A path inside the repository that cannot lead out of it: relative, forward slashes, no empty, `.` or `..`
/// component, nothing named `.git` in any spelling that a file system may fold into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct RepoPath(String);

impl RepoPath {
    /// Checks `path`; a leading `./` is dropped.
    pub fn new(path: &str) -> Result<RepoPath> {
        let path = path.strip_prefix("./").unwrap_or(path);
        ensure!(!path.is_empty(), "the path is empty");
        ensure!(path.len() <= 4096, "the path is longer than 4096 bytes");
        ensure!(!path.starts_with('/'), "the path {path:?} is absolute");
        ensure!(!path.chars().any(char::is_control), "the path {path:?} holds a control character");
        ensure!(!path.contains('\\'), "the path {path:?} holds a backslash");
        for part in path.split('/') {
            match part {
                "" | "." => bail!("the path {path:?} has an empty component"),
                ".." => bail!("the path {path:?} leads out of the repository"),
                part if is_git(part) => bail!("the path {path:?} reaches into a git directory"),
                _ => {}
            }
        }
        Ok(RepoPath(path.to_owned()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the path lies under `root`.
    pub fn under(&self, root: &Path) -> PathBuf {
        root.join(&self.0)
    }
}

/// Whether a file system could take `part` for `.git`: case folded, ignorable Unicode removed (HFS+), trailing
/// dots, spaces and stream names dropped and the short name expanded (NTFS).
fn is_git(part: &str) -> bool {
    let ignorable = |c: &char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let folded: String = part.chars().filter(|c| !ignorable(c)).flat_map(char::to_lowercase).collect();
    let stem = folded.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    matches!(stem, ".git" | "git~1")
}

impl TryFrom<String> for RepoPath {
    type Error = anyhow::Error;
    fn try_from(path: String) -> Result<Self> {
        RepoPath::new(&path)
    }
}

impl From<RepoPath> for String {
    fn from(path: RepoPath) -> String {
        path.0
    }
}

impl std::fmt::Display for RepoPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file's whole content and kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// Plain, executable or link.
    pub kind: FileKind,
    /// The bytes; of a link, its target.
    #[serde(with = "bytes")]
    #[schemars(with = "String")]
    pub content: Vec<u8>,
}

impl File {
    /// The id that git gives the content.
    pub fn blob(&self) -> Option<String> {
        git2::Oid::hash_object(git2::ObjectType::Blob, &self.content).ok().map(|id| id.to_string())
    }

    /// A plain file.
    pub fn plain(content: impl Into<Vec<u8>>) -> File {
        File { kind: FileKind::Plain, content: content.into() }
    }
}

/// What git can say of a file besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Mode 100644.
    Plain,
    /// Mode 100755.
    Executable,
    /// Mode 120000.
    Link,
}

impl FileKind {
    fn mode(self) -> &'static str {
        match self {
            FileKind::Plain => "100644",
            FileKind::Executable => "100755",
            FileKind::Link => "120000",
        }
    }
}

/// Changes against the base: for each path the file afterwards, or `None` when it is deleted. A rename is a
/// deletion and a new file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Patch(pub BTreeMap<RepoPath, Option<File>>);

impl Patch {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The changed paths.
    pub fn paths(&self) -> impl Iterator<Item = &RepoPath> {
        self.0.keys()
    }

    /// The unified diff in git's format; `base` gives a path's file on the base.
    pub fn unified(&self, base: impl Fn(&RepoPath) -> Option<File>) -> String {
        let mut diff = String::new();
        for (path, after) in &self.0 {
            let before = base(path);
            if before != *after {
                unified_file(&mut diff, path, before.as_ref(), after.as_ref());
            }
        }
        diff
    }
}

/// Appends one file's part of a unified diff.
fn unified_file(diff: &mut String, path: &RepoPath, before: Option<&File>, after: Option<&File>) {
    let empty: &[u8] = b"";
    let (old, new) = (before.map_or(empty, |f| &f.content), after.map_or(empty, |f| &f.content));
    let _ = writeln!(diff, "diff --git a/{path} b/{path}");
    match (before, after) {
        (None, Some(file)) => _ = writeln!(diff, "new file mode {}", file.kind.mode()),
        (Some(file), None) => _ = writeln!(diff, "deleted file mode {}", file.kind.mode()),
        (Some(a), Some(b)) if a.kind != b.kind => {
            let _ = writeln!(diff, "old mode {}\nnew mode {}", a.kind.mode(), b.kind.mode());
        }
        _ => {}
    }
    let name = |prefix: &str, file: Option<&File>| {
        file.map_or("/dev/null".to_owned(), |_| format!("{prefix}/{path}"))
    };
    match (std::str::from_utf8(old), std::str::from_utf8(new)) {
        (Ok(old), Ok(new)) if old != new => {
            let lines = similar::TextDiff::from_lines(old, new);
            let mut hunks = lines.unified_diff();
            let _ = write!(diff, "{}", hunks.context_radius(3).header(&name("a", before), &name("b", after)));
        }
        (Ok(_), Ok(_)) => {}
        _ => {
            let _ = writeln!(diff, "Binary files {} and {} differ", name("a", before), name("b", after));
        }
    }
}

/// File content in JSON: text as it is, anything else as `base16:` digits. Text that begins like that is
/// written as digits too, so that reading is exact.
mod bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    const MARK: &str = "base16:";

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with(MARK) => serializer.serialize_str(text),
            _ => {
                let digits = bytes.iter().flat_map(|byte| {
                    [byte >> 4, byte & 15]
                        .map(|nibble| char::from_digit(nibble.into(), 16).expect("a nibble is a digit"))
                });
                serializer.serialize_str(&MARK.chars().chain(digits).collect::<String>())
            }
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let Some(digits) = text.strip_prefix(MARK) else {
            return Ok(text.into_bytes());
        };
        let digits: Option<Vec<u32>> = digits.chars().map(|c| c.to_digit(16)).collect();
        let digits = digits.ok_or_else(|| serde::de::Error::custom("not base16"))?;
        #[expect(clippy::cast_possible_truncation, reason = "two nibbles make a byte")]
        Ok(digits.chunks(2).map(|pair| (pair[0] << 4 | pair.get(1).unwrap_or(&0)) as u8).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_repository() {
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/./b",
            ".git/config",
            "sub/.GIT/hooks/x",
            ".g\u{200c}it/x",
            ".git./x",
            ".git /x",
            "git~1/x",
            ".git::$INDEX_ALLOCATION/x",
            "a\\b",
            "a\nb",
            "a\0b",
        ] {
            assert!(RepoPath::new(bad).is_err(), "{bad:?} was taken");
        }
        for good in ["a", "./a/b.rs", ".github/workflows/ci.yml", ".gitignore", "ä/ö"] {
            assert!(RepoPath::new(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn content_survives_json() {
        for content in [&b"text\n"[..], b"\xff\x00", b"base16:zz", b""] {
            let file = File { kind: FileKind::Executable, content: content.to_vec() };
            let json = serde_json::to_string(&file).unwrap();
            assert_eq!(serde_json::from_str::<File>(&json).unwrap(), file, "{json}");
        }
    }

    #[test]
    fn the_diff_is_one_that_git_applies() {
        let base = BTreeMap::from([("a.txt", "one\ntwo\n"), ("gone", "x")]);
        let patch = Patch(BTreeMap::from([
            (RepoPath::new("a.txt").unwrap(), Some(File::plain("one\n2\n"))),
            (RepoPath::new("gone").unwrap(), None),
            (
                RepoPath::new("new").unwrap(),
                Some(File { kind: FileKind::Executable, content: b"n\n".to_vec() }),
            ),
        ]));
        let diff = patch.unified(|path| base.get(path.as_str()).map(|text| File::plain(*text)));
        let parsed = git2::Diff::from_buffer(diff.as_bytes()).unwrap();
        assert_eq!(parsed.deltas().len(), 3, "{diff}");
        assert!(diff.contains("-two\n+2\n") && diff.contains("new file mode 100755"), "{diff}");
    }
}
