//! The streams of environments: chained like the records of runs, under the environment's own name.

use super::super::failed;
use super::super::seal::{Seal, Sealer};
use super::{Chain, Sealed, execute, select};
use crate::port::{JournalError, Record};
use rusqlite::{Connection, Row, params};
use serin_model::{EnvironmentName, Timestamp};

/// The stream of an environment, with the number and seal of its last record.
pub(in super::super) struct EnvironmentRow {
    name: String,
    pub(in super::super) last: u64,
    head: Seal,
}

impl Sealed for EnvironmentRow {
    const TABLE: &'static str = "environment";

    fn load(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { name: row.get(0)?, last: row.get(1)?, head: row.get(2)? })
    }

    fn seal(&self) -> Seal {
        Sealer::new(Self::TABLE).text(&self.name).number(self.last).bytes(&self.head).seal()
    }

    fn subject(&self) -> String {
        format!("the stream of {}", self.name)
    }
}

impl EnvironmentRow {
    /// Returns an environment's stream; one of which nothing was ever recorded is empty.
    pub(in super::super) fn find(
        connection: &Connection,
        environment: &EnvironmentName,
    ) -> Result<Self, JournalError> {
        let name = environment.as_str();
        let found: Vec<Self> = select(connection, "WHERE name = ?1", [name])?;
        let never = Self { name: name.to_owned(), last: 0, head: Seal::new() };
        Ok(found.into_iter().next().unwrap_or(never))
    }

    /// Checks the rows of all environments. Their records are checked when they are read.
    pub(super) fn check(connection: &Connection) -> Result<(), JournalError> {
        select::<Self>(connection, "", []).map(drop)
    }

    /// Stores the row itself; its records are stored by [`EnvironmentRow::push`].
    pub(in super::super) fn store(&self, connection: &Connection) -> Result<(), JournalError> {
        let sql = "INSERT INTO environment VALUES (?1, ?2, ?3, ?4) \
            ON CONFLICT DO UPDATE SET last = ?2, head = ?3, seal = ?4";
        let Self { name, last, head } = self;
        execute(connection, sql, params![name, last, head, self.seal()])
    }

    /// Stores one more record. The row itself must be stored before the first and after the last one.
    pub(in super::super) fn push(
        &mut self,
        connection: &Connection,
        body: &str,
        at: Timestamp,
    ) -> Result<(), JournalError> {
        let record = Record { seq: self.last + 1, at, body: body.to_owned() };
        let seal = self.record_seal(&self.head, &record);
        let sql = "INSERT INTO environment_record VALUES (?1, ?2, ?3, ?4, ?5)";
        let at = at.as_millis();
        execute(connection, sql, params![self.name, record.seq, at, record.body, seal])?;
        self.last = record.seq;
        self.head = seal;
        Ok(())
    }

    /// Returns the records after a number, each checked against the one before it.
    pub(in super::super) fn records(
        &self,
        connection: &Connection,
        after: u64,
    ) -> Result<Vec<Record>, JournalError> {
        let what = format!("read {}", self.subject());
        let chain = Chain { last: self.last, head: &self.head, after };
        let sql = "SELECT seq, at, body, seal FROM environment_record \
            WHERE environment = ?1 AND seq >= ?2 ORDER BY seq";
        let mut select = connection.prepare_cached(sql).map_err(failed(&what))?;
        let mut rows = select.query(params![self.name, chain.begins()]).map_err(failed(&what))?;
        let seal = |before: &Seal, record: &Record| self.record_seal(before, record);
        chain.read(&mut rows, seal).map_err(failed(&what))?.map_err(|seq| self.damaged(seq))
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
