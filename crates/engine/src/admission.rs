//! Admission: whether one more host may be taken out of service now.
//!
//! Decided one host at a time over all its roles, from a fresh reading of the load balancers plus the hosts that this
//! run has out and that the reading may not show yet. What counts is what is not UP, whoever took it down.

use crate::run::Run;
use serin_model::{
    Environment, EnvironmentName, Fleet, Host, HostName, Lane, LbName, LbObservation, LbServer,
    RoleName, Stage, Subject, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// How old a reading of a load balancer may be to decide by: six polls. The hosts that this run has out are counted
/// in any case, so only what others did within this time can be missed.
pub const FRESH: Duration = Duration::from_secs(3);

/// What was last seen of the load balancers of the environment that is worked on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// By load balancer. One that was never read is missing.
    pub load_balancers: BTreeMap<LbName, LbObservation>,
}

/// Why a host may not be taken out of service now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAdmitted {
    /// A load balancer was not read lately.
    Stale(LbName),
    /// As many hosts of a role are out of service as may be.
    Budget {
        /// The role.
        role: RoleName,
        /// The hosts that are out.
        out: Vec<HostName>,
        /// How many may be.
        limit: usize,
    },
    /// It is the last server of a backend that is UP.
    LastUp(LbServer),
    /// The plan does not know the host.
    UnknownHost,
}

/// Decides whether the host of a lane may be taken out of service now.
///
/// # Errors
/// The first thing that speaks against it.
pub fn admit(
    run: &Run,
    stage: &Stage,
    lane: &Lane,
    view: &View,
    now: Timestamp,
) -> Result<(), NotAdmitted> {
    let (environment, fleet, host) = place(run, &stage.environment, lane)?;
    for server in &host.servers {
        let seen = view.load_balancers.get(&server.lb);
        if seen.is_none_or(|seen| now.since(seen.observed_at) > FRESH) {
            return Err(NotAdmitted::Stale(server.lb.clone()));
        }
    }
    let out = out_of_service(run, environment, view);
    if !out.contains(&host.name) {
        within_budget(run, fleet, host, &out)?;
    }
    not_last(host, environment, view, &out)
}

fn place<'a>(
    run: &'a Run,
    environment: &EnvironmentName,
    lane: &Lane,
) -> Result<(&'a Environment, &'a Fleet, &'a Host), NotAdmitted> {
    let Subject::Host(name) = &lane.subject else { return Err(NotAdmitted::UnknownHost) };
    let environment =
        run.plan.topology.environments.get(environment).ok_or(NotAdmitted::UnknownHost)?;
    let found = environment.hosts().find(|(_, host)| &host.name == name);
    found.map(|(fleet, host)| (environment, fleet, host)).ok_or(NotAdmitted::UnknownHost)
}

/// Returns every host that is out of service, for whatever reason.
fn out_of_service(run: &Run, environment: &Environment, view: &View) -> BTreeSet<HostName> {
    let ours = run.slots().filter_map(|lane| match &lane.subject {
        Subject::Host(host) => Some(host.clone()),
        Subject::Fleet(_) | Subject::Environment => None,
    });
    let unfenced = run.environments.get(&environment.name).and_then(|e| e.unavailable.as_ref());
    let unfenced = unfenced.into_iter().flat_map(BTreeMap::keys).cloned();
    let down = environment
        .hosts()
        .filter(|(_, host)| host.servers.iter().any(|server| !is_up(view, server)))
        .map(|(_, host)| host.name.clone());
    ours.chain(unfenced).chain(down).collect()
}

fn is_up(view: &View, server: &LbServer) -> bool {
    view.load_balancers
        .get(&server.lb)
        .and_then(|lb| lb.servers.get(&(server.backend.clone(), server.server.clone())))
        .is_some_and(|seen| seen.up)
}

fn within_budget(
    run: &Run,
    fleet: &Fleet,
    host: &Host,
    out: &BTreeSet<HostName>,
) -> Result<(), NotAdmitted> {
    for role in run.plan.topology.roles_of(host) {
        let members = fleet.hosts.values().filter(|other| other.roles.contains(&role.name));
        let (mut count, mut missing) = (0, Vec::new());
        for member in members {
            count += 1;
            if out.contains(&member.name) {
                missing.push(member.name.clone());
            }
        }
        let limit = role.max_unavailable.of(count);
        if missing.len() + 1 > limit {
            return Err(NotAdmitted::Budget { role: role.name.clone(), out: missing, limit });
        }
    }
    Ok(())
}

fn not_last(
    host: &Host,
    environment: &Environment,
    view: &View,
    out: &BTreeSet<HostName>,
) -> Result<(), NotAdmitted> {
    let own: BTreeSet<_> = environment
        .hosts()
        .filter(|(_, other)| out.contains(&other.name) || other.name == host.name)
        .flat_map(|(_, other)| &other.servers)
        .map(|server| (&server.lb, &server.backend, &server.server))
        .collect();
    for server in host.servers.iter().filter(|s| !s.may_be_empty && is_up(view, s)) {
        let others = view.load_balancers.get(&server.lb).is_some_and(|lb| {
            lb.servers.iter().any(|((backend, name), seen)| {
                *backend == server.backend
                    && seen.up
                    && seen.weight > 0
                    && !own.contains(&(&server.lb, backend, name))
            })
        });
        if !others {
            return Err(NotAdmitted::LastUp(server.clone()));
        }
    }
    Ok(())
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale(lb) => write!(f, "waits for a fresh reading of {lb}"),
            Self::Budget { role, out, limit } => {
                let out = out.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                write!(f, "waits: {limit} host(s) of role {role} may be out, and {out} is out")
            }
            Self::LastUp(server) => {
                write!(f, "waits: {server} is the last server of its backend that is UP")
            }
            Self::UnknownHost => f.write_str("is not in the plan's topology"),
        }
    }
}
