//! The state of a run: its plan, and what the events so far have made of it.
//!
//! Invariants: a step is started only after every step before it in its lane is done (but for putting an untouched
//! host back); a phase begins when every lane of the phase before is done; attempts of a step are numbered without
//! gaps; a run that is over takes no event.

use crate::event::{Event, Outcome};
use serin_model::{
    Action, EnvironmentName, HostName, Lane, Plan, Reason, Stage, Step, StepId, Subject, Timestamp,
    Verdict,
};
use std::collections::BTreeMap;
use std::time::Duration;

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
    /// What became of its steps; one that is missing is pending and was never started.
    steps: BTreeMap<StepId, StepRecord>,
    /// Where each step is in the plan, so that finding one does not search 300 hosts.
    index: BTreeMap<StepId, Place>,
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

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct StepRecord {
    state: StepState,
    attempts: u32,
    /// Attempts in a row that were lost.
    lost: u32,
    /// When the last of them was.
    lost_at: Option<Timestamp>,
    watched: Duration,
    sample: Option<Timestamp>,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StepState {
    /// It is yet to be started.
    #[default]
    Pending,
    /// An attempt was started. Under the current term it is in flight, under an older one it is in doubt.
    Started {
        /// The term.
        term: u64,
    },
    /// The last attempt was lost: it is in doubt.
    Lost(Reason),
    /// It is done. The text says what was seen.
    Done(String),
    /// It failed.
    Failed(Reason),
    /// It cannot be told whether it happened.
    Unknown(Reason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    stage: usize,
    phase: usize,
    lane: usize,
    step: usize,
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
        let mut index = BTreeMap::new();
        for (stage, s) in plan.stages.iter().enumerate() {
            for (phase, p) in s.phases.iter().enumerate() {
                for (lane, l) in p.lanes.iter().enumerate() {
                    for (step, item) in l.steps.iter().enumerate() {
                        let place = Place { stage, phase, lane, step };
                        if index.insert(item.id.clone(), place).is_some() {
                            return illegal(format!("the plan has step {} twice", item.id));
                        }
                    }
                }
            }
        }
        Ok(Self {
            plan: Plan::clone(plan),
            by: by.clone(),
            status: Status::Running,
            term: 0,
            holder: String::new(),
            environments: BTreeMap::new(),
            alerts: BTreeMap::new(),
            steps: BTreeMap::new(),
            index,
        })
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
            Event::BakeProgressed { step, watched, sample } => {
                let record = self.record_mut(step)?;
                record.watched = *watched;
                record.sample = *sample;
            }
            Event::HaltRequested { reason } => match &self.status {
                Status::Running => self.status = Status::Halting(reason.clone()),
                // A halt is never downgraded: the first reason stays.
                Status::Halting(_)
                | Status::Halted(_)
                | Status::Finished
                | Status::Cancelled { .. } => {}
            },
            Event::Halted => match &self.status {
                Status::Halting(reason) => self.status = Status::Halted(reason.clone()),
                Status::Running
                | Status::Halted(_)
                | Status::Finished
                | Status::Cancelled { .. } => {
                    return illegal(format!("halted while {:?}", self.status));
                }
            },
            Event::Resumed { .. } => self.resumed()?,
            Event::Cancelled { by, why } => {
                self.status = Status::Cancelled { by: by.clone(), why: why.clone() };
            }
            Event::Finished => self.status = Status::Finished,
        }
        Ok(())
    }

    /// Tells whether the run is finished or was given up.
    pub fn is_over(&self) -> bool {
        matches!(self.status, Status::Finished | Status::Cancelled { .. })
    }

    /// Returns what became of a step.
    pub fn state(&self, step: &StepId) -> &StepState {
        const PENDING: &StepState = &StepState::Pending;
        self.steps.get(step).map_or(PENDING, |record| &record.state)
    }

    /// Returns how many attempts of a step were started.
    pub fn attempts(&self, step: &StepId) -> u32 {
        self.steps.get(step).map_or(0, |record| record.attempts)
    }

    /// Returns how many attempts of a step in a row were lost.
    pub fn lost(&self, step: &StepId) -> u32 {
        self.steps.get(step).map_or(0, |record| record.lost)
    }

    /// Returns when the last attempt of a step was lost, if it was.
    pub fn lost_at(&self, step: &StepId) -> Option<Timestamp> {
        self.steps.get(step).and_then(|record| record.lost_at)
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
        let place = self.index.get(step)?;
        let stage = self.plan.stages.get(place.stage)?;
        let lane = stage.phases.get(place.phase)?.lanes.get(place.lane)?;
        Some((stage, lane, lane.steps.get(place.step)?))
    }

    /// Returns the stage that is being worked on, the number of its phase, and that phase's lanes; `None`: all is done.
    pub fn current(&self) -> Option<(&Stage, usize, &[Lane])> {
        self.plan.stages.iter().find_map(|stage| {
            stage.phases.iter().enumerate().find_map(|(number, phase)| {
                let open = phase.lanes.iter().any(|lane| self.next(lane).is_some());
                open.then_some((stage, number, phase.lanes.as_slice()))
            })
        })
    }

    /// Returns the first step of a lane that is not done.
    pub fn next<'a>(&self, lane: &'a Lane) -> Option<&'a Step> {
        lane.steps.iter().find(|step| !self.is_done(&step.id))
    }

    /// Tells whether the lane has its host out of service, or may have.
    pub fn holds_slot(&self, lane: &Lane) -> bool {
        let step = |wanted: &Action| lane.steps.iter().find(|s| s.action.name() == wanted.name());
        let taken = step(&Action::Drain)
            .is_some_and(|drain| !matches!(self.state(&drain.id), StepState::Pending));
        taken && step(&Action::Ready).is_some_and(|ready| !self.is_done(&ready.id))
    }

    /// Tells whether the lane may have changed its host since it was taken out of service.
    pub fn is_changed(&self, lane: &Lane) -> bool {
        let after_drain = lane.steps.iter().skip_while(|s| s.action != Action::Drain).skip(1);
        after_drain
            .filter(|step| step.action != Action::Ready)
            .any(|step| self.attempts(&step.id) > 0)
    }

    /// Returns the lanes of the current phase that have their host out of service.
    pub fn slots(&self) -> impl Iterator<Item = &Lane> {
        let lanes = self.current().map_or(&[][..], |(_, _, lanes)| lanes);
        lanes.iter().filter(|lane| self.holds_slot(lane))
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
        if !self.index.contains_key(step) {
            return illegal(format!("the plan has no step {step}"));
        }
        Ok(self.steps.entry(step.clone()).or_default())
    }

    fn adopted(&mut self, term: u64, by: &str) -> Result<(), IllegalEvent> {
        if term <= self.term {
            return illegal(format!("term {term} after term {}", self.term));
        }
        self.term = term;
        by.clone_into(&mut self.holder);
        // Nobody watched while nobody acted: a bake begins again, and alerts are read again.
        self.alerts.clear();
        for record in self.steps.values_mut() {
            record.watched = Duration::ZERO;
            record.sample = None;
        }
        Ok(())
    }

    fn attempt_started(
        &mut self,
        step: &StepId,
        attempt: u32,
        term: u64,
    ) -> Result<(), IllegalEvent> {
        let current = self.term;
        let record = self.record_mut(step)?;
        if term != current {
            return illegal(format!("{step} was started under term {term}, not {current}"));
        }
        if attempt != record.attempts + 1 {
            return illegal(format!("attempt {attempt} of {step} after {}", record.attempts));
        }
        if matches!(record.state, StepState::Done(_)) {
            return illegal(format!("{step} was started again after it was done"));
        }
        record.attempts = attempt;
        record.state = StepState::Started { term };
        Ok(())
    }

    fn attempt_ended(
        &mut self,
        step: &StepId,
        attempt: u32,
        outcome: &Outcome,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let record = self.record_mut(step)?;
        if attempt != record.attempts || !matches!(record.state, StepState::Started { .. }) {
            return illegal(format!("attempt {attempt} of {step} ended without being in flight"));
        }
        let lost = matches!(outcome, Outcome::Lost(_));
        record.lost = if lost { record.lost + 1 } else { 0 };
        record.lost_at = lost.then_some(at);
        record.state = match outcome {
            Outcome::Done(seen) | Outcome::AlreadyDone(seen) => StepState::Done(seen.clone()),
            Outcome::Failed(reason) => StepState::Failed(reason.clone()),
            Outcome::Lost(reason) => StepState::Lost(reason.clone()),
            Outcome::Unknown(reason) => StepState::Unknown(reason.clone()),
        };
        self.returned(step);
        Ok(())
    }

    /// A host that went back into service without having been changed is as if it had never been taken out.
    fn returned(&mut self, step: &StepId) {
        let Some((_, lane, ready)) = self.find(step) else { return };
        if ready.action != Action::Ready || !self.is_done(step) || self.is_changed(lane) {
            return;
        }
        let from_drain = lane.steps.iter().skip_while(|s| s.action != Action::Drain);
        let reset: Vec<StepId> = from_drain.map(|step| step.id.clone()).collect();
        for id in reset {
            if let Some(record) = self.steps.get_mut(&id) {
                record.state = StepState::Pending;
            }
        }
    }

    fn resumed(&mut self) -> Result<(), IllegalEvent> {
        let Status::Halted(_) = self.status else {
            return illegal(format!("resumed while {:?}", self.status));
        };
        self.status = Status::Running;
        self.alerts.clear();
        for record in self.steps.values_mut() {
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
        Ok(())
    }
}

fn illegal<T>(what: String) -> Result<T, IllegalEvent> {
    Err(IllegalEvent(what))
}
