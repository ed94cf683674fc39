//! How long a plan will take, from how long a host took before. An estimate for people, never a deadline.

use serin_model::{Action, HostName, Lane, Phase, Plan, RoleName, Stage, Subject};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a phase takes that neither changes a host nor waits on purpose: a round of short commands everywhere.
const SHORT: Duration = Duration::from_secs(2);

/// Returns how long a plan takes when one host takes `host` from its drain to its return.
pub fn forecast(plan: &Plan, host: Duration) -> Duration {
    let phases = |stage: &Stage| -> Duration {
        stage.phases.iter().map(|phase| of_phase(plan, stage, phase, host)).sum()
    };
    plan.stages.iter().map(phases).sum()
}

fn of_phase(plan: &Plan, stage: &Stage, phase: &Phase, host: Duration) -> Duration {
    let has = |lane: &Lane, wanted: fn(&Action) -> bool| {
        lane.steps.iter().any(|step| wanted(&step.action))
    };
    let steps = phase.lanes.iter().flat_map(|lane| &lane.steps);
    let waits: Duration = steps.filter_map(|step| waits(&step.action)).sum();
    if phase.lanes.iter().any(|lane| has(lane, |action| *action == Action::Drain)) {
        return host.saturating_mul(waves(plan, stage, phase));
    }
    if phase.lanes.iter().any(|lane| has(lane, |action| matches!(action, Action::Install { .. }))) {
        return host;
    }
    waits.max(SHORT)
}

/// Returns how long an action waits on purpose.
fn waits(action: &Action) -> Option<Duration> {
    if let Action::Bake { duration: wait, .. } | Action::Expose { watch: wait, .. } = action {
        Some(*wait)
    } else {
        None
    }
}

/// Counts how many hosts of the slowest role go one after the other.
fn waves(plan: &Plan, stage: &Stage, phase: &Phase) -> u32 {
    let Some(environment) = plan.topology.environments.get(&stage.environment) else { return 1 };
    let mut going: BTreeMap<&RoleName, usize> = BTreeMap::new();
    let mut members: BTreeMap<&RoleName, usize> = BTreeMap::new();
    let hosts: BTreeSet<&HostName> = phase
        .lanes
        .iter()
        .filter_map(|lane| match &lane.subject {
            Subject::Host(host) => Some(host),
            Subject::Fleet(_) | Subject::Environment => None,
        })
        .collect();
    let goes = |host: &HostName| hosts.contains(host);
    for fleet in environment.fleets.values() {
        if !fleet.hosts.keys().any(goes) {
            continue;
        }
        for host in fleet.hosts.values() {
            for role in &host.roles {
                *members.entry(role).or_default() += 1;
                *going.entry(role).or_default() += usize::from(goes(&host.name));
            }
        }
    }
    let of_role = |(role, count): (&RoleName, usize)| {
        let known = plan.topology.roles.get(role)?;
        let limit = known.max_unavailable.of(members.get(role).copied().unwrap_or(1)).max(1);
        u32::try_from(count.div_ceil(limit)).ok()
    };
    going.into_iter().filter_map(of_role).max().unwrap_or(1).max(1)
}
