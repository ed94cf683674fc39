//! A process for each stage, as the jobs of a CI pipeline are: what they make of a run, one after the other, is what one
//! process makes of it, wherever they are killed; and none begins anything beyond its limit.

use crate::{block_on, proven};
use serin_engine::Run;
use serin_model::{Action, BakeWatch};
use serin_runtime::Until;
use serin_sim::installation::{BAKE, name};
use serin_sim::{Command, Ended, Fault, Faults, Reason, Report, Scenario, Sim};
use std::collections::BTreeSet;
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

#[test]
fn a_bake_that_nobody_watches_passes_by_what_was_recorded_of_all_of_it() {
    let healthy = proven(&Scenario::default());
    let report = block_on(async {
        let mut jobs = Jobs::new(3);
        jobs.bakes = BakeWatch::Afterwards;
        for stage in 1..=STAGES {
            jobs.job(Until::Bake(stage), &[]).await;
            // The runner dies while the bake is not over: the next process asks about the same time.
            jobs.job(Until::Stage(stage), &[Duration::from_secs(3)]).await;
        }
        jobs.end()
    });
    assert_eq!(report.world, healthy.world);
    let looks: Vec<&String> = report.trace.iter().filter(|l| l.contains("looks back")).collect();
    assert_eq!(looks.len(), 6, "{looks:?}");
    for look in looks {
        let words: Vec<u128> = look.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [at, length, from] = words.as_slice() else { panic!("{look}") };
        assert_eq!(*length, BAKE.as_millis(), "{look}");
        assert!(from + length <= *at && *at < from + length + 10_000, "{look}");
    }
}

#[test]
fn an_alert_that_nobody_has_seen_fails_the_bake_that_is_checked_afterwards() {
    // How long it takes until the third stage bakes.
    let took = block_on(async {
        let mut jobs = Jobs::new(0);
        jobs.bakes = BakeWatch::Afterwards;
        jobs.until_third_bake().await;
        jobs.sim.report().took
    });
    block_on(async {
        let (environment, lasts) = (name("staging"), Duration::from_secs(2));
        let alert = Fault::Alert { environment, about: None, lasts };
        let at = [(took + Duration::from_secs(1), alert)].into();
        let mut jobs = Jobs::with(Faults { at, ..Faults::default() });
        jobs.bakes = BakeWatch::Afterwards;
        jobs.until_third_bake().await;
        // It is over when the next job looks around.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let ended = jobs.process(Until::Stage(3), None).await;
        let Some(Ended::Halted(Reason::AlertsFiring(alerts))) = ended else { panic!("{ended:?}") };
        assert_eq!(alerts, ["Errors (severity=critical)"]);
        // Resumed, it bakes again, from then on.
        jobs.resumes = true;
        jobs.job(Until::Stage(3), &[]).await;
        let report = jobs.end();
        let looks = report.trace.iter().filter(|l| l.contains("looks back")).count();
        assert_eq!(looks, 4);
    });
}

/// A run whose processes come one after the other.
struct Jobs {
    sim: Sim,
    bakes: BakeWatch,
    /// Whether the next process lifts a halt.
    resumes: bool,
    run: Option<serin_model::RunId>,
    processes: u32,
    random: u64,
}

impl Jobs {
    fn new(seed: u64) -> Self {
        Self { random: seed, ..Self::with(Faults::default()) }
    }

    fn with(faults: Faults) -> Self {
        let (sim, bakes) = (Sim::new(0, faults), BakeWatch::Live);
        Self { sim, bakes, resumes: false, run: None, processes: 0, random: 0 }
    }

    async fn until_third_bake(&mut self) {
        for stage in 1..=2 {
            self.job(Until::Stage(stage), &[]).await;
        }
        self.job(Until::Bake(3), &[]).await;
    }

    async fn start(&self) -> serin_model::RunId {
        let mut plan = self.sim.plan(&BTreeSet::new()).await.unwrap();
        let lanes = plan.stages.iter_mut().flat_map(|s| &mut s.phases).flat_map(|p| &mut p.lanes);
        for step in lanes.flat_map(|lane| &mut lane.steps) {
            if let Action::Bake { watch, .. } = &mut step.action {
                *watch = self.bakes;
            }
        }
        self.sim.record_run(plan).await.unwrap()
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
            self.run = Some(self.start().await);
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
        match self.process(until, kill).await {
            None => {
                assert!(kill.is_some(), "{until:?} came to no end");
                false
            }
            Some(Ended::Reached | Ended::Finished) => true,
            Some(other) => panic!("{until:?}: {other:?}"),
        }
    }

    /// Has one process act; `None`: it was killed.
    async fn process(&mut self, until: Until, kill: Option<&Duration>) -> Option<Ended> {
        self.processes += 1;
        let run = self.run.clone().unwrap();
        let mut acting = self.sim.adopt(&run, self.processes).await.unwrap().expect("it lives");
        let process = acting.process();
        if std::mem::take(&mut self.resumes) {
            let (by, why) = ("mira".to_owned(), "it is over".to_owned());
            acting.controller.ask(Command::Resume { by, why }).await.unwrap().unwrap();
        }
        let (_terminal, commands) = mpsc::channel(1);
        let killed_at = kill.copied().unwrap_or(Duration::from_hours(2));
        let ended = tokio::select! {
            biased;
            () = tokio::time::sleep(killed_at) => None,
            ended = acting.controller.drive_until(commands, until) => Some(ended),
        };
        match &ended {
            None => process.kill(),
            Some(_) => nothing_is_begun_beyond(until, acting.controller.run()),
        }
        ended
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
