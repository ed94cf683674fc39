//! Which commit of a component a version of the package was built from: its own list of components says so.
//!
//! It is read from a host that has the version installed, piece by piece, rather than from the package: that has more than a
//! gigabyte, and this may be asked on a machine of CI that has never seen it.

use crate::failure::chain;
use serin_adapters::manifest::Manifest;
use serin_config::Place;
use serin_engine::Run;
use serin_model::{Action, Argv, DebVersion, EnvironmentName, HostName, Subject};
use serin_runtime::perform::query;
use serin_runtime::ports::{Command, Look, Ports};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is read at once: what a host prints is kept up to twice this.
const PIECE: usize = 32 * 1024;

/// The largest list that makes sense: omnibus writes some 60 KiB.
const MOST_PIECES: usize = 128;

/// How many hosts are asked: one may be off.
const TRIES: usize = 3;

/// How long a host may take for a piece.
const READ: Duration = Duration::from_secs(10);

/// Returns the commit of each component of a version, as a host says on which it is installed now.
///
/// # Errors
/// Says why the list cannot be read, for a person.
pub(crate) async fn of(
    manifest: Option<&str>,
    ports: &Ports,
    (run, place, version): (&Run, &Place, &DebVersion),
) -> Result<BTreeMap<String, String>, String> {
    let Some(path) = manifest else {
        return Err("the profile names no list of components (`manifest`)".to_owned());
    };
    let mut why = format!("no host has {version} yet");
    for (environment, host) in hosts_with(run, place, version).into_iter().take(TRIES) {
        let topology = &run.plan.topology;
        let Some(known) = topology.host(environment, host) else { continue };
        let Some(environment) = topology.environments.get(environment) else { continue };
        // It may have been changed since.
        match ports.hosts.observe(&query(topology, environment, known, Look::State)).await {
            Ok(seen) if seen.installed() == Some(version) => {
                return of_host(ports, path, (host, version)).await;
            }
            Ok(_) => why = format!("{host} does not have {version} any more"),
            Err(error) => why = chain(&error),
        }
    }
    Err(why)
}

/// Finds the hosts on which a run has installed a version, those of a place first.
fn hosts_with<'a>(
    run: &'a Run,
    place: &Place,
    version: &DebVersion,
) -> Vec<(&'a EnvironmentName, &'a HostName)> {
    let mut hosts: Vec<(&EnvironmentName, &HostName)> = run
        .plan
        .steps()
        .filter_map(|(stage, lane, step)| {
            let (Action::Install { .. }, Subject::Host(host)) = (&step.action, &lane.subject)
            else {
                return None;
            };
            let is_it = run.plan.build_for(host).is_some_and(|build| build.version == *version);
            (is_it && run.is_done(&step.id)).then_some((&stage.environment, host))
        })
        .collect();
    hosts.sort_by_key(|(environment, host)| !place.holds(&run.plan.topology, environment, host));
    hosts
}

async fn of_host(
    ports: &Ports,
    path: &str,
    (host, version): (&HostName, &DebVersion),
) -> Result<BTreeMap<String, String>, String> {
    let mut text = String::new();
    for piece in 0..MOST_PIECES {
        let (size, skip) = (format!("bs={PIECE}"), format!("skip={piece}"));
        let input = format!("if={path}");
        let words = ["dd", input.as_str(), &size, &skip, "count=1", "status=none"];
        let argv = Argv::new(words).map_err(|error| error.to_string())?;
        let command = Command { argv, environment: BTreeMap::new(), timeout: READ };
        let end = ports.hosts.read(host, &command).await.map_err(|error| chain(&error))?;
        if end.status != 0 {
            return Err(format!("{host} cannot read {path}: {}", end.output.trim()));
        }
        if end.output.is_empty() {
            break;
        }
        text.push_str(&end.output);
    }
    let manifest = Manifest::parse(text.as_bytes())
        .map_err(|error| format!("{path} of {version} on {host}: {error}"))?;
    let commits = manifest.components.into_iter();
    Ok(commits.map(|(name, component)| (name, component.revision)).collect())
}
