//! The schedule: requests leave when they are due, whatever the service does, and the latencies say
//! what a user would have waited.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::{self, ok, profile, read_request, run_whole, serve, serve_raw};
use hdrhistogram::Histogram;
use serin_traffic::{BaseUrl, Profile, ProfileError, Progress, run, run_observed};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

const STALL: Duration = Duration::from_millis(300);

/// Answers at once, except that everything which arrives in the `STALL` after `warm_up` is answered
/// at its end. The warm-up begins with the first request.
async fn serve_with_a_stall(warm_up: Duration) -> BaseUrl {
    let begin = Arc::new(std::sync::OnceLock::new());
    serve(move |_request| {
        let begin = Arc::clone(&begin);
        async move {
            let stall_begin = *begin.get_or_init(Instant::now) + warm_up;
            if Instant::now() >= stall_begin {
                sleep_until(stall_begin + STALL).await;
            }
            ok("ok")
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_the_service_shows_in_the_latencies() {
    let base = serve_with_a_stall(Duration::from_secs(1)).await;
    let summary = run_whole(&profile(500.0, Duration::from_secs(2), base)).await;
    assert_eq!((summary.requests, summary.failed, summary.dropped), (1_000, 0, 0), "{summary}");
    // 150 of 1000 requests meet the stall; the hundredth part of all waits almost all of it.
    assert!(summary.response.p99_us >= 250_000, "{summary}");
    assert!(summary.response.p50_us < 100_000, "{summary}");
    assert!(summary.in_flight_max >= 100, "the stall must not slow the sending down: {summary}");
}

#[tokio::test]
async fn a_held_up_generator_counts_from_when_requests_were_due() {
    // The server has threads of its own; the generator's only thread is blocked for the stall.
    let servers = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let base = servers.spawn(serve(|_request| async { ok("ok") })).await.unwrap();
    let profile = profile(200.0, Duration::from_secs(1), base);
    let (sender, mut seen) = watch::channel(Progress::default());
    let measuring =
        tokio::spawn(async move { run_observed(&profile, std::future::pending(), sender).await });
    seen.changed().await.unwrap();
    let (_silent, never) = std::sync::mpsc::channel::<()>();
    assert!(never.recv_timeout(STALL).is_err(), "this blocks the thread");
    let summary = measuring.await.unwrap().unwrap();
    servers.shutdown_background();
    assert_eq!((summary.requests, summary.failed, summary.dropped), (200, 0, 0), "{summary}");
    assert!(summary.lag.max_us >= 250_000, "{summary}");
    assert!(summary.response.max_us >= 250_000, "{summary}");
    assert!(summary.service.p50_us < 100_000, "{summary}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_loop_would_hide_the_same_stall() {
    let base = serve_with_a_stall(Duration::from_secs(1)).await;
    let mut client = TinyClient::connect(&base).await;
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let sent_at = Instant::now();
        client.ask().await;
        histogram.record(u64::try_from(sent_at.elapsed().as_micros()).unwrap()).unwrap();
    }
    assert!(histogram.max() >= 250_000, "it met the stall, in one request");
    assert!(histogram.value_at_quantile(0.99) < 100_000, "and its p99 says nothing of it");
}

/// The loop that this crate is not: ask, wait, ask again.
struct TinyClient(tokio::net::TcpStream);

impl TinyClient {
    async fn connect(base: &BaseUrl) -> Self {
        Self(tokio::net::TcpStream::connect((base.host(), base.port())).await.unwrap())
    }

    async fn ask(&mut self) {
        common::write(&mut self.0, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(read_request(&mut self.0).await, "the head of a reply ends like that of a request");
        let mut body = [0; 2];
        tokio::io::AsyncReadExt::read_exact(&mut self.0, &mut body).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_is_kept() {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let base = serve(move |_request| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { ok("ok") }
    })
    .await;
    let begin = Instant::now();
    let summary = run_whole(&profile(1_000.0, Duration::from_secs(2), base)).await;
    let took = begin.elapsed();
    assert_eq!((summary.requests, summary.failed, summary.dropped), (2_000, 0, 0), "{summary}");
    assert_eq!(count.load(Ordering::Relaxed), 2_000);
    assert!(took >= Duration::from_millis(1_995), "the last request is due at 1.999 s: {took:?}");
    assert!((990.0..=1_000.0).contains(&summary.achieved_per_second), "{summary}");
    assert!(summary.lag.p50_us < 20_000, "{summary}");
}

#[tokio::test]
async fn arrivals_beyond_the_limit_in_flight_are_dropped_and_never_wait() {
    let base =
        serve_raw(|mut stream| async move { while read_request(&mut stream).await {} }).await;
    let mut profile = profile(200.0, Duration::from_millis(500), base);
    profile.max_in_flight = 5;
    profile.timeout = Duration::from_secs(2);
    let summary = run_whole(&profile).await;
    assert_eq!((summary.requests, summary.dropped, summary.in_flight_max), (5, 95, 5), "{summary}");
    assert_eq!(summary.endpoints[0].dropped, 95);
    assert!(summary.sending_ms < 1_000, "sending ended on time, long before a reply: {summary}");
}

#[tokio::test]
async fn a_place_in_flight_is_free_again_after_its_reply() {
    let base = serve(|_request| async { ok("ok") }).await;
    let mut profile = profile(100.0, Duration::from_secs(1), base);
    profile.max_in_flight = 5;
    let summary = run_whole(&profile).await;
    assert_eq!(summary.requests + summary.dropped, 100, "{summary}");
    assert!(summary.requests > 5 && summary.failed == 0, "{summary}");
}

#[tokio::test]
async fn stopping_sends_nothing_more_and_waits_for_what_is_out() {
    let (reached, mut count) = watch::channel(0_u64);
    let release = Arc::new(tokio::sync::Notify::new());
    let held = Arc::clone(&release);
    let base = serve(move |_request| {
        reached.send_modify(|count| *count += 1);
        let held = Arc::clone(&held);
        async move {
            held.notified().await;
            ok("ok")
        }
    })
    .await;
    let mut endless = profile(200.0, Duration::from_secs(1), base);
    endless.duration = None;
    let (stop, stopped) = oneshot::channel::<()>();
    let measuring =
        tokio::spawn(async move { run(&endless, async { stopped.await.unwrap() }).await.unwrap() });
    count.wait_for(|count| *count >= 20).await.unwrap();
    stop.send(()).unwrap();
    // Answers what is out, and what was on its way, until the measurement has all its replies.
    while !measuring.is_finished() {
        release.notify_waiters();
        tokio::task::yield_now().await;
    }
    let summary = measuring.await.unwrap();
    assert!(summary.stopped, "{summary}");
    assert!((20..200).contains(&summary.requests), "{summary}");
    assert_eq!((summary.failed, summary.succeeded), (0, summary.requests), "{summary}");
    assert!(*count.borrow() <= summary.requests, "nothing left after the stop: {summary}");
}

#[tokio::test]
async fn progress_comes_every_second_and_ends_with_the_totals() {
    let base = serve(|_request| async { ok("ok") }).await;
    let (sender, mut seen) = watch::channel(Progress::default());
    let profile = profile(50.0, Duration::from_millis(3_500), base);
    let measuring =
        tokio::spawn(async move { run_observed(&profile, std::future::pending(), sender).await });
    let middle = seen.wait_for(|progress| progress.elapsed_ms >= 1_900).await.unwrap().clone();
    assert!((20..=80).contains(&middle.last_second.count), "one second, not all: {middle}");
    assert!(middle.requests >= 90 && middle.requests < 175, "{middle}");
    let summary = measuring.await.unwrap().unwrap();
    let last = seen.borrow().clone();
    assert_eq!((last.requests, last.succeeded, last.in_flight), (175, summary.succeeded, 0));
}

#[tokio::test]
async fn a_wrong_profile_sends_nothing() {
    let mut wrong = Profile::new(1.0, Vec::new(), Vec::new());
    wrong.rate_per_second = f64::NAN;
    let refusal = run(&wrong, std::future::pending()).await;
    assert!(matches!(refusal, Err(ProfileError::Rate { .. })), "{refusal:?}");
}
