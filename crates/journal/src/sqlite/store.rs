//! The transactions on an open journal, run by its one thread.
//!
//! Every row is checked against its seal when it is read, also where it is only about to be replaced.

use super::{failed, rows, setup};
use crate::lease::{Attempt, Sighting};
use crate::locks::LockFiles;
use crate::port::{
    Append, AppendError, ClaimChange, CommandId, EnvironmentAppend, Holder, Inbox, JournalError,
    Lease, Record, RunSummary, Scope, TrailAppend,
};
use crate::rows::{ClaimRow, CommandRow, EnvironmentRow, LeaseRow, RunRow, TrailRow, scope_name};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use serin_model::{EnvironmentName, RunId, Timestamp};
use std::collections::BTreeMap;
use std::path::Path;

/// An open journal.
pub(super) struct Store {
    pub(super) connection: Connection,
    pub(super) locks: LockFiles,
}

impl Store {
    /// Opens a journal.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        Ok(Self { connection: setup::open(path)?, locks: LockFiles::open(path)? })
    }

    pub(super) fn create_run(
        &mut self,
        first: &str,
        now: Timestamp,
    ) -> Result<RunId, JournalError> {
        write(&mut self.connection, |tx| {
            let mut run = RunRow::new(rows::next_number(tx, "run")?, now);
            run.store(tx)?;
            run.push(tx, first, now)?;
            run.store(tx)?;
            run.id()
        })
    }

    pub(super) fn runs(&mut self) -> Result<Vec<RunSummary>, JournalError> {
        let mut runs = RunRow::all(&self.connection)?;
        runs.reverse();
        runs.iter().map(RunRow::summary).collect()
    }

    pub(super) fn read(&mut self, run: &RunId, after: u64) -> Result<Vec<Record>, JournalError> {
        // The run's row and its records must be of one moment.
        let snapshot = self.connection.transaction().map_err(failed("read a run"))?;
        RunRow::find(&snapshot, run)?.records(&snapshot, after)
    }

    pub(super) fn append(&mut self, append: &Append<'_>) -> Result<u64, AppendError> {
        write(&mut self.connection, |tx| {
            append.leases.iter().try_for_each(|lease| current(tx, lease).map(drop))?;
            let mut run = RunRow::find(tx, append.run)?;
            if run.last != append.expected {
                let (expected, found) = (append.expected, run.last);
                return Err(AppendError::Conflict { expected, found });
            }
            append.claims.iter().try_for_each(|change| change_claim(tx, &run, change))?;
            append.records.iter().try_for_each(|body| run.push(tx, body, append.at))?;
            run.store(tx)?;
            Ok(run.last)
        })
    }

    pub(super) fn claims(&mut self) -> Result<BTreeMap<EnvironmentName, RunId>, JournalError> {
        ClaimRow::all(&self.connection)?.iter().map(ClaimRow::parsed).collect()
    }

    pub(super) fn read_environment(
        &mut self,
        environment: &EnvironmentName,
        after: u64,
    ) -> Result<Vec<Record>, JournalError> {
        let snapshot = self.connection.transaction().map_err(failed("read an environment"))?;
        EnvironmentRow::find(&snapshot, environment)?.records(&snapshot, after)
    }

    pub(super) fn append_environment(
        &mut self,
        append: &EnvironmentAppend<'_>,
    ) -> Result<u64, AppendError> {
        write(&mut self.connection, |tx| {
            current(tx, &append.lease())?;
            let mut stream = EnvironmentRow::find(tx, append.environment)?;
            if stream.last != append.expected {
                let (expected, found) = (append.expected, stream.last);
                return Err(AppendError::Conflict { expected, found });
            }
            // Its row first, to which its records refer.
            stream.store(tx)?;
            append.records.iter().try_for_each(|body| stream.push(tx, body, append.at))?;
            stream.store(tx)?;
            Ok(stream.last)
        })
    }

    pub(super) fn read_trail(&mut self, after: u64) -> Result<Vec<Record>, JournalError> {
        let snapshot = self.connection.transaction().map_err(failed("read the audit trail"))?;
        TrailRow::find(&snapshot)?.records(&snapshot, after)
    }

    pub(super) fn end_of_trail(&mut self) -> Result<Option<Record>, JournalError> {
        let snapshot = self.connection.transaction().map_err(failed("read the audit trail"))?;
        let trail = TrailRow::find(&snapshot)?;
        Ok(trail.records(&snapshot, trail.last.saturating_sub(1))?.pop())
    }

    pub(super) fn append_trail(&mut self, append: &TrailAppend<'_>) -> Result<u64, AppendError> {
        write(&mut self.connection, |tx| {
            let mut trail = TrailRow::find(tx)?;
            trail.expect(append.expected)?;
            // Its row first, to which its records refer.
            trail.store(tx)?;
            trail.push(tx, append.body, append.at)?;
            trail.store(tx)?;
            Ok(trail.last)
        })
    }

    pub(super) fn try_take(
        &mut self,
        scope: &Scope,
        holder: &Holder,
        silent: Option<&Sighting>,
    ) -> Result<Attempt, JournalError> {
        let name = scope_name(scope);
        let locks = &self.locks;
        let taken: Result<_, JournalError> = write(&mut self.connection, |tx| {
            let mut row = LeaseRow::find(tx, &name)?;
            let (epoch, beat) = (row.epoch, row.beat);
            if let Some(holder) = row.holder()?
                && !silent.is_some_and(|seen| seen.unchanged(epoch, beat))
                && !locks.is_free(&name, epoch)?
            {
                return Ok(Err(Sighting { holder, epoch, beat }));
            }
            row.epoch += 1;
            row.set_holder(Some(holder))?;
            // Locked before it is committed: nobody can see this number with its lock free while we live.
            let lock = locks.acquire(&name, row.epoch)?;
            row.store(tx)?;
            Ok(Ok((row.epoch, lock)))
        });
        Ok(match taken? {
            Err(sighting) => Attempt::Held(sighting),
            Ok((epoch, lock)) => {
                self.locks.keep(&name, epoch, lock);
                Attempt::Taken(Lease { scope: scope.clone(), epoch })
            }
        })
    }

    pub(super) fn beat(&mut self, lease: &Lease) -> Result<(), AppendError> {
        write(&mut self.connection, |tx| {
            let mut row = current(tx, lease)?;
            row.beat += 1;
            Ok(row.store(tx)?)
        })
    }

    pub(super) fn release_lease(&mut self, lease: &Lease) -> Result<(), JournalError> {
        let name = scope_name(&lease.scope);
        write(&mut self.connection, |tx| {
            let mut row = LeaseRow::find(tx, &name)?;
            if row.epoch == lease.epoch && row.is_held() {
                row.set_holder(None)?;
                row.store(tx)?;
            }
            Ok::<_, JournalError>(())
        })?;
        self.locks.free(&name, lease.epoch);
        Ok(())
    }

    pub(super) fn holder(&mut self, scope: &Scope) -> Result<Option<(Holder, bool)>, JournalError> {
        let name = scope_name(scope);
        let row = LeaseRow::find(&self.connection, &name)?;
        let Some(holder) = row.holder()? else { return Ok(None) };
        Ok(Some((holder, self.locks.is_free(&name, row.epoch)?)))
    }

    pub(super) fn send(
        &mut self,
        environment: &EnvironmentName,
        body: &str,
        now: Timestamp,
    ) -> Result<CommandId, JournalError> {
        write(&mut self.connection, |tx| {
            let number = rows::next_number(tx, "command")?;
            CommandRow::new(number, environment, body, now).store(tx)?;
            Ok(CommandId(number))
        })
    }

    pub(super) fn inbox(
        &mut self,
        environment: &EnvironmentName,
    ) -> Result<Vec<Inbox>, JournalError> {
        let mut waiting = CommandRow::unanswered(&self.connection)?;
        waiting.retain(|command| command.environment == environment.as_str());
        Ok(waiting.into_iter().map(CommandRow::inbox).collect())
    }

    pub(super) fn answer(
        &mut self,
        lease: &Lease,
        command: CommandId,
        answer: &str,
    ) -> Result<(), AppendError> {
        write(&mut self.connection, |tx| {
            current(tx, lease)?;
            let mut row = CommandRow::find(tx, command)?.ok_or_else(CommandRow::unknown)?;
            if row.set_answer(answer)? {
                row.store(tx)?;
            }
            Ok(())
        })
    }

    pub(super) fn answered(&mut self, command: CommandId) -> Result<Option<String>, JournalError> {
        Ok(CommandRow::find(&self.connection, command)?.and_then(|row| row.answer))
    }
}

/// Runs a transaction that writes: all of it or, on any error, nothing.
fn write<T, E: From<JournalError>>(
    connection: &mut Connection,
    perform: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
) -> Result<T, E> {
    // IMMEDIATE waits its turn here; a transaction that begins by reading would be refused at its first write.
    let tx = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("begin to write"))?;
    setup::check_not_moved(&tx)?;
    let done = perform(&tx)?;
    tx.commit().map_err(failed("commit"))?;
    Ok(done)
}

/// Returns the row of a lease that is current.
fn current(tx: &Transaction<'_>, lease: &Lease) -> Result<LeaseRow, AppendError> {
    let row = LeaseRow::find(tx, &scope_name(&lease.scope))?;
    if row.epoch == lease.epoch && row.is_held() {
        return Ok(row);
    }
    Err(AppendError::LeaseLost { scope: lease.scope.clone(), current: row.epoch })
}

fn change_claim(
    tx: &Transaction<'_>,
    run: &RunRow,
    change: &ClaimChange,
) -> Result<(), AppendError> {
    let (ClaimChange::Take(environment) | ClaimChange::Release(environment)) = change;
    let claim = ClaimRow::find(tx, environment)?;
    match (change, claim) {
        (ClaimChange::Take(_), None) => Ok(ClaimRow::new(environment, run).store(tx)?),
        (ClaimChange::Take(_), Some(claim)) if claim.run != run.number => {
            let (environment, run) = claim.parsed()?;
            Err(AppendError::Claimed { environment, run })
        }
        (ClaimChange::Release(_), Some(claim)) if claim.run == run.number => Ok(claim.delete(tx)?),
        // Its own already, or never its own: nothing to change.
        (ClaimChange::Take(_) | ClaimChange::Release(_), _) => Ok(()),
    }
}
