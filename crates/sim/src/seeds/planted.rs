//! Bugs that are planted to prove that the checkers see them: each is what a mistake of the planner, the engine's
//! callers or an adapter would look like from outside. Nothing outside the simulator can reach them.

use crate::checker::Checker;
use crate::installation::{self, OLD};
use serin_engine::{Event, WayBack};
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
    /// Post-deployment migrations come before the last hosts, without a look at them.
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
    /// Backends may be left without a server.
    EmptiesBackends,
    /// A package that is half there is taken for whole.
    TakesBrokenForWhole,
    /// A failure is recorded without the halt that it asks for.
    ForgetsHalts,
    /// That fences are raised is not recorded.
    DropsFences,
    /// An attempt is made that nobody recorded.
    ActsUnrecorded,
    /// HAProxy is told about one server too many.
    TellsOthers,
    /// HAProxy is not told again what a reload made it forget.
    ForgetsToRedrain,
    /// Config management is not started again.
    LeavesConfigManagement,
    /// QA is read as failed, whatever it says.
    FailsQa,
}

impl Planted {
    /// Every planted bug.
    pub const ALL: [Self; 22] = [
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
        Self::EmptiesBackends,
        Self::TakesBrokenForWhole,
        Self::ForgetsHalts,
        Self::DropsFences,
        Self::ActsUnrecorded,
        Self::TellsOthers,
        Self::ForgetsToRedrain,
        Self::LeavesConfigManagement,
        Self::FailsQa,
    ];

    /// Returns the checker that it proves: the first to speak in some history.
    pub fn proves(self) -> Checker {
        match self {
            Self::NoBudget | Self::NoReady => Checker::Budget,
            Self::EmptiesBackends => Checker::LastServer,
            Self::NoDrain => Checker::Rotation,
            Self::TakesBrokenForWhole => Checker::Fit,
            Self::SeesNoAlerts => Checker::Passed,
            Self::ForgetsHalts => Checker::Order,
            Self::DropsFences => Checker::Transitions,
            Self::KeepsShare => Checker::Share,
            Self::NoMigrations => Checker::Migrated,
            Self::PostDeploymentFirst => Checker::Migration,
            Self::NoPointOfNoReturn => Checker::Return,
            Self::KeepsConfigManagement => Checker::ConfigManagement,
            Self::InstallsTwice => Checker::Install,
            Self::ActsUnrecorded => Checker::Job,
            Self::TellsOthers => Checker::Recorded,
            Self::RaisesNoFence => Checker::Fenced,
            Self::ForgetsToRedrain => Checker::Redrained,
            Self::NamesNobody => Checker::Taken,
            Self::DropsAppends => Checker::Fold,
            Self::LeavesConfigManagement => Checker::End,
            Self::FailsQa => Checker::Lively,
        }
    }

    /// Tells whether a record is left out of an append.
    pub(crate) fn leaves_out(self, event: &Event) -> bool {
        match event {
            Event::HaltRequested { .. } => self == Self::ForgetsHalts,
            Event::FenceRaised { .. } => self == Self::DropsFences,
            Event::Started { .. }
            | Event::Adopted { .. }
            | Event::EnvironmentEntered { .. }
            | Event::EnvironmentLeft { .. }
            | Event::AttemptStarted { .. }
            | Event::AttemptEnded { .. }
            | Event::DrainLost { .. }
            | Event::ShareLost { .. }
            | Event::AlertsChanged { .. }
            | Event::HeldChanged { .. }
            | Event::BakeProgressed { .. }
            | Event::WithdrawalStarted { .. }
            | Event::WithdrawalEnded { .. }
            | Event::Halted
            | Event::Resumed { .. }
            | Event::Cancelled { .. }
            | Event::Finished => false,
        }
    }

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
                without(plan, |step| matches!(step.action, Action::Sweep { .. }));
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
            Self::LeavesConfigManagement => {
                without(plan, |step| matches!(step.action, Action::StartConfigManagement { .. }));
            }
            Self::EmptiesBackends => {
                let environments = plan.topology.environments.values_mut();
                let fleets = environments.flat_map(|e| e.fleets.values_mut());
                let hosts = fleets.flat_map(|fleet| fleet.hosts.values_mut());
                hosts.flat_map(|host| &mut host.servers).for_each(|s| s.may_be_empty = true);
            }
            Self::NoPointOfNoReturn
            | Self::NamesNobody
            | Self::SeesNoAlerts
            | Self::RaisesNoFence
            | Self::DropsAppends
            | Self::InstallsTwice
            | Self::TakesBrokenForWhole
            | Self::ForgetsHalts
            | Self::DropsFences
            | Self::ActsUnrecorded
            | Self::TellsOthers
            | Self::ForgetsToRedrain
            | Self::FailsQa => {}
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
