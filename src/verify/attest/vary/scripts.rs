//! Finds the tests in JavaScript and TypeScript files: what announces them, their titles, and the tables that they are
//! made from. A title that is made while the tests run is a *pattern*; a row of a table whose values stand in the text
//! tells what becomes of it.

use std::sync::LazyLock;

use regex::Regex;
use tree_sitter::Node;

use super::{children, source, word_count};

/// A test: the titles of the suites around it and its own, and what it runs.
pub(super) struct Test<'t> {
    pub titles: Vec<Title<'t>>,
    /// Its function, and the body of that.
    pub function: Node<'t>,
    pub body: Node<'t>,
    /// The innermost table around it.
    pub table: Option<Table<'t>>,
}

/// A title.
#[derive(Clone)]
pub(super) struct Title<'t> {
    pub node: Node<'t>,
    pieces: Vec<Piece<'t>>,
}

#[derive(Clone)]
enum Piece<'t> {
    Text(String),
    /// What an expression gives.
    Value(&'t str),
    /// The next value of a row.
    Next,
    Unknown,
}

/// Rows of values that tests are made from.
#[derive(Clone)]
pub(super) struct Table<'t> {
    pub rows: Vec<Node<'t>>,
    /// What the values of a row are called, in their order; by one name for the whole row.
    names: Vec<&'t str>,
    /// Whether rows are objects with these keys.
    keyed: bool,
    whole: Option<&'t str>,
}

/// The tests of a program; whether nothing else in it announces one.
pub(super) fn tests<'t>(root: Node<'t>, text: &'t str) -> (Vec<Test<'t>>, bool) {
    let mut finder = Finder { text, titles: Vec::new(), found: Vec::new(), announced: 0 };
    finder.block(root, None, false);
    let sure = calls(text) == finder.announced;
    (finder.found, sure)
}

/// How often a text seems to announce a test.
fn calls(text: &str) -> usize {
    static CALL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?:^|[^\w.$])((?:(?:t|ctx|context)\.)?(?:test|it|specify)(?:\.\w+)*)\s*[(`]")
            .expect("a test compiles it")
    });
    // What is left out cannot pass for another.
    let others = [".skip", ".todo", ".describe", ".suite", ".before", ".after", ".mock"];
    let said = CALL.captures_iter(text).filter(|call| !others.iter().any(|other| call[1].contains(other)));
    said.count()
}

struct Finder<'t> {
    text: &'t str,
    titles: Vec<Title<'t>>,
    found: Vec<Test<'t>>,
    announced: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Suite,
    Test,
}

impl<'t> Finder<'t> {
    /// Looks through statements; in a loop a title that never changes would name many tests.
    fn block(&mut self, block: Node<'t>, table: Option<&Table<'t>>, loops: bool) {
        for statement in children(block) {
            match statement.kind() {
                "expression_statement" => self.statement(statement, table, loops),
                "if_statement" | "else_clause" | "statement_block" | "try_statement" => {
                    self.block(statement, table, loops);
                }
                "for_in_statement" | "for_statement" => {
                    let own = self.loop_over(statement);
                    if let Some(body) = statement.child_by_field_name("body") {
                        self.block(body, own.as_ref().or(table), true);
                    }
                }
                _ => {}
            }
        }
    }

    fn statement(&mut self, statement: Node<'t>, table: Option<&Table<'t>>, loops: bool) {
        if let Some((body, own)) = self.for_each(statement) {
            self.block(body, own.as_ref().or(table), true);
            return;
        }
        let Some((kind, title, function, own)) = self.said(statement) else { return };
        let Some(body) = function.child_by_field_name("body") else { return };
        let before = self.found.len();
        let table = own.as_ref().or(table);
        if kind == Kind::Test {
            self.announced += 1;
        }
        self.titles.push(title);
        if body.kind() == "statement_block" {
            self.block(body, table, loops);
        }
        // One that holds tests of its own is a suite, whatever it is called.
        let dynamic = self.titles.iter().any(|title| title.exact().is_none());
        if kind == Kind::Test && self.found.len() == before && (dynamic || !loops) {
            self.found.push(Test { titles: self.titles.clone(), function, body, table: table.cloned() });
        }
        self.titles.pop();
    }

    /// What a statement announces: a suite or a test, its title, its function, and its table.
    fn said(&self, statement: Node<'t>) -> Option<(Kind, Title<'t>, Node<'t>, Option<Table<'t>>)> {
        let mut call = *children(statement).first()?;
        if call.kind() == "await_expression" {
            call = *children(call).first()?;
        }
        let callee = call.child_by_field_name("function")?;
        let each = callee.child_by_field_name("function").filter(|_| callee.kind() == "call_expression");
        let name = source(each.unwrap_or(callee), self.text);
        let name = if each.is_some() {
            name.strip_suffix(".each").or_else(|| name.strip_suffix(".for"))?
        } else {
            name
        };
        let kind = match name.strip_suffix(".only").unwrap_or(name) {
            "test" | "it" | "specify" | "t.test" | "ctx.test" | "context.test" | "test.test" | "test.it" => {
                Kind::Test
            }
            "describe" | "suite" | "context" | "test.describe" | "test.suite" => Kind::Suite,
            _ => return None,
        };
        let arguments = children(call.child_by_field_name("arguments")?);
        let title = *arguments.first()?;
        let is_function = |node: &&Node<'_>| matches!(node.kind(), "arrow_function" | "function_expression");
        // A number after the function is its time limit.
        let function = *arguments.iter().skip(1).find(is_function)?;
        // Options may leave a test out.
        let plain = arguments[1..].iter().all(|argument| {
            !["skip", "todo", "fails"]
                .iter()
                .any(|word| argument.kind() == "object" && source(*argument, self.text).contains(word))
        });
        let title = self.title(title, each.is_some()).filter(|_| plain)?;
        let table = each.map(|_| callee.child_by_field_name("arguments")).and_then(|arguments| {
            let rows = resolved(*children(arguments?).first()?, statement, self.text)?;
            self.table(rows, function, true)
        });
        Some((kind, title, function, table))
    }

    fn title(&self, node: Node<'t>, each: bool) -> Option<Title<'t>> {
        let said = source(node, self.text);
        let pieces = match node.kind() {
            "string" if each => printed(&said[1..said.len() - 1]),
            "string" | "template_string" if said.contains('\\') => return None,
            "string" => vec![Piece::Text(said[1..said.len() - 1].to_owned())],
            "template_string" => {
                let (mut pieces, mut at) = (Vec::new(), node.start_byte() + 1);
                for part in children(node).into_iter().filter(|part| part.kind() == "template_substitution") {
                    pieces.push(Piece::Text(self.text[at..part.start_byte()].to_owned()));
                    let value = children(part).first().map(|value| Piece::Value(source(*value, self.text)));
                    pieces.push(value.unwrap_or(Piece::Unknown));
                    at = part.end_byte();
                }
                pieces.push(Piece::Text(self.text[at..node.end_byte() - 1].to_owned()));
                pieces
            }
            "identifier" | "member_expression" => vec![Piece::Value(said)],
            "binary_expression" | "call_expression" => vec![Piece::Unknown],
            _ => return None,
        };
        Some(Title { node, pieces })
    }

    /// The table that a loop runs over, if it stands in the text.
    fn loop_over(&self, statement: Node<'t>) -> Option<Table<'t>> {
        let (left, right) = (statement.child_by_field_name("left")?, statement.child_by_field_name("right")?);
        let rows = resolved(right, statement, self.text).filter(|rows| rows.kind() == "array")?;
        bound(rows, left, self.text)
    }

    /// The body and the table of a call like `cases.forEach((case) => { … })`.
    fn for_each(&self, statement: Node<'t>) -> Option<(Node<'t>, Option<Table<'t>>)> {
        let call = *children(statement).first()?;
        let callee = call.child_by_field_name("function")?;
        if source(callee.child_by_field_name("property")?, self.text) != "forEach" {
            return None;
        }
        let function = *children(call.child_by_field_name("arguments")?).first()?;
        let body = function.child_by_field_name("body").filter(|body| body.kind() == "statement_block")?;
        let rows = resolved(callee.child_by_field_name("object")?, statement, self.text);
        Some((body, rows.and_then(|rows| self.table(rows, function, false))))
    }

    /// A table whose rows a function takes: each as its first parameter, or, `spread`, values by values.
    fn table(&self, rows: Node<'t>, function: Node<'t>, spread: bool) -> Option<Table<'t>> {
        if !matches!(rows.kind(), "array" | "as_expression") {
            return None;
        }
        let rows = if rows.kind() == "array" { rows } else { *children(rows).first()? };
        let bare = function.child_by_field_name("parameter");
        let given = function.child_by_field_name("parameters").map(children).unwrap_or_default();
        let parameters: Vec<Node<'t>> = bare
            .into_iter()
            .chain(given)
            .map(|parameter| parameter.child_by_field_name("pattern").unwrap_or(parameter))
            .collect();
        let lists = children(rows).iter().all(|row| row.kind() == "array");
        match parameters.first() {
            Some(first) if !(spread && lists) => bound(rows, *first, self.text),
            _ => {
                let names = parameters.iter().map(|name| source(*name, self.text)).collect();
                Some(Table { rows: children(rows), names, keyed: false, whole: None })
            }
        }
    }
}

/// A table whose rows are bound to a pattern.
fn bound<'t>(rows: Node<'t>, pattern: Node<'t>, text: &'t str) -> Option<Table<'t>> {
    let rows = children(rows);
    let names = |pattern: Node<'t>| children(pattern).iter().map(|name| source(*name, text)).collect();
    match pattern.kind() {
        "array_pattern" => Some(Table { rows, names: names(pattern), keyed: false, whole: None }),
        "object_pattern" => Some(Table { rows, names: names(pattern), keyed: true, whole: None }),
        "identifier" => {
            Some(Table { rows, names: Vec::new(), keyed: true, whole: Some(source(pattern, text)) })
        }
        _ => None,
    }
}

/// The pieces of a title with places for the values of a row, `%s` or `$name`.
fn printed(said: &str) -> Vec<Piece<'_>> {
    static PLACE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"%[a-zA-Z#$%]|\$[A-Za-z_#][\w.]*").expect("a test compiles it"));
    let (mut pieces, mut at) = (Vec::new(), 0);
    for place in PLACE.find_iter(said) {
        pieces.push(Piece::Text(said[at..place.start()].to_owned()));
        pieces.push(match place.as_str() {
            "%s" | "%d" | "%i" => Piece::Next,
            _ => Piece::Unknown,
        });
        at = place.end();
    }
    pieces.push(Piece::Text(said[at..].to_owned()));
    if said.contains('\\') { vec![Piece::Unknown] } else { pieces }
}

impl Title<'_> {
    /// The title, if it is always the same.
    pub(super) fn exact(&self) -> Option<&str> {
        match &self.pieces[..] {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// A regular expression for what the title may be.
    pub(super) fn pattern(&self) -> String {
        let piece = |piece: &Piece<'_>| match piece {
            Piece::Text(text) => regex::escape(text),
            _ => ".*".to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// The title for a row whose cell at a place has been given another text.
    fn of_row(
        &self,
        table: &Table<'_>,
        row: Node<'_>,
        other: (Node<'_>, &str),
        text: &str,
    ) -> Option<String> {
        let (mut title, mut next) = (String::new(), 0);
        for piece in &self.pieces {
            let cell = match piece {
                Piece::Text(text) => {
                    title.push_str(text);
                    continue;
                }
                Piece::Value(name) => table.cell(row, name, text)?,
                Piece::Next => {
                    next += 1;
                    if row.kind() == "array" { *children(row).get(next - 1)? } else { row }
                }
                Piece::Unknown => return None,
            };
            let said = if cell.id() == other.0.id() { other.1 } else { source(cell, text) };
            title.push_str(&shown(cell.kind(), said)?);
        }
        Some(title)
    }
}

/// What a simple value looks like in a title.
fn shown(kind: &str, said: &str) -> Option<String> {
    match kind {
        "string" => (!said.contains('\\')).then(|| said[1..said.len() - 1].to_owned()),
        "number" => {
            let digits = said.replace('_', "");
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.len() < 15;
            (plain && (digits.len() == 1 || !digits.starts_with('0'))).then_some(digits)
        }
        "unary_expression" => Some(format!("-{}", shown("number", said.strip_prefix('-')?)?)),
        "true" | "false" | "null" | "undefined" => Some(said.to_owned()),
        _ => None,
    }
}

impl<'t> Table<'t> {
    /// The cell of a row that an expression gives.
    pub(super) fn cell(&self, row: Node<'t>, expression: &str, text: &str) -> Option<Node<'t>> {
        let name = match self.whole {
            Some(whole) if expression == whole => return Some(row),
            Some(whole) => expression.strip_prefix(whole)?.strip_prefix('.')?,
            None => expression,
        };
        if self.keyed {
            let known = self.whole.is_some() || self.names.contains(&name);
            let pair = |pair: &Node<'t>| {
                let key = pair.child_by_field_name("key")?;
                (source(key, text) == name).then(|| pair.child_by_field_name("value")).flatten()
            };
            return children(row).iter().filter(|_| known && row.kind() == "object").find_map(pair);
        }
        let at = self.names.iter().position(|known| *known == name)?;
        if row.kind() == "array" { children(row).get(at).copied() } else { (at == 0).then_some(row) }
    }
}

impl<'t> Test<'t> {
    /// The names that lead to the test: its titles, or what stands for them.
    pub(super) fn names(&self, text: &'t str) -> Vec<&str> {
        self.titles.iter().map(|title| title.exact().unwrap_or(source(title.node, text))).collect()
    }

    /// Whether all its titles are known.
    pub(super) fn is_exact(&self) -> bool {
        self.titles.iter().all(|title| title.exact().is_some())
    }

    /// The titles for a row, joined as in ids.
    pub(super) fn of_row(&self, row: Node<'t>, other: (Node<'t>, &str), text: &str) -> Option<String> {
        let table = self.table.as_ref()?;
        let titles = self.titles.iter().map(|title| title.of_row(table, row, other, text));
        Some(titles.collect::<Option<Vec<_>>>()?.join(" > "))
    }
}

/// What a name stands for, where it is declared once and said once besides, in a block or program around a node.
/// Anything but a name stands for itself.
pub(super) fn resolved<'t>(node: Node<'t>, inside: Node<'t>, text: &'t str) -> Option<Node<'t>> {
    if node.kind() != "identifier" {
        return Some(node);
    }
    let name = source(node, text);
    let mut above = Some(inside);
    while let Some(scope) = above {
        if matches!(scope.kind(), "statement_block" | "program")
            && let Some(value) = declared(scope, name, text)
        {
            return (word_count(source(scope, text), name) == 2).then_some(value);
        }
        above = scope.parent();
    }
    None
}

/// The value that a block declares a name with.
fn declared<'t>(block: Node<'t>, name: &str, text: &str) -> Option<Node<'t>> {
    let statements = children(block).into_iter().filter(|node| node.kind() == "lexical_declaration");
    statements.flat_map(children).find_map(|declarator| {
        let own = declarator.child_by_field_name("name")?;
        (source(own, text) == name).then(|| declarator.child_by_field_name("value")).flatten()
    })
}
