//! Why something that was asked of an environment is refused, rendered for people in this one place.

use serde::{Deserialize, Serialize};
use serin_model::{FleetName, Held, HoldId, PatchId, Reason, RunId};

/// Why it is refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refused {
    /// There was no reason.
    #[error("the reason is empty: it is recorded and shown to everybody")]
    NoReason,
    /// There is no such hold.
    #[error("there is no hold {0}")]
    NoSuchHold(HoldId),
    /// There is no such patch, or its entry is closed.
    #[error("patch {} is not in the ledger, or closed", .0.short())]
    NoSuchPatch(PatchId),
    /// A patch came without an incident.
    #[error("the incident is empty: a patch outside of builds is for one")]
    NoIncident,
    /// It was lifted before, or has ended.
    #[error("hold {0} is not on any more")]
    NotOn(HoldId),
    /// Its end is not ahead.
    #[error("the hold would end before it begins")]
    EndsInThePast,
    /// There is no such fleet.
    #[error("there is no fleet {0}")]
    NoSuchFleet(FleetName),
    /// Something holds the environment, and nothing was said of overriding it.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Held(Vec<Held>),
    /// An override needs a second person.
    #[error("overriding needs a second person here, and none was named")]
    SecondPersonMissing,
    /// The second person is the first.
    #[error("the second person must be another than {0}")]
    SecondPersonIsTheSame(String),
    /// More than everything.
    #[error("{0}% is more than all traffic")]
    TooMuch(u32),
    /// A fleet that is no canary has no share of its own.
    #[error("{0} is not a canary: its configuration gives it no share")]
    NotACanary(FleetName),
    /// It shares no backend with another fleet.
    #[error("{0} has no server in a backend of another fleet: there is nothing to share")]
    SharesNothing(FleetName),
    /// No server of it could take traffic.
    #[error("{fleet} has no server that is UP in {backends}: it would get nothing")]
    NobodyUp {
        /// The fleet.
        fleet: FleetName,
        /// The load balancers and backends.
        backends: String,
    },
    /// Weights mean nothing there.
    #[error("{backends} cannot be given weights: change `balance` in HAProxy's configuration")]
    Weightless {
        /// The load balancers and backends with what `balance` says there.
        backends: String,
    },
    /// A run is changing the fleet: its share is zero until that is over.
    #[error("run {run} is changing {fleet}: its share stays zero until that is over")]
    Changing {
        /// The run.
        run: RunId,
        /// The fleet.
        fleet: FleetName,
    },
    /// Load balancers could not be read or told.
    #[error("load balancers could not be read: {0}")]
    Unreadable(Reason),
}
