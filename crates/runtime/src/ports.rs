//! The ports: everything that Serin reads from the world or changes in it.
//!
//! Real ports live in `serin-adapters`, pretend ones in `serin-sim`. An adapter does one thing once: it does not
//! retry, batch, or decide whether a result is good. Each call has its own deadline, so that none can hang for ever.

use async_trait::async_trait;
use serin_model::{
    AdminState, AlertSource, Argv, BackendName, Build, DebVersion, HostName, HostObservation,
    LbObservation, LoadBalancer, PackageName, Patch, PatchId, Profile, QaSuite, Reason, RunId,
    ServerName, ServiceName, StepId, Timestamp,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// All ports of one controller.
#[derive(Clone)]
pub struct Ports {
    /// Hosts.
    pub hosts: Arc<dyn HostPort>,
    /// Load balancers.
    pub load_balancers: Arc<dyn LbPort>,
    /// Alerts.
    pub alerts: Arc<dyn AlertPort>,
    /// QA suites.
    pub qa: Arc<dyn QaPort>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// The time, as the core is told it.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the time. It never goes back within one process.
    fn now(&self) -> Timestamp;
    /// Returns when that time has come.
    async fn sleep_until(&self, at: Timestamp);
}

/// The number by which a host or load balancer knows an outdated controller: the epoch of the environment's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// Why a port could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// No answer: nothing is known about what happened.
    #[error("{host} cannot be reached: {why}")]
    Unreachable {
        /// Who was asked.
        host: HostName,
        /// What was tried, and what came back.
        why: String,
    },
    /// The other side has seen a newer controller, and changed nothing.
    #[error("fence {by} was already seen")]
    Fenced {
        /// The number it has seen.
        by: u64,
    },
    /// The other side understood, and refused.
    #[error("{0}")]
    Refused(String),
    /// The answer makes no sense: nothing is known about what happened.
    #[error("answer not understood: {0}")]
    Garbled(String),
}

impl From<PortError> for Reason {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Unreachable { host, why } => Self::Unreachable { host, why },
            PortError::Fenced { by } => Self::Fenced { by },
            PortError::Refused(why) => Self::Refused(why),
            PortError::Garbled(why) => Self::OutcomeUnknown(format!("it was done: {why}")),
        }
    }
}

/// Hosts, through the wrapper.
#[async_trait]
pub trait HostPort: Send + Sync {
    /// Reads a host's state, in one round trip.
    async fn observe(&self, query: &HostQuery) -> Result<HostObservation, PortError>;

    /// Runs a short command that changes nothing, and returns what it printed.
    async fn read(&self, host: &HostName, command: &Command) -> Result<CommandEnd, PortError>;

    /// Starts a job, or attaches to it if this attempt or an earlier one of the step is already running, and waits.
    ///
    /// The job outlives the connection. `PortError::Unreachable` says nothing about it; ask again.
    async fn run(&self, job: &Job) -> Result<JobEnd, PortError>;

    /// Looks at the last attempt of a step's job without starting anything.
    async fn look(
        &self,
        host: &HostName,
        run: &HostRun,
        step: &StepId,
    ) -> Result<JobState, PortError>;

    /// Makes the host refuse every smaller fence from now on.
    async fn raise_fence(&self, host: &HostName, fence: Fence) -> Result<(), PortError>;

    /// Puts bytes of a patch on a host, before the job that needs them; they are known there by their SHA-256.
    async fn store(
        &self,
        host: &HostName,
        fence: Fence,
        patch: &PatchId,
        bytes: &[u8],
    ) -> Result<(), PortError>;

    /// Tells whether a patch, whose bytes are stored, could be applied now, and how many of its files would change: each is
    /// as before or as afterwards. Nothing is changed; a patch that does not fit is refused.
    async fn fits(&self, host: &HostName, patch: &Patch) -> Result<u32, PortError>;
}

/// What to read of a host.
#[derive(Debug, Clone)]
pub struct HostQuery {
    /// The host.
    pub host: HostName,
    /// The package.
    pub package: PackageName,
    /// How its services are asked.
    pub profile: Profile,
    /// The services that must be there.
    pub services: Vec<ServiceName>,
    /// Exits 0 while config management runs; `None`: there is none.
    pub config_management: Option<Argv>,
    /// How closely to look.
    pub look: Look,
}

/// How closely to look at a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// At its state.
    State,
    /// Also at the migrations that are not applied, which may take the package's own tools several seconds.
    Migrations,
}

/// A command and its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub argv: Argv,
    /// Variables besides a minimal environment.
    pub environment: BTreeMap<String, String>,
    /// How long it may take.
    pub timeout: Duration,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandEnd {
    /// Its exit status; 128 + N when signal N ended it, 124 when its time was over.
    pub status: i32,
    /// What it printed on both outputs: the last 64 KiB.
    pub output: String,
}

/// Work on a host that must outlive the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The host.
    pub host: HostName,
    /// The run and, with it, the step: they name the job.
    pub run: HostRun,
    /// The step.
    pub step: StepId,
    /// Which attempt of the step this is, from 1.
    pub attempt: u32,
    /// The fence of the controller that asks.
    pub fence: Fence,
    /// What is done.
    pub work: Work,
    /// Kept with the job from before it starts: what looking needs to know afterwards.
    pub note: String,
    /// How long it is waited for. The job is never killed: a package manager that is killed leaves a broken host.
    pub timeout: Duration,
}

/// A run as hosts know it, written as `r-7-1795582808`.
///
/// A journal that is replaced by an empty one gives the same names to other runs. A host that has kept the jobs of the ones
/// must not take them for those of the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostRun {
    /// The run.
    pub id: RunId,
    /// When it was made; to the second on hosts.
    pub made: Timestamp,
}

impl fmt::Display for HostRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.id, self.made.as_millis() / 1000)
    }
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Runs a command.
    Command {
        /// Program and arguments.
        argv: Argv,
        /// Variables besides a minimal environment.
        environment: BTreeMap<String, String>,
    },
    /// Fetches a build's package into apt's cache and proves its SHA-256.
    Fetch(Build),
    /// Repairs an interrupted dpkg, then installs a build's package, which must be fetched and have its SHA-256.
    Install(Build),
    /// Makes sure that the package that is installed now can be gone back to: its bytes are on the host.
    Keep {
        /// The package.
        package: PackageName,
        /// The version that is installed.
        version: DebVersion,
    },
    /// Has apt say what it would do to install a build that was fetched, and to go back from it to what is installed now.
    Simulate(Build),
    /// Changes all files of a patch, or none. The bytes of afterwards must be stored, and each file must be as before or
    /// as afterwards.
    Patch(Patch),
    /// Takes a patch back: all files are as they were before it, or none is. The originals are those that the host kept,
    /// or that were stored.
    Unpatch(Patch),
}

impl Work {
    /// Returns the running of a command in the minimal environment.
    pub fn command(argv: Argv) -> Self {
        Self::Command { argv, environment: BTreeMap::new() }
    }
}

/// How a job ended, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// It ran to its end.
    Exited(CommandEnd),
    /// It still runs after its time.
    StillRunning {
        /// The last lines that it printed.
        output: String,
    },
    /// It started and is gone without having reported an end: the host was restarted, or it was killed.
    Died {
        /// The last lines that it printed.
        output: String,
    },
}

/// What is known of a step's job without starting it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// It never started.
    NeverStarted,
    /// It runs.
    Running {
        /// The note that it was started with.
        note: String,
    },
    /// It ended, one way or another.
    Ended {
        /// The note that it was started with.
        note: String,
        /// How.
        end: JobEnd,
    },
}

/// Load balancers, through the wrapper on their hosts.
#[async_trait]
pub trait LbPort: Send + Sync {
    /// Reads all servers, from the worker that serves and from those that are leaving.
    async fn observe(&self, lb: &LoadBalancer) -> Result<LbObservation, PortError>;

    /// Tells HAProxy the admin state of servers. Only reading back proves that it took.
    async fn set_admin(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        servers: &[(BackendName, ServerName)],
        state: AdminState,
    ) -> Result<(), PortError>;

    /// Tells HAProxy absolute weights. Only reading back proves that they took.
    async fn set_weights(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        weights: &[(BackendName, ServerName, u32)],
    ) -> Result<(), PortError>;

    /// Cuts the sessions of servers.
    async fn cut_sessions(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        servers: &[(BackendName, ServerName)],
    ) -> Result<(), PortError>;

    /// Makes the load balancer refuse every smaller fence from now on.
    async fn raise_fence(&self, lb: &LoadBalancer, fence: Fence) -> Result<(), PortError>;
}

/// Alerts of an environment.
#[async_trait]
pub trait AlertPort: Send + Sync {
    /// Reads every alert of the environment, from everywhere it is told, and proves that the reading is fresh.
    async fn read(&self, source: &AlertSource) -> AlertReading;

    /// Reads every alert of the environment that fired at any moment of a time that is over, and proves that it was
    /// recorded for the whole of it.
    async fn read_back(
        &self,
        _source: &AlertSource,
        _from: Timestamp,
        _to: Timestamp,
    ) -> AlertReading {
        let doubts = vec!["nobody has recorded what fired".to_owned()];
        AlertReading { firing: Vec::new(), doubts }
    }
}

/// What was read of an environment's alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertReading {
    /// Alerts that are firing, silenced ones included.
    pub firing: Vec<Alert>,
    /// Why this reading cannot be trusted; empty: it can.
    pub doubts: Vec<String>,
}

/// An alert that is firing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// Its other labels that tell it apart, for people: `severity=critical, instance=…`.
    pub labels: String,
    /// Whether it stops runs.
    pub critical: bool,
    /// Whether a person has silenced it. Silence hides nothing from a gate: it is only shown.
    pub silenced: bool,
    /// What the attribution label says, on alerts that fit the attribution's matchers: a host's name or address.
    pub about: Option<String>,
}

/// QA suites.
#[async_trait]
pub trait QaPort: Send + Sync {
    /// Runs a suite to its end or its time limit; dropping the future ends it and all it started.
    async fn run(&self, suite: &QaSuite) -> QaResult;
}

/// The result of a QA suite. Failed tests, no tests and a broken infrastructure are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QaResult {
    /// Enough tests ran, and none failed in the end.
    Passed {
        /// How many were executed.
        executed: u32,
        /// Those that passed only when they were tried again.
        flaky: Vec<String>,
    },
    /// Tests failed.
    Failed {
        /// Their names.
        tests: Vec<String>,
    },
    /// Too few tests ran.
    TooFew {
        /// How many were executed.
        executed: u32,
    },
    /// There is no result that can be read.
    Broken {
        /// Why.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_refuses_is_told_in_its_own_words() {
        let refused = PortError::Refused("web-01: `set server web/web-01 state drain`".to_owned());
        let told = Reason::from(refused).to_string();
        assert_eq!(told, "refused: web-01: `set server web/web-01 state drain`");
    }
}
