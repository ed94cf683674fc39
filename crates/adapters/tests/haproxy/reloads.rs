//! What a reload does: the new worker knows nothing, and the old one goes on with what it has.

use crate::rig::{FENCE, Rig, at, key, until};
use serin_model::AdminState;
use serin_runtime::ports::LbPort;

#[tokio::test]
async fn a_reload_loses_the_drain_and_shows_as_another_worker() {
    let rig = Rig::start().await;
    let response = rig.hold().await;
    let server = [key("web/web-01")];
    rig.port.set_admin(&rig.lb, FENCE, &server, AdminState::Drain).await.unwrap();
    let before = rig.port.observe(&rig.lb).await.unwrap();
    assert_eq!((at(&before, "web/web-01").sessions, before.leaving.count), (1, 0));

    rig.start_reload();
    let after = rig
        .until("the new worker serves and the old one leaves", |seen| {
            seen.worker != before.worker && seen.leaving.count == 1
        })
        .await;
    let web = at(&after, "web/web-01");
    assert_eq!((web.admin, web.sessions), (AdminState::Ready, 0), "the new worker knows nothing");
    assert_eq!(after.leaving.sessions.get(&server[0]), Some(&1), "{:?}", after.leaving);
    assert_eq!(after.leaving.sessions.len(), 1);

    rig.port.set_admin(&rig.lb, FENCE, &server, AdminState::Drain).await.unwrap();
    let again = rig.port.observe(&rig.lb).await.unwrap();
    assert_eq!(at(&again, "web/web-01").admin, AdminState::Drain);
    assert_eq!(again.worker, after.worker);

    rig.first.release();
    rig.until("the old worker has left", |seen| seen.leaving.count == 0).await;
    assert!(response.await.unwrap().starts_with("HTTP/1.1 200"), "the request was not cut");
}

#[tokio::test]
async fn sessions_of_leaving_workers_are_cut_and_others_are_not() {
    let rig = Rig::start().await;
    let old = rig.hold().await;
    let before = rig.port.observe(&rig.lb).await.unwrap();
    rig.start_reload();
    rig.until("the old worker leaves", |seen| {
        seen.worker != before.worker && seen.leaving.count == 1
    })
    .await;
    rig.port.cut_sessions(&rig.lb, FENCE, &[key("web/web-02")]).await.unwrap();
    let seen = rig.port.observe(&rig.lb).await.unwrap();
    assert_eq!(seen.leaving.sessions.get(&key("web/web-01")), Some(&1));
    let new = rig.hold().await;
    rig.port.cut_sessions(&rig.lb, FENCE, &[key("web/web-01")]).await.unwrap();
    rig.until("nothing is left", |seen| {
        seen.leaving.count == 0 && at(seen, "web/web-01").sessions == 0
    })
    .await;
    for response in [old, new] {
        assert!(response.await.unwrap().starts_with("HTTP/1.1 502"));
    }
}

#[tokio::test]
async fn a_reload_that_fails_changes_nothing() {
    let rig = Rig::start().await;
    let server = [key("web/web-01")];
    rig.port.set_admin(&rig.lb, FENCE, &server, AdminState::Drain).await.unwrap();
    let before = rig.port.observe(&rig.lb).await.unwrap();
    std::fs::write(rig.dir.path().join("haproxy.cfg"), "broken\n").unwrap();
    rig.start_reload();
    until("the master says that it failed", async || {
        let processes = rig.raw("master.sock", "show proc;quit").await;
        if processes.contains("[failed: 1]") { Ok(()) } else { Err(processes) }
    })
    .await;
    let after = rig.until("it can be read", |_| true).await;
    assert_eq!((&after.worker, after.leaving.count), (&before.worker, 0));
    assert_eq!(at(&after, "web/web-01").admin, AdminState::Drain);
}
