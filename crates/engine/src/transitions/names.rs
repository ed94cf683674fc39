//! What machines, states and causes are called in messages and diagrams.

use super::{Cause, Machine, State};

impl Machine {
    /// Returns its name in the middle of a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Step => "step",
            Self::Withdrawal => "withdrawal",
            Self::Environment => "run's environment",
            Self::Hold => "hold",
            Self::Patch => "patch",
            Self::Share => "share",
        }
    }

    /// Says what it is about.
    pub fn about(self) -> &'static str {
        match self {
            Self::Run => {
                "Whether a run goes on. An event that its state has no arrow for is refused."
            }
            Self::Step => "What became of a step, whatever it does. Each attempt goes round once.",
            Self::Withdrawal => "What became of the share of traffic that a halt takes away.",
            Self::Environment => "How far a run is into an environment: claim, lease and fence.",
            Self::Hold => {
                "A hold in an environment's stream. That one ends by its time is no event."
            }
            Self::Patch => "A patch in an environment's ledger.",
            Self::Share => "The share of traffic that a fleet is meant to get.",
        }
    }
}

impl State {
    /// Returns its name in the middle of a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Halting => "halting",
            Self::Halted => "halted",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::NotBegun => "not begun",
            Self::InFlight => "in flight",
            Self::InDoubt => "in doubt",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Free => "free",
            Self::Claimed => "claimed",
            Self::Fenced => "fenced",
            Self::Behind => "left behind",
            Self::Absent => "absent",
            Self::On => "on",
            Self::Lifted => "lifted",
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Told => "told",
        }
    }
}

impl Cause {
    /// Returns its name: that of the event in the journal, where it is one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Adopted => "adopted",
            Self::EnvironmentEntered => "environment-entered",
            Self::FenceRaised => "fence-raised",
            Self::EnvironmentLeft => "environment-left",
            Self::AttemptStarted => "attempt-started",
            Self::AttemptEnded => "attempt-ended",
            Self::DrainLost => "drain-lost",
            Self::ShareLost => "share-lost",
            Self::AlertsChanged => "alerts-changed",
            Self::HeldChanged => "held-changed",
            Self::BakeProgressed => "bake-progressed",
            Self::HaltRequested => "halt-requested",
            Self::WithdrawalStarted => "withdrawal-started",
            Self::WithdrawalEnded => "withdrawal-ended",
            Self::Halted => "halted",
            Self::Resumed => "resumed",
            Self::Cancelled => "cancelled",
            Self::Finished => "finished",
            Self::Done => "ended: done",
            Self::AlreadyDone => "ended: already done",
            Self::Failed => "ended: failed",
            Self::Lost => "ended: lost",
            Self::Unknown => "ended: unknown",
            Self::PutBack => "host put back unchanged",
            Self::ExposedAnew => "exposure begins anew",
            Self::HoldPlaced => "hold-placed",
            Self::HoldLifted => "hold-lifted",
            Self::PatchPlaced => "patch-placed",
            Self::PatchContained => "patch-contained",
            Self::PatchClosed => "patch-closed",
            Self::ShareSet => "share-set",
        }
    }
}
