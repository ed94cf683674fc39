//! What the tables hold: rows that carry a checksum, and a run's records, which are chained.
//!
//! No row gets out of here that is not what was once stored. A record's seal covers the one before it, and the run's row
//! has the number and seal of the last: a record that is changed, missing, moved or cut off at the end is noticed.

mod environment;

pub(super) use environment::EnvironmentRow;

use super::seal::{Seal, Sealer};
use super::{failed, storage};
use crate::port::{CommandId, Holder, Inbox, JournalError, Record, RunSummary, Scope};
use rusqlite::{Connection, Params, Row, Rows, params};
use serin_model::{EnvironmentName, RunId, Timestamp};

/// A row of a table whose last column is its seal.
trait Sealed: Sized {
    /// The table.
    const TABLE: &'static str;

    /// Reads the other columns, in the order of the schema.
    fn load(row: &Row<'_>) -> rusqlite::Result<Self>;

    /// Returns the seal that the row must have.
    fn seal(&self) -> Seal;

    /// Returns what the row is about, for a person who is told that it is damaged.
    fn subject(&self) -> String;
}

fn select<R: Sealed>(
    connection: &Connection,
    condition: &str,
    params: impl Params,
) -> Result<Vec<R>, JournalError> {
    let what = format!("read the table {}", R::TABLE);
    let sql = format!("SELECT * FROM {} {condition}", R::TABLE);
    let mut select = connection.prepare_cached(&sql).map_err(failed(&what))?;
    let load = |row: &Row<'_>| Ok((R::load(row)?, row.get::<_, Seal>("seal")?));
    let mut rows = Vec::new();
    for loaded in select.query_map(params, load).map_err(failed(&what))? {
        let (row, seal) = loaded.map_err(failed(&what))?;
        if row.seal() != seal {
            let subject = row.subject();
            return Err(JournalError::Damaged(format!("{subject} is not what was written")));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn execute(connection: &Connection, sql: &str, params: impl Params) -> Result<(), JournalError> {
    let run = || connection.prepare_cached(sql)?.execute(params);
    run().map(drop).map_err(failed("write to the journal"))
}

/// Checks every row but the records, which are checked when they are read.
///
/// A row whose key is damaged would not be found, and would look as if it had never been there: a lease would begin at
/// number 1 again. So all of them are looked at once, when the journal is opened.
pub(super) fn check(connection: &Connection) -> Result<(), JournalError> {
    RunRow::all(connection)?;
    select::<LeaseRow>(connection, "", [])?;
    ClaimRow::all(connection)?;
    EnvironmentRow::check(connection)?;
    let commands: Vec<CommandRow> = select(connection, "ORDER BY number", [])?;
    match commands.iter().zip(1..).find(|(command, number)| command.number != *number) {
        None => Ok(()),
        Some((_, number)) => Err(JournalError::Damaged(format!("command {number} is missing"))),
    }
}

/// Returns the number of the next row of a table that is numbered from 1.
pub(super) fn next_number(connection: &Connection, table: &str) -> Result<u64, JournalError> {
    let sql = format!("SELECT coalesce(max(number), 0) + 1 FROM {table}");
    connection.query_row(&sql, [], |row| row.get(0)).map_err(failed("number a row"))
}

/// A run, with the number and seal of its last record.
pub(super) struct RunRow {
    pub(super) number: u64,
    created: u64,
    pub(super) last: u64,
    head: Seal,
}

impl Sealed for RunRow {
    const TABLE: &'static str = "run";

    fn load(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { number: row.get(0)?, created: row.get(1)?, last: row.get(2)?, head: row.get(3)? })
    }

    fn seal(&self) -> Seal {
        let sealer = Sealer::new(Self::TABLE).number(self.number).number(self.created);
        sealer.number(self.last).bytes(&self.head).seal()
    }

    fn subject(&self) -> String {
        format!("run r-{}", self.number)
    }
}

impl RunRow {
    pub(super) fn new(number: u64, created: Timestamp) -> Self {
        Self { number, created: created.as_millis(), last: 0, head: Seal::new() }
    }

    pub(super) fn find(connection: &Connection, id: &RunId) -> Result<Self, JournalError> {
        let unknown = || JournalError::NoSuchRun(id.clone());
        let number = id.as_str().strip_prefix("r-").ok_or_else(unknown)?;
        // `r-01` would parse to the number of another run's id.
        let number = number.parse().ok().filter(|parsed: &u32| parsed.to_string() == number);
        let number = u64::from(number.ok_or_else(unknown)?);
        let found: Vec<Self> = select(connection, "WHERE number = ?1", [number])?;
        if let Some(run) = found.into_iter().next() {
            return Ok(run);
        }
        if (1..next_number(connection, Self::TABLE)?).contains(&number) {
            return Err(missing(number));
        }
        Err(unknown())
    }

    /// Returns all runs, oldest first.
    pub(super) fn all(connection: &Connection) -> Result<Vec<Self>, JournalError> {
        let runs: Vec<Self> = select(connection, "ORDER BY number", [])?;
        match runs.iter().zip(1..).find(|(run, number)| run.number != *number) {
            None => Ok(runs),
            Some((_, number)) => Err(missing(number)),
        }
    }

    pub(super) fn id(&self) -> Result<RunId, JournalError> {
        format!("r-{}", self.number).parse().map_err(|error| storage("name a run", error))
    }

    pub(super) fn summary(&self) -> Result<RunSummary, JournalError> {
        let created = Timestamp::from_millis(self.created);
        Ok(RunSummary { id: self.id()?, created, last: self.last })
    }

    /// Stores the row itself; its records are stored by [`RunRow::push`].
    pub(super) fn store(&self, connection: &Connection) -> Result<(), JournalError> {
        let sql = "INSERT INTO run VALUES (?1, ?2, ?3, ?4, ?5) \
            ON CONFLICT DO UPDATE SET last = ?3, head = ?4, seal = ?5";
        let Self { number, created, last, head } = self;
        execute(connection, sql, params![number, created, last, head, self.seal()])
    }

    /// Stores one more record. The row itself must be stored after the last one.
    pub(super) fn push(
        &mut self,
        connection: &Connection,
        body: &str,
        at: Timestamp,
    ) -> Result<(), JournalError> {
        let record = Record { seq: self.last + 1, at, body: body.to_owned() };
        let seal = record_seal(self.number, &self.head, &record);
        let sql = "INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5)";
        let (number, seq, at) = (self.number, record.seq, at.as_millis());
        execute(connection, sql, params![number, seq, at, record.body, seal])?;
        self.last = record.seq;
        self.head = seal;
        Ok(())
    }

    /// Returns the records after a number, each checked against the one before it.
    pub(super) fn records(
        &self,
        connection: &Connection,
        after: u64,
    ) -> Result<Vec<Record>, JournalError> {
        let what = format!("read the records of run r-{}", self.number);
        let chain = Chain { last: self.last, head: &self.head, after };
        let sql =
            "SELECT seq, at, body, seal FROM record WHERE run = ?1 AND seq >= ?2 ORDER BY seq";
        let mut select = connection.prepare_cached(sql).map_err(failed(&what))?;
        let mut rows = select.query(params![self.number, chain.begins()]).map_err(failed(&what))?;
        let seal = |before: &Seal, record: &Record| record_seal(self.number, before, record);
        chain.read(&mut rows, seal).map_err(failed(&what))?.map_err(|seq| self.damaged(seq))
    }

    fn damaged(&self, seq: u64) -> JournalError {
        let run = self.number;
        JournalError::Damaged(format!("record {seq} of run r-{run} is not what was written"))
    }
}

fn missing(run: u64) -> JournalError {
    JournalError::Damaged(format!("run r-{run} is missing"))
}

/// A stream's records as they hang together: each seal covers the one before it, and `head` is that of the last.
struct Chain<'a> {
    last: u64,
    head: &'a Seal,
    /// Only records after this are wanted.
    after: u64,
}

impl Chain<'_> {
    /// Returns the number to read from. The record before the first that is wanted is read too: its seal is where the
    /// chain goes on from.
    fn begins(&self) -> u64 {
        self.after.min(self.last)
    }

    /// Returns the wanted records, or the number of the first that is not what was written.
    fn read(
        &self,
        rows: &mut Rows<'_>,
        seal_of: impl Fn(&Seal, &Record) -> Seal,
    ) -> rusqlite::Result<Result<Vec<Record>, u64>> {
        let before = self.begins();
        let mut records = Vec::new();
        let mut head = Seal::new();
        let mut next = before.max(1);
        while let Some(row) = rows.next()? {
            let (record, seal) = load_record(row)?;
            let wanted = record.seq > before;
            if record.seq != next || wanted && seal_of(&head, &record) != seal {
                return Ok(Err(next));
            }
            head = seal;
            next += 1;
            records.extend(wanted.then_some(record));
        }
        if next != self.last + 1 || head != *self.head {
            return Ok(Err(next.min(self.last)));
        }
        Ok(Ok(records))
    }
}

fn load_record(row: &Row<'_>) -> rusqlite::Result<(Record, Seal)> {
    let at = Timestamp::from_millis(row.get(1)?);
    Ok((Record { seq: row.get(0)?, at, body: row.get(2)? }, row.get(3)?))
}

fn record_seal(run: u64, before: &Seal, record: &Record) -> Seal {
    let sealer = Sealer::new("record").bytes(before).number(run).number(record.seq);
    sealer.number(record.at.as_millis()).text(&record.body).seal()
}

/// The lease of a scope; it stays when the lease is given back, for its number.
pub(super) struct LeaseRow {
    scope: String,
    pub(super) epoch: u64,
    pub(super) beat: u64,
    holder: Option<String>,
}

impl Sealed for LeaseRow {
    const TABLE: &'static str = "lease";

    fn load(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { scope: row.get(0)?, epoch: row.get(1)?, beat: row.get(2)?, holder: row.get(3)? })
    }

    fn seal(&self) -> Seal {
        let sealer = Sealer::new(Self::TABLE).text(&self.scope).number(self.epoch);
        sealer.number(self.beat).optional(self.holder.as_deref()).seal()
    }

    fn subject(&self) -> String {
        format!("the lease of {}", self.scope)
    }
}

impl LeaseRow {
    /// Returns a scope's lease; one that was never taken has number 0.
    pub(super) fn find(connection: &Connection, scope: &str) -> Result<Self, JournalError> {
        let found: Vec<Self> = select(connection, "WHERE scope = ?1", [scope])?;
        let never = Self { scope: scope.to_owned(), epoch: 0, beat: 0, holder: None };
        Ok(found.into_iter().next().unwrap_or(never))
    }

    pub(super) fn is_held(&self) -> bool {
        self.holder.is_some()
    }

    pub(super) fn holder(&self) -> Result<Option<Holder>, JournalError> {
        let parse = |text: &String| {
            serde_json::from_str(text)
                .map_err(|error| JournalError::Damaged(format!("{}: {error}", self.subject())))
        };
        self.holder.as_ref().map(parse).transpose()
    }

    pub(super) fn set_holder(&mut self, holder: Option<&Holder>) -> Result<(), JournalError> {
        let written = holder.map(serde_json::to_string).transpose();
        self.holder = written.map_err(|error| storage("write a holder", error))?;
        Ok(())
    }

    pub(super) fn store(&self, connection: &Connection) -> Result<(), JournalError> {
        let sql = "INSERT INTO lease VALUES (?1, ?2, ?3, ?4, ?5) \
            ON CONFLICT DO UPDATE SET epoch = ?2, beat = ?3, holder = ?4, seal = ?5";
        let Self { scope, epoch, beat, holder } = self;
        execute(connection, sql, params![scope, epoch, beat, holder, self.seal()])
    }
}

/// An environment that belongs to a run.
pub(super) struct ClaimRow {
    environment: String,
    pub(super) run: u64,
}

impl Sealed for ClaimRow {
    const TABLE: &'static str = "claim";

    fn load(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { environment: row.get(0)?, run: row.get(1)? })
    }

    fn seal(&self) -> Seal {
        Sealer::new(Self::TABLE).text(&self.environment).number(self.run).seal()
    }

    fn subject(&self) -> String {
        format!("the claim of {}", self.environment)
    }
}

impl ClaimRow {
    pub(super) fn new(environment: &EnvironmentName, run: &RunRow) -> Self {
        Self { environment: environment.to_string(), run: run.number }
    }

    pub(super) fn find(
        connection: &Connection,
        environment: &EnvironmentName,
    ) -> Result<Option<Self>, JournalError> {
        let found: Vec<Self> =
            select(connection, "WHERE environment = ?1", [environment.as_str()])?;
        Ok(found.into_iter().next())
    }

    pub(super) fn all(connection: &Connection) -> Result<Vec<Self>, JournalError> {
        select(connection, "ORDER BY environment", [])
    }

    /// Returns the environment and the run that it belongs to.
    pub(super) fn parsed(&self) -> Result<(EnvironmentName, RunId), JournalError> {
        let damaged = |error| JournalError::Damaged(format!("{}: {error}", self.subject()));
        let environment = self.environment.parse().map_err(damaged)?;
        let run = format!("r-{}", self.run).parse().map_err(damaged)?;
        Ok((environment, run))
    }

    pub(super) fn store(&self, connection: &Connection) -> Result<(), JournalError> {
        let sql = "INSERT INTO claim VALUES (?1, ?2, ?3)";
        execute(connection, sql, params![self.environment, self.run, self.seal()])
    }

    pub(super) fn delete(&self, connection: &Connection) -> Result<(), JournalError> {
        execute(connection, "DELETE FROM claim WHERE environment = ?1", [&self.environment])
    }
}

/// A command in an inbox.
pub(super) struct CommandRow {
    number: u64,
    pub(super) environment: String,
    at: u64,
    body: String,
    pub(super) answer: Option<String>,
}

impl Sealed for CommandRow {
    const TABLE: &'static str = "command";

    fn load(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            environment: row.get(1)?,
            at: row.get(2)?,
            body: row.get(3)?,
            answer: row.get(4)?,
        })
    }

    fn seal(&self) -> Seal {
        let sealer = Sealer::new(Self::TABLE).number(self.number).text(&self.environment);
        sealer.number(self.at).text(&self.body).optional(self.answer.as_deref()).seal()
    }

    fn subject(&self) -> String {
        format!("command {}", self.number)
    }
}

impl CommandRow {
    pub(super) fn new(
        number: u64,
        environment: &EnvironmentName,
        body: &str,
        at: Timestamp,
    ) -> Self {
        let (environment, body) = (environment.to_string(), body.to_owned());
        Self { number, environment, at: at.as_millis(), body, answer: None }
    }

    pub(super) fn find(
        connection: &Connection,
        id: CommandId,
    ) -> Result<Option<Self>, JournalError> {
        let number = i64::try_from(id.0).ok();
        let found: Vec<Self> = select(connection, "WHERE number = ?1", [number])?;
        Ok(found.into_iter().next())
    }

    /// Returns the commands of all environments that wait for an answer, oldest first.
    pub(super) fn unanswered(connection: &Connection) -> Result<Vec<Self>, JournalError> {
        select(connection, "WHERE answer IS NULL ORDER BY number", [])
    }

    pub(super) fn inbox(self) -> Inbox {
        let at = Timestamp::from_millis(self.at);
        Inbox { id: CommandId(self.number), at, body: self.body }
    }

    pub(super) fn store(&self, connection: &Connection) -> Result<(), JournalError> {
        let sql = "INSERT INTO command VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
            ON CONFLICT DO UPDATE SET answer = ?5, seal = ?6";
        let Self { number, environment, at, body, answer } = self;
        execute(connection, sql, params![number, environment, at, body, answer, self.seal()])
    }
}

/// Returns a scope as the journal and its lock files name it.
pub(super) fn scope_name(scope: &Scope) -> String {
    match scope {
        Scope::Run(run) => format!("run-{run}"),
        Scope::Environment(environment) => format!("environment-{environment}"),
    }
}
