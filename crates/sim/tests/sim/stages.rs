//! A process for each stage, as the jobs of a CI pipeline are: what they make of a run, one after the other, is what one
//! process makes of it, wherever they are killed; and none begins anything beyond its limit.

use crate::{block_on, proven};
use serin_engine::Run;
use serin_model::Action;
use serin_runtime::Until;
use serin_sim::{Ended, Faults, Report, Scenario, Sim};
use std::time::Duration;
use tokio::sync::mpsc;

/// The stages of `to-canary`.
const STAGES: u32 = 6;

/// More processes than a stage needs that is killed as often as these tests do.
const MOST_TRIES: u32 = 8;

#[test]
fn a_process_for_each_stage_makes_of_a_run_what_one_process_does() {
    let healthy = proven(&Scenario::default());
    let by_stages = block_on(async {
        let mut jobs = Jobs::new(0);
        for stage in 1..=STAGES {
            jobs.job(Until::Stage(stage), &[]).await;
        }
        jobs.end()
    });
    assert_eq!(by_stages.world, healthy.world);
}

#[test]
fn a_bake_may_have_a_process_of_its_own() {
    let healthy = proven(&Scenario::default());
    let by_jobs = block_on(async {
        let mut jobs = Jobs::new(0);
        for stage in 1..=STAGES {
            jobs.job(Until::Bake(stage), &[]).await;
            jobs.job(Until::Stage(stage), &[]).await;
        }
        jobs.end()
    });
    assert_eq!(by_jobs.world, healthy.world);
}

#[test]
fn stages_whose_processes_are_killed_and_tried_again_make_the_same() {
    let healthy = proven(&Scenario::default());
    let seeds = if crate::soak() { 200 } else { 12 };
    for seed in 0..seeds {
        let by_stages = block_on(async {
            let mut jobs = Jobs::new(seed);
            for stage in 1..=STAGES {
                let (first, second) = (jobs.moment(), jobs.moment());
                let until = if seed % 2 == 0 { Until::Stage(stage) } else { Until::Bake(stage) };
                jobs.job(until, &[first, second]).await;
                // A job whose stage has passed may be asked for once more.
                jobs.job(Until::Stage(stage), &[]).await;
            }
            jobs.end()
        });
        assert_eq!(by_stages.world, healthy.world, "seed {seed}");
    }
}

#[test]
fn a_limit_below_all_stages_begins_nothing() {
    block_on(async {
        let mut jobs = Jobs::new(0);
        jobs.job(Until::Stage(0), &[]).await;
        assert_eq!(jobs.sim.report().effects, Vec::<String>::new());
    });
}

/// A run whose processes come one after the other.
struct Jobs {
    sim: Sim,
    run: Option<serin_model::RunId>,
    processes: u32,
    random: u64,
}

impl Jobs {
    fn new(seed: u64) -> Self {
        let sim = Sim::new(0, Faults::default());
        Self { sim, run: None, processes: 0, random: seed }
    }

    /// Returns a moment of a stage: they take up to some three minutes.
    fn moment(&mut self) -> Duration {
        // Knuth's generator: small, and the same in every version.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        Duration::from_millis((self.random >> 33) % 150_000)
    }

    /// Acts for the run up to a limit; processes are killed so long after their beginning, and the next one goes on.
    async fn job(&mut self, until: Until, kills: &[Duration]) {
        if self.run.is_none() {
            self.run = Some(self.sim.start().await.unwrap());
        }
        let mut kills = kills.iter();
        for _ in 0..MOST_TRIES {
            if self.tried(until, kills.next()).await {
                return;
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        panic!("{until:?} needs more than {MOST_TRIES} processes");
    }

    async fn tried(&mut self, until: Until, kill: Option<&Duration>) -> bool {
        self.processes += 1;
        let run = self.run.clone().unwrap();
        let mut acting = self.sim.adopt(&run, self.processes).await.unwrap().expect("it lives");
        let process = acting.process();
        let (_terminal, commands) = mpsc::channel(1);
        let killed_at = kill.copied().unwrap_or(Duration::from_hours(2));
        let ended = tokio::select! {
            biased;
            () = tokio::time::sleep(killed_at) => None,
            ended = acting.controller.drive_until(commands, until) => Some(ended),
        };
        match ended {
            None => {
                assert!(kill.is_some(), "{until:?} came to no end");
                process.kill();
                false
            }
            Some(Ended::Reached | Ended::Finished) => {
                nothing_is_begun_beyond(until, acting.controller.run());
                true
            }
            Some(other) => panic!("{until:?}: {other:?}"),
        }
    }

    fn end(self) -> Report {
        let report = self.sim.report();
        assert_eq!(report.violations, Vec::<String>::new());
        report
    }
}

fn nothing_is_begun_beyond(until: Until, run: &Run) {
    let beyond = |number: u32, action: &Action| match until {
        Until::End => false,
        Until::Stage(last) => number > last,
        Until::Bake(last) => {
            number > last || number == last && matches!(action, Action::Bake { .. })
        }
    };
    let begun = run
        .plan
        .steps()
        .find(|(stage, _, step)| beyond(stage.number, &step.action) && run.attempts(&step.id) > 0);
    assert!(begun.is_none(), "{until:?}: {begun:?} is begun");
    let here = run.current().map(|(stage, _, _)| &stage.environment);
    let kept = run.environments.keys().find(|name| Some(*name) != here);
    assert_eq!(kept, None, "{until:?} keeps an environment that is done with");
}
