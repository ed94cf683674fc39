//! The hosts of fleets, and their servers on the load balancers.

use super::Reader;
use super::environments::Seen;
use super::roles::{ReadRole, Roles};
use crate::at::Text;
use crate::hosts::expand;
use crate::raw::{RawEnvironment, RawFleet};
use serin_model::{
    BackendName, Fleet, FleetName, Host, HostName, LbName, LbServer, LoadBalancer, RoleName,
    ServerName,
};
use std::collections::{BTreeMap, BTreeSet};

type Fleets = BTreeMap<FleetName, Fleet>;
type LoadBalancers = BTreeMap<LbName, LoadBalancer>;

/// Reads the fleets of an environment; their hosts have no servers yet.
pub(super) fn fleets(
    reader: &mut Reader,
    (environment, raw): (&Text, &RawEnvironment),
    roles: &Roles,
    seen: &mut Seen,
) -> Fleets {
    let mut fleets = Fleets::new();
    for (written, raw) in &raw.fleets {
        let Some(name) = reader.name::<FleetName>(written) else { continue };
        let mut hosts = Hosts { environment, fleet: written, seen, found: BTreeMap::new() };
        for (role, patterns) in &raw.hosts {
            if roles.names().any(|name| name == role.get()) {
                hosts.of_role(reader, role, patterns);
            } else {
                reader.unknown("role", role, roles.names());
            }
        }
        let hosts = hosts.found;
        if raw.hosts.values().all(Vec::is_empty) {
            let message = format!("the fleet `{}` has no hosts", written.get());
            reader.wrong(written.span(), message, "add a role and its hosts, or remove the fleet");
        }
        let share_after = share_after(reader, raw);
        fleets.insert(name.clone(), Fleet { name, hosts, share_after });
    }
    fleets
}

/// A fleet with a share, or with backends that may be empty, is a canary.
fn share_after(reader: &mut Reader, raw: &RawFleet) -> Option<u8> {
    let written = raw.share.as_ref().and_then(|share| share.after_canary.as_ref());
    match written {
        Some(text) => Some(reader.percent(text)),
        None => (raw.share.is_some() || !raw.backends.is_empty()).then_some(0),
    }
}

/// The hosts of a fleet while they are read.
struct Hosts<'a> {
    environment: &'a Text,
    fleet: &'a Text,
    seen: &'a mut Seen,
    found: BTreeMap<HostName, Host>,
}

impl Hosts<'_> {
    fn of_role(&mut self, reader: &mut Reader, role: &Text, patterns: &[Text]) {
        let Some(role) = reader.name::<RoleName>(role) else { return };
        for pattern in patterns {
            let names = match expand(pattern.get()) {
                Ok(names) => names,
                Err((message, help)) => {
                    reader.wrong(pattern.span(), message, help);
                    continue;
                }
            };
            for name in names {
                let Some(name) = reader.name_of::<HostName>(&name, pattern) else { break };
                if self.is_elsewhere(reader, &name, pattern) {
                    break;
                }
                if !self.add(&name, &role) {
                    let message = format!("`{name}` is named twice as a `{role}` host");
                    reader.wrong(pattern.span(), message, "name each host once for each role");
                    break;
                }
            }
        }
    }

    /// Reports a host that is already in another fleet or environment.
    fn is_elsewhere(&mut self, reader: &mut Reader, name: &HostName, pattern: &Text) -> bool {
        let here = (self.environment.get().clone(), self.fleet.get().clone());
        let Some((environment, fleet, place)) = self.seen.hosts.get(name) else {
            let (environment, fleet) = here;
            self.seen.hosts.insert(name.clone(), (environment, fleet, pattern.span()));
            return false;
        };
        if (environment, fleet) == (&here.0, &here.1) {
            return false;
        }
        let message = format!("`{name}` is already in the fleet `{fleet}` of `{environment}`");
        let help = "a host is in one fleet of one environment: remove it from the other one";
        reader.wrong_with(pattern.span(), message, help, (place.clone(), "the other place"));
        true
    }

    fn add(&mut self, name: &HostName, role: &RoleName) -> bool {
        let host = self.found.entry(name.clone()).or_insert_with(|| Host {
            name: name.clone(),
            roles: BTreeSet::new(),
            servers: Vec::new(),
        });
        host.roles.insert(role.clone())
    }
}

/// Gives every host its servers: each load balancer × the backends of its roles and of its fleet for these roles.
///
/// A backend may be left empty where nothing else is possible: it holds one host, or only a canary fleet.
pub(super) fn place_servers(
    reader: &mut Reader,
    (environment, raw): (&Text, &RawEnvironment),
    roles: &Roles,
    (load_balancers, fleets): (&LoadBalancers, &mut Fleets),
) {
    let own = backends_of_fleets(reader, raw, roles, fleets);
    let mut members: BTreeMap<(BackendName, ServerName), HostName> = BTreeMap::new();
    let mut of_host: BTreeMap<HostName, BTreeSet<(BackendName, ServerName)>> = BTreeMap::new();
    for fleet in fleets.values() {
        for host in fleet.hosts.values() {
            for role in host.roles.iter().filter_map(|role| roles.0.get(role)) {
                let of_fleet = own.get(&(fleet.name.clone(), role.model.name.clone()));
                let backends = role.model.backends.iter().chain(of_fleet.into_iter().flatten());
                let Some(server) = server_name(reader, role, host) else { continue };
                for backend in backends {
                    let key = (backend.clone(), server.clone());
                    let other = members.entry(key.clone()).or_insert_with(|| host.name.clone());
                    if *other != host.name {
                        same_server(reader, role, &key, (other, &host.name));
                    }
                    of_host.entry(host.name.clone()).or_default().insert(key);
                }
            }
        }
    }
    if !members.is_empty() && load_balancers.is_empty() {
        let message = format!("`{}` has servers, but no load balancer", environment.get());
        let help = format!("add `[environments.{}.load_balancers.NAME]`", environment.get());
        reader.wrong(environment.span(), message, help);
    }
    let mut sizes: BTreeMap<&BackendName, usize> = BTreeMap::new();
    for (backend, _) in members.keys() {
        *sizes.entry(backend).or_default() += 1;
    }
    let only_fleet: BTreeSet<&BackendName> = own.values().flatten().collect();
    for host in fleets.values_mut().flat_map(|fleet| fleet.hosts.values_mut()) {
        let servers = of_host.remove(&host.name).unwrap_or_default();
        for (lb, (backend, server)) in
            load_balancers.keys().flat_map(|lb| servers.iter().map(move |server| (lb, server)))
        {
            let may_be_empty = only_fleet.contains(backend) || sizes.get(backend) == Some(&1);
            host.servers.push(LbServer {
                lb: lb.clone(),
                backend: backend.clone(),
                server: server.clone(),
                may_be_empty,
            });
        }
    }
}

/// Reads the backends that fleets have of their own, by fleet and role.
fn backends_of_fleets(
    reader: &mut Reader,
    raw: &RawEnvironment,
    roles: &Roles,
    fleets: &Fleets,
) -> BTreeMap<(FleetName, RoleName), Vec<BackendName>> {
    let mut own = BTreeMap::new();
    let mut taken: BTreeMap<BackendName, String> = roles
        .0
        .values()
        .flat_map(|role| role.model.backends.iter().map(move |backend| (backend, role)))
        .map(|(backend, role)| (backend.clone(), format!("the role `{}`", role.model.name)))
        .collect();
    for (written, raw) in &raw.fleets {
        let Some(fleet) = fleets.values().find(|fleet| fleet.name.as_str() == written.get()) else {
            continue;
        };
        for (role, backends) in &raw.backends {
            let Some(known) = roles.0.values().find(|r| r.model.name.as_str() == role.get()) else {
                reader.unknown("role", role, roles.names());
                continue;
            };
            let name = &known.model.name;
            if !fleet.hosts.values().any(|host| host.roles.contains(name)) {
                let message = format!("the fleet `{}` has no `{name}` host", fleet.name);
                reader.wrong(role.span(), message, "remove it, or add hosts of that role");
            }
            for backend in backends {
                let owner = backend.get().parse().ok().and_then(|name| taken.get(&name));
                if let Some(owner) = owner {
                    let message = format!("`{}` already is a backend of {owner}", backend.get());
                    let help = "name backends that hold nothing but this fleet and role";
                    reader.wrong(backend.span(), message, help);
                }
            }
            let backends: Vec<BackendName> = reader.names(backends);
            let owner = format!("the fleet `{}`", fleet.name);
            taken.extend(backends.iter().map(|backend| (backend.clone(), owner.clone())));
            own.insert((fleet.name.clone(), name.clone()), backends);
        }
    }
    own
}

fn server_name(reader: &mut Reader, role: &ReadRole, host: &Host) -> Option<ServerName> {
    let name = role
        .server
        .replace("{label}", host.name.first_label())
        .replace("{host}", host.name.as_str());
    reader.name_of(&name, &role.written)
}

fn same_server(
    reader: &mut Reader,
    role: &ReadRole,
    (backend, server): &(BackendName, ServerName),
    (one, other): (&HostName, &HostName),
) {
    let message = format!("`{one}` and `{other}` would both be the server `{backend}/{server}`");
    let help = format!("add `server = \"{{host}}\"` to the role `{}`", role.model.name);
    reader.wrong(role.written.span(), message, help);
}
