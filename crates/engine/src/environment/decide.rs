//! What becomes of something that is asked of an environment.
//!
//! Every decision begins with the attempt itself, so that whoever records it has recorded the attempt before it is
//! refused or let through.

use super::event::{Asked, EnvironmentEvent};
use super::patches::{close_patch, place_patch, prove_patch};
use super::ramp::Ramp;
use super::refused::Refused;
use super::state::EnvironmentState;
use serde::{Deserialize, Serialize};
use serin_model::{
    DebVersion, FleetName, Held, HoldId, MidRun, Overriding, PatchId, PipelineName, RunId, Sha256,
    Timestamp,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// What somebody asks of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// Who.
    pub by: String,
    /// Why, in their words.
    pub why: String,
    /// What.
    pub ask: Ask,
}

/// What can be asked, with what the answer depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// To place a hold.
    PlaceHold {
        /// The fleet; `None`: the whole environment.
        fleet: Option<FleetName>,
        /// When it ends by itself.
        until: Option<Timestamp>,
        /// What it does to a run on its way.
        mid_run: MidRun,
    },
    /// To lift one.
    LiftHold(HoldId),
    /// To start a run although something holds the environment.
    StartRun {
        /// The run, once it has an id.
        run: Option<RunId>,
        /// The pipeline.
        pipeline: PipelineName,
        /// The build.
        version: DebVersion,
        /// What is in its way.
        held: Vec<Held>,
        /// Whether that is to be overridden; the reason is why it is asked.
        over: Option<Override>,
    },
    /// To set a fleet's share of traffic.
    SetShare {
        /// The fleet.
        fleet: FleetName,
        /// Percent, as they were given.
        percent: u32,
        /// Over which time; zero: at once.
        over: Duration,
        /// What was seen of the canary.
        canary: Result<Canary, Refused>,
    },
    /// To have hosts carry a patch.
    PlacePatch(NewPatch),
    /// To take in that a build was proven to contain a patch.
    ProvePatch {
        /// The patch.
        id: PatchId,
        /// The build's version.
        version: DebVersion,
        /// The bytes that were unpacked.
        sha256: Sha256,
    },
    /// To have hosts carry a patch no longer.
    ClosePatch(PatchId),
    /// To put right what load balancers have.
    FixDrift {
        /// What differs.
        found: Vec<String>,
    },
}

/// A patch that hosts are to carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPatch {
    /// Which one.
    pub id: PatchId,
    /// The fleets.
    pub fleets: BTreeSet<FleetName>,
    /// The fleets to which no build may go that does not contain it: the canaries.
    pub holds: BTreeSet<FleetName>,
    /// The incident.
    pub incident: String,
    /// The folder in which its paths begin.
    pub root: String,
    /// The patch, as its file says it.
    pub text: String,
}

/// That what holds an environment is to be overridden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Whom the environment wants for it.
    pub needs: Overriding,
    /// The second person, if one was named.
    pub second: Option<String>,
}

/// What was seen of a canary that could be given a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canary {
    /// The percentage that its weights amount to now.
    pub percent: u8,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What is to be recorded, before anything is done.
    pub events: Vec<EnvironmentEvent>,
    /// Why it is refused; `None`: it is let through.
    pub refused: Option<Refused>,
}

/// Decides on what is asked of an environment.
pub fn decide_environment(state: &EnvironmentState, asking: Asking, now: Timestamp) -> Decided {
    let Asking { by, why, ask } = asking;
    let attempt =
        EnvironmentEvent::Attempted { what: asked(&ask), by: by.clone(), why: why.clone() };
    let outcome = if why.trim().is_empty() {
        Err(Refused::NoReason)
    } else {
        let person = Person { by, why };
        match ask {
            Ask::PlaceHold { fleet, until, mid_run } => {
                place(state, person, (fleet, until, mid_run), now)
            }
            Ask::LiftHold(id) => lift(state, person, id, now),
            Ask::StartRun { run, held, over, .. } => start(person, run, &held, over.as_ref()),
            Ask::SetShare { fleet, percent, over, canary } => {
                let canary = canary.and_then(|canary| Ok((canary, whole(percent)?)));
                canary.map(|(canary, percent)| {
                    share(state, person, fleet, (canary, percent, over), now)
                })
            }
            Ask::PlacePatch(patch) => place_patch(state, person, patch, now),
            Ask::ProvePatch { id, version, sha256 } => {
                prove_patch(state, person, (id, version, sha256), now)
            }
            Ask::ClosePatch(id) => close_patch(state, person, id, now),
            Ask::FixDrift { found } => {
                Ok(vec![EnvironmentEvent::DriftFixed { found, by: person.by }])
            }
        }
    };
    match outcome {
        Ok(events) => {
            Decided { events: [attempt].into_iter().chain(events).collect(), refused: None }
        }
        Err(why) => {
            let refused = EnvironmentEvent::Refused { why: why.clone() };
            Decided { events: vec![attempt, refused], refused: Some(why) }
        }
    }
}

pub(super) struct Person {
    pub(super) by: String,
    pub(super) why: String,
}

fn asked(ask: &Ask) -> Asked {
    match ask {
        Ask::PlaceHold { fleet, .. } => Asked::PlaceHold { fleet: fleet.clone() },
        Ask::LiftHold(id) => Asked::LiftHold { id: *id },
        Ask::StartRun { pipeline, version, .. } => {
            Asked::StartRun { pipeline: pipeline.clone(), version: version.clone() }
        }
        Ask::SetShare { fleet, percent, .. } => {
            Asked::SetShare { fleet: fleet.clone(), percent: *percent }
        }
        Ask::PlacePatch(NewPatch { id, fleets, .. }) => {
            Asked::PlacePatch { id: id.clone(), fleets: fleets.clone() }
        }
        Ask::ProvePatch { id, version, .. } => {
            Asked::ProvePatch { id: id.clone(), version: version.clone() }
        }
        Ask::ClosePatch(id) => Asked::ClosePatch { id: id.clone() },
        Ask::FixDrift { .. } => Asked::FixDrift,
    }
}

pub(super) type Outcome = Result<Vec<EnvironmentEvent>, Refused>;

fn place(
    state: &EnvironmentState,
    Person { by, why: reason }: Person,
    (fleet, until, mid_run): (Option<FleetName>, Option<Timestamp>, MidRun),
    now: Timestamp,
) -> Outcome {
    if until.is_some_and(|until| until <= now) {
        return Err(Refused::EndsInThePast);
    }
    let id = state.next_hold();
    Ok(vec![EnvironmentEvent::HoldPlaced { id, fleet, reason, by, until, mid_run, patch: None }])
}

fn lift(
    state: &EnvironmentState,
    Person { by, why }: Person,
    id: HoldId,
    now: Timestamp,
) -> Outcome {
    match state.holds.get(&id) {
        None => Err(Refused::NoSuchHold(id)),
        Some(hold) if !hold.is_on(now) => Err(Refused::NotOn(id)),
        Some(_) => Ok(vec![EnvironmentEvent::HoldLifted { id, by, why }]),
    }
}

fn start(
    Person { by, why }: Person,
    run: Option<RunId>,
    held: &[Held],
    over: Option<&Override>,
) -> Outcome {
    may_start(held, over, &by)?;
    let what = held.iter().map(|held| held.by.clone()).collect();
    let second = over.and_then(|over| over.second.clone());
    let over = run.map(|run| EnvironmentEvent::Overridden { run, what, by, why, second });
    Ok(over.into_iter().collect())
}

/// Tells whether a run may start where this holds an environment.
///
/// # Errors
/// With what is in the way, or what is wrong with overriding it.
pub fn may_start(held: &[Held], over: Option<&Override>, by: &str) -> Result<(), Refused> {
    let Some(Override { needs, second }) = over else {
        return if held.is_empty() { Ok(()) } else { Err(Refused::Held(held.to_vec())) };
    };
    match (needs, second.as_deref().map(str::trim)) {
        (_, Some(second)) if second.eq_ignore_ascii_case(by) => {
            Err(Refused::SecondPersonIsTheSame(by.to_owned()))
        }
        (Overriding::SecondPerson, None | Some("")) => Err(Refused::SecondPersonMissing),
        (Overriding::OnePerson, _) | (Overriding::SecondPerson, Some(_)) => Ok(()),
    }
}

fn whole(percent: u32) -> Result<u8, Refused> {
    u8::try_from(percent).ok().filter(|percent| *percent <= 100).ok_or(Refused::TooMuch(percent))
}

/// A ramp that is on its way to the same end goes on: asking for it again is how a person continues one.
fn share(
    state: &EnvironmentState,
    Person { by, why }: Person,
    fleet: FleetName,
    (canary, percent, over): (Canary, u8, Duration),
    now: Timestamp,
) -> Vec<EnvironmentEvent> {
    let ramp = Ramp { from: canary.percent, to: percent, begins: now, length: over };
    let ramp = if over.is_zero() { Ramp::at_once(percent, now) } else { ramp };
    let same = |known: &Ramp| known.to == ramp.to && known.length == ramp.length;
    let under_way = state.shares.get(&fleet).map(|share| share.ramp).filter(same);
    if under_way.is_some_and(|ramp| ramp.next_change(now).is_some()) {
        return Vec::new();
    }
    vec![EnvironmentEvent::ShareSet { fleet, ramp, by, why }]
}
