//! `[environments.*]` as written.

use crate::at::{At, Text, Texts};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A complete installation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEnvironment {
    /// Names under which people reach it, such as `gitlab.example.com`: `serin doctor` makes sure that nothing that Serin
    /// needs is served under one of them.
    #[serde(default)]
    pub(crate) serves: Vec<Text>,
    /// Its load balancers; each of them holds every backend.
    #[serde(default)]
    pub(crate) load_balancers: BTreeMap<Text, RawLoadBalancer>,
    /// Its fleets: hosts that share a slice of traffic, such as `main` and `canary`.
    pub(crate) fleets: BTreeMap<Text, RawFleet>,
    /// The agent that must be stopped while hosts are operated on; default: there is none.
    pub(crate) config_management: Option<RawConfigManagement>,
    /// Where its alerts come from; default: nobody is asked.
    pub(crate) alerts: Option<At<RawAlerts>>,
    /// Its QA suites.
    #[serde(default)]
    pub(crate) qa: BTreeMap<Text, RawQa>,
    /// Freeze windows: when no run is started in it. A weekly one has `days`; one without them comes once.
    #[serde(default)]
    pub(crate) freeze: Vec<At<RawFreeze>>,
    /// Who may do what.
    pub(crate) policy: Option<RawPolicy>,
}

/// A freeze window: a time in which no run is started, unless somebody overrides it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFreeze {
    /// Why, in words that people will read when they are refused.
    pub(crate) reason: Text,
    /// The days of the week on which it begins; default: it comes once.
    pub(crate) days: Option<At<Vec<At<RawDay>>>>,
    /// When it begins: a time of day such as `18:00`, or, for one that comes once, `2026-12-23T18:00`.
    pub(crate) from: Text,
    /// When it ends; not later than `from`: on the day after. `24:00` is the end of the day.
    pub(crate) to: Text,
    /// The time zone of both, such as `Europe/Berlin`; default `UTC`.
    pub(crate) zone: Option<Text>,
    /// What it does to a run that is on its way when it begins; default `next-stage`.
    pub(crate) mid_run: Option<RawMidRun>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum RawDay {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// What a freeze window does to a run that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum RawMidRun {
    /// It halts at once.
    Halt,
    /// It finishes the stage that is at work; the next one does not begin.
    NextStage,
}

/// Who may do what in an environment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPolicy {
    /// Whether overriding a hold or window takes the name of a second person; default false.
    pub(crate) second_person: Option<bool>,
    /// Whether runs that touch it start only when another release manager has agreed (`serin agree`), rollbacks and patches
    /// apart; default false. It takes `[people]`.
    pub(crate) two_people: Option<At<bool>>,
}

/// A machine that runs HAProxy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLoadBalancer {
    /// The host, as `ssh` knows it.
    pub(crate) host: Text,
    /// HAProxy's admin socket on that host; default `/run/haproxy/admin.sock`.
    pub(crate) socket: Option<Text>,
    /// The master's socket, which shows leaving workers, or `none`; default `/run/haproxy-master.sock`.
    pub(crate) master_socket: Option<Text>,
    /// A TCP address `host:port` of the admin socket, for reading only.
    pub(crate) tcp: Option<Text>,
    /// Whether the TCP address may also be used for changes. Nothing then stops an outdated controller; default false.
    pub(crate) unfenced: Option<At<bool>>,
}

/// Hosts of one environment that share a slice of traffic.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFleet {
    /// What share of traffic it gets: this makes it a canary.
    pub(crate) share: Option<RawShareOfFleet>,
    /// Backends of a role, besides the role's own. They hold nothing but this fleet, and may be empty.
    #[serde(default)]
    pub(crate) backends: BTreeMap<Text, Vec<Text>>,
    /// The hosts of each role, as `ssh` knows them. `web-[01:20].gprd` stands for twenty.
    pub(crate) hosts: BTreeMap<Text, Vec<Text>>,
}

/// The share of traffic of a canary.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawShareOfFleet {
    /// The share after a good deploy to it; default `0%`.
    pub(crate) after_canary: Option<Text>,
}

/// Chef, or any agent that must be stopped while hosts are operated on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConfigManagement {
    /// Its name, for people.
    pub(crate) agent: Text,
    /// Stops it; may return while it is still converging.
    pub(crate) stop: Texts,
    /// Starts it.
    pub(crate) start: Texts,
    /// Exits 0 while it runs or is converging.
    pub(crate) running: Texts,
    /// How long a converge may take to end; default `300s`.
    pub(crate) wait: Option<Text>,
    /// Where the wanted version of a fleet is recorded; default: the agent does not install the package.
    pub(crate) record: Option<RawRecord>,
}

/// Where the version that config management installs is recorded. Commands may hold `{environment}` and `{fleet}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRecord {
    /// Prints the recorded version.
    pub(crate) read: Texts,
    /// Records `{version}`.
    pub(crate) write: Texts,
    /// The host of this environment on which both run.
    pub(crate) host: Text,
}

/// Where the alerts of an environment come from, and which of them count.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAlerts {
    /// The Alertmanagers; what any of them says counts.
    pub(crate) alertmanagers: Texts,
    /// The Prometheus servers that send alerts to them; default: none is asked.
    #[serde(default)]
    pub(crate) prometheus: Vec<Text>,
    /// Matchers such as `env="gprd"`, all of which an alert of this environment fits.
    pub(crate) matchers: Vec<Text>,
    /// Matchers, all of which an alert that stops a run fits besides; default: every alert stops it.
    #[serde(default)]
    pub(crate) critical: Vec<Text>,
    /// Matchers of an alert that always fires. Without it, nothing that was read is fresh.
    pub(crate) watchdog: Texts,
    /// How often alerts are read; default `15s`.
    pub(crate) poll: Option<Text>,
    /// How long alerts may be unreadable before the run halts; default `2m`.
    pub(crate) unreadable_for: Option<Text>,
    /// How old an Alertmanager must be to be believed; default `3m`. A restarted one answers "no alerts" until
    /// Prometheus has told it everything again, which takes up to Prometheus' resend delay.
    pub(crate) min_age: Option<Text>,
    /// Alerts about hosts that Serin has out of service: shown and attributed, not counted. Default: all count.
    pub(crate) attribute: Option<RawAttribution>,
}

/// Which alerts may be about a host that Serin has out of service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAttribution {
    /// The label that names the host.
    pub(crate) label: Text,
    /// Matchers, all of which such an alert fits.
    pub(crate) matchers: Texts,
}

/// A command that tests an environment, run on the machine of the controller.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawQa {
    /// The command.
    pub(crate) command: Texts,
    /// Where its result is.
    pub(crate) report: At<RawReport>,
    /// JUnit files, relative to the working folder that Serin makes for the command; `*` fits anything.
    pub(crate) report_files: Option<Texts>,
    /// Fewer executed tests than this are "no tests", not a pass; default 1.
    pub(crate) minimum_tests: Option<At<i64>>,
    /// How long it may take; default `60m`.
    pub(crate) timeout: Option<Text>,
    /// Runs only what failed, once. Tests that pass then are recorded as flaky. Default: failed is failed.
    pub(crate) retry_failed: Option<Texts>,
    /// Environment variables of the command.
    #[serde(default)]
    pub(crate) environment: BTreeMap<Text, Text>,
    /// Variables that are passed on from Serin's own environment, and never shown.
    #[serde(default)]
    pub(crate) secrets: Vec<Text>,
}

/// Where the result of a QA suite is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum RawReport {
    /// JUnit XML, in the files of `report_files`.
    Junit,
    /// RSpec's summary line on standard output.
    Rspec,
}
