//! What the time of a run goes to: every moment counts once.

use crate::world::{World, web_fleet};
use serin_engine::{Input, Spent, Status, Times};
use serin_model::{Reason, Verdict};
use std::time::Duration;

fn spent(world: &World, on: Spent) -> u64 {
    let stage = &world.times.stages[&3];
    stage.spent.get(&on).map_or(0, Duration::as_secs)
}

#[test]
fn every_moment_of_a_stage_counts_once() {
    let mut world = web_fleet("web-01..02", "1");
    let began = world.now;
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    let stage = &world.times.stages[&3];
    assert_eq!(stage.passed, Some(world.now));
    assert_eq!(stage.total(), world.now.since(began), "{stage:?}");
    // Until the first reading of alerts after its beginning nothing is watched.
    assert!((300..=315).contains(&spent(&world, Spent::Bake)), "{stage:?}");
    assert_eq!(spent(&world, Spent::Qa), 1);
    // Two hosts, one after the other: each is drained, installed, activated and put back, and more.
    assert!(spent(&world, Spent::Work) >= 70, "{stage:?}");
    for none in [Spent::Alerts, Spent::Hold, Spent::Halt, Spent::Unattended, Spent::Approval] {
        assert_eq!(spent(&world, none), 0, "{}", none.name());
    }
}

#[test]
fn a_guard_that_waits_for_alerts_and_a_halt_are_told_apart() {
    let mut world = web_fleet("web-01..02", "1");
    let firing = Verdict::Inconclusive(Reason::AlertsUnreadable("HTML".to_owned()));
    world.alerts.insert(0, firing);
    world.alerts.insert(world.now.as_millis() + 60_000, Verdict::Pass);
    world.until("work has begun", |world| !world.run.slots().collect::<Vec<_>>().is_empty());
    let waited = spent(&world, Spent::Alerts);
    assert!((45..=60).contains(&waited), "{waited}");
    world.halt();
    let halting = world.now;
    world.drive();
    assert!(matches!(world.run.status, Status::Halted(_)));
    world.now = world.now.plus(Duration::from_secs(500));
    world.resume();
    assert_eq!(spent(&world, Spent::Halt), world.now.since(halting).as_secs());
    world.drive();
    let stage = &world.times.stages[&3];
    assert_eq!(stage.total(), world.now.since(stage.began));
    assert_eq!(spent(&world, Spent::Unattended), 0);
}

#[test]
fn the_time_without_a_process_is_nobodys_work() {
    let mut world = web_fleet("web-01..02", "1");
    world.until("work has begun", |world| !world.run.slots().collect::<Vec<_>>().is_empty());
    world.now = world.now.plus(Duration::from_secs(400));
    let work = spent(&world, Spent::Work);
    world.adopt(2);
    assert_eq!((spent(&world, Spent::Unattended), spent(&world, Spent::Work)), (400, work));
}

#[test]
fn a_clock_that_was_set_back_costs_no_time() {
    let mut world = web_fleet("web-01..02", "1");
    let mut times = Times::default();
    let event = world.events[0].clone();
    times.take(&world.run, world.now, &event);
    let before = serin_model::Timestamp::from_millis(1);
    times.take(&world.run, before, &event);
    assert_eq!(times.stages[&3].total(), Duration::ZERO);
    world.input(Input::Tick).unwrap();
}
