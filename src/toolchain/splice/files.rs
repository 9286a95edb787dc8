//! Modules in files of their own, and which of these files are reached only by tests.

use std::collections::BTreeSet;

use super::source::{Piece, Source, Token};

/// A module that stands in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name, behind those of the modules around it in the file that declares it.
    pub path: Vec<String>,
    /// Where that file may be, relative to the repository: the first that exists counts.
    pub files: Vec<String>,
    /// Whether the declaration exists only in a build of tests.
    pub test: bool,
}

/// The modules that the file at `path` declares and does not hold; none when it does not parse.
pub fn modules(path: &str, text: &str) -> Vec<Module> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let own = match stem {
        "lib" | "main" | "mod" => folder.to_owned(),
        _ => place(folder, stem),
    };
    let mut found = Vec::new();
    if let Some(source) = Source::read(text) {
        collect(&source.pieces, &own, folder, &[], false, &mut found);
    }
    found
}

fn collect(pieces: &[Piece], own: &str, folder: &str, above: &[String], test: bool, found: &mut Vec<Module>) {
    for piece in pieces {
        let Some(name) = piece.key.strip_prefix("mod ") else { continue };
        let name = name.strip_prefix("r#").unwrap_or(name);
        let test = test || piece.test;
        let path = [above, &[name.to_owned()]].concat();
        if piece.close.is_some() {
            let inside = place(own, name);
            collect(&piece.pieces, &inside, &inside, &path, test, found);
        } else if let Some(at) = path_attribute(&piece.outer) {
            found.extend(normal(&place(folder, &at)).map(|file| Module { path, files: vec![file], test }));
        } else {
            let files = vec![place(own, &format!("{name}.rs")), place(own, &format!("{name}/mod.rs"))];
            found.push(Module { path, files, test });
        }
    }
}

/// What `#[path = "…"]` says.
fn path_attribute(attributes: &[Token]) -> Option<String> {
    attributes.iter().find_map(|token| match token.group('[')?.as_slice() {
        [path, equals, Token::Literal(text, _)] if path.is_word("path") && equals.is_mark('=') => {
            syn::parse_str::<syn::LitStr>(text).ok().map(|text| text.value())
        }
        _ => None,
    })
}

fn place(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The path without `.` and `..`; `None` when it leads out of the repository.
fn normal(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The files among `paths` that only test modules lead to, with everything below them. `read` gives a file's
/// text.
pub fn test_files(paths: &[&str], read: &dyn Fn(&str) -> Option<String>) -> BTreeSet<String> {
    let exist: BTreeSet<&str> = paths.iter().copied().collect();
    let (mut tests, mut product) = (BTreeSet::new(), BTreeSet::new());
    let declared: Vec<(String, Vec<Module>)> = paths
        .iter()
        .filter(|path| path.rsplit_once('.').is_some_and(|(_, ending)| ending == "rs"))
        .filter_map(|path| Some(((*path).to_owned(), modules(path, &read(path)?))))
        .collect();
    let target = |module: &Module| module.files.iter().find(|file| exist.contains(file.as_str())).cloned();
    // What a test file declares is a test file, whatever it says of itself.
    loop {
        let before = tests.len();
        for (path, modules) in &declared {
            for module in modules {
                let Some(file) = target(module) else { continue };
                if module.test || tests.contains(path) {
                    tests.insert(file);
                }
            }
        }
        if tests.len() == before {
            break;
        }
    }
    for (path, modules) in declared.iter().filter(|(path, _)| !tests.contains(path)) {
        let plain = modules.iter().filter(|module| !module.test);
        product.extend(plain.filter_map(target).filter(|file| file != path));
    }
    tests.difference(&product).cloned().collect()
}
