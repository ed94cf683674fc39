//! `[environments.*]`: complete installations, and that nothing is in two of them.

use super::roles::Roles;
use super::{Reader, freeze, hosts, sources};
use crate::at::Text;
use crate::hosts::MOST_HOSTS;
use crate::raw::{RawConfig, RawEnvironment};
use serin_model::{Environment, EnvironmentName, HostName, Overriding};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Where hosts and load balancers were named first: an environment is claimed and fenced on its own, so none of its
/// machines may belong to another.
#[derive(Default)]
pub(super) struct Seen {
    /// Hosts: environment, fleet and place.
    pub(super) hosts: BTreeMap<HostName, (String, String, Range<usize>)>,
    /// Hosts of load balancers.
    pub(super) load_balancers: BTreeMap<HostName, Range<usize>>,
}

/// Reads the environments.
pub(super) fn environments(
    reader: &mut Reader,
    raw: &RawConfig,
    roles: &Roles,
) -> BTreeMap<EnvironmentName, Environment> {
    let mut seen = Seen::default();
    let mut environments = BTreeMap::new();
    for (name, raw) in &raw.environments {
        if let Some(environment) = environment(reader, (name, raw), roles, &mut seen) {
            environments.insert(environment.name.clone(), environment);
        }
    }
    if seen.hosts.len() > MOST_HOSTS
        && let Some((name, _)) = raw.environments.first_key_value()
    {
        let message = format!("the environments have {} hosts in all", seen.hosts.len());
        reader.wrong(name.span(), message, format!("write at most {MOST_HOSTS}"));
    }
    environments
}

/// Reads the names under which people reach each environment.
pub(super) fn serves(
    reader: &mut Reader,
    raw: &RawConfig,
) -> BTreeMap<EnvironmentName, Vec<String>> {
    let mut serves = BTreeMap::new();
    for (name, raw) in &raw.environments {
        // What is wrong with the name is reported where the environment is read.
        let Ok(name) = name.get().parse() else { continue };
        let served: Vec<String> =
            raw.serves.iter().filter_map(|text| served_name(reader, text)).collect();
        if !served.is_empty() {
            serves.insert(name, served);
        }
    }
    serves
}

/// Reads in which environments runs start by two people only.
pub(super) fn two_people(reader: &mut Reader, raw: &RawConfig) -> BTreeSet<EnvironmentName> {
    let mut wanted = BTreeSet::new();
    for (name, environment) in &raw.environments {
        let policy = environment.policy.as_ref().and_then(|policy| policy.two_people.as_ref());
        let Some(two) = policy.filter(|two| *two.get()) else { continue };
        if raw.people.is_none() {
            let message = "without people there is no second one";
            reader.wrong(two.span(), message, "list them under [people], or remove this");
        }
        // What is wrong with the name is reported where the environment is read.
        if let Ok(name) = name.get().parse() {
            wanted.insert(name);
        }
    }
    wanted
}

fn served_name(reader: &mut Reader, text: &Text) -> Option<String> {
    let name = text.get().to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        let message = format!("`{}` is not the name of a host", text.get());
        reader.wrong(text.span(), message, "write the name alone: `gitlab.example.com`");
        return None;
    }
    Some(name)
}

fn environment(
    reader: &mut Reader,
    (written, raw): (&Text, &RawEnvironment),
    roles: &Roles,
    seen: &mut Seen,
) -> Option<Environment> {
    let name: Option<EnvironmentName> = reader.name(written);
    let load_balancers = sources::load_balancers(reader, &raw.load_balancers, seen);
    let mut fleets = hosts::fleets(reader, (written, raw), roles, seen);
    hosts::place_servers(reader, (written, raw), roles, (&load_balancers, &mut fleets));
    let mut environment = Environment {
        name: name?,
        load_balancers,
        fleets,
        config_management: None,
        alerts: raw.alerts.as_ref().map(|alerts| sources::alerts(reader, alerts)),
        qa: sources::qa(reader, &raw.qa),
        freeze: freeze::windows(reader, &raw.freeze),
        overriding: overriding(raw),
    };
    environment.config_management = raw
        .config_management
        .as_ref()
        .and_then(|raw| sources::config_management(reader, raw, &environment));
    one_deploy_host(reader, written, roles, &environment);
    Some(environment)
}

fn overriding(raw: &RawEnvironment) -> Overriding {
    let second = raw.policy.as_ref().and_then(|policy| policy.second_person).unwrap_or(false);
    if second { Overriding::SecondPerson } else { Overriding::OnePerson }
}

fn one_deploy_host(reader: &mut Reader, written: &Text, roles: &Roles, environment: &Environment) {
    let Some(deploy) = roles.deploy() else { return };
    let deploy = &deploy.model.name;
    let hosts = environment.hosts().filter(|(_, host)| host.roles.contains(deploy)).count();
    if hosts > 1 {
        let message = format!("`{}` has {hosts} hosts with the role `{deploy}`", written.get());
        let help = "keep one: migrations run on one host of an environment";
        reader.wrong(written.span(), message, help);
    }
}
