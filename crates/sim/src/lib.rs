//! The simulator: pretend ports on virtual time, around the real planner, engine, runtime and event loop.
//!
//! A seeded world ([`world`]) stands for hosts, load balancers, databases, alerts and QA; faults are values
//! ([`faults`]); checkers look at every change of the world in its moment. It does not imitate the adapters: what they
//! say to real programs is tested against those.
//!
//! # To replay a failure
//! Everything is decided by the scenario: one thread, paused time, the crate's own random numbers. A test that fails
//! prints the scenario as a Rust value with its seed; put that into `tests/replay.rs` and run
//! `cargo test -p serin-sim --test replay -- --nocapture`: it prints the trace, a line for every change of the world
//! and every append, with the virtual milliseconds. `SERIN_SOAK=1` in the environment makes the tests that sample
//! crash points and faults go through all of them.

mod random;
pub mod faults;
pub mod installation;
pub mod world;
mod balancer;
mod host;
mod jobs;
mod ledger;
mod check;
mod process;
mod ports;
mod journal;
pub mod scenario;

pub use faults::{Fault, Faults, Kill, Trouble};
pub use scenario::{AfterHalt, Ending, Report, Scenario, Sim, simulate};
pub use serin_engine::Command;
pub use serin_model::Reason;
pub use serin_runtime::Ended;
