//! A place is the folder that a tool ran in, inside the repository. It turns paths as tools print them into
//! repository paths; what lies outside the tree has none.

use std::path::{Component, Path, PathBuf};

use crate::workspace::{Tree, read_beneath};

/// Of a source file at most this many bytes are read.
const SOURCE: u64 = 4 << 20;

/// The folder that a tool ran in.
#[derive(Clone, Debug)]
pub struct Place {
    /// The repository, where it can be read.
    here: PathBuf,
    /// The repository, absolute, as the tool saw it; also under its canonical name.
    roots: Vec<PathBuf>,
    /// The folder, relative to the repository; empty for the root.
    dir: String,
}

impl Place {
    /// The folder `dir` of the repository at `tree`.
    pub fn new(tree: impl Into<Tree>, dir: &str) -> Place {
        let Tree { here, seen } = tree.into();
        let real = here.canonicalize().ok().filter(|real| *real != seen);
        Place { here, roots: std::iter::once(seen).chain(real).collect(), dir: dir.to_owned() }
    }

    /// A path as a tool printed it (absolute, `file://`, or relative to the folder), relative to the
    /// repository: what a [`crate::diagnostic::Location`] holds. `None` when it leads out of the tree.
    pub fn locate(&self, path: &str) -> Option<String> {
        self.locate_in(&self.dir, path)
    }

    /// Likewise, where relative paths start at another folder of the repository.
    pub fn locate_in(&self, dir: &str, path: &str) -> Option<String> {
        let path = path.strip_prefix("file://").unwrap_or(path).replace('\\', "/");
        let path = Path::new(&path);
        if path.is_absolute() {
            let inside = self.roots.iter().find_map(|root| path.strip_prefix(root).ok())?;
            normal(inside)
        } else {
            normal(&Path::new(dir).join(path))
        }
    }

    /// Likewise, for a tool that starts relative paths at a folder above that it does not name (rustc at the
    /// workspace's): the first place, from the folder upwards, where such a file exists.
    pub fn find(&self, path: &str) -> Option<String> {
        if Path::new(path).is_absolute() {
            return self.locate(path).filter(|file| self.holds(file));
        }
        let mut folders = std::iter::successors(Some(self.dir.as_str()), |folder| {
            (!folder.is_empty()).then(|| folder.rsplit_once('/').map_or("", |(above, _)| above))
        });
        folders.find_map(|folder| self.locate_in(folder, path).filter(|file| self.holds(file)))
    }

    /// [`Place::locate`], where such a file exists.
    pub fn locate_file(&self, path: &str) -> Option<String> {
        self.locate(path).filter(|file| self.holds(file))
    }

    /// Whether the tree has this file, no link on the way.
    pub fn holds(&self, located: &str) -> bool {
        read_beneath(self.tree(), located, 0).is_ok()
    }

    /// A file of the tree, no link on the way; the first [`SOURCE`] bytes.
    pub fn read(&self, located: &str) -> Option<Vec<u8>> {
        read_beneath(self.tree(), located, SOURCE).ok()
    }

    /// The repository, where it can be read.
    pub fn tree(&self) -> &Path {
        &self.here
    }

    /// A path as a tool printed it, relative to the suite's folder: what test ids hold (their prefix comes
    /// later). Paths outside the folder are given relative to the repository, others as they are.
    pub fn relative(&self, path: &str) -> String {
        let Some(located) = self.locate(path) else {
            return path.to_owned();
        };
        match located.strip_prefix(&self.dir) {
            Some(rest) if self.dir.is_empty() => rest.to_owned(),
            Some(rest) if rest.starts_with('/') => rest[1..].to_owned(),
            _ => located,
        }
    }
}

/// The path without `.` and `..`, with forward slashes; `None` when it is empty or leads out.
fn normal(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_tools_become_paths_of_the_repository() {
        let place = Place::new(Path::new("/w/tree"), "api");
        let cases = [
            ("src/a.rs", Some("api/src/a.rs"), "src/a.rs"),
            ("./src/../a.rs", Some("api/a.rs"), "a.rs"),
            ("../web/a.ts", Some("web/a.ts"), "web/a.ts"),
            ("/w/tree/api/a.rs", Some("api/a.rs"), "a.rs"),
            ("file:///w/tree/api/a.mjs", Some("api/a.mjs"), "a.mjs"),
            ("/usr/lib/x.py", None, "/usr/lib/x.py"),
            ("../../etc/passwd", None, "../../etc/passwd"),
            ("", Some("api"), "api"),
        ];
        for (path, located, relative) in cases {
            assert_eq!(place.locate(path).as_deref(), located, "{path}");
            assert_eq!(place.relative(path), relative, "{path}");
        }
        assert_eq!(Place::new(Path::new("/w/tree"), "").relative("/w/tree/a"), "a");
    }
}
