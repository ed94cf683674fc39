//! What a measurement found: the JSON of `serin traffic --json`, documented field by field.
//!
//! Times end in their unit. Nothing here judges: a zero that matters is compared by the reader.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::FailureKind;

/// A finished measurement. `requests == succeeded + failed`, always: what was in flight at the end
/// was waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "an unread summary proves nothing"]
pub struct Summary {
    /// When the first request was due, in Unix time, to find a failure in other logs.
    pub started_at_unix_ms: u64,
    /// How long requests kept leaving.
    pub sending_ms: u64,
    /// Stopped from outside before the profile's duration was over (or without one).
    pub stopped: bool,
    /// The profile's rate.
    pub wanted_per_second: f64,
    /// Requests that left per second of `sending_ms`.
    pub achieved_per_second: f64,
    /// Requests that left.
    pub requests: u64,
    /// A whole reply with a status below 400, in time.
    pub succeeded: u64,
    /// Everything else that left.
    pub failed: u64,
    /// Arrivals that never left, because `max_in_flight` requests were unanswered. They are in no
    /// latency: with any of them, the latencies are too good.
    pub dropped: u64,
    /// Requests asked again, once, because the server had closed the idle connection. Not failures.
    pub reconnects: u64,
    /// The most requests unanswered at once.
    pub in_flight_max: u64,
    /// From the moment a request was due to its end: what a user waits. All requests, failed ones too.
    pub response: Latency,
    /// From the moment a request left to its end: what a closed loop would report.
    pub service: Latency,
    /// From due to leaving. Beyond a few milliseconds, the generator's own machine was too slow.
    pub lag: Latency,
    /// How many requests failed in each way.
    pub failures: BTreeMap<FailureKind, u64>,
    /// In the profile's order.
    pub endpoints: Vec<EndpointSummary>,
    /// The reply header counted in `replies_by_header`.
    pub count_header: String,
    /// Replies by that header's value: `(none)` without it, `(other)` beyond the 32nd value.
    pub replies_by_header: BTreeMap<String, HeaderCount>,
    /// The first hundred failed requests, in the order they ended.
    pub failed_requests: Vec<FailedRequest>,
}

impl Summary {
    /// How many failed requests are kept one by one: enough to see a pattern, and no more memory
    /// however long it goes on.
    pub const FAILED_REQUESTS_MAX: usize = 100;
}

/// A distribution of times, exact to one part in a thousand (endpoints: in a hundred).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// How many times were measured; with 0, the rest is 0 too.
    pub count: u64,
    /// The arithmetic mean, in microseconds, as are all that follow.
    pub mean_us: f64,
    /// Half of the requests took no longer.
    pub p50_us: u64,
    /// 90% took no longer.
    pub p90_us: u64,
    /// 99% took no longer.
    pub p99_us: u64,
    /// 99.9% took no longer.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// The share of one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointSummary {
    /// The endpoint as it would be written, without secrets.
    pub endpoint: String,
    /// Requests that left.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Arrivals that never left.
    pub dropped: u64,
    /// As [`Summary::response`].
    pub response: Latency,
}

/// The replies that carried one value of the counted header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeaderCount {
    /// Requests to which at least the head of a reply came.
    pub replies: u64,
    /// Those of them that failed: a status of 400 or above, or a body that did not end.
    pub failed: u64,
}

/// One failed request: a line of JSON that explains a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRequest {
    /// When it was due, counted from the start.
    pub due_ms: u64,
    /// How long it took from then.
    pub response_us: u64,
    /// The endpoint's name, as in [`EndpointSummary::endpoint`].
    pub endpoint: String,
    /// The base URL it went to.
    pub base: String,
    /// How it failed.
    pub kind: FailureKind,
    /// What the operating system or HTTP library said; empty for a status.
    pub detail: String,
    /// The counted header of the reply, if there was one.
    pub counted: Option<String>,
}

/// How a running measurement stands: totals so far, and the latency of the last second only.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Since the start.
    pub elapsed_ms: u64,
    /// Requests that left.
    pub requests: u64,
    /// Good replies.
    pub succeeded: u64,
    /// Failed requests.
    pub failed: u64,
    /// Arrivals that never left.
    pub dropped: u64,
    /// Requests asked again on a fresh connection.
    pub reconnects: u64,
    /// Unanswered now.
    pub in_flight: u64,
    /// As [`Summary::response`], of the requests that ended since the last report.
    pub last_second: Latency,
    /// As [`Summary::failures`].
    pub failures: BTreeMap<FailureKind, u64>,
    /// As [`Summary::replies_by_header`].
    pub replies_by_header: BTreeMap<String, HeaderCount>,
}
