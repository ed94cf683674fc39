//! The whole loop in the simulated world: healthy, crashing everywhere, failing everywhere, and under every fault.
//!
//! One program, because linking several takes longer than running them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unchecked_time_subtraction,
    reason = "helpers of tests fail loudly, as tests do"
)]

mod healthy;
mod crash;
mod fail;
mod alerts;
mod back;
mod people;
mod promotion;
mod queue;
mod rehearsal;
mod environments;
mod patch;
mod machines;
mod takeover;
mod stages;
mod seeds;

use serin_sim::{Ending, Fault, Faults, Report, Scenario, simulate};
use std::time::Duration;

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

/// Returns when a line of a trace with this text was written.
fn time_of(report: &Report, text: &str) -> Duration {
    let line = report.trace.iter().find(|line| line.contains(text));
    time_at(line.unwrap_or_else(|| panic!("{text} is not in the trace")))
}

/// Has a future happen in virtual time.
#[expect(clippy::disallowed_methods, reason = "these are tests of the simulator")]
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("it needs nothing from the system").block_on(future)
}

/// Returns the time of a line of the trace, since the world's beginning.
fn time_at(line: &str) -> Duration {
    let millis = line.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_millis(millis.expect("every line begins with its time"))
}

/// Returns the numbers of the effects that hold a text.
fn effects_with(report: &Report, text: &str) -> Vec<u64> {
    let found = report.effects.iter().zip(1..).filter(|(effect, _)| effect.contains(text));
    found.map(|(_, number)| number).collect()
}

/// A scenario in which things befall the world at times.
fn befallen(at: impl IntoIterator<Item = (Duration, Fault)>) -> Scenario {
    let faults = Faults { at: at.into_iter().collect(), ..Faults::default() };
    Scenario { faults, ..Scenario::default() }
}

/// Tells whether a step of this kind began after a time.
fn began_after(report: &Report, step: &str, after: Duration) -> Vec<String> {
    let late = report.trace.iter().filter(|line| {
        let millis: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
        Duration::from_millis(millis) > after && line.contains("began ") && line.contains(step)
    });
    late.cloned().collect()
}
