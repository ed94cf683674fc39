//! What people do besides starting runs: holds, shares, and repairs.

use super::super::extras::until_its_end;
use super::{Player, production};
use serin_engine::environment::{Ask, Asking};
use serin_model::{EnvironmentName, MidRun};
use serin_runtime::environment::{EnvironmentRequest, Want};
use std::sync::PoisonError;
use std::time::Duration;

/// Until what was under way when everything was repaired has come to its end.
const SETTLES: Duration = Duration::from_mins(3);

impl Player {
    pub(super) async fn hold(&self, environment: &EnvironmentName, mid_run: MidRun) {
        self.request(environment, Want::PlaceHold { fleet: None, until: None, mid_run }).await;
    }

    pub(super) async fn share(&self, percent: u32) {
        let fleet = crate::installation::name("canary");
        let over = Duration::ZERO;
        self.request(&production(), Want::SetShare { fleet, percent, over }).await;
    }

    async fn request(&self, environment: &EnvironmentName, want: Want) {
        let request = EnvironmentRequest { by: "mira".to_owned(), why: "a look".to_owned(), want };
        if let Err(error) = self.sim.send(environment, &request).await {
            self.note(&error.to_string());
        }
    }

    /// Repairs everything, and lets nothing go wrong any more.
    pub(super) async fn calm_down(&mut self) -> Result<(), String> {
        if !self.calm {
            self.note("from here on nothing goes wrong");
        }
        self.calm = true;
        self.deeds.clear();
        self.sim.appends.lock().unwrap_or_else(PoisonError::into_inner).heal();
        self.sim.shared.now().end_faults();
        self.sim.shared.now().mend();
        let now = self.sim.ports().clock.now();
        tokio::time::sleep(SETTLES + until_its_end(self.extras.freeze.as_ref(), now)).await;
        self.sim.shared.now().mend();
        let environments: Vec<EnvironmentName> =
            self.sim.setting.topology.environments.keys().cloned().collect();
        for environment in environments {
            self.lift_holds(&environment).await?;
        }
        Ok(())
    }

    async fn lift_holds(&self, environment: &EnvironmentName) -> Result<(), String> {
        let moment = self.sim.moment(environment).await;
        let mut moment = moment.map_err(|error| format!("{environment} has no moment: {error}"))?;
        let now = self.sim.ports().clock.now();
        let holds = &moment.stream().state.holds;
        let on = holds.iter().filter(|(_, hold)| hold.is_on(now)).map(|(id, _)| *id);
        for id in on.collect::<Vec<_>>() {
            let (by, why) = ("mira".to_owned(), "it is over".to_owned());
            let asked = moment.ask(Asking { by, why, ask: Ask::LiftHold(id) }, now).await;
            asked.map_err(|error| error.to_string())?;
        }
        moment.end().await.map_err(|error| error.to_string())
    }
}
