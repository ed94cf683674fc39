//! What people ask of an environment, as it travels through its inbox to the process that acts there.

use serde::{Deserialize, Serialize};
use serin_engine::EnvironmentEvent;
use serin_engine::environment::{Ask, Asking, Canary, Decided, NewPatch, Override, Refused};
use serin_model::{
    DebVersion, FleetName, Held, HoldId, MidRun, Overriding, PatchId, PipelineName, RunId, Sha256,
    Timestamp, time,
};
use std::time::Duration;

/// A command on its way to the process that acts in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentRequest {
    /// Who asks.
    pub by: String,
    /// Why, in their words.
    pub why: String,
    /// What they want.
    pub want: Want,
}

/// What can be wanted of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Want {
    /// A hold.
    PlaceHold {
        /// On which fleet; `None`: on the environment.
        fleet: Option<FleetName>,
        /// When it ends by itself.
        until: Option<Timestamp>,
        /// What it does to a run on its way.
        mid_run: MidRun,
    },
    /// The end of one.
    LiftHold {
        /// Which.
        id: HoldId,
    },
    /// Hosts that carry a patch.
    PlacePatch(NewPatch),
    /// To take in that a build was proven to contain a patch.
    ProvePatch {
        /// The patch.
        id: PatchId,
        /// The build's version.
        version: DebVersion,
        /// The bytes that were unpacked.
        sha256: Sha256,
    },
    /// Hosts that need not carry a patch any more.
    ClosePatch {
        /// The patch.
        id: PatchId,
    },
    /// To start a run although something holds the environment.
    StartRun {
        /// The run, once it has an id.
        run: Option<RunId>,
        /// The pipeline.
        pipeline: PipelineName,
        /// The build.
        version: DebVersion,
        /// What is in its way.
        held: Vec<Held>,
        /// Whether that is to be overridden, and whom the environment wants for it.
        over: Option<Overriding>,
        /// The second person.
        second: Option<String>,
    },
    /// A share of traffic.
    SetShare {
        /// The fleet.
        fleet: FleetName,
        /// Percent.
        percent: u32,
        /// Over which time, in milliseconds; zero: at once.
        #[serde(with = "time::millis")]
        over: Duration,
    },
}

impl EnvironmentRequest {
    /// Returns what is asked, for the engine; `canary` is what was seen of the fleet whose share is to be set.
    pub fn asking(self, canary: Result<Canary, Refused>) -> Asking {
        let ask = match self.want {
            Want::PlaceHold { fleet, until, mid_run } => Ask::PlaceHold { fleet, until, mid_run },
            Want::LiftHold { id } => Ask::LiftHold(id),
            Want::PlacePatch(patch) => Ask::PlacePatch(patch),
            Want::ProvePatch { id, version, sha256 } => Ask::ProvePatch { id, version, sha256 },
            Want::ClosePatch { id } => Ask::ClosePatch(id),
            Want::StartRun { run, pipeline, version, held, over, second } => {
                let over = over.map(|needs| Override { needs, second });
                Ask::StartRun { run, pipeline, version, held, over }
            }
            Want::SetShare { fleet, percent, over } => {
                Ask::SetShare { fleet, percent, over, canary }
            }
        };
        Asking { by: self.by, why: self.why, ask }
    }
}

/// What an answer begins with that lets through what was asked.
pub const ACCEPTED: &str = "accepted";

/// Returns what whoever asked is told of a decision.
pub fn answer_to(decided: &Decided) -> String {
    match (&decided.refused, decided.events.last()) {
        (Some(refused), _) => format!("refused: {refused}"),
        (None, Some(EnvironmentEvent::HoldPlaced { id, .. })) => format!("{ACCEPTED}: {id}"),
        (None, _) => ACCEPTED.to_owned(),
    }
}
