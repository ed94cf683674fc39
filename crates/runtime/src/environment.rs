//! Environments apart from runs: their streams, the windows of their topology, and what is asked of them.
//!
//! A run's controller reads the streams of the environments that it acts in; where no run acts, whoever asks takes the
//! environment's lease for a moment ([`moment::Moment`]). What becomes of anything is decided by the engine.

pub mod moment;
pub mod request;
pub mod stream;
pub mod windows;

pub use moment::Moment;
pub use request::{EnvironmentRequest, Want};
pub use stream::Stream;
