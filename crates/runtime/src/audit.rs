//! The audit trail: who asked for what, through which door, and how it ended.
//!
//! A command has a record when it is asked, before anything happens, and one when it is refused or has ended. Each record
//! names the SHA-256 of the one before it, over its exact text: `chain` proves that none was changed, taken out or put
//! elsewhere. A door that starts another process for a command records it first; that process takes the identity from
//! there, once, and from nowhere else: see [`take`]. `story` joins records into commands, for people.

mod chain;
mod story;

pub use chain::{Broken, Head, InvalidHead, verify};
pub use story::{Outcome, Told, story};

use serde::{Deserialize, Serialize};
use serin_journal::{AppendError, Journal, JournalError, Record, TrailAppend, text_digest};
use serin_model::{Identity, PersonName, Sha256, Timestamp};
use std::time::Duration;

/// The format of records. A change of these types that old records do not fit is a new format.
const FORMAT: u32 = 1;

/// How long what a door has recorded may be taken: its process is started at once, and reads a configuration first.
pub const TAKEN_WITHIN: Duration = Duration::from_mins(1);

/// How long the words of a command may be in all: a reason is a few sentences.
pub const LONGEST: usize = 16 << 10;

/// How often others may come first. Each time somebody else has written, so this is never reached by waiting alone.
const ATTEMPTS: u32 = 100;

/// Who asks: as the door knows them, and whom the configuration maps that to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// As the door knows them.
    pub identity: Identity,
    /// The person; none where nobody is listed, or nobody is known by that identity.
    pub person: Option<PersonName>,
}

/// A process that writes records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The machine.
    pub machine: String,
    /// Its number there.
    pub pid: u32,
}

/// Whose words those of a command are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hand {
    /// Those of the process that writes the record. Nobody else may take them.
    Own,
    /// A door's, which starts a process that takes them.
    Door,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// A command is asked for. Nothing has happened yet.
    Asked {
        /// By whom.
        who: Asker,
        /// Its words, without the name of the program.
        words: Vec<String>,
        /// The reason among them.
        reason: Option<String>,
        /// Whose words they are.
        hand: Hand,
    },
    /// The process that a door started has taken a command: nobody can any more.
    Taken {
        /// The record in which it was asked.
        asked: u64,
    },
    /// Who asked may not. Nothing was done.
    Refused {
        /// The record in which it was asked.
        asked: u64,
        /// Why not.
        why: String,
    },
    /// The command has ended.
    Ended {
        /// The record in which it was asked.
        asked: u64,
        /// Its exit code.
        code: u8,
    },
}

/// A record as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    format: u32,
    /// Its number, from 1 without gaps.
    pub number: u64,
    /// The SHA-256 of the whole record before it; of nothing, for the first.
    pub before: Sha256,
    /// When, by the clock of who wrote it.
    pub at: Timestamp,
    /// Who wrote it.
    pub process: Process,
    /// What happened.
    pub what: Fact,
}

/// Why nothing was recorded, or the trail could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// The journal could not be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal did not take a record.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A record is of a format that this Serin does not know, or is no record.
    #[error("record {seq} of the audit trail cannot be read: {why}")]
    Record {
        /// The record.
        seq: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The command is too long to be recorded.
    #[error("the words of the command have {0} bytes, more than {LONGEST}")]
    TooLong(usize),
}

/// Why a process may not take what a door has recorded.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// There is no such command.
    #[error("record {0} of the audit trail is no command that a door has recorded")]
    NoCommand(u64),
    /// The words are others than those that were recorded.
    #[error("record {0} of the audit trail is about another command")]
    OtherWords(u64),
    /// It was recorded too long ago, or, by its clock, not yet.
    #[error("record {0} of the audit trail is not of this minute")]
    Stale(u64),
    /// Another process has taken it.
    #[error("record {0} of the audit trail was taken already")]
    Spent(u64),
    /// The trail is not what was written.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The trail could not be used.
    #[error(transparent)]
    Trail(#[from] TrailError),
}

/// Appends a record, and returns its number.
///
/// # Errors
/// When the journal does not take it. What needs it must not be done then.
pub async fn append(
    journal: &dyn Journal,
    process: &Process,
    what: &Fact,
    at: Timestamp,
) -> Result<u64, TrailError> {
    if let Fact::Asked { words, .. } = what {
        let length = words.iter().map(String::len).sum();
        if length > LONGEST {
            return Err(TrailError::TooLong(length));
        }
    }
    let mut attempts = 0;
    loop {
        let end = journal.end_of_trail().await?;
        match append_after(journal, end.as_ref(), (process, what), at).await {
            Err(TrailError::Append(AppendError::Conflict { .. })) if attempts < ATTEMPTS => {
                attempts += 1;
            }
            done => return done,
        }
    }
}

async fn append_after(
    journal: &dyn Journal,
    end: Option<&Record>,
    (process, what): (&Process, &Fact),
    at: Timestamp,
) -> Result<u64, TrailError> {
    let expected = end.map_or(0, |record| record.seq);
    let entry = Entry {
        format: FORMAT,
        number: expected + 1,
        before: text_digest(end.map_or("", |record| record.body.as_str())),
        at,
        process: process.clone(),
        what: what.clone(),
    };
    let body = serde_json::to_string(&entry);
    let body =
        body.map_err(|error| TrailError::Record { seq: entry.number, why: error.to_string() })?;
    Ok(journal.append_trail(&TrailAppend { expected, body: &body, at }).await?)
}

/// Takes a command that a door has recorded for this process, and returns who asked for it.
///
/// The words must be the same, one by one, and the record must be of this minute and not taken before. Taking is a record
/// too: of several processes that try, one does.
///
/// # Errors
/// When it may not be taken, with why.
pub async fn take(
    journal: &dyn Journal,
    process: &Process,
    (asked, words): (u64, &[String]),
    now: Timestamp,
) -> Result<Asker, NotTaken> {
    let mut attempts = 0;
    loop {
        let records =
            journal.read_trail(asked.saturating_sub(1)).await.map_err(TrailError::from)?;
        let entries = chain::linked(&records)?;
        let who = takeable(&entries, (asked, words), now)?;
        let taken = Fact::Taken { asked };
        match append_after(journal, records.last(), (process, &taken), now).await {
            Ok(_) => return Ok(who),
            Err(TrailError::Append(AppendError::Conflict { .. })) if attempts < ATTEMPTS => {
                attempts += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Tells whether the first of some records may be taken, and returns who asked.
fn takeable(
    entries: &[Entry],
    (asked, words): (u64, &[String]),
    now: Timestamp,
) -> Result<Asker, NotTaken> {
    let first = entries.first().filter(|entry| entry.number == asked);
    let Some(Entry {
        what: Fact::Asked { who, words: recorded, hand: Hand::Door, .. }, at, ..
    }) = first
    else {
        return Err(NotTaken::NoCommand(asked));
    };
    if recorded != words {
        return Err(NotTaken::OtherWords(asked));
    }
    // Of two moments, the later one says by how much they differ.
    if now.since(*at).max(at.since(now)) > TAKEN_WITHIN {
        return Err(NotTaken::Stale(asked));
    }
    let settles = |entry: &Entry| match entry.what {
        Fact::Taken { asked: of }
        | Fact::Refused { asked: of, .. }
        | Fact::Ended { asked: of, .. } => of == asked,
        Fact::Asked { .. } => false,
    };
    if entries.iter().any(settles) { Err(NotTaken::Spent(asked)) } else { Ok(who.clone()) }
}

/// Reads all records, proven by the journal; [`verify`] proves them by one another.
///
/// # Errors
/// When they cannot be read.
pub async fn read(journal: &dyn Journal) -> Result<Vec<Entry>, TrailError> {
    journal.read_trail(0).await?.iter().map(entry).collect()
}

fn entry(record: &Record) -> Result<Entry, TrailError> {
    let refuse = |why: String| TrailError::Record { seq: record.seq, why };
    let entry: Entry =
        serde_json::from_str(&record.body).map_err(|error| refuse(error.to_string()))?;
    if entry.format == FORMAT {
        Ok(entry)
    } else {
        let format = entry.format;
        Err(refuse(format!("it has format {format}, this Serin knows {FORMAT}")))
    }
}
