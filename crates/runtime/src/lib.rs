//! Where decisions meet the world: the ports, `perform`, and the one event loop.
//!
//! The runtime cannot decide anything: what is due comes from the engine, and what happened goes back to it. It holds
//! no policy of its own, and adapters hold none either. Read [`controller::Controller`] first.

pub mod alerts;
pub mod audit;
pub mod clock;
pub mod controller;
pub mod drift;
pub mod environment;
pub mod inbox;
mod observers;
pub mod perform;
pub mod ports;
pub mod queue;
pub mod records;
pub mod share;
pub mod until;

pub use clock::TokioClock;
pub use controller::{AdoptError, Controller, Ended, INBOX_POLL, Observer, Settings, start};
pub use until::Until;
