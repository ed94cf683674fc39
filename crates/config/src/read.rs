//! What a file of the right shape means: names, numbers, commands and how they hang together.
//!
//! Every function reports what is wrong to the [`Reader`] and carries on with what is left, so that a person sees all
//! of it at once. A value that could not be read is `None`; whoever needs it gives up too, silently, because the
//! reason was already reported. Only [`config`] decides: one report, and there is no configuration.

mod built_in;
mod deployments;
mod chat;
mod environments;
mod freeze;
mod hosts;
mod journal;
mod people;
mod pipelines;
mod roles;
mod sources;
mod values;

pub(crate) use values::Reader;

use crate::at::Text;
use crate::diagnostic::Diagnostic;
use crate::raw::{
    RawBuildKind, RawConfig, RawProfile, RawPromotion, RawRepository, RawSsh, RawWhenBusy,
};
use crate::suggest::instead_of;
use crate::{Config, Contents, Login, Promotion, Repository, Ssh, profiles};
use serin_model::{BuildKind, Topology, WhenBusy};
use std::path::Path;
use std::time::Duration;

/// OpenSSH's server starts to refuse beyond ten logins in progress; hosts are many, jump hosts are few.
const MAX_CONNECTING: usize = 16;
/// More than this, and a jump host or the controller's own limits are hit first.
const MOST_CONNECTING: i64 = 1000;
/// How long a build must have been on the canary before it goes on by itself: long enough for people to have used it.
const BAKED_FOR: Duration = Duration::from_hours(1);
/// A login over a jump host on a loaded machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns what a file says, or everything that is wrong with it.
pub(crate) fn config(raw: &RawConfig, path: &Path) -> Result<Config, Vec<Diagnostic>> {
    let mut reader = Reader::new(path);
    let read = read(&mut reader, raw, path);
    match read {
        Some(config) if reader.found.is_empty() => Ok(config),
        Some(_) | None => Err(reader.found),
    }
}

fn read(reader: &mut Reader, raw: &RawConfig, path: &Path) -> Option<Config> {
    let package = reader.name(&raw.package.name);
    let profile = profile(reader, raw);
    let contents = contents(reader, raw);
    let repository = repository(reader, &raw.repository);
    let journal = journal::journal(reader, raw.journal.as_ref());
    let ssh = ssh(reader, raw.ssh.as_ref());
    let roles = roles::roles(reader, &raw.roles);
    let environments = environments::environments(reader, raw, &roles);
    let topology =
        Topology { package: package?, profile: profile?, roles: roles.models(), environments };
    let pipelines = pipelines::pipelines(reader, raw, &topology, &roles);
    let promotion = promotion(reader, raw.promotion.as_ref());
    let pushgateway = raw.pushgateway.as_ref().map(|raw| reader.base_url(&raw.url));
    let serves = environments::serves(reader, raw);
    let chat = chat::chat(reader, raw.chat.as_ref(), &topology);
    let people = people::people(reader, raw, &topology);
    let two_people = environments::two_people(reader, raw);
    let jobs = people::jobs(reader, raw.gitlab.as_ref());
    let deployments = deployments::deployments(reader, raw.gitlab.as_ref(), &topology);
    let (journal, state) = journal?;
    Some(Config {
        topology,
        repository: repository?,
        contents,
        journal,
        state,
        ssh: ssh?,
        pipelines,
        promotion,
        // An address that is wrong was reported, and there will be no configuration.
        pushgateway: pushgateway.flatten(),
        serves,
        deployments,
        chat,
        people,
        two_people,
        jobs,
        path: path.to_owned(),
    })
}

fn profile(reader: &mut Reader, raw: &RawConfig) -> Option<serin_model::Profile> {
    let name = &raw.package.profile;
    if !profiles::NAMES.contains(&name.get().as_str()) {
        let message = format!("there is no profile `{}`", name.get());
        reader.wrong(name.span(), message, instead_of(name.get(), profiles::NAMES));
        return None;
    }
    let unchanged = RawProfile::default();
    profiles::profile(reader, name.get(), raw.profile.as_ref().unwrap_or(&unchanged))
}

fn promotion(reader: &mut Reader, raw: Option<&RawPromotion>) -> Promotion {
    let baked_for = raw.and_then(|promotion| promotion.baked_for.as_ref());
    let when_busy = raw.and_then(|promotion| promotion.when_busy);
    Promotion {
        baked_for: reader.duration_or_zero(baked_for, BAKED_FOR),
        when_busy: when_busy.map_or(WhenBusy::QueueLatest, |raw| match raw {
            RawWhenBusy::Skip => WhenBusy::Skip,
            RawWhenBusy::QueueLatest => WhenBusy::QueueLatest,
            RawWhenBusy::Supersede => WhenBusy::Supersede,
        }),
    }
}

fn contents(reader: &mut Reader, raw: &RawConfig) -> Contents {
    let unchanged = RawProfile::default();
    let changes = raw.profile.as_ref().unwrap_or(&unchanged);
    profiles::contents(reader, raw.package.profile.get(), changes)
}

fn repository(reader: &mut Reader, raw: &RawRepository) -> Option<Repository> {
    let url = reader.base_url(&raw.url);
    let suite = reader.word_of_apt(&raw.suite);
    let mut or = |text: Option<&Text>, default: &str| match text {
        Some(text) => reader.word_of_apt(text),
        None => Some(default.to_owned()),
    };
    let component = or(raw.component.as_ref(), "main");
    let architecture = or(raw.architecture.as_ref(), "amd64");
    let kinds = raw.kinds.iter().filter_map(|kind| {
        let pattern = reader.not_empty(&kind.version, "a pattern such as `*-rc*`")?;
        Some((build_kind(kind.kind), pattern))
    });
    let kinds = kinds.collect();
    let downgrades = raw.downgrades.as_ref();
    let downgrades = downgrades.map(|kinds| kinds.iter().copied().map(build_kind).collect());
    let keyring = reader.path(&raw.keyring);
    let login = login(reader, raw);
    let embargo = raw.embargo.iter().filter_map(|text| embargo(reader, text)).collect();
    let readers = raw.embargo_readers.iter();
    let embargo_readers = readers.filter_map(|text| reader.not_empty(text, "a user")).collect();
    Some(Repository {
        url: url?,
        suite: suite?,
        component: component?,
        architecture: architecture?,
        keyring: keyring?,
        login,
        embargo,
        embargo_readers,
        kinds,
        downgrades,
    })
}

fn login(reader: &mut Reader, raw: &RawRepository) -> Option<Login> {
    let (user, password_file, auth_conf) = (&raw.user, &raw.password_file, &raw.auth_conf);
    let first = user.as_ref().or(password_file.as_ref()).or(auth_conf.as_ref())?;
    let url = raw.url.get();
    // Over loopback nobody listens, and a lab has no certificates.
    if url.strip_prefix("http://").is_some_and(|rest| !is_loopback(rest)) {
        let message = "a password would be sent in the clear";
        reader.wrong(
            raw.url.span(),
            message,
            "write `https://`, or read the repository as anybody",
        );
    }
    match (user, password_file, auth_conf) {
        (Some(user), Some(file), None) => {
            let user = reader.not_empty(user, "the user's name")?;
            Some(Login::User { user: user.clone(), password_file: reader.path(file)? })
        }
        (None, None, Some(file)) => Some(Login::AuthConf(reader.path(file)?)),
        (_, _, _) => {
            let message = "this does not say by whom the repository is read";
            let help = "write `user` and `password_file`, or `auth_conf` alone";
            reader.wrong(first.span(), message, help);
            None
        }
    }
}

/// Reads a pattern of secret versions. One that fits every number would hide most of what is said.
fn embargo(reader: &mut Reader, text: &Text) -> Option<String> {
    if text.get().chars().filter(|c| *c != '*').count() < 3 {
        let message = format!("`{}` fits too much", text.get());
        reader.wrong(text.span(), message, "write what only secret versions have: `*-security*`");
        return None;
    }
    Some(text.get().clone())
}

/// Tells whether an address without its scheme is on this machine.
pub(super) fn is_loopback(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.starts_with("[::1]") {
        return true;
    }
    let name = host.split(':').next().unwrap_or_default();
    name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

fn build_kind(raw: RawBuildKind) -> BuildKind {
    match raw {
        RawBuildKind::Nightly => BuildKind::Nightly,
        RawBuildKind::Candidate => BuildKind::Candidate,
        RawBuildKind::Official => BuildKind::Official,
    }
}

fn ssh(reader: &mut Reader, raw: Option<&RawSsh>) -> Option<Ssh> {
    let config = raw.and_then(|ssh| ssh.config.as_ref());
    let config = match config {
        Some(text) => Some(reader.path(text)?),
        None => None,
    };
    let max_connecting = raw.and_then(|ssh| ssh.max_connecting.as_ref());
    let connect_timeout = raw.and_then(|ssh| ssh.connect_timeout.as_ref());
    Some(Ssh {
        config,
        max_connecting: max_connecting.map_or(MAX_CONNECTING, |number| {
            let number = reader.whole(number, 1..=MOST_CONNECTING);
            usize::try_from(number).unwrap_or(MAX_CONNECTING)
        }),
        connect_timeout: reader.duration_or(connect_timeout, CONNECT_TIMEOUT),
        sudo: raw.and_then(|ssh| ssh.sudo).unwrap_or(true),
    })
}
