//! Shares of traffic while a run acts: what the stream says they are now is told to load balancers.
//!
//! It is a level: after a crash the next controller reads the stream, and tells what it says. While the run itself
//! changes a fleet, its steps have the say, and nothing happens here.

use super::effects::Happened;
use super::environments::SHARE_RETRY;
use super::{Controller, Ended};
use crate::perform;
use crate::share::{Sharing, measured_text};
use serin_engine::environment::changes;
use serin_engine::{Input, Status, Withdrawal, decide};
use serin_journal::CommandId;
use serin_model::{Action, EnvironmentName, FleetName, Reason, StepId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// A fleet of an environment.
pub(super) type FleetKey = (EnvironmentName, FleetName);

/// What was told, is being told, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Shares {
    told: BTreeMap<FleetKey, u8>,
    telling: BTreeSet<FleetKey>,
    not_before: BTreeMap<FleetKey, Timestamp>,
    /// Commands whose canary is being looked at.
    looking: BTreeSet<CommandId>,
    /// Commands that are answered when the fleet's share was told.
    waiting: BTreeMap<FleetKey, Vec<CommandId>>,
}

impl Shares {
    /// Notes that the canary of a command is looked at; says whether that is news.
    pub(super) fn looks_at(&mut self, command: CommandId) -> bool {
        let waits = self.waiting.values().flatten().any(|waiting| *waiting == command);
        !waits && self.looking.insert(command)
    }

    pub(super) fn looked_at(&mut self, command: CommandId) {
        self.looking.remove(&command);
    }

    /// Has a share told again, and a command wait for it.
    pub(super) fn tell_anew(&mut self, fleet: FleetKey, command: CommandId) {
        self.told.remove(&fleet);
        self.not_before.remove(&fleet);
        self.waiting.entry(fleet).or_default().push(command);
    }

    /// Forgets what was told: HAProxy has forgotten it too, or the environment is another's.
    pub(super) fn forget(&mut self, environment: &EnvironmentName) {
        self.told.retain(|(of, _), _| of != environment);
        self.not_before.retain(|(of, _), _| of != environment);
    }
}

impl Controller {
    /// Starts telling the shares that are due, and returns when the next one changes.
    pub(super) fn start_shares(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut wake: Option<Timestamp> = None;
        let mut due = Vec::new();
        for (name, stream) in &self.streams {
            let fenced = self.run.environments.get(name).is_some_and(|e| e.unavailable.is_some());
            for (fleet, share) in &stream.state.shares {
                let key = (name.clone(), fleet.clone());
                if !fenced || self.shares.telling.contains(&key) || changes(&self.run, name, fleet)
                {
                    continue;
                }
                let percent = share.ramp.at(now);
                let waits = self.shares.not_before.get(&key).copied().filter(|at| *at > now);
                if self.shares.told.get(&key) != Some(&percent) && waits.is_none() {
                    due.push((key, percent));
                }
                let next = [share.ramp.next_change(now), waits];
                wake = next.into_iter().flatten().chain(wake).min();
            }
        }
        for (key, percent) in due {
            self.tell(key, percent);
        }
        wake
    }

    fn tell(&mut self, key: FleetKey, percent: u8) {
        let (name, fleet) = key.clone();
        let Some(environment) = self.plan.topology.environments.get(&name).cloned() else {
            return;
        };
        let (ports, fence) = (self.ports.clone(), self.fence(&name));
        let somebody_waits = self.shares.waiting.contains_key(&key);
        self.shares.telling.insert(key);
        self.tasks.spawn(async move {
            let sharing = Sharing { ports: &ports, environment: &environment, fleet: &fleet };
            let result = match sharing.set(fence, percent).await {
                Ok(told) => {
                    let parts: Vec<String> =
                        told.computed.iter().map(ToString::to_string).collect();
                    let mut text = format!(
                        "{name}/{fleet} is meant to get {percent}%; by weight {}",
                        parts.join(", ")
                    );
                    if somebody_waits && let Ok(measured) = sharing.measure().await {
                        text = format!("{text}; {}", measured_text(&measured));
                    }
                    Ok((told.changed, text))
                }
                Err(error) => Err(Reason::from(error)),
            };
            Happened::Shared { fleet: (name, fleet), percent, result }
        });
    }

    /// Takes in that a share was told, or why not, and answers whoever waits for it.
    pub(super) async fn shared(
        &mut self,
        key: FleetKey,
        percent: u8,
        result: Result<(bool, String), Reason>,
    ) -> Result<(), Ended> {
        self.shares.telling.remove(&key);
        let answer = match &result {
            Ok((changed, text)) => {
                self.shares.told.insert(key.clone(), percent);
                if *changed {
                    self.observer.told(text);
                }
                format!("accepted: {text}")
            }
            Err(reason) => {
                let at = self.ports.clock.now().plus(SHARE_RETRY);
                self.shares.not_before.insert(key.clone(), at);
                self.observer.trouble(&format!("the share of {}/{}: {reason}", key.0, key.1));
                format!("accepted, but not told yet: {reason}; it is tried again")
            }
        };
        for command in self.shares.waiting.remove(&key).unwrap_or_default() {
            self.answer(&key.0, command, &answer).await?;
        }
        Ok(())
    }

    /// Begins to take away the share that an exposure gave a fleet. A ramp that was on its way ends with that.
    pub(super) async fn withdraw(
        &mut self,
        name: EnvironmentName,
        fleet: FleetName,
    ) -> Result<(), Ended> {
        let Ok(events) = decide(&self.run, Input::Withdraw, self.ports.clock.now()) else {
            return Ok(());
        };
        self.record(events, &[]).await?;
        let why = match &self.run.status {
            Status::Halting(reason) => format!("it halts: {reason}"),
            Status::Running | Status::Halted(_) | Status::Finished | Status::Cancelled { .. } => {
                "it halts".to_owned()
            }
        };
        self.record_share((&name, &fleet), 0, &why).await?;
        let Some(environment) = self.plan.topology.environments.get(&name).cloned() else {
            return Ok(());
        };
        let attempt = self.run.withdrawal.as_ref().map_or(0, Withdrawal::attempts);
        let (ports, fence) = (self.ports.clone(), self.fence(&name));
        self.tasks.spawn(async move {
            let outcome = perform::withdraw(&ports, fence, &environment, &fleet).await;
            Happened::Withdrawn { attempt, outcome }
        });
        Ok(())
    }

    /// Tells whether a step sets a share that is being told at this moment: it waits, so that it has the last word.
    pub(super) fn is_telling(&self, step: &StepId) -> bool {
        self.run.find(step).is_some_and(|(stage, _, step)| {
            if let Action::SetShare { fleet, .. } = &step.action {
                self.is_told(&stage.environment, fleet)
            } else {
                false
            }
        })
    }

    /// Tells whether load balancers are told a fleet's share at this moment.
    pub(super) fn is_told(&self, name: &EnvironmentName, fleet: &FleetName) -> bool {
        self.shares.telling.contains(&(name.clone(), fleet.clone()))
    }
}
