//! Models behind HTTP, against a server on this machine that speaks the real wire formats and misbehaves on demand.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use regreen::budget::Spent;
use regreen::propose::llm::{Key, Llm, Settings};
use regreen::propose::prices::Prices;
use regreen::propose::{Ask, Prompt, Proposal, Proposer};
use regreen::sandbox::{Host, Level, Sandbox};
use regreen::task::{Source, Task};
use regreen::verdict::{Baseline, Failure, FailureKind};
use regreen::verify::Verifier;
use regreen::workspace::{self, Scratch, Workshop};
use tokio::sync::RwLock;

/// The key that must appear nowhere but in requests.
const KEY: &str = "sk-test-0123456789abcdefghij";

// ---- the server --------------------------------------------------------------------------------------------

/// What the server does with one request.
#[derive(Clone)]
pub enum Act {
    /// Answers with this status, headers and body.
    Answer(u16, &'static str, Vec<u8>),
    /// Streams the bytes in pieces of this size.
    Stream(Vec<u8>, usize),
    /// Streams the bytes and drops the connection without ending the reply.
    Cut(Vec<u8>),
    /// Streams the bytes and then nothing more, until the client goes.
    Hang(Vec<u8>),
    /// Answers with this status and repeats the bytes until the client goes.
    Flood(u16, Vec<u8>),
}

/// A running server and what it was asked.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves `acts` in order, one a request; any further request is a fault of the client and answered with 418.
    pub fn start(acts: Vec<Act>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&requests);
        thread::spawn(move || {
            let mut acts = acts.into_iter();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                asked.lock().unwrap().push(read_request(&mut stream));
                let act = acts.next().unwrap_or(Act::Answer(418, "", Vec::new()));
                // A client that goes away early is what some tests are about.
                thread::spawn(move || perform(&mut stream, act));
            }
        });
        Server { url, requests }
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    fn request(&self, number: usize) -> String {
        self.requests.lock().unwrap()[number].clone()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            if request.len() >= end + 4 + length.map_or(0, |length| length.parse().unwrap()) {
                return String::from_utf8(request).unwrap();
            }
        }
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the request is cut off: {request:?}");
        request.extend_from_slice(&buffer[..count]);
    }
}

fn perform(stream: &mut TcpStream, act: Act) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    match act {
        Act::Answer(status, headers, body) => {
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
            )?;
            stream.write_all(&body)
        }
        Act::Stream(body, size) => {
            begin(stream, 200)?;
            for piece in body.chunks(size) {
                chunk(stream, piece)?;
            }
            chunk(stream, b"")
        }
        Act::Cut(body) => {
            begin(stream, 200)?;
            chunk(stream, &body)
        }
        Act::Hang(body) => {
            begin(stream, 200)?;
            chunk(stream, &body)?;
            stream.read(&mut [0; 1]).map(drop)
        }
        Act::Flood(status, piece) => {
            begin(stream, status)?;
            loop {
                chunk(stream, &piece)?;
            }
        }
    }
}

fn begin(stream: &mut TcpStream, status: u16) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )
}

fn chunk(stream: &mut TcpStream, piece: &[u8]) -> std::io::Result<()> {
    let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
    bytes.extend_from_slice(piece);
    bytes.extend_from_slice(b"\r\n");
    stream.write_all(&bytes)
}

// ---- the wire formats --------------------------------------------------------------------------------------

/// What the model says in most tests; letters of several bytes, so that pieces cut them.
const SAID: [&str; 3] = ["Ein Fehler – ", "hier: ", "naïve 🦀"];

/// An event of `OpenAI`'s chat completions, <https://platform.openai.com/docs/api-reference/chat-streaming>.
fn openai_event(delta: &str, finish: &str) -> String {
    let content = serde_json::to_string(delta).unwrap();
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{content}}},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

fn openai(usage: bool) -> Vec<u8> {
    let mut body: String = SAID.iter().map(|word| openai_event(word, "null")).collect();
    body += &openai_event("", "\"stop\"");
    if usage {
        body += "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":200,\"total_tokens\":1200,\"prompt_tokens_details\":{\"cached_tokens\":600}}}\n\n";
    }
    body += "data: [DONE]\n\n";
    body.into_bytes()
}

/// A message of Anthropic's, <https://docs.anthropic.com/en/docs/build-with-claude/streaming>.
fn anthropic() -> Vec<u8> {
    let mut body = String::new();
    let mut event = |name: &str, data: String| body.extend(["event: ", name, "\ndata: ", &data, "\n\n"]);
    event("message_start", "{\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"m\",\"stop_reason\":null,\"usage\":{\"input_tokens\":400,\"cache_read_input_tokens\":600,\"cache_creation_input_tokens\":0,\"output_tokens\":1}}}".to_owned());
    event(
        "content_block_start",
        "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}"
            .to_owned(),
    );
    event("ping", "{\"type\":\"ping\"}".to_owned());
    for word in SAID {
        let text = serde_json::to_string(word).unwrap();
        event(
            "content_block_delta",
            format!(
                "{{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":{text}}}}}"
            ),
        );
    }
    event("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}".to_owned());
    event("message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":200}}".to_owned());
    event("message_stop", "{\"type\":\"message_stop\"}".to_owned());
    body.into_bytes()
}

/// A response of `OpenAI`'s newer interface, <https://platform.openai.com/docs/api-reference/responses-streaming>,
/// that ends as `status`.
fn responses(status: &str) -> Vec<u8> {
    let response = |status: &str| serde_json::json!({"id": "r1", "object": "response", "created_at": 1, "model": "m", "status": status, "output": []});
    let mut events =
        vec![serde_json::json!({"type": "response.created", "response": response("in_progress")})];
    events.extend(SAID.map(|word| {
        serde_json::json!({"type": "response.output_text.delta", "item_id": "i1", "output_index": 0, "content_index": 0, "delta": word})
    }));
    let mut last = response(status);
    last["usage"] = serde_json::json!({"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 600}, "output_tokens": 200, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 1200});
    if status == "failed" {
        last["error"] = serde_json::json!({"code": "server_error", "message": "oops"});
    }
    events.push(serde_json::json!({"type": format!("response.{status}"), "response": last}));
    let line =
        |event: &serde_json::Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(line).collect::<String>().into_bytes()
}

fn error(status: u16, code: &str, message: &str) -> Act {
    let body = serde_json::json!({"error": {"message": message, "type": code, "param": null, "code": code}});
    Act::Answer(status, "", body.to_string().into_bytes())
}

/// A whole answer, which holds no edit.
pub fn whole() -> Act {
    Act::Stream(openai(true), usize::MAX)
}

// ---- asking ------------------------------------------------------------------------------------------------

fn settings(server: &Server, wire: &str) -> Settings {
    Settings {
        key: Some(Key::new(KEY).unwrap()),
        price: Some("1,10".parse().unwrap()),
        patience: Duration::from_millis(10),
        ..Settings::new(&format!("{wire}@{}/org/name-max", server.url))
    }
}

/// Held for writing by the test that lets memory grow, since that is measured for the whole process.
static QUIET: RwLock<()> = RwLock::const_new(());

/// Asks `proposer` once on a repository of one file.
async fn ask(proposer: &mut dyn Proposer, time: Duration) -> Proposal {
    let _quiet = QUIET.read().await;
    ask_alone(proposer, time).await
}

async fn ask_alone(proposer: &mut dyn Proposer, time: Duration) -> Proposal {
    let sandbox = Sandbox::new(Level::None, Host::default());
    let prompt = Prompt { system: "s".repeat(100), user: "u".repeat(200) };
    ask_in(proposer, sandbox, &prompt, time).await
}

/// Asks `proposer` once about `prompt`, on a repository of one file, in `sandbox`.
pub async fn ask_in(
    proposer: &mut dyn Proposer,
    sandbox: Sandbox,
    prompt: &Prompt,
    time: Duration,
) -> Proposal {
    // Not `/tmp`, of which every box has its own.
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let repository = folder.path().join("repository");
    std::fs::create_dir(&repository).unwrap();
    std::fs::write(repository.join("file"), "content\n").unwrap();
    let scratch = Scratch::new(&folder.path().join("scratch")).unwrap();
    let source = Source { path: "repository".to_owned(), rev: None };
    let base = workspace::take(&source, folder.path(), true, &scratch).unwrap();
    let verifier = Verifier {
        task: Task::default(),
        workshop: Workshop::new(scratch, base),
        sandbox,
        suites: Vec::new(),
        launchers: folder.path().to_owned(),
        setup_network: false,
        deadline: None,
        held_out: None,
    };
    let failure = Failure {
        kind: FailureKind::TargetsFail,
        summary: String::new(),
        tests: Vec::new(),
        diagnostics: Vec::new(),
        log: String::new(),
    };
    let ask = Ask {
        attempt: 1,
        prompt,
        baseline: &Baseline::default(),
        failure: &failure,
        verifier: &verifier,
        time,
    };
    proposer.propose(&ask).await.unwrap()
}

/// Asks a server that does `acts`; checks that it was asked `count` times and that the key stays where it belongs.
async fn asked(wire: &str, acts: Vec<Act>, count: usize) -> (Proposal, Server) {
    let server = Server::start(acts);
    let settings = settings(&server, wire);
    assert!(!format!("{settings:?}").contains(&KEY[..12]), "{settings:?}");
    let mut model = Llm::new(settings, &Prices::load(None).unwrap()).unwrap();
    let proposal = ask(&mut model, Duration::from_secs(30)).await;
    let shown = format!("{proposal:?}");
    assert!(!shown.contains(&KEY[..12]) && !shown.contains(&KEY[16..]), "{shown}");
    assert_eq!(server.count(), count, "{shown:.2000}");
    (proposal, server)
}

#[track_caller]
fn text(proposal: &Proposal) -> (&str, Spent) {
    match proposal {
        Proposal::Reply { text, spent } => (text, *spent),
        other => panic!("no reply: {other:?}"),
    }
}

/// Checks that there is no candidate, and why.
#[track_caller]
pub fn nothing(proposal: &Proposal, lasting: bool, says: &[&str]) -> Spent {
    let Proposal::Nothing { reason, spent, permanent } = proposal else {
        panic!("a candidate: {proposal:?}");
    };
    assert_eq!(*permanent, lasting, "{reason}");
    for word in says {
        assert!(reason.contains(word), "{word:?} is not in {reason:?}");
    }
    assert!(reason.len() < 1500, "{reason}");
    *spent
}

#[track_caller]
pub fn about(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}

// ---- the tests ---------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_openai_stream_is_read_with_its_usage_however_it_is_cut_up() {
    for size in [1, 3, 7, 1000, usize::MAX] {
        let (proposal, server) = asked("openai", vec![Act::Stream(openai(true), size)], 1).await;
        let (said, spent) = text(&proposal);
        assert_eq!(said, SAID.concat());
        assert_eq!((spent.prompt_tokens, spent.completion_tokens, spent.estimated), (1000, 200, false));
        about(spent.usd, (1000.0 + 2000.0) / 1e6);
        let request = server.request(0);
        let lower = request.to_lowercase();
        assert!(request.starts_with("POST /v1/chat/completions "), "{request}");
        assert!(lower.contains(&format!("authorization: bearer {KEY}")), "{request}");
        let body: serde_json::Value =
            serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(body["model"], "org/name-max");
        assert_eq!(body["stream"], true);
        assert_eq!(body["stream_options"]["include_usage"], true);
        assert_eq!(body["max_tokens"], 8192);
        assert!(body.get("temperature").is_none() && body.get("reasoning_effort").is_none(), "{body}");
        assert_eq!(body["messages"][0]["role"], "system");
    }
}

#[tokio::test]
async fn an_anthropic_stream_is_read_with_its_usage_however_it_is_cut_up() {
    for size in [1, 5, usize::MAX] {
        let (proposal, server) = asked("anthropic", vec![Act::Stream(anthropic(), size)], 1).await;
        let (said, spent) = text(&proposal);
        assert_eq!(said, SAID.concat());
        assert_eq!((spent.prompt_tokens, spent.completion_tokens, spent.estimated), (1000, 200, false));
        let request = server.request(0).to_lowercase();
        assert!(request.starts_with("post /v1/messages "), "{request}");
        assert!(request.contains(&format!("x-api-key: {KEY}")), "{request}");
        assert!(request.contains("\"max_tokens\":8192"), "{request}");
    }
}

#[tokio::test]
async fn a_response_of_openais_newer_interface_is_read_with_its_usage() {
    for size in [1, usize::MAX] {
        let act = Act::Stream(responses("completed"), size);
        let (proposal, server) = asked("openai-responses", vec![act], 1).await;
        let (said, spent) = text(&proposal);
        assert_eq!(said, SAID.concat());
        assert_eq!((spent.prompt_tokens, spent.completion_tokens, spent.estimated), (1000, 200, false));
        let request = server.request(0);
        assert!(request.starts_with("POST /v1/responses "), "{request}");
        assert!(request.contains("\"max_output_tokens\":8192"), "{request}");
    }
    let failed = Act::Stream(responses("failed"), usize::MAX);
    let (proposal, _) =
        asked("openai-responses", vec![failed, Act::Stream(responses("completed"), 99)], 2).await;
    text(&proposal);
}

#[tokio::test]
async fn usage_that_is_not_given_is_estimated_and_called_so() {
    let (proposal, _) = asked("openai", vec![Act::Stream(openai(false), 50)], 1).await;
    let (_, spent) = text(&proposal);
    assert!(spent.estimated);
    assert_eq!(spent.prompt_tokens, (300u64 + 64).div_ceil(3));
    assert_eq!(spent.completion_tokens, (SAID.concat().len() as u64).div_ceil(3));
}

#[tokio::test]
async fn a_busy_or_faulty_server_is_asked_again_and_costs_nothing() {
    let busy = Act::Answer(429, "retry-after: 0\r\n", b"{\"error\":{\"message\":\"slow down\"}}".to_vec());
    for wire in ["openai", "anthropic"] {
        let good = if wire == "openai" { openai(true) } else { anthropic() };
        let acts = vec![
            busy.clone(),
            error(500, "server_error", "oops"),
            error(529, "overloaded_error", "busy"),
            Act::Stream(good, 100),
        ];
        let (proposal, _) = asked(wire, acts, 4).await;
        assert_eq!(text(&proposal).1.prompt_tokens, 1000);
    }
    let (proposal, _) = asked("openai", vec![error(503, "x", "down"); 9], 4).await;
    assert_eq!(nothing(&proposal, false, &["503", "down", "4 times"]), Spent::default());
}

#[tokio::test]
async fn a_wait_longer_than_the_time_that_is_left_is_not_waited() {
    let later = Act::Answer(429, "retry-after: 3600\r\n", Vec::new());
    let (proposal, _) = asked("openai", vec![later], 1).await;
    nothing(&proposal, false, &["429", "3600"]);
}

#[tokio::test]
async fn lasting_errors_are_never_retried_and_name_a_remedy() {
    let cases = [
        (error(401, "invalid_api_key", &format!("Incorrect API key provided: {KEY}.")), "REGREEN_API_KEY"),
        (error(403, "forbidden", &format!("{} may not", &KEY[3..25])), "REGREEN_API_KEY"),
        (error(404, "model_not_found", "The model `name-max` does not exist"), "check the name"),
        (
            error(400, "context_length_exceeded", "This model's maximum context length is 4096 tokens."),
            "--context",
        ),
        (
            error(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
            "--context",
        ),
        (error(400, "bad_request", "what?"), "what?"),
        (error(402, "x", "pay"), "credit"),
        (error(429, "insufficient_quota", "You exceeded your current quota"), "credit"),
        (Act::Answer(307, "location: http://127.0.0.1:9/\r\n", Vec::new()), "--base-url"),
        (Act::Answer(400, "", b"\xff\xfe<html>\x1b[2J\x00".repeat(100_000)), "400"),
    ];
    for wire in ["openai", "anthropic"] {
        for (act, remedy) in &cases {
            let (proposal, _) = asked(wire, vec![act.clone()], 1).await;
            assert_eq!(nothing(&proposal, true, &[remedy]), Spent::default());
        }
    }
}

#[tokio::test]
async fn a_missing_key_is_named() {
    let server = Server::start(vec![error(401, "x", "who are you?")]);
    let without = Settings { key: None, ..settings(&server, "openai") };
    let mut model = Llm::new(without, &Prices::load(None).unwrap()).unwrap();
    let proposal = ask(&mut model, Duration::from_secs(30)).await;
    nothing(&proposal, true, &["needs a key", "REGREEN_API_KEY"]);
}

#[tokio::test]
async fn a_stream_that_breaks_is_paid_for_and_asked_again() {
    let half = openai_event(&"x".repeat(300), "null").into_bytes();
    for broken in [Act::Cut(half.clone()), Act::Stream(half, 100)] {
        let (proposal, _) = asked("openai", vec![broken, whole()], 2).await;
        let (said, spent) = text(&proposal);
        assert_eq!(said, SAID.concat());
        assert!(spent.estimated);
        assert_eq!(spent.completion_tokens, 100 + 200);
        assert_eq!(spent.prompt_tokens, (300u64 + 64).div_ceil(3) + 1000);
    }
}

#[tokio::test]
async fn broken_streams_never_cost_more_than_was_reserved() {
    let most = openai_event(&"x".repeat(15_000), "null").into_bytes();
    let (proposal, _) = asked("openai", vec![Act::Cut(most), whole()], 1).await;
    let spent = nothing(&proposal, false, &["reserved"]);
    assert!(spent.completion_tokens <= 8192 && spent.estimated, "{spent:?}");
}

#[tokio::test]
async fn an_error_within_a_stream_is_told_by_its_kind() {
    let begun = String::from_utf8(anthropic()).unwrap();
    let begun = &begun[..begun.find("event: content_block_stop").unwrap()];
    let broken = |kind: &str| {
        let event = format!(
            "{begun}event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"no\"}}}}\n\n"
        );
        Act::Stream(event.into_bytes(), usize::MAX)
    };
    let (proposal, _) =
        asked("anthropic", vec![broken("overloaded_error"), Act::Stream(anthropic(), 9)], 2).await;
    text(&proposal);
    let (proposal, _) = asked("anthropic", vec![broken("invalid_request_error")], 1).await;
    nothing(&proposal, true, &["invalid_request_error"]);
}

#[tokio::test]
async fn a_slow_server_is_left_when_the_time_is_up() {
    let begun = openai_event("once upon a time", "null").into_bytes();
    for act in [Act::Hang(begun), Act::Hang(b": ping\n\n".to_vec())] {
        let server = Server::start(vec![act]);
        let mut model = Llm::new(settings(&server, "openai"), &Prices::load(None).unwrap()).unwrap();
        let proposal = ask(&mut model, Duration::from_millis(500)).await;
        let spent = nothing(&proposal, false, &["did not finish"]);
        assert!(spent.prompt_tokens > 0 && spent.estimated, "{spent:?}");
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn garbage_is_an_error_and_no_panic() {
    let garbage: [&[u8]; 6] = [
        b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\xfe\"}}]}\n\n",
        b"data: {not json}\n\n",
        b"<html><body>502 Bad Gateway</body></html>",
        b"\x00\x01\x02\x03",
        b"",
        b"data: [1,2,3]\n\ndata: null\n\n",
    ];
    for wire in ["openai", "anthropic"] {
        for bytes in garbage {
            let (proposal, _) = asked(wire, vec![Act::Stream(bytes.to_vec(), usize::MAX); 4], 4).await;
            nothing(&proposal, false, &["4 times"]);
        }
    }
}

#[tokio::test]
async fn an_empty_reply_says_why_it_is_empty() {
    let cut = |finish: &str| {
        let body = openai_event("", finish) + "data: [DONE]\n\n";
        Act::Stream(body.into_bytes(), usize::MAX)
    };
    let (proposal, _) = asked("openai", vec![cut("\"length\"")], 1).await;
    nothing(&proposal, false, &["--max-output"]);
    let (proposal, _) = asked("openai", vec![cut("\"content_filter\"")], 1).await;
    nothing(&proposal, false, &["refused"]);
}

#[tokio::test]
async fn a_server_that_echoes_the_key_gets_it_nowhere() {
    let mut body = openai_event(&format!("your key is {KEY}, right?"), "\"stop\"");
    body += "data: [DONE]\n\n";
    let (proposal, _) = asked("openai", vec![Act::Stream(body.into_bytes(), 11)], 1).await;
    assert_eq!(text(&proposal).0, "your key is ***, right?");
}

#[tokio::test]
async fn replies_without_end_are_broken_off() {
    let text = openai_event(&"x".repeat(10_000), "null");
    let thought = text.replace("content", "reasoning_content");
    for said in [text, thought] {
        let (proposal, _) = asked("openai", vec![Act::Flood(200, said.into_bytes())], 1).await;
        nothing(&proposal, true, &["without end"]);
    }
}

#[tokio::test]
async fn errors_and_lines_without_end_are_broken_off() {
    let _quiet = QUIET.write().await;
    for status in [200, 500] {
        let server = Server::start(vec![Act::Flood(status, vec![b'x'; 1 << 20])]);
        let mut model = Llm::new(settings(&server, "openai"), &Prices::load(None).unwrap()).unwrap();
        let proposal = ask_alone(&mut model, Duration::from_secs(5)).await;
        nothing(&proposal, false, &[]);
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_no_panic() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("openai@http://{}/v1/m", gone.local_addr().unwrap());
    drop(gone);
    let settings = Settings { patience: Duration::from_millis(1), ..Settings::new(&url) };
    let mut model = Llm::new(settings, &Prices::load(None).unwrap()).unwrap();
    let proposal = ask(&mut model, Duration::from_secs(30)).await;
    let spent = nothing(&proposal, false, &["cannot be reached", "is the server running?"]);
    assert_eq!(spent, Spent::default());
}

#[tokio::test]
async fn fixtures_are_replayed_for_free() {
    let replies = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/go-lru/replies");
    let mut replay = regreen::propose::replay::Replay::open(&replies).unwrap();
    let mut count = 0;
    let last = loop {
        match ask(&mut replay, Duration::from_secs(1)).await {
            Proposal::Reply { spent, .. } => assert_eq!(spent, Spent::default()),
            other => break other,
        }
        count += 1;
    };
    assert!(count > 0);
    nothing(&last, true, &["no further reply"]);
}
