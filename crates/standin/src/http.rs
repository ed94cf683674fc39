//! The HTTP server and client that all services share: accept, answer, finish what is in flight.
//!
//! No routing, no TLS, no connection reuse on the client side: a request between services that shares a connection could
//! be lost when the other end hands over, and the lab must only lose what a real installation would lose.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// An answer whose body is known as a whole.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Something that answers requests.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers one request; there is always an answer.
    fn answer(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// How long a client's connection is meant to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// One request each. A connection that was accepted is always answered, even when the stop came before its request:
    /// hyper's own graceful shutdown closes such a one, and a handover would lose a request.
    OneRequest,
    /// As many as the client likes; a graceful stop closes the idle ones.
    KeptAlive,
}

/// How long requests in flight may take after a graceful stop began.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// Accepts and answers until `stop`, then closes the listener, lets requests in flight finish, and returns.
pub(crate) async fn serve<S: Service>(
    listener: TcpListener,
    connections: Connections,
    service: Arc<S>,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    // Nothing is ever sent: the channel ends when the last connection has dropped its end.
    let (alive, mut all_gone) = mpsc::channel::<std::convert::Infallible>(1);
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        // A client that is gone before it was accepted is no reason to end.
        let Ok((stream, _)) = accepted else { continue };
        let service = Arc::clone(&service);
        let answer = service_fn(move |request| {
            let service = Arc::clone(&service);
            async move { Ok::<_, std::convert::Infallible>(service.answer(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .keep_alive(connections == Connections::KeptAlive)
            .serve_connection(TokioIo::new(stream), answer);
        // Whatever ends a connection early, its client knows better than this log.
        match connections {
            Connections::OneRequest => {
                let alive = alive.clone();
                tokio::spawn(async move {
                    drop(connection.await);
                    drop(alive);
                });
            }
            Connections::KeptAlive => {
                let connection = graceful.watch(connection);
                tokio::spawn(async move { drop(connection.await) });
            }
        }
    }
    drop((listener, alive));
    let finishing = async {
        graceful.shutdown().await;
        all_gone.recv().await;
    };
    if tokio::time::timeout(GRACE, finishing).await.is_err() {
        crate::say("requests are still in flight after 30 s: dropping them");
    }
}

/// The signals that runit and `gitlab-ctl` send to end a service, each as a level that stays.
pub(crate) struct StopSignals {
    signals: [Signal; 4],
}

impl StopSignals {
    /// Installs the handlers; from here on none of these signals ends the process by itself.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let install = |kind| signal(kind).context("cannot install a signal handler");
        Ok(Self {
            signals: [
                install(SignalKind::hangup())?,
                install(SignalKind::interrupt())?,
                install(SignalKind::terminate())?,
                install(SignalKind::quit())?,
            ],
        })
    }

    /// Waits for the first of them.
    pub(crate) async fn wait(mut self) {
        let [hangup, interrupt, terminate, quit] = &mut self.signals;
        tokio::select! {
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

/// GETs `path_and_query` from `address` (`host:port`) on a connection of its own.
pub(crate) async fn get(
    address: &str,
    path_and_query: &str,
    limit: Duration,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::get(path_and_query)
            .header("host", address)
            .header("connection", "close")
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    match tokio::time::timeout(limit, exchange).await {
        Ok(answer) => answer,
        Err(_) => anyhow::bail!("{address} does not answer within {limit:?}"),
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    typed(status, "application/json", format!("{body}\n"))
}

/// A plain text answer.
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    typed(status, "text/plain; charset=utf-8", body.into())
}

/// An HTML page.
pub(crate) fn html(status: StatusCode, body: impl Into<String>) -> Answer {
    typed(status, "text/html; charset=utf-8", body.into())
}

fn typed(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let content_type = hyper::header::HeaderValue::from_static(content_type);
    answer.headers_mut().insert(hyper::header::CONTENT_TYPE, content_type);
    answer
}

/// The number after `name=` in the query, or 0.
pub(crate) fn query_number(request: &Request<Incoming>, name: &str) -> u64 {
    request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}
