//! The hosts of the lab: their names, addresses and what each one is for.
//!
//! Pure data, rendered from nothing but [`Size`]. It does not know how a host is started (`host`) nor what files it
//! gets (`seed`). Read [`Topology`] first.

use crate::text::append;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;

/// How much of the installation is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Size {
    /// Staging, production and the production canary.
    Full,
    /// Staging only: two web hosts and what they need.
    Small,
}

/// One of the two complete installations in the lab.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Environment {
    /// Hosts `*.gstg`.
    Staging,
    /// Hosts `*.gprd`.
    Production,
}

impl Environment {
    /// Both, in the order in which builds reach them.
    pub(crate) const ALL: [Self; 2] = [Self::Staging, Self::Production];

    /// Returns the last label of its hosts' names, which is also the `env` label of its alerts.
    pub(crate) fn domain(self) -> &'static str {
        match self {
            Self::Staging => "gstg",
            Self::Production => "gprd",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Staging => "staging",
            Self::Production => "production",
        })
    }
}

/// Hosts of one environment that share a slice of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fleet {
    /// Everything that is not canary.
    Main,
    /// The production canary.
    Canary,
}

impl fmt::Display for Fleet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Main => "main",
            Self::Canary => "canary",
        })
    }
}

/// What a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Runs migrations, and keeps the version record's commands.
    Deploy,
    /// Serves repositories to the other application hosts.
    Gitaly,
    /// Serves pages.
    Web,
    /// Serves the API.
    Api,
    /// Serves git over HTTP.
    Git,
    /// Works off jobs.
    Sidekiq,
    /// HAProxy.
    LoadBalancer,
    /// PostgreSQL.
    Database,
    /// Prometheus, Alertmanager, Pushgateway, the package repository and the version record.
    Ops,
}

impl Kind {
    /// Returns the role's name in the package's settings and in `serin.toml`; none for hosts without the package.
    pub(crate) fn role(self) -> Option<&'static str> {
        match self {
            Self::Deploy => Some("deploy"),
            Self::Gitaly => Some("gitaly"),
            Self::Web => Some("web"),
            Self::Api => Some("api"),
            Self::Git => Some("git"),
            Self::Sidekiq => Some("sidekiq"),
            Self::LoadBalancer | Self::Database | Self::Ops => None,
        }
    }

    /// Returns the port on which the role answers HTTP, `/metrics` included.
    pub(crate) fn port(self) -> Option<u16> {
        match self {
            Self::Web | Self::Api | Self::Git => Some(8080),
            Self::Gitaly => Some(8075),
            Self::Sidekiq => Some(8082),
            Self::Deploy | Self::LoadBalancer | Self::Database | Self::Ops => None,
        }
    }

    /// Returns the HAProxy backend that holds the role's servers.
    pub(crate) fn backend(self) -> Option<&'static str> {
        match self {
            Self::Web => Some("web"),
            Self::Api => Some("api"),
            Self::Git => Some("https_git"),
            Self::Deploy
            | Self::Gitaly
            | Self::Sidekiq
            | Self::LoadBalancer
            | Self::Database
            | Self::Ops => None,
        }
    }
}

/// One host of the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Host {
    /// Full name, such as `web-cny-01.gprd`: host name, SSH alias and file name.
    pub name: String,
    /// Its address in the lab's subnet.
    pub address: Ipv4Addr,
    /// What it is for.
    pub kind: Kind,
    /// Its environment; none for the host that serves both.
    pub environment: Option<Environment>,
    /// Its fleet; hosts without the package are in `main`.
    pub fleet: Fleet,
}

impl Host {
    /// Returns the first label of the name, which is also its server name in HAProxy.
    pub(crate) fn label(&self) -> &str {
        self.name.split('.').next().unwrap_or(&self.name)
    }

    /// Says whether the package is installed on it.
    pub(crate) fn has_package(&self) -> bool {
        self.kind.role().is_some()
    }

    /// Returns the key under which its fleet's wanted version is recorded, such as `production-canary`.
    pub(crate) fn version_record(&self) -> Option<String> {
        let environment = self.environment.filter(|_| self.has_package())?;
        Some(format!("{environment}-{}", self.fleet))
    }
}

/// The address that the machine itself has in the lab's subnet.
pub(crate) const MACHINE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 87, 0, 1);
/// Length of the lab's network prefix.
pub(crate) const PREFIX_LENGTH: u8 = 16;
/// The lab's subnet; must go with the two above.
pub(crate) const SUBNET: &str = "10.87.0.0/16";
/// The host that serves both environments.
pub(crate) const OPS: &str = "ops-01.lab";
/// Its address: needed before any topology is at hand, by the commands that run inside hosts.
pub(crate) const OPS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 87, 0, 10);

/// All hosts of a lab, in the order in which they are started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Topology {
    /// How much of the installation this is.
    pub size: Size,
    /// The hosts.
    pub hosts: Vec<Host>,
}

impl Topology {
    /// Returns the hosts of a lab of this size.
    pub(crate) fn new(size: Size) -> Self {
        let mut hosts = vec![Host {
            name: OPS.to_owned(),
            address: OPS_ADDRESS,
            kind: Kind::Ops,
            environment: None,
            fleet: Fleet::Main,
        }];
        match size {
            Size::Small => add_hosts(&mut hosts, Environment::Staging, SMALL),
            Size::Full => {
                add_hosts(&mut hosts, Environment::Staging, STAGING);
                add_hosts(&mut hosts, Environment::Production, PRODUCTION);
            }
        }
        Self { size, hosts }
    }

    /// Returns the host of this name.
    pub(crate) fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// Returns the environments that have hosts.
    pub(crate) fn environments(&self) -> Vec<Environment> {
        Environment::ALL
            .into_iter()
            .filter(|environment| self.in_environment(*environment).next().is_some())
            .collect()
    }

    /// Returns the hosts of one environment.
    pub(crate) fn in_environment(&self, environment: Environment) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(move |host| host.environment == Some(environment))
    }

    /// Returns the hosts of one kind in one environment.
    pub(crate) fn of_kind(
        &self,
        environment: Environment,
        kind: Kind,
    ) -> impl Iterator<Item = &Host> {
        self.in_environment(environment).filter(move |host| host.kind == kind)
    }

    /// Returns `/etc/hosts` with every host of the lab, the same on each of them.
    pub(crate) fn render_etc_hosts(&self) -> String {
        let mut text = String::from("127.0.0.1 localhost\n");
        for host in &self.hosts {
            append(&mut text, format_args!("{} {}\n", host.address, host.name));
        }
        text
    }
}

/// One line of a site: what, which fleet, how many, and the last byte of the first one's address.
struct Row(Kind, Fleet, u8, u8);

const SMALL: &[Row] = &[
    Row(Kind::Database, Fleet::Main, 1, 6),
    Row(Kind::LoadBalancer, Fleet::Main, 1, 4),
    Row(Kind::Deploy, Fleet::Main, 1, 8),
    Row(Kind::Gitaly, Fleet::Main, 1, 10),
    Row(Kind::Web, Fleet::Main, 2, 20),
];

const STAGING: &[Row] = &[
    Row(Kind::Database, Fleet::Main, 1, 6),
    Row(Kind::LoadBalancer, Fleet::Main, 1, 4),
    Row(Kind::Deploy, Fleet::Main, 1, 8),
    Row(Kind::Gitaly, Fleet::Main, 1, 10),
    Row(Kind::Web, Fleet::Main, 2, 20),
    Row(Kind::Api, Fleet::Main, 2, 40),
    Row(Kind::Git, Fleet::Main, 2, 60),
    Row(Kind::Sidekiq, Fleet::Main, 1, 80),
];

const PRODUCTION: &[Row] = &[
    Row(Kind::Database, Fleet::Main, 1, 6),
    Row(Kind::LoadBalancer, Fleet::Main, 2, 4),
    Row(Kind::Deploy, Fleet::Main, 1, 8),
    Row(Kind::Gitaly, Fleet::Main, 1, 10),
    Row(Kind::Web, Fleet::Main, 3, 20),
    Row(Kind::Web, Fleet::Canary, 2, 120),
    Row(Kind::Api, Fleet::Main, 2, 40),
    Row(Kind::Api, Fleet::Canary, 1, 140),
    Row(Kind::Git, Fleet::Main, 2, 60),
    Row(Kind::Git, Fleet::Canary, 1, 160),
    Row(Kind::Sidekiq, Fleet::Main, 1, 80),
];

fn add_hosts(hosts: &mut Vec<Host>, environment: Environment, rows: &[Row]) {
    let network = match environment {
        Environment::Staging => 1,
        Environment::Production => 2,
    };
    for Row(kind, fleet, count, first) in rows {
        for index in 0..*count {
            hosts.push(Host {
                name: host_name(*kind, *fleet, index + 1, environment),
                address: Ipv4Addr::new(10, 87, network, first + index),
                kind: *kind,
                environment: Some(environment),
                fleet: *fleet,
            });
        }
    }
}

fn host_name(kind: Kind, fleet: Fleet, number: u8, environment: Environment) -> String {
    let stem = match kind {
        Kind::LoadBalancer => "lb",
        Kind::Database => "db",
        Kind::Ops => "ops",
        Kind::Deploy | Kind::Gitaly | Kind::Web | Kind::Api | Kind::Git | Kind::Sidekiq => {
            kind.role().unwrap_or_default()
        }
    };
    let canary = match fleet {
        Fleet::Main => "",
        Fleet::Canary => "-cny",
    };
    format!("{stem}{canary}-{number:02}.{}", environment.domain())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_host_of_the_full_lab_has_its_own_name_and_address() {
        let topology = Topology::new(Size::Full);
        let names: BTreeSet<_> = topology.hosts.iter().map(|host| &host.name).collect();
        let addresses: BTreeSet<_> = topology.hosts.iter().map(|host| host.address).collect();
        assert_eq!(names.len(), 29);
        assert_eq!(addresses.len(), 29);
    }

    #[test]
    fn the_small_lab_is_staging_alone() {
        let topology = Topology::new(Size::Small);
        let names: Vec<_> = topology.hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "ops-01.lab",
                "db-01.gstg",
                "lb-01.gstg",
                "deploy-01.gstg",
                "gitaly-01.gstg",
                "web-01.gstg",
                "web-02.gstg",
            ]
        );
        assert_eq!(topology.environments(), [Environment::Staging]);
    }

    #[test]
    fn the_version_record_names_environment_and_fleet() {
        let topology = Topology::new(Size::Full);
        let record = |name| topology.host(name).unwrap().version_record();
        assert_eq!(record("web-cny-01.gprd").as_deref(), Some("production-canary"));
        assert_eq!(record("deploy-01.gstg").as_deref(), Some("staging-main"));
        assert_eq!(record("lb-01.gstg"), None);
    }
}
