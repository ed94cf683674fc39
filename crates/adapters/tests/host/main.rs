//! Real hosts: SSH, the wrapper, jobs, apt and HAProxy's socket, on a Debian of the test's own.
//!
//! These tests need root, `mmdebstrap`, `apt-utils` and OpenSSH; see `machine.rs`.

// `cfg(test)` is always on here; it tells the linter that helpers are tests, too.
#[cfg(test)]
mod connect;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod observe;
mod over;
#[cfg(test)]
mod packages;
#[cfg(test)]
mod patches;
#[cfg(test)]
mod patches_and_builds;
#[cfg(test)]
mod way_back;
#[cfg(test)]
mod haproxy;
