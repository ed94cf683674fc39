//! The simulator: pretend ports on virtual time, around the real planner, engine, runtime and event loop.
//!
//! A seeded world ([`world`]) stands for hosts, load balancers, databases, alerts and QA; faults are values
//! ([`faults`]); checkers look at every change of the world in its moment. It does not imitate the adapters: what they
//! say to real programs is tested against those.
//!
//! # To replay a failure
//! Everything is decided by the scenario: one thread, paused time, the crate's own random numbers. A test that fails
//! prints its [`Scenario`] as a value (seed, faults, kills by number, commands) and the end of the trace: a line for
//! every change of the world and every append, with the virtual milliseconds. The same value given to [`simulate`]
//! in a test gives the same trace. Effects and appends are counted from 1; [`Report::effects`] and
//! [`Report::appends`] of the same seed without faults say what each number is.
//!
//! `SERIN_SOAK=1` in the environment of `cargo test -p serin-sim` makes the tests that sample crash points, effects
//! and moments go through all of them, and print whole traces.

mod random;
pub mod faults;
mod strikes;
mod brought;
pub mod installation;
pub mod latencies;
pub mod world;
mod balancer;
mod host;
mod jobs;
mod ledger;
mod coverage;
mod checker;
mod check;
mod endings;
mod process;
mod ports;
mod journal;
pub mod scenario;
pub mod seeds;
pub mod rehearsal;

pub use checker::{Checker, Violation};
pub use coverage::Covered;
pub use faults::{Fault, Faults, Kill, Mishap, Trouble, When};
pub use installation::Setting;
pub use rehearsal::{Pretended, Rehearsal, RehearsalEnd, Rehearsed, rehearse};
pub use scenario::{
    AfterHalt, Ending, Report, Scenario, Sim, simulate, simulate_patch, simulate_promotion,
    simulate_rollback,
};
pub use serin_engine::Command;
pub use serin_model::Reason;
pub use serin_runtime::Ended;
pub use strikes::{Moment, Strike};
