//! The engine: what happened, what that means, and what is due now. Pure functions over one [`Run`].
//!
//! ```text
//! decide : (&Run, Input, now)     -> Result<Vec<Event>, Refusal>
//! apply  : (&mut Run, &Event)     -> Result<Vec<Arrow>, IllegalEvent>
//! due    : (&Run, &View, now)     -> Due { effects, watches, wake_at }
//! ```
//!
//! The engine never reads a clock, causes nothing, and has never heard of HAProxy, apt or HTTP. Effects are derived
//! from state, not emitted on transitions: after a crash the journal is replayed and `due` is asked, and that is all
//! there is to recovery. Read [`run::Run`] first.

pub mod event;
pub mod run;
pub mod transitions;
mod steps;
pub mod decide;
pub mod due;
pub mod admission;
pub mod history;
pub mod withdrawal;
pub mod queue;
pub mod times;
pub mod environment;

pub use admission::{NotAdmitted, View};
pub use decide::{Command, Input, Refusal, decide, is_watch};
pub use due::{Due, Effect, Mode, Watch, due};
pub use environment::{EnvironmentEvent, EnvironmentState};
pub use event::{Event, Outcome};
pub use history::{History, NoWayBack, Scope, WayBack};
pub use run::{IllegalEvent, OutOfService, Run, Status, StepState};
pub use times::{Spent, StageTimes, Times};
pub use transitions::Arrow;
pub use withdrawal::Withdrawal;
