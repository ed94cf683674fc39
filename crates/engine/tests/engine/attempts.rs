//! Attempts: lost, tried again later, given up; and in doubt when their process is gone.

use crate::installation::Installation;
use crate::world::{World, id, lost, web_fleet};
use serin_engine::decide::MAX_LOST;
use serin_engine::{Input, Mode, Outcome, Refusal, Status, StepState};
use serin_model::Timestamp;

#[test]
fn a_lost_attempt_is_tried_again_later_each_time() {
    let mut world = web_fleet("web-01..02", "1");
    world.script("3/web-01.staging/fetch", std::iter::repeat_n(lost(), 7));
    let step = id(&world.run, "3/web-01.staging/fetch");
    let mut waits = Vec::new();
    for attempt in 1..=7 {
        world.until("it is lost", |world| world.run.lost(&step) == attempt);
        let lost_at = world.now;
        world.until("it begins again", |world| world.run.in_flight(&step));
        waits.push(world.now.since(lost_at).as_millis());
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000]);
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
}

#[test]
fn an_outcome_sets_the_count_of_lost_attempts_back() {
    let mut world = web_fleet("web-01..02", "1");
    let step = id(&world.run, "3/web-01.staging/fetch");
    let bad = Outcome::Failed(serin_model::Reason::Interrupted);
    world.script("3/web-01.staging/fetch", [lost(), lost(), bad]);
    world.drive();
    assert_eq!(world.run.lost(&step), 0);
}

#[test]
fn a_repeatable_step_that_is_lost_too_often_has_failed() {
    let mut world = web_fleet("web-01..02", "1");
    world.script("3/web-01.staging/fetch", std::iter::repeat_n(lost(), 100));
    world.drive();
    assert!(matches!(world.state("3/web-01.staging/fetch"), StepState::Failed(_)));
    let step = id(&world.run, "3/web-01.staging/fetch");
    assert_eq!(world.run.attempts(&step), MAX_LOST);
    assert!(matches!(world.run.status, Status::Halted(_)));
}

#[test]
fn a_migration_that_is_lost_too_often_is_unknown_and_stays_in_doubt_when_resumed() {
    let mut truth = Installation::new("staging lb-01\n  main deploy-01 web-01..02");
    truth.pipeline.stages.retain(|stage| stage.number == 1);
    let mut world = World::new(truth);
    let step = "1/deploy-01.staging/migrate";
    world.script(step, std::iter::repeat_n(lost(), MAX_LOST as usize));
    world.drive();
    assert!(matches!(world.state(step), StepState::Unknown(_)));
    world.resume();
    world.until("it is due", |world| !world.acts().is_empty());
    assert_eq!(world.acts(), [(step.to_owned(), Mode::InDoubt)]);
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
}

#[test]
fn what_an_older_process_began_is_in_doubt_and_its_word_counts_no_more() {
    let mut world = web_fleet("web-01..02", "1");
    let step = id(&world.run, "3/web-01.staging/install");
    world.until("the install runs", |world| world.run.in_flight(&step));
    world.adopt(2);
    let late =
        Input::Ended { step: step.clone(), attempt: 1, outcome: Outcome::Done("late".to_owned()) };
    let refused = Refusal::NotInFlight { step: step.clone(), attempt: 1 };
    assert_eq!(world.input(late), Err(refused));
    world.until("it is looked at", |world| !world.acts().is_empty());
    assert_eq!(world.acts(), [(step.to_string(), Mode::InDoubt)]);
}

#[test]
fn a_wait_does_not_outlive_its_process_whose_clock_may_have_been_ahead() {
    let mut world = web_fleet("web-01..02", "1");
    world.script("3/web-01.staging/fetch", [lost()]);
    let step = id(&world.run, "3/web-01.staging/fetch");
    world.until("it is lost", |world| world.run.lost(&step) == 1);
    world.now = Timestamp::from_millis(1_000);
    world.adopt(2);
    world.until("it begins again", |world| world.run.in_flight(&step));
    assert!(world.now.as_millis() < 10_000, "{:?}", world.now);
}

#[test]
fn an_adoption_changes_no_decision() {
    let mut world = web_fleet("web-01..02", "1");
    let step = id(&world.run, "3/web-01.staging/install");
    world.until("the install runs", |world| world.run.in_flight(&step));
    world.halt();
    let halting = world.run.status.clone();
    world.adopt(2);
    assert_eq!(world.run.status, halting);
    world.drive();
    assert!(matches!(world.run.status, Status::Halted(_)));
}

#[test]
fn at_most_so_many_hosts_that_serve_are_worked_on_at_once() {
    let mut world = web_fleet("web-01..99", "1");
    let step = id(&world.run, "3/web-01.staging/check");
    world.until("checks run", |world| world.run.in_flight(&step));
    world.until("all that may have begun", |world| world.acts().is_empty());
    assert_eq!(world.in_flight.len(), serin_engine::due::MAX_LANES);
}
