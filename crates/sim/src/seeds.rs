//! Random histories: a seed decides an installation, what people want, what goes wrong, and how long everything takes.
//!
//! A [`Story`] is what a seed stands for, as a value; [`tell`] has it happen, and returns what the checkers found. One
//! thread, virtual time: the same seed is the same story and ends in the same way. To replay one, with its timeline:
//! `serin-sim --seed 7`. See `docs/simulator.md`.

mod extras;
mod fleet;
mod planted;
mod player;
mod shrink;
mod story;
mod twists;

pub use extras::Extras;
pub use fleet::{Deploy, Hosts, Shape};
pub use planted::Planted;
pub(crate) use player::rehearsed;
pub use player::{Tale, tell, tell_with};
pub use shrink::{Small, shrink};
pub use story::{Asked, Incident, Story, Wish};
