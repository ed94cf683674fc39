//! Waiting for an environment: asked before it is entered, and again and again until the run's turn has come.

use super::environments::unreadable;
use super::{Controller, Ended};
use serin_engine::queue::{Turn, turn};
use serin_engine::{Effect, Input};
use serin_model::{EnvironmentName, Reason};
use std::time::Duration;

/// How often a run that waits for others looks what they do: it reads all of them, and waits for an hour or a day.
const POLL: Duration = Duration::from_secs(10);

impl Controller {
    /// Enters an environment, if it is the run's turn. An environment that it has already stays its own.
    pub(super) async fn enter_in_turn(&mut self, effect: Effect) -> Result<(), Ended> {
        let Effect::Enter(environment) = &effect else { return Ok(()) };
        let environment = environment.clone();
        match self.turn_in(&environment).await? {
            Turn::Enter => self.enter(environment),
            Turn::Wait(busy) => {
                self.observer.trouble(&format!("{busy}; waiting before {environment}"));
                self.retry_after(effect.clone(), POLL);
            }
            Turn::GiveWay(by) => {
                return self.input(Input::Problem(Reason::Superseded { by })).await;
            }
            Turn::Outdated(by) => {
                return self.input(Input::Problem(Reason::Outdated { environment, by })).await;
            }
        }
        self.busy.insert(effect);
        Ok(())
    }

    async fn turn_in(&mut self, environment: &EnvironmentName) -> Result<Turn, Ended> {
        if self.run.plan.queue.is_none() || self.run.environments.contains_key(environment) {
            return Ok(Turn::Enter);
        }
        let runs = self.runs.read(self.journal.as_ref()).await.map_err(unreadable)?;
        Ok(turn((&self.id, &self.run), environment, &runs, self.ports.clock.now()))
    }
}
