//! What befalls hosts and load balancers.

use crate::{befallen, began_after, proven, succeeds_like, time_of};
use serin_sim::installation::name;
use serin_sim::{AfterHalt, Ending, Fault, Scenario};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_reload_at_any_moment_of_a_roll_is_noticed_and_undone() {
    let healthy = proven(&Scenario::default());
    for (lb, from, to, count) in [
        ("lb-01.gstg", "began 3/web-01.gstg/drain", "ended 3/web-03.gstg/ready", 15),
        ("lb-02.gprd", "ended 6/canary/set-share.before", "ended 6/web-cny-02.gprd/ready", 8),
    ] {
        let (from, to) = (time_of(&healthy, from), time_of(&healthy, to));
        let count = if crate::soak() { count * 12 } else { count };
        for part in 0..count {
            let at = from + (to - from) * part / count;
            let fault = Fault::Reload { host: name(lb) };
            let report = succeeds_like(&befallen([(at, fault)]), &healthy);
            assert!(report.halts.is_empty(), "{:?}", report.halts);
        }
    }
}

#[test]
fn a_reload_right_before_a_change_is_noticed_by_the_look_before_it() {
    let healthy = proven(&Scenario::default());
    for job in ["gitlab-ctl reconfigure", "gitlab-ctl hup puma"] {
        let at = time_of(&healthy, &format!("web-02.gstg {job}"));
        for millis in (100..260).step_by(if crate::soak() { 5 } else { 20 }) {
            let fault = Fault::Reload { host: name("lb-01.gstg") };
            let report = proven(&befallen([(at - Duration::from_millis(millis), fault)]));
            assert_eq!(report.ending, Ending::Finished);
        }
    }
}

#[test]
fn a_host_that_dies_in_the_middle_of_its_installation_is_repaired() {
    let healthy = proven(&Scenario::default());
    let began = time_of(&healthy, "began 3/web-02.gstg/install");
    let ended = time_of(&healthy, "ended 3/web-02.gstg/install");
    for part in 0..6 {
        let at = began + (ended - began) * part / 6;
        let host = name("web-02.gstg");
        let fault = Fault::HostDies { host, back_after: Some(SECOND * 20) };
        let report = succeeds_like(&befallen([(at, fault)]), &healthy);
        assert!(report.halts.is_empty(), "{:?}", report.halts);
    }
}

#[test]
fn a_host_that_never_comes_back_is_named_and_no_other_is_taken_out() {
    let healthy = proven(&Scenario::default());
    let at = time_of(&healthy, "began 3/web-02.gstg/install") + SECOND;
    let scenario =
        befallen([(at, Fault::HostDies { host: name("web-02.gstg"), back_after: None })]);
    let report = proven(&scenario);
    let Ending::Halted(why, named) = &report.ending else { panic!("{:?}", report.ending) };
    assert!(why.contains("web-02.gstg"), "{why}");
    assert_eq!(named, &["web-02.gstg"]);
    assert_eq!(began_after(&report, "web-03.gstg/drain", at), Vec::<String>::new());
    succeeds_like(&Scenario { after_halt: AfterHalt::RepairAndResume, ..scenario }, &healthy);
}

#[test]
fn a_deploy_host_that_dies_in_the_middle_of_migrations_is_a_persons_to_judge() {
    let healthy = proven(&Scenario::default());
    let before_the_first = time_of(&healthy, "began 1/deploy-01.gstg/migrate") + SECOND / 2;
    let between = time_of(&healthy, "migration 20230701 is applied") + SECOND / 10;
    let host = || name("deploy-01.gstg");
    let dies =
        |at| befallen([(at, Fault::HostDies { host: host(), back_after: Some(SECOND * 20) })]);
    // Nothing was applied and no session lives: it may be tried again.
    let report = succeeds_like(&dies(before_the_first), &healthy);
    assert!(report.halts.is_empty(), "{:?}", report.halts);
    // One was: looking cannot tell.
    let report = proven(&dies(between));
    let Ending::Halted(why, _) = &report.ending else { panic!("{:?}", report.ending) };
    assert!(why.contains("cannot be told"), "{why}");
}

#[test]
fn a_host_or_load_balancer_that_is_cut_off_for_a_while_is_waited_for() {
    let healthy = proven(&Scenario::default());
    for host in ["web-02.gstg", "lb-01.gstg"] {
        for step in ["fetch", "drain", "install", "activate", "ready"] {
            let at = time_of(&healthy, &format!("began 3/web-02.gstg/{step}")) + SECOND / 20;
            let fault = Fault::Cut { host: name(host), lasts: SECOND * 15 };
            let report = succeeds_like(&befallen([(at, fault)]), &healthy);
            assert!(report.halts.is_empty(), "{host} at {step}: {:?}", report.halts);
        }
    }
}

#[test]
fn a_version_that_nobody_expects_halts_before_the_host_is_drained() {
    let healthy = proven(&Scenario::default());
    let at = time_of(&healthy, "began 2/staging/bake");
    let report = proven(&befallen([(at, Fault::ThirdVersion { host: name("web-02.gstg") })]));
    let Ending::Halted(why, _) = &report.ending else { panic!("{:?}", report.ending) };
    assert!(why.contains("15.0.0"), "{why}");
    assert_eq!(began_after(&report, "drain", at), Vec::<String>::new());
}

#[test]
fn a_host_that_somebody_changes_before_post_deployment_migrations_stops_them() {
    let healthy = proven(&Scenario::default());
    let at = time_of(&healthy, "began 3/staging/bake");
    let report = proven(&befallen([(at, Fault::ThirdVersion { host: name("web-02.gstg") })]));
    let Ending::Halted(why, _) = &report.ending else { panic!("{:?}", report.ending) };
    assert!(why.contains("web-02.gstg has 15.0.0"), "{why}");
    assert_eq!(began_after(&report, "migrate-post-deployment", at), Vec::<String>::new());
}
