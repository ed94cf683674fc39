//! What must be so when something has ended: a run that has succeeded, gone back or halted, a patch, a whole story.
//!
//! Like the checkers of single changes ([`crate::check`]), these know the journal, the topology and the world alone.

use crate::checker::Checker;
use crate::world::World;
use serin_model::{AdminState, Environment, EnvironmentName, HostName, PatchId, RunId};

impl World {
    /// Says what is not as it must be once a run has succeeded.
    pub(crate) fn check_success(&mut self) {
        let topology = self.topology.clone();
        for environment in topology.environments.values() {
            for (fleet, host) in environment.hosts() {
                let deployed =
                    environment.name.as_str() == "staging" || fleet.share_after.is_some();
                let runs = self.hosts.get(&host.name).is_some_and(|m| m.runs(&self.build.version));
                if deployed && host.roles.iter().all(|r| r.as_str() != "deploy") && !runs {
                    self.violation(
                        Checker::Scenario,
                        format!("success, but {} does not run the build", host.name),
                    );
                }
                if !self.is_up(environment, host) {
                    self.violation(
                        Checker::Scenario,
                        format!("success, but {} is not UP", host.name),
                    );
                }
            }
        }
        if !self.ledger.all().all(crate::ledger::Pages::is_complete) {
            self.violation(
                Checker::Scenario,
                "success, but the journal has steps that are not done".to_owned(),
            );
        }
    }

    /// Says what is not as it was once an environment has gone back.
    pub(crate) fn check_back(&mut self, name: &EnvironmentName) {
        let old: serin_model::DebVersion = crate::installation::name(crate::installation::OLD);
        let topology = self.topology.clone();
        let environment = topology.environments.get(name);
        for (_, host) in environment.into_iter().flat_map(Environment::hosts) {
            if !self.hosts.get(&host.name).is_some_and(|machine| machine.runs(&old)) {
                self.violation(
                    Checker::Scenario,
                    format!("gone back, but {} does not run {old}", host.name),
                );
            }
            if environment.is_some_and(|environment| !self.is_up(environment, host)) {
                self.violation(
                    Checker::Scenario,
                    format!("gone back, but {} is not UP", host.name),
                );
            }
        }
        let records: Vec<String> = self
            .records
            .iter()
            .filter(|(key, version)| key.starts_with(name.as_str()) && **version != old)
            .map(|(key, version)| format!("{key} {version}"))
            .collect();
        if !records.is_empty() {
            self.violation(
                Checker::Scenario,
                format!("gone back, but records say {}", records.join(", ")),
            );
        }
    }

    /// A patch is on every host of an environment, and nothing else has changed.
    ///
    /// The last look at all hosts takes as long as the slowest of them, and the run ends after it: who was struck meanwhile
    /// may have been read before.
    pub(crate) fn check_patched(&mut self, name: &EnvironmentName, patch: &PatchId) {
        let old: serin_model::DebVersion = crate::installation::name(crate::installation::OLD);
        let topology = self.topology.clone();
        let environment = topology.environments.get(name);
        let unforeseen = self.befallen_since_sweep();
        let hosts = environment.into_iter().flat_map(Environment::hosts);
        for (_, host) in hosts.filter(|(_, host)| !unforeseen.contains(&host.name)) {
            let right = self.hosts.get(&host.name).is_some_and(|machine| {
                let whole = machine.patches.get(patch).is_some_and(|own| own.is_whole_on(&old));
                whole && machine.runs(&old)
            });
            if !right {
                self.violation(
                    Checker::Scenario,
                    format!("patched, but {} does not run {old} with it", host.name),
                );
            }
            if environment.is_some_and(|environment| !self.is_up(environment, host)) {
                self.violation(Checker::Scenario, format!("patched, but {} is not UP", host.name));
            }
        }
    }

    /// Says which hosts a halted run has told load balancers to leave out without naming them.
    ///
    /// Hosts that an earlier run left out when it was given up were named then.
    pub(crate) fn check_taken(&mut self, run: &RunId, named: &[HostName]) {
        let mut taken = Vec::new();
        for balancer in self.balancers.values() {
            for (key, server) in &balancer.servers {
                let host = &server.host;
                let ours = self.ledger.pages(run).is_some_and(|pages| pages.has_drained(host));
                if ours && server.admin != AdminState::Ready && !named.contains(host) {
                    taken.push(format!("{host} ({}:{}/{})", balancer.name, key.0, key.1));
                }
            }
        }
        if !taken.is_empty() {
            self.violation(
                Checker::Taken,
                format!("halted, and out without a word: {}", taken.join(", ")),
            );
        }
    }

    /// Says what is not in order although nothing goes wrong and nothing is wanted any more.
    pub(crate) fn check_end(&mut self) {
        let mut wrong = Vec::new();
        for (name, machine) in &self.hosts {
            let whole = matches!(&machine.package, serin_model::PackageState::Installed(version)
                if machine.runs(version));
            if !whole || !machine.is_healthy(self.now) {
                wrong.push(format!("{name} has {} or does not run it", machine.package));
            }
            let recorded = self.records.get(&machine.record);
            let same = matches!(&machine.package, serin_model::PackageState::Installed(version)
                if recorded == Some(version));
            // Where a rollback left other hosts of the fleet, people have to say what the record is to be.
            let mixed = self
                .hosts
                .values()
                .any(|other| other.record == machine.record && other.package != machine.package);
            if same && !mixed && !machine.agent.runs && !machine.meddled {
                wrong.push(format!("config management stays stopped on {name}"));
            }
        }
        for balancer in self.balancers.values() {
            let out = balancer.servers.iter().filter(|(_, server)| !server.is_up());
            wrong.extend(out.map(|((backend, server), _)| {
                format!("{}:{backend}/{server} is not UP", balancer.name)
            }));
        }
        if !wrong.is_empty() {
            self.violation(Checker::End, format!("in the end, {}", wrong.join(", ")));
        }
    }

    /// Says which hosts are not in service although nobody said so; `named`: the hosts that a halt names.
    pub(crate) fn check_halted(&mut self, named: &[HostName]) {
        let topology = self.topology.clone();
        for environment in topology.environments.values() {
            for (_, host) in environment.hosts() {
                let alive = self.hosts.get(&host.name).is_some_and(|machine| machine.up);
                if alive && !named.contains(&host.name) && !self.is_up(environment, host) {
                    self.violation(
                        Checker::Scenario,
                        format!("halted, and {} is out without a word", host.name),
                    );
                }
            }
        }
    }
}
