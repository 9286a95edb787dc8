//! A GitHub on this machine: the part of the REST API that the action uses, over a real bare git repository, with
//! faults on demand and a record of what was asked. It is used by tests, and alone by `examples/github-server.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A running server.
pub struct Server {
    /// Its address.
    pub url: String,
    hub: Arc<Mutex<Hub>>,
}

/// Everything that it knows.
#[derive(Default)]
struct Hub {
    url: String,
    repository: PathBuf,
    pulls: BTreeMap<u64, Value>,
    issues: BTreeMap<u64, Value>,
    comments: Vec<Value>,
    checks: Vec<Value>,
    faults: Vec<Fault>,
    asked: Vec<Value>,
    /// What tokens that were asked for may do.
    tokens: BTreeMap<String, Value>,
    last: u64,
}

/// What goes wrong with requests.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Fault {
    /// Method and a part of the path, as in `POST /git/refs`.
    pub on: String,
    /// How often; 0 is always.
    pub times: u32,
    /// What is answered instead; 0 drops the connection; absent answers as ever.
    pub status: Option<u16>,
    /// Headers of that.
    pub headers: BTreeMap<String, String>,
    /// Body of that.
    pub body: String,
    /// How long it takes.
    pub delay_ms: u64,
    /// Whether the request is carried out all the same.
    pub after: bool,
    /// How often it was met.
    #[serde(skip)]
    pub spent: u32,
}

/// An answer: status and body.
type Answer = (u16, Value);

impl Server {
    /// Serves a bare repository from a thread of its own, on this port or any.
    pub fn start(repository: &Path, port: u16) -> Server {
        let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hub = Hub { url: url.clone(), repository: repository.to_owned(), last: 100, ..Hub::default() };
        let hub = Arc::new(Mutex::new(hub));
        let served = Arc::clone(&hub);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, Router::new().fallback(serve).with_state(served)).await.unwrap();
            });
        });
        Server { url, hub }
    }

    /// Asks the server as its own controls do.
    pub fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut hub = self.hub.lock().unwrap();
        hub.control(method, path, body).unwrap_or_else(|| panic!("{method} {path}")).1
    }

    /// Lets something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.hub.lock().unwrap().faults.push(fault);
    }

    /// Nothing goes wrong any more.
    pub fn mend(&self) {
        self.hub.lock().unwrap().faults.clear();
    }

    /// `METHOD path` of every request, in order.
    pub fn asked(&self) -> Vec<String> {
        let hub = self.hub.lock().unwrap();
        let words =
            |one: &Value| format!("{} {}", one["method"].as_str().unwrap(), one["path"].as_str().unwrap());
        hub.asked.iter().map(words).collect()
    }

    /// Those requests that write.
    pub fn written(&self) -> Vec<String> {
        self.asked().into_iter().filter(|one| !one.starts_with("GET ")).collect()
    }
}

async fn serve(
    State(hub): State<Arc<Mutex<Hub>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = String::from_utf8_lossy(&body).into_owned();
    let body: Value =
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or_default() };
    let path = uri.path().to_owned();
    if path.starts_with("/_") {
        let answer = hub.lock().unwrap().control(method.as_str(), &path, &body);
        return respond(answer.unwrap_or((404, Value::Null)), &BTreeMap::new());
    }
    let token =
        headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let token = token.trim_start_matches("Bearer ").trim_start_matches("token ").to_owned();
    let fault = {
        let mut hub = hub.lock().unwrap();
        hub.asked.push(json!({"method": method.as_str(), "path": path, "query": uri.query(), "body": body, "token": !token.is_empty()}));
        hub.fault(method.as_str(), &path)
    };
    let Some(fault) = fault else {
        let answer = hub.lock().unwrap().answer(&method, &uri, &body, &token);
        return respond(answer, &BTreeMap::new());
    };
    let mut answer = None;
    if fault.after {
        answer = Some(hub.lock().unwrap().answer(&method, &uri, &body, &token));
    }
    tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    match fault.status {
        // Without the words of a panic: the connection is dropped with its task.
        Some(0) => std::panic::resume_unwind(Box::new(())),
        Some(status) => {
            respond((status, serde_json::from_str(&fault.body).unwrap_or(Value::Null)), &fault.headers)
        }
        None => {
            let answer = answer.unwrap_or_else(|| hub.lock().unwrap().answer(&method, &uri, &body, &token));
            respond(answer, &BTreeMap::new())
        }
    }
}

fn respond((status, body): Answer, headers: &BTreeMap<String, String>) -> Response {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut response = (StatusCode::from_u16(status).unwrap(), text).into_response();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        response.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    }
    response
}

/// A name in a path as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = (byte == b'%').then(|| [rest.next().unwrap(), rest.next().unwrap()]);
        bytes.push(
            digits.map_or(byte, |digits| {
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }),
        );
    }
    String::from_utf8(bytes).unwrap()
}

fn missing() -> Answer {
    (404, json!({"message": "Not Found"}))
}

fn invalid(why: &str) -> Answer {
    (422, json!({"message": "Validation Failed", "errors": [{"message": why}]}))
}

impl Hub {
    /// What this server alone has: what it was asked, what it holds, what is to go wrong.
    fn control(&mut self, method: &str, path: &str, body: &Value) -> Option<Answer> {
        let answer = match (method, path) {
            ("GET", "/_asked") => json!(self.asked),
            ("GET", "/_state") => {
                json!({"pulls": self.pulls.values().collect::<Vec<_>>(), "issues": self.issues.values().collect::<Vec<_>>(),
                "comments": self.comments, "checks": self.checks, "refs": self.references()})
            }
            ("POST", "/_faults") => {
                self.faults = serde_json::from_value(body.clone()).unwrap();
                json!({})
            }
            ("POST", "/_pulls") => self.given_pull(body),
            ("POST", "/_issues") => {
                let number = body["number"].as_u64().unwrap();
                let labels: Vec<Value> = names(&body["labels"]);
                self.issues.insert(
                    number,
                    json!({"number": number, "title": body["title"], "body": body["body"], "labels": labels}),
                );
                self.issues[&number].clone()
            }
            ("POST", "/_checks") => {
                self.checks.push(body.clone());
                body.clone()
            }
            ("POST", "/_forget") => {
                self.pulls.clear();
                self.comments.clear();
                self.checks.clear();
                let git = self.git();
                for name in self.references().keys().filter(|name| name.starts_with("refs/heads/regreen/")) {
                    git.find_reference(name).unwrap().delete().unwrap();
                }
                json!({})
            }
            ("POST", "/_comments") => {
                self.comments.push(body.clone());
                body.clone()
            }
            _ => return None,
        };
        Some((200, answer))
    }

    fn given_pull(&mut self, body: &Value) -> Value {
        let number = body["number"].as_u64().unwrap();
        let head = body["head"].as_str().unwrap();
        let sha = body["sha"].as_str().map(str::to_owned).or_else(|| self.tip(head)).unwrap_or_default();
        let owner = if body["fork"] == json!(true) { "stranger/r" } else { "o/r" };
        let pull = json!({"number": number, "title": body["title"], "body": body["body"],
            "state": body["state"].as_str().unwrap_or("open"), "merged_at": null,
            "html_url": format!("{}/o/r/pull/{number}", self.url), "labels": names(&body["labels"]),
            "head": {"ref": head, "sha": sha, "repo": {"full_name": owner}}, "base": {"ref": body["base"]}});
        self.pulls.insert(number, pull.clone());
        pull
    }

    /// The fault that a request meets.
    fn fault(&mut self, method: &str, path: &str) -> Option<Fault> {
        let meets = |fault: &&mut Fault| {
            let (on, part) = fault.on.split_once(' ').unwrap_or(("*", &fault.on));
            (on == "*" || on == method)
                && path.contains(part)
                && (fault.times == 0 || fault.spent < fault.times)
        };
        let fault = self.faults.iter_mut().find(meets)?;
        fault.spent += 1;
        Some(fault.clone())
    }

    fn git(&self) -> git2::Repository {
        git2::Repository::open(&self.repository).unwrap()
    }

    fn tip(&self, branch: &str) -> Option<String> {
        let reference = self.git().find_reference(&format!("refs/heads/{branch}")).ok()?.target();
        Some(reference?.to_string())
    }

    fn references(&self) -> BTreeMap<String, String> {
        let git = self.git();
        let all = git.references().unwrap().flatten();
        all.filter_map(|one| Some((one.name().ok()?.to_owned(), one.target()?.to_string()))).collect()
    }

    fn answer(&mut self, method: &Method, uri: &Uri, body: &Value, token: &str) -> Answer {
        let path = uri.path().strip_prefix("/api/v3").unwrap_or(uri.path()).to_owned();
        let method = method.as_str();
        if (method, path.as_str()) == ("POST", "/app/installations/1/access_tokens") {
            let token = format!("ghs_{:036}", self.tokens.len());
            self.tokens.insert(token.clone(), body["permissions"].clone());
            return (201, json!({"token": token}));
        }
        if path == "/rate_limit" {
            return (200, json!({"resources": {"core": {"limit": 5000, "remaining": 5000}}}));
        }
        let Some((_, rest)) = path.strip_prefix("/repos/").and_then(|rest| rest.split_once('/')) else {
            return missing();
        };
        let (_, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let parts: Vec<String> = rest.split('/').map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        if token.is_empty() && method != "GET" {
            return (401, json!({"message": "Requires authentication"}));
        }
        if !self.may(token, method, &parts) {
            return (403, json!({"message": "Resource not accessible by integration"}));
        }
        let query = decoded(uri.query().unwrap_or_default());
        match parts.as_slice() {
            ["git", rest @ ..] => self.git_data(method, rest, body),
            ["pulls", rest @ ..] => self.of_pulls(method, rest, &query, body),
            ["issues", rest @ ..] => self.of_issues(method, rest, &query, body),
            ["commits", sha, "check-runs"] => {
                let of = |check: &&Value| check["head_sha"] == json!(sha);
                let found: Vec<&Value> = self.checks.iter().filter(of).collect();
                (200, json!({"total_count": found.len(), "check_runs": page(&found, &query)}))
            }
            ["collaborators", login, "permission"] => {
                (200, json!({"permission": if login.starts_with("reader") { "read" } else { "write" }}))
            }
            ["compare", rest @ ..] => {
                let rest = rest.join("/");
                let (base, head) = rest.split_once("...").unwrap();
                let git = self.git();
                let id = |name: &str| git2::Oid::from_str(&self.tip(name).unwrap_or(name.to_owned())).ok();
                match id(base).zip(id(head)).and_then(|(base, head)| git.graph_ahead_behind(head, base).ok())
                {
                    Some((ahead, behind)) => (200, json!({"ahead_by": ahead, "behind_by": behind})),
                    None => missing(),
                }
            }
            ["check-runs", rest @ ..] => self.of_checks(method, rest, body),
            _ => missing(),
        }
    }

    /// Whether a token may do something; tokens of which nothing is known may do all.
    fn may(&self, token: &str, method: &str, parts: &[&str]) -> bool {
        let Some(permissions) = self.tokens.get(token) else { return true };
        let names: &[&str] = match parts.first().copied().unwrap_or_default() {
            "git" => &["contents"],
            "pulls" => &["pull_requests"],
            "issues" => &["issues", "pull_requests"],
            "commits" | "check-runs" => &["checks"],
            _ => &["metadata"],
        };
        names.iter().any(|name| {
            let access = permissions[*name].as_str().unwrap_or_default();
            access == "write" || (access == "read" && method == "GET")
        })
    }

    fn git_data(&mut self, method: &str, parts: &[&str], body: &Value) -> Answer {
        let git = self.git();
        let oid = |value: &Value| {
            git2::Oid::from_str(value.as_str().unwrap_or_default()).unwrap_or(git2::Oid::ZERO_SHA1)
        };
        match (method, parts) {
            ("POST", ["blobs"]) => {
                let content = body["content"].as_str().unwrap();
                let content =
                    if body["encoding"] == "base64" { base64(content) } else { content.as_bytes().to_vec() };
                (201, json!({"sha": git.blob(&content).unwrap().to_string()}))
            }
            ("POST", ["trees"]) => make_tree(&git, body),
            ("POST", ["commits"]) => {
                let Ok(tree) = git.find_tree(oid(&body["tree"])) else {
                    return invalid("Tree SHA does not exist");
                };
                let parents: Vec<_> = body["parents"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| git.find_commit(oid(one)).unwrap())
                    .collect();
                let author = git2::Signature::new(
                    "github-actions[bot]",
                    "bot@example.org",
                    &git2::Time::new(1_700_000_000, 0),
                )
                .unwrap();
                let message = body["message"].as_str().unwrap();
                let sha = git
                    .commit(None, &author, &author, message, &tree, &parents.iter().collect::<Vec<_>>())
                    .unwrap();
                (201, json!({"sha": sha.to_string()}))
            }
            ("GET", ["commits", sha]) => match git2::Oid::from_str(sha).and_then(|id| git.find_commit(id)) {
                Ok(commit) => {
                    let parents: Vec<Value> =
                        commit.parent_ids().map(|id| json!({"sha": id.to_string()})).collect();
                    (
                        200,
                        json!({"sha": sha, "tree": {"sha": commit.tree_id().to_string()}, "parents": parents, "message": commit.message().unwrap_or_default()}),
                    )
                }
                Err(_) => missing(),
            },
            ("GET", ["ref", "heads", name @ ..]) => match self.tip(&name.join("/")) {
                Some(sha) => {
                    (200, json!({"ref": format!("refs/heads/{}", name.join("/")), "object": {"sha": sha}}))
                }
                None => missing(),
            },
            ("POST", ["refs"]) => {
                let (name, sha) = (body["ref"].as_str().unwrap(), oid(&body["sha"]));
                if git.find_reference(name).is_ok() {
                    return (422, json!({"message": "Reference already exists"}));
                }
                if git.find_commit(sha).is_err() || git.reference(name, sha, false, "made").is_err() {
                    return (422, json!({"message": "Object does not exist"}));
                }
                (201, json!({"ref": name, "object": {"sha": sha.to_string()}}))
            }
            ("PATCH", ["refs", name @ ..]) => {
                let name = format!("refs/{}", name.join("/"));
                let sha = oid(&body["sha"]);
                let Some(before) = git.find_reference(&name).ok().and_then(|one| one.target()) else {
                    return (422, json!({"message": "Reference does not exist"}));
                };
                let forward = before == sha || git.graph_descendant_of(sha, before).unwrap_or(false);
                if body["force"] != json!(true) && !forward {
                    return (422, json!({"message": "Update is not a fast forward"}));
                }
                git.reference(&name, sha, true, "moved").unwrap();
                self.follow(&name, &sha.to_string());
                (200, json!({"ref": name, "object": {"sha": sha.to_string()}}))
            }
            ("DELETE", ["refs", name @ ..]) => {
                match git.find_reference(&format!("refs/{}", name.join("/"))) {
                    Ok(mut reference) => {
                        reference.delete().unwrap();
                        (204, Value::Null)
                    }
                    Err(_) => (422, json!({"message": "Reference does not exist"})),
                }
            }
            _ => missing(),
        }
    }

    /// Open pull requests move with their branch.
    fn follow(&mut self, name: &str, sha: &str) {
        let branch = name.trim_start_matches("refs/heads/");
        for pull in self.pulls.values_mut().filter(|pull| pull["head"]["ref"] == json!(branch)) {
            pull["head"]["sha"] = json!(sha);
        }
    }

    fn of_pulls(&mut self, method: &str, parts: &[&str], query: &str, body: &Value) -> Answer {
        match (method, parts) {
            ("GET", []) => {
                let wanted = |name: &str| {
                    query
                        .split('&')
                        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
                        .map(str::to_owned)
                };
                let (state, head) = (wanted("state").unwrap_or("open".to_owned()), wanted("head"));
                let branch = head.map(|head| head.split_once(':').unwrap().1.to_owned());
                let fits = |pull: &&Value| {
                    (state == "all" || pull["state"] == json!(state))
                        && branch.as_ref().is_none_or(|branch| pull["head"]["ref"] == json!(branch))
                };
                let found: Vec<&Value> = self.pulls.values().filter(fits).collect();
                (200, json!(page(&found, query)))
            }
            ("GET", [number]) => number
                .parse()
                .ok()
                .and_then(|number: u64| self.pulls.get(&number))
                .map_or_else(missing, |pull| (200, pull.clone())),
            ("PATCH", [number]) => {
                let Some(pull) = self.pulls.get_mut(&number.parse().unwrap()) else { return missing() };
                for name in ["title", "body", "state"] {
                    if !body[name].is_null() {
                        pull[name] = body[name].clone();
                    }
                }
                (200, pull.clone())
            }
            ("POST", []) => {
                let head = body["head"].as_str().unwrap();
                if self.tip(head).is_none() {
                    return invalid("head is not a branch");
                }
                if self.tip(body["base"].as_str().unwrap()).is_none() {
                    return invalid("base is not a branch");
                }
                let open = |pull: &&Value| pull["state"] == "open" && pull["head"]["ref"] == json!(head);
                if self.pulls.values().any(|pull| open(&pull)) {
                    return invalid(&format!("A pull request already exists for o:{head}."));
                }
                self.last += 1;
                let mut given = body.clone();
                given["number"] = json!(self.last);
                (201, self.given_pull(&given))
            }
            _ => missing(),
        }
    }

    fn of_issues(&mut self, method: &str, parts: &[&str], query: &str, body: &Value) -> Answer {
        match (method, parts) {
            ("GET", [number]) => number
                .parse()
                .ok()
                .and_then(|number: u64| self.issues.get(&number))
                .map_or_else(missing, |issue| (200, issue.clone())),
            ("POST", [number, "labels"]) => {
                let Some(pull) = self.pulls.get_mut(&number.parse().unwrap()) else { return missing() };
                pull["labels"].as_array_mut().unwrap().extend(names(&body["labels"]));
                (200, pull["labels"].clone())
            }
            ("GET", [number, "comments"]) => {
                let of = |comment: &&Value| comment["issue"] == json!(number.parse::<u64>().unwrap());
                let found: Vec<&Value> = self.comments.iter().filter(of).collect();
                (200, json!(page(&found, query)))
            }
            ("POST", [number, "comments"]) => {
                self.last += 1;
                let comment = json!({"id": self.last, "issue": number.parse::<u64>().unwrap(), "body": body["body"], "author_association": "NONE",
                    "html_url": format!("{}/o/r/issues/{number}#issuecomment-{}", self.url, self.last),
                    "user": {"login": "github-actions[bot]", "type": "Bot"}});
                self.comments.push(comment.clone());
                (201, comment)
            }
            ("PATCH", ["comments", id]) => {
                let known = self
                    .comments
                    .iter_mut()
                    .find(|comment| comment["id"] == json!(id.parse::<u64>().unwrap()));
                known.map_or_else(missing, |comment| {
                    comment["body"] = body["body"].clone();
                    (200, comment.clone())
                })
            }
            _ => missing(),
        }
    }

    fn of_checks(&mut self, method: &str, parts: &[&str], body: &Value) -> Answer {
        match (method, parts) {
            ("POST", []) => {
                self.last += 1;
                let mut check = body.clone();
                check["id"] = json!(self.last);
                self.checks.push(check.clone());
                (201, check)
            }
            ("PATCH", [id]) => {
                let known =
                    self.checks.iter_mut().find(|check| check["id"] == json!(id.parse::<u64>().unwrap()));
                known.map_or_else(missing, |check| {
                    let id = check["id"].take();
                    *check = body.clone();
                    check["id"] = id;
                    (200, check.clone())
                })
            }
            _ => missing(),
        }
    }
}

/// Names as GitHub gives them.
fn names(list: &Value) -> Vec<Value> {
    list.as_array().into_iter().flatten().map(|name| json!({"name": name})).collect()
}

/// The page of a list that was asked for.
fn page<'a>(all: &[&'a Value], query: &str) -> Vec<&'a Value> {
    let number = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse::<usize>().ok())
    };
    let (size, page) = (number("per_page").unwrap_or(30), number("page").unwrap_or(1));
    all.iter().skip(size * (page - 1)).take(size).copied().collect()
}

fn make_tree(git: &git2::Repository, body: &Value) -> Answer {
    let mut index = git2::Index::new().unwrap();
    let base = body["base_tree"].as_str().and_then(|id| git.find_tree(git2::Oid::from_str(id).ok()?).ok());
    if let Some(base) = base {
        index.read_tree(&base).unwrap();
    }
    for entry in body["tree"].as_array().unwrap() {
        let path = entry["path"].as_str().unwrap();
        let Some(id) = entry["sha"].as_str() else {
            index.remove(Path::new(path), 0).unwrap();
            continue;
        };
        let mode = u32::from_str_radix(entry["mode"].as_str().unwrap(), 8).unwrap();
        let time = git2::IndexTime::new(0, 0);
        let entry = git2::IndexEntry {
            ctime: time,
            mtime: time,
            dev: 0,
            ino: 0,
            mode,
            uid: 0,
            gid: 0,
            file_size: 0,
            id: git2::Oid::from_str(id).unwrap(),
            flags: 0,
            flags_extended: 0,
            path: path.as_bytes().to_vec(),
        };
        index.add(&entry).unwrap();
    }
    (201, json!({"sha": index.write_tree_to(git).unwrap().to_string()}))
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}
