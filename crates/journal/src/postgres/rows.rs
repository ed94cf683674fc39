//! How rows are kept in PostgreSQL's tables.
//!
//! Texts that people or programs write are `bytea`: PostgreSQL's `text` cannot hold every text. A condition that ends in
//! `FOR …` locks what it finds, and then shows it as it is once everybody else's transaction on it is over.

use super::link::Tx;
use super::trouble::{Failed, Trouble};
use crate::failed::storage;
use crate::port::{JournalError, Record};
use crate::rows::{
    ClaimRow, CommandRow, EnvironmentRow, LeaseRow, RunRow, Sealed, Stream, TrailRow,
};
use crate::seal::Seal;
use serin_model::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};

/// A row of a table whose last column is its seal.
pub(super) trait Table: Sealed {
    /// Reads the other columns, in the order of the statements below.
    fn load(columns: &Columns<'_>) -> Result<Self, JournalError>;
}

/// A stream, and the table of its records.
pub(super) trait Records: Stream {
    /// Reads the records of a stream from a number on.
    const SELECT: &'static str;

    /// Adds records to a stream: its key, and a list for each column.
    const INSERT: &'static str;

    /// Returns the stream's key.
    fn key(&self) -> Result<Box<dyn ToSql + Sync + Send>, JournalError>;
}

/// Reads rows, and lets them pass if they are what was stored.
pub(super) fn checked<R: Table>(rows: &[Row]) -> Result<Vec<R>, JournalError> {
    let check = |row: &Row| {
        let columns = Columns(row);
        R::load(&columns)?.checked(&columns.bytes("seal")?)
    };
    rows.iter().map(check).collect()
}

/// The columns of a row.
pub(super) struct Columns<'r>(&'r Row);

impl<'r> Columns<'r> {
    fn get<T: FromSql<'r>>(&self, name: &str) -> Result<T, JournalError> {
        let damaged = |error| JournalError::Damaged(format!("the column {name}: {error}"));
        self.0.try_get(name).map_err(damaged)
    }

    fn number(&self, name: &str) -> Result<u64, JournalError> {
        let damaged = |_| JournalError::Damaged(format!("the column {name} is below zero"));
        u64::try_from(self.get::<i64>(name)?).map_err(damaged)
    }

    fn bytes(&self, name: &str) -> Result<Seal, JournalError> {
        self.get(name)
    }

    fn text(&self, name: &str) -> Result<String, JournalError> {
        text(name, self.get(name)?)
    }

    fn optional_text(&self, name: &str) -> Result<Option<String>, JournalError> {
        self.get::<Option<&[u8]>>(name)?.map(|bytes| text(name, bytes)).transpose()
    }
}

fn text(name: &str, bytes: &[u8]) -> Result<String, JournalError> {
    let damaged = |error| JournalError::Damaged(format!("the column {name}: {error}"));
    std::str::from_utf8(bytes).map(str::to_owned).map_err(damaged)
}

/// Returns a number as PostgreSQL stores it.
pub(super) fn stored(number: u64) -> Result<i64, JournalError> {
    i64::try_from(number).map_err(|error| storage("store a number", error))
}

/// Adds records to a stream, all in one statement. The row itself must be stored after it.
pub(super) async fn push<S: Records>(
    stream: &mut S,
    tx: &mut Tx<'_>,
    bodies: &[String],
    at: Timestamp,
) -> Result<(), Failed<JournalError>> {
    let records: Vec<(Record, Seal)> = bodies.iter().map(|body| stream.next(body, at)).collect();
    insert(stream, tx, &records).await
}

/// Stores records as they are.
pub(super) async fn insert<S: Records>(
    stream: &S,
    tx: &mut Tx<'_>,
    records: &[(Record, Seal)],
) -> Result<(), Failed<JournalError>> {
    let (mut numbers, mut times, mut bodies, mut seals) = (vec![], vec![], vec![], vec![]);
    for (record, seal) in records {
        numbers.push(stored(record.seq)?);
        times.push(stored(record.at.as_millis())?);
        bodies.push(record.body.as_bytes());
        seals.push(seal.as_slice());
    }
    let key = stream.key()?;
    tx.execute(S::INSERT, &[&*key, &numbers, &times, &bodies, &seals]).await?;
    Ok(())
}

/// Returns the records of a stream after a number, each checked against the one before it.
pub(super) async fn records<S: Records>(
    stream: &S,
    tx: &mut Tx<'_>,
    after: u64,
) -> Result<Vec<Record>, Failed<JournalError>> {
    let key = stream.key()?;
    let from = stored(stream.begins(after))?;
    let rows = tx.rows("read records", S::SELECT, &[&*key, &from]).await?;
    let load = |row: &Row| {
        let columns = Columns(row);
        let at = Timestamp::from_millis(columns.number("at")?);
        let record = Record { seq: columns.number("seq")?, at, body: columns.text("body")? };
        Ok::<_, JournalError>((record, columns.bytes("seal")?))
    };
    Ok(stream.proven(after, rows.iter().map(load))?)
}

impl Table for RunRow {
    fn load(columns: &Columns<'_>) -> Result<Self, JournalError> {
        Ok(Self {
            number: columns.number("number")?,
            created: columns.number("created")?,
            last: columns.number("last")?,
            head: columns.bytes("head")?,
        })
    }
}

impl Records for RunRow {
    const SELECT: &'static str =
        "SELECT seq, at, body, seal FROM serin.record WHERE run = $1 AND seq >= $2 ORDER BY seq";
    const INSERT: &'static str = "INSERT INTO serin.record (run, seq, at, body, seal) \
        SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[])";

    fn key(&self) -> Result<Box<dyn ToSql + Sync + Send>, JournalError> {
        Ok(Box::new(stored(self.number)?))
    }
}

impl Table for EnvironmentRow {
    fn load(columns: &Columns<'_>) -> Result<Self, JournalError> {
        Ok(Self {
            name: columns.get("name")?,
            last: columns.number("last")?,
            head: columns.bytes("head")?,
        })
    }
}

impl Records for EnvironmentRow {
    const SELECT: &'static str = "SELECT seq, at, body, seal FROM serin.environment_record \
        WHERE environment = $1 AND seq >= $2 ORDER BY seq";
    const INSERT: &'static str = "INSERT INTO serin.environment_record (environment, seq, at, body, seal) \
        SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[])";

    fn key(&self) -> Result<Box<dyn ToSql + Sync + Send>, JournalError> {
        Ok(Box::new(self.name.clone()))
    }
}

impl Table for TrailRow {
    fn load(columns: &Columns<'_>) -> Result<Self, JournalError> {
        Ok(Self {
            name: columns.get("name")?,
            last: columns.number("last")?,
            head: columns.bytes("head")?,
        })
    }
}

impl Records for TrailRow {
    const SELECT: &'static str = "SELECT seq, at, body, seal FROM serin.trail_record \
        WHERE trail = $1 AND seq >= $2 ORDER BY seq";
    const INSERT: &'static str = "INSERT INTO serin.trail_record (trail, seq, at, body, seal) \
        SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[])";

    fn key(&self) -> Result<Box<dyn ToSql + Sync + Send>, JournalError> {
        Ok(Box::new(self.name.clone()))
    }
}

impl Table for LeaseRow {
    fn load(columns: &Columns<'_>) -> Result<Self, JournalError> {
        Ok(Self {
            scope: columns.get("scope")?,
            epoch: columns.number("epoch")?,
            beat: columns.number("beat")?,
            holder: columns.optional_text("holder")?,
        })
    }
}

impl Table for ClaimRow {
    fn load(columns: &Columns<'_>) -> Result<Self, JournalError> {
        Ok(Self { environment: columns.get("environment")?, run: columns.number("run")? })
    }
}

impl Table for CommandRow {
    fn load(columns: &Columns<'_>) -> Result<Self, JournalError> {
        Ok(Self {
            number: columns.number("number")?,
            environment: columns.get("environment")?,
            at: columns.number("at")?,
            body: columns.text("body")?,
            answer: columns.optional_text("answer")?,
        })
    }
}

/// Stores a run's row, new or changed.
pub(super) async fn store_run(tx: &mut Tx<'_>, run: &RunRow) -> Result<(), Failed<JournalError>> {
    let sql = "INSERT INTO serin.run (number, created, last, head, seal) \
        VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (number) DO UPDATE SET last = $3, head = $4, seal = $5";
    let (number, created) = (stored(run.number)?, stored(run.created)?);
    let (last, seal) = (stored(run.last)?, run.seal());
    tx.execute(sql, &[&number, &created, &last, &run.head, &seal]).await?;
    Ok(())
}

/// Stores an environment's row, new or changed.
pub(super) async fn store_environment(
    tx: &mut Tx<'_>,
    row: &EnvironmentRow,
) -> Result<(), Failed<JournalError>> {
    let sql = "INSERT INTO serin.environment (name, last, head, seal) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (name) DO UPDATE SET last = $2, head = $3, seal = $4";
    let (last, seal) = (stored(row.last)?, row.seal());
    tx.execute(sql, &[&row.name, &last, &row.head, &seal]).await?;
    Ok(())
}

/// Stores a trail that was never stored before. Of two at once, one fails and is tried again.
pub(super) async fn insert_trail(
    tx: &mut Tx<'_>,
    row: &TrailRow,
) -> Result<(), Failed<JournalError>> {
    let sql = "INSERT INTO serin.trail (name, last, head, seal) VALUES ($1, $2, $3, $4)";
    write_trail(tx, sql, row).await
}

/// Stores a trail whose row is locked.
pub(super) async fn update_trail(
    tx: &mut Tx<'_>,
    row: &TrailRow,
) -> Result<(), Failed<JournalError>> {
    let sql = "UPDATE serin.trail SET last = $2, head = $3, seal = $4 WHERE name = $1";
    write_trail(tx, sql, row).await
}

async fn write_trail(
    tx: &mut Tx<'_>,
    sql: &'static str,
    row: &TrailRow,
) -> Result<(), Failed<JournalError>> {
    let (last, seal) = (stored(row.last)?, row.seal());
    tx.execute(sql, &[&row.name, &last, &row.head, &seal]).await?;
    Ok(())
}

/// Stores a lease that was never stored before. Of two at once, one fails and is tried again.
pub(super) async fn insert_lease(
    tx: &mut Tx<'_>,
    row: &LeaseRow,
) -> Result<(), Failed<JournalError>> {
    let sql = "INSERT INTO serin.lease (scope, epoch, beat, holder, seal) \
        VALUES ($1, $2, $3, $4, $5)";
    write_lease(tx, sql, row).await
}

/// Stores a lease whose row is locked.
pub(super) async fn update_lease(
    tx: &mut Tx<'_>,
    row: &LeaseRow,
) -> Result<(), Failed<JournalError>> {
    let sql = "UPDATE serin.lease SET epoch = $2, beat = $3, holder = $4, seal = $5 \
        WHERE scope = $1";
    write_lease(tx, sql, row).await
}

async fn write_lease(
    tx: &mut Tx<'_>,
    sql: &'static str,
    row: &LeaseRow,
) -> Result<(), Failed<JournalError>> {
    let (epoch, beat, seal) = (stored(row.epoch)?, stored(row.beat)?, row.seal());
    let holder = row.holder.as_deref().map(str::as_bytes);
    tx.execute(sql, &[&row.scope, &epoch, &beat, &holder, &seal]).await?;
    Ok(())
}

/// Stores a claim. Of two at once on one environment, one fails and is tried again.
pub(super) async fn insert_claim(
    tx: &mut Tx<'_>,
    row: &ClaimRow,
) -> Result<(), Failed<JournalError>> {
    let sql = "INSERT INTO serin.claim (environment, run, seal) VALUES ($1, $2, $3)";
    let (run, seal) = (stored(row.run)?, row.seal());
    tx.execute(sql, &[&row.environment, &run, &seal]).await?;
    Ok(())
}

/// Removes a claim.
pub(super) async fn delete_claim(tx: &mut Tx<'_>, row: &ClaimRow) -> Result<(), Trouble> {
    tx.execute("DELETE FROM serin.claim WHERE environment = $1", &[&row.environment]).await
}

/// Stores a new command.
pub(super) async fn insert_command(
    tx: &mut Tx<'_>,
    row: &CommandRow,
) -> Result<(), Failed<JournalError>> {
    let sql = "INSERT INTO serin.command (number, environment, at, body, answer, seal) \
        VALUES ($1, $2, $3, $4, $5, $6)";
    let (number, at, seal) = (stored(row.number)?, stored(row.at)?, row.seal());
    let answer = row.answer.as_deref().map(str::as_bytes);
    let body = row.body.as_bytes();
    tx.execute(sql, &[&number, &row.environment, &at, &body, &answer, &seal]).await?;
    Ok(())
}

/// Stores the answer of a command whose row is locked.
pub(super) async fn update_command(
    tx: &mut Tx<'_>,
    row: &CommandRow,
) -> Result<(), Failed<JournalError>> {
    let sql = "UPDATE serin.command SET answer = $2, seal = $3 WHERE number = $1";
    let (number, seal) = (stored(row.number)?, row.seal());
    let answer = row.answer.as_deref().map(str::as_bytes);
    tx.execute(sql, &[&number, &answer, &seal]).await?;
    Ok(())
}
