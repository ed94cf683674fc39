//! What one Prometheus has recorded of a time that is over: which alerts fired, and whether it watched for all of it.
//!
//! It is asked for the samples themselves, not for values at steps: between two steps Prometheus goes on for minutes with
//! the last sample that it has, and a time in which it was down looks like one in which all was well. The alert that always
//! fires must have a sample in every two evaluations; a longer gap is a doubt. What it cannot show is a single rule that
//! failed meanwhile: only its state of now is known.

use super::matcher::{Labels, Matcher, fits_all};
use super::prometheus::{asked, external_labels_of, interval};
use super::{Fired, Heard};
use crate::http::redacted;
use reqwest::Client;
use serde::Deserialize;
use serin_model::Timestamp;

/// How much later than meant an evaluation may come, in seconds: Prometheus spreads them, and waits for slow ones.
const SLACK: f64 = 1.0;

/// Bounds of what is taken for the time between evaluations, in seconds. Rules that are looked at less often prove nothing
/// about a bake.
const INTERVALS: (f64, f64) = (0.1, 300.0);

/// A time, in seconds of the epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    from: f64,
    to: f64,
}

impl Time {
    pub(super) fn new(from: Timestamp, to: Timestamp) -> Self {
        Self { from: seconds(from), to: seconds(to) }
    }
}

/// A time stamp in seconds; those of this century have no digits that are lost.
fn seconds(at: Timestamp) -> f64 {
    std::time::Duration::from_millis(at.as_millis()).as_secs_f64()
}

#[derive(Debug, Deserialize)]
struct Matrix {
    #[serde(rename = "resultType")]
    result_type: String,
    result: Vec<Series>,
}

#[derive(Debug, Deserialize)]
struct Series {
    metric: Labels,
    values: Vec<(f64, String)>,
}

/// Asks for everything that fired. `watchdog`: what the alert that always fires fits.
pub(super) async fn read(
    client: &Client,
    address: &str,
    time: Time,
    watchdog: &[Matcher],
) -> Heard {
    let name = redacted(address);
    match try_read(client, address, time, watchdog).await {
        Ok((alerts, doubt)) => Heard {
            alerts,
            doubts: doubt.iter().map(|why| format!("Prometheus {name}: {why}")).collect(),
        },
        Err(why) => Heard { alerts: Vec::new(), doubts: vec![format!("Prometheus {name}{why}")] },
    }
}

async fn try_read(
    client: &Client,
    address: &str,
    time: Time,
    watchdog: &[Matcher],
) -> Result<(Vec<Fired>, Option<String>), String> {
    let (every, external) =
        tokio::try_join!(interval(client, address), external_labels_of(client, address))?;
    let every = every.clamp(INTERVALS.0, INTERVALS.1);
    let length = (time.to - time.from + 2.0 * (every + SLACK)).ceil();
    let query = format!("ALERTS{{alertstate=\"firing\"}}[{length}s]");
    let at = format!("{:.3}", time.to);
    let path = "/api/v1/query";
    let query = [("query", query.as_str()), ("time", at.as_str())];
    let (matrix, _) = asked::<Matrix>(client, address, path, &query).await?;
    if matrix.result_type != "matrix" {
        return Err(format!("{path}: it answered with a {}", matrix.result_type));
    }
    let (mut alerts, mut watched) = (Vec::new(), Vec::new());
    for series in matrix.result {
        let mut own_labels = series.metric;
        own_labels.retain(|name, _| name != "__name__" && name != "alertstate");
        let mut labels = external.clone();
        labels.extend(own_labels.clone());
        let times = series.values.iter().map(|(at, _)| *at);
        if fits_all(watchdog, &labels) {
            watched.extend(times);
        } else if times.into_iter().any(|at| time.from <= at && at <= time.to) {
            alerts.push(Fired { labels, own_labels, silenced: false });
        }
    }
    Ok((alerts, gap(&mut watched, time, every)))
}

/// Finds a time in which nobody watched for longer than two evaluations.
fn gap(watched: &mut [f64], time: Time, every: f64) -> Option<String> {
    watched.sort_by(f64::total_cmp);
    let most = 2.0 * every + SLACK;
    let mut last = None;
    // What was before the beginning counts for the way to the first sample in it.
    for at in watched.iter().copied().filter(|at| *at <= time.to) {
        let since: f64 = last.unwrap_or(time.from);
        if at > time.from && at - since.max(time.from) > most {
            return Some(told(since.max(time.from), at - since.max(time.from), time));
        }
        last = Some(at);
    }
    let last = last.unwrap_or(time.from).max(time.from);
    (time.to - last > most || watched.is_empty()).then(|| told(last, time.to - last, time))
}

fn told(since: f64, length: f64, time: Time) -> String {
    format!(
        "its watchdog was not recorded for {length:.0} s, from second {:.0} of the bake on: nobody watched",
        since - time.from
    )
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    fn doubt(watched: &[f64]) -> Option<String> {
        gap(&mut watched.to_vec(), Time { from: 1000.0, to: 1060.0 }, 10.0)
    }

    #[test]
    fn a_bake_is_proven_by_samples_without_a_gap_of_more_than_two_evaluations() {
        let every = |step: u32| (0..=60 / step).map(|n| 1000.0 + f64::from(n * step)).collect();
        let whole: Vec<f64> = every(10);
        assert_eq!(doubt(&whole), None);
        let sparse: Vec<f64> = every(20);
        assert_eq!(doubt(&sparse), None, "one evaluation may be missed");
        assert_eq!(doubt(&[990.0, 1020.0, 1040.0, 1045.0]), None, "in any order, from before on");
    }

    #[test]
    fn a_gap_at_the_beginning_in_the_middle_or_at_the_end_is_a_doubt() {
        for (watched, second) in [
            (vec![], 0),
            (vec![1030.0, 1050.0], 0),
            (vec![1001.0, 1020.0, 1045.0, 1055.0], 20),
            (vec![1001.0, 1020.0, 1035.0], 35),
            // Long before, and never again.
            (vec![900.0], 0),
        ] {
            let found = doubt(&watched).unwrap_or_else(|| panic!("{watched:?} has no gap"));
            assert!(found.contains(&format!("from second {second} ")), "{watched:?}: {found}");
        }
    }
}
