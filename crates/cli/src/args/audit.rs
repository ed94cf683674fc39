//! What is asked of the audit trail.

use super::duration;
use clap::{Args, Subcommand};
use serin_model::{Door, PersonName};
use serin_runtime::audit::Head;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Audit {
    /// Only what was asked within this time, for example 24h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) since: Option<Duration>,
    /// Only what this person asked
    #[arg(long, value_name = "PERSON")]
    pub(crate) person: Option<PersonName>,
    /// Only what came through this door: terminal, ci, gitlab-chat, slack or mattermost
    #[arg(long, value_name = "DOOR")]
    pub(crate) door: Option<Door>,
    /// How many, the newest
    #[arg(long, short = 'n', default_value_t = 50)]
    pub(crate) limit: usize,
    #[command(subcommand)]
    pub(crate) command: Option<AuditCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Prove that no record was changed, taken out or put elsewhere, and say the head
    ///
    /// Note the head where who keeps the journal cannot write: a trail whose end was cut off, or that was written anew as a
    /// whole, differs from a head that was noted, and from nothing else.
    Verify {
        /// A head that was noted, as this command said it: the trail must still have it
        #[arg(long, value_name = "N:HASH")]
        head: Option<Head>,
    },
}
