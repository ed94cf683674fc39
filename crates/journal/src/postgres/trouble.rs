//! What PostgreSQL's errors mean: whether something was written, and whether another try may fare better.

use crate::failed::storage;
use crate::port::{AppendError, JournalError};
use tokio_postgres::error::SqlState;

/// Why a transaction did not end as it should.
#[derive(Debug)]
pub(super) enum Failed<E> {
    /// The journal's own answer: nothing was written.
    Refused(E),
    /// The database could not be used.
    Trouble(Trouble),
}

/// What is wrong with the database, and what can be done about it.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    pub(super) error: JournalError,
}

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another transaction was in the way; nothing was written. The same again may succeed at once.
    Conflict,
    /// The database cannot be reached; nothing was written. The same again may succeed when it is back.
    Away,
    /// The connection was lost while the transaction was being committed: it may or may not be written.
    InDoubt,
    /// It would fail again. Nothing was written.
    Lasting,
}

impl<E: From<JournalError>> From<JournalError> for Failed<E> {
    fn from(error: JournalError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<AppendError> for Failed<AppendError> {
    fn from(error: AppendError) -> Self {
        Self::Refused(error)
    }
}

impl<E> From<Trouble> for Failed<E> {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Trouble {
    /// Makes the trouble of a database that cannot be used as it is now.
    pub(super) fn away(what: &str, why: &str) -> Self {
        Self { kind: Kind::Away, error: storage(what, why) }
    }
}

/// Returns what an error of a statement means.
pub(super) fn failed(what: &str) -> impl FnOnce(tokio_postgres::Error) -> Trouble {
    move |error| {
        let kind = kind(&error);
        Trouble { kind, error: meaning(what, error) }
    }
}

/// Returns what an error of a commit means. Once it was sent, a lost connection leaves it in doubt.
pub(super) fn commit_failed(error: tokio_postgres::Error) -> Trouble {
    let kind = match kind(&error) {
        Kind::Away => Kind::InDoubt,
        kind @ (Kind::Conflict | Kind::InDoubt | Kind::Lasting) => kind,
    };
    Trouble { kind, error: meaning("commit", error) }
}

fn kind(error: &tokio_postgres::Error) -> Kind {
    let Some(state) = error.code() else {
        // The server had no say in it: it is the connection.
        return Kind::Away;
    };
    let conflicts = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        // Two at once made the first row of a scope, a claim or a stream.
        SqlState::UNIQUE_VIOLATION,
    ];
    let away = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        // After a failover this server may only be read.
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    if conflicts.contains(state) {
        Kind::Conflict
    } else if away.contains(state) || state.code().starts_with("08") {
        Kind::Away
    } else {
        Kind::Lasting
    }
}

fn meaning(what: &str, error: tokio_postgres::Error) -> JournalError {
    let damaged = [
        SqlState::DATA_CORRUPTED,
        SqlState::INDEX_CORRUPTED,
        // Our statements are constants: the server can object to one only if the tables are not what we made.
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::DATATYPE_MISMATCH,
    ];
    match error.code() {
        Some(state) if *state == SqlState::DISK_FULL => JournalError::Full,
        Some(state) if damaged.contains(state) => {
            let why = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
            JournalError::Damaged(format!("could not {what}: {why}"))
        }
        Some(_) | None => storage(what, error),
    }
}
