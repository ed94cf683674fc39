//! The stand-in program as processes: real signals, real sockets, a real PostgreSQL.
//!
//! Needs Debian's `postgresql-15`; as root the server runs as user `postgres`. How the program is packaged and
//! supervised is tested in the lab's crate.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails where it stands"
)]

mod gitaly;
mod migrate;
mod sidekiq;
mod support;
mod web;
