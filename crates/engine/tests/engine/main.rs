//! What the engine decides and when, in a tiny world driven by hand: no runtime, no clock, no network.

#[cfg(test)]
#[path = "../../../planner/tests/installation/mod.rs"]
#[expect(clippy::wildcard_enum_match_arm, reason = "the others leave what is seen as it is")]
#[expect(dead_code, reason = "the planner's tests use the rest")]
mod installation;

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are of no interest here")]
mod world;
#[cfg(test)]
mod transitions;
#[cfg(test)]
mod legal;
#[cfg(test)]
mod rolling;
#[cfg(test)]
mod halting;
#[cfg(test)]
mod attempts;
#[cfg(test)]
mod gates;
#[cfg(test)]
mod environments;
#[cfg(test)]
mod holds;
#[cfg(test)]
mod patches;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod speed;
#[cfg(test)]
mod way_back;
#[cfg(test)]
mod withdrawal;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod times;
