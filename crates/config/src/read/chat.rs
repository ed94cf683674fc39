//! `[chat]`: doors, and who is told what.

use super::{Reader, is_loopback};
use crate::at::{At, Text};
use crate::raw::{RawChat, RawMattermost, RawNotify, RawNotifyEvent, RawSlack, RawWebhook};
use crate::{Chat, Mattermost, Notify, NotifyTo, Slack, Webhook};
use serin_model::{EnvironmentName, NoticeKind, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What is told where a rule does not say: what a person must see to, and that it is over.
const EVENTS: [NoticeKind; 2] = [NoticeKind::Halted, NoticeKind::Finished];

pub(super) fn chat(reader: &mut Reader, raw: Option<&RawChat>, topology: &Topology) -> Chat {
    let Some(raw) = raw else { return Chat::default() };
    let slack = raw.slack.as_ref().and_then(|raw| slack(reader, raw));
    let mattermost = raw.mattermost.as_ref().and_then(|raw| mattermost(reader, raw));
    let webhooks = webhooks(reader, &raw.webhooks);
    let notify = raw.notify.iter().filter_map(|rule| notify(reader, (raw, rule), topology));
    let notify = notify.collect();
    Chat { slack, mattermost, webhooks, notify }
}

fn slack(reader: &mut Reader, raw: &RawSlack) -> Option<Slack> {
    let url = raw.url.as_ref().and_then(|url| private_url(reader, url));
    Some(Slack {
        signing_secret_file: reader.path(&raw.signing_secret_file)?,
        bot_token_file: path(reader, raw.bot_token_file.as_ref()),
        url,
    })
}

fn mattermost(reader: &mut Reader, raw: &RawMattermost) -> Option<Mattermost> {
    let url = private_url(reader, &raw.url);
    let token_files: Vec<PathBuf> =
        raw.token_files.iter().filter_map(|text| reader.path(text)).collect();
    if raw.token_files.is_empty() {
        let help = "name the file with the token that Mattermost showed with the slash command";
        reader.wrong(raw.url.span(), "Mattermost has no `token_files` here", help);
    }
    Some(Mattermost {
        url: url?,
        token_files,
        webhook_file: path(reader, raw.webhook_file.as_ref()),
        actions_url: raw.actions_url.as_ref().and_then(|url| reader.url(url)),
    })
}

fn webhooks(reader: &mut Reader, raw: &BTreeMap<Text, RawWebhook>) -> BTreeMap<String, Webhook> {
    let mut webhooks = BTreeMap::new();
    for (name, raw) in raw {
        let token_file = path(reader, raw.token_file.as_ref());
        let url = match &raw.token_file {
            Some(_) => private_url(reader, &raw.url),
            None => reader.url(&raw.url),
        };
        if let Some(url) = url {
            webhooks.insert(name.get().clone(), Webhook { url, token_file });
        }
    }
    webhooks
}

fn notify(
    reader: &mut Reader,
    (chat, rule): (&RawChat, &At<RawNotify>),
    topology: &Topology,
) -> Option<Notify> {
    let rule = rule.get();
    let events = match &rule.events {
        Some(events) => events.iter().copied().map(kind).collect(),
        None => BTreeSet::from(EVENTS),
    };
    let mut environments = BTreeSet::new();
    for text in &rule.environments {
        let known = topology.environments.keys();
        match known.clone().find(|name| name.as_str() == text.get()) {
            Some(name) => drop(environments.insert(name.clone())),
            None => reader.unknown("environment", text, known.map(EnvironmentName::as_str)),
        }
    }
    Some(Notify { to: to(reader, chat, &rule.to)?, events, environments })
}

/// Reads who is told, and makes sure that there is a way to tell them.
fn to(reader: &mut Reader, chat: &RawChat, text: &Text) -> Option<NotifyTo> {
    let Some((kind @ ("slack" | "mattermost" | "webhook"), name)) = text.get().split_once(':')
    else {
        let message = format!("`{}` is nobody who can be told", text.get());
        let help = "write `slack:#CHANNEL`, `mattermost:CHANNEL` or `webhook:NAME`";
        reader.wrong(text.span(), message, help);
        return None;
    };
    if kind == "webhook" {
        if !chat.webhooks.keys().any(|known| known.get() == name) {
            let known = chat.webhooks.keys().map(|known| known.get().as_str());
            let known: Vec<String> = known.map(|name| format!("webhook:{name}")).collect();
            reader.unknown("webhook", text, known.iter().map(String::as_str));
        }
        return Some(NotifyTo::Webhook(name.to_owned()));
    }
    let fits = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let bare = name.trim_start_matches('#');
    if bare.is_empty() || bare.len() > 80 || !bare.chars().all(fits) {
        let help = "write its name or its id: letters, digits, `-`, `_` and `.`";
        reader.wrong(text.span(), format!("`{name}` is not a channel"), help);
    }
    let (to, way, wanted) = if kind == "slack" {
        let way = chat.slack.as_ref().is_some_and(|slack| slack.bot_token_file.is_some());
        (NotifyTo::Slack(name.to_owned()), way, "`bot_token_file` under [chat.slack]")
    } else {
        let way = chat.mattermost.as_ref().is_some_and(|chat| chat.webhook_file.is_some());
        (NotifyTo::Mattermost(bare.to_owned()), way, "`webhook_file` under [chat.mattermost]")
    };
    if !way {
        let message = "nothing can be told there by itself";
        reader.wrong(text.span(), message, format!("add {wanted}"));
    }
    Some(to)
}

fn kind(raw: RawNotifyEvent) -> NoticeKind {
    match raw {
        RawNotifyEvent::Started => NoticeKind::Started,
        RawNotifyEvent::Halted => NoticeKind::Halted,
        RawNotifyEvent::Finished => NoticeKind::Finished,
        RawNotifyEvent::Cancelled => NoticeKind::Cancelled,
    }
}

fn path(reader: &mut Reader, text: Option<&Text>) -> Option<PathBuf> {
    text.and_then(|text| reader.path(text))
}

/// Reads an address to which secrets are sent.
fn private_url(reader: &mut Reader, text: &Text) -> Option<String> {
    let url = reader.base_url(text)?;
    if url.strip_prefix("http://").is_some_and(|rest| !is_loopback(rest)) {
        let help = "write `https://`; only on this machine nobody listens";
        reader.wrong(text.span(), "secrets would be sent in the clear", help);
    }
    Some(url)
}
