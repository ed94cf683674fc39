//! Whether what a run has done can be undone, and until when, in one line.

use serin_engine::Run;
use serin_model::{
    Action, EnvironmentName, MigrationKind, Pipeline, PipelineName, StageSpec, WorkSpec,
};
use std::collections::BTreeMap;

/// What a run has done in an environment, and will.
#[derive(Default)]
struct Here {
    changed: usize,
    for_good: bool,
}

/// Says for each environment that a run has changed whether that can be undone; nothing of a rollback or a patch. The stage
/// after which it cannot may be another pipeline's.
pub(crate) fn can_go_back(run: &Run, pipelines: &BTreeMap<PipelineName, Pipeline>) -> Vec<String> {
    if run.plan.back.is_some() || run.plan.patching.is_some() {
        return Vec::new();
    }
    let mut environments: BTreeMap<&EnvironmentName, Here> = BTreeMap::new();
    for (stage, _, step) in run.plan.steps() {
        let here = environments.entry(&stage.environment).or_default();
        let begun = run.attempts(&step.id) > 0;
        if matches!(step.action, Action::Install { .. }) {
            here.changed += usize::from(begun);
        } else if step.action == Action::Migrate(MigrationKind::PostDeployment) {
            here.for_good |= begun;
        }
    }
    let stages = || pipelines.values().flat_map(|pipeline| &pipeline.stages);
    let last = |name: &EnvironmentName| {
        let for_good = |stage: &&StageSpec| {
            stage.environment == *name && stage.work == WorkSpec::PostDeploymentMigrations
        };
        stages().find(for_good).map(|stage| stage.number)
    };
    let told = environments.into_iter().filter(|(_, here)| here.changed > 0);
    told.map(|(name, here)| match (here.for_good, last(name)) {
        (true, _) => format!("  {name} can go back: no, post-deployment migrations have run there"),
        (false, Some(stage)) => format!("  {name} can go back: yes, until stage {stage}"),
        (false, None) => format!("  {name} can go back: yes"),
    })
    .collect()
}
