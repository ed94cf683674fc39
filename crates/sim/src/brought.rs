//! What a world begins with besides hosts of one version: what the stages of other pipelines have brought already.

use crate::installation::{POST_DEPLOYMENT, REGULAR, Setting};
use crate::world::World;
use serin_model::{EnvironmentName, Host, WorkSpec};
use std::sync::Arc;

impl World {
    /// Has what other pipelines brought be there.
    pub(crate) fn bring(&mut self, setting: &Setting) {
        let topology = Arc::clone(&self.topology);
        for name in &setting.migrated {
            self.applied(name, &REGULAR);
        }
        for stage in &setting.brought {
            let Some(environment) = topology.environments.get(&stage.environment) else { continue };
            let migrates = |host: &&Host| topology.roles_of(host).any(|role| role.migrations);
            let hosts: Vec<&Host> = match &stage.work {
                WorkSpec::Roles(roles) => {
                    let key = format!("{}-{}", stage.environment, stage.fleet);
                    if let Some(recorded) = self.records.get_mut(&key) {
                        *recorded = self.build.version.clone();
                    }
                    let fleet = environment.fleets.get(&stage.fleet);
                    let all = fleet.into_iter().flat_map(|fleet| fleet.hosts.values());
                    all.filter(|host| roles.iter().any(|role| host.roles.contains(role))).collect()
                }
                WorkSpec::Migrations => {
                    self.applied(&stage.environment, &REGULAR);
                    environment.hosts().map(|(_, host)| host).filter(migrates).collect()
                }
                WorkSpec::PostDeploymentMigrations => {
                    self.applied(&stage.environment, &POST_DEPLOYMENT);
                    Vec::new()
                }
                WorkSpec::DeployHost | WorkSpec::Patch => Vec::new(),
            };
            for host in hosts {
                if let Some(machine) = self.hosts.get_mut(&host.name) {
                    machine.has_always_run(&self.build);
                }
            }
        }
        // Config management was left stopped where it would have undone this.
        for machine in self.hosts.values_mut() {
            let recorded = self.records.get(&machine.record);
            machine.agent.runs &= recorded.is_none_or(|version| machine.runs(version));
        }
    }

    fn applied(&mut self, environment: &EnvironmentName, ids: &[&str]) {
        let database = self.databases.entry(environment.clone()).or_default();
        database.applied.extend(ids.iter().map(|id| ((*id).to_owned(), 1)));
    }
}
