//! The port that every journal implements: what processes may rely on when they meet in it.
//!
//! It has no opinion on what a record says, and no clock: the times in it are the callers' own and order nothing.
//!
//! **What an error says about a write.** A refusal ([`AppendError::LeaseLost`], [`AppendError::Conflict`],
//! [`AppendError::Claimed`], [`JournalError::NoSuchRun`], [`JournalError::Full`]) wrote nothing. After
//! [`JournalError::Storage`] the outcome is unknown: the disk may have failed between writing and confirming. The caller
//! reads the run again and goes on from what is there; it never assumes either way. The same holds for a call whose
//! future was dropped.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serin_model::{EnvironmentName, RunId, Timestamp};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A journal. Every method is one transaction.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Makes a new run with its first record, and returns its id: `r-1`, `r-2`, in order.
    async fn create_run(&self, first: &str, now: Timestamp) -> Result<RunId, JournalError>;

    /// Returns all runs, newest first.
    async fn runs(&self) -> Result<Vec<RunSummary>, JournalError>;

    /// Returns the records of a run after a sequence number, in order; 0 returns all.
    ///
    /// Every record that is returned is what was once appended, or the call fails with [`JournalError::Damaged`].
    async fn read(&self, run: &RunId, after: u64) -> Result<Vec<Record>, JournalError>;

    /// Takes a lease, with the next number of its scope. Numbers never go back, not even after a release.
    ///
    /// A holder on this machine that is dead (its file lock is free) is replaced at once. A holder that lives is
    /// replaced only when this process has seen its beat unchanged for a whole `ttl` on its own monotonic clock: the
    /// call then waits that long, and a gap in its own watching counts for little. A beat that moves refuses as soon as
    /// it is seen to move. A holder should therefore beat at least three times in every `ttl`.
    async fn take_lease(
        &self,
        scope: &Scope,
        holder: &Holder,
        ttl: Duration,
    ) -> Result<Lease, LeaseRefused>;

    /// Shows that the holder lives. Fails when the lease was taken by another or given back.
    async fn beat(&self, lease: &Lease) -> Result<(), AppendError>;

    /// Gives a lease back. A lease that was lost is none of our business any more: that is no error.
    async fn release_lease(&self, lease: &Lease) -> Result<(), JournalError>;

    /// Returns who holds a lease now, if anyone does, and whether that holder is known to be dead.
    async fn holder(&self, scope: &Scope) -> Result<Option<(Holder, bool)>, JournalError>;

    /// Appends records and changes claims, all or nothing, and returns the new last sequence number.
    ///
    /// When it returns, the records are on disk. A refusal wrote nothing; see the top of this file for other errors.
    /// Leases are checked first, then the run, its last number, and the claims in the order they are given.
    async fn append(&self, append: &Append<'_>) -> Result<u64, AppendError>;

    /// Returns which run each claimed environment belongs to.
    async fn claims(&self) -> Result<BTreeMap<EnvironmentName, RunId>, JournalError>;

    /// Returns the records of an environment after a sequence number, in order; 0 returns all.
    ///
    /// An environment of which nothing was ever recorded has none. What is returned is proven like a run's records.
    async fn read_environment(
        &self,
        environment: &EnvironmentName,
        after: u64,
    ) -> Result<Vec<Record>, JournalError>;

    /// Appends records to an environment's own stream, all or nothing, and returns the new last sequence number.
    ///
    /// As durable as [`Journal::append`]. Its lease is checked first, then its last number.
    async fn append_environment(&self, append: &EnvironmentAppend<'_>) -> Result<u64, AppendError>;

    /// Returns the records of the audit trail after a sequence number, in order; 0 returns all. Proven like a run's.
    async fn read_trail(&self, after: u64) -> Result<Vec<Record>, JournalError>;

    /// Returns the last record of the audit trail; it has none before the first command.
    async fn end_of_trail(&self) -> Result<Option<Record>, JournalError>;

    /// Appends a record to the audit trail, and returns its number.
    ///
    /// As durable as [`Journal::append`]. It needs no lease: whoever asks something may write, and of those who write at
    /// once one comes first. The others are refused with [`AppendError::Conflict`], read what came before, and try again.
    async fn append_trail(&self, append: &TrailAppend<'_>) -> Result<u64, AppendError>;

    /// Puts a command into an environment's inbox.
    async fn send(
        &self,
        environment: &EnvironmentName,
        body: &str,
        now: Timestamp,
    ) -> Result<CommandId, JournalError>;

    /// Returns the commands of an environment that have no answer yet, oldest first.
    async fn inbox(&self, environment: &EnvironmentName) -> Result<Vec<Inbox>, JournalError>;

    /// Returns when a command may have come into an inbox, and maybe for nothing.
    ///
    /// It saves waiting for the next look, and does not replace it: a journal that cannot tell never returns. A command
    /// that came between two calls ends the second one; of several that wait in one process, one is woken.
    async fn arrival(&self) {
        std::future::pending::<()>().await;
    }

    /// Answers a command, once. Fenced like an append.
    ///
    /// The same answer again is no error, so that an answer of unknown outcome can be repeated; another one is.
    async fn answer(
        &self,
        lease: &Lease,
        command: CommandId,
        answer: &str,
    ) -> Result<(), AppendError>;

    /// Returns the answer to a command, if there is one yet.
    async fn answered(&self, command: CommandId) -> Result<Option<String>, JournalError>;
}

/// What to append.
#[derive(Debug, Clone)]
pub struct Append<'a> {
    /// The run.
    pub run: &'a RunId,
    /// The sequence number of its last record, as the caller knows it.
    pub expected: u64,
    /// The records, as text.
    pub records: &'a [String],
    /// When they happened.
    pub at: Timestamp,
    /// All of these must be current.
    pub leases: &'a [Lease],
    /// Changes of claims that the records describe.
    pub claims: &'a [ClaimChange],
}

/// What to append to the stream of an environment.
///
/// It is the environment's own: whoever acts there writes it, a run's process or a person's.
#[derive(Debug, Clone)]
pub struct EnvironmentAppend<'a> {
    /// The environment.
    pub environment: &'a EnvironmentName,
    /// The sequence number of its last record, as the caller knows it; 0: it has none.
    pub expected: u64,
    /// The records, as text.
    pub records: &'a [String],
    /// When they happened.
    pub at: Timestamp,
    /// The epoch of the environment's lease, which must be current.
    pub epoch: u64,
}

impl EnvironmentAppend<'_> {
    /// Returns the lease that must be current.
    pub fn lease(&self) -> Lease {
        Lease { scope: Scope::Environment(self.environment.clone()), epoch: self.epoch }
    }
}

/// What to append to the audit trail.
#[derive(Debug, Clone, Copy)]
pub struct TrailAppend<'a> {
    /// The sequence number of its last record, as the caller knows it; 0: it has none.
    pub expected: u64,
    /// The record, as text.
    pub body: &'a str,
    /// When it happened.
    pub at: Timestamp,
}

/// A change of who an environment belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimChange {
    /// The appending run takes the environment, which must be free or its own.
    Take(EnvironmentName),
    /// The appending run gives the environment back; no error if it does not have it.
    Release(EnvironmentName),
}

/// A record of a run, of an environment or of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number in its stream, from 1 without gaps.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What happened, as text.
    pub body: String,
}

/// A run, as the list of runs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// When it was made.
    pub created: Timestamp,
    /// The number of its last record.
    pub last: u64,
}

/// What a lease is for: acting for a run, or for an environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A run: one process decides for it.
    Run(RunId),
    /// An environment: one process acts in it. The number is the fence on its hosts and load balancers.
    Environment(EnvironmentName),
}

/// Who holds a lease: a process, as people would look for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The user.
    pub user: String,
    /// The machine.
    pub machine: String,
    /// The process.
    pub pid: u32,
}

/// A lease that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is for.
    pub scope: Scope,
    /// Its number: one more than that of the lease before it.
    pub epoch: u64,
}

/// A command's number in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CommandId(pub u64);

/// A command that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbox {
    /// Its number.
    pub id: CommandId,
    /// When it was sent.
    pub at: Timestamp,
    /// What is asked, as text.
    pub body: String,
}

/// Why the journal could not be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is no such run.
    #[error("there is no run {0}")]
    NoSuchRun(RunId),
    /// The disk is full: nothing was written.
    #[error("the journal's disk is full; nothing was written")]
    Full,
    /// It was written by a newer Serin.
    #[error("the journal has format {found}, this serin knows formats up to {known}")]
    Newer {
        /// The format of the journal.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// It was moved: whoever went on here would act beside those who use the other one.
    #[error("the journal was moved to {0}")]
    Moved(String),
    /// What is stored is damaged.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    /// Anything else that the storage says. Whether a write took place is unknown.
    #[error("the journal could not be used: {what}")]
    Storage {
        /// What was being done.
        what: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another process has taken the lease, or it was given back: this one must stop acting.
    #[error("the lease for {scope} was taken over (number {current} is current)")]
    LeaseLost {
        /// Which lease.
        scope: Scope,
        /// The number that is current.
        current: u64,
    },
    /// The stream has other records than the caller knows.
    #[error("there are {found} records, {expected} were expected")]
    Conflict {
        /// What the caller knows.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// The environment belongs to another run.
    #[error("{environment} belongs to run {run}")]
    Claimed {
        /// The environment.
        environment: EnvironmentName,
        /// The run that it belongs to.
        run: RunId,
    },
    /// The journal could not be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Why a lease was not given.
#[derive(Debug, thiserror::Error)]
pub enum LeaseRefused {
    /// Someone holds it and lives.
    #[error("{holder} acts for {scope}")]
    Held {
        /// What it is for.
        scope: Scope,
        /// Who holds it.
        holder: Holder,
    },
    /// The journal could not be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run) => write!(f, "run {run}"),
            Self::Environment(environment) => write!(f, "environment {environment}"),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} (pid {})", self.user, self.machine, self.pid)
    }
}
