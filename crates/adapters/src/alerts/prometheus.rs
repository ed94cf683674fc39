//! What one Prometheus says: the alerts that it fires itself, and whether its rules work.
//!
//! It is asked besides Alertmanager because an alert can be lost on the way, and because a rule that fails fires
//! nothing and says so only here. A target that is down is no doubt: that is what alerts are for.

use super::json;
use super::matcher::Labels;
use super::{Fired, Heard};
use crate::http::redacted;
use jiff::{SignedDuration, Timestamp};
use reqwest::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// How long a group of rules may take beyond its interval before it counts as stuck.
const LATE: SignedDuration = SignedDuration::from_secs(30);

/// How many failing rules are named.
const MAX_NAMED: usize = 3;

#[derive(Debug, Deserialize)]
struct Envelope<T> {
    status: String,
    data: Option<T>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ApiAlerts {
    alerts: Vec<ApiAlert>,
}

#[derive(Debug, Deserialize)]
struct ApiAlert {
    labels: Labels,
    state: String,
}

#[derive(Debug, Deserialize)]
struct ApiRules {
    groups: Vec<ApiGroup>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroup {
    name: String,
    /// In seconds.
    interval: f64,
    last_evaluation: Timestamp,
    rules: Vec<ApiRule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiRule {
    name: String,
    health: String,
    #[serde(default)]
    last_error: String,
}

#[derive(Debug, Deserialize)]
struct ApiConfig {
    yaml: String,
}

/// Asks for everything at once.
pub(super) async fn read(client: &Client, address: &str) -> Heard {
    let (ready, alerts, rules, external) = tokio::join!(
        json::ready(client, address, "/-/ready"),
        data::<ApiAlerts>(client, address, "/api/v1/alerts"),
        data::<ApiRules>(client, address, "/api/v1/rules"),
        external_labels_of(client, address),
    );
    let mut doubts = Vec::new();
    if let Err(why) = ready {
        doubts.push(why);
    }
    match rules {
        Ok((rules, date)) => doubts.extend(doubt_rules(&rules, date)),
        Err(why) => doubts.push(why),
    }
    let mut keep = |why| doubts.push(why);
    let external = external.map_err(&mut keep).unwrap_or_default();
    let alerts = alerts.map_err(&mut keep).map(|(alerts, _)| alerts.alerts).unwrap_or_default();
    let name = redacted(address);
    Heard {
        alerts: alerts.into_iter().filter_map(|alert| fired(alert, &external)).collect(),
        doubts: doubts.iter().map(|why| format!("Prometheus {name}{why}")).collect(),
    }
}

/// The longest time between two evaluations of a group of rules.
pub(super) async fn interval(client: &Client, address: &str) -> Result<f64, String> {
    let (rules, _) = data::<ApiRules>(client, address, "/api/v1/rules").await?;
    Ok(rules.groups.iter().map(|group| group.interval).fold(0.0, f64::max))
}

async fn data<T: DeserializeOwned>(
    client: &Client,
    address: &str,
    path: &str,
) -> Result<(T, Timestamp), String> {
    asked(client, address, path, &[]).await
}

pub(super) async fn asked<T: DeserializeOwned>(
    client: &Client,
    address: &str,
    path: &str,
    query: &[(&str, &str)],
) -> Result<(T, Timestamp), String> {
    let read = json::read::<Envelope<T>>(client, address, path, query).await?;
    let data = read.value.open().map_err(|why| format!("{path}: {why}"))?;
    Ok((data, read.date))
}

impl<T> Envelope<T> {
    fn open(self) -> Result<T, String> {
        match self.data {
            Some(data) if self.status == "success" && self.warnings.is_empty() => Ok(data),
            Some(_) | None => {
                let why = self.error.unwrap_or_else(|| self.warnings.join("; "));
                Err(format!("status {:?}: {why}", self.status))
            }
        }
    }
}

/// Reads an answer without asking, whichever of the three it is.
pub(super) fn heard(body: &[u8], date: Timestamp) -> Heard {
    fn opened<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
        json::parse::<Envelope<T>>(body).and_then(Envelope::open)
    }
    let doubts = |doubts| Heard { alerts: Vec::new(), doubts };
    if let Ok(rules) = opened::<ApiRules>(body) {
        return doubts(doubt_rules(&rules, date));
    }
    if let Ok(config) = opened::<ApiConfig>(body) {
        return doubts(external_labels(&config.yaml).err().into_iter().collect());
    }
    match opened::<ApiAlerts>(body) {
        Ok(ApiAlerts { alerts }) => {
            let alerts = alerts.into_iter().filter_map(|alert| fired(alert, &Labels::new()));
            Heard { alerts: alerts.collect(), doubts: Vec::new() }
        }
        Err(why) => doubts(vec![why]),
    }
}

/// A pending alert does not fire; a state of a name that is not known counts as if it did.
fn fired(alert: ApiAlert, external: &Labels) -> Option<Fired> {
    if alert.state == "pending" || alert.state == "inactive" {
        return None;
    }
    let mut labels = external.clone();
    labels.extend(alert.labels.clone());
    Some(Fired { labels, own_labels: alert.labels, silenced: false })
}

/// A rule that fails, or was never evaluated, fires nothing: that is no proof that nothing is wrong. Recording rules
/// count too, for alerts are made of what they record.
fn doubt_rules(rules: &ApiRules, date: Timestamp) -> Vec<String> {
    let failing: Vec<_> = rules
        .groups
        .iter()
        .flat_map(|group| &group.rules)
        .filter(|rule| rule.health != "ok")
        .map(|rule| match rule.last_error.as_str() {
            "" => format!(": rule {:?} was never evaluated", rule.name),
            error => format!(": rule {:?} fails: {error}", rule.name),
        })
        .collect();
    let stuck: Vec<_> = rules
        .groups
        .iter()
        .filter(|group| is_stuck(group, date))
        .map(|group| format!(": the rules of {:?} are not being evaluated", group.name))
        .collect();
    if rules.groups.iter().all(|group| group.rules.is_empty()) {
        return vec![": it has no rules, so it fires no alerts".to_owned()];
    }
    let mut doubts = Vec::new();
    for mut found in [failing, stuck] {
        let more = found.len().saturating_sub(MAX_NAMED);
        found.truncate(MAX_NAMED);
        doubts.extend(found);
        if more > 0 {
            doubts.push(format!(": and {more} more"));
        }
    }
    doubts
}

/// Three intervals missed is not a slow evaluation any more.
fn is_stuck(group: &ApiGroup, date: Timestamp) -> bool {
    let interval =
        SignedDuration::try_from_secs_f64(group.interval).unwrap_or(SignedDuration::ZERO);
    date.duration_since(group.last_evaluation) > interval.saturating_mul(3).saturating_add(LATE)
}

/// The labels that this Prometheus adds to every alert it sends; its own list of alerts is without them.
pub(super) async fn external_labels_of(client: &Client, address: &str) -> Result<Labels, String> {
    let path = "/api/v1/status/config";
    let (config, _) = data::<ApiConfig>(client, address, path).await?;
    external_labels(&config.yaml)
        .map_err(|line| format!("{path}: external label not understood: {line}"))
}

/// Finds `global.external_labels` in a configuration. Prometheus writes it in one fixed layout, whatever the file's
/// own was, so its lines can be read without a parser of YAML; a line of any other layout is an error.
fn external_labels(yaml: &str) -> Result<Labels, String> {
    let section = yaml.lines().skip_while(|line| *line != "global:").skip(1);
    let mut lines = section.take_while(|line| line.starts_with(' '));
    if !lines.any(|line| line == "  external_labels:") {
        return Ok(BTreeMap::new());
    }
    lines
        .map_while(|line| line.strip_prefix("    "))
        .map(|line| label(line).ok_or_else(|| line.to_owned()))
        .collect()
}

fn label(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(": ")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    let value = match value.chars().next()? {
        '"' => serde_json::from_str(value).ok()?,
        '\'' => value.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'"),
        '|' | '>' | '&' | '*' | '!' | '{' | '[' | '#' => return None,
        _ => value.to_owned(),
    };
    Some((name.to_owned(), value))
}

#[cfg(test)]
mod unit_tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn external_labels_are_read_as_prometheus_writes_them() {
        let yaml = "global:\n  scrape_interval: 15s\n  external_labels:\n    env: gstg\n    number: \"12\"\n    quoted: 'it''s: #1'\n    empty: \"\"\nalerting:\n  alertmanagers: []\n";
        let labels = external_labels(yaml).unwrap();
        let found: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(found, ["empty=", "env=gstg", "number=12", "quoted=it's: #1"]);
        assert!(
            external_labels("global:\n  scrape_interval: 15s\nrule_files:\n").unwrap().is_empty()
        );
        assert!(external_labels("").unwrap().is_empty());
    }

    #[test]
    fn a_layout_that_is_not_known_is_an_error() {
        for value in ["|-", ">-", "{a: 1}", "&x y", "'open", "\"open"] {
            let yaml = format!("global:\n  external_labels:\n    env: {value}\n");
            assert!(external_labels(&yaml).is_err(), "{value}");
        }
        assert!(external_labels("global:\n  external_labels:\n    env: a\n      b\n").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(global:\n|  external_labels:\n|    |[a-z]: |\"|'|\n|[ -~é]){0,30}") {
            drop(external_labels(&text));
        }
    }
}
