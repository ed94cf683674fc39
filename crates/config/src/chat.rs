//! What the file says about chats. Secrets are in files of their own, which are read where they are needed.

use serin_model::{EnvironmentName, NoticeKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The chats that commands come from, and that are told how runs go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chat {
    /// Slack's door.
    pub slack: Option<Slack>,
    /// Mattermost's door.
    pub mattermost: Option<Mattermost>,
    /// Programs that are told how runs go.
    pub webhooks: BTreeMap<String, Webhook>,
    /// Who is told what by itself.
    pub notify: Vec<Notify>,
}

/// Slack's door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slack {
    /// The file that holds the secret by which Slack signs.
    pub signing_secret_file: PathBuf,
    /// The file that holds the bot's token.
    pub bot_token_file: Option<PathBuf>,
    /// Slack's own address, without a slash at its end; `None`: that of everybody.
    pub url: Option<String>,
}

/// Mattermost's door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mattermost {
    /// Its address, without a slash at its end.
    pub url: String,
    /// The files that hold the tokens of its slash commands.
    pub token_files: Vec<PathBuf>,
    /// The file that holds the address of an incoming webhook.
    pub webhook_file: Option<PathBuf>,
    /// The address at which Mattermost reaches Serin when a button is pressed.
    pub actions_url: Option<String>,
}

/// A program that is told how runs go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its address.
    pub url: String,
    /// The file that holds a token for it.
    pub token_file: Option<PathBuf>,
}

/// A rule of who is told what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Who.
    pub to: NotifyTo,
    /// What.
    pub events: BTreeSet<NoticeKind>,
    /// Where it happens; empty: anywhere.
    pub environments: BTreeSet<EnvironmentName>,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotifyTo {
    /// A channel of Slack.
    Slack(String),
    /// A channel of Mattermost.
    Mattermost(String),
    /// A webhook, by its name.
    Webhook(String),
}

impl Chat {
    /// Returns who is told of a moment, each once.
    pub fn told(&self, kind: NoticeKind, environment: &EnvironmentName) -> BTreeSet<&NotifyTo> {
        let fits = |rule: &&Notify| {
            let anywhere = rule.environments.is_empty();
            rule.events.contains(&kind) && (anywhere || rule.environments.contains(environment))
        };
        self.notify.iter().filter(fits).map(|rule| &rule.to).collect()
    }
}

impl std::fmt::Display for NotifyTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Slack(channel) => write!(f, "slack:{channel}"),
            Self::Mattermost(channel) => write!(f, "mattermost:{channel}"),
            Self::Webhook(name) => write!(f, "webhook:{name}"),
        }
    }
}
