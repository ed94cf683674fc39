//! When requests leave, and which endpoint each one asks: the two things that a seed and a rate
//! decide. Pure: no clock, no randomness but the seed's.

use std::time::Duration;

/// Arrivals at a constant rate, numbered from 0.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// The time a million arrivals take, in nanoseconds: one period, rounded to a nanosecond, would
    /// make fast rates drift.
    million_ns: u128,
    /// Arrivals due at or after this offset do not happen.
    end: Option<Duration>,
}

impl Schedule {
    /// `rate_per_second` was checked to be a positive number within the profile's bounds.
    pub(crate) fn new(rate_per_second: f64, end: Option<Duration>) -> Self {
        let million = Duration::from_secs_f64(1_000_000.0 / rate_per_second);
        Self { million_ns: million.as_nanos(), end }
    }

    /// When arrival `number` is due, counted from the start; `None` past the end.
    pub(crate) fn due(&self, number: u64) -> Option<Duration> {
        // Rounded up, so that 3/s for one second is three arrivals, not a fourth just before its end.
        let ns = (u128::from(number) * self.million_ns).div_ceil(1_000_000);
        // 2^64 ns is 584 years: saturating there is as good as never.
        let due = Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
        self.end.is_none_or(|end| due < end).then_some(due)
    }
}

/// A seeded, weighted choice among endpoints.
///
/// The generator is SplitMix64, written out here so that no dependency's update can move the
/// choices of a seed.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    state: u64,
    /// Running sums of the weights; the last one is the total.
    sums: Vec<u64>,
}

impl Choice {
    pub(crate) fn new(seed: u64, weights: impl Iterator<Item = u32>) -> Self {
        let sums = weights
            .scan(0_u64, |sum, weight| {
                *sum += u64::from(weight);
                Some(*sum)
            })
            .collect();
        Self { state: seed, sums }
    }

    /// The index of the next endpoint.
    pub(crate) fn next(&mut self) -> usize {
        let total = self.sums.last().copied().unwrap_or(1).max(1);
        // The bias of the remainder is below total/2^64: nothing, for totals below 2^27.
        let point = self.random() % total;
        self.sums.partition_point(|sum| *sum <= point)
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(rate: f64, end: Duration) -> u64 {
        let schedule = Schedule::new(rate, Some(end));
        (0..10_000_000).take_while(|number| schedule.due(*number).is_some()).last().unwrap() + 1
    }

    #[test]
    fn a_rate_gives_its_number_of_arrivals() {
        assert_eq!(arrivals(100.0, Duration::from_secs(30)), 3_000);
        assert_eq!(arrivals(0.5, Duration::from_secs(10)), 5);
        assert_eq!(arrivals(3.0, Duration::from_secs(1)), 3);
        assert_eq!(arrivals(19_999.0, Duration::from_mins(1)), 19_999 * 60);
    }

    #[test]
    fn arrivals_do_not_drift() {
        let schedule = Schedule::new(100.0, None);
        assert_eq!(schedule.due(360_000), Some(Duration::from_hours(1)));
        assert!(schedule.due(u64::MAX).is_some(), "no end means no end");
    }

    #[test]
    fn a_seed_always_makes_the_same_choices() {
        // From the reference implementation of SplitMix64, seed 1234567.
        let mut choice = Choice::new(1_234_567, [1].into_iter());
        assert_eq!(choice.random(), 6_457_827_717_110_365_317);
        assert_eq!(choice.random(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn weights_are_respected() {
        let mut choice = Choice::new(7, [1, 3, 6].into_iter());
        let mut counts = [0_u32; 3];
        for _ in 0..10_000 {
            counts[choice.next()] += 1;
        }
        // Three standard deviations around 1000, 3000 and 6000.
        assert!((910..=1_090).contains(&counts[0]), "{counts:?}");
        assert!((2_862..=3_138).contains(&counts[1]), "{counts:?}");
        assert!((5_853..=6_147).contains(&counts[2]), "{counts:?}");
    }
}
