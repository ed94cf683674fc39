//! A linter for plans: what no plan may be, whoever made it. Every run checks its plan before it starts.

use serin_model::{Action, Lane, Pace, Plan, Stage, Subject};
use std::collections::BTreeSet;
use std::fmt;

/// Something that no plan may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Two steps have one id.
    TwiceTheId(String),
    /// A step is about something that the plan's topology does not have.
    UnknownSubject(String),
    /// A lane changes a host that may serve without draining it, or does not bring it back.
    NotBroughtBack(String),
    /// A stage works before its guard.
    NoGuard(u32),
    /// The build's code would come before its migrations in the same environment.
    CodeBeforeMigrations(u32),
    /// Post-deployment migrations would come before the last host of the environment.
    MigrationsTooEarly(u32),
}

/// Returns everything that is wrong with a plan.
pub fn check_plan(plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ids = BTreeSet::new();
    for (stage, lane, step) in plan.steps() {
        if !ids.insert(&step.id) {
            findings.push(Finding::TwiceTheId(step.id.to_string()));
        }
        if !is_known(plan, stage, lane) {
            findings.push(Finding::UnknownSubject(step.id.to_string()));
        }
    }
    for stage in &plan.stages {
        let first = stage.phases.first().and_then(|phase| phase.lanes.first());
        if first.and_then(|lane| lane.steps.first()).map(|step| &step.action)
            != Some(&Action::Guard)
        {
            findings.push(Finding::NoGuard(stage.number));
        }
        for lane in stage.phases.iter().flat_map(|phase| &phase.lanes) {
            if !is_brought_back(plan, stage, lane) {
                findings.push(Finding::NotBroughtBack(lane.subject.to_string()));
            }
        }
    }
    findings.extend(check_order(plan));
    findings
}

fn is_known(plan: &Plan, stage: &Stage, lane: &Lane) -> bool {
    let environment = plan.topology.environments.get(&stage.environment);
    environment.is_some_and(|environment| match &lane.subject {
        Subject::Host(host) => plan.topology.host(&stage.environment, host).is_some(),
        Subject::Fleet(fleet) => environment.fleets.contains_key(fleet),
        Subject::Environment => true,
    })
}

fn is_brought_back(plan: &Plan, stage: &Stage, lane: &Lane) -> bool {
    let Subject::Host(name) = &lane.subject else { return true };
    let serves =
        plan.topology.host(&stage.environment, name).is_some_and(|host| !host.servers.is_empty());
    let position = |wanted: fn(&Action) -> bool| lane.steps.iter().position(|s| wanted(&s.action));
    let drain = position(|action| *action == Action::Drain);
    let ready = position(|action| *action == Action::Ready);
    let change = position(|action| {
        // Files alone change nothing that serves.
        let reloads =
            if let Action::Patch { services, .. } | Action::Unpatch { services, .. } = action {
                !services.is_empty()
            } else {
                false
            };
        reloads || matches!(action, Action::Install { .. } | Action::Activate)
    });
    match (drain, ready) {
        (Some(drain), Some(ready)) => {
            drain < ready && change.is_none_or(|at| drain < at && at < ready)
        }
        (None, None) => change.is_none() || !serves,
        // Nothing is drained at the expedited pace, but every host must be seen to serve in the end. A host that is not
        // changed may be put into service.
        (None, Some(ready)) => {
            change.is_none_or(|change| plan.pace == Pace::Expedited && change < ready)
        }
        (Some(_), None) => false,
    }
}

fn check_order(plan: &Plan) -> Vec<Finding> {
    use serin_model::MigrationKind::{PostDeployment, Regular};
    let mut findings = Vec::new();
    let of = |stage: &Stage, wanted: fn(&Action) -> bool| {
        stage.phases.iter().flat_map(|p| &p.lanes).flat_map(|l| &l.steps).any(|s| wanted(&s.action))
    };
    for (index, stage) in plan.stages.iter().enumerate() {
        let same = |other: &&Stage| other.environment == stage.environment;
        let mut later = plan.stages.iter().skip(index + 1).filter(same);
        let activates: fn(&Action) -> bool = |action| *action == Action::Activate;
        if of(stage, activates) && later.clone().any(|s| of(s, |a| *a == Action::Migrate(Regular)))
        {
            findings.push(Finding::CodeBeforeMigrations(stage.number));
        }
        if of(stage, |a| *a == Action::Migrate(PostDeployment)) && later.any(|s| of(s, activates)) {
            findings.push(Finding::MigrationsTooEarly(stage.number));
        }
    }
    findings
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwiceTheId(id) => write!(f, "two steps have the id {id}"),
            Self::UnknownSubject(id) => write!(f, "{id} is about something unknown"),
            Self::NotBroughtBack(host) => {
                write!(f, "{host} would be changed without being drained and brought back")
            }
            Self::NoGuard(stage) => write!(f, "stage {stage} has no guard before its work"),
            Self::CodeBeforeMigrations(stage) => {
                write!(f, "stage {stage} deploys code before its environment is migrated")
            }
            Self::MigrationsTooEarly(stage) => write!(
                f,
                "stage {stage} runs post-deployment migrations before the last host has the code"
            ),
        }
    }
}
