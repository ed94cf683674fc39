//! What is said about chats.

use clap::Subcommand;
use std::net::SocketAddr;

#[derive(Debug, Subcommand)]
pub(crate) enum ChatCommand {
    /// Answer in a job of GitLab ChatOps: what was asked is in CHAT_INPUT, and the reply in the log's section chat_reply
    ///
    /// The job succeeds also where something is refused or halts, for GitLab sends no reply of a job that fails.
    Gitlab,
    /// Take slash commands and buttons of Slack and Mattermost, until it is interrupted
    ///
    /// Runs that were begun from a chat are processes of their own: they go on when this one ends.
    Serve {
        /// Where to listen, on this machine: a proxy with a certificate stands before it
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8137")]
        listen: SocketAddr,
    },
}
