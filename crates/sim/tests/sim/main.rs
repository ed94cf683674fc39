//! The whole loop in the simulated world: healthy, crashing everywhere, failing everywhere, and under every fault.
//!
//! One program, because linking several takes longer than running them.

mod crash;
mod healthy;

use serin_sim::{Ending, Report, Scenario, simulate};

/// Runs a scenario and panics, with the scenario and the trace, if a checker found anything.
fn proven(scenario: &Scenario) -> Report {
    let report = simulate(scenario);
    if !report.violations.is_empty() {
        fail(scenario, &report, &report.violations.join("\n"));
    }
    report
}

fn fail(scenario: &Scenario, report: &Report, why: &str) -> ! {
    let skip = report.trace.len().saturating_sub(if soak() { 4_000 } else { 120 });
    let trace = report.trace[skip..].join("\n");
    panic!("{why}\n\nscenario: {scenario:?}\nending: {:?}\ntrace:\n{trace}", report.ending);
}

/// Runs a scenario that must succeed, and end in the same world as the healthy run.
fn succeeds_like(scenario: &Scenario, healthy: &Report) -> Report {
    let report = proven(scenario);
    if report.ending != Ending::Finished {
        fail(scenario, &report, "the run did not finish");
    }
    if report.world != healthy.world {
        let differs = report.world.lines().zip(healthy.world.lines()).filter(|(a, b)| a != b);
        let differs: Vec<String> = differs.map(|(a, b)| format!("{a}\n  not {b}")).collect();
        fail(scenario, &report, &format!("another world:\n{}", differs.join("\n")));
    }
    report
}

/// Tells whether every count is to be run in full.
fn soak() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the edge: how much a person asked to be run")]
    std::env::var("SERIN_SOAK").is_ok_and(|value| value == "1")
}

/// Returns every number up to `last` in a soak, and otherwise every so manieth, the first and last included.
fn sample(last: usize, every: usize) -> Vec<u64> {
    let step = if soak() { 1 } else { every };
    let numbers = (1..=last).step_by(step).chain([last]);
    let mut numbers: Vec<u64> = numbers.map(|n| u64::try_from(n).unwrap()).collect();
    numbers.dedup();
    numbers
}
