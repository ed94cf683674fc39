//! Plans: the complete, immutable outcome of planning one pipeline for one build.
//!
//! Pipeline > stage > phase > lane > step. Phases of a stage run one after the other; the lanes of a phase run side
//! by side, as far as budgets let them; the steps of a lane run in order. A plan leaves the engine no choice but when.
//!
//! Invariants (checked by the planner's linter): step ids are unique; a lane that takes a host out of service ends
//! by bringing it back; every host, fleet and environment that a step names is in the plan's topology.

use crate::{
    Build, DebVersion, EnvironmentName, FleetName, HostName, Overlay, PatchId, Patching,
    PipelineName, QaName, RoleName, RunId, ServiceName, Topology, time,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// A complete plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The recipe it was made by.
    pub pipeline: PipelineName,
    /// The build, pinned to its bytes.
    pub build: Build,
    /// What it was made for: a later change of the configuration does not reach it.
    pub topology: Topology,
    /// Its stages, in order. Stages with nothing to do are left out.
    pub stages: Vec<Stage>,
    /// How hosts are treated.
    #[serde(default)]
    pub pace: Pace,
    /// Where hosts go back to, if the plan is a rollback's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Back>,
    /// The patch that the plan is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patching: Option<Patching>,
    /// The patches that its steps put on hosts, each for one version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlays: Vec<Overlay>,
    /// Alerts that do not count in this run, by environment: those that it is made to end, and was started in spite of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tolerated: BTreeMap<EnvironmentName, BTreeSet<String>>,
    /// Why a person wanted it, where they must say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How it gives way to others, if it brings a new build to a canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Which processes act for its run.
    #[serde(default, skip_serializing_if = "Actors::is_one")]
    pub actors: Actors,
}

/// Which processes act for a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actors {
    /// One, to its end.
    #[default]
    One,
    /// One after the other, each up to the end of a stage or to its bake: the jobs of a CI pipeline.
    EachStage {
        /// That pipeline, as the CI system calls it; begun again for the same one, the run goes on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<String>,
    },
}

impl Actors {
    /// Tells whether it is one process.
    pub fn is_one(&self) -> bool {
        *self == Self::One
    }
}

/// How a run that brings a new build to a canary gives way to other runs, and to the build that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// What it does while an environment is busy.
    pub when_busy: WhenBusy,
    /// The run that was planned first for this delivery, and found its plan outdated; `None`: this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<RunId>,
    /// How long a build stays on its canary before it may go on to main, in milliseconds.
    #[serde(with = "time::millis")]
    pub baked_for: Duration,
}

/// What a new build does while a run is active, or a build bakes on the canary that was not promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenBusy {
    /// It does not start.
    Skip,
    /// It goes as far as it can, and waits there; of several that wait, only the latest goes on.
    QueueLatest,
    /// The same, but it waits for no build that bakes, and an older run that waits gives way as soon as it starts.
    Supersede,
}

/// How hosts are treated while they are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// Drained one after the other within their budgets, with gates and bakes.
    #[default]
    Careful,
    /// All of a role at once, without drain, QA or bake: speed over availability. Connections may be dropped.
    Expedited,
}

/// Where a rollback goes: to what was recorded before the runs that it undoes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Back {
    /// The runs that it undoes.
    pub undoes: BTreeSet<RunId>,
    /// Each host's own build of before. Hosts that are not named here are left alone.
    pub hosts: BTreeMap<HostName, Build>,
    /// What the version record of a fleet said before.
    pub records: Vec<(EnvironmentName, FleetName, DebVersion)>,
    /// Hosts that those runs left out of service without having changed them: they only go into service again.
    #[serde(default)]
    pub out_of_service: BTreeSet<HostName>,
}

/// Who watches while a build bakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BakeWatch {
    /// The process that acts for the run: it reads alerts all the time.
    #[default]
    Live,
    /// Nobody of Serin's. It begins with the end of the work before it, and is judged when it is over by what Prometheus
    /// has recorded of all of it.
    Afterwards,
}

impl BakeWatch {
    /// Tells whether somebody watches.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_live(&self) -> bool {
        *self == Self::Live
    }
}

/// A numbered part of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its number in the pipeline.
    pub number: u32,
    /// What it does, in words.
    pub title: String,
    /// Where.
    pub environment: EnvironmentName,
    /// Its phases, in order.
    pub phases: Vec<Phase>,
}

/// Lanes that run side by side; the next phase begins when all of them are done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// What it does, in words.
    pub title: String,
    /// Its lanes.
    pub lanes: Vec<Lane>,
}

/// Steps that run one after the other on one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// What they are about.
    pub subject: Subject,
    /// The steps.
    pub steps: Vec<Step>,
}

/// What a lane is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// One host.
    Host(HostName),
    /// A fleet as a whole.
    Fleet(FleetName),
    /// The stage's environment as a whole.
    Environment,
}

/// The smallest journaled unit: one effect on one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its id, unique in the plan, for example `6/web-cny-01.gprd/install`.
    pub id: StepId,
    /// What is done.
    pub action: Action,
}

/// The id of a step: stage, subject and action, readable and fit for a file name on a host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(String);

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// No alert of the environment is firing, and alerts can be read.
    Guard,
    /// Stop config management on the host and wait until it is quiet.
    StopConfigManagement,
    /// Start it again if the host runs what its fleet's record says; otherwise leave it stopped.
    StartConfigManagement {
        /// The fleet whose record the host reads.
        fleet: FleetName,
    },
    /// Record the build's version for a fleet.
    RecordVersion {
        /// The fleet.
        fleet: FleetName,
        /// What is recorded now; `None`: nothing.
        from: Option<DebVersion>,
        /// What will be; `None`: the build's version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<DebVersion>,
    },
    /// Set the share of traffic that the fleet gets.
    SetShare {
        /// The fleet.
        fleet: FleetName,
        /// Percent.
        percent: u8,
    },
    /// The host is as the plan expects it, has room for the package, and its files are in place.
    CheckHost {
        /// The version that is installed now; `None`: none.
        from: Option<DebVersion>,
    },
    /// Fetch the package and prove its bytes.
    Fetch,
    /// Have apt say what it would do to install the build, and to go back from it.
    Simulate,
    /// Ask the profile whether the host's configuration fits the build.
    CheckConfig,
    /// Take the host out of service and wait until nothing is left on it.
    Drain,
    /// Install the build's package.
    Install {
        /// The version that is installed now; `None`: none.
        from: Option<DebVersion>,
    },
    /// Bring the host's configuration up to date.
    Reconfigure,
    /// Have every service run the build, and stay healthy for a while.
    Activate,
    /// Put the host back into service and wait until it is UP everywhere.
    Ready,
    /// Have the bytes of a patch on the host, and see that it fits: nothing changes.
    PreparePatch {
        /// The patch.
        patch: PatchId,
        /// The version that it is for.
        version: DebVersion,
    },
    /// Change all files of a patch or none, and have those services load them that must be told to.
    Patch {
        /// The patch.
        patch: PatchId,
        /// The version that it is for.
        version: DebVersion,
        /// The services; others either do not load the files, or are told by a later step.
        services: Vec<ServiceName>,
    },
    /// Take a patch back, and have services load the files of before.
    Unpatch {
        /// The patch.
        patch: PatchId,
        /// The version that it is for.
        version: DebVersion,
        /// The services.
        services: Vec<ServiceName>,
    },
    /// Run the build's migrations.
    Migrate(MigrationKind),
    /// Let real traffic reach a fleet until enough requests came, and alerts have had time to fire.
    Expose {
        /// The fleet.
        fleet: FleetName,
        /// How many requests must reach it.
        requests: u64,
        /// How long it is watched at least, in milliseconds.
        #[serde(with = "time::millis")]
        watch: Duration,
        /// After this time without enough requests nothing can be told, in milliseconds.
        #[serde(with = "time::millis")]
        deadline: Duration,
    },
    /// Wait for a person's word.
    Approve {
        /// What they must have done.
        what: String,
    },
    /// Test the environment.
    Qa(QaName),
    /// Watch alerts for a while with nothing else happening.
    Bake {
        /// How long, in milliseconds.
        #[serde(with = "time::millis")]
        duration: Duration,
        /// Who watches.
        #[serde(default, skip_serializing_if = "BakeWatch::is_live")]
        watch: BakeWatch,
    },
    /// Ask every host and load balancer of the environment whether it is as intended.
    Sweep {
        /// The fleets and roles that must run the build now.
        intended: Vec<(FleetName, RoleName)>,
    },
}

/// Which of a build's migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationKind {
    /// Those that must come before the new code.
    Regular,
    /// Those that must come after it, past which there is no going back.
    PostDeployment,
}

/// What may be done when it is not known whether a step's act happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// Look, then act again: acting twice ends in the same world.
    Repeatable,
    /// Look; if looking cannot tell, a person must.
    Settle,
    /// Reads only: nothing can be left half done.
    Watch,
}

impl Action {
    /// Returns what may be done when an outcome is unknown.
    pub fn kind(&self) -> StepKind {
        match self {
            Self::Guard
            | Self::Bake { .. }
            | Self::Sweep { .. }
            | Self::CheckHost { .. }
            | Self::Expose { .. }
            | Self::Approve { .. } => StepKind::Watch,
            Self::Migrate(_) => StepKind::Settle,
            Self::StopConfigManagement
            | Self::StartConfigManagement { .. }
            | Self::RecordVersion { .. }
            | Self::SetShare { .. }
            | Self::Fetch
            | Self::Simulate
            | Self::CheckConfig
            | Self::Drain
            | Self::Install { .. }
            | Self::Reconfigure
            | Self::Activate
            | Self::Ready
            | Self::PreparePatch { .. }
            | Self::Patch { .. }
            | Self::Unpatch { .. }
            | Self::Qa(_) => StepKind::Repeatable,
        }
    }

    /// Returns the patch that it is about.
    pub fn patch(&self) -> Option<&PatchId> {
        if let Self::PreparePatch { patch, .. }
        | Self::Patch { patch, .. }
        | Self::Unpatch { patch, .. } = self
        {
            Some(patch)
        } else {
            None
        }
    }

    /// Returns the action's short name, the last part of a step id.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::StopConfigManagement => "stop-config-management",
            Self::StartConfigManagement { .. } => "start-config-management",
            Self::RecordVersion { .. } => "record-version",
            Self::SetShare { .. } => "set-share",
            Self::CheckHost { .. } => "check",
            Self::Fetch => "fetch",
            Self::Simulate => "simulate",
            Self::CheckConfig => "check-config",
            Self::Drain => "drain",
            Self::Install { .. } => "install",
            Self::Reconfigure => "reconfigure",
            Self::Activate => "activate",
            Self::Ready => "ready",
            Self::PreparePatch { .. } => "prepare-patch",
            Self::Patch { .. } => "patch",
            Self::Unpatch { .. } => "unpatch",
            Self::Migrate(MigrationKind::Regular) => "migrate",
            Self::Migrate(MigrationKind::PostDeployment) => "migrate-post-deployment",
            Self::Expose { .. } => "expose",
            Self::Approve { .. } => "approve",
            Self::Qa(_) => "qa",
            Self::Bake { .. } => "bake",
            Self::Sweep { .. } => "sweep",
        }
    }
}

impl StepId {
    /// Makes the id of a step of a stage; `distinct` tells apart steps of one action on one subject.
    pub fn new(stage: u32, subject: &str, action: &Action, distinct: Option<&str>) -> Self {
        match distinct {
            Some(distinct) => Self(format!("{stage}/{subject}/{}.{distinct}", action.name())),
            None => Self(format!("{stage}/{subject}/{}", action.name())),
        }
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id of a job that is a part of this step: a step may need several jobs on a host.
    #[must_use]
    pub fn part(&self, part: &str) -> Self {
        Self(format!("{}.{part}", self.0))
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => host.fmt(f),
            Self::Fleet(fleet) => fleet.fmt(f),
            Self::Environment => f.pad("environment"),
        }
    }
}

impl Plan {
    /// Returns every step with the stage and lane that it is in, in order.
    pub fn steps(&self) -> impl Iterator<Item = (&Stage, &Lane, &Step)> {
        self.stages.iter().flat_map(|stage| {
            stage.phases.iter().flat_map(move |phase| {
                phase
                    .lanes
                    .iter()
                    .flat_map(move |lane| lane.steps.iter().map(move |step| (stage, lane, step)))
            })
        })
    }

    /// Returns a step by its id.
    pub fn step(&self, id: &StepId) -> Option<(&Stage, &Lane, &Step)> {
        self.steps().find(|(_, _, step)| &step.id == id)
    }

    /// Returns the build that a host is to run; `None`: the plan leaves it alone.
    pub fn build_for(&self, host: &HostName) -> Option<&Build> {
        match (&self.back, &self.patching) {
            (Some(back), _) => back.hosts.get(host),
            (None, Some(patching)) => patching.hosts.get(host),
            (None, None) => Some(&self.build),
        }
    }

    /// Tells whether hosts must be able to go back from what the plan does: not from a rollback, nor where speed is all.
    pub fn has_way_back(&self) -> bool {
        self.pace == Pace::Careful && self.back.is_none()
    }

    /// Returns what a patch puts on hosts that have a version.
    pub fn overlay(&self, patch: &PatchId, version: &DebVersion) -> Option<&Overlay> {
        self.overlays
            .iter()
            .find(|known| (&known.patch.id, &known.patch.version) == (patch, version))
    }

    /// Tells whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }
}
