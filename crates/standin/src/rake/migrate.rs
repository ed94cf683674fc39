//! `db:migrate`: what is pending, in order, each in its own transaction, under Rails' session-level advisory lock.
//!
//! The lock is taken without waiting, as Rails does: a second migration fails at once. It ends with the session, so a
//! killed process frees it, but only when PostgreSQL notices. Nothing is rolled back that has been committed.

use std::collections::BTreeSet;

use anyhow::{Context as _, anyhow, bail};
use tokio::time::Instant;
use tokio_postgres::Client;

use super::migration::Migration;
use super::print_line;

/// Rails' `MIGRATOR_SALT`: the lock's key is this times the CRC-32 of the database's name.
const MIGRATOR_SALT: i64 = 2_053_462_845;

/// `migration_log` is the lab's own: one row for every time that a migration really ran.
const BOOKKEEPING: &str = "
    CREATE TABLE IF NOT EXISTS schema_migrations (version varchar PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS migration_log (id varchar NOT NULL, version varchar NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp());";

/// Runs everything that is pending.
pub(super) async fn run(
    mut client: Client,
    migrations: &[Migration],
    version: &str,
) -> anyhow::Result<()> {
    let key = lock_key(&client).await?;
    let locked = client.query_one("SELECT pg_try_advisory_lock($1)", &[&key]).await?;
    if !locked.try_get::<_, bool>(0)? {
        bail!(
            "ActiveRecord::ConcurrentMigrationError:\n\nCannot run migrations because another \
             migration process is currently running."
        );
    }
    client.batch_execute("SET client_min_messages = warning").await?;
    client.batch_execute(BOOKKEEPING).await?;
    let applied = read_applied(&client).await?;
    for migration in migrations.iter().filter(|migration| !applied.contains(&migration.id)) {
        run_one(&mut client, migration, version).await?;
    }
    client.query_one("SELECT pg_advisory_unlock($1)", &[&key]).await?;
    Ok(())
}

/// The ids in `schema_migrations`.
pub(super) async fn read_applied(client: &Client) -> anyhow::Result<BTreeSet<String>> {
    let rows = client.query("SELECT version FROM schema_migrations", &[]).await?;
    rows.iter().map(|row| row.try_get(0).context("schema_migrations")).collect()
}

async fn run_one(client: &mut Client, migration: &Migration, version: &str) -> anyhow::Result<()> {
    let heading = format!("== {} {}", migration.id, migration.class_name());
    print_line(&format!("{:=<79}", format!("{heading}: migrating ")))?;
    let from = Instant::now();
    let done = if migration.transactional {
        run_in_transaction(client, migration, version).await
    } else {
        run_bare(client, migration, version).await
    };
    if let Err(error) = done {
        let (this, why) = (if migration.transactional { "this and " } else { "" }, explain(&error));
        return Err(anyhow!(
            "StandardError: An error has occurred, {this}all later migrations canceled:\n\n{why}"
        ));
    }
    let took = from.elapsed().as_secs_f64();
    print_line(&format!("{:=<79}\n", format!("{heading}: migrated ({took:.4}s) ")))
}

async fn run_in_transaction(
    client: &mut Client,
    migration: &Migration,
    version: &str,
) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.execute(LOG, &[&migration.id, &version]).await?;
    for statement in &migration.statements {
        transaction.batch_execute(statement).await?;
    }
    transaction.execute(APPLIED, &[&migration.id]).await?;
    transaction.commit().await
}

/// Without a transaction the log comes first: a run that was cut in the middle did run.
async fn run_bare(
    client: &Client,
    migration: &Migration,
    version: &str,
) -> Result<(), tokio_postgres::Error> {
    client.execute(LOG, &[&migration.id, &version]).await?;
    for statement in &migration.statements {
        client.batch_execute(statement).await?;
    }
    client.execute(APPLIED, &[&migration.id]).await?;
    Ok(())
}

const LOG: &str = "INSERT INTO migration_log (id, version) VALUES ($1, $2)";
const APPLIED: &str = "INSERT INTO schema_migrations (version) VALUES ($1)";

fn explain(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |error| format!("PG::Error: {}:  {}", error.severity(), error.message()),
    )
}

async fn lock_key(client: &Client) -> anyhow::Result<i64> {
    let row = client.query_one("SELECT current_database()::text", &[]).await?;
    let name: String = row.try_get(0)?;
    Ok(MIGRATOR_SALT * i64::from(crc32(name.as_bytes())))
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let low = crc & 1;
            (crc >> 1) ^ (0xEDB8_8320 * low)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn crc32_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
