//! Promotions in the simulated world, and the share that a halt takes away.

use crate::{fail, sample, time_of};
use serin_sim::installation::{EXPOSED_FOR, name};
use serin_sim::{
    AfterHalt, Command, Ending, Fault, Faults, Kill, Reason, Report, Scenario, simulate_promotion,
};
use std::time::Duration;

fn promoted(scenario: &Scenario) -> Report {
    let report = simulate_promotion(scenario);
    if !report.violations.is_empty() {
        fail(scenario, &report, &report.violations.join("\n"));
    }
    report
}

fn succeeds_like(scenario: &Scenario, healthy: &Report) {
    let report = promoted(scenario);
    if report.ending != Ending::Finished || report.world != healthy.world {
        fail(scenario, &report, "it ends in another way than the healthy run");
    }
}

fn halt_at(at: Duration, after_halt: AfterHalt) -> Scenario {
    let reason = Reason::Person { who: "sim".to_owned(), why: "lunch".to_owned() };
    Scenario { commands: vec![(at, Command::Halt(reason))], after_halt, ..Scenario::default() }
}

/// Weights of the canary's servers in backends that it shares with main.
fn weights(report: &Report) -> Vec<&str> {
    let own = |line: &&str| line.contains("-cny-") && !line.contains("canary_");
    let lines = report.world.lines().filter(own);
    lines.filter_map(|line| line.split_once(" weight ")?.1.split(' ').next()).collect()
}

fn middle(healthy: &Report) -> Duration {
    time_of(healthy, "began 7/canary/expose") + EXPOSED_FOR / 2
}

#[test]
fn a_promotion_gives_the_canary_its_share_and_main_the_build() {
    let healthy = promoted(&Scenario::default());
    assert_eq!(healthy.ending, Ending::Finished);
    assert!(weights(&healthy).iter().all(|weight| *weight != "0"), "{}", healthy.world);
}

#[test]
fn a_halt_in_an_exposure_leaves_no_share_and_a_resumed_run_exposes_the_build_anew() {
    let healthy = promoted(&Scenario::default());
    let at = middle(&healthy);
    let report = promoted(&halt_at(at, AfterHalt::Stop));
    assert!(matches!(report.ending, Ending::Halted(..)), "{:?}", report.ending);
    let weights = weights(&report);
    assert!(!weights.is_empty() && weights.iter().all(|weight| *weight == "0"), "{weights:?}");
    let recorded = "ShareSet { fleet: canary, ramp: Ramp { from: 0, to: 0,";
    let last = report.appends.iter().rfind(|append| append.contains("ShareSet")).unwrap();
    assert!(last.contains(recorded) && last.contains("it halts: sim asked for it"), "{last}");
    succeeds_like(&halt_at(at, AfterHalt::RepairAndResume), &healthy);
}

#[test]
fn an_alert_in_an_exposure_takes_the_share_whatever_crashes_on_the_way() {
    let healthy = promoted(&Scenario::default());
    let alert = Fault::Alert {
        environment: name("production"),
        about: None,
        lasts: Duration::from_secs(20),
    };
    let halted = |kills: Vec<Kill>, after_halt| {
        let at = vec![(middle(&healthy), alert.clone())];
        let faults = Faults { at, kills, ..Faults::default() };
        Scenario { faults, after_halt, ..Scenario::default() }
    };
    let whole = promoted(&halted(Vec::new(), AfterHalt::Stop));
    let position = |text: &str| {
        let found = whole.appends.iter().position(|append| append.contains(text));
        u64::try_from(found.unwrap()).unwrap() + 1
    };
    let (first, last) = (position("HaltRequested"), position("Halted"));
    assert!(position("WithdrawalStarted") < position("WithdrawalEnded"));
    for append in first..=last.max(position("WithdrawalEnded")) {
        for kill in [Kill::Before(append), Kill::After(append)] {
            // Before its halt is on disk, nobody has heard of the alert, and it may be over by then.
            if kill == Kill::Before(first) {
                continue;
            }
            let scenario = halted(vec![kill], AfterHalt::Stop);
            let report = promoted(&scenario);
            if !matches!(report.ending, Ending::Halted(..)) || report.world != whole.world {
                fail(&scenario, &report, "it halts in another world");
            }
            succeeds_like(&halted(vec![kill], AfterHalt::RepairAndResume), &healthy);
        }
    }
}

#[test]
fn a_load_balancer_that_is_cut_off_for_a_while_is_told_when_it_answers() {
    let healthy = promoted(&Scenario::default());
    for (lasts, gone) in [(Duration::from_secs(15), true), (Duration::from_hours(1), false)] {
        let lb = Fault::Cut { host: name("lb-02.gprd"), lasts };
        let at = vec![(middle(&healthy) - Duration::from_millis(50), lb)];
        let faults = Faults { at, ..Faults::default() };
        let scenario = Scenario { faults, ..halt_at(middle(&healthy), AfterHalt::Stop) };
        let report = promoted(&scenario);
        assert!(matches!(report.ending, Ending::Halted(..)), "{:?}", report.ending);
        let weights = weights(&report);
        let with = weights.iter().filter(|weight| **weight != "0").count();
        assert_eq!(with, if gone { 0 } else { weights.len() / 2 }, "{weights:?}");
        let ended = report.appends.iter().rfind(|append| append.contains("WithdrawalEnded"));
        let named =
            ended.is_some_and(|append| append.contains("Failed") && append.contains("lb-02"));
        assert_eq!(named, !gone, "{ended:?}");
    }
}

#[test]
fn a_promotion_that_halts_at_any_moment_succeeds_when_it_is_resumed() {
    let healthy = promoted(&Scenario::default());
    let began = time_of(&healthy, "began 7/production/guard").as_secs();
    let last = healthy.took.as_secs() - began - 5;
    for second in sample(usize::try_from(last).unwrap(), 23) {
        let at = Duration::from_millis((began + second) * 1_000 + 137);
        succeeds_like(&halt_at(at, AfterHalt::RepairAndResume), &healthy);
    }
}
