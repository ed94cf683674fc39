//! The ledger of patches: what holds the canary, what lifts that, and which plans would lose a patch.

use crate::installation::Installation;
use crate::world::World;
use serin_engine::environment::{
    Ask, Asking, EnvironmentEvent, EnvironmentState, NewPatch, Refused, decide_environment,
};
use serin_model::{Held, HeldBy, HoldId, Overlay, Patch, PatchId, Plan, Sha256, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

pub(crate) fn id() -> PatchId {
    "ef".repeat(32).parse::<Sha256>().unwrap().into()
}

pub(crate) fn new(fleets: &[&str]) -> NewPatch {
    NewPatch {
        id: id(),
        fleets: fleets.iter().map(|fleet| fleet.parse().unwrap()).collect(),
        holds: BTreeSet::from(["canary".parse().unwrap()]),
        incident: "INC-7".to_owned(),
        root: "/opt".to_owned(),
        text: "the text".to_owned(),
    }
}

/// Asks, and takes in what is to be recorded; returns what followed the attempt.
fn ask(state: &mut EnvironmentState, ask: Ask) -> Result<Vec<EnvironmentEvent>, Refused> {
    let asking = Asking { by: "mira".to_owned(), why: "a hole".to_owned(), ask };
    let decided = decide_environment(state, asking, NOW);
    for event in &decided.events {
        state.apply(event).unwrap();
    }
    decided.refused.map_or(Ok(decided.events[1..].to_vec()), Err)
}

/// A plan of `to-canary`, and production's ledger with an open patch.
fn held() -> (Plan, EnvironmentState) {
    let world = World::new(Installation::new(
        "production lb-01\n  main deploy-01 web-01..02\n  canary web-cny-01\n",
    ));
    let mut state = EnvironmentState::new("production".parse().unwrap());
    ask(&mut state, Ask::PlacePatch(new(&["main", "canary"]))).unwrap();
    (world.run.plan.clone(), state)
}

fn met(state: &EnvironmentState, plan: &Plan) -> Vec<HeldBy> {
    let held: Vec<Held> = state.met_by(plan, state.held(&[], NOW));
    held.into_iter().map(|held| held.by).collect()
}

fn carries(mut plan: Plan) -> Plan {
    let patch = Patch {
        id: id(),
        package: plan.build.package.clone(),
        version: plan.build.version.clone(),
        files: Vec::new(),
    };
    plan.overlays.push(Overlay { patch, contents: BTreeMap::new() });
    plan
}

#[test]
fn a_build_without_the_patch_meets_its_hold_and_a_plan_that_drops_it_is_held_for_good() {
    let (plan, state) = held();
    let hold = HeldBy::Hold(HoldId(1));
    assert_eq!(met(&state, &plan), [hold.clone(), HeldBy::Patch(id())]);
    assert_eq!(met(&state, &carries(plan)), [hold], "it keeps the patch, and may be let through");
}

#[test]
fn the_hold_is_for_builds_that_come_to_the_canary_and_for_nothing_else() {
    let (mut plan, state) = held();
    for stage in &mut plan.stages {
        for lane in stage.phases.iter_mut().flat_map(|phase| &mut phase.lanes) {
            let canary = lane.subject.to_string().contains("cny");
            lane.steps.retain(|step| !canary || step.action.name() != "install");
        }
    }
    assert_eq!(met(&state, &carries(plan)), []);
}

#[test]
fn a_build_that_is_proven_to_contain_the_patch_lifts_the_hold_and_another_does_not() {
    let (plan, mut state) = held();
    let (version, sha256) = (plan.build.version.clone(), "77".repeat(32).parse().unwrap());
    let other = Ask::ProvePatch { id: id(), version: version.clone(), sha256 };
    ask(&mut state, other).unwrap();
    assert_eq!(met(&state, &plan), [HeldBy::Patch(id())], "these are other bytes");
    let sha256 = plan.build.sha256.clone();
    let events = ask(&mut state, Ask::ProvePatch { id: id(), version, sha256 }).unwrap();
    assert!(matches!(events.as_slice(), [EnvironmentEvent::PatchContained { .. }]), "{events:?}");
    assert_eq!(met(&state, &plan), []);
}

#[test]
fn a_proof_lifts_every_hold_of_the_patch_at_once() {
    let (plan, mut state) = held();
    let (version, sha256) = (plan.build.version.clone(), plan.build.sha256.clone());
    let events = ask(&mut state, Ask::ProvePatch { id: id(), version, sha256 }).unwrap();
    let [EnvironmentEvent::PatchContained { .. }, EnvironmentEvent::HoldLifted { why, .. }] =
        events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert!(why.contains("contains patch efefefefefef"), "{why}");
    assert_eq!(met(&state, &plan), []);
}

#[test]
fn placing_it_again_widens_it_and_holds_once() {
    let mut state = EnvironmentState::new("production".parse().unwrap());
    let first = ask(&mut state, Ask::PlacePatch(new(&["canary"]))).unwrap();
    assert_eq!(first.len(), 2, "an entry and a hold: {first:?}");
    assert_eq!(ask(&mut state, Ask::PlacePatch(new(&["canary"]))), Ok(Vec::new()));
    let wider = ask(&mut state, Ask::PlacePatch(new(&["main"]))).unwrap();
    assert_eq!(wider.len(), 1, "no second hold: {wider:?}");
    assert_eq!(state.patches[&id()].fleets.len(), 2);
}

#[test]
fn a_closed_patch_holds_nothing_until_it_is_placed_again() {
    let (plan, mut state) = held();
    ask(&mut state, Ask::ClosePatch(id())).unwrap();
    assert_eq!(met(&state, &plan), []);
    assert_eq!(ask(&mut state, Ask::ClosePatch(id())), Err(Refused::NoSuchPatch(id())));
    let (version, sha256) = (plan.build.version.clone(), plan.build.sha256.clone());
    let prove = Ask::ProvePatch { id: id(), version, sha256 };
    assert_eq!(ask(&mut state, prove), Err(Refused::NoSuchPatch(id())));
    ask(&mut state, Ask::PlacePatch(new(&["canary"]))).unwrap();
    assert_eq!(met(&state, &plan), [HeldBy::Hold(HoldId(2)), HeldBy::Patch(id())]);
}

#[test]
fn a_patch_without_an_incident_is_refused() {
    let mut state = EnvironmentState::new("production".parse().unwrap());
    let patch = NewPatch { incident: " ".to_owned(), ..new(&["main"]) };
    assert_eq!(ask(&mut state, Ask::PlacePatch(patch)), Err(Refused::NoIncident));
}
