//! Bakes that nobody watches: they are judged when they are over, by what was recorded meanwhile.

use crate::report::PlanError;
use serin_model::{Action, BakeWatch, Plan};

/// Has every bake of a plan checked afterwards.
///
/// # Errors
/// Where no Prometheus records what fires: an Alertmanager knows only what fires now.
pub fn bake_afterwards(mut plan: Plan) -> Result<Plan, PlanError> {
    for stage in &mut plan.stages {
        let source = plan.topology.environments.get(&stage.environment);
        let source = source.and_then(|environment| environment.alerts.as_ref());
        let recorded = source.is_some_and(|source| !source.prometheus.is_empty());
        let lanes = stage.phases.iter_mut().flat_map(|phase| &mut phase.lanes);
        for step in lanes.flat_map(|lane| &mut lane.steps) {
            let Action::Bake { watch, .. } = &mut step.action else { continue };
            if !recorded {
                return Err(PlanError::NothingRecorded(stage.environment.clone()));
            }
            *watch = BakeWatch::Afterwards;
        }
    }
    Ok(plan)
}

/// Tells whether bakes of a plan are checked afterwards.
pub fn bakes_afterwards(plan: &Plan) -> bool {
    let afterwards =
        |action: &Action| matches!(action, Action::Bake { watch: BakeWatch::Afterwards, .. });
    plan.steps().any(|(_, _, step)| afterwards(&step.action))
}
