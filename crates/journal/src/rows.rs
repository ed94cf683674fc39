//! What is stored, whatever stores it: rows that carry a checksum, and the records of streams, which are chained.
//!
//! No row gets out of a journal that is not what was once stored. A record's seal covers the one before it, and its
//! stream's row has the number and seal of the last: a record that is changed, missing, moved or cut off at the end is
//! noticed. A row has the same seal in every journal, so that a copy can be compared.

use crate::failed::storage;
use crate::port::{AppendError, CommandId, Holder, Inbox, JournalError, Record, RunSummary, Scope};
use crate::seal::{Seal, Sealer};
use serin_model::{EnvironmentName, RunId, Timestamp};

/// A row that is stored with its seal.
pub(crate) trait Sealed: Sized {
    /// The table.
    const TABLE: &'static str;

    /// Returns the seal that the row must have.
    fn seal(&self) -> Seal;

    /// Returns what the row is about, for a person who is told that it is damaged.
    fn subject(&self) -> String;

    /// Lets the row pass if it has the seal that was stored with it.
    fn checked(self, stored: &[u8]) -> Result<Self, JournalError> {
        if self.seal() == stored {
            return Ok(self);
        }
        let subject = self.subject();
        Err(JournalError::Damaged(format!("{subject} is not what was written")))
    }
}

/// What has records: a run, an environment, or the audit trail.
pub(crate) trait Stream: Sealed {
    /// Returns the number of the last record.
    fn last(&self) -> u64;

    /// Returns the seal of the last record; before the first it is empty.
    fn head(&self) -> &Seal;

    /// Moves on to a record, which is the last then.
    fn advance(&mut self, seq: u64, seal: Seal);

    /// Returns the seal of a record that follows one with the seal `before`.
    fn record_seal(&self, before: &Seal, record: &Record) -> Seal;

    /// Returns the next record and its seal. The row itself must be stored after the last one.
    fn next(&mut self, body: &str, at: Timestamp) -> (Record, Seal) {
        let record = Record { seq: self.last() + 1, at, body: body.to_owned() };
        let seal = self.record_seal(self.head(), &record);
        self.advance(record.seq, seal.clone());
        (record, seal)
    }

    /// Returns the number to read from. The record before the first that is wanted is read too: its seal is where the
    /// chain goes on from.
    fn begins(&self, after: u64) -> u64 {
        after.min(self.last())
    }

    /// Returns the records after a number, each checked against the one before it. `stored` begins at
    /// [`Stream::begins`].
    fn proven<E: From<JournalError>>(
        &self,
        after: u64,
        stored: impl Iterator<Item = Result<(Record, Seal), E>>,
    ) -> Result<Vec<Record>, E> {
        let before = self.begins(after);
        let mut records = Vec::new();
        let mut head = Seal::new();
        let mut next = before.max(1);
        for stored in stored {
            let (record, seal) = stored?;
            let wanted = record.seq > before;
            if record.seq != next || wanted && self.record_seal(&head, &record) != seal {
                return Err(self.damaged(next).into());
            }
            head = seal;
            next += 1;
            records.extend(wanted.then_some(record));
        }
        if next != self.last() + 1 || head != *self.head() {
            return Err(self.damaged(next.min(self.last())).into());
        }
        Ok(records)
    }

    /// Says that a record is not what was written.
    fn damaged(&self, seq: u64) -> JournalError {
        let subject = self.subject();
        JournalError::Damaged(format!("record {seq} of {subject} is not what was written"))
    }
}

/// A run, with the number and seal of its last record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunRow {
    pub(crate) number: u64,
    pub(crate) created: u64,
    pub(crate) last: u64,
    pub(crate) head: Seal,
}

impl Sealed for RunRow {
    const TABLE: &'static str = "run";

    fn seal(&self) -> Seal {
        let sealer = Sealer::new(Self::TABLE).number(self.number).number(self.created);
        sealer.number(self.last).bytes(&self.head).seal()
    }

    fn subject(&self) -> String {
        format!("run r-{}", self.number)
    }
}

impl Stream for RunRow {
    fn last(&self) -> u64 {
        self.last
    }

    fn head(&self) -> &Seal {
        &self.head
    }

    fn advance(&mut self, seq: u64, seal: Seal) {
        self.last = seq;
        self.head = seal;
    }

    fn record_seal(&self, before: &Seal, record: &Record) -> Seal {
        let sealer = Sealer::new("record").bytes(before).number(self.number).number(record.seq);
        sealer.number(record.at.as_millis()).text(&record.body).seal()
    }
}

impl RunRow {
    pub(crate) fn new(number: u64, created: Timestamp) -> Self {
        Self { number, created: created.as_millis(), last: 0, head: Seal::new() }
    }

    /// Returns the number in a run's id.
    pub(crate) fn number_of(id: &RunId) -> Result<u64, JournalError> {
        let unknown = || JournalError::NoSuchRun(id.clone());
        let number = id.as_str().strip_prefix("r-").ok_or_else(unknown)?;
        // `r-01` would parse to the number of another run's id.
        let number = number.parse().ok().filter(|parsed: &u32| parsed.to_string() == number);
        number.map(u64::from).ok_or_else(unknown)
    }

    /// Lets the runs pass, oldest first, if none is missing.
    pub(crate) fn complete(runs: Vec<Self>) -> Result<Vec<Self>, JournalError> {
        match runs.iter().zip(1..).find(|(run, number)| run.number != *number) {
            None => Ok(runs),
            Some((_, number)) => Err(Self::missing(number)),
        }
    }

    pub(crate) fn missing(number: u64) -> JournalError {
        JournalError::Damaged(format!("run r-{number} is missing"))
    }

    pub(crate) fn id(&self) -> Result<RunId, JournalError> {
        format!("r-{}", self.number).parse().map_err(|error| storage("name a run", error))
    }

    pub(crate) fn summary(&self) -> Result<RunSummary, JournalError> {
        let created = Timestamp::from_millis(self.created);
        Ok(RunSummary { id: self.id()?, created, last: self.last })
    }
}

/// The stream of an environment, with the number and seal of its last record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvironmentRow {
    pub(crate) name: String,
    pub(crate) last: u64,
    pub(crate) head: Seal,
}

impl Sealed for EnvironmentRow {
    const TABLE: &'static str = "environment";

    fn seal(&self) -> Seal {
        Sealer::new(Self::TABLE).text(&self.name).number(self.last).bytes(&self.head).seal()
    }

    fn subject(&self) -> String {
        format!("the stream of {}", self.name)
    }
}

impl Stream for EnvironmentRow {
    fn last(&self) -> u64 {
        self.last
    }

    fn head(&self) -> &Seal {
        &self.head
    }

    fn advance(&mut self, seq: u64, seal: Seal) {
        self.last = seq;
        self.head = seal;
    }

    fn record_seal(&self, before: &Seal, record: &Record) -> Seal {
        let sealer = Sealer::new("environment_record").bytes(before).text(&self.name);
        sealer.number(record.seq).number(record.at.as_millis()).text(&record.body).seal()
    }

    fn damaged(&self, seq: u64) -> JournalError {
        let name = &self.name;
        JournalError::Damaged(format!("record {seq} of {name} is not what was written"))
    }
}

impl EnvironmentRow {
    /// Returns the stream of an environment of which nothing was ever recorded.
    pub(crate) fn empty(environment: &EnvironmentName) -> Self {
        Self { name: environment.to_string(), last: 0, head: Seal::new() }
    }
}

/// A stream that belongs to no run and no environment, with the number and seal of its last record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrailRow {
    pub(crate) name: String,
    pub(crate) last: u64,
    pub(crate) head: Seal,
}

impl Sealed for TrailRow {
    const TABLE: &'static str = "trail";

    fn seal(&self) -> Seal {
        Sealer::new(Self::TABLE).text(&self.name).number(self.last).bytes(&self.head).seal()
    }

    fn subject(&self) -> String {
        format!("the {} trail", self.name)
    }
}

impl Stream for TrailRow {
    fn last(&self) -> u64 {
        self.last
    }

    fn head(&self) -> &Seal {
        &self.head
    }

    fn advance(&mut self, seq: u64, seal: Seal) {
        self.last = seq;
        self.head = seal;
    }

    fn record_seal(&self, before: &Seal, record: &Record) -> Seal {
        let sealer = Sealer::new("trail_record").bytes(before).text(&self.name);
        sealer.number(record.seq).number(record.at.as_millis()).text(&record.body).seal()
    }
}

impl TrailRow {
    /// The name of the audit trail, the only one there is.
    pub(crate) const AUDIT: &'static str = "audit";

    /// Returns the audit trail before its first record.
    pub(crate) fn empty() -> Self {
        Self { name: Self::AUDIT.to_owned(), last: 0, head: Seal::new() }
    }

    /// Refuses an append that expects other records.
    pub(crate) fn expect(&self, expected: u64) -> Result<(), AppendError> {
        if self.last == expected {
            return Ok(());
        }
        Err(AppendError::Conflict { expected, found: self.last })
    }
}

/// The lease of a scope; it stays when the lease is given back, for its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseRow {
    pub(crate) scope: String,
    pub(crate) epoch: u64,
    pub(crate) beat: u64,
    pub(crate) holder: Option<String>,
}

impl Sealed for LeaseRow {
    const TABLE: &'static str = "lease";

    fn seal(&self) -> Seal {
        let sealer = Sealer::new(Self::TABLE).text(&self.scope).number(self.epoch);
        sealer.number(self.beat).optional(self.holder.as_deref()).seal()
    }

    fn subject(&self) -> String {
        format!("the lease of {}", self.scope)
    }
}

impl LeaseRow {
    /// Returns the lease of a scope that was never taken.
    pub(crate) fn never(scope: &str) -> Self {
        Self { scope: scope.to_owned(), epoch: 0, beat: 0, holder: None }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.holder.is_some()
    }

    pub(crate) fn holder(&self) -> Result<Option<Holder>, JournalError> {
        let parse = |text: &String| {
            serde_json::from_str(text)
                .map_err(|error| JournalError::Damaged(format!("{}: {error}", self.subject())))
        };
        self.holder.as_ref().map(parse).transpose()
    }

    pub(crate) fn set_holder(&mut self, holder: Option<&Holder>) -> Result<(), JournalError> {
        let written = holder.map(serde_json::to_string).transpose();
        self.holder = written.map_err(|error| storage("write a holder", error))?;
        Ok(())
    }
}

/// An environment that belongs to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimRow {
    pub(crate) environment: String,
    pub(crate) run: u64,
}

impl Sealed for ClaimRow {
    const TABLE: &'static str = "claim";

    fn seal(&self) -> Seal {
        Sealer::new(Self::TABLE).text(&self.environment).number(self.run).seal()
    }

    fn subject(&self) -> String {
        format!("the claim of {}", self.environment)
    }
}

impl ClaimRow {
    pub(crate) fn new(environment: &EnvironmentName, run: &RunRow) -> Self {
        Self { environment: environment.to_string(), run: run.number }
    }

    /// Returns the environment and the run that it belongs to.
    pub(crate) fn parsed(&self) -> Result<(EnvironmentName, RunId), JournalError> {
        let damaged = |error| JournalError::Damaged(format!("{}: {error}", self.subject()));
        let environment = self.environment.parse().map_err(damaged)?;
        let run = format!("r-{}", self.run).parse().map_err(damaged)?;
        Ok((environment, run))
    }
}

/// A command in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandRow {
    pub(crate) number: u64,
    pub(crate) environment: String,
    pub(crate) at: u64,
    pub(crate) body: String,
    pub(crate) answer: Option<String>,
}

impl Sealed for CommandRow {
    const TABLE: &'static str = "command";

    fn seal(&self) -> Seal {
        let sealer = Sealer::new(Self::TABLE).number(self.number).text(&self.environment);
        sealer.number(self.at).text(&self.body).optional(self.answer.as_deref()).seal()
    }

    fn subject(&self) -> String {
        format!("command {}", self.number)
    }
}

impl CommandRow {
    pub(crate) fn new(
        number: u64,
        environment: &EnvironmentName,
        body: &str,
        at: Timestamp,
    ) -> Self {
        let (environment, body) = (environment.to_string(), body.to_owned());
        Self { number, environment, at: at.as_millis(), body, answer: None }
    }

    pub(crate) fn inbox(self) -> Inbox {
        let at = Timestamp::from_millis(self.at);
        Inbox { id: CommandId(self.number), at, body: self.body }
    }

    /// Lets the commands pass, oldest first, if none is missing.
    pub(crate) fn complete(commands: Vec<Self>) -> Result<Vec<Self>, JournalError> {
        match commands.iter().zip(1..).find(|(command, number)| command.number != *number) {
            None => Ok(commands),
            Some((_, number)) => Err(JournalError::Damaged(format!("command {number} is missing"))),
        }
    }

    /// Sets the answer, and tells whether that changes anything. Another answer than the one it has is refused.
    pub(crate) fn set_answer(&mut self, answer: &str) -> Result<bool, JournalError> {
        match &self.answer {
            Some(first) if first == answer => Ok(false),
            Some(_) => Err(storage("answer a command", "it has another answer")),
            None => {
                self.answer = Some(answer.to_owned());
                Ok(true)
            }
        }
    }

    /// Says that there is no such command.
    pub(crate) fn unknown() -> JournalError {
        storage("answer a command", "there is no such command")
    }
}

/// Everything in a journal but the records of its streams.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) runs: Vec<RunRow>,
    pub(crate) environments: Vec<EnvironmentRow>,
    pub(crate) trails: Vec<TrailRow>,
    pub(crate) leases: Vec<LeaseRow>,
    pub(crate) claims: Vec<ClaimRow>,
    pub(crate) commands: Vec<CommandRow>,
}

impl Contents {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { runs, environments, trails, leases, claims, commands } = self;
        runs.is_empty()
            && environments.is_empty()
            && trails.is_empty()
            && leases.is_empty()
            && claims.is_empty()
            && commands.is_empty()
    }
}

/// Returns a scope as journals and their lock files name it.
pub(crate) fn scope_name(scope: &Scope) -> String {
    match scope {
        Scope::Run(run) => format!("run-{run}"),
        Scope::Environment(environment) => format!("environment-{environment}"),
    }
}
