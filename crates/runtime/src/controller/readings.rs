//! Reading alerts and load balancers again and again, and taking in what was read.

use super::{Controller, Ended, LB_UNREADABLE_FOR};
use crate::alerts::{Tolerated, judge};
use crate::ports::{AlertReading, PortError};
use serin_engine::{Input, Watch};
use serin_model::{EnvironmentName, HostName, LbName, LbObservation, Reason, Subject, Timestamp};
use std::collections::BTreeSet;

impl Controller {
    /// Starts the readings whose time has come, and returns when the next one is due.
    pub(super) fn start_watches(&mut self, watches: &[Watch], now: Timestamp) -> Option<Timestamp> {
        let mut wake = None;
        for watch in watches {
            if self.watching.contains(watch) {
                continue;
            }
            let at = self.next_watch.get(watch).copied().unwrap_or(now);
            if at <= now {
                self.watch(watch.clone());
            } else {
                wake = Some(wake.map_or(at, |earlier: Timestamp| earlier.min(at)));
            }
        }
        wake
    }

    pub(super) async fn alerts(
        &mut self,
        watch: Watch,
        reading: &AlertReading,
    ) -> Result<(), Ended> {
        let environment = self.watched(watch);
        let alerts = self.plan.tolerated.get(&environment);
        let tolerated = Tolerated { alerts, back: self.plan.back.as_ref() };
        let judged = judge(reading, &self.out(), tolerated);
        if !judged.attributed.is_empty() {
            self.observer.attributed(&judged.attributed);
        }
        self.input(Input::Alerts { environment, verdict: judged.verdict }).await
    }

    /// Takes a finished watch off the list, and notes when it is due again.
    pub(super) fn watched(&mut self, watch: Watch) -> EnvironmentName {
        let now = self.ports.clock.now();
        let (environment, every) = match &watch {
            Watch::Alerts(environment, every) | Watch::LoadBalancers(environment, every) => {
                (environment.clone(), *every)
            }
        };
        self.watching.remove(&watch);
        self.next_watch.insert(watch, now.plus(every));
        environment
    }

    /// Returns the names and addresses of the hosts that the run has out of service.
    pub(super) fn out(&self) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        for lane in self.run.slots() {
            let Subject::Host(host) = &lane.subject else { continue };
            out.insert(host.to_string());
            out.insert(host.first_label().to_owned());
            let known = self
                .run
                .current()
                .and_then(|(stage, _, _)| self.plan.topology.host(&stage.environment, host));
            for server in known.into_iter().flat_map(|host| &host.servers) {
                let key = (server.backend.clone(), server.server.clone());
                let seen = self.view.load_balancers.get(&server.lb);
                out.extend(seen.and_then(|lb| lb.servers.get(&key)).map(|s| s.address.clone()));
            }
        }
        out
    }

    pub(super) async fn load_balancers(
        &mut self,
        watch: Watch,
        readings: Vec<(LbName, HostName, Result<LbObservation, PortError>)>,
    ) -> Result<(), Ended> {
        let environment = self.watched(watch);
        let now = self.ports.clock.now();
        for (lb, host, reading) in readings {
            match reading {
                Ok(seen) => {
                    self.unreadable.remove(&lb);
                    let before = self.view.load_balancers.get(&lb);
                    if before.is_some_and(|before| before.worker != seen.worker) {
                        // A reload has forgotten every weight.
                        self.shares.forget(&environment);
                    }
                    self.view.load_balancers.insert(lb, seen);
                }
                Err(error) => {
                    let since = *self.unreadable.entry(lb).or_insert(now);
                    let problem = unreadable(host, error);
                    if now.since(since) >= LB_UNREADABLE_FOR {
                        self.input(Input::Problem(problem)).await?;
                    } else {
                        self.observer.trouble(&problem.to_string());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Says why a load balancer cannot be read, naming it once.
fn unreadable(host: HostName, error: PortError) -> Reason {
    match error {
        error @ PortError::Unreachable { .. } => error.into(),
        error @ (PortError::Fenced { .. } | PortError::Refused(_) | PortError::Garbled(_)) => {
            Reason::Unreachable { host, why: error.to_string() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_balancer_that_cannot_be_read_is_named_once() {
        let host: HostName = "lb-01.gstg".parse().unwrap();
        let why = || "its socket is silent".to_owned();
        let lost = PortError::Unreachable { host: host.clone(), why: why() };
        let told = "lb-01.gstg cannot be reached: its socket is silent";
        assert_eq!(unreadable(host.clone(), lost).to_string(), told);
        assert_eq!(unreadable(host, PortError::Refused(why())).to_string(), told);
    }
}
