//! Rollbacks: a run that halted is given up, and everything that it touched in its environment goes back.

use super::plans::With;
use super::{AfterHalt, Ending, MOST_CONTROLLERS, Report, Scenario, Sim, in_virtual_time};
use crate::checker::Checker;
use crate::installation;
use serin_engine::{Command, History, NoWayBack, Run, Scope, WayBack};
use serin_journal::Journal;
use serin_model::{Back, EnvironmentName, Pace, Plan, RunId};
use serin_runtime::records;
use std::collections::BTreeSet;

/// Runs a scenario until it halts, and rolls the environment back in which that was; the scenario's faults go on.
///
/// `None`: the run did not halt, or there was nothing to go back from.
///
/// # Panics
/// When no tokio runtime can be made.
pub fn simulate_rollback(scenario: &Scenario, pace: Pace) -> Option<Report> {
    in_virtual_time(async {
        Sim::new(scenario.seed, scenario.faults.clone()).roll_back(scenario, pace).await
    })
}

impl Sim {
    async fn roll_back(&self, scenario: &Scenario, pace: Pace) -> Option<Report> {
        let mut halts = Vec::new();
        let run = self.start().await.ok()?;
        let stop = Scenario { after_halt: AfterHalt::Stop, ..scenario.clone() };
        if !matches!(self.controllers(&run, &stop, &mut halts).await, Ending::Halted(..)) {
            return None;
        }
        self.shared.now().heal();
        let (environment, way) = self.way_back(&run).await?;
        let ending = match self.go_back(&run, way, pace).await {
            Err(why) => Ending::Wrong(why),
            Ok(back) => {
                let patient = AfterHalt::RepairAndResume;
                let rest = Scenario { after_halt: patient, ..scenario.clone() };
                self.controllers(&back, &rest, &mut halts).await
            }
        };
        let mut world = self.shared.now();
        match &ending {
            Ending::Finished => world.check_back(&environment),
            other @ (Ending::Halted(..) | Ending::Cancelled | Ending::Wrong(_)) => {
                world.violation(
                    Checker::Scenario,
                    format!("the rollback did not finish: {other:?}"),
                );
            }
        }
        drop(world);
        Some(Report { ending, halts, ..self.report() })
    }

    async fn way_back(&self, run: &RunId) -> Option<(EnvironmentName, WayBack)> {
        let runs = self.history().await.ok()?;
        let (_, halted) = runs.iter().find(|(id, _)| id == run)?;
        let environment = halted.current()?.0.environment.clone();
        match History(&runs).way_back(&Scope::Place(environment.clone(), None)) {
            Ok(way) => Some((environment, way)),
            Err(NoWayBack::NothingChanged | NoWayBack::PointOfNoReturn { .. }) => None,
            Err(other) => {
                self.shared.now().violation(Checker::Scenario, other.to_string());
                None
            }
        }
    }

    pub(crate) async fn history(&self) -> Result<Vec<(RunId, Run)>, String> {
        let mut runs = Vec::new();
        for summary in self.journal.runs().await.map_err(|error| error.to_string())?.iter().rev() {
            let loaded = records::load(&self.journal, &summary.id).await;
            runs.push((summary.id.clone(), loaded.map_err(|error| error.to_string())?.0));
        }
        Ok(runs)
    }

    /// Plans the rollback, gives the old run up, and records the new one.
    async fn go_back(&self, run: &RunId, way: WayBack, pace: Pace) -> Result<RunId, String> {
        let plan = self.plan_back(way, pace).await?;
        self.cancel(run).await?;
        self.record_run(plan).await
    }

    pub(crate) async fn plan_back(&self, way: WayBack, pace: Pace) -> Result<Plan, String> {
        let old = installation::old_build;
        let hosts = way.hosts.into_iter().map(|(host, version)| (host, old(version))).collect();
        let back = Back {
            undoes: way.undoes,
            hosts,
            records: way.records,
            out_of_service: way.out_of_service,
        };
        let recipe = self.recipes().rollback(installation::name("rollback"), &back, pace);
        // Only a record may have been changed, and no host yet.
        let recorded = || back.records.first().map(|(_, _, version)| old(version.clone()));
        let build = back.hosts.values().next().cloned().or_else(recorded);
        let build = build.ok_or("nothing goes back")?;
        let with = With { build: &build, passed: &BTreeSet::new(), pace, back: Some(&back) };
        self.plan_recipe(&recipe, with).await
    }

    /// Gives a halted run up, however often the process that does it dies.
    pub(crate) async fn cancel(&self, run: &RunId) -> Result<(), String> {
        for number in 1..=MOST_CONTROLLERS {
            let adopted = self.adopt(run, 100 + number).await.map_err(|error| error.to_string())?;
            let Some(mut acting) = adopted else {
                self.pause().await;
                continue;
            };
            let (by, why) = ("sim".to_owned(), "rolled back".to_owned());
            let asked = tokio::select! {
                biased;
                () = acting.process.dead() => None,
                asked = acting.controller.ask(Command::Cancel { by, why }) => Some(asked),
            };
            if let Some(Ok(_)) = asked {
                self.drive(&mut acting, &Scenario::default()).await;
            }
            let cancelled = records::load(&self.journal, run).await;
            let (run, _) = cancelled.map_err(|error| error.to_string())?;
            if run.is_over() && run.environments.is_empty() {
                return Ok(());
            }
            drop(acting);
            self.pause().await;
        }
        Err("the run could not be given up".to_owned())
    }
}
