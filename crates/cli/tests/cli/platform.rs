//! What stands for Slack, Mattermost and any webhook: a server that takes words, and a client that sends requests.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than anything takes here: who waits so long waits for nothing.
const NEVER: Duration = Duration::from_mins(1);

/// A platform that takes words, in the order in which they come.
pub(crate) struct Platform {
    pub(crate) url: String,
    words: Receiver<Word>,
}

/// What was sent to it.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Word {
    pub(crate) fn text(&self) -> &str {
        self.body["text"].as_str().unwrap_or_default()
    }
}

impl Platform {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, words) = channel();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (head, body) = read(&mut stream);
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{\"ok\":true}";
                stream.write_all(answer.as_bytes()).unwrap();
                let path = head.split(' ').nth(1).unwrap().to_owned();
                let body = serde_json::from_str(&body).unwrap();
                if sender.send(Word { path, head, body }).is_err() {
                    return;
                }
            }
        });
        Self { url, words }
    }

    /// Waits for the next word.
    pub(crate) fn next(&self) -> Word {
        self.words.recv_timeout(NEVER).expect("a word")
    }

    /// Tells whether nothing has come.
    pub(crate) fn heard_nothing(&self) -> bool {
        self.words.try_recv().is_err()
    }
}

/// Reads a request or an answer: what is before its body, and its body.
fn read(stream: &mut TcpStream) -> (String, String) {
    stream.set_read_timeout(Some(NEVER)).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
    let length = head.to_lowercase();
    let length = length.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.lines().next().unwrap().trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

/// What a door answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        self.json()["text"].as_str().unwrap().to_owned()
    }
}

/// Sends a request as it is, and reads the answer.
pub(crate) fn send(address: &str, request: &[u8]) -> Answered {
    let mut stream = TcpStream::connect(address).unwrap();
    // A door that has heard enough closes, and what is still sent goes nowhere.
    stream.write_all(request).unwrap_or_default();
    let (head, body) = read(&mut stream);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answered { status, body }
}

/// POSTs a body with further header lines.
pub(crate) fn post(address: &str, path: &str, (headers, body): (&str, &str)) -> Answered {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: serin\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    send(address, request.as_bytes())
}

/// Encodes a field of a form.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
}
