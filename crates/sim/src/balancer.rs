//! Load balancers of the pretend world: admin states, weights, checks, sessions, and reloads that forget.
//!
//! What real ones do and this imitates: a reload starts a worker that knows only its configuration and sends traffic to
//! every server until its first check, which only a reading tells from one that has passed; the old worker leaves with its sessions; a server in maintenance is not
//! checked and shows the result of before.

use crate::faults::Trouble;
use crate::installation::Setting;
use crate::seeds::Planted;
use crate::world::{Happening, World};
use serin_model::{
    AdminState, BackendName, Environment, HostName, LbName, LbObservation, LoadBalancer,
    ServerKind, ServerName, ServerObservation, Timestamp, Workers,
};
use serin_runtime::ports::{Fence, PortError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Sessions of a server that takes traffic.
const BUSY: u32 = 3;

/// The weight that the configuration gives every server.
const CONFIGURED: u32 = 100;

/// A load balancer.
#[derive(Debug)]
pub(crate) struct Balancer {
    pub(crate) environment: serin_model::EnvironmentName,
    pub(crate) name: LbName,
    pub(crate) servers: BTreeMap<(BackendName, ServerName), Server>,
    pub(crate) fence: u64,
    pub(crate) cut_until: Timestamp,
    pub(crate) reloaded: Option<Timestamp>,
    worker: u64,
    counted: Timestamp,
    /// A server that takes traffic has a new session so often.
    session_every: Duration,
    leaving_until: Timestamp,
    leaving: BTreeMap<(BackendName, ServerName), u32>,
}

/// A server of a backend.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) host: HostName,
    pub(crate) admin: AdminState,
    pub(crate) weight: u32,
    pub(crate) healthy: bool,
    /// When a check last found it down.
    pub(crate) fell: Option<Timestamp>,
    /// Whether this worker has checked it.
    checked: bool,
    busy_until: Timestamp,
    /// The sessions that were counted since the worker began.
    total: u64,
}

/// A change that a controller asks of servers.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Admin(AdminState),
    Weight(u32),
    Cut,
}

impl Server {
    pub(crate) fn is_up(&self) -> bool {
        self.admin == AdminState::Ready && self.healthy
    }

    fn sessions(&self, now: Timestamp) -> u32 {
        if self.is_up() { BUSY } else { u32::from(now < self.busy_until) }
    }
}

impl Balancer {
    pub(crate) fn new(environment: &Environment, lb: &LoadBalancer, setting: &Setting) -> Self {
        let mut servers = BTreeMap::new();
        for (_, host) in environment.hosts() {
            for server in host.servers.iter().filter(|server| server.lb == lb.name) {
                let key = (server.backend.clone(), server.server.clone());
                let fresh = Server {
                    host: host.name.clone(),
                    admin: AdminState::Ready,
                    weight: CONFIGURED,
                    healthy: true,
                    fell: None,
                    total: 0,
                    checked: true,
                    busy_until: Timestamp::from_millis(0),
                };
                servers.insert(key, fresh);
            }
        }
        Self {
            environment: environment.name.clone(),
            name: lb.name.clone(),
            servers,
            fence: 0,
            cut_until: Timestamp::from_millis(0),
            reloaded: None,
            worker: 1,
            counted: setting.begin,
            session_every: setting.session_every,
            leaving_until: Timestamp::from_millis(0),
            leaving: BTreeMap::new(),
        }
    }

    /// Counts the sessions that came since the last look.
    fn count(&mut self, now: Timestamp) {
        let millis = now.since(self.counted).as_millis();
        self.counted = now;
        let came = millis / self.session_every.as_millis().max(1);
        let came = u64::try_from(came).unwrap_or(u64::MAX);
        for server in self.servers.values_mut().filter(|s| s.is_up() && s.weight > 0) {
            server.total += came;
        }
    }

    fn observe(&self, now: Timestamp, observed_at: Timestamp) -> LbObservation {
        let leaving = now < self.leaving_until;
        // As if a change of health were a change of worker: only what follows a reload matters to anybody.
        let steady = now.since(self.reloaded.unwrap_or(Timestamp::from_millis(0)));
        let servers = self.servers.iter().map(|(key, server)| {
            let seen = ServerObservation {
                admin: server.admin,
                up: server.is_up() && server.checked,
                healthy: server.healthy && server.checked,
                status: match (server.admin, server.healthy) {
                    (AdminState::Maintenance, _) => "MAINT",
                    (_, false) => "DOWN",
                    (AdminState::Drain, true) => "DRAIN",
                    (AdminState::Ready, true) => "UP",
                }
                .to_owned(),
                sessions: server.sessions(now),
                queued: 0,
                weight: server.weight,
                initial_weight: CONFIGURED,
                total_sessions: server.total,
                address: server.host.to_string(),
                agent: false,
                kind: ServerKind::Active,
                last_change_ms: u64::try_from(steady.as_millis()).unwrap_or(u64::MAX),
            };
            (key.clone(), seen)
        });
        LbObservation {
            observed_at,
            worker: self.worker.to_string(),
            servers: servers.collect(),
            balance: BTreeMap::new(),
            leaving: Workers {
                count: u32::from(leaving),
                sessions: if leaving { self.leaving.clone() } else { BTreeMap::new() },
            },
        }
    }
}

impl World {
    fn balancer(&mut self, host: &HostName) -> Result<&mut Balancer, PortError> {
        let now = self.now;
        let unreachable =
            || PortError::Unreachable { host: host.clone(), why: "no route".to_owned() };
        match self.balancers.get_mut(host) {
            Some(balancer) if balancer.cut_until <= now => Ok(balancer),
            Some(_) | None => Err(unreachable()),
        }
    }

    pub(crate) fn observe_balancer(
        &mut self,
        host: &HostName,
        began: Timestamp,
    ) -> Result<LbObservation, PortError> {
        let now = self.now;
        let balancer = self.balancer(host)?;
        balancer.count(now);
        Ok(balancer.observe(now, began))
    }

    /// Checks a fence against the one that a load balancer has seen, and remembers a larger one.
    pub(crate) fn pass_balancer(&mut self, host: &HostName, fence: Fence) -> Result<(), PortError> {
        let balancer = self.balancer(host)?;
        if fence.0 < balancer.fence {
            let by = balancer.fence;
            self.note("fence", &format!("{host} refuses fence {}: has seen {by}", fence.0));
            return Err(PortError::Fenced { by });
        }
        balancer.fence = fence.0;
        Ok(())
    }

    /// Changes servers as a controller asks.
    pub(crate) fn change_servers(
        &mut self,
        host: &HostName,
        fence: Fence,
        changes: &[((BackendName, ServerName), Change)],
        trouble: Option<Trouble>,
    ) -> Result<(), PortError> {
        self.pass_balancer(host, fence)?;
        if trouble == Some(Trouble::Fails) {
            return Err(PortError::Refused("No such server.".to_owned()));
        }
        for (key, change) in changes {
            let name = format!("{host} {}/{} {change:?}", key.0, key.1);
            self.note(&format!("fence {}", fence.0), &name);
            self.check_change(host, key, change, fence);
            self.change(host, key, change);
        }
        Ok(())
    }

    /// Returns what is asked of a load balancer where a bug is planted in who asks.
    pub(crate) fn mistaken(
        &self,
        lb: &HostName,
        mut changes: Vec<((BackendName, ServerName), Change)>,
    ) -> Vec<((BackendName, ServerName), Change)> {
        let Some(balancer) = self.balancers.get(lb) else { return changes };
        let host = |key: &(BackendName, ServerName)| balancer.servers.get(key).map(|s| &s.host);
        if self.planted == Some(Planted::TellsOthers) {
            let told: BTreeSet<_> =
                changes.iter().filter_map(|(key, _)| host(key).cloned()).collect();
            let other = balancer.servers.iter().find(|(_, server)| !told.contains(&server.host));
            let change = changes.first().map(|(_, change)| change.clone());
            let more = other.zip(change).map(|((key, _), change)| (key.clone(), change));
            changes.extend(more);
        }
        if self.planted == Some(Planted::ForgetsToRedrain) {
            let again =
                |host: &HostName| self.ledger.all().any(|pages| pages.redrains(host, self.now));
            changes.retain(|(key, change)| {
                let drains = matches!(change, Change::Admin(AdminState::Drain));
                !drains || !host(key).is_some_and(again)
            });
        }
        changes
    }

    fn change(&mut self, host: &HostName, key: &(BackendName, ServerName), change: &Change) {
        let linger = self.latencies.sessions.draw(&mut self.random);
        let first_check = self.random.millis(100, 1_900);
        let now = self.now;
        let Some(server) =
            self.balancers.get_mut(host).and_then(|balancer| balancer.servers.get_mut(key))
        else {
            return;
        };
        match change {
            Change::Admin(state) => {
                if server.is_up() && *state != AdminState::Ready {
                    server.busy_until = now.plus(linger);
                }
                server.admin = *state;
                let of = server.host.clone();
                self.schedule(first_check, Happening::Checked { host: of });
            }
            Change::Weight(weight) => server.weight = *weight,
            Change::Cut => server.busy_until = now,
        }
    }

    /// HAProxy's checks of a host have run on every load balancer.
    pub(crate) fn checked(&mut self, host: &HostName) {
        let now = self.now;
        let healthy = self.hosts.get(host).is_some_and(|machine| machine.is_healthy(now));
        for balancer in self.balancers.values_mut() {
            let of_host = balancer.servers.values_mut().filter(|server| server.host == *host);
            for server in of_host.filter(|server| server.admin != AdminState::Maintenance) {
                if server.healthy && !healthy {
                    server.fell = Some(now);
                }
                server.healthy = healthy;
                server.checked = true;
            }
        }
    }

    pub(crate) fn reload(&mut self, host: &HostName) {
        let leaves = self.random.millis(500, 6_000);
        let now = self.now;
        let Some(balancer) = self.balancers.get_mut(host) else { return };
        balancer.leaving = balancer
            .servers
            .iter()
            .map(|(key, server)| (key.clone(), server.sessions(now)))
            .filter(|(_, sessions)| *sessions > 0)
            .collect();
        balancer.leaving_until = now.plus(leaves);
        balancer.worker += 1;
        balancer.reloaded = Some(now);
        let mut hosts = Vec::new();
        for server in balancer.servers.values_mut() {
            server.admin = AdminState::Ready;
            server.weight = CONFIGURED;
            server.healthy = true;
            server.checked = false;
            server.busy_until = now;
            server.total = 0;
            hosts.push(server.host.clone());
        }
        for host in hosts {
            let first_check = self.random.millis(100, 1_900);
            self.schedule(first_check, Happening::Checked { host });
        }
    }
}
