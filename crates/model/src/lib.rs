//! The nouns of Serin: names, versions, topology, policy, observations, plans.
//!
//! Nothing here does anything: no I/O, no clock, no randomness. Every other package speaks in these types, and the
//! journal stores plans made of them, so a change to a serialised field is a change of the journal's format.
//! Read [`plan::Plan`] first; the rest is what it is made of.

pub mod argv;
pub mod build;
pub mod digest;
pub mod hold;
pub mod names;
mod nearest;
mod notice;
pub mod observation;
pub mod patch;
pub mod people;
pub mod pipeline;
pub mod plan;
pub mod policy;
pub mod time;
pub mod topology;
pub mod verdict;
pub mod version;

pub use argv::{Argument, Argv, InvalidArgument};
pub use build::{Build, BuildKind};
pub use digest::{InvalidSha256, Sha256};
pub use hold::{
    FreezeWindow, Held, HeldBy, HoldId, HoldName, InvalidHold, MidRun, Weekday, WindowTime,
};
pub use names::{
    BackendName, EnvironmentName, FleetName, HostName, InvalidName, LbName, PackageName,
    PersonName, PipelineName, QaName, RoleName, RunId, ServerName, ServiceName,
};
pub use nearest::nearest;
pub use notice::NoticeKind;
pub use observation::{
    AdminState, ConfigManagementState, HostObservation, LbObservation, Observed, PackageState,
    ServerKind, ServerObservation, Workers,
};
pub use patch::{
    CarriedPatch, CarriedState, FileChange, Overlay, Patch, PatchDirection, PatchId, PatchedFile,
    Patching, PlacedOverlay,
};
pub use people::{
    AccountKind, Denied, Door, Identity, Need, NeedScope, People, Person, PersonRole, Proof,
};
pub use pipeline::{Exposure, Pipeline, ShareSpec, StageSpec, WorkSpec};
pub use plan::{
    Action, Actors, Back, BakeWatch, Lane, MigrationKind, Pace, Phase, Plan, Queue, Stage, Step,
    StepId, StepKind, Subject, WhenBusy,
};
pub use policy::{
    AtDeadline, Drain, InvalidLimit, Limit, Profile, Quiet, Role, ServiceAction, ServiceHow,
};
pub use time::Timestamp;
pub use topology::{
    AlertSource, Attribution, ConfigManagement, Environment, Fleet, Host, LbServer, LoadBalancer,
    Overriding, QaReport, QaSuite, Topology, VersionRecord,
};
pub use verdict::{Reason, Verdict};
pub use version::{DebVersion, InvalidVersion};
