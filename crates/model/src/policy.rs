//! What is allowed and how things are done: budgets, drains, roles and profiles, all as data.

use crate::{Argv, BackendName, RoleName, ServiceName, time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How many of a number of hosts: a count or a percentage, written `2` or `25%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Limit {
    /// So many hosts, at least 1.
    Count(u32),
    /// So many percent of the hosts, 1 to 100.
    Percent(u8),
}

/// Says that a text is not a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a limit: write a number of at least 1, or a percentage such as \"25%\"")]
pub struct InvalidLimit(pub String);

impl Limit {
    /// Returns how many of `hosts` this is: percentages round down, and the result is at least 1.
    pub fn of(self, hosts: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => hosts * usize::from(percent) / 100,
        }
        .max(1)
    }
}

impl FromStr for Limit {
    type Err = InvalidLimit;
    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let limit = match text.strip_suffix('%') {
            Some(percent) => {
                percent.parse().ok().filter(|p| (1..=100).contains(p)).map(Self::Percent)
            }
            None => text.parse().ok().filter(|count| *count >= 1).map(Self::Count),
        };
        limit.ok_or_else(|| InvalidLimit(text.to_owned()))
    }
}

impl TryFrom<String> for Limit {
    type Error = InvalidLimit;
    fn try_from(text: String) -> Result<Self, InvalidLimit> {
        text.parse()
    }
}

impl From<Limit> for String {
    fn from(limit: Limit) -> String {
        limit.to_string()
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// What hosts of a role do and how they are operated on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// The role's name.
    pub name: RoleName,
    /// Whether migrations run on hosts of this role.
    pub migrations: bool,
    /// The services that must run the new build afterwards.
    pub services: Vec<ServiceAction>,
    /// The backends, on every load balancer of the environment, that hold servers of this role.
    pub backends: Vec<BackendName>,
    /// How many hosts of the role in one fleet may be out of service at once, for whatever reason.
    pub max_unavailable: Limit,
    /// How sessions leave a server.
    pub drain: Drain,
    /// How a role without servers on a load balancer goes quiet.
    pub quiet: Quiet,
    /// A URL that the host itself is asked for before it goes back into service: a 2xx is healthy.
    pub health: Option<String>,
    /// How long the health must hold without a break, in milliseconds.
    #[serde(with = "time::millis")]
    pub healthy_for: Duration,
    /// How long the host may take to become healthy and UP, in milliseconds.
    #[serde(with = "time::millis")]
    pub healthy_deadline: Duration,
}

/// A service and how it gets to run the new build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAction {
    /// The service.
    pub name: ServiceName,
    /// How it is told.
    pub how: ServiceHow,
    /// The folders whose files it has in memory: a patch outside of them is nothing to it. `None`: it may be any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loads: Option<Vec<String>>,
}

impl ServiceAction {
    /// Tells whether the service must be told when a file changes.
    pub fn has_loaded(&self, path: &str) -> bool {
        let lies_in = |folder: &String| {
            path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        self.loads.as_ref().is_none_or(|folders| folders.iter().any(lies_in))
    }
}

/// How a service is told to run the new build. Both wait until a new process runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceHow {
    /// Gracefully, by the profile's `hup`.
    Hup,
    /// By the profile's `restart`.
    Restart,
}

/// How sessions leave a server of a load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// How long sessions get to end by themselves, in milliseconds.
    #[serde(with = "time::millis")]
    pub deadline: Duration,
    /// What is done when they have not.
    pub then: AtDeadline,
}

/// What is done with what is still busy when a deadline comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtDeadline {
    /// The step fails, the host goes back into service, the run halts.
    Fail,
    /// What is left is cut.
    Kill,
    /// The host is operated on all the same.
    Proceed,
}

/// How a role without servers on a load balancer goes quiet before its host is operated on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quiet {
    /// Nothing needs to be done.
    None,
    /// The service hands over by itself when it is told to run the new build.
    Graceful,
    /// It is told to take no more work, and waited for.
    StopFetching {
        /// Tells it to take no more work.
        stop: Argv,
        /// Exits 0 when nothing is being worked on.
        idle: Argv,
        /// How long that may take, in milliseconds.
        #[serde(with = "time::millis")]
        deadline: Duration,
        /// What is done when it takes longer.
        then: AtDeadline,
    },
}

/// What Serin knows about a kind of package: everything that differs between GitLab and any other service.
///
/// Commands may hold `{version}`, `{package}` and `{service}`. They run as root under the wrapper on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The profile's name.
    pub name: String,
    /// Files that must be there before the package may be installed: without them it would do more than install.
    pub required_files: Vec<String>,
    /// Checks a host's configuration against the new version, on all hosts before the first is changed.
    pub check_config: Option<Argv>,
    /// Brings the host's configuration up to date after the package was installed.
    pub reconfigure: Option<Argv>,
    /// Tells a service to reload gracefully; may return before anything happened.
    pub hup: Argv,
    /// Restarts a service.
    pub restart: Argv,
    /// Prints the main process id of a service, nothing when it is down.
    pub service_pid: Argv,
    /// Prints the version that the running process of a service has loaded; `None`: the age of the process tells.
    pub running_version: Option<Argv>,
    /// How migrations are run and listed, if the package has any.
    pub migrations: Option<Migrations>,
    /// How long an installation may take, in milliseconds.
    #[serde(with = "time::millis")]
    pub install_timeout: Duration,
    /// How long any other command may take, in milliseconds.
    #[serde(with = "time::millis")]
    pub command_timeout: Duration,
}

/// How a package's database migrations are run and listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migrations {
    /// Runs the migrations that must come before the new code.
    pub regular: Argv,
    /// Runs those that must come after it.
    pub post_deployment: Argv,
    /// Prints a line `up ID NAME` or `down ID NAME` for each migration that the build knows.
    pub status: Argv,
    /// The folder whose file names start with the ids of the regular migrations of the installed build.
    pub regular_folder: String,
    /// The same for post-deployment migrations.
    pub post_deployment_folder: String,
    /// Exits 0 when no migration session is alive in the database.
    pub no_session: Argv,
    /// Environment of all of these.
    pub environment: BTreeMap<String, String>,
    /// How long they may take, in milliseconds.
    #[serde(with = "time::millis")]
    pub timeout: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_rounds_down_but_never_to_nothing() {
        let of = |text: &str, hosts| text.parse::<Limit>().unwrap().of(hosts);
        assert_eq!([of("25%", 20), of("25%", 7), of("25%", 3), of("3", 2)], [5, 1, 1, 3]);
    }

    #[test]
    fn limits_that_mean_nothing_are_refused() {
        for bad in ["0", "0%", "101%", "-1", "1.5", "", "%", "ten"] {
            assert!(bad.parse::<Limit>().is_err(), "{bad:?} was accepted");
        }
    }
}
