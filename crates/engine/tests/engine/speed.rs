//! A fleet of a thousand hosts: what is due is found fast enough to be asked after every event.

use crate::world::{World, web_fleet};
use serin_engine::{Effect, Input, Outcome, due};
use serin_model::{Action, Timestamp, Verdict};
use std::time::Duration;

/// Several times what it takes in a debug build on a slow machine that does other things.
const MOST: Duration = Duration::from_millis(100);

/// Begins all that is due, and ends it at once unless it is to be kept in flight.
fn turn(world: &mut World, keep: impl Fn(&Action) -> bool) {
    for effect in due(&world.run, &world.view, world.now).effects {
        match effect {
            Effect::Enter(environment) => {
                world.input(Input::Entered { environment, fence: 1 }).unwrap();
            }
            Effect::RaiseFence(environment) => {
                let unavailable = std::collections::BTreeMap::new();
                world.input(Input::FenceRaised { environment, fence: 1, unavailable }).unwrap();
            }
            Effect::Act { step, .. } => {
                world.input(Input::Begin { step: step.clone() }).unwrap();
                let action = world.run.find(&step).unwrap().2.action.clone();
                if action == Action::Guard {
                    let environment = "staging".parse().unwrap();
                    world.input(Input::Alerts { environment, verdict: Verdict::Pass }).unwrap();
                } else if !keep(&action) {
                    let (attempt, outcome) =
                        (world.run.attempts(&step), Outcome::Done(String::new()));
                    world.input(Input::Ended { step, attempt, outcome }).unwrap();
                }
            }
            Effect::Leave(_)
            | Effect::Redrain { .. }
            | Effect::Withdraw { .. }
            | Effect::Reweigh { .. } => {}
        }
    }
}

#[test]
fn what_is_due_in_a_thousand_hosts_is_found_in_a_moment() {
    let mut world = web_fleet("web-0001..1000", "10%");
    world.now = Timestamp::from_millis(1_000_000);
    world.read_lbs(&"staging".parse().unwrap());
    for _ in 0..2_000 {
        if world.run.slots().count() == 100 {
            break;
        }
        turn(&mut world, |action| *action == Action::Drain);
    }
    assert_eq!(world.run.slots().count(), 100);
    #[expect(clippy::disallowed_methods, reason = "this is what is measured")]
    let began = std::time::Instant::now();
    let calls = 20;
    for _ in 0..calls {
        assert_eq!(due(&world.run, &world.view, world.now).waiting.len(), 900);
    }
    let each = began.elapsed() / calls;
    println!("due: {each:?} for 1,000 hosts of which 900 wait");
    assert!(each < MOST, "{each:?}");
}
