//! The pretend installation: a small GitLab of two environments, and the pipeline `to-canary` for it.
//!
//! It is made by hand rather than read from a file, so that the core can be simulated without the configuration.

use crate::latencies::Latencies;
use crate::world::BEGIN;
use serin_model::policy::Migrations;
use serin_model::{
    AlertSource, Argv, AtDeadline, Attribution, Build, BuildKind, ConfigManagement, DebVersion,
    Drain, Environment, EnvironmentName, Exposure, Fleet, Host, HostName, LbServer, Limit,
    LoadBalancer, Pipeline, PipelineName, Profile, QaReport, QaSuite, Quiet, Role, RoleName,
    ServiceAction, ServiceHow, ShareSpec, StageSpec, Timestamp, Topology, VersionRecord, WorkSpec,
};
use serin_runtime::INBOX_POLL;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The version that everything runs before.
pub const OLD: &str = "16.1.0-ee.0";
/// The version of the build.
pub const NEW: &str = "16.2.0-ee.0";
/// The percentage of traffic that the canary gets in the end.
const SHARE: u8 = 5;
/// The percentage that it gets to prove a build.
const EXPOSED: u8 = 10;
/// For how long it does.
pub const EXPOSED_FOR: Duration = secs(120);
/// How long each stage bakes.
pub const BAKE: Duration = secs(30);
/// How often alerts are read.
pub const POLL: Duration = secs(5);
/// Regular migrations that the build brings.
pub const REGULAR: [&str; 3] = ["20230701", "20230702", "20230703"];
/// Post-deployment migrations that the build brings.
pub const POST_DEPLOYMENT: [&str; 2] = ["20230711", "20230712"];

/// Parses a name that is written in this crate or in its tests.
///
/// # Panics
/// When it is not one.
pub fn name<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("names in the simulator are written by hand and tested by every run")
}

pub(crate) fn argv(text: &str) -> Argv {
    Argv::new(text.split(' ')).expect("commands in the simulator are written by hand")
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns the build.
pub fn build() -> Build {
    Build {
        package: name("gitlab-ee"),
        version: name(NEW),
        sha256: name(&"ab".repeat(32)),
        size: 1_000_000,
        kind: BuildKind::Official,
    }
}

/// An installation, and what is done to it.
#[derive(Debug, Clone)]
pub struct Setting {
    /// What there is.
    pub topology: Arc<Topology>,
    /// The recipes, by name.
    pub pipelines: BTreeMap<PipelineName, Pipeline>,
    /// The build that is delivered.
    pub build: Build,
    /// The version that everything has before.
    pub old: DebVersion,
    /// Stages of other pipelines that have brought the build already.
    pub brought: Vec<StageSpec>,
    /// Environments whose regular migrations are applied although no stage has applied them.
    pub migrated: BTreeSet<EnvironmentName>,
    /// How long work takes.
    pub latencies: Latencies,
    /// When the world begins.
    pub begin: Timestamp,
    /// A server that takes traffic has a new session so often.
    pub session_every: Duration,
    /// Config management converges so often.
    pub converge_every: Duration,
    /// Whoever acts reads the inbox so often.
    pub inbox_poll: Duration,
}

/// A server that takes traffic has a new session so often, in most worlds.
const SESSION_EVERY: Duration = Duration::from_millis(100);

/// Config management converges so often in most worlds: often enough to come in the way of everything.
const CONVERGE_EVERY: Duration = secs(90);

impl Setting {
    /// Returns the small installation that most tests use, with `to-canary`.
    pub fn small() -> Self {
        let pipeline = pipeline();
        let pipelines = BTreeMap::from([(pipeline.name.clone(), pipeline)]);
        Self::of(topology(), pipelines)
    }

    /// Returns an installation in which everything is quick and runs the version of before.
    pub(crate) fn of(topology: Topology, pipelines: BTreeMap<PipelineName, Pipeline>) -> Self {
        Self {
            topology: Arc::new(topology),
            pipelines,
            build: build(),
            old: name(OLD),
            brought: Vec::new(),
            migrated: BTreeSet::new(),
            latencies: Latencies::quick(),
            begin: BEGIN,
            session_every: SESSION_EVERY,
            converge_every: CONVERGE_EVERY,
            inbox_poll: INBOX_POLL,
        }
    }
}

/// Returns the build of before, as a rollback installs it.
pub fn old_build(version: DebVersion) -> Build {
    Build { version, sha256: name(&"cd".repeat(32)), ..build() }
}

/// Returns the installation.
pub fn topology() -> Topology {
    let environments = [staging(), production()];
    Topology {
        package: name("gitlab-ee"),
        profile: profile(),
        roles: roles().into_iter().map(|role| (role.name.clone(), role)).collect(),
        environments: environments.into_iter().map(|e| (e.name.clone(), e)).collect(),
    }
}

/// Returns the pipeline `to-canary`, with short bakes.
pub fn pipeline() -> Pipeline {
    let roles = |names: &[&str]| WorkSpec::Roles(names.iter().map(|n| name(n)).collect());
    let stage = |number, environment, fleet, work, qa: &[&str]| StageSpec {
        number,
        title: format!("stage {number}"),
        environment: name(environment),
        fleet: name(fleet),
        work,
        share: if fleet == "canary" { ShareSpec::ZeroThenAfterCanary } else { ShareSpec::Keep },
        exposure: None,
        approval: None,
        qa: qa.iter().map(|n| name(n)).collect(),
        bake: BAKE,
    };
    Pipeline {
        name: name("to-canary"),
        stages: vec![
            stage(1, "staging", "main", WorkSpec::Migrations, &[]),
            stage(2, "staging", "main", roles(&["gitaly"]), &["smoke"]),
            stage(3, "staging", "main", roles(&["web", "api", "sidekiq"]), &["smoke"]),
            stage(4, "staging", "main", WorkSpec::PostDeploymentMigrations, &[]),
            stage(5, "production", "main", WorkSpec::Migrations, &["smoke"]),
            stage(6, "production", "canary", roles(&["web", "api"]), &["canary"]),
        ],
    }
}

/// Returns the pipeline `to-main`: the canary proves the build for a while, then main's hosts get it.
pub fn promotion() -> Pipeline {
    let exposure = Exposure {
        fleet: name("canary"),
        percent: EXPOSED,
        // Nobody sends requests in this world.
        requests: 0,
        watch: EXPOSED_FOR,
        deadline: EXPOSED_FOR * 2,
    };
    let stage = StageSpec {
        number: 7,
        title: "main".to_owned(),
        environment: name("production"),
        fleet: name("main"),
        work: WorkSpec::Roles([name("web"), name("api")].into()),
        share: ShareSpec::Keep,
        exposure: Some(exposure),
        approval: None,
        qa: [name("smoke")].into(),
        bake: BAKE,
    };
    Pipeline { name: name("to-main"), stages: vec![stage] }
}

pub(crate) fn profile() -> Profile {
    Profile {
        name: "gitlab-omnibus".to_owned(),
        required_files: Vec::new(),
        check_config: Some(argv("gitlab-ctl check-config --version={version}")),
        reconfigure: Some(argv("gitlab-ctl reconfigure")),
        hup: argv("gitlab-ctl hup {service}"),
        restart: argv("gitlab-ctl restart {service}"),
        service_pid: argv("gitlab-ctl pid {service}"),
        running_version: Some(argv("gitlab-ctl running-version {service}")),
        migrations: Some(Migrations {
            regular: argv("gitlab-rake db:migrate regular"),
            post_deployment: argv("gitlab-rake db:migrate post-deployment"),
            status: argv("gitlab-rake db:migrate:status"),
            regular_folder: "/migrations".to_owned(),
            post_deployment_folder: "/post-migrations".to_owned(),
            no_session: argv("gitlab-psql no-session"),
            environment: BTreeMap::new(),
            timeout: secs(600),
        }),
        install_timeout: secs(600),
        command_timeout: secs(120),
    }
}

pub(crate) fn roles() -> Vec<Role> {
    let role = |title: &str, service: Option<(&str, ServiceHow)>, backends: &[&str]| Role {
        name: name(title),
        migrations: title == "deploy",
        services: service
            .map(|(service, how)| ServiceAction { name: name(service), how, loads: None })
            .into_iter()
            .collect(),
        backends: backends.iter().map(|b| name(b)).collect(),
        max_unavailable: Limit::Percent(25),
        drain: Drain { deadline: secs(30), then: AtDeadline::Fail },
        quiet: Quiet::None,
        health: (!backends.is_empty()).then(|| "http://127.0.0.1:8080/-/readiness".to_owned()),
        healthy_for: secs(2),
        healthy_deadline: secs(60),
    };
    let sidekiq = Quiet::StopFetching {
        stop: argv("gitlab-ctl tstp sidekiq"),
        idle: argv("gitlab-sidekiq-idle sidekiq"),
        deadline: secs(60),
        then: AtDeadline::Proceed,
    };
    vec![
        role("deploy", None, &[]),
        Role {
            quiet: Quiet::Graceful,
            max_unavailable: Limit::Count(1),
            ..role("gitaly", Some(("gitaly", ServiceHow::Hup)), &[])
        },
        role("web", Some(("puma", ServiceHow::Hup)), &["web"]),
        role("api", Some(("puma", ServiceHow::Restart)), &["api"]),
        Role { quiet: sidekiq, ..role("sidekiq", Some(("sidekiq", ServiceHow::Restart)), &[]) },
    ]
}

/// A host's name, its role, its backends, and which of these may be empty.
type Member = (&'static str, &'static str, &'static [(&'static str, bool)]);

fn fleet(title: &str, lbs: &[&str], share_after: Option<u8>, members: &[Member]) -> Fleet {
    let server = |lb: &str, host: &str, (backend, may_be_empty): (&str, bool)| LbServer {
        lb: name(lb),
        backend: name(backend),
        server: name(host.split('.').next().unwrap_or(host)),
        may_be_empty,
    };
    let host = |(host, role, backends): &Member| {
        let servers = lbs
            .iter()
            .flat_map(|lb| backends.iter().map(|backend| server(lb, host, *backend)))
            .collect();
        let roles: BTreeSet<RoleName> = BTreeSet::from([name(role)]);
        Host { name: name(host), roles, servers }
    };
    let hosts = members.iter().map(host).map(|host| (host.name.clone(), host)).collect();
    Fleet { name: name(title), hosts, share_after }
}

fn staging() -> Environment {
    let members: &[Member] = &[
        ("deploy-01.gstg", "deploy", &[]),
        ("gitaly-01.gstg", "gitaly", &[]),
        ("web-01.gstg", "web", &[("web", false)]),
        ("web-02.gstg", "web", &[("web", false)]),
        ("web-03.gstg", "web", &[("web", false)]),
        ("api-01.gstg", "api", &[("api", true)]),
        ("sidekiq-01.gstg", "sidekiq", &[]),
    ];
    let main = fleet("main", &["lb-01"], None, members);
    environment("staging", "gstg", &["lb-01"], [main])
}

fn production() -> Environment {
    let lbs = ["lb-01", "lb-02"];
    let main: &[Member] = &[
        ("deploy-01.gprd", "deploy", &[]),
        ("web-01.gprd", "web", &[("web", false)]),
        ("web-02.gprd", "web", &[("web", false)]),
        ("api-01.gprd", "api", &[("api", false)]),
    ];
    let canary: &[Member] = &[
        ("web-cny-01.gprd", "web", &[("web", false), ("canary_web", true)]),
        ("web-cny-02.gprd", "web", &[("web", false), ("canary_web", true)]),
        ("api-cny-01.gprd", "api", &[("api", false), ("canary_api", true)]),
    ];
    let fleets = [fleet("main", &lbs, None, main), fleet("canary", &lbs, Some(SHARE), canary)];
    environment("production", "gprd", &lbs, fleets)
}

pub(crate) fn environment(
    title: &str,
    domain: &str,
    lbs: &[&str],
    fleets: impl IntoIterator<Item = Fleet>,
) -> Environment {
    let deploy: HostName = name(&format!("deploy-01.{domain}"));
    let lb = |lb: &&str| LoadBalancer {
        name: name(lb),
        host: name(&format!("{lb}.{domain}")),
        socket: "/run/haproxy/admin.sock".to_owned(),
        master_socket: None,
        tcp: None,
        unfenced: false,
    };
    Environment {
        name: name(title),
        load_balancers: lbs.iter().map(lb).map(|lb| (lb.name.clone(), lb)).collect(),
        fleets: fleets.into_iter().map(|fleet| (fleet.name.clone(), fleet)).collect(),
        config_management: Some(ConfigManagement {
            agent: "chef-client".to_owned(),
            stop: argv("sv stop chef-client"),
            start: argv("sv start chef-client"),
            running: argv("pgrep -f chef-client"),
            wait: secs(60),
            record: Some(VersionRecord {
                read: argv("version-role get {environment}-{fleet}"),
                write: argv("version-role set {environment}-{fleet} {version}"),
                host: deploy,
            }),
        }),
        alerts: Some(AlertSource {
            alertmanagers: vec![format!("http://alerts.{title}")],
            prometheus: Vec::new(),
            matchers: Vec::new(),
            critical: Vec::new(),
            watchdog: Vec::new(),
            poll: POLL,
            unreadable_for: secs(120),
            min_age: Duration::ZERO,
            attribution: Some(Attribution { label: "instance".to_owned(), matchers: Vec::new() }),
        }),
        qa: ["smoke", "canary"].iter().map(|n| suite(n)).map(|s| (s.name.clone(), s)).collect(),
        freeze: Vec::new(),
        overriding: serin_model::Overriding::OnePerson,
    }
}

fn suite(title: &str) -> QaSuite {
    QaSuite {
        name: name(title),
        command: argv("qa"),
        report: QaReport::Rspec,
        minimum_tests: 1,
        timeout: secs(600),
        retry_failed: None,
        environment: BTreeMap::new(),
        secrets: Vec::new(),
    }
}
