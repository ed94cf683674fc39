//! What a server gets: the endpoints, in their shares, with their headers, from every base in turn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{self, ok, profile, run_whole, serve};
use serin_traffic::{Endpoint, HeaderCount};

#[tokio::test]
async fn method_cookies_host_and_headers_are_sent() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let base = serve(move |request| {
        let mut head = vec![format!("{} {}", request.method(), request.uri())];
        for (name, value) in request.headers() {
            head.push(format!("{name}: {}", value.to_str().unwrap()));
        }
        head.sort();
        seen.lock().unwrap().push(head);
        async { ok("ok") }
    })
    .await;
    let authority = base.authority().to_owned();
    let mut profile = profile(10.0, Duration::from_millis(100), base);
    let full = "POST /a?b=c cookie=gitlab_canary=true cookie=s=1 host=canary.x header=X-A:b:c";
    for text in ["GET /plain", full] {
        profile.endpoints = vec![text.parse().unwrap()];
        assert_eq!(run_whole(&profile).await.succeeded, 1);
    }
    let agent = concat!("user-agent: serin-traffic/", env!("CARGO_PKG_VERSION"));
    let expected = [
        vec!["GET /plain".to_owned(), format!("host: {authority}"), agent.to_owned()],
        [
            "POST /a?b=c",
            "content-length: 0",
            "cookie: gitlab_canary=true; s=1",
            "host: canary.x",
            agent,
            "x-a: b:c",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    assert_eq!(*heads.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_asked_in_their_weights_and_the_same_way_for_a_seed() {
    let counts = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
    let seen = Arc::clone(&counts);
    let base = serve(move |request| {
        *seen.lock().unwrap().entry(request.uri().path().to_owned()).or_default() += 1;
        async { ok("ok") }
    })
    .await;
    let mut profile = profile(1_000.0, Duration::from_secs(1), base);
    let one = Endpoint::get("/one");
    let four = Endpoint { weight: 4, ..Endpoint::get("/four") };
    profile.endpoints = vec![one, four];
    profile.seed = 42;
    let first = run_whole(&profile).await;
    let asked = std::mem::take(&mut *counts.lock().unwrap());
    let second = run_whole(&profile).await;
    // 200 of 1000, give or take three standard deviations.
    assert!((162..=238).contains(&first.endpoints[0].requests), "{first}");
    assert_eq!(first.endpoints[0].requests, asked["/one"], "{first}");
    assert_eq!(first.endpoints[1].requests, asked["/four"], "{first}");
    assert_eq!(first.endpoints[0].requests, second.endpoints[0].requests, "same seed, same choice");
    profile.seed = 43;
    profile.duration = Some(Duration::from_millis(500));
    assert_eq!(run_whole(&profile).await.requests, 500);
}

#[tokio::test]
async fn bases_take_turns_and_replies_are_counted_by_the_fleet_that_answered() {
    let mut bases = Vec::new();
    for fleet in ["main", "canary"] {
        let base = serve(move |_request| {
            let mut reply = ok("ok");
            reply.headers_mut().insert("x-serin-fleet", fleet.parse().unwrap());
            if fleet == "canary" {
                *reply.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
            }
            async { reply }
        });
        bases.push(base.await);
    }
    bases.push(serve(|_request| async { ok("no fleet") }).await);
    let mut profile = profile(300.0, Duration::from_millis(100), bases[0].clone());
    profile.bases = bases;
    let summary = run_whole(&profile).await;
    let count = |replies, failed| HeaderCount { replies, failed };
    let expected = [("(none)", count(10, 0)), ("canary", count(10, 10)), ("main", count(10, 0))];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(summary.replies_by_header, BTreeMap::from(expected), "{summary}");
    assert_eq!(summary.failed_requests[0].counted.as_deref(), Some("canary"));
}

#[tokio::test]
async fn connections_are_kept_between_requests() {
    let connections = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let seen = Arc::clone(&connections);
    let base = common::serve_raw(move |mut stream| {
        seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            while common::read_request(&mut stream).await {
                common::write(&mut stream, common::REPLY).await;
            }
        }
    })
    .await;
    let summary = run_whole(&profile(100.0, Duration::from_secs(1), base)).await;
    let opened = connections.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((summary.requests, summary.failed), (100, 0), "{summary}");
    assert!(opened <= summary.in_flight_max, "{opened} connections: {summary}");
}
