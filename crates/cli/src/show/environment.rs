//! Events of an environment as lines of text.

use super::time;
use serin_engine::EnvironmentEvent;
use serin_model::{EnvironmentName, Timestamp, verdict::seconds};

/// Renders an event of an environment; `None`: another line or the run itself says it.
pub(crate) fn line(
    name: &EnvironmentName,
    at: Timestamp,
    event: &EnvironmentEvent,
) -> Option<String> {
    let text = match event {
        // What became of it follows.
        EnvironmentEvent::Attempted { what, by, why } => format!("{by} asks to {what}: {why}"),
        EnvironmentEvent::Refused { why } => format!("  refused: {why}"),
        EnvironmentEvent::HoldPlaced { id, fleet, .. } => {
            let fleet = fleet.as_ref().map(|fleet| format!(" on {fleet}")).unwrap_or_default();
            format!("  hold {id} is placed{fleet}")
        }
        EnvironmentEvent::HoldLifted { id, .. } => format!("  hold {id} is lifted"),
        EnvironmentEvent::Overridden { run, by, .. } => {
            format!("  run {run} is let through by {by}")
        }
        EnvironmentEvent::ShareSet { by, .. } if by.starts_with("run ") => return None,
        EnvironmentEvent::ShareSet { fleet, ramp, .. } if ramp.length.is_zero() => {
            format!("  {fleet} is meant to get {}%", ramp.to)
        }
        EnvironmentEvent::ShareSet { fleet, ramp, .. } => {
            let (from, to, length) = (ramp.from, ramp.to, seconds(ramp.length));
            format!("  {fleet} goes from {from}% to {to}% in {length}")
        }
        EnvironmentEvent::DriftFixed { found, .. } => {
            format!("  {} difference(s) are put right", found.len())
        }
    };
    Some(format!("{}  {name}: {text}", time(at)))
}
