//! Slack's door: whether a request is Slack's, what it asks, and what Slack shows in return.
//!
//! The signature is over the raw bytes, before anything is decoded. There is no other way in: a request without a valid
//! signature is never looked at further.

use crate::form;
use crate::reply::{Button, MOST_BYTES, Reply, SeenBy, head, seen};
use ring::hmac;
use serde_json::{Value, json};
use serin_model::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// A request that is older or younger is refused: somebody may have recorded it.
const WINDOW_SECONDS: u64 = 300;

/// How many genuine requests are remembered within the window, each of which counts once.
const MOST_REMEMBERED: usize = 4096;

/// A section of a message may hold 3000 characters.
const MOST_SECTION: usize = 2900;

/// The signing secret of the Slack app.
pub struct Secret(hmac::Key);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Takes the secret as Slack shows it.
    pub fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }
}

/// The two headers by which Slack signs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signed<'a> {
    /// `X-Slack-Request-Timestamp`.
    pub timestamp: Option<&'a str>,
    /// `X-Slack-Signature`.
    pub signature: Option<&'a str>,
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// A header is missing, or is none.
    #[error("it is not signed")]
    Unsigned,
    /// It is too old, or from the future.
    #[error(
        "it was signed more than five minutes ago, or ahead: see to the clock of this machine, if it is Slack's"
    )]
    Stale,
    /// The signature is another.
    #[error(
        "its signature is wrong: it is not Slack's, was altered, or `signing_secret_file` is another app's"
    )]
    Signature,
    /// The very same request was here before.
    #[error("the same request was here before")]
    Replayed,
    /// Too many came within five minutes.
    #[error("too many requests came within five minutes")]
    TooMany,
}

/// Tells whether a request is Slack's, and of now.
pub fn verify(
    secret: &Secret,
    signed: Signed<'_>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Forged> {
    let (Some(timestamp), Some(signature)) = (signed.timestamp, signed.signature) else {
        return Err(Forged::Unsigned);
    };
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let Some(at) = digits.then(|| timestamp.parse::<u64>().ok()).flatten() else {
        return Err(Forged::Unsigned);
    };
    if at.abs_diff(now.as_millis() / 1000) > WINDOW_SECONDS {
        return Err(Forged::Stale);
    }
    let Some(tag) = signature.strip_prefix("v0=").and_then(bytes) else {
        return Err(Forged::Unsigned);
    };
    let mut base = format!("v0:{timestamp}:").into_bytes();
    base.extend_from_slice(body);
    hmac::verify(&secret.0, &base, &tag).map_err(|_wrong| Forged::Signature)
}

/// Genuine requests of the last minutes, by their signatures: within the window one counts once.
#[derive(Debug, Default)]
pub struct Remembered(BTreeMap<String, Timestamp>);

impl Remembered {
    /// Takes a genuine request in, unless it was here.
    pub fn first_time(&mut self, signature: &str, now: Timestamp) -> Result<(), Forged> {
        // Twice the window: what was signed ahead of this clock counts longer.
        let kept = |at: &Timestamp| now.since(*at).as_secs() <= 2 * WINDOW_SECONDS;
        self.0.retain(|_, at| kept(at));
        if self.0.contains_key(signature) {
            return Err(Forged::Replayed);
        }
        if self.0.len() >= MOST_REMEMBERED {
            return Err(Forged::TooMany);
        }
        self.0.insert(signature.to_owned(), now);
        Ok(())
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> =
        hex.chars().map(|c| c.to_digit(16).filter(|_| !c.is_ascii_uppercase())).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair.iter().fold(0, |all, d| all * 16 + d)).ok())
        .collect()
}

/// What somebody said, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The user's id: names can be changed by their owners.
    pub user: String,
    /// The user's name, for people.
    pub name: String,
    /// The channel's id.
    pub channel: String,
    /// What they said.
    pub text: String,
    /// Where later words go.
    pub response_url: Option<String>,
}

/// What a genuine request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Slack looks whether anybody is there.
    Check,
    /// Somebody said something.
    Heard(Heard),
}

/// Reads a slash command.
pub fn command(body: &[u8]) -> Option<Request> {
    let mut fields = form::fields(body)?;
    if fields.get("ssl_check").is_some_and(|value| value == "1") {
        return Some(Request::Check);
    }
    let user = fields.remove("user_id").filter(|user| !user.is_empty())?;
    Some(Request::Heard(Heard {
        user,
        name: fields.remove("user_name").unwrap_or_default(),
        channel: fields.remove("channel_id").unwrap_or_default(),
        text: fields.remove("text").unwrap_or_default(),
        response_url: fields.remove("response_url"),
    }))
}

/// Reads the pressing of a button.
pub fn action(body: &[u8]) -> Option<Heard> {
    let payload = form::fields(body)?.remove("payload")?;
    let payload: Value = serde_json::from_str(&payload).ok()?;
    if payload.get("type")?.as_str()? != "block_actions" {
        return None;
    }
    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Some(Heard {
        user: text("/user/id").filter(|user| !user.is_empty())?,
        name: text("/user/username").or_else(|| text("/user/name")).unwrap_or_default(),
        channel: text("/channel/id").unwrap_or_default(),
        text: text("/actions/0/value")?,
        response_url: text("/response_url"),
    })
}

/// Returns a reply as Slack takes it.
pub fn message(reply: &Reply) -> Value {
    let kind = match reply.seen_by {
        SeenBy::Asker => "ephemeral",
        SeenBy::Channel => "in_channel",
    };
    with_blocks(
        reply,
        [
            ("response_type", json!(kind)),
            ("replace_original", json!(false)),
            ("text", json!(body(reply))),
            ("unfurl_links", json!(false)),
        ],
    )
}

/// Returns a message of the bot to a channel.
pub fn post(channel: &str, reply: &Reply) -> Value {
    with_blocks(
        reply,
        [
            ("channel", json!(channel)),
            ("text", json!(body(reply))),
            ("unfurl_links", json!(false)),
            ("unfurl_media", json!(false)),
        ],
    )
}

fn with_blocks(reply: &Reply, fields: [(&str, Value); 4]) -> Value {
    // Where there are blocks, they are what is shown.
    let blocks = (!reply.buttons.is_empty()).then(|| ("blocks", blocks(reply)));
    fields.into_iter().chain(blocks).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn body(reply: &Reply) -> String {
    let text = head(&seen(&reply.text), MOST_SECTION, escaped);
    let Some(output) = &reply.output else { return text };
    let most = MOST_BYTES.saturating_sub(text.len() + 16);
    format!("{text}\n```\n{}\n```", head(&seen(output), most, escaped_code))
}

fn blocks(reply: &Reply) -> Value {
    let text = head(&seen(&reply.text), MOST_SECTION, escaped);
    let buttons: Vec<Value> = (0..).zip(&reply.buttons).map(|(at, b)| button(at, b)).collect();
    json!([
        { "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } },
        { "type": "actions", "elements": buttons },
    ])
}

fn button(at: u32, button: &Button) -> Value {
    let plain = |text: &str, most: usize| {
        let text: String = seen(text).chars().take(most).collect();
        json!({ "type": "plain_text", "text": text })
    };
    let action = format!("serin-{at}");
    let label = plain(button.label, 75);
    let Some(will) = &button.will else {
        return json!({ "type": "button", "action_id": action, "text": label, "value": button.says });
    };
    json!({
        "type": "button",
        "action_id": action,
        "text": label,
        "value": button.says,
        "style": "danger",
        "confirm": {
            "title": plain(button.label, 100),
            "text": plain(will, 300),
            "confirm": plain(button.label, 30),
            "deny": plain("Leave it", 30),
        },
    })
}

/// Slack asks for these three to be escaped, and then takes nothing for a mention or an address.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn escaped_code(text: &str) -> String {
    escaped(&text.replace('`', "'"))
}

#[cfg(test)]
mod tests;
