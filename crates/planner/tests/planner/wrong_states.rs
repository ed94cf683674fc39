//! A host is done only when all of it is right: whatever is wrong with it, it is put right and not skipped.

use crate::golden::SMALL;
use crate::installation::{Installation, OLD, of, running};
use crate::render;
use serin_model::{AdminState, ConfigManagementState, PackageState};
use serin_planner::plan;

/// An installation after a whole pipeline has succeeded, in which then something went wrong.
fn drifted(drift: impl FnOnce(&mut Installation)) -> Installation {
    let mut installation = Installation::new(SMALL);
    let (all, _) = plan(installation.request()).unwrap();
    installation.succeed(&all);
    installation.pass_all();
    let (nothing, _) = plan(installation.request()).unwrap();
    assert!(nothing.is_empty(), "{}", render::plan(&nothing));
    drift(&mut installation);
    installation
}

fn put_right(host: &str, drift: impl FnOnce(&mut Installation)) -> Vec<String> {
    let installation = drifted(drift);
    let (plan, _) = plan(installation.request()).unwrap();
    let stages: Vec<u32> = plan.stages.iter().map(|stage| stage.number).collect();
    assert_eq!(stages.len(), 1, "only the host's own stage is planned, not {stages:?}");
    let phases = plan.stages.iter().flat_map(|stage| &stage.phases);
    let last = phases.filter(|phase| phase.title == "final sweep").flat_map(|phase| &phase.lanes);
    let last = last.flat_map(|lane| &lane.steps).map(|step| step.action.name());
    assert_eq!(
        last.collect::<Vec<_>>(),
        ["sweep"],
        "the environment is asked as a whole before the plan is done"
    );
    render::of_subject(&plan, host)
}

const ROLLED: [&str; 10] = [
    "3 stop-config-management",
    "3 check has 2.0",
    "3 fetch",
    "3 check-config",
    "3 drain",
    "3 install over 2.0",
    "3 reconfigure",
    "3 activate",
    "3 ready",
    "3 start config management of main",
];

#[test]
fn the_right_package_with_the_old_process_is_not_done() {
    let host = "web-01.staging";
    let steps = put_right(host, |it| {
        let service = it.host(host).services.values_mut().next().unwrap();
        *service = running(&of(OLD));
    });
    assert_eq!(steps, ROLLED);
}

#[test]
fn a_process_that_is_down_or_not_known_is_not_done() {
    let host = "web-01.staging";
    let steps = put_right(host, |it| {
        it.host(host).services.values_mut().next().unwrap().pid = None;
    });
    assert_eq!(steps, ROLLED);
    assert_eq!(put_right(host, |it| it.host(host).services.clear()), ROLLED);
}

#[test]
fn a_process_whose_version_cannot_be_told_is_judged_by_its_age() {
    let host = "web-01.staging";
    let old = |it: &mut Installation, older| {
        let service = it.host(host).services.values_mut().next().unwrap();
        service.version = None;
        service.older_than_package = older;
    };
    assert_eq!(put_right(host, |it| old(it, true)), ROLLED);
    let young = drifted(|it| old(it, false));
    assert!(plan(young.request()).unwrap().0.is_empty());
}

#[test]
fn a_host_left_drained_on_one_load_balancer_is_put_right() {
    let host = "web-01.staging";
    for admin in [AdminState::Drain, AdminState::Maintenance] {
        let steps = put_right(host, |it| {
            let mut servers = it.servers(host);
            servers[0].admin = admin;
            servers[0].up = false;
        });
        assert_eq!(steps, ROLLED);
    }
}

#[test]
fn an_installation_that_was_interrupted_is_repaired() {
    let host = "web-01.staging";
    let steps = put_right(host, |it| {
        it.host(host).package =
            PackageState::Broken { version: of("2.0"), state: "half-installed".to_owned() };
    });
    assert_eq!(steps, ROLLED);
}

#[test]
fn a_host_without_the_package_gets_it() {
    let host = "web-01.staging";
    let steps = put_right(host, |it| it.host(host).package = PackageState::Absent);
    assert_eq!(steps[1], "3 check has nothing");
    assert_eq!(steps[5], "3 install over nothing");
}

#[test]
fn config_management_left_stopped_is_started_and_nothing_else_is_done() {
    for (host, step) in [
        ("web-01.staging", "3 start config management of main"),
        ("deploy-01.staging", "1 start config management of main"),
        ("web-cny-01.production", "6 start config management of canary"),
    ] {
        let steps = put_right(host, |it| {
            it.host(host).config_management = ConfigManagementState::Stopped;
        });
        assert_eq!(steps, [step]);
    }
}

#[test]
fn a_canary_on_which_only_config_management_is_started_keeps_its_share_until_the_end() {
    let installation = drifted(|it| {
        it.host("web-cny-01.production").config_management = ConfigManagementState::Stopped;
    });
    let (plan, _) = plan(installation.request()).unwrap();
    assert_eq!(render::of_subject(&plan, "canary"), ["6 share 5%"]);
}

#[test]
fn a_record_that_was_changed_behind_our_back_is_written_with_config_management_stopped() {
    let installation = drifted(|it| {
        it.observed.records.insert((of("staging"), of("main")), Some(of(OLD)));
    });
    let (plan, _) = plan(installation.request()).unwrap();
    assert_eq!(render::of_subject(&plan, "main"), ["1 record over 1.0"]);
    for host in ["gitaly-01.staging", "web-01.staging", "web-02.staging", "sidekiq-01.staging"] {
        let steps = render::of_subject(&plan, host);
        assert_eq!(steps.first().unwrap(), "1 stop-config-management", "{host}");
        assert!(steps.last().unwrap().ends_with("start config management of main"), "{host}");
        assert!(!steps.iter().any(|step| step.contains("install")), "{host}");
    }
}

#[test]
fn config_management_of_a_host_that_the_pipeline_never_reaches_stays_stopped_and_is_named() {
    let mut installation = Installation::new("staging lb-01\n  main deploy-01 web-01..02 git-01");
    let roles = serin_model::WorkSpec::Roles(vec![of("web")]);
    installation.pipeline.stages[2].work = roles;
    let (plan, report) = plan(installation.request()).unwrap();
    assert_eq!(render::of_subject(&plan, "git-01.staging"), ["1 stop-config-management"]);
    let words = "config management stays stopped on git-01.staging: it will not run what its fleet's record says";
    assert!(render::report(&report).contains(words));
}

#[test]
fn config_management_that_a_run_left_stopped_when_it_was_given_up_is_started_by_the_next() {
    // The record says the build already, so nothing else in the plan is about the deploy host.
    let mut installation = drifted(|it| {
        it.host("deploy-01.staging").config_management = ConfigManagementState::Stopped;
    });
    installation.pipeline.stages.retain(|stage| stage.number == 3);
    let (plan, _) = plan(installation.request()).unwrap();
    let steps = render::of_subject(&plan, "deploy-01.staging");
    assert_eq!(steps, ["3 start config management of main"]);
}

#[test]
fn a_deploy_host_of_another_fleet_has_its_config_management_stopped_too() {
    let mut installation = Installation::new(SMALL);
    installation.pipeline.stages[4].fleet = of("canary");
    let (plan, _) = plan(installation.request()).unwrap();
    let steps = render::of_subject(&plan, "deploy-01.production");
    assert_eq!(steps.first().unwrap(), "5 stop-config-management");
}

#[test]
fn migrations_that_were_never_applied_are_run_although_the_package_is_there() {
    for (regular, post, expected) in [
        (vec!["m2".to_owned()], Vec::new(), "1 migrate"),
        (Vec::new(), vec!["p1".to_owned()], "4 migrate-post-deployment"),
    ] {
        let steps = put_right("deploy-01.staging", |it| {
            it.host("deploy-01.staging").pending_migrations = Some((regular, post));
        });
        assert!(steps.contains(&expected.to_owned()), "{steps:?}");
    }
}

#[test]
fn migrations_that_could_not_be_read_are_not_taken_for_applied() {
    let installation = drifted(|it| it.host("deploy-01.staging").pending_migrations = None);
    let (plan, _) = plan(installation.request()).unwrap();
    let steps = render::of_subject(&plan, "deploy-01.staging");
    assert!(steps.contains(&"1 migrate".to_owned()));
    assert!(steps.contains(&"4 migrate-post-deployment".to_owned()));
}

#[test]
fn gates_that_this_build_has_not_passed_are_run_although_nothing_is_left_to_do() {
    for number in 1..=6 {
        let installation = drifted(|it| it.passed.retain(|passed| *passed != number));
        let (plan, report) = plan(installation.request()).unwrap();
        let stage = plan.stages.iter().find(|stage| stage.number == number).unwrap();
        let titles: Vec<&str> = stage.phases.iter().map(|phase| phase.title.as_str()).collect();
        let qa = ["guard", "QA", "bake", "final sweep"];
        let without = ["guard", "bake", "final sweep"];
        match number {
            1 | 4 => assert_eq!(titles, without),
            6 => assert_eq!(titles, [&qa[..], &["share of traffic"]].concat()),
            _ => assert_eq!(titles, qa),
        }
        let words = format!("stage {number} has nothing to install, but this build has not passed");
        assert!(render::report(&report).contains(&words));
    }
}
