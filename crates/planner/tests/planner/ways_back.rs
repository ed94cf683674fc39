//! On from the canary, and back: the plans that follow from the configured pipelines.

use crate::golden::{SMALL, golden};
use crate::installation::{Installation, build, of, to_main};
use crate::render;
use serin_model::{Back, HostName, Pace, Pipeline, PipelineName};
use serin_planner::{PlanError, Recipes, check_plan, plan};
use std::collections::BTreeMap;

/// An installation whose canary runs the new build.
fn on_canary() -> Installation {
    let mut installation = Installation::new(SMALL);
    let (first, _) = plan(installation.request()).unwrap();
    installation.succeed(&first);
    installation.pipeline = to_main(&installation.topology);
    installation
}

fn pipelines(installation: &Installation) -> BTreeMap<PipelineName, Pipeline> {
    let all = [Installation::new(SMALL).pipeline, to_main(&installation.topology)];
    all.into_iter().map(|pipeline| (pipeline.name.clone(), pipeline)).collect()
}

/// Everything of production that runs the new build, and where it goes back to.
fn go_back(installation: &mut Installation, pace: Pace) {
    let pipelines = pipelines(installation);
    let old = || build("1.0");
    let hosts = installation.topology.environments[&of("production")].hosts();
    let hosts = hosts.map(|(_, host)| (host.name.clone(), old())).filter(|(name, _)| {
        installation.observed.hosts[name].installed() == Some(&installation.build.version)
    });
    let records = ["main", "canary"].map(|fleet| (of("production"), of(fleet), of("1.0"))).to_vec();
    let back = Back {
        undoes: [of("r-1")].into(),
        hosts: hosts.collect(),
        records,
        out_of_service: [].into(),
    };
    let recipes = Recipes { topology: &installation.topology, pipelines: &pipelines };
    installation.pipeline = recipes.rollback(of("rollback"), &back, pace);
    (installation.pace, installation.back) = (pace, Some(back));
}

#[test]
fn the_build_on_the_canary_goes_on_to_main_after_real_traffic_has_proven_it() {
    let installation = on_canary();
    let (plan, report) = plan(installation.request()).unwrap();
    assert_eq!(check_plan(&plan), []);
    golden("to_main", &format!("{}\n{}", render::report(&report), render::plan(&plan)));
}

#[test]
fn a_canary_that_runs_anything_else_proves_nothing() {
    let refusal = |change: fn(&mut Installation)| {
        let mut installation = on_canary();
        change(&mut installation);
        let error = plan(installation.request()).unwrap_err();
        assert!(matches!(error, PlanError::NotProven { .. }), "{error}");
        error.to_string()
    };
    let other_bytes = refusal(|it| {
        it.host("web-cny-01.production").sha256 = Some(of(&"cd".repeat(32)));
    });
    insta::assert_snapshot!(other_bytes, @"canary must run 2.0 before it goes on from there: web-cny-01.production has that version with bytes cdcdcdcdcdcd, not abababababab");
    let unproven = refusal(|it| it.host("api-cny-01.production").sha256 = None);
    insta::assert_snapshot!(unproven, @"canary must run 2.0 before it goes on from there: api-cny-01.production has that version with bytes that nobody proved, not abababababab");
    let old_process = refusal(|it| {
        let old = crate::installation::running(&of("1.0"));
        it.host("web-cny-01.production").services.values_mut().for_each(|seen| *seen = old.clone());
    });
    insta::assert_snapshot!(old_process, @"canary must run 2.0 before it goes on from there: web-cny-01.production has it, but its puma runs something else");
}

#[test]
fn a_rollback_takes_the_stages_in_reverse_order_and_ends_with_the_gates() {
    let mut installation = on_canary();
    let (forward, _) = plan(installation.request()).unwrap();
    installation.succeed(&forward);
    go_back(&mut installation, Pace::Careful);
    let (back, report) = plan(installation.request()).unwrap();
    assert_eq!(check_plan(&back), []);
    golden("rollback", &format!("{}\n{}", render::report(&report), render::plan(&back)));
    installation.succeed(&back);
    let (again, _) = plan(installation.request()).unwrap();
    let changes = again.steps().filter(|(_, _, step)| step.action.name() == "install").count();
    assert_eq!(changes, 0, "planning right after success changes nothing");
}

#[test]
fn an_expedited_rollback_is_one_stage_without_drains() {
    let mut installation = on_canary();
    let (forward, _) = plan(installation.request()).unwrap();
    installation.succeed(&forward);
    go_back(&mut installation, Pace::Expedited);
    let (back, report) = plan(installation.request()).unwrap();
    assert_eq!(check_plan(&back), []);
    golden("rollback_expedited", &format!("{}\n{}", render::report(&report), render::plan(&back)));
}

#[test]
fn a_host_that_no_pipeline_names_goes_back_all_the_same() {
    let mut installation = on_canary();
    installation.pipeline = Installation::new(SMALL).pipeline;
    let pipelines = BTreeMap::from([(of("to-canary"), installation.pipeline.clone())]);
    // Main production is in no pipeline: somebody took it out of the configuration.
    let host: HostName = of("web-01.production");
    installation.host(host.as_str()).package = serin_model::PackageState::Installed(of("2.0"));
    let back = Back {
        undoes: [of("r-1")].into(),
        hosts: [(host.clone(), build("1.0"))].into(),
        records: Vec::new(),
        out_of_service: [].into(),
    };
    let recipes = Recipes { topology: &installation.topology, pipelines: &pipelines };
    installation.pipeline = recipes.rollback(of("rollback"), &back, Pace::Careful);
    installation.back = Some(back);
    let (plan, _) = plan(installation.request()).unwrap();
    let changed: Vec<String> = plan
        .steps()
        .filter(|(_, _, step)| step.action.name() == "install")
        .map(|(_, lane, _)| lane.subject.to_string())
        .collect();
    assert_eq!(changed, [host.to_string()]);
}

#[test]
fn a_forecast_counts_the_hosts_that_go_one_after_the_other() {
    let installation = on_canary();
    let (forward, _) = plan(installation.request()).unwrap();
    let minute = std::time::Duration::from_mins(1);
    // One gitaly, then four web hosts one by one; two bakes and the watch of the canary; the rest is short.
    let careful = serin_planner::forecast(&forward, minute);
    assert!(careful > minute * 30 && careful < minute * 32, "{careful:?}");
    let mut installation = installation;
    installation.succeed(&forward);
    go_back(&mut installation, Pace::Expedited);
    let (back, _) = plan(installation.request()).unwrap();
    let expedited = serin_planner::forecast(&back, minute);
    // The roles of both fleets at once, then gitaly, then the deploy host.
    assert!(expedited > minute * 3 && expedited < minute * 4, "{expedited:?}");
}

#[test]
fn every_host_is_prepared_first_even_if_the_first_stage_changes_a_record_only() {
    let mut installation = on_canary();
    let (forward, _) = plan(installation.request()).unwrap();
    installation.succeed(&forward);
    go_back(&mut installation, Pace::Careful);
    // Main's other hosts have gone back already; its record, gitaly, the canary and the deploy host have not.
    let back = installation.back.as_mut().unwrap();
    back.hosts.retain(|host, _| {
        !host.as_str().starts_with("web-0") && !host.as_str().starts_with("api-0")
    });
    let back = back.clone();
    let pipelines = pipelines(&installation);
    let recipes = Recipes { topology: &installation.topology, pipelines: &pipelines };
    installation.pipeline = recipes.rollback(of("rollback"), &back, Pace::Careful);
    let (plan, _) = plan(installation.request()).unwrap();
    let steps: Vec<&str> = plan.steps().map(|(_, _, step)| step.action.name()).collect();
    let install = steps.iter().position(|name| *name == "install").unwrap();
    let fetch = steps.iter().rposition(|name| *name == "fetch").unwrap();
    assert!(fetch < install, "{steps:?}");
    assert_eq!(steps.iter().filter(|name| **name == "fetch").count(), 4);
}

#[test]
fn a_rollback_starts_config_management_where_the_undone_run_had_only_stopped_it() {
    let mut installation = on_canary();
    go_back(&mut installation, Pace::Careful);
    for host in ["web-02.production", "gitaly-01.production"] {
        installation.host(host).config_management = serin_model::ConfigManagementState::Stopped;
    }
    // One of them has something else than its record says: it stays stopped, and a person decides.
    let other = serin_model::PackageState::Installed(of("0.9"));
    installation.host("gitaly-01.production").package = other;
    for pace in [Pace::Careful, Pace::Expedited] {
        installation.pace = pace;
        let (back, _) = plan(installation.request()).unwrap();
        assert_eq!(check_plan(&back), []);
        let started = back.steps().filter(|(_, lane, step)| {
            step.action.name() == "start-config-management"
                && lane.subject.to_string() == "web-02.production"
        });
        assert_eq!(started.count(), 1);
        let gitaly = |lane: &serin_model::Lane| lane.subject.to_string().starts_with("gitaly");
        assert!(!back.steps().any(|(_, lane, _)| gitaly(lane)));
    }
}
