//! An environment's stream as one process knows it.

use crate::records::{self, ReadError};
use serin_engine::{EnvironmentEvent, EnvironmentState, IllegalEvent};
use serin_journal::{AppendError, EnvironmentAppend, Journal, Lease};
use serin_model::{EnvironmentName, Timestamp};

/// A stream: what it has made of its environment so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The environment's state.
    pub state: EnvironmentState,
    last: u64,
}

/// Why nothing was recorded of an environment.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The journal did not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// What was decided does not follow from what is recorded.
    #[error(transparent)]
    Illegal(#[from] IllegalEvent),
}

impl Stream {
    /// Reads a stream from its beginning.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read(
        journal: &dyn Journal,
        environment: &EnvironmentName,
    ) -> Result<Self, ReadError> {
        let mut stream = Self { state: EnvironmentState::new(environment.clone()), last: 0 };
        stream.catch_up(journal).await?;
        Ok(stream)
    }

    /// Reads what others have recorded since.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn catch_up(&mut self, journal: &dyn Journal) -> Result<(), ReadError> {
        let name = self.state.name.clone();
        for record in journal.read_environment(&name, self.last).await? {
            let event = records::read_environment(&name, &record)?;
            let illegal =
                |source| ReadError::EnvironmentIllegal { environment: name.clone(), source };
            self.state.apply(&event).map_err(illegal)?;
            self.last = record.seq;
        }
        Ok(())
    }

    /// Records events under the environment's lease, then takes them in. Only its holder writes, so what the holder
    /// has read since it took the lease is all there is.
    ///
    /// # Errors
    /// When the journal does not take them, or they cannot be.
    pub async fn record(
        &mut self,
        journal: &dyn Journal,
        lease: &Lease,
        events: &[EnvironmentEvent],
        at: Timestamp,
    ) -> Result<(), RecordError> {
        let mut after = self.state.clone();
        for event in events {
            after.apply(event)?;
        }
        let records = events.iter().map(records::write_environment).collect::<Result<Vec<_>, _>>();
        let records = records.map_err(|error| IllegalEvent(error.to_string()))?;
        let append = EnvironmentAppend {
            environment: &self.state.name,
            expected: self.last,
            records: &records,
            at,
            epoch: lease.epoch,
        };
        self.last = journal.append_environment(&append).await?;
        self.state = after;
        Ok(())
    }
}
