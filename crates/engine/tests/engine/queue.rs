//! Who goes on and who waits where several runs come to one environment.

use crate::installation::{Installation, of, to_main};
use crate::world::World;
use serin_engine::queue::{Busy, Known, LEFT_TO_PROMOTION, Turn, ahead, busy, turn};
use serin_engine::{Event, Run};
use serin_model::{EnvironmentName, Queue, RunId, Timestamp, WhenBusy};
use std::time::Duration;

const TEXT: &str = "
staging lb-01
  main deploy-01 web-01
production lb-01 lb-02
  main deploy-01 web-01
  canary web-cny-01
";

const BAKED_FOR: Duration = Duration::from_hours(1);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn production() -> EnvironmentName {
    of("production")
}

/// A run and its record, as another reads it: begun at a time, and all that it did later at another.
#[derive(Clone)]
struct Case {
    run: Run,
    known: Known,
}

fn case(id: &str, world: &World, (begun, later): (u64, u64)) -> Case {
    let times = std::iter::once(at(begun)).chain(std::iter::repeat(at(later)));
    let known = Known::of(of(id), &world.run, times.zip(&world.events));
    Case { run: world.run.clone(), known }
}

fn queued(when_busy: WhenBusy, build: &str, first: Option<&str>) -> World {
    let mut truth = Installation::new(TEXT);
    truth.build.sha256 = of(&build.repeat(32));
    let mut plan = World::new(truth.clone()).run.plan;
    plan.queue = Some(Queue { when_busy, baked_for: BAKED_FOR, first: first.map(of::<RunId>) });
    World::with_plan(truth, plan)
}

fn latest(build: &str) -> World {
    queued(WhenBusy::QueueLatest, build, None)
}

/// Staging is left, and production not yet entered.
fn waiting(mut world: World) -> World {
    world.until("it waits for production", |world| {
        let next = world.run.current().map(|(stage, _, _)| stage.environment.clone());
        next == Some(production()) && world.run.environments.is_empty()
    });
    world
}

fn in_production(world: World) -> World {
    let mut world = waiting(world);
    world.until("it is there", |world| world.run.environments.contains_key(&production()));
    world
}

fn finished(mut world: World) -> World {
    world.drive();
    world
}

/// What the run of a number, from 0, is to do at a time.
fn turn_of(cases: &[Case], number: usize, now: u64) -> Turn {
    let runs: Vec<Known> = cases.iter().map(|case| case.known.clone()).collect();
    let Case { run, known } = &cases[number];
    turn((&known.id, run), &production(), &runs, at(now))
}

#[test]
fn a_record_of_the_future_tells_of_a_clock_that_was_set_back() {
    let latest = || [(of("r-1"), at(20)), (of("r-2"), at(3_640))];
    assert_eq!(ahead(latest(), at(40)), Some((of("r-2"), Duration::from_hours(1))));
    assert_eq!(ahead(latest(), at(3_636)), None, "a clock that is put right while it runs");
    assert_eq!(ahead(latest(), at(3_700)), None);
}

#[test]
fn of_several_runs_that_wait_only_the_latest_goes_on() {
    let wait = waiting(latest("ab"));
    let all = [1, 2, 3].map(|n| case(&format!("r-{n}"), &wait, (n, 10)));
    assert_eq!(turn_of(&all, 0, 20), Turn::GiveWay(of("r-3")));
    assert_eq!(turn_of(&all, 1, 20), Turn::GiveWay(of("r-3")));
    assert_eq!(turn_of(&all, 2, 20), Turn::Enter);
}

#[test]
fn a_newer_run_that_is_not_there_yet_or_has_halted_is_not_given_way_to() {
    let old = case("r-1", &waiting(latest("ab")), (1, 10));
    let begun = case("r-2", &latest("cd"), (2, 10));
    assert_eq!(turn_of(&[old.clone(), begun], 0, 20), Turn::Enter);
    let mut halted = waiting(latest("cd"));
    halted.halt();
    assert_eq!(turn_of(&[old, case("r-2", &halted, (2, 10))], 0, 20), Turn::Enter);
}

#[test]
fn a_newer_run_that_supersedes_is_given_way_to_as_soon_as_it_begins() {
    let old = case("r-1", &waiting(latest("ab")), (1, 10));
    let begun = queued(WhenBusy::Supersede, "cd", None);
    let all = [old, case("r-2", &begun, (2, 10))];
    assert_eq!(turn_of(&all, 0, 20), Turn::GiveWay(of("r-2")));
}

#[test]
fn an_environment_that_belongs_to_a_run_is_waited_for_and_what_it_changed_outdates_the_plan() {
    for when_busy in [WhenBusy::Skip, WhenBusy::QueueLatest, WhenBusy::Supersede] {
        let new = case("r-2", &waiting(queued(when_busy, "cd", None)), (5, 10));
        let claims = Busy::Claimed { environment: production(), run: of("r-1") };
        let active = case("r-1", &in_production(latest("ab")), (1, 12));
        assert_eq!(turn_of(&[active, new.clone()], 1, 20), Turn::Wait(claims));
        let done = case("r-1", &finished(latest("ab")), (1, 12));
        let much_later = 20_000;
        assert_eq!(turn_of(&[done, new], 1, much_later), Turn::Outdated(of("r-1")));
    }
}

#[test]
fn a_build_bakes_until_its_time_is_over_or_it_is_promoted() {
    let until = 4 + BAKED_FOR.as_secs() + LEFT_TO_PROMOTION.as_secs();
    let old = finished(latest("ab"));
    let baking = case("r-1", &old, (1, 4));
    let new = |when_busy, build| case("r-2", &waiting(queued(when_busy, build, None)), (5, 10));
    let all = [baking.clone(), new(WhenBusy::QueueLatest, "cd")];
    let Turn::Wait(bakes) = turn_of(&all, 1, until - 1) else { panic!("it does not wait") };
    let told = bakes.to_string();
    assert!(
        told.contains("of run r-1 bakes on production/canary until 1970-01-01 01:10"),
        "{told}"
    );
    assert_eq!(turn_of(&all, 1, until), Turn::Enter);
    let superseding = [baking.clone(), new(WhenBusy::Supersede, "cd")];
    assert_eq!(turn_of(&superseding, 1, 20), Turn::Enter);
    let same = [baking.clone(), new(WhenBusy::QueueLatest, "ab")];
    assert_eq!(turn_of(&same, 1, 20), Turn::Enter, "a build does not wait for itself");

    let mut truth = old.truth.clone();
    truth.pipeline = to_main(&truth.topology);
    truth.pipeline.stages.iter_mut().for_each(|stage| stage.approval = None);
    truth.pipeline.stages.retain(|stage| stage.number != 8);
    let promotion = World::new(truth);
    let [baking, new] = all;
    let begun = case("r-3", &promotion, (11, 12));
    let all = [baking.clone(), new.clone(), begun];
    assert!(matches!(turn_of(&all, 1, 20), Turn::Wait(Busy::Bakes { .. })));
    let done = case("r-3", &finished(promotion), (11, 12));
    let turn = turn_of(&[baking, new, done], 1, 20);
    assert!(!matches!(turn, Turn::Wait(_) | Turn::GiveWay(_)), "{turn:?}");
}

#[test]
fn a_run_that_goes_on_for_an_older_one_keeps_its_place() {
    let outdated = queued(WhenBusy::QueueLatest, "ab", None);
    let newer = waiting(latest("cd"));
    let again = waiting(queued(WhenBusy::QueueLatest, "ab", Some("r-1")));
    let all =
        [case("r-1", &outdated, (1, 2)), case("r-2", &newer, (3, 4)), case("r-3", &again, (5, 6))];
    assert_eq!(turn_of(&all, 2, 20), Turn::GiveWay(of("r-2")));
    assert_eq!(turn_of(&all, 1, 20), Turn::Enter);
}

#[test]
fn a_run_that_has_begun_nothing_leaves_it_to_the_claim() {
    let staging: EnvironmentName = of("staging");
    let mut active = latest("ab");
    active.until("it is there", |world| world.run.environments.contains_key(&staging));
    let known = [case("r-1", &active, (1, 2)).known, case("r-2", &latest("cd"), (3, 4)).known];
    let new = latest("cd").run;
    assert_eq!(turn((&of("r-2"), &new), &staging, &known, at(20)), Turn::Enter);
}

#[test]
fn what_is_in_no_queue_enters_whoever_waits() {
    let free = waiting(World::new(Installation::new(TEXT)));
    let newer = case("r-2", &waiting(latest("ab")), (3, 4));
    assert_eq!(turn_of(&[case("r-1", &free, (1, 2)), newer], 0, 20), Turn::Enter);
}

#[test]
fn a_new_run_is_told_what_is_busy() {
    let truth = Installation::new(TEXT);
    let told = |case: Case, now| {
        let place = (&truth.pipeline, &truth.topology);
        busy(place, &[case.known], BAKED_FOR, at(now)).map(|busy| busy.to_string())
    };
    let active = case("r-1", &in_production(latest("ab")), (1, 2));
    assert_eq!(told(active, 20).as_deref(), Some("production belongs to run r-1"));
    let waits = case("r-1", &waiting(latest("ab")), (1, 2));
    assert_eq!(told(waits, 20).as_deref(), Some("run r-1 waits for production"));
    let done = case("r-1", &finished(latest("ab")), (1, 2));
    assert!(told(done.clone(), 20).is_some_and(|told| told.contains("bakes on")));
    assert_eq!(told(done, 20_000), None);
    let mut given_up = in_production(latest("ab"));
    given_up.halt();
    given_up.until("halted", |world| matches!(world.run.status, serin_engine::Status::Halted(_)));
    let cancel = serin_engine::Command::Cancel { by: "ada".to_owned(), why: "so".to_owned() };
    given_up.input(serin_engine::Input::Command(cancel)).unwrap();
    given_up.drive();
    assert!(matches!(given_up.events.last(), Some(Event::EnvironmentLeft { .. })));
    assert_eq!(told(case("r-1", &given_up, (1, 2)), 20), None);
}
