//! Recipes that follow from the configured ones: rollbacks, which take their stages in reverse order, and expedited
//! updates. No recipe of its own: what a pipeline of the configuration does to a fleet is what is undone or hurried.

use serin_model::{
    Back, Environment, EnvironmentName, Fleet, FleetName, Host, Pace, Pipeline, PipelineName,
    QaName, RoleName, ShareSpec, StageSpec, Topology, WorkSpec,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The recipes that others are derived from, with the topology that they are for.
#[derive(Debug, Clone, Copy)]
pub struct Recipes<'a> {
    /// What there is.
    pub topology: &'a Topology,
    /// The configured pipelines.
    pub pipelines: &'a BTreeMap<PipelineName, Pipeline>,
}

impl<'a> Recipes<'a> {
    /// Returns the recipe of a rollback: roles first, gitaly after them, the deploy host last; production before
    /// staging. QA and bake come once, at the end of each environment: in its middle the build that is undone may
    /// still be there to fail them.
    pub fn rollback(self, name: PipelineName, back: &Back, pace: Pace) -> Pipeline {
        let stages = self.forward().into_iter().rev();
        let stages = stages.filter_map(|spec| self.undo(spec, back));
        let mut stages: Vec<StageSpec> = self.uncovered(back).into_iter().chain(stages).collect();
        // An environment is entered once: what belongs to one comes together, in the order of the last stage in it.
        let mut order: Vec<EnvironmentName> = Vec::new();
        for stage in &stages {
            if !order.contains(&stage.environment) {
                order.push(stage.environment.clone());
            }
        }
        stages.sort_by_key(|stage| order.iter().position(|name| *name == stage.environment));
        match pace {
            Pace::Careful => self.gates_at_the_end(&mut stages),
            Pace::Expedited => {}
        }
        numbered(name, stages)
    }

    /// Returns the recipe that brings a build to an environment or one fleet of it as fast as possible.
    pub fn expedited(
        self,
        name: PipelineName,
        environment: &EnvironmentName,
        fleet: Option<&FleetName>,
    ) -> Pipeline {
        let wanted = |spec: &&StageSpec| {
            spec.environment == *environment
                && match (&spec.work, fleet) {
                    (WorkSpec::Roles(_), Some(fleet)) => spec.fleet == *fleet,
                    (WorkSpec::Roles(_) | WorkSpec::Migrations, None) => true,
                    (WorkSpec::Migrations, Some(_))
                    | (
                        WorkSpec::PostDeploymentMigrations | WorkSpec::DeployHost | WorkSpec::Patch,
                        _,
                    ) => false,
                }
        };
        let stages = self.forward().into_iter().filter(wanted);
        let stages = stages.map(|spec| bare(spec, spec.work.clone(), spec.title.clone()));
        numbered(name, stages.collect())
    }

    /// Returns the recipe that puts a patch on an environment or one fleet of it, or takes it off: canaries first, each fleet
    /// with the gates that it has in the configured pipelines.
    pub fn patch(
        self,
        name: PipelineName,
        environment: &Environment,
        fleet: Option<&FleetName>,
        pace: Pace,
    ) -> Pipeline {
        let fleets = environment.fleets.values();
        let mut fleets: Vec<&Fleet> =
            fleets.filter(|own| fleet.is_none_or(|fleet| own.name == *fleet)).collect();
        fleets.sort_by_key(|fleet| fleet.share_after.is_none());
        let stage = |fleet: &Fleet| {
            let (qa, bake) = match pace {
                Pace::Careful => self.gates_of(&environment.name, Some(&fleet.name)),
                Pace::Expedited => (Vec::new(), Duration::ZERO),
            };
            StageSpec {
                number: 0,
                title: format!("{}/{}", environment.name, fleet.name),
                environment: environment.name.clone(),
                fleet: fleet.name.clone(),
                work: WorkSpec::Patch,
                share: ShareSpec::Keep,
                exposure: None,
                approval: None,
                qa,
                bake,
            }
        };
        numbered(name, fleets.into_iter().map(stage).collect())
    }

    /// Returns every stage of every pipeline once, in the order of their numbers.
    fn forward(self) -> Vec<&'a StageSpec> {
        let mut stages: Vec<&StageSpec> = Vec::new();
        for spec in self.pipelines.values().flat_map(|pipeline| &pipeline.stages) {
            let same = |known: &&StageSpec| {
                (&known.environment, &known.fleet, &known.work)
                    == (&spec.environment, &spec.fleet, &spec.work)
            };
            if !stages.iter().any(same) {
                stages.push(spec);
            }
        }
        stages.sort_by_key(|spec| spec.number);
        stages
    }

    fn undo(self, spec: &StageSpec, back: &Back) -> Option<StageSpec> {
        let environment = self.topology.environments.get(&spec.environment)?;
        let (work, mut hosts) = match &spec.work {
            WorkSpec::Roles(roles) => {
                let fleet = environment.fleets.get(&spec.fleet)?;
                let hosts = fleet.hosts.values();
                let hosts = hosts.filter(|h| h.roles.iter().any(|role| roles.contains(role)));
                (spec.work.clone(), hosts.collect::<Vec<_>>())
            }
            WorkSpec::Migrations => {
                let hosts = environment.hosts().map(|(_, host)| host);
                let hosts = hosts.filter(|host| self.is_deploy_host(host));
                (WorkSpec::DeployHost, hosts.collect())
            }
            WorkSpec::PostDeploymentMigrations | WorkSpec::DeployHost | WorkSpec::Patch => {
                return None;
            }
        };
        hosts.retain(|host| back.hosts.contains_key(&host.name));
        let recorded = matches!(work, WorkSpec::Roles(_))
            && back.records.iter().any(|(environment, fleet, _)| {
                (environment, fleet) == (&spec.environment, &spec.fleet)
            });
        let title = match &work {
            WorkSpec::DeployHost => format!("{} deploy host, back", spec.environment),
            WorkSpec::Roles(_)
            | WorkSpec::Migrations
            | WorkSpec::PostDeploymentMigrations
            | WorkSpec::Patch => {
                format!("{}, back", spec.title)
            }
        };
        let mut undone = bare(spec, work, title);
        let fleet = environment.fleets.get(&spec.fleet)?;
        undone.share = share_of(fleet, &undone.work);
        (!hosts.is_empty() || recorded).then_some(undone)
    }

    fn is_deploy_host(self, host: &Host) -> bool {
        self.topology.roles_of(host).any(|role| role.migrations)
    }

    /// Returns a stage for each fleet with hosts that go back and that no pipeline names: they must not be forgotten.
    fn uncovered(self, back: &Back) -> Vec<StageSpec> {
        let forward = self.forward();
        let covered = |environment: &Environment, fleet: &Fleet, host: &Host| {
            forward.iter().any(|spec| match &spec.work {
                WorkSpec::Roles(roles) => {
                    (&spec.environment, &spec.fleet) == (&environment.name, &fleet.name)
                        && host.roles.iter().any(|role| roles.contains(role))
                }
                WorkSpec::Migrations | WorkSpec::DeployHost => {
                    spec.environment == environment.name && self.is_deploy_host(host)
                }
                WorkSpec::PostDeploymentMigrations | WorkSpec::Patch => false,
            })
        };
        let mut stages = Vec::new();
        for environment in self.topology.environments.values() {
            for fleet in environment.fleets.values() {
                let hosts = fleet.hosts.values().filter(|host| {
                    back.hosts.contains_key(&host.name) && !covered(environment, fleet, host)
                });
                let roles: BTreeSet<&RoleName> = hosts.flat_map(|host| &host.roles).collect();
                if roles.is_empty() {
                    continue;
                }
                let work = WorkSpec::Roles(roles.into_iter().cloned().collect());
                stages.push(StageSpec {
                    number: 0,
                    title: format!("{}/{}, back", environment.name, fleet.name),
                    environment: environment.name.clone(),
                    fleet: fleet.name.clone(),
                    share: share_of(fleet, &work),
                    work,
                    exposure: None,
                    approval: None,
                    qa: Vec::new(),
                    bake: Duration::ZERO,
                });
            }
        }
        stages
    }

    /// Returns every QA suite that an environment or a fleet of it has anywhere, once, and its longest bake.
    fn gates_of(
        self,
        environment: &EnvironmentName,
        fleet: Option<&FleetName>,
    ) -> (Vec<QaName>, Duration) {
        let of = self.forward().into_iter().filter(|spec| {
            spec.environment == *environment && fleet.is_none_or(|fleet| spec.fleet == *fleet)
        });
        let (mut qa, mut bake): (Vec<QaName>, Duration) = (Vec::new(), Duration::ZERO);
        for spec in of {
            let new: Vec<QaName> =
                spec.qa.iter().filter(|own| !qa.contains(own)).cloned().collect();
            qa.extend(new);
            bake = bake.max(spec.bake);
        }
        (qa, bake)
    }

    fn gates_at_the_end(self, stages: &mut [StageSpec]) {
        for environment in self.topology.environments.keys() {
            let (qa, bake) = self.gates_of(environment, None);
            if let Some(last) = stages.iter_mut().rev().find(|s| s.environment == *environment) {
                (last.qa, last.bake) = (qa, bake);
            }
        }
    }
}

/// A canary gets no share while it goes back, nor afterwards: a person decides when it does again.
fn share_of(fleet: &Fleet, work: &WorkSpec) -> ShareSpec {
    let served = fleet.hosts.values().any(|host| !host.servers.is_empty());
    match work {
        WorkSpec::Roles(_) if fleet.share_after.is_some() && served => ShareSpec::Zero,
        WorkSpec::Roles(_)
        | WorkSpec::Migrations
        | WorkSpec::PostDeploymentMigrations
        | WorkSpec::DeployHost
        | WorkSpec::Patch => ShareSpec::Keep,
    }
}

/// A stage without gates.
fn bare(spec: &StageSpec, work: WorkSpec, title: String) -> StageSpec {
    StageSpec {
        number: 0,
        title,
        environment: spec.environment.clone(),
        fleet: spec.fleet.clone(),
        work,
        share: ShareSpec::Keep,
        exposure: None,
        approval: None,
        qa: Vec::new(),
        bake: Duration::ZERO,
    }
}

fn numbered(name: PipelineName, mut stages: Vec<StageSpec>) -> Pipeline {
    for (stage, number) in stages.iter_mut().zip(1..) {
        stage.number = number;
    }
    Pipeline { name, stages }
}
