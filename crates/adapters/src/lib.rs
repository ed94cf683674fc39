//! The real ports: what Serin reads from the world and changes in it.
//!
//! An adapter does one thing once. It holds no policy: no retries, no batches, no opinion about whether a result is
//! good enough to go on.

pub mod alerts;
pub mod http;
pub mod qa;
pub mod repository;
