//! Records of the audit trail, joined into commands for people to read.

use super::{Asker, Entry, Fact, Process};
use serin_model::Timestamp;
use std::collections::BTreeMap;

/// A command, from when it was asked to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The number of the record in which it was asked.
    pub number: u64,
    /// When it was asked.
    pub at: Timestamp,
    /// By whom.
    pub who: Asker,
    /// Its words, without the name of the program.
    pub words: Vec<String>,
    /// The reason among them.
    pub reason: Option<String>,
    /// Who recorded it.
    pub process: Process,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing says so: it goes on, or its process died, or its end could not be recorded.
    Open,
    /// Who asked may not.
    Refused(String),
    /// By itself, with this exit code.
    Ended(u8, Timestamp),
}

/// Joins records into commands, in the order in which they were asked.
pub fn story(entries: &[Entry]) -> Vec<Told> {
    let mut told: BTreeMap<u64, Told> = BTreeMap::new();
    for Entry { number, at, process, what, .. } in entries {
        match what {
            Fact::Asked { who, words, reason, hand: _ } => {
                let (who, words, reason) = (who.clone(), words.clone(), reason.clone());
                let (number, at, process) = (*number, *at, process.clone());
                let outcome = Outcome::Open;
                told.insert(number, Told { number, at, who, words, reason, process, outcome });
            }
            // That somebody took it in hand is no outcome.
            Fact::Taken { .. } => {}
            Fact::Refused { asked, why } => {
                if let Some(command) = told.get_mut(asked) {
                    command.outcome = Outcome::Refused(why.clone());
                }
            }
            Fact::Ended { asked, code } => {
                if let Some(command) = told.get_mut(asked) {
                    command.outcome = Outcome::Ended(*code, *at);
                }
            }
        }
    }
    told.into_values().collect()
}
