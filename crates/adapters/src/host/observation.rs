//! Reading what the wrapper's `observe` prints: a line for each thing seen.
//!
//! A line that is not understood spoils the whole observation: half of a host's state is not its state. What could not
//! be found out is told in the log and left out, so that it can never count as good.

use super::carried;
use crate::shown::shown;
use serin_model::{
    ConfigManagementState, HostName, HostObservation, PackageState, Timestamp,
    observation::ServiceObservation,
};
use serin_runtime::ports::PortError;
use std::collections::BTreeMap;

pub(super) fn parse(
    host: &HostName,
    observed_at: Timestamp,
    lines: &str,
) -> Result<HostObservation, PortError> {
    let mut seen = HostObservation {
        observed_at,
        boot: String::new(),
        package: PackageState::Absent,
        sha256: None,
        services: BTreeMap::new(),
        patches: Vec::new(),
        config_management: ConfigManagementState::None,
        free_bytes: 0,
        fence: 0,
        missing_files: Vec::new(),
        pending_migrations: None,
    };
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let garbled = || PortError::Garbled(format!("{host} observed {:?}", shown(line)));
        take_line(host, &mut seen, line).ok_or_else(garbled)??;
    }
    Ok(seen)
}

/// Takes one line in; `None` when it is not understood.
fn take_line(
    host: &HostName,
    seen: &mut HostObservation,
    line: &str,
) -> Option<Result<(), PortError>> {
    let (key, value) = line.split_once(' ')?;
    match key {
        "boot" => value.clone_into(&mut seen.boot),
        "fence" => seen.fence = value.parse().ok()?,
        "free" => seen.free_bytes = value.parse().ok()?,
        "missing" => seen.missing_files.push(value.to_owned()),
        "package" => seen.package = package(value)?,
        "patch" => seen.patches.push(carried::patch(value)?),
        "changed" => carried::changed(seen.patches.last_mut()?, value),
        "bytes" => seen.sha256 = Some(value.parse().ok()?),
        "service" => service(host, seen, value)?,
        "config-management" => match value.split_once(' ') {
            None if value == "running" => seen.config_management = ConfigManagementState::Running,
            None if value == "stopped" => seen.config_management = ConfigManagementState::Stopped,
            Some(("unknown", why)) => {
                let why = format!(
                    "whether config management runs on {host} cannot be told: {}",
                    shown(why)
                );
                return Some(Err(PortError::Garbled(why)));
            }
            Some(_) | None => return None,
        },
        "migrations" => match value.split_once(' ') {
            None if value == "read" => seen.pending_migrations = Some((Vec::new(), Vec::new())),
            Some(("unread", why)) => tracing::warn!(%host, why, "migrations cannot be listed"),
            Some(_) | None => return None,
        },
        "pending" => {
            let (regular, post_deployment) = seen.pending_migrations.as_mut()?;
            match value.split_once(' ')? {
                ("regular", id) => regular.push(id.to_owned()),
                ("post-deployment", id) => post_deployment.push(id.to_owned()),
                _ => return None,
            }
        }
        _ => return None,
    }
    Some(Ok(()))
}

fn package(value: &str) -> Option<PackageState> {
    match value.split(' ').collect::<Vec<_>>().as_slice() {
        ["absent"] => Some(PackageState::Absent),
        ["installed", version] => Some(PackageState::Installed(version.parse().ok()?)),
        ["broken", version, state] => Some(PackageState::Broken {
            version: version.parse().ok()?,
            state: (*state).to_owned(),
        }),
        _ => None,
    }
}

fn service(host: &HostName, seen: &mut HostObservation, value: &str) -> Option<()> {
    let words = value.split(' ').collect::<Vec<_>>();
    let [name, pid, version, older] = words.as_slice() else { return None };
    let pid = match *pid {
        "unknown" => {
            tracing::warn!(%host, service = name, "the process id of the service cannot be read");
            return Some(());
        }
        "-" => None,
        number => Some(number.parse().ok()?),
    };
    let older = match *older {
        "yes" => true,
        "no" => false,
        _ => return None,
    };
    let (version, told) = match *version {
        "-" => (None, true),
        text => {
            let version = text.parse().ok();
            if version.is_none() {
                tracing::debug!(%host, service = name, text, "the running version cannot be read");
            }
            let told = version.is_some();
            (version, told)
        }
    };
    // A process that should tell its version and does not is not proven to be a new one.
    let older_than_package = older || !told;
    let service = ServiceObservation { pid, version, older_than_package };
    seen.services.insert(name.parse().ok()?, service);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(lines: &str) -> Result<HostObservation, PortError> {
        parse(&"web-01".parse().unwrap(), Timestamp::from_millis(7), lines)
    }

    #[test]
    fn a_whole_state_is_read() {
        let seen = parsed(
            "boot b-12\nfence 3\nfree 1000\npackage broken 2.0-1 half-configured\nmissing /etc/a b\n\
             service puma 12 2.0-1 no\nservice web - - no\nservice odd unknown - no\n\
             service mute 13 unknown no\nconfig-management stopped\nmigrations read\n\
             pending regular 20230101\npending post-deployment 20230102\n",
        )
        .unwrap();
        assert_eq!(seen.package.to_string(), "2.0-1 half-configured");
        assert_eq!((seen.fence, seen.free_bytes, seen.boot.as_str()), (3, 1000, "b-12"));
        assert_eq!(seen.missing_files, ["/etc/a b"]);
        assert_eq!(seen.config_management, ConfigManagementState::Stopped);
        let names: Vec<_> = seen.services.keys().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, ["mute", "puma", "web"], "a service nobody knows is missing");
        let pending = seen.pending_migrations.unwrap();
        assert_eq!(pending, (vec!["20230101".to_owned()], vec!["20230102".to_owned()]));
        let mute = &seen.services[&"mute".parse().unwrap()];
        assert!(mute.older_than_package, "a mute process is not proven to be a new one");
    }

    #[test]
    fn what_is_not_understood_is_never_half_a_state() {
        for bad in
            ["fence x", "package installed", "package installed 1 2", "hello", "pending regular 1"]
        {
            assert!(matches!(parsed(bad), Err(PortError::Garbled(_))), "{bad:?} was accepted");
        }
        let unknown = parsed("config-management unknown status 127 pgrep: not found");
        assert!(unknown.unwrap_err().to_string().contains("pgrep: not found"));
    }
}
