//! `serin traffic`: constant load, and exactly what came back.

use crate::args::Traffic;
use crate::failure::{Code, Failure, chain};
use crate::show::{Format, line};
use serin_traffic::Profile;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) async fn run(traffic: Traffic, format: Format) -> Result<Code, Failure> {
    let mut profile = Profile::new(traffic.rate, traffic.bases, traffic.endpoint);
    profile.duration = traffic.length;
    profile.timeout = traffic.timeout;
    profile.seed = traffic.seed;
    let stop = async {
        let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let summary = serin_traffic::run(&profile, stop).await;
    let summary = summary.map_err(|error| Failure::new(Code::Refused, chain(&error)))?;
    if format == Format::Json {
        line(serde_json::to_string(&summary).unwrap_or_default());
    } else {
        line(summary.to_string());
    }
    let clean = summary.failed == 0 && summary.dropped == 0;
    Ok(if clean { Code::Done } else { Code::Error })
}
