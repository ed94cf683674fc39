//! The state of an environment: what its stream has made of it.
//!
//! Invariants: holds are numbered from 1 without gaps, and are lifted at most once; a share is from 0 to 100 percent.

use super::event::EnvironmentEvent;
use super::patches::LedgerPatch;
use super::ramp::Ramp;
use crate::run::IllegalEvent;
use crate::transitions::{Arrow, Cause, Machine, State, arrow};
use serin_model::{
    EnvironmentName, FleetName, Held, HeldBy, HoldId, MidRun, PatchId, RunId, Timestamp,
};
use std::collections::BTreeMap;

/// The state of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentState {
    /// Which one.
    pub name: EnvironmentName,
    /// Every hold that was ever placed, by its number.
    pub holds: BTreeMap<HoldId, Hold>,
    /// Every override, oldest first.
    pub overridden: Vec<Overridden>,
    /// The share of traffic that each fleet is meant to get; one that is missing was never told.
    pub shares: BTreeMap<FleetName, Share>,
    /// Every patch that was ever to be on hosts.
    pub patches: BTreeMap<PatchId, LedgerPatch>,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The fleet; `None`: the whole environment.
    pub fleet: Option<FleetName>,
    /// Why.
    pub reason: String,
    /// Who placed it.
    pub by: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// What it does to a run on its way.
    pub mid_run: MidRun,
    /// The patch that builds must contain before it lifts by itself, if it is one's.
    pub patch: Option<PatchId>,
    /// Who lifted it, and why.
    pub lifted: Option<(String, String)>,
}

/// A run that was let through what held its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overridden {
    /// The run.
    pub run: RunId,
    /// What it was let through.
    pub what: Vec<HeldBy>,
    /// Who let it.
    pub by: String,
    /// Why.
    pub why: String,
    /// The second person.
    pub second: Option<String>,
}

/// The share that a fleet is meant to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Which share, when.
    pub ramp: Ramp,
    /// Who set it.
    pub by: String,
    /// Why.
    pub why: String,
}

impl Hold {
    /// Returns the state that the table of transitions knows it by: its end by time is none of its own.
    fn at(&self) -> State {
        if self.lifted.is_none() { State::On } else { State::Lifted }
    }

    /// Tells whether it holds at a time.
    pub fn is_on(&self, now: Timestamp) -> bool {
        self.lifted.is_none() && self.until.is_none_or(|until| now < until)
    }
}

impl EnvironmentState {
    /// Makes the state of an environment to which nothing has happened.
    pub fn new(name: EnvironmentName) -> Self {
        Self {
            name,
            holds: BTreeMap::new(),
            overridden: Vec::new(),
            shares: BTreeMap::new(),
            patches: BTreeMap::new(),
        }
    }

    /// Brings the state up to date with an event: live and on replay. Returns the arrow that it takes, if it is about
    /// something that has a state.
    ///
    /// # Errors
    /// When the event cannot follow those before it. The state is then unchanged.
    pub fn apply(&mut self, event: &EnvironmentEvent) -> Result<Option<Arrow>, IllegalEvent> {
        match event {
            // What was asked and refused, and what was put right, leaves nothing behind but its record.
            EnvironmentEvent::Attempted { .. }
            | EnvironmentEvent::Refused { .. }
            | EnvironmentEvent::DriftFixed { .. } => Ok(None),
            EnvironmentEvent::HoldPlaced { id, fleet, reason, by, until, mid_run, patch } => {
                if *id != self.next_hold() {
                    return Err(IllegalEvent(format!("{id} after {} holds", self.holds.len())));
                }
                let hold = Hold {
                    fleet: fleet.clone(),
                    reason: reason.clone(),
                    by: by.clone(),
                    until: *until,
                    mid_run: *mid_run,
                    patch: patch.clone(),
                    lifted: None,
                };
                Ok(Some(self.hold_goes(*id, Cause::HoldPlaced, hold)?))
            }
            EnvironmentEvent::HoldLifted { id, by, why } => {
                let Some(known) = self.holds.get(id) else {
                    return Err(IllegalEvent(format!("{id} is lifted and was never placed")));
                };
                let lifted = Some((by.clone(), why.clone()));
                let hold = Hold { lifted, ..known.clone() };
                Ok(Some(self.hold_goes(*id, Cause::HoldLifted, hold)?))
            }
            EnvironmentEvent::PatchPlaced { .. }
            | EnvironmentEvent::PatchContained { .. }
            | EnvironmentEvent::PatchClosed { .. } => self.apply_to_patches(event),
            EnvironmentEvent::Overridden { run, what, by, why, second } => {
                self.overridden.push(Overridden {
                    run: run.clone(),
                    what: what.clone(),
                    by: by.clone(),
                    why: why.clone(),
                    second: second.clone(),
                });
                Ok(None)
            }
            EnvironmentEvent::ShareSet { fleet, ramp, by, why } => {
                if ramp.from > 100 || ramp.to > 100 {
                    return Err(IllegalEvent(format!("a share of {}%", ramp.from.max(ramp.to))));
                }
                let share = Share { ramp: *ramp, by: by.clone(), why: why.clone() };
                let known = self.shares.get(fleet).map_or(State::Absent, |_| State::Told);
                let taken = arrow(Machine::Share, known, Cause::ShareSet)?.leading(State::Told)?;
                self.shares.insert(fleet.clone(), share);
                Ok(Some(taken))
            }
        }
    }

    fn hold_goes(&mut self, id: HoldId, cause: Cause, to: Hold) -> Result<Arrow, IllegalEvent> {
        let from = self.holds.get(&id).map_or(State::Absent, Hold::at);
        let taken = arrow(Machine::Hold, from, cause)?.leading(to.at())?;
        self.holds.insert(id, to);
        Ok(taken)
    }

    /// Returns everything that holds the environment at a time: holds, then the windows that the caller knows to be on.
    pub fn held(&self, windows: &[Held], now: Timestamp) -> Vec<Held> {
        let on = self.holds.iter().filter(|(_, hold)| hold.is_on(now));
        on.map(|(id, hold)| self.shown(*id, hold)).chain(windows.iter().cloned()).collect()
    }

    /// Returns what holds the environment at a time for a run: all but what it was let through.
    pub fn held_for(&self, run: &RunId, windows: &[Held], now: Timestamp) -> Vec<Held> {
        let mut held = self.held(windows, now);
        held.retain(|held| {
            let through = self.overridden.iter().filter(|over| over.run == *run);
            !through.flat_map(|over| &over.what).any(|what| *what == held.by)
        });
        held
    }

    /// Shows a hold as what holds the environment.
    pub fn shown(&self, id: HoldId, hold: &Hold) -> Held {
        Held {
            environment: self.name.clone(),
            fleet: hold.fleet.clone(),
            by: HeldBy::Hold(id),
            owner: hold.by.clone(),
            reason: hold.reason.clone(),
            until: hold.until,
            mid_run: hold.mid_run,
        }
    }

    /// Returns the number that the next hold has.
    pub(super) fn next_hold(&self) -> HoldId {
        let last = self.holds.last_key_value().map_or(0, |(id, _)| id.0);
        HoldId(last.saturating_add(1))
    }
}
