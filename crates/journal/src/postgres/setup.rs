//! Making the tables, and bringing them to this format.

use super::link::Tx;
use super::trouble::Failed;
use crate::port::JournalError;
use crate::seal::{Seal, meta_seal};

/// What brings the tables from one format to the next: the first makes those of format 1. A change of the schema or of
/// what a checksum covers is one more; one that was ever released never changes.
const MIGRATIONS: [&str; 2] = ["
    CREATE SCHEMA serin;
    CREATE TABLE serin.meta (name text PRIMARY KEY, value text NOT NULL, seal bytea NOT NULL);
    CREATE TABLE serin.run (number bigint PRIMARY KEY, created bigint NOT NULL, last bigint NOT NULL,
        head bytea NOT NULL, seal bytea NOT NULL);
    CREATE TABLE serin.record (run bigint NOT NULL REFERENCES serin.run, seq bigint NOT NULL,
        at bigint NOT NULL, body bytea NOT NULL, seal bytea NOT NULL, PRIMARY KEY (run, seq));
    CREATE TABLE serin.lease (scope text PRIMARY KEY, epoch bigint NOT NULL, beat bigint NOT NULL,
        holder bytea, seal bytea NOT NULL);
    CREATE TABLE serin.claim (environment text PRIMARY KEY, run bigint NOT NULL REFERENCES serin.run,
        seal bytea NOT NULL);
    CREATE TABLE serin.command (number bigint PRIMARY KEY, environment text NOT NULL, at bigint NOT NULL,
        body bytea NOT NULL, answer bytea, seal bytea NOT NULL);
    CREATE INDEX command_waiting ON serin.command (environment, number) WHERE answer IS NULL;
    CREATE TABLE serin.environment (name text PRIMARY KEY, last bigint NOT NULL, head bytea NOT NULL,
        seal bytea NOT NULL);
    CREATE TABLE serin.environment_record (environment text NOT NULL REFERENCES serin.environment,
        seq bigint NOT NULL, at bigint NOT NULL, body bytea NOT NULL, seal bytea NOT NULL,
        PRIMARY KEY (environment, seq));
", "
    CREATE TABLE serin.trail (name text PRIMARY KEY, last bigint NOT NULL, head bytea NOT NULL,
        seal bytea NOT NULL);
    CREATE TABLE serin.trail_record (trail text NOT NULL REFERENCES serin.trail, seq bigint NOT NULL,
        at bigint NOT NULL, body bytea NOT NULL, seal bytea NOT NULL, PRIMARY KEY (trail, seq));
"];

/// The lock that whoever makes or changes the tables holds: any number that nobody else in the database uses.
const LOCK: i64 = 0x5365_7269_6e00_0001;

/// Brings the tables to this format, or makes them, and returns the journal's identity: what tells it from another journal
/// in a database of the same name. The transaction must be committed.
pub(super) async fn prepare(tx: &mut Tx<'_>) -> Result<String, Failed<JournalError>> {
    if found_format(tx).await? < newest() {
        migrate(tx).await?;
    }
    identity(tx).await
}

/// Returns the journal's identity.
pub(super) async fn identity(tx: &mut Tx<'_>) -> Result<String, Failed<JournalError>> {
    meta(tx, "identity").await
}

async fn migrate(tx: &mut Tx<'_>) -> Result<(), Failed<JournalError>> {
    let what = "bring the journal to this format";
    tx.rows(what, "SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    // Another process may have been faster while this one waited for the lock.
    let found = found_format(tx).await?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        tx.batch(what, migration).await?;
    }
    if found == 0 {
        let rows = tx.rows(what, "SELECT gen_random_uuid()::text", &[]).await?;
        let identity: Option<String> = rows.first().and_then(|row| row.try_get(0).ok());
        let identity = identity.unwrap_or_default();
        set_meta(tx, "identity", &identity).await?;
    }
    if found < newest() {
        set_meta(tx, "format", &newest().to_string()).await?;
    }
    Ok(())
}

fn newest() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Returns the format of the tables; 0: there are none yet.
async fn found_format(tx: &mut Tx<'_>) -> Result<u32, Failed<JournalError>> {
    // The catalogue's own table: functions about names answer from a cache that the lock above does not freshen.
    let sql = "SELECT NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'serin')";
    let rows = tx.rows("find the journal", sql, &[]).await?;
    if rows.first().and_then(|row| row.try_get(0).ok()) == Some(true) {
        return Ok(0);
    }
    let format = meta(tx, "format").await?;
    match format.parse() {
        Ok(found) if (1..=newest()).contains(&found) => Ok(found),
        Ok(found) if found > newest() => Err(JournalError::Newer { found, known: newest() }.into()),
        Ok(_) | Err(_) => {
            Err(JournalError::Damaged(format!("there is no format {format:?}")).into())
        }
    }
}

async fn meta(tx: &mut Tx<'_>, name: &str) -> Result<String, Failed<JournalError>> {
    let sql = "SELECT value, seal FROM serin.meta WHERE name = $1";
    let rows = tx.rows("read what the journal is", sql, &[&name]).await?;
    let damaged = |why: &str| JournalError::Damaged(format!("its {name} {why}"));
    let row = rows.first().ok_or_else(|| damaged("is missing"))?;
    let value: String = row.try_get(0).map_err(|error| damaged(&error.to_string()))?;
    let seal: Seal = row.try_get(1).map_err(|error| damaged(&error.to_string()))?;
    if seal != meta_seal(name, &value) {
        return Err(damaged("is not what was written").into());
    }
    Ok(value)
}

async fn set_meta(tx: &mut Tx<'_>, name: &str, value: &str) -> Result<(), Failed<JournalError>> {
    let sql = "INSERT INTO serin.meta (name, value, seal) VALUES ($1, $2, $3) \
        ON CONFLICT (name) DO UPDATE SET value = $2, seal = $3";
    Ok(tx.execute(sql, &[&name, &value, &meta_seal(name, value)]).await?)
}
