//! Asking everything: for a plan before anything happens, and for the truth after everything did.

use super::{Act, Performed, done, failed, patch};
use crate::ports::{Command, HostQuery, Look, PortError, Ports};
use serin_model::{
    DebVersion, Environment, FleetName, Host, HostName, HostObservation, LbObservation, Observed,
    PatchDirection, Reason, RoleName, ServiceName, Topology,
};
use std::collections::BTreeMap;
use tokio::task::JoinSet;

/// Returns what has to be read of a host.
pub fn query(topology: &Topology, environment: &Environment, host: &Host, look: Look) -> HostQuery {
    let services = topology.roles_of(host).flat_map(|role| &role.services);
    let mut services: Vec<ServiceName> = services.map(|service| service.name.clone()).collect();
    services.sort();
    services.dedup();
    HostQuery {
        host: host.name.clone(),
        package: topology.package.clone(),
        profile: topology.profile.clone(),
        services,
        config_management: environment.config_management.as_ref().map(|cm| cm.running.clone()),
        look,
    }
}

/// Observes every host, load balancer and record of environments, all at once.
pub async fn observe_environments<'a>(
    ports: &Ports,
    topology: &Topology,
    environments: impl IntoIterator<Item = &'a Environment>,
) -> Observed {
    let mut observed = Observed::default();
    for environment in environments {
        observe_environment(ports, topology, environment, &mut observed).await;
    }
    observed
}

async fn observe_environment(
    ports: &Ports,
    topology: &Topology,
    environment: &Environment,
    observed: &mut Observed,
) {
    let mut hosts: JoinSet<(HostName, Result<HostObservation, PortError>)> = JoinSet::new();
    for (_, host) in environment.hosts() {
        let migrates = topology.roles_of(host).any(|role| role.migrations);
        let look = if migrates { Look::Migrations } else { Look::State };
        let (query, ports) = (query(topology, environment, host, look), ports.clone());
        hosts.spawn(async move {
            let seen = ports.hosts.observe(&query).await;
            (query.host, seen)
        });
    }
    let mut lbs = JoinSet::new();
    for lb in environment.load_balancers.values().cloned() {
        let ports = ports.clone();
        lbs.spawn(async move {
            let seen: Result<LbObservation, PortError> = ports.load_balancers.observe(&lb).await;
            (lb, seen)
        });
    }
    for (host, seen) in hosts.join_all().await {
        match seen {
            Ok(seen) => drop(observed.hosts.insert(host, seen)),
            Err(why) => drop(observed.unreachable.insert(host, why.to_string())),
        }
    }
    for (lb, seen) in lbs.join_all().await {
        match seen {
            Ok(seen) => {
                observed.load_balancers.insert((environment.name.clone(), lb.name), seen);
            }
            Err(why) => drop(observed.unreachable.insert(lb.host, why.to_string())),
        }
    }
    observe_records(ports, environment, observed).await;
}

/// Reads what the records say. One that cannot be read is left out; the step that changes it looks again.
async fn observe_records(ports: &Ports, environment: &Environment, observed: &mut Observed) {
    let record = environment.config_management.as_ref().and_then(|cm| cm.record.as_ref());
    let Some(record) = record else { return };
    for fleet in environment.fleets.keys() {
        let names = [("environment", environment.name.as_str()), ("fleet", fleet.as_str())];
        let Ok(argv) = record.read.fill(&names) else { continue };
        let command = Command { argv, environment: BTreeMap::new(), timeout: super::READ_TIMEOUT };
        let Ok(end) = ports.hosts.read(&record.host, &command).await else { continue };
        if end.status == 0 {
            let version = end.output.trim().parse().ok();
            observed.records.insert((environment.name.clone(), fleet.clone()), version);
        }
    }
}

pub(super) async fn sweep(act: &Act, intended: &[(FleetName, RoleName)]) -> Performed {
    let environment = act.environment()?;
    let topology = &act.plan.topology;
    let observed = observe_environments(&act.ports, topology, [environment]).await;
    let mut strays = Vec::new();
    let mut count = 0;
    for (fleet, host) in environment.hosts() {
        let mut roles = host.roles.iter();
        let meant = roles.any(|role| intended.contains(&(fleet.name.clone(), role.clone())));
        let build = act.plan.build_for(&host.name).filter(|_| meant);
        count += usize::from(build.is_some());
        let version = build.map(|build| &build.version);
        let wrong = stray(topology, environment, host, version, &observed);
        let seen = observed.hosts.get(&host.name);
        strays.extend(wrong.or_else(|| seen.and_then(|seen| patch::stray(act, &host.name, seen))));
    }
    for lb in environment.load_balancers.values() {
        if let Some(why) = observed.unreachable.get(&lb.host) {
            strays.push(format!("{}: {why}", lb.host));
        }
    }
    if strays.is_empty() {
        let what = match (&act.plan.back, &act.plan.patching) {
            (Some(_), _) => "what was recorded before".to_owned(),
            (None, Some(patching)) => match patching.direction {
                PatchDirection::Apply => format!("patch {}", patching.patch.short()),
                PatchDirection::Remove => format!("no patch {}", patching.patch.short()),
            },
            (None, None) => act.plan.build.version.to_string(),
        };
        done(format!("{count} host(s) run {what}, every server is UP"))
    } else {
        failed(Reason::Strays(strays))
    }
}

/// Says what is not as intended about a host, if anything.
fn stray(
    topology: &Topology,
    environment: &Environment,
    host: &Host,
    version: Option<&DebVersion>,
    observed: &Observed,
) -> Option<String> {
    let Some(seen) = observed.hosts.get(&host.name) else {
        let why = observed.unreachable.get(&host.name).map_or("not observed", String::as_str);
        return Some(format!("{}: {why}", host.name));
    };
    if let Some(version) = version {
        if seen.installed() != Some(version) {
            return Some(format!("{} has {}", host.name, seen.package));
        }
        let services = topology.roles_of(host).flat_map(|role| &role.services);
        for service in services {
            if !seen.runs(&service.name, version) {
                return Some(format!("{}: {} does not run {version}", host.name, service.name));
            }
        }
    }
    host.servers.iter().find_map(|server| {
        let lb = observed.load_balancers.get(&(environment.name.clone(), server.lb.clone()))?;
        let key = (server.backend.clone(), server.server.clone());
        match lb.servers.get(&key) {
            Some(found) if found.up => None,
            Some(found) => Some(format!("{server} is {}", found.status)),
            None => Some(format!("{server} is missing")),
        }
    })
}
