//! Patches: a run about one and nothing else, on everything that an environment runs.

use super::{Ending, Report, Scenario, Sim, in_virtual_time};
use crate::checker::Checker;
use crate::installation;
use serin_model::{
    Build, EnvironmentName, FileChange, Overlay, Pace, Patch, PatchDirection, PatchId, PatchedFile,
    Patching, PlacedOverlay, Plan, Sha256,
};
use serin_runtime::perform::observe_environments;
use std::collections::{BTreeMap, BTreeSet};

/// Puts a patch on all of production under a scenario's faults.
///
/// # Panics
/// When no tokio runtime can be made.
pub fn simulate_patch(scenario: &Scenario, pace: Pace) -> Report {
    in_virtual_time(async {
        let sim = Sim::new(scenario.seed, scenario.faults.clone());
        sim.patch(scenario, pace, PatchDirection::Apply).await
    })
}

impl Sim {
    async fn patch(&self, scenario: &Scenario, pace: Pace, direction: PatchDirection) -> Report {
        let mut halts = Vec::new();
        let ending = match self.begin_patch(pace, direction).await {
            Ok(run) => self.controllers(&run, scenario, &mut halts).await,
            Err(why) => Ending::Wrong(why),
        };
        let mut world = self.shared.now();
        match &ending {
            Ending::Wrong(why) => world.violation(Checker::Scenario, why.clone()),
            Ending::Finished => world.check_patched(&production(), &id()),
            Ending::Halted(..) | Ending::Cancelled => {}
        }
        drop(world);
        Report { ending, halts, ..self.report() }
    }

    async fn begin_patch(
        &self,
        pace: Pace,
        direction: PatchDirection,
    ) -> Result<serin_model::RunId, String> {
        let plan = self.plan_patch(pace, direction).await?;
        self.record_run(plan).await
    }

    pub(crate) async fn plan_patch(
        &self,
        pace: Pace,
        direction: PatchDirection,
    ) -> Result<Plan, String> {
        let topology = &self.setting.topology;
        let environment = topology.environments.get(&production()).ok_or("no production")?;
        let build = Build {
            version: installation::name(installation::OLD),
            sha256: installation::name(&"cd".repeat(32)),
            ..installation::build()
        };
        let recipe = self.recipes().patch(installation::name("patch"), environment, None, pace);
        let hosts = environment.hosts().map(|(_, host)| (host.name.clone(), build.clone()));
        let (hosts, verified) = (hosts.collect(), BTreeSet::new());
        let patching = Patching { patch: id(), direction, hosts, verified };
        let fleets = environment.fleets.keys().cloned().collect();
        let overlays =
            [PlacedOverlay { environment: production(), fleets, overlay: overlay(&build) }];
        let observed = observe_environments(&self.ports(), topology, [environment]).await;
        let request = serin_planner::Request {
            topology,
            pipeline: &recipe,
            build: &build,
            observed: &observed,
            passed: &BTreeSet::new(),
            pace,
            back: None,
            patching: Some(&patching),
            overlays: &overlays,
        };
        let (plan, _) = serin_planner::plan(request).map_err(|error| error.to_string())?;
        match serin_planner::check_plan(&plan).first() {
            Some(finding) => Err(finding.to_string()),
            None => Ok(plan),
        }
    }
}

fn production() -> EnvironmentName {
    installation::name("production")
}

pub(crate) fn id() -> PatchId {
    installation::name::<Sha256>(&"ef".repeat(32)).into()
}

fn overlay(build: &Build) -> Overlay {
    let [before, after] = ["01", "02"].map(|pair| installation::name::<Sha256>(&pair.repeat(32)));
    let change = FileChange::Modify { before, after: after.clone() };
    let patch = Patch {
        id: id(),
        package: build.package.clone(),
        version: build.version.clone(),
        files: vec![PatchedFile { path: "/opt/one.rb".to_owned(), change }],
    };
    Overlay { patch, contents: BTreeMap::from([(after, "two\n".to_owned())]) }
}
