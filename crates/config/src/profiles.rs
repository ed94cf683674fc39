//! The built-in profiles: what Serin knows about a kind of package, as data.
//!
//! Nothing outside this file knows GitLab. Timeouts are generous on purpose: they bound what hangs, they are not
//! expectations, and no job on a host is ever killed by them.

use crate::Contents;
use crate::at::At;
use crate::raw::{RawMigrations, RawProfile};
use crate::read::Reader;
use serin_model::policy::Migrations;
use serin_model::{Argv, Profile};
use std::collections::BTreeMap;
use std::time::Duration;

/// The names of the built-in profiles.
pub(crate) const NAMES: [&str; 2] = ["gitlab-omnibus", "plain"];

/// A gigabyte is unpacked in minutes; a slow disk with a cold cache needs the rest.
const INSTALL_TIMEOUT: Duration = Duration::from_mins(30);
/// `gitlab-ctl reconfigure` is a whole converge.
const OMNIBUS_COMMAND_TIMEOUT: Duration = Duration::from_mins(15);
/// Restarting a service that waits for its last requests.
const PLAIN_COMMAND_TIMEOUT: Duration = Duration::from_mins(5);
/// Migrations of large tables have taken a night.
const MIGRATIONS_TIMEOUT: Duration = Duration::from_hours(12);

/// Fails, and thereby exits with another status than 0, while any advisory lock is held in the database.
///
/// Rails holds one for as long as it migrates, in its own session, transactions or not. `psql -c` exits 0 whatever a
/// query returns, so the query divides by zero. Other users of advisory locks make this say "alive" too often, never
/// too rarely: the run then halts for a person.
const NO_ADVISORY_LOCK: &str = "SELECT 1 / (CASE WHEN EXISTS (SELECT 1 FROM pg_locks \
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database \
    WHERE datname = current_database())) THEN 0 ELSE 1 END)";

/// Where the Ruby code is; what else the package has is compiled.
const RAILS: &str = "/opt/gitlab/embedded/service/gitlab-rails";
const RAILS_MIGRATIONS: &str = "/opt/gitlab/embedded/service/gitlab-rails/db";

/// Returns a built-in profile with the file's changes, or `None` and a diagnostic where they make no sense.
pub(crate) fn profile(reader: &mut Reader, name: &str, changes: &RawProfile) -> Option<Profile> {
    let built_in = match name {
        "gitlab-omnibus" => gitlab_omnibus(),
        _ => plain(),
    }?;
    let of_package = ["version", "package"];
    let of_service = ["version", "package", "service"];
    let migrations = migrations(reader, built_in.migrations, changes.migrations.as_ref());
    Some(Profile {
        name: name.to_owned(),
        required_files: match &changes.required_files {
            Some(files) => files.iter().filter_map(|file| reader.path_on_host(file)).collect(),
            None => built_in.required_files,
        },
        check_config: reader.unless_empty(
            changes.check_config.as_ref(),
            built_in.check_config,
            &of_package,
        ),
        reconfigure: reader.unless_empty(
            changes.reconfigure.as_ref(),
            built_in.reconfigure,
            &of_package,
        ),
        hup: reader.argv_or(changes.hup.as_ref(), built_in.hup, &of_service),
        restart: reader.argv_or(changes.restart.as_ref(), built_in.restart, &of_service),
        service_pid: reader.argv_or(
            changes.service_pid.as_ref(),
            built_in.service_pid,
            &of_service,
        ),
        running_version: reader.unless_empty(
            changes.running_version.as_ref(),
            built_in.running_version,
            &of_service,
        ),
        install_timeout: reader
            .duration_or(changes.install_timeout.as_ref(), built_in.install_timeout),
        command_timeout: reader
            .duration_or(changes.command_timeout.as_ref(), built_in.command_timeout),
        migrations,
    })
}

/// Returns what a profile knows of a package's contents, with the file's changes.
pub(crate) fn contents(reader: &mut Reader, name: &str, changes: &RawProfile) -> Contents {
    let (manifest, roots): (_, &[&str]) = match name {
        "gitlab-omnibus" => (Some("/opt/gitlab/version-manifest.json"), &[RAILS]),
        _ => (None, &[]),
    };
    Contents {
        manifest: match &changes.manifest {
            Some(text) if text.get() == "none" => None,
            Some(text) => reader.path_on_host(text),
            None => manifest.map(str::to_owned),
        },
        patch_roots: match &changes.patch_roots {
            Some(roots) => roots.iter().filter_map(|root| reader.folder_on_host(root)).collect(),
            None => roots.iter().map(|root| (*root).to_owned()).collect(),
        },
    }
}

/// Changes the built-in migrations, or makes new ones of the file, which must then be complete.
fn migrations(
    reader: &mut Reader,
    built_in: Option<Migrations>,
    changes: Option<&At<RawMigrations>>,
) -> Option<Migrations> {
    let Some(written) = changes else {
        return built_in;
    };
    let changes = written.get();
    if built_in.is_none() {
        reader.complete(written);
    }
    let known = ["version", "package"];
    let base = built_in.as_ref();
    let mut argv = |written: &Option<_>, base: Option<&Argv>| match written {
        Some(words) => reader.argv(words, &known),
        None => base.cloned(),
    };
    let regular = argv(&changes.regular, base.map(|m| &m.regular));
    let post_deployment = argv(&changes.post_deployment, base.map(|m| &m.post_deployment));
    let status = argv(&changes.status, base.map(|m| &m.status));
    let no_session = argv(&changes.no_session, base.map(|m| &m.no_session));
    let mut folder = |written: &Option<_>, base: Option<&String>| match written {
        Some(text) => reader.path_on_host(text),
        None => base.cloned(),
    };
    let regular_folder = folder(&changes.regular_folder, base.map(|m| &m.regular_folder));
    let post_deployment_folder =
        folder(&changes.post_deployment_folder, base.map(|m| &m.post_deployment_folder));
    let environment = match &changes.environment {
        Some(variables) => reader.variables(variables),
        None => base.map(|m| m.environment.clone()).unwrap_or_default(),
    };
    let timeout = reader
        .duration_or(changes.timeout.as_ref(), base.map_or(MIGRATIONS_TIMEOUT, |m| m.timeout));
    Some(Migrations {
        regular: regular?,
        post_deployment: post_deployment?,
        status: status?,
        regular_folder: regular_folder?,
        post_deployment_folder: post_deployment_folder?,
        no_session: no_session?,
        environment,
        timeout,
    })
}

fn gitlab_omnibus() -> Option<Profile> {
    Some(Profile {
        name: "gitlab-omnibus".to_owned(),
        // Without it the package stops all services, reconfigures and migrates by itself while it is installed.
        required_files: vec!["/etc/gitlab/skip-auto-reconfigure".to_owned()],
        check_config: Some(command(&["gitlab-ctl", "check-config", "--version={version}"])?),
        reconfigure: Some(command(&["gitlab-ctl", "reconfigure"])?),
        hup: command(&["gitlab-ctl", "hup", "{service}"])?,
        restart: command(&["gitlab-ctl", "restart", "{service}"])?,
        // What runit itself wrote down: empty while the service is down, and no words to take apart.
        service_pid: command(&["cat", "/opt/gitlab/service/{service}/supervise/pid"])?,
        running_version: None,
        migrations: Some(Migrations {
            regular: command(&[
                "env",
                "SKIP_POST_DEPLOYMENT_MIGRATIONS=true",
                "gitlab-rake",
                "db:migrate",
            ])?,
            post_deployment: command(&["gitlab-rake", "db:migrate"])?,
            status: command(&["gitlab-rake", "db:migrate:status"])?,
            regular_folder: format!("{RAILS_MIGRATIONS}/migrate"),
            post_deployment_folder: format!("{RAILS_MIGRATIONS}/post_migrate"),
            no_session: command(&["gitlab-psql", "-tA", "-c", NO_ADVISORY_LOCK])?,
            environment: BTreeMap::new(),
            timeout: MIGRATIONS_TIMEOUT,
        }),
        install_timeout: INSTALL_TIMEOUT,
        command_timeout: OMNIBUS_COMMAND_TIMEOUT,
    })
}

fn plain() -> Option<Profile> {
    Some(Profile {
        name: "plain".to_owned(),
        required_files: Vec::new(),
        check_config: None,
        reconfigure: None,
        hup: command(&["systemctl", "reload", "{service}"])?,
        restart: command(&["systemctl", "restart", "{service}"])?,
        service_pid: command(&["systemctl", "show", "-p", "MainPID", "--value", "{service}"])?,
        running_version: None,
        migrations: None,
        install_timeout: INSTALL_TIMEOUT,
        command_timeout: PLAIN_COMMAND_TIMEOUT,
    })
}

/// Makes a command of words that are known to be right; a test makes every built-in profile.
fn command(words: &[&str]) -> Option<Argv> {
    Argv::new(words.iter().copied()).ok()
}
