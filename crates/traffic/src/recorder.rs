//! The counts and histograms of a running measurement. It is told; it asks nobody, and reads no
//! clock.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use hyper::StatusCode;

use crate::client::{Exchange, Failure};
use crate::{
    EndpointSummary, FailedRequest, FailureKind, HeaderCount, Latency, Profile, Progress, Summary,
};

/// The longest time told apart: the largest time limit, and as much again for a late start.
const LATENCY_MAX_US: u64 = 2 * 3_600 * 1_000_000;

/// Distinct header values counted apart; a header that names requests must not fill the memory.
const HEADER_VALUES_MAX: usize = 32;

/// One finished request.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) endpoint: usize,
    pub(crate) base: usize,
    /// When it was due, from the start.
    pub(crate) due: Duration,
    pub(crate) lag: Duration,
    pub(crate) service: Duration,
    pub(crate) exchange: Exchange,
}

/// When and how sending ended: what only the clock's reader knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) started_at_unix_ms: u64,
    pub(crate) sending: Duration,
    pub(crate) stopped: bool,
}

pub(crate) struct Recorder {
    wanted_per_second: f64,
    count_header: String,
    bases: Vec<String>,
    endpoints: Vec<EndpointCount>,
    requests: u64,
    succeeded: u64,
    failed: u64,
    dropped: u64,
    reconnects: u64,
    in_flight_max: u64,
    response: Histogram<u64>,
    service: Histogram<u64>,
    lag: Histogram<u64>,
    last_second: Histogram<u64>,
    failures: BTreeMap<FailureKind, u64>,
    replies_by_header: BTreeMap<String, HeaderCount>,
    failed_requests: Vec<FailedRequest>,
}

struct EndpointCount {
    name: String,
    requests: u64,
    failed: u64,
    dropped: u64,
    response: Histogram<u64>,
}

impl Recorder {
    pub(crate) fn new(profile: &Profile) -> Self {
        let endpoint = |endpoint: &crate::Endpoint| EndpointCount {
            name: endpoint.to_string(),
            requests: 0,
            failed: 0,
            dropped: 0,
            // A hundred of them at two digits take 3 MB, at three 20 MB.
            response: histogram(2),
        };
        Self {
            wanted_per_second: profile.rate_per_second,
            count_header: profile.count_header.clone(),
            bases: profile.bases.iter().map(ToString::to_string).collect(),
            endpoints: profile.endpoints.iter().map(endpoint).collect(),
            requests: 0,
            succeeded: 0,
            failed: 0,
            dropped: 0,
            reconnects: 0,
            in_flight_max: 0,
            response: histogram(3),
            service: histogram(3),
            lag: histogram(3),
            last_second: histogram(3),
            failures: BTreeMap::new(),
            replies_by_header: BTreeMap::new(),
            failed_requests: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self, endpoint: usize, in_flight: u64) {
        self.requests += 1;
        self.in_flight_max = self.in_flight_max.max(in_flight);
        if let Some(count) = self.endpoints.get_mut(endpoint) {
            count.requests += 1;
        }
    }

    pub(crate) fn drop_arrival(&mut self, endpoint: usize) {
        self.dropped += 1;
        if let Some(count) = self.endpoints.get_mut(endpoint) {
            count.dropped += 1;
        }
    }

    pub(crate) fn finish(&mut self, done: Done) {
        let response = done.lag + done.service;
        for histogram in [&mut self.response, &mut self.last_second] {
            histogram.saturating_record(micros(response));
        }
        self.service.saturating_record(micros(done.service));
        self.lag.saturating_record(micros(done.lag));
        self.reconnects += u64::from(done.exchange.reconnected);
        let failure = match done.exchange.outcome {
            Ok(status) => failure_of(status),
            Err(ref failure) => Some((failure.kind, failure.detail.clone())),
        };
        if done.exchange.answered {
            let count = self.header_count(done.exchange.counted.as_deref());
            count.replies += 1;
            count.failed += u64::from(failure.is_some());
        }
        if let Some(count) = self.endpoints.get_mut(done.endpoint) {
            count.response.saturating_record(micros(response));
            count.failed += u64::from(failure.is_some());
        }
        match failure {
            None => self.succeeded += 1,
            Some((kind, detail)) => self.fail(done, response, Failure { kind, detail }),
        }
    }

    fn fail(&mut self, done: Done, response: Duration, failure: Failure) {
        self.failed += 1;
        *self.failures.entry(failure.kind).or_default() += 1;
        if self.failed_requests.len() < Summary::FAILED_REQUESTS_MAX {
            let endpoint = self.endpoints.get(done.endpoint);
            self.failed_requests.push(FailedRequest {
                due_ms: millis(done.due),
                response_us: micros(response),
                endpoint: endpoint.map(|count| count.name.clone()).unwrap_or_default(),
                base: self.bases.get(done.base).cloned().unwrap_or_default(),
                kind: failure.kind,
                detail: failure.detail,
                counted: done.exchange.counted,
            });
        }
    }

    fn header_count(&mut self, value: Option<&str>) -> &mut HeaderCount {
        let value = value.unwrap_or("(none)");
        let is_room = self.replies_by_header.len() < HEADER_VALUES_MAX
            || self.replies_by_header.contains_key(value);
        let key = if is_room { value } else { "(other)" };
        self.replies_by_header.entry(key.to_owned()).or_default()
    }

    /// How it stands; begins the next second.
    pub(crate) fn progress(&mut self, elapsed: Duration, in_flight: u64) -> Progress {
        let last_second = latency(&self.last_second);
        self.last_second.reset();
        Progress {
            elapsed_ms: millis(elapsed),
            requests: self.requests,
            succeeded: self.succeeded,
            failed: self.failed,
            dropped: self.dropped,
            reconnects: self.reconnects,
            in_flight,
            last_second,
            failures: self.failures.clone(),
            replies_by_header: self.replies_by_header.clone(),
        }
    }

    pub(crate) fn into_summary(self, span: Span) -> Summary {
        let endpoint = |count: EndpointCount| EndpointSummary {
            endpoint: count.name,
            requests: count.requests,
            failed: count.failed,
            dropped: count.dropped,
            response: latency(&count.response),
        };
        Summary {
            started_at_unix_ms: span.started_at_unix_ms,
            sending_ms: millis(span.sending),
            stopped: span.stopped,
            wanted_per_second: self.wanted_per_second,
            achieved_per_second: per_second(self.requests, span.sending),
            requests: self.requests,
            succeeded: self.succeeded,
            failed: self.failed,
            dropped: self.dropped,
            reconnects: self.reconnects,
            in_flight_max: self.in_flight_max,
            response: latency(&self.response),
            service: latency(&self.service),
            lag: latency(&self.lag),
            failures: self.failures,
            endpoints: self.endpoints.into_iter().map(endpoint).collect(),
            count_header: self.count_header,
            replies_by_header: self.replies_by_header,
            failed_requests: self.failed_requests,
        }
    }
}

fn failure_of(status: StatusCode) -> Option<(FailureKind, String)> {
    let is_failure = status.as_u16() >= 400;
    is_failure.then(|| (FailureKind::Status(status.as_u16()), String::new()))
}

fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, digits).expect("constant bounds are valid")
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    if histogram.is_empty() {
        return Latency::default();
    }
    Latency {
        count: histogram.len(),
        mean_us: histogram.mean(),
        p50_us: histogram.value_at_quantile(0.5),
        p90_us: histogram.value_at_quantile(0.9),
        p99_us: histogram.value_at_quantile(0.99),
        p999_us: histogram.value_at_quantile(0.999),
        max_us: histogram.max(),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53, and it is for people")]
fn per_second(count: u64, span: Duration) -> f64 {
    if span.is_zero() { 0.0 } else { count as f64 / span.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Endpoint;

    fn recorder() -> Recorder {
        let bases = vec!["http://lb-01".parse().unwrap()];
        Recorder::new(&Profile::new(1.0, bases, vec![Endpoint::get("/")]))
    }

    fn done(status: u16, counted: Option<&str>) -> Done {
        let exchange = Exchange {
            outcome: Ok(StatusCode::from_u16(status).unwrap()),
            counted: counted.map(str::to_owned),
            answered: true,
            reconnected: false,
        };
        let (lag, service) = (Duration::from_millis(2), Duration::from_millis(3));
        Done { endpoint: 0, base: 0, due: Duration::from_secs(7), lag, service, exchange }
    }

    fn summary(recorder: Recorder) -> Summary {
        let sending = Duration::from_secs(10);
        recorder.into_summary(Span { started_at_unix_ms: 0, sending, stopped: false })
    }

    #[test]
    fn failed_requests_are_kept_up_to_a_bound_and_counted_beyond_it() {
        let mut recorder = recorder();
        for _ in 0..250 {
            recorder.start(0, 1);
            recorder.finish(done(503, None));
        }
        let summary = summary(recorder);
        assert_eq!((summary.failed, summary.failed_requests.len()), (250, 100));
        assert_eq!(summary.failures[&FailureKind::Status(503)], 250);
        assert_eq!(summary.failed_requests[0].due_ms, 7_000);
        assert_eq!(summary.failed_requests[0].response_us, 5_000);
    }

    #[test]
    fn a_header_with_endless_values_is_counted_together() {
        let mut recorder = recorder();
        for value in 0..100 {
            recorder.finish(done(200, Some(&value.to_string())));
        }
        recorder.finish(done(500, Some("0")));
        let counts = summary(recorder).replies_by_header;
        assert_eq!(counts.len(), 33);
        assert_eq!(counts["(other)"], HeaderCount { replies: 68, failed: 0 });
        assert_eq!(counts["0"], HeaderCount { replies: 2, failed: 1 });
    }

    #[test]
    fn a_second_begins_empty_and_totals_stay() {
        let mut recorder = recorder();
        recorder.finish(done(302, None));
        let first = recorder.progress(Duration::from_secs(1), 0);
        let second = recorder.progress(Duration::from_secs(2), 0);
        assert_eq!((first.last_second.count, second.last_second.count), (1, 0));
        assert_eq!((first.succeeded, second.succeeded), (1, 1));
    }

    #[test]
    fn json_reads_back_as_it_was() {
        let mut recorder = recorder();
        recorder.finish(done(404, Some("canary")));
        let summary = summary(recorder);
        let json = serde_json::to_string(&summary).unwrap();
        assert!(json.contains(r#""failures":{"status_404":1}"#), "{json}");
        assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), summary);
    }
}
