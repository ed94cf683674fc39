//! Performing steps: precheck, act, verify. One file for each kind of work.
//!
//! Every act looks first: what is already as it should be is left alone, and what is neither as the plan expects it
//! nor as it should be stops the run. Every act looks afterwards: only what was read back counts as done. That is why
//! a step whose outcome is unknown is simply performed again, and why there is no code for recovery.

mod config_management;
mod exposure;
mod migrate;
mod package;
mod patch;
mod qa;
mod service;
mod share;
mod sweep;
mod traffic;

use crate::ports::{
    Command, CommandEnd, Fence, HostRun, Job, JobEnd, Look, PortError, Ports, Work,
};
use serin_engine::{Mode, Outcome};
use serin_model::{
    Action, Argv, Build, Environment, Host, HostName, HostObservation, InvalidArgument, Plan,
    Reason, Role, Step, StepId, Subject,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use sweep::{observe_environments, query};

/// How long a command that only reads may take on a host.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// One attempt of one step, with all that performing it needs.
#[derive(Clone)]
pub struct Act {
    /// The ports.
    pub ports: Ports,
    /// The plan.
    pub plan: Arc<Plan>,
    /// The run.
    pub run: HostRun,
    /// The environment of the step's stage.
    pub environment: serin_model::EnvironmentName,
    /// What the step is about.
    pub subject: Subject,
    /// The step.
    pub step: Step,
    /// The attempt.
    pub attempt: u32,
    /// Whether it may have happened already.
    pub mode: Mode,
    /// Whether the host may have been changed since it was drained.
    pub changed: bool,
    /// Whether a host that was not changed goes straight back into service: in a halt, moments after it was taken out.
    /// Later, others may have changed it.
    pub straight: bool,
    /// Whether the lane that the step is in takes its host out of service.
    pub drained: bool,
    /// The fence of the environment.
    pub fence: Fence,
}

/// Why an attempt did not get to its end; what is worth telling becomes the step's outcome.
pub(crate) type Stop = Outcome;

impl From<PortError> for Box<Outcome> {
    fn from(error: PortError) -> Self {
        Self::new(stopped(error))
    }
}

/// What an error of a port means for the attempt: without an answer it is lost, with one it has failed.
pub(crate) fn stopped(error: PortError) -> Stop {
    match error {
        PortError::Unreachable { .. } | PortError::Garbled(_) => Outcome::Lost(error.into()),
        PortError::Fenced { .. } | PortError::Refused(_) => Outcome::Failed(error.into()),
    }
}

/// Performs one attempt of a step.
pub async fn perform(act: &Act) -> Outcome {
    let result = match &act.step.action {
        // The engine answers these, from readings of alerts and from what people say.
        Action::Guard | Action::Bake { .. } | Action::Approve { .. } => {
            return Outcome::Done(String::new());
        }
        Action::StopConfigManagement => config_management::stop(act).await,
        Action::StartConfigManagement { fleet } => config_management::start(act, fleet).await,
        Action::RecordVersion { fleet, from, to } => {
            config_management::record(act, fleet, (from.as_ref(), to.as_ref())).await
        }
        Action::SetShare { fleet, percent } => share::set(act, fleet, *percent).await,
        Action::Expose { fleet, requests, watch, deadline } => {
            exposure::expose(act, fleet, *requests, (*watch, *deadline)).await
        }
        Action::CheckHost { from } => package::check(act, from.as_ref()).await,
        Action::Fetch => package::fetch(act).await,
        Action::Simulate => package::simulate(act).await,
        Action::CheckConfig => package::check_config(act).await,
        Action::Drain => traffic::drain(act).await,
        Action::Install { from } => package::install(act, from.as_ref()).await,
        Action::Reconfigure => package::reconfigure(act).await,
        Action::Activate => service::activate(act).await,
        Action::Ready => traffic::ready(act).await,
        Action::PreparePatch { patch, version } => patch::prepare(act, patch, version).await,
        Action::Patch { patch, version, services } => {
            patch::apply(act, (patch, version), services).await
        }
        Action::Unpatch { patch, version, services } => {
            patch::remove(act, (patch, version), services).await
        }
        Action::Migrate(kind) => migrate::migrate(act, *kind).await,
        Action::Qa(suite) => qa::run(act, suite).await,
        Action::Sweep { intended } => sweep::sweep(act, intended).await,
    };
    result.unwrap_or_else(|stop| *stop)
}

pub use share::{withdraw, zero as reweigh};
pub use traffic::redrain;

type Performed = Result<Outcome, Box<Stop>>;

#[expect(clippy::unnecessary_wraps, reason = "the last line of a performance reads `done(…)`")]
fn done(seen: impl Into<String>) -> Performed {
    Ok(Outcome::Done(seen.into()))
}

#[expect(clippy::unnecessary_wraps, reason = "the last line of a performance reads `already(…)`")]
fn already(seen: impl Into<String>) -> Performed {
    Ok(Outcome::AlreadyDone(seen.into()))
}

fn failed<T>(reason: Reason) -> Result<T, Box<Stop>> {
    Err(Box::new(Outcome::Failed(reason)))
}

fn unexpected<T>(expected: impl Into<String>, found: impl Into<String>) -> Result<T, Box<Stop>> {
    failed(Reason::Unexpected { expected: expected.into(), found: found.into() })
}

fn filled(argv: &Argv, values: &[(&str, &str)]) -> Result<Argv, Box<Stop>> {
    argv.fill(values).or_else(|InvalidArgument(text)| {
        unexpected("a value without line ends", format!("{text:?}"))
    })
}

impl Act {
    fn environment(&self) -> Result<&Environment, Box<Stop>> {
        let found = self.plan.topology.environments.get(&self.environment);
        found
            .map_or_else(|| unexpected("an environment of the plan", self.environment.as_str()), Ok)
    }

    fn host(&self) -> Result<&Host, Box<Stop>> {
        let found = match &self.subject {
            Subject::Host(name) => self.plan.topology.host(&self.environment, name),
            Subject::Fleet(_) | Subject::Environment => None,
        };
        found.map_or_else(|| unexpected("a host of the plan", self.subject.to_string()), Ok)
    }

    fn roles(&self) -> Result<Vec<&Role>, Box<Stop>> {
        Ok(self.plan.topology.roles_of(self.host()?).collect())
    }

    /// Returns the build that the step's host is to run.
    fn build(&self) -> Result<&Build, Box<Stop>> {
        let found = match &self.subject {
            Subject::Host(host) => self.plan.build_for(host),
            Subject::Fleet(_) | Subject::Environment => Some(&self.plan.build),
        };
        found.map_or_else(
            || unexpected("a host that the plan changes", self.subject.to_string()),
            Ok,
        )
    }

    async fn observe(&self, look: Look) -> Result<HostObservation, Box<Stop>> {
        let environment = self.environment()?;
        let query = query(&self.plan.topology, environment, self.host()?, look);
        Ok(self.ports.hosts.observe(&query).await?)
    }

    async fn read(&self, host: &HostName, argv: &Argv) -> Result<CommandEnd, Box<Stop>> {
        let command =
            Command { argv: argv.clone(), environment: BTreeMap::new(), timeout: READ_TIMEOUT };
        Ok(self.ports.hosts.read(host, &command).await?)
    }

    /// Runs a job of this step on its host, or attaches to it.
    async fn job(&self, work: Work, timeout: Duration) -> Result<CommandEnd, Box<Stop>> {
        let host = self.host()?.name.clone();
        self.job_on(host, self.step.id.clone(), work, timeout).await
    }

    async fn job_on(
        &self,
        host: HostName,
        step: StepId,
        work: Work,
        timeout: Duration,
    ) -> Result<CommandEnd, Box<Stop>> {
        let what = describe(&work);
        let job = self.new_job(host.clone(), step, work, timeout);
        match self.ports.hosts.run(&job).await? {
            JobEnd::Exited(end) if end.status == 0 => Ok(end),
            JobEnd::Exited(end) => failed(command_failed(what, &end)),
            JobEnd::StillRunning { .. } => failed(Reason::TimedOut { what, after: timeout }),
            // It is known that nothing runs any more, and the precheck of the next attempt sees what became of it.
            JobEnd::Died { output } => Err(Box::new(Outcome::Lost(Reason::CommandFailed {
                command: what,
                status: "died without reporting an end (was the host restarted?)".to_owned(),
                output: last_lines(&output),
            }))),
        }
    }

    fn new_job(&self, host: HostName, step: StepId, work: Work, timeout: Duration) -> Job {
        Job {
            host,
            run: self.run.clone(),
            step,
            attempt: self.attempt,
            fence: self.fence,
            work,
            note: String::new(),
            timeout,
        }
    }

    /// Asks until the answer is good, or the deadline has come.
    async fn until<F>(
        &self,
        what: &str,
        deadline: Duration,
        every: Duration,
        mut ask: impl FnMut() -> F,
    ) -> Result<(), Box<Stop>>
    where
        F: Future<Output = Result<bool, Box<Stop>>>,
    {
        let end = self.ports.clock.now().plus(deadline);
        loop {
            if ask().await? {
                return Ok(());
            }
            let now = self.ports.clock.now();
            if now >= end {
                return failed(Reason::TimedOut { what: what.to_owned(), after: deadline });
            }
            self.ports.clock.sleep_until(now.plus(every).min(end)).await;
        }
    }
}

pub(crate) fn describe(work: &Work) -> String {
    match work {
        Work::Command { argv, .. } => argv.to_string(),
        Work::Fetch(build) => format!("fetch {}={}", build.package, build.version),
        Work::Keep { package, version } => format!("keep {package}={version}"),
        Work::Simulate(build) => format!("simulate {}={}", build.package, build.version),
        Work::Install(build) => format!("install {}={}", build.package, build.version),
        Work::Patch(patch) => {
            format!("patch {}={} with {}", patch.package, patch.version, patch.id.short())
        }
        Work::Unpatch(patch) => {
            format!("take patch {} off {}={}", patch.id.short(), patch.package, patch.version)
        }
    }
}

pub(crate) fn command_failed(command: String, end: &CommandEnd) -> Reason {
    let status = match end.status {
        124 => "ran out of time".to_owned(),
        signal @ 129..=192 => format!("was ended by signal {}", signal - 128),
        status => format!("ended with status {status}"),
    };
    Reason::CommandFailed { command, status, output: last_lines(&end.output) }
}

/// The end of an output, short enough for one line on a screen.
pub(crate) fn last_lines(output: &str) -> String {
    const LINES: usize = 3;
    const LENGTH: usize = 400;
    let lines: Vec<&str> =
        output.lines().rev().filter(|line| !line.trim().is_empty()).take(LINES).collect();
    let text = lines.into_iter().rev().map(str::trim).collect::<Vec<_>>().join(" | ");
    text.chars().filter(|c| !c.is_control()).take(LENGTH).collect()
}
