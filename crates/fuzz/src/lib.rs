//! Fuzz targets: what Serin reads that others write, each as a function of bytes that must hold whatever the bytes are.
//!
//! A target that does not hold panics. That is all an engine needs: the corpora and a short seeded run in `make test`, the
//! same for longer in `make fuzz`, and libFuzzer in `fuzz/`. What each promises is in its own file; docs/fuzzing.md says
//! how to look for more and what to do with a finding. Read [`TARGETS`] first.

mod check;
mod mutate;
mod target;

pub use check::{Broken, check};
pub use mutate::{Random, mutated};
pub use target::{TARGETS, Target, target};

/// Counts what is allocated, so that a target can be held to a limit.
#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
