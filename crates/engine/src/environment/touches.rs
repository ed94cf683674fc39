//! Which stages of a run have to do with a fleet: whom a hold stops, and when a share must be left alone.

use crate::run::Run;
use serin_model::{EnvironmentName, FleetName, Held, Stage, StepKind, Subject, Topology};

/// Tells whether something that holds an environment concerns a stage.
pub fn concerns(held: &Held, stage: &Stage, topology: &Topology) -> bool {
    held.environment == stage.environment
        && held.fleet.as_ref().is_none_or(|fleet| touches(stage, topology, fleet))
}

/// Tells whether a run is changing a fleet: it is in the middle of a stage that works on the fleet.
///
/// A run that has halted there is changing it still; one that was given up is not.
pub fn changes(run: &Run, environment: &EnvironmentName, fleet: &FleetName) -> bool {
    let current = run.current().filter(|(stage, _, _)| stage.environment == *environment);
    !run.is_over()
        && current.is_some_and(|(stage, _, _)| {
            let mut steps = stage.phases.iter().flat_map(|p| &p.lanes).flat_map(|l| &l.steps);
            touches(stage, &run.plan.topology, fleet)
                && steps
                    .any(|step| step.action.kind() != StepKind::Watch && run.attempts(&step.id) > 0)
        })
}

/// Tells whether a stage does anything to a fleet or to a host of it.
fn touches(stage: &Stage, topology: &Topology, fleet: &FleetName) -> bool {
    let known = topology.environments.get(&stage.environment);
    let hosts = known.and_then(|known| known.fleets.get(fleet)).map(|fleet| &fleet.hosts);
    stage.phases.iter().flat_map(|phase| &phase.lanes).any(|lane| {
        let about = match &lane.subject {
            Subject::Host(host) => hosts.is_some_and(|hosts| hosts.contains_key(host)),
            Subject::Fleet(name) => name == fleet,
            Subject::Environment => false,
        };
        about && lane.steps.iter().any(|step| step.action.kind() != StepKind::Watch)
    })
}
