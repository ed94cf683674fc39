//! The real ports: what Serin reads from the world and changes in it.
//!
//! Adapters hold no policy: each does one thing once and says how it went. No retries, no batching, no "if production",
//! no opinion about whether a result is good enough to go on.

pub mod alerts;
mod compressed;
pub mod deb;
pub mod gitlab;
pub mod haproxy;
pub mod host;
pub mod http;
pub mod manifest;
pub mod pushgateway;
pub mod qa;
pub mod repository;
mod shown;
pub mod ssh;
