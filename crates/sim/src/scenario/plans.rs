//! Plans of a scenario: what `serin plan` would make of what is there now.

use super::Sim;
use crate::installation;
use serin_model::{Back, Build, EnvironmentName, Pace, Pipeline, Plan};
use serin_planner::{PlanReport, Recipes};
use serin_runtime::perform::observe_environments;
use std::collections::BTreeSet;

/// A plan that is wanted, of a configured pipeline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) pipeline: &'a str,
    pub(crate) passed: &'a BTreeSet<u32>,
    pub(crate) pace: Pace,
}

/// What a recipe is planned with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct With<'a> {
    pub(crate) build: &'a Build,
    pub(crate) passed: &'a BTreeSet<u32>,
    pub(crate) pace: Pace,
    pub(crate) back: Option<&'a Back>,
}

impl Sim {
    pub(crate) async fn plan_for(&self, wanted: &Wanted<'_>) -> Result<Plan, String> {
        let build = &self.setting.build;
        let pipeline = self.setting.pipelines.get(&installation::name(wanted.pipeline));
        let pipeline = pipeline.ok_or_else(|| format!("there is no {}", wanted.pipeline))?;
        let (passed, pace) = (wanted.passed, wanted.pace);
        self.plan_recipe(pipeline, With { build, passed, pace, back: None }).await
    }

    /// Plans the build for an environment at the expedited pace.
    pub(crate) async fn plan_expedited(
        &self,
        environment: &EnvironmentName,
    ) -> Result<Plan, String> {
        let (build, pace) = (&self.setting.build, Pace::Expedited);
        let recipe = self.recipes().expedited(installation::name("expedited"), environment, None);
        let with = With { build, passed: &BTreeSet::new(), pace, back: None };
        self.plan_recipe(&recipe, with).await
    }

    pub(crate) fn recipes(&self) -> Recipes<'_> {
        Recipes { topology: &self.setting.topology, pipelines: &self.setting.pipelines }
    }

    /// Plans a recipe from what is seen of its environments, and has the linter read the plan.
    pub(crate) async fn plan_recipe(
        &self,
        recipe: &Pipeline,
        with: With<'_>,
    ) -> Result<Plan, String> {
        let mut topology = serin_model::Topology::clone(&self.setting.topology);
        for (name, window) in &self.freeze {
            if let Some(environment) = topology.environments.get_mut(name) {
                environment.freeze.push(window.clone());
            }
        }
        let names: BTreeSet<&EnvironmentName> =
            recipe.stages.iter().map(|stage| &stage.environment).collect();
        let environments = topology.environments.values();
        let environments = environments.filter(|environment| names.contains(&environment.name));
        let observed = observe_environments(&self.ports(), &topology, environments).await;
        let request = serin_planner::Request {
            topology: &topology,
            pipeline: recipe,
            build: with.build,
            observed: &observed,
            passed: with.passed,
            pace: with.pace,
            back: with.back,
            patching: None,
            overlays: &[],
        };
        let (plan, PlanReport { .. }) =
            serin_planner::plan(request).map_err(|error| error.to_string())?;
        match serin_planner::check_plan(&plan).first() {
            Some(finding) => Err(finding.to_string()),
            None => Ok(plan),
        }
    }
}
