//! A GitLab that is told of deployments, and answers as its documentation says. It may be away.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// What is known of a deployment: the environment, the commit, and each status that it was ever told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deployment {
    pub(crate) environment: String,
    pub(crate) sha: String,
    pub(crate) statuses: Vec<String>,
}

#[derive(Default)]
struct State {
    away: bool,
    /// How often it was asked while it was away.
    in_vain: usize,
    /// By their numbers less one.
    deployments: Vec<Deployment>,
}

/// The server; it ends with the process.
pub(crate) struct GitLab {
    /// Where its interface is.
    pub(crate) api: String,
    state: Arc<Mutex<State>>,
}

impl GitLab {
    /// Starts one that is away.
    pub(crate) fn away() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let api = format!("http://{}/api/v4", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State { away: true, ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever goes away in the middle asks again.
                drop(answer(&stream, &shared));
            }
        });
        Ok(Self { api, state })
    }

    /// It answers from now on; returns how often it was asked before.
    pub(crate) fn comes_back(&self) -> usize {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.away = false;
        state.in_vain
    }

    /// Returns what it was told, in order.
    pub(crate) fn deployments(&self) -> Vec<Deployment> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).deployments.clone()
    }
}

/// Answers one request, and closes the connection.
fn answer(mut stream: &TcpStream, state: &Mutex<State>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, reply) = state
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .reply(&first, &String::from_utf8(body)?)?;
    let length = reply.len();
    write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{reply}"
    )?;
    Ok(())
}

impl State {
    fn reply(&mut self, request: &str, body: &str) -> Result<(u16, String)> {
        if self.away {
            self.in_vain += 1;
            return Ok((502, String::new()));
        }
        let mut words = request.split_whitespace();
        let (method, address) = (words.next(), words.next().context("no address")?);
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let number = match method {
            Some("GET") => {
                let environment = field(query, "environment")?;
                let known = self.deployments.iter().enumerate().rev();
                let list: Vec<serde_json::Value> = known
                    .filter(|(_, known)| known.environment == environment)
                    .map(|(at, known)| known.show(at))
                    .collect();
                return Ok((200, serde_json::Value::from(list).to_string()));
            }
            Some("POST") => {
                let (environment, sha) = (field(body, "environment")?, field(body, "sha")?);
                self.deployments.push(Deployment { environment, sha, statuses: Vec::new() });
                self.deployments.len()
            }
            _ => path.rsplit('/').next().context("no number")?.parse()?,
        };
        let at = number.checked_sub(1).context("deployments are counted from 1")?;
        let Some(known) = self.deployments.get_mut(at) else {
            return Ok((404, String::new()));
        };
        known.statuses.push(field(body, "status")?);
        let status = if method == Some("POST") { 201 } else { 200 };
        Ok((status, known.show(at).to_string()))
    }
}

impl Deployment {
    fn show(&self, at: usize) -> serde_json::Value {
        let status = self.statuses.last().map_or("created", String::as_str);
        serde_json::json!({ "id": at + 1, "sha": self.sha, "status": status })
    }
}

/// Returns a field of a form; none that is asked for here is ever encoded.
fn field(form: &str, name: &str) -> Result<String> {
    let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(key, _)| *key == name);
    let (_, value) = found.with_context(|| format!("no {name} in {form:?}"))?;
    Ok(value.to_owned())
}
