//! Exposure: real traffic reaches a fleet until enough requests came and alerts have had time to fire.
//!
//! It judges nothing: alerts are watched meanwhile by the engine, and stop the run. It only sees to it that there was
//! something to watch. Interrupted, it begins again: what nobody watched proves nothing.

use super::{Act, Performed, Stop, done, failed, unexpected};
use serin_model::{BackendName, FleetName, LbName, Reason, ServerName};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the counters of load balancers are read.
const POLL: Duration = Duration::from_secs(2);

/// The worker that counted, and its count.
type Counters = BTreeMap<(LbName, BackendName, ServerName), (String, u64)>;

pub(super) async fn expose(
    act: &Act,
    fleet: &FleetName,
    wanted: u64,
    (watch, deadline): (Duration, Duration),
) -> Performed {
    let clock = &act.ports.clock;
    let began = clock.now();
    let mut known = counters(act, fleet).await?;
    let mut seen = 0;
    loop {
        let now = clock.now();
        let watched = now.since(began);
        if seen >= wanted && watched >= watch {
            return done(format!("{seen} requests reached {fleet} in {} s", watched.as_secs()));
        }
        if watched >= deadline {
            return failed(Reason::TooFewRequests {
                fleet: fleet.clone(),
                seen,
                wanted,
                after: deadline,
            });
        }
        clock.sleep_until(now.plus(POLL)).await;
        let counted = counters(act, fleet).await?;
        seen += more(&known, &counted);
        known = counted;
    }
}

/// Counts what came since the last reading; a worker that was reloaded in between counts from zero.
fn more(before: &Counters, after: &Counters) -> u64 {
    let of = |(key, (worker, count)): (&_, &(String, u64))| match before.get(key) {
        Some((known, earlier)) if known == worker => count.saturating_sub(*earlier),
        Some(_) | None => *count,
    };
    after.iter().map(of).sum()
}

/// Reads the counters of every server of the fleet, its own backends included.
async fn counters(act: &Act, fleet: &FleetName) -> Result<Counters, Box<Stop>> {
    let environment = act.environment()?;
    let Some(hosts) = environment.fleets.get(fleet).map(|fleet| &fleet.hosts) else {
        return unexpected("a fleet of the plan", fleet.as_str());
    };
    let mut counters = Counters::new();
    for lb in environment.load_balancers.values() {
        let seen = act.ports.load_balancers.observe(lb).await?;
        for server in hosts.values().flat_map(|host| &host.servers).filter(|s| s.lb == lb.name) {
            let key = (server.backend.clone(), server.server.clone());
            if let Some(found) = seen.servers.get(&key) {
                let key = (lb.name.clone(), key.0, key.1);
                counters.insert(key, (seen.worker.clone(), found.total_sessions));
            }
        }
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(worker: &str, count: u64) -> Counters {
        let key = ("lb".parse().unwrap(), "web".parse().unwrap(), "web-01".parse().unwrap());
        [(key, (worker.to_owned(), count))].into()
    }

    #[test]
    fn a_reload_starts_the_count_again_and_loses_nothing_of_what_was_seen() {
        assert_eq!(more(&counter("1", 10), &counter("1", 15)), 5);
        assert_eq!(more(&counter("1", 10), &counter("2", 15)), 15);
        assert_eq!(more(&counter("1", 10), &counter("2", 3)), 3);
        assert_eq!(more(&Counters::new(), &counter("1", 7)), 7);
    }
}
