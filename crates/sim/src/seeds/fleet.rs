//! Installations of every size, from one host to three hundred, and the pipelines for them.

use crate::installation::{self, BAKE, Setting, name};
use crate::random::Random;
use serin_model::{
    Environment, Exposure, Fleet, Host, HostName, LbServer, Limit, Pipeline, Role, RoleName,
    ShareSpec, StageSpec, Topology, WorkSpec,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many requests must reach a canary before main follows, where it has one.
const REQUESTS: u64 = 50;

/// What an installation looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Staging, if there is one.
    pub staging: Option<Hosts>,
    /// Production's main fleet.
    pub main: Hosts,
    /// Its canary, if there is one.
    pub canary: Option<Hosts>,
    /// Load balancers of each environment.
    pub load_balancers: u64,
    /// How many hosts of a role may be out.
    pub budget: Limit,
}

/// How many hosts a fleet has, by role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hosts {
    /// With `gitaly`.
    pub gitaly: u64,
    /// With `web`.
    pub web: u64,
    /// With `api`.
    pub api: u64,
    /// With `sidekiq`.
    pub sidekiq: u64,
    /// Whether migrations have a host of their own.
    pub deploy: Deploy,
}

/// Where migrations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deploy {
    /// On a host for that alone.
    Apart,
    /// Nowhere in this fleet: a canary shares its environment's host, and an installation of one host has nothing to
    /// migrate.
    Nowhere,
}

impl Hosts {
    fn count(&self) -> u64 {
        self.gitaly + self.web + self.api + self.sidekiq + u64::from(self.deploy == Deploy::Apart)
    }

    fn drawn(random: &mut Random, most: u64, deploy: Deploy) -> Self {
        let web = 1 + random.below(most);
        let some = |random: &mut Random, most: u64| {
            if random.one_in(2) { 0 } else { 1 + random.below(most.max(1)) }
        };
        let gitaly = some(random, most / 3);
        let api = some(random, most);
        let sidekiq = some(random, most / 2);
        Self { gitaly, web, api, sidekiq, deploy }
    }
}

impl Shape {
    /// Draws a shape: most are small, so that there is time for many; some are not.
    pub(crate) fn drawn(random: &mut Random) -> Self {
        let most = match random.below(200) {
            0 => 80,
            1..=4 => 20,
            5..=39 => 6,
            _ => 3,
        };
        let alone = Hosts { gitaly: 0, web: 1, api: 0, sidekiq: 0, deploy: Deploy::Nowhere };
        let budget = match random.below(4) {
            0 => Limit::Count(1),
            1 => Limit::Percent(50),
            2 => Limit::Count(2),
            _ => Limit::Percent(25),
        };
        let load_balancers = 1 + random.below(3);
        if random.one_in(12) {
            return Self { staging: None, main: alone, canary: None, load_balancers, budget };
        }
        let staging = (!random.one_in(3)).then(|| Hosts::drawn(random, most.min(4), Deploy::Apart));
        let main = Hosts::drawn(random, most, Deploy::Apart);
        let canary = (!random.one_in(3)).then(|| {
            let drawn = Hosts::drawn(random, most.min(5), Deploy::Nowhere);
            Hosts { gitaly: 0, sidekiq: 0, api: drawn.api.min(main.api), ..drawn }
        });
        Self { staging, main, canary, load_balancers, budget }
    }

    /// Returns a smaller installation of the same kind; `None`: this is the smallest.
    pub(crate) fn smaller(&self) -> Option<Self> {
        let halve = |hosts: &Hosts| Hosts {
            gitaly: hosts.gitaly / 2,
            web: hosts.web.div_ceil(2),
            api: hosts.api / 2,
            sidekiq: hosts.sidekiq / 2,
            deploy: hosts.deploy,
        };
        let smaller = Self {
            staging: self.staging.as_ref().map(halve),
            main: halve(&self.main),
            canary: self.canary.as_ref().map(halve),
            load_balancers: self.load_balancers.div_ceil(2),
            budget: self.budget,
        };
        (smaller != *self).then_some(smaller)
    }

    /// Returns how many hosts there are.
    pub fn hosts(&self) -> u64 {
        let fleets = [self.staging.as_ref(), Some(&self.main), self.canary.as_ref()];
        fleets.into_iter().flatten().map(Hosts::count).sum()
    }

    /// Returns the installation with its pipelines.
    pub(crate) fn setting(&self) -> Setting {
        let roles = installation::roles().into_iter().map(|role| {
            let max_unavailable = self.budget;
            (role.name.clone(), Role { max_unavailable, ..role })
        });
        let environments = [self.staging(), Some(self.production())];
        let environments = environments.into_iter().flatten();
        let topology = Topology {
            package: name("gitlab-ee"),
            profile: installation::profile(),
            roles: roles.collect(),
            environments: environments.map(|e| (e.name.clone(), e)).collect(),
        };
        let pipelines = [self.to_canary(), Some(self.to_main())].into_iter().flatten();
        let pipelines = pipelines.map(|pipeline| (pipeline.name.clone(), pipeline)).collect();
        Setting::of(topology, pipelines)
    }

    fn load_balancers(&self) -> Vec<String> {
        (1..=self.load_balancers).map(|number| format!("lb-{number:02}")).collect()
    }

    fn staging(&self) -> Option<Environment> {
        let hosts = self.staging.as_ref()?;
        let main = fleet("main", "gstg", hosts, &self.load_balancers());
        Some(self.environment("staging", "gstg", hosts, vec![main]))
    }

    fn production(&self) -> Environment {
        let lbs = self.load_balancers();
        let canary = self
            .canary
            .as_ref()
            .map(|hosts| Fleet { share_after: Some(5), ..fleet("canary", "gprd", hosts, &lbs) });
        let main = fleet("main", "gprd", &self.main, &lbs);
        let fleets = [Some(main), canary].into_iter().flatten().collect();
        self.environment("production", "gprd", &self.main, fleets)
    }

    fn environment(
        &self,
        title: &str,
        domain: &str,
        hosts: &Hosts,
        fleets: Vec<Fleet>,
    ) -> Environment {
        let lbs = self.load_balancers();
        let lbs: Vec<&str> = lbs.iter().map(String::as_str).collect();
        let mut environment = installation::environment(title, domain, &lbs, fleets);
        let record = environment.config_management.as_mut().and_then(|cm| cm.record.as_mut());
        if let (Some(record), Deploy::Nowhere) = (record, hosts.deploy) {
            record.host = name(&format!("web-001.{domain}"));
        }
        environment
    }

    fn to_canary(&self) -> Option<Pipeline> {
        let mut stages = Vec::new();
        if let Some(hosts) = &self.staging {
            stages.push(stage(1, ("staging", "main"), WorkSpec::Migrations, &[]));
            if hosts.gitaly > 0 {
                stages.push(stage(2, ("staging", "main"), roles(&["gitaly"]), &["smoke"]));
            }
            stages.push(stage(3, ("staging", "main"), roles(hosts.serving()), &["smoke"]));
            stages.push(stage(4, ("staging", "main"), WorkSpec::PostDeploymentMigrations, &[]));
        }
        if let Some(hosts) = &self.canary {
            stages.push(stage(5, ("production", "main"), WorkSpec::Migrations, &["smoke"]));
            let share = ShareSpec::ZeroThenAfterCanary;
            let canary = stage(6, ("production", "canary"), roles(hosts.serving()), &["canary"]);
            stages.push(StageSpec { share, ..canary });
        }
        (!stages.is_empty()).then(|| Pipeline { name: name("to-canary"), stages })
    }

    fn to_main(&self) -> Pipeline {
        let mut stages = Vec::new();
        if self.canary.is_none() && self.main.deploy == Deploy::Apart {
            stages.push(stage(5, ("production", "main"), WorkSpec::Migrations, &["smoke"]));
        }
        if self.main.gitaly > 0 {
            stages.push(stage(7, ("production", "main"), roles(&["gitaly"]), &["smoke"]));
        }
        stages.push(stage(8, ("production", "main"), roles(self.main.serving()), &["smoke"]));
        if self.main.deploy == Deploy::Apart {
            let post = WorkSpec::PostDeploymentMigrations;
            stages.push(stage(9, ("production", "main"), post, &[]));
        }
        if let (Some(first), true) = (stages.first_mut(), self.canary.is_some()) {
            first.exposure = Some(Exposure {
                fleet: name("canary"),
                percent: 10,
                requests: REQUESTS,
                watch: Duration::from_secs(30),
                deadline: Duration::from_mins(10),
            });
        }
        Pipeline { name: name("to-main"), stages }
    }
}

impl Hosts {
    fn serving(&self) -> &'static [&'static str] {
        match (self.api > 0, self.sidekiq > 0) {
            (true, true) => &["web", "api", "sidekiq"],
            (true, false) => &["web", "api"],
            (false, true) => &["web", "sidekiq"],
            (false, false) => &["web"],
        }
    }
}

fn roles(names: &[&str]) -> WorkSpec {
    WorkSpec::Roles(names.iter().map(|n| name(n)).collect())
}

fn stage(number: u32, place: (&str, &str), work: WorkSpec, qa: &[&str]) -> StageSpec {
    StageSpec {
        number,
        title: format!("stage {number}"),
        environment: name(place.0),
        fleet: name(place.1),
        work,
        share: ShareSpec::Keep,
        exposure: None,
        approval: None,
        qa: qa.iter().map(|n| name(n)).collect(),
        bake: BAKE,
    }
}

/// Makes a fleet. A canary has backends of its own beside those that it shares.
fn fleet(title: &str, domain: &str, hosts: &Hosts, lbs: &[String]) -> Fleet {
    let suffix = if title == "canary" { "-cny" } else { "" };
    let members = |role: &str, count: u64| {
        let host = |number| -> HostName { name(&format!("{role}{suffix}-{number:03}.{domain}")) };
        (1..=count).map(host).collect::<Vec<_>>()
    };
    let mut made: BTreeMap<HostName, Host> = BTreeMap::new();
    for (role, count, served) in [
        ("gitaly", hosts.gitaly, Served::No),
        ("web", hosts.web, Served::Yes),
        ("api", hosts.api, Served::Yes),
        ("sidekiq", hosts.sidekiq, Served::No),
    ] {
        for host in members(role, count) {
            let servers = match served {
                Served::No => Vec::new(),
                Served::Yes => servers(&host, role, (title, count), lbs),
            };
            let roles: BTreeSet<RoleName> = [name(role)].into();
            made.insert(host.clone(), Host { name: host, roles, servers });
        }
    }
    match hosts.deploy {
        Deploy::Nowhere => {}
        Deploy::Apart => {
            let host: HostName = name(&format!("deploy-01.{domain}"));
            let roles = [name("deploy")].into();
            made.insert(host.clone(), Host { name: host, roles, servers: Vec::new() });
        }
    }
    Fleet { name: name(title), hosts: made, share_after: None }
}

#[derive(Clone, Copy)]
enum Served {
    No,
    Yes,
}

fn servers(host: &HostName, role: &str, of: (&str, u64), lbs: &[String]) -> Vec<LbServer> {
    let (fleet, count) = of;
    let own = (fleet == "canary").then(|| (format!("canary_{role}"), true));
    let backends = [Some((role.to_owned(), count == 1)), own].into_iter().flatten();
    let on_all = |(backend, may_be_empty): (String, bool)| {
        lbs.iter().map(move |lb| LbServer {
            lb: name(lb),
            backend: name(&backend),
            server: name(host.as_str().split('.').next().unwrap_or_default()),
            may_be_empty,
        })
    };
    backends.flat_map(on_all).collect()
}
