//! Events change a run: the one place where its state does. Each change takes an arrow of [`crate::transitions::TABLE`].

use super::{Entered, IllegalEvent, Run, Status, StepState, illegal};
use crate::event::{Event, Outcome};
use crate::steps::{Place, StepRecord};
use crate::transitions::{Arrow, Cause, Machine, State, arrow};
use crate::withdrawal::Withdrawal;
use serin_model::{Action, EnvironmentName, HostName, Reason, StepId, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

impl Run {
    /// Brings the state up to date with an event: live and on replay. Returns the arrows that were taken: one for the
    /// run, and one for everything else that the event moved.
    ///
    /// # Errors
    /// When the event cannot follow those before it. The state is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<Vec<Arrow>, IllegalEvent> {
        let cause = Cause::of(event);
        let turn = arrow(Machine::Run, self.status.at(), cause)?;
        let mut taken = match event {
            Event::Started { .. } => return illegal("a run starts once".to_owned()),
            Event::Adopted { term, by } => self.adopted(*term, by)?,
            Event::EnvironmentEntered { environment, fence } => {
                let entered = Entered { fence: *fence, term: self.term, unavailable: None };
                vec![self.goes(environment, cause, Some(entered))?]
            }
            Event::FenceRaised { environment, fence, unavailable } => {
                vec![self.fence_raised(environment, *fence, unavailable)?]
            }
            Event::EnvironmentLeft { environment } => vec![self.left(environment)?],
            Event::AttemptStarted { step, attempt, term } => {
                vec![self.attempt_started(step, *attempt, *term)?]
            }
            Event::AttemptEnded { step, attempt, outcome, at } => {
                self.attempt_ended(step, *attempt, outcome, *at)?
            }
            // As far as the run is concerned nothing changed: telling HAProxy again is what follows.
            Event::DrainLost { .. } | Event::ShareLost { .. } => Vec::new(),
            Event::AlertsChanged { environment, verdict, since } => {
                let stays = self.stays(environment, cause)?;
                self.alerts.insert(environment.clone(), (verdict.clone(), *since));
                vec![stays]
            }
            Event::HeldChanged { environment, held } => {
                let stays = self.stays(environment, cause)?;
                self.held.insert(environment.clone(), held.clone());
                vec![stays]
            }
            Event::BakeProgressed { step, watched, sample } => {
                vec![self.bake_progressed(step, *watched, *sample)?]
            }
            Event::WithdrawalStarted { environment, fleet, attempt, term } => {
                vec![self.withdrawal_started((environment, fleet), *attempt, *term)?]
            }
            Event::WithdrawalEnded { attempt, outcome, at } => {
                vec![self.withdrawal_ended(*attempt, outcome, *at)?]
            }
            Event::HaltRequested { reason } => self.halt_requested(reason),
            Event::Halted => self.halted(),
            Event::Resumed { .. } => self.resumed()?,
            Event::Cancelled { by, why } => self.cancelled(by, why),
            Event::Finished => self.finished()?,
        };
        taken.push(turn.leading(self.status.at())?);
        Ok(taken)
    }

    fn adopted(&mut self, term: u64, by: &str) -> Result<Vec<Arrow>, IllegalEvent> {
        if term <= self.term {
            return illegal(format!("term {term} after term {}", self.term));
        }
        let cause = Cause::Adopted;
        let mut taken = Vec::new();
        for entered in self.environments.values() {
            let before = arrow(Machine::Environment, entered.at(self.term), cause)?;
            taken.push(before.leading(entered.at(term))?);
        }
        let in_flight = |state: &StepState| state.at(self.term) == State::InFlight;
        for state in self.steps.all().iter().map(StepRecord::state).filter(|s| in_flight(s)) {
            taken.push(arrow(Machine::Step, State::InFlight, cause)?.leading(state.at(term))?);
        }
        if let Some(known) = self.withdrawal.as_ref().filter(|known| in_flight(&known.state)) {
            let before = arrow(Machine::Withdrawal, State::InFlight, cause)?;
            taken.push(before.leading(known.state.at(term))?);
        }
        self.term = term;
        by.clone_into(&mut self.holder);
        // Nobody watched while nobody acted: a bake begins again, and alerts are read again. Times that another
        // machine's clock gave are nothing to wait for.
        self.alerts.clear();
        self.held.clear();
        self.withdrawal.iter_mut().for_each(Withdrawal::adopted);
        for record in self.steps.all_mut() {
            record.watched = Duration::ZERO;
            record.sample = None;
            record.lost_at = None;
            record.ended_at = None;
        }
        Ok(taken)
    }

    fn fence_raised(
        &mut self,
        environment: &EnvironmentName,
        fence: u64,
        unavailable: &BTreeMap<HostName, String>,
    ) -> Result<Arrow, IllegalEvent> {
        let known = self.environments.get(environment).filter(|entered| entered.fence == fence);
        let Some(known) = known else {
            return illegal(format!("fence {fence} is not {environment}'s"));
        };
        let entered = Entered { unavailable: Some(unavailable.clone()), ..known.clone() };
        self.goes(environment, Cause::FenceRaised, Some(entered))
    }

    fn left(&mut self, environment: &EnvironmentName) -> Result<Arrow, IllegalEvent> {
        let taken = self.goes(environment, Cause::EnvironmentLeft, None)?;
        self.alerts.remove(environment);
        self.held.remove(environment);
        Ok(taken)
    }

    /// Goes further into an environment, or out of it.
    fn goes(
        &mut self,
        environment: &EnvironmentName,
        cause: Cause,
        to: Option<Entered>,
    ) -> Result<Arrow, IllegalEvent> {
        let at = to.as_ref().map_or(State::Free, |entered| entered.at(self.term));
        let taken = arrow(Machine::Environment, self.is_in(environment), cause)?.leading(at)?;
        match to {
            Some(entered) => self.environments.insert(environment.clone(), entered),
            None => self.environments.remove(environment),
        };
        Ok(taken)
    }

    fn stays(&self, environment: &EnvironmentName, cause: Cause) -> Result<Arrow, IllegalEvent> {
        let here = self.is_in(environment);
        arrow(Machine::Environment, here, cause)?.leading(here)
    }

    fn place(&self, step: &StepId) -> Result<(Place, &StepRecord), IllegalEvent> {
        let place = self.steps.place(step);
        let found = place.and_then(|place| Some((place, self.steps.at(place)?)));
        found.ok_or_else(|| IllegalEvent(format!("the plan has no step {step}")))
    }

    fn attempt_started(
        &mut self,
        step: &StepId,
        attempt: u32,
        term: u64,
    ) -> Result<Arrow, IllegalEvent> {
        let (place, known) = self.place(step)?;
        if term != self.term {
            return illegal(format!("{step} was started under term {term}, not {}", self.term));
        }
        if attempt != known.attempts + 1 {
            return illegal(format!("attempt {attempt} of {step} after {}", known.attempts));
        }
        let may_begin = self.at(place).is_some_and(|(_, lane, found)| {
            let lane = self.steps.lane(place, lane, term);
            let puts_back =
                found.action == Action::Ready && lane.holds_slot() && !lane.is_changed();
            puts_back || lane.is_turn_of(step)
        });
        if (place.stage, place.phase) != self.cursor || !may_begin {
            return illegal(format!("{step} was started before its turn"));
        }
        let started = (StepState::Started { term }, term);
        let (taken, record) = self.steps.goes(place, Cause::AttemptStarted, started)?;
        record.attempts = attempt;
        record.began = true;
        // A bake that failed begins again: what was watched before the bad reading does not count.
        record.watched = Duration::ZERO;
        record.sample = None;
        Ok(taken)
    }

    fn attempt_ended(
        &mut self,
        step: &StepId,
        attempt: u32,
        outcome: &Outcome,
        at: Timestamp,
    ) -> Result<Vec<Arrow>, IllegalEvent> {
        let (place, known) = self.place(step)?;
        if attempt != known.attempts {
            return illegal(format!("attempt {attempt} of {step} ended, not {}", known.attempts));
        }
        let to = match outcome {
            Outcome::Done(seen) | Outcome::AlreadyDone(seen) => StepState::Done(seen.clone()),
            Outcome::Failed(reason) => StepState::Failed(reason.clone()),
            Outcome::Lost(reason) => StepState::Lost(reason.clone()),
            Outcome::Unknown(reason) => StepState::Unknown(reason.clone()),
        };
        let cause = Cause::of_outcome(outcome);
        let (taken, record) = self.steps.goes(place, cause, (to, self.term))?;
        let lost = matches!(outcome, Outcome::Lost(_));
        record.lost = if lost { record.lost + 1 } else { 0 };
        record.lost_at = lost.then_some(at);
        record.ended_at = Some(at);
        record.settled_at = if lost { record.settled_at } else { Some(at) };
        let put_back = self.put_back(place)?;
        self.advance();
        Ok([taken].into_iter().chain(put_back).collect())
    }

    fn bake_progressed(
        &mut self,
        step: &StepId,
        watched: Duration,
        sample: Option<Timestamp>,
    ) -> Result<Arrow, IllegalEvent> {
        let (place, known) = self.place(step)?;
        let same = (known.state().clone(), self.term);
        let (taken, record) = self.steps.goes(place, Cause::BakeProgressed, same)?;
        record.watched = watched;
        record.sample = sample;
        Ok(taken)
    }

    /// A halt is never downgraded: the first reason stays.
    fn halt_requested(&mut self, reason: &Reason) -> Vec<Arrow> {
        if self.status == Status::Running {
            self.status = Status::Halting(reason.clone());
        }
        Vec::new()
    }

    fn halted(&mut self) -> Vec<Arrow> {
        if let Status::Halting(reason) = &self.status {
            self.status = Status::Halted(reason.clone());
        }
        Vec::new()
    }

    fn cancelled(&mut self, by: &str, why: &str) -> Vec<Arrow> {
        self.status = Status::Cancelled { by: by.to_owned(), why: why.to_owned() };
        Vec::new()
    }

    fn finished(&mut self) -> Result<Vec<Arrow>, IllegalEvent> {
        if self.current().is_some() {
            return illegal("finished with steps that are not done".to_owned());
        }
        self.status = Status::Finished;
        Ok(Vec::new())
    }
}
