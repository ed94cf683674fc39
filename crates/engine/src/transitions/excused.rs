//! Arrows that random histories do not take.

use super::{Arrow, Cause, Machine, State};

/// An arrow that random histories need not take, because a test of the engine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excuse {
    /// Of what.
    pub machine: Machine,
    /// From where.
    pub from: State,
    /// By what.
    pub cause: Cause,
    /// Why histories do not take it.
    pub why: &'static str,
}

impl Excuse {
    /// Tells whether an arrow is the one that is excused.
    pub fn is_of(&self, arrow: Arrow) -> bool {
        (self.machine, self.from, self.cause) == (arrow.machine, arrow.from, arrow.cause)
    }
}

/// Every excuse. `every_excused_arrow_is_taken_here` in the engine's tests takes each arrow.
pub const EXCUSED: &[Excuse] = &[
    excuse(
        Machine::Run,
        State::Halting,
        Cause::EnvironmentLeft,
        "only a halt in the moment between the last step of an environment and leaving it does",
    ),
    excuse(
        Machine::Run,
        State::Halting,
        Cause::HaltRequested,
        "only two reasons in one append do, and no plan has two guards in one phase",
    ),
    excuse(
        Machine::Step,
        State::Unknown,
        Cause::PutBack,
        "no drain of the pretend world is unknown: it can be asked again",
    ),
    excuse(
        Machine::Step,
        State::Unknown,
        Cause::ExposedAnew,
        "no exposure is unknown: it can be asked again",
    ),
    excuse(
        Machine::Environment,
        State::Claimed,
        Cause::EnvironmentLeft,
        "who is done where no fence was raised was replaced, and has left it behind",
    ),
    excuse(Machine::Patch, State::Absent, Cause::PatchPlaced, PATCHES),
    excuse(Machine::Patch, State::Open, Cause::PatchPlaced, PATCHES),
    excuse(Machine::Patch, State::Open, Cause::PatchContained, PATCHES),
    excuse(Machine::Patch, State::Open, Cause::PatchClosed, PATCHES),
    excuse(Machine::Patch, State::Closed, Cause::PatchPlaced, PATCHES),
];

const PATCHES: &str =
    "histories put patches on hosts, but it is the command line that enters them into the ledger";

const fn excuse(machine: Machine, from: State, cause: Cause, why: &'static str) -> Excuse {
    Excuse { machine, from, cause, why }
}
