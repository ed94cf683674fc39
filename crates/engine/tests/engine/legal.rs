//! The table of legal transitions: what it must be like, and the arrows that random histories are excused from.

use crate::patches;
use crate::transitions::{go_through, in_flight};
use crate::withdrawal::{exposes, exposing, step, until_halted};
use crate::world::lost;
use serin_engine::environment::{Ask, Asking, decide_environment};
use serin_engine::transitions::{Cause, EXCUSED, Machine, State, TABLE};
use serin_engine::{Arrow, EnvironmentState, Event, Outcome, Run};
use serin_model::{Action, Reason, Timestamp};
use std::collections::BTreeSet;

#[test]
fn an_arrow_leads_to_one_state_and_every_state_can_be_reached() {
    let mut known = BTreeSet::new();
    for arrow in TABLE {
        let from = (arrow.machine, arrow.from, arrow.cause);
        assert!(known.insert(from), "{arrow} is twice in the table");
    }
    for machine in Machine::ALL {
        let own = || TABLE.iter().filter(|arrow| arrow.machine == machine);
        let mut reached = BTreeSet::from([machine.begins()]);
        for _ in own() {
            reached.extend(
                own().filter(|a| reached.contains(&a.from)).map(|a| a.to).collect::<Vec<_>>(),
            );
        }
        let all: BTreeSet<State> = own().flat_map(|arrow| [arrow.from, arrow.to]).collect();
        assert_eq!(reached, all, "{machine:?}");
    }
}

/// Whatever a step is in when its host is put back, or its exposure begins anew, it is to begin anew, but for one that
/// is in flight: nothing can be put back under it.
#[test]
fn everything_that_is_at_rest_can_begin_anew() {
    for cause in [Cause::PutBack, Cause::ExposedAnew] {
        let of_step = TABLE.iter().filter(|a| a.machine == Machine::Step && a.cause == cause);
        let from: BTreeSet<State> = of_step.map(|arrow| arrow.from).collect();
        let rest = [State::Done, State::Failed, State::InDoubt, State::Unknown];
        assert_eq!(from, BTreeSet::from(rest));
    }
}

#[test]
fn every_excused_arrow_is_taken_here() {
    let mut taken = go_through().1;
    taken.extend(hosts_put_back());
    taken.extend(exposures_begun_anew());
    taken.extend(halted_twice());
    taken.extend(patched());
    for excuse in EXCUSED {
        assert!(TABLE.iter().any(|arrow| excuse.is_of(*arrow)), "{excuse:?} is of no arrow");
        assert!(taken.iter().any(|arrow| excuse.is_of(*arrow)), "nobody takes {excuse:?}");
    }
}

/// A run halts when its drain was lost, or cannot be told.
fn hosts_put_back() -> BTreeSet<Arrow> {
    let mut taken = BTreeSet::new();
    for outcome in [lost(), Outcome::Unknown(Reason::Interrupted)] {
        let mut world = in_flight("3/web-01.staging/drain");
        let drain = step(&world.run, |action| *action == Action::Drain);
        world.script(drain.as_str(), [outcome]);
        world.until("it ended", |world| !world.run.in_flight(&drain));
        world.halt();
        until_halted(&mut world);
        assert_eq!(world.run.out_of_service(), []);
        taken.append(&mut world.taken);
    }
    taken
}

/// A run halts because its exposure failed, or cannot be told.
fn exposures_begun_anew() -> BTreeSet<Arrow> {
    let mut taken = BTreeSet::new();
    for outcome in [Outcome::Failed, Outcome::Unknown].map(|how| how(Reason::Interrupted)) {
        let mut world = exposing();
        let expose = step(&world.run, exposes);
        world.script(expose.as_str(), [outcome]);
        until_halted(&mut world);
        world.resume();
        taken.append(&mut world.taken);
    }
    taken
}

/// Two reasons to halt in one append.
fn halted_twice() -> Vec<Arrow> {
    let mut world = in_flight("3/web-01.staging/drain");
    world.halt();
    let before = world.run.status.clone();
    let again = Event::HaltRequested { reason: Reason::Interrupted };
    let taken = world.run.apply(&again).unwrap();
    assert_eq!(world.run.status, before, "the first reason stays");
    taken
}

fn patched() -> Vec<Arrow> {
    let mut state = EnvironmentState::new("production".parse().unwrap());
    let place = |fleets: &[&str]| Ask::PlacePatch(patches::new(fleets));
    let version = "17.0".parse().unwrap();
    let sha256 = "ab".repeat(32).parse().unwrap();
    let asks = [
        place(&["canary"]),
        place(&["canary", "main"]),
        Ask::ProvePatch { id: patches::id(), version, sha256 },
        Ask::ClosePatch(patches::id()),
        place(&["main"]),
    ];
    let mut taken = Vec::new();
    for ask in asks {
        let asking = Asking { by: "mira".to_owned(), why: "a hole".to_owned(), ask };
        for event in decide_environment(&state, asking, Timestamp::from_millis(1)).events {
            taken.extend(state.apply(&event).unwrap());
        }
    }
    taken
}

#[test]
fn what_has_no_arrow_is_illegal_and_says_why() {
    let world = in_flight("3/web-01.staging/drain");
    let mut run: Run = world.run.clone();
    let illegal = run.apply(&Event::Halted).unwrap_err();
    assert_eq!(illegal.to_string(), "event cannot be: halted cannot be for a run that is running");
    assert_eq!(run, world.run);
}
