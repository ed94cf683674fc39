//! The table itself: a row an arrow.

use super::{Arrow, Cause, Machine, State};

use Machine::{Environment, Hold, Patch, Run, Share, Step, Withdrawal};
use State::{
    Absent, Behind, Cancelled, Claimed, Closed, Done, Failed, Fenced, Finished, Free, Halted,
    Halting, InDoubt, InFlight, Lifted, NotBegun, On, Open, Running, Told, Unknown,
};

/// Every legal transition.
pub const TABLE: &[Arrow] = &[
    arrow(Run, Running, Cause::Adopted, Running),
    arrow(Run, Running, Cause::EnvironmentEntered, Running),
    arrow(Run, Running, Cause::FenceRaised, Running),
    arrow(Run, Running, Cause::EnvironmentLeft, Running),
    arrow(Run, Running, Cause::AttemptStarted, Running),
    arrow(Run, Running, Cause::AttemptEnded, Running),
    arrow(Run, Running, Cause::DrainLost, Running),
    arrow(Run, Running, Cause::ShareLost, Running),
    arrow(Run, Running, Cause::AlertsChanged, Running),
    arrow(Run, Running, Cause::HeldChanged, Running),
    arrow(Run, Running, Cause::BakeProgressed, Running),
    arrow(Run, Running, Cause::HaltRequested, Halting),
    arrow(Run, Running, Cause::Finished, Finished),
    // Hosts in the middle are brought to safety; alerts are not read any more.
    arrow(Run, Halting, Cause::Adopted, Halting),
    arrow(Run, Halting, Cause::EnvironmentEntered, Halting),
    arrow(Run, Halting, Cause::FenceRaised, Halting),
    arrow(Run, Halting, Cause::EnvironmentLeft, Halting),
    arrow(Run, Halting, Cause::AttemptStarted, Halting),
    arrow(Run, Halting, Cause::AttemptEnded, Halting),
    arrow(Run, Halting, Cause::DrainLost, Halting),
    arrow(Run, Halting, Cause::ShareLost, Halting),
    arrow(Run, Halting, Cause::HeldChanged, Halting),
    // The first reason stays.
    arrow(Run, Halting, Cause::HaltRequested, Halting),
    arrow(Run, Halting, Cause::WithdrawalStarted, Halting),
    arrow(Run, Halting, Cause::WithdrawalEnded, Halting),
    arrow(Run, Halting, Cause::Halted, Halted),
    // Nobody acts for a halted run: whoever lifts or ends the halt adopts it first.
    arrow(Run, Halted, Cause::Adopted, Halted),
    arrow(Run, Halted, Cause::Resumed, Running),
    arrow(Run, Halted, Cause::Cancelled, Cancelled),
    arrow(Run, Finished, Cause::Adopted, Finished),
    arrow(Run, Finished, Cause::EnvironmentLeft, Finished),
    arrow(Run, Cancelled, Cause::Adopted, Cancelled),
    arrow(Run, Cancelled, Cause::EnvironmentLeft, Cancelled),
    //
    arrow(Step, NotBegun, Cause::AttemptStarted, InFlight),
    arrow(Step, InDoubt, Cause::AttemptStarted, InFlight),
    arrow(Step, InFlight, Cause::BakeProgressed, InFlight),
    arrow(Step, InFlight, Cause::Done, Done),
    arrow(Step, InFlight, Cause::AlreadyDone, Done),
    arrow(Step, InFlight, Cause::Failed, Failed),
    arrow(Step, InFlight, Cause::Lost, InDoubt),
    arrow(Step, InFlight, Cause::Unknown, Unknown),
    arrow(Step, InFlight, Cause::Adopted, InDoubt),
    arrow(Step, Failed, Cause::Resumed, NotBegun),
    // It is looked at again before anything is done.
    arrow(Step, Unknown, Cause::Resumed, InDoubt),
    arrow(Step, Done, Cause::PutBack, NotBegun),
    arrow(Step, Failed, Cause::PutBack, NotBegun),
    arrow(Step, InDoubt, Cause::PutBack, NotBegun),
    arrow(Step, Unknown, Cause::PutBack, NotBegun),
    arrow(Step, Done, Cause::ExposedAnew, NotBegun),
    arrow(Step, Failed, Cause::ExposedAnew, NotBegun),
    arrow(Step, InDoubt, Cause::ExposedAnew, NotBegun),
    arrow(Step, Unknown, Cause::ExposedAnew, NotBegun),
    //
    arrow(Withdrawal, NotBegun, Cause::WithdrawalStarted, InFlight),
    arrow(Withdrawal, InDoubt, Cause::WithdrawalStarted, InFlight),
    arrow(Withdrawal, InFlight, Cause::Done, Done),
    arrow(Withdrawal, InFlight, Cause::AlreadyDone, Done),
    arrow(Withdrawal, InFlight, Cause::Failed, Failed),
    arrow(Withdrawal, InFlight, Cause::Lost, InDoubt),
    arrow(Withdrawal, InFlight, Cause::Adopted, InDoubt),
    arrow(Withdrawal, Done, Cause::Resumed, NotBegun),
    arrow(Withdrawal, Failed, Cause::Resumed, NotBegun),
    //
    arrow(Environment, Free, Cause::EnvironmentEntered, Claimed),
    arrow(Environment, Behind, Cause::EnvironmentEntered, Claimed),
    arrow(Environment, Claimed, Cause::FenceRaised, Fenced),
    arrow(Environment, Fenced, Cause::FenceRaised, Fenced),
    arrow(Environment, Claimed, Cause::HeldChanged, Claimed),
    arrow(Environment, Fenced, Cause::HeldChanged, Fenced),
    arrow(Environment, Fenced, Cause::AlertsChanged, Fenced),
    arrow(Environment, Claimed, Cause::Adopted, Behind),
    arrow(Environment, Fenced, Cause::Adopted, Behind),
    arrow(Environment, Behind, Cause::Adopted, Behind),
    arrow(Environment, Claimed, Cause::EnvironmentLeft, Free),
    arrow(Environment, Fenced, Cause::EnvironmentLeft, Free),
    arrow(Environment, Behind, Cause::EnvironmentLeft, Free),
    //
    arrow(Hold, Absent, Cause::HoldPlaced, On),
    arrow(Hold, On, Cause::HoldLifted, Lifted),
    //
    arrow(Patch, Absent, Cause::PatchPlaced, Open),
    // For more fleets.
    arrow(Patch, Open, Cause::PatchPlaced, Open),
    arrow(Patch, Open, Cause::PatchContained, Open),
    arrow(Patch, Open, Cause::PatchClosed, Closed),
    arrow(Patch, Closed, Cause::PatchPlaced, Open),
    //
    arrow(Share, Absent, Cause::ShareSet, Told),
    arrow(Share, Told, Cause::ShareSet, Told),
];

const fn arrow(machine: Machine, from: State, cause: Cause, to: State) -> Arrow {
    Arrow { machine, from, cause, to }
}
