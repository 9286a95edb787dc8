//! Texts that look like keys do not leave in an export, wherever in a prompt, an answer or a patch they stand. What
//! keys look like is said in `harness/export/secrets.toml`.

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// What stands in the place of a key.
const HIDDEN: &str = "[hidden]";

/// Shorter values are no keys: switches and addresses stand in texts by chance.
const SHORTEST: usize = 12;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shapes {
    shapes: Vec<String>,
}

static SHAPES: LazyLock<Regex> = LazyLock::new(|| {
    let shapes: Shapes = toml::from_str(include_str!("../../harness/export/secrets.toml"))
        .expect("a test reads the embedded file");
    Regex::new(&shapes.shapes.join("|")).expect("a test reads the embedded file")
});

/// What is hidden.
#[derive(Debug)]
pub struct Secrets {
    known: Vec<String>,
}

impl Secrets {
    /// These values, and whatever looks like a key.
    pub fn new(known: &[String]) -> Secrets {
        Secrets { known: known.iter().filter(|value| value.len() >= SHORTEST).cloned().collect() }
    }

    /// Hides them in every text of a value; how many texts had one.
    pub fn hide(&self, value: &mut Value) -> usize {
        match value {
            Value::String(text) => match self.hidden(text) {
                Some(safe) => {
                    *text = safe;
                    1
                }
                None => 0,
            },
            Value::Array(values) => values.iter_mut().map(|value| self.hide(value)).sum(),
            Value::Object(fields) => fields.values_mut().map(|value| self.hide(value)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
    }

    /// A text without them; `None` if it has none.
    fn hidden(&self, text: &str) -> Option<String> {
        let mut safe = SHAPES.replace_all(text, HIDDEN);
        for value in &self.known {
            if safe.contains(value.as_str()) {
                safe = safe.replace(value.as_str(), HIDDEN).into();
            }
        }
        (safe != text).then(|| safe.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_key_is_hidden_and_other_text_stays() {
        let secrets = Secrets::new(&["correct horse battery".to_owned(), "on".to_owned()]);
        let check = |text: &str, hidden: bool| {
            let mut value = serde_json::json!({ "a": [text], "n": 1 });
            assert_eq!(secrets.hide(&mut value), usize::from(hidden), "{text}");
            assert_eq!(value["a"][0].as_str().unwrap().contains(HIDDEN), hidden, "{value}");
        };
        // Put together here, so that no scanner takes this file for a leak.
        for (head, tail) in [
            ("sk-ant-api03-", "abcdefghijklmnopqrstuvwx"),
            ("ghp_", "abcdefghijklmnopqrstuvwxyz0123456789"),
            ("AKIA", "ABCDEFGHIJKLMNOP"),
            ("xoxb-", "123456789012-abcdefghijkl"),
            ("AIza", "abcdefghijklmnopqrstuvwxyz012345678"),
            ("https://me:", "hunter2@example.org/a.git"),
            ("-----BEGIN RSA PRIVATE KEY-----\n", "MIIB\n-----END RSA PRIVATE KEY-----"),
        ] {
            check(&format!("let key = \"{head}{tail}\";"), true);
        }
        check("the correct horse battery staple", true);
        check("task-based risk-assessment of on and off", false);
        check("https://example.org/a@b and me@example.org", false);
    }
}
