//! An open-loop HTTP load generator: requests leave at a constant rate whatever the replies do, and
//! every latency counts from the moment its request was *meant* to leave, so a stall of the service
//! shows in the numbers instead of slowing the measurement down.
//!
//! [`run`] takes a [`Profile`] and gives a [`Summary`]; `serin traffic` and the lab print it or read
//! its JSON. The reasons are in `docs/design/open-loop-traffic.md`.
//!
//! What it deliberately does not do: https, redirects, request bodies, ramps, closed loops of
//! "users", or judging whether a summary is good enough (a gate does that).

mod base;
mod choice;
mod client;
mod endpoint;
mod failure;
mod profile;
mod recorder;
mod render;
mod run;
mod summary;

pub use base::{BaseUrl, BaseUrlError};
pub use endpoint::{Endpoint, EndpointError, Method};
pub use failure::{FailureKind, UnknownFailureKind};
pub use profile::{Profile, ProfileError};
pub use run::{run, run_observed};
pub use summary::{EndpointSummary, FailedRequest, HeaderCount, Latency, Progress, Summary};
