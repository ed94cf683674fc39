//! The ledger of an environment's patches: what is to be on its hosts outside of builds, and what that means for runs.
//!
//! An entry is open until the builds of all its hosts contain the patch, or a person takes it off or gives it up. As long
//! as it is open, no plan may drop the patch: each build is proven to contain it, or the plan puts it on again.

use super::decide::{NewPatch, Outcome, Person};
use super::event::EnvironmentEvent;
use super::refused::Refused;
use super::state::EnvironmentState;
use crate::run::IllegalEvent;
use crate::transitions::{Arrow, Cause, Machine, State, arrow};
use serin_model::{
    Action, DebVersion, FleetName, Held, HeldBy, HoldId, HostName, MidRun, PatchId, Plan, Sha256,
    Subject, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// A patch as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerPatch {
    /// The fleets whose hosts are to have it.
    pub fleets: BTreeSet<FleetName>,
    /// The incident that it is for.
    pub incident: String,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// The folder in which its paths begin.
    pub root: String,
    /// The patch, as its file says it.
    pub text: String,
    /// The builds that contain it, by the SHA-256 of their packages.
    pub contained: BTreeMap<Sha256, DebVersion>,
    /// Who closed the entry, and why.
    pub closed: Option<(String, String)>,
}

impl LedgerPatch {
    /// Returns the state that the table of transitions knows it by.
    fn at(&self) -> State {
        if self.closed.is_none() { State::Open } else { State::Closed }
    }
}

impl EnvironmentState {
    /// Returns the patches that hosts are to have.
    pub fn open_patches(&self) -> impl Iterator<Item = (&PatchId, &LedgerPatch)> {
        self.patches.iter().filter(|(_, patch)| patch.closed.is_none())
    }

    /// Returns what of that which holds the environment is in the way of a plan. The hold of a patch is only for plans that
    /// bring a build without it to the fleet that is held. A plan that would drop a patch is held for good: nobody
    /// overrides that.
    pub fn met_by(&self, plan: &Plan, mut held: Vec<Held>) -> Vec<Held> {
        held.retain(|held| match self.patch_of(held) {
            Some(patch) => {
                let installs = self.installs(plan, |fleet| held.fleet.as_ref() == Some(fleet));
                plan.back.is_none() && installs.iter().any(|(_, build)| !self.has(patch, build))
            }
            None => true,
        });
        for (id, patch) in self.open_patches() {
            let dropped = self.installs(plan, |fleet| patch.fleets.contains(fleet));
            let kept = |(version, build): &(DebVersion, Sha256)| {
                self.has(id, build) || plan.overlay(id, version).is_some()
            };
            if let Some((version, _)) = dropped.iter().find(|build| !kept(build)) {
                held.push(Held {
                    environment: self.name.clone(),
                    fleet: None,
                    by: HeldBy::Patch(id.clone()),
                    owner: patch.by.clone(),
                    reason: format!(
                        "{version} would be installed without patch {} ({}): plan anew",
                        id.short(),
                        patch.incident
                    ),
                    until: None,
                    mid_run: MidRun::NextStage,
                });
            }
        }
        held
    }

    pub(super) fn apply_to_patches(
        &mut self,
        event: &EnvironmentEvent,
    ) -> Result<Option<Arrow>, IllegalEvent> {
        let taken =
            if let EnvironmentEvent::PatchPlaced { id, fleets, incident, root, text, by, why } =
                event
            {
                let known = self.patches.get(id).filter(|known| known.closed.is_none()).cloned();
                let (mut all, contained) =
                    known.map(|known| (known.fleets, known.contained)).unwrap_or_default();
                all.extend(fleets.iter().cloned());
                let patch = LedgerPatch {
                    fleets: all,
                    incident: incident.clone(),
                    reason: why.clone(),
                    by: by.clone(),
                    root: root.clone(),
                    text: text.clone(),
                    contained,
                    closed: None,
                };
                self.patch_goes(id, Cause::PatchPlaced, patch)?
            } else if let EnvironmentEvent::PatchContained { id, version, sha256 } = event {
                let mut patch = self.known_patch(id)?;
                patch.contained.insert(sha256.clone(), version.clone());
                self.patch_goes(id, Cause::PatchContained, patch)?
            } else if let EnvironmentEvent::PatchClosed { id, by, why } = event {
                let closed = Some((by.clone(), why.clone()));
                let patch = LedgerPatch { closed, ..self.known_patch(id)? };
                self.patch_goes(id, Cause::PatchClosed, patch)?
            } else {
                return Ok(None);
            };
        Ok(Some(taken))
    }

    fn known_patch(&self, id: &PatchId) -> Result<LedgerPatch, IllegalEvent> {
        let unknown = || IllegalEvent(format!("patch {} was never placed", id.short()));
        self.patches.get(id).cloned().ok_or_else(unknown)
    }

    fn patch_goes(
        &mut self,
        id: &PatchId,
        cause: Cause,
        to: LedgerPatch,
    ) -> Result<Arrow, IllegalEvent> {
        let from = self.patches.get(id).map_or(State::Absent, LedgerPatch::at);
        let taken = arrow(Machine::Patch, from, cause)?.leading(to.at())?;
        self.patches.insert(id.clone(), to);
        Ok(taken)
    }

    fn has(&self, patch: &PatchId, build: &Sha256) -> bool {
        self.patches.get(patch).is_some_and(|patch| patch.contained.contains_key(build))
    }

    fn patch_of(&self, held: &Held) -> Option<&PatchId> {
        let HeldBy::Hold(id) = &held.by else { return None };
        self.holds.get(id).and_then(|hold| hold.patch.as_ref())
    }

    /// Returns the builds that a plan installs on hosts of some fleets of this environment.
    fn installs(
        &self,
        plan: &Plan,
        wanted: impl Fn(&FleetName) -> bool,
    ) -> BTreeSet<(DebVersion, Sha256)> {
        let Some(environment) = plan.topology.environments.get(&self.name) else {
            return BTreeSet::new();
        };
        let fleets = environment.fleets.values().filter(|fleet| wanted(&fleet.name));
        let hosts: BTreeSet<&HostName> = fleets.flat_map(|fleet| fleet.hosts.keys()).collect();
        let install = plan.steps().filter_map(|(_, lane, step)| {
            let (Action::Install { .. }, Subject::Host(host)) = (&step.action, &lane.subject)
            else {
                return None;
            };
            let build = hosts.get(host).and_then(|host| plan.build_for(host))?;
            Some((build.version.clone(), build.sha256.clone()))
        });
        install.collect()
    }
}

/// A patch that is placed a second time may have more fleets; its holds are placed once.
pub(super) fn place_patch(
    state: &EnvironmentState,
    Person { by, why }: Person,
    patch: NewPatch,
    now: Timestamp,
) -> Outcome {
    let NewPatch { id, fleets, holds, incident, root, text } = patch;
    if incident.trim().is_empty() {
        return Err(Refused::NoIncident);
    }
    let known = state.open_patches().find(|(known, _)| **known == id).map(|(_, known)| known);
    let mut events = Vec::new();
    if known.is_none_or(|known| !fleets.is_subset(&known.fleets)) {
        let (id, by, why) = (id.clone(), by.clone(), why.clone());
        let incident = incident.clone();
        events.push(EnvironmentEvent::PatchPlaced { id, fleets, incident, root, text, by, why });
    }
    let HoldId(next) = state.next_hold();
    // One that a person lifted, or a build, stays so while the patch is open.
    let ever = |fleet: &FleetName| {
        state.holds.values().any(|hold| {
            hold.patch.as_ref() == Some(&id)
                && hold.fleet.as_ref() == Some(fleet)
                && (hold.is_on(now) || known.is_some())
        })
    };
    for (number, fleet) in (next..).zip(holds.into_iter().filter(|fleet| !ever(fleet))) {
        events.push(EnvironmentEvent::HoldPlaced {
            id: HoldId(number),
            fleet: Some(fleet),
            reason: format!("builds must contain patch {} ({incident})", id.short()),
            by: by.clone(),
            until: None,
            mid_run: MidRun::NextStage,
            patch: Some(id.clone()),
        });
    }
    Ok(events)
}

pub(super) fn prove_patch(
    state: &EnvironmentState,
    Person { by, why: _ }: Person,
    (id, version, sha256): (PatchId, DebVersion, Sha256),
    now: Timestamp,
) -> Outcome {
    if !state.open_patches().any(|(known, _)| *known == id) {
        return Err(Refused::NoSuchPatch(id));
    }
    let why = format!("{version} was unpacked and contains patch {}", id.short());
    let lifted = lift_all(state, (&by, &why), &id, now);
    let proven = EnvironmentEvent::PatchContained { id, version, sha256 };
    Ok([proven].into_iter().chain(lifted).collect())
}

pub(super) fn close_patch(
    state: &EnvironmentState,
    Person { by, why }: Person,
    id: PatchId,
    now: Timestamp,
) -> Outcome {
    if !state.open_patches().any(|(known, _)| *known == id) {
        return Err(Refused::NoSuchPatch(id));
    }
    let lifted = lift_all(state, (&by, &why), &id, now);
    let closed = EnvironmentEvent::PatchClosed { id, by, why };
    Ok([closed].into_iter().chain(lifted).collect())
}

fn lift_all(
    state: &EnvironmentState,
    (by, why): (&str, &str),
    patch: &PatchId,
    now: Timestamp,
) -> Vec<EnvironmentEvent> {
    let on = state.holds.iter().filter(|(_, hold)| hold.patch.as_ref() == Some(patch));
    let lift = |(id, _): (&HoldId, _)| EnvironmentEvent::HoldLifted {
        id: *id,
        by: by.to_owned(),
        why: why.to_owned(),
    };
    on.filter(|(_, hold)| hold.is_on(now)).map(lift).collect()
}
