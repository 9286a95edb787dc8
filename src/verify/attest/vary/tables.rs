//! Tables of Python tests: the rows of `parametrize`, each a test of its own with an id that pytest makes of its values;
//! and the values that names stand for.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use tree_sitter::Node;

use super::literals::{change, is_literal};
use super::{Edits, children, source, word_count};
use crate::verify::attest::Draw;

/// A column of a parametrised table.
pub(super) struct Column<'t> {
    /// The cell of each row.
    pub cells: Vec<Node<'t>>,
    /// What pytest makes of each row, with the cell's own part apart, where that can be known.
    pub ids: Option<Vec<[String; 3]>>,
}

/// A cell with another value.
pub(super) struct Changed {
    /// The edit of the text.
    pub edit: (std::ops::Range<usize>, String),
    /// The row's id as it was and as it is now, in brackets, where that can be known.
    pub ids: Option<(String, String)>,
}

impl Column<'_> {
    /// Other values for all cells, if every one can be changed and the rows' ids stay apart.
    pub(super) fn change(&self, text: &str, draw: &mut Draw) -> Option<Vec<Changed>> {
        let mut changed = Vec::new();
        for (row, cell) in self.cells.iter().enumerate() {
            let (range, new) = change(*cell, text, draw)?;
            let mut one = Edits::default();
            one.0.push((range.start - cell.start_byte()..range.end - cell.start_byte(), new.clone()));
            let now = one.apply(source(*cell, text));
            let ids = self.ids.as_ref().map(|ids| {
                let [before, own, after] = &ids[row];
                // A cell that is named after its place keeps that name.
                let shown = if shown(*cell, text).is_some() { plain(&now).to_owned() } else { own.clone() };
                (format!("[{before}{own}{after}]"), format!("[{before}{shown}{after}]"))
            });
            changed.push(Changed { edit: (range, new), ids });
        }
        let old: BTreeMap<_, _> = changed.iter().filter_map(|cell| cell.ids.clone()).collect();
        let new: BTreeMap<_, _> = old.iter().map(|(old, new)| (new, old)).collect();
        // pytest tells rows of one id apart by numbers.
        if old.len() != changed.len() || new.len() != changed.len() {
            for cell in &mut changed {
                cell.ids = None;
            }
        }
        Some(changed)
    }
}

/// The columns of a parametrised table that have one of these names.
pub(super) fn columns<'t>(decorator: Node<'t>, text: &'t str, wanted: &[&str]) -> Vec<Column<'t>> {
    let made = children(decorator).first().copied().filter(|node| node.kind() == "call");
    let parts = made.and_then(|call| {
        Some((call.child_by_field_name("function")?, children(call.child_by_field_name("arguments")?)))
    });
    let Some((function, given)) =
        parts.filter(|(function, _)| source(*function, text).ends_with("parametrize"))
    else {
        return Vec::new();
    };
    let [keys, rows] = given[..] else {
        return Vec::new();
    };
    let Some(rows) = resolved(rows, decorator, text).filter(|rows| matches!(rows.kind(), "list" | "tuple"))
    else {
        return Vec::new();
    };
    if function.kind() != "attribute" {
        return Vec::new();
    }
    let names = argument_names(keys, text);
    let rows = children(rows);
    let mut found = Vec::new();
    for at in (0..names.len()).filter(|at| wanted.contains(&names[*at].as_str())) {
        let pick = |row: Node<'t>| if names.len() == 1 { Some(row) } else { element(row, at) };
        let cells: Option<Vec<_>> = rows.iter().copied().map(pick).collect();
        let ids =
            rows.iter().enumerate().map(|(number, row)| row_id(*row, number, at, &names, text)).collect();
        found.extend(cells.map(|cells| Column { cells, ids }));
    }
    found
}

/// What pytest calls a row, in three parts, the second being that of the cell at a place.
fn row_id(row: Node<'_>, number: usize, at: usize, names: &[String], text: &str) -> Option<[String; 3]> {
    let mut parts = [String::new(), String::new(), String::new()];
    for (place, name) in names.iter().enumerate() {
        let cell = if names.len() == 1 { row } else { element(row, place)? };
        let own = match cell.kind() {
            "list" | "tuple" | "dictionary" | "set" => format!("{name}{number}"),
            _ => shown(cell, text)?,
        };
        match place.cmp(&at) {
            Ordering::Less => parts[0] = format!("{}{own}-", parts[0]),
            Ordering::Equal => parts[1] = own,
            Ordering::Greater => parts[2] = format!("{}-{own}", parts[2]),
        }
    }
    let explicit = row.kind() == "call" && source(row, text).contains("id=");
    (!explicit).then_some(parts)
}

/// What pytest shows of a simple value.
fn shown(cell: Node<'_>, text: &str) -> Option<String> {
    let said = source(cell, text);
    let known = match cell.kind() {
        "integer" => said.bytes().all(|byte| byte.is_ascii_digit()),
        "float" => said.parse::<f64>().is_ok_and(|value| format!("{value:?}") == said),
        "unary_operator" => {
            said.starts_with('-') && shown(cell.child_by_field_name("argument")?, text).is_some()
        }
        "true" | "false" | "none" => true,
        "string" => {
            said.starts_with(['"', '\''])
                && !said.starts_with("\"\"\"")
                && !said.starts_with("'''")
                && said.is_ascii()
                && !said.contains('\\')
        }
        _ => false,
    };
    known.then(|| plain(said).to_owned())
}

/// A text without its quotes.
fn plain(said: &str) -> &str {
    let quote = said.chars().next().filter(|quote| matches!(quote, '"' | '\''));
    quote.and_then(|quote| said.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(said)
}

/// The names in the first argument of `parametrize`.
fn argument_names(node: Node<'_>, text: &str) -> Vec<String> {
    match node.kind() {
        "string" => plain(source(node, text)).split(',').map(|name| name.trim().to_owned()).collect(),
        _ => children(node).into_iter().map(|name| plain(source(name, text)).to_owned()).collect(),
    }
}

/// An element of a row, written as a tuple, a list or a `pytest.param`.
pub(super) fn element(row: Node<'_>, at: usize) -> Option<Node<'_>> {
    let elements = match row.kind() {
        "tuple" | "list" => row,
        "call" => row.child_by_field_name("arguments")?,
        _ => return None,
    };
    children(elements).into_iter().filter(|part| part.kind() != "keyword_argument").nth(at)
}

/// What a name stands for, where it is given a value once and is said once besides: in the function around a node, or
/// in the module. Anything but a name stands for itself.
pub(super) fn resolved<'t>(node: Node<'t>, inside: Node<'t>, text: &'t str) -> Option<Node<'t>> {
    if node.kind() != "identifier" {
        return Some(node);
    }
    let name = source(node, text);
    let mut above = Some(inside);
    while let Some(scope) = above {
        let body = match scope.kind() {
            "function_definition" => scope.child_by_field_name("body"),
            "module" => Some(scope),
            _ => None,
        };
        if let Some(value) = body.and_then(|body| assigned(body, name, text)) {
            return (word_count(source(scope, text), name) == 2).then_some(value);
        }
        above = scope.parent();
    }
    None
}

/// The value that a block gives a name.
fn assigned<'t>(block: Node<'t>, name: &str, text: &str) -> Option<Node<'t>> {
    children(block).into_iter().find_map(|statement| {
        let assignment = *children(statement).first()?;
        let left = assignment.child_by_field_name("left").filter(|_| assignment.kind() == "assignment")?;
        (source(left, text) == name).then(|| assignment.child_by_field_name("right")).flatten()
    })
}

/// The literal in an expected value: itself, what a name stands for, or the only argument of what leaves it what it is.
pub(super) fn literal<'t>(node: Node<'t>, text: &'t str) -> Option<Node<'t>> {
    let node = resolved(node, node, text)?;
    if is_literal(node) {
        return Some(node);
    }
    let function = source(node.child_by_field_name("function")?, text);
    let [only] = children(node.child_by_field_name("arguments")?)[..] else { return None };
    let small = || source(only, text).parse::<f64>().is_ok_and(|value| value.abs() < 1e5);
    let known = match function.rsplit('.').next()? {
        "Decimal" | "Fraction" => matches!(only.kind(), "string" | "integer"),
        "approx" => matches!(only.kind(), "integer" | "float") && small(),
        "dedent" => only.kind() == "string" && is_literal(only),
        _ => false,
    };
    known.then_some(only)
}
