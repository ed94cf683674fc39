//! Each way in which a request can fail, made by a real socket, is counted under its own kind.

use std::time::Duration;

use crate::common::{self, REPLY, profile, read_request, run_whole, serve, serve_raw, write};
use hyper::StatusCode;
use serin_traffic::{BaseUrl, Profile, Summary};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const TIMEOUT: Duration = Duration::from_millis(300);

fn ten_requests(base: BaseUrl) -> Profile {
    let mut profile = profile(100.0, Duration::from_millis(100), base);
    profile.timeout = TIMEOUT;
    profile
}

/// The kinds of failure and how often each was counted.
fn kinds(summary: &Summary) -> String {
    let counts: Vec<_> = summary.failures.iter().map(|(k, n)| format!("{k} {n}")).collect();
    counts.join(" ")
}

/// All ten requests failed as `kind`, and each is kept with what explains it.
fn check_all(summary: &Summary, kind: &str) {
    assert_eq!((summary.requests, summary.failed), (10, 10), "{summary}");
    assert_eq!(kinds(summary), format!("{kind} 10"), "{summary}");
    assert_eq!(summary.failed_requests.len(), 10);
    for failed in &summary.failed_requests {
        assert_eq!(failed.endpoint, "GET /");
        assert!(failed.base.starts_with("http://"), "{failed}");
        assert!(failed.due_ms < 100, "{failed}");
    }
}

#[tokio::test]
async fn nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = common::base(listener.local_addr().unwrap());
    drop(listener);
    let summary = run_whole(&ten_requests(base)).await;
    check_all(&summary, "connect_refused");
    assert!(summary.failed_requests[0].detail.contains("refused"), "{summary}");
}

#[tokio::test]
async fn a_full_accept_queue_lets_no_connection_through() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = tokio::time::timeout(TIMEOUT, TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
        assert!(queued.len() < 100, "the accept queue never fills");
    }
    let summary = run_whole(&ten_requests(common::base(address))).await;
    check_all(&summary, "connect_timeout");
}

#[tokio::test]
async fn an_address_without_a_route() {
    // The kernel refuses TCP to the broadcast address itself, without sending anything.
    let summary = run_whole(&ten_requests("http://255.255.255.255".parse().unwrap())).await;
    check_all(&summary, "connect_failed");
    assert!(summary.failed_requests[0].detail.contains("unreachable"), "{summary}");
}

#[tokio::test]
async fn a_mute_server() {
    let base =
        serve_raw(|mut stream| async move { while read_request(&mut stream).await {} }).await;
    let summary = run_whole(&ten_requests(base)).await;
    check_all(&summary, "timeout");
    let limit_us = u64::try_from(TIMEOUT.as_micros()).unwrap();
    assert!(summary.response.p50_us >= limit_us * 99 / 100, "{summary}");
}

#[tokio::test]
async fn a_reset_instead_of_a_reply() {
    let base = serve_raw(|mut stream| async move {
        read_request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let summary = run_whole(&ten_requests(base)).await;
    check_all(&summary, "closed_before_reply");
    assert!(summary.failed_requests[0].detail.contains("reset"), "{summary}");
    assert_eq!(summary.reconnects, 0, "a fresh connection is not asked again");
}

#[tokio::test]
async fn a_close_instead_of_a_reply() {
    let base = serve_raw(|mut stream| async move {
        read_request(&mut stream).await;
    })
    .await;
    check_all(&run_whole(&ten_requests(base)).await, "closed_before_reply");
}

#[tokio::test]
async fn a_close_in_the_head_of_the_reply() {
    let base = serve_raw(|mut stream| async move {
        read_request(&mut stream).await;
        write(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-le").await;
    })
    .await;
    check_all(&run_whole(&ten_requests(base)).await, "closed_in_reply");
}

#[tokio::test]
async fn a_close_in_the_body_of_the_reply() {
    let base = serve_raw(|mut stream| async move {
        read_request(&mut stream).await;
        write(
            &mut stream,
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nx-serin-fleet: main\r\n\r\nok",
        )
        .await;
    })
    .await;
    let summary = run_whole(&ten_requests(base)).await;
    check_all(&summary, "closed_in_reply");
    assert_eq!(summary.replies_by_header["main"].failed, 10);
}

#[tokio::test]
async fn a_body_that_does_not_end() {
    let base = serve_raw(|mut stream| async move {
        read_request(&mut stream).await;
        write(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await;
        while read_request(&mut stream).await {}
    })
    .await;
    check_all(&run_whole(&ten_requests(base)).await, "timeout");
}

#[tokio::test]
async fn a_reply_that_is_not_http() {
    let base = serve_raw(|mut stream| async move {
        read_request(&mut stream).await;
        write(&mut stream, b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n").await;
    })
    .await;
    check_all(&run_whole(&ten_requests(base)).await, "malformed");
}

#[tokio::test]
async fn a_status_of_400_or_above_is_a_failure_and_a_redirect_is_none() {
    let base = serve(|request| async move {
        let mut reply = common::ok("");
        let path = request.uri().path().trim_start_matches('/').to_owned();
        *reply.status_mut() = StatusCode::from_bytes(path.as_bytes()).unwrap();
        reply
    })
    .await;
    let mut profile = ten_requests(base);
    for (path, failures) in [("/302", ""), ("/404", "status_404 10"), ("/503", "status_503 10")] {
        profile.endpoints = vec![serin_traffic::Endpoint::get(path)];
        let summary = run_whole(&profile).await;
        assert_eq!(kinds(&summary), failures, "{summary}");
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_a_reconnect_and_no_failure() {
    // Answers once, then closes on the second request without a byte: what a client sees when its
    // request crosses the server's close of an idle connection.
    let base = serve_raw(|mut stream| async move {
        read_request(&mut stream).await;
        write(&mut stream, REPLY).await;
        read_request(&mut stream).await;
    })
    .await;
    let summary = run_whole(&ten_requests(base)).await;
    assert_eq!((summary.requests, summary.failed), (10, 0), "{summary}");
    // Requests that overlapped on a busy machine open a connection of their own.
    assert!((1..=9).contains(&summary.reconnects), "{summary}");
}

#[tokio::test]
async fn a_fresh_connection_that_fails_too_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = common::base(listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _peer) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        write(&mut stream, REPLY).await;
        read_request(&mut stream).await;
        // First the listener, so that the second try meets nothing.
        drop(listener);
        drop(stream);
    });
    let mut profile = ten_requests(base);
    profile.rate_per_second = 10.0;
    profile.duration = Some(Duration::from_millis(200));
    let summary = run_whole(&profile).await;
    assert_eq!((summary.requests, summary.failed, summary.reconnects), (2, 1, 1), "{summary}");
    assert_eq!(summary.failed_requests[0].kind.to_string(), "connect_refused");
}

#[tokio::test]
async fn a_request_cut_while_it_was_served_is_a_failure_even_on_a_kept_connection() {
    let served = Duration::from_millis(400);
    let base = serve_raw(move |mut stream| async move {
        read_request(&mut stream).await;
        write(&mut stream, REPLY).await;
        read_request(&mut stream).await;
        tokio::time::sleep(served).await;
    })
    .await;
    let mut profile = ten_requests(base);
    profile.timeout = served * 5;
    profile.rate_per_second = 5.0;
    profile.duration = Some(Duration::from_millis(400));
    let summary = run_whole(&profile).await;
    assert_eq!((summary.requests, summary.failed, summary.reconnects), (2, 1, 0), "{summary}");
    assert_eq!(summary.failed_requests[0].kind.to_string(), "closed_before_reply");
}
