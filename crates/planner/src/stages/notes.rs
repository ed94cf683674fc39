//! What a person should know about the hosts of a stage before anything happens.

use super::Stages;
use crate::report::{Note, PlanReport};
use serin_model::{AdminState, DebVersion, Host, PackageState, RoleName};
use std::collections::{BTreeMap, BTreeSet};

impl Stages<'_> {
    pub(super) fn note_host(&self, host: &Host, report: &mut PlanReport) {
        let package = self.seen(&host.name).map(|seen| &seen.package);
        if let Some(package @ PackageState::Broken { .. }) = package {
            let state = package.to_string();
            report.notes.push(Note::Repair { host: host.name.clone(), state });
        }
    }

    pub(super) fn note_roll(&self, roles: &[RoleName], hosts: &[&Host], report: &mut PlanReport) {
        for host in hosts {
            self.note_host(host, report);
        }
        self.note_budgets(roles, hosts, report);
        self.note_downgrades(hosts, report);
        self.note_servers(hosts, report);
    }

    fn note_budgets(&self, roles: &[RoleName], hosts: &[&Host], report: &mut PlanReport) {
        let stage = self.spec.number;
        for role in roles {
            let of_role = |host: &&Host| host.roles.contains(role);
            let count = self.fleet.hosts.values().filter(|host| of_role(host)).count();
            if let Some(known) = self.request.topology.roles.get(role)
                && hosts.iter().copied().any(|host| of_role(&host))
            {
                let limit = known.max_unavailable.of(count);
                report.notes.push(Note::Budget { stage, role: role.clone(), hosts: count, limit });
            }
        }
    }

    /// What a patch has to say about the hosts whose services are told.
    pub(super) fn note_patch(&self, roles: &[RoleName], hosts: &[&Host], report: &mut PlanReport) {
        self.note_budgets(roles, hosts, report);
        self.note_servers(hosts, report);
    }

    fn note_downgrades(&self, hosts: &[&Host], report: &mut PlanReport) {
        let stage = self.spec.number;
        let mut downgrades: BTreeMap<(DebVersion, &DebVersion), usize> = BTreeMap::new();
        for host in hosts {
            if let (Some(from), Some(to)) = (self.from(host), self.target(host))
                && from > *to
            {
                *downgrades.entry((from, to)).or_default() += 1;
            }
        }
        for ((from, to), count) in downgrades {
            report.notes.push(Note::Downgrade { stage, from, to: to.clone(), count });
        }
    }

    fn note_servers(&self, hosts: &[&Host], report: &mut PlanReport) {
        let stage = self.spec.number;
        let mut empty = BTreeSet::new();
        for server in hosts.iter().flat_map(|host| &host.servers) {
            if server.may_be_empty && empty.insert(&server.backend) {
                let backend = server.backend.to_string();
                report.notes.push(Note::MayBeEmpty { stage, backend });
            }
            let lb = (self.environment.name.clone(), server.lb.clone());
            let key = (server.backend.clone(), server.server.clone());
            let seen = self.request.observed.load_balancers.get(&lb);
            if let Some(seen) = seen.and_then(|lb| lb.servers.get(&key))
                && seen.admin != AdminState::Ready
            {
                report.notes.push(Note::LeftOut { server: server.clone(), admin: seen.admin });
            }
        }
    }
}
