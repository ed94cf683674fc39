//! An environment's own state, apart from that of runs: holds, overrides, the share of traffic.
//!
//! ```text
//! decide : (&EnvironmentState, Asking, now)              -> Decided { events, refused }
//! apply  : (&mut EnvironmentState, &EnvironmentEvent)    -> Result<(), IllegalEvent>
//! held   : (&EnvironmentState, run, windows, now)        -> Vec<Held>
//! ```
//!
//! As pure as the rest of the engine. Which freeze windows are on is an argument: time zones are not known here.
//! Read [`state::EnvironmentState`] first.

pub mod decide;
pub mod event;
pub mod patches;
pub mod ramp;
pub mod refused;
pub mod state;
mod touches;
pub(crate) mod run_held;

pub use decide::{Ask, Asking, Canary, Decided, NewPatch, Override, decide_environment, may_start};
pub use event::{Asked, EnvironmentEvent};
pub use patches::LedgerPatch;
pub use ramp::Ramp;
pub use refused::Refused;
pub use state::{EnvironmentState, Hold, Overridden, Share};
pub use touches::{changes, concerns};
