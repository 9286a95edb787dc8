//! A large language model behind an HTTP interface, as a proposer: one prompt, one streamed reply, what it cost.
//! It knows wire formats, keys, prices and which errors are worth another try; what the words mean is `prompt`'s
//! and `edit`'s business.
//!
//! Models are named `PROVIDER/NAME`, or `PROVIDER@URL/NAME` for any server that speaks the provider's wire format
//! (`openai@http://127.0.0.1:8080/v1/qwen3`). The key comes from `cli`, which alone reads the environment, and
//! never leaves this room but in the request itself.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use genai::adapter::AdapterKind;
use genai::chat::{
    ChatMessage, ChatOptions, ChatRequest, ChatStreamEvent, ReasoningEffort, StopReason, Usage,
};
use genai::resolver::{AuthData, Endpoint, ProviderConfig};
use genai::{Client, ModelIden};

use crate::budget::Spent;
use crate::text;

use super::prices::{Price, Prices, Size};
use super::{Answer, Ask, Prompt, Proposal, Proposer};

/// Variable that holds the key for servers given by URL: those never get a provider's own key.
pub const CUSTOM_KEY_VARIABLE: &str = "REGREEN_API_KEY";

/// A reply longer than this is broken off.
const LONGEST_REPLY: usize = 8 << 20;

/// Output tokens asked for at most unless the user says otherwise: enough for whole files after some thinking,
/// little enough that a small budget can reserve it.
const DEFAULT_OUTPUT: u64 = 32_000;

/// The size taken for granted of a model that no table knows.
const UNKNOWN_SIZE: Size = Size { context: 32_768, max_output: 8_192 };

/// How often one call is tried.
const TRIES: u32 = 4;

/// An API key. It shows itself to nobody.
#[derive(Clone)]
pub struct Key(String);

/// What to call and how, as `cli` resolved it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `PROVIDER/NAME` or `PROVIDER@URL/NAME`.
    pub model: String,
    /// Another server that speaks the provider's wire format.
    pub base_url: Option<String>,
    /// The key for it.
    pub key: Option<Key>,
    /// The price, where the user knows better than the table.
    pub price: Option<Price>,
    /// Tokens that prompt and reply may have together, where the user knows better than the table.
    pub context: Option<u64>,
    /// Output tokens that one reply may have.
    pub max_output: Option<u32>,
    /// Sampling temperature; the provider's own default without it.
    pub temperature: Option<f64>,
    /// The wait before the second try of a call, doubled each time.
    pub patience: Duration,
}

/// A model that can be asked.
pub struct Llm {
    name: String,
    target: Target,
    client: Client,
    key: Option<Key>,
    price: Option<Price>,
    size: Size,
    max_output: u32,
    temperature: Option<f64>,
    patience: Duration,
}

impl Settings {
    /// Settings for `model` with every default.
    pub fn new(model: &str) -> Settings {
        Settings {
            model: model.to_owned(),
            base_url: None,
            key: None,
            price: None,
            context: None,
            max_output: None,
            temperature: None,
            patience: Duration::from_millis(500),
        }
    }
}

impl Llm {
    /// Makes a proposer. Nothing is sent yet.
    pub fn new(settings: Settings, prices: &Prices) -> Result<Llm> {
        let target = Target::parse(&settings.model, settings.base_url.as_deref())?;
        let known = prices.of(&settings.model);
        let free = target.local().then_some(Price::FREE);
        let mut size = known.map_or(UNKNOWN_SIZE, |(_, size)| size);
        if let Some(context) = settings.context {
            size.context = context;
        }
        let most = size.max_output.min(DEFAULT_OUTPUT).min(size.context / 2);
        let max_output = settings.max_output.unwrap_or_else(|| u32::try_from(most).unwrap_or(u32::MAX));
        Ok(Llm {
            client: client(&target, settings.key.as_ref())?,
            name: settings.model,
            target,
            key: settings.key,
            price: settings.price.or(free).or(known.map(|(price, _)| price)),
            size,
            max_output,
            temperature: settings.temperature,
            patience: settings.patience,
        })
    }

    /// Asks until there is an answer, the tries are used up, or `time` is.
    async fn answer(&self, prompt: &Prompt, time: Duration) -> Proposal {
        let deadline = Instant::now() + time;
        let mut spent = Spent::default();
        let mut room = self.max_output;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut heard = Heard::default();
            let left = deadline.saturating_duration_since(Instant::now());
            let trouble = match tokio::time::timeout(left, self.call(prompt, room, &mut heard)).await {
                Ok(Ok(())) => return self.said(prompt, heard, spent),
                Ok(Err(trouble)) => trouble,
                Err(_) => self.out_of_time(time),
            };
            if trouble.billed {
                let paid = self.paid(prompt, &heard);
                spent += paid;
                // The call has reserved one prompt and one reply: what a broken try used of it is gone.
                room = room.saturating_sub(u32::try_from(paid.tokens()).unwrap_or(u32::MAX));
            }
            let nothing = |reason: String, permanent| Proposal::Nothing {
                reason: self.safe(&reason),
                spent,
                permanent,
            };
            let wait = match trouble.cure {
                Cure::None => return nothing(trouble.reason, true),
                Cure::AnotherTime => return nothing(trouble.reason, false),
                Cure::Retry(wait) => wait.unwrap_or_else(|| backoff(self.patience, tries)),
            };
            if tries == TRIES {
                return nothing(format!("{} (tried {TRIES} times)", trouble.reason), false);
            }
            if room < self.max_output / 2 {
                let reason = format!("{}; another try would cost more than was reserved", trouble.reason);
                return nothing(reason, false);
            }
            if Instant::now() + wait >= deadline {
                let reason = format!(
                    "{}; waiting {} s for another try would take more time than is left",
                    trouble.reason,
                    wait.as_secs()
                );
                return nothing(reason, false);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// One request, its reply written to `heard` as it arrives.
    async fn call(&self, prompt: &Prompt, room: u32, heard: &mut Heard) -> Result<(), Trouble> {
        let model = ModelIden::new(self.target.adapter, self.target.name.as_str());
        let options = self.options(room);
        let stream = self.client.exec_chat_stream(model, request(prompt), Some(&options)).await;
        let mut stream = stream.map_err(|error| self.trouble(error))?.stream;
        let floor = memory();
        let mut watch = tokio::time::interval(WATCH);
        loop {
            let event = tokio::select! {
                event = stream.next() => event,
                _ = watch.tick() => {
                    if memory() > floor + MOST_MEMORY {
                        // Something else in this process may have grown, so this is no lasting verdict.
                        return Err(Trouble { cure: Cure::AnotherTime, ..self.floods() });
                    }
                    continue;
                }
            };
            match event {
                Some(Ok(ChatStreamEvent::End(end))) => {
                    heard.usage = end.captured_usage;
                    heard.stop = end.captured_stop_reason;
                    return Ok(());
                }
                Some(Ok(event)) => heard.hear(event),
                Some(Err(error)) => return Err(self.trouble(error)),
                None if heard.is_empty() => return Err(self.silent()),
                None => return Err(self.broken("it ended in the middle")),
            }
            if heard.text.len() + heard.unsaid > LONGEST_REPLY {
                return Err(self.floods());
            }
        }
    }

    fn options(&self, room: u32) -> ChatOptions {
        ChatOptions {
            max_tokens: Some(room),
            temperature: self.temperature,
            capture_usage: Some(true),
            reasoning_effort: self.target.literal_name(),
            ..ChatOptions::default()
        }
    }

    /// What a whole reply amounts to.
    fn said(&self, prompt: &Prompt, heard: Heard, before: Spent) -> Proposal {
        let mut spent = before;
        spent += self.paid(prompt, &heard);
        if heard.text.trim().is_empty() {
            let reason = match heard.stop {
                Some(StopReason::MaxTokens(_)) => format!(
                    "{} used up its {} output tokens before it said anything: raise --max-output",
                    self.name, self.max_output
                ),
                Some(StopReason::ContentFilter(_)) => format!("{} refused to answer", self.name),
                _ => format!("{} answered with nothing", self.name),
            };
            return Proposal::Nothing { reason: self.safe(&reason), spent, permanent: false };
        }
        // A reply goes into the ledger; a server that echoes its request must not carry the key there.
        let text = match &self.key {
            Some(key) => key.hide(&heard.text),
            None => heard.text,
        };
        Proposal::Reply { text, spent }
    }

    /// What a reply cost: the server's own count, or else an estimate that is rather too high.
    fn paid(&self, prompt: &Prompt, heard: &Heard) -> Spent {
        let price = self.price.unwrap_or(Price::FREE);
        let count = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok());
        let usage = heard.usage.as_ref();
        let asked = usage.and_then(|usage| count(usage.prompt_tokens));
        let answered = usage.and_then(|usage| count(usage.completion_tokens));
        let cached = usage.and_then(|usage| count(usage.prompt_tokens_details.as_ref()?.cached_tokens));
        let mut spent = price.spent(
            asked.unwrap_or_else(|| thirds(bytes(prompt))),
            cached.unwrap_or(0),
            answered.unwrap_or_else(|| thirds(heard.text.len() + heard.unsaid)),
        );
        spent.estimated = asked.is_none() || answered.is_none();
        spent
    }

    /// Words for people, without the key in them.
    fn safe(&self, reason: &str) -> String {
        match &self.key {
            Some(key) => key.scrub(reason),
            None => reason.to_owned(),
        }
    }
}

impl Proposer for Llm {
    fn name(&self) -> &str {
        &self.name
    }

    fn context(&self) -> Option<u64> {
        Some(self.size.context.saturating_sub(u64::from(self.max_output)))
    }

    fn most(&self, prompt: &Prompt) -> Result<Spent> {
        let price = self.price.with_context(|| {
            format!(
                "the price of {} is not known, so no budget can hold: set it with --price IN,OUT (dollars per \
                 million tokens), or --price 0,0 if it costs nothing",
                self.name
            )
        })?;
        Ok(price.spent(bytes(prompt).div_ceil(2) as u64, 0, u64::from(self.max_output)))
    }

    fn propose<'a>(&'a mut self, ask: &'a Ask<'a>) -> Answer<'a> {
        Box::pin(async move { Ok(self.answer(ask.prompt, ask.time).await) })
    }
}

/// The variable that holds the key for `model`, for `cli` to read; none for servers that need none.
pub fn key_variable(model: &str, base_url: Option<&str>) -> Option<&'static str> {
    let target = Target::parse(model, base_url).ok()?;
    target.variable
}

/// What has arrived of a reply.
#[derive(Default)]
struct Heard {
    text: String,
    /// Bytes of thinking and of anything else that is billed and not part of the text.
    unsaid: usize,
    usage: Option<Usage>,
    stop: Option<StopReason>,
}

impl Heard {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.unsaid == 0
    }

    fn hear(&mut self, event: ChatStreamEvent) {
        match event {
            ChatStreamEvent::Chunk(chunk) => self.text.push_str(&chunk.content),
            ChatStreamEvent::ReasoningChunk(chunk) | ChatStreamEvent::ThoughtSignatureChunk(chunk) => {
                self.unsaid += chunk.content.len();
            }
            ChatStreamEvent::ToolCallChunk(chunk) => {
                self.unsaid += chunk.tool_call.fn_arguments.as_str().map_or(1, str::len);
            }
            ChatStreamEvent::Start | ChatStreamEvent::Heartbeat | ChatStreamEvent::End(_) => {}
        }
    }
}

fn request(prompt: &Prompt) -> ChatRequest {
    let request = ChatRequest::new(vec![ChatMessage::user(prompt.user.as_str())]);
    if prompt.system.is_empty() { request } else { request.with_system(prompt.system.as_str()) }
}

/// Bytes of a prompt on the wire, the roles and markers around them included.
fn bytes(prompt: &Prompt) -> usize {
    prompt.system.len() + prompt.user.len() + 64
}

/// Tokens in so many bytes: source code has three to four bytes a token, so this is rather too high.
fn thirds(bytes: usize) -> u64 {
    bytes.div_ceil(3) as u64
}

// ---- what can go wrong -------------------------------------------------------------------------------------

/// Why a try failed.
struct Trouble {
    reason: String,
    cure: Cure,
    /// Whether the provider may have counted tokens all the same.
    billed: bool,
}

/// What would help.
enum Cure {
    /// Nothing in this run.
    None,
    /// Asking again later in this run, not at once.
    AnotherTime,
    /// Another try, after the wait that the server asked for, if it did.
    Retry(Option<Duration>),
}

impl Llm {
    fn trouble(&self, error: genai::Error) -> Trouble {
        match error {
            genai::Error::HttpError { status, body, headers, .. } => {
                let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
                let wait = header("retry-after-ms")
                    .and_then(|text| Some(text.parse::<f64>().ok()? / 1e3))
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                    .or_else(|| header("retry-after").and_then(retry_after));
                self.refused(status.as_u16(), &message(&body), wait)
            }
            genai::Error::ChatResponse { body, .. } => self.refused_midway(&body.to_string()),
            // The streams wrap what happened below them, a refusal included.
            genai::Error::WebStream { error, cause, .. } => match error.downcast::<genai::Error>() {
                Ok(inner) => self.trouble(*inner),
                Err(error) => match error.downcast_ref::<reqwest::Error>() {
                    Some(error) if error.is_connect() => self.unreachable(error),
                    Some(error) => self.broken(&chain(error)),
                    None => self.broken(&cause),
                },
            },
            genai::Error::StreamParse { serde_error, .. } => {
                self.broken(&format!("the reply is not in its wire format: {serde_error}"))
            }
            other => Trouble {
                reason: format!("{} cannot be asked: {}", self.name, brief(&other.to_string())),
                cure: Cure::None,
                billed: false,
            },
        }
    }

    /// The server answered with an error status.
    fn refused(&self, status: u16, said: &str, wait: Option<Duration>) -> Trouble {
        let (name, said) = (&self.name, brief(said));
        let variable = self.target.variable.unwrap_or(CUSTOM_KEY_VARIABLE);
        let (reason, cure) = match status {
            // What is said of a wrong key may quote it.
            401 if self.key.is_none() => (format!("{name} needs a key: set {variable}"), Cure::None),
            401 => (format!("the key for {name} is not accepted (401): check {variable}"), Cure::None),
            402 => (format!("the account for {name} has no credit (402): {said}"), Cure::None),
            403 => (
                format!(
                    "the key for {name} may not be used for this (403): check {variable} and its rights: {said}"
                ),
                Cure::None,
            ),
            400 | 413 | 422 if too_long(&said) => (self.does_not_fit(&said), Cure::None),
            404 => (
                format!("there is no such model or address (404): check the name {name}: {said}"),
                Cure::None,
            ),
            429 if out_of_credit(&said) => {
                (format!("the account for {name} has no credit (429): {said}"), Cure::None)
            }
            429 => (format!("{name} is asked too often (429): {said}"), Cure::Retry(wait)),
            500..=599 => (format!("{name} has a fault of its own ({status}): {said}"), Cure::Retry(wait)),
            408 | 409 | 425 => {
                (format!("{name} did not take the request ({status}): {said}"), Cure::AnotherTime)
            }
            300..=399 => (
                format!(
                    "{name} sends the request elsewhere ({status}), where the key may not follow: give --base-url the right address"
                ),
                Cure::None,
            ),
            _ => (format!("{name} refuses the request ({status}): {said}"), Cure::None),
        };
        Trouble { reason, cure, billed: false }
    }

    /// The server sent an error within its reply.
    fn refused_midway(&self, said: &str) -> Trouble {
        let lasting = ["invalid_request", "authentication", "permission", "not_found", "insufficient_quota"];
        let (reason, cure) = if too_long(said) {
            (self.does_not_fit(&brief(&message(said))), Cure::None)
        } else {
            let cure =
                if lasting.iter().any(|word| said.contains(word)) { Cure::None } else { Cure::Retry(None) };
            (format!("{} broke off with an error: {}", self.name, brief(&message(said))), cure)
        };
        Trouble { reason, cure, billed: true }
    }

    fn does_not_fit(&self, said: &str) -> String {
        format!(
            "the prompt does not fit {}: say how much does with --context TOKENS, or take a model with a larger \
             context: {said}",
            self.name
        )
    }

    fn unreachable(&self, error: &reqwest::Error) -> Trouble {
        let remedy = if self.target.local() {
            "is the server running?"
        } else {
            "is the network up, and a proxy needed?"
        };
        Trouble {
            reason: format!("{} cannot be reached: {} {remedy}", self.name, brief(&chain(error))),
            cure: Cure::Retry(None),
            billed: false,
        }
    }

    fn broken(&self, cause: &str) -> Trouble {
        Trouble {
            reason: format!("the reply of {} broke off: {}", self.name, brief(cause)),
            cure: Cure::Retry(None),
            billed: true,
        }
    }

    /// Servers that begin to answer before they have looked at the prompt fail like this when it is too long.
    fn silent(&self) -> Trouble {
        Trouble {
            reason: format!(
                "{} sent an empty reply: perhaps the prompt does not fit its context (set --context TOKENS), or the \
                 address is not that of a model server",
                self.name
            ),
            cure: Cure::Retry(None),
            billed: true,
        }
    }

    fn floods(&self) -> Trouble {
        Trouble {
            reason: format!(
                "{} sends without end, where {} tokens were asked for: its server cannot be used",
                self.name, self.max_output
            ),
            cure: Cure::None,
            billed: true,
        }
    }

    fn out_of_time(&self, time: Duration) -> Trouble {
        Trouble {
            reason: format!("{} did not finish within {} s", self.name, time.as_secs()),
            cure: Cure::AnotherTime,
            billed: true,
        }
    }
}

/// The message in an error body, or the body itself where it is not JSON of a known shape.
fn message(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let found = json.as_ref().and_then(|json| {
        let paths = ["/error/message", "/message", "/error", "/detail"];
        let text = paths.iter().find_map(|path| json.pointer(path)?.as_str())?;
        let code = ["/error/code", "/error/type", "/code", "/type"];
        let code = code.iter().find_map(|path| json.pointer(path)?.as_str());
        Some(code.map_or_else(|| text.to_owned(), |code| format!("{text} ({code})")))
    });
    found.unwrap_or_else(|| body.to_owned())
}

/// A server's words on one line, safe to show and of bounded length.
pub(super) fn brief(said: &str) -> String {
    let start: String = said.chars().take(4096).collect();
    text::clip(&text::one_line(&start), 400).replace('\n', " ")
}

fn too_long(said: &str) -> bool {
    let said = said.to_lowercase();
    let signs = [
        "context_length",
        "context length",
        "context window",
        "context size",
        "prompt is too long",
        "input token count",
        "too many tokens",
        "maximum number of tokens",
    ];
    signs.iter().any(|sign| said.contains(sign))
}

fn out_of_credit(said: &str) -> bool {
    let said = said.to_lowercase();
    ["insufficient_quota", "credit balance", "exceeded your current quota"]
        .iter()
        .any(|sign| said.contains(sign))
}

/// An error and what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The wait that a `Retry-After` header asks for: seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(header: &str) -> Option<Duration> {
    if let Ok(seconds) = header.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header.trim()).ok()?;
    Some(Duration::try_from(date.duration_since(jiff::Timestamp::now())).unwrap_or_default())
}

/// The wait before try `tries + 1`: exponential, and up to half as long again by chance, so that many runs that
/// were refused together do not come back together.
fn backoff(first: Duration, tries: u32) -> Duration {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's only source of chance: the keys of a fresh hasher.
    let chance = std::hash::RandomState::new().build_hasher().finish() % 1000;
    let wait = first * 2u32.saturating_pow(tries - 1).min(64);
    wait + wait * u32::try_from(chance).unwrap_or(0) / 2000
}

// ---- memory ------------------------------------------------------------------------------------------------

/// How often the memory is looked at while a reply is awaited.
const WATCH: Duration = Duration::from_millis(50);

/// Growth of regreen's memory during one reply that only a server that sends without end can cause: genai does not
/// bound the body of an error. A line without end it does not bound either, but slows down so much on it that the
/// deadline comes first.
const MOST_MEMORY: u64 = 256 << 20;

/// Bytes of memory in use; 0 where the system does not say.
fn memory() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

// ---- keys --------------------------------------------------------------------------------------------------

/// What stands where a key was.
const HIDDEN: &str = "***";

/// So many bytes of a key in a row are taken for the key.
const TELLTALE: usize = 8;

impl Key {
    /// Takes a key. Fails on what cannot stand in an HTTP header, without quoting it.
    pub fn new(key: &str) -> Result<Key> {
        let key = key.trim();
        ensure!(!key.is_empty(), "the key is empty");
        ensure!(
            key.bytes().all(|byte| byte.is_ascii_graphic()),
            "the key holds a space, a control character or a letter outside ASCII"
        );
        Ok(Key(key.to_owned()))
    }

    /// The key itself, for the one place where it has to stand.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// `text` without the key. For long texts, of which no part is cut.
    pub(super) fn hide(&self, text: &str) -> String {
        text.replace(&self.0, HIDDEN)
    }

    /// `text` without the key and without any longer part of it.
    pub(super) fn scrub(&self, text: &str) -> String {
        let (text, key) = (text.as_bytes(), self.0.as_bytes());
        let size = TELLTALE.min(key.len());
        let (mut safe, mut at) = (Vec::with_capacity(text.len()), 0);
        while at < text.len() {
            let hit =
                text[at..].get(..size).is_some_and(|part| key.windows(size).any(|window| window == part));
            if !hit {
                safe.push(text[at]);
                at += 1;
                continue;
            }
            at += size;
            // The rest of the key goes too, however it was cut.
            while at < text.len() && text[at].is_ascii_graphic() && key.contains(&text[at]) {
                at += 1;
            }
            safe.extend_from_slice(HIDDEN.as_bytes());
        }
        String::from_utf8_lossy(&safe).into_owned()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

// ---- names -------------------------------------------------------------------------------------------------

/// A provider that genai knows.
struct Provider {
    name: &'static str,
    adapter: AdapterKind,
    variable: Option<&'static str>,
}

const fn provider(name: &'static str, adapter: AdapterKind, variable: Option<&'static str>) -> Provider {
    Provider { name, adapter, variable }
}

const PROVIDERS: &[Provider] = &[
    provider("openai", AdapterKind::OpenAI, Some("OPENAI_API_KEY")),
    // What OpenAI's newer models speak anyway; by name for other servers that do.
    provider("openai-responses", AdapterKind::OpenAIResp, Some("OPENAI_API_KEY")),
    provider("anthropic", AdapterKind::Anthropic, Some("ANTHROPIC_API_KEY")),
    provider("gemini", AdapterKind::Gemini, Some("GEMINI_API_KEY")),
    provider("openrouter", AdapterKind::OpenRouter, Some("OPENROUTER_API_KEY")),
    provider("ollama", AdapterKind::Ollama, None),
    provider("deepseek", AdapterKind::DeepSeek, Some("DEEPSEEK_API_KEY")),
    provider("groq", AdapterKind::Groq, Some("GROQ_API_KEY")),
    provider("mistral", AdapterKind::Mistral, Some("MISTRAL_API_KEY")),
    // genai calls Moonshot's international address Kimi.
    provider("moonshot", AdapterKind::Kimi, Some("MOONSHOT_API_KEY")),
    provider("together", AdapterKind::Together, Some("TOGETHER_API_KEY")),
    provider("xai", AdapterKind::Xai, Some("XAI_API_KEY")),
    provider("zai", AdapterKind::Zai, Some("ZAI_API_KEY")),
];

/// What a model's name says.
struct Target {
    adapter: AdapterKind,
    /// The name at the provider.
    name: String,
    /// The server, with a slash at its end, where it is not the provider's own.
    url: Option<String>,
    /// The variable that holds the key.
    variable: Option<&'static str>,
}

impl Target {
    fn parse(model: &str, base_url: Option<&str>) -> Result<Target> {
        let shape = "models are named PROVIDER/NAME, or PROVIDER@URL/NAME for another server";
        let at = model.find(['/', '@']).with_context(|| format!("{model:?} is no model: {shape}"))?;
        let (name, rest) = (&model[..at], &model[at + 1..]);
        let names = PROVIDERS.iter().map(|provider| provider.name).collect::<Vec<_>>();
        let provider = PROVIDERS.iter().find(|provider| provider.name == name);
        let provider = provider.with_context(|| {
            format!("no provider is called {name:?}; there are {}: {shape}", names.join(", "))
        })?;
        let (url, name) = if model.as_bytes()[at] == b'@' {
            ensure!(base_url.is_none(), "{model:?} names a server already, so --base-url cannot");
            let (url, name) = split_url(rest).with_context(|| format!("{model:?} is no model: {shape}"))?;
            (Some(url), name)
        } else {
            (base_url, rest)
        };
        ensure!(!name.is_empty(), "{model:?} names no model: {shape}");
        // genai reads what stands before `::` as the provider and would call a model of another name.
        ensure!(!name.contains("::"), "the model name {name:?} holds `::`");
        let url = url.map(checked_url).transpose()?;
        let variable = match (&url, provider.variable) {
            (Some(_), _) => Some(CUSTOM_KEY_VARIABLE),
            (None, variable) => variable,
        };
        let adapter = match provider.adapter {
            // OpenAI serves its newer models through another interface than everybody else does.
            AdapterKind::OpenAI if url.is_none() => match AdapterKind::from_model(name) {
                Ok(AdapterKind::OpenAIResp) => AdapterKind::OpenAIResp,
                _ => AdapterKind::OpenAI,
            },
            adapter => adapter,
        };
        Ok(Target { adapter, name: name.to_owned(), url, variable })
    }

    /// Whether the server is on this machine, and so costs nothing.
    fn local(&self) -> bool {
        match &self.url {
            Some(url) => is_loopback(url),
            None => self.adapter == AdapterKind::Ollama,
        }
    }

    /// genai takes an ending like `-max` off a name and makes it a reasoning effort, which is right for `OpenAI`'s own
    /// names and turns `qwen3-max` into another model. An effort that its format cannot express stops it.
    fn literal_name(&self) -> Option<ReasoningEffort> {
        let speaks_openai = matches!(
            self.adapter,
            AdapterKind::OpenAI | AdapterKind::OpenRouter | AdapterKind::Together | AdapterKind::Groq
        );
        let own = self.adapter == AdapterKind::OpenAI && self.url.is_none();
        let cut = ReasoningEffort::from_model_name(&self.name).0.is_some();
        (speaks_openai && !own && cut).then_some(ReasoningEffort::Budget(0))
    }
}

/// Cuts `URL/NAME`: after the version segment (`/v1/`) if there is one, since names hold slashes too, or else at
/// the last slash.
fn split_url(text: &str) -> Option<(&str, &str)> {
    let path = text.find("://")? + 3;
    let slashes = || text[path..].match_indices('/').map(|(at, _)| path + at);
    let is_version =
        |part: &str| part.len() > 1 && part.starts_with('v') && part.as_bytes()[1].is_ascii_digit();
    let versioned = slashes().find(|at| text[..*at].rsplit('/').next().is_some_and(is_version));
    let at = versioned.or_else(|| slashes().next_back())?;
    Some((&text[..at], &text[at + 1..]))
}

fn checked_url(url: &str) -> Result<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest =
        rest.with_context(|| format!("{url:?} is no address: it must begin with https:// or http://"))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        // Not quoted, since it holds a password.
        bail!(
            "the server's address holds a user name or password: put the key into {CUSTOM_KEY_VARIABLE} instead"
        );
    }
    ensure!(!host.is_empty(), "{url:?} is no address: it names no host");
    ensure!(!rest.contains(['?', '#']), "{url:?} is no address of a server: it holds a query");
    Ok(format!("{}/", url.trim_end_matches('/')))
}

fn is_loopback(url: &str) -> bool {
    let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn client(target: &Target, key: Option<&Key>) -> Result<Client> {
    // A key must not follow a redirect to another host, and nobody between needs to see what goes to this machine.
    // Compression is off, so that a reply is never larger than what was sent.
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(20))
        .tcp_nodelay(true)
        .no_gzip();
    let http = if target.local() { http.no_proxy() } else { http };
    let http = http.build().context("failed to set up HTTP")?;
    // Without a key genai would look for one in the environment, where only `cli` may look.
    let key = AuthData::from_single(key.map_or("none", |key| &key.0));
    let config = match &target.url {
        Some(url) => ProviderConfig::from((Endpoint::from_owned(url.as_str()), key)),
        None => ProviderConfig::from(key),
    };
    let client = Client::builder().with_reqwest(http).append_provider_config(target.adapter, config).build();
    client.context("failed to set up the client")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let check = |model: &str, url: Option<&str>, name: &str, variable: Option<&str>, local: bool| {
            let target = Target::parse(model, None).unwrap();
            assert_eq!(target.url.as_deref(), url, "{model}");
            assert_eq!(target.name, name, "{model}");
            assert_eq!(target.variable, variable, "{model}");
            assert_eq!(target.local(), local, "{model}");
        };
        let custom = Some(CUSTOM_KEY_VARIABLE);
        check("openai/gpt-4.1", None, "gpt-4.1", Some("OPENAI_API_KEY"), false);
        check("ollama/qwen3:8b", None, "qwen3:8b", None, true);
        check("openrouter/qwen/qwen3-max", None, "qwen/qwen3-max", Some("OPENROUTER_API_KEY"), false);
        check(
            "openai@http://127.0.0.1:8080/v1/org/name",
            Some("http://127.0.0.1:8080/v1/"),
            "org/name",
            custom,
            true,
        );
        check("openai@http://[::1]:80/name", Some("http://[::1]:80/"), "name", custom, true);
        check(
            "anthropic@https://127.0.0.1.example.org/a/v2/m",
            Some("https://127.0.0.1.example.org/a/v2/"),
            "m",
            custom,
            false,
        );
    }

    #[test]
    fn wrong_names_say_what_is_right() {
        for model in [
            "",
            "gpt-5",
            "nobody/x",
            "openai/",
            "openai@x",
            "openai@ftp://h/v1/m",
            "openai@http:///m",
            "openai/a::b",
        ] {
            assert!(Target::parse(model, None).is_err(), "{model}");
        }
        let error = Target::parse("openai@http://me:secret@host/v1/m", None).err().unwrap();
        assert!(!format!("{error:#}").contains("secret"), "{error:#}");
    }

    #[test]
    fn names_that_end_like_an_effort_stay_whole() {
        let effort = |model| Target::parse(model, None).unwrap().literal_name().is_some();
        assert!(effort("openrouter/qwen/qwen3-max"));
        assert!(effort("openai@http://localhost/v1/some-high"));
        assert!(!effort("openai/gpt-5-high"));
        assert!(!effort("openrouter/qwen/qwen3"));
    }

    #[test]
    fn a_key_shows_itself_to_nobody() {
        let key = Key::new(" sk-abcdefghijklmnop\n").unwrap();
        assert_eq!(format!("{key:?}"), "***");
        for text in ["sk-abcdefghijklmnop", "sk-abcdefghi", "hijklmnop"] {
            let safe = key.scrub(&format!("é: {text}, sorry"));
            assert_eq!(safe, "é: ***, sorry");
        }
        assert_eq!(key.scrub("nothing here"), "nothing here");
        assert_eq!(key.scrub(""), "");
        for wrong in ["", " ", "a b", "a\nb", "ä"] {
            assert!(Key::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn waits_grow_and_servers_may_set_them() {
        let first = Duration::from_millis(100);
        for (tries, least) in [(1, 100), (2, 200), (3, 400)] {
            let wait = backoff(first, tries).as_millis();
            assert!((least..=least + least / 2).contains(&wait), "{tries}: {wait}");
        }
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert!(retry_after("Fri, 31 Dec 2100 23:59:59 GMT").is_some_and(|wait| wait.as_secs() > 86400));
        for wrong in ["", "-1", "NaN", "soon", "1e999"] {
            assert_eq!(retry_after(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_unknown_price_is_no_price() {
        let prices = Prices::load(None).unwrap();
        let most = |settings| Llm::new(settings, &prices).unwrap().most(&Prompt::default());
        let error = most(Settings::new("openai/unheard-of")).unwrap_err();
        assert!(error.to_string().contains("--price"), "{error}");
        let own = Settings {
            price: Some("1,2".parse().unwrap()),
            max_output: Some(1_000_000),
            ..Settings::new("openai/unheard-of")
        };
        assert!((most(own).unwrap().usd - 2.0).abs() < 0.001);
        let local = most(Settings::new("openai@http://localhost:1/v1/m")).unwrap();
        assert!(local.usd == 0.0 && local.completion_tokens == 8192, "{local:?}");
        let known = most(Settings::new("anthropic/claude-sonnet-4-5")).unwrap();
        assert!((known.usd - 0.48).abs() < 0.001, "{known:?}");
    }
}
