//! The relay asks a server that runs in a box, which has no network. The command's process reads its stdin, forks, and
//! becomes the relay; the child becomes the server. What the server answers over the box's own loopback goes to
//! stdout, a line a question. Nothing in the box can look into the relay, and there is nothing in it to learn but the
//! questions that were not asked yet: what is expected stays with whoever compares.

use std::convert::Infallible;
use std::ffi::OsString;
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
const ANSWER: u64 = 4 << 20;

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

/// What a server said until it closed the connection, or why there is no answer.
pub type Said = Result<Vec<u8>, String>;

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
    for said in ask(server, &questions) {
        let _ = serde_json::to_writer(&mut stdout, &said).map(|()| stdout.write_all(b"\n"));
    }
    let _ = stdout.flush();
    std::process::exit(0)
}

/// Asks everything, one after the other.
fn ask(server: Pid, questions: &Questions) -> Vec<Said> {
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

/// Sends one request and takes what comes back until the connection is closed.
fn exchange(place: SocketAddr, request: &[u8], until: Instant) -> std::io::Result<Vec<u8>> {
    let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&place, left())?;
    stream.set_write_timeout(Some(left()))?;
    stream.write_all(request)?;
    let mut said = Vec::new();
    let mut part = [0; 1 << 13];
    while (said.len() as u64) < ANSWER {
        stream.set_read_timeout(Some(left()))?;
        match stream.read(&mut part)? {
            0 => break,
            n => said.extend_from_slice(&part[..n]),
        }
    }
    Ok(said)
}
