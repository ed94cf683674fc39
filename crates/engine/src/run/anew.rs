//! What begins anew: a host that was put back unchanged, what a person resumes, an exposure whose share was taken away.

use super::{IllegalEvent, Run, Status, StepState};
use crate::transitions::{Arrow, Cause};
use serin_model::{Action, StepId};

impl Run {
    /// A host that went back into service without having been changed is as if it had never been taken out.
    pub(super) fn put_back(&mut self, step: &StepId) -> Result<Vec<Arrow>, IllegalEvent> {
        let Some((_, lane, ready)) = self.find(step) else { return Ok(Vec::new()) };
        let complete = self.next(lane).is_none();
        if ready.action != Action::Ready || !self.is_done(step) || complete || self.is_changed(lane)
        {
            return Ok(Vec::new());
        }
        let from_drain = lane.steps.iter().skip_while(|s| s.action != Action::Drain);
        let reset: Vec<StepId> = from_drain.map(|step| step.id.clone()).collect();
        self.reset(&reset, Cause::PutBack)
    }

    fn reset(&mut self, steps: &[StepId], cause: Cause) -> Result<Vec<Arrow>, IllegalEvent> {
        let mut taken = Vec::new();
        for id in steps {
            let Some(record) = self.steps.get_mut(id) else { continue };
            record.began = false;
            if *record.state() != StepState::Pending {
                taken.push(record.goes(cause, StepState::Pending, self.term)?);
            }
        }
        Ok(taken)
    }

    /// Has an exposure begin anew, and goes back to the phase of the first of these steps: the one way back there is.
    pub(crate) fn begin_anew(
        &mut self,
        first: &StepId,
        steps: &[StepId],
    ) -> Result<Vec<Arrow>, IllegalEvent> {
        let taken = self.reset(steps, Cause::ExposedAnew)?;
        if let Some(place) = self.steps.index.get(first) {
            self.cursor = (place.stage, place.phase);
        }
        Ok(taken)
    }

    pub(super) fn resumed(&mut self) -> Result<Vec<Arrow>, IllegalEvent> {
        let mut taken = self.expose_anew()?;
        self.status = Status::Running;
        self.alerts.clear();
        for record in &mut self.steps.records {
            record.lost = 0;
            let to = match record.state() {
                StepState::Failed(_) => StepState::Pending,
                // Still in doubt: it is looked at again before anything is done.
                StepState::Unknown(reason) => StepState::Lost(reason.clone()),
                StepState::Pending
                | StepState::Started { .. }
                | StepState::Lost(_)
                | StepState::Done(_) => continue,
            };
            taken.push(record.goes(Cause::Resumed, to, self.term)?);
        }
        Ok(taken)
    }
}
