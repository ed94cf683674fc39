//! Gauges for a Pushgateway: what stages cost and where their time went, and which hosts run which build.
//!
//! A run tells them while it goes ([`telling`]), and `serin metrics` tells those of environments at any time. What they
//! say is made in [`pages`]; how they are told, in `serin_adapters::pushgateway`.

pub(crate) mod pages;
pub(crate) mod telling;
