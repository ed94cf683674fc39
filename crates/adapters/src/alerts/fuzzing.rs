//! For the fuzz target of alerts: answers as bytes, without a server.

use super::{Heard, Wanted, alertmanager, merged, prometheus};
use jiff::Timestamp;
use serin_model::{AlertSource, Attribution};
use serin_runtime::ports::AlertReading;
use std::time::Duration;

fn source() -> AlertSource {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    AlertSource {
        alertmanagers: texts(&["http://a.example"]),
        prometheus: Vec::new(),
        matchers: texts(&["env!=\"other\""]),
        critical: texts(&["severity=\"critical\""]),
        watchdog: texts(&["alertname=\"Watchdog\""]),
        poll: Duration::from_secs(1),
        unreadable_for: Duration::from_secs(1),
        min_age: Duration::from_mins(1),
        attribution: Some(Attribution { label: "instance".to_owned(), matchers: Vec::new() }),
    }
}

/// Reads an answer of Alertmanager's, whichever of them it is.
pub fn alertmanager(body: &[u8]) -> AlertReading {
    reading(|wanted| alertmanager::heard(body, &wanted.watchdog, Timestamp::UNIX_EPOCH))
}

/// Reads an answer of Prometheus's, whichever of them it is.
pub fn prometheus(body: &[u8]) -> AlertReading {
    reading(|_| prometheus::heard(body, Timestamp::UNIX_EPOCH))
}

fn reading(heard: impl FnOnce(&Wanted) -> Heard) -> AlertReading {
    match Wanted::new(&source()) {
        Ok(wanted) => merged([heard(&wanted)], &wanted),
        Err(why) => AlertReading { firing: Vec::new(), doubts: vec![why] },
    }
}
