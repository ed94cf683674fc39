//! What a stage has before its work and after it: guard and exposure, QA, approval, bake, the final sweep, the share.

use super::{Leaves, Stages, phase};
use crate::report::PlanError;
use serin_model::{Action, BakeWatch, FleetName, Phase, RoleName, ShareSpec, Subject, WorkSpec};
use std::collections::BTreeSet;

impl Stages<'_> {
    /// The phase before all others.
    pub(crate) fn guard(&self) -> Phase {
        phase("guard", vec![self.lane(Subject::Environment, vec![Action::Guard])])
    }

    /// Another fleet runs the build and proves it with real traffic: its share, the watch, and a guard once more.
    pub(crate) fn exposure(&self) -> Vec<Phase> {
        let Some(exposure) = &self.spec.exposure else { return Vec::new() };
        let fleet = || exposure.fleet.clone();
        let share = Action::SetShare { fleet: fleet(), percent: exposure.percent };
        let expose = Action::Expose {
            fleet: fleet(),
            requests: exposure.requests,
            watch: exposure.watch,
            deadline: exposure.deadline,
        };
        let subject = Subject::Fleet(fleet());
        let lanes = vec![self.distinct(subject, vec![(share, Some("expose")), (expose, None)])];
        let guard =
            vec![self.distinct(Subject::Environment, vec![(Action::Guard, Some("exposed"))])];
        vec![phase("real traffic", lanes), phase("guard again", guard)]
    }

    /// A fleet that is to prove the build runs it, down to its bytes.
    pub(crate) fn check_exposed(&self) -> Result<(), PlanError> {
        let Some(exposure) = &self.spec.exposure else { return Ok(()) };
        let build = self.request.build;
        let fleet = self.environment.fleets.get(&exposure.fleet);
        let hosts = fleet.into_iter().flat_map(|fleet| fleet.hosts.values()).filter_map(|host| {
            let seen = self.seen(&host.name)?;
            let found = if seen.installed() != Some(&build.version) {
                seen.package.to_string()
            } else if seen.sha256.as_ref() != Some(&build.sha256) {
                let bytes = seen.sha256.as_ref().map_or("that nobody proved", |sha| sha.short());
                format!("that version with bytes {bytes}, not {}", build.sha256.short())
            } else {
                let mut services =
                    self.request.topology.roles_of(host).flat_map(|role| &role.services);
                let old = services.find(|service| !seen.runs(&service.name, &build.version))?;
                format!("it, but its {} runs something else", old.name)
            };
            Some((host.name.clone(), found))
        });
        let hosts: Vec<_> = hosts.collect();
        if hosts.is_empty() {
            return Ok(());
        }
        let (fleet, version) = (exposure.fleet.clone(), build.version.clone());
        Err(PlanError::NotProven { fleet, version, hosts })
    }

    /// QA, bake, and the share of traffic afterwards; before that, the sweep of an environment that is left.
    pub(crate) fn gates(&self, leaves: Leaves) -> Vec<Phase> {
        let environment = |actions| vec![self.lane(Subject::Environment, actions)];
        let mut phases = Vec::new();
        if !self.spec.qa.is_empty() {
            let suites = self.spec.qa.iter().cloned().map(Action::Qa).collect();
            phases.push(phase("QA", environment(suites)));
        }
        if let Some(what) = &self.spec.approval {
            let approve = Action::Approve { what: what.clone() };
            phases.push(phase("approval", environment(vec![approve])));
        }
        if !self.spec.bake.is_zero() {
            let bake = Action::Bake { duration: self.spec.bake, watch: BakeWatch::Live };
            phases.push(phase("bake", environment(vec![bake])));
        }
        if leaves == Leaves::Environment {
            let sweep = Action::Sweep { intended: self.intended() };
            phases.push(phase("final sweep", environment(vec![sweep])));
        }
        if let (ShareSpec::ZeroThenAfterCanary, Some(percent)) =
            (self.spec.share, self.fleet.share_after)
        {
            let fleet = self.fleet.name.clone();
            let share = Action::SetShare { fleet: fleet.clone(), percent };
            let lane = self.distinct(Subject::Fleet(fleet), vec![(share, Some("after"))]);
            phases.push(phase("share of traffic", vec![lane]));
        }
        phases
    }

    /// The environment is asked as a whole before something that cannot be undone.
    pub(crate) fn look_again(&self) -> Phase {
        let sweep = Action::Sweep { intended: self.intended() };
        let lane = self.distinct(Subject::Environment, vec![(sweep, Some("before"))]);
        phase("a look at every host", vec![lane])
    }

    /// What must run the build when this stage has done its work.
    fn intended(&self) -> Vec<(FleetName, RoleName)> {
        let stages = self.request.pipeline.stages.iter().take(self.index + 1);
        let mut intended = BTreeSet::new();
        for stage in stages.filter(|stage| stage.environment == self.spec.environment) {
            intended
                .extend(stage.exposure.iter().flat_map(|exposed| self.roles_of(&exposed.fleet)));
            match &stage.work {
                WorkSpec::Roles(roles) => {
                    intended.extend(roles.iter().map(|role| (stage.fleet.clone(), role.clone())));
                }
                WorkSpec::Migrations
                | WorkSpec::PostDeploymentMigrations
                | WorkSpec::DeployHost => intended.extend(self.migrated()),
                WorkSpec::Patch => intended.extend(self.roles_of(&stage.fleet)),
            }
        }
        intended.into_iter().collect()
    }

    /// Every role of a fleet of this environment.
    fn roles_of(&self, fleet: &FleetName) -> Vec<(FleetName, RoleName)> {
        let hosts = self.environment.fleets.get(fleet).into_iter().flat_map(|f| f.hosts.values());
        hosts.flat_map(|h| &h.roles).map(|role| (fleet.clone(), role.clone())).collect()
    }

    /// The deploy host's role, unless it has services, which migrations leave as they are.
    fn migrated(&self) -> Option<(FleetName, RoleName)> {
        let (fleet, host) = self.deploy_host().ok()?;
        let roles = || self.request.topology.roles_of(host);
        if roles().any(|role| !role.services.is_empty()) {
            return None;
        }
        roles().find(|role| role.migrations).map(|role| (fleet.name.clone(), role.name.clone()))
    }
}
