//! Decisions: what an input makes happen, as events. The only source of events but the first.

use crate::environment::run_held;
use crate::event::{Event, Outcome};
use crate::run::{Run, Status};
use crate::steps::LaneState;
use crate::transitions::State;
use crate::withdrawal;
use serin_model::{
    Action, BakeWatch, EnvironmentName, FleetName, Held, HostName, Reason, Step, StepId, StepKind,
    Subject, Timestamp, Verdict,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many attempts of a step in a row may be lost before it counts as failed: with the waits between them (`due`)
/// about two minutes, longer than a host takes to restart.
pub const MAX_LOST: u32 = 8;

/// How often alerts are read where the environment has no alert source to say so.
pub const DEFAULT_POLL: Duration = Duration::from_secs(5);

/// Something that was observed, asked, or came to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A process took the run's lease.
    Adopt {
        /// The lease's number.
        term: u64,
        /// The process.
        by: String,
    },
    /// An environment's claim and lease were taken.
    Entered {
        /// The environment.
        environment: EnvironmentName,
        /// The lease's number.
        fence: u64,
    },
    /// The fence was raised as far as possible.
    FenceRaised {
        /// The environment.
        environment: EnvironmentName,
        /// The fence.
        fence: u64,
        /// Where it was not raised, and why.
        unavailable: BTreeMap<HostName, String>,
    },
    /// An environment's claim is about to be given back.
    Leave {
        /// The environment.
        environment: EnvironmentName,
    },
    /// An attempt of a step is about to begin.
    Begin {
        /// The step.
        step: StepId,
    },
    /// An attempt of a step ended.
    Ended {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// How.
        outcome: Outcome,
    },
    /// Alerts were read and judged.
    Alerts {
        /// Whose.
        environment: EnvironmentName,
        /// What they say.
        verdict: Verdict,
    },
    /// An environment's stream and windows were read.
    Held {
        /// The environment.
        environment: EnvironmentName,
        /// What holds it now, without what the run was let through.
        held: Vec<Held>,
    },
    /// HAProxy was seen to have forgotten that a host is drained.
    DrainLost {
        /// The host.
        host: HostName,
        /// Its servers that came back.
        servers: Vec<String>,
    },
    /// HAProxy was seen to have forgotten a fleet's share of traffic.
    ShareLost {
        /// The fleet.
        fleet: FleetName,
        /// Its servers that have other weights.
        servers: Vec<String>,
    },
    /// An attempt to take a share away is about to begin.
    Withdraw,
    /// An attempt to take a share away ended.
    Withdrawn {
        /// The attempt.
        attempt: u32,
        /// How.
        outcome: Outcome,
    },
    /// Something that no step is about stands in the way of going on.
    Problem(Reason),
    /// A person asks for something.
    Command(Command),
    /// Nothing new; the run may have come to a rest.
    Tick,
}

/// What a person asks of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Stop starting work, and bring hosts in the middle to safety.
    Halt(Reason),
    /// Lift the halt.
    Resume {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// Give the run up.
    Cancel {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// Say that what a stage waits for was done.
    Approve {
        /// Who.
        by: String,
        /// What they have to say about it.
        note: String,
    },
}

/// Why an input is refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The run is over.
    #[error("the run is over")]
    Over,
    /// Only a halted run can be resumed.
    #[error("the run is not halted, so there is nothing to resume")]
    NotHalted,
    /// Only a halted run can be given up.
    #[error("the run is not halted; halt it first, so that no host is left in the middle")]
    HaltFirst,
    /// A halted run takes nothing in but adoption and a person's word.
    #[error("the run has halted")]
    Halted,
    /// The environment is not the run's.
    #[error("the run is not in {0}")]
    NotEntered(EnvironmentName),
    /// No stage waits for a person's word.
    #[error("nothing waits for an approval now")]
    NothingToApprove,
    /// The step cannot begin now.
    #[error("step {0} cannot begin now")]
    NotDue(StepId),
    /// No share is to be taken away, or not now, or not by this attempt.
    #[error("there is no share to take away now")]
    NothingToWithdraw,
    /// The outcome is not of an attempt in flight.
    #[error("attempt {attempt} of step {step} is not in flight")]
    NotInFlight {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
    },
}

/// Decides what an input makes happen.
///
/// # Errors
/// When the input cannot be taken now.
pub fn decide(run: &Run, input: Input, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    match input {
        Input::Adopt { term, by } => Ok(vec![Event::Adopted { term, by }]),
        Input::Leave { environment } if run.is_over() => leave(run, environment),
        _ if run.is_over() => Err(Refusal::Over),
        Input::Command(command) => command_given(run, command, now),
        Input::Tick => Ok(rest(run)),
        _ if matches!(run.status, Status::Halted(_)) => Err(Refusal::Halted),
        Input::Entered { environment, fence } => {
            Ok(vec![Event::EnvironmentEntered { environment, fence }])
        }
        Input::FenceRaised { environment, fence, unavailable } => {
            Ok(vec![Event::FenceRaised { environment, fence, unavailable }])
        }
        Input::Leave { environment } => leave(run, environment),
        Input::Begin { step } => begin(run, step),
        Input::Ended { step, attempt, outcome } => ended(run, step, attempt, outcome, now),
        Input::Alerts { environment, verdict } => Ok(alerts(run, &environment, &verdict, now)),
        Input::Held { environment, held } => Ok(run_held::decide(run, &environment, &held)),
        Input::DrainLost { host, servers } => Ok(vec![Event::DrainLost { host, servers }]),
        Input::ShareLost { fleet, servers } => Ok(vec![Event::ShareLost { fleet, servers }]),
        Input::Withdraw => withdrawal::begin(run, now),
        Input::Withdrawn { attempt, outcome } => withdrawal::ended(run, attempt, outcome, now),
        Input::Problem(reason) if matches!(run.status, Status::Halting(_)) => {
            Ok(withdrawal::hindered(run, reason, now))
        }
        Input::Problem(reason) => Ok(halt(run, reason)),
    }
}

fn leave(run: &Run, environment: EnvironmentName) -> Result<Vec<Event>, Refusal> {
    if run.environments.contains_key(&environment) {
        Ok(vec![Event::EnvironmentLeft { environment }])
    } else {
        Err(Refusal::NotEntered(environment))
    }
}

fn command_given(run: &Run, command: Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::Halt(reason) => Ok(halt(run, reason)),
        Command::Resume { by, why } => match run.status {
            Status::Halted(_) => Ok(vec![Event::Resumed { by, why }]),
            Status::Running | Status::Halting(_) => Err(Refusal::NotHalted),
            Status::Finished | Status::Cancelled { .. } => Err(Refusal::Over),
        },
        Command::Cancel { by, why } => match run.status {
            Status::Halted(_) => Ok(vec![Event::Cancelled { by, why }]),
            Status::Running | Status::Halting(_) => Err(Refusal::HaltFirst),
            Status::Finished | Status::Cancelled { .. } => Err(Refusal::Over),
        },
        Command::Approve { by, note } => approve(run, &by, &note, now),
    }
}

fn approve(run: &Run, by: &str, note: &str, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let waits = |step: &&Step| matches!(step.action, Action::Approve { .. });
    let step = run.lanes().iter().filter_map(LaneState::in_flight).find(waits);
    let Some(step) = step.filter(|_| run.status == Status::Running) else {
        return Err(Refusal::NothingToApprove);
    };
    let outcome = Outcome::Done(format!("{by} approved: {note}"));
    let attempt = run.attempts(&step.id);
    Ok(vec![Event::AttemptEnded { step: step.id.clone(), attempt, outcome, at: now }])
}

/// A step begins when it is due, and only then: whoever asks may have been told so before something else happened.
fn begin(run: &Run, step: StepId) -> Result<Vec<Event>, Refusal> {
    let Some((stage, lane, _)) = run.find(&step) else { return Err(Refusal::NotDue(step)) };
    let fenced = run.is_in(&stage.environment) == State::Fenced;
    let lane = run.lane(lane);
    let next = lane.and_then(|lane| lane.due(&run.status));
    let back = lane.filter(|_| next.is_some()).and_then(|lane| lane.instead_of_drain());
    let is_due = [next, back].into_iter().flatten().any(|(due, _)| due.id == step);
    if !fenced || !run.is_current(&step) || !is_due {
        return Err(Refusal::NotDue(step));
    }
    let attempt = run.attempts(&step) + 1;
    Ok(vec![Event::AttemptStarted { step, attempt, term: run.term }])
}

fn ended(
    run: &Run,
    step: StepId,
    attempt: u32,
    outcome: Outcome,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    // Guards and bakes that are watched are answered by readings of alerts, approvals by people, and by nothing else.
    let watch = run.find(&step).is_some_and(|(_, _, found)| is_watch(&found.action));
    if watch || !run.in_flight(&step) || run.attempts(&step) != attempt {
        return Err(Refusal::NotInFlight { step, attempt });
    }
    let outcome = give_up(run, &step, outcome);
    let reason = match &outcome {
        Outcome::Failed(reason) | Outcome::Unknown(reason) => Some(about(run, &step, reason)),
        Outcome::Done(_) | Outcome::AlreadyDone(_) | Outcome::Lost(_) => None,
    };
    let mut events = vec![Event::AttemptEnded { step, attempt, outcome, at: now }];
    if let Some(reason) = reason {
        events.extend(halt(run, reason));
    }
    Ok(events)
}

/// An attempt that was lost too many times in a row has failed, or, where it must not happen twice, is unknown.
fn give_up(run: &Run, step: &StepId, outcome: Outcome) -> Outcome {
    let Outcome::Lost(reason) = outcome else { return outcome };
    if run.lost(step) + 1 < MAX_LOST {
        return Outcome::Lost(reason);
    }
    match run.find(step).map(|(_, _, step)| step.action.kind()) {
        Some(StepKind::Settle) => Outcome::Unknown(reason),
        Some(StepKind::Repeatable | StepKind::Watch) | None => Outcome::Failed(reason),
    }
}

/// Says which host and step a reason is about, for reasons that do not say so themselves.
fn about(run: &Run, step: &StepId, reason: &Reason) -> Reason {
    let subject = run.find(step).map(|(_, lane, _)| &lane.subject);
    match (subject, reason) {
        (Some(Subject::Host(_)), Reason::Unreachable { .. } | Reason::Fenced { .. }) => {
            reason.clone()
        }
        (Some(Subject::Host(host)), other) => {
            let action = run.find(step).map_or("", |(_, _, step)| step.action.name());
            Reason::StepFailed {
                host: host.clone(),
                step: action.to_owned(),
                reason: Box::new(other.clone()),
            }
        }
        (Some(Subject::Fleet(_) | Subject::Environment) | None, other) => other.clone(),
    }
}

fn halt(run: &Run, reason: Reason) -> Vec<Event> {
    match run.status {
        Status::Running => vec![Event::HaltRequested { reason }],
        // It is halting already: the first reason stays.
        Status::Halting(_) | Status::Halted(_) | Status::Finished | Status::Cancelled { .. } => {
            Vec::new()
        }
    }
}

/// What a reading of alerts means: for the run as a whole, for a guard that waits for it, and for a bake.
fn alerts(
    run: &Run,
    environment: &EnvironmentName,
    verdict: &Verdict,
    now: Timestamp,
) -> Vec<Event> {
    if run.status != Status::Running || run.is_in(environment) != State::Fenced {
        return Vec::new();
    }
    let mut events = Vec::new();
    let known = run.alerts.get(environment);
    let changed = known.is_none_or(|(known, _)| {
        std::mem::discriminant(known) != std::mem::discriminant(verdict)
            || (matches!(verdict, Verdict::Fail(_)) && known != verdict)
    });
    if changed {
        events.push(Event::AlertsChanged {
            environment: environment.clone(),
            verdict: verdict.clone(),
            since: now,
        });
    }
    let source = run.plan.topology.environments.get(environment).and_then(|e| e.alerts.as_ref());
    let stop = match verdict {
        Verdict::Pass => None,
        Verdict::Fail(reason) => Some(reason),
        Verdict::Inconclusive(reason) => {
            let since = if changed { now } else { known.map_or(now, |(_, since)| *since) };
            source.filter(|source| now.since(since) >= source.unreadable_for).map(|_| reason)
        }
    };
    for (step, action) in watching(run, environment) {
        let ended = |outcome| Event::AttemptEnded {
            step: step.clone(),
            attempt: run.attempts(step),
            outcome,
            at: now,
        };
        match (action, stop, verdict) {
            (Action::Guard | Action::Bake { .. }, Some(reason), _) => {
                events.push(ended(Outcome::Failed(reason.clone())));
            }
            (Action::Guard, None, Verdict::Pass) => {
                if let Some(reason) = run_held::in_the_way(run, environment) {
                    events.push(ended(Outcome::Failed(reason.clone())));
                    events.push(Event::HaltRequested { reason });
                    continue;
                }
                events.push(ended(Outcome::Done("no alert that counts is firing".to_owned())));
            }
            (Action::Bake { duration, watch: BakeWatch::Live }, None, verdict) => {
                let poll = source.map_or(DEFAULT_POLL, |source| source.poll);
                let progress = bake(run, step, poll, verdict, now);
                events.extend(progress.clone());
                let watched = matches!(progress, Some(Event::BakeProgressed { watched, .. })
                    if watched >= *duration);
                if watched && *verdict == Verdict::Pass {
                    events.push(ended(Outcome::Done("nothing fired".to_owned())));
                }
            }
            _ => {}
        }
    }
    if let Some(reason) = stop {
        events.push(Event::HaltRequested { reason: reason.clone() });
    }
    events
}

/// Returns the guards and bakes of the current phase that wait for readings of an environment's alerts.
fn watching<'a>(
    run: &'a Run,
    environment: &EnvironmentName,
) -> impl Iterator<Item = (&'a StepId, &'a Action)> {
    let current = run.current().filter(|(stage, _, _)| stage.environment == *environment);
    let lanes = if current.is_some() { run.lanes() } else { Vec::new() };
    lanes.into_iter().filter_map(|lane| lane.in_flight()).map(|step| (&step.id, &step.action))
}

/// Tells whether an action only waits for readings of alerts, or for a person: it leaves nothing behind, whoever began
/// it, and nobody performs it.
pub fn is_watch(action: &Action) -> bool {
    matches!(
        action,
        Action::Guard | Action::Bake { watch: BakeWatch::Live, .. } | Action::Approve { .. }
    )
}

/// Tells whether a halt need not wait for the end of an action in flight: it only watches, and begins again when the
/// run goes on. An exposure may take hours, and what it watches is why people halt.
fn may_be_left(action: &Action) -> bool {
    is_watch(action) || matches!(action, Action::Expose { .. } | Action::Bake { .. })
}

/// How far a reading brings a bake: the sum of the gaps between good readings, none longer than two polls.
fn bake(
    run: &Run,
    step: &StepId,
    poll: Duration,
    verdict: &Verdict,
    now: Timestamp,
) -> Option<Event> {
    let (watched, sample) = run.bake(step);
    let (watched, sample) = match (verdict, sample.map(|sample| now.since(sample))) {
        (Verdict::Pass, Some(gap)) if gap <= poll * 2 => (watched + gap, Some(now)),
        // A gap in which nobody looked, or the first look: the bake begins here.
        (Verdict::Pass, Some(_) | None) => (Duration::ZERO, Some(now)),
        (Verdict::Fail(_) | Verdict::Inconclusive(_), Some(_)) => (Duration::ZERO, None),
        (Verdict::Fail(_) | Verdict::Inconclusive(_), None) => return None,
    };
    Some(Event::BakeProgressed { step: step.clone(), watched, sample })
}

/// What follows when nothing is in flight: the halt is complete, or the run is finished.
fn rest(run: &Run) -> Vec<Event> {
    match run.status {
        Status::Running if run.current().is_none() => vec![Event::Finished],
        Status::Halting(_) if is_safe(run) => vec![Event::Halted],
        Status::Running
        | Status::Halting(_)
        | Status::Halted(_)
        | Status::Finished
        | Status::Cancelled { .. } => Vec::new(),
    }
}

/// Tells whether a halting run can do nothing more: nothing is in flight, no lane has anything due, and no share is yet
/// to be taken away.
fn is_safe(run: &Run) -> bool {
    let lanes = run.lanes();
    withdrawal::wanted(run).is_none()
        && lanes.iter().all(|lane| {
            lane.in_flight().is_none_or(|step| may_be_left(&step.action))
                && lane.due(&run.status).is_none()
        })
}
