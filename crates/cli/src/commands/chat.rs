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
use serin_runtime::audit::Hand;

/// Opens a door. Who opens it is not asked: by itself it does nothing, and asks for whoever comes through it.
pub(crate) async fn run(
    context: Context,
    command: &ChatCommand,
    hand: Hand,
) -> Result<Code, Failure> {
    match (hand, command) {
        (Hand::Door, _) => Err(Failure::new(Code::Refused, "no door opens another")),
        (Hand::Own, ChatCommand::Gitlab) => gitlab::run(&context).await,
        (Hand::Own, ChatCommand::Serve { listen }) => serve::run(context, *listen).await,
    }
}
