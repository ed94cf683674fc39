//! Halting: nothing new begins, hosts in the middle come to safety, and every host that is out is named.

use crate::world::{World, failed, id, lost, web_fleet};
use serin_engine::{Command, Input, Mode, Refusal, Status, StepState};
use serin_model::Reason;

fn out(world: &World) -> Vec<String> {
    let out = world.run.out_of_service().into_iter();
    out.map(|o| format!("{} {} {}", o.host, o.why, if o.changed { "changed" } else { "" }))
        .collect()
}

fn until_in_flight(world: &mut World, step: &str) {
    let step = id(&world.run, step);
    world.until(step.as_str(), |world| world.run.in_flight(&step));
}

#[test]
fn an_untouched_host_goes_straight_back() {
    let mut world = web_fleet("web-01..04", "1");
    until_in_flight(&mut world, "3/web-01.staging/drain");
    world.halt();
    world.drive();
    assert!(matches!(world.run.status, Status::Halted(Reason::Person { .. })));
    let attempts = world.attempts();
    let last: Vec<&str> = attempts.iter().rev().take(2).rev().map(String::as_str).collect();
    assert_eq!(last, ["3/web-01.staging/drain", "3/web-01.staging/ready"]);
    assert_eq!(world.drained(), [""; 0]);
    assert_eq!(world.run.out_of_service(), []);
    // It is as if it had never been out: resuming takes it out again, and through.
    world.resume();
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    assert_eq!(world.acted.len(), 4);
}

#[test]
fn a_changed_host_finishes_its_lane_and_no_other_begins() {
    let mut world = web_fleet("web-01..04", "1");
    until_in_flight(&mut world, "3/web-01.staging/install");
    world.halt();
    world.drive();
    assert!(matches!(world.run.status, Status::Halted(_)));
    assert_eq!(*world.state("3/web-01.staging/ready"), StepState::Done("seen".to_owned()));
    assert!(!world.attempts().contains(&"3/web-02.staging/drain".to_owned()));
    assert_eq!(world.drained(), [""; 0]);
}

#[test]
fn the_first_failure_stops_every_host_that_has_not_begun_and_the_sick_one_is_named() {
    let mut world = web_fleet("web-01..10", "3");
    world.script("3/web-02.staging/activate", [failed("puma dies after 5 s")]);
    world.drive();
    let Status::Halted(reason) = &world.run.status else { panic!("{:?}", world.run.status) };
    assert_eq!(
        reason.to_string(),
        "activate on web-02.staging: QA gave no result: puma dies after 5 s"
    );
    let drains = world.attempts().iter().filter(|step| step.ends_with("/drain")).count();
    assert_eq!(drains, 3, "only the hosts that were out already");
    assert_eq!(
        out(&world),
        ["web-02.staging activate: QA gave no result: puma dies after 5 s changed"]
    );
    assert_eq!(world.drained(), ["web-02.staging"], "what is out is what is named");
}

#[test]
fn a_drain_that_fails_puts_its_host_back() {
    let mut world = web_fleet("web-01..04", "1");
    world.script("3/web-01.staging/drain", [failed("sessions are left")]);
    world.drive();
    assert!(matches!(world.run.status, Status::Halted(_)));
    assert_eq!(world.drained(), [""; 0]);
    assert_eq!(world.run.out_of_service(), []);
}

#[test]
fn a_host_that_cannot_be_put_back_is_named_and_a_second_halt_still_names_it() {
    let mut world = web_fleet("web-01..04", "1");
    world.script("3/web-01.staging/drain", [failed("sessions are left")]);
    world.script("3/web-01.staging/ready", [failed("no such server")]);
    world.drive();
    assert_eq!(world.run.out_of_service().len(), 1);
    assert_eq!(world.drained(), ["web-01.staging"]);
    // Halted again before the drain is tried again: the host is still out, so it is put back.
    world.resume();
    world.halt();
    assert_eq!(out(&world), ["web-01.staging in the middle: drain comes next "]);
    world.drive();
    assert!(matches!(world.run.status, Status::Halted(_)));
    assert_eq!((world.drained(), world.run.out_of_service()), (vec![], vec![]));
}

#[test]
fn a_host_on_its_way_back_gets_there_before_it_is_taken_out_again() {
    for drain in [lost(), serin_engine::Outcome::Done("no session".to_owned())] {
        let mut world = web_fleet("web-01..04", "1");
        until_in_flight(&mut world, "3/web-01.staging/drain");
        world.script("3/web-01.staging/drain", [drain]);
        world.script("3/web-01.staging/ready", [failed("lb-01 is away")]);
        world.halt();
        world.drive();
        assert_eq!(world.run.out_of_service().len(), 1);
        let before = world.attempts().len();
        world.resume();
        world.drive();
        let attempts = world.attempts();
        let of_host = attempts[before..].iter().filter(|step| step.contains("web-01.staging/"));
        let next: Vec<&str> = of_host.take(2).map(String::as_str).collect();
        assert_eq!(next, ["3/web-01.staging/ready", "3/web-01.staging/drain"]);
        assert_eq!((&world.run.status, world.peak["main/web"]), (&Status::Finished, 1));
    }
}

#[test]
fn a_halt_puts_a_host_back_whose_drain_is_in_doubt() {
    let mut world = web_fleet("web-01..04", "1");
    until_in_flight(&mut world, "3/web-01.staging/drain");
    world.adopt(2);
    world.halt();
    world.drive();
    let last = world.attempts().pop().unwrap();
    assert_eq!(last, "3/web-01.staging/ready");
    assert_eq!((world.drained(), world.run.out_of_service()), (vec![], vec![]));
}

#[test]
fn a_return_that_is_lost_is_tried_again_and_the_drain_is_not() {
    let mut world = web_fleet("web-01..04", "1");
    until_in_flight(&mut world, "3/web-01.staging/drain");
    world.script("3/web-01.staging/drain", [lost()]);
    world.script("3/web-01.staging/ready", [lost(), lost()]);
    world.halt();
    world.drive();
    let attempts = world.attempts();
    let of = |step: &str| attempts.iter().filter(|known| known.ends_with(step)).count();
    assert_eq!((of("/drain"), of("/ready")), (1, 3));
    assert_eq!(world.drained(), [""; 0]);
}

#[test]
fn a_halt_does_not_repeat_qa_or_fetches_whose_end_nobody_saw() {
    for step in ["3/staging/qa.smoke", "3/web-01.staging/fetch", "3/web-01.staging/check"] {
        let mut world = web_fleet("web-01..02", "1");
        until_in_flight(&mut world, step);
        let before = world.attempts().len();
        world.adopt(2);
        world.halt();
        world.drive();
        assert!(matches!(world.run.status, Status::Halted(_)), "{step}");
        assert_eq!(world.attempts().len(), before, "{step}");
        // It stays in doubt: resuming looks at it again.
        world.resume();
        world.until("it is due", |world| world.acts().contains(&(step.to_owned(), Mode::InDoubt)));
    }
}

#[test]
fn a_halt_settles_an_install_that_may_be_half_done() {
    let mut world = web_fleet("web-01..02", "1");
    until_in_flight(&mut world, "3/web-01.staging/install");
    world.adopt(2);
    world.halt();
    world.drive();
    assert_eq!(world.run.attempts(&id(&world.run, "3/web-01.staging/install")), 2);
    assert_eq!(world.drained(), [""; 0]);
}

#[test]
fn a_halt_is_never_downgraded() {
    let mut world = web_fleet("web-01..02", "1");
    until_in_flight(&mut world, "3/web-01.staging/install");
    world.input(Input::Problem(Reason::QaBroken("first".to_owned()))).unwrap();
    let events = world.events.len();
    world.halt();
    world.input(Input::Problem(Reason::Interrupted)).unwrap();
    assert_eq!(world.events.len(), events, "a second reason is not recorded");
    world.drive();
    world.halt();
    assert_eq!(world.run.status, Status::Halted(Reason::QaBroken("first".to_owned())));
}

#[test]
fn halted_means_that_nothing_is_in_flight_and_nothing_is_due() {
    let steps: Vec<String> = {
        let world = web_fleet("web-01..02", "1");
        world.run.plan.steps().map(|(_, _, step)| step.id.to_string()).collect()
    };
    for step in steps {
        let mut world = web_fleet("web-01..02", "1");
        until_in_flight(&mut world, &step);
        world.halt();
        world.drive();
        assert!(matches!(world.run.status, Status::Halted(_)), "{step}");
        assert!(world.in_flight.is_empty(), "{step}");
        assert_eq!(world.due(), serin_engine::Due::default(), "{step}");
        assert_eq!(world.drained(), [""; 0], "{step}");
        world.resume();
        world.drive();
        assert_eq!(world.run.status, Status::Finished, "{step}");
    }
}

#[test]
fn resuming_tries_what_failed_again_and_looks_first_at_what_is_unknown() {
    let mut world = web_fleet("web-01..02", "1");
    world.script("3/web-01.staging/install", [failed("disk full")]);
    world.drive();
    assert!(matches!(world.state("3/web-01.staging/install"), StepState::Failed(_)));
    world.resume();
    assert_eq!(*world.state("3/web-01.staging/install"), StepState::Pending);
    world.drive();
    assert_eq!(world.run.status, Status::Finished);

    let mut world = web_fleet("web-01..02", "1");
    let unknown = serin_engine::Outcome::Unknown(Reason::OutcomeUnknown("it ran".to_owned()));
    world.script("3/web-01.staging/install", [unknown]);
    world.drive();
    assert!(matches!(world.state("3/web-01.staging/install"), StepState::Unknown(_)));
    world.resume();
    world.until("it is looked at", |world| !world.acts().is_empty());
    assert_eq!(world.acts(), [("3/web-01.staging/install".to_owned(), Mode::InDoubt)]);
}

#[test]
fn only_a_halted_run_is_cancelled_and_then_nothing_but_leaving_happens() {
    let cancel =
        || Input::Command(Command::Cancel { by: "ada".to_owned(), why: "bad build".to_owned() });
    let mut world = web_fleet("web-01..02", "1");
    assert_eq!(world.input(cancel()), Err(Refusal::HaltFirst));
    until_in_flight(&mut world, "3/web-01.staging/install");
    world.halt();
    assert_eq!(world.input(cancel()), Err(Refusal::HaltFirst));
    world.drive();
    let attempts = world.attempts().len();
    world.input(cancel()).unwrap();
    world.drive();
    assert!(matches!(world.run.status, Status::Cancelled { .. }));
    assert!(world.run.environments.is_empty());
    assert_eq!(world.attempts().len(), attempts);
    assert_eq!(world.input(cancel()), Err(Refusal::Over));
}
