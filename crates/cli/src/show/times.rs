//! What the time of a stage went to, in one line.

use serin_engine::{Spent, StageTimes};
use serin_model::verdict::seconds;
use std::time::Duration;

/// Says how long a stage took, and what most of it went to; what took less than a second is left out.
pub(crate) fn took(times: &StageTimes) -> String {
    let spent = times.spent.iter().map(|(spent, time)| (*spent, *time));
    let mut spent: Vec<(Spent, Duration)> =
        spent.filter(|(_, time)| *time >= Duration::from_secs(1)).collect();
    spent.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    let parts: Vec<String> =
        spent.iter().map(|(spent, time)| format!("{} {}", spent.name(), whole(*time))).collect();
    match parts.as_slice() {
        [] => String::new(),
        [only] => format!(", {only}"),
        _ => format!(", {}: {}", whole(times.total()), parts.join(", ")),
    }
}

fn whole(time: Duration) -> String {
    seconds(Duration::from_secs(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serin_model::Timestamp;

    #[test]
    fn the_largest_part_comes_first_and_moments_are_left_out() {
        let spent = |parts: &[(Spent, u64)]| StageTimes {
            environment: "staging".parse().unwrap(),
            began: Timestamp::from_millis(0),
            passed: None,
            spent: parts.iter().map(|(on, ms)| (*on, Duration::from_millis(*ms))).collect(),
        };
        assert_eq!(took(&spent(&[])), "");
        assert_eq!(took(&spent(&[(Spent::Work, 900)])), "");
        assert_eq!(took(&spent(&[(Spent::Work, 61_900), (Spent::Qa, 10)])), ", work 61s");
        let all = spent(&[(Spent::Work, 9_500), (Spent::Bake, 300_000), (Spent::Guard, 20)]);
        assert_eq!(took(&all), ", 309s: bake 5m, work 9s");
    }
}
