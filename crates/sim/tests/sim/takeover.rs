//! Two controllers: one is stopped past its lease, another takes over, the first continues.

use crate::block_on;
use serin_engine::Command;
use serin_sim::scenario::TTL;
use serin_sim::{Ended, Faults, Scenario, Sim, simulate};
use std::time::Duration;
use tokio::sync::mpsc;

#[test]
fn a_controller_that_wakes_after_its_lease_changes_nothing_more() {
    let step = if crate::soak() { 1 } else { 24 };
    for second in (2..260).step_by(step) {
        block_on(stopped_at(Duration::from_millis(second * 1_000 + 77)));
    }
}

#[test]
fn an_effect_that_was_on_its_way_is_refused_after_a_takeover() {
    let healthy = simulate(&Scenario { seed: 1, ..Scenario::default() });
    let jobs = healthy.trace.iter().filter(|line| line.contains(" (attempt 1 of "));
    let mut refused = 0;
    for line in jobs.step_by(if crate::soak() { 1 } else { 9 }) {
        let at: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
        let trace = block_on(stopped_at(Duration::from_millis(at - 1)));
        refused += usize::from(trace.iter().any(|line| line.contains("refuses fence")));
    }
    assert!(refused >= 4, "only {refused} effects were on their way");
}

#[test]
fn of_two_runs_that_begin_at_once_one_is_refused_by_name() {
    block_on(async {
        let sim = Sim::new(1, Faults::default());
        let (winner, loser) = (sim.start().await.unwrap(), sim.start().await.unwrap());
        let mut first = sim.adopt(&winner, 1).await.unwrap().expect("nobody kills it");
        let mut second = sim.adopt(&loser, 2).await.unwrap().expect("nobody kills it");
        let (_terminals, [for_first, for_second]) = terminals();
        let mut finishing = Box::pin(first.controller.drive(for_first));
        let mut waiting = Box::pin(second.controller.drive(for_second));
        // Whether the one that acts is alive is known after a time to live without a beat.
        let soon = TTL + Duration::from_secs(10);
        let ended = tokio::select! {
            biased;
            ended = finishing.as_mut() => panic!("{ended:?}"),
            ended = tokio::time::timeout(soon, waiting.as_mut()) => ended.expect("it waits"),
        };
        let named = format!("staging belongs to run {winner}");
        assert!(matches!(&ended, Ended::Halted(why) if why.to_string() == named), "{ended:?}");
        assert!(matches!(finishing.await, Ended::Finished));
        assert_eq!(sim.report().violations, Vec::<String>::new());
    });
}

/// Two terminals at which nobody asks for anything.
fn terminals() -> ([mpsc::Sender<Command>; 2], [mpsc::Receiver<Command>; 2]) {
    let (first, commands_of_first) = mpsc::channel(1);
    let (second, commands_of_second) = mpsc::channel(1);
    ([first, second], [commands_of_first, commands_of_second])
}

async fn stopped_at(at: Duration) -> Vec<String> {
    let clock = tokio::time::Instant::now();
    let sim = Sim::new(1, Faults::default());
    let run = sim.start().await.unwrap();
    let mut first = sim.adopt(&run, 1).await.unwrap().expect("nobody kills it");
    let process = first.process();
    let (_first_terminal, commands) = mpsc::channel(1);
    let mut driving = Box::pin(first.controller.drive(commands));
    let early = tokio::time::timeout_at(clock + at, driving.as_mut()).await;
    assert!(early.is_err(), "it ended before it could be stopped: {early:?}");
    process.stop();

    let mut second = sim.adopt(&run, 2).await.unwrap().expect("nobody kills it");
    let (_second_terminal, commands) = mpsc::channel(1);
    let mut taking_over = Box::pin(second.controller.drive(commands));
    // The second waits until it has seen the environment's beat stand still for a whole time to live.
    let soon = tokio::time::timeout(TTL + Duration::from_secs(5), taking_over.as_mut()).await;
    assert!(soon.is_err(), "{soon:?}");
    process.go_on();
    // What was on its way when the process was stopped arrives before its controller looks around.
    tokio::time::sleep(Duration::from_millis(60)).await;
    let (ended_first, ended_second) = tokio::join!(driving, taking_over);
    assert!(matches!(ended_first, Ended::LeaseLost(_)), "{at:?}: {ended_first:?}");
    assert!(matches!(ended_second, Ended::Finished), "{at:?}: {ended_second:?}");
    let report = sim.report();
    assert_eq!(report.violations, Vec::<String>::new(), "stopped at {at:?}");
    report.trace
}
