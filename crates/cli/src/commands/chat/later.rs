//! Words that come later: through the address that came with the request while it takes any, and then by the bot.

use crate::failure::Failure;
use crate::notify::Post;
use serin_chat::reply::{By, Way};
use serin_chat::target::Target;
use serin_chat::{Reply, mattermost, slack};
use serin_config::NotifyTo;
use serin_model::Timestamp;

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Slack.
    Slack,
    /// Mattermost.
    Mattermost,
}

impl Door {
    /// Returns its name, as it is recorded.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Mattermost => "mattermost",
        }
    }
}

/// How later words reach whoever asked.
#[derive(Clone)]
pub(crate) struct Later {
    pub(crate) door: Door,
    pub(crate) target: Option<Target>,
    pub(crate) channel: String,
    pub(crate) way: Way,
}

impl Later {
    /// Says something. That it could not be said is told to whoever runs the door; it fails nothing.
    pub(crate) async fn say(&mut self, post: &Post, reply: &Reply, now: Timestamp) {
        let by = if self.target.is_some() { self.way.next(now) } else { By::Bot };
        let first = match (by, &self.target) {
            (By::ResponseUrl, Some(target)) => {
                let message = match self.door {
                    Door::Slack => slack::message(reply),
                    Door::Mattermost => post.mattermost_message(reply, now),
                };
                post.send(target.url(), None, &message).await
            }
            (By::ResponseUrl | By::Bot, _) => self.by_bot(post, reply).await,
        };
        let said = match (first, by) {
            // The address may have ended early; what has ended must be said all the same.
            (Err(_), By::ResponseUrl) => self.by_bot(post, reply).await,
            (said, By::ResponseUrl | By::Bot) => said,
        };
        if let Err(failure) = said {
            tracing::warn!("what should have been said in {}: {}", self.door.name(), failure.what);
        }
    }

    async fn by_bot(&self, post: &Post, reply: &Reply) -> Result<(), Failure> {
        match self.door {
            Door::Slack => post.tell(&NotifyTo::Slack(self.channel.clone()), reply).await,
            Door::Mattermost => post.mattermost(&mattermost::post(None, reply)).await,
        }
    }
}
