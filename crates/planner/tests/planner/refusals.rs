//! What makes a plan impossible: every variant of `PlanError`, in words.

use crate::golden::SMALL;
use crate::installation::{Installation, of, up};
use serin_model::{EnvironmentName, HostName, LbName};
use serin_planner::plan;

fn refusal(break_it: impl FnOnce(&mut Installation)) -> String {
    let mut installation = Installation::new(SMALL);
    break_it(&mut installation);
    let error = plan(installation.request()).expect_err("it was planned around");
    error.to_string()
}

fn lb(environment: &str, lb: &str) -> (EnvironmentName, LbName) {
    (of(environment), of(lb))
}

#[test]
fn a_host_that_was_not_seen_is_not_planned_around() {
    let refused = refusal(|it| {
        let gone: HostName = of("web-02.staging");
        it.observed.hosts.remove(&gone);
        it.observed.unreachable.insert(gone, "connection refused".to_owned());
        it.observed.hosts.remove(&of::<HostName>("sidekiq-01.staging"));
    });
    insta::assert_snapshot!(refused, @"could not be observed: sidekiq-01.staging: it was not observed; web-02.staging: connection refused");
}

#[test]
fn a_load_balancer_that_was_not_seen_is_not_planned_around() {
    let refused = refusal(|it| {
        it.observed.load_balancers.remove(&lb("production", "lb-02"));
        it.observed.unreachable.insert(of("lb-02.production"), "mute socket".to_owned());
    });
    insta::assert_snapshot!(refused, @"could not be observed: lb-02.production: mute socket");
}

#[test]
fn a_server_that_one_load_balancer_lacks_is_named() {
    let refused = refusal(|it| {
        let seen = it.observed.load_balancers.get_mut(&lb("production", "lb-02")).unwrap();
        seen.servers.remove(&(of("web"), of("web-cny-01")));
    });
    insta::assert_snapshot!(refused, @"load balancers do not have: lb-02:web/web-cny-01");
}

#[test]
fn a_server_of_a_host_that_the_configuration_does_not_list_is_named() {
    let refused = refusal(|it| {
        let address = it.servers("web-cny-01.production")[0].address.clone();
        let seen = it.observed.load_balancers.get_mut(&lb("production", "lb-01")).unwrap();
        seen.servers.insert((of("assets"), of("cny")), up(&address));
    });
    insta::assert_snapshot!(refused, @"the configuration does not list these servers of its hosts: lb-01:assets/cny (web-cny-01.production)");
}

#[test]
fn a_server_at_an_address_of_nobody_we_know_is_none_of_our_business() {
    let mut installation = Installation::new(SMALL);
    let key = lb("production", "lb-01");
    let seen = installation.observed.load_balancers.get_mut(&key).unwrap();
    seen.servers.insert((of("assets"), of("cdn")), up("10.9.9.9"));
    assert!(plan(installation.request()).is_ok());
}

#[test]
fn a_missing_file_stops_the_plan_before_the_package_is_installed_without_it() {
    let refused = refusal(|it| {
        let file = "/etc/gitlab/skip-auto-reconfigure".to_owned();
        it.host("web-04.production").missing_files.push(file);
    });
    insta::assert_snapshot!(refused, @"files are missing that must be there before the package is installed: web-04.production: /etc/gitlab/skip-auto-reconfigure");
}

#[test]
fn a_host_without_room_for_the_package_is_named_before_anything_happens() {
    let refused = refusal(|it| it.host("web-04.production").free_bytes = 3_999_999);
    insta::assert_snapshot!(refused, @"there is no room for the package: web-04.production has 3 MB free of the 4 MB that it needs");
}

#[test]
fn an_environment_has_exactly_one_deploy_host() {
    for (hosts, count) in [("web-01..02", 0), ("deploy-01..02 web-01..02", 2)] {
        let installation = Installation::new(&format!("staging lb-01\n  main {hosts}"));
        let error = plan(installation.request()).unwrap_err().to_string();
        let words = format!(
            "staging has {count} hosts whose role runs migrations; there must be exactly one"
        );
        assert_eq!(error, words);
    }
}

#[test]
fn a_recipe_for_what_is_not_there_is_refused() {
    let refused = refusal(|it| it.pipeline.stages[5].environment = of("moon"));
    insta::assert_snapshot!(refused, @"the pipeline names environment moon, which the configuration does not have");
    let refused = refusal(|it| it.pipeline.stages[5].fleet = of("moon"));
    insta::assert_snapshot!(refused, @"the pipeline names fleet production/moon, which the configuration does not have");
}

#[test]
fn migrations_of_a_package_that_has_none_are_refused() {
    let refused = refusal(|it| it.topology.profile.migrations = None);
    insta::assert_snapshot!(refused, @"stage 1 runs migrations, but the profile has none");
}
