//! The relay asks a server that runs in a box, which has no network. The command's process reads its stdin, forks, and
//! becomes the relay; the child becomes the server. What the server answers over the box's own loopback goes to
//! stdout, a line a question. Nothing in the box can look into the relay, and there is nothing in it to learn but the
//! questions that were not asked yet: what is expected stays with whoever compares.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::launch::execute;
use crate::sys;

/// Bytes of one answer.
const ANSWER: usize = 4 << 20;

/// How often a server that does not listen yet is tried.
const PAUSE: Duration = Duration::from_millis(20);

/// What a relay reads from its stdin, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Questions {
    /// The port on which the server will listen.
    pub port: u16,
    /// Seconds that it may take until it does, and then for all answers together.
    pub seconds: u64,
    /// What is sent, each over a connection of its own, in this order.
    pub requests: Vec<Vec<u8>>,
}

/// What a server said to one question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Said {
    /// The place of the question among all.
    pub question: usize,
    /// The answer in hexadecimal, or why there is none.
    answer: Result<String, String>,
}

impl Said {
    fn new(question: usize, answer: Result<Vec<u8>, String>) -> Said {
        let text = |bytes: Vec<u8>| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        Said { question, answer: answer.map(text) }
    }

    /// The answer, if there is one.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let pairs = self.answer.as_ref().ok()?.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    }
}

/// Becomes the relay in this process and the server in its child. Only returns when that fails, or in the child when
/// the server cannot be executed.
pub(super) fn relay(argv: &[OsString], env: &[(OsString, OsString)]) -> Result<Infallible> {
    let questions: Questions =
        serde_json::from_reader(std::io::stdin().lock()).context("failed to read the questions")?;
    // Executing a program lifts this for the server.
    prctl::set_dumpable(false)?;
    let Some(server) = sys::fork()? else {
        let null = std::fs::File::open("/dev/null")?;
        nix::unistd::dup2_stdin(null)?;
        nix::unistd::dup2_stdout(std::io::stderr().as_fd())?;
        return Err(execute(argv, env).into());
    };
    // How the box ends is the keeper's to say.
    sys::close_from(3)?;
    let mut stdout = std::io::stdout().lock();
    for (question, answer) in ask(server, &questions).into_iter().enumerate() {
        let said = Said::new(question, answer);
        let _ = serde_json::to_writer(&mut stdout, &said).map(|()| stdout.write_all(b"\n"));
    }
    let _ = stdout.flush();
    std::process::exit(0)
}

/// Asks everything, one after the other.
fn ask(server: Pid, questions: &Questions) -> Vec<Result<Vec<u8>, String>> {
    let place = match await_server(server, questions) {
        Ok(place) => place,
        Err(why) => return questions.requests.iter().map(|_| Err(why.clone())).collect(),
    };
    let until = Instant::now() + Duration::from_secs(questions.seconds);
    let exchange = |request: &Vec<u8>| exchange(place, request, until).map_err(|error| error.to_string());
    questions.requests.iter().map(exchange).collect()
}

/// Where the server listens, as soon as it does.
fn await_server(server: Pid, questions: &Questions) -> Result<SocketAddr, String> {
    let until = Instant::now() + Duration::from_secs(questions.seconds);
    let places = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    loop {
        let listens = |place: &SocketAddr| TcpStream::connect_timeout(place, PAUSE).is_ok();
        if let Some(place) = places.map(|at| SocketAddr::new(at, questions.port)).into_iter().find(listens) {
            return Ok(place);
        }
        if !matches!(waitpid(server, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive)) {
            return Err("the server ended before it listened".to_owned());
        }
        if Instant::now() > until {
            return Err(format!("nothing listens on port {} in time", questions.port));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Sends one request and takes what comes back, until the answer is as long as it says or the connection is closed.
fn exchange(place: SocketAddr, request: &[u8], until: Instant) -> std::io::Result<Vec<u8>> {
    let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&place, left())?;
    stream.set_write_timeout(Some(left()))?;
    stream.write_all(request)?;
    let mut said = Vec::new();
    let mut part = [0; 1 << 13];
    while !ended(request, &said) {
        if said.len() > ANSWER {
            return Err(std::io::Error::other("the answer is too long"));
        }
        stream.set_read_timeout(Some(left()))?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(n) => said.extend_from_slice(&part[..n]),
            // Chunks say themselves whether the last one is there; all else without a length ends with its connection.
            Err(_) if head(&said).is_some_and(|head| head.chunked) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(said)
}

/// What the head of an answer says of its length.
struct Head {
    /// Bytes of the answer with its head, where that is said.
    length: Option<usize>,
    chunked: bool,
}

/// Whether an answer is there as far as it says itself. One to HEAD, and one of status 204 or 304, is its head.
fn ended(request: &[u8], said: &[u8]) -> bool {
    head(said)
        .is_some_and(|head| request.starts_with(b"HEAD ") || head.length.is_some_and(|n| said.len() >= n))
}

/// The head of an answer, as soon as it is there. First words (100 to 199) come before it.
fn head(said: &[u8]) -> Option<Head> {
    let mut start = 0;
    loop {
        let end = start + said[start..].windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&said[start..end]).to_ascii_lowercase();
        let mut lines = text.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?;
        if status.starts_with('1') {
            start = end;
            continue;
        }
        let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
        let value = |name: &str| {
            headers.iter().find(|(known, _)| known.trim() == name).map(|(_, value)| value.trim())
        };
        let chunked = value("transfer-encoding") == Some("chunked");
        let promised = value("content-length").and_then(|length| length.parse::<usize>().ok());
        let body = if matches!(status, "204" | "304") { Some(0) } else { promised.filter(|_| !chunked) };
        return Some(Head { length: body.map(|body| end.saturating_add(body)), chunked });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of one exchange with a server that says this and keeps the connection open.
    fn asked(request: &str, said: &'static str, seconds: u64) -> std::io::Result<Vec<u8>> {
        let server = std::net::TcpListener::bind("127.0.0.1:0")?;
        let place = server.local_addr()?;
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            stream.write_all(said.as_bytes()).unwrap();
            let _ = wait.recv();
        });
        let heard = exchange(place, request.as_bytes(), Instant::now() + Duration::from_secs(seconds));
        drop(done);
        thread.join().unwrap();
        heard
    }

    #[test]
    fn an_answer_that_says_its_length_is_not_waited_for_any_longer() {
        for (request, said) in [
            ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
            ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n"),
            ("HEAD / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        ] {
            let start = Instant::now();
            assert_eq!(asked(request, said, 60).unwrap(), said.as_bytes());
            assert!(start.elapsed() < Duration::from_secs(30), "{said}");
        }
    }

    #[test]
    fn an_answer_that_breaks_off_counts_only_where_it_says_itself_that_it_is_whole() {
        let request = "GET / HTTP/1.0\r\n\r\n";
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        assert_eq!(asked(request, chunks, 1).unwrap(), chunks.as_bytes());
        asked(request, "HTTP/1.1 200 OK\r\n\r\nhi", 1).unwrap_err();
        asked(request, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", 1).unwrap_err();
    }

    #[test]
    fn what_was_said_comes_out_of_its_line_as_it_was() {
        let through =
            |said: &Said| -> Said { serde_json::from_str(&serde_json::to_string(said).unwrap()).unwrap() };
        let said = through(&Said::new(3, Ok(vec![0, 9, 255, b'\n'])));
        assert_eq!((said.question, said.bytes()), (3, Some(vec![0, 9, 255, b'\n'])));
        assert_eq!(through(&Said::new(0, Err("late".to_owned()))).bytes(), None);
    }
}
