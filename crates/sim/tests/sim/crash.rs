//! Crash everywhere: controllers die at every record, and between every act and its record.

use crate::{proven, sample, succeeds_like};
use serin_sim::{Faults, Kill, Scenario};

fn dies(kill: Kill) -> Scenario {
    Scenario { faults: Faults { kills: vec![kill], ..Faults::default() }, ..Scenario::default() }
}

#[test]
fn a_crash_after_any_record_leads_to_the_same_world() {
    let healthy = proven(&Scenario::default());
    for number in sample(healthy.appends.len() - 1, 6) {
        succeeds_like(&dies(Kill::After(number)), &healthy);
    }
}

#[test]
fn a_crash_between_any_act_and_its_record_leads_to_the_same_world() {
    let healthy = proven(&Scenario::default());
    for number in sample(healthy.appends.len(), 6) {
        succeeds_like(&dies(Kill::Before(number)), &healthy);
    }
}
