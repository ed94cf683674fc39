//! How HAProxy's sockets are spoken to: one connection for each command, read to its end.
//!
//! There is no status code and no reliable end-of-reply mark on that socket, so replies are never split: a connection
//! carries one command, and its reply is everything up to the close. Nothing here understands a reply.

use async_trait::async_trait;
use serin_model::{HostName, verdict};
use serin_runtime::ports::{Fence, PortError};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// The longest reply that is read, in bytes: `show stat` of ten thousand servers. More is not HAProxy.
const MAX_REPLY: u64 = 16 * 1024 * 1024;

/// Sent before every command: from then on errors start with `[3]: `, and cannot be taken for anything else.
const SEVERITY: &str = "set severity-output number;";

/// Where commands can be asked.
#[async_trait]
pub trait LbSocket: Send + Sync {
    /// Asks commands of a socket on a host, in their order, and returns one raw reply for each.
    ///
    /// Each command is sent as `set severity-output number;COMMAND` on a connection of its own; its reply is all
    /// bytes up to the close, line ends included. The master's socket knows no severities, so there the command may
    /// also be sent alone. With a fence, the host refuses all of them if it has seen a larger one. Commands hold no
    /// line ends. An error says nothing about the commands before the one that failed.
    async fn ask(
        &self,
        host: &HostName,
        socket: &str,
        fence: Option<Fence>,
        commands: &[String],
    ) -> Result<Vec<String>, PortError>;

    /// Makes the host refuse every smaller fence from now on.
    async fn raise_fence(&self, host: &HostName, fence: Fence) -> Result<(), PortError>;
}

#[async_trait]
impl<S: LbSocket + ?Sized> LbSocket for Arc<S> {
    async fn ask(
        &self,
        host: &HostName,
        socket: &str,
        fence: Option<Fence>,
        commands: &[String],
    ) -> Result<Vec<String>, PortError> {
        self.as_ref().ask(host, socket, fence, commands).await
    }

    async fn raise_fence(&self, host: &HostName, fence: Fence) -> Result<(), PortError> {
        self.as_ref().raise_fence(host, fence).await
    }
}

/// Reaches a socket directly: `host:port`, or a path on this machine. It cannot fence, so it refuses a fence.
#[derive(Debug, Clone)]
pub struct DirectSocket {
    deadline: Duration,
}

impl DirectSocket {
    /// Makes one whose every command must be answered in full within `deadline`.
    pub const fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    async fn ask_one(
        &self,
        host: &HostName,
        socket: &str,
        line: &str,
    ) -> Result<String, PortError> {
        let unreachable = |why: String| PortError::Unreachable { host: host.clone(), why };
        let reply = tokio::time::timeout(self.deadline, exchange(socket, line)).await.map_err(
            // The error of a timeout holds nothing but that time is over.
            |_elapsed| {
                unreachable(format!(
                    "{socket}: no answer within {}; all of HAProxy's connections there may be taken",
                    verdict::seconds(self.deadline)
                ))
            },
        )?;
        let reply = reply.map_err(|error| unreachable(format!("{socket}: {error}")))?;
        if u64::try_from(reply.len()).is_ok_and(|length| length > MAX_REPLY) {
            return Err(PortError::Garbled(format!(
                "{socket}: the answer is longer than {MAX_REPLY} bytes"
            )));
        }
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }
}

#[async_trait]
impl LbSocket for DirectSocket {
    async fn ask(
        &self,
        host: &HostName,
        socket: &str,
        fence: Option<Fence>,
        commands: &[String],
    ) -> Result<Vec<String>, PortError> {
        if fence.is_some() {
            return Err(cannot_fence(socket));
        }
        let mut replies = Vec::with_capacity(commands.len());
        for command in commands {
            if command.contains(['\n', '\r']) {
                return Err(PortError::Refused(format!("{command:?} holds a line end")));
            }
            // One after the other: HAProxy has ten connections by default, and they are not ours alone.
            replies.push(self.ask_one(host, socket, &format!("{SEVERITY}{command}\n")).await?);
        }
        Ok(replies)
    }

    async fn raise_fence(&self, host: &HostName, _fence: Fence) -> Result<(), PortError> {
        Err(cannot_fence(host.as_str()))
    }
}

fn cannot_fence(socket: &str) -> PortError {
    PortError::Refused(format!("{socket} is reached directly, where nothing checks a fence"))
}

async fn exchange(socket: &str, line: &str) -> std::io::Result<Vec<u8>> {
    if socket.starts_with('/') {
        transfer(UnixStream::connect(socket).await?, line).await
    } else {
        transfer(TcpStream::connect(socket).await?, line).await
    }
}

async fn transfer<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    line: &str,
) -> std::io::Result<Vec<u8>> {
    stream.write_all(line.as_bytes()).await?;
    let mut reply = Vec::new();
    // One byte more than the limit tells "too long" from "exactly as long".
    stream.take(MAX_REPLY.saturating_add(1)).read_to_end(&mut reply).await?;
    Ok(reply)
}
