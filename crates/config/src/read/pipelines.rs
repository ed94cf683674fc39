//! `[[pipelines.*]]`: stages that fit together and name what there is.

use super::Reader;
use super::built_in::{to_canary, to_main};
use super::roles::Roles;
use crate::at::{At, Text};
use crate::raw::{RawConfig, RawExposure, RawShare, RawStage, RawWork};
use serin_model::{
    Environment, EnvironmentName, Exposure, Fleet, FleetName, Pipeline, PipelineName, QaName,
    RoleName, ShareSpec, StageSpec, Topology, WorkSpec,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Long enough for the usual alert rules (`for: 1m` to `3m`) to fire.
const BAKE: Duration = Duration::from_mins(5);
/// The fleet of a stage that names none.
const MAIN: &str = "main";
/// Pipelines that nobody writes.
const DERIVED: [&str; 2] = ["rollback", "expedited"];
/// How much real traffic, and how long, proves a build where the file does not say: enough for an error ratio of one
/// percent to show, and for the usual alert rules to fire.
pub(super) const EXPOSED: (i64, Duration, Duration) =
    (1000, Duration::from_mins(10), Duration::from_hours(2));
/// More stages than this are a typing error.
const LAST_STAGE: i64 = 999;

/// Reads the pipelines, and adds the built-in ones that the file does not replace.
pub(super) fn pipelines(
    reader: &mut Reader,
    raw: &RawConfig,
    topology: &Topology,
    roles: &Roles,
) -> BTreeMap<PipelineName, Pipeline> {
    let bake = raw.defaults.as_ref().and_then(|defaults| defaults.bake.as_ref());
    let bake = reader.duration_or_zero(bake, BAKE);
    let mut pipelines = BTreeMap::new();
    for (written, stages) in &raw.pipelines {
        if DERIVED.contains(&written.get().as_str()) {
            let message = format!("`{}` is made from the other pipelines", written.get());
            reader.wrong(written.span(), message, "choose another name");
        }
        let name = reader.name::<PipelineName>(written);
        let mut reading = Reading { reader: &mut *reader, topology, roles, bake };
        let stages = reading.stages(written, stages.get());
        if let Some(name) = name {
            pipelines.insert(name.clone(), Pipeline { name, stages });
        }
    }
    for pipeline in [to_canary(topology, roles, bake), to_main(topology, roles, bake)] {
        let Some(pipeline) = pipeline else { continue };
        if raw.pipelines.keys().all(|name| name.get() != pipeline.name.as_str()) {
            pipelines.insert(pipeline.name.clone(), pipeline);
        }
    }
    pipelines
}

struct Reading<'a> {
    reader: &'a mut Reader,
    topology: &'a Topology,
    roles: &'a Roles,
    bake: Duration,
}

impl<'a> Reading<'a> {
    fn stages(&mut self, written: &Text, raw: &[At<RawStage>]) -> Vec<StageSpec> {
        if raw.is_empty() {
            let message = format!("the pipeline `{}` has no stages", written.get());
            self.reader.wrong(written.span(), message, "add a stage, or remove the pipeline");
        }
        let mut stages: Vec<StageSpec> = Vec::new();
        for raw in raw {
            let Some(stage) = self.stage(raw.get()) else { continue };
            if stages.last().is_some_and(|before| before.number >= stage.number) {
                let message = format!("stage {} does not come after the one before", stage.number);
                let help = "number the stages in the order in which they run";
                self.reader.wrong(raw.get().stage.span(), message, help);
            }
            self.order(raw.get(), &stages, &stage);
            stages.push(stage);
        }
        stages
    }

    /// Checks the order of work in an environment: migrations, hosts, post-deployment migrations.
    fn order(&mut self, raw: &RawStage, before: &[StageSpec], stage: &StageSpec) {
        let rank = |work: &WorkSpec| match work {
            WorkSpec::Migrations => 0,
            WorkSpec::Roles(_) | WorkSpec::DeployHost | WorkSpec::Patch => 1,
            WorkSpec::PostDeploymentMigrations => 2,
        };
        let late = before.iter().find(|before| {
            before.environment == stage.environment && rank(&before.work) > rank(&stage.work)
        });
        if let Some(late) = late {
            let message = format!(
                "stage {} cannot come after stage {} in `{}`",
                stage.number, late.number, stage.environment
            );
            let help = "in an environment the order is: migrations, roles, \
                        post-deployment-migrations";
            self.reader.wrong(raw.work.span(), message, help);
        }
    }

    fn stage(&mut self, raw: &RawStage) -> Option<StageSpec> {
        let number = self.reader.whole(&raw.stage, 1..=LAST_STAGE);
        let title = self.reader.not_empty(&raw.title, "what the stage does, in words");
        let bake = self.reader.duration_or_zero(raw.bake.as_ref(), self.bake);
        let environment = self.environment(&raw.environment)?;
        let qa = self.qa(raw, environment);
        let work = self.work(raw);
        let fleet = self.fleet(raw, environment)?;
        if let Some(WorkSpec::Roles(roles)) = &work {
            self.hosts_of(raw, roles, (environment, fleet));
        }
        let share = self.share(raw, fleet);
        let exposure = raw.exposure.as_ref().map(|raw| self.exposure(raw, environment, fleet));
        let what = "what a person must have done, in words";
        let approval = raw.approval.as_ref().and_then(|text| self.reader.not_empty(text, what));
        Some(StageSpec {
            number: u32::try_from(number).ok()?,
            title: title?,
            environment: environment.name.clone(),
            fleet: fleet.name.clone(),
            work: work?,
            share,
            exposure: exposure.flatten(),
            approval,
            qa,
            bake,
        })
    }

    fn exposure(
        &mut self,
        raw: &RawExposure,
        environment: &Environment,
        own: &Fleet,
    ) -> Option<Exposure> {
        let (requests, watch, deadline) = EXPOSED;
        let percent = self.reader.percent(&raw.share);
        if percent == 0 {
            let message = "without a share of traffic nothing is proven";
            self.reader.wrong(raw.share.span(), message, "write for example `share = \"5%\"`");
        }
        let count = raw.requests.as_ref();
        let requests = count.map_or(requests, |n| self.reader.whole(n, 1..=1_000_000_000));
        let watch = self.reader.duration_or_zero(raw.watch.as_ref(), watch);
        let deadline = self.reader.duration_or(raw.deadline.as_ref(), deadline.max(watch * 2));
        if deadline < watch
            && let Some(text) = &raw.deadline
        {
            let message = "the deadline comes before the watch is over";
            self.reader.wrong(text.span(), message, "make it longer than `watch`");
        }
        let fleet = environment.fleets.values().find(|f| f.name.as_str() == raw.fleet.get());
        let Some(fleet) = fleet else {
            let known = environment.fleets.keys().map(FleetName::as_str);
            self.reader.unknown("fleet", &raw.fleet, known);
            return None;
        };
        if fleet.name == own.name || fleet.share_after.is_none() {
            let message = format!("the fleet `{}` cannot prove a build for others", fleet.name);
            let help = "name a canary: another fleet of the environment, with `share`";
            self.reader.wrong(raw.fleet.span(), message, help);
        }
        let (fleet, requests) = (fleet.name.clone(), u64::try_from(requests).ok()?);
        Some(Exposure { fleet, percent, requests, watch, deadline })
    }

    fn environment(&mut self, text: &Text) -> Option<&'a Environment> {
        let name = self.reader.name::<EnvironmentName>(text)?;
        let environment = self.topology.environments.get(&name);
        if environment.is_none() {
            let known = self.topology.environments.keys().map(EnvironmentName::as_str);
            self.reader.unknown("environment", text, known);
        }
        environment
    }

    fn fleet(&mut self, raw: &RawStage, environment: &'a Environment) -> Option<&'a Fleet> {
        let of_migrations = match raw.work.get() {
            RawWork::Migrations | RawWork::PostDeploymentMigrations => {
                Some(self.fleet_of_deploy_host(raw, environment)?)
            }
            RawWork::Roles => None,
        };
        let known = || environment.fleets.keys().map(FleetName::as_str);
        let Some(text) = &raw.fleet else {
            let main = environment.fleets.values().find(|fleet| fleet.name.as_str() == MAIN);
            if of_migrations.or(main).is_none() {
                let message =
                    format!("`{}` has no fleet `{MAIN}`, and none is named", environment.name);
                let help = crate::suggest::instead_of(MAIN, known());
                self.reader.wrong(raw.work.span(), message, format!("add `fleet`; {help}"));
            }
            return of_migrations.or(main);
        };
        let fleet = environment.fleets.values().find(|fleet| fleet.name.as_str() == text.get());
        if fleet.is_none() {
            self.reader.unknown("fleet", text, known());
        }
        if let (Some(fleet), Some(deploy)) = (fleet, of_migrations)
            && fleet.name != deploy.name
        {
            let message = format!("the deploy host is in the fleet `{}`", deploy.name);
            let help = "remove `fleet`: migrations run from the deploy host";
            self.reader.wrong(text.span(), message, help);
        }
        fleet
    }

    /// Returns the fleet of the host that migrations run on, or reports what is missing for them.
    fn fleet_of_deploy_host(
        &mut self,
        raw: &RawStage,
        environment: &'a Environment,
    ) -> Option<&'a Fleet> {
        let span = raw.work.span();
        if self.topology.profile.migrations.is_none() {
            let message = format!("the profile `{}` has no migrations", self.topology.profile.name);
            self.reader.wrong(span, message, "remove this stage, or add `[profile.migrations]`");
            return None;
        }
        let Some(deploy) = self.roles.deploy() else {
            let message = "there is no role from whose host migrations could run";
            let help = "add a role with `migrations = true`, and a host of it to each environment";
            self.reader.wrong(span, message, help);
            return None;
        };
        let deploy = &deploy.model.name;
        let found = environment.hosts().find(|(_, host)| host.roles.contains(deploy));
        if found.is_none() {
            let message = format!("`{}` has no `{deploy}` host", environment.name);
            let help = format!("add `{deploy} = [\"…\"]` to the hosts of one of its fleets");
            self.reader.wrong(span, message, help);
        }
        found.map(|(fleet, _)| fleet)
    }

    fn work(&mut self, raw: &RawStage) -> Option<WorkSpec> {
        let of_migrations = match raw.work.get() {
            RawWork::Migrations => WorkSpec::Migrations,
            RawWork::PostDeploymentMigrations => WorkSpec::PostDeploymentMigrations,
            RawWork::Roles => return self.roles_of(raw).map(WorkSpec::Roles),
        };
        if let Some(roles) = &raw.roles {
            let message = "migrations have no roles";
            self.reader.wrong(roles.span(), message, "remove `roles`, or write `work = \"roles\"`");
        }
        Some(of_migrations)
    }

    fn roles_of(&mut self, raw: &RawStage) -> Option<Vec<RoleName>> {
        let texts = raw.roles.as_ref().map(At::get).filter(|roles| !roles.is_empty());
        let Some(texts) = texts else {
            let span = raw.roles.as_ref().map_or(raw.work.span(), At::span);
            let message = "this stage does not say which roles get the build";
            let known = self.roles.names().collect::<Vec<_>>().join("`, `");
            self.reader.wrong(span, message, format!("add `roles = [\"…\"]` of: `{known}`"));
            return None;
        };
        for text in texts {
            if self.roles.names().all(|name| name != text.get()) {
                self.reader.unknown("role", text, self.roles.names());
            }
        }
        let names: Vec<RoleName> = self.reader.names(texts);
        Some(names.into_iter().filter(|name| self.roles.0.contains_key(name)).collect())
    }

    /// Reports roles that no host of the stage's fleet has: the stage would silently leave them out.
    fn hosts_of(
        &mut self,
        raw: &RawStage,
        roles: &[RoleName],
        (environment, fleet): (&Environment, &Fleet),
    ) {
        for text in raw.roles.iter().flat_map(At::get) {
            let Some(role) = roles.iter().find(|role| role.as_str() == text.get()) else {
                continue;
            };
            if !fleet.hosts.values().any(|host| host.roles.contains(role)) {
                let message = format!(
                    "the fleet `{}` of `{}` has no `{role}` host",
                    fleet.name, environment.name
                );
                self.reader.wrong(text.span(), message, "remove the role here, or add hosts of it");
            }
        }
    }

    fn share(&mut self, raw: &RawStage, fleet: &Fleet) -> ShareSpec {
        let Some(written) = &raw.share else {
            return ShareSpec::Keep;
        };
        match written.get() {
            RawShare::Keep => ShareSpec::Keep,
            RawShare::ZeroThenAfterCanary => {
                if *raw.work.get() != RawWork::Roles {
                    let message = "migrations do not change the canary";
                    self.reader.wrong(written.span(), message, "remove `share`");
                } else if fleet.share_after.is_none() {
                    let message = format!("the fleet `{}` has no share of traffic", fleet.name);
                    let help = "add `share = { after_canary = \"5%\" }` to the fleet, \
                                or remove `share` here";
                    self.reader.wrong(written.span(), message, help);
                }
                ShareSpec::ZeroThenAfterCanary
            }
        }
    }

    fn qa(&mut self, raw: &RawStage, environment: &Environment) -> Vec<QaName> {
        for text in &raw.qa {
            if environment.qa.keys().all(|name| name.as_str() != text.get()) {
                let known = environment.qa.keys().map(QaName::as_str);
                let kind = format!("QA suite of `{}` called", environment.name);
                self.reader.unknown(&kind, text, known);
            }
        }
        self.reader.names(&raw.qa)
    }
}
