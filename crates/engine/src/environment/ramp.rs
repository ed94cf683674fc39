//! A share of traffic over time, as data: where it stands at any moment is computed, never stored.

use serde::{Deserialize, Serialize};
use serin_model::{Timestamp, time};
use std::time::Duration;

/// No share is changed more often: load balancers are told, and requests measured, in between.
pub const SHORTEST_STEP: Duration = Duration::from_secs(10);

/// A share of traffic that goes from one percentage to another.
///
/// It moves in equal steps of at least 10 s and at least 1 percent, and is at its end exactly when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ramp {
    /// Percent in the beginning.
    pub from: u8,
    /// Percent in the end.
    pub to: u8,
    /// When it begins.
    pub begins: Timestamp,
    /// How long it takes, in milliseconds; zero: it is at its end at once.
    #[serde(with = "time::millis")]
    pub length: Duration,
}

impl Ramp {
    /// Makes a share that is there at once.
    pub fn at_once(percent: u8, now: Timestamp) -> Self {
        Self { from: percent, to: percent, begins: now, length: Duration::ZERO }
    }

    /// Returns the percentage at a time.
    pub fn at(&self, now: Timestamp) -> u8 {
        let steps = self.steps();
        let done = self.done(now);
        if done >= steps {
            return self.to;
        }
        let way = u128::from(self.from.abs_diff(self.to)) * done / steps;
        let way = u8::try_from(way).unwrap_or(u8::MAX);
        if self.to >= self.from {
            self.from.saturating_add(way)
        } else {
            self.from.saturating_sub(way)
        }
    }

    /// Returns when the percentage changes next; `None`: it has reached its end.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let (steps, done) = (self.steps(), self.done(now));
        if done >= steps {
            return None;
        }
        let millis = (self.length.as_millis() * (done + 1)).div_ceil(steps);
        let after = u64::try_from(millis).unwrap_or(u64::MAX);
        Some(self.begins.plus(Duration::from_millis(after)))
    }

    /// Returns into how many steps the way is divided; 0: there is no way to go.
    fn steps(&self) -> u128 {
        let by_time = self.length.as_millis() / SHORTEST_STEP.as_millis();
        let by_percent = u128::from(self.from.abs_diff(self.to));
        by_time.max(u128::from(!self.length.is_zero())).min(by_percent)
    }

    fn done(&self, now: Timestamp) -> u128 {
        let since = now.since(self.begins).as_millis();
        let length = self.length.as_millis();
        if length == 0 || since >= length { u128::MAX } else { since * self.steps() / length }
    }
}
