//! gitaly: HUP loses nothing, TERM loses what is in flight, and the wrapper's pid stays.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::support::{Host, ended, free_port, get, get_json, send, until, until_ready};

async fn started() -> (Host, u16, Child) {
    let port = free_port();
    let host = Host::new("16.0.0-ee.0", "", &format!("GITALY_PORT={port}"));
    let child = host.start("gitaly");
    until_ready(port).await;
    (host, port, child)
}

#[tokio::test]
async fn a_handover_loses_no_request_and_keeps_the_wrapper() {
    let (host, port, mut wrapper) = started().await;
    let (go_on, sent) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (go_on, sent) = (Arc::clone(&go_on), Arc::clone(&sent));
            tokio::spawn(async move {
                while go_on.load(Ordering::SeqCst) {
                    get(port, "/info/refs").await.expect("a request was lost");
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let clone = tokio::spawn(async move { get(port, "/git-upload-pack?ms=1500").await });
    let started_clone = |answer: &anyhow::Result<(u16, String)>| {
        let Ok((_, page)) = answer else { return false };
        !page.contains("http_requests_in_flight 0\n")
    };
    until(port, "/metrics", started_clone).await.unwrap();

    for version in ["16.1.0-ee.0", "16.2.0-ee.0", "16.3.0-ee.0"] {
        host.install(version);
        send(&wrapper, Signal::HUP);
        let new = |answer: &anyhow::Result<(u16, String)>| {
            answer.as_ref().expect("never away").1.contains(version)
        };
        until(port, "/-/version", new).await.unwrap();
    }

    go_on.store(false, Ordering::SeqCst);
    for task in load {
        task.await.unwrap();
    }
    assert!(sent.load(Ordering::SeqCst) > 100, "the load was real");
    assert_eq!(clone.await.unwrap().unwrap().0, 200, "the old server finished the long request");
    assert!(wrapper.try_wait().unwrap().is_none());
}

#[tokio::test]
async fn a_plain_restart_drops_what_is_in_flight() {
    let (_host, port, mut wrapper) = started().await;
    let clone = tokio::spawn(async move { get(port, "/git-upload-pack?ms=60000").await });
    let in_flight = |answer: &anyhow::Result<(u16, String)>| {
        answer.as_ref().is_ok_and(|(_, page)| page.contains("http_requests_in_flight 1\n"))
    };
    until(port, "/metrics", in_flight).await.unwrap();

    send(&wrapper, Signal::TERM);

    assert_eq!(ended(&mut wrapper).await, Some(0));
    assert!(clone.await.unwrap().is_err(), "its client sees it");
    assert!(get(port, "/-/health").await.is_err(), "nobody is left on the port");
}

#[tokio::test]
async fn a_server_that_cannot_start_leaves_the_old_one() {
    let port = free_port();
    let host = Host::new("16.0.0-ee.0", "", &format!("GITALY_PORT={port}"));
    let mut wrapper = host.program(&["gitaly"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(wrapper.stderr.take().unwrap()).lines();
    until_ready(port).await;
    let before = get_json(port, "/-/version").await;
    std::fs::write(host.path().join("opt/gitlab/version-manifest.json"), "{}").unwrap();

    send(&wrapper, Signal::HUP);

    while !log.next_line().await.unwrap().unwrap().contains("no handover, the old one stays") {}
    assert_eq!(get_json(port, "/-/version").await, before);
    host.install("16.2.0-ee.0");
    send(&wrapper, Signal::HUP);
    let new = |answer: &anyhow::Result<(u16, String)>| {
        answer.as_ref().expect("never away").1.contains("16.2.0")
    };
    until(port, "/-/version", new).await.unwrap();
}

#[tokio::test]
async fn a_killed_wrapper_takes_its_server_along() {
    let (_host, port, mut wrapper) = started().await;
    send(&wrapper, Signal::KILL);
    ended(&mut wrapper).await;
    until(port, "/-/health", Result::is_err).await.unwrap_err();
}
