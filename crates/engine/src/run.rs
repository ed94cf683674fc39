//! The state of a run: its plan, and what the events so far have made of it.
//!
//! Invariants: a step is started only after every step before it in its lane is done (but for putting an untouched
//! host back); a phase begins when every lane of the phase before is done; attempts of a step are numbered without
//! gaps; a run that is over takes no event.

use crate::event::{Event, Outcome};
use crate::steps::{LaneState, StepRecord, Steps};
use crate::withdrawal::Withdrawal;
use serin_model::{
    Action, EnvironmentName, Held, HostName, Lane, Plan, Reason, Stage, Step, StepId, Subject,
    Timestamp, Verdict,
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
        events.try_for_each(|event| run.apply(event))?;
        Ok(run)
    }

    /// Brings the state up to date with an event: live and on replay, the one place where state changes.
    ///
    /// # Errors
    /// When the event cannot follow those before it. The state is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        if self.is_over() && !matches!(event, Event::EnvironmentLeft { .. } | Event::Adopted { .. })
        {
            return illegal(format!("the run is over, yet {event:?}"));
        }
        match event {
            Event::Started { .. } => return illegal("a run starts once".to_owned()),
            Event::Adopted { term, by } => self.adopted(*term, by)?,
            Event::EnvironmentEntered { environment, fence } => {
                let entered = Entered { fence: *fence, term: self.term, unavailable: None };
                self.environments.insert(environment.clone(), entered);
            }
            Event::FenceRaised { environment, fence, unavailable } => {
                match self.environments.get_mut(environment) {
                    Some(entered) if entered.fence == *fence => {
                        entered.unavailable = Some(unavailable.clone());
                    }
                    Some(_) | None => {
                        return illegal(format!("fence {fence} is not {environment}'s"));
                    }
                }
            }
            Event::EnvironmentLeft { environment } => {
                self.environments.remove(environment);
                self.alerts.remove(environment);
                self.held.remove(environment);
            }
            Event::AttemptStarted { step, attempt, term } => {
                self.attempt_started(step, *attempt, *term)?;
            }
            Event::AttemptEnded { step, attempt, outcome, at } => {
                self.attempt_ended(step, *attempt, outcome, *at)?;
            }
            // As far as the run is concerned nothing changed: telling HAProxy again is what follows.
            Event::DrainLost { .. } | Event::ShareLost { .. } => {}
            Event::AlertsChanged { environment, verdict, since } => {
                self.alerts.insert(environment.clone(), (verdict.clone(), *since));
            }
            Event::HeldChanged { environment, held } => {
                self.held.insert(environment.clone(), held.clone());
            }
            Event::BakeProgressed { step, watched, sample } => {
                let record = self.record_mut(step)?;
                record.watched = *watched;
                record.sample = *sample;
            }
            Event::WithdrawalStarted { environment, fleet, attempt, term } => {
                self.withdrawal_started((environment, fleet), *attempt, *term)?;
            }
            Event::WithdrawalEnded { attempt, outcome, at } => {
                self.withdrawal_ended(*attempt, outcome, *at)?;
            }
            Event::HaltRequested { .. }
            | Event::Halted
            | Event::Resumed { .. }
            | Event::Cancelled { .. }
            | Event::Finished => self.turned(event)?,
        }
        Ok(())
    }

    /// Tells whether the run is finished or was given up.
    pub fn is_over(&self) -> bool {
        matches!(self.status, Status::Finished | Status::Cancelled { .. })
    }

    /// Returns what became of a step; one that the plan does not have is pending for ever.
    pub fn state(&self, step: &StepId) -> &StepState {
        const PENDING: &StepState = &StepState::Pending;
        self.steps.get(step).map_or(PENDING, |record| &record.state)
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

    /// Tells whether a step is done.
    pub fn is_done(&self, step: &StepId) -> bool {
        matches!(self.state(step), StepState::Done(_))
    }

    /// Tells whether an attempt of a step is in flight in the process that acts for the run now.
    pub fn in_flight(&self, step: &StepId) -> bool {
        matches!(self.state(step), StepState::Started { term } if *term == self.term)
    }

    /// Returns a step of the plan with its stage and lane.
    pub fn find(&self, step: &StepId) -> Option<(&Stage, &Lane, &Step)> {
        let place = self.steps.index.get(step)?;
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
        self.steps.index.get(step).is_some_and(|place| (place.stage, place.phase) == self.cursor)
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

    fn record_mut(&mut self, step: &StepId) -> Result<&mut StepRecord, IllegalEvent> {
        let unknown = || IllegalEvent(format!("the plan has no step {step}"));
        self.steps.get_mut(step).ok_or_else(unknown)
    }

    /// Moves on to the first phase that has something left to do. What is done stays done, so it never goes back but to
    /// an exposure that begins anew.
    fn advance(&mut self) {
        while let Some(stage) = self.plan.stages.get(self.cursor.0) {
            if self.cursor.1 >= stage.phases.len() {
                self.cursor = (self.cursor.0 + 1, 0);
            } else if self.lanes().iter().any(|lane| lane.next().is_some()) {
                return;
            } else {
                self.cursor.1 += 1;
            }
        }
    }

    fn adopted(&mut self, term: u64, by: &str) -> Result<(), IllegalEvent> {
        if term <= self.term {
            return illegal(format!("term {term} after term {}", self.term));
        }
        self.term = term;
        by.clone_into(&mut self.holder);
        // Nobody watched while nobody acted: a bake begins again, and alerts are read again. Times that another
        // machine's clock gave are nothing to wait for.
        self.alerts.clear();
        self.held.clear();
        self.withdrawal.iter_mut().for_each(Withdrawal::adopted);
        for record in &mut self.steps.records {
            record.watched = Duration::ZERO;
            record.sample = None;
            record.lost_at = None;
            record.ended_at = None;
        }
        Ok(())
    }

    fn attempt_started(
        &mut self,
        step: &StepId,
        attempt: u32,
        term: u64,
    ) -> Result<(), IllegalEvent> {
        let Some((_, lane, found)) = self.find(step) else {
            return illegal(format!("the plan has no step {step}"));
        };
        if term != self.term {
            return illegal(format!("{step} was started under term {term}, not {}", self.term));
        }
        if let Status::Halted(_) = self.status {
            return illegal(format!("{step} was started while halted"));
        }
        if attempt != self.attempts(step) + 1 {
            return illegal(format!("attempt {attempt} of {step} after {}", self.attempts(step)));
        }
        if self.in_flight(step) || self.is_done(step) {
            return illegal(format!("{step} was started again while {:?}", self.state(step)));
        }
        let mut before = lane.steps.iter().take_while(|earlier| earlier.id != *step);
        let in_order = before.all(|earlier| self.is_done(&earlier.id));
        let puts_back =
            found.action == Action::Ready && self.holds_slot(lane) && !self.is_changed(lane);
        if !self.is_current(step) || !(in_order || puts_back) {
            return illegal(format!("{step} was started before its turn"));
        }
        let record = self.record_mut(step)?;
        record.attempts = attempt;
        record.began = true;
        record.state = StepState::Started { term };
        // A bake that failed begins again: what was watched before the bad reading does not count.
        record.watched = Duration::ZERO;
        record.sample = None;
        Ok(())
    }

    fn attempt_ended(
        &mut self,
        step: &StepId,
        attempt: u32,
        outcome: &Outcome,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let current = StepState::Started { term: self.term };
        let record = self.record_mut(step)?;
        if attempt != record.attempts || record.state != current {
            return illegal(format!("attempt {attempt} of {step} ended without being in flight"));
        }
        let lost = matches!(outcome, Outcome::Lost(_));
        record.lost = if lost { record.lost + 1 } else { 0 };
        record.lost_at = lost.then_some(at);
        record.ended_at = Some(at);
        record.state = match outcome {
            Outcome::Done(seen) | Outcome::AlreadyDone(seen) => StepState::Done(seen.clone()),
            Outcome::Failed(reason) => StepState::Failed(reason.clone()),
            Outcome::Lost(reason) => StepState::Lost(reason.clone()),
            Outcome::Unknown(reason) => StepState::Unknown(reason.clone()),
        };
        self.returned(step);
        self.advance();
        Ok(())
    }

    /// A host that went back into service without having been changed is as if it had never been taken out.
    fn returned(&mut self, step: &StepId) {
        let Some((_, lane, ready)) = self.find(step) else { return };
        let complete = self.next(lane).is_none();
        if ready.action != Action::Ready || !self.is_done(step) || complete || self.is_changed(lane)
        {
            return;
        }
        let from_drain = lane.steps.iter().skip_while(|s| s.action != Action::Drain);
        let reset: Vec<StepId> = from_drain.map(|step| step.id.clone()).collect();
        self.reset(&reset);
    }

    fn reset(&mut self, steps: &[StepId]) {
        for id in steps {
            if let Some(record) = self.steps.get_mut(id) {
                record.state = StepState::Pending;
                record.began = false;
            }
        }
    }

    /// Has steps begin anew, and goes back to the phase of the first of them: the one way back there is.
    pub(crate) fn begin_anew(&mut self, first: &StepId, steps: &[StepId]) {
        self.reset(steps);
        if let Some(place) = self.steps.index.get(first) {
            self.cursor = (place.stage, place.phase);
        }
    }

    /// Brings the status up to date: whether the run goes on.
    fn turned(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        match (event, &self.status) {
            (Event::HaltRequested { reason }, Status::Running) => {
                self.status = Status::Halting(reason.clone());
            }
            // A halt is never downgraded: the first reason stays.
            (Event::HaltRequested { .. }, Status::Halting(_) | Status::Halted(_)) => {}
            (Event::Halted, Status::Halting(reason)) => {
                self.status = Status::Halted(reason.clone());
            }
            (Event::Resumed { .. }, Status::Halted(_)) => self.resumed(),
            (Event::Cancelled { by, why }, Status::Halted(_)) => {
                self.status = Status::Cancelled { by: by.clone(), why: why.clone() };
            }
            (Event::Finished, Status::Running) if self.current().is_none() => {
                self.status = Status::Finished;
            }
            (event, status) => return illegal(format!("{event:?} while {status:?}")),
        }
        Ok(())
    }

    fn resumed(&mut self) {
        self.expose_anew();
        self.status = Status::Running;
        self.alerts.clear();
        for record in &mut self.steps.records {
            record.lost = 0;
            record.state = match std::mem::take(&mut record.state) {
                StepState::Failed(_) => StepState::Pending,
                // Still in doubt: it is looked at again before anything is done.
                StepState::Unknown(reason) => StepState::Lost(reason),
                same @ (StepState::Pending
                | StepState::Started { .. }
                | StepState::Lost(_)
                | StepState::Done(_)) => same,
            };
        }
    }
}

fn illegal<T>(what: String) -> Result<T, IllegalEvent> {
    Err(IllegalEvent(what))
}
