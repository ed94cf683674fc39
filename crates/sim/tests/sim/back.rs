//! Rollbacks in the simulated world: from any halt, at both paces, and with kills on the way.

use crate::{proven, sample};
use serin_model::Pace;
use serin_sim::{Command, Ending, Faults, Kill, Reason, Report, Scenario, simulate_rollback};
use std::time::Duration;

fn halted_at(second: u64, faults: Faults) -> Scenario {
    let reason = Reason::Person { who: "sim".to_owned(), why: "it looks wrong".to_owned() };
    let at = Duration::from_millis(second * 1_000 + 411);
    Scenario { commands: vec![(at, Command::Halt(reason))], faults, ..Scenario::default() }
}

fn right(scenario: &Scenario, report: &Report) {
    let end = report.trace.len().saturating_sub(60);
    let trace = report.trace.get(end..).unwrap_or_default().join("\n");
    assert!(report.violations.is_empty(), "{:?}\n{scenario:?}\n{trace}", report.violations);
    assert_eq!(report.ending, Ending::Finished, "{scenario:?}\n{trace}");
}

#[test]
fn from_a_halt_at_any_second_everything_goes_back_at_both_paces() {
    let healthy = proven(&Scenario::default());
    let mut rollbacks = 0;
    let step = if crate::soak() { 3 } else { 29 };
    for second in (5..healthy.took.as_secs()).step_by(step) {
        let scenario = halted_at(second, Faults::default());
        for pace in [Pace::Careful, Pace::Expedited] {
            if let Some(report) = simulate_rollback(&scenario, pace) {
                right(&scenario, &report);
                rollbacks += 1;
            }
        }
    }
    assert!(rollbacks >= 10, "only {rollbacks} halts had anything to go back from");
}

#[test]
fn a_rollback_that_is_killed_after_any_record_goes_on_to_the_same_end() {
    // In the middle of staging's fleet, when some hosts have changed and some have not.
    let scenario = halted_at(HALF_WAY, Faults::default());
    let whole = simulate_rollback(&scenario, Pace::Careful).expect("a way back");
    right(&scenario, &whole);
    let begun = whole.appends.iter().position(|append| append.contains("Cancelled"));
    let begun = begun.expect("the old run is given up");
    for append in sample(whole.appends.len(), 17).into_iter().filter(|n| *n > begun as u64) {
        let kills = vec![Kill::After(append)];
        let killed = halted_at(HALF_WAY, Faults { kills, ..Faults::default() });
        let report = simulate_rollback(&killed, Pace::Careful).expect("a way back");
        right(&killed, &report);
    }
}

/// When some of staging's fleet has the build.
const HALF_WAY: u64 = 200;
