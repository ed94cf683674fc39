//! The kinds of failure, each with one spelling that JSON, logs and people share.
//!
//! It does not look at errors; the client classifies.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a request failed. The text form (`Display`, JSON) is in each variant's doc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FailureKind {
    /// `connect_refused`: nothing listens at the port.
    ConnectRefused,
    /// `connect_timeout`: no connection within the request's time limit.
    ConnectTimeout,
    /// `connect_failed`: name not resolved, no route, and the like.
    ConnectFailed,
    /// `closed_before_reply`: reset or closed before a byte of the reply, on a fresh connection or
    /// after the request was being served.
    ClosedBeforeReply,
    /// `closed_in_reply`: reset or closed in the middle of the reply.
    ClosedInReply,
    /// `timeout`: connected, but no whole reply within the request's time limit.
    Timeout,
    /// `malformed`: the reply is not HTTP.
    Malformed,
    /// `status_NNN`: a whole reply with a status of 400 or above.
    Status(u16),
    /// `generator`: this machine had no file descriptor or port left. It says nothing about the
    /// service, but the request was not made, so the measurement has a hole.
    Generator,
}

/// Everything but `Status`, with its spelling.
const SPELLINGS: [(FailureKind, &str); 8] = [
    (FailureKind::ConnectRefused, "connect_refused"),
    (FailureKind::ConnectTimeout, "connect_timeout"),
    (FailureKind::ConnectFailed, "connect_failed"),
    (FailureKind::ClosedBeforeReply, "closed_before_reply"),
    (FailureKind::ClosedInReply, "closed_in_reply"),
    (FailureKind::Timeout, "timeout"),
    (FailureKind::Malformed, "malformed"),
    (FailureKind::Generator, "generator"),
];

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status_{status}"),
            Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectFailed
            | Self::ClosedBeforeReply
            | Self::ClosedInReply
            | Self::Timeout
            | Self::Malformed
            | Self::Generator => {
                let found = SPELLINGS.iter().find(|(kind, _)| kind == self);
                f.write_str(found.map_or("unknown", |(_, spelling)| spelling))
            }
        }
    }
}

/// A text that spells no [`FailureKind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a kind of failure")]
pub struct UnknownFailureKind {
    found: String,
}

impl FromStr for FailureKind {
    type Err = UnknownFailureKind;

    fn from_str(text: &str) -> Result<Self, UnknownFailureKind> {
        let status = text.strip_prefix("status_").and_then(|status| status.parse().ok());
        let spelled = SPELLINGS.iter().find(|(_, spelling)| *spelling == text);
        match (status, spelled) {
            (Some(status), _) => Ok(Self::Status(status)),
            (None, Some((kind, _))) => Ok(*kind),
            (None, None) => Err(UnknownFailureKind { found: text.to_owned() }),
        }
    }
}

impl From<FailureKind> for String {
    fn from(kind: FailureKind) -> Self {
        kind.to_string()
    }
}

impl TryFrom<String> for FailureKind {
    type Error = UnknownFailureKind;

    fn try_from(text: String) -> Result<Self, UnknownFailureKind> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_reads_back() {
        let kinds = SPELLINGS.iter().map(|(kind, _)| *kind).chain([FailureKind::Status(503)]);
        for kind in kinds {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("status_x".parse::<FailureKind>().is_err());
        assert!("unknown".parse::<FailureKind>().is_err());
    }
}
