//! Traffic to a host: drained with evidence, and put back only after a fresh check.

use super::{
    Act, Performed, Stop, already, done, failed, filled, package, service, stopped, unexpected,
};
use crate::ports::{Fence, Ports, Work};
use serin_model::{
    AdminState, AtDeadline, BackendName, Environment, Host, LbName, LbObservation, LoadBalancer,
    Quiet, Reason, Role, ServerName, Timestamp,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often load balancers are asked while a host is drained or put back.
const POLL: Duration = Duration::from_millis(150);

/// How long a server must look healthy after maintenance before the look counts: HAProxy shows the last check of
/// before until a new one has run, and runs one every 2 s unless it is told otherwise.
const FRESH_CHECK: Duration = Duration::from_secs(2);

/// How long HAProxy may take to show what it was told.
const TOLD: Duration = Duration::from_secs(10);

type Servers<'a> = BTreeMap<&'a LbName, Vec<(BackendName, ServerName)>>;

fn by_lb(host: &Host) -> Servers<'_> {
    let mut servers = Servers::new();
    for server in &host.servers {
        let of_lb = servers.entry(&server.lb).or_default();
        of_lb.push((server.backend.clone(), server.server.clone()));
    }
    servers
}

fn lb<'a>(environment: &'a Environment, name: &LbName) -> Result<&'a LoadBalancer, Box<Stop>> {
    let lb = environment.load_balancers.get(name);
    lb.map_or_else(|| unexpected("a load balancer of the plan", name.as_str()), Ok)
}

pub(super) async fn drain(act: &Act) -> Performed {
    let host = act.host()?;
    let roles = act.roles()?;
    let mut quieted = Vec::new();
    for role in &roles {
        quieted.extend(quiet(act, role).await?);
    }
    if host.servers.is_empty() {
        return done(if quieted.is_empty() {
            "has no servers".to_owned()
        } else {
            quieted.join(", ")
        });
    }
    let seen = empty(act, host, &roles).await?;
    set(act, host, AdminState::Maintenance).await?;
    done([seen].into_iter().chain(quieted).collect::<Vec<_>>().join(", "))
}

/// Has a role without servers take no more work, and waits until it is idle.
async fn quiet(act: &Act, role: &Role) -> Result<Option<String>, Box<Stop>> {
    let Quiet::StopFetching { stop, idle, deadline, then } = &role.quiet else { return Ok(None) };
    let host = &act.host()?.name;
    let stop = filled(stop, &[])?;
    act.job(Work::command(stop), *deadline).await?;
    let what = format!("the work on {host} to end");
    let waited = act
        .until(&what, *deadline, Duration::from_millis(500), || async {
            Ok(act.read(host, idle).await?.status == 0)
        })
        .await;
    match (waited, then) {
        (Ok(()), _) => Ok(Some(format!("{} is idle", role.name))),
        (Err(stop), AtDeadline::Fail) => Err(stop),
        (Err(stop), AtDeadline::Kill | AtDeadline::Proceed) => match *stop {
            stop @ Stop::Lost(_) => Err(Box::new(stop)),
            Stop::Failed(_) | Stop::Unknown(_) | Stop::Done(_) | Stop::AlreadyDone(_) => {
                Ok(Some(format!("{} was still busy at the deadline", role.name)))
            }
        },
    }
}

/// Drains every server of a host and waits until no worker of any load balancer has a session on it.
async fn empty(act: &Act, host: &Host, roles: &[&Role]) -> Result<String, Box<Stop>> {
    set(act, host, AdminState::Drain).await?;
    // A host has one drain: the longest deadline of its roles, and what the first of them says at its end.
    let policy = roles.iter().map(|role| &role.drain).max_by_key(|drain| drain.deadline);
    let Some(policy) = policy else { return unexpected("a role of the host", "none") };
    let end = act.ports.clock.now().plus(policy.deadline);
    let mut quiet_polls = 0;
    loop {
        let left = sessions(act, host).await?;
        quiet_polls = if left.is_empty() { quiet_polls + 1 } else { 0 };
        // Twice in a row: a request may have been on its way to the server at the first look.
        if quiet_polls >= 2 {
            return Ok(format!("no session on {}", names(host)));
        }
        let now = act.ports.clock.now();
        if now >= end && !left.is_empty() {
            match policy.then {
                AtDeadline::Fail => {
                    let after = policy.deadline;
                    return failed(Reason::SessionsLeft { servers: left, after });
                }
                AtDeadline::Proceed => {
                    return Ok(format!("went on with sessions left: {}", left.join(", ")));
                }
                AtDeadline::Kill => {
                    cut(act, host).await?;
                    return Ok(format!("sessions were cut: {}", left.join(", ")));
                }
            }
        }
        act.ports.clock.sleep_until(now.plus(POLL)).await;
    }
}

fn names(host: &Host) -> String {
    host.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns what is left on the host's servers; drains again what came back while it was waited for.
async fn sessions(act: &Act, host: &Host) -> Result<Vec<String>, Box<Stop>> {
    let mut left = Vec::new();
    let mut back = false;
    for (name, servers) in by_lb(host) {
        let seen = observe(act, name).await?;
        for server in servers {
            let Some(found) = seen.servers.get(&server) else {
                return unexpected(format!("{name}:{}/{}", server.0, server.1), "no such server");
            };
            back |= found.admin == AdminState::Ready;
            let leaving = seen.leaving.sessions.get(&server).copied().unwrap_or_default();
            let count = found.sessions + found.queued + leaving;
            if count > 0 || found.admin == AdminState::Ready {
                left.push(format!("{name}:{}/{} ({count})", server.0, server.1));
            }
        }
    }
    if back {
        set(act, host, AdminState::Drain).await?;
    }
    Ok(left)
}

async fn observe(act: &Act, name: &LbName) -> Result<LbObservation, Box<Stop>> {
    Ok(act.ports.load_balancers.observe(lb(act.environment()?, name)?).await?)
}

/// Tells every load balancer the state of a host's servers, all at once.
async fn set(act: &Act, host: &Host, state: AdminState) -> Result<(), Box<Stop>> {
    tell(&act.ports, act.fence, act.environment()?, by_lb(host), state).await
}

async fn tell(
    ports: &Ports,
    fence: Fence,
    environment: &Environment,
    servers: Servers<'_>,
    state: AdminState,
) -> Result<(), Box<Stop>> {
    let mut told = tokio::task::JoinSet::new();
    for (name, servers) in servers {
        let (lb, ports) = (lb(environment, name)?.clone(), ports.clone());
        told.spawn(
            async move { ports.load_balancers.set_admin(&lb, fence, &servers, state).await },
        );
    }
    let results = told.join_all().await;
    results.into_iter().collect::<Result<Vec<()>, _>>().map_err(stopped)?;
    Ok(())
}

async fn cut(act: &Act, host: &Host) -> Result<(), Box<Stop>> {
    for (name, servers) in by_lb(host) {
        let lb = lb(act.environment()?, name)?;
        act.ports.load_balancers.cut_sessions(lb, act.fence, &servers).await?;
    }
    Ok(())
}

/// Proves right before a host is changed that it is still out of service; drains it again where a reload undid it.
pub(super) async fn still_drained(act: &Act) -> Result<(), Box<Stop>> {
    let host = act.host()?;
    if host.servers.is_empty() || !act.drained {
        return Ok(());
    }
    if sessions(act, host).await?.is_empty() {
        return Ok(());
    }
    let roles = act.roles()?;
    empty(act, host, &roles).await?;
    set(act, host, AdminState::Maintenance).await
}

/// Tells HAProxy again that a host is drained, after a reload made it forget.
///
/// # Errors
/// When a load balancer could not be told; the next reading shows whether it is still needed.
pub async fn redrain(
    ports: &Ports,
    fence: Fence,
    environment: &Environment,
    host: &Host,
) -> Result<(), Reason> {
    let told = tell(ports, fence, environment, by_lb(host), AdminState::Drain).await;
    told.map_err(|stop| match *stop {
        Stop::Failed(reason) | Stop::Lost(reason) | Stop::Unknown(reason) => reason,
        Stop::Done(what) | Stop::AlreadyDone(what) => Reason::OutcomeUnknown(what),
    })
}

pub(super) async fn ready(act: &Act) -> Performed {
    let host = act.host()?;
    let roles = act.roles()?;
    if !act.changed {
        if !act.straight {
            package::untouched(act).await?;
        }
        for role in roles.iter().filter(|role| matches!(role.quiet, Quiet::StopFetching { .. })) {
            service::restart(act, role).await?;
        }
    }
    if host.servers.is_empty() {
        return already("has no servers");
    }
    if is_up(act, host).await? {
        return already(format!("{} UP", names(host)));
    }
    let deadline = roles.iter().map(|role| role.healthy_deadline).max().unwrap_or_default();
    // From maintenance straight to ready, HAProxy sends traffic before any check has run: by way of drain it does not.
    if act.changed {
        set(act, host, AdminState::Drain).await?;
        passes_fresh_check(act, host, deadline).await?;
    } else if !act.straight {
        let out = held_out(act, host).await?;
        tell(&act.ports, act.fence, act.environment()?, out, AdminState::Drain).await?;
        passes_fresh_check(act, host, deadline).await?;
    }
    set(act, host, AdminState::Ready).await?;
    let what = format!("{} to be UP", names(host));
    act.until(&what, deadline.max(TOLD), POLL, || is_up(act, host)).await?;
    done(format!("{} UP", names(host)))
}

/// Returns the servers of a host that do not take traffic: the others may be the last of their backends.
async fn held_out<'a>(act: &Act, host: &'a Host) -> Result<Servers<'a>, Box<Stop>> {
    let mut out = by_lb(host);
    for (name, servers) in &mut out {
        let seen = observe(act, name).await?;
        servers.retain(|key| seen.servers.get(key).is_none_or(|s| s.admin != AdminState::Ready));
    }
    out.retain(|_, servers| !servers.is_empty());
    Ok(out)
}

async fn passes_fresh_check(act: &Act, host: &Host, deadline: Duration) -> Result<(), Box<Stop>> {
    let clock = &act.ports.clock;
    let began = clock.now();
    let mut since: Option<Timestamp> = None;
    loop {
        let mut sick = None;
        for (name, servers) in by_lb(host) {
            let seen = observe(act, name).await?;
            sick = sick.or_else(|| {
                servers.iter().find_map(|key| match seen.servers.get(key) {
                    Some(found) if found.healthy => None,
                    Some(found) => Some(format!("{name}:{}/{} {}", key.0, key.1, found.status)),
                    None => Some(format!("{name}:{}/{} is missing", key.0, key.1)),
                })
            });
        }
        let now = clock.now();
        since = if sick.is_none() { since.or(Some(now)) } else { None };
        if since.is_some_and(|since| now.since(since) >= FRESH_CHECK) {
            return Ok(());
        }
        if now.since(began) > deadline + FRESH_CHECK {
            let found = sick.unwrap_or_else(|| "checks that come and go".to_owned());
            return unexpected("HAProxy's checks to pass before the host takes traffic", found);
        }
        clock.sleep_until(now.plus(POLL)).await;
    }
}

async fn is_up(act: &Act, host: &Host) -> Result<bool, Box<Stop>> {
    for (name, servers) in by_lb(host) {
        let seen = observe(act, name).await?;
        let up = |key| seen.servers.get(key).is_some_and(|found| found.up);
        if !servers.iter().all(up) {
            return Ok(false);
        }
    }
    Ok(true)
}
