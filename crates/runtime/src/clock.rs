//! The clock: one wall-clock reading, given from outside, plus tokio's monotonic time.
//!
//! Under tokio's paused time it is the simulator's virtual clock.

use crate::ports::Clock;
use async_trait::async_trait;
use serin_model::Timestamp;
use tokio::time::Instant;

/// A clock that began at a given time.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    base: Timestamp,
    began: Instant,
}

impl TokioClock {
    /// Makes a clock that shows `base` now.
    pub fn new(base: Timestamp) -> Self {
        Self { base, began: Instant::now() }
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.base.plus(self.began.elapsed())
    }

    async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep_until(self.began + at.since(self.base)).await;
    }
}
