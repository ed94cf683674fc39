//! The generator against real servers on loopback.

#[cfg(test)]
mod common;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod open_loop;
#[cfg(test)]
mod requests;
