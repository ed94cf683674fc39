//! What was last seen of hosts and load balancers, always with the time of seeing.
//!
//! A host's state is the whole of it: package, running processes, servers, config management. No part alone is
//! success.

use crate::{
    BackendName, CarriedPatch, DebVersion, EnvironmentName, FleetName, HostName, LbName, PatchId,
    ServerName, ServiceName, Sha256, Timestamp,
};
use std::collections::BTreeMap;

/// What was last seen, by host and load balancer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Hosts. One that could not be reached is missing.
    pub hosts: BTreeMap<HostName, HostObservation>,
    /// Load balancers. One that could not be read is missing.
    pub load_balancers: BTreeMap<(EnvironmentName, LbName), LbObservation>,
    /// What the record of each fleet says, where there is one: the version that config management installs.
    pub records: BTreeMap<(EnvironmentName, FleetName), Option<DebVersion>>,
    /// What could not be observed, and why.
    pub unreachable: BTreeMap<HostName, String>,
}

/// What was seen of a host, in one round trip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostObservation {
    /// When.
    pub observed_at: Timestamp,
    /// Which start of the machine this is.
    pub boot: String,
    /// The package.
    pub package: PackageState,
    /// The bytes that the installed version came from, if Serin installed it: dpkg does not know.
    pub sha256: Option<Sha256>,
    /// The services that were asked about; a missing one is not known to the host.
    pub services: BTreeMap<ServiceName, ServiceObservation>,
    /// The patches that it carries.
    pub patches: Vec<CarriedPatch>,
    /// Config management.
    pub config_management: ConfigManagementState,
    /// Free bytes where packages are fetched to and unpacked, whichever is less.
    pub free_bytes: u64,
    /// The highest fence that the host has seen.
    pub fence: u64,
    /// Required files that are missing.
    pub missing_files: Vec<String>,
    /// Ids of migrations of the installed build that are not applied: regular, then post-deployment.
    /// `None`: not a deploy host, or they could not be read.
    pub pending_migrations: Option<(Vec<String>, Vec<String>)>,
}

/// The state of the package on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageState {
    /// Not installed.
    Absent,
    /// Installed and configured.
    Installed(DebVersion),
    /// dpkg was interrupted, or a maintainer script failed.
    Broken {
        /// The version that dpkg names, which need not be on disk.
        version: DebVersion,
        /// dpkg's word for the state, for example `half-configured`.
        state: String,
    },
}

/// What was seen of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceObservation {
    /// Its main process; `None` when it is down.
    pub pid: Option<u32>,
    /// The version that the process has loaded, if the profile can tell.
    pub version: Option<DebVersion>,
    /// Whether the process is older than the files of the installed package.
    pub older_than_package: bool,
}

/// What config management is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigManagementState {
    /// It runs, or is converging.
    Running,
    /// It is stopped.
    Stopped,
    /// There is none.
    None,
}

/// What was seen of a load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LbObservation {
    /// When the reading began.
    pub observed_at: Timestamp,
    /// Which worker answered: it changes with every reload.
    pub worker: String,
    /// All servers of all backends.
    pub servers: BTreeMap<(BackendName, ServerName), ServerObservation>,
    /// How each backend chooses a server, in HAProxy's words; one that it does not tell is missing.
    pub balance: BTreeMap<BackendName, String>,
    /// Workers of before a reload that still serve.
    pub leaving: Workers,
}

/// Sessions that leaving workers still hold, by server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workers {
    /// How many such workers there are.
    pub count: u32,
    /// Sessions on them, by server; servers without any are left out.
    pub sessions: BTreeMap<(BackendName, ServerName), u32>,
}

/// What was seen of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerObservation {
    /// What HAProxy was told.
    pub admin: AdminState,
    /// Whether it takes new traffic and its checks pass fully: HAProxy's plain `UP`.
    pub up: bool,
    /// Whether the last check passed and none is missing to full health.
    pub healthy: bool,
    /// HAProxy's own word for its status.
    pub status: String,
    /// Sessions now.
    pub sessions: u32,
    /// Requests queued for it.
    pub queued: u32,
    /// Its weight, 0 to 256.
    pub weight: u32,
    /// The weight that the configuration gives it.
    pub initial_weight: u32,
    /// Sessions since its worker started.
    pub total_sessions: u64,
    /// Its address without the port.
    pub address: String,
    /// Whether an agent may override what HAProxy is told.
    pub agent: bool,
    /// Whether it takes part in balancing, or stands by.
    pub kind: ServerKind,
    /// Milliseconds since its state last changed, as HAProxy counts them (whole seconds).
    pub last_change_ms: u64,
}

/// Whether a server takes part in balancing, in HAProxy's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// It does.
    Active,
    /// Only when no active server is left.
    Backup,
}

/// HAProxy's three admin states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminState {
    /// Takes traffic when its checks pass.
    Ready,
    /// Takes no new traffic but that of sticky clients.
    Drain,
    /// Takes no traffic and is not checked.
    Maintenance,
}

impl HostObservation {
    /// Returns the version of the package if it is installed and configured.
    pub fn installed(&self) -> Option<&DebVersion> {
        match &self.package {
            PackageState::Installed(version) => Some(version),
            PackageState::Absent | PackageState::Broken { .. } => None,
        }
    }

    /// Returns the main process of a service; `None`: it is down, or not known.
    pub fn pid(&self, service: &ServiceName) -> Option<u32> {
        self.services.get(service).and_then(|seen| seen.pid)
    }

    /// Tells whether all of a patch is there, on the version that is installed.
    pub fn carries(&self, patch: &PatchId) -> bool {
        let on = |carried: &CarriedPatch| {
            self.installed().is_some_and(|version| carried.is_whole_on(version))
        };
        self.patches.iter().any(|carried| carried.id == *patch && on(carried))
    }

    /// Tells whether a service is up and has loaded `version`.
    pub fn runs(&self, service: &ServiceName, version: &DebVersion) -> bool {
        self.services.get(service).is_some_and(|seen| {
            seen.pid.is_some()
                && match &seen.version {
                    Some(loaded) => loaded == version,
                    None => !seen.older_than_package && self.installed() == Some(version),
                }
        })
    }
}

impl std::fmt::Display for PackageState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("not installed"),
            Self::Installed(version) => write!(f, "{version}"),
            Self::Broken { version, state } => write!(f, "{version} {state}"),
        }
    }
}

impl std::fmt::Display for AdminState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maintenance => "maint",
        })
    }
}
