//! Seeded randomness of the simulator's own, so that a dependency's update cannot move what a seed means.
//!
//! SplitMix64. Not for anything secret.

use std::time::Duration;

/// A stream of numbers that a seed decides.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from zero to less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Returns whether something happens that happens once in `count` times.
    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Returns one of several; `None` where there are none.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let place = usize::try_from(self.below(u64::try_from(items.len()).ok()?)).ok()?;
        items.get(place)
    }

    /// Returns a duration of at least `from` and less than `to` milliseconds.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.next() % to.saturating_sub(from).max(1))
    }

    /// Returns a duration of at least `from` and less than `to`, to the millisecond.
    pub(crate) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let whole = |long: Duration| u64::try_from(long.as_millis()).unwrap_or(u64::MAX);
        self.millis(whole(from), whole(to))
    }

    /// Returns a duration of at least `from` and less than `to` seconds, to the millisecond.
    pub(crate) fn seconds(&mut self, from: u64, to: u64) -> Duration {
        self.millis(from * 1_000, to * 1_000)
    }
}
