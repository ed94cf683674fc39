//! The legal transitions, as one table: which state an event leads to, for everything that has a state.
//!
//! Whoever applies an event asks the table, live and on replay; an event that has no arrow from where something is, or
//! that would end elsewhere than its arrow, is illegal. Numbers in an event (terms, attempts, fences) are compared
//! beside it. `docs/transitions.md` is drawn from it, and the simulator says which arrows its histories took: see
//! `docs/design/transitions.md`. Read [`TABLE`] first.

mod excused;
mod names;
mod table;

pub use excused::{EXCUSED, Excuse};
pub use table::TABLE;

use crate::event::{Event, Outcome};
use crate::run::IllegalEvent;
use std::fmt;

/// Something that is in one state at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// Whether a run goes on.
    Run,
    /// What became of a step.
    Step,
    /// What became of the share that a halt takes away.
    Withdrawal,
    /// How far a run is into an environment.
    Environment,
    /// A hold on an environment.
    Hold,
    /// A patch in an environment's ledger.
    Patch,
    /// The share of traffic of a fleet.
    Share,
}

/// A state of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It goes on.
    Running,
    /// It starts nothing new, and brings hosts to safety.
    Halting,
    /// It waits for a person.
    Halted,
    /// It is done with all of its steps.
    Finished,
    /// It was given up.
    Cancelled,
    /// Nothing was begun, or it is to begin anew.
    NotBegun,
    /// An attempt is under way in the process that acts now.
    InFlight,
    /// It may have happened: nobody answered, or the process is gone.
    InDoubt,
    /// It happened.
    Done,
    /// It did not.
    Failed,
    /// Nobody can tell.
    Unknown,
    /// The environment is not the run's.
    Free,
    /// It is claimed, and the fence is not raised.
    Claimed,
    /// The fence is raised, but for hosts that count as unavailable.
    Fenced,
    /// An earlier process entered it: it is the run's, and nobody acts there.
    Behind,
    /// There is none.
    Absent,
    /// A hold holds.
    On,
    /// A person, or a build, lifted it.
    Lifted,
    /// Hosts are to have the patch.
    Open,
    /// They need not.
    Closed,
    /// Somebody said which share.
    Told,
}

/// What leads from one state to another: an event, an outcome, or what follows from an event for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "most are events and outcomes, and documented there")]
pub enum Cause {
    Started,
    Adopted,
    EnvironmentEntered,
    FenceRaised,
    EnvironmentLeft,
    AttemptStarted,
    AttemptEnded,
    DrainLost,
    ShareLost,
    AlertsChanged,
    HeldChanged,
    BakeProgressed,
    HaltRequested,
    WithdrawalStarted,
    WithdrawalEnded,
    Halted,
    Resumed,
    Cancelled,
    Finished,
    /// How an attempt ended.
    Done,
    AlreadyDone,
    Failed,
    Lost,
    Unknown,
    /// A host went back into service unchanged: its steps are as if they had never been begun.
    PutBack,
    /// The run was resumed after its exposure's share was taken away: the exposure begins anew.
    ExposedAnew,
    HoldPlaced,
    HoldLifted,
    PatchPlaced,
    PatchContained,
    PatchClosed,
    ShareSet,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// Of what.
    pub machine: Machine,
    /// From where.
    pub from: State,
    /// By what.
    pub cause: Cause,
    /// To where.
    pub to: State,
}

/// Returns the arrow that something takes.
///
/// # Errors
/// When the table has none.
pub(crate) fn arrow(machine: Machine, from: State, cause: Cause) -> Result<Arrow, IllegalEvent> {
    let found = TABLE.iter().find(|a| (a.machine, a.from, a.cause) == (machine, from, cause));
    found.copied().ok_or_else(|| {
        let (cause, from) = (cause.name(), from.name());
        IllegalEvent(format!("{cause} cannot be for a {} that is {from}", machine.name()))
    })
}

impl Arrow {
    /// Returns the arrow itself if it leads to a state.
    ///
    /// # Errors
    /// When it leads elsewhere.
    pub(crate) fn leading(self, to: State) -> Result<Self, IllegalEvent> {
        if self.to == to {
            return Ok(self);
        }
        let (machine, cause) = (self.machine.name(), self.cause.name());
        let (wanted, found) = (self.to.name(), to.name());
        Err(IllegalEvent(format!("{cause} makes a {machine} {found}, which should be {wanted}")))
    }
}

impl Machine {
    /// Returns all of them.
    pub const ALL: [Self; 7] = [
        Self::Run,
        Self::Step,
        Self::Withdrawal,
        Self::Environment,
        Self::Hold,
        Self::Patch,
        Self::Share,
    ];

    /// Returns the state in which it begins.
    pub fn begins(self) -> State {
        match self {
            Self::Run => State::Running,
            Self::Step | Self::Withdrawal => State::NotBegun,
            Self::Environment => State::Free,
            Self::Hold | Self::Patch | Self::Share => State::Absent,
        }
    }
}

impl Cause {
    /// Returns the cause that an event is.
    pub fn of(event: &Event) -> Self {
        match event {
            Event::Started { .. } => Self::Started,
            Event::Adopted { .. } => Self::Adopted,
            Event::EnvironmentEntered { .. } => Self::EnvironmentEntered,
            Event::FenceRaised { .. } => Self::FenceRaised,
            Event::EnvironmentLeft { .. } => Self::EnvironmentLeft,
            Event::AttemptStarted { .. } => Self::AttemptStarted,
            Event::AttemptEnded { .. } => Self::AttemptEnded,
            Event::DrainLost { .. } => Self::DrainLost,
            Event::ShareLost { .. } => Self::ShareLost,
            Event::AlertsChanged { .. } => Self::AlertsChanged,
            Event::HeldChanged { .. } => Self::HeldChanged,
            Event::BakeProgressed { .. } => Self::BakeProgressed,
            Event::HaltRequested { .. } => Self::HaltRequested,
            Event::WithdrawalStarted { .. } => Self::WithdrawalStarted,
            Event::WithdrawalEnded { .. } => Self::WithdrawalEnded,
            Event::Halted => Self::Halted,
            Event::Resumed { .. } => Self::Resumed,
            Event::Cancelled { .. } => Self::Cancelled,
            Event::Finished => Self::Finished,
        }
    }

    /// Returns the cause that an outcome is.
    pub(crate) fn of_outcome(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done(_) => Self::Done,
            Outcome::AlreadyDone(_) => Self::AlreadyDone,
            Outcome::Failed(_) => Self::Failed,
            Outcome::Lost(_) => Self::Lost,
            Outcome::Unknown(_) => Self::Unknown,
        }
    }
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (machine, cause) = (self.machine.name(), self.cause.name());
        write!(f, "{machine}: {} · {cause} → {}", self.from.name(), self.to.name())
    }
}
