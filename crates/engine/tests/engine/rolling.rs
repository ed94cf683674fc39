//! Rolling: a window that slides, never wider than the budget, and never over the last server.

use crate::installation::{Installation, of};
use crate::world::{World, id, web_fleet};
use serin_engine::{Effect, Mode, NotAdmitted, Status};
use serin_model::{AdminState, HostName};

fn deploy_begins(world: &mut World) {
    world.until("the deploy begins", |world| {
        world.run.slots().count() > 0 || !world.due().waiting.is_empty()
    });
}

#[test]
fn fifty_hosts_are_never_out_beyond_the_budget_and_all_of_it_is_used() {
    let mut world = web_fleet("web-01..50", "20%");
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    assert_eq!(world.peak["main/web"], 10);
    assert_eq!(world.acted.len(), 50);
}

#[test]
fn hosts_that_are_down_for_other_reasons_count() {
    let mut world = web_fleet("web-01..50", "20%");
    world.dead = ["web-01.staging", "web-17.staging", "web-50.staging"].map(of).into();
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    assert_eq!(world.peak["main/web"], 10, "dead hosts included");
}

#[test]
fn a_host_that_dies_in_the_middle_narrows_the_window() {
    let mut world = web_fleet("web-01..10", "2");
    world.until("the deploy runs", |world| world.run.slots().count() == 2);
    world.dead.insert(of("web-10.staging"));
    world.read_lbs(&of("staging"));
    world.until("one host comes back", |world| world.run.slots().count() == 1);
    assert!(world.acts().iter().all(|(step, _)| !step.ends_with("drain")), "{:?}", world.acts());
}

#[test]
fn the_window_slides_as_one_comes_back_the_next_one_leaves() {
    let mut world = web_fleet("web-01..04", "2");
    // web-01 is slow: the others must not wait for its batch.
    let steps = world.run.plan.steps().count();
    let install = id(&world.run, "3/web-01.staging/install");
    world.until("the deploy runs", |w| w.run.in_flight(&install));
    for task in &mut world.in_flight {
        if task.1 == install {
            task.0 = task.0.plus(std::time::Duration::from_hours(1));
        }
    }
    let last = id(&world.run, "3/web-04.staging/ready");
    world.until("the last host is back", |world| world.run.is_done(&last));
    assert!(world.run.in_flight(&install), "web-01 is still at it");
    assert!(steps > 0);
}

#[test]
fn one_host_is_admitted_a_call_and_the_next_only_when_it_shows() {
    let mut world = web_fleet("web-01..10", "5");
    deploy_begins(&mut world);
    world.until("a fresh reading", |world| !world.acts().is_empty());
    for _ in 0..4 {
        let drains = world.acts();
        let drains: Vec<_> = drains.iter().filter(|(step, _)| step.ends_with("drain")).collect();
        assert!(drains.len() <= 1, "{drains:?}");
        assert_eq!(world.acts(), world.acts(), "asking changes nothing");
        world.turn();
    }
}

/// Two hosts are being drained when their process dies, and people put both back.
fn two_drains_in_doubt() -> World {
    let mut world = web_fleet("web-01..03", "2");
    world.until("two hosts are out", |world| world.run.slots().count() == 2);
    world.adopt(2);
    world.truth.set_admin(&of("web-01.staging"), AdminState::Ready);
    world.truth.set_admin(&of("web-02.staging"), AdminState::Ready);
    world
}

#[test]
fn a_drain_in_doubt_is_admitted_anew_and_done_again() {
    let mut world = two_drains_in_doubt();
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    let ready =
        |host: &str| world.attempts().iter().filter(|s| **s == format!("3/{host}/ready")).count();
    assert_eq!((ready("web-01.staging"), ready("web-02.staging")), (1, 1), "nobody went back");
}

#[test]
fn hosts_whose_drains_are_in_doubt_go_back_where_not_all_may_be_out_now() {
    let mut world = two_drains_in_doubt();
    world.dead.insert(of("web-03.staging"));
    let begun = world.attempts().len();
    world.until("two acts have begun", |world| world.attempts().len() == begun + 2);
    let steps = world.attempts().split_off(begun);
    assert_eq!(steps, ["3/web-01.staging/ready", "3/web-02.staging/ready"]);
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    assert_eq!(world.peak["main/web"], 2, "never all three: web-03 is dead");
}

#[test]
fn a_drain_in_doubt_waits_for_a_reading() {
    let mut world = two_drains_in_doubt();
    world.blind_from = Some(world.now);
    world.until("somebody waits", |world| !world.due().waiting.is_empty());
    let waiting: Vec<String> =
        world.due().waiting.iter().map(|(h, w)| format!("{h} {w}")).collect();
    assert_eq!(
        waiting,
        ["web-01.staging", "web-02.staging", "web-03.staging"]
            .map(|host| format!("{host} waits for a fresh reading of lb-01"))
    );
    assert_eq!(world.acts(), []);
}

#[test]
fn a_reading_that_is_old_admits_nobody() {
    let mut world = web_fleet("web-01..10", "1");
    deploy_begins(&mut world);
    world.until("one is out", |world| world.run.slots().count() == 1);
    world.blind_from = Some(world.now);
    world.until("it is back", |world| world.run.slots().count() == 0);
    assert!(world.acts().is_empty());
    let waiting = world.due().waiting;
    assert_eq!(waiting.len(), 9);
    assert_eq!(waiting[0].1, NotAdmitted::Stale(of("lb-01")));
    assert_eq!(waiting[0].1.to_string(), "waits for a fresh reading of lb-01");
}

#[test]
fn who_waits_for_the_budget_is_told_who_is_out() {
    let mut world = web_fleet("web-01..03", "1");
    world.until("one is out", |world| world.run.slots().count() == 1);
    let waiting: Vec<String> =
        world.due().waiting.iter().map(|(host, why)| format!("{host} {why}")).collect();
    let why = "waits: 1 host(s) of role web may be out, and web-01.staging is out";
    assert_eq!(waiting, [format!("web-02.staging {why}"), format!("web-03.staging {why}")]);
}

#[test]
fn the_last_server_that_is_up_is_never_drained() {
    let mut world = web_fleet("web-01..02", "2");
    world.dead.insert(of("web-02.staging"));
    // The dead host goes through; the other one must wait for it, and it never comes back.
    let last = id(&world.run, "3/web-02.staging/ready");
    world.until("the dead host is through", |world| world.run.is_done(&last));
    let waiting = world.due().waiting;
    assert_eq!(waiting.len(), 1);
    let why = waiting[0].1.to_string();
    assert_eq!(why, "waits: lb-01:web/web-01 is the last server of its backend that is UP");
    assert_eq!(world.peak["main/web"], 1);
}

#[test]
fn a_server_without_weight_does_not_count_as_one_that_serves() {
    let mut world = web_fleet("web-01..02", "2");
    for server in world.truth.servers("web-02.staging") {
        server.weight = 0;
    }
    let last = id(&world.run, "3/web-02.staging/ready");
    world.until("the host without weight is through", |world| world.run.is_done(&last));
    assert!(matches!(world.due().waiting[0].1, NotAdmitted::LastUp(_)));
}

#[test]
fn two_hosts_that_are_admitted_one_after_the_other_cannot_both_be_the_last() {
    let mut world = web_fleet("web-01..02", "2");
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    assert_eq!(world.peak["main/web"], 1);
}

#[test]
fn a_backend_that_may_be_empty_is_emptied() {
    let mut world = web_fleet("web-01", "1");
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    assert_eq!(world.peak["main/web"], 1);
}

#[test]
fn a_host_with_two_roles_needs_the_budget_of_both() {
    let mut world = web_fleet("web+api-01..03 api-04", "3");
    // 25% of four hosts: one host with the role api may be out.
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    assert_eq!((world.peak["main/web"], world.peak["main/api"]), (1, 1));
}

#[test]
fn hosts_on_which_the_fence_could_not_be_raised_use_up_the_budget_and_are_not_free_to_take() {
    let mut world = web_fleet("web-01..05", "1");
    for host in ["web-04.staging", "web-05.staging"] {
        world.unavailable.insert(of(host), "no route to host".to_owned());
    }
    deploy_begins(&mut world);
    world.until("a reading", |world| !world.view.load_balancers.is_empty());
    for _ in 0..50 {
        world.turn();
        assert_eq!(world.run.slots().count(), 0, "all five serve, and two count as out");
    }
    let waiting = world.due().waiting;
    let budget = waiting.iter().filter(|(_, why)| matches!(why, NotAdmitted::Budget { .. }));
    assert_eq!(budget.count(), 5);
}

#[test]
fn a_host_that_is_down_on_one_load_balancer_only_is_not_free_to_take() {
    let mut truth = Installation::new("staging lb-01 lb-02\n  main deploy-01 web-01..04");
    truth.pipeline.stages.retain(|stage| stage.number == 3);
    let mut world = World::new(truth);
    for host in ["web-01.staging", "web-02.staging"] {
        world.truth.servers(host)[0].up = false;
    }
    world.until("hosts wait", |world| {
        !world.view.load_balancers.is_empty() && !world.due().waiting.is_empty()
    });
    for _ in 0..50 {
        world.turn();
        assert_eq!(world.run.slots().count(), 0, "lb-02 would lose two of four");
    }
}

#[test]
fn a_drained_host_that_haproxy_forgot_is_drained_again() {
    let mut world = web_fleet("web-01..04", "1");
    let install = id(&world.run, "3/web-01.staging/install");
    world.until("the install runs", |world| world.run.in_flight(&install));
    world.truth.set_admin(&of("web-01.staging"), AdminState::Ready);
    world.now = world.now.plus(std::time::Duration::from_millis(1));
    world.read_lbs(&of("staging"));
    let redrain = Effect::Redrain {
        environment: of("staging"),
        host: of("web-01.staging"),
        servers: vec!["lb-01:web/web-01".to_owned()],
    };
    assert_eq!(world.due().effects, std::slice::from_ref(&redrain));
    world.drive();
    assert_eq!(world.begun.iter().filter(|effect| **effect == redrain).count(), 1);
    assert_eq!(world.run.status, Status::Finished);
}

#[test]
fn a_reading_from_before_the_drain_is_not_taken_for_a_reload() {
    let mut world = web_fleet("web-01..04", "1");
    let drain = id(&world.run, "3/web-01.staging/drain");
    world.until("the drain runs", |world| world.run.in_flight(&drain));
    world.blind_from = Some(world.now);
    let seen = world.view.load_balancers.clone();
    world.until("the drain is done", |world| world.run.is_done(&drain));
    assert_eq!(world.view.load_balancers, seen, "it still shows the host as ready");
    assert_eq!(world.acts(), [("3/web-01.staging/install".to_owned(), Mode::First)]);
    assert_eq!(world.due().effects.len(), 1);
}

#[test]
fn a_host_that_is_going_back_is_not_drained_again() {
    let mut world = web_fleet("web-01..04", "1");
    let ready = id(&world.run, "3/web-01.staging/ready");
    world.until("ready is next", |world| {
        world.due().effects.contains(&Effect::Act { step: ready.clone(), mode: Mode::First })
    });
    world.truth.set_admin(&of("web-01.staging"), AdminState::Ready);
    world.read_lbs(&of("staging"));
    assert_eq!(world.acts(), [(ready.to_string(), Mode::First)]);
    assert_eq!(world.due().effects.len(), 1);
}

#[test]
fn a_share_of_zero_that_haproxy_forgot_is_set_again_until_the_share_is_given_back() {
    let text = "production lb-01\n  main deploy-01 web-01..02\n  canary web-cny-01";
    let mut truth = Installation::new(text);
    truth.pipeline.stages.retain(|stage| stage.number == 6);
    let mut world = World::new(truth);
    let install = id(&world.run, "6/web-cny-01.production/install");
    world.until("the install runs", |world| world.run.in_flight(&install));
    let host: HostName = of("web-cny-01.production");
    world.truth.servers(host.as_str()).into_iter().for_each(|server| server.weight = 100);
    world.read_lbs(&of("production"));
    let reweigh = Effect::Reweigh {
        environment: of("production"),
        fleet: of("canary"),
        servers: vec!["lb-01:web/web-cny-01".to_owned()],
    };
    assert_eq!(world.due().effects, std::slice::from_ref(&reweigh));
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    assert_eq!(world.begun.iter().filter(|effect| **effect == reweigh).count(), 1);
    let weights: Vec<u32> = world.truth.servers(host.as_str()).iter().map(|s| s.weight).collect();
    assert_eq!(weights, [100, 5], "its own backend, and the shared one");
}

#[test]
fn hosts_that_wait_in_vain_halt_the_run_and_say_for_what() {
    let mut world = web_fleet("web-01..04", "1");
    // Done in an earlier run, and dead since: nobody brings it back.
    world.dead.insert(of("web-04.staging"));
    deploy_begins(&mut world);
    let began = world.now;
    world.drive();
    let Status::Halted(reason) = &world.run.status else { panic!("{:?}", world.run.status) };
    let why = reason.to_string();
    assert!(why.contains("could not be taken out of service for 10m"), "{why}");
    assert!(why.contains("web-04.staging is out"), "{why}");
    assert!(world.now.since(began) >= serin_engine::due::MOST_WAITING);
    assert_eq!(world.run.out_of_service(), []);
}

#[test]
fn a_wait_that_ends_in_time_is_forgotten() {
    let mut world = web_fleet("web-01..04", "1");
    world.dead.insert(of("web-04.staging"));
    deploy_begins(&mut world);
    world.until("it waits", |world| world.view.still_since.is_some());
    world.dead.clear();
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
}

#[test]
fn a_reload_that_has_checked_nobody_yet_admits_nobody_beyond_the_budget() {
    let mut world = web_fleet("web-01..04", "1");
    deploy_begins(&mut world);
    world.until("one is out", |world| world.run.slots().count() == 1);
    // Everybody is ready again, and nobody has passed a check.
    for host in ["web-01", "web-02", "web-03", "web-04"] {
        for seen in world.truth.servers(&format!("{host}.staging")) {
            (seen.admin, seen.up, seen.last_change_ms) = (AdminState::Ready, false, 0);
        }
    }
    world.read_lbs(&of("staging"));
    let drains = world.acts().into_iter().filter(|(step, _)| step.ends_with("drain")).count();
    assert_eq!(drains, 0);
    for host in ["web-01", "web-02", "web-03", "web-04"] {
        for seen in world.truth.servers(&format!("{host}.staging")) {
            seen.last_change_ms = 60_000;
        }
    }
    world.read_lbs(&of("staging"));
    let drains = world.acts().into_iter().filter(|(step, _)| step.ends_with("drain")).count();
    assert_eq!(drains, 1, "what has been down for a minute loses nothing by being repaired");
}
