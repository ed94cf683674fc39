//! A crash after every record: another process adopts the run and drives it to the same end.

use crate::installation::Installation;
use crate::world::{World, failed};
use serin_engine::{Event, Run, Status};
use std::time::Duration;

const TEXT: &str = "
staging lb-01
  main deploy-01 web-01..03
production lb-01 lb-02
  main deploy-01 web-01
  canary web-cny-01
";

fn world() -> World {
    let mut truth = Installation::new(TEXT);
    truth.pipeline.stages.iter_mut().for_each(|stage| stage.bake = Duration::from_secs(30));
    World::new(truth)
}

/// The world as it is after every event, until nothing more happens.
fn history(mut world: World) -> Vec<World> {
    let mut moments = vec![world.clone()];
    while world.turn() {
        if world.events.len() > moments.last().unwrap().events.len() {
            moments.push(world.clone());
        }
    }
    moments.push(world);
    moments
}

fn assert_same_end(world: &World, end: &World, moment: &str) {
    assert_eq!(world.run.status, Status::Finished, "{moment}");
    assert_eq!(world.truth, end.truth, "{moment}");
    assert_eq!(world.acted, end.acted, "{moment}: installs and migrations happen once");
    assert!(world.acted.values().all(|count| *count == 1), "{moment}");
    assert!(world.run.environments.is_empty(), "{moment}");
}

#[test]
fn replay_equals_live_after_every_event() {
    for moment in history(world()) {
        assert_eq!(Run::replay(&moment.events).unwrap(), moment.run);
    }
}

#[test]
fn a_crash_after_any_record_ends_in_the_same_world_and_nothing_happens_twice() {
    let moments = history(world());
    let end = moments.last().unwrap();
    assert_same_end(end, end, "without a crash");
    assert!(moments.len() > 100, "{}", moments.len());
    for (number, moment) in moments.iter().enumerate() {
        for happened in [false, true] {
            let mut world = moment.clone();
            let last = world.events.last().unwrap();
            let name = format!("crash {number} after {last:?}, in flight happened: {happened}");
            if world.run.is_over() && world.run.environments.is_empty() {
                continue;
            }
            let in_flight: Vec<_> = world.in_flight.iter().map(|(_, s, _)| s.clone()).collect();
            in_flight.iter().filter(|_| happened).for_each(|step| world.happen(step));
            world.run = Run::replay(&world.events).unwrap();
            world.adopt(2);
            world.drive();
            assert_same_end(&world, end, &name);
        }
    }
}

#[test]
fn a_crash_after_any_record_of_a_halt_leaves_the_same_hosts_out_and_names_them() {
    let mut world = world();
    world.script("3/web-02.staging/activate", std::iter::repeat_n(failed("sick"), 9));
    let moments = history(world);
    let end = moments.last().unwrap().clone();
    assert!(matches!(end.run.status, Status::Halted(_)));
    assert_eq!(end.clone().drained(), ["web-02.staging"]);
    for moment in &moments {
        let mut world = moment.clone();
        let halting = world.events.iter().any(|e| matches!(e, Event::HaltRequested { .. }));
        world.adopt(2);
        world.drive();
        assert!(matches!(world.run.status, Status::Halted(_)));
        assert_eq!(world.drained(), ["web-02.staging"]);
        let named: Vec<_> = world.run.out_of_service().into_iter().map(|out| out.host).collect();
        assert_eq!(named.len(), 1, "halting: {halting}");
    }
}

#[test]
fn a_crash_of_every_process_after_a_few_records_each_still_comes_to_the_end() {
    let mut world = world();
    let end = history(world.clone()).pop().unwrap();
    for term in 2..2000 {
        // Far enough for a process to enter, to raise its fence and to do one thing.
        for _ in 0..12 {
            world.turn();
        }
        if world.run.is_over() {
            break;
        }
        world.adopt(term);
    }
    world.drive();
    // A bake needs one process that lives for as long as the bake, so it may be the last one that finishes.
    assert_same_end(&world, &end, "a crash every twelve turns");
}
