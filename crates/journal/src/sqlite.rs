//! The journal in one SQLite file: for one machine, with nothing to install or run.
//!
//! Invariants: an append that returned is synced to the disk; every stored row carries a checksum, and those of a
//! stream's records are chained; all writing is done in IMMEDIATE transactions; a lease's number never goes back. Any number of
//! processes on one machine may use the file at once. It is not for a network file system, whose locks and shared memory
//! SQLite cannot trust.
//!
//! Read [`SqliteJournal`] first. Beneath it: `store` is the transactions, `rows` the statements, `setup` opens and checks
//! the file, `source` gives it away.

mod store;
mod rows;
mod setup;
mod source;

pub(crate) use source::Source;

use self::store::Store;
use crate::failed::storage;
use crate::lease::{Attempt, LeaseTable, Sighting, take_patiently};
use crate::port::{
    Append, AppendError, CommandId, EnvironmentAppend, Holder, Inbox, Journal, JournalError, Lease,
    LeaseRefused, Record, RunSummary, Scope, TrailAppend,
};
use async_trait::async_trait;
use serin_model::{EnvironmentName, RunId, Timestamp};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// A journal in a file. One value is one process's handle; share it in an `Arc`.
///
/// Leases that it took are free for others at once when it is dropped or its process dies, but their numbers stay.
#[derive(Debug)]
pub struct SqliteJournal {
    /// None only while it is being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce(&mut Store) + Send>;

impl SqliteJournal {
    /// Opens a journal, or makes a new one that only this user can read if there is no such file.
    ///
    /// The structure of the whole file is checked, which takes about two milliseconds for each megabyte.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let mut store = Store::open(path)?;
        let (jobs, queue) = mpsc::channel::<Job>();
        // SQLite blocks; a thread of its own keeps that, and the prepared statements, off the event loop.
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || queue.into_iter().for_each(|job| job(&mut store)))
            .map_err(|error| storage("start the journal's thread", error))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    async fn call<T: Send + 'static, E: From<JournalError> + Send + 'static>(
        &self,
        perform: impl FnOnce(&mut Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            // A caller that has gone away does not want its reply.
            drop(reply.send(perform(store)));
        });
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        match answer.await {
            Ok(result) if sent => result,
            Ok(_) | Err(_) => Err(storage("use the journal", "its thread has ended").into()),
        }
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // The thread ends after the job in hand; if it panicked, its caller has been told.
            drop(thread.join());
        }
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn create_run(&self, first: &str, now: Timestamp) -> Result<RunId, JournalError> {
        let first = first.to_owned();
        self.call(move |store| store.create_run(&first, now)).await
    }

    async fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        self.call(Store::runs).await
    }

    async fn read(&self, run: &RunId, after: u64) -> Result<Vec<Record>, JournalError> {
        let run = run.clone();
        self.call(move |store| store.read(&run, after)).await
    }

    async fn take_lease(
        &self,
        scope: &Scope,
        holder: &Holder,
        ttl: Duration,
    ) -> Result<Lease, LeaseRefused> {
        take_patiently(self, scope, holder, ttl).await
    }

    async fn beat(&self, lease: &Lease) -> Result<(), AppendError> {
        let lease = lease.clone();
        self.call(move |store| store.beat(&lease)).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), JournalError> {
        let lease = lease.clone();
        self.call(move |store| store.release_lease(&lease)).await
    }

    async fn holder(&self, scope: &Scope) -> Result<Option<(Holder, bool)>, JournalError> {
        let scope = scope.clone();
        self.call(move |store| store.holder(&scope)).await
    }

    async fn append(&self, append: &Append<'_>) -> Result<u64, AppendError> {
        let Append { run, expected, records, at, leases, claims } = append.clone();
        let (run, records) = (run.clone(), records.to_vec());
        let (leases, claims) = (leases.to_vec(), claims.to_vec());
        self.call(move |store| {
            let (run, records, leases, claims) = (&run, &records, &leases, &claims);
            store.append(&Append { run, expected, records, at, leases, claims })
        })
        .await
    }

    async fn claims(&self) -> Result<BTreeMap<EnvironmentName, RunId>, JournalError> {
        self.call(Store::claims).await
    }

    async fn read_environment(
        &self,
        environment: &EnvironmentName,
        after: u64,
    ) -> Result<Vec<Record>, JournalError> {
        let environment = environment.clone();
        self.call(move |store| store.read_environment(&environment, after)).await
    }

    async fn append_environment(&self, append: &EnvironmentAppend<'_>) -> Result<u64, AppendError> {
        let EnvironmentAppend { environment, expected, records, at, epoch } = append.clone();
        let (environment, records) = (environment.clone(), records.to_vec());
        self.call(move |store| {
            let (environment, records) = (&environment, &records);
            store.append_environment(&EnvironmentAppend {
                environment,
                expected,
                records,
                at,
                epoch,
            })
        })
        .await
    }

    async fn read_trail(&self, after: u64) -> Result<Vec<Record>, JournalError> {
        self.call(move |store| store.read_trail(after)).await
    }

    async fn end_of_trail(&self) -> Result<Option<Record>, JournalError> {
        self.call(Store::end_of_trail).await
    }

    async fn append_trail(&self, append: &TrailAppend<'_>) -> Result<u64, AppendError> {
        let TrailAppend { expected, body, at } = *append;
        let body = body.to_owned();
        self.call(move |store| store.append_trail(&TrailAppend { expected, body: &body, at })).await
    }

    async fn send(
        &self,
        environment: &EnvironmentName,
        body: &str,
        now: Timestamp,
    ) -> Result<CommandId, JournalError> {
        let (environment, body) = (environment.clone(), body.to_owned());
        self.call(move |store| store.send(&environment, &body, now)).await
    }

    async fn inbox(&self, environment: &EnvironmentName) -> Result<Vec<Inbox>, JournalError> {
        let environment = environment.clone();
        self.call(move |store| store.inbox(&environment)).await
    }

    async fn answer(
        &self,
        lease: &Lease,
        command: CommandId,
        answer: &str,
    ) -> Result<(), AppendError> {
        let (lease, answer) = (lease.clone(), answer.to_owned());
        self.call(move |store| store.answer(&lease, command, &answer)).await
    }

    async fn answered(&self, command: CommandId) -> Result<Option<String>, JournalError> {
        self.call(move |store| store.answered(command)).await
    }
}

#[async_trait]
impl LeaseTable for SqliteJournal {
    async fn try_take(
        &self,
        scope: &Scope,
        holder: &Holder,
        silent: Option<&Sighting>,
    ) -> Result<Attempt, JournalError> {
        let (scope, holder, silent) = (scope.clone(), holder.clone(), silent.cloned());
        self.call(move |store| store.try_take(&scope, &holder, silent.as_ref())).await
    }
}

/// Returns what an error of SQLite means for the journal.
fn failed(what: &str) -> impl FnOnce(rusqlite::Error) -> JournalError {
    use rusqlite::{Error, ErrorCode, ffi};
    move |error| {
        let code = error.sqlite_error_code();
        let extended = error.sqlite_error().map(|error| error.extended_code);
        // On a full disk the shared memory beside the file cannot grow either.
        if code == Some(ErrorCode::DiskFull) || extended == Some(ffi::SQLITE_IOERR_SHMSIZE) {
            return JournalError::Full;
        }
        let corrupt = [Some(ErrorCode::DatabaseCorrupt), Some(ErrorCode::NotADatabase)];
        // Our statements are constants: SQLite can object to one only if the file is not what we made.
        let objected = extended == Some(ffi::SQLITE_ERROR);
        let unreadable = matches!(
            error,
            Error::FromSqlConversionFailure(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::InvalidColumnType(..)
                | Error::Utf8Error(..)
        );
        if corrupt.contains(&code) || objected || unreadable {
            return JournalError::Damaged(format!("could not {what}: {error}"));
        }
        storage(what, error)
    }
}
