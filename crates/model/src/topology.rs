//! What there is: environments, fleets, hosts, load balancers, and where alerts and tests come from.

use crate::{
    Argv, BackendName, EnvironmentName, FleetName, FreezeWindow, HostName, LbName, PackageName,
    Profile, QaName, Role, RoleName, ServerName, time,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// Everything that Serin delivers to, and how. A plan carries the topology that it was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The package that is delivered.
    pub package: PackageName,
    /// What Serin knows about that kind of package.
    pub profile: Profile,
    /// The roles, the same in every environment.
    pub roles: BTreeMap<RoleName, Role>,
    /// The environments.
    pub environments: BTreeMap<EnvironmentName, Environment>,
}

/// A complete installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Its name.
    pub name: EnvironmentName,
    /// Its load balancers: every one holds every backend.
    pub load_balancers: BTreeMap<LbName, LoadBalancer>,
    /// Its fleets.
    pub fleets: BTreeMap<FleetName, Fleet>,
    /// The agent that must be stopped while hosts are operated on.
    pub config_management: Option<ConfigManagement>,
    /// Where its alerts come from.
    pub alerts: Option<AlertSource>,
    /// Its QA suites.
    pub qa: BTreeMap<QaName, QaSuite>,
    /// When nothing is to be started in it.
    #[serde(default)]
    pub freeze: Vec<FreezeWindow>,
    /// Who may override a hold or window.
    #[serde(default)]
    pub overriding: Overriding,
}

/// Who may override a hold or a freeze window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overriding {
    /// One person, with a reason.
    #[default]
    OnePerson,
    /// One person, who names a second one.
    SecondPerson,
}

/// A machine that runs HAProxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// Its name within the environment.
    pub name: LbName,
    /// The host it runs on.
    pub host: HostName,
    /// HAProxy's socket: a path on that host.
    pub socket: String,
    /// The master's socket, by which leaving workers are seen: a path on that host.
    pub master_socket: Option<String>,
    /// A direct TCP address `host:port` of the socket, for reading.
    pub tcp: Option<String>,
    /// Whether the TCP address may also be used for changes, without a fence.
    pub unfenced: bool,
}

/// Hosts of one environment that share a slice of traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Its name.
    pub name: FleetName,
    /// Its hosts.
    pub hosts: BTreeMap<HostName, Host>,
    /// The share of traffic, in percent, that this fleet gets after a good deploy to it; `None`: not a canary.
    pub share_after: Option<u8>,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, as `ssh` knows it.
    pub name: HostName,
    /// What it does.
    pub roles: BTreeSet<RoleName>,
    /// Its servers, on every load balancer.
    pub servers: Vec<LbServer>,
}

/// A `backend/server` entry of HAProxy on one load balancer that points at a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LbServer {
    /// The load balancer.
    pub lb: LbName,
    /// The backend.
    pub backend: BackendName,
    /// The server.
    pub server: ServerName,
    /// Whether the backend may be left without any server that is UP.
    pub may_be_empty: bool,
}

impl fmt::Display for LbServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.lb, self.backend, self.server)
    }
}

/// Chef, or any agent that must be stopped while hosts are operated on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigManagement {
    /// The agent's name, for people.
    pub agent: String,
    /// Stops it; may return while it is still converging.
    pub stop: Argv,
    /// Starts it.
    pub start: Argv,
    /// Exits 0 while it runs or is converging.
    pub running: Argv,
    /// How long a converge may take to end, in milliseconds.
    #[serde(with = "time::millis")]
    pub wait: Duration,
    /// Where the wanted version of a fleet is recorded.
    pub record: Option<VersionRecord>,
}

/// Where the version that config management installs is recorded, one record for each fleet.
///
/// Commands may hold `{environment}`, `{fleet}` and, for writing, `{version}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// Prints the recorded version.
    pub read: Argv,
    /// Records a version.
    pub write: Argv,
    /// The host on which these commands run.
    pub host: HostName,
}

/// Where the alerts of an environment come from and which of them count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertSource {
    /// Base URLs of the Alertmanagers; the union of what they say counts.
    pub alertmanagers: Vec<String>,
    /// Base URLs of the Prometheus servers that send alerts to them.
    pub prometheus: Vec<String>,
    /// Matchers, all of which an alert of this environment fits.
    pub matchers: Vec<String>,
    /// Matchers, all of which an alert that stops a run fits besides.
    pub critical: Vec<String>,
    /// Matchers of the alert that always fires: without it, nothing that was read is fresh.
    pub watchdog: Vec<String>,
    /// How often they are read, in milliseconds.
    #[serde(with = "time::millis")]
    pub poll: Duration,
    /// How long they may be unreadable before the run halts, in milliseconds.
    #[serde(with = "time::millis")]
    pub unreadable_for: Duration,
    /// How old an Alertmanager must be to be believed: until then it may not have been told of every alert. In
    /// milliseconds.
    #[serde(with = "time::millis")]
    pub min_age: Duration,
    /// How alerts about hosts that Serin has out of service are told apart.
    pub attribution: Option<Attribution>,
}

/// How alerts about hosts that Serin itself has out of service are told apart: shown, but not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// The label that names the host.
    pub label: String,
    /// Matchers, all of which such an alert fits.
    pub matchers: Vec<String>,
}

/// A command that tests an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QaSuite {
    /// Its name.
    pub name: QaName,
    /// The command, run on the machine of the controller.
    pub command: Argv,
    /// Where its result is.
    pub report: QaReport,
    /// How many tests must be executed for the result to mean anything.
    pub minimum_tests: u32,
    /// How long it may take, in milliseconds.
    #[serde(with = "time::millis")]
    pub timeout: Duration,
    /// Runs again only what failed; tests that pass then are recorded as flaky.
    pub retry_failed: Option<Argv>,
    /// Environment of the command.
    pub environment: BTreeMap<String, String>,
    /// Variables that are passed on from Serin's own environment and never shown.
    pub secrets: Vec<String>,
}

/// Where the result of a QA suite is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QaReport {
    /// JUnit XML files that fit these names, in the working folder of the command.
    Junit(Vec<String>),
    /// RSpec's summary line on standard output.
    Rspec,
}

impl Topology {
    /// Returns a host of an environment, whichever fleet it is in.
    pub fn host(&self, environment: &EnvironmentName, host: &HostName) -> Option<&Host> {
        self.environments.get(environment)?.fleets.values().find_map(|fleet| fleet.hosts.get(host))
    }

    /// Returns the roles of a host, in the order of their names.
    pub fn roles_of<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a Role> {
        host.roles.iter().filter_map(|role| self.roles.get(role))
    }
}

impl Environment {
    /// Returns the servers of a fleet in backends that also hold servers of another fleet: those whose weights are
    /// its share of traffic.
    pub fn shared_servers(&self, fleet: &FleetName) -> Vec<&LbServer> {
        let others: BTreeSet<(&LbName, &BackendName)> = self
            .hosts()
            .filter(|(other, _)| other.name != *fleet)
            .flat_map(|(_, host)| &host.servers)
            .map(|server| (&server.lb, &server.backend))
            .collect();
        let own = self.fleets.get(fleet).into_iter().flat_map(|fleet| fleet.hosts.values());
        own.flat_map(|host| &host.servers)
            .filter(|server| others.contains(&(&server.lb, &server.backend)))
            .collect()
    }

    /// Returns every host with its fleet, fleets and hosts in the order of their names.
    pub fn hosts(&self) -> impl Iterator<Item = (&Fleet, &Host)> {
        self.fleets.values().flat_map(|fleet| fleet.hosts.values().map(move |host| (fleet, host)))
    }
}
