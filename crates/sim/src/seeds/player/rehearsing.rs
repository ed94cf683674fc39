//! One run of one pipeline in somebody's own installation: what a rehearsal is.

use super::acting::Stood;
use super::{Player, resume};
use crate::rehearsal::{Rehearsal, RehearsalEnd, Rehearsed};
use crate::scenario::AfterHalt;
use serin_model::RunId;
use serin_runtime::records;
use std::time::Duration;

/// How long one process may act in a rehearsal: budgets of one host in fleets of hundreds take days.
const LIVELY: Duration = Duration::from_hours(30 * 24);

/// So many halts are repaired and lifted.
const MOST_HALTS: u32 = 20;

/// How long people take to look at a halt and to repair what is wrong, in minutes: at least, and less than.
const REPAIRED_WITHIN: (u64, u64) = (10, 30);

/// Until the world is quiet again after a run.
const SETTLES: Duration = Duration::from_mins(3);

/// Has a rehearsal happen. Must be called in a runtime whose time is paused.
pub(crate) async fn rehearsed(rehearsal: &Rehearsal) -> Rehearsed {
    let mut player =
        Player::around(rehearsal.setting.clone(), rehearsal.seed, &rehearsal.incidents);
    player.lively = LIVELY;
    player.planted = rehearsal.planted;
    player.sim.shared.now().planted = rehearsal.planted;
    let begun = player.begin_pipeline(rehearsal.pipeline.as_str()).await;
    let (run, end) = match begun {
        Err(why) => (None, RehearsalEnd::NotPlanned(why)),
        Ok(run) => {
            let end = player.see_to_the_end(&run, rehearsal.after_halt).await;
            (Some(run), end.unwrap_or_else(RehearsalEnd::NoEnd))
        }
    };
    player.tell_of(run, end).await
}

impl Player {
    async fn see_to_the_end(
        &mut self,
        run: &RunId,
        after_halt: AfterHalt,
    ) -> Result<RehearsalEnd, String> {
        let mut command = None;
        for _ in 0..MOST_HALTS {
            match (self.see_through(run, command.take()).await?, after_halt) {
                (Stood::Finished, _) => {
                    self.calm_down().await?;
                    tokio::time::sleep(SETTLES).await;
                    self.sim.shared.now().check_end();
                    return Ok(RehearsalEnd::Delivered);
                }
                (Stood::Cancelled, _) => return Ok(RehearsalEnd::GivenUp),
                (Stood::Halted(_), AfterHalt::Stop | AfterHalt::Cancel) => {
                    return Ok(RehearsalEnd::Halted);
                }
                (Stood::Halted(_), AfterHalt::RepairAndResume) => {
                    let (from, to) = REPAIRED_WITHIN;
                    self.sleep(from * 60, to * 60).await;
                    self.sim.shared.now().mend();
                    command = Some(resume());
                }
            }
        }
        Ok(RehearsalEnd::GivenUp)
    }

    async fn tell_of(self, run: Option<RunId>, end: RehearsalEnd) -> Rehearsed {
        if let RehearsalEnd::NoEnd(why) = &end {
            self.violation(why.clone());
        }
        let mut told = None;
        if let Some(run) = run {
            match records::load(&self.sim.journal, &run).await {
                Ok((_, events)) => {
                    let events = events.into_iter().map(|(record, event)| (record.at, event));
                    told = Some((run, events.collect()));
                }
                Err(why) => self.violation(why.to_string()),
            }
        }
        let report = self.sim.report();
        let befallen = self.sim.shared.now().befallen.clone();
        let (violations, timeline) = (report.violations, report.trace);
        Rehearsed { end, run: told, befallen, violations, timeline }
    }
}
