//! Black-box oracles through the real binary: servers that are asked in a box without a network, and the base's
//! answers as the expected ones.

use std::fs;
use std::path::PathBuf;

use crate::regreen_command;

/// A shop whose total forgets the quantity; it counts what it was asked.
const PYTHON: &str = r#"import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from shop import total

asked = 0


class Shop(BaseHTTPRequestHandler):
    def answer(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        global asked
        asked += 1
        self.answer(200, {"asked": asked}) if self.path == "/asked" else self.answer(404, {"no": self.path})

    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(201, {"total": total(order)})


HTTPServer(("127.0.0.1", 8080), Shop).serve_forever()
"#;
const SHOP: &str = "def total(order):\n    return sum(line['price'] for line in order)\n";
const RIGHT: &str = "sum(line['price'] * line['count'] for line in order)";
const TEST: &str =
    "python3 -c 'from shop import total; assert total([dict(price=2, count=3)]) == 6' && echo fine\n";

const NODE: &str = "const http = require('node:http');\nhttp.createServer((asked, answer) => {\n  \
                    answer.setHeader('X-Kind', 'echo');\n  answer.end(asked.url.split('').reverse().join(''));\n\
                    }).listen(8080);\n";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        for (name, text) in files {
            place.write(&format!("repository/{name}"), text);
        }
        git2::Repository::init(place.path("repository")).unwrap();
        place
    }

    fn shop() -> Place {
        Place::new(&[("serve.py", PYTHON), ("shop.py", SHOP), ("test.sh", TEST)])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Judges the replacement of a file by an oracle; the exit status and what was said.
    fn verify(&self, file: &str, text: &str, oracle: &str, more: &[&str]) -> (i32, String) {
        self.write(
            "given.patch",
            &diff(file, &fs::read_to_string(self.path("repository").join(file)).unwrap(), text),
        );
        self.write("oracle.toml", oracle);
        let mut command = regreen_command();
        command.args(["verify", "repository", "--patch", "given.patch", "--oracle", "oracle.toml"]);
        command.args(["--test-cmd", "sh test.sh", "--cache", "cache"]).args(more);
        let finished = command.current_dir(self.folder.path()).output().unwrap();
        (finished.status.code().unwrap(), String::from_utf8_lossy(&finished.stderr).into_owned())
    }

    fn total(&self, expression: &str, oracle: &str) -> (i32, String) {
        self.verify("shop.py", &format!("def total(order):\n    return {expression}\n"), oracle, &[])
    }
}

/// A diff that replaces a whole file.
fn diff(file: &str, before: &str, after: &str) -> String {
    let lines =
        |mark: &str, text: &str| text.lines().fold(String::new(), |all, line| all + mark + line + "\n");
    format!(
        "diff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n@@ -1,{} +1,{} @@\n{}{}",
        before.lines().count(),
        after.lines().count(),
        lines("-", before),
        lines("+", after)
    )
}

const ORACLE: &str = r#"
[[oracle]]
argv = ["python3", "serve.py"]
port = 8080
seconds = 20

[[oracle.case]]
request = { path = "/asked" }
json = { asked = 1 }

[[oracle.case]]
request = { method = "POST", path = "/", body = '[{"price": 3, "count": 5}, {"price": 1, "count": 1}]' }
status = 201
headers = { "content-type" = "application/json" }
json = { total = 16 }

[[oracle.case]]
request = { path = "/nowhere" }
status = 404
matches = "no.*nowhere"

[[oracle.case]]
request = { path = "/asked" }
body = '{"asked": 3}'
"#;

#[test]
fn a_server_is_asked_in_its_box_and_its_answers_are_compared_outside() {
    let place = Place::shop();
    let (status, said) = place.total(RIGHT, ORACLE);
    assert!(status == 0 && said.contains("Verdict: solved (L5)"), "{said}");
    assert!(said.contains("4 black-box questions answered rightly"), "{said}");
    // What the visible test asks, in a table.
    let (status, said) = place.total("6", ORACLE);
    assert!(status == 1 && said.contains("1 of 4 black-box questions answered wrongly"), "{said}");
}

#[test]
fn a_server_that_ends_hangs_or_listens_elsewhere_answers_nothing() {
    let place = Place::shop();
    let oracle = ORACLE.replace("seconds = 20", "seconds = 2");
    let all = "4 of 4 black-box questions answered wrongly";
    let dead = "raise SystemExit(0)\n";
    let hangs = "import socket, time\ns = socket.create_server(('127.0.0.1', 8080))\nwhile True: s.accept(); time.sleep(60)\n";
    let forger = "import os\nsaid = b'HTTP/1.0 200 OK\\r\\n\\r\\n{\"asked\": 1}'.hex()\n\
                  os.write(1, b'{\"question\": 0, \"answer\": {\"Ok\": \"%s\"}}\\n' % said.encode())\n";
    for server in [dead, hangs, forger, &PYTHON.replace("8080", "8081")] {
        place.write("repository/shop.py", &format!("def total(order):\n    return {RIGHT}\n"));
        place.write("repository/test.sh", "! grep -q old serve.py\n");
        place.write("repository/serve.py", "# old\n");
        let (status, said) = place.verify("serve.py", server, &oracle, &[]);
        assert!(status == 1 && said.contains(all), "{server}: {said}");
    }
}

#[test]
fn node_serves_in_the_box_too() {
    if !installed("node") {
        return;
    }
    let place = Place::new(&[("serve.js", "// nothing yet\n"), ("test.sh", "grep -q reverse serve.js\n")]);
    let oracle = "[[oracle]]\nargv = [\"node\", \"serve.js\"]\nport = 8080\n\
                  case = [{ request = { path = \"/abc\" }, body = \"cba/\", headers = { X-Kind = \"echo\" } }]\n";
    let (status, said) = place.verify("serve.js", NODE, oracle, &[]);
    assert!(status == 0 && said.contains("Verdict: solved (L5)"), "{said}");
}

#[test]
fn what_must_not_change_is_asked_of_the_base() {
    let place = Place::new(&[
        (
            "say.py",
            "import sys, time\nprint('base', sys.argv[1:], time.time() if 'now' in sys.argv else '')\n",
        ),
        ("test.sh", "grep -q mended say.py\n"),
    ]);
    let same = "[[oracle]]\nargv = [\"python3\", \"say.py\"]\nsame_as_base = true\n\
                case = [{ args = [\"a\"] }, { args = [\"b\"] }, { args = [\"now\"] }]\n";
    let base = fs::read_to_string(place.path("repository/say.py")).unwrap();
    let (status, said) = place.verify("say.py", &format!("{base}# mended\n"), same, &[]);
    // The third one answers differently each time, and decides nothing; no answer was expected by anybody else.
    assert!(status == 0 && said.contains("Verdict: passes-visible (L1)"), "{said}");
    assert!(said.contains("2 black-box questions answered rightly, 2 of them as the base answers"), "{said}");
    let other = base.replace("sys.argv[1:]", "[word.upper() for word in sys.argv[1:]]");
    let (status, said) = place.verify("say.py", &format!("{other}# mended\n"), same, &[]);
    assert!(status == 1 && said.contains("2 of 2 black-box questions answered wrongly"), "{said}");
}

#[test]
fn oracles_that_make_no_sense_are_refused() {
    let place = Place::shop();
    let check = |oracle: &str, message: &str| {
        let (status, said) = place.total(RIGHT, oracle);
        assert!(status == 2 && said.contains(message), "{oracle}: {said}");
    };
    let with = |case: &str| format!("[[oracle]]\nargv = [\"true\"]\n{case}\n");
    check(&with("case = []"), "at least one `case`");
    check(&with("case = [{}]"), "it expects nothing");
    check(&with("case = [{ body = \"x\" }]"), "need an oracle with a `port`");
    check(&with("port = 80\ncase = [{ status = 1 }]"), "below 1024");
    check(&with("port = 8080\ncase = [{ status = 1 }]"), "needs a `request`");
    check(&with("port = 8080\ncase = [{ status = 1, request = { path = \"/ x\" } }]"), "no method and path");
    check(&with("case = [{ matches = \"(\" }]"), "regex");
    check(&with("same_as_base = true\ncase = [{ stdout = \"x\" }]"), "the base says");
    check("nothing = 1", "holds no oracles");
}

#[test]
fn oracles_and_held_out_tests_that_lie_in_the_open_are_refused() {
    let place = Place::shop();
    place.total(RIGHT, ORACLE);
    let refused = |words: &[&str], file: &str| {
        let mut command = regreen_command();
        command.args(words).args(["--cache", "cache"]).current_dir(place.folder.path());
        let finished = command.output().unwrap();
        let said = String::from_utf8_lossy(&finished.stderr).into_owned();
        assert!(finished.status.code() == Some(2) && said.contains(file), "{words:?}: {said}");
        assert!(said.contains("where everybody sees"), "{words:?}: {said}");
    };
    let fix = ["fix", "repository", "--test-cmd", "sh test.sh", "--model", "repair", "--out", "runs"];
    let verify = ["verify", "repository", "--test-cmd", "sh test.sh", "--patch", "given.patch"];
    place.write("repository/oracle.toml", ORACLE);
    place.write("repository/hidden/test_more.py", "");
    for words in [&fix[..], &verify] {
        refused(&[words, &["--oracle", "repository/oracle.toml"]].concat(), "oracle.toml");
        refused(&[words, &["--held-out", "repository/hidden"]].concat(), "hidden");
    }
    let task = format!("regreen = 1\ntest_cmd = [\"sh\", \"test.sh\"]\n{ORACLE}");
    place.write("repository/task.toml", &task);
    refused(&["check", "repository"], "task.toml");
    refused(&["verify", "repository", "--patch", "given.patch"], "task.toml");
    refused(&["verify", "--task", "repository/task.toml", "--patch", "given.patch"], "task.toml");
    // Beside the source it is out of everybody's sight.
    fs::remove_file(place.path("repository/task.toml")).unwrap();
    place.write("task.toml", &task.replace("test_cmd", "source = { path = \"repository\" }\ntest_cmd"));
    let mut command = regreen_command();
    command.args(["verify", "--task", "task.toml", "--patch", "given.patch", "--cache", "cache"]);
    let finished = command.current_dir(place.folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&finished.stderr).into_owned();
    assert!(finished.status.success() && said.contains("Verdict: solved (L5)"), "{said}");
}

#[test]
fn an_oracle_that_cannot_be_asked_keeps_no_other_from_it_and_is_told() {
    let place = Place::shop();
    let landlock = ["--sandbox", "landlock", "--mutants", "0"];
    let right = format!("def total(order):\n    return {RIGHT}\n");
    let left = "1 oracle was not asked: a server can be asked in the namespaces sandbox only";
    let (status, said) = place.verify("shop.py", &right, ORACLE, &landlock);
    assert!(status == 0 && said.contains(&format!("- black-box oracles: {left}")), "{said}");
    let total = "[[oracle]]\nargv = [\"python3\", \"-c\", \"import shop; \
                 print(shop.total([{'price': 3, 'count': 5}]))\"]\ncase = [{ stdout = \"15\" }]\n";
    let both = format!("{ORACLE}\n{total}");
    let (status, said) = place.verify("shop.py", &right, &both, &landlock);
    assert!(status == 0 && said.contains("Verdict: passes-visible"), "{said}");
    assert!(said.contains(&format!("1 black-box question answered rightly; {left}")), "{said}");
    let (status, said) = place.verify("shop.py", "def total(order):\n    return 6\n", &both, &landlock);
    assert!(status == 1 && said.contains("1 of 1 black-box question answered wrongly"), "{said}");
}

#[test]
fn a_base_that_does_not_answer_shows_nothing() {
    let place =
        Place::new(&[("serve.py", "raise SystemExit(0)\n"), ("test.sh", "grep -q mended serve.py\n")]);
    let same = "[[oracle]]\nargv = [\"python3\", \"serve.py\"]\nport = 8080\nseconds = 2\nsame_as_base = true\n\
                case = [{ request = { path = \"/\" } }]\n";
    let (status, said) = place.verify("serve.py", "raise SystemExit(0)  # mended\n", same, &[]);
    assert!(status == 0 && said.contains("- black-box oracles: no question was decided"), "{said}");
}

#[test]
fn an_answer_that_is_too_long_to_compare_is_none() {
    let place = Place::new(&[("say.py", "print('old')\n"), ("test.sh", "! grep -q old say.py\n")]);
    let oracle = "[[oracle]]\nargv = [\"python3\", \"say.py\"]\ncase = [{ matches = \"^x\" }]\n";
    let says = |n: usize| format!("print('x' * {n})\n");
    let (status, said) = place.verify("say.py", &says(1 << 19), oracle, &[]);
    assert!(status == 0, "{said}");
    let (status, said) = place.verify("say.py", &says(1 << 20), oracle, &[]);
    assert!(status == 1 && said.contains("1 of 1 black-box question answered wrongly"), "{said}");
}

#[test]
fn a_receipt_tells_nothing_of_the_oracles() {
    let place = Place::shop();
    let expression = format!("def total(order):\n    return {RIGHT}\n");
    let (status, said) = place.verify("shop.py", &expression, ORACLE, &["--write-receipt", "receipt.json"]);
    assert_eq!(status, 0, "{said}");
    let receipt = fs::read_to_string(place.path("receipt.json")).unwrap();
    assert!(!receipt.contains("nowhere") && receipt.contains("\"oracles\""), "{receipt}");
    let check = |more: &[&str]| {
        let mut command = regreen_command();
        command.args(["verify", "repository", "--receipt", "receipt.json", "--cache", "cache"]).args(more);
        let finished = command.current_dir(place.folder.path()).output().unwrap();
        (finished.status.code().unwrap(), String::from_utf8_lossy(&finished.stderr).into_owned())
    };
    let (status, said) = check(&["--oracle", "oracle.toml"]);
    assert!(status == 0 && said.contains("The receipt holds."), "{said}");
    let (status, said) = check(&[]);
    assert!(status == 6 && said.contains("digest of the oracles"), "{said}");
}

fn installed(program: &str) -> bool {
    let found = which::which(program).is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}
