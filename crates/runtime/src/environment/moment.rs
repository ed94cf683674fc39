//! Acting in an environment for a moment, where no run does: its lease is taken, used, and given back.

use super::stream::{RecordError, Stream};
use crate::controller::Settings;
use crate::ports::{Fence, PortError, Ports};
use crate::records::ReadError;
use serin_engine::EnvironmentEvent;
use serin_engine::environment::{Asking, Decided, decide_environment};
use serin_journal::{AppendError, CommandId, Journal, JournalError, Lease, LeaseRefused, Scope};
use serin_model::{Environment, EnvironmentName, Timestamp};
use std::sync::Arc;

/// A moment in which this process holds an environment's lease. It is short: nobody beats in it.
pub struct Moment {
    journal: Arc<dyn Journal>,
    lease: Lease,
    stream: Stream,
}

/// Why there is no moment.
#[derive(Debug, thiserror::Error)]
pub enum MomentError {
    /// Somebody acts there, or the lease could not be read.
    #[error(transparent)]
    Lease(#[from] LeaseRefused),
    /// The stream could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Moment {
    /// Takes an environment's lease, and reads its stream.
    ///
    /// # Errors
    /// When somebody else acts there, or the journal cannot be used.
    pub async fn take(
        journal: &Arc<dyn Journal>,
        environment: &EnvironmentName,
        settings: &Settings,
    ) -> Result<Self, MomentError> {
        let scope = Scope::Environment(environment.clone());
        let lease = journal.take_lease(&scope, &settings.holder, settings.ttl).await?;
        match Stream::read(journal.as_ref(), environment).await {
            Ok(stream) => Ok(Self { journal: Arc::clone(journal), lease, stream }),
            Err(error) => {
                let _unread: Result<(), JournalError> = journal.release_lease(&lease).await;
                Err(error.into())
            }
        }
    }

    /// Returns the environment's stream as it is now.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Decides on what is asked and records it, refused or not.
    ///
    /// # Errors
    /// When it cannot be recorded: then it must not be done.
    pub async fn ask(&mut self, asking: Asking, now: Timestamp) -> Result<Decided, RecordError> {
        let decided = decide_environment(&self.stream.state, asking, now);
        self.record(&decided.events, now).await?;
        Ok(decided)
    }

    /// Raises the fence on the environment's load balancers, and returns it.
    ///
    /// # Errors
    /// With the first load balancer that did not take it: without the fence, one who was replaced could interfere.
    pub async fn raise(
        &self,
        ports: &Ports,
        environment: &Environment,
    ) -> Result<Fence, PortError> {
        let fence = Fence(self.lease.epoch);
        for lb in environment.load_balancers.values() {
            ports.load_balancers.raise_fence(lb, fence).await?;
        }
        Ok(fence)
    }

    /// Shows that this process lives.
    ///
    /// # Errors
    /// When the lease was taken by another.
    pub async fn beat(&self) -> Result<(), AppendError> {
        self.journal.beat(&self.lease).await
    }

    /// Answers a command of the environment's inbox.
    ///
    /// # Errors
    /// When it cannot be answered.
    pub async fn answer(&self, command: CommandId, answer: &str) -> Result<(), AppendError> {
        self.journal.answer(&self.lease, command, answer).await
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// When the journal cannot be used; the lease then ends with this process.
    pub async fn end(self) -> Result<(), JournalError> {
        self.journal.release_lease(&self.lease).await
    }

    async fn record(
        &mut self,
        events: &[EnvironmentEvent],
        now: Timestamp,
    ) -> Result<(), RecordError> {
        self.stream.record(self.journal.as_ref(), &self.lease, events, now).await
    }
}
