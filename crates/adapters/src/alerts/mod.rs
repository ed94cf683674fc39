//! Alerts of an environment, from every Alertmanager and Prometheus it has, with proof that the reading is fresh.
//!
//! An empty list is what a healthy environment, a restarted Alertmanager, a dead Prometheus and a wrong filter all
//! look like. So everything here that could make a list shorter than the truth is a *doubt*, and whoever asked must
//! not take a reading with doubts for a pass. Nothing is retried or remembered: each reading stands for itself.
//! Read [`Alerts`] first.

mod alertmanager;
#[doc(hidden)]
pub mod fuzzing;
mod json;
mod matcher;
mod prometheus;
mod recorded;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_real;

pub use matcher::{InvalidMatcher, Labels, Matcher};

use crate::http::{self, HttpError, Peer};
use crate::shown::shown;
use async_trait::async_trait;
use matcher::fits_all;
use reqwest::Client;
use serin_model::{AlertSource, Attribution};
use serin_runtime::ports::{Alert, AlertPort, AlertReading};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long each request may take. All are made at once, so a whole reading takes no longer.
const DEADLINE: Duration = Duration::from_secs(5);

/// How many characters of an alert's labels are shown.
const MAX_LABELS: usize = 400;

/// Reads alerts.
#[derive(Debug, Clone)]
pub struct Alerts {
    client: Client,
}

impl Alerts {
    /// Makes the port.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new() -> Result<Self, HttpError> {
        Ok(Self { client: http::client(Peer::Service, DEADLINE)? })
    }
}

#[async_trait]
impl AlertPort for Alerts {
    async fn read(&self, source: &AlertSource) -> AlertReading {
        match Wanted::new(source) {
            Ok(wanted) => self.read_all(source, &wanted).await,
            Err(why) => AlertReading { firing: Vec::new(), doubts: vec![why] },
        }
    }

    async fn read_back(
        &self,
        source: &AlertSource,
        from: serin_model::Timestamp,
        to: serin_model::Timestamp,
    ) -> AlertReading {
        let doubt = |why| AlertReading { firing: Vec::new(), doubts: vec![why] };
        let wanted = match Wanted::new(source) {
            Ok(wanted) => wanted,
            Err(why) => return doubt(why),
        };
        if source.prometheus.is_empty() {
            return doubt("no Prometheus is configured: nobody has recorded what fired".to_owned());
        }
        let time = recorded::Time::new(from, to);
        let watchdog: Vec<Matcher> =
            wanted.environment.iter().chain(&wanted.watchdog).cloned().collect();
        let mut asked = JoinSet::new();
        for (index, address) in source.prometheus.iter().enumerate() {
            let (client, address) = (self.client.clone(), address.clone());
            let watchdog = watchdog.clone();
            asked.spawn(async move {
                (index, recorded::read(&client, &address, time, &watchdog).await)
            });
        }
        let heard: BTreeMap<usize, Heard> = asked.join_all().await.into_iter().collect();
        merged(heard.into_values(), &wanted)
    }
}

/// Checks everything about a source that can be checked without asking anyone.
///
/// # Errors
/// Says what is wrong, for a person.
pub fn check_source(source: &AlertSource) -> Result<(), String> {
    Wanted::new(source).map(drop)
}

/// The matchers of a source, parsed.
#[derive(Debug)]
struct Wanted {
    environment: Vec<Matcher>,
    critical: Vec<Matcher>,
    watchdog: Vec<Matcher>,
    about: Option<(String, Vec<Matcher>)>,
}

impl Wanted {
    fn new(source: &AlertSource) -> Result<Self, String> {
        let parse = |texts: &[String]| -> Result<Vec<Matcher>, String> {
            texts.iter().map(|text| Matcher::parse(text).map_err(|e| e.to_string())).collect()
        };
        if source.alertmanagers.is_empty() {
            return Err("no Alertmanager is configured: there is nobody to ask".to_owned());
        }
        if source.watchdog.is_empty() {
            return Err(
                "no watchdog is configured: nothing proves that alerts are fresh".to_owned()
            );
        }
        let about = match &source.attribution {
            Some(Attribution { label, matchers }) => Some((label.clone(), parse(matchers)?)),
            None => None,
        };
        Ok(Self {
            environment: parse(&source.matchers)?,
            critical: parse(&source.critical)?,
            watchdog: parse(&source.watchdog)?,
            about,
        })
    }
}

/// What one server says.
#[derive(Debug, Default)]
struct Heard {
    alerts: Vec<Fired>,
    doubts: Vec<String>,
}

/// An alert that fires, as one server tells it.
#[derive(Debug, Clone)]
struct Fired {
    /// All labels, those that a server adds to every alert included.
    labels: Labels,
    /// The labels without those: by them, two servers' views of one alert are told to be one.
    own_labels: Labels,
    silenced: bool,
}

impl Alerts {
    async fn read_all(&self, source: &AlertSource, wanted: &Wanted) -> AlertReading {
        let mut asked = JoinSet::new();
        for (index, address) in source.alertmanagers.iter().enumerate() {
            let ask = alertmanager::Ask {
                client: self.client.clone(),
                address: address.clone(),
                filters: wanted.environment.iter().map(Matcher::to_string).collect(),
                watchdog: wanted.watchdog.clone(),
                min_age: source.min_age,
            };
            asked.spawn(async move { (index, ask.read().await) });
        }
        for (index, address) in source.prometheus.iter().enumerate() {
            let (client, address) = (self.client.clone(), address.clone());
            let index = source.alertmanagers.len() + index;
            asked.spawn(async move { (index, prometheus::read(&client, &address).await) });
        }
        // In the order of the configuration, so that two equal readings are equal.
        let heard: BTreeMap<usize, Heard> = asked.join_all().await.into_iter().collect();
        merged(heard.into_values(), wanted)
    }
}

/// Makes one reading of what all servers say.
fn merged(heard: impl IntoIterator<Item = Heard>, wanted: &Wanted) -> AlertReading {
    let mut reading = AlertReading::default();
    let mut firing: BTreeMap<Labels, bool> = BTreeMap::new();
    for one in heard {
        reading.doubts.extend(one.doubts.iter().map(|doubt| shown(doubt)));
        for alert in one.alerts {
            add(&mut firing, alert, wanted);
        }
    }
    reading.firing = firing.iter().map(|entry| wanted.alert(entry)).collect();
    reading.firing.sort();
    reading
}

/// Adds an alert of the environment unless it is there. Servers are asked for nothing else, but may not have listened.
fn add(firing: &mut BTreeMap<Labels, bool>, alert: Fired, wanted: &Wanted) {
    let counts =
        fits_all(&wanted.environment, &alert.labels) && !fits_all(&wanted.watchdog, &alert.labels);
    if !counts {
        return;
    }
    if let Some(silenced) = firing.get_mut(&alert.labels) {
        *silenced |= alert.silenced;
        return;
    }
    // Of the labels that Prometheus adds, some may be taken off on the way to Alertmanager: an alert that is there with
    // its own labels and any of the added ones is the same one.
    let within = |few: &Labels, many: &Labels| few.iter().all(|(k, v)| many.get(k) == Some(v));
    let known =
        firing.keys().any(|known| within(&alert.own_labels, known) && within(known, &alert.labels));
    if !known {
        firing.insert(alert.labels, alert.silenced);
    }
}

impl Wanted {
    fn alert(&self, (labels, silenced): (&Labels, &bool)) -> Alert {
        let told: Vec<_> = labels
            .iter()
            .filter(|(name, _)| *name != "alertname")
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Alert {
            name: labels.get("alertname").map(|name| shown(name)).unwrap_or_default(),
            labels: told.join(", ").chars().filter(|c| !c.is_control()).take(MAX_LABELS).collect(),
            critical: fits_all(&self.critical, labels),
            silenced: *silenced,
            about: self.about(labels),
        }
    }

    fn about(&self, labels: &Labels) -> Option<String> {
        let (label, matchers) = self.about.as_ref()?;
        let value = labels.get(label).filter(|_| fits_all(matchers, labels))?;
        Some(shown(without_port(value)))
    }
}

/// Takes the port off an address; one that is an IPv6 address without brackets has none.
fn without_port(address: &str) -> &str {
    if let Some((host, _)) = address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    match address.split_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) | None => address,
    }
}
