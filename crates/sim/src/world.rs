//! The pretend world: everything outside the controller, moving in virtual time.
//!
//! A world is plain data and a queue of what happens when. Nothing in it runs by itself: whoever looks or acts first
//! lets everything happen that was due by then ([`World::advance`]), in order. That is the same as if it had happened
//! at its own moment, because nobody looked in between. Jobs belong to the world: they go on when their controller
//! dies.
//!
//! Every change is logged with its time and, where a controller made it, with its fence. What no change may ever do is
//! looked at in `check.rs`, at the moment of the change.

use crate::balancer::Balancer;
use crate::checker::{Checker, Violation};
use crate::coverage::Coverage;
use crate::faults::{Fault, Faults, Mishap, Trouble};
use crate::host::Machine;
use crate::installation::{self, POST_DEPLOYMENT, REGULAR, Setting};
use crate::latencies::Latencies;
use crate::ledger::Ledger;
use crate::random::Random;
use crate::seeds::Planted;
use serin_engine::transitions::Cause;
use serin_model::{
    Build, DebVersion, EnvironmentName, HostName, RunId, ServiceName, StepId, Timestamp, Topology,
};
use serin_runtime::ports::Alert;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// When every world begins: some time in 2026.
pub const BEGIN: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// The earliest that config management converges in a world.
const FIRST_CONVERGE: Duration = Duration::from_secs(1);

/// A version that nobody expects.
pub(crate) const THIRD: &str = "15.0.0-ee.0";

/// The world.
#[derive(Debug)]
pub struct World {
    /// When it began.
    pub(crate) begin: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) random: Random,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    queued: u64,
    pub(crate) converge_every: Duration,
    pub(crate) topology: Arc<Topology>,
    pub(crate) build: Build,
    pub(crate) old: DebVersion,
    pub(crate) latencies: Latencies,
    pub(crate) hosts: BTreeMap<HostName, Machine>,
    /// By the host that each is on.
    pub(crate) balancers: BTreeMap<HostName, Balancer>,
    pub(crate) databases: BTreeMap<EnvironmentName, Database>,
    /// By the key that the commands of the records use.
    pub(crate) records: BTreeMap<String, DebVersion>,
    alerts: Vec<Firing>,
    unreadable: BTreeMap<EnvironmentName, Timestamp>,
    /// By how much answers are late, and until when.
    slow: BTreeMap<HostName, (Duration, Timestamp)>,
    /// Since when a process acts; `None`: nobody does, and nobody can notice anything.
    pub(crate) attended_since: Option<Timestamp>,
    /// A bug that the checkers should find.
    pub(crate) planted: Option<Planted>,
    package_gone_until: Timestamp,
    pub(crate) qa_hangs_until: Timestamp,
    pub(crate) faults: Faults,
    /// What goes wrong with steps that have begun.
    pub(crate) troubles: BTreeMap<StepId, Trouble>,
    /// What has gone wrong so far.
    pub(crate) befallen: Vec<(Timestamp, String)>,
    /// What every effect of a controller was, in order.
    pub(crate) effects: Vec<String>,
    pub(crate) log: Vec<String>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) ledger: Ledger,
    pub(crate) coverage: Coverage,
}

/// A database: which migrations were applied, and how often.
#[derive(Debug, Default)]
pub(crate) struct Database {
    pub(crate) applied: BTreeMap<String, u32>,
}

#[derive(Debug)]
struct Firing {
    environment: EnvironmentName,
    about: Option<HostName>,
    since: Timestamp,
    until: Timestamp,
}

impl Firing {
    fn alert(&self) -> Alert {
        Alert {
            name: if self.about.is_some() { "InstanceDown" } else { "Errors" }.to_owned(),
            labels: "severity=critical".to_owned(),
            critical: true,
            silenced: false,
            about: self.about.as_ref().map(ToString::to_string),
        }
    }
}

/// Whether a record is in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    NotYet,
    Now,
}

/// Something that happens at a time.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// Something goes wrong.
    Fault(Fault),
    /// A job came to its end.
    JobEnds { host: HostName, job: (RunId, StepId), attempt: u32 },
    /// A package is unpacked, and not configured.
    Unpacked { host: HostName, job: (RunId, StepId), attempt: u32 },
    /// A migration is applied.
    Migrated { host: HostName, job: (RunId, StepId), attempt: u32, id: String },
    /// A service has a new process.
    Replaced { host: HostName, service: ServiceName },
    /// HAProxy's checks of a host's servers may have another result.
    Checked { host: HostName },
    /// Config management looks at its record.
    Converge { host: HostName },
    /// Config management has done what its record says.
    Converged { host: HostName },
    /// A machine starts again.
    Boots { host: HostName },
    /// By now a reload must have been noticed.
    Noticed { lb: HostName },
    /// Nothing, but whoever waits should look.
    Look,
}

impl World {
    /// Makes a world in which everything runs the old version and is healthy.
    pub(crate) fn new(setting: &Setting, seed: u64, faults: Faults) -> Self {
        let begin = setting.begin;
        let mut world = Self {
            begin,
            now: begin,
            random: Random::new(seed),
            queue: BTreeMap::new(),
            queued: 0,
            converge_every: setting.converge_every,
            build: setting.build.clone(),
            old: setting.old.clone(),
            latencies: setting.latencies.clone(),
            hosts: BTreeMap::new(),
            balancers: BTreeMap::new(),
            databases: BTreeMap::new(),
            records: BTreeMap::new(),
            alerts: Vec::new(),
            unreadable: BTreeMap::new(),
            slow: BTreeMap::new(),
            attended_since: Some(begin),
            planted: None,
            package_gone_until: begin,
            qa_hangs_until: begin,
            troubles: BTreeMap::new(),
            befallen: Vec::new(),
            effects: Vec::new(),
            log: Vec::new(),
            violations: Vec::new(),
            ledger: Ledger::default(),
            topology: Arc::clone(&setting.topology),
            coverage: Coverage::default(),
            faults,
        };
        world.build_up(setting);
        for (after, fault) in world.faults.at.clone() {
            world.schedule(after, Happening::Fault(fault));
        }
        world
    }

    fn build_up(&mut self, setting: &Setting) {
        let topology = self.topology.clone();
        for (name, environment) in &topology.environments {
            self.databases.insert(name.clone(), Database::default());
            for (fleet, host) in environment.hosts() {
                let machine = Machine::new(&topology, name, fleet, host, &self.old);
                self.hosts.insert(host.name.clone(), machine);
                let management = environment.config_management.as_ref();
                if management.is_some_and(|management| management.record.is_some()) {
                    self.records.insert(format!("{name}-{}", fleet.name), self.old.clone());
                }
                let first = self.random.between(FIRST_CONVERGE, self.converge_every);
                self.schedule(first, Happening::Converge { host: host.name.clone() });
            }
            for lb in environment.load_balancers.values() {
                self.balancers.insert(lb.host.clone(), Balancer::new(environment, lb, setting));
            }
        }
        self.bring(setting);
    }

    pub(crate) fn schedule(&mut self, after: Duration, happening: Happening) {
        self.queued += 1;
        self.queue.insert((self.now.plus(after), self.queued), happening);
    }

    /// Lets everything happen that is due by `now`.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        while let Some(entry) = self.queue.first_entry() {
            let at = entry.key().0;
            if at > now {
                break;
            }
            let happening = entry.remove();
            self.now = self.now.max(at);
            self.happen(happening);
        }
        self.now = self.now.max(now);
    }

    /// Returns when the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Fault(fault) => self.befall(fault),
            Happening::JobEnds { host, job, attempt } => self.job_ends(&host, &job, attempt),
            Happening::Unpacked { host, job, attempt } => self.unpacked(&host, &job, attempt),
            Happening::Migrated { host, job, attempt, id } => {
                self.migrated(&host, &job, attempt, &id);
            }
            Happening::Replaced { host, service } => self.replaced(&host, &service),
            Happening::Checked { host } => self.checked(&host),
            Happening::Converge { host } => self.converge(&host),
            Happening::Converged { host } => self.converged(&host),
            Happening::Boots { host } => self.boots(&host),
            Happening::Noticed { lb } => self.check_redrained(&lb),
            Happening::Look => {}
        }
    }

    fn befall(&mut self, fault: Fault) {
        self.befell(&fault.to_string());
        match fault {
            Fault::HostDies { host, back_after } => self.dies(&host, back_after),
            Fault::Cut { host, lasts } => {
                let until = self.now.plus(lasts);
                if let Some(machine) = self.hosts.get_mut(&host) {
                    machine.cut_until = until;
                }
                if let Some(balancer) = self.balancers.get_mut(&host) {
                    balancer.cut_until = until;
                }
                self.schedule(lasts, Happening::Look);
            }
            Fault::Reload { host } => {
                self.reload(&host);
                self.schedule(crate::check::POLLS, Happening::Noticed { lb: host });
            }
            Fault::Alert { environment, about, lasts } => {
                let (since, until) = (self.now, self.now.plus(lasts));
                self.alerts.push(Firing { environment, about, since, until });
            }
            Fault::AlertsUnreadable { environment, lasts } => {
                self.unreadable.insert(environment, self.now.plus(lasts));
            }
            Fault::ThirdVersion { host } => {
                let now = self.now;
                if let Some(machine) = self.hosts.get_mut(&host) {
                    machine.struck = Some(now);
                    machine.meddled = true;
                    machine.before_third.get_or_insert_with(|| machine.package.clone());
                    machine.package =
                        serin_model::PackageState::Installed(installation::name(THIRD));
                }
            }
            Fault::Slow { host, by, lasts } => {
                self.slow.insert(host, (by, self.now.plus(lasts)));
            }
            Fault::DpkgLocked { host, lasts } => {
                let until = self.now.plus(lasts);
                if let Some(machine) = self.hosts.get_mut(&host) {
                    machine.dpkg_locked_until = until;
                }
            }
            Fault::PackageGone { lasts } => self.package_gone_until = self.now.plus(lasts),
            Fault::QaHangs { lasts } => self.qa_hangs_until = self.now.plus(lasts),
            Fault::Converges { host } => self.converge_once(&host),
        }
    }

    /// A process begins to act, or goes on.
    pub(crate) fn attended(&mut self) {
        self.attended_since = Some(self.now);
    }

    /// Returns by how much the answers of a host are late.
    pub(crate) fn slowness(&self, host: &HostName) -> Duration {
        let slow = self.slow.get(host).filter(|(_, until)| *until > self.now);
        slow.map_or(Duration::ZERO, |(by, _)| *by)
    }

    /// Returns the longest delay between a look and the act that follows from it, beyond the ordinary.
    pub(crate) fn slowest(&self) -> Duration {
        let lately = self.slow.values().filter(|(by, until)| until.plus(*by * 2) > self.now);
        lately.map(|(by, _)| *by * 2).sum()
    }

    pub(crate) fn is_package_gone(&self) -> bool {
        self.package_gone_until > self.now
    }

    /// Writes a line of the log: who, and what.
    pub(crate) fn note(&mut self, who: &str, what: &str) {
        let mut line = format!("{:>8}", self.now.since(self.begin).as_millis());
        // Writing to a string cannot fail.
        let _written = write!(line, " {who:<10} {what}");
        self.log.push(line);
    }

    /// Notes that something happened that must not.
    pub(crate) fn violation(&mut self, checker: Checker, what: String) {
        let violation = Violation { checker, what };
        self.note("VIOLATION", &violation.to_string());
        self.violations.push(violation);
    }

    /// Returns what the clock of some process shows now.
    pub(crate) fn some_clock(&mut self) -> Timestamp {
        let apart = self.faults.clocks_apart;
        if apart.is_zero() {
            return self.now;
        }
        let late = u64::try_from(apart.as_millis()).unwrap_or(u64::MAX);
        self.now.plus(self.random.millis(0, late))
    }

    /// Counts an effect of a controller, and returns what goes wrong with it.
    pub(crate) fn effect(&mut self, what: String) -> Option<Trouble> {
        self.effects.push(what);
        let number = u64::try_from(self.effects.len()).unwrap_or(u64::MAX);
        self.faults.effects.get(&number).copied().or(self.faults.every_effect)
    }

    /// Has happen what waits for something to be recorded; tells whether the process dies of it.
    pub(crate) fn upon(&mut self, cause: Cause, written: Written) -> bool {
        let mut dies = false;
        let mut befalls = Vec::new();
        self.faults.when.retain_mut(|when| {
            let before = matches!(when.mishap, Mishap::DiesBefore);
            if when.cause != cause || before != (written == Written::NotYet) {
                return true;
            }
            when.nth = when.nth.saturating_sub(1);
            if when.nth > 0 {
                return true;
            }
            match &when.mishap {
                Mishap::DiesBefore | Mishap::Dies => dies = true,
                Mishap::Befalls(fault) => befalls.push((when.after, fault.clone())),
            }
            false
        });
        for (after, fault) in befalls {
            self.schedule(after, Happening::Fault(fault));
        }
        dies
    }

    /// Ends everything that goes wrong from now on, as when people have repaired it.
    pub(crate) fn heal(&mut self) {
        self.faults.effects.clear();
        self.faults.every_effect = None;
        self.faults.when.clear();
        self.troubles.clear();
        self.slow.clear();
        self.package_gone_until = self.now;
        self.qa_hangs_until = self.now;
        self.alerts.clear();
        self.unreadable.clear();
        let now = self.now;
        for machine in self.hosts.values_mut() {
            machine.cut_until = now;
            machine.dpkg_locked_until = now;
        }
        for balancer in self.balancers.values_mut() {
            balancer.cut_until = now;
        }
        let dead = self.hosts.iter().filter(|(_, machine)| !machine.up);
        let dead: Vec<HostName> = dead.map(|(host, _)| host.clone()).collect();
        for host in dead {
            self.boots(&host);
        }
        self.note("people", "repaired everything");
    }

    /// Lets nothing befall the world any more.
    pub(crate) fn end_faults(&mut self) {
        self.queue.retain(|_, happening| !matches!(happening, Happening::Fault(_)));
        self.faults = Faults::default();
    }

    /// Repairs everything, and does by hand what only people can: end migrations that stopped half-way, and take
    /// versions away that somebody else has installed.
    pub(crate) fn mend(&mut self) {
        self.heal();
        let mut mended = Vec::new();
        for (host, machine) in &mut self.hosts {
            if let Some(before) = machine.before_third.take() {
                machine.package = before;
                mended.push(host.clone());
            }
        }
        for host in mended {
            self.restarted(&host);
        }
        let migrating: Vec<EnvironmentName> = self
            .hosts
            .values()
            .filter(|machine| machine.is_migrating())
            .map(|machine| machine.environment.clone())
            .collect();
        for (environment, database) in &mut self.databases {
            if migrating.contains(environment) {
                continue;
            }
            for ids in [&REGULAR[..], &POST_DEPLOYMENT[..]] {
                if ids.iter().any(|id| database.applied.contains_key(*id)) {
                    for id in ids {
                        database.applied.entry((*id).to_owned()).or_insert(1);
                    }
                }
            }
        }
    }

    /// Returns the alerts that fire, or `None` when they cannot be read.
    pub(crate) fn firing(&self, environment: &EnvironmentName) -> Option<Vec<Alert>> {
        if self.unreadable.get(environment).is_some_and(|until| *until > self.now) {
            return None;
        }
        let here = self.alerts.iter().filter(|firing| firing.environment == *environment);
        Some(here.filter(|firing| firing.until > self.now).map(Firing::alert).collect())
    }

    /// Returns the alerts that fired at any moment of a time.
    pub(crate) fn fired(
        &self,
        environment: &EnvironmentName,
        (from, to): (Timestamp, Timestamp),
    ) -> Vec<Alert> {
        let here = self.alerts.iter().filter(|firing| firing.environment == *environment);
        here.filter(|firing| firing.since <= to && firing.until > from).map(Firing::alert).collect()
    }

    /// Tells whether an alert that no host can be blamed for has fired for so long in an environment.
    pub(crate) fn has_fired_for(&self, environment: &EnvironmentName, long: Duration) -> bool {
        self.alerts.iter().any(|firing| {
            firing.environment == *environment
                && firing.about.is_none()
                && firing.until > self.now
                && self.now.since(firing.since) > long
        })
    }

    /// Shows what a run leaves behind, without anything that depends on when or how often things were done.
    pub(crate) fn projection(&self) -> String {
        let mut lines = Vec::new();
        for (host, machine) in &self.hosts {
            let services = machine.services.iter().map(|(name, service)| {
                let state = if service.pid.is_some() { "up" } else { "down" };
                format!("{name} {state} {} fetches {}", service.loaded, service.fetches)
            });
            let services = services.collect::<Vec<_>>().join(", ");
            let agent = if machine.agent.runs { "runs" } else { "is stopped" };
            lines.push(format!("{host}: {} [{services}] agent {agent}", machine.package));
        }
        for (host, balancer) in &self.balancers {
            for ((backend, server), seen) in &balancer.servers {
                lines.push(format!(
                    "{host} {backend}/{server}: {} weight {} up {}",
                    seen.admin,
                    seen.weight,
                    seen.is_up()
                ));
            }
        }
        for (environment, database) in &self.databases {
            lines.push(format!("{environment}: applied {:?}", database.applied));
        }
        for (key, version) in &self.records {
            lines.push(format!("record {key}: {version}"));
        }
        lines.join("\n")
    }

    /// Returns the migrations of the installed version that are not applied: regular, then post-deployment.
    pub(crate) fn pending(&self, host: &HostName) -> Option<(Vec<String>, Vec<String>)> {
        let machine = self.hosts.get(host)?;
        let database = self.databases.get(&machine.environment)?;
        let serin_model::PackageState::Installed(installed) = &machine.package else {
            return None;
        };
        if *installed != self.build.version {
            return Some((Vec::new(), Vec::new()));
        }
        let left = |ids: &[&str]| {
            let left = ids.iter().filter(|id| !database.applied.contains_key(**id));
            left.map(|id| (*id).to_owned()).collect()
        };
        Some((left(&REGULAR), left(&POST_DEPLOYMENT)))
    }
}
