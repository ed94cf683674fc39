//! Hosts of the pretend world: package, services, config management, and what befalls them.
//!
//! Jobs are in `jobs.rs`. A host that is cut off lives on; one that dies loses its processes, and what dpkg was in the
//! middle of.

use crate::checker::Checker;
use crate::jobs::{Attempt, State};
use crate::seeds::Planted;
use crate::world::{Happening, World};
use serin_model::observation::ServiceObservation;
use serin_model::{
    Build, CarriedPatch, CarriedState, ConfigManagementState, DebVersion, EnvironmentName, Fleet,
    Host, HostName, HostObservation, PackageState, Patch, PatchId, RunId, ServiceName, Sha256,
    StepId, Timestamp, Topology,
};
use serin_runtime::ports::{CommandEnd, HostQuery, Look, PortError, Work};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a new process takes until it answers.
const WARMS_UP: Duration = Duration::from_millis(1_200);

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) environment: EnvironmentName,
    pub(crate) record: String,
    pub(crate) canary: bool,
    pub(crate) up: bool,
    pub(crate) cut_until: Timestamp,
    pub(crate) fence: u64,
    pub(crate) package: PackageState,
    pub(crate) sha256: Option<Sha256>,
    pub(crate) fetched: BTreeSet<DebVersion>,
    /// How often each run has installed something here.
    pub(crate) installs: BTreeMap<RunId, u32>,
    /// By what was put on, and how much of it is there.
    pub(crate) patches: BTreeMap<PatchId, CarriedPatch>,
    pub(crate) services: BTreeMap<ServiceName, Service>,
    pub(crate) agent: Agent,
    pub(crate) jobs: BTreeMap<(RunId, StepId), Vec<Attempt>>,
    pub(crate) dpkg_locked_until: Timestamp,
    /// When something last befell it that nobody can foresee: death, a boot, a version from elsewhere.
    pub(crate) struck: Option<Timestamp>,
    /// The package that somebody's version from elsewhere took the place of.
    pub(crate) before_third: Option<PackageState>,
    /// Whether somebody has ever installed a version from elsewhere: then config management is theirs, too.
    pub(crate) meddled: bool,
    boots: u32,
    pids: u32,
}

/// Config management: it ends a converge that it is in the middle of when it is stopped.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) runs: bool,
    pub(crate) converges: bool,
}

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) pid: Option<u32>,
    pub(crate) loaded: DebVersion,
    pub(crate) answers_from: Timestamp,
    pub(crate) fetches: bool,
    pub(crate) idle_from: Timestamp,
}

impl Machine {
    /// Puts a patch on or takes it off; returns the status that the wrapper has for it.
    pub(crate) fn patched(&mut self, patch: &Patch, work: &Work) -> i32 {
        if self.package != PackageState::Installed(patch.version.clone()) {
            return 20;
        }
        if matches!(work, Work::Patch(_)) {
            let Patch { id, package, version, files: _ } = patch.clone();
            let carried =
                CarriedPatch { id: id.clone(), package, version, state: CarriedState::Applied };
            self.patches.insert(id, carried);
        } else {
            self.patches.remove(&patch.id);
        }
        0
    }

    pub(crate) fn new(
        topology: &Topology,
        environment: &EnvironmentName,
        fleet: &Fleet,
        host: &Host,
        version: &DebVersion,
    ) -> Self {
        let begin = Timestamp::from_millis(0);
        let service = || Service {
            pid: Some(100),
            loaded: version.clone(),
            answers_from: begin,
            fetches: true,
            idle_from: begin,
        };
        let services = topology.roles_of(host).flat_map(|role| &role.services);
        Self {
            environment: environment.clone(),
            record: format!("{environment}-{}", fleet.name),
            canary: fleet.share_after.is_some(),
            up: true,
            cut_until: begin,
            fence: 0,
            package: PackageState::Installed(version.clone()),
            sha256: None,
            fetched: BTreeSet::new(),
            installs: BTreeMap::new(),
            patches: BTreeMap::new(),
            services: services.map(|s| (s.name.clone(), service())).collect(),
            agent: Agent {
                runs: topology
                    .environments
                    .get(environment)
                    .is_some_and(|environment| environment.config_management.is_some()),
                converges: false,
            },
            jobs: BTreeMap::new(),
            dpkg_locked_until: begin,
            struck: None,
            before_third: None,
            meddled: false,
            boots: 1,
            pids: 100,
        }
    }

    /// As if it had always had this build.
    pub(crate) fn has_always_run(&mut self, build: &Build) {
        self.package = PackageState::Installed(build.version.clone());
        self.sha256 = Some(build.sha256.clone());
        for service in self.services.values_mut() {
            service.loaded = build.version.clone();
        }
    }

    /// Tells whether the host itself would say that it is healthy.
    pub(crate) fn is_healthy(&self, now: Timestamp) -> bool {
        self.up && self.services.values().all(|s| s.pid.is_some() && s.answers_from <= now)
    }

    pub(crate) fn is_migrating(&self) -> bool {
        let last = self.jobs.values().filter_map(|attempts| attempts.last());
        last.into_iter().any(|attempt| attempt.state == State::Running && attempt.migrates())
    }

    pub(crate) fn runs(&self, version: &DebVersion) -> bool {
        matches!(&self.package, PackageState::Installed(found) if found == version)
            && self.services.values().all(|s| s.pid.is_some() && s.loaded == *version)
    }

    /// Tells whether it has another version, or processes of another version. One that is down is not late.
    pub(crate) fn is_late(&self, version: &DebVersion) -> bool {
        let has = matches!(&self.package, PackageState::Installed(found) if found == version);
        let old = self.services.values().any(|s| s.pid.is_some() && s.loaded != *version);
        self.before_third.is_none() && (!has || old)
    }

    fn replace(&mut self, service: &ServiceName, answers_from: Timestamp) {
        self.pids += 1;
        let pid = self.pids;
        let Some(service) = self.services.get_mut(service) else { return };
        if let PackageState::Installed(version) = &self.package {
            service.loaded = version.clone();
        }
        service.pid = Some(pid);
        service.answers_from = answers_from;
        service.fetches = true;
    }
}

impl World {
    /// Returns a machine that can be reached now.
    pub(crate) fn machine(&mut self, host: &HostName) -> Result<&mut Machine, PortError> {
        let now = self.now;
        match self.hosts.get_mut(host) {
            Some(machine) if machine.up && machine.cut_until <= now => Ok(machine),
            Some(_) | None => {
                let why = "connection timed out".to_owned();
                Err(PortError::Unreachable { host: host.clone(), why })
            }
        }
    }

    pub(crate) fn observe_host(&mut self, query: &HostQuery) -> Result<HostObservation, PortError> {
        let observed_at = self.now;
        let pending = match query.look {
            Look::State => None,
            Look::Migrations => self.pending(&query.host),
        };
        let mistaken = self.planted == Some(Planted::TakesBrokenForWhole);
        let machine = self.machine(&query.host)?;
        let broken = match &machine.package {
            PackageState::Broken { version, .. } if mistaken => Some(version.clone()),
            PackageState::Absent | PackageState::Installed(_) | PackageState::Broken { .. } => None,
        };
        let package = broken.clone().map(PackageState::Installed);
        let service = |(name, service): (&ServiceName, &Service)| {
            let loaded = || broken.clone().unwrap_or_else(|| service.loaded.clone());
            let version = service.pid.is_some().then(loaded);
            let seen = ServiceObservation { pid: service.pid, version, older_than_package: false };
            (name.clone(), seen)
        };
        Ok(HostObservation {
            observed_at,
            boot: machine.boots.to_string(),
            package: package.unwrap_or_else(|| machine.package.clone()),
            sha256: machine.sha256.clone(),
            services: machine.services.iter().map(service).collect(),
            patches: machine.patches.values().cloned().collect(),
            config_management: if machine.agent.runs || machine.agent.converges {
                ConfigManagementState::Running
            } else {
                ConfigManagementState::Stopped
            },
            free_bytes: 1_000_000_000_000,
            fence: machine.fence,
            missing_files: Vec::new(),
            pending_migrations: pending,
        })
    }

    /// Runs a command that changes nothing.
    pub(crate) fn read(
        &mut self,
        host: &HostName,
        words: &[&str],
    ) -> Result<CommandEnd, PortError> {
        let now = self.now;
        self.machine(host)?;
        let Some(machine) = self.hosts.get(host) else { return said(127, "") };
        let status = |good: bool| i32::from(!good);
        match words {
            ["pgrep", "-f", "chef-client"] => {
                said(status(machine.agent.runs || machine.agent.converges), "")
            }
            ["version-role", "get", key] => {
                said(0, self.records.get(*key).map_or("", |version| version.as_str()))
            }
            ["gitlab-ctl", "check-config", _] => said(0, "fits"),
            ["gitlab-psql", "no-session"] => said(status(!self.migrates(host)), ""),
            ["gitlab-sidekiq-idle", _] => {
                said(status(machine.services.values().all(|s| s.idle_from <= now)), "")
            }
            ["curl", ..] => said(status(machine.is_healthy(now)), "503"),
            _ => said(127, "command not found"),
        }
    }

    fn migrates(&self, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(Machine::is_migrating)
    }

    /// A service has a new process, which answers after a while.
    pub(crate) fn replaced(&mut self, host: &HostName, service: &ServiceName) {
        let answers_from = self.now.plus(WARMS_UP);
        let Some(machine) = self.hosts.get_mut(host).filter(|machine| machine.up) else { return };
        machine.replace(service, answers_from);
        self.note(host.as_str(), &format!("{service} has a new process"));
        self.checks_soon(host);
    }

    /// Every service of a host has a new process.
    pub(crate) fn restarted(&mut self, host: &HostName) {
        let services = self.hosts.get(host).map(|machine| machine.services.keys().cloned());
        for service in services.into_iter().flatten().collect::<Vec<ServiceName>>() {
            self.replaced(host, &service);
        }
    }

    /// HAProxy notices a change of a host's health within the interval of its checks.
    fn checks_soon(&mut self, host: &HostName) {
        let soon = self.random.millis(100, 1_000);
        let later = WARMS_UP + self.random.millis(100, 1_900);
        self.schedule(soon, Happening::Checked { host: host.clone() });
        self.schedule(later, Happening::Checked { host: host.clone() });
    }

    pub(crate) fn dies(&mut self, host: &HostName, back_after: Option<Duration>) {
        let now = self.now;
        let Some(machine) = self.hosts.get_mut(host) else { return };
        machine.struck = Some(now);
        machine.up = false;
        machine.agent.converges = false;
        for service in machine.services.values_mut() {
            service.pid = None;
        }
        for attempt in machine.jobs.values_mut().flatten() {
            if attempt.state == State::Running {
                attempt.state = State::Died;
            }
        }
        self.checks_soon(host);
        if let Some(after) = back_after {
            self.schedule(after, Happening::Boots { host: host.clone() });
        }
    }

    pub(crate) fn boots(&mut self, host: &HostName) {
        let now = self.now;
        let answers_from = self.now.plus(WARMS_UP);
        let Some(machine) = self.hosts.get_mut(host).filter(|machine| !machine.up) else { return };
        machine.up = true;
        machine.struck = Some(now);
        machine.boots += 1;
        let names: Vec<ServiceName> = machine.services.keys().cloned().collect();
        for service in names {
            machine.replace(&service, answers_from);
        }
        self.note(host.as_str(), "boots");
        self.checks_soon(host);
    }

    /// Config management takes the record at its word.
    pub(crate) fn converge(&mut self, host: &HostName) {
        self.schedule(self.converge_every, Happening::Converge { host: host.clone() });
        self.converge_once(host);
    }

    /// Config management begins now, unless it is stopped.
    pub(crate) fn converge_once(&mut self, host: &HostName) {
        let takes = self.random.millis(2_000, 6_000);
        let Some(machine) = self.hosts.get_mut(host).filter(|m| m.up && m.agent.runs) else {
            return;
        };
        machine.agent.converges = true;
        self.schedule(takes, Happening::Converged { host: host.clone() });
    }

    pub(crate) fn converged(&mut self, host: &HostName) {
        let Some(machine) = self.hosts.get_mut(host).filter(|m| m.agent.converges) else { return };
        machine.agent.converges = false;
        let recorded = self.records.get(&machine.record).cloned();
        let differs = |version: &DebVersion| match &machine.package {
            PackageState::Installed(found) => found != version,
            PackageState::Absent | PackageState::Broken { .. } => true,
        };
        let Some(version) = recorded.filter(differs) else { return };
        machine.package = PackageState::Installed(version.clone());
        let repairs = machine.before_third.take().is_some();
        self.restarted(host);
        if repairs {
            self.note(host.as_str(), &format!("config management puts {version} back"));
            return;
        }
        self.violation(
            Checker::ConfigManagement,
            format!("config management installed {version} on {host} by itself"),
        );
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the last line of a command reads `said(…)`")]
fn said(status: i32, output: &str) -> Result<CommandEnd, PortError> {
    Ok(CommandEnd { status, output: output.to_owned() })
}
