//! A grammar is what the engine knows of a language: how to parse it (tree-sitter), which node kinds play which
//! role, and the texts that edits are made of. All but the parser is data, in `harness/repair-operators`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use globset::{Glob, GlobMatcher};
use serde::Deserialize;
use tree_sitter::{Language, Node, Parser, Tree};

use crate::harness;

/// A part that a node plays for the engine, whatever its language calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A function or method, body and all.
    Function,
    /// A class or a block of methods.
    Class,
    /// A sequence of statements.
    Block,
    /// An element of a block that may be deleted, moved or wrapped.
    Statement,
    /// A statement without a block of its own, that may be copied.
    Simple,
    /// What has a value.
    Expression,
    /// Two operands and an operator between them.
    Binary,
    /// Binary, and its operands are conditions.
    Boolean,
    /// Binary, and its value is a condition.
    Comparison,
    /// A negation of a condition.
    Not,
    /// An operator before its operand.
    Unary,
    /// A call.
    Call,
    /// The arguments of a call.
    Arguments,
    /// Elements in an order.
    List,
    /// A name.
    Identifier,
    /// An object and the name of a part of it.
    Attribute,
    /// An element by its index.
    Subscript,
    /// A range of elements.
    Slice,
    /// A whole number.
    Integer,
    /// A number.
    Float,
    /// A text.
    String,
    /// A regular expression.
    Pattern,
    /// A text with expressions in it.
    Template,
    /// A literal of any kind.
    Constant,
    /// What ends a function with a value.
    Return,
    /// What ends a function with an error that is caught elsewhere.
    Throw,
    /// What has a condition.
    If,
    /// A loop.
    Loop,
    /// Gives a name a value.
    Assignment,
    /// The parameters of a function.
    Parameters,
    /// Nothing in it is to be edited.
    Opaque,
    /// A comment.
    Comment,
    /// Brackets that only group.
    Wrapper,
    /// An argument with a name.
    Keyword,
}

/// What is known of one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grammar {
    /// The parser's name.
    pub parser: String,
    /// A glob of its files.
    pub files: String,
    /// How `{} and {}` is written.
    pub and: String,
    /// How `{} or {}` is written.
    pub or: String,
    /// How `not {}` is written.
    pub not: String,
    /// How a function ends with the value `{}`.
    #[serde(rename = "return")]
    pub returns: String,
    /// How a function ends without one.
    pub bare_return: String,
    /// Statements that leave an iteration or a loop.
    pub jumps: Vec<String>,
    /// Words with which statements begin that end a function with an error.
    #[serde(default)]
    pub throwing: Vec<String>,
    /// A statement `{exit}` under a `{condition}`, at no indentation.
    pub guard: String,
    /// What ends a simple statement.
    pub end: String,
    kinds: BTreeMap<Role, Vec<String>>,
    /// Operators, and what they are mistaken for, likeliest first.
    pub swap: BTreeMap<String, Vec<String>>,
    /// The texts that edits are made of.
    pub texts: Texts,
    /// How variants of a function are made that are chosen at run time, for compiled languages.
    pub schemata: Option<Schemata>,
    #[serde(skip)]
    language: Option<Language>,
    #[serde(skip)]
    matcher: Option<GlobMatcher>,
    /// Roles as bits, by kind id.
    #[serde(skip)]
    roles: Vec<u64>,
}

/// The texts that edits are made of. `{}` is the expression that is edited, `{x}` and `{y}` are names of the scope.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Texts {
    /// Names that are mistaken for each other.
    pub siblings: Vec<Vec<String>>,
    /// What may stand around an expression.
    pub wrappers: Vec<String>,
    /// What makes an operand of a larger type, where a failure says that a number did not fit.
    pub wider: Vec<String>,
    /// What may be added to an expression.
    pub extensions: Vec<String>,
    /// What may become of a value that is assigned to `{x}`.
    pub updates: Vec<String>,
    /// Conditions on one name.
    pub conditions: Vec<String>,
    /// Words of those that ask whether there is something at all.
    pub absent: Vec<String>,
    /// Conditions on two names.
    pub relations: Vec<String>,
    /// Values that functions return.
    pub values: Vec<String>,
    /// Statements that are forgotten.
    pub statements: Vec<String>,
    /// What a call `{object}.name({argument})` that stands alone may become.
    pub restatements: Vec<String>,
    /// An expression whose value is that of `{then}` under a `{condition}`, and of `{otherwise}`.
    pub conditional: Option<String>,
    /// A member of a class by which others read its `{field}` as `{name}`.
    pub accessor: Option<String>,
    /// The literal.
    #[serde(rename = "true")]
    pub yes: String,
    /// The literal.
    #[serde(rename = "false")]
    pub no: String,
}

/// How variants of a function's body stand side by side.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schemata {
    /// Begins the file.
    #[serde(default)]
    pub head: String,
    /// Begins a body of variants.
    pub open: String,
    /// A variant: `{number}` and `{body}`, which has its braces; `{result}` is what the function says of its result.
    pub variant: String,
    /// Likewise of a function that says nothing of a result, where that differs.
    pub procedure: Option<String>,
    /// The original: `{body}`.
    pub original: String,
    /// Ends the body.
    pub close: String,
    /// Words before a function that exclude it.
    #[serde(default)]
    pub not: Vec<String>,
    /// Name and text of a file that the folder needs besides; `{package}` is what the file says that it belongs to.
    #[serde(default)]
    pub beside: Vec<String>,
    /// Environment of the build and of the tests.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// How statements note that they run.
    pub probe: Option<Probe>,
}

/// How statements note that they run: each writes its number, once, on a line of the file that `REGREEN_TRACE` names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Begins the file; `{most}` is more than any number.
    #[serde(default)]
    pub head: String,
    /// Kinds of statements that are no [`Role::Statement`], and have probes.
    #[serde(default)]
    pub besides: Vec<String>,
    /// Begins a body with `{count}` probes from `{first}`.
    #[serde(default)]
    pub open: String,
    /// Stands before a statement, with its `{number}`.
    pub statement: String,
    /// Whether the last part of a block may be an expression.
    #[serde(default)]
    pub tail: bool,
    /// Texts that exclude the files that they stand in.
    #[serde(default)]
    pub not: Vec<String>,
}

/// How likely a kind of edit is, by its name in `priors.toml`.
pub type Priors = BTreeMap<String, f64>;

/// All languages and priors.
#[derive(Clone, Debug)]
pub struct Grammars {
    all: Arc<[Grammar]>,
    /// By kind of edit.
    pub priors: Priors,
}

impl Grammars {
    /// The embedded grammars, or those in `overrides`. Fails when a file does not parse or names an unknown parser.
    pub fn load(overrides: Option<&Path>) -> Result<Grammars> {
        // A bench asks for the embedded ones once a unit, and looking up the node kinds takes a while.
        static EMBEDDED: OnceLock<Grammars> = OnceLock::new();
        harness::once(&EMBEDDED, overrides, Grammars::read)
    }

    fn read(overrides: Option<&Path>) -> Result<Grammars> {
        let (mut all, mut priors) = (Vec::new(), Priors::new());
        for file in harness::files(overrides, "repair-operators", "toml")? {
            let context = || format!("failed to read {}", file.shown);
            if file.stem == "priors" {
                priors = toml::from_str(&file.text).with_context(context)?;
            } else {
                all.push(Grammar::parse(&file.text).with_context(context)?);
            }
        }
        Ok(Grammars { all: all.into(), priors })
    }

    /// The grammar of a file by its name.
    pub fn of(&self, path: &str) -> Option<&Grammar> {
        self.named(path).next()
    }

    /// The grammar of a file with this text: a header may be C or C++.
    pub fn of_text(&self, path: &str, text: &str) -> Option<&Grammar> {
        let fits =
            |grammar: &&Grammar| grammar.tree(text, None).is_some_and(|tree| !tree.root_node().has_error());
        let mut named = self.named(path);
        let first = named.next()?;
        Some(if fits(&first) { first } else { named.find(fits).unwrap_or(first) })
    }

    fn named(&self, path: &str) -> impl Iterator<Item = &Grammar> {
        let is = move |grammar: &&Grammar| grammar.matcher.as_ref().is_some_and(|glob| glob.is_match(path));
        self.all.iter().filter(is)
    }
}

impl Grammar {
    fn parse(text: &str) -> Result<Grammar> {
        let mut grammar: Grammar = toml::from_str(text)?;
        let language = parser_named(&grammar.parser)
            .with_context(|| format!("there is no parser {:?}", grammar.parser))?;
        let mut roles = vec![0; language.node_kind_count()];
        for (role, kinds) in &grammar.kinds {
            for kind in kinds {
                let mut known = false;
                // Aliases give several ids one name.
                for id in 0..u16::try_from(roles.len())? {
                    if language.node_kind_is_named(id) && language.node_kind_for_id(id) == Some(kind) {
                        roles[usize::from(id)] |= 1 << (*role as u64);
                        known = true;
                    }
                }
                anyhow::ensure!(known, "{} has no node kind {kind:?}", grammar.parser);
            }
        }
        grammar.roles = roles;
        grammar.language = Some(language);
        grammar.matcher = Some(Glob::new(&grammar.files)?.compile_matcher());
        Ok(grammar)
    }

    /// Parses a file; with the tree of an earlier version to which the edit was told, only what changed.
    pub fn tree(&self, source: &str, earlier: Option<&Tree>) -> Option<Tree> {
        let mut parser = Parser::new();
        parser.set_language(self.language.as_ref()?).ok()?;
        parser.parse(source, earlier)
    }

    /// Whether a node plays a role.
    pub fn is(&self, node: Node, role: Role) -> bool {
        self.roles.get(usize::from(node.kind_id())).is_some_and(|bits| bits & (1 << (role as u64)) != 0)
    }
}

fn parser_named(name: &str) -> Option<Language> {
    Some(match name {
        "python" => tree_sitter_python::LANGUAGE.into(),
        "javascript" => tree_sitter_javascript::LANGUAGE.into(),
        "typescript" => tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
        "tsx" => tree_sitter_typescript::LANGUAGE_TSX.into(),
        "rust" => tree_sitter_rust::LANGUAGE.into(),
        "go" => tree_sitter_go::LANGUAGE.into(),
        "c" => tree_sitter_c::LANGUAGE.into(),
        "cpp" => tree_sitter_cpp::LANGUAGE.into(),
        "java" => tree_sitter_java::LANGUAGE.into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_grammar_knows_its_own_kinds() {
        let grammars = Grammars::load(None).unwrap();
        assert!(grammars.of("a/b.py").is_some() && grammars.of("a/b.txt").is_none());
        let parser = |text| grammars.of_text("a.h", text).map(|grammar| grammar.parser.as_str());
        assert_eq!(parser("int f(int a);\n"), Some("c"));
        assert_eq!(parser("namespace a { class B { public: int c() { return 1; } }; }\n"), Some("cpp"));
        assert!(grammars.priors.values().all(|prior| *prior > 0.0));
    }
}
