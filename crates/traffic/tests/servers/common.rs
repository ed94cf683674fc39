//! Real servers on loopback for the tests: a well-behaved one, and raw sockets that misbehave.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serin_traffic::{BaseUrl, Endpoint, Profile, Summary, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) type Reply = Response<Full<Bytes>>;

/// Far longer than any measurement here, so that one that hangs fails.
const RUN_MAX: Duration = Duration::from_secs(30);

/// A whole, well-formed reply that keeps the connection.
pub(crate) const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Serves HTTP with `answer` until the test's runtime ends.
pub(crate) async fn serve<F, A>(answer: F) -> BaseUrl
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Reply> + Send,
{
    serve_raw(move |stream| {
        let answer = answer.clone();
        async move {
            let service = service_fn(move |request| {
                let reply = answer(request);
                async move { Ok::<_, Infallible>(reply.await) }
            });
            let server = hyper::server::conn::http1::Builder::new();
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        }
    })
    .await
}

/// Gives each accepted connection to `talk`.
pub(crate) async fn serve_raw<F, T>(talk: F) -> BaseUrl
where
    F: Fn(TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = base(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _peer)) = listener.accept().await {
            tokio::spawn(talk(stream));
        }
    });
    base
}

pub(crate) fn base(address: SocketAddr) -> BaseUrl {
    format!("http://{address}").parse().unwrap()
}

pub(crate) fn ok(body: &str) -> Reply {
    Response::new(Full::from(body.to_owned()))
}

/// Reads the head of one request; false at the end of the connection.
pub(crate) async fn read_request(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_closed) => return false,
        }
    }
    true
}

pub(crate) async fn write(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

/// `rate` requests a second to `/` for `length`.
pub(crate) fn profile(rate: f64, length: Duration, base: BaseUrl) -> Profile {
    let mut profile = Profile::new(rate, vec![base], vec![Endpoint::get("/")]);
    profile.duration = Some(length);
    profile
}

pub(crate) async fn run_whole(profile: &Profile) -> Summary {
    let measuring = tokio::time::timeout(RUN_MAX, run(profile, std::future::pending()));
    let summary = measuring.await.expect("it ends").expect("the profile is right");
    assert_eq!(summary.requests, summary.succeeded + summary.failed, "{summary}");
    assert_eq!(summary.failed, summary.failures.values().sum::<u64>(), "{summary}");
    assert_eq!(summary.requests, summary.response.count, "{summary}");
    summary
}
