//! Edits of statements: what is missing, superfluous or in the wrong place.

use tree_sitter::Node;

use super::expressions::words;
use super::scope::{self, Copyable, Scope};
use super::{Edit, Maker, last_child, line_of, visit};
use crate::repair::grammar::Role;

/// Statements that are copied from elsewhere in a function.
const COPIES: usize = 30;

/// Errors that are raised under a condition, and how much likelier that is where a failure misses one.
const THROWS: usize = 4;
const MISSING: f64 = 3.0;

/// Bytes of a text that a failure asks for, below which it may stand anywhere.
const WORDS: usize = 6;

/// How likely a function is to end in a way in which it ends nowhere else, against one that it has.
const UNUSUAL: f64 = 0.6;

/// How much likelier an error is that says what its condition is than one in the words of another.
const OWN_WORDS: f64 = 1.2;

/// How much likelier a copied statement is to be missing after one that it follows elsewhere, and before one that it
/// precedes elsewhere.
const NEXT_TO: f64 = 3.0;

impl Maker<'_> {
    /// Edits of all statements of a function; of a whole file, of those outside of functions.
    pub fn statements(&mut self, scope: &Scope, function: Node) {
        let mut blocks = Vec::new();
        let whole = function.parent().is_none();
        visit(function, &mut |node| {
            if self.grammar.is(node, Role::Block) {
                blocks.push(node);
            }
            !(whole && node != function && self.grammar.is(node, Role::Function))
        });
        let mut copies: Vec<(Copyable, f64)> =
            scope::copyable(self.source, function).into_iter().take(COPIES).map(|copy| (copy, 1.0)).collect();
        for copy in scope.usable(&self.statements) {
            if copies.len() < 2 * COPIES && !copies.iter().any(|(known, _)| known.text == copy.text) {
                copies.push((copy.clone(), 0.6));
            }
        }
        for block in blocks {
            let mut cursor = block.walk();
            let list: Vec<Node> = block
                .named_children(&mut cursor)
                .filter(|child| !self.grammar.is(*child, Role::Comment))
                .collect();
            if whole && block == function {
                continue;
            }
            for (at, statement) in list.iter().enumerate() {
                if !self.grammar.is(*statement, Role::Statement) || scope::documents(self.source, *statement)
                {
                    continue;
                }
                let (before, after) = (at.checked_sub(1).and_then(|at| list.get(at)), list.get(at + 1));
                self.remove(*statement, list.len() == 1);
                self.shuffle(*statement, before.copied(), after.copied());
                self.guard(scope, *statement, block);
                if let Some(before) = before {
                    self.guard_after(scope, *before, *statement);
                }
                let before = before.map_or("", |before| self.source.of(*before)).to_owned();
                self.insert(scope, *statement, &before, after.is_none(), &copies);
                self.restate(*statement);
            }
        }
    }

    /// A class gets a reader of a field that is not for others, under the name that a failure misses.
    pub fn accessors(&mut self, class: Node) {
        let Some(template) = self.grammar.texts.accessor.clone() else { return };
        let last = class.child_by_field_name("body").and_then(last_child);
        let Some(last) = last.filter(|last| !self.indentation(*last).is_empty()) else { return };
        let hidden = |missed: &&String| {
            let field = format!("_{missed}");
            words(self.source.of(class)).any(|word| word == field)
        };
        let missed: Vec<String> = self.hints.lacking.iter().filter(hidden).cloned().collect();
        for name in missed {
            let indentation = self.indentation(last);
            let text = template.replace("{name}", &name).replace("{field}", &format!("_{name}"));
            let text = format!("\n\n{indentation}{}", text.replace('\n', &format!("\n{indentation}")));
            let edit = Edit { start: last.end_byte(), end: last.end_byte(), text };
            self.push("accessor", class, vec![edit], 1.0);
        }
    }

    /// The blanks before a statement.
    fn indentation(&self, node: Node) -> &str {
        let start = node.start_byte() - node.start_position().column;
        let blanks = self.source.text.get(start..node.start_byte()).unwrap_or_default();
        if blanks.trim().is_empty() { blanks } else { "" }
    }

    /// Whether a statement has its lines for itself.
    fn stands_alone(&self, node: Node) -> bool {
        let start = node.start_byte() - node.start_position().column;
        let before = self.source.text.get(start..node.start_byte()).unwrap_or("x");
        let rest = self.source.text.get(node.end_byte()..).unwrap_or_default();
        before.trim().is_empty()
            && rest.lines().next().unwrap_or_default().trim().trim_matches(';').is_empty()
    }

    /// A statement with its line break.
    fn line(&self, node: Node) -> (usize, usize) {
        let start = node.start_byte() - node.start_position().column;
        let rest = self.source.text.get(node.end_byte()..).unwrap_or_default();
        let end = node.end_byte() + rest.find('\n').map_or(rest.len(), |at| at + 1);
        (start, end)
    }

    fn remove(&mut self, node: Node, only: bool) {
        if !self.stands_alone(node) {
            return;
        }
        let (start, end) = self.line(node);
        let text = if only && self.grammar.parser == "python" {
            format!("{}pass\n", self.indentation(node))
        } else {
            String::new()
        };
        let compound = !self.grammar.is(node, Role::Simple);
        self.push("delete", node, vec![Edit { start, end, text }], if compound { 0.5 } else { 1.0 });
        // What holds a block leaves it behind.
        if let Some(body) = self.list_of(node) {
            let inner = self.body_text(body, self.indentation(node));
            let edit = Edit { start: node.start_byte(), end: node.end_byte(), text: inner.trim().to_owned() };
            self.push("delete", node, vec![edit], 0.6);
        }
    }

    /// The block of a compound statement.
    fn list_of<'t>(&self, node: Node<'t>) -> Option<Node<'t>> {
        let body = node.child_by_field_name("body").or_else(|| node.child_by_field_name("consequence"))?;
        let list = body.named_child(0).filter(|child| self.grammar.is(*child, Role::Block)).unwrap_or(body);
        self.grammar.is(list, Role::Block).then_some(list)
    }

    /// The statements of a block, indented as `indentation` says.
    fn body_text(&self, body: Node, indentation: &str) -> String {
        let mut cursor = body.walk();
        let texts: Vec<String> =
            body.named_children(&mut cursor).map(|child| self.reindented(child, indentation)).collect();
        texts.join("\n")
    }

    /// A statement's text with another indentation, its own line's blanks included.
    fn reindented(&self, node: Node, indentation: &str) -> String {
        let own = self.indentation(node);
        let mut lines = self.source.of(node).split('\n');
        let mut text = format!("{indentation}{}", lines.next().unwrap_or_default());
        for line in lines {
            let rest = line.strip_prefix(own).unwrap_or(line.trim_start());
            text = format!("{text}\n{indentation}{rest}");
        }
        text
    }

    /// Exchanges neighbours, moves a statement out of its block or into the one beside it.
    fn shuffle(&mut self, node: Node, before: Option<Node>, after: Option<Node>) {
        if !self.stands_alone(node) {
            return;
        }
        if let Some(after) = after.filter(|after| self.stands_alone(*after)) {
            self.exchange("swap-statements", node, after, 1.0);
        }
        let (start, end) = self.line(node);
        let cut = Edit { start, end, text: String::new() };
        let outer = node
            .parent()
            .and_then(|block| block.parent())
            .filter(|outer| self.grammar.is(*outer, Role::Statement));
        if let Some(outer) = outer.filter(|outer| self.stands_alone(*outer) && before.or(after).is_some()) {
            let text = self.reindented(node, self.indentation(outer)) + "\n";
            if after.is_none() {
                let place = self.line(outer).1;
                self.push(
                    "move",
                    node,
                    vec![cut.clone(), Edit { start: place, end: place, text: text.clone() }],
                    1.0,
                );
            }
            if before.is_none() {
                let place = self.line(outer).0;
                self.push("move", node, vec![Edit { start: place, end: place, text }, cut.clone()], 0.7);
            }
        }
        if let Some(last) = before.and_then(|before| self.last_within(before)) {
            let text = self.reindented(node, self.indentation(last)) + "\n";
            let place = self.line(last).1;
            self.push("move", node, vec![Edit { start: place, end: place, text }, cut.clone()], 1.0);
        }
        if let Some(body) = after.and_then(|after| after.child_by_field_name("body"))
            && let Some(first) = body.named_child(0).filter(|first| self.stands_alone(*first))
        {
            let text = self.reindented(node, self.indentation(first)) + "\n";
            let place = self.line(first).0;
            self.push("move", node, vec![cut, Edit { start: place, end: place, text }], 0.7);
        }
        self.push(
            "duplicate",
            node,
            vec![Edit {
                start: end,
                end,
                text: self.source.text.get(start..end).unwrap_or_default().to_owned(),
            }],
            1.0,
        );
    }

    /// What a block is the body of.
    fn holder<'t>(&self, block: Node<'t>) -> Option<Node<'t>> {
        let parent = block.parent()?;
        if parent.kind() == "block" && !self.grammar.is(parent, Role::Block) {
            parent.parent()
        } else {
            Some(parent)
        }
    }

    /// The last statement in the block of a compound statement.
    fn last_within<'t>(&self, node: Node<'t>) -> Option<Node<'t>> {
        let body = self.list_of(node)?;
        last_child(body).filter(|last| self.stands_alone(*last))
    }

    /// Puts a condition around a statement, or a base case or a jump before it.
    fn guard(&mut self, scope: &Scope, node: Node, block: Node) {
        if !self.stands_alone(node) || !self.suspicious(node) {
            return;
        }
        let indentation = self.indentation(node).to_owned();
        let holder = self.holder(block);
        let first = holder.is_some_and(|parent| self.grammar.is(parent, Role::Function))
            && self.is_first(block, node);
        let looping = holder.is_some_and(|parent| self.grammar.is(parent, Role::Loop));
        let copied: Vec<(String, f64)> = scope.conditions.iter().map(|text| (text.clone(), 1.5)).collect();
        let mut conditions: Vec<(String, f64)> =
            copied.into_iter().chain(self.conditions(scope, self.source.of(node))).collect();
        let mut pairs = Vec::new();
        if let Some(function) = holder.filter(|_| first) {
            // Nothing but parameters has a value yet.
            let head = self.source.text.get(function.start_byte()..node.start_byte()).unwrap_or_default();
            let (now, later): (Vec<&String>, Vec<&String>) =
                scope.names.iter().partition(|name| words(head).any(|word| word == name.as_str()));
            conditions.retain(|(text, _)| !words(text).any(|word| later.iter().any(|name| *name == word)));
            if self.hints.absent {
                pairs = self.absent_pairs(&now);
            }
        }
        let exits = if first { self.base_cases(scope) } else { Vec::new() };
        let missed =
            if first { self.throws(scope).into_iter().find(|text| self.is_missed(text)) } else { None };
        let place = node.start_byte();
        for (condition, exit) in pairs {
            let text = self.guarded(&condition, &exit, &indentation);
            self.push_unranked("guard", node, Edit { start: place, end: place, text }, 1.0);
        }
        for (rank, (condition, weight)) in conditions.iter().take(if first { 120 } else { 60 }).enumerate() {
            let fade = 1.0 / (1.0 + rank_of(rank) * 0.05);
            if let Some(text) = missed.as_ref().and_then(|throw| says(throw, condition)) {
                let text = self.guarded(condition, &text, &indentation);
                let weight = weight / (1.0 + rank_of(rank) * 0.15) * MISSING * OWN_WORDS;
                self.push_unranked("guard", node, Edit { start: place, end: place, text }, weight);
            }
            // Two lists: each fades, or guards would crowd out everything else.
            for (at, (exit, times)) in exits.iter().enumerate() {
                let text = self.guarded(condition, exit, &indentation);
                let weight = weight / (1.0 + rank_of(rank) * 0.15) / (1.0 + rank_of(at) * 0.4) * times;
                self.push_unranked("guard", node, Edit { start: place, end: place, text }, weight);
            }
            if looping {
                for jump in &self.grammar.jumps {
                    let text = self.guarded(condition, jump, &indentation);
                    self.push("jump", node, vec![Edit { start: place, end: place, text }], weight * fade);
                }
            }
            if self.grammar.is(node, Role::Simple) && rank < 40 {
                let statement = self.source.of(node).trim_end_matches(';').to_owned();
                let text = self.guarded(condition, &statement, &indentation);
                let text = text.trim_end().to_owned();
                self.push(
                    "wrap-in-if",
                    node,
                    vec![Edit { start: place, end: node.end_byte(), text }],
                    weight * fade,
                );
            }
        }
    }

    /// Where one of two names has no value, they are equal if both have none: conditions and what to return.
    fn absent_pairs(&self, names: &[&String]) -> Vec<(String, String)> {
        let (absent, same) = (self.asking(true), self.grammar.texts.relations.first());
        let (Some(absent), Some(same)) = (absent, same) else { return Vec::new() };
        let names = &names[..names.len().min(4)];
        let pairs = names.iter().enumerate().flat_map(|(at, x)| names[at + 1..].iter().map(move |y| (x, y)));
        let guard = |(x, y): (&&String, &&String)| {
            let of = |name: &str| absent.replace("{x}", name);
            let either = self.grammar.or.replacen("{}", &of(x), 1).replacen("{}", &of(y), 1);
            let equal = same.replace("{x}", x).replace("{y}", y);
            (either, self.grammar.returns.replacen("{}", &equal, 1))
        };
        pairs.map(guard).collect()
    }

    /// How a function may end at once, and how much likelier than it stands in the list.
    fn base_cases(&self, scope: &Scope) -> Vec<(String, f64)> {
        let throws = self.throws(scope).into_iter().map(|text| (text, MISSING));
        let exits = self.exits.iter().take(4).cloned();
        let values =
            self.values(scope).into_iter().map(|value| self.grammar.returns.replacen("{}", &value, 1));
        throws.chain(exits.chain(values).map(|text| (text, 1.0))).take(26).collect()
    }

    /// Whether a failure complains of the absence of this error.
    fn is_missed(&self, throw: &str) -> bool {
        words(throw).any(|word| self.hints.missing.contains(word))
    }

    /// Errors that the file raises elsewhere and whose absence a failure complains of, or whose words it asks for; those
    /// that speak of names of the scope first.
    fn throws(&self, scope: &Scope) -> Vec<String> {
        let asked = |text: &str| {
            let several = |wanted: &&String| wanted.trim().contains(' ') && wanted.len() >= WORDS;
            self.hints.strings.iter().filter(several).any(|wanted| text.contains(wanted.as_str()))
        };
        let mut found: Vec<&String> =
            self.throws.iter().filter(|text| self.is_missed(text) || asked(text)).collect();
        let known =
            |text: &str| words(text).filter(|word| scope.names.iter().any(|name| name == word)).count();
        found.sort_by_key(|text| std::cmp::Reverse(known(text)));
        found.into_iter().take(THROWS).cloned().collect()
    }

    /// A function ends early when what a statement has just given a name is special.
    fn guard_after(&mut self, scope: &Scope, before: Node, node: Node) {
        let Some(name) = self.given(before).filter(|_| self.stands_alone(node) && self.suspicious(node))
        else {
            return;
        };
        let indentation = self.indentation(node).to_owned();
        let returns = |value: String| self.grammar.returns.replacen("{}", &value, 1);
        // What the function gives elsewhere, and values that look like it, come first.
        let around = node.parent().map_or("", |block| self.source.of(block));
        let own: Vec<_> =
            self.exits.iter().filter(|exit| around.contains(exit.as_str())).map(|exit| shape(exit)).collect();
        let mut values: Vec<String> = self.values(scope).into_iter().map(returns).collect();
        values.sort_by_key(|value| !own.contains(&shape(value)));
        let exits: Vec<String> =
            self.exits.iter().take(8).cloned().chain(values.into_iter().take(10)).collect();
        let place = node.start_byte();
        let templates: Vec<String> =
            self.grammar.texts.conditions.iter().map(|template| template.replace("{x}", &name)).collect();
        let mut given = vec![self.grammar.returns.replacen("{}", &name, 1)];
        given.extend(self.exits.iter().take(3).cloned());
        // What the function asks elsewhere, and ends with what there is so far …
        let asked = self.asked(&name, node);
        // … or where something else is missing.
        let absent = self.asking(true);
        let others = scope.names.iter().take(8).filter(|other| **other != name);
        let missing: Vec<String> =
            absent.map_or_else(Vec::new, |text| others.map(|other| text.replace("{x}", other)).collect());
        let likely = if self.hints.absent { 1.6 } else { 0.4 };
        let Some(function) = self.function_of(node) else { return };
        let usual = |exits: &[String]| -> Vec<(String, f64)> {
            let usual = |exit: &String| if function.contains(exit.as_str()) { 1.0 } else { UNUSUAL };
            exits.iter().map(|exit| (exit.clone(), usual(exit))).collect()
        };
        let (exits, given) = (usual(&exits), usual(&given));
        let lists = [(templates, &exits[..], 0.6), (asked, &given[..], 0.8), (missing, &given[..], likely)];
        for (conditions, exits, most) in lists {
            for (rank, condition) in conditions.iter().enumerate() {
                for (at, (exit, usual)) in exits.iter().enumerate() {
                    let text = self.guarded(condition, exit, &indentation);
                    let weight = most * usual / (1.0 + rank_of(rank) * 0.1) / (1.0 + rank_of(at) * 0.2);
                    self.push_unranked("guard", node, Edit { start: place, end: place, text }, weight);
                }
            }
        }
    }

    /// The text of the innermost function around a node.
    fn function_of(&self, node: Node) -> Option<&str> {
        let mut around = node;
        while !self.grammar.is(around, Role::Function) {
            around = around.parent()?;
        }
        Some(self.source.of(around))
    }

    /// Conditions that stand in the block of a statement: as they are, with another of its texts, and where one asks of
    /// `name`, that it does not hold.
    fn asked(&self, name: &str, node: Node) -> Vec<String> {
        let around = node.parent().map_or("", |block| self.source.of(block));
        let texts: Vec<&String> = self.strings.iter().filter(|text| around.contains(text.as_str())).collect();
        let mut found = Vec::new();
        for condition in self.conditions.iter().filter(|text| around.contains(text.as_str())).take(8) {
            found.push(condition.clone());
            if words(condition).any(|word| word == name) {
                let bare = super::is_atom(condition);
                let inner = if bare { condition.clone() } else { format!("({condition})") };
                let not = self.grammar.not.replacen("{}", &inner, 1);
                found.push(self.grammar.and.replacen("{}", name, 1).replacen("{}", &not, 1));
                found.push(not);
            }
            for text in texts.iter().filter(|text| condition.contains(text.as_str())) {
                let others = texts.iter().filter(|other| other != &text).take(6);
                found.extend(others.map(|other| condition.replace(text.as_str(), other)));
            }
        }
        found
    }

    /// The name that a statement gives a value.
    fn given(&self, statement: Node) -> Option<String> {
        let mut found = None;
        visit(statement, &mut |node| {
            let target = node
                .child_by_field_name("left")
                .filter(|_| self.grammar.is(node, Role::Assignment))
                .or_else(|| node.child_by_field_name("name").filter(|_| node.kind() == "variable_declarator"))
                .or_else(|| node.child_by_field_name("pattern").filter(|_| node.kind() == "let_declaration"));
            found = found.take().or_else(|| target.map(|target| self.source.of(target).to_owned()));
            found.is_none() && !self.grammar.is(node, Role::Block)
        });
        found.filter(|name| name.len() <= 40 && name.chars().all(|c| c.is_alphanumeric() || c == '_'))
    }

    fn is_first(&self, block: Node, node: Node) -> bool {
        let mut cursor = block.walk();
        let mut real = block.named_children(&mut cursor).filter(|child| {
            !self.grammar.is(*child, Role::Comment) && !scope::documents(self.source, *child)
        });
        real.next() == Some(node)
    }

    fn guarded(&self, condition: &str, exit: &str, indentation: &str) -> String {
        let exit = format!("{exit}{}", self.grammar.end);
        let text = self.grammar.guard.replace("{condition}", condition).replace("{exit}", &exit);
        format!("{}\n{indentation}", text.replace('\n', &format!("\n{indentation}")))
    }

    /// A mutant whose weight says already how many others there are.
    fn push_unranked(&mut self, kind: &'static str, node: Node, edit: Edit, weight: f64) {
        self.ranks.remove(&(kind, node.start_byte(), node.end_byte()));
        self.push(kind, node, vec![edit], weight);
    }

    /// Inserts statements before a statement, which follows `previous`, and after the last one of a block.
    fn insert(&mut self, scope: &Scope, node: Node, previous: &str, last: bool, copies: &[(Copyable, f64)]) {
        if !self.stands_alone(node) || !self.suspicious(node) {
            return;
        }
        let indentation = self.indentation(node).to_owned();
        let before = |text: &str| Edit {
            start: node.start_byte(),
            end: node.start_byte(),
            text: format!("{text}\n{indentation}"),
        };
        let after = |text: &str| Edit {
            start: node.end_byte(),
            end: node.end_byte(),
            text: format!("\n{indentation}{text}"),
        };
        let own = self.source.of(node).to_owned();
        let end = self.grammar.end.clone();
        let mut texts: Vec<(&'static str, String, f64)> = Vec::new();
        let follows = |one: &str, other: &str| self.neighbours.contains(&(one.to_owned(), other.to_owned()));
        let likely = |copy: &str, weight: f64| {
            let sides = [follows(previous, copy) || last && follows(&own, copy), follows(copy, &own)];
            weight * NEXT_TO.powi(sides.map(i32::from).iter().sum())
        };
        // What stands close by is likelier to be missing here too.
        let here = line_of(node);
        let mut copies: Vec<(&Copyable, f64)> = copies
            .iter()
            .filter(|(copy, _)| copy.text != own)
            .map(|(copy, weight)| (copy, likely(&copy.text, *weight)))
            .collect();
        copies.sort_by(|a, b| {
            b.1.total_cmp(&a.1).then_with(|| a.0.line.abs_diff(here).cmp(&b.0.line.abs_diff(here)))
        });
        for (copy, weight) in &copies {
            let copy = copy.text.replace('\n', &format!("\n{indentation}"));
            texts.push(("insert-copied", copy.clone(), *weight));
            let adapted = self.adapted(scope, &copy).into_iter();
            texts.extend(adapted.map(|text| ("insert-adapted", text, weight.min(1.0))));
        }
        for jump in self.grammar.jumps.iter().chain([&self.grammar.bare_return]) {
            texts.push(("insert", format!("{jump}{end}"), 1.0));
        }
        for template in &self.grammar.texts.statements {
            for name in scope.names.iter().take(6).chain(scope.members.iter().take(4)) {
                let text = template.replace("{x}", name);
                if text.contains("{y}") {
                    let others = scope.names.iter().take(8).filter(|other| *other != name);
                    texts.extend(
                        others.map(|other| ("insert", format!("{}{end}", text.replace("{y}", other)), 1.0)),
                    );
                } else {
                    texts.push(("insert", format!("{text}{end}"), 1.0));
                }
            }
        }
        for value in self.values(scope).into_iter().filter(|_| last) {
            texts.push(("insert", format!("{}{end}", self.grammar.returns.replacen("{}", &value, 1)), 0.7));
        }
        for (kind, text, weight) in texts {
            let first = text.split(|c: char| !c.is_alphanumeric() && c != '_').next();
            let leaves = self.grammar.bare_return.split(' ').next() == first
                || self
                    .grammar
                    .jumps
                    .iter()
                    .chain(&self.grammar.throwing)
                    .any(|word| Some(word.as_str()) == first);
            // What follows would never run.
            if kind == "insert-copied" && self.grammar.is(node, Role::Simple) && (last || !leaves) {
                let edit = Edit { start: node.start_byte(), end: node.end_byte(), text: text.clone() };
                self.push("replace-copied", node, vec![edit], weight.min(1.0));
            }
            if !leaves {
                self.push(kind, node, vec![before(&text)], weight);
            }
            if last {
                self.push(kind, node, vec![after(&text)], weight);
            }
        }
    }

    /// A copied statement with one name exchanged.
    fn adapted(&self, scope: &Scope, copy: &str) -> Vec<String> {
        let Some(tree) = self.grammar.tree(copy, None) else { return Vec::new() };
        let mut places = Vec::new();
        let mut stack = vec![tree.root_node()];
        while let Some(node) = stack.pop() {
            if self.grammar.is(node, Role::Identifier)
                && scope.names.iter().any(|name| copy.get(node.byte_range()) == Some(name))
            {
                places.push(node.byte_range());
            }
            let mut cursor = node.walk();
            stack.extend(node.named_children(&mut cursor));
        }
        let mut found = Vec::new();
        for place in places.into_iter().take(4) {
            for name in scope.names.iter().take(8).filter(|name| copy.get(place.clone()) != Some(name)) {
                let (head, tail) =
                    (copy.get(..place.start).unwrap_or_default(), copy.get(place.end..).unwrap_or_default());
                found.push(format!("{head}{name}{tail}"));
            }
        }
        found
    }

    /// What a call that stands alone may become.
    fn restate(&mut self, node: Node) {
        let Some(call) = node.named_child(0).filter(|call| self.grammar.is(*call, Role::Call)) else {
            return;
        };
        let (Some(callee), Some(arguments)) =
            (call.child_by_field_name("function"), call.child_by_field_name("arguments"))
        else {
            return;
        };
        let (Some(object), Some(argument)) = (callee.named_child(0), arguments.named_child(0)) else {
            return;
        };
        if !self.grammar.is(callee, Role::Attribute) || arguments.named_child_count() != 1 {
            return;
        }
        let (object, argument) = (self.source.of(object).to_owned(), self.source.of(argument).to_owned());
        for template in &self.grammar.texts.restatements {
            let text = template.replace("{object}", &object).replace("{argument}", &argument);
            self.replace("restate", call, text, 1.0);
        }
    }
}

/// An error like another one, with the condition under which it is raised as its message.
fn says(throw: &str, condition: &str) -> Option<String> {
    let quote = throw.chars().find(|c| "\"'".contains(*c))?;
    let (head, rest) = throw.split_once(quote)?;
    let (words, tail) = rest.split_once(quote)?;
    let plain =
        !words.contains('\\') && !tail.contains(quote) && !condition.contains(['"', '\'', '\\', '{', '%']);
    (plain && !head.ends_with(char::is_alphanumeric))
        .then(|| format!("{head}{quote}{condition}{quote}{tail}"))
}

/// How the value of a `return` looks from afar: the bracket that it begins with, and how many elements it has.
fn shape(exit: &str) -> Option<(char, usize)> {
    let value = exit.split_once(' ')?.1;
    let first = value.chars().next().filter(|first| "([{".contains(*first))?;
    let (mut depth, mut commas) = (0, 0);
    for char in value.chars() {
        match char {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 1 => commas += 1,
            _ => {}
        }
    }
    Some((first, commas))
}

#[expect(clippy::cast_precision_loss, reason = "ranks are small")]
fn rank_of(rank: usize) -> f64 {
    rank as f64
}
