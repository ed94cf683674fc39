//! The share of traffic of a fleet: absolute weights of its servers in backends that it shares with others.
//!
//! What is computed here is what steps of a run, commands of people and `serin drift` have in common. Weights come
//! from the servers that could take traffic now: ready, UP and no backup. What a share *should* be is not decided here.

use crate::ports::{Fence, PortError, Ports};
use serin_engine::environment::{Canary, Refused};
use serin_model::{
    BackendName, Environment, FleetName, LbName, LbObservation, LbServer, LoadBalancer, Reason,
    ServerKind, ServerName, ServerObservation,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// HAProxy's greatest weight.
const GREATEST: u32 = 256;

/// For how long the share that a fleet really gets is measured: enough requests to tell a zero from a tenth, short
/// enough not to be waited for.
pub const MEASURED_FOR: Duration = Duration::from_secs(3);

/// How often weights are told anew when reading back shows others: a reload in between forgets them.
const TOLD_AGAIN: u32 = 2;

/// `balance` by which HAProxy takes no weights, or does not heed them. A hash of the request takes them only with
/// `hash-type consistent`, which HAProxy does not tell: it refuses such a weight itself.
const WEIGHTLESS: [&str; 2] = ["static-rr", "first"];

/// Absolute weights of servers of one load balancer.
pub type Weights = Vec<(BackendName, ServerName, u32)>;

/// Why a share could not be read or set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// A load balancer did not do as it was asked.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The world is not fit for it.
    #[error("{0}")]
    Unfit(Reason),
}

impl From<ShareError> for Reason {
    fn from(error: ShareError) -> Self {
        match error {
            ShareError::Port(error) => error.into(),
            ShareError::Unfit(reason) => reason,
        }
    }
}

/// A fleet of an environment, whose share of traffic is looked at or set.
#[derive(Clone, Copy)]
pub struct Sharing<'a> {
    /// The ports.
    pub ports: &'a Ports,
    /// The environment.
    pub environment: &'a Environment,
    /// The fleet.
    pub fleet: &'a FleetName,
}

/// What a fleet has in one backend of one load balancer: weights, or requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The load balancer.
    pub lb: LbName,
    /// The backend.
    pub backend: BackendName,
    /// Of the fleet's own servers.
    pub own: u64,
    /// Of all servers there.
    pub all: u64,
}

/// What came of setting a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whether a load balancer had other weights.
    pub changed: bool,
    /// What the weights amount to now.
    pub computed: Vec<Part>,
}

impl Part {
    /// Returns the share in tenths of a percent; `None`: of nothing there is no share.
    pub fn tenths(&self) -> Option<u64> {
        (self.own * 1000).checked_div(self.all)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.tenths().unwrap_or_default();
        write!(f, "{}:{} {}.{}%", self.lb, self.backend, tenths / 10, tenths % 10)
    }
}

/// Adds up parts over all backends and load balancers.
pub fn total(parts: &[Part]) -> (u64, u64) {
    parts.iter().fold((0, 0), |(own, all), part| (own + part.own, all + part.all))
}

/// Shows the share that was measured over all backends.
pub fn measured_text(parts: &[Part]) -> String {
    let (own, all) = total(parts);
    let time = MEASURED_FOR.as_secs();
    match (own * 1000).checked_div(all) {
        Some(tenths) => {
            format!("measured {}.{}% of {all} requests in {time} s", tenths / 10, tenths % 10)
        }
        None => format!("no request came in {time} s, so nothing is measured"),
    }
}

impl<'a> Sharing<'a> {
    /// Gives the fleet a share: computes weights from what is live, tells them, and reads them back.
    ///
    /// # Errors
    /// When a load balancer does not answer or refuses, or has no live servers to compute from.
    pub async fn set(self, fence: Fence, percent: u8) -> Result<Told, ShareError> {
        let mut told = Told { changed: false, computed: Vec::new() };
        for lb in self.lbs()? {
            self.tell(lb, (fence, percent), &mut told).await?;
        }
        Ok(told)
    }

    /// Takes the fleet's share away on every load balancer, whatever the others say.
    ///
    /// # Errors
    /// With what stands in the way on each of them that still may give it one.
    pub async fn withdraw(self, fence: Fence) -> Result<Told, Vec<ShareError>> {
        let mut told = Told { changed: false, computed: Vec::new() };
        let mut failed = Vec::new();
        for lb in self.lbs().map_err(|error| vec![error])? {
            failed.extend(self.tell(lb, (fence, 0), &mut told).await.err());
        }
        if failed.is_empty() { Ok(told) } else { Err(failed) }
    }

    async fn tell(
        self,
        lb: &LoadBalancer,
        (fence, percent): (Fence, u8),
        told: &mut Told,
    ) -> Result<(), ShareError> {
        let mut seen = self.ports.load_balancers.observe(lb).await?;
        let wanted = self.weights(lb, &seen, percent)?;
        let mut tries = 0;
        while let Some(found) = differing(&wanted, &seen) {
            if tries > TOLD_AGAIN {
                return Err(ShareError::Unfit(found));
            }
            self.ports.load_balancers.set_weights(lb, fence, &wanted).await?;
            told.changed = true;
            tries += 1;
            seen = self.ports.load_balancers.observe(lb).await?;
        }
        told.computed.extend(self.computed(lb, &seen));
        Ok(())
    }

    /// Tells HAProxy again that the fleet gets no shared traffic, after a reload made it forget.
    ///
    /// # Errors
    /// When a load balancer could not be told; the next reading shows whether it is still needed.
    pub async fn zero(self, fence: Fence) -> Result<(), ShareError> {
        for lb in self.lbs()? {
            let servers = self.environment.shared_servers(self.fleet).into_iter();
            let servers = servers.filter(|server| server.lb == lb.name);
            let weights: Weights =
                servers.map(|s| (s.backend.clone(), s.server.clone(), 0)).collect();
            self.ports.load_balancers.set_weights(lb, fence, &weights).await?;
        }
        Ok(())
    }

    /// Says what the weights amount to, by load balancer and backend.
    ///
    /// # Errors
    /// When a load balancer does not answer.
    pub async fn look(self) -> Result<Vec<Part>, ShareError> {
        let mut parts = Vec::new();
        for lb in self.lbs()? {
            let seen = self.ports.load_balancers.observe(lb).await?;
            parts.extend(self.computed(lb, &seen));
        }
        Ok(parts)
    }

    /// Measures for a few seconds which requests the fleet's own servers get, by load balancer and backend.
    ///
    /// # Errors
    /// When a load balancer does not answer.
    pub async fn measure(self) -> Result<Vec<Part>, ShareError> {
        let before = self.requests().await?;
        let clock = &self.ports.clock;
        clock.sleep_until(clock.now().plus(MEASURED_FOR)).await;
        let after = self.requests().await?;
        let difference = |(before, after): (Part, Part)| {
            // A reload in between starts the counters again.
            let own = after.own.saturating_sub(before.own);
            let others = (after.all - after.own).saturating_sub(before.all - before.own);
            Part { own, all: own + others, ..after }
        };
        Ok(before.into_iter().zip(after).map(difference).collect())
    }

    /// Looks whether the fleet is a canary that could be given a share.
    ///
    /// # Errors
    /// With why it could not.
    pub async fn canary(self, percent: u32) -> Result<Canary, Refused> {
        if percent > 100 {
            return Err(Refused::TooMuch(percent));
        }
        let fleet = || self.fleet.clone();
        let known = self.environment.fleets.get(self.fleet);
        let known = known.ok_or_else(|| Refused::NoSuchFleet(fleet()))?;
        if known.share_after.is_none() {
            return Err(Refused::NotACanary(fleet()));
        }
        if self.environment.shared_servers(self.fleet).is_empty() {
            return Err(Refused::SharesNothing(fleet()));
        }
        let unreadable = |error: ShareError| Refused::Unreadable(error.into());
        let (mut parts, mut weightless, mut empty) = (Vec::new(), Vec::new(), Vec::new());
        for lb in self.lbs().map_err(unreadable)? {
            let seen = self.ports.load_balancers.observe(lb).await;
            let seen = seen.map_err(|error| Refused::Unreadable(error.into()))?;
            for (backend, own) in self.own_servers(&lb.name) {
                let (_, live) = sums(&seen, backend, &own);
                if live == 0 {
                    empty.push(format!("{}:{backend}", lb.name));
                }
                if let Some(balance) = seen.balance.get(backend)
                    && WEIGHTLESS.contains(&balance.as_str())
                {
                    weightless.push(format!("{}:{backend} (balance {balance})", lb.name));
                }
            }
            parts.extend(self.computed(lb, &seen));
        }
        if !weightless.is_empty() {
            return Err(Refused::Weightless { backends: weightless.join(", ") });
        }
        // Zero takes traffic away, which is right whoever is there.
        if percent > 0 && !empty.is_empty() {
            return Err(Refused::NobodyUp { fleet: fleet(), backends: empty.join(", ") });
        }
        let (own, all) = total(&parts);
        let now = (own * 100 + all / 2).checked_div(all).unwrap_or_default();
        Ok(Canary { percent: u8::try_from(now).unwrap_or(u8::MAX) })
    }

    /// Returns the load balancers on which the fleet shares a backend with another.
    ///
    /// # Errors
    /// When the topology has a server on a load balancer that it does not have.
    pub fn lbs(self) -> Result<Vec<&'a LoadBalancer>, ShareError> {
        let shared = self.environment.shared_servers(self.fleet);
        let names: BTreeSet<&LbName> = shared.into_iter().map(|server| &server.lb).collect();
        let lb = |name: &LbName| {
            self.environment.load_balancers.get(name).ok_or_else(|| {
                let expected = "a load balancer of the topology".to_owned();
                ShareError::Unfit(Reason::Unexpected { expected, found: name.to_string() })
            })
        };
        names.into_iter().map(lb).collect()
    }

    /// Computes the weight of each server of the fleet, from the servers of others that are live now.
    ///
    /// # Errors
    /// When there is nobody to compute from.
    pub fn weights(
        self,
        lb: &LoadBalancer,
        seen: &LbObservation,
        percent: u8,
    ) -> Result<Weights, ShareError> {
        let mut weights = Weights::new();
        for (backend, own) in self.own_servers(&lb.name) {
            let (others, live) = sums(seen, backend, &own);
            let weight = if percent == 0 {
                let serves = |server: &&LbServer| {
                    let found = server_of(seen, backend, &server.server);
                    found.is_some_and(|found| is_live(found) && found.weight > 0)
                };
                // Who is left alone in a backend would leave its users with nobody.
                if others == 0 && own.iter().any(serves) {
                    let (fleet, lb) = (self.fleet, &lb.name);
                    return Err(ShareError::Unfit(Reason::Unexpected {
                        expected: format!(
                            "a server of another fleet that is UP in {lb}:{backend} before {fleet} gets nothing"
                        ),
                        found: "none".to_owned(),
                    }));
                }
                0
            } else {
                // A fleet that is alone gets everything, whatever its weight: the weight is for when the others are UP again.
                let others = if others == 0 { weight_of_all(seen, backend, &own) } else { others };
                if others == 0 || live == 0 {
                    let (fleet, lb) = (self.fleet, &lb.name);
                    return Err(ShareError::Unfit(Reason::Unexpected {
                        expected: format!(
                            "servers of {fleet} that are UP, and others with a weight, in {lb}:{backend}"
                        ),
                        found: format!("{live} of {fleet}, weights of others {others}"),
                    }));
                }
                let (percent, rest) = (u32::from(percent), u32::from(100 - percent.min(99)));
                (others * percent).div_ceil(rest * live).clamp(1, GREATEST)
            };
            weights.extend(own.iter().map(|s| (s.backend.clone(), s.server.clone(), weight)));
        }
        Ok(weights)
    }

    fn computed(self, lb: &LoadBalancer, seen: &LbObservation) -> Vec<Part> {
        let part = |(backend, own): (&BackendName, Vec<&LbServer>)| {
            let (others, _) = sums(seen, backend, &own);
            let found = own.iter().filter_map(|server| server_of(seen, backend, &server.server));
            let own: u32 = found.filter(|found| is_live(found)).map(|found| found.weight).sum();
            let (own, all) = (u64::from(own), u64::from(own) + u64::from(others));
            Part { lb: lb.name.clone(), backend: backend.clone(), own, all }
        };
        self.own_servers(&lb.name).into_iter().map(part).collect()
    }

    /// Counts the sessions so far, by load balancer and backend.
    async fn requests(self) -> Result<Vec<Part>, ShareError> {
        let mut parts = Vec::new();
        for lb in self.lbs()? {
            let seen = self.ports.load_balancers.observe(lb).await?;
            for (backend, servers) in self.own_servers(&lb.name) {
                let (mut own, mut all) = (0, 0);
                for ((_, server), found) in seen.servers.iter().filter(|((b, _), _)| b == backend) {
                    all += found.total_sessions;
                    if servers.iter().any(|known| known.server == *server) {
                        own += found.total_sessions;
                    }
                }
                parts.push(Part { lb: lb.name.clone(), backend: backend.clone(), own, all });
            }
        }
        Ok(parts)
    }

    fn own_servers(self, lb: &LbName) -> BTreeMap<&'a BackendName, Vec<&'a LbServer>> {
        let mut servers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for server in self.environment.shared_servers(self.fleet) {
            if server.lb == *lb {
                servers.entry(&server.backend).or_default().push(server);
            }
        }
        servers
    }
}

/// Returns the first server whose weight is another than is wanted.
pub fn differing(wanted: &Weights, seen: &LbObservation) -> Option<Reason> {
    wanted.iter().find_map(|(backend, server, weight)| {
        let found = server_of(seen, backend, server).map(|found| found.weight);
        (found != Some(*weight)).then(|| Reason::Unexpected {
            expected: format!("{backend}/{server} with weight {weight}"),
            found: found.map_or("no such server".to_owned(), |found| format!("weight {found}")),
        })
    })
}

fn server_of<'a>(
    seen: &'a LbObservation,
    backend: &BackendName,
    server: &ServerName,
) -> Option<&'a ServerObservation> {
    seen.servers.get(&(backend.clone(), server.clone()))
}

/// Tells whether a server takes part in balancing: a backup does only when nobody else is left.
fn is_live(found: &ServerObservation) -> bool {
    found.up && found.kind == ServerKind::Active
}

/// Sums the weights of other fleets' servers, whether or not they are UP: maintenance keeps them.
fn weight_of_all(seen: &LbObservation, backend: &BackendName, own: &[&LbServer]) -> u32 {
    let counts = |((b, server), found): &(&(BackendName, ServerName), &ServerObservation)| {
        b == backend
            && found.kind == ServerKind::Active
            && !own.iter().any(|own| own.server == *server)
    };
    seen.servers.iter().filter(counts).map(|(_, found)| found.weight).sum()
}

/// Sums the weights of other fleets' live servers, and counts the fleet's own live ones.
fn sums(seen: &LbObservation, backend: &BackendName, own: &[&LbServer]) -> (u32, u32) {
    let is_own = |server: &ServerName| own.iter().any(|own| own.server == *server);
    let live = seen.servers.iter().filter(|((b, _), found)| b == backend && is_live(found));
    let (mut others, mut count) = (0, 0);
    for ((_, server), found) in live {
        if is_own(server) {
            count += 1;
        } else {
            others += found.weight;
        }
    }
    (others, count)
}
