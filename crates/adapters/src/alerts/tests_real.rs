//! The real Alertmanager and Prometheus of Debian, on free ports of loopback, with short intervals.

use super::*;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Servers that end with the test.
struct Lab {
    folder: tempfile::TempDir,
    alertmanager: Option<Child>,
    prometheus: Option<Child>,
    ports: [u16; 2],
}

impl Drop for Lab {
    fn drop(&mut self) {
        stop(&mut self.alertmanager);
        stop(&mut self.prometheus);
    }
}

fn stop(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        drop(child.kill());
        drop(child.wait());
    }
}

/// Two that always fire, and one that says so of the target that is not there.
const RULES: &str = r"
groups:
- name: lab
  interval: 200ms
  rules:
  - alert: Watchdog
    expr: vector(1)
  - alert: HighErr
    expr: vector(1)
    labels: { severity: critical }
  - alert: InstanceDown
    expr: up == 0
    labels: { severity: warning }
";

impl Lab {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut lab =
            Self { folder, alertmanager: None, prometheus: None, ports: [free(), free()] };
        lab.write("alertmanager.yml", "route: { receiver: none }\nreceivers: [{ name: none }]\n");
        lab.write_rules(RULES);
        lab.write(
            "prometheus.yml",
            &format!(
                "global: {{ evaluation_interval: 200ms, external_labels: {{ env: gstg }} }}\nrule_files: [rules.yml]\nalerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ['127.0.0.1:{}'] }}] }}] }}\nscrape_configs: [{{ job_name: gone, scrape_interval: 200ms, scrape_timeout: 100ms, static_configs: [{{ targets: ['127.0.0.1:1'] }}] }}]\n",
                lab.ports[0]
            ),
        );
        lab.start_alertmanager();
        lab.start_prometheus();
        lab
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn write_rules(&self, text: &str) {
        self.write("rules.yml", text);
    }

    fn start_alertmanager(&mut self) {
        let child = self.spawn(Command::new("prometheus-alertmanager").args([
            "--config.file=alertmanager.yml",
            "--storage.path=am",
            "--cluster.listen-address=",
            &format!("--web.listen-address=127.0.0.1:{}", self.ports[0]),
        ]));
        self.alertmanager = Some(child);
        self.wait_for_port(0);
    }

    fn start_prometheus(&mut self) {
        let child = self.spawn(Command::new("prometheus").args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--rules.alert.resend-delay=500ms",
            &format!("--web.listen-address=127.0.0.1:{}", self.ports[1]),
        ]));
        self.prometheus = Some(child);
        self.wait_for_port(1);
    }

    fn spawn(&self, command: &mut Command) -> Child {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let folder = self.folder.path();
        command.current_dir(folder).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    fn wait_for_port(&self, index: usize) {
        until(
            || TcpStream::connect(("127.0.0.1", self.ports[index])).is_ok(),
            || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default(),
        );
    }

    fn source(&self) -> AlertSource {
        let url = |port| format!("http://127.0.0.1:{port}");
        AlertSource {
            alertmanagers: vec![url(self.ports[0])],
            prometheus: vec![url(self.ports[1])],
            matchers: vec!["env=\"gstg\"".to_owned()],
            critical: vec!["severity=~\"crit.*\"".to_owned()],
            watchdog: vec!["alertname=\"Watchdog\"".to_owned(), "env=\"gstg\"".to_owned()],
            poll: Duration::from_secs(1),
            unreadable_for: Duration::from_secs(5),
            min_age: Duration::from_mins(3),
            attribution: Some(Attribution {
                label: "instance".to_owned(),
                matchers: vec!["alertname=\"InstanceDown\"".to_owned()],
            }),
        }
    }

    /// Reads until the reading is as it should be; the last one is shown if it never is.
    async fn read_until(&self, min_age: u64, good: impl Fn(&AlertReading) -> bool) -> AlertReading {
        let alerts = Alerts::new().unwrap();
        let min_age = Duration::from_secs(min_age);
        let source = AlertSource { min_age, ..self.source() };
        let start = now();
        loop {
            let reading = alerts.read(&source).await;
            if good(&reading) {
                return reading;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "never came: {reading:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn post_silence(&self, alert: &str) {
        let body = format!(
            r#"{{"matchers":[{{"name":"alertname","value":"{alert}","isRegex":false}}],"startsAt":"{}","endsAt":"{}","createdBy":"test","comment":"test"}}"#,
            http::now(),
            http::now() + jiff::SignedDuration::from_mins(5),
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[0])).unwrap();
        write!(
            stream,
            "POST /api/v2/silences HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let answer = std::io::read_to_string(stream).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[expect(clippy::disallowed_methods, reason = "real servers take real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a level of another process is waited for")]
fn until(reached: impl Fn() -> bool, log: impl Fn() -> String) {
    let start = now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(30), "never came up: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn real_alerts_are_read_attributed_and_counted_though_silenced() {
    let lab = Lab::start();
    let complete = |r: &AlertReading| r.doubts.is_empty() && r.firing.len() == 2;
    let reading = lab.read_until(1, complete).await;
    let found: Vec<_> = reading
        .firing
        .iter()
        .map(|a| (a.name.as_str(), a.labels.as_str(), a.critical, a.silenced, a.about.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("HighErr", "env=gstg, severity=critical", true, false, None),
            (
                "InstanceDown",
                "env=gstg, instance=127.0.0.1:1, job=gone, severity=warning",
                false,
                false,
                Some("127.0.0.1")
            ),
        ]
    );
    lab.post_silence("HighErr");
    let silenced = |r: &AlertReading| r.firing.iter().any(|alert| alert.silenced);
    let reading = lab.read_until(1, silenced).await;
    assert!(complete(&reading), "{reading:?}");
    assert_eq!(
        reading.firing.iter().filter(|a| a.silenced && a.critical).count(),
        1,
        "{reading:?}"
    );
}

#[tokio::test]
async fn what_prometheus_has_recorded_of_a_whole_time_proves_it_and_of_less_does_not() {
    let lab = Lab::start();
    lab.read_until(0, |reading| reading.doubts.is_empty()).await;
    let alerts = Alerts::new().unwrap();
    let source = lab.source();
    let at = |ms: i64| serin_model::Timestamp::from_millis(u64::try_from(ms).unwrap());
    let began = http::now().as_millisecond();
    let start = now();
    // It is asked until it has watched for two seconds.
    let reading = loop {
        let reading = alerts.read_back(&source, at(began), at(began + 2_000)).await;
        if reading.doubts.is_empty() && http::now().as_millisecond() > began + 2_000 {
            break reading;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "never came: {reading:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let critical: Vec<&str> =
        reading.firing.iter().filter(|a| a.critical).map(|a| a.name.as_str()).collect();
    assert_eq!(critical, ["HighErr"]);
    // Before it was started it watched nothing, and of what is to come it knows nothing.
    for (from, to) in [(began - 60_000, began + 1_000), (began, began + 60_000)] {
        let reading = alerts.read_back(&source, at(from), at(to)).await;
        assert!(reading.doubts.iter().any(|why| why.contains("nobody watched")), "{reading:#?}");
    }
    let nobody = AlertSource { prometheus: Vec::new(), ..source };
    let reading = alerts.read_back(&nobody, at(began), at(began + 1_000)).await;
    assert!(reading.doubts[0].contains("nobody has recorded"), "{reading:#?}");
}

#[tokio::test]
async fn a_restarted_alertmanager_is_doubted_until_it_is_old_enough() {
    let mut lab = Lab::start();
    lab.read_until(1, |r| r.doubts.is_empty() && r.firing.len() == 2).await;
    stop(&mut lab.prometheus);
    stop(&mut lab.alertmanager);
    lab.start_alertmanager();
    let reading = lab.read_until(0, |r| r.doubts.iter().any(|d| d.contains("Watchdog"))).await;
    assert!(reading.firing.is_empty(), "a restarted Alertmanager is empty: {reading:?}");
    assert!(reading.doubts.iter().any(|d| d.contains("Prometheus http://")), "{reading:?}");
    lab.start_prometheus();
    // Everything is there again, and still it is too young.
    let reading = lab.read_until(600, |r| r.firing.len() == 2 && r.doubts.len() == 1).await;
    assert!(reading.doubts[0].contains("was started"), "{reading:?}");
    lab.read_until(1, |r| r.doubts.is_empty() && r.firing.len() == 2).await;
}

#[tokio::test]
async fn a_dead_prometheus_and_a_failing_rule_are_doubts() {
    let mut lab = Lab::start();
    lab.read_until(1, |r| r.doubts.is_empty() && r.firing.len() == 2).await;
    stop(&mut lab.prometheus);
    // Its alerts were sent to last 4 × 500 ms at least: after a while the watchdog is late, then gone.
    let reading = lab.read_until(1, |r| r.doubts.iter().any(|d| d.contains("watchdog"))).await;
    assert!(reading.doubts.iter().any(|d| d.contains("refused")), "{reading:?}");
    let broken = "  - alert: Broken\n    expr: sum by (a) (up) * on () group_right () label_replace(up, \"b\", \"1\", \"\", \"\")\n  - record: two\n    expr: label_replace(vector(1), \"a\", \"1\", \"\", \"\") or label_replace(vector(1), \"a\", \"2\", \"\", \"\")\n  - alert: ManyToMany\n    expr: two * on () two\n";
    lab.write_rules(&format!("{RULES}{broken}"));
    lab.start_prometheus();
    let reading = lab.read_until(1, |r| r.doubts.iter().any(|d| d.contains("fails:"))).await;
    assert!(reading.doubts.iter().any(|d| d.contains("ManyToMany")), "{reading:?}");
}

#[tokio::test]
async fn an_alert_that_alertmanager_never_heard_of_counts_all_the_same() {
    let lab = Lab::start();
    lab.read_until(1, |r| r.doubts.is_empty() && r.firing.len() == 2).await;
    // A second Alertmanager's address that is another Prometheus' only: here, a source whose only Alertmanager is fed
    // by nobody, so all that is known comes from Prometheus itself.
    let mut lonely = Lab::start();
    stop(&mut lonely.prometheus);
    let mut source = lab.source();
    source.alertmanagers = lonely.source().alertmanagers;
    source.min_age = Duration::ZERO;
    let alerts = Alerts::new().unwrap();
    lonely
        .read_until(0, |r| {
            r.firing.is_empty() && r.doubts.iter().any(|d| d.contains("does not fire"))
        })
        .await;
    let reading = alerts.read(&source).await;
    let names: Vec<_> = reading.firing.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(names, ["HighErr", "InstanceDown"], "{reading:?}");
    assert_eq!(reading.doubts.len(), 1, "{reading:?}");
}
