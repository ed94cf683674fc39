//! The real ports: what Serin reads from the world and changes in it.
//!
//! Adapters hold no policy: they do one thing once, and neither retry, batch nor decide whether a result is good.

pub mod haproxy;
