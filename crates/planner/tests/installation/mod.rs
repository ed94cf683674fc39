//! An installation from a few lines of text, in which everything runs version 1.0; build 2.0 is to be delivered.
//!
//! ```text
//! staging lb-01
//!   main deploy-01 gitaly-01 web-01..02
//! production lb-01 lb-02
//!   main deploy-01 gitaly-01 web-01..03
//!   canary web-cny-01
//! ```
//!
//! A line that is not indented is an environment with its load balancers, an indented one is a fleet with its hosts.
//! A host's role is the first part of its name; several are joined by `+`, as in `web+sidekiq-01`. The engine's tests
//! use the same installation.

use serin_model::observation::ServiceObservation;
use serin_model::policy::Migrations;
use serin_model::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) const OLD: &str = "1.0";
pub(crate) const NEW: &str = "2.0";
/// Migrations that the new build brings: regular, then post-deployment.
pub(crate) const MIGRATIONS: (&[&str], &[&str]) = (&["m1", "m2"], &["p1"]);

/// What the planner is asked, with what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installation {
    pub(crate) topology: Topology,
    pub(crate) pipeline: Pipeline,
    pub(crate) build: Build,
    pub(crate) observed: Observed,
    pub(crate) passed: BTreeSet<u32>,
    pub(crate) pace: Pace,
    /// Where hosts go back to.
    pub(crate) back: Option<Back>,
    /// The patch that a plan is about.
    pub(crate) patching: Option<Patching>,
    /// The patches that hosts are to have.
    pub(crate) overlays: Vec<PlacedOverlay>,
}

/// Parses any name, version or limit of the model.
pub(crate) fn of<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn argv(text: &str) -> Argv {
    Argv::new(text.split(' ')).unwrap()
}

impl Installation {
    /// What the planner is asked.
    pub(crate) fn request(&self) -> serin_planner::Request<'_> {
        serin_planner::Request {
            topology: &self.topology,
            pipeline: &self.pipeline,
            build: &self.build,
            observed: &self.observed,
            passed: &self.passed,
            pace: self.pace,
            back: self.back.as_ref(),
            patching: self.patching.as_ref(),
            overlays: &self.overlays,
        }
    }

    pub(crate) fn new(text: &str) -> Self {
        let mut environments = BTreeMap::new();
        let mut current: Option<EnvironmentName> = None;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap();
            if line.starts_with(' ') {
                let environment = current.as_ref().and_then(|e| environments.get_mut(e)).unwrap();
                add_fleet(environment, name, words);
            } else {
                current = Some(of(name));
                environments.insert(of(name), environment(name, words));
            }
        }
        environments.values_mut().for_each(mark_lonely);
        let topology =
            Topology { package: of("gitlab-ee"), profile: profile(), roles: roles(), environments };
        Self {
            observed: all_old(&topology),
            pipeline: to_canary(&topology),
            build: build(NEW),
            topology,
            passed: BTreeSet::new(),
            pace: Pace::Careful,
            back: None,
            patching: None,
            overlays: Vec::new(),
        }
    }

    pub(crate) fn host(&mut self, host: &str) -> &mut HostObservation {
        self.observed.hosts.get_mut(&of::<HostName>(host)).unwrap()
    }

    /// Everything that was seen of a host's servers.
    pub(crate) fn servers(&mut self, host: &str) -> Vec<&mut ServerObservation> {
        let label = of::<HostName>(host).first_label().to_owned();
        let environment = host.rsplit('.').next().unwrap().to_owned();
        let lbs = self.observed.load_balancers.iter_mut();
        lbs.filter(|((name, _), _)| name.as_str() == environment)
            .flat_map(|(_, lb)| lb.servers.iter_mut())
            .filter(|((_, server), _)| server.as_str() == label)
            .map(|(_, seen)| seen)
            .collect()
    }

    pub(crate) fn environment(&mut self, name: &str) -> &mut Environment {
        self.topology.environments.get_mut(&of::<EnvironmentName>(name)).unwrap()
    }

    pub(crate) fn pass_all(&mut self) {
        self.passed = self.pipeline.stages.iter().map(|stage| stage.number).collect();
    }

    /// Makes what is seen what it is after a plan has succeeded.
    pub(crate) fn succeed(&mut self, plan: &Plan) {
        for (stage, lane, step) in plan.steps() {
            self.done(&stage.environment, &lane.subject, &step.action);
        }
    }

    /// Makes what is seen what it is after an action has succeeded.
    pub(crate) fn done(
        &mut self,
        environment: &EnvironmentName,
        subject: &Subject,
        action: &Action,
    ) {
        let target = self.build.version.clone();
        if let Action::RecordVersion { fleet, to, .. } = action {
            let to = to.clone().unwrap_or(target);
            self.observed.records.insert((environment.clone(), fleet.clone()), Some(to));
            return;
        }
        if let Action::SetShare { fleet, percent } = action {
            let shared = self.topology.environments[environment].shared_servers(fleet);
            for server in shared {
                let key = (server.backend.clone(), server.server.clone());
                let lb = (environment.clone(), server.lb.clone());
                let lb = self.observed.load_balancers.get_mut(&lb).unwrap();
                lb.servers.get_mut(&key).unwrap().weight = u32::from(*percent);
            }
            return;
        }
        let Subject::Host(name) = subject else { return };
        let own = self.back.as_ref().and_then(|back| back.hosts.get(name));
        let target = own.map_or(target, |build| build.version.clone());
        let record = self.recorded(environment, name);
        let seen = self.observed.hosts.get_mut(name).unwrap();
        match action {
            Action::StopConfigManagement => {
                seen.config_management = ConfigManagementState::Stopped;
            }
            Action::StartConfigManagement { .. } if record.as_ref() == seen.installed() => {
                seen.config_management = ConfigManagementState::Running;
            }
            Action::Install { .. } if seen.installed() != Some(&target) => {
                seen.sha256 = Some(self.build.sha256.clone());
                seen.package = PackageState::Installed(target);
                let own = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
                if seen.pending_migrations.is_some() {
                    seen.pending_migrations = Some((own(MIGRATIONS.0), own(MIGRATIONS.1)));
                }
            }
            Action::Activate => {
                for service in seen.services.values_mut() {
                    *service = running(&target);
                }
            }
            Action::Migrate(kind) => {
                let pending = seen.pending_migrations.as_mut().unwrap();
                match kind {
                    MigrationKind::Regular => pending.0.clear(),
                    MigrationKind::PostDeployment => pending.1.clear(),
                }
            }
            Action::Drain => self.set_admin(&name.clone(), AdminState::Drain),
            Action::Ready => self.set_admin(&name.clone(), AdminState::Ready),
            _ => {}
        }
    }

    fn recorded(&self, environment: &EnvironmentName, host: &HostName) -> Option<DebVersion> {
        let environment = &self.topology.environments[environment];
        let (fleet, _) = environment.hosts().find(|(_, h)| h.name == *host).unwrap();
        let key = (environment.name.clone(), fleet.name.clone());
        self.observed.records.get(&key).cloned().flatten()
    }

    pub(crate) fn set_admin(&mut self, host: &HostName, admin: AdminState) {
        for seen in self.servers(host.as_str()) {
            seen.admin = admin;
            seen.up = admin == AdminState::Ready;
        }
    }
}

fn environment<'a>(name: &str, lbs: impl Iterator<Item = &'a str>) -> Environment {
    let lb = |lb: &str| LoadBalancer {
        name: of(lb),
        host: of(&format!("{lb}.{name}")),
        socket: "/run/haproxy/admin.sock".to_owned(),
        master_socket: None,
        tcp: None,
        unfenced: false,
    };
    Environment {
        name: of(name),
        load_balancers: lbs.map(|name| (of(name), lb(name))).collect(),
        fleets: BTreeMap::new(),
        config_management: Some(ConfigManagement {
            agent: "chef-client".to_owned(),
            stop: argv("sv stop chef-client"),
            start: argv("sv start chef-client"),
            running: argv("pgrep chef-client"),
            wait: Duration::from_mins(5),
            record: Some(VersionRecord {
                read: argv("version-role get {environment}-{fleet}"),
                write: argv("version-role set {environment}-{fleet} {version}"),
                host: of(&format!("deploy-01.{name}")),
            }),
        }),
        alerts: Some(AlertSource {
            alertmanagers: vec!["http://alerts:9093".to_owned()],
            prometheus: Vec::new(),
            matchers: Vec::new(),
            critical: Vec::new(),
            watchdog: vec!["alertname=\"Watchdog\"".to_owned()],
            poll: Duration::from_secs(15),
            unreadable_for: Duration::from_mins(2),
            min_age: Duration::from_mins(3),
            attribution: None,
        }),
        qa: BTreeMap::new(),
        freeze: Vec::new(),
        overriding: Overriding::OnePerson,
    }
}

fn add_fleet<'a>(environment: &mut Environment, name: &str, words: impl Iterator<Item = &'a str>) {
    let mut hosts = BTreeMap::new();
    for label in words.flat_map(expand) {
        let own_roles: BTreeSet<RoleName> =
            label.split('-').next().unwrap().split('+').map(of).collect();
        let label = label.replace('+', "_");
        let host: HostName = of(&format!("{label}.{}", environment.name));
        let mut servers = Vec::new();
        for lb in environment.load_balancers.keys() {
            for role in own_roles.iter().filter(|r| ["web", "api", "git"].contains(&r.as_str())) {
                let mut backends = vec![(role.to_string(), false)];
                if name == "canary" {
                    backends.push((format!("canary_{role}"), true));
                }
                servers.extend(backends.into_iter().map(|(backend, may_be_empty)| LbServer {
                    lb: lb.clone(),
                    backend: of(&backend),
                    server: of(&label),
                    may_be_empty,
                }));
            }
        }
        hosts.insert(host.clone(), Host { name: host, roles: own_roles, servers });
    }
    let share_after = (name == "canary").then_some(5);
    environment.fleets.insert(of(name), Fleet { name: of(name), hosts, share_after });
}

/// Expands `web-01..03`.
fn expand(word: &str) -> Vec<String> {
    let Some((first, last)) = word.split_once("..") else { return vec![word.to_owned()] };
    let (prefix, first) = first.rsplit_once('-').unwrap();
    let width = first.len();
    let range = first.parse::<u32>().unwrap()..=last.parse().unwrap();
    range.map(|n| format!("{prefix}-{n:0width$}")).collect()
}

/// A backend with one server may be empty.
fn mark_lonely(environment: &mut Environment) {
    let mut counts: BTreeMap<BackendName, usize> = BTreeMap::new();
    for (_, host) in environment.hosts() {
        for backend in host.servers.iter().map(|s| &s.backend).collect::<BTreeSet<_>>() {
            *counts.entry(backend.clone()).or_default() += 1;
        }
    }
    let hosts = environment.fleets.values_mut().flat_map(|fleet| fleet.hosts.values_mut());
    for server in hosts.flat_map(|host| &mut host.servers) {
        server.may_be_empty |= counts[&server.backend] == 1;
    }
}

fn roles() -> BTreeMap<RoleName, Role> {
    let role = |name: &str, service: Option<&str>, limit: &str| {
        let service =
            service.map(|s| ServiceAction { name: of(s), how: ServiceHow::Hup, loads: None });
        let role = Role {
            name: of(name),
            migrations: name == "deploy",
            services: service.into_iter().collect(),
            backends: Vec::new(),
            max_unavailable: of(limit),
            drain: Drain { deadline: Duration::from_mins(1), then: AtDeadline::Fail },
            quiet: Quiet::None,
            health: None,
            healthy_for: Duration::from_secs(5),
            healthy_deadline: Duration::from_mins(1),
        };
        (role.name.clone(), role)
    };
    BTreeMap::from([
        role("deploy", None, "1"),
        role("gitaly", Some("gitaly"), "1"),
        role("web", Some("puma"), "25%"),
        role("api", Some("puma"), "25%"),
        role("git", Some("workhorse"), "1"),
        role("sidekiq", Some("sidekiq"), "50%"),
    ])
}

fn profile() -> Profile {
    Profile {
        name: "gitlab-omnibus".to_owned(),
        required_files: Vec::new(),
        check_config: Some(argv("gitlab-ctl check-config {version}")),
        reconfigure: Some(argv("gitlab-ctl reconfigure")),
        hup: argv("gitlab-ctl hup {service}"),
        restart: argv("gitlab-ctl restart {service}"),
        service_pid: argv("pid {service}"),
        running_version: Some(argv("running {service}")),
        migrations: Some(Migrations {
            regular: argv("migrate"),
            post_deployment: argv("migrate post"),
            status: argv("status"),
            regular_folder: "/db/migrate".to_owned(),
            post_deployment_folder: "/db/post_migrate".to_owned(),
            no_session: argv("no-session"),
            environment: BTreeMap::new(),
            timeout: Duration::from_hours(1),
        }),
        install_timeout: Duration::from_mins(10),
        command_timeout: Duration::from_mins(10),
    }
}

/// The six stages of DESIGN's table, without those whose environment the installation does not have.
fn to_canary(topology: &Topology) -> Pipeline {
    let rest = || WorkSpec::Roles(["web", "api", "git", "sidekiq"].map(of).to_vec());
    let gitaly = WorkSpec::Roles(vec![of("gitaly")]);
    let stages = [
        (1, "migrations", "staging", WorkSpec::Migrations, false, false),
        (2, "gitaly", "staging", gitaly, false, true),
        (3, "fleet", "staging", rest(), false, true),
        (4, "post-deployment", "staging", WorkSpec::PostDeploymentMigrations, false, false),
        (5, "migrations", "production", WorkSpec::Migrations, false, true),
        (6, "canary", "production", rest(), true, true),
    ];
    let spec =
        |(number, title, environment, work, canary, qa): (u32, &str, &str, _, bool, bool)| {
            StageSpec {
                number,
                title: format!("{environment} {title}"),
                environment: of(environment),
                fleet: of(if canary { "canary" } else { "main" }),
                work,
                share: if canary { ShareSpec::ZeroThenAfterCanary } else { ShareSpec::Keep },
                exposure: None,
                approval: None,
                qa: if qa { vec![of("smoke")] } else { Vec::new() },
                bake: Duration::from_mins(5),
            }
        };
    let known = |stage: &StageSpec| topology.environments.contains_key(&stage.environment);
    Pipeline { name: of("to-canary"), stages: stages.map(spec).into_iter().filter(known).collect() }
}

/// The three stages that follow: the canary's proof, gitaly, the fleet, post-deployment migrations.
pub(crate) fn to_main(topology: &Topology) -> Pipeline {
    let exposure = Exposure {
        fleet: of("canary"),
        percent: 5,
        requests: 1000,
        watch: Duration::from_mins(10),
        deadline: Duration::from_hours(2),
    };
    let rest = ["web", "api", "git", "sidekiq"].map(of).to_vec();
    let stages = [
        ("gitaly", WorkSpec::Roles(vec![of("gitaly")])),
        ("fleet", WorkSpec::Roles(rest)),
        ("post-deployment", WorkSpec::PostDeploymentMigrations),
    ];
    let spec = |(number, (title, work)): (u32, (&str, WorkSpec))| StageSpec {
        number,
        title: format!("production {title}"),
        environment: of("production"),
        fleet: of("main"),
        exposure: (number == 7).then(|| exposure.clone()),
        approval: (number == 8).then(|| "manual tests".to_owned()),
        share: ShareSpec::Keep,
        qa: if number == 9 { Vec::new() } else { vec![of("smoke")] },
        bake: Duration::from_mins(5),
        work,
    };
    assert!(topology.environments.contains_key(&of::<EnvironmentName>("production")));
    Pipeline { name: of("to-main"), stages: (7..).zip(stages).map(spec).collect() }
}

pub(crate) fn build(version: &str) -> Build {
    Build {
        package: of("gitlab-ee"),
        version: of(version),
        sha256: of(&"ab".repeat(32)),
        size: 1_000_000,
        kind: BuildKind::Nightly,
    }
}

pub(crate) fn running(version: &DebVersion) -> ServiceObservation {
    ServiceObservation { pid: Some(7), version: Some(version.clone()), older_than_package: false }
}

fn all_old(topology: &Topology) -> Observed {
    let old: DebVersion = of(OLD);
    let mut observed = Observed::default();
    for environment in topology.environments.values() {
        for fleet in environment.fleets.keys() {
            let key = (environment.name.clone(), fleet.clone());
            observed.records.insert(key, Some(old.clone()));
        }
        let mut number = 0;
        for (_, host) in environment.hosts() {
            number += 1;
            let services = topology.roles_of(host).flat_map(|role| &role.services);
            let migrates = topology.roles_of(host).any(|role| role.migrations);
            let seen = HostObservation {
                observed_at: Timestamp::from_millis(0),
                boot: "boot-1".to_owned(),
                package: PackageState::Installed(old.clone()),
                sha256: None,
                services: services.map(|s| (s.name.clone(), running(&old))).collect(),
                patches: Vec::new(),
                config_management: ConfigManagementState::Running,
                free_bytes: 1_000_000_000,
                fence: 0,
                missing_files: Vec::new(),
                pending_migrations: migrates.then(Default::default),
            };
            observed.hosts.insert(host.name.clone(), seen);
            for server in &host.servers {
                let lb = (environment.name.clone(), server.lb.clone());
                let lb = observed.load_balancers.entry(lb).or_insert_with(no_servers);
                let key = (server.backend.clone(), server.server.clone());
                lb.servers.insert(key, up(&format!("10.0.0.{number}")));
            }
        }
        for lb in environment.load_balancers.keys() {
            let key = (environment.name.clone(), lb.clone());
            observed.load_balancers.entry(key).or_insert_with(no_servers);
        }
    }
    observed
}

fn no_servers() -> LbObservation {
    LbObservation {
        observed_at: Timestamp::from_millis(0),
        worker: "1".to_owned(),
        servers: BTreeMap::new(),
        balance: BTreeMap::new(),
        leaving: Workers::default(),
    }
}

pub(crate) fn up(address: &str) -> ServerObservation {
    ServerObservation {
        admin: AdminState::Ready,
        up: true,
        healthy: true,
        status: "UP".to_owned(),
        sessions: 0,
        queued: 0,
        weight: 100,
        initial_weight: 100,
        total_sessions: 0,
        address: address.to_owned(),
        agent: false,
        kind: ServerKind::Active,
        last_change_ms: 0,
    }
}
