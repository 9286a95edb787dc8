//! What people copy and what GitHub reads: `action.yml`, its installer, the ready workflows. Linted by actionlint and
//! zizmor; the installer meets releases that are right, wrong and absent.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::github::Server;
use crate::run_action::runs_here;
use crate::{binary, root};

fn workflows() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["docs/workflows", ".github/workflows"] {
        found.extend(fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    assert!(found.len() >= 4, "{found:?}");
    found
}

/// A linter's output, where it is installed; `None` tells so, and fails CI.
fn lint(program: &str, arguments: &[&str], files: &[PathBuf]) -> Option<Output> {
    match Command::new(program).args(arguments).args(files).current_dir(root()).output() {
        Ok(done) => Some(done),
        Err(error) => {
            eprintln!("SKIPPED: {program} is missing: {error}");
            assert!(std::env::var_os("CI").is_none(), "{program} is missing: scripts/install-toolchains");
            None
        }
    }
}

fn assert_clean(done: &Output) {
    let said = [done.stdout.as_slice(), &done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn actionlint_finds_nothing_in_the_workflows() {
    if let Some(done) = lint("actionlint", &[], &workflows()) {
        assert_clean(&done);
    }
}

#[test]
fn zizmor_finds_nothing_in_the_workflows_and_the_action() {
    let files = [workflows(), vec![root().join("action.yml")]].concat();
    let arguments = ["--offline", "--no-progress", "--pedantic", "--strict-collection"];
    if let Some(done) = lint("zizmor", &arguments, &files) {
        assert_clean(&done);
    }
}

#[test]
fn every_action_that_is_not_ours_is_pinned_by_its_commit() {
    for file in workflows() {
        for line in fs::read_to_string(&file).unwrap().lines() {
            let Some(used) = line.trim_start_matches([' ', '-']).strip_prefix("uses: ") else { continue };
            let (name, rest) = used.split_once('@').unwrap();
            let (commit, version) = rest.split_once(" # ").unwrap();
            let pinned = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
            assert!(
                name == "SOMEBODY/regreen" || (pinned && version.starts_with('v')),
                "{}: {line}",
                file.display()
            );
        }
    }
}

#[test]
fn no_expression_stands_in_a_line_for_a_shell() {
    let files = [workflows(), vec![root().join("action.yml")]].concat();
    for file in files {
        let mut shell = None;
        for line in fs::read_to_string(&file).unwrap().lines() {
            let indent = line.len() - line.trim_start().len();
            let key = line.trim_start().trim_start_matches("- ");
            if key.starts_with("run:") {
                shell = Some(indent);
            } else if shell.is_some_and(|at| indent <= at) && !line.trim().is_empty() {
                shell = None;
            }
            assert!(shell.is_none() || !line.contains("${{"), "{}: {line}", file.display());
        }
    }
}

#[test]
fn every_input_reaches_the_program_and_is_in_the_manual() {
    let action = fs::read_to_string(root().join("action.yml")).unwrap();
    let manual = fs::read_to_string(root().join("docs/github-action.md")).unwrap();
    let part = |from: &str, to: &str| action.split_once(from).unwrap().1.split_once(to).unwrap().0.to_owned();
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        lines.map(|line| line.trim().trim_end_matches(':').to_owned()).collect()
    };
    let (inputs, outputs) =
        (names(&part("inputs:\n", "\noutputs:")), names(&part("\noutputs:\n", "\n# Inputs")));
    assert!(inputs.len() > 30 && outputs.len() > 10, "{inputs:?} {outputs:?}");
    for name in &inputs {
        let given = format!("inputs.{name} ");
        assert!(action.contains(&given), "nothing is done with the input {name}");
    }
    for name in inputs.iter().chain(&outputs) {
        assert!(manual.contains(&format!("| `{name}`")), "docs/github-action.md has no row for {name}");
    }
}

#[test]
fn the_ready_workflows_make_one_pull_request_of_one_failure_whoever_starts_them() {
    if !runs_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // try-action makes the repository; all that people see is checked there.
    let server = Server::start(&folder.path().join("py-unittest-wrap/shop.git"), 0);
    let mut command = Command::new(root().join("scripts/try-action"));
    command.args(["py-unittest-wrap", "--api-url", &server.url, "--out"]).arg(folder.path());
    assert_clean(&command.arg("--regreen").arg(binary()).output().unwrap());
    // Each job asks for a token of its own, a skipped one too. Of solve, verify, publish, four times, and test, repair
    // only four write: nobody does for the comment on a fork's pull request.
    let mut tokens = 0;
    for request in server.written() {
        if request.ends_with("/access_tokens") {
            tokens += 1;
        } else {
            assert!([3, 6, 9, 14].contains(&tokens), "{request} is of job {tokens}");
        }
    }
    assert_eq!(tokens, 14);
    for run in 1..=5 {
        let log = fs::read_to_string(folder.path().join(format!("py-unittest-wrap/run-{run}.log"))).unwrap();
        assert!(!log.contains("Unexpected input"), "{log}");
    }
}

#[test]
fn people_are_told_why_a_patch_that_was_found_is_refused() {
    if !runs_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("py-unittest-wrap/shop.git"), 0);
    // Where the patch is judged it does something else than where it was made.
    let other = "diff --git a/NOTES b/NOTES\nnew file mode 100644\n--- /dev/null\n+++ b/NOTES\n@@ -0,0 +1 @@\n+words\n";
    let program = folder.path().join("regreen");
    let place = "\"$RUNNER_TEMP/regreen/fix.patch\"";
    let judge = format!("if [ \"$2\" = verify ]; then printf '{}' > {place}; fi", other.replace('\n', "\\n"));
    script(&program, &format!("{judge}\nexec '{}' \"$@\"", binary().display()));
    let mut command = Command::new(root().join("scripts/try-action"));
    command.args(["py-unittest-wrap", "--workflow", "regreen.yml", "--api-url", &server.url, "--out"]);
    let done = command.arg(folder.path()).arg("--regreen").arg(&program).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    // All three jobs did theirs.
    assert!(said.contains("0 pull requests and 1 comments after regreen.yml"), "{said}");
    let comment = fs::read_to_string(folder.path().join("py-unittest-wrap/comment-1.md")).unwrap();
    assert!(comment.contains("no fix was found") && comment.contains("red"), "{comment}");
}

/// A folder that is served as releases, a stand-in for cargo, and what the installer is told.
struct Machine {
    folder: tempfile::TempDir,
    server: Child,
    url: String,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["releases/v1.2.3", "bin", "temp", "packed", "source"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let mut server = Command::new("python3")
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"])
            .arg(folder.path().join("releases"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split(' ').skip_while(|word| *word != "port").nth(1).unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let machine = Self { folder, server, url };
        fs::write(machine.path("source/Cargo.toml"), "[package]\nversion = \"1.2.3\"\n").unwrap();
        script(
            &machine.path("bin/cargo"),
            "for last; do :; done\nmkdir -p \"$last/release\"\nenv > \"$TMPDIR/environment\"\n\
             echo x >> \"$TMPDIR/builds\"\nprintf '#!/bin/sh\\necho regreen built\\n' > \"$last/release/regreen\"\n\
             chmod +x \"$last/release/regreen\"",
        );
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A release with an archive; the sum that is listed for it.
    fn release(&self, listed: impl FnOnce(&str) -> String) -> String {
        script(&self.path("packed/regreen"), "echo regreen released");
        let archive = self.path("releases/v1.2.3/regreen-Linux-X64.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(&archive).arg("-C").arg(self.path("packed")).arg("regreen");
        assert!(tar.status().unwrap().success());
        let summed = Command::new("sha256sum").arg(&archive).output().unwrap();
        let sum = String::from_utf8(summed.stdout).unwrap()[..64].to_owned();
        let text = format!("{}  other.tar.gz\n{}  regreen-Linux-X64.tar.gz\n", "0".repeat(64), listed(&sum));
        fs::write(self.path("releases/v1.2.3/SHA256SUMS"), text).unwrap();
        sum
    }

    /// What the installed program calls itself, or why there is none.
    fn install(&self, variables: &[(&str, &str)]) -> Result<String, String> {
        let output = self.path("output");
        fs::write(&output, "").unwrap();
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(root().join("scripts/action-install"));
        command.env_clear().env("PATH", path).env("TMPDIR", self.path("temp")).env("GITHUB_OUTPUT", &output);
        command.env("GITHUB_ACTION_PATH", self.path("source")).env("GITHUB_SERVER_URL", "https://github.com");
        command.env("RUNNER_OS", "Linux").env("RUNNER_ARCH", "X64").env("RUNNER_TEMP", self.path("temp"));
        command.env("REGREEN_DOWNLOAD_URL", &self.url);
        command.env("ANTHROPIC_API_KEY", "a-key").envs(variables.iter().copied());
        let done = command.output().unwrap();
        let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        let told = fs::read_to_string(&output).unwrap();
        let Some(program) = told.strip_prefix("program=") else { return Err(said) };
        assert!(done.status.success(), "{said}");
        let version = Command::new(program.trim_end()).arg("--version").output().unwrap();
        Ok(String::from_utf8(version.stdout).unwrap().trim_end().to_owned())
    }
}

#[test]
fn a_release_is_installed_when_its_checksum_is_right() {
    let machine = Machine::new();
    let sum = machine.release(str::to_owned);
    for variables in [vec![], vec![("REGREEN_VERSION", "v1.2.3")], vec![("REGREEN_SHA256", sum.as_str())]] {
        assert_eq!(machine.install(&variables).unwrap(), "regreen released");
    }
}

#[test]
fn a_release_with_a_wrong_checksum_is_refused_and_nothing_is_built_instead() {
    let machine = Machine::new();
    machine.release(|sum| sum.replace(['0', '1', '2'], "3"));
    assert!(machine.install(&[]).unwrap_err().contains("SHA256SUMS says"));
    machine.release(|_| String::new());
    assert!(machine.install(&[]).unwrap_err().contains("SHA256SUMS says"));
    machine.release(str::to_owned);
    let pinned = ("REGREEN_SHA256", "00".repeat(32));
    assert!(machine.install(&[(pinned.0, &pinned.1)]).unwrap_err().contains("was asked for"));
    fs::remove_file(machine.path("releases/v1.2.3/SHA256SUMS")).unwrap();
    assert!(machine.install(&[]).unwrap_err().contains("has no SHA256SUMS"));
    assert!(!machine.path("temp/builds").exists());
}

#[test]
fn without_a_release_the_source_is_built_and_sees_no_key() {
    let machine = Machine::new();
    for variables in [vec![], vec![("REGREEN_VERSION", "source")]] {
        assert_eq!(machine.install(&variables).unwrap(), "regreen built");
    }
    let environment = fs::read_to_string(machine.path("temp/environment")).unwrap();
    assert!(environment.contains("RUNNER_TEMP=") && !environment.contains("a-key"), "{environment}");
    let asked = machine.install(&[("REGREEN_VERSION", "v9.9.9")]).unwrap_err();
    assert!(asked.contains("There is no regreen-Linux-X64.tar.gz in the release v9.9.9"), "{asked}");
    assert_eq!(fs::read_to_string(machine.path("temp/builds")).unwrap(), "x\nx\n");
}

#[test]
fn a_version_that_is_a_path_or_a_command_is_refused() {
    let machine = Machine::new();
    for version in ["../v1.2.3", "v1.2.3/../..", "$(touch x)", "latest", "v1.2.3\nv1.2.4"] {
        let said = machine.install(&[("REGREEN_VERSION", version)]).unwrap_err();
        assert!(said.contains("neither vX.Y.Z nor source"), "{said}");
    }
}
