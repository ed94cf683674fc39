//! The wrapper's operations as requests: what exactly is sent for each.
//!
//! Nothing is decided here, and nothing sent. `base.sh` beside this file describes the frames.

use crate::ssh::Request;
use serin_model::{Argv, Build, RunId, StepId};
use serin_runtime::ports::{Command, Fence, HostQuery, Job, Look, PortError, Work};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest step id that can name a folder on a host, in bytes.
const MAX_STEP: usize = 250;

/// The largest fence that a shell can compare.
const MAX_FENCE: u64 = i64::MAX.unsigned_abs();

pub(super) fn hello() -> Result<Request, PortError> {
    request("hello", Vec::new())
}

pub(super) fn raise_fence(fence: Fence) -> Result<Request, PortError> {
    request("fence", vec![number(fence)?])
}

pub(super) fn read(command: &Command) -> Result<Request, PortError> {
    let mut words = vec![seconds(command.timeout)];
    words.extend(program(&command.argv, &command.environment)?);
    request("read", words)
}

pub(super) fn start(job: &Job) -> Result<Request, PortError> {
    let mut words = vec![
        job.run.to_string(),
        folder(&job.step)?,
        job.attempt.to_string(),
        number(job.fence)?,
        escape(&job.note),
    ];
    match &job.work {
        Work::Command { argv, environment } => {
            words.push("command".to_owned());
            words.extend(program(argv, environment)?);
        }
        Work::Fetch(build) => words.extend(package("fetch", build)),
        Work::Install(build) => words.extend(package("install", build)),
    }
    request("start", words)
}

pub(super) fn wait(job: &Job, attempt: u32, slice: Duration) -> Result<Request, PortError> {
    let step = folder(&job.step)?;
    request("wait", vec![job.run.to_string(), step, attempt.to_string(), seconds(slice)])
}

pub(super) fn look(run: &RunId, step: &StepId) -> Result<Request, PortError> {
    request("look", vec![run.to_string(), folder(step)?])
}

pub(super) fn haproxy(
    socket: &str,
    fence: Option<Fence>,
    each: Duration,
    commands: &[String],
) -> Result<Request, PortError> {
    let fence = fence.map_or_else(|| Ok("-".to_owned()), number)?;
    let mut words = vec![socket.to_owned(), fence, seconds(each)];
    words.extend_from_slice(commands);
    request("haproxy", words)
}

pub(super) fn observe(query: &HostQuery) -> Result<Request, PortError> {
    let profile = &query.profile;
    let mut words = vec!["package".to_owned(), query.package.to_string()];
    for file in &profile.required_files {
        words.extend(["require".to_owned(), file.clone()]);
    }
    for service in &query.services {
        let fill = |argv: &Argv| {
            argv.fill(&[("service", service.as_str()), ("package", query.package.as_str())])
                .map_err(|error| PortError::Refused(error.to_string()))
        };
        words.extend(["service".to_owned(), service.to_string()]);
        counted(&mut words, program(&fill(&profile.service_pid)?, &BTreeMap::new())?);
        let version = match &profile.running_version {
            Some(argv) => program(&fill(argv)?, &BTreeMap::new())?,
            None => Vec::new(),
        };
        counted(&mut words, version);
    }
    if let Some(argv) = &query.config_management {
        words.push("config-management".to_owned());
        counted(&mut words, program(argv, &BTreeMap::new())?);
    }
    if let (Look::Migrations, Some(migrations)) = (query.look, &profile.migrations) {
        words.push("migrations".to_owned());
        words.push(migrations.regular_folder.clone());
        words.push(migrations.post_deployment_folder.clone());
        counted(&mut words, program(&migrations.status, &migrations.environment)?);
    }
    request("observe", words)
}

/// Returns how long an observation may take in all: each of its commands has its own limit on the host.
pub(super) fn observe_time(query: &HostQuery) -> Duration {
    let commands = u32::try_from(query.services.len()).unwrap_or(u32::MAX).saturating_mul(2);
    let short = Duration::from_secs(15).saturating_mul(commands.saturating_add(2));
    short + if query.look == Look::Migrations { Duration::from_secs(125) } else { Duration::ZERO }
}

/// Undoes [`escape`].
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, c == '\\') {
            (_, true) => match characters.next() {
                Some('n') => plain.push('\n'),
                Some('0') => plain.push('\0'),
                Some(other) => plain.push(other),
                None => {}
            },
            (c, false) => plain.push(c),
        }
    }
    plain
}

/// Returns a note as one line that a person can still read on the host.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\0', "\\0")
}

fn request(operation: &'static str, words: Vec<String>) -> Result<Request, PortError> {
    Request::new(operation, words)
        .map_err(|word| PortError::Refused(format!("{word:?} holds a line end or a NUL")))
}

fn counted(words: &mut Vec<String>, program: Vec<String>) {
    words.push(program.len().to_string());
    words.extend(program);
}

/// Returns variables and command as `env` takes them.
fn program(argv: &Argv, environment: &BTreeMap<String, String>) -> Result<Vec<String>, PortError> {
    let mut words = Vec::new();
    for (name, value) in environment {
        let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !name.starts_with(is_first) || !name.chars().all(|c| is_first(c) || c.is_ascii_digit()) {
            return Err(PortError::Refused(format!("{name:?} cannot be the name of a variable")));
        }
        words.push(format!("{name}={value}"));
    }
    match argv.arguments().next() {
        // `env` would take the one for a variable and the other for an option of its own.
        Some(first) if first.contains('=') || first.starts_with('-') => {
            return Err(PortError::Refused(format!("{first:?} cannot be a program")));
        }
        Some(_) | None => {}
    }
    words.extend(argv.arguments().map(str::to_owned));
    Ok(words)
}

fn package(kind: &str, build: &Build) -> [String; 4] {
    let Build { package, version, sha256, size: _, kind: _ } = build;
    [kind.to_owned(), package.to_string(), version.as_str().to_owned(), sha256.to_string()]
}

fn folder(step: &StepId) -> Result<String, PortError> {
    let name = step.as_str().replace('/', "__");
    if name.is_empty() || name.starts_with('.') || name.len() > MAX_STEP {
        return Err(PortError::Refused(format!("{:?} cannot name a folder", step.as_str())));
    }
    Ok(name)
}

fn number(fence: Fence) -> Result<String, PortError> {
    if fence.0 > MAX_FENCE {
        return Err(PortError::Refused(format!("fence {} is too large", fence.0)));
    }
    Ok(fence.0.to_string())
}

/// Whole seconds, rounded up: `timeout 0` would mean no limit.
fn seconds(duration: Duration) -> String {
    duration.as_millis().div_ceil(1000).max(1).to_string()
}
