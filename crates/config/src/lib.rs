//! `serin.toml` and profiles → model, with diagnostics that name file, line and column; the file's JSON schema.
//!
//! Read [`parse`] first. In order: TOML → its shape ([`mod@schema`], all errors at once) → what it means (all errors
//! at once) → [`Config`]. Only these types come from files, and nothing but them leaves this package. It reads the
//! configuration and no other file: whether a keyring or a host exists is for `serin doctor`.

mod at;
mod chat;
mod diagnostic;
mod hosts;
mod profiles;
mod raw;
mod read;
mod reference;
pub mod schema;
mod shape;
mod suggest;

pub use chat::{Chat, Mattermost, Notify, NotifyTo, Slack, Webhook};
pub use diagnostic::{Diagnostic, Diagnostics};
pub use reference::reference;

use serde::Deserialize;
use serin_model::{
    BuildKind, DebVersion, EnvironmentName, FleetName, HostName, People, Pipeline, PipelineName,
    Topology, WhenBusy,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Larger files are refused unread: a fleet of ten thousand hosts fits in a hundredth of this.
const MOST_BYTES: u64 = 4 << 20;

/// What a configuration file says. Paths in it are absolute, or relative to the file's folder as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What there is, and how it is operated on.
    pub topology: Topology,
    /// Where builds come from.
    pub repository: Repository,
    /// What is known of a package's contents.
    pub contents: Contents,
    /// Where the journal is.
    pub journal: Journal,
    /// The folder of what only this machine keeps: lock files, and packages that were fetched.
    pub state: PathBuf,
    /// How hosts are reached.
    pub ssh: Ssh,
    /// The recipes, built-in ones included.
    pub pipelines: BTreeMap<PipelineName, Pipeline>,
    /// When a build may go on to main by itself, and what a newer one does meanwhile.
    pub promotion: Promotion,
    /// The address of the Pushgateway that runs tell what their stages cost; `None`: there is none.
    pub pushgateway: Option<String>,
    /// The names under which people reach each environment.
    pub serves: BTreeMap<EnvironmentName, Vec<String>>,
    /// The chats that commands come from, and that are told how runs go.
    pub chat: Chat,
    /// Who may do what; nobody is listed: whoever reaches the journal may do everything.
    pub people: People,
    /// Where runs start only when a second person has agreed.
    pub two_people: BTreeSet<EnvironmentName>,
    /// How the user behind a job of GitLab CI is known.
    pub jobs: Jobs,
    /// Where GitLab is told what is deployed; `None`: nowhere.
    pub deployments: Option<Deployments>,
    /// The configuration file itself.
    pub path: PathBuf,
}

/// Where GitLab is told what is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployments {
    /// The address of its API.
    pub api: String,
    /// The file with the token.
    pub token_file: PathBuf,
    /// The components whose commits are told, each in its project.
    pub components: Vec<DeployedComponent>,
}

/// A component whose commits GitLab is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployedComponent {
    /// The project, by its path or number.
    pub project: String,
    /// Its name in the package's own list.
    pub component: String,
    /// The branch that its commits are shown with.
    pub git_ref: String,
    /// Places, and GitLab's names for them.
    pub places: Vec<(Place, String)>,
}

/// An environment, or one fleet of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The environment.
    pub environment: EnvironmentName,
    /// The fleet; `None`: all of them.
    pub fleet: Option<FleetName>,
}

/// Where the journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Journal {
    /// One file of this machine.
    File(PathBuf),
    /// A database that several machines share.
    Postgres(Postgres),
}

/// A PostgreSQL database. Its password is in a file of its own or in the environment, and is read where it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// The server's name or address, or the folder of its Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// The file that holds its password.
    pub password_file: Option<PathBuf>,
    /// The certificates by which the server's own is checked; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether everything is sent without TLS.
    pub unencrypted: bool,
}

/// How the user behind a job of GitLab CI is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Jobs {
    /// By what the job's variables say, which whoever starts it can set: they may only look.
    #[default]
    Unproven,
    /// By the same, and it is believed.
    Trusted,
    /// GitLab is asked, with the job's own token.
    Verified {
        /// The address of GitLab's API, without a slash at its end. It is never taken from the job.
        api: String,
        /// The projects, by number, whose jobs count; empty: any.
        projects: BTreeSet<u64>,
    },
}

/// When a build may go on to main by itself, and what a newer one does meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// How long it must have been on the canary since it passed.
    pub baked_for: Duration,
    /// What a newer build does meanwhile, and while a run is active.
    pub when_busy: WhenBusy,
}

/// Where builds come from: a signed Debian repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its address, without a slash at the end.
    pub url: String,
    /// The suite.
    pub suite: String,
    /// The component.
    pub component: String,
    /// The architecture.
    pub architecture: String,
    /// The public keys, one of which must have signed the index.
    pub keyring: PathBuf,
    /// By whom it is read; `None`: by anybody.
    pub login: Option<Login>,
    /// Patterns of versions that are shown to few.
    pub embargo: Vec<String>,
    /// Those few.
    pub embargo_readers: Vec<String>,
    /// Kinds of builds and the patterns of their versions; the first that fits decides.
    pub kinds: Vec<(BuildKind, String)>,
    /// Kinds of builds that may follow a version that is newer in Debian's order; `None`: any.
    pub downgrades: Option<BTreeSet<BuildKind>>,
}

/// By whom a repository is read. Passwords are in files of their own, which are read where they are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A user, and the file that holds the password.
    User {
        /// The user.
        user: String,
        /// The file.
        password_file: PathBuf,
    },
    /// A file as apt has it.
    AuthConf(PathBuf),
}

/// What is known of a package's contents. It is no part of the model's profile, because no plan is made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The file on a host, and in the package, that lists its components.
    pub manifest: Option<String>,
    /// The folders whose files may be patched, each without a slash at its end.
    pub patch_roots: Vec<String>,
}

/// How hosts are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// The ssh configuration; `None`: the user's own.
    pub config: Option<PathBuf>,
    /// How many logins may be in progress at once.
    pub max_connecting: usize,
    /// How long a login may take.
    pub connect_timeout: Duration,
    /// Whether the wrapper is run by `sudo -n`.
    pub sudo: bool,
}

impl Place {
    /// Tells whether a host of an environment is in it.
    pub fn holds(
        &self,
        topology: &Topology,
        environment: &EnvironmentName,
        host: &HostName,
    ) -> bool {
        let fleets = topology.environments.get(environment).map(|found| &found.fleets);
        *environment == self.environment
            && self.fleet.as_ref().is_none_or(|fleet| {
                let fleet = fleets.and_then(|fleets| fleets.get(fleet));
                fleet.is_some_and(|fleet| fleet.hosts.contains_key(host))
            })
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What it says is wrong.
    #[error("{0}")]
    Wrong(Diagnostics),
}

/// Reads a configuration file.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > MOST_BYTES {
        let why = format!("it has {size} bytes, more than {MOST_BYTES}");
        return Err(unreadable(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why)));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text, path).map_err(ConfigError::Wrong)
}

/// Reads the text of a configuration; `path` is where it came from.
pub fn parse(text: &str, path: &Path) -> Result<Config, Diagnostics> {
    let refused = |all| Err(Diagnostics::new(path, text, all));
    let (table, broken) = toml::de::DeTable::parse_recoverable(text);
    if !broken.is_empty() {
        return refused(broken.iter().map(shape::of_toml).collect());
    }
    let misshapen = shape::check(&table, schema::schema());
    if !misshapen.is_empty() {
        return refused(misshapen);
    }
    match raw::RawConfig::deserialize(toml::Deserializer::from(table)) {
        Err(error) => refused(vec![shape::of_toml(&error)]),
        Ok(raw) => read::config(&raw, path).or_else(refused),
    }
}

impl Repository {
    /// Returns the kind of a build by the first pattern that fits its version.
    pub fn kind_of(&self, version: &DebVersion) -> BuildKind {
        let version = version.to_string();
        let fitting = self.kinds.iter().find(|(_, pattern)| fits(pattern, &version));
        fitting.map_or(BuildKind::Unknown, |(kind, _)| *kind)
    }
}

/// Tells whether a text fits a pattern, in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = tail.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    let mut rest = rest;
    for part in parts {
        // The earliest place is right: it leaves the most to fit what follows.
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_is_special() {
        for (pattern, text, expected) in [
            ("*+rnightly*", "13.1.1+rnightly.159756.b2b5f05e-0", true),
            ("*-rc*", "13.1.0-rc42.ee.0", true),
            ("*-rc*", "13.1.0-ee.0", false),
            ("13.1.0", "13.1.0", true),
            ("13.1.0", "13.1.01", false),
            ("13.?.0", "13.1.0", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("**", "x", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
