//! What begins anew: a host that was put back unchanged, what a person resumes, an exposure whose share was taken away.

use super::{IllegalEvent, Run, Status};
use crate::steps::{Place, StepRecord};
use crate::transitions::{Arrow, Cause};
use serin_model::{Action, StepId};

impl Run {
    /// A host that went back into service without having been changed is as if it had never been taken out.
    pub(super) fn put_back(&mut self, place: Place) -> Result<Vec<Arrow>, IllegalEvent> {
        let Some((_, lane, ready)) = self.at(place) else { return Ok(Vec::new()) };
        if ready.action != Action::Ready {
            return Ok(Vec::new());
        }
        let known = self.steps.lane(place, lane, self.term);
        let is_back = self.steps.at(place).is_some_and(StepRecord::is_done);
        if !is_back || known.next().is_none() || known.is_changed() {
            return Ok(Vec::new());
        }
        let from_drain = lane.steps.iter().skip_while(|s| s.action != Action::Drain);
        let reset: Vec<StepId> = from_drain.map(|step| step.id.clone()).collect();
        self.reset(&reset, Cause::PutBack)
    }

    fn reset(&mut self, steps: &[StepId], cause: Cause) -> Result<Vec<Arrow>, IllegalEvent> {
        let mut taken = Vec::new();
        for id in steps {
            let Some(place) = self.steps.place(id) else { continue };
            taken.extend(self.steps.reset(place, cause, self.term)?);
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
        if let Some(place) = self.steps.place(first) {
            self.cursor = (place.stage, place.phase);
        }
        Ok(taken)
    }

    pub(super) fn resumed(&mut self) -> Result<Vec<Arrow>, IllegalEvent> {
        let mut taken = self.expose_anew()?;
        self.status = Status::Running;
        self.alerts.clear();
        taken.extend(self.steps.resumed(self.term)?);
        Ok(taken)
    }
}
