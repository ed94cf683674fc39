//! Fail everywhere: every effect is lost, cut, refused and doubled in turn.

use crate::{effects_with, fail, proven, sample, succeeds_like};
use serin_sim::{AfterHalt, Faults, Report, Scenario, Trouble};
use std::collections::BTreeMap;

fn goes_wrong(number: u64, trouble: Trouble) -> Scenario {
    let effects = BTreeMap::from([(number, trouble)]);
    Scenario {
        faults: Faults { effects, ..Faults::default() },
        after_halt: AfterHalt::RepairAndResume,
        ..Scenario::default()
    }
}

/// A lost reply is no failure: only QA, which gives no result then, stops the run.
fn is_never_a_failure(trouble: Trouble, every: usize) {
    let healthy = proven(&Scenario::default());
    for number in sample(healthy.effects.len(), every) {
        let scenario = goes_wrong(number, trouble);
        let report = succeeds_like(&scenario, &healthy);
        let effect = effect(&healthy, number);
        if report.halts.len() != usize::from(effect.starts_with("QA")) {
            fail(&scenario, &report, &format!("{effect} was lost, and: {:?}", report.halts));
        }
    }
}

fn effect(report: &Report, number: u64) -> &str {
    &report.effects[usize::try_from(number).unwrap() - 1]
}

#[test]
fn a_lost_reply_is_never_a_failure() {
    is_never_a_failure(Trouble::ReplyLost, 6);
}

#[test]
fn a_lost_request_is_never_a_failure() {
    is_never_a_failure(Trouble::RequestLost, 12);
}

#[test]
fn a_connection_cut_in_the_middle_is_never_a_failure() {
    is_never_a_failure(Trouble::CutInTheMiddle, 12);
}

#[test]
fn an_effect_that_fails_halts_there_and_the_resumed_run_ends_in_the_same_world() {
    let healthy = proven(&Scenario::default());
    for number in sample(healthy.effects.len(), 6) {
        let scenario = goes_wrong(number, Trouble::Fails);
        let report = succeeds_like(&scenario, &healthy);
        let effect = effect(&healthy, number);
        // A host whose fence cannot be raised counts as unavailable until it can; the run goes on around it.
        let stops = !effect.contains("fence") || effect.starts_with("lb-");
        if report.halts.len() != usize::from(stops) {
            fail(&scenario, &report, &format!("{effect} failed, and: {:?}", report.halts));
        }
    }
}

#[test]
fn every_effect_done_twice_leads_to_the_same_world() {
    let healthy = proven(&Scenario::default());
    let faults = Faults { every_effect: Some(Trouble::Twice), ..Faults::default() };
    succeeds_like(&Scenario { faults, ..Scenario::default() }, &healthy);
}

#[test]
fn failed_qa_halts_before_the_bake() {
    let healthy = proven(&Scenario::default());
    let number = effects_with(&healthy, "QA smoke")[0];
    let scenario = Scenario { after_halt: AfterHalt::Stop, ..goes_wrong(number, Trouble::Fails) };
    let report = proven(&scenario);
    assert!(format!("{:?}", report.ending).contains("QA test"), "{:?}", report.ending);
    assert!(!report.trace.iter().any(|line| line.contains("began 2/staging/bake")));
}
