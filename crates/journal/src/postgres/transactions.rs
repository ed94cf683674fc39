//! What is done inside one transaction.
//!
//! The order of locks is the same everywhere: leases by name, then a run or a stream, then claims or commands. Every
//! decision is made from rows that this transaction has locked, so it still holds when the transaction commits: whoever
//! takes a lease waits for the appends under the lease before it, and every append after that finds its number gone.

use super::link::Tx;
use super::rows::{self, checked, push, stored};
use super::trouble::Failed;
use crate::port::{
    Append, AppendError, ClaimChange, CommandId, EnvironmentAppend, JournalError, Lease, Record,
    TrailAppend,
};
use crate::rows::{
    ClaimRow, CommandRow, Contents, EnvironmentRow, LeaseRow, RunRow, TrailRow, scope_name,
};
use serin_model::{EnvironmentName, RunId, Timestamp};

type Done<T> = Result<T, Failed<JournalError>>;

/// Makes a run with its first record.
pub(super) async fn create_run(tx: &mut Tx<'_>, first: &str, now: Timestamp) -> Done<RunRow> {
    let sql = "SELECT coalesce(max(number), 0) + 1 AS next FROM serin.run";
    let mut run = RunRow::new(next_number(tx, sql).await?, now);
    // Its row first, to which its records refer.
    rows::store_run(tx, &run).await?;
    push(&mut run, tx, &[first.to_owned()], now).await?;
    rows::store_run(tx, &run).await?;
    Ok(run)
}

/// Returns all runs, oldest first.
pub(super) async fn runs(tx: &mut Tx<'_>) -> Done<Vec<RunRow>> {
    let sql = "SELECT number, created, last, head, seal FROM serin.run ORDER BY number";
    Ok(RunRow::complete(checked(&tx.rows("read the runs", sql, &[]).await?)?)?)
}

/// Returns the records of a run after a number.
pub(super) async fn read(tx: &mut Tx<'_>, id: &RunId, after: u64) -> Done<Vec<Record>> {
    let sql = "SELECT number, created, last, head, seal FROM serin.run WHERE number = $1";
    let run = find_run(tx, sql, id).await?;
    rows::records(&run, tx, after).await
}

/// Appends records to a run.
pub(super) async fn append(
    tx: &mut Tx<'_>,
    append: &Append<'_>,
) -> Result<u64, Failed<AppendError>> {
    check_leases(tx, append.leases).await?;
    let mut run = lock_run(tx, append.run).await.map_err(widen)?;
    if run.last != append.expected {
        let (expected, found) = (append.expected, run.last);
        return Err(AppendError::Conflict { expected, found }.into());
    }
    for change in append.claims {
        change_claim(tx, &run, change).await?;
    }
    push(&mut run, tx, append.records, append.at).await.map_err(widen)?;
    rows::store_run(tx, &run).await.map_err(widen)?;
    Ok(run.last)
}

/// Tells whether an append whose outcome is unknown was written. The lock waits until it is certainly over.
pub(super) async fn was_appended(tx: &mut Tx<'_>, append: &Append<'_>) -> Done<bool> {
    let run = lock_run(tx, append.run).await?;
    // Without records it only changes claims, which may be done twice.
    if run.last < append.expected || append.records.is_empty() {
        return Ok(false);
    }
    let after = rows::records(&run, tx, append.expected).await?;
    Ok(are(&after, append.records, append.at))
}

/// Appends records to an environment's stream.
pub(super) async fn append_environment(
    tx: &mut Tx<'_>,
    append: &EnvironmentAppend<'_>,
) -> Result<u64, Failed<AppendError>> {
    check_leases(tx, &[append.lease()]).await?;
    let mut stream = lock_environment(tx, append.environment).await.map_err(widen)?;
    if stream.last != append.expected {
        let (expected, found) = (append.expected, stream.last);
        return Err(AppendError::Conflict { expected, found }.into());
    }
    // Its row first, to which its records refer.
    if stream.last == 0 {
        rows::store_environment(tx, &stream).await.map_err(widen)?;
    }
    push(&mut stream, tx, append.records, append.at).await.map_err(widen)?;
    rows::store_environment(tx, &stream).await.map_err(widen)?;
    Ok(stream.last)
}

/// Tells whether an append whose outcome is unknown was written. Its lease, whose number is its own, is locked, and so it
/// is certainly over.
pub(super) async fn environment_was_appended(
    tx: &mut Tx<'_>,
    append: &EnvironmentAppend<'_>,
) -> Done<bool> {
    lock_lease(tx, &scope_name(&append.lease().scope)).await?;
    let stream = lock_environment(tx, append.environment).await?;
    if stream.last < append.expected {
        return Ok(false);
    }
    let after = rows::records(&stream, tx, append.expected).await?;
    Ok(are(&after, append.records, append.at))
}

/// Returns the records of an environment after a number.
pub(super) async fn read_environment(
    tx: &mut Tx<'_>,
    environment: &EnvironmentName,
    after: u64,
) -> Done<Vec<Record>> {
    let sql = "SELECT name, last, head, seal FROM serin.environment WHERE name = $1";
    let stream = find_environment(tx, sql, environment).await?;
    rows::records(&stream, tx, after).await
}

/// Appends a record to the audit trail.
pub(super) async fn append_trail(
    tx: &mut Tx<'_>,
    append: &TrailAppend<'_>,
) -> Result<u64, Failed<AppendError>> {
    let mut trail = lock_trail(tx).await.map_err(widen)?;
    trail.expect(append.expected)?;
    // Its row first, to which its records refer.
    if trail.last == 0 {
        rows::insert_trail(tx, &trail).await.map_err(widen)?;
    }
    push(&mut trail, tx, &[append.body.to_owned()], append.at).await.map_err(widen)?;
    rows::update_trail(tx, &trail).await.map_err(widen)?;
    Ok(trail.last)
}

/// Tells whether a record whose outcome is unknown was written. Others may have written after it: its text, which names
/// its process, says whose it is.
pub(super) async fn trail_was_appended(tx: &mut Tx<'_>, append: &TrailAppend<'_>) -> Done<bool> {
    let trail = lock_trail(tx).await?;
    if trail.last <= append.expected {
        return Ok(false);
    }
    let after = rows::records(&trail, tx, append.expected).await?;
    Ok(after.first().is_some_and(|found| found.body == append.body && found.at == append.at))
}

/// Returns the records of the audit trail after a number.
pub(super) async fn read_trail(tx: &mut Tx<'_>, after: u64) -> Done<Vec<Record>> {
    let trail = find_trail(tx, TRAIL).await?;
    rows::records(&trail, tx, after).await
}

/// Returns the last record of the audit trail.
pub(super) async fn end_of_trail(tx: &mut Tx<'_>) -> Done<Option<Record>> {
    let trail = find_trail(tx, TRAIL).await?;
    Ok(rows::records(&trail, tx, trail.last.saturating_sub(1)).await?.pop())
}

/// Returns a lease's row, which nobody else can change before this transaction ends; none if it was never taken.
pub(super) async fn lock_lease(tx: &mut Tx<'_>, scope: &str) -> Done<Option<LeaseRow>> {
    let sql = "SELECT scope, epoch, beat, holder, seal FROM serin.lease WHERE scope = $1 \
        FOR NO KEY UPDATE";
    let found = checked(&tx.rows("read a lease", sql, &[&scope]).await?)?;
    Ok(found.into_iter().next())
}

/// Returns a lease's row as it is now.
pub(super) async fn find_lease(tx: &mut Tx<'_>, scope: &str) -> Done<Option<LeaseRow>> {
    let sql = "SELECT scope, epoch, beat, holder, seal FROM serin.lease WHERE scope = $1";
    let found = checked(&tx.rows("read a lease", sql, &[&scope]).await?)?;
    Ok(found.into_iter().next())
}

/// Counts one more beat.
pub(super) async fn beat(tx: &mut Tx<'_>, lease: &Lease) -> Result<(), Failed<AppendError>> {
    let name = scope_name(&lease.scope);
    let row = lock_lease(tx, &name).await.map_err(widen)?;
    let mut row = current(row, lease)?;
    row.beat += 1;
    rows::update_lease(tx, &row).await.map_err(widen)
}

/// Gives a lease back, if it is still the current one.
pub(super) async fn release_lease(tx: &mut Tx<'_>, lease: &Lease) -> Done<()> {
    let row = lock_lease(tx, &scope_name(&lease.scope)).await?;
    if let Some(mut row) = row.filter(|row| row.epoch == lease.epoch && row.is_held()) {
        row.set_holder(None)?;
        rows::update_lease(tx, &row).await?;
    }
    Ok(())
}

/// Returns all claims.
pub(super) async fn claims(tx: &mut Tx<'_>) -> Done<Vec<ClaimRow>> {
    let sql = "SELECT environment, run, seal FROM serin.claim \
        ORDER BY environment COLLATE \"C\"";
    Ok(checked(&tx.rows("read the claims", sql, &[]).await?)?)
}

/// Puts a command into an inbox, and tells everybody who listens once it is committed.
pub(super) async fn send(
    tx: &mut Tx<'_>,
    environment: &EnvironmentName,
    body: &str,
    now: Timestamp,
) -> Done<CommandId> {
    let sql = "SELECT coalesce(max(number), 0) + 1 AS next FROM serin.command";
    let number = next_number(tx, sql).await?;
    rows::insert_command(tx, &CommandRow::new(number, environment, body, now)).await?;
    tx.execute("SELECT pg_notify('serin', $1)", &[&environment.as_str()]).await?;
    Ok(CommandId(number))
}

/// Returns the commands of an environment that wait for an answer, oldest first.
pub(super) async fn inbox(tx: &mut Tx<'_>, environment: &EnvironmentName) -> Done<Vec<CommandRow>> {
    let sql = "SELECT number, environment, at, body, answer, seal FROM serin.command \
        WHERE environment = $1 AND answer IS NULL ORDER BY number";
    Ok(checked(&tx.rows("read an inbox", sql, &[&environment.as_str()]).await?)?)
}

/// Answers a command.
pub(super) async fn answer(
    tx: &mut Tx<'_>,
    lease: &Lease,
    command: CommandId,
    answer: &str,
) -> Result<(), Failed<AppendError>> {
    check_leases(tx, std::slice::from_ref(lease)).await?;
    let sql = "SELECT number, environment, at, body, answer, seal FROM serin.command \
        WHERE number = $1 FOR NO KEY UPDATE";
    let row = find_command(tx, sql, command).await.map_err(widen)?;
    let mut row = row.ok_or_else(CommandRow::unknown)?;
    if row.set_answer(answer)? {
        rows::update_command(tx, &row).await.map_err(widen)?;
    }
    Ok(())
}

/// Returns the answer to a command, if there is one.
pub(super) async fn answered(tx: &mut Tx<'_>, command: CommandId) -> Done<Option<String>> {
    let sql = "SELECT number, environment, at, body, answer, seal FROM serin.command \
        WHERE number = $1";
    Ok(find_command(tx, sql, command).await?.and_then(|row| row.answer))
}

/// Makes sure that leases are current, and stay so until this transaction ends.
async fn check_leases(tx: &mut Tx<'_>, leases: &[Lease]) -> Result<(), Failed<AppendError>> {
    if leases.is_empty() {
        return Ok(());
    }
    let sql = "SELECT scope, epoch, beat, holder, seal FROM serin.lease WHERE scope = ANY($1) \
        ORDER BY scope FOR SHARE";
    let names: Vec<String> = leases.iter().map(|lease| scope_name(&lease.scope)).collect();
    let found = checked::<LeaseRow>(&tx.rows("read leases", sql, &[&names]).await?)?;
    for (lease, name) in leases.iter().zip(&names) {
        current(found.iter().find(|row| row.scope == *name).cloned(), lease)?;
    }
    Ok(())
}

/// Returns the row of a lease that is current.
fn current(row: Option<LeaseRow>, lease: &Lease) -> Result<LeaseRow, AppendError> {
    let epoch = row.as_ref().map_or(0, |row| row.epoch);
    row.filter(|row| row.epoch == lease.epoch && row.is_held())
        .ok_or_else(|| AppendError::LeaseLost { scope: lease.scope.clone(), current: epoch })
}

async fn lock_run(tx: &mut Tx<'_>, id: &RunId) -> Done<RunRow> {
    let sql = "SELECT number, created, last, head, seal FROM serin.run WHERE number = $1 \
        FOR NO KEY UPDATE";
    find_run(tx, sql, id).await
}

async fn find_run(tx: &mut Tx<'_>, sql: &'static str, id: &RunId) -> Done<RunRow> {
    let number = RunRow::number_of(id)?;
    let found = checked(&tx.rows("read a run", sql, &[&stored(number)?]).await?)?;
    if let Some(run) = found.into_iter().next() {
        return Ok(run);
    }
    let newer = "SELECT number, created, last, head, seal FROM serin.run WHERE number > $1 LIMIT 1";
    let newer: Vec<RunRow> = checked(&tx.rows("read a run", newer, &[&stored(number)?]).await?)?;
    let missing = number > 0 && !newer.is_empty();
    Err(if missing { RunRow::missing(number) } else { JournalError::NoSuchRun(id.clone()) }.into())
}

async fn lock_environment(tx: &mut Tx<'_>, environment: &EnvironmentName) -> Done<EnvironmentRow> {
    let sql = "SELECT name, last, head, seal FROM serin.environment WHERE name = $1 \
        FOR NO KEY UPDATE";
    find_environment(tx, sql, environment).await
}

async fn find_environment(
    tx: &mut Tx<'_>,
    sql: &'static str,
    environment: &EnvironmentName,
) -> Done<EnvironmentRow> {
    let rows = tx.rows("read an environment", sql, &[&environment.as_str()]).await?;
    let found = checked(&rows)?.into_iter().next();
    Ok(found.unwrap_or_else(|| EnvironmentRow::empty(environment)))
}

const TRAIL: &str = "SELECT name, last, head, seal FROM serin.trail WHERE name = $1";

async fn lock_trail(tx: &mut Tx<'_>) -> Done<TrailRow> {
    let sql = "SELECT name, last, head, seal FROM serin.trail WHERE name = $1 FOR NO KEY UPDATE";
    find_trail(tx, sql).await
}

async fn find_trail(tx: &mut Tx<'_>, sql: &'static str) -> Done<TrailRow> {
    let found = checked(&tx.rows("read the audit trail", sql, &[&TrailRow::AUDIT]).await?)?;
    Ok(found.into_iter().next().unwrap_or_else(TrailRow::empty))
}

async fn find_command(
    tx: &mut Tx<'_>,
    sql: &'static str,
    command: CommandId,
) -> Done<Option<CommandRow>> {
    let Ok(number) = i64::try_from(command.0) else { return Ok(None) };
    let found = checked(&tx.rows("read a command", sql, &[&number]).await?)?;
    Ok(found.into_iter().next())
}

async fn change_claim(
    tx: &mut Tx<'_>,
    run: &RunRow,
    change: &ClaimChange,
) -> Result<(), Failed<AppendError>> {
    let (ClaimChange::Take(environment) | ClaimChange::Release(environment)) = change;
    let sql = "SELECT environment, run, seal FROM serin.claim WHERE environment = $1 FOR UPDATE";
    let rows = tx.rows("read a claim", sql, &[&environment.as_str()]).await?;
    let claim = checked::<ClaimRow>(&rows)?.into_iter().next();
    match (change, claim) {
        (ClaimChange::Take(_), None) => {
            rows::insert_claim(tx, &ClaimRow::new(environment, run)).await.map_err(widen)
        }
        (ClaimChange::Take(_), Some(claim)) if claim.run != run.number => {
            let (environment, run) = claim.parsed()?;
            Err(AppendError::Claimed { environment, run }.into())
        }
        (ClaimChange::Release(_), Some(claim)) if claim.run == run.number => {
            Ok(rows::delete_claim(tx, &claim).await?)
        }
        // Its own already, or never its own: nothing to change.
        (ClaimChange::Take(_) | ClaimChange::Release(_), _) => Ok(()),
    }
}

/// Returns everything but the records of streams.
pub(super) async fn contents(tx: &mut Tx<'_>) -> Done<Contents> {
    let what = "read the journal";
    let environments = "SELECT name, last, head, seal FROM serin.environment \
        ORDER BY name COLLATE \"C\"";
    let trails = "SELECT name, last, head, seal FROM serin.trail ORDER BY name COLLATE \"C\"";
    let leases = "SELECT scope, epoch, beat, holder, seal FROM serin.lease \
        ORDER BY scope COLLATE \"C\"";
    let commands = "SELECT number, environment, at, body, answer, seal FROM serin.command \
        ORDER BY number";
    Ok(Contents {
        runs: runs(tx).await?,
        environments: checked(&tx.rows(what, environments, &[]).await?)?,
        trails: checked(&tx.rows(what, trails, &[]).await?)?,
        leases: checked(&tx.rows(what, leases, &[]).await?)?,
        claims: claims(tx).await?,
        commands: CommandRow::complete(checked(&tx.rows(what, commands, &[]).await?)?)?,
    })
}

/// Keeps everybody else from numbering rows until this transaction ends. The lock is on the row of the format, which is
/// there for nothing else while it does not change.
pub(super) async fn lock_numbers(tx: &mut Tx<'_>) -> Done<()> {
    let lock = "SELECT 1 FROM serin.meta WHERE name = 'format' FOR NO KEY UPDATE";
    Ok(tx.rows("number a row", lock, &[]).await.map(drop)?)
}

/// Returns the next number of a table that is numbered from 1 without gaps.
async fn next_number(tx: &mut Tx<'_>, sql: &'static str) -> Done<u64> {
    lock_numbers(tx).await?;
    let rows = tx.rows("number a row", sql, &[]).await?;
    let damaged = || JournalError::Damaged("its rows cannot be numbered".to_owned());
    let number = rows.first().and_then(|row| row.try_get::<_, i64>(0).ok());
    Ok(number.and_then(|number| u64::try_from(number).ok()).ok_or_else(damaged)?)
}

fn are(found: &[Record], bodies: &[String], at: Timestamp) -> bool {
    found.len() == bodies.len()
        && found.iter().zip(bodies).all(|(record, body)| record.body == *body && record.at == at)
}

/// The same, for those that can be refused in more ways.
pub(super) fn widen(failed: Failed<JournalError>) -> Failed<AppendError> {
    match failed {
        Failed::Refused(error) => Failed::Refused(error.into()),
        Failed::Trouble(trouble) => Failed::Trouble(trouble),
    }
}
