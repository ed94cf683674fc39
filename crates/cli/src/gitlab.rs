//! Telling GitLab what is deployed where, so that its own pages are right. Nothing depends on it: what could not be told is
//! told by the next run, or by `serin gitlab deployments`.

pub(crate) mod beside;
mod commits;
pub(crate) mod places;
pub(crate) mod telling;
