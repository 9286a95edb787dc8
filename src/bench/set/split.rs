//! Splitting takes one function full of assertions apart into tests that fail one by one. Where anything but
//! assertions stands in it, it stays whole.

use tree_sitter::{Language, Node, Parser, Tree};

/// Python tests, taken apart.
#[derive(Debug, PartialEq)]
pub struct Python {
    /// What stands before and beside the function.
    pub before: String,
    /// The name that the function gives to what it tests.
    pub parameter: String,
    /// Its assertions.
    pub cases: Vec<String>,
}

fn parse(text: &str, language: &Language) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(language).ok()?;
    parser.parse(text, None).filter(|tree| !tree.root_node().has_error())
}

fn named(node: Node) -> Vec<Node> {
    let mut cursor = node.walk();
    let children: Vec<Node> = node.named_children(&mut cursor).collect();
    children.into_iter().filter(|node| node.kind() != "comment").collect()
}

/// The assertions of the function `name`, which has one parameter; `None` if it holds anything else.
pub fn python(text: &str, name: &str) -> Option<Python> {
    let tree = parse(text, &tree_sitter_python::LANGUAGE.into())?;
    let of = |node: Node| &text[node.byte_range()];
    let (mut before, mut found) = (String::new(), None);
    for node in named(tree.root_node()) {
        let is_it = node.kind() == "function_definition"
            && node.child_by_field_name("name").is_some_and(|own| of(own) == name);
        if is_it {
            found = Some(node);
        } else if !(node.kind() == "expression_statement" && of(node).starts_with(&format!("{name}("))) {
            before.push_str(of(node));
            before.push_str("\n\n");
        }
    }
    let function = found?;
    let parameters = named(function.child_by_field_name("parameters")?);
    let [parameter] = parameters.as_slice() else { return None };
    let body = named(function.child_by_field_name("body")?);
    let asserts = body.iter().all(|node| node.kind() == "assert_statement");
    // An assertion over several lines may hold texts that lose their indent with it.
    let plain = asserts && body.iter().all(|node| !of(*node).contains("\"\"\""));
    (plain && !body.is_empty()).then(|| Python {
        before,
        parameter: of(*parameter).to_owned(),
        cases: body.iter().map(|node| of(*node).to_owned()).collect(),
    })
}

/// What a function of `console.assert` calls asserts, call by call; `None` if there is anything else.
pub fn javascript(text: &str) -> Option<Vec<String>> {
    let tree = parse(text, &tree_sitter_javascript::LANGUAGE.into())?;
    let of = |node: Node| &text[node.byte_range()];
    let nodes = named(tree.root_node());
    let [declaration, call] = nodes.as_slice() else { return None };
    let declarator = named(*declaration).into_iter().find(|node| node.kind() == "variable_declarator")?;
    let function = declarator.child_by_field_name("value")?;
    let name = of(declarator.child_by_field_name("name")?);
    if !of(*call).starts_with(&format!("{name}(")) {
        return None;
    }
    let mut cases = Vec::new();
    for statement in named(function.child_by_field_name("body")?) {
        let call = named(statement).into_iter().next().filter(|node| node.kind() == "call_expression")?;
        if of(call.child_by_field_name("function")?) != "console.assert" {
            return None;
        }
        let arguments = named(call.child_by_field_name("arguments")?);
        let [value] = arguments.as_slice() else { return None };
        cases.push(of(*value).to_owned());
    }
    (!cases.is_empty()).then_some(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assertions_become_tests_and_anything_else_stays_whole() {
        let split = python("import math\n\ndef check(f):\n    assert f(1) == 2\n    assert (\n        f(2) == 3)\n\ncheck(inc)\n", "check").unwrap();
        assert_eq!(split.before, "import math\n\n");
        assert_eq!((split.parameter.as_str(), split.cases.len()), ("f", 2));
        assert_eq!(python("def check(f):\n    for n in range(3):\n        assert f(n)\n", "check"), None);
        assert_eq!(python("def check(f:\n", "check"), None);
        let calls = "const testInc = () => {\n  console.assert(inc(1) === 2)\n  console.assert(\n    inc(2) === 3\n  )\n}\n\ntestInc()\n";
        assert_eq!(javascript(calls).unwrap(), ["inc(1) === 2", "inc(2) === 3"]);
        assert_eq!(javascript("const t = () => {\n  let n = 1;\n  console.assert(n)\n}\nt()\n"), None);
    }
}
