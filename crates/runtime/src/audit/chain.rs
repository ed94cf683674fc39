//! Whether the audit trail is what was written: each record names the one before it.
//!
//! That shows a record that was changed, taken out or put elsewhere. Whoever writes the whole trail anew, or cuts off its
//! end, leaves one that hangs together: only a head that was noted elsewhere shows that.

use super::{Entry, TrailError, entry};
use serin_journal::{Record, text_digest};
use serin_model::Sha256;
use std::fmt;
use std::str::FromStr;

/// The last record that somebody has seen: its number, and the SHA-256 of it, and so of all before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0: there was none.
    pub number: u64,
    /// Its SHA-256.
    pub digest: Sha256,
}

/// Says that a text is not a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a head: write its number, a colon and its SHA-256, as `serin audit verify` says them"
)]
pub struct InvalidHead(String);

/// What is wrong with the trail.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A record is not where it belongs, or one is missing.
    #[error("where record {wanted} of the audit trail should be, there is {found}")]
    Misplaced {
        /// The number that comes next.
        wanted: u64,
        /// What there is.
        found: u64,
    },
    /// A record was written after another one than that which is before it now.
    #[error(
        "record {0} of the audit trail does not follow the one before it: one of them is not what was written"
    )]
    Unlinked(u64),
    /// The trail ends before a head that was seen.
    #[error("the audit trail ends at record {last}: its end is cut off, record {seen} was there")]
    CutOff {
        /// Its last record.
        last: u64,
        /// The last that was seen.
        seen: u64,
    },
    /// What was seen as a head is another record now.
    #[error("record {0} of the audit trail is not the one that was seen")]
    Rewritten(u64),
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] TrailError),
}

/// Proves a trail from its first record to its last, against a head that was seen before if there is one, and returns its
/// head.
///
/// # Errors
/// With the first thing that is wrong.
pub fn verify(records: &[Record], seen: Option<&Head>) -> Result<Head, Broken> {
    let entries = linked(records)?;
    let nothing = text_digest("");
    if let Some(first) = entries.first() {
        if first.number != 1 {
            return Err(Broken::Misplaced { wanted: 1, found: first.number });
        }
        if first.before != nothing {
            return Err(Broken::Unlinked(1));
        }
    }
    let head = |record: &Record| Head { number: record.seq, digest: text_digest(&record.body) };
    let before = Head { number: 0, digest: nothing };
    let last = records.last().map_or(before.clone(), head);
    if let Some(seen) = seen {
        let record = records.iter().find(|record| record.seq == seen.number);
        let there = record.map(head).or((seen.number == 0).then_some(before));
        let cut_off = Broken::CutOff { last: last.number, seen: seen.number };
        if there.ok_or(cut_off)? != *seen {
            return Err(Broken::Rewritten(seen.number));
        }
    }
    Ok(last)
}

/// Reads records that follow one another. What comes before the first is not looked at.
pub(super) fn linked(records: &[Record]) -> Result<Vec<Entry>, Broken> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut before: Option<&Record> = None;
    for record in records {
        let entry = entry(record)?;
        if let Some(before) = before {
            if record.seq != before.seq + 1 {
                return Err(Broken::Misplaced { wanted: before.seq + 1, found: record.seq });
            }
            if entry.before != text_digest(&before.body) {
                return Err(Broken::Unlinked(record.seq));
            }
        }
        if entry.number != record.seq || entry.at != record.at {
            return Err(Broken::Misplaced { wanted: record.seq, found: entry.number });
        }
        before = Some(record);
        entries.push(entry);
    }
    Ok(entries)
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.digest)
    }
}

impl FromStr for Head {
    type Err = InvalidHead;
    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let invalid = || InvalidHead(text.to_owned());
        let (number, digest) = text.split_once(':').ok_or_else(invalid)?;
        let number = number.parse().ok().ok_or_else(invalid)?;
        Ok(Self { number, digest: digest.parse().ok().ok_or_else(invalid)? })
    }
}
