//! What a halt does to the share of a fleet that proves a build with real traffic.

use crate::installation::{Installation, of, to_main};
use crate::world::{World, lost};
use serin_engine::decide::MAX_LOST;
use serin_engine::{Effect, Event, Input, Outcome, Run, Status, StepState};
use serin_model::{Action, Reason, StepId, Verdict};

const INSTALLATION: &str = "
production lb-01 lb-02
  main deploy-01 gitaly-01 web-01..03
  canary web-cny-01
";

/// A world in which the build is on the canary, and begins to go on to main.
fn promoted() -> World {
    let mut first = World::new(Installation::new(INSTALLATION));
    first.drive();
    let mut truth = first.truth;
    truth.pipeline = to_main(&truth.topology);
    truth.pipeline.stages.iter_mut().for_each(|stage| stage.approval = None);
    World::new(truth)
}

pub(crate) fn step(run: &Run, wanted: impl Fn(&Action) -> bool) -> StepId {
    let mut steps = run.plan.steps();
    steps.find(|(_, _, step)| wanted(&step.action)).unwrap().2.id.clone()
}

pub(crate) fn exposes(action: &Action) -> bool {
    matches!(action, Action::Expose { .. })
}

fn gives(action: &Action) -> bool {
    matches!(action, Action::SetShare { percent: 1.., .. })
}

pub(crate) fn exposing() -> World {
    let mut world = promoted();
    let expose = step(&world.run, exposes);
    world.until("it is exposed", |world| world.run.in_flight(&expose));
    world
}

/// A world whose exposure has passed, in the first moment of something later.
fn exposed(then: impl Fn(&World) -> bool) -> World {
    let mut world = promoted();
    let expose = step(&world.run, exposes);
    world.until("it is past the exposure", |world| world.run.is_done(&expose) && then(world));
    world
}

fn alarm(world: &mut World) {
    let verdict = Verdict::Fail(Reason::AlertsFiring(vec!["ErrorRate".to_owned()]));
    let environment = of("production");
    world.alerts.insert(world.now.as_millis(), verdict.clone());
    world.input(Input::Alerts { environment, verdict }).unwrap();
}

fn calm(world: &mut World) {
    world.alerts.insert(world.now.as_millis(), Verdict::Pass);
}

pub(crate) fn until_halted(world: &mut World) {
    world.until("it has halted", |world| matches!(world.run.status, Status::Halted(_)));
}

fn withdrawals(world: &World) -> usize {
    world.begun.iter().filter(|effect| matches!(effect, Effect::Withdraw { .. })).count()
}

fn begun_anew(mut world: World) {
    let (set, expose) = (step(&world.run, gives), step(&world.run, exposes));
    let before = [world.run.attempts(&set), world.run.attempts(&expose)];
    calm(&mut world);
    world.resume();
    assert_eq!(world.run.withdrawal, None);
    assert_eq!(*world.run.state(&expose), StepState::Pending);
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    assert_eq!([world.run.attempts(&set), world.run.attempts(&expose)], before.map(|n| n + 1));
    let began = |id: &StepId| {
        world
            .events
            .iter()
            .rposition(|event| matches!(event, Event::AttemptStarted { step, .. } if step == id))
    };
    let guard = step(&world.run, |action| *action == Action::Guard);
    let guard = world
        .run
        .plan
        .steps()
        .map(|(_, _, step)| &step.id)
        .find(|id| id.as_str().ends_with("guard.exposed") && **id != guard);
    assert!(began(guard.unwrap()) > began(&expose), "the guard after it is asked again");
    assert_eq!(Run::replay(&world.events).unwrap(), world.run);
}

#[test]
fn a_halt_in_an_exposure_takes_the_share_away_whoever_wants_it_and_the_exposure_begins_anew() {
    for ask in [World::halt, alarm] {
        let mut world = exposing();
        ask(&mut world);
        assert!(matches!(world.run.status, Status::Halting(_)), "not halted before it is gone");
        until_halted(&mut world);
        assert_eq!(withdrawals(&world), 1);
        let known = world.run.withdrawal.as_ref().unwrap();
        assert_eq!(known.state, StepState::Done("by weight".to_owned()));
        begun_anew(world);
    }
}

#[test]
fn a_halt_before_an_exposure_has_nothing_to_take_away() {
    let mut world = promoted();
    world.until("it is fenced", |world| !world.acts().is_empty());
    alarm(&mut world);
    until_halted(&mut world);
    assert_eq!((withdrawals(&world), &world.run.withdrawal), (0, &None));
}

#[test]
fn a_persons_halt_after_a_passed_exposure_leaves_the_share_and_an_alert_takes_it() {
    let checks = step(&promoted().run, |action| matches!(action, Action::Fetch));
    let mut world = exposed(|world| world.run.in_flight(&checks));
    world.halt();
    until_halted(&mut world);
    assert_eq!(withdrawals(&world), 0);
    let expose = step(&world.run, exposes);
    world.resume();
    assert!(world.run.is_done(&expose));
    world.drive();
    assert_eq!(world.run.status, Status::Finished);

    let mut world = exposed(|world| world.run.in_flight(&checks));
    alarm(&mut world);
    until_halted(&mut world);
    assert_eq!(withdrawals(&world), 1);
    begun_anew(world);
}

#[test]
fn an_alert_while_the_first_host_drains_takes_the_share_and_the_host_goes_back() {
    let drain = step(&promoted().run, |action| *action == Action::Drain);
    let mut world = exposed(|world| world.run.in_flight(&drain));
    alarm(&mut world);
    until_halted(&mut world);
    assert_eq!((withdrawals(&world), world.drained()), (1, Vec::new()));
    begun_anew(world);
}

#[test]
fn once_a_host_that_serves_may_have_the_build_the_share_stays() {
    let truth = Installation::new(INSTALLATION);
    let activate = step(&promoted().run, |action| *action == Action::Activate);
    let mut world = exposed(|world| world.run.in_flight(&activate));
    alarm(&mut world);
    until_halted(&mut world);
    assert_eq!(withdrawals(&world), 0);
    assert_ne!(world.truth.observed, truth.observed);
}

#[test]
fn a_load_balancer_that_does_not_answer_is_asked_again_and_named_in_the_end() {
    let mut world = exposing();
    world.withdrawals = [lost(), lost()].into();
    world.halt();
    let began = world.now;
    until_halted(&mut world);
    assert_eq!(withdrawals(&world), 3);
    assert!(world.now > began, "it waits in between");
    assert!(matches!(world.run.withdrawal.as_ref().unwrap().state, StepState::Done(_)));

    let mut world = exposing();
    world.withdrawals = (0..MAX_LOST).map(|_| lost()).collect();
    world.halt();
    until_halted(&mut world);
    let Outcome::Lost(reason) = lost() else { panic!("it is lost") };
    assert_eq!(world.run.withdrawal.as_ref().unwrap().state, StepState::Failed(reason));
    begun_anew(world);
}

#[test]
fn a_share_that_is_being_given_when_its_process_dies_is_taken_and_not_given() {
    let mut world = promoted();
    let set = step(&world.run, gives);
    world.until("it is being given", |world| world.run.in_flight(&set));
    world.halt();
    world.input(Input::Tick).unwrap();
    assert_eq!(withdrawals(&world), 0, "while it is being given nobody takes it");
    world.adopt(2);
    until_halted(&mut world);
    assert_eq!((withdrawals(&world), world.run.attempts(&set)), (1, 1));
    begun_anew(world);
}

#[test]
fn a_crash_after_any_record_of_a_withdrawal_ends_the_same() {
    let mut world = exposing();
    world.withdrawals = [lost()].into();
    world.halt();
    let mut moments = vec![world.clone()];
    while !matches!(world.run.status, Status::Halted(_)) {
        world.turn();
        moments.push(world.clone());
    }
    for mut moment in moments {
        // It died after an attempt's beginning as well.
        for dies_in_the_middle in [false, true] {
            let began = dies_in_the_middle.then(|| moment.input(Input::Withdraw));
            if began.is_some_and(|began| began.is_err()) {
                continue;
            }
            let mut world = moment.clone();
            world.adopt(world.run.term + 1);
            until_halted(&mut world);
            let known = world.run.withdrawal.as_ref().unwrap();
            assert!(matches!(known.state, StepState::Done(_)), "{:?}", known.state);
            begun_anew(world);
        }
    }
}

#[test]
fn where_the_fence_cannot_be_raised_the_halt_is_complete_all_the_same() {
    let mut world = exposing();
    world.halt();
    world.adopt(2);
    let why = "its socket is silent".to_owned();
    let reason = Reason::Unreachable { host: of("lb-01.production"), why };
    world.input(Input::Problem(reason.clone())).unwrap();
    until_halted(&mut world);
    assert_eq!(world.run.withdrawal.as_ref().unwrap().state, StepState::Failed(reason));
}
