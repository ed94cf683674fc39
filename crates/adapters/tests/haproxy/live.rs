//! One worker of a real HAProxy: states, sessions, weights, refusals, and sockets that do not answer.

use crate::rig::{FENCE, OnHost, Rig, Still, at, key, load_balancer, until};
use serin_adapters::haproxy::HaProxy;
use serin_model::{AdminState, LoadBalancer, ServerKind};
use serin_runtime::ports::{Fence, LbPort, PortError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, UnixStream};

fn refusal(result: Result<(), PortError>) -> String {
    match result {
        Err(PortError::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_drained_server_keeps_its_session_until_it_ends_and_comes_back() {
    let rig = Rig::start().await;
    let response = rig.hold().await;
    let server = [key("web/web-01")];
    rig.port.set_admin(&rig.lb, FENCE, &server, AdminState::Drain).await.unwrap();
    let seen = rig.port.observe(&rig.lb).await.unwrap();
    let web = at(&seen, "web/web-01");
    assert_eq!((web.admin, web.up, web.sessions), (AdminState::Drain, false, 1));
    assert!(web.healthy, "its checks go on: {web:?}");
    assert_eq!(at(&seen, "web/web-02").admin, AdminState::Ready);

    rig.first.release();
    rig.until("no session is left", |seen| at(seen, "web/web-01").sessions == 0).await;
    assert!(response.await.unwrap().starts_with("HTTP/1.1 200"), "the request was not cut");

    rig.port.set_admin(&rig.lb, FENCE, &server, AdminState::Ready).await.unwrap();
    rig.until("it is up again", |seen| at(seen, "web/web-01").up).await;
}

#[tokio::test]
async fn it_is_seen_how_backends_balance() {
    let rig = Rig::start().await;
    let seen = rig.port.observe(&rig.lb).await.unwrap();
    assert_eq!(seen.balance.get(&"web".parse().unwrap()).map(String::as_str), Some("roundrobin"));
    assert_eq!(at(&seen, "web/web-01").kind, ServerKind::Active);
}

#[tokio::test]
async fn a_server_out_of_maintenance_is_not_up_before_a_check() {
    let rig = Rig::start().await;
    let server = [key("seldom/web-01")];
    // HAProxy checks every server once at its start, soon but not at once.
    rig.until("it was checked", |seen| at(seen, "seldom/web-01").healthy).await;
    rig.port.set_admin(&rig.lb, FENCE, &server, AdminState::Maintenance).await.unwrap();
    let seen = rig.port.observe(&rig.lb).await.unwrap();
    let web = at(&seen, "seldom/web-01");
    assert_eq!((web.admin, web.status.as_str()), (AdminState::Maintenance, "MAINT"));
    // The next check is an hour away, so HAProxy believes in it without having looked.
    rig.port.set_admin(&rig.lb, FENCE, &server, AdminState::Ready).await.unwrap();
    let seen = rig.port.observe(&rig.lb).await.unwrap();
    let web = at(&seen, "seldom/web-01");
    assert_eq!((web.admin, web.status.as_str()), (AdminState::Ready, "UP 1/2"));
    assert!(!web.up && !web.healthy, "{web:?}");
}

#[tokio::test]
async fn a_sick_server_is_not_healthy_while_it_drains() {
    let rig = Rig::start().await;
    let server = [key("web/web-01")];
    rig.port.set_admin(&rig.lb, FENCE, &server, AdminState::Drain).await.unwrap();
    rig.first.fall_ill();
    let seen = rig.until("it is down", |seen| at(seen, "web/web-01").status == "DOWN").await;
    let web = at(&seen, "web/web-01");
    assert_eq!((web.admin, web.healthy), (AdminState::Drain, false), "told by the mask");
    rig.first.recover();
    rig.until("it is healthy", |seen| at(seen, "web/web-01").healthy).await;
}

#[tokio::test]
async fn a_follower_has_the_state_and_the_health_of_what_it_tracks() {
    let rig = Rig::start().await;
    let seen = rig.port.observe(&rig.lb).await.unwrap();
    assert!(at(&seen, "follows/web-01").healthy && at(&seen, "follows/web-01").up);
    let tracked = [key("web/web-01")];
    rig.port.set_admin(&rig.lb, FENCE, &tracked, AdminState::Maintenance).await.unwrap();
    let seen = rig.port.observe(&rig.lb).await.unwrap();
    assert_eq!(at(&seen, "follows/web-01").admin, AdminState::Maintenance);
    let follower = [key("follows/web-01")];
    let told = rig.port.set_admin(&rig.lb, FENCE, &follower, AdminState::Ready).await;
    assert_eq!(
        refusal(told),
        "lb-01: follows/web-01 did not take the change: expected ready, found maint, inherited \
         from the server that it tracks"
    );
}

#[tokio::test]
async fn a_server_without_checks_is_up_when_it_is_ready() {
    let rig = Rig::start().await;
    let seen = rig.port.observe(&rig.lb).await.unwrap();
    let web = at(&seen, "unchecked/web-01");
    assert_eq!((web.up, web.healthy, web.status.as_str()), (true, true, "no check"));
    assert_eq!(web.address, "127.0.0.1");
    let server = [key("unchecked/web-01")];
    rig.port.set_admin(&rig.lb, FENCE, &server, AdminState::Drain).await.unwrap();
    let seen = rig.port.observe(&rig.lb).await.unwrap();
    assert!(!at(&seen, "unchecked/web-01").up);
}

#[tokio::test]
async fn an_agent_makes_every_change_a_refusal() {
    let rig = Rig::start().await;
    assert!(at(&rig.port.observe(&rig.lb).await.unwrap(), "agents/web-01").agent);
    let server = [key("agents/web-01")];
    let told = rig.port.set_admin(&rig.lb, FENCE, &server, AdminState::Drain).await;
    assert!(refusal(told).contains("disable agent agents/web-01"));
    let weight = [(server[0].0.clone(), server[0].1.clone(), 40)];
    assert!(refusal(rig.port.set_weights(&rig.lb, FENCE, &weight).await).contains("agent check"));
    assert_eq!(rig.raw("admin.sock", "disable agent agents/web-01").await, "\n\n");
    rig.port.set_admin(&rig.lb, FENCE, &server, AdminState::Drain).await.unwrap();
    assert!(!at(&rig.port.observe(&rig.lb).await.unwrap(), "agents/web-01").agent);
}

#[tokio::test]
async fn weights_are_absolute_and_read_back() {
    let rig = Rig::start().await;
    let set = async |name: &str, weight: u32| {
        let (backend, server) = key(name);
        rig.port.set_weights(&rig.lb, FENCE, &[(backend, server, weight)]).await
    };
    // A percentage of the configured weight 0 would be 0 for ever.
    set("follows/web-01", 30).await.unwrap();
    let seen = rig.port.observe(&rig.lb).await.unwrap();
    let canary = at(&seen, "follows/web-01");
    assert_eq!((canary.weight, canary.initial_weight), (30, 0));
    set("follows/web-01", 256).await.unwrap();
    rig.host.asked();
    assert!(refusal(set("follows/web-01", 257).await).contains("nothing was changed"));
    assert!(rig.host.asked().is_empty());
    assert!(refusal(set("fixed/web-01", 5).await).contains("static LB algorithm"));
}

#[tokio::test]
async fn unknown_servers_and_too_few_rights_are_refused_by_name() {
    let rig = Rig::start().await;
    let drain = async |lb: &LoadBalancer, name: &str| {
        refusal(rig.port.set_admin(lb, FENCE, &[key(name)], AdminState::Drain).await)
    };
    assert_eq!(
        drain(&rig.lb, "web/nope").await,
        "lb-01: `set server web/nope state drain`: No such server."
    );
    assert_eq!(
        drain(&rig.lb, "nope/web-01").await,
        "lb-01: `set server nope/web-01 state drain`: No such backend."
    );
    let mut lb = rig.lb.clone();
    lb.socket = rig.dir.path().join("operator.sock").to_str().unwrap().to_owned();
    assert!(drain(&lb, "web/web-01").await.contains("Permission denied (its `stats socket`"));
    let seen = rig.port.observe(&lb).await.unwrap();
    assert_eq!(at(&seen, "web/web-01").admin, AdminState::Ready);
}

#[tokio::test]
async fn cut_sessions_are_gone() {
    let rig = Rig::start().await;
    let response = rig.hold().await;
    rig.port.cut_sessions(&rig.lb, FENCE, &[key("web/web-01")]).await.unwrap();
    rig.until("no session is left", |seen| at(seen, "web/web-01").sessions == 0).await;
    assert!(response.await.unwrap().starts_with("HTTP/1.1 502"));
    let unknown = rig.port.cut_sessions(&rig.lb, FENCE, &[key("web/nope")]).await;
    assert!(refusal(unknown).contains("No such server"));
}

#[tokio::test]
async fn reading_takes_two_round_trips_and_a_change_one() {
    let rig = Rig::start().await;
    rig.port.observe(&rig.lb).await.unwrap();
    let asked = rig.host.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked.iter().all(|(fence, _)| fence.is_none()), "reading is not fenced");
    let servers = [key("web/web-01"), key("unchecked/web-01")];
    rig.port.set_admin(&rig.lb, FENCE, &servers, AdminState::Maintenance).await.unwrap();
    let asked = rig.host.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].0, Some(FENCE));
    assert_eq!(
        asked[0].1,
        [
            "set server web/web-01 state maint",
            "set server unchecked/web-01 state maint",
            "show servers state"
        ]
    );
}

#[tokio::test]
async fn an_outdated_controller_changes_nothing() {
    let rig = Rig::start().await;
    rig.port.raise_fence(&rig.lb, Fence(8)).await.unwrap();
    let server = [key("web/web-01")];
    let late = rig.port.set_admin(&rig.lb, FENCE, &server, AdminState::Drain).await;
    assert_eq!(late, Err(PortError::Fenced { by: 8 }));
    let seen = rig.port.observe(&rig.lb).await.unwrap();
    assert_eq!(at(&seen, "web/web-01").admin, AdminState::Ready);
}

#[tokio::test]
async fn a_socket_whose_connections_are_all_taken_is_unreachable() {
    let rig = Rig::start().await;
    let mut taken = Vec::new();
    for _ in 0..10 {
        taken.push(UnixStream::connect(&rig.lb.socket).await.unwrap());
    }
    let port = HaProxy::new(OnHost::new(Duration::from_millis(300)), Arc::new(Still));
    let error = port.observe(&rig.lb).await.unwrap_err().to_string();
    assert!(error.contains("no answer within 300ms; all of HAProxy's connections"), "{error}");
    drop(taken);
    until("it answers again", async || {
        port.observe(&rig.lb).await.map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn an_absent_socket_is_unreachable() {
    let dir = tempfile::tempdir().unwrap();
    let port = HaProxy::new(OnHost::new(Duration::from_secs(5)), Arc::new(Still));
    let error = port.observe(&load_balancer(dir.path())).await.unwrap_err();
    assert!(matches!(error, PortError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("admin.sock: No such file"), "{error}");

    let rig = Rig::start().await;
    let mut lb = rig.lb.clone();
    lb.master_socket = Some("/nonexistent/master.sock".to_owned());
    assert!(rig.port.observe(&lb).await.is_err(), "leaving workers are not known to be none");
    lb.master_socket = None;
    rig.port.observe(&lb).await.unwrap();
}

#[tokio::test]
async fn a_tcp_address_is_for_reading_unless_it_is_unfenced() {
    let rig = Rig::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (socket, count) = (rig.lb.socket.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    let relay = tokio::spawn(async move {
        while let Ok((mut outside, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut inside = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move {
                drop(tokio::io::copy_bidirectional(&mut outside, &mut inside).await);
            });
        }
    });
    let mut lb = rig.lb.clone();
    lb.tcp = Some(address);
    let server = [key("web/web-01")];
    rig.port.observe(&lb).await.unwrap();
    let read = count.swap(0, Ordering::SeqCst);
    assert!(read > 0, "it was not read over TCP");
    rig.port.set_admin(&lb, FENCE, &server, AdminState::Drain).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 0, "changed over TCP without being told so");
    lb.unfenced = true;
    rig.host.asked();
    rig.port.set_admin(&lb, FENCE, &server, AdminState::Ready).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2, "one connection for each command");
    assert!(rig.host.asked().is_empty());
    relay.abort();
}
