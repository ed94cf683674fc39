//! The journal: append-only event streams, leases, claims and the commands inbox, behind one port.
//!
//! All processes meet here: a terminal, a CI job and a server are equal clients. The journal stores records as text and
//! does not know what they mean. Safety rests on two rules that every implementation keeps, under one contract test:
//! what [`Journal::append`] confirmed is durable, and nothing is appended under a lease that is not current.

pub mod port;
mod lease;
mod rows;
mod seal;
mod locks;
mod failed;
mod memory;
mod sqlite;
mod postgres;

pub use memory::{FailMode, MemoryJournal};
pub use port::{
    Append, AppendError, ClaimChange, CommandId, EnvironmentAppend, Holder, Inbox, Journal,
    JournalError, Lease, LeaseRefused, Record, RunSummary, Scope, TrailAppend,
};
pub use postgres::{MoveError, Moved, Password, PostgresJournal, PostgresSettings, Server, Tls};
pub use seal::text_digest;
pub use sqlite::SqliteJournal;
