//! The state of a run: its plan, and what the events so far have made of it.
//!
//! Invariants: a step is started only after every step before it in its lane is done (but for putting an untouched
//! host back); a phase begins when every lane of the phase before is done; attempts of a step are numbered without
//! gaps; a run that is over takes no event.

mod anew;
mod apply;

use crate::event::Event;
use crate::steps::{LaneState, Place, Steps};
use crate::transitions::State;
use crate::withdrawal::Withdrawal;
use serin_model::{
    EnvironmentName, Held, HostName, Lane, Plan, Reason, Stage, Step, StepId, Subject, Timestamp,
    Verdict,
};
use std::collections::BTreeMap;
use std::time::Duration;

pub use crate::steps::StepState;

/// A run: one execution of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What is executed.
    pub plan: Plan,
    /// Who started it.
    pub by: String,
    /// Whether it goes on.
    pub status: Status,
    /// The number of the lease of the process that acts for it; 0: none ever did.
    pub term: u64,
    /// That process.
    pub holder: String,
    /// The environments that belong to it.
    pub environments: BTreeMap<EnvironmentName, Entered>,
    /// What alerts say, and since when, by environment; one that is missing has not been read by this process.
    pub alerts: BTreeMap<EnvironmentName, (Verdict, Timestamp)>,
    /// Holds and windows that are on, by environment, without those that the run was let through.
    pub held: BTreeMap<EnvironmentName, Vec<Held>>,
    /// The share that a halt takes away, or has; `None`: no halt since the run was last resumed did.
    pub withdrawal: Option<Withdrawal>,
    steps: Steps,
    /// The stage and phase that are worked on, by their places in the plan; beyond the last stage when all is done.
    cursor: (usize, usize),
}

/// Whether a run goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Running,
    /// It starts nothing new; hosts in the middle are brought to safety.
    Halting(Reason),
    /// It has stopped, and waits for a person.
    Halted(Reason),
    /// It is done.
    Finished,
    /// It was given up.
    Cancelled {
        /// Who gave it up.
        by: String,
        /// Why.
        why: String,
    },
}

/// An environment that belongs to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// The fence.
    pub fence: u64,
    /// The term under which it was entered: a new term enters again.
    pub term: u64,
    /// Where the fence could not be raised; `None`: it was not raised yet.
    pub unavailable: Option<BTreeMap<HostName, String>>,
}

/// An event that cannot follow the events before it: the journal or the engine is wrong, and the run must stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event cannot be: {0}")]
pub struct IllegalEvent(pub String);

/// A host that is out of service because of this run, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfService {
    /// The host.
    pub host: HostName,
    /// What keeps it out.
    pub why: String,
    /// Whether it was changed.
    pub changed: bool,
}

impl Run {
    /// Makes a run of its first event.
    ///
    /// # Errors
    /// When that is not [`Event::Started`].
    pub fn new(first: &Event) -> Result<Self, IllegalEvent> {
        let Event::Started { plan, by } = first else {
            return illegal(format!("a run cannot begin with {first:?}"));
        };
        let steps = match Steps::new(plan) {
            Ok(steps) => steps,
            Err(twice) => return illegal(format!("the plan has step {twice} twice")),
        };
        let mut run = Self {
            plan: Plan::clone(plan),
            by: by.clone(),
            status: Status::Running,
            term: 0,
            holder: String::new(),
            environments: BTreeMap::new(),
            alerts: BTreeMap::new(),
            held: BTreeMap::new(),
            withdrawal: None,
            steps,
            cursor: (0, 0),
        };
        run.advance();
        Ok(run)
    }

    /// Makes a run of its events, in order.
    ///
    /// # Errors
    /// When they are not a run's events.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, IllegalEvent> {
        let mut events = events.into_iter();
        let Some(first) = events.next() else { return illegal("there are no events".to_owned()) };
        let mut run = Self::new(first)?;
        for event in events {
            run.apply(event)?;
        }
        Ok(run)
    }

    /// Tells whether the run is finished or was given up.
    pub fn is_over(&self) -> bool {
        matches!(self.status, Status::Finished | Status::Cancelled { .. })
    }

    /// Returns what became of a step; one that the plan does not have is pending for ever.
    pub fn state(&self, step: &StepId) -> &StepState {
        const PENDING: &StepState = &StepState::Pending;
        self.steps.get(step).map_or(PENDING, |record| record.state())
    }

    /// Returns how many attempts of a step were started.
    pub fn attempts(&self, step: &StepId) -> u32 {
        self.steps.get(step).map_or(0, |record| record.attempts)
    }

    /// Tells whether a step was begun since it last was to begin anew.
    pub(crate) fn has_begun(&self, step: &StepId) -> bool {
        self.steps.get(step).is_some_and(|record| record.began)
    }

    /// Returns how many attempts of a step in a row were lost.
    pub fn lost(&self, step: &StepId) -> u32 {
        self.steps.get(step).map_or(0, |record| record.lost)
    }

    /// Returns when the last attempt of a step was lost, if it was lost to the process that acts for the run now.
    pub fn lost_at(&self, step: &StepId) -> Option<Timestamp> {
        self.steps.get(step).and_then(|record| record.lost_at)
    }

    /// Returns when the last attempt of a step ended, if it did so in the process that acts for the run now.
    pub(crate) fn ended_at(&self, step: &StepId) -> Option<Timestamp> {
        self.steps.get(step).and_then(|record| record.ended_at)
    }

    /// Returns how much of a bake was watched without a break, and its last good sample.
    pub fn bake(&self, step: &StepId) -> (Duration, Option<Timestamp>) {
        self.steps
            .get(step)
            .map_or((Duration::ZERO, None), |record| (record.watched, record.sample))
    }

    /// Returns when the work before a bake was over, and the bake began that nobody watches; `None`: it has failed since,
    /// and begins again when it is tried again.
    pub fn baked_since(&self, bake: &StepId) -> Option<Timestamp> {
        let place = self.steps.place(bake)?;
        if self.steps.get(bake)?.settled_at.is_some() {
            return None;
        }
        let phases = self.plan.stages.get(place.stage)?.phases.iter().take(place.phase);
        let before = phases.flat_map(|phase| &phase.lanes).flat_map(|lane| &lane.steps);
        before.filter_map(|step| self.steps.get(&step.id)?.settled_at).max()
    }

    /// Tells whether a step is done.
    pub fn is_done(&self, step: &StepId) -> bool {
        matches!(self.state(step), StepState::Done(_))
    }

    /// Tells whether an attempt of a step is in flight in the process that acts for the run now.
    pub fn in_flight(&self, step: &StepId) -> bool {
        matches!(self.state(step), StepState::Started { term } if *term == self.term)
    }

    /// Returns how far the run is into an environment.
    pub(crate) fn is_in(&self, environment: &EnvironmentName) -> State {
        self.environments.get(environment).map_or(State::Free, |entered| entered.at(self.term))
    }

    /// Returns a step of the plan with its stage and lane.
    pub fn find(&self, step: &StepId) -> Option<(&Stage, &Lane, &Step)> {
        self.at(self.steps.place(step)?)
    }

    fn at(&self, place: Place) -> Option<(&Stage, &Lane, &Step)> {
        let stage = self.plan.stages.get(place.stage)?;
        let lane = stage.phases.get(place.phase)?.lanes.get(place.lane)?;
        Some((stage, lane, lane.steps.get(place.step)?))
    }

    /// Returns the stage that is being worked on, the number of its phase, and that phase's lanes; `None`: all is done.
    pub fn current(&self) -> Option<(&Stage, usize, &[Lane])> {
        let (stage, phase) = self.cursor;
        let stage = self.plan.stages.get(stage)?;
        Some((stage, phase, stage.phases.get(phase)?.lanes.as_slice()))
    }

    /// Returns the first step of a lane that is not done.
    pub fn next<'a>(&self, lane: &'a Lane) -> Option<&'a Step> {
        lane.steps.iter().find(|step| !self.is_done(&step.id))
    }

    /// Tells whether the lane has its host out of service, or may have.
    pub fn holds_slot(&self, lane: &Lane) -> bool {
        self.lane(lane).is_some_and(|lane| lane.holds_slot())
    }

    /// Tells whether the lane may have changed its host since it was taken out of service.
    pub fn is_changed(&self, lane: &Lane) -> bool {
        self.lane(lane).is_some_and(|lane| lane.is_changed())
    }

    /// Returns the lanes of the current phase that have their host out of service.
    pub fn slots(&self) -> impl Iterator<Item = &Lane> {
        self.lanes().into_iter().filter(LaneState::holds_slot).map(|lane| lane.lane)
    }

    /// Returns the lanes of the current phase with what became of their steps.
    pub(crate) fn lanes(&self) -> Vec<LaneState<'_>> {
        let lanes = self.current().map_or(&[][..], |(_, _, lanes)| lanes);
        self.steps.lanes(lanes, self.term)
    }

    /// Returns a lane of the plan with what became of its steps.
    pub(crate) fn lane<'a>(&'a self, lane: &'a Lane) -> Option<LaneState<'a>> {
        self.steps.lanes(std::slice::from_ref(lane), self.term).pop()
    }

    /// Tells whether a step is in the phase that is worked on.
    pub(crate) fn is_current(&self, step: &StepId) -> bool {
        self.steps.place(step).is_some_and(|place| (place.stage, place.phase) == self.cursor)
    }

    /// Returns every host that this run has out of service, and what keeps it there.
    pub fn out_of_service(&self) -> Vec<OutOfService> {
        self.slots()
            .filter_map(|lane| {
                let Subject::Host(host) = &lane.subject else { return None };
                let stuck = lane.steps.iter().find_map(|step| match self.state(&step.id) {
                    StepState::Failed(reason) | StepState::Unknown(reason) => {
                        Some(format!("{}: {reason}", step.action.name()))
                    }
                    StepState::Lost(reason) => Some(format!("{}: {reason}", step.action.name())),
                    StepState::Pending | StepState::Started { .. } | StepState::Done(_) => None,
                });
                let why = stuck.unwrap_or_else(|| match self.next(lane) {
                    Some(step) => format!("in the middle: {} comes next", step.action.name()),
                    None => "in the middle".to_owned(),
                });
                Some(OutOfService { host: host.clone(), why, changed: self.is_changed(lane) })
            })
            .collect()
    }

    /// Moves on to the first phase that has something left to do. What is done stays done, so it never goes back but to
    /// an exposure that begins anew.
    fn advance(&mut self) {
        while let Some(stage) = self.plan.stages.get(self.cursor.0) {
            if self.cursor.1 >= stage.phases.len() {
                self.cursor = (self.cursor.0 + 1, 0);
            } else if self.steps.has_left(self.cursor) {
                return;
            } else {
                self.cursor.1 += 1;
            }
        }
    }
}

impl Status {
    /// Returns the state that the table of transitions knows it by.
    pub(crate) fn at(&self) -> State {
        match self {
            Self::Running => State::Running,
            Self::Halting(_) => State::Halting,
            Self::Halted(_) => State::Halted,
            Self::Finished => State::Finished,
            Self::Cancelled { .. } => State::Cancelled,
        }
    }
}

impl Entered {
    /// Returns the state that the table of transitions knows it by.
    pub(crate) fn at(&self, term: u64) -> State {
        match &self.unavailable {
            _ if self.term != term => State::Behind,
            None => State::Claimed,
            Some(_) => State::Fenced,
        }
    }
}

fn illegal<T>(what: String) -> Result<T, IllegalEvent> {
    Err(IllegalEvent(what))
}
