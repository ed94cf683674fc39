//! What is said in a chat: one grammar of commands, and the doors by which they come in.
//!
//! Nothing here reads a clock, a file or a socket, and nothing is carried out: a text becomes an [`Asked`] or a
//! [`Refusal`], a request is genuine or not, a [`Reply`] becomes what a platform shows. Read [`grammar`] first.
//!
//! What an [`Asked`] hands on is a vector of arguments for `serin`. Its words are known or are values of the model, which
//! are checked; the only free text stands after `--reason=` or `--note=`. No shell ever sees any of it.

pub mod confirm;
pub mod follow;
mod form;
pub mod gitlab;
pub mod grammar;
pub mod mattermost;
pub mod notice;
mod refusal;
pub mod reply;
pub mod slack;
pub mod target;
mod value;
mod words;

pub use grammar::{Asked, Ends, RULES, Rule, help, parse};
pub use refusal::Refusal;
pub use reply::{Button, Reply, SeenBy};
pub use value::{Shape, Value};
pub use words::Dialect;
