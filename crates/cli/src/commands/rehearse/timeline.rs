//! The timeline of a rehearsal: what a person would look up for, with what went wrong in between.

use crate::show::lines::Lines;
use serin_engine::{Event, Outcome, Run};
use serin_model::{Action, Timestamp, Verdict};
use serin_sim::Rehearsed;
use std::time::Duration;

/// Which lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// What a person would look up for.
    Notable,
    /// Everything.
    Steps,
}

/// Something of a timeline.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    /// Since the beginning.
    pub(super) after: Duration,
    /// Whether it is something that goes wrong, and not what follows from it.
    pub(super) what: What,
    pub(super) text: String,
}

/// What a line of a timeline tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Fault,
    Follows,
}

/// Returns the timeline.
pub(super) fn of(rehearsed: &Rehearsed, begin: Timestamp, detail: Detail) -> Vec<Moment> {
    let moment = |at: Timestamp, what, text| Moment { after: at.since(begin), what, text };
    let faults = rehearsed.befallen.iter();
    let mut all: Vec<Moment> =
        faults.map(|(at, text)| moment(*at, What::Fault, text.clone())).collect();
    let Some((_, events)) = &rehearsed.run else { return all };
    let Some(mut run) = events.first().and_then(|(_, first)| Run::new(first).ok()) else {
        return all;
    };
    let (mut lines, mut calm) = (Lines::default(), true);
    for (at, event) in events.iter().skip(1) {
        let before = calm;
        if let Event::AlertsChanged { verdict, .. } = event {
            calm = *verdict == Verdict::Pass;
        }
        let applied = run.apply(event);
        let rendered = lines.render(&run, *at, event);
        let changed = before != calm;
        // That alerts go on as they were is no news.
        let goes_on = !changed && matches!(event, Event::AlertsChanged { .. });
        let tells = !goes_on && is_notable(&run, event);
        if applied.is_err() || detail == Detail::Notable && !tells {
            continue;
        }
        // What is rendered begins with the time of day.
        let texts = rendered.iter().filter_map(|line| line.split_once("  ").map(|(_, text)| text));
        all.extend(texts.map(|text| moment(*at, What::Follows, text.to_owned())));
    }
    // Stable: what goes wrong at a moment comes before what follows from it.
    all.sort_by_key(|moment| moment.after);
    all
}

/// Tells whether a person would look up.
fn is_notable(run: &Run, event: &Event) -> bool {
    match event {
        Event::AttemptEnded { step, outcome, .. } => match outcome {
            Outcome::Failed(_) | Outcome::Lost(_) | Outcome::Unknown(_) => true,
            Outcome::Done(_) | Outcome::AlreadyDone(_) => {
                run.find(step).is_some_and(|(_, _, step)| is_waited_for(&step.action))
            }
        },
        Event::FenceRaised { unavailable, .. } => !unavailable.is_empty(),
        Event::HeldChanged { held, .. } => !held.is_empty(),
        // The headings of stages come with attempts.
        Event::AttemptStarted { .. }
        | Event::Adopted { .. }
        | Event::AlertsChanged { .. }
        | Event::DrainLost { .. }
        | Event::ShareLost { .. }
        | Event::HaltRequested { .. }
        | Event::WithdrawalStarted { .. }
        | Event::WithdrawalEnded { .. }
        | Event::Halted
        | Event::Resumed { .. }
        | Event::Cancelled { .. }
        | Event::Finished => true,
        Event::Started { .. }
        | Event::EnvironmentEntered { .. }
        | Event::EnvironmentLeft { .. }
        | Event::BakeProgressed { .. } => false,
    }
}

fn is_waited_for(action: &Action) -> bool {
    match action {
        Action::Qa(_)
        | Action::Migrate(_)
        | Action::Expose { .. }
        | Action::Bake { .. }
        | Action::Approve { .. }
        | Action::SetShare { .. } => true,
        Action::Guard
        | Action::StopConfigManagement
        | Action::StartConfigManagement { .. }
        | Action::RecordVersion { .. }
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
        | Action::Sweep { .. } => false,
    }
}

/// What follows within this from something that went wrong is told of it, even if something else goes wrong meanwhile.
const NOTICED: Duration = Duration::from_secs(30);

/// Says what something that went wrong led to: everything until the next such thing.
pub(super) fn led_to(rehearsed: &Rehearsed, number: usize) -> String {
    let Some((from, _)) = rehearsed.befallen.get(number) else { return String::new() };
    let to = rehearsed.befallen.get(number + 1).map(|(at, _)| *at);
    let events = rehearsed.run.iter().flat_map(|(_, events)| events);
    let here = |at: Timestamp| at >= *from && to.is_none_or(|to| at < to.max(from.plus(NOTICED)));
    let (mut lost, mut told_again, mut alerts) = (0_u32, 0_u32, None);
    let mut said = Vec::new();
    for (at, event) in events.filter(|(at, _)| here(*at)) {
        let after = super::long(at.since(*from));
        if let Event::HaltRequested { reason } = event {
            said.push(format!("the run halts after {after}: {reason}"));
        } else if let Event::Resumed { .. } = event {
            said.push(format!("people repair it and resume after {after}"));
        } else if let Event::Adopted { term, .. } = event
            && *term > 1
        {
            said.push(format!("another process adopts the run after {after}"));
        } else if let Event::AttemptEnded { outcome: Outcome::Lost(_), .. } = event {
            lost += 1;
        } else if let Event::DrainLost { .. } | Event::ShareLost { .. } = event {
            told_again += 1;
        } else if let Event::AlertsChanged { verdict, .. } = event {
            match (verdict, alerts) {
                (Verdict::Pass, Some(since)) => {
                    let waited = super::long(at.since(since));
                    said.push(format!("nothing new is started for {waited}"));
                    alerts = None;
                }
                (Verdict::Pass, None) | (Verdict::Inconclusive(_) | Verdict::Fail(_), Some(_)) => {}
                (Verdict::Inconclusive(_) | Verdict::Fail(_), None) => alerts = Some(*at),
            }
        }
    }
    if told_again > 0 {
        said.insert(0, format!("HAProxy is told again what it forgot, {told_again} time(s)"));
    }
    if lost > 0 {
        said.insert(0, format!("{lost} act(s) get no answer and are looked at again"));
    }
    if said.is_empty() { "nothing that a person would notice".to_owned() } else { said.join("; ") }
}
