//! Mattermost's door: whether a request is Mattermost's, what it asks, and what is shown in return.
//!
//! Mattermost signs nothing: a slash command carries the token of the command, in a header and in the form. The pressing
//! of a button carries no token at all, only the context that the button was made with; so that holds a signature of
//! ours over what the button says, and a time.

use crate::confirm::hex;
use crate::form;
use crate::reply::{Button, Reply, SeenBy, head, seen};
use crate::slack::Heard;
use ring::hmac;
use serde_json::{Value, json};
use serin_model::Timestamp;
use std::fmt;
use std::time::Duration;

/// A post may have 16383 characters; so much of it is read by a person.
const MOST: usize = 12_000;

/// How long a button can be pressed. A run lasts for hours; what is older is typed.
const PRESSABLE: Duration = Duration::from_hours(24);

/// The tokens of the slash commands. There may be several, while one is being replaced.
pub struct Tokens(Vec<String>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} token(s)", self.0.len())
    }
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// There is no token.
    #[error("it has no token")]
    NoToken,
    /// It is none of ours.
    #[error("its token is none of those in `token_files`")]
    Token,
    /// The form cannot be read.
    #[error("it is no form of a slash command")]
    Form,
    /// The button was not made here, was altered, or is too old.
    #[error("the button was not made by this Serin, or is older than a day")]
    Button,
}

impl Tokens {
    /// Takes tokens as Mattermost shows them.
    pub fn new(tokens: Vec<String>) -> Self {
        Self(tokens)
    }

    /// In a time that says nothing about how much of a token was right.
    fn have(&self, token: &str) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"serin: tokens of Mattermost");
        let same = |known: &String| {
            let tag = hmac::sign(&key, known.as_bytes());
            hmac::verify(&key, token.as_bytes(), tag.as_ref()).is_ok()
        };
        // All are compared, whichever fits.
        self.0.iter().filter(|known| same(known)).count() > 0
    }
}

/// Reads a slash command, if its token is one of ours. `authorization` is the header, if it is there.
pub fn command(tokens: &Tokens, authorization: Option<&str>, body: &[u8]) -> Result<Heard, Forged> {
    let mut fields = form::fields(body).ok_or(Forged::Form)?;
    let header = authorization.map(|header| header.strip_prefix("Token ").ok_or(Forged::Token));
    let field = fields.remove("token").filter(|token| !token.is_empty());
    // Where both are there, both count: none of them stands in for the other.
    let given: Vec<String> =
        header.transpose()?.map(str::to_owned).into_iter().chain(field).collect();
    if given.is_empty() {
        return Err(Forged::NoToken);
    }
    if !given.iter().all(|token| tokens.have(token)) {
        return Err(Forged::Token);
    }
    let user = fields.remove("user_id").filter(|user| !user.is_empty()).ok_or(Forged::Form)?;
    Ok(Heard {
        user,
        name: fields.remove("user_name").unwrap_or_default(),
        channel: fields.remove("channel_id").unwrap_or_default(),
        text: fields.remove("text").unwrap_or_default(),
        response_url: fields.remove("response_url"),
    })
}

/// Reads the pressing of a button, if the button was made here.
pub fn action(tokens: &Tokens, body: &[u8], now: Timestamp) -> Result<Heard, Forged> {
    let body: Value = serde_json::from_slice(body).map_err(|_not_json| Forged::Form)?;
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let says = text("/context/says").ok_or(Forged::Form)?;
    let until = body.pointer("/context/until").and_then(Value::as_u64).ok_or(Forged::Form)?;
    let signature = text("/context/signature").ok_or(Forged::Form)?;
    let genuine = tokens.0.iter().filter(|token| sign(token, &says, until).is(&signature)).count();
    if genuine == 0 || now.as_millis() > until {
        return Err(Forged::Button);
    }
    Ok(Heard {
        user: text("/user_id").filter(|user| !user.is_empty()).ok_or(Forged::Form)?,
        name: text("/user_name").unwrap_or_default(),
        channel: text("/channel_id").unwrap_or_default(),
        text: says,
        response_url: None,
    })
}

struct Signature(hmac::Tag);

impl Signature {
    /// In constant time: the digits are signed once more and compared as bytes.
    fn is(&self, given: &str) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"serin: signatures of buttons");
        let tag = hmac::sign(&key, hex(self.0.as_ref()).as_bytes());
        hmac::verify(&key, given.as_bytes(), tag.as_ref()).is_ok()
    }
}

fn sign(token: &str, says: &str, until: u64) -> Signature {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    Signature(hmac::sign(&key, format!("serin button\n{until}\n{says}").as_bytes()))
}

/// How buttons come back.
#[derive(Debug, Clone, Copy)]
pub struct Buttons<'a> {
    /// The address at which Mattermost reaches this Serin's `/mattermost/action`; without it there are no buttons.
    pub url: Option<&'a str>,
    /// What they are signed with.
    pub tokens: &'a Tokens,
    /// When they are made.
    pub now: Timestamp,
}

/// Returns a reply as Mattermost takes it.
pub fn message(reply: &Reply, buttons: Buttons<'_>) -> Value {
    let kind = match reply.seen_by {
        SeenBy::Asker => "ephemeral",
        SeenBy::Channel => "in_channel",
    };
    let actions = actions(reply, buttons);
    let attachments = if actions.is_empty() { json!([]) } else { json!([{ "actions": actions }]) };
    json!({
        "response_type": kind,
        "text": body(reply),
        "skip_slack_parsing": true,
        "attachments": attachments,
    })
}

fn actions(reply: &Reply, buttons: Buttons<'_>) -> Vec<Value> {
    let (Some(url), Some(token)) = (buttons.url, buttons.tokens.0.first()) else {
        return Vec::new();
    };
    let until = buttons.now.plus(PRESSABLE).as_millis();
    (0..).zip(&reply.buttons).map(|(at, b)| button((at, b), (url, token), until)).collect()
}

fn button((at, button): (u32, &Button), (url, token): (&str, &str), until: u64) -> Value {
    let signature = hex(sign(token, &button.says, until).0.as_ref());
    let context = json!({ "says": button.says, "until": until, "signature": signature });
    json!({
        "id": format!("serin{at}"),
        "name": button.label,
        "integration": { "url": url, "context": context },
    })
}

/// Returns what somebody sees who pressed a button.
pub fn pressed(reply: &Reply) -> Value {
    json!({ "ephemeral_text": body(reply), "skip_slack_parsing": true })
}

/// Returns a message for an incoming webhook: to a channel, or to the webhook's own.
pub fn post(channel: Option<&str>, reply: &Reply) -> Value {
    match channel {
        Some(channel) => json!({ "channel": channel, "text": body(reply) }),
        None => json!({ "text": body(reply) }),
    }
}

fn body(reply: &Reply) -> String {
    let text = head(&seen(&reply.text), MOST / 2, escaped);
    let Some(output) = &reply.output else { return text };
    let most = MOST.saturating_sub(text.len() + 16);
    // Nothing is marked up in a block of code, so only its end has to be out of reach, and names that call people.
    format!("{text}\n```\n{}\n```", head(&seen(output), most, in_code))
}

/// Mattermost takes Markdown, and `@all` calls people wherever it stands.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\*_~[]<>|#!".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
        if c == '@' {
            escaped.push('\u{200b}');
        }
    }
    escaped.replace("://", ":\u{200b}//")
}

fn in_code(text: &str) -> String {
    text.replace('`', "'").replace('@', "@\u{200b}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(vec!["first-token".to_owned(), "second-token".to_owned()])
    }

    fn at(hours: u64) -> Timestamp {
        Timestamp::from_millis(hours * 3_600_000)
    }

    #[test]
    fn a_request_has_a_token_of_ours_or_is_not_read() {
        let body = |token: &str| format!("token={token}&user_id=u1&user_name=mira&text=status");
        for (header, field, expected) in [
            (Some("Token first-token"), "first-token", None),
            (Some("Token second-token"), "", None),
            (None, "second-token", None),
            (None, "", Some(Forged::NoToken)),
            (None, "first-toke", Some(Forged::Token)),
            (Some("Token wrong"), "first-token", Some(Forged::Token)),
            (Some("Token first-token"), "wrong", Some(Forged::Token)),
            (Some("Bearer first-token"), "first-token", Some(Forged::Token)),
            (Some("Token "), "first-token", Some(Forged::Token)),
        ] {
            let heard = command(&tokens(), header, body(field).as_bytes());
            assert_eq!(heard.err(), expected, "{header:?} {field}");
        }
        assert_eq!(
            command(&Tokens::new(Vec::new()), None, body("x").as_bytes()),
            Err(Forged::Token)
        );
        assert_eq!(command(&tokens(), None, b"token=first-token"), Err(Forged::Form));
    }

    fn pressed_body(says: &str) -> (Value, Value) {
        let halt = Button { label: "Halt", says: says.to_owned(), will: None };
        let tokens = tokens();
        let buttons =
            Buttons { url: Some("http://serin/mattermost/action"), tokens: &tokens, now: at(0) };
        let message = message(&Reply::to_channel("x").with_button(halt), buttons);
        let context = message["attachments"][0]["actions"][0]["integration"]["context"].clone();
        (json!({ "user_id": "u1", "channel_id": "c1", "context": context }), message)
    }

    #[test]
    fn a_button_is_believed_as_it_was_made_and_for_a_day() {
        let (body, _) = pressed_body("halt r-7 --reason x");
        let press = |body: &Value, now| action(&tokens(), body.to_string().as_bytes(), now);
        assert_eq!(press(&body, at(1)).unwrap().text, "halt r-7 --reason x");
        assert_eq!(press(&body, at(25)), Err(Forged::Button));
        for (pointer, value) in [
            ("/context/says", json!("promote")),
            ("/context/until", json!(u64::MAX)),
            ("/context/signature", json!("0".repeat(64))),
            ("/context/signature", json!("")),
        ] {
            let mut altered = body.clone();
            *altered.pointer_mut(pointer).unwrap() = value;
            assert_eq!(press(&altered, at(1)), Err(Forged::Button), "{pointer}");
        }
        assert_eq!(press(&json!({ "user_id": "u1", "text": "promote" }), at(1)), Err(Forged::Form));
        assert_eq!(action(&tokens(), b"{", at(1)), Err(Forged::Form));
        let none = Tokens::new(Vec::new());
        assert_eq!(action(&none, body.to_string().as_bytes(), at(1)), Err(Forged::Button));
    }

    #[test]
    fn what_is_shown_calls_nobody_and_is_not_marked_up() {
        let tokens = tokens();
        let buttons = Buttons { url: None, tokens: &tokens, now: at(0) };
        let reply = Reply::to_channel("@all [x](http://y) **b**").with_output("``` @here");
        let message = message(&reply, buttons);
        assert_eq!(
            message["text"],
            "@\u{200b}all \\[x\\](http:\u{200b}//y) \\*\\*b\\*\\*\n```\n''' @\u{200b}here\n```"
        );
    }
}
