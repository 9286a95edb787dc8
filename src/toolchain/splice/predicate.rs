//! Conditions of `cfg`: what they are when nothing is tested.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Path, Token};

/// A condition when the settings other than `test` are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    True,
    False,
    Unknown,
}

/// Last names of attributes that make a function a test.
const TESTS: [&str; 10] = [
    "test",
    "rstest",
    "test_case",
    "test_matrix",
    "bench",
    "quickcheck",
    "wasm_bindgen_test",
    "parameterized",
    "proptest",
    "googletest",
];

/// Names of item macros that make tests.
const MACROS: [&str; 4] = ["proptest", "quickcheck", "rusty_fork_test", "test_suite"];

/// Whether an attribute of this path makes a function a test.
pub(super) fn is_test_attribute(path: &Path) -> bool {
    let last = path.segments.last().map(|segment| segment.ident.to_string());
    last.is_some_and(|last| TESTS.contains(&last.as_str()))
}

/// Whether an item macro of this path makes tests.
pub(super) fn makes_tests(path: &Path) -> bool {
    let last = path.segments.last().map(|segment| segment.ident.to_string());
    last.is_some_and(|last| MACROS.contains(&last.as_str()))
}

/// What a `cfg` attribute says when nothing is tested; `None` for other attributes.
pub(super) fn of_attribute(attribute: &Attribute) -> Option<Value> {
    if !attribute.path().is_ident("cfg") {
        return None;
    }
    let metas = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    Some(metas.first().map_or(Value::Unknown, evaluate))
}

fn evaluate(meta: &Meta) -> Value {
    match meta {
        Meta::Path(path) if path.is_ident("test") || path.is_ident("doctest") => Value::False,
        Meta::Path(_) | Meta::NameValue(_) => Value::Unknown,
        Meta::List(list) => {
            let Ok(inner) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
                return Value::Unknown;
            };
            let values: Vec<Value> = inner.iter().map(evaluate).collect();
            if list.path.is_ident("all") {
                combine(&values, Value::False, Value::True)
            } else if list.path.is_ident("any") {
                combine(&values, Value::True, Value::False)
            } else if list.path.is_ident("not") {
                match values.first() {
                    Some(Value::True) => Value::False,
                    Some(Value::False) => Value::True,
                    _ => Value::Unknown,
                }
            } else {
                Value::Unknown
            }
        }
    }
}

/// `decisive` if one is, else unknown if one is, else `otherwise`.
fn combine(values: &[Value], decisive: Value, otherwise: Value) -> Value {
    if values.contains(&decisive) {
        decisive
    } else if values.contains(&Value::Unknown) {
        Value::Unknown
    } else {
        otherwise
    }
}
