//! What holds and windows mean for a run: a guard fails, or the run halts at once.

use super::touches::concerns;
use crate::event::Event;
use crate::run::{Run, Status};
use crate::transitions::State;
use serin_model::{EnvironmentName, Held, MidRun, Reason};

/// Decides on what holds an environment now, without what the run was let through.
pub(crate) fn decide(run: &Run, environment: &EnvironmentName, held: &[Held]) -> Vec<Event> {
    if matches!(run.is_in(environment), State::Free | State::Behind) {
        return Vec::new();
    }
    let mut events = Vec::new();
    if run.held.get(environment).map_or(&[][..], Vec::as_slice) != held {
        let (environment, held) = (environment.clone(), held.to_vec());
        events.push(Event::HeldChanged { environment, held });
    }
    let at_once = held.iter().find(|held| held.mid_run == MidRun::Halt && stands(run, held));
    if let (Some(held), Status::Running) = (at_once, &run.status) {
        let reason = Reason::Held(Box::new(held.clone()));
        events.push(Event::HaltRequested { reason });
    }
    events
}

/// Returns what stands in the way of the stage that is to begin in an environment.
pub(crate) fn in_the_way(run: &Run, environment: &EnvironmentName) -> Option<Reason> {
    let held = run.held.get(environment).into_iter().flatten();
    held.into_iter().find(|held| stands(run, held)).map(|held| Reason::Held(Box::new(held.clone())))
}

fn stands(run: &Run, held: &Held) -> bool {
    run.current().is_some_and(|(stage, _, _)| concerns(held, stage, &run.plan.topology))
}
