//! Where decisions meet the world: the ports, `perform`, and the one event loop.
//!
//! The runtime cannot decide anything: what is due comes from the engine, and what happened goes back to it. It holds
//! no policy of its own, and adapters hold none either.

pub mod perform;
pub mod ports;
