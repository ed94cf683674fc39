//! For the fuzz targets of hosts: what is sent to the wrapper, and what is read of it, without a host.

use super::request;
use super::{failure, found, observation};
use crate::ssh::frames::{NoReply, read_reply};
use crate::ssh::{Reply, Request};
use serin_model::{HostName, HostObservation, Timestamp};
use serin_runtime::ports::{Command, Fence, HostQuery, Job, PortError};
use std::time::Duration;

/// Reads one reply; what is wrong with it otherwise.
pub async fn reply(mut bytes: &[u8]) -> Result<Reply, String> {
    read_reply(&mut bytes).await.map_err(|why| match why {
        NoReply::Nothing => "nothing".to_owned(),
        NoReply::Ended => "ended".to_owned(),
        NoReply::Garbled(line) => line,
    })
}

/// Takes a reply for that to a question about a job, and returns the job's note.
pub fn note(reply: &Reply) -> Result<Option<String>, PortError> {
    found(reply).map(|found| match found {
        super::Found::Never => None,
        super::Found::Running { note, .. } | super::Found::Ended { note, .. } => Some(note),
    })
}

/// Takes a reply for one that refuses.
pub fn refusal(reply: &Reply) -> PortError {
    failure(reply)
}

/// Reads what a host says of itself.
pub fn observed(host: &HostName, lines: &str) -> Result<HostObservation, PortError> {
    observation::parse(host, Timestamp::from_millis(0), lines)
}

/// Returns what is sent to run a short command.
pub fn read(command: &Command) -> Result<Request, PortError> {
    request::read(command)
}

/// Returns what is sent to start a job.
pub fn start(job: &Job) -> Result<Request, PortError> {
    request::start(job)
}

/// Returns what is sent to wait for a job's first attempt.
pub fn wait(job: &Job, time: Duration) -> Result<Request, PortError> {
    request::wait(job, 1, time)
}

/// Returns what is sent to give HAProxy commands.
pub fn haproxy(socket: &str, commands: &[String]) -> Result<Request, PortError> {
    request::haproxy(socket, Some(Fence(1)), Duration::from_secs(1), commands)
}

/// Returns what is sent to observe a host.
pub fn observe(query: &HostQuery) -> Result<Request, PortError> {
    request::observe(query)
}
