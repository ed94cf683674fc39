//! Two controllers: one is stopped past its lease, another takes over, the first continues.

use serin_sim::scenario::TTL;
use serin_sim::{Ended, Faults, Sim};
use std::time::Duration;
use tokio::sync::mpsc;

#[test]
fn a_controller_that_wakes_after_its_lease_changes_nothing_more() {
    let step = if crate::soak() { 1 } else { 12 };
    for second in (2..260).step_by(step) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(stopped_at(Duration::from_millis(second * 1_000 + 77)));
    }
}

async fn stopped_at(at: Duration) {
    let sim = Sim::new(1, Faults::default());
    let run = sim.start().await.unwrap();
    let mut first = sim.adopt(&run, 1).await.unwrap().expect("nobody kills it");
    let process = first.process();
    let (_first_terminal, commands) = mpsc::channel(1);
    let mut driving = Box::pin(first.controller.drive(commands));
    let early = tokio::time::timeout(at, driving.as_mut()).await;
    assert!(early.is_err(), "it ended before it could be stopped: {early:?}");
    process.stop();

    let mut second = sim.adopt(&run, 2).await.unwrap().expect("nobody kills it");
    let (_second_terminal, commands) = mpsc::channel(1);
    let mut taking_over = Box::pin(second.controller.drive(commands));
    // The second waits until it has seen the environment's beat stand still for a whole time to live.
    let soon = tokio::time::timeout(TTL + Duration::from_secs(5), taking_over.as_mut()).await;
    assert!(soon.is_err(), "{soon:?}");
    process.go_on();
    let (ended_first, ended_second) = tokio::join!(driving, taking_over);
    assert!(matches!(ended_first, Ended::LeaseLost(_)), "{at:?}: {ended_first:?}");
    assert!(matches!(ended_second, Ended::Finished), "{at:?}: {ended_second:?}");
    let report = sim.report();
    assert_eq!(report.violations, Vec::<String>::new(), "stopped at {at:?}");
}
