//! The JSON that clients get: flat objects of our own, so that the journal's format can change without theirs.

use serde::Serialize;
use serin_engine::{EnvironmentEvent, Event, Outcome, Run};
use serin_model::{EnvironmentName, RunId, StepId, Timestamp};

/// An event of a run, one object a line.
#[derive(Debug, Serialize)]
pub(crate) struct EventLine<'a> {
    /// Milliseconds since 1970.
    at: u64,
    run: &'a RunId,
    /// The run's status after the event.
    status: &'static str,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// Renders an event as one line of JSON; `run` is the run after it.
pub(crate) fn event(id: &RunId, run: &Run, at: Timestamp, event: &Event) -> String {
    let mut line = EventLine {
        at: at.as_millis(),
        run: id,
        status: status(run),
        event: kind(event),
        stage: None,
        subject: None,
        step: None,
        attempt: None,
        outcome: None,
        text: None,
    };
    match event {
        Event::Started { plan, by } => {
            line.text = Some(format!("{by}: {} {}", plan.pipeline, plan.build.version));
        }
        Event::Adopted { by, .. } => line.text = Some(by.clone()),
        Event::EnvironmentEntered { environment, .. }
        | Event::FenceRaised { environment, .. }
        | Event::EnvironmentLeft { environment } => line.subject = Some(environment.to_string()),
        Event::AttemptStarted { step, attempt, .. } => about(&mut line, run, step, *attempt),
        Event::AttemptEnded { step, attempt, outcome, .. } => {
            about(&mut line, run, step, *attempt);
            let (kind, text) = outcome_of(outcome);
            line.outcome = Some(kind);
            line.text = Some(text);
        }
        Event::DrainLost { host, servers } => {
            line.subject = Some(host.to_string());
            line.text = Some(servers.join(", "));
        }
        Event::ShareLost { fleet, servers } => {
            line.subject = Some(fleet.to_string());
            line.text = Some(servers.join(", "));
        }
        Event::AlertsChanged { environment, verdict, .. } => {
            line.subject = Some(environment.to_string());
            line.text = Some(format!("{verdict:?}"));
        }
        Event::HeldChanged { environment, held } => {
            line.subject = Some(environment.to_string());
            let held: Vec<String> = held.iter().map(ToString::to_string).collect();
            line.text = Some(held.join("; "));
        }
        Event::BakeProgressed { step, watched, .. } => {
            about(&mut line, run, step, run.attempts(step));
            line.text = Some(format!("{} ms", watched.as_millis()));
        }
        Event::WithdrawalStarted { environment, fleet, attempt, .. } => {
            line.subject = Some(format!("{environment}/{fleet}"));
            line.attempt = Some(*attempt);
        }
        Event::WithdrawalEnded { attempt, outcome, .. } => {
            let known = run.withdrawal.as_ref();
            line.subject = known.map(|known| format!("{}/{}", known.environment, known.fleet));
            line.attempt = Some(*attempt);
            let (kind, text) = outcome_of(outcome);
            line.outcome = Some(kind);
            line.text = Some(text);
        }
        Event::HaltRequested { reason } => line.text = Some(reason.to_string()),
        Event::Resumed { by, why } | Event::Cancelled { by, why } => {
            line.text = Some(format!("{by}: {why}"));
        }
        Event::Halted | Event::Finished => {}
    }
    serde_json::to_string(&line).unwrap_or_default()
}

/// Renders an event of an environment as one line of JSON.
pub(crate) fn environment(
    name: &EnvironmentName,
    at: Timestamp,
    event: &EnvironmentEvent,
) -> String {
    let kind = match event {
        EnvironmentEvent::Attempted { .. } => "attempted",
        EnvironmentEvent::Refused { .. } => "refused",
        EnvironmentEvent::HoldPlaced { .. } => "hold-placed",
        EnvironmentEvent::HoldLifted { .. } => "hold-lifted",
        EnvironmentEvent::Overridden { .. } => "overridden",
        EnvironmentEvent::ShareSet { .. } => "share-set",
        EnvironmentEvent::PatchPlaced { .. } => "patch-placed",
        EnvironmentEvent::PatchContained { .. } => "patch-contained",
        EnvironmentEvent::PatchClosed { .. } => "patch-closed",
        EnvironmentEvent::DriftFixed { .. } => "drift-fixed",
    };
    serde_json::json!({
        "at": at.as_millis(),
        "environment": name.as_str(),
        "event": kind,
        "text": super::environment::text(event).trim(),
    })
    .to_string()
}

fn about<'a>(line: &mut EventLine<'a>, run: &Run, step: &'a StepId, attempt: u32) {
    line.step = Some(step.as_str());
    line.attempt = Some(attempt);
    if let Some((stage, lane, _)) = run.find(step) {
        line.stage = Some(stage.number);
        line.subject = Some(super::lines::subject(stage, lane));
    }
}

fn outcome_of(outcome: &Outcome) -> (&'static str, String) {
    match outcome {
        Outcome::Done(seen) => ("done", seen.clone()),
        Outcome::AlreadyDone(seen) => ("already-done", seen.clone()),
        Outcome::Failed(reason) => ("failed", reason.to_string()),
        Outcome::Lost(reason) => ("lost", reason.to_string()),
        Outcome::Unknown(reason) => ("unknown", reason.to_string()),
    }
}

/// Returns a run's status as a word.
pub(crate) fn status(run: &Run) -> &'static str {
    match run.status {
        serin_engine::Status::Running => "running",
        serin_engine::Status::Halting(_) => "halting",
        serin_engine::Status::Halted(_) => "halted",
        serin_engine::Status::Finished => "finished",
        serin_engine::Status::Cancelled { .. } => "cancelled",
    }
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Started { .. } => "started",
        Event::Adopted { .. } => "adopted",
        Event::EnvironmentEntered { .. } => "environment-entered",
        Event::FenceRaised { .. } => "fence-raised",
        Event::EnvironmentLeft { .. } => "environment-left",
        Event::AttemptStarted { .. } => "attempt-started",
        Event::AttemptEnded { .. } => "attempt-ended",
        Event::DrainLost { .. } => "drain-lost",
        Event::ShareLost { .. } => "share-lost",
        Event::AlertsChanged { .. } => "alerts-changed",
        Event::HeldChanged { .. } => "held-changed",
        Event::BakeProgressed { .. } => "bake-progressed",
        Event::HaltRequested { .. } => "halt-requested",
        Event::WithdrawalStarted { .. } => "withdrawal-started",
        Event::WithdrawalEnded { .. } => "withdrawal-ended",
        Event::Halted => "halted",
        Event::Resumed { .. } => "resumed",
        Event::Cancelled { .. } => "cancelled",
        Event::Finished => "finished",
    }
}
