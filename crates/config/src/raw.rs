//! The file as it is written: one type per table, one field per key. The JSON schema is made of these types, and
//! their doc comments are the reference that people read.
//!
//! Nothing is checked here beyond the shape: what a text means is read in [`crate::read`].

mod chat;
mod environment;
mod people;
mod role;

pub(crate) use chat::{RawChat, RawMattermost, RawNotify, RawNotifyEvent, RawSlack, RawWebhook};
pub(crate) use environment::{
    RawAlerts, RawConfigManagement, RawDay, RawEnvironment, RawFleet, RawFreeze, RawLoadBalancer,
    RawMidRun, RawQa, RawRecord, RawReport,
};
pub(crate) use people::{RawDeployments, RawGitlab, RawPerson, RawPersonRole};
pub(crate) use role::{RawAction, RawAtDeadline, RawDrain, RawQuiet, RawRole, RawRoleStage};

use crate::at::{At, Text, Texts};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What Serin delivers, from where, to which hosts, and how. One file, `serin.toml`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "serin.toml")]
pub(crate) struct RawConfig {
    /// What is delivered.
    pub(crate) package: RawPackage,
    /// Where builds come from.
    pub(crate) repository: RawRepository,
    /// Where Serin writes down what it does.
    pub(crate) journal: Option<RawJournal>,
    /// How hosts are reached.
    pub(crate) ssh: Option<RawSsh>,
    /// Changes to the profile: what is written here replaces what is built in.
    pub(crate) profile: Option<RawProfile>,
    /// What is not said elsewhere.
    pub(crate) defaults: Option<RawDefaults>,
    /// The roles: what a host does, the same in every environment.
    pub(crate) roles: BTreeMap<Text, RawRole>,
    /// The environments: complete installations.
    pub(crate) environments: BTreeMap<Text, RawEnvironment>,
    /// When a build may go on to main by itself, and what a newer one does meanwhile.
    pub(crate) promotion: Option<RawPromotion>,
    /// Where runs push what their stages cost; default: nowhere.
    pub(crate) pushgateway: Option<RawPushgateway>,
    /// The chats that commands come from, and that are told how runs go.
    pub(crate) chat: Option<RawChat>,
    /// The people: who may do what. Without this table, whoever reaches the journal may do everything.
    pub(crate) people: Option<At<BTreeMap<Text, RawPerson>>>,
    /// How the user behind a job of GitLab CI is known.
    pub(crate) gitlab: Option<At<RawGitlab>>,
    /// The pipelines: which stages there are. One that is written here replaces the built-in one whole.
    #[serde(default)]
    pub(crate) pipelines: BTreeMap<Text, At<Vec<At<RawStage>>>>,
}

/// What is delivered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPackage {
    /// The name of the Debian package.
    pub(crate) name: Text,
    /// What Serin knows about this kind of package: `gitlab-omnibus` or `plain`.
    pub(crate) profile: Text,
}

/// Where builds come from: a signed Debian repository.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRepository {
    /// The address of the repository, `http://` or `https://`.
    pub(crate) url: Text,
    /// The suite, for example `bookworm`.
    pub(crate) suite: Text,
    /// The component; default `main`.
    pub(crate) component: Option<Text>,
    /// The architecture; default `amd64`.
    pub(crate) architecture: Option<Text>,
    /// The file of public keys; the index is refused unless one of them signed it.
    pub(crate) keyring: Text,
    /// The user by whom the repository is read; its address must be `https://` then.
    pub(crate) user: Option<Text>,
    /// The file that holds this user's password, and nothing else. Nobody else may be able to read it.
    pub(crate) password_file: Option<Text>,
    /// Instead of both: a file as apt_auth.conf(5) describes it, with an entry for the repository's host.
    pub(crate) auth_conf: Option<Text>,
    /// Patterns of versions that are secret: they are shown as `embargoed-` and the beginning of the SHA-256.
    #[serde(default)]
    pub(crate) embargo: Vec<Text>,
    /// Who sees them all the same: users of the machine of Serin.
    #[serde(default)]
    pub(crate) embargo_readers: Vec<Text>,
    /// The kind of a build is decided by the first pattern that fits its version; default: every kind is unknown.
    #[serde(default)]
    pub(crate) kinds: Vec<RawKind>,
    /// Kinds of builds that hosts may get in place of a version that is newer in Debian's order, rollbacks apart; default: any.
    pub(crate) downgrades: Option<Vec<RawBuildKind>>,
}

/// A pattern of versions and the kind of build that it stands for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawKind {
    /// The kind of build.
    pub(crate) kind: RawBuildKind,
    /// The pattern of the complete version; `*` fits anything.
    pub(crate) version: Text,
}

/// A kind of build.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum RawBuildKind {
    /// Built from the tip of development.
    Nightly,
    /// A release candidate.
    Candidate,
    /// A final release.
    Official,
}

/// Where Serin writes down what it does.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawJournal {
    /// One SQLite file, synced at every record; default `/var/lib/serin/journal.db`.
    pub(crate) path: Option<Text>,
    /// Instead of the file: a database that several machines share.
    pub(crate) postgres: Option<At<RawPostgres>>,
    /// With `postgres`, the folder of what only this machine keeps, lock files and packages; default `/var/lib/serin`.
    pub(crate) state: Option<Text>,
}

/// A Pushgateway, for Prometheus. It is told; nobody waits for it, and a run goes on without it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPushgateway {
    /// Its address without `/metrics`, `http://` or `https://`.
    pub(crate) url: Text,
}

/// A PostgreSQL database, 13 or newer. The password is in `password_file`, or in `PGPASSWORD`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(crate) struct RawPostgres {
    /// The server's name or address, or the folder of its Unix socket.
    pub(crate) host: Text,
    /// Its port; default 5432.
    pub(crate) port: Option<At<i64>>,
    /// The database; default `serin`.
    pub(crate) database: Option<Text>,
    /// The role, which must own the database or may create a schema in it; default `serin`.
    pub(crate) user: Option<Text>,
    /// The file that holds its password and nothing else, which not everybody may read.
    pub(crate) password_file: Option<Text>,
    /// The certificates by which the server's own is checked, in PEM; default: those of the system.
    pub(crate) ca_file: Option<Text>,
    /// Whether everything is sent without TLS; default false. A Unix socket needs none.
    pub(crate) unencrypted: Option<bool>,
}

/// How hosts are reached. Host keys are always strict.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSsh {
    /// The ssh configuration; default: that of the user who runs Serin.
    pub(crate) config: Option<Text>,
    /// How many logins may be in progress at once, 1 to 1000; default 16.
    pub(crate) max_connecting: Option<At<i64>>,
    /// How long a login may take; default `10s`.
    pub(crate) connect_timeout: Option<Text>,
    /// Whether the wrapper on a host is run by `sudo -n`; default true.
    pub(crate) sudo: Option<bool>,
}

/// Changes to the profile. Commands may hold `{version}` and `{package}`; those about a service also `{service}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProfile {
    /// Files that must be on a host before the package may be installed there.
    pub(crate) required_files: Option<Vec<Text>>,
    /// Checks a host's configuration against the new version; `[]`: nothing to check.
    pub(crate) check_config: Option<Texts>,
    /// Brings a host's configuration up to date after the installation; `[]`: nothing to do.
    pub(crate) reconfigure: Option<Texts>,
    /// Tells a service to reload gracefully.
    pub(crate) hup: Option<Texts>,
    /// Restarts a service.
    pub(crate) restart: Option<Texts>,
    /// Prints the process id of a service, and nothing or `0` when it is down.
    pub(crate) service_pid: Option<Texts>,
    /// Prints the version that the running process has loaded; `[]`: the age of the process tells.
    pub(crate) running_version: Option<Texts>,
    /// How long an installation may take; default `30m`.
    pub(crate) install_timeout: Option<Text>,
    /// How long any other command may take; default `15m` for `gitlab-omnibus`, `5m` for `plain`.
    pub(crate) command_timeout: Option<Text>,
    /// The file in the package that lists its components, as omnibus writes it; `none`: there is none.
    pub(crate) manifest: Option<Text>,
    /// The folders on hosts whose files may be patched; paths in a patch begin in the first. `[]`: nothing may be.
    pub(crate) patch_roots: Option<Vec<Text>>,
    /// How migrations are run and listed.
    pub(crate) migrations: Option<At<RawMigrations>>,
}

/// How migrations are run and listed, on the deploy host.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMigrations {
    /// Runs the migrations that must come before the new code.
    pub(crate) regular: Option<Texts>,
    /// Runs those that must come after it.
    pub(crate) post_deployment: Option<Texts>,
    /// Prints a line `up ID NAME` or `down ID NAME` for each migration.
    pub(crate) status: Option<Texts>,
    /// The folder on the deploy host whose file names start with the ids of the regular migrations.
    pub(crate) regular_folder: Option<Text>,
    /// The same for post-deployment migrations.
    pub(crate) post_deployment_folder: Option<Text>,
    /// Exits 0 when no migration session is alive in the database.
    pub(crate) no_session: Option<Texts>,
    /// Environment variables of all these commands.
    pub(crate) environment: Option<BTreeMap<Text, Text>>,
    /// How long the migrations may take; default `12h`.
    pub(crate) timeout: Option<Text>,
}

/// What is not said elsewhere.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDefaults {
    /// How long a stage bakes that does not say; default `5m`.
    pub(crate) bake: Option<Text>,
}

/// When a build may go on to main by itself (`serin promote --if-ready`), and what a newer one does meanwhile.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPromotion {
    /// How long it must have been on the canary since it passed; default `1h`.
    pub(crate) baked_for: Option<Text>,
    /// What `serin run` does with a new build while a run is active, or a build bakes that was not promoted; default
    /// `queue_latest`.
    pub(crate) when_busy: Option<RawWhenBusy>,
}

/// What a new build does while others are busy.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum RawWhenBusy {
    /// It is refused.
    Skip,
    /// It waits before the canary's environment; of several that wait, only the latest goes on.
    QueueLatest,
    /// It waits for active runs only; older ones that wait give way at once, and a build that bakes is replaced.
    Supersede,
}

/// A stage of a pipeline.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStage {
    /// Its number, unique in the pipeline and rising.
    pub(crate) stage: At<i64>,
    /// What it does, in words.
    pub(crate) title: Text,
    /// The environment.
    pub(crate) environment: Text,
    /// The fleet; default `main`, and for migrations that of the deploy host.
    pub(crate) fleet: Option<Text>,
    /// What is done.
    pub(crate) work: At<RawWork>,
    /// The roles whose hosts get the build, where `work = "roles"`.
    pub(crate) roles: Option<Texts>,
    /// What becomes of the fleet's share of traffic; default `keep`.
    pub(crate) share: Option<At<RawShare>>,
    /// How another fleet proves the build with real traffic before the work begins; default: it does not.
    pub(crate) exposure: Option<RawExposure>,
    /// What a person must have done and signed with `serin approve` after the work, such as `manual tests`; default:
    /// nobody is asked.
    pub(crate) approval: Option<Text>,
    /// The QA suites of the environment that must pass; default: none.
    #[serde(default)]
    pub(crate) qa: Vec<Text>,
    /// How long alerts are watched at the end, with nothing else happening; default `[defaults] bake`.
    pub(crate) bake: Option<Text>,
}

/// How a fleet proves a build with real traffic. Every host of it must run the build.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawExposure {
    /// The fleet, a canary of the environment.
    pub(crate) fleet: Text,
    /// Its share of traffic from then on, for example `5%`.
    pub(crate) share: Text,
    /// How many requests must reach it; default 1000.
    pub(crate) requests: Option<At<i64>>,
    /// How long it is watched at least; alert rules need time to fire. Default `10m`.
    pub(crate) watch: Option<Text>,
    /// After this time without enough requests the stage fails; default `2h`.
    pub(crate) deadline: Option<Text>,
}

/// What a stage does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum RawWork {
    /// Install on the deploy host, and run the migrations that must come before the new code.
    Migrations,
    /// Install on the hosts of some roles.
    Roles,
    /// Run the migrations that must come after the new code.
    PostDeploymentMigrations,
}

/// What becomes of a fleet's share of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum RawShare {
    /// The stage leaves it alone.
    Keep,
    /// Zero before the work begins; after the bake, the fleet's `after_canary`.
    ZeroThenAfterCanary,
}
