//! What workspaces promise to whoever relies on a verdict, seen from the outside: nothing of one candidate is
//! left for the next, warm builds are neither stale nor built anew, git of the host runs nothing, and a run that
//! was killed leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use regreen::ledger::Ledger;
use regreen::record::{Event, Record};
use regreen::verdict::Verdict;

use crate::{binary, regreen_command};

/// A repository with scripted replies, and room for what regreen writes.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(files: &[(&str, &str)], replies: &[&str]) -> Place {
        let place = Place { folder: tempfile::tempdir_in("/var/tmp").unwrap() };
        for (name, text) in files {
            place.write(&format!("repository/{name}"), text);
        }
        git2::Repository::init(place.path("repository")).unwrap();
        for (number, reply) in replies.iter().enumerate() {
            place.write(&format!("replies/{}.md", number + 1), reply);
        }
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn fix(&self, more: &[&str]) -> std::process::Command {
        let mut command = regreen_command();
        command.arg("fix").current_dir(self.path("repository")).stdin(Stdio::null());
        command.args([Path::new("--out"), &self.path("runs"), Path::new("--cache"), &self.path("cache")]);
        command.args([
            "--sandbox",
            "namespaces",
            "--model",
            &format!("replay:{}", self.path("replies").display()),
        ]);
        command.args(more);
        command
    }

    fn records(&self) -> Vec<Record> {
        let run = fs::read_dir(self.path("runs")).unwrap().next().unwrap().unwrap().path();
        Ledger::read(&run).unwrap()
    }

    /// What the first failing test said, on the base and in every attempt that was red.
    fn messages(&self) -> Vec<String> {
        let said = |record: &Record| match &record.event {
            Event::Measured { baseline } => {
                let target = baseline.targets.first().expect("there is a target");
                Some(baseline.run.tests[target].message.clone())
            }
            Event::Judged { verdict: Verdict::Red(failure), .. } => {
                Some(failure.tests.first().expect("a test failed").message.clone())
            }
            _ => None,
        };
        self.records().iter().filter_map(said).collect()
    }
}

/// A reply that replaces one line of a file by another.
fn reply(file: &str, old: &str, new: &str) -> String {
    format!("```\n{file}\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n```\n")
}

/// The word behind `name=` in a message.
fn word<'a>(message: &'a str, name: &str) -> &'a str {
    let (_, rest) =
        message.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("{name} is not in {message}"));
    rest.split(|c: char| !c.is_alphanumeric()).next().unwrap()
}

#[test]
fn a_candidate_that_leaves_the_answer_for_a_later_run_helps_no_run() {
    // Right from the second run in one tree or home on, wherever it is that something stays.
    let cheat = "for d in . \"$HOME\" \"$TMPDIR\" /tmp /dev/shm; do [ -e \"$d/.seen\" ] && yes=1; echo > \"$d/.late\"; done; \
                 [ -n \"$yes\" ] && echo 5 || echo 0";
    let test = "echo 1..1\n[ \"$(sh add.sh)\" = 5 ] && echo ok 1 - adds || echo not ok 1 - adds\n\
                for d in . \"$HOME\" \"$TMPDIR\" /tmp /dev/shm; do mv \"$d/.late\" \"$d/.seen\" 2>/dev/null; done; true\n";
    let replies = [reply("add.sh", "echo 1", cheat), reply("add.sh", "echo 1", &format!("{cheat}; :"))];
    let place = Place::new(
        &[("add.sh", "echo 1\n"), ("test.sh", test), (".gitignore", ".seen\n.late\n")],
        &replies.each_ref().map(String::as_str),
    );
    let output = place.fix(&["--test-cmd", "sh test.sh", "--test-format", "tap"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(place.messages().len(), 3);
}

#[test]
fn cargo_builds_what_changed_and_nothing_else() {
    // The dependency says when it was built, the library what it was built from.
    let stamp = "fn main() { let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos(); \
                 let out = std::env::var(\"OUT_DIR\").unwrap() + \"/stamp.rs\"; \
                 std::fs::write(out, format!(\"pub const STAMP: u128 = {now};\")).unwrap(); \
                 println!(\"cargo:rerun-if-changed=build.rs\"); }";
    let manifest = |name: &str, more: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}")
    };
    let (deep, top) = (
        manifest("deep", ""),
        manifest("top", "[dependencies]\ndeep = { path = \"deep\" }\n[workspace]\nmembers = [\"deep\"]\n"),
    );
    let library = "pub fn value() -> u32 {\n    10\n}\n";
    let test = "#[test]\nfn value() { assert!(top::value() == 42, \"value={} stamp={}\", top::value(), deep::STAMP); }\n";
    let replies = ["11", "12", "42"].map(|number| reply("src/lib.rs", "    10", &format!("    {number}")));
    let place = Place::new(
        &[
            ("Cargo.toml", top.as_str()),
            ("src/lib.rs", library),
            ("tests/value.rs", test),
            ("deep/Cargo.toml", &deep),
            ("deep/build.rs", stamp),
            ("deep/src/lib.rs", "include!(concat!(env!(\"OUT_DIR\"), \"/stamp.rs\"));\n"),
        ],
        &replies.each_ref().map(String::as_str),
    );
    let output = place.fix(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = place.messages();
    let values: Vec<&str> = messages.iter().map(|message| word(message, "value")).collect();
    assert_eq!(values, ["10", "11", "12"], "a stale build was tested");
    let stamps: Vec<&str> = messages.iter().map(|message| word(message, "stamp")).collect();
    assert!(stamps.iter().all(|stamp| *stamp == stamps[0]), "the dependency was built anew: {stamps:?}");
}

#[test]
fn make_builds_what_changed_and_nothing_else() {
    let makefile = "tool: stamp.txt value.txt\n\tcat value.txt stamp.txt > tool\n\
                    value.txt: value.in\n\tcp value.in value.txt\n\
                    stamp.txt: stamp.in\n\techo stamp=$$(date +%s%N) > stamp.txt\n\
                    check: tool\n\t@grep -q value=42 tool || { cat tool; exit 1; }\n";
    let replies = ["value=11", "value=12", "value=42"].map(|value| reply("value.in", "value=10", value));
    let place = Place::new(
        &[
            ("Makefile", makefile),
            ("value.in", "value=10\n"),
            ("stamp.in", ""),
            (".gitignore", "*.txt\ntool\n"),
        ],
        &replies.each_ref().map(String::as_str),
    );
    let output = place.fix(&["--build-cmd", "make tool", "--test-cmd", "make check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = place.messages();
    let values: Vec<&str> = messages.iter().map(|message| word(message, "value")).collect();
    assert_eq!(values, ["10", "11", "12"], "a stale build was tested");
    let stamps: Vec<&str> = messages.iter().map(|message| word(message, "stamp")).collect();
    assert!(stamps.iter().all(|stamp| *stamp == stamps[0]), "everything was built anew: {stamps:?}");
}

#[test]
fn git_of_the_host_runs_nothing_that_a_repository_or_a_candidate_configures() {
    let test = "echo 1..1\n[ \"$(sh add.sh)\" = 5 ] && echo ok 1 - adds || echo not ok 1 - adds\n";
    let place = Place::new(&[("add.sh", "echo 1\n"), ("test.sh", test)], &["prose"]);
    let mark = place.path("ran");
    let touch = format!("#!/bin/sh\ntouch {}\n", mark.display());
    place.write("evil", &touch);
    place.write("repository/.gitattributes", "* filter=evil diff=evil merge=evil\n");
    let evil = place.path("evil").display().to_string();
    fs::set_permissions(place.path("evil"), fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!(
        "[core]\n\tfsmonitor = {evil}\n\thooksPath = {hooks}\n\tsshCommand = {evil}\n\tpager = {evil}\n\
         [filter \"evil\"]\n\tclean = {evil}\n\tsmudge = {evil}\n\tprocess = {evil}\n\trequired = true\n\
         [diff]\n\texternal = {evil}\n[diff \"evil\"]\n\ttextconv = {evil}\n\tcommand = {evil}\n\
         [credential]\n\thelper = !{evil}\n[gpg]\n\tprogram = {evil}\n[commit]\n\tgpgsign = true\n",
        hooks = place.path("hooks").display()
    );
    for hook in ["pre-commit", "post-commit", "post-checkout", "reference-transaction", "post-index-change"] {
        for folder in ["hooks", "repository/.git/hooks"] {
            place.write(&format!("{folder}/{hook}"), &touch);
            fs::set_permissions(place.path(folder).join(hook), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    place.write("config", &config);
    let mut own = fs::read_to_string(place.path("repository/.git/config")).unwrap();
    own.push_str(&config);
    place.write("repository/.git/config", &own);
    let repository = git2::Repository::open(place.path("repository")).unwrap();
    let mut index = repository.index().unwrap();
    for name in [".gitattributes", "add.sh", "test.sh"] {
        index.add_path(Path::new(name)).unwrap();
    }
    index.write().unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let author = git2::Signature::now("someone", "someone@example.org").unwrap();
    repository.commit(Some("HEAD"), &author, &author, "begin", &tree, &[]).unwrap();
    // The agent plants the same in the tree that it works in.
    place.write(
        "agent",
        "#!/bin/sh\necho 'echo 5' > add.sh\nprintf '[core]\\n\\tfsmonitor = sh -c false\\n' >> .git/config\n\
         mkdir -p .git/hooks sub\ncp add.sh .git/hooks/post-index-change\nchmod +x .git/hooks/post-index-change\n\
         cp -r .git sub/.git\necho '* filter=evil' > .gitattributes\n",
    );
    fs::set_permissions(place.path("agent"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command =
        place.fix(&["--test-cmd", "sh test.sh", "--test-format", "tap", "--branch", "green", "--apply"]);
    let agent = format!("command:{}", place.path("agent").display());
    let output = command.args(["--model", &agent]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(place.path("repository/add.sh")).unwrap(), "echo 5\n");
    assert!(!place.path("repository/sub").exists(), "the planted repository was delivered");
    assert!(!mark.exists(), "something that the repository configures ran on the host");
}

/// Where the scratch folders of a run are mounted, in all processes' mount tables.
fn mounts_of(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let tables = entries.filter_map(|entry| fs::read_to_string(entry.path().join("mounts")).ok());
    let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let lines = tables.flat_map(|table| table.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| line.contains(&name)).collect()
}

/// Processes that belong to a run: what their command line or folder says.
fn processes_of(folder: &Path) -> Vec<String> {
    let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| {
        let line = String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).ok()?).replace('\0', " ");
        let folder = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        (line.contains(&name) || folder.to_string_lossy().contains(&name)).then_some(line)
    });
    lines.collect()
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_nothing_behind() {
    // The number finds this test's daemons in the process list.
    let mark = format!("60.{}", std::process::id());
    let test = format!(
        "(setsid sh -c 'trap \"\" TERM HUP; sleep {mark}' >/dev/null 2>&1 &)\necho 1..1\nsleep 0.2\n\
         [ \"$(sh add.sh)\" = 5 ] && echo ok 1 - adds || echo not ok 1 - adds\n"
    );
    let wrong: Vec<String> = (10..15).map(|n| reply("add.sh", "echo 1", &format!("echo {n}"))).collect();
    let replies: Vec<&str> = wrong.iter().map(String::as_str).collect();
    let place = Place::new(&[("add.sh", "echo 1\n"), ("test.sh", &test)], &replies);
    // A generator that anybody can write down; the moments differ from machine to machine all the same.
    let mut seed = 20_261_126_u64;
    for round in 0..20 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_millis((seed >> 33) % 2500);
        let mut command = place.fix(&["--test-cmd", "sh test.sh", "--test-format", "tap", "--attempts", "5"]);
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        run.kill().unwrap();
        run.wait().unwrap();
        let clean = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            processes_of(place.folder.path()).is_empty() && mounts_of(place.folder.path()).is_empty()
        });
        let left = (processes_of(place.folder.path()), mounts_of(place.folder.path()));
        assert!(clean, "round {round}, killed after {moment:?}: {left:?}");
    }
    let sleepers = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == format!("sleep\0{mark}\0").as_bytes())
    });
    assert_eq!(sleepers.count(), 0, "a daemon survived");
    // The next run sweeps what the killed ones had on the disk, and leaves nothing of its own.
    place.write("replies/1.md", &reply("add.sh", "echo 1", "echo 5"));
    let output = place.fix(&["--test-cmd", "sh test.sh", "--test-format", "tap"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let left: Vec<_> =
        fs::read_dir(place.path("cache")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
}

/// Started as root, these tests and the attacks are run once more by an ordinary user.
#[test]
fn an_ordinary_user_is_as_safe_as_root() {
    use std::os::unix::process::CommandExt;
    if !nix::unistd::getuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let [tests, program, home] = ["tests", "regreen", "home"].map(|name| folder.path().join(name));
    // Where they were built may be closed to others.
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    fs::copy(binary(), &program).unwrap();
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(61_003), Some(61_003)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = std::process::Command::new(&tests);
    command.args(["attacks::", "git_of_the_host", "leaves_nothing_behind", "a_later_run"]);
    // Engines give an ordinary user only the ids that the machine's administrator has set aside.
    command.args(["--skip", "a_container"]);
    command.env("REGREEN_TEST_BINARY", &program).env("HOME", &home).current_dir("/");
    let output = command.uid(61_003).gid(61_003).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("leaves_nothing_behind ... ok") && !said.contains(" 0 passed"), "{said}");
}

#[test]
fn a_toolchains_library_is_compiled_once_and_nobody_can_change_it() {
    // What is compiled says when, so that it can be told from what is compiled again; the tests try to poison it.
    let profile = "about = 'tests in TAP'\ndetect = [{ file = 'tapped' }]\nprograms = ['sh']\nremedy = ''\n\
        protected = []\nsources = []\n[library]\nversion = ['echo', '1']\n\
        commands = [['sh', '-c', 'date +made=%s%N > $HOME/library']]\n\
        [test]\nargv = ['sh', 'test.sh']\nformat = 'tap'\ncompiler = 'any'\n";
    let test = "echo 1..1; echo 'not ok 1 - red'; echo \"  # $(cat ~/library)\"; echo made=0 > ~/library\n";
    let place = Place::new(
        &[("tapped", ""), ("a.sh", "echo 1\n"), ("test.sh", test)],
        &[&reply("a.sh", "echo 1", "echo 2")],
    );
    place.write("harness/toolchains/tapped.toml", profile);
    let harness = place.path("harness");
    for _ in 0..2 {
        let output =
            place.fix(&["--attempts", "1", "--harness", harness.to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let runs =
        fs::read_dir(place.path("runs")).unwrap().map(|run| Ledger::read(&run.unwrap().path()).unwrap());
    let said: Vec<String> = runs.map(|records| format!("{records:?}")).collect();
    let made = word(&said[0], "made");
    assert!(made.len() > 15 && said.iter().all(|said| word(said, "made") == made), "{said:?}");
    let homes = fs::read_dir(place.path("cache/homes")).unwrap().map(|home| home.unwrap().path());
    let kept: Vec<String> = homes.filter_map(|home| fs::read_to_string(home.join("library")).ok()).collect();
    assert_eq!(kept, [format!("made={made}\n")]);
}
