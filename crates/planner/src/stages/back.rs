//! What a rollback puts right besides the hosts that go back.

use super::{Stages, phase};
use serin_model::{
    Action, ConfigManagementState, Fleet, Host, HostName, HostObservation, Lane, Phase, Subject,
};
use std::collections::BTreeSet;

impl Stages<'_> {
    /// Starts config management on hosts where the run that is undone had stopped it and has then changed nothing: they
    /// have what their record says, and no host of the plan.
    pub(crate) fn left_stopped(&self, started: &BTreeSet<HostName>) -> Option<Phase> {
        let back = self.request.back?;
        self.environment.config_management.as_ref()?;
        let left = |(fleet, host): &(&Fleet, &Host)| {
            let seen = self.seen(&host.name);
            !back.hosts.contains_key(&host.name)
                && !started.contains(&host.name)
                && seen.is_some_and(|s| s.config_management == ConfigManagementState::Stopped)
                && self.has_recorded(fleet, host)
        };
        let start = |(fleet, host): (&Fleet, &Host)| {
            let fleet = fleet.name.clone();
            let start = Action::StartConfigManagement { fleet };
            self.lane(Subject::Host(host.name.clone()), vec![start])
        };
        let lanes: Vec<Lane> = self.environment.hosts().filter(left).map(start).collect();
        (!lanes.is_empty()).then(|| phase("start config management elsewhere", lanes))
    }

    /// Puts hosts into service again that the runs which are undone had drained and then did not change, so that there is
    /// capacity before others are taken out. One that does not run well stays out, and the sweep names it.
    pub(crate) fn back_in_service(&self) -> Option<Phase> {
        let back = self.request.back?;
        let left = |host: &&Host| {
            back.out_of_service.contains(&host.name)
                && !back.hosts.contains_key(&host.name)
                && !host.servers.iter().all(|server| self.is_up(server))
                && self.runs_what_it_has(host)
        };
        let hosts: Vec<&Host> =
            self.environment.hosts().map(|(_, host)| host).filter(left).collect();
        let lanes = self.each(&hosts, |_| vec![Action::Ready]);
        (!lanes.is_empty()).then(|| phase("into service again", lanes))
    }

    fn runs_what_it_has(&self, host: &Host) -> bool {
        let Some(seen) = self.seen(&host.name) else { return false };
        let mut services = self.request.topology.roles_of(host).flat_map(|role| &role.services);
        seen.installed().is_some_and(|version| services.all(|s| seen.runs(&s.name, version)))
    }

    /// Tells whether a host has what its fleet's record says once the plan is done.
    fn has_recorded(&self, fleet: &Fleet, host: &Host) -> bool {
        let record = self.to_record(fleet).cloned().or_else(|| self.recorded(fleet));
        record.is_some()
            && self.seen(&host.name).and_then(HostObservation::installed) == record.as_ref()
    }
}

/// Returns the hosts on which phases start config management.
pub(crate) fn started<'a>(phases: impl Iterator<Item = &'a Phase>) -> BTreeSet<HostName> {
    let starts = |lane: &&Lane| {
        let mut steps = lane.steps.iter();
        steps.any(|step| matches!(step.action, Action::StartConfigManagement { .. }))
    };
    let host = |lane: &Lane| match &lane.subject {
        Subject::Host(host) => Some(host.clone()),
        Subject::Fleet(_) | Subject::Environment => None,
    };
    phases.flat_map(|phase| &phase.lanes).filter(starts).filter_map(host).collect()
}
