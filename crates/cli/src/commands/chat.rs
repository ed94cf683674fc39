//! Chats: how their commands come in, are carried out, and are answered.
//!
//! What may be said is the grammar's (`serin-chat`), and nothing is carried out here: `serin` itself is started as a
//! process of its own, with the arguments that the grammar made. So a run that was begun from a chat does not end when
//! the process that took the command does.

mod child;
mod converse;
mod doors;
mod gitlab;
mod later;
mod serve;

use crate::args::ChatCommand;
use crate::context::Context;
use crate::failure::{Code, Failure};

pub(crate) async fn run(context: &Context, command: &ChatCommand) -> Result<Code, Failure> {
    match command {
        ChatCommand::Gitlab => gitlab::run(context).await,
        ChatCommand::Serve { listen } => serve::run(context, *listen).await,
    }
}
