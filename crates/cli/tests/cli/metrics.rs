//! What runs tell a Pushgateway: Debian's own, and none.

use crate::support::World;
use serin_model::Action;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Debian's Pushgateway, until the test ends.
struct Pushgateway {
    child: Child,
    address: String,
}

impl Drop for Pushgateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Pushgateway {
    fn start() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let child = Command::new("prometheus-pushgateway")
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let gateway = Self { child, address };
        while TcpStream::connect(&gateway.address).is_err() {
            std::thread::yield_now();
        }
        gateway
    }

    fn config(&self) -> String {
        format!("[pushgateway]\nurl = \"http://{}\"", self.address)
    }

    /// What it tells Prometheus of one gauge.
    fn told(&self, name: &str) -> Vec<String> {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let ours = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        ours.map(str::to_owned).collect()
    }
}

fn holds(lines: &[String], words: &[&str]) -> bool {
    lines.iter().any(|line| words.iter().all(|word| line.contains(word)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_tells_what_its_stage_cost_and_what_hosts_run() {
    let gateway = Pushgateway::start();
    let world = World::with_haproxy_and("roundrobin", &gateway.config());
    world.record(6, None).await;
    world.serin(&["adopt", "r-1"]).is(0, &["finished"]);
    let verdicts = gateway.told("serin_stage_verdict");
    let place = ["pipeline=\"to-canary\"", "stage=\"6\"", "environment=\"production\""];
    let is = |verdict: &str, value: &str| {
        let verdict = format!("verdict=\"{verdict}\"");
        let words = [&place[..], &[verdict.as_str()]].concat();
        verdicts
            .iter()
            .any(|line| words.iter().all(|word| line.contains(word)) && line.ends_with(value))
    };
    assert!(is("passed", " 1") && is("running", " 0") && is("halted", " 0"), "{verdicts:?}");
    assert!(holds(&gateway.told("serin_stage_build_info"), &["build=\"16.2.0-ee.0\""]));
    assert_eq!(gateway.told("serin_stage_success_timestamp_seconds").len(), 1);
    assert!(gateway.told("serin_stage_failure_timestamp_seconds").is_empty());
    let spent = gateway.told("serin_stage_time_seconds");
    assert_eq!(spent.len(), 11, "{spent:?}");
    // Nobody can be reached here by ssh, and HAProxy's servers have no checks that could fail.
    let hosts = gateway.told("serin_hosts");
    let main = ["environment=\"production\"", "fleet=\"main\"", "version=\"unreachable\""];
    assert!(holds(&hosts, &main) && hosts.iter().any(|line| line.ends_with(" 2")), "{hosts:?}");
    let share = gateway.told("serin_share_by_weight_percent");
    assert!(holds(&share, &["fleet=\"canary\"", " 33.3"]), "{share:?}");
}

/// Debian's Prometheus, which scrapes a Pushgateway as docs/metrics.md says.
struct Prometheus {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Prometheus {
    fn start(gateway: &Pushgateway) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = folder.path().join("prometheus.yml");
        let scrape = format!(
            "scrape_configs:\n- job_name: pushgateway\n  honor_labels: true\n  scrape_interval: 200ms\n  \
             scrape_timeout: 200ms\n  static_configs: [{{ targets: ['{}'] }}]\n",
            gateway.address
        );
        std::fs::write(&config, scrape).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address, _folder: folder }
    }

    /// What it answers to a query, as soon as it answers with something.
    async fn answer(&self, query: &str) -> String {
        use std::io::{Read, Write};
        loop {
            let Ok(mut stream) = TcpStream::connect(&self.address) else {
                tokio::task::yield_now().await;
                continue;
            };
            write!(stream, "GET /api/v1/query?query={query} HTTP/1.0\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            if text.contains("\"value\"") {
                return text;
            }
            // Its next look is a fifth of a second away; the deadline is the test runner's.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_finds_what_was_told_under_serins_own_name() {
    let gateway = Pushgateway::start();
    let world = World::with_haproxy_and("roundrobin", &gateway.config());
    world.record(6, None).await;
    world.serin(&["adopt", "r-1"]).is(0, &["finished"]);
    let prometheus = Prometheus::start(&gateway);
    let query = "serin_stage_verdict%7Bjob=%22serin%22,stage=%226%22,verdict=%22passed%22%7D";
    let found = prometheus.answer(query).await;
    assert!(found.contains("\"1\"]") && found.contains("to-canary"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_is_told_and_when_it_last_passed_stays() {
    let gateway = Pushgateway::start();
    let world = World::with_haproxy_and("roundrobin", &gateway.config());
    world.record(6, None).await;
    world.serin(&["adopt", "r-1"]).is(0, &["finished"]);
    let approve = Action::Approve { what: "try the new page".to_owned() };
    world.record_step(6, None, approve).await;
    world.serin(&["halt", "r-2", "--reason", "lunch"]).is(5, &["lunch"]);
    let verdicts = gateway.told("serin_stage_verdict");
    let halted: Vec<&String> = verdicts.iter().filter(|line| line.ends_with(" 1")).collect();
    assert!(halted.len() == 1 && halted[0].contains("halted"), "{verdicts:?}");
    assert_eq!(gateway.told("serin_stage_success_timestamp_seconds").len(), 1);
    assert_eq!(gateway.told("serin_stage_failure_timestamp_seconds").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushgateway_that_is_away_or_mute_fails_no_run() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in ["127.0.0.1:1".to_owned(), mute.local_addr().unwrap().to_string()] {
        let more = format!("[pushgateway]\nurl = \"http://{address}\"");
        let world = World::with_haproxy_and("roundrobin", &more);
        world.record(6, None).await;
        let telling = tokio::task::spawn_blocking(move || {
            world.serin(&["adopt", "r-1"]).is(0, &["finished", "the Pushgateway"]);
            world.serin(&["metrics", "--push"]).is(1, &["the Pushgateway cannot be told"]);
        });
        // Fifteen seconds of farewell, five for the push, and what a loaded machine adds.
        tokio::time::timeout(Duration::from_mins(1), telling).await.unwrap().unwrap();
    }
}

#[test]
fn metrics_are_printed_and_without_a_pushgateway_not_told() {
    let world = World::with_haproxy("roundrobin");
    let said = world.serin(&["metrics"]);
    said.is(
        0,
        &["# TYPE serin_hosts gauge", "serin_hosts{fleet=\"main\",version=\"unreachable\"} 2"],
    );
    world.serin(&["metrics", "--push"]).is(4, &["names no Pushgateway", "[pushgateway]"]);
}
