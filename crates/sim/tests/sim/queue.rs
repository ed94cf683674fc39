//! Several runs at once that bring builds to one canary.

use crate::{block_on, proven, time_of};
use serin_model::{Queue, Reason, RunId, WhenBusy};
use serin_sim::scenario::Acting;
use serin_sim::{Command, Ended, Faults, Scenario, Sim};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

const SEED: u64 = 1;

/// Begins a run that waits for others, and its process.
async fn begun(sim: &Sim, number: u32) -> (RunId, Acting) {
    let mut plan = sim.plan(&BTreeSet::new()).await.unwrap();
    let baked_for = Duration::from_hours(1);
    plan.queue = Some(Queue { when_busy: WhenBusy::QueueLatest, baked_for, first: None });
    let run = sim.record_run(plan).await.unwrap();
    let acting = sim.adopt(&run, number).await.unwrap().expect("nobody kills it");
    (run, acting)
}

async fn driven(acting: &mut Acting) -> Ended {
    let (_terminal, commands) = mpsc::channel(1);
    acting.controller.drive(commands).await
}

#[test]
fn builds_that_come_while_production_is_busy_wait_there_and_only_the_latest_goes_on() {
    let healthy = proven(&Scenario { seed: SEED, ..Scenario::default() });
    let at = time_of(&healthy, "began 6/production/guard");
    block_on(async {
        let sim = Sim::new(SEED, Faults::default());
        let (first, mut acting) = begun(&sim, 1).await;
        let (terminal, commands) = mpsc::channel(1);
        let began = Instant::now();
        let halts = async {
            tokio::time::sleep_until(began + at).await;
            let reason = Reason::Person { who: "mira".to_owned(), why: "lunch".to_owned() };
            terminal.send(Command::Halt(reason)).await.unwrap();
        };
        let (ended, ()) = tokio::join!(acting.controller.drive(commands), halts);
        assert!(matches!(ended, Ended::Halted(Reason::Person { .. })), "{ended:?}");
        drop(acting);

        // Production is the first run's still, in the middle of its way.
        let (_, mut second) = begun(&sim, 2).await;
        let later = async {
            tokio::time::sleep(Duration::from_mins(10)).await;
            let (_, mut third) = begun(&sim, 3).await;
            driven(&mut third).await
        };
        let goes_on = async {
            tokio::time::sleep(Duration::from_mins(25)).await;
            let mut acting = sim.adopt(&first, 4).await.unwrap().expect("nobody kills it");
            let resume = Command::Resume { by: "mira".to_owned(), why: "back".to_owned() };
            acting.controller.ask(resume).await.unwrap().unwrap();
            driven(&mut acting).await
        };
        let (second, third, first) = tokio::join!(driven(&mut second), later, goes_on);
        assert!(matches!(first, Ended::Finished), "{first:?}");
        let Ended::Halted(reason) = second else { panic!("{second:?}") };
        assert_eq!(reason.to_string(), "superseded by run r-3, which is newer");
        let Ended::Halted(reason) = third else { panic!("{third:?}") };
        let text = "run r-1 has changed production since this one was planned";
        assert_eq!(reason.to_string(), text);

        let report = sim.report();
        assert_eq!(report.violations, Vec::<String>::new());
        let waited = "production belongs to run r-1; waiting before production";
        assert!(report.trace.iter().any(|line| line.contains(waited)));
        let entered =
            |made: &&String| made.contains("EnvironmentEntered") && made.contains("production");
        // By the first run, and by the process that resumed it.
        assert_eq!(report.appends.iter().filter(entered).count(), 2);
    });
}
