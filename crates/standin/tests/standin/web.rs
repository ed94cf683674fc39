//! puma and workhorse: what they say of themselves, what they need, how they stop, how they are broken.

use hyper::Method;
use rustix::process::Signal;

use crate::support::{
    Host, Postgres, ask, ended, free_port, get, get_json, send, until, until_ready,
};

async fn started(version: &str, flaw: &str, settings: &str) -> (Host, u16, tokio::process::Child) {
    let port = free_port();
    let host = Host::new(version, flaw, &format!("PUMA_PORT={port}\n{settings}"));
    let child = host.start("puma");
    until(port, "/-/health", |answer| matches!(answer, Ok((200, _)))).await.unwrap();
    (host, port, child)
}

#[tokio::test]
async fn a_running_process_reports_what_it_loaded_not_what_is_on_disk() {
    let (host, port, mut child) = started("16.0.0-ee.0", "", "").await;
    host.install("16.1.0-ee.0");
    let old = get_json(port, "/-/version").await;
    assert_eq!(old["version"], "16.0.0-ee.0");
    assert_eq!(get_json(port, "/api/v4/version").await["version"], "16.0.0-ee.0-rails");

    send(&child, Signal::HUP);
    assert_eq!(ended(&mut child).await, Some(0));
    let _again = host.start("puma");
    until_ready(port).await;
    let new = get_json(port, "/-/version").await;
    assert_eq!(new["version"], "16.1.0-ee.0");
    assert_ne!(new["pid"], old["pid"]);
    assert!(new["started"].as_u64() > old["started"].as_u64());
}

#[tokio::test]
async fn a_graceful_stop_finishes_what_is_in_flight_and_takes_nothing_new() {
    for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
        let (_host, port, mut child) = started("16.0.0-ee.0", "", "").await;
        let long = tokio::spawn(get_owned(port, "/slow?ms=700"));
        let in_flight = |answer: &anyhow::Result<(u16, String)>| {
            answer.as_ref().is_ok_and(|(_, page)| page.contains("http_requests_in_flight 1"))
        };
        until(port, "/metrics", in_flight).await.unwrap();

        send(&child, signal);
        until(port, "/-/health", Result::is_err).await.unwrap_err();

        assert!(child.try_wait().unwrap().is_none(), "{signal:?}: it waits for the request");
        assert_eq!(long.await.unwrap().unwrap().0, 200, "{signal:?}");
        assert_eq!(ended(&mut child).await, Some(0), "{signal:?}");
    }
}

async fn get_owned(port: u16, path: &'static str) -> anyhow::Result<(u16, String)> {
    get(port, path).await
}

#[tokio::test]
async fn the_database_may_be_away_at_the_start_and_later() {
    let mut postgres = Postgres::start().await;
    let url = postgres.url();
    let host = Host::new("16.0.0-ee.0", "", &format!("DATABASE_URL={url}"));
    assert_eq!(host.rake(&["db:migrate"]).await.code, Some(0));
    postgres.stop().await;
    let (_host, port, _child) = started("16.0.0-ee.0", "", &format!("DATABASE_URL={url}")).await;

    assert_eq!(get(port, "/-/readiness").await.unwrap().0, 200);
    assert_eq!(get(port, "/-/readiness?all=1").await.unwrap().0, 503);
    assert_eq!(get(port, "/api/v4/projects").await.unwrap().0, 503);
    postgres.resume().await;
    let made = ask(Method::POST, port, "/api/v4/projects?name=lab").await.unwrap();
    assert_eq!(made, (201, "{\"id\":1,\"name\":\"lab\"}\n".to_owned()));
    assert_eq!(get(port, "/-/readiness?all=1").await.unwrap().0, 200);
    postgres.stop().await;
    assert_eq!(get(port, "/api/v4/projects").await.unwrap().0, 503);
    postgres.resume().await;
    assert_eq!(get(port, "/api/v4/projects").await.unwrap().0, 200);
}

#[tokio::test]
async fn without_gitaly_git_is_502_and_sign_in_works() {
    let settings = format!("GITALY=127.0.0.1:{}", free_port());
    let (_host, port, _child) = started("16.0.0-ee.0", "", &settings).await;
    assert_eq!(get(port, "/group/project.git/info/refs").await.unwrap().0, 502);
    assert_eq!(get(port, "/users/sign_in").await.unwrap().0, 200);
}

#[tokio::test]
async fn never_ready_lives_and_is_not_ready() {
    let (_host, port, _child) = started("16.0.0-ee.0", "never-ready\n", "").await;
    assert_eq!(get(port, "/-/readiness").await.unwrap().0, 503);
    assert_eq!(get(port, "/-/liveness").await.unwrap().0, 200);
}

#[tokio::test]
async fn dies_after_five_seconds_exits_by_itself() {
    let (_host, _port, mut child) = started("16.0.0-ee.0", "dies-after-five-seconds\n", "").await;
    assert_eq!(ended(&mut child).await, Some(1));
}

#[tokio::test]
async fn five_percent_errors_are_one_in_twenty_and_spare_health_checks() {
    let (_host, port, _child) = started("16.0.0-ee.0", "five-percent-errors\n", "").await;
    let mut errors = 0;
    for _ in 0..100 {
        assert_eq!(get(port, "/-/readiness").await.unwrap().0, 200);
        errors += usize::from(get(port, "/users/sign_in").await.unwrap().0 == 500);
    }
    assert_eq!(errors, 5);
    let (_, page) = get(port, "/metrics").await.unwrap();
    assert!(page.contains("http_requests_total{code=\"500\"} 5\n"), "{page}");
    assert!(page.contains("http_requests_total{code=\"200\"} 95\n"), "{page}");
}

#[tokio::test]
async fn slow_is_seen_in_the_metrics() {
    let (_host, port, _child) = started("16.0.0-ee.0", "slow\n", "").await;
    assert_eq!(get(port, "/users/sign_in").await.unwrap().0, 200);
    let (_, page) = get(port, "/metrics").await.unwrap();
    assert!(page.contains("http_request_duration_seconds_bucket{le=\"1\"} 0\n"), "{page}");
    assert!(page.contains("http_request_duration_seconds_bucket{le=\"2.5\"} 1\n"), "{page}");
}

#[tokio::test]
async fn qa_fails_lies_about_the_api_version_only() {
    let (_host, port, _child) = started("16.0.0-ee.0", "qa-fails\n", "").await;
    assert_eq!(get_json(port, "/api/v4/version").await["version"], "0.0.0-wrong");
    assert_eq!(get_json(port, "/-/version").await["version"], "16.0.0-ee.0");
}

#[tokio::test]
async fn the_alert_fires_only_with_the_flaw_and_only_after_its_time() {
    let is = |value: &'static str| {
        move |answer: &anyhow::Result<(u16, String)>| {
            answer.as_ref().is_ok_and(|(_, page)| page.contains(value))
        }
    };
    let (_well, well, _child) = started("16.0.0-ee.0", "", "SERIN_LAB_ALERT_AFTER=0").await;
    assert!(get(well, "/metrics").await.unwrap().1.contains("serin_lab_alert 0\n"));
    let flaw = "fires-alert-after-a-minute\n";
    let (_ill, ill, _child) = started("16.0.0-ee.0", flaw, "SERIN_LAB_ALERT_AFTER=2").await;
    assert!(get(ill, "/metrics").await.unwrap().1.contains("serin_lab_alert 0\n"));
    until(ill, "/metrics", is("serin_lab_alert 1\n")).await.unwrap();
}

#[tokio::test]
async fn the_alert_of_searches_needs_searches_which_are_answered() {
    let flaw = "fires-alert-by-searches\n";
    let (_host, port, _child) = started("16.0.0-ee.0", flaw, "").await;
    for _ in 0..10 {
        assert_eq!(get(port, "/users/sign_in").await.unwrap().0, 200);
    }
    assert!(get(port, "/metrics").await.unwrap().1.contains("serin_lab_alert 0\n"));
    for _ in 0..6 {
        assert_eq!(get(port, "/users/sign_in?search=fox").await.unwrap().0, 200);
    }
    assert!(get(port, "/metrics").await.unwrap().1.contains("serin_lab_alert 1\n"));
}

#[tokio::test]
async fn an_unknown_flaw_is_no_healthy_build() {
    let host = Host::new("16.0.0-ee.0", "nver-ready\n", "");
    assert_eq!(ended(&mut host.start("puma")).await, Some(1));
}
