//! The doors: an address each, and what must be true of a request before anybody looks at what it says.

use super::converse::{Conversation, How, Spoken, Who};
use super::later::{Door, Later};
use crate::failure::Failure;
use crate::notify::post::tokens;
use crate::secrets;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use serde_json::Value;
use serin_chat::mattermost;
use serin_chat::reply::Way;
use serin_chat::slack::{self, Heard, Remembered, Request, Secret, Signed};
use serin_chat::target::Target;
use serin_config::Chat;
use std::sync::{Arc, Mutex, PoisonError};

/// All doors that the configuration opens.
pub(crate) struct Doors {
    chat: Chat,
    conversation: Arc<Conversation>,
    remembered: Mutex<Remembered>,
}

/// What a request gets.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Body,
}

/// With what.
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// A text.
    Text(&'static str),
    /// A message of the platform.
    Json(Value),
}

impl Answer {
    pub(crate) fn text(status: StatusCode, text: &'static str) -> Self {
        Self { status, body: Body::Text(text) }
    }

    fn empty() -> Self {
        Self { status: StatusCode::OK, body: Body::Empty }
    }

    fn json(message: Value) -> Self {
        Self { status: StatusCode::OK, body: Body::Json(message) }
    }
}

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Slash commands of Slack.
    SlackCommand,
    /// Buttons of Slack.
    SlackAction,
    /// Slash commands of Mattermost.
    MattermostCommand,
    /// Buttons of Mattermost.
    MattermostAction,
}

impl Place {
    /// Returns the place of a path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            "/slack/command" => Some(Self::SlackCommand),
            "/slack/action" => Some(Self::SlackAction),
            "/mattermost/command" => Some(Self::MattermostCommand),
            "/mattermost/action" => Some(Self::MattermostAction),
            _ => None,
        }
    }
}

impl Doors {
    pub(crate) fn new(chat: Chat, conversation: Arc<Conversation>) -> Result<Self, Failure> {
        let doors = Self { chat, conversation, remembered: Mutex::default() };
        // What cannot be read is found now, and not when somebody needs it at night.
        if let Some(of) = &doors.chat.slack {
            secrets::read(&of.signing_secret_file)?;
            of.bot_token_file.as_deref().map(secrets::read).transpose()?;
        }
        if let Some(of) = &doors.chat.mattermost {
            tokens(&of.token_files)?;
            of.webhook_file.as_deref().map(secrets::read).transpose()?;
        }
        Ok(doors)
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, place: Place, headers: &HeaderMap, body: &[u8]) -> Answer {
        match place {
            Place::SlackCommand | Place::SlackAction => self.slack(place, headers, body).await,
            Place::MattermostCommand => self.mattermost_command(headers, body).await,
            Place::MattermostAction => self.mattermost_action(body).await,
        }
    }

    async fn slack(&self, place: Place, headers: &HeaderMap, body: &[u8]) -> Answer {
        if let Err(answer) = self.is_slack(headers, body) {
            return answer;
        }
        let heard = match place {
            Place::SlackCommand => match slack::command(body) {
                Some(Request::Check) => return Answer::empty(),
                Some(Request::Heard(heard)) => Some(heard),
                None => None,
            },
            Place::SlackAction | Place::MattermostCommand | Place::MattermostAction => {
                slack::action(body)
            }
        };
        let Some(heard) = heard else {
            return Answer::text(StatusCode::BAD_REQUEST, "this cannot be understood\n");
        };
        let how = if place == Place::SlackCommand { How::Typed } else { How::Pressed };
        let Some(spoken) = self.spoken(Door::Slack, heard, how) else {
            return refused(place, "it names an address that is not Slack's");
        };
        if how == How::Typed {
            let reply = self.conversation.hear(spoken).await;
            return Answer::json(slack::message(&reply));
        }
        // The answer to a button says nothing: its words go to the address that came with it.
        let conversation = Arc::clone(&self.conversation);
        tokio::spawn(async move { conversation.answer_later(spoken).await });
        Answer::empty()
    }

    fn is_slack(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Answer> {
        let place = Place::SlackCommand;
        let Some(of) = &self.chat.slack else {
            return Err(Answer::text(StatusCode::NOT_FOUND, "there is no such door\n"));
        };
        let secret = secrets::read(&of.signing_secret_file).map_err(|failure| {
            tracing::warn!("Slack cannot be heard: {}", failure.what);
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "its secret cannot be read\n")
        })?;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (timestamp, signature) =
            (header("x-slack-request-timestamp"), header("x-slack-signature"));
        let now = self.conversation.clock.now();
        slack::verify(&Secret::new(&secret), Signed { timestamp, signature }, body, now)
            .and_then(|()| {
                let mut seen = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
                seen.first_time(signature.unwrap_or_default(), now)
            })
            .map_err(|forged| refused(place, &forged.to_string()))
    }

    async fn mattermost_command(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let place = Place::MattermostCommand;
        let tokens = match self.tokens() {
            Ok(tokens) => tokens,
            Err(answer) => return answer,
        };
        // A header that is no text is no token, and must not count as none.
        let header = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or("?"));
        let heard = match mattermost::command(&tokens, header, body) {
            Ok(heard) => heard,
            Err(forged) => return refused(place, &forged.to_string()),
        };
        let Some(spoken) = self.spoken(Door::Mattermost, heard, How::Typed) else {
            return refused(place, "it names an address that is not Mattermost's");
        };
        let reply = self.conversation.hear(spoken).await;
        let now = self.conversation.clock.now();
        Answer::json(self.conversation.post.mattermost_message(&reply, now))
    }

    async fn mattermost_action(&self, body: &[u8]) -> Answer {
        let place = Place::MattermostAction;
        let tokens = match self.tokens() {
            Ok(tokens) => tokens,
            Err(answer) => return answer,
        };
        let heard = match mattermost::action(&tokens, body, self.conversation.clock.now()) {
            Ok(heard) => heard,
            Err(forged) => return refused(place, &forged.to_string()),
        };
        let Some(spoken) = self.spoken(Door::Mattermost, heard, How::PressedUnasked) else {
            return refused(place, "it names an address that is not Mattermost's");
        };
        let reply = self.conversation.hear(spoken).await;
        Answer::json(mattermost::pressed(&reply))
    }

    fn tokens(&self) -> Result<mattermost::Tokens, Answer> {
        let Some(of) = &self.chat.mattermost else {
            return Err(Answer::text(StatusCode::NOT_FOUND, "there is no such door\n"));
        };
        tokens(&of.token_files).map_err(|failure| {
            tracing::warn!("Mattermost cannot be heard: {}", failure.what);
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "its tokens cannot be read\n")
        })
    }

    /// Returns what somebody says, unless later words would go to an address that is not the platform's.
    fn spoken(&self, door: Door, heard: Heard, how: How) -> Option<Spoken> {
        let base = match (door, &self.chat.mattermost) {
            (Door::Slack, _) => self.conversation.post.slack_base(),
            (Door::Mattermost, Some(of)) => format!("{}/hooks/commands/", of.url),
            (Door::Mattermost, None) => return None,
        };
        let target = match heard.response_url.filter(|url| !url.is_empty()) {
            Some(url) => Some(Target::under(&base, &url)?),
            None => None,
        };
        let way = Way::new(self.conversation.clock.now());
        let name = if heard.name.is_empty() { heard.user.clone() } else { heard.name };
        let who = Who { door, user: heard.user, name };
        let later = Later { door, target, channel: heard.channel, way };
        Some(Spoken { who, text: heard.text, how, later })
    }
}

/// Why is for whoever runs the door: a stranger learns nothing from it.
fn refused(place: Place, why: &str) -> Answer {
    tracing::warn!("a request to {place:?} was refused: {why}");
    Answer::text(StatusCode::UNAUTHORIZED, "refused\n")
}
