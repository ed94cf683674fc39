//! The journal's tests: one contract for every implementation, and what only one of them can be asked.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod memory_faults;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod two_machines;
#[cfg(test)]
mod server;
#[cfg(test)]
mod cable;
#[cfg(test)]
mod child;
#[cfg(test)]
mod support;
