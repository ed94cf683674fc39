//! `serin gitlab`: what is asked of a GitLab, and what it is told.

pub(crate) mod deployments;
pub(crate) mod pipeline;
