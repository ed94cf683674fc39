//! Bakes that nobody has watched: judged when they are over, by what was recorded of the whole of them.

use super::Controller;
use super::effects::Happened;
use crate::alerts::{Tolerated, judge};
use crate::ports::AlertReading;
use serin_engine::Outcome;
use serin_model::{EnvironmentName, StepId, Verdict, verdict::seconds};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long after the end it is asked: what was evaluated in the last moment is stored by then, and clocks of two machines
/// are seldom further apart.
const LATER: Duration = Duration::from_secs(5);

impl Controller {
    /// Waits for the end of a bake that began with the end of the work before it, and asks what was recorded.
    pub(super) fn look_back(&mut self, step: StepId, name: EnvironmentName, duration: Duration) {
        let (ports, plan) = (self.ports.clone(), Arc::clone(&self.plan));
        let attempt = self.run.attempts(&step);
        let from = self.run.baked_since(&step).unwrap_or_else(|| ports.clock.now());
        let to = from.plus(duration);
        self.tasks.spawn(async move {
            ports.clock.sleep_until(to.plus(LATER)).await;
            let environment = plan.topology.environments.get(&name);
            let reading = match environment.and_then(|environment| environment.alerts.as_ref()) {
                Some(source) => ports.alerts.read_back(source, from, to).await,
                None => AlertReading {
                    firing: Vec::new(),
                    doubts: vec!["nothing watches here".to_owned()],
                },
            };
            let alerts = plan.tolerated.get(&name);
            let tolerated = Tolerated { alerts, back: plan.back.as_ref() };
            let outcome = match judge(&reading, &BTreeSet::new(), tolerated).verdict {
                Verdict::Pass => Outcome::Done(format!(
                    "checked afterwards: nothing fired for {}",
                    seconds(duration)
                )),
                Verdict::Fail(reason) => Outcome::Failed(reason),
                // Whoever could not be asked is asked again; what was not recorded stays so, and then it has failed.
                Verdict::Inconclusive(reason) => Outcome::Lost(reason),
            };
            Happened::Ended { step, attempt, outcome }
        });
    }
}
