//! Prometheus' configuration and alert rules.
//!
//! Everything is scraped and evaluated each second, so that an alert follows its cause within a few seconds and runs
//! with time-compressed bakes stay honest. Every alert carries `env`, `severity` and, where it is about one host,
//! `instance` with the host's name.

use super::haproxy::METRICS_PORT;
use crate::text::append;
use crate::topology::{Environment, Kind, Topology};

/// The metric that `serin-lab break alert` pushes.
pub(crate) const MANUAL_ALERT_METRIC: &str = "serin_lab_manual_alert";

/// Renders `prometheus.yml`.
pub(crate) fn render_config(topology: &Topology) -> String {
    let mut text = String::from(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\n\
         rule_files: [/etc/prometheus/rules.yml]\n\
         alerting:\n  alertmanagers:\n    - static_configs: [{ targets: [\"127.0.0.1:9093\"] }]\n\
         scrape_configs:\n\
         \x20 - job_name: prometheus\n    static_configs: [{ targets: [\"127.0.0.1:9090\"] }]\n\
         \x20 - job_name: pushgateway\n    honor_labels: true\n    \
         static_configs: [{ targets: [\"127.0.0.1:9091\"] }]\n",
    );
    let application = |kind: Kind| kind.port();
    let load_balancer = |kind: Kind| (kind == Kind::LoadBalancer).then_some(METRICS_PORT);
    push_job(&mut text, topology, "gitlab", &application);
    push_job(&mut text, topology, "haproxy", &load_balancer);
    text
}

fn push_job(
    text: &mut String,
    topology: &Topology,
    name: &str,
    port_of: &dyn Fn(Kind) -> Option<u16>,
) {
    append(text, format_args!("  - job_name: {name}\n    static_configs:\n"));
    for host in &topology.hosts {
        let (Some(port), Some(environment)) = (port_of(host.kind), host.environment) else {
            continue;
        };
        append(
            text,
            format_args!(
                "      - {{ targets: [\"{}:{port}\"], labels: {{ instance: \"{}\", env: \"{}\", \
             fleet: \"{}\" }} }}\n",
                host.address,
                host.name,
                environment.domain(),
                host.fleet
            ),
        );
    }
}

/// Renders the alert rules, the same set for each environment.
pub(crate) fn render_rules(topology: &Topology) -> String {
    let mut text = String::from("groups:\n");
    for environment in topology.environments() {
        append(&mut text, format_args!("  - name: {environment}\n    rules:\n"));
        for rule in rules(environment) {
            text.push_str(&rule);
        }
    }
    text
}

fn rules(environment: Environment) -> Vec<String> {
    let env = environment.domain();
    vec![
        rule(env, "Watchdog", "none", "0s", "vector(1)"),
        rule(
            env,
            "InstanceDown",
            "critical",
            "5s",
            &format!("max by (instance, fleet) (up{{env=\"{env}\"}}) == 0"),
        ),
        rule(
            env,
            "HAProxyServerDown",
            "critical",
            "3s",
            // The server's name is the first label of its host's name. Several load balancers may say the same.
            &format!(
                "label_replace(max by (server) (haproxy_server_status{{env=\"{env}\", \
                 state=\"DOWN\"}}), \"instance\", \"$1.{env}\", \"server\", \"(.*)\") == 1"
            ),
        ),
        // The ratio of a few seconds: one bad host of three must not hide behind an hour of good ones.
        rule(
            env,
            "HighErrorRatio",
            "critical",
            "3s",
            &format!(
                "sum by (fleet) ({}) / sum by (fleet) ({}) > 0.02",
                response_rate(env, "code=\"5xx\", "),
                response_rate(env, "")
            ),
        ),
        // Half of all requests: one long download must not look like a slow build.
        rule(
            env,
            "SlowRequests",
            "critical",
            "3s",
            &format!(
                "1 - sum by (fleet) (rate(http_request_duration_seconds_bucket{{env=\"{env}\", \
                 job=\"gitlab\", le=\"1\"}}[10s])) / sum by (fleet) \
                 (rate(http_request_duration_seconds_count{{env=\"{env}\", job=\"gitlab\"}}[10s])) > 0.5"
            ),
        ),
        rule(
            env,
            "BuildMisbehaves",
            "critical",
            "0s",
            &format!("max by (instance, fleet) (serin_lab_alert{{env=\"{env}\"}}) == 1"),
        ),
        rule(
            env,
            "ManualAlert",
            "critical",
            "0s",
            &format!("max ({MANUAL_ALERT_METRIC}{{env=\"{env}\"}}) == 1"),
        ),
    ]
}

/// Returns the rate of responses as HAProxy counted them, each with the label `fleet` of the server that gave it.
fn response_rate(env: &str, matcher: &str) -> String {
    // The canary-only backends are left in: their requests are the canary's too.
    let rate = format!("rate(haproxy_server_http_responses_total{{{matcher}env=\"{env}\"}}[10s])");
    let main = format!("label_replace({rate}, \"fleet\", \"main\", \"server\", \".*\")");
    format!("label_replace({main}, \"fleet\", \"canary\", \"server\", \".*-cny-.*\")")
}

fn rule(env: &str, name: &str, severity: &str, lasting: &str, expression: &str) -> String {
    format!(
        "      - alert: {name}\n        expr: '{expression}'\n        for: {lasting}\n        \
         labels: {{ env: {env}, severity: {severity} }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Size;

    #[test]
    fn every_environment_has_a_watchdog_of_its_own() {
        let text = render_rules(&Topology::new(Size::Full));
        for env in ["gstg", "gprd"] {
            let watchdog = format!(
                "alert: Watchdog\n        expr: 'vector(1)'\n        for: 0s\n        \
                 labels: {{ env: {env}, severity: none }}"
            );
            assert!(text.contains(&watchdog), "{text}");
        }
    }

    #[test]
    fn what_is_scraped_is_called_by_its_host_and_not_by_its_address() {
        let text = render_config(&Topology::new(Size::Full));
        assert!(text.contains(
            "targets: [\"10.87.2.120:8080\"], labels: { instance: \"web-cny-01.gprd\", \
             env: \"gprd\", fleet: \"canary\" }"
        ));
    }
}
