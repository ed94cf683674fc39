//! Holds, overrides and shares: what an environment's stream makes of them, and what they do to a run.

use crate::world::{World, id, web_fleet};
use serin_engine::environment::{
    Ask, Asked, Asking, Canary, EnvironmentEvent, EnvironmentState, Override, Ramp, Refused,
    changes, decide_environment,
};
use serin_engine::{Input, Status, StepState};
use serin_model::{Held, HeldBy, HoldId, MidRun, Overriding, Reason, Timestamp};
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn state() -> EnvironmentState {
    EnvironmentState::new("staging".parse().unwrap())
}

fn asking(ask: Ask) -> Asking {
    Asking { by: "mira".to_owned(), why: "patching".to_owned(), ask }
}

/// Asks, takes in what is to be recorded, and returns it.
fn ask(state: &mut EnvironmentState, ask: Ask) -> Result<Vec<EnvironmentEvent>, Refused> {
    ask_at(state, ask, NOW)
}

fn ask_at(
    state: &mut EnvironmentState,
    ask: Ask,
    now: Timestamp,
) -> Result<Vec<EnvironmentEvent>, Refused> {
    let decided = decide_environment(state, asking(ask), now);
    let attempted = matches!(decided.events.first(), Some(EnvironmentEvent::Attempted { .. }));
    assert!(attempted, "the attempt comes first: {:?}", decided.events);
    for event in &decided.events {
        state.apply(event).unwrap();
    }
    decided.refused.map_or(Ok(decided.events), Err)
}

fn place(until: Option<Timestamp>) -> Ask {
    Ask::PlaceHold { fleet: None, until, mid_run: MidRun::NextStage }
}

fn held(mid_run: MidRun, fleet: Option<&str>) -> Vec<Held> {
    vec![Held {
        environment: "staging".parse().unwrap(),
        fleet: fleet.map(|fleet| fleet.parse().unwrap()),
        by: HeldBy::Hold(HoldId(1)),
        owner: "mira".to_owned(),
        reason: "patching".to_owned(),
        until: None,
        mid_run,
    }]
}

fn start(run: Option<&str>, over: Option<Override>) -> Ask {
    Ask::StartRun {
        run: run.map(|run| run.parse().unwrap()),
        pipeline: "to-canary".parse().unwrap(),
        version: "16.2.0-ee.0".parse().unwrap(),
        held: held(MidRun::Halt, None),
        over,
    }
}

#[test]
fn a_hold_is_on_until_it_ends_or_is_lifted() {
    let mut state = state();
    ask(&mut state, place(None)).unwrap();
    ask(&mut state, place(Some(NOW.plus(Duration::from_mins(1))))).unwrap();
    let on = |state: &EnvironmentState, after| {
        let held = state.held(&[], NOW.plus(Duration::from_secs(after)));
        held.into_iter().map(|held| held.by).collect::<Vec<_>>()
    };
    assert_eq!(on(&state, 59), [HeldBy::Hold(HoldId(1)), HeldBy::Hold(HoldId(2))]);
    assert_eq!(on(&state, 60), [HeldBy::Hold(HoldId(1))]);
    ask(&mut state, Ask::LiftHold(HoldId(1))).unwrap();
    assert_eq!(on(&state, 60), []);
}

#[test]
fn every_attempt_is_recorded_also_one_that_is_refused() {
    let mut state = state();
    for (what, why) in [
        (Ask::LiftHold(HoldId(1)), Refused::NoSuchHold(HoldId(1))),
        (place(Some(NOW)), Refused::EndsInThePast),
        (start(None, None), Refused::Held(held(MidRun::Halt, None))),
    ] {
        let events = decide_environment(&state, asking(what), NOW).events;
        assert_eq!(events[1..], [EnvironmentEvent::Refused { why }]);
        for event in &events {
            state.apply(event).unwrap();
        }
    }
    ask(&mut state, place(None)).unwrap();
    ask(&mut state, Ask::LiftHold(HoldId(1))).unwrap();
    let refused = ask(&mut state, Ask::LiftHold(HoldId(1))).unwrap_err();
    assert_eq!(refused, Refused::NotOn(HoldId(1)));
}

#[test]
fn nothing_is_done_without_a_reason() {
    let asking = Asking { why: " ".to_owned(), ..asking(place(None)) };
    let decided = decide_environment(&state(), asking, NOW);
    assert_eq!(decided.refused, Some(Refused::NoReason));
    assert_eq!(decided.events.len(), 2);
}

#[test]
fn an_override_lets_its_own_run_through_what_was_on_and_nothing_else() {
    let mut state = state();
    ask(&mut state, place(None)).unwrap();
    let one = Override { needs: Overriding::OnePerson, second: None };
    let events = ask(&mut state, start(Some("r-7"), Some(one))).unwrap();
    let what = Asked::StartRun {
        pipeline: "to-canary".parse().unwrap(),
        version: "16.2.0-ee.0".parse().unwrap(),
    };
    assert!(matches!(&events[0], EnvironmentEvent::Attempted { what: w, .. } if *w == what));
    let run = |id: &str| id.parse().unwrap();
    assert_eq!(state.held_for(&run("r-7"), &[], NOW), []);
    assert_eq!(state.held_for(&run("r-8"), &[], NOW).len(), 1);
    ask(&mut state, place(None)).unwrap();
    let left = state.held_for(&run("r-7"), &[], NOW);
    assert_eq!(left.len(), 1, "a hold that came later is not overridden");
    assert_eq!(left[0].by, HeldBy::Hold(HoldId(2)));
}

#[test]
fn a_second_person_is_somebody_else() {
    let over = |needs, second: Option<&str>| {
        let over = Override { needs, second: second.map(str::to_owned) };
        ask(&mut state(), start(Some("r-7"), Some(over))).map(|events| events.len())
    };
    let (one, two) = (Overriding::OnePerson, Overriding::SecondPerson);
    assert_eq!(over(one, None), Ok(2));
    assert_eq!(over(two, None), Err(Refused::SecondPersonMissing));
    assert_eq!(over(two, Some("  ")), Err(Refused::SecondPersonMissing));
    assert_eq!(over(two, Some("Mira ")), Err(Refused::SecondPersonIsTheSame("mira".to_owned())));
    assert_eq!(over(two, Some("ada")), Ok(2));
}

#[test]
fn a_share_goes_in_steps_of_ten_seconds_and_one_percent_and_arrives_in_time() {
    let ramp = |from, to, secs| Ramp { from, to, begins: NOW, length: Duration::from_secs(secs) };
    let walk = |ramp: Ramp| {
        let mut steps = vec![(0, ramp.at(NOW))];
        let mut now = NOW;
        while let Some(next) = ramp.next_change(now) {
            assert!(next > now);
            now = next;
            steps.push((now.since(NOW).as_secs(), ramp.at(now)));
        }
        steps
    };
    assert_eq!(walk(ramp(0, 5, 600)), [(0, 0), (120, 1), (240, 2), (360, 3), (480, 4), (600, 5)]);
    assert_eq!(walk(ramp(0, 100, 40)), [(0, 0), (10, 25), (20, 50), (30, 75), (40, 100)]);
    assert_eq!(walk(ramp(5, 0, 20)), [(0, 5), (10, 3), (20, 0)]);
    assert_eq!(walk(ramp(0, 50, 5)), [(0, 0), (5, 50)]);
    assert_eq!(walk(ramp(7, 7, 600)), [(0, 7)]);
    assert_eq!(walk(Ramp::at_once(9, NOW)), [(0, 9)]);
    assert_eq!(ramp(0, 5, 600).at(NOW.plus(Duration::from_hours(9))), 5);
}

#[test]
fn a_share_that_makes_no_sense_is_refused_and_a_ramp_that_is_under_way_goes_on() {
    let mut state = state();
    let share = |percent, over, canary| Ask::SetShare {
        fleet: "canary".parse().unwrap(),
        percent,
        over: Duration::from_secs(over),
        canary,
    };
    let seen = Ok(Canary { percent: 2 });
    assert_eq!(ask(&mut state, share(101, 0, seen.clone())), Err(Refused::TooMuch(101)));
    assert_eq!(ask(&mut state, share(300, 0, seen.clone())), Err(Refused::TooMuch(300)));
    let main = Refused::NotACanary("main".parse().unwrap());
    assert_eq!(ask(&mut state, share(5, 0, Err(main.clone()))), Err(main));
    assert_eq!(state.shares.len(), 0);

    ask(&mut state, share(5, 600, seen.clone())).unwrap();
    let first = state.shares.first_key_value().unwrap().1.ramp;
    assert_eq!((first.from, first.to), (2, 5));
    let later = NOW.plus(Duration::from_mins(5));
    let events = ask_at(&mut state, share(5, 600, seen.clone()), later).unwrap();
    assert_eq!(events.len(), 1, "only the attempt: {events:?}");
    assert_eq!(state.shares.first_key_value().unwrap().1.ramp, first);
    ask_at(&mut state, share(5, 0, seen), later).unwrap();
    assert_eq!(state.shares.first_key_value().unwrap().1.ramp, Ramp::at_once(5, later));
}

#[test]
fn what_cannot_follow_is_illegal() {
    let mut state = state();
    let lifted = EnvironmentEvent::HoldLifted {
        id: HoldId(1),
        by: "mira".to_owned(),
        why: "done".to_owned(),
    };
    assert!(state.apply(&lifted).is_err());
    let placed = |id| EnvironmentEvent::HoldPlaced {
        id: HoldId(id),
        fleet: None,
        reason: "x".to_owned(),
        by: "mira".to_owned(),
        until: None,
        mid_run: MidRun::Halt,
        patch: None,
    };
    assert!(state.apply(&placed(2)).is_err());
    state.apply(&placed(1)).unwrap();
    assert!(state.apply(&placed(1)).is_err());
    state.apply(&lifted).unwrap();
    assert!(state.apply(&lifted).is_err());
    assert_eq!(state.holds.len(), 1);
}

fn read(world: &mut World, held: Vec<Held>) {
    let environment = "staging".parse().unwrap();
    world.input(Input::Held { environment, held }).unwrap();
}

fn reason(world: &World) -> Option<&Reason> {
    match &world.run.status {
        Status::Halting(reason) | Status::Halted(reason) => Some(reason),
        Status::Running | Status::Finished | Status::Cancelled { .. } => None,
    }
}

fn entered() -> World {
    let mut world = web_fleet("web-01..02", "1");
    world.until("it is entered", |world| !world.run.environments.is_empty());
    world
}

#[test]
fn a_guard_fails_while_a_hold_is_on() {
    let mut world = entered();
    read(&mut world, held(MidRun::NextStage, None));
    world.drive();
    assert!(matches!(world.run.status, Status::Halted(Reason::Held(_))), "{:?}", world.run.status);
    let guard = id(&world.run, "3/staging/guard");
    assert!(matches!(world.run.state(&guard), StepState::Failed(Reason::Held(_))));
    assert!(world.acted.is_empty());

    world.resume();
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
}

#[test]
fn a_hold_of_another_fleet_or_environment_is_no_concern() {
    let mut world = entered();
    let mut elsewhere = held(MidRun::Halt, None);
    elsewhere[0].environment = "production".parse().unwrap();
    elsewhere.extend(held(MidRun::Halt, Some("canary")));
    read(&mut world, elsewhere);
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
}

#[test]
fn a_hold_in_mid_run_halts_at_once_only_if_it_says_so() {
    let begun = |world: &World| world.run.slots().count() > 0;
    let mut world = entered();
    world.until("a host is out", begun);
    read(&mut world, held(MidRun::NextStage, Some("main")));
    assert_eq!(world.run.status, Status::Running);
    read(&mut world, held(MidRun::Halt, Some("main")));
    assert!(matches!(reason(&world), Some(Reason::Held(_))), "{:?}", world.run.status);
    world.drive();
    assert_eq!(world.run.out_of_service(), []);
    world.resume();
    world.until("it is there again", |world| !world.acts().is_empty());
    read(&mut world, held(MidRun::Halt, Some("main")));
    assert!(matches!(reason(&world), Some(Reason::Held(_))), "it is still on");
}

#[test]
fn a_reading_of_holds_is_recorded_only_when_it_is_another() {
    let mut world = entered();
    let before = world.events.len();
    read(&mut world, Vec::new());
    assert_eq!(world.events.len(), before);
    read(&mut world, held(MidRun::NextStage, None));
    read(&mut world, held(MidRun::NextStage, None));
    assert_eq!(world.events.len(), before + 1);
}

#[test]
fn a_fleet_is_being_changed_from_the_first_act_of_a_stage_to_its_end() {
    let (staging, main) = ("staging".parse().unwrap(), "main".parse().unwrap());
    let mut world = entered();
    assert!(!changes(&world.run, &staging, &main));
    world.until("a host is out", |world| world.run.slots().count() > 0);
    assert!(changes(&world.run, &staging, &main));
    assert!(!changes(&world.run, &staging, &"canary".parse().unwrap()));
    assert!(!changes(&world.run, &"production".parse().unwrap(), &main));
    world.halt();
    world.drive();
    assert!(changes(&world.run, &staging, &main), "a halted run has not let go");
    world.resume();
    world.drive();
    assert!(!changes(&world.run, &staging, &main));
}
