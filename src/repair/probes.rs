//! Probes say which lines each test runs, in compiled languages: a build in which statements of the product note their
//! numbers when they run.

use std::collections::{BTreeMap, BTreeSet};

use tree_sitter::Node;

use super::grammar::{Probe, Role};
use super::mutate::{Edit, Source, end_line_of, line_of, splice, visit};
use super::variants;
use crate::diagnostic::{Diagnostic, Severity};
use crate::patch::{File, Patch, RepoPath};

/// The variable that names the file to note numbers in.
pub const VARIABLE: &str = "REGREEN_TRACE";

/// Probes of one build.
const MOST: usize = 60_000;

/// A function: file, first and last line.
pub type Span = (RepoPath, u32, u32);

/// A build with probes.
#[derive(Debug, Default)]
pub struct Probes {
    /// The files.
    pub patch: Patch,
    /// File and lines of the statement of each probe, by its number.
    places: Vec<(RepoPath, BTreeSet<u32>)>,
    /// Functions without probes.
    pub blind: Vec<Span>,
}

impl Probes {
    /// Puts probes into all functions but those that hold one of the lines `without`, and into no file that has such a
    /// line outside of functions. Lines stay where they are.
    pub fn compose(sources: &[Source], without: &BTreeSet<(RepoPath, u32)>) -> Probes {
        let mut probes = Probes::default();
        for source in sources {
            let Some(schemata) = &source.grammar.schemata else { continue };
            let Some(probe) = &schemata.probe else { continue };
            let functions = source.outermost_functions();
            let blamed = without.iter().filter(|(path, _)| *path == source.path).map(|(_, line)| *line);
            let blamed: Vec<u32> = blamed.collect();
            let holds =
                |function: &Node, line: &u32| (line_of(*function)..=end_line_of(*function)).contains(line);
            let outside = |line: &u32| !functions.iter().any(|function| holds(function, line));
            let excluded =
                blamed.iter().any(outside) || probe.not.iter().any(|text| source.text.contains(text));
            let mut edits = Vec::new();
            for function in &functions {
                let fine = |body: &Node| {
                    let inside = Edit {
                        start: body.start_byte() + 1,
                        end: body.start_byte() + 1,
                        text: String::new(),
                    };
                    let blamed = blamed.iter().any(|line| holds(function, line));
                    source.of(*body).starts_with('{')
                        && variants::fits(source, std::slice::from_ref(&inside))
                        && !(excluded || blamed || function.has_error())
                };
                match function.child_by_field_name("body").filter(fine) {
                    Some(body) => probes.within(source, probe, body, &mut edits),
                    None => {
                        probes.blind.push((source.path.clone(), line_of(*function), end_line_of(*function)));
                    }
                }
            }
            if let Some(text) = splice(&source.text, &edits).filter(|_| !edits.is_empty()) {
                let head = probe.head.replace("{most}", &MOST.to_string());
                let (mark, text) =
                    text.strip_prefix('\u{feff}').map_or(("", text.as_str()), |text| ("\u{feff}", text));
                let file = File { kind: source.kind, content: format!("{mark}{head}{text}").into_bytes() };
                probes.patch.0.insert(source.path.clone(), Some(file));
                variants::support(source, schemata, &mut probes.patch);
            }
        }
        probes
    }

    /// Puts probes into a body.
    fn within(&mut self, source: &Source, probe: &Probe, body: Node, edits: &mut Vec<Edit>) {
        let first = self.places.len();
        let mut found = Vec::new();
        visit(body, &mut |node| {
            let ends = probe.tail && is_tail(source, node);
            let statement = [Role::Statement, Role::Simple].iter().any(|role| source.grammar.is(node, *role))
                || probe.besides.iter().any(|kind| kind == node.kind());
            let inside = node.parent().is_some_and(|parent| source.grammar.is(parent, Role::Block));
            if inside && (statement || ends) && !has_attribute(source, node) && self.places.len() < MOST {
                let text = probe.statement.replace("{number}", &self.places.len().to_string());
                found.push(Edit { start: node.start_byte(), end: node.start_byte(), text });
                self.places.push((source.path.clone(), lines_of(source, node)));
            }
            true
        });
        if !found.is_empty() {
            let count = self.places.len() - first;
            let text =
                probe.open.replace("{first}", &first.to_string()).replace("{count}", &count.to_string());
            edits.push(Edit { start: body.start_byte() + 1, end: body.start_byte() + 1, text });
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

    /// The lines that a test ran, by file, from what it noted.
    pub fn lines(&self, noted: &str) -> BTreeMap<String, BTreeSet<u32>> {
        let numbers: BTreeSet<usize> = noted.lines().filter_map(|line| line.parse().ok()).collect();
        let mut found: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for (path, lines) in numbers.into_iter().filter_map(|number| self.places.get(number)) {
            found.entry(path.to_string()).or_default().extend(lines);
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

/// Whether an attribute stands before a node, which a probe would take from it.
fn has_attribute(source: &Source, node: Node) -> bool {
    let mut before = node.prev_named_sibling();
    while let Some(comment) = before.filter(|before| source.grammar.is(*before, Role::Comment)) {
        before = comment.prev_named_sibling();
    }
    before.is_some_and(|before| source.grammar.is(before, Role::Opaque) && source.of(before).starts_with('#'))
}

/// The lines that run when a statement does: all but those of the statements in its blocks.
fn lines_of(source: &Source, statement: Node) -> BTreeSet<u32> {
    let mut lines: BTreeSet<u32> = (line_of(statement)..=end_line_of(statement)).collect();
    visit(statement, &mut |node| {
        let block = source.grammar.is(node, Role::Block);
        let count = u32::try_from(node.named_child_count()).unwrap_or(0);
        let ends = (node.named_child(0), node.named_child(count.saturating_sub(1)));
        if let (true, (Some(first), Some(last))) = (block, ends) {
            // A list of statements may begin with the first of them.
            let braced = source.of(node).starts_with('{');
            let header = if braced { Some(node) } else { node.parent() }.map_or(0, line_of);
            lines.retain(|line| !(line_of(first)..=end_line_of(last)).contains(line) || *line == header);
        }
        !block
    });
    lines
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
        assert_eq!(probes.lines("0\n2\nnone\n99\n"), [("src/lib.rs".to_owned(), [2, 4, 5, 6].into())].into());

        let location = Location { file: "src/lib.rs".to_owned(), line: 2, column: 0 };
        let blamed = probes.blamed(&[Diagnostic::error(Some(location), "no")]);
        assert_eq!(Probes::compose(&sources, &blamed).count(), 1);
    }

    /// The lines of each probe of a text, in order.
    fn places(path: &str, text: &str) -> Vec<Vec<u32>> {
        let grammars = Grammars::load(None).unwrap();
        let probes = Probes::compose(&[source(&grammars, path, text)], &BTreeSet::new());
        probes.places.into_iter().map(|(_, lines)| lines.into_iter().collect()).collect()
    }

    #[test]
    fn a_statement_has_the_lines_around_its_blocks() {
        let go = "package a\n\nfunc f(n int) int {\n\tif n > 1 {\n\t\tg()\n\t} else if n > 2 {\n\t\th()\n\t}\n\tfor i := range n {\n\t\tg(i)\n\t}\n\treturn 0\n}\n";
        assert_eq!(places("a.go", go), [vec![4, 6, 8], vec![5], vec![7], vec![9, 11], vec![10], vec![12]]);
        let c = "void f(int n)\n{\n    do {\n        n--;\n    } while (n > 0);\n    if (n) { g(); }\n}\n";
        assert_eq!(places("a.c", c), [vec![3, 5], vec![4], vec![6], vec![6]]);
        let rust = "fn f(n: u8) -> u8 {\n    #[allow(unused)]\n    // why\n    return 1;\n    match n {\n        1 => {\n            g();\n        }\n        _ => 2,\n    }\n}\n";
        assert_eq!(places("a.rs", rust), [vec![5, 6, 8, 9, 10], vec![7]]);
    }

    #[test]
    fn functions_without_probes_are_known() {
        let grammars = Grammars::load(None).unwrap();
        let text = "pub const fn one() -> u8 {\n    1\n}\n\nfn two() {\n    one();\n}\n";
        let probes = Probes::compose(&[source(&grammars, "a.rs", text)], &BTreeSet::new());
        assert_eq!(probes.blind, [(RepoPath::new("a.rs").unwrap(), 1, 3)]);
        let outside = BTreeSet::from([(RepoPath::new("a.rs").unwrap(), 4)]);
        assert_eq!(Probes::compose(&[source(&grammars, "a.rs", text)], &outside).count(), 0);
    }
}
