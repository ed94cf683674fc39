//! Sends words to chats and webhooks: one attempt, five seconds, secrets read from their files each time.

use crate::failure::{Code, Failure};
use crate::secrets;
use serde_json::Value;
use serin_adapters::http::{self, HttpError, Peer};
use serin_chat::mattermost::{self, Buttons, Tokens};
use serin_chat::notice::{self, Notice};
use serin_chat::{Reply, slack, target};
use serin_config::{Chat, Config, NotifyTo};
use serin_model::{EnvironmentName, NoticeKind, Timestamp};
use std::path::Path;
use std::time::Duration;

/// A platform that takes longer is not there: nobody waits for it.
const TOTAL: Duration = Duration::from_secs(5);

/// So much of an answer is looked at.
const MOST_BYTES: u64 = 64 << 10;

/// Slack's own address.
const SLACK: &str = "https://slack.com";

/// Sends words.
pub(crate) struct Post {
    chat: Chat,
    away: http::PostClient,
    here: http::PostClient,
}

impl Post {
    /// Makes what is needed to send.
    pub(crate) fn new(config: &Config) -> Result<Self, Failure> {
        let client = |peer| {
            http::client(peer, TOTAL).map_err(|error| Failure::new(Code::Error, error.to_string()))
        };
        let (away, here) = (client(Peer::Platform)?, client(Peer::Service)?);
        Ok(Self { chat: config.chat.clone(), away, here })
    }

    /// Returns who is told of a moment.
    pub(crate) fn told(&self, kind: NoticeKind, environment: &EnvironmentName) -> Vec<NotifyTo> {
        self.chat.told(kind, environment).into_iter().cloned().collect()
    }

    /// Tells a notice.
    pub(crate) async fn notice(&self, to: &NotifyTo, notice: &Notice) -> Result<(), Failure> {
        if let NotifyTo::Webhook(name) = to {
            let Some(webhook) = self.chat.webhooks.get(name) else { return Err(no_way(to)) };
            let token = webhook.token_file.as_deref().map(secrets::read).transpose()?;
            return self.send(&webhook.url, token.as_deref(), &notice.json()).await;
        }
        let reply = notice.reply();
        let reply = match notice.kind {
            NoticeKind::Started => reply.with_button(notice::halt(&notice.run)),
            NoticeKind::Halted => reply
                .with_button(notice::resume(&notice.run))
                .with_button(notice::rollback(&notice.run)),
            NoticeKind::Finished | NoticeKind::Cancelled => reply,
        };
        self.tell(to, &reply).await
    }

    /// Says something in a channel.
    pub(crate) async fn tell(&self, to: &NotifyTo, reply: &Reply) -> Result<(), Failure> {
        match to {
            NotifyTo::Slack(channel) => {
                let Some(of) = &self.chat.slack else { return Err(no_way(to)) };
                let Some(file) = &of.bot_token_file else { return Err(no_way(to)) };
                let url = format!("{}/api/chat.postMessage", of.url.as_deref().unwrap_or(SLACK));
                let token = secrets::read(file)?;
                let answer = self.answer(&url, Some(&token), &slack::post(channel, reply)).await?;
                is_ok(&answer)
            }
            NotifyTo::Mattermost(channel) => {
                self.mattermost(&mattermost::post(Some(channel), reply)).await
            }
            NotifyTo::Webhook(_) => Err(no_way(to)),
        }
    }

    /// Sends a message to Mattermost's incoming webhook.
    pub(crate) async fn mattermost(&self, message: &Value) -> Result<(), Failure> {
        let file = self.chat.mattermost.as_ref().and_then(|of| of.webhook_file.as_deref());
        let Some(file) = file else {
            let what = "there is no `webhook_file` under [chat.mattermost]";
            return Err(Failure::new(Code::Refused, what));
        };
        let url = secrets::read(file)?;
        self.send(&url, None, message).await
    }

    /// Returns a reply as Mattermost takes it, with buttons if they lead somewhere.
    pub(crate) fn mattermost_message(&self, reply: &Reply, now: Timestamp) -> Value {
        let of = self.chat.mattermost.as_ref();
        let tokens = of.map(|of| tokens(&of.token_files)).transpose().ok().flatten();
        let tokens = tokens.unwrap_or_else(|| Tokens::new(Vec::new()));
        let url = of.and_then(|of| of.actions_url.as_deref());
        mattermost::message(reply, Buttons { url, tokens: &tokens, now })
    }

    /// Returns where later words of Slack may go.
    pub(crate) fn slack_base(&self) -> String {
        let url = self.chat.slack.as_ref().and_then(|of| of.url.as_deref());
        url.map_or_else(|| target::SLACK.to_owned(), |url| format!("{url}/"))
    }

    /// Sends a message, and is content with any answer of success.
    pub(crate) async fn send(
        &self,
        url: &str,
        token: Option<&str>,
        message: &Value,
    ) -> Result<(), Failure> {
        self.answer(url, token, message).await.map(drop)
    }

    async fn answer(
        &self,
        url: &str,
        token: Option<&str>,
        message: &Value,
    ) -> Result<Vec<u8>, Failure> {
        // Plain HTTP goes to this machine or to a network of one's own, never through a proxy.
        let client = if url.starts_with("http://") { &self.here } else { &self.away };
        let sent = http::post(client, url, (token, message.to_string()), MOST_BYTES).await;
        sent.map_err(|error: HttpError| {
            // Its path may be a secret, so only the platform is named.
            let place = http::redacted(url).split('/').take(3).collect::<Vec<_>>().join("/");
            Failure::new(Code::Error, format!("{place}: {error}"))
        })
    }
}

/// Reads the tokens of Mattermost's slash commands.
pub(crate) fn tokens(files: &[impl AsRef<Path>]) -> Result<Tokens, Failure> {
    let tokens: Result<Vec<String>, Failure> =
        files.iter().map(|file| secrets::read(file.as_ref())).collect();
    tokens.map(Tokens::new)
}

/// Slack answers everything with success, and says in the answer whether it was one.
fn is_ok(answer: &[u8]) -> Result<(), Failure> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    if answer.get("ok").and_then(Value::as_bool) == Some(true) {
        return Ok(());
    }
    let why = answer.get("error").and_then(Value::as_str).unwrap_or("its answer is no answer");
    Err(Failure::new(Code::Error, format!("Slack says {why}"))
        .hint("invite the bot to the channel, and look at the scopes of its token"))
}

fn no_way(to: &NotifyTo) -> Failure {
    Failure::new(Code::Refused, format!("there is no way to {to} in the configuration"))
}
