//! What a measurement asks for, and every reason to refuse it.

use std::str::FromStr;
use std::time::Duration;

use hyper::header::HeaderName;

use crate::{BaseUrl, Endpoint, EndpointError};

/// One measurement. [`Profile::new`] gives the usual limits; change the fields from there.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Requests per second, all endpoints together.
    pub rate_per_second: f64,
    /// How long requests keep leaving; `None` is until stopped.
    pub duration: Option<Duration>,
    /// Where requests go, in turn.
    pub bases: Vec<BaseUrl>,
    /// What is asked for, chosen by weight.
    pub endpoints: Vec<Endpoint>,
    /// How long one request may take from its actual start, connecting included.
    pub timeout: Duration,
    /// How many requests may be unanswered at once. An arrival beyond it is dropped and counted: it
    /// never waits, because waiting is what hides a stall.
    pub max_in_flight: usize,
    /// Decides the sequence of endpoints.
    pub seed: u64,
    /// The reply header by whose values requests are counted.
    pub count_header: String,
}

impl Profile {
    /// The header by which Serin's services and load balancers name the fleet that answered.
    pub const COUNT_HEADER: &str = "x-serin-fleet";
    /// Rates beyond this need more than one core and batches finer than a timer's millisecond.
    pub const RATE_MAX_PER_SECOND: f64 = 20_000.0;
    /// Slower than one request in a quarter of an hour is a mistake of units.
    pub const RATE_MIN_PER_SECOND: f64 = 0.001;
    /// The largest time limit of one request: the histograms end there.
    pub const TIMEOUT_MAX: Duration = Duration::from_hours(1);
    /// Each unanswered request holds a file descriptor and some 20 kB.
    pub const IN_FLIGHT_MAX: usize = 20_000;
    /// The most endpoints, and the most base URLs: each pair is prepared in memory.
    pub const LIST_MAX: usize = 100;

    /// A profile without an end, with a limit of 10 s for a request (longer, and a person has left)
    /// and of 512 requests in flight (half of the usual limit of file descriptors).
    pub fn new(rate_per_second: f64, bases: Vec<BaseUrl>, endpoints: Vec<Endpoint>) -> Self {
        Self {
            rate_per_second,
            duration: None,
            bases,
            endpoints,
            timeout: Duration::from_secs(10),
            max_in_flight: 512,
            seed: 0,
            count_header: Self::COUNT_HEADER.to_owned(),
        }
    }

    /// Says what is wrong with the profile, without sending anything.
    pub fn check(&self) -> Result<(), ProfileError> {
        // A range holds no NaN, so this is the check for that too.
        let rates = Self::RATE_MIN_PER_SECOND..=Self::RATE_MAX_PER_SECOND;
        if !rates.contains(&self.rate_per_second) {
            return Err(ProfileError::Rate { found: self.rate_per_second });
        }
        if self.duration == Some(Duration::ZERO) {
            return Err(ProfileError::Duration);
        }
        if self.bases.is_empty() || self.bases.len() > Self::LIST_MAX {
            return Err(ProfileError::Bases { found: self.bases.len() });
        }
        if self.endpoints.is_empty() || self.endpoints.len() > Self::LIST_MAX {
            return Err(ProfileError::Endpoints { found: self.endpoints.len() });
        }
        for endpoint in &self.endpoints {
            endpoint.check().map_err(|source| ProfileError::Endpoint {
                endpoint: endpoint.to_string(),
                source,
            })?;
        }
        if self.timeout.is_zero() || self.timeout > Self::TIMEOUT_MAX {
            return Err(ProfileError::Timeout { found: self.timeout });
        }
        if self.max_in_flight == 0 || self.max_in_flight > Self::IN_FLIGHT_MAX {
            return Err(ProfileError::InFlight { found: self.max_in_flight });
        }
        if HeaderName::from_str(&self.count_header).is_err() {
            return Err(ProfileError::CountHeader { found: self.count_header.clone() });
        }
        Ok(())
    }
}

/// Why a [`Profile`] cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Zero, negative, not a number, or out of bounds.
    #[error("the rate must be between 0.001 and 20000 requests per second, found {found}")]
    Rate {
        /// The rate as given.
        found: f64,
    },
    /// A measurement of no length.
    #[error("the duration must be longer than zero")]
    Duration,
    /// No base URL, or too many.
    #[error("a profile needs 1 to 100 base URLs, found {found}")]
    Bases {
        /// How many there are.
        found: usize,
    },
    /// No endpoint, or too many.
    #[error("a profile needs 1 to 100 endpoints, found {found}; write --endpoint 'GET /path'")]
    Endpoints {
        /// How many there are.
        found: usize,
    },
    /// An endpoint that cannot be sent.
    #[error("the endpoint `{endpoint}` cannot be used")]
    Endpoint {
        /// The endpoint's name.
        endpoint: String,
        /// What is wrong with it.
        source: EndpointError,
    },
    /// Zero, or longer than the histograms reach.
    #[error("the time limit of a request must be between 1ns and 1h, found {found:?}")]
    Timeout {
        /// The limit as given.
        found: Duration,
    },
    /// Zero, or more than a process can hold open.
    #[error("the limit of requests in flight must be between 1 and 20000, found {found}")]
    InFlight {
        /// The limit as given.
        found: usize,
    },
    /// Not the name of an HTTP header.
    #[error("`{found}` is not the name of a header to count replies by")]
    CountHeader {
        /// The name as given.
        found: String,
    },
    /// The parts are right but make no request together.
    #[error("the endpoint `{endpoint}` makes no HTTP request")]
    Unsendable {
        /// The endpoint's name.
        endpoint: String,
        /// What the HTTP library says.
        source: hyper::http::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(expected: &str, spoil: impl FnOnce(&mut Profile)) {
        let bases = vec!["http://127.0.0.1".parse().unwrap()];
        let mut profile = Profile::new(100.0, bases, vec![Endpoint::get("/")]);
        profile.check().expect("right before it is spoiled");
        spoil(&mut profile);
        let error = profile.check().expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn every_bad_input_is_refused_with_what_was_found() {
        check_refused("found 0", |p| p.rate_per_second = 0.0);
        check_refused("found -1", |p| p.rate_per_second = -1.0);
        check_refused("found NaN", |p| p.rate_per_second = f64::NAN);
        check_refused("found inf", |p| p.rate_per_second = f64::INFINITY);
        check_refused("found 20001", |p| p.rate_per_second = 20_001.0);
        check_refused("longer than zero", |p| p.duration = Some(Duration::ZERO));
        check_refused("base URLs, found 0", |p| p.bases.clear());
        check_refused("endpoints, found 0", |p| p.endpoints.clear());
        check_refused("endpoints, found 101", |p| {
            p.endpoints = vec![Endpoint::get("/"); 101];
        });
        check_refused("`GET x` cannot be used", |p| p.endpoints.push(Endpoint::get("x")));
        check_refused("found 0ns", |p| p.timeout = Duration::ZERO);
        check_refused("found 3601s", |p| p.timeout = Duration::from_secs(3_601));
        check_refused("found 0", |p| p.max_in_flight = 0);
        check_refused("found 20001", |p| p.max_in_flight = 20_001);
        check_refused("`a b` is not", |p| p.count_header = "a b".to_owned());
    }
}
