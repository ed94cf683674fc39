//! A run's step that sets a share of traffic: what `crate::share` computes, with a step's outcome.

use super::{Act, Performed, Stop, already, done, stopped};
use crate::ports::{Fence, Ports};
use crate::share::{ShareError, Sharing, measured_text};
use serin_engine::Outcome;
use serin_model::{Environment, FleetName, Reason};

pub(super) async fn set(act: &Act, fleet: &FleetName, percent: u8) -> Performed {
    let sharing = Sharing { ports: &act.ports, environment: act.environment()?, fleet };
    let told = sharing.set(act.fence, percent).await?;
    let shares: Vec<String> = told.computed.iter().map(ToString::to_string).collect();
    let mut seen = format!("{fleet} is meant to get {percent}%; by weight {}", shares.join(", "));
    if percent > 0 {
        seen = format!("{seen}; {}", measured_text(&sharing.measure().await?));
    }
    if told.changed { done(seen) } else { already(seen) }
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
