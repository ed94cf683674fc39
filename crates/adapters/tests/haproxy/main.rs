//! The HAProxy port against a real HAProxy in master-worker mode, and against sockets that lie.
//!
//! Everything is on unix sockets in a temporary folder, so that tests can run side by side. Nothing waits for a time to
//! pass: tests ask again until something is so, and fail when it takes too long.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests panic as tests do"
)]

mod hostile;
mod live;
mod reloads;
mod rig;
