//! Tests of the edits that each language is mutated by.

use std::collections::HashSet;

use super::*;
use crate::repair::grammar::Grammars;

/// All texts that a file may become, best first.
fn texts(path: &str, text: &str) -> Vec<String> {
    hinted(path, text, &Hints::default())
}

fn hinted(path: &str, text: &str, hints: &Hints) -> Vec<String> {
    let grammars = Grammars::load(None).unwrap();
    let grammar = grammars.of(path).unwrap();
    let source = Source::new(RepoPath::new(path).unwrap(), text.to_owned(), grammar).unwrap();
    let mutants = source.mutants(&|_| 1.0, &grammars.priors, hints);
    for mutant in &mutants {
        assert!(grammars.priors.contains_key(mutant.kind), "{}", mutant.kind);
    }
    let mut known = HashSet::new();
    mutants.iter().filter_map(|mutant| source.apply(&mutant.edits, &mut known)).collect()
}

/// Asserts that each text may become another one by an edit of its first `from`.
fn check(path: &str, text: &str, cases: &[(&str, &str)]) {
    let found: HashSet<String> = texts(path, text).into_iter().collect();
    for (from, to) in cases {
        let wanted = text.replacen(from, to, 1);
        assert!(found.contains(&wanted), "{wanted} is not among {} texts", found.len());
    }
}

#[test]
fn a_file_that_is_nested_to_overflow_a_stack_is_not_looked_at() {
    let grammars = Grammars::load(None).unwrap();
    let grammar = grammars.of("a.py").unwrap();
    let source = |text: String| Source::new(RepoPath::new("a.py").unwrap(), text, grammar);
    assert!(source(format!("a = 1{}\n", " + 1".repeat(5_000))).is_none());
    assert!(source(format!("a = 1{}\n", " + 1".repeat(500))).is_some());
}

const PYTHON: &str = "\
def search(items, wanted, low):
    \"\"\"Finds.\"\"\"
    best = 0
    last = None
    for item in items[low:]:
        if item.size < wanted and item.name is not None:
            best = item.size + 1
            items.append(best)
    return best
";

#[test]
fn python_is_mutated_by_its_grammar() {
    let cases = [
        ("item.size < wanted", "item.size <= wanted"),
        ("wanted and item", "wanted or item"),
        ("item.size < wanted and", "item is None or item.size < wanted and"),
        ("item.size < wanted and item.name is not None", "item.size < wanted"),
        ("best = item.size + 1", "best = item.size"),
        ("best = item.size + 1", "best = max(best, item.size + 1)"),
        ("items[low:]", "items[low + 1:]"),
        ("return best", "return last"),
        ("return best", "return [best]"),
        ("    best = 0\n", "    if not items:\n        return 0\n    best = 0\n"),
        ("            items.append(best)\n", "            items.append(best)\n            last = best\n"),
        ("    best = 0\n    last = None\n", "    last = None\n    best = 0\n"),
        ("    last = None\n", ""),
        ("item.size + 1", "item.name + 1"),
    ];
    check("a.py", PYTHON, &cases);
}

#[test]
fn what_stands_elsewhere_in_the_file_is_used() {
    let python = "def f(self, a, n):\n    if self.b(n):\n        g(a)\n    return a.c + \"x\"\n";
    let cases = [("if self.b(n)", "if self.b(n) is not None"), ("a.c", "g(a.c)"), ("\"x\"", "\"x \"")];
    check("a.py", python, &cases);
    let pattern = "A = r'[0-9]{6}(:?x)+'\nB = '(a+)'\nC = 'Sure (a?)\\n {6}'\n";
    let cases = [("{6}(", "{1,6}("), ("{6}(", "+("), ("+'", "*'"), ("+'", "'"), ("(a+", "(a?")];
    check("a.py", pattern, &cases);
    assert!(texts("a.py", pattern).iter().all(|text| !text.contains("(a)\\n") || text.contains("n {1,6}'")));
    check("a.js", "function f(a) {\n  return /[a-z]+$/i.test(a);\n}\n", &[("]+", "]*")]);
    let negated = "def f(a):\n    if not g(a):\n        h(a)\n";
    check("a.py", negated, &[("not g(a)", "g(a) is None")]);
    let given = "def f(a):\n    b = g()\n    h(a)\n    return b\n";
    check("a.py", given, &[("    h(a)\n", "    if a is None:\n        return b\n    h(a)\n")]);
    let fields = "package a\n\nfunc f(a *A) {\n\tif a.b != nil {\n\t\treturn\n\t}\n\tg(a.c)\n}\n";
    check("a.go", fields, &[("a.b != nil", "a.b != nil || a.c"), ("a.b != nil", "a.b != nil && !a.c")]);
    let held = "def f(a):\n    try:\n        g(a)\n    except E:\n        pass\n";
    check("a.py", held, &[("    try:\n        g(a)\n    except E:\n        pass\n", "    g(a)\n")]);
    let held = "package a\n\nfunc f(a int) {\n\tif a < 1 {\n\t\tg(a)\n\t}\n}\n";
    check("a.go", held, &[("\tif a < 1 {\n\t\tg(a)\n\t}\n", "\tg(a)\n")]);
    // What stands under a condition is asked of first.
    let under = "def f(a, b, c, d):\n    if d.e:\n        g(c)\n";
    let texts = texts("a.py", under);
    let at = |asked: &str| texts.iter().position(|text| text.contains(&format!("if {asked} and d.e:")));
    assert!(at("c is not None") < at("a is not None"), "{:?}", at("c is not None"));
}

#[test]
fn the_end_of_a_large_file_is_mutated_too() {
    let mut text = (0..3000).fold(String::new(), |text, n| {
        format!("{text}def f{n}(a, b, c):\n    if a < b and b < c:\n        return a + b * c\n    return f(a, b) - c\n\n\n")
    });
    text.push_str("def last(a):\n    return a < 1\n");
    let (grammars, lines) = (Grammars::load(None).unwrap(), text.lines().count());
    let grammar = grammars.of("a.py").unwrap();
    let source = Source::new(RepoPath::new("a.py").unwrap(), text, grammar).unwrap();
    let suspicion = |line: u32| if line as usize == lines { 0.9 } else { 0.4 };
    let mutants = source.mutants(&suspicion, &grammars.priors, &Hints::default());
    assert_eq!(mutants.first().map(|mutant| mutant.line as usize), Some(lines));
    assert_eq!(mutants.len(), MOST);
}

#[test]
fn an_error_that_a_failure_misses_is_raised() {
    let python = "def f(a, n):\n    b = a[n:]\n    return b\n\n\ndef g(n):\n    if n < 1:\n        raise ValueError('n is small')\n";
    let wanted =
        python.replacen("    b = ", "    if n < 0:\n        raise ValueError('n is small')\n    b = ", 1);
    let hints = Hints { missing: ["ValueError".to_owned()].into(), ..Hints::default() };
    let at = |found: Vec<String>| found.iter().position(|text| *text == wanted);
    let (missed, other) = (at(hinted("a.py", python, &hints)), at(texts("a.py", python)));
    // What has no value yet is not asked of.
    assert!(texts("a.py", python).iter().all(|text| !text.starts_with("def f(a, n):\n    if b")));
    assert!(missed.is_some_and(|at| at < 150), "{missed:?}");
    assert!(other.is_none_or(|other| other > 150), "{other:?}");
}

#[test]
fn an_error_says_what_it_is_raised_for_and_takes_words_that_a_failure_asks_for() {
    let python = "def f(a, n):\n    b = g(a, n)\n    if n is None:\n        return b\n\n\ndef h(n):\n    if n < 1:\n        raise ValueError('n is small')\n";
    let guarded = |guard: &str| python.replacen("    b = ", &format!("    if {guard}\n    b = "), 1);
    let missing = Hints { missing: ["ValueError".to_owned()].into(), ..Hints::default() };
    let found = hinted("a.py", python, &missing);
    assert!(found.contains(&guarded("n < 0:\n        raise ValueError('n < 0')")));
    let words = Hints { strings: vec!["n is small".to_owned()], ..Hints::default() };
    // Where the function knows that there may be none.
    let wanted = guarded("n is not None and n < 0:\n        raise ValueError('n is small')");
    let at = |found: Vec<String>| found.iter().position(|text| *text == wanted);
    let (asked, other) = (at(hinted("a.py", python, &words)), at(texts("a.py", python)));
    assert!(hinted("a.py", python, &words).iter().all(|text| !text.contains("ValueError('n < 0')")));
    assert!(asked.is_some_and(|at| at < 500), "{asked:?}");
    assert!(other.is_none_or(|other| other > 1000), "{other:?}");
}

#[test]
fn what_may_be_absent_is_asked_of_before_it_is_used() {
    let python = "def f(self, a):\n    g(b=a)\n    if a is None:\n        self.h(c)\n";
    check("a.py", python, &[("b=a", "b=self.h(a) if a is not None else None")]);
    let go = "package a\n\nfunc (a *A) Equal(b *A) bool {\n\treturn a.Compare(b) == 0\n}\n";
    let both = go.replace("\treturn", "\tif a == nil || b == nil {\n\t\treturn a == b\n\t}\n\treturn");
    let found = hinted("a.go", go, &Hints { absent: true, ..Hints::default() });
    assert!(found.iter().take(100).any(|text| *text == both));
}

#[test]
fn a_text_says_what_a_failing_assertion_expects_with_the_same_values() {
    let python = "def f(a):\n    raise Error('Key %s error:' % a)\n";
    let said = |texts: &[&str]| {
        let said = texts.iter().map(ToString::to_string).collect();
        hinted("a.py", python, &Hints { said, ..Hints::default() })
    };
    let wanted = python.replace("Key %s error:", "Key \"%s\" error:");
    let at = |found: Vec<String>| found.iter().position(|text| *text == wanted);
    let asked = at(said(&["Key one error:", "Key \"one\" error:"]));
    assert!(asked.is_some_and(|at| at < 100), "{asked:?}");
    for other in [
        &["Key one error:", "Key \"two\" error:"][..],
        &["Key one:", "Key \"one\" error:"],
        &["Key one error:", "Something else that has one: a long text"],
        &["Key one error:", "Key \"one\" error:' + stop('"],
    ] {
        assert_eq!(at(said(other)), None, "{other:?}");
        assert!(said(other).iter().all(|text| !text.contains("stop(")));
    }
    let javascript = "function f(a) {\n  return `no ${a} here`;\n}\n";
    let hints = Hints { said: vec!["no one here".into(), "no one there".into()], ..Hints::default() };
    assert!(hinted("a.js", javascript, &hints).contains(&javascript.replace("here", "there")));
}

#[test]
fn a_text_is_compared_with_what_a_failing_assertion_speaks_of_and_hardly_ordered() {
    let hints = Hints { strings: vec!["fox".into(), "dog".into()], ..Hints::default() };
    let place = |own: &str, other: &str| {
        let python = format!("def f(a):\n    if {own}:\n        return 1\n    return 2\n");
        let found = hinted("a.py", &python, &hints);
        found.iter().position(|found| *found == python.replace(own, other))
    };
    for (own, other) in [("a == 's'", "a == 's' or a == 'x'"), ("a != 'cat'", "a != 'cat' and a != 'dog'")] {
        assert!(place(own, other).is_some_and(|at| at < 300), "{:?}", place(own, other));
    }
    let javascript = "function f(a) {\n  if (a !== 'cat') return 1;\n}\n";
    let found = hinted("a.js", javascript, &hints);
    assert!(found.contains(&javascript.replace("'cat'", "'cat' && a !== 'dog'")));
    assert!(found.iter().all(|text| !text.contains("|| a !== 'dog'")));
    let (text, number) = (place("a == 's'", "a >= 's'"), place("a == 3", "a >= 3"));
    assert!(text > number && number.is_some(), "{text:?} {number:?}");
}

#[test]
fn nothing_is_put_in_front_of_a_statement_that_would_never_run_then() {
    let python = "def f(a):\n    if a:\n        raise ValueError('a')\n    b = g(a)\n    h(b)\n";
    let found = texts("a.py", python);
    for statement in ["    b = g(a)\n", "    h(b)\n"] {
        let thrown = python.replace(statement, &format!("    raise ValueError('a')\n{statement}"));
        assert!(!found.contains(&thrown));
    }
    let instead = |statement: &str| found.contains(&python.replace(statement, "raise ValueError('a')"));
    assert_eq!((instead("b = g(a)"), instead("h(b)")), (false, true));
    let javascript = "function f(a) {\n  throwOnError(a);\n  b();\n}\n";
    assert!(texts("a.js", javascript).contains(&javascript.replace("  b", "  throwOnError(a);\n  b")));
    assert!(found.contains(&format!("{python}    raise ValueError('a')\n")));
}

#[test]
fn constants_are_no_conditions_and_nothing_is_asked_of_what_it_gives() {
    let python =
        "def f(a, b):\n    while True:\n        a = g(a)\n        if not b:\n            return a < b\n";
    let found = texts("a.py", python);
    for senseless in ["and True", "or True", "if a < b:\n            return a < b"] {
        assert!(found.iter().all(|text| !text.contains(senseless)), "{senseless}");
    }
    assert!(found.iter().any(|text| text.contains("not b and a < b")));
}

#[test]
fn a_hidden_field_gets_a_reader_by_the_name_that_a_failure_misses() {
    let python = "class A:\n    def __init__(self, b):\n        self._b = b\n\n\nclass B:\n    pass\n";
    let read =
        python.replace("_b = b\n", "_b = b\n\n    @property\n    def b(self):\n        return self._b\n");
    let lacking = Hints { lacking: ["b".to_owned(), "c".to_owned()].into(), ..Hints::default() };
    let found = hinted("a.py", python, &lacking);
    assert_eq!(found.iter().filter(|text| text.contains("@property")).collect::<Vec<_>>(), [&read]);
    assert!(texts("a.py", python).iter().all(|text| !text.contains("@property")));
}

#[test]
fn other_languages_are_mutated_by_theirs() {
    let javascript = "function f(a, b) {\n  if (a < b) {\n    return max(a, b);\n  }\n}\n";
    check(
        "a.js",
        javascript,
        &[("a < b", "a <= b"), ("max(a, b)", "max(b, a)"), ("max", "min"), ("a < b", "!a || a < b")],
    );
    let javascript = "function f(a) {\n  const all = [];\n  const sum = a % 3;\n  do {\n    all.push(b('('));\n  } while \
        (b(','));\n  return a < 1 ? a : all;\n}\n";
    let asked = "  const sum = a % 3;\n  if (b('(')) {\n    return sum;\n  }\n";
    check(
        "a.js",
        javascript,
        &[
            ("a < 1 ? a : all", "Math.max(a, all)"),
            ("a % 3", "((a % 3) < 0 ? -(a % 3) : (a % 3))"),
            ("  const sum = a % 3;\n", asked),
        ],
    );
    let rust = "fn f(a: u32) -> u32 {\n    g = if a < 1 { a } else { b.c };\n}\n";
    check("a.rs", rust, &[("if a < 1 { a } else { b.c }", "a.max(b.c)")]);
    let methods = "class A:\n    def f(self, a):\n        self.b = c()\n        d = a\n\n    def g(self):\n        e()\n";
    check("a.py", methods, &[("        e()\n", "        e()\n        self.b = c()\n")]);
    assert!(
        !texts("a.py", methods)
            .iter()
            .any(|text| text.matches("d = a").count() > 1 && text.contains("e()\n        d = a"))
    );
    check("a.py", "def f(a, b):\n    return a if a else b\n", &[("a if a else b", "min(a, b)")]);
    check("a.py", "def f(a):\n    g(a or b())\n", &[("a or b()", "a if a is not None else b()")]);
    let rust =
        "fn f(a: u32, b: u32) -> u32 {\n    if a < b && b > 0 {\n        return a..b;\n    }\n    a + 1\n}\n";
    check("a.rs", rust, &[("&&", "||"), ("a..b", "a..=b"), ("a + 1", "a"), ("b > 0", "b >= 0")]);
    let go = "package a\n\nfunc f(a int) int {\n\tif a < 1 {\n\t\treturn a\n\t}\n\treturn a + 1\n}\n";
    check("a.go", go, &[("a < 1", "a <= 1"), ("a + 1", "a - 1"), ("return a\n", "return 0\n")]);
    let c = "int f(int a, int b) {\n    if (a < b)\n        return b;\n    return a;\n}\n";
    let copied = "void f(struct a *a) {\n    for (int i = 0; i < 3; i++) {\n        a->b[i] = 0;\n    }\n}\n\nvoid g(struct a *a) {\n    h(a);\n}\n";
    let put = "    h(a);\n    for (int i = 0; i < 3; i++) {\n        a->b[i] = 0;\n    }\n";
    check("a.c", copied, &[("    h(a);\n", put)]);
    let go = "package a\n\nfunc f(a *A) {\n\tif a.b {\n\t\treturn\n\t}\n\ta.c()\n}\n\nfunc g(a *A) {\n\ta.d()\n}\n";
    check("a.go", go, &[("return", "a.d()")]);
    let turned = "function f(a) {\n  const b = a.c(1);\n  return (b.d('/') ? b : a) + a;\n}\n";
    check("a.js", turned, &[("  return", "  if (b && !b.d('/')) {\n    return b;\n  }\n  return")]);
    let pair = "function f(a) {\n  const b = a.c('=');\n  return [a.d(b), a];\n}\n";
    check("a.js", pair, &[("  return", "  if (b < 0) {\n    return [a, ''];\n  }\n  return")]);
    check("a.c", c, &[("a < b", "a > b"), ("return b", "return a")]);
}

#[test]
fn operands_get_a_larger_type_where_something_overflowed() {
    let text = "fn f(a: i64, b: i64) -> i128 {\n    g(a * b)\n}\n";
    let wider = text.replace("a * b", "i128::from(a) * i128::from(b)");
    let first = |overflow| {
        let found = hinted("a.rs", text, &Hints { overflow, ..Hints::default() });
        found.iter().position(|text| *text == wider).unwrap()
    };
    assert!(first(true) < first(false) / 2, "{} {}", first(true), first(false));
}

#[test]
fn mutants_parse_and_differ_and_come_in_the_same_order() {
    let small = "def f(a, b):\n    if a < b:\n        return a\n    return b\n";
    let (first, second) = (texts("a.py", small), texts("a.py", small));
    assert_eq!(first, second);
    let distinct: HashSet<&String> = first.iter().collect();
    assert_eq!(distinct.len(), first.len());
    assert!(first.len() > 300, "{}", first.len());
}

/// Asserts that a text names what is not known in a function of a file at the place of `at`, or does not.
fn check_hidden(path: &str, text: &str, at: &str, hidden: &[&str], known: &[&str]) {
    let grammars = Grammars::load(None).unwrap();
    let source =
        Source::new(RepoPath::new(path).unwrap(), text.to_owned(), grammars.of(path).unwrap()).unwrap();
    let locals = Locals::of(&source, source.outermost_functions()[0], &Locals::others(&source));
    let place = text.find(at).unwrap();
    let wrong = |words: &[&str], wanted: bool| {
        words
            .iter()
            .filter(|word| locals.hide(word, place) != wanted)
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!((wrong(hidden, true), wrong(known, false)), (Vec::new(), Vec::new()));
}

#[test]
fn names_are_used_where_they_are_known() {
    let rust = "fn f(list: &[u8], most: usize) -> Option<usize> {\n    let all = list.len();\n    for item in list {\n        let twice = item + item;\n        g(twice);\n    }\n    if let Some(first) = h(all) {\n        g(first);\n    }\n    let end = most;\n    None\n}\nfn g(gone: u8) {}\nstatic COUNT: u8 = 0;\n";
    check_hidden(
        "a.rs",
        rust,
        "let end",
        &["twice", "if item > most", "end + 1", "first", "gone"],
        &[
            "all",
            "None",
            "Some(most)",
            "let twice = 1; g(twice)",
            "list.first",
            "for item in list {}",
            "other",
            "g(COUNT)",
            "g(\"gone\")",
            "gone(1)",
            "gone![1]",
            "Self { gone: 1 }",
            "list.iter().map(|gone| gone + 1)",
            "if let Some(first) = all { g(first) }",
            "b'g'",
        ],
    );
    check_hidden("a.rs", rust, "g(twice)", &["first"], &["twice", "*item", "all"]);
    let c = "int f(int most) {\n    size_t all = 0;\n    for (int i = 0; i < most; i++) {\n        int twice = i * 2;\n        g(twice);\n    }\n    return all;\n}\n";
    check_hidden(
        "a.c",
        c,
        "return all",
        &["i", "twice", "return i"],
        &["all", "most", "for (int i = 0; i < 3; i++) g(i)", "x.i", "f"],
    );
    let go = "package a\n\nfunc f(most int) int {\n\tall := 0\n\tfor i, one := range g() {\n\t\ttwice := i\n\t\th(twice, one)\n\t}\n\tif x, ok := k(); ok {\n\t\th(x, 1)\n\t}\n\treturn all\n}\n";
    check_hidden(
        "a.go",
        go,
        "return all",
        &["i", "one", "twice", "!ok", "x"],
        &["all", "most", "ok := all; h(ok)", "y.x"],
    );
    let other = "package a\n\nfunc f(n int) int {\n\tfor i := 0; i < n; i++ {\n\t\tg(i)\n\t}\n\treturn 0\n}\n\nfunc h() {\n\tn, max := 1, 2\n\tg(n + max)\n}\n";
    check_hidden("a.go", other, "g(i)", &["max + 1"], &["i", "n", "max(i, n)"]);
}
