//! A summary for people: the numbers that decide first, then what explains them.

use std::fmt;

use crate::{FailedRequest, HeaderCount, Latency, Progress, Summary};

/// Failed requests printed one by one; the JSON has more.
const FAILED_SHOWN: usize = 5;

/// Beyond it the generator, not the service, shapes the numbers: a timer's grain is 1 ms, and a
/// busy machine adds a few.
const LAG_NOTED_US: u64 = 20_000;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} requests in {} ({:.1}/s of {:.1}/s): {} failed, {} dropped",
            self.requests,
            Micros(self.sending_ms.saturating_mul(1_000)),
            self.achieved_per_second,
            self.wanted_per_second,
            self.failed,
            self.dropped,
        )?;
        writeln!(f, "  response  {}", self.response)?;
        writeln!(f, "  service   {}", self.service)?;
        writeln!(f, "  lag       {}", self.lag)?;
        writeln!(f, "  in flight at most {}, reconnects {}", self.in_flight_max, self.reconnects)?;
        if self.dropped > 0 {
            writeln!(
                f,
                "  note: {} arrivals were dropped at the limit in flight; latencies are too good",
                self.dropped
            )?;
        }
        if self.lag.p99_us > LAG_NOTED_US {
            writeln!(f, "  note: this machine was too slow to send on time (see lag)")?;
        }
        writeln!(f, "endpoints")?;
        for endpoint in &self.endpoints {
            writeln!(
                f,
                "  {}  {} requests, {} failed, {}",
                endpoint.endpoint, endpoint.requests, endpoint.failed, endpoint.response
            )?;
        }
        write_shares(f, self)?;
        write_failures(f, self)
    }
}

fn write_shares(f: &mut fmt::Formatter<'_>, summary: &Summary) -> fmt::Result {
    let total: u64 = summary.replies_by_header.values().map(|count| count.replies).sum();
    if total == 0 {
        return Ok(());
    }
    writeln!(f, "replies by {}", summary.count_header)?;
    for (value, HeaderCount { replies, failed }) in &summary.replies_by_header {
        let permille = (replies.saturating_mul(1_000) + total / 2) / total;
        let (whole, tenth) = (permille / 10, permille % 10);
        writeln!(f, "  {value}  {replies} ({whole}.{tenth}%), {failed} failed")?;
    }
    Ok(())
}

fn write_failures(f: &mut fmt::Formatter<'_>, summary: &Summary) -> fmt::Result {
    if summary.failures.is_empty() {
        return Ok(());
    }
    writeln!(f, "failures")?;
    for (kind, count) in &summary.failures {
        writeln!(f, "  {kind}  {count}")?;
    }
    for failed in summary.failed_requests.iter().take(FAILED_SHOWN) {
        writeln!(f, "  {failed}")?;
    }
    let shown = u64::try_from(summary.failed_requests.len().min(FAILED_SHOWN)).unwrap_or(u64::MAX);
    match summary.failed.saturating_sub(shown) {
        0 => Ok(()),
        more => writeln!(f, "  and {more} more"),
    }
}

impl fmt::Display for FailedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let due = Micros(self.due_ms.saturating_mul(1_000));
        write!(f, "at {due} {} to {}: {}", self.endpoint, self.base, self.kind)?;
        write!(f, " after {}", Micros(self.response_us))?;
        if let Some(counted) = &self.counted {
            write!(f, " from {counted}")?;
        }
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

impl fmt::Display for Progress {
    /// One line for a terminal or a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} s: {} requests, {} failed, {} dropped, {} in flight, last second p50 {} p99 {}",
            self.elapsed_ms / 1_000,
            self.requests,
            self.failed,
            self.dropped,
            self.in_flight,
            Micros(self.last_second.p50_us),
            Micros(self.last_second.p99_us),
        )
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
            Micros(self.p50_us),
            Micros(self.p90_us),
            Micros(self.p99_us),
            Micros(self.p999_us),
            Micros(self.max_us),
        )
    }
}

/// Microseconds in the unit a person would use.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0;
        if us < 1_000 {
            write!(f, "{us} µs")
        } else if us < 1_000_000 {
            write!(f, "{}.{} ms", us / 1_000, us % 1_000 / 100)
        } else {
            write!(f, "{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{EndpointSummary, FailureKind};

    fn summary() -> Summary {
        let latency = Latency {
            count: 3_000,
            mean_us: 6_000.0,
            p50_us: 850,
            p90_us: 9_990,
            p99_us: 45_000,
            p999_us: 305_000,
            max_us: 1_230_000,
        };
        let failed = FailedRequest {
            due_ms: 12_340,
            response_us: 2_100,
            endpoint: "GET /".to_owned(),
            base: "http://lb-01".to_owned(),
            kind: FailureKind::Status(503),
            detail: String::new(),
            counted: Some("canary".to_owned()),
        };
        let count = |replies, failed| HeaderCount { replies, failed };
        Summary {
            started_at_unix_ms: 0,
            sending_ms: 30_000,
            stopped: false,
            wanted_per_second: 100.0,
            achieved_per_second: 99.9,
            requests: 2_998,
            succeeded: 2_990,
            failed: 8,
            dropped: 2,
            reconnects: 3,
            in_flight_max: 12,
            response: latency,
            service: latency,
            lag: latency,
            failures: BTreeMap::from([(FailureKind::Status(503), 8)]),
            endpoints: vec![EndpointSummary {
                endpoint: "GET /".to_owned(),
                requests: 2_998,
                failed: 8,
                dropped: 2,
                response: latency,
            }],
            count_header: "x-serin-fleet".to_owned(),
            replies_by_header: BTreeMap::from([
                ("canary".to_owned(), count(150, 8)),
                ("main".to_owned(), count(2_848, 0)),
            ]),
            failed_requests: vec![failed; 8],
        }
    }

    #[test]
    fn a_summary_reads_from_the_verdict_to_the_reason() {
        let expected = "\
2998 requests in 30.00 s (99.9/s of 100.0/s): 8 failed, 2 dropped
  response  p50 850 µs  p90 9.9 ms  p99 45.0 ms  p99.9 305.0 ms  max 1.23 s
  service   p50 850 µs  p90 9.9 ms  p99 45.0 ms  p99.9 305.0 ms  max 1.23 s
  lag       p50 850 µs  p90 9.9 ms  p99 45.0 ms  p99.9 305.0 ms  max 1.23 s
  in flight at most 12, reconnects 3
  note: 2 arrivals were dropped at the limit in flight; latencies are too good
  note: this machine was too slow to send on time (see lag)
endpoints
  GET /  2998 requests, 8 failed, p50 850 µs  p90 9.9 ms  p99 45.0 ms  p99.9 305.0 ms  max 1.23 s
replies by x-serin-fleet
  canary  150 (5.0%), 8 failed
  main  2848 (95.0%), 0 failed
failures
  status_503  8
  at 12.34 s GET / to http://lb-01: status_503 after 2.1 ms from canary
  at 12.34 s GET / to http://lb-01: status_503 after 2.1 ms from canary
  at 12.34 s GET / to http://lb-01: status_503 after 2.1 ms from canary
  at 12.34 s GET / to http://lb-01: status_503 after 2.1 ms from canary
  at 12.34 s GET / to http://lb-01: status_503 after 2.1 ms from canary
  and 3 more
";
        assert_eq!(summary().to_string(), expected);
    }
}
