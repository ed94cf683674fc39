//! Promotions: after a healthy run of `to-canary`, a run of `to-main` with everything that the scenario has in store.

use super::plans::With;
use super::{Ending, Report, Scenario, Sim, in_virtual_time};
use crate::checker::Checker;
use crate::installation;
use serin_model::Pace;
use std::collections::BTreeSet;

/// Runs `to-canary` to its end, and then the scenario with `to-main`. Times and numbers of the scenario count from the
/// beginning of the world.
///
/// # Panics
/// When no tokio runtime can be made.
pub fn simulate_promotion(scenario: &Scenario) -> Report {
    in_virtual_time(async {
        Sim::new(scenario.seed, scenario.faults.clone()).promote(scenario).await
    })
}

impl Sim {
    async fn promote(&self, scenario: &Scenario) -> Report {
        let mut halts = Vec::new();
        let ending = match self.promoted(scenario, &mut halts).await {
            Ok(ending) => ending,
            Err(why) => Ending::Wrong(why),
        };
        if let Ending::Wrong(why) = &ending {
            self.shared.now().violation(Checker::Scenario, why.clone());
        }
        Report { ending, halts, ..self.report() }
    }

    async fn begin_promotion(&self) -> Result<serin_model::RunId, String> {
        let (build, passed) = (installation::build(), BTreeSet::new());
        let with = With { build: &build, passed: &passed, pace: Pace::Careful, back: None };
        let plan = self.plan_recipe(&installation::promotion(), with).await?;
        self.record_run(plan).await
    }

    async fn promoted(
        &self,
        scenario: &Scenario,
        halts: &mut Vec<String>,
    ) -> Result<Ending, String> {
        let first = self.start().await?;
        let quiet = Scenario { seed: scenario.seed, ..Scenario::default() };
        let ending = self.controllers(&first, &quiet, halts).await;
        if ending != Ending::Finished {
            return Err(format!("nothing to promote: {ending:?}"));
        }
        let run = self.begin_promotion().await?;
        Ok(self.controllers(&run, scenario, halts).await)
    }
}
