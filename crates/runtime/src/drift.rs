//! Drift: what load balancers have, compared with what was intended.
//!
//! Intended are the shares of the environment's stream, and that every server takes traffic whose host no run has out
//! of service. What a run is changing at this moment is not compared. Putting right goes the way of a run: a server
//! comes back from maintenance by way of drain, after a fresh check.

use crate::ports::{Fence, PortError, Ports};
use crate::share::{ShareError, Sharing};
use serin_engine::EnvironmentState;
use serin_model::{
    AdminState, BackendName, Environment, FleetName, HostName, LbName, LbObservation, LbServer,
    Reason, ServerName, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// How long a server must look healthy before it takes traffic again: HAProxy shows the last check of before
/// maintenance until a new one has run, and runs one every 2 s unless it is told otherwise.
const FRESH_CHECK: Duration = Duration::from_secs(3);

/// How long a server may take to become healthy.
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);

/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(250);

/// What is intended in an environment, besides its shares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intended {
    /// Hosts that a run has out of service: their servers must not be ready.
    pub out: BTreeSet<HostName>,
    /// Hosts of which nothing is said: a run is changing them, or left them half changed.
    pub unsaid: BTreeSet<HostName>,
    /// Fleets whose share is not compared: a run is changing them.
    pub changing: BTreeSet<FleetName>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A fleet's servers have other weights than its share makes.
    Share {
        /// The fleet.
        fleet: FleetName,
        /// The share that it is meant to get.
        percent: u8,
        /// What differs, server by server.
        servers: Vec<String>,
    },
    /// A server takes no traffic, and no run wants that.
    NotReady {
        /// The server.
        server: LbServer,
        /// What HAProxy was told.
        found: AdminState,
    },
    /// A server takes traffic although a run has its host out of service.
    Ready {
        /// The server.
        server: LbServer,
        /// The host.
        host: HostName,
    },
    /// A load balancer or a share could not be compared.
    Unknown {
        /// What.
        what: String,
        /// Why.
        why: Reason,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share { fleet, percent, servers } => {
                write!(f, "{fleet} is meant to get {percent}%: {}", servers.join(", "))
            }
            Self::NotReady { server, found } => {
                write!(f, "{server} is told {found}, and no run has its host out of service")
            }
            Self::Ready { server, host } => {
                write!(f, "{server} takes traffic although a run has {host} out of service")
            }
            Self::Unknown { what, why } => write!(f, "{what} could not be compared: {why}"),
        }
    }
}

/// An environment whose load balancers are compared.
#[derive(Clone, Copy)]
pub struct Comparing<'a> {
    /// The ports.
    pub ports: &'a Ports,
    /// The environment.
    pub environment: &'a Environment,
    /// Its state.
    pub state: &'a EnvironmentState,
    /// What is intended besides.
    pub intended: &'a Intended,
}

impl Comparing<'_> {
    /// Returns everything that differs.
    pub async fn differences(self, now: Timestamp) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut seen = BTreeMap::new();
        for (name, lb) in &self.environment.load_balancers {
            match self.ports.load_balancers.observe(lb).await {
                Ok(observation) => drop(seen.insert(name.clone(), observation)),
                Err(why) => {
                    let (what, why) = (name.to_string(), why.into());
                    differences.push(Difference::Unknown { what, why });
                }
            }
        }
        differences.extend(self.states(&seen));
        for (fleet, share) in &self.state.shares {
            if !self.intended.changing.contains(fleet) {
                differences.extend(self.share(fleet, share.ramp.at(now), &seen));
            }
        }
        differences
    }

    fn states(self, seen: &BTreeMap<LbName, LbObservation>) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (_, host) in self.environment.hosts() {
            if self.intended.unsaid.contains(&host.name) {
                continue;
            }
            let out = self.intended.out.contains(&host.name);
            for server in &host.servers {
                let Some(found) = admin(seen, server) else { continue };
                match (out, found) {
                    (false, AdminState::Drain | AdminState::Maintenance) => {
                        differences.push(Difference::NotReady { server: server.clone(), found });
                    }
                    (true, AdminState::Ready) => {
                        let (server, host) = (server.clone(), host.name.clone());
                        differences.push(Difference::Ready { server, host });
                    }
                    (false, AdminState::Ready)
                    | (true, AdminState::Drain | AdminState::Maintenance) => {}
                }
            }
        }
        differences
    }

    fn share(
        self,
        fleet: &FleetName,
        percent: u8,
        seen: &BTreeMap<LbName, LbObservation>,
    ) -> Option<Difference> {
        let sharing = self.sharing(fleet);
        let unknown = |why: ShareError| Difference::Unknown {
            what: format!("the share of {fleet}"),
            why: why.into(),
        };
        let mut servers = Vec::new();
        for lb in sharing.lbs().ok()? {
            let Some(observation) = seen.get(&lb.name) else { continue };
            match sharing.weights(lb, observation, percent) {
                Ok(wanted) => servers.extend(
                    wanted
                        .iter()
                        .filter_map(|wanted| weight(observation, wanted))
                        .map(|text| format!("{}:{text}", lb.name)),
                ),
                Err(why) => return Some(unknown(why)),
            }
        }
        let fleet = fleet.clone();
        (!servers.is_empty()).then_some(Difference::Share { fleet, percent, servers })
    }

    fn sharing<'b>(&'b self, fleet: &'b FleetName) -> Sharing<'b> {
        Sharing { ports: self.ports, environment: self.environment, fleet }
    }

    /// Puts differences right, and returns what could not be.
    pub async fn fix(self, fence: Fence, differences: &[Difference]) -> Vec<Reason> {
        let mut failed = Vec::new();
        for difference in differences {
            let fixed = match difference {
                Difference::Share { .. } | Difference::Unknown { .. } => Ok(()),
                Difference::NotReady { server, found } => self.ready(fence, server, *found).await,
                Difference::Ready { server, .. } => {
                    self.told(fence, server, AdminState::Drain).await
                }
            };
            failed.extend(fixed.err());
        }
        // Weights come last: they are computed from the servers that take traffic.
        for difference in differences {
            if let Difference::Share { fleet, percent, .. } = difference {
                let set = self.sharing(fleet).set(fence, *percent).await;
                failed.extend(set.err().map(Reason::from));
            }
        }
        failed
    }

    /// Puts a server back, once its check has passed for a while; one that does not become healthy stays drained.
    async fn ready(self, fence: Fence, server: &LbServer, found: AdminState) -> Result<(), Reason> {
        if found == AdminState::Maintenance {
            self.told(fence, server, AdminState::Drain).await?;
        }
        let clock = &self.ports.clock;
        let (began, mut since) = (clock.now(), None);
        loop {
            let healthy = self.look(server).await?.1;
            let now = clock.now();
            since = if healthy { since.or(Some(now)) } else { None };
            if since.is_some_and(|since: Timestamp| now.since(since) >= FRESH_CHECK) {
                return self.told(fence, server, AdminState::Ready).await;
            }
            if now.since(began) > HEALTHY_WITHIN {
                let expected = format!("{server} to be healthy before it takes traffic");
                return Err(Reason::Unexpected { expected, found: "it is not".to_owned() });
            }
            clock.sleep_until(now.plus(POLL)).await;
        }
    }

    /// Tells a server's state, and reads it back.
    async fn told(self, fence: Fence, server: &LbServer, state: AdminState) -> Result<(), Reason> {
        let lb = self.lb(server)?;
        let key = [(server.backend.clone(), server.server.clone())];
        self.ports.load_balancers.set_admin(lb, fence, &key, state).await?;
        let (found, _) = self.look(server).await?;
        if found == state {
            return Ok(());
        }
        let expected = format!("{server} to be told {state}");
        Err(Reason::Unexpected { expected, found: found.to_string() })
    }

    /// Reads what a server was told, and whether it is healthy.
    async fn look(self, server: &LbServer) -> Result<(AdminState, bool), Reason> {
        let seen = self.ports.load_balancers.observe(self.lb(server)?).await;
        let seen = seen.map_err(|error: PortError| Reason::from(error))?;
        let key = (server.backend.clone(), server.server.clone());
        let found = seen.servers.get(&key).map(|found| (found.admin, found.healthy));
        found.ok_or_else(|| Reason::Unexpected {
            expected: server.to_string(),
            found: "no such server".to_owned(),
        })
    }

    fn lb(&self, server: &LbServer) -> Result<&serin_model::LoadBalancer, Reason> {
        self.environment.load_balancers.get(&server.lb).ok_or_else(|| Reason::Unexpected {
            expected: "a load balancer of the topology".to_owned(),
            found: server.lb.to_string(),
        })
    }
}

fn admin(seen: &BTreeMap<LbName, LbObservation>, server: &LbServer) -> Option<AdminState> {
    let key = (server.backend.clone(), server.server.clone());
    seen.get(&server.lb).and_then(|lb| lb.servers.get(&key)).map(|found| found.admin)
}

fn weight(
    seen: &LbObservation,
    (backend, server, wanted): &(BackendName, ServerName, u32),
) -> Option<String> {
    let found = seen.servers.get(&(backend.clone(), server.clone())).map(|found| found.weight);
    match found {
        Some(found) if found == *wanted => None,
        Some(found) => Some(format!("{backend}/{server} has weight {found}, not {wanted}")),
        None => Some(format!("{backend}/{server} does not exist")),
    }
}
