//! One request and its reply over a pool of kept-alive connections: what a browser or git does.
//!
//! A connection that the server closed while it was idle is no failure of the service: clients ask
//! again on a fresh one, and so does this, once, and counts it (`reconnects`). Nothing else is
//! retried. It measures no time and keeps no count itself.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HeaderName;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::{BaseUrl, FailureKind};

pub(crate) type Ask = Request<Empty<Bytes>>;

/// How soon after sending a close must come to mean "that connection was stale": one round trip,
/// with room for a busy machine. A close that comes later cut off a request that was being served,
/// and hiding that would hide what a bad reload does to long requests.
const STALE_WITHIN: Duration = Duration::from_millis(200);

/// Too many open files: in this process, and in the whole system.
const OUT_OF_FILES: [i32; 2] = [24, 23];

/// How one request ended.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) outcome: Result<StatusCode, Failure>,
    /// The counted header of the reply, when there was a head of a reply.
    pub(crate) counted: Option<String>,
    pub(crate) answered: bool,
    pub(crate) reconnected: bool,
}

/// A failure with the words of whatever reported it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) detail: String,
}

/// The bases, each with its idle connections.
#[derive(Debug)]
pub(crate) struct Client {
    bases: Vec<(BaseUrl, Idle)>,
    count_header: HeaderName,
}

impl Client {
    pub(crate) fn new(bases: &[BaseUrl], count_header: HeaderName) -> Self {
        let bases = bases.iter().map(|base| (base.clone(), Idle::default())).collect();
        Self { bases, count_header }
    }

    /// Sends `ask` to the base of that index and reads the whole reply, all before `deadline`.
    pub(crate) async fn exchange(&self, base: usize, ask: Ask, deadline: Instant) -> Exchange {
        let mut end = Exchange {
            outcome: Ok(StatusCode::OK),
            counted: None,
            answered: false,
            reconnected: false,
        };
        end.outcome = self.ask_within(base, ask, deadline, &mut end).await;
        end
    }

    async fn ask_within(
        &self,
        base: usize,
        ask: Ask,
        deadline: Instant,
        end: &mut Exchange,
    ) -> Result<StatusCode, Failure> {
        let Some((url, idle)) = self.bases.get(base) else {
            return Err(FailureKind::Generator.with("no such base"));
        };
        let mut reply = Err(Broken::Stale);
        if let Some(connection) = idle.take() {
            reply = self.ask_on(connection, ask.clone(), deadline, end).await;
            end.reconnected = matches!(reply, Err(Broken::Stale));
        }
        if let Err(Broken::Stale) = reply {
            let connection = connect(url, deadline).await?;
            reply = self.ask_on(connection, ask, deadline, end).await;
        }
        match reply {
            Ok((connection, status)) => {
                idle.give(connection);
                Ok(status)
            }
            Err(Broken::Failed(failure)) => Err(failure),
            // A fresh connection is never called stale; if it were, this is what it would mean.
            Err(Broken::Stale) => Err(FailureKind::ClosedBeforeReply.with("closed at once")),
        }
    }

    async fn ask_on(
        &self,
        mut connection: Connection,
        ask: Ask,
        deadline: Instant,
        end: &mut Exchange,
    ) -> Result<(Connection, StatusCode), Broken> {
        let received_before = connection.received();
        let sent_at = Instant::now();
        let sent = timeout_at(deadline, connection.sender.try_send_request(ask)).await;
        let reply = match sent {
            Err(_elapsed) => return Err(FailureKind::Timeout.with("no reply").into()),
            Ok(Ok(reply)) => reply,
            Ok(Err(mut error)) => {
                let is_untouched = connection.received() == received_before;
                let was_sent = error.take_message().is_none();
                let came = if is_untouched { Came::Nothing } else { Came::Something };
                let failure = failure_of(&error.into_error(), came);
                let is_stale = connection.is_reused
                    && failure.kind == FailureKind::ClosedBeforeReply
                    && (!was_sent || sent_at.elapsed() < STALE_WITHIN);
                return Err(if is_stale { Broken::Stale } else { failure.into() });
            }
        };
        let status = reply.status();
        let counted = reply.headers().get(&self.count_header);
        end.counted = counted.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        end.answered = true;
        match timeout_at(deadline, drain(reply.into_body())).await {
            Err(_elapsed) => Err(FailureKind::Timeout.with("the reply's body did not end").into()),
            Ok(Err(error)) => Err(failure_of(&error, Came::Something).into()),
            Ok(Ok(())) => {
                connection.is_reused = true;
                Ok((connection, status))
            }
        }
    }
}

impl FailureKind {
    fn with(self, detail: &str) -> Failure {
        Failure { kind: self, detail: detail.to_owned() }
    }
}

/// Why a connection gave no reply.
enum Broken {
    /// The server had closed it before the request came: worth one fresh connection.
    Stale,
    Failed(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

#[derive(Debug)]
struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    /// Bytes that came from the server, to tell "before any byte of the reply".
    received: Arc<AtomicU64>,
    is_reused: bool,
}

impl Connection {
    fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }
}

/// Connections that wait for their next request.
#[derive(Debug, Default)]
struct Idle(Mutex<Vec<Connection>>);

impl Idle {
    /// Takes the ready connection that was used last, and forgets those that the server closed.
    fn take(&self) -> Option<Connection> {
        let mut connections = self.lock();
        connections.retain(|connection| !connection.sender.is_closed());
        let at = connections.iter().rposition(|connection| connection.sender.is_ready())?;
        Some(connections.remove(at))
    }

    fn give(&self, connection: Connection) {
        self.lock().push(connection);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        // A list of connections has no invariant that a panic could have broken.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(url: &BaseUrl, deadline: Instant) -> Result<Connection, Failure> {
    let stream = match timeout_at(deadline, TcpStream::connect((url.host(), url.port()))).await {
        Err(_elapsed) => return Err(FailureKind::ConnectTimeout.with("no connection")),
        Ok(Err(error)) => {
            let kind = connect_kind(&error);
            return Err(Failure { kind, detail: error.to_string() });
        }
        Ok(Ok(stream)) => stream,
    };
    // Without it, the small writes of a request could wait for the peer's delayed acknowledgement.
    stream.set_nodelay(true).map_err(|error| failure_of(&error, Came::Nothing))?;
    let received = Arc::new(AtomicU64::new(0));
    let counted = CountedStream { stream, received: Arc::clone(&received) };
    let (sender, driver) = http1::handshake(TokioIo::new(counted))
        .await
        .map_err(|error| failure_of(&error, Came::Nothing))?;
    // The driver's error reaches whoever waits for the reply; with nobody waiting, it is a close.
    tokio::spawn(async move { drop(driver.await) });
    Ok(Connection { sender, received, is_reused: false })
}

fn connect_kind(error: &io::Error) -> FailureKind {
    let is_out_of_files = error.raw_os_error().is_some_and(|code| OUT_OF_FILES.contains(&code));
    if is_out_of_files || error.kind() == io::ErrorKind::AddrNotAvailable {
        FailureKind::Generator
    } else if error.kind() == io::ErrorKind::ConnectionRefused {
        FailureKind::ConnectRefused
    } else if error.kind() == io::ErrorKind::ConnectionReset {
        // The listener went away with this connection still in its queue.
        FailureKind::ClosedBeforeReply
    } else if error.kind() == io::ErrorKind::TimedOut {
        FailureKind::ConnectTimeout
    } else {
        FailureKind::ConnectFailed
    }
}

/// How much of a reply had come when its connection broke.
#[derive(Debug, Clone, Copy)]
enum Came {
    Nothing,
    Something,
}

/// Sorts an error of an open connection.
fn failure_of(error: &(dyn Error + 'static), came: Came) -> Failure {
    let is_malformed = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
    let kind = match (is_malformed, came) {
        (true, Came::Nothing | Came::Something) => FailureKind::Malformed,
        (false, Came::Nothing) => FailureKind::ClosedBeforeReply,
        (false, Came::Something) => FailureKind::ClosedInReply,
    };
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        detail = format!("{detail}: {deeper}");
        cause = deeper.source();
    }
    Failure { kind, detail }
}

/// Reads a body to its end without keeping it.
async fn drain(mut body: hyper::body::Incoming) -> Result<(), hyper::Error> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}

/// A TCP stream that counts what it receives.
struct CountedStream {
    stream: TcpStream,
    received: Arc<AtomicU64>,
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        let count = u64::try_from(buffer.filled().len() - before).unwrap_or(u64::MAX);
        self.received.fetch_add(count, Ordering::Release);
        poll
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
