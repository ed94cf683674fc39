//! What the planner plans, leaves out and refuses.

#[cfg(test)]
#[path = "../installation/mod.rs"]
#[expect(clippy::wildcard_enum_match_arm, reason = "the others leave what is seen as it is")]
mod installation;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod patches;
#[cfg(test)]
mod ways_back;
#[cfg(test)]
mod linter;
#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "the claim is about these actions")]
mod properties;
#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "the name says it all")]
mod render;
#[cfg(test)]
mod wrong_states;
#[cfg(test)]
mod refusals;
