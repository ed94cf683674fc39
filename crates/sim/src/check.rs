//! What no change of the world may ever do, looked at in the moment of the change.
//!
//! The checkers know the journal ([`crate::ledger`]), the topology and the world. They do not ask the engine or the
//! runtime anything.

use crate::balancer::Change;
use crate::checker::Checker;
use crate::installation::{POST_DEPLOYMENT, REGULAR};
use crate::jobs::{is_regular, words};
use crate::world::World;
use serin_engine::{Event, Outcome};
use serin_model::{
    Action, AdminState, BackendName, Build, Environment, EnvironmentName, Host, HostName, Pace,
    RunId, ServerName, Subject, Timestamp,
};
use serin_runtime::ports::{Fence, Job, Work};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long after a reload a job may still find its host in rotation: nothing can look and act in one moment. The look
/// right before a job and the job's start are at most this far apart in this world.
const LOOK_TO_JOB: Duration = Duration::from_millis(100);

/// How long after its beginning an alert must have been read.
const READS_ALERTS: Duration = Duration::from_secs(12);

/// How long a process has to act before it must have noticed what happens: it reads its run and raises fences first.
const ATTENTIVE: Duration = Duration::from_secs(30);

/// How long before a drain the look may have been on which it was decided.
const LOOK_TO_DRAIN: Duration = Duration::from_secs(6);

/// How long after a reload a canary may have weight: four polls of the load balancers.
pub(crate) const POLLS: Duration = Duration::from_secs(2);

impl World {
    /// Checks that a job may begin now.
    pub(crate) fn check_job(&mut self, job: &Job) {
        let pages = self.ledger.pages(&job.run.id);
        let pace = pages.map(|pages| pages.plan.pace);
        if !pages.is_some_and(|pages| pages.in_flight(&job.step, job.attempt)) {
            self.violation(Checker::Job, format!("{} has no record of its attempt", job.step));
        }
        let words = words(&job.work);
        let activates = matches!(words.as_slice(), ["gitlab-ctl", "hup" | "restart", _]);
        let changes = activates
            || matches!(job.work, Work::Install(_))
            || words.as_slice() == ["gitlab-ctl", "reconfigure"];
        if changes && pace == Some(Pace::Careful) {
            self.check_rotation(&job.host, &job.step.to_string());
        }
        // A patch brings no build: the canary serves on, less one host, and the database is as it was.
        let patches = ["/patch.", "/unpatch."].iter().any(|part| job.step.as_str().contains(part));
        if changes && !patches && pace == Some(Pace::Careful) {
            self.check_share(&job.host, &job.step.to_string());
        }
        if activates && !patches {
            self.check_migrated(&job.host);
        }
        if let Work::Install(build) = &job.work {
            self.check_return(&job.host, build);
        }
    }

    /// No host is changed while a load balancer sends traffic to it.
    fn check_rotation(&mut self, host: &HostName, what: &str) {
        let mut serving = Vec::new();
        for balancer in self.balancers.values() {
            if unseen(balancer.reloaded, self.now, LOOK_TO_JOB + self.slowest()) {
                continue;
            }
            for ((backend, server), seen) in &balancer.servers {
                if seen.host == *host && seen.is_up() {
                    serving.push(format!("{}:{backend}/{server}", balancer.name));
                }
            }
        }
        if !serving.is_empty() {
            self.violation(
                Checker::Rotation,
                format!("{what} while {} took traffic", serving.join(", ")),
            );
        }
    }

    /// What a reload undid is put right while a host is being installed on.
    pub(crate) fn check_redrained(&mut self, lb: &HostName) {
        let Some(balancer) = self.balancers.get(lb) else { return };
        if self.attended_since.is_none_or(|since| self.now.since(since) <= ATTENTIVE) {
            return;
        }
        // At the expedited pace nobody is drained.
        let installing = |host: &HostName| {
            let machine = self.hosts.get(host);
            machine.is_some_and(|m| matches!(m.package, serin_model::PackageState::Broken { .. }))
                && self.ledger.all().any(|pages| pages.has_drained(host))
        };
        let mut forgotten = Vec::new();
        for ((backend, server), seen) in &balancer.servers {
            if seen.admin == AdminState::Ready && installing(&seen.host) {
                forgotten.push(format!("{backend}/{server}"));
            }
        }
        if !forgotten.is_empty() {
            let forgotten = forgotten.join(", ");
            self.violation(
                Checker::Redrained,
                format!("{lb} {forgotten} still ready after a reload"),
            );
        }
    }

    /// While hosts of a canary are changed, it has no weight in backends that it shares.
    fn check_share(&mut self, host: &HostName, what: &str) {
        let Some(machine) = self.hosts.get(host).filter(|machine| machine.canary) else { return };
        let Some(environment) = self.topology.environments.get(&machine.environment) else {
            return;
        };
        let mut weighted = Vec::new();
        for fleet in environment.fleets.values().filter(|fleet| fleet.share_after.is_some()) {
            for server in environment.shared_servers(&fleet.name) {
                let balancer = self.balancers.values().find(|balancer| {
                    balancer.environment == environment.name && balancer.name == server.lb
                });
                let key = (server.backend.clone(), server.server.clone());
                let found = balancer.filter(|balancer| !unseen(balancer.reloaded, self.now, POLLS));
                if found.and_then(|b| b.servers.get(&key)).is_some_and(|s| s.weight > 0) {
                    weighted.push(server.to_string());
                }
            }
        }
        if !weighted.is_empty() {
            self.violation(
                Checker::Share,
                format!("{what} while the canary had weight on {}", weighted.join(", ")),
            );
        }
    }

    /// The code of before is not installed where post-deployment migrations have run.
    fn check_return(&mut self, host: &HostName, build: &Build) {
        let database = self.hosts.get(host).and_then(|m| self.databases.get(&m.environment));
        let past = POST_DEPLOYMENT
            .iter()
            .any(|id| database.is_some_and(|database| database.applied.contains_key(*id)));
        if past && build.version != self.build.version {
            self.violation(
                Checker::Return,
                format!("{host} goes back past the point of no return"),
            );
        }
    }

    /// New code runs only where the migrations that it needs are applied.
    fn check_migrated(&mut self, host: &HostName) {
        let Some(machine) = self.hosts.get(host) else { return };
        let new = matches!(&machine.package, serin_model::PackageState::Installed(found)
            if *found == self.build.version);
        let environment = machine.environment.clone();
        let applied = |id: &&&str| {
            self.databases.get(&environment).is_some_and(|db| db.applied.contains_key(**id))
        };
        let topology = Arc::clone(&self.topology);
        let hosts =
            topology.environments.get(&environment).into_iter().flat_map(Environment::hosts);
        let migrates = topology.profile.migrations.is_some()
            && hosts.flat_map(|(_, host)| topology.roles_of(host)).any(|role| role.migrations);
        if new && migrates && !REGULAR.iter().all(|id| applied(&id)) {
            self.violation(
                Checker::Migrated,
                format!("{host} was to run the build before its migrations"),
            );
        }
    }

    /// Each migration is applied once; post-deployment ones after the last host of the stages before.
    pub(crate) fn check_migration(&mut self, environment: &EnvironmentName, id: &str) {
        let count = self.databases.get(environment).and_then(|db| db.applied.get(id)).copied();
        if count != Some(1) {
            self.violation(
                Checker::Migration,
                format!("migration {id} of {environment} was applied {count:?} times"),
            );
        }
        if is_regular(id) {
            return;
        }
        let late = self.hosts.iter().filter(|(_, machine)| {
            machine.environment == *environment
                && !machine.services.is_empty()
                && machine.is_late(&self.build.version)
        });
        let late: Vec<String> = late.map(|(host, _)| host.to_string()).collect();
        if !late.is_empty() {
            let late = late.join(", ");
            self.violation(
                Checker::Migration,
                format!("post-deployment migration {id} before {late}"),
            );
        }
    }

    /// A run installs once on each host.
    pub(crate) fn check_install(&mut self, host: &HostName) {
        let installs = self.hosts.get(host).map(|machine| &machine.installs);
        let twice = installs.into_iter().flatten().find(|(_, count)| **count > 1);
        if let Some((run, count)) = twice.map(|(run, count)| (run.clone(), *count)) {
            self.violation(Checker::Install, format!("{run} installed {count} times on {host}"));
        }
    }

    /// Checks that a server may be changed so now.
    pub(crate) fn check_change(
        &mut self,
        lb: &HostName,
        key: &(BackendName, ServerName),
        change: &Change,
        fence: Fence,
    ) {
        let Some(balancer) = self.balancers.get(lb) else { return };
        let Some(server) = balancer.servers.get(key) else {
            self.violation(Checker::Recorded, format!("{lb} has no server {}/{}", key.0, key.1));
            return;
        };
        let (host, was_up) = (server.host.clone(), server.is_up() && server.weight > 0);
        let environment = balancer.environment.clone();
        self.check_recorded(&environment, &host, change, fence);
        match change {
            Change::Admin(AdminState::Ready) => self.check_fit(&host),
            Change::Admin(AdminState::Drain | AdminState::Maintenance)
                if was_up && !self.is_told_again(&host) =>
            {
                self.check_taking_out(&environment, &host, (lb, key));
            }
            Change::Admin(_) | Change::Weight(_) | Change::Cut => {}
        }
    }

    /// Tells whether a drain only repeats what a reload has undone.
    fn is_told_again(&self, host: &HostName) -> bool {
        self.ledger.all().any(|pages| pages.redrains(host, self.now) || pages.is_changed(host))
    }

    /// What HAProxy is told has its record in the journal.
    fn check_recorded(
        &mut self,
        environment: &EnvironmentName,
        host: &HostName,
        change: &Change,
        fence: Fence,
    ) {
        let now = self.now;
        // A share of the environment's stream is told whether or not a run acts; that it is none while the canary is
        // changed is checked with every job.
        let fleet = self.topology.environments.get(environment).and_then(|environment| {
            environment.hosts().find(|(_, known)| known.name == *host).map(|(fleet, _)| &fleet.name)
        });
        let shared = fleet.is_some_and(|fleet| self.ledger.has_share(environment, fleet));
        if matches!(change, Change::Weight(_)) && shared {
            return;
        }
        let pages = self.ledger.all().find(|p| p.fences.get(environment) == Some(&fence.0));
        let recorded = pages.is_some_and(|pages| {
            let mut flying = pages.flying();
            match change {
                Change::Weight(_) => {
                    pages.reweighs(now) || flying.any(|(_, a)| matches!(a, Action::SetShare { .. }))
                }
                Change::Admin(_) | Change::Cut => {
                    let subject = Subject::Host(host.clone());
                    let moves = |action: &Action| {
                        matches!(
                            action,
                            Action::Drain
                                | Action::Install { .. }
                                | Action::Reconfigure
                                | Action::Activate
                                | Action::Patch { .. }
                                | Action::Unpatch { .. }
                                | Action::Ready
                        )
                    };
                    pages.redrains(host, now)
                        || flying.any(|(about, action)| *about == subject && moves(action))
                }
            }
        });
        if !recorded {
            let change = format!("{change:?} for {host} under fence {}", fence.0);
            self.violation(Checker::Recorded, format!("{change} has no record"));
        }
    }

    /// A host goes back into rotation only when it is well.
    fn check_fit(&mut self, host: &HostName) {
        let within = LOOK_TO_DRAIN + self.slowest();
        let Some(machine) = self.hosts.get(host).filter(|machine| machine.up) else { return };
        if unseen(machine.struck, self.now, within) {
            return;
        }
        let whole = matches!(machine.package, serin_model::PackageState::Installed(_));
        if !whole || !machine.is_healthy(self.now) {
            let package = machine.package.to_string();
            self.violation(
                Checker::Fit,
                format!("{host} was put into rotation with {package}, or unhealthy"),
            );
        }
    }

    /// No more hosts of a role are out than may be, and the last server of a backend stays.
    fn check_taking_out(
        &mut self,
        environment: &EnvironmentName,
        host: &HostName,
        (lb, key): (&HostName, &(BackendName, ServerName)),
    ) {
        let topology = Arc::clone(&self.topology);
        let Some(environment) = topology.environments.get(environment) else { return };
        let found = environment.hosts().find(|(_, known)| known.name == *host);
        let Some((fleet, known)) = found else { return };
        let unforeseen = self.unforeseen();
        for role in topology.roles_of(known) {
            let members: Vec<&Host> =
                fleet.hosts.values().filter(|h| h.roles.contains(&role.name)).collect();
            let limit = role.max_unavailable.of(members.len());
            let out = |other: &&&Host| {
                other.name == *host
                    || !self.is_up(environment, other) && !unforeseen.contains(&other.name)
            };
            let out: Vec<String> = members.iter().filter(out).map(|h| h.name.to_string()).collect();
            if out.len() > limit {
                let (count, out) = (out.len(), out.join(", "));
                let what = format!("{count} {} out, of which {limit} may be: {out}", role.name);
                self.violation(Checker::Budget, what);
            }
        }
        let may_be_empty = known.servers.iter().any(|server| {
            (&server.backend, &server.server) == (&key.0, &key.1) && server.may_be_empty
        });
        let left = self.balancers.get(lb).is_some_and(|balancer| {
            balancer.servers.iter().any(|(other, seen)| {
                let up = seen.is_up() || unforeseen.contains(&seen.host);
                other.0 == key.0 && other != key && up && seen.weight > 0
            })
        });
        if !may_be_empty && !left {
            self.violation(
                Checker::LastServer,
                format!("{lb} {} was left without a server", key.0),
            );
        }
    }

    /// Returns the hosts of which a look a moment ago may have said otherwise.
    fn unforeseen(&self) -> BTreeSet<HostName> {
        self.befallen_within(LOOK_TO_DRAIN + self.slowest())
    }

    /// Returns the hosts of which the last sweep may have said otherwise: what it said may have been recorded long after it
    /// was read, and what ends a run long after that, by another process.
    pub(crate) fn befallen_since_sweep(&self) -> BTreeSet<HostName> {
        let swept = self.ledger.all().filter_map(|pages| pages.swept).max();
        let since = swept.map_or(Duration::ZERO, |at| self.now.since(at));
        self.befallen_within(since + LOOK_TO_DRAIN + self.slowest())
    }

    fn befallen_within(&self, within: Duration) -> BTreeSet<HostName> {
        let lately = |at: Option<Timestamp>| unseen(at, self.now, within);
        let hosts = self.hosts.iter().filter(|(_, machine)| lately(machine.struck));
        let servers = self.balancers.values().flat_map(|balancer| {
            let all = lately(balancer.reloaded);
            balancer.servers.values().filter(move |s| all || lately(s.fell)).map(|s| &s.host)
        });
        hosts.map(|(host, _)| host).chain(servers).cloned().collect()
    }

    /// Tells whether every server of a host is UP.
    pub(crate) fn is_up(&self, environment: &Environment, host: &Host) -> bool {
        host.servers.iter().all(|server| {
            let key = (server.backend.clone(), server.server.clone());
            let balancer = self
                .balancers
                .values()
                .find(|b| b.environment == environment.name && b.name == server.lb);
            balancer.and_then(|b| b.servers.get(&key)).is_some_and(crate::balancer::Server::is_up)
        })
    }

    /// A fence that is said to be raised is raised, everywhere but where it is said not to be.
    pub(crate) fn check_fenced(&mut self, event: &Event) {
        let Event::FenceRaised { environment, fence, unavailable } = event else { return };
        let behind = self.hosts.iter().filter(|(host, machine)| {
            machine.environment == *environment
                && machine.fence < *fence
                && !unavailable.contains_key(host)
        });
        let lbs = self.balancers.iter();
        let lbs = lbs.filter(|(_, lb)| lb.environment == *environment && lb.fence < *fence);
        let behind = behind.map(|(host, _)| host).chain(lbs.map(|(host, _)| host));
        let behind: Vec<String> = behind.map(ToString::to_string).collect();
        if !behind.is_empty() {
            self.violation(
                Checker::Fenced,
                format!("fence {fence} was not raised on {}", behind.join(", ")),
            );
        }
    }

    /// No guard passes while an alert has been firing for longer than it takes to read it.
    pub(crate) fn check_passed(&mut self, run: &RunId, event: &Event) {
        let Event::AttemptEnded { step, outcome: Outcome::Done(_), .. } = event else { return };
        let Some(pages) = self.ledger.pages(run) else { return };
        let found = pages.plan.steps().find(|(_, _, known)| known.id == *step);
        let Some((stage, _, step)) = found else { return };
        if !matches!(step.action, Action::Guard | Action::Bake { .. }) {
            return;
        }
        if self.has_fired_for(&stage.environment.clone(), READS_ALERTS + self.slowest()) {
            self.violation(
                Checker::Passed,
                format!("{} passed while an alert fired", step.id.clone()),
            );
        }
    }
}

fn unseen(reloaded: Option<Timestamp>, now: Timestamp, within: Duration) -> bool {
    reloaded.is_some_and(|at| now.since(at) <= within)
}
