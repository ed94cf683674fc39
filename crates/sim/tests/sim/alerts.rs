//! Alerts: at the start, in every part of a bake, about hosts that are out, and unreadable.

use crate::{befallen, began_after, proven, succeeds_like, time_at, time_of};
use serin_sim::installation::{BAKE, name};
use serin_sim::{AfterHalt, Ending, Fault, Report, Scenario};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn alert(environment: &str, lasts: Duration) -> Fault {
    Fault::Alert { environment: name(environment), about: None, lasts }
}

fn halted(report: &Report) -> bool {
    matches!(&report.ending, Ending::Halted(why, _) if why.contains("alerts"))
}

#[test]
fn an_alert_at_the_start_stops_the_run_before_it_touches_anything() {
    let report = proven(&befallen([(Duration::ZERO, alert("staging", SECOND * 3600))]));
    assert!(halted(&report), "{:?}", report.ending);
    let touched = report.effects.iter().filter(|effect| !effect.contains("fence"));
    assert_eq!(touched.count(), 0, "{:?}", report.effects);
}

#[test]
fn an_alert_of_the_other_environment_does_not_count() {
    let healthy = proven(&Scenario::default());
    let fault = alert("production", SECOND * 100);
    let report = succeeds_like(&befallen([(Duration::ZERO, fault)]), &healthy);
    assert!(report.halts.is_empty());
}

#[test]
fn an_alert_in_any_part_of_a_bake_stops_the_run_there() {
    let healthy = proven(&Scenario::default());
    let began = time_of(&healthy, "began 3/staging/bake");
    let ended = time_of(&healthy, "ended 3/staging/bake");
    assert!(ended - began >= BAKE, "the bake took {:?}", ended - began);
    for at in [began + SECOND, began + BAKE / 2, ended - SECOND] {
        let scenario = befallen([(at, alert("staging", SECOND * 3600))]);
        let report = proven(&scenario);
        assert!(halted(&report), "{:?} at {at:?}", report.ending);
        assert_eq!(began_after(&report, "4/", at), Vec::<String>::new());
        let resumed = Scenario { after_halt: AfterHalt::RepairAndResume, ..scenario };
        succeeds_like(&resumed, &healthy);
    }
}

#[test]
fn an_alert_in_the_middle_of_a_roll_brings_hosts_back_and_starts_nothing() {
    let healthy = proven(&Scenario::default());
    for step in ["drain", "install", "activate", "ready"] {
        let at = time_of(&healthy, &format!("began 3/web-02.gstg/{step}")) + SECOND / 10;
        let report = proven(&befallen([(at, alert("staging", SECOND * 3600))]));
        assert_eq!(report.halts.len(), 1, "{:?}", report.ending);
        let Ending::Halted(_, named) = &report.ending else { panic!("{:?}", report.ending) };
        assert!(named.is_empty(), "{named:?} stayed out");
        let late = began_after(&report, "web-03.gstg/drain", at + SECOND * 6);
        assert_eq!(late, Vec::<String>::new());
    }
}

#[test]
fn an_alert_about_a_drained_host_is_attributed_and_does_not_stop_the_run() {
    let healthy = proven(&Scenario::default());
    let drained = time_of(&healthy, "ended 3/web-02.gstg/drain");
    let back = time_of(&healthy, "began 3/web-02.gstg/ready");
    let about = Some(name("web-02.gstg"));
    let fault = Fault::Alert { environment: name("staging"), about, lasts: back - drained };
    let report = succeeds_like(&befallen([(drained, fault.clone())]), &healthy);
    assert!(report.trace.iter().any(|line| line.contains("attributes alerts about web-02.gstg")));
    // The same alert about a host that is in service counts.
    let Fault::Alert { environment, lasts, .. } = fault else { panic!("just made") };
    let about = Some(name("web-01.gstg"));
    let fault = Fault::Alert { environment, about, lasts: lasts + SECOND * 10 };
    let before = time_of(&healthy, "began 2/staging/bake");
    assert!(halted(&proven(&befallen([(before, fault)]))));
}

#[test]
fn an_alert_about_a_host_that_is_back_counts_again() {
    let healthy = proven(&Scenario::default());
    let drained = time_of(&healthy, "ended 3/web-02.gstg/drain");
    let about = Some(name("web-02.gstg"));
    let fault = Fault::Alert { environment: name("staging"), about, lasts: SECOND * 3600 };
    assert!(halted(&proven(&befallen([(drained, fault)]))));
}

#[test]
fn alerts_that_cannot_be_read_for_a_while_pause_the_run_and_for_long_halt_it() {
    let healthy = proven(&Scenario::default());
    let drain = healthy.trace.iter().find(|line| line.contains("began 3/web-01.gstg/drain"));
    for text in [drain.unwrap().split_once("journal ").unwrap().1, "began 3/staging/bake"] {
        let at = time_of(&healthy, text);
        let lasts = SECOND * 60;
        let unreadable = |lasts| Fault::AlertsUnreadable { environment: name("staging"), lasts };
        let short = befallen([(at, unreadable(lasts))]);
        let report = succeeds_like(&short, &healthy);
        assert!(report.halts.is_empty(), "{:?}", report.halts);
        // Nobody is taken out of service while nobody can look, and that time is not part of a bake. What was begun just before
        // the first reading that fails comes to its end.
        let (from, to) = (at + SECOND, at + lasts);
        let drains = report.trace.iter().filter(|line| line.contains("/drain 1"));
        let drained: Vec<_> = drains.filter(|l| (from..to).contains(&time_at(l))).collect();
        assert!(drained.is_empty(), "{drained:?}");
        assert!(time_of(&report, "ended 3/staging/bake") >= to + BAKE);
        let long = befallen([(at, unreadable(SECOND * 3600))]);
        let report = proven(&long);
        assert!(halted(&report), "{:?}", report.ending);
        succeeds_like(&Scenario { after_halt: AfterHalt::RepairAndResume, ..long }, &healthy);
    }
}
