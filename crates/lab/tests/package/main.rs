//! The stand-in package, installed by the real dpkg and supervised by the real runit.
//!
//! Each test has a host of its own: an overlay on one Debian base, in its own mount, process and network namespaces.
//! That needs root, mmdebstrap, iproute2 and postgresql-15, so these tests are ignored unless they are asked for:
//! `cargo test -p serin-lab --test package -- --include-ignored`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails where it stands"
)]

#[path = "../../src/package/mod.rs"]
mod package;

mod broken;
mod build;
mod control;
mod host;
mod upgrade;
