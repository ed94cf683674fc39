//! The built-in pipelines: `to-canary` and `to-main`, for a file that does not write its own.

use super::roles::{ReadRole, Roles};
use crate::raw::RawRoleStage;
use serin_model::{
    Environment, Exposure, Fleet, Pipeline, QaName, RoleName, ShareSpec, StageSpec, Topology,
    WorkSpec,
};
use std::time::Duration;

/// The share of traffic by which a canary proves a build whose own share is zero, in percent.
const PROVING_SHARE: u8 = 5;

/// Returns the pipeline `to-canary`, if there are `staging` with a `main` fleet and `production` with a `canary`.
///
/// Numbers are those of the whole recipe: stages for which there is no work (no migrations in the profile, no role
/// of the gitaly stage) leave gaps, so that stage 6 is the canary everywhere.
pub(super) fn to_canary(topology: &Topology, roles: &Roles, bake: Duration) -> Option<Pipeline> {
    let staging = find_environment(topology, "staging")?;
    let production = find_environment(topology, "production")?;
    let main = find_fleet(staging, "main")?;
    let canary = find_fleet(production, "canary")?;
    let recipe = Recipe { topology, roles, bake };
    let gitaly = recipe.roles_of(main, |role| role.stage == RawRoleStage::Gitaly);
    let remaining = recipe.roles_of(main, |role| role.stage == RawRoleStage::Remaining);
    let all = recipe.roles_of(canary, |_| true);
    let (before, after) = (WorkSpec::Migrations, WorkSpec::PostDeploymentMigrations);
    let (smoke, of_canary) = (["smoke"].as_slice(), ["canary"].as_slice());
    let stages = [
        recipe.migrations(1, "staging migrations", (staging, before.clone()), &[]),
        recipe.deploy(2, "staging gitaly", (staging, main, gitaly), smoke),
        recipe.deploy(3, "staging fleet", (staging, main, remaining), smoke),
        recipe.migrations(4, "staging post-deployment migrations", (staging, after), &[]),
        recipe.migrations(5, "production migrations", (production, before), smoke),
        recipe.deploy(6, "production canary", (production, canary, all), of_canary),
    ];
    let name = "to-canary".parse().ok()?;
    Some(Pipeline { name, stages: stages.into_iter().flatten().collect() })
}

/// Returns the pipeline `to-main`, if there is `production` with a `main` fleet and a `canary` that is served.
///
/// It begins with the canary's proof, whichever stage that is in.
pub(super) fn to_main(topology: &Topology, roles: &Roles, bake: Duration) -> Option<Pipeline> {
    let production = find_environment(topology, "production")?;
    let main = find_fleet(production, "main")?;
    let canary = find_fleet(production, "canary")?;
    let served = canary.hosts.values().any(|host| !host.servers.is_empty());
    let share = canary.share_after.filter(|_| served)?;
    let recipe = Recipe { topology, roles, bake };
    let gitaly = recipe.roles_of(main, |role| role.stage == RawRoleStage::Gitaly);
    let remaining = recipe.roles_of(main, |role| role.stage == RawRoleStage::Remaining);
    let (smoke, after) = (["smoke"].as_slice(), WorkSpec::PostDeploymentMigrations);
    let stages = [
        recipe.deploy(7, "production gitaly", (production, main, gitaly), smoke),
        recipe.deploy(8, "production fleet", (production, main, remaining), smoke),
        recipe.migrations(9, "production post-deployment migrations", (production, after), &[]),
    ];
    let mut stages: Vec<StageSpec> = stages.into_iter().flatten().collect();
    let (requests, watch, deadline) = super::pipelines::EXPOSED;
    stages.first_mut()?.exposure = Some(Exposure {
        fleet: canary.name.clone(),
        percent: if share == 0 { PROVING_SHARE } else { share },
        requests: u64::try_from(requests).ok()?,
        watch,
        deadline,
    });
    Some(Pipeline { name: "to-main".parse().ok()?, stages })
}

struct Recipe<'a> {
    topology: &'a Topology,
    roles: &'a Roles,
    bake: Duration,
}

impl Recipe<'_> {
    fn migrations(
        &self,
        number: u32,
        title: &str,
        (environment, work): (&Environment, WorkSpec),
        qa: &[&str],
    ) -> Option<StageSpec> {
        self.topology.profile.migrations.as_ref()?;
        let deploy = &self.roles.deploy()?.model.name;
        let (fleet, _) = environment.hosts().find(|(_, host)| host.roles.contains(deploy))?;
        Some(self.stage((number, title), (environment, fleet), work, qa))
    }

    fn deploy(
        &self,
        number: u32,
        title: &str,
        (environment, fleet, roles): (&Environment, &Fleet, Vec<RoleName>),
        qa: &[&str],
    ) -> Option<StageSpec> {
        let work = (!roles.is_empty()).then_some(WorkSpec::Roles(roles))?;
        Some(self.stage((number, title), (environment, fleet), work, qa))
    }

    fn stage(
        &self,
        (number, title): (u32, &str),
        (environment, fleet): (&Environment, &Fleet),
        work: WorkSpec,
        qa: &[&str],
    ) -> StageSpec {
        // The share is that of servers: a canary that is not served through HAProxy has none to take away.
        let served = fleet.hosts.values().any(|host| !host.servers.is_empty());
        let share = match (&work, fleet.share_after) {
            (WorkSpec::Roles(_), Some(_)) if served => ShareSpec::ZeroThenAfterCanary,
            _ => ShareSpec::Keep,
        };
        let suites = environment.qa.keys().filter(|name| qa.contains(&name.as_str()));
        StageSpec {
            number,
            title: title.to_owned(),
            environment: environment.name.clone(),
            fleet: fleet.name.clone(),
            work,
            share,
            exposure: None,
            approval: None,
            qa: suites.cloned().collect::<Vec<QaName>>(),
            bake: self.bake,
        }
    }

    /// Returns the roles that hosts of a fleet have, without the deploy host's, which the migrations stages see to.
    fn roles_of(&self, fleet: &Fleet, wanted: impl Fn(&ReadRole) -> bool) -> Vec<RoleName> {
        let there = |role: &&ReadRole| {
            fleet.hosts.values().any(|host| host.roles.contains(&role.model.name))
        };
        let roles = self.roles.0.values().filter(|role| !role.model.migrations);
        roles.filter(|role| wanted(role)).filter(there).map(|r| r.model.name.clone()).collect()
    }
}

fn find_environment<'a>(topology: &'a Topology, name: &str) -> Option<&'a Environment> {
    topology.environments.values().find(|environment| environment.name.as_str() == name)
}

fn find_fleet<'a>(environment: &'a Environment, name: &str) -> Option<&'a Fleet> {
    environment.fleets.values().find(|fleet| fleet.name.as_str() == name)
}
