//! The journal in a PostgreSQL database: for processes on several machines.
//!
//! Invariants: an append that returned is on the server's disk; whether leases are current is checked in the transaction
//! that writes, under locks that hold until it has committed; every row carries the checksum that it has in any journal; a
//! lease's number never goes back. A call whose connection is lost is tried again for as long as a lease may be kept
//! without a beat, and is never written twice: what became of it is looked up first.
//!
//! Read [`PostgresJournal`] first. Beneath it: `transactions` is what is done in one transaction, `rows` the statements,
//! `link` a connection and `trouble` what its errors mean, `setup` makes the tables, `moving` takes a file's
//! journal in, `settings` and `tls` are how the
//! server is reached.

mod transactions;
mod rows;
mod link;
mod trouble;
mod setup;
mod moving;
mod settings;
mod tls;

pub use link::Server;
pub use moving::{MoveError, Moved};
pub use settings::{Password, PostgresSettings, Tls};

use self::link::Link;
use self::trouble::{Failed, Kind, Trouble};
use crate::failed::storage;
use crate::lease::{Attempt, LeaseTable, Sighting, take_patiently};
use crate::locks::LockFiles;
use crate::port::{
    Append, AppendError, CommandId, EnvironmentAppend, Holder, Inbox, Journal, JournalError, Lease,
    LeaseRefused, Record, RunSummary, Scope, TrailAppend,
};
use crate::rows::{ClaimRow, CommandRow, LeaseRow, RunRow, scope_name};
use async_trait::async_trait;
use serin_model::{EnvironmentName, RunId, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, Notify};
use tokio::time::Instant;

/// For how long a call tries to reach a database that is away. It is shorter than a lease lives without a beat (15 s): a
/// process that could not keep its lease stops.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one try may take: as long as a lease lives, and longer than the server itself gives a statement or a lock.
const TRY: Duration = Duration::from_secs(15);

/// The pauses between tries: a restart takes a second, and a thousand processes must not come back all the time.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// How often other transactions may be in the way of one. Two processes that meet do so once.
const CONFLICTS: u32 = 10;

/// A journal in a database. One value is one process's handle; share it in an `Arc`.
///
/// It has one connection, which is made again when it is lost. Leases that it took are free for others of this machine
/// at once when it is dropped or its process dies, but their numbers stay; other machines have to wait.
pub struct PostgresJournal {
    settings: PostgresSettings,
    identity: String,
    server: Server,
    link: Mutex<Option<Link>>,
    locks: std::sync::Mutex<LockFiles>,
    arrivals: Arc<Notify>,
}

/// What a call does when the connection was lost while it was being committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InDoubt {
    /// It is done again: twice is the same as once.
    Again,
    /// It is looked up and, if it was not written, done again. A refusal then leaves it in doubt.
    LookedUp,
    /// It stays in doubt.
    Told,
}

/// What is known of the tries before one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// None of them has written anything.
    Nothing,
    /// One of them may have written everything.
    Doubt,
}

impl PostgresJournal {
    /// Opens the journal in a database, and makes it there if there is none.
    ///
    /// # Errors
    /// When the database cannot be reached or written to, or would forget what it has confirmed.
    pub async fn open(settings: PostgresSettings) -> Result<Self, JournalError> {
        let arrivals = Arc::new(Notify::new());
        let mut conflicts = 0;
        let (link, server, identity) = loop {
            match Self::prepare(&settings, &arrivals).await {
                Ok(prepared) => break prepared,
                // Two processes made the journal at once.
                Err(Failed::Trouble(trouble))
                    if trouble.kind == Kind::Conflict && conflicts < CONFLICTS =>
                {
                    conflicts += 1;
                }
                Err(Failed::Trouble(Trouble { error, .. }) | Failed::Refused(error)) => {
                    return Err(error);
                }
            }
        };
        let locks = LockFiles::open(&settings.folder.join(format!("postgres-{identity}")))?;
        let (link, locks) = (Mutex::new(Some(link)), std::sync::Mutex::new(locks));
        Ok(Self { settings, identity, server, link, locks, arrivals })
    }

    /// Returns what the server said of itself when the journal was opened.
    pub fn server(&self) -> &Server {
        &self.server
    }

    async fn prepare(
        settings: &PostgresSettings,
        arrivals: &Arc<Notify>,
    ) -> Result<(Link, Server, String), Failed<JournalError>> {
        let (mut link, server) = Link::open(settings, arrivals).await?;
        let mut tx = link.begin().await?;
        let identity = setup::prepare(&mut tx).await?;
        tx.commit(()).await?;
        Ok((link, server, identity))
    }

    /// Returns the connection, for one transaction; a lost one is made again.
    async fn link(&self) -> Result<MappedMutexGuard<'_, Link>, Trouble> {
        let mut guard = self.link.lock().await;
        if guard.as_ref().is_none_or(Link::is_lost) {
            *guard = None;
            *guard = Some(self.reconnect().await?);
        }
        let lost = || Trouble::away("use the journal", "the connection was lost");
        MutexGuard::try_map(guard, Option::as_mut).map_err(|_guard| lost())
    }

    async fn reconnect(&self) -> Result<Link, Trouble> {
        let (mut link, _) = Link::open(&self.settings, &self.arrivals).await?;
        let mut tx = link.begin_read().await?;
        let identity = setup::identity(&mut tx).await;
        drop(tx);
        match identity {
            Ok(identity) if identity == self.identity => {}
            Ok(_) => {
                let why = "another journal is in its place: start again";
                let error = storage("use the journal", why);
                return Err(Trouble { kind: Kind::Lasting, error });
            }
            Err(Failed::Refused(error)) => return Err(Trouble { kind: Kind::Lasting, error }),
            Err(Failed::Trouble(trouble)) => return Err(trouble),
        }
        // What was sent meanwhile was not heard.
        self.arrivals.notify_one();
        Ok(link)
    }

    /// Does something in a transaction, again while that may help. `attempt` is told what is known of the tries before it.
    async fn call<T, E, F>(
        &self,
        what: &str,
        in_doubt: InDoubt,
        attempt: impl Fn(Before) -> F + Send + Sync,
    ) -> Result<T, E>
    where
        E: From<JournalError> + Display,
        F: Future<Output = Result<T, Failed<E>>> + Send,
    {
        let (since, mut pause) = (Instant::now(), SHORTEST);
        let (mut conflicts, mut before) = (0, Before::Nothing);
        loop {
            let trouble = match tokio::time::timeout(TRY, attempt(before)).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(Failed::Refused(refusal))) => {
                    let stands = before == Before::Nothing || in_doubt == InDoubt::Again;
                    return Err(if stands { refusal } else { unknown(what, &refusal).into() });
                }
                Ok(Err(Failed::Trouble(trouble))) => trouble,
                Err(_) => {
                    let error = storage(what, "the database does not answer");
                    Trouble { kind: Kind::InDoubt, error }
                }
            };
            match trouble.kind {
                Kind::Conflict => {
                    conflicts += 1;
                    if conflicts > CONFLICTS {
                        return Err(trouble.error.into());
                    }
                    continue;
                }
                Kind::Lasting if before == Before::Doubt => {
                    return Err(unknown(what, &trouble.error).into());
                }
                Kind::Lasting => return Err(trouble.error.into()),
                Kind::InDoubt if in_doubt == InDoubt::Told => return Err(trouble.error.into()),
                Kind::InDoubt => before = Before::Doubt,
                Kind::Away => {}
            }
            if since.elapsed() + pause > PATIENCE {
                return Err(trouble.error.into());
            }
            drop(self.link.lock().await.take());
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }

    fn locks(&self) -> std::sync::MutexGuard<'_, LockFiles> {
        // Every change is complete before the guard goes, so a panic elsewhere has left nothing half done.
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_append(
        &self,
        append: &Append<'_>,
        before: Before,
    ) -> Result<u64, Failed<AppendError>> {
        let mut link = self.link().await?;
        if before == Before::Doubt {
            let mut tx = link.begin().await?;
            let done = transactions::was_appended(&mut tx, append).await;
            if done.map_err(transactions::widen)? {
                return Ok(append.expected + count(append.records));
            }
        }
        let mut tx = link.begin().await?;
        let last = transactions::append(&mut tx, append).await?;
        Ok(tx.commit(last).await?)
    }

    async fn try_append_environment(
        &self,
        append: &EnvironmentAppend<'_>,
        before: Before,
    ) -> Result<u64, Failed<AppendError>> {
        let mut link = self.link().await?;
        if before == Before::Doubt {
            let mut tx = link.begin().await?;
            let done = transactions::environment_was_appended(&mut tx, append).await;
            if done.map_err(transactions::widen)? {
                return Ok(append.expected + count(append.records));
            }
        }
        let mut tx = link.begin().await?;
        let last = transactions::append_environment(&mut tx, append).await?;
        Ok(tx.commit(last).await?)
    }

    async fn try_append_trail(
        &self,
        append: &TrailAppend<'_>,
        before: Before,
    ) -> Result<u64, Failed<AppendError>> {
        let mut link = self.link().await?;
        if before == Before::Doubt {
            let mut tx = link.begin().await?;
            let done = transactions::trail_was_appended(&mut tx, append).await;
            if done.map_err(transactions::widen)? {
                return Ok(append.expected + 1);
            }
        }
        let mut tx = link.begin().await?;
        let last = transactions::append_trail(&mut tx, append).await?;
        Ok(tx.commit(last).await?)
    }

    async fn try_take_once(
        &self,
        scope: &Scope,
        holder: &Holder,
        silent: Option<&Sighting>,
    ) -> Result<Attempt, Failed<JournalError>> {
        let name = scope_name(scope);
        let mut link = self.link().await?;
        let mut tx = link.begin().await?;
        let found = transactions::lock_lease(&mut tx, &name).await?;
        let is_new = found.is_none();
        let mut row = found.unwrap_or_else(|| LeaseRow::never(&name));
        let (epoch, beat) = (row.epoch, row.beat);
        if let Some(holder) = row.holder()?
            && !silent.is_some_and(|seen| seen.unchanged(epoch, beat))
            && !self.locks().is_free(&name, epoch)?
        {
            return Ok(Attempt::Held(Sighting { holder, epoch, beat }));
        }
        row.epoch += 1;
        row.set_holder(Some(holder))?;
        // Locked before it is committed: nobody can see this number with its lock free while we live.
        let lock = self.locks().acquire(&name, row.epoch)?;
        if is_new {
            rows::insert_lease(&mut tx, &row).await?;
        } else {
            rows::update_lease(&mut tx, &row).await?;
        }
        tx.commit(()).await?;
        self.locks().keep(&name, row.epoch, lock);
        Ok(Attempt::Taken(Lease { scope: scope.clone(), epoch: row.epoch }))
    }
}

#[async_trait]
impl Journal for PostgresJournal {
    async fn create_run(&self, first: &str, now: Timestamp) -> Result<RunId, JournalError> {
        self.call("make a run", InDoubt::Told, |_| async move {
            let mut link = self.link().await?;
            let mut tx = link.begin().await?;
            let run = transactions::create_run(&mut tx, first, now).await?;
            Ok(tx.commit(run).await?.id()?)
        })
        .await
    }

    async fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        self.call("read the runs", InDoubt::Again, |_| async {
            let mut link = self.link().await?;
            let mut tx = link.begin_read().await?;
            let runs = transactions::runs(&mut tx).await?;
            Ok(runs.iter().rev().map(RunRow::summary).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn read(&self, run: &RunId, after: u64) -> Result<Vec<Record>, JournalError> {
        self.call("read a run", InDoubt::Again, |_| async move {
            let mut link = self.link().await?;
            let mut tx = link.begin_read().await?;
            transactions::read(&mut tx, run, after).await
        })
        .await
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
        self.call("beat", InDoubt::Again, |_| async move {
            let mut link = self.link().await?;
            let mut tx = link.begin().await?;
            transactions::beat(&mut tx, lease).await?;
            Ok(tx.commit(()).await?)
        })
        .await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), JournalError> {
        self.call("give a lease back", InDoubt::Again, |_| async move {
            let mut link = self.link().await?;
            let mut tx = link.begin().await?;
            transactions::release_lease(&mut tx, lease).await?;
            Ok::<_, Failed<JournalError>>(tx.commit(()).await?)
        })
        .await?;
        self.locks().free(&scope_name(&lease.scope), lease.epoch);
        Ok(())
    }

    async fn holder(&self, scope: &Scope) -> Result<Option<(Holder, bool)>, JournalError> {
        let name = &scope_name(scope);
        let row = self.call("read a lease", InDoubt::Again, |_| async move {
            let mut link = self.link().await?;
            let mut tx = link.begin_read().await?;
            transactions::find_lease(&mut tx, name).await
        });
        let row: Option<LeaseRow> = row.await?;
        let Some(row) = row else { return Ok(None) };
        let Some(holder) = row.holder()? else { return Ok(None) };
        Ok(Some((holder, self.locks().is_free(name, row.epoch)?)))
    }

    async fn append(&self, append: &Append<'_>) -> Result<u64, AppendError> {
        self.call("append", InDoubt::LookedUp, |before| self.try_append(append, before)).await
    }

    async fn claims(&self) -> Result<BTreeMap<EnvironmentName, RunId>, JournalError> {
        self.call("read the claims", InDoubt::Again, |_| async {
            let mut link = self.link().await?;
            let mut tx = link.begin_read().await?;
            let claims = transactions::claims(&mut tx).await?;
            Ok(claims.iter().map(ClaimRow::parsed).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn read_environment(
        &self,
        environment: &EnvironmentName,
        after: u64,
    ) -> Result<Vec<Record>, JournalError> {
        self.call("read an environment", InDoubt::Again, |_| async move {
            let mut link = self.link().await?;
            let mut tx = link.begin_read().await?;
            transactions::read_environment(&mut tx, environment, after).await
        })
        .await
    }

    async fn append_environment(&self, append: &EnvironmentAppend<'_>) -> Result<u64, AppendError> {
        self.call("append", InDoubt::LookedUp, |before| self.try_append_environment(append, before))
            .await
    }

    async fn read_trail(&self, after: u64) -> Result<Vec<Record>, JournalError> {
        self.call("read the audit trail", InDoubt::Again, |_| async move {
            let mut link = self.link().await?;
            let mut tx = link.begin_read().await?;
            transactions::read_trail(&mut tx, after).await
        })
        .await
    }

    async fn end_of_trail(&self) -> Result<Option<Record>, JournalError> {
        self.call("read the audit trail", InDoubt::Again, |_| async move {
            let mut link = self.link().await?;
            let mut tx = link.begin_read().await?;
            transactions::end_of_trail(&mut tx).await
        })
        .await
    }

    async fn append_trail(&self, append: &TrailAppend<'_>) -> Result<u64, AppendError> {
        self.call("append", InDoubt::LookedUp, |before| self.try_append_trail(append, before)).await
    }

    async fn send(
        &self,
        environment: &EnvironmentName,
        body: &str,
        now: Timestamp,
    ) -> Result<CommandId, JournalError> {
        self.call("send a command", InDoubt::Told, |_| async move {
            let mut link = self.link().await?;
            let mut tx = link.begin().await?;
            let id = transactions::send(&mut tx, environment, body, now).await?;
            Ok(tx.commit(id).await?)
        })
        .await
    }

    async fn inbox(&self, environment: &EnvironmentName) -> Result<Vec<Inbox>, JournalError> {
        self.call("read an inbox", InDoubt::Again, |_| async move {
            let mut link = self.link().await?;
            let mut tx = link.begin_read().await?;
            let waiting = transactions::inbox(&mut tx, environment).await?;
            Ok(waiting.into_iter().map(CommandRow::inbox).collect())
        })
        .await
    }

    async fn arrival(&self) {
        self.arrivals.notified().await;
    }

    async fn answer(
        &self,
        lease: &Lease,
        command: CommandId,
        answer: &str,
    ) -> Result<(), AppendError> {
        // The same answer again is no error.
        self.call("answer a command", InDoubt::LookedUp, |_| async move {
            let mut link = self.link().await?;
            let mut tx = link.begin().await?;
            transactions::answer(&mut tx, lease, command, answer).await?;
            Ok(tx.commit(()).await?)
        })
        .await
    }

    async fn answered(&self, command: CommandId) -> Result<Option<String>, JournalError> {
        self.call("read an answer", InDoubt::Again, |_| async move {
            let mut link = self.link().await?;
            let mut tx = link.begin_read().await?;
            transactions::answered(&mut tx, command).await
        })
        .await
    }
}

#[async_trait]
impl LeaseTable for PostgresJournal {
    async fn try_take(
        &self,
        scope: &Scope,
        holder: &Holder,
        silent: Option<&Sighting>,
    ) -> Result<Attempt, JournalError> {
        // Without an answer it is not ours: its lock file is closed, and so it is free for the next taker.
        self.call("take a lease", InDoubt::Told, |_| self.try_take_once(scope, holder, silent))
            .await
    }
}

fn count(records: &[String]) -> u64 {
    u64::try_from(records.len()).unwrap_or(u64::MAX)
}

/// The error of a write of which nobody can say whether it took place.
fn unknown(what: &str, now: &impl Display) -> JournalError {
    storage(what, format!("the connection was lost while it was being written, and now: {now}"))
}
