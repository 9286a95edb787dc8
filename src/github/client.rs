//! The client speaks GitHub's REST API: it tries again where the server or the connection failed, waits where a rate
//! limit says so, both within a budget, and turns what cannot be helped into words that say what to do. It decides
//! nothing about what is written.

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use http::{HeaderMap, Method};
use octocrab::Octocrab;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;

use crate::text::{clip, one_line};

/// Tries of one request where the server or the connection fails.
const TRIES: u32 = 5;
/// The wait before the second try; it doubles.
const FIRST: Duration = Duration::from_millis(500);
/// The wait where GitHub speaks of its secondary limit and says no time, as its documentation asks.
const SECONDARY: Duration = Duration::from_mins(1);
/// How long one request may take.
const DEADLINE: Duration = Duration::from_mins(1);
/// Pages of a list that are read.
const PAGES: u32 = 20;
/// Entries of a page, the most that GitHub gives.
const PAGE: usize = 100;

/// A connection to the API of one repository.
pub struct Client {
    api: Octocrab,
    /// `owner/name`.
    pub repository: String,
    left: Cell<Duration>,
    stop: watch::Receiver<bool>,
    held: Cell<bool>,
}

/// While it lives, what was begun is brought to its end though somebody cancels.
pub struct Held<'a>(&'a Client);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.set(false);
    }
}

/// An answer that is none of the good ones, told apart because callers branch on it.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// What happened and what to do.
    pub words: String,
}

/// That it cannot be told whether a request was carried out: the connection broke or the server failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unclear(String);

/// That somebody cancelled the job.
#[derive(Debug, thiserror::Error)]
#[error("cancelled; nothing further was written")]
pub struct Cancelled;

/// What to do with an answer.
#[derive(Debug, PartialEq)]
enum Next {
    /// Take it.
    Take,
    /// Ask again after this time, because of this.
    Again(Duration, String),
    /// Give up, for this reason.
    GiveUp(String),
}

impl Client {
    /// Prepares a client. `patience` bounds all waits together; once `stop` says so nothing more is begun.
    pub fn new(
        url: &str,
        token: Option<&str>,
        repository: &str,
        patience: Duration,
        stop: watch::Receiver<bool>,
    ) -> Result<Client> {
        // A token must not follow a redirect to another host.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(20))
            .timeout(DEADLINE);
        let local =
            ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|own| url.starts_with(own));
        let http = if local { http.no_proxy() } else { http };
        let http = http.build().context("failed to set up HTTP")?;
        let builder = Octocrab::builder().base_uri(url).with_context(|| format!("{url:?} is no address"))?;
        let builder = match token {
            Some(token) => builder.personal_token(token.to_owned()),
            None => builder,
        };
        let api = builder.build_with_reqwest(http).context("failed to set up the client")?;
        Ok(Client {
            api,
            repository: repository.to_owned(),
            left: Cell::new(patience),
            stop,
            held: Cell::new(false),
        })
    }

    /// Reads something of the repository.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.typed(Method::GET, path, None, true).await
    }

    /// Reads something that may not be there.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if refused(&error) == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a list to its end; `within` names the field that holds it, where it is not the answer itself.
    pub async fn list<T: DeserializeOwned>(&self, path: &str, within: Option<&str>) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mark = if path.contains('?') { '&' } else { '?' };
        for page in 1..=PAGES {
            let answer: Value = self.get(&format!("{path}{mark}per_page={PAGE}&page={page}")).await?;
            let items = within.map_or(&answer, |within| &answer[within]).clone();
            let items: Vec<T> = serde_json::from_value(items).context("GitHub's answer is no list")?;
            let last = items.len() < PAGE;
            all.extend(items);
            if last {
                break;
            }
        }
        Ok(all)
    }

    /// Writes something that may be written twice without harm.
    pub async fn put<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        self.typed(method, path, Some(serde_json::to_value(body)?), true).await
    }

    /// Makes something that must not be there twice: where it is not clear whether it was made, the error is
    /// [`Unclear`].
    pub async fn post_once<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.typed(Method::POST, path, Some(serde_json::to_value(body)?), false).await
    }

    /// Deletes something.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.ask(Method::DELETE, path, None, true).await.map(drop)
    }

    /// Waits as after a failed try, if the budget allows it.
    pub async fn pause(&self, tries: u32, why: &str) -> Result<()> {
        self.wait(FIRST * 2_u32.pow(tries.min(8)), why).await
    }

    /// Brings what follows to its end though somebody cancels, unless somebody did already.
    pub fn hold(&self) -> Held<'_> {
        self.held.set(!*self.stop.borrow());
        Held(self)
    }

    /// Whether nothing more may be begun.
    fn stopped(&self) -> bool {
        !self.held.get() && *self.stop.borrow()
    }

    async fn typed<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        again: bool,
    ) -> Result<T> {
        let what = format!("{method} {path}");
        let text = self.ask(method, path, body, again).await?;
        let text = if text.is_empty() { "null" } else { &text };
        serde_json::from_str(text).with_context(|| format!("GitHub's answer to {what} does not parse"))
    }

    /// Sends a request until it is answered. `again`: also where it is not clear whether it was carried out.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>, again: bool) -> Result<String> {
        let path = format!("/repos/{}{path}", self.repository);
        for tries in 1.. {
            if self.stopped() {
                return Err(Cancelled.into());
            }
            let (status, headers, text) = match self.send(&method, &path, body.as_ref()).await {
                Ok(answer) => answer,
                Err(error) => {
                    let why = format!(
                        "{method} {path}: GitHub cannot be reached: {}",
                        one_line(&format!("{error:#}"))
                    );
                    if !again {
                        return Err(Unclear(why).into());
                    }
                    anyhow::ensure!(tries < TRIES, "{why} ({tries} tries)");
                    self.pause(tries - 1, &why).await?;
                    continue;
                }
            };
            match next(status, &headers, &text, tries, now()) {
                Next::Take => return Ok(text),
                Next::Again(_, why) if status >= 500 && !again => {
                    return Err(Unclear(format!("{method} {path}: {why}")).into());
                }
                Next::Again(time, why) => self.wait(time, &format!("{method} {path}: {why}")).await?,
                Next::GiveUp(why) => {
                    let words =
                        format!("{method} {path}: {why}{}", advice(status, &method, &path, &headers, &text));
                    return Err(Refused { status, words }.into());
                }
            }
        }
        Err(anyhow!("a request was not sent"))
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, HeaderMap, String)> {
        let request = http::Request::builder()
            .method(method.clone())
            .uri(path)
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28");
        let request = self.api.build_request(request, body)?;
        let answer = self.api.execute(request).await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok((status, headers, self.api.body_to_string(answer).await?))
    }

    /// Waits, if the budget allows it and nobody cancels.
    async fn wait(&self, time: Duration, why: &str) -> Result<()> {
        let left = self.left.get();
        anyhow::ensure!(
            time <= left,
            "{why}; waiting {} s for it is more than the {} s that are left. Run the job again later",
            time.as_secs().max(1),
            left.as_secs()
        );
        self.left.set(left.saturating_sub(time));
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            Ok(_) = stop.wait_for(|stop| *stop), if !self.held.get() => Err(Cancelled.into()),
        }
    }
}

/// The status of a refusal.
pub fn refused(error: &anyhow::Error) -> Option<u16> {
    error.downcast_ref::<Refused>().map(|refused| refused.status)
}

/// Whether it is not clear if a request was carried out.
pub fn unclear(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Unclear>().is_some()
}

/// A part of a path, so that nothing in it is taken for more than a name; slashes stay.
pub fn segment(text: &str) -> String {
    let mut safe = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                safe.push(byte.into());
            }
            _ => drop(write!(safe, "%{byte:02X}")),
        }
    }
    safe
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// What an answer means, after so many tries, at a time in seconds since 1970.
fn next(status: u16, headers: &HeaderMap, text: &str, tries: u32, now: i64) -> Next {
    let header = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    // Never none: patience runs out of waits alone.
    let seconds = |n: i64| Duration::from_secs(n.clamp(1, 86_400).unsigned_abs());
    match status {
        200..=299 => Next::Take,
        403 | 429 => {
            if let Some(after) = header("retry-after") {
                return Next::Again(
                    seconds(after),
                    "GitHub asks to slow down (secondary rate limit)".to_owned(),
                );
            }
            if header("x-ratelimit-remaining") == Some(0) {
                let reset = header("x-ratelimit-reset").unwrap_or(now + 60);
                let at =
                    jiff::Timestamp::from_second(reset).map_or(String::new(), |at| format!(" until {at}"));
                return Next::Again(
                    seconds(reset.saturating_sub(now).saturating_add(1)),
                    format!("GitHub's rate limit is used up{at}"),
                );
            }
            if status == 429 || text.contains("secondary rate limit") {
                return Next::Again(SECONDARY, "GitHub asks to slow down (secondary rate limit)".to_owned());
            }
            Next::GiveUp(said(status, text))
        }
        500..=599 if tries < TRIES => Next::Again(FIRST * 2_u32.pow(tries - 1), said(status, text)),
        500..=599 => Next::GiveUp(format!("{} ({tries} tries)", said(status, text))),
        _ => Next::GiveUp(said(status, text)),
    }
}

/// GitHub's own words.
fn said(status: u16, text: &str) -> String {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let mut words = vec![answer["message"].as_str().unwrap_or_default().to_owned()];
    let errors = answer["errors"].as_array().into_iter().flatten();
    words.extend(errors.filter_map(|error| error["message"].as_str().or(error.as_str()).map(str::to_owned)));
    words.retain(|word| !word.is_empty());
    let words = one_line(&clip(&words.join(": "), 300));
    format!("GitHub answers {status}{}{words}", if words.is_empty() { "" } else { ": " })
}

/// What to do about a refusal.
fn advice(status: u16, method: &Method, path: &str, headers: &HeaderMap, text: &str) -> String {
    if text.contains("not permitted to create or approve pull requests") {
        return ". Switch on \"Allow GitHub Actions to create and approve pull requests\" in the repository's settings \
                under Actions, General"
            .to_owned();
    }
    let hidden = status == 404 && *method != Method::GET;
    match status {
        301 | 307 | 308 => ". The repository was renamed: check it out anew".to_owned(),
        401 => ". The token is not valid (any more)".to_owned(),
        403 => format!(
            ". The token lacks a permission: add `{}` to `permissions:` of the job",
            permission(method, path, headers)
        ),
        404 if hidden || text.contains("not accessible") => format!(
            ". It does not exist, or the token may not see it: is `{}` in `permissions:` of the job?",
            permission(method, path, headers)
        ),
        _ => String::new(),
    }
}

/// The line of `permissions:` that a request needs.
fn permission(method: &Method, path: &str, headers: &HeaderMap) -> String {
    // GitHub says itself what it would have accepted: `pull_requests=write; contents=read`.
    let accepted = headers.get("x-accepted-github-permissions").and_then(|value| value.to_str().ok());
    let plain = |text: &&str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_=,; ".contains(c));
    if let Some((name, access)) =
        accepted.filter(plain).and_then(|text| text.split([';', ',']).next()?.split_once('='))
    {
        return format!("{}: {}", name.trim().replace('_', "-"), access.trim());
    }
    let names = [
        ("/pulls", "pull-requests"),
        ("/check-runs", "checks"),
        ("/issues", "issues"),
        ("/git/", "contents"),
    ];
    let name = names.iter().find(|(part, _)| path.contains(part)).map_or("contents", |(_, name)| name);
    format!("{name}: {}", if *method == Method::GET { "read" } else { "write" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn an_answer_is_taken_awaited_or_given_up() {
        let check = |status, pairs: &[(&'static str, &str)], text: &str, tries| {
            next(status, &headers(pairs), text, tries, 1000)
        };
        let seconds = |next| match next {
            Next::Again(time, _) => time.as_millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!(check(201, &[], "{}", 1), Next::Take);
        assert_eq!(seconds(check(502, &[], "", 1)), 500);
        assert_eq!(seconds(check(502, &[], "", 3)), 2000);
        assert!(matches!(check(502, &[], "<html>", 5), Next::GiveUp(why) if why.contains("502")));
        assert_eq!(
            seconds(check(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1010")], "", 1)),
            11_000
        );
        assert_eq!(seconds(check(429, &[("retry-after", "7")], "", 1)), 7000);
        assert_eq!(seconds(check(429, &[("retry-after", "0")], "", 1)), 1000);
        let past = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "900")];
        assert_eq!(seconds(check(403, &past, "", 1)), 1000);
        assert_eq!(
            seconds(check(403, &[], "{\"message\":\"You have exceeded a secondary rate limit\"}", 1)),
            60_000
        );
        let refusal = check(403, &[], "{\"message\":\"Resource not accessible by integration\"}", 1);
        assert!(matches!(refusal, Next::GiveUp(why) if why.contains("not accessible")));
        assert!(
            matches!(check(422, &[], "{\"message\":\"no\",\"errors\":[{\"message\":\"why\"}]}", 1), Next::GiveUp(why) if why.contains("no: why"))
        );
    }

    #[test]
    fn a_missing_permission_is_named() {
        let check = |status, method: Method, path: &str, pairs: &[(&'static str, &str)], text: &str| {
            advice(status, &method, path, &headers(pairs), text)
        };
        assert!(check(403, Method::POST, "/repos/o/r/pulls", &[], "").contains("`pull-requests: write`"));
        assert!(
            check(403, Method::GET, "/repos/o/r/commits/1/check-runs", &[], "").contains("`checks: read`")
        );
        let said = [("x-accepted-github-permissions", "contents=write; workflows=write")];
        assert!(check(403, Method::POST, "/repos/o/r/git/refs", &said, "").contains("`contents: write`"));
        assert!(check(404, Method::POST, "/repos/o/r/git/refs", &[], "").contains("`contents: write`"));
        let setting = "{\"message\":\"GitHub Actions is not permitted to create or approve pull requests.\"}";
        assert!(check(403, Method::POST, "/repos/o/r/pulls", &[], setting).contains("Allow GitHub Actions"));
    }

    #[test]
    fn a_branch_name_stays_a_name() {
        assert_eq!(segment("a/b?c=../d#e f"), "a/b%3Fc%3D../d%23e%20f");
    }
}
