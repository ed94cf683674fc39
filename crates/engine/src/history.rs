//! What runs have done to hosts, and the way back: each host's own build of before, as the journal has it.
//!
//! Nothing is guessed from version order or from what hosts have now. A run's own record of a host before it changed it
//! is what the host goes back to; where a database was changed for good there is no way back, and that is an answer.

use crate::run::{Run, Status, StepState};
use serin_model::{
    Action, Back, Build, DebVersion, EnvironmentName, FleetName, HostName, MigrationKind, RunId,
    Sha256, Subject,
};
use std::collections::{BTreeMap, BTreeSet};

/// Every run, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct History<'a>(pub &'a [(RunId, Run)]);

/// What is to go back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// What one run has changed.
    Run(RunId),
    /// What the last run there has changed in an environment, or in one fleet of it.
    Place(EnvironmentName, Option<FleetName>),
    /// Everything that was given the newest build, wherever it is; environments without a way back are left out.
    Release,
}

/// A way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayBack {
    /// The runs that are undone.
    pub undoes: BTreeSet<RunId>,
    /// Each host's version of before.
    pub hosts: BTreeMap<HostName, DebVersion>,
    /// What version records said before.
    pub records: Vec<(EnvironmentName, FleetName, DebVersion)>,
    /// Hosts that those runs left out of service without having changed them.
    pub out_of_service: BTreeSet<HostName>,
    /// Environments that stay as they are, and why.
    pub left_out: Vec<NoWayBack>,
}

/// Why there is no way back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWayBack {
    /// No run has changed a host there.
    #[error("no run has changed a host there, so there is nothing to go back from")]
    NothingChanged,
    /// It has gone back already, or is a rollback itself.
    #[error("run {0} was a rollback: to go forward again, run the build again")]
    IsRollback(RunId),
    /// A later run has changed the same hosts.
    #[error("run {later} has changed {} since: roll that back first", list(.hosts))]
    ChangedSince {
        /// The later run.
        later: RunId,
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// Post-deployment migrations have run: the code of before does not fit the database any more.
    #[error(
        "{environment} is past its point of no return: run {run} has run post-deployment migrations ({what})"
    )]
    PointOfNoReturn {
        /// The environment.
        environment: EnvironmentName,
        /// The run that ran them.
        run: RunId,
        /// What is known of them.
        what: String,
    },
    /// Hosts had no package before.
    #[error("{} had no package before", list(.0))]
    FirstInstallation(Vec<HostName>),
    /// There is no such run.
    #[error("there is no run {0}")]
    NoSuchRun(RunId),
}

/// One change of one host by one run.
#[derive(Debug, Clone)]
struct Change<'a> {
    place: usize,
    environment: &'a EnvironmentName,
    fleet: &'a FleetName,
    host: &'a HostName,
    from: Option<&'a DebVersion>,
    to: &'a Build,
}

impl<'a> History<'a> {
    /// Finds the way back.
    ///
    /// # Errors
    /// Says why there is none.
    pub fn way_back(self, scope: &Scope) -> Result<WayBack, NoWayBack> {
        let way = match scope {
            Scope::Run(run) => self.of_run(run),
            Scope::Place(environment, fleet) => self.of_place(environment, fleet.as_ref()),
            Scope::Release => self.of_release(),
        }?;
        Ok(self.with_out_of_service(way))
    }

    /// Adds the hosts that the runs which are undone, or a rollback of them that was given up, left out of service and that no
    /// run has changed since.
    fn with_out_of_service(self, mut way: WayBack) -> WayBack {
        let undone = |(_, (id, run)): &(usize, &(RunId, Run))| {
            way.undoes.contains(id)
                || run.plan.back.as_ref().is_some_and(|back| !back.undoes.is_disjoint(&way.undoes))
        };
        let mut out_of_service = BTreeSet::new();
        for (place, (_, run)) in self.0.iter().enumerate().filter(undone) {
            let left = run.out_of_service().into_iter().filter(|out| !out.changed);
            let left = left.map(|out| out.host).filter(|host| {
                !way.hosts.contains_key(host)
                    && !self.changes().any(|change| change.place > place && change.host == host)
            });
            out_of_service.extend(left);
        }
        way.out_of_service.extend(out_of_service);
        way
    }

    /// Returns the build of a version as runs have known it: the one that a host was given, if it was.
    pub fn build(self, host: Option<&HostName>, version: &DebVersion) -> Option<&'a Build> {
        let own = self.changes().filter(|change| Some(change.host) == host);
        let given = own.map(|change| change.to).filter(|build| build.version == *version).last();
        let any = || {
            let builds = self.0.iter().rev().flat_map(|(_, run)| {
                let back = run.plan.back.iter().flat_map(|back| back.hosts.values());
                [&run.plan.build].into_iter().chain(back)
            });
            builds.into_iter().find(|build| build.version == *version)
        };
        given.or_else(any)
    }

    /// Returns the last run that has changed a host of a fleet, or may have.
    pub fn last_change(
        self,
        environment: &EnvironmentName,
        fleet: &FleetName,
    ) -> Option<&'a RunId> {
        let here = |change: &Change<'_>| change.environment == environment && change.fleet == fleet;
        let changed =
            |(place, (_, run)): &(usize, &(RunId, Run))| changes_of(*place, run).any(|c| here(&c));
        self.0.iter().enumerate().rfind(changed).map(|(_, (id, _))| id)
    }

    fn changes(self) -> impl Iterator<Item = Change<'a>> {
        self.0.iter().enumerate().flat_map(|(place, (_, run))| changes_of(place, run))
    }

    fn of_run(self, id: &RunId) -> Result<WayBack, NoWayBack> {
        let place = self.0.iter().position(|(known, _)| known == id);
        let place = place.ok_or_else(|| NoWayBack::NoSuchRun(id.clone()))?;
        self.undo(place, |_, _| true)
    }

    fn of_place(
        self,
        environment: &EnvironmentName,
        fleet: Option<&FleetName>,
    ) -> Result<WayBack, NoWayBack> {
        let here = |known: &EnvironmentName, of: &FleetName| {
            known == environment && fleet.is_none_or(|fleet| of == fleet)
        };
        let touched = |(place, (_, run)): &(usize, &(RunId, Run))| {
            changes_of(*place, run).any(|change| here(change.environment, change.fleet))
                || !records_of(run, here).is_empty()
        };
        let mut touching = self.0.iter().enumerate().rev().filter(touched);
        let (place, (_, last)) = touching.next().ok_or(NoWayBack::NothingChanged)?;
        let mut way = self.undo(place, here)?;
        // A run that was given up and begun again is one: what it had changed by then goes back as well.
        let again = touching.take_while(|(_, (_, run))| {
            matches!(run.status, Status::Cancelled { .. })
                && run.plan.back.is_none()
                && last.plan.back.is_none()
                && run.plan.pipeline == last.plan.pipeline
                && run.plan.build.sha256 == last.plan.build.sha256
        });
        for (place, (id, run)) in again {
            let changes = changes_of(place, run).filter(|c| here(c.environment, c.fleet));
            take(&mut way.hosts, &changes.collect::<Vec<_>>())?;
            for record in records_of(run, here) {
                way.records.retain(|(e, fleet, _)| (e, fleet) != (&record.0, &record.1));
                way.records.push(record);
            }
            way.undoes.insert(id.clone());
        }
        Ok(way)
    }

    /// Undoes the changes of one run that are wanted.
    fn undo(
        self,
        place: usize,
        wanted: impl Fn(&EnvironmentName, &FleetName) -> bool,
    ) -> Result<WayBack, NoWayBack> {
        let Some((id, run)) = self.0.get(place) else { return Err(NoWayBack::NothingChanged) };
        let here = |change: &Change<'_>| wanted(change.environment, change.fleet);
        let changes: Vec<Change<'_>> = changes_of(place, run).filter(here).collect();
        // A record that was changed before the first host was goes back as well.
        let records = records_of(run, &wanted);
        if changes.is_empty() && records.is_empty() {
            return Err(NoWayBack::NothingChanged);
        }
        if let Some(back) = &run.plan.back {
            let ended = self.0.iter().skip(place).find(|(_, later)| {
                let same = later.plan.back.as_ref().is_some_and(|b| b.undoes == back.undoes);
                same && !matches!(later.status, Status::Cancelled { .. })
            });
            // A rollback that was given up in its middle is gone through to its end.
            return match ended {
                Some((id, _)) => Err(NoWayBack::IsRollback(id.clone())),
                None => Ok(again(back, run, here)),
            };
        }
        let touched: BTreeSet<&HostName> = changes.iter().map(|change| change.host).collect();
        self.unchanged_since(place, &touched)?;
        let environments = changes.iter().map(|change| change.environment);
        let of_records = records.iter().map(|(environment, _, _)| environment);
        for environment in environments.chain(of_records).collect::<BTreeSet<_>>() {
            self.before_no_return(place, environment, &run.plan.build.sha256)?;
        }
        let mut way = WayBack {
            undoes: [id.clone()].into(),
            hosts: BTreeMap::new(),
            records,
            out_of_service: BTreeSet::new(),
            left_out: Vec::new(),
        };
        take(&mut way.hosts, &changes)?;
        Ok(way)
    }

    fn unchanged_since(self, place: usize, touched: &BTreeSet<&HostName>) -> Result<(), NoWayBack> {
        let later = self.changes().filter(|c| c.place > place && touched.contains(c.host));
        let later: Vec<Change<'_>> = later.collect();
        let Some((id, run)) = later.first().and_then(|change| self.0.get(change.place)) else {
            return Ok(());
        };
        if run.plan.back.is_some() {
            return Err(NoWayBack::IsRollback(id.clone()));
        }
        let hosts = later.iter().map(|change| change.host.clone());
        let hosts: BTreeSet<HostName> = hosts.collect();
        Err(NoWayBack::ChangedSince { later: id.clone(), hosts: hosts.into_iter().collect() })
    }

    /// Fails closed: a post-deployment migration that was begun counts as one that has run. Of earlier runs only those count
    /// that brought the same build: what they did to the database is what hosts would go back from.
    fn before_no_return(
        self,
        from: usize,
        environment: &EnvironmentName,
        build: &Sha256,
    ) -> Result<(), NoWayBack> {
        let counts = |(place, (_, run)): &(usize, &(RunId, Run))| {
            *place >= from || (run.plan.back.is_none() && run.plan.build.sha256 == *build)
        };
        for (_, (id, run)) in self.0.iter().enumerate().filter(counts) {
            let begun = run.plan.steps().find(|(stage, _, step)| {
                stage.environment == *environment
                    && step.action == Action::Migrate(MigrationKind::PostDeployment)
                    && run.attempts(&step.id) > 0
            });
            if let Some((_, _, step)) = begun {
                let what = match run.state(&step.id) {
                    StepState::Done(seen) => seen.clone(),
                    StepState::Pending
                    | StepState::Started { .. }
                    | StepState::Lost(_)
                    | StepState::Failed(_)
                    | StepState::Unknown(_) => "begun, and perhaps in part applied".to_owned(),
                };
                let (environment, run) = (environment.clone(), id.clone());
                return Err(NoWayBack::PointOfNoReturn { environment, run, what });
            }
        }
        Ok(())
    }

    fn of_release(self) -> Result<WayBack, NoWayBack> {
        let forward = |change: &Change<'_>| {
            self.0.get(change.place).is_some_and(|(_, run)| run.plan.back.is_none())
        };
        let newest = self.changes().filter(forward).last().ok_or(NoWayBack::NothingChanged)?;
        let release = &newest.to.sha256;
        let mut by_host: BTreeMap<&HostName, Vec<Change<'_>>> = BTreeMap::new();
        for change in self.changes() {
            by_host.entry(change.host).or_default().push(change);
        }
        let mut first_of: Vec<Change<'_>> = Vec::new();
        let mut undoes = BTreeSet::new();
        for changes in by_host.into_values() {
            let tail = changes.into_iter().rev();
            let tail: Vec<_> = tail.take_while(|c| c.to.sha256 == *release && forward(c)).collect();
            let ids = tail.iter().filter_map(|change| self.0.get(change.place));
            undoes.extend(ids.map(|(id, _)| id.clone()));
            first_of.extend(tail.into_iter().last());
        }
        let mut way = WayBack {
            undoes,
            hosts: BTreeMap::new(),
            records: Vec::new(),
            out_of_service: BTreeSet::new(),
            left_out: Vec::new(),
        };
        let environments: BTreeSet<_> = first_of.iter().map(|change| change.environment).collect();
        for environment in environments {
            let own: Vec<_> =
                first_of.iter().filter(|c| c.environment == environment).cloned().collect();
            let first = own.iter().map(|change| change.place).min().unwrap_or_default();
            if let Err(why) = self.before_no_return(first, environment, release) {
                way.left_out.push(why);
                continue;
            }
            take(&mut way.hosts, &own)?;
            way.records.extend(self.first_records(environment, &way.undoes));
        }
        if way.hosts.is_empty() {
            return Err(way.left_out.into_iter().next().unwrap_or(NoWayBack::NothingChanged));
        }
        Ok(way)
    }

    /// Returns what the records of an environment's fleets said before the first of the runs that are undone.
    fn first_records(
        self,
        environment: &EnvironmentName,
        undoes: &BTreeSet<RunId>,
    ) -> Vec<(EnvironmentName, FleetName, DebVersion)> {
        let mut first: Vec<(EnvironmentName, FleetName, DebVersion)> = Vec::new();
        for (_, run) in self.0.iter().filter(|(id, _)| undoes.contains(id)) {
            for record in records_of(run, |known, _| known == environment) {
                if !first.iter().any(|(_, fleet, _)| *fleet == record.1) {
                    first.push(record);
                }
            }
        }
        first
    }
}

/// Returns what a run has changed, or may have: a host whose installation was begun.
fn changes_of(place: usize, run: &Run) -> impl Iterator<Item = Change<'_>> {
    run.plan.steps().filter_map(move |(stage, lane, step)| {
        let (Action::Install { from }, Subject::Host(host)) = (&step.action, &lane.subject) else {
            return None;
        };
        let to = run.plan.build_for(host)?;
        if run.attempts(&step.id) == 0 || from.as_ref() == Some(&to.version) {
            return None;
        }
        let environment = run.plan.topology.environments.get(&stage.environment)?;
        let fleet = environment.hosts().find(|(_, known)| known.name == *host)?.0;
        let (environment, fleet, from) = (&stage.environment, &fleet.name, from.as_ref());
        Some(Change { place, environment, fleet, host, from, to })
    })
}

fn records_of(
    run: &Run,
    wanted: impl Fn(&EnvironmentName, &FleetName) -> bool,
) -> Vec<(EnvironmentName, FleetName, DebVersion)> {
    let records = run.plan.steps().filter_map(|(stage, _, step)| {
        let Action::RecordVersion { fleet, from: Some(from), .. } = &step.action else {
            return None;
        };
        let changed = run.attempts(&step.id) > 0 && wanted(&stage.environment, fleet);
        changed.then(|| (stage.environment.clone(), fleet.clone(), from.clone()))
    });
    records.collect()
}

/// The rest of a rollback that was given up.
fn again(back: &Back, run: &Run, wanted: impl Fn(&Change<'_>) -> bool) -> WayBack {
    let mut hosts = BTreeMap::new();
    for environment in run.plan.topology.environments.values() {
        for (fleet, host) in environment.hosts() {
            let Some(to) = back.hosts.get(&host.name) else { continue };
            let (environment, fleet, host) = (&environment.name, &fleet.name, &host.name);
            if wanted(&Change { place: 0, environment, fleet, host, from: None, to }) {
                hosts.insert(host.clone(), to.version.clone());
            }
        }
    }
    let (undoes, records) = (back.undoes.clone(), back.records.clone());
    let out_of_service = back.out_of_service.clone();
    WayBack { undoes, hosts, records, out_of_service, left_out: Vec::new() }
}

fn take(
    hosts: &mut BTreeMap<HostName, DebVersion>,
    changes: &[Change<'_>],
) -> Result<(), NoWayBack> {
    let new: Vec<HostName> =
        changes.iter().filter(|c| c.from.is_none()).map(|c| c.host.clone()).collect();
    if !new.is_empty() {
        return Err(NoWayBack::FirstInstallation(new));
    }
    let known = changes.iter().filter_map(|c| Some((c.host.clone(), c.from?.clone())));
    hosts.extend(known);
    Ok(())
}

fn list(hosts: &[HostName]) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}
