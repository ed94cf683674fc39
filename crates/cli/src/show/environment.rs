//! Events of an environment as lines of text.

use super::time;
use serin_engine::EnvironmentEvent;
use serin_model::{EnvironmentName, Timestamp, verdict::seconds};

/// Renders an event of an environment beside those of a run; `None`: a line of the run says it.
pub(crate) fn line(
    name: &EnvironmentName,
    at: Timestamp,
    event: &EnvironmentEvent,
) -> Option<String> {
    let of_run = matches!(event, EnvironmentEvent::ShareSet { by, .. } if by.starts_with("run "));
    (!of_run).then(|| format!("{}  {name}: {}", time(at), text(event)))
}

/// Renders an event of an environment. What became of an attempt follows it, further in.
pub(crate) fn text(event: &EnvironmentEvent) -> String {
    match event {
        EnvironmentEvent::Attempted { what, by, why } => format!("{by} asks to {what}: {why}"),
        EnvironmentEvent::Refused { why } => format!("  refused: {why}"),
        EnvironmentEvent::HoldPlaced { id, fleet, until, mid_run, .. } => {
            let fleet = fleet.as_ref().map(|fleet| format!(" on {fleet}")).unwrap_or_default();
            let until = until.map(|until| format!(" until {}", until.utc())).unwrap_or_default();
            format!("  hold {id} is placed{fleet}{until} ({mid_run})")
        }
        EnvironmentEvent::HoldLifted { id, .. } => format!("  hold {id} is lifted"),
        EnvironmentEvent::Overridden { run, by, second, .. } => {
            let second = second.as_ref().map(|who| format!(" and {who}")).unwrap_or_default();
            format!("  run {run} is let through by {by}{second}")
        }
        EnvironmentEvent::ShareSet { fleet, ramp, by, .. } if ramp.length.is_zero() => {
            format!("  {fleet} is meant to get {}%, says {by}", ramp.to)
        }
        EnvironmentEvent::ShareSet { fleet, ramp, by, .. } => {
            let (from, to, length) = (ramp.from, ramp.to, seconds(ramp.length));
            format!("  {fleet} goes from {from}% to {to}% in {length}, says {by}")
        }
        EnvironmentEvent::PatchPlaced { id, incident, .. } => {
            format!("  patch {} is in the ledger, for {incident}", id.short())
        }
        EnvironmentEvent::PatchContained { id, version, .. } => {
            format!("  {version} contains patch {}", id.short())
        }
        EnvironmentEvent::PatchClosed { id, .. } => format!("  patch {} is closed", id.short()),
        EnvironmentEvent::DriftFixed { found, .. } => {
            format!("  {} difference(s) are put right", found.len())
        }
    }
}
