//! How rows are kept in SQLite's tables.

use super::failed;
use crate::port::{CommandId, JournalError, Record};
use crate::rows::{
    ClaimRow, CommandRow, Contents, EnvironmentRow, LeaseRow, RunRow, Sealed, Stream, TrailRow,
};
use crate::seal::Seal;
use rusqlite::{Connection, Params, Row, params};
use serin_model::{EnvironmentName, RunId, Timestamp};

/// A row of a table whose last column is its seal.
trait Table: Sealed {
    /// Reads the other columns, in the order of the schema.
    fn load(row: &Row<'_>) -> rusqlite::Result<Self>;
}

/// A stream, and the table of its records.
trait Records: Stream {
    /// Reads the records from a number on: number, time, body, seal.
    const SELECT: &'static str;

    /// Adds a record: stream, number, time, body, seal.
    const INSERT: &'static str;

    /// Returns the stream's key.
    fn key(&self) -> &dyn rusqlite::ToSql;
}

fn select<R: Table>(
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
        rows.push(row.checked(&seal)?);
    }
    Ok(rows)
}

fn execute(connection: &Connection, sql: &str, params: impl Params) -> Result<(), JournalError> {
    let run = || connection.prepare_cached(sql)?.execute(params);
    run().map(drop).map_err(failed("write to the journal"))
}

/// Stores one more record. The row itself must be stored after the last one.
fn push<S: Records>(
    stream: &mut S,
    connection: &Connection,
    body: &str,
    at: Timestamp,
) -> Result<(), JournalError> {
    let (record, seal) = stream.next(body, at);
    let at = at.as_millis();
    execute(connection, S::INSERT, params![stream.key(), record.seq, at, record.body, seal])
}

/// Returns the records after a number, each checked against the one before it.
fn records<S: Records>(
    stream: &S,
    connection: &Connection,
    after: u64,
) -> Result<Vec<Record>, JournalError> {
    let what = format!("read the records of {}", stream.subject());
    let mut select = connection.prepare_cached(S::SELECT).map_err(failed(&what))?;
    let load = |row: &Row<'_>| {
        let at = Timestamp::from_millis(row.get(1)?);
        Ok((Record { seq: row.get(0)?, at, body: row.get(2)? }, row.get(3)?))
    };
    let stored = select.query_map(params![stream.key(), stream.begins(after)], load);
    let stored = stored.map_err(failed(&what))?;
    stream.proven(after, stored.map(|stored| stored.map_err(failed(&what))))
}

/// Returns every row but the records, which are checked when they are read.
///
/// A row whose key is damaged would not be found, and would look as if it had never been there: a lease would begin at
/// number 1 again. So all of them are looked at once, when the journal is opened.
pub(super) fn contents(connection: &Connection) -> Result<Contents, JournalError> {
    Ok(Contents {
        runs: RunRow::all(connection)?,
        environments: EnvironmentRow::all(connection)?,
        trails: TrailRow::all(connection)?,
        leases: LeaseRow::all(connection)?,
        claims: ClaimRow::all(connection)?,
        commands: CommandRow::all(connection)?,
    })
}

/// Returns the number of the next row of a table that is numbered from 1.
pub(super) fn next_number(connection: &Connection, table: &str) -> Result<u64, JournalError> {
    let sql = format!("SELECT coalesce(max(number), 0) + 1 FROM {table}");
    connection.query_row(&sql, [], |row| row.get(0)).map_err(failed("number a row"))
}

impl Table for RunRow {
    fn load(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { number: row.get(0)?, created: row.get(1)?, last: row.get(2)?, head: row.get(3)? })
    }
}

impl Records for RunRow {
    const SELECT: &'static str =
        "SELECT seq, at, body, seal FROM record WHERE run = ?1 AND seq >= ?2 ORDER BY seq";
    const INSERT: &'static str = "INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5)";

    fn key(&self) -> &dyn rusqlite::ToSql {
        &self.number
    }
}

impl RunRow {
    pub(super) fn find(connection: &Connection, id: &RunId) -> Result<Self, JournalError> {
        let number = Self::number_of(id)?;
        let found: Vec<Self> = select(connection, "WHERE number = ?1", [number])?;
        if let Some(run) = found.into_iter().next() {
            return Ok(run);
        }
        if (1..next_number(connection, Self::TABLE)?).contains(&number) {
            return Err(Self::missing(number));
        }
        Err(JournalError::NoSuchRun(id.clone()))
    }

    /// Returns all runs, oldest first.
    pub(super) fn all(connection: &Connection) -> Result<Vec<Self>, JournalError> {
        Self::complete(select(connection, "ORDER BY number", [])?)
    }

    /// Stores the row itself; its records are stored by `push`.
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
        push(self, connection, body, at)
    }

    /// Returns the records after a number, each checked against the one before it.
    pub(super) fn records(
        &self,
        connection: &Connection,
        after: u64,
    ) -> Result<Vec<Record>, JournalError> {
        records(self, connection, after)
    }
}

impl Table for EnvironmentRow {
    fn load(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { name: row.get(0)?, last: row.get(1)?, head: row.get(2)? })
    }
}

impl Records for EnvironmentRow {
    const SELECT: &'static str = "SELECT seq, at, body, seal FROM environment_record \
        WHERE environment = ?1 AND seq >= ?2 ORDER BY seq";
    const INSERT: &'static str = "INSERT INTO environment_record VALUES (?1, ?2, ?3, ?4, ?5)";

    fn key(&self) -> &dyn rusqlite::ToSql {
        &self.name
    }
}

impl EnvironmentRow {
    /// Returns an environment's stream; one of which nothing was ever recorded is empty.
    pub(super) fn find(
        connection: &Connection,
        environment: &EnvironmentName,
    ) -> Result<Self, JournalError> {
        let found: Vec<Self> = select(connection, "WHERE name = ?1", [environment.as_str()])?;
        Ok(found.into_iter().next().unwrap_or_else(|| Self::empty(environment)))
    }

    /// Returns the rows of all environments. Their records are checked when they are read.
    pub(super) fn all(connection: &Connection) -> Result<Vec<Self>, JournalError> {
        select(connection, "ORDER BY name", [])
    }

    /// Stores the row itself; its records are stored by [`EnvironmentRow::push`].
    pub(super) fn store(&self, connection: &Connection) -> Result<(), JournalError> {
        let sql = "INSERT INTO environment VALUES (?1, ?2, ?3, ?4) \
            ON CONFLICT DO UPDATE SET last = ?2, head = ?3, seal = ?4";
        let Self { name, last, head } = self;
        execute(connection, sql, params![name, last, head, self.seal()])
    }

    /// Stores one more record. The row itself must be stored before the first and after the last one.
    pub(super) fn push(
        &mut self,
        connection: &Connection,
        body: &str,
        at: Timestamp,
    ) -> Result<(), JournalError> {
        push(self, connection, body, at)
    }

    /// Returns the records after a number, each checked against the one before it.
    pub(super) fn records(
        &self,
        connection: &Connection,
        after: u64,
    ) -> Result<Vec<Record>, JournalError> {
        records(self, connection, after)
    }
}

impl Table for TrailRow {
    fn load(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { name: row.get(0)?, last: row.get(1)?, head: row.get(2)? })
    }
}

impl Records for TrailRow {
    const SELECT: &'static str =
        "SELECT seq, at, body, seal FROM trail_record WHERE trail = ?1 AND seq >= ?2 ORDER BY seq";
    const INSERT: &'static str = "INSERT INTO trail_record VALUES (?1, ?2, ?3, ?4, ?5)";

    fn key(&self) -> &dyn rusqlite::ToSql {
        &self.name
    }
}

impl TrailRow {
    /// Returns the audit trail.
    pub(super) fn find(connection: &Connection) -> Result<Self, JournalError> {
        let found: Vec<Self> = select(connection, "WHERE name = ?1", [Self::AUDIT])?;
        Ok(found.into_iter().next().unwrap_or_else(Self::empty))
    }

    pub(super) fn all(connection: &Connection) -> Result<Vec<Self>, JournalError> {
        select(connection, "ORDER BY name", [])
    }

    pub(super) fn store(&self, connection: &Connection) -> Result<(), JournalError> {
        let sql = "INSERT INTO trail VALUES (?1, ?2, ?3, ?4) \
            ON CONFLICT DO UPDATE SET last = ?2, head = ?3, seal = ?4";
        let Self { name, last, head } = self;
        execute(connection, sql, params![name, last, head, self.seal()])
    }

    /// Stores one more record. The row itself must be stored before the first and after the last one.
    pub(super) fn push(
        &mut self,
        connection: &Connection,
        body: &str,
        at: Timestamp,
    ) -> Result<(), JournalError> {
        push(self, connection, body, at)
    }

    /// Returns the records after a number, each checked against the one before it.
    pub(super) fn records(
        &self,
        connection: &Connection,
        after: u64,
    ) -> Result<Vec<Record>, JournalError> {
        records(self, connection, after)
    }
}

impl Table for LeaseRow {
    fn load(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { scope: row.get(0)?, epoch: row.get(1)?, beat: row.get(2)?, holder: row.get(3)? })
    }
}

impl LeaseRow {
    /// Returns a scope's lease; one that was never taken has number 0.
    pub(super) fn find(connection: &Connection, scope: &str) -> Result<Self, JournalError> {
        let found: Vec<Self> = select(connection, "WHERE scope = ?1", [scope])?;
        Ok(found.into_iter().next().unwrap_or_else(|| Self::never(scope)))
    }

    pub(super) fn all(connection: &Connection) -> Result<Vec<Self>, JournalError> {
        select(connection, "ORDER BY scope", [])
    }

    pub(super) fn store(&self, connection: &Connection) -> Result<(), JournalError> {
        let sql = "INSERT INTO lease VALUES (?1, ?2, ?3, ?4, ?5) \
            ON CONFLICT DO UPDATE SET epoch = ?2, beat = ?3, holder = ?4, seal = ?5";
        let Self { scope, epoch, beat, holder } = self;
        execute(connection, sql, params![scope, epoch, beat, holder, self.seal()])
    }
}

impl Table for ClaimRow {
    fn load(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { environment: row.get(0)?, run: row.get(1)? })
    }
}

impl ClaimRow {
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

    pub(super) fn store(&self, connection: &Connection) -> Result<(), JournalError> {
        let sql = "INSERT INTO claim VALUES (?1, ?2, ?3)";
        execute(connection, sql, params![self.environment, self.run, self.seal()])
    }

    pub(super) fn delete(&self, connection: &Connection) -> Result<(), JournalError> {
        execute(connection, "DELETE FROM claim WHERE environment = ?1", [&self.environment])
    }
}

impl Table for CommandRow {
    fn load(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            environment: row.get(1)?,
            at: row.get(2)?,
            body: row.get(3)?,
            answer: row.get(4)?,
        })
    }
}

impl CommandRow {
    pub(super) fn find(
        connection: &Connection,
        id: CommandId,
    ) -> Result<Option<Self>, JournalError> {
        let number = i64::try_from(id.0).ok();
        let found: Vec<Self> = select(connection, "WHERE number = ?1", [number])?;
        Ok(found.into_iter().next())
    }

    /// Returns all commands, oldest first.
    pub(super) fn all(connection: &Connection) -> Result<Vec<Self>, JournalError> {
        Self::complete(select(connection, "ORDER BY number", [])?)
    }

    /// Returns the commands of all environments that wait for an answer, oldest first.
    pub(super) fn unanswered(connection: &Connection) -> Result<Vec<Self>, JournalError> {
        select(connection, "WHERE answer IS NULL ORDER BY number", [])
    }

    pub(super) fn store(&self, connection: &Connection) -> Result<(), JournalError> {
        let sql = "INSERT INTO command VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
            ON CONFLICT DO UPDATE SET answer = ?5, seal = ?6";
        let Self { number, environment, at, body, answer } = self;
        execute(connection, sql, params![number, environment, at, body, answer, self.seal()])
    }
}
