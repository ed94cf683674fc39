//! A journal in memory, for simulations: the contract of the real one, and faults on demand.
//!
//! One [`MemoryJournal`] stands for one process. A clone is the same process; [`MemoryJournal::another_process`] is
//! another one on the same journal; [`MemoryJournal::kill`] is `kill -9`. A process that is merely stopped needs nothing
//! here: it does not call. Nothing is random, nothing reads a clock but tokio's (which may be paused), and nothing is
//! kept when the last handle goes.

use crate::failed::storage;
use crate::lease::{Attempt, LeaseTable, Sighting, take_patiently};
use crate::port::{
    Append, AppendError, ClaimChange, CommandId, EnvironmentAppend, Holder, Inbox, Journal,
    JournalError, Lease, LeaseRefused, Record, RunSummary, Scope, TrailAppend,
};
use async_trait::async_trait;
use serin_model::{EnvironmentName, RunId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A process's handle on a journal in memory.
#[derive(Debug, Clone)]
pub struct MemoryJournal {
    shared: Arc<Mutex<Shared>>,
    process: u64,
}

/// How the next append or [`Journal::create_run`] goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailMode {
    /// Nothing is written, and the caller gets [`JournalError::Storage`].
    Lost,
    /// Everything is written, but the caller gets [`JournalError::Storage`] all the same.
    Unacknowledged,
    /// Nothing is written, and the caller gets [`JournalError::Full`].
    Full,
}

#[derive(Debug, Default)]
struct Shared {
    runs: Vec<StoredRun>,
    leases: BTreeMap<Scope, StoredLease>,
    claims: BTreeMap<EnvironmentName, RunId>,
    environments: BTreeMap<EnvironmentName, Vec<Record>>,
    trail: Vec<Record>,
    commands: Vec<StoredCommand>,
    processes: u64,
    dead: BTreeSet<u64>,
    fail_next: Option<FailMode>,
}

#[derive(Debug)]
struct StoredRun {
    id: RunId,
    created: Timestamp,
    records: Vec<Record>,
}

#[derive(Debug, Default)]
struct StoredLease {
    epoch: u64,
    beat: u64,
    held: Option<(Holder, u64)>,
}

#[derive(Debug)]
struct StoredCommand {
    environment: EnvironmentName,
    inbox: Inbox,
    answer: Option<String>,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryJournal {
    /// Makes an empty journal, and the first process on it.
    pub fn new() -> Self {
        Self { shared: Arc::default(), process: 0 }
    }

    /// Starts another process on the same journal.
    #[must_use]
    pub fn another_process(&self) -> Self {
        let mut shared = self.lock();
        shared.processes += 1;
        Self { shared: Arc::clone(&self.shared), process: shared.processes }
    }

    /// Kills this process: its leases can be taken at once, and none of its handles works any more.
    pub fn kill(&self) {
        self.lock().dead.insert(self.process);
    }

    /// Makes the next append or new run of any process fail.
    pub fn fail_next(&self, mode: FailMode) {
        self.lock().fail_next = Some(mode);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Every change is complete before the guard goes, so a panic elsewhere has left nothing half done.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Result<MutexGuard<'_, Shared>, JournalError> {
        let shared = self.lock();
        if shared.dead.contains(&self.process) {
            return Err(storage("use the journal", "this process was killed"));
        }
        Ok(shared)
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn create_run(&self, first: &str, now: Timestamp) -> Result<RunId, JournalError> {
        self.alive()?.write(|shared| shared.create_run(first, now))
    }

    async fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        Ok(self.alive()?.runs.iter().rev().map(StoredRun::summary).collect())
    }

    async fn read(&self, run: &RunId, after: u64) -> Result<Vec<Record>, JournalError> {
        let shared = self.alive()?;
        let stored = shared.runs.iter().find(|stored| stored.id == *run);
        let stored = stored.ok_or_else(|| JournalError::NoSuchRun(run.clone()))?;
        Ok(stored.records.iter().filter(|record| record.seq > after).cloned().collect())
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
        let mut shared = self.alive()?;
        shared.check_lease(lease)?;
        if let Some(stored) = shared.leases.get_mut(&lease.scope) {
            stored.beat += 1;
        }
        Ok(())
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), JournalError> {
        let mut shared = self.alive()?;
        if let Some(stored) = shared.leases.get_mut(&lease.scope)
            && stored.epoch == lease.epoch
        {
            stored.held = None;
        }
        Ok(())
    }

    async fn holder(&self, scope: &Scope) -> Result<Option<(Holder, bool)>, JournalError> {
        let shared = self.alive()?;
        let held = shared.leases.get(scope).and_then(|stored| stored.held.as_ref());
        Ok(held.map(|(holder, process)| (holder.clone(), shared.dead.contains(process))))
    }

    async fn append(&self, append: &Append<'_>) -> Result<u64, AppendError> {
        self.alive()?.write(|shared| shared.append(append))
    }

    async fn claims(&self) -> Result<BTreeMap<EnvironmentName, RunId>, JournalError> {
        Ok(self.alive()?.claims.clone())
    }

    async fn read_environment(
        &self,
        environment: &EnvironmentName,
        after: u64,
    ) -> Result<Vec<Record>, JournalError> {
        let shared = self.alive()?;
        let records = shared.environments.get(environment).into_iter().flatten();
        Ok(records.filter(|record| record.seq > after).cloned().collect())
    }

    async fn append_environment(&self, append: &EnvironmentAppend<'_>) -> Result<u64, AppendError> {
        self.alive()?.write(|shared| shared.append_environment(append))
    }

    async fn read_trail(&self, after: u64) -> Result<Vec<Record>, JournalError> {
        let shared = self.alive()?;
        Ok(shared.trail.iter().filter(|record| record.seq > after).cloned().collect())
    }

    async fn end_of_trail(&self) -> Result<Option<Record>, JournalError> {
        Ok(self.alive()?.trail.last().cloned())
    }

    async fn append_trail(&self, append: &TrailAppend<'_>) -> Result<u64, AppendError> {
        self.alive()?.write(|shared| shared.append_trail(append))
    }

    async fn send(
        &self,
        environment: &EnvironmentName,
        body: &str,
        now: Timestamp,
    ) -> Result<CommandId, JournalError> {
        let mut shared = self.alive()?;
        let id = CommandId(number_after(&shared.commands));
        let inbox = Inbox { id, at: now, body: body.to_owned() };
        shared.commands.push(StoredCommand {
            environment: environment.clone(),
            inbox,
            answer: None,
        });
        Ok(id)
    }

    async fn inbox(&self, environment: &EnvironmentName) -> Result<Vec<Inbox>, JournalError> {
        let shared = self.alive()?;
        let waiting = shared.commands.iter().filter(|command| command.answer.is_none());
        let here = waiting.filter(|command| command.environment == *environment);
        Ok(here.map(|command| command.inbox.clone()).collect())
    }

    async fn answer(
        &self,
        lease: &Lease,
        command: CommandId,
        answer: &str,
    ) -> Result<(), AppendError> {
        let mut shared = self.alive()?;
        shared.check_lease(lease)?;
        let stored = shared.commands.iter_mut().find(|stored| stored.inbox.id == command);
        let stored =
            stored.ok_or_else(|| storage("answer a command", "there is no such command"))?;
        match &stored.answer {
            None => stored.answer = Some(answer.to_owned()),
            Some(first) if first == answer => {}
            Some(_) => return Err(storage("answer a command", "it has another answer").into()),
        }
        Ok(())
    }

    async fn answered(&self, command: CommandId) -> Result<Option<String>, JournalError> {
        let shared = self.alive()?;
        let stored = shared.commands.iter().find(|stored| stored.inbox.id == command);
        Ok(stored.and_then(|stored| stored.answer.clone()))
    }
}

#[async_trait]
impl LeaseTable for MemoryJournal {
    async fn try_take(
        &self,
        scope: &Scope,
        holder: &Holder,
        silent: Option<&Sighting>,
    ) -> Result<Attempt, JournalError> {
        let mut guard = self.alive()?;
        let shared = &mut *guard;
        let stored = shared.leases.entry(scope.clone()).or_default();
        if let Some((current, process)) = &stored.held
            && !shared.dead.contains(process)
            && !silent.is_some_and(|seen| seen.unchanged(stored.epoch, stored.beat))
        {
            let (epoch, beat) = (stored.epoch, stored.beat);
            return Ok(Attempt::Held(Sighting { holder: current.clone(), epoch, beat }));
        }
        stored.epoch += 1;
        stored.held = Some((holder.clone(), self.process));
        Ok(Attempt::Taken(Lease { scope: scope.clone(), epoch: stored.epoch }))
    }
}

impl Shared {
    /// Performs a write, or fails it as was asked for.
    fn write<T, E: From<JournalError>>(
        &mut self,
        perform: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        match self.fail_next.take() {
            None => perform(self),
            Some(FailMode::Lost) => Err(storage("append", "the write was lost").into()),
            Some(FailMode::Full) => Err(JournalError::Full.into()),
            Some(FailMode::Unacknowledged) => {
                perform(self)?;
                Err(storage("append", "the acknowledgement was lost").into())
            }
        }
    }

    fn create_run(&mut self, first: &str, now: Timestamp) -> Result<RunId, JournalError> {
        let text = format!("r-{}", number_after(&self.runs));
        let id: RunId = text.parse().map_err(|error| storage("name a run", error))?;
        let records = vec![Record { seq: 1, at: now, body: first.to_owned() }];
        self.runs.push(StoredRun { id: id.clone(), created: now, records });
        Ok(id)
    }

    /// Checks everything before it changes anything.
    fn append(&mut self, append: &Append<'_>) -> Result<u64, AppendError> {
        for lease in append.leases {
            self.check_lease(lease)?;
        }
        let stored = self.runs.iter().find(|stored| stored.id == *append.run);
        let found = stored.ok_or_else(|| JournalError::NoSuchRun(append.run.clone()))?.last();
        if found != append.expected {
            return Err(AppendError::Conflict { expected: append.expected, found });
        }
        let claims = self.claims_after(append)?;
        let numbered = append.records.iter().zip(found + 1..);
        let records = numbered.map(|(body, seq)| Record { seq, at: append.at, body: body.clone() });
        if let Some(stored) = self.runs.iter_mut().find(|stored| stored.id == *append.run) {
            stored.records.extend(records);
        }
        self.claims = claims;
        Ok(found + u64::try_from(append.records.len()).unwrap_or(u64::MAX))
    }

    fn append_environment(&mut self, append: &EnvironmentAppend<'_>) -> Result<u64, AppendError> {
        self.check_lease(&append.lease())?;
        let stream = self.environments.entry(append.environment.clone()).or_default();
        let found = stream.last().map_or(0, |record| record.seq);
        if found != append.expected {
            return Err(AppendError::Conflict { expected: append.expected, found });
        }
        let numbered = append.records.iter().zip(found + 1..);
        let record =
            |(body, seq): (&String, u64)| Record { seq, at: append.at, body: body.clone() };
        stream.extend(numbered.map(record));
        Ok(stream.last().map_or(0, |record| record.seq))
    }

    fn append_trail(&mut self, append: &TrailAppend<'_>) -> Result<u64, AppendError> {
        let TrailAppend { expected, body, at } = *append;
        let found = self.trail.last().map_or(0, |record| record.seq);
        if found != expected {
            return Err(AppendError::Conflict { expected, found });
        }
        self.trail.push(Record { seq: found + 1, at, body: body.to_owned() });
        Ok(found + 1)
    }

    fn claims_after(
        &self,
        append: &Append<'_>,
    ) -> Result<BTreeMap<EnvironmentName, RunId>, AppendError> {
        let mut claims = self.claims.clone();
        for change in append.claims {
            match change {
                ClaimChange::Take(environment) => {
                    let run = claims.entry(environment.clone()).or_insert(append.run.clone());
                    if run != append.run {
                        let (environment, run) = (environment.clone(), run.clone());
                        return Err(AppendError::Claimed { environment, run });
                    }
                }
                ClaimChange::Release(environment) => {
                    if claims.get(environment) == Some(append.run) {
                        claims.remove(environment);
                    }
                }
            }
        }
        Ok(claims)
    }

    fn check_lease(&self, lease: &Lease) -> Result<(), AppendError> {
        let stored = self.leases.get(&lease.scope);
        let current = stored.map_or(0, |stored| stored.epoch);
        if current == lease.epoch && stored.is_some_and(|stored| stored.held.is_some()) {
            return Ok(());
        }
        Err(AppendError::LeaseLost { scope: lease.scope.clone(), current })
    }
}

impl StoredRun {
    fn last(&self) -> u64 {
        self.records.last().map_or(0, |record| record.seq)
    }

    fn summary(&self) -> RunSummary {
        RunSummary { id: self.id.clone(), created: self.created, last: self.last() }
    }
}

/// Returns the number of the next item of a list that is only ever appended to.
fn number_after<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX).saturating_add(1)
}
