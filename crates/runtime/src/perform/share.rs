//! The share of traffic of a fleet: absolute weights of its servers in backends that it shares with others.

use super::{Act, Performed, Stop, already, done, stopped, unexpected};
use crate::ports::{Fence, Ports};
use serin_model::{
    BackendName, Environment, FleetName, LbName, LbObservation, LbServer, Reason, ServerName,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// HAProxy's greatest weight.
const GREATEST: u32 = 256;

/// For how long the share that the fleet really gets is measured: enough requests to tell a zero from a tenth, short
/// enough not to be waited for.
const MEASURED_FOR: Duration = Duration::from_secs(3);

type Weights = Vec<(BackendName, ServerName, u32)>;

pub(super) async fn set(act: &Act, fleet: &FleetName, percent: u8) -> Performed {
    let environment = act.environment()?;
    let mut shares = Vec::new();
    let mut changed = false;
    for name in lbs(environment, fleet) {
        let lb = environment.load_balancers.get(name);
        let Some(lb) = lb else { return unexpected("a load balancer of the plan", name.as_str()) };
        let seen = act.ports.load_balancers.observe(lb).await?;
        let wanted = weights(environment, fleet, name, &seen, percent)?;
        let current = |(backend, server, weight): &(BackendName, ServerName, u32)| {
            let key = (backend.clone(), server.clone());
            seen.servers.get(&key).is_some_and(|seen| seen.weight == *weight)
        };
        if !wanted.iter().all(current) {
            act.ports.load_balancers.set_weights(lb, act.fence, &wanted).await?;
            changed = true;
        }
        let seen = act.ports.load_balancers.observe(lb).await?;
        shares.extend(computed(environment, fleet, name, &seen));
    }
    let mut seen = format!("{fleet} is meant to get {percent}%; by weight {}", shares.join(", "));
    if percent > 0 {
        seen = format!("{seen}; {}", measured(act, environment, fleet).await?);
    }
    if changed { done(seen) } else { already(seen) }
}

/// Says which share of the requests of a few seconds the fleet really got, over all backends that it shares.
async fn measured(
    act: &Act,
    environment: &Environment,
    fleet: &FleetName,
) -> Result<String, Box<Stop>> {
    let before = sessions(act, environment, fleet).await?;
    let clock = &act.ports.clock;
    clock.sleep_until(clock.now().plus(MEASURED_FOR)).await;
    let after = sessions(act, environment, fleet).await?;
    // A reload in between starts the counters again.
    let own = after.0.saturating_sub(before.0);
    let all = own + after.1.saturating_sub(before.1);
    let time = MEASURED_FOR.as_secs();
    Ok(match (own * 1000).checked_div(all) {
        Some(tenths) => {
            format!("measured {}.{}% of {all} requests in {time} s", tenths / 10, tenths % 10)
        }
        None => format!("no request came in {time} s, so nothing is measured"),
    })
}

/// Counts the sessions so far on the fleet's own servers in shared backends, and on all others there.
async fn sessions(
    act: &Act,
    environment: &Environment,
    fleet: &FleetName,
) -> Result<(u64, u64), Box<Stop>> {
    let (mut own, mut others) = (0, 0);
    for name in lbs(environment, fleet) {
        let Some(lb) = environment.load_balancers.get(name) else { continue };
        let seen = act.ports.load_balancers.observe(lb).await?;
        let shared = own_servers(environment, fleet, name);
        for ((backend, server), found) in &seen.servers {
            match shared.get(backend) {
                Some(servers) if servers.iter().any(|known| known.server == *server) => {
                    own += found.total_sessions;
                }
                Some(_) => others += found.total_sessions,
                None => {}
            }
        }
    }
    Ok((own, others))
}

/// Tells HAProxy again that a fleet gets no shared traffic, after a reload made it forget.
///
/// # Errors
/// When a load balancer could not be told; the next reading shows whether it is still needed.
pub async fn zero(
    ports: &Ports,
    fence: Fence,
    environment: &Environment,
    fleet: &FleetName,
) -> Result<(), Reason> {
    for name in lbs(environment, fleet) {
        let Some(lb) = environment.load_balancers.get(name) else { continue };
        let servers = environment.shared_servers(fleet).into_iter().filter(|s| s.lb == *name);
        let weights: Weights = servers.map(|s| (s.backend.clone(), s.server.clone(), 0)).collect();
        let told = ports.load_balancers.set_weights(lb, fence, &weights).await;
        told.map_err(|error| match stopped(error) {
            Stop::Failed(reason) | Stop::Lost(reason) | Stop::Unknown(reason) => reason,
            Stop::Done(what) | Stop::AlreadyDone(what) => Reason::OutcomeUnknown(what),
        })?;
    }
    Ok(())
}

fn lbs<'a>(environment: &'a Environment, fleet: &FleetName) -> BTreeSet<&'a LbName> {
    environment.shared_servers(fleet).into_iter().map(|server| &server.lb).collect()
}

/// Computes the weight of each server of the fleet, from the servers of others that are live now.
fn weights(
    environment: &Environment,
    fleet: &FleetName,
    lb: &LbName,
    seen: &LbObservation,
    percent: u8,
) -> Result<Weights, Box<Stop>> {
    let mut weights = Weights::new();
    for (backend, own) in own_servers(environment, fleet, lb) {
        let weight = if percent == 0 {
            0
        } else {
            let (others, live) = sums(seen, backend, &own);
            if others == 0 || live == 0 {
                return unexpected(
                    format!("servers of {fleet} and of others that are UP in {lb}:{backend}"),
                    format!("{live} of {fleet}, weights of others {others}"),
                );
            }
            let (percent, rest) = (u32::from(percent), u32::from(100 - percent.min(99)));
            (others * percent).div_ceil(rest * live).clamp(1, GREATEST)
        };
        weights.extend(own.iter().map(|s| (s.backend.clone(), s.server.clone(), weight)));
    }
    Ok(weights)
}

fn own_servers<'a>(
    environment: &'a Environment,
    fleet: &FleetName,
    lb: &LbName,
) -> BTreeMap<&'a BackendName, Vec<&'a LbServer>> {
    let mut servers: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for server in environment.shared_servers(fleet).into_iter().filter(|s| s.lb == *lb) {
        servers.entry(&server.backend).or_default().push(server);
    }
    servers
}

/// Sums the weights of other fleets' live servers, and counts the fleet's own live ones.
fn sums(seen: &LbObservation, backend: &BackendName, own: &[&LbServer]) -> (u32, u32) {
    let is_own = |server: &ServerName| own.iter().any(|own| own.server == *server);
    let live = seen.servers.iter().filter(|((b, _), found)| b == backend && found.up);
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

/// Says which share of each backend the weights amount to.
fn computed(
    environment: &Environment,
    fleet: &FleetName,
    lb: &LbName,
    seen: &LbObservation,
) -> Vec<String> {
    let share = |(backend, own): (&BackendName, Vec<&LbServer>)| {
        let (others, _) = sums(seen, backend, &own);
        let key = |server: &LbServer| (server.backend.clone(), server.server.clone());
        let own: u32 = own
            .iter()
            .filter_map(|server| seen.servers.get(&key(server)))
            .filter(|found| found.up)
            .map(|found| found.weight)
            .sum();
        let tenths = (own * 1000).checked_div(own + others).unwrap_or_default();
        format!("{lb}:{backend} {}.{}%", tenths / 10, tenths % 10)
    };
    own_servers(environment, fleet, lb).into_iter().map(share).collect()
}
