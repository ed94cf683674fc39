//! Bugs that are planted to prove that the checkers see them: each is what a mistake of the planner, the engine's
//! callers or an adapter would look like from outside. Nothing outside the simulator can reach them.

use crate::installation::{self, OLD};
use serin_engine::WayBack;
use serin_model::{Action, Environment, Limit, MigrationKind, Plan, Step, Topology};
use std::collections::BTreeSet;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The budget of every role is all of its hosts.
    NoBudget,
    /// Hosts are changed without being drained.
    NoDrain,
    /// The canary keeps its share while it is changed.
    KeepsShare,
    /// Migrations before the new code are left out.
    NoMigrations,
    /// Post-deployment migrations come before the last hosts.
    PostDeploymentFirst,
    /// A rollback goes past the point of no return.
    NoPointOfNoReturn,
    /// Config management is not stopped.
    KeepsConfigManagement,
    /// Hosts are not put back into service.
    NoReady,
    /// A halt names nobody.
    NamesNobody,
    /// Alerts are read as if none fired.
    SeesNoAlerts,
    /// Fences are said to be raised that are not.
    RaisesNoFence,
    /// Some appends are acknowledged and not written.
    DropsAppends,
    /// What is installed is installed once more.
    InstallsTwice,
}

impl Planted {
    /// Every planted bug.
    pub const ALL: [Self; 13] = [
        Self::NoBudget,
        Self::NoDrain,
        Self::KeepsShare,
        Self::NoMigrations,
        Self::PostDeploymentFirst,
        Self::NoPointOfNoReturn,
        Self::KeepsConfigManagement,
        Self::NoReady,
        Self::NamesNobody,
        Self::SeesNoAlerts,
        Self::RaisesNoFence,
        Self::DropsAppends,
        Self::InstallsTwice,
    ];

    /// Spoils a plan, if the bug is one of plans.
    pub(crate) fn spoil(self, plan: &mut Plan) {
        match self {
            Self::NoBudget => {
                for role in plan.topology.roles.values_mut() {
                    role.max_unavailable = Limit::Percent(100);
                }
            }
            Self::NoDrain => without(plan, |step| step.action == Action::Drain),
            Self::KeepsShare => {
                without(plan, |step| matches!(step.action, Action::SetShare { percent: 0, .. }));
            }
            Self::NoMigrations => {
                without(plan, |step| step.action == Action::Migrate(MigrationKind::Regular));
            }
            Self::PostDeploymentFirst => {
                let late =
                    |step: &Step| step.action == Action::Migrate(MigrationKind::PostDeployment);
                // Before the stage that comes last before it, in the same environment.
                for index in 1..plan.stages.len() {
                    let (before, rest) = plan.stages.split_at_mut(index);
                    if let (Some(earlier), Some(stage)) = (before.last_mut(), rest.first_mut())
                        && earlier.environment == stage.environment
                        && stage
                            .phases
                            .iter()
                            .flat_map(|p| &p.lanes)
                            .flat_map(|l| &l.steps)
                            .any(late)
                    {
                        std::mem::swap(earlier, stage);
                    }
                }
            }
            Self::KeepsConfigManagement => {
                without(plan, |step| step.action == Action::StopConfigManagement);
            }
            Self::NoReady => without(plan, |step| step.action == Action::Ready),
            Self::NoPointOfNoReturn
            | Self::NamesNobody
            | Self::SeesNoAlerts
            | Self::RaisesNoFence
            | Self::DropsAppends
            | Self::InstallsTwice => {}
        }
    }
}

fn without(plan: &mut Plan, unwanted: impl Fn(&Step) -> bool) {
    for phase in plan.stages.iter_mut().flat_map(|stage| &mut stage.phases) {
        for lane in &mut phase.lanes {
            lane.steps.retain(|step| !unwanted(step));
        }
        phase.lanes.retain(|lane| !lane.steps.is_empty());
    }
    for stage in &mut plan.stages {
        stage.phases.retain(|phase| !phase.lanes.is_empty());
    }
}

/// Returns a way back for all of production, whatever its database has.
pub(crate) fn back_all_the_way(topology: &Topology) -> WayBack {
    let production = topology.environments.get(&super::player::production());
    let hosts = production.into_iter().flat_map(Environment::hosts);
    let hosts = hosts.map(|(_, host)| (host.name.clone(), installation::name(OLD))).collect();
    WayBack {
        undoes: BTreeSet::new(),
        hosts,
        records: Vec::new(),
        out_of_service: BTreeSet::new(),
        left_out: Vec::new(),
    }
}
