//! The inputs of the action, from variables (`REGREEN_INPUT_…`) or flags, which win; an empty one is an absent one.
//! They are the only configuration: nothing in the repository is read as such.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use super::super::Usage;
use super::super::settings::usage;
use crate::github::Mode;
use crate::github::event::{Rules, Surroundings};
use crate::github::publish::Paths;
use crate::task::{self, Source, Step, Task, TestFormat};
use crate::verdict;

/// What the action is told.
#[derive(Clone, Debug, Args)]
pub struct Inputs {
    /// The folder within the checkout to look at
    #[arg(long, env = "REGREEN_INPUT_PATH", value_name = "FOLDER", hide_env = true)]
    path: Option<String>,
    /// Run only this toolchain
    #[arg(long, env = "REGREEN_INPUT_TOOLCHAIN", value_name = "NAME", hide_env = true)]
    toolchain: Option<String>,
    /// Set up with this command (run by `sh -c` in the sandbox, with the network)
    #[arg(long, env = "REGREEN_INPUT_SETUP_COMMAND", value_name = "COMMAND", hide_env = true)]
    setup_command: Option<String>,
    /// Test with this command (run by `sh -c` in the sandbox)
    #[arg(long, env = "REGREEN_INPUT_TEST_COMMAND", value_name = "COMMAND", hide_env = true)]
    test_command: Option<String>,
    /// What the test command reports: exit-code, tap, junit
    #[arg(long, env = "REGREEN_INPUT_TEST_FORMAT", value_name = "FORMAT", hide_env = true)]
    test_format: Option<String>,
    /// Who proposes, cheapest first, by commas or lines [default: repair, then the model whose key is in the environment]
    #[arg(long, env = "REGREEN_INPUT_MODELS", value_name = "LIST", hide_env = true)]
    models: Option<String>,
    /// The address of a server that speaks a provider's wire format
    #[arg(long, env = "REGREEN_INPUT_BASE_URL", value_name = "URL", hide_env = true)]
    base_url: Option<String>,
    /// The model's price in dollars per million tokens, when it is not in the table
    #[arg(long, env = "REGREEN_INPUT_PRICE", value_name = "IN,OUT", hide_env = true)]
    price: Option<String>,
    /// Candidates that may be proposed [default: 8]
    #[arg(long, env = "REGREEN_INPUT_ATTEMPTS", value_name = "N", hide_env = true)]
    attempts: Option<String>,
    /// Tokens that may be used
    #[arg(long, env = "REGREEN_INPUT_MAX_TOKENS", value_name = "N", hide_env = true)]
    max_tokens: Option<String>,
    /// Dollars that may be spent [default: 1.00]
    #[arg(long, env = "REGREEN_INPUT_MAX_USD", value_name = "USD", hide_env = true)]
    max_usd: Option<String>,
    /// Minutes that fixing may take [default: 30]
    #[arg(long, env = "REGREEN_INPUT_TIMEOUT_MINUTES", value_name = "N", hide_env = true)]
    timeout_minutes: Option<String>,
    /// What is wrong, in words
    #[arg(long, env = "REGREEN_INPUT_STATEMENT", value_name = "TEXT", hide_env = true)]
    statement: Option<String>,
    /// The issue that says what is wrong, and gets the comment
    #[arg(long, env = "REGREEN_INPUT_ISSUE_NUMBER", value_name = "N", hide_env = true)]
    issue_number: Option<String>,
    /// What may be written: report, patch, commit, pull-request [default: pull-request]
    #[arg(long, env = "REGREEN_INPUT_MODE", value_name = "MODE", hide_env = true)]
    mode: Option<String>,
    /// Globs of files that a patch may change, by commas or lines [default: all]
    #[arg(long, env = "REGREEN_INPUT_ALLOWED_PATHS", value_name = "LIST", hide_env = true)]
    allowed_paths: Option<String>,
    /// Globs of files that a patch must leave alone
    #[arg(long, env = "REGREEN_INPUT_PROTECTED_PATHS", value_name = "LIST", hide_env = true)]
    protected_paths: Option<String>,
    /// Who may set the action off [default: everybody; by comment, who belongs to the repository]
    #[arg(long, env = "REGREEN_INPUT_ALLOWED_ACTORS", value_name = "LIST", hide_env = true)]
    allowed_actors: Option<String>,
    /// How strong the sandbox is: namespaces, landlock, container [default: the strongest that works]
    #[arg(long, env = "REGREEN_INPUT_SANDBOX", value_name = "LEVEL", hide_env = true)]
    sandbox: Option<String>,
    /// The container image to build and test in
    #[arg(long, env = "REGREEN_INPUT_IMAGE", value_name = "IMAGE", hide_env = true)]
    image: Option<String>,
    /// Held-out tests, outside of the checkout: a patch must pass them too
    #[arg(long, env = "REGREEN_INPUT_HELD_OUT", value_name = "FOLDER", hide_env = true)]
    held_out: Option<String>,
    /// The level that a pass must reach to be published, L1 to L5
    #[arg(long, env = "REGREEN_INPUT_LEVEL", value_name = "LEVEL", hide_env = true)]
    level: Option<String>,
    /// The branch that the pull request goes into [default: the one that went red]
    #[arg(long, env = "REGREEN_INPUT_BASE_BRANCH", value_name = "NAME", hide_env = true)]
    base_branch: Option<String>,
    /// What own branches begin with [default: regreen/]
    #[arg(long, env = "REGREEN_INPUT_BRANCH_PREFIX", value_name = "TEXT", hide_env = true)]
    branch_prefix: Option<String>,
    /// The label that asks for a fix [default: regreen]
    #[arg(long, env = "REGREEN_INPUT_LABEL", value_name = "NAME", hide_env = true)]
    label: Option<String>,
    /// The label that forbids fixes [default: no-regreen]
    #[arg(long, env = "REGREEN_INPUT_OPT_OUT_LABEL", value_name = "NAME", hide_env = true)]
    opt_out_label: Option<String>,
    /// The first word of a comment that asks for a fix [default: /regreen]
    #[arg(long, env = "REGREEN_INPUT_COMMENT_COMMAND", value_name = "WORD", hide_env = true)]
    comment_command: Option<String>,
    /// When the step fails: never, unsolved [default: never]
    #[arg(long, env = "REGREEN_INPUT_FAIL_ON", value_name = "WHEN", hide_env = true)]
    fail_on: Option<String>,
    /// The token for GitHub's API; by variable only
    #[arg(long, env = "REGREEN_INPUT_GITHUB_TOKEN", hide_env_values = true, hide = true)]
    github_token: Option<String>,
    /// The folder that steps pass on
    #[arg(long, env = "REGREEN_INPUT_OUTPUT_FOLDER", value_name = "FOLDER", hide_env = true)]
    output_folder: Option<PathBuf>,
    /// publish: the patch that verify judged
    #[arg(long, env = "REGREEN_INPUT_PATCH_SHA256", value_name = "HASH", hide_env = true)]
    patch_sha256: Option<String>,
    /// publish: what verify said of it
    #[arg(long, env = "REGREEN_INPUT_RECEIPT_SHA256", value_name = "HASH", hide_env = true)]
    receipt_sha256: Option<String>,
    /// Where scratch folders are made
    #[arg(long, env = "REGREEN_INPUT_CACHE", value_name = "FOLDER", hide_env = true)]
    cache: Option<PathBuf>,
    /// Seconds that waits for GitHub may take together [default: 300]
    #[arg(long, env = "REGREEN_INPUT_API_PATIENCE", value_name = "SECONDS", hide_env = true)]
    api_patience: Option<String>,
    #[command(flatten)]
    runner: FromRunner,
}

/// What the runner tells every step.
#[derive(Clone, Debug, Default, Args)]
struct FromRunner {
    #[arg(long, env = "GITHUB_ACTIONS", hide = true)]
    github_actions: Option<String>,
    #[arg(long, env = "GITHUB_EVENT_NAME", hide = true)]
    github_event_name: Option<String>,
    #[arg(long, env = "GITHUB_EVENT_PATH", hide = true)]
    github_event_path: Option<PathBuf>,
    #[arg(long, env = "GITHUB_REPOSITORY", hide = true)]
    github_repository: Option<String>,
    #[arg(long, env = "GITHUB_SHA", hide = true)]
    github_sha: Option<String>,
    #[arg(long, env = "GITHUB_REF_NAME", hide = true)]
    github_ref_name: Option<String>,
    #[arg(long, env = "GITHUB_REF_TYPE", hide = true)]
    github_ref_type: Option<String>,
    #[arg(long, env = "GITHUB_ACTOR", hide = true)]
    github_actor: Option<String>,
    #[arg(long, env = "GITHUB_WORKSPACE", hide = true)]
    github_workspace: Option<PathBuf>,
    #[arg(long, env = "GITHUB_API_URL", hide = true)]
    github_api_url: Option<String>,
    #[arg(long, env = "GITHUB_SERVER_URL", hide = true)]
    github_server_url: Option<String>,
    #[arg(long, env = "GITHUB_RUN_ID", hide = true)]
    github_run_id: Option<String>,
    #[arg(long, env = "GITHUB_RUN_ATTEMPT", hide = true)]
    github_run_attempt: Option<String>,
    #[arg(long, env = "GITHUB_OUTPUT", hide = true)]
    github_output: Option<PathBuf>,
    #[arg(long, env = "GITHUB_STEP_SUMMARY", hide = true)]
    github_step_summary: Option<PathBuf>,
    #[arg(long, env = "RUNNER_TEMP", hide = true)]
    runner_temp: Option<PathBuf>,
    #[arg(long, env = "REGREEN_DISABLED", hide = true)]
    regreen_disabled: Option<String>,
}

/// The inputs, understood.
#[derive(Clone, Debug)]
pub struct Settled {
    /// What the user allows.
    pub rules: Rules,
    /// What the runner says of the event.
    pub around: Surroundings,
    /// The event's payload.
    pub payload: PathBuf,
    /// What may be written.
    pub mode: Mode,
    /// Where a patch may change something.
    pub paths: Paths,
    /// The level that a pass must reach.
    pub level: Option<verdict::Level>,
    /// The branch that the pull request goes into.
    pub base_branch: Option<String>,
    /// The issue that says what is wrong.
    pub issue: Option<u64>,
    /// What is wrong.
    pub statement: Option<String>,
    /// Whether the step fails where nothing was solved.
    pub strict: bool,
    /// The token.
    pub token: Option<String>,
    /// The API.
    pub api: String,
    /// How long all waits may take.
    pub patience: Duration,
    /// The folder that steps pass on.
    pub out: PathBuf,
    /// The checkout.
    pub workspace: PathBuf,
    /// SHA-256 of patch and receipt, from the verifying job.
    pub hashes: Option<(String, String)>,
    /// `$GITHUB_OUTPUT` and `$GITHUB_STEP_SUMMARY`.
    pub output: Option<PathBuf>,
    /// `$GITHUB_STEP_SUMMARY`.
    pub summary: Option<PathBuf>,
    /// Where the job is to be seen.
    pub run_url: String,
    /// Which job this is.
    pub job: String,
    inputs: Inputs,
}

/// A value that is not empty.
fn given(value: Option<&String>) -> Option<&str> {
    value.map(|value| value.trim()).filter(|value| !value.is_empty())
}

fn folder(value: Option<&PathBuf>) -> Option<&Path> {
    value.map(PathBuf::as_path).filter(|value| !value.as_os_str().is_empty())
}

/// The entries of a list by commas or lines.
fn list(value: Option<&String>) -> Vec<String> {
    let entries = value.map_or("", String::as_str).split([',', '\n']);
    entries.map(|entry| entry.trim().to_owned()).filter(|entry| !entry.is_empty()).collect()
}

/// A value that must be one of something.
fn chosen<T: ValueEnum>(name: &str, value: Option<&String>) -> Result<Option<T>> {
    let Some(value) = given(value) else { return Ok(None) };
    let read = T::from_str(value, true).map_err(|_| {
        let known = T::value_variants()
            .iter()
            .filter_map(|known| Some(known.to_possible_value()?.get_name().to_owned()));
        Usage(format!(
            "the input {name} is {value:?}, and must be one of {}",
            known.collect::<Vec<_>>().join(", ")
        ))
    });
    Ok(Some(read?))
}

/// A value that must be a number.
fn number<T: std::str::FromStr>(name: &str, value: Option<&String>) -> Result<Option<T>> {
    let Some(value) = given(value) else { return Ok(None) };
    let read =
        value.parse().map_err(|_| Usage(format!("the input {name} is {value:?}, which is no such number")));
    Ok(Some(read?))
}

impl Inputs {
    /// Whether a runner reads what is printed.
    pub fn in_runner(&self) -> bool {
        given(self.runner.github_actions.as_ref()) == Some("true")
    }

    /// Whether code runs in a box that can show overlays.
    pub fn overlays(&self) -> bool {
        given(self.image.as_ref()).is_none()
            && matches!(given(self.sandbox.as_ref()), None | Some("namespaces"))
    }

    /// The token, to be masked before anything else is read.
    pub fn token(&self) -> Option<&str> {
        given(self.github_token.as_ref())
    }

    /// Understands the inputs. Fails when they make no sense.
    pub fn settle(&self, here: &Path) -> Result<Settled> {
        let runner = &self.runner;
        let needed = |name: &str, value: Option<&String>| {
            let advice = format!(
                "{name} is not set: the action runs in GitHub Actions, or where its variables are set"
            );
            given(value).map(str::to_owned).context(Usage(advice))
        };
        let workspace = here.join(folder(runner.github_workspace.as_ref()).unwrap_or(here));
        let temp = folder(runner.runner_temp.as_ref()).map(|temp| temp.join("regreen"));
        let out = folder(self.output_folder.as_ref()).map(Path::to_owned).or(temp);
        let out = out.context(Usage("neither output-folder nor RUNNER_TEMP is set".to_owned()))?;
        let out = here.join(out);
        ensure!(
            !out.starts_with(&workspace) || out == workspace.join(".regreen"),
            Usage("output-folder lies within the checkout; choose one outside of it".to_owned())
        );
        let repository = needed("GITHUB_REPOSITORY", runner.github_repository.as_ref())?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let whole = repository.split_once('/').is_some_and(|(owner, name)| {
            [owner, name].iter().all(|part| !part.is_empty() && part.chars().all(plain) && *part != "..")
        });
        ensure!(whole, Usage(format!("GITHUB_REPOSITORY is {repository:?}, which is no owner/name")));
        let branch = given(runner.github_ref_type.as_ref()).is_none_or(|kind| kind == "branch");
        let branch = given(runner.github_ref_name.as_ref()).filter(|_| branch).map(str::to_owned);
        let server = given(runner.github_server_url.as_ref()).unwrap_or("https://github.com");
        let run = given(runner.github_run_id.as_ref()).unwrap_or_default();
        let protected = list(self.protected_paths.as_ref());
        let hashes = given(self.patch_sha256.as_ref()).zip(given(self.receipt_sha256.as_ref()));
        Ok(Settled {
            rules: self.rules(),
            around: Surroundings {
                event: needed("GITHUB_EVENT_NAME", runner.github_event_name.as_ref())?,
                repository: repository.clone(),
                sha: needed("GITHUB_SHA", runner.github_sha.as_ref())?,
                branch,
                actor: given(runner.github_actor.as_ref()).unwrap_or_default().to_owned(),
            },
            payload: folder(runner.github_event_path.as_ref())
                .context(Usage("GITHUB_EVENT_PATH is not set".to_owned()))?
                .to_owned(),
            mode: chosen("mode", self.mode.as_ref())?.unwrap_or_default(),
            paths: Paths::new(&list(self.allowed_paths.as_ref()), &protected).map_err(usage)?,
            level: chosen("level", self.level.as_ref())?,
            base_branch: given(self.base_branch.as_ref()).map(str::to_owned),
            issue: number("issue-number", self.issue_number.as_ref())?,
            statement: given(self.statement.as_ref()).map(str::to_owned),
            strict: chosen::<When>("fail-on", self.fail_on.as_ref())? == Some(When::Unsolved),
            token: self.token().map(str::to_owned),
            api: given(runner.github_api_url.as_ref()).unwrap_or("https://api.github.com").to_owned(),
            patience: Duration::from_secs(number("api-patience", self.api_patience.as_ref())?.unwrap_or(300)),
            out,
            workspace,
            hashes: hashes.map(|(patch, receipt)| (patch.to_owned(), receipt.to_owned())),
            output: folder(runner.github_output.as_ref()).map(Path::to_owned),
            summary: folder(runner.github_step_summary.as_ref()).map(Path::to_owned),
            run_url: if run.is_empty() {
                String::new()
            } else {
                format!("{server}/{repository}/actions/runs/{run}")
            },
            job: format!(
                "{}.{}",
                if run.is_empty() { "0" } else { run },
                given(runner.github_run_attempt.as_ref()).unwrap_or("1")
            ),
            inputs: self.clone(),
        })
    }

    fn rules(&self) -> Rules {
        let or = |value: Option<&String>, default: &str| given(value).unwrap_or(default).to_owned();
        Rules {
            disabled: given(self.runner.regreen_disabled.as_ref())
                .is_some_and(|value| !matches!(value, "false" | "0")),
            prefix: or(self.branch_prefix.as_ref(), "regreen/"),
            label: or(self.label.as_ref(), "regreen"),
            opt_out: or(self.opt_out_label.as_ref(), "no-regreen"),
            command: or(self.comment_command.as_ref(), "/regreen"),
            actors: list(self.allowed_actors.as_ref()).into_iter().collect::<BTreeSet<_>>(),
        }
    }
}

/// When the step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    Never,
    Unsolved,
}

impl Settled {
    /// The task: what is tested and how, at this commit.
    pub fn task(&self, head: &str, statement: Option<String>) -> Result<Task> {
        let inputs = &self.inputs;
        let shell = |command: &str| vec!["sh".to_owned(), "-c".to_owned(), command.to_owned()];
        let path = self.workspace.join(given(inputs.path.as_ref()).unwrap_or("."));
        let inside = path.canonicalize().is_ok_and(|path| {
            self.workspace.canonicalize().is_ok_and(|workspace| path.starts_with(workspace))
        });
        ensure!(inside, Usage("the input path names no folder within the checkout".to_owned()));
        let path = path.to_str().context(Usage("the path of the checkout is not UTF-8".to_owned()))?;
        let mut protected = list(inputs.protected_paths.as_ref());
        protected.extend([".github/**".to_owned(), "**/.github/**".to_owned()]);
        Ok(Task {
            regreen: task::FORMAT,
            statement,
            source: Source { path: path.to_owned(), rev: Some(head.to_owned()) },
            protected,
            toolchain: given(inputs.toolchain.as_ref()).map(str::to_owned),
            setup: given(inputs.setup_command.as_ref()).map(|command| vec![Step { argv: shell(command) }]),
            test_cmd: given(inputs.test_command.as_ref()).map(shell),
            test_format: chosen::<TestFormat>("test-format", inputs.test_format.as_ref())?,
            ..Task::default()
        })
    }

    /// The arguments that `fix` and `verify` have in common.
    pub fn common(&self, task: &Path) -> Result<Vec<String>> {
        let inputs = &self.inputs;
        let sandbox = given(inputs.sandbox.as_ref());
        ensure!(
            sandbox != Some("none"),
            Usage(
                "the action runs nothing without a sandbox: keys and tokens are in its environment"
                    .to_owned()
            )
        );
        let held_out = given(inputs.held_out.as_ref()).map(|place| self.workspace.join(place));
        if let Some(place) = &held_out {
            let inside = place.canonicalize().is_ok_and(|place| {
                self.workspace.canonicalize().is_ok_and(|workspace| place.starts_with(workspace))
            });
            ensure!(!inside, Usage("held-out lies within the checkout, where everybody sees it".to_owned()));
        }
        let temp = folder(inputs.runner.runner_temp.as_ref()).map(|temp| temp.join("regreen-cache"));
        let cache = folder(inputs.cache.as_ref()).map(Path::to_owned).or(temp);
        let pairs = [
            ("task", Some(task.to_string_lossy().into_owned())),
            ("sandbox", sandbox.map(str::to_owned)),
            ("image", given(inputs.image.as_ref()).map(str::to_owned)),
            ("cache", cache.map(|cache| cache.to_string_lossy().into_owned())),
            ("held-out", held_out.map(|place| place.to_string_lossy().into_owned())),
        ];
        Ok(pairs.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?))).collect())
    }

    /// The arguments of `fix` alone; for a fork's code nobody is paid.
    pub fn fixing(&self, fork: bool) -> Result<Vec<String>> {
        let inputs = &self.inputs;
        let models = if fork { vec!["repair".to_owned()] } else { list(inputs.models.as_ref()) };
        let mut arguments: Vec<String> = models.into_iter().map(|model| format!("--model={model}")).collect();
        let minutes = number::<u64>("timeout-minutes", inputs.timeout_minutes.as_ref())?.unwrap_or(30);
        let pairs = [
            ("attempts", number::<u32>("attempts", inputs.attempts.as_ref())?.map(|n| n.to_string())),
            ("tokens", number::<u64>("max-tokens", inputs.max_tokens.as_ref())?.map(|n| n.to_string())),
            ("usd", number::<f64>("max-usd", inputs.max_usd.as_ref())?.map(|n| n.to_string())),
            ("time", Some(format!("{minutes}m"))),
            ("base-url", given(inputs.base_url.as_ref()).map(str::to_owned)),
            ("price", given(inputs.price.as_ref()).map(str::to_owned)),
            ("out", Some(self.out.join("run").to_string_lossy().into_owned())),
            // The verifying step measures how strong the tests are.
            ("mutants", Some("0".to_owned())),
        ];
        arguments.extend(pairs.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?))));
        Ok(arguments)
    }
}
