//! The order of work across the stages of an environment: what an expedited plan makes of them, and a rollback.
//!
//! At the expedited pace they become one, so that nothing waits but for what must come before: what is done while hosts
//! serve (config management, records, checks and fetches) is done for all of them first; hosts are changed in the order of
//! the stages, all hosts of a stage at once. On the way back fleets do not wait for one another either, where their roles are
//! the same.

use serin_model::{Action, Back, Lane, Phase, Pipeline, Stage, StageSpec, WorkSpec};

/// Where a phase comes in the merged stage. Within a place, lanes run side by side, unless they change hosts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Guard,
    Prepare(usize),
    Change(u32),
    Finish,
    Sweep,
}

/// Makes one stage of all that follow each other in one environment.
pub(crate) fn merge(stages: Vec<Stage>, pipeline: &Pipeline, back: Option<&Back>) -> Vec<Stage> {
    let goes_with = |stage: &Stage| match back {
        Some(_) => goes_back_with(stage.number, &pipeline.stages),
        // Forwards the canary comes before gitaly, and main's roles after it: they cannot go together.
        None => stage.number,
    };
    let mut merged: Vec<Vec<Stage>> = Vec::new();
    for stage in stages {
        match merged.last_mut() {
            Some(group) if group.iter().all(|s| s.environment == stage.environment) => {
                group.push(stage);
            }
            Some(_) | None => merged.push(vec![stage]),
        }
    }
    merged.into_iter().filter_map(|group| merge_group(group, goes_with)).collect()
}

/// Finds the stage whose hosts a stage's hosts go back with: the first one of another fleet that has all of its roles.
/// Roles go back before what they call (gitaly), in every fleet.
fn goes_back_with(number: u32, specs: &[StageSpec]) -> u32 {
    let own = specs.iter().find(|spec| spec.number == number);
    let with = own.and_then(|own| {
        let WorkSpec::Roles(roles) = &own.work else { return None };
        let mut earlier = specs.iter().filter(|spec| {
            spec.number < number && spec.environment == own.environment && spec.fleet != own.fleet
        });
        earlier.find(|spec| match &spec.work {
            WorkSpec::Roles(all) => roles.iter().all(|role| all.contains(role)),
            WorkSpec::Migrations
            | WorkSpec::PostDeploymentMigrations
            | WorkSpec::DeployHost
            | WorkSpec::Patch => false,
        })
    });
    with.map_or(number, |spec| spec.number)
}

/// Moves what is done while hosts serve before the first change in each environment: a rollback must know that every
/// host can go back before one does.
pub(crate) fn prepare_first(mut stages: Vec<Stage>) -> Vec<Stage> {
    for index in 0..stages.len() {
        let (before, rest) = stages.split_at_mut(index);
        let Some(stage) = rest.first_mut() else { break };
        let prepares = |phase: &Phase| place(phase, 0) == Place::Prepare(2);
        // The first stage of the environment may change nothing but a record.
        let mut earlier = before.iter_mut().filter(|s| s.environment == stage.environment);
        let target = earlier.find_map(|s| s.phases.iter_mut().find(|phase| prepares(phase)));
        let Some(target) = target else { continue };
        for phase in stage.phases.extract_if(.., |phase| prepares(phase)) {
            add(target, phase);
        }
    }
    stages
}

fn merge_group(group: Vec<Stage>, goes_with: impl Fn(&Stage) -> u32) -> Option<Stage> {
    let first = group.first()?;
    let (number, environment) = (first.number, first.environment.clone());
    let title = group.iter().map(|stage| stage.title.as_str()).collect::<Vec<_>>().join("; ");
    let mut phases: Vec<(Place, Phase)> = Vec::new();
    for stage in group {
        let changed_with = goes_with(&stage);
        for phase in stage.phases {
            let place = place(&phase, changed_with);
            match phases.iter_mut().find(|(known, _)| *known == place) {
                Some((_, known)) => add(known, phase),
                None => phases.push((place, phase)),
            }
        }
    }
    phases.sort_by_key(|(place, _)| *place);
    let phases = phases.into_iter().map(|(_, phase)| phase).collect();
    Some(Stage { number, title, environment, phases })
}

fn place(phase: &Phase, stage: u32) -> Place {
    let first = phase.lanes.first().and_then(|lane| lane.steps.first()).map(|step| &step.action);
    match first {
        Some(Action::Guard) => Place::Guard,
        Some(Action::StopConfigManagement) => Place::Prepare(0),
        Some(Action::RecordVersion { .. }) => Place::Prepare(1),
        Some(
            Action::CheckHost { .. }
            | Action::Fetch
            | Action::Simulate
            | Action::CheckConfig
            | Action::PreparePatch { .. },
        ) => Place::Prepare(2),
        Some(Action::SetShare { .. }) => Place::Prepare(3),
        Some(Action::StartConfigManagement { .. }) => Place::Finish,
        Some(Action::Sweep { .. }) => Place::Sweep,
        Some(
            Action::Drain
            | Action::Install { .. }
            | Action::Reconfigure
            | Action::Activate
            | Action::Patch { .. }
            | Action::Unpatch { .. }
            | Action::Ready
            | Action::Migrate(_)
            | Action::Expose { .. }
            | Action::Approve { .. }
            | Action::Qa(_)
            | Action::Bake { .. },
        )
        | None => Place::Change(stage),
    }
}

/// Adds lanes; what one subject is to do already, it is not told twice.
fn add(known: &mut Phase, phase: Phase) {
    let told = |lane: &Lane| {
        let mut lanes = known.lanes.iter();
        lanes.any(|other| {
            let mut both = other.steps.iter().zip(&lane.steps);
            other.subject == lane.subject
                && other.steps.len() == lane.steps.len()
                && both.all(|(a, b)| a.action == b.action)
        })
    };
    let new: Vec<Lane> = phase.lanes.into_iter().filter(|lane| !told(lane)).collect();
    known.lanes.extend(new);
}
