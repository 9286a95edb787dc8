//! An occasion is why the action was started, read from the event's payload, and whether it may go on. Payloads are
//! GitHub's own, but titles, branch names and comments in them are anybody's: they are compared, and never run.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{ATTEMPTS, TRAILER};

/// Why the action was started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Occasion {
    /// The event's name.
    pub event: String,
    /// What set it off.
    pub trigger: Trigger,
    /// The commit in question, where the event says it.
    pub head: Option<String>,
    /// The branch in question; none for tags.
    pub branch: Option<String>,
    /// The pull request that it is about.
    pub pull: Option<u64>,
    /// The issue that it is about.
    pub issue: Option<u64>,
    /// Whether the commit comes from somebody else's repository.
    pub fork: bool,
    /// Who set it off.
    pub actor: String,
    /// Labels of the pull request or issue, as far as they are known.
    pub labels: BTreeSet<String>,
    /// The last words of the commit in question, where the event says them.
    pub message: String,
    /// What the issue says.
    pub statement: Option<String>,
    /// Why whoever set it off may not, once GitHub was asked.
    pub barred: Option<String>,
}

/// What set an occasion off.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Trigger {
    /// A push, a pull request, a schedule, somebody by hand.
    #[default]
    Plain,
    /// Another workflow that ended like this.
    Workflow(String),
    /// A label of this name.
    Label(String),
    /// A comment by somebody with this relation to the repository.
    Comment {
        /// What it says.
        body: String,
        /// As GitHub calls it: `OWNER`, `MEMBER`, `COLLABORATOR`, `CONTRIBUTOR`, `NONE` …
        association: String,
    },
    /// Something that is none of our business: a closed pull request, a deleted branch.
    Other(String),
}

/// What the runner says beside the payload.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `GITHUB_EVENT_NAME`.
    pub event: String,
    /// `GITHUB_REPOSITORY`.
    pub repository: String,
    /// `GITHUB_SHA`.
    pub sha: String,
    /// `GITHUB_REF_NAME`, when `GITHUB_REF_TYPE` says that it is a branch.
    pub branch: Option<String>,
    /// `GITHUB_ACTOR`.
    pub actor: String,
}

/// What the user allows.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Whether everything is switched off.
    pub disabled: bool,
    /// What own branches begin with.
    pub prefix: String,
    /// The label that asks for a fix.
    pub label: String,
    /// The label that forbids one.
    pub opt_out: String,
    /// The first word of a comment that asks for one.
    pub command: String,
    /// Who may; empty for all.
    pub actors: BTreeSet<String>,
}

impl Rules {
    /// Whether somebody is among those who are allowed by name.
    pub fn lists(&self, actor: &str) -> bool {
        self.actors.iter().any(|listed| same(listed, actor))
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Payload {
    action: Option<String>,
    deleted: bool,
    pull_request: Option<Pull>,
    issue: Option<Issue>,
    comment: Option<Comment>,
    label: Option<Named>,
    sender: User,
    workflow_run: Option<WorkflowRun>,
    head_commit: Option<Commit>,
}

/// A pull request, as payloads and the API tell it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// Where people see it.
    pub html_url: String,
    /// What it says.
    pub body: Option<String>,
    /// What it brings.
    pub head: End,
    /// What it goes into.
    pub base: End,
    /// Its labels.
    pub labels: Vec<Named>,
}

/// One end of a pull request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct End {
    /// The commit.
    pub sha: String,
    /// The branch.
    #[serde(rename = "ref")]
    pub branch: String,
    /// The repository; none when it is gone.
    pub repo: Option<Repository>,
}

/// What somebody may do in a repository.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Permission {
    /// `admin`, `write`, `read` or `none`.
    pub permission: String,
}

/// A repository's name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Repository {
    /// `owner/name`.
    pub full_name: String,
    /// Where the API has it; what a workflow's pull requests say instead of the name.
    pub url: String,
}

impl Repository {
    /// Whether it is this one, as far as its address tells.
    fn may_be(&self, name: &str) -> bool {
        let end = format!("/repos/{name}").to_ascii_lowercase();
        self.url.is_empty() || self.url.to_ascii_lowercase().ends_with(&end)
    }
}

/// An issue, as payloads and the API tell it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Issue {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: Option<String>,
    /// Its labels.
    pub labels: Vec<Named>,
    pull_request: Option<serde_json::Value>,
}

/// Something with a name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    /// The name.
    pub name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    login: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Comment {
    body: String,
    author_association: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Commit {
    message: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WorkflowRun {
    conclusion: Option<String>,
    head_sha: String,
    head_branch: Option<String>,
    head_repository: Option<Repository>,
    head_commit: Option<Commit>,
    pull_requests: Vec<Pull>,
    triggering_actor: Option<User>,
}

impl Issue {
    /// Title and text.
    pub fn statement(&self) -> String {
        format!("{}\n\n{}", self.title, self.body.as_deref().unwrap_or_default()).trim().to_owned()
    }
}

impl Occasion {
    /// Reads a payload. Fails when it is none, or of an event that the action does not know.
    pub fn read(payload: &str, around: &Surroundings) -> Result<Occasion> {
        let known = [
            "push",
            "pull_request",
            "pull_request_target",
            "workflow_run",
            "schedule",
            "workflow_dispatch",
            "repository_dispatch",
            "issues",
            "issue_comment",
        ];
        ensure!(
            known.contains(&around.event.as_str()),
            "the action does not know what to do on the event {:?}; it knows {}",
            around.event,
            known.join(", ")
        );
        let payload: Payload = serde_json::from_str(payload).context("the event's payload does not parse")?;
        let mut occasion = Occasion {
            event: around.event.clone(),
            head: Some(around.sha.clone()),
            branch: around.branch.clone(),
            actor: around.actor.clone(),
            ..Occasion::default()
        };
        if !payload.sender.login.is_empty() {
            occasion.actor.clone_from(&payload.sender.login);
        }
        if let Some(run) = payload.workflow_run {
            occasion.of_workflow(run, &around.repository);
            return Ok(occasion);
        }
        if let Some(pull) = &payload.pull_request {
            occasion.about(pull, &around.repository);
        }
        if let Some(issue) = &payload.issue {
            occasion.of_issue(issue);
        }
        occasion.message = payload.head_commit.map(|commit| commit.message).unwrap_or_default();
        let action = payload.action.unwrap_or_default();
        occasion.trigger = match (around.event.as_str(), action.as_str()) {
            ("push", _) if payload.deleted => Trigger::Other("a branch was deleted".to_owned()),
            (_, "labeled") => Trigger::Label(payload.label.unwrap_or_default().name),
            ("issue_comment", "created") => {
                let comment = payload.comment.unwrap_or_default();
                Trigger::Comment { body: comment.body, association: comment.author_association }
            }
            (
                "pull_request" | "pull_request_target",
                "opened" | "synchronize" | "reopened" | "ready_for_review",
            ) => Trigger::Plain,
            ("pull_request" | "pull_request_target" | "issues" | "issue_comment", other) => {
                Trigger::Other(format!("nothing is to be done when it is {other}"))
            }
            _ => Trigger::Plain,
        };
        Ok(occasion)
    }

    /// Takes in what is known of the pull request in question.
    pub fn about(&mut self, pull: &Pull, repository: &str) {
        self.pull = Some(pull.number);
        self.head = Some(pull.head.sha.clone());
        self.branch = Some(pull.head.branch.clone());
        self.fork = pull.head.repo.as_ref().is_none_or(|head| head.full_name != repository);
        self.labels.extend(pull.labels.iter().map(|label| label.name.clone()));
    }

    /// Takes in the pull request of a run on a branch of this repository, if it is that branch's. The run was about a
    /// commit that may be the last one no more.
    pub fn about_run(&mut self, pull: Option<&Pull>, repository: &str) {
        let (head, branch) = (self.head.take(), self.branch.take());
        let here = |end: &End| end.repo.as_ref().is_some_and(|repo| repo.full_name == repository);
        let ours = |pull: &&Pull| here(&pull.head) && Some(&pull.head.branch) == branch.as_ref();
        self.pull = None;
        if let Some(pull) = pull.filter(ours) {
            self.about(pull, repository);
        }
        (self.head, self.branch) = (head, branch);
    }

    /// Where people talk about it.
    pub fn place(&self) -> Option<u64> {
        self.pull.or(self.issue)
    }

    fn of_workflow(&mut self, run: WorkflowRun, repository: &str) {
        self.head = Some(run.head_sha);
        self.branch = run.head_branch;
        self.fork = run.head_repository.is_none_or(|head| head.full_name != repository);
        // Among them are pull requests from here into forks, whose numbers are theirs.
        let ours = |pull: &&Pull| pull.base.repo.as_ref().is_none_or(|base| base.may_be(repository));
        self.pull = run.pull_requests.iter().find(ours).map(|pull| pull.number);
        self.message = run.head_commit.map(|commit| commit.message).unwrap_or_default();
        if let Some(actor) = run.triggering_actor {
            self.actor = actor.login;
        }
        self.trigger = Trigger::Workflow(run.conclusion.unwrap_or_default());
    }

    fn of_issue(&mut self, issue: &Issue) {
        self.labels.extend(issue.labels.iter().map(|label| label.name.clone()));
        if issue.pull_request.is_some() {
            // Which commit that is only the API knows.
            (self.pull, self.head, self.branch) = (Some(issue.number), None, None);
        } else {
            self.issue = Some(issue.number);
            self.statement = Some(issue.statement());
        }
    }
}

/// Why nothing is to be done, if so.
pub fn refused(occasion: &Occasion, rules: &Rules) -> Option<String> {
    if rules.disabled {
        return Some("REGREEN_DISABLED is set: the action is switched off".to_owned());
    }
    let branch = occasion.branch.as_deref().unwrap_or_default();
    if !rules.prefix.is_empty() && branch.starts_with(&rules.prefix) {
        return Some(format!("{branch} is a branch of regreen's own"));
    }
    if own(&occasion.message) {
        return Some("the commit is one of regreen's own".to_owned());
    }
    if occasion.labels.iter().any(|label| same(label, &rules.opt_out)) {
        return Some(format!("the label {} is set", rules.opt_out));
    }
    let listed = rules.lists(&occasion.actor);
    if !rules.actors.is_empty() && !listed {
        return Some(format!("{} is not among the allowed actors", occasion.actor));
    }
    if let Some(why) = &occasion.barred {
        return Some(why.clone());
    }
    if occasion.fork && matches!(occasion.trigger, Trigger::Comment { .. }) {
        return Some("a fork's pull request is not worked on by comment: keys are in reach there".to_owned());
    }
    match &occasion.trigger {
        Trigger::Plain => None,
        Trigger::Workflow(conclusion) => {
            (conclusion != "failure").then(|| format!("the workflow did not fail: {conclusion}"))
        }
        Trigger::Label(name) => {
            (!same(name, &rules.label)).then(|| format!("the label is {name}, not {}", rules.label))
        }
        Trigger::Comment { body, .. } if body.split_whitespace().next() != Some(&rules.command) => {
            Some(format!("the comment does not begin with {}", rules.command))
        }
        Trigger::Comment { association, .. } => {
            let trusted = ["OWNER", "MEMBER", "COLLABORATOR"].contains(&association.as_str());
            (!trusted && !listed)
                .then(|| format!("{} may not ask for a fix by comment ({association})", occasion.actor))
        }
        Trigger::Other(why) => Some(why.clone()),
    }
}

/// Whether two labels or users are the same to GitHub, which does not tell their letters' case apart.
pub fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether a commit with this message is regreen's own. A squash that took one in has the trailer as well, and more
/// in its title or below.
pub fn own(message: &str) -> bool {
    let mut lines = message.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let title = lines.next().unwrap_or_default();
    let last = lines.next_back().unwrap_or_default();
    title.starts_with("Make ") && title.ends_with(" pass") && last.starts_with(TRAILER)
}

/// Why a head with so many attempts gets no further one, if so.
pub fn exhausted(attempts: usize) -> Option<String> {
    (attempts >= ATTEMPTS)
        .then(|| format!("there were {attempts} attempts on this commit already, and no more are made"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(event: &str) -> Surroundings {
        Surroundings {
            event: event.to_owned(),
            repository: "o/r".to_owned(),
            sha: "5".repeat(40),
            branch: Some("main".to_owned()),
            actor: "ann".to_owned(),
        }
    }

    fn rules() -> Rules {
        Rules {
            disabled: false,
            prefix: "regreen/".to_owned(),
            label: "regreen".to_owned(),
            opt_out: "no-regreen".to_owned(),
            command: "/regreen".to_owned(),
            actors: BTreeSet::new(),
        }
    }

    /// Asserts that nothing is done and why, or that it goes on.
    #[expect(clippy::needless_pass_by_value, reason = "it is made where it is given")]
    fn check(event: &str, payload: serde_json::Value, expected: Option<&str>) -> Occasion {
        let occasion = Occasion::read(&payload.to_string(), &around(event)).unwrap();
        let found = refused(&occasion, &rules());
        match (&found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
            _ => assert_eq!(found.as_deref(), expected, "{payload}"),
        }
        occasion
    }

    fn pull(action: &str, head: &str, branch: &str, label: &str) -> serde_json::Value {
        serde_json::json!({"action": action, "label": {"name": label}, "sender": {"login": "bob"}, "pull_request": {
            "number": 7, "head": {"sha": "abc", "ref": branch, "repo": {"full_name": head}}, "labels": [{"name": label}],
        }})
    }

    #[test]
    fn an_event_says_which_commit_and_where_people_talk() {
        let push = check("push", serde_json::json!({"head_commit": {"message": "x"}}), None);
        assert_eq!(
            (push.head.as_deref(), push.place(), push.fork),
            (Some("5".repeat(40).as_str()), None, false)
        );
        let opened = check("pull_request", pull("opened", "o/r", "f", ""), None);
        assert_eq!((opened.head.as_deref(), opened.place(), opened.fork), (Some("abc"), Some(7), false));
        assert!(check("pull_request", pull("opened", "mallory/r", "f", ""), None).fork);
        let run = serde_json::json!({"workflow_run": {"conclusion": "failure", "head_sha": "def", "head_branch": "f",
            "head_repository": {"full_name": "o/r"}, "pull_requests": [{"number": 9}], "triggering_actor": {"login": "cy"}}});
        let run = check("workflow_run", run, None);
        assert_eq!((run.head.as_deref(), run.place(), run.actor.as_str()), (Some("def"), Some(9), "cy"));
        let issue = serde_json::json!({"action": "labeled", "label": {"name": "regreen"}, "issue": {"number": 3, "title": "T", "body": "B"}});
        let issue = check("issues", issue, None);
        assert_eq!((issue.place(), issue.statement.as_deref()), (Some(3), Some("T\n\nB")));
        assert!(Occasion::read("{}", &around("release")).is_err());
    }

    #[test]
    fn what_is_not_to_be_done_is_not_done_and_says_why() {
        check("pull_request", pull("opened", "o/r", "regreen/abc", ""), Some("own"));
        check("pull_request", pull("opened", "o/r", "f", "no-regreen"), Some("no-regreen"));
        check("pull_request", pull("closed", "o/r", "f", ""), Some("closed"));
        check("pull_request", pull("labeled", "o/r", "f", "regreen"), None);
        check("pull_request", pull("labeled", "o/r", "f", "Regreen"), None);
        check("pull_request", pull("opened", "o/r", "f", "No-Regreen"), Some("no-regreen"));
        check("pull_request", pull("labeled", "o/r", "f", "bug"), Some("bug"));
        check(
            "push",
            serde_json::json!({"head_commit": {"message": "Make a pass\n\nRegreen-Signature: x"}}),
            Some("own"),
        );
        check("push", serde_json::json!({"deleted": true}), Some("deleted"));
        let run = |how: &str| serde_json::json!({"workflow_run": {"conclusion": how, "head_sha": "a", "head_repository": {"full_name": "o/r"}}});
        check("workflow_run", run("success"), Some("did not fail"));
        let switched_off = Rules { disabled: true, ..rules() };
        assert!(refused(&Occasion::default(), &switched_off).unwrap().contains("REGREEN_DISABLED"));
        let few = Rules { actors: ["ann".to_owned()].into(), ..rules() };
        let bob = Occasion { actor: "bob".to_owned(), ..Occasion::default() };
        assert!(refused(&bob, &few).unwrap().contains("bob"));
        assert!(few.lists("Ann"));
        assert!(exhausted(2).is_none() && exhausted(3).is_some());
    }

    #[test]
    fn a_run_is_about_a_pull_request_of_its_own_branch_and_repository() {
        let base =
            |name: &str| serde_json::json!({"repo": {"url": format!("https://api.github.com/repos/{name}")}});
        let run = serde_json::json!({"workflow_run": {"conclusion": "failure", "head_sha": "def", "head_branch": "f",
            "head_repository": {"full_name": "o/r"},
            "pull_requests": [{"number": 9, "base": base("mallory/r")}, {"number": 4, "base": base("O/r")}]}});
        let run = check("workflow_run", run, None);
        assert_eq!(run.pull, Some(4));
        let found = |name: &str, branch: &str| {
            let mut run = run.clone();
            let repo = Repository { full_name: name.to_owned(), ..Repository::default() };
            let head = End { sha: "new".to_owned(), branch: branch.to_owned(), repo: Some(repo) };
            run.about_run(Some(&Pull { number: 4, head, ..Pull::default() }), "o/r");
            (run.pull, run.head.unwrap(), run.branch.unwrap(), run.fork)
        };
        assert_eq!(found("o/r", "f"), (Some(4), "def".to_owned(), "f".to_owned(), false));
        for (name, branch) in [("o/r", "other"), ("mallory/r", "f")] {
            assert_eq!(found(name, branch), (None, "def".to_owned(), "f".to_owned(), false));
        }
    }

    #[test]
    fn a_squash_that_took_a_fix_in_is_not_regreens_own() {
        let fix =
            "Make test_a and 2 more tests pass\n\nVerified by regreen 1: x.\n\nRegreen-Signature: abc\n";
        assert!(own(fix));
        assert!(!own(&fix.replacen(" pass", " pass (#12)", 1)));
        assert!(!own(&format!("{fix}\nCo-authored-by: Ann <ann@example.org>\n")));
        assert!(!own(&format!("Add a feature (#9)\n\n* Begin\n\n* {fix}")));
        assert!(!own("Make a pass") && !own("") && !own("Regreen-Signature: abc"));
    }

    #[test]
    fn only_who_belongs_to_the_repository_asks_by_comment() {
        let comment = |body: &str, association: &str| {
            serde_json::json!({"action": "created", "sender": {"login": "bob"}, "issue": {"number": 3, "title": "T"},
                "comment": {"body": body, "author_association": association}})
        };
        check("issue_comment", comment("/regreen please", "MEMBER"), None);
        check("issue_comment", comment("/regreen", "NONE"), Some("may not"));
        check("issue_comment", comment("/regreenish", "OWNER"), Some("does not begin"));
        check("issue_comment", comment("", "OWNER"), Some("does not begin"));
        let listed = Rules { actors: ["bob".to_owned()].into(), ..rules() };
        let asked =
            Occasion::read(&comment("/regreen", "NONE").to_string(), &around("issue_comment")).unwrap();
        assert_eq!(refused(&asked, &listed), None);
    }
}
