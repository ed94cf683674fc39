//! The lab's alerts: what Alertmanager reports now, and one alert that can be fired at will.

use crate::run::{cmd, feed, read, run, wait_for};
use crate::seed::prometheus::MANUAL_ALERT_METRIC;
use crate::topology::{Environment, OPS_ADDRESS};
use anyhow::{Result, bail};
use std::time::Duration;

/// How long an alert may take from its cause to Alertmanager.
const VISIBLE_WITHIN: Duration = Duration::from_secs(20);

/// Fires a critical alert that is nobody's fault, and waits until Alertmanager knows.
pub(crate) fn fire(environment: Environment) -> Result<()> {
    let metric = format!("# TYPE {MANUAL_ALERT_METRIC} gauge\n{MANUAL_ALERT_METRIC} 1\n");
    let url = manual_alert_url(environment);
    feed(&mut cmd(["curl", "-fsS", "--data-binary", "@-", &url]), &metric)?;
    wait_for_manual_alert(environment, Some(()))
}

/// Clears it, and waits until Alertmanager knows.
pub(crate) fn clear(environment: Environment) -> Result<()> {
    run(&mut cmd(["curl", "-fsS", "-X", "DELETE", &manual_alert_url(environment)]))?;
    wait_for_manual_alert(environment, None)
}

/// Tells Alertmanager of a critical alert that ends by itself; it shows what it is told at once. Prometheus knows
/// nothing of it.
pub(crate) fn fire_briefly(environment: Environment, seconds: u32) -> Result<()> {
    let at = |when: &str| read(&mut cmd(["date", "-u", "-d", when, "+%Y-%m-%dT%H:%M:%S.%3NZ"]));
    let ends = at(&format!("{seconds} seconds"))?;
    let alert = serde_json::json!([{
        "labels": {
            "alertname": "BriefAlert",
            "env": environment.domain(),
            "severity": "critical",
        },
        "startsAt": at("now")?.trim(),
        "endsAt": ends.trim(),
    }]);
    let url = format!("http://{OPS_ADDRESS}:9093/api/v2/alerts");
    let json = "Content-Type: application/json";
    feed(&mut cmd(["curl", "-fsS", "-H", json, "--data-binary", "@-", &url]), &alert.to_string())?;
    Ok(())
}

fn manual_alert_url(environment: Environment) -> String {
    format!("http://{OPS_ADDRESS}:9091/metrics/job/serin-lab/env/{}", environment.domain())
}

fn wait_for_manual_alert(environment: Environment, wanted: Option<()>) -> Result<()> {
    wait_for(&format!("Alertmanager knows about {environment}"), VISIBLE_WITHIN, || {
        let alerts = active()?;
        let found = alerts
            .iter()
            .find(|alert| alert.name == "ManualAlert" && alert.environment == environment.domain());
        Ok((found.map(|_| ()) == wanted).then_some(()))
    })
}

/// An alert as Alertmanager reports it.
#[derive(Clone, Debug)]
pub(crate) struct Alert {
    /// Its name.
    pub(crate) name: String,
    /// Its label `env`.
    pub(crate) environment: String,
    /// Its label `severity`.
    pub(crate) severity: String,
    /// Its label `instance`, empty if it is about no host.
    pub(crate) instance: String,
}

/// Reads the active alerts.
pub(crate) fn active() -> Result<Vec<Alert>> {
    let url = format!("http://{OPS_ADDRESS}:9093/api/v2/alerts?active=true");
    let text = read(&mut cmd(["curl", "-fsS", "--max-time", "5", &url]))?;
    let alerts: Vec<serde_json::Value> = serde_json::from_str(&text)?;
    let label = |alert: &serde_json::Value, name: &str| {
        let text = alert.pointer(&format!("/labels/{name}")).and_then(|value| value.as_str());
        text.unwrap_or_default().to_owned()
    };
    let read_alert = |alert: &serde_json::Value| Alert {
        name: label(alert, "alertname"),
        environment: label(alert, "env"),
        severity: label(alert, "severity"),
        instance: label(alert, "instance"),
    };
    Ok(alerts.iter().map(read_alert).collect())
}

/// Waits until an environment's watchdog fires and nothing else does: without the one its alerts prove nothing, with
/// another no run would start.
pub(crate) fn wait_for_quiet(environment: Environment, limit: Duration) -> Result<()> {
    let what = format!("nothing but the watchdog fires in {environment}");
    wait_for(&what, limit, || {
        let alerts = active()?.into_iter();
        let names: Vec<String> = alerts
            .filter(|alert| alert.environment == environment.domain())
            .map(|alert| format!("{} {}", alert.name, alert.instance).trim().to_owned())
            .collect();
        if names == ["Watchdog"] {
            return Ok(Some(()));
        }
        bail!("firing: {}", names.join(", "))
    })
}
