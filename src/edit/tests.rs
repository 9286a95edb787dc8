//! Replies, good and bad, and what is read in them.

use super::*;

/// Files of a base: name and content; a name that ends in `@` is a link, one in `*` is executable.
fn base(files: &[(&str, &[u8])]) -> BTreeMap<RepoPath, File> {
    let kind = |name: &str| match name.chars().last() {
        Some('@') => FileKind::Link,
        Some('*') => FileKind::Executable,
        _ => FileKind::Plain,
    };
    let file = |(name, content): &(&str, &[u8])| {
        let path = RepoPath::new(name.trim_end_matches(['@', '*'])).unwrap();
        (path, File { kind: kind(name), content: content.to_vec() })
    };
    files.iter().map(file).collect()
}

fn reading(files: &[(&str, &[u8])], reply: &str) -> Edits {
    let files = base(files);
    read(reply, &|path| files.get(path).cloned())
}

/// Reads a reply that fits and compares what became of one file; `None` when it is gone.
#[track_caller]
fn fits(files: &[(&str, &[u8])], reply: &str, path: &str, after: Option<&[u8]>) {
    let edits = reading(files, reply);
    assert_eq!(edits.problems, [], "{reply}");
    let file = edits.patch.0.get(&RepoPath::new(path).unwrap());
    let file = file.unwrap_or_else(|| panic!("{path} is not touched by {reply}"));
    let text = file.as_ref().map(|file| String::from_utf8_lossy(&file.content).into_owned());
    assert_eq!(file.as_ref().map(|file| &file.content[..]), after, "{text:?} {reply}");
}

/// Reads a reply of which nothing fits and gives the only fault.
#[track_caller]
fn fault(files: &[(&str, &[u8])], reply: &str) -> Fault {
    let mut edits = reading(files, reply);
    assert_eq!(edits.patch, Patch::default(), "{reply}");
    assert_eq!(edits.problems.len(), 1, "{:?} {reply}", edits.problems);
    edits.problems.remove(0).fault
}

fn block(path: &str, old: &str, new: &str) -> String {
    format!("{path}\n```\n<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n```\n")
}

const A: (&str, &[u8]) =
    ("src/a.py", b"import os\n\ndef f(x):\n    y = x + 1\n    return y\n\ndef g(x):\n    return x\n");

#[test]
fn a_path_may_stand_in_many_ways_before_its_block() {
    let body = "<<<<<<< SEARCH\n    y = x + 1\n=======\n    y = x - 1\n>>>>>>> REPLACE\n";
    let after = std::str::from_utf8(A.1).unwrap().replace("x + 1", "x - 1");
    for head in [
        "src/a.py\n",
        "src/a.py\n```python\n",
        "```\nsrc/a.py\n",
        "```python\n# src/a.py\n",
        "**src/a.py**\n\n```\n",
        "### `src/a.py`:\n```\n",
        "File: src/a.py\n```\n",
        "**File:** `src/a.py`\n```\n",
        "```python src/a.py\n",
        "```python:src/a.py\n",
        "./src/a.py\n```\n",
        "// src/a.py\n```\n",
        "In `src/a.py`, the sign is wrong:\n\n```python\n",
        "src/a.py\n\nThe sign is wrong, and so is the rest of it.\n\n```\n",
        "I looked at `src/b.py` too.\n\nsrc/a.py\n~~~~\n",
    ] {
        let reply = format!("Let me see.\n\n{head}{body}```\nThat is all.\n");
        fits(&[A, ("src/b.py", b"y\n")], &reply, "src/a.py", Some(after.as_bytes()));
        fits(&[A], &reply.replace('\n', "\r\n"), "src/a.py", Some(after.as_bytes()));
    }
}

#[test]
fn markers_may_be_longer_or_shorter_and_indented() {
    let after = std::str::from_utf8(A.1).unwrap().replace("return y", "return -y");
    for (open, middle, close) in [(5, 5, 5), (9, 9, 9), (7, 6, 8)] {
        let reply = format!(
            "src/a.py\n{} SEARCH\n    return y\n{}\n    return -y\n{} REPLACE",
            "<".repeat(open),
            "=".repeat(middle),
            ">".repeat(close)
        );
        fits(&[A], &reply, "src/a.py", Some(after.as_bytes()));
    }
    let listed = "1. src/a.py\n   src/a.py\n   ```\n   <<<<<<< SEARCH\n       return y\n   =======\n       return -y\n   >>>>>>> REPLACE\n   ```";
    fits(&[A], listed, "src/a.py", Some(after.as_bytes()));
    let heading: (&str, &[u8]) = ("doc.rst", b"Title\n=======\nold\n");
    let reply = "doc.rst\n<<<<<<<<< SEARCH\n=======\nold\n=========\n=======\nnew\n>>>>>>>>> REPLACE\n";
    fits(&[heading], reply, "doc.rst", Some(b"Title\n=======\nnew\n"));
    assert_eq!(fault(&[heading], &block("doc.rst", "=======\nold\n", "=======\nnew\n")), Fault::Dividers);
    let own: (&str, &[u8]) = ("own.md", b"<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n");
    let reply = "own.md\n<<<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n=========\nc\n>>>>>>>>> REPLACE\n";
    fits(&[own], reply, "own.md", Some(b"<<<<<<< SEARCH\nc\n"));
}

#[test]
fn blocks_of_one_file_follow_each_other() {
    let two = "src/a.py\n```\n<<<<<<< SEARCH\n    y = x + 1\n=======\n    y = x + 2\n    z = y\n>>>>>>> REPLACE\n\
               <<<<<<< SEARCH\n    z = y\n    return y\n=======\n    return y\n>>>>>>> REPLACE\n```\n\
               And the other function:\n```\n<<<<<<< SEARCH\n    return x\n=======\n    return 0\n>>>>>>> REPLACE\n```\n";
    let after = b"import os\n\ndef f(x):\n    y = x + 2\n    return y\n\ndef g(x):\n    return 0\n";
    fits(&[A], two, "src/a.py", Some(after));
    // The first block writes a second `one`; the second block speaks of the base's.
    let copy = format!("{}{}", block("t", "two\n", "one\n"), block("t", "one\n", "1\n"));
    fits(&[("t", b"one\ntwo\n")], &copy, "t", Some(b"1\none\n"));
}

#[test]
fn whitespace_is_forgiven_where_it_leaves_no_doubt() {
    type Case = (&'static [u8], &'static str, &'static str, &'static [u8]);
    let cases: [Case; 11] = [
        (b"a  \nb\n", "a\nb\n", "a\nc\n", b"a  \nc\n"),
        (b"a\r\nb\r\n", "a\nb\n", "a\nc\nd\n", b"a\r\nc\r\nd\r\n"),
        (b"a\nb\r\nc\nd\n", "b\nc\n", "b\nx\n", b"a\nb\r\nx\nd\n"),
        (b"\xef\xbb\xbfa\nb\n", "a\n", "c\n", b"\xef\xbb\xbfc\nb\n"),
        (b"a\nb", "b\n", "c\nd\n", b"a\nc\nd"),
        (b"a\r\nb", "b\n", "b\nd\n", b"a\r\nb\r\nd"),
        (b"a\nb", "b\n", "", b"a"),
        (
            b"  if x:\n\n      y\n",
            "if x:\n\n    y\n",
            "if x:\n\n    z\n    z\n",
            b"  if x:\n\n      z\n      z\n",
        ),
        (b"if x:\n\ty\n", "\tif x:\n\t\ty\n", "\tif x:\n\t\tz\n", b"if x:\n\tz\n"),
        (b"a\nb\n", "\na\n\n", "\nc\n\n", b"c\nb\n"),
        (b"caf\xe9\nb\n\xff\n", "caf\u{fffd}\nb\n", "caf\u{fffd}\nc\n", b"caf\xe9\nc\n\xff\n"),
    ];
    for (before, old, new, after) in cases {
        fits(&[("t", before)], &block("t", old, new), "t", Some(after));
    }
    let executable = reading(&[("run*", b"a\n")], &block("run", "a\n", "b\n"));
    let file = executable.patch.0.values().next().unwrap().clone().unwrap();
    assert_eq!(file.kind, FileKind::Executable);
}

#[test]
fn what_leaves_a_doubt_is_a_problem() {
    let files: &[(&str, &[u8])] = &[
        ("t", b"a\nb\nc\na\nb\n"),
        ("if", b"if x:\n  y\n"),
        ("l@", b"src"),
        ("latin", b"caf\xe9 1\n"),
        ("e", b""),
    ];
    let t = |old: &str, new: &str| block("t", old, new);
    let elided = |line: &str| Fault::Elided(line.to_owned());
    let occupied = |path: &str| Fault::Occupied(path.to_owned());
    let link = "diff --git a/m b/m\nnew file mode 120000\n--- /dev/null\n+++ b/m\n@@ -0,0 +1 @@\n+/etc\n";
    let cases = [
        (t("a\nb\n", "x\n"), Fault::Ambiguous(vec![1, 4])),
        (t("a \nb\n", "x\n"), Fault::Ambiguous(vec![1, 4])),
        (t(" a\n b\n", " x\n"), Fault::Ambiguous(vec![1, 4])),
        (t("b\na\n", "x\n"), Fault::NotFound),
        (block("if", "if x:\n    y\n", "z\n"), Fault::NotFound),
        (block("u.py", "a\n", "x\n"), Fault::NoFile),
        (t("c\n", "c\n"), Fault::NoChange),
        (t("c\n\n", "c\n"), Fault::NoChange),
        (t("", "x\n"), Fault::Exists),
        (t("a\n...\nb\n", "x\n"), elided("...")),
        (t("c\n", "// ... existing code ...\nx\n"), elided("// ... existing code ...")),
        (t("c\n", "# rest unchanged...\n# rest of it...\n"), elided("# rest unchanged...")),
        (block("l", "src\n", "x\n"), Fault::Link),
        (block("l", "", "x\n"), Fault::Link),
        (block("l/new.py", "", "x\n"), occupied("l")),
        ("<<<<<<< SEARCH\nc\n=======\nx\n>>>>>>> REPLACE\n".to_owned(), Fault::NoPath),
        ("t\n<<<<<<< SEARCH\nc\n=======\nx\n".to_owned(), Fault::Unfinished),
        ("t\n<<<<<<< SEARCH\nc\n>>>>>>> REPLACE\n".to_owned(), Fault::Unfinished),
        (block("latin", "caf\u{fffd} 1\n", "caf\u{fffd} 2\n"), Fault::NotText),
        ("*** Delete: u".to_owned(), Fault::NoFile),
        ("*** Rename: t -> e".to_owned(), occupied("e")),
        ("*** Rename: t -> t/u".to_owned(), occupied("t")),
        ("--- a/t\n+++ b/t\n@@ -2,0 +3 @@\n+x\n".to_owned(), Fault::NoContext),
        (
            "diff --git a/t b/t\nBinary files a/t and b/t differ\n".to_owned(),
            Fault::Unsupported("a binary file"),
        ),
        (link.to_owned(), Fault::Unsupported("a link or submodule")),
    ];
    for (reply, expected) in cases {
        assert_eq!(fault(files, &reply), expected, "{reply}");
    }
    let deep = "d/".repeat(40);
    for path in ["../", "/etc/passwd", ".git/", "a/../../", "a\\..\\b", &deep] {
        let found = fault(files, &block(&format!("{path}x.py"), "", "x\n"));
        assert!(matches!(found, Fault::BadPath(_)), "{path}: {found:?}");
    }
}

#[test]
fn files_are_made_deleted_and_renamed() {
    fits(&[A], &block("src/new/b.py", "", "x = 1\n"), "src/new/b.py", Some(b"x = 1\n"));
    fits(&[A], &block("src/__init__.py", "", ""), "src/__init__.py", Some(b""));
    fits(&[("e", b"")], &block("e", "", "x\n"), "e", Some(b"x\n"));
    fits(&[A], "```\n*** Delete: src/a.py\n```", "src/a.py", None);
    let moved = "*** Rename: src/a.py -> src/c.py\n<<<<<<< SEARCH\nimport os\n\n=======\n>>>>>>> REPLACE\n";
    fits(&[A], moved, "src/c.py", Some(&A.1[11..]));
    fits(&[A], moved, "src/a.py", None);
    let anew = format!("*** Delete: run\n{}", block("run", "", "new\n"));
    let edits = reading(&[("run*", b"old\n")], &anew);
    assert_eq!(edits.patch.0.values().next().unwrap().as_ref().unwrap().kind, FileKind::Executable);
}

#[test]
fn a_problem_says_what_is_near_and_what_fits() {
    let reply = block("src/a.py", "    y = x + 2\n    return y\n", "    return x\n")
        + &block("src/a.py", "import os\n", "import re\n");
    let edits = reading(&[A], &reply);
    assert_eq!((edits.blocks, edits.problems.len(), edits.patch.0.len()), (2, 1, 1));
    let said = edits.complaint();
    assert!(said.contains("Edit 1 (src/a.py)") && said.contains("lines are 3 to 6"), "{said}");
    assert!(said.contains("    y = x + 1\n    return y") && said.contains("The other edit fits"), "{said}");
    let near = reading(&[A], &block("src/a.py", "    y = (x + 1)\n", "z\n")).complaint();
    assert!(near.contains("    y = x + 1"), "{near}");
    assert!(reading(&[A], &block("src/a.py", "zzz\n", "z\n")).problems[0].nearest.is_empty());
    let hostile = reading(&[("t", b"\x1b[2Ja b c\n")], &block("t", "a b c d\n", "z\n")).complaint();
    assert!(!hostile.contains('\x1b'), "{hostile:?}");
}

#[test]
fn words_alone_are_no_edit() {
    for reply in [
        "",
        "I could not find it.",
        "```python\nprint(1)\n```",
        "a <<<<<<< SEARCH b",
        "--- \nrule\n",
        ">>>>>>> REPLACE\n=======",
    ] {
        assert_eq!(reading(&[A], reply), Edits::default(), "{reply}");
    }
}

#[test]
fn diffs_apply_by_their_context_and_not_by_their_line_numbers() {
    let wrong_numbers = "```diff\n--- a/src/a.py\n+++ b/src/a.py\n@@ -90,3 +90,4 @@ def f(x):\n def f(x):\n-    y = x + 1\n+    y = x\n+    y += 2\n     return y\n@@\n def g(x):\n-    return x\n+    return 0\n```\n- a list item\n";
    let after: &[u8] =
        b"import os\n\ndef f(x):\n    y = x\n    y += 2\n    return y\n\ndef g(x):\n    return 0\n";
    fits(&[A], wrong_numbers, "src/a.py", Some(after));
    let twice: (&str, &[u8]) = ("t", b"a\nb\nc\na\nb\n");
    fits(&[twice], "--- t\n+++ t\n@@ -4,2 +4,2 @@\n a\n-b\n+x\n", "t", Some(b"a\nb\nc\na\nx\n"));
    assert_eq!(fault(&[twice], "--- t\n+++ t\n@@ -3,2 +3,2 @@\n a\n-b\n+x\n"), Fault::Ambiguous(vec![1, 4]));
    // Removed and added lines that look like a head.
    fits(
        &[("q", b"-- one\nx\n")],
        "--- a/q\n+++ b/q\n@@ -1,2 +1,2 @@\n--- one\n+++ two\n x\n",
        "q",
        Some(b"++ two\nx\n"),
    );
    fits(
        &[("q", b"a\nb")],
        "--- a/q\n+++ b/q\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n",
        "q",
        Some(b"a\nc\n"),
    );
    fits(
        &[("q", b"a\n\nb\n")],
        "--- a/q\n+++ b/q\n@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n-- \n2.43.0\n",
        "q",
        Some(b"a\n\nc\n"),
    );
}

#[test]
fn diffs_that_git_writes_are_read_back() {
    let before = base(&[
        A,
        ("b c.txt", b"one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n"),
        ("gone", b"x\n"),
        ("empty", b""),
        ("open", b"no end"),
        ("crlf", b"a\r\nb\r\n"),
    ]);
    let after = base(&[
        ("src/a.py", b"import os\n\ndef f(x):\n    return x\n\ndef g(x):\n    return x\n"),
        ("b c.txt", b"1\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n10\n"),
        ("empty*", b""),
        ("open", b"an end\n"),
        ("crlf", b"a\r\nc\r\n"),
        ("new/file*", b"#!/bin/sh\n"),
        ("new/open", b"x\ny"),
        ("\u{e4}.txt", b"x\n"),
    ]);
    let mut patch = Patch(after.clone().into_iter().map(|(path, file)| (path, Some(file))).collect());
    patch.0.insert(RepoPath::new("gone").unwrap(), None);
    let diff = patch.unified(|path| before.get(path).cloned());
    let edits = read(&diff, &|path| before.get(path).cloned());
    assert_eq!(edits.problems, [], "{diff}");
    assert_eq!(edits.patch, patch, "{diff}");

    let renamed = "diff --git a/gone b/here now\nsimilarity index 100%\nrename from gone\nrename to here now\n\
                   diff --git \"a/\\303\\244\" \"b/\\303\\244\"\nnew file mode 100644\n--- /dev/null\n+++ \"b/\\303\\244\"\n@@ -0,0 +1 @@\n+x\n\
                   diff --git a/open b/open\nold mode 100644\nnew mode 100755\n";
    let edits = read(renamed, &|path| before.get(path).cloned());
    assert_eq!(edits.problems, []);
    let paths: Vec<&str> = edits.patch.paths().map(RepoPath::as_str).collect();
    assert_eq!(paths, ["gone", "here now", "open", "\u{e4}"]);
}

#[test]
fn the_replies_of_all_fixtures_fit() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut replies = 0;
    for fixture in std::fs::read_dir(fixtures).unwrap() {
        let fixture = fixture.unwrap().path();
        let Ok(folder) = std::fs::read_dir(fixture.join("replies")) else {
            continue;
        };
        for reply in folder {
            let path = reply.unwrap().path();
            let reply = std::fs::read_to_string(&path).unwrap();
            let repo = fixture.join("repo");
            let edits = read(&reply, &|path| std::fs::read(path.under(&repo)).ok().map(File::plain));
            assert_eq!(edits.problems, [], "{}", path.display());
            assert!(!edits.patch.is_empty(), "{}", path.display());
            replies += 1;
        }
    }
    assert!(replies > 40);
}

/// A small linear congruential generator (Knuth's MMIX constants); the cases are the same on every run.
fn chance(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

#[test]
fn no_reply_makes_it_panic() {
    let files = base(&[A, ("t", b"a\n\xff\r\nc\na\nb"), ("l@", b"t"), ("e", b"")]);
    let whole = [
        block("src/a.py", "    y = x + 1\n", "    y = \u{e4}\n"),
        block("t", "c\n", "\n"),
        "*** Rename: t -> u\n*** Delete: e\n*** Delete:\n*** Rename:  -> \n".to_owned(),
        "diff --git \"a/\\377\" b/x\n--- a/t\n+++ b/t\n@@ -1,9 +1 @@\n a\n-c\n+d\n\\ No newline\n@@\n+\n"
            .to_owned(),
        block("", "", ""),
    ]
    .concat();
    let mut state = 7;
    for end in 0..whole.len() {
        if whole.is_char_boundary(end) {
            read(&whole[..end], &|path| files.get(path).cloned());
            read(&whole[end..], &|path| files.get(path).cloned());
        }
    }
    let lines: Vec<&str> = whole.lines().collect();
    for _ in 0..2000 {
        let count = chance(&mut state, 30);
        let mixed: Vec<&str> = (0..count).map(|_| lines[chance(&mut state, lines.len())]).collect();
        let edits = read(&mixed.join("\n"), &|path| files.get(path).cloned());
        assert!(edits.complaint().len() < 20_000);
        assert!(edits.problems.len() <= edits.blocks);
    }
}

#[test]
fn large_and_many_edits_come_to_an_end() {
    let numbers: Vec<String> = (0..2000).map(|n| format!("line {n}\n")).collect();
    let numbers = numbers.concat();
    let files: &[(&str, &[u8])] = &[("t", numbers.as_bytes()), ("same", &b"x\n".repeat(20_000))];
    let many: Vec<String> =
        (0..10_010).map(|n| block("t", &format!("line {n}\n"), &format!("row {n}\n"))).collect();
    let edits = reading(files, &many.concat());
    assert_eq!((edits.blocks, edits.problems.len()), (10_001, 8001));
    assert!(edits.complaint().len() < 20_000);
    let long = "word ".repeat(1 << 20);
    assert_eq!(reading(files, &long), Edits::default());
    assert_eq!(reading(files, &block("t", &long, "x\n")).problems.len(), 1);
    let same = block("same", &("x\n".repeat(19_990) + "y\n"), "z\n");
    assert_eq!(fault(files, &same), Fault::NotFound);
    assert!(matches!(fault(files, &block("same", &"x\n".repeat(50), "z\n")), Fault::Ambiguous(_)));
    let open = "t\n<<<<<<< SEARCH\n".repeat(10_000);
    assert!(reading(files, &open).patch.is_empty());
}

#[test]
fn a_file_read_into_lines_and_written_is_the_same() {
    for content in [
        &b""[..],
        b"\n",
        b"\r\n",
        b"a",
        b"a\r",
        b"a\n\r",
        b"a\r\nb\r",
        b"\n\n",
        b"\xff\r\n\xfe",
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbfa\r\nb\n",
    ] {
        assert_eq!(Text::of(content).bytes(), content);
    }
}

#[test]
fn hunks_left_out_leave_the_base_there() {
    let before = base(&[("t", b"1\n2\n3\n4\n5"), ("gone", b"x\n"), ("run", b"a\nb\n"), ("l@", b"t")]);
    let after = base(&[("t", b"one\n2\n2b\n3\n4\nfive"), ("run*", b"a\nB\n"), ("new", b"n\n"), ("l@", b"u")]);
    let mut patch = Patch(after.into_iter().map(|(path, file)| (path, Some(file))).collect());
    patch.0.insert(RepoPath::new("gone").unwrap(), None);
    let hunks = Hunks::of(&patch, |path| before.get(path).cloned());
    assert_eq!(hunks.len(), 8);
    assert_eq!(hunks.without(&BTreeSet::new()), patch);
    assert_eq!(hunks.without(&(0..8).collect()), Patch::default());
    let content = |patch: &Patch, path: &str| {
        let file = patch.0.get(&RepoPath::new(path).unwrap()).cloned().flatten();
        file.map(|file| String::from_utf8(file.content).unwrap())
    };
    // In order of paths: gone, l, new, run (content, kind), t (three).
    let less = hunks.without(&BTreeSet::from([0, 3, 6]));
    assert_eq!(content(&less, "t").as_deref(), Some("one\n2\n3\n4\nfive"));
    assert_eq!(content(&less, "run").as_deref(), Some("a\nb\n"));
    assert!(!less.0.contains_key(&RepoPath::new("gone").unwrap()));
    for mask in 0..256u32 {
        let dropped = (0..8).filter(|hunk| mask >> hunk & 1 == 1).collect();
        let part = hunks.without(&dropped);
        let again = Hunks::of(&part, |path| before.get(path).cloned());
        assert_eq!(again.len(), 8 - dropped.len(), "{dropped:?}");
    }
    assert!(Hunks::of(&Patch::default(), |_| None).is_empty());
}
