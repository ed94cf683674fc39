//! `serin chat serve`: accepts, reads within limits, answers, and stops when it is told to.
//!
//! Everything that a stranger can make it do has a bound: connections, headers, bytes and time. Each connection is for
//! one request.

use super::converse::Conversation;
use super::doors::{Answer, Body, Doors, Place};
use crate::context::Context;
use crate::failure::{Code, Failure};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

/// Connections at once. Platforms ask a few times a minute.
const MOST_CONNECTIONS: usize = 128;

/// What a platform sends is some kilobytes.
const MOST_BYTES: usize = 64 << 10;

/// Requests have about fifteen header lines.
const MOST_HEADERS: usize = 64;

/// All header lines together.
const MOST_HEADER_BYTES: usize = 16 << 10;

/// How long header or body may take: platforms give up after three seconds.
const READ: Duration = Duration::from_secs(5);

/// How long a connection may last in all.
const WHOLE: Duration = Duration::from_secs(20);

/// How long to wait after a connection could not be accepted: no files are left, and others must end first.
const BREATH: Duration = Duration::from_millis(100);

pub(crate) async fn run(context: Context, listen: SocketAddr) -> Result<Code, Failure> {
    let chat = context.config.chat.clone();
    if chat.slack.is_none() && chat.mattermost.is_none() {
        return Err(Failure::new(Code::Config, "there is no chat in the configuration")
            .hint("add [chat.slack] or [chat.mattermost]; docs/chat.md says how"));
    }
    if !listen.ip().is_loopback() {
        return Err(Failure::new(Code::Refused, format!("{listen} can be reached from elsewhere"))
            .hint("listen on 127.0.0.1, and let a proxy with a certificate pass requests on"));
    }
    let context = Arc::new(context);
    let conversation = Arc::new(Conversation::new(Arc::clone(&context))?);
    let doors = Arc::new(Doors::new(chat, conversation)?);
    let cannot = |error: std::io::Error| {
        Failure::new(Code::Error, format!("could not listen on {listen}: {error}"))
    };
    let listener = TcpListener::bind(listen).await.map_err(cannot)?;
    let listens = listener.local_addr().map_err(cannot)?;
    let stop = stopped().map_err(cannot)?;
    context.say(format!("chats are heard on {listens}"));
    tokio::select! {
        () = stop => context.say("no longer hearing chats; runs that were begun from them go on"),
        () = accept(&context, listener, doors) => {}
    }
    Ok(Code::Done)
}

fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

async fn accept(context: &Context, listener: TcpListener, doors: Arc<Doors>) {
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            context.clock.sleep_until(context.clock.now().plus(BREATH)).await;
            continue;
        };
        // Whoever is one too many is let go at once: to wait would be to let a stranger decide how long.
        let Ok(slot) = Arc::clone(&connections).try_acquire_owned() else { continue };
        let doors = Arc::clone(&doors);
        tokio::spawn(async move {
            // Whatever ends a connection early, its client knows better.
            drop(tokio::time::timeout(WHOLE, serve(stream, doors)).await);
            drop(slot);
        });
    }
}

async fn serve(stream: TcpStream, doors: Arc<Doors>) {
    let answer = service_fn(move |request| {
        let doors = Arc::clone(&doors);
        async move { Ok::<_, Infallible>(response(answer(&doors, request).await)) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ)
        .max_headers(MOST_HEADERS)
        .max_buf_size(MOST_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    drop(connection.await);
}

async fn answer(doors: &Doors, request: Request<Incoming>) -> Answer {
    let Some(place) = Place::of(request.uri().path()) else {
        return Answer::text(StatusCode::NOT_FOUND, "there is no such door\n");
    };
    let (parts, body) = request.into_parts();
    if parts.method == Method::GET && parts.uri.query() == Some("ssl_check=1") {
        return Answer::text(StatusCode::OK, "");
    }
    if parts.method != Method::POST {
        return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only POST is heard\n");
    }
    let body = tokio::time::timeout(READ, Limited::new(body, MOST_BYTES).collect()).await;
    let Ok(body) = body else {
        return Answer::text(StatusCode::REQUEST_TIMEOUT, "this takes too long\n");
    };
    match body {
        Ok(body) => doors.answer(place, &parts.headers, &body.to_bytes()).await,
        Err(_) => Answer::text(StatusCode::PAYLOAD_TOO_LARGE, "this is too large, or was cut\n"),
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let (kind, text) = match answer.body {
        Body::Empty => ("text/plain; charset=utf-8", String::new()),
        Body::Text(text) => ("text/plain; charset=utf-8", text.to_owned()),
        Body::Json(message) => ("application/json; charset=utf-8", message.to_string()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = answer.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if answer.status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}
