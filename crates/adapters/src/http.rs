//! One way to speak HTTP: bounded in time and size, with credentials kept out of every message.
//!
//! It never retries, and never judges what an answer means: that is its callers' part. Read [`get`] first.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{AGE, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode, Url, redirect};
use std::time::Duration;

#[cfg(test)]
pub(crate) mod test_server;

/// How long a connection may take to be made: a host that is up answers within one round trip, and three lost packets
/// still fit.
const CONNECT: Duration = Duration::from_secs(4);

/// How many times a mirror may point elsewhere. Content delivery networks need one or two.
const MAX_REDIRECTS: usize = 5;

/// What is sent.
const JSON: &str = "application/json; charset=utf-8";

/// How much of a refusal is shown to a person.
const EXCERPT: usize = 200;

/// Who is asked. It decides what may stand between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A service that must answer itself, now: no redirects, and no proxy whose cache could be stale.
    Service,
    /// A mirror of signed content: redirects and the proxies of the environment are harmless, and common.
    Mirror,
    /// A mirror on this machine: as a mirror, but never through a proxy.
    LocalMirror,
    /// A platform of others that is told something: proxies of the environment are the way out, and a redirect would carry
    /// what is told elsewhere.
    Platform,
}

/// A client, for those who only hand it on.
pub type PostClient = Client;

/// Why something could not be read. It never holds the address: show [`redacted`] beside it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The client itself could not be made.
    #[error("no HTTP client can be made: {0}")]
    Client(String),
    /// The address is not an http or https address.
    #[error("it is not an http:// or https:// address")]
    BadAddress,
    /// There was no complete answer, or none in time.
    #[error("{0}")]
    Unreachable(String),
    /// It answered, and refused.
    #[error("HTTP status {status}{}{excerpt}", if .excerpt.is_empty() { "" } else { ": " })]
    Status {
        /// The status.
        status: u16,
        /// The beginning of what it said.
        excerpt: String,
    },
    /// The answer is larger than anything that makes sense.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// What would have been accepted.
        limit: u64,
    },
}

/// A complete answer with status 200.
#[derive(Debug, Clone)]
pub struct Answer {
    /// When the server says that it made the answer.
    pub date: Option<Timestamp>,
    /// Whether a cache on the way says that the answer is old.
    pub cached: bool,
    /// What the server says the body is.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Makes a client; `total` bounds each request from its start to the last byte of its body.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client(peer: Peer, total: Duration) -> Result<Client, HttpError> {
    client_with(peer, total, None)
}

/// The same, with credentials for the one host that is asked: they do not follow a redirect to another.
///
/// # Errors
/// When TLS cannot be set up.
pub(crate) fn client_as(
    peer: Peer,
    total: Duration,
    credentials: Option<HeaderValue>,
) -> Result<Client, HttpError> {
    client_with(peer, total, credentials.map(|value| (AUTHORIZATION, value)))
}

/// The same, with credentials in a header of their own. Only `Authorization` is kept back from another host: whoever sends
/// another header must follow no redirect ([`Peer::Service`]).
pub(crate) fn client_with(
    peer: Peer,
    total: Duration,
    header: Option<(HeaderName, HeaderValue)>,
) -> Result<Client, HttpError> {
    // An error says that another part of the process has installed a provider already: just as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    // A machine without CA certificates makes the first build fail; it can still speak plain HTTP, so the second one
    // trusts nobody, and https:// fails with a message of its own.
    let headers: HeaderMap = header.into_iter().collect();
    let builder = || builder(peer, total).default_headers(headers.clone());
    builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build())
        .map_err(|error| HttpError::Client(cause(error)))
}

fn builder(peer: Peer, total: Duration) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(concat!("serin/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT.min(total))
        .timeout(total);
    match peer {
        Peer::Service => builder.redirect(redirect::Policy::none()).no_proxy(),
        Peer::Mirror => builder.redirect(redirect::Policy::limited(MAX_REDIRECTS)),
        Peer::Platform => builder.redirect(redirect::Policy::none()),
        Peer::LocalMirror => builder.redirect(redirect::Policy::limited(MAX_REDIRECTS)).no_proxy(),
    }
}

/// Reads an address whose body has at most `limit` bytes. Only a complete answer with status 200 is one.
///
/// # Errors
/// See [`HttpError`].
pub async fn get(client: &Client, url: Url, limit: u64) -> Result<Answer, HttpError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(HttpError::BadAddress);
    }
    let mut response =
        client.get(url).send().await.map_err(|e| HttpError::Unreachable(cause(e)))?;
    if response.status() != StatusCode::OK {
        let status = response.status().as_u16();
        return Err(HttpError::Status { status, excerpt: excerpt(&mut response).await });
    }
    let text = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    let date = text(DATE).to_owned();
    let cached = text(AGE).parse::<u64>().is_ok_and(|age| age > 0);
    let content_type = text(CONTENT_TYPE).to_owned();
    let body = body(&mut response, limit).await?;
    Ok(Answer { date: parse_date(&date), cached, content_type, body })
}

/// Sends JSON to an address, with a token if there is one, and returns what is said to it, up to a limit of bytes. Any
/// status of success is one.
///
/// # Errors
/// See [`HttpError`]. Whether it arrived is not known after `Unreachable`.
pub async fn post(
    client: &Client,
    url: &str,
    (token, json): (Option<&str>, String),
    limit: u64,
) -> Result<Vec<u8>, HttpError> {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let request = client.post(url.ok_or(HttpError::BadAddress)?).header(CONTENT_TYPE, JSON);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    exchange(request.body(json), limit).await
}

/// Sends a request, and reads an answer of at most `limit` bytes. Any status of success is one.
///
/// # Errors
/// See [`HttpError`]. One that is `Unreachable` may have been carried out all the same.
pub(crate) async fn exchange(request: RequestBuilder, limit: u64) -> Result<Vec<u8>, HttpError> {
    let mut response = request.send().await.map_err(|e| HttpError::Unreachable(cause(e)))?;
    if !response.status().is_success() {
        let status = response.status().as_u16();
        return Err(HttpError::Status { status, excerpt: excerpt(&mut response).await });
    }
    body(&mut response, limit).await
}

/// Reads a large address piece by piece, within a limit of bytes and a time of its own.
///
/// # Errors
/// See [`HttpError`]; what was handed on before must then be forgotten. An error of `take` is `Unreachable`.
pub(crate) async fn download(
    client: &Client,
    url: Url,
    (limit, total): (u64, Duration),
    take: &mut (dyn FnMut(&[u8]) -> std::io::Result<()> + Send),
) -> Result<(), HttpError> {
    let lost = |error| HttpError::Unreachable(cause(error));
    let mut response = client.get(url).timeout(total).send().await.map_err(lost)?;
    if response.status() != StatusCode::OK {
        let status = response.status().as_u16();
        return Err(HttpError::Status { status, excerpt: excerpt(&mut response).await });
    }
    let mut left = limit;
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        let size = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        left = left.checked_sub(size).ok_or(HttpError::TooLarge { limit })?;
        take(&chunk).map_err(|error| HttpError::Unreachable(error.to_string()))?;
    }
    Ok(())
}

async fn body(response: &mut Response, limit: u64) -> Result<Vec<u8>, HttpError> {
    let too_large = || HttpError::TooLarge { limit };
    let size = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| HttpError::Unreachable(cause(e)))? {
        if size(body.len() + chunk.len()) > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn excerpt(response: &mut Response) -> String {
    let chunk = response.chunk().await.ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&chunk);
    let line: String = text.chars().take(EXCERPT).filter(|c| !c.is_control()).collect();
    line.trim().to_owned()
}

/// Says what is at the bottom of an error; the layers above it only repeat that a request failed.
fn cause(error: reqwest::Error) -> String {
    let timed_out = error.is_timeout();
    let error = error.without_url();
    let mut deepest: &dyn std::error::Error = &error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    if timed_out { "no complete answer in time".to_owned() } else { deepest.to_string() }
}

/// Parses a date of a header or of a Release file.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    // RFC 2822 has no zone of this name, but Release files do.
    let text = text.trim();
    let text = text.strip_suffix("UTC").map_or(text.to_owned(), |date| format!("{date}+0000"));
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// Returns the time, for comparing it with what a server says about itself.
pub(crate) fn now() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "an adapter is the edge: what a server says is compared with the real time"
    )]
    let now = std::time::SystemTime::now();
    // Only a clock that stands outside of all years fails here; then everything is stale, which is right.
    Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Returns an address without user, password and query, for people.
pub fn redacted(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let rest = rest.split(['?', '#']).next().unwrap_or("");
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = host.rsplit('@').next().unwrap_or("");
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let cases = [
            ("http://a.example/x", "http://a.example/x"),
            ("https://me:pa@ss@a.example:9093/x?token=1", "https://a.example:9093/x"),
            ("user:secret@a.example/x", "a.example/x"),
            ("http://a.example/me@home", "http://a.example/me@home"),
            ("", ""),
        ];
        for (address, shown) in cases {
            assert_eq!(redacted(address), shown);
        }
    }

    #[test]
    fn dates_of_headers_and_release_files_are_read() {
        let expected: Timestamp = "2026-11-22T08:20:43Z".parse().unwrap();
        for text in [
            "Sun, 22 Nov 2026 08:20:43 GMT",
            "Sun, 22 Nov 2026 08:20:43 UTC",
            "Sun, 22 Nov 2026 08:20:43 +0000",
            "Sun, 22 Nov 2026 09:20:43 +0100",
        ] {
            assert_eq!(parse_date(text), Some(expected), "{text}");
        }
        assert_eq!(parse_date("tomorrow"), None);
        assert_eq!(parse_date(""), None);
    }

    #[tokio::test]
    async fn what_went_wrong_never_names_the_password() {
        let client = client(Peer::Service, Duration::from_millis(500)).unwrap();
        let url = "http://me:hunter2@127.0.0.1:1/".parse().unwrap();
        let error = get(&client, url, 10).await.unwrap_err();
        assert!(matches!(error, HttpError::Unreachable(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }

    #[tokio::test]
    async fn what_is_sent_is_not_carried_elsewhere_by_a_redirect() {
        let (server, other) =
            (test_server::TestServer::start().await, test_server::TestServer::start().await);
        let location = format!("Location: {}/x\r\n", other.url);
        server.reply("/hook", test_server::Reply::Full(307, location, Vec::new()));
        server.reply("/good", test_server::Reply::json("{}"));
        for peer in [Peer::Service, Peer::Platform] {
            let client = client(peer, Duration::from_secs(5)).unwrap();
            let send = |path: &str| {
                let (client, url) = (client.clone(), format!("{}{path}", server.url));
                async move { post(&client, &url, (Some("hunter2"), "{}".to_owned()), 10).await }
            };
            assert_eq!(send("/good").await, Ok(b"{}".to_vec()));
            let refused = send("/hook").await.unwrap_err();
            assert!(matches!(refused, HttpError::Status { status: 307, .. }), "{refused:?}");
        }
        assert!(other.asked.lock().unwrap().is_empty());
        let client = client(Peer::Platform, Duration::from_secs(5)).unwrap();
        let file = post(&client, "file:///etc/passwd", (None, String::new()), 10).await;
        assert_eq!(file, Err(HttpError::BadAddress));
    }

    /// A TLS server with a certificate that nobody has signed.
    struct TlsServer {
        folder: tempfile::TempDir,
        child: std::process::Child,
        url: Url,
    }

    impl Drop for TlsServer {
        fn drop(&mut self) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }

    impl TlsServer {
        fn start() -> Self {
            use std::process::{Command, Stdio};
            let folder = tempfile::tempdir().unwrap();
            let make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out c -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
            let mut openssl = Command::new("openssl");
            let made = openssl.args(make.split(' ')).current_dir(folder.path()).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let port =
                std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let child = Command::new("openssl")
                .args(["s_server", "-accept", &format!("127.0.0.1:{port}")])
                .args(["-cert", "c", "-key", "k", "-www"])
                .current_dir(folder.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let url = format!("https://127.0.0.1:{port}/").parse().unwrap();
            Self { folder, child, url }
        }

        /// Reads from it as soon as it is up.
        async fn read(&self, client: &Client) -> Result<Answer, HttpError> {
            loop {
                match get(client, self.url.clone(), 1 << 20).await {
                    Err(HttpError::Unreachable(why)) if why.contains("refused") => {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    answer => return answer,
                }
            }
        }
    }

    #[tokio::test]
    async fn tls_works_and_a_certificate_that_nobody_signed_is_refused() {
        let server = TlsServer::start();
        let total = Duration::from_secs(5);
        let error = server.read(&client(Peer::Service, total).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
        let trusted = std::fs::read(server.folder.path().join("c")).unwrap();
        let trusted = reqwest::Certificate::from_pem(&trusted).unwrap();
        let trusting = builder(Peer::Service, total).tls_certs_only([trusted]).build().unwrap();
        let answer = server.read(&trusting).await.unwrap();
        assert!(String::from_utf8_lossy(&answer.body).contains("TLS"), "{answer:?}");
    }
}
