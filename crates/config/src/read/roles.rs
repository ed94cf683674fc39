//! `[roles.*]`: what hosts do.

use super::Reader;
use crate::at::{Text, Texts};
use crate::raw::{RawAction, RawAtDeadline, RawDrain, RawQuiet, RawRole, RawRoleStage};
use serin_model::{AtDeadline, Drain, Limit, Quiet, Role, RoleName, ServiceAction, ServiceHow};
use std::collections::BTreeMap;
use std::time::Duration;

/// One host at a time is what nobody regrets.
const MAX_UNAVAILABLE: Limit = Limit::Count(1);
/// A minute lets ordinary requests end.
const DRAIN_DEADLINE: Duration = Duration::from_mins(1);
/// Twice that for jobs.
const QUIET_DEADLINE: Duration = Duration::from_mins(2);
/// A service that dies at once has died within five seconds.
const HEALTHY_FOR: Duration = Duration::from_secs(5);
/// A Rails application boots in a minute or two.
const HEALTHY_DEADLINE: Duration = Duration::from_mins(5);
/// How servers are named by everybody who has not thought about it.
const SERVER: &str = "{label}";

/// The roles as the rest of the reading needs them.
pub(crate) struct Roles(pub(crate) BTreeMap<RoleName, ReadRole>);

/// A role, and what the model does not need to know of it.
pub(crate) struct ReadRole {
    /// The role.
    pub(crate) model: Role,
    /// The template of its servers' names.
    pub(crate) server: String,
    /// Which stage of the built-in pipeline deploys it.
    pub(crate) stage: RawRoleStage,
    /// Where it was written.
    pub(crate) written: Text,
}

impl Roles {
    /// Returns the roles as the model has them.
    pub(crate) fn models(&self) -> BTreeMap<RoleName, Role> {
        self.0.iter().map(|(name, role)| (name.clone(), role.model.clone())).collect()
    }

    /// Returns the role of the deploy host.
    pub(crate) fn deploy(&self) -> Option<&ReadRole> {
        self.0.values().find(|role| role.model.migrations)
    }

    /// Returns the names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(RoleName::as_str)
    }
}

/// Reads the roles.
pub(crate) fn roles(reader: &mut Reader, raw: &BTreeMap<Text, RawRole>) -> Roles {
    let mut roles = Roles(BTreeMap::new());
    for (name, raw) in raw {
        let Some(read) = role(reader, name, raw) else { continue };
        if let Some(other) = roles.deploy().filter(|_| read.model.migrations) {
            let other = other.written.span();
            let message = format!("`{}` is a second role with `migrations = true`", name.get());
            let help = "keep it on one role: migrations run on one host of an environment";
            reader.wrong_with(name.span(), message, help, (other, "the first one"));
        }
        roles.0.insert(read.model.name.clone(), read);
    }
    roles
}

fn role(reader: &mut Reader, written: &Text, raw: &RawRole) -> Option<ReadRole> {
    let name = reader.name(written);
    let services = services(reader, raw);
    let backends = reader.names(&raw.backends);
    let server = server(reader, raw);
    let max_unavailable = limit(reader, raw);
    let drain = drain(reader, written, raw);
    let quiet = quiet(reader, written, raw);
    let health = raw.health.as_ref().map(|url| reader.url(url));
    let healthy_for = reader.duration_or_zero(raw.healthy_for.as_ref(), HEALTHY_FOR);
    let healthy_deadline = reader.duration_or(raw.healthy_deadline.as_ref(), HEALTHY_DEADLINE);
    if healthy_for >= healthy_deadline {
        let place = raw.healthy_for.as_ref().or(raw.healthy_deadline.as_ref()).unwrap_or(written);
        let message = "a host can never be healthy for so long before the deadline";
        let help = "write a `healthy_deadline` that is longer than `healthy_for`";
        reader.wrong(place.span(), message, help);
    }
    let model = Role {
        name: name?,
        migrations: raw.migrations,
        services,
        backends,
        max_unavailable,
        drain,
        quiet: quiet?,
        health: health.flatten(),
        healthy_for,
        healthy_deadline,
    };
    Some(ReadRole { model, server, stage: raw.stage, written: written.clone() })
}

fn services(reader: &mut Reader, raw: &RawRole) -> Vec<ServiceAction> {
    let mut services: Vec<ServiceAction> = Vec::new();
    for service in &raw.services {
        let Some(name) = reader.name(&service.name) else { continue };
        if services.iter().any(|other| other.name == name) {
            let message = format!("the service `{name}` is in this list twice");
            reader.wrong(service.name.span(), message, "remove one of them");
        }
        let how = match service.action {
            RawAction::Hup => ServiceHow::Hup,
            RawAction::Restart => ServiceHow::Restart,
        };
        let folders = |folders: &Vec<Text>| {
            folders.iter().filter_map(|folder| reader.folder_on_host(folder)).collect()
        };
        let loads = service.loads.as_ref().map(folders);
        services.push(ServiceAction { name, how, loads });
    }
    services
}

fn server(reader: &mut Reader, raw: &RawRole) -> String {
    let Some(text) = &raw.server else {
        return SERVER.to_owned();
    };
    reader.placeholders(text, &["label", "host"]);
    if !text.get().contains("{label}") && !text.get().contains("{host}") {
        let message = "every host would have the same server name";
        reader.wrong(text.span(), message, "write `{label}` or `{host}` somewhere in it");
    }
    if raw.backends.is_empty() {
        let message = "a role without backends has no servers to name";
        reader.wrong(text.span(), message, "remove `server`, or add `backends`");
    }
    text.get().clone()
}

fn limit(reader: &mut Reader, raw: &RawRole) -> Limit {
    let Some(written) = &raw.max_unavailable else {
        return MAX_UNAVAILABLE;
    };
    written.get().0.parse().unwrap_or_else(|_| {
        let message = format!("`{}` is not a number of hosts", written.get().0);
        let help = "write a number of at least 1, such as `2`, or a percentage such as `\"25%\"`";
        reader.wrong(written.span(), message, help);
        MAX_UNAVAILABLE
    })
}

fn drain(reader: &mut Reader, written: &Text, raw: &RawRole) -> Drain {
    let no_drain = RawDrain { deadline: None, then: RawAtDeadline::Fail };
    let drain = raw.drain.as_ref();
    if let Some(drain) = drain.filter(|_| raw.backends.is_empty()) {
        let message = format!("the role `{}` has no backends to drain", written.get());
        reader.wrong(drain.span(), message, "remove `drain`, or add `backends`");
    }
    let drain = drain.map_or(&no_drain, |drain| drain.get());
    Drain {
        deadline: reader.duration_or(drain.deadline.as_ref(), DRAIN_DEADLINE),
        then: at_deadline(drain.then),
    }
}

fn quiet(reader: &mut Reader, written: &Text, raw: &RawRole) -> Option<Quiet> {
    let Some(quiet) = &raw.quiet else {
        if raw.backends.is_empty() {
            let message = format!(
                "the role `{}` has no backends, and does not say how it goes quiet",
                written.get()
            );
            let help = "add `quiet = \"none\"`, `\"graceful\"` or a table with `stop_fetching`, \
                        or add `backends`";
            reader.wrong(written.span(), message, help);
        }
        return Some(Quiet::None);
    };
    match quiet.get() {
        RawQuiet::None => Some(Quiet::None),
        RawQuiet::Graceful => {
            if raw.services.is_empty() {
                let message = "no service of this role could hand over";
                reader.wrong(quiet.span(), message, "add `services`, or write `quiet = \"none\"`");
            }
            Some(Quiet::Graceful)
        }
        RawQuiet::StopFetching(raw) => {
            let command = |reader: &mut Reader, words: &Texts| reader.argv(words, &[]);
            let stop = command(reader, &raw.stop_fetching);
            let idle = command(reader, &raw.idle);
            let deadline = reader.duration_or(raw.deadline.as_ref(), QUIET_DEADLINE);
            let then = at_deadline(raw.then);
            Some(Quiet::StopFetching { stop: stop?, idle: idle?, deadline, then })
        }
    }
}

fn at_deadline(raw: RawAtDeadline) -> AtDeadline {
    match raw {
        RawAtDeadline::Fail => AtDeadline::Fail,
        RawAtDeadline::Kill => AtDeadline::Kill,
        RawAtDeadline::Proceed => AtDeadline::Proceed,
    }
}
