//! Servers that lie, stall and break off, one by one: none of it may look like "no alerts".

use super::*;
use crate::http::test_server::{Reply, TestServer, http_date};
use std::time::Instant;

/// A server that answers as a healthy Alertmanager and a healthy Prometheus would.
async fn healthy() -> TestServer {
    let server = TestServer::start().await;
    server
        .reply("/api/v2/status", Reply::json(status(600, "ready")))
        .reply("/api/v2/alerts", Reply::json(format!("[{}]", watchdog(20, 220))))
        .reply("/-/ready", Reply::full(200, "text/plain", b"ok".to_vec()))
        .reply("/api/v1/alerts", Reply::json(success(r#"{"alerts":[]}"#)))
        .reply("/api/v1/rules", Reply::json(rules("ok", "", 5)))
        .reply(
            "/api/v1/status/config",
            Reply::json(success(r#"{"yaml":"global:\n  external_labels:\n    env: gstg\n"}"#)),
        );
    server
}

fn time(seconds_ago: i64) -> String {
    (http::now() - jiff::SignedDuration::from_secs(seconds_ago)).to_string()
}

fn status(age: i64, cluster: &str) -> String {
    format!(r#"{{"cluster":{{"status":"{cluster}"}},"uptime":"{}"}}"#, time(age))
}

fn success(data: &str) -> String {
    format!(r#"{{"status":"success","data":{data}}}"#)
}

fn rules(health: &str, error: &str, evaluated_ago: i64) -> String {
    success(&format!(
        r#"{{"groups":[{{"name":"g","interval":15,"lastEvaluation":"{}","rules":[{{"name":"R","health":"{health}","lastError":"{error}"}}]}}]}}"#,
        time(evaluated_ago)
    ))
}

fn alert(labels: &str, updated_ago: i64, ends_in: i64, silenced_by: &str) -> String {
    format!(
        r#"{{"labels":{{{labels}}},"status":{{"state":"active","silencedBy":[{silenced_by}],"inhibitedBy":[]}},"startsAt":"{}","updatedAt":"{}","endsAt":"{}"}}"#,
        time(1000),
        time(updated_ago),
        time(-ends_in)
    )
}

fn watchdog(updated_ago: i64, ends_in: i64) -> String {
    alert(r#""alertname":"Watchdog","env":"gstg""#, updated_ago, ends_in, "")
}

fn source(server: &TestServer) -> AlertSource {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    AlertSource {
        alertmanagers: vec![server.url.clone()],
        prometheus: vec![server.url.clone()],
        matchers: texts(&["env=\"gstg\""]),
        critical: texts(&["severity=\"critical\""]),
        watchdog: texts(&["alertname=\"Watchdog\"", "env=\"gstg\""]),
        poll: Duration::from_secs(15),
        unreadable_for: Duration::from_mins(2),
        min_age: Duration::from_mins(3),
        attribution: Some(Attribution {
            label: "instance".to_owned(),
            matchers: texts(&["alertname=~\"HAProxyServerDown|InstanceDown\""]),
        }),
    }
}

async fn read(server: &TestServer) -> AlertReading {
    Alerts::new().unwrap().read(&source(server)).await
}

/// Checks that the reading is doubted, in these words.
async fn doubted(server: &TestServer, words: &str) {
    let doubts = read(server).await.doubts.join("\n");
    assert!(doubts.contains(words), "expected a doubt about {words:?}, got: {doubts:?}");
}

#[tokio::test]
async fn a_healthy_environment_is_believed_and_asked_in_words_that_hide_nothing() {
    let server = healthy().await;
    assert_eq!(read(&server).await, AlertReading::default());
    let asked = server.asked.lock().unwrap().join("\n");
    let states = "active=true&silenced=true&inhibited=true&unprocessed=true";
    assert!(
        asked.contains(&format!("/api/v2/alerts?{states}&filter=env%3D%22gstg%22\n")),
        "{asked}"
    );
    assert!(asked.contains("filter=alertname%3D%22Watchdog%22&filter=env%3D%22gstg%22"), "{asked}");
}

#[tokio::test]
async fn alerts_are_filtered_again_marked_and_attributed() {
    let server = healthy().await;
    let list = [
        watchdog(20, 220),
        alert(r#""alertname":"HighErr","env":"gstg","severity":"critical""#, 5, 200, "\"s-1\""),
        alert(
            r#""alertname":"InstanceDown","env":"gstg","instance":"web-01.gstg:9100""#,
            5,
            200,
            "",
        ),
        alert(r#""alertname":"HighErr","env":"gprd","severity":"critical""#, 5, 200, ""),
    ];
    server.reply("/api/v2/alerts", Reply::json(format!("[{}]", list.join(","))));
    let firing = r#"{"alerts":[
        {"labels":{"alertname":"HighErr","severity":"critical"},"state":"firing"},
        {"labels":{"alertname":"Lost","severity":"critical"},"state":"firing"},
        {"labels":{"alertname":"Elsewhere","env":"gprd"},"state":"firing"},
        {"labels":{"alertname":"NotYet","severity":"critical"},"state":"pending"}]}"#;
    server.reply("/api/v1/alerts", Reply::json(success(&firing.replace('\n', ""))));
    let reading = read(&server).await;
    assert_eq!(reading.doubts, Vec::<String>::new());
    let found: Vec<_> = reading
        .firing
        .iter()
        .map(|a| (a.name.as_str(), a.labels.as_str(), a.critical, a.silenced, a.about.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("HighErr", "env=gstg, severity=critical", true, true, None),
            (
                "InstanceDown",
                "env=gstg, instance=web-01.gstg:9100",
                false,
                false,
                Some("web-01.gstg")
            ),
            ("Lost", "env=gstg, severity=critical", true, false, None),
        ]
    );
}

#[tokio::test]
async fn one_alert_is_shown_once_though_a_label_was_taken_off_on_the_way() {
    let server = healthy().await;
    let config = r#"{"yaml":"global:\n  external_labels:\n    env: gstg\n    replica: a\n"}"#;
    server.reply("/api/v1/status/config", Reply::json(success(config)));
    let list = [
        watchdog(20, 220),
        alert(r#""alertname":"HighErr","env":"gstg","severity":"critical""#, 5, 200, ""),
        alert(r#""alertname":"Slow","env":"gstg""#, 5, 200, ""),
    ];
    server.reply("/api/v2/alerts", Reply::json(format!("[{}]", list.join(","))));
    let firing = r#"{"alerts":[
        {"labels":{"alertname":"HighErr","severity":"critical"},"state":"firing"},
        {"labels":{"alertname":"Slow","severity":"critical"},"state":"firing"}]}"#;
    server.reply("/api/v1/alerts", Reply::json(success(&firing.replace('\n', ""))));
    let reading = read(&server).await;
    let found: Vec<_> = reading.firing.iter().map(|a| format!("{} {}", a.name, a.labels)).collect();
    assert_eq!(
        found,
        [
            "HighErr env=gstg, severity=critical",
            "Slow env=gstg",
            // Another alert, which Alertmanager never heard of, not the one that it has with fewer labels.
            "Slow env=gstg, replica=a, severity=critical",
        ]
    );
}

#[tokio::test]
async fn all_alertmanagers_are_asked_and_each_is_doubted_on_its_own() {
    let (first, second) = (healthy().await, healthy().await);
    let list = [watchdog(20, 220), alert(r#""alertname":"Only2","env":"gstg""#, 5, 200, "")];
    second.reply("/api/v2/alerts", Reply::json(format!("[{}]", list.join(","))));
    let mut source = source(&first);
    source.alertmanagers.push(second.url.clone());
    let alerts = Alerts::new().unwrap();
    let reading = alerts.read(&source).await;
    assert_eq!((reading.firing.len(), reading.doubts.len()), (1, 0), "{reading:?}");
    assert!(!reading.firing[0].silenced);
    // Both know it, and one of them knows that it is silenced.
    let silenced = alert(r#""alertname":"Only2","env":"gstg""#, 5, 200, "\"s-1\"");
    let list = format!("[{},{silenced}]", watchdog(20, 220));
    for (one, other) in [(&first, &second), (&second, &first)] {
        let plain = alert(r#""alertname":"Only2","env":"gstg""#, 5, 200, "");
        one.reply("/api/v2/alerts", Reply::json(list.clone()));
        other.reply("/api/v2/alerts", Reply::json(format!("[{},{plain}]", watchdog(20, 220))));
        let reading = alerts.read(&source).await;
        assert_eq!((reading.firing.len(), reading.firing[0].silenced), (1, true), "{reading:?}");
    }
    second.reply("/api/v2/status", Reply::json(status(10, "ready")));
    let reading = alerts.read(&source).await;
    assert_eq!((reading.firing.len(), reading.doubts.len()), (1, 1), "{reading:?}");
    assert!(reading.doubts[0].contains(&second.url), "{reading:?}");
}

#[tokio::test]
async fn answers_that_are_none_are_doubts() {
    for path in [
        "/api/v2/status",
        "/api/v2/alerts",
        "/api/v1/alerts",
        "/api/v1/rules",
        "/api/v1/status/config",
    ] {
        let server = healthy().await;
        let as_path = |reply| server.reply(path, reply);
        as_path(Reply::full(500, "text/plain", b"oops".to_vec()));
        doubted(&server, "HTTP status 500: oops").await;
        as_path(Reply::full(302, "text/plain", vec![]));
        doubted(&server, "HTTP status 302").await;
        as_path(Reply::full(200, "text/html; charset=utf-8", b"<html>log in".to_vec()));
        doubted(&server, "web page").await;
        as_path(Reply::json("<html>"));
        doubted(&server, "not what its API promises").await;
        as_path(Reply::json(""));
        doubted(&server, "not what its API promises").await;
        as_path(Reply::json("null"));
        doubted(&server, "not what its API promises").await;
        as_path(Reply::json("[{\"labels\":{\"alertname\":\"Watchdog\",\"env\""));
        doubted(&server, "not what its API promises").await;
        as_path(Reply::Cut(b"[".to_vec()));
        doubted(&server, path).await;
        as_path(Reply::Endless);
        doubted(&server, "larger than").await;
    }
}

#[tokio::test]
async fn prometheus_that_is_not_ready_or_says_error_or_warning_is_doubted() {
    let server = healthy().await;
    server.reply("/-/ready", Reply::full(503, "text/plain", b"Service Unavailable".to_vec()));
    doubted(&server, "/-/ready: HTTP status 503").await;
    let server = healthy().await;
    server.reply("/api/v1/alerts", Reply::json(r#"{"status":"error","error":"no"}"#));
    doubted(&server, "status \"error\": no").await;
    let partial = r#"{"status":"success","data":{"alerts":[]},"warnings":["partial"]}"#;
    server.reply("/api/v1/alerts", Reply::json(partial));
    doubted(&server, "partial").await;
}

#[tokio::test]
async fn servers_that_stall_are_given_up_together() {
    let (hang, drip) = (healthy().await, healthy().await);
    for path in ["/api/v2/status", "/api/v2/alerts", "/api/v1/alerts"] {
        hang.reply(path, Reply::Hang);
        drip.reply(path, Reply::Drip(b"[".to_vec()));
    }
    let mut source = source(&hang);
    source.alertmanagers.push(drip.url.clone());
    source.prometheus.push(drip.url.clone());
    #[expect(clippy::disallowed_methods, reason = "the claim is about real time")]
    let start = Instant::now();
    let reading = Alerts::new().unwrap().read(&source).await;
    // One deadline for all, not one each: there are six requests that stall.
    assert!(start.elapsed() < DEADLINE * 2, "{:?}", start.elapsed());
    let stalled =
        reading.doubts.iter().filter(|doubt| doubt.contains("no complete answer")).count();
    assert_eq!(stalled, 6, "{:?}", reading.doubts);
}

#[tokio::test]
async fn nobody_there_is_a_doubt_without_the_password() {
    let server = healthy().await;
    let mut source = source(&server);
    source.alertmanagers = vec!["http://me:hunter2@127.0.0.1:1/am/".to_owned()];
    let reading = Alerts::new().unwrap().read(&source).await;
    let doubts = reading.doubts.join("\n");
    assert!(doubts.contains("Alertmanager http://127.0.0.1:1/am/"), "{doubts}");
    assert!(!doubts.contains("hunter2"), "{doubts}");
}

#[tokio::test]
async fn a_young_or_settling_alertmanager_is_doubted_even_when_its_list_looks_right() {
    let server = healthy().await;
    server.reply("/api/v2/status", Reply::json(status(170, "ready")));
    doubted(&server, "was started 1").await;
    server.reply("/api/v2/status", Reply::json(status(-30, "ready")));
    doubted(&server, "was started -").await;
    server.reply("/api/v2/status", Reply::json(status(600, "settling")));
    doubted(&server, "its cluster is settling").await;
    server.reply("/api/v2/status", Reply::json(status(600, "disabled")));
    assert!(read(&server).await.doubts.is_empty());
}

#[tokio::test]
async fn without_a_fresh_watchdog_nothing_is_fresh() {
    let server = healthy().await;
    server.reply("/api/v2/alerts", Reply::json("[]"));
    doubted(&server, "the watchdog alert alertname=\"Watchdog\" env=\"gstg\" does not fire").await;
    let other = alert(r#""alertname":"Watchdog","env":"gprd""#, 5, 200, "");
    server.reply("/api/v2/alerts", Reply::json(format!("[{other}]")));
    doubted(&server, "does not fire").await;
    // Sent to last 4 minutes, and last heard 3 minutes and 20 seconds ago.
    server.reply("/api/v2/alerts", Reply::json(format!("[{}]", watchdog(200, 40))));
    doubted(&server, "it last heard of the watchdog").await;
    // A watchdog that someone made by hand to last for a year proves nothing after a while.
    server.reply("/api/v2/alerts", Reply::json(format!("[{}]", watchdog(1000, 31_000_000))));
    doubted(&server, "it last heard of the watchdog").await;
    server.reply("/api/v2/alerts", Reply::json(format!("[{}]", watchdog(130, 110))));
    assert!(read(&server).await.doubts.is_empty());
}

#[tokio::test]
async fn an_old_answer_is_doubted_although_it_fits_together() {
    let server = healthy().await;
    let body = status(600, "ready").into_bytes();
    let old = format!("Content-Type: application/json\r\nDate: {}\r\n", http_date(100));
    server.reply("/api/v2/status", Reply::Full(200, old, body.clone()));
    doubted(&server, "a cache has kept it").await;
    let aged = format!("Content-Type: application/json\r\nDate: {}\r\nAge: 3\r\n", http_date(0));
    server.reply("/api/v2/status", Reply::Full(200, aged, body.clone()));
    doubted(&server, "a cache has kept it").await;
    server.reply("/api/v2/status", Reply::Full(200, String::new(), body));
    doubted(&server, "no date").await;
}

#[tokio::test]
async fn rules_that_fail_or_stand_still_are_doubts() {
    let server = healthy().await;
    server.reply("/api/v1/rules", Reply::json(rules("err", "many-to-many", 5)));
    doubted(&server, "rule \"R\" fails: many-to-many").await;
    server.reply("/api/v1/rules", Reply::json(rules("unknown", "", 5)));
    doubted(&server, "was never evaluated").await;
    server.reply("/api/v1/rules", Reply::json(rules("ok", "", 80)));
    doubted(&server, "not being evaluated").await;
    server.reply("/api/v1/rules", Reply::json(success(r#"{"groups":[]}"#)));
    doubted(&server, "it has no rules").await;
}

#[tokio::test]
async fn a_source_that_cannot_work_is_refused_before_anyone_is_asked() {
    let server = healthy().await;
    let refused = |change: fn(&mut AlertSource)| {
        let mut source = source(&server);
        change(&mut source);
        check_source(&source).unwrap_err()
    };
    assert!(refused(|s| s.alertmanagers.clear()).contains("nobody to ask"));
    assert!(refused(|s| s.watchdog.clear()).contains("no watchdog"));
    assert!(
        refused(|s| s.matchers.push("env==x".to_owned())).contains("\"env==x\" is not a matcher")
    );
    let mut source = source(&server);
    source.critical.push("severity".to_owned());
    let reading = Alerts::new().unwrap().read(&source).await;
    assert_eq!(reading.doubts.len(), 1, "{reading:?}");
    assert!(server.asked.lock().unwrap().is_empty());
}

#[test]
fn ports_are_taken_off_what_alerts_are_about() {
    let cases = [
        ("web-01.gstg:9100", "web-01.gstg"),
        ("web-01.gstg", "web-01.gstg"),
        ("10.0.0.1:80", "10.0.0.1"),
        ("[fd00::1]:9100", "fd00::1"),
        ("fd00::1", "fd00::1"),
        ("web:", "web:"),
    ];
    for (address, host) in cases {
        assert_eq!(without_port(address), host);
    }
}
