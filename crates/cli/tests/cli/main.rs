//! The real `serin`, on a journal of its own and, where load balancers are asked, a real HAProxy on loopback.
//!
//! HAProxy is reached over TCP without a fence: no host is logged in to.

#[cfg(test)]
mod support;
#[cfg(test)]
mod chat;
#[cfg(test)]
mod ci;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod gitlab;
#[cfg(test)]
mod holds;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod left_behind;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod inbox;
#[cfg(test)]
mod overriding;
#[cfg(test)]
mod platform;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod postgres;
#[cfg(test)]
#[path = "../../../journal/tests/journal/cluster.rs"]
#[expect(dead_code, reason = "the journal's own tests need more of it")]
mod cluster;
#[cfg(test)]
mod rehearse;
#[cfg(test)]
mod people;
