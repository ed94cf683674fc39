//! A run's step that sets a share of traffic: what `crate::share` computes, with a step's outcome.

use super::{Act, Performed, Stop, already, done, stopped, unexpected};
use crate::ports::{Fence, PortError, Ports};
use crate::share::{ShareError, Sharing, Told, measured_text};
use serin_engine::Outcome;
use serin_model::{Environment, FleetName, Pace, Reason};

pub(super) async fn set(act: &Act, fleet: &FleetName, percent: u8) -> Performed {
    let sharing = Sharing { ports: &act.ports, environment: act.environment()?, fleet };
    if percent == 0 && act.plan.pace == Pace::Expedited {
        return zero_now(act, sharing).await;
    }
    let told = sharing.set(act.fence, percent).await?;
    let shares: Vec<String> = told.computed.iter().map(ToString::to_string).collect();
    let mut seen = format!("{fleet} is meant to get {percent}%; by weight {}", shares.join(", "));
    if percent > 0 {
        seen = format!("{seen}; {}", measured_text(&sharing.measure().await?));
    }
    if told.changed { done(seen) } else { already(seen) }
}

/// At the expedited pace nobody waits for others to be UP: what the fleet has is to go, whatever is left.
async fn zero_now(act: &Act, sharing: Sharing<'_>) -> Performed {
    sharing.zero(act.fence).await?;
    let parts = sharing.look().await?;
    match parts.iter().find(|part| part.own > 0) {
        Some(part) => {
            unexpected(format!("{} without shared traffic", sharing.fleet), part.to_string())
        }
        None => done(format!("{} gets nothing of what it shares", sharing.fleet)),
    }
}

/// Takes a fleet's share of traffic away, as a halt does.
pub async fn withdraw(
    ports: &Ports,
    fence: Fence,
    environment: &Environment,
    fleet: &FleetName,
) -> Outcome {
    let failed = match (Sharing { ports, environment, fleet }).withdraw(fence).await {
        Ok(Told { changed, computed }) => {
            let shares: Vec<String> = computed.iter().map(ToString::to_string).collect();
            let seen = format!("by weight {}", shares.join(", "));
            return if changed { Outcome::Done(seen) } else { Outcome::AlreadyDone(seen) };
        }
        Err(failed) => failed,
    };
    // As long as one of them may yet answer, all are asked again: the others have it already.
    let may_answer = |error: &ShareError| {
        matches!(error, ShareError::Port(PortError::Unreachable { .. } | PortError::Garbled(_)))
    };
    let again = failed.iter().any(may_answer);
    let mut reasons: Vec<Reason> = failed.into_iter().map(Reason::from).collect();
    let reason = match (reasons.pop(), reasons.is_empty()) {
        (Some(only), true) => only,
        (last, _) => Reason::Strays(reasons.iter().chain(&last).map(ToString::to_string).collect()),
    };
    if again { Outcome::Lost(reason) } else { Outcome::Failed(reason) }
}

/// Tells HAProxy again that a fleet gets no shared traffic, after a reload made it forget.
///
/// # Errors
/// When a load balancer could not be told; the next reading shows whether it is still needed.
pub async fn zero(
    ports: &Ports,
    fence: Fence,
    environment: &Environment,
    fleet: &FleetName,
) -> Result<(), Reason> {
    Ok(Sharing { ports, environment, fleet }.zero(fence).await?)
}

impl From<ShareError> for Box<Stop> {
    fn from(error: ShareError) -> Self {
        Self::new(match error {
            ShareError::Port(error) => stopped(error),
            ShareError::Unfit(reason) => Outcome::Failed(reason),
        })
    }
}
