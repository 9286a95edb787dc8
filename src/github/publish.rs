//! Publishing writes what was found: a check run on the commit, a commit or a pull request with the patch, one sticky
//! comment. The patch is committed through the git data API from the receipt's own bytes: no checkout, no hook, no
//! code of the repository. The branch comes last before the pull request, so that a job that is killed leaves either
//! no branch or a whole one, which the next job takes up.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use base64::Engine as _;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, refused, segment, unclear};
use super::event::{Occasion, Pull, Trigger, same};
use super::words::{self, Tale};
use super::{CHECK, Ending, LABEL, MARK, Mode, Secrets, Told, event};
use crate::patch::{FileKind, Patch, RepoPath};
use crate::verdict::Verdict;
use crate::verify::Receipt;

/// Annotations that GitHub takes in one request.
const ANNOTATIONS: usize = 50;
/// Tries where it is not clear whether something was made.
const TRIES: u32 = 4;

/// Why a branch of a fix is left alone.
const WORKED: &str = "Somebody has worked on the branch of the fix: it is left as it is.";

/// A patch with what was proven of it.
#[derive(Debug)]
pub struct Proof {
    /// What the verifier said.
    pub receipt: Receipt,
    /// The patch as a diff, for people.
    pub diff: String,
}

/// What is to be published, where and how far.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// Why the action was started; head and branch are known.
    pub occasion: &'a Occasion,
    /// What the solving step told.
    pub told: &'a Told,
    /// The patch, if one passed.
    pub proof: Option<&'a Proof>,
    /// What may be written.
    pub mode: Mode,
    /// What own branches begin with.
    pub prefix: &'a str,
    /// The branch that the pull request goes into, instead of the one that went red.
    pub base_branch: Option<&'a str>,
    /// The issue or pull request to comment on, instead of the event's.
    pub comment_on: Option<u64>,
    /// Where a patch may change something.
    pub paths: &'a Paths,
    /// The label that forbids fixes.
    pub opt_out: &'a str,
    /// Which job this is, so that it has one check run.
    pub job: &'a str,
    /// Values that must stand nowhere.
    pub secrets: &'a Secrets,
}

/// What was published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Published {
    /// Number and address of the pull request.
    pub pull: Option<(u64, String)>,
    /// The commit on the branch that went red.
    pub committed: Option<String>,
    /// Address of the comment.
    pub comment: Option<String>,
    /// What else is to be said, safe for Markdown.
    pub notes: Vec<String>,
}

/// Where a patch may change something.
#[derive(Clone, Debug)]
pub struct Paths {
    allowed: Option<GlobSet>,
    protected: GlobSet,
}

impl Paths {
    /// Reads globs; no allowed ones allow all. A glob that names a folder means what is in it.
    pub fn new(allowed: &[String], protected: &[String]) -> Result<Paths> {
        let allowed = if allowed.is_empty() { None } else { Some(globs(allowed)?) };
        Ok(Paths { allowed, protected: globs(protected)? })
    }

    /// Why a patch may not be published, if so.
    pub fn refuse(&self, patch: &Patch) -> Option<String> {
        patch.0.iter().find_map(|(path, after)| {
            let folder = path.as_str().split('/').next().unwrap_or_default();
            if folder.eq_ignore_ascii_case(".github") {
                return Some(format!("it changes {path}, and nothing in .github/ is ever changed"));
            }
            if after.as_ref().is_some_and(|file| file.kind == FileKind::Link) {
                return Some(format!("it makes {path} a symbolic link"));
            }
            if self.protected.is_match(path.as_str()) {
                return Some(format!("it changes {path}, which is protected"));
            }
            let outside = self.allowed.as_ref().is_some_and(|allowed| !allowed.is_match(path.as_str()));
            outside.then(|| format!("it changes {path}, which is outside of the allowed paths"))
        })
    }
}

fn globs(globs: &[String]) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let glob = glob.trim_start_matches("./").trim_end_matches('/');
        for glob in [glob.to_owned(), format!("{glob}/**")] {
            let built = GlobBuilder::new(&glob).literal_separator(true).build();
            set.add(built.with_context(|| format!("{glob:?} is not a glob"))?);
        }
    }
    Ok(set.build()?)
}

#[derive(Deserialize)]
struct Id {
    sha: String,
}

#[derive(Deserialize)]
struct Commit {
    tree: Id,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Reference {
    object: Id,
}

#[derive(Deserialize)]
struct Made {
    number: u64,
    html_url: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(flatten)]
    pull: Pull,
    #[serde(default)]
    state: String,
    #[serde(default)]
    merged_at: Option<String>,
}

#[derive(Deserialize)]
struct Comment {
    id: u64,
    #[serde(default)]
    body: String,
    html_url: String,
    #[serde(default)]
    author_association: String,
    #[serde(default)]
    user: User,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Check {
    id: u64,
    #[serde(default)]
    external_id: Option<String>,
}

/// How many attempts a head has had.
pub async fn attempts(client: &Client, head: &str) -> Result<usize> {
    Ok(checks(client, head).await?.len())
}

async fn checks(client: &Client, head: &str) -> Result<Vec<Check>> {
    let path = format!("/commits/{}/check-runs?check_name={CHECK}&filter=all", segment(head));
    let mut all: Vec<Check> = client.list(&path, Some("check_runs")).await?;
    all.retain(|check| check.external_id.as_deref().is_some_and(is_job));
    Ok(all)
}

/// Whether an id is that of a job as the action writes it, `RUN.ATTEMPT`: a job that is called like the check run has
/// one of GitHub's own.
fn is_job(id: &str) -> bool {
    id.contains('.') && id.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// The message of a commit.
pub async fn message(client: &Client, sha: &str) -> Result<String> {
    Ok(client.get::<Commit>(&format!("/git/commits/{}", segment(sha))).await?.message)
}

/// Whether there is such a branch.
pub async fn is_branch(client: &Client, name: &str) -> Result<bool> {
    Ok(!name.is_empty() && tip(client, name).await?.is_some())
}

/// The commit that a branch holds.
async fn tip(client: &Client, branch: &str) -> Result<Option<String>> {
    let reference = client.find::<Reference>(&format!("/git/ref/heads/{}", segment(branch))).await?;
    Ok(reference.map(|reference| reference.object.sha))
}

/// Writes what the mode allows.
pub async fn publish(client: &Client, of: &Publication<'_>) -> Result<Published> {
    let mut done = Published::default();
    if of.mode == Mode::Report || of.occasion.fork || of.told.guarded {
        return Ok(done);
    }
    if let Some(proof) = of.proof {
        let checked = match check_proof(of, proof) {
            Ok(()) => check_base(client, of, proof).await,
            wrong => wrong,
        };
        if let Err(wrong) = checked {
            // What was found was paid for: as an attempt it counts all the same.
            let told =
                Told { outcome: Ending::Inconclusive, reason: format!("{wrong:#}"), ..of.told.clone() };
            let of = &Publication { told: &told, proof: None, ..*of };
            drop(check_run(client, of, &tale(of, &done)).await);
            return Err(wrong);
        }
    }
    check_run(client, of, &tale(of, &done)).await?;
    if let Some(proof) = of.proof {
        match of.mode {
            Mode::Report | Mode::Patch => {}
            Mode::Commit => commit_on_branch(client, of, proof, &mut done).await?,
            Mode::PullRequest => pull_request(client, of, proof, &mut done).await?,
        }
    }
    comment(client, of, &mut done).await?;
    Ok(done)
}

/// What is told, with what was published so far.
fn tale<'a>(of: &'a Publication<'_>, done: &'a Published) -> Tale<'a> {
    Tale {
        told: of.told,
        receipt: of.proof.map(|proof| &proof.receipt),
        diff: of.proof.map_or("", |proof| &proof.diff),
        pull: done.pull.as_ref().map(|(number, _)| *number),
        committed: done.committed.as_deref(),
        notes: &done.notes,
        opt_out: of.opt_out,
        secrets: of.secrets,
    }
}

/// Fails when the patch must not be published.
fn check_proof(of: &Publication<'_>, proof: &Proof) -> Result<()> {
    let receipt = &proof.receipt;
    ensure!(
        matches!(receipt.verdict, Verdict::Green(_)),
        "the patch is not published: its receipt says {}",
        receipt.word
    );
    ensure!(
        receipt.left_out.is_empty(),
        "the patch is not published: it holds edits that were left out when it was judged ({})",
        crate::text::list(&receipt.left_out, 3)
    );
    match of.paths.refuse(&receipt.patch) {
        Some(why) => bail!("the patch is not published: {why}"),
        None => Ok(()),
    }
}

/// The head that the patch goes onto.
fn head<'a>(of: &'a Publication<'_>) -> Result<&'a str> {
    of.occasion.head.as_deref().context("which commit went red is not known")
}

/// Fails when the head has another tree than the one on which the patch was judged.
async fn check_base(client: &Client, of: &Publication<'_>, proof: &Proof) -> Result<()> {
    let head = head(of)?;
    let base: Commit = client.get(&format!("/git/commits/{}", segment(head))).await?;
    ensure!(
        base.tree.sha == proof.receipt.base_tree,
        "the patch was judged on the tree {}, and commit {head} has the tree {}: the head has moved, or the repository \
         has submodules, into which nothing can be published",
        proof.receipt.base_tree,
        base.tree.sha
    );
    Ok(())
}

/// Commits the patch on top of the head; returns the commit, which no branch holds yet.
async fn commit(client: &Client, of: &Publication<'_>, proof: &Proof) -> Result<String> {
    let mut entries = Vec::new();
    for (path, after) in &proof.receipt.patch.0 {
        entries.push(entry(client, path, after.as_ref()).await?);
    }
    let tree = json!({"base_tree": proof.receipt.base_tree, "tree": entries});
    let tree: Id = client.put(Method::POST, "/git/trees", &tree).await?;
    ensure!(
        tree.sha == proof.receipt.composed_tree,
        "the tree that was written, {}, is not the one that was judged, {}",
        tree.sha,
        proof.receipt.composed_tree
    );
    let message = words::commit_message(&tale(of, &Published::default()));
    let body = json!({"message": message, "tree": tree.sha, "parents": [head(of)?]});
    Ok(client.put::<Id>(Method::POST, "/git/commits", &body).await?.sha)
}

/// A changed file as the git data API takes it.
async fn entry(client: &Client, path: &RepoPath, after: Option<&crate::patch::File>) -> Result<Value> {
    let Some(file) = after else {
        return Ok(json!({"path": path.as_str(), "mode": "100644", "type": "blob", "sha": null}));
    };
    let content = base64::engine::general_purpose::STANDARD.encode(&file.content);
    let blob: Id =
        client.put(Method::POST, "/git/blobs", &json!({"content": content, "encoding": "base64"})).await?;
    let mode = if file.kind == FileKind::Executable { "100755" } else { "100644" };
    Ok(json!({"path": path.as_str(), "mode": mode, "type": "blob", "sha": blob.sha}))
}

/// Puts the commit on the branch that went red, if that has not moved.
async fn commit_on_branch(
    client: &Client,
    of: &Publication<'_>,
    proof: &Proof,
    done: &mut Published,
) -> Result<()> {
    let branch = of.occasion.branch.as_deref().context("the event is about no branch")?;
    let head = head(of)?;
    if tip(client, branch).await?.as_deref() != Some(head) {
        done.notes.push("The branch has moved since: nothing was committed.".to_owned());
        return Ok(());
    }
    let commit = commit(client, of, proof).await?;
    let moved = json!({"sha": commit, "force": false});
    match client
        .put::<Reference>(Method::PATCH, &format!("/git/refs/heads/{}", segment(branch)), &moved)
        .await
    {
        Ok(_) => done.committed = Some(commit),
        // Not a fast-forward: somebody was quicker.
        Err(error) if refused(&error) == Some(422) => {
            done.notes.push("The branch has moved since: nothing was committed.".to_owned());
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Makes or updates the one pull request of the failure.
async fn pull_request(
    client: &Client,
    of: &Publication<'_>,
    proof: &Proof,
    done: &mut Published,
) -> Result<()> {
    let branch = format!("{}{}", of.prefix, of.told.signature);
    let into = of.base_branch.or(of.occasion.branch.as_deref());
    let into = into.context("the event is about no branch: name one with base-branch")?;
    let known = pulls(client, &branch).await?;
    let open = known.iter().find(|one| one.state == "open");
    let closed = known.first().filter(|one| one.state == "closed" && one.merged_at.is_none());
    let asked = matches!(of.occasion.trigger, Trigger::Label(_) | Trigger::Comment { .. });
    if let (None, Some(closed), false) = (open, closed, asked) {
        let number = closed.pull.number;
        done.notes.push(format!(
            "#{number} with a fix of this failure was closed by somebody: no other one is made."
        ));
        return Ok(());
    }
    let there = tip(client, &branch).await?;
    if let Some(why) = hands_off(client, of, open.or(known.first()), there.as_deref()).await? {
        done.notes.push(why.to_owned());
        done.pull = open.map(|one| (one.pull.number, one.pull.html_url.clone()));
        return Ok(());
    }
    if !within(client, into, head(of)?).await? {
        done.notes.push(
            "The commit that went red is not (any more) part of the branch that a pull request would go into, and would \
             come with it: none is made."
                .to_owned(),
        );
        return Ok(());
    }
    let commit = commit(client, of, proof).await?;
    let text = words::pull_request(&tale(of, done), &commit, there.as_deref().unwrap_or("none"))?;
    // Whoever cancels the job from here on gets the pull request, or no branch.
    let _held = client.hold();
    if tip(client, &branch).await? != there {
        // It was pushed to while the commit was made.
        done.notes.push(WORKED.to_owned());
        done.pull = open.map(|one| (one.pull.number, one.pull.html_url.clone()));
        return Ok(());
    }
    if let Some(open) = open {
        update(client, open, &text, (&branch, &commit, there.as_deref())).await?;
        done.pull = Some((open.pull.number, open.pull.html_url.clone()));
        return Ok(());
    }
    let made = place(client, &branch, &commit, there.as_deref()).await?;
    let request = json!({"title": words::title(&tale(of, done)), "body": text, "head": branch, "base": into,
        "maintainer_can_modify": true});
    let pull = match create(client, &branch, &request).await {
        Ok(pull) => pull,
        Err(error) if made && none_open(client, &branch).await => {
            // A branch without a pull request is of no use to anybody.
            let removed = client.delete(&format!("/git/refs/heads/{}", segment(&branch))).await;
            return match removed {
                Ok(()) => Err(error),
                Err(why) => Err(anyhow!("{error:#}; and the branch {branch} is left: {why:#}")),
            };
        }
        Err(error) => return Err(error),
    };
    let (labels, body) = (format!("/issues/{}/labels", pull.number), json!({"labels": [LABEL]}));
    if client.put::<Value>(Method::POST, &labels, &body).await.is_err() {
        done.notes.push("The pull request could not be labelled.".to_owned());
    }
    done.pull = Some((pull.number, pull.html_url));
    Ok(())
}

/// Gives an open pull request another text, and its branch another commit.
async fn update(
    client: &Client,
    open: &Listed,
    text: &str,
    (branch, commit, there): (&str, &str, Option<&str>),
) -> Result<()> {
    // The text names the commit before and the one after: whichever the branch holds is known as regreen's. The title
    // stays as it is: somebody may have found a better one.
    let path = format!("/pulls/{}", open.pull.number);
    client.put::<Made>(Method::PATCH, &path, &json!({"body": text})).await?;
    let Err(error) = place(client, branch, commit, there).await else { return Ok(()) };
    match tip(client, branch).await {
        // It was moved without an answer.
        Ok(now) if now.as_deref() == Some(commit) => Ok(()),
        Ok(_) => {
            // A rule forbids it, say: the text must not tell of another patch than the one that is there.
            let before = json!({"body": open.pull.body.as_deref().unwrap_or_default()});
            match client.put::<Made>(Method::PATCH, &path, &before).await {
                Ok(_) => Err(error),
                Err(why) => Err(anyhow!(
                    "{error:#}; and #{} is left with the text of a patch that is not there: {why:#}",
                    open.pull.number
                )),
            }
        }
        Err(_) => Err(error),
    }
}

/// The pull requests of a branch, newest first.
async fn pulls(client: &Client, branch: &str) -> Result<Vec<Listed>> {
    let owner = client.repository.split('/').next().unwrap_or_default();
    let head = segment(&format!("{owner}:{branch}")).replace('/', "%2F");
    let mut listed: Vec<Listed> = client.list(&format!("/pulls?state=all&head={head}"), None).await?;
    // An older server may not know the filter.
    listed.retain(|one| one.pull.head.branch == branch);
    listed.sort_by_key(|one| std::cmp::Reverse(one.pull.number));
    Ok(listed)
}

/// Whether it is certain that no pull request of a branch is open.
async fn none_open(client: &Client, branch: &str) -> bool {
    pulls(client, branch).await.is_ok_and(|known| known.iter().all(|one| one.state != "open"))
}

/// Why the branch of the fix is not to be touched, if so.
async fn hands_off(
    client: &Client,
    of: &Publication<'_>,
    newest: Option<&Listed>,
    there: Option<&str>,
) -> Result<Option<&'static str>> {
    // A commit that somebody amended has the message still, and another name.
    let marked = |one: &Listed| {
        let mark = one.pull.body.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
        let known = there.is_some_and(|sha| {
            mark.split(' ')
                .any(|word| word.strip_prefix("commit=").or_else(|| word.strip_prefix("was=")) == Some(sha))
        });
        mark.starts_with(MARK) && known
    };
    if let Some(open) = newest.filter(|one| one.state == "open") {
        if open.pull.labels.iter().any(|label| same(&label.name, of.opt_out)) {
            return Ok(Some(
                "The label on the pull request of the fix keeps regreen away: it is left as it is.",
            ));
        }
        return Ok((!marked(open)).then_some(WORKED));
    }
    let Some(there) = there else { return Ok(None) };
    // What the newest one had when it was closed; whatever else the branch holds came later.
    if newest.is_some_and(|one| one.pull.head.sha == there && !marked(one)) {
        return Ok(Some(WORKED));
    }
    let message = message(client, there).await?;
    let own = event::own(&message) && message.contains(&of.told.signature);
    Ok((!own).then_some(WORKED))
}

/// Whether a branch holds a commit already, so that nothing comes along with a pull request but the patch.
async fn within(client: &Client, branch: &str, commit: &str) -> Result<bool> {
    #[derive(Deserialize)]
    struct Compared {
        ahead_by: u64,
    }
    let path = format!("/compare/{}...{}", segment(branch), segment(commit));
    Ok(client.find::<Compared>(&path).await?.is_some_and(|compared| compared.ahead_by == 0))
}

/// Lets a branch hold a commit; returns whether the branch is new.
async fn place(client: &Client, branch: &str, commit: &str, there: Option<&str>) -> Result<bool> {
    if let Some(there) = there {
        if there != commit {
            let moved = json!({"sha": commit, "force": true});
            let path = format!("/git/refs/heads/{}", segment(branch));
            client.put::<Reference>(Method::PATCH, &path, &moved).await?;
        }
        return Ok(false);
    }
    let body = json!({"ref": format!("refs/heads/{branch}"), "sha": commit});
    match client.put::<Reference>(Method::POST, "/git/refs", &body).await {
        Ok(_) => Ok(true),
        // An earlier try may have been carried out without an answer.
        Err(error) if refused(&error) == Some(422) => {
            if tip(client, branch).await?.as_deref() == Some(commit) { Ok(false) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

/// Makes a pull request; where it is not clear whether it was made, it is looked for.
async fn create(client: &Client, branch: &str, request: &Value) -> Result<Made> {
    for tries in 0.. {
        match client.post_once::<Made>("/pulls", request).await {
            Ok(made) => return Ok(made),
            Err(error) if unclear(&error) && tries < TRIES => {
                client.pause(tries, &format!("{error:#}")).await?;
                let known = pulls(client, branch).await?;
                if let Some(made) = known.into_iter().find(|one| one.state == "open") {
                    return Ok(Made { number: made.pull.number, html_url: made.pull.html_url });
                }
            }
            Err(error) => return Err(error),
        }
    }
    bail!("no pull request was made")
}

/// Notes the attempt on the commit, with annotations where tests fail.
async fn check_run(client: &Client, of: &Publication<'_>, tale: &Tale<'_>) -> Result<()> {
    let Some(head) = of.occasion.head.as_deref() else { return Ok(()) };
    let annotations: Vec<Value> =
        of.told.failing.iter().filter(|one| !one.file.is_empty()).take(ANNOTATIONS).map(annotation).collect();
    let output =
        json!({"title": title(of.told.outcome), "summary": words::check(tale)?, "annotations": annotations});
    let mut body = json!({"name": CHECK, "head_sha": head, "status": "completed", "conclusion": "neutral", "external_id": of.job, "output": output});
    if of.told.run_url.starts_with("https://") {
        body["details_url"] = json!(of.told.run_url);
    }
    for tries in 0.. {
        let known = checks(client, head).await?;
        if let Some(known) = known.iter().find(|check| check.external_id.as_deref() == Some(of.job)) {
            return client
                .put::<Value>(Method::PATCH, &format!("/check-runs/{}", known.id), &body)
                .await
                .map(drop);
        }
        match client.post_once::<Value>("/check-runs", &body).await {
            Ok(_) => return Ok(()),
            Err(error) if unclear(&error) && tries < TRIES => {
                client.pause(tries, &format!("{error:#}")).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn annotation(one: &super::Failing) -> Value {
    let line = one.line.max(1);
    let text =
        crate::text::printable(if one.message.is_empty() { &one.test } else { &one.message }).into_owned();
    json!({"path": one.file, "start_line": line, "end_line": line, "annotation_level": "failure",
        "title": crate::text::clip(&crate::text::one_line(&one.test), 200), "message": text})
}

fn title(ending: Ending) -> &'static str {
    match ending {
        Ending::Solved | Ending::PassesVisible => "There is a verified fix",
        Ending::Suspect => "The fix that was found is suspect",
        Ending::NotSolved => "No fix was found",
        Ending::Inconclusive => "Nothing could be proven",
        Ending::Flaky => "What failed is flaky",
        Ending::Infrastructure => "The machine is at fault, not the code",
        Ending::MissingSecret => "Tests lack a secret",
        Ending::Skipped => "Nothing was to be done",
    }
}

/// Writes the sticky comment, or makes it what is true now.
async fn comment(client: &Client, of: &Publication<'_>, done: &mut Published) -> Result<()> {
    let Some(place) = of.comment_on.or(of.occasion.place()) else { return Ok(()) };
    let asked = matches!(of.occasion.trigger, Trigger::Label(_) | Trigger::Comment { .. });
    let body = json!({"body": words::comment(&tale(of, done))?});
    for tries in 0.. {
        let all: Vec<Comment> = client.list(&format!("/issues/{place}/comments"), None).await?;
        let written: Result<Comment> = match all.iter().find(|comment| ours(comment)) {
            Some(sticky) => {
                client.put(Method::PATCH, &format!("/issues/comments/{}", sticky.id), &body).await
            }
            None if of.told.outcome == Ending::Skipped && !asked => return Ok(()),
            None => client.post_once(&format!("/issues/{place}/comments"), &body).await,
        };
        match written {
            Ok(comment) => {
                done.comment = Some(comment.html_url);
                return Ok(());
            }
            Err(error) if unclear(&error) && tries < TRIES => {
                client.pause(tries, &format!("{error:#}")).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a comment is the sticky one. Anybody can write the mark: only whom the repository trusts is believed.
fn ours(comment: &Comment) -> bool {
    let trusted = comment.user.kind == "Bot"
        || ["OWNER", "MEMBER", "COLLABORATOR"].contains(&comment.author_association.as_str());
    trusted && comment.body.starts_with(&format!("{MARK} sticky"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::File;

    fn patch(path: &str, file: Option<File>) -> Patch {
        Patch([(RepoPath::new(path).unwrap(), file)].into())
    }

    #[test]
    fn a_patch_stays_where_it_may_be() {
        let globs = |list: &[&str]| list.iter().map(|glob| (*glob).to_owned()).collect::<Vec<_>>();
        let check = |allowed: &[&str], protected: &[&str], path: &str, expected: Option<&str>| {
            let paths = Paths::new(&globs(allowed), &globs(protected)).unwrap();
            let found = paths.refuse(&patch(path, Some(File::plain("x"))));
            assert_eq!(found.is_some(), expected.is_some(), "{path}: {found:?}");
            assert!(expected.is_none_or(|part| found.unwrap().contains(part)));
        };
        check(&[], &[], "src/a.py", None);
        check(&[], &[], ".github/workflows/ci.yml", Some(".github"));
        check(&[], &[], ".GitHub/workflows/ci.yml", Some(".github"));
        check(&["src"], &[], "src/deep/a.py", None);
        check(&["src/"], &[], "lib/a.py", Some("outside"));
        check(&["**/*.py"], &[], "a.py", None);
        check(&[], &["infra/**"], "infra/x/y.tf", Some("protected"));
        let link = File { kind: FileKind::Link, content: b"/etc/passwd".to_vec() };
        assert!(Paths::new(&[], &[]).unwrap().refuse(&patch("a", Some(link))).is_some());
        assert!(Paths::new(&["[".to_owned()], &[]).is_err());
    }

    #[test]
    fn a_mark_by_an_outsider_makes_no_sticky_comment() {
        let comment = |kind: &str, association: &str, body: &str| {
            ours(&Comment {
                id: 1,
                body: body.to_owned(),
                html_url: String::new(),
                author_association: association.to_owned(),
                user: User { kind: kind.to_owned() },
            })
        };
        assert!(comment("Bot", "NONE", "<!-- regreen sticky -->\nx"));
        assert!(comment("User", "MEMBER", "<!-- regreen sticky -->\nx"));
        assert!(!comment("User", "CONTRIBUTOR", "<!-- regreen sticky -->\nx"));
        assert!(!comment("Bot", "NONE", "x <!-- regreen sticky -->"));
    }
}
