//! Starting effects: each becomes a task whose end is something that happened.

use super::shares::FleetKey;
use super::{Controller, Ended, RETRY, lost};
use crate::environment::EnvironmentRequest;
use crate::perform::{self, Act, perform};
use crate::ports::{AlertReading, Fence, HostRun, PortError, Ports};
use serin_engine::environment::{Canary, Refused};
use serin_engine::{Effect, Event, Input, Mode, Outcome, Status, Watch, decide, is_watch};
use serin_journal::{AppendError, ClaimChange, CommandId, Lease, LeaseRefused, Scope};
use serin_model::{
    Action, BakeWatch, Environment, EnvironmentName, HostName, LbName, LbObservation, Reason,
    StepId,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The end of a task.
pub(super) enum Happened {
    Entered(EnvironmentName, Result<Lease, LeaseRefused>),
    TimeToRetry(Effect),
    Fenced {
        environment: EnvironmentName,
        fence: u64,
        result: Result<BTreeMap<HostName, String>, Reason>,
    },
    Ended {
        step: StepId,
        attempt: u32,
        outcome: Outcome,
    },
    Reasserted(Effect, Result<(), Reason>),
    Canary {
        environment: EnvironmentName,
        command: CommandId,
        request: EnvironmentRequest,
        canary: Result<Canary, Refused>,
    },
    Shared {
        fleet: FleetKey,
        percent: u8,
        result: Result<(bool, String), Reason>,
    },
    Withdrawn {
        attempt: u32,
        outcome: Outcome,
    },
    Alerts(Watch, AlertReading),
    LoadBalancers(Watch, Vec<(LbName, HostName, Result<LbObservation, PortError>)>),
}

impl Controller {
    /// Begins an effect: its record first, then the effect.
    pub(super) async fn begin(&mut self, effect: Effect) -> Result<(), Ended> {
        match &effect {
            Effect::Enter(_) => return self.enter_in_turn(effect).await,
            Effect::RaiseFence(environment) => self.raise_fence(environment.clone()),
            Effect::Leave(environment) => return self.leave(environment.clone()).await,
            Effect::Act { step, mode } if !self.is_telling(step) => {
                return self.act(step.clone(), *mode).await;
            }
            Effect::Withdraw { environment, fleet } if !self.is_told(environment, fleet) => {
                return self.withdraw(environment.clone(), fleet.clone()).await;
            }
            Effect::Act { .. } | Effect::Withdraw { .. } => self.retry_later(effect.clone()),
            Effect::Redrain { environment, host, servers } => {
                let (host, servers) = (host.clone(), servers.clone());
                self.input(Input::DrainLost { host: host.clone(), servers }).await?;
                self.reassert(effect.clone(), environment.clone(), Some(host));
            }
            Effect::Reweigh { environment, fleet, servers } => {
                let lost = Input::ShareLost { fleet: fleet.clone(), servers: servers.clone() };
                self.input(lost).await?;
                self.reassert(effect.clone(), environment.clone(), None);
            }
        }
        self.busy.insert(effect);
        Ok(())
    }

    pub(super) fn enter(&mut self, environment: EnvironmentName) {
        let (journal, settings) = (Arc::clone(&self.journal), self.settings.clone());
        self.tasks.spawn(async move {
            let scope = Scope::Environment(environment.clone());
            let lease = journal.take_lease(&scope, &settings.holder, settings.ttl).await;
            Happened::Entered(environment, lease)
        });
    }

    /// Records that an environment was entered, together with its claim.
    pub(super) async fn entered(
        &mut self,
        environment: EnvironmentName,
        lease: Result<Lease, LeaseRefused>,
    ) -> Result<(), Ended> {
        let effect = Effect::Enter(environment.clone());
        let lease = match lease {
            Ok(lease) => lease,
            Err(LeaseRefused::Held { scope, holder }) => {
                // Whoever acts there may do so for a run that keeps the environment: waiting for the lease would then
                // end with a plan that is no longer true.
                let claims = self.journal.claims().await.map_err(|error| lost(error.into()))?;
                if let Some(run) = claims.get(&environment).filter(|run| **run != self.id) {
                    let reason = Reason::Claimed { environment, run: run.clone() };
                    return self.claimed(effect, reason).await;
                }
                self.observer.trouble(&format!("{holder} acts for {scope}; waiting"));
                self.retry_later(effect);
                return Ok(());
            }
            Err(LeaseRefused::Journal(error)) => return Err(Ended::Journal(error.into())),
        };
        let fence = lease.epoch;
        self.environments.insert(environment.clone(), lease.clone());
        let entered = Event::EnvironmentEntered { environment: environment.clone(), fence };
        let claim = [ClaimChange::Take(environment.clone())];
        match self.record(vec![entered], &claim).await {
            Ok(()) => {
                self.busy.remove(&effect);
                // What was seen belongs to the environment before.
                self.view.load_balancers.clear();
                self.open_stream(&environment).await
            }
            Err(Ended::Journal(AppendError::Claimed { environment, run })) => {
                self.environments.remove(&environment);
                if let Err(error) = self.journal.release_lease(&lease).await {
                    return Err(Ended::Journal(error.into()));
                }
                self.claimed(effect, Reason::Claimed { environment, run }).await
            }
            Err(ended) => Err(ended),
        }
    }

    /// The environment belongs to another run: one that has not begun gives way, one in the middle waits, and so does
    /// one that goes on where another was in the middle.
    async fn claimed(&mut self, effect: Effect, reason: Reason) -> Result<(), Ended> {
        let begun = self.run.plan.steps().any(|(_, _, step)| self.run.attempts(&step.id) > 0);
        let queue = self.run.plan.queue.as_ref();
        if begun || queue.is_some_and(|queue| queue.first.is_some()) {
            self.observer.trouble(&format!("{reason}; waiting until it is free"));
            self.retry_later(effect);
            return Ok(());
        }
        self.busy.remove(&effect);
        self.input(Input::Problem(reason)).await
    }

    pub(super) fn retry_later(&mut self, effect: Effect) {
        self.retry_after(effect, RETRY);
    }

    pub(super) fn retry_after(&mut self, effect: Effect, wait: Duration) {
        let clock = Arc::clone(&self.ports.clock);
        self.tasks.spawn(async move {
            clock.sleep_until(clock.now().plus(wait)).await;
            Happened::TimeToRetry(effect)
        });
    }

    fn raise_fence(&mut self, name: EnvironmentName) {
        let (ports, fence) = (self.ports.clone(), self.fence(&name));
        let environment = self.plan.topology.environments.get(&name).cloned();
        self.tasks.spawn(async move {
            let result = match environment {
                Some(environment) => raise(&ports, &environment, fence).await,
                None => Ok(BTreeMap::new()),
            };
            Happened::Fenced { environment: name, fence: fence.0, result }
        });
    }

    async fn leave(&mut self, environment: EnvironmentName) -> Result<(), Ended> {
        let release = [ClaimChange::Release(environment.clone())];
        let left = Event::EnvironmentLeft { environment: environment.clone() };
        self.record(vec![left], &release).await?;
        self.streams.remove(&environment);
        self.shares.forget(&environment);
        if let Some(lease) = self.environments.remove(&environment) {
            let released = self.journal.release_lease(&lease).await;
            released.map_err(|error| Ended::Journal(error.into()))?;
        }
        Ok(())
    }

    async fn act(&mut self, step: StepId, mode: Mode) -> Result<(), Ended> {
        let now = self.ports.clock.now();
        // One effect may have made another obsolete: the engine has the last word.
        let Ok(events) = decide(&self.run, Input::Begin { step: step.clone() }, now) else {
            return Ok(());
        };
        self.record(events, &[]).await?;
        let Some((stage, _, found)) = self.run.find(&step) else { return Ok(()) };
        if is_watch(&found.action) {
            // It waits for a reading that began after it did: the next one is due now.
            self.next_watch.retain(|watch, _| !matches!(watch, Watch::Alerts(..)));
            return Ok(());
        }
        if let Action::Bake { duration, watch: BakeWatch::Afterwards } = &found.action {
            let (environment, duration) = (stage.environment.clone(), *duration);
            self.look_back(step, environment, duration);
            return Ok(());
        }
        if let Action::SetShare { fleet, percent } = &found.action {
            let (name, fleet, percent) = (stage.environment.clone(), fleet.clone(), *percent);
            self.record_share((&name, &fleet), percent, "a step of its plan").await?;
        }
        let Some((stage, lane, found)) = self.run.find(&step) else { return Ok(()) };
        let act = Act {
            ports: self.ports.clone(),
            plan: Arc::clone(&self.plan),
            run: HostRun { id: self.id.clone(), made: self.made },
            environment: stage.environment.clone(),
            subject: lane.subject.clone(),
            step: found.clone(),
            attempt: self.run.attempts(&step),
            mode,
            changed: self.run.is_changed(lane),
            straight: matches!(self.run.status, Status::Halting(_)),
            drained: lane.steps.iter().any(|step| step.action == Action::Drain),
            fence: self.fence(&stage.environment),
        };
        self.tasks.spawn(async move {
            let outcome = perform(&act).await;
            Happened::Ended { step: act.step.id, attempt: act.attempt, outcome }
        });
        Ok(())
    }

    fn reassert(&mut self, effect: Effect, name: EnvironmentName, host: Option<HostName>) {
        let (ports, fence) = (self.ports.clone(), self.fence(&name));
        let plan = Arc::clone(&self.plan);
        self.tasks.spawn(async move {
            let environment = plan.topology.environments.get(&name);
            let result = match (environment, &effect) {
                (Some(environment), Effect::Reweigh { fleet, .. }) => {
                    perform::reweigh(&ports, fence, environment, fleet).await
                }
                (Some(environment), _) => {
                    match host.and_then(|host| plan.topology.host(&name, &host)) {
                        Some(host) => perform::redrain(&ports, fence, environment, host).await,
                        None => Ok(()),
                    }
                }
                (None, _) => Ok(()),
            };
            Happened::Reasserted(effect, result)
        });
    }

    /// Starts a reading.
    pub(super) fn watch(&mut self, watch: Watch) {
        self.watching.insert(watch.clone());
        let ports = self.ports.clone();
        let (Watch::Alerts(name, _) | Watch::LoadBalancers(name, _)) = &watch;
        let environment = self.plan.topology.environments.get(name).cloned();
        match watch {
            Watch::Alerts(..) => {
                let source = environment.and_then(|environment| environment.alerts);
                self.tasks.spawn(async move {
                    let reading = match source {
                        Some(source) => ports.alerts.read(&source).await,
                        // The plan's report has said that nothing watches here.
                        None => AlertReading::default(),
                    };
                    Happened::Alerts(watch, reading)
                });
            }
            Watch::LoadBalancers(..) => {
                let lbs = environment.map(|environment| environment.load_balancers);
                self.tasks.spawn(async move {
                    let mut readings = JoinSet::new();
                    for lb in lbs.into_iter().flat_map(BTreeMap::into_values) {
                        let ports = ports.clone();
                        readings.spawn(async move {
                            let seen = ports.load_balancers.observe(&lb).await;
                            (lb.name, lb.host, seen)
                        });
                    }
                    Happened::LoadBalancers(watch, readings.join_all().await)
                });
            }
        }
    }
}

/// Raises the fence everywhere, and returns where that failed.
///
/// A load balancer without the fence could still be told what to do by a controller that is gone: that is an error. A
/// host without it counts as unavailable.
async fn raise(
    ports: &Ports,
    environment: &Environment,
    fence: Fence,
) -> Result<BTreeMap<HostName, String>, Reason> {
    let mut hosts = JoinSet::new();
    for (_, host) in environment.hosts() {
        let (ports, host) = (ports.clone(), host.name.clone());
        hosts.spawn(async move {
            let raised = ports.hosts.raise_fence(&host, fence).await;
            (host, raised)
        });
    }
    let mut lbs = JoinSet::new();
    for lb in environment.load_balancers.values() {
        let (ports, lb) = (ports.clone(), lb.clone());
        lbs.spawn(async move { ports.load_balancers.raise_fence(&lb, fence).await });
    }
    let lbs = lbs.join_all().await;
    let mut unavailable = BTreeMap::new();
    for (host, raised) in hosts.join_all().await {
        match raised {
            Ok(()) => {}
            Err(error @ PortError::Fenced { .. }) => return Err(error.into()),
            Err(error) => drop(unavailable.insert(host, error.to_string())),
        }
    }
    lbs.into_iter().collect::<Result<Vec<()>, PortError>>()?;
    Ok(unavailable)
}
