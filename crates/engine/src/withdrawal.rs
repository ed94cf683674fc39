//! Withdrawal: a halt takes away the share of traffic that an exposure gave a fleet, because its build is what is
//! doubted.
//!
//! It is an act without a step: begun when a run halts, settled before the halt is complete. When the run is resumed,
//! the exposure begins anew. Where several fleets were exposed, it is about the last. Which halts withdraw, and why, is
//! in `docs/design/withdrawal.md`. Read [`wanted`] first.

use crate::decide::{MAX_LOST, Refusal};
use crate::due::retry_at;
use crate::event::{Event, Outcome};
use crate::run::{IllegalEvent, Run, Status, StepState};
use crate::transitions::{Arrow, Cause, Machine, State, arrow};
use serin_model::{
    Action, EnvironmentName, FleetName, Lane, Reason, Stage, Step, StepId, Timestamp,
};

/// What became of a share that a halt takes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Where.
    pub environment: EnvironmentName,
    /// Whose share it is.
    pub fleet: FleetName,
    /// How far it is. It is never unknown: who does not answer is asked again, and then has failed.
    pub state: StepState,
    attempts: u32,
    lost: u32,
    lost_at: Option<Timestamp>,
}

impl Withdrawal {
    /// Tells whether nothing more is tried: every load balancer has it, or one could not be told.
    pub fn is_settled(&self) -> bool {
        match self.state {
            StepState::Done(_) | StepState::Failed(_) => true,
            StepState::Pending
            | StepState::Started { .. }
            | StepState::Lost(_)
            | StepState::Unknown(_) => false,
        }
    }

    /// Returns how many attempts were begun.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Times that another machine's clock gave are nothing to wait for.
    pub(crate) fn adopted(&mut self) {
        self.lost_at = None;
    }
}

/// An exposure of the plan that was begun.
struct Begun<'a> {
    stage: &'a Stage,
    lane: &'a Lane,
    set: &'a Step,
    expose: &'a Step,
    fleet: &'a FleetName,
}

/// Returns the fleet whose share a halting run has yet to take away.
pub(crate) fn wanted(run: &Run) -> Option<(&EnvironmentName, &FleetName)> {
    let Status::Halting(reason) = &run.status else { return None };
    if let Some(known) = &run.withdrawal {
        return (!known.is_settled()).then_some((&known.environment, &known.fleet));
    }
    let begun = begun(run)?;
    let passed = run.is_done(&begun.expose.id);
    let doubted = !passed || (doubts(reason) && !goes_on(run, &begun));
    doubted.then_some((&begun.stage.environment, begun.fleet))
}

/// Returns when the share that a halting run has yet to take away can be: now, later, or, while an attempt or the step
/// that gives it is in flight, nobody knows.
pub(crate) fn due_at(
    run: &Run,
    now: Timestamp,
) -> Option<(&EnvironmentName, &FleetName, Timestamp)> {
    let (environment, fleet) = wanted(run)?;
    let gives = begun(run).is_some_and(|begun| run.in_flight(&begun.set.id));
    if gives || in_flight(run) {
        return None;
    }
    let lost = run.withdrawal.as_ref().and_then(|known| Some((known.lost, known.lost_at?)));
    Some((environment, fleet, lost.map_or(now, |(lost, at)| retry_at(lost, at))))
}

fn in_flight(run: &Run) -> bool {
    let current = StepState::Started { term: run.term };
    run.withdrawal.as_ref().is_some_and(|known| known.state == current)
}

/// Finds the last exposure that was begun where the run is.
fn begun(run: &Run) -> Option<Begun<'_>> {
    let (here, _, _) = run.current()?;
    let exposures = run.plan.steps().filter_map(|(stage, lane, expose)| {
        let Action::Expose { fleet, .. } = &expose.action else { return None };
        let gives = |step: &&Step| matches!(step.action, Action::SetShare { .. });
        let set = lane.steps.iter().find(gives)?;
        let is_begun = stage.environment == here.environment && run.has_begun(&set.id);
        is_begun.then_some(Begun { stage, lane, set, expose, fleet })
    });
    exposures.last()
}

/// Tells whether the build has gone on since the exposure: a host that serves may have it, so that to take the share of
/// the first fleet away would not take the build away.
fn goes_on(run: &Run, begun: &Begun<'_>) -> bool {
    let later = run.plan.steps().skip_while(|(_, lane, _)| *lane != begun.lane);
    let serves = |lane: &Lane| lane.steps.iter().any(|step| step.action == Action::Ready);
    later.into_iter().any(|(_, lane, step)| {
        let changes = !matches!(step.action, Action::Drain | Action::Ready);
        changes && run.attempts(&step.id) > 0 && serves(lane)
    })
}

/// Tells whether a halt doubts the build that was exposed: a guard or gate did not pass. What is about one host, about a
/// plan that no longer fits, or a person's wish, is not about that.
fn doubts(reason: &Reason) -> bool {
    match reason {
        Reason::AlertsFiring(_)
        | Reason::AlertsUnreadable(_)
        | Reason::TestsFailed(_)
        | Reason::TooFewTests { .. }
        | Reason::TooFewRequests { .. }
        | Reason::QaBroken(_)
        | Reason::Strays(_) => true,
        Reason::StepFailed { reason, .. } => doubts(reason),
        Reason::Unexpected { .. }
        | Reason::CommandFailed { .. }
        | Reason::Unreachable { .. }
        | Reason::TimedOut { .. }
        | Reason::SessionsLeft { .. }
        | Reason::Refused(_)
        | Reason::Fenced { .. }
        | Reason::OutcomeUnknown(_)
        | Reason::NotAdmitted { .. }
        | Reason::Claimed { .. }
        | Reason::Superseded { .. }
        | Reason::Outdated { .. }
        | Reason::Held(_)
        | Reason::Person { .. }
        | Reason::Interrupted => false,
    }
}

/// Decides that an attempt begins.
pub(crate) fn begin(run: &Run, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let due = due_at(run, now).filter(|(_, _, at)| *at <= now);
    let (environment, fleet, _) = due.ok_or(Refusal::NothingToWithdraw)?;
    if run.is_in(environment) != State::Fenced {
        return Err(Refusal::NothingToWithdraw);
    }
    Ok(vec![started(run, environment, fleet)])
}

fn started(run: &Run, environment: &EnvironmentName, fleet: &FleetName) -> Event {
    let attempt = run.withdrawal.as_ref().map_or(0, |known| known.attempts) + 1;
    let (environment, fleet, term) = (environment.clone(), fleet.clone(), run.term);
    Event::WithdrawalStarted { environment, fleet, attempt, term }
}

/// Decides what the end of an attempt means.
pub(crate) fn ended(
    run: &Run,
    attempt: u32,
    outcome: Outcome,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let known = run.withdrawal.as_ref().filter(|known| in_flight(run) && known.attempts == attempt);
    let known = known.ok_or(Refusal::NothingToWithdraw)?;
    let outcome = match outcome {
        Outcome::Lost(reason) if known.lost + 1 >= MAX_LOST => Outcome::Failed(reason),
        Outcome::Unknown(reason) => Outcome::Failed(reason),
        other @ (Outcome::Done(_)
        | Outcome::AlreadyDone(_)
        | Outcome::Failed(_)
        | Outcome::Lost(_)) => other,
    };
    Ok(vec![Event::WithdrawalEnded { attempt, outcome, at: now }])
}

/// Decides what a problem means for a run that is halting: where the fence cannot be raised, nobody can be told.
pub(crate) fn hindered(run: &Run, reason: Reason, now: Timestamp) -> Vec<Event> {
    let Some((environment, fleet)) = wanted(run) else { return Vec::new() };
    if in_flight(run) || run.is_in(environment) == State::Fenced {
        return Vec::new();
    }
    let begun = started(run, environment, fleet);
    let attempt = run.withdrawal.as_ref().map_or(0, |known| known.attempts) + 1;
    vec![begun, Event::WithdrawalEnded { attempt, outcome: Outcome::Failed(reason), at: now }]
}

impl Run {
    fn withdrawal_at(&self) -> State {
        self.withdrawal.as_ref().map_or(State::NotBegun, |known| known.state.at(self.term))
    }

    fn withdrawal_goes(&self, cause: Cause, to: State) -> Result<Arrow, IllegalEvent> {
        arrow(Machine::Withdrawal, self.withdrawal_at(), cause)?.leading(to)
    }

    pub(crate) fn withdrawal_started(
        &mut self,
        (environment, fleet): (&EnvironmentName, &FleetName),
        attempt: u32,
        term: u64,
    ) -> Result<Arrow, IllegalEvent> {
        let known = self.withdrawal.as_ref();
        let (attempts, lost) = known.map_or((0, 0), |known| (known.attempts, known.lost));
        if attempt != attempts + 1 || term != self.term {
            return Err(IllegalEvent(format!(
                "withdrawal {attempt} of {environment}/{fleet} cannot begin under term {term}"
            )));
        }
        let state = StepState::Started { term };
        let taken = self.withdrawal_goes(Cause::WithdrawalStarted, state.at(term))?;
        let (environment, fleet) = (environment.clone(), fleet.clone());
        let withdrawal =
            Withdrawal { environment, fleet, state, attempts: attempt, lost, lost_at: None };
        self.withdrawal = Some(withdrawal);
        Ok(taken)
    }

    pub(crate) fn withdrawal_ended(
        &mut self,
        attempt: u32,
        outcome: &Outcome,
        at: Timestamp,
    ) -> Result<Arrow, IllegalEvent> {
        let state = match outcome {
            Outcome::Done(seen) | Outcome::AlreadyDone(seen) => StepState::Done(seen.clone()),
            Outcome::Failed(reason) => StepState::Failed(reason.clone()),
            Outcome::Lost(reason) => StepState::Lost(reason.clone()),
            Outcome::Unknown(reason) => StepState::Unknown(reason.clone()),
        };
        let taken = self.withdrawal_goes(Cause::of_outcome(outcome), state.at(self.term))?;
        let Some(known) = self.withdrawal.as_mut().filter(|known| known.attempts == attempt) else {
            return Err(IllegalEvent(format!("withdrawal {attempt} was not the last to begin")));
        };
        let lost = matches!(outcome, Outcome::Lost(_));
        known.lost = if lost { known.lost + 1 } else { 0 };
        known.lost_at = lost.then_some(at);
        known.state = state;
        Ok(taken)
    }

    /// Has an exposure begin anew whose share was taken away, with the guards after it; nothing that came later has
    /// changed a host. A run that could not put a host back goes on there first, and leaves the share at zero.
    pub(crate) fn expose_anew(&mut self) -> Result<Vec<Arrow>, IllegalEvent> {
        if self.withdrawal.is_none() {
            return Ok(Vec::new());
        }
        let mut taken = vec![self.withdrawal_goes(Cause::Resumed, State::NotBegun)?];
        self.withdrawal = None;
        if self.slots().next().is_some() {
            return Ok(taken);
        }
        let Some(Begun { lane, set, .. }) = begun(self) else { return Ok(taken) };
        let of_lane = lane.steps.iter().map(|step| step.id.clone());
        let later = self.plan.steps().skip_while(|(_, other, _)| *other != lane);
        let guards = later.filter(|(_, _, step)| step.action == Action::Guard);
        let guards = guards.map(|(_, _, step)| step.id.clone());
        let (first, again): (StepId, Vec<StepId>) =
            (set.id.clone(), of_lane.chain(guards).collect());
        taken.extend(self.begin_anew(&first, &again)?);
        Ok(taken)
    }
}
