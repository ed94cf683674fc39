//! `[chat]` as written.

use crate::at::{At, Text};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The chats that commands come from, and that are told how runs go.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawChat {
    /// Slack: slash commands and buttons, through `serin chat serve`.
    pub(crate) slack: Option<RawSlack>,
    /// Mattermost: slash commands and buttons, through `serin chat serve`.
    pub(crate) mattermost: Option<RawMattermost>,
    /// Programs that are told how runs go, by names of your own.
    #[serde(default)]
    pub(crate) webhooks: BTreeMap<Text, RawWebhook>,
    /// Who is told what by itself. A moment is told once to each, however many rules fit.
    #[serde(default)]
    pub(crate) notify: Vec<At<RawNotify>>,
}

/// Slack: slash commands and buttons, through `serin chat serve`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(crate) struct RawSlack {
    /// The file that holds the app's signing secret and nothing else. Not everybody may be able to read it.
    pub(crate) signing_secret_file: Text,
    /// The file that holds the bot's token (`xoxb-…`), for notices and for words that come after half an hour.
    pub(crate) bot_token_file: Option<Text>,
    /// Another address that stands for Slack's own, such as that of a test; default: Slack's own.
    pub(crate) url: Option<Text>,
}

/// Mattermost: slash commands and buttons, through `serin chat serve`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(crate) struct RawMattermost {
    /// Mattermost's site URL. Later words go there and nowhere else.
    pub(crate) url: Text,
    /// The files that each hold the token of a slash command. Several, while one is replaced by another.
    pub(crate) token_files: Vec<Text>,
    /// The file that holds the address of an incoming webhook, for notices and for words that come after half an hour.
    pub(crate) webhook_file: Option<Text>,
    /// The address at which Mattermost reaches Serin's `/mattermost/action`; default: there are no buttons.
    pub(crate) actions_url: Option<Text>,
}

/// A program that is told how runs go: by POST, in JSON.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWebhook {
    /// Its address.
    pub(crate) url: Text,
    /// The file that holds a token, which is sent as `Authorization: Bearer`.
    pub(crate) token_file: Option<Text>,
}

/// A rule of who is told what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawNotify {
    /// Who: `slack:#CHANNEL`, `mattermost:CHANNEL` or `webhook:NAME`.
    pub(crate) to: Text,
    /// What; default: halts, and that runs are finished.
    pub(crate) events: Option<Vec<RawNotifyEvent>>,
    /// In which environments; default: in all.
    #[serde(default)]
    pub(crate) environments: Vec<Text>,
}

/// A moment of a run that people are told of.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum RawNotifyEvent {
    /// It has begun.
    Started,
    /// It has halted, and waits for a person.
    Halted,
    /// It is finished.
    Finished,
    /// It was given up.
    Cancelled,
}
