//! One session: an `ssh` process, and the wrapper at its other end. What travels between them is in `frames.rs`.

use super::SshConfig;
use super::explain::explain;
use super::frames::{NoReply, Reply, Request, read_line, read_reply};
use super::wrapper::{WRAPPER, remote_command};
use serin_model::HostName;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What a login may take besides reaching the host: key exchange, authentication, sudo, installing the wrapper.
const LOGIN: Duration = Duration::from_secs(20);

/// What a host may print before the wrapper speaks, in bytes: a message of the day, the noise of a `.bashrc`.
const MAX_NOISE: u64 = 256 * 1024;

/// What is kept of `ssh`'s errors, in bytes.
const MAX_STDERR: usize = 4 * 1024;

/// How long `ssh` may take to end and tell why, once it has closed its output.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why a request has no reply.
#[derive(Debug)]
pub(super) enum Broken {
    /// The session ended before the first byte of a reply.
    Unanswered(String),
    /// It ended, or the time was over, in the middle.
    Lost(String),
    /// The frames make no sense.
    Garbled(String),
}

/// A connection on which the wrapper answers.
pub(super) struct Session {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
    stderr: Arc<Mutex<String>>,
    reading_stderr: JoinHandle<()>,
}

impl Session {
    /// Logs in, installs the wrapper if its like is not there, and has it serve.
    pub(super) async fn connect(config: &SshConfig, host: &HostName) -> Result<Self, ConnectError> {
        let mut child = command(config, host)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| ConnectError::from(format!("cannot start ssh: {error}")))?;
        let (Some(requests), Some(replies), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(ConnectError::from("cannot talk to ssh".to_owned()));
        };
        let stderr = Arc::new(Mutex::new(String::new()));
        let reading_stderr = tokio::spawn(keep_tail(errors, Arc::clone(&stderr)));
        let replies = BufReader::new(replies);
        let mut session = Self { child, requests, replies, stderr, reading_stderr };
        let time = config.connect_timeout + LOGIN;
        match timeout(time, session.greet()).await {
            Ok(Ok(())) => Ok(session),
            Ok(Err(why)) => Err(ConnectError { why, stderr: session.stderr() }),
            Err(_elapsed) => {
                let stderr = session.stderr();
                let said = if stderr.is_empty() { String::new() } else { explain(&stderr) };
                let why = format!("no login within {} s; {said}", time.as_secs());
                Err(ConnectError { why, stderr: String::new() })
            }
        }
    }

    /// Tells whether nothing is known against using it again.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a request and reads its reply. After an error the session must be dropped.
    pub(super) async fn ask(
        &mut self,
        request: &Request,
        deadline: Duration,
    ) -> Result<Reply, Broken> {
        match timeout(deadline, self.exchange(request)).await {
            Ok(result) => result,
            Err(_elapsed) => {
                let seconds = deadline.as_secs();
                Err(Broken::Lost(format!(
                    "no answer to `{}` within {seconds} s",
                    request.operation()
                )))
            }
        }
    }

    async fn exchange(&mut self, request: &Request) -> Result<Reply, Broken> {
        let lines = request.render();
        let sent = async {
            self.requests.write_all(lines.as_bytes()).await?;
            self.requests.write_all(request.bytes()).await
        };
        if sent.await.is_err() {
            return Err(Broken::Unanswered(self.why_lost().await));
        }
        match read_reply(&mut self.replies).await {
            Ok(reply) => Ok(reply),
            Err(NoReply::Nothing) => Err(Broken::Unanswered(self.why_lost().await)),
            Err(NoReply::Ended) => Err(Broken::Lost(self.why_lost().await)),
            Err(NoReply::Garbled(line)) => Err(Broken::Garbled(line)),
        }
    }

    async fn greet(&mut self) -> Result<(), String> {
        let mut noise = MAX_NOISE;
        loop {
            let Some(line) = read_line(&mut self.replies, noise).await else {
                return Err(explain(&self.last_words().await));
            };
            noise = noise.saturating_sub(u64::try_from(line.len()).unwrap_or(u64::MAX));
            let Some(word) = line.strip_prefix("SERIN-1 ") else { continue };
            match word {
                "ready" => return Ok(()),
                "want" => {
                    if self.requests.write_all(WRAPPER.as_bytes()).await.is_err() {
                        return Err(explain(&self.last_words().await));
                    }
                }
                "not-root" => {
                    return Err("the login user is not root: set `sudo = true` under [ssh], \
                                or log in as root"
                        .to_owned());
                }
                other => {
                    let said = self.last_words().await;
                    return Err(format!("the wrapper cannot work: {other}; {}", explain(&said)));
                }
            }
        }
    }

    async fn why_lost(&mut self) -> String {
        let stderr = self.last_words().await;
        if stderr.trim().is_empty() {
            "the connection was lost".to_owned()
        } else {
            format!("the connection was lost: {}", explain(&stderr))
        }
    }

    async fn last_words(&mut self) -> String {
        // It closed its output: it is ending, or the wrapper has left it alive. Either way its words are now known.
        if !self.reading_stderr.is_finished() {
            drop(timeout(LAST_WORDS, &mut self.reading_stderr).await);
        }
        self.stderr()
    }

    fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why there is no session, and what `ssh` said.
#[derive(Debug)]
pub(super) struct ConnectError {
    pub(super) why: String,
    pub(super) stderr: String,
}

impl From<String> for ConnectError {
    fn from(why: String) -> Self {
        Self { why, stderr: String::new() }
    }
}

async fn keep_tail(mut errors: ChildStderr, stderr: Arc<Mutex<String>>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = errors.read(&mut buffer).await {
        let text = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).into_owned();
        let mut kept = stderr.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_str(&text);
        while kept.len() > MAX_STDERR {
            let line = kept.find('\n').map_or(kept.len(), |end| end + 1);
            drop(kept.drain(..line));
        }
    }
}

fn command(config: &SshConfig, host: &HostName) -> Command {
    let mut command = Command::new("ssh");
    if let Some(path) = &config.config {
        command.arg("-F").arg(path);
    }
    let seconds = config.connect_timeout.as_secs().max(1);
    command.arg("-T").arg(format!("-oConnectTimeout={seconds}"));
    // Nobody is there to answer; a wrong host key is never a question; a dead network ends the session in 45 s.
    command.args(["-oBatchMode=yes", "-oStrictHostKeyChecking=yes"]);
    command.args(["-oServerAliveInterval=15", "-oServerAliveCountMax=3"]);
    // An operator's settings for their own shells: a shared connection would outlive Serin and end all sessions at once.
    command.args(["-oControlMaster=no", "-oControlPath=none", "-oClearAllForwardings=yes"]);
    command.args(["-oForwardAgent=no", "-oRemoteCommand=none", "-oPermitLocalCommand=no"]);
    // Ctrl-C in Serin's terminal is for Serin: a run halts safely only while its sessions live.
    command.process_group(0);
    // `sudo` and `ssh` must speak the language in which `explain` reads them.
    command.env("LC_ALL", "C").arg("--").arg(host.as_str()).arg(remote_command(config));
    command
}
