//! How long hosts took before, for forecasts.

use crate::context::Context;
use crate::failure::Failure;
use serin_engine::Event;
use serin_model::{Action, RunId, Timestamp};
use serin_runtime::records;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many runs are looked at for how long a host takes: what was longer ago tells less.
const RECENT: usize = 5;

/// Returns how long a host took from its drain to its return, the median of the last run that had any.
pub(crate) async fn host_time(context: &Context) -> Result<Option<(Duration, RunId)>, Failure> {
    for summary in context.journal.runs().await?.into_iter().take(RECENT) {
        let (run, events) = records::load(context.journal.as_ref(), &summary.id).await?;
        let mut began: BTreeMap<String, Timestamp> = BTreeMap::new();
        let mut took = Vec::new();
        for (record, event) in &events {
            let (Event::AttemptStarted { step, .. } | Event::AttemptEnded { step, .. }) = event
            else {
                continue;
            };
            let Some((_, lane, found)) = run.find(step) else { continue };
            let subject = lane.subject.to_string();
            let starts = matches!(event, Event::AttemptStarted { .. });
            if found.action == Action::Drain && starts {
                began.entry(subject).or_insert(record.at);
            } else if found.action == Action::Ready && !starts {
                took.extend(began.remove(&subject).map(|at| record.at.since(at)));
            }
        }
        took.sort();
        if let Some(median) = took.get(took.len() / 2) {
            return Ok(Some((*median, summary.id)));
        }
    }
    Ok(None)
}
