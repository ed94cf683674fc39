//! The table of `transitions.txt`: every state, what comes in, and what follows.

use crate::installation::of;
use crate::world::{World, id, web_fleet};
use serin_engine::transitions::Cause;
use serin_engine::{Arrow, Command, Event, Input, Outcome, Status};
use serin_model::{Held, HeldBy, HoldId, MidRun, Reason, StepId, Verdict};
use std::collections::{BTreeMap, BTreeSet};

const TABLE: &str = include_str!("../transitions.txt");

pub(crate) fn in_flight(step: &str) -> World {
    let mut world = web_fleet("web-01", "1");
    let step = id(&world.run, step);
    world.until("it is in flight", |world| world.run.in_flight(&step));
    world
}

fn state(name: &str) -> World {
    let mut world = web_fleet("web-01", "1");
    match name {
        "new" => {}
        "claimed" => {
            world.until("it is claimed", |world| !world.run.environments.is_empty());
        }
        "behind" => {
            world = state("claimed");
            world.adopt(2);
        }
        "fenced" => world.until("it is fenced", |world| !world.acts().is_empty()),
        "guarding" => return in_flight("3/staging/guard"),
        "draining" => return in_flight("3/web-01.staging/drain"),
        "baking" => return in_flight("3/staging/bake"),
        "done" => world.until("all is done", |world| world.run.current().is_none()),
        "finished" => {
            world = state("done");
            world.input(Input::Tick).unwrap();
        }
        "halting" => {
            world = in_flight("3/web-01.staging/drain");
            world.halt();
        }
        "halted" => {
            world = state("halting");
            world.until("it has halted", |world| matches!(world.run.status, Status::Halted(_)));
        }
        "cancelled" => {
            world = state("halted");
            world.input(input(&world, "cancel")).unwrap();
        }
        other => panic!("the table has a state {other}, which nobody makes"),
    }
    world
}

fn step(world: &World, name: &str) -> StepId {
    let steps: BTreeMap<&str, &str> = BTreeMap::from([
        ("guard", "3/staging/guard"),
        ("drain", "3/web-01.staging/drain"),
        ("install", "3/web-01.staging/install"),
    ]);
    match steps.get(name) {
        Some(step) => id(&world.run, step),
        None => StepId::new(3, "nobody", &serin_model::Action::Drain, None),
    }
}

fn held(mid_run: MidRun) -> Held {
    Held {
        environment: of("staging"),
        fleet: None,
        by: HeldBy::Hold(HoldId(1)),
        owner: "ada".to_owned(),
        reason: "so".to_owned(),
        until: None,
        mid_run,
    }
}

fn input(world: &World, text: &str) -> Input {
    let (by, why) = ("ada".to_owned(), "so".to_owned());
    let environment = of("staging");
    let reason = Reason::Interrupted;
    let ended = |name: &str, outcome| {
        let step = step(world, name);
        Input::Ended { attempt: world.run.attempts(&step), step, outcome }
    };
    match text.split_once(' ').unwrap_or((text, "")) {
        ("adopt", _) => Input::Adopt { term: world.run.term + 1, by },
        ("entered", _) => Input::Entered { environment, fence: 10 },
        ("fence", _) => Input::FenceRaised { environment, fence: 10, unavailable: BTreeMap::new() },
        ("leave", _) => Input::Leave { environment },
        ("begin", name) => Input::Begin { step: step(world, name) },
        ("end", name) => ended(name, Outcome::Done("seen".to_owned())),
        ("fail", name) => ended(name, Outcome::Failed(reason)),
        ("lose", name) => ended(name, Outcome::Lost(reason)),
        ("unknown", name) => ended(name, Outcome::Unknown(reason)),
        ("drain", _) => Input::DrainLost { host: of("web-01.staging"), servers: Vec::new() },
        ("share", _) => Input::ShareLost { fleet: of("canary"), servers: Vec::new() },
        ("alerts", "pass") => Input::Alerts { environment, verdict: Verdict::Pass },
        ("alerts", "fail") => Input::Alerts { environment, verdict: Verdict::Fail(reason) },
        ("alerts", _) => Input::Alerts { environment, verdict: Verdict::Inconclusive(reason) },
        ("held", "nothing") => Input::Held { environment, held: Vec::new() },
        ("held", how) => {
            let mid_run = if how == "halt" { MidRun::Halt } else { MidRun::NextStage };
            Input::Held { environment, held: vec![held(mid_run)] }
        }
        ("problem", _) => Input::Problem(reason),
        ("withdraw", _) => Input::Withdraw,
        ("withdrawn", _) => {
            Input::Withdrawn { attempt: 1, outcome: Outcome::Done("seen".to_owned()) }
        }
        ("tick", _) => Input::Tick,
        ("halt", _) => Input::Command(Command::Halt(reason)),
        ("resume", _) => Input::Command(Command::Resume { by, why }),
        ("cancel", _) => Input::Command(Command::Cancel { by, why }),
        (other, _) => panic!("the table has an input {other}, which nobody makes"),
    }
}

/// Goes through the whole table; returns the rows that do not hold, and the arrows that were taken.
pub(crate) fn go_through() -> (Vec<String>, BTreeSet<Arrow>) {
    let mut current = String::new();
    let (mut wrong, mut taken) = (Vec::new(), BTreeSet::new());
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some(row) = line.strip_prefix("  ") else {
            line.clone_into(&mut current);
            continue;
        };
        let (asked, expected) = row.split_once('→').unwrap();
        let mut world = state(&current);
        let events = world.events.len();
        let answer = match world.input(input(&world, asked.trim())) {
            Ok(()) => world.events[events..]
                .iter()
                .map(|e| Cause::of(e).name())
                .collect::<Vec<_>>()
                .join(" "),
            Err(refusal) => format!("refused: {refusal}"),
        };
        if answer != expected.trim() {
            wrong.push(format!("{current} · {} → {answer}", asked.trim()));
        }
        taken.append(&mut world.taken);
    }
    (wrong, taken)
}

#[test]
fn every_row_of_the_table_holds() {
    assert_eq!(go_through().0, [""; 0]);
}

#[test]
fn the_table_shows_every_event_but_those_that_begin_or_end_a_halt() {
    let answers = TABLE.lines().filter_map(|line| line.split_once('→'));
    let shown: BTreeSet<&str> = answers.flat_map(|(_, events)| events.split_whitespace()).collect();
    for event in [
        "adopted",
        "environment-entered",
        "fence-raised",
        "environment-left",
        "attempt-started",
        "attempt-ended",
        "drain-lost",
        "share-lost",
        "alerts-changed",
        "bake-progressed",
        "halt-requested",
        "resumed",
        "cancelled",
        "finished",
    ] {
        assert!(shown.contains(event), "{event}");
    }
}

#[test]
fn an_event_that_cannot_follow_is_illegal_and_changes_nothing() {
    let world = state("draining");
    let drain = step(&world, "drain");
    let ended = |attempt| Event::AttemptEnded {
        step: drain.clone(),
        attempt,
        outcome: Outcome::Done(String::new()),
        at: world.now,
    };
    let began = |name: &str, attempt, term| Event::AttemptStarted {
        step: step(&world, name),
        attempt,
        term,
    };
    let text = || ("ada".to_owned(), "so".to_owned());
    let illegal = [
        world.events[0].clone(),
        Event::Adopted { term: 1, by: "again".to_owned() },
        Event::FenceRaised { environment: of("staging"), fence: 9, unavailable: BTreeMap::new() },
        began("drain", 2, 1),
        began("install", 1, 1),
        began("install", 2, 1),
        began("install", 1, 2),
        began("nothing", 1, 1),
        ended(2),
        Event::Halted,
        Event::Finished,
        Event::Resumed { by: text().0, why: text().1 },
        Event::Cancelled { by: text().0, why: text().1 },
    ];
    for event in illegal {
        let mut run = world.run.clone();
        assert!(run.apply(&event).is_err(), "{event:?}");
        assert_eq!(run, world.run, "{event:?}");
    }
}
