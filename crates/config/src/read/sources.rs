//! Load balancers, config management, alerts and QA suites of an environment.

use super::Reader;
use super::environments::Seen;
use crate::at::{At, Text};
use crate::raw::{RawAlerts, RawConfigManagement, RawLoadBalancer, RawQa, RawRecord, RawReport};
use crate::suggest::instead_of;
use serin_model::{
    AlertSource, Argv, Attribution, ConfigManagement, Environment, HostName, LbName, LoadBalancer,
    QaName, QaReport, QaSuite, VersionRecord,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where Debian's package has the sockets.
const SOCKET: &str = "/run/haproxy/admin.sock";
const MASTER_SOCKET: &str = "/run/haproxy-master.sock";
/// A converge of a large cookbook.
const CONVERGE: Duration = Duration::from_mins(5);
/// Twice the resolution of usual scrapes.
const POLL: Duration = Duration::from_secs(15);
/// Prometheus sends every alert again within one minute by default, up to two when its rules are evaluated once a
/// minute; then inhibition settles.
const MIN_AGE: Duration = Duration::from_mins(3);
/// A restarted Alertmanager is filled again after a minute.
const UNREADABLE_FOR: Duration = Duration::from_mins(2);
/// A complete GitLab-QA suite.
const QA_TIMEOUT: Duration = Duration::from_hours(1);
/// No suite has more tests.
const MOST_TESTS: i64 = 1_000_000;

/// Reads the load balancers of an environment.
pub(super) fn load_balancers(
    reader: &mut Reader,
    raw: &BTreeMap<Text, RawLoadBalancer>,
    seen: &mut Seen,
) -> BTreeMap<LbName, LoadBalancer> {
    let mut load_balancers = BTreeMap::new();
    for (name, raw) in raw {
        if let Some(lb) = load_balancer(reader, name, raw) {
            if let Some(first) = seen.load_balancers.insert(lb.host.clone(), raw.host.span()) {
                let message = format!("`{}` already is the host of a load balancer", lb.host);
                let help = "name another host: an environment's load balancers are its own";
                let first = (first, "the other place");
                reader.wrong_with(raw.host.span(), message, help, first);
            }
            load_balancers.insert(lb.name.clone(), lb);
        }
    }
    load_balancers
}

fn load_balancer(
    reader: &mut Reader,
    written: &Text,
    raw: &RawLoadBalancer,
) -> Option<LoadBalancer> {
    let name = reader.name(written);
    let host = reader.name(&raw.host);
    let socket = match &raw.socket {
        Some(text) => reader.path_on_host(text),
        None => Some(SOCKET.to_owned()),
    };
    let master_socket = match &raw.master_socket {
        Some(text) if text.get() == "none" => Some(None),
        Some(text) => reader.path_on_host(text).map(Some),
        None => Some(Some(MASTER_SOCKET.to_owned())),
    };
    if let Some(tcp) = &raw.tcp {
        let port = tcp.get().rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        if !matches!(port, Some((host, Ok(1..))) if !host.is_empty()) {
            let message = format!("`{}` is not an address and a port", tcp.get());
            reader.wrong(tcp.span(), message, "write `host:port`, such as `10.0.0.1:9999`");
        }
    }
    let unfenced = raw.unfenced.as_ref().filter(|unfenced| *unfenced.get());
    if let Some(unfenced) = unfenced.filter(|_| raw.tcp.is_none()) {
        let message = "`unfenced` is about the TCP address, and there is none";
        reader.wrong(unfenced.span(), message, "remove `unfenced`, or add `tcp = \"host:port\"`");
    }
    Some(LoadBalancer {
        name: name?,
        host: host?,
        socket: socket?,
        master_socket: master_socket?,
        tcp: raw.tcp.as_ref().map(|tcp| tcp.get().clone()),
        unfenced: unfenced.is_some(),
    })
}

/// Reads the config management of an environment whose hosts are already read.
pub(super) fn config_management(
    reader: &mut Reader,
    raw: &RawConfigManagement,
    environment: &Environment,
) -> Option<ConfigManagement> {
    let agent = reader.not_empty(&raw.agent, "the agent's name");
    let stop = reader.argv(&raw.stop, &[]);
    let start = reader.argv(&raw.start, &[]);
    let running = reader.argv(&raw.running, &[]);
    let wait = reader.duration_or(raw.wait.as_ref(), CONVERGE);
    let record = match &raw.record {
        Some(raw) => Some(record(reader, raw, environment)?),
        None => None,
    };
    Some(ConfigManagement {
        agent: agent?,
        stop: stop?,
        start: start?,
        running: running?,
        wait,
        record,
    })
}

fn record(
    reader: &mut Reader,
    raw: &RawRecord,
    environment: &Environment,
) -> Option<VersionRecord> {
    let read = reader.argv(&raw.read, &["environment", "fleet"]);
    let write = reader.argv(&raw.write, &["environment", "fleet", "version"]);
    let host: Option<HostName> = reader.name(&raw.host);
    let holds = |argv: &Option<Argv>, what: &str| {
        argv.as_ref().is_none_or(|argv| argv.arguments().any(|argument| argument.contains(what)))
    };
    if !holds(&write, "{version}") {
        let message = "this command is not told which version to record";
        reader.wrong(raw.write.span(), message, "put `{version}` where the version belongs");
    }
    for (argv, words) in [(&read, &raw.read), (&write, &raw.write)] {
        if environment.fleets.len() > 1 && !holds(argv, "{fleet}") {
            let fleets: Vec<&str> =
                environment.fleets.keys().map(serin_model::FleetName::as_str).collect();
            let message = format!("one version record would be shared by {}", fleets.join(" and "));
            let help = "put `{fleet}` where the fleet belongs: each needs a record of its own, or \
                        config management installs the canary's version everywhere";
            reader.wrong(words.span(), message, help);
        }
    }
    if let Some(name) = &host
        && !environment.hosts().any(|(_, host)| host.name == *name)
    {
        let message = format!("`{name}` is not a host of `{}`", environment.name);
        let hosts = environment.hosts().map(|(_, host)| host.name.as_str());
        // All names of a large fleet would hide the one that is meant.
        let few: Vec<&str> = hosts.take(8).collect();
        let help = if environment.hosts().count() > few.len() {
            "write the name of one of its hosts".to_owned()
        } else {
            instead_of(name.as_str(), few)
        };
        reader.wrong(raw.host.span(), message, help);
    }
    Some(VersionRecord { read: read?, write: write?, host: host? })
}

/// Reads where alerts come from.
pub(super) fn alerts(reader: &mut Reader, written: &At<RawAlerts>) -> AlertSource {
    let raw = written.get();
    let mut urls = |texts: &[Text]| -> Vec<String> {
        texts.iter().filter_map(|text| reader.base_url(text)).collect()
    };
    let alertmanagers = urls(raw.alertmanagers.get());
    let prometheus = urls(&raw.prometheus);
    if raw.alertmanagers.get().is_empty() {
        let message = "there is no Alertmanager to ask";
        let help = "write the URL of at least one, or remove the whole `alerts` table";
        reader.wrong(raw.alertmanagers.span(), message, help);
    }
    if raw.watchdog.get().is_empty() {
        let message = "without a watchdog nothing proves that alerts are fresh";
        let help = "write the matchers of an alert that always fires, such as \
                    `[\"alertname=\\\"Watchdog\\\"\"]`";
        reader.wrong(raw.watchdog.span(), message, help);
    }
    let poll = reader.duration_or(raw.poll.as_ref(), POLL);
    let unreadable_for = reader.duration_or(raw.unreadable_for.as_ref(), UNREADABLE_FOR);
    if unreadable_for < poll {
        let place = raw.unreadable_for.as_ref().or(raw.poll.as_ref());
        let span = place.map_or(written.span(), At::span);
        let message = "alerts would be unreadable for too long before they are read again";
        reader.wrong(span, message, "write an `unreadable_for` of at least `poll`");
    }
    let attribution = raw.attribute.as_ref().map(|raw| {
        if !is_label(raw.label.get()) {
            let message = format!("`{}` is not the name of a label", raw.label.get());
            reader.wrong(raw.label.span(), message, "write the label alone, such as `instance`");
        }
        if raw.matchers.get().is_empty() {
            let message = "every alert that names a host would be attributed";
            let help = "write which alerts may be about a host that is out of service, such as \
                        `[\"alertname=\\\"InstanceDown\\\"\"]`";
            reader.wrong(raw.matchers.span(), message, help);
        }
        let matchers = matchers(reader, raw.matchers.get());
        Attribution { label: raw.label.get().clone(), matchers }
    });
    AlertSource {
        alertmanagers,
        prometheus,
        matchers: matchers(reader, &raw.matchers),
        critical: matchers(reader, &raw.critical),
        watchdog: matchers(reader, raw.watchdog.get()),
        poll,
        unreadable_for,
        min_age: reader.duration_or(raw.min_age.as_ref(), MIN_AGE),
        attribution,
    }
}

/// Reads matchers, each on its own: Alertmanager takes neither braces nor several in one.
fn matchers(reader: &mut Reader, texts: &[Text]) -> Vec<String> {
    for text in texts.iter().filter(|text| !is_matcher(text.get())) {
        let message = format!("`{}` is not a matcher", text.get());
        let help = "write one label, `=`, `!=`, `=~` or `!~`, and a value in quotes, \
                    such as `env=\"gprd\"`; several matchers are several texts of the list";
        reader.wrong(text.span(), message, help);
    }
    texts.iter().map(|text| text.get().clone()).collect()
}

fn is_matcher(text: &str) -> bool {
    let Some(at) = text.find(['=', '!']) else { return false };
    let (label, rest) = text.split_at(at);
    let operators = ["=~", "!~", "!=", "="];
    let Some(value) = operators.iter().find_map(|operator| rest.strip_prefix(operator)) else {
        return false;
    };
    let inner = value.trim().strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    is_label(label.trim()) && inner.is_some_and(|inner| !inner.replace("\\\"", "").contains('"'))
}

fn is_label(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads the QA suites of an environment.
pub(super) fn qa(reader: &mut Reader, raw: &BTreeMap<Text, RawQa>) -> BTreeMap<QaName, QaSuite> {
    raw.iter()
        .filter_map(|(name, raw)| suite(reader, name, raw))
        .map(|suite| (suite.name.clone(), suite))
        .collect()
}

fn suite(reader: &mut Reader, written: &Text, raw: &RawQa) -> Option<QaSuite> {
    let name = reader.name(written);
    let command = reader.argv(&raw.command, &[]);
    let report = report(reader, raw);
    let minimum_tests =
        raw.minimum_tests.as_ref().map_or(1, |number| reader.whole(number, 1..=MOST_TESTS));
    let timeout = reader.duration_or(raw.timeout.as_ref(), QA_TIMEOUT);
    let retry_failed = raw.retry_failed.as_ref().map(|words| reader.argv(words, &[]));
    let environment = reader.variables(&raw.environment);
    for secret in &raw.secrets {
        reader.variable(secret);
        if environment.contains_key(secret.get()) {
            let message = format!("`{}` is also in `environment`", secret.get());
            reader.wrong(secret.span(), message, "keep it here, and remove it there");
        }
    }
    Some(QaSuite {
        name: name?,
        command: command?,
        report,
        minimum_tests: u32::try_from(minimum_tests).unwrap_or(1),
        timeout,
        retry_failed: retry_failed.flatten(),
        environment,
        secrets: raw.secrets.iter().map(|secret| secret.get().clone()).collect(),
    })
}

fn report(reader: &mut Reader, raw: &RawQa) -> QaReport {
    let files = raw.report_files.as_ref();
    match raw.report.get() {
        RawReport::Junit => {
            let files: Vec<String> = files
                .map(|files| files.get().iter().map(|file| file.get().clone()).collect())
                .unwrap_or_default();
            if files.is_empty() || files.iter().any(|file| file.is_empty() || file.starts_with('/'))
            {
                let span = raw.report_files.as_ref().map_or(raw.report.span(), At::span);
                let message = "a JUnit report needs files in the command's working folder";
                reader.wrong(span, message, "write, say, `report_files = [\"rspec-*.xml\"]`");
            }
            QaReport::Junit(files)
        }
        RawReport::Rspec => {
            if let Some(files) = files {
                let message = "an RSpec summary is read from standard output, not from files";
                let help = "remove `report_files`, or write `report = \"junit\"`";
                reader.wrong(files.span(), message, help);
            }
            QaReport::Rspec
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matcher_is_one_label_one_operator_and_one_quoted_value() {
        for good in [r#"env="gprd""#, r#"a=~"x|y""#, r#"a!="""#, r#"a !~ "b""#, r#"a="x\"y""#] {
            assert!(is_matcher(good), "{good} was refused");
        }
        for bad in
            ["env", "env=gprd", r#"{env="gprd"}"#, r#"a="b",c="d""#, r#"="x""#, r#"a-b="x""#, ""]
        {
            assert!(!is_matcher(bad), "{bad} was accepted");
        }
    }
}
