//! Probes say which lines each test runs, where the toolchain does not: a build in which every statement of the
//! product notes its number first. Functions in which that does not compile have none.

use std::collections::{BTreeMap, BTreeSet};

use super::grammar::{Probe, Role};
use super::mutate::{Edit, Source, end_line_of, line_of, splice, visit};
use super::variants;
use crate::diagnostic::{Diagnostic, Severity};
use crate::patch::{File, Patch, RepoPath};
use tree_sitter::Node;

/// The variable that names the file to note numbers in.
pub const VARIABLE: &str = "REGREEN_TRACE";

/// Probes of one build; C keeps a bit for each.
const MOST: usize = 60_000;

/// A build with probes.
#[derive(Debug, Default)]
pub struct Probes {
    /// The files.
    pub patch: Patch,
    /// File, first and last line of the statement of each probe, by its number.
    places: Vec<(RepoPath, u32, u32)>,
}

impl Probes {
    /// Puts probes into all functions but those that hold one of the lines `without`. Lines stay where they are.
    pub fn compose(sources: &[Source], without: &BTreeSet<(RepoPath, u32)>) -> Probes {
        let mut probes = Probes::default();
        for source in sources {
            let Some(schemata) = &source.grammar.schemata else { continue };
            let Some(probe) = &schemata.probe else { continue };
            if probe.not.iter().any(|text| source.text.contains(text)) {
                continue;
            }
            let mut edits = Vec::new();
            for function in source.outermost_functions() {
                let lines = line_of(function)..=end_line_of(function);
                let known = without.iter().any(|(path, line)| *path == source.path && lines.contains(line));
                let body =
                    function.child_by_field_name("body").filter(|body| source.of(*body).starts_with('{'));
                let Some(body) = body.filter(|_| !known && !function.has_error()) else { continue };
                let begin =
                    Edit { start: body.start_byte() + 1, end: body.start_byte() + 1, text: String::new() };
                if variants::fits(source, std::slice::from_ref(&begin)) {
                    probes.within(source, probe, body, begin, &mut edits);
                }
            }
            if let Some(text) = splice(&source.text, &edits).filter(|_| !edits.is_empty()) {
                let file = File { kind: source.kind, content: format!("{}{text}", probe.head).into_bytes() };
                probes.patch.0.insert(source.path.clone(), Some(file));
                variants::support(source, schemata, &mut probes.patch);
            }
        }
        probes
    }

    /// Puts probes into a body.
    fn within(&mut self, source: &Source, probe: &Probe, body: Node, mut begin: Edit, edits: &mut Vec<Edit>) {
        let first = self.places.len();
        let mut found = Vec::new();
        visit(body, &mut |node| {
            let ends = probe.tail && is_tail(source, node);
            let statement = source.grammar.is(node, Role::Statement) || source.grammar.is(node, Role::Simple);
            let inside = node.parent().is_some_and(|parent| source.grammar.is(parent, Role::Block));
            // An attribute stands before what it is about.
            let bare =
                node.prev_named_sibling().is_none_or(|before| !source.grammar.is(before, Role::Opaque));
            if inside && bare && (statement || ends) && self.places.len() < MOST {
                let text = probe.statement.replace("{number}", &self.places.len().to_string());
                found.push(Edit { start: node.start_byte(), end: node.start_byte(), text });
                self.places.push((source.path.clone(), line_of(node), last_line(source, node)));
            }
            true
        });
        if !found.is_empty() {
            let count = self.places.len() - first;
            begin.text =
                probe.open.replace("{first}", &first.to_string()).replace("{count}", &count.to_string());
            edits.push(begin);
            edits.append(&mut found);
        }
    }

    /// The lines of the product that errors of the compiler lie in.
    pub fn blamed(&self, diagnostics: &[Diagnostic]) -> BTreeSet<(RepoPath, u32)> {
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        let place = |error: &Diagnostic| {
            let at = error.location.as_ref()?;
            Some((RepoPath::new(&at.file).ok().filter(|path| self.patch.0.contains_key(path))?, at.line))
        };
        errors.filter_map(place).collect()
    }

    /// The lines that a test ran, by file in the folder `dir`, from what it noted.
    pub fn lines(&self, noted: &str, dir: &str) -> BTreeMap<String, BTreeSet<u32>> {
        let numbers = noted.lines().filter_map(|line| line.parse().ok());
        let places =
            numbers.collect::<BTreeSet<usize>>().into_iter().filter_map(|number| self.places.get(number));
        let mut found: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for (path, first, last) in places {
            let Some(file) = path.as_str().strip_prefix(dir) else { continue };
            found.entry(file.trim_start_matches('/').to_owned()).or_default().extend(*first..=*last);
        }
        found
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.places.len()
    }
}

/// Whether a node is the value of a block.
fn is_tail(source: &Source, node: Node) -> bool {
    let not = [Role::Comment, Role::Opaque, Role::Function, Role::Class];
    node.next_named_sibling().is_none() && !not.iter().any(|role| source.grammar.is(node, *role))
}

/// The last line of a statement, or the one on which its first block begins.
fn last_line(source: &Source, statement: Node) -> u32 {
    let mut block = None;
    visit(statement, &mut |node| {
        if block.is_none() && source.grammar.is(node, Role::Block) {
            block = Some(line_of(node));
        }
        block.is_none()
    });
    block.unwrap_or_else(|| end_line_of(statement))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Location;
    use crate::repair::grammar::Grammars;

    fn source<'a>(grammars: &'a Grammars, path: &str, text: &str) -> Source<'a> {
        Source::new(RepoPath::new(path).unwrap(), text.to_owned(), grammars.of(path).unwrap()).unwrap()
    }

    #[test]
    fn statements_note_their_lines_and_stay_where_they_are() {
        let grammars = Grammars::load(None).unwrap();
        let text = "pub fn one(a: u32) -> u32 {\n    if a > 1 {\n        return a;\n    }\n    let b = a\n        + 1;\n    b\n}\n\nfn two() {\n    one(1);\n}\n\n#[test]\nfn works() {\n    one(2);\n}\n";
        let sources = [source(&grammars, "src/lib.rs", text)];
        let probes = Probes::compose(&sources, &BTreeSet::new());
        assert_eq!(probes.count(), 5);
        let path = RepoPath::new("src/lib.rs").unwrap();
        let made = String::from_utf8(probes.patch.0[&path].clone().unwrap().content).unwrap();
        assert_eq!(made.lines().count(), text.lines().count(), "{made}");
        assert!(
            sources[0].grammar.tree(&made, None).is_some_and(|tree| !tree.root_node().has_error()),
            "{made}"
        );
        assert!(
            made.lines().nth(14).unwrap().starts_with("fn works() {")
                && !made.lines().nth(14).unwrap().contains("probe")
        );
        assert_eq!(
            probes.lines("0\n2\nnone\n99\n", ""),
            [("src/lib.rs".to_owned(), [2, 5, 6].into())].into()
        );

        let location = Location { file: "src/lib.rs".to_owned(), line: 2, column: 0 };
        let blamed = probes.blamed(&[Diagnostic::error(Some(location), "no")]);
        assert_eq!(Probes::compose(&sources, &blamed).count(), 1);
    }
}
