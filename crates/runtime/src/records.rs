//! Events as the journal's records: JSON, with the format that they were written in.

use serde::{Deserialize, Serialize};
use serin_engine::{EnvironmentEvent, Event, IllegalEvent, Run};
use serin_journal::{Journal, JournalError, Record, RunSummary};
use serin_model::{EnvironmentName, RunId};

/// The format of records. A change of any type that events are made of that old records do not fit is a new format.
pub const FORMAT: u32 = 1;

/// The format of an environment's records.
pub const ENVIRONMENT_FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Envelope<E> {
    format: u32,
    #[serde(flatten)]
    event: E,
}

/// Why a run or an environment could not be read from the journal.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The journal could not be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record is of a format that this Serin does not know, or is no record.
    #[error("record {seq} of {run} cannot be read: {why}")]
    Record {
        /// The run.
        run: RunId,
        /// The record.
        seq: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A record of an environment is of a format that this Serin does not know, or is no record.
    #[error("record {seq} of {environment} cannot be read: {why}")]
    EnvironmentRecord {
        /// The environment.
        environment: EnvironmentName,
        /// The record.
        seq: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The records are not those of an environment.
    #[error("the records of {environment} do not fit together: {source}")]
    EnvironmentIllegal {
        /// The environment.
        environment: EnvironmentName,
        /// What does not fit.
        #[source]
        source: IllegalEvent,
    },
    /// The records are not those of a run.
    #[error("the records of {run} do not fit together: {source}")]
    Illegal {
        /// The run.
        run: RunId,
        /// What does not fit.
        #[source]
        source: IllegalEvent,
    },
}

/// Writes an event as a record.
///
/// # Errors
/// Never for the events that the engine makes; the error is the serialiser's.
pub fn write(event: &Event) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Envelope { format: FORMAT, event })
}

/// Reads the event of a record.
///
/// # Errors
/// When it is of another format, or no record.
pub fn read(run: &RunId, record: &Record) -> Result<Event, ReadError> {
    let refuse = |why: String| ReadError::Record { run: run.clone(), seq: record.seq, why };
    let envelope: Envelope<Event> =
        serde_json::from_str(&record.body).map_err(|error| refuse(error.to_string()))?;
    if envelope.format == FORMAT {
        Ok(envelope.event)
    } else {
        Err(refuse(format!("its format is {}, this serin knows {FORMAT}", envelope.format)))
    }
}

/// Reads a run with all its events, and the number of its last record.
///
/// # Errors
/// When the run is not in the journal, or cannot be read.
pub async fn load(
    journal: &dyn Journal,
    id: &RunId,
) -> Result<(Run, Vec<(Record, Event)>), ReadError> {
    let records = journal.read(id, 0).await?;
    let events = records
        .into_iter()
        .map(|record| read(id, &record).map(|event| (record, event)))
        .collect::<Result<Vec<_>, _>>()?;
    let run = Run::replay(events.iter().map(|(_, event)| event))
        .map_err(|source| ReadError::Illegal { run: id.clone(), source })?;
    Ok((run, events))
}

/// Whether a run is over, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is not.
    Open,
    /// It has done all there was to do.
    Finished,
    /// It was given up.
    Cancelled,
}

/// Reads how a run has ended, from its last records alone: there are journals with thousands of runs, each of thousands.
///
/// # Errors
/// When they cannot be read.
pub async fn end(journal: &dyn Journal, run: &RunSummary) -> Result<End, ReadError> {
    // A run that is over is still adopted, and leaves its environments.
    let mut looked_at = 8;
    loop {
        let after = run.last.saturating_sub(looked_at);
        for record in journal.read(&run.id, after).await?.iter().rev() {
            match read(&run.id, record)? {
                Event::Finished => return Ok(End::Finished),
                Event::Cancelled { .. } => return Ok(End::Cancelled),
                Event::Adopted { .. } | Event::EnvironmentLeft { .. } => {}
                Event::Started { .. }
                | Event::EnvironmentEntered { .. }
                | Event::FenceRaised { .. }
                | Event::AttemptStarted { .. }
                | Event::AttemptEnded { .. }
                | Event::DrainLost { .. }
                | Event::ShareLost { .. }
                | Event::AlertsChanged { .. }
                | Event::HeldChanged { .. }
                | Event::BakeProgressed { .. }
                | Event::WithdrawalStarted { .. }
                | Event::WithdrawalEnded { .. }
                | Event::HaltRequested { .. }
                | Event::Halted
                | Event::Resumed { .. } => return Ok(End::Open),
            }
        }
        if after == 0 {
            return Ok(End::Open);
        }
        looked_at *= 8;
    }
}

/// Writes an event of an environment as a record.
///
/// # Errors
/// Never for the events that the engine makes; the error is the serialiser's.
pub fn write_environment(event: &EnvironmentEvent) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Envelope { format: ENVIRONMENT_FORMAT, event })
}

/// Reads the event of an environment's record.
///
/// # Errors
/// When it is of another format, or no record.
pub fn read_environment(
    environment: &EnvironmentName,
    record: &Record,
) -> Result<EnvironmentEvent, ReadError> {
    let refuse = |why: String| ReadError::EnvironmentRecord {
        environment: environment.clone(),
        seq: record.seq,
        why,
    };
    let envelope: Envelope<EnvironmentEvent> =
        serde_json::from_str(&record.body).map_err(|error| refuse(error.to_string()))?;
    if envelope.format != ENVIRONMENT_FORMAT {
        let format = envelope.format;
        return Err(refuse(format!(
            "it has format {format}, this Serin knows {ENVIRONMENT_FORMAT}"
        )));
    }
    Ok(envelope.event)
}
