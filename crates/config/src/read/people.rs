//! `[people]` and `[gitlab]`: who may do what, and how jobs say who asks.

use super::{Reader, is_loopback};
use crate::Jobs;
use crate::at::{At, Text};
use crate::raw::{RawConfig, RawGitlab, RawPerson, RawPersonRole};
use serin_model::{AccountKind, EnvironmentName, People, Person, PersonName, PersonRole, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What stands for every environment.
const EVERYWHERE: &str = "*";
/// GitLab numbers projects from 1.
const LARGEST_PROJECT: i64 = i64::MAX;

/// Where accounts were named first: one that two people had would be neither's.
type Seen = BTreeMap<(AccountKind, String), Range<usize>>;

/// Reads the people.
pub(super) fn people(reader: &mut Reader, raw: &RawConfig, topology: &Topology) -> People {
    let Some(written) = &raw.people else { return People::default() };
    if written.get().is_empty() {
        let message = "nobody could do anything";
        let help = "list at least one person, or remove the table: then everybody may";
        reader.wrong(written.span(), message, help);
    }
    let mut seen = Seen::new();
    let mut people = BTreeMap::new();
    for (name, raw) in written.get() {
        if let Some(person) = person(reader, (name, raw), topology, &mut seen) {
            people.insert(person.name.clone(), person);
        }
    }
    People(people)
}

fn person(
    reader: &mut Reader,
    (written, raw): (&Text, &RawPerson),
    topology: &Topology,
    seen: &mut Seen,
) -> Option<Person> {
    let name: Option<PersonName> = reader.name(written);
    let mut accounts = BTreeMap::new();
    for (kind, texts) in [
        (AccountKind::Unix, &raw.unix),
        (AccountKind::Gitlab, &raw.gitlab),
        (AccountKind::Slack, &raw.slack),
        (AccountKind::Mattermost, &raw.mattermost),
    ] {
        let names = self::accounts(reader, kind, texts, seen);
        if !names.is_empty() {
            accounts.insert(kind, names);
        }
    }
    let texts = [&raw.unix, &raw.gitlab, &raw.slack, &raw.mattermost];
    if texts.iter().all(|texts| texts.is_empty()) {
        let message = format!("nothing says how `{}` is known", written.get());
        let help = "write `unix`, `gitlab`, `slack` or `mattermost`, each a list of accounts";
        reader.wrong(written.span(), message, help);
    }
    let (everywhere, roles) = roles(reader, &raw.roles, topology);
    Some(Person { name: name?, accounts, everywhere, roles })
}

fn accounts(
    reader: &mut Reader,
    kind: AccountKind,
    texts: &[Text],
    seen: &mut Seen,
) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in texts {
        let Some(name) = reader.not_empty(text, "an account") else { continue };
        if let Some(first) = seen.get(&(kind, name.clone())) {
            let message = format!("`{name}` would be two people");
            let also = (first.clone(), "it is named here first");
            reader.wrong_with(text.span(), message, "remove one of them", also);
            continue;
        }
        seen.insert((kind, name.clone()), text.span());
        names.insert(name);
    }
    names
}

fn roles(
    reader: &mut Reader,
    written: &At<BTreeMap<Text, RawPersonRole>>,
    topology: &Topology,
) -> (Option<PersonRole>, BTreeMap<EnvironmentName, PersonRole>) {
    if written.get().is_empty() {
        let message = "this person may do nothing";
        let help = "write, say, `roles = { \"*\" = \"viewer\" }`";
        reader.wrong(written.span(), message, help);
    }
    let (mut everywhere, mut roles) = (None, BTreeMap::new());
    for (place, raw) in written.get() {
        let known = topology.environments.keys().find(|name| name.as_str() == place.get());
        match known {
            Some(name) => {
                roles.insert(name.clone(), role(*raw));
            }
            None if place.get() == EVERYWHERE => everywhere = Some(role(*raw)),
            None => {
                let names = topology.environments.keys().map(EnvironmentName::as_str);
                reader.unknown("environment", place, names.chain([EVERYWHERE]));
            }
        }
    }
    (everywhere, roles)
}

fn role(raw: RawPersonRole) -> PersonRole {
    match raw {
        RawPersonRole::Viewer => PersonRole::Viewer,
        RawPersonRole::Operator => PersonRole::Operator,
        RawPersonRole::ReleaseManager => PersonRole::ReleaseManager,
        RawPersonRole::Admin => PersonRole::Admin,
    }
}

/// Reads how the user behind a job is known.
pub(super) fn jobs(reader: &mut Reader, written: Option<&At<RawGitlab>>) -> Jobs {
    let Some(written) = written else { return Jobs::Unproven };
    let raw = written.get();
    let api = raw.api.as_ref().and_then(|text| api(reader, text));
    let verified = raw.verify_jobs == Some(true);
    let trusted = raw.trust_variables.as_ref().filter(|trusted| *trusted.get());
    if let Some(projects) = raw.projects.as_ref().filter(|_| !verified) {
        let message = "nothing says of which project a job is";
        reader.wrong(projects.span(), message, "add `verify_jobs = true`, or remove this");
    }
    match (verified, trusted) {
        (true, Some(trusted)) => {
            let message = "a job is either verified, or its variables are believed";
            reader.wrong(trusted.span(), message, "remove this, or `verify_jobs`");
            Jobs::Unproven
        }
        (true, None) if raw.api.is_none() => {
            let message = "this does not say which GitLab is asked";
            let help = "add `api = \"https://gitlab.example.com/api/v4\"`: what a job says itself \
                        proves nothing";
            reader.wrong(written.span(), message, help);
            Jobs::Unproven
        }
        (true, None) => {
            let written = raw.projects.iter().flat_map(At::get);
            let numbers = written.map(|number| reader.whole(number, 1..=LARGEST_PROJECT));
            let projects = numbers.filter_map(|number| u64::try_from(number).ok()).collect();
            Jobs::Verified { api: api.unwrap_or_default(), projects }
        }
        (false, Some(_)) => Jobs::Trusted,
        (false, None) => Jobs::Unproven,
    }
}

/// Reads the address that jobs' tokens are sent to.
fn api(reader: &mut Reader, text: &Text) -> Option<String> {
    let url = reader.base_url(text)?;
    if url.strip_prefix("http://").is_some_and(|rest| !is_loopback(rest)) {
        let message = "tokens of jobs would be sent in the clear";
        reader.wrong(text.span(), message, "write `https://`");
        return None;
    }
    Some(url)
}
