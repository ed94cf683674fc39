//! Hosts, through the wrapper: the port that observes them and runs jobs that outlive the connection.
//!
//! It asks and translates, once each; waiting for a job is the only thing that it does in more than one request. It
//! decides nothing and never kills a job. Read [`SystemHosts`] first, then `wrapper/base.sh`.

mod carried;
#[doc(hidden)]
pub mod fuzzing;
mod lb_socket;
mod observation;
mod request;

use crate::shown::shown;
use crate::ssh::{Reply, Request, SshConfig, SshPool};
use async_trait::async_trait;
use serin_model::{HostName, HostObservation, Patch, PatchId, StepId};
use serin_runtime::ports::{
    Clock, Command, CommandEnd, Fence, HostPort, HostQuery, HostRun, Job, JobEnd, JobState,
    PortError,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long one request waits for a job at most. A session whose controller was killed lives on for so long.
const WAIT_SLICE: Duration = Duration::from_secs(5);

/// What the wrapper itself takes at most to answer: it may wait 30 s for its lock.
const OWN_TIME: Duration = Duration::from_secs(35);

/// How long HAProxy may take to answer a command on its socket: it answers within milliseconds, or is stuck.
const HAPROXY_TIME: Duration = Duration::from_secs(5);

/// How long reading the files of all patches may take: a few hundred small ones, on a disk that is busy.
const PATCHES_TIME: Duration = Duration::from_mins(1);

/// Real hosts, reached by SSH.
pub struct SystemHosts {
    ssh: SshPool,
    clock: Arc<dyn Clock>,
}

impl SystemHosts {
    /// Makes the port; nothing is connected yet.
    pub fn new(config: SshConfig, clock: Arc<dyn Clock>) -> Self {
        Self { ssh: SshPool::new(config), clock }
    }

    /// Proves that a host can be reached and the wrapper can work there: its tools are there, its folder can be written.
    ///
    /// # Errors
    /// Says what is in the way.
    pub async fn hello(&self, host: &HostName) -> Result<(), PortError> {
        let reply = self.ask(host, &request::hello()?, Duration::ZERO).await?;
        match words(&reply).as_slice() {
            ["ok", _fence, _boot] => Ok(()),
            _ => Err(failure(&reply)),
        }
    }

    /// Gives commands to HAProxy's socket on a host, each on a connection of its own, and returns one raw reply each.
    ///
    /// With a fence, all of them run under the wrapper's lock, after the fence was checked; without one they must only
    /// read. Each is sent after `set severity-output number;`, whose empty line begins the reply; not so on a master's
    /// socket, where commands begin with `@` or `show proc`, and must end in `;quit` because it does not close else.
    ///
    /// # Errors
    /// `Unreachable` says whether the socket is missing, dead or mute. Commands before the failed one were executed.
    pub async fn ask_haproxy(
        &self,
        host: &HostName,
        socket: &str,
        fence: Option<Fence>,
        commands: &[String],
    ) -> Result<Vec<String>, PortError> {
        let request = request::haproxy(socket, fence, HAPROXY_TIME, commands)?;
        let count = u32::try_from(commands.len()).unwrap_or(u32::MAX);
        let reply = self.ask(host, &request, HAPROXY_TIME.saturating_mul(count)).await?;
        let unreachable = |why: &str| {
            let why = format!("HAProxy's socket {socket} {why}");
            Err(PortError::Unreachable { host: host.clone(), why })
        };
        match words(&reply).as_slice() {
            ["ok"] if reply.blocks.len() == commands.len() => {
                Ok(reply.blocks.iter().map(|block| text(block)).collect())
            }
            ["socket", "missing"] => {
                unreachable("is missing: HAProxy is not running, or has it elsewhere")
            }
            ["socket", "dead"] => unreachable("refuses connections: HAProxy is not running"),
            ["socket", "mute"] => unreachable(
                "takes connections but does not answer: all that it allows are taken, or HAProxy hangs",
            ),
            ["socket", "empty"] => unreachable("closed the connection without an answer"),
            ["socket", "long"] => unreachable("answers without end"),
            ["socket", "broken", why @ ..] => unreachable(&format!("is broken: {}", why.join(" "))),
            _ => Err(failure(&reply)),
        }
    }

    async fn ask(
        &self,
        host: &HostName,
        request: &Request,
        time: Duration,
    ) -> Result<Reply, PortError> {
        self.ssh.ask(host, request, time + OWN_TIME).await
    }

    /// Waits until an attempt ends, or the job's time is over.
    async fn wait(&self, job: &Job, attempt: u32) -> Result<JobEnd, PortError> {
        let began = Instant::now();
        loop {
            let left = job.timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                break;
            }
            let slice = left.min(WAIT_SLICE);
            let reply = self.ask(&job.host, &request::wait(job, attempt, slice)?, slice).await?;
            if let Found::Ended { end, .. } = found(&reply)? {
                return Ok(end);
            }
        }
        let reply =
            self.ask(&job.host, &request::look(&job.run, &job.step)?, Duration::ZERO).await?;
        Ok(match found(&reply)? {
            Found::Ended { end, .. } => end,
            Found::Running { output, .. } => JobEnd::StillRunning { output },
            Found::Never => JobEnd::Died { output: String::new() },
        })
    }
}

#[async_trait]
impl HostPort for SystemHosts {
    async fn observe(&self, query: &HostQuery) -> Result<HostObservation, PortError> {
        let time = request::observe_time(query);
        let observed_at = self.clock.now();
        let reply = self.ask(&query.host, &request::observe(query)?, time).await?;
        match (words(&reply).as_slice(), reply.blocks.as_slice()) {
            (["ok"], [lines]) => observation::parse(&query.host, observed_at, &text(lines)),
            _ => Err(failure(&reply)),
        }
    }

    async fn read(&self, host: &HostName, command: &Command) -> Result<CommandEnd, PortError> {
        let reply = self.ask(host, &request::read(command)?, command.timeout).await?;
        match (words(&reply).as_slice(), reply.blocks.as_slice()) {
            (["exited", status], [output]) => {
                Ok(CommandEnd { status: status_of(status, &reply)?, output: text(output) })
            }
            _ => Err(failure(&reply)),
        }
    }

    async fn run(&self, job: &Job) -> Result<JobEnd, PortError> {
        let reply = self.ask(&job.host, &request::start(job)?, Duration::ZERO).await?;
        match found(&reply)? {
            Found::Ended { end, .. } => Ok(end),
            Found::Running { attempt, .. } => self.wait(job, attempt).await,
            Found::Never => Err(failure(&reply)),
        }
    }

    async fn look(
        &self,
        host: &HostName,
        run: &HostRun,
        step: &StepId,
    ) -> Result<JobState, PortError> {
        let reply = self.ask(host, &request::look(run, step)?, Duration::ZERO).await?;
        Ok(match found(&reply)? {
            Found::Never => JobState::NeverStarted,
            Found::Running { note, .. } => JobState::Running { note },
            Found::Ended { note, end } => JobState::Ended { note, end },
        })
    }

    async fn raise_fence(&self, host: &HostName, fence: Fence) -> Result<(), PortError> {
        let reply = self.ask(host, &request::raise_fence(fence)?, Duration::ZERO).await?;
        match words(&reply).as_slice() {
            ["ok"] => Ok(()),
            _ => Err(failure(&reply)),
        }
    }

    async fn store(
        &self,
        host: &HostName,
        fence: Fence,
        patch: &PatchId,
        bytes: &[u8],
    ) -> Result<(), PortError> {
        let request = request::store(fence, patch, bytes)?;
        let reply = self.ask(host, &request, request::store_time(bytes)).await?;
        match words(&reply).as_slice() {
            ["ok"] => Ok(()),
            _ => Err(failure(&reply)),
        }
    }

    async fn fits(&self, host: &HostName, patch: &Patch) -> Result<u32, PortError> {
        let reply = self.ask(host, &request::fits(patch)?, PATCHES_TIME).await?;
        match words(&reply).as_slice() {
            ["fits", to_do] => to_do.parse().map_err(|_not_a_number| failure(&reply)),
            _ => Err(failure(&reply)),
        }
    }
}

/// What the wrapper found out about a job.
enum Found {
    Never,
    Running { attempt: u32, note: String, output: String },
    Ended { note: String, end: JobEnd },
}

fn found(reply: &Reply) -> Result<Found, PortError> {
    let block = |index: usize| reply.blocks.get(index).map(|bytes| text(bytes)).unwrap_or_default();
    let note = request::unescape(&block(0));
    let output = block(1);
    match words(reply).as_slice() {
        ["never"] => Ok(Found::Never),
        ["running", attempt] => {
            let attempt = attempt.parse().map_err(|_not_a_number| failure(reply))?;
            Ok(Found::Running { attempt, note, output })
        }
        ["exited", _attempt, status] => {
            let end = JobEnd::Exited(CommandEnd { status: status_of(status, reply)?, output });
            Ok(Found::Ended { note, end })
        }
        ["died", _attempt] => Ok(Found::Ended { note, end: JobEnd::Died { output } }),
        _ => Err(failure(reply)),
    }
}

fn status_of(word: &str, reply: &Reply) -> Result<i32, PortError> {
    word.parse().map_err(|_not_a_number| failure(reply))
}

/// Returns what a reply means that is not one of those hoped for.
fn failure(reply: &Reply) -> PortError {
    match reply.end.split_once(' ') {
        Some(("fenced", by)) => match by.parse() {
            Ok(by) => PortError::Fenced { by },
            Err(_) => PortError::Garbled(shown(&reply.end)),
        },
        Some(("refused", why)) => PortError::Refused(shown(why)),
        Some(_) | None => {
            PortError::Garbled(format!("the wrapper answered {:?}", shown(&reply.end)))
        }
    }
}

fn words(reply: &Reply) -> Vec<&str> {
    reply.end.split(' ').filter(|word| !word.is_empty()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
