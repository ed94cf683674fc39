//! What the journal knows of all runs, for those that have to wait for each other.

use crate::records::{self, ReadError};
use serin_engine::queue::Known;
use serin_journal::Journal;
use serin_model::RunId;
use std::collections::BTreeMap;

/// All runs as far as they were read. What is over is read once.
#[derive(Debug, Default)]
pub struct Runs {
    over: BTreeMap<RunId, Known>,
}

impl Runs {
    /// Reads what is new, and returns every run, oldest first.
    ///
    /// # Errors
    /// When a run cannot be read.
    pub async fn read(&mut self, journal: &dyn Journal) -> Result<Vec<Known>, ReadError> {
        let mut all = Vec::new();
        for summary in journal.runs().await?.into_iter().rev() {
            if let Some(known) = self.over.get(&summary.id) {
                all.push(known.clone());
                continue;
            }
            let (run, events) = records::load(journal, &summary.id).await?;
            let events = events.iter().map(|(record, event)| (record.at, event));
            let known = Known::of(summary.id.clone(), &run, events);
            if known.is_over() {
                self.over.insert(summary.id, known.clone());
            }
            all.push(known);
        }
        Ok(all)
    }
}
