//! What a person is told when a run has halted: what is so now, what they can do, and how long each takes.

use super::{forecast, look, plan};
use crate::context::Context;
use crate::show::line;
use serin_engine::Run;
use serin_model::{
    Action, EnvironmentName, Lane, MigrationKind, PatchDirection, Plan, Reason, RunId, Stage,
    verdict::seconds,
};
use std::time::Duration;

pub(crate) async fn say(context: &Context, id: &RunId, run: &Run, reason: &Reason) {
    if context.json() {
        return;
    }
    // A forecast is a help; without one, everything else is said all the same.
    let host = forecast::host_time(context).await.ok().flatten().map(|(host, _)| host);
    line("");
    told(id, run, reason, host).into_iter().for_each(line);
}

/// Says how things are, and what a person can do. `host`: how long a host takes from its drain to its return.
pub(crate) fn told(id: &RunId, run: &Run, reason: &Reason, host: Option<Duration>) -> Vec<String> {
    let mut lines = vec![format!("run {id} has halted: {reason}")];
    lines.extend(look::out_of_service(run));
    lines.extend(look::withdrawn(run));
    lines.extend(look::who_has_what(run));
    let claims: Vec<String> = run.environments.keys().map(ToString::to_string).collect();
    if !claims.is_empty() {
        lines.push(format!("it keeps {} until it is resumed or cancelled:", claims.join(", ")));
    }
    let about = |plan: Plan| {
        let took = host.map(|host| serin_planner::forecast(&plan, host)).map(plan::rounded);
        took.map(|took| format!("; about {}", seconds(took))).unwrap_or_default()
    };
    let rest = about(rest(run));
    lines.push(format!(
        "  serin resume {id} --reason …   tries again what failed, and goes on{rest}"
    ));
    if let Some((environment, plan)) = stage_to_finish(run) {
        let stage = about(plan);
        lines.push(format!(
            "  serin hold place {environment} --reason …, and then serin resume   finishes the roles of this stage, and stops \
             before the next{stage}"
        ));
    }
    lines.push(format!("  serin cancel {id} --reason …   gives it up, and frees the environment"));
    if reason.is_outdated_plan() {
        lines.push(
            "  That host has changed since the plan was made. If it is right as it is now: cancel, and begin again, for a new \
             plan"
                .to_owned(),
        );
    }
    if let Some(environment) = can_go_back(run) {
        let back = about(changed(run, environment));
        lines.push(format!(
            "  serin rollback {environment} --reason …   takes those hosts back to what they had{back}, and QA and a bake \
             (--dry-run shows how; --pace expedited is faster, and may drop connections)"
        ));
    }
    if let Some(patching) = &run.plan.patching
        && patching.direction == PatchDirection::Apply
        && let Some(environment) = run.environments.keys().next()
    {
        lines.push(format!(
            "  serin cancel, serin drift --fix, and then serin patch remove {} --environment {environment} --reason …   takes \
             the patch off",
            patching.patch.short()
        ));
    }
    lines
}

/// What a run has not done yet, as a plan.
fn rest(run: &Run) -> Plan {
    only(run, |_, lane| run.next(lane).is_some())
}

/// The rest of the stage in which some hosts have changed, if another stage there comes after it: a hold stops the run at
/// that one's guard.
fn stage_to_finish(run: &Run) -> Option<(&EnvironmentName, Plan)> {
    let (current, _, _) = run.current()?;
    let changed = |stage: &Stage, lane: &Lane| {
        stage.number == current.number
            && lane.steps.iter().any(|step| {
                matches!(step.action, Action::Install { .. }) && run.attempts(&step.id) > 0
            })
    };
    let later =
        |stage: &&Stage| stage.number > current.number && stage.environment == current.environment;
    let begun = run.plan.steps().any(|(stage, lane, _)| changed(stage, lane));
    let rest = only(run, |stage, lane| stage.number == current.number && run.next(lane).is_some());
    (begun && run.plan.stages.iter().any(|stage| later(&stage)))
        .then_some((&current.environment, rest))
}

/// What a run has changed in an environment, as a plan that changes as much.
fn changed(run: &Run, environment: &EnvironmentName) -> Plan {
    only(run, |stage, lane| {
        let mut steps = lane.steps.iter();
        let installs = steps.any(|step| {
            matches!(step.action, Action::Install { .. }) && run.attempts(&step.id) > 0
        });
        stage.environment == *environment && installs
    })
}

fn only(run: &Run, wanted: impl Fn(&Stage, &Lane) -> bool) -> Plan {
    let mut plan = run.plan.clone();
    for stage in &mut plan.stages {
        let of = Stage { phases: Vec::new(), ..stage.clone() };
        for phase in &mut stage.phases {
            phase.lanes.retain(|lane| wanted(&of, lane));
        }
        stage.phases.retain(|phase| !phase.lanes.is_empty());
    }
    plan.stages.retain(|stage| !stage.phases.is_empty());
    plan
}

/// Returns the environment that a halted run is in, if it has changed hosts there and there is a way back.
fn can_go_back(run: &Run) -> Option<&EnvironmentName> {
    let (stage, _, _) = run.current()?;
    let begun = |wanted: fn(&Action) -> bool| {
        run.plan.steps().any(|(of, _, step)| {
            of.environment == stage.environment
                && wanted(&step.action)
                && run.attempts(&step.id) > 0
        })
    };
    let changed = begun(|action| matches!(action, Action::Install { .. }));
    let for_good = begun(|action| *action == Action::Migrate(MigrationKind::PostDeployment));
    (changed && !for_good && run.plan.back.is_none()).then_some(&stage.environment)
}
