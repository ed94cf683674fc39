//! The one loop: send what is due, record what has ended, never wait for a reply.
//!
//! Invariants: an arrival either leaves or is counted as dropped, at once; every request that left
//! is recorded; the loop awaits only the clock, the stop signal and finished requests.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderName, USER_AGENT};
use hyper::{Request, Uri};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::choice::{Choice, Schedule};
use crate::client::{Ask, Client};
use crate::recorder::{Done, Recorder, Span};
use crate::{BaseUrl, Endpoint, Method, Profile, ProfileError, Progress, Summary};

/// Sent with every request, so that the service's own metrics can leave it out.
const AGENT: &str = concat!("serin-traffic/", env!("CARGO_PKG_VERSION"));

/// Sends the profile's requests until its duration is over or `stop` completes, waits for the
/// replies still out (each has its time limit), and tells what happened.
///
/// Dropping the future gives up at once, without a summary. Must run inside a tokio runtime with
/// time and I/O; whatever else blocks that runtime's threads shows up as lag.
pub async fn run(
    profile: &Profile,
    stop: impl Future<Output = ()>,
) -> Result<Summary, ProfileError> {
    let (progress, _unwatched) = watch::channel(Progress::default());
    run_observed(profile, stop, progress).await
}

/// Like [`run`], and puts the state of affairs into `progress` every second. A slow or absent reader
/// of it costs nothing.
pub async fn run_observed(
    profile: &Profile,
    stop: impl Future<Output = ()>,
    progress: watch::Sender<Progress>,
) -> Result<Summary, ProfileError> {
    let mut world = World::new(profile)?;
    let started_at_unix_ms = unix_ms();
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut stop = std::pin::pin!(stop);
    let mut stopped = false;
    while let Some(next) = world.send_due() {
        tokio::select! {
            biased;
            () = &mut stop => {
                stopped = true;
                break;
            }
            _ = seconds.tick() => world.publish(&progress),
            () = sleep_until(next) => {}
            Some(done) = world.out.join_next() => world.record(done),
        }
    }
    let sending = match profile.duration {
        Some(duration) if !stopped => duration.max(world.start.elapsed()),
        Some(_) | None => world.start.elapsed(),
    };
    while !world.out.is_empty() {
        tokio::select! {
            _ = seconds.tick() => world.publish(&progress),
            Some(done) = world.out.join_next() => world.record(done),
        }
    }
    world.publish(&progress);
    Ok(world.recorder.into_summary(Span { started_at_unix_ms, sending, stopped }))
}

struct World {
    start: Instant,
    schedule: Schedule,
    choice: Choice,
    /// Arrivals so far, sent or dropped.
    arrivals: u64,
    client: Arc<Client>,
    /// By endpoint, then by base.
    asks: Vec<Vec<Ask>>,
    base_count: u64,
    timeout: Duration,
    max_in_flight: usize,
    out: JoinSet<Done>,
    recorder: Recorder,
}

impl World {
    fn new(profile: &Profile) -> Result<Self, ProfileError> {
        profile.check()?;
        let asks_of = |endpoint: &Endpoint| -> Result<Vec<Ask>, ProfileError> {
            profile.bases.iter().map(|base| new_ask(endpoint, base)).collect()
        };
        let Ok(count_header) = HeaderName::from_str(&profile.count_header) else {
            return Err(ProfileError::CountHeader { found: profile.count_header.clone() });
        };
        Ok(Self {
            schedule: Schedule::new(profile.rate_per_second, profile.duration),
            choice: Choice::new(profile.seed, profile.endpoints.iter().map(|e| e.weight)),
            arrivals: 0,
            client: Arc::new(Client::new(&profile.bases, count_header)),
            asks: profile.endpoints.iter().map(asks_of).collect::<Result<_, _>>()?,
            base_count: u64::try_from(profile.bases.len()).unwrap_or(1),
            timeout: profile.timeout,
            max_in_flight: profile.max_in_flight,
            out: JoinSet::new(),
            recorder: Recorder::new(profile),
            start: Instant::now(),
        })
    }

    /// Sends or drops every arrival that is due by now and says when the next one is; `None` when
    /// there is no next one.
    fn send_due(&mut self) -> Option<Instant> {
        // What has ended must not count as in flight.
        while let Some(done) = self.out.try_join_next() {
            self.record(done);
        }
        let elapsed = self.start.elapsed();
        loop {
            let due = self.schedule.due(self.arrivals)?;
            if due > elapsed {
                return Some(self.start + due);
            }
            self.arrive(due);
        }
    }

    fn arrive(&mut self, due: Duration) {
        let endpoint = self.choice.next();
        let base = usize::try_from(self.arrivals % self.base_count).unwrap_or(0);
        self.arrivals += 1;
        let ask = self.asks.get(endpoint).and_then(|by_base| by_base.get(base));
        let Some(ask) = ask.filter(|_| self.out.len() < self.max_in_flight).cloned() else {
            self.recorder.drop_arrival(endpoint);
            return;
        };
        let client = Arc::clone(&self.client);
        let (due_at, timeout) = (self.start + due, self.timeout);
        self.out.spawn(async move {
            let sent_at = Instant::now();
            let exchange = client.exchange(base, ask, sent_at + timeout).await;
            let lag = sent_at.saturating_duration_since(due_at);
            Done { endpoint, base, due, lag, service: sent_at.elapsed(), exchange }
        });
        self.recorder.start(endpoint, self.in_flight());
    }

    fn record(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(done) => self.recorder.finish(done),
            // A request's task is never cancelled and must not panic: if it did, the counts would
            // no longer add up, so the measurement ends the same way.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn in_flight(&self) -> u64 {
        u64::try_from(self.out.len()).unwrap_or(u64::MAX)
    }

    fn publish(&mut self, progress: &watch::Sender<Progress>) {
        let now = self.recorder.progress(self.start.elapsed(), self.in_flight());
        progress.send_replace(now);
    }
}

fn new_ask(endpoint: &Endpoint, base: &BaseUrl) -> Result<Ask, ProfileError> {
    let unsendable = |source| ProfileError::Unsendable { endpoint: endpoint.to_string(), source };
    let uri: Uri =
        endpoint.path.parse().map_err(|error| unsendable(hyper::http::Error::from(error)))?;
    let method = match endpoint.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
    };
    let host = endpoint.host.as_deref().unwrap_or(base.authority());
    let mut ask = Request::builder().method(method).uri(uri).header(HOST, host);
    if !endpoint.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
        ask = ask.header(USER_AGENT, AGENT);
    }
    if !endpoint.cookies.is_empty() {
        let pairs = endpoint.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        ask = ask.header(COOKIE, pairs.collect::<Vec<_>>().join("; "));
    }
    if endpoint.method == Method::Post {
        // Without it, some servers wait for a body or answer 411.
        ask = ask.header(CONTENT_LENGTH, 0);
    }
    for (name, value) in &endpoint.headers {
        ask = ask.header(name, value);
    }
    ask.body(http_body_util::Empty::new()).map_err(unsendable)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: a wall-clock time only labels the summary, so that other logs can be found"
)]
fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
