//! Rehearsals: somebody's own installation and pipeline, in the pretend world, with chosen incidents.
//!
//! A rehearsal is a story with another installation and another end: one pipeline is planned and run, and a halt ends
//! it, or is repaired and lifted. The same seed of the same rehearsal is the same in every word. [`Setting::pretended`]
//! says what becomes of an installation's own commands: nothing of it is run, read or reached.

use crate::installation::{self, Setting};
use crate::latencies::Latencies;
use crate::scenario::{AfterHalt, in_virtual_time};
use crate::seeds::{Incident, Planted};
use serin_engine::{Event, Run};
use serin_model::{
    Build, BuildKind, ConfigManagement, DebVersion, Environment, EnvironmentName, HostName,
    Pipeline, PipelineName, Profile, Quiet, Role, RunId, Timestamp, Topology, VersionRecord,
    WorkSpec,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The quickest that sessions come in a rehearsal: clocks of the world tick in milliseconds.
const QUICKEST_SESSIONS: Duration = Duration::from_millis(1);

/// Config management converges so often in a rehearsal: as often as Chef does.
const CONVERGE_EVERY: Duration = Duration::from_mins(30);

/// The inbox is read so often in a rehearsal: nobody asks anything, and hours are long. Leases hold for three times this.
const INBOX_POLL: Duration = Duration::from_secs(5);

/// What is rehearsed.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// Decides every latency, and what people do.
    pub seed: u64,
    /// The installation.
    pub setting: Setting,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// What happens meanwhile.
    pub incidents: Vec<Incident>,
    /// What people do about a halt.
    pub after_halt: AfterHalt,
    /// A bug that the checkers should find.
    pub planted: Option<Planted>,
}

/// What became of a rehearsal.
#[derive(Debug, Clone)]
pub struct Rehearsed {
    /// How it ended.
    pub end: RehearsalEnd,
    /// The run's id and records, if there was one.
    pub run: Option<(RunId, Vec<(Timestamp, Event)>)>,
    /// What went wrong, and when.
    pub befallen: Vec<(Timestamp, String)>,
    /// What the checkers found: a bug of Serin's, or of the pretend world.
    pub violations: Vec<String>,
    /// Everything that happened, a line each.
    pub timeline: Vec<String>,
}

/// How a rehearsal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RehearsalEnd {
    /// The run is finished.
    Delivered,
    /// The run has halted, and nobody did anything about it.
    Halted,
    /// The run was halted and resumed too often.
    GivenUp,
    /// There was no run.
    NotPlanned(String),
    /// It came to no end: a bug.
    NoEnd(String),
}

/// What is pretended of an installation besides what its configuration says.
#[derive(Debug, Clone)]
pub struct Pretended {
    /// The pipeline that is rehearsed.
    pub pipeline: PipelineName,
    /// The version of the build; `None`: one that stands for any.
    pub version: Option<DebVersion>,
    /// How long work takes.
    pub latencies: Latencies,
    /// When it begins.
    pub begin: Timestamp,
}

impl Rehearsed {
    /// Returns the run as it was in the end.
    pub fn state(&self) -> Option<Run> {
        let (_, events) = self.run.as_ref()?;
        Run::replay(events.iter().map(|(_, event)| event)).ok()
    }
}

/// Rehearses.
///
/// # Panics
/// When no tokio runtime can be made.
pub fn rehearse(rehearsal: &Rehearsal) -> Rehearsed {
    in_virtual_time(crate::seeds::rehearsed(rehearsal))
}

impl Setting {
    /// Returns a pretend installation that is like one of somebody's: with its hosts, servers, budgets, drains, bakes,
    /// deadlines and windows. Its commands are this world's own.
    pub fn pretended(
        topology: &Topology,
        pipelines: &BTreeMap<PipelineName, Pipeline>,
        what: Pretended,
    ) -> Self {
        let roles = topology.roles.values().map(|role| (role.name.clone(), quiet(role)));
        let environments = topology.environments.values().map(pretended);
        let topology = Topology {
            package: topology.package.clone(),
            profile: profile(&topology.profile),
            roles: roles.collect(),
            environments: environments.map(|e| (e.name.clone(), e)).collect(),
        };
        let build = Build {
            package: topology.package.clone(),
            version: what.version.unwrap_or_else(|| installation::name(installation::NEW)),
            kind: BuildKind::Official,
            ..installation::build()
        };
        let stages = pipelines.get(&what.pipeline).map_or(&[][..], |p| p.stages.as_slice());
        let first = stages.iter().map(|stage| stage.number).min().unwrap_or_default();
        let earlier = pipelines.values().filter(|other| {
            other.name != what.pipeline && other.stages.iter().all(|stage| stage.number < first)
        });
        let brought = earlier.flat_map(|pipeline| pipeline.stages.clone()).collect();
        let migrates = |name: &EnvironmentName| {
            stages.iter().any(|s| s.environment == *name && s.work == WorkSpec::Migrations)
        };
        let migrated = topology.environments.keys().filter(|name| !migrates(name)).cloned();
        let setting = Self::of(Topology::clone(&topology), pipelines.clone());
        let exposures = stages.iter().filter_map(|stage| stage.exposure.as_ref());
        let session_every = exposures
            .map(|exposure| {
                let requests = u32::try_from(exposure.requests).unwrap_or(u32::MAX);
                // Traffic is never what a rehearsal is short of.
                (exposure.watch / 2 / requests.max(1)).max(QUICKEST_SESSIONS)
            })
            .fold(setting.session_every, Duration::min);
        Self {
            migrated: migrated.collect(),
            build,
            brought,
            latencies: what.latencies,
            begin: what.begin,
            session_every,
            converge_every: CONVERGE_EVERY,
            inbox_poll: INBOX_POLL,
            ..setting
        }
    }

    /// Returns the same without freeze windows.
    #[must_use]
    pub fn thawed(mut self) -> Self {
        let mut topology = Topology::clone(&self.topology);
        for environment in topology.environments.values_mut() {
            environment.freeze.clear();
        }
        self.topology = Arc::new(topology);
        self
    }

    /// Returns how many hosts there are.
    pub fn hosts(&self) -> usize {
        self.topology.environments.values().flat_map(Environment::hosts).count()
    }
}

/// A profile with the commands of this world, where the other one has commands.
fn profile(of: &Profile) -> Profile {
    let pretend = installation::profile();
    let migrations = of.migrations.as_ref().and_then(|real| {
        let pretend = pretend.migrations.clone()?;
        Some(serin_model::policy::Migrations { timeout: real.timeout, ..pretend })
    });
    Profile {
        name: of.name.clone(),
        check_config: of.check_config.as_ref().and(pretend.check_config.clone()),
        reconfigure: of.reconfigure.as_ref().and(pretend.reconfigure.clone()),
        migrations,
        install_timeout: of.install_timeout,
        command_timeout: of.command_timeout,
        ..pretend
    }
}

fn quiet(role: &Role) -> Role {
    let service = role.services.first().map(|service| service.name.to_string());
    let quiet = match (&role.quiet, service) {
        (Quiet::StopFetching { deadline, then, .. }, Some(service)) => Quiet::StopFetching {
            stop: installation::argv(&format!("gitlab-ctl tstp {service}")),
            idle: installation::argv(&format!("gitlab-sidekiq-idle {service}")),
            deadline: *deadline,
            then: *then,
        },
        (Quiet::StopFetching { .. } | Quiet::None, _) => Quiet::None,
        (Quiet::Graceful, _) => Quiet::Graceful,
    };
    Role { quiet, ..role.clone() }
}

fn pretended(environment: &Environment) -> Environment {
    let pretend = installation::environment(environment.name.as_str(), "pretend", &[], []);
    let known = |name: &HostName| environment.hosts().any(|(_, host)| host.name == *name);
    let any = environment.hosts().next().map(|(_, host)| host.name.clone());
    let record = |real: &VersionRecord, pretend: VersionRecord| VersionRecord {
        // Wherever the command really runs, here it must be on a host of this world.
        host: Some(real.host.clone()).filter(&known).or(any).unwrap_or(pretend.host),
        ..pretend
    };
    let config_management = environment.config_management.as_ref().and_then(|real| {
        let pretend = pretend.config_management.clone()?;
        let record = real.record.as_ref().zip(pretend.record).map(|(a, b)| record(a, b));
        let (agent, wait) = (real.agent.clone(), real.wait);
        Some(ConfigManagement { agent, wait, record, ..pretend })
    });
    let alerts = environment.alerts.as_ref().and_then(|real| {
        let alertmanagers = pretend.alerts.clone()?.alertmanagers;
        Some(serin_model::AlertSource { alertmanagers, ..real.clone() })
    });
    Environment { config_management, alerts, ..environment.clone() }
}
