//! A small HTTP server for tests, on loopback: it can lie, stall, drip and cut, which real servers rarely do on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How the server answers a path.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A whole answer: status, further header lines, body.
    Full(u16, String, Vec<u8>),
    /// Says that there is more than it sends, and closes.
    Cut(Vec<u8>),
    /// Sends the beginning, then one byte every 50 ms, for ever.
    Drip(Vec<u8>),
    /// Accepts and never answers.
    Hang,
    /// Sends zeros without end, without saying how many.
    Endless,
}

impl Reply {
    pub(crate) fn json(text: impl Into<String>) -> Self {
        Self::full(200, "application/json", text.into().into_bytes())
    }

    pub(crate) fn full(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let headers = format!("Content-Type: {content_type}\r\nDate: {}\r\n", http_date(0));
        Self::Full(status, headers, body)
    }
}

/// The date, some seconds ago, as a header says it.
pub(crate) fn http_date(seconds_ago: i64) -> String {
    let then = super::now() - jiff::SignedDuration::from_secs(seconds_ago);
    then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A server that runs until it is dropped.
pub(crate) struct TestServer {
    /// Its base address, without a slash at the end.
    pub(crate) url: String,
    replies: Arc<Mutex<BTreeMap<String, Reply>>>,
    /// Every path with its query, in the order it was asked for.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    /// The credentials that came with each, in the same order.
    pub(crate) credentials: Arc<Mutex<Vec<Option<String>>>>,
    task: JoinHandle<()>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let replies = Arc::new(Mutex::new(BTreeMap::new()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let credentials = Arc::new(Mutex::new(Vec::new()));
        let known = Arc::clone(&replies);
        let log = (Arc::clone(&asked), Arc::clone(&credentials));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let log = (Arc::clone(&log.0), Arc::clone(&log.1));
                connections.spawn(serve(stream, Arc::clone(&known), log));
            }
        });
        Self { url, replies, asked, credentials, task }
    }

    /// Answers a path (without query) from now on; `*` is every path that has no answer of its own.
    pub(crate) fn reply(&self, path: &str, reply: Reply) -> &Self {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
        self
    }
}

type Log = (Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<Option<String>>>>);

async fn serve(
    stream: TcpStream,
    replies: Arc<Mutex<BTreeMap<String, Reply>>>,
    (asked, credentials): Log,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await.ok()?;
    let mut line = String::new();
    let mut sent = None;
    while stream.read_line(&mut line).await.ok()? > 2 {
        let name = line.to_lowercase();
        if name.starts_with("authorization: ") || name.starts_with("job-token: ") {
            sent = Some(line.trim().to_owned());
        }
        line.clear();
    }
    credentials.lock().unwrap().push(sent);
    let target = first.split(' ').nth(1)?.to_owned();
    let path = target.split('?').next()?.to_owned();
    asked.lock().unwrap().push(target);
    let reply = {
        let replies = replies.lock().unwrap();
        replies.get(&path).or_else(|| replies.get("*")).cloned()
    };
    let missing = || Reply::full(404, "text/plain", b"not found".to_vec());
    send(stream.get_mut(), reply.unwrap_or_else(missing)).await
}

async fn send(stream: &mut TcpStream, reply: Reply) -> Option<()> {
    let head =
        |status: u16, more: &str| format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{more}\r\n");
    match reply {
        Reply::Full(status, headers, body) => {
            let more = format!("{headers}Content-Length: {}\r\n", body.len());
            stream.write_all(head(status, &more).as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()?;
        }
        Reply::Cut(body) => {
            let more = format!("Content-Length: {}\r\n", body.len() + 1000);
            stream.write_all(head(200, &more).as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()?;
        }
        Reply::Drip(body) => {
            stream.write_all(head(200, "Content-Length: 1000000\r\n").as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()?;
            loop {
                stream.write_all(b" ").await.ok()?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Reply::Hang => {
            // Until the client gives up.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok()?;
        }
        Reply::Endless => {
            stream.write_all(head(200, "").as_bytes()).await.ok()?;
            loop {
                stream.write_all(&[b'0'; 8192]).await.ok()?;
            }
        }
    }
    stream.shutdown().await.ok()
}
