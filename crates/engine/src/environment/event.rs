//! What happens to an environment, past tense: the records of its stream.
//!
//! Whatever is asked is recorded as attempted in the same append as what became of it, and before anything is let
//! through: an attempt that was refused is a fact too.

use super::ramp::Ramp;
use super::refused::Refused;
use serde::{Deserialize, Serialize};
use serin_model::{
    DebVersion, FleetName, HeldBy, HoldId, MidRun, PatchId, PipelineName, RunId, Sha256, Timestamp,
};
use std::collections::BTreeSet;
use std::fmt;

/// A fact about an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EnvironmentEvent {
    /// Somebody asked for something; what became of it follows.
    Attempted {
        /// What.
        what: Asked,
        /// Who.
        by: String,
        /// Why, in their words.
        why: String,
    },
    /// What was asked last is refused.
    Refused {
        /// Why.
        why: Refused,
    },
    /// A person holds the environment, or one fleet of it.
    HoldPlaced {
        /// The hold.
        id: HoldId,
        /// The fleet; `None`: the whole environment.
        fleet: Option<FleetName>,
        /// Why.
        reason: String,
        /// Who.
        by: String,
        /// When it ends by itself; `None`: when it is lifted.
        until: Option<Timestamp>,
        /// What it does to a run on its way.
        mid_run: MidRun,
        /// The patch whose hold it is: it lifts by itself when a build is proven to contain the patch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        patch: Option<PatchId>,
    },
    /// A hold is lifted.
    HoldLifted {
        /// The hold.
        id: HoldId,
        /// Who lifted it.
        by: String,
        /// Why.
        why: String,
    },
    /// A run is let through holds and windows that are on; recorded before it is.
    Overridden {
        /// The run.
        run: RunId,
        /// What it is let through.
        what: Vec<HeldBy>,
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// The second person who agreed, where the environment wants one.
        second: Option<String>,
    },
    /// A fleet is meant to get a share of traffic; recorded before load balancers are told.
    ShareSet {
        /// The fleet.
        fleet: FleetName,
        /// Which share, when.
        ramp: Ramp,
        /// Who: a person, or a run.
        by: String,
        /// Why.
        why: String,
    },
    /// Hosts of fleets are to have a patch; recorded before one does.
    PatchPlaced {
        /// The patch.
        id: PatchId,
        /// The fleets; together with those of before.
        fleets: BTreeSet<FleetName>,
        /// The incident that it is for.
        incident: String,
        /// The folder in which its paths begin.
        root: String,
        /// The patch, as its file says it.
        text: String,
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// A build was unpacked and proven to contain a patch.
    PatchContained {
        /// The patch.
        id: PatchId,
        /// The build's version.
        version: DebVersion,
        /// The bytes that were unpacked.
        sha256: Sha256,
    },
    /// Hosts need not have a patch any more.
    PatchClosed {
        /// The patch.
        id: PatchId,
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// What load balancers had been told by others, or forgotten, is to be put right.
    DriftFixed {
        /// What differed.
        found: Vec<String>,
        /// Who.
        by: String,
    },
}

/// What is asked of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// To place a hold.
    PlaceHold {
        /// On which fleet; `None`: on the environment.
        fleet: Option<FleetName>,
    },
    /// To lift a hold.
    LiftHold {
        /// Which.
        id: HoldId,
    },
    /// To start a run although something holds the environment.
    StartRun {
        /// The pipeline.
        pipeline: PipelineName,
        /// The build.
        version: DebVersion,
    },
    /// To set a fleet's share of traffic.
    SetShare {
        /// The fleet.
        fleet: FleetName,
        /// Percent, as they were given.
        percent: u32,
    },
    /// To have hosts carry a patch.
    PlacePatch {
        /// The patch.
        id: PatchId,
        /// The fleets.
        fleets: BTreeSet<FleetName>,
    },
    /// To take in that a build contains a patch.
    ProvePatch {
        /// The patch.
        id: PatchId,
        /// The build's version.
        version: DebVersion,
    },
    /// To have hosts carry a patch no longer.
    ClosePatch {
        /// The patch.
        id: PatchId,
    },
    /// To put right what load balancers have.
    FixDrift,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlaceHold { fleet: Some(fleet) } => write!(f, "place a hold on {fleet}"),
            Self::PlaceHold { fleet: None } => f.write_str("place a hold"),
            Self::LiftHold { id } => write!(f, "lift hold {id}"),
            Self::StartRun { pipeline, version } => write!(f, "run {pipeline} with {version}"),
            Self::SetShare { fleet, percent } => write!(f, "give {fleet} {percent}% of traffic"),
            Self::PlacePatch { id, fleets } => {
                let fleets: Vec<&str> = fleets.iter().map(FleetName::as_str).collect();
                write!(f, "put patch {} on {}", id.short(), fleets.join(", "))
            }
            Self::ProvePatch { id, version } => {
                write!(f, "note that {version} contains patch {}", id.short())
            }
            Self::ClosePatch { id } => write!(f, "close patch {}", id.short()),
            Self::FixDrift => f.write_str("put drift right"),
        }
    }
}
