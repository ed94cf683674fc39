//! `gitaly`: a wrapper whose pid runit knows, and a server that the wrapper replaces without losing a request.
//!
//! The wrapper owns the listening socket and hands it to each server as standard input, so that old and new server
//! accept from one queue. On HUP the new server starts from the binary on disk, and the old one stops accepting only
//! when the new one is ready. TERM is the opposite: everything in flight is dropped, which users of git and web see.

use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::http::{self, Answer, Connections, Service, StopSignals};
use crate::settings::Installation;
use crate::web::{BOOT, Identity};

/// The wrapper: binds, starts a server, replaces it on HUP.
pub(crate) async fn supervise(installation: &Installation) -> anyhow::Result<ExitCode> {
    let mut hup = signal(SignalKind::hangup())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let port = installation.read_settings()?.port("GITALY_PORT", 8075)?;
    // Before the socket is bound: a cold start refuses connections for a moment, as the real one does.
    tokio::time::sleep(BOOT).await;
    let listener = std::net::TcpListener::bind(("0.0.0.0", port))
        .with_context(|| format!("cannot listen on port {port}"))?;
    let mut current = start_server(&listener).await.context("cannot start the gitaly server")?;
    let mut leaving: Vec<Child> = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = term.recv() => break,
            _ = int.recv() => break,
            status = current.wait() => bail!("the gitaly server ended by itself: {}", status?),
            _ = hup.recv() => match start_server(&listener).await {
                Ok(next) => {
                    let old = std::mem::replace(&mut current, next);
                    stop_accepting(&old);
                    leaving.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
                    leaving.push(old);
                }
                Err(error) => crate::say(&format!("no handover, the old one stays: {error:#}")),
            },
        }
    }
    for child in leaving.iter_mut().chain([&mut current]) {
        // Already gone is as good.
        drop(child.kill().await);
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a server from the binary that is on disk now, and waits until it accepts.
async fn start_server(listener: &std::net::TcpListener) -> anyhow::Result<Child> {
    let socket = OwnedFd::from(listener.try_clone()?);
    let mut child = Command::new(program()?)
        .arg("gitaly-server")
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().context("no pipe to the new server")?;
    let mut line = String::new();
    let mut output = BufReader::new(output);
    let said = output.read_line(&mut line);
    let limit = Duration::from_secs(10);
    match tokio::time::timeout(limit, said).await {
        Ok(Ok(_)) if line.trim() == "ready" => Ok(child),
        _ => bail!("the new server did not become ready"),
    }
}

/// The path that this program was started by. Not `/proc/self/exe`, which stays with the replaced file.
fn program() -> anyhow::Result<String> {
    std::env::args().next().context("no argv[0]")
}

fn stop_accepting(server: &Child) {
    let pid = server.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    // Without a pid it has ended already.
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::INT)) {
        crate::say(&format!("cannot stop the old server: {error}"));
    }
}

struct Gitaly {
    identity: Identity,
}

/// The server: accepts from the socket on standard input until INT, then finishes what is in flight.
pub(crate) async fn serve(installation: &Installation) -> anyhow::Result<ExitCode> {
    let stop = StopSignals::install()?;
    // A wrapper that was killed must not leave a server behind that nobody supervises.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let listener = take_listener()?;
    let settings = installation.read_settings()?;
    let identity = Identity::load("gitaly", installation, &settings)?;
    tokio::time::sleep(BOOT).await;
    crate::say(&format!("gitaly {} accepts", identity.build.version));
    writeln!(std::io::stdout(), "ready").context("the wrapper is gone")?;
    http::serve(listener, Connections::OneRequest, Arc::new(Gitaly { identity }), stop.wait())
        .await;
    crate::say("gitaly finished its requests and stops");
    Ok(ExitCode::SUCCESS)
}

fn take_listener() -> anyhow::Result<TcpListener> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    // While standard input is the socket too, closing ours would not stop anything.
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).context("standard input is no listening socket")
}

impl Service for Gitaly {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let identity = &self.identity;
        let path = request.uri().path();
        if let Some(answer) = identity.answer_about_itself(path, None) {
            return identity.sign(answer);
        }
        let from = Instant::now();
        identity.in_flight.fetch_add(1, Ordering::Relaxed);
        let answer = match path {
            "/info/refs" => http::text(
                StatusCode::OK,
                "001e# service=git-upload-pack\n0000003f0123456789abcdef0123456789abcdef01234567 HEAD\n0000",
            ),
            "/git-upload-pack" => {
                let wait = http::query_number(&request, "ms");
                tokio::time::sleep(Duration::from_millis(wait)).await;
                http::text(StatusCode::OK, "0008NAK\nPACK\n")
            }
            "/tree" => http::text(StatusCode::OK, "README.md\napp\nlib\n"),
            _ => http::text(StatusCode::NOT_FOUND, "404 Not Found\n"),
        };
        identity.in_flight.fetch_sub(1, Ordering::Relaxed);
        identity.metrics.count(answer.status().as_u16(), from.elapsed());
        identity.sign(answer)
    }
}
