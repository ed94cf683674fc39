//! Patches in the simulated world: at both paces, through kills after any record, and lost replies.

use crate::sample;
use serin_model::Pace;
use serin_sim::{AfterHalt, Ending, Faults, Kill, Report, Scenario, Trouble, simulate_patch};

fn right(scenario: &Scenario, report: &Report) {
    let end = report.trace.len().saturating_sub(60);
    let trace = report.trace.get(end..).unwrap_or_default().join("\n");
    assert!(report.violations.is_empty(), "{:?}\n{scenario:?}\n{trace}", report.violations);
    assert_eq!(report.ending, Ending::Finished, "{scenario:?}\n{trace}");
}

fn with(faults: Faults) -> Scenario {
    Scenario { faults, after_halt: AfterHalt::RepairAndResume, ..Scenario::default() }
}

#[test]
fn a_patch_goes_onto_every_host_at_both_paces_and_changes_nothing_else() {
    for pace in [Pace::Careful, Pace::Expedited] {
        let scenario = with(Faults::default());
        let report = simulate_patch(&scenario, pace);
        right(&scenario, &report);
        assert_eq!(report.halts, Vec::<String>::new());
    }
}

#[test]
fn a_patch_run_that_is_killed_after_any_record_goes_on_to_the_same_end() {
    let whole = simulate_patch(&with(Faults::default()), Pace::Careful);
    for append in sample(whole.appends.len(), 9) {
        let scenario = with(Faults { kills: vec![Kill::After(append)], ..Faults::default() });
        let report = simulate_patch(&scenario, Pace::Careful);
        right(&scenario, &report);
        assert_eq!(report.world, whole.world, "{scenario:?}");
    }
}

#[test]
fn whatever_befalls_an_effect_every_host_has_the_patch_in_the_end() {
    let whole = simulate_patch(&with(Faults::default()), Pace::Careful);
    for trouble in [Trouble::ReplyLost, Trouble::CutInTheMiddle, Trouble::Fails, Trouble::Twice] {
        for number in sample(whole.effects.len(), 17) {
            let effects = [(number, trouble)].into();
            let scenario = with(Faults { effects, ..Faults::default() });
            let report = simulate_patch(&scenario, Pace::Careful);
            right(&scenario, &report);
        }
    }
}
