//! What people are told about a run by themselves: only its ends.

use std::fmt;

/// A moment of a run that people are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKind {
    /// It has begun.
    Started,
    /// It has halted, and waits for a person.
    Halted,
    /// It is finished.
    Finished,
    /// It was given up.
    Cancelled,
}

impl fmt::Display for NoticeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Started => "started",
            Self::Halted => "halted",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        })
    }
}
