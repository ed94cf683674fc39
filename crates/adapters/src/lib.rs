//! The real ports: hosts by SSH, and, beside them, everything else that Serin reads or changes.
//!
//! Adapters hold no policy: no retries, no batching, no "if production". Each does one thing once and says how it went.

pub mod host;
pub mod ssh;
