//! What the journal says, read by a second pair of eyes: every record is checked against those before it.
//!
//! It reads the same events as the engine and shares none of its code: a step may begin only in its turn, nothing
//! begins after a halt but what brings a host to safety, and a failure halts within the same append.

use serin_engine::{EnvironmentEvent, Event, Outcome};
use serin_model::{
    Action, EnvironmentName, FleetName, HostName, Plan, RunId, Step, StepId, Subject, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after HAProxy was seen to have forgotten something it may be told again.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// What the journal says of all runs.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    runs: BTreeMap<RunId, Pages>,
    /// Fleets whose share an environment's stream has.
    shares: BTreeSet<(EnvironmentName, FleetName)>,
}

/// What the journal says of one run.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) plan: Plan,
    steps: BTreeMap<StepId, Line>,
    status: Status,
    term: u64,
    pub(crate) fences: BTreeMap<EnvironmentName, u64>,
    drains_lost: BTreeMap<HostName, Timestamp>,
    shares_lost: BTreeMap<FleetName, Timestamp>,
    /// The share that a halt takes away, and whether an attempt is in flight.
    withdrawn: Option<(FleetName, bool)>,
    /// When the last sweep was recorded: what befell a host after that, no sweep has seen.
    pub(crate) swept: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Line {
    place: (usize, usize, usize, usize),
    attempts: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Started(u64),
    InDoubt,
    Done,
    Stuck,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Running,
    Halting,
    Halted,
    Over,
}

impl Ledger {
    /// Takes in the first event of a run.
    pub(crate) fn open(&mut self, run: RunId, event: Event) {
        let Event::Started { plan, .. } = event else { return };
        let mut steps = BTreeMap::new();
        for (s, stage) in plan.stages.iter().enumerate() {
            for (p, phase) in stage.phases.iter().enumerate() {
                for (l, lane) in phase.lanes.iter().enumerate() {
                    for (i, step) in lane.steps.iter().enumerate() {
                        let line = Line { place: (s, p, l, i), attempts: 0, state: State::Pending };
                        steps.insert(step.id.clone(), line);
                    }
                }
            }
        }
        let pages = Pages {
            plan: *plan,
            steps,
            status: Status::Running,
            term: 0,
            fences: BTreeMap::new(),
            drains_lost: BTreeMap::new(),
            shares_lost: BTreeMap::new(),
            withdrawn: None,
            swept: None,
        };
        self.runs.insert(run, pages);
    }

    /// Takes in one append, and returns what must not be in it.
    pub(crate) fn append(&mut self, run: &RunId, events: &[Event], at: Timestamp) -> Vec<String> {
        let Some(pages) = self.runs.get_mut(run) else {
            return vec![format!("records of {run}, which never began")];
        };
        let mut wrong: Vec<String> =
            events.iter().filter_map(|event| pages.take_in(event, at).err()).collect();
        if pages.status == Status::Running && pages.steps.values().any(|l| l.state == State::Stuck)
        {
            wrong.push("a step failed, and the run was not halted with it".to_owned());
        }
        wrong
    }

    /// Takes in one event of an environment.
    pub(crate) fn of_environment(&mut self, name: &EnvironmentName, event: &EnvironmentEvent) {
        if let EnvironmentEvent::ShareSet { fleet, .. } = event {
            self.shares.insert((name.clone(), fleet.clone()));
        }
    }

    /// Tells whether an environment's stream has a share for a fleet.
    pub(crate) fn has_share(&self, name: &EnvironmentName, fleet: &FleetName) -> bool {
        self.shares.contains(&(name.clone(), fleet.clone()))
    }

    pub(crate) fn pages(&self, run: &RunId) -> Option<&Pages> {
        self.runs.get(run)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Pages> {
        self.runs.values()
    }
}

impl Line {
    /// Tells whether it may have happened, though nobody is at it.
    fn is_in_doubt(&self, now: u64) -> bool {
        match self.state {
            State::Started(term) => term != now,
            State::InDoubt => true,
            State::Pending | State::Done | State::Stuck => false,
        }
    }
}

impl Pages {
    fn take_in(&mut self, event: &Event, at: Timestamp) -> Result<(), String> {
        match event {
            Event::Started { .. } => return Err("a run began twice".to_owned()),
            Event::Adopted { term, .. } => self.term = *term,
            Event::EnvironmentEntered { environment, fence } => {
                let before = self.fences.insert(environment.clone(), *fence);
                if before.is_some_and(|before| before >= *fence) {
                    return Err(format!("the fence of {environment} went back to {fence}"));
                }
            }
            Event::AttemptStarted { step, attempt, term } => self.began(step, *attempt, *term)?,
            Event::AttemptEnded { step, attempt, outcome, .. } => {
                self.ended(step, *attempt, outcome)?;
                if step.as_str().ends_with("/sweep") {
                    self.swept = Some(at);
                }
            }
            Event::DrainLost { host, .. } => drop(self.drains_lost.insert(host.clone(), at)),
            Event::ShareLost { fleet, .. } => drop(self.shares_lost.insert(fleet.clone(), at)),
            Event::HaltRequested { .. } => {
                if self.status == Status::Running {
                    self.status = Status::Halting;
                }
            }
            Event::WithdrawalStarted { fleet, term, .. } => {
                if self.status != Status::Halting || *term != self.term {
                    let status = self.status;
                    return Err(format!("the share of {fleet} is taken away while {status:?}"));
                }
                self.withdrawn = Some((fleet.clone(), true));
            }
            Event::WithdrawalEnded { .. } => match &mut self.withdrawn {
                Some((_, flying)) if *flying => *flying = false,
                Some(_) | None => return Err("a share was taken away unasked".to_owned()),
            },
            Event::Halted => {
                if matches!(self.withdrawn, Some((_, true))) {
                    return Err("halted while a share is being taken away".to_owned());
                }
                self.status = Status::Halted;
            }
            Event::Resumed { .. } => self.resumed(),
            Event::Cancelled { .. } => self.status = Status::Over,
            Event::Finished => {
                self.status = Status::Over;
                if let Some((step, _)) = self.steps.iter().find(|(_, l)| l.state != State::Done) {
                    return Err(format!("finished although {step} is not done"));
                }
            }
            Event::FenceRaised { .. }
            | Event::EnvironmentLeft { .. }
            | Event::AlertsChanged { .. }
            | Event::HeldChanged { .. }
            | Event::BakeProgressed { .. } => {}
        }
        Ok(())
    }

    fn began(&mut self, step: &StepId, attempt: u32, term: u64) -> Result<(), String> {
        let Some(line) = self.steps.get(step).cloned() else {
            return Err(format!("{step} began, which is not in the plan"));
        };
        if term != self.term {
            return Err(format!("{step} began under term {term}, not {}", self.term));
        }
        if attempt != line.attempts + 1 {
            return Err(format!("attempt {attempt} of {step} after {}", line.attempts));
        }
        if matches!(line.state, State::Done | State::Stuck) {
            return Err(format!("{step} began while {line:?}"));
        }
        let in_doubt = line.is_in_doubt(self.term);
        let allowed = match self.status {
            Status::Running => self.all_before_done(&line) || self.goes_back(step, &line),
            Status::Halting => in_doubt || self.is_out(&line),
            Status::Halted | Status::Over => false,
        };
        if let Some(line) = self.steps.get_mut(step) {
            line.attempts = attempt;
            line.state = State::Started(term);
        }
        if allowed { Ok(()) } else { Err(format!("{step} began while {:?}", self.status)) }
    }

    /// Everything in earlier stages and phases is done, and what comes before it in its own lane.
    fn all_before_done(&self, line: &Line) -> bool {
        let (s, p, l, i) = line.place;
        self.steps.values().filter(|other| other.state != State::Done).all(|other| {
            let (os, op, ol, oi) = other.place;
            (os, op) > (s, p) || ((os, op) == (s, p) && (ol != l || oi >= i))
        })
    }

    /// An unchanged host may go back before anything comes of its drain: if it is on its way, or if nobody knows whether
    /// it was drained at all.
    fn goes_back(&self, ready: &StepId, line: &Line) -> bool {
        let lane = self.lane(line);
        let of = |wanted: Action| lane.iter().find(|(step, _)| step.action == wanted);
        let (Some((_, drain)), Some((last, _))) = (of(Action::Drain), of(Action::Ready)) else {
            return false;
        };
        let unchanged = lane.iter().all(|(step, line)| {
            matches!(step.action, Action::Drain | Action::Ready) || line.attempts == 0
        });
        let doubtful = line.is_in_doubt(self.term) || drain.is_in_doubt(self.term);
        let resting = drain.state != State::Started(self.term);
        last.id == *ready && unchanged && doubtful && resting && self.all_before_done(drain)
    }

    /// Tells whether the lane of a step has its host out of service.
    fn is_out(&self, line: &Line) -> bool {
        let lane = self.lane(line);
        // At the expedited pace nothing is drained: changing the host is what takes it out.
        let drains = lane.iter().any(|(step, _)| step.action == Action::Drain);
        let begun = |(step, line): &(&Step, &Line)| {
            line.attempts > 0
                && step.action != Action::Ready
                && (step.action == Action::Drain || !drains)
        };
        if !lane.iter().any(|(step, _)| step.action == Action::Ready) {
            return false;
        }
        let back = |(step, line): &(&Step, &Line)| {
            step.action == Action::Ready && line.state == State::Done
        };
        lane.iter().any(begun) && !lane.iter().any(back)
    }

    fn lane(&self, line: &Line) -> Vec<(&Step, &Line)> {
        let (s, p, l, _) = line.place;
        let stage = self.plan.stages.get(s);
        let lane = stage.and_then(|s| s.phases.get(p)).and_then(|phase| phase.lanes.get(l));
        let steps = lane.into_iter().flat_map(|lane| &lane.steps);
        steps.filter_map(|step| self.steps.get(&step.id).map(|line| (step, line))).collect()
    }

    fn ended(&mut self, step: &StepId, attempt: u32, outcome: &Outcome) -> Result<(), String> {
        let term = self.term;
        let Some(line) = self.steps.get_mut(step) else {
            return Err(format!("{step} ended, which is not in the plan"));
        };
        if line.attempts != attempt || line.state != State::Started(term) {
            return Err(format!("attempt {attempt} of {step} ended, but it is {line:?}"));
        }
        line.state = match outcome {
            Outcome::Done(_) | Outcome::AlreadyDone(_) => State::Done,
            Outcome::Failed(_) | Outcome::Unknown(_) => State::Stuck,
            Outcome::Lost(_) => State::InDoubt,
        };
        let line = line.clone();
        self.put_back(&line);
        Ok(())
    }

    /// A host that was put back before anything changed on it begins again with its drain.
    fn put_back(&mut self, line: &Line) {
        let lane = self.lane(line);
        let is_back = lane.iter().any(|(step, other)| {
            other.place == line.place && step.action == Action::Ready && other.state == State::Done
        });
        if !is_back || lane.iter().all(|(_, line)| line.state == State::Done) {
            return;
        }
        let again: BTreeSet<StepId> = lane
            .iter()
            .skip_while(|(step, _)| step.action != Action::Drain)
            .map(|(step, _)| step.id.clone())
            .collect();
        for id in again {
            if let Some(line) = self.steps.get_mut(&id) {
                line.state = State::Pending;
            }
        }
    }

    fn resumed(&mut self) {
        self.status = Status::Running;
        for line in self.steps.values_mut().filter(|line| line.state == State::Stuck) {
            // What it was stuck with decides whether it is looked at first; both may begin.
            line.state = State::InDoubt;
        }
        let Some((fleet, _)) = self.withdrawn.take() else { return };
        // A run that could not put a host back goes on there first, and exposes nothing again.
        if self.steps.values().any(|line| line.state != State::Pending && self.is_out(line)) {
            return;
        }
        let exposes = |lane: &serin_model::Lane| {
            let exposed = |step: &Step| matches!(&step.action, Action::Expose { fleet: f, .. } if *f == fleet);
            lane.steps.iter().any(exposed)
        };
        let later = self.plan.steps().skip_while(|(_, lane, _)| !exposes(lane));
        let again = later.filter(|(_, lane, step)| exposes(lane) || step.action == Action::Guard);
        for (_, _, step) in again {
            if let Some(line) = self.steps.get_mut(&step.id) {
                line.state = State::Pending;
            }
        }
    }

    /// Tells whether an attempt of a step is in flight, under its own id or as a part of it.
    pub(crate) fn in_flight(&self, step: &StepId, attempt: u32) -> bool {
        let started = |id: &str| {
            self.steps.iter().any(|(known, line)| {
                known.as_str() == id
                    && line.state == State::Started(self.term)
                    && line.attempts == attempt
            })
        };
        let whole = step.as_str();
        started(whole) || whole.rsplit_once('.').is_some_and(|(id, _)| started(id))
    }

    /// Returns the steps that are in flight, with what each is about.
    pub(crate) fn flying(&self) -> impl Iterator<Item = (&Subject, &Action)> {
        self.plan.steps().filter_map(|(_, lane, step)| {
            let line = self.steps.get(&step.id)?;
            matches!(line.state, State::Started(_)).then_some((&lane.subject, &step.action))
        })
    }

    /// Tells whether HAProxy may be told again that a host is drained.
    pub(crate) fn redrains(&self, host: &HostName, now: Timestamp) -> bool {
        self.drains_lost.get(host).is_some_and(|at| now.since(*at) <= TOLD_AGAIN)
    }

    /// Tells whether HAProxy may be told again that a fleet gets no traffic.
    pub(crate) fn reweighs(&self, now: Timestamp) -> bool {
        self.shares_lost.values().any(|at| now.since(*at) <= TOLD_AGAIN)
    }

    /// Tells whether the run has begun to take a host out of service.
    pub(crate) fn has_drained(&self, host: &HostName) -> bool {
        self.any_begun(host, |action| *action == Action::Drain)
    }

    /// Tells whether the run, while it is not over, has begun to change a host.
    pub(crate) fn is_changed(&self, host: &HostName) -> bool {
        self.status != Status::Over
            && self.any_begun(host, |action| {
                matches!(action, Action::Install { .. } | Action::Activate)
            })
    }

    fn any_begun(&self, host: &HostName, wanted: impl Fn(&Action) -> bool) -> bool {
        let about = Subject::Host(host.clone());
        let begun = |step: &Step| self.steps.get(&step.id).is_some_and(|line| line.attempts > 0);
        self.plan
            .steps()
            .any(|(_, lane, step)| lane.subject == about && wanted(&step.action) && begun(step))
    }

    /// Tells whether every step is done.
    pub(crate) fn is_complete(&self) -> bool {
        self.steps.values().all(|line| line.state == State::Done)
    }
}
