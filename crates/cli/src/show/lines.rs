//! Events as lines of text.

use super::time;
use serin_engine::{Event, Outcome, Run};
use serin_model::{Action, BakeWatch, StepId, Timestamp, Verdict, verdict::seconds};
use std::collections::BTreeMap;

/// Renders events as lines; remembers only when attempts began and which stage was shown last.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    began: BTreeMap<StepId, Timestamp>,
    stage: Option<u32>,
}

impl Lines {
    /// Renders an event; `run` is the run after it. Events that only move a number are not shown.
    pub(crate) fn render(&mut self, run: &Run, at: Timestamp, event: &Event) -> Vec<String> {
        let mut lines = Vec::new();
        match event {
            Event::Started { plan, by } => lines.push(format!(
                "{} starts {} with {} {} (SHA-256 {})",
                by,
                plan.pipeline,
                plan.build.package,
                plan.build.version,
                plan.build.sha256.short()
            )),
            Event::Adopted { by, term } if *term > 1 => lines.push(format!("{by} takes the run over")),
            Event::Adopted { .. } | Event::BakeProgressed { .. } => {}
            Event::EnvironmentEntered { environment, fence } => {
                lines.push(format!("{environment} is claimed (fence {fence})"));
            }
            Event::FenceRaised { unavailable, .. } => lines.extend(
                unavailable.iter().map(|(host, why)| format!("  {host} counts as unavailable: {why}")),
            ),
            Event::EnvironmentLeft { environment } => {
                lines.push(format!("{environment} is free again"));
            }
            Event::AttemptStarted { step, .. } => {
                self.began.insert(step.clone(), at);
                lines.extend(self.stage_heading(run, step));
                lines.extend(waits(run, step));
            }
            Event::AttemptEnded { step, outcome, .. } => {
                lines.extend(self.stage_heading(run, step));
                lines.push(self.ended(run, at, step, outcome));
            }
            Event::DrainLost { host, servers } => lines.push(format!(
                "  {host}: HAProxy was reloaded and forgot the drain of {}; drained again",
                servers.join(", ")
            )),
            Event::ShareLost { fleet, servers } => lines.push(format!(
                "  {fleet}: HAProxy was reloaded and gave traffic to {}; set to zero again",
                servers.join(", ")
            )),
            Event::AlertsChanged { environment, verdict, .. } => match verdict {
                Verdict::Pass => lines.push(format!("  alerts of {environment}: none that counts")),
                Verdict::Fail(reason) => lines.push(format!("  alerts of {environment}: {reason}")),
                Verdict::Inconclusive(reason) => lines.push(format!(
                    "  alerts of {environment}: {reason}; nothing new is started until they can be"
                )),
            },
            Event::HeldChanged { environment, held } if held.is_empty() => {
                lines.push(format!("  nothing holds {environment} any more"));
            }
            Event::HeldChanged { held, .. } => {
                lines.extend(held.iter().map(|held| format!("  {held}")));
            }
            Event::HaltRequested { reason } => lines.push(format!(
                "halting: {reason}. Nothing new is started; hosts in the middle are brought to safety"
            )),
            Event::WithdrawalStarted { environment, fleet, .. } => lines.push(format!(
                "  {:<18} {:<12} taken away, because of the halt",
                format!("{environment}/{fleet}"),
                "share"
            )),
            Event::WithdrawalEnded { outcome, .. } => lines.extend(withdrawn(run, outcome)),
            Event::Halted => lines.push("halted".to_owned()),
            Event::Resumed { by, why } => lines.push(format!("{by} resumes the run: {why}")),
            Event::Cancelled { by, why } => lines.push(format!("{by} gives the run up: {why}")),
            Event::Finished => lines.push("finished: every stage has passed".to_owned()),
        }
        lines.into_iter().map(|line| format!("{}  {line}", time(at))).collect()
    }

    fn stage_heading(&mut self, run: &Run, step: &StepId) -> Option<String> {
        let (stage, _, _) = run.find(step)?;
        if self.stage == Some(stage.number) {
            return None;
        }
        self.stage = Some(stage.number);
        Some(format!("stage {}: {} ({})", stage.number, stage.title, stage.environment))
    }

    fn ended(&mut self, run: &Run, at: Timestamp, step: &StepId, outcome: &Outcome) -> String {
        let took = self.began.remove(step).map(|began| format!(" ({})", seconds(at.since(began))));
        let took = took.unwrap_or_default();
        let (subject, action) = run
            .find(step)
            .map_or(("?".to_owned(), step.as_str().to_owned()), |(stage, lane, step)| {
                (subject(stage, lane), name(&step.action))
            });
        let outcome = match outcome {
            Outcome::Done(seen) => format!("{seen}{took}"),
            Outcome::AlreadyDone(seen) => format!("already done: {seen}"),
            Outcome::Failed(reason) => format!("FAILED: {reason}{took}"),
            Outcome::Lost(reason) => format!("no answer, looking again: {reason}"),
            Outcome::Unknown(reason) => format!("UNKNOWN: {reason}"),
        };
        format!("  {subject:<18} {action:<12} {outcome}")
    }
}

/// Says what came of taking a share away.
fn withdrawn(run: &Run, outcome: &Outcome) -> Option<String> {
    let known = run.withdrawal.as_ref()?;
    let what = match outcome {
        Outcome::Done(seen) | Outcome::AlreadyDone(seen) => format!("gone: {seen}"),
        Outcome::Lost(reason) => format!("no answer, trying again: {reason}"),
        Outcome::Failed(reason) | Outcome::Unknown(reason) => format!("NOT TAKEN AWAY: {reason}"),
    };
    let place = format!("{}/{}", known.environment, known.fleet);
    Some(format!("  {place:<18} {:<12} {what}", "share"))
}

/// Steps that people wait for are announced, so that nothing seems stuck.
fn waits(run: &Run, step: &StepId) -> Option<String> {
    let (stage, lane, step) = run.find(step)?;
    let what = match &step.action {
        Action::Bake { duration, watch: BakeWatch::Live } => {
            format!("watching alerts for {}", seconds(*duration))
        }
        Action::Bake { duration, watch: BakeWatch::Afterwards } => {
            format!("checked afterwards, when it is {} old", seconds(*duration))
        }
        Action::Qa(_) => "running".to_owned(),
        Action::Expose { requests, watch, .. } => {
            format!("until {requests} requests came, for {} at least", seconds(*watch))
        }
        Action::Approve { what } => format!("waits for a person: {what} (serin approve --note …)"),
        Action::Guard
        | Action::StopConfigManagement
        | Action::StartConfigManagement { .. }
        | Action::RecordVersion { .. }
        | Action::SetShare { .. }
        | Action::CheckHost { .. }
        | Action::Fetch
        | Action::Simulate
        | Action::CheckConfig
        | Action::Drain
        | Action::Install { .. }
        | Action::Reconfigure
        | Action::Activate
        | Action::Ready
        | Action::PreparePatch { .. }
        | Action::Patch { .. }
        | Action::Unpatch { .. }
        | Action::Migrate(_)
        | Action::Sweep { .. } => return None,
    };
    Some(format!("  {:<18} {:<12} {what}", subject(stage, lane), name(&step.action)))
}

/// Shows what a lane is about.
pub(crate) fn subject(stage: &serin_model::Stage, lane: &serin_model::Lane) -> String {
    match &lane.subject {
        serin_model::Subject::Host(host) => host.to_string(),
        serin_model::Subject::Fleet(fleet) => format!("{}/{fleet}", stage.environment),
        serin_model::Subject::Environment => stage.environment.to_string(),
    }
}

/// Shows what a step does, in a word or two.
pub(crate) fn name(action: &Action) -> String {
    match action {
        Action::Qa(suite) => format!("qa {suite}"),
        Action::StopConfigManagement => "stop agent".to_owned(),
        Action::StartConfigManagement { .. } => "start agent".to_owned(),
        Action::RecordVersion { .. } => "record".to_owned(),
        Action::PreparePatch { .. } => "fits".to_owned(),
        Action::SetShare { percent, .. } => format!("share {percent}%"),
        Action::Migrate(serin_model::MigrationKind::PostDeployment) => "migrate post".to_owned(),
        Action::Guard
        | Action::CheckHost { .. }
        | Action::Fetch
        | Action::Simulate
        | Action::CheckConfig
        | Action::Drain
        | Action::Install { .. }
        | Action::Reconfigure
        | Action::Activate
        | Action::Ready
        | Action::Patch { .. }
        | Action::Unpatch { .. }
        | Action::Migrate(serin_model::MigrationKind::Regular)
        | Action::Expose { .. }
        | Action::Approve { .. }
        | Action::Bake { .. }
        | Action::Sweep { .. } => action.name().to_owned(),
    }
}
