//! Runs in which nothing goes wrong.

use crate::{proven, succeeds_like};
use serin_sim::{Ending, Scenario, simulate};

#[test]
fn a_build_reaches_the_canary_and_a_second_plan_is_empty() {
    let report = proven(&Scenario::default());
    println!("{} appends, {} effects", report.appends.len(), report.effects.len());
    println!("virtual time {:?}", report.took);
    println!("{}", report.trace.join("\n"));
    assert_eq!(report.ending, Ending::Finished);
    assert_eq!(report.next_plan, Ok(vec![]));
    assert_eq!(report.halts, Vec::<String>::new());
    println!("{}", report.world);
}

#[test]
fn a_seed_replays_to_the_same_trace_and_another_seed_does_not() {
    let scenario = Scenario { seed: 7, ..Scenario::default() };
    let (first, second) = (simulate(&scenario), simulate(&scenario));
    assert_eq!(first.trace, second.trace);
    let other = simulate(&Scenario { seed: 8, ..Scenario::default() });
    assert_ne!(first.trace, other.trace);
    assert_eq!(first.world, other.world);
}

#[test]
fn many_seeds_end_in_the_same_world() {
    let healthy = proven(&Scenario::default());
    for seed in 1..=10 {
        succeeds_like(&Scenario { seed, ..Scenario::default() }, &healthy);
    }
}
