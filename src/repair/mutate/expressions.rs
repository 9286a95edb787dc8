//! Edits of expressions: operators, operands, conditions, names, constants, calls.

use std::collections::BTreeSet;

use tree_sitter::Node;

use super::scope::{self, Scope, is_comparison, is_condition, is_logic, is_value, is_variable};
use super::{Edit, Maker, last_child};
use crate::repair::grammar::Role;
use crate::text;

/// Names that are tried where a text has room for one.
const FEW: usize = 8;

/// Bytes under a condition that are looked at for names.
const NEAR: usize = 2000;

impl Maker<'_> {
    /// Edits of all expressions of a function; of a whole file, of those outside of functions.
    pub fn expressions(&mut self, scope: &Scope, function: Node) {
        let mut cursor = function.walk();
        for child in function.named_children(&mut cursor) {
            let name = function.child_by_field_name("name") == Some(child);
            let elsewhere = function.parent().is_none() && self.grammar.is(child, Role::Function);
            if !name
                && !elsewhere
                && !self.grammar.is(child, Role::Opaque)
                && !self.grammar.is(child, Role::Comment)
            {
                self.expression(scope, child);
                self.expressions_within(scope, child, function.parent().is_none());
            }
        }
    }

    fn expressions_within(&mut self, scope: &Scope, node: Node, top: bool) {
        let mut cursor = node.walk();
        let children: Vec<Node> = node.named_children(&mut cursor).collect();
        for child in children {
            let own = top && self.grammar.is(child, Role::Function);
            if !own && !self.grammar.is(child, Role::Opaque) && !self.grammar.is(child, Role::Comment) {
                self.expression(scope, child);
                self.expressions_within(scope, child, top);
            }
        }
    }

    fn expression(&mut self, scope: &Scope, node: Node) {
        if !self.suspicious(node) || self.is_docstring(node) {
            return;
        }
        let is = |role| self.grammar.is(node, role);
        let (binary, negation, call, list, constant) =
            (is(Role::Binary), is(Role::Unary), is(Role::Call), is(Role::List), is(Role::Constant));
        let (identifier, attribute, returns, assignment) =
            (is(Role::Identifier), is(Role::Attribute), is(Role::Return), is(Role::Assignment));
        if binary {
            self.operator(node);
            self.operands(node);
        }
        if negation && let Some(operand) = node.named_child(0) {
            self.express("negate", node, self.source.of(operand), 1.0);
        }
        if let Some(condition) = self.condition_of(node) {
            self.condition(scope, condition);
        }
        if identifier && is_variable(self.source, node) {
            self.variable(scope, node);
        }
        if attribute {
            self.field(node);
        }
        if constant && is_value(self.source, node) {
            self.constant(node);
        }
        if is(Role::Pattern) {
            self.pattern(node);
        }
        if is(Role::Template) {
            self.reword(node);
        }
        if call {
            self.call(scope, node);
        }
        if list {
            self.elements(node);
        }
        if returns {
            self.returned(scope, node);
        }
        if assignment {
            self.assigned(scope, node);
        }
        if is_value(self.source, node) && !constant {
            self.value(scope, node);
            self.chosen(node);
        }
    }

    /// The greater or the smaller of the two values between which a condition chooses.
    fn chosen(&mut self, node: Node) {
        if !self.grammar.is(node, Role::If) {
            return;
        }
        let (Some(first), Some(second)) = scope::arms(self.source, node) else { return };
        let (first, second) = (self.source.of(first).to_owned(), self.source.of(second).to_owned());
        for template in
            self.grammar.texts.updates.iter().filter(|text| text.contains("max(") || text.contains("min("))
        {
            let tight = template.starts_with("{x}.") && !super::is_atom(&first);
            let first = if tight { format!("({first})") } else { first.clone() };
            self.express("extreme", node, &fill(template, &second, &first), 1.0);
        }
    }

    fn is_docstring(&self, node: Node) -> bool {
        self.grammar.is(node, Role::String)
            && node.parent().is_some_and(|parent| {
                self.grammar.is(parent, Role::Statement) && parent.named_child_count() == 1
            })
    }

    /// Exchanges operators that are mistaken for each other.
    fn operator(&mut self, node: Node) {
        let mut cursor = node.walk();
        let tokens: Vec<Node> = node.children(&mut cursor).filter(|child| !child.is_named()).collect();
        let unordered = |side: Node| {
            let is = |role| self.grammar.is(side, role);
            is(Role::Constant) && !is(Role::Integer) && !is(Role::Float)
        };
        let unordered = [node.named_child(0), last_child(node)].into_iter().flatten().any(unordered);
        for token in tokens {
            let Some(others) = self.grammar.swap.get(token.kind()) else { continue };
            let kind = if self.grammar.is(node, Role::Boolean) || matches!(token.kind(), "&&" | "||") {
                "logic"
            } else if token.kind().starts_with(['<', '>', '=', '!', 'i', 'n'])
                && !token.kind().starts_with("<<")
            {
                "comparison"
            } else {
                "arithmetic"
            };
            for other in others {
                let weight =
                    likeness(token.kind(), other) * if unordered && orders(other) { 0.5 } else { 1.0 };
                let side = |field| node.child_by_field_name(field).map(|side| self.source.of(side));
                match (side("left"), side("right")) {
                    (Some(left), Some(right)) if other.contains("{left}") => {
                        let text = other.replace("{left}", left).replace("{right}", right);
                        self.express(kind, node, &text, weight);
                    }
                    _ => self.replace(kind, token, other.clone(), weight),
                }
            }
        }
    }

    /// What is compared with a text may also be another one that a failing assertion speaks of, or one of its letters.
    fn alternatives(&mut self, node: Node, right: Node) {
        let (own, text) = (self.source.of(node), self.source.of(right));
        let is = |tokens: &[&str]| scope::has_token(node, tokens);
        let (equal, unequal) = (is(&["==", "==="]), is(&["!=", "!=="]));
        let quote = text.chars().last().filter(|_| self.grammar.is(right, Role::String));
        let head = self.source.text.get(node.start_byte()..right.start_byte()).unwrap_or_default();
        let Some(quote) = quote.filter(|_| equal || unequal) else { return };
        let letter = text.trim_matches(quote).chars().count() == 1;
        let letters = self.hints.strings.iter().flat_map(|text| text.chars()).filter(|c| c.is_alphanumeric());
        let others: BTreeSet<String> = if letter {
            letters.map(String::from).collect()
        } else {
            self.hints.strings.iter().filter(|text| !text.contains(quote)).cloned().collect()
        };
        let template = if equal { &self.grammar.or } else { &self.grammar.and };
        for other in others {
            let other = join(template, own, &format!("{head}{quote}{other}{quote}"));
            self.express("alternative", node, &other, 1.0);
        }
    }

    /// Exchanges or drops operands, wraps both.
    fn operands(&mut self, node: Node) {
        let count = u32::try_from(node.named_child_count()).unwrap_or(0);
        let (Some(left), Some(right)) = (node.named_child(0), node.named_child(count.saturating_sub(1)))
        else {
            return;
        };
        if count != 2 || self.grammar.is(node, Role::Assignment) {
            return;
        }
        let (first, second) = (self.source.of(left).to_owned(), self.source.of(right).to_owned());
        let comparison = is_comparison(self.source, node);
        self.exchange("swap-operands", left, right, if comparison { 0.7 } else { 1.0 });
        if comparison {
            self.alternatives(node, right);
        }
        let boolean = is_logic(self.source, node);
        let kind = if boolean { "drop-condition" } else { "drop-operand" };
        if !comparison {
            self.express(kind, node, &first, 1.0);
            self.express(kind, node, &second, 1.0);
        }
        if boolean {
            self.negate(left, 0.7);
            self.negate(right, 0.7);
        }
        if !boolean && !comparison && self.hints.overflow {
            for wider in &self.grammar.texts.wider {
                let wrap = |node: Node, inner: &str| Edit {
                    start: node.start_byte(),
                    end: node.end_byte(),
                    text: wider.replace("{}", inner),
                };
                self.push("widen-type", node, vec![wrap(left, &first), wrap(right, &second)], 1.0);
            }
        }
        if !boolean {
            for wrapper in self.grammar.texts.wrappers.iter().filter(|text| !text.contains("{x}")) {
                let wrap = |node: Node, inner: &str| Edit {
                    start: node.start_byte(),
                    end: node.end_byte(),
                    text: wrapper.replace("{}", inner),
                };
                self.push(
                    "wrap-both",
                    node,
                    vec![wrap(left, &first), wrap(right, &second)],
                    if comparison { 1.0 } else { 0.3 },
                );
            }
        }
    }

    /// The condition that a node has or, where none stands around it, is.
    fn condition_of<'t>(&self, node: Node<'t>) -> Option<Node<'t>> {
        let value = || node.named_child(0).filter(|value| is_condition(self.source, *value));
        scope::condition(self.source, node)
            .or_else(|| self.grammar.is(node, Role::Return).then(value).flatten())
    }

    fn negate(&mut self, node: Node, weight: f64) {
        let text = self.source.of(node);
        let brackets = is_bare(text);
        let inner = if brackets { text.to_owned() } else { format!("({text})") };
        let negated = self.grammar.not.replacen("{}", &inner, 1);
        self.replace("negate", node, negated, weight);
    }

    /// Negates, narrows, widens and replaces a condition.
    fn condition(&mut self, scope: &Scope, node: Node) {
        if !self.suspicious(node) {
            return;
        }
        self.negate(node, 1.0);
        let own = self.source.of(node).to_owned();
        self.explicit(node, &own);
        let (and, or) = (&self.grammar.and, &self.grammar.or);
        let (mixed, constant) = (is_logic(self.source, node), self.grammar.is(node, Role::Constant));
        let whole = if mixed { format!("({own})") } else { own.clone() };
        // What is needed under the condition is what it may have to ask of.
        let mut holder = node.parent();
        while let Some(wrapper) = holder.filter(|parent| self.grammar.is(*parent, Role::Wrapper)) {
            holder = wrapper.parent();
        }
        let consequence = holder.and_then(|holder| holder.child_by_field_name("consequence"));
        let under = text::clip(consequence.map_or("", |under| self.source.of(under)), NEAR);
        // What is asked at once under the condition would always be true as the condition.
        let mut below = Vec::new();
        if let Some(first) = consequence.and_then(|consequence| consequence.named_child(0)) {
            super::visit(first, &mut |node| {
                below.extend(is_condition(self.source, node).then(|| self.source.of(node)));
                below.len() < FEW
            });
        }
        let given = |other: &str| below.contains(&other);
        for other in scope.conditions.iter().filter(|other| **other != own) {
            if !constant {
                self.replace("narrow-copied", node, join(and, &whole, &bracketed(other)), 1.0);
                self.replace("narrow-copied", node, join(or, &whole, &bracketed(other)), 1.0);
            }
            if !given(other) {
                self.replace("condition", node, other.clone(), 1.5);
            }
        }
        for other in permuted(scope, &own) {
            self.replace("narrow-copied", node, join(or, &whole, &other), 0.7);
            self.replace("narrow-copied", node, join(and, &whole, &other), 0.7);
        }
        for other in self.likewise(node) {
            for other in [self.grammar.not.replacen("{}", &other, 1), other] {
                self.replace("narrow-field", node, join(or, &whole, &other), 1.0);
                self.replace("narrow-field", node, join(and, &whole, &other), 1.0);
            }
        }
        for (condition, weight) in self.conditions(scope, &format!("{own} {under}")) {
            let asks = self.asks_absence(&condition);
            let twice = |absent| if asks == Some(absent) { 2.0 * weight } else { weight };
            // In front, so that it also guards what the condition does.
            if !constant {
                self.replace("widen", node, join(or, &condition, &own), twice(true));
                self.replace("narrow", node, join(and, &condition, &whole), twice(false));
            }
            if !given(&condition) {
                self.replace("condition", node, condition, weight);
            }
        }
    }

    /// Whether the function asks somewhere if a name has a value at all.
    fn may_be_absent(&self, scope: &Scope, name: &str) -> bool {
        let asks = |text: &&String| self.asks_absence(text).is_some() && words(text).any(|word| word == name);
        scope.conditions.iter().any(|text| asks(&text))
    }

    /// An expression where a name has a value, and nothing where it has none.
    fn unless_absent(&self, text: &str, name: &str) -> Option<String> {
        let texts = &self.grammar.texts;
        let (template, nothing) = (texts.conditional.as_ref()?, texts.absent.first()?);
        let filled = template.replace("{condition}", &self.asking(false)?.replace("{x}", name));
        Some(filled.replace("{then}", text).replace("{otherwise}", nothing))
    }

    /// Whether a condition asks if something is not there, or if it is; nothing where it asks something else.
    pub fn asks_absence(&self, condition: &str) -> Option<bool> {
        let absent = self.grammar.texts.absent.iter().any(|word| words(condition).any(|other| other == word));
        absent.then(|| !(condition.contains("not ") || condition.contains("!=")))
    }

    /// The first condition that asks if a name has no value, or if it has one.
    pub fn asking(&self, absent: bool) -> Option<&str> {
        let asks = |text: &&String| self.asks_absence(text) == Some(absent);
        self.grammar.texts.conditions.iter().find(asks).map(String::as_str)
    }

    /// Other fields of the first object that a condition asks of.
    fn likewise(&self, condition: Node) -> Vec<String> {
        let mut first = None;
        super::visit(condition, &mut |node| {
            let called = node.parent().is_some_and(|parent| self.grammar.is(parent, Role::Call));
            if first.is_none() && !called && self.grammar.is(node, Role::Attribute) {
                first = last_of(node).map(|name| (node.start_byte()..name.start_byte(), name));
            }
            first.is_none()
        });
        let Some((object, name)) = first else { return Vec::new() };
        let (object, own) = (self.source.text.get(object).unwrap_or_default(), self.source.of(name));
        let others = self.fields.iter().filter(|(field, called)| !called && field != own);
        others.take(FEW).map(|(field, _)| format!("{object}{field}")).collect()
    }

    /// Asks something definite of a value that stands as a condition.
    fn explicit(&mut self, node: Node, own: &str) {
        let negated = || Some(node).filter(|node| self.grammar.is(*node, Role::Not))?.named_child(0);
        let value = negated().map_or(own, |value| self.source.of(value));
        if own.len() <= 60 && super::is_atom(value) && !self.grammar.is(node, Role::Constant) {
            for template in self.grammar.texts.conditions.iter().filter(|template| template.contains(' ')) {
                self.replace("explicit", node, template.replace("{x}", value), 1.0);
            }
        }
    }

    /// Conditions on the names of a scope, with weights; those on names that stand in `near` first.
    pub fn conditions(&self, scope: &Scope, near: &str) -> Vec<(String, f64)> {
        let texts = &self.grammar.texts;
        let (near, far): (Vec<&String>, Vec<&String>) =
            scope.names.iter().take(FEW).chain(scope.members.iter().take(4)).partition(|name| {
                words(near).any(|word| word == name.as_str()) || near.contains(name.as_str())
            });
        let mut found = Vec::new();
        for names in [near, far] {
            for (at, template) in texts.conditions.iter().enumerate() {
                let absent = self.hints.absent && texts.absent.iter().any(|word| template.contains(word));
                let weight = if absent {
                    3.0
                } else if at < 6 {
                    1.0
                } else {
                    0.5
                };
                found.extend(names.iter().map(|name| (template.replace("{x}", name), weight)));
            }
        }
        // What may be absent is compared where it is there.
        for name in scope.names.iter().take(FEW).filter(|name| self.may_be_absent(scope, name)) {
            let ordered = texts.conditions.iter().filter(|text| text.contains(['<', '>'])).take(4);
            let there = |present: &str| {
                let joined =
                    |condition| self.grammar.and.replacen("{}", present, 1).replacen("{}", condition, 1);
                ordered.map(|condition| (joined(condition).replace("{x}", name), 0.8)).collect::<Vec<_>>()
            };
            found.extend(self.asking(false).map_or_else(Vec::new, there));
        }
        let copied = self.conditions.iter().filter(|text| !scope.conditions.contains(text));
        found.extend(copied.take(10).map(|text| (text.clone(), 0.4)));
        for template in &texts.relations {
            for (at, first) in scope.names.iter().take(6).enumerate() {
                for second in scope.names.iter().take(6).skip(if template.contains("in") { 0 } else { at }) {
                    if first != second {
                        found.push((template.replace("{x}", first).replace("{y}", second), 0.4));
                    }
                }
            }
        }
        found
    }

    /// Another name in its place.
    fn variable(&mut self, scope: &Scope, node: Node) {
        let own = self.source.of(node).to_owned();
        let written = !is_value(self.source, node);
        for name in scope.names.iter().filter(|name| **name != own) {
            self.replace("variable", node, name.clone(), if written { 0.4 } else { 1.0 });
        }
        if !written {
            for member in &scope.members {
                self.express("variable", node, member, 0.3);
            }
        }
        self.sibling(node);
    }

    /// A name that is mistaken for it.
    fn sibling(&mut self, node: Node) {
        let own = self.source.of(node).to_owned();
        let groups = self.grammar.texts.siblings.iter().filter(|group| group.contains(&own));
        for name in groups.flatten().filter(|name| **name != own) {
            self.replace("sibling", node, name.clone(), 1.0);
        }
    }

    /// Another field of the same object.
    fn field(&mut self, node: Node) {
        let Some(name) = last_child(node) else { return };
        let called = node.parent().is_some_and(|parent| {
            self.grammar.is(parent, Role::Call) && parent.child_by_field_name("function") == Some(node)
        });
        self.sibling(name);
        let own = self.source.of(name).to_owned();
        let fields: Vec<String> = self
            .fields
            .iter()
            .filter(|(field, is)| *is == called && *field != own)
            .map(|(field, _)| field.clone())
            .collect();
        for field in fields {
            self.replace("field", name, field, 1.0);
        }
    }

    /// Other arguments, another function, or none.
    fn call(&mut self, scope: &Scope, node: Node) {
        let (Some(callee), Some(arguments)) =
            (node.child_by_field_name("function"), node.child_by_field_name("arguments"))
        else {
            return;
        };
        let mut cursor = arguments.walk();
        let list: Vec<Node> = arguments.named_children(&mut cursor).collect();
        if self.grammar.is(callee, Role::Identifier) {
            self.sibling(callee);
            let (own, count) = (self.source.of(callee).to_owned(), list.len());
            let same: Vec<String> = self
                .functions
                .iter()
                .filter(|(name, n)| *n == count && *name != own)
                .map(|(name, _)| name.clone())
                .collect();
            for name in same {
                self.replace("function", callee, name, 1.0);
            }
        }
        if list.len() == 1 && self.grammar.is(callee, Role::Identifier) {
            let text = format!("{}({})", self.source.of(callee), self.source.of(node));
            self.replace("wrap", node, text, 1.0);
        }
        for argument in list.iter().take(4) {
            let text = self.source.of(*argument).to_owned();
            self.express("unwrap", node, &text, 1.0);
        }
        if self.grammar.is(callee, Role::Attribute)
            && let Some(object) = callee.named_child(0)
        {
            let text = self.source.of(object).to_owned();
            self.express("unwrap", node, &text, 0.7);
        }
        let inside = self.source.of(arguments).trim_end_matches([')', ']']).len();
        let end = arguments.start_byte() + inside;
        for name in scope.names.iter().take(FEW) {
            let text = if list.is_empty() { name.clone() } else { format!(", {name}") };
            self.push("add-argument", node, vec![Edit { start: end, end, text }], 0.6);
        }
    }

    /// Exchanges or drops elements of arguments, indices and literals.
    fn elements(&mut self, node: Node) {
        let mut cursor = node.walk();
        let mut list: Vec<Node> = node
            .named_children(&mut cursor)
            .filter(|child| !self.grammar.is(*child, Role::Comment))
            .collect();
        if self.grammar.is(node, Role::Subscript) && !list.is_empty() {
            list.remove(0);
        }
        if list.len() > 8 {
            return;
        }
        for (at, first) in list.iter().enumerate() {
            for second in &list[at + 1..] {
                let near = second.start_byte() <= first.end_byte() + 4;
                self.exchange("swap-arguments", *first, *second, if near { 1.0 } else { 0.6 });
            }
        }
        for (at, element) in list.iter().enumerate() {
            let (start, end) = match (list.get(at + 1), at.checked_sub(1).and_then(|before| list.get(before)))
            {
                (Some(next), _) => (element.start_byte(), next.start_byte()),
                (None, Some(before)) => (before.end_byte(), element.end_byte()),
                (None, None) => (element.start_byte(), element.end_byte()),
            };
            self.push("drop-argument", *element, vec![Edit { start, end, text: String::new() }], 1.0);
        }
    }

    /// Another value to return.
    fn returned(&mut self, scope: &Scope, node: Node) {
        let Some(value) = node.named_child(0) else { return };
        for text in self.values(scope) {
            self.replace("return", value, text, 1.0);
        }
    }

    /// Values that a function may return.
    pub fn values(&self, scope: &Scope) -> Vec<String> {
        let mut found = Vec::new();
        for template in &self.grammar.texts.values {
            if !template.contains("{x}") {
                found.push(template.clone());
                continue;
            }
            for name in scope.names.iter().take(FEW) {
                let text = template.replace("{x}", name);
                if template.contains("{y}") {
                    let others = scope.names.iter().take(4).filter(|other| *other != name);
                    found.extend(others.map(|other| text.replace("{y}", other)));
                } else {
                    found.push(text);
                }
            }
        }
        found
    }

    /// Another value to assign.
    fn assigned(&mut self, scope: &Scope, node: Node) {
        let (Some(target), Some(value)) =
            (node.child_by_field_name("left"), node.child_by_field_name("right"))
        else {
            return;
        };
        self.placed(scope, target, value);
        let (target, own) = (self.source.of(target).to_owned(), self.source.of(value).to_owned());
        if target.len() > 40 || value.start_position().row != value.end_position().row {
            return;
        }
        for template in &self.grammar.texts.updates {
            self.replace("update", value, fill(template, &own, &target), 1.0);
        }
        for name in scope.names.iter().take(FEW).filter(|name| **name != own) {
            self.replace("expression", value, name.clone(), 1.0);
        }
    }

    /// Another place to assign to.
    fn placed(&mut self, scope: &Scope, target: Node, value: Node) {
        let subscript = |node: Node| self.grammar.is(node, Role::Subscript);
        if subscript(target)
            && subscript(value)
            && let (Some(first), Some(second)) = (last_of(target), last_of(value))
        {
            self.exchange("swap-operands", first, second, 1.0);
        }
        if subscript(target) || self.grammar.is(target, Role::Attribute) {
            let places = scope.expressions.iter().filter(|text| text.ends_with(']') && !text.contains(' '));
            let places: Vec<String> = places.chain(&scope.members).take(12).cloned().collect();
            for place in places {
                self.replace("expression", target, place, 0.6);
            }
        }
    }

    /// What any expression may become.
    fn value(&mut self, scope: &Scope, node: Node) {
        let own = self.source.of(node).to_owned();
        if own.len() > 120 || own.contains('\n') {
            return;
        }
        let parent = node.parent();
        let numeric = parent.is_some_and(|parent| {
            [
                Role::Arguments,
                Role::Subscript,
                Role::Slice,
                Role::Return,
                Role::Assignment,
                Role::Binary,
                Role::List,
            ]
            .iter()
            .any(|role| self.grammar.is(parent, *role))
                && !is_logic(self.source, parent)
        });
        let inner = if is_condition(self.source, node) || own.contains(" if ") || own.contains('?') {
            format!("({own})")
        } else {
            own.clone()
        };
        if numeric && !is_condition(self.source, node) {
            for off in ["{} + 1", "{} - 1"] {
                self.express("off-by-one", node, &off.replacen("{}", &inner, 1), 1.0);
            }
        }
        if is_condition(self.source, node) {
            return;
        }
        for wrapper in &self.grammar.texts.wrappers {
            let tight = wrapper.starts_with('-')
                || wrapper.starts_with("{}.")
                || wrapper.starts_with('!')
                || wrapper.starts_with('&')
                || wrapper.matches("{}").count() > 1;
            let inner = if tight && !super::is_atom(&own) { format!("({own})") } else { own.clone() };
            self.express("wrap", node, &wrapper.replace("{}", &inner), 1.0);
        }
        let wrapped: Vec<String> =
            self.wrapping.iter().map(|function| format!("{function}({own})")).collect();
        let absent = self.may_be_absent(scope, &own);
        for text in wrapped {
            // A function is hardly made for what is not there.
            if let Some(text) = absent.then(|| self.unless_absent(&text, &own)).flatten() {
                self.express("wrap-present", node, &text, 1.0);
            }
            self.replace("wrap-own", node, text, 1.0);
        }
        if numeric
            || parent
                .is_some_and(|parent| self.grammar.is(parent, Role::Loop) || parent.kind() == "for_in_clause")
        {
            self.extended(scope, node, &own);
            for text in scope.expressions.iter().filter(|text| **text != own).take(12) {
                self.express("expression", node, text, 0.5);
            }
            let longer = [Role::Call, Role::Subscript, Role::Attribute, Role::Binary];
            if longer.iter().any(|role| self.grammar.is(node, *role)) {
                for name in scope.names.iter().take(FEW) {
                    self.express("expression", node, name, 0.6);
                }
            }
        }
    }

    fn extended(&mut self, scope: &Scope, node: Node, own: &str) {
        for template in &self.grammar.texts.extensions {
            let multiplicative = !template.contains("+ ") && !template.contains(" - ");
            let inner =
                if multiplicative && !super::is_atom(own) { format!("({own})") } else { own.to_owned() };
            if !template.contains("{x}") {
                self.express("extend", node, &fill(template, &inner, ""), 1.0);
                continue;
            }
            for name in scope.names.iter().take(FEW).filter(|name| *name != own) {
                self.express("extend", node, &fill(template, &inner, name), 1.0);
            }
        }
    }
}

/// A text with the expression and a name filled in.
fn fill(template: &str, expression: &str, name: &str) -> String {
    let marked = template.replacen("{}", "\u{1}", 1).replace("{x}", name);
    marked.replacen('\u{1}', expression, 1)
}

/// Whether an operator asks which of two values is the smaller one.
fn orders(operator: &str) -> bool {
    operator.starts_with(['<', '>']) && !operator.starts_with("<<") && !operator.starts_with(">>")
}

/// How likely one operator is to stand for another one: a boundary is missed more often than a direction, and that more
/// often than that equal values are wanted at all.
fn likeness(operator: &str, other: &str) -> f64 {
    match (orders(operator), orders(other)) {
        (true, true) if operator[..1] == other[..1] => 1.0,
        (true, true) => 0.8,
        (false, false) => 1.0,
        _ => 0.5,
    }
}

/// Two expressions in a template for two.
fn join(template: &str, first: &str, second: &str) -> String {
    template.replacen("{}", "\u{1}", 1).replacen("{}", second, 1).replacen('\u{1}', first, 1)
}

fn bracketed(condition: &str) -> String {
    if condition.contains(" and ")
        || condition.contains(" or ")
        || condition.contains("&&")
        || condition.contains("||")
    {
        format!("({condition})")
    } else {
        condition.to_owned()
    }
}

/// Whether a condition needs no brackets to be negated.
fn is_bare(text: &str) -> bool {
    super::is_atom(text)
}

/// A comparison with two of its names exchanged.
fn permuted(scope: &Scope, own: &str) -> Vec<String> {
    let names: Vec<&String> =
        scope.names.iter().filter(|name| words(own).any(|word| word == *name)).take(4).collect();
    let mut found = Vec::new();
    for (at, first) in names.iter().enumerate() {
        for second in &names[at + 1..] {
            let exchanged = exchanged(own, first, second);
            if exchanged != own && found.len() < 6 {
                found.push(bracketed(&exchanged));
            }
        }
    }
    found
}

/// The last part of a node that has several: the index of a subscript.
fn last_of(node: Node) -> Option<Node> {
    last_child(node).filter(|_| node.named_child_count() > 1)
}

/// The names in a text.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// A text in which two names have changed places.
fn exchanged(text: &str, first: &str, second: &str) -> String {
    let mut found = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        let known = std::mem::take(&mut word);
        found.push_str(if known == first {
            second
        } else if known == second {
            first
        } else {
            &known
        });
        if c != '\0' {
            found.push(c);
        }
    }
    found
}
