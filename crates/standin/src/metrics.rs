//! What a service counts, in Prometheus' text format.
//!
//! Only requests of users are counted: health checks would drown the error ratio that the alert rules look at.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::settings::Build;

/// Upper bounds of the latency buckets, in milliseconds.
const BUCKETS: [u64; 6] = [50, 100, 250, 500, 1000, 2500];

#[derive(Default)]
struct Counts {
    by_code: BTreeMap<u16, u64>,
    by_bucket: [u64; BUCKETS.len()],
    total: u64,
    duration: Duration,
}

/// The counters of one process.
#[derive(Default)]
pub(crate) struct Metrics {
    counts: Mutex<Counts>,
}

/// What is true at the moment of a scrape, besides the counters.
pub(crate) struct Gauges {
    pub service: &'static str,
    pub alert: bool,
    pub started: Duration,
    pub in_flight: u64,
}

impl Metrics {
    /// Notes one answered request.
    pub(crate) fn count(&self, code: u16, took: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.by_code.entry(code).or_default() += 1;
        counts.total += 1;
        counts.duration += took;
        for (bucket, limit) in counts.by_bucket.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(took <= Duration::from_millis(limit));
        }
    }

    /// The page that Prometheus scrapes.
    pub(crate) fn render(&self, build: &Build, gauges: &Gauges) -> String {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Gauges { service, .. } = gauges;
        let mut page = String::from("# TYPE http_requests_total counter\n");
        // A series that appears only with its first error has no rate; both ends exist from the start.
        for code in [200, 500].into_iter().filter(|code| !counts.by_code.contains_key(code)) {
            line(&mut page, &format!("http_requests_total{{code=\"{code}\"}}"), &0);
        }
        for (code, count) in &counts.by_code {
            line(&mut page, &format!("http_requests_total{{code=\"{code}\"}}"), count);
        }
        let errors: u64 = counts.by_code.range(500..).map(|(_, count)| count).sum();
        page.push_str("# TYPE http_request_errors_total counter\n");
        line(&mut page, "http_request_errors_total", &errors);
        page.push_str("# TYPE http_request_duration_seconds histogram\n");
        for (bucket, limit) in counts.by_bucket.iter().zip(BUCKETS) {
            let limit = Duration::from_millis(limit).as_secs_f64();
            let name = format!("http_request_duration_seconds_bucket{{le=\"{limit}\"}}");
            line(&mut page, &name, bucket);
        }
        line(&mut page, "http_request_duration_seconds_bucket{le=\"+Inf\"}", &counts.total);
        line(&mut page, "http_request_duration_seconds_sum", &counts.duration.as_secs_f64());
        line(&mut page, "http_request_duration_seconds_count", &counts.total);
        page.push_str("# TYPE http_requests_in_flight gauge\n");
        line(&mut page, "http_requests_in_flight", &gauges.in_flight);
        page.push_str("# TYPE build_info gauge\n");
        let (version, revision) = (&build.version, &build.revision);
        let name = format!(
            "build_info{{service=\"{service}\",version=\"{version}\",revision=\"{revision}\"}}"
        );
        line(&mut page, &name, &1);
        page.push_str("# TYPE process_start_time_seconds gauge\n");
        line(&mut page, "process_start_time_seconds", &gauges.started.as_secs_f64());
        page.push_str("# TYPE serin_lab_alert gauge\n");
        line(&mut page, "serin_lab_alert", &u8::from(gauges.alert));
        page
    }
}

fn line(page: &mut String, name: &str, value: &dyn std::fmt::Display) {
    for part in [name, " ", &value.to_string(), "\n"] {
        page.push_str(part);
    }
}
