//! What the phases of one stage are.
//!
//! Order of work in an environment: stop config management, record the version, check every host, then change them,
//! then start config management where a host runs what the record says.

mod back;
mod gates;
mod notes;
mod patches;

pub(crate) use back::started;

use crate::plan::Request;
use crate::report::{Note, PlanError, PlanReport};
use serin_model::{
    Action, ConfigManagementState, DebVersion, Environment, EnvironmentName, Fleet, Host, HostName,
    HostObservation, Lane, MigrationKind, Pace, PackageState, Phase, RoleName, ShareSpec,
    StageSpec, Step, StepId, Subject, WorkSpec,
};
use std::collections::BTreeSet;

/// Whether the plan has more to do in a stage's environment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    Environment,
    Nothing,
}

/// A stage that is being planned.
pub(crate) struct Stages<'a> {
    request: Request<'a>,
    index: usize,
    spec: &'a StageSpec,
    environment: &'a Environment,
    fleet: &'a Fleet,
}

impl<'a> Stages<'a> {
    pub(crate) fn new(request: Request<'a>, index: usize) -> Result<Self, PlanError> {
        let missing = |what: String| PlanError::NotInTopology(what);
        let spec = request.pipeline.stages.get(index);
        let spec = spec.ok_or_else(|| missing(format!("a stage {index}")))?;
        let environment = request.topology.environments.get(&spec.environment);
        let environment =
            environment.ok_or_else(|| missing(format!("environment {}", spec.environment)))?;
        let fleet = environment.fleets.get(&spec.fleet);
        let fleet =
            fleet.ok_or_else(|| missing(format!("fleet {}/{}", environment.name, spec.fleet)))?;
        Ok(Self { request, index, spec, environment, fleet })
    }

    /// The phases that change something; none when everything is as it should be.
    pub(crate) fn work(&self, report: &mut PlanReport) -> Result<Vec<Phase>, PlanError> {
        match &self.spec.work {
            WorkSpec::Roles(roles) => Ok(self.roles(roles, report)),
            WorkSpec::DeployHost => self.deploy_host_alone(report),
            WorkSpec::Patch => self.patch(report),
            WorkSpec::Migrations => self.migrations(MigrationKind::Regular, report),
            WorkSpec::PostDeploymentMigrations => {
                self.migrations(MigrationKind::PostDeployment, report)
            }
        }
    }

    /// The environment that the stage is in.
    pub(crate) fn environment(&self) -> &'a EnvironmentName {
        &self.environment.name
    }

    fn roles(&self, roles: &[RoleName], report: &mut PlanReport) -> Vec<Phase> {
        let members: Vec<&Host> = self
            .fleet
            .hosts
            .values()
            .filter(|host| host.roles.iter().any(|role| roles.contains(role)))
            .filter(|host| self.target(host).is_some())
            .collect();
        let (done, hosts): (Vec<&Host>, Vec<&Host>) =
            members.iter().copied().partition(|host| self.is_done(host));
        let idle = done.into_iter().filter(|host| self.is_idle(self.fleet, host));
        let bystanders = self.bystanders();
        let to_start: Vec<&Host> = hosts.iter().copied().chain(idle).chain(bystanders).collect();
        if to_start.is_empty() && !self.records_version() {
            return Vec::new();
        }
        if hosts.len() < members.len() {
            let count = members.len() - hosts.len();
            report.notes.push(Note::HostsDone { stage: self.spec.number, count });
        }
        self.note_roll(roles, &hosts, report);
        let mut phases = self.stop_and_record(&hosts, report);
        phases.push(phase("checks and fetches", self.prepare_all(&hosts)));
        if self.spec.share != ShareSpec::Keep && !hosts.is_empty() {
            let fleet = self.fleet.name.clone();
            let zero = Action::SetShare { fleet: fleet.clone(), percent: 0 };
            let lane = self.distinct(Subject::Fleet(fleet), vec![(zero, Some("before"))]);
            phases.push(phase("share to zero", vec![lane]));
        }
        phases.push(phase("deploy", self.each(&hosts, |host| self.roll(host))));
        phases.extend(self.start_config_management(self.fleet, &to_start));
        phases
    }

    fn migrations(
        &self,
        kind: MigrationKind,
        report: &mut PlanReport,
    ) -> Result<Vec<Phase>, PlanError> {
        if self.request.topology.profile.migrations.is_none() {
            return Err(PlanError::NoMigrations(self.spec.number));
        }
        let (fleet, host) = self.deploy_host()?;
        let seen = self.seen(&host.name);
        let installed =
            seen.and_then(HostObservation::installed) == Some(&self.request.build.version);
        let pending = seen.and_then(|seen| seen.pending_migrations.as_ref());
        let none = pending.is_some_and(|(regular, post)| match kind {
            MigrationKind::Regular => regular.is_empty(),
            MigrationKind::PostDeployment => post.is_empty(),
        });
        let regular = kind == MigrationKind::Regular;
        if installed && none && self.has_kept(host) && !(regular && self.records_version()) {
            let start = regular && self.deploys(fleet) && self.is_idle(fleet, host);
            let start = start.then(|| self.start_config_management(fleet, &[host]));
            return Ok(start.flatten().into_iter().collect());
        }
        let migrate = |actions: Vec<Action>| {
            phase("migrations", vec![self.lane(Subject::Host(host.name.clone()), actions)])
        };
        if kind == MigrationKind::PostDeployment {
            // Hours may have gone by since the hosts were changed, and from here there is no way back.
            return Ok(vec![self.look_again(), migrate(vec![Action::Migrate(kind)])]);
        }
        self.note_host(host, report);
        let mut phases = self.stop_and_record(&[host], report);
        phases.push(phase("checks and fetches", self.prepare_all(&[host])));
        let mut actions = self.install(host);
        actions.push(Action::Migrate(kind));
        phases.push(migrate(actions));
        if self.deploys(fleet) {
            phases.extend(self.start_config_management(fleet, &[host]));
        } else if self.environment.config_management.is_some() {
            report.notes.push(Note::ConfigManagementStays { host: host.name.clone() });
        }
        Ok(phases)
    }

    /// The deploy host goes back; the database stays as it is, because the migrations fit the code of before.
    fn deploy_host_alone(&self, report: &mut PlanReport) -> Result<Vec<Phase>, PlanError> {
        let (fleet, host) = self.deploy_host()?;
        let Some(target) = self.target(host) else { return Ok(Vec::new()) };
        let seen = self.seen(&host.name).and_then(HostObservation::installed);
        let right = seen == Some(target) && self.has_kept(host);
        let changed: &[&Host] = if right { &[] } else { &[host] };
        if changed.is_empty() && !self.records_version() {
            // An earlier rollback that was given up may have left its config management stopped.
            let start = self.is_stopped(host).then(|| self.start_config_management(fleet, &[host]));
            return Ok(start.flatten().into_iter().collect());
        }
        self.note_host(host, report);
        let mut phases = self.stop_and_record(changed, report);
        phases.push(phase("checks and fetches", self.prepare_all(changed)));
        phases.push(phase("deploy host", self.each(changed, |host| self.install(host))));
        phases.extend(self.start_config_management(fleet, &[host]));
        Ok(phases)
    }

    /// Config management is stopped on every host that is changed, and on every host that reads a record before that
    /// record changes.
    fn stop_and_record(&self, hosts: &[&Host], report: &mut PlanReport) -> Vec<Phase> {
        let Some(agent) = &self.environment.config_management else { return Vec::new() };
        let fleet = &self.fleet;
        let records = self.records_version() && agent.record.is_some();
        let mut readers: Vec<&Host> = hosts.to_vec();
        if records {
            let others =
                fleet.hosts.values().filter(|h| !hosts.iter().any(|own| own.name == h.name));
            readers.extend(others);
            readers.sort_by_key(|host| &host.name);
            let stays = |host: &&Host| !self.is_deployed(host) && !self.is_as_recorded(host);
            for host in fleet.hosts.values().filter(stays) {
                report.notes.push(Note::ConfigManagementStays { host: host.name.clone() });
            }
        }
        let stop = self.each(&readers, |_| vec![Action::StopConfigManagement]);
        let mut phases = vec![phase("stop config management", stop)];
        if records {
            let (from, to) = (self.recorded(fleet), self.request.back.and(self.to_record(fleet)));
            let record = Action::RecordVersion { fleet: fleet.name.clone(), from, to: to.cloned() };
            let subject = Subject::Fleet(fleet.name.clone());
            phases.push(phase("record the version", vec![self.lane(subject, vec![record])]));
        }
        phases
    }

    fn start_config_management(&self, fleet: &Fleet, hosts: &[&Host]) -> Option<Phase> {
        self.environment.config_management.as_ref()?;
        let start = || Action::StartConfigManagement { fleet: fleet.name.clone() };
        let lanes = self.each(hosts, |_| vec![start()]);
        Some(phase("start config management", lanes))
    }

    /// Tells whether config management of a host that is otherwise done has to be started: it was left stopped, or
    /// is stopped before the fleet's record changes.
    fn is_idle(&self, fleet: &Fleet, host: &Host) -> bool {
        let agent = self.environment.config_management.as_ref();
        let changes = self.recorded(fleet).as_ref() != self.to_record(fleet);
        agent.is_some_and(|agent| agent.record.is_some()) && (self.is_stopped(host) || changes)
    }

    fn is_stopped(&self, host: &Host) -> bool {
        let seen = self.seen(&host.name);
        seen.is_some_and(|seen| seen.config_management == ConfigManagementState::Stopped)
    }

    /// Returns the hosts of the fleet that run what its record says or is about to say, though the pipeline does not
    /// change them: an earlier one has. Their config management is stopped for the record, by this run or by one that
    /// was given up since, and must not stay so.
    fn bystanders(&self) -> Vec<&'a Host> {
        if !self.is_first_of_fleet() || !self.deploys(self.fleet) {
            return Vec::new();
        }
        let stopped = |host: &&Host| self.is_idle(self.fleet, host);
        let hosts = self.fleet.hosts.values();
        let others = hosts.filter(|host| !self.is_deployed(host) && self.is_as_recorded(host));
        if self.records_version() { others.collect() } else { others.filter(stopped).collect() }
    }

    /// Tells whether no earlier stage of the pipeline is about the stage's fleet.
    fn is_first_of_fleet(&self) -> bool {
        !self.request.pipeline.stages.iter().take(self.index).any(|stage| {
            stage.environment == self.spec.environment && stage.fleet == self.spec.fleet
        })
    }

    /// Tells whether a host runs what its fleet's record will say.
    fn is_as_recorded(&self, host: &Host) -> bool {
        let Some(version) = self.to_record(self.fleet) else { return false };
        let Some(seen) = self.seen(&host.name) else { return false };
        let mut services = self.request.topology.roles_of(host).flat_map(|role| &role.services);
        seen.installed() == Some(version) && services.all(|s| seen.runs(&s.name, version))
    }

    /// Tells whether the pipeline brings the build to a host of the stage's fleet.
    fn is_deployed(&self, host: &Host) -> bool {
        let here = |stage: &&StageSpec| stage.environment == self.spec.environment;
        self.request.pipeline.stages.iter().filter(here).any(|stage| match &stage.work {
            WorkSpec::Roles(roles) => {
                stage.fleet == self.fleet.name && host.roles.iter().any(|role| roles.contains(role))
            }
            WorkSpec::Migrations | WorkSpec::DeployHost => {
                self.deploy_host().is_ok_and(|(_, own)| own.name == host.name)
            }
            WorkSpec::PostDeploymentMigrations | WorkSpec::Patch => false,
        }) && self.target(host) == self.to_record(self.fleet)
    }

    /// Every host is checked and has its package; on one host of each role apt says that it would go there, and back.
    fn prepare_all(&self, hosts: &[&Host]) -> Vec<Lane> {
        let mut roles: BTreeSet<RoleName> = BTreeSet::new();
        let way_back = self.request.pace == Pace::Careful && self.request.back.is_none();
        let lane = |host: &&Host| {
            let installed = self.seen(&host.name).and_then(HostObservation::installed);
            let changes = installed.is_some() && installed != self.target(host);
            let first = changes
                && host.roles.iter().filter(|role| roles.insert((*role).clone())).count() > 0;
            let simulate = (first && way_back).then_some(Action::Simulate);
            self.lane(Subject::Host(host.name.clone()), self.prepare(host, simulate))
        };
        hosts.iter().map(lane).collect()
    }

    fn prepare(&self, host: &Host, simulate: Option<Action>) -> Vec<Action> {
        let mut actions = vec![Action::CheckHost { from: self.from(host) }, Action::Fetch];
        actions.extend(simulate);
        actions
            .extend(self.request.topology.profile.check_config.iter().map(|_| Action::CheckConfig));
        actions.extend(self.prepare_kept(host));
        actions
    }

    fn roll(&self, host: &Host) -> Vec<Action> {
        let drain = match self.request.pace {
            Pace::Careful => Some(Action::Drain),
            Pace::Expedited => None,
        };
        let back = [Action::Activate, Action::Ready];
        drain.into_iter().chain(self.install(host)).chain(back).collect()
    }

    fn install(&self, host: &Host) -> Vec<Action> {
        let reconfigure = self.request.topology.profile.reconfigure.as_ref();
        let reconfigure = reconfigure.map(|_| Action::Reconfigure);
        let install = [Action::Install { from: self.from(host) }];
        install.into_iter().chain(reconfigure).chain(self.patch_kept(host)).collect()
    }

    /// Tells whether this is the first stage that touches a fleet which the pipeline deploys, and its record differs.
    fn records_version(&self) -> bool {
        let has_record =
            self.environment.config_management.as_ref().is_some_and(|cm| cm.record.is_some());
        self.is_first_of_fleet()
            && has_record
            && (self.request.back.is_some() || self.deploys(self.fleet))
            && self.to_record(self.fleet).is_some()
            && self.recorded(self.fleet).as_ref() != self.to_record(self.fleet)
    }

    /// Returns what a fleet's record is to say; `None`: what it says now.
    fn to_record(&self, fleet: &Fleet) -> Option<&'a DebVersion> {
        let Some(back) = self.request.back else { return Some(&self.request.build.version) };
        let mut records = back.records.iter();
        let own = records.find(|(e, f, _)| *e == self.environment.name && *f == fleet.name);
        own.map(|(_, _, version)| version)
    }

    fn target(&self, host: &Host) -> Option<&'a DebVersion> {
        self.request.target(&host.name).map(|build| &build.version)
    }

    fn recorded(&self, fleet: &Fleet) -> Option<DebVersion> {
        let key = (self.environment.name.clone(), fleet.name.clone());
        self.request.observed.records.get(&key).cloned().flatten()
    }

    /// Tells whether a stage of the pipeline deploys roles of a fleet of this environment.
    fn deploys(&self, fleet: &Fleet) -> bool {
        self.request.pipeline.stages.iter().any(|stage| {
            matches!(stage.work, WorkSpec::Roles(_))
                && stage.environment == self.spec.environment
                && stage.fleet == fleet.name
        })
    }

    fn deploy_host(&self) -> Result<(&'a Fleet, &'a Host), PlanError> {
        let runs_migrations =
            |host: &Host| self.request.topology.roles_of(host).any(|role| role.migrations);
        let mut found = self.environment.hosts().filter(|(_, host)| runs_migrations(host));
        match (found.next(), found.count()) {
            (Some(only), 0) => Ok(only),
            (first, more) => Err(PlanError::DeployHost {
                environment: self.environment.name.clone(),
                count: more + usize::from(first.is_some()),
            }),
        }
    }

    /// Package, processes and servers: a host is done only when all of it is right.
    fn is_done(&self, host: &Host) -> bool {
        let Some(seen) = self.seen(&host.name) else { return false };
        let Some(version) = self.target(host) else { return true };
        let services = self.request.topology.roles_of(host).flat_map(|role| &role.services);
        seen.installed() == Some(version)
            && services.into_iter().all(|service| seen.runs(&service.name, version))
            && host.servers.iter().all(|server| self.is_up(server))
            && self.has_kept(host)
    }

    fn is_up(&self, server: &serin_model::LbServer) -> bool {
        let lb = (self.environment.name.clone(), server.lb.clone());
        let key = (server.backend.clone(), server.server.clone());
        let lb = self.request.observed.load_balancers.get(&lb);
        lb.and_then(|lb| lb.servers.get(&key)).is_some_and(|seen| seen.up)
    }

    fn seen(&self, host: &HostName) -> Option<&'a HostObservation> {
        self.request.observed.hosts.get(host)
    }

    fn from(&self, host: &Host) -> Option<DebVersion> {
        match &self.seen(&host.name)?.package {
            PackageState::Absent => None,
            PackageState::Installed(version) | PackageState::Broken { version, .. } => {
                Some(version.clone())
            }
        }
    }

    fn each(&self, hosts: &[&Host], actions: impl Fn(&Host) -> Vec<Action>) -> Vec<Lane> {
        let lane = |host: &&Host| self.lane(Subject::Host(host.name.clone()), actions(host));
        hosts.iter().map(lane).collect()
    }

    fn lane(&self, subject: Subject, actions: Vec<Action>) -> Lane {
        let named = |action| {
            let distinct = if let Action::Qa(suite) = &action {
                Some(suite.to_string())
            } else {
                action.patch().map(|patch| patch.short().to_owned())
            };
            self.step(&subject, action, distinct.as_deref())
        };
        let steps = actions.into_iter().map(named).collect();
        Lane { subject, steps }
    }

    fn distinct(&self, subject: Subject, actions: Vec<(Action, Option<&str>)>) -> Lane {
        let steps = actions
            .into_iter()
            .map(|(action, distinct)| self.step(&subject, action, distinct))
            .collect();
        Lane { subject, steps }
    }

    fn step(&self, subject: &Subject, action: Action, distinct: Option<&str>) -> Step {
        let subject = match subject {
            Subject::Host(host) => host.as_str(),
            Subject::Fleet(fleet) => fleet.as_str(),
            Subject::Environment => self.environment.name.as_str(),
        };
        Step { id: StepId::new(self.spec.number, subject, &action, distinct), action }
    }
}

fn phase(title: &str, lanes: Vec<Lane>) -> Phase {
    Phase { title: title.to_owned(), lanes }
}
