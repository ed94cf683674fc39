//! Guards, bakes and the watch on alerts: only what was seen, for its whole length, is a pass.

use crate::world::{World, id, web_fleet};
use serin_engine::{Event, Input, Outcome, Refusal, Status, StepState};
use serin_model::{Reason, Timestamp, Verdict};
use std::time::Duration;

/// The poll of the fixture's alert source, in milliseconds.
const POLL: u64 = 15_000;
const BAKE: u64 = 300_000;

fn firing() -> Verdict {
    Verdict::Fail(Reason::AlertsFiring(vec!["HighErrorRate".to_owned()]))
}

fn unreadable() -> Verdict {
    Verdict::Inconclusive(Reason::AlertsUnreadable("HTML".to_owned()))
}

/// A world in which the bake has had its first good reading, now.
fn baking() -> World {
    let mut world = web_fleet("web-01..02", "1");
    let bake = id(&world.run, "3/staging/bake");
    world.until("the bake has begun", |world| world.run.bake(&bake).1.is_some());
    world
}

/// A reading, so long after the one before.
fn reading(world: &mut World, after: u64, verdict: Verdict) {
    world.now = world.now.plus(Duration::from_millis(after));
    let environment = "staging".parse().unwrap();
    world.input(Input::Alerts { environment, verdict }).unwrap();
}

fn watched(world: &World) -> u64 {
    let (watched, _) = world.run.bake(&id(&world.run, "3/staging/bake"));
    u64::try_from(watched.as_millis()).unwrap()
}

fn is_baked(world: &World) -> bool {
    world.run.is_done(&id(&world.run, "3/staging/bake"))
}

#[test]
fn a_bake_is_watched_for_its_whole_length() {
    let mut world = baking();
    for _ in 0..BAKE / POLL - 1 {
        reading(&mut world, POLL, Verdict::Pass);
        assert!(!is_baked(&world));
    }
    reading(&mut world, POLL - 1, Verdict::Pass);
    assert!(!is_baked(&world), "one millisecond is missing");
    reading(&mut world, 1, Verdict::Pass);
    assert!(is_baked(&world));
}

#[test]
fn a_gap_of_two_polls_counts_and_a_longer_one_begins_again() {
    let mut world = baking();
    reading(&mut world, 2 * POLL, Verdict::Pass);
    assert_eq!(watched(&world), 2 * POLL);
    reading(&mut world, 2 * POLL + 1, Verdict::Pass);
    assert_eq!(watched(&world), 0);
    reading(&mut world, POLL, Verdict::Pass);
    assert_eq!(watched(&world), POLL);
}

#[test]
fn a_reading_that_cannot_be_trusted_begins_the_bake_again() {
    let mut world = baking();
    reading(&mut world, POLL, Verdict::Pass);
    reading(&mut world, 1_000, unreadable());
    assert_eq!(watched(&world), 0);
    reading(&mut world, 1_000, Verdict::Pass);
    assert_eq!(watched(&world), 0, "the first good reading has none before it to follow");
    reading(&mut world, POLL, Verdict::Pass);
    assert_eq!(watched(&world), POLL);
}

#[test]
fn another_process_begins_the_bake_again() {
    let mut world = baking();
    reading(&mut world, POLL, Verdict::Pass);
    world.adopt(2);
    assert_eq!(watched(&world), 0);
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
}

#[test]
fn an_alert_in_the_middle_or_in_the_last_second_halts() {
    for good in [1, BAKE / POLL / 2, BAKE / POLL - 1] {
        let mut world = baking();
        for _ in 0..good {
            reading(&mut world, POLL, Verdict::Pass);
        }
        reading(&mut world, POLL - 1_000, firing());
        reading(&mut world, 1_000, Verdict::Pass);
        assert!(!is_baked(&world), "after {good} good readings");
        let why = Reason::AlertsFiring(vec!["HighErrorRate".to_owned()]);
        assert_eq!(world.run.status, Status::Halting(why), "one bad second is enough");
    }
}

#[test]
fn a_bake_that_failed_begins_from_nothing_however_soon_it_is_resumed() {
    let mut world = baking();
    for _ in 0..10 {
        reading(&mut world, POLL, Verdict::Pass);
    }
    reading(&mut world, 1_000, firing());
    world.turn();
    world.resume();
    world.turn();
    reading(&mut world, 1_000, Verdict::Pass);
    assert_eq!(watched(&world), 0, "twelve seconds after the last good reading");
}

#[test]
fn an_alert_halts_at_any_moment_and_not_only_between_steps() {
    let steps: Vec<String> = {
        let world = web_fleet("web-01..02", "1");
        world.run.plan.steps().map(|(_, _, step)| step.id.to_string()).collect()
    };
    for step in steps {
        let mut world = web_fleet("web-01..02", "1");
        let step = id(&world.run, &step);
        world.until("it is in flight", |world| world.run.in_flight(&step));
        reading(&mut world, 0, firing());
        assert!(matches!(world.run.status, Status::Halting(_)), "{step}");
        world.drive();
        assert!(matches!(world.run.status, Status::Halted(_)), "{step}");
        assert_eq!(world.drained(), [""; 0], "{step}");
    }
}

#[test]
fn a_guard_waits_for_a_good_reading_and_fails_on_a_bad_one() {
    let guard = "3/staging/guard";
    let mut world = web_fleet("web-01..02", "1");
    world.alerts = [(0, unreadable()), (1_020_000, Verdict::Pass)].into();
    world.until("it has passed", |w| w.run.is_done(&id(&w.run, guard)));
    assert!(world.now >= Timestamp::from_millis(1_020_000));

    let mut world = web_fleet("web-01..02", "1");
    world.alerts = [(0, firing())].into();
    world.drive();
    assert!(matches!(world.state(guard), StepState::Failed(_)));
    assert_eq!(world.attempts(), [guard], "nothing but the guard has begun");
}

#[test]
fn unreadable_alerts_begin_nothing_new_and_halt_when_it_lasts() {
    let mut world = web_fleet("web-01..04", "1");
    let install = id(&world.run, "3/web-01.staging/install");
    world.until("the install runs", |world| world.run.in_flight(&install));
    let since = world.now;
    reading(&mut world, 0, unreadable());
    world.alerts = [(0, unreadable())].into();
    let ready = id(&world.run, "3/web-01.staging/ready");
    world.until("the host in the middle is back", |world| world.run.is_done(&ready));
    assert_eq!(world.run.status, Status::Running);
    world.until("it halts", |world| world.run.status != Status::Running);
    assert!(!world.attempts().contains(&"3/web-02.staging/drain".to_owned()));
    let waited = world.now.since(since);
    assert!(waited >= Duration::from_mins(2) && waited < Duration::from_secs(140), "{waited:?}");
}

#[test]
fn alerts_that_can_be_read_again_in_time_let_the_run_go_on() {
    let mut world = web_fleet("web-01..02", "1");
    world.alerts =
        [(0, Verdict::Pass), (1_005_000, unreadable()), (1_100_000, Verdict::Pass)].into();
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    let changes = world.events.iter().filter(|e| matches!(e, Event::AlertsChanged { .. })).count();
    assert_eq!(changes, 3, "only changes are recorded");
}

#[test]
fn a_gate_takes_no_word_but_that_of_a_reading() {
    for step in ["3/staging/guard", "3/staging/bake"] {
        let mut world = web_fleet("web-01..02", "1");
        let step = id(&world.run, step);
        world.until("it waits", |world| world.run.in_flight(&step));
        let outcome = Outcome::Done("trust me".to_owned());
        let attempt = world.run.attempts(&step);
        let refused = Refusal::NotInFlight { step: step.clone(), attempt };
        assert_eq!(world.input(Input::Ended { step, attempt, outcome }), Err(refused));
    }
}

#[test]
fn readings_of_an_environment_that_is_not_entered_mean_nothing() {
    let mut world = web_fleet("web-01..02", "1");
    let events = world.events.len();
    reading(&mut world, 0, firing());
    assert_eq!((world.events.len(), &world.run.status), (events, &Status::Running));
}
