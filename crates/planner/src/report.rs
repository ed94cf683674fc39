//! What planning has to say besides the plan.

use serin_model::{
    AdminState, BuildKind, DebVersion, EnvironmentName, FleetName, HostName, LbServer, PatchId,
    RoleName,
};
use std::fmt;

/// What a person should know about a plan before it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a plan is not understood without its report"]
pub struct PlanReport {
    /// In the order of the stages.
    pub notes: Vec<Note>,
}

/// One thing to know about a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Nothing is left to do in a stage, and this build has passed it before.
    StagePassed {
        /// The stage.
        stage: u32,
    },
    /// Nothing is left to install in a stage, but its gates were never passed by this build: they run.
    OnlyGates {
        /// The stage.
        stage: u32,
    },
    /// Some hosts of a stage are as they should be, and are not touched.
    HostsDone {
        /// The stage.
        stage: u32,
        /// How many.
        count: usize,
    },
    /// The build sorts before what is installed: apt will be told to downgrade.
    Downgrade {
        /// The stage.
        stage: u32,
        /// What is installed.
        from: DebVersion,
        /// What will be.
        to: DebVersion,
        /// How many hosts.
        count: usize,
    },
    /// The configuration lets builds of this kind follow newer versions.
    MayGoDown {
        /// What the build is.
        kind: BuildKind,
    },
    /// Hosts of one fleet run different versions.
    MixedFleet {
        /// The environment.
        environment: EnvironmentName,
        /// The fleet.
        fleet: FleetName,
        /// Versions and how many hosts have each.
        versions: Vec<(String, usize)>,
    },
    /// An interrupted installation will be repaired.
    Repair {
        /// The host.
        host: HostName,
        /// What it is in.
        state: String,
    },
    /// A server is out of rotation although nothing is known to hold it there: it will be put right.
    LeftOut {
        /// The server.
        server: LbServer,
        /// What HAProxy was told.
        admin: AdminState,
    },
    /// How many hosts of a role may be out at once.
    Budget {
        /// The stage.
        stage: u32,
        /// The role.
        role: RoleName,
        /// How many there are in the fleet.
        hosts: usize,
        /// How many may be out.
        limit: usize,
    },
    /// A backend may be left without any server that is UP while a host of the role is operated on.
    MayBeEmpty {
        /// The stage.
        stage: u32,
        /// The backend.
        backend: String,
    },
    /// Config management stays stopped on a host, because its fleet's record says something else than it runs.
    ConfigManagementStays {
        /// The host.
        host: HostName,
    },
    /// The environment has no alert source: nothing watches for alerts there.
    NoAlerts {
        /// The environment.
        environment: EnvironmentName,
    },
    /// No pattern tells where the build came from.
    UnknownKind(BuildKind),
    /// A patch that hosts are to have is put back after the installation.
    PatchKept {
        /// The patch.
        patch: PatchId,
        /// The version that it is put on.
        version: DebVersion,
        /// How many hosts.
        count: usize,
    },
    /// Nothing on some hosts has loaded a file of the patch: they are changed while they serve.
    ServeOn {
        /// The stage.
        stage: u32,
        /// How many.
        count: usize,
    },
    /// A stage after which there is no going back in its environment.
    PointOfNoReturn {
        /// The stage.
        stage: u32,
        /// The environment.
        environment: EnvironmentName,
    },
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Bakes are to be checked afterwards where nobody records what fires.
    #[error(
        "{0} has no Prometheus that records what fires: its bakes cannot be checked afterwards"
    )]
    NothingRecorded(EnvironmentName),
    /// Hosts or load balancers could not be observed; nothing is planned around them.
    #[error("{}", join("could not be observed", .0.iter().map(|(host, why)| format!("{host}: {why}"))))]
    Unreachable(Vec<(HostName, String)>),
    /// Servers of hosts are missing on load balancers.
    #[error("{}", join("load balancers do not have", .0))]
    ServersMissing(Vec<LbServer>),
    /// A load balancer has servers at the address of a host that the configuration does not list.
    #[error("{}", join("the configuration does not list these servers of its hosts", .0))]
    ServersUnlisted(Vec<String>),
    /// Files without which the package must not be installed are missing.
    #[error("{}", join("files are missing that must be there before the package is installed",
        .0.iter().map(|(host, file)| format!("{host}: {file}"))))]
    FilesMissing(Vec<(HostName, String)>),
    /// Hosts that need the build have no room for it.
    ///
    /// The hosts, how many bytes are free there, and how many must be.
    #[error("{}", join("there is no room for the package",
        .0.iter().map(|(host, free, needed)| {
            format!("{host} has {} MB free of the {} MB that it needs", free / 1_000_000, needed / 1_000_000)
        })))]
    NoRoom(Vec<(HostName, u64, u64)>),
    /// A host has a version for which the patch was not made.
    #[error("patch {} was not made for what {host} has", .patch.short())]
    NoOverlay {
        /// The host.
        host: HostName,
        /// The patch.
        patch: PatchId,
    },
    /// The fleet that is to prove the build does not run it.
    #[error("{}", join(&format!("{fleet} must run {version} before it goes on from there"),
        .hosts.iter().map(|(host, found)| format!("{host} has {found}"))))]
    NotProven {
        /// The fleet.
        fleet: FleetName,
        /// The build's version.
        version: DebVersion,
        /// Hosts that have something else.
        hosts: Vec<(HostName, String)>,
    },
    /// An environment needs exactly one deploy host.
    #[error(
        "{environment} has {count} hosts whose role runs migrations; there must be exactly one"
    )]
    DeployHost {
        /// The environment.
        environment: EnvironmentName,
        /// How many there are.
        count: usize,
    },
    /// The recipe names something that the topology does not have.
    #[error("the pipeline names {0}, which the configuration does not have")]
    NotInTopology(String),
    /// The profile has no migrations, but the recipe has.
    #[error("stage {0} runs migrations, but the profile has none")]
    NoMigrations(u32),
}

fn join<T: ToString>(what: &str, items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("{what}: {}", items.join("; "))
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StagePassed { stage } => {
                write!(
                    f,
                    "stage {stage} is left out: this build has passed it, and nothing is left to do"
                )
            }
            Self::OnlyGates { stage } => {
                write!(
                    f,
                    "stage {stage} has nothing to install, but this build has not passed its gates"
                )
            }
            Self::HostsDone { stage, count } => {
                write!(
                    f,
                    "stage {stage}: {count} host(s) are as they should be and are not touched"
                )
            }
            Self::Downgrade { stage, from, to, count } => write!(
                f,
                "stage {stage}: from {from} to {to} is a downgrade in Debian's order on {count} \
                 host(s); apt will be told so"
            ),
            Self::MayGoDown { kind } => write!(
                f,
                "the build is {kind}: `repository.downgrades` lets it follow versions that are newer in \
                 Debian's order"
            ),
            Self::MixedFleet { environment, fleet, versions } => {
                let versions: Vec<String> =
                    versions.iter().map(|(v, count)| format!("{v} on {count}")).collect();
                write!(f, "{environment}/{fleet} is mixed: {}", versions.join(", "))
            }
            Self::Repair { host, state } => write!(f, "{host}: {state} will be repaired"),
            Self::LeftOut { server, admin } => {
                write!(f, "{server} was left in {admin}; it will be put right")
            }
            Self::Budget { stage, role, hosts, limit } => write!(
                f,
                "stage {stage}: at most {limit} of {hosts} {role} host(s) out of service at once"
            ),
            Self::MayBeEmpty { stage, backend } => {
                write!(f, "stage {stage}: {backend} may be without a server for a while")
            }
            Self::ConfigManagementStays { host } => write!(
                f,
                "config management stays stopped on {host}: it will not run what its fleet's record says"
            ),
            Self::NoAlerts { environment } => {
                write!(f, "{environment} has no alerts configured: nothing watches it")
            }
            Self::UnknownKind(_) => f.write_str("no pattern tells what kind of build this is"),
            Self::PatchKept { patch, version, count } => write!(
                f,
                "patch {} is put on {version} again, on {count} host(s): the build does not contain it",
                patch.short()
            ),
            Self::ServeOn { stage, count } => write!(
                f,
                "stage {stage}: {count} host(s) serve on while they are patched: nothing there has loaded the files"
            ),
            Self::PointOfNoReturn { stage, environment } => write!(
                f,
                "{environment} can go back until stage {stage}: its post-deployment migrations are the \
                 point of no return"
            ),
        }
    }
}
