//! What one Alertmanager says, through its API v2, and why it may not be believed.
//!
//! Alerts are not shared within a cluster of Alertmanagers and not kept over a restart, so every member is asked, and
//! each must have run long enough and hear the watchdog itself.

use super::json::{self, Read};
use super::matcher::{Labels, Matcher, fits_all};
use super::{Fired, Heard};
use crate::http::redacted;
use jiff::{SignedDuration, Timestamp};
use reqwest::Client;
use serde::Deserialize;
use std::time::Duration;

/// How old the watchdog's last update may be, however long it claims to last: rules evaluated every five minutes are
/// heard at least this often.
const MAX_WATCHDOG_AGE: SignedDuration = SignedDuration::from_mins(15);

/// What is asked of an Alertmanager.
pub(super) struct Ask {
    pub(super) client: Client,
    pub(super) address: String,
    pub(super) filters: Vec<String>,
    pub(super) watchdog: Vec<Matcher>,
    pub(super) min_age: Duration,
}

#[derive(Debug, Deserialize)]
struct ApiStatus {
    cluster: ApiCluster,
    /// When the process was started, in spite of its name.
    uptime: Timestamp,
}

#[derive(Debug, Deserialize)]
struct ApiCluster {
    status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiAlert {
    labels: Labels,
    status: ApiAlertStatus,
    ends_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiAlertStatus {
    silenced_by: Vec<String>,
}

impl Ask {
    /// Asks for its state, the environment's alerts and the watchdog, all at once.
    pub(super) async fn read(&self) -> Heard {
        let watchdog: Vec<_> = self.watchdog.iter().map(Matcher::to_string).collect();
        let (status, alerts, watchdog) = tokio::join!(
            json::read::<ApiStatus>(&self.client, &self.address, "/api/v2/status", &[]),
            self.alerts(&self.filters),
            self.alerts(&watchdog),
        );
        let mut doubts = Vec::new();
        match status {
            Ok(status) => doubts.extend(doubt_status(&status, self.min_age)),
            Err(why) => doubts.push(why),
        }
        match watchdog {
            Ok(read) => doubts.extend(doubt_watchdog(&read, &self.watchdog)),
            Err(why) => doubts.push(why),
        }
        let alerts = match alerts {
            Ok(read) => read.value,
            Err(why) => {
                doubts.push(why);
                Vec::new()
            }
        };
        // One server that is down fails all three in the same words.
        let name = redacted(&self.address);
        let mut doubts: Vec<_> =
            doubts.iter().map(|why| format!("Alertmanager {name}{why}")).collect();
        doubts.dedup();
        Heard { alerts: alerts.into_iter().map(fired).collect(), doubts }
    }

    /// Every state is asked for, in words that Alertmanager knows: it takes any other word for `false`, and hides.
    async fn alerts(&self, filters: &[String]) -> Result<Read<Vec<ApiAlert>>, String> {
        let mut query = vec![
            ("active", "true"),
            ("silenced", "true"),
            ("inhibited", "true"),
            ("unprocessed", "true"),
        ];
        query.extend(filters.iter().map(|filter| ("filter", filter.as_str())));
        json::read(&self.client, &self.address, "/api/v2/alerts", &query).await
    }
}

/// Reads an answer without asking, whichever of the three it is; the watchdog is looked for in it as well.
pub(super) fn heard(body: &[u8], watchdog: &[Matcher], date: Timestamp) -> Heard {
    let status = json::parse(body).map(|value| doubt_status(&Read { value, date }, Duration::ZERO));
    match (json::parse::<Vec<ApiAlert>>(body), status) {
        (Ok(value), _) => {
            let read = Read { value, date };
            let doubts = doubt_watchdog(&read, watchdog).into_iter().collect();
            Heard { alerts: read.value.into_iter().map(fired).collect(), doubts }
        }
        (Err(_), Ok(doubt)) => Heard { alerts: Vec::new(), doubts: doubt.into_iter().collect() },
        (Err(why), Err(_)) => Heard { alerts: Vec::new(), doubts: vec![why] },
    }
}

fn doubt_status(status: &Read<ApiStatus>, min_age: Duration) -> Option<String> {
    // A date of HTTP is in whole seconds, cut off: this errs towards too young.
    let age = status.date.duration_since(status.value.uptime).as_secs();
    let min_age = i64::try_from(min_age.as_secs()).unwrap_or(i64::MAX);
    let cluster = &status.value.cluster.status;
    if age < min_age {
        Some(format!(
            ": it was started {age} s ago and may not have been told of every alert yet; that takes {min_age} s"
        ))
    } else if cluster == "ready" || cluster == "disabled" {
        None
    } else {
        Some(format!(": its cluster is {cluster}, not ready"))
    }
}

fn doubt_watchdog(read: &Read<Vec<ApiAlert>>, watchdog: &[Matcher]) -> Option<String> {
    let fitting = read.value.iter().filter(|alert| fits_all(watchdog, &alert.labels));
    let Some(last) = fitting.max_by_key(|alert| alert.updated_at) else {
        let watchdog: Vec<_> = watchdog.iter().map(Matcher::to_string).collect();
        return Some(format!(
            ": the watchdog alert {} does not fire there; it must always fire, so no alert may be getting through",
            watchdog.join(" ")
        ));
    };
    // Prometheus sends an alert again well within the first half of the time it lasts; three quarters is late.
    let lasts = last.ends_at.duration_since(last.updated_at);
    let limit = (lasts * 3 / 4).min(MAX_WATCHDOG_AGE);
    let age = read.date.duration_since(last.updated_at);
    (age > limit).then(|| {
        format!(
            ": it last heard of the watchdog alert {} s ago; Prometheus may be down, or cut off from it",
            age.as_secs()
        )
    })
}

fn fired(alert: ApiAlert) -> Fired {
    Fired {
        own_labels: alert.labels.clone(),
        labels: alert.labels,
        silenced: !alert.status.silenced_by.is_empty(),
    }
}
