//! What people ask of a run, as it travels through an environment's inbox.

use serde::{Deserialize, Serialize};
use serin_engine::Command;
use serin_model::{Reason, RunId};

/// A command on its way to the process that acts for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The run.
    pub run: RunId,
    /// Who asks.
    pub by: String,
    /// Why, in their words.
    pub why: String,
    /// What they ask.
    pub ask: Ask,
}

/// What can be asked of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Halt it.
    Halt,
    /// Lift its halt.
    Resume,
    /// Give it up.
    Cancel,
    /// Say that what it waits for was done.
    Approve,
}

impl From<Request> for Command {
    fn from(Request { by, why, ask, .. }: Request) -> Self {
        match ask {
            Ask::Halt => Self::Halt(Reason::Person { who: by, why }),
            Ask::Resume => Self::Resume { by, why },
            Ask::Cancel => Self::Cancel { by, why },
            Ask::Approve => Self::Approve { by, note: why },
        }
    }
}
