//! Environments: entered, fenced and left, one at a time, by one process.

use crate::installation::{Installation, of};
use crate::world::World;
use serin_engine::{Effect, Event, Status};

fn both() -> World {
    World::new(Installation::new(
        "staging lb-01\n  main deploy-01 web-01..02\nproduction lb-01\n  main deploy-01 web-01\n  canary web-cny-01",
    ))
}

#[test]
fn an_environment_is_left_before_the_next_is_entered_and_the_last_when_all_is_over() {
    let mut world = both();
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
    let (staging, production) = (of("staging"), of("production"));
    let begun: Vec<Effect> = vec![
        Effect::Enter(of("staging")),
        Effect::RaiseFence(of("staging")),
        Effect::Leave(staging),
        Effect::Enter(of("production")),
        Effect::RaiseFence(of("production")),
        Effect::Leave(production),
    ];
    assert_eq!(world.begun, begun);
    let finished = world.events.iter().position(|event| *event == Event::Finished).unwrap();
    let left = world.events.iter().rposition(|e| matches!(e, Event::EnvironmentLeft { .. }));
    assert!(left.unwrap() > finished, "the claim is held until the run is over");
}

#[test]
fn nothing_begins_before_the_fence_is_raised() {
    let mut world = both();
    assert_eq!(world.due().effects, [Effect::Enter(of("staging"))]);
    world.turn();
    assert_eq!(world.due().effects, [Effect::RaiseFence(of("staging"))]);
    assert_eq!(world.due().watches, []);
    world.turn();
    assert_eq!(world.acts().len(), 1);
}

#[test]
fn another_process_enters_again_and_raises_its_own_fence() {
    let mut world = both();
    world.until("work has begun", |world| !world.in_flight.is_empty());
    world.adopt(2);
    assert_eq!(world.due().effects, [Effect::Enter(of("staging"))]);
    world.turn();
    assert_eq!(world.due().effects, [Effect::RaiseFence(of("staging"))]);
    world.turn();
    let fence = world.run.environments[&of("staging")].fence;
    assert_eq!(fence, 20);
}

#[test]
fn a_halted_run_keeps_its_environment() {
    let mut world = both();
    world.until("work has begun", |world| !world.in_flight.is_empty());
    world.halt();
    world.drive();
    assert!(matches!(world.run.status, Status::Halted(_)));
    assert!(world.run.environments.contains_key(&of("staging")));
}

#[test]
fn load_balancers_are_watched_from_the_first_drain_of_a_stage_to_its_end() {
    let mut world = both();
    let mut watched = std::collections::BTreeSet::new();
    world.until("it is over", |world| world.run.is_over());
    let mut world = both();
    while !world.run.is_over() {
        let lbs =
            world.due().watches.iter().any(|w| matches!(w, serin_engine::Watch::LoadBalancers(..)));
        if let Some((stage, phase, _)) = world.run.current() {
            let title = stage.phases[phase].title.clone();
            if lbs {
                watched.insert((stage.number, title));
            }
        }
        assert!(world.turn());
    }
    let watched: Vec<String> =
        watched.into_iter().map(|(n, title)| format!("{n} {title}")).collect();
    let rest = |n: u32| ["QA", "bake", "deploy"].map(|title| format!("{n} {title}"));
    for title in [rest(3), rest(6)].concat() {
        assert!(watched.contains(&title), "{title} is not in {watched:?}");
    }
    assert!(watched.contains(&"6 share to zero".to_owned()));
    assert!(!watched.iter().any(|title| title.starts_with('1') || title.starts_with('5')));
}
